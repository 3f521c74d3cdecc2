/*
 * reply.c
 *		Judging a provider's reply: what became of the session.
 *
 * The rule behind every doubtful case: a session that is said to be over must
 * have been shown to be over.  A wrong "ended" is a leak that nobody sees; a
 * wrong "bad_reply" is a row that somebody looks at.  Hence a 404 counts only
 * if it speaks of the session and not of the path, an HTML page never counts,
 * and a status word that is not in the provider's document proves nothing
 * where that document lists the words (status_required).  Where it lists none,
 * as Anchor's, the 2xx itself is the provider's word that the session is over,
 * unless it shows a word for a live one.
 *
 * Needs no server: it is built into the fuzz targets as well.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "answer.h"
#include "json.h"
#include "reply.h"

static const struct
{
	const char *name;
	bool		done;
}			outcomes[] = {
	[BS_ENDED] = {"ended", true},
	[BS_ALREADY_ENDED] = {"already_ended", true},
	[BS_REQUESTED] = {"requested", false},
	[BS_DENIED] = {"denied", false},
	[BS_REJECTED] = {"rejected", false},
	[BS_RATE_LIMITED] = {"rate_limited", false},
	[BS_UNAVAILABLE] = {"unavailable", false},
	[BS_TIMED_OUT] = {"timed_out", false},
	[BS_UNREACHABLE] = {"unreachable", false},
	[BS_BAD_REPLY] = {"bad_reply", false},
	[BS_UNKNOWN] = {"unknown", false},
};

/*
 * Returns the word for an outcome, as SQL shows it.
 */
const char *
bs_outcome_name(BsOutcome outcome)
{
	return outcomes[outcome].name;
}

/*
 * Is the session known to be over?
 */
bool
bs_outcome_done(BsOutcome outcome)
{
	return outcomes[outcome].done;
}

/* ----------------------------------------------------------------
 * Judging
 * ----------------------------------------------------------------
 */

/*
 * Sets the error: the status, our reason and the provider's own words.
 */
static void
set_error(const BsAnswer *answer, BsJudgement *judgement,
		  const char *reason)
{
	judgement->error = psprintf("provider answered %d%s%s%s",
								answer->http->status, reason,
								answer->message != NULL ? ": " : "",
								answer->message != NULL ? answer->message :
								"");
}

static void
judge_as(const BsAnswer *answer, BsJudgement *judgement,
		 BsOutcome outcome, const char *reason)
{
	judgement->outcome = outcome;
	set_error(answer, judgement, reason);
}

/*
 * Does the descriptor list the words for a session that is over?  If not,
 * every word counts that is not one for a live session.
 */
static bool
lists_the_words(const BsService *service)
{
	return service->field[BS_ENDED_STATUS] != NULL ||
		service->field[BS_TERMINAL_STATUS] != NULL;
}

/*
 * A 2xx that does not show that the session is over.  A word that is not
 * known may be followed by one that is, if the session can be read again.
 */
static void
judge_unproven(const BsService *service, const BsAnswer *answer,
			   BsJudgement *judgement)
{
	bool		live = bs_list_has(service->field[BS_LIVE_STATUS],
								   answer->status);

	if (live || service->field[BS_CONFIRM_PATH] != NULL)
	{
		judgement->outcome = BS_REQUESTED;
		judgement->next = BS_NEXT_CONFIRM;
	}
	else
		judgement->outcome = BS_BAD_REPLY;
	judgement->error = psprintf("provider reports \"%s\"%s",
								answer->shown_status,
								live ? "" : ", which is not a known status");
}

/*
 * Returns the reason why a 2xx cannot be understood, or NULL.
 */
static char *
find_fault(const BsService *service, bool must_know, const BsAnswer *answer)
{
	const char *needed = service->field[BS_SUCCESS_FIELD];
	int			status = answer->http->status;

	if (answer->page)
		return psprintf("provider answered %d with an HTML page (check the "
						"server's base_url)", status);
	if (answer->json == NULL &&
		(answer->opaque || must_know || needed != NULL ||
		 strcmp(service->field[BS_REPLY], "json") == 0))
		return psprintf("provider answered %d with a body that is not JSON: "
						"%s", status, answer->not_json);
	if (needed != NULL && !must_know && !bs_json_has(answer->json, needed))
		return psprintf("provider answered %d without \"%s\"", status,
						needed);
	if (must_know && answer->status == NULL)
		return psprintf("provider answered %d without \"%s\"", status,
						service->field[BS_STATUS_FIELD] != NULL ?
						service->field[BS_STATUS_FIELD] : "status");
	return NULL;
}

