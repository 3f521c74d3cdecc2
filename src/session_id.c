/*
 * session_id.c
 *		Checking what callers give as a session's id.
 *
 * Ids are hostile.  DELETE .../sessions/all ends everybody's sessions at one
 * provider, POST .../sessions/release at another, and an empty id names the
 * whole collection.  So what could be read as anything but one segment of a
 * path is refused, here, before any request is built.
 *
 * Where a provider hands out a ready URL for stopping a session, that URL is
 * accepted too, if it leads to the very server and path that the account has.
 *
 * Needs no server: it is built into the fuzz targets as well.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "encoding.h"
#include "http.h"
#include "mb/pg_wchar.h"
#include "session_id.h"

/* Names that mean a collection or a directory, never a session. */
static const char *const reserved[] = {".", "..", "all", "release"};

/*
 * Returns why "id" cannot be one segment of a path, or NULL if it can.
 */
static const char *
check_segment(const char *id)
{
	if (*id == '\0')
		return "An id must not be empty.";
	if (strlen(id) > BS_MAX_ID)
		return "An id must not be longer than 512 bytes.";
	if (pg_encoding_verifymbstr(PG_UTF8, id, (int) strlen(id)) !=
		(int) strlen(id))
		return "An id must be valid UTF-8.";
	for (const unsigned char *p = (const unsigned char *) id; *p; p++)
	{
		if (*p == ' ' || bs_encoding_is_control((const char *) p))
			return "An id must not contain white space or control "
				"characters.";
		if (strchr("/?#%\\", *p) != NULL)
			return "An id must not contain any of / ? # % \\.";
	}
	for (int i = 0; i < (int) lengthof(reserved); i++)
	{
		if (pg_strcasecmp(id, reserved[i]) == 0)
			return "The ids \".\", \"..\", \"all\" and \"release\" do not "
				"name a session.";
	}
	return NULL;
}

/*
 * Returns the last segment of a stop URL's path, if the path is the one that
 * the service's end_path has: …/session/{id}, with nothing but the base URL's
 * own path before it, or an endpoint's (/e/…) behind that.  Otherwise NULL.
 */
static char *
find_id_in_path(const BsService *service, const HttpUrl *base,
				const char *path)
{
	const char *template = service->field[BS_END_PATH];
	const char *place = strstr(template, BS_PLACEHOLDER);
	size_t		prefix = strlen(base->path);

	if (place == NULL)
		return NULL;
	while (prefix > 0 && base->path[prefix - 1] == '/')
		prefix--;
	if (strncmp(path, base->path, prefix) != 0)
		return NULL;
	path += prefix;
	if (strncmp(path, "/e/", 3) == 0)
	{
		size_t		length = strcspn(path + 3, "/");
		char	   *endpoint = pnstrdup(path + 3, length);

		if (check_segment(endpoint) != NULL)
			return NULL;
		path += 3 + length;
	}
	if (strncmp(path, template, place - template) != 0)
		return NULL;
	return pstrdup(path + (place - template));
}

/*
 * Returns a parameter's value as it stands in a query, or NULL.
 */
static char *
find_parameter(const char *query, const char *name)
{
	while (query != NULL && name != NULL)
	{
		size_t		length = strlen(name);

		if (strncmp(query, name, length) == 0 && query[length] == '=')
			return pnstrdup(query + length + 1,
							strcspn(query + length + 1, "&"));
		query = strchr(query, '&');
		query = query != NULL ? query + 1 : NULL;
	}
	return NULL;
}

/*
 * Checks a stop URL.  Returns why it is refused, or NULL.  No reason quotes
 * the URL: there is a token in it.
 */
static const char *
parse_stop_url(const BsService *service, const char *text, BsSessionId *id)
{
	HttpUrl		url;
	HttpUrl		base;

	if (strlen(text) > BS_MAX_STOP_URL)
		return "A stop URL must not be longer than 2048 bytes.";
	for (const unsigned char *p = (const unsigned char *) text; *p; p++)
	{
		if (*p <= ' ' || *p >= 0x7f || *p == '\\')
			return "A stop URL must not contain anything but visible ASCII.";
	}
	if (!bs_http_url_split(text, &url) ||
		!bs_http_url_split(service->field[BS_BASE_URL], &base))
		return "It is not a valid URL.";
	if (url.has_user || url.has_fragment)
		return "A stop URL must not contain a user name or a fragment.";
	if (strcmp(url.scheme, base.scheme) != 0 ||
		strcmp(url.host, base.host) != 0 || url.port != base.port)
		return "A stop URL must have the scheme, host and port of the "
			"server's base_url.";
	id->name = find_id_in_path(service, &base, url.path);
	if (id->name == NULL || check_segment(id->name) != NULL)
		return "A stop URL's path must be the server's end_path with an id.";
	id->stop_url = pstrdup(text);
	id->token = find_parameter(url.query,
							   bs_field_argument(service->field[BS_AUTH],
												 "query:"));
	return NULL;
}

/*
 * Checks what a caller gave as id (UTF-8) and fills *id in the current memory
 * context.  Returns NULL, or a sentence that says why it is refused.
 */
const char *
bs_session_id_parse(const BsService *service, const char *text,
					BsSessionId *id)
{
	const char *why;

	memset(id, 0, sizeof(*id));
	if (bs_field_is_true(service->field[BS_ID_URL]) &&
		strstr(text, "://") != NULL)
		return parse_stop_url(service, text, id);
	why = check_segment(text);
	if (why == NULL)
		id->name = pstrdup(text);
	return why;
}

/*
 * Overwrites what an id holds of a credential.
 */
void
bs_session_id_wipe(BsSessionId *id)
{
	bs_redact_wipe(id->stop_url);
	bs_redact_wipe(id->token);
}
