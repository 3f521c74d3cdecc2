/*
 * provider_sim.c
 *
 * A simulator of the providers that browser_session ends sessions at, for its
 * tests: stateful, and speaking each provider's documented dialect.
 *
 *	provider_sim [--port N] [--port-file FILE]
 *
 * serves http://127.0.0.1:PORT/[with:k=v,k=v/]DIALECT/path-at-the-provider.
 * The optional part asks for delays and faults (sim/knobs.h); /_sim/ is what
 * a test asks the simulator itself (sim/admin.c).
 *
 *	cc -O2 -o provider_sim provider_sim.c sim/?*.c -lmicrohttpd -ljansson
 *
 * One libmicrohttpd thread serves every connection and owns all state; a
 * reply that has to wait is held by sim/delay.c, whose thread only wakes the
 * connection.  So thousands of slow requests can be open at once.  It listens
 * on loopback only and keeps nothing on disk.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <microhttpd.h>

#include "sim/admin.h"
#include "sim/auth.h"
#include "sim/delay.h"
#include "sim/dialect.h"
#include "sim/journal.h"
#include "sim/session.h"
#include "sim/text.h"

/* Connections served at once, and waiting to be accepted. */
#define MAX_CONNECTIONS	8192u

/* Keeps the URL as it is, before libmicrohttpd takes it apart. */
static void *
receive_uri_cb(void *unused, const char *uri,
			   struct MHD_Connection *connection)
{
	(void) unused;
	(void) connection;
	return request_create(uri);
}

static size_t
keep_escapes_cb(void *unused, struct MHD_Connection *connection, char *text)
{
	(void) unused;
	(void) connection;
	return strlen(text);
}

/* Makes the reply; returns how many milliseconds it is to be held back. */
static int64_t
make_reply(Request *request)
{
	request->answered = true;
	if (!request->counted)
	{
		admin_answer(request);
		return 0;
	}
	dialect_answer(request);
	journal_write(request);
	return request->knobs.delay;
}

/*
 * Takes a request through its life: called once with the headers, again for
 * each piece of the body, at its end, and after a delay.
 */
static enum MHD_Result
receive_cb(void *unused, struct MHD_Connection *connection, const char *url,
		   const char *method, const char *version, const char *bytes,
		   size_t *length, void **request_arg)
{
	Request    *request = *request_arg;
	int64_t		delay;

	(void) unused;
	(void) url;
	(void) version;
	if (request->method == NULL)
	{
		request_begin(request, connection, method);
		if (strcmp(request->dialect, ADMIN_NAME) != 0)
			journal_begin(request);
		return MHD_YES;
	}
	if (*length > 0)
	{
		request_append(request, bytes, *length);
		*length = 0;
		return MHD_YES;
	}
	if (!request->answered)
	{
		delay = make_reply(request);
		if (delay > 0 && delay_suspend(connection, delay))
			return MHD_YES;
	}
	return reply_send(&request->reply, connection);
}

static void
completed_cb(void *unused, struct MHD_Connection *connection,
			 void **request_arg, enum MHD_RequestTerminationCode code)
{
	Request    *request = *request_arg;

	(void) unused;
	(void) connection;
	(void) code;
	if (request == NULL)
		return;
	journal_end(request);
	request_free(request);
	*request_arg = NULL;
}

static void
connection_cb(void *unused, struct MHD_Connection *connection,
			  void **socket_context,
			  enum MHD_ConnectionNotificationCode code)
{
	(void) unused;
	(void) connection;
	(void) socket_context;
	journal_connection(code == MHD_CONNECTION_NOTIFY_STARTED);
}

static struct MHD_Daemon *
start_server(uint16_t port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
	{
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/*
	 * poll, not epoll: libmicrohttpd's edge-triggered epoll loses an event
	 * now and then when hundreds of connections are busy on a loaded machine,
	 * and leaves a request unread.
	 */
	return MHD_start_daemon(MHD_USE_POLL_INTERNAL_THREAD |
							MHD_ALLOW_SUSPEND_RESUME,
							port, NULL, NULL, receive_cb, NULL,
							MHD_OPTION_SOCK_ADDR,
							(struct sockaddr *) &address,
							MHD_OPTION_CONNECTION_LIMIT, MAX_CONNECTIONS,
							MHD_OPTION_LISTEN_BACKLOG_SIZE, MAX_CONNECTIONS,
							MHD_OPTION_URI_LOG_CALLBACK, receive_uri_cb, NULL,
							MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes_cb,
							NULL,
							MHD_OPTION_NOTIFY_COMPLETED, completed_cb, NULL,
							MHD_OPTION_NOTIFY_CONNECTION, connection_cb, NULL,
							MHD_OPTION_END);
}

/* Writes the port so that a reader finds either nothing or all of it. */
static bool
write_port(const char *path, unsigned int port)
{
	char	   *draft = text_format("%s.tmp", path);
	FILE	   *file = fopen(draft, "w");
	bool		written = false;

	if (file != NULL)
	{
		written = fprintf(file, "%u\n", port) > 0;
		written = fclose(file) == 0 && written &&
			rename(draft, path) == 0;
	}
	if (!written)
		perror(path);
	free(draft);
	return written;
}

/* Serves until SIGTERM or SIGINT; returns the exit status. */
static int
serve(uint16_t port, const char *port_file, const sigset_t *signals)
{
	struct MHD_Daemon *server = start_server(port);
	const union MHD_DaemonInfo *info;
	int			received;
	int			status = EXIT_SUCCESS;

	if (server == NULL)
	{
		fprintf(stderr, "provider_sim: could not listen on port %u\n", port);
		return EXIT_FAILURE;
	}
	delay_start();
	info = MHD_get_daemon_info(server, MHD_DAEMON_INFO_BIND_PORT);
	printf("listening on %u\n", info->port);
	fflush(stdout);
	if (port_file != NULL && !write_port(port_file, info->port))
		status = EXIT_FAILURE;
	else
		sigwait(signals, &received);
	delay_stop();
	MHD_stop_daemon(server);
	journal_clear();
	session_free_all();
	auth_free();
	return status;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"port", required_argument, NULL, 'p'},
		{"port-file", required_argument, NULL, 'f'},
		{NULL, 0, NULL, 0}
	};
	const char *port_file = NULL;
	long		port = 0;
	char	   *end = "";
	sigset_t	signals;
	int			option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
	{
		if (option == 'p')
			port = strtol(optarg, &end, 10);
		else if (option == 'f')
			port_file = optarg;
		else
			port = -1;
	}
	if (port < 0 || port > UINT16_MAX || *end != '\0' || optind < argc)
	{
		fputs("usage: provider_sim [--port N] [--port-file FILE]\n", stderr);
		return EXIT_FAILURE;
	}
	/* Blocked before any thread starts, so that sigwait alone sees them. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	return serve((uint16_t) port, port_file, &signals);
}
