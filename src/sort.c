/*
 * sort.c
 *		Rows that come in any order and go out in that of their first column.
 *
 * They are sorted by PostgreSQL, which goes to disk beyond work_mem: ten
 * thousand replies of 256 kB each do not have to fit in memory.  Texts are
 * sorted by their bytes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation_d.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type_d.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "sort.h"
#include "utils/tuplesort.h"

struct BsSort
{
	Tuplesortstate *sort;
	TupleTableSlot *in;
	TupleTableSlot *out;
};

/*
 * Begins to collect rows of a type, whose first column is an integer or a
 * text, in the current memory context.
 */
BsSort *
bs_sort_begin(TupleDesc type)
{
	BsSort	   *sort = palloc(sizeof(BsSort));
	bool		is_text = TupleDescAttr(type, 0)->atttypid == TEXTOID;
	AttrNumber	key = 1;
	Oid			less = is_text ? TextLessOperator : Int4LessOperator;
	Oid			collation = is_text ? C_COLLATION_OID : InvalidOid;
	bool		nulls_first = false;

	sort->in = MakeSingleTupleTableSlot(type, &TTSOpsVirtual);
	sort->out = MakeSingleTupleTableSlot(type, &TTSOpsMinimalTuple);
	sort->sort = tuplesort_begin_heap(type, 1, &key, &less, &collation,
									  &nulls_first, work_mem, NULL,
									  TUPLESORT_NONE);
	return sort;
}

/*
 * Adds a row.
 */
void
bs_sort_put(BsSort *sort, const Datum *values, const bool *nulls)
{
	TupleTableSlot *slot = sort->in;
	int			natts = slot->tts_tupleDescriptor->natts;

	ExecClearTuple(slot);
	memcpy(slot->tts_values, values, sizeof(Datum) * natts);
	memcpy(slot->tts_isnull, nulls, sizeof(bool) * natts);
	ExecStoreVirtualTuple(slot);
	tuplesort_puttupleslot(sort->sort, slot);
	ExecClearTuple(slot);
}

/*
 * Sorts them: no more are added.
 */
void
bs_sort_perform(BsSort *sort)
{
	tuplesort_performsort(sort->sort);
}

/*
 * Gets the next row, which stays until the one after it is got.  Returns
 * false if there is none.
 */
bool
bs_sort_next(BsSort *sort, Datum **values, bool **nulls)
{
	if (!tuplesort_gettupleslot(sort->sort, true, false, sort->out, NULL))
		return false;
	slot_getallattrs(sort->out);
	*values = sort->out->tts_values;
	*nulls = sort->out->tts_isnull;
	return true;
}

/*
 * Frees all that the rows were collected in.
 */
void
bs_sort_end(BsSort *sort)
{
	tuplesort_end(sort->sort);
	ExecDropSingleTupleTableSlot(sort->in);
	ExecDropSingleTupleTableSlot(sort->out);
	pfree(sort);
}
