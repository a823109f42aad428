/* Events: the published vectors, limits, ids and redaction of every version, building and checking. */
#include "proto/event.h"
#include "proto/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define KEY_FILE "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1\n"
#define ROOM_12 "!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ"

static gr_arena *arena;
static gr_signer signer;

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    return gr_failed(gr_signer_from_file(arena, GR_STR("domain"), GR_STR(KEY_FILE), &signer));
}

static int tear_down(void **state)
{
    (void)state;
    gr_arena_free(&arena);
    return 0;
}

static const gr_room_version *version(int number) { return gr_room_version_at((size_t)number - 1); }

static const gr_json *json(gr_str text)
{
    const gr_json *out = NULL;
    gr_err e = gr_json_parse(arena, text, GR_JSON_LAX, &out);
    if (gr_failed(e)) fail_msg("%s in %s", e.text, text.ptr);
    return out;
}

static bool find(void *arg, gr_str server, gr_str key_id, int64_t ts, unsigned char out[GR_SIGN_PUBLIC])
{
    const gr_signer *owner = arg;
    if (ts > 5000000 || !gr_str_eq(server, owner->server_name)) return false;
    if (!gr_str_is(key_id, owner->key_id)) return false;
    memcpy(out, owner->public_key, GR_SIGN_PUBLIC);
    return true;
}

static const gr_key_ring ring = {.find = find, .arg = &signer};

static gr_event_fields fields(int number, const char *type, const char *content)
{
    static gr_str prev[] = {{"$p:domain", 9}}, hash[] = {{"aGFzaA", 6}};
    const gr_room_version *v = version(number);
    return (gr_event_fields){.version = v, .sender = GR_STR("@u:domain"), .type = gr_str_c(type),
        .room_id = v->room_id_is_create_hash ? GR_STR(ROOM_12) : GR_STR("!r:domain"),
        .content = gr_str_c(content), .prev_events = {prev, 1}, .auth_events = {prev, 1},
        .prev_hashes = {hash, 1}, .auth_hashes = {hash, 1}, .depth = 3, .origin_server_ts = 1000000,
        .event_id = v->event_id == GR_EVENT_ID_CHOSEN ? GR_STR("$e:domain") : (gr_str){0}};
}

static gr_event_built build(const gr_event_fields *f)
{
    gr_event_built built;
    gr_err e = gr_event_build(arena, f, &signer, &built);
    if (gr_failed(e)) fail_msg("%s", e.text);
    return built;
}

static void a_minimal_event_signs_as_published(void **state)
{
    (void)state;
    gr_event_built out;
    const gr_json *event = json(GR_STR(
        "{\"room_id\":\"!x:domain\",\"sender\":\"@a:domain\",\"origin\":\"domain\","
        "\"origin_server_ts\":1000000,"
        "\"signatures\":{},\"hashes\":{},\"type\":\"X\",\"content\":{},\"prev_events\":[],\"auth_events\":[],"
        "\"depth\":3,\"unsigned\":{\"age_ts\":1000000}}"));
    assert_false(gr_failed(gr_event_sign(arena, version(1), event, &signer, &out)));
    assert_string_equal(out.text.ptr,
        "{\"auth_events\":[],\"content\":{},\"depth\":3,\"hashes\":{\"sha256\":\"5jM4wQpv6lnBo7CLIghJuHdW"
        "+s2CMBJPUOGOC89ncos\"},\"origin\":\"domain\",\"origin_server_ts\":1000000,"
        "\"prev_events\":[],\"room_id\":\"!x:domain\",\"sender\":\"@a:domain\","
        "\"signatures\":{\"domain\":{\"ed25519:1\":\"KxwGjPSDEtvnF"
        "gU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg\"}},\"type\":\"X\"}");
}

