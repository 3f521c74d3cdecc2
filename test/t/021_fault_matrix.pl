# 021_fault_matrix.pl
#
# Every fault of BrowserSession::Fault, in three ways: a direct call, a call
# for several sessions, and the worker.  Each time the outcome is the one
# expected, it takes no longer than it may, the row, the audit and the tracked
# session agree, and whatever process it was is as it was before.  What the
# README's table says of the fault is what was seen.
#
# Sessions are tracked for the direct calls, too, while the worker is disabled.
#
# BROWSER_SESSION_ROUNDS sets how often one process meets the same faults
# before its memory is looked at; BROWSER_SESSION_FAULTS, a pattern, which
# faults there are.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::NameServer;

BEGIN
{
	# A look-up ends some time after a silent name server was asked.
	$ENV{RES_OPTIONS} = 'timeout:4 attempts:1';
	BrowserSession::NameServer::arrange();
}

use BrowserSession::Document;
use BrowserSession::Fault;
use BrowserSession::Poll qw(wait_until);
use BrowserSession::Wire;
use BrowserSession::Worker;
use Encode qw(encode);
use JSON::PP;
use List::Util qw(max);
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{BROWSER_SESSION_ROUNDS} // 2;
my $chosen = $ENV{BROWSER_SESSION_FAULTS} // '';

# Seconds that a machine under load may take for what takes no time; and a
# day, the longest pause that a provider can ask for.
my $slack = 60;
my $day = 86_400;

my $node = BrowserSession::Worker->start_new('main', conf => <<'CONF');
max_connections = 100
browser_session.retry_delay = 1h
browser_session.max_retry_delay = 1h
CONF
$node->configure(enabled => 'off');
my $servers = BrowserSession::Fault->new;
my @faults = grep { $_->{name} =~ /$chosen/ } $servers->faults;
my $good = BrowserSession::Wire->new(
	good => sub {
		return $_[0]->reply(200, '{"success":true}', Connection => undef);
	});

$node->safe_psql(
	'postgres',
	join '',
	BrowserSession::Node::account_sql(
		'good',
		provider => 'stagehand',
		base_url => $good->url('good')),
	map { BrowserSession::Node::account_sql($_->{name}, %{ $_->{options} }) }
	  @faults);

# Which ids each way ends.
my %ids = (
	direct => ['direct'],
	many => [ 'many-1', 'many-2' ],
	worker => ['worker']);

# Tracks sessions at each fault's server.
sub track
{
	my ($expires_at, $ids, @met) = @_;

	$node->safe_psql(
		'postgres',
		join '',
		map {
			my $server = $_->{name};
			map { <<SQL } @$ids
INSERT INTO bsession_tracked (provider, session_id, expires_at)
VALUES ('$server', '$_', $expires_at);
SQL
		} @met);
	return;
}

# ----- direct calls ----------------------------------------------------------

# Starts a backend that meets these faults, one after the other.
sub start_calls
{
	my ($way, @met) = @_;
	my $ids = join ', ', map { "'$_'" } @{ $ids{$way} };
	my $call =
	  $way eq 'many' ? "bsession_end_many('%s', ARRAY[$ids])" :
	  "bsession_end('%s', $ids)";

	return {
		way => $way,
		faults => \@met,
		query => $node->background(
			join '',
			map {
				BrowserSession::Node::rows_sql(sprintf $call, $_->{name})
			} @met) };
}

# What was seen: fault => way => rows.
my %seen;

sub finish_calls
{
	my ($calls) = @_;
	my ($way, $query) = @$calls{qw(way query)};
	my ($out, $err) = $node->finish($query);
	my @rows = map { JSON::PP->new->utf8->decode($_) } split /\n/, $out;
	my $name = "$way, $calls->{faults}[0]{name} …";

	is($err, '', "$name: no ERROR");
	is(scalar @rows, @{ $calls->{faults} } * @{ $ids{$way} },
		'… and a row for each session');
	$seen{ $_->{name} }{$way} = [ splice @rows, 0, scalar @{ $ids{$way} } ]
	  foreach @{ $calls->{faults} };
	return;
}

# Faults that last have a backend each, so that they last at the same time.
my @slow = grep { $_->{timed_out} } @faults;
my @quick = grep { !$_->{timed_out} } @faults;
my @parts = map { [] } 1 .. 3;

