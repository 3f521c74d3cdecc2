# Network.pm
#
# A network that is not there (test/pretend_network.c): names that resolve to
# whatever the test says, addresses outside this machine that lead to it, and a
# list of all connections that were tried.
#
#   my $network = BrowserSession::Network->new;
#   my $node = $network->inside(sub { BrowserSession::Node->start_new('main') });
#   $network->name('grid.test' => '203.0.113.1', '127.0.0.1');
#   $network->connects        the addresses, in order

package BrowserSession::Network;

use strict;
use warnings;

use BrowserSession::Preload qw(library preloaded);
use PostgreSQL::Test::Utils ();

sub new
{
	my ($class) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir();

	return bless {
		directory => $directory,
		library => library('pretend_network'),
		names => {} }, $class;
}

# Runs code whose servers are in this network.
sub inside
{
	my ($self, $code) = @_;
	local $ENV{BS_PRETEND_NETWORK} = $self->{directory};

	return preloaded($self->{library}, $code);
}

# Has a name resolve to these addresses from now on.
sub name
{
	my ($self, $name, @addresses) = @_;
	my $file = "$self->{directory}/names";

	$self->{names}{$name} = \@addresses;
	open my $out, '>', "$file.new" or die "could not open $file.new: $!";
	print {$out} map { "$_ @{ $self->{names}{$_} }\n" }
	  sort keys %{ $self->{names} };
	close $out or die "could not write $file.new: $!";
	rename "$file.new", $file or die "could not rename $file.new: $!";
	return;
}

sub connects
{
	my ($self) = @_;
	my $file = "$self->{directory}/connects";

	return unless -e $file;
	return split /\n/, PostgreSQL::Test::Utils::slurp_file($file);
}

sub forget
{
	my ($self) = @_;

	unlink "$self->{directory}/connects";
	return;
}

1;
