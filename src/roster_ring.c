/*
 * roster_ring.c
 *		Handing attempts over that a rollback has lost.
 */
#include "postgres.h"

#include "clock.h"
#include "miscadmin.h"
#include "roster_slot.h"
#include "storage/ipc.h"

/* How long a rollback waits for a worker that does not get on. */
#define PATIENCE	(10 * BS_US_PER_S)

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
 * Waits a little for the worker, which has taken that many bytes, to make
 * room.  Returns false if it has not got on for too long, or somebody wants
 * this process to stop.
 */
static bool
wait_for_room(BsPatience *patience, uint64 taken)
{
	/* Interrupts are held, for this is an abort. */
	if (QueryCancelPending || ProcDiePending)
		return false;
	if (!patience->waits || patience->taken != taken)
	{
		patience->waits = true;
		patience->taken = taken;
		patience->until = bs_clock_now() + PATIENCE;
	}
	if (bs_clock_now() >= patience->until)
		return false;
	pg_usleep(1000);
	return true;
}

/*
 * Hands an attempt that this transaction's rollback has lost to the worker.
 * If that has to make room first, waits as long as it gets on.  Returns false
 * if there is none, or it does not.  Does not throw: this happens in an abort.
 *
 * While the worker starts anew, its successor finds the attempt; but if this
 * backend ends as well, that may be PostgreSQL's shutting down.
 */
bool
bs_roster_hand_over(const BsFlatAttempt *attempt, BsPatience *patience)
{
	Size		size = bs_attempt_size(attempt);
	uint64		taken = 0;
	bool		running;
	bool		fits;

	if (bs_roster == NULL)
		return false;
	do
	{
		RosterSlot *slot;

		LWLockAcquire(bs_roster_lock, LW_EXCLUSIVE);
		slot = bs_slot_find(MyDatabaseId);
		running = slot != NULL && slot->stage == RUNNING && !slot->closing;
		fits = slot != NULL && slot->wanted &&
			(running || !(ProcDiePending || proc_exit_inprogress)) &&
			slot->ring_in - slot->ring_out + size <= BS_RING_SIZE;
		if (fits)
			ring_put(slot, (const char *) attempt, size);
		if (running)
		{
			bs_slot_wake(slot);
			taken = slot->ring_out;
		}
		LWLockRelease(bs_roster_lock);
	} while (!fits && running && wait_for_room(patience, taken));
	return fits;
}
