/*
 * http_poll.h
 *		Waiting for the sockets of libcurl in a way PostgreSQL can interrupt.
 */
#ifndef BS_HTTP_POLL_H
#define BS_HTTP_POLL_H

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>

extern void bs_http_poll_open(void);
extern void bs_http_poll_attach(CURLM *multi);
extern bool bs_http_poll_know(int fd);
extern void bs_http_poll_forget(int fd);
extern CURLMcode bs_http_poll(CURLM *multi, int64 deadline, bool alone,
							  bool *woken);
extern void bs_http_poll_check(void);

/*
 * libcurl may start a thread to look up a name.  The thread inherits the mask
 * of signals, and must not run this process's handlers: calls that can start
 * one stand between these two.
 */
static inline void
bs_http_block_signals(sigset_t *saved)
{
	sigset_t	every;

	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, saved);
}

static inline void
bs_http_restore_signals(const sigset_t *saved)
{
	pthread_sigmask(SIG_SETMASK, saved, NULL);
}

#endif							/* BS_HTTP_POLL_H */