push @{ $parts[ $_ % @parts ] }, $quick[$_] foreach 0 .. $#quick;
track('NULL', [ @{ $ids{direct} }, @{ $ids{many} } ], @faults);
foreach my $parts ([ map { [$_] } @slow ], [ grep { @$_ } @parts ])
{
	finish_calls($_) foreach map {
		my $way = $_;
		map { start_calls($way, @$_) } @$parts
	} qw(direct many);
}

# ----- the worker ------------------------------------------------------------

my $calls_tracked = rows_of('bsession_tracked');

# The rows of a table, by server and session.
sub rows_of
{
	my ($table) = @_;
	my %rows;

	push @{ $rows{ $_->{provider} }{ $_->{session_id} } }, $_
	  foreach $node->hashes(<<SQL);
SELECT t.*, extract(epoch FROM t.next_attempt_at - now()) AS pause
  FROM $table t
SQL
	return \%rows;
}

$node->safe_psql('postgres', 'DELETE FROM bsession_tracked');
$node->configure(enabled => 'on');
my $worker = $node->wait_for_worker;
foreach my $met (grep { @$_ } \@slow, \@quick)
{
	track("'-infinity'", $ids{worker}, @$met);
	wait_for_worker('worker');
}

# Waits until the worker has met every fault with these ids.
sub wait_for_worker
{
	my ($pattern) = @_;

	return wait_until(
		'the worker has met every fault',
		sub {
			return $node->safe_psql('postgres', <<SQL) eq 't';
SELECT count(*) = 0 FROM bsession_tracked
 WHERE session_id LIKE '$pattern' AND (outcome IS NULL OR attempts = 0);
SQL
		});
}

my %tracked = (direct => $calls_tracked, many => $calls_tracked);
$tracked{worker} = rows_of('bsession_tracked');
my $audit = do
{
	my %rows;

	push @{ $rows{ $_->{provider} }{ $_->{session_id} } }, $_
	  foreach $node->hashes(<<'SQL');
SELECT *, extract(epoch FROM elapsed) AS seconds
  FROM bsession_audit ORDER BY id
SQL
	\%rows;
};

