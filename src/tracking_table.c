/*
 * tracking_table.c
 *		Rows of the extension's tables, reached without a statement.
 *
 * The executor takes longer to get ready for a statement than to write a row.
 * What is done for every session that is ended is therefore done here, one
 * level below: on the tables and their indexes, as COPY and logical
 * replication do it.
 *
 * It is only done to tables that are as the extension made them.  To one to
 * which somebody has added columns, constraints or triggers, bs_table_open()
 * says no, and the caller runs a statement, which minds them all.  Indexes may
 * be added.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_type_d.h"
#include "commands/trigger.h"
#include "compat.h"
#include "executor/executor.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "tracking_table.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"

const BsTableShape bs_tracked_shape = {
	.ncolumns = BS_TRACKED_COLUMNS,
	.type = {TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		INT4OID, TEXTOID, TEXTOID, NAMEOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		JSONBOID, TEXTOID, INT4OID},
	.required = {
		[BS_TRACKED_PROVIDER] = true, [BS_TRACKED_SESSION_ID] = true,
		[BS_TRACKED_STATE] = true, [BS_TRACKED_ATTEMPTS] = true,
		[BS_TRACKED_TRACKED_BY] = true, [BS_TRACKED_TRACKED_AT] = true,
		[BS_TRACKED_METADATA] = true, [BS_TRACKED_REASON] = true
	},
	.check = {"bsession_tracked_state_check",
		"bsession_tracked_metadata_check", "bsession_tracked_reason_check"},
	.ntriggers = 1,
	.has_key = true
};

/*
 * Are a table's constraints those that our rows satisfy anyway?
 */
static bool
has_own_checks(const TupleConstr *constraints, const BsTableShape *shape)
{
	int			found = 0;

	for (int i = 0; i < constraints->num_check; i++)
		for (int j = 0; j < BS_MAX_CHECKS && shape->check[j] != NULL; j++)
			found += strcmp(constraints->check[i].ccname,
							shape->check[j]) == 0;
	return found == constraints->num_check;
}

static bool
is_shaped(Relation relation, const BsTableShape *shape)
{
	TupleDesc	type = RelationGetDescr(relation);
	const TupleConstr *constraints = type->constr;

	if (relation->rd_rel->relkind != RELKIND_RELATION ||
		relation->rd_rel->relispartition || relation->rd_rules != NULL ||
		type->natts != shape->ncolumns ||
		(relation->trigdesc == NULL ? 0 :
		 relation->trigdesc->numtriggers) != shape->ntriggers ||
		constraints == NULL || constraints->has_generated_stored)
		return false;
	for (int i = 0; i < shape->ncolumns; i++)
	{
		Form_pg_attribute column = TupleDescAttr(type, i);

		if (column->attisdropped || column->attidentity != '\0' ||
			column->atttypid != shape->type[i] ||
			column->attnotnull != shape->required[i])
			return false;
	}
	return has_own_checks(constraints, shape);
}

/*
 * Opens an index, if it is a btree of these columns.  Returns NULL if not.
 */
static Relation
open_index(Relation table, Oid oid, const int16 *columns, int ncolumns)
{
	Relation	index = OidIsValid(oid) ?
		try_relation_open(oid, AccessShareLock) : NULL;

	if (index == NULL)
		return NULL;
	if (index->rd_rel->relkind == RELKIND_INDEX &&
		index->rd_rel->relam == BTREE_AM_OID &&
		index->rd_index->indrelid == RelationGetRelid(table) &&
		index->rd_index->indisvalid &&
		index->rd_index->indnkeyatts == ncolumns &&
		memcmp(index->rd_index->indkey.values, columns,
			   sizeof(int16) * ncolumns) == 0)
		return index;
	relation_close(index, AccessShareLock);
	return NULL;
}

/*
 * Opens the primary key of bsession_tracked.  Returns NULL if it is not as the
 * extension made it.
 */
