# Database.pm
#
# The database that is measured: one backend, with psql in front of it, and the
# background worker.

package Bench::Database;

use strict;
use warnings;

use IO::Select;
use IPC::Open3  qw(open3);
use Time::HiRes qw(sleep time);

# Stands after the output of each query.
use constant END_OF_OUTPUT => 'END-OF-OUTPUT';

# How often the memory of a process is looked at, in seconds.
use constant SAMPLE_PAUSE => 0.05;

# Due sessions are planned this far ahead, so that they are inserted, and the
# table is vacuumed and on disk, before they are due: seconds for each row, and
# for that it is done at all.  How long it took corrects the first.
use constant SETUP_PER_ROW => 50e-6;
use constant SETUP => 0.7;

sub connect
{
	my ($class) = @_;
	my $self = bless { setup_per_row => {} }, $class;

	$self->{psql} = open3($self->{in}, $self->{out}, undef,
		'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1');
	$self->{select} = IO::Select->new($self->{out});
	$self->query('SET client_min_messages = warning');
	return $self;
}

sub disconnect
{
	my ($self) = @_;

	close $self->{in};
	waitpid $self->{psql}, 0;
	return;
}

# The output of SQL: a list of lines, or the first in scalar context.  Dies if
# a statement fails.  While it waits, it calls `meanwhile`, if there is one.
sub query
{
	my ($self, $sql, $meanwhile) = @_;
	my $output = '';
	my @lines;

	local $SIG{PIPE} = 'IGNORE';
	print { $self->{in} } "$sql;\n\\echo ${\END_OF_OUTPUT}\n";
	$self->{in}->flush;
	until ($output =~ /^${\END_OF_OUTPUT}$/m)
	{
		if (!$self->{select}->can_read($meanwhile ? SAMPLE_PAUSE : ()))
		{
			$meanwhile->();
		}
		elsif (!sysread $self->{out}, $output, 65536, length $output)
		{
			die "psql said: $output\n";
		}
	}
	@lines = split /\n/, $output;
	pop @lines;
	return wantarray ? @lines : $lines[0];
}

# The same; also answers the most private memory that a process had meanwhile,
# in bytes.
sub query_watching
{
	my ($self, $pid, $sql) = @_;
	my $most = private_memory($pid);
	my $answer = $self->query(
		$sql,
		sub {
			my $now = private_memory($pid);
			$most = $now if $now > $most;
		});

	return ($answer, $most);
}

# Memory of a process that it shares with no other, in bytes.
sub private_memory
{
	my ($pid) = @_;

	open my $file, '<', "/proc/$pid/status" or die "process $pid: $!\n";
	foreach (<$file>)
	{
		return $1 * 1024 if /^RssAnon:\s+(\d+) kB/;
	}
	die "process $pid has no RssAnon\n";
}

# ----- accounts ------------------------------------------------------------

# Makes an account at a URL; further arguments are options of the server.
sub account
{
	my ($self, $server, $url, %option) = @_;
	my %all = (provider => 'browserbase', base_url => $url, %option);
	my $options = join ', ', map { "$_ '$all{$_}'" } sort keys %all;

	$self->query(<<SQL);
DROP SERVER IF EXISTS "$server" CASCADE;
CREATE SERVER "$server" FOREIGN DATA WRAPPER browser_session
	OPTIONS ($options);
CREATE USER MAPPING FOR PUBLIC SERVER "$server" OPTIONS (api_key 'bench-key')
SQL
	return;
}

sub array
{
	return 'ARRAY[' . join(', ', map { "'$_'" } @_) . ']';
}

# ----- statements in the backend -------------------------------------------

# Seconds that a statement and its commit take, and the most memory that the
# backend had.
sub measure
{
	my ($self, $statement) = @_;

	return $self->query_watching(scalar $self->query('SELECT pg_backend_pid()'),
		"CALL bench.measure(\$measured\$$statement\$measured\$, NULL)");
}

# Dies unless n sessions of each of the servers were ended, each with one
# attempt.
sub check
{
	my ($self, $n, @servers) = @_;
	my $complaint = $self->query(
		'SELECT bench.complaint(' . array(@servers) . ", $n)");

	die "$complaint\n" if $complaint ne '';
	return;
}

