/*
 * redact.h
 *		The forms a secret can take in text, and taking them out of it.
 */
#ifndef BS_REDACT_H
#define BS_REDACT_H

/* A key or a pair with both its halves, and a token as given and decoded. */
#define BS_MAX_SECRET_FORMS		20

typedef struct BsSecrets
{
	int			nforms;
	char	   *form[BS_MAX_SECRET_FORMS];	/* never empty; + for a space */
} BsSecrets;

extern void bs_redact_add(BsSecrets *secrets, const char *secret);
extern void bs_redact_add_pair(BsSecrets *secrets, const char *username,
							   const char *password);
extern void bs_redact_add_encoded(BsSecrets *secrets, const char *encoded);
extern bool bs_redact_finds(const BsSecrets *secrets, const char *text);
extern char *bs_redact(const BsSecrets *secrets, const char *text);
extern void bs_redact_copy(BsSecrets *to, const BsSecrets *from);
extern void bs_redact_wipe(char *secret);
extern void bs_redact_wipe_all(BsSecrets *secrets);

#endif							/* BS_REDACT_H */
