/* threads_test.c - the LevelDB store on real files with its committing thread, while other threads read. */
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "persistence/fault_env.h"
#include "persistence/overlay.h"

enum { READERS = 2, GROUPS = 300, OUTSTANDING = 2 };

/* A worker with one shard and at most two groups outstanding, and readers who look at what is committed. */
typedef struct {
    char dir[64];
    gr_fault_env *env;                /* NULL: the system's files */
    gr_arena *arena;
    gr_store *store;
    gr_shard shard;
    gr_overlay *overlay;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    uint64_t committed;
    size_t waiting, unknown;
    atomic_bool stop;
} fixture;

static void done(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    fixture *f = arg;
    (void)shard, (void)number;
    pthread_mutex_lock(&f->lock);
    f->waiting--;
    if (outcome == GR_COMMITTED) f->committed = token;
    else f->unknown++;
    pthread_cond_signal(&f->answered);
    pthread_mutex_unlock(&f->lock);
}

static void open_store(fixture *f)
{
    gr_store_options options = {.dir = f->dir, .server_name = GR_STR("a.example"), .create = true, .threaded =
                                true,
                                .write_buffer = 64 * 1024};
    if (f->env) options.env = gr_fault_env_leveldb(f->env);
    assert_false(gr_failed(gr_store_open(&options, f->arena, &f->store)));
    assert_false(gr_failed(gr_shard_open(f->store, 1, f->arena, &f->shard)));
    f->overlay = gr_overlay_new(&f->shard, NULL);
}

static void close_store(fixture *f)
{
    gr_overlay_free(&f->overlay);
    gr_store_close(&f->store);
}

static void begin(fixture *f)
{
    *f = (fixture){.arena = gr_arena_new(0)};
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->answered, NULL);
    snprintf(f->dir, sizeof f->dir, "%s", "/tmp/greenroom-store-XXXXXX");
}

static void remove_dir(const char *dir)
{
    DIR *open = opendir(dir);
    for (struct dirent *entry; open && (entry = readdir(open));) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (entry->d_name[0] != '.') unlink(path);
    }
    if (open) closedir(open);
    rmdir(dir);
}

/* Two rows are always written together, so every reader sees them equal. */
static void *read_pairs(void *arg)
{
    fixture *f = arg;
    gr_arena *arena = gr_arena_new(0);
    gr_shard handle = {.store = f->store, .shard = 1};
    while (!atomic_load(&f->stop)) {
        gr_snapshot *snapshot;
        gr_str left, right;
        gr_arena_reset(arena);
        if (gr_failed(gr_store_snapshot(f->store, &snapshot))) continue;
        gr_err err = gr_shard_get(&handle, snapshot, GR_STR("left"), arena, &left);
        if (!gr_failed(err)) err = gr_shard_get(&handle, snapshot, GR_STR("right"), arena, &right);
        if (!gr_failed(err)) gr_assert(gr_str_eq(left, right));
        else gr_assert(err.code == GR_UNAVAILABLE);
        gr_store_release(f->store, &snapshot);
    }
    gr_arena_free(&arena);
    return NULL;
}

/* False when something was not committed. */
static bool write_pair(fixture *f, gr_arena *arena, uint64_t group)
{
    gr_batch batch;
    gr_arena_reset(arena);
    char padding[1000] = {0};
    gr_str value = gr_arena_printf(arena, "%d", (int)group);
    gr_overlay_put(f->overlay, group, GR_STR("left"), value);
    gr_overlay_put(f->overlay, group, GR_STR("right"), value);
    gr_overlay_put(f->overlay, group, gr_arena_printf(arena, "row%d", (int)group),
                   gr_str_of(padding, sizeof padding));
    assert_false(gr_failed(gr_overlay_seal(f->overlay, group, arena, &batch)));
    pthread_mutex_lock(&f->lock);
    while (f->waiting == OUTSTANDING) pthread_cond_wait(&f->answered, &f->lock);
    uint64_t committed = f->committed;
    bool fine = f->unknown == 0;
    f->waiting++;
    pthread_mutex_unlock(&f->lock);
    gr_overlay_committed(f->overlay, committed);
    gr_store_submit(f->store, &batch, 1, group, done, f);
    return fine;
}

static void write_groups(fixture *f)
{
    pthread_t readers[READERS];
    gr_arena *arenas[OUTSTANDING + 1];
    for (int i = 0; i <= OUTSTANDING; i++) arenas[i] = gr_arena_new(0);
    for (int i = 0; i < READERS; i++) pthread_create(&readers[i], NULL, read_pairs, f);
    for (uint64_t group = 1; group <= GROUPS && write_pair(f, arenas[group % (OUTSTANDING + 1)],
                                                           group);) group++;
    pthread_mutex_lock(&f->lock);
    while (f->waiting > 0) pthread_cond_wait(&f->answered, &f->lock);
    pthread_mutex_unlock(&f->lock);
    atomic_store(&f->stop, true);
    for (int i = 0; i < READERS; i++) pthread_join(readers[i], NULL);
    for (int i = 0; i <= OUTSTANDING; i++) gr_arena_free(&arenas[i]);
}

static void readers_see_whole_batches_while_the_committer_writes_to_real_files(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    assert_non_null(mkdtemp(f.dir));
    open_store(&f);
    write_groups(&f);
    assert_int_equal(f.committed, GROUPS);
    close_store(&f);
    open_store(&f);
    assert_int_equal(f.shard.newest.number, GROUPS);
    gr_str left;
    assert_false(gr_failed(gr_overlay_get(f.overlay, GR_STR("left"), f.arena, &left)));
    assert_true(gr_str_eq(left, gr_arena_printf(f.arena, "%d", GROUPS)));
    close_store(&f);
    remove_dir(f.dir);
    gr_arena_free(&f.arena);
}

static void readers_live_through_a_failed_write_and_the_store_being_reopened(void **state)
{
    (void)state;
    fixture f;
    begin(&f);
    f.env = gr_fault_env_new();
    open_store(&f);
    gr_fault_env_fail_at(f.env, 200, 1);
    write_groups(&f);
    assert_in_range(f.unknown, 1, OUTSTANDING + 1);
    gr_overlay_drop(f.overlay);
    assert_false(gr_failed(gr_shard_open(f.store, 1, f.arena, &f.shard)));
    assert_in_range(f.shard.newest.number, f.committed, f.committed + OUTSTANDING);
    close_store(&f);
    gr_fault_env_free(&f.env);
    gr_arena_free(&f.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_whole_batches_while_the_committer_writes_to_real_files),
        cmocka_unit_test(readers_live_through_a_failed_write_and_the_store_being_reopened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
