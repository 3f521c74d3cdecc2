# 009_readme.pl
#
# README.md does what it says: its sql blocks run in their order in one psql,
# and where a block shows output, that is the output.  Providers are
# simulated: an event trigger points each server at the simulator as soon as
# it is made.
#
# The table of settings, whose second column is the default, agrees with the
# server.
#
# Another document can be named: prove … 009_readme.pl :: FILE

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Document;
use BrowserSession::Node;
use BrowserSession::Sim;
use BrowserSession::Wire;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $path = $ARGV[0] // "$FindBin::RealBin/../../README.md";
my @blocks = BrowserSession::Document::blocks($path);

# Those with pg_cron are run by 019_cron.pl, on a server that has it.
my @sql =
  grep { $_->{language} eq 'sql' && $_->{text} !~ /\bcron\./ } @blocks;
my $text = join "\n", map { $_->{text} } @sql;

cmp_ok(scalar @sql, '>', 0, 'there are sql blocks');

# Every block is of a kind that somebody runs.
my %elsewhere = (
	sh => 'a shell command',
	conf => 'a configuration file',
	text => 'output of no sql block');
foreach my $block (grep { $_->{language} ne 'sql' } @blocks)
{
	ok($elsewhere{ $block->{language} },
		"line $block->{line}: the kind of block is known")
	  or diag "it is \"$block->{language}\"";
	note "line $block->{line}: not run here: "
	  . ($elsewhere{ $block->{language} } // '');
}

# The server is configured with the defaults that the document states.
my %setting = PostgreSQL::Test::Utils::slurp_file($path) =~
  /^\|\s*`(browser_session\.\w+)`\s*\|\s*`([^`]*)`\s*\|/gm;
my $node = BrowserSession::Node->new('main');
$node->init;
$node->append_conf(
	'postgresql.conf',
	join "\n",
	"shared_preload_libraries = 'browser_session'",
	map { "$_ = '$setting{$_}'" } sort keys %setting);
$node->start;
my $sim = BrowserSession::Sim->new;
my $anything =
  BrowserSession::Wire->new(custom => sub { return $_[0]->reply(200, '{}'); }
  );

# Keys and roles that the document takes for granted.
$sim->accept_key($_) foreach $text =~ /\bapi_key '([^']+)'/g;
my %role =
  map { $_ => 1 } $text =~ /\b(?:USER MAPPING FOR|GRANT [^;]* TO) (\w+)/gi;
my @created = $text =~ /\bCREATE (?:ROLE|USER) (?!MAPPING)(\w+)/gi;
delete @role{ @created,
	grep { /\A(?:public|current_user|user)\z/i } keys %role };
$node->safe_psql('postgres', "CREATE ROLE $_") foreach sort keys %role;

my $url = BrowserSession::Node::literal($sim->url(''));
my $custom = BrowserSession::Node::literal($anything->url('custom'));
$node->safe_psql('postgres', <<SQL);
CREATE SCHEMA simulated;
CREATE FUNCTION simulated.redirect() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER AS \$\$
DECLARE
	server record;
	url text;
BEGIN
	FOR server IN
		SELECT srvname,
			   (SELECT option_value FROM pg_options_to_table(srvoptions)
				 WHERE option_name = 'provider') AS provider,
			   (SELECT option_value FROM pg_options_to_table(srvoptions)
				 WHERE option_name = 'base_url') AS base_url
		  FROM pg_foreign_server JOIN pg_foreign_data_wrapper w ON w.oid = srvfdw
		 WHERE fdwname = 'browser_session'
	LOOP
		url := CASE coalesce(server.provider, server.srvname)
			WHEN 'custom' THEN $custom
			WHEN 'browser_use_browser' THEN $url || 'browser_use'
			ELSE $url || coalesce(server.provider, server.srvname) END;
		CONTINUE WHEN server.base_url = url;
		EXECUTE format('ALTER SERVER %I OPTIONS (%s base_url %L)',
			server.srvname,
			CASE WHEN server.base_url IS NULL THEN 'ADD' ELSE 'SET' END, url);
	END LOOP;
END
\$\$;
CREATE EVENT TRIGGER simulated ON ddl_command_end
	WHEN TAG IN ('CREATE SERVER', 'ALTER SERVER')
	EXECUTE FUNCTION simulated.redirect();
SQL

# Where the README sleeps for as long as the worker needs, wait until it has
# nothing to do.
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION simulated.pg_sleep(double precision) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 1000 LOOP
		PERFORM pg_catalog.pg_sleep(0.1);
		EXIT WHEN NOT EXISTS (SELECT FROM bsession_tracked
			WHERE next_attempt_at < clock_timestamp() + interval '1 minute');
	END LOOP;
END
$$;
SQL

# One psql for all; what it says on either channel goes into one file, in
# order.
my $directory = PostgreSQL::Test::Utils::tempdir();
my $script = '';
foreach my $i (0 .. $#sql)
{
	my $text = $sql[$i]{text} =~ s/\bpg_sleep\(/simulated.pg_sleep(/gr;

	$script .= "\\echo '#### block $i'\n$text\n";
}
PostgreSQL::Test::Utils::append_to_file("$directory/readme.sql", $script);
IPC::Run::run(
	[   $node->installed_command('psql'), '-X',
		'-q', '-d',
		$node->connstr('postgres'), '-f',
		"$directory/readme.sql" ],
	'<',
	\undef,
	'>',
	"$directory/out",
	'2>&1',
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

my $output = PostgreSQL::Test::Utils::slurp_file("$directory/out");
my %actual = $output =~ /^#### block (\d+)\n(.*?)(?=^#### block|\z)/gms;

foreach my $i (0 .. $#sql)
{
	my ($block, $actual) = ($sql[$i], $actual{$i});

	ok(defined $actual, "line $block->{line}: the block is run") or next;
	if (defined $block->{output})
	{
		ok(BrowserSession::Document::matches($block->{output}, $actual),
			"line $block->{line}: the output is as shown")
		  or diag "shown:\n$block->{output}\nis:\n$actual";
	}
	else
	{
		unlike(
			$actual,
			qr/^(?:psql:\S+ )?(?:ERROR|FATAL|PANIC|WARNING):/m,
			"line $block->{line}: no error");
	}
}

# Any spelling of a default will do that the server reads as the same value.
my @settings = split /\n/, $node->safe_psql('postgres', <<'SQL');
SELECT name FROM pg_settings WHERE name LIKE 'browser\_session.%' ORDER BY 1
SQL

is_deeply([ sort keys %setting ], \@settings,
	'every setting is in the table');
foreach my $name (@settings)
{
	is( $node->safe_psql('postgres', <<SQL),
SELECT setting = boot_val AND source = 'configuration file'
FROM pg_settings WHERE name = '$name';
SQL
		't',
		"$name: the default is the one in the table");
}

done_testing();
