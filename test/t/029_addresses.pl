# 029_addresses.pl
#
# Where a server connects to whose owner is no superuser: not to loopback,
# link-local and metadata addresses, however its host is written and whatever
# it resolves to, by call, sweep or worker, unless a superuser allows it; and
# the refusal comes before any packet.
#
# The network is a pretended one: 203.0.113.x leads to this machine, nothing
# else outside 127.0.0.0/8 to anywhere, and each connection that is tried is
# written down.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Network;
use BrowserSession::Sim;
use BrowserSession::Wire;
use BrowserSession::Worker;
use PostgreSQL::Test::Utils;
use Test::More;

my $remedy =
  'unless a superuser owns the server or sets its option allow_local';

# What is judged, and how.
my %judged = (
	'-' => [
		qw(1.1.1.1 9.255.255.255 10.0.0.1 100.64.0.1 100.100.100.199
		  100.100.100.201 126.255.255.255 128.0.0.1 168.63.129.15
		  168.63.129.17 169.253.255.255 169.255.0.0 172.16.0.1 192.0.0.191
		  192.0.0.193 192.168.1.1 203.0.113.1 223.255.255.255
		  255.255.255.254 2000::1 2001:4860:4860::8888 ::2:0:0 1::
		  ::ffff:10.0.0.1 ::fffe:127.0.0.1 ::10.0.0.1 ::ffff:0:10.0.0.1
		  64:ff9b::10.0.0.1 64:ff9b:1::10.0.0.1 64:ff9a::127.0.0.1
		  64:ff9b:2::127.0.0.1 2002:a00:1:: 2002:a00:1::7f00:1
		  2003:7f00:1:: fc00::1 fd12:3456::1 fd00:ec3::254 fd20:ce::253
		  fd20:ce::1:254 fe00::1 fe7f:ffff:: fec0::1 fbff::1)
	],
	'a loopback address' => [
		qw(127.0.0.0 127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1
		  ::ffff:7f00:1 ::127.0.0.1 ::ffff:0:127.1.2.3 64:ff9b::127.0.0.1
		  64:ff9b:1::127.0.0.1 64:ff9b:1:ffff:ffff:ffff:7f00:1
		  2002:7f00:1:: 2002:7fff:ffff:ffff:ffff:ffff:ffff:ffff)
	],
	'an unspecified address' => [
		qw(0.0.0.0 0.0.0.1 0.255.255.255 :: ::2 ::ffff:0.0.0.0
		  64:ff9b:: 2002::)
	],
	'a link-local address' => [
		qw(169.254.0.0 169.254.169.254 169.254.170.2 169.254.255.255
		  ::ffff:169.254.169.254 ::a9fe:a9fe ::ffff:0:169.254.169.254
		  64:ff9b::169.254.169.254 2002:a9fe:a9fe:: fe80::1
		  fe80::a9fe:a9fe febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff)
	],
	q(the address of a cloud's metadata service) => [
		qw(100.100.100.200 168.63.129.16 192.0.0.192
		  ::ffff:100.100.100.200 64:ff9b::168.63.129.16 2002:c000:c0::
		  fd00:ec2::254 fd00:ec2::23 fd00:ec2:ffff::1 fd20:ce::254
		  fd00:c1::a9fe:a9fe fd00:a9fe:a9fe::1 fd00:42::42
		  fd00:100::100:200)
	],
	'a multicast address' => [
		qw(224.0.0.1 239.255.255.255 ff00:: ff02::1
		  ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ::ffff:224.0.0.1)
	],
	'the broadcast address' => [qw(255.255.255.255 ::ffff:255.255.255.255)]);

# Compiles the judge alone.
sub judge
{
	my $program = PostgreSQL::Test::Utils::tempdir() . '/address_check';
	my $source = "$FindBin::RealBin/../..";
	my $pg_config = $ENV{PG_CONFIG} // 'pg_config';

	chomp(my $include = qx("$pg_config" --includedir-server));
	PostgreSQL::Test::Utils::system_or_bail($ENV{CC} // 'cc', '-O1',
		'-DFRONTEND', "-I$source/src", '-isystem', $include, '-o', $program,
		"$source/test/address_check.c", "$source/src/http_address.c");
	return $program;
}

