/* browser_session--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION browser_session" to load this file. \quit

----------------------------------------------------------------------
-- Types
----------------------------------------------------------------------

-- Public
CREATE TYPE bsession_result AS (
	provider		text,
	session_id		text,
	outcome			text,
	done			boolean,
	provider_status	text,
	http_status		integer,
	attempts		integer,
	elapsed			interval,
	ended_at		timestamp with time zone,
	error			text,
	response		jsonb
);

COMMENT ON TYPE bsession_result IS
'What became of a session: outcome is one of ended, already_ended, requested, denied, rejected, rate_limited, unavailable, timed_out, unreachable, bad_reply, unknown; done says whether it is known to be over';

----------------------------------------------------------------------
-- Tables
--
-- Whoever tracks a session or has one ended finds it here; row security shows
-- a role its own.
----------------------------------------------------------------------

-- Public
CREATE TABLE bsession_tracked (
	provider		text NOT NULL,
	session_id		text NOT NULL,
	state			text NOT NULL DEFAULT 'active'
		CHECK (state IN ('active', 'ending', 'ended', 'failed')),
	expires_at		timestamp with time zone,
	next_attempt_at	timestamp with time zone,
	attempts		integer NOT NULL DEFAULT 0,
	outcome			text,
	last_error		text,
	tracked_by		name NOT NULL DEFAULT CURRENT_USER,
	tracked_at		timestamp with time zone NOT NULL DEFAULT pg_catalog.now(),
	ended_at		timestamp with time zone,
	metadata		jsonb NOT NULL DEFAULT '{}'
		CHECK (pg_catalog.jsonb_typeof(metadata) OPERATOR(pg_catalog.=) 'object'),
	reason			text NOT NULL DEFAULT 'expiry'
		CHECK (reason IN ('call', 'expiry', 'commit', 'delete')),
	claimed_by		integer,
	PRIMARY KEY (provider, session_id)
)
-- Each end makes three dead rows: they go before they are many.
WITH (autovacuum_vacuum_scale_factor = 0.02,
	  autovacuum_vacuum_threshold = 1000,
	  autovacuum_vacuum_cost_delay = 0);

COMMENT ON TABLE bsession_tracked IS
'Sessions that the database remembers, and ends once they pass expires_at; applications may insert, update expires_at and metadata, delete and COPY';
COMMENT ON COLUMN bsession_tracked.provider IS 'Name of the server';
COMMENT ON COLUMN bsession_tracked.session_id IS 'The session''s id';
COMMENT ON COLUMN bsession_tracked.state IS
'active; ending: an end has been asked for; ended: it is known to be over; failed: given up after browser_session.max_attempts, see bsession_retry()';
COMMENT ON COLUMN bsession_tracked.expires_at IS
'When it is to be ended; null: never, the row is only an inventory entry';
COMMENT ON COLUMN bsession_tracked.next_attempt_at IS
'When something is to be done about it next; while an attempt is under way, when that counts as lost';
COMMENT ON COLUMN bsession_tracked.attempts IS 'Attempts begun since it was due';
COMMENT ON COLUMN bsession_tracked.outcome IS 'What became of the last attempt';
COMMENT ON COLUMN bsession_tracked.last_error IS 'Why it is not over; null if it is';
COMMENT ON COLUMN bsession_tracked.tracked_by IS
'Role that tracks it, whose USAGE and user mapping end it';
COMMENT ON COLUMN bsession_tracked.tracked_at IS 'Since when it is tracked';
COMMENT ON COLUMN bsession_tracked.ended_at IS 'When it was over';
COMMENT ON COLUMN bsession_tracked.metadata IS 'What the application wants to remember of it: a JSON object';
COMMENT ON COLUMN bsession_tracked.reason IS
'Why it is or will be ended: expiry; commit: bsession_expire(); delete: bsession_end_on_delete(); call: a direct call that was not done';
COMMENT ON COLUMN bsession_tracked.claimed_by IS
'Process that makes the attempt under way; null if there is none';

-- Private
CREATE SEQUENCE bsession_audit_id_seq;

COMMENT ON SEQUENCE bsession_audit_id_seq IS 'Numbers of bsession_audit';

-- Public
CREATE TABLE bsession_audit (
	id				bigint PRIMARY KEY
		DEFAULT pg_catalog.nextval('@extschema@.bsession_audit_id_seq'),
	at				timestamp with time zone NOT NULL,
	provider		text NOT NULL,
	session_id		text NOT NULL,
	reason			text NOT NULL
		CHECK (reason IN ('call', 'expiry', 'commit', 'delete', 'sweep')),
	outcome			text NOT NULL,
	provider_status	text,
	http_status		integer,
	attempt			integer NOT NULL,
	elapsed			interval,
	error			text,
	response		jsonb,
	actor			name NOT NULL,
	application_name text,
	client_addr		inet,
	rolled_back		boolean NOT NULL DEFAULT false
);

COMMENT ON TABLE bsession_audit IS
'Every attempt to end a session, a row each, for browser_session.retention; nobody but the owner can change it';
COMMENT ON COLUMN bsession_audit.id IS 'Number of the row';
COMMENT ON COLUMN bsession_audit.at IS
'When the attempt began; if it was lost, when that was noticed';
COMMENT ON COLUMN bsession_audit.provider IS 'Name of the server';
COMMENT ON COLUMN bsession_audit.session_id IS 'The session''s id';
COMMENT ON COLUMN bsession_audit.reason IS
'call: bsession_end() or bsession_end_many(); expiry; commit: bsession_expire(); delete: bsession_end_on_delete(); sweep: bsession_end_expired()';
COMMENT ON COLUMN bsession_audit.outcome IS 'What became of it, as in bsession_result';
COMMENT ON COLUMN bsession_audit.provider_status IS 'The provider''s own word for the session''s state';
COMMENT ON COLUMN bsession_audit.http_status IS 'Of the last answer; null if none came';
COMMENT ON COLUMN bsession_audit.attempt IS 'Number of the attempt, from 1; of a direct call, within that call';
COMMENT ON COLUMN bsession_audit.elapsed IS 'From the request to the outcome; null if that is not known';
COMMENT ON COLUMN bsession_audit.error IS 'Why it is not over; null if it is';
COMMENT ON COLUMN bsession_audit.response IS 'The answer, without secrets; a string if it was not JSON';
COMMENT ON COLUMN bsession_audit.actor IS 'Role in whose name it was made';
COMMENT ON COLUMN bsession_audit.application_name IS 'Of the caller; of the worker, its own';
COMMENT ON COLUMN bsession_audit.client_addr IS 'Of the caller; null for the worker and for local connections';
COMMENT ON COLUMN bsession_audit.rolled_back IS 'The caller''s transaction was rolled back; the attempt was not';

-- Private
CREATE TABLE bsession_home (
	system_identifier	bigint NOT NULL,
	database			oid NOT NULL,
	adopted_at			timestamp with time zone NOT NULL DEFAULT pg_catalog.now(),
	adopted_by			name NOT NULL DEFAULT CURRENT_USER
);

COMMENT ON TABLE bsession_home IS
'Cluster and database that the tracked sessions belong to; a dump brings it along, and elsewhere nothing is ended until bsession_adopt()';

----------------------------------------------------------------------
-- Indexes
----------------------------------------------------------------------

-- What is due, by account: sessions of one role at one server.
CREATE INDEX bsession_tracked_due ON bsession_tracked
	(provider, tracked_by, next_attempt_at)
	WHERE next_attempt_at IS NOT NULL;

-- For the retention, and for questions.
CREATE INDEX bsession_tracked_ended_at ON bsession_tracked (ended_at)
	WHERE ended_at IS NOT NULL;
CREATE INDEX bsession_audit_session ON bsession_audit (provider, session_id);

-- Attempts are written nearly in the order of their times: this costs nothing.
CREATE INDEX bsession_audit_at ON bsession_audit USING brin (at)
	WITH (autosummarize);

----------------------------------------------------------------------
-- Accounts
----------------------------------------------------------------------

-- Private
CREATE FUNCTION bsession_validator(options text[], catalog oid)
RETURNS void
AS 'MODULE_PATHNAME', 'bsession_validator'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION bsession_validator(text[], oid) IS
'Validator of the foreign-data wrapper: refuses wrong options of servers and user mappings';

-- PostgreSQL itself calls the validator; nobody else needs to.
REVOKE EXECUTE ON FUNCTION bsession_validator(text[], oid) FROM PUBLIC;

-- Public
CREATE FOREIGN DATA WRAPPER browser_session
	NO HANDLER
	VALIDATOR bsession_validator;

COMMENT ON FOREIGN DATA WRAPPER browser_session IS
'Accounts at providers of remote browsers: a server is an account, a user mapping its credential';

----------------------------------------------------------------------
-- Functions
--
-- Everybody may call them: they do nothing without USAGE on a server, which
-- nobody has by default.
----------------------------------------------------------------------

-- Public
CREATE FUNCTION bsession_end(provider text, id text)
RETURNS bsession_result
AS 'MODULE_PATHNAME', 'bsession_end'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE COST 100000;

COMMENT ON FUNCTION bsession_end(text, text) IS
'Ends a session now and waits for the provider: provider is the name of a server, id the session''s id';

-- Public
CREATE FUNCTION bsession_end_many(provider text, ids text[])
RETURNS SETOF bsession_result
AS 'MODULE_PATHNAME', 'bsession_end_many'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE COST 100000 ROWS 100;

COMMENT ON FUNCTION bsession_end_many(text, text[]) IS
'Ends sessions concurrently and waits for the provider: a row for each id, in the order of the ids';

-- Public
CREATE FUNCTION bsession_providers(
	OUT provider text,
	OUT base_url text,
	OUT auth text,
	OUT end_method text,
	OUT end_path text,
	OUT end_body text,
	OUT confirm_path text,
	OUT project text,
	OUT reply text,
	OUT id_url text,
	OUT gone_status text,
	OUT gone_match text,
	OUT ambiguous_status text,
	OUT success_field text,
	OUT status_field text,
	OUT status_required text,
	OUT live_status text,
	OUT ended_status text,
	OUT terminal_status text,
	OUT ended_at_field text,
	OUT document text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'bsession_providers'
LANGUAGE C STABLE STRICT PARALLEL SAFE ROWS 10;

COMMENT ON FUNCTION bsession_providers() IS
'The built-in providers: each column but provider and document is an option of a server that overrides it';

-- Public
CREATE FUNCTION bsession_end_expired(max_sessions integer DEFAULT 100)
RETURNS SETOF bsession_result
AS 'MODULE_PATHNAME', 'bsession_end_expired'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE COST 100000 ROWS 100;

COMMENT ON FUNCTION bsession_end_expired(integer) IS
'Ends tracked sessions that are due and the caller''s to end, at most max_sessions, in the caller''s backend: for pg_cron, or a server without the worker';

-- Public
CREATE FUNCTION bsession_track(provider text, id text, ttl interval,
	metadata jsonb DEFAULT '{}')
RETURNS bsession_tracked
AS 'MODULE_PATHNAME', 'bsession_track_ttl'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;

COMMENT ON FUNCTION bsession_track(text, text, interval, jsonb) IS
'Remembers a session, to be ended after ttl from now; once more for the same id, it moves the expiry and merges metadata';

-- Public
CREATE FUNCTION bsession_track(provider text, id text,
	expires_at timestamp with time zone, metadata jsonb DEFAULT '{}')
RETURNS bsession_tracked
AS 'MODULE_PATHNAME', 'bsession_track_until'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;

COMMENT ON FUNCTION bsession_track(text, text, timestamp with time zone, jsonb) IS
'Remembers a session, to be ended at expires_at, or never if that is null; once more for the same id, it moves the expiry and merges metadata';

-- Public
CREATE FUNCTION bsession_extend(provider text, id text, ttl interval)
RETURNS timestamp with time zone
AS 'MODULE_PATHNAME', 'bsession_extend'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;

COMMENT ON FUNCTION bsession_extend(text, text, interval) IS
'Moves a tracked session''s expiry to ttl from now, never to an earlier time, and returns it; an error if its end has begun';

-- Public
CREATE FUNCTION bsession_expire(provider text, id text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'bsession_expire'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;

COMMENT ON FUNCTION bsession_expire(text, text) IS
'Has a tracked session ended once this transaction commits; false if it is not tracked or already over';

-- Public
CREATE FUNCTION bsession_untrack(provider text, id text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'bsession_untrack'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;

COMMENT ON FUNCTION bsession_untrack(text, text) IS
'Forgets a tracked session without ending it; false if it is not tracked';

-- Public
CREATE FUNCTION bsession_retry(provider text, id text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'bsession_retry'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;

COMMENT ON FUNCTION bsession_retry(text, text) IS
'Has a tracked session that failed tried again, with all its attempts; false if there is none that failed';

-- Public
CREATE FUNCTION bsession_end_on_delete()
RETURNS trigger
AS 'MODULE_PATHNAME', 'bsession_end_on_delete'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;

COMMENT ON FUNCTION bsession_end_on_delete() IS
'Trigger, AFTER DELETE FOR EACH ROW, arguments: column with the server''s name, column with the id; has the session of a deleted row ended once the transaction commits';

-- Public
CREATE FUNCTION bsession_adopt()
RETURNS boolean
AS 'MODULE_PATHNAME', 'bsession_adopt'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;

COMMENT ON FUNCTION bsession_adopt() IS
'Declares that the tracked sessions are this database''s to end, after a restore or a copy; false if they were already';

-- In a copy of a database it ends the original's sessions: for the owner.
REVOKE EXECUTE ON FUNCTION bsession_adopt() FROM PUBLIC;

-- Public
CREATE FUNCTION bsession_see_all()
RETURNS boolean
AS 'MODULE_PATHNAME', 'bsession_see_all'
LANGUAGE C STABLE CALLED ON NULL INPUT PARALLEL SAFE;

COMMENT ON FUNCTION bsession_see_all() IS
'Does the caller see every row of bsession_tracked and bsession_audit? GRANT EXECUTE on this function to an auditor is what makes it so';

-- The privilege to call it is what it is about.
REVOKE EXECUTE ON FUNCTION bsession_see_all() FROM PUBLIC;

-- Private
CREATE FUNCTION bsession_may_see(role name)
RETURNS boolean
AS 'MODULE_PATHNAME', 'bsession_may_see'
LANGUAGE C STABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION bsession_may_see(name) IS
'Row security: is the caller that role, a member of it, a group that has it as a member, or an auditor?';

-- Private
CREATE FUNCTION bsession_may_change(role name, actor name)
RETURNS boolean
AS 'MODULE_PATHNAME', 'bsession_may_change'
LANGUAGE C STABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION bsession_may_change(name, name) IS
'Row security: is the actor that role or a member of it?';

-- Private
CREATE FUNCTION bsession_check_tracked()
RETURNS trigger
AS 'MODULE_PATHNAME', 'bsession_check_tracked'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;

COMMENT ON FUNCTION bsession_check_tracked() IS
'Trigger of bsession_tracked: checks what is inserted and updated, plans the end, and wakes the worker at commit';

-- Private
CREATE FUNCTION bsession_copy_row()
RETURNS trigger
AS 'MODULE_PATHNAME', 'bsession_copy_row'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE;

COMMENT ON FUNCTION bsession_copy_row() IS
'Trigger of bsession_copy: tracks what is inserted';

-- They are for the extension's own triggers.
REVOKE EXECUTE ON FUNCTION bsession_check_tracked(), bsession_copy_row()
	FROM PUBLIC;

-- Private
CREATE FUNCTION bsession_worker_state(
	OUT running boolean,
	OUT pid integer,
	OUT since timestamp with time zone,
	OUT state text,
	OUT in_flight integer,
	OUT next_due timestamp with time zone,
	OUT last_error text,
	OUT last_error_at timestamp with time zone)
RETURNS record
AS 'MODULE_PATHNAME', 'bsession_worker_state'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION bsession_worker_state() IS
'What this database''s worker says of itself';

-- Names of servers and errors of all roles: for those who monitor.
REVOKE EXECUTE ON FUNCTION bsession_worker_state() FROM PUBLIC;

-- Private
CREATE FUNCTION bsession_due_now()
RETURNS bigint
AS 'MODULE_PATHNAME', 'bsession_due_now'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION bsession_due_now() IS
'How many sessions of all roles are to be ended this moment; null while somebody has bsession_tracked locked';

-- It counts all roles' sessions: for those who monitor.
REVOKE EXECUTE ON FUNCTION bsession_due_now() FROM PUBLIC;

-- Private
CREATE FUNCTION bsession_server_counters(
	OUT provider text,
	OUT attempts bigint,
	OUT retries bigint,
	OUT ended bigint,
	OUT already_ended bigint,
	OUT requested bigint,
	OUT denied bigint,
	OUT rejected bigint,
	OUT rate_limited bigint,
	OUT unavailable bigint,
	OUT timed_out bigint,
	OUT unreachable bigint,
	OUT bad_reply bigint,
	OUT unknown bigint,
	OUT mean_latency interval,
	OUT max_latency interval,
	OUT last_attempt_at timestamp with time zone)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'bsession_server_counters'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 10;

COMMENT ON FUNCTION bsession_server_counters() IS
'What the servers of this database have been asked since PostgreSQL started';

-- All roles' traffic: for those who monitor.
REVOKE EXECUTE ON FUNCTION bsession_server_counters() FROM PUBLIC;

----------------------------------------------------------------------
-- Views
----------------------------------------------------------------------

-- Public
CREATE VIEW bsession_worker AS
	SELECT w.running, w.pid, w.since, w.state, w.in_flight,
		@extschema@.bsession_due_now() AS due_now,
		w.next_due, w.last_error, w.last_error_at
	FROM @extschema@.bsession_worker_state() w;

COMMENT ON VIEW bsession_worker IS
'This database''s worker: does it run, since when, what does it do, how much is under way and due, and what went wrong last';

-- Public
CREATE VIEW bsession_stats AS
	SELECT c.*
	FROM @extschema@.bsession_server_counters() c;

COMMENT ON VIEW bsession_stats IS
'For each server: attempts, outcomes, retries and latency since PostgreSQL started';

-- Public
--
-- It has no rows, and no table below it: of one, the planner's statistics
-- would be there for everybody to use, row security or not.
CREATE VIEW bsession_copy AS
	SELECT NULL::text AS provider, NULL::text AS session_id,
		NULL::timestamp with time zone AS expires_at, NULL::jsonb AS metadata
	WHERE false;

ALTER VIEW bsession_copy ALTER COLUMN metadata SET DEFAULT '{}';

COMMENT ON VIEW bsession_copy IS
'Where COPY bsession_tracked FROM goes for a role that row security applies to, because PostgreSQL has no such COPY; it can also be named itself';

-- Those who monitor need no more than these.
GRANT SELECT ON bsession_worker, bsession_stats TO pg_monitor;
GRANT EXECUTE ON FUNCTION bsession_worker_state(), bsession_due_now(),
	bsession_server_counters() TO pg_monitor;

----------------------------------------------------------------------
-- Triggers
----------------------------------------------------------------------

-- Private
CREATE TRIGGER bsession_check_tracked
	BEFORE INSERT OR UPDATE OF provider, session_id, expires_at
	ON bsession_tracked
	FOR EACH ROW EXECUTE FUNCTION bsession_check_tracked();

-- Private
CREATE TRIGGER bsession_copy_row
	INSTEAD OF INSERT ON bsession_copy
	FOR EACH ROW EXECUTE FUNCTION bsession_copy_row();

COMMENT ON TRIGGER bsession_copy_row ON bsession_copy IS
'Tracks what is copied, in the name of who copies it';

-- Also for rows that logical replication brings.
ALTER TABLE bsession_tracked ENABLE ALWAYS TRIGGER bsession_check_tracked;

COMMENT ON TRIGGER bsession_check_tracked ON bsession_tracked IS
'Makes plain INSERT, UPDATE and COPY work like the functions';

----------------------------------------------------------------------
-- Row security
--
-- A role sees and changes what it, or a role that it is a member of, has
-- tracked.  A group also sees what its members have.
----------------------------------------------------------------------

ALTER TABLE bsession_tracked ENABLE ROW LEVEL SECURITY;
ALTER TABLE bsession_audit ENABLE ROW LEVEL SECURITY;
-- It hides nothing, but whoever is granted everything shall not write to it.
ALTER TABLE bsession_home ENABLE ROW LEVEL SECURITY;

-- EXPLAIN shows everybody what the planner's statistics say of all roles'
-- rows: so there are none of what only some are to know.
ALTER TABLE bsession_tracked
	ALTER session_id SET STATISTICS 0,
	ALTER last_error SET STATISTICS 0,
	ALTER metadata SET STATISTICS 0;
ALTER TABLE bsession_audit
	ALTER session_id SET STATISTICS 0,
	ALTER provider_status SET STATISTICS 0,
	ALTER error SET STATISTICS 0,
	ALTER response SET STATISTICS 0,
	ALTER application_name SET STATISTICS 0,
	ALTER client_addr SET STATISTICS 0;

CREATE POLICY see ON bsession_tracked FOR SELECT
	USING (@extschema@.bsession_may_see(tracked_by));
CREATE POLICY track ON bsession_tracked FOR INSERT
	WITH CHECK (@extschema@.bsession_may_change(tracked_by, CURRENT_USER));
CREATE POLICY change ON bsession_tracked FOR UPDATE
	USING (@extschema@.bsession_may_change(tracked_by, CURRENT_USER));
CREATE POLICY forget ON bsession_tracked FOR DELETE
	USING (@extschema@.bsession_may_change(tracked_by, CURRENT_USER));
CREATE POLICY see ON bsession_audit FOR SELECT
	USING (@extschema@.bsession_may_see(actor));
CREATE POLICY see ON bsession_home FOR SELECT
	USING (true);

COMMENT ON POLICY see ON bsession_tracked IS
'Own sessions, those of roles the caller is a member of, those of its members; an auditor sees all';
COMMENT ON POLICY track ON bsession_tracked IS
'In the caller''s name or that of a role it is a member of';
COMMENT ON POLICY change ON bsession_tracked IS
'Own sessions and those of roles the caller is a member of';
COMMENT ON POLICY forget ON bsession_tracked IS
'Own sessions and those of roles the caller is a member of';
COMMENT ON POLICY see ON bsession_audit IS
'Own attempts, those of roles the caller is a member of, those of its members; an auditor sees all';
COMMENT ON POLICY see ON bsession_home IS
'Everybody may see it, and nobody but the owner change it';

----------------------------------------------------------------------
-- Grants
--
-- Everybody, because nobody sees another's rows, and tracking needs USAGE on
-- the server.  What the extension plans and notes is not theirs to write.
----------------------------------------------------------------------

GRANT SELECT, DELETE,
	INSERT (provider, session_id, expires_at, metadata),
	UPDATE (expires_at, metadata)
	ON bsession_tracked TO PUBLIC;
-- COPY ... WHERE needs SELECT; there is nothing to be seen in it.
GRANT INSERT, SELECT ON bsession_copy TO PUBLIC;
GRANT SELECT ON bsession_audit TO PUBLIC;
-- Without these, pg_dump --enable-row-security would fail for the others.
GRANT SELECT ON bsession_home, bsession_audit_id_seq TO PUBLIC;

----------------------------------------------------------------------
-- Dumps take the rows along
----------------------------------------------------------------------

SELECT pg_catalog.pg_extension_config_dump('bsession_tracked', '');
SELECT pg_catalog.pg_extension_config_dump('bsession_audit', '');
SELECT pg_catalog.pg_extension_config_dump('bsession_audit_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('bsession_home', '');

-- The database that the extension is created in is the sessions' home.
SELECT @extschema@.bsession_adopt();
