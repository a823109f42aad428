/* outside.h - a user of this server wants into, or out of, a room that nobody of this server is in.
 *
 * Server-server API, "Joining Rooms", "Knocking upon a room", "Leaving Rooms (Rejecting Invites)".  Joins are a flow of their
 * own (actors/join); a knock, and the rejection of an invite or the end of a knock, are a template, a signature and an answer,
 * tried at one server after the other.
 */
#pragma once
#include "edge/call.h"

#include "proto/event.h"

enum { GR_OUTSIDE_SERVERS_MAX = 16, GR_OUTSIDE_JOIN_MS = 120 * 1000 };

typedef struct {
    gr_str room_id;
    gr_str content;                    /* JSON object: members of the event's content but for the membership */
    gr_strs servers;                   /* the best first; gr_outside_add */
    bool is_here;                      /* a join: the room is here, but another server must vouch for it */
    void (*then)(gr_call *, gr_err);   /* with call->state as it was; the error lives in the call's arena */
    /* the rest is outside.c's */
    const char *membership;
    void *state;
    size_t next;
    gr_err err;
    const gr_room_version *version;
    const gr_json *event;
    struct gr_outside_knock *knock;
} gr_outside;

/* Adds a server to be asked, unless it is no server's name, this one, or there already. */
void gr_outside_add(gr_call *, gr_outside *, gr_str server);
/* Those of `via` and `server_name`. */
void gr_outside_add_queried(gr_call *, gr_outside *);

/* The user of the call.  Joined already by another way: GR_ROOM_IN_USE, and the room can be asked. */
void gr_outside_join(gr_call *, gr_outside *);
void gr_outside_knock(gr_call *, gr_outside *);
/* The user has left when this ends, also when no server could be told. */
void gr_outside_leave(gr_call *, gr_outside *);
