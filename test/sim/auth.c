/*
 * auth.c
 *
 * The keys that are valid, and how each dialect wants them.  "sim-key" is
 * valid from the start.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth.h"
#include "text.h"

static char **keys;
static size_t key_count;

static bool
key_is_valid(const char *key)
{
	size_t		i;

	if (strcmp(key, "sim-key") == 0)
		return true;
	for (i = 0; i < key_count; i++)
		if (strcmp(keys[i], key) == 0)
			return true;
	return false;
}

/* Makes one more key valid. */
void
auth_add_key(const char *key)
{
	char	  **longer;

	if (key_is_valid(key))
		return;
	longer = realloc(keys, (key_count + 1) * sizeof(*keys));
	if (longer == NULL)
		abort();
	keys = longer;
	keys[key_count++] = text_copy(key, strlen(key));
}

/* Returns what follows the scheme in Authorization, NULL if it is another. */
static const char *
authorization(const Request *request, const char *scheme)
{
	const char *value = request_header(request, "Authorization");
	size_t		length = strlen(scheme);

	if (value == NULL || strncasecmp(value, scheme, length) != 0 ||
		value[length] != ' ')
		return NULL;
	return value + length + 1;
}

/* Returns the key in the place given, NULL if there is none. */
static char *
received_key(const Request *request, AuthKind kind, const char *name)
{
	const char *value = NULL;

	switch (kind)
	{
		case AUTH_HEADER:
			value = request_header(request, name);
			break;
		case AUTH_QUERY:
			return text_query(request->query, name);
		case AUTH_BEARER:
			value = authorization(request, "Bearer");
			break;
		case AUTH_BASIC:
			value = authorization(request, "Basic");
			return value != NULL ? text_base64(value) : NULL;
		case AUTH_NONE:
			break;
	}
	return value != NULL ? text_copy(value, strlen(value)) : NULL;
}

/*
 * Notes the key that came, and returns whether it opens the door.  With basic
 * authentication, the key noted is the password.
 */
bool
auth_check(Request *request, AuthKind kind, const char *name)
{
	char	   *key = received_key(request, kind, name);
	bool		user_right = true;

	if (kind == AUTH_NONE)
		return true;
	if (key != NULL && kind == AUTH_BASIC)
	{
		char	   *colon = strchr(key, ':');

		user_right = strncmp(key, "sim:", 4) == 0;
		if (colon != NULL)
			memmove(key, colon + 1, strlen(colon + 1) + 1);
	}
	free(request->key);
	request->key = key;
	return key != NULL && user_right && key_is_valid(key);
}

void
auth_free(void)
{
	while (key_count > 0)
		free(keys[--key_count]);
	free(keys);
	keys = NULL;
}
