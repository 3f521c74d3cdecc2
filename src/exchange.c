/*
 * exchange.c
 *		Ending a session, from the first request to the outcome.
 *
 * An exchange asks the provider to end one session and follows up as the
 * answers demand: it retries passing failures, reads a session whose end was
 * only accepted until it is over, and settles an ambiguous refusal by a read.
 * Any number of exchanges go on at once; one that has to wait (for a retry,
 * for the next read, for its turn under max_rate) sits in a heap ordered by
 * time and occupies no connection.
 *
 * Each exchange has a memory context of its own, so thousands of them in a
 * row need no more memory than those that are under way; and the contexts are
 * used again.
 *
 * Besides its result an exchange keeps one for each attempt, which is what an
 * audit wants.
 *
 * What the provider does is a result.  Errors are interrupts and want of
 * memory; after one the caller calls bs_exchange_abort().
 */
#include "postgres.h"

#include "clock.h"
#include "common/pg_prng.h"
#include "exchange.h"
#include "lib/ilist.h"
#include "lib/pairingheap.h"
#include "pool.h"
#include "reply.h"
#include "settings.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Back-off of retries, as the providers' own clients have it. */
#define RETRY_DELAY_FIRST	(BS_US_PER_S / 2)
#define RETRY_DELAY_MAX		(8 * BS_US_PER_S)
#define RETRY_JITTER		0.25

/* Pauses before the reads that confirm an end; the last one is repeated. */
static const int confirm_pauses[] = {100, 250, 500, 1000};	/* ms */

struct BsExchange
{
	pairingheap_node heap_node; /* in waiting, ordered by due */
	dlist_node	node;			/* in all, until it is fetched */
	dlist_node	finished_node;	/* in finished */
	MemoryContext context;
	MemoryContext answer;		/* holds what result shows of it, or NULL */
	bool		answered;		/* once at least */
	BsAccount  *account;
	BsSessionId id;
	BsSecrets	own_secrets;	/* with the token of a stop URL */
	const BsSecrets *secrets;	/* the account's, or own_secrets */
	void	   *tag;			/* the caller's */
	BsExchangePlan plan;
	BsQuestion	question;		/* what is asked, or will be when due */
	int64		due;			/* when to go on, if waiting */
	int64		began;			/* when the first request was sent */
	int64		deadline;		/* of the call, without confirming */
	int64		confirm_deadline;	/* 0 until the end was accepted */
	int			reads;			/* confirming reads made */
	BsOutcome	refused_as;		/* what an ambiguous refusal was, */
	int			refused_status; /* and its HTTP status */
	HttpRequest request;
	BsResult	result;
	bool		queued;			/* counted in the server's pace */
	bool		over;			/* the result stands */
	int64		attempt_began;	/* when the last end request was sent */
	int			nattempts;
	BsResult   *attempt;		/* a result for each attempt */
};

static int	compare_due(const pairingheap_node *a, const pairingheap_node *b,
						void *arg);

/* Contexts that a process at rest keeps. */
#define MAX_IDLE_CONTEXTS	16

static BsPool pool = {.name = "browser_session exchange"};
static pairingheap waiting = {.ph_compare = compare_due};
static dlist_head all = DLIST_STATIC_INIT(all);
static dlist_head finished = DLIST_STATIC_INIT(finished);

/*
 * Orders the heap, whose first is the largest: that is to be the earliest.
 * Of those that wait for max_rate to allow them, reads and retries come
 * before what has not begun, or they would never get their turn in time.
 */
static int
compare_due(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const BsExchange *x = pairingheap_const_container(BsExchange, heap_node,
													  a);
	const BsExchange *y = pairingheap_const_container(BsExchange, heap_node,
													  b);

	(void) arg;
	if (x->due != y->due)
		return x->due < y->due ? 1 : -1;
	if ((x->result.attempts > 0) != (y->result.attempts > 0))
		return x->result.attempts > 0 ? 1 : -1;
	return 0;
}

static void
wait_until(BsExchange *exchange, int64 due)
{
	exchange->due = due;
	pairingheap_add(&waiting, &exchange->heap_node);
}

