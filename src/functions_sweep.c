/*
 * functions_sweep.c
 *		bsession_end_expired(): what the worker does, in the caller's backend.
 *
 * A sweep is for pg_cron, or for a server without the worker.  It claims what
 * is due and the caller's to change, ends it with the credentials of those
 * who track it, and records it, all in the caller's transaction: the claim is
 * the lock on the rows, and nobody else waits for it or ends them too.
 */
#include "postgres.h"

#include "audit.h"
#include "compat.h"
#include "encoding.h"
#include "fmgr.h"
#include "funcapi.h"
#include "http.h"
#include "miscadmin.h"
#include "rows.h"
#include "settings.h"
#include "settlement.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(bsession_end_expired);

/* Sessions of one sweep: it is one transaction. */
#define MAX_SWEEP	100000

/* What is swept of a lane. */
typedef struct SweepLane
{
	BsAccount  *account;		/* pinned; NULL = there is none */
	int			in_flight;
	bool		known;			/* an exchange is over */
} SweepLane;

/* A session that is swept. */
typedef struct SweepItem
{
	BsMandate	mandate;		/* must be first: the audit's */
	BsClaim    *claim;
	SweepLane  *lane;
	int			number;
	bool		begun;
} SweepItem;

typedef struct Sweep
{
	int			nlanes;
	SweepLane  *lane;
	int			n;
	int			next;			/* all before it have begun */
	int			in_flight;
	SweepItem  *item;
	BsSettlement *settlement;
	BsOrderedRows *rows;
} Sweep;

static int
compare_lanes(const void *a, const void *b)
{
	TimestampTz x = ((const BsLaneDue *) a)->due;
	TimestampTz y = ((const BsLaneDue *) b)->due;

	return x < y ? -1 : x > y;
}

/*
 * Is what the role tracks the caller's to end?
 */
static bool
may_sweep(const char *role)
{
	Oid			oid = get_role_oid(role, true);

	return superuser() ||
		(OidIsValid(oid) && has_privs_of_role(GetUserId(), oid));
}

/*
 * Puts a session aside of which nothing can be sent.
 */
static void
fail_item(Sweep *sweep, SweepItem *item, const char *why)
{
	const char *utf8 = bs_encoding_to_utf8(why);
	BsResult	result = {
		.outcome = BS_REJECTED,
		.error = utf8 != NULL ? utf8 : "there is no account"
	};

	item->begun = true;
	bs_settlement_of_failure(item->claim, why,
							 &sweep->settlement[item->number]);
	bs_rows_put(sweep->rows, item->number, item->claim->provider,
				bs_encoding_to_utf8(item->claim->session_id), &result);
}

/*
 * Writes down an attempt that was claimed and never recorded.
 */
static void
note_lost(const SweepItem *item)
{
	BsMandate	mandate = item->mandate;
	BsAttempt	attempt;

	mandate.attempts_before--;
	mandate.reason = item->claim->reason;
	bs_audit_describe_lost(&mandate, item->claim->session_id,
						   BS_LOST_ATTEMPT, &attempt);
	bs_tracking_save_attempts(&attempt, 1);
}

/*
 * Takes the claims of a lane up.
 */
static void
add_items(Sweep *sweep, SweepLane *lane, BsClaim *claims, int n,
		  const char *why)
{
	for (int i = 0; i < n; i++)
	{
		SweepItem  *item = &sweep->item[sweep->n];

		item->claim = &claims[i];
		item->lane = lane;
		item->number = sweep->n++;
		item->mandate.server = claims[i].provider;
		item->mandate.reason = BS_REASON_SWEEP;
		item->mandate.actor = claims[i].role;
		item->mandate.attempts_before = claims[i].attempt - 1;
		if (claims[i].lost)
			note_lost(item);
		if (lane->account == NULL)
			fail_item(sweep, item, why);
	}
}

/*
 * Claims sessions that are due, the oldest lanes first.
 */
static void
claim_items(Sweep *sweep, int most)
{
	TimestampTz now = GetCurrentTimestamp();
	BsClaimTerms terms = {
		.now = now, .lease = now, .patience = INT_MAX
	};
	BsLaneDue  *due;
	int			n;

	due = bs_tracking_lanes(&n);
	qsort(due, n, sizeof(BsLaneDue), compare_lanes);
	sweep->lane = palloc0(sizeof(SweepLane) * (n + 1));
	for (int i = 0; i < n && due[i].due <= now && sweep->n < most; i++)
	{
		SweepLane  *lane = &sweep->lane[sweep->nlanes];
		BsClaim    *claims;
		char	   *why = NULL;
		int			nclaims;

		if (!may_sweep(due[i].role))
			continue;
		sweep->nlanes++;
		lane->account = bs_account_try(due[i].provider, due[i].role, &why);
		terms.most = most - sweep->n;
		claims = bs_tracking_claim(&due[i], &terms, &nclaims);
		add_items(sweep, lane, claims, nclaims, why);
	}
}

