# 012_proof.pl
#
# Only proof counts as over: answers that look like an end and are none, next
# to those that are one.  And what is not plain ASCII, in ids, secrets and
# answers, is safe in every encoding a database can have.

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

my $node = BrowserSession::Node->start_new('main');
my (@cases, %route);

# A provider that gives these answers in turn, the last one again and again,
# and the outcome that is right.  An answer is [status, body, headers].
# Further options are the server's, and `columns` what else the row must have.
sub proof
{
	my ($provider, $what, $answers, $outcome, %option) = @_;
	my $name = 'case' . @cases;

	push @cases,
	  { name => $name,
		provider => $provider,
		what => $what,
		outcome => $outcome,
		columns => delete $option{columns} // {},
		option => \%option };
	$route{$name} = in_turn(@$answers);
	return;
}

# The first answer is for the end, the others are for the reads.  How many
# reads there were is the business of one connection: these are kept alive.
sub in_turn
{
	my ($end, @reads) = @_;

	return sub {
		my ($connection, $request) = @_;
		my $answer =
		    $request->{method} ne 'GET' ? $end
		  : @reads > 1                  ? shift @reads
		  :                               $reads[0];

		return $connection->reply(@$answer, Connection => undef);
	};
}

# A 404 that names nothing could be that of any path.
my $gone = [ 404, '{"message":"Session not found"}' ];
my %nothing = (
	'a message' => [ 404, '{"message":"Not Found"}' ],
	'an error' => [ 404, '{"error":"Not Found"}' ],
	'a path' => [ 404, '{"status":404,"error":"Not Found","path":"/x"}' ],
	'a text' => [ 404, 'Not Found', 'Content-Type' => 'text/plain' ],
	'no body and no type' => [ 404, '', 'Content-Type' => undef ],
	'an empty body' => [ 404, '' ]);
proof('stagehand', "a 404 that is $_", [ $nothing{$_} ],
	'bad_reply', columns => { http_status => 404 })
  foreach sort keys %nothing;
proof('stagehand', 'a 404 that speaks of the session',
	[$gone], 'already_ended');

my $empty = [ 404, '', 'Content-Type' => undef ];
proof('browserless', 'an empty 404', [$empty], 'bad_reply');
proof(
	'browserless', 'an empty 404 where any will do',
	[$empty], 'already_ended', gone_match => '');

# 410 is no router's word, unless it is a page.
my %custom = (provider => 'custom', end_path => '/sessions/{id}');
proof('custom', 'an empty 410', [ [ 410, '' ] ], 'already_ended', %custom);
proof('custom', 'an empty 404', [$empty], 'bad_reply', %custom);
proof('custom', 'a page with status 410',
	[ [ 410, '<html>Gone</html>', 'Content-Type' => 'text/html' ] ],
	'bad_reply', %custom);

# A 2xx that lacks what the provider documents, or says that it failed.
my $ending = [ 200, '{"data":{"status":"ending"}}' ];
my $running = [ 200, '{"data":{"status":"running"}}' ];
my $completed = [ 200, '{"data":{"status":"completed"}}' ];
proof('anchor', 'an empty object', [ [ 200, '{}' ] ], 'bad_reply');
proof('anchor', 'an error without words',
	[ [ 200, '{"error":{"code":1}}' ] ], 'rejected');
proof('anchor', 'it ends, and a read shows the end',
	[ $ending, $running, $completed ], 'ended',
	columns => { provider_status => 'completed', attempts => 1 });
proof('anchor', 'it ends, and no read shows an end',
	[ $ending, $running ], 'requested', confirm_timeout => 300);
proof('webdriver', 'an answer of something else',
	[ [ 200, '{"hello":"world"}' ] ], 'bad_reply');
proof('webdriver', 'a null value', [ [ 200, '{"value":null}' ] ], 'ended');
proof('browserless', 'an error',
	[ [ 200, '{"error":"could not stop"}' ] ],
	'rejected', columns => { error => qr/could not stop/ });
proof('browserless', 'a page that begins with a comment',
	[ [ 200, '<!-- --><p>Welcome', 'Content-Type' => 'text/plain' ] ],
	'bad_reply');

