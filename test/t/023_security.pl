# 023_security.pl
#
# What somebody who may track sessions, or who owns a table, can do to the
# worker and to others: lock rows and tables, leave code behind, have text
# written to the log, have a file read.  And what PostgreSQL's logs and
# statistics show of a credential.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use BrowserSession::Poll qw(wait_until);
use BrowserSession::Sim;
use BrowserSession::Wire;
use BrowserSession::Worker;
use Cwd ();
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

my $sim = BrowserSession::Sim->new;
my $node = BrowserSession::Worker->start_new(
	'main',
	preload => 'browser_session, pg_stat_statements',
	conf => <<'CONF');
browser_session.retry_delay = 200ms
browser_session.max_retry_delay = 1s
logging_collector = on
log_destination = 'stderr, csvlog, jsonlog'
log_directory = 'log'
log_filename = 'all'
log_statement = ddl
CONF

sub sql { return $node->safe_psql('postgres', @_); }

# All that has been written to the logs, or to one of them.
sub logged
{
	my ($kind) = @_;
	my $directory = $node->data_dir . '/log';
	my @files = map { "$directory/all$_" } $kind // ('', '.csv', '.json');

	return join '', map { PostgreSQL::Test::Utils::slurp_file($_) } @files;
}

# psql that does something and stays in its transaction, with what it locked;
# once it has printed its process.
sub stay
{
	my ($statements) = @_;
	my $query = $node->background(
		"BEGIN;\n$statements\nSELECT pg_backend_pid();\nSELECT pg_sleep(3600);\n",
		timeout => 3600);

	wait_until(
		'the transaction has its locks',
		sub {
			($query->{pid}) =
			  PostgreSQL::Test::Utils::slurp_file("$query->{base}.out") =~
			  /^(\d+)$/m;
		});
	return $query;
}

# The same, locking over and over again what is claimed at a server.
sub keep_locking
{
	my ($server) = @_;
	my $query = $node->background(<<SQL, timeout => 3600);
SET ROLE evil;
BEGIN;
SELECT pg_backend_pid();
SELECT FROM bsession_tracked WHERE provider = '$server' AND state = 'ending'
FOR UPDATE SKIP LOCKED \\watch 0.05
SQL

	wait_until(
		'it locks what is claimed',
		sub {
			($query->{pid}) =
			  PostgreSQL::Test::Utils::slurp_file("$query->{base}.out") =~
			  /^(\d+)$/m;
		});
	return $query;
}

# Sessions of the application at a server that works, one after the other.
my $beside = 0;

sub ends_beside
{
	my ($n) = @_;
	my @ids = map { 'beside-' . ++$beside } 1 .. $n;

	foreach my $id (@ids)
	{
		sql("SELECT FROM bsession_track('good', '$id', now())");
		$node->wait_for_row('good', $id, state => 'ended');
	}
	return;
}

sub resident
{
	my $pid = $node->worker->{pid};

	return (PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status") =~
		  /^RssAnon:\s+(\d+) kB/m)[0];
}

# Rows that are claimed, and whose attempt is over.
sub unrecorded
{
	my ($server) = @_;

	return sql(<<SQL);
SELECT count(*) FROM bsession_tracked t
 WHERE provider = '$server' AND claimed_by IS NOT NULL
   AND EXISTS (SELECT FROM bsession_audit a
                WHERE a.provider = t.provider AND a.session_id = t.session_id)
SQL
}

sub evil_tracks
{
	my ($server, $n, $expires_at) = @_;

	return sql(<<SQL);
SET ROLE evil;
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT '$server', '$server-' || i, $expires_at FROM generate_series(1, $n) AS i;
SQL
}

my $wire = BrowserSession::Wire->new(
	big => sub {
		my ($connection) = @_;

		select undef, undef, undef, 0.3;
		$connection->reply(200,
			'{"success": true, "pad": "' . 'x' x 200_000 . '"}');
		return 1;
	});
