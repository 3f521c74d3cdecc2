/*
 * tracking_session.c
 *		What callers do to their tracked sessions.
 *
 * "role" is in whose name it is done.  A session that another role tracks is
 * treated as if it were not there, but where the same id would be tracked a
 * second time.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "roster.h"
#include "tracking.h"
#include "tracking_table.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* How often a row may come or go while it is being tracked. */
#define TRACK_TRIES		10

#define MINE	"@.bsession_may_change(t.tracked_by, $3)"

static BsStatement track = {
	.sql = "INSERT INTO @.bsession_tracked AS t (provider, session_id,"
	" tracked_by, expires_at, next_attempt_at, metadata)"
	" VALUES ($1, $2, $3, $4, $4, $5)"
	" ON CONFLICT (provider, session_id) DO UPDATE SET"
	" expires_at = excluded.expires_at,"
	" next_attempt_at = excluded.expires_at,"
	" metadata = t.metadata || excluded.metadata,"
	" state = 'active', attempts = 0, outcome = NULL, last_error = NULL,"
	" ended_at = NULL, reason = 'expiry', claimed_by = NULL"
	" WHERE t.state <> 'ending' AND " MINE
	" RETURNING *",
	.narguments = 5,
	.type = {TEXTOID, TEXTOID, NAMEOID, TIMESTAMPTZOID, JSONBOID}
};

static BsStatement insert = {
	.sql = "INSERT INTO @.bsession_tracked (provider, session_id,"
	" tracked_by, expires_at, next_attempt_at, metadata)"
	" VALUES ($1, $2, $3, $4, $4, $5)",
	.narguments = 5,
	.type = {TEXTOID, TEXTOID, NAMEOID, TIMESTAMPTZOID, JSONBOID}
};

static BsStatement extend = {
	.sql = "UPDATE @.bsession_tracked t SET"
	" expires_at = greatest(t.expires_at, $4),"
	" next_attempt_at = greatest(t.expires_at, $4)"
	" WHERE provider = $1 AND session_id = $2 AND state = 'active'"
	" AND expires_at IS NOT NULL AND " MINE
	" RETURNING expires_at",
	.narguments = 4,
	.type = {TEXTOID, TEXTOID, NAMEOID, TIMESTAMPTZOID}
};

static BsStatement look = {
	.sql = "SELECT state, " MINE
	" FROM @.bsession_tracked t WHERE provider = $1 AND session_id = $2",
	.narguments = 3,
	.type = {TEXTOID, TEXTOID, NAMEOID}
};

/* An end is asked for; one that is under way already carries on. */
#define END_SOON(because) \
	" state = 'ending', attempts = 0, claimed_by = NULL," \
	" reason = '" because "', next_attempt_at = $4," \
	" expires_at = least(t.expires_at, $4)"

static BsStatement expire = {
	.sql = "UPDATE @.bsession_tracked t SET" END_SOON(BS_REASON_COMMIT)
	" WHERE provider = $1 AND session_id = $2"
	" AND state IN ('active', 'failed') AND " MINE,
	.narguments = 4,
	.type = {TEXTOID, TEXTOID, NAMEOID, TIMESTAMPTZOID}
};

static BsStatement retry = {
	.sql = "UPDATE @.bsession_tracked t SET"
	" state = 'ending', attempts = 0, claimed_by = NULL,"
	" next_attempt_at = $4"
	" WHERE provider = $1 AND session_id = $2 AND state = 'failed' AND " MINE,
	.narguments = 4,
	.type = {TEXTOID, TEXTOID, NAMEOID, TIMESTAMPTZOID}
};

static BsStatement untrack = {
	.sql = "DELETE FROM @.bsession_tracked t"
	" WHERE provider = $1 AND session_id = $2 AND " MINE,
	.narguments = 3,
	.type = {TEXTOID, TEXTOID, NAMEOID}
};

static BsStatement end_deleted = {
	.sql = "INSERT INTO @.bsession_tracked AS t (provider, session_id,"
	" tracked_by, state, expires_at, next_attempt_at, reason)"
	" VALUES ($1, $2, $3, 'ending', $4, $4, 'delete')"
	" ON CONFLICT (provider, session_id) DO UPDATE SET"
	END_SOON(BS_REASON_DELETE)
	" WHERE t.state IN ('active', 'failed') AND " MINE,
	.narguments = 4,
	.type = {TEXTOID, TEXTOID, NAMEOID, TIMESTAMPTZOID}
};

/* What the row of a session is to a role. */
typedef enum Standing
{
	NOT_THERE,
	ANOTHERS,
	ACTIVE,
	ENDING,
	OVER,
	FAILED
} Standing;

/*
 * Fills in the arguments that all statements begin with.
 */
static void
set_key(Datum *arguments, const BsSessionKey *key, Oid role)
{
	arguments[0] = CStringGetTextDatum(key->provider);
	arguments[1] = CStringGetTextDatum(key->id);
	arguments[2] = bs_role_name(role);
}

/*
 * Fills in the arguments of what makes a row.
 */
