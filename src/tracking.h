/*
 * tracking.h
 *		The extension's tables: every statement that reads or writes them.
 */
#ifndef BS_TRACKING_H
#define BS_TRACKING_H

#include "access/htup.h"
#include "attempt.h"
#include "nodes/pg_list.h"
#include "storage/itemptr.h"
#include "utils/jsonb.h"

/* bsession_tracked's columns, from 0. */
enum
{
	BS_TRACKED_PROVIDER,
	BS_TRACKED_SESSION_ID,
	BS_TRACKED_STATE,
	BS_TRACKED_EXPIRES_AT,
	BS_TRACKED_NEXT_ATTEMPT_AT,
	BS_TRACKED_ATTEMPTS,
	BS_TRACKED_OUTCOME,
	BS_TRACKED_LAST_ERROR,
	BS_TRACKED_TRACKED_BY,
	BS_TRACKED_TRACKED_AT,
	BS_TRACKED_ENDED_AT,
	BS_TRACKED_METADATA,
	BS_TRACKED_REASON,
	BS_TRACKED_CLAIMED_BY,
	BS_TRACKED_COLUMNS
};

/* ----- what callers do to their sessions (tracking_session.c) ----- */

typedef struct BsSessionKey
{
	const char *provider;		/* the server's name */
	const char *id;				/* in the database's encoding */
} BsSessionKey;

extern HeapTuple bs_tracking_track(const BsSessionKey *key, Oid role,
								   Datum expires_at, bool never,
								   Datum metadata);
extern void bs_tracking_insert(const BsSessionKey *key, Oid role,
							   Datum expires_at, bool never, Datum metadata);
extern Datum bs_tracking_extend(const BsSessionKey *key, Oid role,
								TimestampTz expires_at, bool *never);
extern bool bs_tracking_expire(const BsSessionKey *key, Oid role);
extern bool bs_tracking_untrack(const BsSessionKey *key, Oid role);
extern bool bs_tracking_retry(const BsSessionKey *key, Oid role);
extern void bs_tracking_delete(const BsSessionKey *key, Oid role);
extern bool bs_tracking_is_own_statement(void);

extern void bs_tracking_set_for_good(void);

/* ----- attempts and what they mean for tracked rows ----- */

/* What becomes of a tracked row. */
typedef struct BsSettlement
{
	const char *provider;
	const char *session_id;
	int			attempt;		/* the attempt that was claimed */
	ItemPointerData row;		/* where the claim left its row; or invalid */
	const char *state;
	const char *outcome;		/* NULL if nothing could be sent */
	const char *error;			/* NULL if it is over */
	TimestampTz next_attempt_at;	/* 0 = none */
	TimestampTz ended_at;		/* 0 = not over */
	bool		recorded;		/* out: nothing more is to be done */
} BsSettlement;

#define BS_STATE_ENDING		"ending"
#define BS_STATE_ENDED		"ended"
#define BS_STATE_FAILED		"failed"

extern bool bs_tracking_check_audit(void);
extern bool bs_tracking_may_save_now(void);
extern void bs_tracking_save_attempts(const BsAttempt *attempts, int n);
extern bool bs_tracking_settle(const BsSettlement *settlements, int n);

/* ----- the worker's and the sweep's (tracking_worker.c) ----- */

/* What one role tracks at one server. */
typedef struct BsLaneDue
{
	char	   *provider;
	char	   *role;
	TimestampTz due;			/* of the first session, or before that */
} BsLaneDue;

/* A session whose end is claimed. */
typedef struct BsClaim
{
	char	   *provider;
	char	   *role;			/* that tracks it */
	char	   *session_id;
	char	   *reason;
	int			attempt;
	TimestampTz due;			/* when it was */
	ItemPointerData row;		/* where its row is now; or invalid */
	bool		requested;		/* an end was accepted earlier */
	bool		lost;			/* the attempt before was never recorded */
} BsClaim;

/* On what terms sessions are claimed. */
typedef struct BsClaimTerms
{
	TimestampTz now;			/* what is due then */
	int			most;			/* at most so many */
	TimestampTz lease;			/* until then */
	int			patience;		/* after so many locked rows it gives up */
	/* Does this process have the claim of that session already?  Or NULL. */
	bool		(*is_held) (const char *provider, const char *session_id);
	/* Those of a server whose claims it has, and their number.  Or NULL. */
	const char **(*list_held) (const char *provider, int *n);
	int			passed;			/* out: rows that were passed over */
	bool		gave_up;		/* out: there were that many, */
	TimestampTz last_passed;	/* and the last one was due then */
} BsClaimTerms;

extern BsLaneDue *bs_tracking_lanes(int *n);
extern TimestampTz bs_tracking_next(const BsLaneDue *lane);
extern BsClaim *bs_tracking_claim(const BsLaneDue *lane, BsClaimTerms *terms,
								  int *n);
extern void bs_tracking_record(BsSettlement *settlements, int n);
extern void bs_tracking_void_claims(int64 longest_pause);
extern void bs_tracking_shift_pauses(int64 shift);
extern int	bs_tracking_forget_old(bool sessions, TimestampTz before,
								   int most);
extern int64 bs_tracking_due_now(void);

/* ----- whose sessions they are (tracking_home.c) ----- */

extern bool bs_tracking_is_home(void);
extern bool bs_tracking_adopt(void);
extern void bs_tracking_leave_home(void);

#endif							/* BS_TRACKING_H */
