/*
 * audit_kept.c
 *		The attempts of a transaction, as long as it can be rolled back.
 *
 * They are kept in the order in which they were made, in two spools, so any
 * number of them takes no more memory than work_mem allows: one has the flat
 * attempts, the other the replies that are too long for these, which are only
 * needed until the row is written and cannot be undone by itself.
 *
 * Which of them are lost with which savepoint, and which are written, is the
 * same for many in a row: that is what a run says.  Attempts are made in the
 * innermost transaction, and written from the oldest that is not written to
 * the last; so the levels of the runs never decrease from the first run to the
 * last, nor do those they were written in, unwritten ones being last.  There
 * are never more runs than twice the depth of the transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "audit_kept.h"
#include "audit_spool.h"
#include "roster.h"
#include "utils/memutils.h"

/* Rows that are written at once, and bytes of replies that end a batch. */
#define BATCH			64
#define BATCH_BYTES		(1024 * 1024)

/* Consecutive attempts. */
typedef struct Run
{
	int			level;			/* of the (sub)transaction they belong to */
	int			written;		/* of that in which they were; 0 = not yet */
	int			n;
	uint64		at;				/* where they begin in the spool */
	uint64		replies_at;		/* the same of long replies */
} Run;

/* What stands before a flat attempt in the spool. */
typedef struct Entry
{
	Size		size;			/* of the flat attempt */
	uint64		reply_at;		/* in the other spool, */
	Size		reply_size;		/* if it is that long; 0 = none */
} Entry;

/* In TopTransactionContext. */
static Run *run = NULL;
static int	nruns = 0;
static int	room = 0;			/* for runs */

static BsSpool attempts;
static BsSpool replies;

/*
 * Returns the first run that is not written, or nruns.
 */
static int
first_unwritten(void)
{
	int			first = nruns;

	while (first > 0 && run[first - 1].written == 0)
		first--;
	return first;
}

/*
 * Makes one run of neighbours that have become alike, those that have changed
 * being "first" and the ones after it.
 */
static void
merge_runs(int first)
{
	int			n = Max(first - 1, 0);

	for (int i = n + 1; i < nruns; i++)
	{
		if (run[i].level == run[n].level && run[i].written == run[n].written)
			run[n].n += run[i].n;
		else
			run[++n] = run[i];
	}
	nruns = Min(nruns, n + 1);
}

/*
 * Gets a run to which an attempt of the current transaction can be added.
 */
static Run *
current_run(void)
{
	int			level = GetCurrentTransactionNestLevel();
	Run		   *last = nruns > 0 ? &run[nruns - 1] : NULL;

	if (last != NULL && last->level == level && last->written == 0)
		return last;
	if (run == NULL || nruns == room)
	{
		int			more = Max(2 * room, 8);

		if (run == NULL)
			run = MemoryContextAlloc(TopTransactionContext,
									 sizeof(Run) * more);
		else
			run = repalloc(run, sizeof(Run) * more);
		/* Not before: the transaction can outlive want of memory. */
		room = more;
	}
	last = &run[nruns++];
	last->level = level;
	last->written = 0;
	last->n = 0;
	last->at = bs_spool_end(&attempts);
	last->replies_at = bs_spool_end(&replies);
	return last;
}

/*
 * Makes room for more attempts.  Throws if that cannot be.
 */
void
bs_kept_make_room(void)
{
	bs_spool_make_room(&attempts);
	bs_spool_make_room(&replies);
}

/*
 * Keeps an attempt, its row to be written.  Throws only if there is no memory.
 */
void
bs_kept_add(const BsAttempt *attempt)
{
	const char *reply = attempt->text[BS_ATTEMPT_RESPONSE];
	BsFlatAttempt *flat = bs_attempt_flatten(attempt);
	Run		   *last = current_run();
	Entry		entry = {.size = bs_attempt_size(flat)};
	char	   *to;

	if (reply != NULL && bs_attempt_leaves_out(reply))
	{
		entry.reply_at = bs_spool_end(&replies);
		entry.reply_size = strlen(reply) + 1;
		memcpy(bs_spool_put(&replies, entry.reply_size), reply,
			   entry.reply_size);
	}
	to = bs_spool_put(&attempts, MAXALIGN(sizeof(Entry)) + entry.size);
	memcpy(to, &entry, sizeof(Entry));
	memcpy(to + MAXALIGN(sizeof(Entry)), flat, entry.size);
	last->n++;
	pfree(flat);
}

/*
 * Are any attempts kept?
 */
bool
bs_kept_any(void)
{
	return nruns > 0;
}

/*
 * Returns how many rows are to be written, and how long their replies are.
 */
int
bs_kept_unwritten(Size *response_bytes)
{
	int			first = first_unwritten();
	int			n = 0;

	*response_bytes = first == nruns ? 0 :
		bs_spool_end(&replies) - run[first].replies_at;
	for (int i = first; i < nruns; i++)
		n += run[i].n;
	return n;
}

/*
 * Gets the attempt at a place, which stays until the next one is got, and
 * moves on to the next.  Returns NULL if the file cannot be read.
 */
