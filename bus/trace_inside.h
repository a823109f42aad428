/* trace_inside.h - between making trees of traces (trace_tree.c) and printing them (trace_print.c). */
#pragma once
#include "bus/cluster.h"
#include "bus/trace.h"
#include "proto/json.h"

#define TRACE_NONE ((size_t)-1)
enum { TRACE_DEPTH_MAX = 64 };

/* One message of a trace; rows of a trace lie side by side in order of time, children and siblings are
 * indexes from its first row. Times are corrected by `shift_us`. */
typedef struct {
    gr_logged logged;
    size_t first_child, next;
    int64_t shift_us;
    uint64_t wire_us;
    bool has_wire, is_shift_known, is_printed;
} trace_row;

/* The clock of a node against that of the node whose clock tells the times. */
typedef struct {
    gr_str node;
    bool is_known;
    int64_t shift_us; /* to be added, as it was measured last */
} trace_clock;

typedef struct {
    const gr_trace_query *query;
    gr_buf *out;
    gr_arena *arena;
    gr_jw writer;
    gr_str reference;
    const trace_clock *clocks; /* of the other nodes */
    size_t clock_count, node_width;
} trace_printer;

bool trace_row_passes(const gr_trace_query *, const gr_log_record *);      /* the filters */

/* reference and clocks are filled in by the caller afterwards. */
trace_printer trace_print_begin(const gr_trace_query *, gr_buf *out, gr_arena *);
void trace_print(trace_printer *, const trace_row *rows, size_t count, size_t first_root);
void trace_print_end(trace_printer *, const gr_trace_parts *);
