/*
 * raw_libcurl.c
 *		What libcurl itself can do: the limit that the extension is measured
 *		against.
 *
 * Sends the same requests to the same provider as the extension and does
 * nothing else: no database, no judging of replies, no time-outs, nothing
 * kept.  With one in flight it uses an easy handle, with more the multi
 * interface; both keep connections and handles from one request to the next.
 *
 *		raw_libcurl URL N IN_FLIGHT [CA_FILE]
 *
 * ends sessions number 1 to N by POST to URL followed by the session's id, and
 * prints the seconds that took.  Before, it ends IN_FLIGHT others, so that its
 * connections are open, as those of a process that lives long are.  The exit
 * status is 1 if any answer was not 200.
 *
 *		raw_libcurl version
 *
 * prints what libcurl says of itself.
 */
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#define BODY		"{\"status\":\"REQUEST_RELEASE\"}"
#define MAX_EVENTS	64

/* How long the multi interface waits if libcurl sets no time, in ms. */
#define LONGEST_WAIT	1000

static struct Run
{
	const char *url;
	long		sessions;
	long		in_flight;
	const char *ca_file;		/* NULL if not over TLS */
	struct curl_slist *headers;
	CURL	  **handles;		/* one for each in flight */
	long		n;				/* sessions to end now */
	long		begun;			/* of these */
	long		failed;			/* answers that were not 200 */
	CURLM	   *multi;			/* NULL if one is in flight */
	int			epoll_fd;
	long		timer;			/* ms that libcurl wants to wait, -1 = none */
}			run;

static void
fail(const char *why)
{
	fprintf(stderr, "raw_libcurl: %s\n", why);
	exit(2);
}

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/*
 * Takes the body and forgets it.
 */
static size_t
read_body_cb(char *data, size_t size, size_t nitems, void *arg)
{
	(void) data;
	(void) arg;
	return size * nitems;
}

/*
 * Returns a handle that is ready but for the URL.
 */
static CURL *
create_handle(void)
{
	CURL	   *easy = curl_easy_init();

	if (easy == NULL)
		fail("no memory");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, BODY);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, run.headers);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, read_body_cb);
	if (run.ca_file != NULL)
		curl_easy_setopt(easy, CURLOPT_CAINFO, run.ca_file);
	return easy;
}

/*
 * Gives a handle its next request; false if there is none.
 */
static bool
set_next(CURL *easy)
{
	char		url[512];

	if (run.begun == run.n)
		return false;
	snprintf(url, sizeof(url), "%sbench-%ld", run.url, ++run.begun);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	return true;
}

static void
check_answer(CURL *easy, CURLcode code)
{
	long		status = 0;

	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK || status != 200)
		run.failed++;
}

/*
 * Ends n sessions, one after the other.
 */
static void
run_easy(long n)
{
	run.n = n;
	run.begun = 0;
	while (set_next(run.handles[0]))
		check_answer(run.handles[0], curl_easy_perform(run.handles[0]));
}

