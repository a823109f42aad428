/* membership.h - one membership change of a user, from the route to its end: the facts it needs, the room, and other servers
 * where nobody of this server is in the room. Client-server API, "Room membership".
 *
 * Joins and knocks are in routes_enter.c, leaves, invites, kicks and bans in routes_member.c; all end by the same answer.
 */
#pragma once
#include "edge/outside.h"
#include "edge/threepid.h"

/* The state of the call. */
typedef struct {
    gr_str room_id;
    gr_room_member m;
    unsigned waiting;
    gr_err err;        /* why a fact could not be asked for */
    bool answers_room; /* {"room_id": ...}, else {} */
    unsigned times_outside;        /* that other servers were asked */
    gr_strs vouchers;  /* servers whose members may vouch for a join, when nobody here may */
    gr_outside outside;
    size_t next;       /* server to be asked whether guests may join */
    gr_threepid_invite threepid;
    bool is_accepted;
    gr_threepid_accept accept;     /* of a join that comes of a third-party invite */
} gr_membership_change;

/* It becomes the call's state.  action, target: as in room_member. */
gr_membership_change *gr_membership_begin(gr_call *, const char *action, gr_str target);
/* Facts, of which `waiting` are asked for: with the last one the change is asked of the room, or of other servers. */
void gr_membership_profile(gr_call *, gr_str user);
void gr_membership_arrive(gr_call *);
/* What the user knows of a room that nobody here is in: user_outside_is. */
void gr_membership_look(gr_call *, gr_call_then *);
void gr_membership_add_servers(gr_call *, const gr_user_outside_is *);
void gr_membership_ask(gr_call *);
void gr_membership_go_outside(gr_call *);

/* routes_enter.c: a join or knock begins again, by the room as it is here by now. */
void gr_membership_enter(gr_call *);
