/* resident.c - joins, leaves and knocks of other servers' users, and states as PDUs. See resident.h. */
#include "actors/room/resident.h"
#include "actors/room/graph.h"
#include "actors/room/policy.h"
#include "actors/room/read.h"
#include "actors/room/receive.h"

#include "proto/server_acl.h"

#include <stdlib.h>

/* --- who may ask ---------------------------------------------------------------------------------------- */
gr_err gr_room_serves(gr_room *room, gr_ctx *ctx, gr_str server)
{
    if (!gr_room_has_locals(room)) return gr_fail(GR_NOT_FOUND, "Nobody on this server is in this room");
    const gr_event *acl = gr_room_state(room, ctx, GR_STR("m.room.server_acl"), (gr_str){0});
    if (!gr_server_acl_allows(acl ? acl->content : NULL, server))
        return gr_fail(GR_FORBIDDEN, "This room's server ACL keeps your server out");
    return gr_ok();
}

void gr_room_on_admission(gr_room *room, gr_ctx *ctx, const gr_room_admission *m)
{
    gr_err err = gr_room_serves(room, ctx, m->origin);
    gr_room_admits body = {.version = gr_str_c(room->version->id)};
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    body.must_vouch = gr_str_is(m->membership, "join") && gr_room_must_vouch(room, ctx, m->user);
    if (body.must_vouch) body.rooms = gr_room_allowed_by(room, ctx);
    gr_ctx_reply(ctx, &gr_type_room_admits, &body);
}

void gr_room_on_has_member(gr_room *room, gr_ctx *ctx, const gr_room_has_member *m)
{
    gr_membership now = m->server.size ? GR_MEMBER_NONE : gr_room_membership(ctx, m->user);
    if (m->server.size && gr_room_server_members(ctx, m->server)) now = GR_MEMBER_JOIN;
    gr_room_membership_is body = {.membership = gr_str_c(gr_membership_text(now))};
    if (gr_room_has_locals(room)) gr_ctx_reply(ctx, &gr_type_room_membership_is, &body);
    else gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "Nobody on this server is in this room"));
}

/* --- templates ------------------------------------------------------------------------------------------ */
static gr_str member_content(gr_ctx *ctx, gr_str membership, gr_str by)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "membership", membership);
    if (by.size) gr_jw_kstr(&w, "join_authorised_via_users_server", by);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

static bool is_asked_for(gr_str membership)
{
    return gr_str_is(membership, "join") || gr_str_is(membership, "leave") || gr_str_is(membership, "knock");
}

static gr_err plan(gr_room *room, gr_ctx *ctx, const gr_room_template *m, gr_str *text)
{
    gr_str by = {0};
    gr_err err = gr_room_serves(room, ctx, m->origin);
    if (!gr_failed(err) && !is_asked_for(m->membership)) err = gr_fail(GR_INVALID_PARAM, "There is no template for that");
    if (!gr_failed(err) && gr_str_is(m->membership, "join")) err = gr_room_vouch(room, ctx, m->user, m->member_of, &by);
    if (gr_failed(err)) return err;
    gr_room_draft draft = {.sender = m->user, .type = GR_STR("m.room.member"), .state_key = m->user, .has_state_key = true,
                           .content = member_content(ctx, m->membership, by)};
    return gr_room_plan(room, ctx, &draft, text);
}

void gr_room_on_template(gr_room *room, gr_ctx *ctx, const gr_room_template *m)
{
    gr_str text;
    gr_err err = plan(room, ctx, m, &text);
    if (gr_failed(err)) {
        gr_room_fail(room, ctx, err);
        return;
    }
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kraw(&w, "event", text);
    gr_jw_kc(&w, "room_version", room->version->id);
    gr_jw_end_object(&w);
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}

/* --- what was made of them ------------------------------------------------------------------------------ */
/* A member of this server vouches only for who may join by the rules as they are now. */
static gr_err check_vouched(gr_room *room, gr_ctx *ctx, const gr_event *e, gr_strs member_of)
{
    gr_str by = gr_json_text(e->content, "join_authorised_via_users_server"), other;
    if (!room->version->restricted || !gr_str_is(gr_json_text(e->content, "membership"), "join")) return gr_ok();
    return by.size && gr_room_is_local(ctx, by) ? gr_room_vouch(room, ctx, e->sender, member_of, &other) : gr_ok();
}

