--
-- What the caller does wrong is an ERROR that names the next step, raised
-- before anything is sent
--
CREATE EXTENSION browser_session;
CREATE ROLE regress_bs_app;
CREATE SERVER closed FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'anchor', base_url 'http://127.0.0.1:1', retries '0');

-- Shows the SQLSTATE of an error, too
CREATE FUNCTION sqlstate_of(statement text) RETURNS text LANGUAGE plpgsql AS
$$
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END
$$;

-- Fails: no such server; the hint knows the built-in providers
SELECT bsession_end('browserbase', 's1');
SELECT bsession_end('no server', 's1');
SELECT sqlstate_of($$SELECT bsession_end('browserbase', 's1')$$);

-- Fails: a server of something else
CREATE FOREIGN DATA WRAPPER other;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER other;
SELECT bsession_end('elsewhere', 's1');
SELECT sqlstate_of($$SELECT bsession_end('elsewhere', 's1')$$);

-- Fails: no provider in name or options
CREATE SERVER mine FOREIGN DATA WRAPPER browser_session;
SELECT bsession_end('mine', 's1');
SELECT sqlstate_of($$SELECT bsession_end('mine', 's1')$$);

-- Fails: a server whose name makes it a custom one, not described
CREATE SERVER custom FOREIGN DATA WRAPPER browser_session;
SELECT bsession_end('custom', 's1');
SELECT sqlstate_of($$SELECT bsession_end('custom', 's1')$$);

-- Fails: no USAGE on the server
SET ROLE regress_bs_app;
SELECT bsession_end('closed', 's1');
SELECT sqlstate_of($$SELECT bsession_end('closed', 's1')$$);
SELECT sqlstate_of($$SELECT bsession_end_many('closed', '{s1}')$$);
RESET ROLE;

-- Fails: no credential
GRANT USAGE ON FOREIGN SERVER closed TO regress_bs_app;
SET ROLE regress_bs_app;
SELECT bsession_end('closed', 's1');
SELECT sqlstate_of($$SELECT bsession_end('closed', 's1')$$);
RESET ROLE;

-- Fails: not the credential that the provider wants
CREATE USER MAPPING FOR PUBLIC SERVER closed;
SET ROLE regress_bs_app;
SELECT bsession_end('closed', 's1');
SELECT sqlstate_of($$SELECT bsession_end('closed', 's1')$$);
RESET ROLE;
ALTER SERVER closed OPTIONS (ADD auth 'basic');
SELECT bsession_end('closed', 's1');
ALTER SERVER closed OPTIONS (SET auth 'none');
ALTER USER MAPPING FOR PUBLIC SERVER closed OPTIONS (ADD api_key 'k');
SELECT bsession_end('closed', 's1');
ALTER SERVER closed OPTIONS (DROP auth);

-- With USAGE and a credential: what the provider does is a row
SET ROLE regress_bs_app;
SELECT outcome, done, http_status, attempts, response
FROM bsession_end('closed', 's1');
RESET ROLE;

-- Fails: a file with the key that cannot be read, or is none
CREATE USER MAPPING FOR CURRENT_USER SERVER closed OPTIONS (
	api_key_file '/nonexistent/key');
SELECT bsession_end('closed', 's1');
ALTER USER MAPPING FOR CURRENT_USER SERVER closed OPTIONS (
	SET api_key_file '/dev/null');
SELECT bsession_end('closed', 's1');
DROP USER MAPPING FOR CURRENT_USER SERVER closed;

-- Fails: NULL
SELECT bsession_end(NULL, 's1');
SELECT bsession_end('closed', NULL);
SELECT bsession_end_many(NULL, '{s1}');
SELECT bsession_end_many('closed', NULL);
SELECT sqlstate_of($$SELECT bsession_end('closed', NULL)$$);
-- Fails: an array of arrays
SELECT bsession_end_many('closed', '{{a,b},{c,d}}');
SELECT sqlstate_of($$SELECT bsession_end_many('closed', '{{a,b},{c,d}}')$$);

-- Fails: a read-only transaction, in which an end could not be recorded
BEGIN READ ONLY;
SELECT bsession_end('closed', 's1');
ROLLBACK;
BEGIN READ ONLY;
SELECT bsession_end_many('closed', '{s1}');
ROLLBACK;

-- Fails: a transaction that would end when nobody is there to write the audit
BEGIN;
SELECT outcome FROM bsession_end('closed', 's1');
PREPARE TRANSACTION 'ended';

-- Fails: functions and types of another make than the library's
CREATE FUNCTION odd_end(text, text) RETURNS record LANGUAGE c AS '$libdir/browser_session', 'bsession_end';
SELECT * FROM odd_end('closed', 's1') AS r(outcome text);
CREATE FUNCTION odd_end_many(text, text[]) RETURNS SETOF record LANGUAGE c AS '$libdir/browser_session', 'bsession_end_many';
SELECT * FROM odd_end_many('closed', '{s1}') AS r(outcome text, done boolean);
SELECT sqlstate_of($$SELECT * FROM odd_end('closed', 's1') AS r(outcome text)$$);
CREATE TRIGGER odd AFTER INSERT ON bsession_tracked FOR EACH ROW EXECUTE FUNCTION bsession_check_tracked();
INSERT INTO bsession_tracked (provider, session_id) VALUES ('closed', 's1');
SELECT sqlstate_of($$INSERT INTO bsession_tracked (provider, session_id) VALUES ('closed', 's1')$$);
SELECT bsession_copy_row();

-- Fails: functions that somebody has kept without the extension
CREATE FUNCTION kept(text, text) RETURNS boolean LANGUAGE c AS '$libdir/browser_session', 'bsession_untrack';
SET client_min_messages = warning;
DROP EXTENSION browser_session CASCADE;
RESET client_min_messages;
SELECT kept('closed', 's1');
SELECT sqlstate_of($$SELECT kept('closed', 's1')$$);

SET client_min_messages = warning;
DROP FUNCTION sqlstate_of(text), odd_end(text, text), odd_end_many(text, text[]), kept(text, text);
DROP FOREIGN DATA WRAPPER other CASCADE;
DROP ROLE regress_bs_app;
