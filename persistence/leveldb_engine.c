/* leveldb_engine.c - batches into LevelDB, and what happens when that fails. See leveldb_engine.h. */
#include "persistence/leveldb_engine.h"
#include "persistence/committer.h"
#include "persistence/gate.h"
#include "persistence/leveldb_shim.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* A larger write buffer means that rows are merged less often: in place of 4 MB, 12 MB saved a server busy with messages a
 * tenth to a third of the bytes written, and 5 to 19 % of its CPU.  It fills only under load. */
enum { WRITE_BUFFER = 12 << 20, WRITE_BUFFER_MAX = 16 << 20, CACHE = 8 << 20, OPEN_FILES = 200 };

#define PROBE_KEY GR_STR("hprobe")

typedef struct {
    gr_engine engine;
    gr_ldb_options options;
    char *dir;
    gr_committer *committer;

    /* held for reading by every read and cursor; for writing while db is replaced */
    pthread_rwlock_t door;
    gr_ldb *db;                       /* NULL when it could not be opened again */
    gr_snapshot *snapshots;           /* alive ones, under `list` */
    pthread_mutex_t list;

    pthread_mutex_t state;            /* one writer at a time; guards all below */
    gr_ldb_batch *batch;
    gr_gate gate;
    gr_position durable[GR_SHARDS];   /* the newest acknowledged; a reopened store must have them */
    bool lost;                        /* it had not: no more writes in this life */
    gr_engine_status status;
} embedded;

struct gr_snapshot {
    const void *leveldb;              /* NULL when stale */
    gr_snapshot *next, *before;
};

typedef struct {
    gr_cursor cursor;
    embedded *owner;
    gr_ldb_iter *iter;
    gr_buf from, to;
    bool descending, begun;
    size_t left;
} walk;

static const char STALE[] = "The store was reopened after a failed write; start this work again";
static const char CLOSED[] =
    "The store cannot be opened again after a failed write; look at the disk and restart";
static const char DAMAGED[] = "The store cannot be read; look at the disk, and run greenroom fsck";

/* --- reading --- */
/* Enters the door; on success the caller leaves it with pthread_rwlock_unlock. */
static gr_err enter(embedded *e, const gr_snapshot *snapshot)
{
    pthread_rwlock_rdlock(&e->door);
    const char *text = !e->db ? CLOSED : snapshot && !snapshot->leveldb ? STALE : NULL;
    if (!text) return gr_ok();
    pthread_rwlock_unlock(&e->door);
    return gr_fail(GR_UNAVAILABLE, text);
}

typedef struct { gr_arena *arena; gr_str *value; } taking;

static void take_value(void *arg, const char *value, size_t size)
{
    taking *t = arg;
    *t->value = gr_arena_str(t->arena, gr_str_of(value, size));
}

static gr_err embedded_get(gr_engine *engine, gr_snapshot *snapshot, gr_str key, gr_arena *arena,
                           gr_str *value)
{
    embedded *e = (embedded *)engine;
    char error[GR_LDB_ERROR];
    *value = (gr_str){0};
    gr_err err = enter(e, snapshot);
    if (gr_failed(err)) return err;
    taking t = {arena, value};
    int found = gr_ldb_get(e->db, snapshot ? snapshot->leveldb : NULL, key.ptr, key.size, take_value, &t,
                           error);
    pthread_rwlock_unlock(&e->door);
    return found < 0 ? gr_failf(arena, GR_UNAVAILABLE, "%s (%s)", DAMAGED, error) : gr_ok();
}

static bool walk_next(gr_cursor *cursor, gr_str *key, gr_str *value)
{
    walk *w = (walk *)cursor;
    gr_str from = gr_buf_view(&w->from), to = gr_buf_view(&w->to);
    if (w->left == 0) return false;
    if (w->begun && w->descending) gr_ldb_iter_prev(w->iter);
    else if (w->begun) gr_ldb_iter_next(w->iter);
    else if (w->descending) gr_ldb_iter_before(w->iter, to.ptr, to.size);
    else gr_ldb_iter_seek(w->iter, from.ptr, from.size);
    w->begun = true;
    bool inside = gr_ldb_iter_row(w->iter, &key->ptr, &key->size, &value->ptr, &value->size);
    if (inside && w->descending) inside = gr_str_cmp(*key, from) >= 0;
    else if (inside) inside = gr_str_empty(to) || gr_str_cmp(*key, to) < 0;
    w->left = inside ? w->left - 1 : 0;
    return inside;
}

