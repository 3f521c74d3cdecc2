/*
 * pretend_network.c
 *		A network for tests that is not there, to be preloaded into a server.
 *
 * Names resolve to what the file "names" says, a line each: the name, and its
 * addresses.  Connections to 203.0.113.0/24, addresses that nobody has, lead
 * to the same port of 127.0.0.1, and both ends believe it; those to any other
 * address outside 127.0.0.0/8 fail.  The file "connects" gets a line for each
 * connection that was tried: the address.
 *
 * Both files are in the directory that BS_PRETEND_NETWORK names.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FD		1024

/* The address that a socket believes to be connected to; 0 = the real one. */
static in_addr_t believed[MAX_FD];

static FILE *
open_file(const char *name, const char *mode)
{
	const char *directory = getenv("BS_PRETEND_NETWORK");
	char		path[1024];

	if (directory == NULL)
		return NULL;
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return fopen(path, mode);
}

static void
note_connect(const struct sockaddr *address)
{
	char		text[INET6_ADDRSTRLEN] = "?";
	FILE	   *file = open_file("connects", "a");

	if (file == NULL)
		return;
	if (address->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *) address)->sin_addr,
				  text, sizeof(text));
	else
		inet_ntop(AF_INET6,
				  &((const struct sockaddr_in6 *) address)->sin6_addr,
				  text, sizeof(text));
	fprintf(file, "%s\n", text);
	fclose(file);
}

int
connect(int fd, const struct sockaddr *address, socklen_t length)
{
	int			(*real) (int, const struct sockaddr *, socklen_t) =
		dlsym(RTLD_NEXT, "connect");
	struct sockaddr_in there;
	in_addr_t	network;

	if (fd >= 0 && fd < MAX_FD)
		believed[fd] = 0;
	if (address->sa_family != AF_INET && address->sa_family != AF_INET6)
		return real(fd, address, length);
	note_connect(address);
	if (address->sa_family == AF_INET && length >= sizeof(there))
	{
		memcpy(&there, address, sizeof(there));
		network = ntohl(there.sin_addr.s_addr) >> 8;
		if (network >> 16 == 127)
			return real(fd, address, length);
		if (network == 0xcb0071 && fd >= 0 && fd < MAX_FD)
		{
			believed[fd] = there.sin_addr.s_addr;
			there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
			return real(fd, (struct sockaddr *) &there, sizeof(there));
		}
	}
	errno = ENETUNREACH;
	return -1;
}

int
getpeername(int fd, struct sockaddr *restrict address,
			socklen_t *restrict length)
{
	int			(*real) (int, struct sockaddr *, socklen_t *) =
		dlsym(RTLD_NEXT, "getpeername");
	int			result = real(fd, address, length);

	if (result == 0 && fd >= 0 && fd < MAX_FD && believed[fd] != 0 &&
		address->sa_family == AF_INET)
		((struct sockaddr_in *) address)->sin_addr.s_addr = believed[fd];
	return result;
}

/*
 * Fills "line" with what the file says of a name.  Returns whether it does.
 */
static int
look_up(const char *name, char *line, int size)
{
	FILE	   *file = open_file("names", "r");
	size_t		length = strlen(name);
	int			found = 0;

	if (file == NULL)
		return 0;
	while (!found && fgets(line, size, file) != NULL)
		found = strncmp(line, name, length) == 0 && line[length] == ' ';
	fclose(file);
	return found;
}

int
getaddrinfo(const char *restrict name, const char *restrict service,
			const struct addrinfo *restrict hints,
			struct addrinfo **restrict result)
{
	int			(*real) (const char *, const char *, const struct addrinfo *,
						 struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
	char		line[1024];
	char	   *rest = NULL;
	struct addrinfo *list = NULL;
	struct addrinfo **end = &list;

	if (name == NULL || !look_up(name, line, sizeof(line)))
		return real(name, service, hints, result);
	strtok_r(line, " \n", &rest);
	for (char *one; (one = strtok_r(NULL, " \n", &rest)) != NULL;)
	{
		if (real(one, service, hints, end) != 0)
			continue;
		while (*end != NULL)
			end = &(*end)->ai_next;
	}
	*result = list;
	return list != NULL ? 0 : EAI_NONAME;
}
