/*
 * redact.c
 *		Takes secrets out of text that others will see.
 *
 * A provider may repeat in its answer what it was sent: the key itself, the
 * URL with the token in it, the Authorization header.  What is shown or kept
 * of an answer therefore passes through here.  A secret is recognised as it
 * is, in base64 (padded or not, either alphabet), and in both cases with any
 * of its characters escaped as URLs, JSON and HTML do.
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
 * Notes with which bytes a form can begin in a text: its own first one, or an
 * escape, whatever it stands for.
 */
static void
note_start(BsSecrets *secrets, const char *form)
{
	for (const char *p = "&\\%"; *p; p++)
		secrets->starts[(unsigned char) *p] = true;
	secrets->starts[(unsigned char) *form] = true;
	if (*form == '+')
		secrets->starts[' '] = true;
}

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
	note_start(secrets, form);
}

/*
 * Adds a text in base64, in both alphabets and without the padding, which may
 * or may not follow.
 */
static void
add_base64(BsSecrets *secrets, const char *text)
{
	int			length = (int) strlen(text);
	int			room = pg_b64_enc_len(length) + 1;
	char	   *encoded = palloc(room);
	int			written = pg_b64_encode((const void *) text, length, encoded,
										room - 1);
	char	   *other;

	if (written < 0)
		return;
	while (written > 0 && encoded[written - 1] == '=')
		written--;
	encoded[written] = '\0';
	other = pstrdup(encoded);
	for (char *p = other; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	add_form(secrets, encoded);
	add_form(secrets, other);
}

/*
 * Adds every form of a secret.  NULL and empty ones add nothing.  The forms
 * are allocated in the current memory context.
 */
void
bs_redact_add(BsSecrets *secrets, const char *secret)
{
	if (secret == NULL || *secret == '\0')
		return;
	add_form(secrets, pstrdup(secret));
	add_base64(secrets, secret);
}

/*
 * Adds what HTTP's basic authentication makes of a user name and password.
 */
void
bs_redact_add_pair(BsSecrets *secrets, const char *username,
				   const char *password)
{
	char	   *pair = psprintf("%s:%s", username, password);

	add_base64(secrets, pair);
	bs_redact_wipe(pair);
	pfree(pair);
}

static int
hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
		c >= 'a' && c <= 'f' ? c - 'a' + 10 :
		c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/*
 * Returns the character at *text and moves *text behind it, with any escaping
 * of it undone: percent-encoding, of whatever depth; a backslash before
 * punctuation; an entity of HTML.
 */
static unsigned char
next_character(const char **text)
{
	static const struct
	{
		const char *entity;
		char		c;
	}			entities[] = {
		{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'},
		{"&#34;", '"'}, {"&#39;", '\''}, {"&#x27;", '\''}, {"&#x2F;", '/'}
	};
	unsigned char c;

	for (int i = 0; **text == '&' && i < (int) lengthof(entities); i++)
	{
		size_t		length = strlen(entities[i].entity);

		if (pg_strncasecmp(*text, entities[i].entity, length) == 0)
		{
			*text += length;
			return (unsigned char) entities[i].c;
		}
	}
	c = (unsigned char) *(*text)++;
	if (c == '\\' && **text != '\0' && ispunct((unsigned char) **text))
		c = (unsigned char) *(*text)++;
	while (c == '%' && hex_value((*text)[0]) >= 0 &&
		   hex_value((*text)[1]) >= 0)
	{
		c = (unsigned char) (hex_value((*text)[0]) * 16 +
							 hex_value((*text)[1]));
		*text += 2;
	}
	return c;
}

/*
 * Returns how many bytes of "text" a form takes up at its beginning, or 0.
 */
static size_t
match(const char *text, const char *form)
{
	const char *p = text;

	for (; *form; form++)
	{
		const char *behind = p;

		if (*p == '\0')
			return 0;
		if (next_character(&behind) == (unsigned char) *form)
			p = behind;
		else if (*p == *form || (*form == '+' && *p == ' '))
			p++;				/* not escaped at all, or as in a form */
		else
			return 0;
	}
	return p - text;
}

/*
 * Adds a secret as it stands in a URL's query, perhaps percent-encoded.
 */
void
bs_redact_add_encoded(BsSecrets *secrets, const char *encoded)
{
	const char *encoded_whole = encoded;
	StringInfoData decoded;

	if (encoded == NULL)
		return;
	initStringInfo(&decoded);
	while (*encoded != '\0')
		appendStringInfoChar(&decoded, (char) next_character(&encoded));
	bs_redact_add(secrets, encoded_whole);
	bs_redact_add(secrets, decoded.data);
	bs_redact_wipe(decoded.data);
	pfree(decoded.data);
}

/*
 * Returns where in "text" the first secret is, and sets *length to how long it
 * is; the end of "text" and 0 if there is none.
 */
static const char *
find_secret(const BsSecrets *secrets, const char *text, size_t *length)
{
	*length = 0;
	for (; *text != '\0'; text++)
	{
		if (!secrets->starts[(unsigned char) *text])
			continue;
		for (int i = 0; i < secrets->nforms && *length == 0; i++)
			*length = match(text, secrets->form[i]);
		if (*length > 0)
			break;
	}
	return text;
}

/*
 * Is there any form of any secret in "text"?
 */
bool
bs_redact_finds(const BsSecrets *secrets, const char *text)
{
	size_t		length;

	(void) find_secret(secrets, text, &length);
	return length > 0;
}

/*
 * Returns a copy of "text" with every form of every secret replaced.
 */
char *
bs_redact(const BsSecrets *secrets, const char *text)
{
	StringInfoData buf;
	size_t		length;

	initStringInfo(&buf);
	do
	{
		const char *secret = find_secret(secrets, text, &length);

		appendBinaryStringInfo(&buf, text, (int) (secret - text));
		if (length > 0)
			appendStringInfoString(&buf, REDACTED);
		text = secret + length;
	} while (length > 0);
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
 * Copies every form of every secret into the current memory context.
 */
void
bs_redact_copy(BsSecrets *to, const BsSecrets *from)
{
	*to = *from;
	for (int i = 0; i < from->nforms; i++)
		to->form[i] = pstrdup(from->form[i]);
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
	memset(secrets->starts, 0, sizeof(secrets->starts));
}
