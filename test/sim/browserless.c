/*
 * browserless.c
 *
 * Browserless: DELETE /session/{id}?token=…&force=true.  The key is in the
 * query, and nothing is JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "dialect.h"
#include "text.h"

static void
browserless_error(const Dialect *dialect, Request *request,
				  unsigned int status, const char *message)
{
	char	   *text = dialect_message(request, message);

	(void) dialect;
	reply_text(&request->reply, status, TEXT_TYPE, text_format("%s\n", text));
	free(text);
}

static void
browserless_no_route(const Dialect *dialect, Request *request,
					 unsigned int status)
{
	browserless_error(dialect, request, status,
					  "No matching HTTP route handler for this path");
}

static void
answer_browserless(const Dialect *dialect, Request *request)
{
	char	   *force = text_query(request->query, "force");
	bool		forced = force != NULL && strcmp(force, "true") == 0;
	SessionState state;
	unsigned int status;

	free(force);
	if (!dialect_admits(dialect, request))
		return;
	if (!request_is_method(request, "DELETE"))
	{
		dialect->no_route(dialect, request, MHD_HTTP_NOT_FOUND);
		return;
	}
	state = session_state(dialect_session(request));
	if (!forced && (state == SESSION_LIVE || state == SESSION_RELEASING))
	{
		dialect->error(dialect, request, MHD_HTTP_CONFLICT,
					   "Session has an active connection, use force=true");
		return;
	}
	status = dialect_end(dialect, request, MHD_HTTP_OK, MHD_HTTP_NOT_FOUND);
	if (status >= 300)
		dialect_refuse(dialect, request, status);
	else
		reply_text(&request->reply, status, TEXT_TYPE,
				   text_format("%s\n", dialect_word(request,
													"Session removed")));
}

const Dialect browserless_dialect = {
	"browserless", AUTH_QUERY, "token", TEXT_TYPE, 0,
	"Bad or missing authentication.", "Resource couldn't be found",
	{"/session/{id}"},
	answer_browserless, browserless_error, browserless_no_route
};
