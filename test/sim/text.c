/*
 * text.c
 *
 * Strings: allocation, percent and base64 decoding, times, JSON strings.
 * Memory that cannot be had ends the program; every returned string is the
 * caller's to free.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text.h"

/* Returns zeroed memory. */
void *
text_alloc(size_t size)
{
	void	   *memory = calloc(1, size > 0 ? size : 1);

	if (memory == NULL)
	{
		fputs("provider_sim: out of memory\n", stderr);
		abort();
	}
	return memory;
}

/* Returns the first length bytes as a string. */
char *
text_copy(const char *from, size_t length)
{
	char	   *copy = text_alloc(length + 1);

	memcpy(copy, from, length);
	return copy;
}

char *
text_format(const char *format, ...)
{
	va_list		args;
	int			length;
	char	   *text;

	va_start(args, format);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0)
		abort();
	text = text_alloc((size_t) length + 1);
	va_start(args, format);
	vsnprintf(text, (size_t) length + 1, format, args);
	va_end(args);
	return text;
}

static int
hex_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	return tolower((unsigned char) digit) - 'a' + 10;
}

/*
 * Decodes percent escapes, and "+" as a space if plus is set.  A malformed
 * escape stays as it is.
 */
char *
text_unescape(const char *from, size_t length, bool plus)
{
	char	   *text = text_alloc(length + 1);
	char	   *to = text;
	size_t		i;

	for (i = 0; i < length; i++)
	{
		if (from[i] == '%' && i + 2 < length &&
			isxdigit((unsigned char) from[i + 1]) &&
			isxdigit((unsigned char) from[i + 2]))
		{
			*to++ = (char) (hex_value(from[i + 1]) * 16 +
							hex_value(from[i + 2]));
			i += 2;
		}
		else
			*to++ = plus && from[i] == '+' ? ' ' : from[i];
	}
	return text;
}

/* Returns the decoded value of a query's parameter, NULL if it is missing. */
char *
text_query(const char *query, const char *name)
{
	size_t		name_length = strlen(name);

	while (*query != '\0')
	{
		size_t		length = strcspn(query, "&");

		if (length > name_length && query[name_length] == '=' &&
			strncmp(query, name, name_length) == 0)
			return text_unescape(query + name_length + 1,
								 length - name_length - 1, true);
		query += length;
		query += *query == '&';
	}
	return NULL;
}

/* Decodes base64, up to the first character that is none. */
char *
text_base64(const char *from)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char	   *text = text_alloc(strlen(from) + 1);
	char	   *to = text;
	const char *digit;
	unsigned int bits = 0;
	int			have = 0;

	for (; *from != '\0' && (digit = strchr(digits, *from)) != NULL; from++)
	{
		bits = (bits << 6 | (unsigned int) (digit - digits)) & 0xFFFF;
		have += 6;
		if (have >= 8)
		{
			have -= 8;
			*to++ = (char) (bits >> have & 0xFF);
		}
	}
	return text;
}

bool
text_is_uuid(const char *text)
{
	int			i;

	for (i = 0; i < 36; i++)
	{
		bool		dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !isxdigit((unsigned char) text[i]))
			return false;
	}
	return text[36] == '\0';
}

/* Returns the time in microseconds since 1970. */
int64_t
text_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Renders a time in UTC; NULL as the format is RFC 3339 with milliseconds. */
char *
text_time(int64_t at, const char *format)
{
	time_t		seconds = (time_t) (at / 1000000);
	struct tm	parts;
	char		text[64];

	gmtime_r(&seconds, &parts);
	strftime(text, sizeof(text), format ? format : "%Y-%m-%dT%H:%M:%S",
			 &parts);
	if (format != NULL)
		return text_copy(text, strlen(text));
	return text_format("%s.%03dZ", text, (int) (at / 1000 % 1000));
}

/*
 * Returns a JSON string of bytes that came from outside; what is not UTF-8
 * is shown with question marks for everything beyond ASCII.
 */
json_t *
text_json(const char *bytes, size_t length)
{
	json_t	   *string = json_stringn(bytes, length);

	if (string == NULL)
	{
		char	   *ascii = text_copy(bytes, length);
		size_t		i;

		for (i = 0; i < length; i++)
			if ((unsigned char) ascii[i] >= 0x80)
				ascii[i] = '?';
		string = json_stringn(ascii, length);
		free(ascii);
	}
	return string;
}
