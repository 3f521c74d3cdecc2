--
-- Ending a session at each provider: once, and once more
--
CREATE EXTENSION browser_session;
SELECT current_setting('test.sim') AS sim \gset
\set base :sim '/stagehand'
CREATE SERVER stagehand FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base');
\set base :sim '/anchor'
CREATE SERVER anchor FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base');
\set base :sim '/browser_use'
CREATE SERVER browser_use FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base');
CREATE SERVER browser_use_browser FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base');
\set base :sim '/browserless'
CREATE SERVER browserless FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base');
\set base :sim '/browserbase'
CREATE SERVER browserbase FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base');
\set base :sim '/webdriver'
CREATE SERVER webdriver FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base');
\set base :sim '/grid'
CREATE SERVER grid FOREIGN DATA WRAPPER browser_session OPTIONS (provider 'webdriver', base_url :'base');
CREATE USER MAPPING FOR PUBLIC SERVER stagehand OPTIONS (api_key 'sim-key');
CREATE USER MAPPING FOR PUBLIC SERVER anchor OPTIONS (api_key 'sim-key');
CREATE USER MAPPING FOR PUBLIC SERVER browser_use OPTIONS (api_key 'sim-key');
CREATE USER MAPPING FOR PUBLIC SERVER browser_use_browser OPTIONS (api_key 'sim-key');
CREATE USER MAPPING FOR PUBLIC SERVER browserless OPTIONS (api_key 'sim-key');
CREATE USER MAPPING FOR PUBLIC SERVER browserbase OPTIONS (api_key 'sim-key');
CREATE USER MAPPING FOR PUBLIC SERVER grid OPTIONS (username 'sim', password 'sim-key');

-- A live session
SELECT r.provider, r.session_id, outcome, done, provider_status, http_status,
	attempts, elapsed > '0' AS took_time, ended_at IS NOT NULL AS has_time,
	error, response IS NOT NULL AS has_response
FROM unnest('{stagehand,anchor,browserless,browserbase,webdriver,grid}'::text[])
	WITH ORDINALITY AS p(name, n),
	LATERAL bsession_end(name, 'ends-1') AS r
ORDER BY n;

-- The same once more: chromedriver says the same of any session
SELECT r.provider, outcome, done, provider_status, http_status, attempts, error
FROM unnest('{stagehand,anchor,browserless,browserbase,webdriver,grid}'::text[])
	WITH ORDINALITY AS p(name, n),
	LATERAL bsession_end(name, 'ends-1') AS r
ORDER BY n;

-- One that never was
SELECT r.provider, outcome, done, http_status, error
FROM unnest('{stagehand,anchor,browserless,browserbase,webdriver,grid}'::text[])
	WITH ORDINALITY AS p(name, n),
	LATERAL bsession_end(name, 'unknown-1') AS r
ORDER BY n;

-- Browser Use has UUIDs, for agent sessions and for browsers
SELECT outcome, done, provider_status, http_status, error, response ->> 'totalCostUsd' AS cost
FROM bsession_end('browser_use', '3c90c3cc-0d44-4b50-8888-8dd25736052a');
SELECT outcome, done, provider_status, http_status, error, ended_at = (response ->> 'finishedAt')::timestamptz AS its_time
FROM bsession_end('browser_use_browser', '3c90c3cc-0d44-4b50-8888-8dd25736052b');
SELECT outcome, done, http_status, error
FROM bsession_end('browser_use', '00000000-0d44-4b50-8888-8dd25736052a');
-- What is no UUID is refused by the provider
SELECT outcome, done, http_status, error
FROM bsession_end('browser_use', 'no-uuid');

-- Browserless hands out a URL for stopping; the row has the bare id
\set stop :sim '/browserless/session/ends-2?token=sim-key'
SELECT session_id, outcome FROM bsession_end('browserless', :'stop');
-- A stop URL without a token gets the account's
\set stop :sim '/browserless/session/ends-3'
SELECT session_id, outcome FROM bsession_end('browserless', :'stop');

-- With the seed's own addition, too
\set stop :sim '/browserless/session/ends-8?token=sim-key&force=true'
SELECT session_id, outcome FROM bsession_end('browserless', :'stop');

-- Times and status come from the provider
SELECT provider_status, ended_at = (response ->> 'endedAt')::timestamptz AS its_time
FROM bsession_end('browserbase', 'ends-4');

-- A project
ALTER SERVER browserbase OPTIONS (ADD project_id 'project-1');
ALTER SERVER stagehand OPTIONS (ADD project_id 'project-1');
SELECT outcome FROM bsession_end('browserbase', 'ends-5');
SELECT outcome FROM bsession_end('stagehand', 'ends-5');

-- A wrong key
ALTER USER MAPPING FOR PUBLIC SERVER stagehand OPTIONS (SET api_key 'wrong-key');
ALTER USER MAPPING FOR PUBLIC SERVER anchor OPTIONS (SET api_key 'wrong-key');
ALTER USER MAPPING FOR PUBLIC SERVER browser_use OPTIONS (SET api_key 'wrong-key');
ALTER USER MAPPING FOR PUBLIC SERVER browserless OPTIONS (SET api_key 'wrong-key');
ALTER USER MAPPING FOR PUBLIC SERVER browserbase OPTIONS (SET api_key 'wrong-key');
ALTER USER MAPPING FOR PUBLIC SERVER grid OPTIONS (SET password 'wrong-key');
SELECT r.provider, outcome, done, http_status, error
FROM unnest('{stagehand,anchor,browserless,browserbase,grid}'::text[])
	WITH ORDINALITY AS p(name, n),
	LATERAL bsession_end(name, 'ends-6') AS r
ORDER BY n;

-- A key that is part of the word that replaces it
ALTER USER MAPPING FOR PUBLIC SERVER anchor OPTIONS (SET api_key 'e');
SELECT outcome, response FROM bsession_end('anchor', 'ends-7');

SET client_min_messages = warning;
DROP EXTENSION browser_session CASCADE;
