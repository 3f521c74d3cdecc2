/*
 * worker.c
 *		The background worker of a database: ends tracked sessions once they
 *		are due.
 *
 * It sleeps until the next session is due, and is woken at commit by whoever
 * adds an earlier one.  With nothing due it runs no statement but those of the
 * retention.  What it does when it is awake are steps (worker_step.c) and,
 * between them, carrying the exchanges on.
 *
 * Asked to go, it gives back what is under way and goes at once.  If it
 * crashes, what it had claimed is found by the next one.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "clock.h"
#include "commands/dbcommands.h"
#include "compat.h"
#include "encoding.h"
#include "extension.h"
#include "http.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "roster.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "tracking.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker.h"
#include "worker_job.h"
#include "worker_step.h"

/* The clock can be set: a sleep is cut into pieces of at most so many µs. */
#define LONGEST_SLEEP	(10 * BS_US_PER_S)

/* Before a sleep that long what is kept for more work is given back, in µs. */
#define REST_AFTER		BS_US_PER_S

/* Exchanges that are left to one step to record. */
#define TAKE_BATCH		512

static volatile sig_atomic_t stop_requested = false;
static volatile sig_atomic_t connected = false;
static volatile sig_atomic_t stepping = false;	/* a step is being made */
static volatile sig_atomic_t carrying = false;	/* exchanges are carried on */

static uint32 wait_event;
static char database_name[NAMEDATALEN]; /* when the worker started */

/*
 * Breaks off a step that waits for something; lock_timeout comes this way.
 */
static void
handle_cancel(SIGNAL_ARGS)
{
	int			save_errno = errno;

	(void) postgres_signal_arg;
	if (stepping)
		InterruptPending = QueryCancelPending = true;
	SetLatch(MyLatch);
	errno = save_errno;
}

/*
 * Asks the worker to go.  A step that waits for something is broken off, and
 * so are exchanges, of which a large answer can take long to be read.
 */
static void
handle_stop(SIGNAL_ARGS)
{
	if (!connected)
		die(postgres_signal_arg);
	stop_requested = true;
	if (carrying)
		InterruptPending = QueryCancelPending = true;
	handle_cancel(postgres_signal_arg);
}

static void
leave_roster_cb(int code, Datum arg)
{
	(void) code;
	(void) arg;
	bs_roster_leave();
}

/*
 * Sets what the worker relies on, whatever the database's settings are.
 */
static void
set_own_settings(void)
{
	const char *const settings[][2] = {
		{"application_name", "browser_session worker"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_isolation", "read committed"},
		{"statement_timeout", "0"},
		BS_NO_TRANSACTION_TIMEOUT
		{"idle_in_transaction_session_timeout", "0"},
		{"lock_timeout", "1s"},
		{"jit", "off"},
	};

	for (int i = 0; i < (int) lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_USERSET,
						PGC_S_OVERRIDE);
	bs_tracking_set_for_good();
}

/*
 * Looks whether the database has the extension.
 */
static bool
look_for_extension(void)
{
	bool		found;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	found = bs_extension_exists();
	if (found)
	{
		bs_encoding_prepare();
		strlcpy(database_name, get_database_name(MyDatabaseId), NAMEDATALEN);
		ereport(LOG,
				(errmsg("browser_session worker for database \"%s\" started",
						database_name)));
	}
	CommitTransactionCommand();
	pgstat_report_stat(true);
	return found;
}

/*
 * Connects this process to its database.  Does not return if it is not wanted
 * there.
 */
static void
start(int slot)
{
	Oid			database;

	pqsignal(SIGTERM, handle_stop);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, handle_cancel);
	BackgroundWorkerUnblockSignals();
	if (!bs_roster_sign_on(slot, &database))
		proc_exit(0);
	/* Called when this process has left the database. */
	on_shmem_exit(leave_roster_cb, (Datum) 0);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	set_own_settings();
	wait_event = bs_new_wait_event("BrowserSessionWorkerMain");
	bs_http_dedicate();
	bs_step_begin();
	if (!look_for_extension())
	{
		bs_roster_sign_off(false);
		proc_exit(0);
	}
	connected = true;
}

/*
 * Shows in pg_stat_activity and bsession_worker what the worker does.
 */
static void
show(const WorkerOutlook *outlook)
{
	char		activity[128];
	int			in_flight = bs_jobs_in_flight();

	bs_roster_show(outlook->state, in_flight, outlook->next_due);
	if (in_flight > 0)
		snprintf(activity, sizeof(activity), "%s: %d in flight",
				 outlook->state, in_flight);
	else
		strlcpy(activity, outlook->state, sizeof(activity));
	pgstat_report_activity(in_flight > 0 ? STATE_RUNNING : STATE_IDLE,
						   activity);
}

