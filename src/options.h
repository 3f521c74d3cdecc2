/*
 * options.h
 *		Options of servers and user mappings: their names and values.
 */
#ifndef BS_OPTIONS_H
#define BS_OPTIONS_H

#include "nodes/pg_list.h"
#include "provider.h"

/* Name of the foreign-data wrapper, which its servers are known by. */
#define BS_WRAPPER	"browser_session"

/* Of each: the default if the server does not set it. */
#define BS_RETRIES_DEFAULT			2
#define BS_CONFIRM_TIMEOUT_DEFAULT	2000	/* ms */

typedef struct BsServerOptions
{
	const char *provider;		/* NULL if not set */
	const char *field[BS_NFIELDS];	/* NULL if not set */
	const char *project_id;
	const char *ca_file;
	int			timeout;		/* ms; 0 = the setting's */
	int			retries;
	int			confirm_timeout;	/* ms */
	int			max_in_flight;	/* 0 = the setting's */
	double		max_rate;		/* requests a second; 0 = no limit */
	bool		allow_insecure;
	bool		allow_local;
} BsServerOptions;

typedef struct BsMappingOptions
{
	char	   *api_key;
	char	   *api_key_file;
	char	   *username;
	char	   *password;
} BsMappingOptions;

extern void bs_options_read_server(List *options, BsServerOptions *server);
extern void bs_options_read_mapping(List *options, BsMappingOptions *mapping);

#endif							/* BS_OPTIONS_H */
