/*
 * settlement.c
 *		What a tracked session's row is to say after an attempt: over, to be
 *		tried again and when, or given up.
 */
#include "postgres.h"

#include "clock.h"
#include "common/pg_prng.h"
#include "encoding.h"
#include "http.h"
#include "roster.h"
#include "settings.h"
#include "settlement.h"
#include "utils/timestamp.h"

/* A back-off is shortened by up to that, so that rows do not go in step. */
#define JITTER		0.25

/*
 * Returns the pause after a failed attempt, in µs: what the provider asks
 * for, or else a back-off that doubles with each attempt.
 */
static int64
pause_after(int attempt, int64 retry_after)
{
	int64		longest = browser_session_max_retry_delay * BS_US_PER_MS;
	int64		pause = browser_session_retry_delay * BS_US_PER_MS;

	if (retry_after >= 0)
		return retry_after;
	/* Twenty doublings are more than any two settings are apart. */
	pause <<= Min(Max(attempt - 1, 0), 20);
	pause = Min(pause, longest);
	return pause - (int64) (pause * JITTER *
							pg_prng_double(&pg_global_prng_state));
}

/*
 * Returns the longest pause that there can be, in µs.
 */
int64
bs_settlement_longest_pause(void)
{
	return Max(browser_session_max_retry_delay * BS_US_PER_MS,
			   BS_HTTP_MAX_PAUSE);
}

static void
try_again(BsSettlement *settlement, int64 retry_after)
{
	if (settlement->attempt >= browser_session_max_attempts)
	{
		settlement->state = BS_STATE_FAILED;
		return;
	}
	settlement->state = BS_STATE_ENDING;
	settlement->next_attempt_at = GetCurrentTimestamp() +
		pause_after(settlement->attempt, retry_after);
}

static void
set_result(BsSettlement *settlement, const BsResult *result)
{
	settlement->outcome = bs_outcome_name(result->outcome);
	settlement->error = result->error == NULL ? NULL :
		bs_encoding_from_utf8(result->error);
	if (bs_outcome_done(result->outcome))
	{
		settlement->state = BS_STATE_ENDED;
		settlement->ended_at = result->ended_at - BS_EPOCH_OFFSET;
	}
}

/*
 * Settles, in the current memory context, what a direct call did: if the
 * session is not over, it is the worker's at once.
 */
void
bs_settlement_of_call(const char *server, const BsExchange *exchange,
					  BsSettlement *settlement)
{
	memset(settlement, 0, sizeof(*settlement));
	settlement->provider = server;
	settlement->session_id =
		bs_encoding_from_utf8(bs_exchange_id(exchange));
	set_result(settlement, bs_exchange_result(exchange));
	if (settlement->state == NULL)
	{
		settlement->state = BS_STATE_ENDING;
		settlement->next_attempt_at = GetCurrentTimestamp() +
			Max(bs_exchange_result(exchange)->retry_after, 0);
	}
}

static void
begin_claim(BsSettlement *settlement, const BsClaim *claim)
{
	memset(settlement, 0, sizeof(*settlement));
	settlement->provider = claim->provider;
	settlement->session_id = claim->session_id;
	settlement->attempt = claim->attempt;
	settlement->row = claim->row;
}

/*
 * Settles a claim, in the current memory context and with texts of the
 * claim's.
 */
void
bs_settlement_of_claim(const BsClaim *claim, const BsResult *result,
					   BsSettlement *settlement)
{
	begin_claim(settlement, claim);
	set_result(settlement, result);
	if (settlement->state == NULL)
		try_again(settlement, result->retry_after);
}

/*
 * Settles a claim of which nothing could be sent.
 */
void
bs_settlement_of_failure(const BsClaim *claim, const char *error,
						 BsSettlement *settlement)
{
	begin_claim(settlement, claim);
	settlement->error = error;
	try_again(settlement, -1);
}

/*
 * Has tracked rows reflect what direct calls did.  What is not over is left to
 * the worker.
 */
void
bs_settlement_record(const BsSettlement *settlements, int n)
{
	if (!bs_tracking_settle(settlements, n))
		return;
	for (int i = 0; i < n; i++)
		if (settlements[i].next_attempt_at != 0)
			bs_roster_wake_at_commit(settlements[i].next_attempt_at);
}
