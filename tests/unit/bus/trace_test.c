/* Traces: records of message logs of several nodes become the tree of what one request caused. */
#include "bus/message_log.h"
#include "bus/message_log_format.h"
#include "bus/segment_writer.h"
#include "bus/trace.h"
#include "proto/catalogue.h"
#include "proto/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static gr_arena *arena;
static char dir[32], folder[2][64];
static gr_buf out;

static uint64_t fixed_ms(void *arg)
{
    (void)arg;
    return 1700000000000;
}

#define AT(us) (1700000000000000u + (us))
enum { AHEAD_US = 5000000 }; /* the clock of n2, before that of n1 */

/* sent: 0 when it is from the same node. at: by the clock of the log's node. */
static void add_sent(gr_message_log *log, uint64_t span, uint64_t parent, const char *from, const char *to,
                     gr_verb verb, const gr_type *type, const void *body, uint64_t sent, uint64_t at,
                     bool is_committed)
{
    gr_buf encoded = {0};
    gr_body_encode(&encoded, type, body);
    gr_log_record r = {.trace = 0xabc,
                       .span = span,
                       .parent = parent,
                       .from = gr_str_c(from),
                       .to = gr_str_c(to),
                       .verb = verb,
                       .type = type->id,
                       .sent_us = sent ? AT(sent) : 0,
                       .queued_us = AT(at),
                       .started_us = AT(at + 10),
                       .handled_us = AT(at + 110),
                       .committed_us = is_committed ? AT(at + 510) : 0,
                       .released_us = AT(at + 530),
                       .body = gr_buf_view(&encoded)};
    r.body_size = (uint32_t)r.body.size;
    gr_message_log_add(log, 0, &r);
    gr_buf_free(&encoded);
}

static void add(gr_message_log *log, uint64_t span, uint64_t parent, const char *from, const char *to,
                gr_verb verb, const gr_type *type, const void *body, uint64_t at, bool is_committed)
{
    add_sent(log, span, parent, from, to, verb, type, body, 0, at, is_committed);
}

static void add_clock(gr_message_log *log, const char *peer, int64_t offset_us)
{
    gr_message_log_clock(log, 0, &(gr_log_clock){gr_str_c(peer), AT(0), 80, offset_us});
}

static gr_message_log *open_log(const char *where, const char *node)
{
    gr_message_log *log = NULL;
    gr_message_log_options o = {.dir = where, .node = node, .writers = 1, .clock_ms = fixed_ms, .full = true};
    assert_int_equal(gr_message_log_open(&o, arena, &log).code, GR_OK);
    return log;
}

/* A PUT: the room commits, answers, and posts to two actors, one of them on another node, in another folder.
 */
static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    snprintf(dir, sizeof dir, "/tmp/gr-trace-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    for (int i = 0; i < 2; i++) snprintf(folder[i], sizeof folder[i], "%s/%d", dir, i);
    gr_message_log *one = open_log(folder[0], "n1"), *two = open_log(folder[1], "n2");
    gr_room_send send = {.user = GR_STR("@a:x"), .txn = GR_STR("send/17"), .type = GR_STR("m.room.message")};
    gr_room_sent sent = {.room_id = GR_STR("!r:x"), .event_id = GR_STR("$e1"), .room_pos = 4};
    gr_echo echo = {.text = GR_STR("hello")};
    add(one, 3, 1, "room/!r:x", "echo/late", GR_POST, &gr_type_echo, &echo, 900, true);
    add(one, 1, 0, "edge/n1/0", "room/!r:x", GR_ASK, &gr_type_room_send, &send, 0, true);
    add(one, 2, 1, "room/!r:x", "edge/n1/0", GR_REPLY, &gr_type_room_sent, &sent, 600, false);
    add_clock(two, "n1", -AHEAD_US);
    add_sent(two, 4, 1, "room/!r:x", "echo/far", GR_POST, &gr_type_echo, &echo, 620, 700 + AHEAD_US, true);
    add(two, 5, 4, "echo/far", "edge/n2/1", GR_REPLY, &gr_type_echo, &echo, 1300 + AHEAD_US, false);
    gr_log_record other = {.trace = 0xdef,
                           .span = 9,
                           .from = GR_STR("edge/n1/0"),
                           .to = GR_STR("echo/other"),
                           .verb = GR_TELL,
                           .type = GR_T_echo,
                           .queued_us = AT(50),
                           .handled_us = AT(60)};
    gr_message_log_add(one, 0, &other);
    gr_message_log_close(&one);
    gr_message_log_close(&two);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        size_t count;
        gr_segment *list = NULL;
        assert_true(gr_segment_list(folder[i], arena, &list, &count));
        for (size_t k = 0; k < count; k++) {
            char path[256];
            gr_segment_path(folder[i], &list[k], path, sizeof path);
            unlink(path);
        }
        rmdir(folder[i]);
    }
    gr_buf_free(&out);
    gr_arena_free(&arena);
    return rmdir(dir);
}