/*
 * Keeps the result of an attempt that is over now.
 */
static void
keep_attempt(BsExchange *exchange, int64 now)
{
	BsResult   *kept;

	if (exchange->attempt == NULL)
		exchange->attempt =
			MemoryContextAlloc(exchange->context,
							   sizeof(BsResult) *
							   (exchange->plan.retries + 1));
	kept = &exchange->attempt[exchange->nattempts++];
	*kept = exchange->result;
	kept->elapsed = now - exchange->attempt_began;
	/* What it points to stays. */
	exchange->answer = NULL;
}

/*
 * The outcome stands.
 */
static void
finish(BsExchange *exchange)
{
	BsResult   *result = &exchange->result;
	int64		now = bs_clock_now();

	if (!bs_outcome_done(result->outcome))
		result->ended_at = 0;
	else if (result->ended_at == 0)
		result->ended_at = GetCurrentTimestamp() + BS_EPOCH_OFFSET;
	/* The last attempt can have been kept already, with a retry in mind. */
	if (exchange->nattempts < Max(result->attempts, 1))
		keep_attempt(exchange, now);
	result->elapsed = now - exchange->began;
	exchange->over = true;
	dlist_push_tail(&finished, &exchange->finished_node);
}

/*
 * Notes whether this exchange waits for its first turn under max_rate.
 */
static void
set_queued(BsExchange *exchange, bool queued)
{
	exchange->account->pace->queued += (int) queued - (int) exchange->queued;
	exchange->queued = queued;
}

/*
 * Is it this exchange's turn under max_rate?  If not, it is put back to wait,
 * or, if its turn comes after its deadline, left with what it has.
 */
static bool
take_turn(BsExchange *exchange, int64 now)
{
	BsAccount  *account = exchange->account;
	int64		turn = account->pace->next_send;
	int64		deadline = exchange->question == BS_Q_CONFIRM ?
		exchange->confirm_deadline : exchange->deadline;

	if (account->send_interval == 0)
		return true;
	set_queued(exchange, exchange->deadline == 0 && turn > now);
	if (turn <= now)
	{
		account->pace->next_send = now + account->send_interval;
		return true;
	}
	if (exchange->deadline != 0 && turn >= deadline)
		finish(exchange);
	else
		wait_until(exchange, turn);
	return false;
}

/*
 * Sends the request that the question needs, now or when max_rate allows it.
 */
static void
send_request(BsExchange *exchange)
{
	BsAccount  *account = exchange->account;
	int64		now = bs_clock_now();
	int64		timeout = account->timeout * BS_US_PER_MS;
	HttpRequest *request = &exchange->request;
	MemoryContext old;

	if (!take_turn(exchange, now))
		return;
	if (exchange->deadline == 0)
	{
		exchange->began = now;
		exchange->deadline = now + timeout * (exchange->plan.retries + 1);
	}
	if (exchange->question == BS_Q_END || exchange->question == BS_Q_LOOK)
	{
		exchange->attempt_began = now;
		exchange->result.began_at = GetCurrentTimestamp() + BS_EPOCH_OFFSET;
	}
	if (exchange->question == BS_Q_END)
		exchange->result.attempts++;
	old = MemoryContextSwitchTo(exchange->context);
	bs_request_build(&account->service, &exchange->id,
					 exchange->question == BS_Q_END ? BS_ASK_END :
					 BS_ASK_STATUS, request);
	MemoryContextSwitchTo(old);
	request->ca_file = account->ca_file;
	request->allow_http = account->allow_http;
	request->direct = account->direct;
	request->allow_local = account->allow_local;
	request->max_body = (size_t) browser_session_max_response_size * 1024;
	request->timeout = exchange->question == BS_Q_CONFIRM ?
		Min(timeout, exchange->confirm_deadline - now) :
		Min(timeout, exchange->deadline - now);
	bs_http_start(request, exchange);
}

/*
 * Goes on after the end was accepted: reads the session again, if that is
 * possible and there is time.  "retry_after" is -1 if the provider asked for
 * no pause.
 */
