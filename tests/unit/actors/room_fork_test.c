/* room_fork_test.c - a room whose history has branches: state, extremities, and what readers are told. */
#include "tests/unit/actors/room_fork_rig.h"

#include "actors/room/check.h"
#include "actors/room/receive.h"

static const char topic_a[] = "{\"topic\":\"a\"}", topic_b[] = "{\"topic\":\"b\"}";

static const char *const versions[] = {"3", "11", "12"};
#define IN_EACH(f) \
    for (size_t v_ = 0; v_ < 3; v_++) \
        for (fork_room f = open_room(versions[v_]); f.r; rig_free(&f.r))

static void branches_have_an_extremity_each_until_an_event_joins_them(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        gr_str base = newest(&f), tips[2];
        uint64_t depth = room_of(f.r)->depth;
        tips[0] = put(&f, one(&base), "@a:here", "m.room.topic", "", topic_a);
        tips[1] = put(&f, one(&base), "@b:here", "m.room.message", NULL, "{}");
        assert_int_equal(room_of(f.r)->extremity_count, 2);
        assert_int_equal(room_of(f.r)->depth, depth + 1);
        assert_text(room_state(f.r, "m.room.topic", "", "topic"), "\"a\"");
        put(&f, (gr_strs){tips, 2}, "@b:here", "m.room.message", NULL, "{}");
        assert_int_equal(room_of(f.r)->extremity_count, 1);
        assert_int_equal(room_of(f.r)->depth, depth + 2);
        assert_int_equal(f.made.record.state_before, room_of(f.r)->root);
        rig_reload(f.r);
        assert_text(room_state(f.r, "m.room.topic", "", "topic"), "\"a\"");
    }
}

static void the_current_state_is_what_the_branches_resolve_to(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        gr_str base = newest(&f);
        put(&f, one(&base), "@a:here", "m.room.topic", "", topic_a);
        put(&f, one(&base), "@a:here", "m.room.topic", "", topic_b);
        assert_int_equal(room_of(f.r)->extremity_count, 2);
        assert_text(room_state(f.r, "m.room.topic", "", "topic"), "\"b\"");
        room_send(f.r, "@b:here", "m.room.message", NULL, "{}", "");
        assert_ok(f.r);
        assert_int_equal(room_of(f.r)->extremity_count, 1);
        assert_text(room_state(f.r, "m.room.topic", "", "topic"), "\"b\"");
    }
}

/* Bob's own event is taken back by the ban that arrives later. */
static void a_ban_on_another_branch_takes_back_what_the_banned_user_did(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        gr_str base = newest(&f), tips[2];
        tips[1] = put(&f, one(&base), "@b:here", "m.room.member", "@b:here",
                      "{\"membership\":\"join\",\"displayname\":\"Bob\"}");
        assert_text(room_state(f.r, "m.room.member", "@b:here", "displayname"), "\"Bob\"");
        uint64_t joined = room_of(f.r)->joined;
        tips[0] = put(&f, one(&base), "@a:here", "m.room.member", "@b:here", "{\"membership\":\"ban\"}");
        assert_int_equal(room_membership(f.r, "@b:here"), GR_MEMBER_BAN);
        assert_int_equal(room_of(f.r)->joined, joined - 1);
        put(&f, (gr_strs){tips, 2}, "@a:here", "m.room.message", NULL, "{}");
        assert_int_equal(room_membership(f.r, "@b:here"), GR_MEMBER_BAN);
        assert_int_equal(room_of(f.r)->joined, joined - 1);
    }
}

static const gr_effect *feed_post(rig *r, const char *kind)
{
    const gr_effect *e;
    for (size_t i = 0; (e = rig_effect(r, GR_POST, &gr_type_feed_event, i)); i++)
        if (gr_str_is(((const gr_feed_event *)rig_body(r, e))->kind, kind)) return e;
    return NULL;
}

