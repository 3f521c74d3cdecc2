--
-- Tracking: what each function makes of a session, by its state, and what it
-- refuses.  The server of the tests has no worker, so nothing else moves.
--
CREATE EXTENSION browser_session;
SELECT current_setting('test.sim') AS sim \gset
\set base :sim '/stagehand'
CREATE SERVER stagehand FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base');
CREATE USER MAPPING FOR PUBLIC SERVER stagehand OPTIONS (api_key 'sim-key');
\set base :sim '/browserless'
CREATE SERVER browserless FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base');
CREATE USER MAPPING FOR PUBLIC SERVER browserless OPTIONS (api_key 'sim-key');
CREATE ROLE regress_bs_app;
CREATE ROLE regress_bs_other;
GRANT USAGE ON FOREIGN SERVER stagehand, browserless TO regress_bs_app, regress_bs_other;

-- What there is of a session, times as what they are compared to now
CREATE VIEW shown AS
SELECT session_id AS id, state, reason, attempts AS n, outcome,
	CASE WHEN expires_at > clock_timestamp() + interval '90 min' THEN 'in hours'
		WHEN expires_at > clock_timestamp() THEN 'within the hour'
		WHEN expires_at <= clock_timestamp() THEN 'past' END AS expires,
	CASE WHEN next_attempt_at = expires_at THEN 'at expiry'
		WHEN next_attempt_at <= clock_timestamp() THEN 'due'
		WHEN next_attempt_at IS NOT NULL THEN 'later' END AS next,
	ended_at IS NOT NULL AS over, metadata
FROM bsession_tracked ORDER BY provider, session_id;
GRANT SELECT ON shown TO PUBLIC;
-- Puts a session into a state, as the worker would
CREATE PROCEDURE put(id text, state text) LANGUAGE sql AS
$$
	INSERT INTO bsession_tracked (provider, session_id, expires_at, tracked_by)
	VALUES ('stagehand', id, now() + '1 hour', 'regress_bs_app');
	UPDATE bsession_tracked SET state = put.state,
		next_attempt_at = CASE put.state WHEN 'active' THEN next_attempt_at WHEN 'ending' THEN now() + '5 min' END,
		attempts = CASE put.state WHEN 'active' THEN 0 ELSE 3 END,
		outcome = CASE put.state WHEN 'active' THEN NULL WHEN 'ended' THEN 'ended' ELSE 'unavailable' END,
		last_error = CASE WHEN put.state IN ('ending', 'failed') THEN 'provider answered 503' END,
		ended_at = CASE put.state WHEN 'ended' THEN now() END
	WHERE session_id = id;
$$;

SET ROLE regress_bs_app;

-- The row that is returned is the row that is there
SELECT provider, session_id, state, expires_at > now() + interval '59 min'
	AND expires_at < clock_timestamp() + interval '61 min' AS in_an_hour,
	next_attempt_at = expires_at AS at_expiry, attempts, outcome, last_error,
	tracked_by, tracked_at = now() AS now, ended_at, metadata, reason, claimed_by
FROM bsession_track('stagehand', 'ttl-1', interval '1 hour');
SELECT r::text AS returned FROM bsession_track('stagehand', 'ttl-2', interval '1 hour') AS r \gset
SELECT t::text = :'returned' AS same FROM bsession_tracked AS t WHERE session_id = 'ttl-2';
SELECT * FROM shown;
-- The other form, and both with names
SELECT expires_at, next_attempt_at, metadata
FROM bsession_track('stagehand', 'until-1', timestamptz '2100-01-01 00:00-08');
SELECT expires_at, metadata FROM bsession_track('stagehand', 'until-2',
	expires_at => '2100-01-01 00:00-08', metadata => '{"job": 7}');
SELECT expires_at < now() + interval '2 hours' AS ttl, metadata FROM bsession_track(
	id => 'named-1', provider => 'stagehand', metadata => '{"job": 8}', ttl => '1 hour');
