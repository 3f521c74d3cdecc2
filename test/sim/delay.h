#ifndef SIM_DELAY_H
#define SIM_DELAY_H

#include <stdbool.h>
#include <stdint.h>

#include <microhttpd.h>

extern void delay_start(void);
extern bool delay_suspend(struct MHD_Connection *connection, int64_t delay);
extern void delay_stop(void);

#endif
