/* chain_test.c - the chain cover against plain walks of random auth graphs, with seeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/room/chain.h"

enum { EVENTS = 120, KEYS = 12, AUTH = 6, SEEDS = 400, STATES = 4 };

typedef struct {
    gr_arena *arena;
    gr_str rows[2][EVENTS + 1]; /* c and C */
    size_t bytes;
    gr_chain chain;
    uint64_t r;
    /* The graph: auth events with repeats; what walks find below each event. */
    uint64_t auth[EVENTS + 1][AUTH], key[EVENTS + 1];
    size_t auth_count[EVENTS + 1];
    bool below[EVENTS + 1][EVENTS + 1];
    uint64_t common[EVENTS];
    size_t common_count;
} graph;

static uint64_t draw(graph *g, uint64_t below)
{
    g->r = g->r * 6364136223846793005u + 1442695040888963407u;
    return (g->r >> 33) % below;
}

static bool get_row(void *arg, char letter, uint64_t number, gr_str *bytes)
{
    graph *g = arg;
    if (number > EVENTS) return false;
    *bytes = g->rows[letter == 'C'][number];
    return bytes->ptr != NULL;
}

static void put_row(void *arg, char letter, uint64_t number, gr_str bytes)
{
    graph *g = arg;
    assert_true(number >= 1 && number <= EVENTS);
    g->rows[letter == 'C'][number] = gr_arena_str(g->arena, bytes);
    g->bytes += bytes.size;
}

static void scan_rows(void *arg, uint64_t first, uint64_t last, gr_chain_row_fn *row, void *row_arg)
{
    graph *g = arg;
    for (uint64_t n = first; n <= last && n <= EVENTS; n++)
        if (g->rows[0][n].ptr) row(row_arg, n, g->rows[0][n]);
}

static gr_chain_place place(graph *g, uint64_t event)
{
    uint64_t same = 0;
    for (size_t i = 0; i < g->auth_count[event]; i++) {
        uint64_t a = g->auth[event][i];
        if (a && a <= EVENTS && g->key[a] == g->key[event] && a > same) same = a;
    }
    return gr_chain_assign(&g->chain, g->arena, event, (gr_u64s){g->auth[event], g->auth_count[event]}, same);
}

static void walk(graph *g, uint64_t event)
{
    for (size_t i = 0; i < g->auth_count[event]; i++) {
        uint64_t a = g->auth[event][i];
        g->below[event][a] = true;
        for (uint64_t n = 1; n <= EVENTS; n++) g->below[event][n] |= g->below[a][n];
    }
}

static graph *graph_empty(uint64_t seed)
{
    graph *g = gr_alloc(sizeof *g);
    g->arena = gr_arena_new(0);
    g->chain = (gr_chain){get_row, put_row, g};
    g->r = seed;
    return g;
}

/* Events of few keys, each citing older ones: mostly the newest, some of them twice. */
static graph *graph_new(uint64_t seed)
{
    graph *g = graph_empty(seed);
    for (uint64_t n = 1; n <= EVENTS; n++) {
        g->key[n] = draw(g, KEYS);
        size_t count = n == 1 ? 0 : 1 + draw(g, AUTH);
        for (size_t i = 0; i < count; i++) {
            uint64_t window = draw(g, 3) && n > 16 ? 15 : n - 1;
            g->auth[n][i] = i && draw(g, 5) == 0 ? g->auth[n][i - 1] : n - 1 - draw(g, window);
        }
        /* usually what has its own key */
        for (uint64_t o = n - 1; count && o > 0 && draw(g, 8); o--)
            if (g->key[o] == g->key[n]) {
                g->auth[n][0] = o;
                break;
            }
        g->auth_count[n] = count;
        walk(g, n);
        assert_true(place(g, n).seq > 0);
    }
    return g;
}

static void graph_free(graph *g)
{
    gr_arena_free(&g->arena);
    free(g);
}

