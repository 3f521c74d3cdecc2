# Clock.pm
#
# A clock on the wall that a test sets: what is started with it sees the
# machine's clock, shifted.
#
#   my $clock = BrowserSession::Clock->new;
#   $clock->start(sub { $node->start; });
#   $clock->set(3600);                     an hour ahead from now on
#
# The clock is test/set_clock.c.

package BrowserSession::Clock;

use strict;
use warnings;

use BrowserSession::Preload qw(library preloaded);
use Cwd                     ();
use PostgreSQL::Test::Utils ();

sub new
{
	my ($class) = @_;
	my $directory = Cwd::abs_path(PostgreSQL::Test::Utils::tempdir());
	my $self = bless {
		file => "$directory/ahead",
		library => library('set_clock') }, $class;

	$self->set(0);
	return $self;
}

# Runs code; what it starts has this clock.
sub start
{
	my ($self, $code) = @_;
	local $ENV{SET_CLOCK_FILE} = $self->{file};

	return preloaded($self->{library}, $code);
}

# Sets the clock so many seconds ahead of the machine's.
sub set
{
	my ($self, $seconds) = @_;

	open my $file, '+>>', $self->{file} or die "$self->{file}: $!";
	close $file;
	open $file, '+<', $self->{file} or die "$self->{file}: $!";
	syswrite $file, pack('q', $seconds * 1_000_000);
	close $file;
	return;
}

1;
