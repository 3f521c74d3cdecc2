# cases.pl [NAME...]
#
# The cases of the benchmark: all of them, or those that are named.
#
# In most cases something is done by the extension and by a reference, in turn;
# who is first changes with each round.  A ratio is that of two adjacent runs,
# above 1 if the extension is faster.  The exit status says whether all
# sessions ended as they should, not whether the aims are met: that depends on
# what else the machine does.
#
# Warm are, in every case: the worker, which has run since the server was
# started, and the backend, after a few sessions that are not measured.  Both
# have their connections open.  So has the reference: raw_libcurl is a new
# process each time, but opens its connections before it takes the time.
#
# Environment: ROUNDS, BENCH_SCALE (a factor for the number of sessions),
# BS_SCRATCH.

use strict;
use warnings;

use Bench::Database;
use Bench::Provider;
use Bench::Table qw(median percentile quantity spread megabytes);
use FindBin     qw($Bin);
use List::Util  qw(first max);
use Time::HiRes qw(sleep time);

my $rounds = $ENV{ROUNDS} || 5;
# For cases that take long.
my $few_rounds = $rounds < 3 ? $rounds : 3;
my $scale = $ENV{BENCH_SCALE} || 1;
my $scratch = $ENV{BS_SCRATCH};

# Sessions for warming up, enough to open all connections.
my $warm = 1024;

# Aims for the tail of the lateness, in ms, and for the memory of the worker
# with 1,024 in flight, in bytes.
my $max_lateness = 25;
my $max_memory = 64 * 1024**2;

my $silent_servers = 0;
my $database;
my $provider = Bench::Provider->start(
	templates => $Bin,
	dir => "$scratch/provider",
	raw => "$scratch/raw_libcurl");

my @cases = (
	{   name => 'drain-50ms',
		what =>
		  'the worker ends %d expired sessions; provider 50 ms, 256 in flight',
		n => 20_000,
		aim => 0.9,
		memory => 1,
		ours => sub { drain('50ms', @_) },
		reference => sub { $provider->raw('50ms', $_[0], 256) },
	},
	{   name => 'drain-instant',
		what => 'the worker ends %d expired sessions; instant provider',
		n => 100_000,
		aim => 0.35,
		memory => 1,
		ours => sub { drain('instant', @_) },
		reference => sub { $provider->raw('instant', $_[0], 256) },
	},
	{   name => 'many-instant',
		what =>
		  'bsession_end_many() of %d ids; instant provider, 256 in flight',
		n => 20_000,
		aim => 0.6,
		memory => 1,
		ours => sub { end_many('instant', @_) },
		reference => sub { $provider->raw('instant', $_[0], 256) },
	},
	{   name => 'many-50ms',
		what => 'bsession_end_many() of %d ids; provider 50 ms, 256 in flight',
		n => 5_000,
		aim => 0.9,
		memory => 1,
		ours => sub { end_many('50ms', @_) },
		reference => sub { $provider->raw('50ms', $_[0], 256) },
	},
	{   name => 'end-instant',
		what => 'bsession_end() %d times in one backend; instant provider',
		n => 5_000,
		apart => 1,
		aim => 0.8,
		ours => sub { end_each('instant', @_) },
		reference => sub { $provider->raw('instant', $_[0], 1) },
	},
	{   name => 'end-tls',
		what => 'the same %d times over TLS',
		n => 5_000,
		apart => 1,
		aim => 0.8,
		ours => sub { end_each('tls', @_) },
		reference => sub { $provider->raw('instant', $_[0], 1, 'tls') },
	},
	{   name => 'drain-1024',
		what => 'the worker ends %d expired sessions; provider 200 ms,'
		  . ' 1024 in flight',
		n => 20_000,
		aim => 0.9,
		memory => $max_memory,
		ours => sub { drain('200ms', @_) },
		reference => sub { $provider->raw('200ms', $_[0], 1024) },
	},
	{   name => 'track-insert',
		what => 'INSERT of %d sessions; reference: a plain table',
		n => 100_000,
		aim => 0.8,
		ours => sub { insert('bsession_tracked', @_) },
		reference => sub { (insert('bench.plain', @_))[0] },
	},
	{   name => 'track-call',
		what => 'bsession_track() of %d sessions, one by one;'
		  . ' reference: INSERT into a plain table',
		n => 20_000,
		unit => 'each',
		aim => 0.8,
		ours => sub { track_each('bsession_tracked', @_) },
		reference => sub { (track_each('bench.plain', @_))[0] },
	},
	{   name => 'growth',
		what => 'the worker claims, ends and records %d sessions of many',
		n => 10_000,
		run => \&run_growth,
	},
	{   name => 'lateness',
		what => 'arrival at the provider after the expiry;'
		  . ' %d sessions, 1000 a second',
		n => 30_000,
		run => \&run_lateness,
	},
	{   name => 'silent-server',
		what => 'the worker ends %d sessions of each of three servers; 50 ms,'
		  . ' 64 in flight each; with a fourth server that is silent;'
		  . ' reference: without',
		n => 5_000,
		aim => 0.95,
		sessions => 3,
		warm => sub { drain_beside(undef, @_) },
		ours => sub { drain_beside('silent', @_) },
		reference => sub { (drain_beside(undef, @_))[0] },
	});

