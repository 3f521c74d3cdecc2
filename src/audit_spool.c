/*
 * audit_spool.c
 *		Bytes that are put one after the other, beyond memory in a file.
 *
 * A spool holds what a transaction must not lose when it is rolled back, so
 * it lives as long as the transaction, whatever savepoint it was begun in:
 * its memory is the transaction's, and so is its file, a temporary one of
 * PostgreSQL's with all that goes with that (temp_file_limit,
 * temp_tablespaces, log_temp_files).
 *
 * Only making room writes to the file, and it alone can fail for another
 * reason than want of memory.  Reading and cutting are for a rollback: they do
 * not throw, need no memory and write nothing.  So what is put last is always
 * in memory, and each piece is in one place or the other as a whole.
 */
#include "postgres.h"

#include "access/xact.h"
#include "audit_spool.h"
#include "commands/tablespace.h"
#include "compat.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* The buffer begins with that, and doubles. */
#define FIRST_ROOM		1024

/* A larger one makes nothing faster, whatever work_mem allows. */
#define MAX_BUFFER		(8 * 1024 * 1024)

/* What is read from the file in one go. */
#define WINDOW			(64 * 1024)

/*
 * Returns how many bytes are to be in memory.
 */
static Size
limit(void)
{
	return Min((Size) work_mem * 1024, MAX_BUFFER);
}

/*
 * Returns where the next piece is going to be.
 */
uint64
bs_spool_end(const BsSpool *spool)
{
	return spool->in_file + spool->used;
}

/*
 * Returns memory for a piece at the end, for the caller to fill; it stays
 * until the next call.  Pieces of aligned sizes are aligned.
 */
void *
bs_spool_put(BsSpool *spool, Size size)
{
	Size		needed = spool->used + size;
	char	   *piece;

	if (needed > spool->room)
	{
		Size		room = Max(needed + needed / 8,
							   Min(spool->room * 2, limit()));

		room = Max(room, FIRST_ROOM);
		if (spool->buffer == NULL)
			spool->buffer = MemoryContextAllocHuge(TopTransactionContext,
												   room);
		else
			spool->buffer = repalloc_huge(spool->buffer, room);
		spool->room = room;
	}
	piece = spool->buffer + spool->used;
	spool->used = needed;
	spool->longest = Max(spool->longest, size);
	return piece;
}

/*
 * Opens the file, if there is none yet, and has memory ready for reading it.
 */
static void
open_file(BsSpool *spool)
{
	Size		room = Max(WINDOW, spool->longest);

	if (spool->file == 0)
	{
		ResourceOwner owner = CurrentResourceOwner;

		PrepareTempTablespaces();
		/* A savepoint that is rolled back closes those of its own. */
		CurrentResourceOwner = TopTransactionResourceOwner;
		spool->file = OpenTemporaryFile(false);
		CurrentResourceOwner = owner;
	}
	if (spool->window == NULL)
		spool->window = MemoryContextAllocHuge(TopTransactionContext, room);
	else if (spool->window_room < room)
		spool->window = repalloc_huge(spool->window, room);
	spool->window_room = room;
}

/*
 * Moves what is in memory to the file, if it is more than may stay.  Throws
 * if that cannot be; then nothing has changed.
 */
void
bs_spool_make_room(BsSpool *spool)
{
	Size		done = 0;

	if (spool->used < limit())
		return;
	open_file(spool);
	while (done < spool->used)
	{
		int			some = (int) Min(spool->used - done, MAX_BUFFER);

		errno = 0;
		if (FileWrite(spool->file, spool->buffer + done, some,
					  (off_t) (spool->in_file + done),
					  WAIT_EVENT_BUFFILE_WRITE) != some)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not write to file \"%s\": %m",
							FilePathName(spool->file))));
		done += some;
	}
	spool->in_file += spool->used;
	spool->used = 0;
}

/*
 * Returns a piece of the spool, or the beginning of one, which stays until
 * the next call.  Returns NULL, with errno set, if it cannot be read.  Does
 * not throw.
 */
void *
bs_spool_get(BsSpool *spool, uint64 at, Size size)
{
	int			some;

	Assert(at + size <= bs_spool_end(spool));
	if (at >= spool->in_file)
		return spool->buffer + (at - spool->in_file);
	if (at < spool->window_at ||
		at + size > spool->window_at + spool->window_used)
	{
		some = (int) Min(spool->in_file - at, spool->window_room);
		spool->window_used = 0;
		errno = 0;
		if (FileRead(spool->file, spool->window, some, (off_t) at,
					 WAIT_EVENT_BUFFILE_READ) != some)
		{
			if (errno == 0)
				errno = EIO;
			return NULL;
		}
		spool->window_at = at;
		spool->window_used = some;
	}
	return spool->window + (at - spool->window_at);
}

/*
 * Forgets what is there from a piece on.  Does not throw.
 */
void
bs_spool_cut(BsSpool *spool, uint64 at)
{
	if (at >= spool->in_file)
		spool->used = Min(spool->used, at - spool->in_file);
	else
	{
		spool->used = 0;
		spool->in_file = at;
		spool->window_used = 0;
	}
}

/*
 * Is done with the spool, at the end of the transaction, which frees its
 * memory.  Does not throw.
 */
void
bs_spool_forget(BsSpool *spool)
{
	if (spool->file != 0)
		FileClose(spool->file);
	memset(spool, 0, sizeof(*spool));
}
