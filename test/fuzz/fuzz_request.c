/*
 * fuzz_request.c
 *		Fuzz target: from a provider, options and an id to a request.
 *
 * The input's lines are the provider, fields that replace its own, the
 * credential and what is asked; the rest is the id.
 *
 * Whatever the id is: the request goes to the host of base_url, its path is
 * that of the descriptor with the id as one segment, percent-encoded, and its
 * query, headers and body are the descriptor's.  URLs are taken apart by
 * libcurl, which sends them; the expectation is written down here a second
 * time.
 */
#include "postgres_fe.h"

#include <curl/curl.h>
#include <jansson.h>

#include "fuzz.h"
#include "mb/pg_wchar.h"
#include "request.h"

typedef struct Case
{
	BsService	service;
	const char *given;			/* as the caller gives it */
	BsSessionId id;
	BsAsk		ask;
	HttpRequest request;
} Case;

/* A URL as libcurl sends it. */
typedef struct Url
{
	char	   *scheme;
	char	   *host;
	char	   *port;
	char	   *path;
	char	   *query;			/* or NULL */
	char	   *user;			/* or NULL */
	char	   *fragment;		/* or NULL */
} Url;

/* ----------------------------------------------------------------
 * URLs
 * ----------------------------------------------------------------
 */

/*
 * Takes a URL apart, dots in the path removed or not.
 */
static void
take_apart(const char *text, unsigned flags, Url *url)
{
	CURLU	   *handle = curl_url();

	must(curl_url_set(handle, CURLUPART_URL, text, flags) == CURLUE_OK,
		 "libcurl cannot read the URL %s", text);
	url->scheme = url_part(handle, CURLUPART_SCHEME);
	url->host = url_part(handle, CURLUPART_HOST);
	url->port = url_part(handle, CURLUPART_PORT);
	url->path = url_part(handle, CURLUPART_PATH);
	url->query = url_part(handle, CURLUPART_QUERY);
	url->user = url_part(handle, CURLUPART_USER);
	url->fragment = url_part(handle, CURLUPART_FRAGMENT);
	curl_url_cleanup(handle);
}

/*
 * Encodes a text as one segment of a path: by bytes, all but unreserved ones.
 */
static char *
encode(const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	char	   *encoded = palloc(strlen(text) * 3 + 1);
	char	   *to = encoded;

	for (; *text; text++)
	{
		unsigned char c = (unsigned char) *text;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
			c == '~')
			*to++ = (char) c;
		else
		{
			*to++ = '%';
			*to++ = hex[c >> 4];
			*to++ = hex[c & 15];
		}
	}
	*to = '\0';
	return encoded;
}

/*
 * Returns "template" with each {id} replaced, and what follows "stop" cut off
 * before that, if it is not NUL.
 */
static char *
put_in(const char *template, const char *id, char stop)
{
	char	   *rest = pstrdup(template);
	char	   *result = pstrdup("");
	char	   *end = stop != '\0' ? strchr(rest, stop) : NULL;
	char	   *place;

	if (end != NULL)
		*end = '\0';
	while ((place = strstr(rest, "{id}")) != NULL)
	{
		*place = '\0';
		result = psprintf("%s%s%s", result, rest, id);
		rest = place + 4;
	}
	return psprintf("%s%s", result, rest);
}

/*
 * How often is a parameter in a query: one that begins with "name=", or, with
 * a value, the very same?
 */
static int
count_parameter(const char *query, const char *parameter)
{
	char	   *rest = query != NULL ? pstrdup(query) : NULL;
	size_t		length = strlen(parameter);
	bool		any = length > 0 && parameter[length - 1] == '=';
	char	   *p;
	int			n = 0;

	while (rest != NULL && (p = strsep(&rest, "&")) != NULL)
		n += any ? strncmp(p, parameter, length) == 0 :
			strcmp(p, parameter) == 0;
	return n;
}

static const char *
path_field(const Case *c)
{
	return c->service.field[c->ask == BS_ASK_END ? BS_END_PATH :
							BS_CONFIRM_PATH];
}

/*
 * The path of a stop URL: the base URL's, perhaps an endpoint, and what the
 * descriptor has, up to the id.
 */
