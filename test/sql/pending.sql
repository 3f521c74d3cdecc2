--
-- Attempts are written to the audit many at a time, and late: nobody in the
-- transaction is to notice
--
CREATE EXTENSION browser_session;
SELECT current_setting('test.sim') AS sim \gset
\set base :sim '/stagehand'
CREATE SERVER fine FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'stagehand', base_url :'base');
CREATE USER MAPPING FOR PUBLIC SERVER fine OPTIONS (api_key 'sim-key');
CREATE VIEW outcomes AS SELECT session_id, outcome FROM bsession_audit ORDER BY id;
CREATE FUNCTION attempts_now() RETURNS bigint LANGUAGE plpgsql VOLATILE
AS 'BEGIN RETURN (SELECT count(*) FROM bsession_audit); END';
CREATE FUNCTION attempts_before() RETURNS bigint LANGUAGE plpgsql STABLE
AS 'BEGIN RETURN (SELECT count(*) FROM bsession_audit); END';
CREATE FUNCTION attempts_inlined() RETURNS bigint LANGUAGE sql STABLE
AS 'SELECT count(*) FROM bsession_audit';
PREPARE attempts AS SELECT count(*) FROM bsession_audit;
EXECUTE attempts;

-- In the transaction, by whatever way one looks
BEGIN;
SELECT outcome FROM bsession_end('fine', 'a');
SELECT count(*) FROM bsession_audit;
SELECT outcome FROM bsession_end('fine', 'b');
SELECT * FROM outcomes;
SELECT outcome FROM bsession_end('fine', 'c');
EXECUTE attempts;
SELECT outcome FROM bsession_end('fine', 'd');
SELECT attempts_now();
SELECT outcome FROM bsession_end('fine', 'e');
SELECT attempts_before();
SELECT outcome FROM bsession_end('fine', 'f');
SELECT attempts_inlined();
SELECT outcome FROM bsession_end('fine', 'g');
COPY (SELECT session_id, outcome FROM bsession_audit ORDER BY id) TO STDOUT;
SELECT outcome FROM bsession_end('fine', 'h');
COPY bsession_audit (session_id) TO STDOUT;
SELECT outcome FROM bsession_end('fine', 'i');
DECLARE c CURSOR FOR SELECT session_id FROM bsession_audit ORDER BY id DESC;
FETCH 1 FROM c;
SELECT outcome FROM bsession_end('fine', 'j');
UPDATE bsession_audit SET application_name = 'seen' WHERE session_id = 'j';
SELECT outcome FROM bsession_end('fine', 'k');
DELETE FROM bsession_audit WHERE session_id = 'k';
CREATE TABLE seen AS SELECT session_id FROM bsession_audit;
ROLLBACK;
SELECT count(*) FROM bsession_audit;

-- A statement does not see what it does itself, and one that changes rows
-- does not come across its own
CREATE TABLE job (id text, n bigint);
INSERT INTO job VALUES ('one'), ('two');
BEGIN;
UPDATE job SET id = id || (bsession_end('fine', id)).outcome, n = attempts_before() RETURNING *;
UPDATE job SET n = attempts_now() RETURNING *;
ROLLBACK;

-- Savepoints: those around one that is rolled back are written once
BEGIN;
SELECT outcome FROM bsession_end('fine', 'outer');
SAVEPOINT s;
SELECT outcome FROM bsession_end('fine', 'inner');
SELECT * FROM outcomes;
ROLLBACK TO s;
SELECT * FROM outcomes;
SAVEPOINT s2;
SELECT outcome FROM bsession_end('fine', 'kept');
SELECT * FROM outcomes;
RELEASE s2;
SELECT * FROM outcomes;
COMMIT;
SELECT session_id, count(*) FROM bsession_audit GROUP BY 1 ORDER BY min(id);

-- More than are written at once, and the answer complete, long as it is
SELECT count(*) FILTER (WHERE done) FROM bsession_end_many('fine', ARRAY(SELECT 'pending-' || g FROM generate_series(1, 600) AS g));
SELECT count(*), count(DISTINCT session_id), count(response) FROM bsession_audit WHERE session_id LIKE 'pending-%';
\set base :sim '/with:status=400,pad=5000/stagehand'
CREATE SERVER wordy FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'stagehand', base_url :'base');
CREATE USER MAPPING FOR PUBLIC SERVER wordy OPTIONS (api_key 'sim-key');
BEGIN;
CREATE TEMP TABLE answer AS SELECT session_id, response FROM bsession_end('wordy', 'long');
SAVEPOINT s;
SELECT count(*) FROM bsession_audit JOIN answer USING (session_id, response);
ROLLBACK TO s;
COMMIT;
SELECT count(*) FROM bsession_audit JOIN answer USING (session_id, response);

-- A transaction that is made read-only after it has ended a session
BEGIN;
SELECT outcome FROM bsession_end('fine', 'before-read-only');
SELECT set_config('transaction_read_only', 'on', true);
COMMIT;
SELECT count(*) FROM bsession_audit WHERE session_id = 'before-read-only';

-- A constraint that is checked at the end of the transaction would be checked
-- with the rights of whoever ends it
ALTER TABLE bsession_audit ADD CONSTRAINT only_once UNIQUE (provider, session_id) DEFERRABLE INITIALLY DEFERRED;
-- Fails, before anything is sent
SELECT outcome FROM bsession_end('fine', 'before-read-only');
\echo :SQLSTATE
ALTER TABLE bsession_audit DROP CONSTRAINT only_once;

-- Nothing that is written is in the way of changing the tables
BEGIN;
SELECT outcome FROM bsession_end('fine', 'changed');
ALTER TABLE bsession_audit ADD COLUMN note text DEFAULT 'by default';
SELECT outcome FROM bsession_end('fine', 'changed-2');
TRUNCATE bsession_audit;
COMMIT;
SELECT count(*) FROM bsession_audit;

SET client_min_messages = warning;
DROP TABLE job, answer;
DROP VIEW outcomes;
DROP FUNCTION attempts_now, attempts_before, attempts_inlined;
DROP EXTENSION browser_session CASCADE;
