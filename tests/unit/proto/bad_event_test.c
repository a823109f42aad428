/* bad_event_test.c - every way in which an event of another server can be no event, one by one, and what it is refused
 * with.  A good one is taken, and one of its fields is replaced or left out.  What needs the room to see it is in
 * auth_test.c and actors/room_receive_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/event.h"

#define HASHED "$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ROOM_12 "\"!aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""

static gr_arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_arena_free(&arena);
    return 0;
}

/* --- an event with one field changed ------------------------------------------------------------------------ */
typedef struct { const char *name, *value; } field;

/* Of the first two versions when they are told; else of one with hashed ids. */
static gr_str text_of(int version, const char *name, const char *value)
{
    bool chosen = version < 3;
    const field fields[] = {
        {"auth_events", chosen ? "[[\"$a:d\",{\"sha256\":\"x\"}]]" : "[\"" HASHED "\"]"},
        {"content", "{\"body\":\"hello\"}"},
        {"depth", "7"},
        {"event_id", chosen ? "\"$e:d\"" : NULL},
        {"hashes", "{\"sha256\":\"x\"}"},
        {"origin_server_ts", "1000"},
        {"prev_events", chosen ? "[[\"$p:d\",{\"sha256\":\"x\"}]]" : "[\"" HASHED "\"]"},
        {"room_id", version < 12 ? "\"!r:d\"" : ROOM_12},
        {"sender", "\"@a:d\""},
        {"signatures", "{}"},
        {"state_key", "\"\""},
        {"type", "\"m.room.topic\""},
    };
    gr_buf buf = {0};
    gr_jw w = gr_jw_begin(&buf);
    gr_jw_object(&w);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const char *now = strcmp(fields[i].name, name) == 0 ? value : fields[i].value;
        if (now) gr_jw_kraw(&w, fields[i].name, gr_str_c(now));
    }
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(arena, gr_buf_view(&buf));
    gr_buf_free(&buf);
    return text;
}

/* Both ways to read it agree: as text, and as part of a transaction that was parsed laxly. */
static void refused(int version, const char *name, const char *value, gr_errcode wanted)
{
    gr_event event;
    const gr_json *json;
    const gr_room_version *v = gr_room_version_at((size_t)version - 1);
    gr_str text = text_of(version, name, value);
    gr_err read = gr_event_parse(arena, v, text, &event);
    if (read.code != wanted)
        fail_msg("version %d, %s: %.60s: %s", version, name, value ? value : "none", gr_errcode_wire(read.code));
    if (gr_failed(gr_json_parse(arena, text, GR_JSON_LAX, &json))) return;
    gr_err taken = gr_event_from_json(arena, v, json, &event);
    if (taken.code != wanted)
        fail_msg("version %d, %s in a transaction: %.60s: %s", version, name, value ? value : "none",
                 gr_errcode_wire(taken.code));
    if (gr_failed(taken)) assert_true(event.json == NULL && taken.text != NULL);
}

static void in_all(const char *name, const char *value, gr_errcode wanted)
{
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++) refused(v, name, value, wanted);
}

static const char *repeated(const char *before, const char *what, size_t count, const char *after)
{
    gr_buf buf = {0};
    gr_buf_c(&buf, before);
    for (size_t i = 0; i < count; i++) gr_buf_c(&buf, what);
    gr_buf_c(&buf, after);
    gr_str text = gr_arena_str(arena, gr_buf_view(&buf));
    gr_buf_free(&buf);
    return text.ptr;
}

static void the_event_as_it_is_is_good(void **state)
{
    (void)state;
    in_all("none", NULL, GR_OK);
}

/* --- sizes -------------------------------------------------------------------------------------------------- */
static void more_than_65536_bytes_are_too_large(void **state)
{
    (void)state;
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++) {
        size_t room = GR_EVENT_SIZE_MAX - text_of(v, "content", "{\"body\":\"\"}").size;
        refused(v, "content", repeated("{\"body\":\"", "x", room, "\"}"), GR_OK);
        refused(v, "content", repeated("{\"body\":\"", "x", room + 1, "\"}"), GR_TOO_LARGE);
    }
}

