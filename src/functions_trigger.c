/*
 * functions_trigger.c
 *		Triggers and row security: plain SQL on the tables.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "commands/trigger.h"
#include "compat.h"
#include "extension.h"
#include "fmgr.h"
#include "functions.h"
#include "miscadmin.h"
#include "roster.h"
#include "tracking.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(bsession_check_tracked);
PG_FUNCTION_INFO_V1(bsession_copy_row);
PG_FUNCTION_INFO_V1(bsession_end_on_delete);
PG_FUNCTION_INFO_V1(bsession_may_see);
PG_FUNCTION_INFO_V1(bsession_may_change);
PG_FUNCTION_INFO_V1(bsession_see_all);

/* Columns of bsession_copy, from 0. */
enum
{
	COPY_PROVIDER,
	COPY_SESSION_ID,
	COPY_EXPIRES_AT,
	COPY_METADATA,
	COPY_COLUMNS
};

/*
 * Raises an error unless the trigger is on the extension's own relation of
 * that name: anybody else's has columns of any type.
 */
static void
check_relation(FunctionCallInfo fcinfo, const char *name)
{
	const TriggerData *trigger = (TriggerData *) fcinfo->context;
	Oid			relation = RelationGetRelid(trigger->tg_relation);
	Oid		   *checked = fcinfo->flinfo->fn_extra;
	BsExtension extension;

	if (checked != NULL && *checked == relation)
		return;
	bs_extension_get(&extension);
	if (get_relname_relid(name, extension.schema) != relation)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("relation \"%s\" is not the extension's \"%s\"",
						RelationGetRelationName(trigger->tg_relation),
						name)));
	checked = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(Oid));
	*checked = relation;
	fcinfo->flinfo->fn_extra = checked;
}

/* ----------------------------------------------------------------
 * bsession_tracked's own trigger
 * ----------------------------------------------------------------
 */

/* A row taken apart. */
typedef struct CheckedRow
{
	HeapTuple	tuple;			/* as it was */
	TupleDesc	type;
	Datum	   *value;
	bool	   *null;
	bool		changed;		/* the values are not the tuple's any more */
} CheckedRow;

static void
take_apart(CheckedRow *row, HeapTuple tuple, TupleDesc type)
{
	row->tuple = tuple;
	row->type = type;
	row->value = palloc(sizeof(Datum) * type->natts);
	row->null = palloc(sizeof(bool) * type->natts);
	row->changed = false;
	heap_deform_tuple(tuple, type, row->value, row->null);
}

static HeapTuple
put_together(const CheckedRow *row)
{
	HeapTuple	tuple;

	if (!row->changed)
		return row->tuple;
	tuple = heap_form_tuple(row->type, row->value, row->null);
	tuple->t_data->t_ctid = row->tuple->t_data->t_ctid;
	tuple->t_self = row->tuple->t_self;
	tuple->t_tableOid = row->tuple->t_tableOid;
	return tuple;
}

/*
 * Does a text column differ?  A null one is refused by the table a little
 * later.
 */
static bool
column_differs(const CheckedRow *a, const CheckedRow *b, int column)
{
	return a->null[column] || b->null[column] ||
		strcmp(TextDatumGetCString(a->value[column]),
			   TextDatumGetCString(b->value[column])) != 0;
}

/*
 * Was the row made by this transaction, and not brought along by a dump?
 * Only the owner can say when it was tracked.
 */
static bool
is_fresh(const CheckedRow *row)
{
	return !row->null[BS_TRACKED_TRACKED_AT] &&
		DatumGetTimestampTz(row->value[BS_TRACKED_TRACKED_AT]) ==
		GetCurrentTransactionStartTimestamp();
}

/*
 * Has the id checked, and makes it the bare one.
 */
static void
check_key(CheckedRow *row)
{
	char	   *provider;
	char	   *id;
	Name		role;
	char	   *bare;

	if (row->null[BS_TRACKED_PROVIDER] || row->null[BS_TRACKED_SESSION_ID] ||
		row->null[BS_TRACKED_TRACKED_BY])
		return;
	provider = TextDatumGetCString(row->value[BS_TRACKED_PROVIDER]);
	id = TextDatumGetCString(row->value[BS_TRACKED_SESSION_ID]);
	role = DatumGetName(row->value[BS_TRACKED_TRACKED_BY]);
	bare = bs_function_bare_id(provider, id,
							   get_role_oid(NameStr(*role), false));
	if (strcmp(bare, id) == 0)
		return;
	row->value[BS_TRACKED_SESSION_ID] = CStringGetTextDatum(bare);
	row->changed = true;
}

