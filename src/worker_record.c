/*
 * worker_record.c
 *		What is over and not yet recorded.
 *
 * Whoever tracks sessions can lock their rows, for as long as he likes, and an
 * outcome cannot be recorded in a locked row.  Its attempt is in the audit by
 * then; the rest is set aside without the reply, and tried again every now and
 * then, behind what has not been tried yet.  So nobody's locks hold up what
 * others do, and they cost the worker little memory: a lane of which much is
 * set aside gets no more claims.
 *
 * What is here is still held: it is not claimed again by this process when its
 * lease lapses (bs_job_is_held()).
 */
#include "postgres.h"

#include "clock.h"
#include "lib/ilist.h"
#include "worker_claim.h"
#include "worker_record.h"

static dlist_head finished = DLIST_STATIC_INIT(finished);	/* not yet tried */
static dlist_head aside = DLIST_STATIC_INIT(aside); /* found locked */
static dlist_head tried = DLIST_STATIC_INIT(tried); /* by this step */
static int	naside = 0;
static int	left = 0;			/* of these, to be tried in this round */
static bool in_round = false;	/* they are being tried again */
static bool any_recorded = false;	/* in this round */
static int	misses = 0;			/* rounds in a row that recorded none */
static int64 round_at = 0;		/* when the next round begins */

/*
 * Takes a job that is over.
 */
void
bs_records_add(WorkerJob *job)
{
	dlist_push_tail(&finished, &job->node);
}

/*
 * Is there nothing to record that has not been tried?
 */
bool
bs_records_none(void)
{
	return dlist_is_empty(&finished);
}

static int
take(dlist_head *from, int most)
{
	int			n = 0;

	for (; n < most && !dlist_is_empty(from); n++)
		dlist_push_tail(&tried, dlist_pop_head_node(from));
	return n;
}

/*
 * Chooses what this step records, at most so many of either kind; if that is
 * one, then only one.
 */
static int
choose(int most)
{
	int			n = take(&finished, most);

	if (!in_round && naside > 0 && round_at <= bs_clock_now())
	{
		in_round = true;
		left = naside;
		any_recorded = false;
	}
	if (in_round && (n == 0 || most > 1))
	{
		int			again = take(&aside, Min(left, most));

		left -= again;
		naside -= again;
		n += again;
	}
	return n;
}

/*
 * Records, in the current transaction, what is over, at most so many.  Whether
 * it could is not used before bs_records_drop().
 */
void
bs_records_make(int most)
{
	int			n = choose(most);
	BsAttempt  *attempts = palloc(sizeof(BsAttempt) * 2 * (n + 1));
	BsSettlement *settlements = palloc(sizeof(BsSettlement) * (n + 1));
	int			nattempts = 0;
	dlist_iter	iter;

	n = 0;
	dlist_foreach(iter, &tried)
	{
		const WorkerJob *job = dlist_container(WorkerJob, node, iter.cur);

		for (int i = 0; i < job->nattempts; i++)
			attempts[nattempts++] = job->attempt[i];
		settlements[n++] = job->settlement;
	}
	bs_tracking_save_attempts(attempts, nattempts);
	bs_tracking_record(settlements, n);

	n = 0;
	dlist_foreach(iter, &tried)
	{
		WorkerJob  *job = dlist_container(WorkerJob, node, iter.cur);

		job->settlement.recorded = settlements[n++].recorded;
		if (job->settlement.recorded &&
			job->settlement.next_attempt_at != 0)
			bs_claims_note_due(job->lane, job->settlement.next_attempt_at);
	}
}

/*
 * Has what is set aside tried again by the next step.
 */
void
bs_records_hurry(void)
{
	round_at = 0;
}

/*
 * Sets a job aside whose row is locked.  It stays where it is until it is
 * in its new memory, its neighbours being those of the old one.
 */
static void
set_aside(WorkerJob *job)
{
	if (!job->aside)
		job = bs_job_set_aside(job);
	dlist_delete(&job->node);
	if (naside == 0 && !in_round)
	{
		misses = 0;
		round_at = bs_clock_now() + bs_lock_pause(misses);
	}
	dlist_push_tail(&aside, &job->node);
	naside++;
}

/*
 * Forgets, now that the transaction has committed, what it has recorded.  If
 * that throws, for want of memory, bs_records_fail() has the rest tried again,
 * but its attempts are written.
 */
void
bs_records_drop(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &tried)
	{
		dlist_container(WorkerJob, node, iter.cur)->nattempts = 0;
	}
	while (!dlist_is_empty(&tried))
	{
		WorkerJob  *job = dlist_head_element(WorkerJob, node, &tried);

		if (!job->settlement.recorded)
		{
			set_aside(job);
			continue;
		}
		any_recorded = any_recorded || job->aside;
		dlist_delete(&job->node);
		bs_job_free(job);
	}
	if (!in_round || left > 0)
		return;
	in_round = false;
	misses = any_recorded ? 0 : misses + 1;
	round_at = bs_clock_now() + bs_lock_pause(misses);
}

/*
 * Takes back what could not be recorded, because the transaction has failed.
 * If that was one job, it may be the reason, and goes behind the others.
 */
void
bs_records_fail(bool one)
{
	while (!dlist_is_empty(&tried))
	{
		dlist_node *node = dlist_tail_node(&tried);

		dlist_delete(node);
		if (one)
			dlist_push_tail(&finished, node);
		else
			dlist_push_head(&finished, node);
	}
}

/*
 * Returns when there is something to record, if nothing comes before.
 */
int64
bs_records_next(int64 clock)
{
	if (!dlist_is_empty(&finished) || in_round)
		return clock;
	return naside > 0 ? round_at : BS_NEVER;
}
