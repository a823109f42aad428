/* stateres_test.c - state resolution by examples, and against arrival in any order. */
#include "tests/unit/proto/stateres_rig.h"

static const char *const v2_versions[] = {"2", "6", "11", "12"};
enum { V2_VERSIONS = 4 };

/* Runs body with a server s that has an open room whose newest event is base. */
#define IN(version) \
    for (world *w = world_new(version); w; world_free(w), w = NULL) \
        for (server *s = server_new(w, true); s; free(s), s = NULL)
#define IN_V2 \
    for (size_t v_ = 0; v_ < V2_VERSIONS; v_++) IN(v2_versions[v_])

/* Power levels; what alice has is written where creators have no power by themselves. */
static size_t levels(server *s, size_t prev, const char *id, const char *sender, const char *users,
                     int64_t ts)
{
    const char *alice = s->w->version->privileged_creators ? "" : "\"@a:a\":100,";
    gr_str content = gr_arena_printf(s->w->arena, "{\"users\":{%s%s}}", alice, users);
    return make(s, after1(prev), (sketch){id, "m.room.power_levels", "", sender, content.ptr, ts});
}

/* --- races --- */
static void a_ban_beats_what_the_banned_user_did_meanwhile(void **state)
{
    (void)state;
    IN_V2
    {
        size_t base = open_room(s);
        size_t ban = member(s, base, "$ban", "@b:a", "@a:a", "ban", 10);
        size_t topic =
            make(s, after1(base), (sketch){"$topic", "m.room.topic", "", "@b:a", "{\"topic\":\"x\"}", 20});
        size_t again = member(s, topic, "$again", "@b:a", "@b:a", "join", 30);
        assert_id(resolved(s, after2(ban, again), "m.room.member", "@b:a"), "$ban");
        assert_id(resolved(s, after2(again, ban), "m.room.topic", ""), "");
    }
}

static void the_stronger_wins_a_fight_for_power(void **state)
{
    (void)state;
    IN_V2
    {
        size_t base = open_room(s);
        size_t theirs = levels(s, base, "$theirs", "@b:a", "\"@b:a\":50,\"@c:a\":50", 10);
        size_t mine = levels(s, base, "$mine", "@a:a", "\"@d:a\":1", 20);
        assert_false(s->rejected[theirs] || s->rejected[mine]);
        assert_id(resolved(s, after2(mine, theirs), "m.room.power_levels", ""), "$mine");
    }
}

static void the_stronger_goes_first_whatever_the_time(void **state)
{
    (void)state;
    IN_V2
    {
        size_t base = member(s, open_room(s), "$carol", "@c:a", "@c:a", "join", 6);
        size_t kick = member(s, base, "$kick", "@c:a", "@b:a", "leave", 10);
        size_t demoted = levels(s, base, "$demoted", "@a:a", "\"@d:a\":1", 20);
        assert_false(s->rejected[kick]);
        assert_id(resolved(s, after2(kick, demoted), "m.room.member", "@c:a"), "$carol");
    }
}

static void what_an_event_was_authorised_by_goes_before_it(void **state)
{
    (void)state;
    IN_V2
    {
        size_t base = open_room(s);
        size_t weak = levels(s, base, "$weak", "@b:a", "\"@b:a\":50,\"@c:a\":50", 30);
        size_t strong = levels(s, weak, "$strong", "@a:a", "\"@b:a\":50", 20);
        size_t other = make(s, after1(base), (sketch){"$other", "m.room.topic", "", "@a:a", "{}", 10});
        assert_id(resolved(s, after2(strong, other), "m.room.power_levels", ""), "$strong");
    }
}

static void of_two_topics_the_later_stays(void **state)
{
    (void)state;
    IN_V2
    {
        size_t base = open_room(s);
        size_t one = make(s, after1(base), (sketch){"$one", "m.room.topic", "", "@a:a", "{}", 20});
        size_t two = make(s, after1(base), (sketch){"$two", "m.room.topic", "", "@b:a", "{}", 10});
        assert_id(resolved(s, after2(one, two), "m.room.topic", ""), "$one");
        size_t same = make(s, after1(base), (sketch){"$zzz", "m.room.topic", "", "@b:a", "{}", 20});
        assert_id(resolved(s, after2(one, same), "m.room.topic", ""), "$zzz");
    }
}

static void a_topic_under_newer_power_levels_stays_whatever_its_time(void **state)
{
    (void)state;
    IN_V2
    {
        size_t base = open_room(s);
        size_t old = make(s, after1(base), (sketch){"$old", "m.room.topic", "", "@b:a", "{}", 99});
        size_t newer = levels(s, base, "$new_levels", "@a:a", "\"@b:a\":60", 10);
        size_t topic = make(s, after1(newer), (sketch){"$topic", "m.room.topic", "", "@b:a", "{}", 20});
        assert_id(resolved(s, after2(old, topic), "m.room.topic", ""), "$topic");
        assert_id(resolved(s, after2(old, topic), "m.room.power_levels", ""), "$new_levels");
    }
}