my $judge = judge();
foreach my $verdict (sort keys %judged)
{
	my @addresses = @{ $judged{$verdict} };
	my ($out, $err) = run_command([ $judge, @addresses ]);
	my @verdicts = split /\n/, $out;

	is($err, '', "$verdict: the same as text and in binary");
	is_deeply(
		[ map { "$addresses[$_] is $verdicts[$_]" } 0 .. $#addresses ],
		[ map { "$_ is $verdict" } @addresses ],
		$verdict eq '-' ? 'addresses that are not refused' : $verdict);
}

# A server in that network.  Its environment names a proxy, but for the names
# of this machine's services.
my $network = BrowserSession::Network->new;
my $sim = BrowserSession::Sim->new;
my $proxy = BrowserSession::Wire->new(
	accept => sub {
		my ($connection) = @_;

		$connection->request;
		$connection->reply(502, '{}');
		return;
	});
my $wire = BrowserSession::Wire->new(
	keep => sub {
		return $_[0]->reply(200, '{"success":true}', Connection => undef);
	},
	map {
		my ($route, $location) = @$_;
		$route => sub {
			$_[0]->reply(302, '{}', Location => $location);
			return;
		}
	  }[ metadata => 'http://169.254.169.254/latest/meta-data' ],
	[ home => 'http://127.0.0.1:' . $sim->port . '/stagehand' ]);
my $node = $network->inside(
	sub {
		local @ENV{qw(http_proxy https_proxy ALL_PROXY)} = ($proxy->url) x 3;
		local $ENV{no_proxy} = '.direct.test,127.0.0.1,localhost,0.0.0.0';

		return BrowserSession::Worker->start_new('main');
	});

# The base URL of the simulator at a host.
sub url { return "http://$_[0]:" . $sim->port . '/stagehand'; }

# Makes servers of this owner, given by name and base URL.
sub servers
{
	my ($owner, %base_url) = @_;

	return join '', map {
		my $options = BrowserSession::Node::options(
			provider => 'stagehand',
			base_url => $base_url{$_},
			allow_insecure => 'true',
			retries => 0);

		qq{CREATE SERVER "$_" FOREIGN DATA WRAPPER browser_session$options;
		ALTER SERVER "$_" OWNER TO $owner;
		CREATE USER MAPPING FOR PUBLIC SERVER "$_" OPTIONS (api_key 'sim-key');
		};
	} sort keys %base_url;
}

# Ends a session at each server, one after the other in one backend.  Answers
# the rows by server, and the addresses that connections were tried to.
sub end_each
{
	my (@servers) = @_;
	my $array = join ', ', map { BrowserSession::Node::literal($_) } @servers;
	my %row;

	$network->forget;
	$row{ $_->{provider} } = $_
	  foreach $node->rows("unnest(ARRAY[$array]) AS s,"
		  . " LATERAL bsession_end(s, 'of-' || md5(s))");
	return (\%row, [ $network->connects ]);
}

sub refused
{
	my ($row, $class) = @_;

	like(
		"$row->{outcome} $row->{attempts} $row->{error}",
		qr/^unreachable 1 no connection: the host has $class, which is not allowed \Q$remedy\E$/,
		"$row->{provider}: refused");
	return;
}

sub outcomes { return join ' ', map { $_->{outcome} } @_; }

my $loopback = 'a loopback address';
my $link_local = 'a link-local address';
my $metadata = q(the address of a cloud's metadata service);

# Ways to write a host that is here, and what other hosts are.
my @here = (
	qw(127.0.0.1 127.1 0x7f.1 0177.0.0.1 0x7F000001 2130706433
	  127%2e0%2e0%2e1 localhost LOCALHOST localhost. tenant.localhost));
my %elsewhere = (
	'0' => 'an unspecified address',
	'0.0.0.0' => 'an unspecified address',
	'127.255.255.254' => $loopback,
	'169.254.169.254' => $link_local,
	'0xa9fea9fe' => $link_local,
	'100.100.100.200' => $metadata,
	'224.0.0.1' => 'a multicast address',
	'255.255.255.255' => 'the broadcast address',
	'near.test' => $loopback,
	'none.test' => '(a loopback|a link-local|an unspecified) address');

# Where the kernel has no IPv6, libcurl does not come to ask about it.
%elsewhere = (
	%elsewhere,
	'[::1]' => $loopback,
	'[::ffff:127.0.0.1]' => $loopback,
	'[::ffff:a9fe:a9fe]' => $link_local,
	'[fe80::1%25lo]' => $link_local,
	'[2002:7f00:1::]' => $loopback,
	'[fd00:ec2::254]' => $metadata) if -e '/proc/net/if_inet6';

$network->name('localhost.' => '127.0.0.1');
$network->name('near.test' => '127.0.0.1');
$network->name('none.test' => '127.0.0.1', '169.254.169.254', '0.0.0.0');
$network->name('good.test' => '203.0.113.1');
$network->name('rebound.test' => '203.0.113.2');
$network->name('both.test' => '127.0.0.1', '203.0.113.3', '169.254.169.254');
$network->name('dead.test' => '127.0.0.1', '10.9.9.9');
$network->name('far.test' => '203.0.113.4');
$network->name('redirects.test' => '203.0.113.5');
$network->name('kept.direct.test' => '127.0.0.1');
$network->name('kept2.direct.test' => '127.0.0.1', '203.0.113.6');
my $kept = "http://kept.direct.test:@{[ $wire->port ]}/keep";
my $kept2 = "http://kept2.direct.test:@{[ $wire->port ]}/keep";
my $redirects = "http://redirects.test:@{[ $wire->port ]}";
$node->safe_psql(
	'postgres',
	join '',
	'CREATE ROLE tenant; CREATE ROLE boss SUPERUSER;',
	servers(
		'CURRENT_USER',
		(map { ("our $_" => url($_)) } @here, 'far.test'),
		'our kept' => $kept,
		'our kept2' => $kept2),
	servers('boss', 'owned' => url('kept.direct.test')),
	servers(
		'tenant',
		(map { ($_ => url($_)) } @here, keys %elsewhere),
		(   map { ("$_.test" => url("$_.test")) }
			  qw(good rebound both dead far)),
		'to metadata' => "$redirects/metadata",
		'to home' => "$redirects/home",
		'kept' => $kept,
		'kept2' => $kept2,
		'sweep' => url('kept.direct.test'),
		'worker' => url('kept.direct.test')));

# A superuser's servers connect anywhere, and by the proxy.
my ($ours, $connects) =
  end_each((map { "our $_" } @here), 'our far.test');
is($ours->{"our $_"}{outcome}, 'ended', "our $_: reached")
  foreach qw(127.0.0.1 127.1 0x7f.1 0177.0.0.1 0x7F000001 2130706433
	localhost LOCALHOST tenant.localhost);
is($ours->{'our far.test'}{outcome}, 'unavailable', 'our far.test: by proxy');
is(scalar $proxy->requests, 1, '... which got the request');

# Those of others do not connect to such addresses, however the host is
# written: not to what we just have reached.
$sim->forget;
(my $theirs, $connects) = end_each(@here, sort keys %elsewhere);
foreach my $host (@here)
{
	$ours->{"our $host"}{outcome} eq 'ended'
	  ? refused($theirs->{$host}, $loopback)
	  : is($theirs->{$host}{outcome}, 'unreachable', "$host: not reached");
}
refused($theirs->{$_}, $elsewhere{$_}) foreach sort keys %elsewhere;
is_deeply($connects, [], 'no connection was tried');
is(scalar $sim->requests, 0, 'no request arrived');

# They do connect to others, also to the other addresses of a name; follow no
# redirect; and use no proxy, which would look up the name itself.
($theirs, $connects) = end_each('good.test', 'rebound.test', 'both.test',
	'dead.test', 'far.test', 'to metadata', 'to home');
is($theirs->{"$_.test"}{outcome}, 'ended', "$_.test: reached")
  foreach qw(good rebound both far);
is($theirs->{'dead.test'}{outcome}, 'unreachable', 'dead.test: not reached');
unlike($theirs->{'dead.test'}{error},
	qr/allowed/, '... and the address that is allowed says why');
is($theirs->{$_}{outcome}, 'bad_reply', "$_: not followed")
  foreach 'to metadata', 'to home';
is_deeply(
	[ grep { $_ ne '203.0.113.5' } @$connects ],
	[qw(203.0.113.1 203.0.113.2 203.0.113.3 10.9.9.9 203.0.113.4)],
	'connections to those addresses only');
is(scalar $proxy->requests, 1, 'the proxy was not asked');

# A name can change after it was looked at.
$network->name('rebound.test' => '169.254.169.254', '127.0.0.1');
($theirs, $connects) = end_each('rebound.test');
refused($theirs->{'rebound.test'}, "($link_local|$loopback)");
is_deeply($connects, [], '... before anything was sent');

# Connections are kept, but not for those who could not have made them.
my $in_turn = q{unnest(ARRAY['our %1$s', 'our %1$s', '%1$s', 'our %1$s',
	'%1$s']) WITH ORDINALITY AS u(s, n), LATERAL bsession_end(s, 'k-' || n)};
$network->forget;
is( outcomes($node->rows(sprintf $in_turn, 'kept')),
	'ended ended unreachable ended unreachable',
	'a connection to loopback is not used by a server that must not');
like(
	join(' ', $network->connects),
	qr/^127\.0\.0\.1( 127\.0\.0\.1)?$/,
	'... which makes none of its own');
$network->forget;
is( outcomes($node->rows(sprintf $in_turn, 'kept2')),
	'ended ended ended ended ended',
	'... unless the host has another address');
is((grep { $_ eq '203.0.113.6' } $network->connects) > 0,
	1, '... to which it connects');

# The owner counts, and allow_local, at each call.
is( $node->safe_psql(
		'postgres', q{
		SELECT outcome FROM bsession_end('owned', 'o-1');
		ALTER ROLE boss NOSUPERUSER;
		SELECT outcome FROM bsession_end('owned', 'o-2');
		ALTER ROLE boss SUPERUSER;
		SELECT outcome FROM bsession_end('owned', 'o-3');
		ALTER SERVER owned OWNER TO tenant;
		SELECT outcome FROM bsession_end('owned', 'o-4');
		ALTER SERVER owned OPTIONS (ADD allow_local 'true');
		SELECT outcome FROM bsession_end('owned', 'o-5');
		SET ROLE tenant;
		ALTER SERVER owned OPTIONS (DROP allow_local);
		SELECT outcome FROM bsession_end('owned', 'o-6');}),
	join("\n",
		qw(ended unreachable ended unreachable ended unreachable)),
	'what the owner is, and allow_local, take effect with the next call');

# The sweep and the worker go the same way.  The worker does not see what the
# sweep's transaction has tracked.
$network->forget;
like(
	$node->safe_psql(
		'postgres', q{
		BEGIN;
		INSERT INTO bsession_tracked (provider, session_id, expires_at)
		VALUES ('sweep', 'sweep-1', now());
		SELECT outcome, error FROM bsession_end_expired();
		DELETE FROM bsession_tracked;
		COMMIT;}),
	qr/^unreachable\|.* $loopback, which is not allowed/,
	'the sweep is refused, too');
$node->track('worker', 'now()', 'worker-1');
like(
	$node->wait_for_row('worker', 'worker-1', outcome => 'unreachable')
	  ->{last_error},
	qr/ $loopback, which is not allowed \Q$remedy\E$/,
	'the worker is refused, too');
is_deeply([ $network->connects ], [], '... before anything is sent');
$node->safe_psql('postgres',
	q{ALTER SERVER worker OPTIONS (ADD allow_local 'true')});
$node->track('worker', 'now()', 'worker-2');
$node->wait_for_row('worker', 'worker-2', state => 'ended');
like(
	join(' ', $network->connects),
	qr/^127\.0\.0\.1( 127\.0\.0\.1)*$/,
	'... until allow_local is set');

$node->stop;
$sim->stop;
done_testing();
