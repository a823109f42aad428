/* leveldb_shim.h - the few calls of LevelDB that the engine needs, from C, with an Env of the caller's
 * choice.
 *
 * LevelDB's own C header cannot be given a custom Env.  No call throws or aborts; errors are texts in a
 * buffer.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif

enum { GR_LDB_ERROR = 256 };

typedef struct gr_ldb gr_ldb;
typedef struct gr_ldb_batch gr_ldb_batch;
typedef struct gr_ldb_iter gr_ldb_iter;
typedef struct {
    const char *dir;
    bool create;
    size_t write_buffer, cache;
    int open_files;
    void *env;                        /* leveldb::Env *; NULL: the default */
} gr_ldb_options;

gr_ldb *gr_ldb_open(const gr_ldb_options *, char error[GR_LDB_ERROR]);     /* NULL on failure */
void gr_ldb_close(gr_ldb *);

/* 1 found, 0 absent, -1 error.  The value is given to `take` while it is valid. */
typedef void gr_ldb_take(void *arg, const char *value, size_t size);
int gr_ldb_get(gr_ldb *, const void *snapshot, const char *key, size_t size, gr_ldb_take *, void *arg,
               char *error);
const void *gr_ldb_snapshot(gr_ldb *);
void gr_ldb_release(gr_ldb *, const void *snapshot);

gr_ldb_iter *gr_ldb_iter_new(gr_ldb *, const void *snapshot, bool fill_cache);
void gr_ldb_iter_seek(gr_ldb_iter *, const char *key, size_t size);        /* the first at or after the key */
/* the last before the key; size 0: of all */
void gr_ldb_iter_before(gr_ldb_iter *, const char *key, size_t size);
void gr_ldb_iter_next(gr_ldb_iter *);
void gr_ldb_iter_prev(gr_ldb_iter *);
bool gr_ldb_iter_row(const gr_ldb_iter *, const char **key, size_t *key_size, const char **value,
                     size_t *value_size);
bool gr_ldb_iter_free(gr_ldb_iter *, char error[GR_LDB_ERROR]);            /* false: the walk met an error */

gr_ldb_batch *gr_ldb_batch_new(void);
void gr_ldb_batch_clear(gr_ldb_batch *);
void gr_ldb_batch_put(gr_ldb_batch *, const char *key, size_t key_size, const char *value, size_t value_size);
void gr_ldb_batch_delete(gr_ldb_batch *, const char *key, size_t size);
void gr_ldb_batch_free(gr_ldb_batch *);
bool gr_ldb_write_sync(gr_ldb *, gr_ldb_batch *, char error[GR_LDB_ERROR]);

#ifdef __cplusplus
}
#endif
