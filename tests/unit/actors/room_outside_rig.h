/* room_outside_rig.h - events that come to a room under test from outside. */
#pragma once
#include "tests/unit/actors/room_rig.h"

#include "actors/room/graph.h"

/* An event as another server would send it, on top of the newest one, not accepted yet. */
static inline gr_event outside(rig *r, const char *sender, const char *type, const char *content, gr_str *text)
{
    gr_room *room = room_of(r);
    gr_str prev = gr_arena_str(r->long_arena, room->extremities[0].id);
    gr_event_fields f = {.version = room->version,
                         .room_id = room->id,
                         .sender = gr_str_c(sender),
                         .type = gr_str_c(type),
                         .content = gr_str_c(content),
                         .prev_events = {&prev, 1},
                         .depth = (int64_t)room->depth + 1,
                         .origin_server_ts = 1};
    gr_event e;
    gr_event_built built;
    assert_false(gr_failed(gr_event_build(r->long_arena, &f, &r->signer, &built)));
    assert_false(gr_failed(gr_event_parse(r->long_arena, room->version, built.text, &e)));
    *text = built.text;
    return e;
}

static inline gr_room_made accept(rig *r, const gr_event *e, gr_str text)
{
    gr_room_made made;
    gr_arena_reset(r->arena);
    gr_ctx_begin(&r->ctx, r->address);
    assert_false(gr_failed(gr_room_accept(room_of(r), &r->ctx, e, text, GR_ROOM_ACCEPTED, &made)));
    gr_room_save(room_of(r), &r->ctx);
    rig_finish(r);
    return made;
}
