# Poll.pm
#
# Waiting for a state.  A test asks for what it needs and goes on as soon as
# it is there; the limit is the one of PostgreSQL's own tests and only ever
# reached by a failure.

package BrowserSession::Poll;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils ();
use Time::HiRes             qw(time sleep);

our @EXPORT_OK = qw(wait_until);

# Returns what the code returned once that is true; dies naming what was
# waited for.
sub wait_until
{
	my ($what, $code) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $deadline)
	{
		my $value = $code->();
		return $value if $value;
		sleep 0.02;
	}
	die "timed out waiting until $what";
}

1;
