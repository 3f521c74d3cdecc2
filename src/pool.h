/*
 * pool.h
 *		Memory contexts that are used again and again.
 */
#ifndef BS_POOL_H
#define BS_POOL_H

#include "utils/palloc.h"

/* Most contexts that are kept. */
#define BS_POOL_SIZE	1024

typedef struct BsPool
{
	const char *name;			/* of the contexts, a constant */
	int			n;
	MemoryContext spare[BS_POOL_SIZE];
} BsPool;

extern MemoryContext bs_pool_take(BsPool *pool);
extern void bs_pool_give_back(BsPool *pool, MemoryContext context);
extern void bs_pool_shrink(BsPool *pool, int most);

#endif							/* BS_POOL_H */
