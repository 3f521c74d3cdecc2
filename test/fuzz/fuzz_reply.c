/*
 * fuzz_reply.c
 *		Fuzz target: judging a reply.
 *
 * The input's lines are the provider, fields that replace its own, the
 * credential, and the reply's status and headers; the rest is the body.
 *
 * Besides that nothing crashes: an outcome is "done" only if an oracle, which
 * reads the reply by itself, finds it said there; a reply that says it plainly
 * is believed; no form of the credential is in anything that is shown; what is
 * shown is valid, bounded, and fits together.
 */
#include "postgres_fe.h"

#include <jansson.h>
#include <regex.h>
#include <time.h>

#include "fuzz.h"
#include "mb/pg_wchar.h"
#include "reply.h"

/* A message: the provider's words, which are cut, and ours. */
#define MAX_ERROR	1000

typedef struct Case
{
	BsService	service;
	const char *token;			/* of a stop URL, or NULL */
	const char *decoded_token;	/* as the provider reads it, or NULL */
	BsQuestion	question;
	HttpReply	http;
	const char *start;			/* of the body, behind what is blank */
	json_t	   *json;			/* or NULL */
} Case;

/* ----------------------------------------------------------------
 * The oracle
 * ----------------------------------------------------------------
 */

/*
 * Returns what a dotted path leads to, or NULL.
 */
static json_t *
walk(json_t *node, const char *path)
{
	char	   *copy = pstrdup(path);
	char	   *rest = copy;
	char	   *name;

	while (node != NULL && (name = strsep(&rest, ".")) != NULL)
	{
		if (rest == NULL && *name == '\0')
			break;
		node = json_is_object(node) ? json_object_get(node, name) :
			json_is_array(node) && strspn(name, "0123456789") == strlen(name)
			? json_array_get(node, strtoul(name, NULL, 10)) : NULL;
	}
	pfree(copy);
	return node;
}

/*
 * Returns a string, number or boolean as text, or NULL.
 */
static char *
word_at(json_t *node, const char *path)
{
	json_t	   *found = walk(node, path);

	if (json_is_true(found) || json_is_false(found))
		return pstrdup(json_is_true(found) ? "true" : "false");
	if (json_is_string(found))
		return pstrdup(json_string_value(found));
	if (json_is_integer(found))
		return psprintf("%lld", (long long) json_integer_value(found));
	if (json_is_real(found))
		return psprintf("%.15g", json_real_value(found));
	return NULL;
}

static bool
is_member(const char *list, const char *word)
{
	char	   *rest = list != NULL ? pstrdup(list) : NULL;
	char	   *member;
	bool		found = false;

	while (rest != NULL && (member = strsep(&rest, ",")) != NULL)
	{
		member += strspn(member, " ");
		while (*member != '\0' && member[strlen(member) - 1] == ' ')
			member[strlen(member) - 1] = '\0';
		if (*member != '\0' && pg_strcasecmp(member, word) == 0)
			found = true;
	}
	return found;
}

/*
 * Is it a value that says no: null, false, nothing?
 */
static bool
is_nothing(json_t *value)
{
	return json_is_null(value) || json_is_false(value) ||
		(json_is_number(value) && json_number_value(value) == 0) ||
		(json_is_string(value) && json_string_length(value) == 0) ||
		(json_is_object(value) && json_object_size(value) == 0) ||
		(json_is_array(value) && json_array_size(value) == 0);
}

/*
 * Does an object complain: of no success, or of an error?
 */
static bool
complains(json_t *object)
{
	static const char *const bad[] = {"error", "errors", "value.error"};
	static const char *const good[] = {"success", "ok"};

	for (int i = 0; i < (int) lengthof(bad); i++)
	{
		json_t	   *value = walk(object, bad[i]);

		if (value != NULL && !is_nothing(value))
			return true;
	}
	for (int i = 0; i < (int) lengthof(good); i++)
	{
		json_t	   *value = json_object_get(object, good[i]);

		if (value != NULL &&
			(is_nothing(value) ||
			 (json_is_string(value) &&
			  pg_strcasecmp(json_string_value(value), "false") == 0)))
			return true;
	}
	return false;
}

