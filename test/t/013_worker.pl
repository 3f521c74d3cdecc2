# 013_worker.pl
#
# The background worker ends tracked sessions at their expiry, however they
# came to be tracked, and when a transaction that asks for it commits: what it
# ends and when, what it holds meanwhile, and what it does with nothing due.
# How late an end's request arrives is printed; what is asserted is that none
# comes early.
#
# BROWSER_SESSION_EXPIRIES sets how many sessions expire within ten
# milliseconds of each other, BROWSER_SESSION_IDLE_ROWS how many are tracked
# and not due while the worker idles, for BROWSER_SESSION_IDLE_SECONDS.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Poll qw(wait_until);
use BrowserSession::Sim;
use BrowserSession::Worker;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $expiries = $ENV{BROWSER_SESSION_EXPIRIES} // 200;
my $idle_rows = $ENV{BROWSER_SESSION_IDLE_ROWS} // 10_000;
my $idle_seconds = $ENV{BROWSER_SESSION_IDLE_SECONDS} // 3;

my $sim = BrowserSession::Sim->new;
my $node = BrowserSession::Worker->start_new(
	'main',
	preload => 'pg_stat_statements,browser_session',
	conf => <<'CONF');
pg_stat_statements.track = all
max_prepared_transactions = 5
browser_session.retry_delay = 200ms
browser_session.max_retry_delay = 1s
CONF
$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements');
$node->simulated($sim, 's', 'stagehand', {});

sub sql { return $node->safe_psql('postgres', @_); }

