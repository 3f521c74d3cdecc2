/*
 * http_poll.c
 *		Waiting for the sockets of libcurl in a way PostgreSQL can interrupt.
 *
 * libcurl names the sockets to watch and the time of its next timer.  The
 * sockets are in one epoll descriptor, which together with the process's
 * latch is in one WaitEventSet that lives as long as the process.  So a wait
 * ends at network events, at the timer, at the caller's deadline, and at
 * anything PostgreSQL wants of the process: query cancel, termination, a
 * barrier that DROP DATABASE waits for.
 *
 * libcurl's own ways of waiting (curl_easy_perform with a progress callback)
 * do not let a process take part in barriers, and one backend in a slow call
 * would block DROP DATABASE in the whole cluster.
 */
#include "postgres.h"

#include <curl/curl.h>
#if defined(__linux__) && !defined(BS_WITHOUT_EPOLL)
#define USE_EPOLL
#include <sys/epoll.h>
#include <sys/socket.h>
#endif

#include "clock.h"
#include "compat.h"
#include "http_poll.h"
#include "miscadmin.h"
#include "storage/fd.h"

#if LIBCURL_VERSION_NUM < 0x075700
#error "libcurl 7.87 is needed: older ones wait for a dead name server"
#endif

#ifdef USE_EPOLL
/* Events taken from the kernel in one go. */
#define MAX_EVENTS			64

/* A wait that is over in so many µs was not worth falling asleep for. */
#define SHORT_WAIT			200

/* Most short waits in a row that it takes to stay awake in the next one. */
#define MAX_DOUBT			1024
#else
/* Without epoll, waits are cut into pieces of this many milliseconds. */
#define POLL_PIECE			20
#endif

static uint32 wait_event;

/*
 * Milliseconds from now to "deadline", rounded up so that a wait never ends
 * just before it; at least 0.
 */
static long
milliseconds_until(int64 deadline)
{
	int64		left = deadline == BS_NEVER ? PG_INT32_MAX :
		(deadline - bs_clock_now() + BS_US_PER_MS - 1) / BS_US_PER_MS;

	return (long) Max(Min(left, PG_INT32_MAX), 0);
}

#ifdef USE_EPOLL

/* A socket that is, or was, in epoll's set. */
typedef struct Watched
{
	uint32		events;			/* that epoll reports; 0 = not in its set */
	bool		wanted;			/* by libcurl, now */
	bool		known;			/* we shall be told when it is closed */
} Watched;

static struct Poller
{
	Watched    *socket;			/* malloc'd, by descriptor */
	int			nsockets;		/* length of that */
	int64		timer;			/* when libcurl wants to be called */
	int			epoll_fd;		/* -1 = not open */
	int			unwatched;		/* errno of a socket we could not watch; 0 */
	WaitEventSet *wait_set;		/* latch, postmaster's death, epoll_fd */
	int			short_waits;	/* in a row */
	int			doubt;			/* so many of them promise another one */
}			poller = {
	.epoll_fd = -1,
	.doubt = 1
};

/*
 * Returns what is known of a socket, or NULL if there is no memory.
 */
static Watched *
get_watched(curl_socket_t fd)
{
	if (fd >= poller.nsockets)
	{
		int			n = fd + 64;
		Watched    *longer = realloc(poller.socket, sizeof(Watched) * n);

		if (longer == NULL)
			return NULL;
		memset(longer + poller.nsockets, 0,
			   sizeof(Watched) * (n - poller.nsockets));
		poller.socket = longer;
		poller.nsockets = n;
	}
	return &poller.socket[fd];
}

/*
 * Takes a socket out of the set.  Fails if it has been closed, which took it
 * out, too.
 */
static void
unwatch(curl_socket_t fd)
{
	struct epoll_event event = {0};

	(void) epoll_ctl(poller.epoll_fd, EPOLL_CTL_DEL, fd, &event);
	poller.socket[fd].events = 0;
}

/*
 * Puts a socket into the set, or changes what is watched of it: it may be
 * another one than we knew by that number.  Sets errno if that fails.
 */
static bool
watch(curl_socket_t fd, struct epoll_event *event, bool in_set)
{
	int			first = in_set ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	int			second = in_set ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

	if (epoll_ctl(poller.epoll_fd, first, fd, event) == 0)
		return true;
	return errno == (in_set ? ENOENT : EEXIST) &&
		epoll_ctl(poller.epoll_fd, second, fd, event) == 0;
}

/*
 * Is told that something was heard of a connection that is kept and not in
 * use: its end, or an answer that nobody asked for.  That would pass for the
 * answer to the next request, for libcurl before 8.1 does not look.  What has
 * come is thrown away and the connection made useless; libcurl finds out when
 * it looks for one.
 */
static void
spoil(curl_socket_t fd)
{
	char		bytes[4096];

	(void) shutdown(fd, SHUT_RDWR);
	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	unwatch(fd);
}

