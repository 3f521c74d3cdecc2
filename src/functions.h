/*
 * functions.h
 *		What the files of SQL's functions share: their arguments.
 */
#ifndef BS_FUNCTIONS_H
#define BS_FUNCTIONS_H

#include "account.h"
#include "fmgr.h"
#include "session_id.h"

extern void bs_function_check(FunctionCallInfo fcinfo, const char *function);
extern void bs_function_check_id(FunctionCallInfo fcinfo);
extern void bs_function_read_id(const BsAccount *account, const char *given,
								BsSessionId *id);
extern char *bs_function_bare_id(const char *provider, const char *id,
								 Oid role);

#endif							/* BS_FUNCTIONS_H */
