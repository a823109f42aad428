/* admin_backup.c - a backup of the running node, made by a thread of its own. See admin_inside.h.
 *
 * The store goes first, from one snapshot; media after it, so that what the copied store speaks of is there.
 * Media files are never changed in place and are linked where the file system allows.
 */
#include "edge/admin_inside.h"
#include "edge/copy.h"
#include "edge/keys.h"
#include "edge/log.h"

#include "persistence/backup.h"

#include <stdio.h>
#include <stdlib.h>

struct gr_admin_backup {
    gr_store *store;
    char *from, *to, *server_name;
    pthread_t thread;
    atomic_bool is_running, is_cancelled;
    atomic_uint_least64_t bytes;
    uint64_t total;        /* about */
    gr_backup_count count; /* this and what follows: written before is_running becomes false, read after */
    uint64_t media_files, media_bytes;
    char error[512];
};

static bool on_store(void *arg, const gr_backup_count *so_far)
{
    gr_admin_backup *b = arg;
    atomic_store(&b->bytes, so_far->bytes);
    return !atomic_load(&b->is_cancelled);
}

static bool on_media(void *arg, uint64_t bytes)
{
    gr_admin_backup *b = arg;
    atomic_store(&b->bytes, b->count.bytes + bytes);
    return !atomic_load(&b->is_cancelled);
}

static gr_err copy_files(gr_admin_backup *b, gr_arena *a)
{
    static const char *const names[] = {GR_CONFIG_FILE, GR_KEYS_SIGNING_FILE, GR_KEYS_SECRETS_FILE};
    gr_copy media = {.link = true, .progress = on_media, .arg = b}, keys = {.mode = 0600};
    gr_err err = gr_copy_folder(&media, a, gr_arena_printf(a, "%s/media", b->from).ptr,
                                gr_arena_printf(a, "%s/media", b->to).ptr);
    b->media_files = media.files;
    b->media_bytes = media.bytes;
    if (gr_failed(err) && err.code != GR_NOT_FOUND)
        return err; /* a node without media has no folder for it */
    err = gr_ok();
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !gr_failed(err); i++)
        err = gr_copy_file(&keys, a, gr_arena_printf(a, "%s/%s", b->from, names[i]).ptr,
                           gr_arena_printf(a, "%s/%s", b->to, names[i]).ptr);
    return err;
}

static void *make(void *arg)
{
    gr_admin_backup *b = arg;
    gr_arena *a = gr_arena_new(0);
    gr_str store = gr_arena_printf(a, "%s/store", b->to);
    gr_store_options options = {.dir = store.ptr, .server_name = gr_str_c(b->server_name), .create = true};
    gr_err err = gr_backup_write(b->store, &options, a, on_store, b, &b->count);
    if (!gr_failed(err)) err = copy_files(b, a);
    if (gr_failed(err)) {
        snprintf(b->error, sizeof b->error, "%s", err.text ? err.text : "it failed");
        gr_log(GR_LOG_ERROR, "backup", "the backup in %s is not complete: %s", b->to, b->error);
    } else {
        gr_log(GR_LOG_INFO, "backup", "backup written to %s: %llu keys, %llu media files", b->to,
               (unsigned long long)b->count.keys, (unsigned long long)b->media_files);
    }
    gr_arena_free(&a);
    atomic_store(&b->is_running, false);
    return NULL;
}

static void forget(gr_admin *admin)
{
    gr_admin_backup *b = admin->backup;
    if (!b) return;
    pthread_join(b->thread, NULL);
    free(b->from);
    free(b->to);
    free(b->server_name);
    free(b);
    admin->backup = NULL;
}

gr_err gr_admin_backup_begin(gr_admin *admin, gr_arena *a, gr_str to)
{
    if (to.size == 0 || to.ptr[0] != '/')
        return gr_fail(GR_INVALID_PARAM, "give the whole path of the backup's folder");
    if (admin->backup && atomic_load(&admin->backup->is_running))
        return gr_fail(GR_BAD_STATE, "a backup is under way already: wait for its end");
    gr_err err = gr_copy_make_folder(a, gr_arena_str(a, to).ptr);
    if (gr_failed(err)) return err;
    forget(admin);
    gr_admin_backup *b = gr_alloc(sizeof *b);
    b->store = admin->store;
    b->from = gr_str_dup(gr_str_c(admin->dir));
    b->to = gr_str_dup(to);
    b->server_name = gr_str_dup(gr_str_c(admin->config->server_name));
    b->total = gr_copy_size(gr_arena_printf(a, "%s/store", admin->dir).ptr)
               + gr_copy_size(gr_arena_printf(a, "%s/media", admin->dir).ptr);
    atomic_store(&b->is_running, true);
    if (pthread_create(&b->thread, NULL, make, b) == 0) {
        admin->backup = b;
        return gr_ok();
    }
    free(b->from);
    free(b->to);
    free(b->server_name);
    free(b);
    return gr_fail(GR_UNAVAILABLE, "there is no thread for the backup: try again");
}

void gr_admin_backup_state(gr_admin *admin, gr_buf *json)
{
    gr_admin_backup *b = admin->backup;
    bool running = b && atomic_load(&b->is_running);
    gr_jw w = gr_jw_begin(json);
    gr_jw_object(&w);
    gr_jw_kbool(&w, "running", running);
    if (b) {
        gr_jw_kint(&w, "bytes", (int64_t)atomic_load(&b->bytes));
        gr_jw_kint(&w, "total", (int64_t)b->total);
        if (gr_str_utf8(gr_str_c(b->to))) gr_jw_kc(&w, "to", b->to);
    }
    if (b && !running) {
        gr_jw_kint(&w, "keys", (int64_t)b->count.keys);
        gr_jw_kint(&w, "store_bytes", (int64_t)b->count.bytes);
        gr_jw_kint(&w, "media_files", (int64_t)b->media_files);
        gr_jw_kint(&w, "media_bytes", (int64_t)b->media_bytes);
        if (b->error[0])
            gr_jw_kc(&w, "error",
                     gr_str_utf8(gr_str_c(b->error)) ? b->error : "it failed: see the server's log");
    }
    gr_jw_end_object(&w);
}

void gr_admin_backup_end(gr_admin *admin)
{
    if (admin->backup) atomic_store(&admin->backup->is_cancelled, true);
    forget(admin);
}
