/* room_send_test.c - sending messages, state and redactions, and what a room keeps of them. */
#include "tests/unit/actors/room_rig.h"

#include <stdio.h>

static const char public_room[] = "{\"preset\":\"public_chat\",\"room_version\":\"11\"}";

static rig *chat(void)
{
    rig *r = room_new((room_options){"11", public_room});
    assert_ok(r);
    room_member(r, "@b:here", "join", "@b:here");
    assert_ok(r);
    return r;
}

static void a_message_is_answered_with_its_event_id_and_goes_to_every_feed(void **state)
{
    (void)state;
    rig *r = chat();
    gr_str id =
        room_send(r, "@a:here", "m.room.message", NULL, "{\"body\":\"x\",\"msgtype\":\"m.text\"}", "send/1");
    assert_ok(r);
    assert_int_equal(id.size, 44);
    assert_int_equal(rig_count(r, GR_POST, &gr_type_feed_event), 2);
    const gr_effect *e = rig_effect(r, GR_POST, &gr_type_feed_event, 0);
    const gr_feed_event *body = rig_body(r, e);
    assert_text(body->kind, "event");
    assert_true(gr_str_eq(body->event_id, id));
    assert_int_equal(body->members, 2);
    assert_int_equal(body->sender_power, 100);
    gr_room_record record;
    assert_true(gr_room_record_read(e->attachment, &record));
    assert_true(gr_str_eq(record.event_id, id));
    rig_free(&r);
}

static void a_message_costs_seven_rows_and_at_most_one_read(void **state)
{
    (void)state;
    rig *r = chat();
    room_send(r, "@a:here", "m.room.message", NULL, "{\"body\":\"x\"}", "send/1");
    room_send(r, "@a:here", "m.room.message", NULL, "{\"body\":\"y\"}", "send/2");
    assert_ok(r);
    assert_true(r->gets <= 1);
    assert_int_equal(r->write_count, 7);
    assert_true(r->write_bytes < 4096); /* posts to two feeds among them */
    rig_free(&r);
}

static void a_transaction_repeated_gives_the_same_event_and_writes_nothing(void **state)
{
    (void)state;
    rig *r = chat();
    gr_str id = room_send(r, "@a:here", "m.room.message", NULL, "{\"body\":\"x\"}", "send/1");
    char *kept = gr_str_dup(id);
    rig_reload(r);
    gr_str again = room_send(r, "@a:here", "m.room.message", NULL, "{\"body\":\"x\"}", "send/1");
    assert_text(again, kept);
    assert_int_equal(r->write_count, 0);
    assert_int_equal(rig_count(r, GR_POST, NULL), 0);
    assert_false(gr_str_is(room_send(r, "@b:here", "m.room.message", NULL, "{}", "send/1"), kept));
    free(kept);
    rig_free(&r);
}

/* Few ids are all known from loading on; of many the store is asked. */
static void a_transaction_is_found_again_however_many_there_were(void **state)
{
    (void)state;
    rig *r = chat();
    char txn[32], *first = NULL, *last = NULL;
    for (int i = 0; i < 250; i++) {
        snprintf(txn, sizeof txn, "send/%d", i);
        gr_str id = room_send(r, "@a:here", "m.room.message", NULL, "{}", txn);
        if (i == 0) first = gr_str_dup(id);
        if (i == 249) last = gr_str_dup(id);
    }
    for (int round = 0; round < 2; round++) {
        assert_text(room_send(r, "@a:here", "m.room.message", NULL, "{}", "send/0"), first);
        assert_text(room_send(r, "@a:here", "m.room.message", NULL, "{}", "send/249"), last);
        assert_false(gr_str_is(room_send(r, "@a:here", "m.room.message", NULL, "{}", round ? "send/a" : "send/b"), first));
        rig_reload(r);
    }
    free(first);
    free(last);
    rig_free(&r);
}

static bool count_rows(void *arg, gr_str key, gr_str value)
{
    (void)key;
    (void)value;
    ++*(size_t *)arg;
    return true;
}

static void transactions_are_forgotten_after_a_day(void **state)
{
    (void)state;
    rig *r = chat();
    char txn[32];
    for (int i = 0; i < 40; i++) {
        snprintf(txn, sizeof txn, "send/%d", i);
        room_send(r, "@a:here", "m.room.message", NULL, "{}", txn);
    }
    r->ctx.now_ms += GR_ROOM_TXN_KEEP_MS + 1000;
    for (int i = 40; i < 120; i++) {
        snprintf(txn, sizeof txn, "send/%d", i);
        room_send(r, "@a:here", "m.room.message", NULL, "{}", txn);
        assert_true(r->gets <= GR_HANDLER_GETS_MAX);
    }
    size_t rows = 0, marks = 0;
    gr_ctx_begin(&r->ctx, r->address);
    gr_ctx_scan_prefix(&r->ctx, GR_STR("x"), 0, count_rows, &rows);
    gr_ctx_scan_prefix(&r->ctx, GR_STR("X"), 0, count_rows, &marks);
    assert_int_equal(rows, 80);
    assert_int_equal(marks, 80);
    rig_free(&r);
}

