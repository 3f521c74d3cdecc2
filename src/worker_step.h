/*
 * worker_step.h
 *		The worker's transactions.
 */
#ifndef BS_WORKER_STEP_H
#define BS_WORKER_STEP_H

#include "datatype/timestamp.h"
#include "exchange.h"

typedef enum WorkerVerdict
{
	WORKER_CARRY_ON,
	WORKER_NOT_NEEDED			/* this database has no extension */
} WorkerVerdict;

/* What the last step has found out. */
typedef struct WorkerOutlook
{
	const char *state;			/* what to show, a constant */
	int64		next;			/* when the next step is due */
	TimestampTz next_due;		/* of the first session that is not yet due */
	TimestampTz added;			/* first of what others have added since */
	bool		failed;			/* the last step did: wait before the next */
	bool		look;			/* the next step is to look at the tables */
} WorkerOutlook;

extern void bs_outlook_add(WorkerOutlook *outlook, TimestampTz due);
extern void bs_step_begin(void);
extern bool bs_step_note_clock(void);
extern void bs_step_take(BsExchange *exchange);
extern WorkerVerdict bs_step_run(bool look, WorkerOutlook *outlook);
extern void bs_step_fail(WorkerOutlook *outlook);
extern void bs_step_break_off(const char *error);
extern void bs_step_stop(void);

#endif							/* BS_WORKER_STEP_H */