/* The kick that arrives takes back the topic of the one kicked: the one before it is there again. */
static void what_else_moved_is_a_state_only_position_that_feeds_hear_of(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        gr_str base = newest(&f);
        gr_str powers =
            put(&f, one(&base), "@a:here", "m.room.power_levels", "",
                room_of(f.r)->version->privileged_creators ? "{\"users\":{\"@b:here\":50}}"
                                                           : "{\"users\":{\"@a:here\":100,\"@b:here\":50}}");
        gr_str first = put(&f, one(&powers), "@a:here", "m.room.topic", "", topic_a);
        put(&f, one(&first), "@b:here", "m.room.topic", "", topic_b);
        assert_text(room_state(f.r, "m.room.topic", "", "topic"), "\"b\"");
        uint64_t pos = room_of(f.r)->next_pos;
        put(&f, one(&first), "@a:here", "m.room.member", "@b:here", "{\"membership\":\"leave\"}");
        assert_int_equal(f.made.pos, pos);
        assert_int_equal(f.made.state_pos, pos + 1);
        assert_non_null(feed_post(f.r, "state"));
        gr_pos_kind kind;
        uint64_t number, root;
        assert_true(gr_room_pos_at(&f.r->ctx, pos + 1, &kind, &number, &root));
        assert_int_equal(kind, GR_POS_STATE);
        assert_int_equal(root, room_of(f.r)->root);
        assert_text(room_state(f.r, "m.room.topic", "", "topic"), "\"a\"");
    }
}

static void an_event_that_moves_nothing_else_has_no_state_only_position(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        gr_str base = newest(&f);
        put(&f, one(&base), "@a:here", "m.room.topic", "", topic_a);
        put(&f, one(&base), "@a:here", "m.room.name", "", "{\"name\":\"n\"}");
        assert_int_equal(f.made.state_pos, 0);
        assert_null(feed_post(f.r, "state"));
        assert_text(room_state(f.r, "m.room.topic", "", "topic"), "\"a\"");
        assert_text(room_state(f.r, "m.room.name", "", "name"), "\"n\"");
    }
}

/* Who is cited, and by whom, the room remembers from one fork to the next. */
static void branches_whose_states_differ_are_joined_by_half_of_what_a_handler_may_read(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        gr_str base = newest(&f);
        for (int i = 0; i < 3; i++) {
            gr_str tips[] = {put(&f, one(&base), "@a:here", "m.room.topic", "", topic_a),
                             put(&f, one(&base), "@b:here", "m.room.member", "@b:here", "{\"membership\":\"join\",\"n\":1}"),
                             put(&f, one(&base), "@a:here", "m.room.topic", "", topic_b)};
            base = put(&f, (gr_strs){tips, 3}, "@a:here", "m.room.name", "", "{\"name\":\"n\"}");
        }
        assert_true(f.r->ctx.gets < GR_HANDLER_GETS_MAX / 2);
    }
}

/* --- extremities ---------------------------------------------------------------------------------------- */
static void widen(fork_room *f, size_t branches)
{
    gr_str base = newest(f);
    for (size_t i = 0; i < branches; i++) put(f, one(&base), "@b:here", "m.room.message", NULL, "{}");
}

static gr_room_record newest_record(fork_room *f)
{
    gr_room_record r;
    gr_ctx_begin(&f->r->ctx, f->r->address);
    assert_true(gr_room_record_at(&f->r->ctx, room_of(f->r)->next_number - 1, &r));
    return r;
}

static size_t prevs_of(fork_room *f, const gr_room_record *record)
{
    gr_event e;
    assert_true(gr_room_event_of(room_of(f->r), f->r->arena, record, &e));
    return e.prev_events.count;
}

static void fire(fork_room *f)
{
    gr_timer timer = {.name = GR_STR("extremities")};
    rig_handle(f->r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &timer, .from = f->r->address});
}

static bool heals_soon(rig *r)
{
    for (const gr_effect *e = r->ctx.first; e; e = e->next)
        if (e->kind == GR_FX_TIMER && gr_str_is(e->name, "extremities")) return e->durable;
    return false;
}