static void a_closed_door_keeps_out_who_came_at_the_same_time(void **state)
{
    (void)state;
    IN_V2
    {
        size_t base = open_room(s);
        size_t close =
            make(s, after1(base),
                 (sketch){"$close", "m.room.join_rules", "", "@a:a", "{\"join_rule\":\"invite\"}", 20});
        size_t join = member(s, base, "$join", "@c:a", "@c:a", "join", 10);
        assert_id(resolved(s, after2(close, join), "m.room.member", "@c:a"), "");
        assert_id(resolved(s, after2(close, join), "m.room.join_rules", ""), "$close");
    }
}

/* Bob wrote while he had the power, on a branch that the state with his demotion now meets. */
static gr_str topic_after_demotion(server *s)
{
    world *w = s->w;
    size_t base = open_room(s);
    size_t topic = make(s, after1(base), (sketch){"$topic", "m.room.topic", "", "@b:a", "{}", 10});
    size_t demoted = levels(s, topic, "$demoted", "@a:a", "\"@d:a\":1", 20);
    room_state with = s->after[demoted], without = with, out;
    without.at[w->key[topic]] = 0;
    server_resolve(s, 2, (const room_state *[]){&with, &without}, &out);
    return out.at[w->key[topic]] ? w->event[out.at[w->key[topic]] - 1].event_id : (gr_str){0};
}

static void version_12_judges_an_event_by_what_authorised_it_and_not_by_what_came_later(void **state)
{
    (void)state;
    IN("11") assert_id(topic_after_demotion(s), "");
    IN("12") assert_id(topic_after_demotion(s), "$topic");
}

/* Two joins of bob are in conflict; the kick between them is not, and in the auth chain of a topic that every
 * state has, so that it is no auth difference either. */
static size_t conflicted_around_a_kick(server *s)
{
    size_t base = open_room(s), bob = base;
    size_t kick = member(s, base, "$kick", "@b:a", "@a:a", "leave", 11);
    size_t back = member(s, kick, "$back", "@b:a", "@b:a", "join", 12);
    size_t topic = make(s, after1(back), (sketch){"$end", "m.room.topic", "", "@b:a", "{}", 13});
    room_state a = s->after[topic], b = a, out;
    b.at[s->w->key[bob]] = (uint16_t)(bob + 1);
    server_resolve(s, 2, (const room_state *[]){&a, &b}, &out);
    assert_int_equal(out.at[s->w->key[bob]], back + 1);
    return s->last.conflicted;
}

static void version_12_plays_again_what_lies_between_two_events_in_conflict(void **state)
{
    (void)state;
    IN("11") assert_int_equal(conflicted_around_a_kick(s), 2);
    IN("12") assert_int_equal(conflicted_around_a_kick(s), 3);
}

/* --- version 1 --- */
static void version_1_climbs_by_depth_and_keeps_what_only_one_branch_has(void **state)
{
    (void)state;
    IN("1")
    {
        size_t base = open_room(s);
        size_t name = make(s, after1(base), (sketch){"$name", "m.room.name", "", "@a:a", "{}", 9});
        size_t deep = make(s, after1(name), (sketch){"$deep", "m.room.topic", "", "@a:a", "{}", 5});
        size_t late = make(s, after1(base), (sketch){"$late", "m.room.topic", "", "@a:a", "{}", 50});
        assert_id(resolved(s, after2(deep, late), "m.room.topic", ""), "$deep");
        assert_id(resolved(s, after2(deep, late), "m.room.name", ""), "$name");
    }
}

static void version_1_takes_the_lowest_hash_at_equal_depth(void **state)
{
    (void)state;
    IN("1")
    {
        size_t base = open_room(s);
        size_t x = make(s, after1(base), (sketch){"$x", "m.room.topic", "", "@a:a", "{}", 5});
        size_t y = make(s, after1(base), (sketch){"$y", "m.room.topic", "", "@a:a", "{}", 6});
        assert_id(resolved(s, after2(x, y), "m.room.topic", ""), "$x"); /* 36fb.. and 4829.. */
    }
}

static void version_1_stops_at_the_first_power_levels_not_allowed(void **state)
{
    (void)state;
    IN("1")
    {
        size_t base = open_room(s);
        size_t one =
            make(s, after1(base),
                 (sketch){"$pl1", "m.room.power_levels", "", "@a:a", "{\"users\":{\"@a:a\":100}}", 5});
        size_t chat = make(s, after1(base), (sketch){"$chat", "m.room.message", NULL, "@b:a", "{}", 6});
        size_t two = make(s, after1(chat),
                          (sketch){"$pl2", "m.room.power_levels", "", "@b:a",
                                   "{\"users\":{\"@a:a\":100,\"@b:a\":50,\"@c:a\":50}}", 7});
        assert_false(s->rejected[two]);
        assert_id(resolved(s, after2(one, two), "m.room.power_levels", ""), "$pl1");
    }
}

