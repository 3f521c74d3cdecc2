/*
 * http_transfer.c
 *		One transfer: from a request to libcurl's options, and from what
 *		libcurl knows afterwards to a reply.
 *
 * A transfer is kept for the next request, with libcurl's handle and the
 * buffer for the body; what belonged to the request, the credential first of
 * all, is overwritten and freed.  (libcurl keeps copies of its own while a
 * transfer is under way; those it frees without overwriting them.)
 *
 * A handle of which an option could not be set is spoiled: the next request
 * would be made with what is left of the one before.  It is not used again.
 *
 * Nothing in this file throws.
 */
#include "postgres.h"

#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "http_poll.h"
#include "http_transfer.h"
#include "storage/fd.h"

/* Bytes of header lines that are read: many times what a provider sends. */
#define MAX_HEADER_BYTES	(64 * 1024)

/* Most Content-Lengths: to find one more, libcurl goes through all lines. */
#define MAX_LENGTHS			8

/*
 * How long after the time-out libcurl may still say so itself, in µs: some
 * versions forget a transfer, which would be waited for for ever.
 */
#define GRACE				BS_US_PER_S

/* A transfer at rest keeps its body's buffer up to this size. */
#define MAX_KEPT_BUFFER		(64 * 1024)

/* What libcurl calls a header line that is too long, from 8.6 on. */
#if LIBCURL_VERSION_NUM >= 0x080600
#define HEADER_TOO_LONG		CURLE_TOO_LARGE
#else
#define HEADER_TOO_LONG		100
#endif

#ifndef SOCK_CLOEXEC
#define SOCK_CLOEXEC		0
#endif

/* Sets an option of a transfer, which is spoiled if that fails. */
#define SET(transfer, option, value) \
	((transfer)->spoiled |= curl_easy_setopt((transfer)->easy, (option), \
											 (value)) != CURLE_OK)

static const char *const header_limit = "its header is too long";
static const char *const memory_limit = "there is no memory for it";
static const char *const files_limit = "too many open files";
static const char *const body_limit = "it is longer than "
	"browser_session.max_response_size";

/* Connections of this process, in use or kept alive. */
static int	nsockets = 0;

/* The process is for transfers alone: its descriptors are theirs. */
static bool dedicated = false;

/* ----------------------------------------------------------------
 * Callbacks: nothing here may throw or palloc.
 * ----------------------------------------------------------------
 */

/*
 * Notes why there is no socket, if it is for want of something: what libcurl
 * says then is that it could not connect.
 */
static void
note_no_socket(HttpTransfer *transfer, int reason)
{
	if (reason == EMFILE || reason == ENFILE)
		transfer->limit = files_limit;
	else if (reason == ENOMEM || reason == ENOBUFS)
		transfer->limit = memory_limit;
}

/*
 * Opens a socket if PostgreSQL's budget of descriptors has room for it, and
 * the address is one to connect to.  If not, libcurl goes on to the next
 * address.
 */
static curl_socket_t
open_socket_cb(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	HttpTransfer *transfer = arg;
	curl_socket_t fd;

	(void) purpose;
	/* What an address before this one lacked does not matter any more. */
	transfer->limit = NULL;
	if (transfer->looked_up == 0)
		transfer->looked_up = bs_clock_now();
	if (!transfer->allow_local)
	{
		const char *what = bs_http_address_refuse(&address->addr);

		if (what != NULL)
		{
			transfer->refused = what;
			return CURL_SOCKET_BAD;
		}
	}
	transfer->connected = true;
	if (dedicated)
		ReserveExternalFD();
	else if (!AcquireExternalFD())
	{
		note_no_socket(transfer, EMFILE);
		return CURL_SOCKET_BAD;
	}
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC,
				address->protocol);
	if (fd == CURL_SOCKET_BAD)
		note_no_socket(transfer, errno);
	else if (!bs_http_poll_know(fd))
	{
		close(fd);
		fd = CURL_SOCKET_BAD;
		note_no_socket(transfer, ENOMEM);
	}
	if (fd == CURL_SOCKET_BAD)
		ReleaseExternalFD();
	else
		nsockets++;
	return fd;
}

