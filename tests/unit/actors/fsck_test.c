/* fsck_test.c - a small room and feed as rows, each damaged in one way that fsck has to find. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/fsck.h"
#include "actors/room/record.h"
#include "persistence/memory_engine.h"
#include "proto/address.h"

#define ROOM_ID "!r"

typedef struct {
    gr_arena *arena;
    gr_memory_disk *disk;
    gr_store *store;
    gr_shard room_shard, feed_shard;
    gr_ops room, feed; /* the rows of a sound store */
    uint64_t next_node;
    gr_env env;
    gr_fsck_rooms rooms;
    gr_fsck *fsck;
    gr_fsck_report report;
} fixture;

static gr_str number(fixture *f, uint64_t n)
{
    char *bytes = gr_arena_alloc(f->arena, 8);
    for (int i = 0; i < 8; i++) bytes[i] = (char)(n >> (56 - 8 * i));
    return gr_str_of(bytes, 8);
}

static gr_str cat(fixture *f, gr_str a, gr_str b) { return gr_arena_cat(f->arena, 2, (gr_str[]){a, b}); }

/* The key in the shard of a room's row: its letter and what follows. */
static gr_str room_key(fixture *f, const char *letter, gr_str rest)
{
    char kind = (char)(0x20 + GR_KIND_ROOM);
    return gr_arena_cat(f->arena, 4,
                        (gr_str[]){{&kind, 1}, {ROOM_ID, sizeof ROOM_ID}, gr_str_c(letter), rest});
}

static gr_str feed_key(fixture *f, gr_str own)
{
    char kind = (char)(0x20 + GR_KIND_FEED);
    return gr_arena_cat(f->arena, 4, (gr_str[]){{&kind, 1}, GR_STR("9"), {"", 1}, own});
}

static void put_node(void *arg, uint64_t node, gr_str bytes)
{
    fixture *f = arg;
    gr_ops_put(&f->room, room_key(f, "t", number(f, node)), bytes);
}

static bool get_node(void *arg, uint64_t node, gr_str *bytes)
{
    (void)arg, (void)node, (void)bytes;
    return false;
}

static void put_event(fixture *f, uint64_t n, const char *id)
{
    gr_buf out = {0};
    gr_room_record record = {.flags = GR_ROOM_OUTLIER, /* what follows from events is not looked at here */
                             .number = n,
                             .pos = n,
                             .depth = n,
                             .event_id = gr_str_c(id),
                             .type = GR_STR("m.x"),
                             .sender = GR_STR("@a:b"),
                             .json = GR_STR("{\"auth_events\":[],\"content\":{},\"depth\":1,\"origin_server_ts\":1,"
                                            "\"prev_events\":[],\"room_id\":\"!r:b\",\"sender\":\"@a:b\",\"type\":\"m.x\"}")};
    gr_room_record_write(&out, &record);
    gr_ops_put(&f->room, room_key(f, "e", number(f, n)), gr_buf_view(&out));
    gr_ops_put(&f->room, room_key(f, "i", gr_str_c(id)), number(f, n));
    gr_buf_free(&out);
}

static void put_meta(fixture *f, uint64_t root)
{
    gr_buf out = {0};
    gr_buf_add(&out,
               "\2\0\0\002"
               "11",
               6); /* format, flags, visibility, room version 11 */
    for (int i = 0; i < 9; i++) gr_buf_u64be(&out, i == 5 ? root : 10);
    gr_buf_char(&out, 0);
    gr_ops_put(&f->room, room_key(f, "m", (gr_str){0}), gr_buf_view(&out));
    gr_ops_put(&f->room, room_key(f, "Z", (gr_str){0}), GR_STR("\1\1\0\0\0\0\0\0\0\2"));     /* all have a chain cover */
    gr_buf_free(&out);
}

