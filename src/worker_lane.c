/*
 * worker_lane.c
 *		How much the worker may send, and to whom.
 *
 * What can be held up, or fail, for a reason of its own is a lane: the
 * sessions of one role at one server, which have one credential.  Limits, the
 * rate and one breaker are the server's, for all its lanes; a second breaker
 * is the lane's own, for a credential that is not accepted.  So one dead
 * provider does not take slots from the others, nor one wrong key from the
 * other roles at the same provider.
 */
#include "postgres.h"

#include "clock.h"
#include "http.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "worker_lane.h"

/* Sessions are claimed as far ahead of their turn under max_rate, in µs. */
#define RATE_HORIZON	BS_US_PER_S

/* Longest pause after a 429 that does not ask for one, in µs. */
#define RATE_PAUSE_MAX	(60 * BS_US_PER_S)

/* Pause before what others have locked is tried again, in µs; it doubles. */
#define LOCK_PAUSE		(20 * BS_US_PER_MS)
#define LOCK_PAUSE_MAX	BS_US_PER_S

static HTAB *servers;			/* name -> WorkerServer */
static HTAB *lanes;				/* key -> WorkerLane */

/*
 * Returns the pause before what others have locked, for so many times in a
 * row, is tried again, in µs.
 */
int64
bs_lock_pause(int misses)
{
	return Min(LOCK_PAUSE << Min(misses, 10), LOCK_PAUSE_MAX);
}

/*
 * Makes ready, once per process.
 */