/* As `greenroom trace` does it: find in all logs, pick out of all logs, draw. */
static gr_err draw(gr_trace_query q, size_t traces_max, const gr_trace_parts *more)
{
    gr_trace_set *set = gr_trace_set_new(traces_max);
    gr_str segments[2];
    bool is_cut = false;
    for (int i = 0; i < 2; i++)
        assert_int_equal(gr_trace_find(folder[i], &q, NULL, arena, set, NULL).code, GR_OK);
    gr_trace_set_trim(set);
    for (int i = 0; i < 2; i++) {
        gr_buf picked = {0};
        gr_err err = gr_trace_pick(folder[i], set, q.bodies, NULL, NULL, arena, &picked, &is_cut);
        assert_int_equal(err.code, GR_OK);
        assert_false(is_cut);
        segments[i] = gr_arena_str(arena, gr_buf_view(&picked));
        gr_buf_free(&picked);
    }
    gr_trace_set_free(&set);
    gr_trace_parts parts = more ? *more : (gr_trace_parts){0};
    parts.segments = segments;
    parts.segment_count = 2;
    gr_buf_clear(&out);
    return gr_trace_draw(&q, &parts, arena, &out);
}

static gr_str shown(void)
{
    gr_buf_char(&out, 0);
    out.size--;
    return gr_buf_view(&out);
}

static gr_str traced(gr_trace_query q)
{
    assert_int_equal(draw(q, GR_TRACES_MAX, NULL).code, GR_OK);
    return shown();
}

static const char golden[] =
    "trace 0000000000000abc  2023-11-14 22:13:20.000 UTC  1.830 ms  5 messages  3 of them committed\n"
    "  the clock of n2 is 5000.000 ms ahead of that of n1: corrected\n"
    "            at          wire        queued       handled     committed      released"
    "  node  actor (times in ms)\n"
    "         0.000             -         0.010         0.100         0.400         0.020"
    "  n1    room/!r:x  ask room_send  from edge/n1/0  [send/17]\n"
    "         0.600             -         0.010         0.100             -         0.420"
    "  n1      edge/n1/0  reply room_sent  from room/!r:x  [$e1]\n"
    "         0.700         0.080         0.010         0.100         0.400         0.020"
    "  n2      echo/far  post echo  from room/!r:x\n"
    "         1.300             -         0.010         0.100             -         0.420"
    "  n2        edge/n2/1  reply echo  from echo/far\n"
    "         0.900             -         0.010         0.100         0.400         0.020"
    "  n1      echo/late  post echo  from room/!r:x\n";

static void a_trace_is_drawn_as_a_tree_over_all_nodes(void **state)
{
    (void)state;
    assert_string_equal(traced((gr_trace_query){.id = GR_STR("abc")}).ptr, golden);
}

