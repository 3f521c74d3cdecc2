# 001_wire_requests.pl
#
# What goes over the wire, byte by byte, beside each provider's document:
# method, path, body, and exactly the headers the document knows, apart from
# Host, User-Agent and Accept.  Body and Content-Type only where the document
# has a body; a POST without one has Content-Length: 0.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Node;
use BrowserSession::Provider;
use BrowserSession::Wire;
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use Test::More;

my $key = 'wire-key';
my $uuid = '3c90c3cc-0d44-4b50-8888-8dd25736052a';
my %json = ('content-type' => 'application/json');

my $node = BrowserSession::Node->start_new('main');
my $version = $node->safe_psql('postgres',
	"SELECT extversion FROM pg_extension WHERE extname = 'browser_session'");

# A route that gives the same answer to whatever comes.
sub answer
{
	my ($status, $body) = @_;

	return sub { $_[0]->reply($status, $body); return; };
}

# A route that answers the ending call and the reading one differently.
sub answers
{
	my ($end, $read) = @_;

	return sub {
		$_[0]->reply(@{ $_[1]{method} eq 'GET' ? $read : $end });
		return;
	};
}

my $browserbase_running = '{"id":"abc","status":"RUNNING"}';
my $browserbase_completed = '{"id":"abc","status":"COMPLETED"}';
my $browser_use_stopped = qq({"id":"$uuid","status":"stopped"});

my $wire = BrowserSession::Wire->new(
	stagehand => answer(200, '{"success":true}'),
	anchor => answer(200, '{"data":{"status":"completed"}}'),
	anchor_gone => answers(
		[   401,
			'{"error":{"code":401,"message":"Invalid API Key or browser session ID"}}'
		],
		[ 404, '{"error":{"code":404,"message":"Session not found"}}' ]),
	browser_use => answer(200, $browser_use_stopped),
	browser_use_live => answers(
		[ 200, qq({"id":"$uuid","status":"running"}) ],
		[ 200, $browser_use_stopped ]),
	browserless => answer(200, ''),
	browserbase => answer(200, $browserbase_completed),
	browserbase_slow =>
	  answers([ 200, $browserbase_running ], [ 200, $browserbase_completed ]),
	webdriver => answer(200, '{"value":null}'),
	acme => answer(200, '{"state":{"phase":"CLOSED"}}'),
	acme_slow => answers(
		[ 202, '{"state":{"phase":"CLOSING"}}' ],
		[ 200, '{"state":{"phase":"CLOSED"}}' ]),
	custom => answer(204, ''));

# Makes the account `provider` against a route, overriding options.
sub account
{
	my ($provider, $route, %option) = @_;

	$node->account(
		's',
		BrowserSession::Provider::options(
			$provider, $wire->url($route), $key),
		%option);
	return;
}

