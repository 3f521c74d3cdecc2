/*
 * http_url.c
 *		Taking URLs apart with libcurl's own parser.
 *
 * What is checked here is what libcurl will later connect to: a parser of our
 * own could see another host in the same text.
 *
 * Needs no server: it is built into the fuzz targets as well.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <curl/curl.h>

#include "http.h"
#include "shortage.h"

/*
 * Returns a part in the current memory context, in lower case if asked for,
 * or NULL if the URL does not have it.  Frees the URL and throws if there is
 * no memory.
 */
static char *
copy_part(CURLU *url, CURLUPart what, unsigned int flags, bool lower)
{
	char	   *part;
	char	   *copy = NULL;
	CURLUcode	code = curl_url_get(url, what, &part, flags);

	if (code == CURLUE_OK)
	{
		copy = palloc_extended(strlen(part) + 1, MCXT_ALLOC_NO_OOM);
		if (copy != NULL)
			strcpy(copy, part);
		curl_free(part);
	}
	if (code == CURLUE_OUT_OF_MEMORY || (code == CURLUE_OK && copy == NULL))
	{
		curl_url_cleanup(url);
		bs_raise_shortage("a URL");
	}
	if (copy != NULL && lower)
	{
		for (char *p = copy; *p; p++)
			*p = (char) pg_ascii_tolower((unsigned char) *p);
	}
	return copy;
}

/*
 * Takes an absolute URL apart into the current memory context.  Returns false
 * if it is not one.  Throws if there is no memory.
 */
bool
bs_http_url_split(const char *url, HttpUrl *parts)
{
	CURLU	   *handle = curl_url();
	char	   *port;
	CURLUcode	code = CURLUE_OUT_OF_MEMORY;

	memset(parts, 0, sizeof(*parts));
	if (handle != NULL)
		code = curl_url_set(handle, CURLUPART_URL, url,
							CURLU_PATH_AS_IS | CURLU_NON_SUPPORT_SCHEME);
	if (code == CURLUE_OUT_OF_MEMORY)
	{
		curl_url_cleanup(handle);
		bs_raise_shortage("a URL");
	}
	if (code == CURLUE_OK)
	{
		char	   *user = copy_part(handle, CURLUPART_USER, 0, false);
		char	   *password = copy_part(handle, CURLUPART_PASSWORD, 0, false);

		parts->has_user = user != NULL || password != NULL;
		parts->scheme = copy_part(handle, CURLUPART_SCHEME, 0, true);
		parts->host = copy_part(handle, CURLUPART_HOST, 0, true);
		parts->path = copy_part(handle, CURLUPART_PATH, 0, false);
		parts->query = copy_part(handle, CURLUPART_QUERY, 0, false);
		port = copy_part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT, false);
		parts->port = port != NULL ? atoi(port) : 0;
		/* libcurl drops an empty one. */
		parts->has_fragment = strchr(url, '#') != NULL;
	}
	curl_url_cleanup(handle);
	return code == CURLUE_OK && parts->scheme != NULL && parts->host != NULL &&
		parts->path != NULL;
}

/*
 * Is the host an address, so that there is no name to look up?
 */
bool
bs_http_url_is_numeric(const HttpUrl *parts)
{
	return *parts->host == '[' ||
		strspn(parts->host, "0123456789.") == strlen(parts->host);
}

/*
 * Does the URL name this very machine by its loopback interface?
 */
bool
bs_http_url_is_loopback(const HttpUrl *parts)
{
	unsigned	a;
	unsigned	b;
	unsigned	c;
	unsigned	d;
	char		rest;

	if (strcmp(parts->host, "localhost") == 0 ||
		strcmp(parts->host, "[::1]") == 0)
		return true;
	return sscanf(parts->host, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d,
				  &rest) == 4 && a == 127 && b < 256 && c < 256 && d < 256;
}

/*
 * Returns what the host is if it can be seen that only a superuser may have a
 * server connect to it, or else NULL: a name can resolve to anything.
 */
const char *
bs_http_url_refuse(const HttpUrl *parts)
{
	const char *host = parts->host;

	if (*host == '[')
		host = pnstrdup(host + 1, strlen(host) - 2);
	else if (bs_http_url_is_loopback(parts))
		host = "127.0.0.1";
	return bs_http_address_refuse_text(host, true);
}
