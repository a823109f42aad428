/* The cluster file: what is read, what is refused and in which line, and what is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "edge/cluster_file.h"

#define KEY1 "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY2 "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define NODE1 "  - name: n1\n    address: 10.0.0.1:7001\n    public_key: " KEY1 "\n"
#define NODE2 "  - name: n2\n    address: 10.0.0.2:7001\n    public_key: " KEY2 "\n"

static gr_config_mistakes mistakes;
static gr_cluster map;

static int set_up(void **state)
{
    (void)state;
    gr_config_mistakes_init(&mistakes);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_config_mistakes_free(&mistakes);
    return 0;
}

static bool parse(const char *text) { return gr_cluster_file_parse(&map, gr_str_c(text), "cluster.yaml", &mistakes); }

static void refused(const char *text, unsigned line, const char *part)
{
    size_t before = mistakes.count;
    assert_false(parse(text));
    assert_true(mistakes.count > before);
    assert_int_equal(mistakes.at[before].line, line);
    if (!strstr(mistakes.at[before].text, part)) fail_msg("\"%s\" is not in: %s", part, mistakes.at[before].text);
}

static void shards_that_nobody_names_are_dealt_evenly(void **state)
{
    (void)state;
    assert_true(parse("generation: 3\nnodes:\n" NODE1 NODE2));
    assert_int_equal(map.generation, 3);
    assert_int_equal(map.node_count, 2);
    assert_string_equal(map.nodes[1].address, "10.0.0.2:7001");
    assert_int_equal(map.nodes[1].public_key[0], 2);
    assert_int_equal(gr_cluster_shards(&map, 0), 128);
    assert_int_equal(map.owner[0], 0);
    assert_int_equal(map.owner[255], 1);
}

static void shards_are_ranges_single_numbers_or_none(void **state)
{
    (void)state;
    assert_true(parse("generation: 1\nnodes:\n" NODE1 "    shards: 0-9, 11, 13-255\n" NODE2 "    shards: 10,12\n"));
    assert_int_equal(gr_cluster_shards(&map, 1), 2);
    assert_int_equal(map.owner[12], 1);
    assert_true(parse("generation: 1\nnodes:\n" NODE1 "    shards: 0-255\n" NODE2 "    shards: none\n"));
    assert_int_equal(gr_cluster_shards(&map, 1), 0);
}

static void what_is_written_reads_the_same(void **state)
{
    gr_buf text = {0};
    uint8_t before[GR_CLUSTER_HASH_SIZE], after[GR_CLUSTER_HASH_SIZE];
    (void)state;
    assert_true(parse("generation: 4\nnodes:\n" NODE1 "    shards: 0-9, 11-255\n" NODE2 "    shards: 10\n"
                      "  - name: n3\n    address: a:1\n    public_key: AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
                      "    revoked: true\n"));
    gr_cluster_hash(&map, before);
    gr_cluster_file_print(&text, &map);
    gr_buf_char(&text, '\0');
    assert_true(parse(text.ptr));
    gr_cluster_hash(&map, after);
    assert_memory_equal(before, after, sizeof before);
    assert_true(map.nodes[2].is_revoked);
    gr_buf_free(&text);
}

static void mistakes_are_named_with_their_line(void **state)
{
    (void)state;
    refused("", 0, "generation and nodes");
    refused("nodes:\n" NODE1, 1, "generation is missing");
    refused("generation: 0\nnodes:\n" NODE1, 1, "whole number from 1");
    refused("generation: 1\n", 1, "nodes is missing");
    refused("generation: 1\nnode:\n" NODE1, 2, "no key \"node\"");
    refused("generation: 1\nnodes: n1\n", 2, "nodes is a list");
    refused("generation: 1\nnodes:\n" NODE1 "    adress: x\n", 6, "no key \"adress\"");
    refused("generation: 1\nnodes:\n  - name: n1\n    address: a:1\n", 3, "no public_key");
    refused("generation: 1\nnodes:\n" NODE1 "    shards: 0-256\n", 6, "no range of shards");
    refused("generation: 1\nnodes:\n" NODE1 "    shards: 9-3\n", 6, "no range of shards");
    refused("generation: 1\nnodes:\n" NODE1 "    revoked: maybe\n", 6, "true or false");
    refused("generation: [\n", 2, "not YAML");
}

static void what_only_shows_in_the_whole_is_refused_too(void **state)
{
    (void)state;
    refused("generation: 1\nnodes:\n" NODE1 NODE1, 3, "same name");
    refused("generation: 1\nnodes:\n" NODE1 "    shards: 0-100\n" NODE2 "    shards: 100-255\n", 10, "100");
    refused("generation: 1\nnodes:\n  - name: n1\n    address: nowhere\n    public_key: " KEY1 "\n", 3, "address");
    refused("generation: 1\nnodes:\n  - name: n1\n    address: a:1\n    public_key: short\n", 3, "key");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(shards_that_nobody_names_are_dealt_evenly, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shards_are_ranges_single_numbers_or_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_written_reads_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mistakes_are_named_with_their_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_only_shows_in_the_whole_is_refused_too, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
