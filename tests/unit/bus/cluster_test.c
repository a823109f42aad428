/* The map of a cluster: what is refused in it, who gets which shard, its hash, and how two maps differ. */
#include "bus/cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static gr_arena *arena;
static gr_cluster map;

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

static gr_str key(unsigned number)
{
    uint8_t bytes[GR_CLUSTER_KEY_SIZE] = {(uint8_t)number, 1};
    char text[GR_CLUSTER_KEY_TEXT];
    gr_cluster_key_print(bytes, text);
    return gr_arena_str(arena, gr_str_c(text));
}

static void three_nodes(gr_cluster *c)
{
    gr_cluster_init(c, 7);
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(gr_cluster_add(c, arena, gr_arena_printf(arena, "n%u", i),
                                        gr_arena_printf(arena, "127.0.0.1:%u", 7000 + i), key(i), false)
                             .code,
                         GR_OK);
    gr_cluster_deal_evenly(c);
    assert_int_equal(gr_cluster_check(c, arena).code, GR_OK);
}

static void shards_are_dealt_evenly_in_ranges(void **state)
{
    (void)state;
    three_nodes(&map);
    for (unsigned i = 0; i < 3; i++) assert_in_range(gr_cluster_shards(&map, i), 85, 86);
    assert_int_equal(map.owner[0], 0);
    assert_int_equal(map.owner[GR_SHARDS - 1], 2);
    for (unsigned s = 1; s < GR_SHARDS; s++) assert_true(map.owner[s] >= map.owner[s - 1]);
}

static void dealt_ranges_stay_and_the_rest_is_shared(void **state)
{
    (void)state;
    three_nodes(&map);
    memset(map.owner, GR_CLUSTER_NOBODY, sizeof map.owner);
    assert_int_equal(gr_cluster_deal(&map, arena, GR_STR("n2"), 0, 127).code, GR_OK);
    map.nodes[2].is_revoked = true;
    gr_cluster_deal_evenly(&map);
    assert_int_equal(gr_cluster_check(&map, arena).code, GR_OK);
    assert_int_equal(gr_cluster_shards(&map, 0), 64);
    assert_int_equal(gr_cluster_shards(&map, 1), 192);
    assert_int_equal(gr_cluster_shards(&map, 2), 0);
}

static void refused(gr_err err, const char *part)
{
    assert_int_equal(err.code, GR_INVALID_PARAM);
    if (!strstr(err.text, part)) fail_msg("\"%s\" does not say \"%s\"", err.text, part);
}

static void bad_nodes_are_refused_by_name(void **state)
{
    (void)state;
    three_nodes(&map);
    refused(gr_cluster_add(&map, arena, GR_STR("n/4"), GR_STR("h:1"), key(4), false), "n/4");
    refused(gr_cluster_add(&map, arena, GR_STR(""), GR_STR("h:1"), key(4), false), "node 4");
    refused(gr_cluster_add(&map, arena, GR_STR("n4"), GR_STR("h"), key(4), false), "host:port");
    refused(gr_cluster_add(&map, arena, GR_STR("n4"), GR_STR("h:0"), key(4), false), "host:port");
    refused(gr_cluster_add(&map, arena, GR_STR("n4"), GR_STR("h:65536"), key(4), false), "host:port");
    refused(gr_cluster_add(&map, arena, GR_STR("n4"), GR_STR("h:1"), GR_STR("short"), false), "key of node n4");
    assert_int_equal(map.node_count, 3);
    refused(gr_cluster_deal(&map, arena, GR_STR("n9"), 0, 1), "n9");
    refused(gr_cluster_deal(&map, arena, GR_STR("n1"), 0, 256), "0 to 255");
    refused(gr_cluster_deal(&map, arena, GR_STR("n1"), 200, 201), "shard 200");
}

static void what_is_there_twice_or_not_at_all_is_refused(void **state)
{
    (void)state;
    three_nodes(&map);
    gr_cluster twice = map;
    memcpy(twice.nodes[2].public_key, twice.nodes[0].public_key, GR_CLUSTER_KEY_SIZE);
    refused(gr_cluster_check(&twice, arena), "same key");
    twice = map;
    memcpy(twice.nodes[2].address, twice.nodes[1].address, sizeof twice.nodes[1].address);
    refused(gr_cluster_check(&twice, arena), "n2 and n3");
    twice = map;
    twice.owner[9] = GR_CLUSTER_NOBODY;
    refused(gr_cluster_check(&twice, arena), "shard 9");
    twice = map;
    twice.nodes[0].is_revoked = true;
    refused(gr_cluster_check(&twice, arena), "revoked");
}

