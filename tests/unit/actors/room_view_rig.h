/* room_view_rig.h - reading a room under test: sync, pages, and events from outside put where a test wants them. */
#pragma once
#include "tests/unit/actors/room_rig.h"

#include "actors/room/read.h"

static inline const gr_room_part *view_sync(rig *r, gr_room_sync m)
{
    if (!m.section.size) m.section = GR_STR("join");
    if (!m.to_pos) m.to_pos = room_of(r)->next_pos - 1;
    rig_ask(r, &gr_type_room_sync, &m);
    return r->reply_type == &gr_type_room_part ? r->reply : NULL;
}

static inline const gr_json *view_parse(rig *r, gr_str text)
{
    const gr_json *json = NULL;
    gr_err err = gr_json_parse(r->arena, text, GR_JSON_LAX, &json);
    if (gr_failed(err)) fail_msg("no JSON: %s: %.*s", err.text, GR_ARG(text));
    return json;
}

/* The answer of a message that is answered with result; NULL when it failed. */
static inline const gr_json *view_ask(rig *r, const gr_type *type, const void *body)
{
    rig_ask(r, type, body);
    return r->reply_type == &gr_type_result ? view_parse(r, ((const gr_result *)r->reply)->body) : NULL;
}

static inline gr_str view_text(const gr_json *event, const char *path) { return gr_json_string(gr_json_path(event, path)); }

static inline gr_str say(rig *r, const char *user, const char *text)
{
    gr_buf content = {0};
    gr_buf_printf(&content, "{\"body\":\"%s\",\"msgtype\":\"m.text\"}", text);
    gr_buf_char(&content, 0);
    gr_str id = room_send(r, user, "m.room.message", NULL, content.ptr, NULL);
    gr_buf_free(&content);
    assert_ok(r);
    return gr_arena_str(r->long_arena, id);
}

/* An event of @a:here that came late: it follows the event `prev` and has this depth. */
static inline gr_str view_late(rig *r, gr_str prev, int64_t depth, const char *text)
{
    gr_ctx_begin(&r->ctx, r->address);
    gr_room *room = room_of(r);
    gr_event_built built;
    gr_room_made made;
    gr_arena *a = r->long_arena;
    gr_event_fields f = {.version = room->version, .room_id = room->id, .sender = GR_STR("@a:here"),
                         .type = GR_STR("m.room.message"),
                         .content = gr_arena_printf(a, "{\"body\":\"%s\",\"msgtype\":\"m.text\"}", text),
                         .prev_events = {&prev, 1}, .depth = depth, .origin_server_ts = 1700000000000};
    assert_false(gr_failed(gr_event_build(a, &f, &r->signer, &built)));
    gr_event e;
    gr_str id = built.event_id;
    assert_false(gr_failed(gr_event_load(a, room->version, id, room->id, built.text, &e)));
    assert_false(gr_failed(gr_room_accept(room, &r->ctx, &e, built.text, GR_ROOM_ACCEPTED, &made)));
    gr_room_save(room, &r->ctx);
    rig_finish(r);
    return id;
}
