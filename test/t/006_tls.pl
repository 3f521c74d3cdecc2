# 006_tls.pl
#
# TLS: a certificate is checked, against the system's authorities or the
# server's own ca_file, its name and its dates too; nothing is sent before
# that, and no key leaves over plain HTTP unless that was allowed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Authority;
use BrowserSession::Node;
use BrowserSession::Wire;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = BrowserSession::Node->start_new('main');
my $authority = BrowserSession::Authority->new;
my $other_authority = BrowserSession::Authority->new;
my $plain = BrowserSession::Wire->new(accept => sub { $_[0]->hang; });
my $success = sub { $_[0]->reply(200, '{"success":true}'); return; };

# A TLS server with a certificate like this.
sub wire
{
	return BrowserSession::Wire->new(
		tls => $authority->certificate(@_),
		v => $success,
		keep => sub {
			return $_[0]->reply(200, '{"success":true}', Connection => undef);
		},
		redirect => sub {
			$_[0]->reply(302, '',
				Location => $plain->url . '/v1/sessions/abc/end');
			return;
		});
}
my $good = wire();
my $named = wire(name => 'DNS:localhost');
my $wrong_name = wire(name => 'DNS:other.example,IP:127.0.0.2');
my $expired = wire(expired => 1);

# Ends a session at a base URL with these server options.
sub end
{
	my ($base_url, %option) = @_;

	$node->account(
		's',
		provider => 'stagehand',
		base_url => $base_url,
		%option);
	return $node->end('s', 'abc');
}

sub refused
{
	my ($what, $wire, $row) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is($row->{outcome}, 'unreachable', $what) or diag explain $row;
	like($row->{error}, qr/certificate|SSL|TLS/i, '… and says so');
	note $row->{error};
	is($row->{attempts}, 1, '… without trying again');
	is(scalar $wire->requests, 0, '… and without sending the request');
	return;
}

my %ours = (ca_file => $authority->file);

refused('an unknown authority is refused', $good, end($good->url('v')));
refused('another authority than that of ca_file is refused',
	$good, end($good->url('v'), ca_file => $other_authority->file));
is(end($good->url('v'), %ours)->{outcome}, 'ended', 'ca_file is trusted');
is(scalar $good->requests, 1, '… and the request arrived');
is(end($named->url('v', 'localhost'), %ours)->{outcome},
	'ended', 'a host name is found in the certificate');
refused('a certificate for another address is refused',
	$wrong_name, end($wrong_name->url('v'), %ours));
refused('a certificate for another name is refused',
	$wrong_name, end($wrong_name->url('v', 'localhost'), %ours));
refused('an expired certificate is refused',
	$expired, end($expired->url('v'), %ours));

# allow_insecure is about plain HTTP, and opens no door in TLS.
refused('an unknown authority is refused with allow_insecure, too',
	$expired, end($expired->url('v'), allow_insecure => 'true'));

# A handshake is made once for several calls of a backend.
$good->forget;
$node->account(
	's',
	provider => 'stagehand',
	base_url => $good->url('keep'),
	%ours);
my ($row) = reverse $node->rows(
	q(generate_series(1, 5) n, LATERAL bsession_end('s', 'abc' || n)));
is($row->{outcome}, 'ended', 'several calls over TLS');
is(scalar $good->requests, 5, '… each with its request');
is($good->connections, 1, '… on one connection');

# A connection made with one ca_file is not used with another.
my ($out) = $node->safe_psql('postgres', <<SQL);
SELECT outcome FROM bsession_end('s', 'abc');
ALTER SERVER s OPTIONS (SET ca_file '${\ $other_authority->file }');
SELECT outcome FROM bsession_end('s', 'abc');
ALTER SERVER s OPTIONS (DROP ca_file);
SELECT outcome FROM bsession_end('s', 'abc');
SQL
is( $out,
	"ended\nunreachable\nunreachable",
	'a change of ca_file counts at once, kept connections notwithstanding');

# A ca_file that is missing, or none.
$row = end($good->url('v'), ca_file => $authority->file . '.missing');
is($row->{outcome}, 'unreachable', 'a missing ca_file');
like($row->{error}, qr/\S/, '… has an error');
note $row->{error};

# Redirects are not followed, least of all out of TLS.
$row = end($good->url('redirect'), %ours);
is($row->{outcome}, 'bad_reply', 'a redirect to plain HTTP');
is($row->{http_status}, 302, '… is the reply');
is($plain->connections, 0, '… and is not followed');

# What the validator says to a base URL; empty if it is fine.
sub validate
{
	my ($base_url, %option) = @_;
	my $options = BrowserSession::Node::options(
		provider => 'stagehand',
		base_url => $base_url,
		%option);
	my ($ret, $stdout, $stderr) = $node->psql('postgres', <<SQL);
\\set VERBOSITY verbose
BEGIN;
CREATE SERVER t FOREIGN DATA WRAPPER browser_session$options;
ROLLBACK;
SQL
	return $stderr;
}

# Plain HTTP: to loopback only, unless allowed.
foreach my $url (
	'http://api.example.com', 'http://10.0.0.1:8080',
	'http://0.0.0.0', 'http://127.0.0.1.example.com',
	'http://localhost.example.com', 'http://[2001:db8::1]',
	'http://[::ffff:10.0.0.1]', 'HTTP://api.example.com')
{
	like(validate($url), qr/ERROR:  22023/, "$url is refused");
	is(validate($url, allow_insecure => 'true'),
		'', '… unless allow_insecure is set');
}
is(validate($_), '', "$_ is loopback")
  foreach 'http://127.0.0.1:9515', 'http://localhost', 'http://[::1]:9515',
  'http://127.8.9.10';
like(
	validate($_, allow_insecure => 'true'),
	qr/ERROR:  22023/,
	"base_url '$_' is refused")
  foreach 'ftp://127.0.0.1', 'file:///etc/passwd', 'gopher://127.0.0.1',
  'https://', '';

# ca_file names a file of the server's machine: superusers only.
my ($ret, $stdout, $stderr) = $node->psql('postgres', <<SQL);
CREATE ROLE app;
GRANT USAGE ON FOREIGN DATA WRAPPER browser_session TO app;
SET ROLE app;
CREATE SERVER t FOREIGN DATA WRAPPER browser_session
  OPTIONS (provider 'stagehand', ca_file '/etc/passwd');
SQL
like($stderr, qr/ERROR/, 'ca_file is for superusers');

done_testing();
