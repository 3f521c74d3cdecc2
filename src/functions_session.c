/*
 * functions_session.c
 *		What SQL calls to have sessions tracked.
 */
#include "postgres.h"

#include "encoding.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "functions.h"
#include "miscadmin.h"
#include "roster.h"
#include "tracking.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(bsession_track_ttl);
PG_FUNCTION_INFO_V1(bsession_track_until);
PG_FUNCTION_INFO_V1(bsession_extend);
PG_FUNCTION_INFO_V1(bsession_expire);
PG_FUNCTION_INFO_V1(bsession_untrack);
PG_FUNCTION_INFO_V1(bsession_retry);
PG_FUNCTION_INFO_V1(bsession_adopt);

/*
 * Returns the bare id of a session that is to be tracked, in the database's
 * encoding.  Raises an error if the role cannot end it.
 */
char *
bs_function_bare_id(const char *provider, const char *id, Oid role)
{
	BsAccount  *account = bs_account_get(provider, role);
	char	   *volatile bare = NULL;

	PG_TRY();
	{
		BsSessionId parsed;

		bs_function_read_id(account, id, &parsed);
		bare = bs_encoding_from_utf8(parsed.name);
		bs_session_id_wipe(&parsed);
	}
	PG_FINALLY();
	{
		bs_account_release(account);
	}
	PG_END_TRY();
	return bare;
}

/*
 * Reads the arguments that name a tracked session.  "function" is what was
 * called.
 */
static void
read_key(FunctionCallInfo fcinfo, const char *function, BsSessionKey *key)
{
	bs_function_check(fcinfo, function);
	bs_function_check_id(fcinfo);
	key->provider = text_to_cstring(PG_GETARG_TEXT_PP(0));
	key->id = text_to_cstring(PG_GETARG_TEXT_PP(1));
	/* A stop URL: it is tracked under the id in it. */
	if (strstr(key->id, "://") != NULL)
		key->id = bs_function_bare_id(key->provider, key->id, GetUserId());
}

/*
 * Returns the time that is argument number "i" from now.
 */
static TimestampTz
read_ttl(FunctionCallInfo fcinfo, int i)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end;

	if (PG_ARGISNULL(i))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("ttl must not be null"),
				 errhint("To track a session without an expiry, call "
						 "bsession_track(provider, id, expires_at => "
						 "NULL).")));
	end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												  TimestampTzGetDatum(now),
												  PG_GETARG_DATUM(i)));
	if (end <= now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ttl must be greater than zero"),
				 errhint("To end a tracked session at commit, call "
						 "bsession_expire().")));
	return end;
}

/*
 * Tracks the session that the arguments name and returns its row.
 */
static Datum
track_session(FunctionCallInfo fcinfo, Datum expires_at, bool never)
{
	TupleDesc	type;
	BsSessionKey key;
	HeapTuple	row;
	Datum		metadata;

	bs_function_check(fcinfo, "bsession_track()");
	bs_function_check_id(fcinfo);
	if (get_call_result_type(fcinfo, NULL, &type) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	metadata = PG_ARGISNULL(3) ?
		DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")) :
		PG_GETARG_DATUM(3);
	if (!JB_ROOT_IS_OBJECT(DatumGetJsonbP(metadata)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("metadata must be a JSON object")));
	key.provider = text_to_cstring(PG_GETARG_TEXT_PP(0));
	key.id = bs_function_bare_id(key.provider,
								 text_to_cstring(PG_GETARG_TEXT_PP(1)),
								 GetUserId());
	row = bs_tracking_track(&key, GetUserId(), expires_at, never, metadata);
	return heap_copy_tuple_as_datum(row, BlessTupleDesc(type));
}

/*
 * bsession_track(provider text, id text, ttl interval, metadata jsonb)
 */
Datum
bsession_track_ttl(PG_FUNCTION_ARGS)
{
	TimestampTz expires_at;

	bs_function_check(fcinfo, "bsession_track()");
	expires_at = read_ttl(fcinfo, 2);
	return track_session(fcinfo, TimestampTzGetDatum(expires_at), false);
}

/*
 * bsession_track(provider text, id text, expires_at timestamptz,
 * metadata jsonb)
 */
Datum
bsession_track_until(PG_FUNCTION_ARGS)
{
	bool		never = PG_ARGISNULL(2);

	return track_session(fcinfo, never ? (Datum) 0 : PG_GETARG_DATUM(2),
						 never);
}

/*
 * bsession_extend(provider text, id text, ttl interval) - the new expiry
 */
Datum
bsession_extend(PG_FUNCTION_ARGS)
{
	BsSessionKey key;
	TimestampTz expires_at;
	Datum		result;
	bool		never;

	read_key(fcinfo, "bsession_extend()", &key);
	expires_at = read_ttl(fcinfo, 2);
	result = bs_tracking_extend(&key, GetUserId(), expires_at, &never);
	if (never)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}

/*
 * bsession_expire(provider text, id text) - end it at commit
 */
Datum
bsession_expire(PG_FUNCTION_ARGS)
{
	BsSessionKey key;

	read_key(fcinfo, "bsession_expire()", &key);
	PG_RETURN_BOOL(bs_tracking_expire(&key, GetUserId()));
}

/*
 * bsession_untrack(provider text, id text) - forget it
 */
Datum
bsession_untrack(PG_FUNCTION_ARGS)
{
	BsSessionKey key;

	read_key(fcinfo, "bsession_untrack()", &key);
	PG_RETURN_BOOL(bs_tracking_untrack(&key, GetUserId()));
}

/*
 * bsession_retry(provider text, id text) - try a failed one again
 */
Datum
bsession_retry(PG_FUNCTION_ARGS)
{
	BsSessionKey key;

	read_key(fcinfo, "bsession_retry()", &key);
	PG_RETURN_BOOL(bs_tracking_retry(&key, GetUserId()));
}

/*
 * bsession_adopt() - the sessions are this database's own
 */
Datum
bsession_adopt(PG_FUNCTION_ARGS)
{
	bool		adopted = bs_tracking_adopt();

	(void) fcinfo;
	bs_roster_check_at_commit();
	PG_RETURN_BOOL(adopted);
}
