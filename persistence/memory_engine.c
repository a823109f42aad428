/* memory_engine.c - the simulator's store engine. See memory_engine.h. */
#include "persistence/memory_engine.h"
#include "persistence/gate.h"
#include "persistence/map.h"

#include <stdlib.h>

typedef struct { char *bytes; size_t size; } kept;
typedef struct { kept *at; size_t count, room; } kept_list;

struct gr_memory_disk {
    gr_map rows;
    kept_list tail[GR_SHARDS];
    bool in_use;
};

struct gr_snapshot { gr_map rows; };

typedef struct {
    gr_batch batch;                   /* bytes on the heap */
    uint64_t due, token;
    gr_done_fn *done;
    void *arg;
} flight;

typedef struct {
    gr_engine engine;
    gr_memory_disk *disk;
    gr_memory_options options;
    gr_gate gate;
    uint64_t random, now;
    uint64_t due[GR_SHARDS];          /* of the newest batch in flight, so that none overtakes */
    flight *flights;
    size_t count, room;
    bool crashed;
    gr_engine_status status;
} memory;

typedef struct {
    gr_cursor cursor;
    gr_map rows;
    gr_buf from, to;
    bool descending, begun;
    size_t left;
    gr_map_entry at;
} memory_cursor;

static uint64_t draw(memory *m)
{
    uint64_t z = m->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static bool chance(memory *m, uint32_t per_million)
{
    return per_million > 0 && draw(m) % 1000000 < per_million;
}

gr_memory_disk *gr_memory_disk_new(void) { return gr_alloc(sizeof(gr_memory_disk)); }

static void forget_tail(kept_list *list, size_t count)
{
    for (size_t i = 0; i < count; i++) free(list->at[i].bytes);
    list->count -= count;
    if (list->count) memmove(list->at, list->at + count, list->count * sizeof *list->at);
}

void gr_memory_disk_free(gr_memory_disk **at)
{
    gr_memory_disk *disk = *at;
    if (!disk) return;
    gr_assert(!disk->in_use);
    gr_map_free(&disk->rows);
    for (int shard = 0; shard < GR_SHARDS; shard++) {
        forget_tail(&disk->tail[shard], disk->tail[shard].count);
        free(disk->tail[shard].at);
    }
    free(disk);
    *at = NULL;
}

size_t gr_memory_disk_keys(const gr_memory_disk *disk) { return disk->rows.count; }

uint64_t gr_memory_disk_hash(const gr_memory_disk *disk)
{
    uint64_t hash = disk->rows.count;
    gr_map_entry entry;
    bool more = gr_map_seek(&disk->rows, GR_STR(""), GR_MAP_AT_OR_AFTER, &entry);
    for (; more; more = gr_map_seek(&disk->rows, entry.key, GR_MAP_AFTER, &entry)) {
        hash = hash * 0x100000001b3u + gr_str_hash(entry.key);
        hash = hash * 0x100000001b3u + gr_str_hash(entry.value);
    }
    return hash;
}

static gr_err memory_get(gr_engine *engine, gr_snapshot *snapshot, gr_str key, gr_arena *arena, gr_str *value)
{
    const gr_map *rows = snapshot ? &snapshot->rows : &((memory *)engine)->disk->rows;
    gr_map_entry entry;
    *value = (gr_str){0};
    if (gr_map_find(rows, key, &entry)) *value = gr_arena_str(arena, entry.value);
    return gr_ok();
}

static bool memory_next(gr_cursor *cursor, gr_str *key, gr_str *value)
{
    memory_cursor *c = (memory_cursor *)cursor;
    gr_str from = gr_buf_view(&c->from), to = gr_buf_view(&c->to);
    gr_map_entry *at = &c->at;
    if (c->left == 0) return false;
    bool found;
    if (c->descending) found = gr_map_seek(&c->rows, c->begun ? at->key : to, GR_MAP_BEFORE, at);
    else if (c->begun) found = gr_map_seek(&c->rows, at->key, GR_MAP_AFTER, at);
    else found = gr_map_seek(&c->rows, from, GR_MAP_AT_OR_AFTER, at);
    c->begun = true;
    bool inside = found && (c->descending ? gr_str_cmp(at->key, from) >= 0
                                          : gr_str_empty(to) || gr_str_cmp(at->key, to) < 0);
    c->left = inside ? c->left - 1 : 0;
    if (!inside) return false;
    *key = at->key;
    *value = at->value;
    return true;
}

static gr_err memory_cursor_close(gr_cursor *cursor)
{
    memory_cursor *c = (memory_cursor *)cursor;
    gr_map_free(&c->rows);
    gr_buf_free(&c->from);
    gr_buf_free(&c->to);
    free(c);
    return gr_ok();
}

static gr_err memory_scan(gr_engine *engine, gr_snapshot *snapshot, const gr_range *range, gr_cursor **out)
{
    memory_cursor *c = gr_alloc(sizeof *c);
    c->cursor = (gr_cursor){memory_next, memory_cursor_close};
    c->rows = gr_map_copy(snapshot ? &snapshot->rows : &((memory *)engine)->disk->rows);
    gr_buf_str(&c->from, range->from);
    gr_buf_str(&c->to, range->to);
    c->descending = range->descending;
    c->left = range->limit ? range->limit : SIZE_MAX;
    *out = &c->cursor;
    return gr_ok();
}

static gr_err memory_snapshot(gr_engine *engine, gr_snapshot **out)
{
    *out = gr_alloc(sizeof **out);
    (*out)->rows = gr_map_copy(&((memory *)engine)->disk->rows);
    return gr_ok();
}

static void memory_release(gr_engine *engine, gr_snapshot *snapshot)
{
    (void)engine;
    gr_map_free(&snapshot->rows);
    free(snapshot);
}

static void apply_op(gr_map *rows, gr_str key, const gr_op *op)
{
    if (op->kind == GR_OP_PUT) gr_map_put(rows, GR_OP_PUT, key, op->value);
    else gr_map_remove(rows, key);
}

static gr_err memory_write(gr_engine *engine, const gr_ops *ops)
{
    memory *m = (memory *)engine;
    gr_str rest = gr_buf_view(&ops->bytes);
    for (gr_op op; gr_op_next(&rest, &op);) apply_op(&m->disk->rows, op.key, &op);
    gr_assert(rest.size == 0);
    return gr_ok();
}

static gr_err memory_acquire(gr_engine *engine, uint8_t shard, uint64_t *epoch, gr_position *position)
{
    memory *m = (memory *)engine;
    char key[GR_WHOLE_KEY_MAX];
    gr_map_entry entry;
    *position = (gr_position){0};
    if (gr_map_find(&m->disk->rows, gr_whole_key(key, shard, GR_POSITION_KEY), &entry))
        gr_assert(gr_position_read(entry.value, position));
    *epoch = gr_gate_acquire(&m->gate, shard, position);
    return gr_ok();
}

static void memory_submit(gr_engine *engine, const gr_batch *batches, size_t count, uint64_t token,
                          gr_done_fn *done,
                          void *arg)
{
    memory *m = (memory *)engine;
    gr_assert(!m->crashed);
    for (size_t i = 0; i < count; i++) {
        if (m->count == m->room) {
            m->room = m->room ? m->room * 2 : 64;
            m->flights = gr_realloc(m->flights, m->room * sizeof *m->flights);
        }
        flight *f = &m->flights[m->count++];
        *f = (flight){.batch = batches[i], .token = token, .done = done, .arg = arg};
        f->batch.bytes.ptr = gr_str_dup(batches[i].bytes);
        uint32_t spread = m->options.delay_max - m->options.delay_min;
        f->due = m->now + m->options.delay_min + (spread ? draw(m) % (spread + 1) : 0);
        uint64_t *newest = &m->due[f->batch.header.shard];
        if (f->due < *newest) f->due = *newest;
        *newest = f->due;
    }
}

static void keep_tail(memory *m, const gr_batch *batch)
{
    kept_list *list = &m->disk->tail[batch->header.shard];
    if (list->count == m->options.tail_max) forget_tail(list, 1);
    if (list->count == list->room) {
        list->room = list->room ? list->room * 2 : 8;
        list->at = gr_realloc(list->at, list->room * sizeof *list->at);
    }
    list->at[list->count++] = (kept){gr_str_dup(batch->bytes), batch->bytes.size};
}

static void make_durable(memory *m, const gr_batch *batch)
{
    char key[GR_WHOLE_KEY_MAX], position[GR_POSITION_BYTES];
    uint8_t shard = batch->header.shard;
    gr_str rest = gr_batch_ops(batch);
    for (gr_op op; gr_op_next(&rest, &op);) apply_op(&m->disk->rows, gr_whole_key(key, shard, op.key), &op);
    gr_assert(rest.size == 0);
    gr_position_bytes(&batch->position, position);
    gr_map_put(&m->disk->rows, GR_OP_PUT, gr_whole_key(key, shard, GR_POSITION_KEY),
               gr_str_of(position, sizeof position));
    keep_tail(m, batch);
    m->status.batches++;
    m->status.bytes += batch->bytes.size;
}

static gr_outcome settle(memory *m, const gr_batch *batch)
{
    uint8_t shard = batch->header.shard;
    if (chance(m, m->options.fenced_per_million)) {
        if (batch->header.epoch == m->gate.shards[shard].epoch) gr_gate_close(&m->gate, shard);
        return GR_FENCED;
    }
    if (!gr_gate_admit(&m->gate, batch)) return GR_FENCED;
    if (!chance(m, m->options.unknown_per_million)) {
        make_durable(m, batch);
        return GR_COMMITTED;
    }
    if (draw(m) & 1) make_durable(m, batch);
    gr_gate_close(&m->gate, shard);
    return GR_COMMIT_UNKNOWN;
}

/* Answers what is due.  done may submit again, so flights are taken off the list before any is answered. */
static size_t complete_due(memory *m, uint64_t now)
{
    size_t due = 0, left = 0;
    flight *ready = m->count ? gr_realloc(NULL, m->count * sizeof *ready) : NULL;
    for (size_t i = 0; i < m->count; i++) {
        if (m->flights[i].due <= now) ready[due++] = m->flights[i];
        else m->flights[left++] = m->flights[i];
    }
    m->count = left;
    if (due) m->status.groups++;
    for (size_t i = 0; i < due; i++) {
        const flight *f = &ready[i];
        gr_outcome outcome = settle(m, &f->batch);
        f->done(f->arg, f->token, f->batch.header.shard, outcome, f->batch.header.number);
        free((char *)f->batch.bytes.ptr);
    }
    free(ready);
    return due;
}

static size_t memory_step(gr_engine *engine)
{
    memory *m = (memory *)engine;
    gr_assert(!m->crashed);
    return complete_due(m, m->now++);
}

static gr_err memory_tail(gr_engine *engine, uint8_t shard, uint64_t from, gr_batch_fn *fn, void *arg)
{
    const kept_list *list = &((memory *)engine)->disk->tail[shard];
    for (size_t i = 0; i < list->count; i++) {
        gr_batch batch;
        gr_err err = gr_batch_read(gr_str_of(list->at[i].bytes, list->at[i].size), &batch);
        if (gr_failed(err)) return err;
        if (i == 0 && batch.header.number > from)
            return gr_fail(GR_NOT_FOUND, "Those batches are no longer kept; copy the shard from a snapshot");
        if (batch.header.number >= from && !fn(arg, &batch)) break;
    }
    return gr_ok();
}

static gr_err memory_truncate(gr_engine *engine, uint8_t shard, uint64_t upto)
{
    kept_list *list = &((memory *)engine)->disk->tail[shard];
    size_t old = 0;
    while (old < list->count && gr_u64be(list->at[old].bytes + 10) <= upto) old++;
    forget_tail(list, old);
    return gr_ok();
}

static void memory_status(gr_engine *engine, gr_engine_status *out) { *out = ((memory *)engine)->status; }

static void memory_close(gr_engine *engine)
{
    memory *m = (memory *)engine;
    while (m->count > 0 && !m->crashed) complete_due(m, UINT64_MAX);
    m->disk->in_use = false;
    free(m->flights);
    free(m);
}

void gr_memory_engine_crash(gr_engine *engine)
{
    memory *m = (memory *)engine;
    size_t survive = m->count ? draw(m) % (m->count + 1) : 0;
    for (size_t i = 0; i < m->count; i++) {
        const gr_batch *batch = &m->flights[i].batch;
        if (i < survive && gr_gate_admit(&m->gate, batch)) make_durable(m, batch);
        free((char *)batch->bytes.ptr);
    }
    m->count = 0;
    m->crashed = true;
}

size_t gr_memory_engine_waiting(const gr_engine *engine) { return ((const memory *)engine)->count; }

static const gr_engine_ops memory_ops = {
    .name = "memory", .keeps_tail = true, .get = memory_get, .scan = memory_scan, .snapshot = memory_snapshot,
    .release = memory_release, .write = memory_write, .acquire = memory_acquire, .submit = memory_submit,
    .step = memory_step, .tail = memory_tail, .truncate = memory_truncate, .status = memory_status,
    .close = memory_close,
};

gr_engine *gr_memory_engine_new(gr_memory_disk *disk, const gr_memory_options *options)
{
    gr_assert(!disk->in_use && options->delay_min <= options->delay_max);
    memory *m = gr_alloc(sizeof *m);
    m->engine.ops = &memory_ops;
    m->disk = disk;
    disk->in_use = true;
    m->options = *options;
    if (m->options.tail_max == 0) m->options.tail_max = 64;
    m->random = options->seed;
    m->status.writable = true;
    return &m->engine;
}
