# 019_cron.pl
#
# Without the worker: pg_cron, the real one, runs bsession_end_expired() as the
# job of an application's role and of a superuser, over connections of its own
# and in background workers.  Sessions that are due end, once each, with the
# credential and in the name of the role that tracks them; what the job's role
# may not change is left alone.  What README.md says of it works.
#
# So that a job runs once, and at once, it is scheduled for the server's start,
# and the server restarted.  At an interval it runs as well, every second; up
# to 1.4 pg_cron's shortest interval is a minute, and that is left out unless
# BROWSER_SESSION_CRON_MINUTES is set.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Document;
use BrowserSession::Node;
use BrowserSession::Poll qw(wait_until);
use BrowserSession::Sim;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($share) = `pg_config --sharedir` =~ /(.*)/;
my $control = "$share/extension/pg_cron.control";
plan skip_all => 'there is no pg_cron (Debian: postgresql-15-cron)'
  unless -e $control;

my ($version) =
  slurp_file($control) =~ /^default_version\s*=\s*'(\d+\.\d+)/m;
my $interval =
    version->parse("v$version") >= v1.5 ? '1 seconds'
  : $ENV{BROWSER_SESSION_CRON_MINUTES} ? '* * * * *'
  :                                      undef;

my $sweep = 'SELECT bsession_end_expired()';
my $sim = BrowserSession::Sim->new;
my $node = BrowserSession::Node->start_new(
	'main',
	preload => 'pg_cron,browser_session',
	conf => <<'CONF');
cron.database_name = 'postgres'
browser_session.enabled = off
browser_session.retry_delay = 5min
CONF
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_cron;
CREATE ROLE administrator SUPERUSER LOGIN;
SQL
$node->account(
	'up',
	provider => 'stagehand',
	base_url => $sim->url('stagehand'));

sub restart_with
{
	my (%setting) = @_;

	foreach my $name (sort keys %setting)
	{
		$node->append_conf('postgresql.conf', "$name = '$setting{$name}'\n");
	}
	return $node->restart;
}

restart_with('cron.host' => $node->host);

# Makes roles that may schedule jobs and track sessions at the server, each
# with a key of its own.
sub make_roles
{
	my ($server, @roles) = @_;

	foreach my $role (@roles)
	{
		$sim->accept_key("key-$role");
		$node->safe_psql('postgres', <<SQL);
CREATE ROLE $role LOGIN;
GRANT USAGE ON SCHEMA cron TO $role;
GRANT USAGE ON FOREIGN SERVER $server TO $role;
CREATE USER MAPPING FOR $role SERVER $server
	OPTIONS (api_key 'key-$role');
SQL
	}
	return;
}

sub query_as
{
	my ($role, $sql) = @_;

	return $node->safe_psql('postgres', $sql,
		extra_params => [ '-U', $role ]);
}

sub hashes
{
	my ($query) = @_;

	return map { JSON::PP->new->utf8->decode($_) } split /\n/,
	  $node->safe_psql('postgres', "SELECT to_jsonb(q) FROM ($query) q");
}

# Tracks sessions; a ttl of milliseconds has passed before this returns.
sub track
{
	my ($role, $server, $ttl, @ids) = @_;
	my $ids = join ', ', map { "'$_'" } @ids;

	query_as($role, <<SQL);
SELECT bsession_track('$server', id, ttl => '$ttl')
  FROM unnest(ARRAY[$ids]) AS id
SQL
	wait_until('they expire', sub { query_as($role, <<SQL) eq 't' })
SELECT bool_and(expires_at < clock_timestamp()) FROM bsession_tracked
 WHERE session_id IN ($ids)
SQL
	  if $ttl =~ /ms/;
	return;
}

sub tracked
{
	my ($id) = @_;

	my ($row) = hashes(<<SQL);
SELECT * FROM bsession_tracked WHERE session_id = '$id'
SQL
	return $row;
}

# The audit of a session: reason, attempt, outcome and actor of each row.
sub audit
{
	my ($id) = @_;

	return join ', ',
	  map { "$_->{reason} $_->{attempt} $_->{outcome} by $_->{actor}" }
	  hashes(<<SQL);
SELECT * FROM bsession_audit WHERE session_id = '$id' ORDER BY id
SQL
}

# The rows of cron.job_run_details on a job's runs that are over.
sub over
{
	my ($job) = @_;

	return hashes(<<SQL);
SELECT * FROM cron.job_run_details
 WHERE jobid = $job AND end_time IS NOT NULL ORDER BY runid
SQL
}

# Schedules a role's job and returns its number.
sub schedule
{
	my ($role, $when) = @_;

	return query_as($role, "SELECT cron.schedule('$role', '$when', '$sweep')");
}

