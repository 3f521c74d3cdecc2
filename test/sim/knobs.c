/*
 * knobs.c
 *
 * The "with:" part of a URL: k=v pairs, separated by commas, whose values may
 * be percent-encoded.  A misspelt knob is an error rather than a test that
 * passes for the wrong reason.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "knobs.h"
#include "text.h"

typedef struct KnobName
{
	const char *name;
	size_t		offset;			/* in Knobs */
	bool		number;			/* an int64_t, else a string */
	bool		fault;			/* limited by "only" */
	int64_t		least;			/* of a number */
	int64_t		most;
} KnobName;

#define NUMBER(field, fault, least, most) \
	{#field, offsetof(Knobs, field), true, fault, least, most}
#define STRING(field, fault) \
	{#field, offsetof(Knobs, field), false, fault, 0, 0}

/* Final replies start at 200: libmicrohttpd sends no other ones. */
static const KnobName knob_names[] = {
	NUMBER(delay, true, 0, 600000),
	NUMBER(status, true, 200, 999),
	NUMBER(times, false, 0, INT32_MAX),
	NUMBER(retry_after_date, true, 1, INT32_MAX),
	NUMBER(release, false, -1, INT32_MAX),
	NUMBER(pad, true, 0, 64 * 1024 * 1024),
	NUMBER(echo, true, 0, 1),
	NUMBER(nul, true, 0, 1),
	NUMBER(badutf8, true, 0, 1),
	NUMBER(endstatus, false, 200, 999),
	NUMBER(getstatus, false, 200, 999),
	NUMBER(cut, true, 0, 1),
	NUMBER(drop, true, 0, 2),
	STRING(body, true),
	STRING(retry_after, true),
	STRING(retry_after_ms, true),
	STRING(redirect, true),
	STRING(word, true),
	STRING(only, false),
};

#define KNOB_COUNT	(sizeof(knob_names) / sizeof(knob_names[0]))

static int64_t *
number_of(Knobs *knobs, const KnobName *name)
{
	return (int64_t *) ((char *) knobs + name->offset);
}

static char **
string_of(Knobs *knobs, const KnobName *name)
{
	return (char **) ((char *) knobs + name->offset);
}

static bool
body_known(const char *body)
{
	static const char *const kinds[] = {"json", "text", "html", "empty",
	"router"};
	size_t		i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(body, kinds[i]) == 0)
			return true;
	return false;
}

/* Sets one knob, taking the value over; false if it is out of range. */
static bool
set_knob(Knobs *knobs, const KnobName *name, char *value)
{
	char	   *end;
	int64_t		number;

	if (!name->number)
	{
		free(*string_of(knobs, name));
		*string_of(knobs, name) = value;
		return strcmp(name->name, "body") != 0 || body_known(value);
	}
	number = strtoll(value, &end, 10);
	if (end == value || *end != '\0' ||
		number < name->least || number > name->most)
	{
		free(value);
		return false;
	}
	*number_of(knobs, name) = number;
	free(value);
	return true;
}

static bool
parse_pair(Knobs *knobs, const char *pair, size_t length)
{
	const char *equals = memchr(pair, '=', length);
	size_t		name_length;
	size_t		i;

	if (equals == NULL)
		return false;
	name_length = (size_t) (equals - pair);
	for (i = 0; i < KNOB_COUNT; i++)
		if (strlen(knob_names[i].name) == name_length &&
			memcmp(knob_names[i].name, pair, name_length) == 0)
			return set_knob(knobs, &knob_names[i],
							text_unescape(equals + 1,
										  length - name_length - 1, false));
	return false;
}

/* Reads the knobs; returns the pair that is wrong, or NULL. */
char *
knobs_parse(Knobs *knobs, const char *with)
{
	memset(knobs, 0, sizeof(*knobs));
	knobs->times = -1;
	knobs->release = RELEASE_UNSET;
	while (*with != '\0')
	{
		size_t		length = strcspn(with, ",");

		if (!parse_pair(knobs, with, length))
			return text_copy(with, length);
		with += length;
		with += *with == ',';
	}
	return NULL;
}

/* Takes the faults away again if "only" names another method. */
void
knobs_limit(Knobs *knobs, const char *method)
{
	size_t		i;

	if (knobs->only == NULL || strcasecmp(knobs->only, method) == 0)
		return;
	for (i = 0; i < KNOB_COUNT; i++)
	{
		const KnobName *name = &knob_names[i];

		if (!name->fault)
			continue;
		if (name->number)
			*number_of(knobs, name) = 0;
		else
		{
			free(*string_of(knobs, name));
			*string_of(knobs, name) = NULL;
		}
	}
}

void
knobs_free(Knobs *knobs)
{
	size_t		i;

	for (i = 0; i < KNOB_COUNT; i++)
		if (!knob_names[i].number)
			free(*string_of(knobs, &knob_names[i]));
}
