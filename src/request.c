/*
 * request.c
 *		From a session's id to the request that ends or shows it.
 *
 * The id, which session_id.c has checked, becomes exactly one percent-encoded
 * segment of the path.  The credential goes where the provider wants it; the
 * caller overwrites it when the transfer is over.
 *
 * Needs no server: it is built into the fuzz targets as well.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "json.h"
#include "lib/stringinfo.h"
#include "request.h"

/*
 * Appends "text" percent-encoded: nothing but unreserved characters stays.
 */
static void
append_encoded(StringInfo buf, const char *text)
{
	for (const unsigned char *p = (const unsigned char *) text; *p; p++)
	{
		if ((*p < 0x80 && isalnum(*p)) || strchr("-._~", *p) != NULL)
			appendStringInfoChar(buf, (char) *p);
		else
			appendStringInfo(buf, "%%%02X", *p);
	}
}

/*
 * Returns a template with the id, encoded, in the place of {id}.
 */
static char *
fill_in(const char *template, const char *encoded)
{
	StringInfoData buf;
	const char *at;

	initStringInfo(&buf);
	while ((at = strstr(template, BS_PLACEHOLDER)) != NULL)
	{
		appendBinaryStringInfo(&buf, template, (int) (at - template));
		appendStringInfoString(&buf, encoded);
		template = at + strlen(BS_PLACEHOLDER);
	}
	appendStringInfoString(&buf, template);
	return buf.data;
}

/*
 * Does the query of a URL have a parameter: "name=" followed by anything, or
 * exactly "name=value"?
 */
static bool
has_parameter(const char *url, const char *parameter, size_t length)
{
	bool		any_value = parameter[length - 1] == '=';
	const char *p = strchr(url, '?');

	while (p != NULL)
	{
		p++;
		if (strncmp(p, parameter, length) == 0 &&
			(any_value || p[length] == '&' || p[length] == '\0'))
			return true;
		p = strchr(p, '&');
	}
	return false;
}

/*
 * Appends a parameter to the query of a URL.
 */
static void
append_parameter(StringInfo url, const char *parameter, size_t length)
{
	appendStringInfoChar(url, strchr(url->data, '?') != NULL ? '&' : '?');
	appendBinaryStringInfo(url, parameter, (int) length);
}

/*
 * Appends the parameters of a path to a URL, but for those it has already.
 */
static void
append_query(StringInfo url, const char *path)
{
	const char *p = strchr(path, '?');

	while (p != NULL && *++p != '\0')
	{
		size_t		length = strcspn(p, "&");

		if (length > 0 && !has_parameter(url->data, p, length))
			append_parameter(url, p, length);
		p = strchr(p, '&');
	}
}

/*
 * Appends the request's URL: base URL and path, or, to end a session whose
 * stop URL is given, that.  A credential that goes into the query comes
 * first, as in the documents.
 */
static void
append_url(StringInfo url, const BsService *service, const BsSessionId *id,
		   BsAsk ask)
{
	const char *name = bs_field_argument(service->field[BS_AUTH], "query:");
	StringInfoData encoded;
	char	   *path;

	initStringInfo(&encoded);
	append_encoded(&encoded, id->name);
	path = fill_in(service->field[ask == BS_ASK_END ? BS_END_PATH :
								  BS_CONFIRM_PATH], encoded.data);
	if (ask == BS_ASK_END && id->stop_url != NULL)
		appendStringInfoString(url, id->stop_url);
	else
	{
		appendStringInfoString(url, service->field[BS_BASE_URL]);
		appendBinaryStringInfo(url, path, (int) strcspn(path, "?"));
	}

	if (name != NULL)
	{
		char	   *parameter = psprintf("%s=", name);

		if (!has_parameter(url->data, parameter, strlen(parameter)))
		{
			append_parameter(url, parameter, strlen(parameter));
			append_encoded(url, service->api_key);
		}
	}
	append_query(url, path);
}

/*
 * Adds a header line, copied into the current memory context.
 */
static void
add_header(HttpRequest *request, const char *name, const char *value)
{
	Assert(request->nheaders < BS_HTTP_MAX_HEADERS);
	request->header[request->nheaders++] = psprintf("%s: %s", name, value);
}

/*
 * Adds the credential, wherever the provider wants it.
 */
static void
add_credential(HttpRequest *request, const BsService *service)
{
	const char *auth = service->field[BS_AUTH];
	const char *name = bs_field_argument(auth, "header:");

	if (name != NULL)
		add_header(request, name, service->api_key);
	else if (strcmp(auth, "bearer") == 0)
	{
		char	   *value = psprintf("Bearer %s", service->api_key);

		add_header(request, "Authorization", value);
		bs_redact_wipe(value);
	}
	else if (service->username != NULL)
	{
		request->username = service->username;
		request->password = service->password;
	}
}

/*
 * Returns the body that ends a session, or NULL if there is none.
 */
static char *
build_body(const BsService *service, const BsSessionId *id)
{
	const char *template = service->field[BS_END_BODY];
	const char *field = bs_field_argument(service->field[BS_PROJECT], "body:");
	char	   *quoted;
	char	   *body;

	if (template == NULL)
		return NULL;
	/* The template has its own quotes around {id}. */
	quoted = bs_json_quote(id->name);
	quoted[strlen(quoted) - 1] = '\0';
	body = fill_in(template, quoted + 1);
	if (field != NULL && service->project_id != NULL)
		body = bs_json_with(body, field, service->project_id);
	return body;
}

/*
 * Fills in the request's own fields (method, URL, headers, body, user), in
 * the current memory context.  The session is at "id".  The caller sets
 * limits and, when the transfer is over, calls bs_request_wipe().
 */
void
bs_request_build(const BsService *service, const BsSessionId *id, BsAsk ask,
				 HttpRequest *request)
{
	const char *header = bs_field_argument(service->field[BS_PROJECT],
										   "header:");
	StringInfoData url;

	memset(request, 0, sizeof(*request));
	request->method = ask == BS_ASK_END ? service->field[BS_END_METHOD] :
		"GET";
	initStringInfo(&url);
	append_url(&url, service, id, ask);
	request->url = url.data;
	add_credential(request, service);
	if (header != NULL && service->project_id != NULL)
		add_header(request, header, service->project_id);
	if (ask == BS_ASK_END)
		request->body = build_body(service, id);
}

/*
 * Overwrites what a request holds of the credential.
 */
void
bs_request_wipe(HttpRequest *request)
{
	bs_redact_wipe(request->url);
	for (int i = 0; i < request->nheaders; i++)
		bs_redact_wipe(request->header[i]);
}
