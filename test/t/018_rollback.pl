# 018_rollback.pl
#
# An end that was made is in bsession_audit even if the transaction that made
# it is rolled back: with rolled_back, by way of the background worker, for
# each attempt one row, whatever it was that rolled it back.  So is an exchange
# that is broken off, whose outcome is then unknown.  Where there is no worker
# to write the row, it is in the server's log.
#
# Each test looks at the rows when all that were handed to the worker have been
# written; so it also sees a row too many.
#
# BROWSER_SESSION_ROLLBACKS sets how many transactions of one session each are
# rolled back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Poll qw(wait_until);
use BrowserSession::Provider;
use BrowserSession::Sim;
use BrowserSession::Wire;
use BrowserSession::Worker;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $rollbacks = $ENV{BROWSER_SESSION_ROLLBACKS} // 300;
my $sim = BrowserSession::Sim->new;
my $wire = BrowserSession::Wire->new(
	v => sub {
		my ($connection, $request) = @_;

		$connection->hang if $request->{target} =~ /hang/;
		return $connection->reply(200, '{"success":true}');
	});
my $node = BrowserSession::Worker->start_new('main',
	conf => "max_prepared_transactions = 2\n");

$node->simulated($sim, 's', 'stagehand', {});
$node->simulated($sim, 'flaky', 'stagehand',
	{ status => 503, times => 2, retry_after_ms => 20 });
$node->simulated($sim, 'padded', 'stagehand', { pad => 5000 });
$node->account('hang',
	BrowserSession::Provider::options('stagehand', $wire->url('v')),
	timeout => 60_000);

# Runs statements, errors and all; answers psql's output and its errors.
sub run_sql
{
	my ($sql) = @_;
	my (undef, $out, $err) = $node->psql(
		'postgres', $sql,
		on_error_stop => 0,
		timeout => $PostgreSQL::Test::Utils::timeout_default);

	return ($out, $err);
}

# What the audit says of a server's sessions (one of them) once everything
# that has been handed to the worker is written: it takes things in turn, so
# what is handed over now comes last.
my $markers = 0;

sub audit
{
	my ($server, $id) = @_;
	my $marker = 'marker-' . ++$markers;

	run_sql("BEGIN; SELECT FROM bsession_end('s', '$marker'); ROLLBACK;");
	wait_until('the worker has written what it was handed',
		sub { scalar $node->audit('s', $marker) });
	return $node->audit($server, $id);
}

# The rows in short: outcome, attempt, and R if it was rolled back.
sub in_short
{
	return join ', ',
	  map { "$_->{outcome} $_->{attempt}" . ($_->{rolled_back} ? ' R' : '') }
	  @_;
}

# Runs statements on session ID and looks at its rows.
sub leaves
{
	my ($expected, $id, $sql, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$sql =~ s/\bEND\(([\w-]+)\)/SELECT outcome FROM bsession_end('s', '$1')/g;
	my ($out, $err) = run_sql($sql);
	is(in_short(audit('s', $id)), $expected, $what)
	  or diag "output: $out\nerrors: $err";
	return;
}

# ---- what rolls a transaction back ----

leaves('ended 1', 'commit', 'BEGIN; END(commit); COMMIT;',
	'committed: one row, not rolled back');
leaves('ended 1', 'single', 'END(single);', 'a statement by itself: the same');
leaves('ended 1 R', 'rollback', 'BEGIN; END(rollback); ROLLBACK;',
	'ROLLBACK: one row, rolled back');
leaves('ended 1 R', 'later-error', 'BEGIN; END(later-error); SELECT 1 / 0; COMMIT;',
	'an error later in the transaction');
leaves(
	'ended 1 R', 'same-statement',
	q(SELECT 1 / length(substr(outcome, 100)) FROM bsession_end('s', 'same-statement');),
	'an error in the same statement');
leaves('ended 1 R', 'disconnect', 'BEGIN; END(disconnect);',
	'the client goes away');
leaves(
	'ended 1 R', 'deferred', <<'SQL', 'a constraint that is checked at commit');
CREATE TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);
BEGIN; END(deferred); INSERT INTO late VALUES (1), (1); COMMIT;
DROP TABLE late;
SQL

# ---- savepoints ----

