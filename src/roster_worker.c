/*
 * roster_worker.c
 *		The worker's side of the roster: signing on and off, what it shows, and
 *		the attempts that backends have handed over.
 */
#include "postgres.h"

#include "clock.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "roster_slot.h"
#include "utils/timestamp.h"

/* A worker that ran at least this long starts anew at once, in µs. */
#define HEALTHY_RUN		(60 * BS_US_PER_S)

/* Pause before a worker that failed is started again, in µs; it doubles. */
#define RESTART_PAUSE	BS_US_PER_S
#define RESTART_PAUSE_MAX	(60 * BS_US_PER_S)

/* The slot of this process, if it is a worker. */
static RosterSlot *own = NULL;
static bool announced = false;	/* it has said that it will end */
static bool still_wanted = true;	/* another one is to come */

/*
 * Signs this process on as the worker of a slot.  Returns false if it is not
 * wanted there (any more).
 */
bool
bs_roster_sign_on(int number, Oid *database)
{
	RosterSlot *slot;
	bool		welcome;

	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	slot = &bs_roster->slot[number];
	welcome = OidIsValid(slot->database) && slot->wanted &&
		slot->holds == 0 && slot->stage == STARTING;
	if (welcome)
	{
		*database = slot->database;
		slot->stage = RUNNING;
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		slot->started_at = GetCurrentTimestamp();
		slot->began = bs_clock_now();
		slot->wake = false;
		slot->added_due = DT_NOEND;
		slot->closing = false;
		slot->state = "starting";
		slot->in_flight = 0;
		slot->next_due = DT_NOEND;
		own = slot;
	}
	else if (slot->stage == STARTING)
	{
		slot->stage = VACANT;
		bs_slot_wake_launcher();
	}
	LWLockRelease(bs_roster_lock);
	return welcome;
}

/*
 * Makes this worker's slot vacant; "failed" says that nobody expected it.
 */
static void
leave(bool wanted, bool failed)
{
	int64		now = bs_clock_now();

	own->stage = VACANT;
	own->pid = 0;
	own->latch = NULL;
	own->state = NULL;
	own->in_flight = 0;
	/* Whoever comes from now on is to wake the next one. */
	own->next_due = DT_NOEND;
	/* Somebody may have changed his mind since it last looked. */
	own->wanted = own->wanted && (wanted || own->wake ||
								   own->added_due != DT_NOEND);
	if (failed)
	{
		if (now - own->began >= HEALTHY_RUN)
			own->failures = 0;
		own->start_after = now + Min(RESTART_PAUSE << Min(own->failures, 6),
									 RESTART_PAUSE_MAX);
		own->failures++;
	}
	bs_slot_free_if_idle(own);
	bs_slot_wake_launcher();
	own = NULL;
}

/*
 * Announces that this worker is about to end: as asked, or because there is
 * nothing for one to do ("wanted" is false).
 */
void
bs_roster_sign_off(bool wanted)
{
	announced = true;
	still_wanted = wanted;
}

/*
 * Makes this worker's slot vacant.  To be called when the process has left
 * the database; if it has not signed off, it has failed.
 */
void
bs_roster_leave(void)
{
	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	if (own != NULL)
		leave(still_wanted, !announced);
	LWLockRelease(bs_roster_lock);
}

/*
 * Is this process a worker?
 */
bool
bs_roster_is_worker(void)
{
	return own != NULL;
}

/*
 * Has somebody woken this worker since it last asked?  Sets *added to when the
 * first session is due that has been added since then, by somebody who need
 * not have woken it.
 */
bool
bs_roster_take_wake(TimestampTz *added)
{
	bool		wake;

	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	wake = own->wake;
	own->wake = false;
	*added = own->added_due;
	own->added_due = DT_NOEND;
	LWLockRelease(bs_roster_lock);
	return wake;
}

/*
 * Shows what this worker does; "state" is a constant.  Who commits something
 * earlier than "next_due" sets its latch.
 */
void
bs_roster_show(const char *state, int in_flight, TimestampTz next_due)
{
	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	own->state = state;
	own->in_flight = in_flight;
	own->next_due = next_due;
	/* The latch may have been reset by something else that waited. */
	if (own->wake || own->added_due < next_due)
		SetLatch(own->latch);
	LWLockRelease(bs_roster_lock);
}

/*
 * Shows what went wrong in this worker.
 */
void
bs_roster_show_error(const char *error)
{
	int			length = pg_mbcliplen(error, (int) strlen(error),
									  sizeof(own->last_error) - 1);

	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	memcpy(own->last_error, error, length);
	own->last_error[length] = '\0';
	own->last_error_at = GetCurrentTimestamp();
	LWLockRelease(bs_roster_lock);
}

/*
 * Copies the unsaved attempts of this worker's database into the current
 * memory context.  Returns their size in bytes.
 */
Size
bs_roster_unsaved(char **copy)
{
	Size		size;
	Size		at;
	Size		first;

	LWLockAcquire(bs_roster_lock, LW_SHARED);
	size = own->ring_in - own->ring_out;
	LWLockRelease(bs_roster_lock);
	/* Only this process takes out, so what is there stays there. */
	if (size == 0)
		return 0;
	at = own->ring_out % BS_RING_SIZE;
	first = Min(size, BS_RING_SIZE - at);
	*copy = palloc(size);
	memcpy(*copy, own->ring + at, first);
	memcpy(*copy + first, own->ring, size - first);
	return size;
}

/*
 * Says that this worker takes no more attempts: what is there is the last.
 */
void
bs_roster_close(void)
{
	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	own->closing = true;
	LWLockRelease(bs_roster_lock);
}

/*
 * Forgets that many bytes of unsaved attempts, now that they are saved.
 */
void
bs_roster_saved(Size size)
{
	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	own->ring_out += size;
	LWLockRelease(bs_roster_lock);
}
