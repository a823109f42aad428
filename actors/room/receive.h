/* receive.h - how events of other servers enter a room.
 *
 * Server-server API, "Checks performed on receipt of a PDU".  What comes here has passed gr_event_check (1 to 3: format,
 * signatures, content hash) and is of this room's version; here it is authorised (4 to 6), gets its place in the graph
 * and moves the room.  Nothing here sends or answers: afterwards the caller calls gr_room_tell, also for what was
 * rejected, or gr_room_fail when there was an error.
 *
 * Events come oldest first (gr_event_order): one whose auth events or predecessors are not here is not stored, and the
 * answer names them.  So numbers are an order of the auth graph, and every state event has a place in the chain cover.
 * Whoever can't get what is missing does one of these:
 *   auth events, or events of a state: fetches them and keeps them as outliers      gr_room_hold
 *   predecessors: asks for the state before the event, builds its root (given.h), and then    gr_room_receive with before
 *   nothing: drops the event.
 */
#pragma once
#include "actors/room/graph.h"

typedef enum {
    GR_PDU_WAITS,        /* not stored: see missing_auth and missing_prev */
    GR_PDU_KNOWN,        /* was here already, nothing has changed */
    GR_PDU_HELD,         /* an outlier now: may be cited, and be part of a state, but has no place in the graph */
    GR_PDU_ACCEPTED,
    GR_PDU_SOFT_FAILED,  /* allowed where it stands, but not by the room as it is now */
    GR_PDU_UNSIGNED,     /* not stored: the policy server may sign it yet */
    GR_PDU_REJECTED      /* kept, never shown */
} gr_pdu_fate;

typedef struct {
    gr_pdu_fate fate;
    gr_str why;                        /* rejected or soft-failed: what authorisation said */
    gr_strs missing_auth, missing_prev;
    gr_room_made made;                 /* unless it waits or was known */
} gr_room_received;

typedef struct {
    /* The state before the event as another server told it: then predecessors may be missing, and the event is a
     * backward extremity.  Else it is resolved from the states after the predecessors. */
    bool has_before;
    uint64_t before;
    /* With it a user of this server enters a room in which nobody here is: that state alone judges it. */
    bool is_entry;
    /* From before the room's stream (backfill): readers find it by paging back, it moves neither extremities nor the
     * current state, and does not soft-fail. */
    bool is_history;
    bool is_recommended;               /* whatever the policy server says */
    bool asks_policy;                  /* without a valid signature of the policy server it is GR_PDU_UNSIGNED */
} gr_room_receiving;

/* Makes the room out of a create event, when it is to be joined through another server: nothing is in it yet but that
 * event, as an outlier.  Its positions begin so high that there is room for history.  May be repeated until the room has an
 * event with a place.  GR_ROOM_IN_USE: it has. */
GR_MUST_USE gr_err gr_room_begin(gr_room *, gr_ctx *, const gr_event *create, gr_str text, gr_room_received *);
/* Keeps an event of an auth chain or of a state.  GR_BAD_JSON: it is of another room. */
GR_MUST_USE gr_err gr_room_hold(gr_room *, gr_ctx *, const gr_event *, gr_str text, gr_room_received *);
/* GR_BAD_JSON: it is of another room.  GR_UNAVAILABLE: more is in conflict than is resolved at once; it may be that the pool
 * does it (resolving.h): the message that ends with gr_room_fail then is handled again later, a post even after a restart. */
GR_MUST_USE gr_err gr_room_receive(gr_room *, gr_ctx *, const gr_event *, gr_str text, const gr_room_receiving *,
                                   gr_room_received *);

/* --- backward.c ----------------------------------------------------------------------------------------------- */
typedef struct { uint64_t number, depth; gr_strs missing; } gr_room_backward;
/* Backward extremities of this depth and less (towards the beginning), the deepest first, at most that many.  In the arena. */
size_t gr_room_backwards(gr_ctx *, uint64_t depth, gr_room_backward *out, size_t most);
