/* room_purge_test.c - history and rooms that are taken away, with a restart after each step. */
#include "tests/unit/actors/room_fork_rig.h"
#include "tests/unit/actors/room_view_rig.h"

#include "actors/room/check.h"

enum { OLD = 40, DAY_MS = 24 * 3600 * 1000, STEPS_MAX = 400 };

/* --- looking ------------------------------------------------------------------------------------------------- */
static bool count_key(void *arg, gr_str key, gr_str value)
{
    (void)key, (void)value;
    ++*(size_t *)arg;
    return true;
}

static size_t rows(rig *r, const char *prefix)
{
    size_t count = 0;
    gr_ctx_begin(&r->ctx, r->address);
    gr_ctx_scan(&r->ctx, gr_str_c(prefix), (gr_str){0}, false, 0, count_key, &count);
    if (!*prefix) return count;
    count = 0;
    gr_ctx_scan_prefix(&r->ctx, gr_str_c(prefix), 0, count_key, &count);
    return count;
}

static void on_problem(void *arg, gr_str key, const char *what)
{
    (void)arg;
    fail_msg("row %c: %s", key.ptr[0], what);
}

/* As fsck does. */
static void check_room(rig *r)
{
    gr_arena_reset(r->arena);
    gr_ctx_begin(&r->ctx, r->address);
    gr_room_check(&r->ctx, on_problem, NULL);
    gr_ctx_begin(&r->ctx, r->address);
}

static size_t history(rig *r)
{
    size_t count = 0;
    gr_room_messages m = {.user = GR_STR("@a:here"), .backward = true, .limit = 100};
    const gr_json *page = view_ask(r, &gr_type_room_messages, &m);
    assert_ok(r);
    count = gr_json_get(page, "chunk")->count;
    return count;
}

/* --- purging ------------------------------------------------------------------------------------------------- */
static gr_str purging(rig *r)
{
    assert_ok(r);
    return gr_json_text(view_parse(r, ((const gr_result *)r->reply)->body), "purging");
}

static void purge_history(rig *r, gr_str event_id, uint64_t before_ts)
{
    gr_room_purge_history m = {.event_id = event_id, .before_ts = before_ts};
    rig_handle(r, &(gr_msg){.verb = GR_ASK, .type = &gr_type_room_purge_history, .body = &m, .from = GR_STR("edge/n0/0")});
}

static void purge_room(rig *r, bool force)
{
    gr_room_purge_room m = {.force = force};
    rig_handle(r, &(gr_msg){.verb = GR_ASK, .type = &gr_type_room_purge_room, .body = &m, .from = GR_STR("edge/n0/0")});
}

/* One step, and a restart behind it.  False: there was nothing more to do. */
static bool step(rig *r)
{
    gr_timer timer = {.name = GR_STR("purge")};
    bool open = room_of(r)->purge.phase != GR_PURGE_NOTHING;
    rig_handle(r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &timer, .from = r->address});
    rig_reload(r);
    return open;
}

static size_t all_steps(rig *r)
{
    size_t count = 0;
    r->is_over_bounds = false;
    while (step(r)) assert_true(++count < STEPS_MAX);
    assert_false(r->is_over_bounds);
    return count;
}

/* --- history ------------------------------------------------------------------------------------------------- */
typedef struct { rig *r; gr_str old, root, cut; uint64_t old_ts; } aged_room;

