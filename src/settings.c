/*
 * settings.c
 *		Every browser_session.* setting, defined here and nowhere else.
 *
 * A server's own option (timeout, max_in_flight) goes before the setting of
 * the same meaning.  The two settings that bound what a caller may use of the
 * machine are for superusers.
 */
#include "postgres.h"

#include "settings.h"
#include "utils/guc.h"

int			browser_session_request_timeout = BS_REQUEST_TIMEOUT_DEFAULT;
int			browser_session_max_in_flight = BS_MAX_IN_FLIGHT_DEFAULT;
int			browser_session_max_response_size = BS_MAX_RESPONSE_SIZE_DEFAULT;

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

	MarkGUCPrefixReserved("browser_session");
}
