/*
 * http_transfer.h
 *		One transfer: what http.c, which runs many of them, and
 *		http_transfer.c, which knows what is in one, share.
 */
#ifndef BS_HTTP_TRANSFER_H
#define BS_HTTP_TRANSFER_H

#include <curl/curl.h>

#include "http.h"
#include "lib/ilist.h"

struct HttpTransfer
{
	dlist_node	node;			/* in active, finished or spare */
	CURL	   *easy;
	struct curl_slist *headers; /* of the request */
	void	   *tag;			/* the caller's */
	size_t		max_body;

	/* What the easy handle is set to, which mostly stays as it is. */
	char	   *ca_file;		/* malloc'd; NULL = the system's */
	bool		is_set;			/* any of this has been set */
	bool		allow_http;
	bool		direct;
	bool		allow_local;
	bool		has_user;
	bool		spoiled;		/* libcurl was short of memory with it */

	bool		tls;			/* the URL is https */
	int64		began;			/* when it was started */
	int64		overdue_at;		/* when it is given up, should libcurl not */
	int64		looked_up;		/* when it had an address; 0 if not yet */
	size_t		header_bytes;	/* read so far */
	bool		header_over;	/* the empty line has come */
	char	   *buffer;			/* malloc'd: the body */
	size_t		room;			/* size of buffer */
	const char *limit;			/* the limit that was passed, or NULL */
	const char *refused;		/* what an address was that was refused */
	bool		connected;		/* or tried to: opened a socket */
	bool		fresh;			/* must not use a connection of others */
	HttpReply	reply;
	char		curl_error[CURL_ERROR_SIZE];
	char		error[CURL_ERROR_SIZE + 128];
};

extern HttpTransfer *bs_http_transfer_create(void);
extern bool bs_http_transfer_prepare(HttpTransfer *transfer,
									 const HttpRequest *request, void *tag);
extern bool bs_http_transfer_renew(HttpTransfer *transfer, CURLcode code);
extern void bs_http_transfer_conclude(HttpTransfer *transfer, CURLcode code);
extern void bs_http_transfer_forget(HttpTransfer *transfer);
extern void bs_http_transfer_free(HttpTransfer *transfer);
extern void bs_http_transfer_dedicate(void);
extern int	bs_http_transfer_sockets(void);

#endif							/* BS_HTTP_TRANSFER_H */