/*
 * Plans the end, if the session is active: at its expiry.
 */
static void
plan_end(CheckedRow *row)
{
	const char *state;

	if (row->null[BS_TRACKED_STATE])
		return;
	state = TextDatumGetCString(row->value[BS_TRACKED_STATE]);
	if (strcmp(state, "active") != 0)
		return;
	row->value[BS_TRACKED_NEXT_ATTEMPT_AT] = row->value[BS_TRACKED_EXPIRES_AT];
	row->null[BS_TRACKED_NEXT_ATTEMPT_AT] = row->null[BS_TRACKED_EXPIRES_AT];
	row->changed = true;
}

static TimestampTz
next_attempt(const CheckedRow *row)
{
	return DatumGetTimestampTz(row->value[BS_TRACKED_NEXT_ATTEMPT_AT]);
}

/*
 * Takes an update: a key that is a new one is checked.
 */
static void
check_update(CheckedRow *row, HeapTuple before)
{
	CheckedRow	old;

	take_apart(&old, before, row->type);
	if (column_differs(row, &old, BS_TRACKED_PROVIDER) ||
		column_differs(row, &old, BS_TRACKED_SESSION_ID))
		check_key(row);
	plan_end(row);
}

/*
 * Takes a row that is inserted.  One that was tracked elsewhere is a dump's.
 */
static void
check_insert(CheckedRow *row)
{
	if (is_fresh(row))
	{
		check_key(row);
		plan_end(row);
	}
	else
		bs_tracking_leave_home();
}

/*
 * bsession_check_tracked() - what plain SQL puts into bsession_tracked
 *
 * A row that is being ended, or is over, takes a new expiry down and is not
 * otherwise changed by it.
 */
Datum
bsession_check_tracked(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	type;
	HeapTuple	tuple;
	CheckedRow	row;
	bool		update;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("bsession_check_tracked() must be called as a "
						"trigger")));
	if (!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("bsession_check_tracked() must be called as the "
						"extension's own trigger")));
	check_relation(fcinfo, "bsession_tracked");
	update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
	tuple = update ? trigger->tg_newtuple : trigger->tg_trigtuple;
	if (bs_tracking_is_own_statement())
		return PointerGetDatum(tuple);
	type = RelationGetDescr(trigger->tg_relation);
	if (type->natts < BS_TRACKED_COLUMNS)
		elog(ERROR, "bsession_tracked is not the table of this library");

	take_apart(&row, tuple, type);
	if (update)
		check_update(&row, trigger->tg_trigtuple);
	else
		check_insert(&row);
	if (!row.null[BS_TRACKED_NEXT_ATTEMPT_AT])
		bs_roster_wake_at_commit(next_attempt(&row));
	return PointerGetDatum(put_together(&row));
}

/* ----------------------------------------------------------------
 * COPY
 * ----------------------------------------------------------------
 */

/*
 * bsession_copy_row() - what is inserted into bsession_copy
 */
Datum
bsession_copy_row(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Datum		value[COPY_COLUMNS];
	bool		null[COPY_COLUMNS];
	BsSessionKey key;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_INSTEAD(trigger->tg_event) ||
		RelationGetDescr(trigger->tg_relation)->natts != COPY_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("bsession_copy_row() must be called as a trigger")));
	check_relation(fcinfo, "bsession_copy");
	heap_deform_tuple(trigger->tg_trigtuple,
					  RelationGetDescr(trigger->tg_relation), value, null);
	if (null[COPY_PROVIDER] || null[COPY_SESSION_ID] || null[COPY_METADATA])
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("provider, session_id and metadata must not be "
						"null")));
	key.provider = TextDatumGetCString(value[COPY_PROVIDER]);
	key.id = bs_function_bare_id(key.provider,
								 TextDatumGetCString(value[COPY_SESSION_ID]),
								 GetUserId());
	bs_tracking_insert(&key, GetUserId(), value[COPY_EXPIRES_AT],
					   null[COPY_EXPIRES_AT], value[COPY_METADATA]);
	return PointerGetDatum(trigger->tg_trigtuple);
}

