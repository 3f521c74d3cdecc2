# 005_secrets.pl
#
# A canary in place of each secret, and a search for it, in any of its forms,
# in everything that anyone can read: the server log at debug5, what a client
# is told at debug5 and every verbosity, result rows, tracked sessions, the
# audit, pg_stat_activity.  For every provider and every way an exchange can go, a provider that repeats the
# key included.
#
# The statements that set a secret hold it, of course, and PostgreSQL logs
# them if told to: they run before the search begins.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Authority;
use BrowserSession::Node;
use BrowserSession::Poll qw(wait_until);
use BrowserSession::Provider;
use BrowserSession::Sim;
use BrowserSession::Wire;
use Cwd ();
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Characters that look different when they are percent-encoded, and a plain
# part that does not, so that it is found in either.  The length makes base64
# pad.
my $plain = 'CaNaRy4711sEcReT';
my $key = "$plain+/=&~x";
my $user = 'UsErCaNaRy4712';

my $node = BrowserSession::Node->start_new('main', conf => <<CONF);
shared_preload_libraries = 'browser_session'
browser_session.retry_delay = '1h'
browser_session.max_retry_delay = '1h'
log_statement = none
log_min_messages = debug5
log_error_verbosity = verbose
CONF
my $sim = BrowserSession::Sim->new;
$sim->accept_key($key);

# Regular expression for the secrets in any form: their beginning and their
# end, in any case, which percent-encoding does not change; the middle of
# their base64, at each of the three offsets it can have; and hexadecimal.
sub needles
{
	my @needles;

	foreach my $secret ($plain, $user)
	{
		push @needles, substr($secret, 0, 8), substr($secret, -8);
		foreach my $offset (0 .. 2)
		{
			my $encoded = encode_base64('x' x $offset . $secret . 'xxx', '');

			push @needles, substr $encoded, 4, 12;
		}
		push @needles, unpack 'H*', $secret;
	}
	return join '|', map { quotemeta } @needles;
}
my $needle = do { my $needles = needles(); qr/$needles/i };

like("token=$key", $needle, 'the search finds the key');
like(encode_base64("$user:$key", ''),
	$needle, 'the search finds basic authentication');
like(encode_base64($_ . $key, ''), $needle, 'the search finds base64')
  foreach '', 'a', 'ab', 'abc';
unlike('sim-key', $needle, 'the search does not find everything');

