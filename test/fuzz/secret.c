/*
 * secret.c
 *		Is a secret in a text?  Asked of what is shown, without redact.c.
 *
 * Looked for are the secret and its base64, as they are and under more layers
 * of escapes than are undone by the code that is tested, which takes out such
 * texts whole.  The escapes are undone by other means.  A space and a plus are
 * the same: in a query they are.
 */
#include "postgres_fe.h"

#include "common/base64.h"
#include "fuzz.h"
#include "mb/pg_wchar.h"

#define LAYERS			4

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
 * A secret with spaces can look like the end of our words, a number or a colon
 * and the beginning of the provider's.  Can none of its words be ours?
 */
static bool
words_are_its_own(const char *secret)
{
	char	   *rest = pstrdup(secret);
	bool		one = strpbrk(secret, " +") == NULL;
	char	   *word;

	while (!one && (word = strsep(&rest, " +")) != NULL)
	{
		if (strstr(our_words, word) != NULL ||
			strspn(word, "0123456789:") == strlen(word) ||
			word[strlen(word) - 1] == ':')
			return false;
	}
	return true;
}

/*
 * Is it a secret that nothing of ours can look like?
 */
bool
secret_is_testable(const BsService *service, const char *secret)
{
	if (secret == NULL || strlen(secret) < MIN_SECRET ||
		!is_printable(secret) || !words_are_its_own(secret))
		return false;
	for (int i = 0; i < BS_NFIELDS; i++)
	{
		/* Field names are quoted in errors. */
		if (secret_is_in(secret, service->field[i]))
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

/* Reads an entity; returns its character, or -1. */
static int
entity(const char *text, int *length)
{
	static const char *const names[] = {
		"&&amp;", "_&lowbar;", "+&plus;", "=&equals;", "/&sol;", ":&colon;"
	};
	const char *digits = text + 2;
	char		number[9] = "";
	int			base = 10;
	size_t		n;

	for (int i = 0; i < (int) lengthof(names); i++)
	{
		*length = (int) strlen(names[i] + 1);
		if (strncasecmp(text, names[i] + 1, *length) == 0)
			return names[i][0];
	}
	if (text[1] != '#')
		return -1;
	if (*digits == 'x' || *digits == 'X')
	{
		digits++;
		base = 16;
	}
	n = strspn(digits, base == 16 ? "0123456789abcdefABCDEF" : "0123456789");
	if (n == 0 || n >= sizeof(number))
		return -1;
	*length = (int) (digits - text + n) + (digits[n] == ';');
	strncat(number, digits, n);
	return (int) strtol(number, NULL, base);
}

/* Reads \u, perhaps a pair of them; returns the character, or -1. */
static int
code_point(const char *text, int *length)
{
	int			c = hexadecimal(text + 2, 4);
	int			low = -1;

	*length = 6;
	if (c < 0xd800 || c > 0xdfff)
		return c;
	if (strncmp(text + 6, "\\u", 2) == 0)
		low = hexadecimal(text + 8, 4);
	*length = 12;
	return c < 0xdc00 && low >= 0xdc00 && low <= 0xdfff ?
		0x10000 + (c - 0xd800) * 0x400 + low - 0xdc00 : -1;
}

static void
join_words(char *text)
{
	for (; *text != '\0'; text++)
		*text = *text == ' ' ? '+' : *text;
}

/*
 * Undoes escapes in place: what & % and \ begin, as "kind" says.
 */
static void
undo(char *text, char kind)
{
	char	   *start = text;
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
			c = code_point(text, &length);
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
		/* A byte that is shown so, such as \xca, gives no letter away. */
		if (c > 0x7f && length == 4 && text[1] == 'x')
			c = '?';
		if (c <= 0 || c > 0x10ffff)
		{
			c = (unsigned char) *text;
			length = 1;
		}
		text += length;
		if (c < 0x80 || length == 1 || kind == '%')
			*to++ = (char) c;
		else
		{
			unicode_to_utf8(c, (unsigned char *) to);
			to += pg_utf_mblen((unsigned char *) to);
		}
	}
	*to = '\0';
	join_words(start);
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
		found = strlen(copy) < strlen(text) &&
			is_below(form, copy, layers - 1);
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
	char	   *plain = pstrdup(secret);
	char	   *shown;
	char	   *encoded;
	bool		found;

	if (text == NULL)
		return false;
	shown = pstrdup(text);
	join_words(plain);
	join_words(shown);
	if (is_below(plain, shown, LAYERS))
		return true;
	encoded = palloc0(room);
	encoded[pg_b64_encode((const void *) secret, length, encoded,
						  room - 1)] = '\0';
	encoded[strcspn(encoded, "=")] = '\0';
	found = is_below(encoded, shown, LAYERS);
	for (char *p = encoded; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	found = found || is_below(encoded, shown, LAYERS);
	pfree(encoded);
	pfree(shown);
	pfree(plain);
	return found;
}
