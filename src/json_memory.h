/*
 * json_memory.h
 *		The memory that jansson uses while it reads a document.
 */
#ifndef BS_JSON_MEMORY_H
#define BS_JSON_MEMORY_H

extern void bs_json_memory_begin(void);
extern bool bs_json_memory_end(void);

#endif							/* BS_JSON_MEMORY_H */
