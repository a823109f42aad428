/* Nodes over TCP with CURVE, all in one process: asks and posts between them, cuts, and who is let in. */
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

/* --- tests --- */
static void asks_are_answered_between_three_nodes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NODES; i++) open_node(i);
    for (unsigned i = 0; i < NODES; i++)
        for (unsigned j = 0; j < NODES; j++)
            if (i != j) wait_for_link(i, j, GR_LINK_UP);
    for (unsigned i = 0; i < NODES; i++)
        for (unsigned j = 0; j < NODES; j++) {
            assert_int_equal(ask_and_wait(i, at(j, "echo"), "hello", 40 + i).code, GR_OK);
            assert_int_equal(rigs[i].last_number, 40 + i);
        }
    gr_zmq_peer p = peer_of(0, 2);
    for (uint64_t until = now_ms() + PATIENCE_MS; p.frames_in < 2 && now_ms() < until; p = peer_of(0, 2)) step(&rigs[0]);
    assert_true(p.frames_out > 0 && p.frames_in > 0 && p.bad == 0 && p.lost == 0);
    assert_string_equal(p.name, "n3");
    gr_str json = gr_node_peers(rigs[0].node, arena);
    assert_non_null(strstr(json.ptr, "\"link\":\"up\""));
}

static void an_actor_asks_an_actor_of_another_node(void **state)
{
    (void)state;
    open_pair();
    assert_int_equal(ask_and_wait(0, at(0, "job"), at(1, "name"), 0).code, GR_OK);
    assert_int_equal(rigs[0].last_number, GR_OK);
    assert_int_equal(ask_and_wait(0, at(1, "job"), at(0, "name"), 0).code, GR_OK);
    assert_int_equal(rigs[0].last_number, GR_OK);
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

static void posts_arrive_once_and_in_order_across_cuts(void **state)
{
    (void)state;
    const char *from = at(0, "name"), *to = at(1, "name");
    open_pair();
    assert_int_equal(ask_and_wait(0, from, to, 100).code, GR_OK);
    for (unsigned round = 1; round <= 3; round++) {
        close_node(1);
        for (unsigned i = 0; i < 5; i++) assert_int_equal(ask_and_wait(0, from, to, 20).code, GR_OK);
        wait_for_link(0, 1, GR_LINK_DOWN);
        assert_int_equal(ask_and_wait(0, from, to, 100).code, GR_OK);
        open_node(1);
        wait_for_count(1, to, 100 + 200 * round);
    }
    /* The sender goes away too. */
    assert_int_equal(ask_and_wait(0, from, to, 100).code, GR_OK);
    close_node(0);
    open_node(0);
    wait_for_count(1, to, 800);
}

static void a_node_that_is_gone_fails_asks_at_once_and_others_go_on(void **state)
{
    (void)state;
    open_pair();
    open_node(2);
    wait_for_link(0, 2, GR_LINK_UP);
    rig *r = &rigs[0];
    uint64_t begun = now_ms(), before = r->replies;
    /* One from the edge and one from an actor wait for an answer that never comes. */
    assert_int_equal(ask(0, at(1, "media"), "x", 0).code, GR_OK);
    assert_int_equal(ask(0, at(0, "job"), at(1, "media"), 0).code, GR_OK);
    assert_int_equal(ask_and_wait(0, at(1, "echo"), "x", 1).code, GR_OK);
    close_node(1);
    while (r->replies < before + 3) step(r);
    assert_true(now_ms() - begun < PATIENCE_MS / 2);
    assert_int_equal(r->errors, 1);
    assert_int_equal(ask_and_wait(0, at(1, "echo"), "x", 1).code, GR_UNAVAILABLE);
    assert_int_equal(ask_and_wait(0, at(2, "echo"), "x", 1).code, GR_OK);
    open_node(1);
    wait_for_link(0, 1, GR_LINK_UP);
    assert_int_equal(ask_and_wait(0, at(1, "echo"), "x", 1).code, GR_OK);
}

static void an_answer_that_is_too_large_for_a_frame_fails_by_name(void **state)
{
    (void)state;
    open_pair();
    assert_int_equal(ask_and_wait(0, at(1, "media"), "x", GR_MESSAGE_MAX - 100).code, GR_OK);
    assert_int_equal(rigs[0].last_size, GR_MESSAGE_MAX - 100);
    assert_int_equal(ask_and_wait(0, at(1, "media"), "x", GR_MESSAGE_MAX + 1).code, GR_TOO_LARGE);
    assert_non_null(strstr(rigs[0].last_text, "echo"));
    assert_int_equal(ask_and_wait(0, at(0, "media"), "x", GR_MESSAGE_MAX + 1).code, GR_OK);
}

static void the_window_gives_way_again_once_the_peer_confirms(void **state)
{
    (void)state;
    enum { ASKS = 4000 };
    open_pair();
    for (unsigned i = 0, failed = 0; i < ASKS; failed = 0) {
        while (i < ASKS && i < rigs[0].replies + 32 && !failed) {
            gr_err err = ask(0, at(1, "echo"), "x", i);
            failed = gr_failed(err);
            assert_false(failed);
            i++;
        }
        step(&rigs[0]);
    }
    while (rigs[0].replies < ASKS) step(&rigs[0]);
    assert_int_equal(rigs[0].errors, 0);
    /* About 8000 frames of 256 counted bytes went there, so some were confirmed. */
    assert_true(peer_of(0, 1).queue_bytes < 1 << 20);
}

static void different_maps_carry_nothing_and_say_what_differs(void **state)
{
    (void)state;
    snprintf(rigs[1].map.nodes[2].address, sizeof rigs[1].map.nodes[2].address, "127.0.0.1:1");
    open_node(0);
    open_node(1);
    wait_for_log(0, "it differs in the address of node n3: here 127.0.0.1:");
    wait_for_log(1, "it differs in the address of node n3: here 127.0.0.1:1, there");
    assert_int_equal(peer_of(0, 1).state, GR_LINK_REFUSED);
    assert_int_equal(ask_and_wait(0, at(1, "echo"), "x", 1).code, GR_UNAVAILABLE);
}

static void a_second_process_of_a_node_does_not_start(void **state)
{
    (void)state;
    open_pair();
    char dir[sizeof rigs->dir];
    gr_node *node = rigs[1].node;
    gr_port *port = rigs[1].port;
    gr_store *store = rigs[1].store;
    memcpy(dir, rigs[1].dir, sizeof dir);
    snprintf(rigs[1].dir, sizeof rigs[1].dir, "%s/second", base);
    assert_int_equal(mkdir(rigs[1].dir, 0700), 0);
    gr_err err = try_open(1, 1);
    assert_int_equal(err.code, GR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "node n2 runs already"));
    remove_folder(gr_arena_printf(arena, "%s/store", rigs[1].dir).ptr);
    remove_folder(rigs[1].dir);
    rigs[1].node = node;
    rigs[1].port = port;
    rigs[1].store = store;
    memcpy(rigs[1].dir, dir, sizeof dir);
    assert_int_equal(ask_and_wait(0, at(1, "echo"), "x", 1).code, GR_OK);
}

