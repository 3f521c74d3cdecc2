/*
 * json.h
 *		Reading and writing JSON; the only door to jansson.
 */
#ifndef BS_JSON_H
#define BS_JSON_H

#include "redact.h"

typedef struct BsJson BsJson;

extern BsJson *bs_json_parse(const char *text, size_t length,
							 const char **why);
extern void bs_json_free(BsJson *json);
extern bool bs_json_has(const BsJson *json, const char *path);
extern bool bs_json_is_set(const BsJson *json, const char *path);
extern bool bs_json_is_object(const BsJson *json);
extern char *bs_json_word(const BsJson *json, const char *path);
extern char *bs_json_print(const BsJson *json, const BsSecrets *secrets);
extern char *bs_json_quote(const char *utf8);
extern char *bs_json_with(const char *object, const char *field,
						  const char *value);

#endif							/* BS_JSON_H */
