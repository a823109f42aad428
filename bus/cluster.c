/* cluster.c - building, checking and comparing maps of a cluster. See cluster.h. */
#include "bus/cluster.h"

#include <sodium.h>
#include <stdio.h>
#include <zmq.h>

/* --- keys --- */
void gr_cluster_public_key(const uint8_t secret[GR_CLUSTER_KEY_SIZE], uint8_t out[GR_CLUSTER_KEY_SIZE])
{
    (void)crypto_scalarmult_base(out, secret);
}

bool gr_cluster_key_parse(gr_str text, uint8_t out[GR_CLUSTER_KEY_SIZE])
{
    char copy[GR_CLUSTER_KEY_TEXT] = {0};
    size_t size = 0;
    if (text.size == GR_CLUSTER_KEY_TEXT - 1) {
        memcpy(copy, text.ptr, text.size);
        return zmq_z85_decode(out, copy) != NULL;
    }
    int form = gr_str_ends(text, GR_STR("=")) ? sodium_base64_VARIANT_ORIGINAL
                                              : sodium_base64_VARIANT_ORIGINAL_NO_PADDING;
    return sodium_base642bin(out, GR_CLUSTER_KEY_SIZE, text.ptr, text.size, NULL, &size, NULL, form) == 0
           && size == GR_CLUSTER_KEY_SIZE;
}

void gr_cluster_key_print(const uint8_t key[GR_CLUSTER_KEY_SIZE], char out[GR_CLUSTER_KEY_TEXT])
{
    gr_assert(zmq_z85_encode(out, key, GR_CLUSTER_KEY_SIZE));
}

/* --- building --- */
void gr_cluster_init(gr_cluster *c, uint64_t generation)
{
    memset(c, 0, sizeof *c);
    c->generation = generation;
    memset(c->owner, GR_CLUSTER_NOBODY, sizeof c->owner);
}

static bool good_name(gr_str name)
{
    if (name.size == 0 || name.size > GR_CLUSTER_NAME_MAX) return false;
    for (size_t i = 0; i < name.size; i++) {
        char c = name.ptr[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_letter && c != '-' && c != '_') return false;
    }
    return true;
}

static bool good_address(gr_str address)
{
    uint64_t port = 0;
    size_t colon = address.size;
    if (address.size > GR_CLUSTER_ADDRESS_MAX) return false;
    while (colon > 0 && address.ptr[colon - 1] != ':') colon--;
    if (colon < 2) return false;
    for (size_t i = 0; i < address.size; i++)
        if (address.ptr[i] <= ' ' || address.ptr[i] == '/' || address.ptr[i] == ';' || address.ptr[i] > '~')
            return false;
    return gr_str_u64(gr_str_from(address, colon), &port) && port > 0 && port < 65536;
}

gr_err gr_cluster_add(gr_cluster *c, gr_arena *a, gr_str name, gr_str address, gr_str key, bool is_revoked)
{
    if (c->node_count == GR_CLUSTER_NODES_MAX)
        return gr_failf(a, GR_INVALID_PARAM, "a cluster has at most %d nodes", GR_CLUSTER_NODES_MAX);
    if (!good_name(name))
        return gr_failf(a, GR_INVALID_PARAM,
                        "the name of node %u must be 1 to %d letters, digits, '-' or '_': \"%" GR_FMT "\"",
                        c->node_count + 1, GR_CLUSTER_NAME_MAX, GR_ARG(name));
    if (!good_address(address))
        return gr_failf(a, GR_INVALID_PARAM, "the address of node %" GR_FMT " must be host:port: \"%" GR_FMT "\"",
                        GR_ARG(name), GR_ARG(address));
    gr_cluster_node *n = &c->nodes[c->node_count];
    memset(n, 0, sizeof *n);
    if (!gr_cluster_key_parse(key, n->public_key))
        return gr_failf(a, GR_INVALID_PARAM,
                        "the key of node %" GR_FMT " must be 32 bytes as Z85 or base64, as `greenroom init` prints it",
                        GR_ARG(name));
    memcpy(n->name, name.ptr, name.size);
    memcpy(n->address, address.ptr, address.size);
    n->is_revoked = is_revoked;
    c->node_count++;
    return gr_ok();
}

