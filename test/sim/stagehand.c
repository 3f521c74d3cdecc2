/*
 * stagehand.c
 *
 * Stagehand: POST /v1/sessions/{id}/end, as the vendor's server answers.
 * Its framework speaks first (path, media type, body), its handler after
 * that, each in its own error shape.
 */
#include <stdlib.h>
#include <string.h>

#include "dialect.h"
#include "text.h"

static void
stagehand_error(const Dialect *dialect, Request *request,
				unsigned int status, const char *message)
{
	char	   *text = dialect_message(request, message);

	dialect_json(dialect, request, status,
				 json_pack("{s:b, s:o}", "success", 0,
						   "message", text_json(text, strlen(text))));
	free(text);
}

/* Fastify's own errors, which come before the handler's. */
static bool
stagehand_parses(const Dialect *dialect, Request *request)
{
	const char *stream = request_header(request, "x-stream-response");
	json_t	   *body = request_json(request);
	const char *error = NULL;
	unsigned int status = MHD_HTTP_BAD_REQUEST;

	if (request_type_is(request, "application/json"))
	{
		if (request->length == 0)
			error = "Body cannot be empty when content-type is set to "
				"'application/json'";
		else if (body == NULL)
			error = "Body is not valid JSON but content-type is set to "
				"'application/json'";
	}
	else if (!request_type_is(request, "text/plain") &&
			 (request->length > 0 ||
			  request_header(request, "Content-Type") != NULL))
	{
		status = MHD_HTTP_UNSUPPORTED_MEDIA_TYPE;
		error = "Unsupported Media Type";
	}
	json_decref(body);
	if (error != NULL)
		dialect_json(dialect, request, status,
					 json_pack("{s:s, s:i}", "error", error,
							   "statusCode", (int) status));
	else if (stream != NULL && strcmp(stream, "true") != 0 &&
			 strcmp(stream, "false") != 0)
		dialect_json(dialect, request, status,
					 json_pack("{s:s, s:[{s:s, s:s}]}",
							   "error", "Request validation failed", "issues",
							   "path", "headers.x-stream-response",
							   "message", "Invalid option: expected one of "
							   "\"true\"|\"false\""));
	else
		return true;
	return false;
}

static void
answer_stagehand(const Dialect *dialect, Request *request)
{
	const char *word = dialect_word(request, "true");
	json_t	   *body = NULL;
	bool		empty;
	unsigned int status;

	if (request->route == ROUTE_NONE || !request_is_method(request, "POST"))
	{
		dialect->no_route(dialect, request, MHD_HTTP_NOT_FOUND);
		return;
	}
	if (!stagehand_parses(dialect, request) ||
		!dialect_admits(dialect, request))
		return;
	if (request_type_is(request, "application/json"))
		body = request_json(request);
	empty = request->length == 0 ||
		(json_is_object(body) && json_object_size(body) == 0);
	json_decref(body);
	if (!empty)
	{
		dialect->error(dialect, request, MHD_HTTP_BAD_REQUEST,
					   "Request body must be empty");
		return;
	}
	status = dialect_end(dialect, request, MHD_HTTP_OK, MHD_HTTP_NOT_FOUND);
	if (status >= 300)
		dialect_refuse(dialect, request, status);
	else if (strcmp(word, "true") == 0)
		dialect_json(dialect, request, status,
					 json_pack("{s:b}", "success", 1));
	else
		dialect->error(dialect, request, status, "Session is still running");
}

const Dialect stagehand_dialect = {
	"stagehand", AUTH_HEADER, "x-bb-api-key", JSON_UTF8, 0,
	"Unauthorized", "Session not found",
	{"/v1/sessions/{id}/end"},
	answer_stagehand, stagehand_error, dialect_fastify_404
};