static void
confirm(BsExchange *exchange, int64 retry_after)
{
	BsAccount  *account = exchange->account;
	int64		now = bs_clock_now();
	int64		due;
	int			i = Min(exchange->reads, (int) lengthof(confirm_pauses) - 1);

	if (exchange->confirm_deadline == 0)
		exchange->confirm_deadline = now +
			account->confirm_timeout * BS_US_PER_MS;
	due = now + Max(confirm_pauses[i] * BS_US_PER_MS, retry_after);
	exchange->result.outcome = BS_REQUESTED;
	if (account->service.field[BS_CONFIRM_PATH] == NULL ||
		due >= exchange->confirm_deadline)
	{
		finish(exchange);
		return;
	}
	exchange->reads++;
	exchange->question = BS_Q_CONFIRM;
	wait_until(exchange, due);
}

/*
 * Returns when to try again after a passing failure, or BS_NEVER if it is
 * not worth it: no retry is left, or the time the provider asks for is past
 * the call's deadline.
 */
static int64
next_retry(const BsExchange *exchange, const HttpReply *reply)
{
	int			n = exchange->result.attempts - 1;
	int64		delay = RETRY_DELAY_MAX;
	int64		due;

	if (n >= exchange->plan.retries)
		return BS_NEVER;
	if (reply->retry_after >= 0)
		delay = reply->retry_after;
	else
	{
		if (n < 4)
			delay = RETRY_DELAY_FIRST << n;
		delay -= (int64) (delay * RETRY_JITTER *
						  pg_prng_double(&pg_global_prng_state));
	}
	due = bs_clock_now() + delay;
	return due < exchange->deadline ? due : BS_NEVER;
}

/*
 * Returns the memory context for what an answer says.  That to the first
 * request, mostly the only one, needs none of its own.
 */
static MemoryContext
new_answer(BsExchange *exchange)
{
	if (!exchange->answered)
	{
		exchange->answered = true;
		return exchange->context;
	}
	return AllocSetContextCreate(exchange->context, "browser_session answer",
								 ALLOCSET_SMALL_SIZES);
}

/*
 * Is done with an answer, if there is one.
 */
static void
drop_answer(const BsExchange *exchange, MemoryContext answer)
{
	if (answer != NULL && answer != exchange->context)
		MemoryContextDelete(answer);
}

/*
 * Takes over what a reply says, with the memory context it is in.
 */
static void
take_over(BsExchange *exchange, const HttpReply *reply,
		  const BsJudgement *judgement, MemoryContext answer)
{
	BsResult   *result = &exchange->result;

	result->outcome = judgement->outcome;
	result->http_status = reply->status;
	result->error = judgement->error;
	result->response = judgement->response;
	result->ended_at = judgement->ended_at;
	result->retry_after = reply->retry_after;
	if (judgement->provider_status != NULL)
		result->provider_status = MemoryContextStrdup(exchange->context,
													  judgement->
													  provider_status);
	if (judgement->refusal_stands)
	{
		result->outcome = exchange->refused_as;
		result->http_status = exchange->refused_status;
	}
	if (judgement->next == BS_NEXT_SETTLE)
	{
		exchange->refused_as = judgement->outcome;
		exchange->refused_status = reply->status;
	}
	drop_answer(exchange, exchange->answer);
	exchange->answer = answer;
}

/*
 * A confirming read has failed, which does not take back that the end was
 * accepted.
 */
static void
note_failed_read(BsExchange *exchange, const BsJudgement *judgement)
{
	MemoryContext old = MemoryContextSwitchTo(exchange->answer);

	exchange->result.error = psprintf("end accepted, but reading the session "
									  "failed: %s", judgement->error);
	MemoryContextSwitchTo(old);
}

/*
 * A transfer is over: judges the reply and does what has to follow.
 */
