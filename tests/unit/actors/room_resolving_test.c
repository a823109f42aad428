/* room_resolving_test.c - states that are resolved on the pool, what waits for them, and a state that moves in steps. */
#include "tests/unit/actors/room_fork_rig.h"

#include "actors/room/resolving.h"

enum { KEYS = 40, WIDE = 20, MEMBERS = 300 };

/* Two branches that disagree about this many keys, and so many others that a new event can't join them all. */
static fork_room forked(void)
{
    fork_room f = open_room("11");
    gr_str base = newest(&f);
    for (int i = 0; i < WIDE; i++) put(&f, one(&base), "@b:here", "m.room.message", NULL, "{}");
    for (int branch = 0; branch < 2; branch++) {
        gr_str tip = base;
        for (int i = 0; i < KEYS; i++) {
            char key[8], content[32];
            snprintf(key, sizeof key, "%d", i);
            snprintf(content, sizeof content, "{\"branch\":%d}", branch);
            tip = put(&f, one(&tip), "@a:here", "x.state", key, content);
        }
        put(&f, one(&tip), "@a:here", branch ? "x.right" : "x.left", "", "{\"n\":1}");
    }
    room_of(f.r)->unbounded = false;
    rig_commit(f.r);
    return f;
}

/* --- work that is held back ----------------------------------------------------------------------------- */
typedef struct { gr_effect work; bool is_there; } held;

static held hold_work(rig *r)
{
    held h = {0};
    for (const gr_effect *e = r->ctx.first; e; e = e->next) {
        if (e->kind != GR_FX_WORK) continue;
        h = (held){*e, true};
        h.work.next = NULL;
        h.work.input = gr_arena_str(r->long_arena, e->input);
    }
    return h;
}

/* Its result comes now. */
static void let_go(rig *r, held *h)
{
    r->ctx.first = &h->work;
    assert_true(rig_run_work(r));
}

static held send_and_hold(fork_room *f, const char *txn)
{
    gr_room_send m = {.user = GR_STR("@b:here"), .device = GR_STR("D"), .txn = gr_str_c(txn),
                      .type = GR_STR("m.room.message"), .content = GR_STR("{}")};
    rig_handle(f->r, &(gr_msg){.verb = GR_ASK, .type = &gr_type_room_send, .body = &m, .from = GR_STR("edge/n0/0")});
    assert_null(f->r->reply);
    return hold_work(f->r);
}

static void finish(rig *r)
{
    for (int i = 0; rig_run_work(r) || rig_fire(r); i++) assert_true(i < 1000);
}

static void fire_moving(rig *r)
{
    gr_timer timer = {.name = GR_STR("moving")};
    rig_handle(r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &timer, .from = r->address});
}

static void what_is_too_much_at_once_is_resolved_on_the_pool_and_sent_then(void **state)
{
    (void)state;
    fork_room f = forked();
    uint64_t pos = room_of(f.r)->next_pos;
    gr_str sent = room_send(f.r, "@b:here", "m.room.message", NULL, "{}", "");
    assert_ok(f.r);
    assert_true(sent.size > 0);
    assert_int_equal(room_of(f.r)->next_pos, pos + 1);
    assert_int_equal(room_of(f.r)->extremity_count, WIDE + 2 - GR_EVENT_PREV_MAX + 1);
    finish(f.r);
    assert_int_equal(room_of(f.r)->moving.phase, GR_MOVING_NOT);
    assert_text(room_state(f.r, "x.state", "7", "branch"), "1");
    assert_text(room_state(f.r, "x.left", "", "n"), "1");
    rig_reload(f.r);
    rig_free(&f.r);
}

static void the_pool_finds_what_the_handler_would(void **state)
{
    (void)state;
    fork_room f = forked();
    rig *r = f.r;
    uint64_t there, here;
    gr_err err;
    gr_u64s roots = {gr_alloc(WIDE * 4 * sizeof(uint64_t)), 0};
    gr_room *room = room_of(r);
    for (size_t i = 0; i < room->extremity_count; i++) roots.at[roots.count++] = room->extremities[i].root;
    gr_ctx_begin(&r->ctx, r->address);
    err = gr_room_resolve(room, &r->ctx, roots, &there);
    assert_true(gr_failed(err) && room->must_wait);
    gr_room_wait_if_must(room, &r->ctx, &(gr_msg){.verb = GR_TELL, .type = &gr_type_done});
    rig_finish(r);
    finish(r);
    gr_ctx_begin(&r->ctx, r->address);
    assert_false(gr_failed(gr_room_resolve(room, &r->ctx, roots, &there)));
    gr_room_resolving_drop(room);
    room->unbounded = true;
    assert_false(gr_failed(gr_room_resolve(room, &r->ctx, roots, &here)));
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, room, &r->ctx);
    assert_int_not_equal(there, here);
    for (uint64_t key = 1; key < room->next_key; key++)
        assert_int_equal(gr_trie_get(&trie, there, key), gr_trie_get(&trie, here, key));
    free(roots.at);
    rig_free(&f.r);
}

