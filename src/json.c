/*
 * json.c
 *		Reading and writing JSON; the sole user of jansson.
 *
 * A parsed document belongs to the memory context it was parsed in and goes
 * with it, so an error on the way leaks nothing.  jansson's own functions for
 * making an object by name must not be called: PostgreSQL exports a function
 * of the same name, which would be run instead and crash the server.
 *
 * What is printed is valid as jsonb: jansson refuses U+0000, broken UTF-8,
 * lone surrogates and numbers beyond double precision.
 *
 * Needs no server: it is built into the fuzz targets as well.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <jansson.h>

#include "json.h"
#include "json_memory.h"
#include "lib/stringinfo.h"
#include "shortage.h"
#ifndef FRONTEND
#include "utils/memutils.h"
#endif

/* Longest name in a dotted path; longer ones are not found. */
#define MAX_NAME	64

struct BsJson
{
	json_t	   *root;			/* NULL once freed */
#ifndef FRONTEND
	MemoryContextCallback on_reset;
#endif
};

#ifndef FRONTEND
/*
 * Frees the document with the memory context it belongs to.
 */
static void
free_root_cb(void *arg)
{
	BsJson	   *json = arg;

	json_decref(json->root);
	json->root = NULL;
}
#endif

/*
 * Gives a document to the current memory context.
 */
static BsJson *
new_document(void)
{
	BsJson	   *json = palloc0(sizeof(BsJson));

#ifndef FRONTEND
	json->on_reset.func = free_root_cb;
	json->on_reset.arg = json;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &json->on_reset);
#endif
	return json;
}

/*
 * Frees a document ahead of its memory context.  Accepts NULL.
 */
void
bs_json_free(BsJson *json)
{
	if (json != NULL)
	{
		json_decref(json->root);
		json->root = NULL;
	}
}

/*
 * Reads a text into a document.  Throws if there is no memory.
 */
static void
load(BsJson *json, const char *text, size_t length, size_t flags,
	 json_error_t *error)
{
	bs_json_memory_begin();
	json->root = json_loadb(text, length, flags, error);
	if (bs_json_memory_end())
		return;
	bs_json_free(json);
	bs_raise_shortage("a JSON document");
}

/*
 * Returns a node that jansson has made.  Throws if it had no memory for it.
 */
static json_t *
made(json_t *node)
{
	if (node == NULL)
		bs_raise_shortage("a JSON document");
	return node;
}

/*
 * Returns the document in "text", or NULL with the reason in *why (a constant
 * that quotes nothing of the text).  Of a name given twice the last one
 * counts, as in jsonb.
 */
BsJson *
bs_json_parse(const char *text, size_t length, const char **why)
{
	BsJson	   *json = new_document();
	json_error_t error;

	load(json, text, length, JSON_DECODE_ANY, &error);
	if (json->root == NULL &&
		json_error_code(&error) == json_error_numeric_overflow)
		load(json, text, length, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL,
			 &error);
	if (json->root != NULL)
		return json;

	switch (json_error_code(&error))
	{
		case json_error_invalid_utf8:
			*why = "it has bytes that are not UTF-8";
			break;
		case json_error_null_character:
		case json_error_null_byte_in_key:
			*why = "it has a NUL character in a string";
			break;
		case json_error_numeric_overflow:
			*why = "it has a number out of range";
			break;
		case json_error_stack_overflow:
			*why = "it is nested too deeply";
			break;
		case json_error_premature_end_of_input:
			*why = length == 0 ? "it is empty" : "it ends too early";
			break;
		default:
			*why = "its syntax is wrong";
			break;
	}
	return NULL;
}

bool
bs_json_is_object(const BsJson *json)
{
	return json_is_object(json->root);
}

/*
 * Returns the node that a dotted path ("error.message", "detail.0.msg") leads
 * to, or NULL.  A number picks an array's element.
 */
static json_t *
find_node(json_t *node, const char *path)
{
	while (node != NULL && *path != '\0')
	{
		char		name[MAX_NAME];
		size_t		length = strcspn(path, ".");

		if (length >= sizeof(name))
			return NULL;
		memcpy(name, path, length);
		name[length] = '\0';
		path += length + (path[length] == '.' ? 1 : 0);
		if (json_is_array(node))
			node = strspn(name, "0123456789") == strlen(name) ?
				json_array_get(node, strtoul(name, NULL, 10)) : NULL;
		else
			node = json_object_get(node, name);
	}
	return node;
}

/*
 * Is there anything, be it null, at a dotted path?
 */
bool
bs_json_has(const BsJson *json, const char *path)
{
	return find_node(json->root, path) != NULL;
}

/*
 * Is there anything but null, false, zero, or an empty string or collection
 * at a dotted path?
 */
bool
bs_json_is_set(const BsJson *json, const char *path)
{
	json_t	   *node = find_node(json->root, path);

	if (json_is_object(node))
		return json_object_size(node) > 0;
	if (json_is_array(node))
		return json_array_size(node) > 0;
	if (json_is_string(node))
		return *json_string_value(node) != '\0';
	if (json_is_number(node))
		return json_number_value(node) != 0;
	return json_is_true(node);
}

/*
 * Returns the string, number or boolean at a dotted path as text, or NULL if
 * there is none.
 */
