/*
 * request.h
 *		From a session's id to the request that ends or shows it.
 */
#ifndef BS_REQUEST_H
#define BS_REQUEST_H

#include "http.h"
#include "provider.h"
#include "session_id.h"

typedef enum BsAsk
{
	BS_ASK_END,					/* the call that ends the session */
	BS_ASK_STATUS				/* the read that shows what became of it */
} BsAsk;

extern void bs_request_build(const BsService *service, const BsSessionId *id,
							 BsAsk ask, HttpRequest *request);
extern void bs_request_wipe(HttpRequest *request);

#endif							/* BS_REQUEST_H */
