--
-- Who may do what by default, and what those try who want more: at the
-- installation, in the search_path, around row security, with code of their
-- own
--
CREATE SCHEMA regress_bs;
CREATE EXTENSION browser_session SCHEMA regress_bs;
SELECT current_setting('test.sim') AS sim \gset
\set base :sim '/stagehand'
CREATE SERVER stagehand FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base', retries '0');
CREATE USER MAPPING FOR PUBLIC SERVER stagehand OPTIONS (api_key 'sim-key');

-- What there is: all of it the installing role's, nothing with the rights of
-- its owner, nothing that is let near others' rows before row security
CREATE TEMP VIEW member AS
SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) AS object
FROM pg_depend AS d
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.refobjid =
	(SELECT oid FROM pg_extension WHERE extname = 'browser_session');
SELECT replace(p.oid::regprocedure::text, 'regress_bs.', '') AS function, l.lanname AS language,
	CASE p.provolatile WHEN 'v' THEN 'volatile' WHEN 's' THEN 'stable' ELSE 'immutable' END AS volatility,
	CASE p.proparallel WHEN 'u' THEN 'unsafe' WHEN 'r' THEN 'restricted' ELSE 'safe' END AS parallel,
	p.prosecdef AS definer, p.proleakproof AS leakproof, p.proconfig AS settings,
	p.proowner = CURRENT_USER::regrole AS own
FROM member AS m JOIN pg_proc AS p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
JOIN pg_language AS l ON l.oid = p.prolang
ORDER BY p.proname COLLATE "C", p.oid::regprocedure::text COLLATE "C";
SELECT c.relname AS relation, c.relkind AS kind, c.relrowsecurity AS row_security, c.reloptions AS options,
	c.relowner = CURRENT_USER::regrole AS own
FROM member AS m JOIN pg_class AS c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
ORDER BY c.relname COLLATE "C";
SELECT tablename, policyname, cmd, roles, qual, with_check FROM pg_policies
WHERE schemaname = 'regress_bs' ORDER BY 1, 2, 3;
SELECT t.tgrelid::regclass AS relation, t.tgname AS trigger, t.tgenabled AS enabled, t.tgfoid::regproc AS function
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'regress_bs'::regnamespace ORDER BY 1, 2;
-- … and what others than the owner may do with it; what is not here, nobody
CREATE TEMP VIEW granted AS
SELECT object, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee,
	string_agg(DISTINCT privilege_type COLLATE "C", ' ') AS privileges, bool_or(is_grantable) AS grantable
FROM (
	SELECT 'function ' || p.proname AS object, p.proowner AS owner, a.*
	FROM member AS m JOIN pg_proc AS p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid,
		aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
	UNION ALL
	SELECT 'relation ' || c.relname, c.relowner, a.*
	FROM member AS m JOIN pg_class AS c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid,
		aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) AS a
	UNION ALL
	SELECT 'column ' || c.relname || '.' || t.attname, c.relowner, a.*
	FROM member AS m JOIN pg_class AS c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
		JOIN pg_attribute AS t ON t.attrelid = c.oid, aclexplode(t.attacl) AS a
	UNION ALL
	SELECT 'type ' || t.typname, t.typowner, a.*
	FROM member AS m JOIN pg_type AS t ON m.classid = 'pg_type'::regclass AND m.objid = t.oid,
		aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) AS a
	-- From 17 on a relation's own type is a member, too.
	WHERE t.typname !~ '^_' AND NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = t.typrelid AND c.relkind <> 'c')
	UNION ALL
	SELECT 'wrapper ' || w.fdwname, w.fdwowner, a.*
	FROM member AS m JOIN pg_foreign_data_wrapper AS w ON m.classid = 'pg_foreign_data_wrapper'::regclass AND m.objid = w.oid,
		aclexplode(coalesce(w.fdwacl, acldefault('F', w.fdwowner))) AS a
	UNION ALL
	SELECT 'server ' || s.srvname, s.srvowner, a.*
	FROM pg_foreign_server AS s, aclexplode(coalesce(s.srvacl, acldefault('S', s.srvowner))) AS a
	WHERE s.srvname = 'stagehand'
) AS g
WHERE grantee <> owner
GROUP BY object, grantee;
SELECT * FROM granted ORDER BY object COLLATE "C", grantee;

-- The installation: a schema that somebody else fills beforehand.  What bears
-- the name of one of the extension's objects is in the way
DROP EXTENSION browser_session CASCADE;
CREATE ROLE regress_bs_evil;
CREATE ROLE regress_bs_app;
CREATE SCHEMA regress_bs_trap;
CREATE FUNCTION install_with(trap text) RETURNS text LANGUAGE plpgsql AS
$$
BEGIN
	EXECUTE trap;
	CREATE EXTENSION browser_session SCHEMA regress_bs_trap;
	RAISE EXCEPTION 'installed' USING ERRCODE = 'P0002';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
