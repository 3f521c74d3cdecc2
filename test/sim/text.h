#ifndef SIM_TEXT_H
#define SIM_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

extern void *text_alloc(size_t size);
extern char *text_copy(const char *from, size_t length);
extern char *text_format(const char *format, ...)
	__attribute__((format(printf, 1, 2)));
extern char *text_unescape(const char *from, size_t length, bool plus);
extern char *text_query(const char *query, const char *name);
extern char *text_base64(const char *from);
extern bool text_is_uuid(const char *text);
extern int64_t text_now(void);
extern char *text_time(int64_t at, const char *format);
extern json_t *text_json(const char *bytes, size_t length);

#endif
