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
#include "settlement.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker_claim.h"
#include "worker_job.h"
#include "worker_record.h"
#include "worker_step.h"

/* Jobs that one step records at most: bounds its memory. */
#define RECORD_BATCH	1000

/* The last step records all it can: more are never under way. */
#define STOP_BATCH		10000

/* Rows that one step deletes of each table at most. */
#define FORGET_BATCH	1000

/* Pause after a step that failed, in µs; it doubles. */
#define ERROR_PAUSE		(BS_US_PER_S / 2)
#define ERROR_PAUSE_MAX	(60 * BS_US_PER_S)

/* How often old rows are looked for, at most and at least, in µs. */
#define FORGET_PAUSE	(3600 * BS_US_PER_S)
#define FORGET_PAUSE_MIN	BS_US_PER_S

static dlist_head under_way = DLIST_STATIC_INIT(under_way);
static int	table_misses = 0;	/* steps in a row that found a table locked */
static int	failures = 0;		/* steps in a row that failed */
static bool beginning = false;	/* what is claimed is being begun */
static bool one_by_one = false; /* the last step failed */
static bool not_home = false;
static bool took_over = false;	/* what earlier workers had claimed */
static int64 clock_shift = 0;	/* not yet taken into account, in µs */
static int64 forget_at = 0;		/* when to look for old rows */
static int	forget_retention = 0;	/* the setting it was planned with */
static bool forget_sessions = false;	/* it is their turn, not the audit's */
static MemoryContext step_context;	/* reset after each step */

/*
 * Makes ready, once per process.
 */
void
bs_step_begin(void)
{
	bs_claims_begin();
	bs_jobs_begin();
	step_context = AllocSetContextCreate(TopMemoryContext,
										 "browser_session step",
										 ALLOCSET_DEFAULT_SIZES);
}

/*
 * Notes whether the clock has been set.  If so, the next step has to look.
 */
bool
bs_step_note_clock(void)
{
	clock_shift += bs_clock_shift();
	return clock_shift != 0;
}

/*
 * Takes an exchange that is over, to be recorded by the next step.
 */
