/*
 * hooks.h
 *		Commands that concern the workers.
 */
#ifndef BS_HOOKS_H
#define BS_HOOKS_H

extern void bs_hooks_install(void);

#endif							/* BS_HOOKS_H */
