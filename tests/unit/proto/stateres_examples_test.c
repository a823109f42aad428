/* stateres_examples_test.c - the examples that the specification and the proposals behind it work through: "Soft failure"
 * of the server-server API, MSC1442 (version 2) and MSC4297 (version 2.1). */
#include "tests/unit/proto/stateres_rig.h"

/* Runs body with a server s of a room of this version. */
#define IN(version) \
    for (world *w = world_new(version); w; world_free(w), w = NULL) \
        for (server *s = server_new(w, true); s; free(s), s = NULL)
#define IN_EACH(...) \
    for (const char *const *v_ = (const char *const[]){__VA_ARGS__, NULL}; *v_; v_++) IN(*v_)

static size_t send(server *s, edges prev, const char *id, const char *type, const char *sender, const char *content)
{
    return make(s, prev, (sketch){id, type, "", sender, content, (int64_t)s->w->count + 1});
}

/* Alice has 100 by what is written or by what she made. */
static size_t levels(server *s, edges prev, const char *id, const char *sender, const char *users)
{
    const char *alice = s->w->version->privileged_creators ? "" : *users ? "\"@a:a\":100," : "\"@a:a\":100";
    gr_str content = gr_arena_printf(s->w->arena, "{\"users\":{%s%s}}", alice, users);
    return send(s, prev, id, "m.room.power_levels", sender, content.ptr);
}

static size_t join(server *s, size_t prev, const char *id, const char *user, const char *name)
{
    gr_str content = gr_arena_printf(s->w->arena, "{\"membership\":\"join\",\"displayname\":\"%s\"}", name);
    return make(s, after1(prev), (sketch){id, "m.room.member", user, user, content.ptr, (int64_t)s->w->count + 1});
}

static gr_str id_in(server *s, const room_state *state, const char *type, const char *state_key)
{
    size_t event = state->at[key_index(s->w, gr_str_c(type), gr_str_c(state_key))];
    return event ? s->w->event[event - 1].event_id : (gr_str){0};
}

static void put(server *s, room_state *state, size_t event) { state->at[s->w->key[event]] = (uint16_t)(event + 1); }

/* --- the specification ----------------------------------------------------------------------------------- */
static void a_topic_of_somebody_banned_meanwhile_stays_in_version_1_only(void **state)
{
    (void)state;
    IN_EACH("1", "2", "11", "12")
    {
        size_t a = open_room(s);
        size_t b = member(s, a, "$B", "@b:a", "@a:a", "ban", 10);
        size_t c = make(s, after1(a), (sketch){"$C", "m.room.topic", "", "@b:a", "{}", 11});
        size_t d = make(s, after2(b, c), (sketch){"$D", "m.room.message", NULL, "@a:a", "{}", 12});
        assert_false(s->rejected[d]);
        assert_id(id_in(s, &s->before[d], "m.room.topic", ""), w->version->state_res == GR_STATE_RES_1 ? "$C" : "");
        assert_id(id_in(s, &s->before[d], "m.room.member", "@b:a"), "$B");
    }
}

/* --- MSC1442 --------------------------------------------------------------------------------------------- */
static void mainline_orders_topics(void **state)
{
    (void)state;
    IN_EACH("2", "11", "12")
    {
        size_t topic1 = send(s, after1(open_room(s)), "$topic1", "m.room.topic", "@a:a", "{}");
        size_t p1 = levels(s, after1(topic1), "$P1", "@a:a", "\"@b:a\":50");
        size_t topic2 = send(s, after1(p1), "$topic2", "m.room.topic", "@a:a", "{}");
        size_t p2 = levels(s, after1(topic2), "$P2", "@a:a", "");
        size_t p3 = levels(s, after1(p1), "$P3", "@b:a", "\"@b:a\":50,\"@c:a\":10");
        size_t topic3 = send(s, after1(p3), "$topic3", "m.room.topic", "@b:a", "{}");
        size_t message2 = make(s, after2(p2, topic3), (sketch){"$m2", "m.room.message", NULL, "@a:a", "{}", 90});
        assert_false(s->rejected[p3] || s->rejected[topic3]);
        assert_id(id_in(s, &s->before[message2], "m.room.power_levels", ""), "$P2");
        assert_id(id_in(s, &s->before[message2], "m.room.topic", ""), "$topic2");
        size_t topic4 = send(s, after1(message2), "$topic4", "m.room.topic", "@a:a", "{}");
        assert_id(resolved(s, after2(message2, topic4), "m.room.topic", ""), "$topic4");
    }
}

