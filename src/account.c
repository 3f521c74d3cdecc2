/*
 * account.c
 *		From the name of a server and a role to an account: permission,
 *		provider, options, credential.
 *
 * USAGE on the server is the permission to end sessions with that account
 * and is checked at every use; so is whether the server's owner is a
 * superuser, who may have it connect to local addresses.  Accounts are cached
 * by server and role until a server or a user mapping changes; one whose key
 * is in a file is made anew at each use.
 *
 * An account is pinned while in use: a change that comes in during an
 * exchange takes effect with the next one.  When it goes, the copies of the
 * credential in it are overwritten.  The system caches of PostgreSQL hold the
 * catalog's own copy; that is out of reach.
 */
#include "postgres.h"

#include "access/xact.h"
#include "account.h"
#include "clock.h"
#include "compat.h"
#include "credential.h"
#include "encoding.h"
#include "foreign/foreign.h"
#include "http.h"
#include "miscadmin.h"
#include "options.h"
#include "settings.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

typedef struct AccountKey
{
	Oid			server;
	Oid			role;
} AccountKey;

typedef struct AccountEntry
{
	AccountKey	key;			/* must be first */
	BsAccount  *account;		/* NULL if there is none at the moment */
} AccountEntry;

static HTAB *accounts = NULL;	/* AccountKey -> AccountEntry */
static HTAB *paces = NULL;		/* oid of a server -> BsPace */

/* Counts changes of servers and mappings. */
static uint64 generation = 0;

/* The value of generation that what is in the cache was made at. */
static uint64 cached_generation = 0;

/* Counts changes of these, of wrappers and of roles: who may use what. */
static uint64 permissions = 0;

/* The server that was found last, and for whom. */
static struct
{
	NameData	name;
	Oid			role;
	Oid			server;
	uint64		permissions;	/* when it was */
}			last_found;

/*
 * Something about servers or mappings has changed: which does not matter,
 * for it is rare.
 */
static void
note_change_cb(Datum arg, int cacheid, uint32 hashvalue)
{
	(void) arg;
	(void) cacheid;
	(void) hashvalue;
	generation++;
	permissions++;
}

/*
 * The same of what decides only who may use a server.
 */
static void
note_permission_cb(Datum arg, int cacheid, uint32 hashvalue)
{
	(void) arg;
	(void) cacheid;
	(void) hashvalue;
	permissions++;
}

/*
 * Overwrites the credential when an account's memory goes.
 */
static void
wipe_account_cb(void *arg)
{
	BsService  *service = &((BsAccount *) arg)->service;

	bs_redact_wipe(service->api_key);
	bs_redact_wipe(service->password);
	bs_redact_wipe_all(&service->secrets);
}

/* ----------------------------------------------------------------
 * Errors that name the next step
 * ----------------------------------------------------------------
 */

static void
refuse_unknown_server(const char *name)
{
	bool		built_in = bs_provider_find(name) != NULL &&
		strcmp(name, BS_CUSTOM) != 0;

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("server \"%s\" does not exist", name),
			 built_in ?
			 errhint("CREATE SERVER %s FOREIGN DATA WRAPPER %s;",
					 quote_identifier(name), BS_WRAPPER) :
			 errhint("CREATE SERVER %s FOREIGN DATA WRAPPER %s OPTIONS "
					 "(provider '...'); with one of: %s",
					 quote_identifier(name), BS_WRAPPER,
					 bs_provider_names())));
}

static void
refuse_foreign_server(const ForeignServer *server, const char *wrapper)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("server \"%s\" is not a %s server", server->servername,
					BS_WRAPPER),
			 errdetail("Its foreign-data wrapper is \"%s\".", wrapper),
			 errhint("CREATE SERVER another_name FOREIGN DATA WRAPPER %s "
					 "OPTIONS (provider '...');", BS_WRAPPER)));
}

static void
refuse_role(const ForeignServer *server, Oid role)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for foreign server %s",
					server->servername),
			 errhint("GRANT USAGE ON FOREIGN SERVER %s TO %s;",
					 quote_identifier(server->servername),
					 quote_identifier(GetUserNameFromId(role, false)))));
}

/* ----------------------------------------------------------------
 * Building an account
 * ----------------------------------------------------------------
 */

/*
 * Returns the pace of a server, which outlives its accounts: neither another
 * role nor a changed option makes it faster.
 */
static BsPace *
get_pace(Oid server)
{
	BsPace	   *pace;
	bool		found;

	pace = hash_search(paces, &server, HASH_ENTER, &found);
	if (!found)
		pace->next_send = pace->queued = 0;
	return pace;
}

