/*
 * tracking_worker.c
 *		What is due, claiming it, and recording what became of it.
 *
 * A claim is a short transaction of its own: it counts the attempt and sets
 * a lease (next_attempt_at) and who has it (claimed_by), and is committed
 * before anything is sent.  A claim that was never recorded is found when its
 * lease has lapsed, by being due while it still has an owner.
 *
 * Neither claiming nor recording waits for a lock on a row: a row that a
 * caller has locked is passed over.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
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

static BsStatement claim = {
	.sql = "WITH due AS MATERIALIZED ("
	" SELECT ctid AS tid, claimed_by, next_attempt_at FROM @.bsession_tracked"
	" WHERE provider = $1 AND tracked_by = $2 AND next_attempt_at <= $3"
	" AND next_attempt_at >= $9"
	" AND (SELECT count(*) > 0 AND bool_and(system_identifier = $7"
	"  AND database = $8) FROM @.bsession_home)"
	" ORDER BY next_attempt_at LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED)"
	" UPDATE @.bsession_tracked t SET state = 'ending',"
	" attempts = t.attempts + 1, claimed_by = $5, next_attempt_at = $6"
	" FROM due WHERE t.ctid = due.tid"
	" RETURNING t.provider, t.tracked_by, t.session_id, t.reason,"
	" t.attempts, t.outcome = 'requested', due.claimed_by IS NOT NULL,"
	" due.next_attempt_at",
	.narguments = 9,
	.type = {TEXTOID, NAMEOID, TIMESTAMPTZOID, INT4OID, INT4OID,
		TIMESTAMPTZOID, INT8OID, OIDOID, TIMESTAMPTZOID}
};

/* What is due first in a lane, not before a time. */
static BsStatement next = {
	.sql = "SELECT next_attempt_at FROM @.bsession_tracked"
	" WHERE provider = $1 AND tracked_by = $2 AND next_attempt_at >= $3"
	" ORDER BY next_attempt_at LIMIT 1",
	.narguments = 3,
	.type = {TEXTOID, NAMEOID, TIMESTAMPTZOID}
};

/* Says of which rows it could not, because somebody has them locked. */
static BsStatement record = {
	.sql = "WITH n AS MATERIALIZED ("
	" SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) AS n(provider,"
	"  session_id, state, outcome, error, next_attempt_at, ended_at,"
	"  attempt)),"
	" mine AS MATERIALIZED ("
	" SELECT t.ctid AS tid, n.* FROM n"
	"  JOIN @.bsession_tracked t USING (provider, session_id)"
	"  WHERE t.claimed_by = $9 AND t.attempts = n.attempt"
	"  AND t.state = 'ending'"
	"  ORDER BY provider, session_id FOR NO KEY UPDATE OF t SKIP LOCKED),"
	" done AS ("
	" UPDATE @.bsession_tracked t SET state = mine.state,"
	"  outcome = coalesce(mine.outcome, t.outcome),"
	"  last_error = mine.error,"
	"  next_attempt_at = mine.next_attempt_at, ended_at = mine.ended_at,"
	"  claimed_by = NULL"
	"  FROM mine WHERE t.ctid = mine.tid"
	"  RETURNING t.provider, t.session_id)"
	" SELECT provider, session_id FROM n"
	"  JOIN @.bsession_tracked t USING (provider, session_id)"
	"  WHERE t.claimed_by = $9 AND t.attempts = n.attempt"
	"  AND t.state = 'ending'"
	"  AND (provider, session_id) NOT IN"
	"   (SELECT provider, session_id FROM done)",
	.narguments = 9,
	.type = {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
		TEXTARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, INT4ARRAYOID,
		INT4OID}
};

/* The owner of a claim is gone: it need not be waited for. */
static BsStatement void_claims = {
	.sql = "UPDATE @.bsession_tracked SET next_attempt_at = $1"
	" WHERE ctid = ANY (ARRAY("
	" SELECT ctid FROM @.bsession_tracked"
	" WHERE next_attempt_at > $1 AND claimed_by IS NOT NULL"
	" AND claimed_by NOT IN (SELECT pid FROM pg_stat_get_activity(NULL)"
	"  WHERE pid <> $2)"
	" FOR NO KEY UPDATE SKIP LOCKED))",
	.narguments = 2,
	.type = {TIMESTAMPTZOID, INT4OID}
};

