# Document.pm
#
# A Markdown file as a list of fenced blocks, and the comparison of what a
# block shows as psql's output with what psql says.
#
# A block tagged sql is run; a block tagged text right after it (only blank
# lines between) is its output.
#
# A table is known by what stands over its first column.

package BrowserSession::Document;

use strict;
use warnings;

use PostgreSQL::Test::Utils ();

# All blocks: { language, text, line }, and { output } for sql ones that show
# theirs.  Output blocks are not in the list by themselves.
sub blocks
{
	my ($path) = @_;
	my (@blocks, $block, $indent);
	my ($number, $adjacent) = (0, 0);

	foreach
	  my $line (split /\n/, PostgreSQL::Test::Utils::slurp_file($path), -1)
	{
		$number++;
		if ($block && $line =~ /^\s*```\s*$/)
		{
			add(\@blocks, $block, $adjacent);
			($block, $adjacent) = (undef, 1);
		}
		elsif ($block)
		{
			$line =~ s/^$indent//;
			$block->{text} .= "$line\n";
		}
		elsif ($line =~ /^(\s*)```\s*(\S*)/)
		{
			$indent = $1;
			$block = { language => $2, text => '', line => $number };
		}
		elsif ($line =~ /\S/)
		{
			$adjacent = 0;
		}
	}
	die "$path: the block at line $block->{line} does not end" if $block;
	return @blocks;
}

sub add
{
	my ($blocks, $block, $adjacent) = @_;

	if (   $block->{language} eq 'text'
		&& $adjacent
		&& $blocks->[-1]{language} eq 'sql'
		&& !defined $blocks->[-1]{output})
	{
		$blocks->[-1]{output} = $block->{text};
		return;
	}
	push @$blocks, $block;
	return;
}

# The rows of the table whose first column has this head, as lists of cells
# without their backquotes.
sub table
{
	my ($path, $head) = @_;
	my $text = PostgreSQL::Test::Utils::slurp_file($path);
	my ($rows) = $text =~ /^\|\ \Q$head\E\ \|[^\n]*\n
		\|[-|]+\n((?:\|[^\n]*\n)+)/mx
	  or die "$path: there is no table of \"$head\"";

	return map { [ map { s/`//gr } /\| ([^|]*?) (?=\|)/g ] } split /\n/, $rows;
}

# psql's output with what differs from run to run masked: times, intervals,
# ports, and so the widths of columns.  Command tags do not count.
sub normal
{
	my ($text) = @_;
	my $zone = qr/Z|[+-]\d\d(?::?\d\d)?/;
	my $clock = qr/\d\d:\d\d:\d\d(?:\.\d+)?/;
	my $tag = qr/(?:CREATE|ALTER|DROP)\ [A-Z ]+|INSERT\ 0\ \d+
		|(?:UPDATE|DELETE)\ \d+|SET|RESET|GRANT|REVOKE|BEGIN|COMMIT
		|ROLLBACK|COMMENT|DO/x;
	my @lines;

	$text =~ s/\d{4}-\d\d-\d\d[ T]$clock(?:$zone)?/<time>/g;
	$text =~ s/$clock/<interval>/g;
	$text =~ s/(127\.0\.0\.1|localhost):\d+/$1:<port>/g;

	# psql names the file and the line it reads from.
	$text =~ s/^psql:\S+:\d+: //gm;
	foreach my $line (split /\n/, $text)
	{
		my $plain = $line =~ s/-{2,}/--/gr =~ s/\s+/ /gr =~ s/\A | \z//gr;

		push @lines, $plain unless $plain =~ /\A(?:$tag)?\z/;
	}
	return join "\n", @lines;
}

# Is this output what the document shows?  There, an ellipsis stands for
# anything.
sub matches
{
	my ($expected, $actual) = @_;
	my $pattern = join '.*?',
	  map { quotemeta } split /\s*(?:…|\xe2\x80\xa6)\s*/, normal($expected),
	  -1;

	return normal($actual) =~ /\A$pattern\z/s;
}

1;
