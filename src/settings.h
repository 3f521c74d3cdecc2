/*
 * settings.h
 *		The browser_session.* settings and their bounds.
 */
#ifndef BS_SETTINGS_H
#define BS_SETTINGS_H

#include <limits.h>

/* One exchange with a provider, in milliseconds. */
#define BS_REQUEST_TIMEOUT_DEFAULT	10000
#define BS_REQUEST_TIMEOUT_MIN		1
#define BS_REQUEST_TIMEOUT_MAX		(60 * 60 * 1000)

/* Exchanges under way at once. */
#define BS_MAX_IN_FLIGHT_DEFAULT	256
#define BS_MAX_IN_FLIGHT_MIN		1
#define BS_MAX_IN_FLIGHT_MAX		10000

/* Bytes of a reply's body that are read, in kilobytes. */
#define BS_MAX_RESPONSE_SIZE_DEFAULT	256
#define BS_MAX_RESPONSE_SIZE_MIN		1
#define BS_MAX_RESPONSE_SIZE_MAX		(16 * 1024)

/* Attempts of the worker before it gives a session up. */
#define BS_MAX_ATTEMPTS_DEFAULT		20
#define BS_MAX_ATTEMPTS_MIN			1
#define BS_MAX_ATTEMPTS_MAX			1000

/* Back-off of the worker, in milliseconds: the first pause and the longest. */
#define BS_RETRY_DELAY_DEFAULT		1000
#define BS_RETRY_DELAY_MIN			1
#define BS_RETRY_DELAY_MAX			(60 * 60 * 1000)
#define BS_MAX_RETRY_DELAY_DEFAULT	(10 * 60 * 1000)
#define BS_MAX_RETRY_DELAY_MIN		1
#define BS_MAX_RETRY_DELAY_MAX		(24 * 60 * 60 * 1000)

/* How long audit rows and ended sessions are kept, in seconds. */
#define BS_RETENTION_DEFAULT	(30 * 24 * 60 * 60)
#define BS_RETENTION_MIN		(-1)
#define BS_RETENTION_MAX		INT_MAX

extern bool browser_session_enabled;
extern int	browser_session_max_attempts;
extern int	browser_session_retry_delay;
extern int	browser_session_max_retry_delay;
extern int	browser_session_retention;
extern int	browser_session_request_timeout;
extern int	browser_session_max_in_flight;
extern int	browser_session_max_response_size;

extern void bs_settings_define(void);

#endif							/* BS_SETTINGS_H */
