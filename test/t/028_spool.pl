# 028_spool.pl
#
# What a rollback must not lose is on disk beyond work_mem, and is not lost
# there: whichever savepoint the file was begun in, when rows have to be
# written once more, when the file may not grow, when there is no worker, and
# when the worker takes its time.
#
# BROWSER_SESSION_ROLLBACK sets how many ends one transaction rolls back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Node;
use BrowserSession::Poll qw(wait_until);
use BrowserSession::Provider;
use BrowserSession::Sim;
use BrowserSession::Worker;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $many = $ENV{BROWSER_SESSION_ROLLBACK} // 10_000;
my $sim = BrowserSession::Sim->new;
my $node = BrowserSession::Worker->start_new('main',
	conf => "log_temp_files = 0\nwork_mem = '64kB'\n");
my %patient = (timeout => 300_000);

$node->simulated($sim, 's', 'stagehand', {}, %patient);
$node->simulated($sim, 'padded', 'stagehand', { pad => 5000 }, %patient);

# Runs statements, errors and all; answers psql's output and its errors.
sub run_sql
{
	my ($on, $sql) = @_;
	my ($out, $err) = $on->finish($on->background($sql));

	return ($out, $err);
}

# The rows of sessions whose ids begin so: how many, of how many sessions, how
# many of them rolled back.
sub rows
{
	my ($prefix) = @_;

	return $node->safe_psql('postgres', <<SQL);
SELECT count(*), count(DISTINCT session_id), count(*) FILTER (WHERE rolled_back)
  FROM bsession_audit WHERE session_id LIKE '$prefix-%'
SQL
}

