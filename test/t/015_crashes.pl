# 015_crashes.pl
#
# Crashes while sessions are being ended.  An attempt is claimed and committed
# before anything is sent, so whatever dies in between, and whenever it does:
# every session is ended, every request that a provider has seen is in the
# audit, the lost ones as unknown, and no attempt is counted twice.
#
# The moments are random, but are set by the provider's progress, so that
# they come while requests are under way.  There are BROWSER_SESSION_ROUNDS
# crashes, each with BROWSER_SESSION_SESSIONS more sessions to be ended;
# BROWSER_SESSION_SEED is a former test again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Node;
use BrowserSession::Poll qw(wait_until);
use BrowserSession::Provider;
use BrowserSession::Sim;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $rounds = $ENV{BROWSER_SESSION_ROUNDS} // 4;
my $sessions = $ENV{BROWSER_SESSION_SESSIONS} // 75;
my $seed = srand($ENV{BROWSER_SESSION_SEED} // time);
my $in_flight = 4;

# Times of the providers in ms.  The last one's are so long that some of its
# requests are under way at each crash, and it has few sessions.
my @delays = (20, 30, 40, 50, 1000);

my $sim = BrowserSession::Sim->new;

# The worker's claims have to be on disk whatever others do without.
my $node = BrowserSession::Node->start_new('main', conf => <<END);
shared_preload_libraries = 'browser_session'
restart_after_crash = on
fsync = on
synchronous_commit = off
log_statement = none
END

# One number or word, or undef while the server cannot be asked.
sub ask
{
	my ($sql) = @_;
	my $answer;

	$node->psql('postgres', $sql, stdout => \$answer, stderr => \my $errors)
	  == 0
	  or return;
	return $answer;
}

sub open_sessions
{
	return ask(
		"SELECT count(*) FROM bsession_tracked WHERE state <> 'ended'");
}

sub requests { return $sim->stats->{requests}; }

sub worker_pid
{
	return ask(<<SQL);
SELECT pid FROM pg_stat_activity WHERE backend_type = 'browser_session worker'
SQL
}

# The pids of a process's children.
sub children
{
	my ($parent) = @_;
	my @children;

	foreach my $file (glob '/proc/[0-9]*/stat')
	{
		open my $stat, '<', $file or next;
		my ($pid, $ppid) = (<$stat> // '') =~ /\A(\d+) \(.*\) \S (\d+) /s;

		push @children, $pid if defined $ppid && $ppid == $parent;
	}
	return @children;
}

# What can happen to a server; the argument is its worker's pid.
my @crashes = (
	[   'the worker is killed, and the server starts all processes anew',
		sub { kill 'KILL', $_[0]; } ],
	[   'the server is stopped at once',
		sub { $node->stop('immediate'); $node->start; } ],
	[   'all processes are killed, as in a power cut',
		sub {
			my $postmaster = $node->{_pid};
			my @pids = ($postmaster, children($postmaster));

			$node->kill9;
			kill 'KILL', @pids;
			wait_until('all processes are gone',
				sub { return !kill 0, @pids; });
			$node->start;
		}
	],
	[ 'the server is restarted', sub { $node->restart; } ]);

foreach my $i (0 .. $#delays)
{
	$node->account(
		"s$i",
		BrowserSession::Provider::options(
			'stagehand', $sim->url('stagehand', delay => $delays[$i])),
		max_in_flight => $in_flight);
}

# Tracks sessions that are due: each server's share, and as many of the last as
# can be under way.
my @ids;

sub add_sessions
{
	my @new;

	foreach my $i (0 .. $sessions - 1)
	{
		my $server = $i < $in_flight ? $#delays : $i % $#delays;

		push @new, [ "s$server", 'crash-' . (@ids + @new) ];
	}
	push @ids, @new;
	$node->safe_psql('postgres',
		'INSERT INTO bsession_tracked (provider, session_id, expires_at)'
		  . ' VALUES '
		  . join(', ', map { "('$_->[0]', '$_->[1]', now())" } @new));
	return;
}

# Crash after crash, each while its sessions are being ended.
my $started = time;
my @old;
my $crashed = 0;
my $last_crash = $started;
foreach my $round (1 .. $rounds)
{
	my $worker = wait_until(
		'there is a new worker',
		sub {
			my $pid = worker_pid() or return;
			return if grep { $_ == $pid } @old;
			return $pid;
		});
	my $target = requests() + $in_flight + int(rand($sessions / 2));
	my ($what, $crash) = @{ $crashes[ ($round - 1) % @crashes ] };

	push @old, $worker;
	add_sessions();
	wait_until('some sessions were ended',
		sub { requests() > $target || !open_sessions(); });
	usleep(rand 30_000);
	note sprintf 'after %d requests: %s', requests(), $what;
	$crash->($worker);
	$crashed++;
	$last_crash = time;
}

# What the slowest provider has left takes so long.
my $left = wait_until('the server answers', sub { ask(<<SQL); });
SELECT count(*) || ' sessions' FROM bsession_tracked
 WHERE provider = 's$#delays' AND state <> 'ended'
SQL
my $work = ($left =~ /(\d+)/)[0] * $delays[-1] / 1000 / $in_flight;

wait_until('all sessions are ended', sub { (open_sessions() // -1) == 0; });
my $seconds = time - $started;
my $settling = time - $last_crash;

is(ask("SELECT count(*) FROM bsession_tracked"),
	scalar @ids, 'every session is still there');
is(ask(<<SQL), 0, '… ended, claimed by nobody, and not due');
SELECT count(*) FROM bsession_tracked
 WHERE state <> 'ended' OR claimed_by IS NOT NULL OR ended_at IS NULL
    OR next_attempt_at IS NOT NULL OR outcome NOT IN ('ended', 'already_ended')
SQL

# What the simulator has seen of each session.
my %ends;
foreach my $request ($sim->requests)
{
	$ends{$1}++ if $request->{target} =~ m{/sessions/([^/]+)/end\z};
}
is(scalar(grep { !$ends{ $_->[1] } } @ids),
	0, 'the provider was asked to end each');

# What the audit has of each: the outcomes in the attempts' order.
my (%audit, $unknown, $rows);
foreach my $line (split /\n/, $node->safe_psql('postgres', <<SQL))
SELECT session_id, string_agg(attempt::text, ' ' ORDER BY attempt, id),
       string_agg(outcome, ' ' ORDER BY attempt, id)
  FROM bsession_audit GROUP BY session_id
SQL
{
	my ($id, $attempts, $outcomes) = split /\|/, $line;
	my @outcomes = split / /, $outcomes;

	$audit{$id} = {
		rows => scalar @outcomes,
		attempts => $attempts,
		last => pop @outcomes,
		before => \@outcomes };
	$rows    += $audit{$id}{rows};
	$unknown += grep { $_ eq 'unknown' } @outcomes;
}

# Counts the sessions for which something holds, and names some.
sub none
{
	my ($what, $holds) = @_;
	my @found =
	  grep { !$audit{$_} || $holds->($audit{$_}, $_) } map { $_->[1] } @ids;

	is(scalar @found, 0, $what);
	foreach my $id (@found ? @found[ 0 .. ($#found < 9 ? $#found : 9) ] : ())
	{
		diag sprintf '%s: attempts %s, %s then %s, %d requests', $id,
		  $audit{$id}{attempts} // 'none',
		  join(' ', @{ $audit{$id}{before} // [] }),
		  $audit{$id}{last} // '-', $ends{$id} // 0;
	}
	return;
}

none(
	'the attempts of each are numbered without a gap',
	sub { $_[0]{attempts} ne join ' ', 1 .. $_[0]{rows} });
none('the last attempt of each is done',
	sub { $_[0]{last} !~ /\A(?:already_)?ended\z/ });
none(
	'all before were lost',
	sub {
		scalar grep { $_ ne 'unknown' } @{ $_[0]{before} };
	});
none(
	'no request is missing in the audit',
	sub { $ends{ $_[1] } > $_[0]{rows} });
is(ask(<<SQL), 0, 'the tracked sessions count the same attempts');
SELECT count(*) FROM bsession_tracked t WHERE attempts <>
 (SELECT count(*) FROM bsession_audit a
   WHERE (a.provider, a.session_id) = (t.provider, t.session_id))
SQL
cmp_ok(
	$unknown, '<=',
	$crashed * $in_flight * @delays,
	'no more was lost than was under way');
cmp_ok($unknown, '>', 0, '… and some was');

# A lease is 37 s: three time-outs, the confirmation's, and 5 s.
cmp_ok($settling - $work, '<', 30, '… and no lease was waited for');

my $requests = 0;
$requests += $_ foreach values %ends;
note sprintf
  '%d crashes, %d sessions: %d requests, %d attempts, %d of them unknown; '
  . '%.1f s; seed %d', $crashed, scalar @ids, $requests, $rows, $unknown,
  $seconds, $seed;

$sim->stop;
done_testing();