/*
 * Can the body be understood at all?
 */
static bool
is_legible(const Case *c)
{
	const char *type = c->http.content_type;
	const char *encoding = c->http.content_encoding;

	if (c->http.length == 0)
		return true;
	if (type != NULL && (strncasecmp(type, "text/html", 9) == 0 ||
						 strncasecmp(type, "application/xhtml", 17) == 0 ||
						 strncasecmp(type, "text/xml", 8) == 0 ||
						 strncasecmp(type, "application/xml", 15) == 0))
		return false;
	return *c->start != '<' && strlen(c->http.body) == c->http.length &&
		(encoding == NULL || strcasecmp(encoding, "identity") == 0) &&
		(c->json != NULL || strchr("{[", *c->start) == NULL ||
		 *c->start == '\0');
}

/*
 * Does a 2xx say that the session is over?  Sets *word to its word for that.
 */
static bool
success_says_so(const Case *c, char **word)
{
	const char *const *field = c->service.field;
	bool		read = c->question != BS_Q_END;
	bool		required = read || (field[BS_STATUS_REQUIRED] != NULL &&
									strcmp(field[BS_STATUS_REQUIRED],
										   "true") == 0);
	bool		lists = field[BS_ENDED_STATUS] != NULL ||
		field[BS_TERMINAL_STATUS] != NULL;

	if (c->json == NULL)
		return strcmp(field[BS_REPLY], "any") == 0 && !required &&
			field[BS_SUCCESS_FIELD] == NULL;
	if (!read && (complains(c->json) ||
				  complains(json_array_get(c->json, 0))))
		return false;
	if (field[BS_SUCCESS_FIELD] != NULL && !required &&
		walk(c->json, field[BS_SUCCESS_FIELD]) == NULL)
		return false;
	*word = field[BS_STATUS_FIELD] != NULL ?
		word_at(c->json, field[BS_STATUS_FIELD]) : NULL;
	if (*word == NULL)
		return !required;
	if (is_member(field[BS_ENDED_STATUS], *word) ||
		is_member(field[BS_TERMINAL_STATUS], *word))
		return true;
	return !is_member(field[BS_LIVE_STATUS], *word) && !(required && lists);
}

/*
 * Returns what a refusal says, or NULL.
 */
static const char *
words_of(const Case *c)
{
	static const char *const paths[] = {
		"message", "error.message", "value.message", "detail", "detail.0.msg",
		"error", "errors.0.message", "title"
	};

	if (c->json == NULL)
		return c->http.body[strspn(c->http.body, " \t\n\v\f\r")] != '\0' ?
			c->http.body : NULL;
	for (int i = 0; i < (int) lengthof(paths); i++)
	{
		const char *word = word_at(c->json, paths[i]);

		if (word != NULL && *word != '\0')
			return word;
	}
	return NULL;
}

/*
 * Is it a router that says this?
 */
static bool
is_of_router(const Case *c, const char *words)
{
	static const char *const starts[] = {
		"Route ", "Cannot DELETE ", "Cannot POST ", "Cannot PUT ",
		"Cannot PATCH ", "Cannot GET ", "No matching HTTP route",
		"404 page not found", "no Route matched", "default backend"
	};
	json_t	   *kind = walk(c->json, "value.error");
	char		letters[16] = "";

	for (int i = 0; i < (int) lengthof(starts); i++)
	{
		if (strncmp(words, starts[i], strlen(starts[i])) == 0)
			return true;
	}
	if (c->json == NULL)
		return false;
	if (json_is_string(kind) &&
		(strcmp(json_string_value(kind), "unknown command") == 0 ||
		 strcmp(json_string_value(kind), "unknown method") == 0))
		return true;
	for (; *words; words++)
	{
		if (strlen(letters) < sizeof(letters) - 1 &&
			isalnum((unsigned char) *words))
			strncat(letters, words, 1);
	}
	return strcasecmp(letters, "notfound") == 0 ||
		strcmp(letters, "404") == 0 || strcasecmp(letters, "404notfound") == 0;
}

