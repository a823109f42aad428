/* Ports over the real transport: the test plays the workers on the same thread, so every step is its own. */
#include "bus/port.h"
#include "bus/zmq_transport.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { NOW = 1000000, LOG_MAX = 64 };

static gr_arena *arena;
static gr_transport *bus;
static gr_endpoint shards[GR_SHARDS];
static gr_port *port;
static uint64_t next_ms;

/* What the port delivered. */
typedef struct {
    uint64_t seq, number;
    gr_errcode code;
    gr_str text;
} reply;
static reply replies[LOG_MAX];
static size_t reply_count;
static bool asks_again;

/* What reached the workers. */
static gr_envelope arrived[LOG_MAX];
static size_t arrived_count, frame_count;

static void on_reply(void *arg, uint64_t seq, const gr_type *type, const void *body, gr_err err)
{
    (void)arg;
    reply *r = &replies[reply_count++];
    *r = (reply){.seq = seq, .code = err.code, .text = gr_arena_str(arena, gr_str_c(err.text))};
    if (type == &gr_type_echo) r->number = ((const gr_echo *)body)->number;
    uint64_t next;
    if (asks_again)
        assert_int_equal(
            gr_port_ask(port, GR_STR("echo/x"), &gr_type_echo, body, NOW, 50, false, 0, &next).code, GR_OK);
}

static void on_message(void *arg, gr_str from, uint64_t seq, const gr_type *type, const void *body)
{
    (void)arg;
    assert_ptr_equal(type, &gr_type_echo);
    if (seq) gr_port_answer(port, from, seq, type, body);
}

static void open_port(gr_port_options o, int high_water)
{
    arena = gr_arena_new(0);
    reply_count = arrived_count = frame_count = 0;
    asks_again = false;
    gr_zmq_options zmq = {.workers = 2, .ports = 1, .high_water = high_water};
    assert_int_equal(gr_zmq_transport_open(&zmq, arena, &bus).code, GR_OK);
    o.self = (gr_endpoint){0, GR_ENDPOINT_PORT, 0};
    assert_int_equal(gr_zmq_endpoint_open(bus, o.self, arena).code, GR_OK);
    for (uint16_t i = 0; i < 2; i++)
        assert_int_equal(gr_zmq_endpoint_open(bus, (gr_endpoint){0, GR_ENDPOINT_WORKER, i}, arena).code,
                         GR_OK);
    for (uint16_t i = 0; i < GR_SHARDS; i++) shards[i] = (gr_endpoint){0, GR_ENDPOINT_WORKER, i % 2};
    o.transport = bus;
    o.shards = shards;
    o.node = "n1";
    o.seed = 42;
    o.handler = (gr_port_handler){on_reply, on_message, NULL};
    port = gr_port_new(&o);
}

static void close_port(void)
{
    gr_port_close(&port);
    bus->ops->close(bus);
    gr_arena_free(&arena);
}

static gr_err ask(const char *to, uint64_t number, uint64_t timeout_ms, bool patient, uint64_t *seq)
{
    gr_echo body = {.text = GR_STR("hello"), .number = number};
    return gr_port_ask(port, gr_str_c(to), &gr_type_echo, &body, NOW, timeout_ms, patient, 0, seq);
}

static void good_ask(const char *to, uint64_t number, uint64_t timeout_ms, uint64_t *seq)
{
    assert_int_equal(ask(to, number, timeout_ms, false, seq).code, GR_OK);
}

static void on_frame(void *arg, gr_str frame)
{
    (void)arg;
    frame = gr_arena_str(arena, frame);
    frame_count++;
    while (frame.size) {
        size_t size = gr_u32be(frame.ptr);
        assert_int_equal(
            gr_envelope_decode(gr_str_head(gr_str_from(frame, 4), size), &arrived[arrived_count++]).code,
            GR_OK);
        frame = gr_str_from(frame, 4 + size);
    }
}