my $in_flight = 16;

$node->simulated($sim, 'good', 'stagehand', {});
$node->simulated($sim, 'lease', 'stagehand', { delay => 500 },
	timeout => 5000, confirm_timeout => 0);
$node->simulated($sim, 'queue', 'stagehand', {});
$node->account(
	'big',
	provider => 'stagehand',
	base_url => $wire->url('big'),
	timeout => 60_000,
	max_in_flight => $in_flight);
sql(<<'SQL');
CREATE EXTENSION pg_stat_statements;
CREATE ROLE evil;
GRANT USAGE ON FOREIGN SERVER good, lease, queue, big TO evil;
CREATE SCHEMA evil AUTHORIZATION evil;
SQL

# Whoever tracks sessions can lock their rows while they are being ended.
# What was done is in the audit, and others are not held up; a reply is not
# kept for it, and there is an end to what is kept.
my $lease_locks = keep_locking('lease');
evil_tracks('lease', 10, 'now()');
{
	my $before = resident();
	my $locks = keep_locking('big');

	evil_tracks('big', 400, 'now()');
	wait_until('many outcomes wait for a lock',
		sub { unrecorded('big') >= 200 });
	ends_beside(5);
	pass('locked rows: others are ended and recorded meanwhile');
	wait_until(
		'nothing more is claimed',
		sub {
			my $claimed = sql(
				q(SELECT count(*) FROM bsession_tracked WHERE provider = 'big' AND claimed_by IS NOT NULL)
			);
			return $claimed >= 256 && $claimed == unrecorded('big');
		});
	ends_beside(20);
	my $waiting = unrecorded('big');
	cmp_ok($waiting, '>=', 256, 'locked rows: many outcomes wait');
	# Beyond the limit there can be those that one step sets aside, and those
	# that it has claimed before it did.
	cmp_ok($waiting, '<=', 256 + 2 * $in_flight,
		'… and their role gets no more claims');
	my $growth = resident() - $before;
	cmp_ok($growth, '<', 25_000, '… nor are their replies kept');
	note sprintf '%d outcomes wait, the worker has grown by %d kB', $waiting,
	  $growth;
	$node->release($locks);
	$node->wait_for_end('big');
	is( sql(q(SELECT count(*), max(attempts) FROM bsession_tracked WHERE provider = 'big')
		),
		'400|1',
		'locked rows: recorded once they are not locked');
	is( sql(q(SELECT count(*), count(DISTINCT session_id) FROM bsession_audit WHERE provider = 'big')
		),
		'400|400',
		'… in the audit once');
	is(scalar $wire->requests, 400, '… and sent once');
}

# A lease that lapses while its outcome waits: the worker knows that it has
# that outcome.
{
	my $lapsed = <<'SQL';
SELECT count(*) FROM bsession_tracked WHERE provider = 'lease'
   AND claimed_by IS NOT NULL AND next_attempt_at < now()
SQL

	wait_until('leases have lapsed', sub { sql($lapsed) == 10 });
	ends_beside(10);
	is(sql($lapsed), 10, 'a lease that lapses behind a lock');
	$node->release($lease_locks);
	ends_beside(10);
	$node->wait_for_end('lease');
	is( sql(q(SELECT count(*), max(attempts) FROM bsession_tracked WHERE provider = 'lease')
		),
		'10|1',
		'… is not claimed again');
	is( scalar(grep { $_->{target} =~ /lease-/ } $sim->requests),
		10, '… nor sent again');
	is( sql(q(SELECT count(*), string_agg(DISTINCT outcome, ' ') FROM bsession_audit WHERE provider = 'lease')
		),
		'10|ended',
		'… nor called lost');
}