-- Never: only an inventory entry
SELECT state, expires_at, next_attempt_at
FROM bsession_track('stagehand', 'never-1', expires_at => NULL);
SELECT expires_at, next_attempt_at
FROM bsession_track('stagehand', 'never-2', 'infinity'::timestamptz);
-- Past: due at once
SELECT state, next_attempt_at
FROM bsession_track('stagehand', 'past-1', timestamptz '2000-01-01 00:00-08');
-- Metadata of NULL is none
SELECT metadata FROM bsession_track('stagehand', 'meta-1', interval '1 hour', NULL);

-- Once more for the same id: another expiry, metadata merged
SELECT metadata FROM bsession_track('stagehand', 'again-1', interval '1 hour', '{"a": 1, "b": {"x": 1}}');
SELECT expires_at, next_attempt_at, metadata FROM bsession_track('stagehand', 'again-1',
	timestamptz '2100-01-01 00:00-08', '{"b": 2, "c": null}');
-- … also an earlier one, or none at all
SELECT expires_at < now() + interval '2 min' AS earlier, next_attempt_at = expires_at AS at_expiry, metadata
FROM bsession_track('stagehand', 'again-1', interval '1 min');
SELECT expires_at, next_attempt_at FROM bsession_track('stagehand', 'again-1', expires_at => NULL);
SELECT count(*) FROM bsession_tracked WHERE session_id = 'again-1';
-- The same id at another server is another session
SELECT provider FROM bsession_track('browserless', 'again-1', interval '1 hour');
SELECT provider, expires_at IS NULL AS never FROM bsession_tracked WHERE session_id = 'again-1' ORDER BY 1;

-- A stop URL is tracked under the id in it, and its token nowhere
\set stop :sim '/browserless/session/stop-1?token=secret'
SELECT session_id, metadata FROM bsession_track('browserless', :'stop', interval '1 hour');
SELECT session_id, expires_at FROM bsession_track('browserless', 'stop-1', timestamptz '2100-01-01 00:00-08');
SELECT bsession_extend('browserless', :'stop', '1 hour');
SELECT bsession_expire('browserless', :'stop'), bsession_retry('browserless', :'stop');
SELECT count(*) FROM bsession_tracked AS t WHERE t::text LIKE '%secret%';
SELECT bsession_untrack('browserless', :'stop');
SELECT count(*) FROM bsession_tracked WHERE session_id = 'stop-1';
-- Fails: a URL of another host, which the message does not repeat
SELECT bsession_track('browserless', 'https://evil.example/session/x?token=secret', interval '1 hour');
\echo :SQLSTATE
SELECT bsession_untrack('browserless', 'https://evil.example/session/x?token=secret');
-- Fails: a URL where ids are none
\set stop :sim '/stagehand/v1/sessions/x'
SELECT bsession_track('stagehand', :'stop', interval '1 hour');

