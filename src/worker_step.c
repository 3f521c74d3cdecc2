/*
 * worker_step.c
 *		The worker's transactions.
 *
 * A step is one short transaction: it writes attempts that backends have
 * lost, records exchanges that are over, and claims sessions that are due.
 * When it has committed, the claimed ones' exchanges begin.  In between the
 * worker has neither a transaction nor a lock; and it never waits for a lock
 * on the tables, so that DROP EXTENSION, or ALTER TABLE, does not wait for it.
 *
 * If a step fails, what it was to record is kept and tried again, each job
 * by itself, so that one that cannot be recorded does not hold up the rest.
 */
#include "postgres.h"

#include "access/xact.h"
#include "clock.h"
#include "extension.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "roster.h"
#include "settings.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker_job.h"
#include "worker_step.h"

/* Jobs that one step records at most: bounds its memory. */
#define RECORD_BATCH	1000

/* The last step records all it can: more are never under way. */
#define STOP_BATCH		10000

/* Sessions that one step claims in a lane at most. */
#define CLAIM_BATCH		1000

/* The same of sessions of which nothing can be sent: they are no hurry. */
#define HOPELESS_BATCH	100

/* Rows that one step deletes of each table at most. */
#define FORGET_BATCH	1000

/* Pause before what others have locked is tried again, in µs; it doubles. */
#define LOCK_PAUSE		(20 * BS_US_PER_MS)
#define LOCK_PAUSE_MAX	BS_US_PER_S

/* Pause before a lane without room is looked at again in any case, in µs. */
#define FULL_PAUSE		BS_US_PER_S

/* Pause after a step that failed, in µs; it doubles. */
#define ERROR_PAUSE		(BS_US_PER_S / 2)
#define ERROR_PAUSE_MAX	(60 * BS_US_PER_S)

/* How often old rows are looked for, at most and at least, in µs. */
#define FORGET_PAUSE	(3600 * BS_US_PER_S)
#define FORGET_PAUSE_MIN	BS_US_PER_S

/* A lease is that much longer than what an exchange may take, in ms. */
#define LEASE_MARGIN	5000

static dlist_head claimed = DLIST_STATIC_INIT(claimed); /* not yet begun */
static dlist_head under_way = DLIST_STATIC_INIT(under_way);
static dlist_head finished = DLIST_STATIC_INIT(finished);	/* to record */
static int	in_flight = 0;		/* claimed or under way, with an account */
static int	table_misses = 0;	/* steps in a row that found a table locked */
static int	record_misses = 0;	/* the same of a row to be recorded */
static int	failures = 0;		/* steps in a row that failed */
static bool beginning = false;	/* what is claimed is being begun */
static bool one_by_one = false; /* the last step failed */
static bool not_home = false;
static bool took_over = false;	/* what earlier workers had claimed */
static TimestampTz claimed_at = 0;	/* what was due then is claimed */
static int64 forget_at = 0;		/* when to look for old rows */
static int	forget_retention = 0;	/* the setting it was planned with */
static MemoryContext step_context;	/* reset after each step */

/* What the lanes were when they were last looked at. */
static struct Plan
{
	MemoryContext context;
	int			n;
	BsLaneDue  *due;
	WorkerLane **lane;
}			plan;

/*
 * Makes ready, once per process.
 */
void
bs_step_begin(void)
{
	bs_lanes_begin();
	step_context = AllocSetContextCreate(TopMemoryContext,
										 "browser_session step",
										 ALLOCSET_DEFAULT_SIZES);
	plan.context = AllocSetContextCreate(TopMemoryContext,
										 "browser_session plan",
										 ALLOCSET_DEFAULT_SIZES);
}

/*
 * Takes an exchange that is over, to be recorded by the next step.
 */
void
bs_step_take(BsExchange *exchange)
{
	WorkerJob  *job = bs_job_finish(exchange);

	dlist_delete(&job->node);
	dlist_push_tail(&finished, &job->node);
	in_flight--;
}

