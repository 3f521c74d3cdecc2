/*
 * roster_launcher.c
 *		The launcher's side of the roster: which workers are to be started.
 */
#include "postgres.h"

#include "clock.h"
#include "miscadmin.h"
#include "roster_slot.h"
#include "storage/ipc.h"

/* Pause before a worker that could not be started is tried again, in µs. */
#define START_PAUSE		BS_US_PER_S

static void
forget_launcher_cb(int code, Datum arg)
{
	(void) code;
	(void) arg;
	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	bs_roster->launcher = NULL;
	LWLockRelease(bs_roster_lock);
}

/*
 * Makes this process the launcher.  Workers that an earlier one has asked for
 * and that have not signed on may never come: their slots are vacant.
 */
void
bs_roster_set_launcher(void)
{
	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	bs_roster->launcher = MyLatch;
	bs_roster->survey = true;
	for (int i = 0; i < bs_roster->nslots; i++)
		if (bs_roster->slot[i].stage == STARTING)
			bs_roster->slot[i].stage = VACANT;
	LWLockRelease(bs_roster_lock);
	before_shmem_exit(forget_launcher_cb, (Datum) 0);
}

/*
 * Wants a worker in a database, which finds out itself whether there is
 * anything to do.  Returns false if there is no slot.
 */
bool
bs_roster_add(Oid database)
{
	RosterSlot *slot;

	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	slot = bs_slot_get(database);
	if (slot != NULL)
		slot->wanted = true;
	LWLockRelease(bs_roster_lock);
	return slot != NULL;
}

/*
 * Gives up the slots of databases that do not exist (any more).
 */
void
bs_roster_purge(bool (*exists) (Oid database))
{
	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	for (int i = 0; i < bs_roster->nslots; i++)
	{
		RosterSlot *slot = &bs_roster->slot[i];

		if (OidIsValid(slot->database) && !exists(slot->database))
		{
			slot->wanted = false;
			bs_slot_free_if_idle(slot);
		}
	}
	LWLockRelease(bs_roster_lock);
}

/*
 * Finds a slot whose worker is to be started now, or else sets *next to the
 * time when one is.
 */
bool
bs_roster_next_vacancy(int64 now, BsVacancy *vacancy, int64 *next)
{
	bool		found = false;

	*next = BS_NEVER;
	LWLockAcquire(bs_roster_lock, LW_SHARED);
	for (int i = 0; i < bs_roster->nslots && !found; i++)
	{
		RosterSlot *slot = &bs_roster->slot[i];

		if (!OidIsValid(slot->database) || !slot->wanted ||
			slot->holds > 0 || slot->stage != VACANT)
			continue;
		found = slot->start_after <= now;
		vacancy->slot = i;
		vacancy->database = slot->database;
		if (!found)
			*next = Min(*next, slot->start_after);
	}
	LWLockRelease(bs_roster_lock);
	return found;
}

/*
 * Notes that a worker has been asked for, or that it will not come.
 */
void
bs_roster_set_starting(int number, bool starting)
{
	RosterSlot *slot;

	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	slot = &bs_roster->slot[number];
	if (starting && slot->stage == VACANT)
		slot->stage = STARTING;
	else if (!starting && slot->stage == STARTING)
	{
		slot->stage = VACANT;
		slot->start_after = bs_clock_now() + START_PAUSE;
	}
	LWLockRelease(bs_roster_lock);
}

/*
 * Is the launcher to look for databases?
 */
bool
bs_roster_take_survey(void)
{
	bool		survey;

	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	survey = bs_roster->survey;
	bs_roster->survey = false;
	LWLockRelease(bs_roster_lock);
	return survey;
}
