# Table.pm
#
# Statistics of a few rounds, and the table that they end in.

package Bench::Table;

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(median percentile quantity spread megabytes);

# ----- numbers -------------------------------------------------------------

# The share of the numbers, from 0 to 1, that are not above the answer.
sub percentile
{
	my ($share, @numbers) = @_;
	my @sorted = sort { $a <=> $b } @numbers;

	return $sorted[ int($share * $#sorted + 0.5) ];
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;

	return ($sorted[ $#sorted / 2 ] + $sorted[ @sorted / 2 ]) / 2;
}

# Median, minimum and maximum.
sub spread
{
	return (median(@_), percentile(0, @_), percentile(1, @_));
}

# How n things in some seconds are shown: as a rate, as the time for each, or
# as the time for all of them.
sub quantity
{
	my ($unit, $n, $seconds) = @_;

	return with_commas(sprintf '%.0f', $n / $seconds) . '/s'
	  if $unit eq 'rate';
	return sprintf '%.1f us', 1e6 * $seconds / $n if $unit eq 'each';
	return sprintf '%.0f ms', 1e3 * $seconds if $unit eq 'all';
	die "no such unit: $unit";
}

sub with_commas
{
	my ($number) = @_;

	1 while $number =~ s/^(\d+)(\d{3})/$1,$2/;
	return $number;
}

sub megabytes
{
	return sprintf '%.1f MB', $_[0] / 1024 / 1024;
}

# ----- the table -----------------------------------------------------------

my @columns = (
	[ name => 'case' ],
	[ ours => 'ours', 1 ],
	[ reference => 'reference', 1 ],
	[ ratio => 'ratio', 1 ],
	[ min => 'min', 1 ],
	[ max => 'max', 1 ],
	[ memory => 'memory', 1 ],
	[ aim => 'aim' ],
	[ met => 'met' ]);

# The rows, hashes of text, as lines.
sub lines
{
	my (@rows) = @_;
	my %head = map { $_->[0] => $_->[1] } @columns;
	my @lines;

	foreach my $row (\%head, undef, @rows)
	{
		my @cells = map { cell($row, $_, \%head, @rows) } @columns;

		push @lines, join($row ? ' | ' : '-+-', @cells) =~ s/ +$//r;
	}
	return @lines;
}

# What a row has in a column, as wide as the column; a rule if there is no row.
sub cell
{
	my ($row, $column, @all) = @_;
	my ($key, undef, $to_the_right) = @$column;
	my $width = percentile(1, map { length($_->{$key} // '') } @all);

	return '-' x $width unless $row;
	return sprintf $to_the_right ? '%*s' : '%-*s', $width, $row->{$key} // '';
}

# ----- the machine ---------------------------------------------------------

# What it was measured on, a line.
sub machine
{
	my ($directory) = @_;
	my @cpus = map { /^model name\s*:\s*(.*)/ ? $1 : () } proc('cpuinfo');
	my ($memory) = map { /^MemTotal:\s+(\d+)/ ? $1 : () } proc('meminfo');
	my ($kernel) = map { /^Linux version ([\d.]+)/ ? $1 : () } proc('version');
	my $type = qx(findmnt -n -o FSTYPE -T '$directory');

	chomp $type;
	return sprintf '%d x %s, %.0f GB of memory, files on %s, Linux %s',
	  scalar @cpus, $cpus[0] // 'unknown CPU', $memory / 1024**2,
	  $type, $kernel;
}

# The numbers of the CPUs that there are for us.
sub cpus
{
	my ($list) = map { /^Cpus_allowed_list:\s*(\S+)/ ? $1 : () }
	  proc('self/status');

	return map { /(\d+)-(\d+)/ ? $1 .. $2 : $_ } split /,/, $list;
}

sub proc
{
	open my $file, '<', "/proc/$_[0]" or die "/proc/$_[0]: $!\n";
	return <$file>;
}

1;
