/* Authorisation rules, each with what it allows and refuses, in the versions where it differs.
 *
 * A case is a room (its state as one line of JSON events), an event, and the versions in which it is
 * allowed. */
#include "proto/auth.h"
#include "proto/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

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

/* --- rooms --- */
typedef struct { gr_event at[16]; size_t count; } room;

static const gr_event *room_get(void *arg, gr_str type, gr_str state_key)
{
    const room *r = arg;
    for (size_t i = r->count; i > 0; i--)
        if (gr_str_eq(r->at[i - 1].type, type) && gr_str_eq(r->at[i - 1].state_key, state_key))
            return &r->at[i - 1];
    return NULL;
}

static const gr_json *json(const char *text)
{
    const gr_json *out = NULL;
    gr_err e = gr_json_parse(arena, gr_str_c(text), GR_JSON_LAX, &out);
    if (gr_failed(e)) fail_msg("%s in %s", e.text, text);
    return out;
}

/* An event as the rules see it: [type, state_key or null, sender, content, optional first prev_event]. */
static gr_event event_of(int version, const gr_json *row)
{
    gr_event e = {.version = gr_room_version_at((size_t)version - 1), .json = row,
                  .type = gr_json_string(&row->items[0]), .sender = gr_json_string(&row->items[2]),
                  .has_state_key = gr_json_is(&row->items[1], GR_JSON_STRING),
                  .state_key = gr_json_string(&row->items[1]), .content = &row->items[3],
                  .event_id = GR_STR("$event:a"),
                  .room_id = e.version->room_id_is_create_hash ? GR_STR("!create") : GR_STR("!r:a")};
    if (gr_str_is(e.type, "m.room.create")) e.event_id = GR_STR("$create");
    if (row->count > 4) {
        e.prev_events.at = gr_arena_alloc(arena, sizeof(gr_str));
        e.prev_events.at[e.prev_events.count++] = gr_json_string(&row->items[4]);
    }
    if (row->count > 5) e.redacts = gr_json_string(&row->items[5]);
    return e;
}

static void fill(room *r, int version, const char *rows)
{
    const gr_json *list = json(rows);
    r->count = 0;
    for (size_t i = 0; i < list->count; i++) r->at[r->count++] = event_of(version, &list->items[i]);
}

static gr_err decide(int version, const char *rows, const char *row)
{
    room r;
    fill(&r, version, rows);
    gr_event event = event_of(version, json(row));
    gr_auth_state state = {room_get, &r};
    return gr_auth_check(arena, &event, &state);
}

/* Allowed exactly in versions first..last. */
static void expect(const char *rows, const char *row, int first, int last)
{
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++) {
        gr_err e = decide(v, rows, row);
        bool wanted = v >= first && v <= last;
        if (gr_failed(e) == wanted)
            fail_msg("version %d: %s %s", v, row, gr_failed(e) ? e.text : "was allowed");
    }
}

static void allowed(const char *rows, const char *row) { expect(rows, row, 1, 12); }
static void refused(const char *rows, const char *row) { expect(rows, row, 13, 13); }

#define CREATE "[\"m.room.create\",\"\",\"@c:a\",{\"creator\":\"@c:a\"}]"
#define EVENT(type, key, sender, content) "[\"" type "\",\"" key "\",\"" sender "\"," content "]"
#define MEMBER(user, membership) EVENT("m.room.member", user, user, "{\"membership\":\"" membership "\"}")
#define ACT(target, sender, membership) EVENT("m.room.member", target, sender, \
    "{\"membership\":\"" membership "\"}")
#define RULE(rule) EVENT("m.room.join_rules", "", "@c:a", "{\"join_rule\":\"" rule "\"}")
#define LEVELS(content) EVENT("m.room.power_levels", "", "@m:a", content)
/* @c:a created the room, @m:a has 50, @n:a has 50, @p:a has 0, @b:a is banned, @i:a invited, @k:a knocks. */
#define BASE CREATE "," MEMBER("@c:a", "join") "," MEMBER("@m:a", "join") "," MEMBER("@n:a", "join") "," \
    MEMBER("@p:a", "join") "," MEMBER("@b:a", "ban") "," MEMBER("@i:a", "invite") "," MEMBER("@k:a", "knock")
