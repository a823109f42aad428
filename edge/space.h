/* space.h - what may be told of one room to who is not in it, by this server or by others that know it.
 *
 * Client-server API, "Spaces" and "GET /room_summary"; server-server API, "GET /hierarchy".  Each room decides who may know of
 * it; for a restricted room it needs to be told in which of the rooms it lets in the user is, or any user of the server that
 * asks, and so it is asked once more with that.  A room that nobody here is in is asked of other servers, and what they say is
 * judged by the same rules.
 */
#pragma once
#include "edge/call.h"
#include "edge/fan.h"

enum { GR_SPACE_CHILDREN_MAX = 2000, GR_SPACE_VIA_MAX = 4 };

typedef struct {
    gr_str room_id, text, order;       /* text: the child event, stripped; order: empty when it has no valid one */
    const gr_json *via;
    bool is_ordered;
    int64_t ts;
} gr_space_child;

/* The state of a call begins with it. */
typedef struct {
    gr_str room_id;
    gr_str server;                     /* which asks; empty: the user of the call does, if there is one */
    gr_strs via;                       /* to be asked when nobody here is in the room; none: they are not */
    const gr_json *known;              /* what another server told of it already, along with its parent; or NULL */
    bool with_children, suggested;     /* suggested: only these children */
    void (*then)(gr_call *);
    /* results; err.  GR_NOT_FOUND: there is no such room, or it may not be known; is_here: this server is in it */
    gr_err err;
    bool is_here;
    gr_str summary;                    /* JSON object */
    gr_space_child *children;          /* in their order */
    size_t child_count;
    bool was_outside;                  /* another server was asked */
    const gr_json *told;               /* and answered this; or NULL */
    /* the rest is space.c's */
    gr_strs member_of, conditions;
    gr_fan fan;
    size_t next;
} gr_space_look;

void gr_space_look_at(gr_call *);
/* What another server told of a room, in the form of ours; empty: it makes no sense, or is of another room. */
gr_str gr_space_summary(gr_call *, gr_str room_id, const gr_json *told);
/* The servers by which a child event says that its room can be joined, and that of the room's id. */
gr_strs gr_space_via(gr_call *, gr_str room_id, const gr_json *via);
/* May everybody know of the room that another server told of?  Else, if it is restricted, its allowed_room_ids decide. */
bool gr_space_is_open(const gr_json *told);