GRANT CREATE, USAGE ON SCHEMA regress_bs_trap TO regress_bs_evil;
SELECT trap, install_with('SET LOCAL search_path = regress_bs_trap; ' || trap) AS result
FROM unnest(ARRAY[
	'CREATE TABLE bsession_tracked (evil int)',
	'CREATE VIEW bsession_audit AS SELECT 1 AS evil',
	'CREATE SEQUENCE bsession_audit_id_seq',
	'CREATE TYPE bsession_result AS (evil int)',
	'CREATE TABLE bsession_result (evil int)',
	'CREATE VIEW bsession_copy AS SELECT 1 AS evil',
	'CREATE TABLE bsession_tracked_due (evil int)',
	'CREATE FUNCTION bsession_validator(text[], oid) RETURNS void LANGUAGE sql AS ''SELECT''',
	'CREATE FUNCTION bsession_check_tracked() RETURNS trigger LANGUAGE plpgsql AS ''BEGIN END''',
	'CREATE FUNCTION bsession_may_see(name) RETURNS boolean LANGUAGE sql AS ''SELECT true''',
	'CREATE FUNCTION bsession_adopt() RETURNS boolean LANGUAGE sql AS ''SELECT true''',
	'CREATE FOREIGN DATA WRAPPER browser_session']) AS trap;