#define POWER LEVELS("{\"users\":{\"@m:a\":50,\"@n:a\":50},\"invite\":10,\"events\":{\"m.room.name\":60}}")
#define ROOM(rule) "[" BASE "," POWER "," RULE(rule) "]"

/* --- create --- */
static void a_create_event_is_the_first_and_of_its_creators_server(void **state)
{
    (void)state;
    allowed("[]", CREATE);
    refused("[]", "[\"m.room.create\",\"\",\"@c:a\",{\"creator\":\"@c:a\"},\"$prev\"]");
    expect("[]", EVENT("m.room.create", "", "@c:other", "{\"creator\":\"@c:other\"}"), 12, 12);
    refused("[]", EVENT("m.room.create", "", "@c:a", "{\"creator\":\"@c:a\",\"room_version\":\"99\"}"));
    refused("[]", EVENT("m.room.create", "", "@c:a", "{\"creator\":\"@c:a\",\"room_version\":7}"));
    allowed("[]", EVENT("m.room.create", "", "@c:a", "{\"creator\":\"@c:a\",\"room_version\":\"9\"}"));
    expect("[]", EVENT("m.room.create", "", "@c:a", "{}"), 11, 12);
    expect("[]", EVENT("m.room.create", "", "@c:a", "{\"creator\":\"@c:a\",\"additional_creators\":[5]}"),
           1, 11);
    expect("[]", EVENT("m.room.create", "", "@c:a", "{\"creator\":\"@c:a\","
                       "\"additional_creators\":\"@x:a\"}"), 1, 11);
    allowed("[]", EVENT("m.room.create", "", "@c:a", "{\"creator\":\"@c:a\","
                        "\"additional_creators\":[\"@x:a\"]}"));
}

static void nothing_happens_in_a_room_that_was_not_created(void **state)
{
    (void)state;
    refused("[]", MEMBER("@c:a", "join"));
    room r;
    fill(&r, 12, ROOM("public"));
    gr_event event = event_of(12, json(EVENT("m.room.message", "", "@c:a", "{}")));
    gr_auth_state room_state = {room_get, &r};
    assert_false(gr_failed(gr_auth_check(arena, &event, &room_state)));
    event.room_id = GR_STR("!other");
    assert_true(gr_failed(gr_auth_check(arena, &event, &room_state)));
}

static void a_room_that_does_not_federate_keeps_others_out(void **state)
{
    (void)state;
    const char *closed = "[[\"m.room.create\",\"\",\"@c:a\",{\"creator\":\"@c:a\",\"m.federate\":false}],"
                         RULE("public") "]";
    allowed(closed, MEMBER("@x:a", "join"));
    refused(closed, MEMBER("@x:b", "join"));
}

/* --- members --- */
static void the_creator_joins_first(void **state)
{
    (void)state;
    const char *fresh = "[" CREATE "]";
    allowed(fresh, "[\"m.room.member\",\"@c:a\",\"@c:a\",{\"membership\":\"join\"},\"$create\"]");
    refused(fresh, "[\"m.room.member\",\"@x:a\",\"@x:a\",{\"membership\":\"join\"},\"$create\"]");
    refused(fresh, "[\"m.room.member\",\"@c:a\",\"@c:a\",{\"membership\":\"join\"},\"$other\"]");
    const char *named = "[[\"m.room.create\",\"\",\"@c:a\",{\"creator\":\"@x:a\"}]]";
    expect(named, "[\"m.room.member\",\"@x:a\",\"@x:a\",{\"membership\":\"join\"},\"$create\"]", 1, 10);
    expect(named, "[\"m.room.member\",\"@c:a\",\"@c:a\",{\"membership\":\"join\"},\"$create\"]", 11, 12);
}