/* --- invites of users of other servers ------------------------------------------------------------------- */
static gr_str invite_content(gr_ctx *ctx, const gr_room_invite *m)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    if (m->is_direct) gr_jw_kbool(&w, "is_direct", true);
    gr_jw_kc(&w, "membership", "invite");
    if (m->reason.size) gr_jw_kstr(&w, "reason", m->reason);
    if (m->third_party.size) gr_jw_kraw(&w, "third_party_invite", m->third_party);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

void gr_room_on_invite(gr_room *room, gr_ctx *ctx, const gr_room_invite *m)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_event_built built;
    gr_err err = gr_ok();
    if (gr_room_membership(ctx, m->target) == GR_MEMBER_JOIN)
        err = gr_failf(a, GR_FORBIDDEN, "%" GR_FMT " is already in this room", GR_ARG(m->target));
    gr_room_draft draft = {.sender = m->user, .type = GR_STR("m.room.member"), .state_key = m->target, .has_state_key = true,
                           .content = m->content.size ? m->content : invite_content(ctx, m)};
    if (!gr_failed(err)) err = gr_room_sign(room, ctx, &draft, &built);
    if (gr_failed(err)) {
        gr_room_fail(room, ctx, err);
        return;
    }
    gr_room_invited body = {.version = gr_str_c(room->version->id), .event = built.text, .event_id = built.event_id,
                            .state = gr_room_stripped_pdus(room, ctx), .via = gr_room_policy_server(room, ctx, &draft)};
    gr_ctx_reply(ctx, &gr_type_room_invited, &body);
}

/* --- offers ------------------------------------------------------------------------------------------------ */
static gr_err fate_of(gr_arena *a, const gr_room_received *got)
{
    switch (got->fate) {
    case GR_PDU_WAITS:
        return gr_fail(GR_INVALID_PARAM, "The event cites events that are not here: make it of a template of this server");
    case GR_PDU_REJECTED:
    case GR_PDU_SOFT_FAILED: return gr_failf(a, GR_FORBIDDEN, "%" GR_FMT, GR_ARG(got->why));
    default: return gr_ok();
    }
}

static bool is_offer(gr_ctx *ctx, const gr_room_offer *m, const gr_event *e)
{
    gr_str membership = gr_json_text(e->content, "membership");
    if (m->is_own) return gr_room_is_local(ctx, e->sender);
    if (!m->is_invite) return is_asked_for(membership);
    return gr_str_is(membership, "invite") && gr_room_is_local(ctx, e->sender);
}

/* What was not accepted leaves nothing behind: its server is told why, and nobody else has the event. */
static gr_err take(gr_room *room, gr_ctx *ctx, const gr_room_offer *m, gr_event *e, gr_room_received *got)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_err err = gr_room_serves(room, ctx, m->origin);
    if (!gr_failed(err)) err = gr_event_parse(a, room->version, m->event, e);
    if (!gr_failed(err) && !is_offer(ctx, m, e)) err = gr_fail(GR_INVALID_PARAM, "That is nothing that can be offered to a room");
    if (!gr_failed(err) && !m->is_own) err = check_vouched(room, ctx, e, m->member_of);
    if (!gr_failed(err) && m->is_own && !m->unsigned_too) err = gr_room_policy_check(room, ctx, e, e->json);
    gr_room_receiving how = {.asks_policy = !m->is_own && !m->was_asked, .is_recommended = m->is_own};
    if (!gr_failed(err)) err = gr_room_receive(room, ctx, e, m->event, &how, got);
    return gr_failed(err) ? err : fate_of(a, got);
}

/* An event of a user here, which the policy server has signed: it goes on as if it had been made just now. */
static void finish_own(gr_room *room, gr_ctx *ctx, const gr_room_offer *m, gr_room_received *got)
{
    const gr_event *e = &got->made.event;
    if (got->fate != GR_PDU_ACCEPTED) {
        gr_room_answer_sent(room, ctx, got->made.event_id, 0);
        return;
    }
    got->made.is_ours = true;
    bool joins = gr_str_is(e->type, "m.room.member") && gr_str_is(gr_json_text(e->content, "membership"), "join");
    if (m->guest && joins && gr_str_eq(e->sender, e->state_key)) gr_room_guest_mark(ctx, e->sender, true);
    gr_room_txn_keep(room, ctx, e->sender, m->device, m->txn, &got->made);
    gr_room_finish(room, ctx, &got->made, gr_str_is(e->type, "m.room.member") && gr_str_eq(e->sender, e->state_key));
}

