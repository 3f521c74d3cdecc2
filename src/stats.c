/*
 * stats.c
 *		Counters of what servers were asked, in shared memory.
 *
 * They count from the start of PostgreSQL, for each database and name of a
 * server.  There is room for a fixed number of servers; those that come when
 * it is used up are not counted.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "stats.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

/* Servers that there is room for, in all databases. */
#define MAX_SERVERS		1024

typedef struct StatsKey
{
	Oid			database;
	NameData	server;
} StatsKey;

typedef struct StatsEntry
{
	StatsKey	key;			/* must be first */
	BsCounters	counters;
} StatsEntry;

static HTAB *entries = NULL;	/* StatsKey -> StatsEntry; NULL = none */
static LWLock *lock;

Size
bs_stats_size(void)
{
	return hash_estimate_size(MAX_SERVERS, sizeof(StatsEntry));
}

/*
 * Finds the counters, or sets them up.
 */
void
bs_stats_attach(LWLock *own_lock)
{
	HASHCTL		control = {
		.keysize = sizeof(StatsKey),
		.entrysize = sizeof(StatsEntry)
	};

	lock = own_lock;
	entries = ShmemInitHash("browser_session counters", MAX_SERVERS,
							MAX_SERVERS, &control,
							HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

static void
set_key(StatsKey *key, const char *server)
{
	memset(key, 0, sizeof(*key));
	key->database = MyDatabaseId;
	namestrcpy(&key->server, server);
}

/*
 * Counts an attempt at a server; "number" is 1 for the first, "elapsed" is in
 * µs, or -1 if it is not known.
 */
void
bs_stats_count(const char *server, BsOutcome outcome, int number,
			   int64 elapsed)
{
	StatsKey	key;
	StatsEntry *entry;
	bool		found;

	if (entries == NULL)
		return;
	set_key(&key, server);
	LWLockAcquire(lock, LW_EXCLUSIVE);
	entry = hash_search(entries, &key, HASH_ENTER_NULL, &found);
	if (entry != NULL)
	{
		BsCounters *counters = &entry->counters;

		if (!found)
			memset(counters, 0, sizeof(*counters));
		counters->outcome[outcome]++;
		if (number > 1)
			counters->retries++;
		if (elapsed >= 0)
		{
			counters->measured++;
			counters->latency_sum += elapsed;
			counters->latency_max = Max(counters->latency_max, elapsed);
		}
		counters->last_attempt_at = GetCurrentTimestamp();
	}
	LWLockRelease(lock);
}

/*
 * Returns the counters of all servers of this database, and how many, in the
 * current memory context.
 */
BsCounters *
bs_stats_read(int *n)
{
	BsCounters *all = palloc(sizeof(BsCounters) * MAX_SERVERS);
	HASH_SEQ_STATUS scan;
	StatsEntry *entry;

	*n = 0;
	if (entries == NULL)
		return all;
	LWLockAcquire(lock, LW_SHARED);
	hash_seq_init(&scan, entries);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (entry->key.database == MyDatabaseId)
		{
			all[*n] = entry->counters;
			all[(*n)++].server = entry->key.server;
		}
	LWLockRelease(lock);
	return all;
}
