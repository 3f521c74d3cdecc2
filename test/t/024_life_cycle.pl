# 024_life_cycle.pl
#
# What happens to a database in its life: encodings and names of all kinds, a
# schema of its own, commands on the extension's schema and tables, settings
# that are reloaded, roles and servers that go, copies by every tool, crashes
# while the extension is made, restarts.  The worker carries on through all of
# it, and each session is ended once, or says why it is not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Node;
use BrowserSession::Poll qw(wait_until);
use BrowserSession::Provider;
use BrowserSession::Sim;
use BrowserSession::Wire;
use Encode ();
use PostgreSQL::Test::Utils;
use Test::More;

$ENV{PGCLIENTENCODING} = 'UTF8';

my $sim = BrowserSession::Sim->new;
my $quick = $sim->url('stagehand');
my $slow = $sim->url('stagehand', delay => 600_000);
my $node = BrowserSession::Node->new('main');
my $sessions = 0;

# One database has the extension in schema public, which most tests use.
my $home = 'postgres';

$node->init(allows_streaming => 'logical');
$node->append_conf('postgresql.conf', <<CONF);
shared_preload_libraries = 'browser_session'
max_worker_processes = 30
restart_after_crash = on
browser_session.retry_delay = 100ms
CONF
$node->start;

# ----- words ----------------------------------------------------------------

