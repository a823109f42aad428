/* overlay.c - uncommitted layers over a shard. See overlay.h. */
#include "persistence/overlay.h"
#include "persistence/map.h"

#include <stdlib.h>

enum { NODE_BYTES = 72 };             /* about what an entry costs beside its key and value */

typedef struct { uint64_t group; bool sealed; gr_map rows; } layer;

struct gr_overlay {
    gr_shard *shard;
    gr_row_cache *cache;              /* NULL: none */
    layer layers[GR_OVERLAY_LAYERS];  /* oldest first */
    size_t count;
    gr_ops ops;                       /* reused by seal */
};

gr_overlay *gr_overlay_new(gr_shard *shard, gr_row_cache *cache)
{
    gr_overlay *o = gr_alloc(sizeof *o);
    o->shard = shard;
    o->cache = cache;
    return o;
}

void gr_overlay_free(gr_overlay **at)
{
    if (!*at) return;
    gr_overlay_drop(*at);
    gr_ops_free(&(*at)->ops);
    free(*at);
    *at = NULL;
}

static layer *layer_of(gr_overlay *o, uint64_t group)
{
    layer *newest = o->count ? &o->layers[o->count - 1] : NULL;
    if (newest && newest->group == group) {
        gr_assert(!newest->sealed);
        return newest;
    }
    gr_assert(!newest || (newest->group < group && newest->sealed));
    gr_assert(o->count < GR_OVERLAY_LAYERS);
    newest = &o->layers[o->count++];
    *newest = (layer){.group = group};
    return newest;
}

void gr_overlay_put(gr_overlay *o, uint64_t group, gr_str key, gr_str value)
{
    gr_assert(key.size > 0 && key.size <= GR_KEY_MAX);
    gr_map_put(&layer_of(o, group)->rows, GR_OP_PUT, key, value);
}

void gr_overlay_delete(gr_overlay *o, uint64_t group, gr_str key)
{
    gr_assert(key.size > 0 && key.size <= GR_KEY_MAX);
    gr_map_put(&layer_of(o, group)->rows, GR_OP_DELETE, key, (gr_str){0});
}

size_t gr_overlay_size(const gr_overlay *o)
{
    const layer *newest = o->count ? &o->layers[o->count - 1] : NULL;
    if (!newest || newest->sealed) return GR_BATCH_HEADER;
    return GR_BATCH_HEADER + newest->rows.bytes + newest->rows.count * gr_op_size(0, 0);
}

size_t gr_overlay_memory(const gr_overlay *o)
{
    size_t bytes = sizeof *o;
    for (size_t i =
         0; i < o->count; i++) bytes += o->layers[i].rows.bytes + o->layers[i].rows.count * NODE_BYTES;
    return bytes;
}

size_t gr_overlay_layers(const gr_overlay *o) { return o->count; }

gr_err gr_overlay_get(const gr_overlay *o, gr_str key, gr_arena *arena, gr_str *value)
{
    *value = (gr_str){0};
    gr_map_entry entry;
    for (size_t i = o->count; i-- > 0;) {
        if (!gr_map_find(&o->layers[i].rows, key, &entry)) continue;
        if (entry.kind == GR_OP_PUT) *value = gr_arena_str(arena, entry.value);
        return gr_ok();
    }
    if (o->cache && gr_row_cache_get(o->cache, o->shard->shard, key, arena, value)) return gr_ok();
    gr_err err = gr_shard_get(o->shard, NULL, key, arena, value);
    if (o->cache && !gr_failed(err))
        gr_row_cache_put(o->cache, o->shard->shard, value->ptr ? GR_OP_PUT : GR_OP_DELETE, key, *value);
    return err;
}

/* One sorted source of a merged walk: a layer, or the store when rows is NULL. */
typedef struct {
    const gr_map *rows;
    gr_cursor *cursor;
    bool has;
    gr_map_entry at;
} source;

static bool inside(const gr_range *range, gr_str key)
{
    if (range->descending) return gr_str_cmp(key, range->from) >= 0;
    return gr_str_empty(range->to) || gr_str_cmp(key, range->to) < 0;
}

static void source_advance(source *s, const gr_range *range)
{
    if (!s->rows) {
        s->at.kind = GR_OP_PUT;
        s->has = s->cursor->next(s->cursor, &s->at.key, &s->at.value);
        return;
    }
    gr_map_where where = range->descending ? GR_MAP_BEFORE : GR_MAP_AFTER;
    s->has = gr_map_seek(s->rows, s->at.key, where, &s->at) && inside(range, s->at.key);
}

