/*
 * account.h
 *		An account: what SERVER and USER MAPPING say, ready for use.
 */
#ifndef BS_ACCOUNT_H
#define BS_ACCOUNT_H

#include "provider.h"
#include "session_id.h"

/* When the next request to a server may be sent, under max_rate. */
typedef struct BsPace
{
	Oid			server;			/* must be first */
	int64		next_send;
	int			queued;			/* exchanges that wait for their first turn */
} BsPace;

typedef struct BsAccount
{
	const char *server;			/* the server's name */
	BsService	service;
	const char *ca_file;		/* NULL = the system's certificates */
	bool		allow_http;
	bool		direct;			/* on this machine: never through a proxy */
	bool		allow_local;	/* may connect to local addresses */
	int			timeout;		/* ms, for one exchange */
	int			retries;		/* of a direct call */
	int			confirm_timeout;	/* ms */
	int			max_in_flight;
	int64		send_interval;	/* µs between two requests; 0 = no limit */
	BsPace	   *pace;			/* of the server */
	bool		has_name;		/* the host's name has to be looked up */

	/* account.c's own */
	MemoryContext context;		/* holds all of the above */
	Oid			owner;			/* of the server */
	bool		own_allow_local;	/* the server's option */
	int			own_timeout;	/* likewise; 0 = not set */
	int			own_max_in_flight;	/* likewise */
	int			pins;			/* users of this very copy */
	bool		cached;			/* in the cache, to be kept when unpinned */
	MemoryContextCallback wipe;
} BsAccount;

extern BsAccount *bs_account_get(const char *server, Oid role);
extern BsAccount *bs_account_try(const char *server, const char *role,
								 char **why);
extern const char *bs_account_read_id(const BsAccount *account,
									  const char *given, BsSessionId *id,
									  char **utf8);
extern int	bs_account_limit(const BsAccount *account, bool known);
extern void bs_account_pin(BsAccount *account);
extern void bs_account_release(BsAccount *account);

#endif							/* BS_ACCOUNT_H */