static void a_wide_fork_is_healed_by_dummy_events_that_nobody_is_shown(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        widen(&f, 10);
        assert_false(heals_soon(f.r));
        gr_str base = newest(&f);
        uint64_t root = room_of(f.r)->root;
        widen(&f, 1);
        assert_int_equal(room_of(f.r)->extremity_count, 10);
        put(&f, one(&base), "@b:here", "m.room.message", NULL, "{}");
        assert_true(heals_soon(f.r));
        uint64_t pos = room_of(f.r)->next_pos;
        fire(&f);
        assert_int_equal(room_of(f.r)->extremity_count, 1);
        assert_int_equal(room_of(f.r)->next_pos, pos);
        assert_int_equal(room_of(f.r)->root, root);
        assert_int_equal(rig_count(f.r, GR_POST, NULL), 0);
        gr_room_record dummy = newest_record(&f);
        assert_text(dummy.type, "org.matrix.dummy_event");
        assert_int_equal(dummy.pos, 0);
        assert_int_equal(prevs_of(&f, &dummy), 11);
        rig_reload(f.r);
        room_send(f.r, "@b:here", "m.room.message", NULL, "{}", "");
        assert_ok(f.r);
        assert_int_equal(room_of(f.r)->next_pos, pos + 1);
    }
}

static void an_event_joins_at_most_twenty_branches_and_dummies_the_rest(void **state)
{
    (void)state;
    fork_room f = open_room("12");
    widen(&f, 50);
    assert_int_equal(room_of(f.r)->extremity_count, 50);
    rig_reload(f.r);
    fire(&f);
    assert_true(f.r->ctx.gets < GR_HANDLER_GETS_MAX / 2);
    assert_true(heals_soon(f.r));
    gr_room_record dummy = newest_record(&f);
    assert_int_equal(prevs_of(&f, &dummy), GR_EVENT_PREV_MAX);
    assert_int_equal(room_of(f.r)->extremity_count, 31);
    fire(&f);
    fire(&f);
    assert_int_equal(room_of(f.r)->extremity_count, 1);
    assert_false(heals_soon(f.r));
    fire(&f);
    assert_text(newest_record(&f).type, "org.matrix.dummy_event");
    assert_int_equal(room_of(f.r)->extremity_count, 1);
    rig_free(&f.r);
}

static void on_problem(void *arg, gr_str key, const char *what)
{
    (void)arg;
    fail_msg("row %c: %s", key.ptr[0], what);
}

/* Other servers would reject what the branches that an event joins do not allow. */
static void who_joined_on_a_branch_that_is_left_over_speaks_when_it_was_joined(void **state)
{
    (void)state;
    fork_room f = open_room("11");
    rig *r = f.r;
    gr_str base = newest(&f);
    put(&f, one(&base), "@c:here", "m.room.member", "@c:here", "{\"membership\":\"join\"}");
    for (size_t i = 0; i < 25; i++) put(&f, one(&base), "@b:here", "m.room.message", NULL, "{}");
    assert_int_equal(room_membership(r, "@c:here"), GR_MEMBER_JOIN);
    room_send(r, "@c:here", "m.room.message", NULL, "{}", "");
    assert_int_equal(r->err.code, GR_LIMIT_EXCEEDED);
    fire(&f);
    assert_int_equal(room_of(r)->extremity_count, 7);
    room_send(r, "@c:here", "m.room.message", NULL, "{}", "");
    assert_ok(r);
    gr_ctx_begin(&r->ctx, r->address);
    gr_room_check(&r->ctx, on_problem, NULL);
    rig_free(&f.r);
}

