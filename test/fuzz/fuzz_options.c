/*
 * fuzz_options.c
 *		Fuzz target: the validator of servers' and user mappings' options.
 *
 * The input's lines are whose options they are and who sets them; the rest is
 * a line "name=value" for each option.
 *
 * Whatever the options are: what is let through is within the limits that are
 * written down here a second time; what is refused is refused with an
 * SQLSTATE, and no message quotes a secret or what cannot be printed.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <jansson.h>

#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fuzz.h"
#include "options.h"
#include "server.h"

/* Shorter texts occur in messages by chance. */
#define MIN_SECRET	10

static const char *const server_names[] = {
	"provider", "project_id", "timeout", "retries", "confirm_timeout",
	"max_in_flight", "max_rate", "allow_insecure", "allow_local", "ca_file",
	"base_url", "auth", "end_method", "end_path", "end_body", "confirm_path",
	"project", "reply", "id_url", "gone_status", "gone_match",
	"ambiguous_status", "success_field", "status_field", "status_required",
	"live_status", "ended_status", "terminal_status", "ended_at_field", NULL
};
static const char *const mapping_names[] = {
	"api_key", "api_key_file", "username", "password", NULL
};
static const char *const providers[] = {
	"stagehand", "anchor", "browser_use", "browser_use_browser",
	"browserless", "browserbase", "webdriver", "custom", NULL
};
static const char *const methods[] = {
	"DELETE", "POST", "PUT", "PATCH", "GET", NULL
};
static const char *const replies[] = {"json", "any", NULL};
static const char *const booleans[] = {"true", "false", NULL};

/* Texts of ours that a secret can look like. */
static const char our_words[] =
	"It must be a whole number from 0 to 1000000, at most 600000 10 such as "
	"https://host:port/path. It must begin with https://. "
	"browser_session bsession_providers() visible ASCII without spaces.";

static bool
is_one_of(const char *word, const char *const *list)
{
	for (; *list != NULL; list++)
	{
		if (strcmp(*list, word) == 0)
			return true;
	}
	return false;
}

static bool
has_control(const char *text)
{
	for (; text != NULL && *text; text++)
	{
		if ((unsigned char) *text < ' ' || *text == 0x7f)
			return true;
	}
	return false;
}

/*
 * Returns the value of an option, the last if it is there twice, or NULL.
 */
static const char *
value_of(List *options, const char *name)
{
	const char *value = NULL;
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst(cell);

		if (strcmp(option->defname, name) == 0)
			value = defGetString(option);
	}
	return value;
}

static bool
is_on(List *options, const char *name)
{
	const char *value = value_of(options, name);

	return value != NULL && (pg_strcasecmp(value, "true") == 0 ||
							 pg_strcasecmp(value, "on") == 0);
}

/* ----------------------------------------------------------------
 * What is let through
 * ----------------------------------------------------------------
 */

static bool
is_loopback(const char *host)
{
	return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
		(strncmp(host, "127.", 4) == 0 &&
		 strspn(host, "0123456789.") == strlen(host));
}

static void
check_base_url(const char *value, bool insecure)
{
	CURLU	   *url = curl_url();
	char	   *scheme;
	char	   *host;

	must(is_visible(value) && strpbrk(value, "\\?#") == NULL,
		 "a base_url of odd characters");
	must(curl_url_set(url, CURLUPART_URL, value, 0) == CURLUE_OK,
		 "libcurl does not know such a base_url");
	must(url_part(url, CURLUPART_USER) == NULL &&
		 url_part(url, CURLUPART_PASSWORD) == NULL &&
		 url_part(url, CURLUPART_QUERY) == NULL &&
		 url_part(url, CURLUPART_FRAGMENT) == NULL,
		 "a base_url with more than scheme, host, port and path");
	scheme = url_part(url, CURLUPART_SCHEME);
	host = url_part(url, CURLUPART_HOST);
	must(scheme != NULL && host != NULL && *host != '\0', "no host");
	must(strcasecmp(scheme, "https") == 0 ||
		 (strcasecmp(scheme, "http") == 0 && (insecure || is_loopback(host))),
		 "a base_url that gives the key away");
	curl_url_cleanup(url);
}

