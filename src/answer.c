/*
 * answer.c
 *		A provider's answer, looked into: what it says, in a safe form.
 *
 * Answers are hostile.  What is passed on of one is valid UTF-8, has no
 * control characters in messages, no secrets, and a bounded length.
 *
 * Needs no server: it is built into the fuzz targets as well.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <time.h>

#include "answer.h"
#include "encoding.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

/* What some programs put before text in UTF-8. */
#define BYTE_ORDER_MARK	"\xef\xbb\xbf"

/* Longest provider's message that is passed on, in bytes. */
#define MAX_MESSAGE		300

/* ----------------------------------------------------------------
 * Text
 * ----------------------------------------------------------------
 */

/*
 * Returns bytes as valid UTF-8: what is not, and NUL and (if "visible")
 * control characters, are shown as \xNN.  With "limit" > 0, ends with an
 * ellipsis before that many bytes are passed.
 */
static char *
clean_text(const char *bytes, size_t length, size_t limit, bool visible)
{
	const unsigned char *p = (const unsigned char *) bytes;
	const unsigned char *end = p + length;
	StringInfoData buf;

	initStringInfo(&buf);
	while (p < end)
	{
		int			size = pg_utf_mblen(p);

		if (limit > 0 && buf.len >= (int) limit)
		{
			appendStringInfoString(&buf, "...");
			break;
		}
		if (size > end - p || !pg_utf8_islegal(p, size) || *p == '\0' ||
			(visible && bs_encoding_is_control((const char *) p)))
		{
			appendStringInfo(&buf, "\\x%02x", *p);
			p++;
			continue;
		}
		appendBinaryStringInfo(&buf, (const char *) p, size);
		p += size;
	}
	return buf.data;
}

/*
 * Parses digits of exactly "width" characters; moves *text behind them.
 */
static bool
parse_digits(const char **text, int width, int *value)
{
	*value = 0;
	for (int i = 0; i < width; i++, (*text)++)
	{
		if (!isdigit((unsigned char) **text))
			return false;
		*value = *value * 10 + (**text - '0');
	}
	return true;
}

/*
 * Returns the UTC offset at the end of an RFC 3339 time in seconds; sets
 * *valid.
 */
static int
parse_offset(const char *text, bool *valid)
{
	int			sign = *text == '-' ? -1 : 1;
	int			hours;
	int			minutes;

	if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
	{
		*valid = true;
		return 0;
	}
	*valid = (*text == '+' || *text == '-');
	text++;
	*valid = *valid && parse_digits(&text, 2, &hours) && *text++ == ':' &&
		parse_digits(&text, 2, &minutes) && *text == '\0' &&
		hours < 24 && minutes < 60;
	return *valid ? sign * (hours * 3600 + minutes * 60) : 0;
}

/*
 * Returns an RFC 3339 time as microseconds since 1970, or 0 if it is none.
 */
int64
bs_answer_time(const char *text)
{
	struct tm	tm = {0};
	int			year;
	int			month;
	int64		fraction = 0;
	int64		unit = 1000000;
	bool		valid;
	int			offset;

	if (!parse_digits(&text, 4, &year) || *text++ != '-' ||
		!parse_digits(&text, 2, &month) || *text++ != '-' ||
		!parse_digits(&text, 2, &tm.tm_mday) ||
		pg_ascii_tolower((unsigned char) *text++) != 't' ||
		!parse_digits(&text, 2, &tm.tm_hour) || *text++ != ':' ||
		!parse_digits(&text, 2, &tm.tm_min) || *text++ != ':' ||
		!parse_digits(&text, 2, &tm.tm_sec))
		return 0;
	if (year < 1970 || month < 1 || month > 12 || tm.tm_mday < 1 ||
		tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
		tm.tm_sec > 60)
		return 0;
	if (*text == '.')
	{
		for (text++; isdigit((unsigned char) *text); text++)
		{
			unit /= 10;
			fraction += unit * (*text - '0');
		}
	}
	offset = parse_offset(text, &valid);
	if (!valid)
		return 0;
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	return Max(((int64) timegm(&tm) - offset) * 1000000 + fraction, 0);
}

/* ----------------------------------------------------------------
 * Looking into the body
 * ----------------------------------------------------------------
 */

/*
 * Returns where the body begins, behind a byte order mark and white space.
 */
