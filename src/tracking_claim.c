/*
 * tracking_claim.c
 *		Claiming sessions that are due, and recording what became of them.
 *
 * A claim is a short transaction of its own: it counts the attempt and sets
 * a lease (next_attempt_at) and who has it (claimed_by), and is committed
 * before anything is sent.  A claim that was never recorded is found when its
 * lease has lapsed, by being due while it still has an owner.
 *
 * Neither claiming nor recording waits for a lock on a row: a row that a
 * caller has locked is passed over.
 *
 * Both are done row by row without a statement (tracking_table.c).  The
 * statements do the same to a table that is not as the extension made it.
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "catalog/pg_type_d.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "tracking.h"
#include "tracking_table.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

static BsStatement claim = {
	.sql = "WITH due AS MATERIALIZED ("
	" SELECT ctid AS tid, claimed_by, next_attempt_at FROM @.bsession_tracked"
	" WHERE provider = $1 AND tracked_by = $2 AND next_attempt_at <= $3"
	" AND next_attempt_at >= $9 AND (claimed_by IS DISTINCT FROM $5"
	"  OR session_id <> ALL ($10))"
	" AND (SELECT count(*) > 0 AND bool_and(system_identifier = $7"
	"  AND database = $8) FROM @.bsession_home)"
	" ORDER BY next_attempt_at LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED)"
	" UPDATE @.bsession_tracked t SET state = 'ending',"
	" attempts = t.attempts + 1, claimed_by = $5, next_attempt_at = $6"
	" FROM due WHERE t.ctid = due.tid"
	" RETURNING t.provider, t.tracked_by, t.session_id, t.reason,"
	" t.attempts, t.outcome = 'requested', due.claimed_by IS NOT NULL,"
	" due.next_attempt_at",
	.narguments = 10,
	.type = {TEXTOID, NAMEOID, TIMESTAMPTZOID, INT4OID, INT4OID,
		TIMESTAMPTZOID, INT8OID, OIDOID, TIMESTAMPTZOID, TEXTARRAYOID}
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

/* ----------------------------------------------------------------
 * Claiming
 * ----------------------------------------------------------------
 */

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
		ItemPointerSetInvalid(&claims[i].row);
	}
	return claims;
}

/*
 * Claims with a statement.
 */
static BsClaim *
claim_by_statement(const BsLaneDue *lane, const BsClaimTerms *terms, int *n)
{
	Datum		arguments[10];
	const char **held = NULL;
	int			nheld = 0;
	BsScope		scope;
	BsClaim    *claims;

	bs_statement_begin(&scope);
	arguments[0] = CStringGetTextDatum(lane->provider);
	arguments[1] = bs_name(lane->role);
	arguments[2] = TimestampTzGetDatum(terms->now);
	arguments[3] = Int32GetDatum(terms->most);
	arguments[4] = Int32GetDatum(MyProcPid);
	arguments[5] = TimestampTzGetDatum(terms->lease);
	arguments[6] = Int64GetDatum((int64) GetSystemIdentifier());
	arguments[7] = ObjectIdGetDatum(MyDatabaseId);
	arguments[8] = TimestampTzGetDatum(lane->due);
	/* What bears our number and is none of these is of an earlier process. */
	if (terms->list_held != NULL)
		held = terms->list_held(lane->provider, &nheld);
	arguments[9] = bs_text_array(held, nheld);
	*n = (int) bs_statement_run(&scope, &claim, arguments, NULL);
	claims = fetch_claims(&scope, *n);
	bs_statement_end(&scope);
	return claims;
}

/*
 * Begins to search for what is due in a lane.
 */
static void
search_due(BsTable *tracked, const BsLaneDue *lane, TimestampTz now)
{
	Relation	index = tracked->due;
	ScanKeyData key[4];

	ScanKeyEntryInitialize(&key[0], 0, 1, BTEqualStrategyNumber, InvalidOid,
						   index->rd_indcollation[0], F_TEXTEQ,
						   CStringGetTextDatum(lane->provider));
	ScanKeyEntryInitialize(&key[1], 0, 2, BTEqualStrategyNumber, InvalidOid,
						   index->rd_indcollation[1], F_NAMEEQ,
						   bs_name(lane->role));
	ScanKeyEntryInitialize(&key[2], 0, 3, BTGreaterEqualStrategyNumber,
						   InvalidOid, InvalidOid, F_TIMESTAMPTZ_GE,
						   TimestampTzGetDatum(lane->due));
	ScanKeyEntryInitialize(&key[3], 0, 3, BTLessEqualStrategyNumber,
						   InvalidOid, InvalidOid, F_TIMESTAMPTZ_LE,
						   TimestampTzGetDatum(now));
	index_rescan(tracked->due_scan, key, lengthof(key), NULL, 0);
}