static void
go_on(BsExchange *exchange, const HttpReply *reply)
{
	MemoryContext answer = new_answer(exchange);
	MemoryContext old = MemoryContextSwitchTo(answer);
	BsJudgement judgement;
	int64		due;

	bs_request_wipe(&exchange->request);
	bs_reply_judge(&exchange->account->service, exchange->secrets,
				   exchange->question, reply, &judgement);
	MemoryContextSwitchTo(old);
	if (exchange->question == BS_Q_LOOK && judgement.outcome != BS_ENDED)
	{
		/* Still there, or not to be seen: it does no harm to ask again. */
		drop_answer(exchange, answer);
		exchange->question = BS_Q_END;
		exchange->deadline = 0;
		send_request(exchange);
		return;
	}
	if (exchange->question != BS_Q_CONFIRM ||
		judgement.outcome == BS_ENDED || judgement.outcome == BS_REQUESTED)
		take_over(exchange, reply, &judgement, answer);
	else
	{
		note_failed_read(exchange, &judgement);
		drop_answer(exchange, answer);
	}

	if (exchange->question == BS_Q_LOOK)
		finish(exchange);
	else if (exchange->question == BS_Q_CONFIRM)
	{
		if (exchange->result.outcome == BS_ENDED)
			finish(exchange);
		else
			confirm(exchange, reply->retry_after);
	}
	else if (judgement.next == BS_NEXT_CONFIRM)
		confirm(exchange, -1);
	else if (judgement.next == BS_NEXT_SETTLE)
	{
		exchange->question = BS_Q_SETTLE;
		send_request(exchange);
	}
	else if (judgement.next == BS_NEXT_RETRY &&
			 (due = next_retry(exchange, reply)) != BS_NEVER)
	{
		keep_attempt(exchange, bs_clock_now());
		exchange->question = BS_Q_END;
		wait_until(exchange, due);
	}
	else
		finish(exchange);
}

/*
 * Copies a stop URL.  The token in it need not be the account's.
 */
static void
take_stop_url(BsExchange *exchange, const BsSessionId *id)
{
	MemoryContext old = MemoryContextSwitchTo(exchange->context);

	exchange->id.stop_url = pstrdup(id->stop_url);
	bs_redact_copy(&exchange->own_secrets,
				   &exchange->account->service.secrets);
	bs_redact_add_encoded(&exchange->own_secrets, id->token);
	exchange->secrets = &exchange->own_secrets;
	MemoryContextSwitchTo(old);
}

/*
 * Begins to end a session.  The account must stay pinned until the exchange
 * is released.  "tag" is for the caller to know it by.
 */
void
bs_exchange_begin(BsAccount *account, const BsSessionId *id,
				  BsExchangePlan plan, void *tag)
{
	MemoryContext context = bs_pool_take(&pool);
	BsExchange *exchange = MemoryContextAllocZero(context,
												  sizeof(BsExchange));

	exchange->context = context;
	dlist_push_tail(&all, &exchange->node);
	exchange->account = account;
	exchange->tag = tag;
	exchange->plan = plan;
	exchange->began = bs_clock_now();
	exchange->result.outcome = BS_UNKNOWN;
	exchange->result.retry_after = -1;
	exchange->question = plan.look_first &&
		account->service.field[BS_CONFIRM_PATH] != NULL ?
		BS_Q_LOOK : BS_Q_END;
	exchange->secrets = &account->service.secrets;
	exchange->id.name = MemoryContextStrdup(context, id->name);
	if (id->stop_url != NULL)
		take_stop_url(exchange, id);
	send_request(exchange);
}

/*
 * Has any exchange been begun that is not released yet?
 */
bool
bs_exchange_any(void)
{
	return !dlist_is_empty(&all);
}

/*
 * Goes on with those that have waited long enough.  Returns when the next one
 * is due.
 */
static int64
wake_due(void)
{
	while (!pairingheap_is_empty(&waiting))
	{
		BsExchange *first = pairingheap_container(BsExchange, heap_node,
												  pairingheap_first(&waiting));

		if (first->due > bs_clock_now())
			return first->due;
		pairingheap_remove_first(&waiting);
		send_request(first);
	}
	return BS_NEVER;
}

/*
 * Carries all exchanges on until one has its result, "deadline" has come, or
 * the process's latch was set, which it returns.  Throws when the query is
 * cancelled or the process is to end.
 */
