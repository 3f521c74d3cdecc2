#ifndef SIM_DIALECT_H
#define SIM_DIALECT_H

#include "auth.h"
#include "request.h"
#include "session.h"

#define JSON_TYPE	"application/json"
#define JSON_UTF8	"application/json; charset=utf-8"
#define TEXT_TYPE	"text/plain; charset=UTF-8"

/* A provider's manners. */
typedef struct Dialect
{
	const char *name;
	AuthKind	auth;
	const char *auth_name;		/* of the header or query parameter */
	const char *json_type;		/* Content-Type of its JSON */
	int64_t		release;		/* ms from the request to the end */
	const char *denied;			/* its words for a wrong key */
	const char *gone;			/* … for a session that is not there */
	const char *routes[5];		/* paths; "{id}" is one non-empty segment */
	void		(*answer) (const struct Dialect *dialect, Request *request);
	/* Makes an error reply of the documented shape. */
	void		(*error) (const struct Dialect *dialect, Request *request,
						  unsigned int status, const char *message);
	/* Answers a path that is no route. */
	void		(*no_route) (const struct Dialect *dialect, Request *request,
							 unsigned int status);
} Dialect;

extern const Dialect stagehand_dialect;
extern const Dialect anchor_dialect;
extern const Dialect browser_use_dialect;
extern const Dialect browserless_dialect;
extern const Dialect browserbase_dialect;
extern const Dialect webdriver_dialect;
extern const Dialect grid_dialect;
extern const Dialect acme_dialect;

extern void dialect_answer(Request *request);

/* For the dialects themselves */
extern char *dialect_message(const Request *request, const char *message);
extern const char *dialect_word(const Request *request, const char *usual);
extern void dialect_json(const Dialect *dialect, Request *request,
						 unsigned int status, json_t *json);
extern void dialect_field(const Dialect *dialect, Request *request,
						  unsigned int status, const char *field,
						  const char *message);
extern void dialect_fastify_404(const Dialect *dialect, Request *request,
								unsigned int status);
extern void dialect_express_404(const Dialect *dialect, Request *request,
								unsigned int status);
extern Session *dialect_session(const Request *request);
extern unsigned int dialect_end(const Dialect *dialect, Request *request,
								unsigned int done, unsigned int gone);
extern unsigned int dialect_read(Request *request, unsigned int ended);
extern void dialect_deny(const Dialect *dialect, Request *request);
extern void dialect_refuse(const Dialect *dialect, Request *request,
						   unsigned int status);
extern bool dialect_admits(const Dialect *dialect, Request *request);

#endif