/* ----------------------------------------------------------------
 * Recording
 * ----------------------------------------------------------------
 */

/*
 * Writes the attempts that backends have lost.  Returns how many bytes of
 * them there were.
 */
static Size
save_lost_attempts(void)
{
	char	   *flat = NULL;
	Size		size = bs_roster_unsaved(&flat);
	Size		at = 0;

	while (at < size)
	{
		BsAttempt	batch[64];
		int			n = 0;

		while (at < size && n < (int) lengthof(batch))
		{
			const BsFlatAttempt *next = (BsFlatAttempt *) (flat + at);

			bs_attempt_read(next, &batch[n++]);
			at += bs_attempt_size(next);
		}
		bs_tracking_save_attempts(batch, n);
	}
	return size;
}

/*
 * Records the first "most" jobs that are over.  Returns how many there were.
 */
static int
record_jobs(int most)
{
	BsAttempt  *attempts = palloc(sizeof(BsAttempt) * 2 * most);
	BsSettlement *settlements = palloc(sizeof(BsSettlement) * most);
	int			nattempts = 0;
	int			n = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &finished)
	{
		const WorkerJob *job = dlist_container(WorkerJob, node, iter.cur);

		if (n == most)
			break;
		for (int i = 0; i < job->nattempts; i++)
			attempts[nattempts++] = job->attempt[i];
		settlements[n++] = job->settlement;
	}
	bs_tracking_save_attempts(attempts, nattempts);
	bs_tracking_record(settlements, n);

	/* A row that is locked is tried again; its attempts are written. */
	n = 0;
	dlist_foreach(iter, &finished)
	{
		WorkerJob  *job = dlist_container(WorkerJob, node, iter.cur);

		if (n == most)
			break;
		job->settlement.recorded = settlements[n++].recorded;
	}
	return n;
}

/*
 * Forgets, now that it has committed, what has been recorded.  Returns
 * whether any row was locked.
 */
static bool
drop_recorded(int n)
{
	bool		locked = false;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &finished)
	{
		WorkerJob  *job = dlist_container(WorkerJob, node, iter.cur);

		if (n-- == 0)
			break;
		job->nattempts = 0;
		if (!job->settlement.recorded)
		{
			locked = true;
			continue;
		}
		dlist_delete(&job->node);
		bs_job_free(job);
	}
	return locked;
}

/* ----------------------------------------------------------------
 * Claiming
 * ----------------------------------------------------------------
 */

/*
 * Looks at what is due in each lane.
 */
static void
look_at_lanes(void)
{
	MemoryContext old;

	MemoryContextReset(plan.context);
	plan.n = 0;
	old = MemoryContextSwitchTo(plan.context);
	plan.due = bs_tracking_lanes(&plan.n);
	plan.lane = palloc(sizeof(WorkerLane *) * (plan.n + 1));
	for (int i = 0; i < plan.n; i++)
		plan.lane[i] = bs_lanes_get(plan.due[i].provider, plan.due[i].role);
	MemoryContextSwitchTo(old);
}

/*
 * Returns when a claim made now lapses.
 */
static TimestampTz
lease_from(TimestampTz now, const BsAccount *account)
{
	int64		ms = LEASE_MARGIN;

	if (account != NULL)
		ms += (int64) account->timeout * 3 + account->confirm_timeout;
	return now + ms * BS_US_PER_MS;
}

/*
 * Makes jobs of claims.  "why" is why there is no account, if there is none.
 */
static void
take_claims(const BsClaim *claims, int n, WorkerLane *lane,
			BsAccount *account, const char *why)
{
	for (int i = 0; i < n; i++)
	{
		WorkerJob  *job = bs_job_create(&claims[i], lane, account);

		dlist_push_tail(&claimed, &job->node);
		if (account != NULL)
			in_flight++;
		else
			bs_job_fail(job, why);
		if (claims[i].lost)
		{
			bs_job_note_lost(job);
			bs_tracking_save_attempts(job->attempt, job->nattempts);
			job->nattempts = 0;
		}
	}
}

