/*
 * request.c
 *
 * A request, from its first line to the end of its reply.  The URL is
 * /[with:k=v,k=v/]DIALECT/path-at-the-provider?query, and is taken apart
 * undecoded: whether a client encodes an id is one of the things to see.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "request.h"
#include "text.h"

/* Bytes of a body that are kept; what clients send is far smaller. */
#define MAX_BODY	65536

/* Splits uri into with, dialect, target, path and query. */
static void
split_uri(Request *request)
{
	const char *at = request->uri + (request->uri[0] == '/');
	size_t		length;

	if (strncmp(at, "with:", 5) == 0)
	{
		length = strcspn(at, "/?");
		request->with = text_copy(at + 5, length - 5);
		at += length;
		at += *at == '/';
	}
	else
		request->with = text_copy("", 0);
	length = strcspn(at, "/?");
	request->dialect = text_copy(at, length);
	request->target = at + length;
	length = strcspn(request->target, "?");
	request->path = text_copy(request->target, length);
	request->query = request->target + length;
	request->query += *request->query == '?';
}

Request *
request_create(const char *uri)
{
	Request    *request = text_alloc(sizeof(*request));

	request->at = text_now();
	request->uri = text_copy(uri, strlen(uri));
	request->id = text_copy("", 0);
	request->route = ROUTE_NONE;
	split_uri(request);
	request->knob_error = knobs_parse(&request->knobs, request->with);
	return request;
}

/* Notes what is known once the headers are in. */
void
request_begin(Request *request, struct MHD_Connection *connection,
			  const char *method)
{
	request->connection = connection;
	request->method = text_copy(method, strlen(method));
	knobs_limit(&request->knobs, method);
}

/* Adds a piece of the body, up to the limit. */
void
request_append(Request *request, const char *bytes, size_t length)
{
	char	   *body;

	if (length > MAX_BODY - request->length)
		length = MAX_BODY - request->length;
	body = text_alloc(request->length + length + 1);
	if (request->length > 0)
		memcpy(body, request->body, request->length);
	memcpy(body + request->length, bytes, length);
	free(request->body);
	request->body = body;
	request->length += length;
}

/* Returns a header's value, NULL if it is missing. */
const char *
request_header(const Request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
									   name);
}

bool
request_is_method(const Request *request, const char *method)
{
	return strcmp(request->method, method) == 0;
}

/* Returns the body as new JSON, NULL if it is none. */
json_t *
request_json(const Request *request)
{
	return request->length == 0 ? NULL :
		json_loadb(request->body, request->length, JSON_DECODE_ANY, NULL);
}

/* Returns whether the body is an object whose field is the given string. */
bool
request_says(const Request *request, const char *field, const char *value)
{
	json_t	   *body = request_json(request);
	const char *string = json_string_value(json_object_get(body, field));
	bool		says = string != NULL && strcmp(string, value) == 0;

	json_decref(body);
	return says;
}

/* Returns whether the body's media type is the given one. */
bool
request_type_is(const Request *request, const char *type)
{
	const char *value = request_header(request, "Content-Type");
	size_t		length = strlen(type);

	return value != NULL && strncasecmp(value, type, length) == 0 &&
		strchr("; \t", value[length]) != NULL;
}

void
request_free(Request *request)
{
	free(request->uri);
	free(request->method);
	free(request->with);
	free(request->dialect);
	free(request->path);
	free(request->id);
	free(request->key);
	knobs_free(&request->knobs);
	free(request->knob_error);
	free(request->body);
	reply_free(&request->reply);
	free(request);
}