/*
 * Has this process the claim of that row?  Then its lease has lapsed, because
 * the clock was set, or the outcome could not be recorded yet.
 */
static bool
is_held(const BsClaim *claim, const bool *nulls, const Datum *values,
		const BsClaimTerms *terms)
{
	return terms->is_held != NULL && !nulls[BS_TRACKED_CLAIMED_BY] &&
		DatumGetInt32(values[BS_TRACKED_CLAIMED_BY]) == MyProcPid &&
		terms->is_held(claim->provider, claim->session_id);
}

/*
 * Claims the row in tracked->row.  Returns false if somebody has it locked, or
 * this process has claimed it before.
 */
static bool
claim_row(BsTable *tracked, Datum ending, const BsClaimTerms *terms,
		  BsClaim *claim)
{
	Datum		values[BS_TRACKED_COLUMNS];
	bool		nulls[BS_TRACKED_COLUMNS];

	slot_getallattrs(tracked->row);
	memcpy(values, tracked->row->tts_values, sizeof(values));
	memcpy(nulls, tracked->row->tts_isnull, sizeof(nulls));
	claim->provider = TextDatumGetCString(values[BS_TRACKED_PROVIDER]);
	claim->session_id = TextDatumGetCString(values[BS_TRACKED_SESSION_ID]);
	claim->role = pstrdup(NameStr(*DatumGetName
								  (values[BS_TRACKED_TRACKED_BY])));
	claim->reason = TextDatumGetCString(values[BS_TRACKED_REASON]);
	claim->attempt = DatumGetInt32(values[BS_TRACKED_ATTEMPTS]) + 1;
	claim->due = DatumGetTimestampTz(values[BS_TRACKED_NEXT_ATTEMPT_AT]);
	claim->lost = !nulls[BS_TRACKED_CLAIMED_BY];
	claim->requested = !nulls[BS_TRACKED_OUTCOME] &&
		strcmp(TextDatumGetCString(values[BS_TRACKED_OUTCOME]),
			   bs_outcome_name(BS_REQUESTED)) == 0;
	if (is_held(claim, nulls, values, terms))
		return false;

	values[BS_TRACKED_STATE] = ending;
	values[BS_TRACKED_ATTEMPTS] = Int32GetDatum(claim->attempt);
	values[BS_TRACKED_CLAIMED_BY] = Int32GetDatum(MyProcPid);
	nulls[BS_TRACKED_CLAIMED_BY] = false;
	values[BS_TRACKED_NEXT_ATTEMPT_AT] = TimestampTzGetDatum(terms->lease);
	return bs_table_update(tracked, values, nulls, &claim->row);
}

/*
 * Claims what the search finds, at most "most".
 */
static BsClaim *
claim_found(BsTable *tracked, BsClaimTerms *terms, int most, int *n)
{
	Datum		ending = CStringGetTextDatum(BS_STATE_ENDING);
	Size		room = 256;
	BsClaim    *claims = palloc(sizeof(BsClaim) * room);

	*n = 0;
	while (*n < most &&
		   index_getnext_slot(tracked->due_scan, ForwardScanDirection,
							  tracked->row))
	{
		if ((Size) *n == room)
			claims = repalloc_huge(claims, sizeof(BsClaim) * (room *= 2));
		if (claim_row(tracked, ending, terms, &claims[*n]))
			(*n)++;
		else if (++terms->passed >= terms->patience)
		{
			terms->gave_up = true;
			terms->last_passed = claims[*n].due;
			break;
		}
	}
	return claims;
}

/*
 * Claims without a statement.  Returns NULL if the table is not as the
 * extension made it.
 */
static BsClaim *
claim_rows(const BsScope *scope, const BsLaneDue *lane, BsClaimTerms *terms,
		   int *n)
{
	BsTable		tracked;
	BsClaim    *claims;
	bool		home;

	if (!bs_table_open(&tracked, scope->extension.tracked, &bs_tracked_shape))
		return NULL;
	if (!bs_table_open_due(&tracked))
	{
		bs_table_close(&tracked);
		return NULL;
	}
	/* By the same snapshot: a restore brings both in one transaction. */
	home = bs_home_is_ours(scope->extension.home);
	search_due(&tracked, lane, terms->now);
	claims = claim_found(&tracked, terms, home ? terms->most : 0, n);
	bs_table_close(&tracked);
	return claims;
}

/*
 * Claims sessions of a lane that are due, and not before what is said there.
 * Returns them, and their number, in the current memory context.
 */
BsClaim *
bs_tracking_claim(const BsLaneDue *lane, BsClaimTerms *terms, int *n)
{
	BsScope		scope;
	BsClaim    *claims;

	terms->passed = 0;
	terms->gave_up = false;
	bs_scope_begin(&scope);
	bs_statement_guard(scope.extension.tracked);
	claims = claim_rows(&scope, lane, terms, n);
	bs_scope_end(&scope);
	if (claims == NULL)
		claims = claim_by_statement(lane, terms, n);
	return claims;
}

