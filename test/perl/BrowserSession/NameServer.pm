# NameServer.pm
#
# A name server that never answers, except that names under "invalid" do not
# exist.
#
#   use BrowserSession::NameServer;
#   BEGIN { BrowserSession::NameServer::arrange(); }
#
# Which name server to ask is the machine's business, in /etc/resolv.conf.  So
# the test starts itself again in a mount and network namespace of its own,
# where that file names a loopback address with such a name server, a child of
# the test's process.  No privilege is needed where the kernel lets users have namespaces;
# silent() says whether it worked, and why not otherwise.
#
# Three steps, each exec'ing the next: unshare(1) makes the namespaces with us
# as their root; there, mounts, the loopback device and the name server are set
# up; a second unshare(1) gives us our own user id back, since PostgreSQL does
# not run as root.

package BrowserSession::NameServer;

use strict;
use warnings;

use Cwd        ();
use File::Temp ();
use IO::Select;
use IO::Socket::INET;
use POSIX ();

use constant ADDRESS => '127.0.0.53';

my $stage_variable = 'BROWSER_SESSION_NAMESPACE';

# Call before anything else: does not return in the first process, unless
# namespaces are not to be had.
sub arrange
{
	my $stage = $ENV{$stage_variable} // 'outside';

	enter() if $stage eq 'outside' && !defined why_not();
	prepare() if $stage eq 'root';
	return;
}

# True if every look-up of a name now waits for an answer that does not come.
sub silent { return ($ENV{$stage_variable} // '') eq 'ready'; }

# Why namespaces cannot be had, undef if they can.
sub why_not
{
	my $command = join ' ',
	  'unshare --user --map-root-user --net --mount',
	  "sh -c 'mount --bind /dev/null /etc/resolv.conf",
	  "&& unshare --user --map-user=1 true'";
	my $output = `$command 2>&1`;

	return if $? == 0;
	chomp $output;
	return "unshare(1) cannot make namespaces here: $output";
}

sub enter
{
	$ENV{$stage_variable} = 'root';
	$ENV{BROWSER_SESSION_USER} = $<;
	$ENV{BROWSER_SESSION_GROUP} = $( + 0;
	exec 'unshare', '--user', '--map-root-user', '--net', '--mount', perl();
	die "could not execute unshare: $!";
}

sub prepare
{
	loopback_up();
	replace('/etc/resolv.conf', 'nameserver ' . ADDRESS . "\nsearch invalid\n");
	replace('/etc/nsswitch.conf', "hosts: files dns\n");
	my $socket = IO::Socket::INET->new(
		Proto => 'udp',
		LocalAddr => ADDRESS,
		LocalPort => 53) or die "could not bind the silent name server: $!";
	serve($socket);
	close $socket;

	$ENV{$stage_variable} = 'ready';
	exec 'unshare', '--user', "--map-user=$ENV{BROWSER_SESSION_USER}",
	  "--map-group=$ENV{BROWSER_SESSION_GROUP}", perl();
	die "could not execute unshare: $!";
}

# Starts the name server.
sub serve
{
	my ($socket) = @_;
	my $parent = $$;
	my $pid = fork // die "could not fork: $!";

	return if $pid;
	while (getppid() == $parent)
	{
		my $query;

		next unless IO::Select->new($socket)->can_read(0.5);
		next unless $socket->recv($query, 512);

		# Header, labels, type and class.  The answer says that there is no
		# such name.
		$socket->send(
			substr($query, 0, 2)
			  . pack('n n n n n', 0x8183, 1, 0, 0, 0)
			  . $1)
		  if substr($query, 12) =~ /\A(.*\x07invalid\0.{4})/si;
	}
	POSIX::_exit(0);
}

# The command that started this test.
sub perl
{
	return ($^X, (map { '-I' . Cwd::abs_path($_) } grep { !ref && -d } @INC),
		$0, @ARGV);
}

# A fresh network namespace has its loopback device down.
sub loopback_up
{
	my ($get_flags, $set_flags, $up) = (0x8913, 0x8914, 1);
	my $socket = IO::Socket::INET->new(Proto => 'udp') or die "socket: $!";
	my $request = pack 'a16 s x22', 'lo', 0;

	ioctl($socket, $get_flags, $request) or die "SIOCGIFFLAGS: $!";
	$request = pack 'a16 s x22', 'lo', unpack('x16 s', $request) | $up;
	ioctl($socket, $set_flags, $request) or die "SIOCSIFFLAGS: $!";
	return;
}

sub replace
{
	my ($path, $text) = @_;
	my $file = File::Temp->new(UNLINK => 0);

	print $file $text;
	close $file;
	chmod 0644, $file->filename;
	system('mount', '--bind', $file->filename, $path) == 0
	  or die "could not mount over $path";
	unlink $file->filename;
	return;
}

1;
