#ifndef SIM_REPLY_H
#define SIM_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>
#include <microhttpd.h>

#define REPLY_HEADERS	8

/* Places in a message that become a NUL byte and invalid UTF-8. */
#define REPLY_NUL		"@@NUL@@"
#define REPLY_BAD_UTF8	"@@BAD@@"

typedef struct Reply
{
	unsigned int status;		/* 0 = none yet */
	const char *type;			/* Content-Type; NULL without a body */
	char	   *body;
	size_t		length;
	const char *names[REPLY_HEADERS];
	char	   *values[REPLY_HEADERS];
	int			header_count;
	bool		cut;			/* the connection ends half way */
	bool		drop;			/* … before the status line */
} Reply;

extern void reply_json(Reply *reply, unsigned int status, const char *type,
					   json_t *json);
extern void reply_text(Reply *reply, unsigned int status, const char *type,
					   char *text);
extern void reply_empty(Reply *reply, unsigned int status);
extern void reply_header(Reply *reply, const char *name, char *value);
extern void reply_finish(Reply *reply, bool nul, bool bad_utf8,
						 size_t pad);
extern enum MHD_Result reply_send(Reply *reply,
								  struct MHD_Connection *connection);
extern void reply_free(Reply *reply);

#endif
