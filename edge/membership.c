/* membership.c - a membership change is asked of the room, and of other servers. See membership.h. */
#include "edge/membership.h"
#include "edge/policy.h"
#include "edge/remote.h"

#include "proto/catalogue.h"
#include "proto/ident.h"
#include "proto/uri.h"

enum { TIMES_OUTSIDE_MAX = 3 };

/* --- asking the room ----------------------------------------------------------------------------------- */
/* Nobody of this server is in the room, or may vouch for the join: other servers may let the user in. */
static bool is_outside(const gr_membership_change *h, gr_err err)
{
    bool joins = gr_str_is(h->m.action, "join"), enters = joins || gr_str_is(h->m.action, "knock");
    if (!enters || h->times_outside == TIMES_OUTSIDE_MAX) return false;
    if (err.code == GR_UNABLE_TO_GRANT_JOIN) return joins && h->vouchers.count > 0;
    return err.code == GR_NOT_FOUND && h->outside.servers.count > 0;
}

/* That one should ask another server is said to servers, not to users. */
static void fail_change(gr_call *c, gr_err err)
{
    if (err.code == GR_UNABLE_TO_GRANT_JOIN || err.code == GR_UNABLE_TO_AUTHORISE_JOIN) err.code = GR_FORBIDDEN;
    gr_call_fail(c, err);
}

static void choose_vouchers(gr_call *c)
{
    gr_membership_change *h = c->state;
    h->outside.servers.count = 0;
    h->outside.is_here = true;
    for (size_t i = 0; i < h->vouchers.count; i++) gr_outside_add(c, &h->outside, h->vouchers.at[i]);
}

static void answer(gr_call *c)
{
    const gr_membership_change *h = c->state;
    if (!h->answers_room) {
        gr_call_empty(c);
        return;
    }
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "room_id", h->room_id);
    gr_jw_end_object(&w);
    gr_call_json_take(c, 200, &out);
}

static void on_changed(gr_call *c, const gr_answer *a)
{
    gr_membership_change *h = c->state;
    if (gr_policy_takes(c, a, h->room_id, (gr_str){0}, on_changed)) return;
    gr_err err = a->err.code == GR_NOT_FOUND && gr_failed(h->err) ? h->err : a->err;
    bool is_ours = err.code == GR_UNABLE_TO_GRANT_JOIN;
    if (!is_outside(h, err)) {
        if (gr_failed(err)) fail_change(c, err);
        else answer(c);
        return;
    }
    if (is_ours) choose_vouchers(c);
    gr_membership_go_outside(c);
}

void gr_membership_ask(gr_call *c)
{
    gr_membership_change *h = c->state;
    gr_call_ask(c, gr_call_address(c, GR_KIND_ROOM, h->room_id), &gr_type_room_member, &h->m, on_changed);
}

gr_membership_change *gr_membership_begin(gr_call *c, const char *action, gr_str target)
{
    gr_membership_change *h = gr_arena_alloc(c->arena, sizeof *h);
    h->m = (gr_room_member){.user = c->user,
                            .target = target,
                            .action = gr_str_c(action),
                            .device = c->device,
                            .guest = c->guest};
    c->state = h;
    return h;
}

/* --- rooms of other servers ------------------------------------------------------------------------------ */
static void on_outside(gr_call *c, gr_err err)
{
    if (err.code == GR_ROOM_IN_USE) gr_membership_enter(c);
    else if (gr_failed(err)) fail_change(c, err);
    else answer(c);
}

