/* map.c - a treap of shared nodes. See map.h. */
#include "persistence/map.h"

#include <stdlib.h>

typedef struct {
    uint32_t refs;
    gr_op_kind kind;
    size_t key_size, value_size;
    char bytes[];
} item;

struct gr_map_node {
    gr_map_node *left, *right;
    item *item;
    uint32_t refs, priority;
};

static gr_str item_key(const item *it) { return (gr_str){it->bytes, it->key_size}; }
static gr_str item_value(const item *it) { return (gr_str){it->bytes + it->key_size, it->value_size}; }

static item *item_new(gr_op_kind kind, gr_str key, gr_str value)
{
    item *it = gr_realloc(NULL, sizeof *it + key.size + value.size);
    *it = (item){.refs = 1, .kind = kind, .key_size = key.size, .value_size = value.size};
    if (key.size) memcpy(it->bytes, key.ptr, key.size);
    if (value.size) memcpy(it->bytes + key.size, value.ptr, value.size);
    return it;
}

static void item_drop(item *it)
{
    if (--it->refs == 0) free(it);
}

static void node_drop(gr_map_node *node)
{
    if (!node || --node->refs > 0) return;
    node_drop(node->left);
    node_drop(node->right);
    item_drop(node->item);
    free(node);
}

static gr_map_node *node_new(item *it, uint32_t priority)
{
    gr_map_node *node = gr_realloc(NULL, sizeof *node);
    *node = (gr_map_node){.item = it, .refs = 1, .priority = priority};
    return node;
}

/* Turns a reference to a node into one that nobody shares. */
static gr_map_node *node_own(gr_map_node *node)
{
    if (node->refs == 1) return node;
    gr_map_node *mine = node_new(node->item, node->priority);
    node->item->refs++;
    mine->left = node->left;
    mine->right = node->right;
    if (mine->left) mine->left->refs++;
    if (mine->right) mine->right->refs++;
    node->refs--;
    return mine;
}

/* Priorities come from a counter and not from the keys, so that nobody outside can choose keys that
 * unbalance the tree. */
static uint32_t next_priority(gr_map *map)
{
    uint64_t z = map->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

static gr_map_node *insert(gr_map *map, gr_map_node *node, item *it)
{
    if (!node) {
        map->count++;
        return node_new(it, next_priority(map));
    }
    node = node_own(node);
    int order = gr_str_cmp(item_key(it), item_key(node->item));
    if (order == 0) {
        map->bytes -= node->item->key_size + node->item->value_size;
        item_drop(node->item);
        node->item = it;
        return node;
    }
    gr_map_node **side = order < 0 ? &node->left : &node->right;
    gr_map_node *child = *side = insert(map, *side, it);
    if (child->priority <= node->priority) return node;
    gr_map_node **inner = order < 0 ? &child->right : &child->left;
    *side = *inner;
    *inner = node;
    return child;
}

static gr_map_node *merge(gr_map_node *low, gr_map_node *high)
{
    if (!low) return high;
    if (!high) return low;
    if (low->priority > high->priority) {
        low = node_own(low);
        low->right = merge(low->right, high);
        return low;
    }
    high = node_own(high);
    high->left = merge(low, high->left);
    return high;
}

/* The key is known to be there. */
static gr_map_node *take_out(gr_map_node *node, gr_str key)
{
    node = node_own(node);
    int order = gr_str_cmp(key, item_key(node->item));
    if (order < 0) node->left = take_out(node->left, key);
    if (order > 0) node->right = take_out(node->right, key);
    if (order != 0) return node;
    gr_map_node *rest = merge(node->left, node->right);
    node->left = node->right = NULL;
    node_drop(node);
    return rest;
}

void gr_map_put(gr_map *map, gr_op_kind kind, gr_str key, gr_str value)
{
    map->root = insert(map, map->root, item_new(kind, key, value));
    map->bytes += key.size + value.size;
}

bool gr_map_remove(gr_map *map, gr_str key)
{
    gr_map_entry entry;
    if (!gr_map_find(map, key, &entry)) return false;
    map->count--;
    map->bytes -= entry.key.size + entry.value.size;
    map->root = take_out(map->root, key);
    return true;
}

static bool give(const gr_map_node *node, gr_map_entry *out)
{
    if (!node) {
        *out = (gr_map_entry){0};
        return false;
    }
    *out = (gr_map_entry){item_key(node->item), item_value(node->item), node->item->kind};
    return true;
}

bool gr_map_find(const gr_map *map, gr_str key, gr_map_entry *out)
{
    const gr_map_node *node = map->root;
    while (node) {
        int order = gr_str_cmp(key, item_key(node->item));
        if (order == 0) break;
        node = order < 0 ? node->left : node->right;
    }
    return give(node, out);
}

bool gr_map_seek(const gr_map *map, gr_str key, gr_map_where where, gr_map_entry *out)
{
    const gr_map_node *node = map->root, *best = NULL;
    bool last = where == GR_MAP_BEFORE && key.size == 0;
    while (node) {
        int order = last ? 1 : gr_str_cmp(key, item_key(node->item));
        bool is_before = order > 0 || (order == 0 && where == GR_MAP_AFTER);
        if (is_before == (where == GR_MAP_BEFORE)) best = node;
        node = is_before ? node->right : node->left;
    }
    return give(best, out);
}

gr_map gr_map_copy(const gr_map *map)
{
    if (map->root) map->root->refs++;
    return *map;
}

void gr_map_free(gr_map *map)
{
    node_drop(map->root);
    *map = (gr_map){0};
}