sub unschedule
{
	my ($role) = @_;

	return query_as($role, "SELECT cron.unschedule('$role')");
}

# Has each role's job run once and returns their rows of
# cron.job_run_details.
sub run_jobs
{
	my (@roles) = @_;
	my @jobs = map { schedule($_, '@reboot') } @roles;
	my @runs;

	$node->restart;
	foreach my $job (@jobs)
	{
		push @runs, wait_until("job $job has run", sub { (over($job))[0] });
	}
	unschedule($_) foreach @roles;
	return wantarray ? @runs : $runs[0];
}

# A run was a success.
sub succeeded
{
	my ($run, $role) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is($run->{status}, 'succeeded', "the job of $role succeeds")
	  or diag explain $run;
	is($run->{username}, $role, '… as that role');
	return;
}

# In each way that jobs are run: their roles end what they may.
sub jobs_end_sessions
{
	my ($way, $application_name) = @_;
	my ($mine, $yours) = map { "${_}_$way" } qw(app other);

	make_roles('up', $mine, $yours);
	track($mine, 'up', '1 ms', "due-1-$way", "due-2-$way");
	track($mine, 'up', '1 hour', "later-$way");
	track($yours, 'up', '1 ms', "yours-$way");

	succeeded(scalar run_jobs($mine), $mine);
	foreach my $id ("due-1-$way", "due-2-$way")
	{
		is(tracked($id)->{state}, 'ended', 'a session that is due has ended');
		is($sim->state('stagehand', $id), 'ended', '… at the provider');
		is(audit($id), "sweep 1 ended by $mine", '… and in the audit');
	}
	is( $node->safe_psql('postgres', <<SQL),
SELECT DISTINCT application_name FROM bsession_audit WHERE actor = '$mine'
SQL
		$application_name,
		'… which says what did it');
	is(tracked("later-$way")->{state}, 'active', 'one that is not due stays');
	is(tracked("yours-$way")->{state},
		'active', 'another role\'s stays, though it is due');
	is(scalar $sim->requests("yours-$way"), 0, '… and nobody asked for it');

	succeeded(scalar run_jobs('administrator'), 'administrator');
	is(tracked("yours-$way")->{state},
		'ended', 'a superuser\'s job ends any role\'s');
	is(audit("yours-$way"), "sweep 1 ended by $yours",
		'… in the name of the role that tracks it');
	my ($request) = $sim->requests("yours-$way");
	is($request->{headers}{'x-bb-api-key'},
		"key-$yours", '… with that role\'s credential');
	is(tracked("later-$way")->{state},
		'active', '… and one that is not due stays');
	return;
}

subtest 'over connections' => sub {
	wait_until(
		'the worker has nothing to do',
		sub {
			$node->safe_psql('postgres', 'SELECT state FROM bsession_worker')
			  eq 'disabled by browser_session.enabled';
		});
	jobs_end_sessions('connections', 'pg_cron');
};

subtest 'nothing due, nothing done' => sub {
	make_roles('up', 'idle');
	track('idle', 'up', '1 hour', 'not-due');
	my ($row, $audited, $requests) = (
		q(SELECT xmin, ctid, * FROM bsession_tracked
		   WHERE session_id = 'not-due'),
		'SELECT count(*) FROM bsession_audit',
		$sim->stats->{requests});
	my @before = map { $node->safe_psql('postgres', $_) } $row, $audited;

	my $run = run_jobs('idle');
	succeeded($run, 'idle');
	is($run->{return_message}, '0 rows', '… with no row');
	is($node->safe_psql('postgres', $row),
		$before[0], 'the session\'s row was not even written to');
	is($node->safe_psql('postgres', $audited),
		$before[1], 'nothing is audited');
	is($sim->stats->{requests}, $requests, 'no request is sent');
};

