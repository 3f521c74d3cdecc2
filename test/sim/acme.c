/*
 * acme.c
 *
 * Acme, a made-up provider that no built-in one is like: PUT
 * /v2/browsers/{id}/terminate, 202, and 410 for what is gone.
 */
#include "dialect.h"

static void
acme_error(const Dialect *dialect, Request *request, unsigned int status,
		   const char *message)
{
	dialect_field(dialect, request, status, "error", message);
}

static void
acme_no_route(const Dialect *dialect, Request *request, unsigned int status)
{
	dialect_field(dialect, request, status, "error", "no such resource");
}

static void
answer_acme(const Dialect *dialect, Request *request)
{
	static const char *const phases[] = {"OPEN", "CLOSING", "CLOSED",
	"UNKNOWN"};
	unsigned int status;
	SessionState state;

	if (!dialect_admits(dialect, request))
		return;
	if (!request_is_method(request, request->route == 0 ? "PUT" : "GET"))
	{
		dialect->error(dialect, request, MHD_HTTP_METHOD_NOT_ALLOWED,
					   "method not allowed");
		return;
	}
	if (request->route == 1)
		status = dialect_read(request, MHD_HTTP_OK);
	else if (!request_type_is(request, "application/json") ||
			 !request_says(request, "reason", "leaked"))
	{
		dialect->error(dialect, request, MHD_HTTP_BAD_REQUEST,
					   "a reason is required");
		return;
	}
	else
		status = dialect_end(dialect, request, MHD_HTTP_ACCEPTED,
							 MHD_HTTP_GONE);
	state = session_state(dialect_session(request));
	if (state == SESSION_UNKNOWN)
		status = MHD_HTTP_GONE;
	if (status >= 300)
		dialect_refuse(dialect, request, status);
	else
		dialect_json(dialect, request, status,
					 json_pack("{s:{s:s}}", "state", "phase",
							   dialect_word(request, phases[state])));
}

const Dialect acme_dialect = {
	"acme", AUTH_BEARER, NULL, JSON_TYPE, 50,
	"bad token", "browser is gone",
	{"/v2/browsers/{id}/terminate", "/v2/browsers/{id}"},
	answer_acme, acme_error, acme_no_route
};