/* Two events, the first of them state: one key, one node; a position each. */
static void make_room(fixture *f)
{
    gr_trie trie = {.get = get_node, .put = put_node, .arg = f, .next_node = &f->next_node};
    gr_str text = GR_STR("m.x\0@a:b");
    put_event(f, 1, "$one");
    put_event(f, 2, "$two");
    uint64_t root = gr_trie_set(&trie, 0, 1, 1);
    put_meta(f, root);
    for (uint64_t n = 1; n <= 2; n++) {
        gr_str place = cat(f, number(f, n), number(f, root));
        gr_ops_put(&f->room, room_key(f, "p", number(f, n)), cat(f, GR_STR("\1"), place));
        gr_ops_put(&f->room, room_key(f, "d", cat(f, number(f, n), number(f, n))), number(f, n));
    }
    gr_ops_put(&f->room, room_key(f, "k", text), number(f, 1));
    gr_ops_put(&f->room, room_key(f, "K", number(f, 1)), text);
    gr_str since = cat(f, number(f, 1), number(f, 1));
    gr_ops_put(&f->room, room_key(f, "u", GR_STR("@a:b")), cat(f, GR_STR("\3"), since));
}

static void make_feed(fixture *f)
{
    gr_buf head = {0}, row = {0};
    gr_buf_char(&head, 3);
    for (int i = 0; i < 10; i++) gr_buf_varint(&head, 7);
    gr_ops_put(&f->feed, feed_key(f, GR_STR("h" ROOM_ID)), gr_buf_view(&head));
    gr_buf_char(&row, 3);
    for (int i = 0; i < 3; i++) gr_buf_varint(&row, 7);
    gr_buf_add(&row, "\0\0", 2); /* neither keys nor a sender */
    gr_ops_put(&f->feed, feed_key(f, cat(f, GR_STR("e" ROOM_ID "\0"), number(f, 7))), gr_buf_view(&row));
    gr_buf_free(&head);
    gr_buf_free(&row);
}

static void done(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t batch)
{
    (void)arg, (void)token, (void)shard, (void)batch;
    assert_int_equal(outcome, GR_COMMITTED);
}

static void commit(fixture *f, gr_shard *shard, const gr_ops *ops)
{
    gr_batch batch;
    assert_false(gr_failed(gr_shard_seal(shard, ops, f->arena, &batch)));
    gr_store_submit(f->store, &batch, 1, 0, done, f);
    for (int i = 0; i < 10; i++) gr_store_step(f->store);
}

static void check(fixture *f)
{
    assert_false(gr_failed(gr_fsck_run(f->fsck, f->store, NULL, NULL, &f->report)));
}

static bool is_listed(const fixture *f, const char *what)
{
    for (size_t i = 0; i < f->report.listed.count; i++)
        if (gr_str_ends(f->report.listed.at[i], gr_str_c(what))) return true;
    return false;
}

/* Changes one row (an empty value deletes it), sees the problem, and puts the sound rows back. */
static void damage(fixture *f, gr_shard *shard, gr_str key, gr_str value, const char *what)
{
    gr_ops ops = {0};
    if (value.size) gr_ops_put(&ops, key, value);
    else gr_ops_delete(&ops, key);
    commit(f, shard, &ops);
    check(f);
    if (f->report.problems == 0) fail_msg("not found: %s", what);
    if (!is_listed(f, what)) fail_msg("not listed: %s; first: %.*s", what, GR_ARG(f->report.listed.at[0]));
    gr_ops_clear(&ops);
    gr_ops_delete(&ops, key);
    commit(f, shard, &ops);
    commit(f, &f->room_shard, &f->room);
    commit(f, &f->feed_shard, &f->feed);
    check(f);
    assert_int_equal(f->report.problems, 0);
    gr_ops_free(&ops);
}