subtest 'a provider that cannot be reached is left alone for a while' => sub {
	$node->account(
		'down',
		provider => 'stagehand',
		base_url => 'http://127.0.0.1:'
		  . PostgreSQL::Test::Cluster::get_free_port());
	make_roles('down', 'patient');
	$node->safe_psql('postgres', <<'SQL');
GRANT USAGE ON FOREIGN SERVER up TO patient;
CREATE USER MAPPING FOR patient SERVER up
	OPTIONS (api_key 'key-patient');
SQL
	track('patient', 'down', '1 ms', 'nobody-answers');
	track('patient', 'up', '1 ms', 'somebody-answers');

	succeeded(scalar run_jobs('patient'), 'patient');
	is(tracked('somebody-answers')->{state},
		'ended', 'the same job ends another provider\'s session');
	my ($row) = hashes(<<'SQL');
SELECT state, outcome, attempts, last_error,
	   next_attempt_at > clock_timestamp() + interval '3 min' AS waits
  FROM bsession_tracked WHERE session_id = 'nobody-answers'
SQL
	is_deeply(
		{ %$row, last_error => '' },
		{   state => 'ending',
			outcome => 'unreachable',
			attempts => 1,
			last_error => '',
			waits => JSON::PP::true },
		'the one that cannot be reached is put off');
	like($row->{last_error}, qr/connect/, '… and says why');

	succeeded(scalar run_jobs('patient'), 'patient');
	is( audit('nobody-answers'),
		'sweep 1 unreachable by patient',
		'the next job does not try it again');

	$node->safe_psql('postgres', <<SQL);
ALTER SERVER down OPTIONS (SET base_url '${\$sim->url('stagehand')}');
UPDATE bsession_tracked SET next_attempt_at = now()
 WHERE session_id = 'nobody-answers';
SQL
	succeeded(scalar run_jobs('patient'), 'patient');
	is( audit('nobody-answers'),
		'sweep 1 unreachable by patient, sweep 2 ended by patient',
		'the job after the back-off does');
	is(tracked('nobody-answers')->{state}, 'ended', '… and it ends');
};

subtest 'two jobs at once end each session once' => sub {
	my @ids = map { "shared-$_" } 1 .. 40;
	$node->account(
		'shared',
		provider => 'stagehand',
		base_url => $sim->url('stagehand', delay => 200),
		max_in_flight => 4);
	make_roles('shared', 'shared_app');
	track('shared_app', 'shared', '1 ms', @ids);

	my ($own, $superuser) = run_jobs('shared_app', 'administrator');
	succeeded($own, 'shared_app');
	succeeded($superuser, 'administrator');
	ok( $own->{start_time} lt $superuser->{end_time}
		  && $superuser->{start_time} lt $own->{end_time},
		'they run at once');
	my ($rows, $more) =
	  map { $_->{return_message} =~ /\A(\d+) rows?\z/ } $own, $superuser;
	is($rows + $more, scalar @ids, 'what one does, the other leaves alone');
	is($node->safe_psql('postgres', <<'SQL'),
SELECT state, attempt, count(*)
  FROM bsession_tracked JOIN bsession_audit USING (provider, session_id)
 WHERE provider = 'shared' GROUP BY 1, 2
SQL
		'ended|1|40',
		'all have ended, in one attempt each');
	is_deeply([ map { scalar(my @requests = $sim->requests($_)) } @ids ],
		[ (1) x @ids ],
		'… with one request each');
};

# A job that runs again and again, while sessions come and expire.
sub regular_job
{
	make_roles('up', 'regular');
	my $job = schedule('regular', $interval);

	foreach my $id ('first', 'second')
	{
		track('regular', 'up', '1 ms', $id);
		wait_until('the job ends it',
			sub { tracked($id)->{state} eq 'ended' });
		is(audit($id), 'sweep 1 ended by regular',
			"the $id session has ended");
	}
	unschedule('regular');
	is(scalar(grep { $_->{status} ne 'succeeded' } over($job)),
		0, 'no run has failed');
	return;
}

subtest "at an interval: $interval" => \&regular_job if $interval;

subtest 'in background workers' => sub {
	restart_with('cron.use_background_workers' => 'on');
	jobs_end_sessions('workers', '');
};

subtest 'not preloaded' => sub {
	restart_with(
		'shared_preload_libraries' => 'pg_cron',
		'cron.use_background_workers' => 'off');
	like(
		$node->safe_psql('postgres', 'SELECT state FROM bsession_worker'),
		qr/^not preloaded/,
		'there is no worker');
	jobs_end_sessions('not_preloaded', 'pg_cron');
};

subtest 'as the document says' => sub {
	my ($conf, $sql) = map { $_->{text} } grep { $_->{text} =~ /\bcron\./ }
	  BrowserSession::Document::blocks("$FindBin::RealBin/../../README.md");

	like($sql, qr/'\* \* \* \* \*'/, 'its job runs every minute');
	$sql =~ s/'\* \* \* \* \*'/'\@reboot'/;
	$node->safe_psql('postgres', 'DROP EXTENSION pg_cron');
	$node->append_conf('postgresql.conf', $conf);
	$node->restart;
	my ($job) = query_as('administrator', $sql) =~ /(\d+)\z/;

	make_roles('up', 'reader');
	track('reader', 'up', '1 ms', 'documented');
	$node->restart;
	succeeded(wait_until('the job has run', sub { (over($job))[0] }),
		'administrator');
	is(audit('documented'), 'sweep 1 ended by reader', 'it ends the session');
};

$sim->stop;
done_testing();
