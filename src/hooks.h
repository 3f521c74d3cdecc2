/*
 * hooks.h
 *		What is done before commands are run.
 */
#ifndef BS_HOOKS_H
#define BS_HOOKS_H

extern void bs_hooks_install(bool with_workers);

#endif							/* BS_HOOKS_H */
