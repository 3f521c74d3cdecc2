/*
 * breaker.h
 *		Stops sending to what does not work, and probes until it does.
 */
#ifndef BS_BREAKER_H
#define BS_BREAKER_H

typedef struct BsBreaker
{
	int			failures;		/* in a row */
	bool		open;
	int			probes;			/* failed since it opened */
	bool		probing;		/* a probe is under way */
	int64		probe_at;		/* when the next may be sent */
} BsBreaker;

/* What a failure or a success did. */
typedef enum BsBreakerEvent
{
	BS_BREAKER_AS_BEFORE,
	BS_BREAKER_OPENED,
	BS_BREAKER_CLOSED
} BsBreakerEvent;

extern int	bs_breaker_allows(const BsBreaker *breaker, int wanted, int64 now);
extern int64 bs_breaker_next(const BsBreaker *breaker);
extern void bs_breaker_note_sent(BsBreaker *breaker);
extern BsBreakerEvent bs_breaker_note(BsBreaker *breaker, bool success,
									  int64 now);

#endif							/* BS_BREAKER_H */