-- … and what bears that of one of PostgreSQL's is not used: no part of the
-- extension depends on it, nothing of it is run
SET ROLE regress_bs_evil;
SET search_path = regress_bs_trap;
CREATE FUNCTION evil() RETURNS void LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'evil ran as %', CURRENT_USER; END$$;
CREATE FUNCTION equal(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT true';
CREATE FUNCTION equal(name, text) RETURNS boolean LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT true';
CREATE FUNCTION before(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT true';
CREATE FUNCTION equal(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT true';
CREATE FUNCTION merge(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT $1';
CREATE OPERATOR = (LEFTARG = text, RIGHTARG = text, FUNCTION = equal);
CREATE OPERATOR = (LEFTARG = name, RIGHTARG = text, FUNCTION = equal);
CREATE OPERATOR = (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = equal);
CREATE OPERATOR <> (LEFTARG = text, RIGHTARG = text, FUNCTION = equal);
CREATE OPERATOR < (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = before);
CREATE OPERATOR <= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = before);
CREATE OPERATOR >= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = before);
CREATE OPERATOR || (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = merge);
CREATE FUNCTION now() RETURNS timestamptz LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT pg_catalog.now()';
CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT pg_catalog.now()';
CREATE FUNCTION count(anyelement) RETURNS bigint LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT 1::bigint';
CREATE FUNCTION unnest(anyarray) RETURNS SETOF anyelement LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT $1[1]';
CREATE FUNCTION jsonb_typeof(jsonb) RETURNS text LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT ''object''::text';
CREATE FUNCTION nextval(text) RETURNS bigint LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT 1::bigint';
CREATE FUNCTION nextval(regclass) RETURNS bigint LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT 1::bigint';
CREATE FUNCTION pg_extension_config_dump(regclass, text) RETURNS void LANGUAGE sql AS 'SELECT regress_bs_trap.evil()';
CREATE FUNCTION bsession_may_see(text) RETURNS boolean LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT true';
CREATE FUNCTION bsession_may_change(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT true';
CREATE FUNCTION bsession_see_all(VARIADIC int[]) RETURNS boolean LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT true';
CREATE FUNCTION text(int) RETURNS text LANGUAGE sql AS 'SELECT regress_bs_trap.evil(); SELECT ''''::text';
CREATE DOMAIN text AS pg_catalog.text CHECK (regress_bs_trap.evil() IS NULL);
CREATE DOMAIN name AS pg_catalog.name CHECK (regress_bs_trap.evil() IS NULL);
CREATE DOMAIN jsonb AS pg_catalog.jsonb CHECK (regress_bs_trap.evil() IS NULL);
CREATE DOMAIN inet AS pg_catalog.inet CHECK (regress_bs_trap.evil() IS NULL);
RESET ROLE;
SET search_path = regress_bs_trap, pg_catalog;
CREATE EXTENSION browser_session SCHEMA regress_bs_trap;
RESET search_path;
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS object, pg_describe_object(d.refclassid, d.refobjid, 0) AS uses
FROM pg_depend AS d JOIN pg_depend AS m ON m.classid = d.classid AND m.objid = d.objid AND m.deptype = 'e'
	AND m.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'browser_session')
JOIN pg_proc AS p ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid AND p.proowner = 'regress_bs_evil'::regrole;
SELECT a.attrelid::regclass, a.attname, a.atttypid::regtype FROM pg_attribute AS a
JOIN pg_type AS t ON t.oid = a.atttypid JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relnamespace = 'regress_bs_trap'::regnamespace AND t.typnamespace <> 'pg_catalog'::regnamespace;

-- The functions: each of them, called by an application's role and by a
-- superuser with all of that before PostgreSQL's own in the search_path, and
-- lookalikes of the tables in the temporary schema
CREATE SERVER stagehand FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base', retries '0');
CREATE USER MAPPING FOR PUBLIC SERVER stagehand OPTIONS (api_key 'sim-key');
GRANT USAGE ON FOREIGN SERVER stagehand TO regress_bs_app, regress_bs_evil;
GRANT USAGE ON SCHEMA regress_bs_trap TO PUBLIC;
CREATE PROCEDURE call_all(prefix pg_catalog.text) LANGUAGE plpgsql AS
$$
BEGIN
	CREATE TEMP TABLE bsession_tracked (provider pg_catalog.text, session_id pg_catalog.text, evil int DEFAULT 1 / 0) ON COMMIT DROP;
	CREATE TEMP TABLE bsession_audit (LIKE pg_temp.bsession_tracked) ON COMMIT DROP;
	CREATE TEMP TABLE bsession_home (LIKE pg_temp.bsession_tracked) ON COMMIT DROP;
	CREATE TEMP TABLE job (provider pg_catalog.text, session_id pg_catalog.text) ON COMMIT DROP;
	CREATE TRIGGER gone AFTER DELETE ON pg_temp.job FOR EACH ROW
		EXECUTE FUNCTION regress_bs_trap.bsession_end_on_delete('provider', 'session_id');
	INSERT INTO pg_temp.job VALUES ('stagehand', prefix OPERATOR(pg_catalog.||) 'deleted');
	DELETE FROM pg_temp.job;
	PERFORM regress_bs_trap.bsession_track('stagehand', prefix OPERATOR(pg_catalog.||) 'tracked', interval '1 hour', '{"a": 1}');
	PERFORM regress_bs_trap.bsession_track('stagehand', prefix OPERATOR(pg_catalog.||) 'tracked', pg_catalog.now(), '{"b": 2}');
	PERFORM regress_bs_trap.bsession_extend('stagehand', prefix OPERATOR(pg_catalog.||) 'tracked', interval '1 hour');
	PERFORM regress_bs_trap.bsession_expire('stagehand', prefix OPERATOR(pg_catalog.||) 'tracked');
	PERFORM regress_bs_trap.bsession_retry('stagehand', prefix OPERATOR(pg_catalog.||) 'tracked');
	PERFORM regress_bs_trap.bsession_end_expired(10);
	PERFORM regress_bs_trap.bsession_end('stagehand', prefix OPERATOR(pg_catalog.||) 'ended');
	PERFORM regress_bs_trap.bsession_end_many('stagehand', ARRAY[prefix OPERATOR(pg_catalog.||) 'ended']);
	INSERT INTO regress_bs_trap.bsession_tracked (provider, session_id, expires_at)
	VALUES ('stagehand', prefix OPERATOR(pg_catalog.||) 'inserted', pg_catalog.now());
	UPDATE regress_bs_trap.bsession_tracked SET expires_at = NULL
	WHERE session_id OPERATOR(pg_catalog.=) (prefix OPERATOR(pg_catalog.||) 'inserted');
	PERFORM regress_bs_trap.bsession_untrack('stagehand', prefix OPERATOR(pg_catalog.||) 'inserted');
	INSERT INTO regress_bs_trap.bsession_copy VALUES ('stagehand', prefix OPERATOR(pg_catalog.||) 'copied', NULL, '{}');
	PERFORM FROM regress_bs_trap.bsession_providers();
	IF pg_catalog.has_function_privilege('regress_bs_trap.bsession_adopt()', 'EXECUTE') THEN
		PERFORM regress_bs_trap.bsession_adopt();
		PERFORM FROM regress_bs_trap.bsession_worker;
		PERFORM FROM regress_bs_trap.bsession_stats;
	END IF;
END
$$;
GRANT TEMPORARY ON DATABASE :DBNAME TO PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO regress_bs_app;
SET ROLE regress_bs_app;
SET search_path = pg_temp, regress_bs_trap, pg_catalog, public;
CALL public.call_all('app-');
RESET ROLE;
CALL public.call_all('super-');
RESET search_path;
SELECT session_id, state, tracked_by = CURRENT_USER AS own FROM regress_bs_trap.bsession_tracked ORDER BY 1;
SELECT session_id, reason, outcome, actor = CURRENT_USER AS own FROM regress_bs_trap.bsession_audit ORDER BY 1, id;
REVOKE CREATE ON SCHEMA public FROM regress_bs_app;
-- The owner of the schema, or who may create in it, cannot take anything away
ALTER SCHEMA regress_bs_trap OWNER TO regress_bs_evil;
SET ROLE regress_bs_evil;
DROP TABLE regress_bs_trap.bsession_tracked;
CREATE OR REPLACE FUNCTION regress_bs_trap.bsession_may_see(role pg_catalog.name) RETURNS boolean LANGUAGE sql AS 'SELECT true';
RESET ROLE;
DROP EXTENSION browser_session CASCADE;
SET client_min_messages = warning;
DROP SCHEMA regress_bs_trap CASCADE;
RESET client_min_messages;

-- Around row security: victim has tracked two sessions, evil tries
CREATE EXTENSION browser_session SCHEMA regress_bs;
CREATE SERVER stagehand FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base', retries '0');
CREATE USER MAPPING FOR PUBLIC SERVER stagehand OPTIONS (api_key 'sim-key');
GRANT USAGE ON FOREIGN SERVER stagehand TO regress_bs_app, regress_bs_evil;
GRANT USAGE ON SCHEMA regress_bs TO PUBLIC;
CREATE SCHEMA regress_bs_mine AUTHORIZATION regress_bs_evil;
SET search_path = regress_bs;
SET ROLE regress_bs_app;
SELECT count(*) FROM bsession_track('stagehand', 'victim-1', interval '1 hour', '{"secret": 1}');
SELECT outcome FROM bsession_end('stagehand', 'victim-2');
SET ROLE regress_bs_evil;
SELECT count(*) FROM bsession_track('stagehand', 'evil-1', interval '1 hour');
RESET ROLE;
ANALYZE bsession_tracked, bsession_audit;
-- What a statement gets at: what it returns, or the error
CREATE FUNCTION public.attempt(statement text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	r record;
	result text := '';
BEGIN
	IF statement ~* '^(SELECT|WITH|TABLE|EXPLAIN)' OR statement ~* 'RETURNING' THEN
		FOR r IN EXECUTE statement LOOP
			result := result || r::text;
		END LOOP;
	ELSE
		EXECUTE statement;
		result := 'done';
	END IF;
	RAISE EXCEPTION USING ERRCODE = 'P0002', MESSAGE = result;
EXCEPTION
	WHEN no_data_found THEN
		RETURN CASE WHEN SQLERRM ~ 'victim' THEN 'LEAK ' ELSE '' END || SQLERRM;
	WHEN OTHERS THEN
		RETURN CASE WHEN SQLERRM ~ 'victim' THEN 'LEAK ' ELSE '' END || SQLSTATE;
END
$$;
CREATE TABLE public.way (number serial, statement text);
INSERT INTO public.way (statement) VALUES
	('SELECT session_id FROM regress_bs.bsession_tracked'),
	('SELECT count(*) FROM regress_bs.bsession_audit'),
	('WITH t AS MATERIALIZED (SELECT session_id FROM regress_bs.bsession_tracked) SELECT * FROM t'),
	('SELECT query_to_xml(''SELECT session_id FROM regress_bs.bsession_tracked'', true, true, '''')::text ~ ''victim'''),
	('SELECT table_to_xml(''regress_bs.bsession_tracked'', true, true, '''')::text ~ ''victim'''),
	('UPDATE regress_bs.bsession_tracked SET metadata = ''{}'' RETURNING session_id'),
	('UPDATE regress_bs.bsession_tracked SET tracked_by = CURRENT_USER'),
	('UPDATE regress_bs.bsession_tracked SET state = ''active'''),
	('DELETE FROM regress_bs.bsession_tracked RETURNING session_id'),
	('INSERT INTO regress_bs.bsession_tracked (provider, session_id, tracked_by) VALUES (''stagehand'', ''x'', ''regress_bs_app'')'),
	('INSERT INTO regress_bs.bsession_tracked (provider, session_id) VALUES (''stagehand'', ''victim-1'') ON CONFLICT DO NOTHING RETURNING session_id'),
	('INSERT INTO regress_bs.bsession_tracked (provider, session_id) VALUES (''stagehand'', ''victim-1'') ON CONFLICT (provider, session_id) DO UPDATE SET metadata = ''{}'' RETURNING *'),
	('MERGE INTO regress_bs.bsession_tracked AS t USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE'),
	('MERGE INTO regress_bs.bsession_tracked AS t USING (VALUES (''stagehand'', ''victim-1'')) AS s (p, i) ON t.session_id = s.i WHEN NOT MATCHED THEN INSERT (provider, session_id) VALUES (p, i)'),
	('SELECT session_id FROM regress_bs.bsession_tracked FOR UPDATE'),
	('SELECT session_id FROM regress_bs.bsession_audit FOR KEY SHARE'),
	('TRUNCATE regress_bs.bsession_tracked'),
	('TRUNCATE regress_bs.bsession_audit'),
	('LOCK regress_bs.bsession_audit IN ROW EXCLUSIVE MODE'),
	('LOCK regress_bs.bsession_home IN ROW EXCLUSIVE MODE'),
	('CREATE TABLE regress_bs_mine.child () INHERITS (regress_bs.bsession_tracked)'),
	('CREATE TABLE regress_bs_mine.job (p text, i text, FOREIGN KEY (p, i) REFERENCES regress_bs.bsession_tracked)'),
	('CREATE RULE evil AS ON INSERT TO regress_bs.bsession_tracked DO ALSO SELECT 1'),
	('CREATE TRIGGER evil BEFORE INSERT ON regress_bs.bsession_tracked FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()'),
	('CREATE INDEX ON regress_bs.bsession_tracked (lower(session_id))'),
	('CREATE STATISTICS regress_bs_mine.s ON provider, session_id FROM regress_bs.bsession_tracked'),
	('ALTER TABLE regress_bs.bsession_tracked DISABLE TRIGGER ALL'),
	('ALTER TABLE regress_bs.bsession_tracked NO FORCE ROW LEVEL SECURITY'),
	('CREATE EVENT TRIGGER evil ON ddl_command_end EXECUTE FUNCTION suppress_redundant_updates_trigger()'),
	('CREATE PUBLICATION evil FOR TABLE regress_bs.bsession_tracked'),
	('ALTER EXTENSION browser_session DROP TABLE regress_bs.bsession_tracked'),
	('ALTER SERVER stagehand OPTIONS (SET base_url ''http://127.0.0.1:1'')'),
	('ALTER USER MAPPING FOR PUBLIC SERVER stagehand OPTIONS (SET api_key ''x'')'),
	('CREATE USER MAPPING FOR regress_bs_app SERVER stagehand OPTIONS (api_key ''x'')'),
	('SELECT umoptions FROM pg_user_mappings WHERE srvname = ''stagehand'''),
	('SELECT option_value FROM information_schema.user_mapping_options'),
	('SELECT umoptions FROM pg_user_mapping'),
	('SELECT most_common_vals::text FROM pg_stats WHERE tablename ~ ''^bsession'''),
	('SELECT stavalues1::text FROM pg_statistic'),
	('SELECT * FROM regress_bs.bsession_worker'),
	('SELECT regress_bs.bsession_worker_state()'),
	('SELECT regress_bs.bsession_due_now()'),
	('SELECT * FROM regress_bs.bsession_stats'),
	('SELECT regress_bs.bsession_adopt()'),
	('SELECT regress_bs.bsession_see_all()'),
	('SELECT regress_bs.bsession_untrack(''stagehand'', ''victim-1'')'),
	('SELECT regress_bs.bsession_expire(''stagehand'', ''victim-1'')'),
	('SELECT regress_bs.bsession_retry(''stagehand'', ''victim-1'')'),
	('SELECT count(*) FROM regress_bs.bsession_end_expired()');
GRANT SELECT ON public.way TO PUBLIC;
SET ROLE regress_bs_evil;
SELECT statement, public.attempt(statement) AS result FROM public.way ORDER BY number;
-- … nor with row security switched off by himself
SET row_security = off;
SELECT public.attempt('SELECT session_id FROM regress_bs.bsession_tracked'),
	public.attempt('SELECT session_id FROM regress_bs.bsession_audit');
RESET row_security;
-- … nor by a plan that was made for somebody else
SET ROLE regress_bs_app;
PREPARE others AS SELECT session_id FROM bsession_tracked;
EXECUTE others;
SET ROLE regress_bs_evil;
EXECUTE others;
DEALLOCATE others;
-- What the planner knows of others' rows it tells nobody: an estimate is the
-- same whether there is such an id or not, and no operator is given one
CREATE FUNCTION regress_bs_mine.tell(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
$$BEGIN RAISE WARNING 'told %', $1; RETURN true; END$$;
CREATE OPERATOR regress_bs_mine.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_bs_mine.tell, RESTRICT = eqsel);
CREATE OPERATOR regress_bs_mine.<<<< (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_bs_mine.tell, RESTRICT = scalarltsel);
RESET ROLE;
INSERT INTO bsession_tracked (provider, session_id, last_error, metadata)
SELECT 'stagehand', 'many-' || i, CASE WHEN i > 100 THEN 'often' END, '{"often": 1}' FROM generate_series(1, 300) AS i;
INSERT INTO bsession_audit (at, provider, session_id, reason, outcome, attempt, actor, provider_status, error, response, application_name, client_addr)
SELECT now(), 'stagehand', 'often', 'call', 'ended', 1, 'regress_bs_app', 'often', 'often', '"often"', 'often', '10.0.0.1'
FROM generate_series(1, 300);
ANALYZE bsession_tracked, bsession_audit;
SELECT a.attrelid::regclass AS table, string_agg(a.attname, ' ' ORDER BY a.attnum) AS with_statistics
FROM pg_statistic AS s JOIN pg_attribute AS a ON a.attrelid = s.starelid AND a.attnum = s.staattnum
WHERE a.attrelid IN ('bsession_tracked'::regclass, 'bsession_audit'::regclass) GROUP BY 1 ORDER BY 1;
SET ROLE regress_bs_evil;
SELECT public.attempt('EXPLAIN SELECT FROM bsession_tracked WHERE last_error = ''often''')
	= replace(public.attempt('EXPLAIN SELECT FROM bsession_tracked WHERE last_error = ''never'''), 'never', 'often') AS tracked,
	public.attempt('EXPLAIN SELECT FROM bsession_audit WHERE session_id = ''often''')
	= replace(public.attempt('EXPLAIN SELECT FROM bsession_audit WHERE session_id = ''never'''), 'never', 'often') AS audit,
	public.attempt('EXPLAIN SELECT FROM bsession_audit WHERE error < ''oft''')
	= replace(public.attempt('EXPLAIN SELECT FROM bsession_audit WHERE error < ''zzz'''), 'zzz', 'oft') AS range;
SELECT count(public.attempt(format('EXPLAIN SELECT FROM %s WHERE %s OPERATOR(regress_bs_mine.%s) ''x''', r, c, o))) AS tries
FROM unnest('{===,<<<<}'::text[]) AS o, (VALUES ('bsession_tracked', 'session_id'), ('bsession_tracked', 'last_error'),
	('bsession_audit', 'session_id'), ('bsession_audit', 'provider'), ('bsession_copy', 'session_id'), ('bsession_copy', 'provider')) AS v (r, c);
RESET ROLE;
DELETE FROM bsession_tracked WHERE session_id LIKE 'many%';
DELETE FROM bsession_audit WHERE session_id = 'often';

-- Who is given all privileges on all tables can still not write what is not
-- his, nor say where the sessions are at home
GRANT ALL ON ALL TABLES IN SCHEMA regress_bs TO regress_bs_evil;
SET ROLE regress_bs_evil;
SELECT statement, public.attempt(statement) AS result FROM unnest(ARRAY[
	'UPDATE regress_bs.bsession_tracked SET tracked_by = ''regress_bs_app'' RETURNING session_id',
	'UPDATE regress_bs.bsession_tracked SET metadata = ''{}'' RETURNING session_id',
	'INSERT INTO regress_bs.bsession_tracked (provider, session_id, tracked_by) VALUES (''stagehand'', ''x'', ''regress_bs_app'')',
	'DELETE FROM regress_bs.bsession_tracked RETURNING session_id',
	'SELECT session_id FROM regress_bs.bsession_audit',
	'UPDATE regress_bs.bsession_audit SET actor = CURRENT_USER RETURNING session_id',
	'DELETE FROM regress_bs.bsession_audit RETURNING session_id',
	'INSERT INTO regress_bs.bsession_audit (at, provider, session_id, reason, outcome, attempt, actor) VALUES (now(), ''a'', ''b'', ''call'', ''ended'', 1, CURRENT_USER)',
	'UPDATE regress_bs.bsession_home SET database = 1 RETURNING database',
	'DELETE FROM regress_bs.bsession_home RETURNING database',
	'INSERT INTO regress_bs.bsession_home VALUES (1, 1)']) AS statement;
RESET ROLE;
REVOKE ALL ON ALL TABLES IN SCHEMA regress_bs FROM regress_bs_evil;

-- Without DELETE, nobody but the owner locks the table in a way that is in the
-- worker's way; the functions and the trigger do the same as ever
SET ROLE regress_bs_evil;
SELECT public.attempt('LOCK regress_bs.bsession_tracked');
RESET ROLE;
REVOKE DELETE ON bsession_tracked FROM PUBLIC;
CREATE TABLE regress_bs_mine.job (session_id text);
GRANT ALL ON regress_bs_mine.job TO regress_bs_evil;
ALTER TABLE regress_bs_mine.job ADD provider text DEFAULT 'stagehand';
CREATE TRIGGER gone AFTER DELETE ON regress_bs_mine.job FOR EACH ROW
	EXECUTE FUNCTION bsession_end_on_delete('provider', 'session_id');
SET ROLE regress_bs_evil;
SELECT mode, public.attempt('LOCK regress_bs.bsession_tracked IN ' || mode || ' MODE') AS result
FROM unnest('{ACCESS SHARE,ROW EXCLUSIVE,SHARE,ACCESS EXCLUSIVE}'::text[]) AS mode;
-- Fails: no DELETE
DELETE FROM bsession_tracked;
SELECT (t).state, bsession_extend('stagehand', (t).session_id, interval '2 hours') > now() AS extended,
	bsession_expire('stagehand', (t).session_id) AS expired, bsession_retry('stagehand', (t).session_id) AS again
FROM bsession_track('stagehand', 'revoked-1', interval '1 hour') AS t;
INSERT INTO regress_bs_mine.job VALUES ('revoked-2');
DELETE FROM regress_bs_mine.job;
SELECT session_id, state, reason FROM bsession_tracked WHERE session_id LIKE 'revoked%' ORDER BY 1;
SELECT bsession_untrack('stagehand', 'revoked-1') AS mine, bsession_untrack('stagehand', 'revoked-2') AS deleted,
	bsession_untrack('stagehand', 'victim-1') AS anothers, bsession_untrack('stagehand', 'revoked-3') AS nobodys;
SELECT count(*) FROM bsession_tracked WHERE session_id LIKE 'revoked%';
RESET ROLE;
GRANT DELETE ON bsession_tracked TO PUBLIC;

-- In whose name: the role that counts is CURRENT_USER
CREATE USER MAPPING FOR regress_bs_evil SERVER stagehand OPTIONS (api_key 'wrong-key');
CREATE FUNCTION public.end_as_owner(id text) RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = regress_bs, pg_temp
AS 'SELECT outcome FROM bsession_end(''stagehand'', id)';
CREATE FUNCTION public.track_as_owner(id text) RETURNS name LANGUAGE sql SECURITY DEFINER SET search_path = regress_bs, pg_temp
AS 'SELECT tracked_by FROM bsession_track(''stagehand'', id, interval ''1 hour'')';
ALTER FUNCTION public.end_as_owner(text) OWNER TO regress_bs_app;
ALTER FUNCTION public.track_as_owner(text) OWNER TO regress_bs_app;
GRANT USAGE ON SCHEMA public TO regress_bs_app;
-- … by SET ROLE, whose key the provider does not know
SET ROLE regress_bs_evil;
SELECT outcome FROM bsession_end('stagehand', 'whose-1');
-- … in a function with its owner's rights, whose key it does
SELECT public.end_as_owner('whose-1'), public.track_as_owner('whose-2');
SELECT session_id FROM bsession_tracked ORDER BY 1;
RESET ROLE;
-- … and by SET SESSION AUTHORIZATION
SET SESSION AUTHORIZATION regress_bs_evil;
SELECT outcome FROM bsession_end('stagehand', 'whose-3');
SELECT tracked_by FROM bsession_track('stagehand', 'whose-3', interval '1 hour');
RESET SESSION AUTHORIZATION;
SELECT session_id, outcome, actor FROM bsession_audit WHERE session_id LIKE 'whose%' ORDER BY id;
-- Who bypasses row security sees all, and acts on none of it by the functions
CREATE ROLE regress_bs_bypass BYPASSRLS;
SET ROLE regress_bs_bypass;
SELECT count(*) > 1 AS sees FROM bsession_tracked;
SELECT bsession_untrack('stagehand', 'victim-1'), bsession_expire('stagehand', 'victim-1'),
	(SELECT count(*) FROM bsession_end_expired()) AS swept;
RESET ROLE;

-- Roles are names: one that is renamed leaves its rows behind, for whoever gets
-- its name, until the owner changes that
CREATE ROLE regress_bs_named;
GRANT USAGE ON FOREIGN SERVER stagehand TO regress_bs_named;
SET ROLE regress_bs_named;
SELECT count(*) FROM bsession_track('stagehand', 'named-1', interval '1 hour');
RESET ROLE;
ALTER ROLE regress_bs_named RENAME TO regress_bs_renamed;
SET ROLE regress_bs_renamed;
SELECT session_id FROM bsession_tracked;
RESET ROLE;
CREATE ROLE regress_bs_named;
SET ROLE regress_bs_named;
SELECT session_id FROM bsession_tracked;
RESET ROLE;
UPDATE bsession_tracked SET tracked_by = 'regress_bs_renamed' WHERE tracked_by = 'regress_bs_named';
SET ROLE regress_bs_renamed;
SELECT session_id FROM bsession_tracked;
RESET ROLE;

-- SQL in ids, metadata and names is text
CREATE SERVER "s'); DROP TABLE bsession_tracked; --" FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'stagehand', base_url :'base');
CREATE USER MAPPING FOR PUBLIC SERVER "s'); DROP TABLE bsession_tracked; --" OPTIONS (api_key 'sim-key');
SELECT session_id, metadata FROM bsession_track('s''); DROP TABLE bsession_tracked; --', ''');DROP"TABLE$1@bsession_tracked;--', interval '1 hour', '{"'');--": "$1 @ \u0027"}');
SELECT outcome FROM bsession_end('s''); DROP TABLE bsession_tracked; --', ''');DROP"TABLE$1@bsession_tracked;--');
SELECT bsession_extend('s''); DROP TABLE bsession_tracked; --', 'x''y', '1 hour');
SELECT provider, session_id, state FROM bsession_tracked WHERE provider <> 'stagehand';
SELECT provider, session_id, outcome FROM bsession_audit WHERE provider <> 'stagehand';

-- Code of the tables' owner: if that is no superuser, what he puts into an
-- index runs as him, whoever calls, and can leave nothing behind that would run
-- as somebody else when the transaction commits
CREATE ROLE regress_bs_owner;
GRANT CREATE, USAGE ON SCHEMA regress_bs, regress_bs_mine TO regress_bs_owner;
ALTER TABLE bsession_audit OWNER TO regress_bs_owner;
-- Fails: the owner of one table only
SELECT outcome FROM bsession_end('stagehand', 'owned-1');
ALTER TABLE bsession_tracked OWNER TO regress_bs_owner;
ALTER TABLE bsession_home OWNER TO regress_bs_owner;
ALTER SEQUENCE bsession_audit_id_seq OWNER TO regress_bs_owner;
SET ROLE regress_bs_owner;
CREATE TABLE regress_bs_mine.late (who text);
CREATE FUNCTION regress_bs_mine.who() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE WARNING 'late code runs as %', CURRENT_USER; RETURN NULL; END$$;
CREATE CONSTRAINT TRIGGER who AFTER INSERT ON regress_bs_mine.late DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION regress_bs_mine.who();
CREATE FUNCTION regress_bs_mine.note(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
$$BEGIN RAISE WARNING 'an index runs as %', CURRENT_USER; RETURN $1; END$$;
CREATE FUNCTION regress_bs_mine.leave() RETURNS void LANGUAGE sql AS 'INSERT INTO regress_bs_mine.late VALUES (CURRENT_USER)';
CREATE FUNCTION regress_bs_mine.leave(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
$$BEGIN PERFORM regress_bs_mine.leave(); RETURN $1; END$$;
CREATE INDEX noted ON bsession_audit (regress_bs_mine.note(session_id)) WHERE session_id = 'owned-1';
RESET ROLE;
SELECT outcome FROM bsession_end('stagehand', 'owned-1');
SET ROLE regress_bs_owner;
CREATE INDEX left_behind ON bsession_audit (regress_bs_mine.leave(session_id)) WHERE session_id = 'owned-2';
RESET ROLE;
-- Fails: it would leave something behind
\set VERBOSITY sqlstate
SELECT outcome FROM bsession_end('stagehand', 'owned-2');
\set VERBOSITY default
SELECT * FROM regress_bs_mine.late;
-- Fails: code that ends sessions while others are being ended or recorded
GRANT USAGE ON FOREIGN SERVER stagehand TO regress_bs_owner;
SET ROLE regress_bs_owner;
CREATE FUNCTION regress_bs_mine.nest(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
$$BEGIN PERFORM regress_bs.bsession_end('stagehand', 'nested'); RETURN $1; END$$;
CREATE FUNCTION regress_bs_mine.nest_many(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
$$BEGIN PERFORM regress_bs.bsession_end_many('stagehand', '{nested}'); RETURN $1; END$$;
CREATE FUNCTION regress_bs_mine.nest_sweep(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
$$BEGIN PERFORM regress_bs.bsession_end_expired(1); RETURN $1; END$$;
CREATE INDEX nested_end ON bsession_audit (regress_bs_mine.nest(session_id)) WHERE session_id = 'owned-3-1';
CREATE INDEX nested_many ON bsession_audit (regress_bs_mine.nest_many(session_id)) WHERE session_id = 'owned-4-1';
CREATE INDEX nested_sweep ON bsession_audit (regress_bs_mine.nest_sweep(session_id)) WHERE session_id = 'owned-5-1';
RESET ROLE;
\set SHOW_CONTEXT never
SELECT count(*) FROM bsession_end_many('stagehand', ARRAY(SELECT 'owned-3-' || n FROM generate_series(1, 400) n));
SELECT count(*) FROM bsession_end_many('stagehand', ARRAY(SELECT 'owned-4-' || n FROM generate_series(1, 400) n));
SELECT count(*) FROM bsession_end_many('stagehand', ARRAY(SELECT 'owned-5-' || n FROM generate_series(1, 400) n));
\set SHOW_CONTEXT errors
SELECT count(*) FROM bsession_audit WHERE session_id = 'nested';
-- … what a foreign key's table does when a row goes would be done as the owner
-- of the extension's tables
GRANT REFERENCES, SELECT ON bsession_tracked TO regress_bs_evil;
SET ROLE regress_bs_evil;
CREATE TABLE regress_bs_mine.follower (provider text, session_id text,
	FOREIGN KEY (provider, session_id) REFERENCES regress_bs.bsession_tracked ON DELETE CASCADE);
CREATE TRIGGER who AFTER DELETE ON regress_bs_mine.follower
	FOR EACH ROW EXECUTE FUNCTION regress_bs_mine.who();
SELECT count(*) FROM bsession_track('stagehand', 'followed', interval '1 hour');
SELECT count(*) FROM bsession_track('stagehand', 'followed-2', interval '1 hour');
INSERT INTO regress_bs_mine.follower VALUES ('stagehand', 'followed'), ('stagehand', 'followed-2');
-- Fails, whatever the key would do
SELECT bsession_untrack('stagehand', 'followed');
ALTER TABLE regress_bs_mine.follower DROP CONSTRAINT follower_provider_session_id_fkey,
	ADD CONSTRAINT follow FOREIGN KEY (provider, session_id) REFERENCES regress_bs.bsession_tracked ON DELETE SET NULL;
SELECT bsession_untrack('stagehand', 'followed');
ALTER TABLE regress_bs_mine.follower DROP CONSTRAINT follow,
	ADD CONSTRAINT follow FOREIGN KEY (provider, session_id) REFERENCES regress_bs.bsession_tracked ON DELETE SET DEFAULT;
SELECT bsession_untrack('stagehand', 'followed');
-- … while one's own DELETE runs it as oneself
ALTER TABLE regress_bs_mine.follower DROP CONSTRAINT follow,
	ADD CONSTRAINT follow FOREIGN KEY (provider, session_id) REFERENCES regress_bs.bsession_tracked ON DELETE CASCADE;
DELETE FROM bsession_tracked WHERE session_id = 'followed-2';
ALTER TABLE regress_bs_mine.follower DROP CONSTRAINT follow;
SELECT bsession_untrack('stagehand', 'followed');
SELECT count(*) FROM regress_bs_mine.follower;
-- … and where there is no code there is nothing to refuse
CREATE TABLE regress_bs_mine.plain (provider text, session_id text,
	FOREIGN KEY (provider, session_id) REFERENCES regress_bs.bsession_tracked ON DELETE CASCADE);
SELECT count(*) FROM bsession_track('stagehand', 'followed-3', interval '1 hour');
INSERT INTO regress_bs_mine.plain VALUES ('stagehand', 'followed-3');
CREATE RULE late AS ON DELETE TO regress_bs_mine.plain DO ALSO NOTIFY regress_bs;
SELECT bsession_untrack('stagehand', 'followed-3');
DROP RULE late ON regress_bs_mine.plain;
SELECT bsession_untrack('stagehand', 'followed-3');
SELECT count(*) FROM regress_bs_mine.plain;
RESET ROLE;

-- Fails: a function that is wrongly called safe ends sessions in a parallel
-- worker, where nothing of it would be in the audit
CREATE TABLE regress_bs_mine.id (id text);
INSERT INTO regress_bs_mine.id VALUES ('parallel-1'), ('parallel-2');
CREATE FUNCTION regress_bs_mine.safe(id text) RETURNS text LANGUAGE sql PARALLEL SAFE AS
$$SELECT outcome FROM bsession_end('stagehand', id)$$;
CREATE FUNCTION regress_bs_mine.safe_many(id text) RETURNS text LANGUAGE sql PARALLEL SAFE AS
$$SELECT outcome FROM bsession_end_many('stagehand', ARRAY[id])$$;
CREATE FUNCTION regress_bs_mine.safe_sweep(id text) RETURNS text LANGUAGE sql PARALLEL SAFE AS
$$SELECT outcome FROM bsession_end_expired(1)$$;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
\set SHOW_CONTEXT never
SELECT max(regress_bs_mine.safe(id)) FROM regress_bs_mine.id;
SELECT max(regress_bs_mine.safe_many(id)) FROM regress_bs_mine.id;
SELECT max(regress_bs_mine.safe_sweep(id)) FROM regress_bs_mine.id;
\set SHOW_CONTEXT errors
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
SELECT count(*) FROM bsession_audit WHERE session_id LIKE 'parallel-%';

SET client_min_messages = warning;
DROP SCHEMA regress_bs_mine CASCADE;
DROP EXTENSION browser_session CASCADE;
DROP SCHEMA regress_bs CASCADE;
DROP FUNCTION public.attempt, public.end_as_owner, public.track_as_owner, public.install_with;
DROP PROCEDURE public.call_all;
DROP TABLE public.way;
REVOKE ALL ON SCHEMA public FROM regress_bs_app;
DROP OWNED BY regress_bs_app, regress_bs_evil, regress_bs_owner, regress_bs_bypass,
	regress_bs_named, regress_bs_renamed;
DROP ROLE regress_bs_app, regress_bs_evil, regress_bs_owner, regress_bs_bypass,
	regress_bs_named, regress_bs_renamed;
