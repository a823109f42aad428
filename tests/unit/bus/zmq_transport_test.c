/* The transport within a process: order, bounds, and never sleeping through a frame or a wake. */
#include "bus/zmq_transport.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const gr_endpoint worker = {0, GR_ENDPOINT_WORKER, 0}, second = {0, GR_ENDPOINT_WORKER, 1};
static const gr_endpoint port = {0, GR_ENDPOINT_PORT, 0}, stranger = {1, GR_ENDPOINT_WORKER, 0};

static gr_arena *arena;
static gr_transport *bus;

static void open_bus(int high_water)
{
    arena = gr_arena_new(0);
    gr_zmq_options options = {.node = 0, .workers = 2, .ports = 1, .high_water = high_water};
    assert_int_equal(gr_zmq_transport_open(&options, arena, &bus).code, GR_OK);
    assert_int_equal(gr_zmq_endpoint_open(bus, port, arena).code, GR_OK);
}

static void open_worker(void) { assert_int_equal(gr_zmq_endpoint_open(bus, worker, arena).code, GR_OK); }

static void close_bus(void)
{
    bus->ops->close(bus);
    gr_arena_free(&arena);
}

typedef struct {
    uint64_t next, bad;
    size_t size;
} checker;

static gr_str numbered(char out[2000], uint64_t number)
{
    memset(out, (int)number, 2000);
    memcpy(out, &number, sizeof number);
    return gr_str_of(out, 8 + number % 1900);
}

static void check_number(void *arg, gr_str frame)
{
    checker *c = arg;
    char expected[2000];
    if (!gr_str_eq(frame, numbered(expected, c->next))) c->bad++;
    c->next++;
    c->size += frame.size;
}

static bool readable(int fd) { return poll(&(struct pollfd){fd, POLLIN, 0}, 1, 0) == 1; }

static void frames_arrive_whole_and_in_order(void **state)
{
    (void)state;
    char bytes[2000];
    checker c = {0};
    open_bus(0);
    open_worker();
    for (uint64_t i = 0; i < 1000; i++) assert_true(bus->ops->send(bus, port, worker, numbered(bytes, i)));
    assert_int_equal(gr_zmq_endpoint_depth(bus, worker), 1000);
    while (bus->ops->receive(bus, worker, 7, check_number, &c) > 0) {}
    assert_int_equal(c.next, 1000);
    assert_int_equal(c.bad, 0);
    assert_int_equal(gr_zmq_endpoint_depth(bus, worker), 0);
    close_bus();
}

static void a_frame_to_nobody_is_refused(void **state)
{
    (void)state;
    open_bus(0);
    assert_false(bus->ops->send(bus, port, worker, GR_STR("x")));
    assert_false(bus->ops->send(bus, port, stranger, GR_STR("x")));
    assert_false(bus->ops->send(bus, port, (gr_endpoint){0, GR_ENDPOINT_WORKER, 9}, GR_STR("x")));
    close_bus();
}

static void a_full_way_refuses_and_does_not_wait(void **state)
{
    (void)state;
    char bytes[2000];
    checker c = {0};
    uint64_t sent = 0;
    open_bus(10);
    open_worker();
    while (sent < 1000 && bus->ops->send(bus, port, worker, numbered(bytes, sent))) sent++;
    assert_in_range(sent, 10, 40);
    while (bus->ops->receive(bus, worker, 100, check_number, &c) > 0) {}
    assert_int_equal(c.next, sent);
    assert_int_equal(gr_zmq_endpoint_depth(bus, worker), 0);
    assert_true(bus->ops->send(bus, port, worker, numbered(bytes, sent)));
    close_bus();
}

static void an_endpoint_that_opens_again_is_found_again(void **state)
{
    (void)state;
    char bytes[2000];
    checker c = {.next = 1};
    open_bus(0);
    open_worker();
    assert_true(bus->ops->send(bus, port, worker, numbered(bytes, 0)));
    gr_zmq_endpoint_close(bus, worker);
    assert_false(bus->ops->send(bus, port, worker, numbered(bytes, 0)));
    open_worker();
    assert_true(bus->ops->send(bus, port, worker, numbered(bytes, 1)));
    assert_int_equal(bus->ops->receive(bus, worker, 10, check_number, &c), 1);
    assert_int_equal(c.bad, 0);
    close_bus();
}

