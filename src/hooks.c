/*
 * hooks.c
 *		Commands that concern the workers.
 *
 * A command that needs a database to itself (DROP DATABASE, renaming it,
 * moving it to another tablespace, copying it) would fail because the worker
 * is connected to it; so the worker is kept away while the command runs.  New
 * databases are looked at, because a template can have the extension, and so
 * is one whose extension is dropped.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "compat.h"
#include "extension.h"
#include "hooks.h"
#include "miscadmin.h"
#include "roster.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* How long a worker is waited for until it has gone, in ms. */
#define PATIENCE	5000

static ProcessUtility_hook_type next_utility;
static object_access_hook_type next_access;

/*
 * Returns an option of CREATE or ALTER DATABASE, or NULL.
 */
static const char *
get_option(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst(cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/*
 * Returns the name of the database that a command needs to itself, or NULL.
 */
static const char *
exclusive_database(const Node *command)
{
	switch (nodeTag(command))
	{
		case T_DropdbStmt:
			return ((const DropdbStmt *) command)->dbname;
		case T_RenameStmt:
			if (((const RenameStmt *) command)->renameType == OBJECT_DATABASE)
				return ((const RenameStmt *) command)->subname;
			return NULL;
		case T_AlterDatabaseStmt:
			if (get_option(((const AlterDatabaseStmt *) command)->options,
						   "tablespace") != NULL)
				return ((const AlterDatabaseStmt *) command)->dbname;
			return NULL;
		case T_CreatedbStmt:
			{
				const char *source =
					get_option(((const CreatedbStmt *) command)->options,
							   "template");

				return source != NULL ? source : "template1";
			}
		default:
			return NULL;
	}
}

/*
 * May the current role run the command?  If not, it will fail, and is no
 * reason to disturb a worker.
 */
static bool
may_run(const Node *command, Oid database)
{
	Form_pg_database form;
	HeapTuple	tuple;
	bool		template;

	if (bs_owns_database(database, GetUserId()))
		return true;
	if (!IsA(command, CreatedbStmt))
		return false;
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_database) GETSTRUCT(tuple);
	template = form->datistemplate;
	ReleaseSysCache(tuple);
	return template && have_createdb_privilege();
}

/*
 * Keeps a worker from coming to the database that a command needs.  Returns
 * the database, or InvalidOid if there is nothing to keep away.
 */
static Oid
make_room(const Node *command)
{
	const char *name = exclusive_database(command);
	Oid			database;

	if (name == NULL)
		return InvalidOid;
	database = get_database_oid(name, true);
	if (!OidIsValid(database) || database == MyDatabaseId ||
		!may_run(command, database) || !bs_roster_hold(database))
		return InvalidOid;
	return database;
}

/*
 * Notes what a command that has succeeded means for the workers.
 */
static void
note_command(const Node *command)
{
	if (IsA(command, CreatedbStmt) || IsA(command, DropdbStmt) ||
		IsA(command, AlterDatabaseStmt))
		bs_roster_survey_at_commit();
	else if (IsA(command, TransactionStmt) &&
			 ((const TransactionStmt *) command)->kind ==
			 TRANS_STMT_COMMIT_PREPARED)
	{
		/* What it commits may be due. */
		bs_roster_wake_at_commit(DT_NOBEGIN);
	}
}

static void
call_next_utility(PlannedStmt *statement, const char *query,
				  bool read_only_tree, ProcessUtilityContext context,
				  ParamListInfo parameters, QueryEnvironment *environment,
				  DestReceiver *destination, QueryCompletion *completion)
{
	if (next_utility != NULL)
		next_utility(statement, query, read_only_tree, context, parameters,
					 environment, destination, completion);
	else
		standard_ProcessUtility(statement, query, read_only_tree, context,
								parameters, environment, destination,
								completion);
}

static void
process_utility(PlannedStmt *statement, const char *query,
				bool read_only_tree, ProcessUtilityContext context,
				ParamListInfo parameters, QueryEnvironment *environment,
				DestReceiver *destination, QueryCompletion *completion)
{
	const Node *command = statement->utilityStmt;
	Oid			held = make_room(command);

	/* Not all of these commands can be looked at when they are over. */
	note_command(command);
	if (!OidIsValid(held))
	{
		call_next_utility(statement, query, read_only_tree, context,
						  parameters, environment, destination, completion);
		return;
	}
	PG_TRY();
	{
		bs_roster_clear(held, PATIENCE);
		call_next_utility(statement, query, read_only_tree, context,
						  parameters, environment, destination, completion);
		/* Not even between here and the commit is there to be a worker. */
		if (IsA(command, DropdbStmt))
			bs_roster_forget(held);
	}
	PG_FINALLY();
	{
		bs_roster_release(held);
	}
	PG_END_TRY();
}

static void
note_access(ObjectAccessType access, Oid class, Oid object, int sub_object,
			void *arg)
{
	if (next_access != NULL)
		next_access(access, class, object, sub_object, arg);
	if (access == OAT_DROP && class == ExtensionRelationId &&
		bs_extension_is(object))
		bs_roster_check_at_commit();
}

/*
 * Installs the hooks.  Called from _PG_init() when the library is preloaded.
 */
void
bs_hooks_install(void)
{
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	next_access = object_access_hook;
	object_access_hook = note_access;
}