/*
 * Is it a name that cannot end a header's name, or a line?
 */
static bool
is_name(const char *text)
{
	return is_visible(text) && strpbrk(text, "()<>@,;:\\\"/[]?={}") == NULL;
}

static void
check_auth(const char *value)
{
	const char *name = strchr(value, ':');

	if (name == NULL)
	{
		must(strcmp(value, "bearer") == 0 || strcmp(value, "basic") == 0 ||
			 strcmp(value, "none") == 0, "auth is %s", value);
		return;
	}
	must(is_name(name + 1), "a credential's name is %s", name + 1);
	must(strncmp(value, "header:", 7) == 0 ||
		 (strncmp(value, "query:", 6) == 0 &&
		  strpbrk(name + 1, "&#%+=") == NULL), "auth is %s", value);
}

/*
 * Is a host, as libcurl writes it, an address of this machine, or one that
 * only the machines beside it have?
 */
static bool
is_local(const char *host)
{
	char	   *bare = pstrdup(host + (*host == '['));
	unsigned char ipv4[4];
	struct in6_addr ipv6;

	if (inet_pton(AF_INET, host, ipv4) == 1)
		return ipv4[0] == 127 || ipv4[0] == 0 ||
			(ipv4[0] == 169 && ipv4[1] == 254);
	bare[strcspn(bare, "]")] = '\0';
	return strcmp(host, "localhost") == 0 ||
		(inet_pton(AF_INET6, bare, &ipv6) == 1 &&
		 (IN6_IS_ADDR_LOOPBACK(&ipv6) || IN6_IS_ADDR_UNSPECIFIED(&ipv6) ||
		  IN6_IS_ADDR_LINKLOCAL(&ipv6)));
}

/*
 * Somebody who is not a superuser cannot have the server connect to those.
 */
static void
check_reach(List *options, const BsServerOptions *server)
{
	const BsProvider *provider = server->provider != NULL ?
		bs_provider_find(server->provider) : NULL;
	const char *base_url = server->field[BS_BASE_URL];
	CURLU	   *url = curl_url();

	if (base_url == NULL && provider != NULL)
		base_url = provider->field[BS_BASE_URL];
	must(server_superuser || !is_on(options, "allow_local"), "allow_local");
	if (!server_superuser && base_url != NULL)
		must(curl_url_set(url, CURLUPART_URL, base_url, 0) == CURLUE_OK &&
			 !is_local(url_part(url, CURLUPART_HOST)), "local: %s", base_url);
	curl_url_cleanup(url);
}

/*
 * A field of the descriptor.
 */
static void
check_field(const char *name, const char *value)
{
	json_t	   *json;

	if (strcmp(name, "auth") == 0)
		check_auth(value);
	else if (strcmp(name, "end_method") == 0)
		must(is_one_of(value, methods), "the method is %s", value);
	else if (strcmp(name, "reply") == 0)
		must(is_one_of(value, replies), "reply is %s", value);
	else if (strcmp(name, "id_url") == 0 ||
			 strcmp(name, "status_required") == 0)
		must(is_one_of(value, booleans), "%s is %s", name, value);
	else if (strcmp(name, "end_path") == 0 ||
			 strcmp(name, "confirm_path") == 0)
		must(*value == '/' && is_visible(value) &&
			 strpbrk(value, "#\\") == NULL, "%s is %s", name, value);
	else if (strcmp(name, "gone_status") == 0 ||
			 strcmp(name, "ambiguous_status") == 0)
		must(strspn(value, "0123456789, ") == strlen(value), "%s is %s", name,
			 value);
	else if (strcmp(name, "project") == 0)
		must((strncmp(value, "header:", 7) == 0 && is_name(value + 7)) ||
			 (strncmp(value, "body:", 5) == 0 && is_name(value + 5)),
			 "project is %s", value);
	else if (strcmp(name, "end_body") == 0)
	{
		json = input_json(value, strlen(value));
		must(json_is_object(json), "the body is no object");
		json_decref(json);
	}
	/* Of two URLs, which PostgreSQL does not let through, the last counts. */
	else if (bs_field_find(name) >= 0 && strcmp(name, "base_url") != 0)
		must(!has_control(value), "%s has control characters", name);
}

