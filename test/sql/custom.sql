--
-- Providers described by options alone, and built-in ones overridden
--
CREATE EXTENSION browser_session;
SELECT current_setting('test.sim') AS sim \gset

-- Browserbase, rebuilt from its own row of the catalogue
\set base :sim '/browserbase'
CREATE SERVER rebuilt FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'custom', base_url :'base',
	auth 'header:X-BB-API-Key',
	end_method 'POST', end_path '/v1/sessions/{id}',
	end_body '{"status": "REQUEST_RELEASE"}',
	confirm_path '/v1/sessions/{id}',
	status_field 'status', live_status 'PENDING,RUNNING',
	ended_status 'COMPLETED', status_required 'true',
	ended_at_field 'endedAt');
CREATE USER MAPPING FOR PUBLIC SERVER rebuilt OPTIONS (api_key 'sim-key');
SELECT outcome, provider_status, ended_at = (response ->> 'endedAt')::timestamptz AS its_time
FROM bsession_end('rebuilt', 'custom-1');
SELECT outcome, http_status FROM bsession_end('rebuilt', 'unknown-1');

-- One that is in nobody's catalogue: PUT, a bearer's token, 202, a status two
-- levels down, 410 for a session that is gone
\set base :sim '/acme'
CREATE SERVER acme FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'custom', base_url :'base',
	auth 'bearer',
	end_method 'PUT', end_path '/v2/browsers/{id}/terminate',
	end_body '{"reason": "leaked"}',
	confirm_path '/v2/browsers/{id}',
	status_field 'state.phase', live_status 'OPEN, CLOSING',
	gone_status '410');
CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (api_key 'sim-key');
SELECT outcome, provider_status, http_status FROM bsession_end('acme', 'custom-2');
SELECT outcome, provider_status, http_status FROM bsession_end('acme', 'custom-2');
-- Without the read that confirms, it is not known to be over
ALTER SERVER acme OPTIONS (DROP confirm_path);
SELECT outcome, done, provider_status, http_status, error FROM bsession_end('acme', 'custom-3');

-- Words for one that was over for another reason; a word in no list proves
-- nothing where one is required
\set base :sim '/with:word=LOST/acme'
CREATE SERVER lost FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'custom', base_url :'base',
	end_method 'PUT', end_path '/v2/browsers/{id}/terminate',
	end_body '{"reason": "leaked"}',
	status_field 'state.phase', status_required 'true',
	live_status 'OPEN,CLOSING', ended_status 'CLOSED',
	terminal_status 'CRASHED, lost');
CREATE USER MAPPING FOR PUBLIC SERVER lost OPTIONS (api_key 'sim-key');
SELECT outcome, done, provider_status, error FROM bsession_end('lost', 'custom-8');
ALTER SERVER lost OPTIONS (DROP terminal_status);
SELECT outcome, done, provider_status, error FROM bsession_end('lost', 'custom-9');

-- A built-in provider that has moved
\set base :sim '/acme'
CREATE SERVER webdriver FOREIGN DATA WRAPPER browser_session OPTIONS (
	base_url :'base', auth 'bearer', end_method 'PUT',
	end_path '/v2/browsers/{id}/terminate', end_body '{"reason": "leaked"}',
	success_field 'state');
CREATE USER MAPPING FOR PUBLIC SERVER webdriver OPTIONS (api_key 'sim-key');
SELECT outcome, http_status FROM bsession_end('webdriver', 'custom-4');

-- A change of server or mapping counts from the next call on
ALTER USER MAPPING FOR PUBLIC SERVER webdriver OPTIONS (SET api_key 'wrong');
SELECT outcome, http_status FROM bsession_end('webdriver', 'custom-5');
ALTER USER MAPPING FOR PUBLIC SERVER webdriver OPTIONS (SET api_key 'sim-key');
SELECT outcome, http_status FROM bsession_end('webdriver', 'custom-5');
ALTER SERVER webdriver OPTIONS (SET end_path '/nowhere/{id}');
SELECT outcome, http_status FROM bsession_end('webdriver', 'custom-6');
-- A role's own mapping goes before PUBLIC's
CREATE USER MAPPING FOR CURRENT_USER SERVER rebuilt OPTIONS (api_key 'wrong');
SELECT outcome FROM bsession_end('rebuilt', 'custom-7');
DROP USER MAPPING FOR CURRENT_USER SERVER rebuilt;
SELECT outcome FROM bsession_end('rebuilt', 'custom-7');

SET client_min_messages = warning;
DROP EXTENSION browser_session CASCADE;