/* D is cited by a state that another server gave, though it was rejected here. */
static void an_event_rejected_by_the_state_then_is_judged_like_others(void **state)
{
    (void)state;
    IN_EACH("2", "11", "12")
    {
        size_t a = levels(s, after1(open_room(s)), "$A", "@a:a", "\"@b:a\":50");
        size_t b = levels(s, after1(a), "$B", "@a:a", "");
        size_t c = make(s, after1(b), (sketch){"$C", "m.room.message", NULL, "@a:a", "{}", 20});
        size_t d = send(s, after1(c), "$D", "m.room.topic", "@b:a", "{}");
        for (size_t i = 0; i < w->auth[d].count; i++)
            if (w->auth[d].at[i] == b) w->auth[d].at[i] = a;
        size_t e = levels(s, after1(c), "$E", "@a:a", "\"@b:a\":50");
        assert_true(s->rejected[d]);
        room_state theirs = s->after[d], out;
        put(s, &theirs, d);
        server_resolve(s, 2, (const room_state *[]){&theirs, &s->after[e]}, &out);
        assert_id(id_in(s, &out, "m.room.power_levels", ""), "$E");
        assert_id(id_in(s, &out, "m.room.topic", ""), "$D");
    }
}

/* --- MSC4297 --------------------------------------------------------------------------------------------- */
static size_t room_of_three(server *s, size_t *levels_then, size_t *rules)
{
    send(s, (edges){{0}, 0}, "$create", "m.room.create", "@a:a", "{\"creator\":\"@a:a\"}");
    size_t alice = join(s, 0, "$alice", "@a:a", "Alice");
    *levels_then = levels(s, after1(alice), "$levels", "@a:a", "");
    *rules = send(s, after1(*levels_then), "$public", "m.room.join_rules", "@a:a", "{\"join_rule\":\"public\"}");
    size_t bob = join(s, *rules, "$bob", "@b:a", "Bob");
    return join(s, bob, "$charlie", "@c:a", "Charlie");
}

/* Who set the rules has left, as all agree; one state, got from another server, has old rules. */
static void rules_survive_that_who_set_them_has_left(void **state)
{
    (void)state;
    IN_EACH("11", "12")
    {
        size_t first, rules, charlie = room_of_three(s, &first, &rules);
        size_t closed =
            send(s, after1(charlie), "$closed", "m.room.join_rules", "@a:a", "{\"join_rule\":\"invite\"}");
        size_t left = member(s, closed, "$left", "@a:a", "@a:a", "leave", 30);
        size_t bobby = join(s, left, "$bobby", "@b:a", "Bobby"), chuck = join(s, left, "$chuck", "@c:a", "Chuck");
        room_state theirs = s->after[chuck], out;
        assert_false(s->rejected[bobby] || s->rejected[chuck]);
        put(s, &theirs, rules);
        server_resolve(s, 2, (const room_state *[]){&s->after[bobby], &theirs}, &out);
        assert_id(id_in(s, &out, "m.room.join_rules", ""), w->version->state_res == GR_STATE_RES_2 ? "" : "$closed");
        assert_id(id_in(s, &out, "m.room.member", "@a:a"), "$left");
    }
}

/* Alice lifted Bob and Bob lifted Charlie; one state has the levels from before, though its own events cite the last ones. */
static void levels_survive_a_state_that_has_old_ones(void **state)
{
    (void)state;
    IN_EACH("11", "12")
    {
        size_t first, rules, charlie = room_of_three(s, &first, &rules);
        size_t two = levels(s, after1(charlie), "$two", "@a:a", "\"@b:a\":50");
        size_t three = levels(s, after1(two), "$three", "@b:a", "\"@b:a\":50,\"@c:a\":50");
        size_t eve = join(s, three, "$eve", "@e:a", "Eve"), zara = join(s, three, "$zara", "@z:a", "Zara");
        size_t eva = join(s, eve, "$eva", "@e:a", "Eva");
        room_state theirs = s->after[eva], out;
        assert_false(s->rejected[three] || s->rejected[eva]);
        put(s, &theirs, first);
        server_resolve(s, 2, (const room_state *[]){&theirs, &s->after[zara]}, &out);
        assert_id(id_in(s, &out, "m.room.power_levels", ""),
                  w->version->state_res == GR_STATE_RES_2 ? "$levels" : "$three");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_of_somebody_banned_meanwhile_stays_in_version_1_only),
        cmocka_unit_test(mainline_orders_topics),
        cmocka_unit_test(an_event_rejected_by_the_state_then_is_judged_like_others),
        cmocka_unit_test(rules_survive_that_who_set_them_has_left),
        cmocka_unit_test(levels_survive_a_state_that_has_old_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