static void the_room_reads_while_the_pool_resolves(void **state)
{
    (void)state;
    fork_room f = forked();
    held work = send_and_hold(&f, "1");
    assert_true(work.is_there);
    assert_true(f.r->kind->busy(f.r->self));
    gr_room_state_get get = {.user = GR_STR("@a:here"), .type = GR_STR("x.state"), .state_key = GR_STR("3")};
    rig_ask(f.r, &gr_type_room_state_get, &get);
    assert_text(((const gr_result *)f.r->reply)->body, "{\"branch\":1}");
    gr_room_messages page = {.user = GR_STR("@a:here"), .backward = true, .limit = 5};
    rig_ask(f.r, &gr_type_room_messages, &page);
    assert_ok(f.r);
    assert_false(send_and_hold(&f, "2").is_there);         /* one work at a time; the second waits for the same */
    let_go(f.r, &work);
    size_t sent = 0;
    do sent += rig_count(f.r, GR_REPLY, &gr_type_room_sent);
    while (rig_run_work(f.r) || rig_fire(f.r));
    assert_int_equal(sent, 2);
    assert_false(f.r->kind->busy(f.r->self));
    rig_free(&f.r);
}

static void a_result_for_a_state_that_has_moved_on_is_not_used(void **state)
{
    (void)state;
    fork_room f = forked();
    held work = send_and_hold(&f, "1");
    gr_str tip = newest(&f);
    put(&f, one(&tip), "@a:here", "x.state", "0", "{\"branch\":3}");
    room_of(f.r)->unbounded = false;
    let_go(f.r, &work);
    assert_true(rig_fire(f.r));
    held again = hold_work(f.r);
    assert_true(again.is_there);
    assert_null(f.r->reply);
    let_go(f.r, &again);
    rig_work(f.r);
    assert_ptr_equal(f.r->reply_type, &gr_type_room_sent);
    finish(f.r);
    assert_text(room_state(f.r, "x.state", "0", "branch"), "3");
    rig_free(&f.r);
}

static void a_post_that_waits_is_kept_through_a_restart(void **state)
{
    (void)state;
    fork_room f = forked();
    rig *r = f.r;
    const char *const names[] = {"first", "last"};
    for (int i = 0; i < 2; i++) {
        gr_room_profile m = {.user = GR_STR("@b:here"), .displayname = gr_str_c(names[i])};
        rig_handle(r, &(gr_msg){.verb = GR_POST, .type = &gr_type_room_profile, .body = &m, .level = 7 + (unsigned)i,
                                .from = GR_STR("user/@b:here")});
    }
    gr_str row;
    gr_ctx_begin(&r->ctx, r->address);
    for (uint64_t n = 1; n <= 2; n++) {            /* with the level at which it was written */
        assert_true(gr_ctx_get(&r->ctx, gr_room_key_number(&r->ctx, 'W', n), &row));
        assert_int_equal(gr_u32be(row.ptr + 4), 6 + n);
    }
    rig_unload(r);
    rig_load(r);
    gr_timer timer = {.name = GR_STR("waiting")};
    rig_handle(r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &timer, .from = r->address});
    finish(r);
    assert_text(room_state(r, "m.room.member", "@b:here", "displayname"), "\"last\"");
    gr_ctx_begin(&r->ctx, r->address);
    for (uint64_t n = 1; n <= 2; n++) assert_false(gr_ctx_get(&r->ctx, gr_room_key_number(&r->ctx, 'W', n), &row));
    rig_free(&f.r);
}

