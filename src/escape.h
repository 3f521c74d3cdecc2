/*
 * escape.h
 *		Undoing the escapes that text is put into.
 */
#ifndef BS_ESCAPE_H
#define BS_ESCAPE_H

/* The kinds of escapes, each of which can lie over another. */
typedef enum BsEscape
{
	BS_ESCAPE_PERCENT,			/* %2F, and + for a space */
	BS_ESCAPE_BACKSLASH,		/* \/, \u002f, \x2f */
	BS_ESCAPE_ENTITY,			/* &#47;, &#x2f;, &sol; */
	BS_NESCAPES
} BsEscape;

/* Most bytes that one escape stands for: a character of UTF-8. */
#define BS_ESCAPE_MAX	4

extern size_t bs_escape_undo(BsEscape kind, const char *text, size_t length,
							 char *bytes, size_t *nbytes);
extern bool bs_escape_has(BsEscape kind, const char *text, size_t length);

#endif							/* BS_ESCAPE_H */
