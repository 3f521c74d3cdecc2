/*
 * tracking_statement.c
 *		Running a statement on the extension's tables.
 *
 * The files tracking*.c are the sole users of SPI.  A statement runs as the
 * owner of the tables, with a plan that is kept for the life of the process:
 * who may do what has been checked before, or is part of the statement.  It
 * is parsed with nothing but pg_catalog in the search_path, and planned for
 * any number of rows, because a plan made while the tables are small must
 * still do when they are large.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type_d.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "storage/lmgr.h"
#include "tracking.h"
#include "tracking_statement.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* What statements are parsed and planned with. */
#define SEARCH_PATH		"pg_catalog, pg_temp"
static const char *const settings[][2] = {
	/* A kept plan is made anew if it is run with another path. */
	{"search_path", SEARCH_PATH},
	{"enable_seqscan", "off"},
	{"enable_hashjoin", "off"},
	{"enable_mergejoin", "off"},
	{"enable_bitmapscan", "off"},
};

/* The only trigger that bsession_tracked is to have. */
#define OWN_TRIGGER		"bsession_check_tracked"

/* Is one of our statements running? */
static bool running = false;

/*
 * Returns whether what happens to the tables is done by a statement of ours,
 * which needs no checking.
 */
bool
bs_tracking_is_own_statement(void)
{
	return running;
}

/*
 * Is a trigger the extension's own, as the extension made it?  Its name proves
 * nothing: whoever may create triggers may replace it.
 */
static bool
is_own(const Trigger *trigger, Oid schema)
{
	const char *function = get_func_name(trigger->tgfoid);

	return trigger->tgqual == NULL &&
		strcmp(trigger->tgname, OWN_TRIGGER) == 0 &&
		get_func_namespace(trigger->tgfoid) == schema &&
		function != NULL && strcmp(function, OWN_TRIGGER) == 0;
}

/*
 * Raises an error for what would run with rights that are not due to it.
 */
static void
refuse(Relation table, const char *what, const char *name, const char *why)
{
	const char *whole =
		quote_qualified_identifier(get_namespace_name
								   (RelationGetNamespace(table)),
								   RelationGetRelationName(table));

	if (strcmp(what, "trigger") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has trigger \"%s\"",
						RelationGetRelationName(table), name),
				 errdetail_internal("%s", why),
				 errhint("DROP TRIGGER %s ON %s;", quote_identifier(name),
						 whole)));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" has constraint \"%s\", which can be "
					"deferred", RelationGetRelationName(table), name),
			 errdetail_internal("%s", why),
			 errhint("ALTER TABLE %s DROP CONSTRAINT %s;", whole,
					 quote_identifier(name))));
}

/*
 * Raises an error if a table belongs to another role than the extension's
 * others: what its owner puts into an index would run as theirs.
 */
static void
refuse_owner(Relation table, Oid owner)
{
	const char *name = RelationGetRelationName(table);

	if (table->rd_rel->relowner == owner)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" has another owner than "
					"\"bsession_tracked\"", name),
			 errdetail("Its owner's code would run with the rights of the "
					   "other's."),
			 errhint("ALTER TABLE %s OWNER TO %s;",
					 quote_qualified_identifier
					 (get_namespace_name(RelationGetNamespace(table)), name),
					 quote_identifier(GetUserNameFromId(owner, false)))));
}

/*
 * Raises an error if a table has a trigger that is not the extension's own.
 * PostgreSQL's own, of constraints, are none of anybody's, but those that wait
 * for the commit would be run by whoever commits.  Those of other tables'
 * foreign keys have to do with deleting only, and are seen to by PostgreSQL.
 */
static void
refuse_triggers(Relation table)
{
	const TriggerDesc *triggers = table->trigdesc;
	Oid			schema = RelationGetNamespace(table);

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (trigger->tgisinternal && trigger->tgdeferrable &&
			RI_FKey_trigger_type(trigger->tgfoid) != RI_TRIGGER_PK)
			refuse(table, "constraint",
				   get_constraint_name(trigger->tgconstraint),
				   "It would be checked with the rights of whoever commits.");
		if (!trigger->tgisinternal && !is_own(trigger, schema))
			refuse(table, "trigger", trigger->tgname,
				   "It would run with the rights of the table's owner.");
	}
}

/*
 * Raises an error if a table that is to be written to is not safe for that:
 * what is there of others would run with the rights of the owner, whoever made
 * it.  The lock that writing needs is taken first, so that nothing can come in
 * between.
 */
void
bs_statement_guard(Oid table)
{
	Relation	relation = try_table_open(table, RowExclusiveLock);
	BsExtension extension;

	if (relation == NULL)
		return;
	bs_extension_get(&extension);
	refuse_owner(relation, extension.owner);
	refuse_triggers(relation);
	table_close(relation, NoLock);
}

