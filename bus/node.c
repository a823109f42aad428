/* node.c - wires workers, transport, pool and logs together, and runs each worker in a thread. See node.h. */
#include "bus/node.h"
#include "bus/clock.h"
#include "bus/message_log.h"
#include "bus/node_inside.h"
#include "bus/poison.h"
#include "bus/pool.h"
#include "bus/zmq_transport.h"
#include "proto/level.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { POLL_MS = 5, CLOSE_WITHIN_MS = 10000 };

/* --- clocks --- */
static uint64_t read_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Begins at the time of day and never jumps: for durations, and for times in the message log. */
static uint64_t clock_us(void *arg)
{
    const gr_node *n = arg;
    return n->clock_base_us + read_us(CLOCK_MONOTONIC);
}

static struct timespec after_ms(uint64_t ms)
{
    uint64_t us = read_us(CLOCK_MONOTONIC) + ms * 1000;
    return (struct timespec){(time_t)(us / 1000000), (long)(us % 1000000 * 1000)};
}

static void secure_random(void *arg, void *out, size_t size)
{
    (void)arg;
    randombytes_buf(out, size);
}

/* --- opening --- */
static bool find_edge(void *arg, gr_str address, gr_endpoint *out)
{
    const gr_node *n = arg;
    gr_str id = gr_address_id(address);
    ptrdiff_t slash = gr_str_find(id, '/');
    uint64_t index;
    if (gr_address_kind(address) != GR_KIND_EDGE || slash < 0) return false;
    if (!gr_str_u64(gr_str_from(id, (size_t)slash + 1), &index)) return false;
    gr_str node = gr_str_head(id, (size_t)slash);
    int other = n->options.cluster ? gr_cluster_find(n->options.cluster, node) : -1;
    if (other >= 0 && other != n->self) {
        *out = (gr_endpoint){(uint16_t)other, GR_ENDPOINT_NODE, 0};
        return true;
    }
    if (!gr_str_is(node, n->name) || index >= n->options.ports_max) return false;
    *out = (gr_endpoint){n->self, GR_ENDPOINT_PORT, (uint16_t)index};
    return true;
}

static void log_record(void *arg, const gr_log_record *record)
{
    const node_worker *w = arg;
    gr_message_log_add(w->node->log, w->index, record);
}

static void clock_seen(void *arg, unsigned node, int64_t offset_us, uint64_t rtt_us)
{
    const gr_node *n = arg;
    gr_log_clock clock = {gr_str_c(n->options.cluster->nodes[node].name), clock_us(arg), rtt_us, offset_us};
    gr_message_log_clock(n->log, n->worker_count + n->options.ports_max, &clock);
}

static gr_err open_log(gr_node *n, gr_arena *a)
{
    if (n->options.message_log == GR_NODE_LOG_OFF || !n->options.dir) return gr_ok();
    gr_str dir = gr_arena_printf(a, "%s/messages", n->options.dir);
    gr_message_log_options o = {
        .dir = dir.ptr,
        .node = n->name,
        .full = n->options.message_log == GR_NODE_LOG_FULL,
        .threaded = true,
        .bytes_max = n->options.message_log_bytes,
        .age_max_ms = n->options.message_log_age_ms,
        .writers = n->worker_count + n->options.ports_max + 1, /* the last: the thread that speaks with other nodes */
    };
    return gr_message_log_open(&o, a, &n->log);
}

static void complain(void *arg, const char *text)
{
    gr_node *n = arg;
    n->options.cluster_log(n->options.cluster_log_arg, true, text);
}

