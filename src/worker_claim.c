/*
 * worker_claim.c
 *		What is due in each lane, and claiming it.
 *
 * The plan says of each lane when its first session is due, or at least
 * before when none is.  It is made by a look at the tables and kept up to
 * date by what the worker itself does there, so that a backlog is worked off
 * without looking again.  A claim begins in the index where the one before
 * ended: what that passed over is dead, or locked by somebody, and a look
 * every now and then finds the locked ones again.
 *
 * A look costs as much as there are dead entries in front of each lane.  So
 * that many commits in a row do not have the worker do nothing but look, it
 * spends a part of its time on that and no more.
 */
#include "postgres.h"

#include "clock.h"
#include "roster.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker_claim.h"
#include "worker_job.h"
#include "worker_record.h"

/* Sessions that one step claims in a lane at most. */
#define CLAIM_BATCH		1000

/* The same of sessions of which nothing can be sent: they are no hurry. */
#define HOPELESS_BATCH	100

/* Locked rows that one step passes over in a lane at most. */
#define PATIENCE		1000

/* Pause of a lane for each of them, in µs: ten times what it takes. */
#define LOCKED_PAUSE	100

/* Pause before a lane without room is looked at again in any case, in µs. */
#define FULL_PAUSE		BS_US_PER_S

/* Sessions that were passed over are looked for after so many µs. */
#define LOOK_PAUSE		BS_US_PER_S

/* After a look there is none for so many times as long. */
#define LOOK_SHARE		10

/* The same after a claim that found nothing, but not longer, in µs. */
#define MISS_PAUSE_MAX	(10 * BS_US_PER_S)

/* A plan that old, in µs, is made anew when there is a step in any case. */
#define MAX_PLAN_AGE	(10 * BS_US_PER_S)

/* A lease is that much longer than what an exchange may take, in ms. */
#define LEASE_MARGIN	5000

/* A lane in which there is, or will be, something to do. */
typedef struct PlannedLane
{
	BsLaneDue	due;
	WorkerLane *lane;
} PlannedLane;

static struct Plan
{
	MemoryContext context;
	int			n;
	PlannedLane *lane;
	bool		changed;		/* by others, since the last look */
	int64		look_after;		/* no sooner, */
	int64		look_before;	/* and no later */
	int64		old_at;			/* then it is old */
}			plan;

static dlist_head claimed = DLIST_STATIC_INIT(claimed); /* not yet begun */
static TimestampTz claimed_at = 0;	/* what was due then is claimed */

/*
 * Makes ready, once per process.
 */
void
bs_claims_begin(void)
{
	bs_lanes_begin();
	plan.context = AllocSetContextCreate(TopMemoryContext,
										 "browser_session plan",
										 ALLOCSET_DEFAULT_SIZES);
	plan.look_before = BS_NEVER;
}

/*
 * Looks at what is due in each lane, if that is necessary: "changed" says
 * that others may have changed the tables.  Rows can also have come without a
 * word, with triggers switched off.
 */
void
bs_claims_look(bool changed)
{
	int64		began = bs_clock_now();
	MemoryContext old;
	BsLaneDue  *due;
	PlannedLane *lane;
	int			n;

	plan.changed |= changed;
	if (began < plan.look_after ||
		(!plan.changed && began < plan.look_before && began < plan.old_at))
		return;
	MemoryContextReset(plan.context);
	plan.n = 0;
	old = MemoryContextSwitchTo(plan.context);
	due = bs_tracking_lanes(&n);
	lane = palloc(sizeof(PlannedLane) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		lane[i].due = due[i];
		lane[i].lane = bs_lanes_get(due[i].provider, due[i].role);
	}
	MemoryContextSwitchTo(old);
	plan.lane = lane;
	plan.n = n;
	plan.changed = false;
	plan.look_after = bs_clock_now() +
		LOOK_SHARE * (bs_clock_now() - began);
	plan.look_before = BS_NEVER;
	plan.old_at = began + MAX_PLAN_AGE;
}

/*
 * Notes that a session of the lane is due at a time.
 */