void
bs_step_take(BsExchange *exchange)
{
	WorkerJob  *job = bs_job_finish(exchange);

	dlist_delete(&job->node);
	bs_records_add(job);
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

/* ----------------------------------------------------------------
 * Retention
 * ----------------------------------------------------------------
 */

/*
 * Deletes rows that are older than the retention, a batch at a time, of one
 * table: what is in the way of one of them does not hold up the other.
 */
static void
forget_old(void)
{
	int64		now = bs_clock_now();
	int64		retention = browser_session_retention * BS_US_PER_S;
	int64		pause = Min(Max(retention / 2, FORGET_PAUSE_MIN),
							FORGET_PAUSE);
	bool		sessions = forget_sessions;
	TimestampTz before;
	int			n;

	if (forget_retention != browser_session_retention)
		forget_at = now;
	forget_retention = browser_session_retention;
	if (browser_session_retention < 0)
		forget_at = BS_NEVER;
	if (now < forget_at)
		return;
	/* If it fails, because of a foreign key, the next step is to go on. */
	forget_at = now + pause;
	forget_sessions = !sessions;
	before = GetCurrentTimestamp() - retention;
	n = bs_tracking_forget_old(sessions, before, FORGET_BATCH);
	if (n == FORGET_BATCH)
		forget_sessions = sessions;
	if (n == FORGET_BATCH || !sessions)
		forget_at = now;
}

/* ----------------------------------------------------------------
 * The step
 * ----------------------------------------------------------------
 */

/*
 * Begins a transaction in which the tables are there and locked.  Returns
 * false, without a transaction, if they are not to be had; sets *verdict, and
 * *why to what is waited for.
 */
static bool
begin_transaction(WorkerVerdict *verdict, const char **why)
{
	BsExtension extension;
	bool		found;

	*verdict = WORKER_CARRY_ON;
	*why = "waiting for locks on its tables";
	pgstat_report_activity(STATE_RUNNING, "claiming and recording");
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	/* No request may go out whose claim a crash could undo. */
	ForceSyncCommit();
	found = bs_extension_find(&extension);
	if (!found && bs_extension_exists())
		*why = "waiting for its tables, which are not where they were made";
	else if (!found)
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
 * Takes into account that others have added sessions, the first of which is
 * due at that time: then there has to be a look at the tables.
 */
void
bs_outlook_add(WorkerOutlook *outlook, TimestampTz due)
{
	int64		left;

	outlook->added = Min(outlook->added, due);
	if (TIMESTAMP_NOT_FINITE(outlook->added))
		left = outlook->added == DT_NOEND ? BS_NEVER : 0;
	else
		left = outlook->added - GetCurrentTimestamp();
	outlook->next_due = Min(outlook->next_due, outlook->added);
	if (left != BS_NEVER && !outlook->failed)
		outlook->next = Min(outlook->next, bs_clock_now() + left);
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
		bs_jobs_in_flight() > 0 ? "ending sessions" : "waiting";
	outlook->next_due = DT_NOEND;
	outlook->next = forget_at;
	outlook->next = Min(outlook->next, bs_records_next(clock));
	if (!idle)
	{
		outlook->next = Min(outlook->next,
							bs_claims_next(now, clock, &outlook->next_due));
		bs_outlook_add(outlook, DT_NOEND);
	}
	if (again)
		outlook->next = clock;
}

/*
 * What a step does inside its transaction.  Returns whether there is more to
 * do at once.
 */
static bool
do_step(bool look, Size *saved)
{
	if (look)
		not_home = !bs_tracking_is_home();
	if (!took_over)
		bs_tracking_void_claims(bs_settlement_longest_pause());
	if (clock_shift != 0 && !not_home)
		bs_tracking_shift_pauses(clock_shift);
	*saved = save_lost_attempts();
	bs_records_make(one_by_one ? 1 : RECORD_BATCH);
	if (browser_session_enabled && !not_home)
	{
		bs_claims_look(look);
		bs_claims_make();
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
	Size		saved = 0;
	bool		again;

	/* Whoever commits from now on wakes us: we may not see his row. */
	bs_roster_show("working", bs_jobs_in_flight(), DT_NOEND);
	look |= outlook->added <= GetCurrentTimestamp();
	if (!begin_transaction(&verdict, &outlook->state))
	{
		outlook->next = bs_clock_now() + bs_lock_pause(table_misses);
		table_misses++;
		outlook->next_due = DT_NOEND;
		outlook->look = true;
		return verdict;
	}
	if (look)
		outlook->added = DT_NOEND;
	again = do_step(look, &saved);
	commit_transaction();
	took_over = true;
	clock_shift = 0;
	if (saved > 0)
		bs_roster_saved(saved);
	table_misses = failures = 0;
	beginning = true;
	bs_records_drop();
	one_by_one = one_by_one && !bs_records_none();
	bs_claims_start(&under_way);
	beginning = false;
	outlook->look = outlook->failed = false;
	set_outlook(outlook, again);
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
		bs_claims_keep(&under_way);
		bs_step_break_off("the background worker had to start anew");
	}
	beginning = false;
	bs_claims_drop();
	MemoryContextReset(step_context);
	bs_records_fail(one_by_one);
	one_by_one = true;
	outlook->state = "recovering from an error";
	outlook->next = bs_clock_now() +
		Min(ERROR_PAUSE << Min(failures, 10), ERROR_PAUSE_MAX);
	failures++;
	/* Should it be old rows that cannot go, the next step is without them. */
	forget_at = Max(forget_at, outlook->next + FORGET_PAUSE_MIN);
	outlook->failed = true;
	outlook->next_due = DT_NOEND;
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

		bs_records_add(job);
		if (job->account != NULL)
			bs_job_give_back(job, error);
	}
}

/*
 * Gives everything back that is under way, because the worker has to go.
 */
void
bs_step_stop(void)
{
	WorkerVerdict verdict;
	const char *why;
	Size		saved = 0;
	BsExchange *exchange;

	bs_roster_close();
	/* What has its result is not broken off. */
	while ((exchange = bs_exchange_next()) != NULL)
		bs_step_take(exchange);
	bs_step_break_off("the background worker was stopped before the "
					  "provider's answer was read");
	if (!begin_transaction(&verdict, &why))
		return;
	saved = save_lost_attempts();
	bs_records_hurry();
	bs_records_make(STOP_BATCH);
	commit_transaction();
	bs_roster_saved(saved);
	bs_records_drop();
}