static void joining_follows_the_join_rule(void **state)
{
    (void)state;
    allowed(ROOM("public"), MEMBER("@x:a", "join"));
    refused(ROOM("public"), MEMBER("@b:a", "join"));
    refused(ROOM("public"), ACT("@x:a", "@p:a", "join"));
    refused(ROOM("invite"), MEMBER("@x:a", "join"));
    allowed(ROOM("invite"), MEMBER("@i:a", "join"));
    allowed(ROOM("invite"), MEMBER("@p:a", "join"));
    expect(ROOM("knock"), MEMBER("@i:a", "join"), 7, 12);
    expect(ROOM("restricted"), MEMBER("@i:a", "join"), 8, 12);
    expect(ROOM("knock_restricted"), MEMBER("@i:a", "join"), 10, 12);
    refused(ROOM("private"), MEMBER("@i:a", "join"));
    refused(ROOM(""), MEMBER("@i:a", "join"));
    refused("[" BASE "," EVENT("m.room.join_rules", "", "@c:a", "{\"join_rule\":7}") "]", MEMBER("@i:a", "join"));
    allowed("[" BASE "," EVENT("m.room.join_rules", "", "@c:a", "{}") "]", MEMBER("@i:a", "join"));
    refused("[" BASE "]", MEMBER("@x:a", "join"));
    allowed("[" BASE "]", MEMBER("@i:a", "join"));
}

#define VIA(user) EVENT("m.room.member", "@x:a", "@x:a", \
    "{\"membership\":\"join\",\"join_authorised_via_users_server\":\"" user "\"}")

static void a_restricted_join_needs_a_member_who_may_invite(void **state)
{
    (void)state;
    expect(ROOM("restricted"), VIA("@m:a"), 8, 12);
    expect(ROOM("knock_restricted"), VIA("@m:a"), 10, 12);
    refused(ROOM("restricted"), VIA("@p:a"));
    refused(ROOM("restricted"), VIA("@z:a"));
    refused(ROOM("restricted"), MEMBER("@x:a", "join"));
}

static void inviting_needs_membership_and_power(void **state)
{
    (void)state;
    allowed(ROOM("invite"), ACT("@x:a", "@m:a", "invite"));
    refused(ROOM("invite"), ACT("@x:a", "@p:a", "invite"));
    refused(ROOM("invite"), ACT("@x:a", "@z:a", "invite"));
    refused(ROOM("invite"), ACT("@p:a", "@m:a", "invite"));
    refused(ROOM("invite"), ACT("@b:a", "@m:a", "invite"));
    allowed("[" BASE "]", ACT("@x:a", "@p:a", "invite"));
}

static void leaving_and_kicking(void **state)
{
    (void)state;
    allowed(ROOM("invite"), MEMBER("@p:a", "leave"));
    allowed(ROOM("invite"), MEMBER("@i:a", "leave"));
    expect(ROOM("invite"), MEMBER("@k:a", "leave"), 7, 12);
    refused(ROOM("invite"), MEMBER("@b:a", "leave"));
    refused(ROOM("invite"), MEMBER("@x:a", "leave"));
    allowed(ROOM("invite"), ACT("@p:a", "@m:a", "leave"));
    refused(ROOM("invite"), ACT("@n:a", "@m:a", "leave"));
    refused(ROOM("invite"), ACT("@i:a", "@p:a", "leave"));
    refused(ROOM("invite"), ACT("@p:a", "@z:a", "leave"));
    allowed(ROOM("invite"), ACT("@b:a", "@m:a", "leave"));
    const char *strict_ban = "[" BASE "," LEVELS("{\"users\":{\"@m:a\":50},\"ban\":60}") "]";
    refused(strict_ban, ACT("@b:a", "@m:a", "leave"));
    refused("[" BASE "," LEVELS("{\"users\":{\"@m:a\":50},\"kick\":60}") "]", ACT("@b:a", "@m:a", "leave"));
    refused("[" BASE "," LEVELS("{\"users\":{\"@m:a\":50,\"@b:a\":50}}") "]", ACT("@b:a", "@m:a", "leave"));
    allowed(strict_ban, ACT("@p:a", "@m:a", "leave"));
}

static void banning_needs_more_power_than_the_target_has(void **state)
{
    (void)state;
    allowed(ROOM("invite"), ACT("@p:a", "@m:a", "ban"));
    allowed(ROOM("invite"), ACT("@x:a", "@m:a", "ban"));
    refused(ROOM("invite"), ACT("@n:a", "@m:a", "ban"));
    refused(ROOM("invite"), ACT("@x:a", "@p:a", "ban"));
    refused(ROOM("invite"), ACT("@p:a", "@z:a", "ban"));
    expect(ROOM("invite"), ACT("@c:a", "@m:a", "ban"), 1, 11);      /* creators have no written level in 12 */
    expect(ROOM("invite"), ACT("@m:a", "@c:a", "ban"), 12, 12);
}

