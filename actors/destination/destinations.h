/* destinations.h - the destinations that a node keeps, for people: read from what is durable, from any thread.
 *
 * Rows only, so it shows those that are not in memory too, which most are.
 */
#pragma once
#include "actors/destination/destination.h"
#include "persistence/store.h"

typedef struct {
    gr_str name;                       /* lies in the arena */
    gr_destination_state state;
    uint64_t failing_since_ms, next_try_ms, failures;      /* 0: it does not fail */
    uint64_t events, edus, bytes, rooms_owed, set_aside, errors;
} gr_destination_facts;

/* One after the other, in no meaningful order; the callback returns false to stop. */
typedef bool gr_destination_fn(void *arg, const gr_destination_facts *);
GR_MUST_USE gr_err gr_destinations_read(gr_store *, gr_arena *, gr_destination_fn *, void *arg);
