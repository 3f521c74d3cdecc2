/* browser_session--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION browser_session" to load this file. \quit

----------------------------------------------------------------------
-- Types
----------------------------------------------------------------------

-- Public
CREATE TYPE bsession_result AS (
	provider		text,
	session_id		text,
	outcome			text,
	done			boolean,
	provider_status	text,
	http_status		integer,
	attempts		integer,
	elapsed			interval,
	ended_at		timestamp with time zone,
	error			text,
	response		jsonb
);

COMMENT ON TYPE bsession_result IS
'What became of a session: outcome is one of ended, already_ended, requested, denied, rejected, rate_limited, unavailable, timed_out, unreachable, bad_reply, unknown; done says whether it is known to be over';

----------------------------------------------------------------------
-- Accounts
----------------------------------------------------------------------

-- Private
CREATE FUNCTION bsession_validator(options text[], catalog oid)
RETURNS void
AS 'MODULE_PATHNAME', 'bsession_validator'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION bsession_validator(text[], oid) IS
'Validator of the foreign-data wrapper: refuses wrong options of servers and user mappings';

-- PostgreSQL itself calls the validator; nobody else needs to.
REVOKE EXECUTE ON FUNCTION bsession_validator(text[], oid) FROM PUBLIC;

-- Public
CREATE FOREIGN DATA WRAPPER browser_session
	NO HANDLER
	VALIDATOR bsession_validator;

COMMENT ON FOREIGN DATA WRAPPER browser_session IS
'Accounts at providers of remote browsers: a server is an account, a user mapping its credential';

----------------------------------------------------------------------
-- Functions
--
-- Everybody may call them: they do nothing without USAGE on a server, which
-- nobody has by default.
----------------------------------------------------------------------

-- Public
CREATE FUNCTION bsession_end(provider text, id text)
RETURNS bsession_result
AS 'MODULE_PATHNAME', 'bsession_end'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE COST 100000;

COMMENT ON FUNCTION bsession_end(text, text) IS
'Ends a session now and waits for the provider: provider is the name of a server, id the session''s id';

-- Public
CREATE FUNCTION bsession_end_many(provider text, ids text[])
RETURNS SETOF bsession_result
AS 'MODULE_PATHNAME', 'bsession_end_many'
LANGUAGE C VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE COST 100000 ROWS 100;

COMMENT ON FUNCTION bsession_end_many(text, text[]) IS
'Ends sessions concurrently and waits for the provider: a row for each id, in the order of the ids';

-- Public
CREATE FUNCTION bsession_providers(
	OUT provider text,
	OUT base_url text,
	OUT auth text,
	OUT end_method text,
	OUT end_path text,
	OUT end_body text,
	OUT confirm_path text,
	OUT project text,
	OUT reply text,
	OUT id_url text,
	OUT gone_status text,
	OUT gone_match text,
	OUT ambiguous_status text,
	OUT success_field text,
	OUT status_field text,
	OUT status_required text,
	OUT live_status text,
	OUT ended_status text,
	OUT terminal_status text,
	OUT ended_at_field text,
	OUT document text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'bsession_providers'
LANGUAGE C STABLE STRICT PARALLEL SAFE ROWS 10;

COMMENT ON FUNCTION bsession_providers() IS
'The built-in providers: each column but provider and document is an option of a server that overrides it';
