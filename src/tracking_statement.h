/*
 * tracking_statement.h
 *		Running a statement on the extension's tables.
 */
#ifndef BS_TRACKING_STATEMENT_H
#define BS_TRACKING_STATEMENT_H

#include "executor/spi.h"
#include "extension.h"
#include "tracking.h"

#define BS_MAX_ARGUMENTS	18

/* A statement with its plan. */
typedef struct BsStatement
{
	const char *sql;			/* @ stands for the extension's schema */
	int			narguments;
	Oid			type[BS_MAX_ARGUMENTS];

	/* tracking_statement.c's own */
	SPIPlanPtr	plan;
	Oid			made_for;		/* bsession_tracked's oid, */
	NameData	schema;			/* and the schema's name then */
} BsStatement;

typedef struct BsScope
{
	BsExtension extension;
	const char *schema;			/* the extension's; of statements only */
	int			settings;		/* bs_settings_begin()'s */
	Oid			role;			/* the caller's */
	int			security;		/* likewise */
	MemoryContext context;		/* likewise */
} BsScope;

extern int	bs_settings_begin(void);
extern void bs_settings_end(int level);
extern void bs_scope_begin(BsScope *scope);
extern void bs_scope_end(BsScope *scope);
extern void bs_statement_begin_reading(BsScope *scope);
extern void bs_statement_begin(BsScope *scope);
extern void bs_statement_guard(Oid table);
extern void bs_statement_guard_deletion(Oid table);
extern void bs_statement_end(BsScope *scope);
extern uint64 bs_statement_run(BsScope *scope, BsStatement *statement,
							   Datum *arguments, const bool *nulls);
extern Datum bs_statement_get(uint64 row, int column, bool *null);
extern char *bs_statement_text(BsScope *scope, uint64 row, int column);
extern Datum bs_name(const char *name);
extern Datum bs_role_name(Oid role);
extern Datum bs_int_array(const int *numbers, int n);
extern Datum bs_text_array(const char *const *texts, int n);

/* tracking_home.c's, for those who claim. */
extern bool bs_home_is_ours(Oid table);

/* tracking_attempt.c's, for all that settle. */
extern void bs_settlement_arguments(Datum *arguments,
									const BsSettlement *settlements, int n);

#endif							/* BS_TRACKING_STATEMENT_H */
