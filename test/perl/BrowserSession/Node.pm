# Node.pm
#
# A PostgreSQL server with the extension in its database postgres, and short
# words for what the tests do all the time: make an account, end a session,
# read the row.

package BrowserSession::Node;

use strict;
use warnings;

use parent 'PostgreSQL::Test::Cluster';

use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Utils ();
use Time::HiRes             qw(time);

# Starts a server; conf goes into postgresql.conf.  With `preload`, a list of
# libraries, it is started with these, the extension's being among them for
# its background worker.
sub start_new
{
	my ($class, $name, %option) = @_;
	my $node = $class->new($name);

	$node->init;
	$node->append_conf('postgresql.conf',
		"shared_preload_libraries = '$option{preload}'\n")
	  if defined $option{preload};
	$node->append_conf('postgresql.conf', $option{conf})
	  if defined $option{conf};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION browser_session');
	return $node;
}

# Makes an account, in place of the one of that name if there is one: a server
# and everyone's user mapping.  `mapping` holds the latter's options; all
# others are the server's.
sub account
{
	my ($self, $server, %option) = @_;

	$self->safe_psql('postgres', account_sql($server, %option));
	return;
}

# The statements behind account(), for those who make many.
sub account_sql
{
	my ($server, %option) = @_;
	my $mapping = delete $option{mapping} // { api_key => 'sim-key' };

	return join "\n",
	  'SET client_min_messages = warning;',
	  qq(DROP SERVER IF EXISTS "$server" CASCADE;),
	  qq(CREATE SERVER "$server" FOREIGN DATA WRAPPER browser_session)
	  . options(%option) . ';',
	  qq(CREATE USER MAPPING FOR PUBLIC SERVER "$server")
	  . options(%$mapping) . ";\n";
}

sub options
{
	my (%option) = @_;

	return '' unless %option;
	return
		' OPTIONS ('
	  . join(', ', map { "$_ " . literal($option{$_}) } sort keys %option)
	  . ')';
}

# A string constant.
sub literal
{
	my ($text) = @_;

	return 'NULL' unless defined $text;
	utf8::encode($text) if utf8::is_utf8($text);
	$text =~ s/\\/\\\\/g;
	$text =~ s/'/''/g;
	return "E'$text'";
}

# Ends one session; the row as a hash, `seconds` being elapsed as a number.
# Further arguments are settings.
sub end
{
	my ($self, $server, $id, %setting) = @_;
	my ($row) = $self->rows(
		sprintf('bsession_end(%s, %s)', literal($server), literal($id)),
		%setting);

	return $row;
}

sub end_many
{
	my ($self, $server, $ids, %setting) = @_;
	my $array =
	  'ARRAY[' . join(', ', map { literal($_) } @$ids) . ']::text[]';

	return $self->rows(
		sprintf('bsession_end_many(%s, %s)', literal($server), $array),
		%setting);
}

# The rows of a FROM item that yields bsession_result, in order.
sub rows
{
	my ($self, $from, %setting) = @_;
	my @lines = split /\n/,
	  $self->safe_psql('postgres', set(%setting) . rows_sql($from));

	return map { JSON::PP->new->utf8->allow_nonref->decode($_) } @lines;
}

# The statement behind rows(), for those who send it their own way.
sub rows_sql
{
	my ($from) = @_;

	return 'SELECT to_jsonb(r) || jsonb_build_object('
	  . "'seconds', extract(epoch FROM r.elapsed)) FROM $from r;\n";
}

sub set
{
	my (%setting) = @_;

	return join '', map { "SET $_ = " . literal($setting{$_}) . ";\n" }
	  sort keys %setting;
}

# By how many kB more a server's memory can grow in this mode of the tests:
# AddressSanitizer keeps what was freed of late.
sub memory_allowance { return $ENV{BROWSER_SESSION_ASAN} ? 65536 : 0; }

# Starts psql on a script without waiting for it; finish() returns its output,
# errors, and the seconds it took.  All through files, so that nothing has to
# be pumped meanwhile.
sub background
{
	my ($self, $sql, %option) = @_;
	my $base = sprintf '%s/psql-%d', PostgreSQL::Test::Utils::tempdir(),
	  $self->{_queries}++;
	my @command = (
		$self->installed_command('psql'),
		'-XAtq',
		'-d',
		$self->connstr($option{dbname} // 'postgres'),
		'-f',
		"$base.sql",
		@{ $option{params} // [] });

	PostgreSQL::Test::Utils::append_to_file("$base.sql", $sql);
	return {
		base => $base,
		start => time,
		run => IPC::Run::start(
			\@command,
			'<',
			\undef,
			'>',
			"$base.out",
			'2>',
			"$base.err",
			IPC::Run::timeout(
				$option{timeout} // $PostgreSQL::Test::Utils::timeout_default)
		) };
}

sub finish
{
	my ($self, $query) = @_;
	my @result;

	$query->{run}->finish;
	@result = map { PostgreSQL::Test::Utils::slurp_file("$query->{base}.$_") }
	  qw(out err);
	chomp @result;
	return (@result, time - $query->{start});
}

1;
