/*
 * redact.c
 *		Takes secrets out of text that others will see.
 *
 * A provider may repeat in its answer what it was sent: the key itself, the
 * URL with the token in it, the Authorization header.  What is shown or kept
 * of an answer therefore passes through here.  A secret is recognised as it
 * is, in base64 (padded or not, either alphabet), and in both cases under up
 * to MAX_LAYERS layers of escapes, as URLs, JSON, programs and HTML have them,
 * in any order.
 *
 * A layer is undone in the whole text at once, whose forms are then looked for
 * as they are; so the work grows with the length of the text and with nothing
 * else.  A text with yet another layer below the last is taken out whole.
 *
 * Needs no server: it is built into the fuzz targets as well.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "common/base64.h"
#include "escape.h"
#include "lib/stringinfo.h"
#include "redact.h"
#ifndef FRONTEND
#include "miscadmin.h"
#endif

#define REDACTED "[redacted]"

/* Nobody wraps a text more often; each one triples the work. */
#define MAX_LAYERS	3

/* A text with some layers of escapes undone. */
typedef struct Layer
{
	char	   *text;
	size_t		length;
	bool	   *hidden;			/* by byte: is it part of a secret? */
} Layer;

/* What is to be hidden of a text. */
typedef enum Finding
{
	NOTHING,
	SECRETS,
	EVERYTHING
} Finding;

/*
 * Takes over "form", unless it is there already.
 */
