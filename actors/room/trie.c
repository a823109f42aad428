/* trie.c - persistent state. See trie.h.
 *
 * A node is 16 slots, each empty, a leaf (key, event) or a branch (node).  A key sits in the highest slot of
 * its path that it has for itself, and moves down when another key comes to share it.  Bytes: format (1),
 * two bits per slot (4), then varints: leaf: key, event; branch: node.
 */
#include "actors/room/trie.h"

#include <stdlib.h>

enum { FORMAT = 1, EMPTY = 0, LEAF = 1, BRANCH = 2 };

typedef struct {
    unsigned kind;
    uint64_t a, b;
} slot; /* leaf: key, event; branch: node, - */
typedef struct {
    slot at[GR_TRIE_BRANCHES];
} node;

static unsigned digit(uint64_t key, unsigned depth) { return (unsigned)(key >> (4 * depth)) & 15; }

static bool parse(gr_str bytes, node *out)
{
    *out = (node){0};
    if (bytes.size < 5 || bytes.ptr[0] != FORMAT) return false;
    uint32_t kinds = gr_u32be(bytes.ptr + 1);
    gr_str rest = gr_str_from(bytes, 5);
    for (int i = 0; i < GR_TRIE_BRANCHES; i++) {
        slot *s = &out->at[i];
        s->kind = kinds >> (2 * i) & 3;
        if (s->kind != EMPTY && !gr_str_varint(&rest, &s->a)) return false;
        if (s->kind == LEAF && !gr_str_varint(&rest, &s->b)) return false;
    }
    return true;
}

/* A node that can't be read is a broken store: the reads above it answer "nothing", and fsck names it. */
static bool load(const gr_trie *t, uint64_t number, node *out)
{
    gr_str bytes;
    *out = (node){0};
    return number && t->get(t->arg, number, &bytes) && parse(bytes, out);
}

size_t gr_trie_branches(gr_str bytes, uint64_t out[GR_TRIE_BRANCHES])
{
    node n;
    size_t count = 0;
    if (!parse(bytes, &n)) return 0;
    for (int i = 0; i < GR_TRIE_BRANCHES; i++)
        if (n.at[i].kind == BRANCH) out[count++] = n.at[i].a;
    return count;
}

static void write(gr_buf *out, const node *n)
{
    uint32_t kinds = 0;
    for (int i = 0; i < GR_TRIE_BRANCHES; i++) kinds |= (uint32_t)n->at[i].kind << (2 * i);
    gr_buf_char(out, FORMAT);
    gr_buf_u32be(out, kinds);
    for (int i = 0; i < GR_TRIE_BRANCHES; i++) {
        if (n->at[i].kind != EMPTY) gr_buf_varint(out, n->at[i].a);
        if (n->at[i].kind == LEAF) gr_buf_varint(out, n->at[i].b);
    }
}

static uint64_t save(const gr_trie *t, const node *n)
{
    gr_buf out = {0};
    write(&out, n);
    uint64_t number = (*t->next_node)++;
    gr_assert(number > 0);
    t->put(t->arg, number, gr_buf_view(&out));
    gr_buf_free(&out);
    return number;
}

