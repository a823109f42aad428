/* join_test.c - joining a room through other servers: a simulated node, and scripted servers that have the room, lie, fail or
 * are cut off.
 */
#include "actors/join/join.h"
#include "actors/kinds.h"
#include "bus/sim.h"
#include "proto/ident.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ROOM "!r:there"
#define USER "@a:here"

enum { EVENTS = 5, DAY = 24 * 3600 * 1000 };
enum { GOOD, OTHER_ROOM, OTHER_SENDER, OTHER_VERSION, REFUSED, DOWN } made;     /* what make_join answers */
enum { WHOLE, NO_CREATE, NOTHING, FORGED_NAME, CUT, NO_JSON } sent;             /* and send_join */

static gr_signer here, there;
static gr_env env;
static gr_sim *sim;
static gr_arena *arena;
static gr_str texts[EVENTS], ids[EVENTS];
static unsigned make_joins, send_joins;
static const char *const version_id = "11";

static const gr_room_version *version(void) { return gr_room_version_find(gr_str_c(version_id)); }

/* --- the room on the other server ------------------------------------------------------------------------------ */
static void add_event(size_t n, const char *type, const char *key, const char *content)
{
    gr_event_built built;
    gr_strs auth = {gr_arena_alloc(arena, EVENTS * sizeof(gr_str)), n < 3 ? n : 3};
    for (size_t i = 0; i < auth.count; i++) auth.at[i] = ids[i];
    gr_event_fields f = {.version = version(), .room_id = GR_STR(ROOM), .sender = GR_STR("@x:there"), .type = gr_str_c(type),
                         .has_state_key = true, .state_key = gr_str_c(key), .content = gr_str_c(content),
                         .prev_events = {&ids[n ? n - 1 : 0], n ? 1 : 0}, .auth_events = auth, .depth = (int64_t)n + 1,
                         .origin_server_ts = 1000 + (int64_t)n};
    assert_false(gr_failed(gr_event_build(arena, &f, &there, &built)));
    texts[n] = built.text;
    ids[n] = built.event_id;
}

static void make_room(void)
{
    add_event(0, "m.room.create", "", "{\"room_version\":\"11\"}");
    add_event(1, "m.room.member", "@x:there", "{\"membership\":\"join\"}");
    add_event(2, "m.room.power_levels", "", "{\"users\":{\"@x:there\":100}}");
    add_event(3, "m.room.join_rules", "", "{\"join_rule\":\"public\"}");
    add_event(4, "m.room.name", "", "{\"name\":\"Tea\"}");
}

static gr_str template(gr_arena *a)
{
    gr_str text, cited[] = {ids[0], ids[2], ids[3]};
    gr_event_fields f = {.version = version(), .room_id = made == OTHER_ROOM ? GR_STR("!other:there") : GR_STR(ROOM),
                         .sender = made == OTHER_SENDER ? GR_STR("@b:here") : GR_STR(USER), .type = GR_STR("m.room.member"),
                         .has_state_key = true, .state_key = GR_STR(USER), .content = GR_STR("{\"membership\":\"join\"}"),
                         .prev_events = {&ids[EVENTS - 1], 1}, .auth_events = {cited, 3}, .depth = EVENTS + 1,
                         .origin_server_ts = 2000};
    assert_false(gr_failed(gr_event_template(a, &f, &text)));
    return gr_arena_printf(a, "{\"event\":%" GR_FMT ",\"room_version\":\"%s\"}", GR_ARG(text),
                           made == OTHER_VERSION ? "none" : version_id);
}

static gr_str with_name(gr_arena *a, gr_str text)
{
    gr_str from = GR_STR("Tea");
    for (size_t i = 0; i + from.size <= text.size; i++)
        if (memcmp(text.ptr + i, from.ptr, from.size) == 0) {
            char *changed = gr_arena_alloc(a, text.size);
            memcpy(changed, text.ptr, text.size);
            memcpy(changed + i, "Rum", 3);
            return gr_str_of(changed, text.size);
        }
    return text;
}