static void
check_stop_path(const Case *c, const Url *base, const char *path)
{
	const char *template = c->service.field[BS_END_PATH];
	size_t		before = strstr(template, "{id}") - template;
	size_t		prefix = strlen(base->path);

	prefix -= prefix > 0 && base->path[prefix - 1] == '/';
	must(strncmp(path, base->path, prefix) == 0, "a stop URL goes elsewhere");
	path += prefix;
	if (strncmp(path, "/e/", 3) == 0)
		path += 3 + strcspn(path + 3, "/");
	must(strncmp(path, template, before) == 0 &&
		 strcmp(path + before, c->id.name) == 0,
		 "a stop URL has another path: %s", path);
}

/*
 * Returns the query of a stop URL, or NULL.
 */
static const char *
given_query(const Case *c)
{
	const char *query = strchr(c->id.stop_url, '?');

	return query != NULL ? query + 1 : NULL;
}

/*
 * The query: the credential's parameter and the descriptor's, each once, and
 * what a stop URL had.
 */
static void
check_query(const Case *c, const Url *url)
{
	const char *auth = c->service.field[BS_AUTH];
	const char *fields = strchr(path_field(c), '?');
	char	   *name = strncmp(auth, "query:", 6) == 0 ?
		psprintf("%s=", auth + 6) : NULL;
	char	   *rest;
	char	   *p;
	int			least = 0;
	int			given;
	int			n;

	if (name != NULL)
	{
		n = count_parameter(url->query, name);
		must(n >= 1, "no credential");
		must(c->id.stop_url == NULL || c->ask != BS_ASK_END ||
			 n <= Max(count_parameter(given_query(c), name),
					  1), "another credential");
		if (c->id.stop_url == NULL)
		{
			p = psprintf("%s%s", name, encode(c->service.api_key));
			must(count_parameter(url->query, p) == 1, "not the credential");
		}
		least++;
	}
	rest = fields != NULL ? put_in(fields + 1, encode(c->id.name), '\0') :
		NULL;
	while (rest != NULL && (p = strsep(&rest, "&")) != NULL)
	{
		if (*p == '\0')
			continue;
		given = c->id.stop_url != NULL && c->ask == BS_ASK_END ?
			count_parameter(given_query(c), p) : 0;
		n = count_parameter(url->query, p);
		must(n >= 1 || p[strlen(p) - 1] == '=', "the query has no %s", p);
		must(n <= Max(given, 1) || p[strlen(p) - 1] == '=',
			 "the query has %s %d times", p, n);
		least++;
	}
	if (c->id.stop_url == NULL && least == 0)
		must(url->query == NULL, "a query from nowhere: %s", url->query);
	if (c->id.stop_url == NULL && name == NULL && fields == NULL)
		must(strchr(c->request.url, '?') == NULL, "a query from nowhere");
	for (p = url->query, rest = NULL; p != NULL && *p != '\0'; p++)
		least -= *p == '&';
	must(c->id.stop_url != NULL || least >= 0, "parameters from nowhere");
}

static void
check_url(const Case *c)
{
	Url			base;
	Url			url;
	Url			plain;
	char	   *path;

	must(is_visible(c->request.url), "the URL has odd characters");
	take_apart(c->service.field[BS_BASE_URL], CURLU_PATH_AS_IS, &base);
	take_apart(c->request.url, CURLU_PATH_AS_IS, &url);
	take_apart(c->request.url, 0, &plain);
	must(strcasecmp(url.scheme, base.scheme) == 0 &&
		 strcasecmp(url.host, base.host) == 0 &&
		 strcmp(url.port, base.port) == 0, "another host: %s", c->request.url);
	must(url.user == NULL && url.fragment == NULL, "a user or a fragment");
	if (c->id.stop_url != NULL && c->ask == BS_ASK_END)
	{
		must(strncmp(c->request.url, c->id.stop_url,
					 strlen(c->id.stop_url)) == 0, "not the stop URL");
		check_stop_path(c, &base, url.path);
	}
	else
	{
		path = put_in(path_field(c), encode(c->id.name), '?');
		path = psprintf("%s%s", strcmp(base.path, "/") == 0 ? "" : base.path,
						path);
		must(strcmp(url.path, path) == 0, "the path is %s, not %s", url.path,
			 path);
	}
	/* What a server may make of dots, the id has none of. */
	path = put_in(path_field(c), "x", '?');
	if (strstr(path, "/.") == NULL && strstr(path, "%2") == NULL &&
		strstr(base.path, "/.") == NULL && strstr(base.path, "%2") == NULL &&
		strstr(path_field(c), ".{id}") == NULL &&
		strstr(path_field(c), "{id}.") == NULL)
		must(strcmp(plain.path, url.path) == 0, "dots are at work: %s",
			 url.path);
	check_query(c, &url);
}