/*
 * Sets what the server's options and the provider's descriptor say.
 */
static void
load_service(BsAccount *account, const ForeignServer *server)
{
	BsService  *service = &account->service;
	BsServerOptions options;
	const BsProvider *provider;
	const char *why;
	HttpUrl		url;
	char	   *base;

	bs_options_read_server(server->options, &options);
	provider = bs_provider_find(options.provider != NULL ? options.provider :
								server->servername);
	if (provider == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("server \"%s\" has no provider", server->servername),
				 errdetail("Its name is not that of a built-in provider: %s",
						   bs_provider_names()),
				 errhint("ALTER SERVER %s OPTIONS (ADD provider '...');",
						 quote_identifier(server->servername))));
	for (int i = 0; i < BS_NFIELDS; i++)
		service->field[i] = options.field[i] != NULL ? options.field[i] :
			provider->field[i];
	why = bs_field_check_all(service->field);
	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("server \"%s\" is not completely described",
						server->servername),
				 errdetail("%s", why),
				 errhint("ALTER SERVER %s OPTIONS (ADD ... '...');",
						 quote_identifier(server->servername))));

	/* A path is put behind it, which begins with a slash. */
	base = pstrdup(service->field[BS_BASE_URL]);
	while (*base != '\0' && base[strlen(base) - 1] == '/')
		base[strlen(base) - 1] = '\0';
	service->field[BS_BASE_URL] = base;
	if (!bs_http_url_split(base, &url))
		elog(ERROR, "base_url of server \"%s\" is not valid",
			 server->servername);
	account->direct = bs_http_url_is_loopback(&url);
	account->has_name = !bs_http_url_is_numeric(&url);
	account->allow_http = options.allow_insecure || account->direct;

	service->project_id = options.project_id;
	account->server = server->servername;
	account->ca_file = options.ca_file;
	account->retries = options.retries;
	account->confirm_timeout = options.confirm_timeout;
	account->owner = server->owner;
	account->own_allow_local = options.allow_local;
	account->own_timeout = options.timeout;
	account->own_max_in_flight = options.max_in_flight;
	if (options.max_rate > 0)
		account->send_interval = (int64) (BS_US_PER_S / options.max_rate);
	account->pace = get_pace(server->serverid);
}

/*
 * Returns a new account in a memory context of its own below
 * CacheMemoryContext.  If that fails, the context is gone.
 */
static BsAccount *
build_account(Oid server_id, Oid role)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "browser_session account",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	BsAccount  *account = palloc0(sizeof(BsAccount));
	ForeignServer *server = GetForeignServer(server_id);

	account->context = context;
	account->wipe.func = wipe_account_cb;
	account->wipe.arg = account;
	MemoryContextRegisterResetCallback(context, &account->wipe);
	load_service(account, server);
	account->cached = bs_credential_load(&account->service, server, role);
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, CacheMemoryContext);
	return account;
}

/* ----------------------------------------------------------------
 * The cache
 * ----------------------------------------------------------------
 */

static void
create_cache(void)
{
	HASHCTL		account_ctl = {
		.keysize = sizeof(AccountKey),
		.entrysize = sizeof(AccountEntry),
		.hcxt = CacheMemoryContext
	};
	HASHCTL		pace_ctl = {
		.keysize = sizeof(Oid),
		.entrysize = sizeof(BsPace),
		.hcxt = CacheMemoryContext
	};

	paces = hash_create("browser_session paces", 16, &pace_ctl,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	accounts = hash_create("browser_session accounts", 16, &account_ctl,
						   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, note_change_cb, 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, note_change_cb, 0);
	CacheRegisterSyscacheCallback(FOREIGNDATAWRAPPEROID, note_permission_cb,
								  0);
	CacheRegisterSyscacheCallback(AUTHOID, note_permission_cb, 0);
	CacheRegisterSyscacheCallback(AUTHMEMMEMROLE, note_permission_cb, 0);
	/* Its owner is a member of pg_database_owner. */
	CacheRegisterSyscacheCallback(DATABASEOID, note_permission_cb, 0);
}

/*
 * Empties the cache.  Accounts in use go when they are released.
 */
static void
empty_cache(void)
{
	HASH_SEQ_STATUS scan;
	AccountEntry *entry;

	hash_seq_init(&scan, accounts);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		BsAccount  *account = entry->account;

		hash_search(accounts, &entry->key, HASH_REMOVE, NULL);
		if (account == NULL)
			continue;
		account->cached = false;
		if (account->pins == 0)
			MemoryContextDelete(account->context);
	}
}

