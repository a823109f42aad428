/* worker_test.c - what a worker does when things are too many, too large, unknown or deadly. */
#include "bus/echo.h"
#include "bus/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* A counter (room/..): "post <address>" posts to it, "many <address>" 300 times, "future <address>" in a type
 * that nobody knows; a post counts; "large"
 * writes too much; "count" answers; "position" answers its position; "hold" keeps the asker.
 * A login actor has the counter hold it whose address it is told. */
typedef struct {
    uint64_t count;
    gr_asker *held;
} counter;

static void load(void *self, gr_str id, gr_ctx *c)
{
    gr_str value;
    (void)id;
    if (gr_ctx_get(c, GR_STR("count"), &value)) ((counter *)self)->count = gr_u64be(value.ptr);
}

static void add_one(counter *k, gr_ctx *c)
{
    gr_buf b = {0};
    gr_buf_u64be(&b, ++k->count);
    gr_ctx_put(c, GR_STR("count"), gr_buf_view(&b));
    gr_buf_free(&b);
}

/* As a later version may send it, which has a type more. */
static const gr_field *future_fields(void) { return gr_type_echo.fields(); }
static const gr_type future_type = {1022, "future", sizeof(gr_echo), future_fields, 2, false, ""};

static void write_much(gr_ctx *c)
{
    static const char bytes[60000];
    for (char i = 'a'; i < 'h'; i++) gr_ctx_put(c, gr_str_of(&i, 1), gr_str_of(bytes, sizeof bytes));
}

static void handle(void *self, const gr_msg *m, gr_ctx *c)
{
    counter *k = self;
    if (m->type != &gr_type_echo) return;
    const gr_echo *e = m->body;
    if (gr_str_is(e->text, "large") || (m->verb == GR_POST && e->number == 77)) write_much(c);
    if (m->verb != GR_ASK || gr_str_is(e->text, "add")) add_one(k, c);
    if (gr_str_starts(e->text, GR_STR("post ")))
        gr_ctx_post(c, gr_str_from(e->text, 5), &gr_type_echo, &(gr_echo){.number = e->number});
    if (gr_str_starts(e->text, GR_STR("future ")))
        gr_ctx_post(c, gr_str_from(e->text, 7), &future_type, &(gr_echo){.number = e->number});
    for (int i = 0; i < 300 && gr_str_starts(e->text, GR_STR("many ")); i++)
        gr_ctx_post(c, gr_str_from(e->text, 5), &gr_type_echo, &(gr_echo){.number = e->number});
    if (gr_str_is(e->text, "hold")) {
        gr_asker_free(&k->held);
        k->held = gr_ctx_keep_asker(c);
    }
    uint64_t number = gr_str_is(e->text, "position") ? gr_ctx_position(c) : k->count;
    gr_ctx_reply(c, &gr_type_echo, &(gr_echo){.number = number});
}

static void drop(void *self) { gr_asker_free(&((counter *)self)->held); }
static bool busy(const void *self) { return ((const counter *)self)->held != NULL; }

static const gr_actor_kind counter_kind = {.kind = GR_KIND_ROOM,
                                           .size = sizeof(counter),
                                           .load = load,
                                           .handle = handle,
                                           .drop = drop,
                                           .busy = busy};

static void load_nothing(void *self, gr_str id, gr_ctx *c) { (void)self, (void)id, (void)c; }

static void ask_to_hold(void *self, const gr_msg *m, gr_ctx *c)
{
    (void)self;
    if (m->verb == GR_TELL)
        gr_ctx_ask(c, ((const gr_echo *)m->body)->text, &gr_type_echo, &(gr_echo){.text = GR_STR("hold")}, 60000,
                   &(gr_resume){0});
}

static const gr_actor_kind asker_kind = {.kind = GR_KIND_LOGIN, .size = 1, .load = load_nothing, .handle = ask_to_hold};
static const gr_actor_kind *const kinds[] = {&gr_echo_kind, &counter_kind, &asker_kind, NULL};

