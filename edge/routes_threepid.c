/* routes_threepid.c - third-party invites whose address somebody has shown to be theirs. Server-server API, "Third-party
 * invites".
 *
 * An identity server tells of them, and signs who the user is; the server of the user then asks that of the inviter to make the
 * invite.  Nobody is believed but for that signature, which the room checks.
 */
#include "edge/routes.h"
#include "edge/threepid.h"

#include "proto/ident.h"

enum { INVITES_MAX = 50 };             /* of one address */

/* --- the inviter's server ------------------------------------------------------------------------------------ */
static void on_exchanged(gr_call *call, gr_err err)
{
    if (gr_failed(err)) gr_call_fail(call, err);
    else gr_call_empty(call);
}

static void serve_exchange(gr_call *call)
{
    gr_threepid_accept *t = gr_arena_alloc(call->arena, sizeof *t);
    gr_str room_id, type;
    if (!gr_call_want_str(call, "room_id", &room_id) || !gr_call_want_str(call, "type", &type)
        || !gr_call_want_str(call, "sender", &t->sender) || !gr_call_want_str(call, "state_key", &t->user))
        return;
    t->room_id = gr_call_param(call, "roomId");
    t->signed_by = gr_json_path(call->json, "content/third_party_invite/signed");
    t->then = on_exchanged;
    if (gr_call_fits(call, gr_ident_room(room_id) && gr_str_eq(room_id, t->room_id), "The path holds another room id")
        && gr_call_fits(call, gr_str_is(type, "m.room.member"), "The event is not of type m.room.member")
        && gr_call_fits(call, gr_str_is(gr_json_string(gr_json_path(call->json, "content/membership")), "invite"),
                        "That is no invite")
        && gr_call_fits(call, gr_ident_user(t->sender) && gr_ident_is_local(t->sender, gr_call_server_name(call)),
                        "The sender is not a user of this server")
        && gr_call_fits(call, gr_ident_user(t->user) && gr_str_eq(gr_ident_domain(t->user), call->origin),
                        "The state_key is not a user of your server"))
        gr_threepid_accept_send(call, t);
}

/* --- the invited user's server -------------------------------------------------------------------------------- */
typedef struct { const gr_json *invites; uint32_t next; gr_str user; gr_threepid_accept accept; } bound;

static void next(gr_call *call);

/* One that can't be made does not keep the others back. */
static void on_made(gr_call *call, gr_err err)
{
    (void)err;
    next(call);
}

static void next(gr_call *call)
{
    bound *b = call->state;
    while (b->next < b->invites->count && b->next < INVITES_MAX) {
        const gr_json *invite = &b->invites->items[b->next++];
        gr_str room_id = gr_json_text(invite, "room_id"), sender = gr_json_text(invite, "sender");
        if (!gr_ident_room(room_id) || !gr_ident_user(sender)) continue;
        b->accept = (gr_threepid_accept){.room_id = room_id, .sender = sender, .user = b->user,
                                         .signed_by = gr_json_get(invite, "signed"), .then = on_made};
        gr_threepid_accept_send(call, &b->accept);
        return;
    }
    gr_call_empty(call);
}

static void serve_onbind(gr_call *call)
{
    bound *b = call->state = gr_arena_alloc(call->arena, sizeof *b);
    if (!gr_call_want_str(call, "mxid", &b->user) || !gr_call_want(call, "invites", GR_JSON_ARRAY, &b->invites)) return;
    if (gr_call_fits(call, gr_ident_user(b->user) && gr_ident_is_local(b->user, gr_call_server_name(call)),
                     "'mxid' is not a user of this server"))
        next(call);
}

#define V1 "/_matrix/federation/v1"

const gr_call_route gr_routes_threepid[] = {
    {GR_HTTP_PUT, V1 "/exchange_third_party_invite/{roomId}", GR_CALL_SERVER, GR_CALL_JSON, GR_RATE_SERVER, serve_exchange},
    {GR_HTTP_PUT, V1 "/3pid/onbind", GR_CALL_NO_TOKEN, GR_CALL_JSON, GR_RATE_SERVER, serve_onbind},
    {.pattern = NULL}};
