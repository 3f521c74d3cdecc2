# 022_fault_resources.pl
#
# A machine that is short of memory, descriptors or disk while sessions are
# ended, and processes that are interrupted or killed: by a direct call, one
# of many sessions, and the worker.  For each: the outcome, in time, nothing
# left behind, no session that is said to have ended and has not, and the
# worker ends them all when it is over.  What the README's table says of each
# is compared with what was seen.
#
# For want of memory, each allocation of an exchange fails once in turn, and
# then all from there on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Document;
use BrowserSession::Poll qw(wait_until);
use BrowserSession::Provider;
use BrowserSession::Scarcity;
use BrowserSession::Sim;
use BrowserSession::Wire;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => BrowserSession::Scarcity::why_not()
  if BrowserSession::Scarcity::why_not();

# Nothing takes as long, not even on a loaded machine, but what hangs.
my $timeout = 60;

my $sim = BrowserSession::Sim->new;
my $asked = PostgreSQL::Test::Utils::tempdir();
my $wire = BrowserSession::Wire->new(
	# Says nothing to the first request for a session.
	hang => sub {
		my ($connection, $request) = @_;
		my ($id) = $request->{target} =~ m{/sessions/([^/]+)};

		if (!-e "$asked/$id")
		{
			append_to_file("$asked/$id", '');
			return $connection->hang;
		}
		return $connection->reply(200, '{"success":true}');
	},

	# Wants a new connection for each request.
	closing => sub { $_[0]->reply(200, '{"success":true}'); return; });
my $node = BrowserSession::Scarcity->start_new('main', conf => <<'CONF');
restart_after_crash = on
autovacuum = off
log_statement = none
browser_session.retry_delay = 50ms
browser_session.max_retry_delay = 200ms
browser_session.max_attempts = 1000
CONF

# One whose end is a DELETE, with long strings in the answer; one with a body
# and a project; one that is asked by its stop URL.
$node->simulated($sim, 'anchor', 'anchor', { pad => 300 },
	retries => 0, timeout => $timeout * 1000);
$node->simulated($sim, 'browserbase', 'browserbase', {},
	project_id => 'project', retries => 0, timeout => $timeout * 1000);
$node->account('hang',
	BrowserSession::Provider::options('stagehand', $wire->url('hang')),
	retries => 0, timeout => 2 * $timeout * 1000);

$node->account('closing',
	BrowserSession::Provider::options('stagehand', $wire->url('closing')),
	retries => 0, timeout => $timeout * 1000);

# What was seen of each row of the README's table: outcomes, by way.
my %seen;

sub sql { return $node->safe_psql('postgres', @_); }

sub requests_for
{
	my ($id) = @_;

	return scalar grep { $_->{target} =~ m{/sessions/\Q$id\E(?:/|\z)} }
	  $wire->requests;
}

sub note_seen
{
	my ($fault, @outcomes) = @_;

	$seen{$fault}{$_}++ foreach @outcomes;
	return;
}

# ---- want of memory ----

# Makes a call again and again, each time with the next allocation failing,
# until none is left to fail.  %1$s and %2$s are the server and an id.
sql(<<'SQL');
CREATE TABLE seen (run text, n int, id text, outcome text, state text,
	message text, ms float);
CREATE FUNCTION try_all(run text, server text, call text, of_whom int, every int, most int)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz;
	own text;
	outcome text;
	state text;
	message text;
BEGIN
	FOR i IN 1 .. most LOOP
		own := run || '-' || i;
		outcome := NULL;
		state := NULL;
		message := NULL;
		began := clock_timestamp();
		BEGIN
			PERFORM scarce_arm(pg_backend_pid(), 1, of_whom, i, every, 1000000);
			EXECUTE format(call, server, own) INTO outcome, message;
			PERFORM scarce_arm(0, 0, 0, 0, 0, 0);
		EXCEPTION WHEN OTHERS THEN
			PERFORM scarce_arm(0, 0, 0, 0, 0, 0);
			outcome := NULL;
			state := SQLSTATE;
			message := SQLERRM;
		END;
		INSERT INTO seen VALUES (run, i, own, outcome, state, message,
			extract(epoch FROM clock_timestamp() - began) * 1000);
		IF scarce_failed() = 0 THEN
			RETURN i;
		END IF;
	END LOOP;
	RETURN most;
