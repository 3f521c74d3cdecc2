--
-- Who sees and changes whose sessions and attempts: roles, groups, auditors,
-- those who monitor, and those who try to see more than they should
--
CREATE SCHEMA regress_bs;
CREATE EXTENSION browser_session SCHEMA regress_bs;
SELECT current_setting('test.sim') AS sim \gset
\set base :sim '/stagehand'
CREATE SERVER stagehand FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base', retries '0');
CREATE USER MAPPING FOR PUBLIC SERVER stagehand OPTIONS (api_key 'sim-key');
GRANT USAGE ON SCHEMA regress_bs TO PUBLIC;
GRANT USAGE ON FOREIGN SERVER stagehand TO PUBLIC;
SET search_path = regress_bs, public;

-- a is a member of g, which is a member of h; b is a member of g without
-- inheriting what it may; loner is in none
CREATE ROLE regress_bs_h;
CREATE ROLE regress_bs_g;
CREATE ROLE regress_bs_a;
CREATE ROLE regress_bs_b NOINHERIT;
CREATE ROLE regress_bs_loner;
CREATE ROLE regress_bs_auditor;
CREATE ROLE regress_bs_monitor;
CREATE ROLE regress_bs_gone;
GRANT regress_bs_h TO regress_bs_g;
GRANT regress_bs_g TO regress_bs_a, regress_bs_b;
GRANT pg_monitor TO regress_bs_monitor;

CREATE TABLE role (name name, place int);
INSERT INTO role VALUES ('regress_bs_h', 1), ('regress_bs_g', 2), ('regress_bs_a', 3),
	('regress_bs_b', 4), ('regress_bs_loner', 5), ('regress_bs_gone', 6),
	('regress_bs_auditor', 7), ('regress_bs_monitor', 8);
GRANT SELECT ON role TO PUBLIC;
-- Each tracks a session, and has ended one
DO $$
DECLARE
	r name;
BEGIN
	FOR r IN SELECT name FROM role WHERE place <= 6 ORDER BY place LOOP
		EXECUTE format('SET ROLE %I', r);
		PERFORM bsession_track('stagehand', 'of-' || substr(r, 12), interval '1 hour');
		PERFORM bsession_end('stagehand', 'ended-' || substr(r, 12));
		RESET ROLE;
	END LOOP;
END
$$;
DROP ROLE regress_bs_gone;

-- What a role sees, and what it can change, delete and call functions on
CREATE FUNCTION view_of(r name, OUT tracked text, OUT audit text) LANGUAGE plpgsql AS
$$
BEGIN
	EXECUTE format('SET ROLE %I', r);
	SELECT string_agg(substr(session_id, 4), ' ' ORDER BY tracked_by::text) INTO tracked FROM bsession_tracked;
	SELECT string_agg(substr(session_id, 7), ' ' ORDER BY actor::text) INTO audit FROM bsession_audit;
	RESET ROLE;
END
$$;
CREATE FUNCTION reach_of(r name, OUT updated text, OUT deleted text, OUT extended text, OUT expired text, OUT untracked text)
LANGUAGE plpgsql AS
$$
DECLARE
	s text;
BEGIN
	BEGIN
		EXECUTE format('SET ROLE %I', r);
		WITH u AS (UPDATE bsession_tracked SET expires_at = now() + interval '2 hours' RETURNING *)
		SELECT string_agg(substr(session_id, 4), ' ' ORDER BY tracked_by::text) INTO updated FROM u;
		FOREACH s IN ARRAY ARRAY['a', 'b', 'g', 'gone', 'h', 'loner'] LOOP
			BEGIN
				PERFORM bsession_extend('stagehand', 'of-' || s, interval '3 hours');
				extended := concat_ws(' ', extended, s);
			EXCEPTION WHEN undefined_object THEN
				NULL;
			END;
			IF bsession_expire('stagehand', 'of-' || s) THEN
				expired := concat_ws(' ', expired, s);
			END IF;
		END LOOP;
		RAISE EXCEPTION 'roll back' USING ERRCODE = 'P0002';
	EXCEPTION WHEN no_data_found THEN
		NULL;
	END;
	BEGIN
		EXECUTE format('SET ROLE %I', r);
		FOREACH s IN ARRAY ARRAY['a', 'b', 'g', 'gone', 'h', 'loner'] LOOP
			IF bsession_untrack('stagehand', 'of-' || s) THEN
				untracked := concat_ws(' ', untracked, s);
			END IF;
		END LOOP;
		RAISE EXCEPTION 'roll back' USING ERRCODE = 'P0002';
	EXCEPTION WHEN no_data_found THEN
		NULL;
	END;
	BEGIN
		EXECUTE format('SET ROLE %I', r);
		WITH d AS (DELETE FROM bsession_tracked RETURNING *)
		SELECT string_agg(substr(session_id, 4), ' ' ORDER BY tracked_by::text) INTO deleted FROM d;
		RAISE EXCEPTION 'roll back' USING ERRCODE = 'P0002';
	EXCEPTION WHEN no_data_found THEN
		NULL;
	END;
	RESET ROLE;
