# 020_failures.pl
#
# A session that cannot be ended: it is tried again with growing pauses, or as
# the provider asks, given up visibly and re-armed; a row that nothing can be
# sent for says why, and harms only itself; and what is over and old is
# deleted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Poll qw(wait_until);
use BrowserSession::Sim;
use BrowserSession::Worker;
use List::Util qw(min);
use PostgreSQL::Test::Utils;
use Test::More;

my $sim = BrowserSession::Sim->new;
my $node = BrowserSession::Worker->start_new('main', conf => <<'CONF');
browser_session.retry_delay = 200ms
browser_session.max_retry_delay = 1s
CONF
$node->simulated($sim, 'healthy', 'stagehand', {});

sub sql { return $node->safe_psql('postgres', @_); }

# The outcomes in the audit, in order.
sub outcomes { return join ' ', map { $_->{outcome} } $node->audit(@_); }

sub attempts { return join ' ', map { $_->{attempt} } $node->audit(@_); }

# The pauses between the requests for an id, in seconds.
sub gaps
{
	my @at = map { $_->{at} / 1e6 } $sim->requests($_[0]);

	return map { $at[$_] - $at[ $_ - 1 ] } 1 .. $#at;
}

# Failures that pass: tried again, with pauses that double.
{
	$node->simulated($sim, 'passing', 'stagehand',
		{ status => 503, times => 2 });
	$node->track('passing', 'now()', 'passing');
	my $row = $node->wait_for_row('passing', 'passing', state => 'ended');
	my @audit = $node->audit('passing', 'passing');
	my @gaps = gaps('passing');

	is($row->{attempts}, 3, '503 twice: ended at the third attempt');
	is($row->{last_error}, undef, '… which leaves no error');
	is(outcomes('passing', 'passing'),
		'unavailable unavailable ended', '… each in the audit');
	is(attempts('passing', 'passing'), '1 2 3', '… by its number');
	is(join(' ', map { $_->{http_status} } @audit),
		'503 503 200', '… with its status');
	cmp_ok($gaps[0], '>=', 0.15, '… after a pause');
	cmp_ok($gaps[1], '>=', 0.3, '… and then a longer one');
	note sprintf 'pauses: %.3f s, %.3f s', @gaps;
}

# Retry-After is obeyed, for the whole server.
{
	$node->simulated(
		$sim, 'after', 'stagehand',
		{ status => 503, times => 1, retry_after_ms => 1500 },
		max_in_flight => 1);
	$node->track('after', 'now()', 'after-1', 'after-2');
	$node->wait_for_end('after');
	my @at = map { $_->{at} / 1e6 }
	  grep { $_->{target} =~ /after-/ } $sim->requests;

	is(scalar @at, 4, 'Retry-After: two sessions refused once');
	cmp_ok($at[1] - $at[0], '>=', 1.5,
		'… the other one waits as long as was asked for');
	cmp_ok(min(gaps('after-1'), gaps('after-2')),
		'>=', 1.5, '… and so does the same one');
	is(outcomes('after', 'after-1'), 'unavailable ended', '… then it ends');
}

# Given up after max_attempts; and re-armed.
{
	$node->configure(max_attempts => 3);
	$node->simulated($sim, 'hopeless', 'stagehand',
		{ status => 500, times => 3 });
	$node->track('hopeless', 'now()', 'hopeless');
	my $row = $node->wait_for_row('hopeless', 'hopeless', state => 'failed');

	is("$row->{attempts} $row->{outcome}",
		'3 unavailable', 'given up after max_attempts');
	like($row->{last_error}, qr/provider answered 500/, '… says why');
	is($row->{next_attempt_at}, undef, '… and is not due');
	is(sql("SELECT bsession_retry('hopeless', 'hopeless')"),
		't', 'bsession_retry()');
	$row = $node->wait_for_row('hopeless', 'hopeless', state => 'ended');
	is($row->{attempts}, 1, '… has all its attempts again');
	is(attempts('hopeless', 'hopeless'), '1 2 3 1', '… and needed one');
	is(sql("SELECT bsession_retry('hopeless', 'hopeless')"),
		'f', '… which is not for what has ended');
	$node->configure(max_attempts => 20);
}

