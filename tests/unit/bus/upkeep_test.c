/* upkeep_test.c - upkeep of actors as workers run it: every record once, whatever crashes; slower while others wait. */
#include "bus/sim.h"
#include "persistence/update.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Actors of these tests, room/!0 and so on: rows r<n> with a number, made by the message echo {"make", n}, and how many of
 * them the upkeep has raised in row c.  The upkeep "raise" adds one to each, three at a time; "double" comes after it;
 * "daily" counts its rounds in row d.  A row 66 is a bad record; the actor room/!7 refuses. */
enum { ROOMS = 40, ROWS = 20, A_STEP = 3, BAD_ROW = 13, BAD = 66, DAY_MS = 86400000 };

static uint64_t get(gr_ctx *c, gr_str key)
{
    gr_str value;
    return gr_ctx_get(c, key, &value) && value.size == 8 ? gr_u64be(value.ptr) : 0;
}

static void put(gr_ctx *c, gr_str key, uint64_t n)
{
    gr_buf b = {0};
    gr_buf_u64be(&b, n);
    gr_ctx_put(c, key, gr_buf_view(&b));
    gr_buf_free(&b);
}

static gr_str row(gr_ctx *c, uint64_t n) { return gr_arena_printf(gr_ctx_arena(c), "r%03llu", (unsigned long long)n); }

static void change_rows(gr_ctx *c, gr_str cursor, uint64_t add, uint64_t times)
{
    gr_upkeep_done done = {0};
    gr_str bad = GR_STR("a row that is 66");
    uint64_t next = get(c, cursor), rows = get(c, GR_STR("rows"));
    for (; next < rows && done.worked + done.skipped.count < A_STEP; next++) {
        uint64_t value = get(c, row(c, next));
        if (value == BAD) {
            done.skipped = (gr_strs){&bad, 1};
        } else {
            put(c, row(c, next), value * times + add);
            done.worked++;
        }
    }
    put(c, cursor, next);
    done.finished = next == rows;
    gr_ctx_reply(c, &gr_type_upkeep_done, &done);
}

static void do_upkeep(gr_ctx *c, gr_str name)
{
    if (gr_str_is(gr_ctx_self(c), "room/!7")) {
        gr_ctx_fail(c, gr_fail(GR_FORBIDDEN, "not this one"));
    } else if (gr_str_is(name, "daily")) {
        put(c, GR_STR("d"), get(c, GR_STR("d")) + 1);
        gr_ctx_reply(c, &gr_type_upkeep_done, &(gr_upkeep_done){.finished = true, .worked = 1});
    } else {
        bool doubles = gr_str_is(name, "double");
        change_rows(c, doubles ? GR_STR("c2") : GR_STR("c1"), !doubles, 1 + doubles);
    }
}

static void handle(void *self, const gr_msg *m, gr_ctx *c)
{
    (void)self;
    if (m->type == &gr_type_upkeep_step) {
        do_upkeep(c, ((const gr_upkeep_step *)m->body)->name);
    } else if (m->type == &gr_type_echo) {
        const gr_echo *e = m->body;
        if (m->verb == GR_TELL) put(c, GR_STR("told"), 1);
        for (uint64_t i = 0; gr_str_is(e->text, "make") && i < ROWS; i++) put(c, row(c, i), i == BAD_ROW ? BAD : e->number);
        if (gr_str_is(e->text, "make")) put(c, GR_STR("rows"), ROWS);
        uint64_t sum = 0;
        for (uint64_t i = 0; i < ROWS; i++) sum += get(c, row(c, i));
        if (!gr_ctx_upkeep_paused(c, "by hand")) gr_ctx_upkeep(c, "by hand", 1);
        gr_ctx_reply(c, &gr_type_echo, &(gr_echo){.number = gr_str_is(e->text, "days") ? get(c, GR_STR("d")) : sum});
    }
}

static const gr_actor_upkeep upkeep[] = {
    {.name = "raise"}, {.name = "double", .depends = "raise"}, {.name = "daily", .every_ms = DAY_MS},
    {.name = "by hand", .by_timer = true}, {0}};
