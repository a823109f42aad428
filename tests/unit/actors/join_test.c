/* join_test.c - joining a room through other servers: a simulated node, and scripted servers that have the room, lie, fail or
 * are cut off.
 */
#include "actors/join/join.h"
#include "actors/kinds.h"
#include "bus/sim.h"
#include "proto/ident.h"
#include "proto/uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ROOM "!r:there"
#define USER "@a:here"

enum { EVENTS = 5, EVENTS_MAX = 8, DAY = 24 * 3600 * 1000 };
enum { GOOD, OTHER_ROOM, OTHER_SENDER, OTHER_VERSION, REFUSED, DOWN } made;     /* what make_join answers */
enum { WHOLE, NO_CREATE, NOTHING, FORGED_NAME, CUT, NO_JSON, CUT_AT, BROKEN_AT } sent;             /* and send_join */

static gr_signer here, there, far;
static gr_env env;
static gr_sim *sim;
static gr_arena *arena;
static gr_str texts[EVENTS_MAX], ids[EVENTS_MAX];
static gr_str our_join;                                        /* id of the event */
static size_t event_count;
static unsigned make_joins, send_joins, far_asked;
static uint64_t far_up_ms;                                     /* when the server "far" gives its keys; before that nobody does */
static size_t broken_at;                                       /* where the answer is cut, or has a brace too many */
static bool is_notary;                                         /* "there" knows them */
static const char *const version_id = "11";

static const gr_room_version *version(void) { return gr_room_version_find(gr_str_c(version_id)); }

/* --- the room on the other server ------------------------------------------------------------------------------ */
static void add_event_of(const gr_signer *server, const char *sender, size_t cites, const char *type, const char *key,
                         const char *content)
{
    size_t n = event_count++;
    gr_event_built built;
    gr_strs auth = {gr_arena_alloc(arena, EVENTS_MAX * sizeof(gr_str)), n < 3 ? n : 3};
    for (size_t i = 0; i < auth.count; i++) auth.at[i] = ids[i];
    if (cites) auth.at[1] = ids[cites];            /* in place of the membership of @x:there */
    gr_event_fields f = {.version = version(), .room_id = GR_STR(ROOM), .sender = gr_str_c(sender), .type = gr_str_c(type),
                         .has_state_key = true, .state_key = gr_str_c(key), .content = gr_str_c(content),
                         .prev_events = {&ids[n ? n - 1 : 0], n ? 1 : 0}, .auth_events = auth, .depth = (int64_t)n + 1,
                         .origin_server_ts = 1000 + (int64_t)n};
    assert_false(gr_failed(gr_event_build(arena, &f, server, &built)));
    texts[n] = built.text;
    ids[n] = built.event_id;
}

static void add_event(const char *type, const char *key, const char *content)
{
    add_event_of(&there, "@x:there", 0, type, key, content);
}

/* Somebody of "far" has joined; and has done more than that. */
static void add_far(bool does_more)
{
    add_event_of(&far, "@f:far", 3, "m.room.member", "@f:far", "{\"membership\":\"join\"}");
    if (does_more) add_event_of(&far, "@f:far", EVENTS, "m.room.member", "@g:there", "{\"membership\":\"invite\"}");
}

static void make_room(void)
{
    event_count = 0;
    add_event("m.room.create", "", "{\"room_version\":\"11\"}");
    add_event("m.room.member", "@x:there", "{\"membership\":\"join\"}");
    add_event("m.room.power_levels", "", "{\"users\":{\"@x:there\":100},\"state_default\":0}");
    add_event("m.room.join_rules", "", "{\"join_rule\":\"public\"}");
    add_event("m.room.name", "", "{\"name\":\"Tea\"}");
}

