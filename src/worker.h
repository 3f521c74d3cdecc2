/*
 * worker.h
 *		The background worker of a database.
 */
#ifndef BS_WORKER_H
#define BS_WORKER_H

extern PGDLLEXPORT void browser_session_worker_main(Datum slot);

#define BS_WORKER_MAIN	"browser_session_worker_main"

#endif							/* BS_WORKER_H */