/* ----------------------------------------------------------------
 * Triggers on tables of applications
 * ----------------------------------------------------------------
 */

/*
 * Returns the value of a deleted row's column as text; NULL if it is null.
 */
static char *
deleted_value(const TriggerData *trigger, const char *name)
{
	TupleDesc	type = RelationGetDescr(trigger->tg_relation);

	for (int i = 0; i < type->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(type, i);
		bool		null;
		bool		is_varlena;
		Oid			output;
		Datum		value;

		if (column->attisdropped ||
			strcmp(NameStr(column->attname), name) != 0)
			continue;
		value = heap_getattr(trigger->tg_trigtuple, i + 1, type, &null);
		if (null)
			return NULL;
		getTypeOutputInfo(column->atttypid, &output, &is_varlena);
		return OidOutputFunctionCall(output, value);
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("table \"%s\" has no column \"%s\"",
					RelationGetRelationName(trigger->tg_relation), name),
			 errhint("The arguments of bsession_end_on_delete() are the "
					 "columns with the server's name and the session's id.")));
	return NULL;
}

/*
 * bsession_end_on_delete('provider_column', 'id_column') - end the session of
 * a row that is deleted, at commit
 */
Datum
bsession_end_on_delete(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	BsSessionKey key;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		trigger->tg_trigger->tgnargs != 2)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("bsession_end_on_delete() must be called as an AFTER "
						"DELETE trigger for each row, with two arguments"),
				 errhint("CREATE TRIGGER ... AFTER DELETE ON ... FOR EACH ROW "
						 "EXECUTE FUNCTION "
						 "bsession_end_on_delete('provider_column', "
						 "'id_column');")));
	key.provider = deleted_value(trigger, trigger->tg_trigger->tgargs[0]);
	key.id = deleted_value(trigger, trigger->tg_trigger->tgargs[1]);
	if (key.provider != NULL && key.id != NULL)
	{
		key.id = bs_function_bare_id(key.provider, key.id, GetUserId());
		bs_tracking_delete(&key, GetUserId());
	}
	return PointerGetDatum(NULL);
}

/* ----------------------------------------------------------------
 * Row security
 * ----------------------------------------------------------------
 */

/*
 * bsession_see_all() - does the caller see every row?
 *
 * Who may call it does; so may_see() needs only look whether he may.
 */
Datum
bsession_see_all(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_BOOL(true);
}

/*
 * Is the caller an auditor?  Found out once for each query.
 */
static bool
is_auditor(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		Oid			schema = get_func_namespace(fcinfo->flinfo->fn_oid);
		/* Not by LookupFuncName(): a view's caller needs no USAGE on it. */
		Oid			function =
			GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
							CStringGetDatum("bsession_see_all"),
							PointerGetDatum(buildoidvector(NULL, 0)),
							ObjectIdGetDatum(schema));
		bool	   *answer = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt,
												sizeof(bool));

		*answer = OidIsValid(function) &&
			bs_may_execute(function, GetUserId());
		fcinfo->flinfo->fn_extra = answer;
	}
	return *(bool *) fcinfo->flinfo->fn_extra;
}

/*
 * bsession_may_see(role name) - row security of reading
 */
Datum
bsession_may_see(PG_FUNCTION_ARGS)
{
	Oid			role = get_role_oid(NameStr(*PG_GETARG_NAME(0)), true);
	Oid			caller = GetUserId();

	PG_RETURN_BOOL((OidIsValid(role) &&
					(has_privs_of_role(caller, role) ||
					 is_member_of_role_nosuper(role, caller))) ||
				   is_auditor(fcinfo));
}

/*
 * bsession_may_change(role name, actor name) - row security of writing
 */
Datum
bsession_may_change(PG_FUNCTION_ARGS)
{
	Oid			role = get_role_oid(NameStr(*PG_GETARG_NAME(0)), true);
	Oid			actor = get_role_oid(NameStr(*PG_GETARG_NAME(1)), true);

	PG_RETURN_BOOL(OidIsValid(actor) &&
				   (superuser_arg(actor) ||
					(OidIsValid(role) && has_privs_of_role(actor, role))));
}