static const gr_actor_kind old_kind = {.kind = GR_KIND_ROOM, .size = 1, .handle = handle};
static const gr_actor_kind new_kind = {.kind = GR_KIND_ROOM, .size = 1, .handle = handle, .upkeep = upkeep};
static const gr_actor_kind *const old_kinds[] = {&old_kind, NULL}, *const new_kinds[] = {&new_kind, NULL};
/* What a new node runs.  A store is filled by a version without the upkeep first. */
static const gr_actor_kind *kinds_now[2];

static uint64_t call(gr_sim *s, unsigned room, const char *text, uint64_t number)
{
    gr_arena *a = gr_arena_new(0);
    const gr_type *type;
    gr_err err = gr_ok();
    gr_str to = gr_arena_printf(a, "room/!%u", room);
    const gr_echo *e = gr_sim_call(s, to, &gr_type_echo, &(gr_echo){.text = gr_str_c(text), .number = number}, a, &type, &err);
    uint64_t got = gr_failed(err) ? UINT64_MAX : e->number;
    gr_arena_free(&a);
    return got;
}

static gr_sim *filled(const gr_sim_options *o)
{
    gr_sim_options options = *o;
    options.kinds = kinds_now;
    kinds_now[0] = old_kinds[0];
    gr_sim *s = gr_sim_new(&options);
    gr_sim_faults(s, false);
    for (unsigned i = 0; i < ROOMS; i++) call(s, i, "make", 5);
    assert_true(gr_sim_settle(s, 10000));
    kinds_now[0] = new_kinds[0];
    for (unsigned i = 0; i < (o->nodes ? o->nodes : 1); i++) gr_sim_crash(s, i, 3);
    gr_sim_run(s, 5);
    return s;
}

static gr_update_info info_of(gr_sim *s, unsigned nodes, const char *name)
{
    gr_update_info sum = {0}, list[GR_UPDATES_MAX];
    for (unsigned node = 0; node < nodes; node++) {
        gr_worker *w = gr_sim_worker(s, node, 0);
        size_t count = w ? gr_worker_updates(w, list, GR_UPDATES_MAX) : 0;
        for (size_t i = 0; i < count; i++) {
            if (strcmp(list[i].name, name) != 0) continue;
            sum.shards += list[i].shards;
            sum.shards_done += list[i].shards_done;
            sum.worked += list[i].worked;
            sum.skipped += list[i].skipped;
            sum.steps += list[i].steps;
            sum.is_paused |= list[i].is_paused;
        }
    }
    return sum;
}

static bool is_done(gr_sim *s, unsigned nodes)
{
    static const char *const names[] = {"raise", "double", "daily"};
    for (int i = 0; i < 3; i++) {
        gr_update_info u = info_of(s, nodes, names[i]);
        if (u.shards_done != GR_SHARDS) return false;
    }
    return true;
}

static void run_to_end(gr_sim *s, unsigned nodes)
{
    int i = 0;
    for (; i < 2000 && !is_done(s, nodes); i++) gr_sim_run(s, 20);
    assert_true(is_done(s, nodes));
}

static void assert_each_row_was_worked_on_once(gr_sim *s, unsigned nodes)
{
    for (unsigned i = 0; i < ROOMS; i++)
        assert_int_equal(call(s, i, "sum", 0), i == 7 ? 19 * 5 + BAD : 19 * 12 + BAD);
    assert_int_equal(info_of(s, nodes, "raise").worked, (ROOMS - 1) * (ROWS - 1));
    assert_int_equal(info_of(s, nodes, "raise").skipped, ROOMS - 1 + 1);
    assert_int_equal(info_of(s, nodes, "double").worked, (ROOMS - 1) * (ROWS - 1));
}

static void upkeep_goes_through_all_actors_of_its_kind(void **state)
{
    (void)state;
    gr_sim *s = filled(&(gr_sim_options){.seed = 1});
    run_to_end(s, 1);
    assert_each_row_was_worked_on_once(s, 1);
    gr_sim_free(&s);
}

