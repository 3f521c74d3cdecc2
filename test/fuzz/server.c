/*
 * server.c
 *		What the fuzz targets have in the place of PostgreSQL's server: the
 *		functions that options.c calls, and a call of the validator that
 *		catches the error.
 *
 * They are compiled with the server's own headers, so options.c is what the
 * server loads.
 */
#include "postgres.h"

#include <math.h>
#include <setjmp.h>

#include "access/reloptions.h"
#include "commands/defrem.h"
#include "encoding.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "server.h"
#include "utils/guc.h"

extern Datum bsession_validator(PG_FUNCTION_ARGS);

bool		server_superuser;

static jmp_buf caught;
static Raised *current;

/* ----------------------------------------------------------------
 * Errors
 * ----------------------------------------------------------------
 */

bool
errstart(int elevel, const char *domain)
{
	(void) domain;
	if (elevel < ERROR)
		abort();
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	(void) filename;
	(void) lineno;
	(void) funcname;
	longjmp(caught, 1);
}

int
errcode(int sqlerrcode)
{
	current->sqlerrcode = sqlerrcode;
	return 0;
}

static char *
format_text(const char *format, va_list args)
{
	va_list		again;
	int			length;
	char	   *text;

	va_copy(again, args);
	length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	text = palloc(length + 1);
	vsnprintf(text, length + 1, format, args);
	return text;
}

int
errmsg(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	current->message = format_text(fmt, args);
	va_end(args);
	return 0;
}

int
errdetail(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	current->detail = format_text(fmt, args);
	va_end(args);
	return 0;
}

int
errhint(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	current->hint = format_text(fmt, args);
	va_end(args);
	return 0;
}

/* ----------------------------------------------------------------
 * Options
 * ----------------------------------------------------------------
 */

static DefElem *
make_option(const char *line, size_t length)
{
	DefElem    *option = palloc0(sizeof(DefElem));
	String	   *value = palloc0(sizeof(String));
	size_t		name = 0;

	while (name < length && line[name] != '=')
		name++;
	option->type = T_DefElem;
	option->defname = pnstrdup(line, name);
	value->type = T_String;
	value->sval = name < length ? pnstrdup(line + name + 1,
										   length - name - 1) : pstrdup("");
	option->arg = (Node *) value;
	return option;
}

/*
 * Makes a list of options of lines "name=value".
 */
List *
server_options(const char *text)
{
	List	   *list = palloc0(sizeof(List));
	int			room = 1;

	for (const char *p = text; *p; p++)
		room += *p == '\n';
	list->type = T_List;
	list->max_length = room;
	list->elements = palloc(room * sizeof(ListCell));
	while (*text != '\0')
	{
		size_t		length = strcspn(text, "\n");

		if (length > 0)
			list->elements[list->length++].ptr_value =
				make_option(text, length);
		text += length + (text[length] == '\n');
	}
	return list->length > 0 ? list : NIL;
}

List *
untransformRelOptions(Datum options)
{
	return (List *) DatumGetPointer(options);
}

char *
defGetString(DefElem *def)
{
	return strVal(def->arg);
}

bool
defGetBoolean(DefElem *def)
{
	const char *value = defGetString(def);

	if (pg_strcasecmp(value, "true") == 0 || pg_strcasecmp(value, "on") == 0)
		return true;
	if (pg_strcasecmp(value, "false") != 0 && pg_strcasecmp(value, "off") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("%s requires a Boolean value", def->defname)));
	return false;
}

/*
 * Multiplies a time by its unit, if units are allowed.  Returns false if it
 * is not one.
 */
static bool
apply_unit(const char *unit, int flags, double *number)
{
	static const struct
	{
		const char *name;
		double		ms;
	}			units[] = {
		{"", 1}, {"us", 0.001}, {"ms", 1}, {"s", 1000}, {"min", 60000},
		{"h", 3600000}, {"d", 86400000}
	};

	unit += strspn(unit, " \t\n\v\f\r");
	for (int i = 0; i < (flags == 0 ? 1 : (int) lengthof(units)); i++)
	{
		if (strcmp(unit, units[i].name) == 0)
		{
			*number *= units[i].ms;
			return true;
		}
	}
	return false;
}

bool
parse_real(const char *value, double *result, int flags, const char **hintmsg)
{
	char	   *end;

	(void) hintmsg;
	errno = 0;
	*result = strtod(value, &end);
	return end != value && errno == 0 && !isnan(*result) &&
		apply_unit(end, flags, result);
}

bool
parse_int(const char *value, int *result, int flags, const char **hintmsg)
{
	char	   *end;
	double		number;

	(void) hintmsg;
	errno = 0;
	number = (double) strtol(value, &end, 0);
	if (*end == '.' || *end == 'e' || *end == 'E' || errno == ERANGE)
	{
		errno = 0;
		number = strtod(value, &end);
	}
	if (end == value || errno != 0 || isnan(number) ||
		!apply_unit(end, flags, &number))
		return false;
	number = rint(number);
	if (number > INT_MAX || number < INT_MIN)
		return false;
	*result = (int) number;
	return true;
}

/*
 * The database's encoding is UTF-8.
 */
char *
bs_encoding_to_utf8(const char *text)
{
	return pstrdup(text);
}

bool
superuser(void)
{
	return server_superuser;
}

/*
 * Calls the validator.  Returns false if it raised an error.
 */
bool
server_validate(List *options, Oid catalog, Raised *raised)
{
	LOCAL_FCINFO(fcinfo, 2);

	memset(raised, 0, sizeof(*raised));
	current = raised;
	memset(fcinfo, 0, SizeForFunctionCallInfo(2));
	fcinfo->args[0].value = PointerGetDatum(options);
	fcinfo->args[1].value = ObjectIdGetDatum(catalog);
	if (setjmp(caught) != 0)
		return false;
	(void) bsession_validator(fcinfo);
	return true;
}
