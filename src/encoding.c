/*
 * encoding.c
 *		Between the database's encoding and UTF-8, without errors.
 *
 * What goes to a provider and comes from it is UTF-8.  PostgreSQL's own
 * conversion raises an error for what has no counterpart, which quotes the
 * bytes: that would show parts of a password, and lose the row that says what
 * became of a session.
 *
 * The worker converts between its transactions, and a backend while it cleans
 * up after an error, where the catalog cannot be read.  So the conversions
 * are looked up ahead, once in a process.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "encoding.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

/* The conversions; without a function where PostgreSQL has none. */
static FmgrInfo to_utf8;
static FmgrInfo from_utf8;

static void
look_up(int from, int to, FmgrInfo *conversion)
{
	Oid			function = FindDefaultConversionProc(from, to);

	if (OidIsValid(function))
		fmgr_info_cxt(function, conversion, TopMemoryContext);
}

/*
 * Makes ready, in a transaction.  Who converts outside of one has called it
 * before.
 */
void
bs_encoding_prepare(void)
{
	static bool prepared = false;
	int			encoding = GetDatabaseEncoding();

	if (prepared)
		return;
	Assert(IsTransactionState());
	if (encoding != PG_UTF8 && encoding != PG_SQL_ASCII)
	{
		look_up(encoding, PG_UTF8, &to_utf8);
		look_up(PG_UTF8, encoding, &from_utf8);
	}
	prepared = true;
}

/*
 * Returns the memory that so many bytes can need when they are converted.
 */
static Size
room_for(int length)
{
	return (Size) length * MAX_CONVERSION_GROWTH + 1;
}

/*
 * Converts what has a counterpart up to the first character that has none,
 * into *converted, which ends with a zero byte.  Returns how many bytes of the
 * text that were.
 */
static int
convert(FmgrInfo *conversion, int from, int to, const char *text, int length,
		char *converted)
{
	*converted = '\0';
	if (length == 0 || !OidIsValid(conversion->fn_oid))
		return 0;
	return DatumGetInt32(FunctionCall6(conversion, Int32GetDatum(from),
									   Int32GetDatum(to),
									   CStringGetDatum(text),
									   CStringGetDatum(converted),
									   Int32GetDatum(length),
									   BoolGetDatum(true)));
}

/*
 * Returns text in UTF-8, in the current memory context, or NULL if it cannot
 * be converted.  What a database without an encoding holds is taken as it is.
 */
char *
bs_encoding_to_utf8(const char *text)
{
	int			encoding = GetDatabaseEncoding();
	int			length = (int) strlen(text);
	char	   *utf8;

	bs_encoding_prepare();
	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return pstrdup(text);
	utf8 = palloc(room_for(length));
	if (convert(&to_utf8, encoding, PG_UTF8, text, length, utf8) != length)
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
	char	   *text;
	char	   *to;

	bs_encoding_prepare();
	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return pstrdup(utf8);
	text = to = palloc(room_for(left));
	for (;;)
	{
		int			done = convert(&from_utf8, PG_UTF8, encoding, utf8, left,
								   to);

		utf8 += done;
		left -= done;
		to += strlen(to);
		if (left == 0)
			break;
		done = Min(pg_utf_mblen((const unsigned char *) utf8), left);
		/* Where there is no conversion, ASCII is still the same. */
		*to++ = done == 1 && !IS_HIGHBIT_SET(*utf8) ? *utf8 : '?';
		utf8 += done;
		left -= done;
	}
	return repalloc(text, to - text + 1);
}
