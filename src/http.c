/*
 * http.c
 *		HTTP exchanges, many at once.  The files http*.c are the sole users of
 *		libcurl: this one runs transfers, http_poll.c waits for their sockets,
 *		http_transfer.c knows what is in one, http_url.c takes URLs apart.
 *
 * One libcurl multi handle per process carries every transfer, and keeps the
 * connections alive between them.  How it waits is in http_poll.c.
 *
 * Failures of a transfer are data (HttpReply).  Only two things are errors
 * here: an interrupt, and libcurl or the kernel being out of resources.  After
 * an error the caller has to call bs_http_abort().
 *
 * libcurl cannot be relied on once it was refused memory: transfers may wait
 * for ever, and handles fail in other ways later.  What is under way then is
 * given up with an error, and the handles are thrown away.
 *
 * Callbacks of libcurl must not throw: they neither report nor allocate with
 * palloc, but return short, and what happened is looked up afterwards.
 *
 * Deliberately missing: redirects, cookies, authentication other than basic,
 * decompression, any protocol but http and https.
 */
#include "postgres.h"

#include <curl/curl.h>

#include "clock.h"
#include "http_memory.h"
#include "http_poll.h"
#include "http_transfer.h"
#include "miscadmin.h"
#include "shortage.h"
#include "storage/fd.h"

/* A process at rest keeps at most this many connections open. */
#define MAX_IDLE_SOCKETS	64

/* What a process that is for transfers alone keeps for PostgreSQL's files. */
#define RESERVED_FDS		128

/* Released transfers that are kept for the next ones. */
#define MAX_SPARE			1024

static struct HttpState
{
	CURLM	   *multi;			/* NULL = not set up */
	dlist_head	active;			/* under way */
	dlist_head	finished;		/* to be fetched with bs_http_next() */
	dlist_head	fetched;		/* to be released */
	dlist_head	spare;
	int			nspare;
	int			nactive;
	bool		spoiled;		/* the multi handle: not to be used again */
	int64		overdue_at;		/* no active one is overdue before */
	bool		dedicated;		/* the process has nothing else to do */
}			http = {
	.overdue_at = BS_NEVER
};

/* ----------------------------------------------------------------
 * Set-up and clean-up
 * ----------------------------------------------------------------
 */

/*
 * Once per process, and again after it failed.  Throws if libcurl cannot be
 * set up.
 */
static void
initialise_libcurl(void)
{
	static bool initialised = false;
	sigset_t	saved;

	if (initialised)
		return;
	bs_http_block_signals(&saved);
	initialised = bs_http_memory_begin() == CURLE_OK;
	bs_http_restore_signals(&saved);
	if (!initialised)
		bs_raise_shortage("libcurl");
	dlist_init(&http.active);
	dlist_init(&http.finished);
	dlist_init(&http.fetched);
	dlist_init(&http.spare);
}

/*
 * Closes every connection and the multi handle.  No transfer may be under
 * way.
 */
static void
close_multi(void)
{
	sigset_t	saved;

	if (http.multi == NULL)
		return;
	bs_http_block_signals(&saved);
	curl_multi_cleanup(http.multi);
	bs_http_restore_signals(&saved);
	http.multi = NULL;
	http.spoiled = false;
	/* What it lacked for that is of no importance. */
	(void) bs_http_memory_was_short();
}

/*
 * Opens the multi handle if there is none that can be used.  Throws if it
 * cannot be had, or if transfers are under way with one that was spoiled.
 */
static void
open_multi(void)
{
	long		capacity = bs_http_capacity();

	if (http.spoiled && http.nactive > 0)
		bs_raise_shortage("a transfer");
	if (http.spoiled)
		close_multi();
	if (http.multi != NULL)
		return;
	initialise_libcurl();
	bs_http_poll_open();
	http.multi = curl_multi_init();
	if (http.multi == NULL)
		bs_raise_shortage("a libcurl multi handle");
	bs_http_poll_attach(http.multi);
	/* Kept alive and in use together; the oldest idle one has to go first. */
	curl_multi_setopt(http.multi, CURLMOPT_MAXCONNECTS, capacity);
	curl_multi_setopt(http.multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, capacity);
}

