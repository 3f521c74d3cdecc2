# 016_databases.pl
#
# The workers and their databases: a worker comes with the extension and goes
# with it, keeps no command waiting that needs a database to itself, and is
# back when that is over, however it ended.  The provider never answers, so
# that every worker is in the middle of an exchange.

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

# What is to take a second is given so many, for a machine under load.
my $limit = 10;

my $sim = BrowserSession::Sim->new;
my $slow = $sim->url('stagehand', delay => 600_000);
my $fast = $sim->url('stagehand', delay => 20);
my $node = BrowserSession::Node->start_new('main', conf => <<END);
shared_preload_libraries = 'browser_session'
max_worker_processes = 30
END
my $count = 0;

# ----- words ----------------------------------------------------------------

# The columns of a statement's only row, undef if it fails.
sub ask
{
	my ($on, $database, $sql) = @_;
	my ($out, $errors) = ('', '');

	return
	  if $on->psql($database, $sql, stdout => \$out, stderr => \$errors) != 0;
	return wantarray ? split(/\|/, $out, -1) : $out;
}

# The pids of the processes of a type, of one database or of none.
sub processes
{
	my ($on, $type, $database) = @_;
	my $where =
	  defined $database
	  ? "datname = '$database'"
	  : 'datid IS NULL';

	return split /\n/, $on->safe_psql('postgres', <<SQL);
SELECT pid FROM pg_stat_activity
 WHERE backend_type = 'browser_session $type' AND $where
SQL
}

