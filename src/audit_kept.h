/*
 * audit_kept.h
 *		The attempts of a transaction, as long as it can be rolled back.
 */
#ifndef BS_AUDIT_KEPT_H
#define BS_AUDIT_KEPT_H

#include "attempt.h"

extern void bs_kept_make_room(void);
extern void bs_kept_add(const BsAttempt *attempt);
extern bool bs_kept_any(void);
extern int	bs_kept_unwritten(Size *response_bytes);
extern void bs_kept_write(void (*write) (const BsAttempt *attempts, int n));
extern void bs_kept_commit(int level);
extern void bs_kept_abort(int level);
extern void bs_kept_forget(void);

#endif							/* BS_AUDIT_KEPT_H */