static void a_node_with_another_key_than_the_map_has_does_not_start(void **state)
{
    (void)state;
    randombytes_buf(rigs[0].secret, sizeof rigs[0].secret);
    gr_err err = try_open(0, 1);
    assert_int_equal(err.code, GR_FORBIDDEN);
    assert_non_null(strstr(err.text, "n1"));
}

static void a_revoked_node_is_refused_and_named(void **state)
{
    (void)state;
    /* Node 2 has an older file, in which it is not revoked. */
    rigs[0].map.nodes[1].is_revoked = true;
    memset(rigs[0].map.owner, 0, sizeof rigs[0].map.owner);
    open_node(0);
    open_node(1);
    wait_for_log(0, "the key of node n2 is revoked");
    wait_for_log(0, "refused a connection from 127.0.0.1");
    wait_for_log(1, "it refuses this node's key");
    assert_int_equal(peer_of(1, 0).state, GR_LINK_DOWN);
}

static uint32_t level_of(unsigned node) { return gr_level_now(gr_node_level(rigs[node].node)); }

static void cannot_be_finished(unsigned node, const char *why)
{
    uint32_t level;
    gr_err err = gr_node_upgrade_finish(rigs[node].node, arena, &level);
    assert_int_equal(err.code, GR_UNAVAILABLE);
    if (!strstr(err.text, why)) fail_msg("%s", err.text);
    assert_int_equal(level_of(node), 1);
}

