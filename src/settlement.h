/*
 * settlement.h
 *		What a tracked session's row is to say after an attempt.
 */
#ifndef BS_SETTLEMENT_H
#define BS_SETTLEMENT_H

#include "exchange.h"
#include "tracking.h"

extern int64 bs_settlement_longest_pause(void);
extern void bs_settlement_of_call(const char *server,
								  const BsExchange *exchange,
								  BsSettlement *settlement);
extern void bs_settlement_of_claim(const BsClaim *claim,
								   const BsResult *result,
								   BsSettlement *settlement);
extern void bs_settlement_of_failure(const BsClaim *claim, const char *error,
									 BsSettlement *settlement);
extern void bs_settlement_record(const BsSettlement *settlements, int n);

/* Those of a call with many sessions (settlement_list.c). */
typedef struct BsSettlementList BsSettlementList;

extern BsSettlementList *bs_settlements_begin(const char *server);
extern void bs_settlements_add(BsSettlementList *list,
							   const BsExchange *exchange);
extern void bs_settlements_record(BsSettlementList *list);

#endif							/* BS_SETTLEMENT_H */