bool gr_trie_renumber(gr_buf *out, gr_str bytes, uint64_t first, uint64_t by)
{
    node n;
    if (!parse(bytes, &n)) return false;
    for (int i = 0; i < GR_TRIE_BRANCHES; i++)
        if (n.at[i].kind == BRANCH && n.at[i].a >= first) n.at[i].a += by;
    write(out, &n);
    return true;
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

/* --- changes -------------------------------------------------------------------------------------------- */
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

/* The slot that a changed node becomes: empty, its only leaf moved up, or a branch to the saved node. */
static slot settle(const gr_trie *t, const node *n)
{
    slot only = {0};
    unsigned count = filled(n, &only);
    if (count == 0) return (slot){0};
    if (count == 1 && only.kind == LEAF) return only;
    return (slot){BRANCH, save(t, n), 0};
}

/* A leaf stands for the node that would hold nothing but it. */
static void expand(const gr_trie *t, slot s, unsigned depth, node *out)
{
    *out = (node){0};
    if (s.kind == BRANCH) load(t, s.a, out);
    if (s.kind == LEAF) out->at[digit(s.a, depth)] = s;
}

static slot set(const gr_trie *t, slot here, const gr_trie_change *c, size_t count, unsigned depth);

/* Changes whose keys share their path down to this node, in the order of walks. */
static bool set_slots(const gr_trie *t, node *n, const gr_trie_change *c, size_t count, unsigned depth)
{
    bool is_changed = false;
    for (size_t i = 0, end; i < count; i = end) {
        unsigned d = digit(c[i].key, depth);
        for (end = i + 1; end < count && digit(c[end].key, depth) == d;) end++;
        slot s = set(t, n->at[d], c + i, end - i, depth + 1);
        is_changed = is_changed || !same(s, n->at[d]);
        n->at[d] = s;
    }
    return is_changed;
}

static slot set(const gr_trie *t, slot here, const gr_trie_change *c, size_t count, unsigned depth)
{
    node n;
    bool alone = here.kind == EMPTY || (here.kind == LEAF && here.a == c->key);
    if (count == 1 && alone) return c->event ? (slot){LEAF, c->key, c->event} : (slot){0};
    expand(t, here, depth, &n);
    return set_slots(t, &n, c, count, depth) ? settle(t, &n) : here;
}

/* Does one key come after another in the order of walks: by digits, the lowest first? */
static bool comes_after(uint64_t key, uint64_t other)
{
    uint64_t differing = key ^ other;
    if (differing == 0) return false;
    unsigned depth = (unsigned)__builtin_ctzll(differing) / 4;
    return digit(key, depth) > digit(other, depth);
}

static int in_walk_order(const void *a, const void *b)
{
    uint64_t x = ((const gr_trie_change *)a)->key, y = ((const gr_trie_change *)b)->key;
    gr_assert(a == b || x != y);
    return comes_after(x, y) - comes_after(y, x);
}

uint64_t gr_trie_set_all(const gr_trie *t, uint64_t root, gr_trie_change *changes, size_t count)
{
    node n;
    slot only;
    if (count > 1) qsort(changes, count, sizeof *changes, in_walk_order);
    load(t, root, &n);
    if (!set_slots(t, &n, changes, count, 0)) return root;
    return filled(&n, &only) ? save(t, &n) : 0;
}

uint64_t gr_trie_set(const gr_trie *t, uint64_t root, uint64_t key, uint64_t event)
{
    gr_assert(key > 0);
    return gr_trie_set_all(t, root, &(gr_trie_change){key, event}, 1);
}

/* --- walks ---------------------------------------------------------------------------------------------- */
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

/* --- differences ---------------------------------------------------------------------------------------- */
typedef struct {
    const gr_trie *t;
    uint64_t after;
    gr_trie_diff_fn *fn;
    void *arg;
} differ;

static bool tell(const differ *d, uint64_t key, uint64_t before, uint64_t after)
{
    return before == after || !comes_after(key, d->after) || d->fn(d->arg, key, before, after);
}

static bool diff_leaves(const differ *d, slot x, slot y)
{
    if (x.kind == LEAF && y.kind == LEAF && x.a == y.a) return tell(d, x.a, x.b, y.b);
    bool x_last = x.kind == LEAF && y.kind == LEAF && comes_after(x.a, y.a);
    if (x.kind == LEAF && !x_last && !tell(d, x.a, x.b, 0)) return false;
    if (y.kind == LEAF && !tell(d, y.a, 0, y.b)) return false;
    return !x_last || tell(d, x.a, x.b, 0);
}

/* on_path: the keys so far are those of the key to begin after, so what lies before its next digit is passed over. */
static bool diff_slots(const differ *d, slot x, slot y, unsigned depth, bool on_path)
{
    if (x.kind == BRANCH && y.kind == BRANCH && x.a == y.a) return true;
    if (x.kind != BRANCH && y.kind != BRANCH) return diff_leaves(d, x, y);
    if (depth >= GR_TRIE_DEPTH_MAX) return true;
    node nx, ny;
    expand(d->t, x, depth, &nx);
    expand(d->t, y, depth, &ny);
    unsigned first = on_path ? digit(d->after, depth) : 0;
    for (unsigned i = first; i < GR_TRIE_BRANCHES; i++)
        if (!diff_slots(d, nx.at[i], ny.at[i], depth + 1, on_path && i == first)) return false;
    return true;
}

void gr_trie_diff_from(const gr_trie *t, uint64_t before, uint64_t after, uint64_t key, gr_trie_diff_fn *fn,
                       void *arg)
{
    differ d = {t, key, fn, arg};
    slot x = {before ? BRANCH : EMPTY, before, 0}, y = {after ? BRANCH : EMPTY, after, 0};
    diff_slots(&d, x, y, 0, key != 0);
}

void gr_trie_diff(const gr_trie *t, uint64_t before, uint64_t after, gr_trie_diff_fn *fn, void *arg)
{
    gr_trie_diff_from(t, before, after, 0, fn, arg);
}