# What cannot be read, where any answer will do.  The bytes of compression are
# not those of real compression; nobody looks at them.
my @text = ('Content-Type' => 'text/plain');
my %unreadable = (
	'a page behind a byte order mark' => ["\x{feff}<html>Sign in", @text],
	'a page behind spaces' => [" \r\n\t<html>Sign in", @text],
	'XML' => ['<?xml version="1.0"?><Error/>', @text],
	'XML by its type' => [ 'Error', 'Content-Type' => 'application/xml' ],
	'what is compressed' => [ 'xyz', @text, 'Content-Encoding' => 'gzip' ],
	'what has NUL bytes' => [ "gone\0away", @text ],
	'JSON that is cut' => [ '{"success":false,"mess', @text ],
	'a list that is cut' => [ '[{"success":false}', @text ]);
foreach my $what (sort keys %unreadable)
{
	my ($body, @headers) = @{ $unreadable{$what} };

	utf8::encode($body);
	proof('browserless', "$_ with $what", [ [ $_, $body, @headers ] ],
		'bad_reply')
	  foreach 200, 404;
}
proof('browserless', "a router's 404: $_", [ [ 404, $_, @text ] ],
	'bad_reply')
  foreach 'default backend - 404', 'response 404 (backend NotFound)',
  'no healthy upstream';
proof('browserless', 'text that says it is not compressed',
	[ [ 200, 'removed', @text, 'Content-Encoding' => 'identity' ] ],
	'ended');

# Every way to say that it failed.
proof('browserless', "200 with $_", [ [ 200, $_ ] ], 'rejected')
  foreach '{"success":false}', '{"success":"False"}', '{"success":null}',
  '{"ok":false}', '{"errors":[{"message":"no"}]}', '[{"error":"no"}]',
  '[{"success":false}]', "\xef\xbb\xbf" . '{"success":false}';
proof('browserless', "200 with $_", [ [ 200, $_ ] ], 'ended')
  foreach '{"success":true}', '{"error":null,"errors":[],"ok":true}',
  '[]', '"removed"';
proof('webdriver', 'an error with status 200',
	[ [ 200, '{"value":{"error":"unknown error","message":"no"}}' ] ],
	'rejected');

# A refusal that may mean: it is over.  A read settles it.
my $conflict = [ 409, '{"message":"cannot release"}' ];
proof(
	'browserbase', 'a conflict with a session that is over',
	[ $conflict, [ 200, '{"id":"abc","status":"COMPLETED"}' ] ],
	'already_ended',
	columns => { provider_status => 'COMPLETED', attempts => 1 });
proof(
	'browserbase', 'a conflict with a session that runs',
	[ $conflict, [ 200, '{"id":"abc","status":"RUNNING"}' ] ],
	'rejected',
	columns => { http_status => 409, error => qr/RUNNING/, attempts => 1 });