static Relation
open_key(Relation tracked)
{
	const int16 columns[] = {
		BS_TRACKED_PROVIDER + 1, BS_TRACKED_SESSION_ID + 1
	};

	if (!tracked->rd_indexvalid)
		list_free(RelationGetIndexList(tracked));
	return open_index(tracked, tracked->rd_pkindex, columns,
					  lengthof(columns));
}

/*
 * Opens a table, to read it or (having guarded it) to write to it.  Returns
 * false if it is not as the extension made it.
 */
bool
bs_table_open(BsTable *table, Oid oid, const BsTableShape *shape)
{
	memset(table, 0, sizeof(*table));
	table->context = CurrentMemoryContext;
	table->relation = table_open(oid, RowExclusiveLock);
	if (!is_shaped(table->relation, shape) ||
		(shape->has_key &&
		 (table->key = open_key(table->relation)) == NULL))
	{
		table_close(table->relation, NoLock);
		return false;
	}
	table->row = table_slot_create(table->relation, NULL);
	/* Earlier changes of this transaction are to be seen. */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	return true;
}

void
bs_table_close(BsTable *table)
{
	if (table->key_scan != NULL)
		index_endscan(table->key_scan);
	if (table->key != NULL)
		index_close(table->key, AccessShareLock);
	if (table->due_scan != NULL)
		index_endscan(table->due_scan);
	if (table->due != NULL)
		index_close(table->due, AccessShareLock);
	PopActiveSnapshot();
	CommandCounterIncrement();
	ExecDropSingleTupleTableSlot(table->row);
	if (table->changed != NULL)
		ExecDropSingleTupleTableSlot(table->changed);
	if (table->estate != NULL)
	{
		ExecCloseIndices(table->result);
		FreeExecutorState(table->estate);
	}
	bs_settings_end(table->settings);
	table_close(table->relation, NoLock);
}

/*
 * Does a new version of a row of bsession_tracked have the same key in an
 * index?  Claiming and recording leave alone what a caller has said of a
 * session.
 */
static bool
keeps_key(const IndexInfo *index)
{
	for (int i = 0; i < index->ii_NumIndexKeyAttrs; i++)
		switch (index->ii_IndexAttrNumbers[i] - 1)
		{
			case BS_TRACKED_PROVIDER:
			case BS_TRACKED_SESSION_ID:
			case BS_TRACKED_EXPIRES_AT:
			case BS_TRACKED_TRACKED_BY:
			case BS_TRACKED_TRACKED_AT:
			case BS_TRACKED_METADATA:
				break;
			default:
				return false;
		}
	return true;
}

/*
 * Does an index run anybody's code?  Then it is to be found with our own
 * search_path, not the caller's.
 */
static bool
runs_code(const IndexInfo *index)
{
	ListCell   *cell;

	foreach(cell, index->ii_Predicate)
		if (!IsA(lfirst(cell), NullTest) ||
			!IsA(((NullTest *) lfirst(cell))->arg, Var))
			return true;
	return index->ii_Expressions != NIL;
}

/*
 * Opens the indexes, for writing.
 */
static void
open_indexes(BsTable *table, bool speculative)
{
	MemoryContext old = MemoryContextSwitchTo(table->context);
	bool		needs_settings = false;

	table->estate = CreateExecutorState();
	table->result = makeNode(ResultRelInfo);
	InitResultRelInfo(table->result, table->relation, 0, NULL, 0);
	ExecOpenIndices(table->result, speculative);
	/* So that an index looks for old versions where there are any. */
	for (int i = 0; i < table->result->ri_NumIndices; i++)
	{
		IndexInfo  *index = table->result->ri_IndexRelationInfo[i];

		index->ii_CheckedUnchanged = true;
		index->ii_IndexUnchanged = keeps_key(index);
		needs_settings = needs_settings || runs_code(index);
	}
	if (needs_settings)
		table->settings = bs_settings_begin();
	MemoryContextSwitchTo(old);
}

/*
 * Adds a row, or a new version of one, to the indexes that need it.
 */
