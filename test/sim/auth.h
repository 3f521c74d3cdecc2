#ifndef SIM_AUTH_H
#define SIM_AUTH_H

#include "request.h"

typedef enum AuthKind
{
	AUTH_NONE,
	AUTH_HEADER,				/* the key is the header's value */
	AUTH_QUERY,					/* … the query parameter's value */
	AUTH_BEARER,
	AUTH_BASIC					/* user "sim", the key as password */
} AuthKind;

extern bool auth_check(Request *request, AuthKind kind, const char *name);
extern void auth_add_key(const char *key);
extern void auth_free(void);

#endif
