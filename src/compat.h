/*
 * compat.h
 *		What differs between PostgreSQL 15 and 18, one small block each.
 */
#ifndef BS_COMPAT_H
#define BS_COMPAT_H

#include "access/tableam.h"
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

/* A worker's transaction is as long as it has to be. */
#if PG_VERSION_NUM >= 170000
#define BS_NO_TRANSACTION_TIMEOUT	{"transaction_timeout", "0"},
#else
#define BS_NO_TRANSACTION_TIMEOUT
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

/* In which indexes a new version of a row needs entries, and making them. */
#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes bs_which_indexes;
#define BS_ALL_INDEXES	TU_All
#define BS_NO_INDEXES	TU_None
#define bs_insert_index_tuples(result, row, estate, update, which) \
	ExecInsertIndexTuples((result), (row), (estate), (update), false, NULL, \
						  NIL, (which) == TU_Summarizing)
#define bs_insert_index_tuples_unless(result, row, estate, conflict, key) \
	ExecInsertIndexTuples((result), (row), (estate), false, true, \
						  (conflict), (key), false)
#else
typedef bool bs_which_indexes;
#define BS_ALL_INDEXES	true
#define BS_NO_INDEXES	false
#define bs_insert_index_tuples(result, row, estate, update, which) \
	ExecInsertIndexTuples((result), (row), (estate), (update), false, NULL, \
						  NIL)
#define bs_insert_index_tuples_unless(result, row, estate, conflict, key) \
	ExecInsertIndexTuples((result), (row), (estate), false, true, \
						  (conflict), (key))
#endif

#if PG_VERSION_NUM >= 180000
#define bs_index_beginscan(table, index, snapshot, nkeys) \
	index_beginscan((table), (index), (snapshot), NULL, (nkeys), 0)
#else
#define bs_index_beginscan(table, index, snapshot, nkeys) \
	index_beginscan((table), (index), (snapshot), (nkeys), 0)
#endif

/* In 15.0 it has another name, which all of 15 know. */
#if PG_VERSION_NUM >= 160000
#define bs_init_rows(fcinfo) InitMaterializedSRF((fcinfo), 0)
#else
#define bs_init_rows(fcinfo) SetSingleFuncCall((fcinfo), 0)
#endif

#endif							/* BS_COMPAT_H */