# Fails if a secret is in the text.
sub clean
{
	my ($text, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return ok(1, $what) unless $text =~ $needle;
	ok(0, $what);
	diag 'found: ', substr $text, $-[0] > 80 ? $-[0] - 80 : 0, 160;
	return;
}

# What each provider's credential is, as mapping options.
sub mapping
{
	my ($provider, $secret) = @_;

	return { username => $user, password => $secret } if $provider eq 'grid';
	return { api_key => $secret };
}

# Servers whose end calls go every way there is; the simulator echoes the key
# and the URL wherever it has a message.
my %way = (
	good => {},
	rejected => { status => 400, echo => 1 },
	forbidden => { status => 403, echo => 1 },
	gone => { status => 404, body => 'router', echo => 1 },
	rate_limited => { status => 429, echo => 1, retry_after => 0 },
	unavailable => { status => 503, echo => 1 },
	text => { status => 500, body => 'text', echo => 1 },
	html => { status => 200, body => 'html', echo => 1 },
	bad_utf8 => { status => 503, badutf8 => 1, echo => 1 },
	nul => { status => 503, nul => 1, echo => 1 },
	dropped => { drop => 1 },
	cut => { cut => 1, echo => 1, status => 503 },
	slow => { delay => 20_000 });

# A provider that answers with what it was sent, in every form it can think
# of.
sub echo
{
	my ($status, $type) = @_;

	return sub {
		my ($connection, $request) = @_;
		my $text = received($request);
		my $json_text = $text =~ s/(["\\])/\\$1/gr;
		my $slashed = $key =~ s{/}{\\/}gr;
		my $unicode = join '', map { sprintf '\\u%04x', ord } split //, $key;
		my $body =
		  $type eq 'json'
		  ? qq({"success":false,"status":"$key","endedAt":"$key",)
		  . qq("message":"$json_text $slashed $unicode",)
		  . qq("error":{"message":"$json_text"},"detail":"$json_text",)
		  . qq("data":{"status":"$key"},"$key":"$key",)
		  . qq("list":["$key",["$json_text"]]})
		  : $text;

		$connection->reply($status, $body,
			  'Content-Type' => $type eq 'json'
			? 'application/json'
			: "text/$type");
		return;
	};
}

# The request, and the secret that came with it in other forms.
sub received
{
	my ($request) = @_;
	my ($basic) = $request->{bytes} =~ /^authorization: basic (\S+)/mi;
	my $escaped = BrowserSession::Sim::escape($key);
	my $lower = $escaped =~ s/(%[0-9A-F]{2})/lc $1/ger;
	my $encoded = encode_base64($key, '');
	my @forms = (
		$key, $escaped, $lower, BrowserSession::Sim::escape($escaped),
		$encoded,
		$encoded =~ s/=+\z//r,
		$request->{bytes} =~ s/[\r\n]+/ /gr);

	push @forms, $user, $basic, $basic =~ s/=+\z//r, decode_base64($basic)
	  if $basic;
	return join ' ', @forms;
}

# Wherever a message is cut, it must not be in the middle of the key.
sub long
{
	my ($offset) = @_;

	return sub {
		$_[0]->reply(500,
			'{"message":"' . 'x' x $offset . "$key " x 5000 . '"}');
		return;
	};
}
my %echo = map {
	my $status = $_;
	(   "json_$status" => echo($status, 'json'),
		"plain_$status" => echo($status, 'plain'),
		"html_$status" => echo($status, 'html'));
} qw(200 401 404 422 429 500);
my $wire = BrowserSession::Wire->new(
	%echo,
	(map { ("long$_" => long($_)) } 0, 8, 16),
	redirect => sub {
		$_[0]->reply(302, '',
			Location => "http://127.0.0.1:1/?token=$key&u=$user");
		return;
	},
	reason => sub {
		$_[0]->send("HTTP/1.1 503 $key\r\nX-$plain: $key\r\n"
			  . "Retry-After: $key\r\nContent-Length: 0\r\n\r\n");
		return;
	},
	garbage => sub { $_[0]->send("$key $key\r\n\r\n$key"); return; },
	half => sub {
		$_[0]->send(
			"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n{\"status\":\"$key"
		);
		return;
	});

my $authority = BrowserSession::Authority->new;
my $untrusted = BrowserSession::Wire->new(
	tls => $authority->certificate,
	accept => sub { $_[0]->hang; });
my %special = (
	refused => 'http://127.0.0.1:'
	  . PostgreSQL::Test::Cluster::get_free_port(),
	unknown_host => 'https://browser-session.invalid',
	certificate => $untrusted->url);
my @providers = grep { $_ ne 'webdriver' } BrowserSession::Provider::names();
my @servers;

# Makes an account and remembers it for the search.
sub account
{
	my ($provider, $way, $base_url, $secret, %option) = @_;
	my $server = "s_${provider}_$way";

	$node->account(
		$server,
		BrowserSession::Provider::options($provider, $base_url),

		# Trying again takes a second, so one provider does it for all.
		retries => $provider eq 'stagehand' ? 1 : 0,
		confirm_timeout => 200,
		timeout => $way eq 'slow' || $way eq 'unknown_host' ? 200 : 20_000,
		project_id => 'project-1',
		%option,
		mapping => mapping($provider, $secret));
	push @servers, { name => $server, provider => $provider, way => $way };
	return $server;
}

foreach my $provider (@providers)
{
	my $dialect = BrowserSession::Provider::dialect($provider);

	account($provider, $_, $sim->url($dialect, %{ $way{$_} }), $key)
	  foreach sort keys %way;
	account($provider, 'wrong_key', $sim->url($dialect), "$key-wrong");
	account($provider, $_, $wire->url($_), $key)
	  foreach sort keys %{ $wire->{routes} };
	account($provider, $_, $special{$_}, $key) foreach sort keys %special;
}

# Keys held in files, with and without a line feed.
my $directory = Cwd::abs_path(PostgreSQL::Test::Utils::tempdir());
foreach my $ending ('', "\n")
{
	my $name = 'file' . length $ending;

	PostgreSQL::Test::Utils::append_to_file("$directory/$name",
		"$key$ending");
	foreach my $way (qw(good rejected))
	{
		$node->account(
			"s_${name}_$way",
			provider => 'browserless',
			base_url => $sim->url('browserless', %{ $way{$way} }),
			retries => 0,
			mapping => { api_key_file => "$directory/$name" });
		push @servers,
		  { name => "s_${name}_$way",
			provider => 'browserless',
			way => $way };
	}
}

# Stop URLs, which hold the token, come from a table, as an application has
# them.
my $token = BrowserSession::Sim::escape($key);
$node->safe_psql('postgres', <<SQL);
CREATE TABLE job (server text, stop_url text);
INSERT INTO job
SELECT srvname, base || '/session/stop-' || srvname || '?token=' || '$token'
  FROM pg_foreign_server,
       LATERAL (SELECT option_value AS base FROM pg_options_to_table(srvoptions)
                 WHERE option_name = 'base_url') o
 WHERE srvname LIKE 's\\_browserless\\_%';
INSERT INTO job VALUES
  ('s_browserless_good', 'https://elsewhere.example/session/abc?token=$token'),
  ('s_browserless_good', 'http://127.0.0.1:1/session/abc?token=$token'),
  ('s_browserless_good', 'http://$user:$token\@127.0.0.1:1/session/abc'),
  ('s_browserless_good', 'http://127.0.0.1:1/$key/../session/abc?token=$token'),
  ('s_browserless_good', '$key?token=$token'),
  ('s_stagehand_good', 'https://elsewhere.example/session/abc?token=$token');
CREATE FUNCTION end_job(job, OUT outcome text) LANGUAGE plpgsql AS \$\$
BEGIN
	outcome := (SELECT b::text FROM bsession_end(\$1.server, \$1.stop_url) b);
EXCEPTION WHEN OTHERS THEN
	outcome := SQLERRM;
	RAISE WARNING '% %', SQLSTATE, SQLERRM;
END
\$\$;
SQL

# From here on, whatever is written anywhere is searched.
my $log_start = -s $node->logfile;
my $everything =
	"SET client_min_messages = debug5;\n\\set VERBOSITY verbose\n"
  . "\\set SHOW_CONTEXT always\n";

# Reads the log that was written since.
sub log_text
{
	return substr PostgreSQL::Test::Utils::slurp_file($node->logfile),
	  $log_start;
}

# Every server, by one function and by the other, columns all shown.  psql
# keeps server notices, warnings and errors apart from rows; both are
# searched.
foreach my $server (@servers)
{
	my @ids = map { BrowserSession::Provider::new_id($server->{provider}) } 1,
	  2;
	my ($ret, $out, $err) =
	  $node->psql('postgres', <<SQL, on_error_stop => 0);
$everything
SELECT r.*, r::text, to_jsonb(r)
  FROM bsession_end('$server->{name}', '$ids[0]') r;
SELECT r.*, r::text, to_jsonb(r)
  FROM bsession_end_many('$server->{name}', ARRAY['$ids[1]', 'all']) r;
SQL
	my $words = () = $out =~ /^[^|]*\|[^|]*\|/gm;

	unlike($err, qr/^psql:\S+ ERROR/m, "$server->{name}: no ERROR");
	cmp_ok($words, '>=', 3, "$server->{name}: rows came");
	clean($out, "$server->{name}: rows");
	clean($err, "$server->{name}: messages");
}

# The stop URLs, some refused with an ERROR.
{
	my ($ret, $out, $err) =
	  $node->psql('postgres', <<SQL, on_error_stop => 0);
$everything
SELECT end_job(job) FROM job;
SELECT b.* FROM job, LATERAL bsession_end(server, stop_url) b
 WHERE stop_url LIKE 'https://elsewhere%' AND server = 's_browserless_good';
SELECT b.* FROM job, LATERAL bsession_end_many(server, ARRAY[stop_url]) b
 WHERE server = 's_browserless_good';
\\errverbose
SQL
	like($out, qr/ended/, 'stop URLs from a table work');
	like($err, qr/ERROR:  22023/, 'stop URLs of another host are refused');
	clean($out, 'stop URLs: rows');
	clean($err, 'stop URLs: messages');
}

# The same servers once more, by the worker; stop URLs are tracked, too.
{
	my $values = join ",\n", map {
		my $id = BrowserSession::Provider::new_id($_->{provider});
		"('$_->{name}', '$id', now())"
	} @servers;
	my ($ret, $out, $err) =
	  $node->psql('postgres', <<SQL, on_error_stop => 0);
$everything
INSERT INTO bsession_tracked (provider, session_id, expires_at)
VALUES $values RETURNING *;
SELECT t.* FROM job, LATERAL bsession_track(server, stop_url, now()) t
 WHERE stop_url LIKE '%/session/stop-%';
BEGIN;
SELECT b.* FROM job, LATERAL bsession_end(server, stop_url) b
 WHERE stop_url LIKE '%/session/stop-%';
ROLLBACK;
SQL
	unlike($err, qr/^psql:\S+ ERROR/m, 'sessions are tracked');
	clean($out, 'tracking: rows');
	clean($err, 'tracking: messages');
	wait_until(
		'every tracked session has been tried',
		sub {
			$node->safe_psql('postgres', <<SQL) eq 't';
SELECT NOT EXISTS (SELECT FROM bsession_tracked
	WHERE attempts = 0 OR claimed_by IS NOT NULL)
	AND EXISTS (SELECT FROM bsession_audit WHERE rolled_back)
SQL
		});

	my $rows = $node->safe_psql('postgres', <<SQL);
SELECT to_jsonb(t) FROM bsession_tracked t;
SELECT to_jsonb(a) FROM bsession_audit a;
SELECT to_jsonb(w) FROM bsession_worker w;
SELECT to_jsonb(s) FROM bsession_stats s;
SELECT to_jsonb(a) FROM pg_stat_activity a;
SQL

	like($rows, qr/stop-s_browserless_good/, 'a stop URL is tracked by its id');
	like($rows, qr/"reason": "expiry"/, 'the worker is audited');
	clean($rows, 'tracked sessions, the audit, and the worker');
}

# All of this is in the log, which holds nothing of it.
{
	my $log = log_text();

	like($log, qr/DEBUG:/, 'the server log is at debug level');
	like($log, qr/end_job/, '… and has the errors');
	clean($log, '… and no secret');
}

# A secret that cannot be used is not repeated, either.
foreach my $option (
	"api_key E'$key\\nX-Injected: 1'",
	"api_key E'$key\\r'",
	"api_key '$key', username '$user'",
	"username E'$user:\\n', password '$key'",
	"password '$key'",
	"api_key_file '$directory/none', api_key '$key'")
{
	my ($ret, $out, $err) =
	  $node->psql('postgres', <<SQL, on_error_stop => 0);
\\set VERBOSITY verbose
DROP USER MAPPING IF EXISTS FOR postgres SERVER s_stagehand_good;
BEGIN;
CREATE USER MAPPING FOR CURRENT_USER SERVER s_stagehand_good OPTIONS ($option);
SELECT * FROM bsession_end('s_stagehand_good', 'abc');
ROLLBACK;
SQL

	# psql quotes the line of a statement only for syntax errors.
	clean($err, 'messages about a bad secret');
	clean($out, 'rows after a bad secret');
}

# Those statements had the secret typed in them, and PostgreSQL logs
# statements that fail; the error itself must not repeat it.
clean(
	log_text() =~ s/^.*STATEMENT:  .*\n(?:\t.*\n)*//gmr,
	'the errors in the log about a bad secret');

# A secret in a SERVER option, where everyone could read it, is refused.
foreach my $option ([ api_key => $key ],
	[ base_url => "https://$user:$key\@127.0.0.1/" ])
{
	my ($name) = @$option;
	my $options =
	  BrowserSession::Node::options(provider => 'anchor', @$option);
	my ($ret, $out, $err) = $node->psql('postgres',
		"CREATE SERVER leak FOREIGN DATA WRAPPER browser_session$options");

	like($err, qr/ERROR:.*$name/, "a secret in the option $name is refused");
	clean($err, '… without repeating it');
}

# What others see of a call that waits.
{
	$node->safe_psql('postgres',
		"ALTER SERVER s_browserless_slow OPTIONS (SET timeout '20000')");
	my $waiting = $node->background(<<SQL);
SET application_name = 'waiting';
SELECT b.* FROM job, LATERAL bsession_end(server, stop_url) b
 WHERE server = 's_browserless_slow';
SQL
	wait_until('the exchange has begun',
		sub { $sim->stats->{in_flight} > 0; });
	my $activity = $node->safe_psql('postgres',
		"SELECT to_jsonb(a) FROM pg_stat_activity a");
	like($activity, qr/"waiting"/, 'a waiting call is in pg_stat_activity');
	clean($activity, 'pg_stat_activity');

	# The command line of the process, as ps shows it.
	my $pid = $node->safe_psql('postgres',
		q(SELECT pid FROM pg_stat_activity WHERE application_name = 'waiting')
	);
	my $title = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/cmdline");
	like($title, qr/postgres/, 'a waiting call is in the process list');
	clean($title, 'the title of its process');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	$node->finish($waiting);
}

# The catalogue holds secrets in user mappings only.
clean(
	$node->safe_psql('postgres', <<SQL),
SELECT to_jsonb(s) FROM pg_foreign_server s;
SELECT to_jsonb(p) FROM bsession_providers() p;
SELECT to_jsonb(s) FROM pg_settings s;
SQL
	'servers, providers and settings');

done_testing();