/*
 * Does a 2xx say that it failed: "success" or "ok" that is not set, or an
 * error that is?  A reply that is a list says so in its first member.
 */
static bool
says_it_failed(const BsAnswer *answer)
{
	static const char *const good[] = {"success", "ok", "0.success", "0.ok"};
	static const char *const bad[] = {
		"error", "errors", "value.error", "0.error", "0.errors"
	};

	if (answer->json == NULL)
		return false;
	for (int i = 0; i < (int) lengthof(good); i++)
	{
		char	   *word = bs_json_word(answer->json, good[i]);

		if (bs_json_has(answer->json, good[i]) &&
			(!bs_json_is_set(answer->json, good[i]) ||
			 (word != NULL && pg_strcasecmp(word, "false") == 0)))
			return true;
	}
	for (int i = 0; i < (int) lengthof(bad); i++)
	{
		if (bs_json_is_set(answer->json, bad[i]))
			return true;
	}
	return false;
}

/*
 * A 2xx: is it over?  Of the reads, only one that shows a known word settles
 * anything.
 */
static void
judge_success(const BsService *service, BsQuestion question,
			  const BsAnswer *answer, BsJudgement *judgement)
{
	bool		must_know = question != BS_Q_END ||
		bs_field_is_true(service->field[BS_STATUS_REQUIRED]);
	bool		failed = question == BS_Q_END && says_it_failed(answer);
	char	   *fault = find_fault(service, must_know, answer);

	if (failed)
		judge_as(answer, judgement, BS_REJECTED, " but says that it failed");
	else if (fault != NULL)
	{
		judgement->outcome = BS_BAD_REPLY;
		judgement->error = fault;
	}
	else if (answer->status == NULL ||
			 bs_list_has(service->field[BS_ENDED_STATUS], answer->status))
		judgement->outcome = BS_ENDED;
	else if (bs_list_has(service->field[BS_TERMINAL_STATUS], answer->status))
		judgement->outcome = BS_ALREADY_ENDED;
	else if (bs_list_has(service->field[BS_LIVE_STATUS], answer->status) ||
			 (must_know && lists_the_words(service)))
		judge_unproven(service, answer, judgement);
	else
		judgement->outcome = BS_ENDED;
}

/*
 * Sets the outcome of an HTTP status that is an error.
 */
static void
judge_status(const BsService *service, const BsAnswer *answer,
			 BsJudgement *judgement)
{
	static const char *const wrong_place = ", but not for the session (check "
		"the server's base_url)";
	int			status = answer->http->status;

	if (bs_list_has_number(service->field[BS_GONE_STATUS], status))
	{
		if (bs_answer_is_gone(service, answer))
			judgement->outcome = BS_ALREADY_ENDED;
		else
			judge_as(answer, judgement, BS_BAD_REPLY, wrong_place);
	}
	else if (status == 404 && bs_answer_is_of_path(answer))
		judge_as(answer, judgement, BS_BAD_REPLY, wrong_place);
	else if (status == 401 || status == 403 || status == 407)
		judge_as(answer, judgement, BS_DENIED, "");
	else if (status == 429)
		judge_as(answer, judgement, BS_RATE_LIMITED, "");
	else if (status >= 500)
		judge_as(answer, judgement, BS_UNAVAILABLE, "");
	else
		judge_as(answer, judgement, BS_REJECTED, "");
}

/*
 * A complete answer that is not a 2xx.
 */