/*
 * Is there nothing in a table that would be run after a foreign key has
 * changed it: a trigger but for those of its own foreign keys, a rule?  It is
 * locked, so that none can come in between.
 */
static bool
is_inert(Oid table)
{
	Relation	relation = table_open(table, RowExclusiveLock);
	const TriggerDesc *triggers = relation->trigdesc;
	bool		inert = relation->rd_rel->relkind == RELKIND_RELATION &&
		!relation->rd_rel->relispartition && relation->rd_rules == NULL;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		inert = inert &&
			RI_FKey_trigger_type(triggers->triggers[i].tgfoid) ==
			RI_TRIGGER_FK;
	table_close(relation, NoLock);
	return inert;
}

/*
 * Does a trigger have a row that is deleted change other tables?
 */
static bool
passes_deletion_on(const Trigger *trigger)
{
	return trigger->tgfoid == F_RI_FKEY_CASCADE_DEL ||
		trigger->tgfoid == F_RI_FKEY_SETNULL_DEL ||
		trigger->tgfoid == F_RI_FKEY_SETDEFAULT_DEL;
}

/*
 * Raises an error if deleting from a table, which is guarded, would run code
 * behind a foreign key.  PostgreSQL changes the other table as its owner, but
 * runs its AFTER triggers, before 18, with the rights of whoever deletes,
 * which are ours.
 */
void
bs_statement_guard_deletion(Oid table)
{
	Relation	relation = table_open(table, NoLock);
	const TriggerDesc *triggers = relation->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];
		Oid			other = trigger->tgconstrrelid;

		if (!passes_deletion_on(trigger) || is_inert(other))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("deleting from table \"%s\" would change table "
						"\"%s\"", RelationGetRelationName(relation),
						get_rel_name(other)),
				 errdetail("Its triggers, rules or partitions would run code "
						   "with the rights of the owner of the first."),
				 errhint("ALTER TABLE %s DROP CONSTRAINT %s;",
						 quote_qualified_identifier
						 (get_namespace_name(get_rel_namespace(other)),
						  get_rel_name(other)),
						 quote_identifier(get_constraint_name
										  (trigger->tgconstraint)))));
	}
	table_close(relation, NoLock);
}

/*
 * Raises an error if attempts could not be saved, as far as that can be known
 * without a lock that lasts.  Returns whether they can be saved late: not if
 * there is a constraint that is checked before the commit.
 */
bool
bs_tracking_check_audit(void)
{
	BsExtension extension;
	Relation	audit;
	bool		plain;

	bs_extension_get(&extension);
	audit = table_open(extension.audit, AccessShareLock);
	refuse_owner(audit, extension.owner);
	refuse_triggers(audit);
	plain = audit->trigdesc == NULL;
	table_close(audit, AccessShareLock);
	return plain;
}

/*
 * Could attempts be saved without waiting for somebody's lock?
 */
bool
bs_tracking_may_save_now(void)
{
	BsExtension extension;

	return bs_extension_find(&extension) &&
		ConditionalLockRelationOid(extension.audit, RowExclusiveLock);
}

/*
 * Are the settings what statements need?  In a process of our own they always
 * are.
 */
static bool
is_set(void)
{
	return !enable_seqscan && !enable_hashjoin && !enable_mergejoin &&
		!enable_bitmapscan && strcmp(namespace_search_path, SEARCH_PATH) == 0;
}

/*
 * Sets what statements need for the rest of this process's life, which is
 * all ours.
 */
void
bs_tracking_set_for_good(void)
{
	for (int i = 0; i < (int) lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_USERSET,
						PGC_S_OVERRIDE);
}

/*
 * Sets what statements need, if it is not set, until bs_settings_end() with
 * what it returns, or the end of the (sub)transaction.
 */
int
bs_settings_begin(void)
{
	int			level;

	if (is_set())
		return 0;
	level = NewGUCNestLevel();
	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	return level;
}

void
bs_settings_end(int level)
{
	if (level != 0)
		AtEOXact_GUC(true, level);
}

/*
 * Begins to work on the tables as their owner.  Raises an error if the
 * extension is not there.  What is written to has to be guarded.  Code that is
 * run meanwhile (an index's, or that of a table with a foreign key) can leave
 * nothing behind that would run later, with the rights of whoever commits.
 */