/*
 * Does a refusal say that the session is gone?
 */
static bool
refusal_says_so(const Case *c)
{
	const char *const *field = c->service.field;
	char		status[16];
	const char *words;

	snprintf(status, sizeof(status), "%d", c->http.status);
	if (!is_member(field[BS_GONE_STATUS], status))
		return false;
	if (strcmp(field[BS_REPLY], "json") == 0 && !json_is_object(c->json))
		return false;
	if (field[BS_GONE_MATCH] != NULL)
		return strstr(c->http.body, field[BS_GONE_MATCH]) != NULL;
	words = words_of(c);
	return c->http.status == 410 ||
		(words != NULL && !is_of_router(c, words));
}

/*
 * Does the reply say that the session is over?
 */
static bool
says_so(const Case *c)
{
	char	   *word = NULL;

	if (c->http.failure != HTTP_ANSWERED || !is_legible(c))
		return false;
	return c->http.status / 100 == 2 ? success_says_so(c, &word) :
		c->http.status >= 400 && c->http.status < 600 && refusal_says_so(c);
}

/*
 * Does it say so in so many words: 200, JSON, and a word for it?  Or 410,
 * whatever the words?
 */
static bool
says_so_plainly(const Case *c)
{
	char	   *word = NULL;

	if (c->http.status == 410 && c->service.field[BS_GONE_MATCH] == NULL)
		return says_so(c);
	return c->http.failure == HTTP_ANSWERED && c->http.status == 200 &&
		json_is_object(c->json) && is_legible(c) &&
		success_says_so(c, &word) && word != NULL &&
		is_member(c->service.field[BS_ENDED_STATUS], word);
}

/*
 * Returns an RFC 3339 time as microseconds since 1970, or 0 if it is none, or
 * an earlier one.
 */
static int64
time_of(const char *text)
{
	static const char form[] =
		"^([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]"
		"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(\\.([0-9]*))?"
		"([Zz]|[+-]([01][0-9]|2[0-3]):([0-5][0-9]))$";
	regex_t		regex;
	regmatch_t	at[12];
	struct tm	tm;
	char		micros[] = "000000";
	int64		seconds;
	bool		found;

	must(regcomp(&regex, form, REG_EXTENDED) == 0, "no regular expression");
	found = regexec(&regex, text, lengthof(at), at, 0) == 0;
	regfree(&regex);
	if (!found || strncmp(text, "1970", 4) < 0)
		return 0;
	memset(&tm, 0, sizeof(tm));
	tm.tm_year = atoi(text) - 1900;
	tm.tm_mon = atoi(text + at[2].rm_so) - 1;
	tm.tm_mday = atoi(text + at[3].rm_so);
	tm.tm_hour = atoi(text + at[4].rm_so);
	tm.tm_min = atoi(text + at[5].rm_so);
	tm.tm_sec = atoi(text + at[6].rm_so);
	if (at[8].rm_so >= 0)
		memcpy(micros, text + at[8].rm_so,
			   Min(at[8].rm_eo - at[8].rm_so, 6));
	seconds = timegm(&tm);
	if (at[10].rm_so >= 0)
		seconds -= (text[at[9].rm_so] == '-' ? -60 : 60) *
			(atoi(text + at[10].rm_so) * 60 + atoi(text + at[11].rm_so));
	return Max(seconds * 1000000 + atoi(micros), 0);
}

/* ----------------------------------------------------------------
 * Properties
 * ----------------------------------------------------------------
 */

