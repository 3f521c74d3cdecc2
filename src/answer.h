/*
 * answer.h
 *		A provider's answer, looked into: what it says, in a safe form.
 */
#ifndef BS_ANSWER_H
#define BS_ANSWER_H

#include "http.h"
#include "json.h"
#include "provider.h"

typedef struct BsAnswer
{
	const HttpReply *http;
	BsJson	   *json;			/* NULL if the body is not JSON */
	const char *not_json;		/* why it is not; NULL if it is */
	bool		page;			/* for people: HTML or other markup */
	bool		opaque;			/* something, but neither text nor JSON */
	char	   *words;			/* what the provider says, or NULL */
	char	   *message;		/* the same, fit to be shown */
	char	   *status;			/* its word for the session's state, or NULL */
	char	   *shown_status;	/* the same, fit to be shown */
} BsAnswer;

extern void bs_answer_read(const BsService *service,
						   const BsSecrets *secrets, const HttpReply *http,
						   BsAnswer *answer);
extern bool bs_answer_is_of_path(const BsAnswer *answer);
extern bool bs_answer_is_gone(const BsService *service,
							  const BsAnswer *answer);
extern int64 bs_answer_time(const char *text);
extern char *bs_answer_showable(const BsSecrets *secrets, const char *text);
extern char *bs_answer_keep(const BsSecrets *secrets, const BsAnswer *answer);

#endif							/* BS_ANSWER_H */