static void who_may_not_send_is_told_so_and_nothing_is_left(void **state)
{
    (void)state;
    rig *r = chat();
    room_send(r, "@c:here", "m.room.message", NULL, "{}", "");
    assert_int_equal(r->err.code, GR_FORBIDDEN);
    assert_int_equal(r->write_count, 0);
    room_send(r, "@b:here", "m.room.name", "", "{\"name\":\"B's\"}", "");
    assert_int_equal(r->err.code, GR_FORBIDDEN);
    room_send(r, "@a:here", "m.room.create", "", "{}", "");
    assert_int_equal(r->err.code, GR_FORBIDDEN);
    room_send(r, "@a:here", "m.room.message", NULL, "{\"x\":1.5}", "");
    assert_int_equal(r->err.code, GR_BAD_JSON);
    rig_reload(r);
    rig_free(&r);
}

static void an_event_that_is_too_large_is_refused(void **state)
{
    (void)state;
    rig *r = chat();
    gr_buf content = {0};
    gr_buf_c(&content, "{\"body\":\"");
    for (int i = 0; i < 70000; i++) gr_buf_char(&content, 'x');
    gr_buf_c(&content, "\"}");
    gr_buf_char(&content, 0);
    room_send(r, "@a:here", "m.room.message", NULL, content.ptr, "");
    assert_int_equal(r->err.code, GR_TOO_LARGE);
    assert_int_equal(r->write_count, 0);
    gr_buf_free(&content);
    rig_free(&r);
}

static void the_same_state_again_is_no_new_event(void **state)
{
    (void)state;
    rig *r = chat();
    char *first = gr_str_dup(room_send(r, "@a:here", "m.room.name", "", "{\"name\":\"N\"}", ""));
    assert_text(room_send(r, "@a:here", "m.room.name", "", "{\"name\":\"N\"}", ""), first);
    assert_int_equal(r->write_count, 0);
    assert_false(gr_str_is(room_send(r, "@a:here", "m.room.name", "", "{\"name\":\"M\"}", ""), first));
    assert_text(room_state(r, "m.room.name", "", "name"), "\"M\"");
    free(first);
    rig_free(&r);
}

static gr_err redact(rig *r, const char *user, gr_str target)
{
    gr_room_send m = {.user = gr_str_c(user),
                      .type = GR_STR("m.room.redaction"),
                      .content = GR_STR("{\"reason\":\"r\"}"),
                      .redacts = target};
    rig_ask(r, &gr_type_room_send, &m);
    return r->err;
}

static void a_redaction_marks_its_target_and_needs_power_over_others(void **state)
{
    (void)state;
    rig *r = chat();
    char *of_a = gr_str_dup(room_send(r, "@a:here", "m.room.message", NULL, "{\"body\":\"x\"}", ""));
    char *of_b = gr_str_dup(room_send(r, "@b:here", "m.room.message", NULL, "{\"body\":\"x\"}", ""));
    assert_int_equal(redact(r, "@b:here", gr_str_c(of_a)).code, GR_FORBIDDEN);
    assert_int_equal(redact(r, "@b:here", gr_str_c(of_b)).code, GR_OK);
    assert_int_equal(redact(r, "@a:here", GR_STR("$no")).code, GR_NOT_FOUND);
    assert_int_equal(redact(r, "@a:here", gr_str_c(of_a)).code, GR_OK);
    const gr_feed_event *body = rig_body(r, rig_effect(r, GR_POST, &gr_type_feed_event, 0));
    assert_text(body->kind, "redaction");
    assert_text(body->redacts, of_a);
    uint64_t n, by = room_of(r)->next_number - 1;
    gr_room_record record;
    gr_event event;
    gr_ctx_begin(&r->ctx, r->address);
    assert_true(gr_room_number_of(&r->ctx, gr_str_c(of_a), &n) && gr_room_record_at(&r->ctx, n, &record));
    assert_true(record.flags & GR_ROOM_REDACTED);
    assert_int_equal(record.redacted_by, by);
    assert_true(gr_room_event_of(room_of(r), r->arena, &record, &event));
    assert_int_equal(event.content->count, 0);
    free(of_a);
    free(of_b);
    rig_free(&r);
}

