# 025_resources.pl
#
# What is bounded stays so: the memory of the worker while it drains a backlog
# and while rows wait that are not due, the memory of a backend whatever the
# number of ids and the size of replies, and file descriptors, which come out
# of PostgreSQL's budget and are given back.
#
# Memory is what a process has for itself, before and after.  The limits are
# several times what is seen, and a fraction of what it takes to keep a few
# hundred bytes for each session.
#
# BROWSER_SESSION_BACKLOG sets how many sessions the worker has to end; with
# very many, PG_TEST_TIMEOUT_DEFAULT has to allow for them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Node;
use BrowserSession::Poll qw(wait_until);
use BrowserSession::Provider;
use BrowserSession::Sim;
use BrowserSession::Worker;
use List::Util qw(max min);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $backlog = $ENV{BROWSER_SESSION_BACKLOG} // 20_000;
my $sim = BrowserSession::Sim->new;
my $node = BrowserSession::Worker->start_new('main',
	conf => "max_wal_size = '4GB'\ncheckpoint_timeout = '1h'\njit = off\n");

my $kept = BrowserSession::Node::memory_allowance();

# Nothing is to be late here, whatever else the machine does.
my %patient = (timeout => 300_000);

$node->simulated($sim, 's', 'stagehand', {}, %patient);

# A process's own memory in kB.
sub memory
{
	my ($pid) = @_;

	return (PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status") =~
		  /^RssAnon:\s+(\d+) kB/m)[0];
}

# The same in SQL, of the backend that runs it; and the most it ever had,
# what it shares with others included.
my $memory = q(substring(pg_read_file('/proc/self/status')
  FROM 'RssAnon:\s+(\d+)')::int);
my $peak =
  q(substring(pg_read_file('/proc/self/status') FROM 'VmHWM:\s+(\d+)')::int);

sub ids
{
	my ($prefix, $n) = @_;

	return "ARRAY(SELECT '$prefix-' || n FROM generate_series(1, $n) n)";
}

# Has a backend do what it does once.
my $warm_up = 'SELECT FROM bsession_end_many(\'s\', '
  . ids('warm', 300) . ") \\g /dev/null\n";

# Runs a script in one backend.  Answers the lines it prints.
sub lines_of
{
	my ($on, $what, $sql) = @_;
	my ($out, $err, $seconds) = $on->finish($on->background($sql));

	is($err, '', "$what: no error");
	note sprintf '%s: %.1f s', $what, $seconds;
	return split /\n/, $out;
}

# ---- the worker ----

sub insert
{
	my ($prefix, $n, $expires_at) = @_;

	$node->safe_psql('postgres', <<SQL);
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 's', '$prefix-' || n, $expires_at FROM generate_series(1, $n) n;
SQL
	return;
}

# Neither rows that are not due nor a backlog cost the worker memory.
{
	my $worker = $node->worker->{pid};
	my @seen;

	insert('warm', 2000, 'now()');
	$node->wait_for_end('s');
	my $before = memory($worker);
	insert('later', 50_000, q(now() + interval '1 day'));
	insert('between', 1, 'now()');
	$node->wait_for_row('s', 'between-1', state => 'ended');
	my $after = memory($worker);
	cmp_ok($after - $before,
		'<', $kept + 2048, 'rows that are not due take no memory of the worker');
	note "worker: $before kB, with 50,000 rows that are not due $after kB";

	my $sent_before = $sim->stats->{requests};
	my $start = time;
	insert('due', $backlog, 'now()');
	my $inserted = time;
	wait_until(
		'all is sent',
		sub {
			my $sent = $sim->stats->{requests} - $sent_before;

			push @seen, memory($worker)
			  while $sent >= (@seen + 1) * $backlog / 10;
			return @seen >= 10;
		});
	wait_until(
		'all is recorded',
		sub {
			$node->safe_psql('postgres', <<SQL) == 0;
SELECT count(*) FROM bsession_tracked
 WHERE state <> 'ended' AND session_id LIKE 'due-%'
SQL
		});
	my $seconds = time - $inserted;

	is($node->worker->{pid}, $worker, 'the worker is the same');
	cmp_ok(max(@seen) - min(@seen),
		'<', $kept + 4096, 'it ends a backlog at a steady memory');
	is( $node->safe_psql('postgres', <<SQL),
SELECT count(*), count(DISTINCT session_id),
       count(*) FILTER (WHERE outcome = 'ended' AND attempt = 1)
  FROM bsession_audit WHERE session_id LIKE 'due-%'
SQL
		join('|', ($backlog) x 3),
		'… with a row of the audit for each session, none doubled');
	is($sim->stats->{requests} - $sent_before,
		$backlog, '… and one request');
	note sprintf
	  '%d sessions: inserted in %.1f s, ended in %.1f s, %.0f/s; '
	  . 'at each tenth %s kB',
	  $backlog, $inserted - $start, $seconds, $backlog / $seconds,
	  join ' ', @seen;
}