/*
 * Waits until something happens: an exchange is over, the latch is set, or
 * it is time for the next step.
 */
static void
wait_for_work(const WorkerOutlook *outlook)
{
	int64		now = bs_clock_now();
	int64		until = Min(outlook->next, now + LONGEST_SLEEP);

	if (bs_jobs_in_flight() > 0)
	{
		(void) bs_exchange_pump(until);
		return;
	}
	if (until <= now)
		return;
	if (until - now > REST_AFTER)
	{
		bs_exchange_rest();
		bs_jobs_rest();
	}
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 (until - now + BS_US_PER_MS - 1) / BS_US_PER_MS,
					 wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Takes the exchanges that are over, and those that come to be meanwhile: the
 * more of them one step records, the less each of them costs.  Returns whether
 * there are any.
 */
static bool
take_finished(void)
{
	BsExchange *exchange;
	int			n = 0;
	int			before;

	do
	{
		before = n;
		while ((exchange = bs_exchange_next()) != NULL)
		{
			bs_step_take(exchange);
			n++;
		}
		if (n > before && n < TAKE_BATCH && bs_jobs_in_flight() > 0)
			(void) bs_exchange_pump(0);
	} while (n > before && n < TAKE_BATCH);
	return n > 0;
}

/*
 * Is it time for a step?  "reason" says that something has happened.  The
 * clock on the wall, by which sessions expire, can have been set.
 */
static bool
is_time(const WorkerOutlook *outlook, bool reason)
{
	if (outlook->next <= bs_clock_now())
		return true;
	return !outlook->failed &&
		(reason || outlook->next_due <= GetCurrentTimestamp());
}

/*
 * Goes round once: waits, then makes a step if there is reason to.
 */
static WorkerVerdict
go_round(WorkerOutlook *outlook)
{
	WorkerVerdict verdict;
	TimestampTz added;
	bool		over;

	carrying = true;
	if (!stop_requested)
		wait_for_work(outlook);
	over = take_finished();
	carrying = false;
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		set_own_settings();
		outlook->look = true;
		outlook->next = 0;
	}
	outlook->look |= bs_roster_take_wake(&added);
	outlook->look |= bs_step_note_clock();
	if (added != DT_NOEND)
	{
		bs_outlook_add(outlook, added);
		show(outlook);
	}
	if (stop_requested || !is_time(outlook, outlook->look || over))
		return WORKER_CARRY_ON;
	stepping = true;
	verdict = bs_step_run(outlook->look, outlook);
	stepping = false;
	/* What came too late for the step is not for the exchanges. */
	QueryCancelPending = false;
	show(outlook);
	return verdict;
}

/*
 * Cleans up after an error, and reports it unless it is our own breaking off.
 */
static void
recover(MemoryContext context, WorkerOutlook *outlook)
{
	ErrorData  *error;
	bool		in_step = stepping;

	stepping = carrying = false;
	HOLD_INTERRUPTS();
	/* Nor is what came while the error did. */
	QueryCancelPending = false;
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	if (!stop_requested)
	{
		EmitErrorReport();
		bs_roster_show_error(error->message);
	}
	AbortCurrentTransaction();
	FlushErrorState();
	FreeErrorData(error);
	MemoryContextSwitchTo(context);
	/* If it is to stop, bs_step_stop() does that, and says why. */
	if (!in_step && !stop_requested)
		bs_step_break_off("the background worker had to start anew");
	bs_step_fail(outlook);
	show(outlook);
	RESUME_INTERRUPTS();
}

/*
 * Goes round until asked to stop or not needed any more, which it returns.
 */
static bool
run(void)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "browser_session round",
												  ALLOCSET_DEFAULT_SIZES);
	WorkerOutlook outlook = {
		.state = "starting", .added = DT_NOEND, .look = true
	};
	volatile WorkerVerdict verdict = WORKER_CARRY_ON;

	while (!stop_requested && verdict == WORKER_CARRY_ON)
	{
		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		PG_TRY();
		{
			verdict = go_round(&outlook);
		}
		PG_CATCH();
		{
			recover(context, &outlook);
		}
		PG_END_TRY();
	}
	return verdict == WORKER_NOT_NEEDED;
}

/*
 * Where the process begins: the argument is its slot in the roster.
 */
void
browser_session_worker_main(Datum slot)
{
	bool		not_needed;

	start(DatumGetInt32(slot));
	not_needed = run();
	QueryCancelPending = false;
	if (not_needed)
		bs_exchange_abort();
	else
		bs_step_stop();
	ereport(LOG,
			(errmsg("browser_session worker for database \"%s\" stopped",
					database_name)));
	bs_roster_sign_off(!not_needed);
	proc_exit(0);
}
