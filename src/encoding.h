/*
 * encoding.h
 *		Between the database's encoding and UTF-8.
 */
#ifndef BS_ENCODING_H
#define BS_ENCODING_H

extern void bs_encoding_prepare(void);
extern char *bs_encoding_to_utf8(const char *text);
extern char *bs_encoding_from_utf8(const char *utf8);

#endif							/* BS_ENCODING_H */
