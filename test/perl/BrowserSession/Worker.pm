# Worker.pm
#
# A PostgreSQL server with the background worker at work in its database
# postgres, and short words for what tests want to know of it: what it does,
# what became of a tracked session, what the audit says, and how late the end
# of a session came.

package BrowserSession::Worker;

use strict;
use warnings;

use parent -norequire, 'BrowserSession::Node';

use BrowserSession::Node;
use BrowserSession::Poll qw(wait_until);
use BrowserSession::Provider;
use BrowserSession::Sim;
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Utils ();

# Starts a server; the options are those of BrowserSession::Node.
sub start_new
{
	my ($class, $name, %option) = @_;
	my $node = $class->SUPER::start_new(
		$name,
		preload => 'browser_session',
		%option);

	$node->wait_for_worker;
	return $node;
}

# Waits until the worker has nothing to do and answers its row of
# bsession_worker.  `not` names a process that does not count.
sub wait_for_worker
{
	my ($self, %option) = @_;

	return wait_until(
		'the worker waits',
		sub {
			my $worker = $self->worker;

			return
			     $worker->{running}
			  && $worker->{state} eq 'waiting'
			  && $worker->{pid} != ($option{not} // 0) ? $worker : undef;
		});
}

# The row of bsession_worker.
sub worker
{
	my ($self) = @_;

	return ($self->hashes('SELECT * FROM bsession_worker'))[0];
}

# The rows of a query, as hashes.
sub hashes
{
	my ($self, $query) = @_;
	my @lines = split /\n/,
	  $self->safe_psql('postgres', "SELECT to_jsonb(q) FROM ($query) q");

	return map { JSON::PP->new->utf8->decode($_) } @lines;
}

# Makes an account at the simulator; `with` holds the simulator's knobs, all
# others are options of the server.
sub simulated
{
	my ($self, $sim, $server, $provider, $with, %option) = @_;

	return $self->account(
		$server,
		BrowserSession::Provider::options(
			$provider,
			$sim->url(BrowserSession::Provider::dialect($provider), %$with)),
		%option);
}

# Tracks sessions; expires_at is an SQL expression.
sub track
{
	my ($self, @what) = @_;

	return $self->safe_psql('postgres', track_sql(@what));
}

sub track_sql
{
	my ($server, $expires_at, @ids) = @_;

	return sprintf(
		'INSERT INTO bsession_tracked (provider, session_id, expires_at)'
		  . ' SELECT %s, id, %s FROM unnest(ARRAY[%s]::text[]) AS id',
		BrowserSession::Node::literal($server),
		$expires_at,
		join(', ', map { BrowserSession::Node::literal($_) } @ids));
}

# The row of a tracked session, undef if it is not tracked.
sub tracked
{
	my ($self, $server, $id) = @_;

	return (
		$self->hashes(
			'SELECT * FROM bsession_tracked WHERE ' . which($server, $id)))[0];
}

# Waits until the row of a session has these values and answers it.
sub wait_for_row
{
	my ($self, $server, $id, %value) = @_;
	my $row;
	my $found = eval {
		wait_until(
			"session \"$id\" has "
			  . join(', ', map { "$_ $value{$_}" } sort keys %value),
			sub {
				$row = $self->tracked($server, $id) // {};
				return !grep { ($row->{$_} // '') ne $value{$_} } keys %value;
			});
	};

	die $@ . JSON::PP->new->canonical->encode($row) . "\n" unless $found;
	return $row;
}

# Waits until all sessions of a server have ended.
sub wait_for_end
{
	my ($self, $server) = @_;

	wait_until(
		"all sessions of \"$server\" have ended",
		sub { $self->count_not_ended($server) == 0 });
	return;
}

sub count_not_ended
{
	my ($self, $server) = @_;

	return $self->safe_psql(
		'postgres',
		"SELECT count(*) FROM bsession_tracked WHERE state <> 'ended' AND "
		  . which($server));
}

# The attempts in the audit, in their order; `at_us` is `at` in microseconds.
sub audit
{
	my ($self, $server, $id) = @_;

	return $self->hashes(
		'SELECT *, (extract(epoch FROM at) * 1000000)::bigint AS at_us'
		  . ' FROM bsession_audit WHERE '
		  . which($server, $id)
		  . ' ORDER BY at, id');
}

# The condition that a row is that of a session, or of a server's.
sub which
{
	my ($server, $id) = @_;
	my $condition = 'provider = ' . BrowserSession::Node::literal($server);

	$condition .= ' AND session_id = ' . BrowserSession::Node::literal($id)
	  if defined $id;
	return $condition;
}

# Changes settings in the running server.
sub configure
{
	my ($self, %setting) = @_;

	$self->safe_psql(
		'postgres',
		join '',
		(   map {
				"ALTER SYSTEM SET browser_session.$_ = "
				  . BrowserSession::Node::literal($setting{$_}) . ";\n"
			} sort keys %setting));
	$self->reload;
	return;
}

# For each session of a server, how many ms after expires_at its first request
# arrived, in ascending order.
sub lateness
{
	my ($self, $sim, $server) = @_;
	my %first;

	$first{ ($_->{target} =~ m{/sessions/([^/]+)})[0] } //= $_->{at}
	  foreach $sim->requests;
	return map { $_->[0] }
	  sort { $a->[0] <=> $b->[0] }
	  map { [ ($first{ $_->{session_id} } - $_->{at}) / 1000 ] }
	  grep { exists $first{ $_->{session_id} } } $self->hashes(
		'SELECT session_id,'
		  . ' (extract(epoch FROM expires_at) * 1000000)::bigint AS at'
		  . ' FROM bsession_tracked WHERE '
		  . which($server));
}

# Sums up numbers that are in ascending order.
sub distribution
{
	my (@sorted) = @_;

	return sprintf '%d sessions: p50 %.1f ms, p99 %.1f ms, max %.1f ms',
	  scalar @sorted, map { $sorted[ $_ * $#sorted ] } 0.5, 0.99, 1;
}

# Holds a lock on the row of a session until release(); "before" is SQL that is
# run first.
sub hold
{
	my ($self, $server, $id, $before) = @_;
	my $query = $self->background(
			($before // '')
		  . "BEGIN;\nSELECT pg_backend_pid() FROM bsession_tracked WHERE "
		  . which($server, $id)
		  . " FOR UPDATE;\nSELECT pg_sleep(3600);\n");

	wait_until(
		'the row is locked',
		sub {
			($query->{pid}) =
			  PostgreSQL::Test::Utils::slurp_file("$query->{base}.out") =~
			  /^(\d+)$/m;
		});
	return $query;
}

# The same for a session that is tracked right before, so that the lock is there
# when it expires, however slow the machine.
sub track_and_hold
{
	my ($self, $server, $expires_at, $id) = @_;

	return $self->hold($server, $id,
		track_sql($server, $expires_at, $id) . ";\n");
}

sub release
{
	my ($self, $query) = @_;

	$self->safe_psql('postgres', "SELECT pg_terminate_backend($query->{pid})");
	return $self->finish($query);
}

# A provider that is down, and can be brought up: a port on which nobody
# listens until revive() starts a simulator on it.
sub dead_sim
{
	return bless {
		owner => $$,
		port => PostgreSQL::Test::Cluster::get_free_port() },
	  'BrowserSession::Worker::DeadSim';
}

package BrowserSession::Worker::DeadSim;

use parent -norequire, 'BrowserSession::Sim';

sub revive
{
	my ($self) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir();

	$self->{http} = HTTP::Tiny->new(timeout => 30);
	$self->{log} = "$PostgreSQL::Test::Utils::log_path/provider_sim.$$."
	  . "$self->{port}.log";
	$self->{run} = IPC::Run::start(
		[   BrowserSession::Sim::program($directory),
			'--port', $self->{port},
			'--port-file', "$directory/port" ],
		'<',
		\undef,
		'>',
		$self->{log},
		'2>&1');
	BrowserSession::Poll::wait_until('the provider is back',
		sub { -s "$directory/port" });
	return $self;
}

1;
