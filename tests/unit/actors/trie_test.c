/* trie_test.c - persistent state against a plain map, with seeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/room/trie.h"

enum { KEYS = 300, NODES_MAX = 60000, VERSIONS = 40 };

typedef struct {
    gr_str nodes[NODES_MAX];
    uint64_t next;
    size_t bytes;
    gr_arena *arena;
    gr_trie trie;
} shelf;

static bool get_node(void *arg, uint64_t node, gr_str *bytes)
{
    shelf *s = arg;
    if (node >= s->next) return false;
    *bytes = s->nodes[node];
    return true;
}

static void put_node(void *arg, uint64_t node, gr_str bytes)
{
    shelf *s = arg;
    assert_true(node < NODES_MAX);
    s->nodes[node] = gr_arena_str(s->arena, bytes);
    s->bytes += bytes.size;
}

static shelf *shelf_new(void)
{
    shelf *s = gr_alloc(sizeof *s);
    s->arena = gr_arena_new(0);
    s->next = 1;
    s->trie = (gr_trie){get_node, put_node, s, &s->next};
    return s;
}

static void shelf_free(shelf *s)
{
    gr_arena_free(&s->arena);
    free(s);
}

static uint64_t draw(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static bool take(void *arg, uint64_t key, uint64_t event)
{
    uint64_t *map = arg;
    assert_true(key < KEYS);
    assert_int_equal(map[key], 0);
    map[key] = event;
    return true;
}

static void check_same(const shelf *s, uint64_t root, const uint64_t *map)
{
    uint64_t got[KEYS] = {0};
    gr_trie_each(&s->trie, root, take, got);
    assert_memory_equal(got, map, sizeof got);
    for (uint64_t key = 1; key < KEYS; key++) assert_int_equal(gr_trie_get(&s->trie, root, key), map[key]);
}

static void any_sequence_of_changes_gives_what_a_map_gives(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        shelf *s = shelf_new();
        uint64_t map[KEYS] = {0}, root = 0, r = seed;
        for (int i = 0; i < 1000; i++) {
            uint64_t key = 1 + draw(&r) % (KEYS - 1), event = draw(&r) % 3 ? draw(&r) : 0;
            root = gr_trie_set(&s->trie, root, key, event);
            map[key] = event;
            if (i % 100 == 0) check_same(s, root, map);
        }
        check_same(s, root, map);
        for (uint64_t key = 1; key < KEYS; key++) root = gr_trie_set(&s->trie, root, key, 0);
        assert_int_equal(root, 0);
        shelf_free(s);
    }
}

typedef struct {
    const uint64_t *before, *after;
    bool seen[KEYS];
    size_t count;
} expected;

static bool told(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    expected *e = arg;
    assert_false(e->seen[key]);
    assert_int_equal(before, e->before[key]);
    assert_int_equal(after, e->after[key]);
    assert_true(before != after);
    e->seen[key] = true;
    e->count++;
    return true;
}

/* Ends after some keys, and says which was the last. */
typedef struct {
    expected e;
    size_t left;
    uint64_t last;
} piece;

static bool told_some(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    piece *p = arg;
    p->last = key;
    return told(&p->e, key, before, after) && --p->left > 0;
}

static size_t tell_in_pieces(const gr_trie *t, uint64_t a, uint64_t b, expected e, size_t size)
{
    piece p = {.e = e};
    for (size_t before = SIZE_MAX; p.e.count != before;) {
        before = p.e.count;
        p.left = size;
        gr_trie_diff_from(t, a, b, p.last, told_some, &p);
    }
    return p.e.count;
}

static void the_difference_of_any_two_versions_is_exact(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        static uint64_t maps[VERSIONS][KEYS];
        uint64_t roots[VERSIONS] = {0}, r = seed;
        shelf *s = shelf_new();
        memset(maps[0], 0, sizeof maps[0]);
        for (int v = 1; v < VERSIONS; v++) {
            int from = (int)(draw(&r) % (uint64_t)v); /* versions branch */
            memcpy(maps[v], maps[from], sizeof maps[v]);
            roots[v] = roots[from];
            for (uint64_t i = draw(&r) % 20; i-- > 0;) {
                uint64_t key = 1 + draw(&r) % (KEYS - 1), event = draw(&r) % 3 ? draw(&r) % 7 : 0;
                maps[v][key] = event;
                roots[v] = gr_trie_set(&s->trie, roots[v], key, event);
            }
        }
        for (int a = 0; a < VERSIONS; a++)
            for (int b = 0; b < VERSIONS; b++) {
                expected e = {.before = maps[a], .after = maps[b]};
                size_t differing = 0;
                for (int k = 0; k < KEYS; k++) differing += maps[a][k] != maps[b][k];
                gr_trie_diff(&s->trie, roots[a], roots[b], told, &e);
                assert_int_equal(e.count, differing);
                e = (expected){.before = maps[a], .after = maps[b]};
                assert_int_equal(tell_in_pieces(&s->trie, roots[a], roots[b], e, 1 + (size_t)(a + b) % 5), differing);
            }
        shelf_free(s);
    }
}

