/*
 * encoding.h
 *		Between the database's encoding and UTF-8.
 */
#ifndef BS_ENCODING_H
#define BS_ENCODING_H

/*
 * Is the valid UTF-8 there a character that can make text look like something
 * else in a log or a terminal: a control character, C1 ones included, an end
 * of a line or paragraph, or one that turns the direction of writing?
 */
static inline bool
bs_encoding_is_control(const char *utf8)
{
	const unsigned char *p = (const unsigned char *) utf8;

	if (p[0] < 0x80)
		return p[0] < ' ' || p[0] == 0x7f;
	if (p[0] == 0xc2)
		return p[1] < 0xa0;		/* U+0080 to U+009F */
	return p[0] == 0xe2 &&
		((p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae) ||	/* from U+2028 */
		 (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9));	/* to U+2069 */
}

extern void bs_encoding_prepare(void);
extern char *bs_encoding_to_utf8(const char *text);
extern char *bs_encoding_from_utf8(const char *utf8);

#endif							/* BS_ENCODING_H */
