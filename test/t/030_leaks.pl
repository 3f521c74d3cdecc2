# 030_leaks.pl
#
# What a backend and the worker still have of their own memory, libcurl's and
# jansson's at their end and have lost: nothing, whatever became of the
# attempts.  LeakSanitizer looks when a process exits.  Only for make
# test-asan, which has the library in the server.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Poll qw(wait_until);
use BrowserSession::Sim;
use BrowserSession::Worker;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'the server was not started with a sanitizer'
  unless $ENV{BROWSER_SESSION_ASAN};

my $reports = PostgreSQL::Test::Utils::tempdir();
$ENV{BROWSER_SESSION_ASAN} .=
	':detect_leaks=1:exitcode=0:fast_unwind_on_malloc=0'
  . ":log_threads=0:log_path=$reports/report";

my $sim = BrowserSession::Sim->new;
my $node = BrowserSession::Worker->start_new(
	'main',
	conf => <<CONF);
browser_session.max_attempts = 2
browser_session.retry_delay = '10ms'
browser_session.max_retry_delay = '10ms'
CONF

# A server for each way in which an attempt can go.
my %with = (
	fine => {},
	busy => { status => 429 },
	down => { status => 503 },
	denied => { status => 401 },
	broken => { body => 'html' },
	cut => { cut => 1 },
	big => { pad => 1_000_000 },
	redirected => { redirect => 'http%3A%2F%2F127.0.0.1%3A1%2F' },
	silent => { delay => 60_000 });
my @servers = sort keys %with;

foreach my $server (@servers)
{
	$node->simulated($sim, $server, 'stagehand', $with{$server},
		retries => 1, timeout => 200);
}
$node->account(
	'nobody',
	provider => 'stagehand',
	base_url => 'http://127.0.0.1:1',
	retries => 0);

my $calls = join '',
  map { "SELECT bsession_end('$_', 'a-1');\n"
	  . "SELECT count(*) FROM bsession_end_many('$_', ARRAY['m-1', 'm-2']);\n" }
  @servers, 'nobody';

# Through SQL errors, a rollback, a savepoint, a cancelled call, the sweep.
my $script = $calls x 3 . <<'SQL';
SELECT bsession_end('fine', '../all');
SELECT bsession_end('none', 'x');
BEGIN; SELECT bsession_end('fine', 'r-1'); ROLLBACK;
BEGIN; SAVEPOINT s; SELECT bsession_end('fine', 'r-2'); ROLLBACK TO s; COMMIT;
SET statement_timeout = 50;
SELECT bsession_end('silent', 'c-1');
SELECT count(*) FROM bsession_end_many('silent', ARRAY['c-2', 'c-3']);
RESET statement_timeout;
SELECT bsession_track('fine', 's-' || n, ttl => '1 hour')
  FROM generate_series(1, 5) AS n;
SELECT bsession_expire('fine', 's-1');
SELECT count(*) FROM bsession_end_expired();
SQL

my ($status, $out, $errors) =
  $node->psql('postgres', $script, on_error_stop => 0);
like($errors, qr/statement timeout/, 'the script reached the cancelled call');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM bsession_audit'),
	'>', 60, '… having made attempts of all kinds');

foreach my $server (@servers)
{
	$node->track($server, 'now()', map { "w-$_" } 1 .. 5);
}
wait_until(
	'the worker has done with all',
	sub {
		$node->safe_psql('postgres', <<'SQL') == 0;
SELECT count(*) FROM bsession_tracked
 WHERE session_id LIKE 'w-%' AND provider IN ('fine', 'broken', 'busy')
   AND (outcome IS NULL OR (provider = 'fine' AND state <> 'ended'))
SQL
	});
$node->stop;
$sim->stop;

my ($looked, @ours) = (0);
foreach my $file (glob "$reports/*")
{
	my $text = PostgreSQL::Test::Utils::slurp_file($file);

	$looked++;
	push @ours,
	  grep { m{\bsrc/\w+\.[ch]:|browser_session\.so|libcurl|libjansson}
		  || /ERROR: AddressSanitizer|fatal error/ }
	  split /\n\n/, $text;
}
is(scalar @ours, 0, 'nothing of ours was lost by any process')
  or diag join "\n\n", @ours[ 0 .. ($#ours < 9 ? $#ours : 9) ];
note "$looked processes have lost memory of others";

done_testing();
