/*
 * browser_session.c
 *		Entry point of the extension: what happens when the library is loaded.
 *
 * Nothing here touches libcurl: the library may be loaded in the postmaster,
 * where a network library must not be initialised (its threads and sockets
 * would be shared by every backend).  http.c does that in the process that
 * first needs it.
 */
#include "postgres.h"

#include "compat.h"
#include "fmgr.h"
#include "settings.h"

BS_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

/*
 * Called by PostgreSQL when the library is loaded.
 */
void
_PG_init(void)
{
	bs_settings_define();
}