# ----- what is measured ----------------------------------------------------

# Ours answer the seconds for n sessions and the memory that it took.

sub drain
{
	my ($server, $n) = @_;
	my @answer;

	$database->clear;
	@answer = $database->drain($n, [$server]);
	$database->check($n, $server);
	return @answer;
}

sub end_many
{
	my ($server, $n) = @_;

	return ended_by_call($server, $n, <<SQL);
SELECT count(*) FROM bsession_end_many('$server',
	ARRAY(SELECT 'bench-' || i FROM generate_series(1, $n) i))
SQL
}

sub end_each
{
	my ($server, $n) = @_;

	return ended_by_call($server, $n, <<SQL);
DO \$\$
BEGIN
	FOR i IN 1 .. $n LOOP
		PERFORM bsession_end('$server', 'bench-' || i);
	END LOOP;
END
\$\$
SQL
}

sub ended_by_call
{
	my ($server, $n, $statement) = @_;
	my @answer;

	$database->clear;
	@answer = $database->measure($statement);
	$database->check($n, $server);
	return @answer;
}

# What is inserted has the columns that the extension fills in, too: else one
# index of the plain table would stay empty.
sub insert
{
	my ($table, $n) = @_;
	my ($plan, $planned) =
	  $table eq 'bench.plain'
	  ? (', next_attempt_at', q{, '2100-01-01'})
	  : ('', '');

	return tracked($table, $n, <<SQL);
INSERT INTO $table (provider, session_id, expires_at$plan)
	SELECT 'instant', 'bench-' || i, '2100-01-01'$planned
	FROM generate_series(1, $n) i
SQL
}

sub track_each
{
	my ($table, $n) = @_;
	my $track =
	  $table eq 'bench.plain'
	  ? "INSERT INTO $table (provider, session_id, expires_at, next_attempt_at)"
	  . q{ VALUES ('instant', 'bench-' || i, '2100-01-01', '2100-01-01')}
	  : q{PERFORM bsession_track('instant', 'bench-' || i,}
	  . q{ expires_at => '2100-01-01')};

	return tracked($table, $n, <<SQL);
DO \$\$
BEGIN
	FOR i IN 1 .. $n LOOP
		$track;
	END LOOP;
END
\$\$
SQL
}

sub tracked
{
	my ($table, $n, $statement) = @_;
	my ($found, @answer);

	$database->clear;
	@answer = $database->measure($statement);
	$found = $database->query(
		"SELECT count(*) FROM $table WHERE next_attempt_at = '2100-01-01'");
	die "$table has $found sessions, not $n\n" unless $found == $n;
	return @answer;
}