-- Fails: NULL
SELECT bsession_track(NULL, 'x', interval '1 hour');
\echo :SQLSTATE
SELECT bsession_track('stagehand', NULL, interval '1 hour');
\echo :SQLSTATE
SELECT bsession_track('stagehand', 'x', ttl => NULL);
\echo :SQLSTATE
SELECT bsession_track(NULL, 'x', timestamptz '2100-01-01');
SELECT bsession_track('stagehand', NULL, timestamptz '2100-01-01');
SELECT bsession_extend(NULL, 'x', '1 hour');
\echo :SQLSTATE
SELECT bsession_extend('stagehand', NULL, '1 hour');
\echo :SQLSTATE
SELECT bsession_extend('stagehand', 'x', NULL);
\echo :SQLSTATE
SELECT bsession_expire(NULL, 'x');
\echo :SQLSTATE
SELECT bsession_expire('stagehand', NULL);
SELECT bsession_untrack(NULL, 'x');
\echo :SQLSTATE
SELECT bsession_untrack('stagehand', NULL);
SELECT bsession_retry(NULL, 'x');
\echo :SQLSTATE
SELECT bsession_retry('stagehand', NULL);
-- Fails: which of the two forms is not said
SELECT bsession_track('stagehand', 'x', NULL);
\echo :SQLSTATE
SELECT bsession_track('stagehand', 'x', '1 hour');
-- Fails: no time at all
SELECT bsession_track('stagehand', 'x', interval '0');
\echo :SQLSTATE
SELECT bsession_track('stagehand', 'x', interval '-1 s');
SELECT bsession_extend('stagehand', 'ttl-1', '0');
\echo :SQLSTATE
SELECT bsession_extend('stagehand', 'ttl-1', '-1 day');
-- Fails: beyond the end of time
SELECT bsession_track('stagehand', 'x', interval '300000 years');
\echo :SQLSTATE
-- Fails: metadata that is no object
SELECT bsession_track('stagehand', 'x', interval '1 hour', '[1]');
\echo :SQLSTATE
SELECT bsession_track('stagehand', 'x', interval '1 hour', '"text"');
SELECT bsession_track('stagehand', 'x', interval '1 hour', 'null');
SELECT bsession_track('stagehand', 'x', timestamptz '2100-01-01', '1');
-- Fails: an id that is none
SELECT bsession_track('stagehand', '', interval '1 hour');
\echo :SQLSTATE
SELECT bsession_track('stagehand', 'all', interval '1 hour');
SELECT bsession_track('stagehand', '../x', timestamptz '2100-01-01');
-- Fails: no such server
SELECT bsession_track('nowhere', 'x', interval '1 hour');
\echo :SQLSTATE
SELECT bsession_track('browserbase', 'x', timestamptz '2100-01-01');
-- Fails: no USAGE
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER browserless FROM regress_bs_app;
SET ROLE regress_bs_app;
SELECT bsession_track('browserless', 'x', interval '1 hour');
\echo :SQLSTATE
-- Fails: no credential
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER browserless TO regress_bs_app;
DROP USER MAPPING FOR PUBLIC SERVER browserless;
SET ROLE regress_bs_app;
SELECT bsession_track('browserless', 'x', interval '1 hour');
\echo :SQLSTATE
-- None of those left anything behind
SELECT count(*) FROM bsession_tracked WHERE session_id = 'x';
-- Fails: a read-only transaction
BEGIN READ ONLY;
SELECT bsession_track('stagehand', 'x', interval '1 hour');
\echo :SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT bsession_extend('stagehand', 'ttl-1', '1 hour');
\echo :SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT bsession_expire('stagehand', 'ttl-1');
ROLLBACK;
BEGIN READ ONLY;
SELECT bsession_untrack('stagehand', 'ttl-1');
ROLLBACK;
BEGIN READ ONLY;
SELECT bsession_retry('stagehand', 'ttl-1');
ROLLBACK;

-- Extending: later, never earlier
DELETE FROM bsession_tracked;
SELECT FROM bsession_track('stagehand', 'extend-1', interval '1 hour');
SELECT bsession_extend('stagehand', 'extend-1', '2 hours') - now() > interval '119 min' AS later;
SELECT bsession_extend('stagehand', 'extend-1', '1 min') - now() > interval '119 min' AS not_earlier;
SELECT * FROM shown;
-- One without an expiry keeps none
SELECT FROM bsession_track('stagehand', 'extend-2', expires_at => NULL);
SELECT bsession_extend('stagehand', 'extend-2', '1 hour');
-- One that has passed its expiry, but whose end has not begun
SELECT FROM bsession_track('stagehand', 'extend-3', timestamptz '2000-01-01');
SELECT bsession_extend('stagehand', 'extend-3', '1 hour') > now() AS rescued;
SELECT * FROM shown;
-- Fails: not tracked, whatever the server; the hint quotes what it repeats
SELECT bsession_extend('stagehand', 'nobody', '1 hour');
\echo :SQLSTATE
SELECT bsession_extend('now''here', 'no''body', '1 hour');
-- Rolled back
BEGIN;
SELECT bsession_extend('stagehand', 'extend-1', '5 hours') > now() + '4 hours' AS later;
ROLLBACK;
SELECT expires_at < now() + interval '3 hours' AS as_before FROM bsession_tracked WHERE session_id = 'extend-1';

