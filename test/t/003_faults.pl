# 003_faults.pl
#
# What a network and a broken provider can do to an exchange, on raw sockets.
# Each fault has its outcome and an error text, and none of them takes down
# the backend, which is one and the same for all.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Node;
use BrowserSession::Wire;
use Encode qw(encode);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A proxy that the server's environment names is for the world outside: were
# it used for loopback, nothing here would work.
my $proxy = 'http://127.0.0.1:1';
local @ENV{qw(http_proxy HTTP_PROXY https_proxy HTTPS_PROXY ALL_PROXY)} =
  ($proxy) x 5;

my $node = BrowserSession::Node->start_new('main');
my $head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
my $success = '{"success":true}';
my (@faults, %route, %account);

# A fault: the server's name and route, what it does, and the outcomes that
# are right.  Further options are the server's.
sub fault
{
	my ($name, $what, $outcomes, $code, %option) = @_;

	push @faults, { name => $name, what => $what, outcomes => $outcomes };
	$route{$name} = sub { $code->(@_); return; };
	$account{$name} = \%option;
	return;
}

# A fault that is nothing but these bytes, and then the end of the connection.
sub says
{
	my ($name, $what, $outcomes, $bytes) = @_;

	return fault($name, $what, $outcomes, sub { $_[0]->send($bytes); });
}

# A well-formed reply with this status and body.
sub replies
{
	my ($name, $what, $outcomes, $status, $body, %headers) = @_;

	return fault($name, $what, $outcomes,
		sub { $_[0]->reply($status, $body, %headers); });
}

# The connection ends, or nothing comes.
fault(
	'reset_before', 'reset before the status line',
	['unreachable'], sub { $_[0]->reset; });
says('closed_before', 'closed before the status line', ['unreachable'], '');
says(
	'half_status',
	'closed within the status line',
	[ 'bad_reply', 'unreachable' ], 'HTTP/1.');
says(
	'half_headers', 'closed within the headers',
	['bad_reply'], $head . 'X-Head');
fault(
	'reset_after_headers',
	'reset after the headers',
	['bad_reply'],
	sub {
		$_[0]->send("${head}Content-Length: 16\r\n\r\n");

		# Let the headers arrive before the reset overtakes them.
		$_[0]->idle(0.3);
		$_[0]->reset;
	});
says('half_body', 'half a body', ['bad_reply'],
	"${head}Content-Length: 100\r\n\r\n$success");
says('half_chunks', 'chunks without an end',
	['bad_reply'],
	"${head}Transfer-Encoding: chunked\r\n\r\n10\r\n$success\r\n");
says('bad_chunk', 'a chunk of no size',
	['bad_reply'],
	"${head}Transfer-Encoding: chunked\r\n\r\nxyz\r\n$success\r\n0\r\n\r\n");
fault(
	'silence', 'silence', ['timed_out'],
	sub { $_[0]->hang; },
	timeout => 500);
fault(
	'silence_after_headers',
	'silence after the headers',
	['timed_out'],
	sub { $_[0]->send("${head}Content-Length: 16\r\n\r\n"); $_[0]->hang; },
	timeout => 500);
fault(
	'trickle', 'a byte a second',
	['timed_out'],
	sub { $_[0]->trickle("${head}Content-Length: 16\r\n\r\n$success"); },
	timeout => 1500);

# Not HTTP, or hardly.
says(
	'garbage', 'a garbage status line',
	['bad_reply'], "BLAH 200 fine\r\n\r\n$success");
says('binary', 'binary noise',
	['bad_reply'], join '', map { chr($_ * 37 % 256) } 1 .. 4096);
says('http09', 'HTTP/0.9', ['bad_reply'], $success);
says('smtp', 'another protocol', ['bad_reply'], "220 mail.example ESMTP\r\n");
says('status_words', 'a status that is no number',
	['bad_reply'], "HTTP/1.1 OK 200\r\nContent-Length: 16\r\n\r\n$success");
