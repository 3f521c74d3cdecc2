/*
 * audit.c
 *		The audit of what is done in the caller's transaction.
 *
 * An end that was made stays made when the transaction that asked for it is
 * rolled back, and so must its row.  Each attempt is therefore kept in memory
 * until the transaction ends.  If the transaction, a savepoint, or an
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
#include "clock.h"
#include "encoding.h"
#include "extension.h"
#include "lib/ilist.h"
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

/* Rows that are written at once, and bytes of replies that wait for that. */
#define BATCH			256
#define BATCH_BYTES		(1024 * 1024)

/* Bytes of replies for which somebody's lock on the table is waited for. */
#define MOST_BYTES		(64 * BATCH_BYTES)

/* Rows that are worth it while an answer is waited for. */
#define PAUSE_BATCH		8

/* How long a rollback waits for the worker to make room, in ms. */
#define HAND_OVER_PATIENCE	2000

/* An attempt of this transaction. */
typedef struct KeptAttempt
{
	dlist_node	node;
	int			level;			/* of the (sub)transaction it belongs to */
	int			written;		/* of that in which its row was; 0 = not yet */
	BsFlatAttempt *flat;
	char	   *response;		/* if it is too long for that, or NULL */
} KeptAttempt;

/* In TopTransactionContext, oldest first; the last ones are not written. */
static dlist_head kept = DLIST_STATIC_INIT(kept);
static int	nunwritten = 0;
static Size unwritten_bytes = 0;	/* of responses */
static bool writing = false;
static bool may_wait = true;	/* rows may be written late */

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

static void
describe(const BsMandate *mandate, const BsExchange *exchange,
		 const BsResult *result, int number, BsAttempt *attempt)
{
	memset(attempt, 0, sizeof(*attempt));
	attempt->text[BS_ATTEMPT_PROVIDER] = mandate->server;
	attempt->text[BS_ATTEMPT_SESSION_ID] = from_utf8(bs_exchange_id(exchange));
	attempt->text[BS_ATTEMPT_REASON] = mandate->reason;
	attempt->text[BS_ATTEMPT_PROVIDER_STATUS] =
		from_utf8(result->provider_status);
	attempt->text[BS_ATTEMPT_ERROR] = from_utf8(result->error);
	attempt->text[BS_ATTEMPT_RESPONSE] = from_utf8(result->response);
	attempt->text[BS_ATTEMPT_ACTOR] = mandate->actor;
	attempt->text[BS_ATTEMPT_APPLICATION] = application_name;
	attempt->text[BS_ATTEMPT_CLIENT_ADDR] = client_address();
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
	attempt->text[BS_ATTEMPT_PROVIDER] = mandate->server;
	attempt->text[BS_ATTEMPT_SESSION_ID] = session_id;
	attempt->text[BS_ATTEMPT_REASON] = mandate->reason;
	attempt->text[BS_ATTEMPT_ERROR] = error;
	attempt->text[BS_ATTEMPT_ACTOR] = mandate->actor;
	attempt->text[BS_ATTEMPT_APPLICATION] = application_name;
	attempt->text[BS_ATTEMPT_CLIENT_ADDR] = client_address();
	attempt->at = GetCurrentTimestamp();
	attempt->outcome = BS_UNKNOWN;
	attempt->number = mandate->attempts_before + 1;
	attempt->elapsed = -1;
}

/* ----------------------------------------------------------------
 * Rollback
 * ----------------------------------------------------------------
 */

/*
 * Returns the oldest attempt of a transaction of that level and those in it,
 * or NULL.
 */
static KeptAttempt *
oldest_of(int level)
{
	KeptAttempt *oldest = NULL;
	dlist_iter	iter;

	dlist_reverse_foreach(iter, &kept)
	{
		KeptAttempt *attempt = dlist_container(KeptAttempt, node, iter.cur);

		if (attempt->level < level)
			break;
		oldest = attempt;
	}
	return oldest;
}

