# 026_upgrade.pl
#
# pg_upgrade from an older PostgreSQL: what is tracked, the audit and the
# accounts come along, nothing is sent meanwhile although sessions are due,
# and the worker ends nothing in the new cluster before bsession_adopt().
#
# $ENV{BROWSER_SESSION_OLDER} is the directory of the older one's programs,
# which have the extension; test/run sets it where there is such a PostgreSQL.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Node;
use BrowserSession::Poll qw(wait_until);
use BrowserSession::Provider;
use BrowserSession::Sim;
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $older = $ENV{BROWSER_SESSION_OLDER}
  or plan skip_all => 'there is no older PostgreSQL to upgrade from';

my $sim = BrowserSession::Sim->new;

# Due sessions stay, because the worker is not to work.
my $old = BrowserSession::Node->new('old', install_path => dirname($older));
$old->init;
$old->append_conf('postgresql.conf', <<CONF);
shared_preload_libraries = 'browser_session'
browser_session.enabled = off
CONF
$old->start;
$old->safe_psql('postgres', <<'SQL');
CREATE ROLE app LOGIN;
CREATE EXTENSION browser_session;
SQL
$old->account(
	'stage',
	BrowserSession::Provider::options('stagehand', $sim->url('stagehand')),
	retries => 0);
$old->safe_psql('postgres', <<'SQL');
GRANT USAGE ON FOREIGN SERVER stage TO app;
SELECT outcome FROM bsession_end_many('stage', ARRAY['called-1', 'called-2']);
SET SESSION AUTHORIZATION app;
SELECT bsession_track('stage', 'later', ttl => '30 days', metadata => '{"n": 1}');
SELECT bsession_track('stage', 'inventory', expires_at => NULL);
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 'stage', 'due-' || n, now() FROM generate_series(1, 5) AS n;
SQL
is(scalar $sim->requests, 2, 'the old server has sent what it was asked for');
$sim->forget;

# What is to be found again.
my %content = (
	'what is tracked' => 'SELECT * FROM bsession_tracked ORDER BY 1, 2',
	'the audit' => 'SELECT * FROM bsession_audit ORDER BY 1',
	'the servers' => 'SELECT srvname, srvoptions FROM pg_foreign_server',
	'the keys' => 'SELECT srvname, umoptions FROM pg_user_mappings',
	'the extension' => <<'SQL');
SELECT extname, extversion, extnamespace::regnamespace,
       (SELECT string_agg(c::regclass::text, ' ' ORDER BY c)
          FROM unnest(extconfig) AS c)
  FROM pg_extension WHERE extname = 'browser_session'
SQL
my %original =
  map { $_ => $old->safe_psql('postgres', $content{$_}) } keys %content;
my $last_id =
  $old->safe_psql('postgres', 'SELECT max(id) FROM bsession_audit');
$old->stop;

# Both servers are allowed to work from here on, and would if pg_upgrade let
# them.
$old->append_conf('postgresql.conf', 'browser_session.enabled = on');
my $new = BrowserSession::Node->new('new');
$new->init($new->pg_version >= 18 ? (extra => ['--no-data-checksums']) : ());
$new->append_conf('postgresql.conf',
	"shared_preload_libraries = 'browser_session'");
{
	# It writes into the directory where it is.
	my $directory = PostgreSQL::Test::Utils::tempdir();

	chdir $directory or die "cannot enter $directory: $!";
	command_ok(
		[   $new->installed_command('pg_upgrade'),
			'--no-sync',
			'--old-bindir', $older,
			'--new-bindir', $new->config_data('--bindir'),
			'--old-datadir', $old->data_dir,
			'--new-datadir', $new->data_dir,
			'--socketdir', PostgreSQL::Test::Utils::tempdir_short(),
			'--old-port', $old->port,
			'--new-port', $new->port ],
		'pg_upgrade from ' . $old->pg_version . ' to ' . $new->pg_version);
}
is(scalar $sim->requests, 0, '… sends nothing');

$new->start;
foreach my $what (sort keys %content)
{
	is($new->safe_psql('postgres', $content{$what}),
		$original{$what}, "… $what came along");
}

wait_until(
	'the worker refuses',
	sub {
		$new->safe_psql('postgres', 'SELECT state FROM bsession_worker') =~
		  /\Arefusing: /;
	});
my ($status, undef, $error) =
  $new->psql('postgres', 'SELECT * FROM bsession_end_expired()');
isnt($status, 0, 'the new server ends nothing of what is due');
like($error, qr/bsession_adopt/, '… and says what to do');
is(scalar $sim->requests, 0, '… and has sent nothing');

is($new->safe_psql('postgres', 'SELECT bsession_adopt()'),
	't', 'it is adopted');
wait_until(
	'what was due is ended',
	sub {
		$new->safe_psql('postgres', <<'SQL') == 5;
SELECT count(*) FROM bsession_tracked
 WHERE state = 'ended' AND outcome = 'ended' AND session_id LIKE 'due-%'
SQL
	});
is( join(
		' ', sort map { $_->{target} =~ m{/sessions/([^/]+)} } $sim->requests),
	join(' ', map { "due-$_" } 1 .. 5),
	'… and then what is due, and nothing else');
is( $new->safe_psql('postgres', <<"SQL"), '5|5|5|app|expiry',
SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE attempt = 1),
       min(actor), min(reason)
  FROM bsession_audit WHERE id > $last_id
SQL
	'… noting it under further numbers');

$sim->stop;
$new->stop;
done_testing();