void gr_room_on_offer(gr_room *room, gr_ctx *ctx, const gr_room_offer *m)
{
    gr_event e;
    gr_room_received got = {0};
    gr_err err = take(room, ctx, m, &e, &got);
    if (gr_failed(err)) {
        gr_room_fail(room, ctx, err);
        return;
    }
    if (got.fate == GR_PDU_UNSIGNED) {
        gr_str via = gr_room_policy_via(room, ctx);
        gr_ctx_reply(ctx, &gr_type_room_unsigned, &(gr_room_unsigned){.via = via, .event = m->event});
        gr_room_save(room, ctx);
        return;
    }
    if (m->is_own) {
        got.made.event_id = e.event_id;
        finish_own(room, ctx, m, &got);
        return;
    }
    if (got.fate == GR_PDU_ACCEPTED) {
        gr_room_tell(room, ctx, &got.made, false);
        gr_room_post_servers(room, ctx, &got.made);
    }
    gr_room_taken body = {.event_id = e.event_id};
    if (gr_str_is(gr_json_text(e.content, "membership"), "knock")) body.state = gr_room_stripped_pdus(room, ctx);
    gr_ctx_reply(ctx, &gr_type_room_taken, &body);
}

/* --- PDUs ----------------------------------------------------------------------------------------------- */
gr_str gr_room_pdu(gr_room *room, gr_arena *a, const gr_room_record *r)
{
    const gr_json *json;
    if (!(r->flags & GR_ROOM_REDACTED) || gr_failed(gr_json_parse(a, r->json, GR_JSON_LAX, &json))) return r->json;
    return gr_event_redact(a, room->version, json);
}

gr_str gr_room_stripped_pdus(gr_room *room, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_array(&w);
    for (size_t i = 0; i < GR_ROOM_STRIPPED_TYPES; i++) {
        gr_room_record r;
        uint64_t number = gr_room_state_number(room, ctx, room->root, gr_str_c(gr_room_stripped_types[i]), (gr_str){0});
        if (number && gr_room_record_at(ctx, number, &r)) gr_jw_raw(&w, gr_room_pdu(room, a, &r));
    }
    gr_jw_end_array(&w);
    gr_str text = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

void gr_room_on_pdus(gr_room *room, gr_ctx *ctx, const gr_room_pdus *m)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    uint64_t i;
    gr_jw_array(&w);
    for (i = 0; i < m->numbers.count && i < GR_RESIDENT_PDUS && out.size < GR_RESIDENT_PDUS_BYTES; i++) {
        gr_room_record r;
        if (!gr_room_record_at(ctx, m->numbers.at[i], &r)) continue;
        if (m->ids_only) gr_jw_str(&w, r.event_id);
        else gr_jw_raw(&w, gr_room_pdu(room, a, &r));
    }
    gr_room_pdus_are body = {.items = gr_str_from(gr_buf_view(&out), 1), .count = i};
    gr_ctx_reply(ctx, &gr_type_room_pdus_are, &body);
    gr_buf_free(&out);
}

/* --- states --------------------------------------------------------------------------------------------- */
typedef struct { uint64_t *at; size_t count, room; gr_arena *arena; } numbers;

static void push(numbers *n, uint64_t number)
{
    if (n->count == n->room) {
        uint64_t *old = n->at;
        n->room = n->room ? n->room * 2 : 64;
        n->at = gr_arena_alloc(n->arena, n->room * sizeof *n->at);
        if (n->count) memcpy(n->at, old, n->count * sizeof *n->at);
    }
    n->at[n->count++] = number;
}

