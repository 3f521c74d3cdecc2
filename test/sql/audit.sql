--
-- The audit: a row for each attempt of a direct call, what it says, and what
-- the call makes of the session's tracked row
--
CREATE EXTENSION browser_session;
SELECT current_setting('test.sim') AS sim \gset
\set base :sim '/stagehand'
CREATE SERVER fine FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'stagehand', base_url :'base');
\set base :sim '/with:status=503,times=2,retry_after_ms=20/stagehand'
CREATE SERVER flaky FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'stagehand', base_url :'base');
\set base :sim '/with:status=503,retry_after_ms=20/stagehand'
CREATE SERVER down FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'stagehand', base_url :'base');
\set base :sim '/with:status=429,retry_after=3600/stagehand'
CREATE SERVER busy FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'stagehand', base_url :'base');
\set base :sim '/with:release=-1/browserbase'
CREATE SERVER slow FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'browserbase', base_url :'base', confirm_timeout '50');
\set base :sim '/with:status=401,echo=1/stagehand'
CREATE SERVER echo FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'stagehand', base_url :'base');
\set base :sim '/with:status=400,echo=1,body=text/stagehand'
CREATE SERVER talk FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'stagehand', base_url :'base');
\set base :sim '/with:status=400,echo=1/browserless'
CREATE SERVER browserless FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base');
CREATE SERVER closed FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'stagehand', base_url 'http://127.0.0.1:1', retries '0');
DO $$
DECLARE
	s name;
BEGIN
	FOR s IN SELECT srvname FROM pg_foreign_server LOOP
		EXECUTE format('CREATE USER MAPPING FOR PUBLIC SERVER %I OPTIONS (api_key %L)', s, 'sim-key');
	END LOOP;
END
$$;
CREATE ROLE regress_bs_app;
GRANT USAGE ON FOREIGN SERVER fine, flaky, down, busy, slow, echo, talk, browserless, closed TO regress_bs_app;
CREATE VIEW shown AS
SELECT session_id AS id, reason, outcome, provider_status AS word, http_status AS http, attempt,
	regexp_replace(error, '^(no connection: ).*', '\1...') AS error
FROM bsession_audit ORDER BY bsession_audit.id;
CREATE VIEW tracked AS
SELECT session_id AS id, state, reason, outcome, attempts AS n,
	regexp_replace(last_error, '^(no connection: ).*', '\1...') AS last_error,
	CASE WHEN next_attempt_at <= clock_timestamp() + interval '1 s' THEN 'now' WHEN next_attempt_at = expires_at THEN 'at expiry'
		WHEN next_attempt_at IS NOT NULL THEN 'later' END AS next,
	ended_at <= clock_timestamp() AS over, claimed_by
FROM bsession_tracked ORDER BY session_id;
GRANT SELECT ON shown, tracked TO PUBLIC;
SET ROLE regress_bs_app;
SET application_name = 'audit test';

-- One attempt, one row
SELECT outcome, attempts FROM bsession_end('fine', 'one-1');
SELECT * FROM shown;
SELECT provider, at <= clock_timestamp() AND at >= statement_timestamp() - interval '1 min' AS now,
	elapsed > '0' AND elapsed < '10 s' AS measured, response, actor, application_name, client_addr, rolled_back
FROM bsession_audit;
-- … which the result agrees with
CREATE TEMP TABLE result AS SELECT * FROM bsession_end('fine', 'unknown-one');
SELECT (r.provider, r.outcome, r.http_status, r.attempts, r.response, r.elapsed) = (a.provider, a.outcome, a.http_status, a.attempt, a.response, a.elapsed)
	AND r.provider_status IS NOT DISTINCT FROM a.provider_status AND r.ended_at >= a.at AS agrees