-- By state: what each function says, and what it leaves
RESET ROLE;
CREATE FUNCTION try(call text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	r text;
BEGIN
	EXECUTE 'SELECT ' || call INTO r;
	RETURN coalesce(r, 'null');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END
$$;
CREATE TABLE states (state text, place int);
INSERT INTO states VALUES ('active', 1), ('ending', 2), ('ended', 3), ('failed', 4);
CREATE PROCEDURE put_all() LANGUAGE plpgsql AS
$$
DECLARE
	s text;
BEGIN
	DELETE FROM bsession_tracked;
	FOR s IN SELECT state FROM states LOOP
		CALL put('in-' || s, s);
	END LOOP;
END
$$;
GRANT SELECT ON states TO PUBLIC;
CREATE VIEW by_state AS
SELECT s.state AS before, t.state AS after, reason, n, outcome, expires, next, over
FROM states s LEFT JOIN shown t ON t.id = 'in-' || s.state ORDER BY place;
GRANT SELECT ON by_state TO PUBLIC;

CALL put_all();
SELECT * FROM by_state;
-- expire(): active and failed will be ended, ending is already
SET ROLE regress_bs_app;
SELECT state, try(format('bsession_expire(%L, %L)', 'stagehand', 'in-' || state)) FROM states ORDER BY place;
SELECT * FROM by_state;
SELECT bsession_expire('stagehand', 'unknown-1'), bsession_expire('nowhere', 'in-active');
-- … also one that never expires
SELECT FROM bsession_track('stagehand', 'in-never', expires_at => NULL);
SELECT bsession_expire('stagehand', 'in-never');
SELECT * FROM shown WHERE id = 'in-never';
-- … and nothing if the transaction is rolled back, or its savepoint
SELECT FROM bsession_track('stagehand', 'in-transaction', interval '1 hour');
BEGIN;
SELECT bsession_expire('stagehand', 'in-transaction');
SELECT state FROM shown WHERE id = 'in-transaction';
ROLLBACK;
SELECT state, expires FROM shown WHERE id = 'in-transaction';
BEGIN;
SAVEPOINT s;
SELECT bsession_expire('stagehand', 'in-transaction');
ROLLBACK TO s;
COMMIT;
SELECT state, expires FROM shown WHERE id = 'in-transaction';
-- retry(): only what failed
RESET ROLE;
CALL put_all();
SET ROLE regress_bs_app;
SELECT state, try(format('bsession_retry(%L, %L)', 'stagehand', 'in-' || state)) FROM states ORDER BY place;
SELECT * FROM by_state;
SELECT bsession_retry('stagehand', 'unknown-1'), bsession_retry('nowhere', 'in-active');
-- extend(): only what is active
RESET ROLE;
CALL put_all();
SET ROLE regress_bs_app;
SELECT state, try(format('bsession_extend(%L, %L, %L) > now() + interval %L', 'stagehand', 'in-' || state, '2 hours', '1 hour'))
FROM states ORDER BY place;
SELECT * FROM by_state;
-- Fails: with a hint
SELECT bsession_extend('stagehand', 'in-ending', '1 hour');
SELECT bsession_extend('stagehand', 'in-failed', '1 hour');
-- track(): anything but what is being ended, from the beginning
RESET ROLE;
CALL put_all();
SET ROLE regress_bs_app;
SELECT state, try(format('(bsession_track(%L, %L, interval %L)).state', 'stagehand', 'in-' || state, '2 hours'))
FROM states ORDER BY place;
SELECT * FROM by_state;
SELECT session_id, last_error FROM bsession_tracked WHERE last_error IS NOT NULL;
-- Fails: with a hint
SELECT bsession_track('stagehand', 'in-ending', interval '1 hour');
-- untrack(): anything
RESET ROLE;
CALL put_all();
SET ROLE regress_bs_app;
SELECT state, try(format('bsession_untrack(%L, %L)', 'stagehand', 'in-' || state)) FROM states ORDER BY place;
SELECT * FROM by_state;
SELECT bsession_untrack('stagehand', 'in-active'), bsession_untrack('nowhere', 'in-active');

-- Another role's session is not there, but it cannot be tracked twice
RESET ROLE;
CALL put_all();
SET ROLE regress_bs_other;
SELECT bsession_expire('stagehand', 'in-active'), bsession_untrack('stagehand', 'in-active'),
	bsession_retry('stagehand', 'in-failed');
-- Fails: not tracked, as far as this role can know
SELECT bsession_extend('stagehand', 'in-active', '1 hour');
-- Fails: tracked by another role, whatever its state
SELECT bsession_track('stagehand', 'in-active', interval '1 hour');
\echo :SQLSTATE
SELECT state, try(format('bsession_track(%L, %L, interval %L)', 'stagehand', 'in-' || state, '2 hours'))
FROM states ORDER BY place;
RESET ROLE;
SELECT * FROM by_state;
-- A superuser can, and the session stays whose it was
SELECT tracked_by FROM bsession_track('stagehand', 'in-active', interval '3 hours');
SELECT bsession_expire('stagehand', 'in-active'), bsession_retry('stagehand', 'in-failed'),
	bsession_untrack('stagehand', 'in-ended');
SELECT * FROM by_state;
DELETE FROM bsession_tracked;

-- Tracked in a transaction that is rolled back: not tracked
BEGIN;
SELECT FROM bsession_track('stagehand', 'rolled-back-1', interval '1 hour');
ROLLBACK;
SELECT count(*) FROM bsession_tracked;

-- Whatever the search path is, and as the owner of a function
SET search_path = pg_catalog;
SELECT session_id FROM public.bsession_track('stagehand', 'path-1', interval '1 hour');
SELECT public.bsession_untrack('stagehand', 'path-1');
RESET search_path;
CREATE FUNCTION track_for_all(id text) RETURNS name LANGUAGE sql SECURITY DEFINER
	SET search_path = public, pg_temp
	AS $$SELECT tracked_by FROM bsession_track('stagehand', id, interval '1 hour')$$;
ALTER FUNCTION track_for_all OWNER TO regress_bs_app;
SET ROLE regress_bs_other;
SELECT track_for_all('definer-1');
RESET ROLE;
DELETE FROM bsession_tracked;

-- A session is ended with the row it belongs to
CREATE TABLE job (id int PRIMARY KEY, server text, session text, note text);
CREATE TRIGGER leak AFTER DELETE ON job FOR EACH ROW
	EXECUTE FUNCTION bsession_end_on_delete('server', 'session');
GRANT SELECT, INSERT, UPDATE, DELETE ON job TO regress_bs_app;
SET ROLE regress_bs_app;
INSERT INTO job VALUES (1, 'stagehand', 'job-1'), (2, 'stagehand', 'job-2'),
	(3, 'stagehand', NULL), (4, NULL, 'job-4'), (5, 'stagehand', 'job-5'), (6, 'stagehand', 'job-6');
-- … tracked or not
SELECT FROM bsession_track('stagehand', 'job-2', interval '1 hour', '{"kept": true}');
DELETE FROM job WHERE id IN (1, 2);
SELECT * FROM shown;
SELECT session_id, tracked_by, metadata FROM bsession_tracked ORDER BY 1;
-- … unless there is none, or the transaction is rolled back
DELETE FROM job WHERE id IN (3, 4);
BEGIN;
DELETE FROM job WHERE id = 5;
SELECT id, state FROM shown WHERE id = 'job-5';
ROLLBACK;
BEGIN;
SAVEPOINT s;
DELETE FROM job WHERE id = 5;
ROLLBACK TO s;
DELETE FROM job WHERE id = 6;
COMMIT;
SELECT id, state, reason FROM shown;
-- … by state
RESET ROLE;
CALL put_all();
INSERT INTO job SELECT 10 + place, 'stagehand', 'in-' || state FROM states;
SET ROLE regress_bs_app;
DELETE FROM job WHERE id > 10;
SELECT * FROM by_state;
-- Fails, and the row stays: a session that cannot be ended
INSERT INTO job VALUES (20, 'nowhere', 'x'), (21, 'stagehand', 'all'), (22, 'browserless', 'x');
DELETE FROM job WHERE id = 20;
\echo :SQLSTATE
DELETE FROM job WHERE id = 21;
\echo :SQLSTATE
DELETE FROM job WHERE id = 22;
\echo :SQLSTATE
RESET ROLE;
CREATE USER MAPPING FOR PUBLIC SERVER browserless OPTIONS (api_key 'sim-key');
REVOKE USAGE ON FOREIGN SERVER browserless FROM regress_bs_app;
SET ROLE regress_bs_app;
DELETE FROM job WHERE id = 22;
\echo :SQLSTATE
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER browserless TO regress_bs_app;
-- Fails: another role tracks it
SET ROLE regress_bs_other;
SELECT FROM bsession_track('stagehand', 'job-5', interval '1 hour');
SET ROLE regress_bs_app;
DELETE FROM job WHERE id = 5;
\echo :SQLSTATE
SELECT id FROM job ORDER BY id;
RESET ROLE;
DELETE FROM bsession_tracked;
TRUNCATE job;
-- A stop URL is ended under the id in it
\set stop :sim '/browserless/session/stop-2?token=secret'
INSERT INTO job VALUES (1, 'browserless', :'stop');
DELETE FROM job;
SELECT id, reason FROM shown;
DELETE FROM bsession_tracked;
-- Columns of other types, behind one that was dropped
CREATE DOMAIN server_name AS varchar(63);
CREATE TABLE uuid_job (gone int, server server_name, "Session" uuid, n bigint);
ALTER TABLE uuid_job DROP COLUMN gone;
CREATE TRIGGER leak AFTER DELETE ON uuid_job FOR EACH ROW
	EXECUTE FUNCTION bsession_end_on_delete('server', 'Session');
INSERT INTO uuid_job VALUES ('stagehand', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 7);
DELETE FROM uuid_job;
SELECT id, reason FROM shown;
CREATE TRIGGER number AFTER DELETE ON uuid_job FOR EACH ROW
	EXECUTE FUNCTION bsession_end_on_delete('server', 'n');
INSERT INTO uuid_job VALUES ('stagehand', NULL, 8);
DELETE FROM uuid_job;
SELECT id, reason FROM shown;
-- Partitions, and rows that go with others
CREATE TABLE part (id int, server text DEFAULT 'stagehand', session text) PARTITION BY LIST (id);
CREATE TABLE part_1 (session text, id int, server text DEFAULT 'stagehand');
ALTER TABLE part ATTACH PARTITION part_1 FOR VALUES IN (1);
CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2);
CREATE TRIGGER leak AFTER DELETE ON part FOR EACH ROW
	EXECUTE FUNCTION bsession_end_on_delete('server', 'session');
