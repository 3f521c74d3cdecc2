/*
 * clock.h
 *		The monotonic clock that deadlines are counted on.  A deadline is a
 *		point in time in microseconds and is handed down as such, never as a
 *		remaining duration.  The wall clock may be stepped; this one is not.
 */
#ifndef BS_CLOCK_H
#define BS_CLOCK_H

#include "datatype/timestamp.h"
#include "portability/instr_time.h"

#define BS_US_PER_MS	INT64CONST(1000)
#define BS_US_PER_S		INT64CONST(1000000)
#define BS_NEVER		PG_INT64_MAX

/* What a TimestampTz is behind microseconds since 1970. */
#define BS_EPOCH_OFFSET \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

static inline int64
bs_clock_now(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

extern int64 bs_clock_shift(void);

#endif							/* BS_CLOCK_H */