static void
judge_refusal(const BsService *service, BsQuestion question,
			  const BsAnswer *answer, BsJudgement *judgement)
{
	int			status = answer->http->status;

	if (status < 400 || status > 599)
	{
		judge_as(answer, judgement, BS_BAD_REPLY,
				 status < 300 || status > 399 ? ", which is not a status "
				 "that ends an exchange" : " (redirects are not followed)");
		return;
	}
	judge_status(service, answer, judgement);
	if (question == BS_Q_END && !bs_outcome_done(judgement->outcome) &&
		bs_list_has_number(service->field[BS_AMBIGUOUS_STATUS], status))
		judgement->next = BS_NEXT_SETTLE;
	else if (status == 408 || status == 429 || status >= 500)
		judgement->next = BS_NEXT_RETRY;
}

/*
 * No complete answer.
 */
static void
judge_failure(const HttpReply *http, const BsSecrets *secrets,
			  BsJudgement *judgement)
{
	const char *what = "reply could not be read: ";
	const char *remedy = "";

	judgement->outcome = BS_BAD_REPLY;
	if (http->failure == HTTP_TIMEOUT)
	{
		judgement->outcome = BS_TIMED_OUT;
		what = "";
	}
	else if (http->failure == HTTP_NO_CONNECTION ||
			 http->failure == HTTP_NO_TRUST ||
			 http->failure == HTTP_NOT_ALLOWED)
	{
		judgement->outcome = BS_UNREACHABLE;
		what = "no connection: ";
	}
	if (http->failure == HTTP_NOT_ALLOWED)
		remedy = " unless a superuser owns the server or sets its option "
			"allow_local";
	if (http->failure == HTTP_NO_CONNECTION ||
		http->failure == HTTP_CUT_SHORT)
		judgement->next = BS_NEXT_RETRY;
	judgement->error = psprintf("%s%s%s", what,
								bs_answer_showable(secrets, http->error),
								remedy);
}

/*
 * A read made to settle an ambiguous refusal cannot end in anything but: it
 * was gone already, the refusal was meant, or nobody knows.
 */
static void
judge_settling(const BsService *service, const BsAnswer *answer,
			   BsJudgement *judgement)
{
	if (judgement->outcome == BS_ENDED)
		judgement->outcome = BS_ALREADY_ENDED;
	else if (judgement->outcome == BS_REQUESTED)
	{
		judgement->refusal_stands = bs_list_has(service->field[BS_LIVE_STATUS],
												answer->status);
		judgement->outcome = BS_BAD_REPLY;
		judgement->error = psprintf("provider refused the end and shows the "
									"session as \"%s\"%s",
									answer->shown_status,
									judgement->refusal_stands ? "" :
									", which is not a known status");
		judgement->next = BS_NEXT_NOTHING;
	}
}

/*
 * Says what a reply means.  Everything in *judgement is in the current memory
 * context and free of the secrets given.  Throws only if there is no memory.
 */
void
bs_reply_judge(const BsService *service, const BsSecrets *secrets,
			   BsQuestion question, const HttpReply *reply,
			   BsJudgement *judgement)
{
	const char *time_field = service->field[BS_ENDED_AT_FIELD];
	BsAnswer	answer;
	char	   *time;

	memset(judgement, 0, sizeof(*judgement));
	bs_answer_read(service, secrets, reply, &answer);
	if (reply->failure != HTTP_ANSWERED)
		judge_failure(reply, secrets, judgement);
	else if (reply->status >= 200 && reply->status < 300)
		judge_success(service, question, &answer, judgement);
	else
		judge_refusal(service, question, &answer, judgement);
	if (question == BS_Q_SETTLE)
		judge_settling(service, &answer, judgement);
	else if (question != BS_Q_END &&
			 judgement->outcome == BS_ALREADY_ENDED)
		judgement->outcome = BS_ENDED;

	if (reply->should_retry == 0 && judgement->next == BS_NEXT_RETRY)
		judgement->next = BS_NEXT_NOTHING;
	else if (reply->should_retry == 1 && reply->status >= 400 &&
			 judgement->next == BS_NEXT_NOTHING &&
			 !bs_outcome_done(judgement->outcome))
		judgement->next = BS_NEXT_RETRY;

	if (answer.json != NULL && time_field != NULL &&
		(time = bs_json_word(answer.json, time_field)) != NULL)
		judgement->ended_at = bs_answer_time(time);
	judgement->provider_status = answer.shown_status;
	judgement->response = bs_answer_keep(secrets, &answer);
	bs_json_free(answer.json);
}
