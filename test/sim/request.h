#ifndef SIM_REQUEST_H
#define SIM_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <microhttpd.h>

#include "knobs.h"
#include "reply.h"

/* No route of the dialect fits the path. */
#define ROUTE_NONE	(-1)

typedef struct Request
{
	struct MHD_Connection *connection;
	char	   *uri;			/* undecoded, with the query */
	char	   *method;			/* NULL until the headers are in */
	int64_t		at;				/* arrival in unix microseconds */
	char	   *with;			/* undecoded, "" if there is none */
	char	   *dialect;
	const char *target;			/* in uri, after with and dialect */
	char	   *path;			/* of target, undecoded */
	const char *query;			/* in uri, "" if there is none */
	char	   *id;				/* decoded, "" if the route has none */
	int			route;			/* in the dialect's routes, or ROUTE_NONE */
	char	   *key;			/* the key received, NULL if none */
	Knobs		knobs;
	char	   *knob_error;		/* the knob that is wrong, or NULL */
	char	   *body;
	size_t		length;
	bool		counted;		/* in the statistics */
	bool		answered;		/* the reply is made */
	Reply		reply;
} Request;

extern Request *request_create(const char *uri);
extern void request_begin(Request *request, struct MHD_Connection *connection,
						  const char *method);
extern void request_append(Request *request, const char *bytes,
						   size_t length);
extern const char *request_header(const Request *request, const char *name);
extern bool request_is_method(const Request *request, const char *method);
extern bool request_type_is(const Request *request, const char *type);
extern json_t *request_json(const Request *request);
extern bool request_says(const Request *request, const char *field,
						 const char *value);
extern void request_free(Request *request);

#endif