static void an_event_with_redactable_content_signs_as_published(void **state)
{
    (void)state;
    gr_event_built out;
    const gr_json *event = json(GR_STR(
        "{\"content\":{\"body\":\"Here is the message content\"},\"event_id\":\"$0:domain\","
        "\"origin\":\"domain\","
        "\"origin_server_ts\":1000000,\"type\":\"m.room.message\",\"room_id\":\"!r:domain\","
        "\"sender\":\"@u:domain\",\"signatures\":{},\"unsigned\":{\"age_ts\":1000000}}"));
    assert_false(gr_failed(gr_event_sign(arena, version(1), event, &signer, &out)));
    const gr_json *signed_event = json(out.text);
    assert_true(gr_str_is(gr_json_text(gr_json_get(signed_event, "hashes"), "sha256"),
                          "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"));
    const gr_json *ours = gr_json_get(gr_json_get(signed_event, "signatures"), "domain");
    assert_true(gr_str_is(gr_json_text(ours, "ed25519:1"),
        "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA"));
    assert_true(gr_str_is(out.event_id, "$0:domain"));
}

static void a_built_event_passes_its_own_check_in_every_version(void **state)
{
    (void)state;
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++) {
        gr_event_fields f = fields(v, "m.room.message", "{ \"n\": [ 1, -2 ], \"body\": \"h\\u00e9\" }");
        gr_event_built built = build(&f);
        gr_event event;
        gr_str text;
        gr_event_shape shape;
        gr_err e = gr_event_check(arena, f.version, json(built.text), &ring, &event, &text, &shape);
        if (gr_failed(e)) fail_msg("version %d: %s", v, e.text);
        assert_int_equal(shape, GR_EVENT_WHOLE);
        assert_true(gr_str_eq(text, built.text));
        /* it is canonical */
        assert_true(gr_str_eq(gr_json_printed(arena, json(built.text)), built.text));
        assert_true(gr_str_eq(event.event_id, built.event_id));
        assert_true(gr_str_eq(event.room_id, f.room_id) && gr_str_eq(built.room_id, f.room_id));
        assert_int_equal(event.prev_events.count, 1);
        assert_true(gr_str_is(event.auth_events.at[0], "$p:domain"));
        assert_int_equal(built.event_id.size, v < 3 ? 9 : 44);
        assert_null(strpbrk(built.event_id.ptr, v == 3 ? "-_" : "+/"));
    }
}

static void signing_a_template_gives_the_event_that_building_gives(void **state)
{
    (void)state;
    gr_event_fields f = fields(10, "m.room.member", "{\"membership\":\"join\"}");
    gr_event_built built = build(&f), again;
    gr_str text;
    assert_false(gr_failed(gr_event_template(arena, &f, &text)));
    assert_false(gr_failed(gr_event_sign(arena, f.version, json(text), &signer, &again)));
    assert_true(gr_str_eq(built.text, again.text));
    assert_true(gr_str_eq(built.event_id, again.event_id));
}

static void a_version_12_create_event_names_its_room(void **state)
{
    (void)state;
    gr_event_fields f = fields(12, "m.room.create", "{\"room_version\":\"12\"}");
    f.room_id = (gr_str){0};
    f.prev_events.count = f.auth_events.count = f.prev_hashes.count = f.auth_hashes.count = 0;
    f.has_state_key = true;
    gr_event_built built = build(&f);
    gr_event event;
    assert_int_equal(built.room_id.ptr[0], '!');
    assert_true(gr_str_eq(gr_str_from(built.room_id, 1), gr_str_from(built.event_id, 1)));
    assert_null(strstr(built.text.ptr, "room_id"));
    assert_false(gr_failed(gr_event_parse(arena, f.version, built.text, &event)));
    assert_true(gr_str_eq(event.room_id, built.room_id) && gr_str_eq(event.event_id, built.event_id));
    assert_true(gr_event_is(&event, "m.room.create", ""));
    f.room_id = GR_STR(ROOM_12);
    assert_int_equal(gr_event_parse(arena, f.version, build(&f).text, &event).code, GR_BAD_JSON);
}