/*
 * Returns the oid of a browser_session server that the role may use; raises
 * an error if it is none or must not.
 */
static Oid
look_for_server(const char *name, Oid role)
{
	ForeignServer *server = GetForeignServerByName(name, true);
	ForeignDataWrapper *wrapper;

	if (server == NULL)
		refuse_unknown_server(name);
	wrapper = GetForeignDataWrapper(server->fdwid);
	if (strcmp(wrapper->fdwname, BS_WRAPPER) != 0)
		refuse_foreign_server(server, wrapper->fdwname);
	if (bs_server_aclcheck(server->serverid, role) != ACLCHECK_OK)
		refuse_role(server, role);
	return server->serverid;
}

/*
 * The same, remembering the last one: whoever tracks or ends sessions in a
 * row mostly does so at one server.
 */
static Oid
find_server(const char *name, Oid role)
{
	uint64		now = permissions;

	if (OidIsValid(last_found.server) && last_found.role == role &&
		last_found.permissions == now &&
		strcmp(NameStr(last_found.name), name) == 0)
		return last_found.server;
	last_found.server = look_for_server(name, role);
	last_found.role = role;
	last_found.permissions = now;
	namestrcpy(&last_found.name, name);
	return last_found.server;
}

/*
 * Returns the account of a role at a server, pinned.  Raises an error that
 * names the next step if there is no such server, the role has no USAGE on
 * it, or there is no credential.
 */
BsAccount *
bs_account_get(const char *server, Oid role)
{
	AccountKey	key;
	AccountEntry *entry;
	BsAccount  *account;
	bool		found;

	if (accounts == NULL)
		create_cache();
	memset(&key, 0, sizeof(key));
	key.server = find_server(server, role);
	key.role = role;
	if (cached_generation != generation)
	{
		empty_cache();
		cached_generation = generation;
	}

	entry = hash_search(accounts, &key, HASH_FIND, NULL);
	account = entry != NULL ? entry->account : NULL;
	if (account == NULL)
	{
		account = build_account(key.server, role);
		if (account->cached)
		{
			entry = hash_search(accounts, &key, HASH_ENTER, &found);
			entry->account = account;
		}
	}
	account->timeout = account->own_timeout > 0 ? account->own_timeout :
		browser_session_request_timeout;
	/* A role can lose what makes it a superuser. */
	account->allow_local = account->own_allow_local ||
		superuser_arg(account->owner);
	account->max_in_flight = browser_session_max_in_flight;
	if (account->own_max_in_flight > 0)
		account->max_in_flight = Min(account->own_max_in_flight,
									 account->max_in_flight);
	account->pins++;
	return account;
}

/*
 * The same for those who cannot do with an error: returns NULL and, in the
 * current memory context, why there is no account.  Has to be called in a
 * transaction.
 */
BsAccount *
bs_account_try(const char *server, const char *role, char **why)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	BsAccount  *volatile account = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		account = bs_account_get(server, get_role_oid(role, false));
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		*why = error->message;
	}
	PG_END_TRY();
	CurrentResourceOwner = owner;
	return account;
}

/*
 * Checks an id, in the database's encoding, as the account's provider has
 * them and fills *id.  Returns NULL, or why it cannot be used.  Sets *utf8 to
 * what was given, NULL if that cannot be converted.
 */
const char *
bs_account_read_id(const BsAccount *account, const char *given,
				   BsSessionId *id, char **utf8)
{
	*utf8 = bs_encoding_to_utf8(given);
	if (*utf8 == NULL)
		return "An id must consist of characters that UTF-8 has.";
	return bs_session_id_parse(&account->service, *utf8, id);
}

/*
 * Returns how many exchanges may be under way at a time: only a few until one
 * is over, after which the host's name is "known".
 */
int
bs_account_limit(const BsAccount *account, bool known)
{
	return account->has_name && !known ?
		Min(account->max_in_flight, BS_FIRST_LOOKUPS) :
		account->max_in_flight;
}

/*
 * Pins an account that is pinned already once more.
 */
void
bs_account_pin(BsAccount *account)
{
	account->pins++;
}

/*
 * Gives an account back.
 */
void
bs_account_release(BsAccount *account)
{
	Assert(account->pins > 0);
	if (--account->pins == 0 && !account->cached)
		MemoryContextDelete(account->context);
}
