/* stripped.c - reading the state that comes with invites and knocks. See stripped.h. */
#include "edge/stripped.h"

void gr_stripped_read(gr_call *call, gr_str room_id, const gr_room_version *version, const gr_json *list, gr_stripped *out)
{
    bool is_list = gr_json_is(list, GR_JSON_ARRAY);
    uint32_t count = is_list && list->count < GR_STRIPPED_MAX ? list->count : is_list ? GR_STRIPPED_MAX : 0;
    *out = (gr_stripped){.room_id = room_id, .version = version,
                         .events = gr_arena_alloc(call->arena, (count + 1) * sizeof *out->events)};
    for (uint32_t i = 0; i < count; i++)
        out->events[out->count++] = (gr_signed_event){.version = version, .json = &list->items[i]};
}

static bool is_create(const gr_json *event)
{
    return gr_str_is(gr_json_text(event, "type"), "m.room.create");
}

/* Without a signature it may still tell what the room is called, where the version does not insist. */
static bool is_stripped(const gr_json *event)
{
    return gr_json_text(event, "type").size && gr_json_text(event, "sender").size
        && gr_json_is(gr_json_get(event, "state_key"), GR_JSON_STRING)
        && gr_json_is(gr_json_get(event, "content"), GR_JSON_OBJECT);
}

static gr_err check(gr_stripped *s)
{
    bool has_create = false;
    for (size_t i = 0; i < s->count; i++) {
        const gr_signed_event *e = &s->events[i];
        if (gr_failed(e->err) || !e->event.has_state_key)
            return gr_fail(GR_INVALID_PARAM, "An event of the room's state is not one of its version, or not signed");
        if (!gr_str_eq(e->event.room_id, s->room_id))
            return gr_fail(GR_INVALID_PARAM, "An event of the room's state is of another room");
        has_create |= is_create(e->json);
    }
    return has_create ? gr_ok() : gr_fail(GR_MISSING_PARAM, "The create event is missing in the room's state");
}

static void write_event(gr_jw *w, const gr_json *event)
{
    static const char *const kept[] = {"content", "sender", "state_key", "type"};
    gr_jw_object(w);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) gr_jw_kjson(w, kept[i], gr_json_get(event, kept[i]));
    gr_jw_end_object(w);
}

gr_err gr_stripped_write(gr_call *call, gr_stripped *s, const gr_event *member, gr_str *out)
{
    gr_buf buf = {0};
    gr_jw w = gr_jw_begin(&buf);
    *out = (gr_str){0};
    s->err = s->version->room_id_is_create_hash ? check(s) : gr_ok();
    if (gr_failed(s->err)) return s->err;
    gr_jw_array(&w);
    for (size_t i = 0; i < s->count; i++) {
        const gr_json *event = s->events[i].json;
        bool is_own = gr_str_is(gr_json_text(event, "type"), "m.room.member")
            && gr_str_eq(gr_json_text(event, "state_key"), member->state_key);
        if (is_own || !is_stripped(event)) continue;
        s->encrypted |= gr_str_is(gr_json_text(event, "type"), "m.room.encryption");
        write_event(&w, event);
    }
    write_event(&w, member->json);
    gr_jw_end_array(&w);
    *out = gr_arena_str(call->arena, gr_buf_view(&buf));
    gr_buf_free(&buf);
    return gr_ok();
}