/* The first ones are the oldest but for some milliseconds. */
static BsStatement forget_attempts = {
	.sql = "DELETE FROM @.bsession_audit WHERE at < $1 AND ctid = ANY (ARRAY("
	" SELECT ctid FROM @.bsession_audit"
	" ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED))",
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
 * Returns the claims that a statement has returned.
 */
static BsClaim *
fetch_claims(BsScope *scope, int n)
{
	BsClaim    *claims = MemoryContextAlloc(scope->context,
											sizeof(BsClaim) * (n + 1));

	for (int i = 0; i < n; i++)
	{
		bool		null;

		claims[i].provider = bs_statement_text(scope, i, 1);
		claims[i].role = bs_statement_text(scope, i, 2);
		claims[i].session_id = bs_statement_text(scope, i, 3);
		claims[i].reason = bs_statement_text(scope, i, 4);
		claims[i].attempt = DatumGetInt32(bs_statement_get(i, 5, &null));
		claims[i].requested = DatumGetBool(bs_statement_get(i, 6, &null)) &&
			!null;
		claims[i].lost = DatumGetBool(bs_statement_get(i, 7, &null));
		claims[i].due = DatumGetTimestampTz(bs_statement_get(i, 8, &null));
	}
	return claims;
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
 * Claims sessions of a lane that are due at "now", and not before what is
 * said there, at most so many, until "lease".  Returns them, and their number, in the current memory context.
 */
BsClaim *
bs_tracking_claim(const BsLaneDue *lane, TimestampTz now, int most,
				  TimestampTz lease, int *n)
{
	Datum		arguments[9];
	BsScope		scope;
	BsClaim    *claims;

	bs_statement_begin(&scope);
	arguments[0] = CStringGetTextDatum(lane->provider);
	arguments[1] = bs_name(lane->role);
	arguments[2] = TimestampTzGetDatum(now);
	arguments[3] = Int32GetDatum(most);
	arguments[4] = Int32GetDatum(MyProcPid);
	arguments[5] = TimestampTzGetDatum(lease);
	arguments[6] = Int64GetDatum((int64) GetSystemIdentifier());
	arguments[7] = ObjectIdGetDatum(MyDatabaseId);
	arguments[8] = TimestampTzGetDatum(lane->due);
	*n = (int) bs_statement_run(&scope, &claim, arguments, NULL);
	claims = fetch_claims(&scope, *n);
	bs_statement_end(&scope);
	return claims;
}

/*
 * Marks which of the settlements a statement did not name.
 */
static void
note_recorded(BsScope *scope, BsSettlement *settlements, int n, uint64 nrows)
{
	for (int i = 0; i < n; i++)
		settlements[i].recorded = true;
	for (uint64 row = 0; row < nrows; row++)
	{
		const char *provider = bs_statement_text(scope, row, 1);
		const char *session_id = bs_statement_text(scope, row, 2);

		for (int i = 0; i < n; i++)
			if (strcmp(settlements[i].session_id, session_id) == 0 &&
				strcmp(settlements[i].provider, provider) == 0)
				settlements[i].recorded = false;
	}
}

/*
 * Records what became of claims of this process.  One whose row is gone, or
 * is not claimed any more, counts as recorded; one whose row is locked is
 * not, and is to be tried again.
 */
void
bs_tracking_record(BsSettlement *settlements, int n)
{
	Datum		arguments[9];
	int		   *attempt;
	BsScope		scope;
	uint64		nrows;

	if (n == 0)
		return;
	bs_statement_begin(&scope);
	attempt = palloc(sizeof(int) * n);
	for (int i = 0; i < n; i++)
		attempt[i] = settlements[i].attempt;
	bs_settlement_arguments(arguments, settlements, n);
	arguments[7] = bs_int_array(attempt, n);
	arguments[8] = Int32GetDatum(MyProcPid);
	nrows = bs_statement_run(&scope, &record, arguments, NULL);
	note_recorded(&scope, settlements, n, nrows);
	bs_statement_end(&scope);
}

/*
 * Makes due what processes had claimed that do not exist any more.  This
 * process has just begun: what bears its number is not its own.
 */
void
bs_tracking_void_claims(void)
{
	Datum		arguments[2];
	BsScope		scope;

	bs_statement_begin(&scope);
	arguments[0] = TimestampTzGetDatum(GetCurrentTimestamp());
	arguments[1] = Int32GetDatum(MyProcPid);
	(void) bs_statement_run(&scope, &void_claims, arguments, NULL);
	bs_statement_end(&scope);
}

/*
 * Deletes attempts and ended sessions from before a time, at most so many of
 * each.  Returns the larger number.
 */
int
bs_tracking_forget_old(TimestampTz before, int most)
{
	Datum		arguments[2];
	BsScope		scope;
	uint64		attempts;
	uint64		sessions;

	bs_statement_begin(&scope);
	arguments[0] = TimestampTzGetDatum(before);
	arguments[1] = Int32GetDatum(most);
	attempts = bs_statement_run(&scope, &forget_attempts, arguments, NULL);
	sessions = bs_statement_run(&scope, &forget_sessions, arguments, NULL);
	bs_statement_end(&scope);
	return (int) Max(attempts, sessions);
}