static void an_annotation_is_made_once_until_it_is_redacted(void **state)
{
    (void)state;
    rig *r = chat();
    char *target = gr_str_dup(room_send(r, "@a:here", "m.room.message", NULL, "{\"body\":\"x\"}", ""));
    gr_str content = gr_arena_printf(r->long_arena,
                                     "{\"m.relates_to\":{\"rel_type\":\"m.annotation\",\"key\":\"+\","
                                     "\"event_id\":\"%s\"}}",
                                     target);
    char *first = gr_str_dup(room_send(r, "@b:here", "m.reaction", NULL, content.ptr, ""));
    assert_ok(r);
    room_send(r, "@b:here", "m.reaction", NULL, content.ptr, "");
    assert_int_equal(r->err.code, GR_DUPLICATE_ANNOTATION);
    room_send(r, "@a:here", "m.reaction", NULL, content.ptr, "");
    assert_ok(r);
    assert_int_equal(redact(r, "@b:here", gr_str_c(first)).code, GR_OK);
    room_send(r, "@b:here", "m.reaction", NULL, content.ptr, "");
    assert_ok(r);
    free(target);
    free(first);
    rig_free(&r);
}

static void a_thread_begins_with_an_event_of_the_main_timeline(void **state)
{
    (void)state;
    static const char *const rel_types[] = {"m.thread", "m.replace", "m.reference"};
    rig *r = chat();
    gr_arena *a = r->long_arena;
    gr_str root = gr_arena_str(a, room_send(r, "@a:here", "m.room.message", NULL, "{\"body\":\"x\"}", ""));
    for (size_t i = 0; i < 3; i++) {
        gr_str content = gr_arena_printf(a, "{\"m.relates_to\":{\"rel_type\":\"%s\",\"event_id\":\"%.*s\"}}", rel_types[i],
                                         GR_ARG(root));
        gr_str child = room_send(r, "@b:here", "m.room.message", NULL, content.ptr, "");
        assert_ok(r);
        content = gr_arena_printf(a, "{\"m.relates_to\":{\"rel_type\":\"m.thread\",\"event_id\":\"%.*s\"}}", GR_ARG(child));
        room_send(r, "@a:here", "m.room.message", NULL, content.ptr, "");
        assert_int_equal(r->err.code, GR_REFUSED);
    }
    gr_str reply = gr_arena_printf(a, "{\"m.relates_to\":{\"m.in_reply_to\":{\"event_id\":\"%.*s\"}}}", GR_ARG(root));
    gr_str answer = room_send(r, "@b:here", "m.room.message", NULL, reply.ptr, "");
    gr_str content = gr_arena_printf(a, "{\"m.relates_to\":{\"rel_type\":\"m.thread\",\"event_id\":\"%.*s\"}}", GR_ARG(answer));
    room_send(r, "@a:here", "m.room.message", NULL, content.ptr, "");
    assert_ok(r);
    rig_free(&r);
}

/* --- the state --------------------------------------------------------------------------------------------
 * */
static bool collect(void *arg, uint64_t key, uint64_t event)
{
    uint64_t *sum = arg;
    sum[0]++;
    sum[1] += key * 1000003 + event;
    return true;
}

static void the_state_is_what_replaying_all_events_gives(void **state)
{
    (void)state;
    rig *r = chat();
    for (int i = 0; i < 200; i++) {
        char key[16], content[32];
        snprintf(key, sizeof key, "k%d", i * 7 % 61);
        snprintf(content, sizeof content, "{\"v\":%d}", i);
        room_send(r, "@a:here", "x.state", key, content, "");
        assert_ok(r);
    }
    gr_ctx_begin(&r->ctx, r->address);
    gr_room *room = room_of(r);
    uint64_t *newest = gr_alloc(room->next_key * sizeof *newest), replayed[2] = {0}, stored[2] = {0};
    for (uint64_t n = 1; n < room->next_number; n++) {
        gr_room_record record;
        assert_true(gr_room_record_at(&r->ctx, n, &record));
        if (record.key) newest[record.key] = n;
    }
    for (uint64_t key = 1; key < room->next_key; key++)
        if (newest[key]) collect(replayed, key, newest[key]);
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, room, &r->ctx);
    gr_trie_each(&trie, room->root, collect, stored);
    assert_int_equal(stored[0], 61 + 6 + 1);
    assert_memory_equal(stored, replayed, sizeof stored);
    free(newest);
    rig_reload(r);
    rig_free(&r);
}

static void every_event_names_the_one_before_it(void **state)
{
    (void)state;
    rig *r = chat();
    for (int i = 0; i < 5; i++) room_send(r, "@a:here", "m.room.message", NULL, "{}", "");
    gr_ctx_begin(&r->ctx, r->address);
    gr_str before = {0};
    for (uint64_t n = 1; n < room_of(r)->next_number; n++) {
        gr_room_record record;
        gr_event e;
        assert_true(gr_room_record_at(&r->ctx, n, &record));
        assert_true(gr_room_event_of(room_of(r), r->arena, &record, &e));
        assert_int_equal(e.depth, n);
        assert_int_equal(e.prev_events.count, n == 1 ? 0 : 1);
        if (n > 1) assert_true(gr_str_eq(e.prev_events.at[0], before));
        before = record.event_id;
    }
    rig_free(&r);
}