/*
 * Claims what is due in a lane, if anything may be sent there now.  Returns
 * whether it was.
 */
static bool
claim_lane(BsLaneDue *due, WorkerLane *lane)
{
	int64		clock = bs_clock_now();
	char	   *why = NULL;
	BsAccount  *account;
	int			most = HOPELESS_BATCH;
	int			n = 0;
	int64		next = 0;

	lane->full = false;
	if (bs_lanes_next(lane, clock) > clock)
		return false;
	account = bs_account_try(due->provider, due->role, &why);
	if (account == NULL)
		bs_roster_show_error(why);
	else
		most = Min(CLAIM_BATCH, bs_lanes_allowance(lane, account, in_flight,
												   clock, &next));
	if (most > 0)
	{
		BsClaim    *claims = bs_tracking_claim(due, claimed_at, most,
											   lease_from(claimed_at,
														  account), &n);

		take_claims(claims, n, lane, account, why);
		lane->full = n == most;
		lane->misses = n == 0 ? lane->misses + 1 : 0;
	}
	else if (next != BS_NEVER)
		lane->blocked_until = next;
	else
		lane->full = true;
	if (account != NULL)
		bs_account_release(account);
	return most > 0;
}

/*
 * Orders lanes, given by their places in the plan: first those whose last
 * claim is longest ago.
 */
static int
compare_turn(const void *a, const void *b)
{
	uint64		x = plan.lane[*(const int *) a]->served;
	uint64		y = plan.lane[*(const int *) b]->served;

	return x < y ? -1 : x > y ? 1 : 0;
}

/*
 * Claims what is due.  Returns whether it tried to, so that what the lanes
 * were said to have may not be true any more.
 */
static bool
claim_due(void)
{
	static uint64 claims = 0;
	int		   *turn = palloc(sizeof(int) * (plan.n + 1));
	int			n = 0;
	bool		tried = false;

	claimed_at = GetCurrentTimestamp();
	for (int i = 0; i < plan.n; i++)
		if (plan.due[i].due <= claimed_at)
			turn[n++] = i;
	/* Or the first lane of a server could take all the room there ever is. */
	qsort(turn, n, sizeof(int), compare_turn);
	for (int i = 0; i < n; i++)
		if (claim_lane(&plan.due[turn[i]], plan.lane[turn[i]]))
		{
			plan.lane[turn[i]]->served = ++claims;
			tried = true;
		}
	return tried;
}

/*
 * Begins the exchanges of what has been claimed.
 */
static void
begin_claimed(void)
{
	while (!dlist_is_empty(&claimed))
	{
		WorkerJob  *job = dlist_head_element(WorkerJob, node, &claimed);
		bool		could_send = job->account != NULL;

		if (could_send)
			bs_job_begin(job);
		dlist_delete(&job->node);
		if (job->begun)
		{
			dlist_push_tail(&under_way, &job->node);
			continue;
		}
		if (could_send)
			in_flight--;
		dlist_push_tail(&finished, &job->node);
	}
}

/*
 * Forgets claims whose transaction has failed.
 */
static void
drop_claimed(void)
{
	while (!dlist_is_empty(&claimed))
	{
		WorkerJob  *job = dlist_container(WorkerJob, node,
										  dlist_pop_head_node(&claimed));

		if (job->account != NULL)
			in_flight--;
		bs_job_free(job);
	}
}

/* ----------------------------------------------------------------
 * Retention
 * ----------------------------------------------------------------
 */

/*
 * Deletes rows that are older than the retention, a batch at a time.
 */
