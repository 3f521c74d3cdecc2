# Authority.pm
#
# A certificate authority of the test's own, made with the openssl program.
#
#   my $authority = BrowserSession::Authority->new;
#   $authority->certificate                        { certificate, key } for Wire
#   $authority->certificate(name => 'DNS:other.example', expired => 1)
#   $authority->file                               what ca_file wants

package BrowserSession::Authority;

use strict;
use warnings;

use Cwd ();
use PostgreSQL::Test::Utils ();

sub new
{
	my ($class) = @_;
	my $directory = Cwd::abs_path(PostgreSQL::Test::Utils::tempdir());
	my $self = bless { directory => $directory, serial => 0 }, $class;

	PostgreSQL::Test::Utils::append_to_file("$directory/ca.conf", <<CONF);
[ req ]
distinguished_name = name
[ name ]
[ ca ]
default_ca = test
[ test ]
new_certs_dir = $directory
database = $directory/index
serial = $directory/serial
unique_subject = no
default_md = sha256
policy = any
copy_extensions = copy
[ any ]
commonName = supplied
[ authority ]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
CONF
	PostgreSQL::Test::Utils::append_to_file("$directory/index", '');
	PostgreSQL::Test::Utils::append_to_file("$directory/serial", "01\n");
	$self->openssl(
		'req', '-x509',
		'-new', '-nodes',
		'-newkey', 'rsa:2048',
		'-config', "$directory/ca.conf",
		'-extensions', 'authority',
		'-subj', '/CN=browser_session test authority',
		'-days', 2,
		'-keyout', "$directory/ca.key",
		'-out', $self->file);
	return $self;
}

sub file { return "$_[0]->{directory}/ca.crt"; }

# Issues a server certificate, for this machine's loopback unless a name is
# given in openssl's notation.
sub certificate
{
	my ($self, %option) = @_;
	my $name = $option{name} // 'DNS:localhost,IP:127.0.0.1';
	my $base = "$self->{directory}/server" . $self->{serial}++;
	my @validity =
	  $option{expired}
	  ? ('-startdate', '200101000000Z', '-enddate', '200102000000Z')
	  : ('-days', 1);

	$self->openssl(
		'req', '-new',
		'-nodes', '-newkey',
		'rsa:2048', '-config',
		"$self->{directory}/ca.conf", '-subj',
		'/CN=browser_session test server', '-addext',
		"subjectAltName=$name", '-keyout',
		"$base.key", '-out',
		"$base.csr");
	$self->openssl(
		'ca', '-batch',
		'-notext', '-config',
		"$self->{directory}/ca.conf", '-cert',
		$self->file, '-keyfile',
		"$self->{directory}/ca.key", @validity,
		'-in', "$base.csr",
		'-out', "$base.crt");
	return { certificate => "$base.crt", key => "$base.key" };
}

sub openssl
{
	my ($self, @arguments) = @_;

	PostgreSQL::Test::Utils::system_or_bail('openssl', @arguments);
	return;
}

1;