static int
watch_socket_cb(CURL *easy, curl_socket_t fd, int what, void *arg,
				void *known)
{
	struct epoll_event event = {.data.fd = fd};

	(void) easy;
	(void) arg;
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	epoll_ctl(run.epoll_fd, what == CURL_POLL_REMOVE ? EPOLL_CTL_DEL :
			  known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
	curl_multi_assign(run.multi, fd, &run);
	return 0;
}

static int
set_timer_cb(CURLM *multi, long milliseconds, void *arg)
{
	(void) multi;
	(void) arg;
	run.timer = milliseconds;
	return 0;
}

/*
 * Waits for sockets and lets libcurl act.  Returns how many are under way.
 */
static int
go_on(void)
{
	struct epoll_event events[MAX_EVENTS];
	int			under_way = 0;
	int			n = epoll_wait(run.epoll_fd, events, MAX_EVENTS,
							   run.timer < 0 ? LONGEST_WAIT : (int) run.timer);

	if (n == 0)
		curl_multi_socket_action(run.multi, CURL_SOCKET_TIMEOUT, 0,
								 &under_way);
	for (int i = 0; i < n; i++)
		curl_multi_socket_action(run.multi, events[i].data.fd,
								 (events[i].events & EPOLLIN ?
								  CURL_CSELECT_IN : 0) |
								 (events[i].events & EPOLLOUT ?
								  CURL_CSELECT_OUT : 0) |
								 (events[i].events & (EPOLLERR | EPOLLHUP) ?
								  CURL_CSELECT_ERR : 0), &under_way);
	return under_way;
}

static void
create_multi(void)
{
	run.multi = curl_multi_init();
	run.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	run.timer = -1;
	if (run.multi == NULL || run.epoll_fd < 0)
		fail("no memory");
	curl_multi_setopt(run.multi, CURLMOPT_SOCKETFUNCTION, watch_socket_cb);
	curl_multi_setopt(run.multi, CURLMOPT_TIMERFUNCTION, set_timer_cb);
	curl_multi_setopt(run.multi, CURLMOPT_MAXCONNECTS, run.in_flight);
}

/*
 * Ends n sessions, with as many in flight as there are handles.
 */
static void
run_multi(long n)
{
	CURLMsg    *message;
	int			left;
	long		open = 0;

	run.n = n;
	run.begun = 0;
	while (open < run.in_flight && set_next(run.handles[open]))
		curl_multi_add_handle(run.multi, run.handles[open++]);
	while (open > 0)
	{
		(void) go_on();
		while ((message = curl_multi_info_read(run.multi, &left)) != NULL)
		{
			CURL	   *easy = message->easy_handle;

			check_answer(easy, message->data.result);
			curl_multi_remove_handle(run.multi, easy);
			if (set_next(easy))
				curl_multi_add_handle(run.multi, easy);
			else
				open--;
		}
	}
}

static void
run_all(long n)
{
	if (run.multi != NULL)
		run_multi(n);
	else
		run_easy(n);
}

static void
read_arguments(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "version") == 0)
	{
		puts(curl_version());
		exit(0);
	}
	if (argc < 4 || argc > 5)
		fail("usage: raw_libcurl URL N IN_FLIGHT [CA_FILE]");
	run.url = argv[1];
	run.sessions = strtol(argv[2], NULL, 10);
	run.in_flight = strtol(argv[3], NULL, 10);
	run.ca_file = argc > 4 ? argv[4] : NULL;
	if (run.sessions < 1 || run.in_flight < 1)
		fail("N and IN_FLIGHT are numbers from 1 on");
}

static void
create_all(void)
{
	run.headers = curl_slist_append(run.headers, "Accept: application/json");
	run.headers = curl_slist_append(run.headers,
									"Content-Type: application/json");
	run.headers = curl_slist_append(run.headers, "X-BB-API-Key: bench-key");
	run.handles = calloc((size_t) run.in_flight, sizeof(CURL *));
	if (run.headers == NULL || run.handles == NULL)
		fail("no memory");
	for (long i = 0; i < run.in_flight; i++)
		run.handles[i] = create_handle();
	if (run.in_flight > 1)
		create_multi();
}

static void
free_all(void)
{
	for (long i = 0; i < run.in_flight; i++)
		curl_easy_cleanup(run.handles[i]);
	curl_multi_cleanup(run.multi);
	curl_slist_free_all(run.headers);
	free((void *) run.handles);
}

int
main(int argc, char **argv)
{
	double		began;

	read_arguments(argc, argv);
	curl_global_init(CURL_GLOBAL_ALL);
	create_all();
	run_all(run.in_flight);
	began = seconds();
	run_all(run.sessions);
	printf("%.6f\n", seconds() - began);
	free_all();
	curl_global_cleanup();
	return run.failed > 0;
}
