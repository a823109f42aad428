/* trie.h - room state as a persistent trie: key number -> event number, nodes stored once and shared between
 * versions.
 *
 * A state is the number of its root node; 0 is the empty state.  A radix tree of 16 branches over the key
 * number, lowest digit first: the room gives key numbers densely, which keeps it balanced.  Setting a key
 * writes O(log16 n) new nodes; the difference of two roots walks only what differs.  Pure: nodes are read
 * and written through the callbacks.
 */
#pragma once
#include "proto/str.h"

enum { GR_TRIE_BRANCHES = 16, GR_TRIE_DEPTH_MAX = 16 };

typedef struct {
    /* The bytes of a node, valid until the arena of the caller ends; false when there is none (a broken
     * store). */
    bool (*get)(void *arg, uint64_t node, gr_str *bytes);
    void (*put)(void *arg, uint64_t node, gr_str bytes);
    void *arg;
    uint64_t *next_node;           /* numbers for new nodes come from here */
} gr_trie;

/* The event number of a key, or 0. */
uint64_t gr_trie_get(const gr_trie *, uint64_t root, uint64_t key);
/* The root of the state that has key -> event (0 removes the key). */
uint64_t gr_trie_set(const gr_trie *, uint64_t root, uint64_t key, uint64_t event);
/* The same for many keys, each named once: what they share is written once.  Leaves them in the order of walks. */
typedef struct { uint64_t key, event; } gr_trie_change;
uint64_t gr_trie_set_all(const gr_trie *, uint64_t root, gr_trie_change *, size_t count);
/* Writes a node as it is when nodes from `first` on have numbers higher by `by`; false when it can't be read. */
bool gr_trie_renumber(gr_buf *out, gr_str bytes, uint64_t first, uint64_t by);

/* The nodes that a node names; none when it can't be read. */
size_t gr_trie_branches(gr_str bytes, uint64_t out[GR_TRIE_BRANCHES]);

/* Every pair, in no meaningful order.  False stops. */
typedef bool gr_trie_fn(void *arg, uint64_t key, uint64_t event);
void gr_trie_each(const gr_trie *, uint64_t root, gr_trie_fn *, void *arg);
/* Every key whose event differs between two states; 0 where a side has none. */
typedef bool gr_trie_diff_fn(void *arg, uint64_t key, uint64_t before, uint64_t after);
void gr_trie_diff(const gr_trie *, uint64_t before, uint64_t after, gr_trie_diff_fn *, void *arg);
/* The same, beginning with what comes after a key in the order of these walks (by digits of 16, the lowest first); 0: all.
 * So a walk that its callback ended goes on later from the last key told, on the same roots. */
void gr_trie_diff_from(const gr_trie *, uint64_t before, uint64_t after, uint64_t key, gr_trie_diff_fn *, void *arg);
