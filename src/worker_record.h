/*
 * worker_record.h
 *		What is over and not yet recorded.
 */
#ifndef BS_WORKER_RECORD_H
#define BS_WORKER_RECORD_H

#include "worker_job.h"

/* Claims of a lane that wait to be recorded keep it from getting more. */
#define BS_MOST_UNRECORDED	256

extern void bs_records_add(WorkerJob *job);
extern void bs_records_make(int most);
extern void bs_records_drop(void);
extern void bs_records_hurry(void);
extern void bs_records_fail(bool one);
extern bool bs_records_none(void);
extern int64 bs_records_next(int64 clock);

#endif							/* BS_WORKER_RECORD_H */