static void knocking_needs_the_rule(void **state)
{
    (void)state;
    expect(ROOM("knock"), MEMBER("@x:a", "knock"), 7, 12);
    expect(ROOM("knock"), MEMBER("@k:a", "knock"), 7, 12);
    expect(ROOM("knock_restricted"), MEMBER("@x:a", "knock"), 10, 12);
    refused(ROOM("invite"), MEMBER("@x:a", "knock"));
    refused(ROOM("knock"), ACT("@x:a", "@y:a", "knock"));
    refused(ROOM("knock"), MEMBER("@p:a", "knock"));
    refused(ROOM("knock"), MEMBER("@b:a", "knock"));
    refused(ROOM("knock"), MEMBER("@i:a", "knock"));
}

static void a_member_event_needs_its_parts(void **state)
{
    (void)state;
    refused(ROOM("public"), MEMBER("@x:a", "dancing"));
    refused(ROOM("public"), EVENT("m.room.member", "@x:a", "@x:a", "{}"));
    refused(ROOM("public"), "[\"m.room.member\",null,\"@x:a\",{\"membership\":\"join\"}]");
}

static void a_third_party_invite_needs_its_signed_proof(void **state)
{
    (void)state;
    unsigned char seed[GR_SIGN_SEED] = {3};
    gr_signer identity;
    assert_false(gr_failed(gr_signer_from_seed(GR_STR("id.server"), GR_STR("0"), seed, &identity)));
    gr_str proof = gr_sign_json(arena, &identity, json("{\"mxid\":\"@x:a\",\"token\":\"tok\"}"));
    gr_str key = gr_signer_public_text(arena, &identity);
    const char *keys[] = {"\"public_key\":\"%s\"",
                          "\"public_key\":\"x\",\"public_keys\":[{\"public_key\":\"%s\"}]"};
    for (size_t i = 0; i < 2; i++) {
        gr_str known = gr_arena_printf(arena, i ? keys[1] : keys[0], key.ptr);
        gr_str rows = gr_arena_printf(arena, "[" BASE "," POWER ",[\"m.room.third_party_invite\","
                                      "\"tok\",\"@m:a\",{%s}]]", known.ptr);
        const char *invite = "[\"m.room.member\",\"%s\",\"%s\",{\"membership\":\"invite\","
                             "\"third_party_invite\":{\"signed\":%s}}]";
        allowed(rows.ptr, gr_arena_printf(arena, invite, "@x:a", "@m:a", proof.ptr).ptr);
        refused(rows.ptr, gr_arena_printf(arena, invite, "@y:a", "@m:a", proof.ptr).ptr);
        gr_str banned = gr_arena_cat(arena, 3, (gr_str[]){gr_str_head(rows, rows.size - 1), GR_STR(","),
                                     GR_STR(MEMBER("@x:a", "ban") "]")});
        refused(banned.ptr, gr_arena_printf(arena, invite, "@x:a", "@m:a", proof.ptr).ptr);
        refused(rows.ptr, gr_arena_printf(arena, invite, "@x:a", "@n:a", proof.ptr).ptr);
        refused(rows.ptr, gr_arena_printf(arena, invite, "@x:a", "@m:a",
            "{\"mxid\":\"@x:a\",\"token\":\"tok\"}").ptr);
        refused(rows.ptr, gr_arena_printf(arena, invite, "@x:a", "@m:a", "{\"mxid\":\"@x:a\"}").ptr);
        refused(ROOM("invite"), gr_arena_printf(arena, invite, "@x:a", "@m:a", proof.ptr).ptr);
    }
}

