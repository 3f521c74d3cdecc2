/*
 * rows.h
 *		Results as rows of type bsession_result.
 */
#ifndef BS_ROWS_H
#define BS_ROWS_H

#include "access/tupdesc.h"
#include "exchange.h"
#include "utils/tuplestore.h"

/* Columns of bsession_result. */
#define BS_RESULT_COLUMNS	11

extern void bs_rows_check_type(TupleDesc type);
extern void bs_rows_form(const char *server, const char *id,
						 const BsResult *result, Datum *values, bool *nulls);

/* Rows that come in any order and go out by their number. */
typedef struct BsOrderedRows BsOrderedRows;

extern BsOrderedRows *bs_rows_begin(TupleDesc type);
extern void bs_rows_put(BsOrderedRows *rows, int number, const char *server,
						const char *id, const BsResult *result);
extern void bs_rows_finish(BsOrderedRows *rows, Tuplestorestate *store);

#endif							/* BS_ROWS_H */