/* Messages of two days ago, with relations, and then some of now. */
static aged_room aged(void)
{
    aged_room a = {.r = room_new((room_options){"11", "{\"preset\":\"public_chat\"}"})};
    rig *r = a.r;
    room_member(r, "@b:here", "join", "@b:here");
    a.old_ts = r->ctx.now_ms;
    a.old = say(r, "@a:here", "old");
    a.root = say(r, "@a:here", "a thread");
    for (int i = 0; i < OLD; i++) {
        gr_str on = i % 2 ? a.old : a.root;
        const char *type = i % 2 ? "m.annotation" : "m.thread";
        gr_str content = gr_arena_printf(r->long_arena, "{\"m.relates_to\":{\"rel_type\":\"%s\",\"event_id\":\"%.*s\","
                                         "\"key\":\"%d\"}}", type, GR_ARG(on), i);
        room_send(r, "@b:here", i % 2 ? "m.reaction" : "m.room.message", NULL, content.ptr, "");
        assert_ok(r);
        gr_str topic = gr_arena_printf(r->long_arena, "{\"topic\":\"%d\"}", i);
        if (i % 8 == 0) room_send(r, "@a:here", "m.room.topic", "", topic.ptr, "");
    }
    r->ctx.now_ms += 2 * (uint64_t)DAY_MS;
    a.cut = say(r, "@a:here", "new");
    for (int i = 0; i < 5; i++) say(r, "@b:here", "newer");
    rig_commit(r);
    return a;
}

static void old_history_is_out_of_sight_at_once_and_gone_in_steps(void **state)
{
    (void)state;
    aged_room a = aged();
    rig *r = a.r;
    check_room(r);
    size_t events = rows(r, "e");
    purge_history(r, a.cut, 0);
    assert_text(purging(r), "stream");
    assert_int_equal(history(r), 6);
    assert_int_equal(rows(r, "e"), events);
    assert_true(all_steps(r) > 5);
    assert_int_equal(history(r), 6);
    assert_int_equal(rows(r, "d"), 6);
    assert_int_equal(rows(r, "p"), 7);
    assert_int_equal(rows(r, "l") + rows(r, "L") + rows(r, "T") + rows(r, "y"), 0);
    assert_int_equal(rows(r, "e"), events - OLD - 2);
    assert_int_equal(rows(r, "e"), rows(r, "i"));
    gr_room_event gone = {.user = GR_STR("@a:here"), .event_id = a.old};
    assert_null(view_ask(r, &gr_type_room_event, &gone));
    assert_text(room_state(r, "m.room.topic", "", "topic"), "\"32\"");
    check_room(r);
    say(r, "@a:here", "on it goes");
    check_room(r);
    rig_free(&a.r);
}

static void a_room_is_right_after_each_step_of_a_purge(void **state)
{
    (void)state;
    aged_room a = aged();
    purge_history(a.r, a.cut, 0);
    do {
        check_room(a.r);
        assert_int_equal(history(a.r), 6);
    } while (step(a.r));
    rig_free(&a.r);
}

static void history_of_the_last_day_stays(void **state)
{
    (void)state;
    aged_room a = aged();
    rig *r = a.r;
    purge_history(r, (gr_str){0}, r->ctx.now_ms + DAY_MS);
    assert_ok(r);
    all_steps(r);
    assert_int_equal(history(r), 6);
    purge_history(r, (gr_str){0}, a.old_ts);
    assert_text(purging(r), "nothing");
    purge_history(r, (gr_str){0}, 0);
    assert_int_equal(r->err.code, GR_MISSING_PARAM);
    purge_history(r, GR_STR("$nothing"), 0);
    assert_int_equal(r->err.code, GR_NOT_FOUND);
    rig_free(&a.r);
}

static void a_reader_from_before_the_purge_gets_a_gap(void **state)
{
    (void)state;
    aged_room a = aged();
    rig *r = a.r;
    uint64_t seen = 5;
    purge_history(r, a.cut, 0);
    all_steps(r);
    const gr_room_part *part = view_sync(r, (gr_room_sync){.user = GR_STR("@b:here"), .from_pos = seen, .limit = 20});
    assert_true(part->limited);
    assert_int_equal(view_parse(r, part->timeline)->count, 6);
    rig_free(&a.r);
}

