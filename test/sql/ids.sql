--
-- Hostile ids: refused, or one percent-encoded segment of the path
--
CREATE EXTENSION browser_session;
SELECT current_setting('test.sim') AS sim \gset
\set base :sim '/anchor'
CREATE SERVER anchor FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base');
CREATE USER MAPPING FOR PUBLIC SERVER anchor OPTIONS (api_key 'sim-key');
\set base :sim '/browserless'
CREATE SERVER browserless FOREIGN DATA WRAPPER browser_session OPTIONS (base_url :'base');
CREATE USER MAPPING FOR PUBLIC SERVER browserless OPTIONS (api_key 'sim-key');

-- Fails: the session id of everybody, of nobody, and of a directory
SELECT bsession_end('anchor', 'all');
SELECT bsession_end('anchor', 'ALL');
SELECT bsession_end('anchor', 'Release');
SELECT bsession_end('anchor', '');
SELECT bsession_end('anchor', '.');
SELECT bsession_end('anchor', '..');
-- Fails: more than a segment
SELECT bsession_end('anchor', 'a/b');
SELECT bsession_end('anchor', 'a?b');
SELECT bsession_end('anchor', 'a#b');
SELECT bsession_end('anchor', '%2f');
SELECT bsession_end('anchor', '..%2fall');
SELECT bsession_end('anchor', 'a\b');
-- Fails: white space and control characters
SELECT bsession_end('anchor', ' all');
SELECT bsession_end('anchor', E'a\r\nx-evil: 1');
SELECT bsession_end('anchor', E'a\tb');
SELECT bsession_end('anchor', E'a\x7f');
-- Fails: too long
SELECT bsession_end('anchor', repeat('x', 5000));
SELECT outcome FROM bsession_end('anchor', repeat('x', 512));

-- Other scripts, and what means something in a URL elsewhere: the simulator
-- answers only if the id arrives as one segment
SELECT session_id, outcome FROM bsession_end_many('anchor', ARRAY[
	'сессия', '会話', '😀', 'a;b', 'a&b=c', 'a+b', 'a:b@c', '"quoted"',
	'a''b', '{id}', '$(id)', '*', '...', 'all.', 'all%']);

-- In bsession_end_many() a refused id is a row, and keeps nobody waiting
SELECT session_id, outcome, done, attempts, error FROM bsession_end_many('anchor', ARRAY[
	'many-1', 'all', '', NULL, 'many-2', '../all', 'many-3']);

-- Stop URLs: only to the server's own host, and only to a session's path
SELECT bsession_end('browserless', 'https://evil.example/session/x?token=secret');
SELECT bsession_end('browserless', 'http://127.0.0.1:1/session/x?token=secret');
SELECT bsession_end('browserless', 'http://127.0.0.1@evil.example/session/x?token=secret');
\set stop :sim '/browserless/session/all?token=secret'
SELECT bsession_end('browserless', :'stop');
\set stop :sim '/browserless/kill/x?token=secret'
SELECT bsession_end('browserless', :'stop');
\set stop :sim '/browserless/session/x/../y?token=secret'
SELECT bsession_end('browserless', :'stop');
\set stop :sim '/browserless/session/x?token=secret#y'
SELECT bsession_end('browserless', :'stop');
\set stop :sim '/anchor/v1/sessions/x?token=secret'
SELECT bsession_end('browserless', :'stop');
-- Fails: no other provider takes a URL for an id
\set stop :sim '/anchor/v1/sessions/x'
SELECT bsession_end('anchor', :'stop');
\set stop :sim '/browserless/session/x#'
SELECT bsession_end('browserless', :'stop');
-- As rows: what is refused is not repeated, there may be a token in it
SELECT session_id, outcome, error FROM bsession_end_many('browserless', ARRAY[
	'https://evil.example/session/x?token=secret',
	'evil.example/session/x?token=secret', 'sim-key/', 'all']);

SET client_min_messages = warning;
DROP EXTENSION browser_session CASCADE;