bool
bs_exchange_pump(int64 deadline)
{
	bool		woken = false;

	while (dlist_is_empty(&finished) && !woken)
	{
		HttpTransfer *transfer;
		int64		due = wake_due();

		/* One that woke can have been left with what it had. */
		if (!dlist_is_empty(&finished))
			break;
		woken = bs_http_wait(Min(due, deadline));
		while ((transfer = bs_http_next()) != NULL)
		{
			BsExchange *exchange = bs_http_tag(transfer);

			go_on(exchange, bs_http_reply(transfer));
			bs_http_release(transfer);
		}
		if (bs_clock_now() >= deadline)
			break;
	}
	return woken;
}

/*
 * Carries all exchanges on until one has its result.
 */
void
bs_exchange_wait(void)
{
	while (dlist_is_empty(&finished))
		(void) bs_exchange_pump(BS_NEVER);
}

/*
 * Returns an exchange that has its result, for the caller to release, or
 * NULL.
 */
BsExchange *
bs_exchange_next(void)
{
	if (dlist_is_empty(&finished))
		return NULL;
	return dlist_container(BsExchange, finished_node,
						   dlist_pop_head_node(&finished));
}

/*
 * Shows the caller every exchange of which a request was sent.  For taking
 * stock after an error.
 */
void
bs_exchange_visit(void (*visit) (const BsExchange *exchange))
{
	dlist_iter	iter;

	dlist_foreach(iter, &all)
	{
		BsExchange *exchange = dlist_container(BsExchange, node, iter.cur);

		if (exchange->deadline != 0 || exchange->nattempts > 0)
			visit(exchange);
	}
}

/*
 * Has an attempt been begun whose outcome does not stand?  Between two of
 * them, none is under way.
 */
bool
bs_exchange_is_under_way(const BsExchange *exchange)
{
	return !exchange->over && exchange->deadline != 0 &&
		exchange->nattempts < Max(exchange->result.attempts, 1);
}

/*
 * Returns the result, valid until the exchange is released.
 */
const BsResult *
bs_exchange_result(const BsExchange *exchange)
{
	return &exchange->result;
}

/*
 * Returns the bare id of the session, in UTF-8.
 */
const char *
bs_exchange_id(const BsExchange *exchange)
{
	return exchange->id.name;
}

/*
 * Returns how many attempts have a result.
 */
int
bs_exchange_attempts(const BsExchange *exchange)
{
	return exchange->nattempts;
}

/*
 * Returns the result of an attempt, counted from 0; its "elapsed" is that of
 * the attempt alone.  Valid until the exchange is released.
 */
const BsResult *
bs_exchange_attempt(const BsExchange *exchange, int i)
{
	return &exchange->attempt[i];
}

/*
 * Returns what bs_exchange_begin() was given.
 */
void *
bs_exchange_tag(const BsExchange *exchange)
{
	return exchange->tag;
}

/*
 * Frees an exchange that bs_exchange_next() returned.
 */
void
bs_exchange_release(BsExchange *exchange)
{
	dlist_delete(&exchange->node);
	set_queued(exchange, false);
	bs_session_id_wipe(&exchange->id);
	bs_redact_wipe_all(&exchange->own_secrets);
	bs_pool_give_back(&pool, exchange->context);
}

/*
 * Is told that no exchange will be begun for a while.
 */
void
bs_exchange_rest(void)
{
	bs_http_rest();
	bs_pool_shrink(&pool, MAX_IDLE_CONTEXTS);
}

/*
 * Drops every exchange, under way or over.  For clean-up after an error;
 * does not throw.
 */
void
bs_exchange_abort(void)
{
	dlist_mutable_iter iter;

	bs_http_abort();
	pairingheap_reset(&waiting);
	dlist_init(&finished);
	dlist_foreach_modify(iter, &all)
	{
		BsExchange *exchange = dlist_container(BsExchange, node, iter.cur);

		bs_request_wipe(&exchange->request);
		bs_exchange_release(exchange);
	}
}