END
$$;
SQL

my %call = (
	direct => "SELECT outcome, error FROM bsession_end('%1\$s', '%2\$s')",
	many => 'SELECT string_agg(outcome, $$,$$), string_agg(error, $$,$$)'
	  . " FROM bsession_end_many('%1\$s', ARRAY['%2\$s', '%2\$s-b'])");

# A run of that kind: its name, the SQL.
sub try_all
{
	my ($run, $server, $way, $of_whom, $every) = @_;

	return sprintf "SELECT '%s', try_all('%s', '%s', \$call\$%s\$call\$,"
	  . " %d, %d, 600);\n", $run, $run, $server, $call{$way}, $of_whom, $every;
}

# All in one backend, whose descriptors and memory are counted after the first
# runs, which fill caches, and after the same ones once more.
{
	my @runs = (
		[ 'direct', 'anchor', 'direct', 1, 0 ],
		[ 'lasting', 'anchor', 'direct', 1, 1 ],
		[ 'body', 'browserbase', 'direct', 1, 0 ],
		[ 'many', 'anchor', 'many', 1, 0 ],
		[ 'server', 'anchor', 'direct', 2, 0 ]);
	my $count = <<'SQL';
SELECT 'counted', pg_backend_pid(), (SELECT count(*) FROM pg_ls_dir('/proc/self/fd')),
       scarce_in_use();
SQL
	my ($out, $err) = $node->finish(
		$node->background(
			join '',
			(map { try_all(@$_) } @runs),
			$count,
			(map { try_all("$_->[0]2", @{$_}[ 1 .. 4 ]) } @runs), $count));
	my %times = $out =~ /^(\w+)\|(\d+)$/mg;
	my @counted = $out =~ /^counted\|(\d+)\|(\d+)\|(\d+)$/mg;

	is($err, '', 'want of memory: the backend lives on');
	foreach my $run (map { $_->[0] } @runs)
	{
		note "$run: $times{$run} exchanges, then $times{$run . 2}";
		cmp_ok($times{$run}, '>', $run eq 'server' ? 1 : 20,
			"$run: so many allocations failed in turn");
		cmp_ok($times{$run}, '<', 600, '… and then none was left');
		like(
			sql("SELECT outcome FROM seen WHERE run = '$run' ORDER BY n DESC LIMIT 1"),
			qr/\A(?:ended(?:,|\z))+\z/,
			'… and it ended');
	}
	is($counted[3], $counted[0], '… as one and the same');
	cmp_ok($counted[4], '<=', $counted[1] + 2, '… without a descriptor more');
	cmp_ok($counted[5] - $counted[2], '<', 256, '… or memory');
	note sprintf 'descriptors %d -> %d, malloc %d -> %d kB', @counted[ 1, 4, 2, 5 ];

	foreach my $line (
		split /\n/,
		sql(<<'SQL'))
SELECT regexp_replace(run, '2$', '') AS run, coalesce(outcome, state), message, count(*), max(ms)::int
  FROM seen GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
SQL
	{
		my ($run, $outcome, $message, $n, $ms) = split /\|/, $line;

		note "$run: $outcome ($message): $n times";
		like(
			$outcome,
			qr/\A(?:53200|(?:(?:ended|already_ended|unreachable|bad_reply)(?:,|\z))+)\z/,
			"$run: $outcome");
		like($message, qr/memory/, '… for want of memory')
		  if $outcome =~ /53200|unreachable|bad_reply/;
		cmp_ok($ms, '<', 1000 * $timeout / 2, '… which nobody waits for');
		note_seen('no memory for an exchange', split /,/, $outcome)
		  unless $outcome =~ /ended/;
	}

	# What is said to have ended was asked to end, and in the right way.
	my (%asked, %methods);
	foreach my $request ($sim->requests)
	{
		my ($id) = $request->{target} =~ m{/sessions/([^/?]+)};

		$asked{$id}++;
		$methods{"$request->{method} " . ($id =~ /\Abody/ ? 'body' : 'anchor')}++
	}
	my @ended = split /\n/,
	  sql(q(SELECT id FROM seen WHERE outcome LIKE '%ended%'));
	is(scalar(grep { !$asked{$_} } @ended),
		0, 'what has ended was asked to');
	cmp_ok(scalar(@ended), '>', 0, '… and some have');
	is( join(', ', sort keys %methods),
		'DELETE anchor, GET body, POST body',
		'nothing was asked in another way');
	is( scalar(
			grep {
				$_->{method} eq 'POST'
				  && $_->{body} !~ /REQUEST_RELEASE.*"project"/
			} $sim->requests),
		0, '… or with less than it takes');
}

