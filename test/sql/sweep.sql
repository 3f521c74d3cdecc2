--
-- bsession_end_expired(): which sessions a sweep takes, for whom, with whose
-- credential, and what it leaves
--
CREATE EXTENSION browser_session;
SELECT current_setting('test.sim') AS sim \gset
\set base :sim '/stagehand'
CREATE SERVER fine FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'stagehand', base_url :'base');
\set base :sim '/with:status=503/stagehand'
CREATE SERVER down FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'stagehand', base_url :'base');
\set base :sim '/with:release=-1/browserbase'
CREATE SERVER slow FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'browserbase', base_url :'base', confirm_timeout '0');
CREATE USER MAPPING FOR PUBLIC SERVER fine OPTIONS (api_key 'sim-key');
CREATE USER MAPPING FOR PUBLIC SERVER down OPTIONS (api_key 'sim-key');
CREATE USER MAPPING FOR PUBLIC SERVER slow OPTIONS (api_key 'sim-key');
CREATE ROLE regress_bs_group;
CREATE ROLE regress_bs_app;
CREATE ROLE regress_bs_other;
CREATE ROLE regress_bs_sweeper NOINHERIT;
GRANT regress_bs_group TO regress_bs_app;
GRANT USAGE ON FOREIGN SERVER fine, down, slow TO regress_bs_group, regress_bs_other;
CREATE VIEW shown AS
SELECT session_id AS id, state, reason, attempts AS n, outcome, last_error,
	CASE WHEN next_attempt_at <= clock_timestamp() THEN 'due' WHEN next_attempt_at = expires_at THEN 'at expiry'
		WHEN next_attempt_at IS NOT NULL THEN 'later' END AS next,
	ended_at IS NOT NULL AS over, claimed_by
FROM bsession_tracked ORDER BY session_id;
GRANT SELECT ON shown TO PUBLIC;

-- Nothing tracked, nothing due
SELECT * FROM bsession_end_expired();
SET ROLE regress_bs_app;
SELECT FROM bsession_track('fine', 'later-1', interval '1 hour');
SELECT FROM bsession_track('fine', 'never-1', expires_at => NULL);
SELECT * FROM bsession_end_expired();

-- What is due, in the order in which it is
SELECT FROM bsession_track('fine', 'due-2', timestamptz '2000-01-02');
SELECT FROM bsession_track('fine', 'due-1', timestamptz '2000-01-01', '{"kept": 1}');
SELECT FROM bsession_track('fine', 'unknown-due-3', timestamptz '2000-01-03');
SELECT FROM bsession_track('fine', 'due-4', interval '1 hour');
SELECT bsession_expire('fine', 'due-4');
SELECT provider, session_id, outcome, done, http_status, attempts, ended_at <= clock_timestamp() AS over, error
FROM bsession_end_expired();
SELECT * FROM shown;
SELECT metadata FROM bsession_tracked WHERE session_id = 'due-1';
SELECT session_id, reason, outcome, attempt, actor, rolled_back FROM bsession_audit ORDER BY session_id;
-- … once
SELECT * FROM bsession_end_expired();

-- At most so many, the ones that have waited longest
SELECT count(bsession_track('fine', 'many-' || n, timestamptz '2000-01-01' + n * interval '1 day')) FROM generate_series(1, 9) AS n;
SELECT session_id, outcome FROM bsession_end_expired(2);
SELECT session_id FROM bsession_end_expired(max_sessions => 1);
SELECT count(*) FROM bsession_end_expired(100000);
SELECT count(*) FROM bsession_end_expired(1);
-- Fails: not so many
SELECT * FROM bsession_end_expired(0);
\echo :SQLSTATE
SELECT * FROM bsession_end_expired(-1);
SELECT * FROM bsession_end_expired(NULL);
\echo :SQLSTATE
SELECT * FROM bsession_end_expired(100001);
-- Fails: a read-only transaction
SELECT FROM bsession_track('fine', 'read-only-1', timestamptz '2000-01-01');
BEGIN READ ONLY;
SELECT * FROM bsession_end_expired();
\echo :SQLSTATE
ROLLBACK;
SELECT state FROM shown WHERE id = 'read-only-1';

