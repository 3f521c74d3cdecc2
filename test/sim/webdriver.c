/*
 * webdriver.c
 *
 * WebDriver's DELETE /session/{id}, in the manners of chromedriver, which says
 * 200 whatever there was to delete, and of Selenium Grid, which asks for basic
 * authentication and knows its sessions.
 */
#include <stdlib.h>
#include <string.h>

#include "dialect.h"
#include "text.h"

static void
webdriver_error(const Dialect *dialect, Request *request,
				unsigned int status, const char *message)
{
	char	   *text;

	/* Grid's refusal is the header; it has no body. */
	if (status == MHD_HTTP_UNAUTHORIZED && dialect->auth == AUTH_BASIC)
	{
		reply_empty(&request->reply, status);
		reply_header(&request->reply, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
					 text_format("Basic realm=\"selenium-server\""));
		return;
	}
	text = dialect_message(request, message);
	dialect_json(dialect, request, status,
				 json_pack("{s:{s:s, s:o, s:s}}", "value", "error",
						   status == MHD_HTTP_NOT_FOUND ?
						   "invalid session id" : "unknown error",
						   "message", text_json(text, strlen(text)),
						   "stacktrace", ""));
	free(text);
}

static void
webdriver_no_route(const Dialect *dialect, Request *request,
				   unsigned int status)
{
	char	   *text = text_format("unknown command: %s", request->path);
	char	   *message = dialect_message(request, text);

	dialect_json(dialect, request, status,
				 json_pack("{s:{s:s, s:o, s:s}}", "value",
						   "error", "unknown command",
						   "message", text_json(message, strlen(message)),
						   "stacktrace", ""));
	free(text);
	free(message);
}

/* chromedriver says 200 to every DELETE, whatever there was to delete. */
static void
answer_webdriver(const Dialect *dialect, Request *request)
{
	bool		grid = dialect->auth == AUTH_BASIC;
	bool		read = request_is_method(request, "GET");
	unsigned int status;

	if (!dialect_admits(dialect, request))
		return;
	if ((!read && !request_is_method(request, "DELETE")) ||
		(request->route == 2 && (grid || read)))
	{
		dialect->no_route(dialect, request, MHD_HTTP_NOT_FOUND);
		return;
	}
	if (request->route == 2)
		status = MHD_HTTP_OK;
	else if (read)
		status = dialect_read(request, MHD_HTTP_NOT_FOUND);
	else
		status = dialect_end(dialect, request, MHD_HTTP_OK,
							 grid ? MHD_HTTP_NOT_FOUND : MHD_HTTP_OK);
	if (status < 300)
		dialect_json(dialect, request, status,
					 json_pack("{s:s?}", "value", request->knobs.word));
	else if (grid)
	{
		char	   *text = text_format("%s: %s", dialect->gone, request->id);

		dialect->error(dialect, request, status, text);
		free(text);
	}
	else
		dialect_refuse(dialect, request, status);
}

const Dialect webdriver_dialect = {
	"webdriver", AUTH_NONE, NULL, JSON_UTF8, 0,
	"", "invalid session id",
	{"/session/{id}", "/wd/hub/session/{id}", "/session/"},
	answer_webdriver, webdriver_error, webdriver_no_route
};

const Dialect grid_dialect = {
	"grid", AUTH_BASIC, NULL, JSON_UTF8, 0,
	"", "Unable to find session with ID",
	{"/session/{id}", "/wd/hub/session/{id}", "/session/"},
	answer_webdriver, webdriver_error, webdriver_no_route
};
