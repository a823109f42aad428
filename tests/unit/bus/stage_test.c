/* stage_test.c - what a handler sees of its own keyspace, and what it leaves. */
#include "bus/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* An actor that does what its message says: "<verb> <argument>"; what it saw is in `seen`. */
static gr_buf seen;

static bool see(void *arg, gr_str key, gr_str value)
{
    (void)arg;
    gr_buf_printf(&seen, "%" GR_FMT "=%" GR_FMT " ", GR_ARG(key), GR_ARG(value));
    return true;
}

static bool twice(gr_arena *arena, gr_str input, gr_work_reader *r, gr_buf *output)
{
    gr_str stored = GR_STR("none");
    gr_work_get(r, arena, GR_STR("b"), &stored);
    gr_buf_printf(output, "%" GR_FMT "%" GR_FMT " %" GR_FMT, GR_ARG(input), GR_ARG(input), GR_ARG(stored));
    return true;
}

static const gr_work twice_work = {"twice", twice};
static const gr_str a = {"a", 1}, b = {"b", 1}, d = {"d", 1};

static void writes_and_scans(gr_str what, gr_ctx *c)
{
    if (gr_str_is(what, "write")) {
        gr_ctx_put(c, a, GR_STR("1"));
        gr_ctx_put(c, b, GR_STR("2"));
        gr_ctx_put(c, d, GR_STR("4"));
    } else if (gr_str_is(what, "mixed")) {
        gr_ctx_put(c, b, GR_STR("two"));
        gr_ctx_put(c, GR_STR("c"), GR_STR("3"));
        gr_ctx_put(c, GR_STR("c"), GR_STR("three"));
        gr_ctx_del(c, a);
        gr_ctx_scan(c, GR_STR(""), GR_STR(""), false, 0, see, NULL);
    } else if (gr_str_is(what, "down")) {
        gr_ctx_put(c, GR_STR("c"), GR_STR("3"));
        gr_ctx_del(c, b);
        gr_ctx_scan(c, GR_STR(""), d, true, 0, see, NULL);
    } else if (gr_str_is(what, "limit")) {
        gr_ctx_del(c, a);
        gr_ctx_scan(c, GR_STR(""), GR_STR(""), false, 1, see, NULL);
    }
}

static void handle(void *self, const gr_msg *m, gr_ctx *c)
{
    (void)self;
    if (m->type == &gr_type_timer) gr_ctx_put(c, GR_STR("fired"), ((const gr_timer *)m->body)->name);
    if (m->type == &gr_type_work_done) gr_ctx_put(c, GR_STR("work"), ((const gr_work_done *)m->body)->output);
    if (m->type != &gr_type_echo) return;
    gr_str what = ((const gr_echo *)m->body)->text;
    writes_and_scans(what, c);
    if (gr_str_is(what, "all")) {
        gr_ctx_tell(c, GR_STR("user/@b"), &gr_type_done, &(gr_done){0});
        gr_ctx_post_with(c, GR_STR("feed/7"), &gr_type_echo, &(gr_echo){.number = 7}, b);
        gr_ctx_timer(c, GR_STR("t"), gr_ctx_now_ms(c) + 5, true);
        gr_ctx_work(c, &twice_work, GR_STR("xy"), &(gr_resume){.step = 3});
        gr_ctx_done(c);
        gr_ctx_done(c);
    }
    if (gr_str_is(what, "fail")) gr_ctx_fail(c, gr_fail(GR_FORBIDDEN, "no"));
    if (gr_str_is(what, "read") || gr_str_is(what, "read again")) {
        gr_str value;
        for (int i = 0; i < 65; i++)
            gr_ctx_get(c, gr_arena_printf(gr_ctx_arena(c), "r%d", gr_str_is(what, "read") ? i : i % 30), &value);
    }
}

static const gr_actor_kind kind = {.kind = GR_KIND_ROOM, .size = 1, .handle = handle};

static gr_stage *fresh(void)
{
    gr_buf_clear(&seen);
    gr_stage *s = gr_stage_new((const gr_actor_kind *[]){&kind, NULL}, "room/!a", NULL);
    gr_stage_ask(s, &gr_type_echo, &(gr_echo){.text = GR_STR("write")});
    return s;
}

