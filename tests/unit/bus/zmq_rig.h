/* zmq_rig.h - three nodes over TCP with CURVE in the process of a test, with actors that count: opening, closing, asking,
 * and waiting with a bound for what the links become. */
#pragma once
#include "bus/echo.h"
#include "bus/node.h"
#include "bus/node_inside.h"
#include "bus/zmq_transport.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

enum { NODES = 3, PATIENCE_MS = 20000, STOP_MS = 10000, LOG_MAX = 16384 };

/* --- actors: a till that posts and counts what is posted to it; a job that asks --- */
static uint64_t kept_number(gr_ctx *c, gr_str key)
{
    gr_str kept;
    return gr_ctx_get(c, key, &kept) ? gr_u64be(kept.ptr) : 0;
}

static void keep_number(gr_ctx *c, gr_str key, uint64_t number)
{
    gr_buf value = {0};
    gr_buf_u64be(&value, number);
    gr_ctx_put(c, key, gr_buf_view(&value));
    gr_buf_free(&value);
}

static void till_handle(void *self, const gr_msg *m, gr_ctx *c)
{
    const gr_echo *e = m->body;
    (void)self;
    if (m->verb == GR_POST) { /* must be the next number */
        gr_str key = kept_number(c, GR_STR("got")) + 1 == e->number ? GR_STR("got") : GR_STR("bad");
        keep_number(c, key, kept_number(c, key) + 1);
        gr_ctx_reply(c, &gr_type_echo, &(gr_echo){.number = kept_number(c, key)});
    } else if (gr_str_starts(e->text, GR_STR("forward "))) { /* posts one, which is to be answered */
        uint64_t sent = kept_number(c, GR_STR("sent")) + 1;
        gr_ctx_post_forward(c, gr_str_from(e->text, 8), &gr_type_echo, &(gr_echo){.text = GR_STR("x"), .number = sent});
        keep_number(c, GR_STR("sent"), sent);
    } else if (gr_str_find(e->text, '/') > 0) { /* posts so many to that address */
        uint64_t sent = kept_number(c, GR_STR("sent"));
        for (uint64_t i = 0; i < e->number; i++)
            gr_ctx_post(c, e->text, &gr_type_echo, &(gr_echo){.text = GR_STR("x"), .number = ++sent});
        keep_number(c, GR_STR("sent"), sent);
        gr_ctx_reply(c, &gr_type_echo, &(gr_echo){.number = sent});
    } else {
        bool is_bad = kept_number(c, GR_STR("bad")) > 0;
        gr_ctx_reply(c, &gr_type_echo, &(gr_echo){.number = is_bad ? UINT64_MAX : kept_number(c, GR_STR("got"))});
    }
}
static const gr_actor_kind till_kind = {.kind = GR_KIND_NAME, .size = 1, .handle = till_handle};

typedef struct {
    gr_asker *asker;
} worker_job;

static void job_handle(void *self, const gr_msg *m, gr_ctx *c)
{
    worker_job *j = self;
    if (m->resume) {
        gr_ctx_answer(c, &j->asker, &gr_type_echo, &(gr_echo){.number = m->err.code});
        return;
    }
    const gr_echo *e = m->body;
    j->asker = gr_ctx_keep_asker(c);
    gr_ctx_ask(c, e->text, &gr_type_echo, &(gr_echo){.text = GR_STR("read")}, PATIENCE_MS, &(gr_resume){0});
}
static void job_drop(void *self) { gr_asker_free(&((worker_job *)self)->asker); }
static const gr_actor_kind job_kind = {
    .kind = GR_KIND_JOB, .size = sizeof(worker_job), .handle = job_handle, .drop = job_drop};

/* Never answers in time; or with an answer that is too large. */
static void mute_handle(void *self, const gr_msg *m, gr_ctx *c)
{
    const gr_echo *e = m->body;
    (void)self;
    if (m->verb != GR_ASK || e->number == 0) return;
    char *text = gr_alloc(e->number);
    memset(text, 'x', e->number);
    gr_ctx_reply(c, &gr_type_echo, &(gr_echo){.text = {text, e->number}});
    free(text);
}
static const gr_actor_kind mute_kind = {.kind = GR_KIND_MEDIA, .size = 1, .handle = mute_handle};
static const gr_actor_kind *const kinds[] = {&gr_echo_kind, &till_kind, &job_kind, &mute_kind, NULL};

