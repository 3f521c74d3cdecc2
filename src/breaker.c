/*
 * breaker.c
 *		Stops sending to what does not work, and probes until it does.
 *
 * Closed, it lets everything pass.  After several failures in a row it opens:
 * then one session at a time may be tried, with pauses that double, until one
 * of them is a success.
 */
#include "postgres.h"

#include "breaker.h"
#include "clock.h"

/* Failures in a row that open it. */
#define THRESHOLD	5

/* Pause before a probe, and the longest one. */
#define PROBE_PAUSE			(BS_US_PER_S / 2)
#define PROBE_PAUSE_MAX		(15 * BS_US_PER_S)

/*
 * Returns how many of the wanted may be sent now.
 */
int
bs_breaker_allows(const BsBreaker *breaker, int wanted, int64 now)
{
	if (!breaker->open)
		return wanted;
	return breaker->probing || now < breaker->probe_at ? 0 : Min(wanted, 1);
}

/*
 * Returns when something may be sent: 0 = now, BS_NEVER = after the probe
 * that is under way.
 */
int64
bs_breaker_next(const BsBreaker *breaker)
{
	if (!breaker->open)
		return 0;
	return breaker->probing ? BS_NEVER : breaker->probe_at;
}

/*
 * Notes that something is being sent.
 */
void
bs_breaker_note_sent(BsBreaker *breaker)
{
	if (breaker->open)
		breaker->probing = true;
}

/*
 * Notes what became of it.  What was sent before it opened may come in late
 * and counts as a probe, if it is a success.
 */
BsBreakerEvent
bs_breaker_note(BsBreaker *breaker, bool success, int64 now)
{
	bool		was_open = breaker->open;

	if (success)
	{
		memset(breaker, 0, sizeof(*breaker));
		return was_open ? BS_BREAKER_CLOSED : BS_BREAKER_AS_BEFORE;
	}
	breaker->failures++;
	if (!was_open && breaker->failures < THRESHOLD)
		return BS_BREAKER_AS_BEFORE;
	if (!was_open || breaker->probing)
	{
		breaker->probe_at = now +
			Min(PROBE_PAUSE << Min(breaker->probes, 10), PROBE_PAUSE_MAX);
		breaker->probes++;
	}
	breaker->open = true;
	breaker->probing = false;
	return was_open ? BS_BREAKER_AS_BEFORE : BS_BREAKER_OPENED;
}
