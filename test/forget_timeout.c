/*
 * forget_timeout.c
 *		A libcurl that forgets the time-outs it is given, to be preloaded: as
 *		some versions do, so that whoever waits must notice by himself.
 */
#define CURL_DISABLE_TYPECHECK

#include <dlfcn.h>
#include <stdarg.h>

#include <curl/curl.h>

#undef curl_easy_setopt

typedef CURLcode (*SetOption) (CURL *easy, CURLoption option, ...);

CURLcode
curl_easy_setopt(CURL *easy, CURLoption option, ...)
{
	va_list		arguments;
	void	   *value;
	SetOption	real;

	if (option == CURLOPT_TIMEOUT_MS || option == CURLOPT_CONNECTTIMEOUT_MS)
		return CURLE_OK;
	*(void **) &real = dlsym(RTLD_NEXT, "curl_easy_setopt");
	/* Numbers and pointers are passed in the same way. */
	va_start(arguments, option);
	value = va_arg(arguments, void *);
	va_end(arguments);
	return real(easy, option, value);
}
