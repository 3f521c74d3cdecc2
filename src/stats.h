/*
 * stats.h
 *		Counters of what servers were asked, in shared memory.
 */
#ifndef BS_STATS_H
#define BS_STATS_H

#include "datatype/timestamp.h"
#include "outcome.h"
#include "storage/lwlock.h"

typedef struct BsCounters
{
	NameData	server;
	int64		outcome[BS_NOUTCOMES];
	int64		retries;		/* attempts after the first */
	int64		measured;		/* attempts whose latency is known */
	int64		latency_sum;	/* µs */
	int64		latency_max;	/* µs */
	TimestampTz last_attempt_at;
} BsCounters;

extern Size bs_stats_size(void);
extern void bs_stats_attach(LWLock *lock);
extern void bs_stats_count(const char *server, BsOutcome outcome, int number,
						   int64 elapsed);
extern BsCounters *bs_stats_read(int *n);

#endif							/* BS_STATS_H */