sub workers
{
	my ($database, $on) = @_;

	return processes($on // $node, 'worker', $database);
}

sub clients
{
	my ($database) = @_;

	return $node->safe_psql('postgres', <<SQL);
SELECT count(*) FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND datname = '$database'
SQL
}

# Waits for the worker of a database, one that is not "other" if that is given.
sub worker
{
	my ($database, $other, $on) = @_;

	return wait_until(
		"$database has a worker",
		sub {
			my ($pid) = workers($database, $on);

			return defined $pid && $pid != ($other // 0) ? $pid : 0;
		});
}

# Statements that make an account in a database.
sub account_sql
{
	my ($url) = @_;
	my %option = BrowserSession::Provider::options('stagehand', $url);
	my $mapping = delete $option{mapping};

	return
		'CREATE EXTENSION IF NOT EXISTS browser_session;'
	  . 'DROP SERVER IF EXISTS s CASCADE;'
	  . 'CREATE SERVER s FOREIGN DATA WRAPPER browser_session'
	  . BrowserSession::Node::options(%option, timeout => 600_000) . ';'
	  . 'CREATE USER MAPPING FOR PUBLIC SERVER s'
	  . BrowserSession::Node::options(%$mapping) . ';';
}

# Tracks sessions that are due.
sub track_sql
{
	my ($n) = @_;

	return <<SQL;
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 's', current_database() || '-' || n, now()
  FROM generate_series(1, $n) n;
SQL
}

# Makes a database whose worker is waiting for an answer.  Returns its name
# and the worker's pid.
sub busy_database
{
	my ($on) = @_;
	my $name = 'busy_' . ++$count;

	$on //= $node;
	$on->safe_psql('postgres', "CREATE DATABASE $name");
	$on->safe_psql($name,
			"SET client_min_messages = warning;"
		  . account_sql($slow)
		  . track_sql(20));
	wait_busy($name, $on);
	return ($name, worker($name, undef, $on));
}

sub wait_busy
{
	my ($name, $on) = @_;

	wait_until(
		"the worker of $name is busy",
		sub {
			my ($in_flight) = ask($on // $node,
				$name, 'SELECT in_flight FROM bsession_worker');
			return ($in_flight // 0) == 20;
		});
	return;
}

# Lets the provider answer, and waits until all sessions are ended.
sub ends_all
{
	my ($name, $what) = @_;

	$node->safe_psql($name, "ALTER SERVER s OPTIONS (SET base_url '$fast')");

	# The attempts under way still wait: the worker gives them back.
	$node->safe_psql('postgres', <<SQL);
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE backend_type = 'browser_session worker' AND datname = '$name'
SQL
	wait_until(
		"$name has ended its sessions",
		sub {
			my $ended = ask($node, $name,
				"SELECT count(*) FROM bsession_tracked WHERE state = 'ended'"
			);
			return ($ended // 0) == 20;
		});
	pass($what);
	return;
}

# Runs a command and says how long it took; it has to succeed in time.
sub in_time
{
	my ($what, $code) = @_;
	my $start = time;

	$code->();
	my $seconds = time - $start;
	cmp_ok($seconds, '<', $limit, $what);
	note sprintf '%s: %.3f s', $what, $seconds;
	return;
}

sub command_in_time
{
	my ($what, $sql, $database) = @_;

	return in_time($what,
		sub { $node->safe_psql($database // 'postgres', $sql); });
}

# Fails a command; returns its error.
sub refused
{
	my ($sql, %option) = @_;

	isnt($node->psql('postgres', $sql, stderr => \my $error, %option),
		0, "refused: $sql");
	return $error;
}

# None of the processes was started in vain, or crashed.
sub no_failure
{
	my ($on) = @_;
	my @failures =
	  grep { /PANIC: |was terminated by signal|FATAL:  database/ }
	  split /\n/, slurp_file($on->logfile);

	is(join("\n", @failures), '', 'no worker has failed');
	return;
}

# Started now, read when it has been waited for: PostgreSQL looks for seconds
# whether the other client goes.
my ($occupied, $occupied_worker) = busy_database();
my $client = $node->background('SELECT pg_sleep(3600);', dbname => $occupied);
wait_until('the other client is connected', sub { clients($occupied) > 0; });
my $failing_drop = $node->background("DROP DATABASE $occupied;");

# ----- the extension comes and goes -----------------------------------------

# Three databases, each with a worker of its own as soon as the extension is
# there.
{
	my @names = map { "three_$_" } 1 .. 3;
	my %pid;

	foreach my $name (@names)
	{
		$node->safe_psql('postgres', "CREATE DATABASE $name");
		$node->safe_psql($name, 'CREATE EXTENSION browser_session');
		in_time("CREATE EXTENSION brings the worker of $name",
			sub { $pid{ worker($name) } = 1; });
	}
	is(scalar keys %pid, 3, 'each database has a worker of its own');
}

# What is rolled back brings none.
{
	$node->safe_psql('postgres', "CREATE DATABASE $_")
	  foreach 'rolled_back', 'after';
	$node->safe_psql('rolled_back',
		'BEGIN; CREATE EXTENSION browser_session; ROLLBACK');
	$node->safe_psql('rolled_back', <<SQL);
BEGIN; SAVEPOINT a; CREATE EXTENSION browser_session; ROLLBACK TO a; COMMIT
SQL
	$node->safe_psql('after', 'CREATE EXTENSION browser_session');
	worker('after');
	wait_until('no worker is left', sub { !workers('rolled_back'); });
	unlike(
		slurp_file($node->logfile),
		qr/worker for database "rolled_back" started/,
		'CREATE EXTENSION that is rolled back brings no worker');
}

{
	my ($name) = busy_database();

	command_in_time(
		'DROP EXTENSION while the worker is busy',
		'SET client_min_messages = warning;'
		  . 'DROP EXTENSION browser_session CASCADE',
		$name);
	wait_until('the worker is gone', sub { !workers($name); });
	pass('… and there is no worker any more');
	$node->safe_psql($name, 'CREATE EXTENSION browser_session');
	ok(worker($name), '… until the extension comes again');
}

{
	my ($name, $pid) = busy_database();

	$node->safe_psql($name, <<SQL);
SET client_min_messages = warning;
BEGIN; DROP EXTENSION browser_session CASCADE; ROLLBACK
SQL
	is(worker($name), $pid,
		'DROP EXTENSION that is rolled back leaves the worker');
	ends_all($name, '… which ends the sessions');
}

# ----- commands that need a database to themselves --------------------------

{
	my ($name) = busy_database();

	command_in_time('DROP DATABASE', "DROP DATABASE $name");
	is( $node->safe_psql(
			'postgres',
			"SELECT count(*) FROM pg_database WHERE datname = '$name'"),
		0,
		'… drops it');
}
{
	my ($name) = busy_database();

	command_in_time('DROP DATABASE WITH (FORCE)',
		"DROP DATABASE $name WITH (FORCE)");
}
{
	my ($name, $pid) = busy_database();

	command_in_time('ALTER DATABASE RENAME',
		"ALTER DATABASE $name RENAME TO renamed");
	isnt(worker('renamed', $pid), $pid, '… brings the worker back');
	ends_all('renamed', '… which ends the sessions');
}
{
	my ($name, $pid) = busy_database();
	my $directory = PostgreSQL::Test::Utils::tempdir();

	$node->safe_psql('postgres',
		"CREATE TABLESPACE elsewhere LOCATION '$directory'");
	command_in_time('ALTER DATABASE SET TABLESPACE',
		"ALTER DATABASE $name SET TABLESPACE elsewhere");
	isnt(worker($name, $pid), $pid, '… brings the worker back');
	ends_all($name, '… which ends the sessions');
}
foreach my $strategy ('wal_log', 'file_copy')
{
	my ($name, $pid) = busy_database();
	my $copy = "copy_$strategy";
	my $with =
	  $node->pg_version >= 15
	  ? "TEMPLATE $name STRATEGY $strategy"
	  : "TEMPLATE $name";

	command_in_time("CREATE DATABASE $with", "CREATE DATABASE $copy $with");
	isnt(worker($name, $pid), $pid, '… brings the worker back');
	wait_busy($name);
	worker($copy);
	wait_until(
		'the worker refuses',
		sub {
			ask($node, $copy, 'SELECT state FROM bsession_worker') =~
			  /\Arefusing: /;
		});
	is( $node->safe_psql($copy, 'SELECT max(attempts) FROM bsession_tracked'),
		$node->safe_psql(
			$name, 'SELECT max(attempts) - 1 FROM bsession_tracked'),
		'… and the copy makes no attempt');
	is($node->safe_psql($copy, 'SELECT bsession_adopt()'),
		't', '… before it is adopted');
	ends_all($copy, '… and then ends the sessions');
}

# A database of which the extension is a part from the beginning.
{
	$node->safe_psql('template1', 'CREATE EXTENSION browser_session');
	worker('template1');
	command_in_time('CREATE DATABASE with the extension in template1',
		'CREATE DATABASE from_template1');
	in_time('… brings a worker', sub { worker('from_template1'); });
	$node->safe_psql('template1', 'DROP EXTENSION browser_session');
}

# What fails brings the worker back, what was never allowed leaves it alone.
{
	my ($name, $pid) = busy_database();

	$node->safe_psql('postgres', "ALTER DATABASE $name IS_TEMPLATE true");
	like(
		refused("DROP DATABASE $name"),
		qr/cannot drop a template database/,
		'… it is a template');
	isnt(worker($name, $pid), $pid, '… and the worker is back');
	$node->safe_psql('postgres', <<SQL);
ALTER DATABASE $name IS_TEMPLATE false;
CREATE ROLE stranger LOGIN CREATEDB;
SQL
	wait_busy($name);
	$pid = worker($name);
	foreach my $command (
		"DROP DATABASE $name",
		"DROP DATABASE $name WITH (FORCE)",
		"ALTER DATABASE $name RENAME TO mine",
		"ALTER DATABASE $name SET TABLESPACE pg_default",
		"CREATE DATABASE mine TEMPLATE $name")
	{
		like(
			refused($command, extra_params => [ '-U', 'stranger' ]),
			qr/must be owner|permission denied/,
			'… by who does not own it');
	}
	is(worker($name), $pid, '… and the worker was not disturbed');
	is( $node->safe_psql(
			$name, 'SELECT in_flight, max(attempts)
			  FROM bsession_worker, bsession_tracked GROUP BY 1'),
		'20|' . 2,
		'… nor its exchanges');
}
{
	my (undef, $error) = $node->finish($failing_drop);

	like(
		$error,
		qr/is being accessed by other users/,
		'DROP DATABASE of one with another client');
	isnt(worker($occupied, $occupied_worker),
		$occupied_worker, '… brings the worker back');
	$node->safe_psql('postgres', <<SQL);
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND datname = '$occupied'
SQL
	command_in_time('DROP DATABASE, the other client gone',
		"DROP DATABASE $occupied");
}

# A database that is closed to connections needs no worker, and gets it again.
{
	my ($name, $pid) = busy_database();

	$node->safe_psql('postgres', <<SQL);
ALTER DATABASE $name ALLOW_CONNECTIONS false;
SELECT pg_terminate_backend($pid, 10000);
CREATE DATABASE meanwhile;
SQL
	$node->safe_psql('meanwhile', 'CREATE EXTENSION browser_session');
	worker('meanwhile');
	is(scalar workers($name), 0, 'a closed database has no worker');
	$node->safe_psql('postgres',
		"ALTER DATABASE $name ALLOW_CONNECTIONS true");
	in_time('… until it is opened again', sub { worker($name, $pid); });
}

# ----- the launcher ---------------------------------------------------------

{
	my ($name, $pid) = busy_database();
	my ($launcher) = processes($node, 'launcher');

	$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
	in_time(
		'a launcher that was terminated comes back',
		sub {
			wait_until(
				'there is a new launcher',
				sub {
					my ($new) = processes($node, 'launcher');
					return defined $new && $new != $launcher;
				});
		});
	is(worker($name), $pid, '… and the workers carry on');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	in_time('… and are started again', sub { worker($name, $pid); });
}

no_failure($node);

# ----- few worker processes -------------------------------------------------

# One process is the launcher's and one logical replication's: two are left
# for databases.
{
	my $few = BrowserSession::Node->start_new('few', conf => <<END);
shared_preload_libraries = 'browser_session'
max_worker_processes = 4
END

	# A database that is dropped leaves no entry behind: there would not be
	# room for so many.
	worker('postgres', undef, $few);
	foreach my $round (1 .. 6)
	{
		$few->safe_psql('postgres', "CREATE DATABASE d$round");
		$few->safe_psql("d$round", 'CREATE EXTENSION browser_session');
		worker("d$round", undef, $few);
		$few->safe_psql('postgres', "DROP DATABASE d$round");
	}
	pass('six databases, one after the other, had a worker');

	$few->safe_psql('postgres', "CREATE DATABASE $_") foreach 'one', 'two';
	$few->safe_psql($_, 'CREATE EXTENSION browser_session')
	  foreach 'one', 'two';
	wait_until(
		'the log says what is missing',
		sub {
			slurp_file($few->logfile) =~
			  /WARNING:\ \ could\ not\ start\ a\ browser_session\ worker:\ .*\n
			   .*HINT:\ \ Increase\ max_worker_processes/x;
		});
	pass('without a free process there is a warning and a hint');
	is(scalar(map { workers($_, $few) } qw(postgres one two)),
		2, '… and as many workers as there is room for');
	$few->safe_psql('postgres', 'DROP EXTENSION browser_session');
	in_time('the others come when one is free',
		sub { worker($_, undef, $few) foreach 'one', 'two'; });
	no_failure($few);
	$few->stop;
}

# ----- what was left of a database -------------------------------------------

# A DROP DATABASE that was broken off leaves one that nobody can connect to.
{
	$node->safe_psql('postgres', "CREATE DATABASE $_") foreach 'broken', 'whole';
	$node->safe_psql('whole', 'CREATE EXTENSION browser_session');
	$node->safe_psql('postgres',
		"UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken'");
	$node->restart;
	worker('whole');
	unlike(slurp_file($node->logfile),
		qr/FATAL:  cannot connect to invalid database/,
		'no process is started for what was left of a database');
	$node->safe_psql('postgres', 'DROP DATABASE broken');
}

# ----- not preloaded --------------------------------------------------------

{
	my $bare = BrowserSession::Node->start_new('bare');

	$bare->safe_psql('postgres', account_sql($fast) . track_sql(3));
	like(
		$bare->safe_psql(
			'postgres', 'SELECT running, state FROM bsession_worker'),
		qr/\Af\|not preloaded: /,
		'without preloading there is no worker, and the view says so');
	is($bare->end('s', 'by-hand')->{outcome},
		'ended', '… bsession_end() works');
	is($bare->safe_psql('postgres', <<SQL), 't', '… bsession_track() works');
SELECT (bsession_track('s', 'tracked', interval '1 hour')).state = 'active'
SQL
	is( $bare->safe_psql(
			'postgres',
			'SELECT count(*) FILTER (WHERE done) FROM bsession_end_expired()'
		),
		3,
		'… and bsession_end_expired() ends what is due');
	$bare->safe_psql('postgres', 'CREATE DATABASE other TEMPLATE template0');
	$bare->safe_psql('postgres', 'DROP DATABASE other');
	$bare->stop;
}

$sim->stop;
done_testing();
