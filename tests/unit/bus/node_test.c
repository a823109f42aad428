/* A whole node: real threads, sockets, LevelDB, pool and message log, asked through a port. */
#include "bus/echo.h"
#include "bus/message_log.h"
#include "bus/node.h"
#include "bus/trace.h"
#include "proto/json.h"

#include <dirent.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000, STOP_MS = 10000 };

static gr_arena *arena;
static char dir[32], store_dir[64], messages_dir[64];
static gr_store *store;
static gr_node *node;
static gr_port *port;
static uint64_t reply_count, error_count, last_number;

/* --- an actor that counts durably, or lets a pool count --- */
static bool double_it(gr_arena *a, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    gr_str kept = {0};
    (void)input;
    if (!gr_work_get(reader, a, GR_STR("count"), &kept)) return false;
    gr_buf_u64be(output, 2 * gr_u64be(kept.ptr));
    return true;
}
static const gr_work double_work = {"double", double_it};

typedef struct {
    gr_asker *asker;
} tally;

static void tally_count(gr_ctx *c, const gr_echo *e)
{
    gr_str kept;
    gr_buf value = {0};
    uint64_t count = gr_ctx_get(c, GR_STR("count"), &kept) ? gr_u64be(kept.ptr) : 0;
    gr_buf_u64be(&value, count + e->number);
    gr_ctx_put(c, GR_STR("count"), gr_buf_view(&value));
    gr_buf_free(&value);
    gr_echo reply = {.number = count + e->number};
    gr_ctx_reply(c, &gr_type_echo, &reply);
}

static void tally_handle(void *self, const gr_msg *m, gr_ctx *c)
{
    tally *t = self;
    if (m->type == &gr_type_work_done) {
        const gr_work_done *done = m->body;
        gr_echo reply = {.number = done->failed ? 0 : gr_u64be(done->output.ptr)};
        gr_ctx_answer(c, &t->asker, &gr_type_echo, &reply);
    } else if (gr_str_is(((const gr_echo *)m->body)->text, "double")) {
        t->asker = gr_ctx_keep_asker(c);
        gr_ctx_work(c, &double_work, GR_STR("x"), &(gr_resume){0});
    } else {
        tally_count(c, m->body);
    }
}

static void tally_drop(void *self) { gr_asker_free(&((tally *)self)->asker); }
static bool tally_busy(const void *self) { return ((const tally *)self)->asker; }
static const gr_actor_kind tally_kind = {.kind = GR_KIND_NAME,
                                         .size = sizeof(tally),
                                         .handle = tally_handle,
                                         .drop = tally_drop,
                                         .busy = tally_busy};
static const gr_actor_kind *const kinds[] = {&gr_echo_kind, &tally_kind, NULL};

/* --- the node and its port --- */
static void on_reply(void *arg, uint64_t seq, const gr_type *type, const void *body, gr_err err)
{
    (void)arg;
    (void)seq;
    reply_count++;
    if (gr_failed(err)) error_count++;
    if (type == &gr_type_echo) last_number = ((const gr_echo *)body)->number;
}

static const gr_port_handler handler = {on_reply, NULL, NULL};

static void open_node(unsigned workers, gr_node_log log)
{
    gr_store_options so = {.dir = store_dir, .server_name = GR_STR("x"), .create = true, .threaded = true};
    assert_int_equal(gr_store_open(&so, arena, &store).code, GR_OK);
    gr_node_options o = {.name = "n1",
                         .dir = dir,
                         .store = store,
                         .kinds = kinds,
                         .workers = workers,
                         .ports_max = 2,
                         .message_log = log,
                         .in_flight_max = 256};
    assert_int_equal(gr_node_open(&o, arena, &node).code, GR_OK);
    assert_int_equal(gr_node_start(node).code, GR_OK);
    port = gr_port_open(node, 0, &handler);
    assert_non_null(port);
    reply_count = error_count = 0;
}

static void close_node(void)
{
    gr_port_close(&port);
    assert_true(gr_node_stop(node, STOP_MS));
    gr_node_close(&node);
    gr_store_close(&store);
}

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    snprintf(dir, sizeof dir, "/tmp/gr-node-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(store_dir, sizeof store_dir, "%s/store", dir);
    snprintf(messages_dir, sizeof messages_dir, "%s/messages", dir);
    return 0;
}

