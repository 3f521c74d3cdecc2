/*
 * settings.c
 *		Every browser_session.* setting, defined here and nowhere else.
 *
 * A server's own option (timeout, max_in_flight) goes before the setting of
 * the same meaning.  The two settings that bound what a caller may use of the
 * machine are for superusers; those of the background worker are for whoever
 * can have the configuration reloaded.
 */
#include "postgres.h"

#include "settings.h"
#include "utils/guc.h"

bool		browser_session_enabled = true;
int			browser_session_max_attempts = BS_MAX_ATTEMPTS_DEFAULT;
int			browser_session_retry_delay = BS_RETRY_DELAY_DEFAULT;
int			browser_session_max_retry_delay = BS_MAX_RETRY_DELAY_DEFAULT;
int			browser_session_retention = BS_RETENTION_DEFAULT;
int			browser_session_request_timeout = BS_REQUEST_TIMEOUT_DEFAULT;
int			browser_session_max_in_flight = BS_MAX_IN_FLIGHT_DEFAULT;
int			browser_session_max_response_size = BS_MAX_RESPONSE_SIZE_DEFAULT;

/*
 * Defines the settings of the background worker.
 */
static void
define_worker_settings(void)
{
	DefineCustomBoolVariable("browser_session.enabled",
							 "Lets the background worker end sessions.",
							 "Off, it ends none and only saves audit rows.",
							 &browser_session_enabled, true,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("browser_session.max_attempts",
							"Attempts before a session is given up.",
							"Its state is then \"failed\".",
							&browser_session_max_attempts,
							BS_MAX_ATTEMPTS_DEFAULT,
							BS_MAX_ATTEMPTS_MIN,
							BS_MAX_ATTEMPTS_MAX,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("browser_session.retry_delay",
							"Pause after the first failed attempt.",
							"It doubles with each further one.",
							&browser_session_retry_delay,
							BS_RETRY_DELAY_DEFAULT,
							BS_RETRY_DELAY_MIN,
							BS_RETRY_DELAY_MAX,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("browser_session.max_retry_delay",
							"Longest pause between two attempts.",
							"Unless the provider asks for a longer one.",
							&browser_session_max_retry_delay,
							BS_MAX_RETRY_DELAY_DEFAULT,
							BS_MAX_RETRY_DELAY_MIN,
							BS_MAX_RETRY_DELAY_MAX,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("browser_session.retention",
							"How long audit rows and ended sessions are kept.",
							"-1 keeps them for ever.",
							&browser_session_retention,
							BS_RETENTION_DEFAULT,
							BS_RETENTION_MIN,
							BS_RETENTION_MAX,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
}

/*
 * Defines the settings and reserves their prefix.  Called once per process,
 * from _PG_init().
 */
void
bs_settings_define(void)
{
	DefineCustomIntVariable("browser_session.request_timeout",
							"Time allowed for one exchange with a provider.",
							"A server's option \"timeout\" goes before it.",
							&browser_session_request_timeout,
							BS_REQUEST_TIMEOUT_DEFAULT,
							BS_REQUEST_TIMEOUT_MIN,
							BS_REQUEST_TIMEOUT_MAX,
							PGC_USERSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("browser_session.max_in_flight",
							"Exchanges under way at once.",
							"A server's option \"max_in_flight\" can only "
							"lower it.",
							&browser_session_max_in_flight,
							BS_MAX_IN_FLIGHT_DEFAULT,
							BS_MAX_IN_FLIGHT_MIN,
							BS_MAX_IN_FLIGHT_MAX,
							PGC_SUSET, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("browser_session.max_response_size",
							"Size up to which a provider's reply is read.",
							"A longer one has the outcome \"bad_reply\".",
							&browser_session_max_response_size,
							BS_MAX_RESPONSE_SIZE_DEFAULT,
							BS_MAX_RESPONSE_SIZE_MIN,
							BS_MAX_RESPONSE_SIZE_MAX,
							PGC_SUSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	define_worker_settings();

	MarkGUCPrefixReserved("browser_session");
}
