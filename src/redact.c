/*
 * redact.c
 *		Takes secrets out of text that others will see.
 *
 * A provider may repeat in its answer what it was sent: the key itself, the
 * URL with the token in it, the Authorization header.  What is shown or kept
 * of an answer therefore passes through here, with every form in which the
 * secret went out: as it is, percent-encoded, and in base64.
 *
 * Needs no server: it is built into the fuzz targets as well.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "common/base64.h"
#include "lib/stringinfo.h"
#include "redact.h"

#define REDACTED "[redacted]"

/*
 * Keeps the forms sorted by length, the longest first: where one form holds
 * another, the whole of it has to go.  Takes over "form"; drops it if it is
 * there already.
 */
static void
add_form(BsSecrets *secrets, char *form)
{
	int			at = 0;

	for (int i = 0; i < secrets->nforms; i++)
	{
		if (strcmp(secrets->form[i], form) == 0)
		{
			bs_redact_wipe(form);
			pfree(form);
			return;
		}
		if (strlen(secrets->form[i]) >= strlen(form))
			at = i + 1;
	}
	Assert(secrets->nforms < BS_MAX_SECRET_FORMS);
	memmove(&secrets->form[at + 1], &secrets->form[at],
			(secrets->nforms - at) * sizeof(char *));
	secrets->form[at] = form;
	secrets->nforms++;
}

/*
 * Returns "text" percent-encoded with hex digits of the given case.
 */
static char *
percent_encode(const char *text, const char *hex)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const unsigned char *p = (const unsigned char *) text; *p; p++)
	{
		if ((*p < 0x80 && isalnum(*p)) || strchr("-._~", *p) != NULL)
			appendStringInfoChar(&buf, (char) *p);
		else
			appendStringInfo(&buf, "%%%c%c", hex[*p >> 4], hex[*p & 15]);
	}
	return buf.data;
}

/*
 * Returns "text" in base64, or NULL if it cannot be encoded.
 */
static char *
base64_encode(const char *text)
{
	int			length = (int) strlen(text);
	int			room = pg_b64_enc_len(length) + 1;
	char	   *encoded = palloc(room);
	int			written = pg_b64_encode((const void *) text, length,
										encoded, room - 1);

	if (written < 0)
	{
		pfree(encoded);
		return NULL;
	}
	encoded[written] = '\0';
	return encoded;
}

/*
 * Adds every form of a secret.  NULL and empty ones add nothing.  The forms
 * are allocated in the current memory context.
 */
void
bs_redact_add(BsSecrets *secrets, const char *secret)
{
	char	   *encoded;

	if (secret == NULL || *secret == '\0')
		return;
	add_form(secrets, pstrdup(secret));
	add_form(secrets, percent_encode(secret, "0123456789ABCDEF"));
	add_form(secrets, percent_encode(secret, "0123456789abcdef"));
	encoded = base64_encode(secret);
	if (encoded != NULL)
		add_form(secrets, encoded);
}

/*
 * Adds what HTTP's basic authentication makes of a user name and password.
 */
void
bs_redact_add_pair(BsSecrets *secrets, const char *username,
				   const char *password)
{
	char	   *pair = psprintf("%s:%s", username, password);
	char	   *encoded = base64_encode(pair);

	if (encoded != NULL)
		add_form(secrets, encoded);
	bs_redact_wipe(pair);
	pfree(pair);
}

/*
 * Returns a copy of "text" with its percent-encoding undone.
 */
static char *
percent_decode(const char *text)
{
	char	   *decoded = palloc(strlen(text) + 1);
	char	   *to = decoded;

	while (*text != '\0')
	{
		unsigned	byte;

		if (text[0] == '%' && isxdigit((unsigned char) text[1]) &&
			isxdigit((unsigned char) text[2]) &&
			sscanf(text + 1, "%2x", &byte) == 1)
		{
			*to++ = (char) byte;
			text += 3;
		}
		else
			*to++ = *text++;
	}
	*to = '\0';
	return decoded;
}

/*
 * Adds a secret as it stands in a URL's query, perhaps percent-encoded.
 */
void
bs_redact_add_encoded(BsSecrets *secrets, const char *encoded)
{
	char	   *decoded;

	if (encoded == NULL || *encoded == '\0')
		return;
	add_form(secrets, pstrdup(encoded));
	decoded = percent_decode(encoded);
	bs_redact_add(secrets, decoded);
	bs_redact_wipe(decoded);
	pfree(decoded);
}

/*
 * Returns a copy of "text" with every form of every secret replaced.
 */
char *
bs_redact(const BsSecrets *secrets, const char *text)
{
	StringInfoData buf;

	initStringInfo(&buf);
	while (*text != '\0')
	{
		int			i;

		for (i = 0; i < secrets->nforms; i++)
		{
			size_t		length = strlen(secrets->form[i]);

			if (strncmp(text, secrets->form[i], length) == 0)
			{
				appendStringInfoString(&buf, REDACTED);
				text += length;
				break;
			}
		}
		if (i == secrets->nforms)
			appendStringInfoChar(&buf, *text++);
	}
	return buf.data;
}

/*
 * Overwrites a string that held a secret.  The compiler cannot leave it out.
 */
void
bs_redact_wipe(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
}

/*
 * Overwrites every form of every secret.
 */
void
bs_redact_wipe_all(BsSecrets *secrets)
{
	for (int i = 0; i < secrets->nforms; i++)
		bs_redact_wipe(secrets->form[i]);
	secrets->nforms = 0;
}
