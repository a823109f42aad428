/* event_order_test.c - events of one transaction are taken oldest first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "proto/event.h"

enum { EVENTS = 40, SEEDS = 200 };

static gr_event named(gr_arena *a, unsigned n)
{
    return (gr_event){.event_id = gr_arena_printf(a, "$%u", n),
                      .prev_events = {gr_arena_alloc(a, GR_EVENT_PREV_MAX * sizeof(gr_str)), 0},
                      .auth_events = {gr_arena_alloc(a, GR_EVENT_AUTH_MAX * sizeof(gr_str)), 0}};
}

/* A random graph in a random order comes out with nobody before those it cites. */
static void nobody_comes_before_those_it_cites(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        gr_arena *a = gr_arena_new(0);
        gr_event events[EVENTS];
        const gr_event *list[EVENTS];
        size_t order[EVENTS], place[EVENTS], position[EVENTS];
        uint64_t r = seed;
        for (unsigned n = 0; n < EVENTS; n++) {
            events[n] = named(a, n);
            for (unsigned k = 0; n > 0 && k < 3; k++) {
                r = r * 6364136223846793005u + 1442695040888963407u;
                gr_strs *to = r >> 63 ? &events[n].prev_events : &events[n].auth_events;
                to->at[to->count++] = events[(r >> 33) % n].event_id;
            }
            events[n].prev_events.at[events[n].prev_events.count++] = GR_STR("$elsewhere");
            list[n] = &events[n];
            place[n] = n;
        }
        for (unsigned n = EVENTS; n > 1; n--) {
            r = r * 6364136223846793005u + 1442695040888963407u;
            size_t other = (r >> 33) % n, kept = place[n - 1];
            place[n - 1] = place[other];
            place[other] = kept;
        }
        for (unsigned n = 0; n < EVENTS; n++) list[n] = &events[place[n]];
        gr_event_order(a, list, EVENTS, order);
        for (size_t n = 0; n < EVENTS; n++) position[place[order[n]]] = n;
        for (size_t n = 0; n < EVENTS; n++)
            for (size_t k = 0; k < n; k++)
                for (int which = 0; which < 2; which++) {
                    gr_strs cited = which ? events[n].prev_events : events[n].auth_events;
                    for (size_t i = 0; i < cited.count; i++)
                        if (gr_str_eq(cited.at[i], events[k].event_id)) assert_true(position[k] < position[n]);
                }
        gr_arena_free(&a);
    }
}

static void the_order_stays_where_nothing_is_cited_and_a_circle_is_broken(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    gr_event events[4];
    const gr_event *list[4];
    size_t order[4];
    for (unsigned n = 0; n < 4; n++) {
        events[n] = named(a, n);
        list[n] = &events[n];
    }
    gr_event_order(a, list, 4, order);
    for (size_t n = 0; n < 4; n++) assert_int_equal(order[n], n);
    events[1].prev_events.at[events[1].prev_events.count++] = events[2].event_id;
    events[2].prev_events.at[events[2].prev_events.count++] = events[1].event_id;
    events[3].prev_events.at[events[3].prev_events.count++] = events[3].event_id;
    gr_event_order(a, list, 4, order);
    static const size_t wanted[] = {0, 3, 1, 2};
    for (size_t n = 0; n < 4; n++) assert_int_equal(order[n], wanted[n]);
    gr_arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_comes_before_those_it_cites),
        cmocka_unit_test(the_order_stays_where_nothing_is_cited_and_a_circle_is_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
