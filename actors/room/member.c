/* member.c - memberships: join, invite, leave, kick, ban, unban and knock, by request or by content. See
 * room.h.
 *
 * Client-server API, "Room membership".  Authorisation decides who may; what is checked here beforehand is
 * what it can't tell apart or what deserves a better answer.  Facts about the user (profile, rooms they are
 * in) come with the message.
 */
#include "actors/room/graph.h"
#include "actors/room/policy.h"
#include "actors/room/purge.h"

/* --- the event ----------------------------------------------------------------------------------------- */
static bool is_ours(gr_str key)
{
    static const char *const ours[] = {"membership", "displayname", "avatar_url",
                                       "reason",     "is_direct",   "join_authorised_via_users_server"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (gr_str_is(key, ours[i])) return true;
    return false;
}

static void write_if(gr_jw *w, const char *key, gr_str value)
{
    if (value.size) gr_jw_kstr(w, key, value);
}

static gr_str compose(gr_ctx *ctx, gr_membership membership, const gr_room_member *m, gr_str authorised_by)
{
    const gr_json *extra = NULL;
    bool profile =
        membership == GR_MEMBER_JOIN || membership == GR_MEMBER_INVITE || membership == GR_MEMBER_KNOCK;
    if (m->content.size && gr_failed(gr_json_parse(gr_ctx_arena(ctx), m->content, GR_JSON_LAX, &extra)))
        extra = NULL;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (uint32_t i = 0; gr_json_is(extra, GR_JSON_OBJECT) && i < extra->count; i++) {
        if (is_ours(extra->members[i].key)) continue;
        gr_jw_key_str(&w, extra->members[i].key);
        gr_jw_json(&w, &extra->members[i].value);
    }
    gr_jw_kc(&w, "membership", gr_membership_text(membership));
    if (profile) write_if(&w, "displayname", m->displayname);
    if (profile) write_if(&w, "avatar_url", m->avatar_url);
    write_if(&w, "reason", m->reason);
    write_if(&w, "join_authorised_via_users_server", authorised_by);
    if (m->is_direct && membership == GR_MEMBER_INVITE) gr_jw_kbool(&w, "is_direct", true);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

/* type, body: the message that wants it. */
static void make(gr_room *room, gr_ctx *ctx, const gr_room_member *m, gr_str content, const gr_type *type, const void *body)
{
    gr_room_made made;
    gr_room_draft d = {.sender = m->user,
                       .type = GR_STR("m.room.member"),
                       .state_key = m->target,
                       .has_state_key = true,
                       .content = content};
    if (gr_room_policy_asks(room, ctx, &d, type, body)) return;
    gr_err err = gr_room_build(room, ctx, &d, &made);
    if (gr_failed(err)) {
        gr_room_fail(room, ctx, err);
        return;
    }
    bool joined = gr_str_is(gr_json_text(made.event.content, "membership"), "join");
    if (m->guest && joined && gr_str_eq(m->user, m->target)) gr_room_guest_mark(ctx, m->user, true);
    gr_room_txn_keep(room, ctx, m->user, m->device, m->txn, &made);
    gr_room_finish(room, ctx, &made, gr_str_eq(m->user, m->target));
}

/* --- by request ---------------------------------------------------------------------------------------- */
typedef struct {
    const char *action;
    gr_membership membership;
} act;

static gr_membership membership_of_action(gr_str action)
{
    static const act acts[] = {{"join", GR_MEMBER_JOIN},   {"invite", GR_MEMBER_INVITE},
                               {"leave", GR_MEMBER_LEAVE}, {"kick", GR_MEMBER_LEAVE},
                               {"ban", GR_MEMBER_BAN},     {"unban", GR_MEMBER_LEAVE},
                               {"knock", GR_MEMBER_KNOCK}};
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
        if (gr_str_is(action, acts[i].action)) return acts[i].membership;
    return GR_MEMBER_NONE;
}

/* What the request means in the present state; *nothing: it has come true already. */
static gr_err check_act(gr_ctx *ctx, const gr_room_member *m, gr_membership now, bool *nothing)
{
    gr_arena *a = gr_ctx_arena(ctx);
    bool inside = now == GR_MEMBER_JOIN || now == GR_MEMBER_INVITE || now == GR_MEMBER_KNOCK;
    *nothing = false;
    if (gr_str_is(m->action, "join")) *nothing = now == GR_MEMBER_JOIN;
    if (gr_str_is(m->action, "leave")) {
        *nothing = now == GR_MEMBER_LEAVE;
        if (now == GR_MEMBER_BAN)
            return gr_fail(GR_FORBIDDEN, "You are banned from this room, and so not in it");
        if (now == GR_MEMBER_NONE) return gr_fail(GR_FORBIDDEN, "You are not in this room");
    }
    if (gr_str_is(m->action, "kick") && !inside)
        return gr_failf(a, GR_FORBIDDEN, "%.*s is not in this room", GR_ARG(m->target));
    if (gr_str_is(m->action, "unban") && now != GR_MEMBER_BAN)
        return gr_failf(a, GR_FORBIDDEN, "%.*s is not banned from this room", GR_ARG(m->target));
    if (gr_str_is(m->action, "invite") && now == GR_MEMBER_JOIN)
        return gr_failf(a, GR_FORBIDDEN, "%.*s is already in this room", GR_ARG(m->target));
    if (gr_str_is(m->action, "ban")) *nothing = false;
    return gr_ok();
}

static void answer_present(gr_room *room, gr_ctx *ctx, gr_str target)
{
    const gr_event *e = gr_room_state(room, ctx, GR_STR("m.room.member"), target);
    gr_room_answer_sent(room, ctx, e ? e->event_id : (gr_str){0}, 0);
}

void gr_room_on_member(gr_room *room, gr_ctx *ctx, const gr_room_member *m)
{
    gr_str event_id, authorised_by = {0};
    uint64_t pos;
    bool nothing = false;
    gr_err err = gr_ok();
    if (gr_room_txn_seen(room, ctx, m->user, m->device, m->txn, &event_id, &pos)) {
        gr_room_answer_sent(room, ctx, event_id, pos);
        return;
    }
    gr_membership wanted = membership_of_action(m->action), now = gr_room_membership(ctx, m->target);
    if (wanted == GR_MEMBER_NONE)
        err = gr_fail(GR_INVALID_PARAM, "The room knows no such action on a membership");
    else if (!gr_ident_user(m->target)) err = gr_fail(GR_INVALID_PARAM, "user_id is not a user id");
    else err = check_act(ctx, m, now, &nothing);
    bool enters = wanted == GR_MEMBER_JOIN || wanted == GR_MEMBER_KNOCK;
    if (enters && !gr_room_has_locals(room) && room->joined > 0)       /* what is known of it here is old */
        err = gr_fail(GR_NOT_FOUND, "Nobody on this server is in this room");
    if (!gr_failed(err) && nothing) {
        answer_present(room, ctx, m->target);
        return;
    }
    if (!gr_failed(err) && wanted == GR_MEMBER_JOIN && m->guest) err = gr_room_guest_check(room, ctx);
    if (!gr_failed(err) && wanted == GR_MEMBER_JOIN) err = gr_room_vouch(room, ctx, m->target, m->member_of, &authorised_by);
    if (gr_failed(err)) gr_ctx_fail(ctx, err);
    else make(room, ctx, m, compose(ctx, wanted, m, authorised_by), &gr_type_room_member, m);
}

/* --- by content ---------------------------------------------------------------------------------------- */
void gr_room_member_by_content(gr_room *room, gr_ctx *ctx, const gr_room_send *sent)
{
    const gr_json *content;
    gr_room_member m = {
        .user = sent->user, .target = sent->state_key, .device = sent->device, .txn = sent->txn};
    gr_err err = gr_json_parse(gr_ctx_arena(ctx), sent->content, room->version->json, &content);
    if (!gr_failed(err) && gr_membership_of(gr_json_text(content, "membership")) == GR_MEMBER_NONE)
        err = gr_fail(GR_BAD_JSON, "content.membership must be one of join, invite, leave, ban and knock");
    if (!gr_failed(err) && !gr_ident_user(m.target))
        err = gr_fail(GR_BAD_JSON, "The state key of m.room.member must be a user id");
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    m.guest = sent->guest;
    if (m.guest && gr_str_is(gr_json_text(content, "membership"), "join")) err = gr_room_guest_check(room, ctx);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    const gr_event *now = gr_room_state(room, ctx, GR_STR("m.room.member"), m.target);
    bool same = now && gr_str_eq(now->sender, m.user) && gr_json_equal(now->content, content);
    if (same) answer_present(room, ctx, m.target);
    else make(room, ctx, &m, sent->content, &gr_type_room_send, sent);
}

/* --- profiles ------------------------------------------------------------------------------------------ */
static gr_str with_profile(gr_ctx *ctx, const gr_json *content, const gr_room_profile *m)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (uint32_t i = 0; i < content->count; i++) {
        gr_str key = content->members[i].key;
        if (gr_str_is(key, "displayname") || gr_str_is(key, "avatar_url") || gr_str_is(key, "reason"))
            continue;
        gr_jw_key_str(&w, key);
        gr_jw_json(&w, &content->members[i].value);
    }
    write_if(&w, "displayname", m->displayname);
    write_if(&w, "avatar_url", m->avatar_url);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

void gr_room_on_profile(gr_room *room, gr_ctx *ctx, const gr_room_profile *m)
{
    const gr_event *now = gr_room_state(room, ctx, GR_STR("m.room.member"), m->user);
    bool joined = now && gr_str_is(gr_json_text(now->content, "membership"), "join");
    bool same = joined && gr_str_eq(gr_json_text(now->content, "displayname"), m->displayname)
                && gr_str_eq(gr_json_text(now->content, "avatar_url"), m->avatar_url);
    if (!m->guest) gr_room_guest_mark(ctx, m->user, false);
    if (!joined || same) {
        gr_ctx_done(ctx);
        return;
    }
    gr_room_member body = {.user = m->user, .target = m->user, .guest = m->guest};
    make(room, ctx, &body, with_profile(ctx, now->content, m), &gr_type_room_profile, m);
}

static bool forget_interval(void *arg, gr_str key, gr_str value)
{
    (void)value;
    gr_ctx_del(arg, gr_arena_str(gr_ctx_arena(arg), key));
    return true;
}

/* Without intervals of their own the user is as one who never was here.  A rejoin begins new ones.  When nobody is left who
 * knows the room, it goes. */
void gr_room_on_forget(gr_room *room, gr_ctx *ctx, const gr_room_forget *m)
{
    gr_membership now = gr_room_membership(ctx, m->user);
    if (now == GR_MEMBER_LEAVE || now == GR_MEMBER_BAN)
        gr_ctx_scan_prefix(ctx, gr_room_key_parts(ctx, 'w', 2, (gr_str[]){m->user, GR_STR("")}), GR_HANDLER_ROWS_MAX,
                           forget_interval, ctx);
    gr_room_purge_if_forgotten(room, ctx);
    gr_ctx_done(ctx);
}