static void source_begin(source *s, const gr_range *range)
{
    if (!s->rows) return source_advance(s, range);
    s->has = range->descending ? gr_map_seek(s->rows, range->to, GR_MAP_BEFORE, &s->at)
                               : gr_map_seek(s->rows, range->from, GR_MAP_AT_OR_AFTER, &s->at);
    s->has = s->has && inside(range, s->at.key);
}

/* The source with the next key; among equals the first, since sources are ordered newest first. */
static source *source_next(source *sources, size_t count, bool descending)
{
    source *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!sources[i].has) continue;
        int order = best ? gr_str_cmp(sources[i].at.key, best->at.key) : 0;
        if (!best || (descending ? order > 0 : order < 0)) best = &sources[i];
    }
    return best;
}

static void walk(source *sources, size_t count, const gr_range *range, size_t limit, gr_row_fn *fn, void *arg)
{
    for (size_t i = 0; i < count; i++) source_begin(&sources[i], range);
    for (source *best; limit > 0 && (best = source_next(sources, count, range->descending));) {
        if (best->at.kind == GR_OP_PUT) {
            limit--;
            if (!fn(arg, best->at.key, best->at.value)) return;
        }
        for (source *s = sources + count; s-- > sources;)
            if (s != best && s->has && gr_str_eq(s->at.key, best->at.key)) source_advance(s, range);
        source_advance(best, range);
    }
}

gr_err gr_overlay_scan(const gr_overlay *o, const gr_range *asked, gr_row_fn *fn, void *arg)
{
    gr_range range = *asked;
    /* rows that a layer hides do not count, so the limit is applied after merging */
    range.limit = 0;
    if (gr_str_empty(range.from)) range.from = GR_STR("\x01");
    source sources[GR_OVERLAY_LAYERS + 1] = {0};
    size_t count = 0;
    for (size_t i = o->count; i-- > 0;)
        if (o->layers[i].rows.count) sources[count++].rows = &o->layers[i].rows;
    source *store = &sources[count++];
    gr_err err = gr_shard_cursor(o->shard, NULL, &range, &store->cursor);
    if (gr_failed(err)) return err;
    walk(sources, count, &range, asked->limit ? asked->limit : SIZE_MAX, fn, arg);
    return store->cursor->close(store->cursor);
}

gr_err gr_overlay_seal(gr_overlay *o, uint64_t group, gr_arena *arena, gr_batch *out)
{
    *out = (gr_batch){0};
    layer *newest = o->count ? &o->layers[o->count - 1] : NULL;
    if (!newest || newest->group != group) return gr_ok();
    gr_assert(!newest->sealed && newest->rows.count > 0);
    gr_map_entry entry;
    gr_ops_clear(&o->ops);
    bool more = gr_map_seek(&newest->rows, (gr_str){0}, GR_MAP_AT_OR_AFTER, &entry);
    for (; more; more = gr_map_seek(&newest->rows, entry.key, GR_MAP_AFTER, &entry)) {
        if (entry.kind == GR_OP_PUT) gr_ops_put(&o->ops, entry.key, entry.value);
        else gr_ops_delete(&o->ops, entry.key);
    }
    gr_err err = gr_shard_seal(o->shard, &o->ops, arena, out);
    if (!gr_failed(err)) newest->sealed = true;
    return err;
}

/* The store has the rows of a layer now. */
static void cache_layer(const gr_overlay *o, const layer *l)
{
    gr_map_entry entry;
    bool more = gr_map_seek(&l->rows, (gr_str){0}, GR_MAP_AT_OR_AFTER, &entry);
    for (; more; more = gr_map_seek(&l->rows, entry.key, GR_MAP_AFTER, &entry))
        gr_row_cache_written(o->cache, o->shard->shard, entry.kind, entry.key, entry.value);
}

void gr_overlay_committed(gr_overlay *o, uint64_t group)
{
    size_t done = 0;
    while (done < o->count && o->layers[done].group <= group) {
        gr_assert(o->layers[done].sealed);
        if (o->cache) cache_layer(o, &o->layers[done]);
        gr_map_free(&o->layers[done++].rows);
    }
    o->count -= done;
    memmove(o->layers, o->layers + done, o->count * sizeof *o->layers);
}

void gr_overlay_drop(gr_overlay *o)
{
    for (size_t i = 0; i < o->count; i++) gr_map_free(&o->layers[i].rows);
    o->count = 0;
    if (o->cache) gr_row_cache_forget(o->cache, o->shard->shard);
}