leaves('ended 1 R', 'savepoint',
	'BEGIN; SAVEPOINT a; END(savepoint); ROLLBACK TO a; COMMIT;',
	'ROLLBACK TO SAVEPOINT, though the transaction commits');
leaves('ended 1', 'before',
	'BEGIN; END(before); SAVEPOINT a; END(x); ROLLBACK TO a; COMMIT;',
	'… not what was before the savepoint');
leaves('ended 1', 'after',
	'BEGIN; SAVEPOINT a; END(y); ROLLBACK TO a; END(after); COMMIT;',
	'… nor what comes after it');
leaves('ended 1', 'released',
	'BEGIN; SAVEPOINT a; END(released); RELEASE a; COMMIT;',
	'RELEASE and COMMIT');
leaves('ended 1 R', 'release-rollback',
	'BEGIN; SAVEPOINT a; END(release-rollback); RELEASE a; ROLLBACK;',
	'RELEASE and ROLLBACK');
leaves(
	'ended 1 R', 'release-inner',
	'BEGIN; SAVEPOINT a; SAVEPOINT b; END(release-inner); RELEASE b; ROLLBACK TO a; COMMIT;',
	'RELEASE of an inner savepoint, ROLLBACK TO the outer');
leaves(
	'ended 1', 'release-both',
	'BEGIN; SAVEPOINT a; SAVEPOINT b; END(release-both); RELEASE b; RELEASE a; COMMIT;',
	'RELEASE of both');
leaves(
	'ended 1 R', 'inner',
	'BEGIN; SAVEPOINT a; SAVEPOINT b; END(inner); ROLLBACK TO b; ROLLBACK TO a; ROLLBACK;',
	'rolled back thrice: one row');
leaves(
	'ended 1 R, already_ended 1', 'again',
	'BEGIN; SAVEPOINT a; END(again); ROLLBACK TO a; END(again); RELEASE a; COMMIT;',
	'once in vain and once more');

# ---- PL/pgSQL ----

leaves('ended 1 R', 'exception', <<'SQL', 'an exception block');
DO $$
BEGIN
	PERFORM bsession_end('s', 'exception');
	RAISE EXCEPTION 'on purpose';
EXCEPTION WHEN OTHERS THEN
	NULL;
END
$$;
SQL
leaves('ended 1', 'exception-inner', <<'SQL', '… that another one is in');
DO $$
BEGIN
	BEGIN
		PERFORM bsession_end('s', 'exception-inner');
		BEGIN
			PERFORM bsession_end('s', 'z');
			RAISE EXCEPTION 'on purpose';
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	EXCEPTION WHEN OTHERS THEN
		NULL;
	END;
END
$$;
SQL
leaves('ended 1 R', 'exception-outer', <<'SQL', '… that fails as a whole');
DO $$
BEGIN
	BEGIN
		PERFORM bsession_end('s', 'exception-outer');
	EXCEPTION WHEN OTHERS THEN
		NULL;
	END;
	RAISE EXCEPTION 'on purpose';
END
$$;
SQL
leaves('ended 1, already_ended 1 R', 'procedure', <<'SQL', 'a procedure that commits');
CREATE PROCEDURE half() LANGUAGE plpgsql AS
$$
BEGIN
	PERFORM bsession_end('s', 'procedure');
	COMMIT;
	PERFORM bsession_end('s', 'procedure');
	ROLLBACK;
END
$$;
CALL half();
SQL

# ---- what the row says ----

# As if it had been committed, but for rolled_back.
{
	run_sql(<<'SQL');
CREATE ROLE app;
GRANT USAGE ON FOREIGN SERVER s, flaky TO app;
SET ROLE app;
SET application_name = 'my application';
BEGIN; SELECT FROM bsession_end('s', 'unknown-columns'); ROLLBACK;
SELECT FROM bsession_end('s', 'unknown-columns');
SQL
	# A committed row may come before one that the worker has to write.
	my ($lost, $kept) =
	  sort { $b->{rolled_back} <=> $a->{rolled_back} }
	  audit('s', 'unknown-columns');

	ok($lost->{rolled_back} && !$kept->{rolled_back}, 'a row of each kind');
	is_deeply($lost->{$_}, $kept->{$_}, "… with the same $_")
	  foreach
	  qw(provider reason outcome provider_status http_status attempt error
	  response actor application_name client_addr);
	is($lost->{actor}, 'app', '… in the caller\'s name');
	is($lost->{application_name}, 'my application', '… and application\'s');
	isnt($lost->{elapsed}, undef, '… and how long it took');
	cmp_ok($lost->{at_us}, '<', $kept->{at_us}, '… and when it was');
	my ($out) = run_sql(<<'SQL');
SET ROLE app;
SELECT count(*) FROM bsession_audit WHERE session_id = 'unknown-columns';
SQL
	is($out, 2, '… and the caller sees it');
}

