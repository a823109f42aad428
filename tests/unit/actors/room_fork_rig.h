/* room_fork_rig.h - a room under test that gets events as other servers send them, wherever in its history. */
#pragma once
#include "tests/unit/actors/room_rig.h"

#include "actors/room/graph.h"

#include <stdio.h>

typedef struct {
    rig *r;
    gr_room_made made; /* by the last put */
    int64_t ts;
    uint32_t flags; /* of what is put; 0: accepted */
} fork_room;

static inline fork_room open_room(const char *version)
{
    char request[80];
    snprintf(request, sizeof request, "{\"preset\":\"public_chat\",\"room_version\":\"%s\"}", version);
    fork_room f = {.r = room_new((room_options){version, request}), .ts = 1700000100000};
    assert_ok(f.r);
    room_member(f.r, "@b:here", "join", "@b:here");
    assert_ok(f.r);
    return f;
}

static inline gr_str newest(fork_room *f)
{
    gr_room *room = room_of(f->r);
    return gr_arena_str(f->r->long_arena, room->extremities[room->extremity_count - 1].id);
}

static inline gr_strs auth_of(gr_room *room, rig *r, uint64_t before, const gr_event_fields *e)
{
    const gr_json *content;
    assert_false(gr_failed(gr_json_parse(r->arena, e->content, GR_JSON_LAX, &content)));
    gr_auth_needs needs = gr_auth_select(room->version, e->type, e->sender, e->state_key, content);
    gr_strs ids = {gr_arena_alloc(r->arena, GR_AUTH_NEEDS_MAX * sizeof(gr_str)), 0};
    for (size_t i = 0; i < needs.count; i++) {
        const gr_event *found =
            gr_room_state_at(room, &r->ctx, before, needs.at[i].type, needs.at[i].state_key);
        if (found) ids.at[ids.count++] = found->event_id;
    }
    return ids;
}

/* Room versions whose servers choose event ids want hashes beside the ids they cite; nobody looks at them. */
static inline void put_ids(fork_room *f, gr_event_fields *x)
{
    gr_strs hashes = {gr_arena_alloc(f->r->long_arena, 32 * sizeof(gr_str)), x->prev_events.count};
    x->event_id = (gr_str){0};
    if (x->version->event_id != GR_EVENT_ID_CHOSEN) return;
    for (size_t i = 0; i < 32; i++) hashes.at[i] = GR_STR("x");
    x->prev_hashes = hashes;
    hashes.count = x->auth_events.count;
    x->auth_hashes = hashes;
    x->event_id = gr_arena_printf(f->r->long_arena, "$%lld%s", (long long)x->origin_server_ts, strchr(x->sender.ptr, ':'));
}

/* An event as another server would send it, behind these; its time is later than that of all before. */
static inline gr_str put(fork_room *f, gr_strs prevs, const char *sender, const char *type, const char *key,
                  const char *content)
{
    rig *r = f->r;
    gr_room *room = room_of(r);
    gr_arena_reset(r->arena);
    gr_ctx_begin(&r->ctx, r->address);
    uint64_t before, number;
    gr_room_record last;
    gr_event e;
    gr_event_built built;
    room->unbounded = true; /* also after a reload */
    assert_false(gr_failed(gr_room_state_before(room, &r->ctx, prevs, &before)));
    gr_event_fields x = {.version = room->version,
                         .room_id = room->id,
                         .sender = gr_str_c(sender),
                         .type = gr_str_c(type),
                         .has_state_key = key != NULL,
                         .state_key = gr_str_c(key),
                         .content = gr_str_c(content),
                         .prev_events = prevs,
                         .origin_server_ts = f->ts++};
    for (size_t i = 0; i < prevs.count; i++) {
        assert_true(gr_room_number_of(&r->ctx, prevs.at[i], &number));
        assert_true(gr_room_record_at(&r->ctx, number, &last));
        if ((int64_t)last.depth >= x.depth) x.depth = (int64_t)last.depth + 1;
    }
    x.auth_events = auth_of(room, r, before, &x);
    put_ids(f, &x);
    assert_false(gr_failed(gr_event_build(r->long_arena, &x, &r->signer, &built)));
    assert_false(gr_failed(gr_event_parse(r->long_arena, room->version, built.text, &e)));
    uint32_t flags = f->flags ? f->flags : GR_ROOM_ACCEPTED;
    assert_false(gr_failed(gr_room_accept(room, &r->ctx, &e, built.text, flags, &f->made)));
    gr_room_finish(room, &r->ctx, &f->made, false);
    rig_finish(r);
    return built.event_id;
}

static inline gr_strs one(gr_str *a) { return (gr_strs){a, 1}; }
