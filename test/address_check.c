/*
 * address_check.c
 *		Prints what src/http_address.c says of each address in its arguments,
 *		"-" if any server may connect to it.
 *
 * Each is judged twice, as text and as the kernel has it, which must agree.
 */
#include "postgres_fe.h"

#include <netdb.h>
#include <sys/socket.h>

#include "http.h"

/* PostgreSQL's own are in a library that is not needed. */
#undef printf
#undef fprintf

int
main(int argc, char **argv)
{
	struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST,
		.ai_socktype = SOCK_STREAM
	};

	for (int i = 1; i < argc; i++)
	{
		struct addrinfo *address;
		const char *refused;

		if (getaddrinfo(argv[i], NULL, &hints, &address) != 0)
		{
			fprintf(stderr, "%s is no address\n", argv[i]);
			return 1;
		}
		refused = bs_http_address_refuse(address->ai_addr);
		if (bs_http_address_refuse_text(argv[i], false) != refused)
		{
			fprintf(stderr, "%s is judged in two ways\n", argv[i]);
			return 1;
		}
		printf("%s\n", refused != NULL ? refused : "-");
		freeaddrinfo(address);
	}
	return 0;
}
