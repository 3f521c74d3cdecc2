# Sim.pm
#
# The provider simulator: starts test/provider_sim on a port of its own and
# talks to its admin endpoint.
#
#   my $sim = BrowserSession::Sim->new;
#   $sim->url('stagehand', status => 503, times => 2)    a base URL
#   $sim->requests('id-1')                               what arrived
#
# $ENV{PROVIDER_SIM} is the compiled program; without it the test compiles its
# own.

package BrowserSession::Sim;

use strict;
use warnings;

use BrowserSession::Poll qw(wait_until);
use File::Basename       qw(dirname);
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Utils ();

sub new
{
	my ($class) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir();
	my $self = bless {
		owner => $$,
		http => HTTP::Tiny->new(timeout => 30),
		log => "$PostgreSQL::Test::Utils::log_path/provider_sim.$$.log"
	}, $class;

	$self->{run} = IPC::Run::start(
		[   program($directory), '--port', 0, '--port-file',
			"$directory/port" ],
		'<',
		\undef,
		'>',
		$self->{log},
		'2>&1');
	wait_until(
		'the provider simulator listens',
		sub {
			die 'the provider simulator did not start, see ' . $self->{log}
			  unless $self->{run}->pumpable;
			-s "$directory/port";
		});
	$self->{port} = PostgreSQL::Test::Utils::slurp_file("$directory/port");
	$self->{port} =~ s/\s//g;
	return $self;
}

# Path of the program, compiled if need be.
sub program
{
	my ($directory) = @_;
	my $source = dirname(__FILE__) . '/../..';

	return $ENV{PROVIDER_SIM} if $ENV{PROVIDER_SIM};
	PostgreSQL::Test::Utils::system_or_bail(
		$ENV{CC} // 'cc', '-O1',
		'-pthread', '-o',
		"$directory/provider_sim", "$source/provider_sim.c",
		glob("$source/sim/*.c"), '-lmicrohttpd',
		'-ljansson');
	return "$directory/provider_sim";
}

sub port { return $_[0]->{port}; }

# The base URL of a dialect that behaves as the options say.
sub url
{
	my ($self, $dialect, %with) = @_;
	my $with = with(%with);

	return
		"http://127.0.0.1:$self->{port}/"
	  . (length $with ? "with:$with/" : '')
	  . $dialect;
}

sub with
{
	my (%with) = @_;

	return join ',', map { "$_=$with{$_}" } sort keys %with;
}

# What arrived (for one id), oldest first.
sub requests
{
	my ($self, $id) = @_;

	return @{
		$self->ask('GET',
			'requests' . (defined $id ? '?id=' . escape($id) : '')) };
}

sub forget
{
	my ($self) = @_;

	$self->ask('DELETE', 'requests');
	return $self->ask('DELETE', 'stats');
}

sub stats { return $_[0]->ask('GET', 'stats'); }

sub accept_key
{
	my ($self, $key) = @_;

	return $self->ask('POST', 'keys?key=' . escape($key));
}

# The state of a session, undef if the simulator does not know it.
sub state
{
	my ($self, $dialect, $id, %with) = @_;
	my $reply = $self->{http}->get(
		$self->admin(
				"sessions/$dialect/"
			  . escape($id)
			  . '?with='
			  . escape(with(%with))));

	return if $reply->{status} == 404;
	return decode($reply)->{state};
}

sub ask
{
	my ($self, $method, $path) = @_;

	return decode($self->{http}->request($method, $self->admin($path)));
}

sub admin { return "http://127.0.0.1:$_[0]->{port}/_sim/$_[1]"; }

sub decode
{
	my ($reply) = @_;

	die
	  "provider simulator: $reply->{url}: $reply->{status} $reply->{content}"
	  unless $reply->{success};
	return unless length $reply->{content};
	return JSON::PP->new->utf8->allow_nonref->decode($reply->{content});
}

sub escape
{
	my ($text) = @_;

	utf8::encode($text) if utf8::is_utf8($text);
	$text =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ge;
	return $text;
}

sub stop
{
	my ($self) = @_;
	my $run = delete $self->{run};

	return unless $run && $self->{owner} == $$;
	$run->signal('TERM');
	$run->finish;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $!, $@);

	eval { $self->stop; };
	return;
}

1;