INSERT INTO part (id, session) VALUES (1, 'part-1'), (2, 'part-2');
DELETE FROM part;
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int REFERENCES parent ON DELETE CASCADE, server text, session text);
CREATE TRIGGER leak AFTER DELETE ON child FOR EACH ROW
	EXECUTE FUNCTION bsession_end_on_delete('server', 'session');
INSERT INTO parent VALUES (1);
INSERT INTO child VALUES (1, 'stagehand', 'child-1'), (1, 'stagehand', 'child-2');
DELETE FROM parent;
SELECT id, reason FROM shown;
-- A constraint trigger may wait for the commit
CREATE CONSTRAINT TRIGGER late AFTER DELETE ON parent DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION bsession_end_on_delete('server', 'session');
ALTER TABLE parent ADD server text DEFAULT 'stagehand', ADD session text DEFAULT 'late-1';
INSERT INTO parent VALUES (2);
BEGIN;
DELETE FROM parent;
SELECT count(*) FROM shown WHERE id = 'late-1';
COMMIT;
SELECT id, reason FROM shown WHERE id = 'late-1';

-- Fails: wrong arguments
CREATE TRIGGER leak_2 AFTER DELETE ON job FOR EACH ROW
	EXECUTE FUNCTION bsession_end_on_delete('server', 'no_such_column');
