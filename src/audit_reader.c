/*
 * audit_reader.c
 *		Has the audit complete for those who look at it in the transaction that
 *		ends sessions.
 *
 * Rows of the audit wait in memory until there are many of them.  They are
 * written before a query that reads the table, whatever views and functions
 * it reads it through, and before any command that is not a query.
 */
#include "postgres.h"

#include "access/xact.h"
#include "audit.h"
#include "executor/executor.h"
#include "extension.h"
#include "tcop/utility.h"
#include "utils/snapmgr.h"

static ExecutorStart_hook_type next_start;
static ProcessUtility_hook_type next_utility;

static bool
reads_audit(const PlannedStmt *plan)
{
	BsExtension extension;

	return bs_extension_find(&extension) &&
		list_member_oid(plan->relationOids, extension.audit);
}

/*
 * Has a query see what this transaction has written until now, if the query's
 * snapshot is its own.  One that it shares with a query around it, as that of
 * a STABLE function, is not to change.
 */
static void
see_all(Snapshot snapshot)
{
	if (snapshot != InvalidSnapshot && IsMVCCSnapshot(snapshot) &&
		snapshot->copied && snapshot->active_count <= 1 &&
		snapshot->regd_count <= 1)
		snapshot->curcid = GetCurrentCommandId(false);
}

static void
start_executor(QueryDesc *query, int flags)
{
	/* What runs in a parallel query is part of one that began before. */
	if (bs_audit_is_behind() && !IsInParallelMode() &&
		reads_audit(query->plannedstmt))
	{
		bs_audit_flush();
		see_all(query->snapshot);
	}
	if (next_start != NULL)
		next_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
}

static void
process_utility(PlannedStmt *statement, const char *query,
				bool read_only_tree, ProcessUtilityContext context,
				ParamListInfo parameters, QueryEnvironment *environment,
				DestReceiver *destination, QueryCompletion *completion)
{
	if (bs_audit_is_behind() && !IsA(statement->utilityStmt, TransactionStmt))
		bs_audit_flush();
	if (next_utility != NULL)
		next_utility(statement, query, read_only_tree, context, parameters,
					 environment, destination, completion);
	else
		standard_ProcessUtility(statement, query, read_only_tree, context,
								parameters, environment, destination,
								completion);
}

/*
 * Installs the hooks.  Called from _PG_init().
 */
void
bs_audit_install_hooks(void)
{
	next_start = ExecutorStart_hook;
	ExecutorStart_hook = start_executor;
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