/* --- events --- */
static void sending_needs_membership_and_power(void **state)
{
    (void)state;
    allowed(ROOM("public"), "[\"m.room.message\",null,\"@p:a\",{}]");
    refused(ROOM("public"), "[\"m.room.message\",null,\"@x:a\",{}]");
    refused(ROOM("public"), "[\"m.room.message\",null,\"@i:a\",{}]");
    refused(ROOM("public"), EVENT("m.room.topic", "", "@p:a", "{}"));
    allowed(ROOM("public"), EVENT("m.room.topic", "", "@m:a", "{}"));
    refused(ROOM("public"), EVENT("m.room.name", "", "@m:a", "{}"));
    allowed(ROOM("public"), EVENT("x", "@m:a", "@m:a", "{}"));
    refused(ROOM("public"), EVENT("x", "@n:a", "@m:a", "{}"));
    /* a creator has 100 without levels */
    allowed("[" BASE "]", EVENT("m.room.topic", "", "@c:a", "{}"));
    refused("[" BASE "]", EVENT("m.room.topic", "", "@p:a", "{}"));
    refused(ROOM("public"), EVENT("m.room.third_party_invite", "t", "@p:a", "{}"));
    allowed(ROOM("public"), EVENT("m.room.third_party_invite", "t", "@m:a", "{}"));
}

static void aliases_were_special_before_version_6(void **state)
{
    (void)state;
    expect(ROOM("public"), EVENT("m.room.aliases", "a", "@x:a", "{}"), 1, 5);
    expect(ROOM("public"), EVENT("m.room.aliases", "b", "@m:a", "{}"), 6, 12);
    refused(ROOM("public"), "[\"m.room.aliases\",null,\"@x:a\",{}]");
}

static void redactions_were_authorised_before_version_3(void **state)
{
    (void)state;
    expect(ROOM("public"), "[\"m.room.redaction\",null,\"@p:a\",{},\"$x\",\"$e:elsewhere\"]", 3, 12);
    allowed(ROOM("public"), "[\"m.room.redaction\",null,\"@p:a\",{},\"$x\",\"$e:a\"]");
    allowed(ROOM("public"), "[\"m.room.redaction\",null,\"@m:a\",{},\"$x\",\"$e:elsewhere\"]");
}

static void a_redaction_is_applied_by_power_or_to_the_own_servers_events(void **state)
{
    (void)state;
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++) {
        room r;
        fill(&r, v, ROOM("public"));
        gr_auth_state room_state = {room_get, &r};
        gr_event weak = event_of(v, json("[\"m.room.redaction\",null,\"@p:a\",{}]"));
        gr_event strong = event_of(v, json("[\"m.room.redaction\",null,\"@m:a\",{}]"));
        gr_event near = event_of(v, json("[\"m.room.message\",null,\"@z:a\",{}]"));
        gr_event far = event_of(v, json("[\"m.room.message\",null,\"@z:b\",{}]"));
        assert_true(gr_auth_may_redact(&room_state, &weak, &near));
        assert_true(gr_auth_may_redact(&room_state, &strong, &far));
        assert_int_equal(gr_auth_may_redact(&room_state, &weak, &far), v < 3);
    }
}

/* --- power levels --- */
#define OLD "\"@m:a\":50,\"@n:a\":50"
#define CHANGE(users, rest) LEVELS("{\"users\":{" users "},\"invite\":10," \
    "\"events\":{\"m.room.name\":60}" rest "}")

static void power_levels_change_up_to_the_own_level(void **state)
{
    (void)state;
    const char *r = ROOM("public");
    allowed(r, CHANGE(OLD, ""));
    allowed(r, CHANGE(OLD ",\"@p:a\":50", ""));
    refused(r, CHANGE(OLD ",\"@p:a\":51", ""));
    refused(r, CHANGE("\"@m:a\":50,\"@n:a\":40", ""));
    refused(r, CHANGE("\"@m:a\":50", ""));
    allowed(r, CHANGE("\"@m:a\":40,\"@n:a\":50", ""));
    refused(r, CHANGE("\"@m:a\":51,\"@n:a\":50", ""));
    allowed(r, CHANGE(OLD, ",\"ban\":50"));
    refused(r, CHANGE(OLD, ",\"ban\":51"));
    refused(r, LEVELS("{\"users\":{" OLD "},\"invite\":10,\"events\":{}}"));
    refused(r, LEVELS("{\"users\":{" OLD "},\"invite\":10,\"events\":{\"m.room.name\":50}}"));
    allowed(r, LEVELS("{\"users\":{" OLD "},\"events\":{\"m.room.name\":60,\"x\":50}}"));
    refused(r, LEVELS("{\"users\":{" OLD "},\"events\":{\"m.room.name\":60,\"x\":51}}"));
    expect(r, CHANGE(OLD, ",\"notifications\":{\"room\":51}"), 1, 5);
    allowed(r, CHANGE(OLD, ",\"notifications\":{\"room\":50}"));
    allowed("[" BASE "]", EVENT("m.room.power_levels", "", "@c:a", "{\"users\":{\"@p:a\":1000}}"));
}

