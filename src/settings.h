/*
 * settings.h
 *		The browser_session.* settings and their bounds.
 */
#ifndef BS_SETTINGS_H
#define BS_SETTINGS_H

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

extern int	browser_session_request_timeout;
extern int	browser_session_max_in_flight;
extern int	browser_session_max_response_size;

extern void bs_settings_define(void);

#endif							/* BS_SETTINGS_H */