static void an_event_reaches_what_a_walk_finds(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS / 4; seed++) {
        graph *g = graph_new(seed);
        for (uint64_t a = 1; a <= EVENTS; a++)
            for (uint64_t b = 1; b <= EVENTS; b++) {
                bool reaches;
                assert_true(gr_chain_reaches(&g->chain, g->arena, a, b, &reaches));
                if (reaches != g->below[a][b])
                    fail_msg("seed %d: %d to %d is %d", (int)seed, (int)a, (int)b, reaches);
            }
        graph_free(g);
    }
}

static void places_are_each_given_once_and_chains_hold_what_is_below(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        graph *g = graph_new(seed);
        for (uint64_t a = 1; a <= EVENTS; a++)
            for (uint64_t b = 1; b < a; b++) {
                gr_chain_place x = gr_chain_place_of(&g->chain, g->arena, a),
                               y = gr_chain_place_of(&g->chain, g->arena, b);
                if (x.chain != y.chain) continue;
                assert_true(x.seq > y.seq);
                assert_true(g->below[a][b]);
            }
        graph_free(g);
    }
}

static gr_u64s common_above(void *arg, uint64_t number)
{
    graph *g = arg;
    gr_u64s out = {gr_arena_alloc(g->arena, EVENTS * sizeof(uint64_t)), 0};
    for (size_t i = 0; i < g->common_count; i++)
        if (g->common[i] > number) out.at[out.count++] = g->common[i];
    return out;
}

static bool is_below_any(const graph *g, const uint64_t *events, size_t count, uint64_t n)
{
    for (size_t i = 0; i < count; i++)
        if (events[i] && g->below[events[i]][n]) return true;
    return false;
}

static void check_difference(graph *g, uint64_t seed, const gr_u64s *states, size_t count)
{
    gr_u64s got;
    size_t next = 0;
    assert_true(gr_chain_difference(&g->chain, g->arena,
                                    &(gr_chain_states){states, count, common_above, g}, &got));
    for (uint64_t n = 1; n <= EVENTS; n++) {
        size_t in = 0;
        for (size_t i = 0; i < count; i++)
            in += is_below_any(g, states[i].at, states[i].count, n)
                  || is_below_any(g, g->common, g->common_count, n);
        bool is_listed = next < got.count && got.at[next] == n;
        if (is_listed != (in > 0 && in < count)) fail_msg("seed %d: event %d", (int)seed, (int)n);
        next += is_listed;
    }
    assert_int_equal(next, got.count);
}

static void the_difference_of_states_is_what_walks_find(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        graph *g = graph_new(seed);
        uint64_t events[STATES][KEYS];
        gr_u64s states[STATES];
        size_t count = 2 + draw(g, STATES - 1);
        for (size_t i = 0; i < count; i++) {
            states[i] = (gr_u64s){events[i], draw(g, KEYS)};
            for (size_t k = 0; k < states[i].count; k++) events[i][k] = draw(g, EVENTS + 1);
        }
        g->common_count = draw(g, 2) ? draw(g, 10) : 64 + draw(g, 20);
        if (draw(g, 2)) g->chain.scan = scan_rows;
        for (size_t i = 0; i < g->common_count; i++) g->common[i] = 1 + draw(g, EVENTS);
        check_difference(g, seed, states, count);
        graph_free(g);
    }
}

static void the_subgraph_is_all_that_lies_between(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        graph *g = graph_new(seed);
        uint64_t at[8];
        gr_u64s ends = {at, 1 + draw(g, 8)}, got;
        size_t next = 0;
        for (size_t i = 0; i < ends.count; i++) at[i] = 1 + draw(g, EVENTS);
        assert_true(gr_chain_subgraph(&g->chain, g->arena, ends, &got));
        for (uint64_t n = 1; n <= EVENTS; n++) {
            bool is_end = false, above = false, below = is_below_any(g, at, ends.count, n);
            for (size_t i = 0; i < ends.count; i++) {
                is_end = is_end || at[i] == n;
                above = above || g->below[n][at[i]];
            }
            bool is_listed = next < got.count && got.at[next] == n;
            if (is_listed != (is_end || (below && above))) fail_msg("seed %d: event %d", (int)seed, (int)n);
            next += is_listed;
        }
        assert_int_equal(next, got.count);
        graph_free(g);
    }
}

