# 007_concurrency.pl
#
# Many exchanges at once: how many are in flight, in which order the rows
# come, what they cost, and when something is tried again.  Times are asserted
# from below, by the clock of the simulator's request log, or with a wide
# margin.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Node;
use BrowserSession::Provider;
use BrowserSession::Sim;
use BrowserSession::Wire;
use List::Util qw(max min);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = BrowserSession::Node->start_new('main');
my $sim = BrowserSession::Sim->new;

sub account
{
	my ($with, %option) = @_;

	$node->account(
		's',
		BrowserSession::Provider::options(
			'stagehand', $sim->url('stagehand', %$with)),
		%option);
	$sim->forget;
	return;
}

# Gaps in seconds between the requests for an id.
sub gaps
{
	my ($id) = @_;
	my @at = map { $_->{at} / 1e6 } $sim->requests($id);

	return map { $at[$_] - $at[ $_ - 1 ] } 1 .. $#at;
}

# 200 ids, 50 ms each: waves of max_in_flight, not one after the other.
{
	my @ids = map { "wave-$_" } 1 .. 200;

	account({ delay => 50 }, max_in_flight => 50);
	my ($ended, $seconds) = split /\|/, $node->safe_psql('postgres', <<SQL);
SELECT count(*) FILTER (WHERE outcome = 'ended'),
       extract(epoch FROM clock_timestamp() - statement_timestamp())
  FROM bsession_end_many('s',
       ARRAY(SELECT 'wave-' || n FROM generate_series(1, 200) n));
SQL
	my $stats = $sim->stats;

	is($ended, 200, '200 ids at a provider of 50 ms');
	is(scalar $sim->requests, 200, '… are 200 requests');
	cmp_ok($stats->{max_in_flight}, '<=', 50, '… at most 50 in flight');
	cmp_ok($stats->{max_in_flight}, '>', 25, '… and nearly as many');
	cmp_ok($seconds, '<', 5, '… far below the 10 s one by one');
	note sprintf
	  '200 ids of 50 ms, 50 in flight: %.3f s, %d in flight at most',
	  $seconds, $stats->{max_in_flight};
}

# The setting bounds what a server's option asks for.
{
	account({ delay => 50 }, max_in_flight => 50);
	$node->end_many(
		's',
		[ map { "bound-$_" } 1 .. 40 ],
		'browser_session.max_in_flight' => 8);
	cmp_ok($sim->stats->{max_in_flight},
		'<=', 8, 'browser_session.max_in_flight bounds the server\'s');
	cmp_ok($sim->stats->{max_in_flight}, '>', 4, '… and is made use of');
}

# A slow one does not hold up the others: as each ends, the next begins.
{
	my $wire = BrowserSession::Wire->new(
		v => sub {
			my ($connection, $request) = @_;

			$connection->idle(4) if $request->{target} =~ /slow/;
			return $connection->reply(200, '{"success":true}',
				Connection => undef);
		});
	$node->account(
		's',
		BrowserSession::Provider::options('stagehand', $wire->url('v')),
		max_in_flight => 2);
	my @rows =
	  $node->end_many('s', [ 'slow', map { "fast-$_" } 1 .. 50 ]);
	my @requests = $wire->requests;
	my ($slow) = map { $_->{at} } grep { $_->{target} =~ /slow/ } @requests;
	my $last = max(map { $_->{at} } @requests);

	is(scalar(grep { $_->{outcome} eq 'ended' } @rows),
		51, 'one slow id and fifty others, two in flight');
	cmp_ok($last - $slow, '<', 3.9, '… which did not wait for the slow one');
	cmp_ok($wire->connections, '<=', 2, '… on two connections');
}