static void fields_are_at_most_255_bytes(void **state)
{
    (void)state;
    in_all("type", repeated("\"", "t", 255, "\""), GR_OK);
    in_all("type", repeated("\"", "t", 256, "\""), GR_TOO_LARGE);
    in_all("state_key", repeated("\"", "k", 255, "\""), GR_OK);
    in_all("state_key", repeated("\"", "k", 256, "\""), GR_TOO_LARGE);
    in_all("state_key", repeated("\"", "\xc3\xa4", 128, "\""), GR_TOO_LARGE); /* bytes, not characters */
    in_all("sender", repeated("\"@", "u", 252, ":d\""), GR_OK);
    in_all("sender", repeated("\"@", "u", 253, ":d\""), GR_TOO_LARGE);
    for (int v = 1; v < 12; v++) {
        refused(v, "room_id", repeated("\"!", "r", 252, ":d\""), GR_OK);
        refused(v, "room_id", repeated("\"!", "r", 253, ":d\""), GR_TOO_LARGE);
    }
    for (int v = 1; v < 3; v++) {
        refused(v, "event_id", repeated("\"$", "e", 252, ":d\""), GR_OK);
        refused(v, "event_id", repeated("\"$", "e", 253, ":d\""), GR_TOO_LARGE);
    }
}

static const char *ids(int version, size_t count)
{
    const char *one = version < 3 ? ",[\"$p:d\",{\"sha256\":\"x\"}]" : ",\"" HASHED "\"";
    return repeated(version < 3 ? "[[\"$p:d\",{}]" : "[\"" HASHED "\"", one, count - 1, "]");
}

static void predecessors_are_at_most_20_and_auth_events_at_most_10(void **state)
{
    (void)state;
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++) {
        refused(v, "prev_events", ids(v, 20), GR_OK);
        refused(v, "prev_events", ids(v, 21), GR_TOO_LARGE);
        refused(v, "auth_events", ids(v, 10), GR_OK);
        refused(v, "auth_events", ids(v, 11), GR_TOO_LARGE);
    }
}

/* --- numbers ------------------------------------------------------------------------------------------------ */
static void floats_and_large_integers_end_with_version_5(void **state)
{
    (void)state;
    static const char *const contents[] = {"{\"a\":1.5}", "{\"a\":[{\"b\":1.0}]}", "{\"a\":1e3}",
                                           "{\"a\":9007199254740992}", "{\"a\":-9007199254740992}"};
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++)
        for (size_t i = 0; i < 5; i++) refused(v, "content", contents[i], v < 6 ? GR_OK : GR_BAD_JSON);
}

static void depth_and_time_are_integers_in_range(void **state)
{
    (void)state;
    static const char *const bad[] = {"1.5", "\"1\"", "true", "null", "[]", "{}"};
    for (size_t i = 0; i < 6; i++) {
        in_all("depth", bad[i], GR_BAD_JSON);
        in_all("origin_server_ts", bad[i], GR_BAD_JSON);
    }
    in_all("depth", NULL, GR_BAD_JSON);
    in_all("origin_server_ts", NULL, GR_BAD_JSON);
    in_all("depth", "-1", GR_BAD_JSON);
    in_all("depth", "9007199254740991", GR_OK);
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++) {
        refused(v, "depth", "9223372036854775807", v < 6 ? GR_OK : GR_BAD_JSON);
        refused(v, "depth", "9223372036854775808", GR_BAD_JSON);
    }
}

/* --- types and identifiers ---------------------------------------------------------------------------------- */
static void fields_of_the_wrong_type_or_missing_are_bad(void **state)
{
    (void)state;
    static const char *const texts[] = {"type", "sender", "room_id", "state_key"};
    static const char *const no_text[] = {"7", "true", "null", "[]", "{}"};
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 5; k++) in_all(texts[i], no_text[k], GR_BAD_JSON);
    for (size_t i = 0; i < 3; i++) in_all(texts[i], NULL, GR_BAD_JSON);
    static const char *const no_object[] = {"7", "true", "null", "[]", "\"x\""};
    for (size_t k = 0; k < 5; k++) in_all("content", no_object[k], GR_BAD_JSON);
    in_all("content", NULL, GR_BAD_JSON);
    static const char *const no_list[] = {"7", "true", "null", "{}", "\"x\"", "[7]", "[null]", "[[]]", "[{}]"};
    for (size_t k = 0; k < 9; k++) {
        in_all("prev_events", no_list[k], GR_BAD_JSON);
        in_all("auth_events", no_list[k], GR_BAD_JSON);
    }
    in_all("prev_events", NULL, GR_BAD_JSON);
    in_all("auth_events", NULL, GR_BAD_JSON);
}

