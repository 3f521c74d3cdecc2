# 004_cancel.pl
#
# A query that waits for a provider ends at once when PostgreSQL wants it to:
# by statement_timeout, pg_cancel_backend() and pg_terminate_backend(),
# whatever the exchange is waiting for, and with PostgreSQL's own message.
# Many cancels leave nothing behind, and a waiting backend holds up nobody
# else.
#
# The aim is to end within half a second of being asked; the measured times
# are printed.  What is asserted is only that the provider's own ten seconds
# or more are not waited for.
#
# BROWSER_SESSION_CANCELS sets how many cancels one backend goes through.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::NameServer;
BEGIN { BrowserSession::NameServer::arrange(); }

use BrowserSession::Node;
use BrowserSession::Poll qw(wait_until);
use BrowserSession::Wire;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $cancels = $ENV{BROWSER_SESSION_CANCELS} // 100;
my $limit = 3;
my $node = BrowserSession::Node->start_new('main');
my $wire = BrowserSession::Wire->new(
	silence => sub { $_[0]->hang; return; },
	trickle => sub {
		$_[0]->trickle(
			"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" . ' ' x 100);
		return;
	});
my $tls_stall = BrowserSession::Wire->new(accept => sub { $_[0]->hang; });

my %url = (
	silence => $wire->url('silence'),
	trickle => $wire->url('trickle'),
	tls_stall => 'https://127.0.0.1:' . $tls_stall->port);
$url{name_server} = 'https://provider.example'
  if BrowserSession::NameServer::silent();
my @faults = sort keys %url;

$node->account(
	$_,
	provider => 'stagehand',
	base_url => $url{$_},
	timeout => 60_000) foreach @faults;

# Faults in which cancelling takes its time: many cancels would take hours.
my %slow;

# Runs a function on two sessions as well as on one.
my %call = (
	bsession_end => "'abc'",
	bsession_end_many => "ARRAY['abc', 'def']");

# statement_timeout; psql measures, so that its own start does not count.
foreach my $fault (@faults)
{
	foreach my $function (sort keys %call)
	{
		my ($ret, $out, $err) =
		  $node->psql('postgres', <<SQL, on_error_stop => 0);
\\set VERBOSITY verbose
SET statement_timeout = '300ms';
\\timing on
SELECT * FROM $function('$fault', $call{$function});
\\timing off
SELECT 'alive';
SQL
		my ($ms) = $out =~ /^Time: ([0-9.]+) ms/m;

		like(
			$err,
			qr/ERROR:  57014: canceling statement due to statement timeout/,
			"$function, $fault: statement_timeout has PostgreSQL's message");
		like($out, qr/^alive$/m, '… and the session goes on');
		cmp_ok($ms, '<', 300 + 1000 * $limit, '… at once')
		  or $slow{$fault} = 1;
		note sprintf '%s, %s: %.0f ms beyond the time-out',
		  $function, $fault, $ms - 300;
	}
}

# pg_cancel_backend() and pg_terminate_backend(), while the exchange waits.
foreach my $fault (@faults)
{
	check_signal($fault, 'pg_cancel_backend',
		qr/ERROR:  canceling statement due to user request/);
}
check_signal('silence', 'pg_terminate_backend',
	qr/FATAL:  terminating connection due to administrator command/);

sub check_signal
{
	my ($fault, $function, $message) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $waiting = start_waiting($fault);

	my $start = time;
	$node->safe_psql('postgres', "SELECT $function($waiting->{pid})");
	my ($out, $err) = $node->finish($waiting);
	my $seconds = time - $start;

	like($err, $message, "$fault: $function has PostgreSQL's message");
	cmp_ok($seconds, '<', $limit, '… and works at once');
	note sprintf '%s: %s within %.0f ms, two starts of psql included',
	  $fault, $function, $seconds * 1000;
	return;
}

# Starts a call in the background that hangs; its backend's pid is {pid}.
sub start_waiting
{
	my ($fault) = @_;
	my $before = $wire->connections + $tls_stall->connections;
	my $waiting = $node->background(
		join '',
		"SET application_name = 'waiting';\n",
		"SELECT * FROM bsession_end('$fault', 'abc');\n");

	# A name that is not found yet leads to no connection.
	wait_until(
		'the exchange has begun',
		sub {
			$waiting->{pid} = $node->safe_psql(
				'postgres',
				q(SELECT pid FROM pg_stat_activity WHERE application_name = 'waiting'
				AND state = 'active' AND query LIKE 'SELECT * FROM bsession_end%'
				AND wait_event IS NOT NULL));
			return 0 if $waiting->{pid} eq '';
			return $fault eq 'name_server'
			  || $wire->connections + $tls_stall->connections > $before;
		});
	return $waiting;
}