/*
 * Gives up the rows of a transaction of that level and those in it, in the
 * order in which the attempts were made.
 */
static void
hand_over(int level)
{
	KeptAttempt *lost = oldest_of(level);
	int			patience = HAND_OVER_PATIENCE;

	while (lost != NULL)
	{
		KeptAttempt *next = dlist_has_next(&kept, &lost->node) ?
			dlist_container(KeptAttempt, node,
							dlist_next_node(&kept, &lost->node)) : NULL;

		dlist_delete(&lost->node);
		if (lost->written == 0)
			nunwritten--;
		bs_attempt_mark_rolled_back(lost->flat);
		if (!bs_roster_hand_over(lost->flat, &patience))
		{
			BsAttempt	attempt;

			bs_attempt_read(lost->flat, &attempt);
			bs_attempt_log(&attempt);
		}
		lost = next;
	}
}

/*
 * Rows of the transactions around one of that level, which is rolled back,
 * that were written in it are to be written again.
 */
static void
unwrite(int level)
{
	dlist_iter	iter;

	dlist_reverse_foreach(iter, &kept)
	{
		KeptAttempt *attempt = dlist_container(KeptAttempt, node, iter.cur);

		if (attempt->written == 0)
			continue;
		if (attempt->written < level)
			break;
		attempt->written = 0;
		nunwritten++;
	}
}

/*
 * Is done with a transaction.
 */
static void
forget_all(void)
{
	dlist_init(&kept);
	nunwritten = 0;
	unwritten_bytes = 0;
}

/*
 * Writes what is not written yet, before the commit.  If the transaction has
 * dropped the extension, there is no audit any more.
 */
static void
flush_or_forget(void)
{
	BsExtension extension;

	if (nunwritten == 0 || !bs_extension_find(&extension))
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
	if (!dlist_is_empty(&kept))
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
			hand_over(0);
			forget_all();
			break;
		case XACT_EVENT_PRE_PREPARE:
			refuse_to_prepare();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			forget_all();
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
	dlist_iter	iter;

	(void) id;
	(void) parent;
	(void) arg;
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		hand_over(level);
		unwrite(level);
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		dlist_reverse_foreach(iter, &kept)
		{
			KeptAttempt *attempt = dlist_container(KeptAttempt, node,
												   iter.cur);

			if (attempt->level < level && attempt->written < level)
				break;
			attempt->level = Min(attempt->level, level - 1);
			attempt->written = Min(attempt->written, level - 1);
		}
}

/*
 * Makes ready: from now on a rollback finds the exchanges that "function"
 * makes.  Raises an error if their rows cannot be written: an end that is not
 * audited is not made.
 */
void
bs_audit_begin(Oid function)
{
	static bool registered = false;

	may_wait = bs_tracking_check_audit();
	bs_audit_know_function(function);
	if (registered)
		return;
	RegisterXactCallback(end_transaction_cb, NULL);
	RegisterSubXactCallback(end_subtransaction_cb, NULL);
	registered = true;
}

/*
 * Keeps an attempt until the transaction ends, its row to be written.
 */
static void
keep(const BsAttempt *attempt)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	KeptAttempt *copy = palloc(sizeof(KeptAttempt));
	const char *response = attempt->text[BS_ATTEMPT_RESPONSE];

	copy->level = GetCurrentTransactionNestLevel();
	copy->written = 0;
	copy->flat = bs_attempt_flatten(attempt);
	copy->response = NULL;
	if (response != NULL && bs_attempt_leaves_out(response))
		copy->response = pstrdup(response);
	dlist_push_tail(&kept, &copy->node);
	nunwritten++;
	unwritten_bytes += response == NULL ? 0 : strlen(response);
	MemoryContextSwitchTo(old);
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
 * Returns the first attempt that is not written, or NULL.
 */