static void
index_row(BsTable *table, TupleTableSlot *row, bool update,
		  bs_which_indexes which)
{
	if (which == BS_NO_INDEXES)
		return;
	if (table->estate == NULL)
		open_indexes(table, false);
	list_free(bs_insert_index_tuples(table->result, row, table->estate,
									 update, which));
	ResetPerTupleExprContext(table->estate);
}

/*
 * Writes rows, in slots for this table, at once.
 */
void
bs_table_insert(BsTable *table, TupleTableSlot **rows, int n)
{
	table_multi_insert(table->relation, rows, n, GetCurrentCommandId(true),
					   0, NULL);
	for (int i = 0; i < n; i++)
		index_row(table, rows[i], false, BS_ALL_INDEXES);
}

/*
 * Looks in the primary key for a session.  Gets its row, or, if "row" is NULL,
 * only finds out whether there is, or has lately been, one.
 */
static bool
search_key(IndexScanDesc scan, const char *provider, const char *session_id,
		   TupleTableSlot *row)
{
	const char *value[2] = {provider, session_id};
	ScanKeyData key[2];
	bool		found;

	for (int i = 0; i < 2; i++)
		ScanKeyEntryInitialize(&key[i], 0, i + 1, BTEqualStrategyNumber,
							   InvalidOid,
							   scan->indexRelation->rd_indcollation[i],
							   F_TEXTEQ, CStringGetTextDatum(value[i]));
	index_rescan(scan, key, 2, NULL, 0);
	found = row == NULL ?
		index_getnext_tid(scan, ForwardScanDirection) != NULL :
		index_getnext_slot(scan, ForwardScanDirection, row);
	for (int i = 0; i < 2; i++)
		pfree(DatumGetPointer(key[i].sk_argument));
	return found;
}

/*
 * Copies those settlements of whose sessions there is a row, or has lately
 * been one, and returns how many there are.  Most sessions that are ended by
 * a call have none, and then this is all that has to be done for them.
 */
int
bs_table_pick(Oid tracked, const BsSettlement *settlements, int n,
			  BsSettlement *picked)
{
	Relation	table = table_open(tracked, AccessShareLock);
	Relation	index = open_key(table);
	IndexScanDesc scan;
	int			found = 0;

	if (index == NULL)
	{
		memcpy(picked, settlements, sizeof(BsSettlement) * n);
		table_close(table, AccessShareLock);
		return n;
	}
	scan = bs_index_beginscan(table, index, GetActiveSnapshot(), 2);
	for (int i = 0; i < n; i++)
		if (search_key(scan, settlements[i].provider,
					   settlements[i].session_id, NULL))
			picked[found++] = settlements[i];
	index_endscan(scan);
	index_close(index, AccessShareLock);
	table_close(table, AccessShareLock);
	return found;
}

/*
 * The same in an open table.
 */
static bool
search(BsTable *table, const char *provider, const char *session_id,
	   TupleTableSlot *row)
{
	if (table->key_scan == NULL)
		table->key_scan = bs_index_beginscan(table->relation, table->key,
											 GetActiveSnapshot(), 2);
	return search_key(table->key_scan, provider, session_id, row);
}

/*
 * Writes the one row of bsession_tracked, which is in table->row, unless there
 * is one with its key.  Returns whether it did.  Nothing else may be written
 * to the table while it is open.
 */
bool
bs_table_insert_new(BsTable *table)
{
	TupleTableSlot *row = table->row;
	char	   *provider =
		TextDatumGetCString(row->tts_values[BS_TRACKED_PROVIDER]);
	char	   *id =
		TextDatumGetCString(row->tts_values[BS_TRACKED_SESSION_ID]);
	TransactionId xid = GetCurrentTransactionId();
	List	   *key;
	bool		conflict = false;
	uint32		token;

	if (search(table, provider, id, NULL))
		return false;
	key = list_make1_oid(RelationGetRelid(table->key));
	open_indexes(table, true);
	token = SpeculativeInsertionLockAcquire(xid);
	table_tuple_insert_speculative(table->relation, row,
								   GetCurrentCommandId(true), 0, NULL, token);
	list_free(bs_insert_index_tuples_unless(table->result, row, table->estate,
											&conflict, key));
	table_tuple_complete_speculative(table->relation, row, token, !conflict);
	SpeculativeInsertionLockRelease(xid);
	ResetPerTupleExprContext(table->estate);
	return !conflict;
}