/*
 * The whole describes how to end a session.
 */
static void
check_whole(const BsServerOptions *server)
{
	const BsProvider *provider = bs_provider_find(server->provider);
	const char *field[BS_NFIELDS];

	for (int i = 0; i < BS_NFIELDS; i++)
		field[i] = server->field[i] != NULL ? server->field[i] :
			provider->field[i];
	must(field[BS_BASE_URL] != NULL && field[BS_END_PATH] != NULL,
		 "there is nowhere to send to");
	must(strstr(field[BS_END_PATH], "{id}") != NULL ||
		 (field[BS_END_BODY] != NULL &&
		  strstr(field[BS_END_BODY], "{id}") != NULL), "no place for the id");
	must(field[BS_CONFIRM_PATH] == NULL ||
		 strstr(field[BS_CONFIRM_PATH], "{id}") != NULL,
		 "a read that shows any session");
	must(field[BS_AMBIGUOUS_STATUS] == NULL || field[BS_CONFIRM_PATH] != NULL,
		 "nothing settles an ambiguous status");
	must(field[BS_STATUS_REQUIRED] == NULL ||
		 strcmp(field[BS_STATUS_REQUIRED], "true") != 0 ||
		 field[BS_STATUS_FIELD] != NULL, "a status required from nowhere");
}

static void
check_server(List *options)
{
	const char *file = value_of(options, "ca_file");
	BsServerOptions server;
	ListCell   *cell;

	bs_options_read_server(options, &server);
	foreach(cell, options)
	{
		DefElem    *option = lfirst(cell);

		must(is_one_of(option->defname, server_names), "the option %s",
			 option->defname);
		check_field(option->defname, defGetString(option));
	}
	must(server.timeout >= (value_of(options, "timeout") != NULL) &&
		 server.timeout <= 3600 * 1000, "timeout is %d", server.timeout);
	must(server.retries >= 0 && server.retries <= 10, "retries");
	must(server.confirm_timeout >= 0 && server.confirm_timeout <= 600000,
		 "confirm_timeout is %d", server.confirm_timeout);
	must(server.max_in_flight >=
		 (value_of(options, "max_in_flight") != NULL) &&
		 server.max_in_flight <= 10000, "max_in_flight is %d",
		 server.max_in_flight);
	must(server.max_rate >= 0 && server.max_rate <= 1000000, "max_rate is %f",
		 server.max_rate);
	must(value_of(options, "max_rate") == NULL || server.max_rate > 0,
		 "max_rate is nothing");
	must(file == NULL || (server_superuser && *file == '/'), "a file");
	must(server.project_id == NULL || is_visible(server.project_id),
		 "project_id");
	if (server.field[BS_BASE_URL] != NULL)
		check_base_url(server.field[BS_BASE_URL],
					   is_on(options, "allow_insecure"));
	check_reach(options, &server);
	if (server.provider != NULL)
	{
		must(is_one_of(server.provider, providers), "the provider %s",
			 server.provider);
		check_whole(&server);
	}
}

static void
check_mapping(List *options)
{
	const char *key = value_of(options, "api_key");
	const char *file = value_of(options, "api_key_file");
	const char *username = value_of(options, "username");
	const char *password = value_of(options, "password");
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst(cell);

		must(is_one_of(option->defname, mapping_names), "the option %s",
			 option->defname);
	}
	must((key != NULL) + (file != NULL) + (username != NULL) <= 1 &&
		 (username != NULL) == (password != NULL), "too many credentials");
	must(key == NULL || is_visible(key), "a key of odd characters");
	must(file == NULL || (server_superuser && *file == '/'), "a file");
	must(username == NULL || (*username != '\0' && !has_control(username) &&
							  strchr(username, ':') == NULL), "a username");
	must(password == NULL || (*password != '\0' && !has_control(password)),
		 "a password");
}

/* ----------------------------------------------------------------
 * What is refused
 * ----------------------------------------------------------------
 */

/*
 * Is the text in the value of another option, too?
 */
static bool
is_elsewhere(List *options, const char *name, const char *text)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst(cell);

		if (strcmp(option->defname, name) != 0 &&
			strstr(defGetString(option), text) != NULL)
			return true;
	}
	return false;
}