static gr_str state(gr_arena *a)
{
    gr_buf out = {0};
    gr_buf_c(&out, "{\"members_omitted\":false,\"state\":[");
    for (size_t i = 0; i < EVENTS; i++) {
        if (sent == NOTHING || (sent == NO_CREATE && i == 0)) continue;
        if (out.ptr[out.size - 1] != '[') gr_buf_char(&out, ',');
        gr_buf_str(&out, sent == FORGED_NAME ? with_name(a, texts[i]) : texts[i]);
    }
    gr_buf_c(&out, "],\"auth_chain\":[");
    for (size_t i = 0; i < 3 && sent == WHOLE; i++) {
        if (i) gr_buf_char(&out, ',');
        gr_buf_str(&out, texts[i]);
    }
    gr_buf_c(&out, "]}");
    gr_str text = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return sent == CUT ? gr_str_head(text, text.size / 2) : sent == NO_JSON ? GR_STR("<html>") : text;
}

static gr_str keys(gr_arena *a)
{
    const gr_json *json = NULL;
    const char *form = "{\"server_name\":\"there\",\"valid_until_ts\":%llu,\"verify_keys\":{\"%s\":{\"key\":\"%s\"}}}";
    gr_str text = gr_arena_printf(a, form, (unsigned long long)gr_sim_now(sim) + DAY, there.key_id,
                                  gr_signer_public_text(a, &there).ptr);
    assert_false(gr_failed(gr_json_parse(a, text, GR_JSON_LAX, &json)));
    return gr_sign_json(a, &there, json);
}

static bool remote(void *arg, gr_sim *s, unsigned node, uint64_t number, const gr_fetch *fetch, gr_arena *a, gr_fetched *out)
{
    (void)arg, (void)s, (void)node, (void)number;
    bool is_make = gr_str_starts(fetch->uri, GR_STR("/_matrix/federation/v1/make_join/"));
    bool is_send = gr_str_starts(fetch->uri, GR_STR("/_matrix/federation/v2/send_join/"));
    make_joins += is_make;
    send_joins += is_send;
    if (!gr_str_is(fetch->server, "there") || (is_make && made == DOWN)) return true;
    *out = (gr_fetched){.status = is_make && made == REFUSED ? 403 : 200};
    if (out->status == 403) out->body = GR_STR("{\"errcode\":\"M_FORBIDDEN\",\"error\":\"Not you\"}");
    else if (is_make) out->body = template(a);
    else if (is_send) out->body = state(a);
    else out->body = gr_str_starts(fetch->uri, GR_STR("/_matrix/key/")) ? keys(a) : GR_STR("{}");
    return true;
}

/* --- the node ---------------------------------------------------------------------------------------------------- */
static int set_up(void **unused)
{
    const unsigned char seeds[2][GR_SIGN_SEED] = {{1}, {2}};
    (void)unused;
    arena = gr_arena_new(0);
    made = GOOD;
    sent = WHOLE;
    make_joins = send_joins = 0;
    if (gr_failed(gr_signer_from_seed(GR_STR("here"), GR_STR("k"), seeds[0], &here))) return -1;
    if (gr_failed(gr_signer_from_seed(GR_STR("there"), GR_STR("k"), seeds[1], &there))) return -1;
    static const char *notaries[] = {NULL};
    env = (gr_env){.server_name = GR_STR("here"), .signer = &here, .notaries = notaries, .retry = {600000, DAY, 2, 0},
                   .default_room_version = GR_STR("11")};
    make_room();
    gr_sim_options o = {.seed = 3, .nodes = 1, .workers = 2, .kinds = gr_kinds, .env = &env, .remote = remote,
                        .remote_delay_max = 5, .work_delay_max = 3};
    sim = gr_sim_new(&o);
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    gr_sim_free(&sim);
    gr_arena_free(&arena);
    return 0;
}

static gr_err call(const char *to, const gr_type *type, const void *body, const void **reply)
{
    gr_err err = gr_ok();
    const gr_type *got;
    const void *answer = gr_sim_call(sim, gr_str_c(to), type, body, arena, &got, &err);
    if (reply) *reply = answer;
    return err;
}

static gr_join_room wish(size_t servers)
{
    static gr_str names[3];
    names[0] = servers > 1 ? GR_STR("nobody") : GR_STR("there");
    names[1] = GR_STR("there");
    return (gr_join_room){.user = GR_STR(USER), .content = GR_STR("{\"displayname\":\"Ann\"}"), .servers = {names, servers}};
}

static gr_err join(size_t servers)
{
    gr_join_room m = wish(servers);
    return call("join/" ROOM, &gr_type_join_room, &m, NULL);
}

static bool is_joined(void)
{
    const void *reply = NULL;
    gr_err err = call("room/" ROOM, &gr_type_room_has_member, &(gr_room_has_member){.user = GR_STR(USER)}, &reply);
    return !gr_failed(err) && gr_str_is(((const gr_room_membership_is *)reply)->membership, "join");
}