typedef struct {
    gr_sim *sim;
    gr_arena *arena;
} fixture;

static int set_up(void **state)
{
    fixture *f = gr_alloc(sizeof *f);
    f->sim = gr_sim_new(
        &(gr_sim_options){.seed = 5, .nodes = 1, .workers = 2, .kinds = kinds, .memory_max = 4000});
    f->arena = gr_arena_new(0);
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

static gr_err ask(fixture *f, const char *to, const char *text, uint64_t number, uint64_t *out)
{
    const gr_type *type;
    gr_err err = gr_ok();
    gr_echo body = {.text = gr_str_c(text), .number = number};
    const void *reply = gr_sim_call(f->sim, gr_str_c(to), &gr_type_echo, &body, f->arena, &type, &err);
    if (out && !gr_failed(err)) *out = ((const gr_echo *)reply)->number;
    return err;
}

static uint64_t count_of(fixture *f, const char *to)
{
    uint64_t n = 0;
    assert_false(gr_failed(ask(f, to, "count", 0, &n)));
    return n;
}

static gr_worker_counters counters(fixture *f)
{
    gr_worker_counters n;
    gr_sim_count(f->sim, &n);
    return n;
}

static void a_handler_that_writes_too_much_leaves_nothing(void **state)
{
    fixture *f = *state;
    assert_false(gr_failed(ask(f, "room/!a", "add", 0, NULL)));
    assert_int_equal(ask(f, "room/!a", "large", 0, NULL).code, GR_TOO_LARGE);
    assert_int_equal(count_of(f, "room/!a"), 1);
    assert_int_equal(counters(f).undone, 1);
}

typedef struct {
    gr_worker *worker;
    uint64_t count;
    uint8_t shard;
    uint64_t number;
    char reason[64];
} letters;

static bool on_letter(void *arg, const gr_dead_letter *d)
{
    letters *l = arg;
    l->count++;
    l->shard = d->shard;
    l->number = d->number;
    snprintf(l->reason, sizeof l->reason, "%" GR_FMT, GR_ARG(d->reason));
    return true;
}

static letters letters_of(fixture *f, const char *to)
{
    letters l = {.worker = gr_sim_worker_of(f->sim, gr_str_c(to))};
    gr_worker_dead(l.worker, on_letter, &l);
    return l;
}

static void a_post_that_cannot_be_applied_does_not_hold_up_the_next(void **state)
{
    fixture *f = *state;
    ask(f, "room/!a", "post room/!b", 77, NULL);
    ask(f, "room/!a", "post user/!b", 1, NULL); /* no such kind here, the same shard */
    ask(f, "room/!a", "post room/!b", 1, NULL);
    assert_true(gr_sim_settle(f->sim, 5000));
    assert_int_equal(count_of(f, "room/!b"), 1);
    assert_int_equal(counters(f).dead_letters, 2);
    letters l = letters_of(f, "room/!b");
    assert_int_equal(l.count, 2);
    assert_true(gr_worker_dead_drop(l.worker, l.shard, l.number));
    gr_sim_run(f->sim, 10);
    gr_sim_crash(f->sim, 0, 0);
    gr_sim_run(f->sim, 10);
    l = letters_of(f, "room/!b");
    assert_int_equal(l.count, 1);
    assert_string_equal(l.reason, "it writes too much at once");
}

static void a_post_of_an_unknown_type_is_kept_aside_and_those_after_it_go_on(void **state)
{
    fixture *f = *state;
    ask(f, "room/!a", "future room/!b", 1, NULL);
    ask(f, "room/!a", "post room/!b", 1, NULL);
    assert_true(gr_sim_settle(f->sim, 5000));
    assert_int_equal(count_of(f, "room/!b"), 1);
    letters l = letters_of(f, "room/!b");
    assert_int_equal(l.count, 1);
    assert_string_equal(l.reason, "unknown type");
    assert_true(gr_worker_dead_retry(l.worker, l.shard, l.number)); /* still unknown: it stays */
    gr_sim_run(f->sim, 10);
    assert_int_equal(letters_of(f, "room/!b").count, 1);
}

static void outboxes_are_empty_in_the_end(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 20; i++) ask(f, "room/!a", "post room/!b", 1, NULL);
    assert_true(gr_sim_settle(f->sim, 5000));
    gr_sim_run(f->sim, 3000); /* until acknowledged entries are swept */
    uint64_t batches = counters(f).batches;
    gr_sim_run(f->sim, 5000);
    assert_int_equal(counters(f).batches, batches); /* and then nothing is written any more */
    gr_sim_crash(f->sim, 0, 0);
    gr_sim_run(f->sim, 10);
    assert_int_equal(counters(f).outbox, 0);
    assert_int_equal(count_of(f, "room/!b"), 20);
    assert_int_equal(counters(f).posts_resent, 0);
}