# The worker, with all kinds of memory: every so many allocations fail.
{
	my $pid = $node->worker->{pid};

	foreach my $of (qw(libraries server))
	{
		my @ids = map { "worker-$of-$_" } 1 .. 40;

		$node->arm(
			'memory',
			pid => $pid,
			of => $of,
			first => 3,
			every => $of eq 'server' ? 2 : 53,
			times => 4);
		$node->track('anchor', 'now()', @ids);
		$node->wait_for_end('anchor');
		cmp_ok(sql('SELECT scarce_failed()'),
			'>', 0, "the worker, short of memory of the $of");
		$node->disarm;
		is(scalar(grep { !$sim->requests($_) } @ids),
			0, '… ends all there is');
	}
	is($node->worker->{pid}, $pid, '… and lives on');
	like($node->worker->{last_error}, qr/out of memory/, '… and says why');
	unlike(
		sql(q(SELECT string_agg(DISTINCT outcome, ',') FROM bsession_audit WHERE reason = 'expiry')),
		qr/timed_out/,
		'… without waiting');
}

# ---- want of descriptors, of watches ----

# Calls and lets the worker end sessions while something is scarce; answers
# the outcomes of the calls and the worker.
sub ways
{
	my ($name, $what, %how) = @_;
	my $before = $node->worker->{pid};
	my ($out) = $node->finish(
		$node->background(
			join '',
			"\\set VERBOSITY sqlstate\n",
			"SELECT FROM bsession_end('anchor', '$name-first');\n",
			'SELECT '
			  . BrowserSession::Scarcity::arm_sql($what, %how,
				pid => 'pg_backend_pid()')
			  . ";\n",
			"SELECT 'direct', outcome, error FROM bsession_end('closing', '$name-d');\n",
			"\\if :ERROR\n\\echo direct|:LAST_ERROR_SQLSTATE|:LAST_ERROR_MESSAGE\n\\endif\n",
			"SELECT 'many', outcome, error FROM bsession_end_many('closing', '{$name-m,$name-n}');\n",
			"\\if :ERROR\n\\echo many|:LAST_ERROR_SQLSTATE|:LAST_ERROR_MESSAGE\n\\endif\n",
			'SELECT ' . BrowserSession::Scarcity::arm_sql('nothing') . ";\n",
			"SELECT 'after', outcome, error FROM bsession_end('closing', '$name-a');\n"
		));
	my @ways = map { [ split /\|/, $_, -1 ] } grep { /\|/ } split /\n/, $out;

	$node->arm($what, %how, pid => $before);
	$node->track('closing', 'now()', "$name-w");
	wait_until('the worker has met with it',
		sub { sql('SELECT scarce_failed()') > 0 });
	push @ways,
	  map { [ 'worker', $_->[0], $_->[1] ] }
	  wait_until(
		'… and said so',
		sub {
			my $row = $node->tracked('closing', "$name-w");

			return unless $row->{last_error};
			return [ '53000', $node->worker->{last_error} ]
			  if $row->{outcome} eq 'unknown';
			return [ $row->{outcome}, $row->{last_error} ];
		});
	$node->disarm;
	$node->wait_for_row('closing', "$name-w", state => 'ended');
	is($node->worker->{pid}, $before, "$name: the worker lives on");
	return @ways;
}

