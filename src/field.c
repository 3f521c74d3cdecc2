/*
 * field.c
 *		The fields of a provider's descriptor: their names as options, what
 *		values they can have, and how the values are read.
 *
 * Needs no server: it is built into the fuzz targets as well.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "field.h"
#include "json.h"

static const char *const field_names[BS_NFIELDS] = {
	[BS_BASE_URL] = "base_url",
	[BS_AUTH] = "auth",
	[BS_END_METHOD] = "end_method",
	[BS_END_PATH] = "end_path",
	[BS_END_BODY] = "end_body",
	[BS_CONFIRM_PATH] = "confirm_path",
	[BS_PROJECT] = "project",
	[BS_REPLY] = "reply",
	[BS_ID_URL] = "id_url",
	[BS_GONE_STATUS] = "gone_status",
	[BS_GONE_MATCH] = "gone_match",
	[BS_AMBIGUOUS_STATUS] = "ambiguous_status",
	[BS_SUCCESS_FIELD] = "success_field",
	[BS_STATUS_FIELD] = "status_field",
	[BS_STATUS_REQUIRED] = "status_required",
	[BS_LIVE_STATUS] = "live_status",
	[BS_ENDED_STATUS] = "ended_status",
	[BS_TERMINAL_STATUS] = "terminal_status",
	[BS_ENDED_AT_FIELD] = "ended_at_field",
};

/*
 * Returns the option that sets a field.
 */
const char *
bs_field_name(BsField field)
{
	return field_names[field];
}

/*
 * Returns the field that an option sets, or -1.
 */
int
bs_field_find(const char *name)
{
	for (int i = 0; i < BS_NFIELDS; i++)
	{
		if (strcmp(field_names[i], name) == 0)
			return i;
	}
	return -1;
}

/*
 * Is a yes-or-no field set?
 */
bool
bs_field_is_true(const char *value)
{
	return value != NULL && strcmp(value, "true") == 0;
}

/*
 * Is "word" in a comma-separated list?  Case does not matter, nor do spaces
 * around a member.  A NULL list is empty.
 */
bool
bs_list_has(const char *list, const char *word)
{
	size_t		length = strlen(word);

	if (list == NULL || length == 0)
		return false;
	while (*list != '\0')
	{
		size_t		member;
		size_t		end;

		list += strspn(list, " ");
		member = end = strcspn(list, ",");
		while (member > 0 && list[member - 1] == ' ')
			member--;
		if (member == length && pg_strncasecmp(list, word, length) == 0)
			return true;
		list += end + (list[end] == ',' ? 1 : 0);
	}
	return false;
}

/*
 * Is a number in a comma-separated list?
 */
bool
bs_list_has_number(const char *list, int number)
{
	char		word[16];

	snprintf(word, sizeof(word), "%d", number);
	return bs_list_has(list, word);
}

/*
 * Returns what follows "kind" in a field such as "header:NAME", or NULL if
 * the field is of another kind.
 */
const char *
bs_field_argument(const char *field, const char *kind)
{
	size_t		length = strlen(kind);

	if (field == NULL || strncmp(field, kind, length) != 0)
		return NULL;
	return field + length;
}

/*
 * Is it a token as RFC 9110 has it: the name of a header, or a method?
 */
static bool
is_token(const char *text)
{
	if (*text == '\0')
		return false;
	for (; *text; text++)
	{
		if (!((unsigned char) *text < 0x80 &&
			  isalnum((unsigned char) *text)) &&
			strchr("!#$%&'*+-.^_`|~", *text) == NULL)
			return false;
	}
	return true;
}

static const char *
check_auth(const char *value)
{
	const char *header = bs_field_argument(value, "header:");
	const char *parameter = bs_field_argument(value, "query:");

	if (strcmp(value, "bearer") == 0 || strcmp(value, "basic") == 0 ||
		strcmp(value, "none") == 0 ||
		(header != NULL && is_token(header)) ||
		(parameter != NULL && is_token(parameter) &&
		 strpbrk(parameter, "&#%+") == NULL))
		return NULL;
	return "It must be header:NAME, bearer, basic, query:NAME or none.";
}