/*
 * Returns a transfer in no list, a spare or a new one.  Throws if there is no
 * memory.
 */
static HttpTransfer *
get_transfer(void)
{
	HttpTransfer *transfer;

	if (!dlist_is_empty(&http.spare))
	{
		http.nspare--;
		return dlist_container(HttpTransfer, node,
							   dlist_pop_head_node(&http.spare));
	}
	transfer = bs_http_transfer_create();
	if (transfer == NULL)
		bs_raise_shortage("a libcurl easy handle");
	return transfer;
}

/*
 * Keeps a transfer, which is in no list, for a later request, unless it is
 * spoiled.
 */
static void
put_transfer(HttpTransfer *transfer)
{
	bs_http_transfer_forget(transfer);
	if (http.nspare < MAX_SPARE && !transfer->spoiled)
	{
		dlist_push_head(&http.spare, &transfer->node);
		http.nspare++;
	}
	else
		bs_http_transfer_free(transfer);
}

/* ----------------------------------------------------------------
 * Requests
 * ----------------------------------------------------------------
 */

/*
 * Has libcurl begin, or begin again, with a transfer.
 */
static CURLMcode
add_to_multi(HttpTransfer *transfer)
{
	CURLMcode	added;
	sigset_t	saved;

	bs_http_block_signals(&saved);
	added = curl_multi_add_handle(http.multi, transfer->easy);
	bs_http_restore_signals(&saved);
	return added;
}

/*
 * Takes a transfer out of libcurl's hands.
 */
static void
remove_from_multi(HttpTransfer *transfer)
{
	sigset_t	saved;

	bs_http_block_signals(&saved);
	curl_multi_remove_handle(http.multi, transfer->easy);
	bs_http_restore_signals(&saved);
}

/*
 * Takes note if libcurl was refused memory, with whatever it was doing.
 */
static void
note_shortage(void)
{
	dlist_iter	iter;

	if (!bs_http_memory_was_short())
		return;
	http.spoiled = true;
	dlist_foreach(iter, &http.active)
	{
		dlist_container(HttpTransfer, node, iter.cur)->spoiled = true;
	}
}

/*
 * Starts a request.  Its transfer comes out of bs_http_next() with "tag" when
 * it is over, whatever becomes of it.  Throws if there is no memory.
 */
void
bs_http_start(const HttpRequest *request, void *tag)
{
	HttpTransfer *transfer;
	CURLMcode	added = CURLM_OUT_OF_MEMORY;

	open_multi();
	transfer = get_transfer();
	if (bs_http_transfer_prepare(transfer, request, tag))
		added = add_to_multi(transfer);
	note_shortage();
	if (added != CURLM_OK)
	{
		transfer->spoiled = http.spoiled = true;
		put_transfer(transfer);
		bs_raise_shortage("a transfer");
	}
	dlist_push_tail(&http.active, &transfer->node);
	transfer->spoiled |= http.spoiled;
	http.nactive++;
	http.overdue_at = Min(http.overdue_at, transfer->overdue_at);
}

/*
 * Moves a transfer from active to finished.
 */
static void
finish(HttpTransfer *transfer, CURLcode code)
{
	bs_http_transfer_conclude(transfer, code);
	remove_from_multi(transfer);
	dlist_delete(&transfer->node);
	http.nactive--;
	dlist_push_tail(&http.finished, &transfer->node);
}

/*
 * Finishes the transfers that are over, but for those that have to begin
 * again.  One that failed while libcurl was refused memory did so for a reason
 * that is not known.
 */
static void
collect_finished(void)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(http.multi, &left)) != NULL)
	{
		HttpTransfer *transfer;
		char	   *private;
		CURLcode	code = message->data.result;

		if (message->msg != CURLMSG_DONE ||
			(code != CURLE_OK && http.spoiled))
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
		transfer = (HttpTransfer *) private;
		if (bs_http_transfer_renew(transfer, code))
		{
			remove_from_multi(transfer);
			if (add_to_multi(transfer) != CURLM_OK)
				transfer->spoiled = http.spoiled = true;
			continue;
		}
		finish(transfer, code);
	}
}

/*
 * Finishes the transfers whose time-out libcurl has missed.
 */
