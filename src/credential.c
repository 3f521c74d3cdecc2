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

#include <fcntl.h>
#include <sys/stat.h>

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/pg_user_mapping.h"
#include "credential.h"
#include "encoding.h"
#include "miscadmin.h"
#include "options.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

/* Longest key read from a file, in bytes. */
#define MAX_KEY		4096

/* A user mapping, read. */
typedef struct Mapping
{
	const char *owner;			/* for a hint: the role's name, or PUBLIC */
	bool		found;
	BsMappingOptions options;
} Mapping;

/*
 * Raises the error for a credential that is not there.
 */
static void
refuse_credential(const ForeignServer *server, Oid role,
				  const Mapping *mapping, const char *wanted)
{
	bool		pair = strcmp(wanted, "api_key") != 0;
	const char *name = GetUserNameFromId(role, false);

	if (!mapping->found)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("user mapping not found for user \"%s\", server "
						"\"%s\"", name, server->servername),
				 errhint("CREATE USER MAPPING FOR %s SERVER %s OPTIONS "
						 "(%s '...');", quote_identifier(name),
						 quote_identifier(server->servername),
						 pair ? "username '...', password" : wanted)));
	ereport(ERROR,
			(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
			 errmsg("user mapping for user \"%s\", server \"%s\" has no %s",
					name, server->servername, wanted),
			 errhint("ALTER USER MAPPING FOR %s SERVER %s OPTIONS (%s "
					 "'...');", mapping->owner,
					 quote_identifier(server->servername),
					 pair ? "ADD username '...', ADD password" :
					 "ADD api_key")));
}

/*
 * Raises the error for a key that would never be sent.
 */
static void
refuse_unused_key(const ForeignServer *server, const Mapping *mapping)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
			 errmsg("server \"%s\" does not say how to send an api_key",
					server->servername),
			 errdetail("The user mapping has one, and the option \"auth\" of "
					   "the server is \"none\"."),
			 errhint("ALTER SERVER %s OPTIONS (ADD auth 'bearer'); or drop "
					 "the api_key of the user mapping for %s.",
					 quote_identifier(server->servername), mapping->owner)));
}

/*
 * Reads the role's user mapping, or else PUBLIC's.
 */
static void
read_mapping(Oid server, Oid role, Mapping *mapping)
{
	HeapTuple	tuple;
	List	   *options = NIL;
	Datum		datum;
	bool		isnull;

	mapping->owner = quote_identifier(GetUserNameFromId(role, false));
	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(role),
							ObjectIdGetDatum(server));
	if (!HeapTupleIsValid(tuple))
	{
		mapping->owner = "PUBLIC";
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER,
								ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(server));
	}
	mapping->found = HeapTupleIsValid(tuple);
	if (mapping->found)
	{
		datum = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple,
								Anum_pg_user_mapping_umoptions, &isnull);
		if (!isnull)
			options = untransformRelOptions(datum);
		ReleaseSysCache(tuple);
	}
	bs_options_read_mapping(options, &mapping->options);
}

/*
 * Reads a file into a buffer, at most so much.  What is no plain file, such as
 * a pipe, could be waited for for ever.  Returns how much it was.
 */
static size_t
read_file(const char *path, char *buffer, size_t size)
{
	int			file = OpenTransientFile(path, O_RDONLY | O_NONBLOCK);
	struct stat status;
	size_t		length = 0;
	ssize_t		part = 0;

	if (file < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\" for reading: %m", path)));
	if (fstat(file, &status) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat file \"%s\": %m", path)));
	if (!S_ISREG(status.st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a regular file", path)));
	while (length < size &&
		   (part = read(file, buffer + length, size - length)) > 0)
		length += part;
	if (part < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\": %m", path)));
	CloseTransientFile(file);
	return length;
}

/*
 * Returns the key in a file, without the white space around it.  No message
 * shows any of it.
 */
static char *
read_key_file(const char *path)
{
	char		buffer[MAX_KEY + 2];
	size_t		length = read_file(path, buffer, sizeof(buffer) - 1);
	char	   *key = buffer;

	buffer[length] = '\0';
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
	bool		basic = strcmp(auth, "basic") == 0;
	bool		none = strcmp(auth, "none") == 0;
	Mapping		mapping;
	BsMappingOptions *options = &mapping.options;

	read_mapping(server->serverid, role, &mapping);
	if (options->api_key_file != NULL)
		service->api_key = read_key_file(options->api_key_file);
	else if (options->api_key != NULL)
		service->api_key = options->api_key;
	if (options->username != NULL)
	{
		service->username = bs_encoding_to_utf8(options->username);
		service->password = bs_encoding_to_utf8(options->password);
		bs_redact_wipe(options->password);
		if (service->username == NULL || service->password == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
					 errmsg("username or password cannot be converted to "
							"UTF-8")));
	}

	if (none && service->api_key != NULL)
		refuse_unused_key(server, &mapping);
	else if (basic && service->username == NULL)
		refuse_credential(server, role, &mapping, "username and password");
	else if (!basic && !none && service->api_key == NULL)
		refuse_credential(server, role, &mapping, "api_key");

	bs_redact_add(&service->secrets, service->api_key);
	bs_redact_add(&service->secrets, service->username);
	bs_redact_add(&service->secrets, service->password);
	if (service->username != NULL)
		bs_redact_add_pair(&service->secrets, service->username,
						   service->password);
	return options->api_key_file == NULL;
}