INSERT INTO job VALUES (1, 'stagehand', 'job-1');
DELETE FROM job;
\echo :SQLSTATE
DROP TRIGGER leak_2 ON job;
CREATE TRIGGER leak_2 AFTER DELETE ON job FOR EACH ROW
	EXECUTE FUNCTION bsession_end_on_delete('server');
DELETE FROM job;
\echo :SQLSTATE
DROP TRIGGER leak_2 ON job;
CREATE TRIGGER leak_2 AFTER DELETE ON job FOR EACH ROW
	EXECUTE FUNCTION bsession_end_on_delete('server', 'session', 'note');
DELETE FROM job;
\echo :SQLSTATE
DROP TRIGGER leak_2 ON job;
-- Fails: a dropped column
ALTER TABLE uuid_job DROP COLUMN n;
INSERT INTO uuid_job VALUES ('stagehand', NULL);
DELETE FROM uuid_job;
\echo :SQLSTATE
-- Fails: at another time, for another event, for a statement, for no table
CREATE TRIGGER leak_2 BEFORE DELETE ON job FOR EACH ROW
	EXECUTE FUNCTION bsession_end_on_delete('server', 'session');
DELETE FROM job;
\echo :SQLSTATE
DROP TRIGGER leak_2 ON job;
CREATE TRIGGER leak_2 AFTER INSERT OR UPDATE ON job FOR EACH ROW
	EXECUTE FUNCTION bsession_end_on_delete('server', 'session');
