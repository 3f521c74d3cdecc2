/*
 * worker_claim.h
 *		What is due in each lane, and claiming it.
 */
#ifndef BS_WORKER_CLAIM_H
#define BS_WORKER_CLAIM_H

#include "lib/ilist.h"
#include "worker_lane.h"

extern void bs_claims_begin(void);
extern void bs_claims_look(bool changed);
extern void bs_claims_make(void);
extern void bs_claims_note_due(const WorkerLane *lane, TimestampTz due);
extern void bs_claims_start(dlist_head *under_way);
extern void bs_claims_keep(dlist_head *under_way);
extern void bs_claims_drop(void);
extern int64 bs_claims_next(TimestampTz now, int64 clock,
							TimestampTz *next_due);

#endif							/* BS_WORKER_CLAIM_H */
