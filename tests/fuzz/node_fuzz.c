/* node_fuzz.c - any bytes as what another node sends: its header, its HELLO with a map, its envelopes. What is
 * handed on is for us and from a sender that the peer may claim. */
#include "bus/link.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SELF = 0, PEER = 1 };

static gr_cluster map;
static uint8_t worker[GR_SHARDS];

static void make_map(void)
{
    static const char *const keys[] = {"0000000000000000000000000000000000000001",
                                       "0000000000000000000000000000000000000002",
                                       "0000000000000000000000000000000000000003"};
    gr_arena *a = gr_arena_new(0);
    gr_cluster_init(&map, 1);
    for (int i = 0; i < 3; i++)
        gr_assert(!gr_failed(gr_cluster_add(&map, a, gr_arena_printf(a, "n%d", i + 1),
                                            gr_arena_printf(a, "h:%d", i + 1), gr_str_c(keys[i]), false)));
    gr_cluster_deal_evenly(&map);
    for (unsigned s = 0; s < GR_SHARDS; s++) worker[s] = (uint8_t)(s % 3);
    gr_arena_free(&a);
}

static void on_envelope(void *arg, const gr_node_envelope *out)
{
    gr_envelope e;
    size_t *handed = arg;
    ++*handed;
    gr_assert(out->bytes.size >= 4 && out->bytes.size - 4 == gr_u32be(out->bytes.ptr));
    gr_assert(!gr_failed(gr_envelope_decode(gr_str_from(out->bytes, 4), &e)));
    if (!out->is_edge) gr_assert(map.owner[out->shard] == SELF);
    if (e.verb == GR_CONTROL || (e.verb == GR_REPLY && gr_str_eq(e.from, e.to))) return;
    gr_assert(gr_address_valid(e.from) && gr_address_valid(e.to));
    if (gr_address_kind(e.from) != GR_KIND_EDGE) gr_assert(map.owner[gr_address_shard(e.from)] == PEER);
}

static void hear(gr_arena *a, const gr_node_frame *f, gr_str body)
{
    static gr_level level = {.low = 1, .high = 2, .now = 1};
    static gr_link_self self = {.cluster = &map, .index = SELF, .start = 77, .level = &level};
    gr_node_hello h;
    gr_link link;
    uint64_t freed;
    bool rival;
    if (gr_failed(gr_node_hello_decode(body, &h))) return;
    gr_cluster_hash(&map, self.hash);
    gr_link_init(&link, PEER, 1000);
    link.sent = 5000;
    for (uint64_t now = 1001; now < 1004; now++) {
        gr_link_heard(&link, &self, f, &h, now, now * 1000, &freed, &rival);
        gr_assert(freed <= 5000 && link.acked <= link.sent);
    }
    gr_node_frame next = *f;
    gr_assert(gr_link_is_old(&link, f) && !gr_link_accepts(&link, &self, f));
    if (++next.seq > f->seq && gr_link_accepts(&link, &self, &next)) {
        gr_assert(link.is_compatible && f->node == PEER);
        gr_assert(gr_link_is_old(&link, &next));
    }
    gr_cluster there;
    if (!gr_failed(gr_cluster_decode(h.map, &there))) (void)gr_cluster_difference(a, &map, &there);
    gr_buf again = {0};
    gr_node_hello_encode(&again, &h);
    gr_node_hello same;
    gr_assert(!gr_failed(gr_node_hello_decode(gr_buf_view(&again), &same)));
    gr_assert(same.received == h.received && gr_str_eq(same.map, h.map));
    gr_buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (map.node_count == 0) make_map();
    gr_arena *arena = gr_arena_new(0);
    /* An own copy on the heap, so that a read past the end is seen. */
    char *copy = malloc(size ? size : 1);
    if (size) memcpy(copy, data, size);
    gr_node_frame f;
    gr_str body;
    if (!gr_failed(gr_node_frame_decode(gr_str_of(copy, size), &f, &body))) {
        const char *why;
        size_t handed = 0;
        if (f.kind == GR_NODE_FRAME_HELLO) {
            hear(arena, &f, body);
        } else {
            size_t refused =
                gr_node_frame_each(body, &map, PEER, SELF, worker, arena, on_envelope, &handed, &why);
            gr_assert((refused > 0) == (why != NULL));
        }
    }
    free(copy);
    gr_arena_free(&arena);
    return 0;
}