static void a_key_reads_from_both_forms_of_text(void **state)
{
    (void)state;
    uint8_t out[GR_CLUSTER_KEY_SIZE], expected[GR_CLUSTER_KEY_SIZE] = {9, 1};
    assert_true(gr_cluster_key_parse(key(9), out));
    assert_memory_equal(out, expected, sizeof out);
    assert_true(gr_cluster_key_parse(GR_STR("CQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), out));
    assert_memory_equal(out, expected, sizeof out);
    assert_true(gr_cluster_key_parse(GR_STR("CQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), out));
    assert_false(gr_cluster_key_parse(GR_STR("CQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), out));
    assert_false(gr_cluster_key_parse(GR_STR(""), out));
}

static void a_map_comes_back_from_its_bytes(void **state)
{
    (void)state;
    gr_cluster back;
    gr_buf bytes = {0};
    uint8_t here[GR_CLUSTER_HASH_SIZE], there[GR_CLUSTER_HASH_SIZE];
    three_nodes(&map);
    gr_cluster_encode(&bytes, &map);
    assert_int_equal(gr_cluster_decode(gr_buf_view(&bytes), &back).code, GR_OK);
    gr_cluster_hash(&map, here);
    gr_cluster_hash(&back, there);
    assert_memory_equal(here, there, sizeof here);
    assert_int_equal(gr_cluster_difference(arena, &map, &back).size, 0);
    for (size_t size = 0; size < bytes.size; size++)
        assert_int_equal(gr_cluster_decode(gr_str_of(bytes.ptr, size), &back).code, GR_BAD_JSON);
    gr_buf_char(&bytes, 0);
    assert_int_equal(gr_cluster_decode(gr_buf_view(&bytes), &back).code, GR_BAD_JSON);
    gr_buf_free(&bytes);
}

static void differs(const gr_cluster *there, const char *text)
{
    uint8_t here_hash[GR_CLUSTER_HASH_SIZE], there_hash[GR_CLUSTER_HASH_SIZE];
    gr_cluster_hash(&map, here_hash);
    gr_cluster_hash(there, there_hash);
    assert_memory_not_equal(here_hash, there_hash, sizeof here_hash);
    assert_string_equal(gr_cluster_difference(arena, &map, there).ptr, text);
}

static void each_difference_is_named_and_changes_the_hash(void **state)
{
    (void)state;
    three_nodes(&map);
    gr_cluster there = map;
    snprintf(there.nodes[1].address, sizeof there.nodes[1].address, "10.0.0.2:7002");
    differs(&there, "the address of node n2: here 127.0.0.1:7002, there 10.0.0.2:7002");
    there = map;
    there.nodes[2].is_revoked = true;
    differs(&there, "node n3 is revoked there, not here");
    there = map;
    there.nodes[0].name[0] = 'm';
    differs(&there, "node n1 is only in the list here");
    there = map;
    there.owner[200] = 1;
    differs(&there, "the node of shard 200: here n3, there n2");
    there = map;
    there.generation = 8;
    differs(&there, "the generation: here 7, there 8");
    there = map;
    gr_cluster_node kept = there.nodes[0];
    there.nodes[0] = there.nodes[1];
    there.nodes[1] = kept;
    differs(&there, "the order of the nodes: n1 is number 1 here, 2 there");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_are_dealt_evenly_in_ranges),
        cmocka_unit_test(dealt_ranges_stay_and_the_rest_is_shared),
        cmocka_unit_test(bad_nodes_are_refused_by_name),
        cmocka_unit_test(what_is_there_twice_or_not_at_all_is_refused),
        cmocka_unit_test(a_key_reads_from_both_forms_of_text),
        cmocka_unit_test(a_map_comes_back_from_its_bytes),
        cmocka_unit_test(each_difference_is_named_and_changes_the_hash),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
