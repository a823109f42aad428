/* level_test.c - a cluster in which nodes understand a feature level more than the cluster is at: nothing of it is sent, written
 * to an outbox or stored before the level rises. Built with the catalogue and the echo actor of tests/next. */
#include "bus/echo.h"
#include "bus/level.h"
#include "bus/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { HERE, THERE, NODES };
static const gr_actor_kind *const kinds[] = {&gr_echo_kind, NULL};

typedef struct {
    gr_sim *sim;
    gr_arena *arena;
    gr_level levels[NODES];
    const char *here, *there; /* actors of the two nodes */
} fixture;

static const char *actor_of(fixture *f, unsigned node)
{
    for (int i = 0;; i++) {
        gr_str address = gr_arena_printf(f->arena, "echo/x%d", i);
        if (gr_sim_worker_of(f->sim, address) == gr_sim_worker(f->sim, node, 0)) return address.ptr;
    }
}

static int set_up(void **state)
{
    fixture *f = gr_alloc(sizeof *f);
    for (unsigned i = 0; i < NODES; i++) f->levels[i] = (gr_level){.low = 1, .high = 2, .now = 1};
    f->sim = gr_sim_new(&(gr_sim_options){.seed = 3, .nodes = NODES, .kinds = kinds, .levels = f->levels});
    f->arena = gr_arena_new(0);
    f->here = actor_of(f, HERE);
    f->there = actor_of(f, THERE);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    gr_sim_free(&f->sim);
    gr_arena_free(&f->arena);
    free(f);
    return 0;
}

static void raise_all(fixture *f)
{
    for (unsigned i = 0; i < NODES; i++) atomic_store(&f->levels[i].now, 2);
    gr_sim_run(f->sim, 2);
}

/* Tells the actor here to post on: see tests/next/echo.c. */
static gr_err pass_on(fixture *f, const char *how)
{
    const gr_type *type;
    gr_err err;
    gr_echo body = {.text = gr_arena_printf(f->arena, "%s%s", how, f->there), .number = 5000, .mark = GR_STR("red")};
    gr_sim_call(f->sim, gr_str_c(f->here), &gr_type_echo, &body, f->arena, &type, &err);
    return err;
}

static void there_is(fixture *f, const char *wanted)
{
    const gr_type *type;
    gr_err err;
    assert_true(gr_sim_settle(f->sim, 20000));
    const gr_result *r = gr_sim_call(f->sim, gr_str_c(f->there), &gr_type_inspect, &(gr_inspect){0}, f->arena, &type, &err);
    assert_int_equal(err.code, GR_OK);
    gr_str text = gr_arena_str(f->arena, r->body);
    if (!strstr(text.ptr, wanted)) fail_msg("%s is not in %s", wanted, text.ptr);
}

static gr_worker_counters counters(fixture *f)
{
    gr_worker_counters n;
    gr_sim_count(f->sim, &n);
    return n;
}

static void a_newer_field_travels_and_is_stored_once_the_level_has_risen(void **state)
{
    fixture *f = *state;
    assert_int_equal(pass_on(f, "").code, GR_OK);
    there_is(f, "\"row\":10,\"number\":5000,\"text\":\"post\",\"mark\":\"\"");
    raise_all(f);
    assert_int_equal(pass_on(f, "").code, GR_OK);
    there_is(f, "\"row\":15,\"number\":5000,\"text\":\"post\",\"mark\":\"red\"");
}

static void a_newer_type_is_sent_once_the_level_has_risen(void **state)
{
    fixture *f = *state;
    assert_int_equal(pass_on(f, "note ").code, GR_OK);
    there_is(f, "\"text\":\"post\"");      /* in the old form */
    raise_all(f);
    assert_int_equal(pass_on(f, "note ").code, GR_OK);
    there_is(f, "\"text\":\"note\"");
    assert_int_equal(counters(f).dead_letters, 0);
}

