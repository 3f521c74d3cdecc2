/*
 * tracking_worker.c
 *		What the worker asks of the tables but for claiming and recording: what
 *		is due, claims whose owner is gone, rows that are old.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tracking.h"
#include "tracking_statement.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* One step through the index for each lane, however many sessions it has. */
static BsStatement lanes = {
	.sql = "WITH RECURSIVE lane AS ("
	" (SELECT provider, tracked_by FROM @.bsession_tracked"
	"  WHERE next_attempt_at IS NOT NULL"
	"  ORDER BY provider, tracked_by LIMIT 1)"
	" UNION ALL"
	" SELECT n.provider, n.tracked_by FROM lane CROSS JOIN LATERAL"
	"  (SELECT t.provider, t.tracked_by FROM @.bsession_tracked t"
	"   WHERE (t.provider, t.tracked_by) > (lane.provider, lane.tracked_by)"
	"   AND t.next_attempt_at IS NOT NULL"
	"   ORDER BY t.provider, t.tracked_by LIMIT 1) AS n)"
	" SELECT provider, tracked_by,"
	" (SELECT t.next_attempt_at FROM @.bsession_tracked t"
	"  WHERE t.provider = lane.provider AND t.tracked_by = lane.tracked_by"
	"  AND t.next_attempt_at IS NOT NULL"
	"  ORDER BY t.next_attempt_at LIMIT 1)"
	" FROM lane",
	.narguments = 0
};

/* What is due first in a lane, not before a time. */
static BsStatement next = {
	.sql = "SELECT next_attempt_at FROM @.bsession_tracked"
	" WHERE provider = $1 AND tracked_by = $2 AND next_attempt_at >= $3"
	" ORDER BY next_attempt_at LIMIT 1",
	.narguments = 3,
	.type = {TEXTOID, NAMEOID, TIMESTAMPTZOID}
};

/*
 * The owner of a claim is gone: it need not be waited for.  Nor need a pause
 * that is longer than any: the clock was wrong when it was planned.
 */
static BsStatement void_claims = {
	.sql = "UPDATE @.bsession_tracked SET next_attempt_at = $1"
	" WHERE ctid = ANY (ARRAY("
	" SELECT ctid FROM @.bsession_tracked"
	" WHERE next_attempt_at > $1 AND CASE"
	"  WHEN claimed_by IS NOT NULL THEN claimed_by NOT IN"
	"   (SELECT pid FROM pg_stat_get_activity(NULL) WHERE pid <> $2)"
	"  ELSE state = 'ending' AND next_attempt_at > $3 END"
	" FOR NO KEY UPDATE SKIP LOCKED))",
	.narguments = 3,
	.type = {TIMESTAMPTZOID, INT4OID, TIMESTAMPTZOID}
};

/* What the clock was set by is not a part of a pause, or of our lease. */
static BsStatement shift_pauses = {
	.sql = "UPDATE @.bsession_tracked"
	" SET next_attempt_at = next_attempt_at + $1 * '1 microsecond'::interval"
	" WHERE ctid = ANY (ARRAY("
	" SELECT ctid FROM @.bsession_tracked"
	" WHERE next_attempt_at > $2 AND state = 'ending'"
	" AND (claimed_by IS NULL OR claimed_by = $3)"
	" FOR NO KEY UPDATE SKIP LOCKED))",
	.narguments = 3,
	.type = {FLOAT8OID, TIMESTAMPTZOID, INT4OID}
};

/* What is to be done this moment. */
static BsStatement due_now = {
	.sql = "SELECT count(*) FROM @.bsession_tracked"
	" WHERE next_attempt_at <= clock_timestamp()",
	.narguments = 0
};

/* The first ones are the oldest but for some milliseconds. */
static BsStatement forget_attempts = {
	.sql = "DELETE FROM @.bsession_audit WHERE ctid = ANY (ARRAY("
	" SELECT ctid FROM @.bsession_audit WHERE at < $1 AND id <="
	"  (SELECT max(id) FROM (SELECT id FROM @.bsession_audit"
	"   WHERE at < pg_catalog.now()"
	"   ORDER BY id LIMIT $2) AS first)"
	" FOR UPDATE SKIP LOCKED))",
	.narguments = 2,
	.type = {TIMESTAMPTZOID, INT4OID}
};

static BsStatement forget_sessions = {
	.sql = "DELETE FROM @.bsession_tracked WHERE ctid = ANY (ARRAY("
	" SELECT ctid FROM @.bsession_tracked"
	" WHERE ended_at < $1 AND state = 'ended'"
	" ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
	.narguments = 2,
	.type = {TIMESTAMPTZOID, INT4OID}
};

