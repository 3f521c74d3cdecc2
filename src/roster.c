/*
 * roster.c
 *		The databases and their workers, in shared memory.
 *
 * Each database that has, or may have, the extension has a slot.  Backends
 * use it to wake the worker at commit, to hand it audit rows that their own
 * transaction lost, and to keep it away while a command needs the database
 * to itself; the worker, to show what it does; the launcher, to see where a
 * worker is missing.
 *
 * A slot is a database's as long as "database" is set.  Its worker is
 * STARTING from when the launcher has asked for it, RUNNING from when it has
 * signed on, VACANT otherwise.  Only a worker that could sign on may connect
 * to the database, and while a slot is held none can: so whoever holds it and
 * sees it vacant knows that none is or comes.
 *
 * Everything is under one lock, held for a few instructions at a time.
 * Without the library preloaded there is no roster, and all this does
 * nothing.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "roster_slot.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

Roster	   *bs_roster = NULL;
LWLock	   *bs_roster_lock;

/* ----------------------------------------------------------------
 * Slots
 * ----------------------------------------------------------------
 */

Size
bs_roster_size(void)
{
	return add_size(offsetof(Roster, slot),
					mul_size(sizeof(RosterSlot), max_worker_processes));
}

/*
 * Finds the roster, or sets it up.
 */
void
bs_roster_attach(LWLock *own_lock)
{
	bool		found;

	bs_roster_lock = own_lock;
	bs_roster = ShmemInitStruct("browser_session roster", bs_roster_size(),
							 &found);
	if (!found)
	{
		memset(bs_roster, 0, bs_roster_size());
		bs_roster->nslots = max_worker_processes;
	}
}

/*
 * Returns the database's slot; NULL if it has none.
 */
RosterSlot *
bs_slot_find(Oid database)
{
	for (int i = 0; i < bs_roster->nslots; i++)
		if (bs_roster->slot[i].database == database)
			return &bs_roster->slot[i];
	return NULL;
}

/*
 * Returns the database's slot, a new one if need be; NULL if all are in use.
 */
RosterSlot *
bs_slot_get(Oid database)
{
	RosterSlot *slot = bs_slot_find(database);

	if (slot == NULL && (slot = bs_slot_find(InvalidOid)) != NULL)
	{
		memset(slot, 0, offsetof(RosterSlot, ring));
		slot->database = database;
	}
	return slot;
}

/*
 * Gives a slot up that nobody needs.
 */
void
bs_slot_free_if_idle(RosterSlot *slot)
{
	if (!slot->wanted && slot->holds == 0 && slot->stage == VACANT)
		slot->database = InvalidOid;
}

/*
 * Has the slot's worker look at its tables, the next one if none runs.
 */
void
bs_slot_wake(RosterSlot *slot)
{
	slot->wake = true;
	if (slot->stage == RUNNING)
		SetLatch(slot->latch);
}

/*
 * Has the launcher look at the roster.
 */
void
bs_slot_wake_launcher(void)
{
	if (bs_roster->launcher != NULL)
		SetLatch(bs_roster->launcher);
}

/* ----------------------------------------------------------------
 * Keeping a worker away
 * ----------------------------------------------------------------
 */

static void
drop_hold(Oid database)
{
	RosterSlot *slot;

	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	slot = bs_slot_find(database);
	if (slot != NULL)
	{
		slot->holds--;
		bs_slot_free_if_idle(slot);
	}
	bs_slot_wake_launcher();
	LWLockRelease(bs_roster_lock);
}

static void
drop_hold_cb(int code, Datum database)
{
	(void) code;
	drop_hold(DatumGetObjectId(database));
}

/*
 * Asks the database's worker to go, if there is one.  Returns whether there
 * is none any more.
 */
static bool
send_away(Oid database)
{
	RosterSlot *slot;
	bool		gone;

	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	slot = bs_slot_find(database);
	gone = slot == NULL || slot->stage == VACANT;
	if (!gone && slot->stage == RUNNING)
		kill(slot->pid, SIGTERM);
	LWLockRelease(bs_roster_lock);
	return gone;
}

/*
 * Has no worker come to a database any more, because it has been dropped.
 */
void
bs_roster_forget(Oid database)
{
	RosterSlot *slot;

	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	slot = bs_slot_find(database);
	if (slot != NULL)
		slot->wanted = false;
	LWLockRelease(bs_roster_lock);
}

/*
 * Keeps a worker from coming to a database until bs_roster_release(), or this
 * backend's end.  Returns false, holding nothing, if there is no roster, or no
 * room in it.
 */
bool
bs_roster_hold(Oid database)
{
	RosterSlot *slot;

	if (bs_roster == NULL)
		return false;
	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	slot = bs_slot_get(database);
	if (slot != NULL)
		slot->holds++;
	LWLockRelease(bs_roster_lock);
	if (slot == NULL)
		return false;
	before_shmem_exit(drop_hold_cb, ObjectIdGetDatum(database));
	return true;
}

/*
 * Has the worker of a database that is held go, and waits for that, for at
 * most so many milliseconds.
 */
void
bs_roster_clear(Oid database, long timeout_ms)
{
	for (long waited = 0; waited < timeout_ms && !send_away(database);
		 waited += 2)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(2000);
	}
}

/*
 * Lets the database's worker come back.
 */
void
bs_roster_release(Oid database)
{
	cancel_before_shmem_exit(drop_hold_cb, ObjectIdGetDatum(database));
	drop_hold(database);
}

/*
 * Fills in what the worker of this database shows.
 */
void
bs_roster_report(BsWorkerReport *report)
{
	RosterSlot *slot;

	memset(report, 0, sizeof(*report));
	report->next_due = DT_NOEND;
	report->preloaded = bs_roster != NULL;
	if (bs_roster == NULL)
		return;
	LWLockAcquire(bs_roster_lock, LW_SHARED);
	slot = bs_slot_find(MyDatabaseId);
	if (slot != NULL)
	{
		report->pid = slot->pid;
		report->started_at = slot->started_at;
		report->state = slot->state;
		report->in_flight = slot->in_flight;
		report->next_due = slot->next_due;
		strlcpy(report->last_error, slot->last_error,
				sizeof(report->last_error));
		report->last_error_at = slot->last_error_at;
	}
	LWLockRelease(bs_roster_lock);
}