says('status_0', 'status 000', ['bad_reply'],
	"HTTP/1.1 000 Nothing\r\nContent-Length: 16\r\n\r\n$success");
says('status_999', 'status 999', ['bad_reply'],
	"HTTP/1.1 999 Much\r\nContent-Length: 16\r\n\r\n$success");
says('status_99999', 'status 99999', ['bad_reply'],
	"HTTP/1.1 99999 Much\r\nContent-Length: 16\r\n\r\n$success");
says('switching', '101 Switching Protocols', ['bad_reply'],
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
);
says('length_negative', 'a negative length',
	['bad_reply'], "${head}Content-Length: -5\r\n\r\n$success");
says(
	'length_huge',
	'a length beyond 64 bits',
	[ 'bad_reply', 'ended' ],
	"${head}Content-Length: 99999999999999999999999\r\n\r\n$success");

# Too much.
replies('big_body', 'a body over max_response_size',
	['bad_reply'], 200, '{"success":true,"pad":"' . 'x' x 300_000 . '"}');
fault(
	'endless_body',
	'a body without an end',
	['bad_reply'],
	sub {
		$_[0]->send("$head\r\n{\"pad\":\"") or return;
		1 while $_[0]->send('x' x 65536);
	});
fault(
	'length_large',
	'the announcement of a large body',
	[ 'bad_reply', 'timed_out' ],
	sub {
		$_[0]->send("${head}Content-Length: 9999999999\r\n\r\n");
		$_[0]->hang;
	},
	timeout => 1000);
says(
	'many_headers',
	'10,000 headers',
	[ 'bad_reply', 'ended' ],
	$head
	  . join('', map { "X-Header-$_: value\r\n" } 1 .. 10_000)
	  . "Content-Length: 16\r\n\r\n$success");
says('long_header', 'a header of 1 MB', ['bad_reply'],
		"${head}X-Long: "
	  . 'x' x 1_048_576
	  . "\r\nContent-Length: 16\r\n\r\n$success");
fault(
	'endless_headers',
	'headers without an end',
	['bad_reply'],
	sub {
		$_[0]->send($head) or return;
		1 while $_[0]->send("X-Header: value\r\n" x 1000);
	},
	timeout => 30_000);
says(
	'continue_storm',
	'10,000 times 100 Continue',
	[ 'ended', 'bad_reply' ],
	"HTTP/1.1 100 Continue\r\n\r\n" x 10_000
	  . "${head}Content-Length: 16\r\n\r\n$success");
fault(
	'endless_continue',
	'100 Continue without an end',
	[ 'bad_reply', 'timed_out' ],
	sub { 1 while $_[0]->send("HTTP/1.1 100 Continue\r\n\r\n" x 1000); },
	timeout => 3000);

# Replies that are HTTP, but not what the provider documents.
says('gzip', 'a gzip body nobody asked for', ['bad_reply'],
		"${head}Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n"
	  . "\x1f\x8b\x08\0\0\0\0\0\0\3\3\0\0\0\0\0\0\0\0\0");
replies('nul', 'a NUL byte in the JSON',
	['bad_reply'], 200, qq({"success":true,"message":"a\0b"}));
replies(
	'nul_escape',
	'a NUL character in the JSON',
	[ 'bad_reply', 'ended' ],
	200, '{"success":true,"message":"a\u0000b"}');
replies('nul_error', 'a NUL byte in an error',
	['unavailable'], 503, qq({"message":"a\0b"}));
replies('nul_text', 'NUL bytes in the text of an error',
	['unavailable'], 503, "a\0b\0\0", 'Content-Type' => 'text/plain');
replies('utf8', 'invalid UTF-8 in the JSON',
	['bad_reply'], 200, qq({"success":true,"message":"a\xff\xfeb"}));
replies('utf8_error', 'invalid UTF-8 in an error',
	['unavailable'], 503, qq({"message":"a\xc3\x28 \xed\xa0\x80 b"}));
replies('utf8_text', 'invalid UTF-8 in the text of an error',
	['unavailable'], 503, "a\xff\xfeb\xc3", 'Content-Type' => 'text/plain');