static gr_err walk_close(gr_cursor *cursor)
{
    walk *w = (walk *)cursor;
    char error[GR_LDB_ERROR];
    bool fine = gr_ldb_iter_free(w->iter, error);
    pthread_rwlock_unlock(&w->owner->door);
    gr_buf_free(&w->from);
    gr_buf_free(&w->to);
    free(w);
    return fine ? gr_ok() : gr_fail(GR_UNAVAILABLE, DAMAGED);
}

static gr_err embedded_scan(gr_engine *engine, gr_snapshot *snapshot, const gr_range *range, gr_cursor **out)
{
    embedded *e = (embedded *)engine;
    *out = NULL;
    gr_err err = enter(e, snapshot);
    if (gr_failed(err)) return err;
    walk *w = gr_alloc(sizeof *w);
    w->cursor = (gr_cursor){walk_next, walk_close};
    w->owner = e;
    /* Long walks over a snapshot would push everything that is in use out of the cache. */
    w->iter = gr_ldb_iter_new(e->db, snapshot ? snapshot->leveldb : NULL, snapshot == NULL);
    gr_buf_str(&w->from, range->from);
    gr_buf_str(&w->to, range->to);
    w->descending = range->descending;
    w->left = range->limit ? range->limit : SIZE_MAX;
    *out = &w->cursor;
    return gr_ok();
}

static gr_err embedded_snapshot(gr_engine *engine, gr_snapshot **out)
{
    embedded *e = (embedded *)engine;
    *out = NULL;
    gr_err err = enter(e, NULL);
    if (gr_failed(err)) return err;
    gr_snapshot *s = gr_alloc(sizeof *s);
    s->leveldb = gr_ldb_snapshot(e->db);
    pthread_mutex_lock(&e->list);
    s->next = e->snapshots;
    if (s->next) s->next->before = s;
    e->snapshots = s;
    pthread_mutex_unlock(&e->list);
    pthread_rwlock_unlock(&e->door);
    *out = s;
    return gr_ok();
}

static void embedded_release(gr_engine *engine, gr_snapshot *s)
{
    embedded *e = (embedded *)engine;
    pthread_rwlock_rdlock(&e->door);
    pthread_mutex_lock(&e->list);
    if (s->next) s->next->before = s->before;
    if (s->before) s->before->next = s->next;
    else e->snapshots = s->next;
    pthread_mutex_unlock(&e->list);
    if (s->leveldb) gr_ldb_release(e->db, s->leveldb);
    pthread_rwlock_unlock(&e->door);
    free(s);
}

/* --- a failed write --- */
static bool read_position(gr_ldb *db, uint8_t shard, gr_position *out, char *error)
{
    char key[GR_WHOLE_KEY_MAX];
    gr_str whole = gr_whole_key(key, shard, GR_POSITION_KEY), value = {0};
    gr_arena *arena = gr_arena_new(256);
    taking t = {arena, &value};
    *out = (gr_position){0};
    int found = gr_ldb_get(db, NULL, whole.ptr, whole.size, take_value, &t, error);
    bool fine = found == 0 || (found > 0 && gr_position_read(value, out));
    if (found > 0 && !fine) snprintf(error, GR_LDB_ERROR, "the position record of shard %d is damaged",
                                     shard);
    gr_arena_free(&arena);
    return fine;
}

/* Everything that was acknowledged must be there after the store was opened again. */
static bool check_reopened(embedded *e, gr_ldb *db)
{
    for (int shard = 0; shard < GR_SHARDS; shard++) {
        gr_position now;
        if (e->durable[shard].number == 0) continue;
        if (!read_position(db, (uint8_t)shard, &now, e->status.error)) return false;
        if (now.number >= e->durable[shard].number) continue;
        e->lost = true;
        snprintf(e->status.error, sizeof e->status.error,
                 "shard %d has lost acknowledged batches: it ends at %llu, not %llu",
                 shard, (unsigned long long)now.number, (unsigned long long)e->durable[shard].number);
        return false;
    }
    return true;
}

static void reopen(embedded *e)
{
    pthread_rwlock_wrlock(&e->door);
    for (gr_snapshot *s = e->snapshots; s; s = s->next) {
        if (s->leveldb) gr_ldb_release(e->db, s->leveldb);
        s->leveldb = NULL;
    }
    gr_ldb_close(e->db);
    e->db = gr_ldb_open(&e->options, e->status.error);
    if (e->db && !check_reopened(e, e->db)) {
        /* Reads go on when only writes are in doubt; a store that cannot be read stays shut. */
        if (!e->lost) {
            gr_ldb_close(e->db);
            e->db = NULL;
        }
    }
    pthread_rwlock_unlock(&e->door);
}

