/*
 * audit_reader.c
 *		Has the audit complete for those who look at it in the transaction that
 *		ends sessions.
 *
 * Rows of the audit wait in memory until there are many of them.  They are
 * written before a query that reads the table, or calls a function that may,
 * and before any command that is not a query.
 */
#include "postgres.h"

#include "access/xact.h"
#include "audit.h"
#include "executor/executor.h"
#include "extension.h"
#include "nodes/plannodes.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

static ExecutorStart_hook_type next_start;

/* Functions that end sessions, by what plans know of them. */
static uint32 known_function[4];
static int	nknown = 0;

static bool
is_known(uint32 hash)
{
	for (int i = 0; i < nknown; i++)
		if (known_function[i] == hash)
			return true;
	return false;
}

/*
 * Notes that a function ends sessions, and so does not read the audit.
 */
void
bs_audit_know_function(Oid function)
{
	uint32		hash = GetSysCacheHashValue1(PROCOID,
											 ObjectIdGetDatum(function));

	if (!is_known(hash) && nknown < (int) lengthof(known_function))
		known_function[nknown++] = hash;
}

/*
 * Can a query read the audit: itself, or in a function that somebody has
 * written?
 */
static bool
may_read_audit(const PlannedStmt *plan)
{
	BsExtension extension;
	ListCell   *cell;

	foreach(cell, plan->invalItems)
	{
		const PlanInvalItem *item = lfirst(cell);

		if (item->cacheId == PROCOID && !is_known(item->hashValue))
			return true;
	}
	return bs_extension_find(&extension) &&
		list_member_oid(plan->relationOids, extension.audit);
}

/*
 * Has a query see what this transaction has written until now, if nobody else
 * uses its snapshot.  One that it shares with a query around it, as that of a
 * STABLE function, is not to change.
 */
static void
see_all(Snapshot snapshot, uint32 users)
{
	if (snapshot != InvalidSnapshot && IsMVCCSnapshot(snapshot) &&
		snapshot->copied && snapshot->active_count <= 1 &&
		snapshot->regd_count <= users)
		snapshot->curcid = GetCurrentCommandId(false);
}

static void
start_executor(QueryDesc *query, int flags)
{
	/* What runs in a parallel query is part of one that began before. */
	if (bs_audit_is_behind() && !IsInParallelMode() &&
		may_read_audit(query->plannedstmt))
	{
		bs_audit_flush();
		see_all(query->snapshot, 1);
	}
	if (next_start != NULL)
		next_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
}

/*
 * Has a command that is about to be run see it, whatever it is: but for those
 * that end the transaction, which need not.
 */
void
bs_audit_before_command(const Node *command, bool top_level)
{
	if (!bs_audit_is_behind() || IsA(command, TransactionStmt))
		return;
	bs_audit_flush();
	/* At top level, what may hold it is the command's own portal. */
	if (ActiveSnapshotSet())
		see_all(GetActiveSnapshot(), top_level ? 1 : 0);
}

/*
 * Installs the hook for queries.  That for commands is in hooks.c.
 */
void
bs_audit_install_hook(void)
{
	next_start = ExecutorStart_hook;
	ExecutorStart_hook = start_executor;
}