static int setup(void **state)
{
    fixture *f = gr_alloc(sizeof *f);
    *state = f;
    f->arena = gr_arena_new(0);
    f->disk = gr_memory_disk_new();
    f->next_node = 1;
    f->fsck = gr_fsck_new();
    gr_store_options options = {.server_name = GR_STR("a.example"),
                                .create = true,
                                .incarnation = 1,
                                .engine = gr_memory_engine_new(f->disk, &(gr_memory_options){.seed = 1})};
    assert_false(gr_failed(gr_store_open(&options, f->arena, &f->store)));
    assert_false(gr_failed(gr_shard_open(f->store, gr_id_shard(GR_STR(ROOM_ID)), f->arena, &f->room_shard)));
    assert_false(gr_failed(gr_shard_open(f->store, 9, f->arena, &f->feed_shard)));
    make_room(f);
    make_feed(f);
    commit(f, &f->room_shard, &f->room);
    commit(f, &f->feed_shard, &f->feed);
    f->env.server_name = GR_STR("b");
    f->rooms.env = &f->env;
    gr_fsck_actors(f->fsck, &f->rooms);
    check(f);
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    gr_fsck_free(&f->fsck);
    gr_buf_free(&f->rooms.uncovered);
    gr_store_close(&f->store);
    gr_memory_disk_free(&f->disk);
    gr_ops_free(&f->room);
    gr_ops_free(&f->feed);
    gr_arena_free(&f->arena);
    free(f);
    return 0;
}

static void a_sound_store_has_no_problems(void **state)
{
    const fixture *f = *state;
    assert_int_equal(f->report.problems, 0);
    assert_int_equal(f->report.unknown, 0);
    assert_true(f->report.keys > 15);
}

static void missing_rows_of_a_room_are_found(void **state)
{
    fixture *f = *state;
    gr_shard *shard = &f->room_shard;
    gr_str gone = {0};
    damage(f, shard, room_key(f, "e", number(f, 2)), gone, "the event of this id is missing");
    damage(f, shard, room_key(f, "e", number(f, 2)), gone, "the event at this position is missing");
    damage(f, shard, room_key(f, "e", number(f, 1)), gone, "an event of the current state is missing");
    damage(f, shard, room_key(f, "e", number(f, 1)), gone, "the member event is missing");
    damage(f, shard, room_key(f, "i", GR_STR("$two")), gone, "the index by event id has no such event");
    damage(f, shard, room_key(f, "t", number(f, 1)), gone, "a node of the current state is missing");
    damage(f, shard, room_key(f, "t", number(f, 1)), gone, "the state after this position is missing");
    damage(f, shard, room_key(f, "p", number(f, 2)), gone, "the position in order of depth is missing");
    damage(f, shard, room_key(f, "K", number(f, 1)), gone, "text and number of this state key do not agree");
}

static void damaged_rows_of_a_room_are_found(void **state)
{
    fixture *f = *state;
    gr_shard *shard = &f->room_shard;
    gr_str junk = GR_STR("junk");
    damage(f, shard, room_key(f, "m", (gr_str){0}), junk, "the room's own record can't be read");
    damage(f, shard, room_key(f, "e", number(f, 2)), junk, "the event record can't be read");
    damage(f, shard, room_key(f, "i", GR_STR("$two")), number(f, 1),
           "the event found by this id has another id");
    damage(f, shard, room_key(f, "i", GR_STR("$two")), number(f, 1),
           "the index by event id points to another event");
    damage(f, shard, room_key(f, "p", number(f, 2)), junk, "the position can't be read");
    damage(f, shard, room_key(f, "t", number(f, 1)), junk, "the state node can't be read");
}

static void rows_of_feeds_that_do_not_fit_are_found(void **state)
{
    fixture *f = *state;
    gr_str row = feed_key(f, cat(f, GR_STR("e" ROOM_ID "\0"), number(f, 7)));
    damage(f, &f->feed_shard, feed_key(f, GR_STR("h" ROOM_ID)), (gr_str){0},
           "the row of the feed has no head");
    damage(f, &f->feed_shard, feed_key(f, GR_STR("h" ROOM_ID)), GR_STR("junk"),
           "the head of the feed can't be read");
    damage(f, &f->feed_shard, row, GR_STR("junk"), "the row of the feed can't be read");
}

