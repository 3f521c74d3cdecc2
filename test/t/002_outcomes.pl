# 002_outcomes.pl
#
# The table of outcomes: every outcome, by a real exchange, for every provider
# that can produce it.  What providers leave open is tried both ways.  The
# test ends by comparing what was produced with the table of what can be.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Node;
use BrowserSession::Provider;
use BrowserSession::Sim;
use BrowserSession::Wire;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = BrowserSession::Node->start_new('main');
my $sim = BrowserSession::Sim->new;
my %done = map { $_ => 1 } qw(ended already_ended);
my %produced;

my @providers = BrowserSession::Provider::names();

# Those whose replies tell a status, and those that document JSON.
my @with_status = qw(acme anchor browser_use browser_use_browser browserbase);
my @with_json = grep { $_ ne 'browserless' } @providers;
my @with_key = grep { $_ ne 'webdriver' } @providers;

# Makes the account s at a provider whose simulator behaves as %$with says.
# Nothing is tried again unless the options say so.
sub account
{
	my ($provider, $with, %option) = @_;
	my $key = delete $option{key};

	$node->account(
		's',
		retries => 0,
		BrowserSession::Provider::options(
			$provider,
			$sim->url(BrowserSession::Provider::dialect($provider), %$with),
			$key),
		%option);
	return;
}

