/*
 * tracking_attempt.c
 *		Attempts in the audit, and what they mean for tracked sessions.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "catalog/pg_type_d.h"
#include "commands/sequence.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "tracking.h"
#include "tracking_table.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

/* Rows that go into the audit at once. */
#define APPEND_BATCH	64

static BsStatement save = {
	.sql = "INSERT INTO @.bsession_audit (provider, session_id, reason,"
	" provider_status, error, response, actor, application_name, client_addr,"
	" at, outcome, http_status, attempt, elapsed, rolled_back)"
	" SELECT a.provider, a.session_id, a.reason, a.provider_status, a.error,"
	" a.response::jsonb, a.actor::name, a.application, a.client::inet, a.at,"
	" a.outcome, nullif(a.http_status, 0), a.number,"
	" a.elapsed * '1 microsecond'::interval, a.rolled_back"
	" FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
	" $14, $15) AS a(provider, session_id, reason, provider_status, error,"
	" response, actor, application, client, at, outcome, http_status, number,"
	" elapsed, rolled_back)",
	.narguments = 15,
	.type = {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
		TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
		TIMESTAMPTZARRAYOID, TEXTARRAYOID, INT4ARRAYOID, INT4ARRAYOID,
		FLOAT8ARRAYOID, BOOLARRAYOID}
};

/*
 * A row that is being ended by the worker is its own unless it is over.  The
 * order, that of settlement_list.c, is for two calls with the same sessions
 * not to wait for each other.
 */
static BsStatement settle = {
	.sql = "UPDATE @.bsession_tracked t SET"
	" state = r.state,"
	" outcome = r.outcome, last_error = r.error, ended_at = r.ended_at,"
	" next_attempt_at = r.next_attempt_at,"
	" attempts = CASE r.state WHEN 'ended' THEN t.attempts ELSE 0 END,"
	" reason = CASE r.state WHEN 'ended' THEN t.reason ELSE 'call' END,"
	" claimed_by = NULL"
	" FROM (SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)"
	"  AS n(provider, session_id, state, outcome, error, next_attempt_at,"
	"  ended_at) ORDER BY provider COLLATE \"C\","
	"  session_id COLLATE \"C\") AS r"
	" WHERE t.provider = r.provider AND t.session_id = r.session_id"
	" AND t.state <> 'ended'"
	" AND (r.state = 'ended' OR t.claimed_by IS NULL)"
	" AND @.bsession_may_change(t.tracked_by, $8)"
	/* Another role's account may not know a session that is alive. */
	" AND (t.tracked_by = $8 OR r.outcome <> 'already_ended')",
	.narguments = 8,
	.type = {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
		TEXTARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, NAMEOID}
};

static const BsTableShape audit_shape = {
	.ncolumns = 16,
	.type = {INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
		TEXTOID, INT4OID, INT4OID, INTERVALOID, TEXTOID, JSONBOID, NAMEOID,
		TEXTOID, INETOID, BOOLOID},
	.required = {true, true, true, true, true, true, false, false, true,
		false, false, false, true, false, false, true},
	.check = {"bsession_audit_reason_check"}
};

/* How an array of a type that is passed by value or as a float is made. */
static Datum
make_array(Datum *values, bool *nulls, int n, Oid type, int16 length,
		   bool by_value, char align)
{
	int			bounds = 1;

	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &bounds,
											  type, length, by_value, align));
}

/*
 * Returns times as an array, 0 as null.
 */
