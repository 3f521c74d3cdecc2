/*
 * audit.h
 *		The audit of what is done in the caller's transaction.
 */
#ifndef BS_AUDIT_H
#define BS_AUDIT_H

#include "attempt.h"
#include "exchange.h"
#include "nodes/nodes.h"

/*
 * In whose name and why an exchange is made.  An exchange that is made in the
 * caller's transaction has one as, or at the beginning of, its tag.
 */
typedef struct BsMandate
{
	const char *server;			/* the server's name */
	const char *reason;
	const char *actor;			/* a role's name */
	int			attempts_before;	/* made in earlier transactions */
} BsMandate;

/* The attempt before, of a session that is claimed a second time. */
#define BS_LOST_ATTEMPT \
	"the process that made the attempt ended before it was recorded"

extern void bs_audit_refuse_nested(void);
extern void bs_audit_begin(Oid function);
extern void bs_audit_describe(const BsMandate *mandate,
							  const BsExchange *exchange, int i,
							  BsAttempt *attempt);
extern void bs_audit_describe_lost(const BsMandate *mandate,
								   const char *session_id, const char *error,
								   BsAttempt *attempt);
extern void bs_audit_add(const BsMandate *mandate,
						 const BsExchange *exchange);
extern bool bs_audit_is_behind(void);
extern void bs_audit_use_pause(void);
extern void bs_audit_end(void);
extern void bs_audit_flush(void);
extern void bs_audit_abandon(void);

/* audit_reader.c */
extern void bs_audit_know_function(Oid function);
extern void bs_audit_before_command(const Node *command, bool top_level);
extern void bs_audit_install_hook(void);

#endif							/* BS_AUDIT_H */
