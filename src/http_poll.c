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

static struct Poller
{
	CURLM	   *multi;			/* whose sockets are watched */
	int64		timer;			/* when libcurl wants to be called */
	int			epoll_fd;		/* -1 = not open */
	WaitEventSet *wait_set;		/* latch, postmaster's death, epoll_fd */
}			poller = {
	.epoll_fd = -1
};

/*
 * Watches a socket as libcurl asks.  "known" is what we gave libcurl to keep
 * with the socket: NULL until it has been added.
 */
static int
watch_socket_cb(CURL *easy, curl_socket_t fd, int what, void *arg,
				void *known)
{
	struct epoll_event event = {0};

	(void) easy;
	(void) arg;
	if (what == CURL_POLL_REMOVE)
	{
		/* Fails if libcurl has closed it already, which removed it too. */
		(void) epoll_ctl(poller.epoll_fd, EPOLL_CTL_DEL, fd, &event);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	event.data.fd = fd;
	/* -1 would be the end of the multi handle: try the other way first. */
	if (epoll_ctl(poller.epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd,
				  &event) != 0 &&
		epoll_ctl(poller.epoll_fd, known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd,
				  &event) != 0)
		return -1;
	if (known == NULL)
		curl_multi_assign(poller.multi, fd, &poller);
	return 0;
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
 * Makes the descriptor for sockets and the set that waits for it, for the
 * rest of the process's life.  Throws if there are no descriptors left.
 */
static void
open_wait_set(void)
{
	WaitEventSet *wait_set;

	if (poller.epoll_fd < 0)
	{
		poller.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		if (poller.epoll_fd < 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not create an epoll descriptor: %m")));
		ReserveExternalFD();
	}
	wait_set = bs_create_wait_set(3);
	AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch,
					  NULL);
	AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL,
					  NULL);
	AddWaitEventToSet(wait_set, WL_SOCKET_READABLE, poller.epoll_fd, NULL,
					  NULL);
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
	poller.multi = multi;
	poller.timer = BS_NEVER;
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket_cb);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer_cb);
}

/*
 * Waits for sockets until "deadline", then lets libcurl act.  Returns whether
 * the process's latch ended the wait.  An event is asked for without waiting
 * first: while there is work, the latch costs nothing.
 */
bool
bs_http_poll(CURLM *multi, int64 deadline)
{
	struct epoll_event events[MAX_EVENTS];
	WaitEvent	wakeup;
	sigset_t	saved;
	int			running;
	int			n;
	bool		woken = false;
	long		milliseconds = milliseconds_until(Min(deadline, poller.timer));

	n = epoll_wait(poller.epoll_fd, events, MAX_EVENTS, 0);
	if (n == 0 && milliseconds > 0)
	{
		if (WaitEventSetWait(poller.wait_set, milliseconds, &wakeup, 1,
							 wait_event) > 0 &&
			(wakeup.events & WL_LATCH_SET))
		{
			ResetLatch(MyLatch);
			woken = true;
		}
		CHECK_FOR_INTERRUPTS();
		n = epoll_wait(poller.epoll_fd, events, MAX_EVENTS, 0);
	}

	bs_http_block_signals(&saved);
	for (int i = 0; i < n; i++)
	{
		int			what = 0;

		if (events[i].events & EPOLLIN)
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & (EPOLLERR | EPOLLHUP))
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(multi, events[i].data.fd, what,
								 &running);
	}
	if (bs_clock_now() >= poller.timer)
	{
		poller.timer = BS_NEVER;
		curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0,
								 &running);
	}
	bs_http_restore_signals(&saved);
	return woken;
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

/*
 * The same where there is no epoll: libcurl waits itself, in short pieces,
 * so that interrupts are seen soon.
 */
bool
bs_http_poll(CURLM *multi, int64 deadline)
{
	long		milliseconds = Min(milliseconds_until(deadline), POLL_PIECE);
	sigset_t	saved;
	int			running;
	bool		woken;

	curl_multi_poll(multi, NULL, 0, (int) milliseconds, NULL);
	woken = (WaitLatch(MyLatch,
					   WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					   0, wait_event) & WL_LATCH_SET) != 0;
	if (woken)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	bs_http_block_signals(&saved);
	curl_multi_perform(multi, &running);
	bs_http_restore_signals(&saved);
	return woken;
}
#endif