-- A role sweeps what it may change: its own and its groups'
DELETE FROM bsession_tracked;
SELECT FROM bsession_track('fine', 'app-1', timestamptz '2000-01-02');
SET ROLE regress_bs_group;
SELECT FROM bsession_track('fine', 'group-1', timestamptz '2000-01-01');
SET ROLE regress_bs_other;
SELECT FROM bsession_track('fine', 'other-1', timestamptz '2000-01-03');
SET ROLE regress_bs_group;
BEGIN;
SELECT session_id FROM bsession_end_expired();
ROLLBACK;
SET ROLE regress_bs_app;
SELECT session_id FROM bsession_end_expired();
RESET ROLE;
GRANT regress_bs_other TO regress_bs_sweeper;
SET ROLE regress_bs_sweeper;
SELECT session_id FROM bsession_end_expired();
RESET ROLE;
ALTER ROLE regress_bs_sweeper INHERIT;
-- (from PostgreSQL 16 on it is the grant that is inherited, or not)
REVOKE regress_bs_other FROM regress_bs_sweeper;
GRANT regress_bs_other TO regress_bs_sweeper;
SET ROLE regress_bs_sweeper;
SELECT session_id FROM bsession_end_expired();
RESET ROLE;
SELECT id, state FROM shown;
SELECT session_id, actor FROM bsession_audit WHERE session_id IN ('app-1', 'group-1', 'other-1') ORDER BY session_id;

-- … with the credential and the rights of who tracks them, not its own
DELETE FROM bsession_tracked;
CREATE USER MAPPING FOR regress_bs_sweeper SERVER fine OPTIONS (api_key 'wrong-key');
SET ROLE regress_bs_other;
SELECT FROM bsession_track('fine', 'credential-1', timestamptz '2000-01-01');
SET ROLE regress_bs_sweeper;
SELECT session_id, outcome FROM bsession_end_expired();
RESET ROLE;
CREATE USER MAPPING FOR regress_bs_other SERVER fine OPTIONS (api_key 'wrong-key');
SET ROLE regress_bs_other;
SELECT FROM bsession_track('fine', 'credential-2', timestamptz '2000-01-01');
RESET ROLE;
SELECT session_id, outcome FROM bsession_end_expired();
SELECT id, state, n, outcome, next IS NOT NULL AS again FROM shown;
DROP USER MAPPING FOR regress_bs_other SERVER fine;
DROP USER MAPPING FOR regress_bs_sweeper SERVER fine;
DELETE FROM bsession_tracked;

-- What cannot be sent says why, and keeps none of the others waiting
SET ROLE regress_bs_other;
SELECT FROM bsession_track('fine', 'sendable', timestamptz '2000-01-01');
SELECT FROM bsession_track('down', 'no-usage', timestamptz '2000-01-01');
SELECT FROM bsession_track('slow', 'no-mapping', timestamptz '2000-01-01');
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER down FROM regress_bs_other;
DROP USER MAPPING FOR PUBLIC SERVER slow;
INSERT INTO bsession_tracked (provider, session_id, expires_at, next_attempt_at, tracked_by, tracked_at) VALUES
	('nowhere', 'no-server', '2000-01-01', '2000-01-01', 'regress_bs_other', '2000-01-01'),
	('fine', 'no/id', '2000-01-01', '2000-01-01', 'regress_bs_other', '2000-01-01'),
	('fine', 'no-role', '2000-01-01', '2000-01-01', 'regress_bs_gone', '2000-01-01');