static void a_handler_that_forgets_the_level_leaves_nothing_and_fails(void **state)
{
    fixture *f = *state;
    gr_err err = pass_on(f, "blind ");
    assert_int_equal(err.code, GR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "being upgraded"));
    assert_true(gr_sim_settle(f->sim, 20000));
    assert_int_equal(counters(f).posts, 0);
    assert_int_equal(counters(f).outbox, 0);
    raise_all(f);
    assert_int_equal(pass_on(f, "blind ").code, GR_OK);
    there_is(f, "\"text\":\"note\"");
}

static void what_waited_in_an_outbox_keeps_the_meaning_in_which_it_was_written(void **state)
{
    fixture *f = *state;
    gr_sim_crash(f->sim, THERE, 300);
    assert_int_equal(pass_on(f, "").code, GR_OK);
    gr_sim_crash(f->sim, HERE, 1);         /* it is read from the outbox after this */
    raise_all(f);
    there_is(f, "\"number\":5000,\"text\":\"post\",\"mark\":\"\"");
    assert_int_equal(pass_on(f, "").code, GR_OK);
    there_is(f, "\"number\":5000,\"text\":\"post\",\"mark\":\"red\"");
}

/* --- where a node stands ---------------------------------------------------------------------------------------- */
typedef struct {
    gr_arena *arena;
    gr_memory_disk *disk;
    gr_engine *engine;
    gr_store *store;
} shelf;

static void open_shelf(shelf *s)
{
    s->engine = gr_memory_engine_new(s->disk, &(gr_memory_options){.seed = 1});
    gr_store_options o = {.server_name = GR_STR("x"), .create = true, .incarnation = 1, .engine = s->engine};
    assert_int_equal(gr_store_open(&o, s->arena, &s->store).code, GR_OK);
}

static gr_err open_level(shelf *s, gr_level *l, uint32_t low, uint32_t high, bool is_alone)
{
    gr_level_close(l);
    gr_store_close(&s->store);
    open_shelf(s);
    return gr_level_open(l, s->store, low, high, is_alone, s->arena);
}

static void the_level_is_kept_and_programs_that_do_not_understand_it_are_refused(void **state)
{
    shelf s = {.arena = gr_arena_new(0), .disk = gr_memory_disk_new()};
    gr_level l = {0};
    (void)state;
    assert_int_equal(open_level(&s, &l, 1, 2, false).code, GR_OK);
    assert_int_equal(gr_level_now(&l), 1);         /* others may not understand more */
    assert_int_equal(open_level(&s, &l, 1, 2, true).code, GR_OK);
    assert_int_equal(gr_level_now(&l), 2);
    assert_int_equal(open_level(&s, &l, 1, 3, false).code, GR_OK);
    assert_int_equal(gr_level_now(&l), 2);         /* it never falls */
    assert_int_equal(gr_level_raise(&l, 1).code, GR_OK);
    assert_int_equal(gr_level_now(&l), 2);
    gr_err err = open_level(&s, &l, 1, 1, false);
    assert_int_equal(err.code, GR_BAD_STATE);
    assert_non_null(strstr(err.text, "is at feature level 2, and this greenroom understands levels up to 1"));
    err = open_level(&s, &l, 3, 4, false);
    assert_int_equal(err.code, GR_BAD_STATE);
    assert_non_null(strstr(err.text, "levels from 3 on"));
    gr_level_close(&l);
    gr_store_close(&s.store);
    gr_memory_disk_free(&s.disk);
    gr_arena_free(&s.arena);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_newer_field_travels_and_is_stored_once_the_level_has_risen),
        TEST(a_newer_type_is_sent_once_the_level_has_risen),
        TEST(a_handler_that_forgets_the_level_leaves_nothing_and_fails),
        TEST(what_waited_in_an_outbox_keeps_the_meaning_in_which_it_was_written),
        cmocka_unit_test(the_level_is_kept_and_programs_that_do_not_understand_it_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
