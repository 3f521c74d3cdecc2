/*
 * rows.c
 *		Results as rows of type bsession_result.
 *
 * Exchanges finish in any order, rows are returned in the order asked for.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "clock.h"
#include "encoding.h"
#include "rows.h"
#include "sort.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

struct BsOrderedRows
{
	BsSort	   *sort;			/* of rows with their number before them */
	TupleDesc	type;			/* of a row */
	MemoryContext context;		/* reset after each row */
};

/*
 * Raises an error unless the type is the bsession_result that this library
 * knows: the SQL script may be of another version.
 */
void
bs_rows_check_type(TupleDesc type)
{
	if (type == NULL || type->natts != BS_RESULT_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("type bsession_result is not that of this library"),
				 errhint("ALTER EXTENSION browser_session UPDATE;")));
}

static void
set_text(Datum *values, bool *nulls, int column, const char *utf8)
{
	nulls[column] = utf8 == NULL;
	if (utf8 != NULL)
		values[column] = CStringGetTextDatum(bs_encoding_from_utf8(utf8));
}

/*
 * Fills in a row of bsession_result in the current memory context.  "server"
 * is in the database's encoding, "id" (may be NULL) and result in UTF-8.
 */
void
bs_rows_form(const char *server, const char *id, const BsResult *result,
			 Datum *values, bool *nulls)
{
	Interval   *elapsed = palloc0(sizeof(Interval));

	memset(nulls, 0, sizeof(bool) * BS_RESULT_COLUMNS);
	elapsed->time = result->elapsed;

	values[0] = CStringGetTextDatum(server);
	set_text(values, nulls, 1, id);
	values[2] = CStringGetTextDatum(bs_outcome_name(result->outcome));
	values[3] = BoolGetDatum(bs_outcome_done(result->outcome));
	set_text(values, nulls, 4, result->provider_status);
	values[5] = Int32GetDatum(result->http_status);
	nulls[5] = result->http_status == 0;
	values[6] = Int32GetDatum(result->attempts);
	values[7] = IntervalPGetDatum(elapsed);
	values[8] = TimestampTzGetDatum(result->ended_at - BS_EPOCH_OFFSET);
	nulls[8] = result->ended_at == 0;
	set_text(values, nulls, 9, result->error);
	nulls[10] = result->response == NULL;
	if (result->response != NULL)
		values[10] =
			DirectFunctionCall1(jsonb_in,
								CStringGetDatum(bs_encoding_from_utf8
												(result->response)));
}

/*
 * Begins to collect rows of a type, in the current memory context.
 */
BsOrderedRows *
bs_rows_begin(TupleDesc type)
{
	BsOrderedRows *rows = palloc(sizeof(BsOrderedRows));
	TupleDesc	numbered = CreateTemplateTupleDesc(type->natts + 1);

	TupleDescInitEntry(numbered, 1, "number", INT4OID, -1, 0);
	for (int i = 1; i <= type->natts; i++)
		TupleDescCopyEntry(numbered, i + 1, type, i);
	rows->type = type;
	rows->sort = bs_sort_begin(numbered);
	rows->context = AllocSetContextCreate(CurrentMemoryContext,
										  "browser_session row",
										  ALLOCSET_DEFAULT_SIZES);
	return rows;
}

/*
 * Adds the row of bs_rows_form() under its number.
 */
void
bs_rows_put(BsOrderedRows *rows, int number, const char *server,
			const char *id, const BsResult *result)
{
	MemoryContext old = MemoryContextSwitchTo(rows->context);
	Datum		values[BS_RESULT_COLUMNS + 1];
	bool		nulls[BS_RESULT_COLUMNS + 1];

	values[0] = Int32GetDatum(number);
	nulls[0] = false;
	bs_rows_form(server, id, result, values + 1, nulls + 1);
	MemoryContextSwitchTo(old);
	bs_sort_put(rows->sort, values, nulls);
	MemoryContextReset(rows->context);
}

/*
 * Hands out all rows in the order of their numbers, and frees what they were
 * collected in.
 */
void
bs_rows_finish(BsOrderedRows *rows, Tuplestorestate *store)
{
	Datum	   *values;
	bool	   *nulls;

	bs_sort_perform(rows->sort);
	while (bs_sort_next(rows->sort, &values, &nulls))
		tuplestore_putvalues(store, rows->type, values + 1, nulls + 1);
	bs_sort_end(rows->sort);
	MemoryContextDelete(rows->context);
	pfree(rows);
}