# Ends a session and compares the row and all requests; an expected request is
# [method, target, headers, body], a body being a string or what JSON holds.
sub check
{
	my ($what, $id, $row_expected, @expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$wire->forget;
	my $row = $node->end('s', $id);
	my @requests = $wire->requests;

	subtest $what => sub {
		is($row->{$_}, $row_expected->{$_}, "row: $_")
		  for sort keys %$row_expected;
		is(scalar @requests, scalar @expected, 'number of requests');
		check_request($requests[$_], @{ $expected[$_] })
		  for grep { $requests[$_] } 0 .. $#expected;
	};
	return $row;
}

sub check_request
{
	my ($request, $method, $target, $headers, $body) = @_;
	my %expected = (
		'host' => '127.0.0.1:' . $wire->port,
		'user-agent' => "browser_session/$version",
		'accept' => 'application/json',
		%$headers);
	my @names = map { lc $_->[0] } @{ $request->{headers} };

	if (ref $body)
	{
		is_deeply(JSON::PP->new->utf8->decode($request->{body}),
			$body, 'body');
	}
	else
	{
		is($request->{body}, $body, 'body');
	}
	$expected{'content-length'} = length $request->{body}
	  if length $request->{body} || $method ne 'DELETE' && $method ne 'GET';

	is( "$request->{method} $request->{target} $request->{version}",
		"$method $target HTTP/1.1",
		'request line');
	is_deeply(
		[ sort @names ],
		[ sort keys %expected ],
		'exactly these headers');
	is_deeply({ map { lc $_->[0] => $_->[1] } @{ $request->{headers} } },
		\%expected, 'their values');
	return;
}

# Stagehand: POST without a body, and so without a Content-Type.
account('stagehand', 'stagehand');
check(
	'stagehand',
	'c4dbf3a9-9a58-4b22-8a1c-9f20f9f9e123',
	{ outcome => 'ended', attempts => 1 },
	[   'POST',
		'/v1/sessions/c4dbf3a9-9a58-4b22-8a1c-9f20f9f9e123/end',
		{ 'x-bb-api-key' => $key }, '' ]);

account('stagehand', 'stagehand', project_id => 'project-1');
check(
	'stagehand with a project',
	'abc',
	{ outcome => 'ended' },
	[   'POST', '/v1/sessions/abc/end',
		{ 'x-bb-api-key' => $key, 'x-bb-project-id' => 'project-1' }, '' ]);

# Anchor: DELETE; an ambiguous 401 is settled by reading the session.
account('anchor', 'anchor');
check(
	'anchor', 'abc',
	{ outcome => 'ended' },
	[ 'DELETE', '/v1/sessions/abc', { 'anchor-api-key' => $key }, '' ]);

account('anchor', 'anchor_gone');
check(
	'anchor: 401, then the session is not found',
	'abc',
	{ outcome => 'already_ended', attempts => 1 },
	[ 'DELETE', '/v1/sessions/abc', { 'anchor-api-key' => $key }, '' ],
	[ 'GET', '/v1/sessions/abc', { 'anchor-api-key' => $key }, '' ]);

# Browser Use: sessions by POST without a body, browsers by PATCH with one.
account('browser_use', 'browser_use');
check(
	'browser_use',
	$uuid,
	{ outcome => 'ended', provider_status => 'stopped' },
	[   'POST', "/api/v3/sessions/$uuid/stop",
		{ 'x-browser-use-api-key' => $key }, '' ]);

account('browser_use', 'browser_use_live');
check(
	'browser_use: still running, then stopped',
	$uuid,
	{ outcome => 'ended', provider_status => 'stopped' },
	[   'POST', "/api/v3/sessions/$uuid/stop",
		{ 'x-browser-use-api-key' => $key }, '' ],
	[   'GET', "/api/v3/sessions/$uuid",
		{ 'x-browser-use-api-key' => $key }, '' ]);

account('browser_use_browser', 'browser_use');
check(
	'browser_use_browser',
	$uuid,
	{ outcome => 'ended', provider_status => 'stopped' },
	[   'PATCH', "/api/v3/browsers/$uuid",
		{ 'x-browser-use-api-key' => $key, %json },
		{ action => 'stop' } ]);

# Browserless: the token is in the query and nowhere else.
account('browserless', 'browserless');
check(
	'browserless by id',
	'abc',
	{ outcome => 'ended', session_id => 'abc' },
	[ 'DELETE', "/session/abc?token=$key&force=true", {}, '' ]);
check(
	'browserless by its stop URL',
	$wire->url('browserless') . "/session/abc?token=$key",
	{ outcome => 'ended', session_id => 'abc' },
	[ 'DELETE', "/session/abc?token=$key&force=true", {}, '' ]);

# Fails: a stop URL of another scheme, host or port
foreach my $url (
	'https://127.0.0.1:' . $wire->port . '/browserless',
	$wire->url('browserless', 'localhost'),
	$wire->url('browserless', '127.0.0.2'),
	$wire->url('browserless', 'user@127.0.0.1'),
	'http://127.0.0.1:1/browserless',
	'http://127.0.0.1/browserless')
{
	my $connections = $wire->connections;
	my $stop_url = "$url/session/abc?token=$key";
	my ($ret, $out, $err) = $node->psql('postgres', <<SQL);
\\set VERBOSITY sqlstate
SELECT * FROM bsession_end('s', '$stop_url');
SQL

	like($err, qr/^psql:.*ERROR:  22023/m, "refused: $url");
	is($wire->connections, $connections, '… and nothing was sent');
}

# Browserbase: the release is asked for, and confirmed by reading.
account('browserbase', 'browserbase');
check(
	'browserbase',
	'abc',
	{ outcome => 'ended', provider_status => 'COMPLETED' },
	[   'POST', '/v1/sessions/abc',
		{ 'x-bb-api-key' => $key, %json }, { status => 'REQUEST_RELEASE' } ]);

account('browserbase', 'browserbase_slow', project_id => 'project-1');
check(
	'browserbase with a project: still running, then completed',
	'abc',
	{ outcome => 'ended', provider_status => 'COMPLETED', attempts => 1 },
	[   'POST', '/v1/sessions/abc',
		{ 'x-bb-api-key' => $key, %json },
		{ status => 'REQUEST_RELEASE', projectId => 'project-1' } ],
	[ 'GET', '/v1/sessions/abc', { 'x-bb-api-key' => $key }, '' ]);

# WebDriver: no key at all, or basic authentication.
account('webdriver', 'webdriver');
check(
	'webdriver', 'abc',
	{ outcome => 'ended' },
	[ 'DELETE', '/session/abc', {}, '' ]);

account('grid', 'webdriver');
check(
	'webdriver with a user name and a password',
	'abc',
	{ outcome => 'ended' },
	[   'DELETE', '/session/abc',
		{ authorization => 'Basic ' . encode_base64("sim:$key", '') }, '' ]);

# A provider described by options alone.
account('acme', 'acme_slow');
check(
	'custom', 'abc',
	{ outcome => 'ended', provider_status => 'CLOSED' },
	[   'PUT',
		'/v2/browsers/abc/terminate',
		{ authorization => "Bearer $key", %json },
		{ reason => 'leaked' } ],
	[ 'GET', '/v2/browsers/abc', { authorization => "Bearer $key" }, '' ]);

foreach my $auth (
	[ 'header:X-Api-Key', '', { 'x-api-key' => $key } ],
	[ 'bearer', '', { authorization => "Bearer $key" } ],
	[ 'query:key', "?key=$key", {} ])
{
	my ($option, $query, $headers) = @$auth;

	$node->account(
		's',
		provider => 'custom',
		base_url => $wire->url('custom'),
		auth => $option,
		end_method => 'DELETE',
		end_path => '/browsers/{id}',
		mapping => { api_key => $key });
	check(
		"custom, auth $option",
		'abc',
		{ outcome => 'ended' },
		[ 'DELETE', "/browsers/abc$query", $headers, '' ]);
}

# One of the built-in ones rebuilt by options sends the same bytes.
$node->account(
	's',
	provider => 'custom',
	base_url => $wire->url('stagehand'),
	auth => 'header:x-bb-api-key',
	end_method => 'POST',
	end_path => '/v1/sessions/{id}/end',
	status_field => 'success',
	mapping => { api_key => $key });
check(
	'stagehand rebuilt as custom',
	'abc',
	{ outcome => 'ended' },
	[ 'POST', '/v1/sessions/abc/end', { 'x-bb-api-key' => $key }, '' ]);

# A built-in one with fields overridden.
account(
	'stagehand', 'stagehand',
	end_path => '/v2/sessions/{id}/finish',
	end_body => '{}');
check(
	'stagehand with its path and body overridden',
	'abc',
	{ outcome => 'ended' },
	[   'POST', '/v2/sessions/abc/finish',
		{ 'x-bb-api-key' => $key, %json }, {} ]);

# Every id is one path segment that decodes to the id.
account('stagehand', 'stagehand');
foreach my $id (
	'a.b', '...', 'a+b', 'a;b', 'a&b', 'a=b',
	'a:b@c', "a'b\"c", 'a,b!(c)*d', '<a>', '{id}', 'a|b^c`d',
	'~a_b-c', 'ünï', '日本語', 'Ж', '😀', 'x' x 512)
{
	$wire->forget;
	my $row = $node->end('s', $id);
	my ($request) = $wire->requests;
	my ($segment) = $request->{target} =~ m{\A/v1/sessions/([^/?#]*)/end\z};
	my $label = length $id > 20 ? length($id) . ' characters' : $id;

	is($row->{outcome}, 'ended', "id $label");
	like(
		$segment,
		qr/\A(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+\z/,
		'… is percent-encoded');
	$segment =~ s/%([0-9A-F]{2})/chr hex $1/ge;
	is($segment, $id, '… decodes to the id');
}

# Whatever the database's encoding, the id is sent in UTF-8.
$node->safe_psql('postgres', <<SQL);
CREATE DATABASE latin1 TEMPLATE template0 ENCODING LATIN1
	LC_COLLATE 'C' LC_CTYPE 'C';
SQL
my $base_url = $wire->url('stagehand');
$wire->forget;
is( $node->safe_psql('latin1', <<SQL),
SET client_encoding = 'UTF8';
CREATE EXTENSION browser_session;
CREATE SERVER s FOREIGN DATA WRAPPER browser_session
	OPTIONS (provider 'stagehand', base_url '$base_url');
CREATE USER MAPPING FOR PUBLIC SERVER s OPTIONS (api_key '$key');
SELECT outcome, session_id FROM bsession_end('s', 'ü');
SQL
	'ended|ü',
	'a database in LATIN1');
is(($wire->requests)[0]{target},
	'/v1/sessions/%C3%BC/end', '… sends the id in UTF-8');

done_testing();