static void the_descriptor_is_readable_while_frames_wait(void **state)
{
    (void)state;
    char bytes[2000];
    checker c = {0};
    open_bus(0);
    open_worker();
    assert_true(bus->ops->send(bus, port, worker, numbered(bytes, 0)));
    int fd = bus->ops->fd(bus, worker);
    assert_true(readable(fd));
    for (uint64_t i = 1; i < 5; i++) assert_true(bus->ops->send(bus, port, worker, numbered(bytes, i)));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(bus->ops->receive(bus, worker, 2, check_number, &c), 2);
        assert_true(readable(fd));
    }
    assert_int_equal(bus->ops->receive(bus, worker, 2, check_number, &c), 1);
    assert_false(readable(fd));
    assert_true(bus->ops->send(bus, port, worker, numbered(bytes, 5)));
    assert_true(readable(fd));
    assert_int_equal(bus->ops->receive(bus, worker, 1, check_number, &c), 1);
    assert_int_equal(bus->ops->receive(bus, worker, 1, check_number, &c), 0);
    assert_false(readable(fd));
    bus->ops->wake(bus, worker);
    assert_true(readable(fd));
    assert_int_equal(bus->ops->receive(bus, worker, 1, check_number, &c), 0);
    assert_false(readable(fd));
    close_bus();
}

static void a_wake_before_the_wait_is_not_missed(void **state)
{
    (void)state;
    open_bus(0);
    open_worker();
    bus->ops->wake(bus, worker);
    bus->ops->wait(bus, worker, GR_ZMQ_WAIT_MAX_MS);
    bus->ops->wait(bus, worker, 0);
    close_bus();
}

/* Another thread answers each frame with the same; both sleep whenever there is nothing. */
typedef struct {
    gr_endpoint at;
    uint64_t rounds, wakes;
    atomic_uint woken;
} echoer;

static void send_back(void *arg, gr_str frame)
{
    echoer *e = arg;
    gr_assert(bus->ops->send(bus, e->at, port, frame));
    e->rounds++;
}

static void *echo(void *arg)
{
    echoer *e = arg;
    gr_arena *own = gr_arena_new(0);
    uint64_t rounds = e->rounds;
    gr_assert(!gr_failed(gr_zmq_endpoint_open(bus, e->at, own)));
    bus->ops->wake(bus, port);
    e->rounds = 0;
    while (e->rounds < rounds || atomic_load(&e->woken) == 0)
        if (bus->ops->receive(bus, e->at, 16, send_back, e) == 0)
            bus->ops->wait(bus, e->at, GR_ZMQ_WAIT_MAX_MS);
    gr_zmq_endpoint_close(bus, e->at);
    gr_arena_free(&own);
    return NULL;
}

static void nothing_is_slept_through(void **state)
{
    (void)state;
    enum { ROUNDS = 20000 };
    echoer e = {.at = second, .rounds = ROUNDS};
    pthread_t thread;
    char bytes[2000];
    checker c = {0};
    open_bus(0);
    assert_int_equal(pthread_create(&thread, NULL, echo, &e), 0);
    bus->ops->wait(bus, port, GR_ZMQ_WAIT_MAX_MS);
    uint64_t sent = 0;
    while (c.next < ROUNDS) {
        uint64_t window = 1 + sent / 1000 % 3 * 8;
        while (sent < ROUNDS && sent - c.next < window
               && bus->ops->send(bus, port, second, numbered(bytes, sent)))
            sent++;
        if (bus->ops->receive(bus, port, 100, check_number, &c) == 0)
            bus->ops->wait(bus, port, GR_ZMQ_WAIT_MAX_MS);
    }
    assert_int_equal(c.bad, 0);
    atomic_store(&e.woken, 1);
    bus->ops->wake(bus, second);
    pthread_join(thread, NULL);
    assert_int_equal(e.rounds, ROUNDS);
    close_bus();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_arrive_whole_and_in_order),
        cmocka_unit_test(a_frame_to_nobody_is_refused),
        cmocka_unit_test(a_full_way_refuses_and_does_not_wait),
        cmocka_unit_test(an_endpoint_that_opens_again_is_found_again),
        cmocka_unit_test(the_descriptor_is_readable_while_frames_wait),
        cmocka_unit_test(a_wake_before_the_wait_is_not_missed),
        cmocka_unit_test(nothing_is_slept_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
