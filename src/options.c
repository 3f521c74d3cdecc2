/*
 * options.c
 *		Options of servers and user mappings: their names, their values, and
 *		the validator that refuses wrong ones.
 *
 * PostgreSQL calls the validator with the whole list whenever an option is
 * set, and what it let through is read here again when the account is used.
 * The validator is not told the server's name; a server without the option
 * "provider" is therefore checked as a whole only when it is used.
 *
 * No message quotes a value that can hold a secret or unprintable characters.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "encoding.h"
#include "fmgr.h"
#include "http.h"
#include "miscadmin.h"
#include "options.h"
#include "settings.h"
#include "utils/builtins.h"
#include "utils/guc.h"

PG_FUNCTION_INFO_V1(bsession_validator);

#define MAX_RETRIES				10
#define MAX_CONFIRM_TIMEOUT		(10 * 60 * 1000)
#define MAX_RATE				1000000.0

/* Options of a server that are not fields of the provider's descriptor. */
static const char *const server_options[] = {
	"provider", "project_id", "timeout", "retries", "confirm_timeout",
	"max_in_flight", "max_rate", "allow_insecure", "allow_local", "ca_file"
};

static const char *const mapping_options[] = {
	"api_key", "api_key_file", "username", "password"
};

static bool
is_one_of(const char *name, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

/*
 * Raises the error for a name that is not an option here.
 */
static void
refuse_name(const char *name, Oid catalog)
{
	StringInfoData valid;

	if (catalog == ForeignServerRelationId &&
		is_one_of(name, mapping_options, lengthof(mapping_options)))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("invalid option \"%s\"", name),
				 errdetail("Everybody can read the options of a server."),
				 errhint("Set it with CREATE USER MAPPING ... OPTIONS (%s "
						 "'...').", name)));

	initStringInfo(&valid);
	if (catalog == ForeignServerRelationId)
	{
		for (int i = 0; i < (int) lengthof(server_options); i++)
			appendStringInfo(&valid, "%s, ", server_options[i]);
		for (int i = 0; i < BS_NFIELDS; i++)
			appendStringInfo(&valid, "%s, ", bs_field_name(i));
	}
	else if (catalog == UserMappingRelationId)
	{
		for (int i = 0; i < (int) lengthof(mapping_options); i++)
			appendStringInfo(&valid, "%s, ", mapping_options[i]);
	}
	if (valid.len > 0)
		valid.data[valid.len - 2] = '\0';
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", name),
			 valid.len > 0 ?
			 errhint("Valid options in this context are: %s", valid.data) :
			 errhint("There are no valid options in this context.")));
}

/*
 * Are there no control characters in the text?
 */
static bool
is_printable(const char *text)
{
	const unsigned char *p = (const unsigned char *) text;

	while (*p >= ' ' && *p != 0x7f)
		p++;
	return *p == '\0';
}

/*
 * Raises the error for a value that an option cannot have.  "value" is NULL
 * if it must not be quoted.
 */
static void
refuse_value(const char *name, const char *value, const char *detail)
{
	if (value == NULL || !is_printable(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\"", name),
				 errdetail("%s", detail)));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
			 errdetail("%s", detail)));
}

static int
read_integer(DefElem *option, int flags, int min, int max)
{
	const char *value = defGetString(option);
	int			result;

	if (!parse_int(value, &result, flags, NULL) || result < min ||
		result > max)
		refuse_value(option->defname, value,
					 psprintf("It must be a whole number from %d to %d%s.",
							  min, max, flags == 0 ? "" :
							  ", in milliseconds unless a unit is given"));
	return result;
}

static double
read_rate(DefElem *option)
{
	const char *value = defGetString(option);
	double		result;

	if (!parse_real(value, &result, 0, NULL) || !(result > 0) ||
		result > MAX_RATE)
		refuse_value(option->defname, value,
					 "It must be a positive number of requests a second, at "
					 "most 1000000.");
	return result;
}

/*
 * Raises an error unless the text can stand in a header line: visible ASCII.
 */
static void
check_visible(const char *name, const char *value)
{
	const unsigned char *p = (const unsigned char *) value;

	while (*p > ' ' && *p < 0x7f)
		p++;
	if (*value == '\0' || *p != '\0')
		refuse_value(name, NULL,
					 "It must be visible ASCII characters without spaces, "
					 "and not empty.");
}

/*
 * Raises an error if there are control characters in the text, or nothing.
 * NULL is all right.
 */
