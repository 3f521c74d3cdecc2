/*
 * hooks.c
 *		What is done before commands are run.
 *
 * What a transaction has yet to write into the audit is written.  All else
 * concerns the workers, and is done only if the library is preloaded.
 *
 * A command that needs a database to itself (DROP DATABASE, renaming it,
 * moving it to another tablespace, copying it) would fail because the worker
 * is connected to it; so the worker is kept away while the command runs.  New
 * databases are looked at, because a template can have the extension, and so
 * is one whose extension is dropped.
 *
 * One command has nothing to do with workers: PostgreSQL has no COPY FROM for
 * tables with row security, so one into bsession_tracked goes to a view that
 * has a trigger instead.
 */
#include "postgres.h"

#include "access/xact.h"
#include "audit.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "compat.h"
#include "extension.h"
#include "hooks.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "roster.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* How long a worker is waited for until it has gone, in ms. */
#define PATIENCE	5000

static bool preloaded = false;
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
 * Tells whether the user may create databases.  The server's own function is
 * there from a minor release on.
 */
static bool
may_create_databases(void)
{
	HeapTuple	tuple;
	bool		granted;

	if (superuser())
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (!HeapTupleIsValid(tuple))
		return false;
	granted = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
	ReleaseSysCache(tuple);
	return granted;
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
	return template && may_create_databases();
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
	/* Only copying it can be done from within. */
	if (!OidIsValid(database) ||
		(database == MyDatabaseId && !IsA(command, CreatedbStmt)) ||
		!may_run(command, database) || !bs_roster_hold(database))
		return InvalidOid;
	return database;
}

/*
 * Notes what a command means for the workers, if it is committed.
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
		bs_roster_wake_for_prepared();
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

/*
 * Is it a COPY into bsession_tracked that PostgreSQL would refuse, because row
 * security applies to the role?
 */
static bool
is_refused_copy(const Node *command)
{
	const CopyStmt *copy = (const CopyStmt *) command;
	BsExtension extension;
	Oid			table;

	if (!IsA(command, CopyStmt) || !copy->is_from || copy->relation == NULL)
		return false;
	table = RangeVarGetRelid(copy->relation, NoLock, true);
	return OidIsValid(table) && bs_extension_find(&extension) &&
		table == extension.tracked &&
		check_enable_rls(table, InvalidOid, true) == RLS_ENABLED;
}

/*
 * Returns the statement with bsession_copy in the place of the table.
 */
static PlannedStmt *
redirect_copy(PlannedStmt *statement)
{
	PlannedStmt *redirected = copyObject(statement);
	CopyStmt   *copy = (CopyStmt *) redirected->utilityStmt;
	BsExtension extension;

	bs_extension_get(&extension);
	copy->relation = makeRangeVar(get_namespace_name(extension.schema),
								  pstrdup("bsession_copy"), -1);
	return redirected;
}

/*
 * Runs a command with the worker kept away from a database, which is held.
 */
static void
run_alone(Oid held, PlannedStmt *statement, const char *query,
		  bool read_only_tree, ProcessUtilityContext context,
		  ParamListInfo parameters, QueryEnvironment *environment,
		  DestReceiver *destination, QueryCompletion *completion)
{
	PG_TRY();
	{
		bs_roster_clear(held, PATIENCE);
		call_next_utility(statement, query, read_only_tree, context,
						  parameters, environment, destination, completion);
		/* Not even between here and the commit is there to be a worker. */
		if (IsA(statement->utilityStmt, DropdbStmt))
			bs_roster_forget(held);
	}
	PG_CATCH();
	{
		bs_roster_release(held);
		PG_RE_THROW();
	}
	PG_END_TRY();
	bs_roster_release(held);
}

static void
process_utility(PlannedStmt *statement, const char *query,
				bool read_only_tree, ProcessUtilityContext context,
				ParamListInfo parameters, QueryEnvironment *environment,
				DestReceiver *destination, QueryCompletion *completion)
{
	Oid			held = InvalidOid;

	bs_audit_before_command(statement->utilityStmt,
							context == PROCESS_UTILITY_TOPLEVEL);
	if (preloaded && is_refused_copy(statement->utilityStmt))
		statement = redirect_copy(statement);
	if (preloaded)
	{
		held = make_room(statement->utilityStmt);
		note_command(statement->utilityStmt);
	}
	if (OidIsValid(held))
		run_alone(held, statement, query, read_only_tree, context,
				  parameters, environment, destination, completion);
	else
		call_next_utility(statement, query, read_only_tree, context,
						  parameters, environment, destination, completion);
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
 * Installs the hooks.  Called from _PG_init(); "with_workers" says that the
 * library is preloaded.
 */
void
bs_hooks_install(bool with_workers)
{
	preloaded = with_workers;
	bs_audit_install_hook();
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	if (!preloaded)
		return;
	next_access = object_access_hook;
	object_access_hook = note_access;
}