gr_err gr_cluster_deal(gr_cluster *c, gr_arena *a, gr_str name, unsigned first, unsigned last)
{
    int node = gr_cluster_find(c, name);
    if (node < 0)
        return gr_failf(a, GR_INVALID_PARAM, "shards are dealt to %" GR_FMT ", which is no node of the list",
                        GR_ARG(name));
    if (first > last || last >= GR_SHARDS)
        return gr_failf(a, GR_INVALID_PARAM, "node %" GR_FMT " has the shards %u to %u; shards are 0 to %d",
                        GR_ARG(name), first, last, GR_SHARDS - 1);
    for (unsigned s = first; s <= last; s++)
        if (c->owner[s] != GR_CLUSTER_NOBODY)
            return gr_failf(a, GR_INVALID_PARAM, "shard %u is dealt to both %s and %s", s,
                            c->nodes[c->owner[s]].name, c->nodes[node].name);
    memset(c->owner + first, node, last - first + 1);
    return gr_ok();
}

void gr_cluster_deal_evenly(gr_cluster *c)
{
    unsigned takers[GR_CLUSTER_NODES_MAX], count = 0, open = 0, dealt = 0;
    for (unsigned i = 0; i < c->node_count; i++)
        if (!c->nodes[i].is_revoked) takers[count++] = i;
    for (unsigned s = 0; s < GR_SHARDS; s++) open += c->owner[s] == GR_CLUSTER_NOBODY;
    for (unsigned s = 0; s < GR_SHARDS && count > 0; s++)
        if (c->owner[s] == GR_CLUSTER_NOBODY) c->owner[s] = (uint8_t)takers[dealt++ * count / open];
}

static gr_err check_pair(gr_arena *a, const gr_cluster_node *x, const gr_cluster_node *y)
{
    const char *what = NULL;
    if (strcmp(x->name, y->name) == 0) what = "name";
    else if (memcmp(x->public_key, y->public_key, sizeof x->public_key) == 0) what = "key";
    else if (!x->is_revoked && !y->is_revoked && strcmp(x->address, y->address) == 0) what = "address";
    if (!what) return gr_ok();
    return gr_failf(a, GR_INVALID_PARAM, "the nodes %s and %s have the same %s", x->name, y->name, what);
}

gr_err gr_cluster_check(const gr_cluster *c, gr_arena *a)
{
    gr_err err = gr_ok();
    if (c->node_count == 0) return gr_fail(GR_INVALID_PARAM, "the cluster has no nodes");
    for (unsigned i = 0; i < c->node_count && !gr_failed(err); i++)
        for (unsigned j = i + 1; j < c->node_count && !gr_failed(err); j++)
            err = check_pair(a, &c->nodes[i], &c->nodes[j]);
    for (unsigned s = 0; s < GR_SHARDS && !gr_failed(err); s++) {
        if (c->owner[s] >= c->node_count)
            err = gr_failf(a, GR_INVALID_PARAM, "shard %u is dealt to no node", s);
        else if (c->nodes[c->owner[s]].is_revoked)
            err = gr_failf(a, GR_INVALID_PARAM, "shard %u is dealt to node %s, which is revoked", s,
                           c->nodes[c->owner[s]].name);
    }
    return err;
}

/* --- looking --- */
int gr_cluster_find(const gr_cluster *c, gr_str name)
{
    for (unsigned i = 0; i < c->node_count; i++)
        if (gr_str_is(name, c->nodes[i].name)) return (int)i;
    return -1;
}

int gr_cluster_find_key(const gr_cluster *c, const uint8_t key[GR_CLUSTER_KEY_SIZE])
{
    for (unsigned i = 0; i < c->node_count; i++)
        if (memcmp(key, c->nodes[i].public_key, GR_CLUSTER_KEY_SIZE) == 0) return (int)i;
    return -1;
}

unsigned gr_cluster_shards(const gr_cluster *c, unsigned node)
{
    unsigned count = 0;
    for (unsigned s = 0; s < GR_SHARDS; s++) count += c->owner[s] == node;
    return count;
}

/* --- bytes: generation, nodes (name, address, key, revoked), owners --- */
static void put_text(gr_buf *out, const char *text)
{
    gr_buf_char(out, (char)strlen(text));
    gr_buf_c(out, text);
}

void gr_cluster_encode(gr_buf *out, const gr_cluster *c)
{
    gr_buf_u64be(out, c->generation);
    gr_buf_char(out, (char)c->node_count);
    for (unsigned i = 0; i < c->node_count; i++) {
        put_text(out, c->nodes[i].name);
        put_text(out, c->nodes[i].address);
        gr_buf_add(out, c->nodes[i].public_key, GR_CLUSTER_KEY_SIZE);
        gr_buf_char(out, c->nodes[i].is_revoked);
    }
    gr_buf_add(out, c->owner, sizeof c->owner);
}

static bool take(gr_str *in, size_t size, void *out)
{
    if (in->size < size) return false;
    if (size) memcpy(out, in->ptr, size);      /* an empty view may point nowhere */
    *in = gr_str_from(*in, size);
    return true;
}

