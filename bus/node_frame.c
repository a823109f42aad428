/* node_frame.c - headers, HELLOs, and who may claim what. See node_frame.h. */
#include "bus/node_frame.h"
#include "proto/catalogue.h"

#include <stdio.h>

static const char magic[2] = {'G', 'R'};
enum { HELLO_FIXED = GR_CLUSTER_HASH_SIZE + 8 + 4 + 4 + 4 + 8 + 4 + 8 + 8 + 8 + 8 + 1 };

static char *put(char *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) at[i] = (char)(value >> (8 * (bytes - 1 - i)));
    return at + bytes;
}

static uint64_t get(const char **at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | (unsigned char)(*at)[i];
    *at += bytes;
    return value;
}

/* --- the header: magic 2, version 1, kind 1, node 2, epoch 2 + 2, start 8, map 6, seq 8 --- */
void gr_node_frame_header(char out[GR_NODE_FRAME_HEADER], const gr_node_frame *f)
{
    memcpy(out, magic, sizeof magic);
    char *at = put(out + 2, GR_NODE_FRAME_VERSION, 1);
    at = put(at, f->kind, 1);
    at = put(at, f->node, 2);
    at = put(at, f->epoch, 4);
    at = put(at, f->start, 8);
    at = put(at, f->map >> 16, 6);
    put(at, f->seq, 8);
}

gr_err gr_node_frame_decode(gr_str bytes, gr_node_frame *f, gr_str *body)
{
    memset(f, 0, sizeof *f);
    *body = (gr_str){0};
    if (bytes.size < GR_NODE_FRAME_HEADER || memcmp(bytes.ptr, magic, sizeof magic) != 0)
        return gr_fail(GR_BAD_JSON, "not a frame of a node");
    const char *at = bytes.ptr + sizeof magic;
    if (get(&at, 1) != GR_NODE_FRAME_VERSION) return gr_fail(GR_BAD_JSON, "a frame of another version");
    uint64_t kind = get(&at, 1);
    f->node = (uint16_t)get(&at, 2);
    f->epoch = (uint32_t)get(&at, 4);
    f->start = get(&at, 8);
    f->map = get(&at, 6) << 16;
    f->seq = get(&at, 8);
    f->kind = (gr_node_frame_kind)kind;
    *body = gr_str_from(bytes, GR_NODE_FRAME_HEADER);
    if (kind != GR_NODE_FRAME_HELLO && kind != GR_NODE_FRAME_ENVELOPES)
        return gr_fail(GR_BAD_JSON, "a frame of an unknown kind");
    if (body->size > (kind == GR_NODE_FRAME_HELLO ? (size_t)GR_NODE_HELLO_MAX : (size_t)GR_NODE_FRAME_BODY_MAX))
        return gr_fail(GR_BAD_JSON, "a frame that is too large");
    return gr_ok();
}

/* --- HELLO; what follows the known fields is of a later version and ignored, but for the map at the end --- */
void gr_node_hello_encode(gr_buf *out, const gr_node_hello *h)
{
    gr_buf_add(out, h->map_hash, sizeof h->map_hash);
    gr_buf_u64be(out, h->generation);
    gr_buf_u32be(out, h->level_low);
    gr_buf_u32be(out, h->level_high);
    gr_buf_u32be(out, h->level);
    gr_buf_u64be(out, h->heard_start);
    gr_buf_u32be(out, h->heard_epoch);
    gr_buf_u64be(out, h->received);
    gr_buf_u64be(out, h->clock_us);
    gr_buf_u64be(out, h->heard_clock_us);
    gr_buf_u64be(out, h->held_us);
    gr_buf_char(out, (char)strlen(h->name));
    gr_buf_c(out, h->name);
    gr_buf_u32be(out, (uint32_t)h->map.size);
    gr_buf_str(out, h->map);
}

gr_err gr_node_hello_decode(gr_str bytes, gr_node_hello *h)
{
    static const gr_err bad = {GR_BAD_JSON, "not a HELLO", 0};
    memset(h, 0, sizeof *h);
    if (bytes.size < HELLO_FIXED) return bad;
    const char *at = bytes.ptr + GR_CLUSTER_HASH_SIZE;
    memcpy(h->map_hash, bytes.ptr, GR_CLUSTER_HASH_SIZE);
    h->generation = get(&at, 8);
    h->level_low = (uint32_t)get(&at, 4);
    h->level_high = (uint32_t)get(&at, 4);
    h->level = (uint32_t)get(&at, 4);
    h->heard_start = get(&at, 8);
    h->heard_epoch = (uint32_t)get(&at, 4);
    h->received = get(&at, 8);
    h->clock_us = get(&at, 8);
    h->heard_clock_us = get(&at, 8);
    h->held_us = get(&at, 8);
    size_t name = (size_t)get(&at, 1);
    gr_str rest = gr_str_from(bytes, HELLO_FIXED);
    if (name > GR_CLUSTER_NAME_MAX || rest.size < name + 4) return bad;
    memcpy(h->name, rest.ptr, name);
    rest = gr_str_from(rest, name);
    size_t map = gr_u32be(rest.ptr);
    if (rest.size - 4 < map) return bad;
    h->map = gr_str_head(gr_str_from(rest, 4), map);
    return gr_ok();
}

