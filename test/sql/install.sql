--
-- What CREATE EXTENSION makes, and for whom
--
CREATE SCHEMA elsewhere;
CREATE EXTENSION browser_session SCHEMA elsewhere;

-- The extension's own objects; an array type comes with its element's, a row
-- type with its table or view
CREATE VIEW member AS
SELECT classid, objid, objsubid,
	pg_describe_object(classid, objid, objsubid) AS object
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass
  AND refobjid = (SELECT oid FROM pg_extension
				  WHERE extname = 'browser_session')
  AND deptype = 'e'
  AND NOT (classid = 'pg_type'::regclass
		   AND EXISTS (SELECT FROM pg_type t
					   LEFT JOIN pg_class c ON c.oid = t.typrelid
					   WHERE t.oid = objid
					   AND (t.typcategory = 'A' OR c.relkind IN ('r', 'v'))));

-- Everything is in the schema of choice
SELECT object FROM member ORDER BY 1;

-- Fails: the functions look for the type where it was made
ALTER EXTENSION browser_session SET SCHEMA public;

-- Each object has a comment: no rows
SELECT object AS without_comment FROM member
WHERE obj_description(objid, classid::regclass::name) IS NULL;

-- How the functions are declared
SELECT proname, provolatile, proparallel, proisstrict, procost >= 100000 AS
	expensive, prosecdef,
	has_function_privilege('pg_signal_backend', oid, 'EXECUTE') AS for_everybody
FROM pg_proc
WHERE pronamespace = 'elsewhere'::regnamespace
ORDER BY proname;

-- Nobody but its owner can make servers
SELECT has_foreign_data_wrapper_privilege('pg_signal_backend', 'browser_session',
										  'USAGE');

-- Works whatever the search path is
SET search_path = pg_catalog;
SELECT count(*) > 0 AS found FROM elsewhere.bsession_providers();
RESET search_path;

-- Settings, their units and who can set them
LOAD 'browser_session';
SELECT name, setting, unit, context FROM pg_settings
WHERE name LIKE 'browser_session.%' ORDER BY name;
SET browser_session.request_timeout = '3s';
SHOW browser_session.request_timeout;
-- Fails: out of range
SET browser_session.max_in_flight = 0;
-- Fails: no such setting, the prefix is reserved
SET browser_session.no_such_setting = 1;

DROP VIEW member;
DROP EXTENSION browser_session;
DROP SCHEMA elsewhere;