static int
close_socket_cb(void *arg, curl_socket_t fd)
{
	(void) arg;
	bs_http_poll_forget(fd);
	ReleaseExternalFD();
	nsockets--;
	return close(fd);
}

/*
 * Looks at the address once more when there is a connection, before anything
 * is sent: it can be one that was made for another server.
 */
static int
before_request_cb(void *arg, char *address, char *local_address, int port,
				  int local_port)
{
	HttpTransfer *transfer = arg;
	const char *what = bs_http_address_refuse_text(address, false);

	(void) local_address;
	(void) port;
	(void) local_port;
	if (what == NULL)
		return CURL_PREREQFUNC_OK;
	transfer->refused = what;
	return CURL_PREREQFUNC_ABORT;
}

/*
 * Counts the header lines' bytes, and sees the header's end: libcurl takes a
 * connection that ends before it for a complete answer.  What comes after the
 * last status line's header is a trailer.
 */
static size_t
read_header_cb(char *data, size_t size, size_t nitems, void *arg)
{
	HttpTransfer *transfer = arg;
	size_t		length = size * nitems;

	transfer->header_bytes += length;
	if (transfer->header_bytes > MAX_HEADER_BYTES)
	{
		transfer->limit = header_limit;
		return 0;
	}
	if (length >= 5 && memcmp(data, "HTTP/", 5) == 0)
		transfer->header_over = false;
	else if (length > 0 && (*data == '\r' || *data == '\n'))
		transfer->header_over = true;
	return length;
}

/*
 * Appends to the body, up to the limit, and keeps it NUL-terminated.
 */
static size_t
read_body_cb(char *data, size_t size, size_t nitems, void *arg)
{
	HttpTransfer *transfer = arg;
	size_t		length = size * nitems;
	size_t		needed = transfer->reply.length + length + 1;

	if (transfer->reply.length + length > transfer->max_body)
	{
		transfer->limit = body_limit;
		return 0;
	}
	if (needed > transfer->room)
	{
		size_t		room = needed < 1024 ? 1024 : needed * 2;
		char	   *buffer = realloc(transfer->buffer, room);

		if (buffer == NULL)
		{
			transfer->limit = memory_limit;
			return 0;
		}
		transfer->buffer = buffer;
		transfer->room = room;
	}
	memcpy(transfer->buffer + transfer->reply.length, data, length);
	transfer->reply.length += length;
	transfer->buffer[transfer->reply.length] = '\0';
	return length;
}

/* ----------------------------------------------------------------
 * Requests
 * ----------------------------------------------------------------
 */

/*
 * Sets what is the same for every request on a new easy handle.
 */
