/*
 * functions_show.c
 *		What SQL calls to see what there is: the catalogue of providers, the
 *		worker, the counters.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "compat.h"
#include "fmgr.h"
#include "funcapi.h"
#include "provider.h"
#include "roster.h"
#include "settings.h"
#include "stats.h"
#include "tracking.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(bsession_providers);
PG_FUNCTION_INFO_V1(bsession_worker_state);
PG_FUNCTION_INFO_V1(bsession_due_now);
PG_FUNCTION_INFO_V1(bsession_server_counters);

#define WORKER_COLUMNS		8
#define COUNTER_COLUMNS		17

/*
 * bsession_providers() - the built-in providers, a row each
 */
Datum
bsession_providers(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const BsProvider *provider;

	bs_init_rows(fcinfo);
	if (rsinfo->setDesc->natts != BS_NFIELDS + 2)
		elog(ERROR, "unexpected row type of bsession_providers()");
	for (int i = 0; (provider = bs_provider_at(i)) != NULL; i++)
	{
		Datum		values[BS_NFIELDS + 2];
		bool		nulls[BS_NFIELDS + 2] = {false};

		values[0] = CStringGetTextDatum(provider->name);
		for (int field = 0; field < BS_NFIELDS; field++)
		{
			nulls[field + 1] = provider->field[field] == NULL;
			if (provider->field[field] != NULL)
				values[field + 1] =
					CStringGetTextDatum(provider->field[field]);
		}
		values[BS_NFIELDS + 1] = CStringGetTextDatum(provider->document);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
							 nulls);
	}
	PG_RETURN_NULL();
}

/*
 * Returns what the worker does, or why there is none.
 */
static const char *
worker_state(const BsWorkerReport *report)
{
	if (!report->preloaded)
		return "not preloaded: add browser_session to "
			"shared_preload_libraries and restart PostgreSQL";
	if (report->pid == 0)
		return "not running";
	return report->state;
}

/*
 * bsession_worker_state() - what this database's worker says of itself
 */
Datum
bsession_worker_state(PG_FUNCTION_ARGS)
{
	TupleDesc	type;
	BsWorkerReport report;
	Datum		values[WORKER_COLUMNS] = {0};
	bool		nulls[WORKER_COLUMNS] = {false};
	bool		running;

	if (get_call_result_type(fcinfo, NULL, &type) != TYPEFUNC_COMPOSITE ||
		type->natts != WORKER_COLUMNS)
		elog(ERROR, "unexpected row type of bsession_worker_state()");
	bs_roster_report(&report);
	running = report.pid != 0;
	values[0] = BoolGetDatum(running);
	values[1] = Int32GetDatum(report.pid);
	values[2] = TimestampTzGetDatum(report.started_at);
	values[3] = CStringGetTextDatum(worker_state(&report));
	values[4] = Int32GetDatum(report.in_flight);
	values[5] = TimestampTzGetDatum(report.next_due);
	values[6] = CStringGetTextDatum(report.last_error);
	values[7] = TimestampTzGetDatum(report.last_error_at);
	nulls[1] = nulls[2] = !running;
	nulls[5] = !running || TIMESTAMP_NOT_FINITE(report.next_due);
	nulls[6] = nulls[7] = report.last_error[0] == '\0';
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(type),
													  values, nulls)));
}

/*
 * bsession_due_now() - how many sessions are to be ended this moment
 */
Datum
bsession_due_now(PG_FUNCTION_ARGS)
{
	int64		due = bs_tracking_due_now();

	if (due < 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(due);
}

/*
 * Fills in the row of a server.
 */
static void
form_counters(const BsCounters *counters, Datum *values, bool *nulls)
{
	int64		attempts = 0;
	int			column = 3;

	for (int i = 0; i < BS_NOUTCOMES; i++)
	{
		attempts += counters->outcome[i];
		values[column++] = Int64GetDatum(counters->outcome[i]);
	}
	values[0] = CStringGetTextDatum(NameStr(counters->server));
	values[1] = Int64GetDatum(attempts);
	values[2] = Int64GetDatum(counters->retries);
	nulls[column] = nulls[column + 1] = counters->measured == 0;
	if (counters->measured > 0)
	{
		Interval   *mean = palloc0(sizeof(Interval));
		Interval   *longest = palloc0(sizeof(Interval));

		mean->time = counters->latency_sum / counters->measured;
		longest->time = counters->latency_max;
		values[column] = IntervalPGetDatum(mean);
		values[column + 1] = IntervalPGetDatum(longest);
	}
	values[column + 2] = TimestampTzGetDatum(counters->last_attempt_at);
}

/*
 * bsession_server_counters() - what servers have been asked, a row each
 */
Datum
bsession_server_counters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	BsCounters *counters;
	int			n;

	bs_init_rows(fcinfo);
	if (rsinfo->setDesc->natts != COUNTER_COLUMNS)
		elog(ERROR, "unexpected row type of bsession_server_counters()");
	counters = bs_stats_read(&n);
	for (int i = 0; i < n; i++)
	{
		Datum		values[COUNTER_COLUMNS] = {0};
		bool		nulls[COUNTER_COLUMNS] = {false};

		form_counters(&counters[i], values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
							 nulls);
	}
	PG_RETURN_NULL();
}