static void an_upgrade_is_finished_once_all_nodes_understand_it_and_all_follow(void **state)
{
    (void)state;
    uint32_t level = 0;
    rigs[0].level_high = rigs[1].level_high = 2;
    for (unsigned i = 0; i < NODES; i++) open_node(i);
    wait_for_link(0, 1, GR_LINK_UP);
    wait_for_link(0, 2, GR_LINK_UP);
    cannot_be_finished(0, "node n3 runs an older version, which understands feature levels up to 1");
    close_node(2);
    wait_for_link(0, 2, GR_LINK_DOWN);
    cannot_be_finished(0, "node n3 is out of reach");
    rigs[2].level_high = 3;
    open_node(2);
    wait_for_link(0, 2, GR_LINK_UP);
    wait_for_link(1, 2, GR_LINK_UP);
    assert_int_equal(gr_node_upgrade_finish(rigs[0].node, arena, &level).code, GR_OK);
    assert_int_equal(level, 2); /* not 3: the others do not understand that */
    wait_for_log(1, "the feature level is 2 now");
    wait_for_log(2, "the feature level is 2 now");
    assert_int_equal(level_of(2), 2);
    assert_int_equal(ask_and_wait(0, at(2, "echo"), "x", 1).code, GR_OK);
    close_node(1);
    rigs[1].level_high = 1;
    gr_err err = try_open(1, 1);
    assert_int_equal(err.code, GR_BAD_STATE);
    assert_non_null(strstr(err.text, "the store is at feature level 2"));
}

/* Serves a node in a process of its own until it is killed. */
static pid_t fork_node(unsigned i)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) return pid;
    if (gr_failed(try_open(i, 1))) _exit(1);
    for (;;) step(&rigs[i]);
}

static void a_stopped_process_costs_no_memory_and_fails_asks_in_time(void **state)
{
    (void)state;
    const char *from = at(0, "name"), *to = at(1, "name");
    pid_t pid = fork_node(1);
    open_node(0);
    wait_for_link(0, 1, GR_LINK_UP);
    assert_int_equal(ask_and_wait(0, to, "read", 0).code, GR_OK);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
    uint64_t begun = now_ms();
    assert_int_equal(ask_and_wait(0, to, "read", 0).code, GR_UNAVAILABLE);
    assert_true(now_ms() - begun < 5000);
    for (unsigned i = 0; i < 40; i++) assert_int_equal(ask_and_wait(0, from, to, 50).code, GR_OK);
    assert_true(peer_of(0, 1).queue_bytes < 2 * GR_NODE_FRAME_BODY_MAX);
    assert_int_equal(ask_and_wait(0, to, "read", 0).code, GR_UNAVAILABLE);
    assert_int_equal(kill(pid, SIGCONT), 0);
    wait_for_link(0, 1, GR_LINK_UP);
    wait_for_count(0, to, 2000);
    /* A crash is noticed at once, as its connection breaks. */
    begun = now_ms();
    assert_int_equal(ask(0, at(1, "media"), "x", 0).code, GR_OK);
    uint64_t before = rigs[0].replies;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    while (rigs[0].replies == before) step(&rigs[0]);
    assert_int_equal(rigs[0].last.code, GR_UNAVAILABLE);
    assert_true(now_ms() - begun < 2500);
}

/* --- bytes by hand: the test takes the place of node 2 --- */
typedef struct {
    void *context, *push;
    gr_node_frame frame;
    const char *name;
    uint64_t number; /* of posts */
} forger;