static void a_redaction_names_its_target_where_the_version_wants_it(void **state)
{
    (void)state;
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++) {
        gr_event_fields f = fields(v, "m.room.redaction", "{\"reason\":\"spam\",\"redacts\":\"$other:domain\",\"zz\":1}");
        f.redacts = GR_STR("$target:domain");
        gr_event_built built = build(&f);
        gr_event event;
        assert_false(gr_failed(gr_event_parse(arena, f.version, built.text, &event)));
        assert_true(gr_str_eq(event.redacts, f.redacts));
        assert_int_equal(gr_json_get(event.json, "redacts") != NULL, v < 11);
        assert_int_equal(gr_json_get(event.content, "redacts") != NULL, v >= 11);
        assert_true(gr_json_equal(built.content, event.content));
        bool kept = strstr(gr_event_redact(arena, f.version, event.json).ptr, "redacts") != NULL;
        assert_int_equal(kept, v >= 11);
    }
}

static void a_changed_body_leaves_the_redacted_event(void **state)
{
    (void)state;
    gr_event_fields f = fields(11, "m.room.message", "{\"body\":\"aaaa\"}");
    gr_event_built built = build(&f);
    char *text = (char *)built.text.ptr;
    memcpy(strstr(text, "aaaa"), "bbbb", 4);
    gr_event event;
    gr_str stored;
    gr_event_shape shape;
    assert_false(gr_failed(gr_event_check(arena, f.version, json(built.text), &ring, &event, &stored,
        &shape)));
    assert_int_equal(shape, GR_EVENT_REDACTED);
    assert_int_equal(event.content->count, 0);
    assert_true(gr_str_eq(event.event_id, built.event_id));
    assert_true(gr_str_eq(stored, gr_event_redact(arena, f.version, json(built.text))));
}

static gr_errcode checked(int number, gr_str text)
{
    gr_event event;
    gr_str stored;
    gr_event_shape shape;
    return gr_event_check(arena, version(number), json(text), &ring, &event, &stored, &shape).code;
}

static void a_changed_envelope_or_foreign_sender_is_dropped(void **state)
{
    (void)state;
    gr_event_fields f = fields(11, "m.room.message", "{}");
    gr_event_built built = build(&f);
    char *text = (char *)gr_arena_str(arena, built.text).ptr;
    strstr(text, "\"depth\":3")[8] = '4';
    assert_int_equal(checked(11, gr_str_c(text)), GR_INVALID_SIGNATURE);
    f.sender = GR_STR("@u:elsewhere");
    assert_int_equal(checked(11, build(&f).text), GR_INVALID_SIGNATURE);
    f = fields(2, "m.room.message", "{}");
    f.event_id = GR_STR("$e:elsewhere");
    assert_int_equal(checked(2, build(&f).text), GR_INVALID_SIGNATURE);
}

static void keys_must_be_valid_at_the_time_from_version_5(void **state)
{
    (void)state;
    for (int v = 4; v <= 5; v++) {
        gr_event_fields f = fields(v, "m.room.message", "{}");
        f.origin_server_ts = 5000001;
        assert_int_equal(checked(v, build(&f).text), v < 5 ? GR_OK : GR_INVALID_SIGNATURE);
    }
}

static void a_restricted_join_needs_the_authorising_server_too(void **state)
{
    (void)state;
    for (int v = 7; v <= 8; v++) {
        gr_event_fields f = fields(v, "m.room.member",
            "{\"membership\":\"join\",\"join_authorised_via_users_server\":\"@a:elsewhere\"}");
        f.has_state_key = true;
        f.state_key = f.sender;
        assert_int_equal(checked(v, build(&f).text), v < 8 ? GR_OK : GR_INVALID_SIGNATURE);
    }
}

