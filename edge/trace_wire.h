/* trace_wire.h - what `greenroom trace` and the nodes it asks say to each other (admin_trace.c has the routes):
 * both sides of the JSON, so that they agree.
 */
#pragma once
#include "bus/trace.h"
#include "proto/json.h"

enum { GR_TRACE_WIRE_CUT = 206 };      /* status of an answer that was cut */

/* False when it is none; an empty text leaves it as it is. */
bool gr_trace_wire_place_read(gr_str text, gr_log_place *);

/* Members of an object: the query without bodies and json. */
void gr_trace_wire_query_write(gr_jw *, const gr_trace_query *);
void gr_trace_wire_query_read(const gr_json *, gr_trace_query *);      /* views into the JSON */

void gr_trace_wire_place_write(gr_jw *, const char *key, const gr_log_place *);
void gr_trace_wire_traces_write(gr_jw *, gr_arena *, const gr_trace_set *);    /* "traces": [id ..] */

void gr_trace_wire_found_write(gr_buf *, gr_arena *, const gr_trace_set *, const gr_log_place *end);
/* False when it is no such answer; what was read is in the set. */
bool gr_trace_wire_found_read(gr_arena *, gr_str text, gr_trace_set *, gr_log_place *end);
