/*
 * tracking_table.h
 *		Rows of the extension's tables, reached without a statement.
 */
#ifndef BS_TRACKING_TABLE_H
#define BS_TRACKING_TABLE_H

#include "access/genam.h"
#include "nodes/execnodes.h"
#include "tracking_statement.h"

/* Most columns that a table has. */
#define BS_MAX_COLUMNS	16

/* Most CHECK constraints. */
#define BS_MAX_CHECKS	3

/* What a table has to look like for its rows to be written here. */
typedef struct BsTableShape
{
	int			ncolumns;
	Oid			type[BS_MAX_COLUMNS];
	bool		required[BS_MAX_COLUMNS];	/* not null */
	const char *check[BS_MAX_CHECKS];	/* constraints that our rows satisfy */
	int			ntriggers;		/* the extension's own */
	bool		has_key;		/* a primary key by which it is searched */
} BsTableShape;

/* A table that is open. */
typedef struct BsTable
{
	Relation	relation;
	MemoryContext context;		/* it was opened in */
	EState	   *estate;			/* NULL until a row needs indexing */
	ResultRelInfo *result;		/* then; with the indexes */
	int			settings;		/* bs_settings_begin()'s, for their code */
	TupleTableSlot *row;		/* what was found or is to be written */
	TupleTableSlot *changed;	/* what it is to be; NULL until needed */
	Relation	key;			/* its primary key, NULL = not needed */
	IndexScanDesc key_scan;		/* NULL until something is looked up */
	BlockNumber nblocks;		/* 0 = not known yet */
	Relation	due;			/* its index of what is due, or NULL */
	IndexScanDesc due_scan;		/* likewise */
} BsTable;

extern const BsTableShape bs_tracked_shape;

extern bool bs_table_open(BsTable *table, Oid oid, const BsTableShape *shape);
extern void bs_table_close(BsTable *table);
extern void bs_table_insert(BsTable *table, TupleTableSlot **rows, int n);
extern bool bs_table_insert_new(BsTable *table);
extern int	bs_table_pick(Oid tracked, const BsSettlement *settlements,
						  int n, BsSettlement *picked);
extern bool bs_table_look_up(BsTable *table, const char *provider,
							 const char *session_id);
extern bool bs_table_fetch(BsTable *table, ItemPointer tid);
extern bool bs_table_open_due(BsTable *table);
extern bool bs_table_update(BsTable *table, const Datum *values,
							const bool *nulls, ItemPointer now);
extern bool bs_text_is(Datum value, const char *word);

#endif							/* BS_TRACKING_TABLE_H */
