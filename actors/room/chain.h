/* chain.h - the chain cover of a room's auth graph: what is in whose auth chain, without reading events.
 *
 * Covered events are divided into chains; in a chain each has the one before it in its auth chain, so that
 * (chain, sequence) answers for whole chains at once.  A chain is named by its first event.  Auth events in
 * other chains are links, kept only where nothing else implies them; every few events a row has all links of
 * its chain so far, which bounds how far a walk goes back.  Covered events have only covered auth events,
 * with lower numbers: hence no cycles, and an event that cites what is unknown has no cover; then the
 * queries answer false, and the caller walks the events themselves.  Numbers must be an order of the auth
 * graph: an older event without cover is not asked whether it cites newer ones.  Pure: rows go through the
 * callbacks.
 */
#pragma once
#include "proto/str.h"

enum { GR_CHAIN_AUTH_MAX = 256 };  /* auth events of one event; with more it has no cover */

typedef void gr_chain_row_fn(void *arg, uint64_t event, gr_str bytes);
typedef struct {
    /* Two kinds of rows, each by number.  c <event>: its place and its links; C <chain>: the chain's newest
     * event, if that is not its first.  Bytes are valid until the arena of the caller ends. */
    bool (*get)(void *arg, char letter, uint64_t number, gr_str *bytes);
    void (*put)(void *arg, char letter, uint64_t number, gr_str bytes);
    void *arg;
    /* All rows c with first <= event <= last, for where most of them are wanted.  NULL: they are read one by one. */
    void (*scan)(void *arg, uint64_t first, uint64_t last, gr_chain_row_fn *, void *row_arg);
} gr_chain;

typedef struct { uint64_t chain, seq; } gr_chain_place;        /* chain 0: no cover; sequences start at 1 */

/* Gives the event its place and writes its rows.  auth may repeat and hold 0 for what is unknown; same is
 * the auth event with the event's own (type, state_key), 0 without.  A repeated call answers what the first
 * did. */
gr_chain_place gr_chain_assign(const gr_chain *, gr_arena *, uint64_t event, gr_u64s auth, uint64_t same);
/* What it was given. */
gr_chain_place gr_chain_place_of(const gr_chain *, gr_arena *, uint64_t event);

/* --- queries: false when an event on the way has no cover; results live in the arena ------------------------ */
/* Is `other` in the auth chain of the event?  An event is not in its own. */
bool gr_chain_reaches(const gr_chain *, gr_arena *, uint64_t event, uint64_t other, bool *reaches);

typedef struct {
    /* The parts in which the states differ: events of each, 0 for none. */
    const gr_u64s *states;
    size_t count;
    /* All events that every state has, above this number. */
    gr_u64s (*common_above)(void *arg, uint64_t number);
    void *arg;
} gr_chain_states;
/* Events in the auth chain of some state but not of all, ascending. */
bool gr_chain_difference(const gr_chain *, gr_arena *, const gr_chain_states *, gr_u64s *out);
/* Events on a path along auth events from one of these to another, these included, ascending. */
bool gr_chain_subgraph(const gr_chain *, gr_arena *, gr_u64s events, gr_u64s *out);

/* --- checking ------------------------------------------------------------------------------------------------ */
/* What is wrong with the cover of an event that cites these (0: unknown), if that of older ones is right; or NULL. */
const char *gr_chain_fault(const gr_chain *, gr_arena *, uint64_t event, gr_u64s auth);
/* The event before it in its chain, or 0. */
uint64_t gr_chain_before(const gr_chain *, gr_arena *, uint64_t event);
