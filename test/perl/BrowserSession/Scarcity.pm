# Scarcity.pm
#
# A server with the background worker on a machine that is short of something
# when a test says so: of memory, descriptors or disk, in one process.
# test/scarce.c, which is loaded into the server, does it.
#
#   my $node = BrowserSession::Scarcity->start_new('main');
#   $node->arm('descriptors', pid => $pid)     from now on
#   $node->disarm
#
# $ENV{SCARCE} is the compiled library; without it the test compiles its own.

package BrowserSession::Scarcity;

use strict;
use warnings;

use parent -norequire, 'BrowserSession::Worker';

use BrowserSession::Preload qw(preloaded);
use BrowserSession::Worker;

# What can be scarce, as scarce.c numbers it.
my %resource = (
	nothing => 0,
	memory => 1,
	descriptors => 2,
	watches => 3,
	disk => 4,
	wal => 5);

# For want of memory: whose calls fail.
my %libraries = (libraries => 1, server => 2);

# Why it cannot be done here, or undef.
sub why_not
{
	return 'another library is loaded with LD_PRELOAD' if $ENV{LD_PRELOAD};
	return 'memory is the sanitizer\'s' if $ENV{BROWSER_SESSION_ASAN};
	return 'it is for Linux' if $^O ne 'linux';
	return;
}

sub start_new
{
	my ($class, $name, %option) = @_;
	my $library = $ENV{SCARCE} // BrowserSession::Preload::library('scarce');
	my $node =
	  preloaded($library, sub { $class->SUPER::start_new($name, %option); });

	$node->safe_psql(
		'postgres',
		join '',
		map {
			"CREATE FUNCTION $_ LANGUAGE C STRICT AS "
			  . BrowserSession::Node::literal($library) . ";\n"
		  } 'scarce_arm(pid int, what int, libraries int, first int,'
		  . ' every int, times int) RETURNS void',
		map { "scarce_$_() RETURNS int" }
		  qw(calls failed in_use take_descriptors give_back_descriptors));
	return $node;
}

# The call that makes a resource scarce.  pid: an SQL expression, by default
# all processes; of: whose memory; first, every, times: the n-th call from now
# on, then every so many, so many times.  By default it is all of them.
sub arm_sql
{
	my ($what, %how) = @_;

	return sprintf 'scarce_arm(%s, %d, %d, %s, %d, %d)', $how{pid} // 0,
	  $resource{$what}, $libraries{ $how{of} // 'libraries' },
	  $how{first} // 1, $how{every} // 1, $how{times} // 1_000_000_000;
}

sub arm
{
	my ($self, $what, %how) = @_;

	return $self->safe_psql('postgres', 'SELECT ' . arm_sql($what, %how));
}

sub disarm { return $_[0]->arm('nothing'); }

1;
