/*
 * rows.c
 *		Results as rows of type bsession_result.
 *
 * Exchanges finish in any order, rows are returned in the order asked for.
 * In between they are sorted by PostgreSQL, which goes to disk beyond
 * work_mem: ten thousand replies of 256 kB each do not have to fit in memory.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_operator_d.h"
#include "clock.h"
#include "encoding.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "rows.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/tuplesort.h"

struct BsOrderedRows
{
	Tuplesortstate *sort;
	TupleDesc	type;			/* of a row */
	TupleTableSlot *in;			/* a number and a row, going in */
	TupleTableSlot *out;		/* the same, coming out */
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
	AttrNumber	key = 1;
	Oid			less = Int4LessOperator;
	Oid			collation = InvalidOid;
	bool		nulls_first = false;

	TupleDescInitEntry(numbered, 1, "number", INT4OID, -1, 0);
	for (int i = 1; i <= type->natts; i++)
		TupleDescCopyEntry(numbered, i + 1, type, i);
	rows->type = type;
	rows->in = MakeSingleTupleTableSlot(numbered, &TTSOpsVirtual);
	rows->out = MakeSingleTupleTableSlot(numbered, &TTSOpsMinimalTuple);
	rows->sort = tuplesort_begin_heap(numbered, 1, &key, &less, &collation,
									  &nulls_first, work_mem, NULL,
									  TUPLESORT_NONE);
	return rows;
}

/*
 * Adds a row of bsession_result under its number.
 */
void
bs_rows_put(BsOrderedRows *rows, int number, const Datum *values,
			const bool *nulls)
{
	TupleTableSlot *slot = rows->in;

	ExecClearTuple(slot);
	slot->tts_values[0] = Int32GetDatum(number);
	slot->tts_isnull[0] = false;
	memcpy(slot->tts_values + 1, values, sizeof(Datum) * rows->type->natts);
	memcpy(slot->tts_isnull + 1, nulls, sizeof(bool) * rows->type->natts);
	ExecStoreVirtualTuple(slot);
	tuplesort_puttupleslot(rows->sort, slot);
	ExecClearTuple(slot);
}

/*
 * Hands out all rows in the order of their numbers, and frees what they were
 * collected in.
 */
void
bs_rows_finish(BsOrderedRows *rows, Tuplestorestate *store)
{
	TupleTableSlot *slot = rows->out;

	tuplesort_performsort(rows->sort);
	while (tuplesort_gettupleslot(rows->sort, true, false, slot, NULL))
	{
		slot_getallattrs(slot);
		tuplestore_putvalues(store, rows->type, slot->tts_values + 1,
							 slot->tts_isnull + 1);
	}
	tuplesort_end(rows->sort);
	ExecDropSingleTupleTableSlot(rows->in);
	ExecDropSingleTupleTableSlot(rows->out);
}
