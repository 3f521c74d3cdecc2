/*
 * shared.h
 *		The shared memory of the extension.
 */
#ifndef BS_SHARED_H
#define BS_SHARED_H

extern void bs_shared_request(void);

#endif							/* BS_SHARED_H */
