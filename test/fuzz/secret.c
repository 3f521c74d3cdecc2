/*
 * secret.c
 *		Is a secret in a text?  Asked of what is shown, without redact.c.
 *
 * Looked for are the secret and its base64, as they are and under two layers
 * of escapes.  The escapes are undone by other means than those of the code
 * that is tested.
 */
#include "postgres_fe.h"

#include "common/base64.h"
#include "fuzz.h"

#define LAYERS			2

/* Shorter ones occur in our own words. */
#define MIN_SECRET		8

/* What stands in messages beside the provider's words. */
static const char our_words[] =
	"provider answered but says that it failed, but not for the session "
	"(check the server's base_url), which is not a status that ends an "
	"exchange (redirects are not followed) with an HTML page with a body "
	"that is not JSON: without reports \"\", which is not a known status "
	"refused the end and shows the session as timed out no connection: "
	"reply could not be read: it is compressed, which was not asked for it "
	"has bytes that are not UTF-8 it has a NUL character in a string it has "
	"a number out of range it is nested too deeply it is empty it ends too "
	"early its syntax is wrong NUL bytes [redacted]";

/*
 * Can a text that ends like this one's end become a secret's begin, or the
 * other way round?
 */
static bool
overlaps(const char *secret, const char *word)
{
	size_t		length = strlen(word);

	for (size_t i = 1; i <= length; i++)
	{
		if (strncmp(secret, word + length - i, i) == 0 ||
			(strlen(secret) >= i &&
			 strncmp(secret + strlen(secret) - i, word, i) == 0))
			return true;
	}
	return false;
}

/*
 * Is it a secret that nothing of ours can look like?
 */
bool
secret_is_testable(const BsService *service, const char *secret)
{
	if (secret == NULL || strlen(secret) < MIN_SECRET || !is_visible(secret))
		return false;
	for (int i = 0; i < BS_NFIELDS; i++)
	{
		/* Field names are quoted in errors. */
		if (service->field[i] != NULL &&
			strstr(service->field[i], secret) != NULL)
			return false;
	}
	return strstr(our_words, secret) == NULL &&
		strstr(secret, "redacted") == NULL && strstr(secret, "\\x") == NULL &&
		!overlaps(secret, "[redacted]") && !overlaps(secret, "\"") &&
		!overlaps(secret, "...");
}

/* Reads exactly n hexadecimal digits; returns -1 if they are not there. */
static int
hexadecimal(const char *text, int n)
{
	char		digits[5] = "";
	char	   *end;
	long		value;

	strncat(digits, text, n);
	value = strtol(digits, &end, 16);
	return isxdigit((unsigned char) *digits) && end == digits + n &&
		digits[1] != 'x' && digits[1] != 'X' ? (int) value : -1;
}

/* Reads a numeric entity; returns its character, or -1. */
static int
entity(const char *text, int *length)
{
	unsigned	c;

	*length = 0;
	if (sscanf(text, "&#%5u;%n", &c, length) == 1 && *length > 0)
		return (int) c;
	if (sscanf(text, "&#x%5x;%n", &c, length) == 1 && *length > 0)
		return (int) c;
	*length = 5;
	return strncmp(text, "&amp;", 5) == 0 ? '&' : -1;
}

/*
 * Undoes escapes in place: what & % and \ begin, as "kind" says.
 */
static void
undo(char *text, char kind)
{
	char	   *to = text;

	while (*text != '\0')
	{
		int			c = -1;
		int			length = 0;

		if (*text == kind && kind == '%')
		{
			c = hexadecimal(text + 1, 2);
			length = 3;
		}
		else if (*text == kind && kind == '&')
			c = entity(text, &length);
		else if (*text == kind && text[1] == 'u')
		{
			c = hexadecimal(text + 2, 4);
			length = 6;
		}
		else if (*text == kind && text[1] == 'x')
		{
			c = hexadecimal(text + 2, 2);
			length = 4;
		}
		else if (*text == kind && text[1] > 0 &&
				 ispunct((unsigned char) text[1]))
		{
			c = (unsigned char) text[1];
			length = 2;
		}
		/* A byte that is shown so, such as \xca, has no letter to give away. */
		if (c > 0x7f && length == 4 && text[1] == 'x')
			c = '?';
		if (c <= 0 || c > 0x7f)
		{
			c = (unsigned char) *text;
			length = 1;
		}
		*to++ = (char) c;
		text += length;
	}
	*to = '\0';
}

static bool
is_below(const char *form, const char *text, int layers)
{
	static const char kinds[] = "%\\&";

	if (strstr(text, form) != NULL)
		return true;
	for (int i = 0; layers > 0 && kinds[i] != '\0'; i++)
	{
		char	   *copy;
		bool		found;

		if (strchr(text, kinds[i]) == NULL)
			continue;
		copy = pstrdup(text);
		undo(copy, kinds[i]);
		found = is_below(form, copy, layers - 1);
		pfree(copy);
		if (found)
			return true;
	}
	return false;
}

/*
 * Is the secret in the text, in any form that others could read it in?
 */
bool
secret_is_in(const char *secret, const char *text)
{
	int			length = (int) strlen(secret);
	int			room = pg_b64_enc_len(length) + 1;
	char	   *encoded;
	bool		found;

	if (text == NULL)
		return false;
	if (is_below(secret, text, LAYERS))
		return true;
	encoded = palloc0(room);
	encoded[pg_b64_encode((const void *) secret, length, encoded,
						  room - 1)] = '\0';
	encoded[strcspn(encoded, "=")] = '\0';
	found = is_below(encoded, text, LAYERS);
	for (char *p = encoded; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	found = found || is_below(encoded, text, LAYERS);
	pfree(encoded);
	return found;
}