# The same once there are so many, which comes when the worker has written
# what it was handed.
sub rows_become
{
	my ($prefix, $expected, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	eval { wait_until($what, sub { rows($prefix) eq $expected }) };
	is(rows($prefix), $expected, $what);
	return;
}

sub not_in_audit
{
	my ($on, $prefix, $offset) = @_;
	my $log = PostgreSQL::Test::Utils::slurp_file($on->logfile, $offset);

	return scalar(() =
		$log =~ /session "$prefix-\d+" .* not in bsession_audit/g);
}

# Ends sessions one by one, so that nothing else needs a file.
sub loop
{
	my ($prefix, $from, $to) = @_;

	return "FOR n IN $from .. $to LOOP"
	  . " PERFORM bsession_end('s', '$prefix-' || n); END LOOP;";
}

# ---- in a file ----

{
	my $offset = -s $node->logfile;

	run_sql($node,
			"BEGIN;\nDO \$\$BEGIN "
		  . loop('rolled', 1, 1000)
		  . " END\$\$;\nROLLBACK;\n");
	rows_become('rolled', '1000|1000|1000', '1,000 ends, rolled back');
	like(
		PostgreSQL::Test::Utils::slurp_file($node->logfile, $offset),
		qr/temporary file: .* size \d{5,}/,
		'… were in a temporary file');

	run_sql($node, "DO \$\$BEGIN " . loop('kept', 1, 1000) . " END\$\$;\n");
	is(rows('kept'), '1000|1000|0', '1,000 ends, committed');
}

# The file is begun in a block that is rolled back, and used on after it.
{
	my ($inner, $outer, $after) = (
		loop('inner', 1, 600), loop('outer', 1, 100), loop('outer', 101, 700));

	run_sql($node, <<SQL);
DO \$\$
BEGIN
	$outer
	BEGIN
		$inner
		RAISE EXCEPTION 'on purpose';
	EXCEPTION WHEN OTHERS THEN
		NULL;
	END;
	$after
END
\$\$;
SQL
	is(rows('outer'), '700|700|0', 'around an exception block: committed');
	rows_become('inner', '600|600|600', '… in it: rolled back');
}
{
	my ($first, $second, $third) =
	  (loop('a', 1, 400), loop('b', 1, 400), loop('c', 1, 400));

	run_sql($node, <<SQL);
BEGIN;
DO \$\$BEGIN $first END\$\$;
SAVEPOINT one;
DO \$\$BEGIN $second END\$\$;
RELEASE one;
SAVEPOINT two;
DO \$\$BEGIN $third END\$\$;
ROLLBACK TO two;
ROLLBACK;
SQL
	rows_become("$_", '400|400|400', "savepoints: $_") foreach qw(a b c);
}

# Rows of the transaction are written in a savepoint that is rolled back, so
# they are written again, with all of the replies, which are in a file, too.
{
	my ($out, $err) = run_sql($node, <<'SQL');
BEGIN;
DO $$BEGIN
	FOR n IN 1 .. 60 LOOP
		PERFORM bsession_end('padded', 'again-' || n);
	END LOOP;
END$$;
SAVEPOINT one;
SELECT count(*) FROM bsession_audit WHERE session_id LIKE 'again-%';
ROLLBACK TO one;
SELECT count(*) FROM bsession_end('padded', 'again-61');
COMMIT;
SQL
	is($err, '', 'rows that are written twice: no error');
	is($out, "60\n1", '… are seen in the savepoint');
	is(rows('again'), '61|61|0', '… and are there once, when it is undone');
	is( $node->safe_psql('postgres', <<'SQL'), 61, '… with the whole reply');
SELECT count(*) FROM bsession_audit
 WHERE session_id LIKE 'again-%' AND length(response::text) > 5000
SQL
}

# ---- when the file may not grow ----

{
	my $loop = loop('limited', 1, 2000);

	my $before = $sim->stats->{requests};
	my (undef, $err) = run_sql($node, <<SQL);
\\set VERBOSITY verbose
SET temp_file_limit = '100kB';
DO \$\$BEGIN $loop END\$\$;
SQL
	my $sent = $sim->stats->{requests} - $before;

	like($err, qr/53400: +temporary file size exceeds temp_file_limit/,
		'temp_file_limit is an error');
	cmp_ok($sent, '>', 200, '… after some ends');
	cmp_ok($sent, '<', 2000, '… and not all');
	rows_become('limited', "$sent|$sent|$sent", '… none of which is lost');
}

# ---- when the worker takes its time ----

# There is room for some three thousand rows in shared memory.
{
	my $offset = -s $node->logfile;
	my (undef, $err, $seconds) = $node->finish($node->background(<<SQL));
BEGIN;
SELECT count(*) FROM bsession_end_many('s',
  ARRAY(SELECT 'many-' || n FROM generate_series(1, $many) n));
ROLLBACK;
SQL
	is($err, '', "$many ends, rolled back");
	rows_become('many', join('|', ($many) x 3), '… are all in the audit');
	is(not_in_audit($node, 'many', $offset), 0, '… and none in the log');
	note sprintf '%d ends and their rollback: %.1f s', $many, $seconds;
}

# The worker cannot write: a rollback does not wait for it for ever, and not
# at all when it is cancelled.
{
	my $offset = -s $node->logfile;
	my $lock = $node->background(<<'SQL');
BEGIN;
LOCK bsession_audit IN SHARE MODE;
SELECT pg_backend_pid();
SELECT pg_sleep(3600);
SQL
	my $pid;

	wait_until('the audit is locked',
		sub { ($pid) = slurp_file("$lock->{base}.out") =~ /^(\d+)$/m; });
	run_sql($node, <<'SQL');
BEGIN;
SELECT count(*) FROM bsession_end_many('s',
  ARRAY(SELECT 'stuck-' || n FROM generate_series(1, 6000) n));
ROLLBACK;
SQL
	my $logged = not_in_audit($node, 'stuck', $offset);
	cmp_ok($logged, '>', 0, 'the worker does not get on: some are in the log');

	my $query = $node->background(<<'SQL');
BEGIN;
SELECT pg_backend_pid();
SELECT count(*) FROM bsession_end_many('s',
  ARRAY(SELECT 'cancelled-' || n FROM generate_series(1, 50) n));
ROLLBACK;
SQL
	my $cancelled;
	wait_until(
		'a rollback waits, and is cancelled',
		sub {
			my ($backend) = slurp_file("$query->{base}.out") =~ /^(\d+)$/m;

			$cancelled = time;
			return defined $backend
			  && $node->safe_psql('postgres', <<SQL) eq 't';
SELECT pg_cancel_backend(pid) FROM pg_stat_activity
 WHERE pid = $backend AND state = 'active' AND query LIKE 'ROLLBACK%'
SQL
		});
	$node->finish($query);
	cmp_ok(time - $cancelled, '<', 8,
		'a rollback that is cancelled does not wait');
	note sprintf 'cancelled: %.1f s', time - $cancelled;
	is(not_in_audit($node, 'cancelled', $offset), 50, '… its rows are there');

	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	$node->finish($lock);
	my $saved = 6000 - $logged;
	rows_become('stuck', "$saved|$saved|$saved",
		'all others are in the audit later');
}

# ---- when there is none ----

{
	my $alone = BrowserSession::Node->start_new('alone',
		conf => "work_mem = '64kB'\n");
	my $offset = -s $alone->logfile;
	my $loop = loop('alone', 1, 1000);

	$alone->account(
		's',
		BrowserSession::Provider::options(
			'stagehand', $sim->url('stagehand')),
		%patient);
	run_sql($alone, "BEGIN;\nDO \$\$BEGIN $loop END\$\$;\nROLLBACK;\n");
	is(not_in_audit($alone, 'alone', $offset),
		1000, 'without a worker, all that was in the file is in the log');
}

done_testing();