static void a_restart_while_the_current_state_is_resolved_begins_that_again(void **state)
{
    (void)state;
    fork_room f = forked();
    rig *r = f.r;
    room_send(r, "@b:here", "m.room.message", NULL, "{}", "");
    assert_int_equal(room_of(r)->moving.phase, GR_MOVING_RESOLVING);
    rig_reload(r);
    fire_moving(r);
    finish(r);
    assert_int_equal(room_of(r)->moving.phase, GR_MOVING_NOT);
    assert_text(room_state(r, "x.state", "39", "branch"), "1");
    rig_free(&f.r);
}

static void a_work_that_failed_is_asked_for_again(void **state)
{
    (void)state;
    fork_room f = forked();
    rig *r = f.r;
    held work = send_and_hold(&f, "1");
    gr_work_done none = {.failed = true};
    rig_handle(r, &(gr_msg){.verb = GR_REPLY, .type = &gr_type_work_done, .body = &none, .from = r->address,
                            .resume = &work.work.resume});
    assert_null(r->reply);
    r->ctx.now_ms += 1000;
    rig_work(r);
    assert_ptr_equal(r->reply_type, &gr_type_room_sent);
    let_go(r, &work);                  /* late: of no use to anybody */
    assert_int_equal(r->write_count, 0);
    rig_free(&f.r);
}

static void asks_past_the_limit_are_told_to_try_again(void **state)
{
    (void)state;
    fork_room f = forked();
    for (int i = 0; i < GR_ROOM_WAITING_MAX; i++) {
        char txn[8];
        snprintf(txn, sizeof txn, "%d", i);
        send_and_hold(&f, txn);
    }
    gr_room_send m = {.user = GR_STR("@b:here"), .type = GR_STR("m.room.message"), .content = GR_STR("{}")};
    rig_handle(f.r, &(gr_msg){.verb = GR_ASK, .type = &gr_type_room_send, .body = &m, .from = GR_STR("edge/n0/0")});
    assert_int_equal(f.r->err.code, GR_LIMIT_EXCEEDED);
    rig_free(&f.r);
}

/* --- a state that moves in steps ------------------------------------------------------------------------- */
/* A root that differs from the current one by members, some of them here: the room has their events, as outliers. */
static uint64_t other_state(fork_room *f, gr_str *gone)
{
    rig *r = f->r;
    gr_trie_change changes[MEMBERS + 1];
    gr_str base = newest(f);
    for (int i = 0; i < MEMBERS; i++) {
        char user[24];
        snprintf(user, sizeof user, "@m%d:%s", i, i % 3 ? "there" : "here");
        f->flags = GR_ROOM_ACCEPTED | GR_ROOM_SOFT_FAILED;
        put(f, one(&base), user, "m.room.member", user, "{\"membership\":\"join\"}");
        changes[i] = (gr_trie_change){f->made.record.key, f->made.number};
    }
    f->flags = 0;
    room_of(r)->unbounded = false;
    gr_room_nodes nodes;
    gr_arena_reset(r->arena);
    gr_ctx_begin(&r->ctx, r->address);
    gr_trie trie = gr_room_trie(&nodes, room_of(r), &r->ctx);
    *gone = GR_STR("@b:here");
    changes[MEMBERS] = (gr_trie_change){gr_room_key_of(room_of(r), &r->ctx, GR_STR("m.room.member"), *gone), 0};
    return gr_trie_set_all(&trie, room_of(r)->root, changes, MEMBERS + 1);
}

static void check_moved(rig *r, uint64_t pos, uint64_t target)
{
    gr_room *room = room_of(r);
    gr_pos_kind kind;
    uint64_t number, root, here = 0;
    assert_int_equal(room->root, target);
    assert_int_equal(room->joined, 1 + MEMBERS);
    assert_int_equal(room->next_pos, pos + 1);
    assert_int_equal(room_membership(r, "@m7:there"), GR_MEMBER_JOIN);
    assert_int_equal(room_membership(r, "@b:here"), GR_MEMBER_NONE);
    for (int i = 0; i < GR_SHARDS; i++) here += room->local_joined[i];
    assert_int_equal(here, 1 + MEMBERS / 3);
    gr_ctx_begin(&r->ctx, r->address);
    assert_true(gr_room_pos_at(&r->ctx, pos, &kind, &number, &root));
    assert_int_equal(kind, GR_POS_STATE);
    assert_int_equal(root, target);
}