static forger forger_open(const uint8_t *secret)
{
    forger f = {.context = zmq_ctx_new(), .frame = {.node = 1, .epoch = 1, .start = 99}, .name = "n2", .number = 1};
    uint8_t public_key[GR_CLUSTER_KEY_SIZE], hash[GR_CLUSTER_HASH_SIZE];
    int wait_ms = PATIENCE_MS, zero = 0;
    gr_cluster_public_key(secret, public_key);
    gr_cluster_hash(&rigs[0].map, hash);
    f.frame.map = gr_u64be((char *)hash);
    f.push = zmq_socket(f.context, ZMQ_PUSH);
    zmq_setsockopt(f.push, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(f.push, ZMQ_SNDTIMEO, &wait_ms, sizeof wait_ms);
    zmq_setsockopt(f.push, ZMQ_CURVE_SERVERKEY, rigs[0].map.nodes[0].public_key, GR_CLUSTER_KEY_SIZE);
    zmq_setsockopt(f.push, ZMQ_CURVE_PUBLICKEY, public_key, sizeof public_key);
    zmq_setsockopt(f.push, ZMQ_CURVE_SECRETKEY, secret, GR_CLUSTER_KEY_SIZE);
    assert_int_equal(zmq_connect(f.push, gr_arena_printf(arena, "tcp://%s", rigs[0].map.nodes[0].address).ptr), 0);
    return f;
}

static void forger_close(forger *f)
{
    zmq_close(f->push);
    zmq_ctx_term(f->context);
}

static void forge(forger *f, gr_node_frame_kind kind, gr_str body, size_t cut)
{
    gr_buf out = {0};
    char header[GR_NODE_FRAME_HEADER];
    f->frame.kind = kind;
    f->frame.seq++;
    gr_node_frame_header(header, &f->frame);
    gr_buf_add(&out, header, sizeof header);
    gr_buf_str(&out, body);
    assert_true(zmq_send(f->push, out.ptr, out.size - cut, 0) >= 0);
    gr_buf_free(&out);
}

static void forge_hello(forger *f)
{
    gr_buf out = {0};
    gr_node_hello h = {.generation = 1, .level_low = 1, .level_high = 1, .level = 1, .clock_us = 1};
    snprintf(h.name, sizeof h.name, "%s", f->name);
    gr_cluster_hash(&rigs[0].map, h.map_hash);
    gr_node_hello_encode(&out, &h);
    forge(f, GR_NODE_FRAME_HELLO, gr_buf_view(&out), 0);
    gr_buf_free(&out);
}

static void forge_envelope(forger *f, const char *from, const char *to, gr_verb verb, size_t cut)
{
    gr_buf body = {0}, envelope = {0}, out = {0};
    gr_echo echo = {.text = GR_STR("x"), .number = f->number};
    gr_body_encode(&body, &gr_type_echo, &echo);
    gr_envelope e = {.trace = 1, .from = gr_str_c(from), .to = gr_str_c(to), .verb = verb, .seq = f->number,
                     .incarnation = 5, .type = gr_type_echo.id, .body = gr_buf_view(&body)};
    gr_envelope_encode(&envelope, &e);
    gr_buf_u32be(&out, (uint32_t)envelope.size);
    gr_buf_str(&out, gr_buf_view(&envelope));
    forge(f, GR_NODE_FRAME_ENVELOPES, gr_buf_view(&out), cut);
    gr_buf_free(&body);
    gr_buf_free(&envelope);
    gr_buf_free(&out);
}

static void wait_for_bad(uint64_t count)
{
    uint64_t until = now_ms() + PATIENCE_MS;
    while (peer_of(0, 1).bad < count) {
        step(&rigs[0]);
        if (now_ms() > until) fail_msg("%llu bad, not %llu", (unsigned long long)peer_of(0, 1).bad,
                                       (unsigned long long)count);
    }
}

static void forged_and_broken_frames_are_dropped_and_counted(void **state)
{
    (void)state;
    const char *till = at(0, "name");
    open_node(0);
    forger f = forger_open(rigs[1].secret);
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0); /* before a HELLO */
    wait_for_bad(1);
    forge_hello(&f);
    forge_envelope(&f, at(2, "name"), till, GR_POST, 0); /* a shard of n3 */
    wait_for_bad(2);
    forge_envelope(&f, at(0, "name"), till, GR_POST, 0); /* of n1 itself */
    forge_envelope(&f, "edge/n3/0", till, GR_TELL, 0);
    forge_envelope(&f, at(1, "name"), at(2, "name"), GR_TELL, 0); /* not ours */
    forge_envelope(&f, at(1, "name"), "nonsense", GR_TELL, 0);
    forge_envelope(&f, at(1, "name"), till, GR_POST, 3); /* cut short */
    f.frame.start++;
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0); /* of a session that never said HELLO */
    f.frame.start--;
    wait_for_bad(8);
    uint64_t refused, broken = 0;
    assert_true(zmq_send(f.push, "GR", 2, 0) == 2);
    assert_true(zmq_send(f.push, "", 0, 0) == 0);
    while (broken < 2) {
        gr_zmq_transport_strangers(rigs[0].node->transport, &refused, &broken);
        step(&rigs[0]);
    }
    assert_int_equal(refused, 0);
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0); /* and an honest one */
    wait_for_count(0, till, 1);
    assert_int_equal(peer_of(0, 1).bad, 8);
    assert_true(logged(&rigs[0], "node n2 sent what is refused: it claims a sender that this node does not run"));
    forger_close(&f);
}

