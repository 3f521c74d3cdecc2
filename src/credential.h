/*
 * credential.h
 *		From a user mapping to the credential of an account.
 */
#ifndef BS_CREDENTIAL_H
#define BS_CREDENTIAL_H

#include "foreign/foreign.h"
#include "provider.h"

extern bool bs_credential_load(BsService *service,
							   const ForeignServer *server, Oid role);

#endif							/* BS_CREDENTIAL_H */
