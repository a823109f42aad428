/* store.c - the header record, shard handles, and keys with their prefixes. See store.h. */
#include "persistence/store.h"
#include "persistence/gate.h"
#include "persistence/leveldb_engine.h"

#include <sodium.h>
#include <stdlib.h>
#include <sys/statvfs.h>

enum { STORE_FORMAT = 1, HEADER_FIXED = 16, RESTORE_STEP = 256 * 1024, WALK_STEP = 1 << 20 };

#define HEADER_KEY GR_STR("hstore")
#define INCARNATION_KEY ((gr_str){"\0i", 2})
#define BACKUP_KEY GR_STR("hbackup")
#define FIRST_KEY GR_STR("\x01")

struct gr_store {
    gr_engine *engine;
    uint64_t incarnation;
};

/* --- opening --- */
static void header_make(gr_buf *out, gr_str server_name, uint64_t incarnation)
{
    gr_buf_u32be(out, STORE_FORMAT);
    gr_buf_u32be(out, GR_SHARDS);
    gr_buf_u64be(out, incarnation);
    gr_buf_str(out, server_name);
}

static gr_err header_check(gr_str header, gr_str server_name, gr_arena *arena, uint64_t *incarnation)
{
    if (header.size < HEADER_FIXED)
        return gr_fail(GR_BAD_STATE, "The store's header record is damaged; restore it from a backup");
    if (gr_u32be(header.ptr) != STORE_FORMAT)
        return gr_failf(arena, GR_BAD_STATE, "The store has format %u and this greenroom knows format %d; "
                        "use the version that made it", gr_u32be(header.ptr), STORE_FORMAT);
    if (gr_u32be(header.ptr + 4) != GR_SHARDS)
        return gr_failf(arena, GR_BAD_STATE, "The store has %u shards and this greenroom has %d",
                        gr_u32be(header.ptr + 4), GR_SHARDS);
    gr_str name = gr_str_from(header, HEADER_FIXED);
    if (!gr_str_eq(name, server_name))
        return gr_failf(arena, GR_BAD_STATE, "The store belongs to the server %" GR_FMT ", not to %" GR_FMT
                        "; correct server_name or the directory", GR_ARG(name), GR_ARG(server_name));
    *incarnation = gr_u64be(header.ptr + 8);
    return gr_ok();
}

static bool note_any(void *arg, gr_str key, gr_str value)
{
    (void)key, (void)value;
    *(bool *)arg = true;
    return false;
}

static gr_err header_create(gr_store *store, const gr_store_options *o)
{
    bool used = false;
    gr_err err = gr_store_scan(store, NULL, &(gr_range){.limit = 1}, note_any, &used);
    if (gr_failed(err)) return err;
    if (used) return gr_fail(GR_BAD_STATE,
                             "The store has no header record: it is no greenroom store, or damaged");
    if (!o->create) return gr_fail(GR_NOT_FOUND, "There is no store in that directory yet");
    store->incarnation = o->incarnation;
    if (store->incarnation == 0) randombytes_buf(&store->incarnation, sizeof store->incarnation);
    gr_buf header = {0};
    gr_ops ops = {0};
    header_make(&header, o->server_name, store->incarnation);
    gr_ops_put(&ops, HEADER_KEY, gr_buf_view(&header));
    err = gr_store_write(store, &ops);
    gr_ops_free(&ops);
    gr_buf_free(&header);
    return err;
}

/* Running on a backup as it is would reuse numbers that other servers have seen. */
static gr_err refuse_backup(gr_store *store, gr_arena *arena)
{
    gr_str record;
    gr_err err = gr_store_get(store, BACKUP_KEY, arena, &record);
    if (gr_failed(err) || !record.ptr) return err;
    return gr_fail(GR_BAD_STATE,
                   "This directory holds a backup; make it usable with greenroom restore first");
}