static KeptAttempt *
first_unwritten(void)
{
	KeptAttempt *first = NULL;
	dlist_iter	iter;

	dlist_reverse_foreach(iter, &kept)
	{
		KeptAttempt *attempt = dlist_container(KeptAttempt, node, iter.cur);

		if (attempt->written != 0)
			break;
		first = attempt;
	}
	return first;
}

/*
 * Are there rows still to be written, and not being written just now?
 */
bool
bs_audit_is_behind(void)
{
	return nunwritten > 0 && !writing;
}

/*
 * Notes that the row of an attempt is written, in the current transaction.
 */
static void
note_written(KeptAttempt *attempt)
{
	attempt->written = GetCurrentTransactionNestLevel();
	/* Or else it may have to be written once more. */
	if (attempt->written == attempt->level && attempt->response != NULL)
	{
		pfree(attempt->response);
		attempt->response = NULL;
	}
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
	KeptAttempt *first = first_unwritten();
	int			n = 0;
	BsAttempt  *attempts;
	dlist_node *node;

	if (first == NULL)
		return;
	attempts = palloc(sizeof(BsAttempt) * nunwritten);
	for (node = &first->node; node != &kept.head; node = node->next)
	{
		KeptAttempt *attempt = dlist_container(KeptAttempt, node, node);

		bs_attempt_read(attempt->flat, &attempts[n]);
		if (attempt->response != NULL)
			attempts[n].text[BS_ATTEMPT_RESPONSE] = attempt->response;
		n++;
	}
	write_rows(attempts, n);
	pfree(attempts);
	for (node = &first->node; node != &kept.head; node = node->next)
		note_written(dlist_container(KeptAttempt, node, node));
	nunwritten = 0;
	unwritten_bytes = 0;
}

/*
 * Writes them while exchanges are under way, which nobody carries on as long:
 * not if somebody's lock on the table would have to be waited for.
 */
static void
flush_meanwhile(void)
{
	if (unwritten_bytes >= MOST_BYTES || bs_tracking_may_save_now())
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
	if (nunwritten >= BATCH || unwritten_bytes >= BATCH_BYTES)
		flush_meanwhile();
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(get_scratch());
		BsAttempt	attempt;

		bs_audit_describe(mandate, exchange, i, &attempt);
		keep(&attempt);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
		bs_stats_count(mandate->server, attempt.outcome, attempt.number,
					   attempt.elapsed);
	}
}

/*
 * Writes them, if there are some, while there is nothing else to do.
 */
void
bs_audit_use_pause(void)
{
	if (nunwritten >= PAUSE_BATCH)
		flush_meanwhile();
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
 * Keeps what is known of an exchange that will not be carried on: if it was
 * under way, its request was sent and what became of it is not known.
 */
static void
keep_abandoned(const BsExchange *exchange)
{
	const BsMandate *mandate = bs_exchange_tag(exchange);
	int			n = bs_exchange_attempts(exchange);
	BsAttempt	attempt;

	for (int i = 0; i < n; i++)
	{
		bs_audit_describe(mandate, exchange, i, &attempt);
		keep(&attempt);
	}
	if (bs_exchange_is_under_way(exchange))
	{
		BsResult	result = *bs_exchange_result(exchange);

		result.outcome = BS_UNKNOWN;
		result.http_status = 0;
		result.elapsed = -1;
		result.response = NULL;
		result.error = "the call was broken off before the provider answered";
		describe(mandate, exchange, &result, n + 1, &attempt);
		keep(&attempt);
		bs_stats_count(mandate->server, BS_UNKNOWN, attempt.number, -1);
	}
}

/*
 * Breaks off all exchanges, and keeps what is known of them.  For clean-up
 * after an error, also one that ends the process (PG_ENSURE_ERROR_CLEANUP);
 * it throws only if there is no memory.
 */
void
bs_audit_abandon(void)
{
	bs_exchange_visit(keep_abandoned);
	bs_exchange_abort();
}
