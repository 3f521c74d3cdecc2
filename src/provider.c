/*
 * provider.c
 *		The catalogue of built-in providers.
 *
 * A new provider is a new row here and a row of tests; no other file knows
 * one by name.  Each row follows the provider's own document (column
 * "document" of bsession_providers()), quirks included:
 *
 * - stagehand documents no body for its POST, so none is sent; its reply
 *   says {"success":true}, and false is no end;
 * - anchor's 401 means "invalid API key or browser session ID", so a read of
 *   the session settles which; DELETE …/sessions/all would end everybody's,
 *   which is why that id is refused for every provider;
 * - browser_use answers with the session, and its status decides;
 * - browserless has its token in the URL and hands out a ready stop URL;
 * - browserbase only accepts the request: the session may still be RUNNING
 *   and is read again until it is not; its document does not say how it
 *   refuses to release a session that is over, so a refusal is settled by a
 *   read too;
 * - webdriver is W3C WebDriver: chromedriver says 200 for a session it does
 *   not know, a Selenium Grid 404 "invalid session id".
 *
 * Needs no server: it is built into the fuzz targets as well.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "provider.h"

static const BsProvider catalogue[] = {
	{
		.name = "stagehand",
		.document = "https://docs.stagehand.dev",
		.field = {
			[BS_BASE_URL] = "https://api.stagehand.browserbase.com",
			[BS_AUTH] = "header:x-bb-api-key",
			[BS_END_METHOD] = "POST",
			[BS_END_PATH] = "/v1/sessions/{id}/end",
			[BS_PROJECT] = "header:x-bb-project-id",
			[BS_REPLY] = "json",
			[BS_GONE_STATUS] = "404,410",
			[BS_STATUS_FIELD] = "success",
			[BS_STATUS_REQUIRED] = "true",
			[BS_ENDED_STATUS] = "true",
		},
	},
	{
		.name = "anchor",
		.document = "https://docs.anchorbrowser.io/api-reference/"
		"browser-sessions/end-browser-session",
		.field = {
			[BS_BASE_URL] = "https://api.anchorbrowser.io",
			[BS_AUTH] = "header:anchor-api-key",
			[BS_END_METHOD] = "DELETE",
			[BS_END_PATH] = "/v1/sessions/{id}",
			[BS_CONFIRM_PATH] = "/v1/sessions/{id}",
			[BS_REPLY] = "json",
			[BS_GONE_STATUS] = "404,410",
			[BS_AMBIGUOUS_STATUS] = "401",
			[BS_SUCCESS_FIELD] = "data",
			[BS_STATUS_FIELD] = "data.status",
			[BS_LIVE_STATUS] = "running,active,idle,created,pending,"
			"starting,started,live,open,ending,stopping,closing,"
			"terminating,deleting",
			[BS_ENDED_STATUS] = "completed,ended,stopped,terminated,"
			"finished,closed,deleted,expired,timeout,timed_out,failed,error",
		},
	},
	{
		.name = "browser_use",
		.document = "https://docs.browser-use.com",
		.field = {
			[BS_BASE_URL] = "https://api.browser-use.com",
			[BS_AUTH] = "header:X-Browser-Use-API-Key",
			[BS_END_METHOD] = "POST",
			[BS_END_PATH] = "/api/v3/sessions/{id}/stop",
			[BS_CONFIRM_PATH] = "/api/v3/sessions/{id}",
			[BS_REPLY] = "json",
			[BS_GONE_STATUS] = "404,410",
			[BS_STATUS_FIELD] = "status",
			[BS_STATUS_REQUIRED] = "true",
			[BS_LIVE_STATUS] = "created,idle,running",
			[BS_ENDED_STATUS] = "stopped",
			[BS_TERMINAL_STATUS] = "timed_out,error",
		},
	},
	{
		.name = "browser_use_browser",
		.document = "https://docs.browser-use.com",
		.field = {
			[BS_BASE_URL] = "https://api.browser-use.com",
			[BS_AUTH] = "header:X-Browser-Use-API-Key",
			[BS_END_METHOD] = "PATCH",
			[BS_END_PATH] = "/api/v3/browsers/{id}",
			[BS_END_BODY] = "{\"action\":\"stop\"}",
			[BS_CONFIRM_PATH] = "/api/v3/browsers/{id}",
			[BS_REPLY] = "json",
			[BS_GONE_STATUS] = "404,410",
			[BS_STATUS_FIELD] = "status",
			[BS_STATUS_REQUIRED] = "true",
			[BS_LIVE_STATUS] = "active",
			[BS_ENDED_STATUS] = "stopped",
			[BS_ENDED_AT_FIELD] = "finishedAt",
		},
	},
	{
		.name = "browserless",
		.document = "https://docs.browserless.io",
		.field = {
			[BS_BASE_URL] = "https://production-sfo.browserless.io",
			[BS_AUTH] = "query:token",
			[BS_END_METHOD] = "DELETE",
			[BS_END_PATH] = "/session/{id}?force=true",
			[BS_REPLY] = "any",
			[BS_ID_URL] = "true",
			[BS_GONE_STATUS] = "404,410",
		},
	},
	{
		.name = "browserbase",
		.document = "https://docs.browserbase.com/reference/api/"
		"update-a-session",
		.field = {
			[BS_BASE_URL] = "https://api.browserbase.com",
			[BS_AUTH] = "header:X-BB-API-Key",
			[BS_END_METHOD] = "POST",
			[BS_END_PATH] = "/v1/sessions/{id}",
			[BS_END_BODY] = "{\"status\":\"REQUEST_RELEASE\"}",
			[BS_CONFIRM_PATH] = "/v1/sessions/{id}",
			[BS_PROJECT] = "body:projectId",
			[BS_REPLY] = "json",
			[BS_GONE_STATUS] = "404,410",
			[BS_AMBIGUOUS_STATUS] = "400,409",
			[BS_STATUS_FIELD] = "status",
			[BS_STATUS_REQUIRED] = "true",
			[BS_LIVE_STATUS] = "PENDING,RUNNING",
			[BS_ENDED_STATUS] = "COMPLETED",
			[BS_TERMINAL_STATUS] = "TIMED_OUT,ERROR",
			[BS_ENDED_AT_FIELD] = "endedAt",
		},
	},
	{
		.name = "webdriver",
		.document = "https://www.w3.org/TR/webdriver2/#delete-session",
		.field = {
			[BS_BASE_URL] = "http://127.0.0.1:9515",
			[BS_AUTH] = "none",
			[BS_END_METHOD] = "DELETE",
			[BS_END_PATH] = "/session/{id}",
			[BS_REPLY] = "json",
			[BS_GONE_STATUS] = "404",
			[BS_GONE_MATCH] = "invalid session id",
			[BS_SUCCESS_FIELD] = "value",
		},
	},
};

/* What the options of provider "custom" are laid over. */
static const BsProvider custom = {
	.name = BS_CUSTOM,
	.field = {
		[BS_AUTH] = "bearer",
		[BS_END_METHOD] = "DELETE",
		[BS_REPLY] = "any",
		[BS_GONE_STATUS] = "404,410",
	},
};

/*
 * Returns the built-in provider of that name, or "custom", or NULL.
 */
const BsProvider *
bs_provider_find(const char *name)
{
	for (int i = 0; i < (int) lengthof(catalogue); i++)
	{
		if (strcmp(catalogue[i].name, name) == 0)
			return &catalogue[i];
	}
	return strcmp(name, custom.name) == 0 ? &custom : NULL;
}

/*
 * Returns the i-th built-in provider, or NULL past the last one.
 */
const BsProvider *
bs_provider_at(int i)
{
	return i < (int) lengthof(catalogue) ? &catalogue[i] : NULL;
}

/*
 * Returns every name that bs_provider_find() knows, for a hint.
 */
const char *
bs_provider_names(void)
{
	char	   *names = pstrdup("");

	for (int i = 0; i < (int) lengthof(catalogue); i++)
		names = psprintf("%s%s, ", names, catalogue[i].name);
	return psprintf("%s%s", names, custom.name);
}