static void a_forged_third_party_invite_does_not_become_an_invite(void **state)
{
    (void)state;
    gr_event_fields f = fields(10, "m.room.member",
        "{\"membership\":\"invite\",\"third_party_invite\":{\"signed\":{\"token\":\"aaaa\"}}}");
    f.sender = GR_STR("@admin:elsewhere");
    f.has_state_key = true;
    f.state_key = GR_STR("@u:domain");
    gr_event_built built = build(&f);
    assert_int_equal(checked(10, built.text), GR_OK);      /* authorisation looks at the proof */
    memcpy(strstr((char *)built.text.ptr, "aaaa"), "bbbb", 4);
    assert_int_equal(checked(10, built.text), GR_INVALID_SIGNATURE);
}

/* Parses an otherwise good version 10 event in which `field` is `value` (or absent). */
static gr_errcode with_field(const char *field, const char *value)
{
    static const char *const names[] = {"auth_events", "content", "depth", "origin_server_ts", "prev_events",
                                        "room_id", "sender", "state_key", "type"};
    static const char *const values[] = {"[]", "{}", "1", "1", "[]", "\"!r:d\"", "\"@a:d\"", "\"\"", "\"t\""};
    gr_buf buf = {0};
    gr_jw w = gr_jw_begin(&buf);
    gr_jw_object(&w);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *now = strcmp(names[i], field) == 0 ? value : values[i];
        if (now) gr_jw_kraw(&w, names[i], gr_str_c(now));
    }
    gr_jw_end_object(&w);
    gr_event event;
    gr_err e = gr_event_parse(arena, version(10), gr_buf_view(&buf), &event);
    gr_buf_free(&buf);
    return e.code;
}

