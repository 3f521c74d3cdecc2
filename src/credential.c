/*
 * credential.c
 *		From a user mapping to the credential of an account.
 *
 * The role's own mapping goes before PUBLIC's.  A key can also be in a file,
 * which only a superuser can name; it is read at each use, so that a key that
 * was rotated counts at once.
 *
 * No message shows any part of a credential.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/pg_user_mapping.h"
#include "credential.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "options.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

/* Longest key read from a file, in bytes. */
#define MAX_KEY		4096

/*
 * Returns the text in UTF-8, which all below works in, in the current memory
 * context.
 */
static char *
to_utf8(const char *text)
{
	char	   *converted = pg_server_to_any(text, strlen(text), PG_UTF8);

	return converted == text ? pstrdup(text) : converted;
}

/*
 * Raises the error for a credential that is not there.  "mapped" tells
 * whether there is a user mapping at all.
 */
static void
refuse_credential(const ForeignServer *server, Oid role, bool mapped,
				  const char *wanted)
{
	const char *role_name = GetUserNameFromId(role, false);

	ereport(ERROR,
			(errcode(mapped ? ERRCODE_FDW_OPTION_NAME_NOT_FOUND :
					 ERRCODE_UNDEFINED_OBJECT),
			 mapped ?
			 errmsg("user mapping for user \"%s\", server \"%s\" has no %s",
					role_name, server->servername, wanted) :
			 errmsg("user mapping not found for user \"%s\", server \"%s\"",
					role_name, server->servername),
			 errhint("%s USER MAPPING FOR %s SERVER %s OPTIONS (%s%s '...');",
					 mapped ? "ALTER" : "CREATE", quote_identifier(role_name),
					 quote_identifier(server->servername),
					 mapped ? "ADD " : "",
					 strcmp(wanted, "username and password") == 0 ?
					 "username '...', password" : wanted)));
}

/*
 * Returns the options of the role's user mapping, or else PUBLIC's.  Sets
 * *found to whether there is one.
 */
static List *
get_mapping_options(Oid server, Oid role, bool *found)
{
	HeapTuple	tuple;
	List	   *options = NIL;
	Datum		datum;
	bool		isnull;

	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(role),
							ObjectIdGetDatum(server));
	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER,
								ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(server));
	*found = HeapTupleIsValid(tuple);
	if (!*found)
		return NIL;
	datum = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple,
							Anum_pg_user_mapping_umoptions, &isnull);
	if (!isnull)
		options = untransformRelOptions(datum);
	ReleaseSysCache(tuple);
	return options;
}

/*
 * Returns the key in a file, without the white space around it.  No message
 * shows any of it.
 */
static char *
read_key_file(const char *path)
{
	FILE	   *file = AllocateFile(path, PG_BINARY_R);
	char		buffer[MAX_KEY + 2];
	size_t		length;
	char	   *key = buffer;

	if (file == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\" for reading: %m", path)));
	length = fread(buffer, 1, sizeof(buffer) - 1, file);
	buffer[length] = '\0';
	if (ferror(file))
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\": %m", path)));
	FreeFile(file);

	while (length > 0 && isspace((unsigned char) buffer[length - 1]))
		buffer[--length] = '\0';
	while (isspace((unsigned char) *key))
		key++;
	for (const unsigned char *p = (const unsigned char *) key;; p++)
	{
		if (*p > ' ' && *p < 0x7f && length <= MAX_KEY)
			continue;
		if (*p == '\0' && *key != '\0' && length <= MAX_KEY &&
			strlen(buffer) == length)
			break;
		explicit_bzero(buffer, sizeof(buffer));
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("file \"%s\" does not hold a key", path),
				 errdetail("It must hold one line of 1 to %d visible ASCII "
						   "characters.", MAX_KEY)));
	}
	key = pstrdup(key);
	explicit_bzero(buffer, sizeof(buffer));
	return key;
}

/*
 * Sets a service's credential, and the secrets that must not be shown, from
 * the user mapping of a role, in the current memory context.  Returns whether
 * it may be cached.  Raises an error that names the next step if there is no
 * credential, or not the one that the provider wants.
 */
bool
bs_credential_load(BsService *service, const ForeignServer *server, Oid role)
{
	const char *auth = service->field[BS_AUTH];
	BsMappingOptions mapping;
	bool		found;

	bs_options_read_mapping(get_mapping_options(server->serverid, role,
												&found), &mapping);
	if (mapping.api_key_file != NULL)
		service->api_key = read_key_file(mapping.api_key_file);
	else if (mapping.api_key != NULL)
		service->api_key = mapping.api_key;
	if (mapping.username != NULL)
	{
		service->username = to_utf8(mapping.username);
		service->password = to_utf8(mapping.password);
		bs_redact_wipe(mapping.password);
	}

	if (strcmp(auth, "none") == 0 || strcmp(auth, "basic") == 0)
	{
		if (service->username == NULL &&
			(service->api_key != NULL || strcmp(auth, "basic") == 0))
			refuse_credential(server, role, found, "username and password");
	}
	else if (service->api_key == NULL)
		refuse_credential(server, role, found, "api_key");

	bs_redact_add(&service->secrets, service->api_key);
	bs_redact_add(&service->secrets, service->password);
	if (service->username != NULL)
		bs_redact_add_pair(&service->secrets, service->username,
						   service->password);
	return mapping.api_key_file == NULL;
}
