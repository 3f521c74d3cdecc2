--
-- Plain SQL on bsession_tracked by an application's role: what the functions
-- fill in, plan and refuse, INSERT, UPDATE, DELETE and COPY do as well
--
CREATE EXTENSION browser_session;
SELECT current_setting('test.sim') AS sim \gset
\set base :sim '/stagehand'
CREATE SERVER stagehand FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base');
CREATE USER MAPPING FOR PUBLIC SERVER stagehand OPTIONS (api_key 'sim-key');
CREATE SERVER anchor FOREIGN DATA WRAPPER browser_session;
CREATE SERVER forbidden FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'anchor');
CREATE USER MAPPING FOR PUBLIC SERVER forbidden OPTIONS (api_key 'k');
\set base :sim '/browserless'
CREATE SERVER browserless FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base');
CREATE USER MAPPING FOR PUBLIC SERVER browserless OPTIONS (api_key 'sim-key');
CREATE ROLE regress_bs_app;
GRANT USAGE ON FOREIGN SERVER stagehand, anchor, browserless TO regress_bs_app;

-- What there is of a session, but for what is the same in all of them
CREATE VIEW shown AS
SELECT session_id AS id, state, reason, expires_at,
	next_attempt_at IS NOT DISTINCT FROM expires_at AS at_expiry, metadata
FROM bsession_tracked ORDER BY provider, session_id;
GRANT SELECT ON shown TO PUBLIC;

SET ROLE regress_bs_app;

-- INSERT fills in the rest
INSERT INTO bsession_tracked (provider, session_id, expires_at, metadata)
VALUES ('stagehand', 'insert-1', '2100-01-01 00:00-08', '{"job": 1}')
RETURNING state, next_attempt_at, attempts, outcome, last_error, tracked_by,
	tracked_at = now() AS now, ended_at, metadata, reason, claimed_by;
INSERT INTO bsession_tracked (provider, session_id) VALUES ('stagehand', 'insert-2'), ('stagehand', 'insert-3');
INSERT INTO bsession_tracked (provider, session_id, expires_at)
SELECT 'stagehand', 'select-' || n, timestamptz '2100-01-01 00:00-08' + n * interval '1 day'
FROM generate_series(1, 3) AS n;
SELECT * FROM shown;
-- A stop URL is stored as the id in it
\set stop :sim '/browserless/session/stop-1?token=secret'
INSERT INTO bsession_tracked (provider, session_id) VALUES ('browserless', :'stop') RETURNING session_id;
INSERT INTO bsession_tracked (provider, session_id, expires_at) VALUES ('browserless', :'stop', '2100-01-01 00:00-08')
ON CONFLICT (provider, session_id) DO UPDATE SET expires_at = excluded.expires_at
RETURNING session_id, next_attempt_at;
SELECT count(*) FROM bsession_tracked AS t WHERE t::text LIKE '%secret%';

-- Fails: as with bsession_track()
INSERT INTO bsession_tracked (provider, session_id) VALUES ('nowhere', 'x');
\echo :SQLSTATE
INSERT INTO bsession_tracked (provider, session_id) VALUES ('forbidden', 'x');
\echo :SQLSTATE
INSERT INTO bsession_tracked (provider, session_id) VALUES ('anchor', 'x');
\echo :SQLSTATE
INSERT INTO bsession_tracked (provider, session_id) VALUES ('stagehand', 'all');
\echo :SQLSTATE
INSERT INTO bsession_tracked (provider, session_id) VALUES ('stagehand', '../x');
INSERT INTO bsession_tracked (provider, session_id) VALUES ('browserless', 'https://evil.example/session/x?token=secret');
\echo :SQLSTATE
-- Fails: NULL
\set VERBOSITY sqlstate
INSERT INTO bsession_tracked (provider, session_id) VALUES (NULL, 'x');
INSERT INTO bsession_tracked (provider, session_id) VALUES ('stagehand', NULL);
INSERT INTO bsession_tracked (provider, session_id, metadata) VALUES ('stagehand', 'x', NULL);
-- Fails: metadata that is no object
INSERT INTO bsession_tracked (provider, session_id, metadata) VALUES ('stagehand', 'x', '[]');
INSERT INTO bsession_tracked (provider, session_id, metadata) VALUES ('stagehand', 'x', 'null');
UPDATE bsession_tracked SET metadata = '1' WHERE session_id = 'insert-1';
-- Fails: there is one
INSERT INTO bsession_tracked (provider, session_id) VALUES ('stagehand', 'insert-1');
\set VERBOSITY default
-- One that cannot be used keeps the others of its statement out
SELECT count(*) FROM bsession_tracked \gset before_
INSERT INTO bsession_tracked (provider, session_id) VALUES ('stagehand', 'fine'), ('stagehand', 'all');
SELECT count(*) - :before_count AS added FROM bsession_tracked;

