/*
 * browser_use.c
 *
 * Browser Use: POST /api/v3/sessions/{id}/stop for agent sessions, PATCH
 * /api/v3/browsers/{id} for browsers.  Ids are UUIDs, costs are strings.  That
 * stopping a stopped one shows it again is a guess; "endstatus" has others.
 */
#include <stdlib.h>
#include <string.h>

#include "dialect.h"
#include "text.h"

static void
detail_error(const Dialect *dialect, Request *request, unsigned int status,
			 const char *message)
{
	dialect_field(dialect, request, status, "detail", message);
}

static void
detail_no_route(const Dialect *dialect, Request *request, unsigned int status)
{
	dialect_field(dialect, request, status, "detail", "Not Found");
}

/* 422 {"detail": [{type, loc, msg, input}]} */
static void
detail_invalid(const Dialect *dialect, Request *request, const char *where,
			   const char *field, const char *text, const char *input)
{
	char	   *message = dialect_message(request, text);

	dialect_json(dialect, request, 422,
				 json_pack("{s:[{s:s, s:[s,s], s:o, s:o}]}", "detail",
						   "type", strcmp(where, "path") == 0 ?
						   "uuid_parsing" : "enum",
						   "loc", where, field,
						   "msg", text_json(message, strlen(message)),
						   "input", text_json(input, strlen(input))));
	free(message);
}

static json_t *
browser_use_session(Request *request, const char *word)
{
	Session    *session = dialect_session(request);
	char	   *created = text_time(session->created_at, NULL);
	char	   *updated = text_time(text_now(), NULL);
	json_t	   *json;

	json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:n, s:n, s:n, s:n, s:s,"
					 " s:n, s:i, s:i, s:s, s:s, s:s, s:s}",
					 "id", request->id, "status", dialect_word(request, word),
					 "model", "bu-mini", "createdAt", created,
					 "updatedAt", updated, "title", "output", "liveUrl",
					 "profileId", "proxyCountryCode", "us", "maxCostUsd",
					 "totalInputTokens", 0, "totalOutputTokens", 0,
					 "proxyUsedMb", "0", "llmCostUsd", "0.012",
					 "proxyCostUsd", "0", "totalCostUsd", "0.012");
	free(created);
	free(updated);
	return json;
}

static json_t *
browser_use_browser(Request *request, const char *word)
{
	Session    *session = dialect_session(request);
	bool		ended = session_state(session) == SESSION_ENDED;
	char	   *started = text_time(session->created_at, NULL);
	char	   *timeout = text_time(session->created_at +
									INT64_C(3600000000), NULL);
	char	   *finished = ended ? text_time(session->ended_at, NULL) : NULL;
	json_t	   *json;

	json = json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s?, s:s?, s:s, s:s, s:s}",
					 "id", request->id, "status", dialect_word(request, word),
					 "timeoutAt", timeout, "startedAt", started,
					 "finishedAt", finished,
					 "liveUrl", ended ? NULL : "https://live.invalid/",
					 "cdpUrl", ended ? NULL : "https://cdp.invalid/",
					 "browserCost", "0.02", "proxyCost", "0",
					 "proxyUsedMb", "0");
	free(started);
	free(timeout);
	free(finished);
	return json;
}

/* Returns whether the body of an end is in order; answers if it is not. */
static bool
browser_use_body(const Dialect *dialect, Request *request, bool browser)
{
	json_t	   *body;
	bool		right;

	if (browser)
		right = request_type_is(request, "application/json") &&
			request_says(request, "action", "stop");
	else if (request->length == 0)
		right = true;
	else
	{
		body = request_json(request);
		right = request_type_is(request, "application/json") &&
			json_is_object(body) &&
			(json_object_get(body, "strategy") == NULL ||
			 request_says(request, "strategy", "session") ||
			 request_says(request, "strategy", "task"));
		json_decref(body);
	}
	if (!right)
		detail_invalid(dialect, request, "body",
					   browser ? "action" : "strategy",
					   browser ? "Input should be 'stop'" :
					   "Input should be 'session' or 'task'", "");
	return right;
}

static void
answer_browser_use(const Dialect *dialect, Request *request)
{
	bool		browser = request->route == 2;
	bool		read = request->route != 0 &&
		request_is_method(request, "GET");
	Session    *session;
	unsigned int status;
	const char *word;

	if (!dialect_admits(dialect, request))
		return;
	if (!read && (request->route == 1 ||
				  !request_is_method(request, browser ? "PATCH" : "POST")))
		dialect->error(dialect, request, MHD_HTTP_METHOD_NOT_ALLOWED,
					   "Method Not Allowed");
	else if (!text_is_uuid(request->id))
		detail_invalid(dialect, request, "path", "session_id",
					   "Input should be a valid UUID", request->id);
	else if (read || browser_use_body(dialect, request, browser))
	{
		session = dialect_session(request);
		/* strategy "task" stops the task, and leaves the session open */
		if (read || (!browser && request_says(request, "strategy", "task")))
			status = dialect_read(request, MHD_HTTP_OK);
		else
			status = dialect_end(dialect, request, MHD_HTTP_OK,
								 session->exists ? MHD_HTTP_OK :
								 MHD_HTTP_NOT_FOUND);
		if (session_state(session) == SESSION_ENDED)
			word = "stopped";
		else
			word = browser ? "active" : read ? "running" : "idle";
		if (status >= 300)
			dialect_refuse(dialect, request, status);
		else
			dialect_json(dialect, request, status,
						 browser ? browser_use_browser(request, word) :
						 browser_use_session(request, word));
	}
}

const Dialect browser_use_dialect = {
	"browser_use", AUTH_HEADER, "X-Browser-Use-API-Key", JSON_TYPE, 0,
	"Invalid API key", "Session not found",
	{"/api/v3/sessions/{id}/stop", "/api/v3/sessions/{id}",
	"/api/v3/browsers/{id}"},
	answer_browser_use, detail_error, detail_no_route
};
