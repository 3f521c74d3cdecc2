/*
 * roster_ring.c
 *		Handing attempts over that a rollback has lost.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "roster_slot.h"
#include "storage/ipc.h"

static void
ring_put(RosterSlot *slot, const char *from, Size size)
{
	Size		at = slot->ring_in % BS_RING_SIZE;
	Size		first = Min(size, BS_RING_SIZE - at);

	memcpy(slot->ring + at, from, first);
	memcpy(slot->ring, from + first, size - first);
	slot->ring_in += size;
}

/*
 * Hands an attempt that this transaction's rollback has lost to the worker.
 * Waits, for *patience milliseconds in all, if it has to make room first.
 * Returns false if there is none, or it does not get on.  Does not throw: this
 * happens in an abort.
 *
 * While the worker starts anew, its successor finds the attempt; but if this
 * backend ends as well, that may be PostgreSQL's shutting down.
 */
bool
bs_roster_hand_over(const BsFlatAttempt *attempt, int *patience)
{
	Size		size = bs_attempt_size(attempt);

	if (bs_roster == NULL)
		return false;
	for (;;)
	{
		RosterSlot *slot;
		bool		running;
		bool		fits;

		LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
		slot = bs_slot_find(MyDatabaseId);
		running = slot != NULL && slot->stage == RUNNING && !slot->closing;
		fits = slot != NULL && slot->wanted &&
			(running || !(ProcDiePending || proc_exit_inprogress)) &&
			slot->ring_in - slot->ring_out + size <= BS_RING_SIZE;
		if (fits)
			ring_put(slot, (const char *) attempt, size);
		if (running)
			bs_slot_wake(slot);
		LWLockRelease(bs_roster_lock);
		if (fits || !running || (*patience)-- <= 0)
			return fits;
		pg_usleep(1000);
	}
}
