/*
 * launcher.c
 *		The process that has every database with the extension get a worker.
 *
 * It is connected to no database, so it cannot see which ones have the
 * extension: it starts a worker in each, once, and one that finds no
 * extension signs off.  From then on backends tell the roster when the
 * extension, or a database, comes or goes.  A worker that fails is started
 * again, with growing pauses.
 *
 * It does not run on a standby; when that is promoted, PostgreSQL starts it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "clock.h"
#include "compat.h"
#include "launcher.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "roster.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "worker.h"

/* Pause before the launcher itself is started again, in seconds. */
#define RESTART_PAUSE	1

/* It looks for databases at least that often, in µs. */
#define SURVEY_PAUSE	(60 * BS_US_PER_S)

/* The same while there are some for which there was no room. */
#define CROWDED_PAUSE	(2 * BS_US_PER_S)

/* Databases that exist, or that have been looked at; in top memory. */
static List *databases = NIL;
static List *looked_at = NIL;

/* What PostgreSQL knows a worker by, by slot; NULL if it is not awaited. */
static BackgroundWorkerHandle **awaited;

static bool crowded = false;	/* some database could get no worker */

/*
 * Fills in what launcher and workers have in common: a function of this
 * library, run when there is no recovery (any more).
 */
static void
describe_process(BackgroundWorker *process, const char *function,
				 const char *type)
{
	memset(process, 0, sizeof(*process));
	process->bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	process->bgw_start_time = BgWorkerStart_RecoveryFinished;
	strlcpy(process->bgw_library_name, "browser_session",
			sizeof(process->bgw_library_name));
	strlcpy(process->bgw_function_name, function,
			sizeof(process->bgw_function_name));
	strlcpy(process->bgw_type, type, BGW_MAXLEN);
}

/*
 * Has PostgreSQL start the launcher.  Called from _PG_init() when the library
 * is preloaded.
 */
void
bs_launcher_register(void)
{
	BackgroundWorker launcher;

	describe_process(&launcher, "browser_session_launcher_main",
					 "browser_session launcher");
	launcher.bgw_restart_time = RESTART_PAUSE;
	strlcpy(launcher.bgw_name, launcher.bgw_type, BGW_MAXLEN);
	RegisterBackgroundWorker(&launcher);
}

/* ----------------------------------------------------------------
 * Databases
 * ----------------------------------------------------------------
 */

/*
 * Reads which databases can be connected to.
 */
static void
read_databases(void)
{
	Relation	catalog;
	TableScanDesc scan;
	HeapTuple	tuple;

	list_free(databases);
	databases = NIL;
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	catalog = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(catalog, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;

		/* The latter is what a DROP DATABASE that was broken off leaves. */
		if (!database->datallowconn || database->datconnlimit == -2)
			continue;
		old = MemoryContextSwitchTo(TopMemoryContext);
		databases = lappend_oid(databases, database->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(catalog, AccessShareLock);
	CommitTransactionCommand();
}

static bool
database_exists(Oid database)
{
	return list_member_oid(databases, database);
}

/*
 * Has every database looked at that has not been, and forgets those that are
 * gone.
 */
static void
survey(void)
{
	MemoryContext old;
	List	   *still_there = NIL;
	ListCell   *cell;

	read_databases();
	bs_roster_purge(database_exists);
	old = MemoryContextSwitchTo(TopMemoryContext);
	crowded = false;
	foreach(cell, databases)
	{
		Oid			database = lfirst_oid(cell);

		if (!list_member_oid(looked_at, database) && !bs_roster_add(database))
			crowded = true;
		else
			still_there = lappend_oid(still_there, database);
	}
	list_free(looked_at);
	looked_at = still_there;
	MemoryContextSwitchTo(old);
}

/* ----------------------------------------------------------------
 * Workers
 * ----------------------------------------------------------------
 */

/*
 * Starts the worker of a slot.
 */
static void
start_worker(const BsVacancy *vacancy)
{
	static bool warned = false;
	BackgroundWorker worker;

	describe_process(&worker, BS_WORKER_MAIN, "browser_session worker");
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(worker.bgw_name, BGW_MAXLEN,
			 "browser_session worker for database %u", vacancy->database);
	worker.bgw_main_arg = Int32GetDatum(vacancy->slot);
	worker.bgw_notify_pid = MyProcPid;

	bs_roster_set_starting(vacancy->slot, true);
	if (RegisterDynamicBackgroundWorker(&worker, &awaited[vacancy->slot]))
	{
		warned = false;
		return;
	}
	bs_roster_set_starting(vacancy->slot, false);
	if (!warned)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("could not start a browser_session worker: all "
						"background worker slots are in use"),
				 errhint("Increase max_worker_processes.")));
	warned = true;
}

/*
 * Notices workers that ended before they could sign on.
 */
static void
check_awaited(void)
{
	for (int i = 0; i < max_worker_processes; i++)
	{
		pid_t		pid;

		if (awaited[i] == NULL ||
			GetBackgroundWorkerPid(awaited[i], &pid) != BGWH_STOPPED)
			continue;
		pfree(awaited[i]);
		awaited[i] = NULL;
		bs_roster_set_starting(i, false);
	}
}

/*
 * Starts every worker that is to be started now.  Returns when the next one
 * is.
 */
static int64
fill_vacancies(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	BsVacancy	vacancy;
	int64		next;

	check_awaited();
	while (bs_roster_next_vacancy(bs_clock_now(), &vacancy, &next))
		start_worker(&vacancy);
	MemoryContextSwitchTo(old);
	return next;
}

/* ----------------------------------------------------------------
 * The process
 * ----------------------------------------------------------------
 */

/*
 * Where the process begins.
 */
void
browser_session_launcher_main(Datum arg)
{
	int64		survey_at = 0;
	uint32		wait_event;

	(void) arg;
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	wait_event = bs_new_wait_event("BrowserSessionLauncherMain");
	awaited = MemoryContextAllocZero(TopMemoryContext,
									 sizeof(BackgroundWorkerHandle *) *
									 max_worker_processes);
	bs_roster_set_launcher();
	ereport(LOG, (errmsg("browser_session launcher started")));

	while (!ShutdownRequestPending)
	{
		int64		now = bs_clock_now();
		int64		next;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (bs_roster_take_survey() || now >= survey_at)
		{
			survey();
			survey_at = now + (crowded ? CROWDED_PAUSE : SURVEY_PAUSE);
		}
		next = Min(fill_vacancies(), survey_at);
		pgstat_report_activity(STATE_IDLE, "waiting");
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Max(next - bs_clock_now(), 0) / BS_US_PER_MS + 1,
						 wait_event);
		ResetLatch(MyLatch);
	}
	ereport(LOG, (errmsg("browser_session launcher stopped")));
	/* With any other status than 0 PostgreSQL starts it again. */
	proc_exit(1);
}