static bool on_key(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    (void)key, (void)before;
    if (after) push(arg, after);
    return true;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static numbers state_of(gr_room *room, gr_ctx *ctx, uint64_t root)
{
    numbers state = {.arena = gr_ctx_arena(ctx)};
    uint64_t after = 0;
    do after = gr_room_changes(room, ctx, 0, root, after, false, on_key, &state);
    while (after);
    if (state.count) qsort(state.at, state.count, sizeof *state.at, by_number);
    return state;
}

static gr_u64s nothing_in_common(void *arg, uint64_t number)
{
    (void)arg, (void)number;
    return (gr_u64s){0};
}

/* What is in the auth chain of these and not in that of nothing. */
static bool chain_of(gr_ctx *ctx, const numbers *events, gr_u64s *out)
{
    gr_u64s both[2] = {{events->at, events->count}, {0}};
    gr_chain_states states = {.states = both, .count = 2, .common_above = nothing_in_common};
    gr_chain chain = gr_room_chain(ctx);
    return gr_chain_difference(&chain, gr_ctx_arena(ctx), &states, out);
}

/* Both ascending: takes from a what b has. */
static void take_out(gr_u64s *a, const numbers *b)
{
    size_t kept = 0, k = 0;
    for (size_t i = 0; i < a->count; i++) {
        while (k < b->count && b->at[k] < a->at[i]) k++;
        if (k == b->count || b->at[k] != a->at[i]) a->at[kept++] = a->at[i];
    }
    a->count = kept;
}

/* Only state events have a place in the chain cover; of another its auth events stand for it.  How many these are. */
static size_t add_event(const gr_room *room, numbers *n, gr_ctx *ctx, const gr_room_record *r)
{
    gr_event e;
    size_t before = n->count;
    if (r->is_state) push(n, r->number);
    else if (gr_room_event_of(room, gr_ctx_arena(ctx), r, &e))
        for (size_t i = 0; i < e.auth_events.count; i++) {
            uint64_t number;
            if (gr_room_number_of(ctx, e.auth_events.at[i], &number)) push(n, number);
        }
    return r->is_state ? 0 : n->count - before;
}

/* The chain and the last `cited` of these, ascending, each once. */
static gr_u64s with_cited(gr_ctx *ctx, const gr_u64s *chain, const numbers *events, size_t cited)
{
    size_t kept = 0;
    numbers all = {.arena = gr_ctx_arena(ctx)};
    for (size_t i = 0; i < chain->count; i++) push(&all, chain->at[i]);
    for (size_t i = events->count - cited; i < events->count; i++) push(&all, events->at[i]);
    if (all.count) qsort(all.at, all.count, sizeof *all.at, by_number);
    for (size_t i = 0; i < all.count; i++)
        if (kept == 0 || all.at[kept - 1] != all.at[i]) all.at[kept++] = all.at[i];
    return (gr_u64s){all.at, kept};
}

static void answer_numbers(gr_ctx *ctx, gr_u64s all, uint64_t after)
{
    size_t first = 0;
    while (first < all.count && all.at[first] <= after) first++;
    size_t count = all.count - first;
    gr_room_listed body = {.more = count > GR_RESIDENT_NUMBERS};
    body.numbers = (gr_u64s){all.at + first, body.more ? GR_RESIDENT_NUMBERS : count};
    gr_ctx_reply(ctx, &gr_type_room_listed, &body);
}

void gr_room_on_list(gr_room *room, gr_ctx *ctx, const gr_room_list *m)
{
    uint64_t number;
    gr_room_record r;
    gr_u64s chain;
    if (!gr_room_number_of(ctx, m->event_id, &number) || !gr_room_record_at(ctx, number, &r) || (r.flags & GR_ROOM_OUTLIER)) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "This server does not know the state before that event"));
        return;
    }
    numbers state = state_of(room, ctx, r.state_before), with_event = state;
    if (m->without_before) with_event = (numbers){.arena = gr_ctx_arena(ctx)};
    if (!m->chain) {
        answer_numbers(ctx, (gr_u64s){state.at, state.count}, m->after);
        return;
    }
    size_t cited = add_event(room, &with_event, ctx, &r);
    if (!chain_of(ctx, &with_event, &chain)) {
        gr_ctx_fail(ctx, gr_fail(GR_UNKNOWN, "The auth chain of that state is not known"));
        return;
    }
    if (cited) chain = with_cited(ctx, &chain, &with_event, cited);
    if (m->without_state) take_out(&chain, &state);
    answer_numbers(ctx, chain, m->after);
}