static BsFlatAttempt *
get_attempt(uint64 *at, Entry *entry)
{
	Size		head = MAXALIGN(sizeof(Entry));
	const Entry *found = bs_spool_get(&attempts, *at, head);
	char	   *whole;

	if (found == NULL)
		return NULL;
	*entry = *found;
	whole = bs_spool_get(&attempts, *at, head + entry->size);
	if (whole == NULL)
		return NULL;
	*at += head + entry->size;
	return (BsFlatAttempt *) (whole + head);
}

/* ----------------------------------------------------------------
 * Writing
 * ----------------------------------------------------------------
 */

static void
report_unread(void)
{
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not read a temporary file: %m")));
}

/*
 * Copies the attempt at a place into the current memory context, and moves on
 * to the next.  Returns how long its reply is.
 */
static Size
copy_attempt(uint64 *at, BsAttempt *attempt)
{
	Entry		entry;
	const BsFlatAttempt *flat = get_attempt(at, &entry);
	const char *reply;
	void	   *copy;

	if (flat == NULL)
		report_unread();
	copy = palloc(entry.size);
	memcpy(copy, flat, entry.size);
	bs_attempt_read(copy, attempt);
	if (entry.reply_size == 0)
		return 0;
	reply = bs_spool_get(&replies, entry.reply_at, entry.reply_size);
	if (reply == NULL)
		report_unread();
	copy = MemoryContextAllocHuge(CurrentMemoryContext, entry.reply_size);
	memcpy(copy, reply, entry.reply_size);
	attempt->text[BS_ATTEMPT_RESPONSE] = copy;
	return entry.reply_size;
}

/*
 * Forgets the long replies, if no row can have to be written once more.
 */
static void
drop_replies(void)
{
	if (bs_spool_end(&replies) == 0)
		return;
	for (int i = 0; i < nruns; i++)
		if (run[i].written != run[i].level)
			return;
	bs_spool_cut(&replies, 0);
}

/*
 * Has the rows written that are not, which may itself add more.  They count as
 * written at once: if it throws, the transaction that wrote them is over.
 */
void
bs_kept_write(void (*write) (const BsAttempt *attempts, int n))
{
	int			first = first_unwritten();
	uint64		end = bs_spool_end(&attempts);
	uint64		at;
	MemoryContext context;
	MemoryContext old;

	if (first == nruns)
		return;
	at = run[first].at;
	for (int i = first; i < nruns; i++)
		run[i].written = GetCurrentTransactionNestLevel();
	merge_runs(first);
	context = AllocSetContextCreate(CurrentMemoryContext,
									"browser_session batch",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	while (at < end)
	{
		BsAttempt	batch[BATCH];
		Size		bytes = 0;
		int			n = 0;

		while (at < end && n < BATCH && bytes < BATCH_BYTES)
			bytes += copy_attempt(&at, &batch[n++]);
		write(batch, n);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	drop_replies();
}

/* ----------------------------------------------------------------
 * Commit and rollback
 * ----------------------------------------------------------------
 */

/*
 * A subtransaction of that level is committed: what was done in it has been
 * done in the one around it.
 */
void
bs_kept_commit(int level)
{
	int			i = nruns;

	while (i > 0 &&
		   (run[i - 1].level >= level || run[i - 1].written >= level))
	{
		i--;
		run[i].level = Min(run[i].level, level - 1);
		run[i].written = Min(run[i].written, level - 1);
	}
	merge_runs(i);
}

/*
 * Gives up an attempt: to the worker, or to the server's log.
 */
static void
hand_over(BsFlatAttempt *flat, BsPatience *patience)
{
	bs_attempt_mark_rolled_back(flat);
	if (!bs_roster_hand_over(flat, patience))
	{
		BsAttempt	attempt;

		bs_attempt_read(flat, &attempt);
		bs_attempt_log(&attempt);
	}
}

/*
 * Gives up all attempts from a run on, in the order in which they were made.
 */
static void
hand_over_from(int first)
{
	uint64		end = bs_spool_end(&attempts);
	uint64		at = run[first].at;
	int			left = 0;

	/* One for all: a worker that did not get on is not waited for again. */
	static BsPatience patience = {0};

	for (int i = first; i < nruns; i++)
		left += run[i].n;
	while (at < end)
	{
		Entry		entry;
		BsFlatAttempt *flat = get_attempt(&at, &entry);

		if (flat == NULL)
		{
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not read a temporary file: %m"),
					 errdetail("%d attempts of a transaction that was rolled "
							   "back are not in bsession_audit.", left)));
			break;
		}
		hand_over(flat, &patience);
		left--;
	}
}

/*
 * A (sub)transaction of that level is rolled back.  Its attempts, and those of
 * transactions in it, are given up; those of transactions around it that were
 * written in it are to be written again.  Does not throw.
 */
void
bs_kept_abort(int level)
{
	int			first = nruns;

	while (first > 0 && run[first - 1].level >= level)
		first--;
	if (first < nruns)
		hand_over_from(first);
	for (int i = first; i < nruns; i++)
	{
		bs_spool_cut(&attempts, run[i].at);
		bs_spool_cut(&replies, run[i].replies_at);
	}
	nruns = first;
	while (first > 0 && run[first - 1].written >= level)
		run[--first].written = 0;
	merge_runs(first);
}

/*
 * The transaction is over.
 */
void
bs_kept_forget(void)
{
	run = NULL;
	nruns = room = 0;
	bs_spool_forget(&attempts);
	bs_spool_forget(&replies);
}