# ---- a backend ----

# Any number of ids: beyond work_mem, what has to be kept is on disk.
{
	my ($rows, $grown) = lines_of($node, '40,000 ids', <<SQL);
$warm_up
SET work_mem = '1MB';
SELECT $memory AS before \\gset
BEGIN;
SELECT count(*) FROM bsession_end_many('s', ${\ ids('many', 40_000)});
SELECT $memory - :before;
COMMIT;
SQL
	is($rows, 40_000, '… each has its row');
	cmp_ok($grown, '<', $kept + 10 * 1024, '… in a bounded memory');
	note "grown by $grown kB";
}

# One after the other in one transaction.
{
	my ($grown) = lines_of($node, '10,000 ends in a transaction', <<SQL);
$warm_up
SET work_mem = '64kB';
CREATE TEMP TABLE grown (kb int);
DO \$\$
DECLARE
	before int;
BEGIN
	FOR n IN 1 .. 10500 LOOP
		IF n = 500 THEN
			before := $memory;
		END IF;
		PERFORM bsession_end('s', 'one-' || n);
	END LOOP;
	INSERT INTO grown VALUES ($memory - before);
END
\$\$;
SELECT kb FROM grown;
SQL
	cmp_ok($grown, '<', $kept + 1536, '… in a bounded memory');
	note "grown by $grown kB";
}

# One call after the other, in one statement.  These ids cannot be used, which
# saves time.
{
	my ($rows, $grown) = lines_of($node, '1,000 calls of 1,000 ids', <<SQL);
$warm_up
SET work_mem = '64kB';
CREATE TEMP TABLE given AS
  SELECT array_agg('../' || md5(n::text)) AS ids FROM generate_series(1, 1000) n;
PREPARE calls(int) AS
  SELECT count(*) FROM generate_series(1, \$1) AS n, given,
    LATERAL bsession_end_many(CASE WHEN n > 0 THEN 's' END, ids);
EXECUTE calls(100) \\g /dev/null
SELECT $memory AS before \\gset
EXECUTE calls(1000);
SELECT $memory - :before;
SQL
	is($rows, 1_000_000, '… each has its row');
	cmp_ok($grown, '<', $kept + 4096, '… in a bounded memory');
	note "grown by $grown kB";
}

# What is longer than max_response_size is not read; what is shorter is not
# kept beyond its row.
foreach my $megabytes (1, 4)
{
	$node->simulated($sim, 'long', 'stagehand',
		{ pad => $megabytes * 1_000_000 }, %patient);
	my ($counts, $grown) =
	  lines_of($node, "50 replies of $megabytes MB", <<SQL);
$warm_up
SET browser_session.max_response_size = '256kB';
SELECT $peak AS before \\gset
SELECT count(*) || ' ' || min(outcome) || ' ' || max(outcome)
  FROM bsession_end_many('long', ${\ ids("long-$megabytes", 50)});
SELECT $peak - :before;
SQL
	is($counts, '50 bad_reply bad_reply', '… are too long');
	cmp_ok($grown, '<', $kept + 40 * 1024, '… and are not read');
	note "grown by $grown kB at most";
}

# A sweep, of replies that are not too long.
{
	$node->simulated($sim, 'swept', 'stagehand', { pad => 40_000 },
		%patient, max_in_flight => 32);
	$node->configure(enabled => 'off');
	$node->safe_psql('postgres', <<SQL);
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 'swept', 'swept-' || n, now() FROM generate_series(1, 1000) n;
SQL
	my ($rows, $grown) = lines_of($node, 'a sweep of 1,000', <<SQL);
$warm_up
SET work_mem = '1MB';
SELECT $peak AS before \\gset
SELECT count(*) FILTER (WHERE done) FROM bsession_end_expired(1000);
SELECT $peak - :before;
SQL
	is($rows, 1000, '… ends them');
	cmp_ok($grown, '<', $kept + 32 * 1024, '… in less than their replies take');
	note "grown by $grown kB at most";
	$node->configure(enabled => 'on');
}

