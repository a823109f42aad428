/* trace.h - what one request caused: the tree of its messages, drawn from the message logs of one or several
 * nodes, with the time each spent on the wire and in each actor.
 *
 * Three steps, so that logs may lie on other nodes: find which traces are meant in each log; pick their messages
 * out of each log, as the bytes of a segment (message_log.h); draw the tree of all that was picked. Logs may be
 * of running nodes or copied. Used by `greenroom trace` and by the node that is asked for its part.
 */
#pragma once
#include "bus/message_log.h"

enum {
    GR_TRACES_MAX = 20,
    GR_TRACE_MESSAGES_MAX = 100000,
    GR_TRACE_PICKED_MAX = 12 << 20,              /* bytes picked out of one log */
    GR_TRACE_CLOCKS_US = 60 * 1000000            /* by so much clocks of nodes may differ */
};

typedef struct {
    /* A trace id (up to 16 hex digits), event id, transaction id, room id or address. Empty: whatever the
     * filters let pass. */
    gr_str id;
    gr_str actor;                  /* only messages handled by addresses that start with this */
    gr_str type;                   /* only messages of this type */
    uint64_t from_us, to_us;       /* only messages queued within, since 1970; 0: no bound */
    bool bodies;                   /* those that were kept */
    bool json;                     /* {"traces":[{..,"messages":[..]}]}, the tree as a list with depths */
} gr_trace_query;

/* --- which traces --- */
bool gr_trace_id_read(gr_str text, uint64_t *);  /* up to 16 hex digits */
typedef struct { uint64_t trace, newest_us; } gr_trace_found;
typedef struct gr_trace_set gr_trace_set;
gr_trace_set *gr_trace_set_new(size_t max);      /* of many more the newest are kept */
void gr_trace_set_free(gr_trace_set **);
void gr_trace_set_add(gr_trace_set *, gr_trace_found);
void gr_trace_set_trim(gr_trace_set *);          /* leaves the newest, at most max */
bool gr_trace_set_has(const gr_trace_set *, uint64_t trace);
/* The newest first, at most max. */
gr_trace_found *gr_trace_set_list(const gr_trace_set *, gr_arena *, size_t *count);

/* Adds the traces that the query means. from NULL: the whole log; end may be NULL. */
GR_MUST_USE gr_err gr_trace_find(const char *dir, const gr_trace_query *, const gr_log_place *from, gr_arena *,
                                 gr_trace_set *, gr_log_place *end);
/* Appends to out a segment with the messages of these traces and what is needed to correct their clocks.
 * *is_cut: there are more than GR_TRACE_MESSAGES_MAX or GR_TRACE_PICKED_MAX of them. */
GR_MUST_USE gr_err gr_trace_pick(const char *dir, const gr_trace_set *, bool bodies, const gr_log_place *from,
                                 const gr_log_place *to, gr_arena *, gr_buf *out, bool *is_cut);

/* --- drawing --- */
typedef struct { gr_str node, why; } gr_trace_missing;     /* a node whose log could not be read */
typedef struct {
    const gr_str *segments;        /* times are told by the clock of the first node that is in them */
    size_t segment_count;
    const gr_trace_missing *missing;
    size_t missing_count;
    bool is_cut;
} gr_trace_parts;
/* Oldest trace first. A message that a filter leaves out leaves its children in its place. GR_NOT_FOUND: there
 * is no such message. */
GR_MUST_USE gr_err gr_trace_draw(const gr_trace_query *, const gr_trace_parts *, gr_arena *, gr_buf *out);
/* One line for each: "n3 is missing: why". */
void gr_trace_print_missing(const gr_trace_parts *, gr_buf *out);
