# 010_chromedriver.pl
#
# A real browser: the shell commands of README.md's first steps start
# chromedriver and open a session, SQL ends it, and chromedriver agrees.
#
# What differs from the document is the port, which may be taken on this
# machine.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Document;
use BrowserSession::Node;
use BrowserSession::Poll qw(wait_until);
use HTTP::Tiny;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'there is no chromedriver (Debian: chromium-driver)'
  unless grep { -x "$_/chromedriver" } split /:/, $ENV{PATH};

my @commands = map { $_->{text} }
  BrowserSession::Document::blocks("$FindBin::RealBin/../../README.md");
my ($start) = map { /\A(chromedriver[^\n]*)&\n\z/ } @commands;
my ($open) = grep { /\Acurl .*sessionId/s } @commands;

ok($start && $open, 'the commands are in the document');

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $driver = "http://127.0.0.1:$port";
my $http = HTTP::Tiny->new(timeout => 60);
my $directory = PostgreSQL::Test::Utils::tempdir();

# chromedriver itself, without a shell around it, so that it can be stopped.
like($start, qr/--port=9515/, 'the port is the usual one');
$start =~ s/9515/$port/;
like($open, qr{http://127\.0\.0\.1:9515/}, '… of both commands');
$open =~ s/9515/$port/;
my $chromedriver =
  IPC::Run::start([ split ' ', $start ], '>', "$directory/chromedriver",
	'2>&1');
wait_until 'chromedriver is ready',
  sub { $http->get("$driver/status")->{success} };

my ($output, $errors) = ('', '');
IPC::Run::run([ 'sh', '-c', $open ], '<', \undef, '>', \$output, '2>',
	\$errors);
like($output, qr/\A"sessionId":"[0-9a-f]{32}"\n\z/, 'it prints the id')
  or diag $errors;
my ($id) = $output =~ /([0-9a-f]{32})/;

my $node = BrowserSession::Node->start_new('main');
$node->safe_psql('postgres',
	    'CREATE SERVER webdriver FOREIGN DATA WRAPPER browser_session '
	  . "OPTIONS (base_url '$driver')");

my $url = "$driver/session/$id/url";
is($http->get($url)->{status}, 200, 'the browser is there');
my $row = $node->end('webdriver', $id);
is($row->{outcome}, 'ended', 'SQL ends it');
is($row->{http_status}, 200, '… with status 200');
my $reply = $http->get($url);
is($reply->{status}, 404, 'it is gone');
like($reply->{content}, qr/invalid session id/, '… says chromedriver');

# What the document warns of: chromedriver says 200 to anything.
is($node->end('webdriver', $id)->{outcome},
	'ended', 'a session it does not know is ended as well');

$chromedriver->kill_kill;
done_testing();