static void rows_of_no_actor_and_of_other_shards_are_found(void **state)
{
    fixture *f = *state;
    char kind = (char)(0x20 + GR_KIND_USER);
    gr_str key = cat(f, (gr_str){&kind, 1}, GR_STR("no end of the id"));
    damage(f, &f->room_shard, key, GR_STR("x"), "no actor can have this key");
    damage(f, &f->feed_shard, room_key(f, "v", number(f, 1)), GR_STR("x"),
           "the actor belongs to another shard");
}

static void rows_of_unknown_kinds_are_counted_but_no_problem(void **state)
{
    fixture *f = *state;
    gr_ops ops = {0};
    gr_ops_put(&ops, room_key(f, "?", (gr_str){0}), GR_STR("x"));
    gr_ops_put(&ops,
               GR_STR("\x7f"
                      "x\0y"),
               GR_STR("x"));
    commit(f, &f->room_shard, &ops);
    check(f);
    assert_int_equal(f->report.problems, 0);
    assert_int_equal(f->report.unknown, 2);
    assert_true(is_listed(f, "rooms have no such row"));
    gr_ops_free(&ops);
}

static gr_str destination_key(fixture *f, gr_str own)
{
    char kind = (char)(0x20 + GR_KIND_DESTINATION);
    return gr_arena_cat(f->arena, 4, (gr_str[]){{&kind, 1}, {ROOM_ID, sizeof ROOM_ID}, own, {0}});
}

static void put_row(fixture *f, gr_str own, const gr_type *type, const void *body)
{
    gr_buf out = {0};
    gr_body_encode(&out, type, body);
    gr_ops_put(&f->room, destination_key(f, own), gr_buf_view(&out));
    gr_buf_free(&out);
}

/* Its name is that of the room, so that it lies in the same shard. */
static void rows_of_destinations_that_do_not_fit_are_found(void **state)
{
    fixture *f = *state;
    gr_shard *shard = &f->room_shard;
    gr_str order = destination_key(f, cat(f, GR_STR("n"), number(f, 5))), owed = destination_key(f, GR_STR("r!owed"));
    put_row(f, GR_STR("r!owed"), &gr_type_owed_row, &(gr_owed_row){.number = 5, .event_id = GR_STR("$e")});
    gr_ops_put(&f->room, order, GR_STR("!owed"));
    put_row(f, GR_STR("se"), &gr_type_queue_row, &(gr_queue_row){.first = 1, .next = 2});
    put_row(f, cat(f, GR_STR("qe"), number(f, 1)), &gr_type_queue_item_row, &(gr_queue_item_row){.event_id = GR_STR("$e")});
    commit(f, shard, &f->room);
    check(f);
    assert_int_equal(f->report.problems, 0);
    damage(f, shard, order, GR_STR("!other"), "what a room owes is not in the order of what is owed");
    damage(f, shard, order, GR_STR("!other"), "the room at this place owes nothing");
    damage(f, shard, owed, GR_STR("rubbish"), "what a room owes can't be read");
    damage(f, shard, destination_key(f, GR_STR("se")), GR_STR("rubbish"), "the queue can't be read");
    gr_str item = destination_key(f, cat(f, GR_STR("qe"), number(f, 1)));
    damage(f, shard, item, GR_STR("!"), "what waits in the queue can't be read");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(a_sound_store_has_no_problems),
                                       TEST(missing_rows_of_a_room_are_found),
                                       TEST(damaged_rows_of_a_room_are_found),
                                       TEST(rows_of_feeds_that_do_not_fit_are_found),
                                       TEST(rows_of_destinations_that_do_not_fit_are_found),
                                       TEST(rows_of_no_actor_and_of_other_shards_are_found),
                                       TEST(rows_of_unknown_kinds_are_counted_but_no_problem)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