static gr_str content_of(gr_call *c, const gr_membership_change *h, bool with_profile)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    if (with_profile && h->m.avatar_url.size) gr_jw_kstr(&w, "avatar_url", h->m.avatar_url);
    if (with_profile && h->m.displayname.size) gr_jw_kstr(&w, "displayname", h->m.displayname);
    if (h->m.reason.size) gr_jw_kstr(&w, "reason", h->m.reason);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(c->arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

/* That somebody is a guest is known here alone, so here it is decided, by what the other servers tell of the room. */
static void join_as_guest(gr_call *c);

static void on_guest_look(gr_call *c, const gr_answer *a)
{
    gr_membership_change *h = c->state;
    const gr_json *told = NULL;
    bool good = !gr_failed(a->err) && a->type == &gr_type_result
        && !gr_failed(gr_json_parse(c->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &told))
        && gr_str_eq(gr_json_string(gr_json_path(told, "room/room_id")), h->room_id);
    h->next++;
    if (!good) join_as_guest(c);
    else if (gr_json_boolean(gr_json_path(told, "room/guest_can_join"), false)) gr_outside_join(c, &h->outside);
    else gr_call_fail_with(c, GR_GUEST_ACCESS_FORBIDDEN, "Guests may not join this room");
}

static void join_as_guest(gr_call *c)
{
    const gr_membership_change *h = c->state;
    if (h->next == h->outside.servers.count) {
        gr_call_fail_with(c, GR_GUEST_ACCESS_FORBIDDEN, "No server tells whether guests may join this room");
        return;
    }
    gr_str uri = gr_arena_cat(c->arena, 2, (gr_str[]){GR_STR("/_matrix/federation/v1/hierarchy/"),
                                                      gr_uri_encode(c->arena, h->room_id)});
    gr_remote_ask(c, h->outside.servers.at[h->next], "GET", uri, (gr_str){0}, on_guest_look, 0);
}

void gr_membership_go_outside(gr_call *c)
{
    gr_membership_change *h = c->state;
    bool leaves = gr_str_is(h->m.action, "leave");
    h->times_outside++;
    h->next = 0;
    h->err = gr_ok();
    h->outside.room_id = h->room_id;
    h->outside.content = content_of(c, h, !leaves);
    h->outside.then = on_outside;
    if (c->guest && gr_str_is(h->m.action, "join")) join_as_guest(c);
    else if (leaves) gr_outside_leave(c, &h->outside);
    else if (gr_str_is(h->m.action, "knock")) gr_outside_knock(c, &h->outside);
    else gr_outside_join(c, &h->outside);
}

void gr_membership_add_servers(gr_call *c, const gr_user_outside_is *is)
{
    gr_membership_change *h = c->state;
    for (size_t i = 0; i < is->users.count; i++) gr_outside_add(c, &h->outside, gr_ident_domain(is->users.at[i]));
    gr_outside_add(c, &h->outside, gr_ident_domain(h->room_id));
}

void gr_membership_look(gr_call *c, gr_call_then *then)
{
    gr_user_outside_look m = {.room_id = ((const gr_membership_change *)c->state)->room_id};
    gr_call_ask(c, gr_call_address(c, GR_KIND_USER, c->user), &gr_type_user_outside_look, &m, then);
}

/* --- facts ------------------------------------------------------------------------------------------------- */
/* Both facts are there, or what they failed with. */
void gr_membership_arrive(gr_call *c)
{
    gr_membership_change *h = c->state;
    if (--h->waiting) return;
    if (is_outside(h, h->err)) gr_membership_go_outside(c);
    else if (gr_failed(h->err)) gr_call_fail(c, h->err);
    else gr_membership_ask(c);
}

static void on_profile(gr_call *c, const gr_answer *a)
{
    gr_membership_change *h = c->state;
    const gr_user_profile_is *profile = a->body;
    if (!gr_failed(a->err)) {
        h->m.displayname = gr_call_keep(c, profile->displayname);
        h->m.avatar_url = gr_call_keep(c, profile->avatar_url);
        if (profile->blocks_invites && gr_str_is(h->m.action, "invite"))
            h->err = gr_fail(GR_INVITE_BLOCKED, "The user wants no invites");
    } else if (a->err.code != GR_NOT_FOUND || !gr_str_eq(h->m.user, h->m.target)) {
        h->err = gr_call_keep_err(c, a->err);
    }
    gr_membership_arrive(c);
}

void gr_membership_profile(gr_call *c, gr_str user)
{
    gr_call_ask(c, gr_call_address(c, GR_KIND_USER, user), &gr_type_user_profile, &(gr_user_profile){0},
                on_profile);
}