/* --- what is broken --- */
static void links_in_circles_and_to_nowhere_do_no_harm(void **state)
{
    (void)state;
    static const char *const versions[] = {"1", "2", "11", "12"};
    for (size_t v = 0; v < 4; v++)
        for (int ordered = 0; ordered < 2; ordered++) IN(versions[v])
            {
                s->ordered = ordered;
                size_t base = open_room(s);
                size_t p = make(s, after1(base), (sketch){"$p", "m.room.power_levels", "", "@a:a", "{}", 9});
                size_t q = make(s, after1(base), (sketch){"$q", "m.room.power_levels", "", "@a:a", "{}", 8});
                size_t t = make(s, after1(p), (sketch){"$t", "m.room.topic", "", "@a:a", "{}", 7});
                size_t u = make(s, after1(q), (sketch){"$u", "m.room.topic", "", "@a:a", "{}", 6});
                size_t more[] = {q, p, p, EVENTS_MAX - 1};
                for (size_t i = 0; i < 4; i++) {
                    edges *auth = &w->auth[i % 2 ? q : p];
                    auth->at[auth->count++] = more[i];
                }
                w->auth[p].at[w->auth[p].count++] = u;
                w->auth[t].at[w->auth[t].count++] = t;
                room_state out;
                server_resolve(s, 2, (const room_state *[]){&s->after[t], &s->after[u]}, &out);
                assert_int_equal(out.at[w->key[0]], 1);
            }
}

static void a_rejected_auth_event_authorises_nothing(void **state)
{
    (void)state;
    IN("12")
    {
        size_t base = open_room(s);
        size_t topic = make(s, after1(base), (sketch){"$topic", "m.room.topic", "", "@b:a", "{}", 10});
        room_state with = s->after[topic], without = s->before[topic], out;
        const room_state *both[] = {&with, &without};
        server_resolve(s, 2, both, &out);
        assert_int_equal(out.at[w->key[topic]], topic + 1);
        s->rejected[2] = true; /* the power levels that let bob write topics */
        server_resolve(s, 2, both, &out);
        assert_int_equal(out.at[w->key[topic]], 0);
    }
}

static void a_conflict_past_its_limits_is_refused(void **state)
{
    (void)state;
    IN_V2
    {
        size_t base = open_room(s);
        size_t one = make(s, after1(base), (sketch){"$one", "m.room.topic", "", "@a:a", "{}", 20});
        size_t two = make(s, after1(base), (sketch){"$two", "m.room.topic", "", "@b:a", "{}", 10});
        const room_state *both[] = {&s->after[one], &s->after[two]};
        room_state out;
        assert_int_equal(server_try(s, 2, both, &out, 1, 100).code, GR_UNAVAILABLE);
        assert_int_equal(server_try(s, 2, both, &out, 100, 3).code, GR_UNAVAILABLE);
        assert_int_equal(server_try(s, 2, both, &out, 2, 100).code, GR_UNAVAILABLE);
        assert_false(gr_failed(server_try(s, 2, both, &out, 3, 100))); /* bob is in one chain only */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ban_beats_what_the_banned_user_did_meanwhile),
        cmocka_unit_test(the_stronger_wins_a_fight_for_power),
        cmocka_unit_test(the_stronger_goes_first_whatever_the_time),
        cmocka_unit_test(what_an_event_was_authorised_by_goes_before_it),
        cmocka_unit_test(of_two_topics_the_later_stays),
        cmocka_unit_test(a_topic_under_newer_power_levels_stays_whatever_its_time),
        cmocka_unit_test(a_closed_door_keeps_out_who_came_at_the_same_time),
        cmocka_unit_test(version_12_judges_an_event_by_what_authorised_it_and_not_by_what_came_later),
        cmocka_unit_test(version_12_plays_again_what_lies_between_two_events_in_conflict),
        cmocka_unit_test(version_1_climbs_by_depth_and_keeps_what_only_one_branch_has),
        cmocka_unit_test(version_1_takes_the_lowest_hash_at_equal_depth),
        cmocka_unit_test(version_1_stops_at_the_first_power_levels_not_allowed),
        cmocka_unit_test(links_in_circles_and_to_nowhere_do_no_harm),
        cmocka_unit_test(a_rejected_auth_event_authorises_nothing),
        cmocka_unit_test(a_conflict_past_its_limits_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