END
$$;

-- A role sees its own, those of the groups that it has the rights of, and a
-- group sees its members'; the dropped role's disturb nobody
SELECT name, v.* FROM role, view_of(name) AS v WHERE place <> 6 ORDER BY place;
-- … and changes its own, and those of its groups
SELECT name, r.* FROM role, reach_of(name) AS r WHERE place <> 6 ORDER BY place;
-- A superuser sees and changes all, dropped roles' too
SELECT * FROM view_of(CURRENT_USER);
SELECT * FROM reach_of(CURRENT_USER);
SELECT count(*), count(DISTINCT tracked_by) FROM bsession_tracked WHERE state = 'active';

-- A group can do nothing to its members' sessions
SET ROLE regress_bs_g;
SELECT bsession_untrack('stagehand', 'of-a'), bsession_retry('stagehand', 'of-a');
SELECT bsession_track('stagehand', 'of-a', interval '1 hour');
RESET ROLE;
-- A member can act on its group's, whose the session stays
SET ROLE regress_bs_a;
SELECT tracked_by FROM bsession_track('stagehand', 'of-g', interval '1 hour');
SELECT bsession_expire('stagehand', 'of-h');
RESET ROLE;
SELECT session_id, state, tracked_by FROM bsession_tracked WHERE session_id IN ('of-g', 'of-h') ORDER BY 1;

-- An end by another role settles nothing of somebody else's: that it was
-- denied, or that its account knows no such session, says nothing of theirs
CREATE USER MAPPING FOR regress_bs_loner SERVER stagehand OPTIONS (api_key 'wrong-key');
SET ROLE regress_bs_loner;
SELECT outcome FROM bsession_end('stagehand', 'of-a');
SELECT session_id, outcome FROM bsession_end_many('stagehand', '{of-b,of-loner}');
RESET ROLE;
SELECT session_id, state, reason, outcome FROM bsession_tracked WHERE session_id IN ('of-a', 'of-b', 'of-loner') ORDER BY 1;
DROP USER MAPPING FOR regress_bs_loner SERVER stagehand;
SET ROLE regress_bs_b;
SELECT FROM bsession_track('stagehand', 'unknown-b', interval '1 hour');
SET ROLE regress_bs_loner;
SELECT outcome FROM bsession_end('stagehand', 'unknown-b');
RESET ROLE;
SELECT state, outcome FROM bsession_tracked WHERE session_id = 'unknown-b';
-- … its own, its group's; but that a session is unknown to another's account
-- proves nothing
SET ROLE regress_bs_a;
SELECT outcome FROM bsession_end_many('stagehand', '{of-a,of-g}');
RESET ROLE;
SELECT outcome FROM bsession_end('stagehand', 'unknown-b');
SELECT session_id, state, outcome, tracked_by FROM bsession_tracked
WHERE session_id IN ('of-a', 'of-g', 'unknown-b') ORDER BY 1;
DELETE FROM bsession_tracked WHERE session_id = 'unknown-b';
DELETE FROM bsession_audit WHERE session_id !~ '^ended-';

-- An auditor sees everything, and changes nothing
GRANT EXECUTE ON FUNCTION bsession_see_all() TO regress_bs_auditor;
SELECT * FROM view_of('regress_bs_auditor');
SELECT * FROM reach_of('regress_bs_auditor');
-- … by way of a group as well, and until it is revoked
GRANT regress_bs_auditor TO regress_bs_loner;
SELECT * FROM view_of('regress_bs_loner');
REVOKE regress_bs_auditor FROM regress_bs_loner;
SELECT * FROM view_of('regress_bs_loner');
SET ROLE regress_bs_auditor;
PREPARE seen AS SELECT count(*) FROM bsession_audit;
EXECUTE seen;
SELECT bsession_see_all();
RESET ROLE;
REVOKE EXECUTE ON FUNCTION bsession_see_all() FROM regress_bs_auditor;
SET ROLE regress_bs_auditor;
EXECUTE seen;
SELECT bsession_see_all();
\echo :SQLSTATE
DEALLOCATE seen;
-- Fails: nobody can make himself one
GRANT EXECUTE ON FUNCTION bsession_see_all() TO regress_bs_auditor;
CREATE OR REPLACE FUNCTION regress_bs.bsession_may_see(role name) RETURNS boolean LANGUAGE sql AS 'SELECT true';
ALTER TABLE bsession_audit DISABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON bsession_audit USING (true);
SET row_security = off;
SELECT count(*) FROM bsession_audit;
\echo :SQLSTATE
SELECT count(*) FROM bsession_tracked;
RESET row_security;
RESET ROLE;