# A claim that bears the worker's number without being its own is of an earlier
# process, whose outcome is not known.
{
	my $pid = $node->worker->{pid};

	$node->track('good', "now() + '1 h'", 'same-number');
	sql(<<"SQL");
UPDATE bsession_tracked
   SET state = 'ending', attempts = 1, claimed_by = $pid,
       next_attempt_at = now()
 WHERE session_id = 'same-number'
SQL
	# Nobody else has told the worker to look.
	$node->reload;
	$node->wait_for_row('good', 'same-number', state => 'ended');
	is( join(' ',
			map { "$_->{attempt} $_->{outcome}" }
			  $node->audit('good', 'same-number')),
		'1 unknown 2 ended',
		'a claim of an earlier process with the worker\'s number is lost');
}

# Rows that are due and locked are passed over, a limited number at a time, and
# what is behind them is reached all the same, even if many are due at once.
{
	my $n = 30_000;
	my $read = sub {
		return split /\|/, sql(<<'SQL');
SELECT idx_tup_read, idx_scan FROM pg_stat_user_indexes
 WHERE indexrelname = 'bsession_tracked_due'
SQL
	};

	$node->configure(enabled => 'off');
	wait_until('the worker is off',
		sub { $node->worker->{state} =~ /^disabled/ });
	evil_tracks('queue', $n, "now() - greatest(i, $n / 2) * '1 ms'::interval");
	my $locks = stay(<<'SQL');
SET LOCAL ROLE evil;
SELECT FROM bsession_tracked WHERE provider = 'queue' FOR UPDATE;
SQL
	sql(<<'SQL');
SET ROLE evil;
SELECT FROM bsession_track('queue', 'behind', now());
SQL
	my ($entries, $scans) = $read->();
	$node->configure(enabled => 'on');
	my @now;
	wait_until(
		'they have been passed over',
		sub {
			@now = $read->();
			return $now[0] - $entries >= $n - 1000;
		});
	my $most = ($now[0] - $entries) / ($now[1] - $scans);
	cmp_ok($most, '<=', 1001, 'locked rows that are due: a claim gives up');
	note sprintf '%d rows in %d looks', $now[0] - $entries,
	  $now[1] - $scans;
	$node->wait_for_row('queue', 'behind', state => 'ended');
	ends_beside(5);
	pass('… and the role\'s own session behind them is ended');
	sql(q(DELETE FROM bsession_tracked WHERE provider = 'queue' AND session_id = 'behind'));
	$node->release($locks);
	sql(q(TRUNCATE bsession_tracked));
}

# Who locks the table stops the worker, and bsession_worker says so.
{
	my $locks = stay('LOCK bsession_tracked IN ACCESS EXCLUSIVE MODE;');

	# It looks at the table only if there is a reason to.
	$node->reload;
	wait_until(
		'the worker says that it waits',
		sub {
			sql(<<'SQL') eq 'waiting for locks on its tables|t';
SET statement_timeout = '60 s';
SELECT state, due_now IS NULL FROM bsession_worker
SQL
		});
	pass('a table that is locked: bsession_worker says so');
	$node->release($locks);
	ends_beside(1);
	pass('… and all goes on when it is not');
}

# A trigger of a table whose foreign key follows what the retention deletes would
# run with the worker's rights.
{
	sql(<<'SQL');
GRANT REFERENCES, SELECT ON bsession_tracked TO evil;
SET ROLE evil;
CREATE TABLE evil.ran (who text);
CREATE TABLE evil.follower (provider text, session_id text,
	FOREIGN KEY (provider, session_id) REFERENCES bsession_tracked ON DELETE CASCADE);
CREATE FUNCTION evil.run() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN INSERT INTO evil.ran VALUES (CURRENT_USER); RETURN NULL; END';
CREATE TRIGGER late AFTER DELETE ON evil.follower
	FOR EACH ROW EXECUTE FUNCTION evil.run();
SELECT FROM bsession_track('good', 'followed', now());
INSERT INTO evil.follower VALUES ('good', 'followed');
SQL
	$node->wait_for_row('good', 'followed', state => 'ended');
	$node->configure(retention => '1s');
	wait_until(
		'the retention has been tried',
		sub {
			logged('') =~
			  /ERROR:  deleting from table "bsession_tracked" would change table "follower"/;
		});
	ends_beside(3);
	pass('a trigger behind a foreign key stops only the retention');
	is(sql('SELECT count(*) FROM evil.ran'), 0, '… and does not run');
	$node->configure(retention => -1);
	sql('DROP TABLE evil.follower');
}

