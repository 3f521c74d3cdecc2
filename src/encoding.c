/*
 * encoding.c
 *		Between the database's encoding and UTF-8, without errors.
 *
 * What goes to a provider and comes from it is UTF-8.  PostgreSQL's own
 * conversion raises an error for what has no counterpart, which quotes the
 * bytes: that would show parts of a password, and lose the row that says what
 * became of a session.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "encoding.h"
#include "mb/pg_wchar.h"

/*
 * Returns text in UTF-8, in the current memory context, or NULL if it cannot
 * be converted.  What a database without an encoding holds is taken as it is.
 */
char *
bs_encoding_to_utf8(const char *text)
{
	int			encoding = GetDatabaseEncoding();
	int			length = (int) strlen(text);
	Oid			conversion;
	char	   *utf8;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return pstrdup(text);
	conversion = FindDefaultConversionProc(encoding, PG_UTF8);
	if (!OidIsValid(conversion))
		return NULL;
	utf8 = palloc(length * MAX_CONVERSION_GROWTH + 1);
	if (pg_do_encoding_conversion_buf(conversion, encoding, PG_UTF8,
									  (unsigned char *) text, length,
									  (unsigned char *) utf8,
									  length * MAX_CONVERSION_GROWTH + 1,
									  true) != length)
		return NULL;
	return utf8;
}

/*
 * Returns UTF-8 as text of the database's encoding, in the current memory
 * context; "?" stands for each character that it does not have.
 */
char *
bs_encoding_from_utf8(const char *utf8)
{
	int			encoding = GetDatabaseEncoding();
	int			left = (int) strlen(utf8);
	unsigned char *from = (unsigned char *) utf8;
	unsigned char *to;
	char	   *text;
	Oid			conversion;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return pstrdup(utf8);
	conversion = FindDefaultConversionProc(PG_UTF8, encoding);
	if (!OidIsValid(conversion))
		return pg_any_to_server(utf8, left, PG_UTF8);

	text = palloc(left * MAX_CONVERSION_GROWTH + 1);
	to = (unsigned char *) text;
	*to = '\0';
	while (left > 0)
	{
		int			done = pg_do_encoding_conversion_buf(conversion, PG_UTF8,
														 encoding, from, left,
														 to,
														 left *
														 MAX_CONVERSION_GROWTH
														 + 1, true);

		from += done;
		left -= done;
		to += strlen((char *) to);
		if (left > 0)
		{
			int			skipped = Min(pg_utf_mblen(from), left);

			from += skipped;
			left -= skipped;
			*to++ = '?';
			*to = '\0';
		}
	}
	return text;
}
