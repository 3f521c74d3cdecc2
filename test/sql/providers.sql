--
-- The catalogue of built-in providers, as data
--
CREATE EXTENSION browser_session;
\x on
SELECT * FROM bsession_providers();
\x off

-- Each column but the first and the last is an option of a server: no error
DO $$
DECLARE
	options text;
BEGIN
	SELECT string_agg(format('%I %L', key, value), ', ') INTO options
	FROM bsession_providers() p, jsonb_each_text(to_jsonb(p))
	WHERE p.provider = 'browserbase'
	  AND key NOT IN ('provider', 'document') AND value IS NOT NULL;
	EXECUTE 'CREATE SERVER rebuilt FOREIGN DATA WRAPPER browser_session '
		'OPTIONS (provider ''custom'', ' || options || ')';
END
$$;

SET client_min_messages = warning;
DROP EXTENSION browser_session CASCADE;
