/*
 * exchange.h
 *		Ending a session, from the first request to the outcome.
 */
#ifndef BS_EXCHANGE_H
#define BS_EXCHANGE_H

#include "account.h"
#include "outcome.h"
#include "request.h"

typedef struct BsResult
{
	BsOutcome	outcome;
	const char *provider_status;	/* NULL if never shown */
	int			http_status;	/* of the last answer; 0 if none came */
	int			attempts;		/* end requests sent */
	int64		elapsed;		/* µs, from beginning to outcome */
	int64		ended_at;		/* µs since 1970; 0 if not known to be over */
	const char *error;			/* NULL if done */
	const char *response;		/* JSON; NULL if there was none */
} BsResult;

typedef struct BsExchange BsExchange;

extern void bs_exchange_begin(BsAccount *account, const BsSessionId *id,
							  int number);
extern void bs_exchange_wait(int64 deadline);
extern BsExchange *bs_exchange_next(void);
extern const BsResult *bs_exchange_result(const BsExchange *exchange);
extern const char *bs_exchange_id(const BsExchange *exchange);
extern int	bs_exchange_number(const BsExchange *exchange);
extern void bs_exchange_release(BsExchange *exchange);
extern void bs_exchange_abort(void);

#endif							/* BS_EXCHANGE_H */