SELECT bsession_adopt();
SELECT count(*) FROM bsession_audit \gset before_
SELECT session_id, outcome, done, http_status, attempts, error FROM bsession_end_expired() ORDER BY session_id COLLATE "C";
SELECT id, state, n, outcome, last_error, next IS NOT NULL AS again, claimed_by FROM shown ORDER BY id COLLATE "C";
SELECT count(*) - :before_count AS attempts FROM bsession_audit;
-- … until it can be
GRANT USAGE ON FOREIGN SERVER down TO regress_bs_other;
CREATE USER MAPPING FOR PUBLIC SERVER slow OPTIONS (api_key 'sim-key');
\set base :sim '/anchor'
CREATE SERVER nowhere FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'anchor', base_url :'base');
CREATE USER MAPPING FOR PUBLIC SERVER nowhere OPTIONS (api_key 'sim-key');
GRANT USAGE ON FOREIGN SERVER nowhere TO regress_bs_other;
CREATE ROLE regress_bs_gone;
GRANT USAGE ON FOREIGN SERVER fine TO regress_bs_gone;
UPDATE bsession_tracked SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL;
SELECT session_id, outcome FROM bsession_end_expired() ORDER BY session_id COLLATE "C";
SELECT id, state, n, outcome, last_error IS NOT NULL AS error FROM shown ORDER BY id COLLATE "C";
DROP SERVER nowhere CASCADE;
DELETE FROM bsession_tracked;
REVOKE USAGE ON FOREIGN SERVER fine FROM regress_bs_gone;
DROP ROLE regress_bs_gone;

-- A failed end backs off; it is a single attempt, whatever the server's retries
SET ROLE regress_bs_app;
SELECT FROM bsession_track('down', 'down-1', timestamptz '2000-01-01');
SELECT session_id, outcome, attempts, error FROM bsession_end_expired();
SELECT id, state, n, outcome, last_error, claimed_by FROM shown;
SELECT outcome, attempt FROM bsession_audit WHERE session_id = 'down-1' ORDER BY id;
-- … which doubles, up to browser_session.max_retry_delay, less a quarter at most
RESET ROLE;
CREATE PROCEDURE sweep_as(attempt int) LANGUAGE sql AS
$$
	UPDATE bsession_tracked SET attempts = attempt - 1, next_attempt_at = now();
	DELETE FROM bsession_audit;
	SELECT FROM bsession_end_expired();
$$;
CREATE VIEW pause AS
SELECT attempts AS after, least(2 ^ (attempts - 1), 600) AS at_most,
	next_attempt_at - a.at >= 0.75 * interval '1 s' * least(2 ^ (attempts - 1), 600) AS not_sooner,
	next_attempt_at <= clock_timestamp() + interval '1 s' * least(2 ^ (attempts - 1), 600) AS not_later
FROM bsession_tracked JOIN bsession_audit AS a USING (session_id);
SELECT * FROM pause;
CALL sweep_as(2);
SELECT * FROM pause;
CALL sweep_as(9);
SELECT * FROM pause;
CALL sweep_as(15);
SELECT * FROM pause;
DELETE FROM bsession_audit;
-- … and is given up in the end
UPDATE bsession_tracked SET attempts = 19, next_attempt_at = now();
SELECT session_id, outcome, attempts FROM bsession_end_expired();
SELECT * FROM shown;
SELECT outcome, attempt FROM bsession_audit WHERE session_id = 'down-1' ORDER BY id;
SELECT * FROM bsession_end_expired();
-- … until somebody wants it tried again
\set base :sim '/stagehand'
ALTER SERVER down OPTIONS (SET base_url :'base');
SET ROLE regress_bs_app;
SELECT bsession_retry('down', 'down-1');
SELECT id, state, n, outcome, next FROM shown;
SELECT session_id, outcome FROM bsession_end_expired();
SELECT * FROM shown;
SELECT outcome, attempt FROM bsession_audit WHERE session_id = 'down-1' ORDER BY id;
RESET ROLE;
DELETE FROM bsession_tracked;
-- Also what cannot be sent is given up
INSERT INTO bsession_tracked (provider, session_id, attempts, next_attempt_at, tracked_by, tracked_at)
VALUES ('nowhere', 'no-server', 19, '2000-01-01', 'regress_bs_other', '2000-01-01');
SELECT bsession_adopt();
SELECT session_id, outcome FROM bsession_end_expired();
SELECT id, state, n, outcome, last_error, next FROM shown;
DELETE FROM bsession_tracked;

