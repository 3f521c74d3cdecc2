#ifndef SIM_SESSION_H
#define SIM_SESSION_H

#include <stdbool.h>
#include <stdint.h>

typedef enum SessionState
{
	SESSION_LIVE,
	SESSION_RELEASING,			/* its end was asked for, it still runs */
	SESSION_ENDED,
	SESSION_UNKNOWN				/* never existed */
} SessionState;

typedef struct Session
{
	struct Session *next;		/* in the same bucket */
	uint64_t	hash;
	bool		exists;
	bool		end_asked;
	int64_t		created_at;		/* first sight, in unix microseconds */
	int64_t		ended_at;		/* set with end_asked; INT64_MAX = never */
	int64_t		faults;			/* made-up replies given so far */
	char		key[];			/* with, dialect, id */
} Session;

extern Session *session_find(const char *with, const char *dialect,
							 const char *id, bool create);
extern SessionState session_state(const Session *session);
extern const char *session_state_name(SessionState state);
extern void session_end(Session *session, int64_t release);
extern void session_end_all(const char *with, const char *dialect);
extern void session_free_all(void);

#endif
