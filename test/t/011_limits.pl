# 011_limits.pl
#
# Limits hold whatever happens: max_rate after a cancelled call, with a key
# that is read from a file, with reads between the ends, and when the next
# turn comes too late; PostgreSQL's budget of file descriptors with several
# servers; the back-off of retries when Retry-After cannot be read.
#
# Gaps between requests are asserted from below, by the clock of whoever
# received them; durations from above, with a wide margin.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Node;
use BrowserSession::Provider;
use BrowserSession::Sim;
use BrowserSession::Wire;
use Cwd        ();
use List::Util qw(max min);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = BrowserSession::Node->start_new('main');
my $sim = BrowserSession::Sim->new;

sub account
{
	my ($provider, $with, %option) = @_;

	$node->account(
		's',
		BrowserSession::Provider::options(
			$provider, $sim->url($provider, %$with)),
		%option);
	$sim->forget;
	return;
}

# Seconds from the first to the last request at the simulator.
sub span
{
	my @at = map { $_->{at} / 1e6 } $sim->requests;

	return max(@at) - min(@at);
}

# How many rows have each outcome, as "outcome count".
sub outcomes
{
	my (@rows) = @_;
	my %count;

	$count{ $_->{outcome} }++ foreach @rows;
	return join ', ', map { "$_ $count{$_}" } sort keys %count;
}

# The ids of a cancelled call that were not sent leave no trace: the next call
# of the same backend waits for one turn, not for theirs.
{
	account('stagehand', {}, max_rate => 2);
	my ($ret, $out, $err) =
	  $node->psql('postgres', <<SQL, on_error_stop => 0);
SET statement_timeout = '700ms';
SELECT count(*) FROM bsession_end_many('s',
       ARRAY(SELECT 'cancelled-' || n FROM generate_series(1, 20) n));
RESET statement_timeout;
SELECT outcome, extract(epoch FROM clock_timestamp() - statement_timestamp())
  FROM bsession_end('s', 'next');
SQL
	my ($outcome, $seconds) = split /\|/, $out;
	my @requests = $sim->requests;

	like($err, qr/statement timeout/, 'a call at two a second is cancelled');
	cmp_ok(scalar @requests, '<', 10, '… before most of its ids were sent');
	is($outcome, 'ended', '… and the next call is answered');
	cmp_ok($seconds, '<', 3, '… without waiting for the turns of those ids');
	cmp_ok(($requests[-1]{at} - $requests[-2]{at}) / 1e6,
		'>=', 0.35, '… but not before its own');
	note sprintf 'next call: %.3f s', $seconds;
}

# Five calls at four a second, by an account that is made anew each time.
{
	my $file =
	  Cwd::abs_path(PostgreSQL::Test::Utils::tempdir()) . '/api_key';

	PostgreSQL::Test::Utils::append_to_file($file, "sim-key\n");
	account(
		'stagehand', {},
		max_rate => 4,
		mapping => { api_key_file => $file });
	my @rows = $node->rows(
		q(generate_series(1, 5) n, LATERAL bsession_end('s', 'file-' || n)));

	is(outcomes(@rows), 'ended 5', 'five calls with a key from a file');
	cmp_ok(span(), '>=', 0.8, '… keep to four a second');
	note sprintf 'key from a file: %.3f s', span();
}
{
	account('stagehand', {}, max_rate => 4);
	$node->safe_psql(
		'postgres',
		join '',
		map {
			"ALTER USER MAPPING FOR PUBLIC SERVER s"
			  . " OPTIONS (SET api_key 'sim-key');\n"
			  . "SELECT outcome FROM bsession_end('s', 'altered-$_');\n"
		} 1 .. 5);
	is(scalar $sim->requests, 5, 'five calls, each after an ALTER');
	cmp_ok(span(), '>=', 0.8, '… keep to four a second');
	note sprintf 'altered: %.3f s', span();
}

# Reads that confirm an end come before ends that have not begun, which would
# otherwise take all turns until it is too late for the reads: sixty ends
# alone take longer than the time there is to confirm one.
foreach my $n (20, 60)
{
	account('browserbase', { release => 100 }, max_rate => 20);
	my @rows = $node->end_many('s', [ map { "read-$n-$_" } 1 .. $n ]);
	my @requests = $sim->requests;
	my (%at, @waits);

	push @{ $at{ $_->{target} } }, $_->{at} / 1e6 foreach @requests;
	@waits = map { $_->[1] - $_->[0] } grep { @$_ > 1 } values %at;
	is(outcomes(@rows), "ended $n", "$n ids that need a read are all ended");
	is(scalar @waits, $n, '… each after a read');
	cmp_ok(max(@waits), '<', 1.8, '… that was made in time');
	cmp_ok(span(), '>=', (@requests - 1) / 20 * 0.9 - 0.2,
		'… and ends and reads together keep to twenty a second');
	note sprintf '%d ids: %d requests in %.2f s, a read after %.2f s at most',
	  $n, scalar @requests, span(), max(@waits);
}