static void event_transaction_and_room_find_the_same_trace(void **state)
{
    (void)state;
    assert_string_equal(traced((gr_trace_query){.id = GR_STR("$e1")}).ptr, golden);
    assert_string_equal(traced((gr_trace_query){.id = GR_STR("17")}).ptr, golden);
    assert_string_equal(traced((gr_trace_query){.id = GR_STR("!r:x")}).ptr, golden);
    assert_string_equal(traced((gr_trace_query){.id = GR_STR("echo/late")}).ptr, golden);
}

static void what_is_in_no_log_is_not_found(void **state)
{
    (void)state;
    assert_int_equal(draw((gr_trace_query){.id = GR_STR("7")}, GR_TRACES_MAX, NULL).code, GR_NOT_FOUND);
    assert_int_equal(draw((gr_trace_query){.id = GR_STR("!r")}, GR_TRACES_MAX, NULL).code, GR_NOT_FOUND);
}

static size_t lines_with(gr_str text, const char *word)
{
    size_t count = 0;
    for (const char *at = text.ptr; (at = strstr(at, word)); at++) count++;
    return count;
}

static void filters_choose_messages_by_actor_type_and_time(void **state)
{
    (void)state;
    gr_str text = traced((gr_trace_query){.id = GR_STR("abc"), .actor = GR_STR("echo/")});
    assert_int_equal(lines_with(text, " post echo"), 2);
    assert_int_equal(lines_with(text, "room_send"), 0);
    assert_int_equal(
        lines_with(traced((gr_trace_query){.id = GR_STR("abc"), .type = GR_STR("room_sent")}), " from "), 1);
    assert_int_equal(
        lines_with(traced((gr_trace_query){.id = GR_STR("abc"), .from_us = AT(650), .to_us = AT(1000)}),
                   " from "),
        2);
    assert_int_equal(lines_with(traced((gr_trace_query){.type = GR_STR("echo")}), "trace "), 2);
    assert_int_equal(draw((gr_trace_query){0}, 1, NULL).code, GR_OK);
    text = shown();
    assert_int_equal(lines_with(text, "trace 0000000000000abc"), 1);
    assert_int_equal(lines_with(text, "trace "), 1);
}

static void json_tells_the_same(void **state)
{
    (void)state;
    const gr_json *json = NULL;
    gr_str text = traced((gr_trace_query){.id = GR_STR("$e1"), .json = true, .bodies = true});
    assert_int_equal(gr_json_parse(arena, gr_str_head(text, text.size - 1), GR_JSON_LAX, &json).code, GR_OK);
    const gr_json *trace = &gr_json_get(json, "traces")->items[0], *rows = gr_json_get(trace, "messages");
    static const int depths[] = {0, 1, 1, 2, 1};
    assert_int_equal(rows->count, 5);
    assert_int_equal(gr_json_integer(gr_json_get(trace, "total_us"), 0), 1830);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(gr_json_integer(gr_json_get(&rows->items[i], "depth"), -1), depths[i]);
    assert_true(gr_str_is(gr_json_text(&rows->items[2], "node"), "n2"));
    assert_true(gr_str_is(gr_json_string(gr_json_path(&rows->items[2], "body/text")), "hello"));
}

static void a_node_that_is_missing_is_named(void **state)
{
    (void)state;
    gr_trace_missing n3 = {GR_STR("n3"), GR_STR("nothing was heard for 3 seconds")};
    gr_trace_parts parts = {.missing = &n3, .missing_count = 1};
    assert_int_equal(draw((gr_trace_query){.id = GR_STR("abc")}, GR_TRACES_MAX, &parts).code, GR_OK);
    assert_int_equal(lines_with(shown(), "n3 is missing: nothing was heard for 3 seconds\n"), 1);
    assert_int_equal(draw((gr_trace_query){.id = GR_STR("abc"), .json = true}, GR_TRACES_MAX, &parts).code, GR_OK);
    assert_int_equal(lines_with(shown(), "\"missing\":[{\"node\":\"n3\",\"why\":\"nothing"), 1);
}

