/*
 * http.h
 *		HTTP exchanges, many at once, on a single wait that PostgreSQL can
 *		interrupt; the only door to libcurl.
 */
#ifndef BS_HTTP_H
#define BS_HTTP_H

/* A request.  Strings are the caller's until the transfer is released. */
#define BS_HTTP_MAX_HEADERS		8

typedef struct HttpRequest
{
	const char *method;
	char	   *url;
	int			nheaders;
	char	   *header[BS_HTTP_MAX_HEADERS];	/* "Name: value" */
	const char *body;			/* NULL = none */
	const char *username;		/* NULL = no basic authentication */
	const char *password;
	const char *ca_file;		/* NULL = the system's certificates */
	bool		allow_http;		/* plain http is allowed */
	bool		direct;			/* never through a proxy */
	bool		allow_local;	/* see http_address.c; if not, no proxy */
	int64		timeout;		/* microseconds for the whole exchange */
	size_t		max_body;		/* bytes of the body that are read */
} HttpRequest;

/*
 * Transfers to begin before the first of them is over, if the host has a name:
 * until it is known, each has a thread that looks it up.
 */
#define BS_FIRST_LOOKUPS	16

/* Longest pause that an answer can ask for, in µs; longer ones are cut. */
#define BS_HTTP_MAX_PAUSE	(86400 * BS_US_PER_S)

typedef enum HttpFailure
{
	HTTP_ANSWERED,				/* a complete answer is there */
	HTTP_NO_CONNECTION,			/* none, or lost before a status line */
	HTTP_NO_TRUST,				/* TLS: certificate or CA file refused */
	HTTP_NOT_ALLOWED,			/* only addresses that need allow_local */
	HTTP_TIMEOUT,
	HTTP_CUT_SHORT,				/* connection lost after the status line */
	HTTP_BROKEN_ANSWER			/* garbled, or beyond a limit */
} HttpFailure;

typedef struct HttpReply
{
	HttpFailure failure;
	char	   *error;			/* what failed; NULL if answered */
	int			status;			/* 0 if no status line came */
	const char *content_type;	/* NULL if not given */
	const char *content_encoding;	/* NULL if not given; not undone */
	const char *body;			/* NUL-terminated; may hold NUL bytes too */
	size_t		length;
	int64		retry_after;	/* microseconds; -1 if not given */
	int			should_retry;	/* 1, 0, or -1 if the provider did not say */
} HttpReply;

typedef struct HttpTransfer HttpTransfer;

extern void bs_http_start(const HttpRequest *request, void *tag);
extern bool bs_http_wait(int64 deadline);
extern HttpTransfer *bs_http_next(void);
extern void *bs_http_tag(const HttpTransfer *transfer);
extern const HttpReply *bs_http_reply(const HttpTransfer *transfer);
extern void bs_http_release(HttpTransfer *transfer);
extern void bs_http_rest(void);
extern void bs_http_abort(void);
extern void bs_http_dedicate(void);
extern int	bs_http_capacity(void);

/* A URL taken apart (http_url.c). */
typedef struct HttpUrl
{
	char	   *scheme;			/* lower case */
	char	   *host;			/* lower case; IPv6 in brackets */
	int			port;			/* the scheme's own if none is given */
	char	   *path;			/* as it stands; at least "/" */
	char	   *query;			/* NULL if none */
	bool		has_user;
	bool		has_fragment;
} HttpUrl;

extern bool bs_http_url_split(const char *url, HttpUrl *parts);
extern bool bs_http_url_is_numeric(const HttpUrl *parts);
extern bool bs_http_url_is_loopback(const HttpUrl *parts);
extern const char *bs_http_url_refuse(const HttpUrl *parts);

/* Addresses that need allow_local (http_address.c). */
struct sockaddr;

extern const char *bs_http_address_refuse(const struct sockaddr *address);
extern const char *bs_http_address_refuse_text(const char *text, bool name);

#endif							/* BS_HTTP_H */