/*
 * Begins with a session.
 */
static void
begin_item(Sweep *sweep, SweepItem *item)
{
	BsExchangePlan plan = {.look_first = item->claim->requested};
	BsSessionId id;
	char	   *utf8;
	const char *why = bs_account_read_id(item->lane->account,
										 item->claim->session_id, &id, &utf8);

	if (why != NULL)
	{
		fail_item(sweep, item, why);
		return;
	}
	item->begun = true;
	item->lane->in_flight++;
	sweep->in_flight++;
	bs_exchange_begin(item->lane->account, &id, plan, item);
	bs_session_id_wipe(&id);
}

/*
 * Begins with as many as the limits allow.
 */
static void
begin_items(Sweep *sweep)
{
	int			most = Min(browser_session_max_in_flight,
						   bs_http_capacity());

	while (sweep->next < sweep->n && sweep->item[sweep->next].begun)
		sweep->next++;
	for (int i = sweep->next; i < sweep->n && sweep->in_flight < most; i++)
	{
		SweepItem  *item = &sweep->item[i];

		if (!item->begun && item->lane->in_flight <
			bs_account_limit(item->lane->account, item->lane->known))
			begin_item(sweep, item);
	}
}

static void
finish_item(Sweep *sweep, BsExchange *exchange)
{
	SweepItem  *item = bs_exchange_tag(exchange);
	const BsResult *result = bs_exchange_result(exchange);

	bs_rows_put(sweep->rows, item->number, item->claim->provider,
				bs_exchange_id(exchange), result);
	bs_settlement_of_claim(item->claim, result,
						   &sweep->settlement[item->number]);
	bs_audit_add(&item->mandate, exchange);
	bs_exchange_release(exchange);
	item->lane->in_flight--;
	item->lane->known = true;
	sweep->in_flight--;
}

/*
 * Ends everything that has been claimed, and records it.
 */
static void
end_items(Sweep *sweep)
{
	BsExchange *exchange;

	for (begin_items(sweep); sweep->in_flight > 0; begin_items(sweep))
	{
		bs_exchange_wait();
		while ((exchange = bs_exchange_next()) != NULL)
			finish_item(sweep, exchange);
	}
	bs_exchange_rest();
	bs_audit_end();
	bs_tracking_record(sweep->settlement, sweep->n);
}

static void
release_accounts(const Sweep *sweep)
{
	for (int i = 0; i < sweep->nlanes; i++)
		if (sweep->lane[i].account != NULL)
			bs_account_release(sweep->lane[i].account);
}

/*
 * Cleans up after a sweep, also one that failed, or whose process is to end.
 */
static void
clean_up_cb(int code, Datum arg)
{
	Sweep	   *sweep = (Sweep *) DatumGetPointer(arg);

	(void) code;
	PG_TRY();
	{
		bs_audit_abandon();
	}
	PG_CATCH();
	{
		release_accounts(sweep);
		PG_RE_THROW();
	}
	PG_END_TRY();
	release_accounts(sweep);
}

static int
read_most(FunctionCallInfo fcinfo)
{
	int			most = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT32(0);

	if (most <= 0 || most > MAX_SWEEP)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_sessions must be greater than zero, and not more "
						"than %d",
						MAX_SWEEP),
				 errhint("Call bsession_end_expired(100), again if it "
						 "returned 100 rows.")));
	return most;
}

/*
 * bsession_end_expired(max_sessions int) - one sweep
 */
Datum
bsession_end_expired(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int			most = read_most(fcinfo);
	Sweep		sweep;

	PreventCommandIfReadOnly("bsession_end_expired()");
	PreventCommandIfParallelMode("bsession_end_expired()");
	bs_audit_refuse_nested();
	bs_init_rows(fcinfo);
	bs_rows_check_type(rsinfo->setDesc);
	if (!bs_tracking_is_home())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the tracked sessions are another database's"),
				 errdetail("They were brought here by a dump, or by a copy of "
						   "that database."),
				 errhint("If this database is to end them, and the other is "
						 "not: SELECT bsession_adopt();")));
	memset(&sweep, 0, sizeof(sweep));
	sweep.rows = bs_rows_begin(rsinfo->setDesc);
	sweep.item = palloc0(sizeof(SweepItem) * most);
	sweep.settlement = palloc0(sizeof(BsSettlement) * most);
	PG_ENSURE_ERROR_CLEANUP(clean_up_cb, PointerGetDatum(&sweep));
	{
		bs_audit_begin(fcinfo->flinfo->fn_oid);
		claim_items(&sweep, most);
		end_items(&sweep);
	}
	PG_END_ENSURE_ERROR_CLEANUP(clean_up_cb, PointerGetDatum(&sweep));
	clean_up_cb(0, PointerGetDatum(&sweep));

	bs_rows_finish(sweep.rows, rsinfo->setResult);
	PG_RETURN_NULL();
}
