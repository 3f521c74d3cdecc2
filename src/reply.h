/*
 * reply.h
 *		Judging a provider's reply.
 */
#ifndef BS_REPLY_H
#define BS_REPLY_H

#include "http.h"
#include "outcome.h"
#include "provider.h"

/* What the reply answers. */
typedef enum BsQuestion
{
	BS_Q_END,					/* the call that ends the session */
	BS_Q_CONFIRM,				/* is it over yet, after an accepted end? */
	BS_Q_LOOK,					/* the same, of an end asked for earlier */
	BS_Q_SETTLE					/* what did the ambiguous answer mean? */
} BsQuestion;

/* What has to follow. */
typedef enum BsNext
{
	BS_NEXT_NOTHING,			/* the outcome stands */
	BS_NEXT_CONFIRM,			/* accepted, still alive: look again later */
	BS_NEXT_SETTLE,				/* ambiguous: look at once */
	BS_NEXT_RETRY				/* a passing failure: ask again */
} BsNext;

typedef struct BsJudgement
{
	BsOutcome	outcome;
	BsNext		next;
	bool		refusal_stands; /* settled: the end was refused in earnest */
	char	   *provider_status;	/* NULL if the reply shows none */
	int64		ended_at;		/* µs since 1970; 0 if the reply shows none */
	char	   *error;			/* NULL if done */
	char	   *response;		/* JSON; NULL if there was no body */
} BsJudgement;

extern void bs_reply_judge(const BsService *service,
						   const BsSecrets *secrets, BsQuestion question,
						   const HttpReply *reply, BsJudgement *judgement);

#endif							/* BS_REPLY_H */