static void say(gr_stage *s, const char *text)
{
    gr_stage_ask(s, &gr_type_echo, &(gr_echo){.text = gr_str_c(text)});
}

static void saw(const char *text)
{
    assert_true(gr_str_is(gr_buf_view(&seen), text));
    gr_buf_free(&seen);
}

static void a_scan_merges_what_the_handler_wrote_itself(void **state)
{
    (void)state;
    gr_stage *s = fresh();
    say(s, "mixed");
    saw("b=two c=three d=4 ");
    assert_int_equal(gr_stage_writes(s), 4);
    gr_stage_free(&s);
}

static void a_descending_scan_does_so_too(void **state)
{
    (void)state;
    gr_stage *s = fresh();
    say(s, "down");
    saw("c=3 a=1 ");
    gr_stage_free(&s);
}

static void rows_hidden_by_own_deletes_do_not_count_against_the_limit(void **state)
{
    (void)state;
    gr_stage *s = fresh();
    say(s, "limit");
    saw("b=2 ");
    gr_stage_free(&s);
}

static void actors_do_not_see_each_other(void **state)
{
    (void)state;
    gr_stage *s = fresh();
    assert_int_equal(gr_stage_keys(s), 3);
    gr_stage_on(s, "room/!");
    assert_int_equal(gr_stage_keys(s), 0);
    gr_stage_on(s, "room/!a/flow/1");
    assert_int_equal(gr_stage_keys(s), 0);
    gr_stage_free(&s);
}

static void effects_are_handed_out_in_order_and_an_ask_is_answered_once(void **state)
{
    (void)state;
    gr_stage *s = fresh();
    say(s, "all");
    assert_int_equal(gr_stage_count(s), 5);
    assert_true(gr_str_is(gr_stage_find(s, GR_TELL, &gr_type_done, 0)->to, "user/@b"));
    const gr_stage_effect *post = gr_stage_find(s, GR_POST, NULL, 0);
    assert_true(gr_str_is(post->attachment, "2") && ((const gr_echo *)post->body)->number == 7);
    assert_int_equal(gr_stage_timer(s, "t")->due_ms, gr_stage_now(s) + 5);
    assert_int_equal(gr_stage_sent(s, GR_REPLY, &gr_type_done), 1);
    gr_stage_free(&s);
}

static void work_runs_on_what_is_stored_and_timers_fire(void **state)
{
    (void)state;
    gr_stage *s = fresh();
    gr_str value;
    bool fired;
    say(s, "all");
    const gr_stage_effect *work = gr_stage_worked(s, 0);
    assert_int_equal(work->resume.step, 3);
    gr_stage_run_work(s, work);
    assert_true(gr_stage_get(s, GR_STR("work"), &value) && gr_str_is(value, "xyxy 2"));
    gr_stage_fire(s, &fired);
    assert_true(fired && gr_stage_get(s, GR_STR("fired"), &value) && gr_str_is(value, "t"));
    gr_stage_fire(s, &fired);
    assert_false(fired);
    gr_stage_free(&s);
}

static void errors_and_passed_bounds_can_be_seen(void **state)
{
    (void)state;
    gr_stage *s = fresh();
    say(s, "fail");
    assert_int_equal(gr_stage_error(s).code, GR_FORBIDDEN);
    assert_false(gr_stage_over_bounds(s));
    say(s, "read");
    assert_true(gr_stage_over_bounds(s));
    gr_stage_free(&s);
}

static void a_row_is_read_once_by_a_handler(void **state)
{
    (void)state;
    gr_stage *s = fresh();
    say(s, "read again");
    assert_false(gr_stage_over_bounds(s));
    gr_stage_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan_merges_what_the_handler_wrote_itself),
        cmocka_unit_test(a_descending_scan_does_so_too),
        cmocka_unit_test(rows_hidden_by_own_deletes_do_not_count_against_the_limit),
        cmocka_unit_test(actors_do_not_see_each_other),
        cmocka_unit_test(effects_are_handed_out_in_order_and_an_ask_is_answered_once),
        cmocka_unit_test(work_runs_on_what_is_stored_and_timers_fire),
        cmocka_unit_test(errors_and_passed_bounds_can_be_seen),
        cmocka_unit_test(a_row_is_read_once_by_a_handler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