# The rate of three servers, with a fourth beside them or without.
sub drain_beside
{
	my ($silent, $n) = @_;
	my @servers = qw(beside-1 beside-2 beside-3);
	my @answer;

	# A new server each time: of one that it has found silent before, the
	# worker expects nothing.
	if (defined $silent)
	{
		$silent .= '-' . ++$silent_servers;
		$database->account($silent, $provider->url('silent'),
			max_in_flight => 64);
	}
	$database->clear;
	@answer = $database->drain($n, \@servers, also => $silent);
	if (defined $silent)
	{
		die "the silent server ended a session\n"
		  if $database->query(
			"SELECT bench.ended(ARRAY['$silent'], '-infinity')");
		$database->query(
			"DELETE FROM bsession_tracked WHERE provider = '$silent'");
		# What is under way is waited for, or else it would be a load on
		# what is measured next.
		$database->wait_for_worker;
		$database->query(qq(DROP SERVER "$silent" CASCADE));
	}
	$database->check($n, @servers);
	return @answer;
}

# ----- cases that have no reference ----------------------------------------

# How the worker's time for the same work depends on what else is tracked.  Ids
# that were given in order are side by side in the primary key; those that are
# random are all over it, and it is memory that a large index costs then.
sub run_growth
{
	my ($case, $n) = @_;
	my @sizes = map { $_ * $scale } 10_000, 1_000_000, 10_000_000;
	my @names = qw(10k 1M 10M);
	my %id = (
		'in order' => q{'zzz-%d-' || lpad(i::text, 8, '0')},
		'random' => q{md5('%d ' || i)::uuid::text});
	my $rows = 0;
	my (%seconds, @lines);

	drain('instant', $warm);
	$database->clear;
	foreach my $size (@sizes)
	{
		my $others = $size - $n;

		$database->query(filler($rows, $others)) if $others > $rows;
		$rows = $others;
		foreach my $ids (sort keys %id)
		{
			my @all = map { growth_round($n, sprintf $id{$ids}, $_) }
			  0 .. $rounds;

			# The kernel may still be busy with writing what is new.
			shift @all;
			push @{ $seconds{$ids} }, \@all;
			note("$size rows, ids $ids: " . join ', ', map { "$_ s" } @all);
		}
	}
	$database->query('TRUNCATE bsession_tracked');
	write_plot($n, \@sizes, \%seconds);

	foreach my $ids (sort keys %id)
	{
		my @of = @{ $seconds{$ids} };
		my $smallest = median(@{ $of[0] });

		push @lines, map {
			my ($ratio, $min, $max) = spread(map { $_ / $smallest } @{ $of[$_] });

			{   name => "$case->{name} $names[$_], $ids",
				ours => quantity('all', $n, median(@{ $of[$_] })),
				reference => quantity('all', $n, $smallest),
				ratios($ratio, $min, $max),
				judged('<= 1.20', $ratio <= 1.2) }
		} 1, 2;
	}
	return @lines;
}

# SQL that tracks sessions number $from + 1 to $to, which are not due, as
# UUIDs in ascending order: an index is filled faster so.
sub filler
{
	my ($from, $to) = @_;
	my $step = int(2**32 / ($to - $from));

	return Bench::Database::track_sql('instant', $to - $from,
		"(lpad(to_hex((i::bigint - 1) * $step), 8, '0')"
		  . " || substr(md5('$to ' || i), 9))::uuid::text",
		q{now() + interval '30 days' + i * interval '1 ms'});
}

# After a checkpoint the first change of a page is written as a whole page.  In
# a large table that is a page for each session, which would cost more than all
# the rest; it happens when a session is tracked, unless there is a checkpoint
# in its life, so there is none here.
sub growth_round
{
	my ($n, $id) = @_;
	my $seconds;

	$database->settle;
	($seconds) = $database->drain($n, ['instant'],
		settled => 1,
		id => $id);

	$database->check($n, 'instant');
	$database->query('DELETE FROM bsession_tracked WHERE ended_at IS NOT NULL');
	$database->query('TRUNCATE bsession_audit');
	$database->query('VACUUM bsession_tracked');
	return $seconds;
}

sub write_plot
{
	my ($n, $sizes, $seconds) = @_;

	foreach my $ids (keys %$seconds)
	{
		my $data = "$scratch/growth, $ids.dat";

		open my $file, '>', $data or die "$data: $!\n";
		printf {$file} "%d %f %f %f\n", $sizes->[$_],
		  spread(@{ $seconds->{$ids}[$_] })
		  foreach 0 .. $#$sizes;
		close $file or die "$data: $!\n";
	}
	Bench::Provider::run('gnuplot', '-e',
		sprintf("data = '%s'; plot_file = '%s'; due = '%s'; scale = %g",
			"$scratch/growth", "$scratch/growth.svg",
			Bench::Table::with_commas($n), $scale),
		"$Bin/growth.gp");
	return;
}

