/*
 * worker_job.c
 *		A session that the worker is ending, from the claim to the record.
 *
 * A job is made in the transaction that claims its session, begins its
 * exchange when that has committed, and is kept until the transaction that
 * records it has.
 */
#include "postgres.h"

#include "audit.h"
#include "clock.h"
#include "common/hashfn.h"
#include "pool.h"
#include "settlement.h"
#include "stats.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker_job.h"

/* Contexts that are kept when there are no jobs. */
#define MAX_IDLE_CONTEXTS	16

static BsPool pool = {.name = "browser_session job"};
static int	in_flight = 0;		/* jobs that have an account */

/* The session of a job, in the job's memory. */
typedef struct HeldKey
{
	const char *provider;
	const char *session_id;
} HeldKey;

typedef struct HeldEntry
{
	HeldKey		key;			/* must be first */
	const WorkerJob *job;
} HeldEntry;

static HTAB *held = NULL;		/* HeldKey -> HeldEntry */

static uint32
hash_key(const void *key, Size size)
{
	const HeldKey *held_key = key;
	const char *provider = held_key->provider;
	const char *session_id = held_key->session_id;

	(void) size;
	return hash_combine(hash_bytes((const unsigned char *) provider,
								   (int) strlen(provider)),
						hash_bytes((const unsigned char *) session_id,
								   (int) strlen(session_id)));
}

static int
compare_keys(const void *a, const void *b, Size size)
{
	const HeldKey *x = a;
	const HeldKey *y = b;
	int			result = strcmp(x->session_id, y->session_id);

	(void) size;
	return result != 0 ? result : strcmp(x->provider, y->provider);
}

/*
 * Makes ready, once per process.
 */
void
bs_jobs_begin(void)
{
	HASHCTL		control = {
		.keysize = sizeof(HeldKey),
		.entrysize = sizeof(HeldEntry),
		.hash = hash_key,
		.match = compare_keys,
		.hcxt = TopMemoryContext
	};

	held = hash_create("browser_session jobs", 256, &control,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE |
					   HASH_CONTEXT);
}

/*
 * Notes that this process has the claim of a session.  An older job may be of
 * the same session, if that has been tracked anew.
 */
static void
hold(const WorkerJob *job)
{
	HeldKey		key = {job->claim.provider, job->claim.session_id};
	bool		found;
	HeldEntry  *entry = hash_search(held, &key, HASH_ENTER, &found);

	entry->key = key;
	entry->job = job;
}

static void
let_go(const WorkerJob *job)
{
	HeldKey		key = {job->claim.provider, job->claim.session_id};
	const HeldEntry *entry = hash_search(held, &key, HASH_FIND, NULL);

	if (entry != NULL && entry->job == job)
		hash_search(held, &key, HASH_REMOVE, NULL);
}

/*
 * Has this process the claim of that session?
 */
bool
bs_job_is_held(const char *provider, const char *session_id)
{
	HeldKey		key = {provider, session_id};

	return hash_search(held, &key, HASH_FIND, NULL) != NULL;
}

/*
 * Returns those sessions of a server whose claims this process has, and their
 * number, in the current memory context.
 */
const char **
bs_jobs_list_held(const char *provider, int *n)
{
	const char **ids = palloc(sizeof(char *) *
							  (hash_get_num_entries(held) + 1));
	HASH_SEQ_STATUS scan;
	const HeldEntry *entry;

	*n = 0;
	hash_seq_init(&scan, held);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (strcmp(entry->key.provider, provider) == 0)
			ids[(*n)++] = entry->key.session_id;
	return ids;
}

/*
 * Returns how many jobs are claimed or under way of which anything can be
 * sent.
 */
int
bs_jobs_in_flight(void)
{
	return in_flight;
}

static void
set_mandate(const WorkerJob *job, BsMandate *mandate)
{
	mandate->server = job->claim.provider;
	mandate->reason = job->claim.reason;
	mandate->actor = job->claim.role;
	/* The attempt of the claim is the one that is being made. */
	mandate->attempts_before = job->claim.attempt - 1;
}

/*
 * Adds an attempt of which nothing is known but that it was made; "before" is
 * 1 if it is the one before that of the claim.
 */
static void
add_unknown(WorkerJob *job, int before, const char *error)
{
	MemoryContext old = MemoryContextSwitchTo(job->context);
	BsAttempt  *attempt = &job->attempt[job->nattempts++];
	BsMandate	mandate;

	set_mandate(job, &mandate);
	mandate.attempts_before -= before;
	bs_audit_describe_lost(&mandate, job->claim.session_id, error, attempt);
	MemoryContextSwitchTo(old);
	bs_stats_count(mandate.server, BS_UNKNOWN, attempt->number, -1);
}

/*
 * Returns a job for a claim.  "account" is pinned once more; NULL if there is
 * none.
 */
WorkerJob *
bs_job_create(const BsClaim *claim, WorkerLane *lane, BsAccount *account)
{
	MemoryContext context = bs_pool_take(&pool);
	MemoryContext old = MemoryContextSwitchTo(context);
	WorkerJob  *job = palloc0(sizeof(WorkerJob));

	job->context = context;
	job->claim = *claim;
	job->claim.provider = pstrdup(claim->provider);
	job->claim.role = pstrdup(claim->role);
	job->claim.session_id = pstrdup(claim->session_id);
	job->claim.reason = pstrdup(claim->reason);
	job->lane = lane;
	/* The attempts that can come: one that was lost, and this one. */
	job->attempt = palloc(sizeof(BsAttempt) * 2);
	/* The last that can fail: what is held is never claimed again. */
	hold(job);
	if (account != NULL)
	{
		bs_account_pin(account);
		job->account = account;
		in_flight++;
		bs_lanes_note_sent(lane);
	}
	MemoryContextSwitchTo(old);
	return job;
}