static void
check_printable(const char *name, const char *value)
{
	if (value != NULL && (*value == '\0' || !is_printable(value)))
		refuse_value(name, NULL, "It must not contain control characters, "
					 "nor be empty.");
}

/*
 * Raises an error unless the URL can be a base URL.
 */
static void
check_base_url(const char *value, bool allow_insecure)
{
	HttpUrl		url;

	for (const unsigned char *p = (const unsigned char *) value; *p; p++)
	{
		if (*p <= ' ' || *p >= 0x7f || *p == '\\')
			refuse_value("base_url", NULL,
						 "A URL must be visible ASCII without spaces.");
	}
	if (!bs_http_url_split(value, &url))
		refuse_value("base_url", NULL, "It is not a valid absolute URL, such "
					 "as https://host:port/path.");
	if (url.has_user)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"base_url\""),
				 errdetail("It has a user name or password in it, and "
						   "everybody can read the options of a server."),
				 errhint("Set username and password with CREATE USER "
						 "MAPPING.")));
	if (url.query != NULL || url.has_fragment)
		refuse_value("base_url", NULL,
					 "It must not have a query or a fragment.");
	if (strcmp(url.scheme, "https") != 0 && strcmp(url.scheme, "http") != 0)
		refuse_value("base_url", NULL, "It must begin with https://.");
	if (strcmp(url.scheme, "http") == 0 && !allow_insecure &&
		!bs_http_url_is_loopback(&url))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"base_url\""),
				 errdetail("Without TLS everybody on the way can read the "
						   "credential."),
				 errhint("Use https, or set allow_insecure 'true' if the "
						 "network is trusted.")));
}

/*
 * Reads one option of a server that is not a field.
 */
static void
read_server_option(DefElem *option, BsServerOptions *server)
{
	const char *name = option->defname;

	if (strcmp(name, "provider") == 0)
	{
		server->provider = defGetString(option);
		check_printable(name, server->provider);
		if (bs_provider_find(server->provider) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("provider \"%s\" is not known",
							server->provider),
					 errhint("Providers are: %s", bs_provider_names())));
	}
	else if (strcmp(name, "project_id") == 0)
	{
		server->project_id = defGetString(option);
		check_visible(name, server->project_id);
	}
	else if (strcmp(name, "ca_file") == 0)
		server->ca_file = defGetString(option);
	else if (strcmp(name, "timeout") == 0)
		server->timeout = read_integer(option, GUC_UNIT_MS,
									   BS_REQUEST_TIMEOUT_MIN,
									   BS_REQUEST_TIMEOUT_MAX);
	else if (strcmp(name, "retries") == 0)
		server->retries = read_integer(option, 0, 0, MAX_RETRIES);
	else if (strcmp(name, "confirm_timeout") == 0)
		server->confirm_timeout = read_integer(option, GUC_UNIT_MS, 0,
											   MAX_CONFIRM_TIMEOUT);
	else if (strcmp(name, "max_in_flight") == 0)
		server->max_in_flight = read_integer(option, 0, BS_MAX_IN_FLIGHT_MIN,
											 BS_MAX_IN_FLIGHT_MAX);
	else if (strcmp(name, "max_rate") == 0)
		server->max_rate = read_rate(option);
	else if (strcmp(name, "allow_insecure") == 0)
		server->allow_insecure = defGetBoolean(option);
	else if (strcmp(name, "allow_local") == 0)
		server->allow_local = defGetBoolean(option);
	else
		refuse_name(name, ForeignServerRelationId);
}

/*
 * Fills *server from a server's options.  Raises an error for any that is
 * wrong.  Strings are those of the list, but for a descriptor's, which are in
 * UTF-8, as answers are, in the current memory context.
 */
void
bs_options_read_server(List *options, BsServerOptions *server)
{
	ListCell   *cell;

	memset(server, 0, sizeof(*server));
	server->retries = BS_RETRIES_DEFAULT;
	server->confirm_timeout = BS_CONFIRM_TIMEOUT_DEFAULT;
	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);
		int			field = bs_field_find(option->defname);

		if (field >= 0)
		{
			const char *value = defGetString(option);
			const char *utf8 = bs_encoding_to_utf8(value);
			const char *why = utf8 == NULL ?
				"It must consist of characters that UTF-8 has." :
				bs_field_check(field, utf8);

			if (why != NULL)
				refuse_value(option->defname, value, why);
			server->field[field] = utf8;
		}
		else
			read_server_option(option, server);
	}
	if (server->field[BS_BASE_URL] != NULL)
		check_base_url(server->field[BS_BASE_URL], server->allow_insecure);
}

