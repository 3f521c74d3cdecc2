/*
 * dialect.c
 *
 * What all dialects share: finding the one that a URL names and the route in
 * it, the faults that a "with:" part asks for, the life of a session.  A
 * fault comes before everything else, as that of a proxy in front of the
 * provider would, and leaves the session as it was.
 *
 * The state changes when the request arrives; a delay holds back the reply
 * only, so a client that gives up has nevertheless ended its session.
 */
#include <stdlib.h>
#include <string.h>

#include "dialect.h"
#include "text.h"

static const Dialect *const dialects[] = {
	&stagehand_dialect,
	&anchor_dialect,
	&browser_use_dialect,
	&browserless_dialect,
	&browserbase_dialect,
	&webdriver_dialect,
	&grid_dialect,
	&acme_dialect,
};

static const Dialect *
find_dialect(const char *name)
{
	size_t		i;

	for (i = 0; i < sizeof(dialects) / sizeof(dialects[0]); i++)
		if (strcmp(dialects[i]->name, name) == 0)
			return dialects[i];
	return NULL;
}

/*
 * Returns whether the path has the pattern's form, and if so sets id to a
 * decoded copy of what stands for "{id}", or NULL if the pattern has none.
 */
static bool
match_route(const char *pattern, const char *path, char **id)
{
	const char *hole = strstr(pattern, "{id}");
	size_t		before;
	size_t		length;

	*id = NULL;
	if (hole == NULL)
		return strcmp(pattern, path) == 0;
	before = (size_t) (hole - pattern);
	if (strncmp(pattern, path, before) != 0)
		return false;
	path += before;
	length = strcspn(path, "/");
	if (length == 0 || strcmp(hole + 4, path + length) != 0)
		return false;
	*id = text_unescape(path, length, false);
	return true;
}

static void
find_route(const Dialect *dialect, Request *request)
{
	char	   *id;
	int			i;

	for (i = 0; dialect->routes[i] != NULL; i++)
		if (match_route(dialect->routes[i], request->path, &id))
		{
			request->route = i;
			if (id != NULL)
			{
				free(request->id);
				request->id = id;
			}
			return;
		}
}

/*
 * Returns the message as the reply has it: with what "echo", "nul" and
 * "badutf8" add.
 */
char *
dialect_message(const Request *request, const char *message)
{
	const Knobs *knobs = &request->knobs;
	const char *header = request_header(request, "Authorization");
	char	   *echo = NULL;
	char	   *text;

	if (knobs->echo)
		echo = text_format(" (key %s, Authorization %s, URL %s)",
						   request->key != NULL ? request->key : "none",
						   header != NULL ? header : "none", request->uri);
	text = text_format("%s%s%s%s", message, echo != NULL ? echo : "",
					   knobs->nul ? " a" REPLY_NUL "b" : "",
					   knobs->badutf8 ? " a" REPLY_BAD_UTF8 "b" : "");
	free(echo);
	return text;
}

/* Returns the status word to report. */
const char *
dialect_word(const Request *request, const char *usual)
{
	return request->knobs.word != NULL ? request->knobs.word : usual;
}

/* Takes the JSON over. */
void
dialect_json(const Dialect *dialect, Request *request, unsigned int status,
			 json_t *json)
{
	reply_json(&request->reply, status, dialect->json_type, json);
}

/* {"field": message} */
void
dialect_field(const Dialect *dialect, Request *request, unsigned int status,
			  const char *field, const char *message)
{
	char	   *text = dialect_message(request, message);

	dialect_json(dialect, request, status,
				 json_pack("{s:o}", field, text_json(text, strlen(text))));
	free(text);
}

/* The router's 404 of Fastify, the framework of Stagehand's server. */
void
dialect_fastify_404(const Dialect *dialect, Request *request,
					unsigned int status)
{
	char	   *text = text_format("Route %s:%s not found", request->method,
								   request->target);
	char	   *message = dialect_message(request, text);

	dialect_json(dialect, request, status,
				 json_pack("{s:o, s:s, s:i}",
						   "message", text_json(message, strlen(message)),
						   "error", MHD_get_reason_phrase_for(status),
						   "statusCode", (int) status));
	free(text);
	free(message);
}

/* The router's 404 of Express: HTML. */
void
dialect_express_404(const Dialect *dialect, Request *request,
					unsigned int status)
{
	char	   *message = dialect_message(request, "Cannot");

	(void) dialect;
	reply_text(&request->reply, status, "text/html; charset=utf-8",
			   text_format("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
						   "<meta charset=\"utf-8\">\n<title>Error</title>\n"
						   "</head>\n<body>\n<pre>%s %s %s</pre>\n</body>\n"
						   "</html>\n", message, request->method,
						   request->path));
	free(message);
}

Session *
dialect_session(const Request *request)
{
	return session_find(request->with, request->dialect, request->id, true);
}

/*
 * Ends the session.  Returns the status to answer: done if it was there, or
 * gone, unless "endstatus" has another.
 */
unsigned int
dialect_end(const Dialect *dialect, Request *request, unsigned int done,
			unsigned int gone)
{
	Session    *session = dialect_session(request);
	const Knobs *knobs = &request->knobs;

	switch (session_state(session))
	{
		case SESSION_LIVE:
		case SESSION_RELEASING:
			session_end(session, knobs->release != RELEASE_UNSET ?
						knobs->release : dialect->release);
			return done;
		default:
			return knobs->endstatus ? (unsigned int) knobs->endstatus : gone;
	}
}

