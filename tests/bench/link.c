/* link.c - gr_link, what the way between two nodes carries: asks and durable posts over TCP with CURVE, beside ZeroMQ
 * alone doing round trips of the same size.
 *
 * Both nodes run in this process with stores of their own on disk.  Each line: name, value, unit. */
#include "bus/cluster.h"
#include "bus/echo.h"
#include "bus/node.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum {
    BODY = 1248,               /* bytes, as the figures in the notes on libraries */
    PATIENCE_MS = 20000,
    SECONDS_US = 1500000,      /* that each figure is measured for */
    SAMPLES_MAX = 1 << 20,
    PAIRS = 16,                /* receivers of posts, in shards of their own */
    POSTS_A_HANDLER = 50
};

static gr_arena *arena;
static char text[BODY + 1], base[64];

static void need(bool ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "gr_link: %s failed\n", what);
    exit(1);
}

static void tell(const char *name, double value, const char *unit) { printf("%s\t%.6g\t%s\n", name, value, unit); }

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* --- actors: one that posts, one that is posted to ---------------------------------------------------------------- */
static _Atomic uint64_t applied;

/* An ask "<address>" with a number posts that many echoes there; with 0 one, whose receiver gives the answer. */
static void handle(void *self, const gr_msg *m, gr_ctx *c)
{
    const gr_echo *e = m->body;
    (void)self;
    if (m->type != &gr_type_echo) return;
    gr_echo post = {.text = {text, BODY}};
    if (m->verb == GR_POST) {
        gr_ctx_put(c, GR_STR("newest"), gr_str_head(e->text, 16));
        applied++;
        gr_ctx_reply(c, &gr_type_echo, &(gr_echo){0});
    } else if (e->number == 0) {
        gr_ctx_post_forward(c, e->text, &gr_type_echo, &post);
    } else {
        for (uint64_t i = 0; i < e->number; i++) gr_ctx_post(c, e->text, &gr_type_echo, &post);
        gr_ctx_reply(c, &gr_type_echo, &(gr_echo){0});
    }
}
static const gr_actor_kind poster_kind = {.kind = GR_KIND_NAME, .size = 1, .handle = handle};
static const gr_actor_kind *const kinds[] = {&gr_echo_kind, &poster_kind, NULL};

/* --- two nodes ------------------------------------------------------------------------------------------------------ */
typedef struct {
    char dir[96];
    uint8_t secret[GR_CLUSTER_KEY_SIZE];
    gr_store *store;
    gr_node *node;
    gr_port *port;
} rig;

static rig rigs[2];
static gr_cluster map;
static uint64_t replies;

static unsigned free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    need(bind(s, (struct sockaddr *)&at, sizeof at) == 0 && getsockname(s, (struct sockaddr *)&at, &size) == 0, "a port");
    close(s);
    return ntohs(at.sin_port);
}

static void on_reply(void *arg, uint64_t seq, const gr_type *type, const void *body, gr_err err)
{
    (void)arg, (void)seq, (void)type, (void)body;
    if (gr_failed(err)) fprintf(stderr, "gr_link: %s\n", err.text);
    need(!gr_failed(err), "an ask");
    replies++;
}

static void make_map(void)
{
    gr_cluster_init(&map, 1);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t public_key[GR_CLUSTER_KEY_SIZE];
        char key[GR_CLUSTER_KEY_TEXT];
        randombytes_buf(rigs[i].secret, sizeof rigs[i].secret);
        gr_cluster_public_key(rigs[i].secret, public_key);
        gr_cluster_key_print(public_key, key);
        need(!gr_failed(gr_cluster_add(&map, arena, gr_arena_printf(arena, "n%u", i + 1),
                                       gr_arena_printf(arena, "127.0.0.1:%u", free_port()), gr_str_c(key), false)), "the map");
    }
    gr_cluster_deal_evenly(&map);
}

static void open_node(unsigned i)
{
    rig *r = &rigs[i];
    snprintf(r->dir, sizeof r->dir, "%s/%u", base, i);
    gr_store_options so = {.dir = r->dir, .server_name = GR_STR("x"), .create = true, .threaded = true};
    gr_err err = gr_store_open(&so, arena, &r->store);
    gr_node_options o = {.name = map.nodes[i].name, .store = r->store, .kinds = kinds, .workers = 1, .cluster = &map,
                         .cluster_key = r->secret, .level_low = 1, .level_high = 1};
    if (!gr_failed(err)) err = gr_node_open(&o, arena, &r->node);
    if (!gr_failed(err)) err = gr_node_start(r->node);
    if (gr_failed(err)) fprintf(stderr, "gr_link: %s\n", err.text);
    need(!gr_failed(err), "opening a node");
    gr_port_handler handler = {on_reply, NULL, r};
    need((r->port = gr_port_open(r->node, 0, &handler)) != NULL, "opening a port");
}

