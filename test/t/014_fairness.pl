# 014_fairness.pl
#
# One provider's trouble is not the others': a provider that is down, silent,
# slow, or refuses a key gets probes or no more than its share, while the
# sessions of others, and of other roles at the same provider, end as if it
# were not there.  How late they end beside it is printed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Poll qw(wait_until);
use BrowserSession::Sim;
use BrowserSession::Worker;
use List::Util qw(max min);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $sim = BrowserSession::Sim->new;
# Few descriptors, so that few exchanges are all that can be under way.
my $node = BrowserSession::Worker->start_new('main', conf => <<'CONF');
max_files_per_process = 250
browser_session.retry_delay = 200ms
browser_session.max_retry_delay = 1s
browser_session.max_attempts = 100
CONF

sub sql { return $node->safe_psql('postgres', @_); }

sub log_lines
{
	my ($pattern) = @_;
	my @lines = grep { /LOG:  $pattern/ } split /\n/,
	  PostgreSQL::Test::Utils::slurp_file($node->logfile);

	return scalar @lines;
}

# max_in_flight and max_rate are the server's.
{
	$sim->forget;
	$node->simulated($sim, 'narrow', 'stagehand', { delay => 100 },
		max_in_flight => 3);
	$node->track('narrow', 'now()', map { "narrow-$_" } 1 .. 12);
	$node->wait_for_end('narrow');
	is($sim->stats->{max_in_flight}, 3, 'max_in_flight is used and kept');

	$node->simulated($sim, 'rate', 'stagehand', {}, max_rate => 10);
	$node->track('rate', 'now()', map { "rate-$_" } 1 .. 25);
	$node->wait_for_end('rate');
	my @at = map { $_->{at} / 1e6 }
	  grep { $_->{target} =~ /rate-/ } $sim->requests;
	my $most = 0;
	foreach my $start (@at)
	{
		$most =
		  max($most, scalar grep { $_ >= $start && $_ < $start + 1 } @at);
	}
	is(scalar @at, 25, 'max_rate: all are ended');
	cmp_ok(max(@at) - min(@at), '>=', 1.4, '… in their time');
	cmp_ok($most, '<=', 22, '… and no second has many more');
	note sprintf '25 sessions at 10 a second: %.2f s, at most %d in a second',
	  max(@at) - min(@at), $most;
}

# A provider that is down and one that is silent, beside three healthy ones.
{
	my $dead = BrowserSession::Worker::dead_sim();
	my @healthy = map { "healthy-$_" } 1 .. 3;
	my @all = (@healthy, 'dead', 'silent');
	my $sessions = sub {
		sql(<<SQL);
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT provider, provider || '-$_[0]-' || i,
       now() + '300 ms' + i * '10 ms'::interval
  FROM generate_series(1, $_[1]) AS i,
       unnest('{$_[2]}'::text[]) AS provider
 ORDER BY i;
SQL
	};

	$node->simulated($sim, $_, 'stagehand', {}, max_in_flight => 20)
	  foreach @healthy;
	$node->simulated($dead, 'dead', 'stagehand', {}, max_in_flight => 5);
	$node->simulated($sim, 'silent', 'stagehand', { delay => 300_000 },
		timeout => 400);
	$sim->forget;

	# The same without the others, for comparison.
	$sessions->('alone', 80, join ',', @healthy);
	$node->wait_for_end($_) foreach @healthy;
	note "$_ alone: "
	  . BrowserSession::Worker::distribution($node->lateness($sim, $_))
	  foreach @healthy;
	sql("DELETE FROM bsession_tracked WHERE provider LIKE 'healthy-%'");

	my $start = time;
	$sessions->('beside', 80, join ',', @all);
	$node->wait_for_end($_) foreach @healthy;
	foreach my $server (@healthy)
	{
		my @late = $node->lateness($sim, $server);

		is(scalar @late, 80, "$server: all ended beside dead providers");
		cmp_ok(max(@late), '<', 5000, '… when they should');
		note "$server: " . BrowserSession::Worker::distribution(@late);
	}
	wait_until('both breakers are open',
		sub { log_lines('server "(dead|silent)" does not answer') == 2 });

	# Five failures, what was under way besides, and probes that are half a
	# second, a second, two seconds and so on apart.
	wait_until('the dead one has been probed',
		sub { sql(q(SELECT count(*) FROM bsession_audit
			WHERE provider = 'dead' AND outcome = 'unreachable')) >= 8 });
	my $attempts = sql(
		q(SELECT count(*) FROM bsession_audit WHERE provider = 'dead'));
	my $seconds = time - $start;
	cmp_ok($attempts, '<=', 10 + 2 + log(1 + $seconds / 0.5) / log(2),
		'the dead provider gets probes');
	note sprintf '%d attempts in %.1f s', $attempts, $seconds;
	is($node->count_not_ended('dead'), 80, '… and none of it is lost');

	$dead->revive;
	sql("ALTER SERVER silent OPTIONS (SET base_url '"
		  . $sim->url('stagehand')
		  . "')");
	$node->wait_for_end($_) foreach qw(dead silent);
	is( sql("SELECT count(*) FROM bsession_audit WHERE provider = 'dead'"
			  . " AND outcome = 'ended'"),
		80,
		'it drains when it is back');
	is(scalar $dead->requests, 80, '… each session once');
	foreach my $server (qw(dead silent))
	{
		is(log_lines(qq(server "$server" does not answer)),
			1, "$server: one line when the breaker opened");
		is(log_lines(qq(server "$server" answers again)),
			1, '… and one when it closed');
	}
	is(log_lines('server "healthy'), 0, '… and none of the others');
}