/* Branches of history, some of whose tips are behind the cut. */
static void a_forked_room_keeps_its_extremities(void **state)
{
    (void)state;
    fork_room f = open_room("11");
    gr_str base = newest(&f), tip = base, cut = base;
    put(&f, one(&base), "@b:here", "m.room.message", NULL, "{}");
    for (int i = 0; i < 20; i++) tip = put(&f, one(&tip), i % 2 ? "@a:here" : "@b:here", "m.room.message", NULL, "{}");
    f.r->ctx.now_ms += 2 * (uint64_t)DAY_MS;
    f.ts += 2 * (uint64_t)DAY_MS;
    cut = put(&f, one(&tip), "@a:here", "m.room.message", NULL, "{}");
    put(&f, one(&cut), "@a:here", "m.room.message", NULL, "{}");
    assert_int_equal(room_of(f.r)->extremity_count, 2);
    check_room(f.r);
    purge_history(f.r, cut, 0);
    assert_text(purging(f.r), "stream");
    all_steps(f.r);
    check_room(f.r);
    assert_int_equal(history(f.r), 2);
    say(f.r, "@a:here", "together");
    assert_int_equal(room_of(f.r)->extremity_count, 1);
    check_room(f.r);
    rig_free(&f.r);
}

/* Relations and redactions that waited for their targets, what soft-failed, and an extremity that was none any more later. */
static void what_nobody_was_shown_and_what_waited_goes_along(void **state)
{
    (void)state;
    fork_room f = open_room("11");
    rig *r = f.r;
    gr_str base = newest(&f), tip = base;
    size_t before = rows(r, "e");
    put(&f, one(&base), "@b:here", "m.room.message", NULL, "{}");
    for (int i = 0; i < 20; i++) {
        f.flags = i % 3 ? 0 : GR_ROOM_ACCEPTED | GR_ROOM_SOFT_FAILED;
        gr_str id = put(&f, one(&tip), "@a:here", "m.room.message", NULL,
                        "{\"m.relates_to\":{\"rel_type\":\"m.thread\",\"event_id\":\"$elsewhere\"}}");
        if (i % 3) tip = id;
    }
    f.flags = 0;
    put(&f, one(&tip), "@a:here", "m.room.redaction", NULL, "{\"redacts\":\"$nowhere\"}");
    put(&f, one(&base), "@b:here", "m.room.message", NULL, "{}");
    r->ctx.now_ms += 2 * (uint64_t)DAY_MS;
    f.ts += 2 * (uint64_t)DAY_MS;
    tip = newest(&f);
    gr_str cut = say(r, "@a:here", "new");
    say(r, "@a:here", "newer");
    assert_true(rows(r, "O") > 0 && rows(r, "P") == 1);
    purge_history(r, cut, 0);
    all_steps(r);
    check_room(r);
    assert_int_equal(rows(r, "O") + rows(r, "P"), 0);
    assert_int_equal(rows(r, "e"), before + 2);
    assert_int_equal(rows(r, "e"), rows(r, "i"));
    rig_free(&f.r);
}

/* --- whole rooms --------------------------------------------------------------------------------------------- */
static rig *left_room(void)
{
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\"}"});
    for (int i = 0; i < 150; i++) {
        char user[24];
        snprintf(user, sizeof user, "@m%d:here", i);
        room_member(r, user, "join", user);
        room_member(r, user, "leave", user);
        gr_room_forget m = {.user = gr_str_c(user)};
        rig_ask(r, &gr_type_room_forget, &m);
    }
    room_member(r, "@a:here", "leave", "@a:here");
    assert_ok(r);
    return r;
}

static void a_room_that_somebody_is_in_or_remembers_stays(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\"}"});
    size_t before = rows(r, "");
    purge_room(r, true);
    assert_int_equal(r->err.code, GR_FORBIDDEN);
    room_member(r, "@a:here", "invite", "@b:here");
    room_member(r, "@a:here", "leave", "@a:here");
    before = rows(r, "");
    purge_room(r, true);
    assert_int_equal(r->err.code, GR_FORBIDDEN);
    room_member(r, "@b:here", "leave", "@b:here");
    before = rows(r, "");
    purge_room(r, false);
    assert_int_equal(r->err.code, GR_FORBIDDEN);
    assert_int_equal(rows(r, ""), before);
    rig_reload(r);
    rig_free(&r);
}

