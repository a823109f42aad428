/* push_fuzz.c - stored push rules and an event, split at the first zero byte: rules of any text are read, or count as none. */
#include "proto/push.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gr_arena *arena = gr_arena_new(0);
    gr_str all = {(const char *)data, size}, me = GR_STR("@me:x"), json = {0};
    ptrdiff_t split = gr_str_find(all, '\0');
    gr_str stored = split < 0 ? all : gr_str_head(all, (size_t)split);
    gr_str text = split < 0 ? GR_STR("{}") : gr_str_from(all, (size_t)split + 1);
    const gr_push_rules *rules = gr_push_compile(arena, me, stored);
    const gr_json *event = NULL, *tree = NULL;
    gr_push_who who = {.user = me, .displayname = GR_STR("Me"), .members = 2, .sender_power = 50, .room_notify_power = 50};
    gr_assert(rules);
    if (!gr_failed(gr_json_parse(arena, text, GR_JSON_LAX, &event))) {
        gr_push_result result = gr_push_evaluate(rules, event, &who);
        gr_assert(!gr_failed(gr_json_parse(arena, gr_push_actions(arena, &result), GR_JSON_LAX, &tree)));
        gr_str none = {0}, after = {0};
        if (!gr_failed(gr_push_put(arena, me, stored, GR_STR("override"), GR_STR("mine"), event, none, none, &after)))
            gr_assert(!gr_failed(gr_push_json(arena, me, after, GR_STR("global/override/mine"), &json)));
    }
    if (!gr_failed(gr_push_json(arena, me, stored, GR_STR(""), &json)))
        gr_assert(!gr_failed(gr_json_parse(arena, json, GR_JSON_LAX, &tree)));
    gr_arena_free(&arena);
    return 0;
}