# Runs statements; their output.
sub sql
{
	my ($database, $sql, $on) = @_;

	return ($on // $node)->safe_psql($database, $sql);
}

# What a statement that fails says.
sub fails
{
	my ($database, $sql) = @_;

	$node->psql($database, $sql,
		stderr => \my $error,
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $error;
}

# A role, schema, server or column as an identifier.
sub name
{
	my ($text) = @_;

	return '"' . $text =~ s/"/""/gr . '"';
}

sub literal
{
	my ($text) = @_;

	return "'" . $text =~ s/'/''/gr . "'";
}

# Makes an account for everybody.
sub account
{
	my ($database, $server, $url, $options, $on) = @_;
	my $with = join ', ', "base_url '$url'", "provider 'stagehand'",
	  $options // ();
	my $name = name($server);

	sql($database, <<SQL, $on);
CREATE SERVER $name FOREIGN DATA WRAPPER browser_session OPTIONS ($with);
CREATE USER MAPPING FOR PUBLIC SERVER $name OPTIONS (api_key 'sim-key');
SQL
	return;
}

# Tracks sessions, due now unless it is said when; returns their ids.
sub track
{
	my ($database, $server, $n, $at, $on) = @_;
	my @ids = map { 'id-' . ++$sessions } 1 .. $n;
	my $values = join ', ',
	  map { "('$server', '$_', " . ($at // 'now()') . ')' } @ids;

	sql($database, <<SQL, $on);
INSERT INTO bsession_tracked (provider, session_id, expires_at) VALUES $values
SQL
	return @ids;
}

sub state
{
	my ($database, $on) = @_;

	return sql($database, 'SELECT state FROM bsession_worker', $on);
}

sub wait_for_state
{
	my ($database, $pattern, $on) = @_;

	wait_until("the worker of $database is $pattern",
		sub { state($database, $on) =~ $pattern; });
	return;
}

# The worker's pid, once it has one other than that.
sub worker
{
	my ($database, $other, $on) = @_;

	return wait_until(
		"$database has a worker",
		sub {
			my $pid = ($on // $node)->safe_psql(
				'postgres',
				"SELECT pid FROM pg_stat_activity
				  WHERE backend_type = 'browser_session worker'
				    AND datname = " . literal($database));

			return $pid ne '' && $pid ne ($other // '') ? $pid : 0;
		});
}

# Waits until a query says so.
sub wait_for
{
	my ($database, $what, $query, $on) = @_;

	wait_until($what, sub { sql($database, $query, $on) eq 't'; });
	return;
}

sub wait_for_end
{
	my ($database, $server, $on) = @_;

	wait_for($database, "the due sessions of $server are over", <<SQL, $on);
SELECT bool_and(state = 'ended') FROM bsession_tracked
 WHERE provider = '$server' AND expires_at < now() + interval '1 hour'
SQL
	return;
}

# How often the provider was asked to end each of these.
sub requests
{
	my (@ids) = @_;
	my %times;

	foreach my $request ($sim->requests)
	{
		$times{$1}++ if $request->{target} =~ m{/sessions/([^/]+)/end};
	}
	return join ' ', map { $times{$_} // 0 } @ids;
}

# Waits until as many sessions of the server wait for their answers.
sub wait_in_flight
{
	my ($database, $n, $on) = @_;

	wait_for($database, "$n are in flight",
		"SELECT in_flight >= $n FROM bsession_worker", $on);
	return;
}

# ----- crashes while the extension is made ----------------------------------

# Something that the script needs is locked; there it is met.
foreach my $how ('kill', 'immediate')
{
	my $holder = $node->background(<<SQL);
BEGIN;
LOCK TABLE pg_foreign_data_wrapper IN ACCESS EXCLUSIVE MODE;
SELECT pg_sleep(3600);
SQL
	wait_for($home, 'the lock is held', <<SQL);
SELECT count(*) = 1 FROM pg_locks
 WHERE relation = 'pg_foreign_data_wrapper'::regclass
   AND mode = 'AccessExclusiveLock' AND granted
SQL
	my $creator = $node->background('CREATE EXTENSION browser_session;');
	my $pid = wait_until(
		'the script is in the middle',
		sub {
			sql($home, <<SQL);
SELECT pid FROM pg_locks
 WHERE relation = 'pg_foreign_data_wrapper'::regclass AND NOT granted
SQL
		});

	if ($how eq 'kill')
	{
		kill 'KILL', $pid;
		wait_until('the server is back',
			sub { $node->psql($home, 'SELECT 1') == 0; });
	}
	else
	{
		$node->stop('immediate');
		$node->start;
	}
	$node->finish($_) foreach $creator, $holder;
	is( sql($home, "SELECT count(*) FROM pg_class WHERE relname ~ '^bsession'"
		),
		0,
		"$how in the middle of CREATE EXTENSION leaves nothing of it");
}
sql($home, 'CREATE EXTENSION browser_session');
my $log_from = -s $node->logfile;
account($home, 's', $quick);
my @first = track($home, 's', 1);
wait_for_end($home, 's');
pass('… and the next one brings a worker');

# ----- encodings, names, schemas --------------------------------------------

# What it answers has characters that are in no encoding but UTF-8, and some
# that are in the database's.
my $wire = BrowserSession::Wire->new(
	map {
		my $status = $_;

		"status$status" => sub {
			my ($connection, $request) = @_;
			my ($id) = $request->{target} =~ m{/sessions/([^/]+)/end};

			return $connection->hang if $id =~ /silent/;
			$connection->reply($status,
				'{"success": '
				  . ($status == 200 ? 'true' : 'false')
				  . ', "größe": "größe", "日本": "日本", "weiß": "weiß"'
				  . ', "message": "größe 日本 ☃"}');
			return;
		}
	} 200,
	503);

sub encoded
{
	my ($encoding, $word, $message) = @_;
	my $database = lc "life_$encoding";

	# As long as names can be, in bytes of the database's encoding; an upper
	# case letter and a space in each, and a quote but for the schema's, where
	# PostgreSQL allows none.
	my %name = map {
		my $name = ($_ eq 'Schema' ? 'The Schema' : "The \"$_\"") . " $word";
		my $length = length Encode::encode(
			{ LATIN1 => 'latin1', EUC_JP => 'euc-jp' }->{$encoding} // 'utf8',
			Encode::decode('utf8', $name));

		$_ => $name . 'y' x (63 - $length);
	} 'Schema', 'Role', 'Server';
	my ($schema, $role, $server) =
	  map { name($name{$_}) } qw(Schema Role Server);
	my $provider = literal($name{Server});

	sql($home, <<SQL);
CREATE DATABASE $database TEMPLATE template0 ENCODING '$encoding'
	LC_COLLATE 'C' LC_CTYPE 'C';
SQL
	sql($database, <<SQL);
CREATE ROLE $role;
CREATE SCHEMA $schema;
CREATE EXTENSION browser_session SCHEMA $schema;
GRANT USAGE ON SCHEMA $schema TO $role;
SQL
	account($database, $name{Server}, $wire->url('status200'),
		"timeout '600s'");
	sql($database, "GRANT USAGE ON FOREIGN SERVER $server TO $role");
	my $pid = worker($database);

	# The functions, and plain SQL, as a role with such a name.
	my $ended = sql($database, <<SQL);
SET ROLE $role;
SET application_name = '$word';
SELECT session_id, outcome, response->>'message'
  FROM $schema.bsession_end($provider, 'direct-$word');
SELECT count(*), min(outcome)
  FROM $schema.bsession_end_many($provider, ARRAY['m-$word-1', 'm-$word-2']);
SELECT state, metadata
  FROM $schema.bsession_track($provider, 'worker-$word', '1 second'::interval,
                              '{"$word": "$word"}');
SELECT $schema.bsession_expire($provider, 'worker-$word');
INSERT INTO $schema.bsession_tracked (provider, session_id, expires_at)
VALUES ($provider, 'inserted-$word', now());
COPY $schema.bsession_tracked (provider, session_id, expires_at) FROM stdin;
$name{Server}	copied-$word	2020-02-02 02:02:02+00
\\.
SQL
	is($ended, <<TEXT =~ s/\n\z//r, "$encoding: functions");
direct-$word|ended|$message
2|ended
active|{"$word": "$word"}
t
TEXT
	my $all = <<SQL;
SELECT string_agg(state || ' ' || session_id, ', ' ORDER BY session_id)
  FROM $schema.bsession_tracked
SQL
	my $expected = join ', ',
	  map { "ended $_-$word" } qw(copied inserted worker);
	wait_until("the worker has ended them: $encoding",
		sub { sql($database, $all) eq $expected; });
	is( sql($database, <<SQL), "3|$name{Role}|$message", '… the worker');
SELECT count(*), min(actor), min(response->>'message')
  FROM $schema.bsession_audit WHERE reason <> 'call'
SQL
	my $target = BrowserSession::Sim::escape("worker-$word");
	is( scalar(
			grep { $_->{target} eq "/v1/sessions/$target/end" }
			  $wire->requests),
		1,
		'… the id goes out in UTF-8');

	# A provider that is described in the database's characters.
	is( sql($database, <<SQL), "requested|$word", '… words of a descriptor');
CREATE SERVER worded FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'custom', base_url '@{[ $wire->url('status200') ]}', auth 'none',
	end_method 'POST', end_path '/v1/sessions/{id}/end',
	end_body '{"$word": "$word"}', success_field '$word',
	status_field '$word', live_status '$word');
SELECT outcome, provider_status FROM $schema.bsession_end('worded', 'worded');
SQL
	is( [ grep { $_->{target} =~ /worded/ } $wire->requests ]->[-1]{body},
		qq({"$word": "$word"}), '… go out in UTF-8');

	# What is described while an error is cleaned up.
	$node->psql($database, <<SQL);
SET statement_timeout = '200ms';
SELECT $schema.bsession_end($provider, 'silent-$word');
SQL
	wait_for($database, 'a broken off call is in the audit', <<SQL);
SELECT count(*) = 1 FROM $schema.bsession_audit
 WHERE session_id = 'silent-$word' AND outcome = 'unknown' AND rolled_back
SQL

	# What goes wrong, with the provider's words.
	sql($database, <<SQL);
ALTER SERVER $server OPTIONS (SET base_url '@{[ $wire->url('status503') ]}');
SELECT $schema.bsession_track($provider, 'error-$word', '0.01s'::interval);
SQL
	wait_for($database, 'there is an error', <<SQL);
SELECT attempts > 1 AND last_error LIKE '%$message%'
  FROM $schema.bsession_tracked WHERE session_id = 'error-$word'
SQL
	is(worker($database), $pid, '… and it is the worker of the beginning');

	# Roles are the cluster's: others could not read the name.
	sql($database, "DROP OWNED BY $role; DROP ROLE $role");
	return ($database, $schema);
}

my ($latin1, $schema) =
  encoded('LATIN1', 'größe', 'größe ?? ?');
encoded('EUC_JP', '日本', 'größe 日本 ?');
encoded('SQL_ASCII', 'weiß', 'größe 日本 ☃');

# ----- copies ---------------------------------------------------------------

my $directory = PostgreSQL::Test::Utils::tempdir();
my $dump = "$directory/dump";

# Every column of every row, and where it belongs.
sub content
{
	my ($database, $schema) = @_;

	return sql($database, <<SQL);
SELECT to_jsonb(t) - '{attempts,next_attempt_at,claimed_by,last_error}'::text[]
  FROM $schema.bsession_tracked t WHERE state <> 'active' ORDER BY t.session_id;
SELECT a FROM $schema.bsession_audit a WHERE outcome <> 'unavailable'
 ORDER BY id
SQL
}

# A directory, by jobs, into a database that has no schema at all.
sql($home, <<SQL);
CREATE DATABASE bare TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C'
	LC_CTYPE 'C';
SQL
sql('bare', 'DROP SCHEMA public CASCADE');
sql($latin1, <<SQL);
UPDATE $schema.bsession_tracked
   SET expires_at = now() + interval '1 day', state = 'failed',
       next_attempt_at = NULL
 WHERE session_id LIKE 'error-%'
SQL
$node->command_ok(
	[   'pg_dump', '-Fd', '-j', '2', '-f', $dump, '-d',
		$node->connstr($latin1) ],
	'pg_dump into a directory, by two jobs');
$node->command_ok(
	[   'pg_restore', '--exit-on-error', '-j', '2', '-d',
		$node->connstr('bare'), $dump ],
	'pg_restore, by two jobs');
is(content('bare', $schema),
	content($latin1, $schema), '… brings all rows along');
wait_until('the worker refuses',
	sub { sql('bare', "SELECT state FROM $schema.bsession_worker") =~
		  /\Arefusing/; });
pass('… and the worker refuses');

# As a role that row security applies to, into a database that has the
# extension and sessions of its own.
sql($home, <<SQL);
CREATE ROLE app LOGIN;
GRANT USAGE ON FOREIGN SERVER s TO app;
SET SESSION AUTHORIZATION app;
SELECT bsession_track('s', 'apps-own', interval '1 day');
SQL
$node->command_ok(
	[   'pg_dump', '--enable-row-security',
		'-U', 'app', '-a', '-t', 'bsession_tracked', '-t', 'bsession_home',
		'-f', "$dump.app", '-d', $node->connstr($home) ],
	'pg_dump by a plain role');
sql($home, 'CREATE DATABASE present');
sql('present', 'CREATE EXTENSION browser_session');
account('present', 's', $quick);
track('present', 's', 1, "now() + interval '1 second'");
$node->command_ok(
	[   'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dump.app", '-d',
		$node->connstr('present') ],
	'… is restored where the extension is');
is( sql('present', <<SQL), '1', '… with the rows of that role alone');
SELECT count(*) FROM bsession_tracked WHERE tracked_by = 'app'
   OR session_id = '$first[0]'
SQL
wait_for_state('present', qr/\Arefusing/);
pass('… and the worker refuses');

# From within the database that is copied, while its worker is busy.
account($home, 'slow', $slow, "timeout '600s'");
my @slow = track($home, 'slow', 3);
wait_in_flight($home, 3);
my $before = worker($home);
sql($home, "CREATE DATABASE within TEMPLATE $home");
wait_for_state('within', qr/\Arefusing/);
isnt(worker($home), $before, 'a copy is made from within the database');
wait_in_flight($home, 3);
is(requests(@slow), '2 2 2', '… whose worker goes on with its sessions');
sql($home, 'DROP DATABASE within');

# A physical copy, beside the original, and promoted.
$node->backup('copy');
my $copy = BrowserSession::Node->new('copy');
$copy->init_from_backup($node, 'copy', has_streaming => 1);
$copy->append_conf('postgresql.conf', 'browser_session.enabled = off');
$copy->start;
$copy->promote;
wait_for_state($home, qr/\Adisabled/, $copy);
is(requests(@slow), '2 2 2', 'a physical copy that is disabled sends nothing');
is(sql($home, 'SELECT bsession_adopt()', $copy),
	'f', '… though it takes itself for the original');
sql($home, "ALTER SERVER slow OPTIONS (SET base_url '$quick')", $copy);
$copy->append_conf('postgresql.conf', 'browser_session.enabled = on');
$copy->reload;
wait_for_end($home, 'slow', $copy);
pass('… and does what the original does, if it may');
$copy->stop('fast');

# The rows alone, by logical replication.
sql($home, 'CREATE DATABASE replica');
sql('replica', 'CREATE EXTENSION browser_session');
account('replica', 's', $quick);
sql($home, <<SQL);
CREATE PUBLICATION sessions FOR TABLE bsession_tracked;
SELECT pg_create_logical_replication_slot('sessions', 'pgoutput');
SQL
sql('replica', sprintf <<SQL, literal($node->connstr($home)));
CREATE SUBSCRIPTION sessions CONNECTION %s PUBLICATION sessions
	WITH (create_slot = false, copy_data = false);
SQL
my @replicated = track($home, 's', 2);
wait_for('replica', 'the rows have arrived', <<SQL);
SELECT count(*) = 2 FROM bsession_tracked
 WHERE session_id IN ('$replicated[0]', '$replicated[1]')
SQL
wait_for_end($home, 's');
wait_for_state('replica', qr/\Arefusing/);
is(requests(@replicated), '1 1',
	'logical replication: the subscriber ends nothing');
sql('replica', <<SQL);
ALTER SUBSCRIPTION sessions DISABLE;
ALTER SUBSCRIPTION sessions SET (slot_name = NONE);
DROP SUBSCRIPTION sessions;
SQL

# ----- the extension's schema and tables ------------------------------------

like(
	fails($home, 'ALTER EXTENSION browser_session SET SCHEMA pg_temp'),
	qr/ERROR:  (?:0A000|42809): .*extension "browser_session"/i,
	'ALTER EXTENSION SET SCHEMA is refused');
sql($home, 'CREATE SCHEMA attic');
like(
	fails($home, 'ALTER EXTENSION browser_session SET SCHEMA attic'),
	qr/ERROR:  0A000: extension "browser_session" does not support SET SCHEMA/,
	'… to any schema');

foreach my $table ('bsession_tracked', 'bsession_audit')
{
	my $pid = worker($home);

	sql($home, "ALTER TABLE $table SET SCHEMA attic");
	$node->reload;
	wait_for_state($home, qr/\Awaiting for its tables/);
	like(
		fails($home, "SELECT bsession_end('s', 'lost')"),
		qr/ERROR:  55000: "$table" is not in the schema of extension/,
		"$table in another schema: an error says so");
	sql($home, "ALTER TABLE attic.$table SET SCHEMA public");
	wait_for_state($home, qr/\A(?:ending|waiting\z)/);
	is(worker($home), $pid, '… and the worker waits until it is back');
}
is(sql($home, <<SQL), '1', '… also by who has ended a session');
BEGIN;
DO \$\$ BEGIN PERFORM bsession_end('s', 'moved'); END \$\$;
ALTER TABLE bsession_audit RENAME TO audit;
COMMIT;
SELECT count(*) FROM audit WHERE session_id = 'moved';
ALTER TABLE audit RENAME TO bsession_audit;
SQL

{
	my $pid = worker($latin1);

	sql($latin1, <<SQL);
ALTER SCHEMA $schema RENAME TO "a new Name";
CREATE ROLE proprietor;
GRANT CREATE, USAGE ON SCHEMA "a new Name" TO proprietor;
ALTER TABLE "a new Name".bsession_tracked OWNER TO proprietor;
ALTER TABLE "a new Name".bsession_audit OWNER TO proprietor;
ALTER TABLE "a new Name".bsession_home OWNER TO proprietor;
ALTER SEQUENCE "a new Name".bsession_audit_id_seq OWNER TO proprietor;
SQL
	account($latin1, 'q', $quick);
	sql($latin1, <<SQL);
SELECT "a new Name".bsession_track('q', 'renamed', '0.01s'::interval);
SQL
	wait_for($latin1, 'a session in a renamed schema ends', <<SQL);
SELECT state = 'ended' FROM "a new Name".bsession_tracked
 WHERE session_id = 'renamed'
SQL
	is(worker($latin1), $pid, 'a renamed schema, and another owner');
}

# ----- commands on busy tables ----------------------------------------------

account($home, 'busy', $sim->url('stagehand', delay => 20),
	'max_in_flight \'8\'');
my @busy = track($home, 'busy', 100);
sql(
	$home,
	join ";\n",
	'REINDEX TABLE bsession_tracked',
	'VACUUM FULL bsession_tracked',
	'CLUSTER bsession_tracked USING bsession_tracked_pkey',
	'REINDEX TABLE CONCURRENTLY bsession_audit',
	'VACUUM FULL bsession_audit',
	'VACUUM FULL bsession_home',
	'ANALYZE bsession_tracked, bsession_audit',
	'TRUNCATE bsession_audit');
wait_for_end($home, 'busy');
is(requests(@busy), join(' ', (1) x 100),
	'rewritten tables: each session is ended once');
track($home, 'busy', 1);
wait_for_end($home, 'busy');

# ----- settings -------------------------------------------------------------

# Each setting, and the worker's application_name, whose text is freed by a
# reload: many are busy, with answers that come all the time.
my %setting = (
	'browser_session.max_attempts' => [ 20, 21 ],
	'browser_session.retry_delay' => [ '100ms', '200ms' ],
	'browser_session.max_retry_delay' => [ '10min', '11min' ],
	'browser_session.retention' => [ '30d', '31d' ],
	'browser_session.max_in_flight' => [ 256, 8 ],
	'browser_session.request_timeout' => [ '10s', '11s' ],
	'browser_session.max_response_size' => [ '256kB', '64kB' ],
	'browser_session.enabled' => [ 'on', 'off' ],
	'application_name' => [ 'some other application', 'nobody' ],
	'search_path' => [ 'public', 'attic, public' ],
	'log_line_prefix' => [ '%m [%p] ', '%m [%p] %q%a ' ]);
my @many = map { "many_$_" } 1 .. 12;

sql($home, "CREATE DATABASE $many[0]");
sql($many[0], 'CREATE EXTENSION browser_session');
account($many[0], 'busy', $sim->url('stagehand', delay => 20),
	"max_in_flight '8'");
sql($home, join ";\n",
	map { "CREATE DATABASE $_ TEMPLATE $many[0]" } @many[ 1 .. $#many ]);

# The workers' pids, of those databases.
sub pids
{
	return sql($home, <<SQL);
SELECT count(*), string_agg(pid::text, ' ' ORDER BY datname)
  FROM pg_stat_activity
 WHERE backend_type = 'browser_session worker' AND datname ~ '^many_'
SQL
}
wait_until('each has a worker', sub { pids() =~ /\A12\|/ });
my $pids = pids();
foreach my $database ($home, @many)
{
	sql($database, <<SQL);
SET client_min_messages = warning;
SELECT bsession_adopt();
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 'busy', current_database() || '-' || n, now()
  FROM generate_series(1, 40) n;
SQL
}
foreach my $round (1 .. 12)
{
	$node->append_conf('postgresql.conf',
		join '',
		map { "$_ = '$setting{$_}[ $round % 2 ]'\n" } sort keys %setting);
	$node->reload;
}
foreach my $database ($home, @many)
{
	wait_for_end($database, 'busy');
	is( sql($database, <<SQL), '40|browser_session worker',
SELECT count(*), string_agg(DISTINCT application_name, ' ')
  FROM bsession_audit WHERE session_id LIKE current_database() || '-%'
SQL
		"13 workers, reloads: each attempt is the worker's in $database");
}
is( requests(
		map {
			my $database = $_;
			map { "$database-$_" } 1 .. 40
		} $home,
		@many),
	join(' ', (1) x (13 * 40)),
	'… each session is ended once');
is(pids(), $pids, '… by the workers of the beginning');

# ----- roles and servers that go --------------------------------------------

sql($home, <<SQL);
ALTER SYSTEM SET browser_session.max_attempts = 2;
SELECT pg_reload_conf();
CREATE ROLE heir;
REASSIGN OWNED BY app TO heir;
DROP OWNED BY app;
DROP ROLE app;
UPDATE bsession_tracked SET expires_at = now() WHERE session_id = 'apps-own';
SQL
wait_for($home, 'it is given up', <<SQL);
SELECT state = 'failed' AND last_error ~ 'role "app"' FROM bsession_tracked
 WHERE session_id = 'apps-own'
SQL
pass('a session whose role is gone fails, and says why');

account($home, 'leaving', $quick);
my @left = track($home, 'leaving', 1, "now() + interval '1 day'");
sql($home, <<SQL);
SET client_min_messages = warning;
DROP SERVER leaving CASCADE;
UPDATE bsession_tracked SET expires_at = now() WHERE session_id = '$left[0]';
SQL
wait_for($home, 'it is given up', <<SQL);
SELECT state = 'failed' AND last_error ~ 'server "leaving"'
  FROM bsession_tracked WHERE session_id = '$left[0]'
SQL
account($home, 'leaving', $quick);
is(sql($home, "SELECT bsession_retry('leaving', '$left[0]')"),
	't', 'a session whose server is gone fails, and says why');
wait_for_end($home, 'leaving');
pass('… until it is there again');

# ----- restarts -------------------------------------------------------------

foreach my $mode ('smart', 'fast', 'immediate')
{
	my @ids = track($home, 'slow', 2);

	wait_until('they are in flight',
		sub { !grep { !$sim->requests($_) } @ids; });
	$node->stop($mode);
	$node->start;
	wait_until('they are sent again',
		sub { !grep { (my @all = $sim->requests($_)) < 2 } @ids; });
	is( sql($home, <<SQL), '2', "restart ($mode): the attempt is in the audit");
SELECT count(*) FROM bsession_audit
 WHERE session_id IN ('$ids[0]', '$ids[1]') AND outcome = 'unknown'
SQL
	sql($home, "DELETE FROM bsession_tracked WHERE provider = 'slow'");
}

unlike(
	slurp_file($node->logfile, $log_from),
	qr/was terminated by signal|PANIC: |TRAP: /,
	'no process has crashed');
$node->stop('immediate');
$wire->stop;
$sim->stop;
done_testing();