replies('japanese_error', 'an error in Japanese',
	['unavailable'], 503, '{"message":"日本語","日本":"\u65e5"}');
replies('japanese_text', 'an error in Japanese, as text',
	['unavailable'], 503, '日本語',
	'Content-Type' => 'text/plain; charset=utf-8');
says(
	'utf8_reason', 'invalid UTF-8 in the reason phrase',
	['unavailable'], "HTTP/1.1 503 \xff\xfe\r\nContent-Length: 0\r\n\r\n");
replies(
	'surrogate',
	'half a surrogate pair',
	[ 'bad_reply', 'ended' ],
	200, '{"success":true,"message":"\ud800"}');
replies('deep', 'JSON of 100,000 levels',
	['bad_reply'], 200, '[' x 100_000 . ']' x 100_000);
replies('deep_object', 'objects of 20,000 levels',
	['bad_reply'], 200, '{"a":' x 20_000 . '1' . '}' x 20_000);
replies(
	'duplicate',
	'duplicate keys',
	[ 'bad_reply', 'rejected', 'ended' ],
	200, '{"success":true,"success":false}');
replies(
	'duplicate_other',
	'duplicate keys, the other way round',
	[ 'bad_reply', 'rejected', 'ended' ],
	200, '{"success":false,"success":true}');
replies(
	'real',
	'a number out of range',
	[ 'bad_reply', 'ended' ],
	200, '{"success":true,"cost":1e999999}');
replies(
	'integer',
	'an integer out of range',
	[ 'bad_reply', 'ended' ],
	200, '{"success":true,"cost":' . '9' x 1000 . '}');
replies('truncated_json', 'JSON that stops',
	['bad_reply'], 200, '{"success":tr');
replies('trailing', 'JSON and something after it',
	['bad_reply'], 200, "$success trailing");
replies('scalar', 'JSON that is no object', ['bad_reply'], 200, 'true');
replies(
	'wrong_type',
	'a status of another type',
	[ 'bad_reply', 'rejected' ],
	200, '{"success":"true and false"}');
replies(
	'null',
	'a status that is null',
	[ 'bad_reply', 'rejected' ],
	200, '{"success":null}');
replies('no_content', '204 where JSON is documented',
	['bad_reply'], 204, '', 'Content-Length' => undef);
replies(
	"retry_after_$_",
	"Retry-After of $_",
	['rate_limited'],
	429,
	'{"message":"slow down"}',
	'Retry-After' => {
		words => 'soon',
		negative => '-5',
		huge => '99999999999999999999',
		long => '9' x 5000 }->{$_}) foreach qw(words negative huge long);

my $elsewhere = BrowserSession::Wire->new(accept => sub { $_[0]->hang; });
replies('redirect', 'a redirect to another host',
	['bad_reply'], 302, '',
	Location => $elsewhere->url . '/v1/sessions/x/end');
replies('redirect_307', 'a redirect that keeps the method',
	['bad_reply'], 307, '',
	Location => $elsewhere->url . '/v1/sessions/x/end');
replies('refresh', 'a refresh to another host',
	['ended'], 200, $success, Refresh => '0; url=' . $elsewhere->url);

my $wire = BrowserSession::Wire->new(%route);
my $tls_stall = BrowserSession::Wire->new(accept => sub { $_[0]->hang; });
my $no_tls = BrowserSession::Wire->new(
	accept => sub {
		$_[0]->read_more;
		$_[0]->reply(400, 'This is plain HTTP.');
	});

# Without a route: nobody listens, or nobody speaks TLS.
my %url = map { $_->{name} => $wire->url($_->{name}) } @faults;
push @faults,
  { name => 'refused',
	what => 'a refused connection',
	outcomes => ['unreachable'] },
  { name => 'tls_stall',
	what => 'a stalled TLS handshake',
	outcomes => ['timed_out'] },
  { name => 'no_tls',
	what => 'plain HTTP where TLS was expected',
	outcomes => ['unreachable'] };