/* Loads, crashes and lost groups at any moment leave the same as an undisturbed run. */
static void a_run_full_of_crashes_gives_what_an_undisturbed_one_gives(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        gr_sim *s = filled(&(gr_sim_options){.seed = seed, .nodes = 2, .crash = 30000, .down_max = 5, .unload = 100000,
                                             .store = {.delay_max = 6}});
        gr_sim_faults(s, true);
        for (unsigned i = 0; i < 300; i++) {
            call(s, i % ROOMS, "sum", 0);
            gr_sim_run(s, 7);
        }
        assert_true(gr_sim_starts(s, 0) > 5);
        gr_sim_faults(s, false);
        run_to_end(s, 2);
        assert_each_row_was_worked_on_once(s, 2);
        assert_int_equal(gr_sim_mismatches(s), 0);
        gr_sim_free(&s);
    }
}

typedef struct { unsigned count; bool found; const char *text; } looking;

static void look(void *arg, uint8_t shard, gr_str text)
{
    looking *l = arg;
    (void)shard;
    l->count++;
    if (gr_str_is(text, l->text)) l->found = true;
}

static bool is_listed(gr_sim *s, const char *name, const char *text)
{
    looking l = {.text = text};
    gr_worker_update_skipped(gr_sim_worker(s, 0, 0), name, look, &l);
    return l.found;
}

static void what_it_can_not_work_on_is_listed_with_the_reason(void **state)
{
    (void)state;
    gr_sim *s = filled(&(gr_sim_options){.seed = 1});
    run_to_end(s, 1);
    assert_true(is_listed(s, "raise", "room/!7: not this one"));
    assert_true(is_listed(s, "raise", "room/!8: a row that is 66"));
    assert_false(is_listed(s, "daily", "room/!8: a row that is 66"));
    gr_sim_free(&s);
}

static gr_crash_slot suspect(const char *address, uint32_t crashes)
{
    gr_crash_slot slot = {.busy = 1, .crashes = crashes, .verb = GR_ASK, .type = GR_T_upkeep_step};
    slot.to_size = slot.from_size = (uint16_t)strlen(address);
    memcpy(slot.to, address, slot.to_size);
    memcpy(slot.from, address, slot.to_size);
    return slot;
}

/* Each start finds the slot once more. */
static void an_actor_whose_upkeep_crashes_is_skipped_the_third_time(void **state)
{
    (void)state;
    gr_sim *s = filled(&(gr_sim_options){.seed = 1});
    gr_sim_crash(s, 0, 3);
    *gr_sim_slot(s, 0, 0) = suspect("room/!9", 1);
    gr_sim_run(s, 5);
    run_to_end(s, 1);
    assert_true(is_listed(s, "raise", "room/!9: its upkeep crashed the server twice"));
    assert_int_equal(call(s, 9, "sum", 0), 2 * 19 * 5 + BAD);      /* and it goes on serving, with what comes later */
    gr_sim_free(&s);
}

static void pause(gr_sim *s, const char *name, bool paused)
{
    assert_false(gr_failed(gr_worker_updates_store_pause(gr_sim_store(s, 0), gr_str_c(name), paused)));
    gr_worker_updates_paused(gr_sim_worker(s, 0, 0));
}

static void paused_upkeep_waits_also_over_a_restart(void **state)
{
    (void)state;
    gr_sim *s = filled(&(gr_sim_options){.seed = 1});
    gr_sim_crash(s, 0, 1);
    gr_sim_run(s, 4);
    pause(s, "raise", true);
    gr_sim_run(s, 200);
    gr_sim_crash(s, 0, 3);
    gr_sim_run(s, 3);
    uint64_t before = info_of(s, 1, "raise").worked;
    gr_sim_run(s, 3000);
    assert_true(info_of(s, 1, "raise").is_paused);
    assert_int_equal(info_of(s, 1, "raise").worked, before);
    assert_int_equal(info_of(s, 1, "daily").shards_done, GR_SHARDS);
    assert_int_not_equal(info_of(s, 1, "double").shards_done, GR_SHARDS);
    pause(s, "raise", false);
    run_to_end(s, 1);
    gr_sim_free(&s);
}

static void recurring_upkeep_runs_again_when_its_time_has_come(void **state)
{
    (void)state;
    gr_sim *s = filled(&(gr_sim_options){.seed = 1});
    run_to_end(s, 1);
    gr_sim_run(s, 5000);
    assert_int_equal(call(s, 3, "days", 0), 1);
    gr_sim_jump(s, DAY_MS);
    gr_sim_run(s, 5000);
    assert_int_equal(call(s, 3, "days", 0), 2);
    assert_int_equal(info_of(s, 1, "daily").worked, 2 * (ROOMS - 1));
    gr_sim_free(&s);
}

