/*
 * extension.c
 *		Where the extension is installed in this database.
 *
 * Its objects are found through the catalog's entry of the extension, never
 * through search_path.  What was found is kept until something happens to one
 * of its tables; that it is not there is not kept.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "extension.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* What was found last, and whether that is still true. */
static BsExtension known;
static bool is_known = false;

/* Counts what happens to relations while the extension is looked for. */
static uint64 changes = 0;

/*
 * Reads the extension's own entry.
 */
static bool
read_entry(BsExtension *extension)
{
	Relation	catalog = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum(BS_EXTENSION));
	scan = systable_beginscan(catalog, ExtensionNameIndexId, true, NULL, 1,
							  &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_extension entry = (Form_pg_extension) GETSTRUCT(tuple);

		extension->oid = entry->oid;
		extension->schema = entry->extnamespace;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return OidIsValid(extension->oid);
}

static Oid
get_owner(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

/*
 * Is called when something has happened to a relation; to any, if that is
 * invalid.
 */
static void
forget_cb(Datum arg, Oid relation)
{
	(void) arg;
	changes++;
	if (!OidIsValid(relation) || relation == known.tracked ||
		relation == known.audit || relation == known.numbers ||
		relation == known.home)
		is_known = false;
}

/*
 * Fills in the extension.  Returns false if it is not there; sets *missing to
 * the table that is not where it made it, or NULL.
 */
static bool
find(BsExtension *extension, const char **missing)
{
	const struct
	{
		const char *name;
		Oid		   *oid;
	}			table[] = {
		{"bsession_tracked", &extension->tracked},
		{"bsession_audit", &extension->audit},
		{"bsession_audit_id_seq", &extension->numbers},
		{"bsession_home", &extension->home},
	};

	*missing = NULL;
	memset(extension, 0, sizeof(*extension));
	if (!read_entry(extension))
		return false;
	for (int i = 0; i < (int) lengthof(table); i++)
	{
		*table[i].oid = get_relname_relid(table[i].name, extension->schema);
		if (!OidIsValid(*table[i].oid))
			*missing = table[i].name;
	}
	extension->owner = get_owner(extension->tracked);
	if (!OidIsValid(extension->owner))
		*missing = table[0].name;
	return true;
}

/*
 * Finds the extension and its tables; false if this database does not have
 * them, or not all of them where the extension made them.  Has to be called in
 * a transaction.
 */
bool
bs_extension_find(BsExtension *extension)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget_cb, (Datum) 0);
		registered = true;
	}
	if (!is_known)
	{
		uint64		before = changes;
		const char *missing;

		if (!find(extension, &missing) || missing != NULL)
			return false;
		known = *extension;
		/* What has changed meanwhile may have been this. */
		is_known = changes == before;
	}
	*extension = known;
	return true;
}

/*
 * Locks the tables for this transaction as writing to them does, without
 * waiting.  Returns false if somebody has, or waits for, a lock that conflicts
 * with it, or one of them is gone; the transaction is then to be given up.
 */
bool
bs_extension_lock(const BsExtension *extension)
{
	const Oid	relation[] = {
		extension->tracked, extension->audit, extension->numbers,
		extension->home
	};

	for (int i = 0; i < (int) lengthof(relation); i++)
		if (!ConditionalLockRelationOid(relation[i], RowExclusiveLock) ||
			!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation[i])))
			return false;
	return true;
}

/*
 * Does this database have the extension, wherever its tables are?
 */
bool
bs_extension_exists(void)
{
	BsExtension extension = {0};

	return read_entry(&extension);
}

/*
 * Raises the error that says what is missing.
 */
static void
refuse(void)
{
	BsExtension extension;
	const char *missing;

	if (!find(&extension, &missing) || missing == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"%s\" is not installed", BS_EXTENSION),
				 errhint("CREATE EXTENSION %s;", BS_EXTENSION)));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("\"%s\" is not in the schema of extension \"%s\"",
					missing, BS_EXTENSION),
			 errdetail("The extension's tables have to stay where it made "
					   "them."),
			 errhint("Give it its name back, or move it back to schema "
					 "\"%s\".", get_namespace_name(extension.schema))));
}

/*
 * Finds the extension for those who cannot do without: raises an error if it
 * is not there, or one of its tables is not.
 */
void
bs_extension_get(BsExtension *extension)
{
	if (!bs_extension_find(extension))
		refuse();
}

/*
 * Is that the oid of this extension in this database?
 */
bool
bs_extension_is(Oid oid)
{
	BsExtension extension = {0};

	return read_entry(&extension) && extension.oid == oid;
}