# How late sessions end that become due one after the other.
sub run_lateness
{
	my ($case, $n) = @_;
	my (@p50, @p99, @max);

	drain('lateness', $warm);
	$provider->arrivals($warm);
	foreach my $round (1 .. $few_rounds)
	{
		my @late = lateness($n);

		push @p50, percentile(0.5, @late);
		push @p99, percentile(0.99, @late);
		push @max, percentile(1, @late);
		note("round $round: " . quantiles($p50[-1], $p99[-1], $max[-1]));
	}
	return map {
		my ($name, $aim, @values) = @$_;
		my ($median, $min, $max) = spread(@values);

		{   name => "$case->{name} $name",
			ours => sprintf('%.0f ms', $median),
			min => sprintf('%.0f ms', $min),
			max => sprintf('%.0f ms', $max),
			$aim ? judged("<= $aim ms", $median <= $aim) : () };
	} [ 'p50', undef, @p50 ],
	  [ 'p99', $max_lateness, @p99 ],
	  [ 'max', undef, @max ];
}

sub quantiles
{
	return sprintf 'p50 %.0f ms, p99 %.0f ms, max %.0f ms', @_;
}

# The lateness of n sessions in ms, one due each ms.
sub lateness
{
	my ($n) = @_;
	my $last;
	my (%arrived, @late);

	$database->clear;
	$provider->forget_arrivals;
	$database->query(Bench::Database::track_sql(
		'lateness', $n, q{'bench-' || i},
		q{now() + interval '5 s' + i * interval '1 ms'}));
	$database->settle;
	$last = $database->query('SELECT min(expires_at) > clock_timestamp(),'
		  . ' extract(epoch FROM max(expires_at)) FROM bsession_tracked');
	$last =~ s/^t\|// or die "$n sessions cannot be tracked in time\n";
	# Not looked at before the last is due: that would hold others up.
	sleep $last - time + 1;
	$database->wait_until_ended($n, 'lateness');
	$database->check($n, 'lateness');

	%arrived = map { @$_ } $provider->arrivals($n);
	die "nginx has written down ${\scalar keys %arrived} of $n arrivals\n"
	  unless keys %arrived == $n;
	@late = map { 1000 * ($arrived{ $_->[0] } - $_->[1]) }
	  map { [ split /\|/ ] } $database->query(
		'SELECT session_id, extract(epoch FROM expires_at)'
		  . ' FROM bsession_tracked');
	# nginx rounds down to a ms.
	die "a session was ended before its expiry\n" if grep { $_ <= -1 } @late;
	return map { max(0, $_) } @late;
}

# ----- running -------------------------------------------------------------

sub note
{
	print STDERR "    @_\n";
	return;
}

# Columns of the table.

sub ratios
{
	my %row;

	@row{qw(ratio min max)} = map { sprintf '%.2f', $_ } @_;
	return %row;
}

sub judged
{
	my ($aim, $met) = @_;

	return (aim => $aim, met => $met ? 'yes' : 'NO');
}

# Where one request follows the other, whether the kernel has provider and
# client on one CPU decides what a request takes, and changes from run to run.
# A provider is elsewhere: it gets the first CPU to itself, this process, its
# children and the backend get the second; or all get all of them again.
sub set_apart
{
	my ($apart) = @_;
	my @cpus = Bench::Table::cpus();
	my $all = join ',', @cpus;
	my ($first, $second) = $apart ? @cpus : ($all, $all);
	my @ours = $$;

	return if @cpus < 2;
	push @ours, scalar $database->query('SELECT pg_backend_pid()') if $apart;
	Bench::Provider::run('taskset', '-cp', $first, $_) foreach $provider->pids;
	Bench::Provider::run('taskset', '-cp', $second, $_) foreach @ours;
	return;
}

