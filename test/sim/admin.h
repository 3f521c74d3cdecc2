#ifndef SIM_ADMIN_H
#define SIM_ADMIN_H

#include "request.h"

/* The first path segment of what is for the simulator itself. */
#define ADMIN_NAME	"_sim"

extern void admin_answer(Request *request);

#endif
