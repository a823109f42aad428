/* post_fuzz.c - any envelopes of another node, as the link hands them to a worker: posts in any order, asks, replies, and
 * what is said about where posts stand. What the worker sends back is fit for the other node, and it comes to rest. */
#include "bus/echo.h"
#include "bus/node_frame.h"
#include "bus/worker.h"
#include "persistence/memory_engine.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SELF = 0, PEER = 1, OWN_SHARDS = 8, ENVELOPES_MAX = 64, STEPS_MAX = 2000, SILENCE_MS = 2500 };

static gr_cluster map;
static uint8_t worker_of[GR_SHARDS];
static gr_endpoint shards[GR_SHARDS];

/* What arrives at the worker next, and what it sent. */
typedef struct {
    gr_transport transport;
    gr_str frame;
    bool is_there;
} fake_way;

typedef struct {
    gr_str at[ENVELOPES_MAX];
    size_t count, posts;
} arrivals;

static void make_map(void)
{
    static const char *const keys[] = {"0000000000000000000000000000000000000001",
                                       "0000000000000000000000000000000000000002"};
    gr_arena *a = gr_arena_new(0);
    gr_cluster_init(&map, 1);
    for (int i = 0; i < 2; i++)
        gr_assert(!gr_failed(gr_cluster_add(&map, a, gr_arena_printf(a, "n%d", i + 1), gr_arena_printf(a, "h:%d", i + 1),
                                            gr_str_c(keys[i]), false)));
    /* Few of its own, as each has to be opened in every run. */
    gr_assert(!gr_failed(gr_cluster_deal(&map, a, GR_STR("n1"), 0, OWN_SHARDS - 1)));
    gr_assert(!gr_failed(gr_cluster_deal(&map, a, GR_STR("n2"), OWN_SHARDS, GR_SHARDS - 1)));
    for (unsigned s = 0; s < GR_SHARDS; s++)
        shards[s] = map.owner[s] == SELF ? (gr_endpoint){SELF, GR_ENDPOINT_WORKER, 0} : (gr_endpoint){PEER, GR_ENDPOINT_NODE, 0};
    gr_arena_free(&a);
}

/* --- an actor that writes for each post, and posts to whom an ask names --- */
static void handle(void *self, const gr_msg *m, gr_ctx *c)
{
    const gr_echo *e = m->body;
    (void)self;
    if (m->type != &gr_type_echo) return;
    if (m->verb == GR_POST) gr_ctx_put(c, GR_STR("newest"), gr_str_head(e->text, 64));
    else if (gr_address_valid(e->text) && gr_address_kind(e->text) != GR_KIND_EDGE)
        for (uint64_t i = 0; i < e->number % 8; i++) gr_ctx_post(c, e->text, &gr_type_echo, &(gr_echo){.number = i});
    gr_ctx_reply(c, &gr_type_echo, &(gr_echo){.number = 1});
}
static const gr_actor_kind writer_kind = {.kind = GR_KIND_ROOM, .size = 1, .handle = handle};
static const gr_actor_kind *const kinds[] = {&gr_echo_kind, &writer_kind, NULL};

/* --- the transport --- */
static void ignore(void *arg, const gr_node_envelope *e) { (void)arg, (void)e; }

/* All that leaves is what the other node may be sent by us. */
static bool send_frame(gr_transport *t, gr_endpoint from, gr_endpoint to, gr_str frame)
{
    const char *why = NULL;
    gr_arena *a = gr_arena_new(0);
    (void)t, (void)from;
    gr_assert(to.node == PEER);
    gr_assert(gr_node_frame_each(frame, &map, SELF, PEER, worker_of, a, ignore, NULL, &why) == 0);
    gr_arena_free(&a);
    return true;
}

static size_t receive(gr_transport *t, gr_endpoint at, size_t limit, gr_frame_fn *fn, void *arg)
{
    fake_way *w = (fake_way *)t;
    (void)at, (void)limit;
    if (!w->is_there) return 0;
    w->is_there = false;
    fn(arg, w->frame);
    return 1;
}

static void no_wake(gr_transport *t, gr_endpoint e) { (void)t, (void)e; }
static uint32_t link_is_up(gr_transport *t, uint16_t node) { return (void)t, (void)node, 1; }

/* "edge/n2/<index>" is at the other node. */
static bool find_edge(void *arg, gr_str address, gr_endpoint *out)
{
    (void)arg;
    *out = (gr_endpoint){PEER, GR_ENDPOINT_NODE, 0};
    return gr_str_starts(address, GR_STR("edge/n2/"));
}

/* --- a run --- */
static void take(void *arg, const gr_node_envelope *e)
{
    arrivals *in = arg;
    gr_envelope envelope;
    if (in->count == ENVELOPES_MAX) return;
    gr_assert(!gr_failed(gr_envelope_decode(gr_str_from(e->bytes, 4), &envelope)));
    in->posts += envelope.verb == GR_POST;
    if (!e->is_edge) in->at[in->count++] = e->bytes;
}

static void step(gr_worker *w, gr_store *store, uint64_t *now)
{
    gr_worker_step(w, ++*now);
    gr_store_step(store);
}

static void run(gr_worker *w, gr_store *store, fake_way *way, const arrivals *in)
{
    uint64_t now = 1700000000000;
    gr_worker_counters n = {.mailbox_depth = 1};
    for (size_t i = 0; i < in->count; i++) {
        way->frame = in->at[i];
        way->is_there = true;
        step(w, store, &now);
        if (i % 8 == 7) now += SILENCE_MS;
    }
    for (int i = 0; i < STEPS_MAX && (i < 10 || n.mailbox_depth > 0); i++) {
        step(w, store, &now);
        gr_worker_count(w, &n);
    }
    gr_assert(n.mailbox_depth == 0 && n.posts <= in->posts + n.posts_sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const gr_transport_ops ops = {.send = send_frame, .receive = receive, .wake = no_wake, .link = link_is_up};
    if (map.node_count == 0) make_map();
    gr_arena *arena = gr_arena_new(0);
    arrivals in = {0};
    const char *why;
    gr_str body = gr_arena_str(arena, gr_str_of((const char *)data, size));
    gr_node_frame_each(body, &map, PEER, SELF, worker_of, arena, take, &in, &why);
    gr_memory_disk *disk = gr_memory_disk_new();
    gr_store_options so = {.server_name = GR_STR("x"), .create = true, .incarnation = 1,
                           .engine = gr_memory_engine_new(disk, &(gr_memory_options){0})};
    fake_way way = {.transport = {&ops}};
    gr_store *store = NULL;
    gr_worker *w = NULL;
    gr_assert(!gr_failed(gr_store_open(&so, arena, &store)));
    gr_worker_options o = {.self = {SELF, GR_ENDPOINT_WORKER, 0}, .shards = shards, .find_edge = find_edge, .store = store,
                           .kinds = kinds, .transport = &way.transport, .seed = 1};
    gr_assert(!gr_failed(gr_worker_new(&o, arena, &w)));
    run(w, store, &way, &in);
    gr_worker_free(&w);
    gr_store_close(&store);
    gr_memory_disk_free(&disk);
    gr_arena_free(&arena);
    return 0;
}
