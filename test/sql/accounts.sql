--
-- Servers and user mappings: what is accepted, what is refused, and how the
-- refusal tells the next step
--
CREATE EXTENSION browser_session;

-- A built-in provider's name is enough
CREATE SERVER browserbase FOREIGN DATA WRAPPER browser_session;
-- A server of any name, with a provider
CREATE SERVER eu_stage FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'stagehand',
	base_url 'https://api.euc1.stagehand.browserbase.com',
	project_id 'prj_1', timeout '5s', retries '0', confirm_timeout '500',
	max_in_flight '10', max_rate '2.5', allow_insecure 'false');
-- Plain http to this machine
CREATE SERVER webdriver FOREIGN DATA WRAPPER browser_session OPTIONS (
	base_url 'http://[::1]:9515');
ALTER SERVER webdriver OPTIONS (SET base_url 'http://127.1.2.3:9515/wd/hub/');
ALTER SERVER webdriver OPTIONS (SET base_url 'http://localhost:4444');
-- Plain http to another one, if it is said to be all right
CREATE SERVER grid FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'webdriver', base_url 'http://grid.example:4444',
	allow_insecure 'true');

-- Fails: no such option
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	base_uri 'https://api.example');
-- Fails: everybody can read a server's options
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	api_key 'secret');
-- Fails: no such provider
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'netscape');
-- Fails: plain http
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	base_url 'http://api.example');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	base_url 'http://127.0.0.1.example');
-- Fails: not a base URL
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	base_url 'ftp://api.example');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	base_url 'api.example');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	base_url 'https://api.example/?a=b');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	base_url 'https://api.example/#here');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	base_url 'https://api.example/#');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	base_url 'https://api.example /');
-- Fails: a credential in the URL, which the message does not repeat
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	base_url 'https://me:secret@api.example');
-- Fails: a URL may hold a secret elsewhere, too
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	base_url 'ftp://secret@api.example');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	base_url 'http://api.example/secret/');
-- Fails: what cannot be printed is not repeated
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider E'any\nLOG:  forged');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	end_path E'/x\nLOG:  forged');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	status_field E'x\nLOG:  forged');
-- Fails: values out of range
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (timeout '0');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (retries '-1');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (retries 'x');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	confirm_timeout '11min');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	max_in_flight '0');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (max_rate '0');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	max_rate 'NaN');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	allow_insecure 'perhaps');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	project_id E'a\r\nx-evil: 1');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	ca_file 'relative.pem');
-- Fails: fields of the descriptor
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	auth 'header:bad name');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	auth 'cookie');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	end_method 'DESTROY');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	end_path 'sessions/{id}');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	end_path '/a b/{id}');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	end_body 'stop');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	gone_status '4xx');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	project 'cookie:x');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	reply 'xml');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	status_required 'yes');
-- Fails: a custom provider that is not completely described
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'custom');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'custom', base_url 'https://api.example');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'custom', base_url 'https://api.example', end_path '/all');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'custom', base_url 'https://api.example', end_path '/s/{id}',
	ambiguous_status '401');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'custom', base_url 'https://api.example', end_path '/s/{id}',
	status_required 'true');
CREATE SERVER bad FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'custom', base_url 'https://api.example', end_path '/s/{id}',
	confirm_path '/s');
-- Fails: the wrapper itself has no options
ALTER FOREIGN DATA WRAPPER browser_session OPTIONS (timeout '1');

-- User mappings
CREATE USER MAPPING FOR PUBLIC SERVER browserbase OPTIONS (api_key 'k-1');
CREATE USER MAPPING FOR PUBLIC SERVER grid OPTIONS (
	username 'me', password 'p w: "ü"');
CREATE USER MAPPING FOR PUBLIC SERVER eu_stage OPTIONS (
	api_key_file '/nowhere/key');
-- Fails: no such option
CREATE USER MAPPING FOR CURRENT_USER SERVER browserbase OPTIONS (
	token 'secret');
-- Fails: options that do not fit together
CREATE USER MAPPING FOR CURRENT_USER SERVER browserbase OPTIONS (
	api_key 'secret', username 'me', password 'secret');
CREATE USER MAPPING FOR CURRENT_USER SERVER browserbase OPTIONS (
	username 'me');
-- Fails, and does not repeat the secret
CREATE USER MAPPING FOR CURRENT_USER SERVER browserbase OPTIONS (
	api_key E'secret\r\nx-evil: 1');
CREATE USER MAPPING FOR CURRENT_USER SERVER browserbase OPTIONS (api_key '');
CREATE USER MAPPING FOR CURRENT_USER SERVER browserbase OPTIONS (
	username 'a:b', password 'secret');
CREATE USER MAPPING FOR CURRENT_USER SERVER browserbase OPTIONS (
	username 'me', password E'secret\x01');
CREATE USER MAPPING FOR CURRENT_USER SERVER browserbase OPTIONS (
	username 'me', password '');
CREATE USER MAPPING FOR CURRENT_USER SERVER browserbase OPTIONS (
	api_key_file 'relative');

-- Fails: only a superuser can make the server read files
CREATE ROLE regress_bs_owner;
GRANT USAGE ON FOREIGN DATA WRAPPER browser_session TO regress_bs_owner;
SET ROLE regress_bs_owner;
CREATE SERVER owned FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'anchor', ca_file '/etc/passwd');
CREATE SERVER owned FOREIGN DATA WRAPPER browser_session OPTIONS (
	provider 'anchor');
CREATE USER MAPPING FOR CURRENT_USER SERVER owned OPTIONS (
	api_key_file '/etc/passwd');
RESET ROLE;

SET client_min_messages = warning;
DROP EXTENSION browser_session CASCADE;
DROP ROLE regress_bs_owner;
