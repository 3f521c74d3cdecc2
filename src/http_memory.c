/*
 * http_memory.c
 *		The memory that libcurl uses, and whether it was refused any.
 *
 * libcurl does not carry every want of memory through to its result: a
 * transfer can then wait for a timer that was never set, or fail for a reason
 * that is none.  So it allocates through here, and whoever runs it asks
 * afterwards whether it was refused memory on the way.
 *
 * Threads that look up names allocate here, too.  If another library of this
 * process has initialised libcurl before, that stays as it is, and nothing but
 * libcurl's results tells.
 */
#include "postgres.h"

#include <signal.h>

#include "http_memory.h"

static volatile sig_atomic_t was_short = false;

/*
 * Takes note if there is no memory.
 */
static void *
check(void *memory)
{
	if (memory == NULL)
		was_short = true;
	return memory;
}

static void *
malloc_cb(size_t size)
{
	return check(malloc(size));
}

static void *
calloc_cb(size_t nmemb, size_t size)
{
	return check(calloc(nmemb, size));
}

static void *
realloc_cb(void *memory, size_t size)
{
	return check(realloc(memory, size));
}

static char *
strdup_cb(const char *text)
{
	return check(strdup(text));
}

static void
free_cb(void *memory)
{
	free(memory);
}

/*
 * Initialises libcurl.  Returns its result.
 */
CURLcode
bs_http_memory_begin(void)
{
	return curl_global_init_mem(CURL_GLOBAL_ALL, malloc_cb, free_cb,
								realloc_cb, strdup_cb, calloc_cb);
}

/*
 * Has libcurl been refused memory since this was last asked?
 */
bool
bs_http_memory_was_short(void)
{
	bool		result = was_short;

	was_short = false;
	return result;
}