static void each_field_has_a_type_and_a_limit(void **state)
{
    (void)state;
    char name[300];
    gr_buf many = {0};
    snprintf(name, sizeof name, "\"%0256d\"", 0);
    gr_buf_c(&many, "[\"$x\"");
    for (int i = 0; i < 20; i++) gr_buf_c(&many, ",\"$x\"");
    gr_buf_add(&many, "]", 2);      /* with the NUL */
    const char *ids = many.ptr;
    const struct { const char *field, *value; gr_errcode code; } cases[] = {
        {"none", NULL, GR_OK}, {"state_key", NULL, GR_OK}, {"depth", "0", GR_OK},
        {"type", NULL, GR_BAD_JSON}, {"type", "5", GR_BAD_JSON}, {"type", name, GR_TOO_LARGE},
        {"state_key", "null", GR_BAD_JSON}, {"state_key", name, GR_TOO_LARGE},
        {"sender", NULL, GR_BAD_JSON}, {"sender", "\"a\"", GR_BAD_JSON}, {"sender", name, GR_TOO_LARGE},
        {"room_id", NULL, GR_BAD_JSON}, {"room_id", "\"" ROOM_12 "\"", GR_BAD_JSON},
        {"content", NULL, GR_BAD_JSON}, {"content", "[]", GR_BAD_JSON},
        {"content", "{\"a\":1.5}", GR_BAD_JSON},
        {"depth", NULL, GR_BAD_JSON}, {"depth", "-1", GR_BAD_JSON}, {"depth", "\"1\"", GR_BAD_JSON},
        {"origin_server_ts", NULL, GR_BAD_JSON}, {"origin_server_ts", "true", GR_BAD_JSON},
        {"prev_events", NULL, GR_BAD_JSON}, {"prev_events", "{}", GR_BAD_JSON},
        {"prev_events", "[5]", GR_BAD_JSON}, {"prev_events", "[[\"$x\",{}]]", GR_BAD_JSON},
        {"prev_events", "[\"x\"]", GR_BAD_JSON}, {"prev_events", ids, GR_TOO_LARGE},
        {"auth_events", ids, GR_TOO_LARGE}, {"auth_events", "[\"$x\"]", GR_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gr_errcode code = with_field(cases[i].field, cases[i].value);
        if (code != cases[i].code)
            fail_msg("%s = %s gave %s", cases[i].field, cases[i].value, gr_errcode_wire(code));
    }
    gr_buf_free(&many);
}

static void an_event_may_have_65536_bytes_and_no_more(void **state)
{
    (void)state;
    char *content = gr_alloc(70000);
    gr_event_fields f = fields(12, "m.room.message", "{\"body\":\"\"}");
    size_t room = GR_EVENT_SIZE_MAX - build(&f).text.size;
    for (size_t extra = 0; extra <= 1; extra++) {
        gr_event_built built;
        snprintf(content, 70000, "{\"body\":\"%0*d\"}", (int)(room + extra), 0);
        f.content = gr_str_c(content);
        gr_err e = gr_event_build(arena, &f, &signer, &built);
        assert_int_equal(e.code, extra ? GR_TOO_LARGE : GR_OK);
        if (!extra) assert_int_equal(built.text.size, GR_EVENT_SIZE_MAX);
    }
    free(content);
}

static void what_can_be_built_can_be_read_however_deep(void **state)
{
    (void)state;
    for (int levels = GR_JSON_DEPTH_MAX - 4; levels <= GR_JSON_DEPTH_MAX; levels++) {
        gr_buf content = {0};
        gr_buf_c(&content, "{\"a\":");
        for (int i = 1; i < levels; i++) gr_buf_char(&content, '[');
        for (int i = 1; i < levels; i++) gr_buf_char(&content, ']');
        gr_buf_c(&content, "}");
        gr_event_fields f = fields(12, "m.room.message", "");
        f.content = gr_buf_view(&content);
        gr_event_built built;
        gr_event event;
        gr_err e = gr_event_build(arena, &f, &signer, &built);
        assert_int_equal(gr_failed(e), levels > GR_JSON_DEPTH_MAX - 1);
        if (!gr_failed(e)) assert_false(gr_failed(gr_event_parse(arena, f.version, built.text, &event)));
        gr_buf_free(&content);
    }
}

static void numbers_are_judged_by_the_events_own_version(void **state)
{
    (void)state;
    const char *numbers[] = {"1.5", "9007199254740992", "-9007199254740992"};
    for (int v = 3; v <= GR_ROOM_VERSION_COUNT; v++)
        for (size_t i = 0; i < 3; i++) {
            gr_str room_id = v < 12 ? GR_STR("!r:a") : GR_STR(ROOM_12);
            gr_str text = gr_arena_printf(arena, "{\"auth_events\":[],\"content\":{\"list\":[%s]},"
                "\"depth\":1,\"origin_server_ts\":1,\"prev_events\":[],\"room_id\":\"%s\","
                "\"sender\":\"@a:a\",\"type\":\"t\"}",
                numbers[i], room_id.ptr);
            gr_event event;
            gr_errcode wanted = v < 6 ? GR_OK : GR_BAD_JSON;
            assert_int_equal(gr_event_from_json(arena, version(v), json(text), &event).code, wanted);
            assert_int_equal(gr_event_parse(arena, version(v), text, &event).code, wanted);
        }
}

static void depth_sticks_at_the_maximum_of_the_version(void **state)
{
    (void)state;
    gr_event_fields f = fields(6, "m.room.message", "{}");
    f.depth = INT64_MAX;
    gr_event event;
    assert_false(gr_failed(gr_event_parse(arena, f.version, build(&f).text, &event)));
    assert_int_equal(event.depth, GR_JSON_INT_MAX);
}

#define MEMBER_VIA \
    "{\"displayname\":\"x\",\"join_authorised_via_users_server\":\"y\",\"membership\":\"join\"}"
#define MEMBER_THIRD "{\"membership\":\"invite\",\"third_party_invite\":{\"name\":\"x\",\"signed\":{}}}"
#define LEVELS "{\"ban\":1,\"events\":{\"x\":2},\"invite\":3,\"notifications\":{},\"users\":{}}"

/* content before redaction, and what of it versions from `since` up to the next row keep */
static const struct { int since; const char *type, *content, *kept; } redactions[] = {
    {1, "m.room.message", "{\"body\":\"x\"}", "{}"},
    {1, "m.room.member", MEMBER_VIA,
        "{\"membership\":\"join\"}"},
    {9, "m.room.member", MEMBER_VIA,
        "{\"join_authorised_via_users_server\":\"y\",\"membership\":\"join\"}"},
    {1, "m.room.member", MEMBER_THIRD,
        "{\"membership\":\"invite\"}"},
    {11, "m.room.member", MEMBER_THIRD,
        "{\"membership\":\"invite\",\"third_party_invite\":{\"signed\":{}}}"},
    {1, "m.room.create", "{\"creator\":\"@a:d\",\"m.federate\":false}", "{\"creator\":\"@a:d\"}"},
    {11, "m.room.create", "{\"creator\":\"@a:d\",\"m.federate\":false}",
        "{\"creator\":\"@a:d\",\"m.federate\":false}"},
    {1, "m.room.join_rules", "{\"allow\":[],\"join_rule\":\"public\"}", "{\"join_rule\":\"public\"}"},
    {8, "m.room.join_rules", "{\"allow\":[],\"join_rule\":\"public\"}",
        "{\"allow\":[],\"join_rule\":\"public\"}"},
    {1, "m.room.power_levels", LEVELS,
        "{\"ban\":1,\"events\":{\"x\":2},\"users\":{}}"},
    {11, "m.room.power_levels", LEVELS,
        "{\"ban\":1,\"events\":{\"x\":2},\"invite\":3,\"users\":{}}"},
    {1, "m.room.history_visibility", "{\"history_visibility\":\"joined\",\"x\":1}",
        "{\"history_visibility\":\"joined\"}"},
    {1, "m.room.aliases", "{\"aliases\":[\"#a:d\"],\"x\":1}", "{\"aliases\":[\"#a:d\"]}"},
    {6, "m.room.aliases", "{\"aliases\":[\"#a:d\"],\"x\":1}", "{}"},
    {1, "m.room.redaction", "{\"reason\":\"x\",\"redacts\":\"$e\"}", "{}"},
    {11, "m.room.redaction", "{\"reason\":\"x\",\"redacts\":\"$e\"}", "{\"redacts\":\"$e\"}"},
};

static void redaction_keeps_the_content_its_version_says(void **state)
{
    (void)state;
    size_t count = sizeof redactions / sizeof *redactions;
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++)
        for (size_t i = 0; i < count; i++) {
            bool replaced = i + 1 < count && strcmp(redactions[i].content, redactions[i + 1].content) == 0 &&
                            v >= redactions[i + 1].since;
            if (v < redactions[i].since || replaced) continue;
            gr_str event = gr_arena_printf(arena, "{\"type\":\"%s\",\"content\":%s,"
                                           "\"unsigned\":{},\"junk\":1}",
                                           redactions[i].type, redactions[i].content);
            gr_str expected = gr_arena_printf(arena, "{\"content\":%s,\"type\":\"%s\"}", redactions[i].kept,
                                              redactions[i].type);
            gr_str got = gr_event_redact(arena, version(v), json(event));
            if (!gr_str_eq(got, expected)) fail_msg("version %d: %s became %s", v, event.ptr, got.ptr);
            assert_true(gr_str_eq(got, gr_event_redact(arena, version(v), json(got))));
        }
}

