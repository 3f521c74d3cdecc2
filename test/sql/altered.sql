--
-- Tables to which their owner has added something: it is minded
--
CREATE EXTENSION browser_session;
SELECT current_setting('test.sim') AS sim \gset
\set base :sim '/stagehand'
CREATE SERVER fine FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'stagehand', base_url :'base');
CREATE USER MAPPING FOR PUBLIC SERVER fine OPTIONS (api_key 'sim-key');

-- Columns with a default and a generated one, a constraint, an index with an
-- expression
ALTER TABLE bsession_audit ADD COLUMN seen boolean NOT NULL DEFAULT false,
	ADD COLUMN day text GENERATED ALWAYS AS (provider || '!') STORED;
ALTER TABLE bsession_tracked ADD COLUMN tenant integer DEFAULT 7,
	ADD COLUMN loud text GENERATED ALWAYS AS (upper(state)) STORED,
	ADD CONSTRAINT no_secret_ids CHECK (session_id NOT LIKE 'secret%');
CREATE INDEX loud_ids ON bsession_tracked (upper(session_id));

SELECT outcome FROM bsession_end('fine', 'alt-called');
SELECT session_id, seen, day FROM bsession_audit;
SELECT session_id, (r).state FROM bsession_track('fine', 'alt-due', interval '1 hour') AS r;
-- Fails: the constraint
\set VERBOSITY terse
SELECT bsession_track('fine', 'secret-1', interval '1 hour');
\set VERBOSITY default
SELECT session_id, tenant, loud FROM bsession_tracked;
SELECT outcome FROM bsession_end('fine', 'alt-due');
SELECT session_id, state, tenant, loud FROM bsession_tracked;
INSERT INTO bsession_tracked (provider, session_id, expires_at, tenant) VALUES ('fine', 'alt-swept', now(), 8);
SELECT session_id, outcome FROM bsession_end_expired();
SELECT session_id, state, tenant, loud FROM bsession_tracked ORDER BY 1;
SELECT session_id, reason, seen, day FROM bsession_audit ORDER BY id;
-- The index has them all
SET enable_seqscan = off;
SELECT session_id, state FROM bsession_tracked WHERE upper(session_id) = 'ALT-SWEPT';
RESET enable_seqscan;

DROP EXTENSION browser_session CASCADE;
CREATE EXTENSION browser_session;
CREATE SERVER fine FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'stagehand', base_url :'base');
CREATE USER MAPPING FOR PUBLIC SERVER fine OPTIONS (api_key 'sim-key');

-- What is not null, and a constraint in the place of another
ALTER TABLE bsession_audit ALTER error SET NOT NULL;
ALTER TABLE bsession_tracked DROP CONSTRAINT bsession_tracked_metadata_check,
	ADD CONSTRAINT no_secret_ids CHECK (session_id NOT LIKE 'secret%');
\set VERBOSITY terse
-- Fails: there is no error
SELECT outcome FROM bsession_end('fine', 'alt-no-error');
-- Fails: the constraint
SELECT bsession_track('fine', 'secret-1', interval '1 hour');
\set VERBOSITY default
ALTER TABLE bsession_audit ALTER error DROP NOT NULL;
ALTER TABLE bsession_tracked DROP CONSTRAINT no_secret_ids;

-- As they were, but for an index: the same without statements
CREATE INDEX loud_ids ON bsession_tracked (upper(state)) WHERE session_id <> '';
CREATE INDEX ON bsession_tracked USING brin (tracked_at);
SELECT session_id, (r).state FROM bsession_track('fine', 'alt-due-2', interval '1 hour') AS r;
INSERT INTO bsession_tracked (provider, session_id, expires_at) VALUES ('fine', 'alt-swept-2', now());
SELECT session_id, outcome FROM bsession_end_expired();
SELECT outcome FROM bsession_end('fine', 'alt-due-2');
SET enable_seqscan = off;
SELECT session_id, state FROM bsession_tracked WHERE upper(state) = 'ENDED' AND session_id <> '' ORDER BY 1;
SELECT count(*) FROM bsession_tracked WHERE upper(state) IN ('ACTIVE', 'ENDING') AND session_id <> '';
RESET enable_seqscan;

-- An application's foreign key, which takes locks on rows, holds nothing up
CREATE TABLE job (provider text, session_id text, FOREIGN KEY (provider, session_id) REFERENCES bsession_tracked);
INSERT INTO job VALUES ('fine', 'alt-due-2');
INSERT INTO bsession_tracked (provider, session_id, expires_at) VALUES ('fine', 'alt-job', now());
INSERT INTO job VALUES ('fine', 'alt-job');
SELECT session_id, outcome FROM bsession_end_expired();

-- The code of an index finds nothing that a caller puts in its way
CREATE SCHEMA regress_bs_evil;
CREATE FUNCTION regress_bs_evil.clean(text) RETURNS text LANGUAGE plpgsql IMMUTABLE
AS 'BEGIN RAISE WARNING ''running as %'', current_user; RETURN $1; END';
CREATE FUNCTION public.norm(text) RETURNS text LANGUAGE plpgsql IMMUTABLE
AS 'BEGIN RETURN clean($1); END';
DROP TABLE job;
DELETE FROM bsession_tracked;
CREATE INDEX norms ON bsession_tracked (public.norm(session_id));
SET search_path = regress_bs_evil, public;
-- Fails: no such function in pg_catalog
SELECT bsession_track('fine', 'alt-evil', interval '1 hour');
RESET search_path;

SET client_min_messages = warning;
DROP SCHEMA regress_bs_evil CASCADE;
DROP INDEX norms;
DROP FUNCTION public.norm;
DROP EXTENSION browser_session CASCADE;
