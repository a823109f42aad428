/* trie.c - persistent state. See trie.h.
 *
 * A node is 16 slots, each empty, a leaf (key, event) or a branch (node).  A key sits in the highest slot of
 * its path that it has for itself, and moves down when another key comes to share it.  Bytes: format (1),
 * two bits per slot (4), then varints: leaf: key, event; branch: node.
 */
#include "actors/room/trie.h"

enum { FORMAT = 1, EMPTY = 0, LEAF = 1, BRANCH = 2 };

typedef struct {
    unsigned kind;
    uint64_t a, b;
} slot; /* leaf: key, event; branch: node, - */
typedef struct {
    slot at[GR_TRIE_BRANCHES];
} node;

static unsigned digit(uint64_t key, unsigned depth) { return (unsigned)(key >> (4 * depth)) & 15; }

static void write_varint(gr_buf *out, uint64_t n)
{
    for (; n >= 0x80; n >>= 7) gr_buf_char(out, (char)(n | 0x80));
    gr_buf_char(out, (char)n);
}

static bool read_varint(gr_str *rest, uint64_t *n)
{
    *n = 0;
    for (unsigned shift = 0; shift < 64 && rest->size; shift += 7) {
        unsigned char c = (unsigned char)rest->ptr[0];
        *rest = (gr_str){rest->ptr + 1, rest->size - 1};
        *n |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) return true;
    }
    return false;
}

/* A node that can't be read is a broken store: the reads above it answer "nothing", and fsck names it. */
static bool load(const gr_trie *t, uint64_t number, node *out)
{
    gr_str bytes;
    *out = (node){0};
    if (number == 0 || !t->get(t->arg, number, &bytes) || bytes.size < 5 || bytes.ptr[0] != FORMAT)
        return false;
    uint32_t kinds = gr_u32be(bytes.ptr + 1);
    gr_str rest = gr_str_from(bytes, 5);
    for (int i = 0; i < GR_TRIE_BRANCHES; i++) {
        slot *s = &out->at[i];
        s->kind = kinds >> (2 * i) & 3;
        if (s->kind != EMPTY && !read_varint(&rest, &s->a)) return false;
        if (s->kind == LEAF && !read_varint(&rest, &s->b)) return false;
    }
    return true;
}

static uint64_t save(const gr_trie *t, const node *n)
{
    gr_buf out = {0};
    uint32_t kinds = 0;
    for (int i = 0; i < GR_TRIE_BRANCHES; i++) kinds |= (uint32_t)n->at[i].kind << (2 * i);
    gr_buf_char(&out, FORMAT);
    gr_buf_u32be(&out, kinds);
    for (int i = 0; i < GR_TRIE_BRANCHES; i++) {
        if (n->at[i].kind != EMPTY) write_varint(&out, n->at[i].a);
        if (n->at[i].kind == LEAF) write_varint(&out, n->at[i].b);
    }
    uint64_t number = (*t->next_node)++;
    gr_assert(number > 0);
    t->put(t->arg, number, gr_buf_view(&out));
    gr_buf_free(&out);
    return number;
}

uint64_t gr_trie_get(const gr_trie *t, uint64_t root, uint64_t key)
{
    node n;
    for (unsigned depth = 0; depth < GR_TRIE_DEPTH_MAX && load(t, root, &n); depth++) {
        const slot *s = &n.at[digit(key, depth)];
        if (s->kind == LEAF) return s->a == key ? s->b : 0;
        if (s->kind == EMPTY) return 0;
        root = s->a;
    }
    return 0;
}

/* A node that holds both leaves, which share their path down to this depth. */
static uint64_t split(const gr_trie *t, slot x, slot y, unsigned depth)
{
    node n = {0};
    unsigned dx = digit(x.a, depth), dy = digit(y.a, depth);
    if (dx == dy) {
        n.at[dx] = (slot){BRANCH, split(t, x, y, depth + 1), 0};
    } else {
        n.at[dx] = x;
        n.at[dy] = y;
    }
    return save(t, &n);
}

static unsigned filled(const node *n, slot *only)
{
    unsigned count = 0;
    for (int i = 0; i < GR_TRIE_BRANCHES; i++) {
        if (n->at[i].kind == EMPTY) continue;
        count++;
        *only = n->at[i];
    }
    return count;
}

/* Field by field: a slot has padding, whose bytes mean nothing. */
static bool same(slot x, slot y) { return x.kind == y.kind && x.a == y.a && x.b == y.b; }

static slot set(const gr_trie *t, slot here, uint64_t key, uint64_t event, unsigned depth);

/* The slot that a changed node becomes: empty, its only leaf moved up, or a branch to the saved node. */
static slot settle(const gr_trie *t, const node *n)
{
    slot only = {0};
    unsigned count = filled(n, &only);
    if (count == 0) return (slot){0};
    if (count == 1 && only.kind == LEAF) return only;
    return (slot){BRANCH, save(t, n), 0};
}