static void more_posts_than_the_window_arrive_all_the_same(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 2; i++) ask(f, "room/!a", "many room/!b", 0, NULL);
    assert_true(gr_sim_settle(f->sim, 20000));
    assert_int_equal(count_of(f, "room/!b"), 600);
    assert_int_equal(count_of(f, "room/!a"), 0);
    assert_true(counters(f).posts_resent > 0); /* those were read from the outbox */
}

/* As if the process had died while this message was handled. */
static void die_of(fixture *f, const char *to, gr_verb verb, const char *from, uint64_t seq)
{
    unsigned worker = gr_sim_worker_of(f->sim, gr_str_c(to)) == gr_sim_worker(f->sim, 0, 0) ? 0 : 1;
    gr_crash_slot *slot = gr_sim_slot(f->sim, 0, worker);
    uint32_t crashes = slot->crashes;
    *slot = (gr_crash_slot){.busy = 1,
                            .crashes = crashes,
                            .verb = verb,
                            .type = GR_T_echo,
                            .seq = seq,
                            .to_size = (uint16_t)strlen(to),
                            .from_size = (uint16_t)strlen(from)};
    memcpy(slot->to, to, slot->to_size);
    memcpy(slot->from, from, slot->from_size);
    gr_sim_crash(f->sim, 0, 0);
    gr_sim_run(f->sim, 10);
}

static void a_message_that_crashes_twice_suspends_its_actor_only(void **state)
{
    fixture *f = *state;
    die_of(f, "room/!a", GR_ASK, "edge/n0/0", 0);
    assert_false(gr_failed(ask(f, "room/!a", "add", 0, NULL))); /* the second time it goes well */
    die_of(f, "room/!a", GR_ASK, "edge/n0/0", 0);
    die_of(f, "room/!a", GR_ASK, "edge/n0/0", 0);
    assert_int_equal(ask(f, "room/!a", "add", 0, NULL).code, GR_UNAVAILABLE);
    assert_int_equal(counters(f).suspended, 1);
    assert_false(gr_failed(ask(f, "room/!c", "add", 0, NULL)));
    gr_sim_crash(f->sim, 0, 0);
    gr_sim_run(f->sim, 10);
    assert_int_equal(ask(f, "room/!a", "add", 0, NULL).code, GR_UNAVAILABLE); /* it outlives a restart */
    assert_true(gr_worker_unsuspend(gr_sim_worker_of(f->sim, GR_STR("room/!a")), GR_STR("room/!a")));
    assert_int_equal(count_of(f, "room/!a"), 1);
}

static void idle_actors_go_when_there_are_too_many_but_none_that_waits(void **state)
{
    fixture *f = *state;
    gr_sim_ask(f->sim, 0, GR_STR("room/!held"), &gr_type_echo, &(gr_echo){.text = GR_STR("hold")}, 100000);
    for (int i = 0; i < 200; i++) {
        char to[32];
        snprintf(to, sizeof to, "room/!%d", i);
        assert_false(gr_failed(ask(f, to, "add", 0, NULL)));
    }
    gr_sim_run(f->sim, 10);
    assert_true(counters(f).actors < 60 && counters(f).evictions > 100);
    assert_true(gr_worker_load(gr_sim_worker_of(f->sim, GR_STR("room/!held")), GR_STR("room/!held")));
    for (int i = 0; i < 200; i += 50) {
        char to[32];
        snprintf(to, sizeof to, "room/!%d", i);
        assert_int_equal(count_of(f, to), 1);
    }
}