static void a_frame_that_comes_again_is_dropped(void **state)
{
    (void)state;
    const char *till = at(0, "name");
    open_node(0);
    forger f = forger_open(rigs[1].secret);
    forge_hello(&f);
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0);
    wait_for_count(0, till, 1);
    f.number++;
    f.frame.seq--;
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0); /* in the place of the one before */
    wait_for_bad(1);
    f.frame.seq -= 2;
    forge_hello(&f);
    wait_for_bad(2);
    wait_for_log(0, "node n2 sent what is refused: a frame that came before");
    f.frame.seq += 10;
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0);
    wait_for_count(0, till, 2);
    forger_close(&f);
}

static void a_peer_that_claims_the_name_of_another_is_refused(void **state)
{
    (void)state;
    open_node(0);
    forger f = forger_open(rigs[1].secret);
    f.name = "n3";
    forge_hello(&f);
    wait_for_bad(1);
    wait_for_log(0, "node n2 sent what is refused: a HELLO in the name of another node");
    f.name = "n2";
    f.frame.node = 2;
    forge_hello(&f);
    wait_for_bad(2);
    assert_int_equal(peer_of(0, 1).heard_ms, UINT64_MAX);
    assert_int_equal(peer_of(0, 2).heard_ms, UINT64_MAX);
    forger_close(&f);
}

static void posts_from_the_future_are_refused_counted_and_logged(void **state)
{
    (void)state;
    const char *till = at(0, "name");
    gr_node_counters n = {0};
    open_node(0);
    forger f = forger_open(rigs[1].secret);
    forge_hello(&f);
    f.number = UINT64_MAX;
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0);
    f.number = 300;
    for (int i = 0; i < 1000; i++) forge_envelope(&f, at(1, "name"), till, GR_POST, 0);
    f.number = 1;
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0); /* the one that is due */
    wait_for_count(0, till, 1);
    wait_for_log(0, "is refused: 1 is the next");
    gr_node_count(rigs[0].node, &n);
    assert_int_equal(n.bad_messages, 1001);
    forger_close(&f);
}

/* Connects and sends that, and leaves the connection open. */
static int knock(const char *bytes, size_t size)
{
    const char *address = rigs[0].map.nodes[0].address;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10));
    int s = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(s, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(write(s, bytes, size), size);
    return s;
}

static void wait_for_strangers(uint64_t count)
{
    gr_node_counters n = {0};
    for (uint64_t until = now_ms() + PATIENCE_MS; n.strangers < count; gr_node_count(rigs[0].node, &n)) {
        step(&rigs[0]);
        if (now_ms() > until) fail_msg("%llu strangers, not %llu", (unsigned long long)n.strangers,
                                       (unsigned long long)count);
    }
    assert_int_equal(n.strangers, count);
}