# Rows come in the ids' order, whatever happened to each; a bad id is a row.
{
	account({});
	my @ids = (
		'order-1', 'all', 'order-2', '',
		'unknown-3', 'a/b', 'order-4', '..',
		"order\n5", 'order-1', undef, 'x' x 513,
		'order-6', 'RELEASE', 'a?b', 'a#b',
		'%2f', "a\\b");
	my %bad = map { $_ => 1 }
	  grep { !defined $ids[$_] || $ids[$_] !~ /\A(?:order|unknown)-\d\z/ }
	  0 .. $#ids;
	my @rows = $node->end_many('s', \@ids);

	is(scalar @rows, scalar @ids, 'a row for each id');
	foreach my $i (0 .. $#ids)
	{
		my $row = $rows[$i];
		my $label = defined $ids[$i] ? substr($ids[$i], 0, 20) : 'NULL';

		$label =~ s/\n/\\n/g;
		is($row->{session_id}, $ids[$i], "row $i is that of its id");
		if ($bad{$i})
		{
			is($row->{outcome}, 'rejected', "… which is bad ($label)");
			is($row->{attempts}, 0, '… so nothing was sent');
			like($row->{error}, qr/\S/, '… and the error says why');
			is($row->{http_status}, undef, '… and there is no HTTP status');
		}
		else
		{
			like($row->{outcome}, qr/\A(?:already_)?ended\z/,
				"… which is good ($label)");
		}
	}
	is( scalar $sim->requests,
		scalar(@ids) - keys %bad,
		'only good ids were sent');
	is( scalar(
			grep { $_->{target} !~ m{\A/v1/sessions/[^/]+/end\z} }
			  $sim->requests),
		0,
		'each to its own path');
}

# Nothing to do.
is(scalar $node->end_many('s', []), 0, 'no ids, no rows');

# 10,000 ids, replies of 20 kB: 200 MB pass through, and little of it stays.
{
	my $status = q(pg_read_file('/proc/self/status'));

	account({ pad => 20_000 }, max_in_flight => 64);
	my @out = split /\n/, $node->safe_psql('postgres', <<SQL);
SELECT count(*) FROM bsession_end_many('s', ARRAY['warm-up']);
SELECT substring($status FROM 'VmHWM:\\s+(\\d+)');
SELECT count(*) FILTER (WHERE done), count(DISTINCT session_id),
       bool_and(session_id = 'bulk-' || n),
       extract(epoch FROM clock_timestamp() - statement_timestamp())
  FROM bsession_end_many('s',
       ARRAY(SELECT 'bulk-' || n FROM generate_series(1, 10000) n))
  WITH ORDINALITY AS r(provider, session_id, outcome, done, provider_status,
       http_status, attempts, elapsed, ended_at, error, response, n);
SELECT substring($status FROM 'VmHWM:\\s+(\\d+)');
SQL
	my ($done, $distinct, $in_order, $seconds) = split /\|/, $out[2];
	my $grown = ($out[3] - $out[1]) / 1024;

	is($done, 10_000, '10,000 ids in one call');
	is($distinct, 10_000, '… each with its row');
	is($in_order, 't', '… in order');
	cmp_ok($grown, '<', 100, '… in a fraction of what their replies take');
	note sprintf
	  '10,000 ids, 20 kB each: %.1f s, peak memory grew by %.1f MB',
	  $seconds, $grown;
}

# Connections are kept across calls, and between many at once.
{
	account({});
	my $before = $sim->stats->{connections};
	$node->rows(
		q(generate_series(1, 50) n, LATERAL bsession_end('s', 'keep-' || n)));
	is($sim->stats->{connections} - $before,
		1, 'fifty calls in a backend use one connection');

	$before = $sim->stats->{connections};
	$node->safe_psql('postgres', <<SQL);
SET browser_session.max_in_flight = 10;
SELECT count(*) FROM generate_series(1, 5) c, LATERAL
  bsession_end_many('s', ARRAY(SELECT format('many-%s-%s', c, n)
                                FROM generate_series(1, 40) n));
SQL
	cmp_ok($sim->stats->{connections} - $before,
		'<=', 10, 'five calls of forty use no more than are in flight');
	note 'five calls of forty, ten in flight: '
	  . ($sim->stats->{connections} - $before)
	  . ' connections';
}

# A key is the call's own: a kept connection does not carry it over.
{
	account({});
	my @rows = split /\n/, $node->safe_psql('postgres', <<SQL);
SELECT outcome FROM bsession_end('s', 'key-1');
ALTER USER MAPPING FOR PUBLIC SERVER s OPTIONS (SET api_key 'wrong');
SELECT outcome FROM bsession_end('s', 'key-2');
ALTER USER MAPPING FOR PUBLIC SERVER s OPTIONS (SET api_key 'sim-key');
SELECT outcome FROM bsession_end('s', 'key-3');
SQL
	is("@rows", 'ended denied ended', 'a changed key counts at once');
}

# max_rate, requests per second.
{
	account({}, max_rate => 20);
	my @rows = $node->end_many('s', [ map { "rate-$_" } 1 .. 60 ]);
	my @at = map { $_->{at} / 1e6 } $sim->requests;

	is(scalar(grep { $_->{outcome} eq 'ended' } @rows),
		60, '60 ids at 20 a second');

	# A second's worth may go at once in the beginning.
	cmp_ok(max(@at) - min(@at), '>=', 1.9, '… take their time');
	my $most = 0;
	foreach my $start (@at)
	{
		$most =
		  max($most, scalar grep { $_ >= $start && $_ < $start + 1 } @at);
	}
	cmp_ok($most, '<=', 42, '… and no second has many more');
	note sprintf '60 ids at 20 a second: %.2f s, at most %d in a second',
	  max(@at) - min(@at), $most;
}

# Failures that pass are tried again, with a growing delay.
foreach my $status (408, 429, 500, 502, 503, 504)
{
	account({ status => $status, times => 2 });
	my $row = $node->end('s', "retry-$status");
	my @gaps = gaps("retry-$status");

	is($row->{outcome}, 'ended', "twice $status, then the end");
	is($row->{attempts}, 3, '… at the third attempt');
	is(scalar @gaps, 2, '… that all arrived');

	# 0.5 s, then 1 s, a quarter of it off at most.
	cmp_ok($gaps[0], '>=', 0.37, '… the first delay');
	cmp_ok($gaps[1], '>=', 0.74, '… the second delay');
	note sprintf '%d: delays of %.3f s and %.3f s', $status, @gaps;
}
{
	account({ status => 503 });
	my $row = $node->end('s', 'retry-always');
	is($row->{outcome}, 'unavailable', '503 for ever');
	is($row->{attempts}, 3, '… is tried three times');
	like($row->{error}, qr/503/, '… and the error has the status');

	account({ status => 503 }, retries => 0);
	is($node->end('s', 'retry-none')->{attempts}, 1, 'retries 0');

	account({ status => 503 }, retries => 1);
	is($node->end('s', 'retry-one')->{attempts}, 2, 'retries 1');
}
foreach my $status (400, 401, 403, 404, 409, 410, 422, 302)
{
	account({ status => $status });
	$node->end('s', "once-$status");
	is(scalar $sim->requests("once-$status"), 1,
		"$status is not tried again");
}

# The provider's own word on whether to try again goes before all that.
{
	my $header = 'x-should-retry';
	my $wire = BrowserSession::Wire->new(
		yes => sub { $_[0]->reply(400, '{}', $header => 'true'); return; },
		no => sub { $_[0]->reply(503, '{}', $header => 'false'); return; });

	foreach my $case ([ yes => 3 ], [ no => 1 ])
	{
		my ($route, $attempts) = @$case;

		$node->account(
			's',
			BrowserSession::Provider::options(
				'stagehand', $wire->url($route)));
		is($node->end('s', 'abc')->{attempts}, $attempts, "$header: $route");
	}
}

# Many that are tried again do so side by side.
{
	account({ status => 503, times => 1 });
	my ($done, $seconds) = split /\|/, $node->safe_psql('postgres', <<SQL);
SELECT count(*) FILTER (WHERE done AND attempts = 2),
       extract(epoch FROM clock_timestamp() - statement_timestamp())
  FROM bsession_end_many('s',
       ARRAY(SELECT 'side-' || n FROM generate_series(1, 100) n));
SQL
	is($done, 100, 'a hundred retries');
	cmp_ok($seconds, '<', 20, '… side by side, not the 50 s one by one');
	note sprintf 'a hundred retries: %.2f s', $seconds;
}

# Retry-After is obeyed, in each of its forms.
my %retry_after = (
	'seconds' => [ { retry_after => 2 }, 2 ],
	'a date' => [ { retry_after_date => 3 }, 1.9 ],
	'milliseconds' => [ { retry_after_ms => 1500 }, 1.5 ]);
foreach my $form (sort keys %retry_after)
{
	my ($with, $least) = @{ $retry_after{$form} };
	my $id = 'after-' . (keys %$with)[0];

	account({ status => 429, times => 1, %$with });
	my $row = $node->end('s', $id);
	my ($gap) = gaps($id);

	is($row->{outcome}, 'ended', "Retry-After as $form");
	is($row->{attempts}, 2, '… at the second attempt');
	cmp_ok($gap, '>=', $least, '… not before its time');
	note sprintf 'Retry-After as %s: %.3f s', $form, $gap;
}
{
	account({ status => 503, times => 1, retry_after => 0 });
	my $row = $node->end('s', 'after-0');
	is($row->{outcome}, 'ended', 'Retry-After of 0');

	# Longer than the call may take: not waited for.
	account({ status => 429, retry_after => 50 }, timeout => 2000);
	$row = $node->end('s', 'after-50');
	is($row->{outcome}, 'rate_limited', 'Retry-After beyond the deadline');
	is($row->{attempts}, 1, '… ends the call');
	cmp_ok($row->{seconds}, '<', 10, '… at once');
	note sprintf 'Retry-After beyond the deadline: %.3f s', $row->{seconds};
}

# The time-out is one exchange's, and the call's deadline its multiple.
{
	account({ delay => 20_000 });
	my $row = $node->end('s', 'timeout-setting',
		'browser_session.request_timeout' => '300ms');
	is($row->{outcome}, 'timed_out', 'browser_session.request_timeout');
	cmp_ok($row->{seconds}, '>=', 0.3, '… is waited for');
	cmp_ok($row->{seconds}, '<', 10, '… and not much longer');

	account({ delay => 20_000 }, timeout => 300);
	$row = $node->end('s', 'timeout-option',
		'browser_session.request_timeout' => '1h');
	is($row->{outcome}, 'timed_out', 'the option timeout goes before it');
	cmp_ok($row->{seconds}, '<', 10, '… and not much longer');
}

done_testing();
