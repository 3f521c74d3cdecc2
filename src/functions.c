/*
 * functions.c
 *		What SQL calls to end sessions.
 *
 * The line between error and row: what the caller does wrong (no such server,
 * no permission, no credential, an unsafe id) is an ERROR before anything is
 * sent; what the provider does is a row.  In bsession_end_many() an unsafe id
 * is a row as well, so that it does not keep the others from being ended.
 *
 * Nothing is sent in a read-only transaction or on a standby: an end that
 * cannot be recorded is not made.
 */
#include "postgres.h"

#include "audit.h"
#include "catalog/pg_type_d.h"
#include "clock.h"
#include "compat.h"
#include "fmgr.h"
#include "funcapi.h"
#include "functions.h"
#include "miscadmin.h"
#include "roster.h"
#include "rows.h"
#include "settlement.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(bsession_end);
PG_FUNCTION_INFO_V1(bsession_end_many);

/* A session of bsession_end_many(). */
typedef struct ManyItem
{
	BsMandate	mandate;		/* must be first: the audit's */
	int			number;			/* place in the array of ids */
} ManyItem;

/* A call of bsession_end_many(). */
typedef struct ManyCall
{
	BsAccount  *account;
	BsMandate	mandate;
	ArrayIterator ids;
	int			nids;
	int			next;			/* of them, all before it have begun */
	int			in_flight;
	BsOrderedRows *rows;
	BsSettlementList *settlements;	/* what tracked rows are to say */
	MemoryContext context;		/* reset after each id */
} ManyCall;

/* ----------------------------------------------------------------
 * Arguments
 * ----------------------------------------------------------------
 */

/*
 * Raises an error if the argument is null, and in a read-only transaction, in
 * which nothing can be recorded.  "function" is what was called.
 */
void
bs_function_check(FunctionCallInfo fcinfo, const char *function)
{
	PreventCommandIfReadOnly(function);
	/* A function that is wrongly called safe can bring us there. */
	PreventCommandIfParallelMode(function);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("provider must not be null"),
				 errhint("Give the name of a server; list them with SELECT "
						 "srvname FROM pg_foreign_server;")));
}

/*
 * Raises an error if the argument with the session's id is null.
 */
void
bs_function_check_id(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("session id must not be null")));
}

/*
 * Checks an id and fills *id; raises an error if it cannot be used.
 */
void
bs_function_read_id(const BsAccount *account, const char *given,
					BsSessionId *id)
{
	char	   *utf8;
	const char *why = bs_account_read_id(account, given, id, &utf8);

	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("session id cannot be used"),
				 errdetail("%s", why),
				 errhint("Pass the id exactly as the provider gave it when "
						 "the session was created.")));
}

/*
 * Returns the account that the first argument names, pinned.
 */
static BsAccount *
get_account(FunctionCallInfo fcinfo)
{
	return bs_account_get(text_to_cstring(PG_GETARG_TEXT_PP(0)),
						  GetUserId());
}

/*
 * Sets the mandate of a direct call by the caller.
 */
static void
set_mandate(BsMandate *mandate, const BsAccount *account)
{
	mandate->server = account->server;
	mandate->reason = BS_REASON_CALL;
	mandate->actor = GetUserNameFromId(GetUserId(), false);
	mandate->attempts_before = 0;
}

static BsExchangePlan
direct_plan(const BsAccount *account)
{
	BsExchangePlan plan = {.retries = account->retries};

	return plan;
}

/*
 * Cleans up after a call that failed, or whose process is to end.
 */
static void
clean_up_cb(int code, Datum arg)
{
	BsAccount  *account = (BsAccount *) DatumGetPointer(arg);

	(void) code;
	PG_TRY();
	{
		bs_audit_abandon();
	}
	PG_CATCH();
	{
		bs_account_release(account);
		PG_RE_THROW();
	}
	PG_END_TRY();
	bs_account_release(account);
}

/* ----------------------------------------------------------------
 * One session
 * ----------------------------------------------------------------
 */

/*
 * Ends a session and returns its row.
 */
static HeapTuple
end_one(BsAccount *account, BsMandate *mandate, FunctionCallInfo fcinfo,
		TupleDesc type)
{
	BsExchange *exchange;
	BsSessionId id;
	BsSettlement settlement;
	Datum		values[BS_RESULT_COLUMNS];
	bool		nulls[BS_RESULT_COLUMNS];

	bs_function_read_id(account, text_to_cstring(PG_GETARG_TEXT_PP(1)), &id);
	bs_audit_begin(fcinfo->flinfo->fn_oid);
	bs_exchange_begin(account, &id, direct_plan(account), mandate);
	bs_session_id_wipe(&id);
	/* What can be done while the provider thinks costs no time. */
	(void) bs_exchange_pump(0);
	bs_audit_use_pause();
	bs_exchange_wait();
	exchange = bs_exchange_next();
	bs_rows_form(account->server, bs_exchange_id(exchange),
				 bs_exchange_result(exchange), values, nulls);
	bs_settlement_of_call(account->server, exchange, &settlement);
	bs_audit_add(mandate, exchange);
	bs_exchange_release(exchange);
	bs_exchange_rest();
	bs_audit_end();
	bs_settlement_record(&settlement, 1);
	return heap_form_tuple(BlessTupleDesc(type), values, nulls);
}

/*
 * bsession_end(provider text, id text) - end one session, now
 */