-- Fails: columns that are the extension's own
INSERT INTO bsession_tracked (provider, session_id, tracked_by) VALUES ('stagehand', 'x', 'postgres');
\echo :SQLSTATE
\set VERBOSITY sqlstate
INSERT INTO bsession_tracked (provider, session_id, state) VALUES ('stagehand', 'x', 'ended');
INSERT INTO bsession_tracked (provider, session_id, next_attempt_at) VALUES ('stagehand', 'x', now());
INSERT INTO bsession_tracked (provider, session_id, attempts) VALUES ('stagehand', 'x', 1);
INSERT INTO bsession_tracked (provider, session_id, tracked_at) VALUES ('stagehand', 'x', now());
INSERT INTO bsession_tracked (provider, session_id, reason) VALUES ('stagehand', 'x', 'call');
INSERT INTO bsession_tracked (provider, session_id, claimed_by) VALUES ('stagehand', 'x', 1);
INSERT INTO bsession_tracked VALUES ('stagehand', 'x', 'active');
UPDATE bsession_tracked SET provider = 'browserless';
UPDATE bsession_tracked SET session_id = 'x';
UPDATE bsession_tracked SET state = 'active';
UPDATE bsession_tracked SET next_attempt_at = now();
UPDATE bsession_tracked SET attempts = 0;
UPDATE bsession_tracked SET outcome = 'ended';
UPDATE bsession_tracked SET last_error = 'x';
UPDATE bsession_tracked SET tracked_by = 'postgres';
UPDATE bsession_tracked SET tracked_at = now();
UPDATE bsession_tracked SET ended_at = now();
UPDATE bsession_tracked SET reason = 'call';
UPDATE bsession_tracked SET claimed_by = 1;
TRUNCATE bsession_tracked;
ALTER TABLE bsession_tracked DISABLE TRIGGER bsession_check_tracked;
CREATE TRIGGER mine BEFORE INSERT ON bsession_tracked FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT nextval('bsession_audit_id_seq');
UPDATE bsession_home SET database = 1;
\set VERBOSITY default

-- UPDATE: the end follows the expiry
UPDATE bsession_tracked SET expires_at = '2101-01-01 00:00-08' WHERE session_id = 'insert-1';
UPDATE bsession_tracked SET expires_at = NULL WHERE session_id = 'select-1';
UPDATE bsession_tracked SET expires_at = '2000-01-01 00:00-08', metadata = metadata || '{"late": true}'
WHERE session_id = 'insert-2' RETURNING state, next_attempt_at;
UPDATE bsession_tracked SET metadata = '{"only": "metadata"}' WHERE session_id = 'select-2';
SELECT * FROM shown WHERE id IN ('insert-1', 'insert-2', 'select-1', 'select-2');
-- … also without the right to use the server any more
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER stagehand FROM regress_bs_app;
SET ROLE regress_bs_app;
UPDATE bsession_tracked SET expires_at = '2102-01-01 00:00-08' WHERE session_id = 'insert-1'
RETURNING expires_at, next_attempt_at;
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER stagehand TO regress_bs_app;
-- … but one that is being ended, is over or given up only takes it down
UPDATE bsession_tracked SET state = 'ending', next_attempt_at = '2030-01-01 00:00-08', attempts = 2
WHERE session_id = 'insert-2';
UPDATE bsession_tracked SET state = 'ended', next_attempt_at = NULL, ended_at = now() WHERE session_id = 'select-1';
UPDATE bsession_tracked SET state = 'failed', next_attempt_at = NULL WHERE session_id = 'select-2';
SET ROLE regress_bs_app;
WITH changed AS (
	UPDATE bsession_tracked SET expires_at = '2103-01-01 00:00-08'
	WHERE session_id IN ('insert-2', 'select-1', 'select-2') RETURNING *
)
SELECT session_id, state, attempts, expires_at, next_attempt_at FROM changed ORDER BY 1;