static void a_fork_is_healed_by_the_next_event(void **state)
{
    (void)state;
    rig *r = chat();
    char *base = gr_str_dup(room_send(r, "@a:here", "m.room.message", NULL, "{}", ""));
    room_send(r, "@a:here", "m.room.message", NULL, "{}", "");
    gr_room *room = room_of(r);
    gr_event_built built;
    gr_str prev = gr_str_c(base);
    gr_event_fields f = {.version = room->version,
                         .room_id = room->id,
                         .sender = GR_STR("@b:here"),
                         .type = GR_STR("m.room.message"),
                         .content = GR_STR("{}"),
                         .prev_events = {&prev, 1},
                         .depth = (int64_t)room->depth,
                         .origin_server_ts = 1};
    gr_event e;
    gr_room_made made;
    gr_ctx_begin(&r->ctx, r->address);
    assert_false(gr_failed(gr_event_build(r->arena, &f, &r->signer, &built)));
    assert_false(gr_failed(gr_event_parse(r->arena, room->version, built.text, &e)));
    assert_false(gr_failed(gr_room_accept(room, &r->ctx, &e, built.text, GR_ROOM_ACCEPTED, &made)));
    gr_room_save(room, &r->ctx);
    rig_finish(r);
    assert_int_equal(room->extremity_count, 2);
    rig_reload(r);
    room_send(r, "@a:here", "m.room.message", NULL, "{}", "");
    assert_ok(r);
    assert_int_equal(room_of(r)->extremity_count, 1);
    free(base);
    rig_free(&r);
}

static void events_that_are_not_shown_move_nothing(void **state)
{
    (void)state;
    rig *r = chat();
    gr_room *room = room_of(r);
    uint64_t root = room->root, pos = room->next_pos;
    gr_str prev = room->extremities[0].id;
    gr_event_fields f = {.version = room->version,
                         .room_id = room->id,
                         .sender = GR_STR("@a:here"),
                         .type = GR_STR("m.room.name"),
                         .has_state_key = true,
                         .content = GR_STR("{\"name\":\"bad\"}"),
                         .prev_events = {&prev, 1},
                         .depth = 99,
                         .origin_server_ts = 1};
    const uint32_t flags[] = {GR_ROOM_REJECTED, GR_ROOM_ACCEPTED | GR_ROOM_SOFT_FAILED, GR_ROOM_OUTLIER};
    for (size_t i = 0; i < 3; i++) {
        gr_event_built built;
        gr_event e;
        gr_room_made made;
        f.origin_server_ts++;
        gr_ctx_begin(&r->ctx, r->address);
        assert_false(gr_failed(gr_event_build(r->arena, &f, &r->signer, &built)));
        assert_false(gr_failed(gr_event_parse(r->arena, room->version, built.text, &e)));
        assert_false(gr_failed(gr_room_accept(room, &r->ctx, &e, built.text, flags[i], &made)));
        assert_int_equal(made.pos, 0);
        assert_true(room->root == root && room->next_pos == pos && room->extremity_count == 1);
        assert_true(gr_str_eq(room->extremities[0].id, prev));
        rig_finish(r);
    }
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_answered_with_its_event_id_and_goes_to_every_feed),
        cmocka_unit_test(a_message_costs_seven_rows_and_at_most_one_read),
        cmocka_unit_test(a_transaction_repeated_gives_the_same_event_and_writes_nothing),
        cmocka_unit_test(a_transaction_is_found_again_however_many_there_were),
        cmocka_unit_test(transactions_are_forgotten_after_a_day),
        cmocka_unit_test(who_may_not_send_is_told_so_and_nothing_is_left),
        cmocka_unit_test(an_event_that_is_too_large_is_refused),
        cmocka_unit_test(the_same_state_again_is_no_new_event),
        cmocka_unit_test(a_redaction_marks_its_target_and_needs_power_over_others),
        cmocka_unit_test(an_annotation_is_made_once_until_it_is_redacted),
        cmocka_unit_test(a_thread_begins_with_an_event_of_the_main_timeline),
        cmocka_unit_test(the_state_is_what_replaying_all_events_gives),
        cmocka_unit_test(every_event_names_the_one_before_it),
        cmocka_unit_test(a_fork_is_healed_by_the_next_event),
        cmocka_unit_test(events_that_are_not_shown_move_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
