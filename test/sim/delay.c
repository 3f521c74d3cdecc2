/*
 * delay.c
 *
 * Replies that wait.  A connection whose reply is due later is suspended and
 * put into a heap, the earliest first; one thread sleeps until that time and
 * resumes it.  So a thousand waiting replies cost no thread each.
 *
 * This heap is all that the server's thread shares with another one; the lock
 * is held while libmicrohttpd suspends or resumes, so that no connection is
 * resumed before it is suspended.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "delay.h"
#include "text.h"

typedef struct Delayed
{
	int64_t		due;			/* monotonic, in nanoseconds */
	struct MHD_Connection *connection;
} Delayed;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static pthread_t thread;
static bool stopping;
static Delayed *heap;
static size_t heap_length;
static size_t heap_room;

static int64_t
monotonic_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

static void
heap_push(Delayed delayed)
{
	size_t		i = heap_length++;

	if (heap_length > heap_room)
	{
		size_t		room = heap_room > 0 ? heap_room * 2 : 256;
		void	   *larger = realloc(heap, room * sizeof(*heap));

		if (larger == NULL)
			abort();
		heap = larger;
		heap_room = room;
	}
	for (; i > 0 && heap[(i - 1) / 2].due > delayed.due; i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = delayed;
}

static struct MHD_Connection *
heap_pop(void)
{
	struct MHD_Connection *first = heap[0].connection;
	Delayed		last = heap[--heap_length];
	size_t		i = 0;

	for (;;)
	{
		size_t		child = 2 * i + 1;

		if (child + 1 < heap_length && heap[child + 1].due < heap[child].due)
			child++;
		if (child >= heap_length || heap[child].due >= last.due)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = last;
	return first;
}

/* Resumes what is due, until told to stop; then everything at once. */
static void *
resume_loop(void *unused)
{
	(void) unused;
	pthread_mutex_lock(&lock);
	while (!stopping || heap_length > 0)
	{
		if (heap_length == 0)
			pthread_cond_wait(&changed, &lock);
		else if (stopping || heap[0].due <= monotonic_now())
			MHD_resume_connection(heap_pop());
		else
		{
			struct timespec due = {
				.tv_sec = (time_t) (heap[0].due / 1000000000),
				.tv_nsec = (long) (heap[0].due % 1000000000)
			};

			pthread_cond_timedwait(&changed, &lock, &due);
		}
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

void
delay_start(void)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &attributes);
	pthread_condattr_destroy(&attributes);
	if (pthread_create(&thread, NULL, resume_loop, NULL) != 0)
	{
		fputs("provider_sim: could not start a thread\n", stderr);
		exit(1);
	}
}

/*
 * Suspends the connection for so many milliseconds; false, with nothing done,
 * once the server is about to stop.
 */
bool
delay_suspend(struct MHD_Connection *connection, int64_t delay)
{
	bool		suspended = false;

	pthread_mutex_lock(&lock);
	if (!stopping)
	{
		MHD_suspend_connection(connection);
		heap_push((Delayed)
				  {
					  .due = monotonic_now() + delay * 1000000,
					  .connection = connection
				  });
		pthread_cond_signal(&changed);
		suspended = true;
	}
	pthread_mutex_unlock(&lock);
	return suspended;
}

/* Resumes everything: libmicrohttpd cannot stop with suspended connections. */
void
delay_stop(void)
{
	pthread_mutex_lock(&lock);
	stopping = true;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	pthread_join(thread, NULL);
	pthread_cond_destroy(&changed);
	free(heap);
}