static void power_levels_have_the_form_of_their_version(void **state)
{
    (void)state;
    const char *r = ROOM("public");
    expect(r, CHANGE(OLD ",\"@p:a\":\"20\"", ""), 1, 9);
    expect(r, CHANGE(OLD ",\"@p:a\":\" +020 \"", ""), 1, 9);
    expect(r, CHANGE(OLD ",\"@p:a\":20.9", ""), 1, 5);
    expect(r, CHANGE(OLD, ",\"ban\":\"20\""), 1, 9);
    expect(r, CHANGE(OLD, ",\"notifications\":[]"), 1, 9);
    expect(r, CHANGE(OLD, ",\"notifications\":{\"room\":\"50\"}"), 1, 9);
    refused(r, LEVELS("{\"users\":{" OLD "},\"invite\":10,\"events\":{\"m.room.name\":60,\"x\":\"y\"}}"));
    expect(r, CHANGE(OLD, ",\"notifications\":{\"room\":\"loud\"}"), 1, 5);
    refused(r, CHANGE(OLD, ",\"ban\":null"));
    refused(r, CHANGE(OLD ",\"@p:a\":\"twenty\"", ""));
    refused(r, CHANGE(OLD ",\"@p:a\":null", ""));
    refused(r, CHANGE(OLD ",\"nobody\":1", ""));
    refused(r, LEVELS("{\"users\":[]}"));
}

static void creators_of_version_12_stand_above_all_levels(void **state)
{
    (void)state;
    const char *two = "[[\"m.room.create\",\"\",\"@c:a\",{\"creator\":\"@c:a\","
        "\"additional_creators\":[\"@d:a\"]}],"
        MEMBER("@c:a", "join") "," MEMBER("@d:a", "join") "," MEMBER("@m:a", "join") ","
        LEVELS("{\"users\":{\"@m:a\":9007199254740991},\"kick\":60,\"users_default\":0}") "]";
    expect(two, ACT("@m:a", "@d:a", "leave"), 12, 12);
    refused(two, ACT("@c:a", "@d:a", "leave"));
    expect(two, ACT("@d:a", "@m:a", "leave"), 1, 11);
    expect(two, LEVELS("{\"users\":{\"@m:a\":9007199254740991,\"@d:a\":1},\"kick\":60,\"users_default\":0}"),
        1, 11);
}

static void a_refusal_says_why(void **state)
{
    (void)state;
    gr_err e = decide(10, ROOM("public"), ACT("@m:a", "@p:a", "leave"));
    assert_string_equal(e.text, "You can't kick @m:a: your power level 0 is below 50");
    assert_int_equal(e.code, GR_FORBIDDEN);
    e = decide(10, ROOM("public"), ACT("@n:a", "@m:a", "ban"));
    assert_string_equal(e.text, "You can't ban @n:a: your power level is 50 and theirs 50");
    e = decide(12, ROOM("public"), ACT("@c:a", "@m:a", "ban"));
    assert_string_equal(e.text, "You can't ban @c:a: your power level is 50 and theirs that of a creator");
}