static void an_unchanged_value_makes_no_new_version(void **state)
{
    (void)state;
    shelf *s = shelf_new();
    uint64_t root = gr_trie_set(&s->trie, 0, 5, 9), nodes = s->next;
    assert_int_equal(gr_trie_set(&s->trie, root, 5, 9), root);
    assert_int_equal(gr_trie_set(&s->trie, root, 21, 0), root);
    assert_int_equal(s->next, nodes);
    shelf_free(s);
}

static void a_change_in_a_state_of_thousands_writes_under_a_kilobyte(void **state)
{
    (void)state;
    shelf *s = shelf_new();
    uint64_t root = 0;
    for (uint64_t key = 1; key <= 5000; key++) root = gr_trie_set(&s->trie, root, key, key * 3);
    size_t before = s->bytes;
    for (uint64_t key = 1; key <= 100; key++) root = gr_trie_set(&s->trie, root, key * 37, 20000 + key);
    assert_true((s->bytes - before) / 100 < 1024);
    shelf_free(s);
}

static void a_broken_node_is_read_as_nothing(void **state)
{
    (void)state;
    shelf *s = shelf_new();
    uint64_t root = gr_trie_set(&s->trie, gr_trie_set(&s->trie, 0, 5, 9), 21, 8);
    s->nodes[root].size /= 2;
    assert_int_equal(gr_trie_get(&s->trie, root, 5), 0);
    shelf_free(s);
}

/* What one call with all changes makes, and what single ones make: the same tree, in fewer nodes. */
static void many_changes_at_once_give_what_they_give_one_by_one(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        shelf *s = shelf_new();
        uint64_t map[KEYS] = {0}, root = 0, r = seed;
        for (int round = 0; round < 20; round++) {
            gr_trie_change changes[KEYS];
            bool taken[KEYS] = {false};
            size_t count = 0, wanted = draw(&r) % 120;
            uint64_t single = root, first = s->next;
            while (count < wanted) {
                uint64_t key = 1 + draw(&r) % (KEYS - 1);
                if (taken[key]) continue;
                taken[key] = true;
                changes[count++] = (gr_trie_change){key, draw(&r) % 3 ? 1 + draw(&r) % 1000 : 0};
            }
            for (size_t i = 0; i < count; i++) {
                map[changes[i].key] = changes[i].event;
                single = gr_trie_set(&s->trie, single, changes[i].key, changes[i].event);
            }
            uint64_t between = s->next;
            root = gr_trie_set_all(&s->trie, root, changes, count);
            check_same(s, root, map);
            check_same(s, single, map);
            assert_true(s->next - between <= between - first);
        }
        shelf_free(s);
    }
}

/* The newest nodes moved up: what is older keeps its number, and the state is the same. */
static void nodes_can_be_given_other_numbers(void **state)
{
    (void)state;
    shelf *s = shelf_new();
    uint64_t map[KEYS] = {0}, root = 0, by = 1000;
    for (uint64_t key = 1; key < 200; key++) root = gr_trie_set(&s->trie, root, key, map[key] = key + 7);
    uint64_t first = s->next;
    gr_trie_change changes[40];
    for (size_t i = 0; i < 40; i++) {
        changes[i] = (gr_trie_change){3 + 5 * i, 5000 + i};
        map[3 + 5 * i] = 5000 + i;
    }
    root = gr_trie_set_all(&s->trie, root, changes, 40);
    uint64_t end = s->next;
    s->next = end + by;
    for (uint64_t node = first; node < end; node++) {
        gr_buf moved = {0};
        assert_true(gr_trie_renumber(&moved, s->nodes[node], first, by));
        put_node(s, node + by, gr_buf_view(&moved));
        s->nodes[node] = (gr_str){0};
        gr_buf_free(&moved);
    }
    check_same(s, root + by, map);
    gr_buf none = {0};
    assert_false(gr_trie_renumber(&none, GR_STR("no node"), 1, 1));
    gr_buf_free(&none);
    shelf_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_sequence_of_changes_gives_what_a_map_gives),
        cmocka_unit_test(the_difference_of_any_two_versions_is_exact),
        cmocka_unit_test(an_unchanged_value_makes_no_new_version),
        cmocka_unit_test(a_change_in_a_state_of_thousands_writes_under_a_kilobyte),
        cmocka_unit_test(many_changes_at_once_give_what_they_give_one_by_one),
        cmocka_unit_test(nodes_can_be_given_other_numbers),
        cmocka_unit_test(a_broken_node_is_read_as_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
