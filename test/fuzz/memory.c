/*
 * memory.c
 *		PostgreSQL's allocation functions for the fuzz targets.
 *
 * What an input allocates goes with it, as with a memory context; until then
 * AddressSanitizer watches over each block.  How much one input may have at
 * once, and how much time it may take, is bounded: a property like any other.
 */
#include "postgres_fe.h"

#include <time.h>

#include "fuzz.h"

/* What every input may have, and what for each of its bytes. */
#define BYTES_AT_LEAST		((size_t) 256 * 1024)
#define BYTES_PER_BYTE		((size_t) 256)

/* Processor time; far more than any input takes, even with sanitizers. */
#define MAX_SECONDS			10.0

static void **block;
static size_t *block_size;
static size_t nblocks;
static size_t room;
static size_t used;
static size_t limit;
static struct timespec began;

void
fail(const char *file, int line, const char *format,...)
{
	va_list		args;

	fprintf(stderr, "%s:%d: ", file, line);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

/*
 * Begins with an input of that many bytes, which may take so many more than
 * its length says.
 */
void
memory_begin(size_t input_length, size_t more)
{
	limit = BYTES_AT_LEAST + BYTES_PER_BYTE * input_length + more;
	used = 0;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &began);
}

/*
 * Frees all that is left of an input, and looks at how long it took.
 */
void
memory_end(void)
{
	struct timespec now;
	double		seconds;

	while (nblocks > 0)
		free(block[--nblocks]);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	seconds = (double) (now.tv_sec - began.tv_sec) +
		(double) (now.tv_nsec - began.tv_nsec) / 1e9;
	must(seconds < MAX_SECONDS, "it took %.1f s", seconds);
}

/*
 * Returns which block a pointer is; the newest are looked at first.
 */
static size_t
find_block(const void *pointer)
{
	size_t		i = nblocks;

	while (i > 0 && block[i - 1] != pointer)
		i--;
	must(i > 0, "a pointer that is not a block's is freed");
	return i - 1;
}

static void
charge(size_t size)
{
	used += size;
	must(used <= limit, "%zu bytes at once, %zu are allowed", used, limit);
}

static void *
grow(void *array, size_t size)
{
	void	   *larger = realloc(array, size);

	must(larger != NULL, "no memory");
	return larger;
}

void *
palloc(Size size)
{
	charge(size);
	if (nblocks == room)
	{
		room = room * 2 + 64;
		block = grow(block, room * sizeof(*block));
		block_size = grow(block_size, room * sizeof(*block_size));
	}
	block[nblocks] = malloc(size > 0 ? size : 1);
	block_size[nblocks] = size;
	must(block[nblocks] != NULL, "no memory");
	return block[nblocks++];
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

void *
palloc_extended(Size size, int flags)
{
	return (flags & MCXT_ALLOC_ZERO) != 0 ? palloc0(size) : palloc(size);
}

void
pfree(void *pointer)
{
	size_t		i = find_block(pointer);

	used -= block_size[i];
	free(pointer);
	nblocks--;
	block[i] = block[nblocks];
	block_size[i] = block_size[nblocks];
}

void *
repalloc(void *pointer, Size size)
{
	size_t		i = find_block(pointer);

	charge(size);
	used -= block_size[i];
	block[i] = realloc(pointer, size > 0 ? size : 1);
	block_size[i] = size;
	must(block[i] != NULL, "no memory");
	return block[i];
}

char *
pnstrdup(const char *in, Size size)
{
	size_t		length = strnlen(in, size);
	char	   *copy = palloc(length + 1);

	memcpy(copy, in, length);
	copy[length] = '\0';
	return copy;
}

char *
pstrdup(const char *in)
{
	return pnstrdup(in, strlen(in));
}
