/*
 * settlement_list.c
 *		The settlements of a call with many sessions, until all are ended.
 *
 * Tracked rows are changed in the order of their ids, so that two calls with
 * the same sessions do not wait for each other; the sessions end in any order.
 * In between the settlements are sorted, on disk beyond work_mem.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "roster.h"
#include "settlement.h"
#include "sort.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Settlements that are recorded at once. */
#define BATCH	1000

/* Columns that are sorted, from 0. */
enum
{
	SESSION_ID,
	STATE,
	OUTCOME,
	LAST_ERROR,
	NEXT_ATTEMPT_AT,
	ENDED_AT,
	COLUMNS
};

struct BsSettlementList
{
	const char *server;
	BsSort	   *sort;
	MemoryContext context;		/* reset after each settlement, or batch */
};

/*
 * Begins a list for sessions of a server, in the current memory context.
 */
BsSettlementList *
bs_settlements_begin(const char *server)
{
	BsSettlementList *list = palloc(sizeof(BsSettlementList));
	TupleDesc	type = CreateTemplateTupleDesc(COLUMNS);

	for (int i = 0; i < COLUMNS; i++)
		TupleDescInitEntry(type, i + 1, NULL,
						   i < NEXT_ATTEMPT_AT ? TEXTOID : TIMESTAMPTZOID,
						   -1, 0);
	list->server = server;
	list->sort = bs_sort_begin(type);
	list->context = AllocSetContextCreate(CurrentMemoryContext,
										  "browser_session settlements",
										  ALLOCSET_DEFAULT_SIZES);
	return list;
}

static void
set_text(Datum *values, bool *nulls, int column, const char *text)
{
	nulls[column] = text == NULL;
	if (text != NULL)
		values[column] = CStringGetTextDatum(text);
}

/*
 * Adds what a call did, by an exchange that is over.
 */
void
bs_settlements_add(BsSettlementList *list, const BsExchange *exchange)
{
	MemoryContext old = MemoryContextSwitchTo(list->context);
	BsSettlement settlement;
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {0};

	bs_settlement_of_call(list->server, exchange, &settlement);
	set_text(values, nulls, SESSION_ID, settlement.session_id);
	set_text(values, nulls, STATE, settlement.state);
	set_text(values, nulls, OUTCOME, settlement.outcome);
	set_text(values, nulls, LAST_ERROR, settlement.error);
	values[NEXT_ATTEMPT_AT] = TimestampTzGetDatum(settlement.next_attempt_at);
	values[ENDED_AT] = TimestampTzGetDatum(settlement.ended_at);
	MemoryContextSwitchTo(old);
	bs_sort_put(list->sort, values, nulls);
	MemoryContextReset(list->context);
}

static const char *
get_text(const Datum *values, const bool *nulls, int column)
{
	return nulls[column] ? NULL : TextDatumGetCString(values[column]);
}

/*
 * Reads the next settlement into the current memory context.
 */
static bool
read_next(BsSettlementList *list, BsSettlement *settlement)
{
	Datum	   *values;
	bool	   *nulls;

	if (!bs_sort_next(list->sort, &values, &nulls))
		return false;
	memset(settlement, 0, sizeof(*settlement));
	settlement->provider = list->server;
	settlement->session_id = get_text(values, nulls, SESSION_ID);
	settlement->state = get_text(values, nulls, STATE);
	settlement->outcome = get_text(values, nulls, OUTCOME);
	settlement->error = get_text(values, nulls, LAST_ERROR);
	settlement->next_attempt_at =
		DatumGetTimestampTz(values[NEXT_ATTEMPT_AT]);
	settlement->ended_at = DatumGetTimestampTz(values[ENDED_AT]);
	return true;
}

/*
 * Has the tracked rows reflect what was done, and frees the list.
 */
void
bs_settlements_record(BsSettlementList *list)
{
	MemoryContext old = MemoryContextSwitchTo(list->context);
	bool		more = true;

	bs_sort_perform(list->sort);
	while (more)
	{
		BsSettlement *batch = palloc(sizeof(BsSettlement) * BATCH);
		int			n = 0;

		while (n < BATCH && (more = read_next(list, &batch[n])))
			n++;
		bs_settlement_record(batch, n);
		MemoryContextReset(list->context);
	}
	MemoryContextSwitchTo(old);
	bs_sort_end(list->sort);
	MemoryContextDelete(list->context);
	pfree(list);
}