static void
release_account(WorkerJob *job)
{
	bs_account_release(job->account);
	job->account = NULL;
	in_flight--;
}

/*
 * Gives back what the job has taken of its server's limits.
 */
static void
drop_account(WorkerJob *job)
{
	if (job->account == NULL)
		return;
	bs_lanes_take_back(job->lane, job->begun);
	release_account(job);
}

/*
 * Begins the exchange of a job.  If its id cannot be used, the job has failed.
 */
void
bs_job_begin(WorkerJob *job)
{
	MemoryContext old = MemoryContextSwitchTo(job->context);
	BsExchangePlan plan = {.look_first = job->claim.requested};
	BsSessionId id;
	char	   *utf8;
	const char *why = bs_account_read_id(job->account, job->claim.session_id,
										 &id, &utf8);

	MemoryContextSwitchTo(old);
	if (why != NULL)
	{
		drop_account(job);
		bs_job_fail(job, why);
		return;
	}
	job->begun = true;
	bs_lanes_note_begun(job->lane);
	bs_exchange_begin(job->account, &id, plan, job);
	bs_session_id_wipe(&id);
}

/*
 * Takes an exchange that is over up into its job, releases it, and returns
 * the job.
 */
WorkerJob *
bs_job_finish(BsExchange *exchange)
{
	WorkerJob  *job = bs_exchange_tag(exchange);
	const BsResult *result = bs_exchange_result(exchange);
	MemoryContext old = MemoryContextSwitchTo(job->context);
	BsMandate	mandate;
	BsAttempt  *attempt = &job->attempt[job->nattempts];
	TimestampTz next;

	set_mandate(job, &mandate);
	bs_audit_describe(&mandate, exchange, 0, attempt);
	bs_stats_count(mandate.server, attempt->outcome, attempt->number,
				   attempt->elapsed);
	bs_settlement_of_claim(&job->claim, result, &job->settlement);
	MemoryContextSwitchTo(old);
	job->nattempts++;
	next = job->settlement.next_attempt_at;
	bs_lanes_note_result(job->lane, result,
						 next == 0 ? 0 : next - GetCurrentTimestamp());
	bs_exchange_release(exchange);
	release_account(job);
	return job;
}

/*
 * Settles a job of which nothing can be sent.
 */
void
bs_job_fail(WorkerJob *job, const char *error)
{
	MemoryContext old = MemoryContextSwitchTo(job->context);

	bs_settlement_of_failure(&job->claim, pstrdup(error), &job->settlement);
	MemoryContextSwitchTo(old);
}

/*
 * Settles a job whose exchange has been broken off: it is due at once, and
 * what became of this attempt is not known, if it was sent.
 */
void
bs_job_give_back(WorkerJob *job, const char *error)
{
	drop_account(job);
	bs_settlement_of_failure(&job->claim, error, &job->settlement);
	if (job->sent)
	{
		add_unknown(job, 0, error);
		job->settlement.outcome = bs_outcome_name(BS_UNKNOWN);
	}
	if (job->settlement.next_attempt_at != 0)
		job->settlement.next_attempt_at = GetCurrentTimestamp();
}

/*
 * Notes, in a job whose session was claimed before and never recorded, the
 * attempt that was lost.
 */
void
bs_job_note_lost(WorkerJob *job)
{
	add_unknown(job, 1, BS_LOST_ATTEMPT);
}

/*
 * Is told that there will be none for a while.
 */
void
bs_jobs_rest(void)
{
	bs_pool_shrink(&pool, MAX_IDLE_CONTEXTS);
}

/*
 * Sets a job aside whose attempts are written and whose row is locked: it goes
 * into a new piece of memory, with no more than recording the row takes.
 */
WorkerJob *
bs_job_set_aside(WorkerJob *job)
{
	MemoryContext context = bs_pool_take(&pool);
	MemoryContext old = MemoryContextSwitchTo(context);
	WorkerJob  *copy = palloc(sizeof(WorkerJob));
	BsSettlement *settlement = &copy->settlement;

	*copy = *job;
	copy->context = context;
	copy->claim.provider = pstrdup(job->claim.provider);
	copy->claim.role = pstrdup(job->claim.role);
	copy->claim.session_id = pstrdup(job->claim.session_id);
	copy->claim.reason = pstrdup(job->claim.reason);
	settlement->provider = copy->claim.provider;
	settlement->session_id = copy->claim.session_id;
	if (settlement->error != NULL)
		settlement->error = pstrdup(settlement->error);
	copy->nattempts = 0;
	copy->attempt = NULL;
	copy->aside = true;
	MemoryContextSwitchTo(old);
	hold(copy);
	copy->lane->unrecorded++;
	bs_job_free(job);
	return copy;
}

/*
 * Is done with a job.
 */
void
bs_job_free(WorkerJob *job)
{
	if (job->aside)
		job->lane->unrecorded--;
	let_go(job);
	drop_account(job);
	bs_pool_give_back(&pool, job->context);
}