-- INSERT … ON CONFLICT: as INSERT, or as UPDATE
INSERT INTO bsession_tracked (provider, session_id, expires_at)
VALUES ('stagehand', 'upsert-1', '2100-01-01 00:00-08')
ON CONFLICT (provider, session_id) DO UPDATE SET expires_at = excluded.expires_at
RETURNING expires_at, next_attempt_at;
INSERT INTO bsession_tracked AS t (provider, session_id, expires_at, metadata)
VALUES ('stagehand', 'upsert-1', '2101-01-01 00:00-08', '{"n": 2}')
ON CONFLICT (provider, session_id) DO UPDATE SET expires_at = excluded.expires_at, metadata = t.metadata || excluded.metadata
RETURNING expires_at, next_attempt_at, metadata;
INSERT INTO bsession_tracked (provider, session_id, expires_at)
VALUES ('stagehand', 'upsert-1', NULL), ('stagehand', 'upsert-2', '2100-01-01 00:00-08')
ON CONFLICT DO NOTHING RETURNING session_id;
SELECT * FROM shown WHERE id LIKE 'upsert%';
-- Fails: even where nothing would be inserted
INSERT INTO bsession_tracked (provider, session_id) VALUES ('nowhere', 'upsert-1') ON CONFLICT DO NOTHING;

-- MERGE does the same
MERGE INTO bsession_tracked AS t
USING (VALUES ('upsert-1', timestamptz '2105-01-01 00:00-08'), ('merge-1', '2106-01-01 00:00-08')) AS s (id, at)
ON t.provider = 'stagehand' AND t.session_id = s.id
WHEN MATCHED THEN UPDATE SET expires_at = s.at
WHEN NOT MATCHED THEN INSERT (provider, session_id, expires_at) VALUES ('stagehand', s.id, s.at);
SELECT * FROM shown WHERE id IN ('upsert-1', 'merge-1');

-- DELETE forgets, whatever the state
WITH gone AS (DELETE FROM bsession_tracked WHERE session_id LIKE 'insert%' RETURNING *)
SELECT session_id, state FROM gone ORDER BY 1;
-- … and what was put in can be tracked and ended like any other
SELECT bsession_extend('stagehand', 'upsert-2', '1 hour'), bsession_expire('stagehand', 'merge-1');
DELETE FROM bsession_tracked;
SELECT count(*) FROM bsession_tracked;

-- In a transaction that has tracked it before; and prepared statements
BEGIN;
SELECT FROM bsession_track('stagehand', 'both-1', interval '1 hour');
UPDATE bsession_tracked SET expires_at = '2100-01-01 00:00-08' WHERE session_id = 'both-1';
SELECT * FROM shown;
COMMIT;
PREPARE put(text, timestamptz) AS
INSERT INTO bsession_tracked (provider, session_id, expires_at) VALUES ('stagehand', $1, $2);
EXECUTE put('prepared-1', '2100-01-01 00:00-08');
EXECUTE put('prepared-2', NULL);
-- Fails
EXECUTE put('all', NULL);
DEALLOCATE put;
SELECT * FROM shown;
DELETE FROM bsession_tracked;

-- A read-only transaction
BEGIN READ ONLY;
INSERT INTO bsession_tracked (provider, session_id) VALUES ('stagehand', 'x');
ROLLBACK;