static const char *
skip_blank(const HttpReply *http)
{
	const char *p = http->body;

	if (strncmp(p, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0)
		p += strlen(BYTE_ORDER_MARK);
	while (isspace((unsigned char) *p))
		p++;
	return p;
}

/*
 * Is the body a page for people, or another document in markup, whatever its
 * Content-Type says?
 */
static bool
is_page(const HttpReply *http)
{
	static const char *const types[] = {
		"text/html", "application/xhtml", "text/xml", "application/xml"
	};

	if (http->length == 0)
		return false;
	for (int i = 0; i < (int) lengthof(types); i++)
	{
		if (http->content_type != NULL &&
			pg_strncasecmp(http->content_type, types[i],
						   strlen(types[i])) == 0)
			return true;
	}
	return *skip_blank(http) == '<';
}

/*
 * Returns why the body cannot be read as text, or NULL.
 */
static const char *
find_obstacle(const HttpReply *http)
{
	if (http->length > 0 && http->content_encoding != NULL &&
		pg_strcasecmp(http->content_encoding, "identity") != 0)
		return "it is compressed, which was not asked for";
	if (memchr(http->body, '\0', http->length) != NULL)
		return "it has NUL bytes";
	return NULL;
}

/*
 * Returns text fit for a message: without secrets or control characters, and
 * not too long.  Secrets are looked for in what will be shown, and before it
 * is cut.
 */
char *
bs_answer_showable(const BsSecrets *secrets, const char *text)
{
	char	   *clean = clean_text(text, strlen(text), 0, true);
	char	   *redacted = bs_redact(secrets, clean);

	return clean_text(redacted, strlen(redacted), MAX_MESSAGE, true);
}

/*
 * Returns what the provider says in words, as it says it, or NULL.
 */
static char *
find_message(const BsAnswer *answer)
{
	static const char *const paths[] = {
		"message", "error.message", "value.message", "detail", "detail.0.msg",
		"error", "errors.0.message", "title"
	};
	const char *body = answer->http->body;
	size_t		length = answer->http->length;

	while (length > 0 && isspace((unsigned char) body[length - 1]))
		length--;
	if (answer->page || length == 0)
		return NULL;
	if (answer->json == NULL)
		return clean_text(body, length, 0, false);
	for (int i = 0; i < (int) lengthof(paths); i++)
	{
		char	   *word = bs_json_word(answer->json, paths[i]);

		if (word != NULL && *word != '\0')
			return word;
	}
	return NULL;
}

/*
 * Looks into a reply, in the current memory context.  What is to be shown of
 * it is without the secrets.
 */
void
bs_answer_read(const BsService *service, const BsSecrets *secrets,
			   const HttpReply *http, BsAnswer *answer)
{
	const char *start = skip_blank(http);

	memset(answer, 0, sizeof(*answer));
	answer->http = http;
	answer->page = is_page(http);
	answer->not_json = find_obstacle(http);
	answer->opaque = answer->not_json != NULL;
	if (!answer->page && !answer->opaque)
		answer->json = bs_json_parse(start,
									 http->length - (start - http->body),
									 &answer->not_json);
	/* What begins like JSON was meant to be. */
	if (answer->json == NULL && (*start == '{' || *start == '['))
		answer->opaque = true;
	answer->words = find_message(answer);
	if (answer->words != NULL)
		answer->message = bs_answer_showable(secrets, answer->words);
	if (answer->json != NULL && service->field[BS_STATUS_FIELD] != NULL &&
		http->status >= 200 && http->status < 300)
		answer->status = bs_json_word(answer->json,
									  service->field[BS_STATUS_FIELD]);
	if (answer->status != NULL)
		answer->shown_status = bs_answer_showable(secrets, answer->status);
}

/*
 * Are these the words of a 404 that could be anybody's?  Only the letters and
 * digits count.
 */
static bool
names_nothing(const char *words)
{
	static const char *const nothing[] = {
		"notfound", "404", "404notfound", "pagenotfound", "404pagenotfound"
	};
	char		letters[32];
	size_t		n = 0;

	for (; *words && n < sizeof(letters) - 1; words++)
	{
		if (isalnum((unsigned char) *words))
			letters[n++] = *words;
	}
	letters[n] = '\0';
	for (int i = 0; i < (int) lengthof(nothing); i++)
	{
		if (pg_strcasecmp(letters, nothing[i]) == 0)
			return true;
	}
	return false;
}

/*
 * Does a 404 speak of the path rather than of the session?  A page does, and
 * so do the words of the routers behind which the providers' code runs, those
 * that name nothing at all, and WebDriver's for a path it does not know.
 */
bool
bs_answer_is_of_path(const BsAnswer *answer)
{
	static const char *const starts[] = {
		"Route ", "Cannot DELETE ", "Cannot POST ", "Cannot PUT ",
		"Cannot PATCH ", "Cannot GET ", "No matching HTTP route",
		"404 page not found", "no Route matched", "default backend",
		"response 404 (backend", "no healthy upstream", "fault filter abort",
		"404: NOT_FOUND", "The deployment could not be found",
		"no such app", "Application not found", "unknown service",
		"error code: "
	};
	char	   *error;

	if (answer->page || answer->opaque || answer->words == NULL)
		return true;
	for (int i = 0; i < (int) lengthof(starts); i++)
	{
		if (strncmp(answer->words, starts[i], strlen(starts[i])) == 0)
			return true;
	}
	/* As text it is what one of the documents has for a session. */
	if (answer->json == NULL)
		return false;
	if (names_nothing(answer->words))
		return true;
	error = bs_json_word(answer->json, "value.error");
	return error != NULL && (strcmp(error, "unknown command") == 0 ||
							 strcmp(error, "unknown method") == 0);
}

/*
 * Does the reply say that this very session is gone?  410 is no router's
 * word, so the question of whom it speaks does not arise.
 */
bool
bs_answer_is_gone(const BsService *service, const BsAnswer *answer)
{
	const char *match = service->field[BS_GONE_MATCH];

	if (answer->page || answer->opaque)
		return false;
	if (strcmp(service->field[BS_REPLY], "json") == 0 &&
		(answer->json == NULL || !bs_json_is_object(answer->json)))
		return false;
	if (match != NULL)
		return strstr(answer->http->body, match) != NULL;
	return answer->http->status == 410 || !bs_answer_is_of_path(answer);
}

/*
 * Returns the body as JSON without the secrets, or NULL if there is none.  A
 * body that came in part is not kept: it may end in part of a secret, by
 * which that cannot be recognised.
 */
char *
bs_answer_keep(const BsSecrets *secrets, const BsAnswer *answer)
{
	char	   *text;

	if (answer->http->length == 0 ||
		answer->http->failure != HTTP_ANSWERED)
		return NULL;
	if (answer->json != NULL)
		return bs_json_print(answer->json, secrets);
	text = clean_text(answer->http->body, answer->http->length, 0, false);
	return bs_json_quote(bs_redact(secrets, text));
}
