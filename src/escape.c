/*
 * escape.c
 *		Undoing the escapes that URLs, JSON, programs and HTML put text into.
 *
 * One step takes one escape, or one byte that is none, so whoever walks over
 * a text knows what came from where.  Nothing is looked at twice: what an
 * escape stands for may be part of another, but that is another layer.
 *
 * Needs no server: it is built into the fuzz targets as well.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "escape.h"
#include "mb/pg_wchar.h"

/* Most digits of an entity that are read; leading zeros are common. */
#define MAX_DIGITS	8

/* The bytes that escapes begin with, by kind. */
static const char introducers[BS_NESCAPES] = {
	[BS_ESCAPE_PERCENT] = '%',
	[BS_ESCAPE_BACKSLASH] = '\\',
	[BS_ESCAPE_ENTITY] = '&',
};

/*
 * Reads a number of at least "min" and at most "max" digits, and sets *value.
 * Returns how many digits there are, 0 if not enough.
 */
static size_t
read_number(const char *text, size_t length, int base, size_t min, size_t max,
			pg_wchar *value)
{
	size_t		n = 0;

	*value = 0;
	for (; n < length && n < max; n++)
	{
		unsigned char c = (unsigned char) text[n];
		int			digit = isdigit(c) ? c - '0' :
			c < 0x80 && isalpha(c) ? pg_tolower(c) - 'a' + 10 : base;

		if (digit >= base)
			break;
		*value = *value * base + digit;
	}
	return n >= min ? n : 0;
}

/*
 * Writes a character as UTF-8 and returns "used", or 0 if it is not one.
 */
static size_t
put_character(pg_wchar c, size_t used, char *bytes, size_t *nbytes)
{
	if (used == 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	unicode_to_utf8(c, (unsigned char *) bytes);
	*nbytes = pg_utf_mblen((unsigned char *) bytes);
	return used;
}

static size_t
undo_percent(const char *text, size_t length, char *bytes, size_t *nbytes)
{
	pg_wchar	value;

	if (read_number(text + 1, length - 1, 16, 2, 2, &value) == 0)
		return 0;
	*bytes = (char) value;
	*nbytes = 1;
	return 3;
}

/*
 * \u and four digits, which for a character beyond U+FFFF come in pairs; \x
 * and two; and whatever is punctuation.
 */
static size_t
undo_backslash(const char *text, size_t length, char *bytes, size_t *nbytes)
{
	unsigned char kind = length < 2 ? '\0' : (unsigned char) text[1];
	size_t		digits = kind == 'x' ? 2 : 4;
	pg_wchar	c;
	pg_wchar	second;

	if (kind < 0x80 && ispunct(kind))
	{
		*bytes = (char) kind;
		*nbytes = 1;
		return 2;
	}
	if ((kind != 'x' && kind != 'u') ||
		read_number(text + 2, length - 2, 16, digits, digits, &c) == 0)
		return 0;
	if (kind == 'x')
		return put_character(c, 4, bytes, nbytes);
	if (is_utf16_surrogate_first(c) && length >= 12 && text[6] == '\\' &&
		text[7] == 'u' &&
		read_number(text + 8, length - 8, 16, 4, 4, &second) > 0 &&
		is_utf16_surrogate_second(second))
		return put_character(surrogate_pair_to_codepoint(c, second), 12,
							 bytes, nbytes);
	return put_character(c, 6, bytes, nbytes);
}

/*
 * An entity: by its number, with or without the semicolon, or by its name.
 */
static size_t
undo_entity(const char *text, size_t length, char *bytes, size_t *nbytes)
{
	static const struct
	{
		const char *name;
		char		c;
	}			names[] = {
		{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'},
		{"&apos;", '\''}, {"&sol;", '/'}, {"&bsol;", '\\'}, {"&plus;", '+'},
		{"&equals;", '='}, {"&colon;", ':'}, {"&comma;", ','},
		{"&period;", '.'}, {"&lowbar;", '_'}, {"&num;", '#'},
		{"&percnt;", '%'}, {"&dollar;", '$'}, {"&excl;", '!'},
		{"&quest;", '?'}, {"&ast;", '*'}, {"&commat;", '@'},
		{"&grave;", '`'}, {"&semi;", ';'}, {"&lpar;", '('}, {"&rpar;", ')'},
		{"&nbsp;", ' '}
	};
	char		first = length < 2 ? '\0' :
		(char) pg_ascii_tolower((unsigned char) text[1]);
	bool		hex = length > 2 && (text[2] == 'x' || text[2] == 'X');
	size_t		start = hex ? 3 : 2;
	size_t		digits;
	pg_wchar	c;

	for (int i = 0; i < (int) lengthof(names); i++)
	{
		size_t		n;

		/* A text can be all ampersands. */
		if (names[i].name[1] != first)
			continue;
		n = strlen(names[i].name);
		if (length >= n && pg_strncasecmp(text, names[i].name, n) == 0)
		{
			*bytes = names[i].c;
			*nbytes = 1;
			return n;
		}
	}
	if (length <= start || text[1] != '#')
		return 0;
	digits = read_number(text + start, length - start, hex ? 16 : 10, 1,
						 MAX_DIGITS, &c);
	if (digits == 0)
		return 0;
	digits += start;
	return put_character(c, digits + (digits < length &&
									  text[digits] == ';' ? 1 : 0),
						 bytes, nbytes);
}

/*
 * Takes one step in a text that is not empty: writes what it begins with,
 * with an escape of this kind undone, and returns how many bytes of the text
 * that was.  There are BS_ESCAPE_MAX bytes of room.
 */
size_t
bs_escape_undo(BsEscape kind, const char *text, size_t length, char *bytes,
			   size_t *nbytes)
{
	size_t		used = 0;

	if (*text == introducers[kind])
		used = kind == BS_ESCAPE_PERCENT ?
			undo_percent(text, length, bytes, nbytes) :
			kind == BS_ESCAPE_BACKSLASH ?
			undo_backslash(text, length, bytes, nbytes) :
			undo_entity(text, length, bytes, nbytes);
	if (used > 0)
		return used;
	*bytes = *text;
	*nbytes = 1;
	return 1;
}

/*
 * Can there be an escape of this kind in the text?
 */
bool
bs_escape_has(BsEscape kind, const char *text, size_t length)
{
	return memchr(text, introducers[kind], length) != NULL;
}
