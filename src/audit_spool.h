/*
 * audit_spool.h
 *		Bytes that are put one after the other, beyond memory in a file.
 */
#ifndef BS_AUDIT_SPOOL_H
#define BS_AUDIT_SPOOL_H

#include "storage/fd.h"

typedef struct BsSpool
{
	char	   *buffer;			/* what is not in the file, NULL at first */
	Size		used;			/* bytes of it */
	Size		room;
	File		file;			/* 0 = there is none */
	uint64		in_file;		/* bytes, all before those of the buffer */
	char	   *window;			/* a part of the file; NULL if there is none */
	Size		window_room;
	uint64		window_at;		/* where the part begins */
	Size		window_used;
	Size		longest;		/* piece that was ever put */
} BsSpool;

extern uint64 bs_spool_end(const BsSpool *spool);
extern void *bs_spool_put(BsSpool *spool, Size size);
extern void bs_spool_make_room(BsSpool *spool);
extern void *bs_spool_get(BsSpool *spool, uint64 at, Size size);
extern void bs_spool_cut(BsSpool *spool, uint64 at);
extern void bs_spool_forget(BsSpool *spool);

#endif							/* BS_AUDIT_SPOOL_H */