static void
give_up_overdue(void)
{
	int64		now = bs_clock_now();
	int64		next = BS_NEVER;
	dlist_mutable_iter iter;

	/* What libcurl does then is not its time-out's fault. */
	if (now < http.overdue_at || http.spoiled)
		return;
	dlist_foreach_modify(iter, &http.active)
	{
		HttpTransfer *transfer = dlist_container(HttpTransfer, node,
												 iter.cur);

		if (transfer->overdue_at <= now)
			finish(transfer, CURLE_OPERATION_TIMEDOUT);
		else
			next = Min(next, transfer->overdue_at);
	}
	http.overdue_at = next;
}

/* ----------------------------------------------------------------
 * Waiting
 * ----------------------------------------------------------------
 */

/*
 * Carries the transfers on until one is over, "deadline" has come, or the
 * process's latch was set, which it returns.  Throws when the query is
 * cancelled or the process is to end.
 */
bool
bs_http_wait(int64 deadline)
{
	bool		woken;

	do
	{
		CHECK_FOR_INTERRUPTS();
		open_multi();
		if (bs_http_poll(http.multi, Min(deadline, http.overdue_at),
						 http.nactive == 1, &woken) != CURLM_OK)
			http.spoiled = true;
		bs_http_poll_check();
		note_shortage();
		collect_finished();
		give_up_overdue();
	} while (!woken && dlist_is_empty(&http.finished) &&
			 bs_clock_now() < deadline);
	return woken;
}

/*
 * Returns a transfer that is over, for the caller to release, or NULL.
 */
HttpTransfer *
bs_http_next(void)
{
	HttpTransfer *transfer;

	if (http.multi == NULL || dlist_is_empty(&http.finished))
		return NULL;
	transfer = dlist_container(HttpTransfer, node,
							   dlist_pop_head_node(&http.finished));
	dlist_push_tail(&http.fetched, &transfer->node);
	return transfer;
}

/*
 * Returns what bs_http_start() was given.
 */
void *
bs_http_tag(const HttpTransfer *transfer)
{
	return transfer->tag;
}

/*
 * Returns the reply, valid until the transfer is released.
 */
const HttpReply *
bs_http_reply(const HttpTransfer *transfer)
{
	return &transfer->reply;
}

/*
 * Gives back a transfer that bs_http_next() returned.
 */
void
bs_http_release(HttpTransfer *transfer)
{
	dlist_delete(&transfer->node);
	put_transfer(transfer);
}

/*
 * Is told that there will be nothing to do for a while: gives connections back
 * if there are many.
 */
void
bs_http_rest(void)
{
	if (http.nactive == 0 && bs_http_transfer_sockets() > MAX_IDLE_SOCKETS)
		close_multi();
}

/*
 * Drops the transfers of a list.
 */
static void
drop_all(dlist_head *list)
{
	while (!dlist_is_empty(list))
	{
		HttpTransfer *transfer = dlist_container(HttpTransfer, node,
												 dlist_pop_head_node(list));

		if (list == &http.active)
			curl_multi_remove_handle(http.multi, transfer->easy);
		put_transfer(transfer);
	}
}

/*
 * Drops every transfer that is not released yet.  For clean-up after an
 * error; does not throw.
 */
void
bs_http_abort(void)
{
	sigset_t	saved;

	/* What was short is given up. */
	(void) bs_http_memory_was_short();
	if (http.multi == NULL)
		return;
	bs_http_block_signals(&saved);
	drop_all(&http.active);
	drop_all(&http.finished);
	drop_all(&http.fetched);
	bs_http_restore_signals(&saved);
	http.nactive = 0;
	if (http.spoiled)
		close_multi();
	bs_http_rest();
}

/*
 * Declares that transfers are all this process is for: they may use most of
 * its descriptors.  To be called before the first of them.
 */
void
bs_http_dedicate(void)
{
	http.dedicated = true;
	bs_http_transfer_dedicate();
}

/*
 * Returns how many transfers can be under way at once: PostgreSQL lets a
 * process use a third of its descriptors for things it does not manage.
 */
int
bs_http_capacity(void)
{
	if (http.dedicated)
		return Max(max_safe_fds - RESERVED_FDS, 1);
	return Max(max_safe_fds / 3 - 8, 1);
}