foreach my $fault (
	[   'no descriptor for a socket',
		'descriptors',
		qr/\Aunreachable\z/,
		qr/too many open files/ ],
	[   'no room to watch a socket', 'watches',
		qr/\A53000\z/, qr/could not watch a socket: No space left/ ])
{
	my ($name, $what, $outcome, $message) = @$fault;

	foreach my $way (ways($what, $what))
	{
		if ($way->[0] eq 'after')
		{
			is($way->[1], 'ended', "$name: and after that");
			next;
		}
		like($way->[1], $outcome, "$name, $way->[0]: $way->[1]");
		like($way->[2], $message, "… $way->[2]");
		note_seen($name, $way->[1]);
	}
}

# A direct call tries once more if it may.  The first descriptor can be one that
# libcurl does without: newer versions try what the machine can do.
{
	$node->simulated($sim, 'retrying', 'anchor', {}, retries => 2);
	my ($out) = $node->finish(
		$node->background(
			join '',
			'SELECT '
			  . BrowserSession::Scarcity::arm_sql('descriptors',
				pid => 'pg_backend_pid()', times => 2)
			  . ";\n",
			"SELECT outcome, attempts FROM bsession_end('retrying', 'retry');\n"));

	like($out, qr/^ended\|[23]$/m, 'no descriptor for a socket: tried again');
	$node->disarm;
}

# PostgreSQL's budget of descriptors is used up by others in this backend: by
# then no socket may be opened, or none waited for.
{
	my ($out, $err) = $node->finish(
		$node->background(<<'SQL'));
\set VERBOSITY verbose
SELECT scarce_take_descriptors() > 0;
SELECT outcome FROM bsession_end('anchor', 'budget-1');
SELECT scarce_give_back_descriptors() > 0;
SELECT outcome FROM bsession_end('anchor', 'budget-2');
SELECT pg_sleep(0) FROM bsession_end_many('anchor', ARRAY['budget-3', 'budget-4']);
SELECT scarce_take_descriptors() > 0;
SELECT outcome, error FROM bsession_end('browserbase', 'budget-5');
SELECT outcome, error FROM bsession_end('hang', 'budget-6');
SELECT scarce_give_back_descriptors() > 0;
SQL
	like($err, qr/ERROR:  53000: could not wait for sockets: Too many open files\n/,
		'the budget of descriptors is used up: nothing can be waited for');
	like($err, qr/HINT:.*max_files_per_process/, '… with a hint');
	like($out, qr/^ended$/m, '… until they are given back');
	like(
		$out,
		qr/^unreachable\|no connection: too many open files$/m,
		'… nor a socket be opened');
	is(scalar($sim->requests('budget-1')), 0, '… and nothing was sent');
	note_seen('the budget of descriptors is used up', 'unreachable', '53000');
}

# ---- a full disk ----

