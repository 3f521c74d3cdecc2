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
	int64		began_at;		/* when the request was sent, µs since 1970 */
	int64		elapsed;		/* µs, from then to the outcome */
	int64		retry_after;	/* µs that the provider asks to wait, or -1 */
	int64		ended_at;		/* µs since 1970; 0 if not known to be over */
	const char *error;			/* NULL if done */
	const char *response;		/* JSON; NULL if there was none */
} BsResult;

typedef struct BsExchange BsExchange;

/* How to go about it. */
typedef struct BsExchangePlan
{
	int			retries;		/* of passing failures */
	bool		look_first;		/* the end was asked for before: read first */
} BsExchangePlan;

extern void bs_exchange_begin(BsAccount *account, const BsSessionId *id,
							  BsExchangePlan plan, void *tag);
extern void bs_exchange_wait(void);
extern bool bs_exchange_any(void);
extern bool bs_exchange_pump(int64 deadline);
extern BsExchange *bs_exchange_next(void);
extern void bs_exchange_visit(void (*visit) (const BsExchange *exchange));
extern bool bs_exchange_is_under_way(const BsExchange *exchange);
extern const BsResult *bs_exchange_result(const BsExchange *exchange);
extern int	bs_exchange_attempts(const BsExchange *exchange);
extern const BsResult *bs_exchange_attempt(const BsExchange *exchange, int i);
extern const char *bs_exchange_id(const BsExchange *exchange);
extern void *bs_exchange_tag(const BsExchange *exchange);
extern void bs_exchange_release(BsExchange *exchange);
extern void bs_exchange_rest(void);
extern void bs_exchange_abort(void);

#endif							/* BS_EXCHANGE_H */