static void branches_past_the_limit_give_way_oldest_first(void **state)
{
    (void)state;
    fork_room f = open_room("12");
    widen(&f, GR_ROOM_EXTREMITIES_MAX + 5);
    assert_int_equal(room_of(f.r)->extremity_count, GR_ROOM_EXTREMITIES_MAX);
    gr_room_record last = newest_record(&f);
    const gr_room_extremity *e = &room_of(f.r)->extremities[GR_ROOM_EXTREMITIES_MAX - 1];
    assert_true(gr_str_eq(e->id, last.event_id));
    rig_reload(f.r);
    rig_free(&f.r);
}

static void nobody_here_heals_a_fork_who_may_not_speak(void **state)
{
    (void)state;
    fork_room f = open_room("11");
    gr_str base = newest(&f);
    put(&f, one(&base), "@a:here", "m.room.power_levels", "",
        "{\"users\":{\"@a:here\":100},\"events_default\":50}");
    base = newest(&f);
    for (size_t i = 0; i < 12; i++) put(&f, one(&base), "@a:here", "m.room.message", NULL, "{}");
    room_member(f.r, "@a:here", "leave", "@a:here");
    assert_ok(f.r);
    base = newest(&f);
    size_t count = room_of(f.r)->extremity_count;
    uint64_t number = room_of(f.r)->next_number;
    assert_int_equal(count, 1); /* the leave joined all of them */
    f.flags = GR_ROOM_ACCEPTED;
    for (size_t i = 0; i < 12; i++) put(&f, one(&base), "@b:here", "m.room.message", NULL, "{}");
    number = room_of(f.r)->next_number;
    fire(&f);
    assert_int_equal(room_of(f.r)->next_number, number);
    assert_int_equal(room_of(f.r)->extremity_count, 12);
    rig_free(&f.r);
}

static void depth_is_one_more_than_that_of_the_events_followed(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        gr_room *room = room_of(f.r);
        int64_t depth;
        room->extremities[0].depth = 500;
        room->depth = 900; /* of a branch that was joined long ago */
        gr_room_prevs(room, &f.r->ctx, &depth);
        assert_int_equal(depth, 501);
        room->extremities[0].depth = (uint64_t)room->version->depth_max;
        room_send(f.r, "@b:here", "m.room.message", NULL, "{}", "");
        assert_ok(f.r);
        gr_room_record last = newest_record(&f);
        assert_int_equal(last.depth, room->version->depth_max);
        gr_room_prevs(room, &f.r->ctx, &depth);
        assert_int_equal(depth, room->version->depth_max);
    }
}

static void an_event_behind_a_soft_failed_one_takes_the_place_of_what_that_one_follows(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        gr_str base = newest(&f), soft, softer;
        f.flags = GR_ROOM_ACCEPTED | GR_ROOM_SOFT_FAILED;
        soft = put(&f, one(&base), "@b:here", "m.room.message", NULL, "{}");
        softer = put(&f, one(&soft), "@b:here", "m.room.message", NULL, "{}");
        assert_int_equal(room_of(f.r)->extremity_count, 1);
        assert_true(gr_str_eq(newest(&f), base));
        f.flags = 0;
        put(&f, one(&softer), "@b:here", "m.room.message", NULL, "{}");
        assert_int_equal(room_of(f.r)->extremity_count, 1);
        assert_false(gr_str_eq(newest(&f), base));
    }
}

/* --- chain cover ---------------------------------------------------------------------------------------- */
static void drop_cover(rig *r)
{
    gr_ctx_begin(&r->ctx, r->address);
    for (uint64_t n = 1; n < room_of(r)->next_number; n++)
        gr_ctx_del(&r->ctx, gr_room_key_number(&r->ctx, 'c', n));
    rig_finish(r);
}

static gr_chain_place newest_place(fork_room *f)
{
    rig *r = f->r;
    gr_ctx_begin(&r->ctx, r->address);
    gr_chain chain = gr_room_chain(&r->ctx);
    return gr_chain_place_of(&chain, r->arena, room_of(r)->next_number - 1);
}