/*
 * Returns what is to be done for each role at each server, and their number,
 * in the current memory context.
 */
BsLaneDue *
bs_tracking_lanes(int *n)
{
	BsScope		scope;
	BsLaneDue  *result;
	bool		null;

	bs_statement_begin(&scope);
	*n = (int) bs_statement_run(&scope, &lanes, NULL, NULL);
	result = MemoryContextAlloc(scope.context, sizeof(BsLaneDue) * (*n + 1));
	for (int i = 0; i < *n; i++)
	{
		result[i].provider = bs_statement_text(&scope, i, 1);
		result[i].role = bs_statement_text(&scope, i, 2);
		result[i].due = DatumGetTimestampTz(bs_statement_get(i, 3, &null));
		/* Taken away since the index was looked at. */
		if (null)
			result[i].due = DT_NOEND;
	}
	bs_statement_end(&scope);
	return result;
}

/*
 * Returns when the first session of a lane is due that is not due before what
 * is said there; DT_NOEND if there is none.
 */
TimestampTz
bs_tracking_next(const BsLaneDue *lane)
{
	Datum		arguments[3];
	BsScope		scope;
	TimestampTz due = DT_NOEND;
	bool		null;

	bs_statement_begin(&scope);
	arguments[0] = CStringGetTextDatum(lane->provider);
	arguments[1] = bs_name(lane->role);
	arguments[2] = TimestampTzGetDatum(lane->due);
	if (bs_statement_run(&scope, &next, arguments, NULL) > 0)
		due = DatumGetTimestampTz(bs_statement_get(0, 1, &null));
	bs_statement_end(&scope);
	return due;
}

/*
 * Makes due what processes had claimed that do not exist any more, and what
 * waits for longer than the longest pause, in µs.  This process has just
 * begun: what bears its number is not its own.
 */
void
bs_tracking_void_claims(int64 longest_pause)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum		arguments[3];
	BsScope		scope;

	bs_statement_begin(&scope);
	arguments[0] = TimestampTzGetDatum(now);
	arguments[1] = Int32GetDatum(MyProcPid);
	arguments[2] = TimestampTzGetDatum(now + longest_pause);
	(void) bs_statement_run(&scope, &void_claims, arguments, NULL);
	bs_statement_end(&scope);
}

/*
 * Has the pauses before further attempts, and the leases of this process, last
 * as long as they would have, had the clock not been set by so many µs.
 */
void
bs_tracking_shift_pauses(int64 shift)
{
	Datum		arguments[3];
	BsScope		scope;

	bs_statement_begin(&scope);
	arguments[0] = Float8GetDatum((double) shift);
	/* What was over before a forward step, or is after a backward one, is. */
	arguments[1] = TimestampTzGetDatum(GetCurrentTimestamp() - Max(shift, 0));
	arguments[2] = Int32GetDatum(MyProcPid);
	(void) bs_statement_run(&scope, &shift_pauses, arguments, NULL);
	bs_statement_end(&scope);
}

/*
 * Deletes ended sessions, or attempts, from before a time, at most so many.
 * Returns their number.
 */
int
bs_tracking_forget_old(bool sessions, TimestampTz before, int most)
{
	Datum		arguments[2];
	BsScope		scope;
	uint64		n;

	bs_statement_begin(&scope);
	bs_statement_guard_deletion(sessions ? scope.extension.tracked :
								scope.extension.audit);
	arguments[0] = TimestampTzGetDatum(before);
	arguments[1] = Int32GetDatum(most);
	n = bs_statement_run(&scope, sessions ? &forget_sessions :
						 &forget_attempts, arguments, NULL);
	bs_statement_end(&scope);
	return (int) n;
}

/*
 * Returns how much is to be done this moment; -1 if that cannot be known: not
 * without waiting for somebody's lock, or because the table was moved away,
 * of which the worker's state tells.
 */
int64
bs_tracking_due_now(void)
{
	BsExtension extension;
	BsScope		scope;
	int64		result;
	bool		null;

	if (!bs_extension_find(&extension) ||
		!ConditionalLockRelationOid(extension.tracked, AccessShareLock))
		return -1;
	bs_statement_begin_reading(&scope);
	(void) bs_statement_run(&scope, &due_now, NULL, NULL);
	result = DatumGetInt64(bs_statement_get(0, 1, &null));
	bs_statement_end(&scope);
	return result;
}