static void a_room_that_all_have_left_and_forgotten_leaves_no_row(void **state)
{
    (void)state;
    rig *r = left_room();
    gr_room_forget m = {.user = GR_STR("@a:here")};
    rig_ask(r, &gr_type_room_forget, &m);
    rig_commit(r);
    purge_room(r, false);
    assert_text(purging(r), "members");
    size_t told = 0, steps = 0;
    for (; room_of(r)->purge.phase != GR_PURGE_NOTHING; steps++) {
        assert_true(steps < STEPS_MAX);
        gr_timer timer = {.name = GR_STR("purge")};
        rig_handle(r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &timer, .from = r->address});
        told += rig_count(r, GR_POST, &gr_type_feed_purge);
        if (room_of(r)->purge.phase == GR_PURGE_ROOM) {
            assert_int_equal(rig_count(r, GR_POST, &gr_type_user_forget), 0);
            room_send(r, "@a:here", "m.room.message", NULL, "{}", "");
            assert_int_equal(r->err.code, GR_LIMIT_EXCEEDED);
        }
        rig_reload(r);
    }
    assert_true(steps > 10 && told > 1);
    assert_int_equal(rows(r, ""), 0);
    rig_ask(r, &gr_type_room_purge_status, &(gr_room_purge_status){0});
    assert_int_equal(r->err.code, GR_NOT_FOUND);
    rig_free(&r);
}

static void who_has_not_forgotten_a_room_is_made_to_when_it_is_forced(void **state)
{
    (void)state;
    rig *r = left_room();
    purge_room(r, true);
    assert_ok(r);
    size_t told = rig_count(r, GR_POST, &gr_type_user_forget);
    for (size_t i = 0; room_of(r)->purge.phase != GR_PURGE_NOTHING; i++) {
        assert_true(i < STEPS_MAX);
        gr_timer timer = {.name = GR_STR("purge")};
        rig_handle(r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &timer, .from = r->address});
        told += rig_count(r, GR_POST, &gr_type_user_forget);
    }
    assert_int_equal(told, 1);
    assert_int_equal(rows(r, ""), 0);
    rig_free(&r);
}

/* Somebody comes back while the members are looked at. */
static void who_joins_meanwhile_keeps_the_room(void **state)
{
    (void)state;
    rig *r = left_room();
    purge_room(r, true);
    assert_text(purging(r), "members");
    room_member(r, "@m0:here", "join", "@m0:here");
    assert_ok(r);
    all_steps(r);
    assert_true(room_of(r)->exists);
    assert_int_equal(room_membership(r, "@m0:here"), GR_MEMBER_JOIN);
    say(r, "@m0:here", "here I am");
    check_room(r);
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_history_is_out_of_sight_at_once_and_gone_in_steps),
        cmocka_unit_test(a_room_is_right_after_each_step_of_a_purge),
        cmocka_unit_test(history_of_the_last_day_stays),
        cmocka_unit_test(a_reader_from_before_the_purge_gets_a_gap),
        cmocka_unit_test(a_forked_room_keeps_its_extremities),
        cmocka_unit_test(what_nobody_was_shown_and_what_waited_goes_along),
        cmocka_unit_test(a_room_that_somebody_is_in_or_remembers_stays),
        cmocka_unit_test(a_room_that_all_have_left_and_forgotten_leaves_no_row),
        cmocka_unit_test(who_has_not_forgotten_a_room_is_made_to_when_it_is_forced),
        cmocka_unit_test(who_joins_meanwhile_keeps_the_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