static void take_arrived(void)
{
    for (uint16_t i = 0; i < 2; i++)
        bus->ops->receive(bus, (gr_endpoint){0, GR_ENDPOINT_WORKER, i}, 100, on_frame, NULL);
}

static void send_to_port(gr_verb verb, uint64_t seq, const gr_type *type, const void *body)
{
    gr_buf encoded = {0}, frame = {0};
    gr_body_encode(&encoded, type, body);
    gr_envelope e = {.trace = 5,
                     .span = 6,
                     .from = GR_STR("echo/x"),
                     .to = gr_port_address(port),
                     .verb = verb,
                     .seq = seq,
                     .type = type->id,
                     .body = gr_buf_view(&encoded)};
    gr_buf_u32be(&frame, 0);
    gr_envelope_encode(&frame, &e);
    frame.ptr[2] = (char)((frame.size - 4) >> 8);
    frame.ptr[3] = (char)(frame.size - 4);
    gr_endpoint worker = {0, GR_ENDPOINT_WORKER, 0}, self = {0, GR_ENDPOINT_PORT, 0};
    assert_true(bus->ops->send(bus, worker, self, gr_buf_view(&frame)));
    gr_buf_free(&encoded);
    gr_buf_free(&frame);
}

static void answer(uint64_t seq, uint64_t number)
{
    gr_echo body = {.number = number};
    send_to_port(GR_REPLY, seq, &gr_type_echo, &body);
}

static size_t step(uint64_t now_ms) { return gr_port_step(port, now_ms, 100, &next_ms); }

static void an_ask_is_answered_once(void **state)
{
    (void)state;
    uint64_t seq;
    open_port((gr_port_options){0}, 0);
    good_ask("echo/x", 1, 500, &seq);
    take_arrived();
    assert_int_equal(arrived_count, 1);
    assert_int_equal(arrived[0].seq, seq);
    assert_int_equal(arrived[0].wait_ms, 500);
    assert_true(arrived[0].trace != 0 && arrived[0].span != 0 && arrived[0].parent == 0);
    assert_true(gr_str_is(arrived[0].from, "edge/n1/0"));
    assert_int_equal(step(NOW), 0);
    assert_int_equal(next_ms, NOW + 500);
    answer(seq, 7);
    answer(seq, 8);
    assert_int_equal(step(NOW), 1);
    assert_int_equal(next_ms, UINT64_MAX);
    assert_int_equal(replies[0].seq, seq);
    assert_int_equal(replies[0].number, 7);
    gr_port_counters c;
    gr_port_count(port, &c);
    assert_int_equal(c.late, 1);
    assert_int_equal(c.in_flight, 0);
    close_port();
}

static void errors_of_actors_arrive_as_errors(void **state)
{
    (void)state;
    uint64_t seq;
    gr_error body = {.code = GR_FORBIDDEN, .text = GR_STR("not you")};
    open_port((gr_port_options){0}, 0);
    good_ask("echo/x", 1, 500, &seq);
    send_to_port(GR_REPLY, seq, &gr_type_error, &body);
    good_ask("echo/x", 2, 500, &seq);
    body.code = 999999;
    send_to_port(GR_REPLY, seq, &gr_type_error, &body);
    step(NOW);
    assert_int_equal(replies[0].code, GR_FORBIDDEN);
    assert_true(gr_str_is(replies[0].text, "not you"));
    assert_int_equal(replies[1].code, GR_UNKNOWN);
    close_port();
}

