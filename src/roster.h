/*
 * roster.h
 *		The databases and their workers, in shared memory.
 */
#ifndef BS_ROSTER_H
#define BS_ROSTER_H

#include "attempt.h"
#include "storage/lwlock.h"

/* What a worker shows of itself. */
typedef struct BsWorkerReport
{
	bool		preloaded;		/* there is shared memory at all */
	int			pid;			/* 0 if it does not run */
	TimestampTz started_at;
	const char *state;			/* what it does, a constant */
	int			in_flight;
	TimestampTz next_due;
	char		last_error[256];	/* empty if there was none */
	TimestampTz last_error_at;
} BsWorkerReport;

/* Of a rollback that hands attempts over, zero at first. */
typedef struct BsPatience
{
	bool		waits;			/* it has had to */
	uint64		taken;			/* bytes the worker had taken when last seen */
	int64		until;			/* when it is given up */
} BsPatience;

extern Size bs_roster_size(void);
extern void bs_roster_attach(LWLock *lock);

/* Any backend's. */
extern void bs_roster_wake_at_commit(TimestampTz due);
extern void bs_roster_wake_for_prepared(void);
extern void bs_roster_check_at_commit(void);
extern void bs_roster_survey_at_commit(void);
extern bool bs_roster_hand_over(const BsFlatAttempt *attempt,
								BsPatience *patience);
extern bool bs_roster_hold(Oid database);
extern void bs_roster_clear(Oid database, long timeout_ms);
extern void bs_roster_forget(Oid database);
extern void bs_roster_release(Oid database);
extern void bs_roster_report(BsWorkerReport *report);

/* The worker's. */
extern bool bs_roster_sign_on(int slot, Oid *database);
extern void bs_roster_sign_off(bool wanted);
extern bool bs_roster_is_worker(void);
extern void bs_roster_leave(void);
extern bool bs_roster_take_wake(TimestampTz *added);
extern void bs_roster_show(const char *state, int in_flight,
						   TimestampTz next_due);
extern void bs_roster_show_error(const char *error);
extern void bs_roster_close(void);
extern Size bs_roster_unsaved(char **copy);
extern void bs_roster_saved(Size size);

/* The launcher's. */
typedef struct BsVacancy
{
	int			slot;
	Oid			database;
} BsVacancy;

extern void bs_roster_set_launcher(void);
extern bool bs_roster_add(Oid database);
extern void bs_roster_purge(bool (*exists) (Oid database));
extern bool bs_roster_next_vacancy(int64 now, BsVacancy *vacancy,
								   int64 *next);
extern void bs_roster_set_starting(int slot, bool starting);
extern bool bs_roster_take_survey(void);

#endif							/* BS_ROSTER_H */