# Attempts are numbered, and each has its own row.
run_sql(q(BEGIN; SELECT FROM bsession_end('flaky', 'three'); ROLLBACK;));
is( in_short(audit('flaky', 'three')),
	'unavailable 1 R, unavailable 2 R, ended 3 R',
	'three attempts of a call are three rows');

# A long answer is left out; the rest is there.
{
	run_sql(
		q(BEGIN; SELECT FROM bsession_end('padded', 'long'); ROLLBACK;));
	my ($row) = audit('padded', 'long');

	is(in_short($row), 'ended 1 R', 'an answer of 5,000 bytes');
	is($row->{http_status}, 200, '… its status is kept');
}

# The tracked row is as it was; the worker ends it when it is due.
{
	$node->track('s', q(now() + interval '1 hour'), 'tracked');
	leaves('ended 1 R', 'tracked', 'BEGIN; END(tracked); ROLLBACK;',
		'a tracked session');
	is($node->tracked('s', 'tracked')->{state},
		'active', '… is tracked as before');
	run_sql(q(SELECT bsession_expire('s', 'tracked')));
	$node->wait_for_row(
		's', 'tracked',
		state => 'ended',
		outcome => 'already_ended');
	is( in_short($node->audit('s', 'tracked')),
		'ended 1 R, already_ended 1',
		'… and found to be over at its end');
}

# ---- many ----

# A call of a thousand; a thousand calls.
{
	my ($out, $err) = run_sql(<<'SQL');
BEGIN;
SELECT count(*) FROM bsession_end_many('s',
	ARRAY(SELECT 'many-' || n FROM generate_series(1, 1000) AS n));
ROLLBACK;
SQL
	is($out, 1000, 'bsession_end_many() of 1,000, rolled back') or diag $err;
	audit('s');
	is(count_like('many-%'), '1000|1000|1000|1000', '… has 1,000 rows');

	my $start = time;
	run_sql(
		join '',
		map { "BEGIN; SELECT FROM bsession_end('s', 'one-$_'); ROLLBACK;\n" }
		  1 .. $rollbacks);
	my $seconds = time - $start;
	audit('s');
	is( count_like('one-%'),
		join('|', ($rollbacks) x 4),
		"$rollbacks rollbacks have $rollbacks rows");
	note sprintf '%d rollbacks of one end each: %.1f s', $rollbacks, $seconds;

	run_sql(<<'SQL');
DO $$
BEGIN
	FOR n IN 1 .. 300 LOOP
		BEGIN
			PERFORM bsession_end('s', 'block-' || n);
			IF n % 3 > 0 THEN
				RAISE EXCEPTION 'on purpose';
			END IF;
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END LOOP;
END
$$;
SQL
	audit('s');
	is(count_like('block-%'), '300|300|200|300',
		'300 exception blocks, two of three rolled back');
}

# Rows, sessions, those rolled back, those that ended.
sub count_like
{
	my ($pattern) = @_;

	return $node->safe_psql('postgres', <<SQL);
SELECT count(*), count(DISTINCT session_id), count(*) FILTER (WHERE rolled_back),
       count(*) FILTER (WHERE outcome = 'ended' AND attempt = 1)
  FROM bsession_audit WHERE session_id LIKE '$pattern'
SQL
}

# Backends at once.
{
	my @queries = map {
		my $backend = $_;
		$node->background(
			join '',
			map {
				"BEGIN; SELECT FROM bsession_end('s', 'at-once-$backend-$_'); ROLLBACK;\n"
			} 1 .. 25)
	} 1 .. 4;

	$node->finish($_) foreach @queries;
	audit('s');
	is(count_like('at-once-%'), '100|100|100|100',
		'four backends at once: a row for each end');
}

# ---- broken off ----