gr_err gr_store_open(const gr_store_options *o, gr_arena *arena, gr_store **out)
{
    *out = NULL;
    gr_engine *engine = o->engine;
    gr_assert(o->server_name.size > 0 && (engine || o->dir));
    if (!engine) {
        gr_err err = gr_leveldb_engine_open(o, arena, &engine);
        if (gr_failed(err)) return err;
    }
    gr_store *store = gr_alloc(sizeof *store);
    store->engine = engine;
    gr_str header;
    gr_err err = gr_store_get(store, HEADER_KEY, arena, &header);
    if (!gr_failed(err) && !header.ptr) err = header_create(store, o);
    else if (!gr_failed(err)) err = header_check(header, o->server_name, arena, &store->incarnation);
    if (!gr_failed(err) && !o->backup) err = refuse_backup(store, arena);
    if (gr_failed(err)) gr_store_close(&store);
    *out = store;
    return err;
}

void gr_store_close(gr_store **at)
{
    if (!*at) return;
    (*at)->engine->ops->close((*at)->engine);
    free(*at);
    *at = NULL;
}

uint64_t gr_store_incarnation(const gr_store *store) { return store->incarnation; }
gr_engine *gr_store_engine(gr_store *store) { return store->engine; }
void gr_store_status(gr_store *store, gr_engine_status *out)
{
    store->engine->ops->status(store->engine, out);
}

bool gr_store_writable(gr_store *store)
{
    gr_engine_status status;
    gr_store_status(store, &status);
    return status.writable;
}

gr_err gr_store_disk_free(const char *dir, uint64_t *bytes_free)
{
    struct statvfs vfs;
    *bytes_free = 0;
    if (statvfs(dir, &vfs) != 0) return gr_fail(GR_UNAVAILABLE,
                                                "The free space of the store's disk cannot be read");
    *bytes_free = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    return gr_ok();
}

/* --- shards --- */
static gr_str restore_key(char out[16], uint8_t shard)
{
    memcpy(out, "hrestore/", 9);
    out[9] = (char)shard;
    return (gr_str){out, 10};
}

gr_err gr_shard_open(gr_store *store, uint8_t shard, gr_arena *arena, gr_shard *out)
{
    *out = (gr_shard){.store = store, .shard = shard};
    char mark[16];
    gr_str value;
    gr_err err = gr_store_get(store, restore_key(mark, shard), arena, &value);
    if (gr_failed(err)) return err;
    if (value.ptr)
        return gr_failf(arena, GR_BAD_STATE, "Restoring shard %d was cut short; restore it again", shard);
    err = store->engine->ops->acquire(store->engine, shard, &out->epoch, &out->newest);
    if (!gr_failed(err)) err = gr_shard_get(out, NULL, INCARNATION_KEY, arena, &value);
    if (gr_failed(err)) return err;
    /* A shard that was never restored by itself shares the fate of its store. */
    char both[9] = {(char)shard};
    memcpy(both + 1, &store->incarnation, 8);
    out->incarnation = value.size == 8 ? gr_u64be(value.ptr) : gr_str_hash(gr_str_of(both, sizeof both));
    return gr_ok();
}

gr_err gr_shard_get(const gr_shard *s, gr_snapshot *snapshot, gr_str key, gr_arena *arena, gr_str *value)
{
    char whole[GR_WHOLE_KEY_MAX];
    return s->store->engine->ops->get(s->store->engine, snapshot, gr_whole_key(whole, s->shard, key), arena,
                                      value);
}

typedef struct { gr_cursor cursor; gr_cursor *inner; } stripped;

static bool stripped_next(gr_cursor *cursor, gr_str *key, gr_str *value)
{
    gr_cursor *inner = ((stripped *)cursor)->inner;
    if (!inner->next(inner, key, value)) return false;
    *key = gr_str_from(*key, 2);
    return true;
}

static gr_err stripped_close(gr_cursor *cursor)
{
    gr_cursor *inner = ((stripped *)cursor)->inner;
    free(cursor);
    return inner->close(inner);
}

gr_err gr_shard_cursor(const gr_shard *s, gr_snapshot *snapshot, const gr_range *range, gr_cursor **out)
{
    char from[GR_WHOLE_KEY_MAX], to[GR_WHOLE_KEY_MAX];
    gr_range whole = *range;
    *out = NULL;
    whole.from = gr_whole_key(from, s->shard, gr_str_empty(range->from) ? FIRST_KEY : range->from);
    if (!gr_str_empty(range->to)) whole.to = gr_whole_key(to, s->shard, range->to);
    else whole.to = s->shard < GR_SHARDS - 1 ? gr_whole_key(to, (uint8_t)(s->shard + 1), (gr_str){0})
        : GR_STR("t");
    gr_cursor *inner;
    gr_err err = s->store->engine->ops->scan(s->store->engine, snapshot, &whole, &inner);
    if (gr_failed(err)) return err;
    stripped *c = gr_alloc(sizeof *c);
    *c = (stripped){{stripped_next, stripped_close}, inner};
    *out = &c->cursor;
    return gr_ok();
}