-- Nobody but the owner can write the audit: not those that it is about, not
-- an auditor, not those who monitor
GRANT EXECUTE ON FUNCTION bsession_see_all() TO regress_bs_auditor;
CREATE FUNCTION sqlstates_of(r name) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	s text;
	result text;
BEGIN
	EXECUTE format('SET ROLE %I', r);
	FOREACH s IN ARRAY ARRAY[
		'INSERT INTO bsession_audit (at, provider, session_id, reason, outcome, attempt, actor) VALUES (now(), ''stagehand'', ''x'', ''call'', ''ended'', 1, CURRENT_USER)',
		'UPDATE bsession_audit SET rolled_back = true',
		'UPDATE bsession_audit SET error = ''x'' WHERE false',
		'DELETE FROM bsession_audit',
		'TRUNCATE bsession_audit',
		'SELECT FROM bsession_audit FOR UPDATE',
		'SELECT nextval(''bsession_audit_id_seq'')',
		'SELECT setval(''bsession_audit_id_seq'', 1)',
		'TRUNCATE bsession_tracked',
		'UPDATE bsession_home SET database = 1',
		'SELECT bsession_adopt()'] LOOP
		BEGIN
			EXECUTE s;
			result := concat_ws(' ', result, 'done');
		EXCEPTION WHEN OTHERS THEN
			result := concat_ws(' ', result, SQLSTATE);
		END;
	END LOOP;
	RESET ROLE;
	RETURN result;
END
$$;
SELECT name, sqlstates_of(name) FROM role WHERE place <> 6 ORDER BY place;
REVOKE EXECUTE ON FUNCTION bsession_see_all() FROM regress_bs_auditor;

-- Those who monitor see the worker and the counters, and no one's sessions
SET ROLE regress_bs_monitor;
SELECT running, pid, since, state, in_flight, next_due, last_error FROM bsession_worker;
SELECT due_now FROM bsession_worker;
SELECT provider FROM bsession_stats;
SELECT count(*) FROM bsession_tracked;
SET ROLE regress_bs_a;
SELECT * FROM bsession_worker;
SELECT * FROM bsession_stats;
SELECT bsession_worker_state();
SELECT bsession_server_counters();
RESET ROLE;

-- The policies' functions tell nothing of others' rows: only of roles
SET ROLE regress_bs_loner;
SELECT bsession_may_see('regress_bs_a'), bsession_may_see('regress_bs_loner'), bsession_may_see('regress_bs_gone'),
	bsession_may_see(NULL);
SELECT bsession_may_change('regress_bs_a', 'regress_bs_loner'), bsession_may_change('regress_bs_loner', 'regress_bs_loner'),
	bsession_may_change('regress_bs_gone', 'regress_bs_gone');
