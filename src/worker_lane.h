/*
 * worker_lane.h
 *		How much the worker may send, and to whom.
 */
#ifndef BS_WORKER_LANE_H
#define BS_WORKER_LANE_H

#include "account.h"
#include "breaker.h"
#include "exchange.h"
#include "tracking.h"

/* A server, as far as the worker knows it. */
typedef struct WorkerServer
{
	NameData	name;			/* must be first */
	int			in_flight;
	int			claimed;		/* of these, not yet begun */
	bool		known;			/* it has answered before */
	int64		not_before;		/* it asked for a pause until then */
	BsBreaker	breaker;		/* no connection, no answer, 5xx */
} WorkerServer;

typedef struct WorkerLaneKey
{
	NameData	server;
	NameData	role;
} WorkerLaneKey;

/* What one role tracks at one server: sessions with one credential. */
typedef struct WorkerLane
{
	WorkerLaneKey key;			/* must be first */
	WorkerServer *server;
	int64		blocked_until;	/* no use in claiming before */
	int			misses;			/* claims in a row that found it locked */
	bool		full;			/* no more before an exchange is over */
	int			unrecorded;		/* that are over, their rows being locked */
	TimestampTz resume;			/* where the next claim is to begin */
	uint64		served;			/* number of the last claim here */
	BsBreaker	breaker;		/* the credential is not accepted */
} WorkerLane;

extern int64 bs_lock_pause(int misses);
extern void bs_lanes_begin(void);
extern WorkerLane *bs_lanes_get(const char *server, const char *role);
extern int	bs_lanes_allowance(WorkerLane *lane, const BsAccount *account,
							   int in_flight, int64 now, int64 *next);
extern int64 bs_lanes_next(const WorkerLane *lane, int64 now);
extern void bs_lanes_note_sent(WorkerLane *lane);
extern void bs_lanes_note_begun(WorkerLane *lane);
extern void bs_lanes_take_back(WorkerLane *lane, bool begun);
extern void bs_lanes_note_result(WorkerLane *lane, const BsResult *result,
								 int64 pause);

#endif							/* BS_WORKER_LANE_H */