/* After this nothing that was submitted before can be written any more: the shards are closed to their
 * epochs. */
static void write_failed(embedded *e)
{
    e->status.failures++;
    e->status.writable = false;
    gr_gate_close_all(&e->gate);
    reopen(e);
}

static void probe(embedded *e)
{
    if (e->lost) return;
    if (!e->db) reopen(e);
    if (!e->db || e->lost) return;
    gr_ldb_batch_clear(e->batch);
    gr_ldb_batch_put(e->batch, PROBE_KEY.ptr, PROBE_KEY.size, "", 0);
    if (gr_ldb_write_sync(e->db, e->batch, e->status.error)) e->status.writable = true;
    else write_failed(e);
}

static void idle(void *arg)
{
    embedded *e = arg;
    pthread_mutex_lock(&e->state);
    if (!e->status.writable) probe(e);
    pthread_mutex_unlock(&e->state);
}

/* --- writing --- */
static void add_op(gr_ldb_batch *batch, gr_str key, const gr_op *op)
{
    if (op->kind == GR_OP_PUT) gr_ldb_batch_put(batch, key.ptr, key.size, op->value.ptr, op->value.size);
    else gr_ldb_batch_delete(batch, key.ptr, key.size);
}

static void add_batch(embedded *e, const gr_batch *batch)
{
    char key[GR_WHOLE_KEY_MAX], position[GR_POSITION_BYTES];
    gr_str rest = gr_batch_ops(batch);
    for (gr_op op; gr_op_next(&rest, &op);) add_op(e->batch, gr_whole_key(key, batch->header.shard, op.key),
                                                   &op);
    gr_assert(rest.size == 0);
    gr_position_bytes(&batch->position, position);
    gr_str at = gr_whole_key(key, batch->header.shard, GR_POSITION_KEY);
    gr_ldb_batch_put(e->batch, at.ptr, at.size, position, sizeof position);
    e->status.bytes += batch->bytes.size;
}

static void apply_locked(embedded *e, const gr_batch *const *batches, size_t count, gr_outcome *outcomes)
{
    size_t admitted = 0;
    gr_ldb_batch_clear(e->batch);
    for (size_t i = 0; i < count; i++) {
        bool pass = e->status.writable && gr_gate_admit(&e->gate, batches[i]);
        outcomes[i] = pass ? GR_COMMITTED : e->status.writable ? GR_FENCED : GR_COMMIT_UNKNOWN;
        if (!pass) continue;
        add_batch(e, batches[i]);
        admitted++;
    }
    if (admitted == 0) return;
    if (gr_ldb_write_sync(e->db, e->batch, e->status.error)) {
        e->status.groups++;
        e->status.batches += admitted;
        for (size_t i = 0; i < count; i++)
            if (outcomes[i] == GR_COMMITTED) e->durable[batches[i]->header.shard] = batches[i]->position;
        return;
    }
    for (size_t i = 0; i < count; i++) outcomes[i] = GR_COMMIT_UNKNOWN;
    write_failed(e);
}

static void apply(void *arg, const gr_batch *const *batches, size_t count, gr_outcome *outcomes)
{
    embedded *e = arg;
    pthread_mutex_lock(&e->state);
    apply_locked(e, batches, count, outcomes);
    pthread_mutex_unlock(&e->state);
}

static gr_err embedded_write(gr_engine *engine, const gr_ops *ops)
{
    embedded *e = (embedded *)engine;
    gr_err err = gr_ok();
    pthread_mutex_lock(&e->state);
    if (!e->status.writable) {
        err = gr_fail(GR_UNAVAILABLE, "The store takes no writes until the disk works again");
        goto done;
    }
    gr_str rest = gr_buf_view(&ops->bytes);
    gr_ldb_batch_clear(e->batch);
    for (gr_op op; gr_op_next(&rest, &op);) add_op(e->batch, op.key, &op);
    gr_assert(rest.size == 0);
    if (!gr_ldb_write_sync(e->db, e->batch, e->status.error)) {
        write_failed(e);
        err = gr_fail(GR_UNAVAILABLE, "Writing to the store failed; look at the disk's space and health");
    }
done:
    pthread_mutex_unlock(&e->state);
    return err;
}