static void
set_row(Datum *arguments, const BsSessionKey *key, Oid role, Datum expires_at,
		Datum metadata)
{
	set_key(arguments, key, role);
	arguments[3] = expires_at;
	arguments[4] = metadata;
}

static Standing
find_standing(BsScope *scope, Datum *key)
{
	bool		null;
	const char *state;

	if (bs_statement_run(scope, &look, key, NULL) == 0)
		return NOT_THERE;
	if (!DatumGetBool(bs_statement_get(0, 2, &null)))
		return ANOTHERS;
	state = bs_statement_text(scope, 0, 1);
	return strcmp(state, "active") == 0 ? ACTIVE :
		strcmp(state, BS_STATE_ENDING) == 0 ? ENDING :
		strcmp(state, BS_STATE_FAILED) == 0 ? FAILED : OVER;
}

static void
refuse_anothers(const BsSessionKey *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("session \"%s\" of server \"%s\" is tracked by another "
					"role",
					key->id, key->provider),
			 errhint("Have that role, or a member of it, do this.")));
}

static void
refuse_ending(const BsSessionKey *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("session \"%s\" of server \"%s\" is being ended",
					key->id, key->provider),
			 errhint("Create a new session.")));
}

/*
 * Runs a statement on one session and returns how many rows it changed.
 */
static uint64
run_at(BsScope *scope, BsStatement *statement, const BsSessionKey *key,
	   Oid role, TimestampTz at)
{
	Datum		arguments[4];

	set_key(arguments, key, role);
	arguments[3] = TimestampTzGetDatum(at);
	return bs_statement_run(scope, statement, arguments, NULL);
}

/*
 * Fills in the row of a session that is not tracked yet, with what the table's
 * defaults say.
 */
static void
fill_row(TupleTableSlot *row, const Datum *arguments, bool never)
{
	Datum	   *values = row->tts_values;

	memset(row->tts_isnull, false, sizeof(bool) * BS_TRACKED_COLUMNS);
	values[BS_TRACKED_PROVIDER] = arguments[0];
	values[BS_TRACKED_SESSION_ID] = arguments[1];
	values[BS_TRACKED_STATE] = CStringGetTextDatum("active");
	values[BS_TRACKED_EXPIRES_AT] = arguments[3];
	row->tts_isnull[BS_TRACKED_EXPIRES_AT] = never;
	values[BS_TRACKED_NEXT_ATTEMPT_AT] = arguments[3];
	row->tts_isnull[BS_TRACKED_NEXT_ATTEMPT_AT] = never;
	values[BS_TRACKED_ATTEMPTS] = Int32GetDatum(0);
	row->tts_isnull[BS_TRACKED_OUTCOME] = true;
	row->tts_isnull[BS_TRACKED_LAST_ERROR] = true;
	values[BS_TRACKED_TRACKED_BY] = arguments[2];
	values[BS_TRACKED_TRACKED_AT] =
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	row->tts_isnull[BS_TRACKED_ENDED_AT] = true;
	values[BS_TRACKED_METADATA] = arguments[4];
	values[BS_TRACKED_REASON] = CStringGetTextDatum(BS_REASON_EXPIRY);
	row->tts_isnull[BS_TRACKED_CLAIMED_BY] = true;
	ExecStoreVirtualTuple(row);
}

/*
 * Tracks a session without a statement, if there is no row of it and the table
 * is as the extension made it.  Returns the row, or NULL.
 */
static HeapTuple
track_new(const BsSessionKey *key, Oid role, Datum expires_at, bool never,
		  Datum metadata)
{
	Datum		arguments[5];
	BsScope		scope;
	BsTable		tracked;
	HeapTuple	row = NULL;

	bs_scope_begin(&scope);
	bs_statement_guard(scope.extension.tracked);
	if (bs_table_open(&tracked, scope.extension.tracked, &bs_tracked_shape))
	{
		set_row(arguments, key, role, expires_at, metadata);
		fill_row(tracked.row, arguments, never);
		if (bs_table_insert_new(&tracked))
			row = ExecCopySlotHeapTuple(tracked.row);
		bs_table_close(&tracked);
	}
	bs_scope_end(&scope);
	return row;
}

/*
 * Tracks a session with a statement, whether there is a row of it or not.
 */
static HeapTuple
track_anyway(const BsSessionKey *key, Oid role, Datum expires_at,
			 bool never, Datum metadata)
{
	Datum		arguments[5];
	bool		nulls[5] = {false, false, false, never, false};
	BsScope		scope;
	HeapTuple	row = NULL;

	bs_statement_begin(&scope);
	set_row(arguments, key, role, expires_at, metadata);
	for (int i = 0; row == NULL && i < TRACK_TRIES; i++)
	{
		Standing	standing;

		if (bs_statement_run(&scope, &track, arguments, nulls) > 0)
		{
			row = SPI_copytuple(SPI_tuptable->vals[0]);
			break;
		}
		standing = find_standing(&scope, arguments);
		if (standing == ANOTHERS)
			refuse_anothers(key);
		if (standing == ENDING)
			refuse_ending(key);
	}
	if (row == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not track session \"%s\" of server \"%s\"",
						key->id, key->provider),
				 errdetail("Others track and untrack it all the time.")));
	bs_statement_end(&scope);
	return row;
}