char *
bs_json_word(const BsJson *json, const char *path)
{
	json_t	   *node = find_node(json->root, path);

	if (json_is_string(node))
		return pstrdup(json_string_value(node));
	if (json_is_boolean(node))
		return pstrdup(json_is_true(node) ? "true" : "false");
	if (json_is_integer(node))
		return psprintf("%lld", (long long) json_integer_value(node));
	if (json_is_real(node))
		return psprintf("%.15g", json_real_value(node));
	return NULL;
}

/*
 * Callback of json_dump_callback(): appends to a StringInfo.  This is
 * jansson's, not libcurl's: no state of a library is cut off by an error,
 * and the document goes with its memory context.
 */
static int
append_chunk(const char *chunk, size_t length, void *arg)
{
	appendBinaryStringInfo((StringInfo) arg, chunk, (int) length);
	return 0;
}

static char *
print_node(const json_t *node)
{
	StringInfoData buf;

	initStringInfo(&buf);
	if (json_dump_callback(node, append_chunk, &buf,
						   JSON_COMPACT | JSON_ENCODE_ANY |
						   JSON_REAL_PRECISION(15)) != 0)
		bs_raise_shortage("a JSON document");
	return buf.data;
}

/*
 * Returns what stands for "node" without the secrets: of an object or an array
 * an empty one, for fill_redacted().  A number that was a secret has become a
 * string.
 */
static json_t *
begin_redacted(json_t *node, const BsSecrets *secrets)
{
	json_t	   *copy;
	char	   *plain;
	char	   *clean;

	if (json_is_object(node) || json_is_array(node))
		return made(json_pack(json_is_object(node) ? "{}" : "[]"));
	plain = json_is_string(node) ? pstrdup(json_string_value(node)) :
		print_node(node);
	clean = bs_redact(secrets, plain);
	copy = strcmp(plain, clean) == 0 ? json_incref(node) :
		made(json_string(clean));
	pfree(plain);
	pfree(clean);
	return copy;
}

/*
 * Copies what is in "node", if it can hold anything, without the secrets.
 * Each copy is put into its place before it is filled: what throws on the way
 * leaves nothing behind that the document does not own.
 */
static void
fill_redacted(json_t *copy, json_t *node, const BsSecrets *secrets)
{
	const char *name;
	json_t	   *value;
	json_t	   *part;

	json_object_foreach(node, name, value)
	{
		char	   *clean = bs_redact(secrets, name);

		part = begin_redacted(value, secrets);
		if (json_object_set_new(copy, clean, part) != 0)
			made(NULL);
		pfree(clean);
		fill_redacted(part, value, secrets);
	}
	for (size_t i = 0; i < json_array_size(node); i++)
	{
		value = json_array_get(node, i);
		part = begin_redacted(value, secrets);
		if (json_array_append_new(copy, part) != 0)
			made(NULL);
		fill_redacted(part, value, secrets);
	}
}

/*
 * Is there a secret in any name, string or number?
 */
static bool
holds_secret(json_t *node, const BsSecrets *secrets)
{
	const char *name;
	json_t	   *value;
	char	   *number;
	bool		found = false;

	if (json_is_string(node))
		return bs_redact_finds(secrets, json_string_value(node));
	if (json_is_object(node))
	{
		json_object_foreach(node, name, value)
			if (bs_redact_finds(secrets, name) || holds_secret(value, secrets))
				return true;
		return false;
	}
	if (json_is_array(node))
	{
		for (size_t i = 0; i < json_array_size(node) && !found; i++)
			found = holds_secret(json_array_get(node, i), secrets);
		return found;
	}
	number = print_node(node);
	found = bs_redact_finds(secrets, number);
	pfree(number);
	return found;
}

/*
 * Returns the document as compact JSON in UTF-8, without the secrets.
 */
char *
bs_json_print(const BsJson *json, const BsSecrets *secrets)
{
	BsJson	   *copy;
	char	   *text;

	if (!holds_secret(json->root, secrets))
		return print_node(json->root);
	copy = new_document();
	copy->root = begin_redacted(json->root, secrets);
	fill_redacted(copy->root, json->root, secrets);
	text = print_node(copy->root);
	bs_json_free(copy);
	return text;
}

/*
 * Returns a string as a JSON string, quotes included, or NULL if it is not
 * valid UTF-8.
 */
char *
bs_json_quote(const char *utf8)
{
	BsJson	   *json = new_document();
	char	   *quoted;

	/* What is not UTF-8 is refused in the same way as memory. */
	bs_json_memory_begin();
	json->root = json_string(utf8);
	if (!bs_json_memory_end())
	{
		bs_json_free(json);
		made(NULL);
	}
	quoted = json->root != NULL ? print_node(json->root) : NULL;
	bs_json_free(json);
	return quoted;
}

/*
 * Returns the object in the text "object" with one more field of type string,
 * as text, or NULL if "object" is not the text of a JSON object.
 */
char *
bs_json_with(const char *object, const char *field, const char *value)
{
	const char *why;
	BsJson	   *json = bs_json_parse(object, strlen(object), &why);
	char	   *text = NULL;

	if (json == NULL)
		return NULL;
	if (json_is_object(json->root))
	{
		if (json_object_set_new(json->root, field, json_string(value)) != 0)
			made(NULL);
		text = print_node(json->root);
	}
	bs_json_free(json);
	return text;
}