# A key that looks different under every kind of escapes, and the escapes.
my $odd_key = q(a/b+c=d%41\\e&f<g>"h);
my %escape = (
	json => sub { $_[0] =~ s{(["\\/])}{\\$1}gr },
	unicode => sub { $_[0] =~ s/(.)/sprintf '\\u%04X', ord $1/ger },
	hexadecimal => sub { $_[0] =~ s/(\W)/sprintf '\\x%02x', ord $1/ger },
	percent => sub { $_[0] =~ s/(\W)/sprintf '%%%02x', ord $1/ger },
	entity => sub { $_[0] =~ s/([<>&"\/])/sprintf '&#%d;', ord $1/ger },
	entities => sub { $_[0] =~ s/(.)/sprintf '&#x%x;', ord $1/ger },
	none => sub { $_[0] });
my %inner = (
	%escape,
	base64 => sub { encode_base64($_[0], '') =~ s/=+\z//r });

# Keys that are hard to look for, and how long a reply that is full of them.
my %hard_key = (
	backslashes => '\\' x 100,
	percent => '%25' x 33,
	ampersands => '&amp;' x 20);
my $hard_length = 250_000;

# Answers with all it was sent for a secret: the header, what is in it, the
# parts of that.
sub echo
{
	my ($status) = @_;

	return sub {
		my ($connection, $request) = @_;
		my ($basic) = $request->{bytes} =~ /^authorization: basic (\S+)/mi;
		my $pair = decode_base64($basic // '');
		my ($user, $password) = split /:/, $pair, 2;

		$connection->reply(
			$status,
			JSON::PP->new->canonical->encode(
				{   message => "Basic $basic $pair",
					header => "Basic $basic",
					password => $password,
					both => [ $user, $pair ] }));
		return;
	};
}
my $wire = BrowserSession::Wire->new(
	%route,
	echo200 => echo(200),
	echo500 => echo(500),
	bears => sub {
		$_[0]->reply(200, '{"here":["the","bee","e"],"e":"see"}');
		return;
	},
	(   map {
			my $key = $hard_key{$_};

			(   $_ => sub {
					$_[0]->reply(500, substr $key x $hard_length, 0,
						$hard_length);
					return;
				})
		} keys %hard_key),
	(   map {
			my $outer = $_;

			map {
				my $text = $escape{$outer}->($inner{$_}->($odd_key));

				(   "${_}_in_$outer" => sub {
						$_[0]->reply(500, "It was '$text'.", @text);
						return;
					})
			} keys %inner
		} keys %escape),
	ends => sub { $_[0]->reply(200, '{"success":true}'); return; },
	world => sub {
		$_[0]->reply(500, '{"message":"日本 é €, 日"}');
		return;
	});

foreach my $case (@cases)
{
	$node->account(
		's',
		BrowserSession::Provider::options(
			$case->{provider}, $wire->url($case->{name})),
		retries => 0,
		%{ $case->{option} });
	my $row = $node->end('s', 'abc');
	my $done = $case->{outcome} =~ /ended/ ? 1 : 0;

	subtest "$case->{provider}: $case->{what}" => sub {
		is($row->{outcome}, $case->{outcome}, 'outcome')
		  or diag explain $row;
		is($row->{done} ? 1 : 0, $done, 'done');
		is(defined $row->{error} ? 1 : 0,
			1 - $done, 'an error unless it is done')
		  unless $row->{outcome} eq 'requested';
		foreach my $column (sort keys %{ $case->{columns} })
		{
			my $expected = $case->{columns}{$column};

			like($row->{$column},
				ref $expected ? $expected : qr/\A\Q$expected\E\z/, $column);
		}
	};
}

# A stop URL brings secrets of its own, which go with the account's.
foreach my $status (200, 500)
{
	my ($user, $password) = ('UsErCaNaRy', 'CaNaRy+/=&~WoRd');
	my @secrets = (
		$user, $password, map { encode_base64($_, '') =~ s/=+\z//r } $password,
		"$user:$password");
	my $needle = join '|', map { quotemeta } @secrets;
	my $url = $wire->url("echo$status");

	$node->account(
		's',
		provider => 'custom',
		base_url => $url,
		auth => 'basic',
		end_path => '/sessions/{id}',
		id_url => 'true',
		retries => 0,
		mapping => { username => $user, password => $password });
	$wire->forget;
	my $out = $node->safe_psql('postgres', <<SQL);
SELECT r::text, to_jsonb(r) FROM bsession_end('s', '$url/sessions/abc?x=1') r;
SELECT r::text, to_jsonb(r)
  FROM bsession_end_many('s', ARRAY['$url/sessions/abc?x=1']) r;
SQL
	my @sent = grep { $_->{bytes} =~ $needle } $wire->requests;

	is(scalar @sent, 2, "$status to stop URLs: the secrets were sent");
	like($out, qr/\[redacted\].*\n.*\[redacted\]/, '… and came back');
	unlike($out, qr/$needle/, '… but are not in the rows');
}

# A key may be part of every word, even of the one that is put in its place.
{
	$node->account(
		's',
		%custom,
		base_url => $wire->url('bears'),
		mapping => { api_key => 'e' });
	my $row = $node->end('s', 'abc', statement_timeout => '60s');
	my $response = JSON::PP->new->encode($row->{response});

	is($row->{outcome}, 'ended', 'a key of one letter');
	like($response, qr/h\[redacted\]r\[redacted\]/, '… is taken out');
	unlike($response =~ s/\[redacted\]//gr, qr/e/, '… everywhere');
}

# A key that comes back under escapes, two layers of them.
foreach my $outer (sort keys %escape)
{
	foreach my $inner (sort keys %inner)
	{
		$node->account(
			's', %custom,
			base_url => $wire->url("${inner}_in_$outer"),
			retries => 0,
			mapping => { api_key => $odd_key });
		my $row = $node->end('s', 'abc');

		is($row->{error}, "provider answered 500: It was '[redacted]'.",
			"a key in $inner in $outer is not shown");
		is($row->{response}, "It was '[redacted]'.", '… nor kept');
	}
}

# Looking for a key takes time that grows with the reply, whatever the key.
foreach my $name (sort keys %hard_key)
{
	my $key = $hard_key{$name};

	$node->account(
		's', %custom,
		base_url => $wire->url($name),
		retries => 0,
		mapping => { api_key => $key });
	my $row = $node->end('s', 'abc', statement_timeout => '60s');
	my $shown = JSON::PP->new->encode($row);

	is($row->{outcome}, 'unavailable', "a key of $name");
	unlike($shown, qr/\Q$key\E/, '… is not in the row');
	like($row->{error}, qr/\[redacted\]/, '… but what is put in its place');
}

# A database of an encoding, with servers "ends" and "world".  Both repeat
# the id in the body, the place where bytes that are not UTF-8 would do harm.
sub database
{
	my ($encoding) = @_;
	my $name = lc $encoding;

	$node->safe_psql('postgres', <<SQL);
CREATE DATABASE $name TEMPLATE template0 ENCODING '$encoding'
	LC_COLLATE 'C' LC_CTYPE 'C';
SQL
	$node->safe_psql(
		$name,
		join "\n",
		'CREATE EXTENSION browser_session;',
		map {
			"CREATE SERVER $_ FOREIGN DATA WRAPPER browser_session"
			  . BrowserSession::Node::options(
				%custom,
				base_url => $wire->url($_),
				end_method => 'POST',
				end_body => '{"session":"{id}"}',
				retries => 0)
			  . ";\nCREATE USER MAPPING FOR PUBLIC SERVER $_"
			  . " OPTIONS (api_key 'sim-key');"
		} qw(ends world));
	$wire->forget;
	return $name;
}

# Fails: the id, an expression, cannot be used in this database.
sub refuse
{
	my ($database, $id) = @_;
	my ($ret, $out, $err) =
	  $node->psql($database, <<SQL, on_error_stop => 0);
\\set VERBOSITY verbose
SELECT outcome FROM bsession_end('ends', $id);
SQL
	like($err, qr/ERROR:  22023: session id cannot be used/,
		"$database: the id $id is refused");
	is($out, '', '… without a row');
	return;
}

# Without an encoding, anything can be in an id.
{
	my $database = database('SQL_ASCII');

	refuse($database, q(E'a\xffb'));
	is(scalar $wire->requests, 0, '… and nothing is sent');
	is( $node->safe_psql($database, <<'SQL'),
SELECT outcome, attempts
  FROM bsession_end_many('ends', ARRAY['ok1', E'a\xffb', 'ok2']);
SQL
		"ended|1\nrejected|0\nended|1",
		'… among others it is a row');
	is( $node->safe_psql($database, <<'SQL'),
SELECT outcome FROM bsession_end('ends', E'caf\xc3\xa9');
SQL
		'ended',
		'… and UTF-8 is welcome');
	is((map { $_->{body} } $wire->requests)[-1],
		"{\"session\":\"caf\xc3\xa9\"}", '… and arrives as it is');
}

# With one, there can be bytes in it that are no character.
{
	my $database = database('WIN1252');

	is( $node->safe_psql($database, <<'SQL'),
SELECT session_id, outcome, attempts, error IS NULL
  FROM bsession_end_many('ends', ARRAY['ok1', E'x\x81', 'ok2']);
SQL
		"ok1|ended|1|t\n|rejected|0|f\nok2|ended|1|t",
		'WIN1252: an id without a counterpart is a row among others');
	is(scalar $wire->requests, 2, '… and the others are sent');
	refuse($database, q(E'x\x81'));
	is(scalar $wire->requests, 2, '… and nothing more is sent');
	is( $node->safe_psql($database, <<'SQL'),
SELECT outcome, session_id = E'\x80' FROM bsession_end('ends', E'\x80');
SQL
		'ended|t',
		'… other characters are welcome');
	is((map { $_->{target} } $wire->requests)[-1],
		'/sessions/%E2%82%AC', '… and arrive as UTF-8');
}

# What an answer says in other characters does not cost the row.
{
	my $database = database('LATIN1');

	is( $node->safe_psql($database, <<'SQL'),
SET client_encoding = 'UTF8';
SELECT outcome, error, response ->> 'message'
  FROM bsession_end('world', 'abc');
SQL
		'unavailable|provider answered 500: ?? é ?, ?|?? é ?, ?',
		'LATIN1: characters that it lacks are question marks');
}

done_testing();
