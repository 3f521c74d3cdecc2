/*
 * sort.h
 *		Rows that come in any order and go out in that of their first column.
 */
#ifndef BS_SORT_H
#define BS_SORT_H

#include "access/tupdesc.h"

typedef struct BsSort BsSort;

extern BsSort *bs_sort_begin(TupleDesc type);
extern void bs_sort_put(BsSort *sort, const Datum *values, const bool *nulls);
extern void bs_sort_perform(BsSort *sort);
extern bool bs_sort_next(BsSort *sort, Datum **values, bool **nulls);
extern void bs_sort_end(BsSort *sort);

#endif							/* BS_SORT_H */