# Runs a case against its reference; its row in the table.
sub run_pair
{
	my ($case, $n) = @_;
	my %seconds = (ours => [], reference => []);
	my $memory = 0;

	set_apart(1) if $case->{apart};
	($case->{warm} // $case->{ours})->($warm);
	foreach my $round (1 .. $rounds)
	{
		my @turns = $round % 2 ? qw(ours reference) : qw(reference ours);

		foreach my $who (@turns)
		{
			my ($seconds, $most) = $case->{$who}->($n);

			push @{ $seconds{$who} }, $seconds;
			$memory = max($memory, $most) if $who eq 'ours';
		}
		note(
			sprintf 'round %d: %.3f s, reference %.3f s, ratio %.2f',
			$round,
			$seconds{ours}[-1],
			$seconds{reference}[-1],
			$seconds{reference}[-1] / $seconds{ours}[-1]);
	}
	return pair_row($case, $n, \%seconds, $memory);
}

sub pair_row
{
	my ($case, $n, $seconds, $memory) = @_;
	my $unit = $case->{unit} // 'rate';
	my $sessions = $n * ($case->{sessions} // 1);
	my ($ratio, $min, $max) =
	  spread(map { $seconds->{reference}[$_] / $seconds->{ours}[$_] }
		  0 .. $rounds - 1);
	my $limit = $case->{memory} && $case->{memory} > 1 ? $case->{memory} : 0;

	return {
		name => $case->{name},
		ours => quantity($unit, $sessions, median(@{ $seconds->{ours} })),
		reference =>
		  quantity($unit, $sessions, median(@{ $seconds->{reference} })),
		ratios($ratio, $min, $max),
		$case->{memory} ? (memory => megabytes($memory)) : (),
		judged(
			sprintf('>= %.2f', $case->{aim})
			  . ($limit ? sprintf(', < %d MB', $limit / 1024**2) : ''),
			$ratio >= $case->{aim} && (!$limit || $memory < $limit)) };
}

# Runs a case; its rows in the table.  If it fails, the others are run
# nevertheless.
sub run_case
{
	my ($case) = @_;
	my $n = max(1, int($case->{n} * $scale));
	my @rows;

	printf STDERR "$case->{name}: $case->{what}\n", $n;
	$database = Bench::Database->connect;
	@rows = eval {
		$database->wait_for_worker;
		($case->{run} // \&run_pair)->($case, $n);
	};
	chomp(my $why = $@);
	set_apart(0) if $case->{apart};
	if ($why ne '')
	{
		note("FAILED: $why");
		@rows = ({ name => $case->{name}, met => 'FAILED' });
	}
	$database->disconnect;
	return @rows;
}

# Accounts for all cases, as a rule with the default number in flight.
sub make_accounts
{
	my @default = (max_in_flight => 256);

	$database->account('instant', $provider->url('instant'), @default);
	$database->account('50ms', $provider->url('50ms'), @default);
	$database->account('200ms', $provider->url('200ms'),
		max_in_flight => 1024);
	$database->account('lateness', $provider->url('lateness'), @default);
	$database->account('tls', $provider->url('instant', 'tls'),
		ca_file => $provider->ca_file);
	$database->account("beside-$_", $provider->url('50ms'),
		max_in_flight => 64)
	  foreach 1 .. 3;
	return;
}

# The cases that are named on the command line.
sub chosen
{
	my (@names) = @_;

	return @cases unless @names;
	return map {
		my $name = $_;
		first { $_->{name} eq $name } @cases
		  or die "no such case: $name (@{[ map { $_->{name} } @cases ]})\n";
	} @names;
}

sub main
{
	my @chosen = chosen(@_);
	my $begun = time;
	my ($versions, @rows);

	$database = Bench::Database->connect;
	$database->query("\\i $Bin/bench.sql");
	make_accounts();
	$versions = $database->versions . ', ' . $provider->versions;
	$database->disconnect;

	@rows = map { run_case($_) } @chosen;

	print "\n", map { "$_\n" } Bench::Table::lines(@rows);
	printf "\n%s\n%s\n%d rounds, %d minutes %02d seconds\n",
	  Bench::Table::machine($scratch), $versions, $rounds,
	  (time - $begun) / 60, (time - $begun) % 60;
	return scalar grep { ($_->{met} // '') eq 'FAILED' } @rows;
}

exit(main(@ARGV) ? 1 : 0);
