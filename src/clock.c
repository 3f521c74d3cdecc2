/*
 * clock.c
 *		Notices that the clock on the wall has been set.
 *
 * Expiries follow that clock; how long a pause or a lease lasts does not, but
 * in the tables both are points in its time.  So whoever keeps them there has
 * to know by how much it has been set.  That a clock is slewed, or the two are
 * not read at the very same moment, is none of that.
 */
#include "postgres.h"

#include "clock.h"
#include "utils/timestamp.h"

/* What the clocks may move apart between two looks, in µs. */
#define TOLERANCE		(BS_US_PER_S / 2)

/* If reading both takes longer, this process was held up in between, in µs. */
#define AT_ONCE			(10 * BS_US_PER_MS)

/*
 * Returns by how much the clock on the wall has been set since the process
 * last asked, in µs: positive if forward; 0 if it has not been.
 */
int64
bs_clock_shift(void)
{
	static int64 lead = 0;		/* of that clock over the monotonic one */
	static bool known = false;
	int64		before = bs_clock_now();
	int64		now_lead = GetCurrentTimestamp() - before;
	int64		shift = now_lead - lead;

	if (bs_clock_now() - before > AT_ONCE)
		return 0;
	lead = now_lead;
	if (!known || (shift < TOLERANCE && shift > -TOLERANCE))
		shift = 0;
	known = true;
	return shift;
}