static void redaction_keeps_the_envelope(void **state)
{
    (void)state;
    gr_str event = GR_STR("{\"auth_events\":1,\"content\":{},\"depth\":1,\"event_id\":1,\"hashes\":1,"
        "\"membership\":1,"
        "\"origin\":1,\"origin_server_ts\":1,\"prev_events\":1,\"prev_state\":1,\"redacts\":1,\"room_id\":1,"
        "\"sender\":1,\"signatures\":1,\"state_key\":1,\"type\":\"t\",\"unsigned\":1}");
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++) {
        const gr_json *left = json(gr_event_redact(arena, version(v), json(event)));
        assert_int_equal(left->count, v < 11 ? 15 : 12);
        assert_null(gr_json_get(left, "redacts"));
        assert_null(gr_json_get(left, "unsigned"));
        assert_int_equal(gr_json_get(left, "origin") != NULL, v < 11);
    }
}

static void a_stored_event_loads_with_its_known_id(void **state)
{
    (void)state;
    gr_event_fields f = fields(12, "m.room.message", "{\"body\":\"x\"}");
    gr_event_built built = build(&f);
    gr_event event;
    assert_false(gr_failed(gr_event_load(arena, f.version, built.event_id, built.room_id, built.text,
        &event)));
    assert_true(gr_str_eq(event.event_id, built.event_id) && gr_str_is(event.type, "m.room.message"));
    assert_false(event.has_state_key);
    assert_true(gr_failed(gr_event_load(arena, f.version, built.event_id, built.room_id, GR_STR("{"),
        &event)));
    assert_null(event.json);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void signatures_of_others_are_added_key_by_key(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    const gr_json *event, *given;
    gr_str text = GR_STR("{\"a\":1,\"signatures\":{\"x\":{\"k:1\":\"old\",\"k:2\":\"kept\"},\"y\":{\"k:1\":\"y\"}},\"z\":2}");
    gr_str more = GR_STR("{\"b\":{\"k:1\":\"b\"},\"x\":{\"k:1\":\"new\"}}");
    assert_false(gr_failed(gr_json_parse(a, text, GR_JSON_LAX, &event)));
    assert_false(gr_failed(gr_json_parse(a, more, GR_JSON_LAX, &given)));
    assert_true(gr_str_is(gr_event_add_signatures(a, event, given),
                          "{\"a\":1,\"signatures\":{\"b\":{\"k:1\":\"b\"},\"x\":{\"k:1\":\"new\",\"k:2\":\"kept\"},"
                          "\"y\":{\"k:1\":\"y\"}},\"z\":2}"));
    gr_buf deep = {0};
    gr_buf_c(&deep, "{\"x\":{\"k:1\":");
    for (int i = 0; i < GR_JSON_DEPTH_MAX - 2; i++) gr_buf_c(&deep, "[");
    for (int i = 0; i < GR_JSON_DEPTH_MAX - 2; i++) gr_buf_c(&deep, "]");
    gr_buf_c(&deep, "}}");
    assert_false(gr_failed(gr_json_parse(a, gr_buf_view(&deep), GR_JSON_LAX, &given)));
    assert_true(gr_str_eq(gr_event_add_signatures(a, event, given), text));
    gr_buf_free(&deep);
    gr_arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_minimal_event_signs_as_published),
        TEST(an_event_with_redactable_content_signs_as_published),
        TEST(a_built_event_passes_its_own_check_in_every_version),
        TEST(signing_a_template_gives_the_event_that_building_gives),
        TEST(a_version_12_create_event_names_its_room),
        TEST(a_redaction_names_its_target_where_the_version_wants_it),
        TEST(a_changed_body_leaves_the_redacted_event),
        TEST(a_changed_envelope_or_foreign_sender_is_dropped),
        TEST(keys_must_be_valid_at_the_time_from_version_5),
        TEST(a_restricted_join_needs_the_authorising_server_too),
        TEST(a_forged_third_party_invite_does_not_become_an_invite),
        TEST(each_field_has_a_type_and_a_limit),
        TEST(an_event_may_have_65536_bytes_and_no_more),
        TEST(numbers_are_judged_by_the_events_own_version),
        TEST(what_can_be_built_can_be_read_however_deep),
        TEST(depth_sticks_at_the_maximum_of_the_version),
        TEST(redaction_keeps_the_content_its_version_says),
        TEST(redaction_keeps_the_envelope),
        TEST(a_stored_event_loads_with_its_known_id),
        TEST(signatures_of_others_are_added_key_by_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