# Starts statements in the background that hang in an exchange for $id;
# answers the query, with the backend's pid.
sub start_hanging
{
	my ($id, $sql) = @_;
	my $query = $node->background("SELECT pg_backend_pid();\n$sql");

	wait_until(
		"the request for $id is under way",
		sub {
			scalar grep { $_->{target} =~ m{/\Q$id\E/} } $wire->requests;
		});
	($query->{pid}) = slurp_file("$query->{base}.out") =~ /^(\d+)$/m;
	return $query;
}

sub is_broken_off
{
	my ($id, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @rows = audit('hang', $id);

	is(in_short(@rows), 'unknown 1 R', "$what: one row, unknown");
	is($rows[0]{http_status}, undef, '… without a status');
	is($rows[0]{elapsed}, undef, '… nor a time');
	like($rows[0]{error}, qr/broken off before the provider's answer was read/,
		'… which says so');
	return;
}

{
	my ($out, $err) = run_sql(<<'SQL');
SET statement_timeout = '200ms';
SELECT outcome FROM bsession_end('hang', 'hang-timeout');
SQL
	like($err, qr/canceling statement due to statement timeout/,
		'statement_timeout during the exchange');
	is_broken_off('hang-timeout', 'statement_timeout');
}

foreach my $function (qw(pg_cancel_backend pg_terminate_backend))
{
	my $id = "hang-$function";
	my $query =
	  start_hanging($id, "SELECT outcome FROM bsession_end('hang', '$id');\n");

	$node->safe_psql('postgres', "SELECT $function($query->{pid})");
	$node->finish($query);
	is_broken_off($id, $function);
}

# The client is gone, and the backend is told to look.
{
	my $id = 'hang-client';
	my $query = start_hanging($id,
		"SET client_connection_check_interval = '100ms';\n"
		  . "SELECT outcome FROM bsession_end('hang', '$id');\n");

	$query->{run}->kill_kill;
	wait_until(
		'the backend is gone',
		sub {
			$node->safe_psql('postgres',
				"SELECT count(*) FROM pg_stat_activity WHERE pid = $query->{pid}"
			) == 0;
		});
	is_broken_off($id, 'a client that is gone');
}

# Within a savepoint, in a transaction that goes on and commits.
{
	my ($out, $err) = run_sql(<<'SQL');
BEGIN;
SELECT outcome FROM bsession_end('hang', 'fine-outside');
SAVEPOINT a;
SET LOCAL statement_timeout = '200ms';
SELECT outcome FROM bsession_end('hang', 'hang-savepoint');
ROLLBACK TO a;
COMMIT;
SQL
	is_broken_off('hang-savepoint', 'within a savepoint');
	is(in_short($node->audit('hang', 'fine-outside')),
		'ended 1', '… and what was outside of it is not rolled back');
}

# Of many, those that were over are not unknown, those not begun have no row.
{
	$node->account(
		'few',
		BrowserSession::Provider::options('stagehand', $wire->url('v')),
		max_in_flight => 2,
		timeout => 60_000);
	my $query = start_hanging('hang-2', <<'SQL');
SELECT outcome FROM bsession_end_many('few',
	'{fine-1,fine-2,fine-3,hang-1,hang-2,not-begun}');
SQL
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($query->{pid})");
	$node->finish($query);
	my %rows = map { $_->{session_id} => [] } my @rows = audit('few');

	push @{ $rows{ $_->{session_id} } }, $_ foreach @rows;
	is(in_short(@{ $rows{"fine-$_"} // [] }), 'ended 1 R', "fine-$_, of many")
	  foreach 1 .. 3;
	is(in_short(@{ $rows{"hang-$_"} // [] }),
		'unknown 1 R', "hang-$_ of them was broken off")
	  foreach 1 .. 2;
	ok(!$rows{'not-begun'}, 'one of them had not begun');
}

# A call that waits to try again, or for its turn: what has not been sent is
# no attempt.
{
	$node->simulated($sim, 'wait', 'stagehand',
		{ status => 503, retry_after => 5 });
	run_sql(<<'SQL');
SET statement_timeout = '300ms';
SELECT outcome FROM bsession_end('wait', 'between');
SQL
	is(in_short(audit('wait', 'between')),
		'unavailable 1 R', 'broken off between two attempts');

	$node->simulated($sim, 'paced', 'stagehand', {}, max_rate => 0.1);
	run_sql(<<'SQL');
SET statement_timeout = '300ms';
SELECT outcome FROM bsession_end_many('paced', '{turn-1,turn-2}');
SQL
	is( join(' ', map { $_->{session_id} } audit('paced')),
		$sim->requests('turn-1') ? 'turn-1' : 'turn-2',
		'… and while one waits for its turn');
}

# ---- two-phase commit ----

{
	my ($out, $err) = run_sql(<<'SQL');
\set VERBOSITY verbose
BEGIN;
SELECT outcome FROM bsession_end('s', 'prepared');
PREPARE TRANSACTION 'ended';
SQL
	like($err,
		qr/ERROR:  0A000: cannot PREPARE a transaction that has ended sessions/,
		'PREPARE TRANSACTION after an end is refused');
	like($err, qr/HINT:.*bsession_expire\(\)/, '… with a hint');
	is(in_short(audit('s', 'prepared')), 'ended 1 R', '… and rolls it back');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'),
		0, '… and prepares nothing');

	($out, $err) = run_sql(<<'SQL');
BEGIN;
SAVEPOINT a;
SELECT outcome FROM bsession_end('s', 'prepared-savepoint');
ROLLBACK TO a;
CREATE TABLE prepared (n int);
PREPARE TRANSACTION 'fine';
COMMIT PREPARED 'fine';
SELECT count(*) FROM prepared;
SQL
	is($err, '', 'PREPARE TRANSACTION after an end that is rolled back yet');
	is(in_short(audit('s', 'prepared-savepoint')),
		'ended 1 R', '… which has its row');
}

# ---- the extension and the worker come and go ----

# Dropped in the transaction, which is rolled back.
{
	leaves(
		'ended 1 R', 'drop-rollback',
		'BEGIN; END(drop-rollback); DROP EXTENSION browser_session CASCADE; ROLLBACK;',
		'DROP EXTENSION in the transaction, rolled back');
	leaves(
		'ended 1 R',
		'drop-savepoint',
		'BEGIN; END(drop-savepoint); SAVEPOINT a; DROP EXTENSION browser_session CASCADE; ROLLBACK TO a; ROLLBACK;',
		'… and in a savepoint');
}

# The audit is locked: the worker waits, and the rollback does not wait for it
# any longer than a moment, however much there is to hand over.
{
	my $start = time;
	my $offset = -s $node->logfile;
	my ($out, $err) = run_sql(<<'SQL');
BEGIN;
SELECT count(*) FROM bsession_end_many('s',
	ARRAY(SELECT 'locked-' || n FROM generate_series(1, 6000) AS n));
LOCK TABLE bsession_audit;
ROLLBACK;
SQL
	my $seconds = time - $start;

	is($out, 6000, '6,000 ends rolled back while the audit is locked')
	  or diag $err;
	cmp_ok($seconds, '<', 30, '… do not wait for it');
	note sprintf '6,000 rolled back with the audit locked: %.1f s', $seconds;
	audit('s');
	my ($written) = split /\|/, count_like('locked-%');
	my $logged = () =
	  substr(slurp_file($node->logfile), $offset) =~
	  /session "locked-\d+" of server "s": ended .* not in bsession_audit/g;
	is($written + $logged, 6000,
		'… and are in the audit, or else in the server\'s log');
	note "$written in bsession_audit, $logged in the log";
}

# The worker is replaced meanwhile.
{
	my $pid = $node->worker->{pid};
	my $query = $node->background(<<SQL);
BEGIN;
SELECT outcome FROM bsession_end('s', 'restart-1');
SELECT pg_terminate_backend($pid);
ROLLBACK;
BEGIN; SELECT outcome FROM bsession_end('s', 'restart-2'); ROLLBACK;
SQL

	$node->finish($query);
	$node->wait_for_worker(not => $pid);
	is(in_short(audit('s', "restart-$_")),
		'ended 1 R', "rollback $_ while the worker is replaced")
	  foreach 1 .. 2;
}

# Switched off, the worker ends nothing and still saves rows; so a sweep finds
# something to do.
{
	$node->configure(enabled => 'off');
	wait_until(
		'the worker is switched off',
		sub {
			$node->worker->{state} eq 'disabled by browser_session.enabled';
		});
	leaves('ended 1 R', 'switched-off', 'BEGIN; END(switched-off); ROLLBACK;',
		'ROLLBACK with the worker switched off');

	$node->track('s', q(now() - interval '1 s'), 'swept-1', 'swept-2');
	run_sql('BEGIN; SELECT FROM bsession_end_expired(); ROLLBACK;');
	foreach my $id ('swept-1', 'swept-2')
	{
		my @rows = audit('s', $id);

		is(in_short(@rows), 'ended 1 R', "a sweep that is rolled back: $id");
		is($rows[0]{reason}, 'sweep', '… with its reason');
		is($node->tracked('s', $id)->{state}, 'active', '… and is due still');
	}
	run_sql('SELECT FROM bsession_end_expired();');
	is( in_short(audit('s', 'swept-1')),
		'ended 1 R, already_ended 1',
		'… and is swept once more');

	$node->configure(enabled => 'on');
	$node->wait_for_worker;
}

# Until the extension is there for good, there is no worker for it.
{
	my $offset = -s $node->logfile;

	$node->safe_psql('postgres', 'CREATE DATABASE other');
	$node->psql(
		'other', <<SQL);
BEGIN;
CREATE EXTENSION browser_session;
CREATE SERVER s FOREIGN DATA WRAPPER browser_session
  OPTIONS (provider 'stagehand', base_url '${\ $sim->url('stagehand')}');
CREATE USER MAPPING FOR PUBLIC SERVER s OPTIONS (api_key 'sim-key');
SELECT outcome FROM bsession_end('s', 'too-early');
ROLLBACK;
SQL
	ok( $node->log_contains(
			qr/session "too-early" of server "s": ended \(call, attempt 1 by "\w+"\), not in bsession_audit/,
			$offset),
		'CREATE EXTENSION in the transaction, rolled back: in the log');
}

# Dropped for good: the transaction has taken its own row with it.
{
	my ($out, $err) = run_sql(<<'SQL');
SET client_min_messages = warning;
BEGIN;
SELECT outcome FROM bsession_end('s', 'drop-commit');
DROP EXTENSION browser_session CASCADE;
COMMIT;
SQL
	is($out, 'ended', 'an end, and DROP EXTENSION');
	is($err, '', '… committed');
}
$node->stop;

# ---- without the worker ----

{
	my $bare = BrowserSession::Node->start_new('bare');

	$bare->account('s',
		BrowserSession::Provider::options('stagehand', $sim->url('stagehand')));
	$bare->account(
		'hang',
		BrowserSession::Provider::options('stagehand', $wire->url('v')));

	$bare->psql('postgres', <<'SQL', on_error_stop => 0);
BEGIN; SELECT FROM bsession_end('s', 'bare-rollback'); ROLLBACK;
BEGIN; SAVEPOINT a; SELECT FROM bsession_end('s', 'bare-savepoint'); ROLLBACK TO a; COMMIT;
SELECT FROM bsession_end('s', 'bare-commit');
BEGIN; SELECT FROM bsession_end_many('s', '{bare-many-1,bare-many-2}'); ROLLBACK;
SET statement_timeout = '200ms';
SELECT FROM bsession_end('hang', 'hang-bare');
SQL
	my $log = slurp_file($bare->logfile);
	my %lines;

	$lines{$1}{"$2: $3"}++
	  while $log =~
	  /LOG:  session "([^"]*)" of server "(\w+)": (.*), not in bsession_audit/g;
	my $user = $bare->safe_psql('postgres', 'SELECT CURRENT_USER');
	is_deeply(
		\%lines,
		{   (   map {
					$_ => { qq(s: ended (call, attempt 1 by "$user")) => 1 }
				} qw(bare-rollback bare-savepoint bare-many-1 bare-many-2)),
			'hang-bare' =>
			  { qq(hang: unknown (call, attempt 1 by "$user")) => 1 } },
		'without preload, each lost attempt is in the server\'s log, once');
	is( $bare->safe_psql(
			'postgres',
			'SELECT string_agg(session_id, \' \') FROM bsession_audit'),
		'bare-commit',
		'… and what was committed in the audit');
	$log =~ s/^.*LOG:  statement: .*\n//mg;
	unlike($log, qr/sim-key/, '… and no secret anywhere');
	$bare->stop;
}

done_testing();
