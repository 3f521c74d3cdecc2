# 017_failover.pl
#
# Tracked sessions on another server: on a standby, which takes over in the
# middle of the work, and in a database restored from a dump, which must not
# end the original's sessions before somebody says that they are its own.

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
use Time::HiRes qw(time);

my $sessions = 120;
my $preload = "shared_preload_libraries = 'browser_session'\n";
my $sim = BrowserSession::Sim->new;

sub count
{
	my ($node, $what, $database) = @_;

	return $node->safe_psql($database // 'postgres', "SELECT count(*) $what");
}

sub processes
{
	my ($node) = @_;

	return $node->safe_psql('postgres', <<SQL);
SELECT string_agg(backend_type, ', ') FROM pg_stat_activity
 WHERE backend_type LIKE 'browser_session%'
SQL
}

# Switches the worker on or off, and waits until it says so.
sub enable
{
	my ($node, $enabled) = @_;

	$node->append_conf('postgresql.conf',
		"browser_session.enabled = $enabled");
	$node->reload;
	wait_until(
		"the worker is switched $enabled",
		sub {
			my $state = $node->safe_psql('postgres',
				'SELECT state FROM bsession_worker');
			return $enabled eq 'off'
			  ? $state =~ /\Adisabled/
			  : $state !~ /\Adisabled/;
		});
	return;
}

sub track
{
	my ($node, $name, $n, $expires_at) = @_;

	$node->safe_psql('postgres', <<SQL);
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 's', '$name-' || n, $expires_at FROM generate_series(1, $n) n
SQL
	return;
}

# A statement that fails, and with which SQLSTATE.
sub fails_with
{
	my ($node, $database, $sql, $code, $what) = @_;

	$node->psql(
		$database, $sql,
		stderr => \my $error,
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($error, qr/ERROR:  $code: /, $what);
	return;
}

# How many requests the provider has seen, by session.
sub requests
{
	my %requests;

	foreach my $request ($sim->requests)
	{
		$requests{$1}++ if $request->{target} =~ m{/sessions/([^/]+)/end\z};
	}
	return %requests;
}

# ----- failover -------------------------------------------------------------

my $primary = BrowserSession::Node->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', $preload);
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION browser_session');
$primary->account(
	's',
	BrowserSession::Provider::options(
		'stagehand', $sim->url('stagehand', delay => 50)),
	max_in_flight => 8);
$primary->backup('base');

my $standby = BrowserSession::Node->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# All are there before the first is ended, so that only the work itself is
# what the standby can miss.
wait_until('the primary has its worker',
	sub { processes($primary) =~ /worker/; });
enable($primary, 'off');
track($primary, 'due', $sessions, 'now()');
track($primary, 'later', 20, "now() + interval '1 hour'");
$primary->wait_for_catchup($standby);

is(processes($standby), '', 'a standby has neither launcher nor worker');
like(
	$standby->safe_psql(
		'postgres', 'SELECT running, state FROM bsession_worker'),
	qr/\Af\|not running/,
	'… and says so');
is( count($standby, 'FROM bsession_tracked'),
	$sessions + 20,
	'… but the sessions');

foreach my $call (
	"bsession_end('s', 'due-1')",
	"bsession_end_many('s', ARRAY['due-1'])",
	'bsession_end_expired()',
	"bsession_track('s', 'new', interval '1 hour')",
	"bsession_expire('s', 'due-1')",
	"bsession_untrack('s', 'due-1')")
{
	fails_with($standby, 'postgres', "SELECT * FROM $call",
		'25006', "$call is refused there");
}
is(scalar $sim->requests, 0, '… and nothing was sent');

# The primary dies in the middle of it.
enable($primary, 'on');
wait_until('a part of them is ended',
	sub { $sim->stats->{requests} > $sessions / 3; });
$primary->stop('immediate');
wait_until(
	'the standby has replayed what it got',
	sub {
		$standby->safe_psql('postgres',
			'SELECT pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()') eq
		  't';
	});
my %before = requests();
my @ended = split /\n/,
  $standby->safe_psql('postgres',
	"SELECT session_id FROM bsession_tracked WHERE state = 'ended'");
my $started = time;

$standby->promote;
wait_until(
	'all due sessions are ended',
	sub {
		count($standby, "FROM bsession_tracked WHERE state = 'ended'") ==
		  $sessions;
	});
note sprintf '%d of %d sessions were ended before the failover; all, %.1f s '
  . 'after it',
  scalar @ended, $sessions, time - $started;
my %after = requests();

cmp_ok(scalar @ended, '>', 0, 'some sessions were ended by the primary');
cmp_ok(scalar @ended, '<', $sessions, '… but not all');
like(processes($standby), qr/worker/, 'the promoted standby has a worker');
is(scalar(grep { !$after{"due-$_"} } 1 .. $sessions),
	0, '… by which every due session was ended');
is(scalar(grep { $after{$_} != $before{$_} } @ended),
	0, '… none a second time of which it knew');
is( count(
		$standby,
		"FROM bsession_tracked WHERE outcome NOT IN ('ended', 'already_ended')"
		  . ' OR claimed_by IS NOT NULL'),
	0,
	'… and none was left behind');
is( count(
		$standby,
		'FROM bsession_tracked t WHERE attempts <> (SELECT count(*)
		  FROM bsession_audit a WHERE a.session_id = t.session_id)'),
	0,
	'… each attempt is in the audit');
is(scalar(grep { /\Alater/ } keys %after),
	0, '… and what is not due was left alone');
is( count(
		$standby,
		"FROM bsession_tracked WHERE state = 'active'"
		  . ' AND next_attempt_at = expires_at'),
	20,
	'… and is due when it was');

$sim->forget;

# ----- dump and restore -----------------------------------------------------

# Rows of all kinds, one of them another role's, which got its account after
# it had tracked: a dump's GRANT comes after the rows, too.
my $source = $standby;
enable($source, 'off');
$source->safe_psql('postgres', <<SQL);
CREATE ROLE app LOGIN;
GRANT USAGE ON FOREIGN SERVER s TO app;
CREATE USER MAPPING FOR app SERVER s OPTIONS (api_key 'sim-key');
SET SESSION AUTHORIZATION app;
SELECT bsession_track('s', 'app-1', interval '1 hour', '{"job": 1}');
SELECT bsession_track('s', 'app-2', '2020-02-02 02:02:02+00'::timestamptz);
SELECT bsession_track('s', 'app-3', NULL::timestamptz);
RESET SESSION AUTHORIZATION;
UPDATE bsession_tracked SET state = 'failed', attempts = 3,
       outcome = 'unavailable', last_error = 'gone', next_attempt_at = NULL,
       tracked_at = '2019-01-01 00:00:00+00'
 WHERE session_id = 'app-1';
UPDATE bsession_tracked SET state = 'ending', reason = 'commit', attempts = 2,
       outcome = 'rate_limited', next_attempt_at = '2020-02-02 03:00:00+00'
 WHERE session_id = 'app-2';
SQL
track($source, 'dumped', 5, 'now()');

# What is to be found again.
my %content = (
	bsession_tracked => 'SELECT * FROM bsession_tracked ORDER BY 1, 2',
	bsession_audit => 'SELECT * FROM bsession_audit ORDER BY 1');
my %original =
  map { $_ => $source->safe_psql('postgres', $content{$_}) } keys %content;
my $last_id =
  $source->safe_psql('postgres', 'SELECT max(id) FROM bsession_audit');
my $directory = PostgreSQL::Test::Utils::tempdir();

# What a restored database has to be and do: the server, the database, and
# how to say that its worker may work.
sub check_restored
{
	my ($node, $database, $release) = @_;

	foreach my $table (sort keys %content)
	{
		is($node->safe_psql($database, $content{$table}),
			$original{$table}, "$table in $database is as it was");
	}
	wait_until(
		'the worker refuses',
		sub {
			$node->safe_psql($database, 'SELECT state FROM bsession_worker')
			  =~ /\Arefusing: /;
		});
	fails_with($node, $database, 'SELECT * FROM bsession_end_expired()',
		'55000', '… of which it ends nothing');
	is(scalar $sim->requests, 0, '… and nothing was sent');
	is($node->safe_psql($database, 'SELECT bsession_adopt()'),
		't', '… before it is adopted');
	$release->();
	wait_until(
		'what was due is ended',
		sub {
			count(
				$node,
				"FROM bsession_tracked WHERE state = 'ended'
				  AND (session_id LIKE 'dumped-%' OR session_id = 'app-2')",
				$database) == 6;
		});
	my %requests = requests();

	is( join(' ', sort keys %requests),
		join(' ', 'app-2', map { "dumped-$_" } 1 .. 5),
		'… and then what is due, and nothing else');
	is( $node->safe_psql(
			$database,
			"SELECT count(*), count(DISTINCT id)
			   FROM bsession_audit WHERE id > $last_id"),
		'6|6',
		'… noting it under further numbers');
	is( $node->safe_psql($database,
			<<SQL), '3|app|commit', '… going on counting');
SELECT attempt, actor, reason FROM bsession_audit
 WHERE session_id = 'app-2' AND id > $last_id
SQL
	is($node->safe_psql($database, 'SELECT bsession_adopt()'),
		'f', '… for good');
	$sim->forget;
	return;
}

# In another cluster, as SQL.
my $restored = BrowserSession::Node->new('restored');
$restored->init;
$restored->append_conf('postgresql.conf', $preload);
$restored->start;
$source->command_ok(
	[   'pg_dumpall', '--roles-only',
		'-f', "$directory/roles",
		'-d', $source->connstr('postgres') ],
	'pg_dumpall --roles-only');
$source->command_ok(
	[   'pg_dump', '-f', "$directory/dump", '-d', $source->connstr('postgres')
	],
	'pg_dump');

# The superuser is there already.
$restored->psql('postgres', "\\i $directory/roles", on_error_stop => 0);
$restored->safe_psql('postgres', 'CREATE DATABASE elsewhere');
$restored->command_ok(
	[   'psql', '-Xq',
		'-v', 'ON_ERROR_STOP=1',
		'-f', "$directory/dump",
		'-d', $restored->connstr('elsewhere') ],
	'psql restores it in another cluster');
check_restored($restored, 'elsewhere', sub { });

# The same in parts: those of a dump that is restored by parallel jobs arrive
# in any order, while the worker is there since the first.
$source->command_ok(
	[   'pg_dump', '-Fc',
		'-f', "$directory/archive",
		'-d', $source->connstr('postgres') ],
	'pg_dump -Fc');
$restored->safe_psql('postgres', 'CREATE DATABASE piecemeal');
my ($list) = run_command([ 'pg_restore', '-l', "$directory/archive" ]);
my %part = (schema => [], rows => [], rest => []);
foreach my $entry (split /\n/, $list)
{
	my $part =
		$entry =~ /TABLE DATA \S+ bsession_tracked / ? 'rows'
	  : $entry =~ /TABLE DATA|SEQUENCE SET/          ? 'rest'
	  :                                                'schema';

	push @{ $part{$part} }, $entry;
}

sub restore_part
{
	my ($name) = @_;

	append_to_file("$directory/$name", join("\n", @{ $part{$name} }, ''));
	$restored->command_ok(
		[   'pg_restore', '--exit-on-error',
			'-L', "$directory/$name",
			'-d', $restored->connstr('piecemeal'),
			"$directory/archive" ],
		"pg_restore of a part: the $name");
	return;
}
restore_part('schema');
wait_until(
	'the worker waits',
	sub {
		$restored->safe_psql('piecemeal', 'SELECT state FROM bsession_worker')
		  eq 'waiting';
	});
restore_part('rows');
wait_until(
	'the worker has seen the rows',
	sub {
		$sim->stats->{requests} > 0
		  || $restored->safe_psql('piecemeal',
			'SELECT state FROM bsession_worker') ne 'waiting';
	});
restore_part('rest');
check_restored($restored, 'piecemeal', sub { });

# In another database of the same cluster, by pg_restore.
$source->safe_psql('postgres', 'CREATE DATABASE beside');
$source->command_ok(
	[   'pg_restore', '--exit-on-error',
		'-d', $source->connstr('beside'),
		"$directory/archive" ],
	'pg_restore restores it in the same cluster');
is( $source->safe_psql('beside', "SELECT nextval('bsession_audit_id_seq')"),
	$last_id + 1,
	'the audit\'s numbers go on');
check_restored(
	$source, 'beside',
	sub {
		$source->append_conf('postgresql.conf',
			'browser_session.enabled = on');
		$source->safe_psql('postgres', <<SQL);
DELETE FROM bsession_tracked;
SELECT pg_reload_conf();
SQL
	});

$sim->stop;
done_testing();