FROM result AS r JOIN bsession_audit AS a USING (session_id);
DROP TABLE result;
SELECT outcome, attempt, error FROM shown WHERE id = 'unknown-one';
-- Three attempts, three rows, one after the other
SELECT outcome, attempts FROM bsession_end('flaky', 'three-1');
SELECT * FROM shown WHERE id = 'three-1';
SELECT count(*), bool_and(next IS NULL OR next >= at + elapsed) AS in_order
FROM (SELECT at, elapsed, lead(at) OVER (ORDER BY id) AS next FROM bsession_audit WHERE session_id = 'three-1') AS a;
-- The last one's row, if none succeeded
SELECT outcome, attempts, error FROM bsession_end('down', 'none-1');
SELECT * FROM shown WHERE id = 'none-1';
-- Many: each attempt of each
SELECT session_id, outcome, attempts FROM bsession_end_many('flaky', '{many-1,all,many-2,NULL}');
SELECT id, count(*), count(*) FILTER (WHERE outcome = 'unavailable') AS unavailable, min(attempt), max(attempt)
FROM shown WHERE id LIKE 'many%' OR id = 'all' GROUP BY id ORDER BY id;
-- More than are written with one statement
SELECT count(*) FROM bsession_end_many('fine', ARRAY(SELECT 'batch-' || n FROM generate_series(1, 600) AS n))
WHERE outcome = 'ended';
SELECT count(*), count(DISTINCT id), min(attempt), max(attempt) FROM shown WHERE id LIKE 'batch%';
-- No answer at all
SELECT outcome FROM bsession_end('closed', 'closed-1');
SELECT * FROM shown WHERE id = 'closed-1';
SELECT http_status, response FROM bsession_audit WHERE session_id = 'closed-1';
-- Accepted, and alive still: the look at it is part of the attempt
SELECT outcome FROM bsession_end('slow', 'slow-1');
SELECT * FROM shown WHERE id = 'slow-1';
-- What is an error has no row: nothing was sent
SELECT count(*) FROM bsession_audit \gset before_
SELECT bsession_end('fine', 'all');
SELECT bsession_end('nowhere', 'x');
SELECT count(*) - :before_count AS more FROM bsession_audit;
-- The actor is in whose name it was done; there is no other way to set it
RESET ROLE;
CREATE FUNCTION end_for_all(id text) RETURNS text LANGUAGE sql SECURITY DEFINER
	SET search_path = public, pg_temp
	AS $$SELECT outcome FROM bsession_end('fine', id)$$;
SET ROLE regress_bs_app;
SELECT end_for_all('definer-1');
SELECT count(*) FROM shown WHERE id = 'definer-1';
RESET ROLE;
SELECT actor = CURRENT_USER AS owner FROM bsession_audit WHERE session_id = 'definer-1';
SET ROLE regress_bs_app;

-- Secrets in answers, and in stop URLs, are kept out
SELECT outcome, response FROM bsession_end('echo', 'secret-1');
SELECT outcome FROM bsession_end('talk', 'secret-2');
\set stop :sim '/with:status=400,echo=1/browserless/session/secret-3?token=another-secret'
SELECT session_id, outcome FROM bsession_end('browserless', :'stop');
SELECT id, outcome, error FROM shown WHERE id LIKE 'secret%';
SELECT session_id, response FROM bsession_audit WHERE session_id LIKE 'secret%' ORDER BY id;
SELECT count(*) FROM bsession_audit AS a WHERE a::text LIKE '%sim-key%' OR a::text LIKE '%another-secret%';

-- In a transaction it is there at once, and stays with a savepoint's work
BEGIN;
SELECT outcome FROM bsession_end('fine', 'transaction-1');
SELECT id, outcome FROM shown WHERE id LIKE 'transaction%';
SAVEPOINT s;
SELECT outcome FROM bsession_end('fine', 'transaction-2');
RELEASE s;
COMMIT;
SELECT id, outcome FROM shown WHERE id LIKE 'transaction%';

-- Tracked sessions that are over
SELECT FROM bsession_track('fine', 'over-1', interval '1 hour', '{"kept": 1}');
SELECT FROM bsession_track('fine', 'unknown-over', expires_at => NULL);
SELECT FROM bsession_track('flaky', 'over-2', interval '1 hour');
SELECT outcome FROM bsession_end('fine', 'over-1');
SELECT session_id, outcome FROM bsession_end_many('fine', '{unknown-over,over-none}');
SELECT outcome FROM bsession_end('flaky', 'over-2');
SELECT * FROM tracked;
SELECT expires_at > now() AS as_it_was, metadata, ended_at >= tracked_at AS over FROM bsession_tracked WHERE session_id = 'over-1';
-- … are not ended once more, and stay over whatever a further call says
SELECT FROM bsession_track('down', 'over-3', interval '1 hour');
RESET ROLE;
UPDATE bsession_tracked SET state = 'ended', outcome = 'ended', ended_at = '2026-01-01 00:00-08', next_attempt_at = NULL
WHERE session_id = 'over-3';
SET ROLE regress_bs_app;
SELECT outcome FROM bsession_end('down', 'over-3');
SELECT state, outcome, ended_at FROM bsession_tracked WHERE session_id = 'over-3';

