/*
 * audit.c
 *		The audit of what is done in the caller's transaction.
 *
 * An end that was made stays made when the transaction that asked for it is
 * rolled back, and so must its row.  Each attempt is therefore kept until the
 * transaction ends (audit_kept.c).  If the transaction, a savepoint, or an
 * exception block around it is rolled back, the attempt goes to this
 * database's worker, which writes the row; and if there is no worker, to the
 * server's log.
 *
 * Rows are written many at a time: before the transaction commits, when there
 * are enough of them, and before anybody in this transaction can look for them
 * (audit_reader.c).
 *
 * An exchange that the rollback interrupts is such an attempt too: its request
 * was sent and its outcome is unknown.
 */
#include "postgres.h"

#include "access/xact.h"
#include "audit.h"
#include "audit_kept.h"
#include "clock.h"
#include "encoding.h"
#include "extension.h"
#include "fmgr.h"
#include "roster.h"
#include "stats.h"
#include "tracking.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Rows, or bytes of replies, that are worth being written. */
#define BATCH			256
#define BATCH_BYTES		(1024 * 1024)

/* Rows that are worth it while an answer is waited for. */
#define PAUSE_BATCH		8

static bool writing = false;
static bool may_wait = true;	/* rows may be written late */

/* While exchanges are abandoned. */
static int	nabandoned = 0;		/* attempts of them that are kept */
static bool logging = false;	/* there is no memory for more of them */

/* Reset after each attempt. */
static MemoryContext scratch = NULL;

/* ----------------------------------------------------------------
 * From an exchange to an attempt
 * ----------------------------------------------------------------
 */

static const char *
from_utf8(const char *utf8)
{
	return utf8 == NULL ? NULL : bs_encoding_from_utf8(utf8);
}

/*
 * Returns the address of this backend's client, or NULL if it is on this
 * machine, or there is none.
 */
static const char *
client_address(void)
{
	static char *address = NULL;
	static bool known = false;

	if (!known)
	{
		LOCAL_FCINFO(call, 0);
		Datum		value;

		InitFunctionCallInfoData(*call, NULL, 0, InvalidOid, NULL, NULL);
		value = inet_client_addr(call);
		if (!call->isnull)
			address =
				MemoryContextStrdup(TopMemoryContext,
									DatumGetCString(DirectFunctionCall1
													(inet_out, value)));
		known = true;
	}
	return address;
}

/*
 * Fills in on whose behalf an attempt was made, in the current memory context:
 * it outlives the settings of now, and so their texts.
 */
static void
set_origin(const BsMandate *mandate, BsAttempt *attempt)
{
	attempt->text[BS_ATTEMPT_PROVIDER] = mandate->server;
	attempt->text[BS_ATTEMPT_REASON] = mandate->reason;
	attempt->text[BS_ATTEMPT_ACTOR] = mandate->actor;
	attempt->text[BS_ATTEMPT_APPLICATION] = pstrdup(application_name);
	attempt->text[BS_ATTEMPT_CLIENT_ADDR] = client_address();
}

static void
describe(const BsMandate *mandate, const BsExchange *exchange,
		 const BsResult *result, int number, BsAttempt *attempt)
{
	memset(attempt, 0, sizeof(*attempt));
	set_origin(mandate, attempt);
	attempt->text[BS_ATTEMPT_SESSION_ID] = from_utf8(bs_exchange_id(exchange));
	attempt->text[BS_ATTEMPT_PROVIDER_STATUS] =
		from_utf8(result->provider_status);
	attempt->text[BS_ATTEMPT_ERROR] = from_utf8(result->error);
	attempt->text[BS_ATTEMPT_RESPONSE] = from_utf8(result->response);
	attempt->at = result->began_at - BS_EPOCH_OFFSET;
	attempt->outcome = result->outcome;
	attempt->http_status = result->http_status;
	attempt->number = mandate->attempts_before + number;
	attempt->elapsed = result->elapsed;
}

/*
 * Describes attempt number "i", from 0, of an exchange that is over, in the
 * current memory context and with texts of the mandate's.
 */
void
bs_audit_describe(const BsMandate *mandate, const BsExchange *exchange, int i,
				  BsAttempt *attempt)
{
	describe(mandate, exchange, bs_exchange_attempt(exchange, i), i + 1,
			 attempt);
}

/*
 * Describes an attempt of which nothing is known but that it was made, with
 * texts of the mandate's.
 */