static void
forget_old(void)
{
	int64		now = bs_clock_now();
	int64		retention = browser_session_retention * BS_US_PER_S;
	int64		pause = Min(Max(retention / 2, FORGET_PAUSE_MIN),
							FORGET_PAUSE);
	TimestampTz before;

	if (forget_retention != browser_session_retention)
		forget_at = now;
	forget_retention = browser_session_retention;
	if (browser_session_retention < 0)
		forget_at = BS_NEVER;
	if (now < forget_at)
		return;
	before = GetCurrentTimestamp() - retention;
	if (bs_tracking_forget_old(before, FORGET_BATCH) < FORGET_BATCH)
		forget_at = now + pause;
}

/* ----------------------------------------------------------------
 * The step
 * ----------------------------------------------------------------
 */

/*
 * Begins a transaction in which the tables are there and locked.  Returns
 * false, without a transaction, if they are not to be had; sets *verdict.
 */
static bool
begin_transaction(WorkerVerdict *verdict)
{
	BsExtension extension;
	bool		found;

	*verdict = WORKER_CARRY_ON;
	pgstat_report_activity(STATE_RUNNING, "claiming and recording");
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	/* No request may go out whose claim a crash could undo. */
	ForceSyncCommit();
	found = bs_extension_find(&extension);
	if (!found)
		*verdict = WORKER_NOT_NEEDED;
	if (!found || !bs_extension_lock(&extension))
	{
		AbortCurrentTransaction();
		return false;
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(step_context);
	return true;
}

static void
commit_transaction(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextReset(step_context);
	pgstat_report_stat(false);
}

/*
 * Returns the pause before what others have locked is tried again, in µs.
 */
static int64
lock_pause(int misses)
{
	return Min(LOCK_PAUSE << Min(misses, 10), LOCK_PAUSE_MAX);
}

/*
 * Returns when to try again to claim in a lane in which something is due.
 */
static int64
next_try(const WorkerLane *lane, TimestampTz due, int64 clock)
{
	int64		next = bs_lanes_next(lane, clock);

	/* An exchange that is over comes before that. */
	if (lane->full)
		return Max(next, clock + FULL_PAUSE);
	/* Others have it locked. */
	if (due <= claimed_at)
		return Max(next, clock + lock_pause(lane->misses));
	return next;
}

/*
 * Sets the outlook: when is there something to do next, if nobody wakes us?
 */
static void
set_outlook(WorkerOutlook *outlook, bool again)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		clock = bs_clock_now();
	bool		idle = !browser_session_enabled || not_home;

	outlook->state = not_home ?
		"refusing: the sessions are another database's, see bsession_adopt()" :
		!browser_session_enabled ? "disabled by browser_session.enabled" :
		in_flight > 0 ? "ending sessions" : "waiting";
	outlook->in_flight = in_flight;
	outlook->next_due = DT_NOEND;
	outlook->next = forget_at;
	if (!dlist_is_empty(&finished))
		outlook->next = Min(outlook->next, clock + lock_pause(record_misses));
	for (int i = 0; i < plan.n && !idle; i++)
	{
		TimestampTz due = plan.due[i].due;

		if (due > now)
		{
			outlook->next_due = Min(outlook->next_due, due);
			if (!TIMESTAMP_NOT_FINITE(due))
				outlook->next = Min(outlook->next, clock + (due - now));
		}
		else
			outlook->next = Min(outlook->next,
								next_try(plan.lane[i], due, clock));
	}
	if (again)
		outlook->next = clock;
}

/*
 * What a step does inside its transaction.  Returns whether there is more to
 * do at once.
 */
static bool
do_step(bool look, int *recorded, Size *saved)
{
	bool		stale = false;

	if (look)
		not_home = !bs_tracking_is_home();
	if (!took_over)
		bs_tracking_void_claims();
	*saved = save_lost_attempts();
	*recorded = record_jobs(one_by_one ? 1 : RECORD_BATCH);
	if (browser_session_enabled && !not_home)
	{
		if (look)
			look_at_lanes();
		stale = claim_due();
		if (stale || *recorded > 0)
			look_at_lanes();
	}
	forget_old();
	return forget_at <= bs_clock_now();
}

