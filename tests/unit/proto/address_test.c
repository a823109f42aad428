/* address_test.c - addresses: their parts, their shards (fixed for ever), and what is none. */
#include "proto/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static unsigned shard(const char *address) { return gr_address_shard(gr_str_c(address)); }
static bool valid(const char *address) { return gr_address_valid(gr_str_c(address)); }

/* What is stored lies where these say: they must never change. */
static void shards_of_ids_never_change(void **state)
{
    (void)state;
    assert_int_equal(gr_id_shard(GR_STR("")), 115);
    assert_int_equal(gr_id_shard(GR_STR("@alice:example.org")), 209);
    assert_int_equal(gr_id_shard(GR_STR("@bob:example.org")), 52);
    assert_int_equal(gr_id_shard(GR_STR("!room:example.org")), 34);
    assert_int_equal(gr_id_shard(GR_STR("!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM")), 52);
    assert_int_equal(gr_id_shard(GR_STR("#hall:example.org")), 14);
}

static void an_actor_lies_where_its_id_does_whatever_its_kind(void **state)
{
    (void)state;
    unsigned alice = gr_id_shard(GR_STR("@alice:example.org"));
    assert_int_equal(shard("user/@alice:example.org"), alice);
    assert_int_equal(shard("login/@alice:example.org"), alice);
    assert_int_equal(shard("echo/@alice:example.org"), alice);
}

static void a_flow_lies_with_the_actor_it_serves(void **state)
{
    (void)state;
    unsigned room = shard("room/!room:example.org");
    assert_int_equal(shard("room/!room:example.org/flow/7"), room);
    assert_int_equal(shard("room/!room:example.org/flow/18446744073709551615"), room);
    assert_int_equal(shard("room/!room:example.org/flow/7/flow/8"), room);
    assert_int_not_equal(shard("room/!room:example.org/flood/7"), room);
    assert_true(gr_str_is(gr_address_id(GR_STR("room/!r:x/flow/7")), "!r:x/flow/7"));
}

static void kinds_of_one_per_shard_carry_its_number(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    for (unsigned i = 0; i < GR_SHARDS; i++) {
        gr_str feed = gr_address_of_shard(a, GR_KIND_FEED, (uint8_t)i);
        assert_true(gr_address_valid(feed));
        assert_int_equal(gr_address_shard(feed), i);
        assert_int_equal(gr_address_kind(feed), GR_KIND_FEED);
    }
    gr_arena_free(&a);
    assert_true(valid("token/0") && valid("job/255") && valid("feed/17"));
    assert_false(valid("token/256") || valid("token/-1") || valid("token/x") || valid("token/1 ") || valid("token/17/flow/1"));
    assert_false(valid("token/017") || valid("token/00"));
    assert_false(valid("feed/99999999999999999999"));
}

static void every_kind_is_found_by_its_name(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    for (int kind = GR_KIND_NONE + 1; kind < GR_KIND_COUNT; kind++) {
        gr_str address = gr_address(a, (gr_kind)kind, GR_STR("7"));
        assert_int_equal(gr_address_kind(address), kind);
        assert_true(gr_address_valid(address));
        assert_true(gr_str_starts(address, gr_str_c(gr_kind_name((gr_kind)kind))));
        assert_true(gr_str_is(gr_address_id(address), "7"));
    }
    gr_arena_free(&a);
}

static void what_is_no_address_is_seen(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "/", "room", "room/", "/room", "rooms/!a:b", "roo/!a:b", "Room/!a:b", " room/!a:b",
                                        "none/x", "user@a:b"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (valid(wrong[i])) fail_msg("'%s' is taken for an address", wrong[i]);
    assert_int_equal(gr_address_kind(GR_STR("none/x")), GR_KIND_NONE);
    assert_int_equal(gr_address_kind(GR_STR("")), GR_KIND_NONE);
    assert_int_equal(gr_address_id(GR_STR("room")).size, 0);
}

static void an_address_has_at_most_512_bytes(void **state)
{
    (void)state;
    char text[GR_ADDRESS_MAX + 1] = "room/!";
    memset(text + 6, 'x', sizeof text - 6);
    assert_true(gr_address_valid(gr_str_of(text, GR_ADDRESS_MAX)));
    assert_false(gr_address_valid(gr_str_of(text, GR_ADDRESS_MAX + 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_of_ids_never_change),
        cmocka_unit_test(an_actor_lies_where_its_id_does_whatever_its_kind),
        cmocka_unit_test(a_flow_lies_with_the_actor_it_serves),
        cmocka_unit_test(kinds_of_one_per_shard_carry_its_number),
        cmocka_unit_test(every_kind_is_found_by_its_name),
        cmocka_unit_test(what_is_no_address_is_seen),
        cmocka_unit_test(an_address_has_at_most_512_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