static Datum
time_array(const TimestampTz *times, int n)
{
	Datum	   *values = palloc(sizeof(Datum) * n);
	bool	   *nulls = palloc(sizeof(bool) * n);

	for (int i = 0; i < n; i++)
	{
		nulls[i] = times[i] == 0;
		values[i] = TimestampTzGetDatum(times[i]);
	}
	return make_array(values, nulls, n, TIMESTAMPTZOID, 8,
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}

/*
 * Returns numbers as an array.
 */
Datum
bs_int_array(const int *numbers, int n)
{
	Datum	   *values = palloc(sizeof(Datum) * n);

	for (int i = 0; i < n; i++)
		values[i] = Int32GetDatum(numbers[i]);
	return make_array(values, NULL, n, INT4OID, 4, true, TYPALIGN_INT);
}

/*
 * Fills in the arguments from the tenth on: what is no text of an attempt.
 */
static void
set_figures(Datum *arguments, const BsAttempt *attempts, int n)
{
	TimestampTz *at = palloc(sizeof(TimestampTz) * n);
	const char **outcome = palloc(sizeof(char *) * n);
	int		   *http_status = palloc(sizeof(int) * n);
	int		   *number = palloc(sizeof(int) * n);
	Datum	   *elapsed = palloc(sizeof(Datum) * n);
	bool	   *not_measured = palloc(sizeof(bool) * n);
	Datum	   *rolled_back = palloc(sizeof(Datum) * n);

	for (int i = 0; i < n; i++)
	{
		at[i] = attempts[i].at;
		outcome[i] = bs_outcome_name(attempts[i].outcome);
		http_status[i] = attempts[i].http_status;
		number[i] = attempts[i].number;
		elapsed[i] = Float8GetDatum((double) attempts[i].elapsed);
		not_measured[i] = attempts[i].elapsed < 0;
		rolled_back[i] = BoolGetDatum(attempts[i].rolled_back);
	}
	arguments[0] = time_array(at, n);
	arguments[1] = bs_text_array(outcome, n);
	arguments[2] = bs_int_array(http_status, n);
	arguments[3] = bs_int_array(number, n);
	arguments[4] = make_array(elapsed, not_measured, n, FLOAT8OID, 8,
							  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	arguments[5] = make_array(rolled_back, NULL, n, BOOLOID, 1, true,
							  TYPALIGN_CHAR);
}

/*
 * Fills in a text, or what is made of it by an input function.
 */
static void
set_text(TupleTableSlot *row, int column, const char *text,
		 PGFunction input)
{
	row->tts_isnull[column] = text == NULL;
	if (text == NULL)
		return;
	row->tts_values[column] = input == NULL ? CStringGetTextDatum(text) :
		DirectFunctionCall1(input, CStringGetDatum(text));
}

/*
 * Fills in a row of the audit, in the current memory context.
 */
static void
fill_row(TupleTableSlot *row, int64 number, const BsAttempt *attempt)
{
	const char *const *text = attempt->text;
	Interval   *elapsed = palloc0(sizeof(Interval));

	ExecClearTuple(row);
	memset(row->tts_isnull, 0, sizeof(bool) * audit_shape.ncolumns);
	elapsed->time = attempt->elapsed;
	row->tts_values[0] = Int64GetDatum(number);
	row->tts_values[1] = TimestampTzGetDatum(attempt->at);
	set_text(row, 2, text[BS_ATTEMPT_PROVIDER], NULL);
	set_text(row, 3, text[BS_ATTEMPT_SESSION_ID], NULL);
	set_text(row, 4, text[BS_ATTEMPT_REASON], NULL);
	set_text(row, 5, bs_outcome_name(attempt->outcome), NULL);
	set_text(row, 6, text[BS_ATTEMPT_PROVIDER_STATUS], NULL);
	row->tts_values[7] = Int32GetDatum(attempt->http_status);
	row->tts_isnull[7] = attempt->http_status == 0;
	row->tts_values[8] = Int32GetDatum(attempt->number);
	row->tts_values[9] = IntervalPGetDatum(elapsed);
	row->tts_isnull[9] = attempt->elapsed < 0;
	set_text(row, 10, text[BS_ATTEMPT_ERROR], NULL);
	set_text(row, 11, text[BS_ATTEMPT_RESPONSE], jsonb_in);
	set_text(row, 12, text[BS_ATTEMPT_ACTOR], namein);
	set_text(row, 13, text[BS_ATTEMPT_APPLICATION], NULL);
	set_text(row, 14, text[BS_ATTEMPT_CLIENT_ADDR], inet_in);
	row->tts_values[15] = BoolGetDatum(attempt->rolled_back);
	ExecStoreVirtualTuple(row);
}

/*
 * Writes attempts into the audit without a statement.  Returns false if the
 * table is not as the extension made it.
 */
static bool
append(const BsScope *scope, const BsAttempt *attempts, int n)
{
	TupleTableSlot *rows[APPEND_BATCH];
	int			nrows = Min(n, APPEND_BATCH);
	MemoryContext context;
	MemoryContext old;
	BsTable		audit;

	if (!bs_table_open(&audit, scope->extension.audit, &audit_shape))
		return false;
	for (int i = 0; i < nrows; i++)
		rows[i] = table_slot_create(audit.relation, NULL);
	context = AllocSetContextCreate(CurrentMemoryContext,
									"browser_session rows",
									ALLOCSET_DEFAULT_SIZES);
	while (n > 0)
	{
		int			some = Min(n, nrows);

		old = MemoryContextSwitchTo(context);
		for (int i = 0; i < some; i++)
			fill_row(rows[i], nextval_internal(scope->extension.numbers,
											   false), &attempts[i]);
		bs_table_insert(&audit, rows, some);
		MemoryContextSwitchTo(old);
		for (int i = 0; i < some; i++)
			ExecClearTuple(rows[i]);
		MemoryContextReset(context);
		attempts += some;
		n -= some;
	}
	for (int i = 0; i < nrows; i++)
		ExecDropSingleTupleTableSlot(rows[i]);
	MemoryContextDelete(context);
	bs_table_close(&audit);
	return true;
}

/*
 * The same with a statement.
 */
static void
insert(const BsAttempt *attempts, int n)
{
	BsScope		scope;
	Datum		arguments[15];
	const char **texts;

	bs_statement_begin(&scope);
	texts = palloc(sizeof(char *) * n);
	for (int column = 0; column < BS_ATTEMPT_NTEXTS; column++)
	{
		for (int i = 0; i < n; i++)
			texts[i] = attempts[i].text[column];
		arguments[column] = bs_text_array(texts, n);
	}
	set_figures(arguments + BS_ATTEMPT_NTEXTS, attempts, n);
	(void) bs_statement_run(&scope, &save, arguments, NULL);
	bs_statement_end(&scope);
}

/*
 * Writes attempts into the audit.
 */
void
bs_tracking_save_attempts(const BsAttempt *attempts, int n)
{
	BsScope		scope;
	bool		done;

	if (n == 0)
		return;
	bs_scope_begin(&scope);
	bs_statement_guard(scope.extension.audit);
	done = append(&scope, attempts, n);
	bs_scope_end(&scope);
	if (!done)
		insert(attempts, n);
}

/*
 * Fills in the arguments that a statement about settlements begins with:
 * provider, session_id, state, outcome, error, next_attempt_at, ended_at.
 */
void
bs_settlement_arguments(Datum *arguments, const BsSettlement *settlements,
						int n)
{
	const char **text = palloc(sizeof(char *) * n * 5);
	TimestampTz *time = palloc(sizeof(TimestampTz) * n * 2);

	for (int i = 0; i < n; i++)
	{
		text[i] = settlements[i].provider;
		text[n + i] = settlements[i].session_id;
		text[2 * n + i] = settlements[i].state;
		text[3 * n + i] = settlements[i].outcome;
		text[4 * n + i] = settlements[i].error;
		time[i] = settlements[i].next_attempt_at;
		time[n + i] = settlements[i].ended_at;
	}
	for (int i = 0; i < 5; i++)
		arguments[i] = bs_text_array(text + i * n, n);
	arguments[5] = time_array(time, n);
	arguments[6] = time_array(time + n, n);
}

/*
 * Has the tracked rows, if there are any, reflect what direct calls of the
 * current role did.  Returns whether there were.  Rows that are not this
 * role's to change stay as they are: it may have another credential.
 */
bool
bs_tracking_settle(const BsSettlement *settlements, int n)
{
	BsSettlement *tracked = palloc_extended(sizeof(BsSettlement) * (n + 1),
											MCXT_ALLOC_HUGE);
	BsExtension extension;
	BsScope		scope;
	Datum		arguments[8];
	bool		any;

	bs_extension_get(&extension);
	n = bs_table_pick(extension.tracked, settlements, n, tracked);
	if (n == 0)
		return false;
	bs_statement_begin(&scope);
	bs_settlement_arguments(arguments, tracked, n);
	arguments[7] = bs_role_name(scope.role);
	any = bs_statement_run(&scope, &settle, arguments, NULL) > 0;
	bs_statement_end(&scope);
	return any;
}