static gr_err drain(gr_cursor *cursor, gr_row_fn *fn, void *arg)
{
    gr_str key, value;
    while (cursor->next(cursor, &key, &value) && fn(arg, key, value)) continue;
    return cursor->close(cursor);
}

gr_err gr_shard_scan(const gr_shard *s, gr_snapshot *snapshot, const gr_range *range, gr_row_fn *fn,
                     void *arg)
{
    gr_cursor *cursor;
    gr_err err = gr_shard_cursor(s, snapshot, range, &cursor);
    return gr_failed(err) ? err : drain(cursor, fn, arg);
}

gr_err gr_shard_seal(gr_shard *s, const gr_ops *ops, gr_arena *arena, gr_batch *out)
{
    gr_err err = gr_batch_seal(s->shard, s->epoch, &s->newest, ops, arena, out);
    if (!gr_failed(err)) s->newest = out->position;
    return err;
}

gr_err gr_store_snapshot(gr_store *store, gr_snapshot **out)
{
    return store->engine->ops->snapshot(store->engine, out);
}

void gr_store_release(gr_store *store, gr_snapshot **at)
{
    if (*at) store->engine->ops->release(store->engine, *at);
    *at = NULL;
}

void gr_store_submit(gr_store *store, const gr_batch *batches, size_t count, uint64_t token, gr_done_fn *done,
                     void *arg)
{
    store->engine->ops->submit(store->engine, batches, count, token, done, arg);
}

size_t gr_store_step(gr_store *store) { return store->engine->ops->step(store->engine); }

gr_err gr_shard_tail(const gr_shard *s, uint64_t from, gr_batch_fn *fn, void *arg)
{
    return s->store->engine->ops->tail(s->store->engine, s->shard, from, fn, arg);
}

gr_err gr_shard_truncate(const gr_shard *s, uint64_t upto)
{
    return s->store->engine->ops->truncate(s->store->engine, s->shard, upto);
}

/* --- restoring a shard --- */
typedef struct { gr_store *store; gr_ops ops; gr_err err; } restoring;

static bool restore_flush(restoring *r, size_t most)
{
    if (gr_failed(r->err) || r->ops.bytes.size < most) return !gr_failed(r->err);
    r->err = gr_store_write(r->store, &r->ops);
    gr_ops_clear(&r->ops);
    return !gr_failed(r->err);
}

static bool restore_delete(void *arg, gr_str key, gr_str value)
{
    restoring *r = arg;
    (void)value;
    gr_ops_delete(&r->ops, key);
    return r->ops.bytes.size < RESTORE_STEP;
}

/* Empties the shard; a cursor is closed before its rows are deleted, so that a failing store can be
 * reopened. */
static void restore_clear(restoring *r, uint8_t shard)
{
    char from[2] = {'s', (char)shard}, to[2] = {'s', (char)(shard + 1)};
    gr_range range = {.from = {from, 2}, .to = shard < GR_SHARDS - 1 ? (gr_str){to, 2} : GR_STR("t")};
    for (bool more = true; more && !gr_failed(r->err);) {
        r->err = gr_store_scan(r->store, NULL, &range, restore_delete, r);
        more = r->ops.count > 0;
        restore_flush(r, 1);
    }
}

