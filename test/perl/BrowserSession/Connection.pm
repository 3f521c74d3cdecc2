# Connection.pm
#
# One connection of BrowserSession::Wire, as its handler sees it: read the
# request, then answer byte by byte, properly or not.
#
# Lives in a process of its own that ends with it, so a handler may block.  It
# never outlives the test: every wait watches the process that started it.

package BrowserSession::Connection;

use strict;
use warnings;

use IO::Select;
use PostgreSQL::Test::Utils ();
use Socket      qw(SOL_SOCKET SO_LINGER);
use Time::HiRes qw(time);

# socket: connected, perhaps a TLS one; record: called with each request's
# bytes
sub new
{
	my ($class, $socket, $record) = @_;

	$socket->autoflush(1);
	return bless {
		socket => $socket,
		record => $record,
		parent => getppid(),
		buffer => '' }, $class;
}

# Reads one request; undef if the peer closed instead of sending one.
sub request
{
	my ($self) = @_;

	until ($self->{buffer} =~ /\r\n\r\n/)
	{
		return unless $self->read_more;
	}
	my ($head) = $self->{buffer} =~ /\A(.*?\r\n\r\n)/s;
	my ($length) = $head =~ /^content-length:[ \t]*(\d+)/mi;
	my $total = length($head) + ($length // 0);

	while (length($self->{buffer}) < $total)
	{
		return unless $self->read_more;
	}
	my $bytes = substr($self->{buffer}, 0, $total, '');
	$self->{record}->($bytes);
	return parse($bytes);
}

# Takes a request's bytes apart.  Headers stay pairs in their order, as they
# came.
sub parse
{
	my ($bytes) = @_;
	my ($head, $body) = split /\r\n\r\n/, $bytes, 2;
	my ($line, @lines) = split /\r\n/, $head;
	my ($method, $target, $version) = split / /, $line, 3;

	return {
		bytes => $bytes,
		method => $method,
		target => $target,
		version => $version,
		headers => [ map { [ split /: ?/, $_, 2 ] } @lines ],
		body => $body // '' };
}

sub send
{
	my ($self, $bytes) = @_;
	my $socket = $self->{socket};
	local $SIG{PIPE} = 'IGNORE';

	return print {$socket} $bytes;
}

# Answers well: the length is right and the connection closes afterwards
# unless the headers say otherwise.
sub reply
{
	my ($self, $status, $body, %headers) = @_;
	%headers = (
		'Content-Type' => 'application/json',
		'Content-Length' => length $body,
		'Connection' => 'close',
		%headers);
	my @lines = map { "$_: $headers{$_}\r\n" }
	  grep { defined $headers{$_} } sort keys %headers;

	return $self->send(
		join('', "HTTP/1.1 $status Reason\r\n", @lines, "\r\n", $body));
}

# Sends a byte a second, for as long as somebody listens.
sub trickle
{
	my ($self, $bytes) = @_;

	foreach my $byte (split //, $bytes)
	{
		return unless $self->send($byte);
		return if $self->idle(1);
	}
	return;
}

# Says nothing until the peer gives up.
sub hang
{
	my ($self) = @_;

	until ($self->idle(60)) { }
	return;
}

# Sends a start and then one piece after the other, until the peer has had
# enough or they are so many bytes.  Returns how many bytes it took.
sub endless
{
	my ($self, $start, $piece, $most) = @_;
	my $taken = 0;

	return 0 unless $self->send($start);
	$taken += length $piece
	  while $taken < ($most // 1e12) && $self->send($piece);
	return $taken;
}

# Sends bytes and ends the connection with RST once the peer has read them: a
# reset overtakes what has not been read.
sub cut
{
	my ($self, $bytes) = @_;

	$self->send($bytes);
	until ($self->is_read)
	{
		last if $self->idle(0.05);
	}
	$self->reset;
	return;
}

# Has the peer, on this machine, read all it was sent?
sub is_read
{
	my ($self) = @_;
	my $socket = $self->{socket};
	my $here = sprintf '%04X', $socket->sockport;
	my $there = sprintf '%04X', $socket->peerport;
	my %queue;

	# The columns: number, local and remote address, state, tx:rx queues.
	foreach my $line (
		split /\n/, PostgreSQL::Test::Utils::slurp_file('/proc/net/tcp'))
	{
		my ($local, $remote, $tx, $rx) =
		  $line =~ /: [0-9A-F]+:(\w+) [0-9A-F]+:(\w+) \w+ (\w+):(\w+) /
		  or next;

		$queue{tx} = hex $tx if $local eq $here && $remote eq $there;
		$queue{rx} = hex $rx if $local eq $there && $remote eq $here;
	}
	return !$queue{tx} && !$queue{rx};
}

# Ends the connection with RST in place of FIN.
sub reset
{
	my ($self) = @_;

	setsockopt($self->{socket}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
	close $self->{socket};
	return;
}

# Waits; true if the peer closed or the test is gone.
sub idle
{
	my ($self, $seconds) = @_;
	my $deadline = time + $seconds;

	while ((my $left = $deadline - time) > 0)
	{
		return 1 if getppid() != $self->{parent};
		next
		  unless IO::Select->new($self->{socket})
		  ->can_read($left > 0.5 ? 0.5 : $left);
		return 1 unless $self->read_more;
	}
	return 0;
}

sub read_more
{
	my ($self) = @_;
	my $got =
	  sysread($self->{socket}, $self->{buffer}, 65536,
		length $self->{buffer});

	return $got;
}

1;