static void
check_outcome(const Case *c, const BsJudgement *judgement)
{
	bool		done = judgement->outcome == BS_ENDED ||
		judgement->outcome == BS_ALREADY_ENDED;
	char	   *word = NULL;

	must(!done || says_so(c), "the outcome is %s, but the reply does not say "
		 "so", bs_outcome_name(judgement->outcome));
	must(done || !says_so_plainly(c), "the outcome is %s, but the reply says "
		 "that it is over", bs_outcome_name(judgement->outcome));
	must(done == (judgement->error == NULL), "error and outcome disagree");
	must(!done || judgement->next == BS_NEXT_NOTHING, "done, but not at rest");
	if (c->question == BS_Q_CONFIRM || c->question == BS_Q_LOOK)
		must(judgement->outcome != BS_ALREADY_ENDED,
			 "a read after an end calls it ended before");
	else if (c->question == BS_Q_SETTLE)
		must(judgement->outcome != BS_ENDED,
			 "a read after a refusal takes it for an end");
	else if (judgement->outcome == BS_ENDED)
	{
		must(c->http.status < 300, "a refusal ended it");
		must(!success_says_so(c, &word) || word == NULL ||
			 is_member(c->service.field[BS_ENDED_STATUS], word) ||
			 !is_member(c->service.field[BS_TERMINAL_STATUS], word),
			 "it was over before");
	}
	else if (judgement->outcome == BS_ALREADY_ENDED)
		must(c->http.status >= 400 ||
			 (success_says_so(c, &word) && word != NULL &&
			  is_member(c->service.field[BS_TERMINAL_STATUS], word)),
			 "the reply does not say that it was over before");
	must(judgement->next != BS_NEXT_RETRY || c->http.should_retry != 0,
		 "tried again against the provider's word");
	must(!judgement->refusal_stands || c->question == BS_Q_SETTLE,
		 "a refusal stands that was not asked about");
}

/*
 * What is shown of a text: UTF-8 without control characters, of a length.
 */
static void
check_shown(const char *text, const char *what)
{
	if (text == NULL)
		return;
	must(strlen(text) <= MAX_ERROR, "%s has %zu bytes", what, strlen(text));
	must(pg_encoding_verifymbstr(PG_UTF8, text, (int) strlen(text)) ==
		 (int) strlen(text), "%s is not UTF-8", what);
	for (const unsigned char *p = (const unsigned char *) text; *p; p++)
		must(*p >= ' ' && *p != 0x7f, "%s has a control character", what);
}

/*
 * Raises if the secret is in any name, string or number.
 */
static void
check_node(json_t *node, const char *secret)
{
	const char *name;
	json_t	   *value;
	size_t		i;
	char	   *number;

	if (json_is_string(node))
		must(!secret_is_in(secret, json_string_value(node)),
			 "the response shows a secret");
	else if (json_is_object(node))
	{
		json_object_foreach(node, name, value)
		{
			must(!secret_is_in(secret, name),
				 "a name in the response shows a secret");
			check_node(value, secret);
		}
	}
	else if (json_is_array(node))
	{
		json_array_foreach(node, i, value)
		{
			check_node(value, secret);
		}
	}
	else
	{
		number = json_dumps(node, JSON_ENCODE_ANY);
		must(number == NULL || !secret_is_in(secret, number),
			 "a number in the response is a secret");
		free(number);
	}
}

static void
check_secret(const Case *c, const BsJudgement *judgement, json_t *response,
			 const char *secret)
{
	if (!secret_is_testable(&c->service, secret))
		return;
	must(!secret_is_in(secret, judgement->error),
		 "the error shows a secret: %s", judgement->error);
	must(!secret_is_in(secret, judgement->provider_status),
		 "the status shows a secret");
	check_node(response, secret);
}

static void
check_time(const Case *c, int64 ended_at)
{
	const char *field = c->service.field[BS_ENDED_AT_FIELD];
	const char *word = field != NULL && c->json != NULL && is_legible(c) ?
		word_at(c->json, field) : NULL;

	/* What has a long name is not found. */
	must(ended_at == (word != NULL ? time_of(word) : 0) ||
		 (ended_at == 0 && strlen(field) >= 64), "ended_at is not %s", word);
}

