/*
 * launcher.h
 *		The process that has every database with the extension get a worker.
 */
#ifndef BS_LAUNCHER_H
#define BS_LAUNCHER_H

extern void bs_launcher_register(void);
extern PGDLLEXPORT void browser_session_launcher_main(Datum arg);

#endif							/* BS_LAUNCHER_H */