-- Those that are not are due, as from the beginning
DELETE FROM bsession_tracked;
SELECT FROM bsession_track('down', 'down-1', interval '1 hour');
SELECT FROM bsession_track('down', 'down-2', expires_at => NULL);
SELECT FROM bsession_track('closed', 'closed-2', interval '1 hour');
SELECT FROM bsession_track('slow', 'slow-2', interval '1 hour');
SELECT FROM bsession_track('echo', 'secret-4', interval '1 hour');
SELECT outcome FROM bsession_end('down', 'down-1');
SELECT session_id, outcome FROM bsession_end_many('down', '{down-2,down-2,down-none}');
SELECT outcome FROM bsession_end('closed', 'closed-2');
SELECT outcome FROM bsession_end('slow', 'slow-2');
SELECT outcome FROM bsession_end('echo', 'secret-4');
SELECT * FROM tracked;
-- … but not before the provider wants to be asked again
SELECT FROM bsession_track('busy', 'busy-1', interval '1 min');
SELECT outcome, attempts FROM bsession_end('busy', 'busy-1');
SELECT state, next_attempt_at > now() + interval '59 min' AS in_an_hour, next_attempt_at < now() + interval '61 min' AS not_later
FROM bsession_tracked WHERE session_id = 'busy-1';
-- … and are so no more if the transaction is rolled back
SELECT FROM bsession_track('down', 'down-3', interval '1 hour');
BEGIN;
SELECT outcome FROM bsession_end('down', 'down-3');
SELECT state FROM bsession_tracked WHERE session_id = 'down-3';
ROLLBACK;
SELECT state FROM bsession_tracked WHERE session_id = 'down-3';

-- A session that had failed, or whose end is under way elsewhere
DELETE FROM bsession_tracked;
SELECT FROM bsession_track('fine', 'failed-1', interval '1 hour');
SELECT FROM bsession_track('down', 'failed-2', interval '1 hour');
SELECT FROM bsession_track('fine', 'claimed-1', interval '1 hour');
SELECT FROM bsession_track('down', 'claimed-2', interval '1 hour');
SELECT FROM bsession_track('down', 'ending-1', interval '1 hour');
RESET ROLE;
UPDATE bsession_tracked SET state = 'failed', attempts = 20, next_attempt_at = NULL, outcome = 'denied', last_error = 'x'
WHERE session_id LIKE 'failed%';
UPDATE bsession_tracked SET state = 'ending', attempts = 3, claimed_by = 4711, outcome = 'denied', last_error = 'x'
WHERE session_id LIKE 'claimed%';
UPDATE bsession_tracked SET state = 'ending', attempts = 3, reason = 'delete', next_attempt_at = '2100-01-01'
WHERE session_id = 'ending-1';
SET ROLE regress_bs_app;
SELECT outcome FROM bsession_end('fine', 'failed-1');
SELECT outcome FROM bsession_end('down', 'failed-2');
SELECT outcome FROM bsession_end('fine', 'claimed-1');
SELECT outcome FROM bsession_end('down', 'claimed-2');
SELECT outcome FROM bsession_end('down', 'ending-1');
SELECT * FROM tracked;
-- The same id at another server is not meant
DELETE FROM bsession_tracked;
SELECT FROM bsession_track('fine', 'twice-1', interval '1 hour');
SELECT FROM bsession_track('flaky', 'twice-1', interval '1 hour');
SELECT outcome FROM bsession_end('fine', 'twice-1');
SELECT provider, state FROM bsession_tracked ORDER BY 1;
-- Tracked under the id of a stop URL, ended by it
DELETE FROM bsession_tracked;
RESET ROLE;
\set base :sim '/browserless'
ALTER SERVER browserless OPTIONS (SET base_url :'base');
SET ROLE regress_bs_app;
\set stop :sim '/browserless/session/stop-1?token=sim-key'
SELECT session_id FROM bsession_track('browserless', :'stop', interval '1 hour');
SELECT outcome FROM bsession_end('browserless', :'stop');
SELECT id, state, outcome FROM tracked;

-- Forgotten with the extension: an attempt in the same transaction is no
-- hindrance
RESET ROLE;
BEGIN;
SELECT outcome FROM bsession_end('fine', 'dropped-1');
SET LOCAL client_min_messages = warning;
DROP EXTENSION browser_session CASCADE;
COMMIT;

SET client_min_messages = warning;
DROP FUNCTION IF EXISTS end_for_all(text);
DROP ROLE regress_bs_app;