# Makes the tables empty; what was written before is on disk afterwards, so
# that nobody else's pages are written while something is measured.
sub clear
{
	my ($self) = @_;

	$self->query('TRUNCATE bsession_tracked, bsession_audit, bench.plain');
	$self->query('CHECKPOINT');
	return;
}

# Has the tracked sessions vacuumed and everything on disk.
sub settle
{
	my ($self) = @_;

	$self->query('VACUUM (ANALYZE) bsession_tracked');
	$self->query('CHECKPOINT');
	return;
}

# ----- the worker ----------------------------------------------------------

sub worker
{
	my ($self) = @_;

	return $self->query('SELECT pid FROM bsession_worker_state()');
}

# Waits until the worker runs and has nothing under way.
sub wait_for_worker
{
	my ($self) = @_;
	my $deadline = time + 60;

	until ($self->query(
			q{SELECT running AND state = 'waiting' AND in_flight = 0
			FROM bsession_worker_state()}) eq 't')
	{
		die "the worker is not idle\n" if time > $deadline;
		sleep 0.05;
	}
	return;
}

# Waits until n sessions of a server have ended, whenever they were due.
sub wait_until_ended
{
	my ($self, $n, $server) = @_;
	my $count = sprintf q{SELECT bench.ended(%s, '-infinity')}, array($server);
	my $deadline = time + 60;
	my $ended;

	until (($ended = $self->query($count)) >= $n)
	{
		die "only $ended of $n sessions have ended\n" if time > $deadline;
		sleep 0.1;
	}
	return;
}

# SQL that tracks n sessions of a server.  `id` and `expires_at` are
# expressions in which i counts from 1.
sub track_sql
{
	my ($server, $n, $id, $expires_at) = @_;

	return <<SQL;
INSERT INTO bsession_tracked (provider, session_id, expires_at)
	SELECT '$server', $id, $expires_at FROM generate_series(1, $n) AS i
SQL
}

# Seconds that the worker takes to end n sessions of each server, all due at
# the same moment, and the most memory that it had.  Adds to what is in the
# tables.  Options: `id`, an expression; `also`, a server that has n due
# sessions as well, but is not waited for; `settled`, if the table has been
# vacuumed, and there was a checkpoint, before they are inserted.
sub drain
{
	my ($self, $n, $servers, %option) = @_;
	my $id = $option{id} // q{'bench-' || i};
	my $rows = $n * (@$servers + (defined $option{also}));
	my $per_row = \($self->{setup_per_row}{$rows} //= SETUP_PER_ROW);
	my ($due, $seconds, $memory);
	my $begun = time;

	$due = $self->query(sprintf
		q{SELECT clock_timestamp() + interval '%f s'},
		SETUP + 1.5 * $$per_row * $rows);
	foreach my $server (@$servers, $option{also} // ())
	{
		$self->query(track_sql($server, $n, $id, "timestamptz '$due'"));
	}
	$self->settle unless $option{settled};
	$$per_row = (time - $begun) / $rows;

	($seconds, $memory) = $self->query_watching(scalar $self->worker,
		sprintf q{CALL bench.wait_until_ended(%s, %d, '%s', NULL)},
		array(@$servers), $n * @$servers, $due);
	return ($seconds, $memory) if $seconds ne '';

	# It was due before all was ready.  Now it is known how long that takes.
	die "$rows sessions cannot be tracked in time\n" if $option{again}++;
	$self->query('DELETE FROM bsession_tracked WHERE ended_at IS NOT NULL');
	$self->query('TRUNCATE bsession_audit');
	return $self->drain($n, $servers, %option);
}

# ----- about ---------------------------------------------------------------

sub versions
{
	my ($self) = @_;
	my $version = $self->query('SHOW server_version');
	my @settings = map { "$_ " . $self->query("SHOW $_") }
	  qw(fsync synchronous_commit shared_buffers);

	$version =~ s/ .*//;
	return "PostgreSQL $version (" . join(', ', @settings) . ')';
}

1;