static void remove_folder(const char *path)
{
    DIR *d = opendir(path);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    rmdir(path);
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(store_dir);
    remove_folder(messages_dir);
    remove_folder(dir);
    gr_arena_free(&arena);
    return 0;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void ask(const char *to, const char *text, uint64_t number)
{
    uint64_t seq;
    gr_echo body = {.text = gr_str_c(text), .number = number};
    gr_err err =
        gr_port_ask(port, gr_str_c(to), &gr_type_echo, &body, now_ms(), PATIENCE_MS, false, 0xabcd, &seq);
    assert_int_equal(err.code, GR_OK);
}

/* Asks time out after PATIENCE_MS, so this ends. */
static void pump_until(uint64_t replies)
{
    uint64_t next;
    while (reply_count < replies) {
        if (gr_port_step(port, now_ms(), 64, &next) > 0) continue;
        poll(&(struct pollfd){gr_port_fd(port), POLLIN, 0}, 1, 1000);
    }
}

static void ask_and_wait(const char *to, const char *text, uint64_t number)
{
    ask(to, text, number);
    pump_until(reply_count + 1);
}

static void asks_to_many_actors_are_all_answered(void **state)
{
    (void)state;
    enum { ASKS = 2000, WINDOW = 64 };
    char to[32];
    open_node(2, GR_NODE_LOG_OFF);
    for (uint64_t i = 0; i < ASKS; i++) {
        if (i >= WINDOW) pump_until(i - WINDOW + 1);
        snprintf(to, sizeof to, "%s/%u", i % 2 ? "echo" : "name", (unsigned)(i * 7 % 100));
        ask(to, "x", 1);
    }
    pump_until(ASKS);
    assert_int_equal(error_count, 0);
    gr_node_counters c;
    gr_node_count(node, &c);
    assert_int_equal(c.asks, ASKS);
    assert_true(c.commits > 0 && c.actors >= 100);
    close_node();
}

static void what_was_answered_is_there_after_a_restart(void **state)
{
    (void)state;
    open_node(1, GR_NODE_LOG_OFF);
    for (int i = 0; i < 5; i++) ask_and_wait("name/a", "x", 3);
    assert_int_equal(last_number, 15);
    close_node();
    /* With more workers the shard lies elsewhere. */
    open_node(3, GR_NODE_LOG_OFF);
    ask_and_wait("name/a", "x", 0);
    assert_int_equal(last_number, 15);
    close_node();
}

static void work_runs_on_the_pool_over_what_is_durable(void **state)
{
    (void)state;
    open_node(2, GR_NODE_LOG_OFF);
    ask_and_wait("name/a", "x", 21);
    ask_and_wait("name/a", "double", 0);
    assert_int_equal(last_number, 42);
    assert_int_equal(error_count, 0);
    close_node();
}

static void a_stop_with_asks_outstanding_is_clean(void **state)
{
    (void)state;
    open_node(2, GR_NODE_LOG_ON);
    for (unsigned i = 0; i < 100; i++) ask(i % 2 ? "name/a" : "name/b", "x", 1);
    close_node();
    open_node(1, GR_NODE_LOG_ON);
    ask_and_wait("name/a", "x", 0);
    assert_int_equal(error_count, 0);
    close_node();
}

static void a_port_that_opens_again_gets_its_answers(void **state)
{
    (void)state;
    open_node(1, GR_NODE_LOG_ON);
    for (int i = 0; i < 3; i++) {
        ask_and_wait("echo/a", "x", 5);
        ask("echo/a", "x", 6);
        gr_port_close(&port);
        port = gr_port_open(node, 0, &handler);
        assert_non_null(port);
    }
    ask_and_wait("echo/a", "x", 7);
    assert_int_equal(last_number, 7);
    assert_int_equal(error_count, 0);
    close_node();
}

static void the_list_of_actors_is_json_of_those_asked_for(void **state)
{
    (void)state;
    const gr_json *list = NULL;
    open_node(2, GR_NODE_LOG_OFF);
    ask_and_wait("echo/a", "x", 1);
    ask_and_wait("echo/b", "x", 1);
    ask_and_wait("name/a", "x", 1);
    assert_int_equal(
        gr_json_parse(arena, gr_node_actors(node, arena, GR_STR("echo/"), 10), GR_JSON_LAX, &list).code,
        GR_OK);
    assert_int_equal(list->count, 2);
    assert_true(gr_str_is(gr_json_text(&list->items[0], "kind"), "echo"));
    assert_int_equal(
        gr_json_parse(arena, gr_node_actors(node, arena, GR_STR(""), 2), GR_JSON_LAX, &list).code, GR_OK);
    assert_int_equal(list->count, 2);
    close_node();
}

static void each_message_is_in_the_log_with_its_commit(void **state)
{
    (void)state;
    gr_buf out = {0};
    const gr_json *json = NULL;
    open_node(1, GR_NODE_LOG_ON);
    ask_and_wait("name/a", "x", 1);
    close_node();
    gr_trace_query q = {.id = GR_STR("abcd"), .json = true};
    gr_trace_set *set = gr_trace_set_new(1);
    gr_buf picked = {0};
    bool is_cut;
    assert_int_equal(gr_trace_find(messages_dir, &q, NULL, arena, set, NULL).code, GR_OK);
    assert_int_equal(gr_trace_pick(messages_dir, set, false, NULL, NULL, arena, &picked, &is_cut).code, GR_OK);
    gr_str segment = gr_buf_view(&picked);
    gr_trace_parts parts = {.segments = &segment, .segment_count = 1};
    assert_int_equal(gr_trace_draw(&q, &parts, arena, &out).code, GR_OK);
    gr_buf_free(&picked);
    gr_trace_set_free(&set);
    assert_int_equal(
        gr_json_parse(arena, gr_str_head(gr_buf_view(&out), out.size - 1), GR_JSON_LAX, &json).code, GR_OK);
    const gr_json *trace = &gr_json_get(json, "traces")->items[0], *rows = gr_json_get(trace, "messages");
    assert_int_equal(rows->count, 2);
    assert_true(gr_str_is(gr_json_text(&rows->items[0], "actor"), "name/a"));
    assert_true(gr_json_is(gr_json_get(&rows->items[0], "committed_us"), GR_JSON_INT));
    assert_true(gr_str_is(gr_json_text(&rows->items[1], "actor"), "edge/n1/0"));
    assert_int_equal(gr_json_integer(gr_json_get(&rows->items[1], "depth"), 0), 1);
    gr_buf_free(&out);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(asks_to_many_actors_are_all_answered),       TEST(what_was_answered_is_there_after_a_restart),
        TEST(work_runs_on_the_pool_over_what_is_durable), TEST(a_stop_with_asks_outstanding_is_clean),
        TEST(a_port_that_opens_again_gets_its_answers),   TEST(the_list_of_actors_is_json_of_those_asked_for),
        TEST(each_message_is_in_the_log_with_its_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
