# 003_faults.pl
#
# What a fault leads to beyond its own outcome, which 021_fault_matrix.pl is
# about: retries, and their end; replies that the database's encoding cannot
# hold; limits that are settings; what the environment says of proxies; an
# answer that nobody asked for; a time-out that libcurl forgets.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Node;
use BrowserSession::Poll    qw(wait_until);
use BrowserSession::Preload qw(library preloaded);
use BrowserSession::Wire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A proxy that the server's environment names is for the world outside: were
# it used for loopback, nothing here would work.
my $proxy = 'http://127.0.0.1:1';
local @ENV{qw(http_proxy HTTP_PROXY https_proxy HTTPS_PROXY ALL_PROXY)} =
  ($proxy) x 5;

my $node = BrowserSession::Node->start_new('main');
my $success = '{"success":true}';
my $flag = PostgreSQL::Test::Utils::tempdir() . '/twice';

# A route that answers so and closes the connection.
sub replies
{
	my ($status, $body, %headers) = @_;

	return sub { $_[0]->reply($status, $body, %headers); return; };
}

my $wire = BrowserSession::Wire->new(
	reset_before => sub { $_[0]->reset; return; },
	silence => sub { $_[0]->hang; return; },
	big_body =>
	  replies(200, '{"success":true,"pad":"' . 'x' x 300_000 . '"}'),
	utf8_error => replies(503, qq({"message":"a\xc3\x28 \xed\xa0\x80 b"})),
	japanese_error => replies(503, '{"message":"日本語","日本":"\u65e5"}'),
	japanese_text => replies(
		503, '日本語',
		'Content-Type' => 'text/plain; charset=utf-8'),
	refresh => replies(200, $success, Refresh => '0; url=http://127.0.0.1:1'),
	twice => sub {
		my ($connection, $request) = @_;
		my @keep = (Connection => undef);

		return $connection->reply(409, '{"message":"alive"}', @keep)
		  if $request->{target} !~ /first/;

		# The second answer is there before anybody asks again.
		$connection->reply(200, $success, @keep);
		until ($connection->is_read)
		{
			$connection->idle(0.05);
		}
		$connection->reply(200, $success, @keep);
		PostgreSQL::Test::Utils::append_to_file($flag, "sent\n");
		return 1;
	},
	twice_at_once => sub {
		my ($connection, $request) = @_;

		return $connection->reply(409, '{"message":"alive"}',
			Connection => undef)
		  if $request->{target} !~ /first/;
		return $connection->send(
			"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n$success" x 2);
	});

# Ends a session at a route with these options.
sub end
{
	my ($route, $options, %setting) = @_;

	$node->account(
		$route,
		provider => 'stagehand',
		base_url => $wire->url($route),
		%$options);
	$wire->forget;
	return $node->end($route, 'abc', %setting);
}

# Connections that fail are tried again, each on its own; the row has the
# last.
my $row = end('reset_before', { retries => 1 });
is($row->{outcome}, 'unreachable', 'reset each time');
is($row->{attempts}, 2, '… after the retry');
is(scalar $wire->requests, 2, '… which arrived');

# A time-out is not tried again.
$row = end('silence', { retries => 2, timeout => 300 });
is($row->{outcome}, 'timed_out', 'silence, with retries');
is($row->{attempts}, 1, '… is not tried again');
is(scalar $wire->requests, 1, '… and arrived once');

# What the database's encoding cannot hold is no ERROR, either.
$node->safe_psql('postgres', <<SQL);
CREATE DATABASE latin1 TEMPLATE template0 ENCODING LATIN1
	LC_COLLATE 'C' LC_CTYPE 'C';
SQL
foreach my $name (qw(utf8_error japanese_error japanese_text))
{
	my $url = $wire->url($name);
	my ($ret, $stdout, $stderr) = $node->psql('latin1', <<SQL);
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS browser_session;
CREATE SERVER "$name" FOREIGN DATA WRAPPER browser_session
	OPTIONS (provider 'stagehand', base_url '$url', retries '0');
CREATE USER MAPPING FOR PUBLIC SERVER "$name" OPTIONS (api_key 'sim-key');
SELECT outcome, error IS NOT NULL, response IS NOT NULL
  FROM bsession_end('$name', 'abc');
SQL
	is($stderr, '', "a database in LATIN1, $name: no ERROR");
	is($stdout, 'unavailable|t|t', '… but a row');

	$row = end($name, { retries => 0 });
	is($row->{outcome}, 'unavailable', "one in UTF-8, $name");
}

# The limit of a reply is a setting.
is(end('big_body', {})->{outcome}, 'bad_reply', 'a body that is too long');
is( end('big_body', {}, 'browser_session.max_response_size' => '1MB')
	  ->{outcome},
	'ended',
	'… is not for a higher max_response_size');

# A page that wants to be followed is not.
is(end('refresh', {})->{outcome}, 'ended', 'a reply with Refresh');
is(scalar $wire->requests, 1, '… is not followed');

# A provider that answers twice: the second answer must not pass for that to
# the next session, whose own is that it is alive.
foreach my $route (qw(twice twice_at_once))
{
	my $wait =
	  $route eq 'twice' ? "\\! until test -s $flag; do sleep 0.02; done" : '';

	$node->account(
		$route,
		provider => 'stagehand',
		retries => 0,
		base_url => $wire->url($route));
	my ($out, $err) = $node->finish($node->background(<<SQL));
SELECT outcome FROM bsession_end('$route', 'first');
$wait
SELECT outcome FROM bsession_end('$route', 'next');
SQL
	is($out, "ended\nrejected", "$route: each session has its own answer");
	is($err, '', '… and no ERROR');
}

# With a libcurl that forgets time-outs, they are kept all the same.
{
	$node->stop;
	preloaded(library('forget_timeout'), sub { $node->start; });
	$row = end('silence', { timeout => 300 }, statement_timeout => '60s');
	is($row->{outcome}, 'timed_out', 'silence, and libcurl has no time-out');
	like(
		$row->{error},
		qr/^timed out waiting for the reply: /,
		'… says what was waited for');
	is(end('refresh', {})->{outcome}, 'ended', '… and what comes is read');
}

ok($node->safe_psql('postgres', 'SELECT 1'), 'the server lives on');
unlike(
	PostgreSQL::Test::Utils::slurp_file($node->logfile),
	qr/terminated by signal|PANIC/,
	'no process crashed');

done_testing();
