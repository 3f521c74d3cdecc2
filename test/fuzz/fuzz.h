/*
 * fuzz.h
 *		What the fuzz targets share.
 *
 * An input is text: lines "name: value", an empty line, and whatever follows
 * (a reply's body, a session's id, options).  Each property that does not hold
 * ends the process, and libFuzzer keeps the input.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <curl/curl.h>

#include "provider.h"

/* An input, taken apart. */
typedef struct Input
{
	char	   *head;			/* its lines */
	char	   *rest;			/* ends with a NUL; may hold others */
	size_t		rest_length;
} Input;

/* memory.c: palloc() and its kin */
extern void memory_begin(size_t input_length, size_t more);
extern void memory_end(void);

/* input.c */
extern void input_read(Input *input, const uint8_t *data, size_t length);
extern const char *input_get(const Input *input, const char *name);
extern int	input_number(const Input *input, const char *name, int otherwise);
extern bool input_service(const Input *input, BsService *service);
extern struct json_t *input_json(const char *text, size_t length);
extern bool is_visible(const char *text);
extern bool is_printable(const char *text);
extern char *url_part(CURLU *url, CURLUPart what);

/* secret.c: an oracle of its own */
extern bool secret_is_testable(const BsService *service, const char *secret);
extern bool secret_is_in(const char *secret, const char *text);

/* Ends the process, with the reason, unless the condition holds. */
#define must(condition, ...) \
	do { if (!(condition)) fail(__FILE__, __LINE__, __VA_ARGS__); } while (0)

extern void fail(const char *file, int line, const char *format,...)
			__attribute__((format(__printf__, 3, 4), noreturn));

#endif							/* FUZZ_H */