static gr_err open_worker(gr_node *n, unsigned index, gr_arena *a)
{
    node_worker *w = &n->workers[index];
    *w = (node_worker){.node = n, .index = index, .self = {n->self, GR_ENDPOINT_WORKER, (uint16_t)index}};
    gr_worker_options o = {
        .self = w->self,
        .shards = n->shards,
        .find_edge = find_edge,
        .find_edge_arg = n,
        .store = n->options.store,
        .kinds = n->options.kinds,
        .env = n->options.env,
        .level = &n->level,
        .transport = n->transport,
        .work = gr_pool_seam(n->pool),
        .http = n->options.http,
        .clock_us = clock_us,
        .clock_arg = n,
        .random = secure_random,
        .complain = n->options.cluster_log ? complain : NULL,
        .complain_arg = n,
        .memory_max = n->options.actors_memory_max,
        .crash = n->poison ? gr_poison_slot(n->poison, index) : NULL,
    };
    /* Ids are looked for in bodies also when bodies are not kept. */
    if (n->log) {
        o.log = log_record;
        o.log_arg = w;
        o.log_bodies = true;
    }
    randombytes_buf(&o.seed, sizeof o.seed);
    return gr_worker_new(&o, a, &w->worker);
}

static gr_err open_level(gr_node *n, gr_arena *a)
{
    uint32_t low = n->options.level_low, high = n->options.level_high;
    bool is_alone = !n->options.cluster || n->options.cluster->node_count == 1;
    return gr_level_open(&n->level, n->options.store, low ? low : GR_LEVEL_LOW, high ? high : GR_LEVEL_HIGH, is_alone, a);
}

static gr_err open_parts(gr_node *n, gr_arena *a)
{
    gr_zmq_link_options link = {.cluster = n->options.cluster,
                                .secret_key = n->options.cluster_key,
                                .bind = n->options.cluster_bind,
                                .worker = n->worker_of,
                                .level = &n->level,
                                .window_bytes = (size_t)GR_ZMQ_WINDOW_BYTES * (n->worker_count + 1),
                                .clock_us = clock_us,
                                .clock_arg = n,
                                .log = n->options.cluster_log,
                                .log_arg = n->options.cluster_log_arg};
    if (n->options.message_log != GR_NODE_LOG_OFF && n->options.dir) {
        link.clock_seen = clock_seen;
        link.clock_seen_arg = n;
    }
    gr_zmq_options zmq = {.node = n->self,
                          .workers = (uint16_t)n->worker_count,
                          .ports = (uint16_t)n->options.ports_max,
                          .link = n->options.cluster ? &link : NULL};
    gr_err err = open_level(n, a);
    if (!gr_failed(err)) err = open_log(n, a);
    if (!gr_failed(err)) err = gr_zmq_transport_open(&zmq, a, &n->transport);
    if (!gr_failed(err)) err = gr_pool_open(n->options.pool_threads, 0, 0, a, &n->pool);
    if (!gr_failed(err) && n->options.dir)
        err = gr_poison_open(n->options.dir, n->worker_count, a, &n->poison);
    for (unsigned i = 0; i < n->worker_count && !gr_failed(err); i++) err = open_worker(n, i, a);
    return err;
}

/* Shards of other nodes lead there; the own ones go round the workers. */
static gr_err deal_shards(gr_node *n, gr_arena *a)
{
    const gr_cluster *c = n->options.cluster;
    int self = c ? gr_cluster_find(c, gr_str_c(n->name)) : 0;
    unsigned own = 0;
    if (self < 0) return gr_failf(a, GR_INVALID_PARAM, "the cluster file has no node %s", n->name);
    n->self = (uint16_t)self;
    for (unsigned s = 0; s < GR_SHARDS; s++) {
        if (c && c->owner[s] != self) {
            n->shards[s] = (gr_endpoint){c->owner[s], GR_ENDPOINT_NODE, 0};
            continue;
        }
        n->worker_of[s] = (uint8_t)(own++ % n->worker_count);
        n->shards[s] = (gr_endpoint){n->self, GR_ENDPOINT_WORKER, n->worker_of[s]};
    }
    return gr_ok();
}