static slot set(const gr_trie *t, slot here, uint64_t key, uint64_t event, unsigned depth)
{
    node n;
    if (here.kind == LEAF && here.a != key)
        return event ? (slot){BRANCH, split(t, here, (slot){LEAF, key, event}, depth), 0} : here;
    if (here.kind != BRANCH) return event ? (slot){LEAF, key, event} : (slot){0};
    load(t, here.a, &n);
    slot *s = &n.at[digit(key, depth)];
    slot changed = set(t, *s, key, event, depth + 1);
    if (same(changed, *s)) return here;
    *s = changed;
    return settle(t, &n);
}

uint64_t gr_trie_set(const gr_trie *t, uint64_t root, uint64_t key, uint64_t event)
{
    gr_assert(key > 0);
    node n;
    load(t, root, &n);
    slot *s = &n.at[digit(key, 0)];
    slot changed = set(t, *s, key, event, 1);
    if (same(changed, *s)) return root;
    *s = changed;
    slot only;
    return filled(&n, &only) ? save(t, &n) : 0;
}

static bool each(const gr_trie *t, uint64_t root, unsigned depth, gr_trie_fn *fn, void *arg)
{
    node n;
    if (depth >= GR_TRIE_DEPTH_MAX || !load(t, root, &n)) return true;
    for (int i = 0; i < GR_TRIE_BRANCHES; i++) {
        const slot *s = &n.at[i];
        if (s->kind == LEAF && !fn(arg, s->a, s->b)) return false;
        if (s->kind == BRANCH && !each(t, s->a, depth + 1, fn, arg)) return false;
    }
    return true;
}

void gr_trie_each(const gr_trie *t, uint64_t root, gr_trie_fn *fn, void *arg) { each(t, root, 0, fn, arg); }

typedef struct {
    const gr_trie *t;
    gr_trie_diff_fn *fn;
    void *arg;
} differ;
typedef struct {
    const differ *d;
    bool before;
    uint64_t key, other;
} side;

/* One side has a whole subtree, the other at most the one leaf (key, other): tell all of it, and the leaf
 * once. */
static bool tell_side(void *arg, uint64_t key, uint64_t event)
{
    side *s = arg;
    uint64_t other = 0;
    if (key == s->key) {
        other = s->other;
        s->key = 0;
    }
    if (event == other) return true;
    return s->before ? s->d->fn(s->d->arg, key, event, other) : s->d->fn(s->d->arg, key, other, event);
}

static bool diff_slots(const differ *d, slot x, slot y, unsigned depth);

static bool diff_subtree(const differ *d, slot tree, slot leaf, bool tree_is_before, unsigned depth)
{
    side s = {d, tree_is_before, leaf.kind == LEAF ? leaf.a : 0, leaf.kind == LEAF ? leaf.b : 0};
    if (!each(d->t, tree.a, depth, tell_side, &s)) return false;
    if (s.key == 0) return true;
    return tree_is_before ? d->fn(d->arg, s.key, 0, s.other) : d->fn(d->arg, s.key, s.other, 0);
}

static bool diff_leaves(const differ *d, slot x, slot y)
{
    if (x.kind == LEAF && y.kind == LEAF && x.a == y.a) return x.b == y.b || d->fn(d->arg, x.a, x.b, y.b);
    if (x.kind == LEAF && !d->fn(d->arg, x.a, x.b, 0)) return false;
    return y.kind != LEAF || d->fn(d->arg, y.a, 0, y.b);
}

static bool diff_slots(const differ *d, slot x, slot y, unsigned depth)
{
    node nx, ny;
    if (depth > GR_TRIE_DEPTH_MAX) return true;
    if (x.kind == BRANCH && y.kind == BRANCH) {
        if (x.a == y.a) return true;
        load(d->t, x.a, &nx);
        load(d->t, y.a, &ny);
        for (int i = 0; i < GR_TRIE_BRANCHES; i++)
            if (!diff_slots(d, nx.at[i], ny.at[i], depth + 1)) return false;
        return true;
    }
    if (x.kind == BRANCH) return diff_subtree(d, x, y, true, depth);
    if (y.kind == BRANCH) return diff_subtree(d, y, x, false, depth);
    return diff_leaves(d, x, y);
}

void gr_trie_diff(const gr_trie *t, uint64_t before, uint64_t after, gr_trie_diff_fn *fn, void *arg)
{
    differ d = {t, fn, arg};
    slot x = {before ? BRANCH : EMPTY, before, 0}, y = {after ? BRANCH : EMPTY, after, 0};
    diff_slots(&d, x, y, 0);
}