-- A function that costs nothing and tells what it is given is not given
-- others' rows
CREATE FUNCTION pg_temp.tell(id text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
$$
BEGIN
	RAISE NOTICE 'told %', id;
	RETURN true;
END
$$;
SELECT session_id FROM bsession_tracked WHERE pg_temp.tell(session_id);
SELECT session_id FROM bsession_audit WHERE pg_temp.tell(session_id);
SELECT session_id FROM bsession_audit WHERE 1 / (CASE session_id WHEN 'ended-a' THEN 0 ELSE 1 END) = 1;
-- … nor do statistics show them
RESET ROLE;
ANALYZE bsession_tracked, bsession_audit;
SELECT count(*) > 0 AS analyzed FROM pg_stats WHERE tablename IN ('bsession_tracked', 'bsession_audit');
SET ROLE regress_bs_loner;
SELECT count(*) FROM pg_stats WHERE tablename IN ('bsession_tracked', 'bsession_audit');
-- A view on the tables shows each role its own, not the owner's
CREATE TEMP VIEW mine AS SELECT session_id FROM bsession_tracked;
GRANT SELECT ON mine TO PUBLIC;
SELECT * FROM mine;
SET ROLE regress_bs_h;
SELECT * FROM mine ORDER BY 1;
-- Fails: another's session is in the way, whatever the way to put it there
SET ROLE regress_bs_loner;
\set VERBOSITY sqlstate
INSERT INTO bsession_tracked (provider, session_id) VALUES ('stagehand', 'of-b');
INSERT INTO bsession_tracked (provider, session_id) VALUES ('stagehand', 'of-b')
ON CONFLICT (provider, session_id) DO UPDATE SET expires_at = now();
\set VERBOSITY default
INSERT INTO bsession_tracked (provider, session_id) VALUES ('stagehand', 'of-b')
ON CONFLICT DO NOTHING RETURNING *;
SELECT session_id FROM bsession_tracked FOR UPDATE;
-- A group sees its members' rows, and can lock none of them
SET ROLE regress_bs_h;
SELECT session_id FROM bsession_tracked FOR UPDATE;
RESET ROLE;

-- A search_path full of names that are not what they seem changes nothing
CREATE SCHEMA regress_bs_evil AUTHORIZATION regress_bs_loner;
SET ROLE regress_bs_loner;
SET search_path = regress_bs_evil, pg_catalog, regress_bs, public;
CREATE TABLE regress_bs_evil.bsession_tracked (LIKE regress_bs.bsession_tracked);
CREATE TABLE regress_bs_evil.bsession_audit (LIKE regress_bs.bsession_audit);
CREATE TABLE regress_bs_evil.bsession_home (system_identifier bigint, database oid);
CREATE FUNCTION regress_bs_evil.evil() RETURNS boolean LANGUAGE plpgsql AS
$$
BEGIN
	RAISE EXCEPTION 'evil as %', CURRENT_USER;
END
$$;
CREATE FUNCTION regress_bs_evil.bsession_may_see(name) RETURNS boolean LANGUAGE sql AS 'SELECT regress_bs_evil.evil()';
CREATE FUNCTION regress_bs_evil.bsession_may_change(name, name) RETURNS boolean LANGUAGE sql AS 'SELECT regress_bs_evil.evil()';
CREATE FUNCTION regress_bs_evil.text_evil(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT regress_bs_evil.evil()';
CREATE FUNCTION regress_bs_evil.jsonb_evil(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(regress_bs_evil.evil())';
CREATE FUNCTION regress_bs_evil.time_evil(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql AS 'SELECT regress_bs_evil.evil()';
CREATE FUNCTION regress_bs_evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'evil'; END$$;
CREATE FUNCTION regress_bs_evil.jsonb_typeof(jsonb) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'evil'; END$$;
CREATE FUNCTION regress_bs_evil.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'evil'; END$$;
CREATE OPERATOR regress_bs_evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_bs_evil.text_evil);
CREATE OPERATOR regress_bs_evil.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_bs_evil.text_evil);
CREATE OPERATOR regress_bs_evil.|| (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = regress_bs_evil.jsonb_evil);
CREATE OPERATOR regress_bs_evil.<= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = regress_bs_evil.time_evil);
CREATE OPERATOR regress_bs_evil.< (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = regress_bs_evil.time_evil);
CREATE TYPE regress_bs_evil.bsession_result AS (evil int);
-- … not what this role does
SELECT session_id FROM regress_bs.bsession_track('stagehand', 'path-1', interval '1 hour', '{"a": 1}');
SELECT metadata FROM regress_bs.bsession_track('stagehand', 'path-1', interval '1 hour', '{"b": 2}');
SELECT regress_bs.bsession_extend('stagehand', 'path-1', '2 hours') IS NOT NULL AS extended,
	regress_bs.bsession_expire('stagehand', 'path-1'), regress_bs.bsession_retry('stagehand', 'path-1');
SELECT outcome FROM regress_bs.bsession_end('stagehand', 'path-1');
SELECT session_id, outcome FROM regress_bs.bsession_end_many('stagehand', '{path-2,path-3}');
SELECT count(*) FROM regress_bs.bsession_end_expired();
INSERT INTO regress_bs.bsession_tracked (provider, session_id, expires_at, metadata)
VALUES ('stagehand', 'path-4', '2100-01-01 00:00-08', '{}');
UPDATE regress_bs.bsession_tracked SET expires_at = NULL, metadata = '{"c": 3}' WHERE session_id OPERATOR(pg_catalog.=) 'path-4';
SELECT session_id, state, metadata FROM regress_bs.bsession_tracked ORDER BY session_id;
SELECT session_id, outcome FROM regress_bs.bsession_audit WHERE session_id LIKE 'path%' ORDER BY id;
SELECT regress_bs.bsession_untrack('stagehand', 'path-4');
-- … nor what a superuser does with that search_path
RESET ROLE;
SET search_path = regress_bs_evil, pg_catalog, regress_bs, public;
SELECT session_id FROM regress_bs.bsession_track('stagehand', 'path-5', timestamptz '2000-01-01 00:00-08');
SELECT session_id, outcome FROM regress_bs.bsession_end_expired(1);
SELECT due_now >= 0 AS counted FROM regress_bs.bsession_worker;
SELECT regress_bs.bsession_adopt();
RESET search_path;
SELECT (SELECT count(*) FROM regress_bs_evil.bsession_tracked) + (SELECT count(*) FROM regress_bs_evil.bsession_audit)
	+ (SELECT count(*) FROM regress_bs_evil.bsession_home) AS astray;

-- Fails: the trigger functions are for the extension's own tables, whose columns
-- have the types they take for granted
CREATE TEMP TABLE lookalike (provider int8, session_id int8, state int8, expires_at timestamptz,
	next_attempt_at timestamptz, attempts int, outcome text, last_error text, tracked_by name, tracked_at timestamptz,
	ended_at timestamptz, metadata jsonb, reason text, claimed_by int);
CREATE TRIGGER lookalike BEFORE INSERT ON lookalike FOR EACH ROW EXECUTE FUNCTION regress_bs.bsession_check_tracked();
INSERT INTO lookalike (provider, session_id, state, tracked_at, tracked_by) VALUES (1, 2, 3, now(), 'me');
CREATE TEMP VIEW lookalike_view AS SELECT 1::int8 AS a, 2::int8 AS b, now() AS c, '{}'::jsonb AS d;
CREATE TRIGGER lookalike INSTEAD OF INSERT ON lookalike_view FOR EACH ROW EXECUTE FUNCTION regress_bs.bsession_copy_row();
INSERT INTO lookalike_view VALUES (1, 2, now(), '{}');
-- … nor are they for others
SELECT has_function_privilege('regress_bs_a', 'regress_bs.bsession_check_tracked()', 'EXECUTE') AS check_tracked,
	has_function_privilege('regress_bs_a', 'regress_bs.bsession_copy_row()', 'EXECUTE') AS copy_row;

-- Fails: a trigger that is not the extension's would run with its owner's rights
GRANT ALL ON ALL TABLES IN SCHEMA regress_bs TO regress_bs_a;
GRANT USAGE, CREATE ON SCHEMA regress_bs_evil TO regress_bs_a;
SET ROLE regress_bs_a;
CREATE FUNCTION regress_bs_evil.spy() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'as %', CURRENT_USER; END$$;
CREATE FUNCTION regress_bs_evil.spy_when(text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'as %', CURRENT_USER; END$$;
BEGIN;
CREATE TRIGGER spy BEFORE INSERT ON regress_bs.bsession_tracked FOR EACH ROW EXECUTE FUNCTION regress_bs_evil.spy();
SELECT regress_bs.bsession_track('stagehand', 'spied-1', interval '1 hour');
ROLLBACK;
BEGIN;
CREATE OR REPLACE TRIGGER bsession_check_tracked BEFORE INSERT ON regress_bs.bsession_tracked FOR EACH ROW EXECUTE FUNCTION regress_bs_evil.spy();
SELECT regress_bs.bsession_track('stagehand', 'spied-1', interval '1 hour');
ROLLBACK;
BEGIN;
CREATE TRIGGER spy BEFORE INSERT ON regress_bs.bsession_audit FOR EACH ROW EXECUTE FUNCTION regress_bs_evil.spy();
SELECT outcome FROM regress_bs.bsession_end('stagehand', 'spied-2');
ROLLBACK;
RESET ROLE;
BEGIN;
CREATE OR REPLACE TRIGGER bsession_check_tracked BEFORE INSERT ON regress_bs.bsession_tracked FOR EACH ROW
	WHEN (regress_bs_evil.spy_when(new.provider)) EXECUTE FUNCTION regress_bs.bsession_check_tracked();
SELECT regress_bs.bsession_track('stagehand', 'spied-1', interval '1 hour');
ROLLBACK;
BEGIN;
CREATE TRIGGER spy BEFORE DELETE ON regress_bs.bsession_home FOR EACH ROW EXECUTE FUNCTION regress_bs_evil.spy();
UPDATE regress_bs.bsession_home SET database = 0;
SELECT regress_bs.bsession_adopt();
ROLLBACK;

SET client_min_messages = warning;
DROP SCHEMA regress_bs_evil CASCADE;
DISCARD TEMP;
DROP EXTENSION browser_session CASCADE;
DROP SCHEMA regress_bs CASCADE;
DROP ROLE regress_bs_h, regress_bs_g, regress_bs_a, regress_bs_b, regress_bs_loner,
	regress_bs_auditor, regress_bs_monitor;
