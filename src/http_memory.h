/*
 * http_memory.h
 *		The memory that libcurl uses, and whether it was refused any.
 */
#ifndef BS_HTTP_MEMORY_H
#define BS_HTTP_MEMORY_H

#include <curl/curl.h>

extern CURLcode bs_http_memory_begin(void);
extern bool bs_http_memory_was_short(void);

#endif							/* BS_HTTP_MEMORY_H */