/* Returns the status of a read: 200, 404, or ended for an ended session. */
unsigned int
dialect_read(Request *request, unsigned int ended)
{
	switch (session_state(dialect_session(request)))
	{
		case SESSION_UNKNOWN:
			return MHD_HTTP_NOT_FOUND;
		case SESSION_ENDED:
			return request->knobs.getstatus ?
				(unsigned int) request->knobs.getstatus : ended;
		default:
			return MHD_HTTP_OK;
	}
}

void
dialect_deny(const Dialect *dialect, Request *request)
{
	dialect->error(dialect, request, MHD_HTTP_UNAUTHORIZED, dialect->denied);
}

/* Answers an end or a read that found no session. */
void
dialect_refuse(const Dialect *dialect, Request *request, unsigned int status)
{
	const char *message = "Session has already ended";

	if (status == MHD_HTTP_UNAUTHORIZED)
		message = dialect->denied;
	else if (status == MHD_HTTP_NOT_FOUND || status == MHD_HTTP_GONE)
		message = dialect->gone;
	dialect->error(dialect, request, status, message);
}

/* Returns whether route and key are right; answers if they are not. */
bool
dialect_admits(const Dialect *dialect, Request *request)
{
	if (request->route == ROUTE_NONE)
		dialect->no_route(dialect, request, MHD_HTTP_NOT_FOUND);
	else if (!auth_check(request, dialect->auth, dialect->auth_name))
		dialect_deny(dialect, request);
	else
		return true;
	return false;
}

/* Answers with the status and body asked for. */
static void
make_fault(const Dialect *dialect, Request *request)
{
	unsigned int status = (unsigned int) request->knobs.status;
	const char *kind = request->knobs.body ? request->knobs.body : "json";
	const char *phrase = MHD_get_reason_phrase_for(status);
	char	   *message;

	if (strcmp(kind, "empty") == 0 || status == MHD_HTTP_NO_CONTENT ||
		status == MHD_HTTP_NOT_MODIFIED)
		reply_empty(&request->reply, status);
	else if (strcmp(kind, "router") == 0)
		dialect->no_route(dialect, request, status);
	else if (strcmp(kind, "json") != 0)
	{
		bool		html = strcmp(kind, "html") == 0;

		message = dialect_message(request, phrase);
		reply_text(&request->reply, status,
				   html ? "text/html; charset=utf-8" : TEXT_TYPE,
				   text_format(html ? "<!DOCTYPE html>\n<html><head><title>%u"
							   "</title></head>\n<body><h1>%s</h1></body>"
							   "</html>\n" : "%u %s\n", status, message));
		free(message);
	}
	else if (status == MHD_HTTP_UNAUTHORIZED ||
			 status == MHD_HTTP_NOT_FOUND || status == MHD_HTTP_GONE)
		dialect_refuse(dialect, request, status);
	else
		dialect->error(dialect, request, status, phrase);
}

/* Answers with the fault that is due, if any, and returns whether it did. */
static bool
answer_fault(const Dialect *dialect, Request *request)
{
	const Knobs *knobs = &request->knobs;
	Session    *session;

	if (!knobs->status && !knobs->redirect && !knobs->cut && !knobs->drop)
		return false;
	session = dialect_session(request);
	if (knobs->times >= 0 && session->faults >= knobs->times)
		return false;
	session->faults++;
	request->reply.cut = knobs->cut != 0;
	request->reply.drop = knobs->drop != 0;
	if (knobs->redirect)
	{
		reply_empty(&request->reply, MHD_HTTP_FOUND);
		reply_header(&request->reply, MHD_HTTP_HEADER_LOCATION,
					 text_copy(knobs->redirect, strlen(knobs->redirect)));
	}
	else if (knobs->status)
		make_fault(dialect, request);
	return knobs->redirect || knobs->status || knobs->drop == 1;
}

static void
add_retry_headers(Request *request)
{
	const Knobs *knobs = &request->knobs;
	Reply	   *reply = &request->reply;

	if (knobs->retry_after)
		reply_header(reply, MHD_HTTP_HEADER_RETRY_AFTER,
					 text_copy(knobs->retry_after,
							   strlen(knobs->retry_after)));
	if (knobs->retry_after_date)
		reply_header(reply, MHD_HTTP_HEADER_RETRY_AFTER,
					 text_time(text_now() + knobs->retry_after_date * 1000000,
							   "%a, %d %b %Y %H:%M:%S GMT"));
	if (knobs->retry_after_ms)
		reply_header(reply, "retry-after-ms",
					 text_copy(knobs->retry_after_ms,
							   strlen(knobs->retry_after_ms)));
}

/* Makes the reply to a provider's request. */
void
dialect_answer(Request *request)
{
	const Dialect *dialect = find_dialect(request->dialect);
	Reply	   *reply = &request->reply;

	if (dialect == NULL || request->knob_error != NULL)
	{
		bool		knob = request->knob_error != NULL;

		reply_text(reply, knob ? MHD_HTTP_BAD_REQUEST : MHD_HTTP_NOT_FOUND,
				   TEXT_TYPE, text_format("provider_sim: no %s \"%s\"\n",
										  knob ? "knob" : "dialect",
										  knob ? request->knob_error :
										  request->dialect));
		return;
	}
	find_route(dialect, request);
	/* For "echo": the key received, whatever it is worth */
	auth_check(request, dialect->auth, dialect->auth_name);
	if (!answer_fault(dialect, request))
		dialect->answer(dialect, request);
	if (reply->status >= 300)
		add_retry_headers(request);
	reply_finish(reply, request->knobs.nul, request->knobs.badutf8,
				 (size_t) request->knobs.pad);
}