Datum
bsession_end(PG_FUNCTION_ARGS)
{
	TupleDesc	type;
	BsAccount  *account;
	BsMandate	mandate;
	HeapTuple volatile row = NULL;

	if (get_call_result_type(fcinfo, NULL, &type) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	bs_rows_check_type(type);
	bs_function_check(fcinfo, "bsession_end()");
	bs_audit_refuse_nested();
	account = get_account(fcinfo);
	set_mandate(&mandate, account);
	PG_ENSURE_ERROR_CLEANUP(clean_up_cb, PointerGetDatum(account));
	{
		bs_function_check_id(fcinfo);
		row = end_one(account, &mandate, fcinfo, type);
	}
	PG_END_ENSURE_ERROR_CLEANUP(clean_up_cb, PointerGetDatum(account));
	bs_account_release(account);

	PG_RETURN_DATUM(HeapTupleGetDatum(row));
}

/* ----------------------------------------------------------------
 * Many sessions
 * ----------------------------------------------------------------
 */

/*
 * Begins with the next id, or adds its row at once if it cannot be used.
 */
static void
begin_next(ManyCall *call)
{
	MemoryContext old = MemoryContextSwitchTo(call->context);
	int			number = call->next++;
	BsSessionId id;
	char	   *given = NULL;
	const char *why = "An id must not be null.";
	Datum		value;
	bool		null;

	if (array_iterate(call->ids, &value, &null) && !null)
		why = bs_account_read_id(call->account, TextDatumGetCString(value),
								 &id, &given);
	if (why == NULL)
	{
		ManyItem   *item = MemoryContextAlloc(old, sizeof(ManyItem));

		item->mandate = call->mandate;
		item->number = number;
		bs_exchange_begin(call->account, &id, direct_plan(call->account),
						  item);
		bs_session_id_wipe(&id);
		call->in_flight++;
	}
	else
	{
		BsResult	result = {.outcome = BS_REJECTED, .error = why};

		/* What looks like part of a URL may hold anybody's token. */
		if (given != NULL && strchr(given, '=') == NULL &&
			strstr(given, "://") == NULL)
			given = bs_redact(&call->account->service.secrets, given);
		else
			given = NULL;
		bs_rows_put(call->rows, number, call->account->server, given,
					&result);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(call->context);
}

/*
 * Notes what came of an exchange.
 */
static void
finish_one(ManyCall *call, BsExchange *exchange)
{
	ManyItem   *item = bs_exchange_tag(exchange);

	bs_rows_put(call->rows, item->number, call->account->server,
				bs_exchange_id(exchange), bs_exchange_result(exchange));
	bs_settlements_add(call->settlements, exchange);
	bs_audit_add(&call->mandate, exchange);
	bs_exchange_release(exchange);
	pfree(item);
	call->in_flight--;
}

/*
 * Ends all sessions of a call, topping up as each exchange finishes.
 */
static void
end_all(ManyCall *call)
{
	int			capacity = bs_http_capacity();
	int			limit = Min(bs_account_limit(call->account, false), capacity);
	BsExchange *exchange;

	while (call->next < call->nids || call->in_flight > 0)
	{
		while (call->next < call->nids && call->in_flight < limit)
			begin_next(call);
		if (call->in_flight == 0)
			continue;
		bs_exchange_wait();
		while ((exchange = bs_exchange_next()) != NULL)
			finish_one(call, exchange);
		limit = Min(bs_account_limit(call->account, true), capacity);
	}
}

/*
 * Reads the array of ids into the call.
 */
static void
read_ids(FunctionCallInfo fcinfo, ManyCall *call)
{
	ArrayType  *array;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("session ids must not be null"),
				 errhint("For no session at all, pass an empty array.")));
	array = PG_GETARG_ARRAYTYPE_P(1);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("session ids must be an array of one dimension")));
	call->ids = array_create_iterator(array, 0, NULL);
	call->nids = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

/*
 * bsession_end_many(provider text, ids text[]) - end sessions, concurrently
 */
Datum
bsession_end_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ManyCall	call;

	memset(&call, 0, sizeof(call));
	bs_init_rows(fcinfo);
	bs_rows_check_type(rsinfo->setDesc);
	read_ids(fcinfo, &call);
	call.context = AllocSetContextCreate(CurrentMemoryContext,
										 "browser_session id",
										 ALLOCSET_DEFAULT_SIZES);
	call.rows = bs_rows_begin(rsinfo->setDesc);
	bs_function_check(fcinfo, "bsession_end_many()");
	bs_audit_refuse_nested();
	call.account = get_account(fcinfo);
	set_mandate(&call.mandate, call.account);
	PG_ENSURE_ERROR_CLEANUP(clean_up_cb, PointerGetDatum(call.account));
	{
		bs_audit_begin(fcinfo->flinfo->fn_oid);
		call.settlements = bs_settlements_begin(call.account->server);
		end_all(&call);
		bs_exchange_rest();
		bs_audit_end();
		bs_settlements_record(call.settlements);
	}
	PG_END_ENSURE_ERROR_CLEANUP(clean_up_cb, PointerGetDatum(call.account));
	bs_account_release(call.account);

	bs_rows_finish(call.rows, rsinfo->setResult);
	MemoryContextDelete(call.context);
	array_free_iterator(call.ids);
	PG_RETURN_NULL();
}