static const char *
check_path(const char *value)
{
	if (*value != '/')
		return "A path must begin with /.";
	for (const unsigned char *p = (const unsigned char *) value; *p; p++)
	{
		if (*p <= ' ' || *p >= 0x7f || *p == '#' || *p == '\\')
			return "A path must be visible ASCII without # and \\.";
	}
	return NULL;
}

static const char *
check_method(const char *value)
{
	static const char *const methods[] = {"DELETE", "POST", "PUT", "PATCH",
	"GET"};

	for (int i = 0; i < (int) lengthof(methods); i++)
	{
		if (strcmp(value, methods[i]) == 0)
			return NULL;
	}
	return "It must be DELETE, POST, PUT, PATCH or GET.";
}

static const char *
check_body(const char *value)
{
	const char *why;
	BsJson	   *json = bs_json_parse(value, strlen(value), &why);
	bool		object = json != NULL && bs_json_is_object(json);

	bs_json_free(json);
	return object ? NULL : "It must be a JSON object.";
}

static const char *
check_statuses(const char *value)
{
	for (const char *p = value; *p; p++)
	{
		if (!isdigit((unsigned char) *p) && *p != ',' && *p != ' ')
			return "It must be HTTP statuses, separated by commas.";
	}
	return NULL;
}

static const char *
check_project(const char *value)
{
	const char *header = bs_field_argument(value, "header:");
	const char *field = bs_field_argument(value, "body:");

	if ((header != NULL && is_token(header)) ||
		(field != NULL && is_token(field)))
		return NULL;
	return "It must be header:NAME or body:NAME.";
}

/*
 * What is looked for in answers can stand in messages.
 */
static const char *
check_printable(const char *value)
{
	for (const unsigned char *p = (const unsigned char *) value; *p; p++)
	{
		if (*p < ' ' || *p == 0x7f)
			return "It must not contain control characters.";
	}
	return NULL;
}

/*
 * Returns why the fields do not make a service together, as a sentence, or
 * NULL.
 */
const char *
bs_field_check_all(const char *const *field)
{
	const char *path = field[BS_END_PATH];
	const char *body = field[BS_END_BODY];

	if (field[BS_BASE_URL] == NULL)
		return "It has no base_url.";
	if (path == NULL)
		return "It has no end_path.";
	if (strstr(path, BS_PLACEHOLDER) == NULL &&
		(body == NULL || strstr(body, BS_PLACEHOLDER) == NULL))
		return "Neither end_path nor end_body has {id}, the place of the "
			"session's id.";
	if (field[BS_CONFIRM_PATH] != NULL &&
		strstr(field[BS_CONFIRM_PATH], BS_PLACEHOLDER) == NULL)
		return "Its confirm_path has no {id}, the place of the session's id.";
	if (field[BS_AMBIGUOUS_STATUS] != NULL &&
		field[BS_CONFIRM_PATH] == NULL)
		return "It has ambiguous_status, but no confirm_path to settle it.";
	if (bs_field_is_true(field[BS_STATUS_REQUIRED]) &&
		field[BS_STATUS_FIELD] == NULL)
		return "It has status_required, but no status_field.";
	return NULL;
}

/*
 * Returns why a value cannot be that of a field, as a sentence, or NULL.
 * What concerns several fields, and base_url, is not checked here.
 */
const char *
bs_field_check(BsField field, const char *value)
{
	switch (field)
	{
		case BS_AUTH:
			return check_auth(value);
		case BS_END_METHOD:
			return check_method(value);
		case BS_END_PATH:
		case BS_CONFIRM_PATH:
			return check_path(value);
		case BS_END_BODY:
			return check_body(value);
		case BS_PROJECT:
			return check_project(value);
		case BS_REPLY:
			return strcmp(value, "json") == 0 || strcmp(value, "any") == 0 ?
				NULL : "It must be json or any.";
		case BS_ID_URL:
		case BS_STATUS_REQUIRED:
			return strcmp(value, "true") == 0 || strcmp(value, "false") == 0 ?
				NULL : "It must be true or false.";
		case BS_GONE_STATUS:
		case BS_AMBIGUOUS_STATUS:
			return check_statuses(value);
		case BS_BASE_URL:
			return NULL;
		default:
			return check_printable(value);
	}
}
