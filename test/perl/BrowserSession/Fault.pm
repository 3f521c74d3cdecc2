# Fault.pm
#
# What a network and a broken provider can put in the way of an exchange: a
# catalogue of faults, and the servers on loopback that commit them.
#
#   my $servers = BrowserSession::Fault->new;
#   foreach my $fault ($servers->faults) { … }
#
# A fault has
#
#   name       of the account that meets it, for BrowserSession::Node
#   row        the fault's row in the README's table
#   outcome    what becomes of it
#   retried    whether a direct call tries again at once
#   status     the HTTP status that is seen; undef if there is none
#   error      what the error has to say, if that matters
#   timed_out  whether it takes as long as the account's time-out, in ms
#   options    of the account
#
# Faults of name servers need BrowserSession::NameServer::arrange().

package BrowserSession::Fault;

use strict;
use warnings;

use BrowserSession::Authority;
use BrowserSession::NameServer;
use BrowserSession::Wire;
use IO::Compress::Gzip ();
use PostgreSQL::Test::Cluster ();
use PostgreSQL::Test::Utils ();

use constant {
	HEAD => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
	SUCCESS => '{"success":true}',
	MEGABYTE => 1_048_576 };

# The time-out of faults that take as long; and of those of which something
# has to be seen before, be the machine ever so slow.
use constant { SHORT => 1_000, LONG => 5_000, NEVER => 60_000 };

# What the rows of the README's table have in common.
my %row = (
	'the name does not resolve' => [ 'unreachable', 1 ],
	'the name server says nothing' => ['timed_out'],
	'the connection is refused' => [ 'unreachable', 1 ],
	'the TLS handshake stalls' => ['timed_out'],
	'no TLS where it is expected' => [ 'unreachable', 1 ],
	'the certificate has expired, is another host\'s, or of an unknown'
	  . ' authority' => ['unreachable'],
	'the connection ends before the status line' => [ 'unreachable', 1 ],
	'the connection ends within the header or the body; chunks that are none'
	  => [ 'bad_reply', 1 ],
	'silence, before or after the header' => ['timed_out'],
	'a byte a second' => ['timed_out'],
	'what comes is not HTTP/1: garbage, another protocol, HTTP/0.9' =>
	  ['bad_reply'],
	'a status that is no answer: 000, 101, 999' => ['bad_reply'],
	'a header beyond 64 kB: 10,000 lines, one of 1 MB, 1xx without end' =>
	  ['bad_reply'],
	'a body beyond max_response_size, announced, sent or without end' =>
	  ['bad_reply'],
	'a length that cannot be read, or two that differ' => ['bad_reply'],
	'a body that is compressed, which is never undone' => ['bad_reply'],
	'a redirect, which is not followed' => ['bad_reply'],
	'JSON that is cut off, nested too deeply, or has NUL, broken UTF-8 or a'
	  . ' number out of range' => ['bad_reply'],
	'a 5xx with such a body' => [ 'unavailable', 1 ],
	'JSON with "success" twice, the last one being false' => ['rejected'],
	'JSON with "success" twice, the last one being true' => ['ended'],
	'a 429 whose Retry-After cannot be read' => [ 'rate_limited', 1 ],
	'a 429 that asks for a pause of years: a day counts' =>
	  ['rate_limited'],);

sub new
{
	my ($class) = @_;
	my $self = bless {
		faults => [],
		routes => {},
		directory => PostgreSQL::Test::Utils::tempdir(),
		elsewhere => BrowserSession::Wire->new(
			accept => sub { $_[0]->read_more; $_[0]->hang; }) }, $class;

	$self->connections;
	$self->certificates;
	$self->names if BrowserSession::NameServer::silent();
	$self->ends_and_silence;
	$self->not_http;
	$self->too_much;
	$self->redirects;
	$self->broken_json;
	$self->pauses;

	# Those that take their time do not wait for those that take none.
	foreach my $kind (qw(quick slow))
	{
		my $wire = $self->{$kind} =
		  BrowserSession::Wire->new(%{ $self->{routes} });

		$_->{options}{base_url} //= $wire->url($_->{name})
		  foreach grep { $kind eq 'slow' || !$_->{timed_out} } $self->faults;
	}
	return $self;
}

sub faults { return @{ $_[0]->{faults} }; }

# The rows of the table that have a fault here.
sub rows
{
	my ($self) = @_;
	my %seen;

	return grep { !$seen{$_}++ } map { $_->{row} } $self->faults;
}