/*
 * Tracks a session, or moves the expiry of one that is tracked.  "metadata" is
 * a jsonb.  Returns the row in the caller's memory context.
 */
HeapTuple
bs_tracking_track(const BsSessionKey *key, Oid role, Datum expires_at,
				  bool never, Datum metadata)
{
	HeapTuple	row = track_new(key, role, expires_at, never, metadata);

	if (row == NULL)
		row = track_anyway(key, role, expires_at, never, metadata);
	if (!never)
		bs_roster_wake_at_commit(DatumGetTimestampTz(expires_at));
	return row;
}

/*
 * Tracks a session that is not tracked yet; raises the table's own error if
 * it is.
 */
void
bs_tracking_insert(const BsSessionKey *key, Oid role, Datum expires_at,
				   bool never, Datum metadata)
{
	Datum		arguments[5];
	bool		nulls[5] = {false, false, false, never, false};
	BsScope		scope;

	bs_statement_begin(&scope);
	set_row(arguments, key, role, expires_at, metadata);
	(void) bs_statement_run(&scope, &insert, arguments, nulls);
	bs_statement_end(&scope);
	if (!never)
		bs_roster_wake_at_commit(DatumGetTimestampTz(expires_at));
}

/*
 * Moves the expiry of an active session to a later time.  Returns the expiry;
 * sets *never if it has none.
 */
Datum
bs_tracking_extend(const BsSessionKey *key, Oid role, TimestampTz expires_at,
				   bool *never)
{
	BsScope		scope;
	Datum		result = (Datum) 0;
	Datum		arguments[3];

	bs_statement_begin(&scope);
	*never = run_at(&scope, &extend, key, role, expires_at) == 0;
	if (!*never)
		result = bs_statement_get(0, 1, never);
	else
	{
		set_key(arguments, key, role);
		switch (find_standing(&scope, arguments))
		{
			case ACTIVE:
				break;
			case NOT_THERE:
			case ANOTHERS:
				ereport(ERROR,
						(errcode(ERRCODE_UNDEFINED_OBJECT),
						 errmsg("session \"%s\" of server \"%s\" is not "
								"tracked",
								key->id, key->provider),
						 errhint("SELECT bsession_track(%s, %s, ...);",
								 quote_literal_cstr(key->provider),
								 quote_literal_cstr(key->id))));
				break;
			case ENDING:
				refuse_ending(key);
				break;
			case OVER:
			case FAILED:
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("session \"%s\" of server \"%s\" has been "
								"ended or given up",
								key->id, key->provider),
						 errhint("Create a new session.")));
		}
	}
	bs_statement_end(&scope);
	return result;
}

/*
 * Makes a session due with a statement.  Returns whether it now is; it counts
 * as done if its standing is "already".
 */
static bool
make_due(BsStatement *statement, const BsSessionKey *key, Oid role,
		 Standing already)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum		arguments[3];
	BsScope		scope;
	bool		due;

	bs_statement_begin(&scope);
	due = run_at(&scope, statement, key, role, now) > 0;
	if (!due && already != NOT_THERE)
	{
		set_key(arguments, key, role);
		due = find_standing(&scope, arguments) == already;
	}
	bs_statement_end(&scope);
	if (due)
		bs_roster_wake_at_commit(now);
	return due;
}

/*
 * Asks for the end of a session at commit.  Returns whether it will be ended.
 */
bool
bs_tracking_expire(const BsSessionKey *key, Oid role)
{
	return make_due(&expire, key, role, ENDING);
}

/*
 * Has a session that failed tried again.  Returns whether there is one.
 */
bool
bs_tracking_retry(const BsSessionKey *key, Oid role)
{
	return make_due(&retry, key, role, NOT_THERE);
}

/*
 * Forgets a session.  Returns whether it was tracked.
 */
bool
bs_tracking_untrack(const BsSessionKey *key, Oid role)
{
	Datum		arguments[3];
	BsScope		scope;
	bool		found;

	bs_statement_begin(&scope);
	bs_statement_guard_deletion(scope.extension.tracked);
	set_key(arguments, key, role);
	found = bs_statement_run(&scope, &untrack, arguments, NULL) > 0;
	bs_statement_end(&scope);
	return found;
}

/*
 * Asks for the end, at commit, of a session that need not be tracked yet.
 */
void
bs_tracking_delete(const BsSessionKey *key, Oid role)
{
	TimestampTz now = GetCurrentTimestamp();
	BsScope		scope;
	Datum		arguments[3];

	bs_statement_begin(&scope);
	if (run_at(&scope, &end_deleted, key, role, now) == 0)
	{
		set_key(arguments, key, role);
		if (find_standing(&scope, arguments) == ANOTHERS)
			refuse_anothers(key);
	}
	bs_statement_end(&scope);
	bs_roster_wake_at_commit(now);
}
