/*
 * roster_commit.c
 *		What a transaction wishes of the worker and the launcher, passed on
 *		when it has committed.
 *
 * One callback a backend, registered when it is first needed; a transaction
 * that wakes nobody costs nothing.  A prepared transaction's wishes are not
 * kept: COMMIT PREPARED has its own (hooks.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "roster_slot.h"
#include "utils/timestamp.h"

/* What is to happen when this backend's transaction commits. */
static struct AtCommit
{
	bool		registered;		/* the callbacks are */
	TimestampTz wake_due;		/* the earliest that was added */
	bool		check;			/* the extension has come or gone */
	bool		survey;			/* databases have come */
}			at_commit;

static void
check_own_database(void)
{
	RosterSlot *slot;

	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	slot = bs_slot_get(MyDatabaseId);
	if (slot != NULL)
	{
		slot->wanted = true;
		slot->start_after = 0;
		slot->failures = 0;
		bs_slot_wake(slot);
	}
	bs_slot_wake_launcher();
	LWLockRelease(bs_roster_lock);
	if (slot == NULL)
		ereport(WARNING,
				(errmsg("no background worker for database %u",
						MyDatabaseId),
				 errhint("Increase max_worker_processes.")));
}

static void
wake_own_database(TimestampTz due)
{
	RosterSlot *slot;

	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	slot = bs_slot_find(MyDatabaseId);
	if (slot != NULL)
	{
		slot->added_due = Min(slot->added_due, due);
		if (due < slot->next_due && slot->stage == RUNNING)
			SetLatch(slot->latch);
		else if (due < slot->next_due)
			slot->wake = true;
	}
	LWLockRelease(bs_roster_lock);
	/* A row is tracked, and nobody has told of the extension. */
	if (slot == NULL && due != DT_NOBEGIN)
		check_own_database();
}

static void
ask_for_survey(void)
{
	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	bs_roster->survey = true;
	bs_slot_wake_launcher();
	LWLockRelease(bs_roster_lock);
}

static void
forget_wishes(void)
{
	at_commit.wake_due = DT_NOEND;
	at_commit.check = false;
	at_commit.survey = false;
}

/*
 * Notes that a prepared transaction has made or dropped the extension.
 */
static void
note_prepared(void)
{
	LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
	bs_roster->prepared_check = true;
	LWLockRelease(bs_roster_lock);
}

/*
 * Passes this transaction's wishes on when it has committed.  What a
 * subtransaction wished before it was rolled back wakes for nothing, which
 * does no harm.
 */
static void
at_commit_cb(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_COMMIT)
	{
		struct AtCommit now = at_commit;

		forget_wishes();
		if (now.check)
			check_own_database();
		else if (now.wake_due != DT_NOEND)
			wake_own_database(now.wake_due);
		if (now.survey)
			ask_for_survey();
	}
	else if (event == XACT_EVENT_PREPARE)
	{
		if (at_commit.check)
			note_prepared();
		forget_wishes();
	}
	else if (event == XACT_EVENT_ABORT)
		forget_wishes();
}

static void
register_at_commit(void)
{
	if (at_commit.registered)
		return;
	forget_wishes();
	RegisterXactCallback(at_commit_cb, NULL);
	at_commit.registered = true;
}

/*
 * Has the worker of this database woken when the transaction commits, if it
 * would sleep past "due".
 */
void
bs_roster_wake_at_commit(TimestampTz due)
{
	if (bs_roster == NULL)
		return;
	register_at_commit();
	at_commit.wake_due = Min(at_commit.wake_due, due);
}

/*
 * The same for what COMMIT PREPARED commits, of which nothing is known but
 * whether any prepared transaction has made or dropped the extension.
 */
void
bs_roster_wake_for_prepared(void)
{
	bool		check;

	if (bs_roster == NULL)
		return;
	LWLockAcquire(bs_roster_lock, LW_SHARED);
	check = bs_roster->prepared_check;
	LWLockRelease(bs_roster_lock);
	if (check)
		bs_roster_check_at_commit();
	else
		bs_roster_wake_at_commit(DT_NOBEGIN);
}

/*
 * Has it looked, when the transaction commits, whether this database has the
 * extension.
 */
void
bs_roster_check_at_commit(void)
{
	if (bs_roster == NULL)
		return;
	register_at_commit();
	at_commit.check = true;
}

/*
 * Has the launcher look for new databases when the transaction commits.
 */
void
bs_roster_survey_at_commit(void)
{
	if (bs_roster == NULL)
		return;
	register_at_commit();
	at_commit.survey = true;
}
