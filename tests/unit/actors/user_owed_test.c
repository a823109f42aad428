/* user_owed_test.c - rooms that an answer of /sync lacked come with the next one, from where they stood. */
#include "tests/unit/actors/feed_rig.h"

#define OTHER "!other:here"

static rig user(void)
{
    rig r = rig_new();
    make_user(&r);
    membership(&r, OTHER, "join");
    membership(&r, ROOM, "join");
    return r;
}

static gr_shard_set shard_of(const char *room)
{
    gr_shard_set set = {0};
    gr_shard_set_add(&set, gr_id_shard(gr_str_c(room)));
    return set;
}

static const gr_user_changes *sync_without(rig *r, gr_str since, const gr_shard_set *set, uint64_t wait_ms)
{
    gr_user_sync m = {.device = GR_STR("DEV"), .since = since, .wait_ms = wait_ms,
                      .without = gr_str_of(set->bits, sizeof set->bits)};
    to_user(r);
    gr_stage_ask(r->s, &gr_type_user_sync, &m);
    return answer_of(r);
}

static void say_in(rig *r, const char *room, const char *body)
{
    event_in(r, room, "@bob:there", "m.room.message", gr_arena_printf(r->arena, "{\"body\":\"%s\"}", body).ptr);
}

static void put_data(rig *r, const char *room, const char *type)
{
    gr_user_account_data_put m = {.room_id = gr_str_c(room), .type = gr_str_c(type), .content = GR_STR("{}")};
    to_user(r);
    gr_stage_ask(r->s, &gr_type_user_account_data_put, &m);
}

/* The token of an answer that lacks ROOM. */
static gr_str owing(rig *r, gr_str since, const gr_user_changes *c)
{
    gr_shard_set lacking = shard_of(ROOM);
    return gr_sync_token_owe(r->arena, c->initial ? (gr_str){0} : since, c->next_batch, &lacking);
}

static void what_an_answer_lacks_comes_later_from_where_it_stood_and_nothing_else_comes_again(void **state)
{
    (void)state;
    rig r = user();
    gr_shard_set lacking = shard_of(ROOM);
    gr_str next = gr_arena_str(r.arena, sync_now(&r, (gr_str){0})->next_batch);
    uint64_t seen = r.room_pos;
    say_in(&r, ROOM, "one");
    say_in(&r, OTHER, "two");
    put_data(&r, ROOM, "m.mine");
    put_data(&r, "", "m.global");
    const gr_user_changes *c = sync_without(&r, next, &lacking, 0);
    assert_true(c->news && c->rooms.count == 1 && room_in(c, OTHER));
    assert_true(c->account_data.size > 0);
    next = owing(&r, next, c);
    say_in(&r, ROOM, "three");
    uint64_t last = r.room_pos;
    say_in(&r, OTHER, "four");
    c = sync_now(&r, next);
    assert_int_equal(c->rooms.count, 2);
    assert_int_equal(room_in(c, ROOM)->from_pos, seen);
    assert_int_equal(room_in(c, ROOM)->to_pos, last);
    assert_false(room_in(c, ROOM)->full);
    assert_true(room_in(c, ROOM)->account_data.size > 0 && room_in(c, ROOM)->counts);
    assert_int_equal(room_in(c, OTHER)->from_pos, last - 1);
    assert_int_equal(c->account_data.size, 0);
    assert_int_equal(sync_now(&r, c->next_batch)->rooms.count, 0);
    rig_free(&r);
}

static void a_room_that_the_first_sync_lacked_comes_whole(void **state)
{
    (void)state;
    rig r = user();
    gr_shard_set lacking = shard_of(ROOM);
    put_data(&r, ROOM, "m.mine");
    const gr_user_changes *c = sync_without(&r, (gr_str){0}, &lacking, 0);
    assert_true(c->initial && !room_in(c, ROOM));
    c = sync_now(&r, owing(&r, (gr_str){0}, c));
    assert_false(c->initial);
    assert_int_equal(c->rooms.count, 1);
    assert_true(room_in(c, ROOM)->full);
    assert_text(room_in(c, ROOM)->account_data, "[{\"content\":{},\"type\":\"m.mine\"}]");
    rig_free(&r);
}

static void a_room_goes_on_being_owed_from_the_same_place(void **state)
{
    (void)state;
    rig r = user();
    gr_shard_set lacking = shard_of(ROOM);
    gr_str next = gr_arena_str(r.arena, sync_now(&r, (gr_str){0})->next_batch);
    uint64_t seen = r.room_pos;
    for (int i = 0; i < 3; i++) {
        say_in(&r, ROOM, "more");
        next = owing(&r, next, sync_without(&r, next, &lacking, 0));
    }
    assert_int_equal(room_in(sync_now(&r, next), ROOM)->from_pos, seen);
    rig_free(&r);
}