# Many cancels in one backend leave neither file descriptors nor memory
# behind.  A few go before the count, to fill caches.
foreach my $fault (@faults)
{
	if ($slow{$fault})
	{
		fail("$fault: $cancels cancels, each of which takes too long");
		next;
	}
	my $row = many_cancels($fault, 20, $cancels);

	is($row->{canceled}, $cancels + 20, "$fault: $cancels cancels");
	is($row->{threads_after}, 1, '… leave no thread');
	cmp_ok($row->{fds_after}, '<=', $row->{fds_before},
		'… leave no file descriptor')
	  or diag $row->{fd_list};
	cmp_ok($row->{memory_after} - $row->{memory_before},
		'<=', 65536, '… no memory context');

	# The allocator keeps some of what it once had.
	cmp_ok(
		$row->{rss_after} - $row->{rss_before},
		'<',
		4096 + BrowserSession::Node::memory_allowance() + 2 * $cancels,
		'… no other memory');
	note sprintf
	  '%s: %d cancels: descriptors %d -> %d, contexts %d -> %d bytes, '
	  . 'resident %d -> %d kB', $fault, $cancels,
	  map { $row->{"${_}_before"}, $row->{"${_}_after"} } qw(fds memory rss);
}

# Lets one backend go through a number of cancels and looks at it before and
# after.
sub many_cancels
{
	my ($fault, $warm_up, $count) = @_;
	my $cancel = "SELECT * FROM bsession_end('$fault', 'abc');\n";
	my $on = "SET statement_timeout = '20ms';\n";

	# The threads of name look-ups live until the name server's time is over.
	my $off = <<'SQL';
SET statement_timeout = 0;
DO $$
BEGIN
	FOR i IN 1 .. 1200 LOOP
		EXIT WHEN (SELECT count(*) FROM pg_ls_dir('/proc/self/task')) = 1;
		PERFORM pg_sleep(0.1);
	END LOOP;
END
$$;
SELECT (SELECT count(*) FROM pg_ls_dir('/proc/self/task')) AS threads,
       (SELECT count(*) FROM pg_ls_dir('/proc/self/fd')) AS fds,
       (SELECT sum(total_bytes) FROM pg_backend_memory_contexts) AS memory,
       substring(pg_read_file('/proc/self/status')
                 FROM 'VmRSS:\s+(\d+)') AS rss,
       (SELECT string_agg(fd, ' ') FROM pg_ls_dir('/proc/self/fd') fd) AS list;
SQL
	my ($out, $err) = $node->finish(
		$node->background(
			join('',
				$on, $cancel x $warm_up,
				$off, $on, $cancel x $count, $off),
			timeout => 10 * $PostgreSQL::Test::Utils::timeout_default));
	my @measured = map { [ split /\|/ ] } split /\n/, $out;
	my %row = (fd_list => $measured[1][4]);

	foreach my $i (0, 1)
	{
		@row{ map { $_ . ($i ? '_after' : '_before') }
			  qw(threads fds memory rss) } = @{ $measured[$i] };
	}
	$row{canceled} = () =
	  $err =~ /ERROR:  canceling statement due to statement timeout/g;
	return \%row;
}

# DROP DATABASE waits for every backend to take part in a barrier; one that
# waits for a provider does.
{
	$node->safe_psql('postgres', 'CREATE DATABASE other');
	my $waiting = start_waiting('silence');
	my $start = time;

	$node->safe_psql('postgres', 'DROP DATABASE other');
	my $seconds = time - $start;
	is( $node->safe_psql(
			'postgres',
			"SELECT state FROM pg_stat_activity WHERE pid = $waiting->{pid}"),
		'active',
		'DROP DATABASE returned during the exchange');
	cmp_ok($seconds, '<', $limit, '… at once');
	note sprintf 'DROP DATABASE: %.0f ms, the start of psql included',
	  $seconds * 1000;
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($waiting->{pid})");
	$node->finish($waiting);
}

SKIP:
{
	skip 'no name server could be silenced: '
	  . (BrowserSession::NameServer::why_not() // 'unknown'), 1
	  unless BrowserSession::NameServer::silent();
	ok(1, 'the name server was a silent one');
}

done_testing();
