# 027_clock.pl
#
# The clock on the wall is set while the server runs, forward as after a pause
# of the machine, and back as by NTP.  Expiries follow it at once; a pause
# lasts as long as it would have, and what is under way is not taken for lost.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Clock;
use BrowserSession::Poll qw(wait_until);
use BrowserSession::Sim;
use BrowserSession::Worker;
use PostgreSQL::Test::Utils;
use Test::More;

my $hour = 3600;
my $sim = BrowserSession::Sim->new;
my $clock = BrowserSession::Clock->new;
my $node = $clock->start(sub { BrowserSession::Worker->start_new('main'); });

$node->simulated($sim, 'fast', 'stagehand', {});
$node->simulated($sim, 'silent', 'stagehand', { delay => 600_000 },
	timeout => 600_000);
$node->simulated($sim, 'later', 'stagehand',
	{ status => 429, retry_after => 900 });
$node->simulated($sim, 'busy', 'stagehand',
	{ status => 503, retry_after => 3 });
$node->simulated($sim, 'paced', 'stagehand', {}, max_rate => 2);

# What PostgreSQL takes for the time, compared with the machine's.
sub shift_seen
{
	return sprintf '%.0f',
	  $node->safe_psql('postgres',
		'SELECT extract(epoch FROM clock_timestamp())') - time;
}

# Ends the worker of a database, as an administrator may.
sub end_worker
{
	my ($database) = @_;

	return $node->safe_psql('postgres', <<SQL);
SELECT pg_terminate_backend(pid, 180000) FROM pg_stat_activity
 WHERE backend_type = 'browser_session worker' AND datname = '$database'
SQL
}

# ----- forward --------------------------------------------------------------

$node->track('silent', 'now()', 'under-way');
$node->track('later', 'now()', 'paused');
$node->track('fast', "now() + interval '30 minutes'", 'passed');
$node->track('fast', "now() + interval '90 minutes'", 'to-come');
wait_until('the silent provider is asked',
	sub { $sim->requests('under-way'); });
$node->wait_for_row('later', 'paused', attempts => 1, claimed_by => '');
# It looks once more, and then knows of nothing that is to come soon.
$node->reload;
wait_until(
	'the worker sleeps for long',
	sub {
		$node->safe_psql('postgres', <<'SQL') eq 't';
SELECT next_due > clock_timestamp() + interval '5 minutes' FROM bsession_worker
SQL
	});

$clock->set($hour);
cmp_ok(shift_seen(), '>', $hour - 60, 'the clock goes an hour ahead');
$node->wait_for_row('fast', 'passed', state => 'ended');
pass('what has expired by it is ended');
is($node->tracked('fast', 'to-come')->{state},
	'active', '… and what has not is not');
is(scalar $sim->requests('under-way'),
	1, 'what is under way is not sent a second time');
is($node->tracked('silent', 'under-way')->{attempts},
	1, '… nor claimed a second time');
is_deeply([ $node->audit('silent', 'under-way') ],
	[], '… nor taken for lost');
is( $node->safe_psql(
		'postgres', <<SQL), 't', '… nor does its lease lapse, for a sweep');
SELECT next_attempt_at - clock_timestamp()
       BETWEEN interval '1 minute' AND interval '1 hour'
  FROM bsession_tracked WHERE session_id = 'under-way'
SQL
is($node->tracked('later', 'paused')->{attempts},
	1, 'a pause that the provider asked for is not cut short');
is( $node->safe_psql(
		'postgres', <<SQL), 't', '… and is as long as it was, by that clock');
SELECT next_attempt_at - clock_timestamp()
       BETWEEN interval '1 minute' AND interval '15 minutes'
  FROM bsession_tracked WHERE session_id = 'paused'
SQL

# ----- back -----------------------------------------------------------------

$node->track('paced', "now() + interval '1 day'", map { "turn-$_" } 1 .. 6);
$node->track('busy', 'now()', 'retried');
$node->wait_for_row('busy', 'retried', attempts => 1, claimed_by => '');
$node->safe_psql('postgres', <<SQL);
SELECT bsession_expire(provider, session_id) FROM bsession_tracked
 WHERE provider = 'paced'
SQL
$clock->set(0);
cmp_ok(abs shift_seen(), '<', 60, 'the clock goes an hour back');
{
	my $before = $sim->requests('retried');

	wait_until('it is tried again',
		sub { $sim->requests('retried') > $before; });
	pass('a pause before another attempt does not get longer');
}
$node->wait_for_end('paced');
pass('what was to be ended at once is ended');
is($node->tracked('fast', 'to-come')->{state},
	'active', '… and what expires later is not');

# A worker that fails is started again after a pause.  The database is closed
# without a word to the launcher.
$node->safe_psql('postgres', 'CREATE DATABASE closed');
$node->safe_psql('closed', 'CREATE EXTENSION browser_session');
wait_until('it has a worker', sub { end_worker('closed') eq 't'; });
$node->safe_psql('postgres', <<SQL);
UPDATE pg_database SET datallowconn = false WHERE datname = 'closed'
SQL
end_worker('closed');
wait_until('the worker fails',
	sub { slurp_file($node->logfile) =~ /FATAL: .*"closed"/; });
$clock->set(-$hour);
$node->safe_psql('postgres', <<SQL);
UPDATE pg_database SET datallowconn = true WHERE datname = 'closed'
SQL
wait_until('it is started again', sub { end_worker('closed') eq 't'; });
pass('a worker that has failed is started again');

# ----- what was planned while the clock was wrong ---------------------------

$node->track('fast', "now() + interval '2 years'", 'far', 'farther');
$node->safe_psql('postgres', <<SQL);
UPDATE bsession_tracked SET state = 'ending', reason = 'commit'
 WHERE session_id = 'far'
SQL
is(end_worker('postgres'), 't', 'the worker is started anew');
$node->wait_for_row('fast', 'far', state => 'ended');
pass('a pause that is longer than any is over');
is($node->tracked('fast', 'farther')->{state},
	'active', '… an expiry is what it is');

# ----- the provider's clock -------------------------------------------------

$node->simulated($sim, 'dated', 'stagehand',
	{ status => 429, times => 1, retry_after_date => 1 });
{
	my $row = $node->end('dated', 'by-date');

	is("$row->{outcome} $row->{attempts}",
		'ended 2', 'a date to try again is one of the provider\'s clock');
}

$node->stop('fast');
$sim->stop;
done_testing();