/*
 * Fills *mapping from a user mapping's options.  Raises an error for any that
 * is wrong.  Strings are those of the list.
 */
void
bs_options_read_mapping(List *options, BsMappingOptions *mapping)
{
	ListCell   *cell;

	memset(mapping, 0, sizeof(*mapping));
	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "api_key") == 0)
		{
			mapping->api_key = defGetString(option);
			check_visible(option->defname, mapping->api_key);
		}
		else if (strcmp(option->defname, "api_key_file") == 0)
			mapping->api_key_file = defGetString(option);
		else if (strcmp(option->defname, "username") == 0)
			mapping->username = defGetString(option);
		else if (strcmp(option->defname, "password") == 0)
			mapping->password = defGetString(option);
		else
			refuse_name(option->defname, UserMappingRelationId);
	}
	if ((mapping->api_key != NULL) + (mapping->api_key_file != NULL) +
		(mapping->username != NULL) > 1 ||
		(mapping->username == NULL) != (mapping->password == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("options of the user mapping do not fit together"),
				 errhint("Set either api_key, or api_key_file, or username "
						 "and password.")));
	if (mapping->username != NULL && strchr(mapping->username, ':') != NULL)
		refuse_value("username", NULL, "It must not contain a colon.");
	check_printable("username", mapping->username);
	check_printable("password", mapping->password);
}

/*
 * Raises an error if a provider and a server's options do not describe how to
 * end a session.
 */
static void
check_whole(const BsServerOptions *server)
{
	const BsProvider *provider = bs_provider_find(server->provider);
	const char *field[BS_NFIELDS];
	const char *why;

	for (int i = 0; i < BS_NFIELDS; i++)
		field[i] = server->field[i] != NULL ? server->field[i] :
			provider->field[i];
	why = bs_field_check_all(field);
	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("server is not completely described"),
				 errdetail("%s", why),
				 errhint("bsession_providers() shows how the built-in "
						 "providers are described.")));
}

/*
 * Raises an error if the option makes the server read a file of the
 * operating system and the current user is not a superuser.
 */
static void
check_superuser(const char *name, const char *value)
{
	if (value == NULL)
		return;
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to set option \"%s\"", name),
				 errdetail("It makes the server read a file of the operating "
						   "system."),
				 errhint("Ask a superuser to set it.")));
	if (!is_absolute_path(value))
		refuse_value(name, value, "It must be an absolute path.");
}

/*
 * Raises an error if a server could make somebody who is not a superuser
 * connect to local addresses.  While allow_local is set, every change is
 * refused, for it was set with the other options in view.
 *
 * That of the host only tells early, and only of addresses: what counts is
 * checked at each connection, with the server's owner in view.
 */
static void
check_local(const BsServerOptions *server)
{
	const BsProvider *provider = server->provider != NULL ?
		bs_provider_find(server->provider) : NULL;
	const char *base_url = server->field[BS_BASE_URL];
	const char *what = NULL;
	HttpUrl		url;

	if (superuser())
		return;
	if (server->allow_local)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to set option \"%s\"",
						"allow_local"),
				 errdetail("While it is set, only a superuser can set any "
						   "option of the server."),
				 errhint("Ask a superuser to set it.")));
	if (base_url == NULL && provider != NULL)
		base_url = provider->field[BS_BASE_URL];
	if (base_url != NULL && bs_http_url_split(base_url, &url))
		what = bs_http_url_refuse(&url);
	if (what != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to connect to %s", what),
				 errdetail("The option base_url, or that of the provider, "
						   "leads to it."),
				 errhint("Ask a superuser to create the server, with "
						 "allow_local 'true' if another role is to own "
						 "it.")));
}

/*
 * bsession_validator(text[], oid) - the validator of the foreign-data wrapper
 */
Datum
bsession_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	BsServerOptions server;
	BsMappingOptions mapping;

	if (catalog == ForeignServerRelationId)
	{
		bs_options_read_server(options, &server);
		check_superuser("ca_file", server.ca_file);
		check_local(&server);
		if (server.provider != NULL)
			check_whole(&server);
	}
	else if (catalog == UserMappingRelationId)
	{
		bs_options_read_mapping(options, &mapping);
		check_superuser("api_key_file", mapping.api_key_file);
	}
	else if (options != NIL)
		refuse_name(linitial_node(DefElem, options)->defname, catalog);

	PG_RETURN_VOID();
}
