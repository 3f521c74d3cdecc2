--
-- bsession_end_many(): concurrently, in the ids' order, and composable
--
CREATE EXTENSION browser_session;
SELECT current_setting('test.sim') AS sim \gset
\set base :sim '/with:delay=20/stagehand'
CREATE SERVER stagehand FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base');
CREATE USER MAPPING FOR PUBLIC SERVER stagehand OPTIONS (api_key 'sim-key');

-- No ids, no rows
SELECT * FROM bsession_end_many('stagehand', '{}');

-- Rows in the order of the ids
SELECT count(*), bool_and(session_id = 'many-' || n) AS in_order,
	bool_and(outcome = 'ended') AS all_ended
FROM bsession_end_many('stagehand', (
	SELECT array_agg('many-' || n) FROM generate_series(1, 300) AS n))
	WITH ORDINALITY AS r(provider, session_id, outcome, done, provider_status,
		http_status, attempts, elapsed, ended_at, error, response, n);

-- The same id twice has two rows
SELECT session_id, done FROM bsession_end_many('stagehand', '{twice,twice}');

-- Used in SQL like any set
CREATE TABLE jobs (id int PRIMARY KEY, session text);
INSERT INTO jobs VALUES (1, 'job-1'), (2, 'unknown-2'), (3, 'job-3');
SELECT jobs.id, outcome FROM jobs, LATERAL bsession_end('stagehand', session)
ORDER BY jobs.id;
WITH ended AS MATERIALIZED (
	SELECT * FROM bsession_end_many('stagehand',
		(SELECT array_agg(session ORDER BY id) FROM jobs))
)
SELECT session_id, outcome FROM ended;
-- In the list of results, too
SELECT (r).session_id, (r).outcome
FROM (SELECT bsession_end_many('stagehand', '{list-1,list-2}') AS r OFFSET 0) s;
-- In PL/pgSQL, where a row can be kept in a variable
DO $$
DECLARE
	r bsession_result;
BEGIN
	r := bsession_end('stagehand', 'plpgsql-1');
	RAISE NOTICE 'session % is %', r.session_id, r.outcome;
END
$$;
-- As the role that owns a function, when that function says so
CREATE ROLE regress_bs_caller;
CREATE FUNCTION end_for_all(id text) RETURNS text LANGUAGE sql SECURITY DEFINER
	SET search_path = public, pg_temp
	AS $$SELECT outcome FROM bsession_end('stagehand', id)$$;
SET ROLE regress_bs_caller;
SELECT end_for_all('definer-1');
RESET ROLE;
-- Inside a savepoint that is rolled back, and after it
BEGIN;
SELECT outcome FROM bsession_end('stagehand', 'savepoint-1');
SAVEPOINT s;
SELECT outcome FROM bsession_end('nowhere', 'savepoint-2');
ROLLBACK TO s;
SELECT outcome FROM bsession_end('stagehand', 'savepoint-3');
COMMIT;

SET client_min_messages = warning;
DROP FUNCTION end_for_all(text);
DROP TABLE jobs;
DROP EXTENSION browser_session CASCADE;
DROP ROLE regress_bs_caller;