static gr_err embedded_acquire(gr_engine *engine, uint8_t shard, uint64_t *epoch, gr_position *position)
{
    embedded *e = (embedded *)engine;
    char error[GR_LDB_ERROR];
    pthread_mutex_lock(&e->state);
    gr_err err = enter(e, NULL);
    if (!gr_failed(err)) {
        if (!read_position(e->db, shard, position, error)) err = gr_fail(GR_UNAVAILABLE, DAMAGED);
        pthread_rwlock_unlock(&e->door);
    }
    if (!gr_failed(err)) {
        *epoch = gr_gate_acquire(&e->gate, shard, position);
        e->durable[shard] = *position;
    }
    pthread_mutex_unlock(&e->state);
    return err;
}

static void embedded_submit(gr_engine *engine, const gr_batch *batches, size_t count, uint64_t token,
                            gr_done_fn *done,
                            void *arg)
{
    gr_committer_submit(((embedded *)engine)->committer, batches, count, token, done, arg);
}

static size_t embedded_step(gr_engine *engine) { return gr_committer_step(((embedded *)engine)->committer); }

static gr_err embedded_tail(gr_engine *engine, uint8_t shard, uint64_t from, gr_batch_fn *fn, void *arg)
{
    (void)engine, (void)shard, (void)from, (void)fn, (void)arg;
    return gr_fail(GR_NOT_FOUND, "An embedded store keeps no journal; copy the shard from a snapshot");
}

static gr_err embedded_truncate(gr_engine *engine, uint8_t shard, uint64_t upto)
{
    (void)engine, (void)shard, (void)upto;
    return gr_ok();
}

static void embedded_status(gr_engine *engine, gr_engine_status *out)
{
    embedded *e = (embedded *)engine;
    pthread_mutex_lock(&e->state);
    *out = e->status;
    pthread_mutex_unlock(&e->state);
}

static void embedded_close(gr_engine *engine)
{
    embedded *e = (embedded *)engine;
    gr_committer_free(&e->committer);
    gr_assert(e->snapshots == NULL);
    gr_ldb_close(e->db);
    gr_ldb_batch_free(e->batch);
    pthread_rwlock_destroy(&e->door);
    pthread_mutex_destroy(&e->list);
    pthread_mutex_destroy(&e->state);
    free(e->dir);
    free(e);
}

static const gr_engine_ops embedded_ops = {
    .name = "leveldb", .keeps_tail = false, .get = embedded_get, .scan = embedded_scan,
    .snapshot = embedded_snapshot, .release = embedded_release, .write = embedded_write,
    .acquire = embedded_acquire, .submit = embedded_submit, .step = embedded_step, .tail = embedded_tail,
    .truncate = embedded_truncate, .status = embedded_status, .close = embedded_close,
};

gr_err gr_leveldb_engine_open(const gr_store_options *o, gr_arena *arena, gr_engine **out)
{
    *out = NULL;
    if (o->write_buffer > WRITE_BUFFER_MAX)
        return gr_failf(arena, GR_INVALID_PARAM, "The store's write buffer is at most %d bytes",
                        WRITE_BUFFER_MAX);
    char error[GR_LDB_ERROR];
    char *dir = gr_str_dup(gr_str_c(o->dir));
    gr_ldb_options options = {
        .dir = dir, .create = o->create, .write_buffer = o->write_buffer ? o->write_buffer : WRITE_BUFFER,
        .cache = o->cache ? o->cache : CACHE, .open_files = o->open_files ? o->open_files : OPEN_FILES, .env =
            o->env};
    gr_ldb *db = gr_ldb_open(&options, error);
    if (!db) {
        free(dir);
        return gr_failf(arena, GR_UNAVAILABLE, "The store in %s cannot be opened: %s", o->dir, error);
    }
    embedded *e = gr_alloc(sizeof *e);
    e->engine.ops = &embedded_ops;
    e->options = options;
    e->options.create = false;        /* a store that vanished while it was closed is no new store */
    e->dir = dir;
    e->db = db;
    e->batch = gr_ldb_batch_new();
    e->status.writable = true;
    pthread_rwlock_init(&e->door, NULL);
    pthread_mutex_init(&e->list, NULL);
    pthread_mutex_init(&e->state, NULL);
    e->committer = gr_committer_new(apply, idle, e, o->threaded);
    *out = &e->engine;
    return gr_ok();
}