static void
check_shows(const Case *c, const BsJudgement *judgement)
{
	const BsService *service = &c->service;
	json_t	   *response = NULL;

	check_shown(judgement->error, "the error");
	check_shown(judgement->provider_status, "the status");
	if (judgement->response != NULL)
	{
		response = json_loads(judgement->response, JSON_DECODE_ANY, NULL);
		must(response != NULL, "the response is not JSON: %s",
			 judgement->response);
	}
	must((response == NULL) == (c->http.length == 0 ||
								c->http.failure != HTTP_ANSWERED),
		 "a response is not kept, or part of one is");
	must(response == NULL || c->json == NULL || !is_legible(c) ||
		 json_typeof(response) == json_typeof(c->json) ||
		 (json_is_string(response) &&
		  strstr(json_string_value(response), "[redacted]") != NULL),
		 "JSON is kept as something else");
	check_secret(c, judgement, response, service->api_key);
	check_secret(c, judgement, response, service->username);
	check_secret(c, judgement, response, service->password);
	check_secret(c, judgement, response, c->token);
	check_secret(c, judgement, response, c->decoded_token);
	if (service->username != NULL)
		check_secret(c, judgement, response,
					 psprintf("%s:%s", service->username, service->password));
	json_decref(response);
	check_time(c, judgement->ended_at);
}

/* ----------------------------------------------------------------
 * Inputs
 * ----------------------------------------------------------------
 */

static BsQuestion
read_question(const Input *input)
{
	static const char *const names[] = {
		[BS_Q_END] = "end", [BS_Q_CONFIRM] = "confirm", [BS_Q_LOOK] = "look",
		[BS_Q_SETTLE] = "settle"
	};
	const char *name = input_get(input, "question");

	for (int i = 0; name != NULL && i < (int) lengthof(names); i++)
	{
		if (strcmp(names[i], name) == 0)
			return i;
	}
	return BS_Q_END;
}

/*
 * Reads the reply as http_transfer.c would have it.
 */
static void
read_reply(const Input *input, HttpReply *http)
{
	const char *error = input_get(input, "error");

	memset(http, 0, sizeof(*http));
	http->failure = input_number(input, "failure", HTTP_ANSWERED);
	if ((int) http->failure < 0 || http->failure > HTTP_BROKEN_ANSWER)
		http->failure = HTTP_ANSWERED;
	if (http->failure != HTTP_ANSWERED)
		http->error = pstrdup(error != NULL ? error : "Connection reset");
	http->status = input_number(input, "status", 200) % 1000;
	http->content_type = input_get(input, "content-type");
	http->content_encoding = input_get(input, "content-encoding");
	http->body = input->rest;
	http->length = input->rest_length;
	http->retry_after = -1;
	http->should_retry = input_number(input, "should_retry", -1) > 0 ? 1 :
		input_get(input, "should_retry") != NULL ? 0 : -1;
}

static char *
decode(const char *token)
{
	char	   *decoded = curl_easy_unescape(NULL, token, 0, NULL);
	char	   *copy;

	must(decoded != NULL, "libcurl cannot decode %s", token);
	copy = pstrdup(decoded);
	curl_free(decoded);
	return copy;
}

static bool
read_case(const Input *input, Case *c)
{
	memset(c, 0, sizeof(*c));
	if (!input_service(input, &c->service))
		return false;
	c->token = input_get(input, "token");
	if (c->token != NULL && !is_visible(c->token))
		return false;
	bs_redact_add_encoded(&c->service.secrets, c->token);
	if (c->token != NULL)
		c->decoded_token = decode(c->token);
	c->question = read_question(input);
	/* Nothing is read again where nothing shows it. */
	if (c->question != BS_Q_END && c->service.field[BS_CONFIRM_PATH] == NULL)
		return false;
	read_reply(input, &c->http);
	c->start = c->http.body;
	if (strncmp(c->start, "\xef\xbb\xbf", 3) == 0)
		c->start += 3;
	c->start += strspn(c->start, " \t\n\v\f\r");
	c->json = input_json(c->start,
						 c->http.length - (c->start - c->http.body));
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	Input		input;
	Case		c;
	BsJudgement judgement;

	memory_begin(length, 0);
	input_read(&input, data, length);
	if (read_case(&input, &c))
	{
		bs_reply_judge(&c.service, &c.service.secrets, c.question, &c.http,
					   &judgement);
		check_outcome(&c, &judgement);
		check_shows(&c, &judgement);
		json_decref(c.json);
	}
	memory_end();
	return 0;
}
