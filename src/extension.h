/*
 * extension.h
 *		Where the extension is installed in this database.
 */
#ifndef BS_EXTENSION_H
#define BS_EXTENSION_H

#define BS_EXTENSION	"browser_session"

typedef struct BsExtension
{
	Oid			oid;
	Oid			owner;			/* role that owns its tables */
	Oid			schema;
	Oid			tracked;		/* table bsession_tracked */
	Oid			audit;			/* table bsession_audit */
	Oid			numbers;		/* its sequence */
	Oid			home;			/* table bsession_home */
} BsExtension;

extern bool bs_extension_exists(void);
extern bool bs_extension_find(BsExtension *extension);
extern bool bs_extension_lock(const BsExtension *extension);
extern void bs_extension_get(BsExtension *extension);
extern bool bs_extension_is(Oid oid);

#endif							/* BS_EXTENSION_H */