static gr_str template(gr_arena *a)
{
    gr_str text, cited[] = {ids[0], ids[2], ids[3]};
    gr_event_fields f = {.version = version(), .room_id = made == OTHER_ROOM ? GR_STR("!other:there") : GR_STR(ROOM),
                         .sender = made == OTHER_SENDER ? GR_STR("@b:here") : GR_STR(USER), .type = GR_STR("m.room.member"),
                         .has_state_key = true, .state_key = GR_STR(USER), .content = GR_STR("{\"membership\":\"join\"}"),
                         .prev_events = {&ids[event_count - 1], 1}, .auth_events = {cited, 3}, .depth = (int64_t)event_count + 1,
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
    for (size_t i = 0; i < event_count; i++) {
        if (sent == NOTHING || (sent == NO_CREATE && i == 0)) continue;
        if (out.ptr[out.size - 1] != '[') gr_buf_char(&out, ',');
        gr_buf_str(&out, sent == FORGED_NAME ? with_name(a, texts[i]) : texts[i]);
    }
    gr_buf_c(&out, "],\"auth_chain\":[");
    for (size_t i = 0; i < 3 && (sent == WHOLE || sent > NO_JSON); i++) {
        if (i) gr_buf_char(&out, ',');
        gr_buf_str(&out, texts[i]);
    }
    gr_buf_c(&out, "]}");
    gr_str text = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    if (sent == CUT_AT) return gr_str_head(text, broken_at < text.size ? broken_at : text.size - 1);
    if (sent == BROKEN_AT && broken_at < text.size)
        return gr_arena_cat(a, 3, (gr_str[]){gr_str_head(text, broken_at), GR_STR("}"), gr_str_from(text, broken_at)});
    return sent == CUT ? gr_str_head(text, text.size / 2) : sent == NO_JSON ? GR_STR("<html>") : text;
}

static gr_str keys(gr_arena *a, const gr_signer *of, const gr_signer *notary)
{
    const gr_json *json = NULL;
    const char *form = "{\"server_name\":\"%s\",\"valid_until_ts\":%llu,\"verify_keys\":{\"%s\":{\"key\":\"%s\"}}}";
    gr_str text = gr_arena_printf(a, form, of->server_name.ptr, (unsigned long long)gr_sim_now(sim) + DAY, of->key_id,
                                  gr_signer_public_text(a, of).ptr);
    assert_false(gr_failed(gr_json_parse(a, text, GR_JSON_LAX, &json)));
    text = gr_sign_json(a, of, json);
    if (!notary) return text;
    assert_false(gr_failed(gr_json_parse(a, text, GR_JSON_LAX, &json)));
    return gr_arena_printf(a, "{\"server_keys\":[%" GR_FMT "]}", GR_ARG(gr_sign_json(a, notary, json)));
}

static gr_str event_by_uri(gr_arena *a, gr_str uri)
{
    gr_str id = gr_str_from(uri, strlen("/_matrix/federation/v1/event/"));
    for (size_t i = 0; i < event_count; i++)
        if (gr_str_eq(gr_uri_encode(a, ids[i]), id)) return gr_arena_printf(a, "{\"pdus\":[%" GR_FMT "]}", GR_ARG(texts[i]));
    return GR_STR("{\"pdus\":[]}");
}

static bool remote(void *arg, gr_sim *s, unsigned node, uint64_t number, const gr_fetch *fetch, gr_arena *a, gr_fetched *out)
{
    (void)arg, (void)s, (void)node, (void)number;
    bool is_make = gr_str_starts(fetch->uri, GR_STR("/_matrix/federation/v1/make_join/"));
    bool is_send = gr_str_starts(fetch->uri, GR_STR("/_matrix/federation/v2/send_join/"));
    bool is_far = gr_str_is(fetch->server, "far"), is_key = gr_str_starts(fetch->uri, GR_STR("/_matrix/key/v2/server"));
    make_joins += is_make;
    send_joins += is_send;
    far_asked += is_far && is_key;
    if (is_far && is_key && gr_sim_now(s) >= far_up_ms) {
        *out = (gr_fetched){.status = 200, .body = keys(a, &far, NULL)};
        return true;
    }
    if (!gr_str_is(fetch->server, "there") || (is_make && made == DOWN)) return true;
    *out = (gr_fetched){.status = is_make && made == REFUSED ? 403 : 200};
    if (out->status == 403) out->body = GR_STR("{\"errcode\":\"M_FORBIDDEN\",\"error\":\"Not you\"}");
    else if (is_make) out->body = template(a);
    else if (is_send) out->body = state(a);
    else if (is_key) out->body = keys(a, &there, NULL);
    else if (gr_str_is(fetch->uri, "/_matrix/key/v2/query") && is_notary) out->body = keys(a, &far, &there);
    else if (gr_str_starts(fetch->uri, GR_STR("/_matrix/federation/v1/event/"))) out->body = event_by_uri(a, fetch->uri);
    else out->body = GR_STR("{}");
    return true;
}

/* --- the node ---------------------------------------------------------------------------------------------------- */
static int set_up(void **unused)
{
    const unsigned char seeds[3][GR_SIGN_SEED] = {{1}, {2}, {3}};
    (void)unused;
    arena = gr_arena_new(0);
    made = GOOD;
    sent = WHOLE;
    make_joins = send_joins = far_asked = 0;
    far_up_ms = UINT64_MAX;
    is_notary = false;
    if (gr_failed(gr_signer_from_seed(GR_STR("here"), GR_STR("k"), seeds[0], &here))) return -1;
    if (gr_failed(gr_signer_from_seed(GR_STR("there"), GR_STR("k"), seeds[1], &there))) return -1;
    if (gr_failed(gr_signer_from_seed(GR_STR("far"), GR_STR("k"), seeds[2], &far))) return -1;
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

/* As long as it takes; the answer to a join comes within some minutes. */
static gr_err join_slowly(void)
{
    gr_join_room m = wish(1);
    gr_err err = gr_ok();
    const gr_type *got;
    void *body;
    uint64_t seq = gr_sim_ask(sim, 0, GR_STR("join/" ROOM), &gr_type_join_room, &m, 10 * 60 * 1000);
    while (!gr_sim_reply(sim, seq, arena, &got, &body, &err)) gr_sim_run(sim, 100);
    if (!gr_failed(err)) our_join = ((const gr_room_joined *)body)->event_id;
    return err;
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

/* Who fails leaves nothing: neither a room nor any of its state, and the next try meets no trace of it. */
static void assert_no_room(void)
{
    gr_err err = call("room/" ROOM, &gr_type_room_allows, &(gr_room_allows){.user = GR_STR(USER)}, NULL);
    assert_int_equal(err.code, GR_NOT_FOUND);
    assert_int_equal(content_of("m.room.create", "").size, 0);
    assert_false(is_joined());
}

static void an_answer_that_is_cut_anywhere_leaves_no_room_and_says_so(void **unused)
{
    (void)unused;
    sent = CUT_AT;
    for (broken_at = 0; broken_at < 4000; broken_at += 61) {
        gr_err err = join(1);
        assert_int_equal(err.code, GR_BAD_GATEWAY);
        assert_string_equal(err.text, "The other server's answer to the join makes no sense");
        assert_no_room();
    }
    sent = WHOLE;
    assert_false(gr_failed(join(1)));
    assert_true(gr_str_is(content_of("m.room.name", ""), "{\"name\":\"Tea\"}"));
}

static void an_answer_that_is_broken_anywhere_leaves_no_room_or_one_without_what_was_broken(void **unused)
{
    (void)unused;
    unsigned failed = 0, taken = 0;
    sent = BROKEN_AT;
    for (broken_at = 1; broken_at < 3000; broken_at += 67) {
        gr_err err = join(1);
        failed += gr_failed(err);
        taken += !gr_failed(err);
        if (gr_failed(err)) assert_no_room();
        gr_str name = content_of("m.room.name", "");
        assert_true(name.size == 0 || gr_str_is(name, "{\"name\":\"Tea\"}"));
        if (gr_failed(err)) continue;
        tear_down(NULL);
        assert_int_equal(set_up(NULL), 0);
        sent = BROKEN_AT;
    }
    assert_true(failed > 0 && taken > 0);
}

/* What a join leaves that failed late: much of a room that nobody is in. */
static void fill_half_a_room(void)
{
    enum { FILLS = 8, AT_ONCE = 100 };
    gr_held_event held[AT_ONCE];
    for (int fill = 0; fill < FILLS; fill++) {
        for (size_t i = 0; i < AT_ONCE; i++) {
            bool is_known = fill == 0 && i < EVENTS;
            if (!is_known) {
                event_count = EVENTS;
                add_event("x.number", gr_arena_printf(arena, "%d %zu", fill, i).ptr, "{}");
            }
            held[i] = (gr_held_event){.text = texts[is_known ? i : EVENTS], .is_state = true};
        }
        gr_room_fill m = {.version = gr_str_c(version_id), .first = fill == 0, .events = {held, AT_ONCE}};
        assert_false(gr_failed(call("room/" ROOM, &gr_type_room_fill, &m, NULL)));
    }
    event_count = EVENTS;
}

static void a_new_try_waits_while_what_is_left_of_the_last_is_taken_away(void **unused)
{
    (void)unused;
    gr_room_purge_room purge = {.force = true};
    fill_half_a_room();
    gr_sim_ask(sim, 0, GR_STR("room/" ROOM), &gr_type_room_purge_room, &purge, 60000);
    uint64_t began_ms = gr_sim_now(sim);
    gr_err err = join(1);
    if (gr_failed(err)) fail_msg("%s", err.text);
    assert_true(gr_sim_now(sim) < began_ms + GR_JOIN_STEP_MS);     /* it is no crash, after which a step is repeated */
    assert_true(gr_str_is(content_of("m.room.name", ""), "{\"name\":\"Tea\"}"));
    assert_int_equal(content_of("x.number", "3 4").size, 0);
}

static void who_asks_for_a_room_that_is_being_taken_away_is_sent_elsewhere(void **unused)
{
    (void)unused;
    gr_room_purge_room purge = {.force = true};
    fill_half_a_room();
    gr_sim_ask(sim, 0, GR_STR("room/" ROOM), &gr_type_room_purge_room, &purge, 60000);
    gr_sim_run(sim, 5);
    assert_no_room();
}

#define JOINED "{\"membership\":\"join\"}"

static void keys_that_nobody_gives_at_first_are_asked_for_again(void **unused)
{
    (void)unused;
    add_far(true);
    far_up_ms = gr_sim_now(sim) + 20000;
    assert_false(gr_failed(join_slowly()));
    assert_true(gr_sim_now(sim) >= far_up_ms);
    assert_true(gr_str_is(content_of("m.room.member", "@f:far"), JOINED));
    assert_true(content_of("m.room.member", "@g:there").size > 0);
}

static void the_server_joined_through_vouches_for_keys_of_this_join_only(void **unused)
{
    (void)unused;
    const void *reply = NULL;
    add_far(true);
    is_notary = true;
    assert_false(gr_failed(join_slowly()));
    assert_true(gr_str_is(content_of("m.room.member", "@f:far"), JOINED));
    gr_destination_keys m = {.key_ids = {&(gr_str){far.key_id, strlen(far.key_id)}, 1}, .cached_only = true};
    assert_false(gr_failed(call("destination/far", &gr_type_destination_keys, &m, &reply)));
    assert_int_equal(((const gr_server_keys *)reply)->keys.count, 0);
}

static void a_room_is_entered_without_a_membership_that_cannot_be_checked_and_takes_it_later(void **unused)
{
    (void)unused;
    add_far(false);
    uint64_t began_ms = gr_sim_now(sim);
    assert_false(gr_failed(join_slowly()));
    assert_true(gr_sim_now(sim) < began_ms + 3 * GR_JOIN_KEYS_MS);
    assert_int_equal(content_of("m.room.member", "@f:far").size, 0);
    assert_true(gr_str_is(content_of("m.room.name", ""), "{\"name\":\"Tea\"}"));
    gr_sim_run(sim, 5 * 60 * 1000);
    assert_int_equal(content_of("m.room.member", "@f:far").size, 0);
    gr_sim_crash(sim, 0, 3);
    far_up_ms = gr_sim_now(sim);
    for (int minute = 0; minute < 20 && content_of("m.room.member", "@f:far").size == 0; minute++) gr_sim_run(sim, 60000);
    assert_true(gr_str_is(content_of("m.room.member", "@f:far"), JOINED));
    unsigned asked = far_asked;
    gr_sim_run(sim, 20 * 60 * 1000);
    assert_int_equal(far_asked, asked);
}

static void an_event_of_who_was_left_out_is_taken_together_with_their_membership(void **unused)
{
    (void)unused;
    gr_event_built built;
    const void *reply = NULL;
    add_far(false);
    assert_false(gr_failed(join_slowly()));
    gr_str auth[] = {ids[0], ids[2], ids[EVENTS]};
    gr_event_fields f = {.version = version(), .room_id = GR_STR(ROOM), .sender = GR_STR("@f:far"), .type = GR_STR("x.mood"),
                         .has_state_key = true, .state_key = GR_STR("@f:far"), .content = GR_STR("{\"mood\":\"fine\"}"),
                         .prev_events = {&our_join, 1}, .auth_events = {auth, 3}, .depth = 20, .origin_server_ts = 3000};
    assert_false(gr_failed(gr_event_build(arena, &f, &far, &built)));
    gr_server_key key = {.key_id = gr_str_c(far.key_id), .public_key = {(const char *)far.public_key, GR_SIGN_PUBLIC},
                         .valid_until_ms = gr_sim_now(sim) + DAY};
    gr_keys_known known = {.server = GR_STR("far"), .keys = {&key, 1}};
    gr_room_incoming m = {.origin = GR_STR("far"), .pdus = {&built.text, 1}, .keys = {&known, 1}};
    gr_destination_learn learn = {.object = keys(arena, &far, NULL)};      /* whoever takes a transaction has them */
    assert_false(gr_failed(call("destination/far", &gr_type_destination_learn, &learn, NULL)));
    assert_false(gr_failed(call("room/" ROOM, &gr_type_room_incoming, &m, &reply)));
    assert_int_equal(((const gr_room_incoming_are *)reply)->errors.at[0].size, 0);
    gr_sim_run(sim, 40000);
    assert_true(gr_str_is(content_of("m.room.member", "@f:far"), JOINED));
    assert_true(gr_str_is(content_of("x.mood", "@f:far"), "{\"mood\":\"fine\"}"));
}

static void a_room_is_not_entered_without_what_others_build_on(void **unused)
{
    (void)unused;
    add_far(true);
    gr_err err = join_slowly();
    assert_int_equal(err.code, GR_BAD_GATEWAY);
    assert_non_null(strstr(err.text, "keys of far"));
    assert_false(is_joined());
    far_up_ms = gr_sim_now(sim);
    gr_sim_run(sim, 60000);
    assert_false(gr_failed(join_slowly()));
    assert_true(gr_str_is(content_of("m.room.member", "@f:far"), JOINED));
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
        T(an_answer_that_is_cut_anywhere_leaves_no_room_and_says_so),
        T(an_answer_that_is_broken_anywhere_leaves_no_room_or_one_without_what_was_broken),
        T(a_new_try_waits_while_what_is_left_of_the_last_is_taken_away),
        T(who_asks_for_a_room_that_is_being_taken_away_is_sent_elsewhere),
        T(keys_that_nobody_gives_at_first_are_asked_for_again),
        T(the_server_joined_through_vouches_for_keys_of_this_join_only),
        T(a_room_is_entered_without_a_membership_that_cannot_be_checked_and_takes_it_later),
        T(an_event_of_who_was_left_out_is_taken_together_with_their_membership),
        T(a_room_is_not_entered_without_what_others_build_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
