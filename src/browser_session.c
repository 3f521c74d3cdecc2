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
#include "hooks.h"
#include "launcher.h"
#include "miscadmin.h"
#include "settings.h"
#include "shared.h"

BS_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

/*
 * Called by PostgreSQL when the library is loaded.  Preloaded, it also gets
 * shared memory, background workers, and hooks for them; without, its
 * functions work all the same.  pg_upgrade's servers are not to end anybody's
 * sessions.
 */
void
_PG_init(void)
{
	bool		with_workers = process_shared_preload_libraries_in_progress &&
		!IsBinaryUpgrade;

	bs_settings_define();
	bs_hooks_install(with_workers);
	if (!with_workers)
		return;
	bs_shared_request();
	bs_launcher_register();
}