static void credit_is_bounded_in_all_and_per_worker_and_comes_back(void **state)
{
    (void)state;
    uint64_t seq[8];
    open_port((gr_port_options){.in_flight_max = 3, .in_flight_max_per_worker = 2, .patient_max = 2}, 0);
    /* Two names whose shards lie on different workers. */
    const char *one = "echo/a", *two = "echo/b";
    for (char name[] = "echo/b"; gr_address_shard(gr_str_c(two)) % 2 == gr_address_shard(gr_str_c(one)) % 2;
         name[5]++)
        two = gr_arena_str(arena, gr_str_c(name)).ptr;
    good_ask(one, 1, 500, &seq[0]);
    good_ask(one, 2, 500, &seq[1]);
    assert_false(gr_port_has_credit(port, gr_str_c(one)));
    assert_true(gr_port_has_credit(port, gr_str_c(two)));
    gr_err err = ask(one, 3, 500, false, &seq[2]);
    assert_int_equal(err.code, GR_LIMIT_EXCEEDED);
    assert_true(err.retry_after_ms > 0);
    good_ask(two, 3, 500, &seq[2]);
    assert_false(gr_port_has_credit(port, gr_str_c(two)));
    assert_int_equal(ask(one, 4, 500, true, &seq[3]).code, GR_OK);
    assert_int_equal(ask(two, 5, 500, true, &seq[4]).code, GR_OK);
    assert_int_equal(ask(two, 6, 500, true, &seq[5]).code, GR_LIMIT_EXCEEDED);
    answer(seq[0], 0);
    answer(seq[3], 0);
    step(NOW);
    assert_true(gr_port_has_credit(port, gr_str_c(one)));
    assert_int_equal(ask(two, 6, 500, true, &seq[5]).code, GR_OK);
    assert_false(gr_port_has_credit(port, GR_STR("nobody/x")));
    close_port();
}

static void asks_time_out_in_order_and_late_answers_are_ignored(void **state)
{
    (void)state;
    uint64_t seq[20];
    open_port((gr_port_options){0}, 0);
    for (unsigned i = 0; i < 20; i++) good_ask("echo/x", i, 100 + i * 7 % 20, &seq[i]);
    for (unsigned i = 0; i < 20; i += 4) gr_port_forget(port, seq[i]);
    assert_int_equal(step(NOW + 99), 0);
    assert_int_equal(step(NOW + 200), 15);
    for (size_t i = 0; i < reply_count; i++) {
        assert_int_equal(replies[i].code, GR_TIMEOUT);
        for (unsigned k = 0; i > 0 && k < 20; k++)
            for (unsigned m = 0; m < 20; m++)
                if (seq[k] == replies[i - 1].seq && seq[m] == replies[i].seq)
                    assert_true(k * 7 % 20 < m * 7 % 20);
    }
    for (unsigned i = 0; i < 20; i++) answer(seq[i], 1);
    assert_int_equal(step(NOW), 0);
    close_port();
}

static void what_is_held_leaves_as_one_frame(void **state)
{
    (void)state;
    uint64_t seq;
    open_port((gr_port_options){0}, 0);
    gr_port_hold(port);
    for (unsigned i = 0; i < 10; i++) good_ask("echo/x", i, 100, &seq);
    take_arrived();
    assert_int_equal(frame_count, 0);
    gr_port_flush(port);
    take_arrived();
    assert_int_equal(frame_count, 1);
    assert_int_equal(arrived_count, 10);
    for (unsigned i = 0; i < 10; i++) answer(arrived[i].seq, i);
    asks_again = true;
    assert_int_equal(step(NOW), 10);
    take_arrived();
    assert_int_equal(frame_count, 2);
    assert_int_equal(arrived_count, 20);
    close_port();
}

static void a_full_way_fails_asks_at_once(void **state)
{
    (void)state;
    uint64_t seq;
    unsigned sent = 0;
    open_port((gr_port_options){0}, 2);
    while (sent < 50 && !gr_failed(ask("echo/x", sent, 100, false, &seq))) sent++;
    assert_in_range(sent, 2, 10);
    gr_port_counters c;
    gr_port_count(port, &c);
    assert_int_equal(c.in_flight, sent);
    gr_port_hold(port);
    good_ask("echo/x", 1, 100, &seq);
    gr_port_flush(port);
    assert_int_equal(step(NOW), 1);
    assert_int_equal(replies[0].seq, seq);
    assert_int_equal(replies[0].code, GR_UNAVAILABLE);
    close_port();
}

