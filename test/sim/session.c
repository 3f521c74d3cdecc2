/*
 * session.c
 *
 * The sessions seen so far, one per "with:" part, dialect and id: tests with
 * different knobs, and different providers, never meet.  A session is live at
 * first sight, unless its id begins with "unknown" or, among UUIDs, with
 * eight zeros: that one never existed.  It has an entry too, for the count of
 * its faults.
 *
 * Only the server's thread comes here.
 */
#include <stdlib.h>
#include <string.h>

#include "session.h"
#include "text.h"

static Session **buckets;
static size_t bucket_count;
static size_t session_count;

static uint64_t
hash_key(const char *key)
{
	uint64_t	hash = UINT64_C(14695981039346656037);	/* FNV-1a */

	for (; *key != '\0'; key++)
		hash = (hash ^ (unsigned char) *key) * UINT64_C(1099511628211);
	return hash;
}

static void
grow(void)
{
	size_t		count = bucket_count > 0 ? bucket_count * 2 : 1024;
	Session   **grown = text_alloc(count * sizeof(*grown));
	size_t		i;

	for (i = 0; i < bucket_count; i++)
	{
		Session    *session = buckets[i];

		while (session != NULL)
		{
			Session    *next = session->next;

			session->next = grown[session->hash % count];
			grown[session->hash % count] = session;
			session = next;
		}
	}
	free(buckets);
	buckets = grown;
	bucket_count = count;
}

static Session *
create_session(const char *key, uint64_t hash, const char *id)
{
	Session    *session;

	if (session_count >= bucket_count)
		grow();
	session = text_alloc(sizeof(*session) + strlen(key) + 1);
	strcpy(session->key, key);
	session->hash = hash;
	session->exists = strncmp(id, "unknown", 7) != 0 &&
		strncmp(id, "00000000", 8) != 0;
	session->created_at = text_now();
	session->next = buckets[hash % bucket_count];
	buckets[hash % bucket_count] = session;
	session_count++;
	return session;
}

/*
 * Returns the session's entry, made on the spot if create is set, else NULL
 * if there is none.
 */
Session *
session_find(const char *with, const char *dialect, const char *id,
			 bool create)
{
	/* No part but the last can have a slash in it. */
	char	   *key = text_format("%s/%s/%s", with, dialect, id);
	uint64_t	hash = hash_key(key);
	Session    *session = NULL;

	if (bucket_count > 0)
		for (session = buckets[hash % bucket_count]; session != NULL;
			 session = session->next)
			if (session->hash == hash && strcmp(session->key, key) == 0)
				break;
	if (session == NULL && create)
		session = create_session(key, hash, id);
	free(key);
	return session;
}

SessionState
session_state(const Session *session)
{
	if (!session->exists)
		return SESSION_UNKNOWN;
	if (!session->end_asked)
		return SESSION_LIVE;
	return text_now() < session->ended_at ? SESSION_RELEASING : SESSION_ENDED;
}

const char *
session_state_name(SessionState state)
{
	static const char *const names[] = {"live", "releasing", "ended",
	"unknown"};

	return names[state];
}

/*
 * Asks for the end, release ms from now (-1 = never).  Asking again does not
 * start the time anew.
 */
void
session_end(Session *session, int64_t release)
{
	if (session->end_asked)
		return;
	session->end_asked = true;
	session->ended_at = release < 0 ? INT64_MAX : text_now() + release * 1000;
}

/* Ends at once every session of an account. */
void
session_end_all(const char *with, const char *dialect)
{
	char	   *prefix = text_format("%s/%s/", with, dialect);
	size_t		length = strlen(prefix);
	size_t		i;
	Session    *session;

	for (i = 0; i < bucket_count; i++)
		for (session = buckets[i]; session != NULL; session = session->next)
			if (strncmp(session->key, prefix, length) == 0)
				session_end(session, 0);
	free(prefix);
}

void
session_free_all(void)
{
	size_t		i;

	for (i = 0; i < bucket_count; i++)
		while (buckets[i] != NULL)
		{
			Session    *session = buckets[i];

			buckets[i] = session->next;
			free(session);
		}
	free(buckets);
	buckets = NULL;
	bucket_count = 0;
	session_count = 0;
}
