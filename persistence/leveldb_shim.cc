// leveldb_shim.cc - see leveldb_shim.h.
#include "persistence/leveldb_shim.h"
#include "persistence/durable_env.h"

#include <cstdio>
#include <string>

#include <leveldb/cache.h>
#include <leveldb/db.h>
#include <leveldb/env.h>
#include <leveldb/filter_policy.h>
#include <leveldb/write_batch.h>

namespace {

void tell(const leveldb::Status &status, char *error)
{
    snprintf(error, GR_LDB_ERROR, "%s", status.ToString().c_str());
}

// LevelDB writes a file named LOG of its own doings, unbounded; the project's own log says what matters.
class Silence : public leveldb::Logger {
  public:
    void Logv(const char *, va_list) override {}
};

leveldb::ReadOptions reading(const void *snapshot)
{
    leveldb::ReadOptions options;
    options.verify_checksums = true;
    options.snapshot = static_cast<const leveldb::Snapshot *>(snapshot);
    return options;
}

}  // namespace

struct gr_ldb {
    explicit gr_ldb(leveldb::Env *below) : env(below) {}
    greenroom::DurableEnv env;
    leveldb::DB *db = nullptr;
    leveldb::Cache *cache = nullptr;
    const leveldb::FilterPolicy *filter = nullptr;
    Silence silence;
};

struct gr_ldb_batch { leveldb::WriteBatch batch; };
struct gr_ldb_iter { leveldb::Iterator *iter; };

gr_ldb *gr_ldb_open(const gr_ldb_options *o, char *error)
{
    gr_ldb *ldb = new gr_ldb(o->env ? static_cast<leveldb::Env *>(o->env) : leveldb::Env::Default());
    ldb->cache = leveldb::NewLRUCache(o->cache);
    ldb->filter = leveldb::NewBloomFilterPolicy(10);
    leveldb::Options options;
    options.create_if_missing = o->create;
    options.paranoid_checks = true;
    options.write_buffer_size = o->write_buffer;
    options.max_open_files = o->open_files;
    options.block_cache = ldb->cache;
    options.filter_policy = ldb->filter;
    options.info_log = &ldb->silence;
    options.env = &ldb->env;
    leveldb::Status status = leveldb::DB::Open(options, o->dir, &ldb->db);
    if (status.ok()) return ldb;
    tell(status, error);
    gr_ldb_close(ldb);
    return nullptr;
}

void gr_ldb_close(gr_ldb *ldb)
{
    if (!ldb) return;
    delete ldb->db;
    delete ldb->filter;
    delete ldb->cache;
    delete ldb;
}

int gr_ldb_get(gr_ldb *ldb, const void *snapshot, const char *key, size_t size, gr_ldb_take *take, void *arg,
               char *error)
{
    thread_local std::string value;
    leveldb::Status status = ldb->db->Get(reading(snapshot), leveldb::Slice(key, size), &value);
    if (status.IsNotFound()) return 0;
    if (!status.ok()) {
        tell(status, error);
        return -1;
    }
    take(arg, value.data(), value.size());
    return 1;
}

const void *gr_ldb_snapshot(gr_ldb *ldb) { return ldb->db->GetSnapshot(); }

void gr_ldb_release(gr_ldb *ldb, const void *snapshot)
{
    ldb->db->ReleaseSnapshot(static_cast<const leveldb::Snapshot *>(snapshot));
}

gr_ldb_iter *gr_ldb_iter_new(gr_ldb *ldb, const void *snapshot, bool fill_cache)
{
    leveldb::ReadOptions options = reading(snapshot);
    options.fill_cache = fill_cache;
    return new gr_ldb_iter{ldb->db->NewIterator(options)};
}

void gr_ldb_iter_seek(gr_ldb_iter *it, const char *key, size_t size)
{
    it->iter->Seek(leveldb::Slice(key, size));
}

void gr_ldb_iter_before(gr_ldb_iter *it, const char *key, size_t size)
{
    if (size > 0) it->iter->Seek(leveldb::Slice(key, size));
    if (size > 0 && it->iter->Valid()) it->iter->Prev();
    else if (it->iter->status().ok()) it->iter->SeekToLast();
}

void gr_ldb_iter_next(gr_ldb_iter *it) { it->iter->Next(); }
void gr_ldb_iter_prev(gr_ldb_iter *it) { it->iter->Prev(); }

bool gr_ldb_iter_row(const gr_ldb_iter *it, const char **key, size_t *key_size, const char **value,
                     size_t *value_size)
{
    if (!it->iter->Valid()) return false;
    *key = it->iter->key().data();
    *key_size = it->iter->key().size();
    *value = it->iter->value().data();
    *value_size = it->iter->value().size();
    return true;
}

bool gr_ldb_iter_free(gr_ldb_iter *it, char *error)
{
    leveldb::Status status = it->iter->status();
    delete it->iter;
    delete it;
    if (!status.ok()) tell(status, error);
    return status.ok();
}

gr_ldb_batch *gr_ldb_batch_new() { return new gr_ldb_batch; }
void gr_ldb_batch_clear(gr_ldb_batch *b) { b->batch.Clear(); }

void gr_ldb_batch_put(gr_ldb_batch *b, const char *key, size_t key_size, const char *value, size_t value_size)
{
    b->batch.Put(leveldb::Slice(key, key_size), leveldb::Slice(value, value_size));
}

void gr_ldb_batch_delete(gr_ldb_batch *b, const char *key, size_t size)
{
    b->batch.Delete(leveldb::Slice(key, size));
}
void gr_ldb_batch_free(gr_ldb_batch *b) { delete b; }

bool gr_ldb_write_sync(gr_ldb *ldb, gr_ldb_batch *b, char *error)
{
    leveldb::WriteOptions options;
    options.sync = true;
    leveldb::Status status = ldb->db->Write(options, &b->batch);
    if (!status.ok()) tell(status, error);
    return status.ok();
}