/* Of two nodes with far clocks; the row of the cause is that with the later time. */
static void a_tree_holds_together_when_clocks_are_not_known(void **state)
{
    (void)state;
    gr_segment_writer one, two;
    gr_log_record r = {.trace = 1, .span = 10, .from = GR_STR("edge/n1/0"), .to = GR_STR("echo/a"), .verb = GR_ASK,
                       .type = GR_T_echo, .queued_us = AT(90000), .handled_us = AT(90100)};
    gr_segment_writer_init(&one);
    gr_segment_begin(&one, GR_STR("n1"));
    gr_segment_put_message(&one, &r, (gr_str){0});
    r.span = 11, r.parent = 10, r.from = r.to, r.to = GR_STR("echo/b"), r.sent_us = AT(90100);
    r.queued_us = AT(200), r.handled_us = AT(300);
    gr_segment_writer_init(&two);
    gr_segment_begin(&two, GR_STR("n2"));
    gr_segment_put_message(&two, &r, (gr_str){0});
    gr_str segments[] = {gr_buf_view(&one.out), gr_buf_view(&two.out)};
    gr_trace_parts parts = {.segments = segments, .segment_count = 2};
    gr_trace_query q = {.json = true};
    gr_buf_clear(&out);
    assert_int_equal(gr_trace_draw(&q, &parts, arena, &out).code, GR_OK);
    assert_int_equal(lines_with(shown(), "{\"depth\":0,\"span\":\"000000000000000a\""), 1);
    assert_int_equal(lines_with(shown(), "{\"depth\":1,\"span\":\"000000000000000b\""), 1);
    assert_int_equal(lines_with(shown(), "\"wire_us\":null"), 2);
    q.json = false;
    gr_buf_clear(&out);
    assert_int_equal(gr_trace_draw(&q, &parts, arena, &out).code, GR_OK);
    assert_int_equal(lines_with(shown(), "the clock of n2 is not known"), 1);
    gr_segment_writer_free(&one);
    gr_segment_writer_free(&two);
}

/* Two are the cause of each other, and one of itself. */
static void a_damaged_log_makes_no_circles(void **state)
{
    (void)state;
    gr_segment_writer w;
    gr_segment_writer_init(&w);
    gr_segment_begin(&w, GR_STR("n1"));
    static const uint64_t causes[] = {0, 2, 1, 3};
    for (uint64_t span = 1; span <= 3; span++) {
        gr_log_record r = {.trace = 1, .span = span, .parent = causes[span], .from = GR_STR("echo/a"),
                           .to = GR_STR("echo/b"), .verb = GR_TELL, .type = GR_T_echo, .queued_us = AT(span)};
        gr_segment_put_message(&w, &r, (gr_str){0});
    }
    gr_str segment = gr_buf_view(&w.out);
    gr_trace_parts parts = {.segments = &segment, .segment_count = 1};
    gr_buf_clear(&out);
    assert_int_equal(gr_trace_draw(&(gr_trace_query){0}, &parts, arena, &out).code, GR_OK);
    assert_int_equal(lines_with(shown(), " tell echo"), 3);
    gr_segment_writer_free(&w);
}

