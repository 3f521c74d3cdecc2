/*
 * attempt.c
 *		An attempt to end a session, as the audit has it.
 *
 * An attempt whose row is lost with the caller's transaction goes to the
 * worker through shared memory, for which it is laid out in one piece; and if
 * that cannot be, to the server's log.
 */
#include "postgres.h"

#include "attempt.h"

/* A reply that is longer is left out of the flat form. */
#define MAX_FLAT_RESPONSE	1024

struct BsFlatAttempt
{
	Size		size;			/* of the whole, a multiple of MAXALIGN */
	BsAttempt	attempt;		/* its texts are offsets, see below */
	uint32		offset[BS_ATTEMPT_NTEXTS];	/* 0 = NULL */
	char		bytes[FLEXIBLE_ARRAY_MEMBER];
};

/*
 * Is a response too long for the flat form?
 */
bool
bs_attempt_leaves_out(const char *response)
{
	return strlen(response) > MAX_FLAT_RESPONSE;
}

/*
 * Returns the text of an attempt that is kept in the flat form.
 */
static const char *
flat_text(const BsAttempt *attempt, int i)
{
	const char *text = attempt->text[i];

	if (i == BS_ATTEMPT_RESPONSE && text != NULL &&
		bs_attempt_leaves_out(text))
		return NULL;
	return text;
}

/*
 * Returns a copy of an attempt in one piece, in the current memory context.
 */
BsFlatAttempt *
bs_attempt_flatten(const BsAttempt *attempt)
{
	BsFlatAttempt *flat;
	Size		size = offsetof(BsFlatAttempt, bytes);
	char	   *next;

	for (int i = 0; i < BS_ATTEMPT_NTEXTS; i++)
		if (flat_text(attempt, i) != NULL)
			size += strlen(flat_text(attempt, i)) + 1;
	size = MAXALIGN(size);
	flat = palloc0(size);
	flat->size = size;
	flat->attempt = *attempt;
	next = flat->bytes;
	for (int i = 0; i < BS_ATTEMPT_NTEXTS; i++)
	{
		const char *text = flat_text(attempt, i);

		flat->attempt.text[i] = NULL;
		if (text == NULL)
			continue;
		flat->offset[i] = next - (char *) flat;
		next = stpcpy(next, text) + 1;
	}
	return flat;
}

/*
 * Notes that the transaction of the attempt was rolled back.
 */
void
bs_attempt_mark_rolled_back(BsFlatAttempt *flat)
{
	flat->attempt.rolled_back = true;
}

/*
 * Returns the size in bytes, so that the next one can follow aligned.
 */
Size
bs_attempt_size(const BsFlatAttempt *flat)
{
	return flat->size;
}

/*
 * Fills in an attempt whose texts are those of the flat form.
 */
void
bs_attempt_read(const BsFlatAttempt *flat, BsAttempt *attempt)
{
	*attempt = flat->attempt;
	for (int i = 0; i < BS_ATTEMPT_NTEXTS; i++)
		if (flat->offset[i] != 0)
			attempt->text[i] = (const char *) flat + flat->offset[i];
}

/*
 * Writes an attempt that the audit cannot take to the server's log.
 */
void
bs_attempt_log(const BsAttempt *attempt)
{
	const char *const *text = attempt->text;

	ereport(LOG,
			(errmsg("session \"%s\" of server \"%s\": %s (%s, attempt %d by "
					"\"%s\"), not in bsession_audit",
					text[BS_ATTEMPT_SESSION_ID], text[BS_ATTEMPT_PROVIDER],
					bs_outcome_name(attempt->outcome),
					text[BS_ATTEMPT_REASON], attempt->number,
					text[BS_ATTEMPT_ACTOR]),
			 errdetail("The transaction that ended it was rolled back, and no "
					   "background worker could take the row over.")));
}
