/*
 * outcome.h
 *		What can become of an attempt to end a session.
 */
#ifndef BS_OUTCOME_H
#define BS_OUTCOME_H

typedef enum BsOutcome
{
	BS_ENDED,					/* shown to be over */
	BS_ALREADY_ENDED,			/* was over before we asked */
	BS_REQUESTED,				/* accepted, still alive when last seen */
	BS_DENIED,					/* 401, 403: key or permission */
	BS_REJECTED,				/* another 4xx, or a 2xx that says it failed */
	BS_RATE_LIMITED,			/* 429 */
	BS_UNAVAILABLE,				/* 5xx */
	BS_TIMED_OUT,				/* no answer in time */
	BS_UNREACHABLE,				/* no connection */
	BS_BAD_REPLY,				/* an answer that cannot be understood */
	BS_UNKNOWN					/* sent, and the answer was lost */
} BsOutcome;

#define BS_NOUTCOMES	(BS_UNKNOWN + 1)

extern const char *bs_outcome_name(BsOutcome outcome);
extern bool bs_outcome_done(BsOutcome outcome);

#endif							/* BS_OUTCOME_H */