void
bs_claims_note_due(const WorkerLane *lane, TimestampTz due)
{
	for (int i = 0; i < plan.n; i++)
		if (plan.lane[i].lane == lane)
			plan.lane[i].due.due = Min(plan.lane[i].due.due, due);
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
		if (account == NULL)
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
 * Brings the plan up to date after a claim in a lane that found "n" sessions.
 */
static void
replan(PlannedLane *planned, const BsClaim *claims, int n,
	   const BsClaimTerms *terms)
{
	int64		look = bs_clock_now() + LOOK_PAUSE;

	if (terms->gave_up)
		return;
	if (n < terms->most)
	{
		planned->due.due = bs_tracking_next(&planned->due);
		return;
	}
	/* What is due first may be locked by others and have been passed over. */
	for (int i = 0; i < n; i++)
		planned->due.due = Max(planned->due.due, claims[i].due);
	plan.look_before = Min(plan.look_before, look);
}

/*
 * Has a lane pay for the rows that were locked and passed over by the claim
 * from there on: the others are not to wait for that.  If there were too many,
 * the next claim carries on behind them, and then there is one from the start.
 */
static void
pass_over(WorkerLane *lane, const BsLaneDue *from, const BsClaimTerms *terms)
{
	lane->resume = terms->gave_up ? terms->last_passed : DT_NOBEGIN;
	/* All of them were due at once: there is no getting on among these. */
	if (terms->gave_up && lane->resume == from->due)
		lane->resume++;
	if (terms->passed > 0)
		lane->blocked_until = bs_clock_now() +
			(int64) terms->passed * LOCKED_PAUSE;
}

/*
 * Claims what is due in a lane, at most so many.  "why" is why there is no
 * account, if there is none.
 */
static void
claim_some(PlannedLane *planned, BsAccount *account, const char *why,
		   int most)
{
	WorkerLane *lane = planned->lane;
	BsLaneDue	from = planned->due;
	BsClaimTerms terms = {
		.now = claimed_at,
		.most = most,
		.lease = lease_from(claimed_at, account),
		.patience = PATIENCE,
		.is_held = bs_job_is_held,
		.list_held = bs_jobs_list_held
	};
	int64		began = bs_clock_now();
	BsClaim    *claims;
	int			n;

	from.due = Max(from.due, lane->resume);
	claims = bs_tracking_claim(&from, &terms, &n);
	take_claims(claims, n, lane, account, why);
	replan(planned, claims, n, &terms);
	pass_over(lane, &from, &terms);
	/* A statement passes over any number of locked rows, and counts none. */
	if (n == 0)
	{
		int64		now = bs_clock_now();

		lane->blocked_until = Max(lane->blocked_until, now +
								  Min(LOOK_SHARE * (now - began),
									  MISS_PAUSE_MAX));
	}
	lane->full = n == most;
	lane->misses = n == 0 ? lane->misses + 1 : 0;
}

/*
 * Claims what is due in a lane, if anything may be sent there now.  Returns
 * whether it tried.
 */
static bool
claim_lane(PlannedLane *planned)
{
	WorkerLane *lane = planned->lane;
	int64		clock = bs_clock_now();
	char	   *why = NULL;
	BsAccount  *account;
	int			most = HOPELESS_BATCH;
	int64		next = 0;

	/* What is locked by whoever tracks it is not to pile up here. */
	lane->full = lane->unrecorded >= BS_MOST_UNRECORDED;
	if (lane->full || bs_lanes_next(lane, clock) > clock)
		return false;
	account = bs_account_try(planned->due.provider, planned->due.role, &why);
	if (account == NULL)
		bs_roster_show_error(why);
	else
		most = Min(CLAIM_BATCH,
				   bs_lanes_allowance(lane, account, bs_jobs_in_flight(),
									  clock, &next));
	if (most > 0)
		claim_some(planned, account, why, most);
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
	uint64		x = plan.lane[*(const int *) a].lane->served;
	uint64		y = plan.lane[*(const int *) b].lane->served;

	return x < y ? -1 : x > y ? 1 : 0;
}

/*
 * Claims what is due.
 */
void
bs_claims_make(void)
{
	static uint64 claims = 0;
	int		   *turn = palloc(sizeof(int) * (plan.n + 1));
	int			n = 0;

	claimed_at = GetCurrentTimestamp();
	for (int i = 0; i < plan.n; i++)
		if (plan.lane[i].due.due <= claimed_at)
			turn[n++] = i;
	/* Or the first lane of a server could take all the room there ever is. */
	qsort(turn, n, sizeof(int), compare_turn);
	for (int i = 0; i < n; i++)
		if (claim_lane(&plan.lane[turn[i]]))
			plan.lane[turn[i]].lane->served = ++claims;
}

/*
 * Begins the exchanges of what has been claimed.  Where nothing can be sent,
 * the job is finished.
 */
void
bs_claims_start(dlist_head *under_way)
{
	while (!dlist_is_empty(&claimed))
	{
		WorkerJob  *job = dlist_head_element(WorkerJob, node, &claimed);

		if (job->account != NULL)
			bs_job_begin(job);
		dlist_delete(&job->node);
		if (job->begun)
			dlist_push_tail(under_way, &job->node);
		else
			bs_records_add(job);
	}
}

/*
 * Takes claims, whose transaction stands, for begun: one of them was, when an
 * error came up.
 */
void
bs_claims_keep(dlist_head *under_way)
{
	while (!dlist_is_empty(&claimed))
		dlist_push_tail(under_way, dlist_pop_head_node(&claimed));
}

/*
 * Forgets claims whose transaction has failed.
 */
void
bs_claims_drop(void)
{
	while (!dlist_is_empty(&claimed))
		bs_job_free(dlist_container(WorkerJob, node,
									dlist_pop_head_node(&claimed)));
	plan.changed = true;
}

/*
 * Returns when to try again to claim in a lane in which something is due.
 */
static int64
next_try(const PlannedLane *planned, int64 clock)
{
	int64		next = bs_lanes_next(planned->lane, clock);

	/* An exchange that is over comes before that. */
	if (planned->lane->full)
		return Max(next, clock + FULL_PAUSE);
	/* Others have it locked. */
	if (planned->due.due <= claimed_at)
		return Max(next, clock + bs_lock_pause(planned->lane->misses));
	return next;
}

/*
 * Returns when there is something to claim or to look at, if nothing happens
 * before, and sets *next_due to when the first session is due that is not.
 */
int64
bs_claims_next(TimestampTz now, int64 clock, TimestampTz *next_due)
{
	int64		next = plan.changed ? plan.look_after : plan.look_before;

	*next_due = DT_NOEND;
	for (int i = 0; i < plan.n; i++)
	{
		TimestampTz due = plan.lane[i].due.due;

		if (due <= now)
			next = Min(next, next_try(&plan.lane[i], clock));
		else
		{
			*next_due = Min(*next_due, due);
			if (!TIMESTAMP_NOT_FINITE(due))
				next = Min(next, clock + (due - now));
		}
	}
	return next;
}
