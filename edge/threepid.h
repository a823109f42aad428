/* threepid.h - invites of somebody who is known by an e-mail address, not by a user id.
 *
 * Client-server API and server-server API, "Third-party invites".  The identity server that the inviter names knows whose address
 * it is, or keeps the invite until somebody shows that it is theirs; then it signs who that is, and with this the room takes
 * the invite of that user.
 */
#pragma once
#include "edge/inviting.h"

typedef struct {
    gr_str room_id, id_server, token, medium, address;         /* token: of the inviter, for the identity server */
    void (*then)(gr_call *, gr_err, gr_str user);              /* user: whose address it is; empty: the invite is kept */
    /* the rest is threepid.c's */
    void *state;
    gr_str hash, pepper;
    bool is_hashed;
    gr_str displayname, avatar_url;
} gr_threepid_invite;

/* Asks the identity server whose address it is, or to keep the invite, of which the room is told. */
void gr_threepid_invite_send(gr_call *, gr_threepid_invite *);

typedef struct {
    gr_str room_id, sender, user;      /* sender: of the third-party invite; user: now known */
    const gr_json *signed_by;          /* mxid, token and signatures */
    gr_str display_name;               /* of the address; the room's counts where it is known */
    void (*then)(gr_call *, gr_err);
    /* the rest is threepid.c's */
    void *state;
    gr_inviting inviting;
} gr_threepid_accept;

/* Makes an invite of it: in the room if its sender is of this server, else by the sender's server. */
void gr_threepid_accept_send(gr_call *, gr_threepid_accept *);
