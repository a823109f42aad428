/* backup.c - copying a store and making the copy usable. See backup.h. */
#include "persistence/backup.h"

#include <sodium.h>

#define BACKUP_KEY GR_STR("hbackup")

enum { PART = 1 << 20, RECORD = 1 + 8 + GR_HASH_SIZE };

/* What both directions walk with: the digest is over all copied keys and values in order. */
typedef struct {
    crypto_generichash_state digest;
    gr_backup_count count;
    gr_store *to;                     /* NULL: only the digest is wanted */
    gr_ops part;
    size_t since;                     /* bytes since the last report of progress */
    gr_progress_fn *progress;
    void *arg;
    gr_err err;
} copying;

/* The node's own records that say which store this is stay behind. */
static bool is_copied(gr_str key)
{
    return !gr_str_is(key, "hstore") && !gr_str_is(key, "hprobe") && !gr_str_eq(key, BACKUP_KEY);
}

static void digest_bytes(crypto_generichash_state *digest, gr_str bytes)
{
    unsigned char size[8];
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)(bytes.size >> (8 * i));
    crypto_generichash_update(digest, size, sizeof size);
    if (bytes.size) crypto_generichash_update(digest, (const unsigned char *)bytes.ptr, bytes.size);
}

static bool copy_row(void *arg, gr_str key, gr_str value)
{
    copying *c = arg;
    if (!is_copied(key)) return true;
    digest_bytes(&c->digest, key);
    digest_bytes(&c->digest, value);
    c->count.keys++;
    c->count.bytes += key.size + value.size;
    c->since += key.size + value.size;
    if (c->to) gr_ops_put(&c->part, key, value);
    if (c->since < PART) return true;
    c->since = 0;
    if (c->to) c->err = gr_store_write(c->to, &c->part);
    gr_ops_clear(&c->part);
    if (!gr_failed(c->err) && c->progress && !c->progress(c->arg, &c->count))
        c->err = gr_fail(GR_UNAVAILABLE, "The backup was given up before its end");
    return !gr_failed(c->err);
}

static gr_err copy_all(copying *c, gr_store *from, gr_snapshot *snapshot, unsigned char hash[GR_HASH_SIZE])
{
    crypto_generichash_init(&c->digest, NULL, 0, GR_HASH_SIZE);
    gr_err err = gr_store_walk(from, snapshot, &(gr_range){0}, copy_row, c);
    crypto_generichash_final(&c->digest, hash, GR_HASH_SIZE);
    return gr_failed(c->err) ? c->err : err;
}

static void put_record(gr_ops *ops, bool finished, uint64_t keys, const unsigned char hash[GR_HASH_SIZE])
{
    gr_buf record = {0};
    gr_buf_char(&record, finished);
    gr_buf_u64be(&record, keys);
    gr_buf_add(&record, hash, GR_HASH_SIZE);
    gr_ops_put(ops, BACKUP_KEY, gr_buf_view(&record));
    gr_buf_free(&record);
}

static bool note_any(void *arg, gr_str key, gr_str value)
{
    (void)value;
    *(bool *)arg = is_copied(key) || gr_str_eq(key, BACKUP_KEY);
    return !*(bool *)arg;
}

/* Opens the new store, empty but for its header, and marks it as an unfinished copy. */
static gr_err open_target(const gr_store_options *to, gr_arena *arena, gr_store **out)
{
    gr_store_options options = *to;
    options.create = true;
    options.backup = true;
    gr_err err = gr_store_open(&options, arena, out);
    if (gr_failed(err)) return err;
    bool used = false;
    err = gr_store_scan(*out, NULL, &(gr_range){0}, note_any, &used);
    if (!gr_failed(err) && used) err = gr_fail(GR_BAD_STATE,
                                               "The backup's directory already holds a store; name another");
    if (gr_failed(err)) return err;
    gr_ops ops = {0};
    put_record(&ops, false, 0, (unsigned char[GR_HASH_SIZE]){0});
    err = gr_store_write(*out, &ops);
    gr_ops_free(&ops);
    return err;
}

gr_err gr_backup_write(gr_store *store, const gr_store_options *to, gr_arena *arena, gr_progress_fn *progress,
                       void *arg, gr_backup_count *out)
{
    copying c = {.progress = progress, .arg = arg};
    gr_snapshot *snapshot = NULL;
    unsigned char hash[GR_HASH_SIZE];
    gr_err err = open_target(to, arena, &c.to);
    if (!gr_failed(err)) err = gr_store_snapshot(store, &snapshot);
    if (!gr_failed(err)) err = copy_all(&c, store, snapshot, hash);
    gr_store_release(store, &snapshot);
    if (!gr_failed(err)) {
        put_record(&c.part, true, c.count.keys, hash);
        err = gr_store_write(c.to, &c.part);
    }
    gr_ops_free(&c.part);
    gr_store_close(&c.to);
    *out = gr_failed(err) ? (gr_backup_count){0} : c.count;
    return err;
}

static gr_err check_copy(gr_store *store, gr_arena *arena, gr_backup_count *out)
{
    gr_str record;
    gr_err err = gr_store_get(store, BACKUP_KEY, arena, &record);
    if (gr_failed(err)) return err;
    if (!record.ptr) return gr_fail(GR_BAD_STATE,
                                    "This is a store in use and no backup; nothing was changed");
    if (record.size != RECORD || record.ptr[0] != 1)
        return gr_fail(GR_BAD_STATE, "The backup was not finished when it was written; take another one");
    copying c = {0};
    unsigned char hash[GR_HASH_SIZE];
    err = copy_all(&c, store, NULL, hash);
    gr_ops_free(&c.part);
    if (gr_failed(err)) return err;
    if (c.count.keys != gr_u64be(record.ptr + 1) || memcmp(hash, record.ptr + 9, GR_HASH_SIZE) != 0)
        return gr_failf(arena, GR_BAD_STATE,
                        "The backup is damaged: %llu keys of %llu, or not the bytes that were "
                        "written; use another one", (unsigned long long)c.count.keys,
                        (unsigned long long)gr_u64be(record.ptr + 1));
    *out = c.count;
    return gr_ok();
}

gr_err gr_backup_restore(const gr_store_options *o, gr_arena *arena, gr_backup_count *out)
{
    *out = (gr_backup_count){0};
    gr_store_options options = *o;
    options.create = false;
    options.backup = true;
    gr_store *store;
    gr_err err = gr_store_open(&options, arena, &store);
    if (gr_failed(err)) return err;
    err = check_copy(store, arena, out);
    if (!gr_failed(err)) {
        uint64_t incarnation = o->incarnation;
        if (incarnation == 0) randombytes_buf(&incarnation, sizeof incarnation);
        gr_ops ops = {0};
        err = gr_store_renew(store, incarnation, arena, &ops);
        gr_ops_delete(&ops, BACKUP_KEY);
        if (!gr_failed(err)) err = gr_store_write(store, &ops);
        gr_ops_free(&ops);
    }
    gr_store_close(&store);
    return err;
}