/*
 * Is told that libcurl has done with a socket for now.  That of a connection
 * is left in the set, for it will mostly be used again soon, but not for
 * writing: only what is heard of it matters then.
 */
static void
leave_at_rest(curl_socket_t fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	Watched    *watched = &poller.socket[fd];

	watched->wanted = false;
	if (watched->known && (watched->events & EPOLLOUT) == 0)
		return;
	if (watched->known &&
		epoll_ctl(poller.epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
		watched->events = event.events;
	else
		unwatch(fd);
}

/*
 * Watches a socket as libcurl asks.
 */
static int
watch_socket_cb(CURL *easy, curl_socket_t fd, int what, void *arg,
				void *known)
{
	struct epoll_event event = {0};
	Watched    *watched = get_watched(fd);

	(void) easy;
	(void) arg;
	(void) known;
	/* -1 is the end of the multi handle. */
	if (watched == NULL)
	{
		poller.unwatched = ENOMEM;
		return -1;
	}
	if (what == CURL_POLL_REMOVE)
	{
		leave_at_rest(fd);
		return 0;
	}
	watched->wanted = true;
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	event.data.fd = fd;
	if (event.events == watched->events)
		return 0;
	if (!watch(fd, &event, watched->events != 0))
	{
		poller.unwatched = errno;
		return -1;
	}
	watched->events = event.events;
	return 0;
}

/*
 * Is told of a new socket, whose end it will be told of.  Returns false if
 * there is no memory.
 */
bool
bs_http_poll_know(int fd)
{
	Watched    *watched = get_watched(fd);

	if (watched == NULL)
		return false;
	memset(watched, 0, sizeof(*watched));
	watched->known = true;
	return true;
}

/*
 * Is told that a socket is going to be closed.
 */
void
bs_http_poll_forget(int fd)
{
	if (poller.socket[fd].events != 0)
		unwatch(fd);
	poller.socket[fd].known = false;
}

static int
set_timer_cb(CURLM *multi, long milliseconds, void *arg)
{
	(void) multi;
	(void) arg;
	poller.timer = milliseconds < 0 ? BS_NEVER :
		bs_clock_now() + milliseconds * BS_US_PER_MS;
	return 0;
}

/*
 * Raises the error for want of descriptors, or of memory.
 */
static void
refuse_wait_set(int reason)
{
	errno = reason;
	ereport(ERROR,
			(errcode(reason == ENOMEM ? ERRCODE_OUT_OF_MEMORY :
					 ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("could not wait for sockets: %m"),
			 reason == EMFILE ?
			 errhint("Close other connections of this session, or set "
					 "max_files_per_process higher.") : 0));
}

/*
 * Takes a descriptor from PostgreSQL's budget of them.
 */
static void
take_descriptor(void)
{
	if (!AcquireExternalFD())
		refuse_wait_set(EMFILE);
}

/*
 * Makes the descriptor for sockets and the set that waits for it, for the
 * rest of the process's life.  Throws if there are no descriptors left.
 */
static void
open_wait_set(void)
{
	WaitEventSet *wait_set;

	if (poller.epoll_fd < 0)
	{
		take_descriptor();
		poller.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		if (poller.epoll_fd < 0)
		{
			ReleaseExternalFD();
			refuse_wait_set(errno);
		}
	}
	/* The set takes its own, but says no more than that it cannot. */
	take_descriptor();
	ReleaseExternalFD();
	wait_set = bs_create_wait_set(3);
	PG_TRY();
	{
		AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch,
						  NULL);
		AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET,
						  NULL, NULL);
		AddWaitEventToSet(wait_set, WL_SOCKET_READABLE, poller.epoll_fd,
						  NULL, NULL);
	}
	PG_CATCH();
	{
		FreeWaitEventSet(wait_set);
		PG_RE_THROW();
	}
	PG_END_TRY();
	poller.wait_set = wait_set;
}

/*
 * Makes ready for waiting, once per process.  Throws if there are no
 * descriptors left.
 */
void
bs_http_poll_open(void)
{
	if (poller.wait_set != NULL)
		return;
	wait_event = bs_new_wait_event("BrowserSessionHttp");
	open_wait_set();
}

/*
 * Watches the sockets of a new multi handle from now on.
 */
void
bs_http_poll_attach(CURLM *multi)
{
	poller.timer = BS_NEVER;
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket_cb);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer_cb);
}

/*
 * Takes events that are there already.  Returns their number.
 */
static int
take_events(struct epoll_event *events)
{
	return Max(epoll_wait(poller.epoll_fd, events, MAX_EVENTS, 0), 0);
}

/*
 * Stays awake for the time of a short wait, if the last waits were short.  A
 * process that falls asleep and is woken loses more time than a provider next
 * door takes to answer; with one that is far away no wait is short.  Returns
 * the number of events.
 */
