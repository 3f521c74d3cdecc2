/*
 * compat.h
 *		What differs between PostgreSQL 15 and 18, one small block each.
 */
#ifndef BS_COMPAT_H
#define BS_COMPAT_H

#include "catalog/pg_database.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_proc.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif

/* The version of a module is shown by pg_get_loaded_modules() from 18 on. */
#if PG_VERSION_NUM >= 180000
#define BS_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "browser_session", .version = BS_VERSION)
#else
#define BS_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* A set that outlives transactions: no resource owner, or top memory. */
#if PG_VERSION_NUM >= 170000
#define bs_create_wait_set(nevents) CreateWaitEventSet(NULL, (nevents))
#else
#define bs_create_wait_set(nevents) \
	CreateWaitEventSet(TopMemoryContext, (nevents))
#endif

/* Waits of our own have a name from 17 on, "Extension" before. */
#if PG_VERSION_NUM >= 170000
#define bs_new_wait_event(name) WaitEventExtensionNew(name)
#else
#define bs_new_wait_event(name) PG_WAIT_EXTENSION
#endif

#if PG_VERSION_NUM >= 160000
#define bs_server_aclcheck(server, role) \
	object_aclcheck(ForeignServerRelationId, (server), (role), ACL_USAGE)
#else
#define bs_server_aclcheck(server, role) \
	pg_foreign_server_aclcheck((server), (role), ACL_USAGE)
#endif

#if PG_VERSION_NUM >= 160000
#define bs_may_execute(function, role) \
	(object_aclcheck(ProcedureRelationId, (function), (role), \
					 ACL_EXECUTE) == ACLCHECK_OK)
#define bs_owns_database(database, role) \
	object_ownercheck(DatabaseRelationId, (database), (role))
#else
#define bs_may_execute(function, role) \
	(pg_proc_aclcheck((function), (role), ACL_EXECUTE) == ACLCHECK_OK)
#define bs_owns_database(database, role) \
	pg_database_ownercheck((database), (role))
#endif

#endif							/* BS_COMPAT_H */
