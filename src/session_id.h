/*
 * session_id.h
 *		A session's id, checked.
 */
#ifndef BS_SESSION_ID_H
#define BS_SESSION_ID_H

#include "provider.h"

/* Longest id, in bytes.  Those of the known providers have 36. */
#define BS_MAX_ID		512

/* Longest stop URL, in bytes. */
#define BS_MAX_STOP_URL	2048

typedef struct BsSessionId
{
	char	   *name;			/* the bare id, UTF-8: what is shown */
	char	   *stop_url;		/* NULL, or the URL given in place of the id */
	char	   *token;			/* NULL, or the credential in that URL */
} BsSessionId;

extern const char *bs_session_id_parse(const BsService *service,
									   const char *text, BsSessionId *id);
extern void bs_session_id_wipe(BsSessionId *id);

#endif							/* BS_SESSION_ID_H */
