/*
 * provider.h
 *		The catalogue of providers: what it takes to end a session at each.
 *
 * A provider is data.  Its descriptor is a row of text fields; a server's
 * options can replace any of them, and provider "custom" has only what the
 * options say.
 */
#ifndef BS_PROVIDER_H
#define BS_PROVIDER_H

#include "field.h"
#include "redact.h"

typedef struct BsProvider
{
	const char *name;
	const char *document;		/* where the provider documents the call */
	const char *field[BS_NFIELDS];	/* by BsField, NULL if it has none */
} BsProvider;

/* A provider as one account uses it: what requests are built from. */
typedef struct BsService
{
	const char *field[BS_NFIELDS];	/* with the server's options applied */
	const char *project_id;		/* NULL if not set */
	char	   *api_key;		/* NULL if not given */
	char	   *username;		/* NULL if not given */
	char	   *password;		/* NULL if not given */
	BsSecrets	secrets;		/* what must not be shown */
} BsService;

/* The name of the provider that is described by options alone. */
#define BS_CUSTOM	"custom"

extern const BsProvider *bs_provider_find(const char *name);
extern const BsProvider *bs_provider_at(int i);
extern const char *bs_provider_names(void);

#endif							/* BS_PROVIDER_H */