/* ----------------------------------------------------------------
 * The rest of a request
 * ----------------------------------------------------------------
 */

/*
 * Is the header there, with this value?
 */
static bool
has_header(const HttpRequest *request, const char *name, const char *value)
{
	char	   *line = psprintf("%s: %s", name, value);
	int			n = 0;

	for (int i = 0; i < request->nheaders; i++)
		n += strcmp(request->header[i], line) == 0;
	return n >= 1;
}

/*
 * The headers: the credential's and the project's, and no others.
 */
static void
check_headers(const Case *c)
{
	const BsService *service = &c->service;
	const HttpRequest *request = &c->request;
	const char *auth = service->field[BS_AUTH];
	const char *project = service->field[BS_PROJECT];
	int			n = 0;

	if (strncmp(auth, "header:", 7) == 0)
	{
		must(has_header(request, auth + 7, service->api_key), "no key");
		n++;
	}
	else if (strcmp(auth, "bearer") == 0)
	{
		must(has_header(request, "Authorization",
						psprintf("Bearer %s", service->api_key)), "no token");
		n++;
	}
	if (project != NULL && strncmp(project, "header:", 7) == 0 &&
		service->project_id != NULL)
	{
		must(has_header(request, project + 7, service->project_id),
			 "no project");
		n++;
	}
	must(request->nheaders == n, "%d headers, not %d", request->nheaders, n);
	for (int i = 0; i < n; i++)
	{
		for (const char *p = request->header[i]; *p; p++)
			must(*p >= ' ' && *p <= '~', "a header has odd characters");
	}
	must(service->username == NULL || strncmp(auth, "header:", 7) == 0 ||
		 strcmp(auth, "bearer") == 0 ||
		 (request->username != NULL &&
		  strcmp(request->username, service->username) == 0 &&
		  strcmp(request->password, service->password) == 0),
		 "no user name and password");
	must(service->username != NULL || request->username == NULL, "a user");
}

/*
 * Returns a copy of a template's JSON with the id in each {id}.
 */
static json_t *
put_in_json(json_t *node, const char *id)
{
	json_t	   *copy;
	const char *name;
	json_t	   *value;
	size_t		i;

	if (json_is_string(node))
		return json_string(put_in(json_string_value(node), id, '\0'));
	if (json_is_object(node))
	{
		copy = json_pack("{}");
		json_object_foreach(node, name, value)
		{
			json_object_set_new(copy, put_in(name, id, '\0'),
								put_in_json(value, id));
		}
		return copy;
	}
	if (json_is_array(node))
	{
		copy = json_pack("[]");
		json_array_foreach(node, i, value)
		{
			json_array_append_new(copy, put_in_json(value, id));
		}
		return copy;
	}
	return json_incref(node);
}

/*
 * The body: the template's JSON, with the id in a string and nowhere else.
 */
static void
check_body(const Case *c)
{
	const char *template = c->service.field[BS_END_BODY];
	const char *project = c->service.field[BS_PROJECT];
	json_t	   *body;
	json_t	   *wanted;
	json_t	   *parsed;

	if (template == NULL || c->ask != BS_ASK_END)
	{
		must(c->request.body == NULL, "a body from nowhere");
		return;
	}
	must(c->request.body != NULL, "no body");
	/* With these, what is text and what is JSON may differ. */
	if (strstr(template, "\\u") != NULL)
		return;
	body = input_json(c->request.body, strlen(c->request.body));
	must(json_is_object(body), "the body is no object: %s", c->request.body);
	parsed = input_json(template, strlen(template));
	wanted = put_in_json(parsed, c->id.name);
	if (project != NULL && strncmp(project, "body:", 5) == 0 &&
		c->service.project_id != NULL)
		json_object_set_new(wanted, project + 5,
							json_string(c->service.project_id));
	must(json_equal(body, wanted), "another body: %s", c->request.body);
	json_decref(body);
	json_decref(wanted);
	json_decref(parsed);
}

/* ----------------------------------------------------------------
 * Ids
 * ----------------------------------------------------------------
 */

/*
 * Can nobody object to this id: letters, digits and dashes, no reserved word?
 */
static bool
is_harmless(const char *id)
{
	return *id != '\0' && strlen(id) <= 64 &&
		strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz"
			   "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_") == strlen(id) &&
		strcasecmp(id, "all") != 0 && strcasecmp(id, "release") != 0;
}

