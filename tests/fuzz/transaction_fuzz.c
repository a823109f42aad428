/* transaction_fuzz.c - any bytes as the body of a transaction: whatever its PDUs are, each is judged by itself. */
#include "actors/keys/wants.h"
#include "actors/room/incoming.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static gr_strs texts_of(gr_arena *arena, const gr_json *pdus)
{
    gr_strs texts = {gr_arena_alloc(arena, (GR_INCOMING_PDUS + 1) * sizeof(gr_str)), 0};
    gr_wants wants = gr_wants_begin(arena, GR_STR("here"), 1);
    for (uint32_t i = 0; i < pdus->count && i < GR_INCOMING_PDUS; i++) {
        gr_wants_add_pdu(&wants, &pdus->items[i]);
        texts.at[texts.count++] = gr_json_printed(arena, &pdus->items[i]);
    }
    gr_assert(wants.count <= GR_KEYS_SERVERS_MAX);
    for (size_t i = 0; i < wants.count; i++) gr_assert(wants.at[i].key_ids.count <= GR_WANTS_KEYS);
    return texts;
}

static void check(gr_arena *arena, gr_str version, gr_strs texts)
{
    static const char key[GR_SIGN_PUBLIC] = {1};
    gr_buf input = {0}, output = {0};
    void *body;
    gr_server_key known = {.key_id = GR_STR("ed25519:1"), .public_key = {key, sizeof key}, .valid_until_ms = INT64_MAX};
    gr_keys_known server = {.server = GR_STR("there"), .keys = {&known, 1}};
    gr_incoming_check m = {.version = version, .pdus = texts, .keys = {&server, 1}};
    gr_body_encode(&input, &gr_type_incoming_check, &m);
    gr_assert(gr_room_incoming_work.run(arena, gr_buf_view(&input), NULL, &output));
    gr_err err = gr_body_decode(arena, &gr_type_incoming_checked, gr_buf_view(&output), &body);
    gr_assert(!gr_failed(err));
    const gr_incoming_checked *checked = body;
    gr_assert(checked->pdus.count == texts.count);
    for (size_t i = 0; i < texts.count; i++) {
        const gr_checked_pdu *p = &checked->pdus.at[i];
        gr_assert(p->error.size ? p->text.size == 0 : p->text.size <= GR_EVENT_SIZE_MAX && p->event_id.size);
    }
    gr_buf_free(&input);
    gr_buf_free(&output);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const gr_json *json;
    if (size == 0) return 0;
    gr_arena *arena = gr_arena_new(0);
    gr_str version = gr_str_c(gr_room_version_at(data[0] % GR_ROOM_VERSION_COUNT)->id);
    gr_err err = gr_json_parse(arena, gr_str_of((const char *)data + 1, size - 1), GR_JSON_LAX, &json);
    const gr_json *pdus = gr_failed(err) ? NULL : gr_json_get(json, "pdus");
    if (gr_json_is(pdus, GR_JSON_ARRAY)) check(arena, version, texts_of(arena, pdus));
    gr_arena_free(&arena);
    return 0;
}