static void actors_can_ask_the_edge(void **state)
{
    (void)state;
    gr_echo body = {.number = 3};
    open_port((gr_port_options){0}, 0);
    send_to_port(GR_TELL, 9, &gr_type_echo, &body);
    send_to_port(GR_ASK, 9, &gr_type_echo, &body);
    assert_int_equal(step(NOW), 2);
    take_arrived();
    assert_int_equal(arrived_count, 1);
    assert_int_equal(arrived[0].verb, GR_REPLY);
    assert_int_equal(arrived[0].seq, 9);
    assert_int_equal(arrived[0].trace, 5);
    assert_int_equal(arrived[0].parent, 6);
    close_port();
}

static void damaged_frames_are_counted_and_do_no_harm(void **state)
{
    (void)state;
    static const char bytes[] = "\0\0\0\3abc\0\0\0\0\0\0\1\0zz";
    gr_endpoint worker = {0, GR_ENDPOINT_WORKER, 0}, self = {0, GR_ENDPOINT_PORT, 0};
    open_port((gr_port_options){0}, 0);
    for (size_t size = 0; size < sizeof bytes; size++)
        assert_true(bus->ops->send(bus, worker, self, gr_str_of(bytes, size)));
    assert_int_equal(step(NOW), 0);
    gr_port_counters c;
    gr_port_count(port, &c);
    assert_true(c.bad > 0);
    close_port();
}

static void the_descriptor_shows_an_answer(void **state)
{
    (void)state;
    uint64_t seq;
    open_port((gr_port_options){0}, 0);
    struct pollfd p = {gr_port_fd(port), POLLIN, 0};
    step(NOW);
    assert_int_equal(poll(&p, 1, 0), 0);
    good_ask("echo/x", 1, 100, &seq);
    answer(seq, 1);
    assert_int_equal(poll(&p, 1, 0), 1);
    step(NOW);
    assert_int_equal(poll(&p, 1, 0), 0);
    close_port();
}

/* "edge/n1/0", which is the port itself, so that one thread plays both. */
static bool find_edge(void *arg, gr_str address, gr_endpoint *out)
{
    (void)arg;
    *out = (gr_endpoint){0, GR_ENDPOINT_PORT, 0};
    return gr_str_is(address, "edge/n1/0");
}

static void an_edge_may_ask_another_edge(void **state)
{
    (void)state;
    uint64_t seq;
    open_port((gr_port_options){.find_edge = find_edge, .in_flight_max_per_worker = 1}, 0);
    good_ask("edge/n1/0", 7, 1000, &seq);
    assert_int_equal(ask("edge/n1/0", 8, 1000, false, &seq).code, GR_LIMIT_EXCEEDED);
    assert_int_equal(ask("edge/n2/0", 8, 1000, false, &seq).code, GR_INVALID_PARAM);
    for (int i = 0; i < 3; i++) gr_port_step(port, NOW, 100, &next_ms);
    assert_int_equal(reply_count, 1);
    assert_int_equal(replies[0].number, 7);
    close_port();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_edge_may_ask_another_edge),
        cmocka_unit_test(an_ask_is_answered_once),
        cmocka_unit_test(errors_of_actors_arrive_as_errors),
        cmocka_unit_test(credit_is_bounded_in_all_and_per_worker_and_comes_back),
        cmocka_unit_test(asks_time_out_in_order_and_late_answers_are_ignored),
        cmocka_unit_test(what_is_held_leaves_as_one_frame),
        cmocka_unit_test(a_full_way_fails_asks_at_once),
        cmocka_unit_test(actors_can_ask_the_edge),
        cmocka_unit_test(damaged_frames_are_counted_and_do_no_harm),
        cmocka_unit_test(the_descriptor_shows_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