/* ----------------------------------------------------------------
 * Recording
 * ----------------------------------------------------------------
 */

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
 * Records with a statement.
 */
static void
record_by_statement(BsSettlement *settlements, int n)
{
	Datum		arguments[9];
	int		   *attempt;
	BsScope		scope;
	uint64		nrows;

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
 * Is the row in tracked->row still what was claimed?
 */
static bool
is_claimed(const BsTable *tracked, const BsSettlement *settlement)
{
	const Datum *values = tracked->row->tts_values;
	const bool *nulls = tracked->row->tts_isnull;

	slot_getallattrs(tracked->row);
	return !nulls[BS_TRACKED_CLAIMED_BY] &&
		DatumGetInt32(values[BS_TRACKED_CLAIMED_BY]) == MyProcPid &&
		DatumGetInt32(values[BS_TRACKED_ATTEMPTS]) == settlement->attempt &&
		bs_text_is(values[BS_TRACKED_STATE], BS_STATE_ENDING) &&
		bs_text_is(values[BS_TRACKED_PROVIDER], settlement->provider) &&
		bs_text_is(values[BS_TRACKED_SESSION_ID], settlement->session_id);
}

/*
 * Looks for the row of a claim: where the claim left it, or else, because
 * somebody has changed it since, by its key.
 */
static bool
find_claimed(BsTable *tracked, BsSettlement *settlement)
{
	if (bs_table_fetch(tracked, &settlement->row) &&
		is_claimed(tracked, settlement))
		return true;
	return bs_table_look_up(tracked, settlement->provider,
							settlement->session_id) &&
		is_claimed(tracked, settlement);
}

static void
set_text(Datum *values, bool *nulls, int column, const char *text)
{
	nulls[column] = text == NULL;
	if (text != NULL)
		values[column] = CStringGetTextDatum(text);
}

static void
set_time(Datum *values, bool *nulls, int column, TimestampTz time)
{
	nulls[column] = time == 0;
	values[column] = TimestampTzGetDatum(time);
}

/*
 * Records a settlement in the row in tracked->row.  Returns false if somebody
 * has it locked.
 */
static bool
record_row(BsTable *tracked, const BsSettlement *settlement)
{
	Datum		values[BS_TRACKED_COLUMNS];
	bool		nulls[BS_TRACKED_COLUMNS];
	ItemPointerData row;

	memcpy(values, tracked->row->tts_values, sizeof(values));
	memcpy(nulls, tracked->row->tts_isnull, sizeof(nulls));
	set_text(values, nulls, BS_TRACKED_STATE, settlement->state);
	/* If nothing could be sent, the last attempt's stays. */
	if (settlement->outcome != NULL)
		set_text(values, nulls, BS_TRACKED_OUTCOME, settlement->outcome);
	set_text(values, nulls, BS_TRACKED_LAST_ERROR, settlement->error);
	set_time(values, nulls, BS_TRACKED_NEXT_ATTEMPT_AT,
			 settlement->next_attempt_at);
	set_time(values, nulls, BS_TRACKED_ENDED_AT, settlement->ended_at);
	nulls[BS_TRACKED_CLAIMED_BY] = true;
	return bs_table_update(tracked, values, nulls, &row);
}

/*
 * Records without a statement.  Returns false if the table is not as the
 * extension made it.
 */
static bool
record_rows(const BsScope *scope, BsSettlement *settlements, int n)
{
	MemoryContext context;
	MemoryContext old;
	BsTable		tracked;

	if (!bs_table_open(&tracked, scope->extension.tracked, &bs_tracked_shape))
		return false;
	context = AllocSetContextCreate(CurrentMemoryContext,
									"browser_session rows",
									ALLOCSET_SMALL_SIZES);
	for (int i = 0; i < n; i++)
	{
		settlements[i].recorded = true;
		if (!find_claimed(&tracked, &settlements[i]))
			continue;
		old = MemoryContextSwitchTo(context);
		settlements[i].recorded = record_row(&tracked, &settlements[i]);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	bs_table_close(&tracked);
	MemoryContextDelete(context);
	return true;
}

/*
 * Records what became of claims of this process.  One whose row is gone, or
 * is not claimed any more, counts as recorded; one whose row is locked is
 * not, and is to be tried again.
 */
void
bs_tracking_record(BsSettlement *settlements, int n)
{
	BsScope		scope;
	bool		done;

	if (n == 0)
		return;
	bs_scope_begin(&scope);
	bs_statement_guard(scope.extension.tracked);
	done = record_rows(&scope, settlements, n);
	bs_scope_end(&scope);
	if (!done)
		record_by_statement(settlements, n);
}