static void a_poll_without_some_rooms_waits_for_the_others(void **state)
{
    (void)state;
    rig r = user();
    gr_shard_set lacking = shard_of(ROOM);
    gr_str next = gr_arena_str(r.arena, sync_now(&r, (gr_str){0})->next_batch);
    say_in(&r, ROOM, "one");
    assert_null(sync_without(&r, next, &lacking, 1000));
    say_in(&r, ROOM, "two");
    to_user(&r);
    gr_stage_tell(r.s, r.feed, &gr_type_user_wake, &(gr_user_wake){0});
    assert_null(answer_of(&r));
    say_in(&r, OTHER, "three");
    to_user(&r);
    gr_stage_tell(r.s, r.feed, &gr_type_user_wake, &(gr_user_wake){0});
    const gr_user_changes *c = answer_of(&r);
    assert_true(c && c->news && c->rooms.count == 1 && room_in(c, OTHER));
    rig_free(&r);
}

static void sync_tokens_stand_where_the_room_was_delivered(void **state)
{
    (void)state;
    rig r = user();
    gr_shard_set lacking = shard_of(ROOM);
    gr_str next = gr_arena_str(r.arena, sync_now(&r, (gr_str){0})->next_batch);
    uint64_t seen = r.room_pos;
    say_in(&r, ROOM, "one");
    next = owing(&r, next, sync_without(&r, next, &lacking, 0));
    to_user(&r);
    gr_stage_ask(r.s, &gr_type_user_room_at, &(gr_user_room_at){.room_id = GR_STR(ROOM), .token = next});
    assert_int_equal(((const gr_user_room_pos *)gr_stage_replied(r.s, &gr_type_user_room_pos))->room_pos, seen);
    rig_free(&r);
}

/* --- the text of tokens ---------------------------------------------------------------------------------------- */
static void tokens_are_read_as_they_were_written(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    gr_sync_token t = {.incarnation = 77, .position = 900, .to_device = 3, .owed_count = GR_SYNC_OWED_MAX}, back;
    for (unsigned i = 0; i < GR_SYNC_OWED_MAX; i++) {
        t.owed[i].position = 100 + i;
        gr_shard_set_add(&t.owed[i].shards, (uint8_t)(31 * i));
    }
    gr_str text = gr_sync_token_text(a, &t);
    assert_true(text.size < GR_SYNC_TOKEN_MAX && gr_sync_token_read(text, &back));
    assert_memory_equal(&t, &back, sizeof t);
    assert_int_equal(gr_sync_token_seen(&t, 62), 102);
    assert_int_equal(gr_sync_token_seen(&t, 63), 900);
    gr_arena_free(&a);
}

static void what_is_no_token_is_not_read(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    gr_sync_token t = {.incarnation = 1, .position = 2, .owed_count = 1};
    gr_shard_set_add(&t.owed[0].shards, 200);
    gr_str good = gr_sync_token_text(a, &t);
    for (size_t size = 0; size < good.size; size++)        /* without what is owed it is a token as well */
        if (size != sizeof "s1_1_2_0" - 1) assert_false(gr_sync_token_read(gr_str_head(good, size), &t));
    assert_false(gr_sync_token_read(gr_arena_cat(a, 2, (gr_str[]){good, GR_STR("0")}), &t));
    gr_str parts[2 + GR_SYNC_OWED_MAX] = {good};
    for (int i = 0; i < GR_SYNC_OWED_MAX; i++) parts[1 + i] = gr_str_from(good, sizeof "s1_1_2_0" - 1);
    assert_true(gr_sync_token_read(gr_arena_cat(a, GR_SYNC_OWED_MAX, parts), &t));
    assert_false(gr_sync_token_read(gr_arena_cat(a, 1 + GR_SYNC_OWED_MAX, parts), &t));
    gr_arena_free(&a);
}

static void a_token_owes_from_a_bounded_number_of_places(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    gr_str since = GR_STR("s1_1_1_0");
    for (unsigned i = 0; i <= GR_SYNC_OWED_MAX; i++) {
        gr_shard_set lacking = {0};
        for (uint8_t shard = 0; shard <= i; shard++) gr_shard_set_add(&lacking, shard);
        since = gr_sync_token_owe(a, since, gr_arena_printf(a, "s1_1_%x_0", i + 2), &lacking);
        assert_int_equal(since.size == 0, i == GR_SYNC_OWED_MAX);
    }
    gr_arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_answer_lacks_comes_later_from_where_it_stood_and_nothing_else_comes_again),
        cmocka_unit_test(a_room_that_the_first_sync_lacked_comes_whole),
        cmocka_unit_test(a_room_goes_on_being_owed_from_the_same_place),
        cmocka_unit_test(a_poll_without_some_rooms_waits_for_the_others),
        cmocka_unit_test(sync_tokens_stand_where_the_room_was_delivered),
        cmocka_unit_test(tokens_are_read_as_they_were_written),
        cmocka_unit_test(what_is_no_token_is_not_read),
        cmocka_unit_test(a_token_owes_from_a_bounded_number_of_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
