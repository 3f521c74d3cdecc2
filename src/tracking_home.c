/*
 * tracking_home.c
 *		Whose sessions they are: in a copy of a database they are not its own.
 *
 * The table bsession_home says in which cluster and database the sessions are
 * at home.  A dump brings its row along, beside the one that CREATE EXTENSION
 * makes; so in a restored database, as in one made from a template, there is
 * a row that names another place.  Tracked rows that come before it, or by
 * logical replication, are known by saying when they were tracked.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type_d.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "roster.h"
#include "tracking.h"
#include "tracking_statement.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static BsStatement leave_home = {
	.sql = "DELETE FROM @.bsession_home",
	.narguments = 0
};

static BsStatement settle_down = {
	.sql = "INSERT INTO @.bsession_home (system_identifier, database, "
		   "adopted_by)"
	" VALUES ($1, $2, session_user)",
	.narguments = 2,
	.type = {INT8OID, OIDOID}
};

/*
 * Does the table of that oid say, as the active snapshot shows it, that the
 * sessions are this database's own?
 */
bool
bs_home_is_ours(Oid table)
{
	Relation	relation = table_open(table, AccessShareLock);
	TupleTableSlot *row = table_slot_create(relation, NULL);
	TableScanDesc scan = table_beginscan(relation, GetActiveSnapshot(), 0,
										 NULL);
	int			rows = 0;
	bool		home = true;
	bool		null;

	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		home = home &&
			DatumGetInt64(slot_getattr(row, 1, &null)) ==
			(int64) GetSystemIdentifier() &&
			DatumGetObjectId(slot_getattr(row, 2, &null)) == MyDatabaseId;
		rows++;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
	table_close(relation, AccessShareLock);
	return home && rows > 0;
}

/*
 * The same with a snapshot of its own.
 */
static bool
look_home(const BsScope *scope)
{
	bool		home;

	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	home = bs_home_is_ours(scope->extension.home);
	PopActiveSnapshot();
	return home;
}

/*
 * Are the tracked sessions this database's own?
 */
bool
bs_tracking_is_home(void)
{
	BsScope		scope;
	bool		home;

	bs_statement_begin(&scope);
	home = look_home(&scope);
	bs_statement_end(&scope);
	return home;
}

/*
 * Makes them this database's own.  Returns false if they were already.
 */
bool
bs_tracking_adopt(void)
{
	BsScope		scope;
	Datum		place[2];
	bool		home;

	bs_statement_begin(&scope);
	home = look_home(&scope);
	if (!home)
	{
		place[0] = Int64GetDatum((int64) GetSystemIdentifier());
		place[1] = ObjectIdGetDatum(MyDatabaseId);
		bs_statement_guard(scope.extension.home);
		(void) bs_statement_run(&scope, &leave_home, NULL, NULL);
		(void) bs_statement_run(&scope, &settle_down, place, NULL);
	}
	bs_statement_end(&scope);
	return !home;
}

/*
 * Makes them nobody's until they are adopted, or a restore goes on to say that
 * they are this database's.
 */
void
bs_tracking_leave_home(void)
{
	static TransactionId done_in = InvalidTransactionId;
	BsScope		scope;
	bool		left;

	if (TransactionIdEquals(done_in, GetCurrentTransactionId()))
		return;
	bs_statement_begin(&scope);
	bs_statement_guard(scope.extension.home);
	left = bs_statement_run(&scope, &leave_home, NULL, NULL) > 0;
	bs_statement_end(&scope);
	done_in = GetCurrentTransactionId();
	if (!left)
		return;
	/* It is to say so even if none of the rows is due. */
	bs_roster_wake_at_commit(DT_NOBEGIN);
	ereport(WARNING,
			(errmsg("tracked sessions will not be ended until they are "
					"adopted"),
			 errdetail("Rows that say when they were tracked come from "
					   "another place."),
			 errhint("If this database is to end them, and no other "
					 "does: SELECT bsession_adopt();")));
}