static void
set_fixed_options(HttpTransfer *transfer)
{
	SET(transfer, CURLOPT_PRIVATE, transfer);
	SET(transfer, CURLOPT_ERRORBUFFER, transfer->curl_error);
	SET(transfer, CURLOPT_USERAGENT, "browser_session/" BS_VERSION);
	SET(transfer, CURLOPT_NOSIGNAL, 1L);
	/* A cancelled query must not wait for a dead name server. */
	SET(transfer, CURLOPT_QUICK_EXIT, 1L);
	SET(transfer, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	/* Twice as fast as HTTP/2 here, and no exchange can break another. */
	SET(transfer, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	SET(transfer, CURLOPT_FOLLOWLOCATION, 0L);
	SET(transfer, CURLOPT_PATH_AS_IS, 1L);
	SET(transfer, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
	SET(transfer, CURLOPT_HEADERFUNCTION, read_header_cb);
	SET(transfer, CURLOPT_HEADERDATA, transfer);
	SET(transfer, CURLOPT_WRITEFUNCTION, read_body_cb);
	SET(transfer, CURLOPT_WRITEDATA, transfer);
	SET(transfer, CURLOPT_OPENSOCKETFUNCTION, open_socket_cb);
	SET(transfer, CURLOPT_OPENSOCKETDATA, transfer);
	SET(transfer, CURLOPT_CLOSESOCKETFUNCTION, close_socket_cb);
	SET(transfer, CURLOPT_PREREQDATA, transfer);
}

/*
 * Returns a new transfer, or NULL if there is no memory.
 */
HttpTransfer *
bs_http_transfer_create(void)
{
	HttpTransfer *transfer = calloc(1, sizeof(HttpTransfer));

	if (transfer == NULL)
		return NULL;
	transfer->easy = curl_easy_init();
	if (transfer->easy == NULL)
	{
		free(transfer);
		return NULL;
	}
	set_fixed_options(transfer);
	if (transfer->spoiled)
	{
		bs_http_transfer_free(transfer);
		return NULL;
	}
	return transfer;
}

/*
 * Sets method and body.  A method that would carry a body but has none sends
 * Content-Length: 0 and no Content-Type.
 */
static void
set_method(HttpTransfer *transfer, const HttpRequest *request)
{
	bool		post = request->body != NULL ||
		strcmp(request->method, "POST") == 0 ||
		strcmp(request->method, "PUT") == 0 ||
		strcmp(request->method, "PATCH") == 0;

	if (post)
	{
		const char *body = request->body != NULL ? request->body : "";

		SET(transfer, CURLOPT_POST, 1L);
		SET(transfer, CURLOPT_POSTFIELDSIZE, (long) strlen(body));
		SET(transfer, CURLOPT_POSTFIELDS, body);
	}
	else
		SET(transfer, CURLOPT_HTTPGET, 1L);
	/* Were it missing, DELETE would become GET. */
	SET(transfer, CURLOPT_CUSTOMREQUEST, request->method);
}

/*
 * Sets the header lines.
 */
static void
set_headers(HttpTransfer *transfer, const HttpRequest *request)
{
	/* A name without a value takes out what libcurl would send by itself. */
	const char *const fixed[] = {
		"Accept: application/json",
		"Expect:",
		request->body != NULL ? "Content-Type: application/json" :
		"Content-Type:"
	};
	struct curl_slist *list = NULL;
	struct curl_slist *longer;

	for (int i = 0; i < (int) lengthof(fixed) + request->nheaders; i++)
	{
		longer = curl_slist_append(list, i < (int) lengthof(fixed) ?
								   fixed[i] :
								   request->header[i - lengthof(fixed)]);
		if (longer == NULL)
		{
			transfer->spoiled = true;
			break;
		}
		list = longer;
	}
	transfer->headers = list;
	SET(transfer, CURLOPT_HTTPHEADER, list);
}

/*
 * Trusts the certificates in "ca_file" and no others, or the system's if it
 * is NULL.
 */
static void
set_trust(HttpTransfer *transfer, const char *ca_file)
{
	const curl_version_info_data *system =
		curl_version_info(CURLVERSION_NOW);

	SET(transfer, CURLOPT_CAINFO, ca_file != NULL ? ca_file : system->cainfo);
	SET(transfer, CURLOPT_CAPATH, ca_file != NULL ? NULL : system->capath);
}

/*
 * Sets what is the same for all requests to a server, if the request before
 * went to another kind of server.
 */
static void
set_server(HttpTransfer *transfer, const HttpRequest *request)
{
	const char *ca_file = request->ca_file;

	if (transfer->is_set && transfer->allow_http == request->allow_http &&
		transfer->direct == request->direct &&
		transfer->allow_local == request->allow_local &&
		(ca_file == NULL ? transfer->ca_file == NULL :
		 transfer->ca_file != NULL && strcmp(ca_file, transfer->ca_file) == 0))
		return;
	/*
	 * The empty name turns off what the environment says.  A proxy would look
	 * up the name itself.
	 */
	SET(transfer, CURLOPT_PROXY,
		request->direct || !request->allow_local ? "" : NULL);
	SET(transfer, CURLOPT_PREREQFUNCTION,
		request->allow_local ? NULL : before_request_cb);
	SET(transfer, CURLOPT_PROTOCOLS_STR,
		request->allow_http ? "http,https" : "https");
	set_trust(transfer, ca_file);
	free(transfer->ca_file);
	transfer->ca_file = ca_file == NULL ? NULL : strdup(ca_file);
	transfer->spoiled |= transfer->ca_file == NULL && ca_file != NULL;
	transfer->allow_http = request->allow_http;
	transfer->direct = request->direct;
	transfer->allow_local = request->allow_local;
	transfer->is_set = true;
}

/*
 * Sets the user, if there is one.
 */
static void
set_user(HttpTransfer *transfer, const HttpRequest *request)
{
	transfer->has_user = request->username != NULL;
	if (!transfer->has_user)
		return;
	SET(transfer, CURLOPT_USERNAME, request->username);
	SET(transfer, CURLOPT_PASSWORD, request->password);
}

/*
 * Makes a transfer ready for a request, with everything that differs between
 * requests.  Returns false if there is no memory for it.
 */
bool
bs_http_transfer_prepare(HttpTransfer *transfer, const HttpRequest *request,
						 void *tag)
{
	long		milliseconds = Max((long) (request->timeout / BS_US_PER_MS),
								   1L);

	transfer->tag = tag;
	transfer->max_body = request->max_body;
	transfer->tls = pg_strncasecmp(request->url, "https:", 6) == 0;
	transfer->began = bs_clock_now();
	transfer->overdue_at = transfer->began + request->timeout + GRACE;
	transfer->looked_up = 0;
	transfer->header_bytes = 0;
	transfer->header_over = false;
	transfer->limit = NULL;
	transfer->refused = NULL;
	transfer->connected = transfer->fresh = false;
	transfer->curl_error[0] = '\0';
	memset(&transfer->reply, 0, sizeof(HttpReply));
	set_method(transfer, request);
	SET(transfer, CURLOPT_FRESH_CONNECT, 0L);
	SET(transfer, CURLOPT_TIMEOUT_MS, milliseconds);
	SET(transfer, CURLOPT_CONNECTTIMEOUT_MS, milliseconds);
	/* A length that is announced need not be waited for. */
	SET(transfer, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t) request->max_body);
	set_server(transfer, request);
	SET(transfer, CURLOPT_URL, request->url);
	set_user(transfer, request);
	set_headers(transfer, request);
	return !transfer->spoiled;
}

/*
 * Has a transfer that was stopped, because the connection that it found leads
 * to an address that was refused, make one of its own the next time: the host
 * can have other addresses.  Returns false if that is not what happened.
 */
bool
bs_http_transfer_renew(HttpTransfer *transfer, CURLcode code)
{
	if (code != CURLE_ABORTED_BY_CALLBACK || transfer->connected ||
		transfer->fresh)
		return false;
	transfer->refused = NULL;
	transfer->fresh = true;
	SET(transfer, CURLOPT_FRESH_CONNECT, 1L);
	return true;
}

/* ----------------------------------------------------------------
 * Replies
 * ----------------------------------------------------------------
 */

static HttpFailure
classify(CURLcode code, int status)
{
	switch (code)
	{
		case CURLE_OK:
			return HTTP_ANSWERED;
		case CURLE_OPERATION_TIMEDOUT:
			return HTTP_TIMEOUT;
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_CIPHER:
		case CURLE_SSL_CRL_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_INVALIDCERTSTATUS:
			return HTTP_NO_TRUST;
		case CURLE_URL_MALFORMAT:
		case CURLE_COULDNT_RESOLVE_PROXY:
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_CONNECT:
		case CURLE_PROXY:
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_SEND_ERROR:
			return HTTP_NO_CONNECTION;
		case CURLE_OUT_OF_MEMORY:
			/* Also libcurl's word for a header line that is too long. */
			return status == 0 ? HTTP_NO_CONNECTION : HTTP_BROKEN_ANSWER;
		case CURLE_GOT_NOTHING:
		case CURLE_RECV_ERROR:
			return status == 0 ? HTTP_NO_CONNECTION : HTTP_CUT_SHORT;
		case CURLE_PARTIAL_FILE:
			return HTTP_CUT_SHORT;
		default:
			/* Among them CURLE_UNSUPPORTED_PROTOCOL, meaning HTTP/0.9. */
			return HTTP_BROKEN_ANSWER;
	}
}

/*
 * Says in which phase the time ran out.  When libcurl's own times are set, and
 * to what, differs between its versions.
 */
static void
describe_timeout(HttpTransfer *transfer)
{
	int64		now = bs_clock_now();
	int64		lookup = 0;
	curl_off_t	looked_up = 0;
	curl_off_t	connected = 0;
	long		sent = 0;
	const char *phase;

	curl_easy_getinfo(transfer->easy, CURLINFO_NAMELOOKUP_TIME_T, &looked_up);
	curl_easy_getinfo(transfer->easy, CURLINFO_CONNECT_TIME_T, &connected);
	curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &sent);
	if (transfer->looked_up > 0)
		lookup = transfer->looked_up - transfer->began;
	else if (sent == 0)
		lookup = now - transfer->began;
	if (sent > 0)
		phase = transfer->reply.status > 0 ? "reading the reply" :
			"waiting for the reply";
	else
		phase = transfer->looked_up == 0 ? "looking up the host's name" :
			transfer->tls ? "connecting or in the TLS handshake" :
			"connecting";
	snprintf(transfer->error, sizeof(transfer->error),
			 "timed out %s: name lookup %.0f ms, connection %.0f ms, "
			 "all in all %.0f ms", phase, lookup / 1000.0,
			 connected > looked_up ? (connected - looked_up) / 1000.0 : 0.0,
			 (now - transfer->began) / 1000.0);
}

/*
 * Returns the value of a header in the last answer, or NULL.
 */
static const char *
find_header(HttpTransfer *transfer, const char *name)
{
	struct curl_header *header;

	if (curl_easy_header(transfer->easy, name, 0, CURLH_HEADER, -1,
						 &header) != CURLHE_OK)
		return NULL;
	return header->value;
}

/*
 * Returns a header's number as microseconds, or -1 if it is not one.  "unit"
 * is what the number counts.
 */
static int64
read_pause(const char *value, int64 unit)
{
	char	   *end;
	double		number = strtod(value, &end);

	while (*end == ' ' || *end == '\t')
		end++;
	if (end == value || *end != '\0' || !(number >= 0))
		return -1;
	return number * unit < BS_HTTP_MAX_PAUSE ? (int64) (number * unit) :
		BS_HTTP_MAX_PAUSE;
}

/*
 * Returns how far off a header's date is, in microseconds, or -1 if it is not
 * one.  It is a date of the provider's clock, which the answer shows as well.
 */
static int64
read_date(HttpTransfer *transfer, const char *value)
{
	time_t		date = curl_getdate(value, NULL);
	const char *shown = find_header(transfer, "date");
	time_t		now = shown != NULL ? curl_getdate(shown, NULL) : -1;
	int64		left;

	if (date < 0)
		return -1;
	left = (int64) date - (int64) (now >= 0 ? now : time(NULL));
	return Max(Min(left, BS_HTTP_MAX_PAUSE / BS_US_PER_S), 0) * BS_US_PER_S;
}

/*
 * Reads what the answer's header says about trying again.
 */
static void
read_advice(HttpTransfer *transfer)
{
	HttpReply  *reply = &transfer->reply;
	const char *value = find_header(transfer, "retry-after-ms");

	reply->retry_after = value != NULL ?
		read_pause(value, BS_US_PER_MS) : -1;
	value = find_header(transfer, "retry-after");
	if (reply->retry_after < 0 && value != NULL)
	{
		reply->retry_after = read_pause(value, BS_US_PER_S);
		if (reply->retry_after < 0)
			reply->retry_after = read_date(transfer, value);
	}

	value = find_header(transfer, "x-should-retry");
	reply->should_retry = value == NULL ? -1 :
		pg_strcasecmp(value, "true") == 0 ? 1 :
		pg_strcasecmp(value, "false") == 0 ? 0 : -1;
}

/*
 * Returns what is wrong with an answer that libcurl has nothing against, or
 * NULL; sets *failure.
 */
static const char *
find_flaw(HttpTransfer *transfer, HttpFailure *failure)
{
	const char *length = find_header(transfer, "content-length");
	struct curl_header *other;

	*failure = HTTP_CUT_SHORT;
	if (!transfer->header_over)
		return "the connection ended within its header";
	*failure = HTTP_BROKEN_ANSWER;
	for (size_t i = 0; length != NULL &&
		 curl_easy_header(transfer->easy, "content-length", i, CURLH_HEADER,
						  -1, &other) == CURLHE_OK; i++)
	{
		if (i == MAX_LENGTHS)
			return header_limit;
		if (strcmp(other->value, length) != 0)
			return "it has two different lengths";
	}
	*failure = HTTP_ANSWERED;
	return NULL;
}

/*
 * Turns what libcurl knows of a transfer that is over, or given up, into its
 * reply.
 */
void
bs_http_transfer_conclude(HttpTransfer *transfer, CURLcode code)
{
	HttpReply  *reply = &transfer->reply;
	long		status = 0;
	char	   *content_type = NULL;
	const char *why = transfer->limit != NULL ? transfer->limit :
		transfer->curl_error[0] != '\0' ? transfer->curl_error :
		curl_easy_strerror(code);

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_TYPE, &content_type);
	reply->status = (int) status;
	reply->content_type = content_type;
	reply->content_encoding = find_header(transfer, "content-encoding");
	reply->body = reply->length > 0 ? transfer->buffer : "";
	reply->failure = classify(code, reply->status);
	/* If there was another address, the failure is that one's. */
	if (code != CURLE_OK && transfer->refused != NULL &&
		(code == CURLE_ABORTED_BY_CALLBACK || !transfer->connected))
		reply->failure = HTTP_NOT_ALLOWED;
	else if (reply->status == 101 && reply->failure != HTTP_TIMEOUT)
	{
		reply->failure = HTTP_BROKEN_ANSWER;
		why = "it switches to another protocol";
	}
	else if (reply->failure == HTTP_ANSWERED)
		why = find_flaw(transfer, &reply->failure);
	read_advice(transfer);

	if (reply->failure == HTTP_ANSWERED)
		return;
	if (code == CURLE_FILESIZE_EXCEEDED)
		why = body_limit;
	if ((code == CURLE_OUT_OF_MEMORY && status > 0) ||
		code == HEADER_TOO_LONG)
		why = header_limit;
	reply->error = transfer->error;
	if (reply->failure == HTTP_TIMEOUT)
		describe_timeout(transfer);
	else if (reply->failure == HTTP_NOT_ALLOWED)
		snprintf(transfer->error, sizeof(transfer->error),
				 "the host has %s, which is not allowed", transfer->refused);
	else
		strlcpy(transfer->error, why, sizeof(transfer->error));
}