void
bs_scope_begin(BsScope *scope)
{
	bs_extension_get(&scope->extension);
	scope->context = CurrentMemoryContext;
	GetUserIdAndSecContext(&scope->role, &scope->security);
	SetUserIdAndSecContext(scope->extension.owner, scope->security |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
}

/*
 * Is done with them.  After an error PostgreSQL does that itself when the
 * transaction or subtransaction ends.
 */
void
bs_scope_end(BsScope *scope)
{
	SetUserIdAndSecContext(scope->role, scope->security);
}

/*
 * The same with what running statements needs, if these only read.
 */
void
bs_statement_begin_reading(BsScope *scope)
{
	bs_scope_begin(scope);
	scope->schema = get_namespace_name(scope->extension.schema);
	SPI_connect();
	scope->settings = bs_settings_begin();
}

/*
 * The same for statements that write.  Raises an error if the tables are not
 * safe for that.
 */
void
bs_statement_begin(BsScope *scope)
{
	BsExtension extension;

	bs_extension_get(&extension);
	bs_statement_guard(extension.tracked);
	bs_statement_guard(extension.audit);
	bs_statement_begin_reading(scope);
}

void
bs_statement_end(BsScope *scope)
{
	bs_settings_end(scope->settings);
	SPI_finish();
	bs_scope_end(scope);
}

/*
 * Returns the text of a statement with the schema in the place of each @.
 */
static char *
name_schema(const char *sql, const char *schema)
{
	StringInfoData text;

	initStringInfo(&text);
	for (; *sql != '\0'; sql++)
	{
		if (*sql == '@')
			appendStringInfoString(&text, quote_identifier(schema));
		else
			appendStringInfoChar(&text, *sql);
	}
	return text.data;
}

/*
 * Makes the plan of a statement, in place of one for tables that are gone.
 */
static void
prepare(BsScope *scope, BsStatement *statement)
{
	if (statement->plan != NULL)
		SPI_freeplan(statement->plan);
	statement->plan = NULL;
	statement->plan = SPI_prepare_cursor(name_schema(statement->sql,
													 scope->schema),
										 statement->narguments,
										 statement->type,
										 CURSOR_OPT_GENERIC_PLAN);
	if (statement->plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", statement->sql,
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(statement->plan);
	statement->made_for = scope->extension.tracked;
	namestrcpy(&statement->schema, scope->schema);
}

/*
 * Runs a statement and returns the number of rows, which are in
 * SPI_tuptable if it returns any.
 */
uint64
bs_statement_run(BsScope *scope, BsStatement *statement, Datum *arguments,
				 const bool *nulls)
{
	char		null_marks[BS_MAX_ARGUMENTS];
	bool		nested = running;
	int volatile status = 0;

	if (statement->plan == NULL ||
		statement->made_for != scope->extension.tracked ||
		strcmp(NameStr(statement->schema), scope->schema) != 0)
		prepare(scope, statement);
	for (int i = 0; i < statement->narguments; i++)
		null_marks[i] = nulls != NULL && nulls[i] ? 'n' : ' ';

	running = true;
	PG_TRY();
	{
		status = SPI_execute_plan(statement->plan, arguments, null_marks,
								  false, 0);
	}
	PG_FINALLY();
	{
		running = nested;
	}
	PG_END_TRY();
	if (status < 0)
		elog(ERROR, "could not run \"%s\": %s", statement->sql,
			 SPI_result_code_string(status));
	return SPI_processed;
}

/*
 * Returns a column, counted from 1, of a row of the result.
 */
Datum
bs_statement_get(uint64 row, int column, bool *null)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 column, null);
}

/*
 * Returns a column as text in the caller's memory context; NULL if it is
 * null.
 */
char *
bs_statement_text(BsScope *scope, uint64 row, int column)
{
	char	   *text = SPI_getvalue(SPI_tuptable->vals[row],
									SPI_tuptable->tupdesc, column);
	char	   *copy = text == NULL ? NULL :
		MemoryContextStrdup(scope->context, text);

	if (text != NULL)
		pfree(text);
	return copy;
}

/*
 * Returns texts as an array, NULLs as nulls.
 */
Datum
bs_text_array(const char *const *texts, int n)
{
	Datum	   *values = palloc(sizeof(Datum) * n);
	bool	   *nulls = palloc(sizeof(bool) * n);
	int			bounds = 1;

	for (int i = 0; i < n; i++)
	{
		nulls[i] = texts[i] == NULL;
		if (!nulls[i])
			values[i] = CStringGetTextDatum(texts[i]);
	}
	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &bounds,
											  TEXTOID, -1, false,
											  TYPALIGN_INT));
}

/*
 * Returns a name as an argument.
 */
Datum
bs_name(const char *name)
{
	return DirectFunctionCall1(namein, CStringGetDatum(name));
}

/*
 * Returns the name of a role as an argument.
 */
Datum
bs_role_name(Oid role)
{
	return bs_name(GetUserNameFromId(role, false));
}