/*
 * What must never be taken for an id, nor come out of a stop URL.
 */
static void
check_name(const Case *c)
{
	const char *name = c->id.name;

	must(*name != '\0' && strlen(name) <= 512, "an id of odd length");
	must(strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
		 strcasecmp(name, "all") != 0 && strcasecmp(name, "release") != 0,
		 "a reserved word is an id");
	must(strpbrk(name, "/?#%\\ \t\n\r\v\f\x7f") == NULL,
		 "an id that is no segment");
	for (const char *p = name; *p; p++)
		must((unsigned char) *p >= ' ', "a control character in an id");
	must(pg_encoding_verifymbstr(PG_UTF8, name, (int) strlen(name)) ==
		 (int) strlen(name), "an id that is not UTF-8");
	must(c->id.stop_url != NULL || strcmp(name, c->given) == 0,
		 "the id has changed");
	must(c->id.stop_url == NULL ||
		 strcmp(c->service.field[BS_ID_URL], "true") == 0,
		 "a stop URL that the provider does not have");
}

/*
 * Why an id is refused quotes nothing of it.
 */
static void
check_refusal(const Case *c, const char *why)
{
	must(!is_harmless(c->given), "a harmless id is refused: %s", why);
	must(strncmp(why, "A", 1) == 0 || strncmp(why, "T", 1) == 0 ||
		 strncmp(why, "I", 1) == 0, "no sentence: %s", why);
	must(strlen(c->given) < 12 || strstr(why, c->given) == NULL,
		 "the refusal quotes what is refused");
	must(!secret_is_testable(&c->service, c->service.api_key) ||
		 !secret_is_in(c->service.api_key, why), "the refusal has the key");
}

/*
 * The token of a stop URL has to be known, or it could be shown.
 */
static void
check_token(const Case *c)
{
	const char *auth = c->service.field[BS_AUTH];
	const char *query = c->id.stop_url != NULL ?
		strchr(c->id.stop_url, '?') : NULL;

	if (query == NULL || strncmp(auth, "query:", 6) != 0)
		return;
	if (count_parameter(query + 1, psprintf("%s=", auth + 6)) > 0)
		must(c->id.token != NULL && strstr(query, c->id.token) != NULL,
			 "the token is not known");
}

/*
 * After wiping nothing of the credential is left.
 */
static void
check_wiped(Case *c)
{
	HttpRequest *request = &c->request;
	size_t		length = strlen(request->url);
	size_t		header_length[BS_HTTP_MAX_HEADERS] = {0};
	size_t		stop = c->id.stop_url != NULL ? strlen(c->id.stop_url) : 0;

	for (int i = 0; i < request->nheaders; i++)
		header_length[i] = strlen(request->header[i]);
	bs_request_wipe(request);
	bs_session_id_wipe(&c->id);
	for (size_t i = 0; i < length; i++)
		must(request->url[i] == '\0', "the URL is not wiped");
	for (int i = 0; i < request->nheaders; i++)
		for (size_t j = 0; j < header_length[i]; j++)
			must(request->header[i][j] == '\0', "a header is not wiped");
	for (size_t i = 0; i < stop; i++)
		must(c->id.stop_url[i] == '\0', "the stop URL is not wiped");
}

static void
try_id(Case *c)
{
	const char *why = bs_session_id_parse(&c->service, c->given, &c->id);

	if (why != NULL)
	{
		check_refusal(c, why);
		return;
	}
	check_name(c);
	check_token(c);
	bs_request_build(&c->service, &c->id, c->ask, &c->request);
	must(strcmp(c->request.method, c->ask == BS_ASK_END ?
				c->service.field[BS_END_METHOD] : "GET") == 0,
		 "the method is %s", c->request.method);
	check_url(c);
	check_headers(c);
	check_body(c);
	check_wiped(c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	Input		input;
	Case		c;
	const char *ask;

	/* A path can have the id in as many places as there is room for. */
	memory_begin(length, length * length);
	input_read(&input, data, length);
	memset(&c, 0, sizeof(c));
	if (input_service(&input, &c.service))
	{
		ask = input_get(&input, "ask");
		c.ask = ask != NULL && strcmp(ask, "status") == 0 &&
			c.service.field[BS_CONFIRM_PATH] != NULL ? BS_ASK_STATUS :
			BS_ASK_END;
		c.given = input.rest;
		try_id(&c);
	}
	memory_end();
	return 0;
}
