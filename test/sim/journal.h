#ifndef SIM_JOURNAL_H
#define SIM_JOURNAL_H

#include "request.h"

extern void journal_begin(Request *request);
extern void journal_write(const Request *request);
extern void journal_end(const Request *request);
extern void journal_connection(bool opened);
extern void journal_catastrophe(void);
extern char *journal_requests(const char *id);
extern char *journal_stats(void);
extern void journal_clear(void);
extern void journal_reset_peak(void);

#endif