void
bs_lanes_begin(void)
{
	HASHCTL		server_control = {
		.keysize = sizeof(NameData),
		.entrysize = sizeof(WorkerServer),
		.hcxt = TopMemoryContext
	};
	HASHCTL		lane_control = {
		.keysize = sizeof(WorkerLaneKey),
		.entrysize = sizeof(WorkerLane),
		.hcxt = TopMemoryContext
	};

	servers = hash_create("browser_session servers", 16, &server_control,
						  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	lanes = hash_create("browser_session lanes", 16, &lane_control,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/*
 * Returns a lane, which stays where it is.
 */
WorkerLane *
bs_lanes_get(const char *server, const char *role)
{
	WorkerLaneKey key;
	WorkerLane *lane;
	WorkerServer *of;
	bool		found;

	memset(&key, 0, sizeof(key));
	namestrcpy(&key.server, server);
	namestrcpy(&key.role, role);
	lane = hash_search(lanes, &key, HASH_FIND, NULL);
	if (lane != NULL)
		return lane;
	/* First, for there may be no memory for the lane then. */
	of = hash_search(servers, &key.server, HASH_ENTER, &found);
	if (!found)
		memset((char *) of + sizeof(NameData), 0,
			   sizeof(*of) - sizeof(NameData));
	lane = hash_search(lanes, &key, HASH_ENTER, &found);
	memset((char *) lane + sizeof(key), 0, sizeof(*lane) - sizeof(key));
	lane->server = of;
	lane->resume = DT_NOBEGIN;
	return lane;
}

/*
 * Returns how many sessions may be claimed now under max_rate, so that each
 * has its turn before its lease lapses; or 0, and sets *next.  "queued" have
 * been claimed already and wait for theirs.
 */
static int
rate_allowance(const BsAccount *account, int queued, int most, int64 now,
			   int64 *next)
{
	int64		first = Max(account->pace->next_send, now);

	if (account->send_interval == 0)
		return most;
	first += queued * account->send_interval;
	if (first > now + RATE_HORIZON)
	{
		*next = first - RATE_HORIZON;
		return 0;
	}
	return (int) Min(most, (now + RATE_HORIZON - first) /
					 account->send_interval + 1);
}

/*
 * Returns how many sessions of a lane may be claimed now, "in_flight" being
 * those of all lanes.  If none, sets *next to when it may be otherwise:
 * BS_NEVER if not before an exchange is over.
 */
int
bs_lanes_allowance(WorkerLane *lane, const BsAccount *account,
				   int in_flight, int64 now, int64 *next)
{
	WorkerServer *server = lane->server;
	int			limit = bs_account_limit(account, server->known);
	int			others = in_flight - server->in_flight;

	*next = bs_lanes_next(lane, now);
	if (*next > now)
		return 0;
	*next = BS_NEVER;
	/* No server has more than half of what the others leave: more may come. */
	limit = Min(limit, (bs_http_capacity() - others + 1) / 2);
	limit -= server->in_flight;
	if (limit <= 0)
		return 0;
	limit = bs_breaker_allows(&server->breaker, limit, now);
	limit = bs_breaker_allows(&lane->breaker, limit, now);
	return rate_allowance(account, account->pace->queued + server->claimed,
						  limit, now, next);
}

/*
 * Returns when the lane may be looked at, regardless of how much is under
 * way.
 */
int64
bs_lanes_next(const WorkerLane *lane, int64 now)
{
	int64		next = Max(lane->blocked_until, lane->server->not_before);

	next = Max(next, bs_breaker_next(&lane->breaker));
	next = Max(next, bs_breaker_next(&lane->server->breaker));
	return Max(next, now);
}

/*
 * Notes that a session is going to be ended.
 */
void
bs_lanes_note_sent(WorkerLane *lane)
{
	lane->server->in_flight++;
	lane->server->claimed++;
	bs_breaker_note_sent(&lane->breaker);
	bs_breaker_note_sent(&lane->server->breaker);
}

/*
 * Notes that its exchange begins.
 */
void
bs_lanes_note_begun(WorkerLane *lane)
{
	lane->server->claimed--;
}

/*
 * Notes that, after all, it is not being ended; "begun" says whether its
 * exchange has.
 */
void
bs_lanes_take_back(WorkerLane *lane, bool begun)
{
	if (!begun)
		lane->server->claimed--;
	lane->server->in_flight--;
	lane->breaker.probing = false;
	lane->server->breaker.probing = false;
}

static void
report_server(const WorkerLane *lane, BsBreakerEvent event,
			  const char *error)
{
	if (event == BS_BREAKER_OPENED)
		ereport(LOG,
				(errmsg("server \"%s\" does not answer, it is only probed "
						"from now on",
						NameStr(lane->key.server)),
				 errdetail("%s", error != NULL ? error : "")));
	else if (event == BS_BREAKER_CLOSED)
		ereport(LOG,
				(errmsg("server \"%s\" answers again",
						NameStr(lane->key.server))));
}

static void
report_lane(const WorkerLane *lane, BsBreakerEvent event, const char *error)
{
	if (event == BS_BREAKER_OPENED)
		ereport(LOG,
				(errmsg("server \"%s\" does not accept the credential of role "
						"\"%s\", it is only probed from now on",
						NameStr(lane->key.server), NameStr(lane->key.role)),
				 errdetail("%s", error != NULL ? error : "")));
	else if (event == BS_BREAKER_CLOSED)
		ereport(LOG,
				(errmsg("server \"%s\" accepts the credential of role \"%s\" "
						"again",
						NameStr(lane->key.server), NameStr(lane->key.role))));
}

/*
 * Notes what became of a session whose end was sent; "pause" is how long it
 * is left alone, in µs.
 */
void
bs_lanes_note_result(WorkerLane *lane, const BsResult *result, int64 pause)
{
	WorkerServer *server = lane->server;
	int64		now = bs_clock_now();

	server->in_flight--;
	switch (result->outcome)
	{
		case BS_UNREACHABLE:
		case BS_TIMED_OUT:
		case BS_UNAVAILABLE:
			lane->breaker.probing = false;
			report_server(lane, bs_breaker_note(&server->breaker, false, now),
						  result->error);
			break;
		case BS_BAD_REPLY:
		case BS_UNKNOWN:
			/* No reason to open a breaker, and none to close it. */
			if (server->breaker.open)
				(void) bs_breaker_note(&server->breaker, false, now);
			if (lane->breaker.open)
				(void) bs_breaker_note(&lane->breaker, false, now);
			break;
		default:
			server->known = true;
			report_server(lane, bs_breaker_note(&server->breaker, true, now),
						  NULL);
			report_lane(lane,
						bs_breaker_note(&lane->breaker,
										result->outcome != BS_DENIED, now),
						result->error);
			break;
	}
	if (result->retry_after > 0)
		server->not_before = Max(server->not_before,
								 now + result->retry_after);
	else if (result->outcome == BS_RATE_LIMITED)
		server->not_before = Max(server->not_before,
								 now + Min(pause, RATE_PAUSE_MAX));
}
