/*
 * journal.c
 *
 * What arrived, and how much of it at once.  The newest requests are kept,
 * each as the JSON it will be shown as; a long test run pushes the oldest
 * ones out.  The simulator's own /_sim/ requests are in neither.
 */
#include <stdlib.h>
#include <string.h>

#include "journal.h"
#include "text.h"

/* Some 30 MB of entries. */
#define JOURNAL_SIZE	50000

typedef struct Entry
{
	char	   *id;				/* decoded */
	char	   *json;
} Entry;

static Entry entries[JOURNAL_SIZE];
static size_t first;			/* the oldest entry */
static size_t entry_count;

static int64_t requests;		/* since the start */
static int64_t written;			/* … of them in the journal, as seq counts */
static int64_t connections;		/* since the start */
static int64_t open_connections;
static int64_t in_flight;		/* headers in, reply not yet out */
static int64_t max_in_flight;
static int64_t catastrophes;	/* sessions of others ended by one request */

/* Counts a request in; to be followed by journal_end. */
void
journal_begin(Request *request)
{
	request->counted = true;
	requests++;
	in_flight++;
	if (in_flight > max_in_flight)
		max_in_flight = in_flight;
}

void
journal_end(const Request *request)
{
	if (request->counted)
		in_flight--;
}

void
journal_connection(bool opened)
{
	connections += opened;
	open_connections += opened ? 1 : -1;
}

void
journal_catastrophe(void)
{
	catastrophes++;
}

static json_t *
string_json(const char *string)
{
	return text_json(string, strlen(string));
}

static enum MHD_Result
add_header_cb(void *headers, enum MHD_ValueKind kind, const char *name,
			  const char *value)
{
	char	   *lower = text_copy(name, strlen(name));
	char	   *at;

	(void) kind;
	for (at = lower; *at != '\0'; at++)
		if (*at >= 'A' && *at <= 'Z')
			*at += 'a' - 'A';
	if (value == NULL)
		value = "";
	json_object_set_new(headers, lower, string_json(value));
	free(lower);
	return MHD_YES;
}

static void
drop_oldest(void)
{
	free(entries[first].id);
	free(entries[first].json);
	first = (first + 1) % JOURNAL_SIZE;
	entry_count--;
}

/* Adds the request, whose reply is made, to the journal. */
void
journal_write(const Request *request)
{
	json_t	   *headers = json_object();
	json_t	   *json;
	Entry	   *entry;

	MHD_get_connection_values(request->connection, MHD_HEADER_KIND,
							  add_header_cb, headers);
	json = json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i}",
					 "seq", (json_int_t) ++written,
					 "at", (json_int_t) request->at,
					 "dialect", string_json(request->dialect),
					 "with", string_json(request->with),
					 "method", string_json(request->method),
					 "target", string_json(request->target),
					 "id", string_json(request->id),
					 "headers", headers,
					 "body", text_json(request->body ? request->body : "",
									   request->length),
					 "status", request->reply.drop ? 0 :
					 (int) request->reply.status);
	if (json == NULL)
		abort();
	if (entry_count == JOURNAL_SIZE)
		drop_oldest();
	entry = &entries[(first + entry_count++) % JOURNAL_SIZE];
	entry->id = text_copy(request->id, strlen(request->id));
	entry->json = json_dumps(json, JSON_COMPACT);
	json_decref(json);
}

/* Returns the journal as a JSON array; of one session if id is not NULL. */
char *
journal_requests(const char *id)
{
	size_t		size = 3;
	size_t		i;
	char	   *text;
	char	   *to;

	for (i = 0; i < entry_count; i++)
		size += strlen(entries[(first + i) % JOURNAL_SIZE].json) + 2;
	text = text_alloc(size);
	to = text;
	*to++ = '[';
	for (i = 0; i < entry_count; i++)
	{
		const Entry *entry = &entries[(first + i) % JOURNAL_SIZE];

		if (id != NULL && strcmp(entry->id, id) != 0)
			continue;
		if (to > text + 1)
			to = stpcpy(to, ",\n");
		to = stpcpy(to, entry->json);
	}
	strcpy(to, "]");
	return text;
}

char *
journal_stats(void)
{
	return text_format("{\"requests\":%lld,\"connections\":%lld,"
					   "\"open_connections\":%lld,\"in_flight\":%lld,"
					   "\"max_in_flight\":%lld,\"catastrophes\":%lld}",
					   (long long) requests, (long long) connections,
					   (long long) open_connections, (long long) in_flight,
					   (long long) max_in_flight, (long long) catastrophes);
}

void
journal_clear(void)
{
	while (entry_count > 0)
		drop_oldest();
}

void
journal_reset_peak(void)
{
	max_in_flight = in_flight;
}