void
bs_audit_describe_lost(const BsMandate *mandate, const char *session_id,
					   const char *error, BsAttempt *attempt)
{
	memset(attempt, 0, sizeof(*attempt));
	set_origin(mandate, attempt);
	attempt->text[BS_ATTEMPT_SESSION_ID] = session_id;
	attempt->text[BS_ATTEMPT_ERROR] = error;
	attempt->at = GetCurrentTimestamp();
	attempt->outcome = BS_UNKNOWN;
	attempt->number = mandate->attempts_before + 1;
	attempt->elapsed = -1;
}

/* ----------------------------------------------------------------
 * Commit and rollback
 * ----------------------------------------------------------------
 */

/*
 * Writes what is not written yet, before the commit.  If the transaction has
 * dropped the extension, there is no audit any more.
 */
static void
flush_or_forget(void)
{
	if (!bs_audit_is_behind() || !bs_extension_exists())
		return;
	PushActiveSnapshot(GetTransactionSnapshot());
	bs_audit_flush();
	PopActiveSnapshot();
}

/*
 * The rows of a prepared transaction would be lost if it were rolled back,
 * which can happen without us.
 */
static void
refuse_to_prepare(void)
{
	if (bs_kept_any())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has ended "
						"sessions"),
				 errhint("Use bsession_expire(), which acts when the "
						 "transaction commits.")));
}

static void
end_transaction_cb(XactEvent event, void *arg)
{
	(void) arg;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			flush_or_forget();
			break;
		case XACT_EVENT_ABORT:
			bs_kept_abort(0);
			bs_kept_forget();
			break;
		case XACT_EVENT_PRE_PREPARE:
			refuse_to_prepare();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			bs_kept_forget();
			break;
		default:
			break;
	}
}

static void
end_subtransaction_cb(SubXactEvent event, SubTransactionId id,
					  SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	(void) id;
	(void) parent;
	(void) arg;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		bs_kept_abort(level);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		bs_kept_commit(level);
}

/*
 * Raises an error in code of others that is run while sessions are being
 * ended or recorded, an index's or that of a table with a foreign key: it
 * would take the exchanges under way for its own, and its rows would not be
 * written.  To be called before anything that is cleaned up by
 * bs_audit_abandon().
 */
void
bs_audit_refuse_nested(void)
{
	if (writing || bs_exchange_any() || bs_roster_is_worker())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("cannot end sessions while others are being ended or "
						"recorded"),
				 errdetail("A trigger, or a function of an index, is run by "
						   "what the extension does itself."),
				 errhint("Call bsession_expire() there, which acts once the "
						 "transaction commits.")));
}

/*
 * Makes ready: from now on a rollback finds the exchanges that "function"
 * makes.  Raises an error if their rows cannot be written or kept: an end that
 * is not audited is not made.
 */
void
bs_audit_begin(Oid function)
{
	static bool registered = false;

	may_wait = bs_tracking_check_audit();
	bs_kept_make_room();
	bs_encoding_prepare();
	bs_audit_know_function(function);
	if (registered)
		return;
	RegisterXactCallback(end_transaction_cb, NULL);
	RegisterSubXactCallback(end_subtransaction_cb, NULL);
	registered = true;
}

/* ----------------------------------------------------------------
 * What callers use
 * ----------------------------------------------------------------
 */

/*
 * Returns a context for what is needed only until an attempt is kept.
 */
static MemoryContext
get_scratch(void)
{
	if (scratch == NULL)
		scratch = AllocSetContextCreate(TopMemoryContext,
										"browser_session audit",
										ALLOCSET_SMALL_SIZES);
	return scratch;
}

/*
 * Keeps an attempt until the transaction ends.  Returns its number.
 */
static int
keep(const BsMandate *mandate, const BsExchange *exchange,
	 const BsResult *result, int number)
{
	MemoryContext old = MemoryContextSwitchTo(get_scratch());
	BsAttempt	attempt;

	describe(mandate, exchange, result, number, &attempt);
	bs_kept_add(&attempt);
	MemoryContextSwitchTo(old);
	MemoryContextReset(scratch);
	return attempt.number;
}

/*
 * Are there rows still to be written, and not being written just now?
 */
bool
bs_audit_is_behind(void)
{
	Size		bytes;

	return !writing && bs_kept_unwritten(&bytes) > 0;
}