gr_err gr_node_open(const gr_node_options *options, gr_arena *a, gr_node **out)
{
    gr_assert(options->workers > 0 && options->workers <= GR_SHARDS && options->store && options->name);
    gr_node *n = gr_alloc(sizeof *n);
    *out = NULL;
    n->options = *options;
    if (n->options.ports_max == 0) n->options.ports_max = 1;
    if (n->options.in_flight_max == 0) n->options.in_flight_max = 4096;
    /* A worker may get twice its share, so that one busy room doesn't find the whole node full. */
    if (n->options.in_flight_max_per_worker == 0)
        n->options.in_flight_max_per_worker = options->workers == 1
                                                  ? n->options.in_flight_max
                                                  : n->options.in_flight_max * 2 / options->workers;
    n->name = gr_str_dup(gr_str_c(options->name));
    n->worker_count = options->workers;
    n->workers = gr_alloc(options->workers * sizeof *n->workers);
    n->clock_base_us = read_us(CLOCK_REALTIME) - read_us(CLOCK_MONOTONIC);
    gr_err err = deal_shards(n, a);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (!gr_failed(err)) err = open_parts(n, a);
    if (gr_failed(err)) gr_node_close(&n);
    *out = n;
    return err;
}

/* --- threads --- */
static void report(gr_node *n, unsigned *counter)
{
    pthread_mutex_lock(&n->lock);
    (*counter)++;
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
}

/* Opens the own endpoint, and waits until all others have opened theirs: no frame of the first steps is
 * refused. */
static bool begin(node_worker *w)
{
    gr_node *n = w->node;
    gr_arena *a = gr_arena_new(0);
    gr_err err = gr_zmq_endpoint_open(n->transport, w->self, a);
    pthread_mutex_lock(&n->lock);
    if (gr_failed(err)) n->failed++;
    n->ready++;
    pthread_cond_broadcast(&n->changed);
    while (atomic_load(&n->phase) == NODE_STARTING) pthread_cond_wait(&n->changed, &n->lock);
    pthread_mutex_unlock(&n->lock);
    gr_arena_free(&a);
    return atomic_load(&n->phase) == NODE_SERVING || atomic_load(&n->phase) == NODE_STOPPING;
}

static void *run(void *arg)
{
    node_worker *w = arg;
    gr_node *n = w->node;
    bool is_told = false, is_drained = false;
    gr_clock clock = {0};
    if (!begin(w)) return NULL;
    for (node_phase phase; (phase = atomic_load(&n->phase)) != NODE_ENDED;) {
        if (phase == NODE_STOPPING && !is_told) {
            gr_worker_stop(w->worker);
            is_told = true;
        }
        uint64_t now_ms = gr_clock_now_ms(&clock);
        gr_step step = gr_worker_step(w->worker, now_ms);
        if (is_told && !is_drained && gr_worker_drained(w->worker)) {
            is_drained = true;
            report(n, &n->drained);
        }
        if (step.next_ms > now_ms) n->transport->ops->wait(n->transport, w->self, step.next_ms - now_ms);
    }
    return NULL;
}

static void set_phase(gr_node *n, node_phase phase)
{
    pthread_mutex_lock(&n->lock);
    atomic_store(&n->phase, phase);
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
    for (unsigned i = 0; i < n->worker_count; i++) n->transport->ops->wake(n->transport, n->workers[i].self);
}

static void join_all(gr_node *n)
{
    set_phase(n, NODE_ENDED);
    for (unsigned i = 0; i < n->worker_count; i++)
        if (n->workers[i].is_running) pthread_join(n->workers[i].thread, NULL);
    for (unsigned i = 0; i < n->worker_count; i++) n->workers[i].is_running = false;
}

gr_err gr_node_start(gr_node *n)
{
    gr_assert(atomic_load(&n->phase) == NODE_OPEN);
    unsigned started = 0;
    atomic_store(&n->phase, NODE_STARTING);
    for (; started < n->worker_count; started++) {
        node_worker *w = &n->workers[started];
        if (pthread_create(&w->thread, NULL, run, w) != 0) break;
        w->is_running = true;
    }
    pthread_mutex_lock(&n->lock);
    while (n->ready < started) pthread_cond_wait(&n->changed, &n->lock);
    bool good = started == n->worker_count && n->failed == 0;
    pthread_mutex_unlock(&n->lock);
    if (!good) {
        join_all(n);
        return gr_fail(GR_UNAVAILABLE, "can't start the workers: raise the limits of open files and threads");
    }
    set_phase(n, NODE_SERVING);
    return gr_zmq_transport_start(n->transport);
}