static void edges_have_the_form_of_their_version(void **state)
{
    (void)state;
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++) {
        refused(v, "prev_events", "[\"" HASHED "\"]", v < 3 ? GR_BAD_JSON : GR_OK);
        refused(v, "prev_events", "[[\"$p:d\",{\"sha256\":\"x\"}]]", v < 3 ? GR_OK : GR_BAD_JSON);
        refused(v, "auth_events", v < 3 ? "[[\"$p:d\"]]" : "[\"$\"]", GR_BAD_JSON);
        refused(v, "auth_events", v < 3 ? "[[\"$p:d\",{},{}]]" : "[\"p\"]", GR_BAD_JSON);
        refused(v, "auth_events", v < 3 ? "[[\"$p:d\",\"x\"]]" : "[\"\"]", GR_BAD_JSON);
    }
}

static void ids_of_the_wrong_grammar_are_bad(void **state)
{
    (void)state;
    static const char *const users[] = {"\"\"", "\"a\"", "\"a:d\"", "\"@a\"", "\"@a:\"", "\"!a:d\"", "\"@a:d/e\"", "\"@a:d:x\"",
                                        "\"@a:[::1\""};
    for (size_t i = 0; i < sizeof users / sizeof *users; i++) in_all("sender", users[i], GR_BAD_JSON);
    static const char *const rooms[] = {"\"\"", "\"r\"", "\"!r\"", "\"!r:\"", "\"@r:d\"", "\"!r:d d\""};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) in_all("room_id", rooms[i], GR_BAD_JSON);
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++) {
        refused(v, "room_id", "\"!r:d\"", v < 12 ? GR_OK : GR_BAD_JSON);
        refused(v, "room_id", ROOM_12, v < 12 ? GR_BAD_JSON : GR_OK);
    }
    static const char *const events[] = {"\"\"", "\"e:d\"", "\"$e\"", "\"$e:\"", "\"" HASHED "\"", "7"};
    for (int v = 1; v < 3; v++)
        for (size_t i = 0; i < sizeof events / sizeof *events; i++) refused(v, "event_id", events[i], GR_BAD_JSON);
    for (int v = 1; v < 3; v++) refused(v, "event_id", NULL, GR_BAD_JSON);
}

static void a_create_event_of_version_12_has_no_room_id(void **state)
{
    (void)state;
    for (int v = 11; v <= 12; v++) {
        gr_event event;
        gr_str text = gr_arena_printf(arena, "{\"auth_events\":[],\"content\":{},\"depth\":1,\"origin_server_ts\":1,"
                                      "\"prev_events\":[],\"room_id\":%s,\"sender\":\"@a:d\",\"state_key\":\"\","
                                      "\"type\":\"m.room.create\"}", v < 12 ? "\"!r:d\"" : ROOM_12);
        assert_int_equal(gr_event_parse(arena, gr_room_version_at((size_t)v - 1), text, &event).code,
                         v < 12 ? GR_OK : GR_BAD_JSON);
    }
}

/* --- what is no JSON ---------------------------------------------------------------------------------------- */
static void what_is_no_object_of_json_is_refused(void **state)
{
    (void)state;
    static const struct { const char *text; gr_errcode code; } cases[] = {
        {"", GR_NOT_JSON}, {"{", GR_NOT_JSON}, {"{\"type\":\"\xff\"}", GR_NOT_JSON}, {"{\"a\":1,}", GR_NOT_JSON},
        {"{\"a\":NaN}", GR_NOT_JSON}, {"{\"a\":1,\"a\":2}", GR_BAD_JSON}, {"[]", GR_BAD_JSON}, {"7", GR_BAD_JSON},
        {"null", GR_BAD_JSON}};
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            gr_event event;
            gr_err e = gr_event_parse(arena, gr_room_version_at((size_t)v - 1), gr_str_c(cases[i].text), &event);
            if (e.code != cases[i].code) fail_msg("version %d: %s gave %s", v, cases[i].text, gr_errcode_wire(e.code));
        }
}