static int
stay_awake(struct epoll_event *events)
{
	int64		until;
	int			n = 0;

	if (poller.short_waits < poller.doubt)
		return 0;
	until = bs_clock_now() + SHORT_WAIT;
	while (n == 0 && !InterruptPending && bs_clock_now() < until)
		n = take_events(events);
	if (n > 0)
		poller.doubt = Max(poller.doubt / 2, 1);
	else
	{
		poller.short_waits = 0;
		poller.doubt = Min(poller.doubt * 2, MAX_DOUBT);
	}
	return n;
}

/*
 * Sleeps until there are events, for so long at most.  Returns their number;
 * sets *woken if the process's latch ended the sleep.
 */
static int
sleep_until_event(struct epoll_event *events, long milliseconds, bool *woken)
{
	int64		began = bs_clock_now();
	WaitEvent	wakeup;
	int			n;

	if (WaitEventSetWait(poller.wait_set, milliseconds, &wakeup, 1,
						 wait_event) > 0 &&
		(wakeup.events & WL_LATCH_SET))
	{
		ResetLatch(MyLatch);
		*woken = true;
	}
	CHECK_FOR_INTERRUPTS();
	n = take_events(events);
	if (n > 0 && bs_clock_now() - began <= SHORT_WAIT)
		poller.short_waits++;
	else
		poller.short_waits = 0;
	return n;
}

/*
 * Has libcurl act on an event.  Returns its result.
 */
static CURLMcode
take_event(CURLM *multi, const struct epoll_event *event)
{
	int			what = 0;
	int			running;

	/* Spoiled, or closed by what was done for the others. */
	if (!poller.socket[event->data.fd].wanted)
		return CURLM_OK;
	if (event->events & EPOLLIN)
		what |= CURL_CSELECT_IN;
	if (event->events & EPOLLOUT)
		what |= CURL_CSELECT_OUT;
	if (event->events & (EPOLLERR | EPOLLHUP))
		what |= CURL_CSELECT_ERR;
	return curl_multi_socket_action(multi, event->data.fd, what, &running);
}

/*
 * Waits for sockets until "deadline", then lets libcurl act.  "alone" says
 * that there is but one transfer, whose end is waited for.  Sets *woken to
 * whether the process's latch ended the wait.  Returns libcurl's result: if
 * that is not CURLM_OK, transfers may wait for ever.  An event is asked for
 * without waiting first: while there is work, the latch costs nothing.
 */
CURLMcode
bs_http_poll(CURLM *multi, int64 deadline, bool alone, bool *woken)
{
	struct epoll_event events[MAX_EVENTS];
	CURLMcode	code = CURLM_OK;
	sigset_t	saved;
	int			running;
	int			n;
	long		milliseconds = milliseconds_until(Min(deadline, poller.timer));

	*woken = false;
	n = take_events(events);
	if (n == 0 && milliseconds > 0 && alone)
		n = stay_awake(events);
	if (n == 0 && milliseconds > 0)
		n = sleep_until_event(events, milliseconds, woken);

	/* First of all, before anything can be sent on one of them. */
	for (int i = 0; i < n; i++)
	{
		if (!poller.socket[events[i].data.fd].wanted)
			spoil(events[i].data.fd);
	}
	bs_http_block_signals(&saved);
	for (int i = 0; i < n && code == CURLM_OK; i++)
		code = take_event(multi, &events[i]);
	if (code == CURLM_OK && bs_clock_now() >= poller.timer)
	{
		poller.timer = BS_NEVER;
		code = curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0,
										&running);
	}
	bs_http_restore_signals(&saved);
	return code;
}

/*
 * Raises an error if a socket could not be watched: nobody would ever be told
 * of what happens there.
 */
void
bs_http_poll_check(void)
{
	int			reason = poller.unwatched;

	poller.unwatched = 0;
	errno = reason;
	if (reason != 0)
		ereport(ERROR,
				(errcode(reason == ENOMEM ? ERRCODE_OUT_OF_MEMORY :
						 ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not watch a socket: %m")));
}

#else

void
bs_http_poll_open(void)
{
	wait_event = bs_new_wait_event("BrowserSessionHttp");
}

void
bs_http_poll_attach(CURLM *multi)
{
	(void) multi;
}

bool
bs_http_poll_know(int fd)
{
	(void) fd;
	return true;
}

void
bs_http_poll_forget(int fd)
{
	(void) fd;
}

/*
 * The same where there is no epoll: libcurl waits itself, in short pieces,
 * so that interrupts are seen soon.
 */
CURLMcode
bs_http_poll(CURLM *multi, int64 deadline, bool alone, bool *woken)
{
	long		milliseconds = Min(milliseconds_until(deadline), POLL_PIECE);
	CURLMcode	code;
	sigset_t	saved;
	int			running;

	(void) alone;
	curl_multi_poll(multi, NULL, 0, (int) milliseconds, NULL);
	*woken = (WaitLatch(MyLatch,
						WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						0, wait_event) & WL_LATCH_SET) != 0;
	if (*woken)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	bs_http_block_signals(&saved);
	code = curl_multi_perform(multi, &running);
	bs_http_restore_signals(&saved);
	return code;
}

void
bs_http_poll_check(void)
{
}
#endif