/* --- auth events --- */
static void selection_names_what_each_event_needs(void **state)
{
    (void)state;
    const gr_room_version *v11 = gr_room_version_find(GR_STR("11"));
    const gr_room_version *v12 = gr_room_version_find(GR_STR("12"));
    gr_str p = GR_STR("@p:a"), q = GR_STR("@q:a");
    assert_int_equal(gr_auth_select(v11, GR_STR("m.room.create"), p, GR_STR(""), json("{}")).count, 0);
    gr_auth_needs plain = gr_auth_select(v11, GR_STR("m.room.message"), p, GR_STR(""), json("{}"));
    assert_int_equal(plain.count, 3);
    assert_true(gr_str_is(plain.at[0].type, "m.room.create"));
    assert_int_equal(gr_auth_select(v12, GR_STR("m.room.message"), p, GR_STR(""), json("{}")).count, 2);
    gr_str member = GR_STR("m.room.member");
    assert_int_equal(gr_auth_select(v11, member, p, p, json("{\"membership\":\"join\"}")).count, 4);
    assert_int_equal(gr_auth_select(v11, member, p, q, json("{\"membership\":\"leave\"}")).count, 4);
    assert_int_equal(gr_auth_select(v11, member, p, q, json("{\"membership\":\"invite\","
        "\"third_party_invite\":{\"signed\":{\"token\":\"t\"}}}")).count, 6);
    const gr_json *via = json("{\"membership\":\"join\",\"join_authorised_via_users_server\":\"@z:a\"}");
    assert_int_equal(gr_auth_select(v11, member, p, p, via).count, 5);
    assert_int_equal(gr_auth_select(gr_room_version_find(GR_STR("7")), member, p, p, via).count, 4);
}

static gr_errcode listed(int version, size_t count, const char *const *rows, const bool *rejected,
                         gr_str other_room)
{
    gr_event events[5], event = event_of(version, json("[\"m.room.message\",null,\"@p:a\",{}]"));
    const gr_event *list[5];
    for (size_t i = 0; i < count; i++) {
        events[i] = event_of(version, json(rows[i]));
        list[i] = &events[i];
    }
    if (other_room.size) events[0].room_id = other_room;
    return gr_auth_check_list(arena, &event, list, rejected, count).code;
}

static void the_list_of_auth_events_is_exact(void **state)
{
    (void)state;
    const char *good[] = {MEMBER("@p:a", "join"), POWER, CREATE};
    const char *twice[] = {CREATE, MEMBER("@p:a", "join"), MEMBER("@p:a", "join")};
    const char *stranger[] = {CREATE, MEMBER("@q:a", "join")};
    const char *message[] = {CREATE, "[\"m.room.power_levels\",null,\"@p:a\",{}]"};
    bool one_rejected[] = {false, true, false};
    gr_str same = {0};
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++) {
        gr_errcode with_create = v < 12 ? GR_OK : GR_FORBIDDEN, without = v < 12 ? GR_FORBIDDEN : GR_OK;
        assert_int_equal(listed(v, 3, good, NULL, same), with_create);
        assert_int_equal(listed(v, 2, good, NULL, same), without);
        assert_int_equal(listed(v, 3, good, one_rejected, same), GR_FORBIDDEN);
        assert_int_equal(listed(v, 3, good, NULL, GR_STR("!other:a")), GR_FORBIDDEN);
        assert_int_equal(listed(v, 3, twice, NULL, same), GR_FORBIDDEN);
        assert_int_equal(listed(v, 2, stranger, NULL, same), GR_FORBIDDEN);
        assert_int_equal(listed(v, 2, message, NULL, same), GR_FORBIDDEN);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_create_event_is_the_first_and_of_its_creators_server),
        TEST(nothing_happens_in_a_room_that_was_not_created),
        TEST(a_room_that_does_not_federate_keeps_others_out),
        TEST(the_creator_joins_first),
        TEST(joining_follows_the_join_rule),
        TEST(a_restricted_join_needs_a_member_who_may_invite),
        TEST(inviting_needs_membership_and_power),
        TEST(leaving_and_kicking),
        TEST(banning_needs_more_power_than_the_target_has),
        TEST(knocking_needs_the_rule),
        TEST(a_member_event_needs_its_parts),
        TEST(a_third_party_invite_needs_its_signed_proof),
        TEST(sending_needs_membership_and_power),
        TEST(aliases_were_special_before_version_6),
        TEST(redactions_were_authorised_before_version_3),
        TEST(a_redaction_is_applied_by_power_or_to_the_own_servers_events),
        TEST(power_levels_change_up_to_the_own_level),
        TEST(power_levels_have_the_form_of_their_version),
        TEST(creators_of_version_12_stand_above_all_levels),
        TEST(a_refusal_says_why),
        TEST(selection_names_what_each_event_needs),
        TEST(the_list_of_auth_events_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