static void close_node(unsigned i)
{
    rig *r = &rigs[i];
    gr_port_close(&r->port);
    need(gr_node_stop(r->node, PATIENCE_MS), "stopping a node");
    gr_node_close(&r->node);
    gr_store_close(&r->store);
    DIR *d = opendir(r->dir);
    for (struct dirent *e; d && (e = readdir(d));) unlinkat(dirfd(d), e->d_name, 0);
    if (d) closedir(d);
    rmdir(r->dir);
}

/* An address of that kind in a shard of the node; another for each number. */
static const char *at(unsigned node, const char *kind, unsigned number)
{
    for (unsigned i = number * 1000;; i++) {
        gr_str address = gr_arena_printf(arena, "%s/x%u", kind, i);
        if (map.owner[gr_address_shard(address)] == node) return address.ptr;
    }
}

/* --- asking --------------------------------------------------------------------------------------------------------- */
static void step(void)
{
    uint64_t next;
    if (gr_port_step(rigs[0].port, now_us() / 1000, 64, &next) == 0)
        poll(&(struct pollfd){gr_port_fd(rigs[0].port), POLLIN, 0}, 1, 20);
}

static bool ask(const char *to, gr_str what, uint64_t number)
{
    uint64_t seq;
    gr_echo body = {.text = what, .number = number};
    return !gr_failed(gr_port_ask(rigs[0].port, gr_str_c(to), &gr_type_echo, &body, now_us() / 1000, PATIENCE_MS, false, 0,
                                  &seq));
}