/*
 * Raises if a secret, or the end of it, is in the message.
 */
static void
check_quotes_not(List *options, const Raised *raised, const char *name)
{
	const char *secret = value_of(options, name);
	const char *text = psprintf("%s\n%s\n%s", raised->message,
								raised->detail != NULL ? raised->detail : "",
								raised->hint != NULL ? raised->hint : "");
	size_t		length = secret != NULL ? strlen(secret) : 0;

	if (length < MIN_SECRET)
		return;
	secret += length - MIN_SECRET;
	/* Words of ours, of which there are many, have no digits. */
	if (strpbrk(secret, "0123456789@") == NULL ||
		strstr(our_words, secret) != NULL ||
		is_elsewhere(options, name, secret))
		return;
	must(strstr(text, secret) == NULL, "a message quotes %s: %s", name, text);
}

static void
check_error(List *options, const Raised *raised)
{
	bool		odd_name = false;
	bool		secret_name = false;
	ListCell   *cell;

	must(raised->sqlerrcode != 0, "no SQLSTATE: %s", raised->message);
	must(raised->message != NULL && *raised->message != '\0', "no message");
	foreach(cell, options)
	{
		DefElem    *option = lfirst(cell);

		odd_name |= has_control(option->defname);
		secret_name |= strlen(option->defname) >= MIN_SECRET &&
			!is_one_of(option->defname, server_names) &&
			!is_one_of(option->defname, mapping_names);
	}
	must(odd_name || (!has_control(raised->message) &&
					  !has_control(raised->detail) &&
					  !has_control(raised->hint)),
		 "a message has control characters: %s", raised->message);
	/* A name that is no option is quoted, whatever it is. */
	if (secret_name)
		return;
	check_quotes_not(options, raised, "api_key");
	check_quotes_not(options, raised, "username");
	check_quotes_not(options, raised, "password");
	check_quotes_not(options, raised, "base_url");
}

/*
 * Can nobody object to these options?
 */
static bool
is_harmless(List *options, Oid catalog)
{
	const DefElem *option = list_length(options) == 1 ? linitial(options) :
		NULL;
	const char *value = option != NULL ? strVal(option->arg) : "";
	size_t		digits = strspn(value, "0123456789");

	if (option == NULL || *value == '\0')
		return options == NIL;
	if (catalog == UserMappingRelationId)
		return strcmp(option->defname, "api_key") == 0 && is_visible(value);
	if (catalog != ForeignServerRelationId)
		return false;
	if (strcmp(option->defname, "retries") == 0)
		return digits == 1 && value[1] == '\0';
	if (strcmp(option->defname, "timeout") == 0)
		return *value != '0' && digits == 4 && strcmp(value + 4, "ms") == 0;
	if (strcmp(option->defname, "base_url") == 0)
		return server_superuser && strncmp(value, "https://", 8) == 0 &&
			strspn(value + 8, "abcdefghijklmnopqrstuvwxyz") > 0 &&
			strspn(value + 8, "abcdefghijklmnopqrstuvwxyz") ==
			strlen(value + 8) && strlen(value) < 70;
	return strcmp(option->defname, "allow_insecure") == 0 &&
		is_one_of(value, booleans);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	Input		input;
	const char *whose;
	Oid			catalog;
	List	   *options;
	Raised		raised;

	memory_begin(length, 0);
	input_read(&input, data, length);
	whose = input_get(&input, "of");
	catalog = whose == NULL || strcmp(whose, "server") == 0 ?
		ForeignServerRelationId : strcmp(whose, "mapping") == 0 ?
		UserMappingRelationId : ForeignDataWrapperRelationId;
	server_superuser = input_get(&input, "superuser") != NULL;
	options = server_options(input.rest);
	if (!server_validate(options, catalog, &raised))
	{
		must(!is_harmless(options, catalog), "refused: %s", raised.message);
		check_error(options, &raised);
	}
	else if (catalog == ForeignServerRelationId)
		check_server(options);
	else if (catalog == UserMappingRelationId)
		check_mapping(options);
	else
		must(options == NIL, "the wrapper has options");
	memory_end();
	return 0;
}