static void positions_never_repeat_even_when_nothing_was_written(void **state)
{
    fixture *f = *state;
    uint64_t before = 0, after = 0;
    for (int i = 0; i < 5; i++) {
        assert_false(gr_failed(ask(f, "room/!a", "position", 0, &after)));
        assert_true(after > before);
        before = after;
        if (i % 2) gr_sim_crash(f->sim, 0, 0);
        gr_sim_run(f->sim, 10);
    }
}

static void what_nobody_is_addressed_by_is_answered_so(void **state)
{
    fixture *f = *state;
    assert_int_equal(ask(f, "user/@nobody", "count", 0, NULL).code, GR_UNRECOGNIZED);
    const gr_type *type;
    gr_err err = gr_ok();
    ask(f, "room/!a", "add", 0, NULL);
    const gr_result *r =
        gr_sim_call(f->sim, GR_STR("room/!a"), &gr_type_inspect, &(gr_inspect){0}, f->arena, &type, &err);
    assert_true(type == &gr_type_result && gr_str_starts(r->body, GR_STR("{\"kind\":\"room\"")));
}

static void asks_beyond_the_mailbox_are_refused_at_once(void **state)
{
    fixture *f = *state;
    enum { MANY = GR_MAILBOX_ACTOR + 2000 };
    for (int i = 0; i < MANY; i++)
        gr_sim_ask(f->sim, 0, GR_STR("room/!a"), &gr_type_echo, &(gr_echo){.text = GR_STR("add")}, 60000);
    gr_sim_run(f->sim, 2000);
    gr_worker_counters n = counters(f);
    assert_int_equal(n.refused_asks + count_of(f, "room/!a"), MANY);
    assert_int_equal(n.mailbox_depth, 0);
}

/* Refused batches lose their shard, and with it all that its actors asked of each other. */
static void actors_of_one_shard_that_wait_for_each_other_are_lost_together(void **state)
{
    fixture *f = *state;
    gr_sim_free(&f->sim);
    f->sim = gr_sim_new(&(gr_sim_options){.seed = 5, .nodes = 1, .workers = 1, .kinds = kinds,
                                          .store.fenced_per_million = 200000});
    gr_str room = GR_STR("room/!a"), login = GR_STR("login/a");
    for (unsigned i = 0; gr_address_shard(login) != gr_address_shard(room); i++) login = gr_arena_printf(f->arena, "login/%u", i);
    for (int i = 0; i < 200; i++) {
        gr_sim_tell(f->sim, 0, login, &gr_type_echo, &(gr_echo){.text = room});
        gr_sim_tell(f->sim, 0, room, &gr_type_echo, &(gr_echo){.text = GR_STR("add")});
        gr_sim_run(f->sim, 3);
    }
    assert_true(counters(f).lost_shards > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_handler_that_writes_too_much_leaves_nothing),
        TEST(a_post_that_cannot_be_applied_does_not_hold_up_the_next),
        TEST(a_post_of_an_unknown_type_is_kept_aside_and_those_after_it_go_on),
        TEST(outboxes_are_empty_in_the_end),
        TEST(more_posts_than_the_window_arrive_all_the_same),
        TEST(a_message_that_crashes_twice_suspends_its_actor_only),
        TEST(idle_actors_go_when_there_are_too_many_but_none_that_waits),
        TEST(positions_never_repeat_even_when_nothing_was_written),
        TEST(what_nobody_is_addressed_by_is_answered_so),
        TEST(asks_beyond_the_mailbox_are_refused_at_once),
        TEST(actors_of_one_shard_that_wait_for_each_other_are_lost_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