static void
write_rows(const BsAttempt *attempts, int n)
{
	bool		read_only = XactReadOnly;

	writing = true;
	/* It was not, when the attempts were made. */
	XactReadOnly = false;
	PG_TRY();
	{
		bs_tracking_save_attempts(attempts, n);
	}
	PG_FINALLY();
	{
		XactReadOnly = read_only;
		writing = false;
	}
	PG_END_TRY();
}

/*
 * Writes the rows that are still to be written.
 */
void
bs_audit_flush(void)
{
	bs_kept_write(write_rows);
}

/*
 * Writes them, if there are as many or their replies are as long, while
 * exchanges are under way, which nobody carries on as long: not if somebody's
 * lock on the table would have to be waited for.
 */
static void
flush_meanwhile(int most)
{
	Size		bytes;

	if ((bs_kept_unwritten(&bytes) >= most || bytes >= BATCH_BYTES) &&
		bs_tracking_may_save_now())
		bs_audit_flush();
}

/*
 * Adds all attempts of an exchange that is over, which is to be released
 * next, or they would be taken for abandoned as well.
 */
void
bs_audit_add(const BsMandate *mandate, const BsExchange *exchange)
{
	int			n = bs_exchange_attempts(exchange);

	/* Before any of them is kept, for this can fail. */
	flush_meanwhile(BATCH);
	bs_kept_make_room();
	for (int i = 0; i < n; i++)
	{
		const BsResult *result = bs_exchange_attempt(exchange, i);
		int			number = keep(mandate, exchange, result, i + 1);

		bs_stats_count(mandate->server, result->outcome, number,
					   result->elapsed);
	}
}

/*
 * Writes them, if there are some, while there is nothing else to do.
 */
void
bs_audit_use_pause(void)
{
	flush_meanwhile(PAUSE_BATCH);
}

/*
 * Is told that all exchanges of a call are over.
 */
void
bs_audit_end(void)
{
	if (!may_wait)
		bs_audit_flush();
}

/*
 * Keeps an attempt of an exchange that is abandoned, or logs it, but not if it
 * was kept before.  Returns its number.
 */
static int
put_abandoned(const BsMandate *mandate, const BsExchange *exchange,
			  const BsResult *result, int number)
{
	BsAttempt	attempt;

	if (!logging)
	{
		number = keep(mandate, exchange, result, number);
		nabandoned++;
		return number;
	}
	describe(mandate, exchange, result, number, &attempt);
	if (nabandoned-- <= 0)
		bs_attempt_log(&attempt);
	return attempt.number;
}

/*
 * Keeps what is known of an exchange that will not be carried on: if it was
 * under way, its request was sent and what became of it is not known.
 */
static void
keep_abandoned(const BsExchange *exchange)
{
	const BsMandate *mandate = bs_exchange_tag(exchange);
	int			n = bs_exchange_attempts(exchange);

	for (int i = 0; i < n; i++)
	{
		const BsResult *result = bs_exchange_attempt(exchange, i);

		(void) put_abandoned(mandate, exchange, result, i + 1);
	}
	if (bs_exchange_is_under_way(exchange))
	{
		BsResult	result = *bs_exchange_result(exchange);

		result.outcome = BS_UNKNOWN;
		result.http_status = 0;
		result.elapsed = -1;
		result.response = NULL;
		result.error = "the call was broken off before the provider's "
			"answer was read";
		bs_stats_count(mandate->server, BS_UNKNOWN,
					   put_abandoned(mandate, exchange, &result, n + 1), -1);
	}
}

/*
 * Logs what is known of all exchanges, and breaks them off even if that fails.
 */
static pg_noinline void
log_abandoned(void)
{
	logging = true;
	PG_TRY();
	{
		bs_exchange_visit(keep_abandoned);
	}
	PG_CATCH();
	{
		bs_exchange_abort();
		PG_RE_THROW();
	}
	PG_END_TRY();
	bs_exchange_abort();
}

/*
 * Breaks off all exchanges, and keeps what is known of them.  For clean-up
 * after an error, also one that ends the process (PG_ENSURE_ERROR_CLEANUP);
 * it throws only if there is no memory: what cannot be kept is logged.
 */
void
bs_audit_abandon(void)
{
	nabandoned = 0;
	logging = false;
	PG_TRY();
	{
		bs_exchange_visit(keep_abandoned);
	}
	PG_CATCH();
	{
		log_abandoned();
		PG_RE_THROW();
	}
	PG_END_TRY();
	bs_exchange_abort();
}
