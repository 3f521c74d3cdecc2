# Wire.pm
#
# A provider made of raw sockets: it records every byte of the requests that
# arrive and answers what the test says, which need not be HTTP.
#
#   my $wire = BrowserSession::Wire->new(
#       gone => sub {
#           my ($connection, $request) = @_;
#           $connection->reply(410, '{}');
#           return;
#       });
#   $wire->url('gone')    a base URL; its first path segment picks the route
#   $wire->requests       what came, in order, the segment taken off
#
# A route is called again for each further request on the same connection, as
# long as it returns true.  With `accept => sub { my ($connection) = @_; … }`
# in place of routes, the code gets the connection before anything is read.
# With `tls => { certificate => FILE, key => FILE }` it speaks TLS.
#
# The listener and each connection are processes of their own.  They leave by
# _exit(), for this is a copy of the test, whose END blocks would take down
# its cluster.

package BrowserSession::Wire;

use strict;
use warnings;

use BrowserSession::Connection;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use PostgreSQL::Test::Utils ();
use Time::HiRes             qw(time);

sub new
{
	my ($class, %routes) = @_;
	my $accept = delete $routes{accept};
	my $tls = delete $routes{tls};
	my $listener = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1',
		Listen => 511,
		ReuseAddr => 1) or die "could not listen: $!";
	my $self = bless {
		port => $listener->sockport,
		scheme => $tls ? 'https' : 'http',
		routes => \%routes,
		accept => $accept,
		tls => $tls,
		owner => $$,
		directory => PostgreSQL::Test::Utils::tempdir(),
		sequence => 0 }, $class;

	require IO::Socket::SSL if $tls;
	$self->{pid} = fork // die "could not fork: $!";
	if ($self->{pid} == 0)
	{
		eval { $self->listen_on($listener); };
		POSIX::_exit(0);
	}
	return $self;
}

sub port { return $_[0]->{port}; }

sub url
{
	my ($self, $route, $host) = @_;
	my $origin = sprintf '%s://%s:%d', $self->{scheme}, $host // '127.0.0.1',
	  $self->{port};

	return defined $route ? "$origin/$route" : $origin;
}

# The requests so far, oldest first, as hashes of BrowserSession::Connection's
# parse(), with the time of their arrival.
sub requests
{
	my ($self) = @_;
	my @requests;

	foreach my $file ($self->files('request'))
	{
		my $request = BrowserSession::Connection::parse(
			PostgreSQL::Test::Utils::slurp_file($file));

		($request->{at}) = $file =~ m{([0-9.]+)-[^/]*\z};
		($request->{route}) = $request->{target} =~ m{\A/([^/?]*)};
		$request->{target} =~ s{\A/[^/?]*}{} if !$self->{accept};
		push @requests, $request;
	}
	return @requests;
}

# How many connections were accepted so far.
sub connections { return scalar $_[0]->files('connection'); }

sub forget
{
	my ($self) = @_;

	unlink $self->files('request'), $self->files('connection');
	return;
}

sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{pid};

	return unless $pid && $self->{owner} == $$;
	kill 'TERM', -$pid, $pid;
	waitpid $pid, 0;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $!, $@);

	$self->stop;
	return;
}

sub files
{
	my ($self, $kind) = @_;
	my @files = sort glob "$self->{directory}/*.$kind";

	return @files;
}

# Puts a file in place in one step, so that a reader never sees half of it.
sub record
{
	my ($self, $kind, $bytes) = @_;
	my $name = sprintf '%s/%017.6f-%d-%d', $self->{directory}, time, $$,
	  $self->{sequence}++;

	open my $file, '>', "$name.new" or die "could not create $name: $!";
	binmode $file;
	print $file $bytes;
	close $file;
	rename "$name.new", "$name.$kind" or die "could not rename $name: $!";
	return;
}

sub listen_on
{
	my ($self, $listener) = @_;
	my $parent = getppid();

	setpgrp(0, 0);
	$SIG{TERM} = sub { POSIX::_exit(0) };
	$SIG{CHLD} = 'IGNORE';
	while (getppid() == $parent)
	{
		next unless IO::Select->new($listener)->can_read(0.5);
		my $socket = $listener->accept or next;
		$self->record('connection', '');
		my $pid = fork // die "could not fork: $!";
		if ($pid == 0)
		{
			close $listener;
			eval { $self->serve($socket); };
			POSIX::_exit(0);
		}
		close $socket;
	}
	return;
}

sub serve
{
	my ($self, $socket) = @_;

	if ($self->{tls})
	{
		$socket = IO::Socket::SSL->start_SSL(
			$socket,
			SSL_server => 1,
			SSL_cert_file => $self->{tls}{certificate},
			SSL_key_file => $self->{tls}{key}) or return;
	}
	my $connection = BrowserSession::Connection->new($socket,
		sub { $self->record('request', $_[0]) });

	return $self->{accept}->($connection) if $self->{accept};
	while (my $request = $connection->request)
	{
		my ($name) = $request->{target} =~ m{\A/([^/?]*)};
		my $route = $self->{routes}{$name} // sub {
			$_[0]->reply(500, qq({"message":"the test has no route $name"}));
			return;
		};
		$route->($connection, $request) or last;
	}
	close $socket;
	return;
}

1;
