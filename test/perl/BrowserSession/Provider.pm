# Provider.pm
#
# What the tests know of each provider: the simulator's dialect of it, the
# server options an account needs, how a key is given, what its ids look like.
#
# Beside the built-in ones there are "grid", the webdriver provider in front
# of a Selenium Grid with a user name and a password, and "acme", a made-up
# provider that is described by options alone.

package BrowserSession::Provider;

use strict;
use warnings;

my %provider = (
	stagehand => {},
	anchor => {},
	browser_use => { uuid => 1 },
	browser_use_browser => { dialect => 'browser_use', uuid => 1 },
	browserless => {},
	browserbase => {},
	webdriver => { mapping => sub { return {}; } },
	grid => {
		options => { provider => 'webdriver', auth => 'basic' },
		mapping => sub { return { username => 'sim', password => $_[0] }; },
	},
	acme => {
		options => {
			provider => 'custom',
			auth => 'bearer',
			end_method => 'PUT',
			end_path => '/v2/browsers/{id}/terminate',
			end_body => '{"reason":"leaked"}',
			confirm_path => '/v2/browsers/{id}',
			reply => 'json',
			gone_status => '410',
			status_field => 'state.phase',
			live_status => 'OPEN,CLOSING',
			ended_status => 'CLOSED', }, });

my $count = 0;

sub names { my @names = sort keys %provider; return @names; }

sub dialect
{
	my ($name) = @_;

	return $provider{$name}{dialect} // $name;
}

# Server and mapping options of an account at this provider, for
# BrowserSession::Node's account().
sub options
{
	my ($name, $base_url, $key) = @_;
	my $mapping = $provider{$name}{mapping}
	  // sub { return { api_key => $_[0] } };

	return (
		provider => $name,
		base_url => $base_url,
		%{ $provider{$name}{options} // {} },
		mapping => $mapping->($key // 'sim-key'));
}

# An id not used before, of a session that is live at first sight.
sub new_id
{
	my ($name) = @_;

	$count++;
	return $provider{$name}{uuid}
	  ? sprintf('%08x-5e55-4000-8000-%012x', $count, $$)
	  : "session-$$-$count";
}

# An id not used before, of a session that never existed.
sub unknown_id
{
	my ($name) = @_;

	$count++;
	return $provider{$name}{uuid}
	  ? sprintf('00000000-5e55-4000-8000-%012x', $count)
	  : "unknown-$$-$count";
}

1;