static void an_event_that_cites_what_is_unknown_has_no_cover_nor_have_those_above(void **state)
{
    (void)state;
    graph *g = graph_empty(1);
    bool reaches;
    gr_u64s found;
    uint64_t none[] = {0}, itself[] = {3}, later[] = {1, 9}, bare[] = {2}, good[] = {1, 1};
    assert_int_equal(gr_chain_assign(&g->chain, g->arena, 1, (gr_u64s){0}, 0).seq, 1);
    assert_int_equal(gr_chain_assign(&g->chain, g->arena, 2, (gr_u64s){none, 1}, 0).chain, 0);
    assert_int_equal(gr_chain_assign(&g->chain, g->arena, 3, (gr_u64s){itself, 1}, 3).chain, 0);
    assert_int_equal(gr_chain_assign(&g->chain, g->arena, 4, (gr_u64s){later, 2}, 0).chain, 0);
    assert_int_equal(gr_chain_assign(&g->chain, g->arena, 5, (gr_u64s){bare, 1}, 0).chain, 0);
    assert_int_equal(gr_chain_assign(&g->chain, g->arena, 6, (gr_u64s){good, 2}, 1).seq, 2);
    assert_false(gr_chain_reaches(&g->chain, g->arena, 5, 1, &reaches));
    assert_true(gr_chain_reaches(&g->chain, g->arena, 6, 1, &reaches));
    assert_true(reaches);
    uint64_t mixed[] = {6, 5};
    assert_false(gr_chain_subgraph(&g->chain, g->arena, (gr_u64s){mixed, 2}, &found));
    gr_u64s states[2] = {{mixed, 1}, {mixed + 1, 1}};
    assert_false(gr_chain_difference(&g->chain, g->arena, &(gr_chain_states){states, 2, common_above, g},
                                     &found));
    graph_free(g);
}

static void a_place_asked_for_again_is_the_same_and_writes_nothing(void **state)
{
    (void)state;
    graph *g = graph_new(7);
    size_t bytes = g->bytes;
    for (uint64_t n = 1; n <= EVENTS; n++) {
        gr_chain_place before = gr_chain_place_of(&g->chain, g->arena, n), again = place(g, n);
        assert_int_equal(before.chain, again.chain);
        assert_int_equal(before.seq, again.seq);
    }
    assert_int_equal(g->bytes, bytes);
    graph_free(g);
}

static void a_broken_row_is_no_cover(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        graph *g = graph_new(seed);
        bool reaches;
        uint64_t n = 1 + draw(g, EVENTS);
        gr_str *row = &g->rows[0][n];
        for (size_t size = row->size; size-- > 0;) {
            row->size = size;
            assert_false(gr_chain_reaches(&g->chain, g->arena, n, 1, &reaches));
        }
        char noise[12];
        for (size_t i = 0; i < sizeof noise; i++) noise[i] = (char)draw(g, 256);
        noise[0] = (char)(0x10 | draw(g, 4));
        *row = gr_str_of(noise, sizeof noise);
        for (uint64_t a = 1; a <= EVENTS; a++) {
            bool known = gr_chain_reaches(&g->chain, g->arena, a, 1, &reaches);
            (void)known;
        }
        graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_reaches_what_a_walk_finds),
        cmocka_unit_test(places_are_each_given_once_and_chains_hold_what_is_below),
        cmocka_unit_test(the_difference_of_states_is_what_walks_find),
        cmocka_unit_test(the_subgraph_is_all_that_lies_between),
        cmocka_unit_test(an_event_that_cites_what_is_unknown_has_no_cover_nor_have_those_above),
        cmocka_unit_test(a_place_asked_for_again_is_the_same_and_writes_nothing),
        cmocka_unit_test(a_broken_row_is_no_cover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
