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

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "tracking.h"
#include "tracking_statement.h"

static BsStatement is_home = {
	.sql = "SELECT count(*) > 0 AND bool_and(system_identifier = $1"
	" AND database = $2) FROM @.bsession_home",
	.narguments = 2,
	.type = {INT8OID, OIDOID}
};

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

static bool
look_home(BsScope *scope, Datum *place)
{
	bool		null;

	place[0] = Int64GetDatum((int64) GetSystemIdentifier());
	place[1] = ObjectIdGetDatum(MyDatabaseId);
	(void) bs_statement_run(scope, &is_home, place, NULL);
	return DatumGetBool(bs_statement_get(0, 1, &null)) && !null;
}

/*
 * Are the tracked sessions this database's own?
 */
bool
bs_tracking_is_home(void)
{
	BsScope		scope;
	Datum		place[2];
	bool		home;

	bs_statement_begin(&scope);
	home = look_home(&scope, place);
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
	home = look_home(&scope, place);
	if (!home)
	{
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
	if (left)
		ereport(WARNING,
				(errmsg("tracked sessions will not be ended until they are "
						"adopted"),
				 errdetail("Rows that say when they were tracked come from "
						   "another place."),
				 errhint("If this database is to end them, and no other "
						 "does: SELECT bsession_adopt();")));
}