$url{refused} =
  'http://127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port();
$url{tls_stall} = 'https://127.0.0.1:' . $tls_stall->port;
$url{no_tls} = 'https://127.0.0.1:' . $no_tls->port;
$account{tls_stall} = { timeout => 500 };

$node->account(
	$_->{name},
	provider => 'stagehand',
	base_url => $url{ $_->{name} },
	retries => 0,
	timeout => 20_000,
	%{ $account{ $_->{name} } // {} }) foreach @faults;

# All of them in one backend, whose process id frames the rows.
my ($out, $err, $seconds) = $node->finish(
	$node->background(
		join '',
		"SELECT pg_backend_pid();\n",
		(   map {
				BrowserSession::Node::rows_sql(
					"bsession_end('$_->{name}', 'abc')")
			} @faults),
		"SELECT pg_backend_pid();\n"));
my ($first_pid, @lines) = split /\n/, $out;
my $last_pid = pop @lines;

is($err, '', 'no fault is an ERROR');
is($last_pid, $first_pid, 'the backend lives on');
is(scalar @lines, scalar @faults, 'each fault has its row');
note sprintf '%.1f s', $seconds;

foreach my $fault (@faults)
{
	my $row = JSON::PP->new->utf8->decode(shift @lines // '{}');
	my ($outcome, $error) = ($row->{outcome} // 'none', $row->{error});

	ok((grep { $_ eq $outcome } @{ $fault->{outcomes} }),
		"$fault->{what}: $outcome")
	  or diag explain $row;
	if ($outcome eq 'ended')
	{
		is($error, undef, '… without an error');
	}
	else
	{
		like($error, qr/\S/, '… with an error');
		note encode('UTF-8', $error // '');
		cmp_ok(length $error, '<', 2000, '… of a readable length');
	}
	is($row->{done} ? 1 : 0, $outcome eq 'ended' ? 1 : 0,
		'… and done agrees');

	# What is recorded as the reply must not say the contrary.
	ok($row->{response}{success}, '… as the reply recorded says')
	  if $outcome eq 'ended' && ref $row->{response} eq 'HASH';
}

is($elsewhere->connections, 0, 'no redirect was followed');

# Connections that fail are tried again, each on its own; the row has the
# last.
$node->account(
	'reset_before',
	provider => 'stagehand',
	base_url => $url{reset_before},
	retries => 1);
$wire->forget;
my $row = $node->end('reset_before', 'abc');
is($row->{outcome}, 'unreachable', 'reset each time');
is($row->{attempts}, 2, '… after the retry');
is(scalar $wire->requests, 2, '… which arrived');

# A time-out is not tried again.
$node->account(
	'silence',
	provider => 'stagehand',
	base_url => $url{silence},
	retries => 2,
	timeout => 300);
$wire->forget;
$row = $node->end('silence', 'abc');
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
	my ($ret, $stdout, $stderr) = $node->psql('latin1', <<SQL);
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS browser_session;
CREATE SERVER "$name" FOREIGN DATA WRAPPER browser_session
	OPTIONS (provider 'stagehand', base_url '$url{$name}', retries '0');
CREATE USER MAPPING FOR PUBLIC SERVER "$name" OPTIONS (api_key 'sim-key');
SELECT outcome, error IS NOT NULL, response IS NOT NULL
  FROM bsession_end('$name', 'abc');
SQL
	is($stderr, '', "a database in LATIN1, $name: no ERROR");
	is($stdout, 'unavailable|t|t', '… but a row');
}

# The limit of a reply is a setting.
$row =
  $node->end('big_body', 'abc', 'browser_session.max_response_size' => '1MB');
is($row->{outcome}, 'ended', 'max_response_size allows a bigger body');

ok($node->safe_psql('postgres', 'SELECT 1'), 'the server lives on');
unlike(
	PostgreSQL::Test::Utils::slurp_file($node->logfile),
	qr/terminated by signal|PANIC/,
	'no process crashed');

done_testing();
