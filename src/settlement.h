/*
 * settlement.h
 *		What a tracked session's row is to say after an attempt.
 */
#ifndef BS_SETTLEMENT_H
#define BS_SETTLEMENT_H

#include "exchange.h"
#include "tracking.h"

extern void bs_settlement_of_call(const char *server,
								  const BsExchange *exchange,
								  BsSettlement *settlement);
extern void bs_settlement_of_claim(const BsClaim *claim,
								   const BsResult *result,
								   BsSettlement *settlement);
extern void bs_settlement_of_failure(const BsClaim *claim, const char *error,
									 BsSettlement *settlement);

#endif							/* BS_SETTLEMENT_H */
