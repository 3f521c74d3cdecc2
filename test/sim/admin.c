/*
 * admin.c
 *
 * What a test asks the simulator itself:
 *
 *	GET    /_sim/requests[?id=ID]	what arrived, oldest first
 *	DELETE /_sim/requests			forgets it
 *	GET    /_sim/stats				counters
 *	DELETE /_sim/stats				max_in_flight starts again
 *	POST   /_sim/keys?key=K			K is valid from now on
 *	GET    /_sim/sessions/DIALECT/ID[?with=W]	{"state": …}, 404 if unknown
 */
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "auth.h"
#include "dialect.h"
#include "journal.h"
#include "text.h"

static void
answer_requests(Request *request)
{
	char	   *id = text_query(request->query, "id");

	reply_text(&request->reply, MHD_HTTP_OK, JSON_TYPE,
			   journal_requests(id));
	free(id);
}

static void
clear_requests(Request *request)
{
	journal_clear();
	reply_empty(&request->reply, MHD_HTTP_NO_CONTENT);
}

static void
answer_stats(Request *request)
{
	reply_text(&request->reply, MHD_HTTP_OK, JSON_TYPE, journal_stats());
}

static void
reset_stats(Request *request)
{
	journal_reset_peak();
	reply_empty(&request->reply, MHD_HTTP_NO_CONTENT);
}

static void
add_key(Request *request)
{
	char	   *key = text_query(request->query, "key");

	if (key != NULL)
		auth_add_key(key);
	reply_empty(&request->reply, key != NULL ? MHD_HTTP_NO_CONTENT :
				MHD_HTTP_BAD_REQUEST);
	free(key);
}

static void
answer_session(Request *request)
{
	const char *dialect = request->path + strlen("/sessions/");
	size_t		length = strcspn(dialect, "/");
	char	   *name = text_copy(dialect, length);
	char	   *id = text_unescape(dialect + length + (dialect[length] == '/'),
								   strlen(dialect + length), false);
	char	   *with = text_query(request->query, "with");
	Session    *session = session_find(with != NULL ? with : "", name, id,
									   false);
	const char *state = "unknown";

	if (session != NULL)
		state = session_state_name(session_state(session));
	reply_text(&request->reply, strcmp(state, "unknown") == 0 ?
			   MHD_HTTP_NOT_FOUND : MHD_HTTP_OK, JSON_TYPE,
			   text_format("{\"state\":\"%s\"}", state));
	free(name);
	free(id);
	free(with);
}

typedef struct AdminRoute
{
	const char *method;
	const char *path;			/* a prefix if it ends with a slash */
	void		(*answer) (Request *request);
} AdminRoute;

static const AdminRoute routes[] = {
	{"GET", "/requests", answer_requests},
	{"DELETE", "/requests", clear_requests},
	{"GET", "/stats", answer_stats},
	{"DELETE", "/stats", reset_stats},
	{"POST", "/keys", add_key},
	{"GET", "/sessions/", answer_session},
};

/* Makes the reply to a request for the simulator itself. */
void
admin_answer(Request *request)
{
	size_t		i;

	for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
	{
		const char *path = routes[i].path;
		size_t		length = strlen(path);
		bool		prefix = path[length - 1] == '/';

		if (strcmp(routes[i].method, request->method) == 0 &&
			strncmp(request->path, path, length) == 0 &&
			(prefix || request->path[length] == '\0'))
		{
			routes[i].answer(request);
			return;
		}
	}
	reply_text(&request->reply, MHD_HTTP_NOT_FOUND, TEXT_TYPE,
			   text_format("provider_sim: no such resource\n"));
}
