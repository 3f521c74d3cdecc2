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

#include "catalog/pg_type_d.h"
#include "commands/trigger.h"
#include "extension.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tracking.h"
#include "tracking_statement.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"

/* What statements are parsed with. */
#define SEARCH_PATH		"pg_catalog, pg_temp"

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
 * Raises an error if a table that is to be written to has a trigger that is
 * not the extension's own: it would run with the rights of the owner, whoever
 * made it.  Those of foreign keys change to the rights that are due to them.
 * The lock that writing needs is taken first, so that no trigger can come in
 * between.
 */
void
bs_statement_guard(Oid table)
{
	Oid			schema = get_rel_namespace(table);
	Relation	relation;
	TriggerDesc *triggers;
	const char *name = NULL;

	LockRelationOid(table, RowExclusiveLock);
	relation = RelationIdGetRelation(table);
	triggers = relation == NULL ? NULL : relation->trigdesc;
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (!triggers->triggers[i].tgisinternal &&
			!is_own(&triggers->triggers[i], schema))
			name = pstrdup(triggers->triggers[i].tgname);
	if (relation != NULL)
		RelationClose(relation);
	if (name != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has trigger \"%s\"",
						get_rel_name(table), name),
				 errdetail("It would run with the rights of the table's "
						   "owner."),
				 errhint("DROP TRIGGER %s ON %s;", quote_identifier(name),
						 quote_qualified_identifier
						 (get_namespace_name(schema), get_rel_name(table)))));
}

/*
 * Begins to run statements.  Raises an error if the extension is not there,
 * or its tables have triggers that are not its own.
 */
void
bs_statement_begin(BsScope *scope)
{
	BsExtension extension;

	bs_extension_get(&extension);
	bs_statement_guard(extension.tracked);
	bs_statement_guard(extension.audit);
	scope->home = extension.home;
	scope->tracked = extension.tracked;
	scope->schema = get_namespace_name(extension.schema);
	scope->context = CurrentMemoryContext;
	GetUserIdAndSecContext(&scope->role, &scope->security);
	SPI_connect();
	SetUserIdAndSecContext(extension.owner, scope->security |
						   SECURITY_LOCAL_USERID_CHANGE);
}

/*
 * Is done with them.  After an error PostgreSQL does that itself when the
 * transaction or subtransaction ends.
 */
void
bs_statement_end(BsScope *scope)
{
	SetUserIdAndSecContext(scope->role, scope->security);
	SPI_finish();
}

static void
set_for_now(const char *setting, const char *value)
{
	(void) set_config_option(setting, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
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
	int			level = NewGUCNestLevel();

	if (statement->plan != NULL)
		SPI_freeplan(statement->plan);
	statement->plan = NULL;
	set_for_now("search_path", SEARCH_PATH);
	statement->plan = SPI_prepare_cursor(name_schema(statement->sql,
													 scope->schema),
										 statement->narguments,
										 statement->type,
										 CURSOR_OPT_GENERIC_PLAN);
	if (statement->plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", statement->sql,
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(statement->plan);
	statement->made_for = scope->tracked;
	namestrcpy(&statement->schema, scope->schema);
	AtEOXact_GUC(true, level);
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
	int			level;
	int volatile status = 0;

	if (statement->plan == NULL || statement->made_for != scope->tracked ||
		strcmp(NameStr(statement->schema), scope->schema) != 0)
		prepare(scope, statement);
	for (int i = 0; i < statement->narguments; i++)
		null_marks[i] = nulls != NULL && nulls[i] ? 'n' : ' ';

	level = NewGUCNestLevel();
	/* A kept plan is made anew if it is run with another path. */
	set_for_now("search_path", SEARCH_PATH);
	set_for_now("enable_seqscan", "off");
	set_for_now("enable_hashjoin", "off");
	set_for_now("enable_mergejoin", "off");
	set_for_now("enable_bitmapscan", "off");
	running = true;
	PG_TRY();
	{
		status = SPI_execute_plan(statement->plan, arguments, null_marks,
								  false, 0);
	}
	PG_FINALLY();
	{
		running = false;
	}
	PG_END_TRY();
	AtEOXact_GUC(true, level);
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