gr_err gr_store_restore(gr_store *store, uint8_t shard, gr_cursor *rows, const gr_position *position,
                        uint64_t incarnation)
{
    restoring r = {.store = store};
    char mark[16], whole[GR_WHOLE_KEY_MAX], at[GR_POSITION_BYTES];
    gr_str key, value;
    gr_ops_put(&r.ops, restore_key(mark, shard), (gr_str){0});
    restore_flush(&r, 1);
    restore_clear(&r, shard);
    while (!gr_failed(r.err) && rows->next(rows, &key, &value)) {
        if (gr_str_eq(key, GR_POSITION_KEY) || gr_str_eq(key, INCARNATION_KEY)) continue;
        gr_ops_put(&r.ops, gr_whole_key(whole, shard, key), value);
        restore_flush(&r, RESTORE_STEP);
    }
    gr_err read = rows->close(rows);
    if (!gr_failed(r.err)) r.err = read;
    gr_position_bytes(position, at);
    gr_ops_put(&r.ops, gr_whole_key(whole, shard, GR_POSITION_KEY), gr_str_of(at, sizeof at));
    gr_buf number = {0};
    gr_buf_u64be(&number, incarnation);
    gr_ops_put(&r.ops, gr_whole_key(whole, shard, INCARNATION_KEY), gr_buf_view(&number));
    gr_buf_free(&number);
    gr_ops_delete(&r.ops, restore_key(mark, shard));
    restore_flush(&r, 1);
    gr_ops_free(&r.ops);
    return r.err;
}

/* --- whole keys --- */
gr_str gr_key_node(gr_arena *arena, gr_str name)
{
    return gr_arena_cat(arena, 2, (gr_str[]){GR_STR("h"), name});
}

gr_str gr_key_shard(gr_arena *arena, uint8_t shard, gr_str key)
{
    char prefix[2] = {'s', (char)shard};
    return gr_arena_cat(arena, 2, (gr_str[]){{prefix, 2}, key});
}

gr_err gr_store_get(gr_store *store, gr_str whole_key, gr_arena *arena, gr_str *value)
{
    return store->engine->ops->get(store->engine, NULL, whole_key, arena, value);
}

gr_err gr_store_scan(gr_store *store, gr_snapshot *snapshot, const gr_range *range, gr_row_fn *fn, void *arg)
{
    gr_cursor *cursor;
    gr_err err = store->engine->ops->scan(store->engine, snapshot, range, &cursor);
    return gr_failed(err) ? err : drain(cursor, fn, arg);
}

typedef struct { gr_row_fn *fn; void *arg; gr_buf last; size_t bytes; bool stopped; } pacing;

static bool pace_row(void *arg, gr_str key, gr_str value)
{
    pacing *p = arg;
    p->bytes += key.size + value.size;
    p->stopped = !p->fn(p->arg, key, value);
    if (p->stopped || p->bytes < WALK_STEP) return !p->stopped;
    gr_buf_clear(&p->last);
    gr_buf_str(&p->last, key);
    gr_buf_char(&p->last, 0);         /* the next key there can be */
    return false;
}

gr_err gr_store_walk(gr_store *store, gr_snapshot *snapshot, const gr_range *asked, gr_row_fn *fn, void *arg)
{
    gr_assert(!asked->descending && asked->limit == 0);
    pacing p = {.fn = fn, .arg = arg};
    gr_buf_str(&p.last, asked->from);
    gr_err err = gr_ok();
    do {
        gr_buf from = p.last;
        p.last = (gr_buf){0};
        p.bytes = 0;
        err = gr_store_scan(store, snapshot, &(gr_range){.from = gr_buf_view(&from), .to = asked->to},
                            pace_row, &p);
        gr_buf_free(&from);
    } while (!gr_failed(err) && !p.stopped && p.last.size > 0);
    gr_buf_free(&p.last);
    return err;
}

gr_err gr_store_renew(gr_store *store, uint64_t incarnation, gr_arena *arena, gr_ops *ops)
{
    gr_str header;
    gr_err err = gr_store_get(store, HEADER_KEY, arena, &header);
    if (gr_failed(err)) return err;
    gr_assert(header.size > HEADER_FIXED);
    gr_buf made = {0};
    header_make(&made, gr_str_from(header, HEADER_FIXED), incarnation);
    gr_ops_put(ops, HEADER_KEY, gr_buf_view(&made));
    gr_buf_free(&made);
    for (int shard = 0; shard < GR_SHARDS; shard++)
        gr_ops_delete(ops, gr_key_shard(arena, (uint8_t)shard, INCARNATION_KEY));
    return gr_ok();
}

gr_err gr_store_write(gr_store *store, const gr_ops *ops)
{
    return store->engine->ops->write(store->engine, ops);
}
