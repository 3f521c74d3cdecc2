/*
 * shared.c
 *		The shared memory of the extension: asks for it and sets it up.
 *
 * There is some only if the library is in shared_preload_libraries.  Without
 * it roster.c and stats.c find none and do nothing.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "roster.h"
#include "shared.h"
#include "stats.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#define TRANCHE		"browser_session"

static shmem_request_hook_type next_request_hook;
static shmem_startup_hook_type next_startup_hook;

static void
request_memory(void)
{
	if (next_request_hook != NULL)
		next_request_hook();
	RequestAddinShmemSpace(add_size(bs_roster_size(), bs_stats_size()));
	RequestNamedLWLockTranche(TRANCHE, 2);
}

static void
set_up_memory(void)
{
	LWLockPadded *locks;

	if (next_startup_hook != NULL)
		next_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	locks = GetNamedLWLockTranche(TRANCHE);
	bs_roster_attach(&locks[0].lock);
	bs_stats_attach(&locks[1].lock);
	LWLockRelease(AddinShmemInitLock);
}

/*
 * Has PostgreSQL set the memory up when it starts.  Called from _PG_init()
 * when the library is preloaded.
 */
void
bs_shared_request(void)
{
	next_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	next_startup_hook = shmem_startup_hook;
	shmem_startup_hook = set_up_memory;
}