# A credential that is not accepted stops its role alone.
{
	$node->simulated($sim, 'keys', 'stagehand', {}, max_in_flight => 5);
	sql(<<SQL);
CREATE ROLE wrong_key;
GRANT USAGE ON FOREIGN SERVER keys TO wrong_key;
CREATE USER MAPPING FOR wrong_key SERVER keys OPTIONS (api_key 'new-key');
SET ROLE wrong_key;
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 'keys', 'wrong-' || i, now() FROM generate_series(1, 30) AS i;
SQL
	wait_until('the breaker is open',
		sub { log_lines('server "keys" does not accept') == 1 });
	$node->track('keys', 'now()', map { "right-$_" } 1 .. 30);
	$node->wait_for_row('keys', "right-$_", state => 'ended') foreach 1 .. 30;
	is(log_lines('server "keys" does not accept the credential of role "wrong_key"'),
		1, 'a key that is not accepted');
	my $denied = grep { $_->{target} =~ /wrong-/ } $sim->requests;
	cmp_ok($denied, '<=', 15, '… gets probes');
	is($node->count_not_ended('keys'),
		30, '… while those with another key end');
	$sim->accept_key('new-key');
	$node->wait_for_end('keys');
	is(log_lines('server "keys" accepts the credential of role "wrong_key"'),
		1, '… and goes on once it is');
}

# How many sessions at the server "shared" were ended after all whose ids begin
# like this.
sub ended_after
{
	my ($prefix) = @_;

	return sql(<<SQL);
SELECT count(*) FROM bsession_audit WHERE provider = 'shared' AND at >
	(SELECT max(at) FROM bsession_audit WHERE session_id LIKE '$prefix%');
SQL
}

# Two roles at one server take turns.
{
	$node->simulated($sim, 'shared', 'stagehand', { delay => 50 },
		max_in_flight => 2);
	sql(<<SQL);
CREATE ROLE few;
CREATE ROLE many;
GRANT USAGE ON FOREIGN SERVER shared TO few, many;
SET ROLE many;
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 'shared', 'many-' || i, now() FROM generate_series(1, 100) AS i;
SET ROLE few;
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 'shared', 'few-' || i, now() FROM generate_series(1, 5) AS i;
SQL
	$node->wait_for_end('shared');
	cmp_ok(ended_after('few-'),
		'>', 0, 'a role with few sessions does not wait for one with many');

	# In either order of their names.
	sql(<<SQL);
SET ROLE few;
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 'shared', 'now-many-' || i, now() FROM generate_series(1, 100) AS i;
SET ROLE many;
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 'shared', 'now-few-' || i, now() FROM generate_series(1, 5) AS i;
SQL
	$node->wait_for_end('shared');
	cmp_ok(ended_after('now-few-'), '>', 0, '… whoever it is');
	sql("DELETE FROM bsession_tracked WHERE provider = 'shared'");
}

# Providers that work, but are slow and have much to do, leave some room.
{
	my @slow = map { "a_slow_$_" } 1 .. 4;
	my $delay = 4000;

	$node->simulated($sim, $_, 'stagehand', { delay => $delay },
		timeout => 60_000) foreach @slow;
	$node->simulated($sim, 'b_quick', 'stagehand', {});
	$sim->forget;
	sql(<<SQL);
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT provider, provider || '-' || i, now()
  FROM generate_series(1, 250) AS i,
       unnest('{@{[join ',', @slow]}}'::text[]) AS provider;
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 'b_quick', 'quick-' || i, now() + '300 ms' + i * '20 ms'::interval
  FROM generate_series(1, 40) AS i;
SQL
	$node->wait_for_end('b_quick');
	my @late = $node->lateness($sim, 'b_quick');
	is(scalar @late, 40, 'a quick provider beside slow ones');
	cmp_ok(max(@late), '<', $delay / 2, '… does not wait for them');
	note 'beside slow ones: ' . BrowserSession::Worker::distribution(@late);
	cmp_ok($sim->stats->{max_in_flight},
		'<', 250, '… which have all they can get');
}

$node->stop;
ok( !grep({ /terminated by signal|PANIC|TRAP/ } split /\n/,
		PostgreSQL::Test::Utils::slurp_file($node->logfile)),
	'no process crashed');

done_testing();