/* A transaction id is what a client likes, and an address in a damaged log anything. */
static void names_do_not_drive_the_terminal_nor_break_json(void **state)
{
    (void)state;
    gr_segment_writer w;
    gr_segment_writer_init(&w);
    gr_segment_begin(&w, GR_STR("n\x1b"));
    gr_log_record r = {.trace = 1, .span = 1, .from = GR_STR("echo/\x1b[2J"), .to = GR_STR("echo/\xff\xc2\x9b"),
                       .verb = GR_TELL, .type = GR_T_echo, .queued_us = AT(0)};
    gr_segment_put_message(&w, &r, GR_STR("send/\x07\n"));
    gr_str segment = gr_buf_view(&w.out);
    gr_trace_parts parts = {.segments = &segment, .segment_count = 1};
    gr_buf_clear(&out);
    assert_int_equal(gr_trace_draw(&(gr_trace_query){0}, &parts, arena, &out).code, GR_OK);
    assert_int_equal(lines_with(shown(), "echo/\\xff\\xc2\\x9b  tell echo  from echo/\\x1b[2J  [send/\\x07\\x0a]\n"), 1);
    assert_int_equal(lines_with(shown(), "\x1b"), 0);
    gr_buf_clear(&out);
    assert_int_equal(gr_trace_draw(&(gr_trace_query){.json = true}, &parts, arena, &out).code, GR_OK);
    assert_true(gr_str_utf8(shown()));
    gr_segment_writer_free(&w);
}

static void what_follows_a_place_is_found_once(void **state)
{
    (void)state;
    gr_log_place place = {0}, again;
    gr_trace_query q = {.type = GR_STR("echo")};
    gr_trace_set *set = gr_trace_set_new(5);
    size_t count;
    assert_int_equal(gr_trace_find(folder[0], &q, &place, arena, set, &place).code, GR_OK);
    gr_trace_set_list(set, arena, &count);
    assert_int_equal(count, 2);
    gr_trace_set_free(&set);
    set = gr_trace_set_new(5);
    gr_message_log *log = open_log(folder[0], "n1");
    gr_echo echo = {.text = GR_STR("new")};
    add(log, 3, 1, "room/!r:x", "echo/new", GR_POST, &gr_type_echo, &echo, 900, true);
    gr_message_log_step(log);
    assert_int_equal(gr_trace_find(folder[0], &q, &place, arena, set, &again).code, GR_OK);
    gr_trace_set_list(set, arena, &count);
    assert_int_equal(count, 1);
    gr_buf picked = {0};
    bool is_cut;
    assert_int_equal(gr_trace_pick(folder[0], set, false, &place, &again, arena, &picked, &is_cut).code, GR_OK);
    gr_str segment = gr_buf_view(&picked);
    gr_buf_clear(&out);
    gr_trace_parts parts = {.segments = &segment, .segment_count = 1};
    assert_int_equal(gr_trace_draw(&q, &parts, arena, &out).code, GR_OK);
    assert_int_equal(lines_with(shown(), " post echo"), 1);
    assert_int_equal(lines_with(shown(), "echo/new"), 1);
    gr_buf_free(&picked);
    gr_trace_set_free(&set);
    gr_message_log_close(&log);
}

static void a_set_keeps_the_newest_traces(void **state)
{
    (void)state;
    gr_trace_set *set = gr_trace_set_new(3);
    size_t count;
    for (uint64_t i = 1; i <= 20000; i++) gr_trace_set_add(set, (gr_trace_found){i * 7919, i});
    gr_trace_found *list = gr_trace_set_list(set, arena, &count);
    assert_int_equal(count, 3);
    for (uint64_t i = 0; i < 3; i++) assert_int_equal(list[i].trace, (20000 - i) * 7919);
    assert_true(gr_trace_set_has(set, 20000 * 7919));
    assert_false(gr_trace_set_has(set, 3));
    gr_trace_set_free(&set);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_trace_is_drawn_as_a_tree_over_all_nodes),
        TEST(event_transaction_and_room_find_the_same_trace),
        TEST(what_is_in_no_log_is_not_found),
        TEST(filters_choose_messages_by_actor_type_and_time),
        TEST(json_tells_the_same),
        TEST(a_node_that_is_missing_is_named),
        TEST(a_tree_holds_together_when_clocks_are_not_known),
        TEST(a_damaged_log_makes_no_circles),
        TEST(names_do_not_drive_the_terminal_nor_break_json),
        TEST(what_follows_a_place_is_found_once),
        TEST(a_set_keeps_the_newest_traces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
