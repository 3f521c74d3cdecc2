/*
 * worker_job.h
 *		A session that the worker is ending, from the claim to the record.
 */
#ifndef BS_WORKER_JOB_H
#define BS_WORKER_JOB_H

#include "lib/ilist.h"
#include "tracking.h"
#include "worker_lane.h"

typedef struct WorkerJob
{
	dlist_node	node;
	MemoryContext context;		/* holds the job and all it points to */
	BsClaim		claim;
	WorkerLane *lane;
	BsAccount  *account;		/* pinned; NULL = nothing can be sent */
	bool		begun;			/* its exchange has */
	bool		sent;			/* and was broken off after a request */
	bool		aside;			/* it is over, and its row was locked */
	int			nattempts;		/* to be written into the audit */
	BsAttempt  *attempt;
	BsSettlement settlement;
} WorkerJob;

extern void bs_jobs_begin(void);
extern WorkerJob *bs_job_create(const BsClaim *claim, WorkerLane *lane,
								BsAccount *account);
extern void bs_job_begin(WorkerJob *job);
extern WorkerJob *bs_job_finish(BsExchange *exchange);
extern void bs_job_fail(WorkerJob *job, const char *error);
extern void bs_job_give_back(WorkerJob *job, const char *error);
extern void bs_job_note_lost(WorkerJob *job);
extern WorkerJob *bs_job_set_aside(WorkerJob *job);
extern bool bs_job_is_held(const char *provider, const char *session_id);
extern const char **bs_jobs_list_held(const char *provider, int *n);
extern void bs_job_free(WorkerJob *job);
extern void bs_jobs_rest(void);
extern int	bs_jobs_in_flight(void);

#endif							/* BS_WORKER_JOB_H */
