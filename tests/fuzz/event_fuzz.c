/* Any bytes as an event of any room version: parsing, checking, deciding and redacting never crash,
    what parses keeps
 * its event id when redacted, and redacting twice is redacting once.  The first byte picks the version. */
#include "proto/auth.h"

static const gr_event *about_itself(void *arg, gr_str type, gr_str state_key)
{
    const gr_event *event = arg;
    return gr_str_eq(event->type, type) && gr_str_eq(event->state_key, state_key) ? event : NULL;
}

/* A room whose create event, power levels and join rules come from the input as well. */
static const gr_event *anything(void *arg, gr_str type, gr_str state_key)
{
    (void)type, (void)state_key;
    return arg;
}

static bool find(void *arg, gr_str server, gr_str key_id, int64_t ts, unsigned char out[GR_SIGN_PUBLIC])
{
    (void)arg, (void)server, (void)ts;
    memset(out, 1, GR_SIGN_PUBLIC);
    return key_id.size % 2 == 0;
}

static bool verify(const unsigned char public_key[GR_SIGN_PUBLIC], gr_str message,
                   const unsigned char signature[GR_SIGN_SIGNATURE])
{
    return public_key[0] && message.size && signature[0] != 255;
}

static void decide(gr_arena *arena, gr_event *event)
{
    const gr_auth_state states[] = {{about_itself, event}, {anything, event}};
    const gr_event *list[] = {event, event};
    for (size_t i = 0; i < 2; i++) {
        gr_err e = gr_auth_check(arena, event, &states[i]);
        gr_assert(gr_failed(e) == (e.text != NULL));
        gr_auth_may_redact(&states[i], event, event);
    }
    gr_assert(!gr_failed(gr_auth_check_list(arena, event, list, NULL, 2)) == gr_str_is(event->type,
        "m.room.create"));
}

static void redact(gr_arena *arena, const gr_room_version *version, const gr_json *json)
{
    gr_str once = gr_event_redact(arena, version, json);
    const gr_json *again = NULL;
    gr_err e = gr_json_parse(arena, once, version->json, &again);
    gr_assert(!gr_failed(e));
    gr_assert(gr_str_eq(once, gr_event_redact(arena, version, again)));
    gr_assert(gr_str_eq(gr_event_id(arena, version, json), gr_event_id(arena, version, again)));
}

static void one(gr_arena *arena, const gr_room_version *version, gr_str text)
{
    static const gr_key_ring ring = {.find = find, .verify = verify};
    const gr_json *json = NULL;
    gr_event event;
    gr_str stored;
    gr_event_shape shape;
    if (gr_failed(gr_json_parse(arena, text, version->json, &json))) return;
    redact(arena, version, json);
    if (!gr_failed(gr_event_check(arena, version, json, &ring, &event, &stored, &shape)))
        gr_assert(stored.size <= GR_EVENT_SIZE_MAX && event.json);
    if (!gr_failed(gr_event_parse(arena, version, text, &event))) decide(arena, &event);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size == 0) return 0;
    gr_arena *arena = gr_arena_new(0);
    one(arena, gr_room_version_at(data[0] % GR_ROOM_VERSION_COUNT), gr_str_of(data + 1, size - 1));
    gr_arena_free(&arena);
    return 0;
}