# The audit has no page to put a row on: an end cannot be recorded in the
# call's transaction, nor by the worker, which goes on trying.
{
	my $pid = $node->worker->{pid};
	my $arm = 'SELECT '
	  . BrowserSession::Scarcity::arm_sql('disk', pid => 'pg_backend_pid()');
	my %call = (
		'disk-d' => "bsession_end('anchor', 'disk-d')",
		'disk-m' => "bsession_end_many('anchor', '{disk-m}')");

	$node->track('anchor', "now() + interval '1 hour'", 'disk-d');
	foreach my $id (sort keys %call)
	{
		sql('TRUNCATE bsession_audit');
		my (undef, undef, $err) = $node->psql('postgres', <<SQL);
\\set VERBOSITY verbose
$arm;
SELECT outcome FROM $call{$id};
SQL
		like(
			$err,
			qr/ERROR:  53100: could not extend file .*: No space left on device/,
			"a full disk, $id: an ERROR at the commit");
		is(scalar($sim->requests($id)), 1, '… after the end was sent');
		wait_until('the worker has written what it was handed',
			sub { scalar $node->audit('anchor', $id) });
		is( join(', ',
				map { "$_->{outcome} $_->{rolled_back}" }
				  $node->audit('anchor', $id)),
			'ended 1',
			'… and is in the audit, by the worker');
	}
	is($node->tracked('anchor', 'disk-d')->{state},
		'active', '… which leaves the tracked session as it is');
	note_seen('a full disk', '53100');

	# Now it is the worker that has no room.
	sql('TRUNCATE bsession_audit');
	$node->arm('disk', pid => $pid);
	$node->track('anchor', 'now()', 'disk-w');
	wait_until('the worker has met with it',
		sub { ($node->worker->{last_error} // '') =~ /extend file/ });
	isnt($node->tracked('anchor', 'disk-w')->{state},
		'ended', 'disk-w: not recorded as ended');
	$node->disarm;
	$node->wait_for_row('anchor', 'disk-w', state => 'ended');
	is(scalar($sim->requests('disk-w')), 1, 'the worker asked once');
	is( join(' ', map { $_->{outcome} } $node->audit('anchor', 'disk-w')),
		'ended', '… which is in the audit');
	is($node->worker->{pid}, $pid, '… and it lives on');
	sql("SELECT bsession_expire('anchor', 'disk-d')");
	$node->wait_for_row('anchor', 'disk-d', state => 'ended');
}

# ---- interruptions ----

# Starts a direct call, one of many sessions, and the worker, each of which
# waits for a provider that says nothing; answers the two queries.
sub start_waiting
{
	my ($case, %option) = @_;
	my %query;

	$node->track('hang', "now() + interval '1 hour'",
		map { "$case-$_" } qw(direct many-1 many-2));
	$node->track('hang', 'now()', "$case-worker") if $option{worker};
	my %ids = (
		direct => "bsession_end('hang', '$case-direct')",
		many => "bsession_end_many('hang', '{$case-many-1,$case-many-2}')");
	foreach my $way (sort keys %ids)
	{
		$query{$way} = $node->background(
			"SELECT pg_backend_pid();\n"
			  . ($option{set} // '')
			  . "\\set VERBOSITY verbose\nSELECT outcome FROM $ids{$way};\n");
	}
	foreach my $id (qw(direct many-1 many-2), $option{worker} ? 'worker' : ())
	{
		wait_until("the request for $case-$id is under way",
			sub { requests_for("$case-$id") > 0 });
	}
	foreach my $way (keys %query)
	{
		($query{$way}{pid}) =
		  slurp_file("$query{$way}{base}.out") =~ /^(\d+)$/m;
	}
	return \%query;
}

foreach my $case (
	{   name => 'timeout',
		fault => 'statement_timeout',
		set => "SET statement_timeout = '4s';\n",
		error => qr/ERROR:  57014: canceling statement due to statement timeout/,
		state => '57014' },
	{   name => 'cancel',
		fault => 'pg_cancel_backend()',
		each => sub { sql("SELECT pg_cancel_backend($_[0])") },
		error => qr/ERROR:  57014: canceling statement due to user request/,
		state => '57014' },
	{   name => 'terminate',
		fault => 'pg_terminate_backend()',
		worker => 1,
		each => sub { sql("SELECT pg_terminate_backend($_[0])") },
		error => qr/FATAL:  57P01: terminating connection/,
		state => '57P01' },
	{   name => 'kill',
		fault => 'a process is killed',
		worker => 1,
		crash => 1,
		once => sub { kill 'KILL', $_[0]{direct}{pid}; } },
	{   name => 'kill_worker',
		fault => 'a process is killed',
		worker => 1,
		crash => 1,
		once => sub { kill 'KILL', $_[1]; } },
	{   name => 'wal',
		fault => 'a full disk for the WAL',
		worker => 1,
		crash => 1,
		once => sub {
			$node->arm('wal', times => 1);
			$node->psql('postgres', 'CREATE TABLE some_wal ()');
		} },
	{   name => 'immediate',
		fault => 'an immediate shutdown',
		worker => 1,
		crash => 1,
		once => sub { $node->stop('immediate'); $node->start; } })
{
	my $name = $case->{name};
	my $worker = $node->worker->{pid};
	my $query = start_waiting($name, %$case);
	my @ids = map { "$name-$_" } qw(direct many-1 many-2);
	my $began = time;

	$case->{once}->($query, $worker) if $case->{once};
	foreach my $way (sort keys %$query)
	{
		$case->{each}->($query->{$way}{pid}) if $case->{each};
		my ($out, $err) = $node->finish($query->{$way});

		like(
			$err,
			$case->{error}
			  // qr/server closed the connection|terminating connection/,
			"$name, $way: broken off");
		unlike($out, qr/ended/, '… without an outcome');
	}
	$case->{each}->($worker) if $case->{each} && $case->{worker};
	cmp_ok(time - $began, '<', $timeout, '… which nobody waited for');
	note_seen($case->{fault}, $case->{state} // 'unknown');
	if ($case->{worker})
	{
		wait_until(
			"$name: there is another worker",
			sub {
				my $pid = eval { $node->worker->{pid} };

				return $pid && $pid != $worker;
			});
	}

	# What was under way is in the audit, unless there was a crash.
	foreach my $id (@ids)
	{
		next if $case->{crash};
		my $rows = wait_until("the attempt at $id is in the audit",
			sub { my @audit = $node->audit('hang', $id); [@audit] if @audit; });

		is( join(', ', map { "$_->{outcome} $_->{rolled_back}" } @$rows),
			'unknown 1', "$id: in the audit, as unknown");
	}
	is($node->tracked('hang', $_)->{state}, 'active', "$_: tracked as before")
	  foreach @ids;
	sql("SELECT bsession_expire('hang', '$_')") foreach @ids;
	$node->wait_for_end('hang');
	is(requests_for($_), 2, "$_: the worker has asked again") foreach @ids;
	if ($case->{worker})
	{
		is( join(' ',
				map { $_->{outcome} } $node->audit('hang', "$name-worker")),
			'unknown ended', "$name-worker: in the audit, lost and ended");
		is(requests_for("$name-worker"), 2, '… the worker has asked again');
	}
	$node->disarm;
}

# ---- what the README says ----

foreach my $row (
	BrowserSession::Document::table(
		"$FindBin::RealBin/../../README.md", 'in the server'))
{
	my ($faults, $outcomes, $then) = @$row;

	foreach my $fault (split /, /, $faults)
	{
		my %listed = map { $_ => 1 } split /, /, $outcomes;
		my @seen = sort keys %{ delete $seen{$fault} // {} };

		cmp_ok(scalar @seen, '>', 0, "README, $fault: was seen");
		is_deeply([ grep { !$listed{$_} } @seen ],
			[], "… as $outcomes")
		  or diag "seen: @seen";
		is($then, $fault =~ /no descriptor/ ? 'retry' : 'later',
			"… then $then");
	}
}
is(join(', ', sort keys %seen), '', 'all that was seen is in the README');

$node->stop;
ok( !grep({ /terminated by signal/ && !/signal 9|signal 6/ } split /\n/,
		slurp_file($node->logfile)),
	'no process crashed of itself');

done_testing();