# Ends a session with the account s and compares the row with what is
# expected of it, beside what every row must fulfil.
sub check
{
	my ($provider, $what, $id, $outcome, %expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $row = $node->end('s', $id);

	$produced{$provider}{ $row->{outcome} }++;
	subtest "$provider: $what" => sub {
		is($row->{outcome}, $outcome, 'outcome')
		  or diag explain $row;
		is($row->{provider}, 's', 'provider is the server\'s name');
		is($row->{session_id}, $id, 'session_id');
		is($row->{done} ? 1 : 0, $done{$outcome} // 0, 'done');
		cmp_ok($row->{seconds}, '>', 0, 'elapsed');
		$expected{attempts} //= 1;
		if ($done{$outcome})
		{
			is($row->{error}, undef, 'no error');
			ok($row->{ended_at}, 'ended_at');
		}
		elsif ($outcome eq 'requested')
		{
			is($row->{ended_at}, undef, 'no ended_at');
		}
		else
		{
			like($row->{error}, qr/\S/, 'error');
			is($row->{ended_at}, undef, 'no ended_at');
		}
		foreach my $column (sort keys %expected)
		{
			if (ref $expected{$column})
			{
				like($row->{$column}, $expected{$column}, $column);
			}
			else
			{
				is($row->{$column}, $expected{$column}, $column);
			}
		}
	};
	return $row;
}

# An exchange with a fresh session at a provider that behaves so.
sub check_with
{
	my ($provider, $with, $outcome, %expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	account($provider, $with);
	return check(
		$provider,
		'with ' . (BrowserSession::Sim::with(%$with) || 'nothing'),
		BrowserSession::Provider::new_id($provider),
		$outcome, %expected);
}

# ended: a live session, and the simulator agrees that it is over.
foreach my $provider (@providers)
{
	my $id = BrowserSession::Provider::new_id($provider);
	my $dialect = BrowserSession::Provider::dialect($provider);

	account($provider, {});
	check($provider, 'a live session', $id, 'ended');
	is($sim->state($dialect, $id), 'ended', '… is over at the provider');
}

# already_ended: a session that never was, and one ended twice.  Chromedriver
# says 200 for either.
foreach my $provider (@providers)
{
	my $id = BrowserSession::Provider::new_id($provider);

	account($provider, {});
	if ($provider eq 'webdriver')
	{
		check(
			$provider,
			'an unknown session',
			BrowserSession::Provider::unknown_id($provider), 'ended');
		next;
	}
	check(
		$provider,
		'an unknown session',
		BrowserSession::Provider::unknown_id($provider),
		'already_ended');
	check($provider, 'a session to be ended twice', $id, 'ended');

	my $row = $node->end('s', $id);
	ok($row->{done}, "$provider: … the second time is done, too")
	  or diag explain $row;
	note "$provider: the second time: $row->{outcome}, "
	  . ($row->{http_status} // 'no')
	  . ' status';
	$produced{$provider}{ $row->{outcome} }++;
}

# already_ended: the reply shows an end that was not ours.
check_with('browser_use', { word => $_ },
	'already_ended', provider_status => $_)
  foreach qw(timed_out error);
check_with('browserbase', { word => $_ },
	'already_ended', provider_status => $_)
  foreach qw(TIMED_OUT ERROR);

# already_ended: gone by 404 or 410 where the document leaves it open.
foreach my $provider (
	qw(anchor browser_use browser_use_browser browserbase
	browserless stagehand))
{
	check_with($provider, { status => $_, body => 'json' },
		'already_ended', http_status => $_)
	  foreach 404, 410;
}
check_with('browserless', { status => 404, body => 'text' }, 'already_ended');

# Ending an ended one, as it may be answered: Browser Use and Browserbase with
# 200 and its status, or 404; Anchor also with 401.
foreach my $status (200, 404)
{
	check_second('browser_use', $status);
	check_second('browserbase', $status);
}
check_second('anchor', $_) foreach 200, 401, 404;

# Ends a session twice; the second time must be done.
sub check_second
{
	my ($provider, $status) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $id = BrowserSession::Provider::new_id($provider);

	account($provider, { endstatus => $status });
	foreach my $time ('first', 'second')
	{
		my $row = $node->end('s', $id);

		ok($row->{done},
			"$provider, $status for an ended one: the $time end is done")
		  or diag explain $row;
		$produced{$provider}{ $row->{outcome} }++;
	}
	return;
}

# requested: accepted, but still alive when confirm_timeout is over.
my %live = (
	acme => 'OPEN',
	anchor => 'running',
	browser_use => 'running',
	browser_use_browser => 'active',
	browserbase => 'RUNNING');
foreach my $provider (@with_status)
{
	account($provider, { word => $live{$provider} }, confirm_timeout => 400);
	my $row = check(
		$provider,
		'still alive after its end',
		BrowserSession::Provider::new_id($provider),
		'requested', provider_status => $live{$provider});
	cmp_ok($row->{seconds}, '<', 5, '… within confirm_timeout');
}
account('browserbase', { release => -1 }, confirm_timeout => 400);
check(
	'browserbase',
	'a release that does not happen',
	BrowserSession::Provider::new_id('browserbase'),
	'requested', provider_status => 'RUNNING');

# … and ended if the release comes in time.
foreach my $provider (qw(acme browserbase))
{
	account($provider, { release => 300 }, confirm_timeout => 10000);
	my $row = check(
		$provider,
		'a release in time',
		BrowserSession::Provider::new_id($provider), 'ended');
	cmp_ok($row->{seconds}, '>=', 0.3, '… was waited for');
}

# denied: another key, 403, and 407, which is a proxy's.
foreach my $provider (@with_key)
{
	account($provider, {}, key => 'wrong-key');
	check(
		$provider,
		'with a wrong key',
		BrowserSession::Provider::new_id($provider),
		'denied', http_status => 401);
}
foreach my $provider (@providers)
{
	check_with($provider, { status => $_ }, 'denied', http_status => $_)
	  foreach 403, 407;
}

# rejected: other 4xx, and a success that is none.
foreach my $provider (@providers)
{
	check_with($provider, { status => $_ }, 'rejected', http_status => $_)
	  foreach 400, 405, 409, 422;
}
account('browser_use', {});
check(
	'browser_use', 'an id that is no UUID',
	'not-a-uuid', 'rejected',
	http_status => 422);

my $wire = BrowserSession::Wire->new(
	failed =>
	  sub { $_[0]->reply(200, '{"success":false,"message":"busy"}'); return; }
);
$node->account('s',
	BrowserSession::Provider::options('stagehand', $wire->url('failed')));
check(
	'stagehand', '200 with success false',
	'abc', 'rejected',
	http_status => 200,
	error => qr/busy/);

# rate_limited, unavailable
foreach my $provider (@providers)
{
	check_with($provider, { status => 429 },
		'rate_limited', http_status => 429);
	check_with($provider, { status => $_ }, 'unavailable', http_status => $_)
	  foreach 500, 502, 503, 504;
}

# timed_out
foreach my $provider (@providers)
{
	account($provider, { delay => 20000 }, timeout => 200);
	my $row = check(
		$provider,
		'no answer in time',
		BrowserSession::Provider::new_id($provider),
		'timed_out', http_status => undef);
	cmp_ok($row->{seconds}, '<', 10, '… is not waited for');
}

# unreachable: nobody listens.
my $closed = PostgreSQL::Test::Cluster::get_free_port();
foreach my $provider (@providers)
{
	account($provider, {}, base_url => "http://127.0.0.1:$closed");
	check(
		$provider,
		'nobody listens',
		BrowserSession::Provider::new_id($provider),
		'unreachable', http_status => undef);
}

# bad_reply: what shows a wrong base URL, or cannot be understood.  What the
# routers of Browserless and Acme say in text of their own is not known to be
# a router's; it must be no end, which is tried further down.
foreach my $provider (@providers)
{
	check_with($provider, { status => 404, body => 'router' }, 'bad_reply')
	  unless $provider eq 'browserless' || $provider eq 'acme';
	check_with($provider, { status => 404, body => 'html' }, 'bad_reply');
	check_with($provider, { status => 200, body => 'html' }, 'bad_reply');
	check_with($provider, { status => 302 }, 'bad_reply', http_status => 302);
}
foreach my $provider (@with_json)
{
	check_with($provider, { status => 200, body => $_ }, 'bad_reply')
	  foreach qw(text empty);
}

# A wrong base URL whose router answers for itself.
foreach my $provider (@providers)
{
	my $dialect = BrowserSession::Provider::dialect($provider);

	account($provider, {}, base_url => $sim->url($dialect) . '/elsewhere');
	my $row = $node->end('s', BrowserSession::Provider::new_id($provider));
	ok(!$row->{done}, "$provider: a wrong path in the base URL is no end")
	  or diag explain $row;
}

# The table: nothing is missing in it.
my @outcomes = qw(ended already_ended requested denied rejected rate_limited
  unavailable timed_out unreachable bad_reply);
my %cannot = (
	already_ended => { webdriver => 1 },
	requested => { map { $_ => 1 } qw(browserless grid stagehand webdriver) }
);

note sprintf '%-20s' . ' %-13s' x @outcomes, '', @outcomes;
foreach my $provider (@providers)
{
	note sprintf '%-20s' . ' %-13s' x @outcomes, $provider,
	  map { $produced{$provider}{$_} // '-' } @outcomes;
	my @missing =
	  grep { !$produced{$provider}{$_} && !$cannot{$_}{$provider} } @outcomes;
	is("@missing", '', "$provider: every outcome it can have was produced");
}

done_testing();