# The session is ended once, for this reason, not before its expiry.
sub ends
{
	my ($id, $reason, $what, $server) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $row = $node->wait_for_row($server // 's', $id, state => 'ended');
	my @audit = $node->audit($server // 's', $id);
	my @requests = $sim->requests($id);
	my ($expired) = $node->hashes(<<SQL);
SELECT (extract(epoch FROM greatest(expires_at, '2000-01-01')) * 1000000)::bigint
       AS us
  FROM bsession_tracked WHERE session_id = '$id'
SQL

	is(join(' ', map { "$_->{reason} $_->{attempt} $_->{outcome}" } @audit),
		"$reason 1 ended", "$what: ended, for this reason");
	is($audit[0]{actor}, $row->{tracked_by}, '… in its tracker\'s name');
	is(scalar @requests, 1, '… once');
	cmp_ok($requests[0]{at}, '>=', $expired->{us},
		'… and not before its expiry');
	ok($row->{outcome} eq 'ended' && !defined $row->{next_attempt_at},
		'… which its row says');
	return;
}

# Nothing was done to the session.  To be called when something that came
# later has been.
sub untouched
{
	my ($id, $what, $server) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $row = $node->tracked($server // 's', $id);

	ok($row->{state} eq 'active' && $row->{attempts} == 0, "$what: active")
	  or diag explain $row;
	is(scalar $sim->requests($id), 0, '… and nothing sent');
	return;
}

# A session is ended at its expiry, however it came to be tracked.
{
	my $soon = "clock_timestamp() + '200 ms'";
	my @ways = (
		[ 'insert', 'INSERT', <<SQL ],
INSERT INTO bsession_tracked (provider, session_id, expires_at)
VALUES ('s', 'insert', $soon);
SQL
		[ 'copy_app', 'COPY by a role that row security applies to', <<'SQL' ],
CREATE ROLE app;
GRANT USAGE ON FOREIGN SERVER s TO app;
SET ROLE app;
COPY bsession_tracked (provider, session_id, expires_at) FROM STDIN;
s	copy_app	2001-01-01 00:00:00+00
\.
SQL
		[ 'copy', 'COPY', <<'SQL' ],
COPY bsession_tracked (provider, session_id, expires_at, metadata) FROM STDIN;
s	copy	2001-01-01 00:00:00+00	{"job": 1}
\.
SQL
		[ 'ttl', 'bsession_track(), ttl', <<'SQL' ],
SELECT bsession_track('s', 'ttl', ttl => '200 ms');
SQL
		[ 'until', 'bsession_track(), expires_at', <<SQL ],
SELECT bsession_track('s', 'until', $soon);
SQL
		[ 'past', 'an expiry in the past', <<'SQL' ],
INSERT INTO bsession_tracked (provider, session_id, expires_at)
VALUES ('s', 'past', '-infinity');
SQL
		[ 'earlier', 'UPDATE to an earlier time', <<SQL ],
UPDATE bsession_tracked SET expires_at = $soon WHERE session_id = 'earlier';
SQL
		[ 'again', 'tracked again with an earlier expiry', <<'SQL' ]);
SELECT bsession_track('s', 'again', ttl => '200 ms');
SQL

	# Nothing but the statement wakes the worker.
	$node->track('s', "now() + '1 hour'", qw(earlier again));
	foreach my $way (@ways)
	{
		my ($id, $what, $statement) = @$way;

		$node->wait_for_worker;
		sql($statement);
		ends($id, 'expiry', $what);
	}
}

# Nor is one ended at an expiry that it does not have any more.
{
	sql(<<'SQL');
SELECT bsession_track('s', 'later', ttl => '500 ms');
SELECT bsession_track('s', 'extended', ttl => '500 ms');
SELECT bsession_track('s', 'never', ttl => '500 ms');
UPDATE bsession_tracked SET expires_at = now() + '1 h'
 WHERE session_id = 'later';
UPDATE bsession_tracked SET expires_at = NULL WHERE session_id = 'never';
SELECT bsession_extend('s', 'extended', '1 hour');
SELECT bsession_track('s', 'infinity', 'infinity'::timestamptz);
SELECT bsession_track('s', 'after', ttl => '600 ms');
SQL
	ends('after', 'expiry', 'a session that expires after the others');
	untouched('later', 'UPDATE to a later time');
	untouched('never', 'UPDATE to no time at all');
	untouched('extended', 'bsession_extend()');
	untouched('infinity', 'an expiry at infinity');
}

# What asks for an end at commit: SQL that does it to the session $id.
my %at_commit = (
	commit => sub { "SELECT bsession_expire('s', '$_[0]');\n" },
	delete => sub { "DELETE FROM job WHERE session = '$_[0]';\n" },
	expiry => sub {
		'UPDATE bsession_tracked SET expires_at = clock_timestamp()'
		  . " WHERE session_id = '$_[0]';\n";
	});

sql(<<SQL);
CREATE TABLE job (account text DEFAULT 's', session varchar(60));
CREATE TRIGGER end_session AFTER DELETE ON job
	FOR EACH ROW EXECUTE FUNCTION bsession_end_on_delete('account', 'session');
SQL
foreach my $reason (sort keys %at_commit)
{
	my $end = sub { return $at_commit{$reason}->("$reason-$_[0]"); };
	my @names = qw(rollback savepoint prepared-rollback block
	  commit savepoint-commit prepared);

	# Tracked sessions, each of a job.
	$node->track('s', "now() + '1 hour'", map { "$reason-$_" } @names);
	sql("INSERT INTO job (session) VALUES ('$reason-$_')") foreach @names;

	sql(join '',
		"BEGIN;\n",
		$end->('rollback'),
		"ROLLBACK;\nBEGIN;\nSAVEPOINT a;\n",
		$end->('savepoint'),
		"ROLLBACK TO a;\nCOMMIT;\n",
		"BEGIN;\n",
		$end->('prepared-rollback'),
		"PREPARE TRANSACTION 'one';\nROLLBACK PREPARED 'one';\n",
		"BEGIN;\nDO \$\$ BEGIN\n",
		$end->('block') =~ s/SELECT/PERFORM/r,
		"RAISE EXCEPTION 'no';\nEXCEPTION WHEN others THEN NULL;\n",
		"END \$\$;\nCOMMIT;\n",
		"BEGIN;\n",
		$end->('prepared'),
		"PREPARE TRANSACTION 'two';\n");

	# Ended by a later transaction: so nothing came of those before.
	sql("BEGIN;\n" . $end->('commit') . "SELECT pg_sleep(0.1);\nCOMMIT");
	ends("$reason-commit", $reason, "$reason: committed");
	sql("BEGIN;\nSAVEPOINT a;\n"
		  . $end->('savepoint-commit')
		  . "RELEASE a;\nCOMMIT");
	ends("$reason-savepoint-commit", $reason, "$reason: in a savepoint");
	untouched("$reason-rollback", "$reason: ROLLBACK");
	untouched("$reason-savepoint", "$reason: ROLLBACK TO SAVEPOINT");
	untouched("$reason-block", "$reason: exception block");
	untouched("$reason-prepared-rollback", "$reason: ROLLBACK PREPARED");
	untouched("$reason-prepared", "$reason: PREPARE TRANSACTION");
	sql("COMMIT PREPARED 'two'");
	ends("$reason-prepared", $reason, "$reason: COMMIT PREPARED");
}
sql("INSERT INTO job (session) VALUES ('not-tracked'), (NULL);"
	  . 'DELETE FROM job WHERE session IS NULL OR session = \'not-tracked\'');
ends('not-tracked', 'delete', 'a deleted row whose session is not tracked');

# How late: expiries every ten milliseconds, then some on their own.
{
	$sim->forget;
	$node->simulated($sim, 'spread', 'stagehand', { pad => 1000 });
	$node->simulated($sim, 'single', 'stagehand', { pad => 1001 });
	sql(<<SQL);
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 'spread', 'spread-' || i, now() + '500 ms' + i * '10 ms'::interval
  FROM generate_series(1, $expiries) AS i;
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 'single', 'single-' || i,
       now() + '1 s' + $expiries * '10 ms'::interval + i * '150 ms'::interval
  FROM generate_series(1, 10) AS i;
SQL
	foreach my $server (qw(spread single))
	{
		$node->wait_for_end($server);
		my @late = $node->lateness($sim, $server);
		my $sent = grep { $_->{with} eq
			  ($server eq 'spread' ? 'pad=1000' : 'pad=1001') } $sim->requests;

		is(scalar @late, $server eq 'spread' ? $expiries : 10,
			"$server expiries: all were ended");
		is($sent, scalar @late, '… once');
		cmp_ok($late[0], '>=', 0, '… none before its time');
		note "lateness, $server: "
		  . BrowserSession::Worker::distribution(@late);
	}
}

# CPU time of a process, in clock ticks, and how often it has slept.
sub effort
{
	my ($pid) = @_;
	my ($after_name) =
	  PostgreSQL::Test::Utils::slurp_file("/proc/$pid/stat") =~ /\) (.*)/s;
	my @field = split ' ', $after_name;
	my ($sleeps) = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status") =~
	  /^voluntary_ctxt_switches:\s*(\d+)/m;

	return ($field[11] + $field[12], $sleeps);
}

# Statements that were executed since the statistics were reset, but for the
# one that hides our own.
sub statements
{
	return sql(<<SQL);
SET pg_stat_statements.track = none;
SELECT coalesce(sum(calls), 0) FROM pg_stat_statements
 WHERE query NOT LIKE 'SET pg_stat_statements.track%';
SQL
}

# With nothing due, no statement and no CPU.
{
	sql(<<SQL);
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 's', 'idle-' || i, now() + '2 h' + i * '1 ms'::interval
  FROM generate_series(1, $idle_rows) AS i;
ANALYZE bsession_tracked;
SQL
	my $pid = $node->wait_for_worker->{pid};

	sql("SET pg_stat_statements.track = none; "
		  . 'SELECT pg_stat_statements_reset()');
	my @before = effort($pid);
	sleep $idle_seconds;
	my @after = effort($pid);
	my ($ticks, $sleeps) = map { $after[$_] - $before[$_] } 0, 1;

	is(statements(), 0,
		"$idle_rows sessions not due: no statement in $idle_seconds s");
	cmp_ok($ticks, '<=', 1, '… and no CPU');
	cmp_ok($sleeps, '<=', 2 + $idle_seconds / 5, '… nor even waking up');
	note "idle for $idle_seconds s: $ticks ticks of CPU, $sleeps awakenings";
	$node->track('s', 'clock_timestamp()', 'idle-no-more');
	$node->wait_for_row('s', 'idle-no-more', state => 'ended');
	cmp_ok(statements(), '>', 1, '… but some when one is due');
	sql("DELETE FROM bsession_tracked WHERE session_id LIKE 'idle-%'");
}

# A row that somebody has locked does not hold up others.
{
	my $lock = $node->track_and_hold('s', "now() + '1 s'", 'locked');
	my $expires = $node->tracked('s', 'locked')->{expires_at};
	$node->track('s', "'$expires'::timestamptz + '1 ms'", 'beside-lock');
	ends('beside-lock', 'expiry', 'beside a locked row');
	untouched('locked', 'a locked row');
	$node->release($lock);
	ends('locked', 'expiry', 'a row that is not locked any more');
}

# … nor a backlog of more than can be under way, and is not forgotten behind it.
# Sessions that are added meanwhile and due before are ended, too.
{
	$node->simulated($sim, 'backlog', 'stagehand', { delay => 20 },
		max_in_flight => 10);
	my $lock =
	  $node->track_and_hold('backlog', "now() + '1 s'", 'backlog-locked');
	sql(<<SQL);
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 'backlog', 'backlog-' || i, t.expires_at + i * '1 ms'::interval
  FROM generate_series(1, 300) AS i, bsession_tracked AS t
 WHERE t.session_id = 'backlog-locked';
SQL
	$node->wait_for_row('backlog', 'backlog-50', state => 'ended');
	$node->track('backlog', "now() - interval '1 min'", 'backlog-earlier');
	$node->wait_for_row('backlog', "backlog-$_", state => 'ended')
	  foreach 'earlier', 300;
	is($node->count_not_ended('backlog'), 1,
		'a backlog is worked off behind a locked row');
	untouched('backlog-locked', 'the row that was locked all the time',
		'backlog');
	$node->release($lock);
	ends('backlog-locked', 'expiry', 'the row that was passed over', 'backlog');
}

# A table that is emptied, or gets smaller, while sessions of it are ended: they
# are in the audit, and the worker goes on.
{
	foreach my $how (
		'TRUNCATE bsession_tracked',
		'DELETE FROM bsession_tracked; VACUUM bsession_tracked')
	{
		my $id = 'emptied-' . lc substr $how, 0, 4;

		$node->simulated($sim, 'slow', 'stagehand', { delay => 500 });
		sql(<<SQL);
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 's', '$id-' || i, NULL FROM generate_series(1, 1000) AS i;
SQL
		$node->track('slow', 'clock_timestamp()', $id);
		wait_until('the request arrived',
			sub { scalar $sim->requests($id) });
		$node->safe_psql('postgres', $_) foreach split /; /, $how;
		wait_until('the attempt is in the audit',
			sub { scalar $node->audit('slow', $id) });
		$node->track('s', 'clock_timestamp()', "$id-after");
		ends("$id-after", 'expiry', "after $how");
	}
}

# A session that is due before others at another server, but after what the
# worker waits for, is not overlooked.
{
	my $t = sql("SELECT clock_timestamp() + '1 s'");

	$node->track('s', "'$t'::timestamptz", 'first-of-three');
	$node->track('backlog', "'$t'::timestamptz + interval '1 h'", 'last-of-three');
	$node->wait_for_worker;
	$node->track('backlog', "'$t'::timestamptz + interval '200 ms'",
		'second-of-three');
	ends('second-of-three', 'expiry', 'a session added in between',
		'backlog');
	sql("DELETE FROM bsession_tracked WHERE session_id = 'last-of-three'");
}

# Rows that come while triggers are switched off tell nobody; the worker finds
# them when it looks anew, as it does if it has work after ten seconds.
{
	sql(<<SQL);
ALTER TABLE bsession_tracked DISABLE TRIGGER bsession_check_tracked;
INSERT INTO bsession_tracked (provider, session_id, expires_at, next_attempt_at)
VALUES ('s', 'without-a-word', now(), now());
ALTER TABLE bsession_tracked ENABLE ALWAYS TRIGGER bsession_check_tracked;
SQL
	my $n = 0;
	wait_until(
		'a session that nobody told of is ended',
		sub {
			$node->track('backlog', 'clock_timestamp()', 'tick-' . ++$n);
			$node->tracked('s', 'without-a-word')->{state} eq 'ended';
		});
	pass('a session that nobody told of is ended');
}

# A locked row of a session that is being ended holds nobody up either.
{
	$node->simulated($sim, 'slow', 'stagehand', { delay => 3000 });
	$node->track('slow', 'now()', 'locked-late');
	wait_until('the request arrived',
		sub { scalar $sim->requests('locked-late') });
	my $lock = $node->hold('slow', 'locked-late');
	wait_until('the attempt is in the audit',
		sub { scalar $node->audit('slow', 'locked-late') });
	$node->track('s', 'now()', 'beside-late-lock');
	ends('beside-late-lock', 'expiry',
		'beside a row locked during its exchange');
	my $row = $node->tracked('slow', 'locked-late');
	is("$row->{state} $row->{attempts}", 'ending 1', '… which is unchanged');
	$node->release($lock);
	$row = $node->wait_for_row('slow', 'locked-late', state => 'ended');
	is($row->{attempts}, 1, '… and recorded once it is not locked');
	is(scalar $node->audit('slow', 'locked-late'), 1, '… audited once');
	is(scalar $sim->requests('locked-late'), 1, '… and sent once');
}

# The kill switch.
{
	$node->configure(enabled => 'off');
	wait_until('the worker is off',
		sub { $node->worker->{state} =~ /^disabled/ });
	$node->track('s', 'clock_timestamp()', map { "off-$_" } 1 .. 20);
	is($node->end('s', 'off-call')->{outcome},
		'ended', 'enabled = off: direct calls work');
	is($node->worker->{due_now}, 20, '… sessions get due');
	is(scalar(grep { $_->{target} =~ /off-\d/ } $sim->requests),
		0, '… and are not ended');
	$node->configure(enabled => 'on');
	$node->wait_for_row('s', "off-$_", state => 'ended') foreach 1 .. 20;
	is(scalar(grep { $_->{target} =~ /off-\d/ } $sim->requests),
		20, '… until it is on again');
}

# A worker that is told to go loses nothing, and another one comes.
{
	my $pid = $node->worker->{pid};

	$node->simulated($sim, 'slower', 'stagehand', { delay => 300_000 },
		timeout => 600_000);
	$node->track('slower', 'clock_timestamp()', map { "gone-$_" } 1 .. 20);
	wait_until('all requests arrived',
		sub { grep({ $_->{target} =~ /gone-/ } $sim->requests) == 20 });
	sql("ALTER SERVER slower OPTIONS (SET base_url '"
		  . $sim->url('stagehand')
		  . "')");
	sql("SELECT pg_terminate_backend($pid)");
	$node->wait_for_end('slower');
	cmp_ok($node->worker->{pid}, '!=', $pid, 'a worker that had to go');
	is( sql(<<'SQL'), "1|unknown|20\n2|ended|20", '… gave all back');
SELECT attempt, outcome, count(*) FROM bsession_audit
 WHERE provider = 'slower' GROUP BY attempt, outcome ORDER BY attempt
SQL
}

# While an exchange is under way, the worker holds nothing.
{
	$node->simulated($sim, 'long', 'stagehand', { delay => 300_000 },
		timeout => 600_000);
	$node->track('long', 'clock_timestamp()', 'long');
	wait_until('the request arrived', sub { scalar $sim->requests('long') });
	my $worker = wait_until(
		'the worker shows it',
		sub {
			my $worker = $node->worker;
			return $worker->{in_flight} == 1 ? $worker : undef;
		});
	is($worker->{state}, 'ending sessions', 'a long exchange');
	is( sql(<<SQL), '|||0', '… without transaction, snapshot or lock');
SELECT xact_start, backend_xid, backend_xmin,
       (SELECT count(*) FROM pg_locks l WHERE l.pid = a.pid)
  FROM pg_stat_activity a WHERE pid = $worker->{pid}
SQL
	foreach my $command (
		'VACUUM (DISABLE_PAGE_SKIPPING) bsession_tracked',
		'VACUUM FULL bsession_audit',
		'ALTER TABLE bsession_tracked SET (fillfactor = 90)',
		'ALTER TABLE bsession_tracked ADD COLUMN more integer',
		'ALTER TABLE bsession_tracked DROP COLUMN more',
		'TRUNCATE bsession_audit',
		'DROP EXTENSION browser_session CASCADE')
	{
		my $start = time;
		my ($status, undef, $error) = $node->psql('postgres',
			"SET statement_timeout = '30s'; SET client_min_messages = error;"
			  . " $command",
			on_error_stop => 1);

		is($status, 0, "… nor in the way of $command") or diag $error;
		note sprintf '%s: %.0f ms', $command, 1000 * (time - $start);
	}
	is($sim->stats->{catastrophes}, 0, '… and the provider lives');
	wait_until(
		'the worker is gone',
		sub {
			sql("SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
				  . ' WHERE backend_type = \'browser_session worker\')') eq
			  't';
		});
	pass('DROP EXTENSION leaves no worker');
}

# What the workers had to say.
my @log = split /\n/, PostgreSQL::Test::Utils::slurp_file($node->logfile);
my @workers =
  map { /\[(\d+)\] LOG:  browser_session worker .* started/ ? $1 : () } @log;
my @said = map {
	my $pid = $_;
	map { /\[$pid\] (.*)/ ? $1 : () } @log;
} @workers;
is(scalar @workers, 2, 'there were two workers');
is( scalar(
		grep { /^LOG:  browser_session worker .* (started|stopped)$/ } @said),
	4,
	'… which noted their start and stop');
is(scalar @said, 4, '… and nothing else') or diag join "\n", @said;
ok(!grep({ /terminated by signal|PANIC|TRAP/ } @log), 'no process crashed');

done_testing();
