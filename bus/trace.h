/* trace.h - what one request caused: the tree of its messages, drawn from message logs with the time spent in
 * each actor.
 *
 * Reads folders of segments (message_log.h) of one or several nodes, running or copied. Two passes: the first
 * finds the traces, the second collects their messages. Used by `greenroom trace`.
 */
#pragma once
#include "proto/err.h"

enum { GR_TRACES_MAX = 20, GR_TRACE_MESSAGES_MAX = 100000 };

typedef struct {
    const char *const *dirs;       /* NULL-ended */
    /* A trace id (up to 16 hex digits), event id, transaction id, room id or address. Empty: whatever the
     * filters let pass. */
    gr_str id;
    gr_str actor;                  /* only messages handled by addresses that start with this */
    gr_str type;                   /* only messages of this type */
    uint64_t from_us, to_us;       /* only messages queued within, since 1970; 0: no bound */
    size_t traces_max;             /* the newest ones; 0: GR_TRACES_MAX */
    bool bodies;                   /* those that were kept */
    bool json;                     /* {"traces":[{..,"messages":[..]}]}, the tree as a list with depths */
} gr_trace_query;

/* Oldest trace first. A message that a filter leaves out leaves its children in its place. GR_NOT_FOUND: no
 * such trace. */
GR_MUST_USE gr_err gr_trace_print(const gr_trace_query *, gr_arena *, gr_buf *out);
