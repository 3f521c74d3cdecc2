/*
 * pool.c
 *		Memory contexts that are used again and again.
 *
 * PostgreSQL keeps some contexts that have been deleted for the next ones, but
 * fewer than there are exchanges under way at a time; making and deleting all
 * of them anew is most of what memory costs an exchange.
 */
#include "postgres.h"

#include "pool.h"
#include "utils/memutils.h"

/* What an exchange mostly needs fits into the block that is kept. */
#define KEPT_BYTES	4096

/*
 * Returns an empty context below the top one.
 */
MemoryContext
bs_pool_take(BsPool *pool)
{
	if (pool->n > 0)
		return pool->spare[--pool->n];
	return AllocSetContextCreateInternal(TopMemoryContext, pool->name,
										 KEPT_BYTES, KEPT_BYTES,
										 ALLOCSET_DEFAULT_MAXSIZE);
}

/*
 * Gives a context back with all that is in it.  Does not throw.
 */
void
bs_pool_give_back(BsPool *pool, MemoryContext context)
{
	if (pool->n == BS_POOL_SIZE)
		MemoryContextDelete(context);
	else
	{
		MemoryContextReset(context);
		pool->spare[pool->n++] = context;
	}
}

/*
 * Keeps at most so many contexts.
 */
void
bs_pool_shrink(BsPool *pool, int most)
{
	while (pool->n > most)
		MemoryContextDelete(pool->spare[--pool->n]);
}
