/*
 * attempt.h
 *		An attempt to end a session, as the audit has it.
 */
#ifndef BS_ATTEMPT_H
#define BS_ATTEMPT_H

#include "datatype/timestamp.h"
#include "outcome.h"

/* The texts of an attempt, in the order of the audit's columns. */
typedef enum BsAttemptText
{
	BS_ATTEMPT_PROVIDER,		/* the server's name */
	BS_ATTEMPT_SESSION_ID,
	BS_ATTEMPT_REASON,
	BS_ATTEMPT_PROVIDER_STATUS,
	BS_ATTEMPT_ERROR,
	BS_ATTEMPT_RESPONSE,		/* JSON */
	BS_ATTEMPT_ACTOR,
	BS_ATTEMPT_APPLICATION,
	BS_ATTEMPT_CLIENT_ADDR,
	BS_ATTEMPT_NTEXTS
} BsAttemptText;

/* Why a session is ended, in the audit's words. */
#define BS_REASON_CALL		"call"
#define BS_REASON_EXPIRY	"expiry"
#define BS_REASON_COMMIT	"commit"
#define BS_REASON_DELETE	"delete"
#define BS_REASON_SWEEP		"sweep"

typedef struct BsAttempt
{
	const char *text[BS_ATTEMPT_NTEXTS];	/* in the database's encoding;
											 * NULL if there is none */
	TimestampTz at;				/* when it began */
	int64		elapsed;		/* µs; -1 if not known */
	BsOutcome	outcome;
	int			http_status;	/* 0 if no answer came */
	int			number;			/* from 1 */
	bool		rolled_back;	/* the caller's transaction was */
} BsAttempt;

/* An attempt in one piece of memory without pointers. */
typedef struct BsFlatAttempt BsFlatAttempt;

extern BsFlatAttempt *bs_attempt_flatten(const BsAttempt *attempt);
extern bool bs_attempt_leaves_out(const char *response);
extern void bs_attempt_mark_rolled_back(BsFlatAttempt *flat);
extern Size bs_attempt_size(const BsFlatAttempt *flat);
extern void bs_attempt_read(const BsFlatAttempt *flat, BsAttempt *attempt);
extern void bs_attempt_log(const BsAttempt *attempt);

#endif							/* BS_ATTEMPT_H */