/* --- the nodes --- */
typedef struct {
    char dir[80];
    gr_cluster map;
    uint8_t secret[GR_CLUSTER_KEY_SIZE];
    uint32_t level_high; /* 0: 1 */
    gr_store *store;
    gr_node *node;
    gr_port *port;
    uint64_t replies, errors, last_number;
    size_t last_size;
    gr_err last;
    char last_text[256];
    pthread_mutex_t lock;
    char log[LOG_MAX];
} rig;

static rig rigs[NODES];
static gr_arena *arena;
static char base[32];

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void on_reply(void *arg, uint64_t seq, const gr_type *type, const void *body, gr_err err)
{
    rig *r = arg;
    (void)seq;
    r->replies++;
    r->errors += gr_failed(err);
    r->last = err;
    snprintf(r->last_text, sizeof r->last_text, "%s", err.text ? err.text : "");
    if (type == &gr_type_echo) r->last_number = ((const gr_echo *)body)->number;
    if (type == &gr_type_echo) r->last_size = ((const gr_echo *)body)->text.size;
}

static void on_log(void *arg, bool is_warning, const char *text)
{
    rig *r = arg;
    (void)is_warning;
    pthread_mutex_lock(&r->lock);
    size_t size = strlen(r->log);
    snprintf(r->log + size, sizeof r->log - size, "%s\n", text);
    pthread_mutex_unlock(&r->lock);
}

static bool logged(rig *r, const char *part)
{
    pthread_mutex_lock(&r->lock);
    bool found = strstr(r->log, part) != NULL;
    pthread_mutex_unlock(&r->lock);
    return found;
}

static gr_err try_open(unsigned i, unsigned workers)
{
    rig *r = &rigs[i];
    gr_store_options so = {.dir = gr_arena_printf(arena, "%s/store", r->dir).ptr,
                           .server_name = GR_STR("x"),
                           .create = true,
                           .threaded = true};
    assert_int_equal(gr_store_open(&so, arena, &r->store).code, GR_OK);
    gr_node_options o = {.name = r->map.nodes[i].name,
                         .store = r->store,
                         .kinds = kinds,
                         .workers = workers,
                         .cluster = &r->map,
                         .cluster_key = r->secret,
                         .level_low = 1,
                         .level_high = r->level_high ? r->level_high : 1,
                         .cluster_log = on_log,
                         .cluster_log_arg = r};
    gr_err err = gr_node_open(&o, arena, &r->node);
    if (!gr_failed(err)) err = gr_node_start(r->node);
    if (gr_failed(err)) {
        gr_store_close(&r->store);
        return err;
    }
    gr_port_handler handler = {on_reply, NULL, r};
    r->port = gr_port_open(r->node, 0, &handler);
    assert_non_null(r->port);
    return err;
}

static void open_node(unsigned i)
{
    gr_err err = try_open(i, i % 2 + 1);
    if (gr_failed(err)) fail_msg("%s", err.text);
}

static void close_node(unsigned i)
{
    rig *r = &rigs[i];
    if (!r->node) return;
    gr_port_close(&r->port);
    assert_true(gr_node_stop(r->node, STOP_MS));
    gr_node_close(&r->node);
    gr_store_close(&r->store);
}

/* A port that nobody listens on just now. */
static unsigned free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(s, (struct sockaddr *)&at, &size), 0);
    close(s);
    return ntohs(at.sin_port);
}