-- COPY out shows a role its own
INSERT INTO bsession_tracked (provider, session_id, expires_at) VALUES ('stagehand', 'copy-1', '2100-01-01 00:00-08');
COPY bsession_tracked (provider, session_id, expires_at, metadata) TO stdout;
-- Fails: PostgreSQL has no COPY FROM where row security applies, and here the
-- library is not preloaded
RESET ROLE;
GRANT pg_read_server_files TO regress_bs_app;
SET ROLE regress_bs_app;
COPY bsession_tracked (provider, session_id, expires_at, metadata) FROM '/dev/null';
\echo :SQLSTATE
-- … so it copies into the view, which is checked in the same way
COPY bsession_copy (provider, session_id, expires_at) FROM stdin;
stagehand	copy-2	2100-01-01 00:00-08
stagehand	copy-3	\N
\.
COPY bsession_copy FROM stdin;
stagehand	copy-8	2100-01-01 00:00-08	{"n": 8}
\.
SELECT * FROM shown;
-- Fails: as INSERT does
COPY bsession_copy (provider, session_id) FROM stdin;
forbidden	copy-9
\.
COPY bsession_copy (provider, session_id) FROM stdin;
stagehand	copy/9
\.
COPY bsession_copy (provider, session_id, metadata) FROM stdin;
stagehand	copy-9	\N
\.
\set VERBOSITY sqlstate
COPY bsession_copy (provider, session_id) FROM stdin;
stagehand	copy-2
\.
COPY bsession_copy (provider, session_id, metadata) FROM stdin;
stagehand	copy-9	[]
\.
\set VERBOSITY default
COPY bsession_copy (provider, session_id) FROM stdin WHERE session_id <> 'copy-11';
stagehand	copy-10
stagehand	copy-11
\.
-- It shows nothing
SELECT * FROM bsession_copy;
-- Fails: and it is for nothing else
UPDATE bsession_copy SET expires_at = NULL;
RESET ROLE;
-- A role that row security does not apply to can COPY in, and is checked
CREATE ROLE regress_bs_loader BYPASSRLS;
GRANT USAGE ON FOREIGN SERVER stagehand, anchor TO regress_bs_loader;
SET ROLE regress_bs_loader;
COPY bsession_tracked (provider, session_id, expires_at, metadata) FROM stdin;
stagehand	copy-4	2100-01-01 00:00-08	{"n": 4}
stagehand	copy-5	\N	{}
\.
SELECT session_id, tracked_by, state, next_attempt_at, metadata FROM bsession_tracked
WHERE tracked_by = CURRENT_USER ORDER BY 1;
-- Fails: as INSERT does
COPY bsession_tracked (provider, session_id) FROM stdin;
forbidden	copy-6
\.
COPY bsession_tracked (provider, session_id) FROM stdin;
stagehand	copy-6
anchor	copy-7
\.
COPY bsession_tracked (provider, session_id) FROM stdin;
stagehand	copy/6
\.
\set VERBOSITY sqlstate
COPY bsession_tracked (provider, session_id, metadata) FROM stdin;
stagehand	copy-6	[]
\.
\set VERBOSITY default
RESET ROLE;
GRANT pg_read_server_files TO regress_bs_loader;
SET ROLE regress_bs_loader;
COPY bsession_tracked (provider, session_id, tracked_by) FROM '/dev/null';
\echo :SQLSTATE
RESET ROLE;
SELECT session_id FROM bsession_tracked ORDER BY 1;
DELETE FROM bsession_tracked;

-- What a dump brings back is taken as it stands, whatever there is yet of
-- servers, roles and rights
COPY bsession_tracked FROM stdin;
nowhere	dump-1	active	2100-01-01 00:00-08	2099-01-01 00:00-08	0	\N	\N	regress_bs_gone	2026-01-01 00:00-08	\N	{}	expiry	\N
forbidden	dump-2	ending	2026-01-02 00:00-08	2099-01-01 00:00-08	3	unavailable	provider answered 503	regress_bs_app	2026-01-01 00:00-08	\N	{"a": 1}	commit	4711
stagehand	dump-3	ended	2026-01-02 00:00-08	\N	1	ended	\N	regress_bs_app	2026-01-01 00:00-08	2026-01-03 00:00-08	{}	expiry	\N
stagehand	dump-4	failed	2026-01-02 00:00-08	\N	20	denied	provider answered 401	regress_bs_app	2026-01-01 00:00-08	\N	{}	expiry	\N
\.
INSERT INTO bsession_tracked (provider, session_id, tracked_by, tracked_at, next_attempt_at)
VALUES ('stagehand', 'dump/5', 'regress_bs_app', '2026-01-01 00:00-08', '2099-01-01 00:00-08');
SELECT session_id, state, next_attempt_at, attempts, tracked_by, tracked_at, ended_at, reason, claimed_by
FROM bsession_tracked ORDER BY session_id;
-- … and the owner may still move one's expiry
UPDATE bsession_tracked SET expires_at = '2105-01-01 00:00-08' WHERE session_id = 'dump-1'
RETURNING next_attempt_at;
-- Fails: another id or server, though, is checked
UPDATE bsession_tracked SET session_id = 'a/b' WHERE session_id = 'dump-3';
UPDATE bsession_tracked SET provider = 'nowhere' WHERE session_id = 'dump-3';
-- Fails: a state, a reason, metadata that there cannot be
\set VERBOSITY sqlstate
UPDATE bsession_tracked SET state = 'lost';
UPDATE bsession_tracked SET reason = 'sweep';
UPDATE bsession_tracked SET metadata = '[]';
\set VERBOSITY default
DELETE FROM bsession_tracked;
-- In the name of another role: what that role could do
INSERT INTO bsession_tracked (provider, session_id, tracked_by) VALUES ('stagehand', 'for-1', 'regress_bs_app')
RETURNING tracked_by;
INSERT INTO bsession_tracked (provider, session_id, tracked_by) VALUES ('forbidden', 'for-2', 'regress_bs_app');
INSERT INTO bsession_tracked (provider, session_id, tracked_by) VALUES ('stagehand', 'for-3', 'regress_bs_gone');

SET client_min_messages = warning;
DROP EXTENSION browser_session CASCADE;
DROP ROLE regress_bs_app, regress_bs_loader;
