#ifndef SIM_KNOBS_H
#define SIM_KNOBS_H

#include <stdbool.h>
#include <stdint.h>

/* "release" was not given: the dialect's own time counts. */
#define RELEASE_UNSET	(-2)

/* What a URL's "with:" part asks for; the strings are NULL if not given. */
typedef struct Knobs
{
	int64_t		delay;			/* ms before the reply is sent */
	int64_t		status;			/* of a made-up reply; 0 = none */
	int64_t		times;			/* how often per id it fails; -1 = always */
	int64_t		retry_after_date;	/* seconds from now; 0 = none */
	int64_t		release;		/* ms from request to end; -1 = never */
	int64_t		pad;			/* bytes of the reply's body; 0 = as it is */
	int64_t		echo;			/* an error repeats the key and the URL */
	int64_t		nul;			/* the message has a NUL byte */
	int64_t		badutf8;		/* the message has invalid UTF-8 */
	int64_t		endstatus;		/* of the end of a gone session; 0 = usual */
	int64_t		getstatus;		/* of the read of an ended one; 0 = usual */
	int64_t		cut;			/* the body ends half way */
	int64_t		drop;			/* no reply: 1 = not served, 2 = served */
	char	   *body;			/* of a made-up reply: json, text, … */
	char	   *retry_after;	/* as the header has it */
	char	   *retry_after_ms;
	char	   *redirect;		/* where a 302 points to */
	char	   *word;			/* the status word to report */
	char	   *only;			/* the method the faults are limited to */
} Knobs;

extern char *knobs_parse(Knobs *knobs, const char *with);
extern void knobs_limit(Knobs *knobs, const char *method);
extern void knobs_free(Knobs *knobs);

#endif
