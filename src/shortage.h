/*
 * shortage.h
 *		Want of memory in a library that PostgreSQL does not allocate for:
 *		PostgreSQL's own error, instead of what the library makes of it.
 */
#ifndef BS_SHORTAGE_H
#define BS_SHORTAGE_H

#ifdef FRONTEND
#define bs_raise_shortage(what) \
	(fprintf(stderr, "out of memory: %s\n", (what)), exit(1))
#else
#define bs_raise_shortage(what) \
	ereport(ERROR, \
			(errcode(ERRCODE_OUT_OF_MEMORY), \
			 errmsg("out of memory"), \
			 errdetail("There was not enough for %s.", (what))))
#endif

#endif							/* BS_SHORTAGE_H */