# The code of an index runs as the owner of the tables.
{
	sql(<<'SQL');
CREATE ROLE tables_owner;
GRANT ALL ON SCHEMA public TO tables_owner;
ALTER TABLE bsession_audit OWNER TO tables_owner;
SQL
	$node->track('good', 'now()', 'half-owned');
	wait_until(
		'the worker says what is wrong',
		sub {
			($node->worker->{last_error} // '') =~
			  /has another owner than "bsession_tracked"/;
		});
	pass('tables of several owners: nothing is ended');
	sql(<<'SQL');
ALTER TABLE bsession_tracked OWNER TO tables_owner;
ALTER TABLE bsession_home OWNER TO tables_owner;
ALTER SEQUENCE bsession_audit_id_seq OWNER TO tables_owner;
SET ROLE tables_owner;
CREATE FUNCTION who(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
$$BEGIN RAISE LOG 'the index runs as %', CURRENT_USER; RETURN $1; END$$;
CREATE INDEX ON bsession_audit (who(session_id)) WHERE session_id = 'by-whom';
SQL
	$node->wait_for_row('good', 'half-owned', state => 'ended');
	$node->track('good', 'now()', 'by-whom');
	$node->wait_for_row('good', 'by-whom', state => 'ended');
	my %as = map { $_ => 1 } logged('') =~ /the index runs as (\w+)/g;
	is(join(' ', sort keys %as),
		'tables_owner', '… and then the owner\'s code runs as the owner');
	sql(<<'SQL');
ALTER TABLE bsession_audit OWNER TO CURRENT_USER;
ALTER TABLE bsession_tracked OWNER TO CURRENT_USER;
ALTER TABLE bsession_home OWNER TO CURRENT_USER;
ALTER SEQUENCE bsession_audit_id_seq OWNER TO CURRENT_USER;
DROP INDEX bsession_audit_who_idx;
SQL
}

# A file that is none does not hang whoever reads a key from it.
{
	my $directory = Cwd::abs_path(PostgreSQL::Test::Utils::tempdir());
	my %error = (
		fifo => qr/is not a regular file/,
		folder => qr/is not a regular file/,
		huge => qr/does not hold a key/,
		forbidden => qr/could not open file ".*" for reading: Permission/,
		none => qr/could not open file ".*" for reading: No such file/);

	POSIX::mkfifo("$directory/fifo", 0600) or die "mkfifo: $!";
	mkdir "$directory/folder";
	PostgreSQL::Test::Utils::append_to_file("$directory/huge", 'k' x 9000);
	PostgreSQL::Test::Utils::append_to_file("$directory/forbidden", 'key');
	chmod 0, "$directory/forbidden";
	foreach my $file (sort keys %error)
	{
		$node->account(
			"f_$file",
			provider => 'stagehand',
			base_url => $sim->url('stagehand'),
			mapping => { api_key_file => "$directory/$file" });
		my ($ret, $out, $err) = $node->psql('postgres', <<SQL);
SET statement_timeout = '60 s';
SELECT outcome FROM bsession_end('f_$file', 'x');
SQL
		like($err, $error{$file}, "a key's file that is $file");
	}

	# The worker finds what has become of the file since.
	PostgreSQL::Test::Utils::append_to_file("$directory/changes", "sim-key\n");
	$node->account(
		'f_changes',
		provider => 'stagehand',
		base_url => $sim->url('stagehand'),
		mapping => { api_key_file => "$directory/changes" });
	$node->track('f_changes', "now() + '1 h'", 'by-worker');
	unlink "$directory/changes";
	POSIX::mkfifo("$directory/changes", 0600) or die "mkfifo: $!";
	sql(q(UPDATE bsession_tracked SET expires_at = now() WHERE provider = 'f_changes'));
	wait_until(
		'the worker has tried',
		sub {
			($node->tracked('f_changes', 'by-worker')->{last_error} // '') =~
			  $error{fifo};
		});
	ends_beside(1);
	pass('… and the worker goes on');
	sql(q(DELETE FROM bsession_tracked WHERE provider = 'f_changes'));
}

# What PostgreSQL keeps of the statement that sets a credential, and what it
# does not keep if the credential is in a file, or the statement is not logged.
{
	my $directory = Cwd::abs_path(PostgreSQL::Test::Utils::tempdir());
	my $kept = sub {
		my ($secret) = @_;

		return (logged() =~ /$secret/ ? 'log ' : '')
		  . (sql("SELECT count(*) FROM pg_stat_statements WHERE query ~ 'MAPPING.*$secret'"
			) > 0 ? 'statistics ' : '')
		  . ( sql('SELECT string_agg(umoptions::text, \' \') FROM pg_user_mapping'
			) =~ /$secret/ ? 'mapping' : '');
	};

	PostgreSQL::Test::Utils::append_to_file("$directory/key",
		"KeptInAFile\n");
	sql(<<"SQL");
CREATE ROLE typed;
CREATE ROLE quiet;
CREATE ROLE filed;
CREATE USER MAPPING FOR typed SERVER good OPTIONS (api_key 'TypedIntoIt');
CREATE USER MAPPING FOR filed SERVER good OPTIONS (api_key_file '$directory/key');
SQL
	sql(<<'SQL');
SET log_statement = 'none';
SET pg_stat_statements.track_utility = off;
CREATE USER MAPPING FOR quiet SERVER good OPTIONS (api_key 'TypedQuietly');
SQL
	like($kept->('TypedIntoIt'),
		qr/^log (?:statistics )?mapping$/,
		'a key that is typed is kept in more places than one');
	is($kept->('TypedQuietly'),
		'mapping', '… but with the logging switched off only where it belongs');
	is($kept->('KeptInAFile'), '', '… and from a file nowhere');

	# While the statement runs, others see that there is one.
	my $running = stay(<<'SQL');
CREATE USER MAPPING FOR evil SERVER good OPTIONS (api_key 'TypedRightNow');
DROP USER MAPPING FOR evil SERVER good;
SQL
	my $seen = sql(<<'SQL');
SET ROLE typed;
SELECT string_agg(query, ' ') FROM pg_stat_activity;
SELECT string_agg(query, ' ') FROM pg_stat_statements;
SELECT string_agg(umoptions::text, ' ') FROM pg_user_mappings WHERE usename <> 'typed';
SQL
	unlike($seen, qr/Typed|sim-key/, '… and other roles see it in no view');
	like($seen, qr/insufficient privilege/, '… that hide it');
	$node->release($running);
}

# Text of a provider is one line of the log, whatever is in it.
{
	my $nasty =
	    "FORGED\\n1999-01-01 00:00:00 UTC [1] LOG:  FORGED"
	  . "\\r1999-01-01 LOG:  FORGED\\u001b[2K\\u2028LOG:  FORGED"
	  . "\\u0085LOG:  FORGED\\u009b2K\\u202eFORGED\\\",\\\"FORGED";
	my $raw = "FORGED\n1999-01-01 LOG:  FORGED\r\e[2KLOG:  \",FORGED"
	  . "\xe2\x80\xa8LOG:  FORGED\xc2\x85FORGED\n";
	my $forger = BrowserSession::Wire->new(
		json => sub {
			$_[0]->reply(503, qq({"message":"$nasty","status":"$nasty"}));
			return 1;
		},
		word => sub {
			$_[0]->reply(200, qq({"success":false,"message":"$nasty","status":"$nasty"}));
			return 1;
		},
		text => sub {
			$_[0]->reply(500, $raw, 'Content-Type' => 'text/plain');
			return 1;
		},
		denied => sub { $_[0]->reply(401, qq({"message":"$nasty"})); return 1; });
	my @routes = qw(json word text denied);

	# The worker writes to the log what made it stop sending; so does who
	# shows what an error is, and who ends sessions and takes it back.
	foreach my $route (@routes)
	{
		$node->account(
			"forge_$route",
			provider => 'stagehand',
			base_url => $forger->url($route),
			retries => 0);
		$node->track("forge_$route", 'now()', map { "forge-$_" } 1 .. 8);
	}
	wait_until(
		'breakers are open',
		sub {
			my $log = logged('');
			return $log =~ /"forge_json" does not answer/
			  && $log =~ /"forge_text" does not answer/
			  && $log =~ /"forge_denied" does not accept/;
		});
	sql(<<"SQL") foreach @routes;
DO \$\$
DECLARE
	r record;
BEGIN
	SELECT * INTO r FROM bsession_end('forge_$_', 'direct');
	RAISE LOG 'said: % %', r.error, r.provider_status;
END
\$\$
SQL
	foreach my $given ("x\x{2028}FORGED", "x\x{85}FORGED", "x\nFORGED",
		"x\eFORGED", "x\x{202e}FORGED")
	{
		my $id = $given;

		utf8::upgrade($id);
		my ($ret, $out, $err) = $node->psql('postgres',
			'SELECT bsession_end(\'good\', '
			  . BrowserSession::Node::literal($id)
			  . ')');

		like($err, qr/must not contain white space or control/,
			sprintf 'an id with U+%04X is refused', ord substr $id, 1, 1);
	}

	# Statements of a client are its own, and so are the lines they are in.
	# PostgreSQL puts a tab before each further line of what it logs.
	my @entries = grep { !/STATEMENT:/ } split /\n(?!\t)/, logged('');
	my @forged = grep { /FORGED/ } @entries;
	cmp_ok(scalar @forged, '>=', 6, 'what the provider says is logged');
	is(scalar(grep { /^FORGED|^1999-01-01|^LOG|\n/ } @forged),
		0, '… on no line of its own');
	is(scalar(grep { /[\r\e\x00-\x08]/ } @forged),
		0, '… without control characters');
	is( scalar(grep { /\xe2\x80[\xa8-\xae]|\xc2[\x80-\x9f]/ } @forged),
		0,
		'… those of Unicode included');

	# In the others a record has its fields, and those alone.
	my $csv = logged('.csv');
	my $field = qr/"[^"]*+(?:""[^"]*+)*+"|[^",\n]*+/;
	my (@records, %fields);
	while ($csv =~ /\G($field(?:,$field)*+)\n/gc)
	{
		my $record = $1;
		my $n = () = $record =~ /\G(?:^|,)$field/g;

		push @records, $record;
		$fields{$n}++;
	}
	is(pos $csv, length $csv, 'csvlog: nothing but records');
	is(scalar keys %fields, 1, '… of as many fields each');
	is(scalar(grep { /^(?:"?FORGED|1999-01-01)/ } @records),
		0, '… and none is forged');
	my @json = map { JSON::PP->new->decode($_) } split /\n/, logged('.json');
	is(scalar(grep { $_->{timestamp} !~ /^\d/ || $_->{timestamp} =~ /^1999-01-01/ } @json),
		0, 'jsonlog: the same');
	cmp_ok(scalar(grep { ($_->{message} . ($_->{detail} // '')) =~ /FORGED/ } @json),
		'>=', 6, '… and it has what the provider says');
}

$node->stop;
ok( logged('') !~ /terminated by signal|PANIC|TRAP/, 'no process crashed');

done_testing();