# The server to which some replies point, and to which nobody may go.
sub elsewhere { return $_[0]->{elsewhere}; }

# How many bytes each connection took of a body without end, as far as they
# are closed.
sub taken
{
	my ($self) = @_;

	return map { -s } glob "$self->{directory}/*.taken";
}

# Adds a fault.  Its code gets the connection when a request has arrived, and
# the connection is closed afterwards; or there is a base_url.
sub add
{
	my ($self, $row, $name, $code, %option) = @_;
	my ($outcome, $retried) = @{ $row{$row} // die "no such row: $row" };
	my $timed_out = $outcome eq 'timed_out';
	my $timeout = delete $option{timeout} // ($timed_out ? SHORT : NEVER);
	my $base_url = delete $option{base_url};
	my $more = delete $option{options} // {};

	$self->{routes}{$name} = sub { $code->(@_); return; }
	  if $code;
	push @{ $self->{faults} },
	  { name => $name,
		row => $row,
		outcome => $outcome,
		retried => $retried,
		status => undef,
		timed_out => $timed_out ? $timeout : undef,
		%option,
		options => {
			provider => 'stagehand',
			retries => 1,
			timeout => $timeout,
			defined $base_url ? (base_url => $base_url) : (),
			%$more } };
	return;
}

# Adds a fault that is nothing but bytes.
sub says
{
	my ($self, $row, $name, $bytes, %option) = @_;

	$self->add($row, $name, sub { $_[0]->send($bytes); }, %option);
	return;
}

# Adds a fault that is a well-formed reply with this status and body.
sub replies
{
	my ($self, $row, $name, $status, $body, $headers, %option) = @_;

	$self->add(
		$row, $name,
		sub { $_[0]->reply($status, $body, %{ $headers // {} }); },
		status => $status,
		%option);
	return;
}

# ----- before a request -----------------------------------------------------

sub connections
{
	my ($self) = @_;
	my $stall = $self->{stall} =
	  BrowserSession::Wire->new(accept => sub { $_[0]->hang; });
	my $plain = $self->{plain} = BrowserSession::Wire->new(
		accept => sub {
			$_[0]->read_more;
			$_[0]->reply(400, 'This is plain HTTP.');
		});
	my $cut = $self->{cut} = BrowserSession::Wire->new(
		accept => sub { $_[0]->read_more; $_[0]->reset; });

	$self->add('the connection is refused',
		'refused', undef,
		base_url => 'http://127.0.0.1:'
		  . PostgreSQL::Test::Cluster::get_free_port());
	$self->add(
		'the TLS handshake stalls',
		'tls_stall', undef,
		base_url => 'https://127.0.0.1:' . $stall->port,
		error => qr/^timed out connecting or in the TLS handshake: /);
	$self->add('no TLS where it is expected',
		'no_tls', undef, base_url => 'https://127.0.0.1:' . $plain->port);
	$self->add('no TLS where it is expected',
		'tls_reset', undef, base_url => 'https://127.0.0.1:' . $cut->port);
	return;
}

sub certificates
{
	my ($self) = @_;
	my $row = 'the certificate has expired, is another host\'s, or of an'
	  . ' unknown authority';
	my $authority = BrowserSession::Authority->new;
	my %certificate = (
		tls_unknown => {},
		tls_expired => { expired => 1 },
		tls_name => { name => 'DNS:other.example,IP:127.0.0.2' });

	foreach my $name (sort keys %certificate)
	{
		my $wire = $self->{$name} = BrowserSession::Wire->new(
			tls => $authority->certificate(%{ $certificate{$name} }),
			v => sub { $_[0]->reply(200, SUCCESS); return; });

		$self->add(
			$row, $name, undef,
			base_url => $wire->url('v'),
			error => qr/certificate/i,
			options => $name eq 'tls_unknown'
			? {}
			: { ca_file => $authority->file });
	}
	return;
}

sub names
{
	my ($self) = @_;

	$self->add('the name does not resolve',
		'no_name', undef, base_url => 'https://provider.invalid');
	$self->add(
		'the name server says nothing',
		'name_server', undef,
		base_url => 'https://provider.example',
		error => qr/^timed out looking up the host's name: /);
	return;
}

# ----- ends and silence -----------------------------------------------------

sub ends_and_silence
{
	my ($self) = @_;
	my $length = "Content-Length: 16\r\n\r\n";
	my $before = 'the connection ends before the status line';
	my $within = 'the connection ends within the header or the body; chunks'
	  . ' that are none';
	my $silence = 'silence, before or after the header';
	my $chunked = HEAD . "Transfer-Encoding: chunked\r\n\r\n";
	my %custom = (options => custom());

	$self->add($before, 'reset_before', sub { $_[0]->reset; });
	$self->says($before, 'closed_before', '');
	$self->says($before, 'half_status', 'HTTP/1.');

	# A reset overtakes what has not been read: there is no status, then.
	$self->add(
		$within,
		'reset_header',
		sub { shift->cut(HEAD . "X-One: 1\r\nX-Tw"); },
		status => 200);
	$self->says($within, 'half_header', HEAD . 'X-Head', status => 200);
	$self->says(
		$within, 'half_header_custom', HEAD . 'X-Head',
		status => 200, %custom);
	$self->says(
		$within, 'no_empty_line', HEAD . "Content-Length: 0\r\n",
		status => 200, %custom);
	$self->add(
		$within,
		'reset_body',
		sub { shift->cut(HEAD . "$length\{\"succ"); },
		status => 200);
	$self->add(
		$within,
		'reset_after_header',
		sub { shift->cut(HEAD . $length); },
		status => 200);
	$self->says(
		$within, 'half_body',
		HEAD . "Content-Length: 100\r\n\r\n" . SUCCESS, status => 200);
	$self->says(
		$within, 'half_body_custom',
		HEAD . "Content-Length: 100\r\n\r\n" . SUCCESS,
		status => 200, %custom);
	$self->says(
		$within, 'half_chunks',
		"${chunked}10\r\n" . SUCCESS . "\r\n",
		status => 200);

	$self->says($within, 'bad_chunk',
		"${chunked}xyz\r\n" . SUCCESS . "\r\n0\r\n\r\n", status => 200);
	$self->says(
		$within, 'absurd_chunk', $chunked . 'f' x 20 . "\r\n" . SUCCESS,
		status => 200);

	$self->add(
		$silence, 'silence',
		sub { $_[0]->hang; },
		error => qr/^timed out waiting for the reply: /);
	$self->add(
		$silence,
		'silence_after_header',
		sub { $_[0]->send(HEAD . $length); $_[0]->hang; },
		status => 200,
		timeout => LONG,
		error => qr/^timed out reading the reply: /);
	$self->add(
		$silence,
		'silence_in_body',
		sub { $_[0]->send(HEAD . $length . '{"succ'); $_[0]->hang; },
		status => 200,
		timeout => LONG);
	$self->add('a byte a second', 'trickle',
		sub { $_[0]->trickle(HEAD . $length . SUCCESS); },
		timeout => 1_500);
	$self->add(
		'a byte a second',
		'trickle_body',
		sub { $_[0]->send(HEAD . $length); $_[0]->trickle(SUCCESS); },
		status => 200,
		timeout => LONG);
	return;
}

# A provider that takes any 2xx for an end: what is no answer must not pass
# for one there, either.
sub custom
{
	return { provider => 'custom', end_path => '/{id}', reply => 'any' };
}

# ----- not HTTP, or hardly --------------------------------------------------

sub not_http
{
	my ($self) = @_;
	my $other = 'what comes is not HTTP/1: garbage, another protocol,'
	  . ' HTTP/0.9';
	my $status = 'a status that is no answer: 000, 101, 999';
	my $length = 'a length that cannot be read, or two that differ';
	my $answer = "Content-Length: 16\r\n\r\n" . SUCCESS;

	$self->says($other, 'garbage', "BLAH 200 fine\r\n\r\n" . SUCCESS);
	$self->says($other, 'binary', join '',
		map { chr($_ * 37 % 256) } 1 .. 4096);
	$self->says($other, 'http09', SUCCESS);
	$self->says($other, 'http09_custom', SUCCESS, options => custom());
	$self->says($other, 'smtp', "220 mail.example ESMTP\r\n");
	$self->says($other, 'status_words', "HTTP/1.1 OK 200\r\n$answer");

	$self->says($status, 'status_000', "HTTP/1.1 000 Nothing\r\n$answer");
	$self->says($status, 'status_999', "HTTP/1.1 999 Much\r\n$answer",
		status => 999);
	# Newer versions of libcurl read three digits of it.
	$self->says($status, 'status_99999', "HTTP/1.1 99999 Much\r\n$answer",
		status => 'none|999');
	$self->says(
		$status,
		'status_101',
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"
		  . "Connection: upgrade\r\n\r\n",
		status => 101);

	$self->says($length, 'length_negative',
		HEAD . "Content-Length: -5\r\n\r\n" . SUCCESS, status => 200);
	$self->says($length, 'length_words',
		HEAD . "Content-Length: some\r\n\r\n" . SUCCESS, status => 200);
	foreach my $lengths ([ 16, 5 ], [ 5, 16 ], [ 100, 16 ])
	{
		$self->says(
			$length,
			join('_', 'lengths', @$lengths),
			HEAD
			  . join('', map { "Content-Length: $_\r\n" } @$lengths)
			  . "\r\n"
			  . SUCCESS,
			status => 200);
	}
	return;
}

# ----- too much -------------------------------------------------------------

sub too_much
{
	my ($self) = @_;
	my $header = 'a header beyond 64 kB: 10,000 lines, one of 1 MB, 1xx'
	  . ' without end';
	my $body = 'a body beyond max_response_size, announced, sent or without'
	  . ' end';
	my $answer = "Content-Length: 16\r\n\r\n" . SUCCESS;
	my $continue = "HTTP/1.1 100 Continue\r\n\r\n";
	my %header = (error => qr/its header is too long/);
	my %body = (
		error => qr/it is longer than browser_session\.max_response_size/,
		status => 200);
	my $pad = '{"success":true,"pad":"';

	$self->says(
		$header,
		'many_lines',
		HEAD
		  . join('', map { "X-Header-$_: value\r\n" } 1 .. 10_000)
		  . $answer,
		status => 200,
		%header);
	$self->says(
		$header, 'long_line',
		HEAD . 'X-Long: ' . 'x' x MEGABYTE . "\r\n$answer",
		status => 200,
		%header);
	$self->add(
		$header,
		'endless_header',
		sub { $_[0]->endless(HEAD, "X-Header: value\r\n" x 1000); },
		status => 200,
		%header);
	$self->says($header, 'interim', $continue x 10_000 . HEAD . $answer,
		status => 100, %header);
	$self->add(
		$header,
		'endless_interim',
		sub { $_[0]->endless('', $continue x 1000); },
		status => 100,
		%header);

	my $long = $pad . 'x' x 300_000 . '"}';
	$self->replies($body, 'long_body', 200, $long, undef, %body);
	$self->says($body, 'long_chunks',
		HEAD
		  . "Transfer-Encoding: chunked\r\n\r\n"
		  . sprintf("%x\r\n%s\r\n0\r\n\r\n", length $long, $long),
		%body);
	$self->add(
		$body,
		'length_huge',
		sub {
			$_[0]->send(HEAD . 'Content-Length: ' . '9' x 10 . "\r\n\r\n");
			$_[0]->hang;
		},
		%body);
	$self->says($body, 'length_absurd',
		HEAD . 'Content-Length: ' . '9' x 25 . "\r\n\r\n" . SUCCESS, %body);
	$self->endless_bodies($body, $pad, %body);
	return;
}

sub endless_bodies
{
	my ($self, $row, $pad, %option) = @_;
	my $piece = 'x' x 65_536;
	my %start = (
		body_100mb => [ 'Content-Length: ' . 100 * MEGABYTE . "\r\n\r\n$pad" ],
		body_endless => ["\r\n$pad"],
		chunks_endless => [
			"Transfer-Encoding: chunked\r\n\r\n",
			sprintf("%x\r\n", length $piece), "\r\n" ]);

	foreach my $name (sort keys %start)
	{
		my ($start, $before, $after) = (@{ $start{$name} }, '', '');

		$self->add(
			$row, $name,
			sub {
				my ($connection) = @_;
				my $taken = $connection->endless(HEAD . $start,
					$before . $piece . $after,
					100 * MEGABYTE);

				$self->note_taken($taken);
			},
			%option);
	}
	return;
}

# A file as long as what was taken.  Its name is there once it is complete.
sub note_taken
{
	my ($self, $taken) = @_;
	my $base = "$self->{directory}/$$";

	open my $file, '>', "$base.new" or die "could not create $base: $!";
	truncate $file, $taken or die "could not truncate $base: $!";
	close $file;
	rename "$base.new", "$base.taken" or die "could not rename $base: $!";
	return;
}

# ----- replies that are HTTP, but not what the provider documents -----------

sub redirects
{
	my ($self) = @_;
	my $target = $self->elsewhere->url . '/v1/sessions/x/end';
	my $gzip = 'a body that is compressed, which is never undone';

	$self->replies('a redirect, which is not followed',
		"redirect_$_", $_, '', { Location => $target })
	  foreach 301, 302, 303, 307, 308;

	$self->replies($gzip, 'gzip', 200, gzipped(SUCCESS),
		{ 'Content-Encoding' => 'gzip' });
	$self->replies(
		$gzip, 'gzip_custom', 200, gzipped(SUCCESS),
		{ 'Content-Encoding' => 'gzip' },
		options => custom());
	$self->replies(
		$gzip, 'gzip_gone', 404,
		gzipped('session not found'),
		{ 'Content-Encoding' => 'gzip' },
		options => custom());
	$self->replies(
		$gzip, 'gzip_bomb', 200,
		gzipped('{"success":true,"pad":"', 50, '"}'),
		{ 'Content-Encoding' => 'gzip' });
	$self->replies($gzip, 'gzip_said', 200, SUCCESS,
		{ 'Content-Encoding' => 'gzip' });
	return;
}

# Compressed text, with so many megabytes of spaces in it.
sub gzipped
{
	my ($before, $megabytes, $after) = @_;
	my $compressed;
	my $gzip = IO::Compress::Gzip->new(\$compressed)
	  or die "could not compress";

	$gzip->print($before);
	$gzip->print(' ' x MEGABYTE) foreach 1 .. $megabytes // 0;
	$gzip->print($after // '');
	$gzip->close;
	return $compressed;
}

sub broken_json
{
	my ($self) = @_;
	my $row = 'JSON that is cut off, nested too deeply, or has NUL, broken'
	  . ' UTF-8 or a number out of range';
	my %body = (
		cut_off => '{"success":tr',
		trailing => SUCCESS . ' trailing',
		nul => qq({"success":true,"message":"a\0b"}),
		nul_escaped => '{"success":true,"message":"a\u0000b"}',
		nul_behind => SUCCESS . "\0",
		utf8 => qq({"success":true,"message":"a\xff\xfeb"}),
		surrogate => '{"success":true,"message":"\ud800"}',
		deep => '[' x 100_000 . ']' x 100_000,
		deep_object => '{"a":' x 20_000 . '1' . '}' x 20_000,
		real => '{"success":true,"cost":1e999999}',
		integer => '{"success":true,"cost":' . '9' x 1000 . '}');

	$self->replies($row, "json_$_", 200, $body{$_}) foreach sort keys %body;
	$self->replies('a 5xx with such a body', "error_$_", 503, $body{$_})
	  foreach sort keys %body;
	$self->replies('a 5xx with such a body', "error_text_$_", 503, $body{$_},
		{ 'Content-Type' => 'text/plain' })
	  foreach qw(nul utf8);
	$self->says(
		'a 5xx with such a body', 'error_reason',
		"HTTP/1.1 503 \xff\xfe\r\nContent-Length: 0\r\n\r\n",
		status => 503);
	$self->replies('JSON with "success" twice, the last one being false',
		'twice_false', 200, '{"success":true,"success":false}');
	$self->replies('JSON with "success" twice, the last one being true',
		'twice_true', 200, '{"success":false,"success":true}');
	return;
}

sub pauses
{
	my ($self) = @_;
	my %unreadable = (
		words => 'soon',
		negative => '-5',
		empty => '',
		hex => '0x',
		nan => 'nan',
		date => 'Tue, 99 Abc 2026 99:99:99 GMT');
	my %years = (
		huge => '99999999999999999999',
		digits => '9' x 5000,
		infinite => 'inf',
		date => 'Fri, 31 Dec 2100 23:59:59 GMT');

	$self->replies('a 429 whose Retry-After cannot be read',
		"pause_unreadable_$_", 429, '{"message":"slow down"}',
		{ 'Retry-After' => $unreadable{$_} })
	  foreach sort keys %unreadable;
	$self->replies(
		'a 429 that asks for a pause of years: a day counts',
		"pause_years_$_", 429, '{"message":"slow down"}',
		{ 'Retry-After' => $years{$_} })
	  foreach sort keys %years;
	return;
}

1;
