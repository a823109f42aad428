/* well_known.h - what servers' /.well-known/matrix/server said, and for how long that holds.
 *
 * Server-server API, "Resolving server names", step 3.  Bounded: the entry used least recently goes first.  Failures are
 * remembered too, longer each time; while a server fails in passing, what it said before stays in force.  Time is given.
 */
#pragma once
#include "edge/lru.h"
#include "proto/err.h"

enum {
    GR_WELL_KNOWN_ENTRIES = 4096,
    GR_WELL_KNOWN_SIZE_MAX = 50 * 1024,        /* bytes of the answer */
    GR_WELL_KNOWN_MIN_MS = 5 * 60 * 1000,
    GR_WELL_KNOWN_DEFAULT_MS = 24 * 3600 * 1000,
    GR_WELL_KNOWN_MAX_MS = 48 * 3600 * 1000,
    GR_WELL_KNOWN_ERROR_MIN_MS = 2 * 60 * 1000,
    GR_WELL_KNOWN_ERROR_MAX_MS = 3600 * 1000
};

gr_lru *gr_well_known_new(void);

/* True when it is known at now_ms: *delegate is a server name, or empty when there is none. Lives until the next call. */
bool gr_well_known_find(gr_lru *, gr_str host, uint64_t now_ms, gr_str *delegate, uint64_t *until_ms);
/* status 0: it could not be reached.  cache_control and expires: those headers, empty if absent. */
void gr_well_known_told(gr_lru *, gr_str host, uint64_t now_ms, int status, gr_str body, gr_str cache_control,
                        gr_str expires);

/* How long an answer with these headers may be kept. */
uint64_t gr_well_known_lifetime(gr_str cache_control, gr_str expires, uint64_t now_ms);
/* The delegate in the body; false when it is not a valid answer. */
bool gr_well_known_parse(gr_arena *, gr_str body, gr_str *delegate);
