# Preload.pm
#
# Libraries that change the world around a server: compiled from test/NAME.c,
# and loaded ahead of others into what is started with them.
#
#   my $library = library('set_clock');
#   preloaded($library, sub { $node->start; });

package BrowserSession::Preload;

use strict;
use warnings;

use Cwd                     ();
use Exporter 'import';
use File::Basename          qw(dirname);
use PostgreSQL::Test::Utils ();

our @EXPORT_OK = qw(library preloaded);

# Compiles a library and returns its path.
sub library
{
	my ($name) = @_;
	my $directory = Cwd::abs_path(PostgreSQL::Test::Utils::tempdir());
	my $library = "$directory/$name.so";
	my $pg_config = $ENV{PG_CONFIG} // 'pg_config';

	chomp(my $include = qx("$pg_config" --includedir-server));
	PostgreSQL::Test::Utils::system_or_bail(
		$ENV{CC} // 'cc', '-std=gnu11', '-D_GNU_SOURCE', '-O1', '-fPIC',
		'-shared', '-isystem', $include, '-o', $library,
		dirname(__FILE__) . "/../../$name.c", '-ldl');
	return $library;
}

# Runs code; what it starts has the library, behind those that are there.
sub preloaded
{
	my ($library, $code) = @_;
	local $ENV{LD_PRELOAD} = join ' ', grep { defined && length }
	  $ENV{LD_PRELOAD}, $library;

	return $code->();
}

1;