/* --- signatures --------------------------------------------------------------------------------------------- */
static bool one_key(void *arg, gr_str server, gr_str key_id, int64_t ts, unsigned char out[GR_SIGN_PUBLIC])
{
    const gr_signer *owner = arg;
    (void)ts;
    memcpy(out, owner->public_key, GR_SIGN_PUBLIC);
    return gr_str_eq(server, owner->server_name) && gr_str_is(key_id, owner->key_id);
}

static gr_errcode checked(int version, gr_str text, const gr_signer *owner)
{
    gr_event event;
    gr_str stored;
    gr_event_shape shape;
    const gr_json *json;
    const gr_key_ring ring = {.find = one_key, .arg = (void *)owner};
    assert_false(gr_failed(gr_json_parse(arena, text, GR_JSON_LAX, &json)));
    return gr_event_check(arena, gr_room_version_at((size_t)version - 1), json, &ring, &event, &stored, &shape).code;
}

static gr_str signed_text(int version, const char *name, const char *value, const gr_signer *signer)
{
    gr_event_built built;
    const gr_json *json;
    assert_false(gr_failed(gr_json_parse(arena, text_of(version, "signatures", NULL), GR_JSON_LAX, &json)));
    if (name) assert_false(gr_failed(gr_json_parse(arena, text_of(version, name, value), GR_JSON_LAX, &json)));
    assert_false(gr_failed(gr_event_sign(arena, gr_room_version_at((size_t)version - 1), json, signer, &built)));
    return built.text;
}

static void a_forged_sender_is_dropped_in_every_version(void **state)
{
    (void)state;
    unsigned char seed[GR_SIGN_SEED] = {7}, other[GR_SIGN_SEED] = {8};
    gr_signer owner, forger;
    assert_false(gr_failed(gr_signer_from_seed(GR_STR("d"), GR_STR("1"), seed, &owner)));
    assert_false(gr_failed(gr_signer_from_seed(GR_STR("d"), GR_STR("1"), other, &forger)));
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++) {
        assert_int_equal(checked(v, signed_text(v, NULL, NULL, &owner), &owner), GR_OK);
        assert_int_equal(checked(v, signed_text(v, NULL, NULL, &forger), &owner), GR_INVALID_SIGNATURE);
        assert_int_equal(checked(v, signed_text(v, "sender", "\"@a:elsewhere\"", &owner), &owner), GR_INVALID_SIGNATURE);
        assert_int_equal(checked(v, text_of(v, "none", NULL), &owner), GR_INVALID_SIGNATURE);
    }
}

static void hashes_and_signatures_are_objects(void **state)
{
    (void)state;
    gr_signer owner = {.server_name = GR_STR("d")};
    static const char *const bad[] = {NULL, "7", "[]", "\"x\"", "null"};
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++)
        for (size_t i = 0; i < 5; i++) {
            assert_int_equal(checked(v, text_of(v, "hashes", bad[i]), &owner), GR_BAD_JSON);
            assert_int_equal(checked(v, text_of(v, "signatures", bad[i]), &owner), GR_BAD_JSON);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_event_as_it_is_is_good),
        TEST(more_than_65536_bytes_are_too_large),
        TEST(fields_are_at_most_255_bytes),
        TEST(predecessors_are_at_most_20_and_auth_events_at_most_10),
        TEST(floats_and_large_integers_end_with_version_5),
        TEST(depth_and_time_are_integers_in_range),
        TEST(fields_of_the_wrong_type_or_missing_are_bad),
        TEST(edges_have_the_form_of_their_version),
        TEST(ids_of_the_wrong_grammar_are_bad),
        TEST(a_create_event_of_version_12_has_no_room_id),
        TEST(what_is_no_object_of_json_is_refused),
        TEST(a_forged_sender_is_dropped_in_every_version),
        TEST(hashes_and_signatures_are_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