/* --- envelopes --- */
typedef struct {
    const gr_cluster *cluster;
    unsigned peer, self;
    const uint8_t *worker;
    gr_arena *arena;
    gr_node_envelope_fn *fn;
    void *arg;
} reading;

/* "edge/<node>/<index>" of that node. */
static bool is_edge_of(const reading *r, gr_str address, unsigned node, unsigned *index)
{
    uint64_t number = 0;
    gr_str id = gr_address_id(address);
    ptrdiff_t slash = gr_str_find(id, '/');
    if (slash < 0 || !gr_str_is(gr_str_head(id, (size_t)slash), r->cluster->nodes[node].name)) return false;
    if (!gr_str_u64(gr_str_from(id, (size_t)slash + 1), &number) || number > UINT16_MAX) return false;
    *index = (unsigned)number;
    return true;
}

static bool may_claim(const reading *r, const gr_envelope *e)
{
    unsigned index;
    /* The failure of an ask whose actor is gone comes in the name of who asked. */
    if (e->verb == GR_REPLY && e->type == GR_T_error && gr_str_eq(e->from, e->to)) return true;
    if (!gr_address_valid(e->from)) return false;
    if (gr_address_kind(e->from) == GR_KIND_EDGE) return is_edge_of(r, e->from, r->peer, &index);
    return r->cluster->owner[gr_address_shard(e->from)] == r->peer;
}

static const char *hand_on_control(const reading *r, const gr_envelope *e, gr_str bytes)
{
    void *body = NULL;
    uint64_t told[GR_SHARDS / 64] = {0};
    if (e->type < GR_T_post_ack || e->type > GR_T_post_stop) return "a control message of an unknown type";
    if (gr_failed(gr_body_decode(r->arena, &gr_type_post_ack, e->body, &body))) return "an unreadable control message";
    gr_u64s pairs = ((gr_post_ack *)body)->pairs;
    if (pairs.count % 4 != 0) return "an unreadable control message";
    /* The sender of posts asks where they stand; the receiver says the rest. */
    unsigned theirs = e->type == GR_T_post_where ? 0 : 1;
    for (size_t i = 0; i < pairs.count; i += 4) {
        uint64_t claimed = pairs.at[i + theirs], ours = pairs.at[i + 1 - theirs];
        if (claimed >= GR_SHARDS || r->cluster->owner[claimed] != r->peer)
            return "it speaks for a shard of another node";
        if (ours >= GR_SHARDS || r->cluster->owner[ours] != r->self) return "it is for a shard of another node";
    }
    for (size_t i = 0; i < pairs.count; i += 4) {
        uint8_t shard = (uint8_t)pairs.at[i + 1 - theirs], worker = r->worker[shard];
        if (told[worker / 64] >> (worker % 64) & 1) continue;
        told[worker / 64] |= (uint64_t)1 << (worker % 64);
        r->fn(r->arg, &(gr_node_envelope){.shard = shard, .bytes = bytes});
    }
    return NULL;
}

static const char *hand_on(const reading *r, gr_str bytes)
{
    gr_envelope e;
    gr_node_envelope out = {.bytes = bytes};
    if (gr_failed(gr_envelope_decode(gr_str_from(bytes, 4), &e))) return "an unreadable envelope";
    if (e.verb == GR_CONTROL) return hand_on_control(r, &e, bytes);
    if (!may_claim(r, &e)) return "it claims a sender that this node does not run";
    if (!gr_address_valid(e.to)) return "it is for nobody";
    out.is_edge = gr_address_kind(e.to) == GR_KIND_EDGE;
    if (out.is_edge) {
        if (!is_edge_of(r, e.to, r->self, &out.edge)) return "it is for the edge of another node";
    } else {
        out.shard = gr_address_shard(e.to);
        if (r->cluster->owner[out.shard] != r->self) return "it is for a shard of another node";
    }
    r->fn(r->arg, &out);
    return NULL;
}

size_t gr_node_frame_each(gr_str body, const gr_cluster *cluster, unsigned peer, unsigned self,
                          const uint8_t *worker, gr_arena *arena, gr_node_envelope_fn *fn, void *arg,
                          const char **why)
{
    reading r = {cluster, peer, self, worker, arena, fn, arg};
    size_t refused = 0;
    *why = NULL;
    while (body.size > 0) {
        size_t size = body.size < 4 ? SIZE_MAX : gr_u32be(body.ptr);
        if (size > body.size - 4) {
            *why = "a frame that was cut short";
            return refused + 1;
        }
        const char *reason = hand_on(&r, gr_str_head(body, 4 + size));
        if (reason) {
            *why = reason;
            refused++;
        }
        body = gr_str_from(body, 4 + size);
    }
    return refused;
}
