/*
 * server.h
 *		What the fuzz targets have in the place of PostgreSQL's server.
 */
#ifndef SERVER_H
#define SERVER_H

#include "nodes/pg_list.h"

/* An error that was raised. */
typedef struct Raised
{
	int			sqlerrcode;		/* 0 if none was set */
	char	   *message;		/* each NULL if there is none */
	char	   *detail;
	char	   *hint;
} Raised;

extern bool server_superuser;

extern List *server_options(const char *text);
extern bool server_validate(List *options, Oid catalog, Raised *raised);

#endif							/* SERVER_H */
