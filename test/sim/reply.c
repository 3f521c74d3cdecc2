/*
 * reply.c
 *
 * What goes back: status, headers, body, and how they are spoilt.  A reply is
 * complete before its first byte is sent, and lives until the request that
 * holds it is over, so libmicrohttpd sends its body without a copy.
 */
#include <stdlib.h>
#include <string.h>

#include "reply.h"
#include "text.h"

static void
set_body(Reply *reply, unsigned int status, const char *type, char *body)
{
	free(reply->body);
	reply->status = status;
	reply->type = type;
	reply->body = body;
	reply->length = body != NULL ? strlen(body) : 0;
}

/* Takes the JSON over. */
void
reply_json(Reply *reply, unsigned int status, const char *type, json_t *json)
{
	char	   *body = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

	if (body == NULL)
		abort();
	json_decref(json);
	set_body(reply, status, type, body);
}

/* Takes the text over. */
void
reply_text(Reply *reply, unsigned int status, const char *type, char *text)
{
	set_body(reply, status, type, text);
}

void
reply_empty(Reply *reply, unsigned int status)
{
	set_body(reply, status, NULL, NULL);
}

/* Takes the value over; the name is a constant. */
void
reply_header(Reply *reply, const char *name, char *value)
{
	if (reply->header_count == REPLY_HEADERS)
		abort();
	reply->names[reply->header_count] = name;
	reply->values[reply->header_count++] = value;
}

static bool
is_json(const Reply *reply)
{
	return strncmp(reply->type, "application/json", 16) == 0;
}

/*
 * Replaces a marker by the given bytes, which are fewer.  The search goes on
 * after them, so they may be a NUL byte.
 */
static void
replace_marker(Reply *reply, const char *marker, const char *with,
			   size_t length)
{
	size_t		marker_length = strlen(marker);
	const char *end = reply->body + reply->length + 1;
	char	   *at = reply->body;

	while ((at = strstr(at, marker)) != NULL)
	{
		memcpy(at, with, length);
		at += length;
		memmove(at, at + marker_length - length,
				(size_t) (end - at) - (marker_length - length));
		end -= marker_length - length;
		reply->length -= marker_length - length;
	}
}

/* Adds text at the end: to a JSON object as one more field. */
static void
add_text(Reply *reply, const char *field, const char *text)
{
	bool		object = is_json(reply) && reply->length > 2 &&
		reply->body[reply->length - 1] == '}';
	char	   *body;

	if (object)
		body = text_format("%.*s,\"%s\":\"%s\"}", (int) reply->length - 1,
						   reply->body, field, text);
	else if (is_json(reply))
		return;
	else
		body = text_format("%s%s", reply->body, text);
	set_body(reply, reply->status, reply->type, body);
}

/* Fills the body up to the given size. */
static void
pad_body(Reply *reply, size_t size)
{
	static const char field[] = ",\"pad\":\"\"";
	size_t		missing = size > reply->length ? size - reply->length : 0;
	char	   *padding;

	if (is_json(reply))
		missing = missing > sizeof(field) ? missing - (sizeof(field) - 1) : 0;
	if (missing == 0)
		return;
	padding = text_alloc(missing + 1);
	memset(padding, 'x', missing);
	add_text(reply, "pad", padding);
	free(padding);
}

/*
 * Spoils the finished body: a reply that has no error message for the bytes
 * to stand in gets a field "note", or the bytes at the end of its text.
 */
void
reply_finish(Reply *reply, bool nul, bool bad_utf8, size_t pad)
{
	if (reply->body == NULL)
		return;
	if (nul && strstr(reply->body, REPLY_NUL) == NULL)
		add_text(reply, "note", "a" REPLY_NUL "b");
	if (bad_utf8 && strstr(reply->body, REPLY_BAD_UTF8) == NULL)
		add_text(reply, "note2", "a" REPLY_BAD_UTF8 "b");
	pad_body(reply, pad);
	replace_marker(reply, REPLY_BAD_UTF8, "\xFF\xFE", 2);
	if (is_json(reply))
		replace_marker(reply, REPLY_NUL, "\\u0000", 6);
	else
		replace_marker(reply, REPLY_NUL, "\0", 1);
}

/* Gives out the first half of the body, then breaks off. */
static ssize_t
read_half_cb(void *reply_arg, uint64_t position, char *to, size_t room)
{
	Reply	   *reply = reply_arg;
	size_t		half = reply->length / 2;

	if (position >= half)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (room > half - position)
		room = half - (size_t) position;
	memcpy(to, reply->body + position, room);
	return (ssize_t) room;
}

/* Hands the reply to libmicrohttpd; MHD_NO makes it close the connection. */
enum MHD_Result
reply_send(Reply *reply, struct MHD_Connection *connection)
{
	struct MHD_Response *response;
	enum MHD_Result result;
	int			i;

	if (reply->drop)
		return MHD_NO;
	if (reply->cut && reply->length > 1)
		response = MHD_create_response_from_callback(reply->length, 4096,
													 read_half_cb, reply,
													 NULL);
	else
		response = MHD_create_response_from_buffer(reply->length, reply->body,
												   MHD_RESPMEM_PERSISTENT);
	if (response == NULL)
		return MHD_NO;
	if (reply->type != NULL)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
								reply->type);
	for (i = 0; i < reply->header_count; i++)
		MHD_add_response_header(response, reply->names[i], reply->values[i]);
	result = MHD_queue_response(connection, reply->status, response);
	MHD_destroy_response(response);
	return result;
}

void
reply_free(Reply *reply)
{
	int			i;

	free(reply->body);
	for (i = 0; i < reply->header_count; i++)
		free(reply->values[i]);
}