/*
 * Looks for a session's row, to be found in table->row.
 */
bool
bs_table_look_up(BsTable *table, const char *provider, const char *session_id)
{
	return search(table, provider, session_id, table->row);
}

/*
 * Gets the row at a place where there has been one, if there still is, to be
 * found in table->row.  The table may have been truncated since.
 */
bool
bs_table_fetch(BsTable *table, ItemPointer tid)
{
	if (table->nblocks == 0)
		table->nblocks = RelationGetNumberOfBlocks(table->relation);
	return ItemPointerIsValid(tid) &&
		ItemPointerGetBlockNumber(tid) < table->nblocks &&
		table_tuple_fetch_row_version(table->relation, tid,
									  GetActiveSnapshot(), table->row);
}

/*
 * Begins to search the index of what is due, if it is as the extension made
 * it.
 */
bool
bs_table_open_due(BsTable *table)
{
	const int16 columns[] = {
		BS_TRACKED_PROVIDER + 1, BS_TRACKED_TRACKED_BY + 1,
		BS_TRACKED_NEXT_ATTEMPT_AT + 1
	};
	Relation	tracked = table->relation;

	table->due = open_index(tracked,
							get_relname_relid("bsession_tracked_due",
											  RelationGetNamespace(tracked)),
							columns, lengthof(columns));
	if (table->due == NULL)
		return false;
	table->due_scan = bs_index_beginscan(tracked, table->due,
										 GetActiveSnapshot(), 4);
	return true;
}

/*
 * Tries to write the changed row in the place of another.
 */
static TM_Result
update_row(BsTable *table, ItemPointer tid, bool wait,
		   bs_which_indexes *which)
{
	TM_FailureData failure;
	LockTupleMode mode;

	return table_tuple_update(table->relation, tid, table->changed,
							  GetCurrentCommandId(true), GetActiveSnapshot(),
							  InvalidSnapshot, wait, &failure, &mode, which);
}

/*
 * Changes the row that was found, unless somebody else is changing it or has
 * it locked.  Returns whether it did, and sets *now to where the row is now.
 */
bool
bs_table_update(BsTable *table, const Datum *values, const bool *nulls,
				ItemPointer now)
{
	int			natts = RelationGetDescr(table->relation)->natts;
	ItemPointerData tid = table->row->tts_tid;
	bs_which_indexes which = BS_NO_INDEXES;
	TM_FailureData failure;
	TM_Result	result;

	if (table->changed == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(table->context);

		CheckCmdReplicaIdentity(table->relation, CMD_UPDATE);
		table->changed = table_slot_create(table->relation, NULL);
		MemoryContextSwitchTo(old);
	}
	ExecClearTuple(table->changed);
	memcpy(table->changed->tts_values, values, sizeof(Datum) * natts);
	memcpy(table->changed->tts_isnull, nulls, sizeof(bool) * natts);
	ExecStoreVirtualTuple(table->changed);
	result = update_row(table, &tid, false, &which);
	/* A lock FOR KEY SHARE on it is compatible with ours. */
	if (result == TM_BeingModified &&
		table_tuple_lock(table->relation, &tid, GetActiveSnapshot(),
						 table->row, GetCurrentCommandId(true),
						 LockTupleNoKeyExclusive, LockWaitSkip, 0,
						 &failure) == TM_Ok)
		result = update_row(table, &tid, true, &which);
	if (result != TM_Ok)
		return false;
	index_row(table, table->changed, true, which);
	*now = table->changed->tts_tid;
	return true;
}

/*
 * Is a text, which is not null, that one?
 */
bool
bs_text_is(Datum value, const char *word)
{
	text	   *plain = DatumGetTextPP(value);
	size_t		length = VARSIZE_ANY_EXHDR(plain);

	return length == strlen(word) &&
		memcmp(VARDATA_ANY(plain), word, length) == 0;
}
