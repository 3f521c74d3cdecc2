/*
 * field.h
 *		The fields of a provider's descriptor.
 */
#ifndef BS_FIELD_H
#define BS_FIELD_H

typedef enum BsField
{
	BS_BASE_URL,				/* scheme, host, port, path prefix */
	BS_AUTH,					/* header:NAME, bearer, basic, query:NAME,
								 * none */
	BS_END_METHOD,
	BS_END_PATH,				/* with {id}; may have a query */
	BS_END_BODY,				/* JSON; NULL = no body, no Content-Type */
	BS_CONFIRM_PATH,			/* GET shows the session; NULL if none does */
	BS_PROJECT,					/* where project_id goes: header:, body:NAME */
	BS_REPLY,					/* json = nothing else is understood; any */
	BS_ID_URL,					/* true = an id may be a stop URL */
	BS_GONE_STATUS,				/* HTTP statuses of a session that is gone */
	BS_GONE_MATCH,				/* text that such a reply must hold, or NULL */
	BS_AMBIGUOUS_STATUS,		/* HTTP statuses that only a read can settle */
	BS_SUCCESS_FIELD,			/* dotted path that a 2xx must have */
	BS_STATUS_FIELD,			/* dotted path to the status in a reply */
	BS_STATUS_REQUIRED,			/* true = a 2xx must have a known one */
	BS_LIVE_STATUS,				/* words for: still alive */
	BS_ENDED_STATUS,			/* words for: over, by us */
	BS_TERMINAL_STATUS,			/* words for: over, not by us */
	BS_ENDED_AT_FIELD,			/* dotted path to the time it was over */
	BS_NFIELDS
} BsField;

/* The place of the session's id in a path or a body. */
#define BS_PLACEHOLDER	"{id}"

extern const char *bs_field_name(BsField field);
extern int	bs_field_find(const char *name);
extern const char *bs_field_argument(const char *value, const char *kind);
extern bool bs_field_is_true(const char *value);
extern bool bs_list_has(const char *list, const char *word);
extern bool bs_list_has_number(const char *list, int number);
extern const char *bs_field_check(BsField field, const char *value);
extern const char *bs_field_check_all(const char *const *field);

#endif							/* BS_FIELD_H */