# Arguments beyond reason are refused, or are none.
{
	foreach my $most ('-1', '0', 'NULL', '100001', '2147483647')
	{
		my ($ret, undef, $err) = $node->psql('postgres',
			"\\set VERBOSITY sqlstate\nSELECT FROM bsession_end_expired($most)");

		like($err, qr/22023/, "a sweep of $most is refused");
	}
	is($node->safe_psql('postgres', <<SQL), '0|1', 'arrays of little');
SELECT (SELECT count(*) FROM bsession_end_many('s', '{}')),
       (SELECT count(*) FROM bsession_end_many('s', '{NULL}'));
SQL
	is( $node->safe_psql('postgres', <<SQL),
SELECT outcome, count(*)
  FROM bsession_end_many('s', ARRAY[repeat('x', 10000000), 'huge-1'])
 GROUP BY outcome ORDER BY outcome;
SQL
		"ended|1\nrejected|1",
		'an id of 10 MB is refused');
}

# ---- file descriptors ----

# What other parts of PostgreSQL have taken of the budget counts: a third of
# max_files_per_process, of which dblink has sixty.
{
	my $few = BrowserSession::Node->start_new('few',
		conf => "max_files_per_process = 300\nmax_connections = 100\n");
	my $open = q(SELECT count(*) FROM pg_ls_dir('/proc/self/fd'));

	$few->account(
		's',
		BrowserSession::Provider::options(
			'stagehand', $sim->url('stagehand', delay => 30)),
		retries => 0,
		%patient);
	$few->safe_psql('postgres', 'CREATE EXTENSION dblink');
	$sim->forget;
	my ($before, $ended, $after) = lines_of($few, 'few files', <<SQL);
$open;
SELECT count(*) FILTER (WHERE outcome = 'ended')
  FROM bsession_end_many('s', ${\ ids('few', 500)});
$open;
SQL
	my $most = $sim->stats->{max_in_flight};

	is($ended, 500, 'all are ended with few files');
	cmp_ok($most, '<=', 100, '… over a third of them as sockets at most');
	cmp_ok($most, '>', 50, '… and nearly as many');
	cmp_ok($after - $before, '<=', 70, '… which are not kept');
	note "$most in flight, $before and $after files open";

	$sim->forget;
	my ($rows) = lines_of($few, 'fewer files', <<SQL);
SELECT bsession_end('s', 'rest') IS NULL \\g /dev/null
SELECT count(dblink_connect('c' || n, 'dbname=postgres host='
         || current_setting('unix_socket_directories') || ' port='
         || current_setting('port')))
  FROM generate_series(1, 60) n \\g /dev/null
SELECT count(*) FROM bsession_end_many('s', ${\ ids('fewer', 500)});
SQL
	$most = $sim->stats->{max_in_flight};
	is($rows, 500, 'a row for each, when others have taken files');
	cmp_ok($most, '<=', 45, '… over as many sockets as they have left');
	note "$most in flight";
}

# ---- counters ----

# More servers than bsession_stats has room for: those that come late are not
# counted, but work all the same.
{
	$node->safe_psql('postgres', <<'SQL');
DO $$
BEGIN
	FOR n IN 1 .. 1025 LOOP
		EXECUTE format('CREATE SERVER counted_%s
			FOREIGN DATA WRAPPER browser_session OPTIONS (
			provider ''webdriver'', base_url ''http://127.0.0.1:1'', retries ''0'')', n);
	END LOOP;
END
$$;
SQL
	is( $node->safe_psql('postgres', <<'SQL'),
SELECT count(*), min(outcome), max(outcome)
  FROM generate_series(1, 1025) AS n, bsession_end('counted_' || n, 'x');
SELECT outcome FROM bsession_end('counted_1', 'x');
SELECT outcome FROM bsession_end('counted_1025', 'x');
SQL
		"1025|unreachable|unreachable\nunreachable\nunreachable",
		'1,025 servers work');
	is( $node->safe_psql('postgres', <<'SQL'),
SELECT count(*) FROM bsession_stats;
SELECT attempts FROM bsession_stats WHERE provider = 'counted_1';
SELECT attempts FROM bsession_stats WHERE provider = 'counted_1025';
SQL
		"1024\n2", '… of which 1,024 are counted');
}

done_testing();