static void bytes_of_strangers_are_dropped_counted_and_logged(void **state)
{
    (void)state;
    static const char null_greeting[64] = {(char)0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    char curve[73 + 200] = {(char)0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'C', 'U', 'R', 'V', 'E'}, all_ones[5000];
    const char *http = "GET /_matrix/client/versions HTTP/1.1\r\nHost: x\r\n\r\n";
    int s[5], count = 0;
    open_pair();
    memset(all_ones, 0xff, sizeof all_ones);
    s[count++] = knock(http, strlen(http));
    s[count++] = knock(null_greeting, sizeof null_greeting);    /* ZeroMQ without keys */
    s[count++] = knock(all_ones, sizeof all_ones);
    memset(curve + 64, 0x7f, 9);                                /* a command of very many bytes */
    curve[64] = 0x06;
    s[count++] = knock(curve, sizeof curve);
    memcpy(curve + 64, "\x04\x14garbage", 9);                   /* no HELLO of CURVE */
    s[count++] = knock(curve, sizeof curve);
    wait_for_strangers(5);
    wait_for_log(0, "dropped a connection from ");
    wait_for_log(0, "it does not speak as nodes do");
    while (count > 0) close(s[--count]);
    assert_int_equal(ask_and_wait(0, at(1, "echo"), "x", 1).code, GR_OK);
    assert_int_equal(peer_of(0, 1).lost, 0);
}

static void a_frame_past_the_limit_breaks_the_connection_only(void **state)
{
    (void)state;
    size_t size = GR_NODE_FRAME_BODY_MAX + GR_NODE_FRAME_HEADER + 1;
    open_node(0);
    forger f = forger_open(rigs[1].secret);
    char *large = gr_alloc(size);
    assert_true(zmq_send(f.push, large, size, 0) >= 0);
    free(large);
    forge_hello(&f); /* lost with the connection, or sent over the next one */
    forger_close(&f);
    f = forger_open(rigs[1].secret);
    forge_hello(&f);
    forge_envelope(&f, at(1, "name"), at(0, "name"), GR_POST, 0);
    wait_for_count(0, at(0, "name"), 1);
    forger_close(&f);
}

static void a_stranger_gets_nothing_and_is_named_by_address(void **state)
{
    (void)state;
    uint8_t secret[GR_CLUSTER_KEY_SIZE];
    uint64_t refused = 0, broken;
    randombytes_buf(secret, sizeof secret);
    open_node(0);
    forger f = forger_open(secret);
    forge_hello(&f); /* waits in the socket of the stranger */
    wait_for_log(0, "refused a connection from 127.0.0.1");
    wait_for_log(0, "is in no entry of the cluster file");
    gr_zmq_transport_strangers(rigs[0].node->transport, &refused, &broken);
    assert_true(refused > 0);
    assert_int_equal(broken, 0);
    assert_int_equal(peer_of(0, 1).heard_ms, UINT64_MAX);
    forger_close(&f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(asks_are_answered_between_three_nodes),
        TEST(an_actor_asks_an_actor_of_another_node),
        TEST(posts_arrive_once_and_in_order_across_cuts),
        TEST(a_node_that_is_gone_fails_asks_at_once_and_others_go_on),
        TEST(an_answer_that_is_too_large_for_a_frame_fails_by_name),
        TEST(the_window_gives_way_again_once_the_peer_confirms),
        TEST(different_maps_carry_nothing_and_say_what_differs),
        TEST(a_second_process_of_a_node_does_not_start),
        TEST(a_node_with_another_key_than_the_map_has_does_not_start),
        TEST(a_revoked_node_is_refused_and_named),
        TEST(an_upgrade_is_finished_once_all_nodes_understand_it_and_all_follow),
        TEST(a_stopped_process_costs_no_memory_and_fails_asks_in_time),
        TEST(forged_and_broken_frames_are_dropped_and_counted),
        TEST(a_frame_that_comes_again_is_dropped),
        TEST(a_peer_that_claims_the_name_of_another_is_refused),
        TEST(posts_from_the_future_are_refused_counted_and_logged),
        TEST(bytes_of_strangers_are_dropped_counted_and_logged),
        TEST(a_frame_past_the_limit_breaks_the_connection_only),
        TEST(a_stranger_gets_nothing_and_is_named_by_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
