--
-- Where the servers of those who are no superusers may connect to: not to
-- loopback, link-local and metadata addresses, unless a superuser allows it
--
CREATE EXTENSION browser_session;
SELECT current_setting('test.sim') || '/anchor' AS base_url \gset
CREATE ROLE regress_bs_tenant;
CREATE ROLE regress_bs_boss SUPERUSER;
GRANT USAGE ON FOREIGN DATA WRAPPER browser_session TO regress_bs_tenant, regress_bs_boss;

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

--
-- What is refused when a server is created: hosts that are addresses, however
-- they are written
--
SET ROLE regress_bs_tenant;
-- Fails: loopback
CREATE SERVER s FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'anchor', base_url 'http://127.0.0.1:8080');
-- Fails: the provider's own address is one
CREATE SERVER s FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'webdriver');
SELECT host, sqlstate_of(format($$
	CREATE SERVER s FOREIGN DATA WRAPPER browser_session OPTIONS (
		provider 'anchor', allow_insecure 'true', base_url %L)$$,
	'http://' || host || ':8080/path'))
FROM unnest(ARRAY['localhost', 'LocalHost', '127.1', '0x7f.1', '0177.0.0.1',
	'2130706433', '127.254.254.254', '0', '0.0.0.0', '169.254.169.254',
	'0xA9FEA9FE', '100.100.100.200', '224.0.0.1', '255.255.255.255', '[::1]',
	'[::]', '[0:0:0:0:0:0:0:1]', '[fe80::1]', '[fe80::1%25lo]',
	'[::ffff:127.0.0.1]', '[::ffff:a9fe:a9fe]', '[::127.0.0.1]',
	'[64:ff9b::7f00:1]', '[2002:7f00:1::1]', '[fd00:ec2::254]', '[ff02::1]'])
	AS host;
-- Fails: nor can the host be changed to one
CREATE SERVER s FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'anchor', base_url 'https://10.0.0.1');
ALTER SERVER s OPTIONS (SET base_url 'https://169.254.169.254');
-- Private networks are allowed; and what a name resolves to is seen later
ALTER SERVER s OPTIONS (SET base_url 'https://192.168.0.1');
ALTER SERVER s OPTIONS (SET base_url 'https://[fd12:3456::1]:8443/grid');
ALTER SERVER s OPTIONS (SET base_url 'https://metadata.google.internal');
DROP SERVER s;

-- Fails: these never name a host, for whomever
RESET ROLE;
SELECT host, sqlstate_of(format($$
	CREATE SERVER s FOREIGN DATA WRAPPER browser_session OPTIONS (
		provider 'anchor', allow_insecure 'true', base_url %L)$$,
	'http://' || host))
FROM unnest(ARRAY['user@127.0.0.1', 'api.example:80@127.0.0.1', '127。0。0。1',
	'①②⑦.0.0.1', E'127.0.0.1\\@api.example', '127.0.0.1#@api.example',
	'127.0.0.1?@api.example', ' 127.0.0.1', '[::1', '']) AS host;

--
-- What is refused when a session is ended.  A superuser can make the server,
-- but what counts is who owns it
--
CREATE SERVER s FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'anchor', base_url :'base_url');
CREATE USER MAPPING FOR PUBLIC SERVER s OPTIONS (api_key 'sim-key');
GRANT USAGE ON FOREIGN SERVER s TO regress_bs_tenant;
SET ROLE regress_bs_tenant;
-- A superuser's server connects for whoever may use it
SELECT outcome, attempts, error FROM bsession_end('s', 's-1');
RESET ROLE;
ALTER SERVER s OWNER TO regress_bs_tenant;
-- … and that of another does not, not even for a superuser; once is enough
SELECT outcome, done, attempts, http_status, error FROM bsession_end('s', 's-2');
SELECT session_id, outcome FROM bsession_end_many('s', ARRAY['s-3', 's-4']);
ALTER SERVER s OWNER TO regress_bs_boss;
SELECT outcome FROM bsession_end('s', 's-5');
-- Neither does that of one who was a superuser
ALTER ROLE regress_bs_boss NOSUPERUSER;
SELECT outcome FROM bsession_end('s', 's-6');
ALTER ROLE regress_bs_boss SUPERUSER;
SELECT outcome FROM bsession_end('s', 's-7');
ALTER SERVER s OWNER TO regress_bs_tenant;

-- The name of a server says where it connects to, too
SET ROLE regress_bs_tenant;
CREATE SERVER webdriver FOREIGN DATA WRAPPER browser_session;
SELECT outcome, attempts, error FROM bsession_end('webdriver', 'w-1');
DROP SERVER webdriver;

--
-- allow_local
--
-- Fails: for superusers
ALTER SERVER s OPTIONS (ADD allow_local 'true');
SELECT sqlstate_of($$ALTER SERVER s OPTIONS (ADD allow_local 'true')$$);
RESET ROLE;
-- Fails: a boolean
ALTER SERVER s OPTIONS (ADD allow_local 'perhaps');
ALTER SERVER s OPTIONS (ADD allow_local 'true');
SET ROLE regress_bs_tenant;
SELECT outcome FROM bsession_end('s', 's-8');
-- Fails: it was set for the host that was there
ALTER SERVER s OPTIONS (SET base_url 'http://169.254.169.254', ADD allow_insecure 'true');
SELECT sqlstate_of($$ALTER SERVER s OPTIONS (SET base_url 'https://api.example')$$);
SELECT sqlstate_of($$ALTER SERVER s OPTIONS (DROP base_url)$$);
SELECT sqlstate_of($$ALTER SERVER s OPTIONS (SET provider 'webdriver')$$);
SELECT sqlstate_of($$ALTER SERVER s OPTIONS (ADD timeout '5s')$$);
SELECT outcome FROM bsession_end('s', 's-9');
-- The owner may do without it, together with the host it was set for
SELECT sqlstate_of($$ALTER SERVER s OPTIONS (DROP allow_local)$$);
ALTER SERVER s OPTIONS (DROP allow_local, SET base_url 'https://10.0.0.1');
RESET ROLE;
ALTER SERVER s OPTIONS (ADD allow_local 'false', SET base_url :'base_url');
SELECT outcome FROM bsession_end('s', 's-10');
-- Fails: not with it, either
SET ROLE regress_bs_tenant;
SELECT sqlstate_of($$ALTER SERVER s OPTIONS (SET allow_local 'true')$$);
RESET ROLE;

-- What never reached the provider is in the audit all the same
SELECT session_id, outcome, attempt FROM bsession_audit ORDER BY id;

SET client_min_messages = warning;
DROP EXTENSION browser_session CASCADE;
DROP FUNCTION sqlstate_of;
DROP ROLE regress_bs_tenant, regress_bs_boss;
