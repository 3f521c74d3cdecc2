/*
 * anchor.c
 *
 * Anchor: DELETE /v1/sessions/{id}.  A session that is not there is the same
 * 401 as a wrong key; a read tells them apart.  What ending an ended session
 * gives is not documented: "endstatus" has the other replies.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dialect.h"
#include "journal.h"
#include "text.h"

static void
anchor_error(const Dialect *dialect, Request *request, unsigned int status,
			 const char *message)
{
	char	   *text = dialect_message(request, message);

	dialect_json(dialect, request, status,
				 json_pack("{s:{s:i, s:o}}", "error", "code", (int) status,
						   "message", text_json(text, strlen(text))));
	free(text);
}

static json_t *
anchor_session(Request *request)
{
	Session    *session = dialect_session(request);
	bool		ended = session_state(session) == SESSION_ENDED;
	int64_t		until = ended ? session->ended_at : text_now();
	char	   *created = text_time(session->created_at, NULL);
	json_t	   *json;

	json = json_pack("{s:{s:o, s:s, s:I, s:s, s:i, s:{}, s:b, s:i, s:i, s:i,"
					 " s:[], s:s}}", "data", "session_id",
					 text_json(request->id, strlen(request->id)),
					 "team_id", "team-sim",
					 "duration",
					 (json_int_t) (until - session->created_at) / 1000000,
					 "status", dialect_word(request, ended ? "completed" :
											"running"),
					 "credits_used", 1, "configuration", "playground", 0,
					 "proxy_bytes", 0, "tokens", 0, "steps", 0, "tags",
					 "created_at", created);
	free(created);
	return json;
}

/* An id of "all" is not an id: it ends every session of the team. */
static bool
anchor_ends_all(const Dialect *dialect, Request *request)
{
	if (strcasecmp(request->id, "all") != 0 ||
		!request_is_method(request, "DELETE"))
		return false;
	journal_catastrophe();
	session_end_all(request->with, request->dialect);
	dialect_json(dialect, request, MHD_HTTP_OK,
				 json_pack("{s:{s:s}}", "data", "status",
						   "all sessions ended"));
	return true;
}

static void
answer_anchor(const Dialect *dialect, Request *request)
{
	unsigned int status;

	if (!dialect_admits(dialect, request) ||
		anchor_ends_all(dialect, request))
		return;
	if (request_is_method(request, "GET"))
	{
		status = dialect_read(request, MHD_HTTP_OK);
		if (status < 300)
		{
			dialect_json(dialect, request, status, anchor_session(request));
			return;
		}
	}
	else if (request_is_method(request, "DELETE"))
	{
		status = dialect_end(dialect, request, MHD_HTTP_OK,
							 MHD_HTTP_UNAUTHORIZED);
		if (status < 300)
		{
			dialect_json(dialect, request, status,
						 json_pack("{s:{s:s}}", "data", "status",
								   dialect_word(request, "completed")));
			return;
		}
	}
	else
	{
		dialect->no_route(dialect, request, MHD_HTTP_NOT_FOUND);
		return;
	}
	dialect_refuse(dialect, request, status);
}

const Dialect anchor_dialect = {
	"anchor", AUTH_HEADER, "anchor-api-key", JSON_TYPE, 0,
	"Invalid API Key or browser session ID", "Session not found",
	{"/v1/sessions/{id}"},
	answer_anchor, anchor_error, dialect_express_404
};