static void state_events_have_a_place_in_the_chain_cover(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        rig *r = f.r;
        gr_ctx_begin(&r->ctx, r->address);
        for (uint64_t n = 1; n < room_of(r)->next_number; n++) {
            gr_room_record record;
            gr_chain chain = gr_room_chain(&r->ctx);
            assert_true(gr_room_record_at(&r->ctx, n, &record));
            gr_chain_place place = gr_chain_place_of(&chain, r->arena, n);
            assert_int_equal(place.chain != 0, record.is_state);
        }
        room_member(r, "@b:here", "leave", "@b:here");
        gr_chain_place left = newest_place(&f);
        assert_int_equal(left.seq, 2);
        room_member(r, "@b:here", "join", "@b:here");
        gr_chain_place again = newest_place(&f);
        assert_int_equal(again.chain, left.chain);
        assert_int_equal(again.seq, 3);
    }
}

/* Powers and a kick on two branches; what is resolved with the cover and without it. */
static void state_resolves_the_same_without_a_chain_cover(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        gr_str base = newest(&f), tips[2];
        bool own = room_of(f.r)->version->privileged_creators;
        gr_str powers = put(&f, one(&base), "@a:here", "m.room.power_levels", "",
                            own ? "{\"users\":{\"@b:here\":60}}"
                                : "{\"users\":{\"@a:here\":100,\"@b:here\":60}}");
        gr_str topic = put(&f, one(&powers), "@b:here", "m.room.topic", "", topic_b);
        tips[0] = put(&f, one(&topic), "@b:here", "m.room.name", "", "{\"name\":\"b\"}");
        gr_str kick = put(&f, one(&base), "@a:here", "m.room.member", "@b:here", "{\"membership\":\"leave\"}");
        tips[1] = put(&f, one(&kick), "@a:here", "m.room.topic", "", topic_a);
        uint64_t with, without;
        gr_ctx_begin(&f.r->ctx, f.r->address);
        assert_false(gr_failed(
            gr_room_state_before(room_of(f.r), &f.r->ctx, (gr_strs){tips, 2}, &with)));
        drop_cover(f.r);
        gr_ctx_begin(&f.r->ctx, f.r->address);
        assert_false(gr_failed(
            gr_room_state_before(room_of(f.r), &f.r->ctx, (gr_strs){tips, 2}, &without)));
        gr_room_nodes nodes;
        gr_trie trie = gr_room_trie(&nodes, room_of(f.r), &f.r->ctx);
        for (uint64_t key = 1; key < room_of(f.r)->next_key; key++)
            assert_int_equal(gr_trie_get(&trie, with, key), gr_trie_get(&trie, without, key));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(branches_have_an_extremity_each_until_an_event_joins_them),
        cmocka_unit_test(the_current_state_is_what_the_branches_resolve_to),
        cmocka_unit_test(a_ban_on_another_branch_takes_back_what_the_banned_user_did),
        cmocka_unit_test(what_else_moved_is_a_state_only_position_that_feeds_hear_of),
        cmocka_unit_test(an_event_that_moves_nothing_else_has_no_state_only_position),
        cmocka_unit_test(branches_whose_states_differ_are_joined_by_half_of_what_a_handler_may_read),
        cmocka_unit_test(a_wide_fork_is_healed_by_dummy_events_that_nobody_is_shown),
        cmocka_unit_test(an_event_joins_at_most_twenty_branches_and_dummies_the_rest),
        cmocka_unit_test(who_joined_on_a_branch_that_is_left_over_speaks_when_it_was_joined),
        cmocka_unit_test(branches_past_the_limit_give_way_oldest_first),
        cmocka_unit_test(nobody_here_heals_a_fork_who_may_not_speak),
        cmocka_unit_test(depth_is_one_more_than_that_of_the_events_followed),
        cmocka_unit_test(an_event_behind_a_soft_failed_one_takes_the_place_of_what_that_one_follows),
        cmocka_unit_test(state_events_have_a_place_in_the_chain_cover),
        cmocka_unit_test(state_resolves_the_same_without_a_chain_cover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