# An end that is accepted is looked at later, and asked for again only if the
# session is still there.
{
	my %option = (confirm_timeout => 50);

	$node->configure(retry_delay => '1s');
	$node->simulated($sim, 'accepted', 'browserbase', { release => 300 },
		%option);
	$node->simulated($sim, 'stuck', 'browserbase', { release => -1 },
		%option);
	$node->track('accepted', 'now()', 'accepted');
	$node->track('stuck', 'now()', 'stuck');
	$node->wait_for_row('accepted', 'accepted', state => 'ended');
	is(outcomes('accepted', 'accepted'),
		'requested ended', 'an end that is accepted');
	is(join(' ', map { $_->{method} } $sim->requests('accepted')),
		'POST GET', '… is confirmed by a read, and not asked for again');
	wait_until('a second attempt is recorded',
		sub { scalar $node->audit('stuck', 'stuck') >= 2 });
	my $row = $node->tracked('stuck', 'stuck');
	is("$row->{state} $row->{outcome}",
		'ending requested', 'an accepted end that does not come');
	wait_until('it was asked for again',
		sub { scalar $sim->requests('stuck') >= 3 });
	is(join(' ', (map { $_->{method} } $sim->requests('stuck'))[ 0 .. 2 ]),
		'POST GET POST', '… is looked at, and asked for again');
	sql("DELETE FROM bsession_tracked WHERE provider = 'stuck'");
	$node->configure(retry_delay => '200ms');
}