static void upkeep_by_timer_is_counted_as_the_actors_tell(void **state)
{
    (void)state;
    gr_sim *s = filled(&(gr_sim_options){.seed = 1});
    for (unsigned i = 0; i < 5; i++) call(s, i, "sum", 0);
    assert_int_equal(info_of(s, 1, "by hand").worked, 5);
    gr_sim_crash(s, 0, 3);
    gr_sim_run(s, 5);
    assert_int_equal(info_of(s, 1, "by hand").worked, 5);
    call(s, 2, "sum", 0);
    assert_int_equal(info_of(s, 1, "by hand").worked, 6);
    gr_sim_free(&s);
}

static void upkeep_by_timer_sees_that_it_is_paused(void **state)
{
    static const char *const names[] = {"by hand", ""};            /* alone, and with all others */
    (void)state;
    gr_sim *s = filled(&(gr_sim_options){.seed = 1});
    call(s, 1, "sum", 0);
    for (int i = 0; i < 2; i++) {
        pause(s, names[i], true);
        call(s, 1, "sum", 0);
        gr_sim_crash(s, 0, 3);
        gr_sim_run(s, 5);
        call(s, 1, "sum", 0);
        assert_int_equal(info_of(s, 1, "by hand").worked, 1 + i);
        assert_true(info_of(s, 1, "by hand").is_paused);
        pause(s, names[i], false);
        call(s, 1, "sum", 0);
        assert_int_equal(info_of(s, 1, "by hand").worked, 2 + i);
    }
    gr_sim_free(&s);
}

/* A message every few milliseconds, and a disk so slow that two groups are always on their way to it. */
static void upkeep_goes_on_beside_a_foreground_that_never_rests(void **state)
{
    (void)state;
    gr_sim *s = filled(&(gr_sim_options){.seed = 1, .store = {.delay_max = 80}});
    for (int i = 0; i < 20000 && !is_done(s, 1); i++) {
        gr_sim_tell(s, 0, GR_STR("room/!1"), &gr_type_echo, &(gr_echo){.text = GR_STR("count")});
        gr_sim_run(s, 5);
    }
    assert_true(is_done(s, 1));
    gr_sim_free(&s);
}

static uint64_t groups_of(gr_sim *s)
{
    gr_worker_counters n;
    gr_worker_count(gr_sim_worker(s, 0, 0), &n);
    return n.groups;
}

/* On a disk that is busy with the messages, it hardly makes commits of its own. */
static void upkeep_goes_along_with_groups_that_wait_for_the_disk(void **state)
{
    enum { TELLS = 400 };
    (void)state;
    gr_sim *s = filled(&(gr_sim_options){.seed = 1, .store = {.delay_max = 40}});
    uint64_t groups = groups_of(s), worked = info_of(s, 1, "raise").worked;
    for (int i = 0; i < TELLS; i++) {
        gr_sim_tell(s, 0, GR_STR("room/!1"), &gr_type_echo, &(gr_echo){.text = GR_STR("count")});
        gr_sim_run(s, 5);
    }
    assert_true(info_of(s, 1, "raise").worked - worked > groups_of(s) - groups);
    gr_sim_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upkeep_goes_through_all_actors_of_its_kind),
        cmocka_unit_test(a_run_full_of_crashes_gives_what_an_undisturbed_one_gives),
        cmocka_unit_test(what_it_can_not_work_on_is_listed_with_the_reason),
        cmocka_unit_test(an_actor_whose_upkeep_crashes_is_skipped_the_third_time),
        cmocka_unit_test(paused_upkeep_waits_also_over_a_restart),
        cmocka_unit_test(recurring_upkeep_runs_again_when_its_time_has_come),
        cmocka_unit_test(upkeep_by_timer_is_counted_as_the_actors_tell),
        cmocka_unit_test(upkeep_by_timer_sees_that_it_is_paused),
        cmocka_unit_test(upkeep_goes_on_beside_a_foreground_that_never_rests),
        cmocka_unit_test(upkeep_goes_along_with_groups_that_wait_for_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
