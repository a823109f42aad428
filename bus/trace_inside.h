/* trace_inside.h - between finding traces (trace.c) and printing them (trace_print.c). */
#pragma once
#include "bus/message_log.h"
#include "bus/trace.h"
#include "proto/json.h"

#define TRACE_NONE ((size_t)-1)

/* One message of a trace; rows of a trace lie side by side in order of time, children and siblings are
 * indexes from its first row. */
typedef struct {
    gr_logged logged;
    size_t first_child, next;
    bool is_printed;
} trace_row;

typedef struct {
    const gr_trace_query *query;
    gr_buf *out;
    gr_arena *arena;
    gr_jw writer;
} trace_printer;

bool trace_row_passes(const gr_trace_query *, const gr_log_record *);      /* the filters */

trace_printer trace_print_begin(const gr_trace_query *, gr_buf *out, gr_arena *);
void trace_print(trace_printer *, const trace_row *rows, size_t count, size_t first_root);
void trace_print_end(trace_printer *, bool is_cut);