/* True when all have drained and no work runs, before the time is over. */
static bool wait_drained(gr_node *n, const struct timespec *until)
{
    int timed_out = 0;
    pthread_mutex_lock(&n->lock);
    while (n->drained < n->worker_count && timed_out == 0)
        timed_out = pthread_cond_timedwait(&n->changed, &n->lock, until);
    while (timed_out == 0 && !gr_pool_idle(n->pool)) {
        struct timespec soon = after_ms(POLL_MS);
        pthread_cond_timedwait(&n->changed, &n->lock, &soon);
        struct timespec now = after_ms(0);
        if (now.tv_sec > until->tv_sec || (now.tv_sec == until->tv_sec && now.tv_nsec > until->tv_nsec))
            timed_out = ETIMEDOUT;
    }
    bool drained = n->drained == n->worker_count && timed_out == 0;
    pthread_mutex_unlock(&n->lock);
    return drained;
}

bool gr_node_stop(gr_node *n, uint64_t within_ms)
{
    if (atomic_load(&n->phase) != NODE_SERVING) return true;
    struct timespec until = after_ms(within_ms);
    gr_pool_stop(n->pool);
    set_phase(n, NODE_STOPPING);
    bool clean = wait_drained(n, &until);
    if (clean) {
        join_all(n);
        return true;
    }
    /* Whoever hangs, in a handler or in the store, can't be joined: what it uses must not be freed. */
    set_phase(n, NODE_ENDED);
    n->is_abandoned = true;
    return false;
}

void gr_node_close(gr_node **at)
{
    gr_node *n = *at;
    *at = NULL;
    if (!n) return;
    if (atomic_load(&n->phase) == NODE_SERVING) (void)gr_node_stop(n, CLOSE_WITHIN_MS);
    if (n->is_abandoned) return;
    for (unsigned i = 0; i < n->worker_count; i++) gr_worker_free(&n->workers[i].worker);
    gr_pool_close(&n->pool);
    if (n->transport) n->transport->ops->close(n->transport);
    gr_message_log_close(&n->log);
    gr_poison_close(&n->poison);
    gr_level_close(&n->level);
    pthread_cond_destroy(&n->changed);
    pthread_mutex_destroy(&n->lock);
    free(n->workers);
    free(n->name);
    free(n);
}

/* --- ports --- */
static void port_closed(void *arg, gr_endpoint self)
{
    gr_node *n = arg;
    gr_zmq_endpoint_close(n->transport, self);
}

gr_port *gr_port_open(gr_node *n, unsigned index, const gr_port_handler *handler)
{
    gr_assert(index < n->options.ports_max);
    gr_endpoint self = {n->self, GR_ENDPOINT_PORT, (uint16_t)index};
    gr_arena *a = gr_arena_new(0);
    gr_err err = gr_zmq_endpoint_open(n->transport, self, a);
    gr_arena_free(&a);
    if (gr_failed(err)) return NULL;
    gr_port_options o = {
        .transport = n->transport,
        .self = self,
        .node = n->name,
        .shards = n->shards,
        .find_edge = find_edge,
        .find_edge_arg = n,
        .in_flight_max = n->options.in_flight_max,
        .in_flight_max_per_worker = n->options.in_flight_max_per_worker,
        .patient_max = n->options.patient_max,
        .level = &n->level,
        .log = n->log,
        .log_writer = n->worker_count + index,
        .clock_us = clock_us,
        .clock_arg = n,
        .closed = port_closed,
        .closed_arg = n,
        .handler = *handler,
    };
    return gr_port_new(&o);
}
