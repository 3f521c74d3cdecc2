/*
 * input.c
 *		Taking an input apart, and making a provider's service of it.
 */
#include "postgres_fe.h"

#include <jansson.h>

#include "fuzz.h"
#include "http.h"
#include "mb/pg_wchar.h"

/*
 * Takes an input apart: what is before the first empty line, and the rest.
 */
void
input_read(Input *input, const uint8_t *data, size_t length)
{
	const uint8_t *gap = memmem(data, length, "\n\n", 2);
	size_t		head = gap != NULL ? (size_t) (gap - data) : length;
	size_t		start = Min(head + 2, length);

	input->head = pnstrdup((const char *) data, head);
	input->rest_length = length - start;
	input->rest = palloc(input->rest_length + 1);
	memcpy(input->rest, data + start, input->rest_length);
	input->rest[input->rest_length] = '\0';
}

/*
 * Returns the value of a line, or NULL if there is no such line.
 */
const char *
input_get(const Input *input, const char *name)
{
	size_t		length = strlen(name);

	for (const char *line = input->head; line != NULL;)
	{
		const char *end = strchr(line, '\n');

		if (strncmp(line, name, length) == 0 &&
			strncmp(line + length, ": ", 2) == 0)
		{
			line += length + 2;
			return end != NULL ? pnstrdup(line, end - line) : pstrdup(line);
		}
		line = end != NULL ? end + 1 : NULL;
	}
	return NULL;
}

/*
 * Returns the number in a line, or "otherwise".
 */
int
input_number(const Input *input, const char *name, int otherwise)
{
	const char *value = input_get(input, name);

	return value != NULL ? (int) strtol(value, NULL, 10) : otherwise;
}

/*
 * Can the text stand in a header line?  (So an api_key has to be.)
 */
bool
is_visible(const char *text)
{
	for (const char *p = text; *p; p++)
	{
		if (*p < '!' || *p > '~')
			return false;
	}
	return *text != '\0';
}

/*
 * Can a user name or password be this?  Of what is not ASCII, Latin-1's
 * letters and pictures stand for all.
 */
bool
is_printable(const char *text)
{
	const unsigned char *p = (const unsigned char *) text;

	while (p != NULL && *p != '\0')
	{
		if (*p >= ' ' && *p <= '~')
			p++;
		else if ((*p == 0xc3 || (*p == 0xf0 && p[1] == 0x9f)) &&
				 pg_encoding_verifymbchar(PG_UTF8, (const char *) p,
										  (int) strlen((const char *) p)) > 0)
			p += pg_utf_mblen(p);
		else
			return false;
	}
	return p != NULL && *text != '\0';
}

/*
 * Can this be a base URL?  The validator's rule: an absolute URL of http or
 * https, of visible ASCII, without user, query and fragment.
 */
static bool
is_base_url(const char *text)
{
	HttpUrl		url;

	return is_visible(text) && strpbrk(text, "\\?#@") == NULL &&
		bs_http_url_split(text, &url) && !url.has_user &&
		(strcmp(url.scheme, "http") == 0 || strcmp(url.scheme, "https") == 0);
}

/*
 * Returns the provider that a line names, or, whatever it says, one of them.
 */
static const BsProvider *
find_provider(const char *name)
{
	const BsProvider *provider = bs_provider_find(name);
	unsigned	sum = 0;
	int			n = 1;

	if (provider != NULL)
		return provider;
	while (bs_provider_at(n) != NULL)
		n++;
	for (; *name; name++)
		sum += (unsigned char) *name;
	return bs_provider_at((int) (sum % n));
}

/*
 * Lays the lines that are named like fields over the provider's.  Returns
 * false if the validator would not have let one through, or the database's
 * encoding, which is taken to be UTF-8.
 */
static bool
set_fields(const Input *input, BsService *service)
{
	const char *name = input_get(input, "provider");
	const BsProvider *provider = find_provider(name != NULL ? name : "");
	char	   *base;

	for (int i = 0; i < BS_NFIELDS; i++)
	{
		const char *value = input_get(input, bs_field_name(i));

		service->field[i] = value != NULL ? value : provider->field[i];
		if (value != NULL && bs_field_check(i, value) != NULL)
			return false;
	}
	if (service->field[BS_BASE_URL] == NULL ||
		pg_encoding_verifymbstr(PG_UTF8, input->head,
								(int) strlen(input->head)) !=
		(int) strlen(input->head) ||
		!is_base_url(service->field[BS_BASE_URL]))
		return false;
	base = pstrdup(service->field[BS_BASE_URL]);
	while (base[strlen(base) - 1] == '/')
		base[strlen(base) - 1] = '\0';
	service->field[BS_BASE_URL] = base;
	return is_base_url(base) && bs_field_check_all(service->field) == NULL;
}

/*
 * Makes a service of the lines, as an account has it.  Returns false if there
 * cannot be such an account.
 */
bool
input_service(const Input *input, BsService *service)
{
	const char *key = input_get(input, "key");
	const char *user = input_get(input, "user");
	const char *password = input_get(input, "password");
	bool		basic;

	memset(service, 0, sizeof(*service));
	if (!set_fields(input, service))
		return false;
	service->project_id = input_get(input, "project_id");
	if (service->project_id != NULL && !is_visible(service->project_id))
		return false;
	basic = strcmp(service->field[BS_AUTH], "basic") == 0;
	if ((basic || strcmp(service->field[BS_AUTH], "none") == 0) &&
		is_printable(user) && strchr(user, ':') == NULL &&
		is_printable(password))
	{
		service->username = pstrdup(user);
		service->password = pstrdup(password);
		bs_redact_add_pair(&service->secrets, user, password);
	}
	else if (basic)
		return false;
	else if (strcmp(service->field[BS_AUTH], "none") != 0)
	{
		if (key == NULL || !is_visible(key))
			return false;
		service->api_key = pstrdup(key);
	}
	bs_redact_add(&service->secrets, service->api_key);
	bs_redact_add(&service->secrets, service->username);
	bs_redact_add(&service->secrets, service->password);
	return true;
}

/*
 * Returns what a text is as JSON, or NULL.  Whole numbers beyond 64 bits are
 * taken as others are.
 */
json_t *
input_json(const char *text, size_t length)
{
	json_t	   *json = json_loadb(text, length, JSON_DECODE_ANY, NULL);

	return json != NULL ? json :
		json_loadb(text, length, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL,
				   NULL);
}

/*
 * Returns a part of a URL as libcurl sees it, or NULL.  A port that is not
 * written there is the scheme's.
 */
char *
url_part(CURLU *url, CURLUPart what)
{
	char	   *part = NULL;
	char	   *copy = NULL;

	if (curl_url_get(url, what, &part, CURLU_DEFAULT_PORT) == CURLUE_OK)
		copy = pstrdup(part);
	curl_free(part);
	return copy;
}