/*
 * Makes a step.  "look" says that the tables may have changed by others.
 * Afterwards *outlook says when the next step is due.
 */
WorkerVerdict
bs_step_run(bool look, WorkerOutlook *outlook)
{
	WorkerVerdict verdict;
	int			recorded = 0;
	Size		saved = 0;
	bool		again;
	bool		locked;

	/* Whoever commits from now on wakes us: we may not see his row. */
	bs_roster_show("working", in_flight, DT_NOEND);
	if (!begin_transaction(&verdict))
	{
		outlook->state = "waiting for locks on its tables";
		outlook->next = bs_clock_now() + lock_pause(table_misses);
		table_misses++;
		outlook->next_due = DT_NOEND;
		outlook->in_flight = in_flight;
		outlook->look = true;
		return verdict;
	}
	again = do_step(look, &recorded, &saved);
	commit_transaction();
	took_over = true;
	if (saved > 0)
		bs_roster_saved(saved);
	table_misses = failures = 0;
	beginning = true;
	locked = drop_recorded(recorded);
	record_misses = locked ? record_misses + 1 : 0;
	one_by_one = one_by_one && !dlist_is_empty(&finished);
	begin_claimed();
	beginning = false;
	outlook->look = outlook->failed = false;
	set_outlook(outlook, again ||
				(!locked && !dlist_is_empty(&finished)));
	return WORKER_CARRY_ON;
}

/*
 * Cleans up after a step that failed, outside of any transaction.
 */
void
bs_step_fail(WorkerOutlook *outlook)
{
	if (beginning)
	{
		dlist_mutable_iter iter;

		/* Their claims stand, and one may have begun. */
		dlist_foreach_modify(iter, &claimed)
		{
			dlist_delete(iter.cur);
			dlist_push_tail(&under_way, iter.cur);
		}
		bs_step_break_off("the background worker had to start anew");
	}
	beginning = false;
	drop_claimed();
	MemoryContextReset(step_context);
	/* The first of those that are over may be what cannot be recorded. */
	if (one_by_one && !dlist_is_empty(&finished))
		dlist_push_tail(&finished, dlist_pop_head_node(&finished));
	one_by_one = true;
	outlook->state = "recovering from an error";
	outlook->next = bs_clock_now() +
		Min(ERROR_PAUSE << Min(failures, 10), ERROR_PAUSE_MAX);
	failures++;
	outlook->failed = true;
	outlook->next_due = DT_NOEND;
	outlook->in_flight = in_flight;
	outlook->look = true;
}

static void
note_sent(const BsExchange *exchange)
{
	WorkerJob  *job = bs_exchange_tag(exchange);

	job->sent = true;
}

/*
 * Breaks off every exchange: the next step records them as unknown.
 */
void
bs_step_break_off(const char *error)
{
	bs_exchange_visit(note_sent);
	bs_exchange_abort();
	while (!dlist_is_empty(&under_way))
	{
		WorkerJob  *job = dlist_container(WorkerJob, node,
										  dlist_pop_head_node(&under_way));

		dlist_push_tail(&finished, &job->node);
		if (job->account == NULL)
			continue;
		bs_job_give_back(job, error);
		in_flight--;
	}
}

/*
 * Gives everything back that is under way, because the worker has to go.
 */
void
bs_step_stop(void)
{
	WorkerVerdict verdict;
	int			recorded = 0;
	Size		saved = 0;

	bs_roster_close();
	bs_step_break_off("the background worker was stopped before the provider "
					  "answered");
	if (!begin_transaction(&verdict))
		return;
	saved = save_lost_attempts();
	recorded = record_jobs(STOP_BATCH);
	commit_transaction();
	bs_roster_saved(saved);
	(void) drop_recorded(recorded);
}