/*
 * Wipes and frees what only this request needed.
 */
void
bs_http_transfer_forget(HttpTransfer *transfer)
{
	struct curl_slist *header;

	for (header = transfer->headers; header != NULL; header = header->next)
		explicit_bzero(header->data, strlen(header->data));
	curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(transfer->headers);
	transfer->headers = NULL;
	if (transfer->has_user)
	{
		curl_easy_setopt(transfer->easy, CURLOPT_USERNAME, NULL);
		curl_easy_setopt(transfer->easy, CURLOPT_PASSWORD, NULL);
	}
	curl_easy_setopt(transfer->easy, CURLOPT_URL, NULL);
	if (transfer->buffer != NULL)
		explicit_bzero(transfer->buffer, transfer->reply.length);
	if (transfer->room > MAX_KEPT_BUFFER)
	{
		free(transfer->buffer);
		transfer->buffer = NULL;
		transfer->room = 0;
	}
}

/*
 * Frees a transfer that is not in the multi handle.
 */
void
bs_http_transfer_free(HttpTransfer *transfer)
{
	curl_easy_cleanup(transfer->easy);
	free(transfer->ca_file);
	free(transfer->buffer);
	free(transfer);
}

/*
 * Has sockets use the descriptors that PostgreSQL keeps for its files.  What
 * bs_http_capacity() says is then the only limit.
 */
void
bs_http_transfer_dedicate(void)
{
	dedicated = true;
}

/*
 * Returns how many connections this process has open, in use or kept alive.
 */
int
bs_http_transfer_sockets(void)
{
	return nsockets;
}