static void wait_for_link(const char *echo)
{
    uint64_t until = now_us() + PATIENCE_MS * 1000;
    while (!ask(echo, GR_STR("x"), 1)) {
        need(now_us() < until, "the link");
        poll(NULL, 0, 20);
    }
    while (replies == 0) step();
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void tell_percentiles(const char *what, uint32_t *samples, size_t count)
{
    qsort(samples, count, sizeof *samples, by_size);
    tell(gr_arena_printf(arena, "  %s p50", what).ptr, samples[count / 2] / 1000.0, "ms");
    tell(gr_arena_printf(arena, "  %s p99", what).ptr, samples[count * 99 / 100] / 1000.0, "ms");
}

static double measure_asks(const char *echo, unsigned window)
{
    static uint32_t samples[SAMPLES_MAX];
    uint64_t begun = now_us(), asked = 0, before = replies, sent_us = 0;
    size_t count = 0;
    while (now_us() - begun < SECONDS_US) {
        uint64_t done = replies - before;
        if (window == 1 && done == asked && asked > 0 && count < SAMPLES_MAX)
            samples[count++] = (uint32_t)(now_us() - sent_us);
        sent_us = now_us();
        gr_port_hold(rigs[0].port);
        for (; asked < done + window; asked++) need(ask(echo, gr_str_of(text, BODY), 1), "an ask");
        gr_port_flush(rigs[0].port);
        while (replies - before == done) step();
    }
    double rate = (double)(replies - before) * 1e6 / (double)(now_us() - begun);
    while (replies - before < asked) step();
    tell(gr_arena_printf(arena, "asks/s between nodes, %u outstanding", window).ptr, rate, "/s");
    if (window == 1) tell_percentiles("one ask and its answer", samples, count);
    return rate;
}

/* Posts from one shard to one or several of the other node, until all are applied. */
static void measure_posts(unsigned pairs)
{
    const char *from = at(0, "name", 0), *to[PAIRS];
    for (unsigned i = 0; i < pairs; i++) to[i] = at(1, "name", i);
    uint64_t begun = now_us(), begun_replies = replies, begun_applied = applied, asked = 0;
    while (now_us() - begun < SECONDS_US) {
        while (asked - (replies - begun_replies) < 8 && asked * POSTS_A_HANDLER < applied - begun_applied + 4096) {
            need(ask(from, gr_str_c(to[asked % pairs]), POSTS_A_HANDLER), "an ask to post");
            asked++;
        }
        step();
    }
    while (applied - begun_applied < asked * POSTS_A_HANDLER) step();
    double rate = (double)(asked * POSTS_A_HANDLER) * 1e6 / (double)(now_us() - begun);
    tell(gr_arena_printf(arena, "posts/s between nodes, %u pair%s of shards", pairs, pairs > 1 ? "s" : "").ptr, rate, "/s");
}

static void measure_one_post(void)
{
    static uint32_t samples[SAMPLES_MAX];
    const char *from = at(0, "name", 0), *to = at(1, "name", 0);
    size_t count = 0;
    for (uint64_t begun = now_us(); now_us() - begun < SECONDS_US && count < SAMPLES_MAX;) {
        uint64_t sent_us = now_us(), before = replies;
        need(ask(from, gr_str_c(to), 0), "an ask to post");
        while (replies == before) step();
        samples[count++] = (uint32_t)(now_us() - sent_us);
    }
    tell_percentiles("one post, applied durably and answered", samples, count);
}

/* --- ZeroMQ alone --------------------------------------------------------------------------------------------------- */
typedef struct {
    void *context, *in, *out;
} pipe_end;

static uint8_t raw_secret[2][32], raw_public[2][32];
static unsigned raw_port[2];

static pipe_end raw_open(unsigned self)
{
    pipe_end p = {.context = zmq_ctx_new()};
    int zero = 0, one = 1;
    p.in = zmq_socket(p.context, ZMQ_PULL);
    p.out = zmq_socket(p.context, ZMQ_PUSH);
    zmq_setsockopt(p.in, ZMQ_CURVE_SERVER, &one, sizeof one);
    zmq_setsockopt(p.in, ZMQ_CURVE_SECRETKEY, raw_secret[self], 32);
    zmq_setsockopt(p.out, ZMQ_CURVE_SERVERKEY, raw_public[!self], 32);
    zmq_setsockopt(p.out, ZMQ_CURVE_PUBLICKEY, raw_public[self], 32);
    zmq_setsockopt(p.out, ZMQ_CURVE_SECRETKEY, raw_secret[self], 32);
    zmq_setsockopt(p.in, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(p.out, ZMQ_LINGER, &zero, sizeof zero);
    need(zmq_bind(p.in, gr_arena_printf(arena, "tcp://127.0.0.1:%u", raw_port[self]).ptr) == 0, "binding");
    need(zmq_connect(p.out, gr_arena_printf(arena, "tcp://127.0.0.1:%u", raw_port[!self]).ptr) == 0, "connecting");
    return p;
}

static void raw_close(pipe_end *p)
{
    zmq_close(p->in);
    zmq_close(p->out);
    zmq_ctx_term(p->context);
}

/* Sends back what it is sent, until that is empty. */
static void *raw_echo(void *arg)
{
    pipe_end *p = arg;
    for (int size = 1; size > 0;) {
        char bytes[BODY];
        size = zmq_recv(p->in, bytes, sizeof bytes, 0);
        zmq_send(p->out, bytes, size > 0 ? (size_t)size : 0, 0);
    }
    return NULL;
}

static double raw_measure(pipe_end *p, unsigned window)
{
    uint64_t begun = now_us(), done = 0, sent = 0;
    char bytes[BODY];
    while (now_us() - begun < SECONDS_US) {
        for (; sent < done + window; sent++) zmq_send(p->out, text, BODY, 0);
        need(zmq_recv(p->in, bytes, sizeof bytes, 0) == BODY, "a round trip");
        done++;
    }
    double rate = (double)done * 1e6 / (double)(now_us() - begun);
    for (; done < sent; done++) zmq_recv(p->in, bytes, sizeof bytes, 0);
    tell(gr_arena_printf(arena, "round trips/s of ZeroMQ alone, %u outstanding", window).ptr, rate, "/s");
    return rate;
}

static void raw(double *one, double *many)
{
    pthread_t thread;
    pipe_end ends[2];
    for (unsigned i = 0; i < 2; i++) {
        randombytes_buf(raw_secret[i], 32);
        gr_cluster_public_key(raw_secret[i], raw_public[i]);
        raw_port[i] = free_port();
    }
    for (unsigned i = 0; i < 2; i++) ends[i] = raw_open(i);
    need(pthread_create(&thread, NULL, raw_echo, &ends[1]) == 0, "a thread");
    *one = raw_measure(&ends[0], 1);
    *many = raw_measure(&ends[0], 64);
    zmq_send(ends[0].out, "", 0, 0);
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < 2; i++) raw_close(&ends[i]);
}

int main(void)
{
    double raw_one, raw_many;
    arena = gr_arena_new(0);
    snprintf(base, sizeof base, "/tmp/gr-link-XXXXXX");
    need(mkdtemp(base) != NULL && sodium_init() >= 0, "a directory");
    memset(text, 'x', BODY);
    make_map();
    for (unsigned i = 0; i < 2; i++) open_node(i);
    const char *echo = at(1, "echo", 0);
    wait_for_link(echo);
    raw(&raw_one, &raw_many);
    double one = measure_asks(echo, 1), many = measure_asks(echo, 64);
    measure_asks(echo, 512);
    tell("asks of ZeroMQ alone, 1 outstanding", 100 * one / raw_one, "%");
    tell("asks of ZeroMQ alone, 64 outstanding", 100 * many / raw_many, "%");
    measure_posts(1);
    measure_posts(PAIRS);
    measure_one_post();
    for (unsigned i = 0; i < 2; i++) close_node(i);
    rmdir(base);
    gr_arena_free(&arena);
    return 0;
}
