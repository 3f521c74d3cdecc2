/*
 * browserbase.c
 *
 * Browserbase: POST /v1/sessions/{id} accepts a request for release, the end
 * comes later.  That releasing a completed session shows it again is a guess;
 * "endstatus" has the other replies.
 */
#include <stdlib.h>
#include <string.h>

#include "dialect.h"
#include "text.h"

static void
browserbase_error(const Dialect *dialect, Request *request,
				  unsigned int status, const char *message)
{
	char	   *text = dialect_message(request, message);

	dialect_json(dialect, request, status,
				 json_pack("{s:i, s:o}", "code", (int) status,
						   "message", text_json(text, strlen(text))));
	free(text);
}

static json_t *
browserbase_session(Request *request)
{
	Session    *session = dialect_session(request);
	bool		ended = session_state(session) == SESSION_ENDED;
	json_t	   *body = request_json(request);
	const char *project = json_string_value(json_object_get(body,
															"projectId"));
	char	   *created = text_time(session->created_at, NULL);
	char	   *updated = text_time(text_now(), NULL);
	char	   *expires = text_time(session->created_at +
									INT64_C(3600000000), NULL);
	json_t	   *json;

	json = json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:b, s:s,"
					 " s:{}}", "id",
					 text_json(request->id, strlen(request->id)),
					 "createdAt", created, "updatedAt", updated,
					 "projectId", project != NULL ? project : "project-sim",
					 "startedAt", created, "expiresAt", expires,
					 "status", dialect_word(request, ended ? "COMPLETED" :
											"RUNNING"),
					 "proxyBytes", 0, "keepAlive", 1, "region", "us-west-2",
					 "userMetadata");
	if (ended)
	{
		char	   *at = text_time(session->ended_at, NULL);

		json_object_set_new(json, "endedAt", json_string(at));
		free(at);
	}
	free(created);
	free(updated);
	free(expires);
	json_decref(body);
	return json;
}

static void
answer_browserbase(const Dialect *dialect, Request *request)
{
	unsigned int status;

	if (!dialect_admits(dialect, request))
		return;
	if (request_is_method(request, "GET"))
		status = dialect_read(request, MHD_HTTP_OK);
	else if (!request_is_method(request, "POST"))
	{
		dialect->error(dialect, request, MHD_HTTP_METHOD_NOT_ALLOWED,
					   "Method not allowed");
		return;
	}
	else if (!request_type_is(request, "application/json"))
	{
		dialect->error(dialect, request, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE,
					   "Unsupported Media Type");
		return;
	}
	else if (!request_says(request, "status", "REQUEST_RELEASE"))
	{
		dialect->error(dialect, request, MHD_HTTP_BAD_REQUEST,
					   "body/status must be REQUEST_RELEASE");
		return;
	}
	else
		status = dialect_end(dialect, request, MHD_HTTP_OK,
							 dialect_session(request)->exists ? MHD_HTTP_OK :
							 MHD_HTTP_NOT_FOUND);
	if (status >= 300)
		dialect_refuse(dialect, request, status);
	else
		dialect_json(dialect, request, status, browserbase_session(request));
}

/*
 * 50 ms are long enough for the reply to say that the session runs, short
 * enough for the first look after it.
 */
const Dialect browserbase_dialect = {
	"browserbase", AUTH_HEADER, "X-BB-API-Key", JSON_UTF8, 50,
	"Unauthorized", "Session not found",
	{"/v1/sessions/{id}"},
	answer_browserbase, browserbase_error, dialect_fastify_404
};