static gr_str content_of(const char *type, const char *key)
{
    const void *reply = NULL;
    gr_room_state_get m = {.user = GR_STR(USER), .type = gr_str_c(type), .state_key = gr_str_c(key)};
    gr_err err = call("room/" ROOM, &gr_type_room_state_get, &m, &reply);
    return gr_failed(err) ? (gr_str){0} : ((const gr_result *)reply)->body;
}

/* --- the facts ----------------------------------------------------------------------------------------------------- */
static void a_room_is_joined_with_all_of_its_state(void **unused)
{
    (void)unused;
    assert_false(gr_failed(join(1)));
    assert_true(is_joined());
    assert_true(gr_str_is(content_of("m.room.name", ""), "{\"name\":\"Tea\"}"));
    assert_true(gr_str_is(content_of("m.room.member", USER), "{\"displayname\":\"Ann\",\"membership\":\"join\"}"));
    assert_int_equal(make_joins, 1);
}

static void the_next_server_is_asked_when_one_fails(void **unused)
{
    (void)unused;
    assert_false(gr_failed(join(2)));
    assert_true(is_joined());
    assert_int_equal(make_joins, 2);
}

static void what_the_last_server_said_is_told(void **unused)
{
    (void)unused;
    made = REFUSED;
    gr_err err = join(2);
    assert_int_equal(err.code, GR_FORBIDDEN);
    assert_string_equal(err.text, "Not you");
    made = DOWN;
    gr_sim_settle(sim, 20000);
    assert_int_equal(join(1).code, GR_BAD_GATEWAY);
    assert_false(is_joined());
}

static void nothing_but_the_join_that_was_asked_for_is_signed(void **unused)
{
    (void)unused;
    for (int lie = OTHER_ROOM; lie <= OTHER_VERSION; lie++) {
        made = lie;
        assert_int_equal(join(1).code, lie == OTHER_VERSION ? GR_INCOMPATIBLE_ROOM_VERSION : GR_BAD_GATEWAY);
        gr_sim_settle(sim, 20000);
    }
    assert_int_equal(send_joins, 0);
}

static void a_state_that_makes_no_sense_leaves_no_room(void **unused)
{
    (void)unused;
    for (int lie = NO_CREATE; lie <= NO_JSON; lie++) {
        if (lie == FORGED_NAME) continue;
        sent = lie;
        assert_true(gr_failed(join(1)));
        gr_sim_settle(sim, 60000);
        gr_sim_run(sim, 2000);
        assert_false(is_joined());
    }
    sent = WHOLE;
    assert_false(gr_failed(join(1)));
    assert_true(gr_str_is(content_of("m.room.name", ""), "{\"name\":\"Tea\"}"));
}

static void what_was_changed_on_the_way_is_left_out_and_the_rest_taken(void **unused)
{
    (void)unused;
    sent = FORGED_NAME;
    assert_false(gr_failed(join(1)));
    assert_true(is_joined());
    assert_false(gr_str_is(content_of("m.room.name", ""), "{\"name\":\"Rum\"}"));
    assert_true(content_of("m.room.join_rules", "").size > 0);
}

static void a_crash_at_any_time_leaves_a_whole_room_or_none(void **unused)
{
    (void)unused;
    for (uint64_t ticks = 1; ticks < 60; ticks += 4) {
        gr_join_room m = wish(1);
        tear_down(NULL);
        assert_int_equal(set_up(NULL), 0);
        gr_sim_ask(sim, 0, GR_STR("join/" ROOM), &gr_type_join_room, &m, 60000);
        gr_sim_run(sim, ticks);
        gr_sim_crash(sim, 0, 3);
        for (int second = 0; second < 90 && !is_joined(); second++) gr_sim_run(sim, 1000);
        bool was_asked = make_joins > 0;               /* before that the wish was lost with the edge that had it */
        assert_int_equal(is_joined(), was_asked);
        if (was_asked) assert_true(gr_str_is(content_of("m.room.name", ""), "{\"name\":\"Tea\"}"));
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_room_is_joined_with_all_of_its_state),
        T(the_next_server_is_asked_when_one_fails),
        T(what_the_last_server_said_is_told),
        T(nothing_but_the_join_that_was_asked_for_is_signed),
        T(a_state_that_makes_no_sense_leaves_no_room),
        T(what_was_changed_on_the_way_is_left_out_and_the_rest_taken),
        T(a_crash_at_any_time_leaves_a_whole_room_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