/* Bounded steps, each followed by a restart; who is here hears of it once, and after the state is there. */
static void a_state_that_differs_much_moves_in_steps_that_a_restart_repeats(void **state)
{
    (void)state;
    fork_room f = open_room("11");
    rig *r = f.r;
    gr_str gone;
    uint64_t target = other_state(&f, &gone), pos = room_of(r)->next_pos;
    assert_int_equal(gr_room_move(room_of(r), &r->ctx, target), 0);
    gr_room_save(room_of(r), &r->ctx);
    rig_finish(r);
    size_t steps = 0, restarts = 0, told = 0, left = 0;
    uint64_t cursor = 0;
    r->is_over_bounds = false;
    for (; room_of(r)->moving.phase; steps++) {
        assert_true(steps < 100);
        if (!rig_run_work(r) && !rig_fire(r)) fire_moving(r);      /* what the pool had listed went with the restart */
        for (size_t i = 0; rig_effect(r, GR_POST, &gr_type_user_membership, i); i++) {
            const gr_user_membership *m = rig_body(r, rig_effect(r, GR_POST, &gr_type_user_membership, i));
            assert_int_equal(m->room_pos, pos);
            assert_int_equal(room_of(r)->root, target);
            told += gr_str_is(m->membership, "join");
            left += gr_str_is(m->membership, "leave");
        }
        if (room_of(r)->moving.cursor == cursor) continue;
        cursor = room_of(r)->moving.cursor;
        restarts++;
        rig_reload(r);
        r->ctx.first = NULL;
    }
    assert_false(r->is_over_bounds);
    assert_true(restarts > MEMBERS / 40);
    assert_int_equal(told, MEMBERS / 3);
    assert_int_equal(left, 1);
    check_moved(r, pos, target);
    rig_free(&f.r);
}

static void while_the_state_moves_writes_wait_and_reads_do_not(void **state)
{
    (void)state;
    fork_room f = open_room("11");
    rig *r = f.r;
    gr_str gone;
    uint64_t target = other_state(&f, &gone), pos = room_of(r)->next_pos;
    gr_room_move(room_of(r), &r->ctx, target);
    rig_finish(r);
    assert_true(rig_run_work(r));
    gr_room_send m = {.user = GR_STR("@a:here"), .type = GR_STR("m.room.message"), .content = GR_STR("{}")};
    rig_handle(r, &(gr_msg){.verb = GR_ASK, .type = &gr_type_room_send, .body = &m, .from = GR_STR("edge/n0/0")});
    assert_null(r->reply);
    gr_room_state_get get = {.user = GR_STR("@a:here"), .type = GR_STR("m.room.create")};
    rig_ask(r, &gr_type_room_state_get, &get);
    assert_ok(r);
    fire_moving(r);
    rig_work(r);
    assert_ptr_equal(r->reply_type, &gr_type_room_sent);
    assert_int_equal(((const gr_room_sent *)r->reply)->room_pos, pos + 1);
    rig_free(&f.r);
}

static void few_keys_move_at_once_as_many_do_in_steps(void **state)
{
    (void)state;
    fork_room f = open_room("11");
    gr_str gone;
    uint64_t target = other_state(&f, &gone), pos = room_of(f.r)->next_pos;
    room_of(f.r)->unbounded = true;
    assert_int_equal(gr_room_move(room_of(f.r), &f.r->ctx, target), pos);
    gr_room_save(room_of(f.r), &f.r->ctx);
    rig_finish(f.r);
    check_moved(f.r, pos, target);
    rig_reload(f.r);
    rig_free(&f.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_too_much_at_once_is_resolved_on_the_pool_and_sent_then),
        cmocka_unit_test(the_pool_finds_what_the_handler_would),
        cmocka_unit_test(the_room_reads_while_the_pool_resolves),
        cmocka_unit_test(a_result_for_a_state_that_has_moved_on_is_not_used),
        cmocka_unit_test(a_post_that_waits_is_kept_through_a_restart),
        cmocka_unit_test(a_restart_while_the_current_state_is_resolved_begins_that_again),
        cmocka_unit_test(a_work_that_failed_is_asked_for_again),
        cmocka_unit_test(asks_past_the_limit_are_told_to_try_again),
        cmocka_unit_test(a_state_that_differs_much_moves_in_steps_that_a_restart_repeats),
        cmocka_unit_test(while_the_state_moves_writes_wait_and_reads_do_not),
        cmocka_unit_test(few_keys_move_at_once_as_many_do_in_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
