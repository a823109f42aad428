/* media_store.c - files of uploads. See media_store.h. */
#include "edge/media_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 4096, FLUSH_EVERY = 4 << 20 };

static char root[PATH - 512], own[64];     /* DIR/media, tmp-<node> in it; set once, before there are threads */

struct gr_media_upload {
    int file;
    uint64_t size, flushed;
    char temporary[PATH], name[PATH];
};
struct gr_media_file { int file; };

bool gr_media_id_valid(gr_str id)
{
    if (id.size < 8 || id.size > 128) return false;
    for (size_t i = 0; i < id.size; i++) {
        char c = id.ptr[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!good) return false;
    }
    return true;
}

static bool make_folder(const char *path) { return mkdir(path, 0700) == 0 || errno == EEXIST; }

static void remove_leftovers(const char *folder)
{
    DIR *d = opendir(folder);
    char path[PATH];
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.' && (size_t)snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < sizeof path) unlink(path);
    closedir(d);
}

gr_err gr_media_store_open(gr_arena *arena, const char *dir, const char *node)
{
    char temporary[PATH];
    if ((size_t)snprintf(root, sizeof root, "%s/media", dir) >= sizeof root)
        return gr_failf(arena, GR_UNAVAILABLE, "%s: the path is too long", dir);
    snprintf(own, sizeof own, "tmp-%s", node);
    snprintf(temporary, sizeof temporary, "%s/%s", root, own);
    if (!make_folder(root) || !make_folder(temporary))
        return gr_failf(arena, GR_UNAVAILABLE, "%s: can't be made: %s", root, strerror(errno));
    remove_leftovers(temporary);
    return gr_ok();
}

/* root/ab/cd/id, and its folders if asked. */
static void path_of(gr_str id, bool make, char out[PATH])
{
    gr_assert(gr_media_id_valid(id));
    snprintf(out, PATH, "%s/%.2s", root, id.ptr);
    if (make) make_folder(out);
    snprintf(out, PATH, "%s/%.2s/%.2s", root, id.ptr, id.ptr + 2);
    if (make) make_folder(out);
    snprintf(out, PATH, "%s/%.2s/%.2s/%" GR_FMT, root, id.ptr, id.ptr + 2, GR_ARG(id));
}

static gr_err disk_error(void)
{
    return gr_fail(GR_UNAVAILABLE, errno == ENOSPC ? "The server's disk is full" : "The media could not be stored");
}

gr_err gr_media_upload_new(gr_str id, gr_media_upload **out)
{
    gr_media_upload *u = gr_alloc(sizeof *u);
    path_of(id, true, u->name);
    snprintf(u->temporary, sizeof u->temporary, "%s/%s/%" GR_FMT ".XXXXXX", root, own, GR_ARG(id));
    u->file = mkostemp(u->temporary, O_CLOEXEC);
    *out = u;
    if (u->file >= 0) return gr_ok();
    gr_err err = disk_error();
    u->temporary[0] = 0;
    gr_media_upload_free(out);
    return err;
}

gr_err gr_media_upload_add(gr_media_upload *u, gr_str piece)
{
    while (piece.size) {
        ssize_t wrote = write(u->file, piece.ptr, piece.size);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return disk_error();
        u->size += (size_t)wrote;
        piece = gr_str_from(piece, (size_t)wrote);
    }
    if (u->size - u->flushed >= FLUSH_EVERY) {             /* so that the sync at the end has little left to do */
        sync_file_range(u->file, (off_t)u->flushed, (off_t)(u->size - u->flushed), SYNC_FILE_RANGE_WRITE);
        u->flushed = u->size;
    }
    return gr_ok();
}

uint64_t gr_media_upload_size(const gr_media_upload *u) { return u->size; }

static bool sync_folder_of(const char *name)
{
    char folder[PATH];
    snprintf(folder, sizeof folder, "%s", name);
    *strrchr(folder, '/') = 0;
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) return false;
    bool good = fsync(file) == 0;
    close(file);
    return good;
}

gr_err gr_media_upload_keep(gr_media_upload *u)
{
    if (fsync(u->file) != 0) return disk_error();
    if (link(u->temporary, u->name) != 0)
        return errno == EEXIST ? gr_fail(GR_CANNOT_OVERWRITE_MEDIA, "This media has been uploaded already") : disk_error();
    return sync_folder_of(u->name) ? gr_ok() : disk_error();
}

void gr_media_upload_free(gr_media_upload **at)
{
    gr_media_upload *u = *at;
    if (!u) return;
    if (u->file >= 0) close(u->file);
    if (u->temporary[0]) unlink(u->temporary);             /* a kept file has its name as well */
    free(u);
    *at = NULL;
}

/* --- reading ----------------------------------------------------------------------------------------------- */
gr_err gr_media_file_open(gr_str id, gr_media_file **out, uint64_t *size)
{
    char name[PATH];
    struct stat info;
    path_of(id, false, name);
    int file = open(name, O_RDONLY | O_CLOEXEC);
    *out = NULL;
    *size = 0;
    if (file < 0) return gr_fail(errno == ENOENT ? GR_NOT_FOUND : GR_UNAVAILABLE, "The media's file can't be read");
    if (fstat(file, &info) != 0) {
        close(file);
        return gr_fail(GR_UNAVAILABLE, "The media's file can't be read");
    }
    *out = gr_alloc(sizeof **out);
    (*out)->file = file;
    *size = (uint64_t)info.st_size;
    return gr_ok();
}

int64_t gr_media_file_pull(void *file, char *dst, size_t room)
{
    ssize_t got;
    do got = read(((gr_media_file *)file)->file, dst, room);
    while (got < 0 && errno == EINTR);
    return got > 0 ? got : -1;
}

void gr_media_file_done(void *file, bool whole)
{
    gr_media_file *f = file;
    (void)whole;
    close(f->file);
    free(f);
}
