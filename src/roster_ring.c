/*
 * roster_ring.c
 *		Handing attempts over that a rollback has lost.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "roster_slot.h"

/* How long a backend waits for room among the unsaved attempts, in ms. */
#define RING_PATIENCE	2000

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
 * Waits a moment if it has to make room first.  Returns false if there is
 * none, or it does not get on.  Does not throw: this happens in an abort.
 */
bool
bs_roster_hand_over(const BsFlatAttempt *attempt)
{
	Size		size = bs_attempt_size(attempt);

	if (bs_roster == NULL)
		return false;
	for (int i = 0; i < RING_PATIENCE; i++)
	{
		RosterSlot *slot;
		bool		running;
		bool		fits;

		LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
		slot = bs_slot_find(MyDatabaseId);
		running = slot != NULL && slot->stage == RUNNING;
		fits = slot != NULL && slot->wanted &&
			slot->ring_in - slot->ring_out + size <= BS_RING_SIZE;
		if (fits)
			ring_put(slot, (const char *) attempt, size);
		if (running)
			bs_slot_wake(slot);
		LWLockRelease(bs_roster_lock);
		if (fits || !running)
			return fits;
		pg_usleep(1000);
	}
	return false;
}