INSERT INTO job VALUES (2, 'stagehand', 'job-2');
UPDATE job SET note = 'x';
DROP TRIGGER leak_2 ON job;
CREATE TRIGGER leak_2 AFTER DELETE ON job FOR EACH STATEMENT
	EXECUTE FUNCTION bsession_end_on_delete('server', 'session');
DELETE FROM job;
\echo :SQLSTATE
DROP TRIGGER leak_2 ON job;
SELECT bsession_end_on_delete();
\echo :SQLSTATE
SELECT bsession_check_tracked();
\echo :SQLSTATE
-- … and with the right ones it still works
DELETE FROM job;
SELECT id, reason FROM shown WHERE id LIKE 'job%';

-- The home is set by CREATE EXTENSION, and only the owner can set it anew
SELECT bsession_adopt();
SET ROLE regress_bs_app;
SELECT bsession_adopt();
\echo :SQLSTATE
RESET ROLE;
UPDATE bsession_home SET database = 1;
SELECT bsession_adopt();
SELECT bsession_adopt();
SELECT count(*), bool_and(database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS here
FROM bsession_home;

SET client_min_messages = warning;
DROP TABLE job, uuid_job, part, child, parent, states CASCADE;
DROP DOMAIN server_name;
DROP FUNCTION try(text), track_for_all(text);
DROP PROCEDURE put(text, text), put_all();
DROP EXTENSION browser_session CASCADE;
DROP ROLE regress_bs_app, regress_bs_other;
