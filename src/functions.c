/*
 * functions.c
 *		What SQL calls.
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

#include "account.h"
#include "catalog/pg_type_d.h"
#include "clock.h"
#include "encoding.h"
#include "exchange.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "rows.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(bsession_end);
PG_FUNCTION_INFO_V1(bsession_end_many);
PG_FUNCTION_INFO_V1(bsession_providers);

/*
 * Exchanges that begin before the first of them is over, if the host has a
 * name: until it is known, each has a thread that looks it up.
 */
#define FIRST_LOOKUPS	16

/* A call of bsession_end_many(). */
typedef struct ManyCall
{
	BsAccount  *account;
	Datum	   *ids;
	bool	   *id_nulls;
	int			nids;
	int			in_flight;
	BsOrderedRows *rows;
	MemoryContext row_context;	/* reset after each row */
} ManyCall;

/*
 * Returns the account named by an argument, pinned.  "function" is for the
 * error of a read-only transaction.
 */
static BsAccount *
get_account(FunctionCallInfo fcinfo, const char *function)
{
	PreventCommandIfReadOnly(function);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("provider must not be null"),
				 errhint("Give the name of a server; list them with SELECT "
						 "srvname FROM pg_foreign_server;")));
	return bs_account_get(text_to_cstring(PG_GETARG_TEXT_PP(0)),
						  GetUserId());
}

/*
 * Checks an id and fills *id.  Returns NULL, or why it cannot be used.  Sets
 * *utf8 to what was given, NULL if that cannot be converted.
 */
static const char *
read_id(const BsAccount *account, Datum datum, BsSessionId *id, char **utf8)
{
	*utf8 = bs_encoding_to_utf8(TextDatumGetCString(datum));
	if (*utf8 == NULL)
		return "An id must consist of characters that UTF-8 has.";
	return bs_session_id_parse(&account->service, *utf8, id);
}

/*
 * Ends a session and returns its row.
 */
static HeapTuple
end_one(BsAccount *account, FunctionCallInfo fcinfo, TupleDesc type)
{
	BsExchange *exchange;
	BsSessionId id;
	char	   *given;
	const char *why;
	Datum		values[BS_RESULT_COLUMNS];
	bool		nulls[BS_RESULT_COLUMNS];

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("session id must not be null")));
	why = read_id(account, PG_GETARG_DATUM(1), &id, &given);
	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("session id cannot be used"),
				 errdetail("%s", why),
				 errhint("Pass the id exactly as the provider gave it when "
						 "the session was created.")));
	bs_exchange_begin(account, &id, 0);
	bs_session_id_wipe(&id);
	bs_exchange_wait(BS_NEVER);
	exchange = bs_exchange_next();
	bs_rows_form(account->server, bs_exchange_id(exchange),
				 bs_exchange_result(exchange), values, nulls);
	bs_exchange_release(exchange);
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
	HeapTuple volatile row = NULL;

	if (get_call_result_type(fcinfo, NULL, &type) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	bs_rows_check_type(type);
	account = get_account(fcinfo, "bsession_end()");
	PG_TRY();
	{
		row = end_one(account, fcinfo, type);
	}
	PG_FINALLY();
	{
		bs_exchange_abort();
		bs_account_release(account);
	}
	PG_END_TRY();

	PG_RETURN_DATUM(HeapTupleGetDatum(row));
}

/*
 * Adds the row of an id.
 */
static void
put_row(ManyCall *call, int number, const char *id, const BsResult *result)
{
	MemoryContext old = MemoryContextSwitchTo(call->row_context);
	Datum		values[BS_RESULT_COLUMNS];
	bool		nulls[BS_RESULT_COLUMNS];

	bs_rows_form(call->account->server, id, result, values, nulls);
	MemoryContextSwitchTo(old);
	bs_rows_put(call->rows, number, values, nulls);
	MemoryContextReset(call->row_context);
}

/*
 * Begins with an id, or adds its row at once if it cannot be used.
 */
static void
begin_one(ManyCall *call, int number)
{
	MemoryContext old = MemoryContextSwitchTo(call->row_context);
	BsSessionId id;
	char	   *given = NULL;
	const char *why = "An id must not be null.";

	if (!call->id_nulls[number])
		why = read_id(call->account, call->ids[number], &id, &given);
	MemoryContextSwitchTo(old);
	if (why == NULL)
	{
		bs_exchange_begin(call->account, &id, number);
		bs_session_id_wipe(&id);
		call->in_flight++;
		MemoryContextReset(call->row_context);
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
		put_row(call, number, given, &result);
	}
}

/*
 * Ends all sessions of a call, topping up as each exchange finishes.
 */
static void
end_all(ManyCall *call)
{
	int			next = 0;
	int			most = Min(call->account->max_in_flight,
						   bs_http_capacity());
	int			limit = call->account->has_name ?
		Min(most, FIRST_LOOKUPS) : most;
	BsExchange *exchange;

	while (next < call->nids || call->in_flight > 0)
	{
		while (next < call->nids && call->in_flight < limit)
			begin_one(call, next++);
		if (call->in_flight == 0)
			continue;
		bs_exchange_wait(BS_NEVER);
		while ((exchange = bs_exchange_next()) != NULL)
		{
			put_row(call, bs_exchange_number(exchange),
					bs_exchange_id(exchange), bs_exchange_result(exchange));
			bs_exchange_release(exchange);
			call->in_flight--;
		}
		limit = most;
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
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &call->ids,
					  &call->id_nulls, &call->nids);
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
	InitMaterializedSRF(fcinfo, 0);
	bs_rows_check_type(rsinfo->setDesc);
	read_ids(fcinfo, &call);
	call.row_context = AllocSetContextCreate(CurrentMemoryContext,
											 "browser_session row",
											 ALLOCSET_DEFAULT_SIZES);
	call.rows = bs_rows_begin(rsinfo->setDesc);
	call.account = get_account(fcinfo, "bsession_end_many()");
	PG_TRY();
	{
		end_all(&call);
	}
	PG_FINALLY();
	{
		bs_exchange_abort();
		bs_account_release(call.account);
	}
	PG_END_TRY();

	bs_rows_finish(call.rows, rsinfo->setResult);
	PG_RETURN_NULL();
}

/*
 * bsession_providers() - the built-in providers, a row each
 */
Datum
bsession_providers(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const BsProvider *provider;

	InitMaterializedSRF(fcinfo, 0);
	if (rsinfo->setDesc->natts != BS_NFIELDS + 2)
		elog(ERROR, "unexpected row type of bsession_providers()");
	for (int i = 0; (provider = bs_provider_at(i)) != NULL; i++)
	{
		Datum		values[BS_NFIELDS + 2];
		bool		nulls[BS_NFIELDS + 2] = {false};

		values[0] = CStringGetTextDatum(provider->name);
		for (int field = 0; field < BS_NFIELDS; field++)
		{
			nulls[field + 1] = provider->field[field] == NULL;
			if (provider->field[field] != NULL)
				values[field + 1] =
					CStringGetTextDatum(provider->field[field]);
		}
		values[BS_NFIELDS + 1] = CStringGetTextDatum(provider->document);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
							 nulls);
	}
	PG_RETURN_NULL();
}