static int set_up(void **state)
{
    (void)state;
    gr_cluster map;
    arena = gr_arena_new(0);
    snprintf(base, sizeof base, "/tmp/gr-tcp-XXXXXX");
    if (!mkdtemp(base)) return -1;
    gr_cluster_init(&map, 1);
    memset(rigs, 0, sizeof rigs);
    for (unsigned i = 0; i < NODES; i++) {
        uint8_t public_key[GR_CLUSTER_KEY_SIZE];
        char key[GR_CLUSTER_KEY_TEXT];
        randombytes_buf(rigs[i].secret, sizeof rigs[i].secret);
        gr_cluster_public_key(rigs[i].secret, public_key);
        gr_cluster_key_print(public_key, key);
        if (gr_failed(gr_cluster_add(&map, arena, gr_arena_printf(arena, "n%u", i + 1),
                                     gr_arena_printf(arena, "127.0.0.1:%u", free_port()), gr_str_c(key), false)))
            return -1;
        snprintf(rigs[i].dir, sizeof rigs[i].dir, "%s/%u", base, i);
        pthread_mutex_init(&rigs[i].lock, NULL);
    }
    gr_cluster_deal_evenly(&map);
    for (unsigned i = 0; i < NODES; i++) {
        rigs[i].map = map;
        if (mkdir(rigs[i].dir, 0700) != 0) return -1;
    }
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
    for (unsigned i = 0; i < NODES; i++) {
        close_node(i);
        remove_folder(gr_arena_printf(arena, "%s/store", rigs[i].dir).ptr);
        remove_folder(rigs[i].dir);
        pthread_mutex_destroy(&rigs[i].lock);
    }
    remove_folder(base);
    gr_arena_free(&arena);
    return 0;
}

/* An address of that kind in a shard of the node. */
static const char *at(unsigned node, const char *kind)
{
    for (unsigned i = 0;; i++) {
        gr_str id = strcmp(kind, "job") == 0 ? gr_arena_printf(arena, "%u", i) : gr_arena_printf(arena, "x%u", i);
        gr_str address = gr_arena_printf(arena, "%s/%" GR_FMT, kind, GR_ARG(id));
        if (rigs[0].map.owner[gr_address_shard(address)] == node) return address.ptr;
    }
}

/* --- waiting: everything has a bound, nothing sleeps longer than something can happen --- */
static void step(rig *r)
{
    uint64_t next;
    if (gr_port_step(r->port, now_ms(), 64, &next) == 0)
        poll(&(struct pollfd){gr_port_fd(r->port), POLLIN, 0}, 1, 20);
}

static gr_err ask(unsigned node, const char *to, const char *text, uint64_t number)
{
    uint64_t seq;
    gr_echo body = {.text = gr_str_c(text), .number = number};
    return gr_port_ask(rigs[node].port, gr_str_c(to), &gr_type_echo, &body, now_ms(), PATIENCE_MS, false, 0, &seq);
}

/* The error that came back, or that it could not be asked. */
static gr_err ask_and_wait(unsigned node, const char *to, const char *text, uint64_t number)
{
    rig *r = &rigs[node];
    uint64_t before = r->replies;
    gr_err err = ask(node, to, text, number);
    if (gr_failed(err)) return err;
    while (r->replies == before) step(r);
    return r->last;
}

static gr_zmq_peer peer_of(unsigned node, unsigned other)
{
    gr_zmq_peer peers[NODES];
    size_t count = gr_zmq_transport_peers(rigs[node].node->transport, peers, NODES);
    assert_int_equal(count, NODES - 1);
    return peers[other > node ? other - 1 : other];
}

static void wait_for_link(unsigned node, unsigned other, gr_link_state state)
{
    uint64_t until = now_ms() + PATIENCE_MS;
    while (peer_of(node, other).state != state) {
        step(&rigs[node]);
        if (now_ms() > until) fail_msg("node %u sees %u: %s", node, other, peer_of(node, other).why);
    }
}

static void wait_for_log(unsigned node, const char *part)
{
    uint64_t until = now_ms() + PATIENCE_MS;
    while (!logged(&rigs[node], part)) {
        step(&rigs[node]);
        if (now_ms() > until) fail_msg("\"%s\" is not in the log:\n%s", part, rigs[node].log);
    }
}

static void open_pair(void)
{
    open_node(0);
    open_node(1);
    wait_for_link(0, 1, GR_LINK_UP);
    wait_for_link(1, 0, GR_LINK_UP);
}

static void wait_for_count(unsigned node, const char *till, uint64_t count)
{
    uint64_t until = now_ms() + PATIENCE_MS;
    for (;;) {
        assert_int_equal(ask_and_wait(node, till, "read", 0).code, GR_OK);
        assert_true(rigs[node].last_number <= count); /* UINT64_MAX: one came twice, or out of order */
        if (rigs[node].last_number == count) return;
        if (now_ms() > until) fail_msg("%llu of %llu posts", (unsigned long long)rigs[node].last_number,
                                       (unsigned long long)count);
        step(&rigs[node]);
    }
}
