/* Traces: records of a message log become the tree of what one request caused. */
#include "bus/message_log.h"
#include "bus/message_log_format.h"
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

static void add(gr_message_log *log, uint64_t span, uint64_t parent, const char *from, const char *to,
                gr_verb verb, const gr_type *type, const void *body, uint64_t at, bool is_committed)
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
    add(two, 4, 1, "room/!r:x", "echo/far", GR_POST, &gr_type_echo, &echo, 700, true);
    add(two, 5, 4, "echo/far", "edge/n2/1", GR_REPLY, &gr_type_echo, &echo, 1300, false);
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
        char path[256];
        gr_segment_path(folder[i], &(gr_segment){.number = 1, .made_ms = fixed_ms(NULL)}, path, sizeof path);
        unlink(path);
        rmdir(folder[i]);
    }
    gr_buf_free(&out);
    gr_arena_free(&arena);
    return rmdir(dir);
}

static gr_str traced(gr_trace_query q)
{
    const char *dirs[] = {folder[0], folder[1], NULL};
    q.dirs = dirs;
    gr_buf_clear(&out);
    assert_int_equal(gr_trace_print(&q, arena, &out).code, GR_OK);
    gr_buf_char(&out, 0);
    out.size--;
    return gr_buf_view(&out);
}

static const char golden[] =
    "trace 0000000000000abc  2023-11-14 22:13:20.000 UTC  1.830 ms  5 messages  3 of them committed\n"
    "            at        queued       handled     committed      released  actor (times in ms)\n"
    "         0.000         0.010         0.100         0.400         0.020"
    "  room/!r:x  ask room_send  from edge/n1/0  [send/17]\n"
    "         0.600         0.010         0.100             -         0.420"
    "    edge/n1/0  reply room_sent  from room/!r:x  [$e1]\n"
    "         0.700         0.010         0.100         0.400         0.020"
    "    echo/far  post echo  from room/!r:x\n"
    "         1.300         0.010         0.100             -         0.420"
    "      edge/n2/1  reply echo  from echo/far\n"
    "         0.900         0.010         0.100         0.400         0.020"
    "    echo/late  post echo  from room/!r:x\n";

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
    const char *dirs[] = {folder[0], NULL};
    gr_trace_query q = {.dirs = dirs, .id = GR_STR("7")};
    assert_int_equal(gr_trace_print(&q, arena, &out).code, GR_NOT_FOUND);
    q.id = GR_STR("!r");
    assert_int_equal(gr_trace_print(&q, arena, &out).code, GR_NOT_FOUND);
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
    text = traced((gr_trace_query){.traces_max = 1});
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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_trace_is_drawn_as_a_tree_over_all_nodes),
        TEST(event_transaction_and_room_find_the_same_trace),
        TEST(what_is_in_no_log_is_not_found),
        TEST(filters_choose_messages_by_actor_type_and_time),
        TEST(json_tells_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