-- One that was accepted is looked at, and only asked again if it is alive
SET ROLE regress_bs_app;
SELECT FROM bsession_track('slow', 'slow-1', timestamptz '2000-01-01');
SELECT session_id, outcome, provider_status, attempts FROM bsession_end_expired();
RESET ROLE;
UPDATE bsession_tracked SET next_attempt_at = now();
SELECT session_id, outcome, provider_status, attempts FROM bsession_end_expired();
SELECT id, state, n, outcome, last_error FROM shown;
SELECT outcome, attempt FROM bsession_audit WHERE session_id = 'slow-1' ORDER BY id;
DELETE FROM bsession_tracked;

-- A claim that was never recorded was an attempt, which is noted
SET ROLE regress_bs_app;
SELECT FROM bsession_track('fine', 'lost-1', timestamptz '2000-01-01');
RESET ROLE;
UPDATE bsession_tracked SET state = 'ending', attempts = 2, claimed_by = 4711, next_attempt_at = now();
SELECT session_id, outcome FROM bsession_end_expired();
SELECT id, state, n, claimed_by FROM shown;
SELECT reason, outcome, http_status, attempt, elapsed IS NULL AS not_measured, error, actor
FROM bsession_audit WHERE session_id = 'lost-1' ORDER BY id;
DELETE FROM bsession_tracked;

-- A sweep that is rolled back leaves the rows due, and its attempts to the
-- server's log, where there is no worker to save them
SET ROLE regress_bs_app;
SELECT FROM bsession_track('fine', 'rolled-back-1', timestamptz '2000-01-01');
BEGIN;
SELECT session_id, outcome FROM bsession_end_expired();
SELECT id, state FROM shown;
ROLLBACK;
SELECT id, state, n, next FROM shown;
SELECT count(*) FROM bsession_audit WHERE session_id = 'rolled-back-1';
BEGIN;
SAVEPOINT s;
SELECT session_id, outcome FROM bsession_end_expired();
ROLLBACK TO s;
SELECT session_id, outcome FROM bsession_end_expired();
COMMIT;
SELECT id, state, n FROM shown;
DELETE FROM bsession_tracked;
-- Only a part of the result is asked for: all is done all the same
SELECT FROM bsession_track('fine', 'part-1', timestamptz '2000-01-01');
SELECT FROM bsession_track('fine', 'part-2', timestamptz '2000-01-01');
SELECT outcome FROM bsession_end_expired() LIMIT 1;
SELECT id, state FROM shown;
SELECT count(*) FROM bsession_audit WHERE session_id LIKE 'part%';
DELETE FROM bsession_tracked;
-- Within a function, with a search_path of its own
RESET ROLE;
CREATE FUNCTION sweep() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$SELECT session_id FROM public.bsession_end_expired(10)$$;
SET ROLE regress_bs_app;
SELECT FROM bsession_track('fine', 'definer-1', timestamptz '2000-01-01');
SET ROLE regress_bs_other;
SELECT sweep();
RESET ROLE;
SELECT id, state FROM shown;

-- Fails: sessions that are another database's
DELETE FROM bsession_tracked;
SELECT FROM bsession_track('fine', 'home-1', timestamptz '2000-01-01');
UPDATE bsession_home SET database = 1;
SELECT * FROM bsession_end_expired();
\echo :SQLSTATE
SELECT bsession_adopt();
SELECT session_id, outcome FROM bsession_end_expired();

SET client_min_messages = warning;
DROP FUNCTION sweep();
DROP PROCEDURE sweep_as(int);
DROP EXTENSION browser_session CASCADE;
DROP ROLE regress_bs_group, regress_bs_app, regress_bs_other, regress_bs_sweeper;
