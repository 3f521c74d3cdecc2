# Provider.pm
#
# The provider that sessions are ended at, nginx on ports of its own, and the
# reference: what libcurl alone reaches there.

package Bench::Provider;

use strict;
use warnings;

use IO::Socket::INET;

# Starts nginx.  `templates` is the directory of nginx.conf, `dir` an empty one
# for what nginx needs, `raw` the program raw_libcurl.
sub start
{
	my ($class, %option) = @_;
	my $self = bless {%option}, $class;

	mkdir $self->{dir} or die "could not create $self->{dir}: $!\n";
	$self->make_certificate;
	@$self{qw(port tls_port)} = free_ports(2);
	$self->write_conf;
	run(
		'nginx',
		'-e', "$self->{dir}/error.log",
		'-c', "$self->{dir}/nginx.conf");
	return $self;
}

# Makes an authority and nginx's certificate.
sub make_certificate
{
	my ($self) = @_;
	my @key = (
		'openssl', 'req', '-x509', '-days', 2, '-nodes', '-newkey', 'ec',
		'-pkeyopt', 'ec_paramgen_curve:prime256v1');

	run(
		@key,
		'-subj', '/CN=browser_session bench authority',
		'-keyout', "$self->{dir}/authority.key",
		'-out', $self->ca_file);
	run(
		@key,
		'-subj', '/CN=127.0.0.1',
		'-addext', 'subjectAltName=IP:127.0.0.1',
		'-addext', 'basicConstraints=critical,CA:false',
		'-CA', $self->ca_file,
		'-CAkey', "$self->{dir}/authority.key",
		'-keyout', "$self->{dir}/key.pem",
		'-out', "$self->{dir}/certificate.pem");
	return;
}

sub ca_file { return "$_[0]->{dir}/authority.pem"; }

# Ports that nobody listens on.  All are found before one is let go.
sub free_ports
{
	my ($n) = @_;
	my @sockets = map {
		IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
		  or die "could not find a free port: $@\n"
	} 1 .. $n;

	return map { $_->sockport } @sockets;
}

# Fills in the template.
sub write_conf
{
	my ($self) = @_;
	my $conf = slurp("$self->{templates}/nginx.conf");
	my ($modules) = said('nginx', '-V') =~ /--modules-path=(\S+)/;
	my %value = (
		DIR => $self->{dir},
		MODULES => $modules // die("nginx -V names no --modules-path\n"),
		PORT => $self->{port},
		TLS_PORT => $self->{tls_port});

	$conf =~ s/\@(\w+)\@/$value{$1}/g;
	open my $file, '>', "$self->{dir}/nginx.conf" or die "nginx.conf: $!\n";
	print {$file} $conf;
	close $file or die "nginx.conf: $!\n";
	return;
}

# The base_url of a location in nginx.conf.
sub url
{
	my ($self, $location, $tls) = @_;

	return $tls
	  ? "https://127.0.0.1:$self->{tls_port}/$location"
	  : "http://127.0.0.1:$self->{port}/$location";
}

# nginx's worker processes.
sub pids
{
	my ($self) = @_;
	my ($master) = slurp("$self->{dir}/nginx.pid") =~ /(\d+)/;

	return split ' ', slurp("/proc/$master/task/$master/children");
}

# Seconds that libcurl alone takes to end n sessions.
sub raw
{
	my ($self, $location, $n, $in_flight, $tls) = @_;
	my ($seconds) = said(
		$self->{raw}, $self->url($location, $tls) . '/v1/sessions/',
		$n, $in_flight, $tls ? $self->ca_file : ());

	chomp $seconds;
	return $seconds;
}

# Starts a new list of arrivals.
sub forget_arrivals
{
	my ($self) = @_;

	truncate $self->{dir} . '/arrivals.log', 0;
	return;
}

# When the requests for sessions at /lateness/ arrived, in order: pairs of id
# and seconds since 1970.  nginx writes them half a second late.
sub arrivals
{
	my ($self, $n) = @_;
	my $deadline = time + 10;
	my @arrivals;

	while (@arrivals < $n && time < $deadline)
	{
		select undef, undef, undef, 0.2;
		@arrivals =
		  map { [ $_->[1], $_->[0] ] }
		  map { m{^([0-9.]+) /lateness/v1/sessions/(\S+)\n}m ? [ $1, $2 ] : () }
		  split /^/, slurp("$self->{dir}/arrivals.log");
	}
	return @arrivals;
}

sub versions
{
	my ($self) = @_;
	my ($nginx) = said('nginx', '-v') =~ m{nginx/(\S+)};
	my ($libcurl) = said($self->{raw}, 'version') =~ m{libcurl/(\S+)};

	return "libcurl $libcurl, nginx $nginx";
}

# ----- programs ------------------------------------------------------------

# What a program says, on both channels.  Dies with it if the program fails.
sub said
{
	my (@command) = @_;
	my $pid = open(my $pipe, '-|') // die "fork: $!\n";
	my $said;

	if ($pid == 0)
	{
		open STDERR, '>&', \*STDOUT or die;
		{ no warnings 'exec'; exec @command; }
		print "$!\n";
		exit 127;
	}
	$said = do { local $/; <$pipe> } // '';
	close $pipe or die "$command[0] failed: $said\n";
	return $said;
}

sub run
{
	said(@_);
	return;
}

sub slurp
{
	my ($name) = @_;

	open my $file, '<', $name or die "$name: $!\n";
	local $/;
	return <$file> // '';
}

1;
