/*
 * roster_slot.h
 *		The roster's memory, for the files roster*.c.
 */
#ifndef BS_ROSTER_SLOT_H
#define BS_ROSTER_SLOT_H

#include "roster.h"
#include "storage/latch.h"

/* Bytes of a slot's unsaved attempts: some 3,000 of them. */
#define BS_RING_SIZE	(1024 * 1024)

typedef enum WorkerStage
{
	VACANT,
	STARTING,					/* the launcher has asked for it */
	RUNNING						/* it has signed on */
} WorkerStage;

typedef struct RosterSlot
{
	Oid			database;		/* InvalidOid = the slot is free */
	bool		wanted;			/* a worker is to run, as far as known */
	int			holds;			/* commands that need it out of the way */
	WorkerStage stage;
	int			pid;			/* if running */
	Latch	   *latch;			/* if running */
	bool		closing;		/* it takes no more unsaved attempts */
	bool		wake;			/* the worker is to look at its tables */
	TimestampTz added_due;		/* first of what was added since it looked */
	TimestampTz started_at;
	int64		began;			/* the same by the monotonic clock */
	int64		start_after;	/* by that clock, do not start it before */
	int			failures;		/* in a row */
	const char *state;			/* of the following, what the worker shows */
	int			in_flight;
	TimestampTz next_due;
	char		last_error[256];
	TimestampTz last_error_at;
	uint64		ring_in;		/* bytes ever put in */
	uint64		ring_out;		/* bytes ever taken out */
	char		ring[BS_RING_SIZE];	/* flat attempts */
} RosterSlot;

typedef struct Roster
{
	Latch	   *launcher;		/* NULL = there is none */
	bool		survey;			/* it is to look at pg_database */
	bool		prepared_check; /* the extension came or went in a prepared
								 * transaction, some time */
	int			nslots;
	RosterSlot	slot[FLEXIBLE_ARRAY_MEMBER];
} Roster;

/* NULL = the library is not preloaded. */
extern Roster *bs_roster;
extern LWLock *bs_roster_lock;

/* The caller of these has the lock. */
extern RosterSlot *bs_slot_find(Oid database);
extern RosterSlot *bs_slot_get(Oid database);
extern void bs_slot_free_if_idle(RosterSlot *slot);
extern void bs_slot_wake(RosterSlot *slot);
extern void bs_slot_wake_launcher(void);

#endif							/* BS_ROSTER_SLOT_H */