static void
add_form(BsSecrets *secrets, char *form)
{
	for (char *p = form; *p; p++)
		*p = *p == ' ' ? '+' : *p;
	for (int i = 0; i < secrets->nforms; i++)
	{
		if (strcmp(secrets->form[i], form) == 0)
		{
			bs_redact_wipe(form);
			pfree(form);
			return;
		}
	}
	Assert(secrets->nforms < BS_MAX_SECRET_FORMS);
	secrets->form[secrets->nforms++] = form;
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

/*
 * Adds a secret as it stands in a URL's query, perhaps percent-encoded.
 */
void
bs_redact_add_encoded(BsSecrets *secrets, const char *encoded)
{
	char	   *decoded;
	char	   *end;
	size_t		nbytes;

	if (encoded == NULL)
		return;
	bs_redact_add(secrets, encoded);
	/* It does not become longer, but each step needs its room. */
	decoded = end = palloc(strlen(encoded) + BS_ESCAPE_MAX);
	while (*encoded != '\0')
	{
		encoded += bs_escape_undo(BS_ESCAPE_PERCENT, encoded, strlen(encoded),
								  end, &nbytes);
		end += nbytes;
	}
	*end = '\0';
	bs_redact_add(secrets, decoded);
	bs_redact_wipe(decoded);
	pfree(decoded);
}

/* ----------------------------------------------------------------
 * Looking for secrets
 * ----------------------------------------------------------------
 */

/*
 * Makes room for a layer of that many bytes, none of them hidden.
 */
static void
create_layer(Layer *layer, size_t length)
{
	layer->text = palloc(length + BS_ESCAPE_MAX);
	layer->length = 0;
	layer->hidden = palloc0(Max(length, 1) * sizeof(bool));
}

static void
free_layer(Layer *layer)
{
	pfree(layer->text);
	pfree(layer->hidden);
}

/*
 * Hides every secret that is in a layer as it is.
 */
static Finding
hide_forms(const BsSecrets *secrets, Layer *layer)
{
	const char *end = layer->text + layer->length;
	Finding		finding = NOTHING;

	for (int i = 0; i < secrets->nforms; i++)
	{
		const char *form = secrets->form[i];
		size_t		length = strlen(form);
		const char *p = layer->text;

		while ((p = memmem(p, end - p, form, length)) != NULL)
		{
			memset(layer->hidden + (p - layer->text), true, length);
			p += length;
			finding = SECRETS;
		}
	}
	return finding;
}

/*
 * Makes "to" of a layer by undoing one kind of escapes.  Returns whether
 * there were any.
 */
static bool
undo_escapes(BsEscape kind, const Layer *from, Layer *to)
{
	const char *p = from->text;
	size_t		nbytes;

	for (size_t left = from->length; left > 0;)
	{
		size_t		used = bs_escape_undo(kind, p, left,
										  to->text + to->length, &nbytes);

		if (used > 1 && nbytes == 1 && to->text[to->length] == ' ')
			to->text[to->length] = '+';
		to->length += nbytes;
		p += used;
		left -= used;
	}
	return to->length < from->length;
}

/*
 * Hides in a layer what is hidden in the one that was made of it.
 */
static void
hide_origins(BsEscape kind, Layer *from, const Layer *made)
{
	size_t		at = 0;
	size_t		made_at = 0;
	char		bytes[BS_ESCAPE_MAX];
	size_t		nbytes;

	while (at < from->length)
	{
		size_t		used = bs_escape_undo(kind, from->text + at,
										  from->length - at, bytes, &nbytes);

		if (memchr(made->hidden + made_at, 1, nbytes) != NULL)
			memset(from->hidden + at, true, used);
		at += used;
		made_at += nbytes;
	}
}

/*
 * Hides every secret in a layer, as it is and below "layers" more of them.
 */
static Finding
hide_secrets(const BsSecrets *secrets, Layer *layer, int layers)
{
	Finding		finding = hide_forms(secrets, layer);

#ifndef FRONTEND
	/* With an answer of many MB a layer takes seconds. */
	CHECK_FOR_INTERRUPTS();
#endif
	for (int kind = 0; kind < BS_NESCAPES && finding != EVERYTHING; kind++)
	{
		Layer		below;
		Finding		found = NOTHING;

		if (!bs_escape_has(kind, layer->text, layer->length))
			continue;
		create_layer(&below, layer->length);
		if (undo_escapes(kind, layer, &below))
			found = layers == 0 ? EVERYTHING :
				hide_secrets(secrets, &below, layers - 1);
		if (found == SECRETS)
			hide_origins(kind, layer, &below);
		free_layer(&below);
		finding = Max(finding, found);
	}
	return finding;
}

/*
 * Makes the outermost layer of a text, and hides every secret in it.
 */
static Finding
look_into(const BsSecrets *secrets, const char *text, Layer *layer)
{
	size_t		length = strlen(text);

	create_layer(layer, length);
	for (; layer->length < length; layer->length++)
		layer->text[layer->length] = text[layer->length] == ' ' ? '+' :
			text[layer->length];
	return hide_secrets(secrets, layer, MAX_LAYERS);
}

/*
 * Is the text too short for any form of any secret?  Escapes only make it
 * longer.
 */
static bool
is_too_short(const BsSecrets *secrets, const char *text)
{
	for (int i = 0; i < secrets->nforms; i++)
	{
		size_t		length = strlen(secrets->form[i]);

		if (strnlen(text, length) == length)
			return false;
	}
	return true;
}

/*
 * Is there any form of any secret in "text"?
 */
bool
bs_redact_finds(const BsSecrets *secrets, const char *text)
{
	Layer		layer;
	Finding		finding;

#ifndef FRONTEND
	/* An answer can have millions of values. */
	CHECK_FOR_INTERRUPTS();
#endif
	if (is_too_short(secrets, text))
		return false;
	finding = look_into(secrets, text, &layer);
	free_layer(&layer);
	return finding != NOTHING;
}

/*
 * Returns a copy of "text" with every form of every secret replaced.
 */
char *
bs_redact(const BsSecrets *secrets, const char *text)
{
	Layer		layer;
	Finding		finding;
	StringInfoData buf;

	if (is_too_short(secrets, text))
		return pstrdup(text);
	finding = look_into(secrets, text, &layer);
	initStringInfo(&buf);
	if (finding == EVERYTHING)
		appendStringInfoString(&buf, REDACTED);
	else if (finding == NOTHING)
		appendStringInfoString(&buf, text);
	for (size_t i = 0; finding == SECRETS && i < layer.length; i++)
	{
		if (!layer.hidden[i])
			appendStringInfoChar(&buf, text[i]);
		else if (i == 0 || !layer.hidden[i - 1])
			appendStringInfoString(&buf, REDACTED);
	}
	free_layer(&layer);
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
}