static bool take_text(gr_str *in, char *out, size_t max)
{
    uint8_t size = 0;
    if (!take(in, 1, &size) || size > max || !take(in, size, out)) return false;
    out[size] = 0;
    return true;
}

gr_err gr_cluster_decode(gr_str bytes, gr_cluster *c)
{
    char generation[8];
    uint8_t count = 0, revoked = 0;
    gr_cluster_init(c, 0);
    bool good = take(&bytes, sizeof generation, generation) && take(&bytes, 1, &count)
                && count <= GR_CLUSTER_NODES_MAX;
    if (good) c->generation = gr_u64be(generation);
    for (; good && c->node_count < count; c->node_count++) {
        gr_cluster_node *n = &c->nodes[c->node_count];
        good = take_text(&bytes, n->name, GR_CLUSTER_NAME_MAX) && good_name(gr_str_c(n->name))
               && take_text(&bytes, n->address, GR_CLUSTER_ADDRESS_MAX) && good_address(gr_str_c(n->address))
               && take(&bytes, sizeof n->public_key, n->public_key) && take(&bytes, 1, &revoked);
        n->is_revoked = revoked;
    }
    good = good && take(&bytes, sizeof c->owner, c->owner) && bytes.size == 0;
    for (unsigned s = 0; good && s < GR_SHARDS; s++) good = c->owner[s] < count;
    if (good) return gr_ok();
    gr_cluster_init(c, 0);
    return gr_fail(GR_BAD_JSON, "not a map of a cluster");
}

void gr_cluster_hash(const gr_cluster *c, uint8_t out[GR_CLUSTER_HASH_SIZE])
{
    gr_buf bytes = {0};
    gr_cluster_encode(&bytes, c);
    crypto_generichash(out, GR_CLUSTER_HASH_SIZE, (const uint8_t *)bytes.ptr, bytes.size, NULL, 0);
    gr_buf_free(&bytes);
}

/* --- differences --- */
static gr_str node_difference(gr_arena *a, const gr_cluster_node *x, const gr_cluster_node *y)
{
    if (strcmp(x->address, y->address) != 0)
        return gr_arena_printf(a, "the address of node %s: here %s, there %s", x->name, x->address, y->address);
    if (memcmp(x->public_key, y->public_key, sizeof x->public_key) != 0) {
        char here[GR_CLUSTER_KEY_TEXT], there[GR_CLUSTER_KEY_TEXT];
        gr_cluster_key_print(x->public_key, here);
        gr_cluster_key_print(y->public_key, there);
        return gr_arena_printf(a, "the public key of node %s: here %s, there %s", x->name, here, there);
    }
    if (x->is_revoked != y->is_revoked)
        return gr_arena_printf(a, "node %s is revoked %s", x->name, x->is_revoked ? "here, not there" : "there, not here");
    return (gr_str){0};
}

static gr_str missing(gr_arena *a, const gr_cluster *x, const gr_cluster *y, const char *where)
{
    for (unsigned i = 0; i < x->node_count; i++)
        if (gr_cluster_find(y, gr_str_c(x->nodes[i].name)) < 0)
            return gr_arena_printf(a, "node %s is only in the list %s", x->nodes[i].name, where);
    return (gr_str){0};
}

static gr_str list_difference(gr_arena *a, const gr_cluster *here, const gr_cluster *there)
{
    gr_str found = missing(a, here, there, "here");
    if (!found.size) found = missing(a, there, here, "there");
    for (unsigned i = 0; i < here->node_count && !found.size; i++) {
        int other = gr_cluster_find(there, gr_str_c(here->nodes[i].name));
        found = node_difference(a, &here->nodes[i], &there->nodes[other]);
        if (!found.size && (unsigned)other != i)
            found = gr_arena_printf(a, "the order of the nodes: %s is number %u here, %d there",
                                    here->nodes[i].name, i + 1, other + 1);
    }
    return found;
}

gr_str gr_cluster_difference(gr_arena *a, const gr_cluster *here, const gr_cluster *there)
{
    gr_str found = list_difference(a, here, there);
    for (unsigned s = 0; s < GR_SHARDS && !found.size; s++)
        if (here->owner[s] != there->owner[s])
            found = gr_arena_printf(a, "the node of shard %u: here %s, there %s", s,
                                    here->owner[s] < here->node_count ? here->nodes[here->owner[s]].name : "none",
                                    there->owner[s] < there->node_count ? there->nodes[there->owner[s]].name : "none");
    if (!found.size && here->generation != there->generation)
        found = gr_arena_printf(a, "the generation: here %llu, there %llu", (unsigned long long)here->generation,
                                (unsigned long long)there->generation);
    return found;
}