# Where the next turn comes too late, the call ends with what it has.
{
	my %limit = (max_rate => 0.2, timeout => 1000, retries => 1);

	account('stagehand', { status => 503 }, %limit);
	my $row = $node->end('s', 'late', statement_timeout => '60s');
	is($row->{outcome}, 'unavailable', 'a retry whose turn is too late');
	is($row->{attempts}, 1, '… is not made');
	cmp_ok($row->{seconds}, '<', 4, '… nor waited for');

	account('browserbase', { release => -1 }, %limit);
	$row = $node->end('s', 'late', statement_timeout => '60s');
	is($row->{outcome}, 'requested', 'a read whose turn is too late');
	is(scalar $sim->requests('late'), 1, '… is not made');
	cmp_ok($row->{seconds}, '<', 4, '… nor waited for');
}

# Connections that are kept alive to one server make room for another's, where
# the budget of file descriptors allows for few.
{
	my $small = BrowserSession::Node->start_new('small',
		conf => "max_files_per_process = 100\n");
	my %server = (d1 => $sim, d2 => BrowserSession::Sim->new);
	my @order = qw(d1 d2 d1 d2);

	foreach my $name (sort keys %server)
	{
		$small->account(
			$name,
			BrowserSession::Provider::options(
				'stagehand', $server{$name}->url('stagehand', delay => 20)),
			retries => 0);
		$server{$name}->forget;
	}
	my ($out, $err) = $small->finish(
		$small->background(
			join '',
			map { <<SQL } 0 .. $#order));
SELECT '$order[$_]', outcome, count(*), min(error)
  FROM bsession_end_many('$order[$_]',
       ARRAY(SELECT '$_-' || n FROM generate_series(1, 60) n))
 GROUP BY outcome ORDER BY outcome;
SQL
	is($err, '', 'two servers in turn, with few file descriptors: no ERROR');
	is($out, join("\n", map { "$_|ended|60|" } @order), '… all are ended');
	foreach my $name (sort keys %server)
	{
		cmp_ok($server{$name}->stats->{max_in_flight},
			'>', 3, "… over several connections to $name");
		note "$name: " . $server{$name}->stats->{max_in_flight}
		  . ' in flight at most';
	}
}

# A provider that asks for a pause, in words that are none or that are.
my %advice = (
	words => { 'Retry-After' => 'soon' },
	empty => { 'Retry-After' => '' },
	negative => { 'Retry-After' => '-5' },
	nan => { 'Retry-After' => 'nan' },
	words_ms => { 'retry-after-ms' => 'abc' },
	empty_ms => { 'retry-after-ms' => '' },
	negative_ms => { 'retry-after-ms' => '-5' },
	words_and_seconds => { 'retry-after-ms' => 'abc', 'Retry-After' => '1' },
	huge => { 'Retry-After' => '99999999999999999999' },
	huge_ms => { 'retry-after-ms' => '99999999999999999999' },
	endless => { 'Retry-After' => '9' x 400 });
my $wire = BrowserSession::Wire->new(
	map {
		my $name = $_;
		$name => sub {
			$_[0]->reply(429, '{"message":"slow down"}', %{ $advice{$name} });
			return;
		}
	} keys %advice);

# Ends a session at a route with one retry; the row, and the gaps between the
# requests.
sub retry
{
	my ($route) = @_;

	$node->account('s',
		BrowserSession::Provider::options('stagehand', $wire->url($route)),
		retries => 1);
	$wire->forget;
	my $row = $node->end('s', 'abc');
	my @at = map { $_->{at} } $wire->requests;

	return ($row, map { $at[$_] - $at[ $_ - 1 ] } 1 .. $#at);
}

# 0.5 s, a quarter of it off at most.
foreach my $route (
	qw(words empty negative nan words_ms empty_ms negative_ms))
{
	my ($row, @gaps) = retry($route);
	my ($header) = %{ $advice{$route} };

	is($row->{outcome}, 'rate_limited',
		"$header: $advice{$route}{$header}, which cannot be read");
	is($row->{attempts}, 2, '… is tried again');
	is(scalar @gaps, 1, '… once');
	cmp_ok($gaps[0], '>=', 0.35, '… after the usual delay');
	note sprintf 'delay %.3f s', $gaps[0];
}

# The other header counts if one cannot be read.
{
	my ($row, @gaps) = retry('words_and_seconds');

	is($row->{attempts}, 2, 'retry-after-ms cannot be read, Retry-After can');
	cmp_ok($gaps[0], '>=', 0.95, '… and is obeyed');
}

# Longer than any deadline is not unreadable.
foreach my $route (qw(huge huge_ms endless))
{
	my ($row, @gaps) = retry($route);

	is($row->{outcome}, 'rate_limited', "a pause beyond all bounds: $route");
	is($row->{attempts}, 1, '… ends the call');
	is(scalar @gaps, 0, '… after one request');
	cmp_ok($row->{seconds}, '<', 10, '… at once');
}

done_testing();