# A direct call settles the row; what it could not do is the worker's.
{
	my $dead = BrowserSession::Worker::dead_sim();

	$node->track('healthy', "now() + '1 hour'", 'direct');
	is($node->end('healthy', 'direct')->{outcome}, 'ended', 'a direct call');
	is($node->tracked('healthy', 'direct')->{state},
		'ended', '… settles the tracked session');
	is(join(' ', map { $_->{reason} } $node->audit('healthy', 'direct')),
		'call', '… and nobody else ends it');

	$node->simulated($dead, 'dead', 'stagehand', {}, retries => 0);
	$node->track('dead', "now() + '1 hour'", 'carried-on');
	is($node->end('dead', 'carried-on')->{outcome},
		'unreachable', 'a direct call that fails');
	# However often the worker has tried meanwhile, it is not to give up.
	$node->configure(max_attempts => 1000);
	my $row;
	wait_until(
		'the worker has tried',
		sub {
			$row = $node->tracked('dead', 'carried-on');
			return $row->{state} eq 'ending' && $row->{attempts} >= 1
			  && ($row->{outcome} // '') eq 'unreachable';
		});
	is($row->{reason}, 'call', '… is the worker\'s');
	like($row->{last_error}, qr/connect/i, '… which says why it fails');
	$dead->revive;
	$node->wait_for_row('dead', 'carried-on', state => 'ended');
	is(scalar $dead->requests('carried-on'), 1, '… and carries on');
	is(join(' ', map { $_->{reason} } $node->audit('dead', 'carried-on')),
		join(' ', ('call') x $node->audit('dead', 'carried-on')),
		'… for the same reason');
	$node->configure(max_attempts => 20);
}

# One bad row: how it goes bad, how it is repaired, and what it says.
my @bad = (
	{   name => 'role',
		what => 'a role that was dropped',
		spoil => 'DROP OWNED BY bad_role; DROP ROLE bad_role',
		repair =>
		  'CREATE ROLE bad_role; GRANT USAGE ON FOREIGN SERVER bad_role TO bad_role',
		error => qr/role "bad_role" does not exist/ },
	{   name => 'usage',
		what => 'a role that lost USAGE',
		spoil => 'REVOKE USAGE ON FOREIGN SERVER bad_usage FROM bad_usage',
		repair => 'GRANT USAGE ON FOREIGN SERVER bad_usage TO bad_usage',
		error => qr/permission denied for foreign server bad_usage/ },
	{   name => 'server',
		what => 'a server that was dropped',
		spoil => 'DROP SERVER bad_server CASCADE',
		repair => sub {
			account('server');
			sql('GRANT USAGE ON FOREIGN SERVER bad_server TO bad_server');
		},
		error => qr/server "bad_server" does not exist/ },
	{   name => 'mapping',
		what => 'a user mapping that was dropped',
		spoil => 'DROP USER MAPPING FOR PUBLIC SERVER bad_mapping',
		repair =>
		  "CREATE USER MAPPING FOR bad_mapping SERVER bad_mapping OPTIONS (api_key 'sim-key')",
		error => qr/user mapping not found for user "bad_mapping"/ },
	{   name => 'provider',
		what => 'a provider that does not exist any more',
		spoil => <<'SQL',
UPDATE pg_foreign_server SET srvoptions = ARRAY['provider=of_old']
 WHERE srvname = 'bad_provider'
SQL
		repair => sub {
			sql(      'UPDATE pg_foreign_server SET srvoptions ='
				. " ARRAY['provider=stagehand', 'base_url="
				. $sim->url('stagehand')
				. "'] WHERE srvname = 'bad_provider'");
		},
		error => qr/of_old/ },
	{   name => 'option',
		what => 'an option that does not exist any more',
		spoil => <<'SQL',
UPDATE pg_foreign_server SET srvoptions = srvoptions || '{speed=high}'::text[]
 WHERE srvname = 'bad_option'
SQL
		repair => <<'SQL',
UPDATE pg_foreign_server SET srvoptions = array_remove(srvoptions, 'speed=high')
 WHERE srvname = 'bad_option'
SQL
		error => qr/invalid option "speed"/ },
	{   name => 'wrapper',
		what => 'a server of another wrapper',
		spoil => <<'SQL',
CREATE FOREIGN DATA WRAPPER other;
UPDATE pg_foreign_server SET srvfdw = (SELECT oid FROM
	pg_foreign_data_wrapper WHERE fdwname = 'other')
 WHERE srvname = 'bad_wrapper'
SQL
		repair => <<'SQL',
UPDATE pg_foreign_server SET srvfdw = (SELECT oid FROM
	pg_foreign_data_wrapper WHERE fdwname = 'browser_session')
 WHERE srvname = 'bad_wrapper'
SQL
		error => qr/bad_wrapper/ });

sub account
{
	$node->simulated($sim, "bad_$_[0]", 'stagehand', {});
	return;
}

# Does what a row of the table says.
sub apply { return ref $_[0] ? $_[0]->() : sql($_[0]); }

foreach my $bad (@bad)
{
	my $server = "bad_$bad->{name}";

	account($bad->{name});
	sql(<<SQL);
CREATE ROLE $server;
GRANT USAGE ON FOREIGN SERVER $server TO $server;
SET ROLE $server;
INSERT INTO bsession_tracked (provider, session_id, expires_at)
VALUES ('$server', '$server', now() + '1 hour');
SQL
	apply($bad->{spoil});
}
$node->configure(max_attempts => 2);
sql(<<SQL);
INSERT INTO bsession_tracked
	(provider, session_id, expires_at, next_attempt_at, tracked_at)
VALUES ('healthy', '../all', now(), now(), now() - '1 day'::interval);
-- A row that says since when it is tracked counts as brought from elsewhere.
SELECT bsession_adopt();
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 'healthy', 'beside-' || i, now() FROM generate_series(1, 20) AS i;
UPDATE bsession_tracked SET expires_at = now() WHERE provider LIKE 'bad%';
SQL
$node->wait_for_row('healthy', "beside-$_", state => 'ended') foreach 1 .. 20;
is(scalar(grep { $_->{target} =~ /beside-/ } $sim->requests),
	20, 'healthy rows beside bad ones end, once each');
{
	my $row = $node->wait_for_row('healthy', '../all', state => 'failed');

	like($row->{last_error}, qr/\bid\b/, 'an unsafe id: fails and says why');
	is(outcomes('healthy', '../all'), '', '… without an attempt');
	sql("DELETE FROM bsession_tracked WHERE session_id = '../all'");
}
foreach my $bad (@bad)
{
	my $server = "bad_$bad->{name}";
	my $row = $node->wait_for_row($server, $server, state => 'failed');

	like($row->{last_error}, $bad->{error},
		"$bad->{what}: fails and says why");
	is($row->{attempts}, 2, '… after max_attempts');
	ok( !defined $row->{outcome} && !$node->audit($server, $server),
		'… none of which was sent');
	apply($bad->{repair});
	sql("SELECT bsession_retry('$server', '$server')");
	$node->wait_for_row($server, $server, state => 'ended');
	is(outcomes($server, $server), 'ended', '… and ends when repaired');
}
is(scalar(grep { $_->{target} =~ /all/ } $sim->requests),
	0, 'nothing was sent for the unsafe id');
$node->configure(max_attempts => 100);

# Retention deletes what is over.  What is not is kept, and is audited.
{
	$node->track('healthy', "now() + '1 hour'", 'kept-active');
	$node->configure(max_attempts => 1);
	$node->simulated($sim, 'failing', 'stagehand', { status => 500 });
	$node->track('failing', 'now()', 'kept-failed');
	$node->wait_for_row('failing', 'kept-failed', state => 'failed');

	# Attempts of a time when the clock was ahead do not stand in its way.
	sql(      'INSERT INTO bsession_audit'
		  . ' (id, at, provider, session_id, reason, outcome, attempt, actor)'
		  . " SELECT -n, now() + interval '10 years', 'p', 's', 'call', 'ended',"
		  . ' 1, CURRENT_USER FROM generate_series(1, 1000) n');
	$node->configure(retention => '1s');
	wait_until(
		'what is over is gone',
		sub {
			sql(      'SELECT (SELECT count(*) FROM bsession_audit WHERE id > 0)'
				  . ' + (SELECT count(*) FROM bsession_tracked'
				  . " WHERE state = 'ended')") == 0;
		});
	is( sql(      'SELECT string_agg(session_id, \' \' ORDER BY session_id)'
			  . ' FROM bsession_tracked'),
		'kept-active kept-failed',
		'retention: sessions that are not over are kept');
}

$node->stop;
ok( !grep({ /terminated by signal|PANIC|TRAP/ } split /\n/,
		PostgreSQL::Test::Utils::slurp_file($node->logfile)),
	'no process crashed');

done_testing();