# The worker's row is that of the audit.
$seen{ $_->{name} }{worker} =
  [ { %{ $audit->{ $_->{name} }{worker}[0] // {} }, attempts => 1 } ]
  foreach @faults;

# ----- the matrix --------------------------------------------------------------

# What is wrong with how long it took.
sub find_delay
{
	my ($fault, $way, $row) = @_;
	my $least = ($fault->{timed_out} // 0) / 1000;
	my $most = $least + $slack;
	my $seconds = $row->{seconds} // -1;

	return "took $seconds s, not $least to $most s"
	  if $seconds < $least * 0.99 || $seconds > $most;
	return;
}

# What is wrong with a row.
sub find_flaws
{
	my ($fault, $way, $row) = @_;
	my $outcome = $fault->{outcome};
	my $done = $outcome eq 'ended';
	my $error = $row->{error};
	my $attempts = $way ne 'worker' && $fault->{retried} ? 2 : 1;
	my $status = $fault->{status} // 'none';
	my @flaws = find_delay($fault, $way, $row);

	push @flaws, 'the outcome is ' . ($row->{outcome} // 'missing')
	  if ($row->{outcome} // '') ne $outcome;
	push @flaws, 'the status is ' . ($row->{http_status} // 'none')
	  if ($row->{http_status} // 'none') !~ /\A(?:$status)\z/;
	push @flaws, "there are $row->{attempts} attempts"
	  if $row->{attempts} != $attempts;
	push @flaws, 'done does not agree'
	  if exists $row->{done} && ($row->{done} xor $done);
	push @flaws, 'the error is ' . encode('UTF-8', $error // 'missing')
	  if $done
	  ? defined $error
	  : ($error // '') !~ ($fault->{error} // qr/\S/) || length $error > 2000;
	push @flaws, 'the reply says something else'
	  if $done && !$row->{response}{success};
	return @flaws;
}

# What is wrong with what is in the audit of it.
sub find_audit_flaws
{
	my ($row, @audit) = @_;

	return 'there are ' . scalar @audit . ' attempts in the audit'
	  if @audit != $row->{attempts};
	return map {
		my $column = $_;
		map { "$column in the audit is " . ($_->{$column} // 'missing') }
		  grep { ($_->{$column} // '') ne ($row->{$column} // '') } $audit[-1]
	} qw(outcome http_status error);
}

# What is wrong with what became of the tracked session.  The worker takes
# over at once where a call has failed, and waits an hour after its own
# failure, or a day if the provider asks for more.
sub find_tracked_flaws
{
	my ($fault, $way, $row, $tracked) = @_;
	my $done = $fault->{outcome} eq 'ended';
	my $pause = $tracked->{pause};
	my ($least, $most) = $way eq 'worker' ? (0, 3600) : (-3600, 0);
	my @flaws;

	($least, $most) = ($day - 3600, $day)
	  if $fault->{row} =~ /a day counts/;
	push @flaws, "the session is $tracked->{state}"
	  if $tracked->{state} ne ($done ? 'ended' : 'ending');
	push @flaws, "its next attempt is in " . ($pause // 'no') . ' s'
	  if $done
	  ? defined $pause
	  : !defined $pause || $pause < $least || $pause > $most;
	foreach ([ 'outcome', 'outcome' ], [ 'last_error', 'error' ])
	{
		push @flaws, "its $_->[0] is " . ($tracked->{ $_->[0] } // 'missing')
		  if ($tracked->{ $_->[0] } // '') ne ($row->{ $_->[1] } // '');
	}
	return @flaws;
}

foreach my $fault (@faults)
{
	my $name = $fault->{name};

	foreach my $way (qw(direct many worker))
	{
		my @rows = @{ $seen{$name}{$way} // [] };
		my @flaws = map {
			my ($row, $id) = ($rows[$_] // {}, $ids{$way}[$_]);

			(   find_flaws($fault, $way, $row),
				find_audit_flaws($row, @{ $audit->{$name}{$id} // [] }),
				find_tracked_flaws(
					$fault, $way, $row, $tracked{$way}{$name}{$id}[0]))
		} 0 .. $#{ $ids{$way} };

		is(join('; ', @flaws), '', "$name, $way: $fault->{outcome}");
		note sprintf '%.3f s: %s', max(map { $_->{seconds} // -1 } @rows),
		  encode('UTF-8', $rows[0]{error} // 'no error');
	}
}

# ----- the README --------------------------------------------------------------

# Of each row of its table, what was seen: the outcomes, and what then.
{
	my %then;

	foreach my $fault (@faults)
	{
		my @rows = map { @$_ } values %{ $seen{ $fault->{name} } };
		my $then = (grep { ($_->{outcome} // '') eq 'ended' } @rows) ? 'over'
		  : (grep { $_->{attempts} > 1 } @rows) ? 'retry'
		  :                                       'later';

		$then{ $fault->{row} }{"$_->{outcome}, $then"}++ foreach @rows;
	}
	foreach my $row (
		BrowserSession::Document::table(
			"$FindBin::RealBin/../../README.md", 'on the wire'))
	{
		my ($fault, $outcome, $then) = @$row;

	  SKIP:
		{
			skip BrowserSession::NameServer::why_not(), 1
			  if $fault =~ /name (?:server|does)/
			  && !BrowserSession::NameServer::silent();
			next if length $chosen && !$then{$fault};
			is( join('; ', sort keys %{ delete $then{$fault} // {} }),
				"$outcome, $then",
				"README: $fault");
		}
	}
	is(join("\n", sort keys %then), '', 'the README has every fault');
}

# ----- nothing is left behind ----------------------------------------------------

is($servers->elsewhere->connections, 0, 'no redirect was followed');

# Of 100 MB and more, no more left the provider than fits into the buffers on
# the way.
{
	my $calls = 2 * @{ $ids{direct} } + @{ $ids{many} };
	my @endless = grep { $_->{name} =~ /^(?:body|chunks)_/ } @faults;
	my @taken = (0);

	wait_until(
		'bodies without an end are no longer read',
		sub {
			return !@endless
			  || (@taken = $servers->taken) == @endless * $calls;
		});
	cmp_ok(max(@taken), '<', 50 * 1_048_576,
		'a connection is closed when the limit is passed');
	note sprintf '%.1f MB at most', max(@taken) / 1_048_576;
}

# One process after many faults.  Retries would only take time.
$node->safe_psql(
	'postgres',
	join '',
	map {
		"ALTER SERVER \"$_->{name}\""
		  . " OPTIONS (SET retries '0', SET timeout '"
		  . ($_->{timed_out} ? 1000 : $_->{options}{timeout}) . "');\n"
	} @faults);

# Starts a backend in which these faults are met so often, by several sessions
# each; it says how many descriptors and how much memory it had after the first
# time and at the end.  Descriptors of connections that the other side has
# closed go with the next exchange, those of look-ups with their end.
sub start_rounds
{
	my ($times, @met) = @_;
	my $array = join ', ', map { "'$_->{name}'" } @met;
	my $round = <<SQL;
SELECT FROM unnest(ARRAY[$array]) AS server,
  LATERAL bsession_end_many(server, ARRAY['a', 'b'])
 HAVING count(outcome) = 0;
SQL
	return $node->background(<<SQL, timeout => 1800);
CREATE TEMP TABLE measured (files int, rss int);
CREATE FUNCTION pg_temp.files() RETURNS int LANGUAGE sql VOLATILE AS
\$\$ SELECT count(*)::int FROM pg_ls_dir('/proc/self/fd') \$\$;
CREATE FUNCTION pg_temp.rss() RETURNS int LANGUAGE sql VOLATILE AS
\$\$ SELECT substring(pg_read_file('/proc/self/status')
					  FROM 'RssAnon:\\s+(\\d+)')::int \$\$;
INSERT INTO measured VALUES (0, 0);
DELETE FROM measured;
$round
SELECT FROM bsession_end('good', 'abc');
INSERT INTO measured SELECT pg_temp.files(), pg_temp.rss();
${\ ($round x $times) }
SET statement_timeout = '${\ $PostgreSQL::Test::Utils::timeout_default }s';
DO \$\$ BEGIN
	LOOP
		PERFORM bsession_end('good', 'abc');
		EXIT WHEN pg_temp.files() <= (SELECT max(files) FROM measured);
		PERFORM pg_sleep(0.1);
	END LOOP;
END \$\$;
INSERT INTO measured SELECT pg_temp.files(), pg_temp.rss();
SELECT string_agg(files || ' ' || rss, ' ') FROM measured;
SQL
}

sub finish_rounds
{
	my ($query, $what) = @_;
	my ($out, $err) = $node->finish($query);
	my ($files_before, $before, $files_after, $after) = split / /, $out;

	is($err, '', "$what: as many descriptors as before");
	cmp_ok(
		($after // 1e9) - ($before // 0),
		'<',
		4096 + BrowserSession::Node::memory_allowance(),
		'… and no more memory');
	note "descriptors: $files_before, $files_after;"
	  . " RssAnon: $before kB, $after kB";
	return;
}

if ($rounds > 0)
{
	my @queries = (
		[ start_rounds($rounds, @quick), "$rounds times each quick fault" ],
		map { [ start_rounds(1, $_), "several times $_->{name}" ] } @slow);

	finish_rounds(@$_) foreach @queries;
}

# The same of the worker.  Faults that open a breaker, or ask for a pause,
# would take their time.
sub worker_files
{
	return scalar grep { (readlink // '') =~ /^(?:socket|anon_inode)/ }
	  glob "/proc/$worker->{pid}/fd/*";
}

sub worker_rss
{
	return (PostgreSQL::Test::Utils::slurp_file("/proc/$worker->{pid}/status")
		  =~ /RssAnon:\s+(\d+)/)[0];
}

sub worker_round
{
	my ($round, @met) = @_;

	track("'-infinity'", [ "$round-1", "$round-2" ], @met);
	wait_for_worker("$round-%");
	return;
}

if ($rounds > 0)
{
	my @met = grep { $_->{outcome} =~ /^(?:bad_reply|rejected|ended)$/ } @faults;
	my $n = 0;

	worker_round('first', @met);
	my ($files, $rss) = (worker_files(), worker_rss());
	worker_round("round$_", @met) foreach 1 .. $rounds;
	ok( wait_until(
			'the worker has as many descriptors as before',
			sub {
				worker_round('good' . $n++, { name => 'good' });
				return worker_files() <= $files;
			}),
		"$rounds times each fault, the worker: as many descriptors");
	cmp_ok(
		worker_rss() - $rss,
		'<',
		4096 + BrowserSession::Node::memory_allowance(),
		'… and no more memory');
	note "descriptors: $files, ${\ worker_files() };"
	  . " RssAnon: $rss kB, ${\ worker_rss() } kB";
	is($node->worker->{pid}, $worker->{pid}, '… and it lives on');
}

unlike(
	PostgreSQL::Test::Utils::slurp_file($node->logfile),
	qr/terminated by signal|PANIC|TRAP: /,
	'no process crashed');

done_testing();
