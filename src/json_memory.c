/*
 * json_memory.c
 *		The memory that jansson uses while it reads a document.
 *
 * For want of memory jansson drops characters of the string that it is
 * reading, its closing quote among them, and then reads and writes beyond the
 * end of it.  So while it reads it is never refused any: what malloc() does
 * not give comes out of a reserve, and the document is thrown away when that
 * has happened.  If the reserve does not suffice either, an error ends it at
 * once, and what has been read up to then is never freed.
 *
 * The functions are those of the whole process, another library's jansson
 * included.  They pass everything on to those that were set before, malloc()
 * and free() if nobody has.
 *
 * Needs no server: it is built into the fuzz targets as well.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <jansson.h>

#include "json_memory.h"
#include "shortage.h"

/* Pages that are never touched cost nothing. */
#define RESERVE		(64 * 1024)

static union
{
	char		byte[RESERVE];
	int64		for_alignment;
	double		for_alignment_too;
}			reserve;

/* What was set before. */
static json_malloc_t next_malloc;
static json_free_t next_free;

static size_t reserve_used = 0;
static bool reading = false;

/*
 * Returns memory, while a document is being read in any case.
 */
static void *
give(size_t size)
{
	void	   *memory = next_malloc(size);

	if (memory != NULL || !reading)
		return memory;
	size = MAXALIGN(size);
	if (size > sizeof(reserve) - reserve_used)
	{
		reading = false;
		bs_raise_shortage("a provider's answer");
	}
	memory = reserve.byte + reserve_used;
	reserve_used += size;
	return memory;
}

static void
take_back(void *memory)
{
	uintptr_t	place = (uintptr_t) memory - (uintptr_t) &reserve;

	if (place >= sizeof(reserve))
		next_free(memory);
}

/*
 * Is told that a document is going to be read.
 */
void
bs_json_memory_begin(void)
{
	static bool ready = false;

	if (!ready)
	{
		json_get_alloc_funcs(&next_malloc, &next_free);
		json_set_alloc_funcs(give, take_back);
	}
	ready = true;
	reserve_used = 0;
	reading = true;
}

/*
 * Is told that it has been read.  Returns whether the memory sufficed; if not,
 * the document has to be freed before the next one is read.
 */
bool
bs_json_memory_end(void)
{
	reading = false;
	return reserve_used == 0;
}
