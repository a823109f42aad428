/* stateres.h - state resolution: which events are the state, where branches of a room's history disagree.
 *
 * Versions 1, 2 and 2.1 ("State resolution" of room versions 1, 2 and 12), chosen by the room version's
 * state_res.  Pure: events are numbers of the room, read through callbacks; only keys in conflict come in
 * and go out.  Stacks and queues are explicit, every event is read once, links that are missing, repeated or
 * circular do no harm.  The room calls it for an event with several predecessors and for several extremities.
 */
#pragma once
#include "proto/event.h"

enum {
    GR_STATERES_STATES_MAX = 64,
    GR_STATERES_AUTH_MAX = 256     /* of one event, looked at; there is no limit in old events */
};

typedef struct {
    const gr_event *event;
    gr_u64s auth;                  /* numbers of its auth_events: may repeat, 0 for what is unknown */
    bool rejected;
} gr_stateres_event;

typedef struct {
    /* The event with this number; false when there is none.  Valid until the resolution ends. */
    bool (*event)(void *arg, uint64_t number, gr_stateres_event *out);
    /* The event of the unconflicted state with this key; 0 when there is none or the key is in conflict. */
    uint64_t (*unconflicted)(void *arg, gr_str type, gr_str state_key);
    /* All events of the unconflicted state with a number above this one. */
    gr_u64s (*unconflicted_above)(void *arg, uint64_t number);
    /* Events have higher numbers than their auth events: then what is older than all that is in question is
     * not read.  As soon as a link is met that breaks this, all is read; but one that is not met may hide that
     * older events are in every auth chain. */
    bool ordered;
    void *arg;
    /* What an index knows without walking; NULL, or false when it can't tell: then the graph is walked, with the
     * same answer.  The auth difference: events in the auth chain of some state but not of all ... */
    bool (*difference)(void *arg, gr_u64s *out);
    /* ... and the conflicted state subgraph: events on a path from one of these to another, these included. */
    bool (*subgraph)(void *arg, gr_u64s events, gr_u64s *out);
} gr_stateres_source;

typedef struct {
    const gr_room_version *version;
    uint64_t create;               /* the room's m.room.create */
    size_t states;                 /* at most GR_STATERES_STATES_MAX */
    /* One row per key that is not the same in all states: its event in each of the states, 0 where it has
     * none. */
    const uint64_t *rows;
    size_t row_count;
    size_t conflicted_max;         /* events in the full conflicted set */
    size_t reads_max;              /* events read */
} gr_stateres_input;

typedef struct { gr_str type, state_key; uint64_t number; } gr_stateres_entry;
typedef struct {
    /* What the resolved state has beside the unconflicted part: winners of keys in conflict, and keys that
     * no state had (an event of the auth difference).  A key in conflict that is missing here has none. */
    gr_stateres_entry *at;
    size_t count;
    size_t conflicted, reads;      /* size of the full conflicted set, events read */
} gr_stateres_result;

/* Result and all that was needed for it live in the arena.  GR_UNAVAILABLE: a limit of the input was met. */
GR_MUST_USE gr_err gr_stateres_resolve(gr_arena *, const gr_stateres_input *, const gr_stateres_source *,
                                       gr_stateres_result *);
