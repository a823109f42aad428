/* copy.c - copying files and folders. See copy.h. */
#include "edge/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 256 * 1024, TELL_EVERY = 8 << 20, DEPTH_MAX = 32 };

static gr_err broken(gr_arena *a, const char *what, const char *path)
{
    int problem = errno;
    return gr_failf(a, problem == ENOENT ? GR_NOT_FOUND : GR_UNAVAILABLE, "can't %s %s: %s", what, path,
                    strerror(problem));
}

static gr_err given_up(void) { return gr_fail(GR_TIMEOUT, "copying was given up before its end"); }

static bool write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t wrote = write(fd, bytes, size);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return false;
        bytes += wrote;
        size -= (size_t)wrote;
    }
    return true;
}

static gr_err copy_bytes(gr_copy *c, gr_arena *a, int in, int out, const char *from, const char *to)
{
    char *piece = gr_alloc(PIECE);
    gr_err err = gr_ok();
    uint64_t told = c->bytes;
    for (ssize_t got; !gr_failed(err) && (got = read(in, piece, PIECE)) != 0;) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) err = broken(a, "read", from);
        else if (!write_all(out, piece, (size_t)got)) err = broken(a, "write", to);
        else c->bytes += (uint64_t)got;
        if (gr_failed(err) || c->bytes - told < TELL_EVERY) continue;
        told = c->bytes;
        if (c->progress && !c->progress(c->arg, c->bytes)) err = given_up();
    }
    if (!gr_failed(err) && fsync(out) != 0) err = broken(a, "write", to);
    explicit_bzero(piece, PIECE);
    free(piece);
    return err;
}

gr_err gr_copy_file(gr_copy *c, gr_arena *a, const char *from, const char *to)
{
    struct stat about;
    int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (in < 0) return broken(a, "read", from);
    if (fstat(in, &about) != 0) about = (struct stat){0};
    if (c->link && link(from, to) == 0) {
        close(in);
        c->bytes += (uint64_t)about.st_size;
    } else {
        int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, c->mode ? c->mode : about.st_mode & 0777);
        gr_err err = out < 0 ? broken(a, "write", to) : copy_bytes(c, a, in, out, from, to);
        close(in);
        if (out >= 0) close(out);
        if (gr_failed(err)) return err;
    }
    c->files++;
    return c->progress && !c->progress(c->arg, c->bytes) ? given_up() : gr_ok();
}

static void sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

static bool is_empty(const char *path)
{
    DIR *folder = opendir(path);
    bool empty = folder != NULL;
    for (struct dirent *e; folder && (e = readdir(folder));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) empty = false;
    if (folder) closedir(folder);
    return empty;
}

gr_err gr_copy_make_folder(gr_arena *a, const char *path)
{
    if (mkdir(path, 0700) == 0) return gr_ok();
    if (errno != EEXIST) return broken(a, "make the folder", path);
    return is_empty(path)
               ? gr_ok()
               : gr_failf(a, GR_BAD_STATE, "%s exists and is not an empty folder; name another", path);
}

static gr_err copy_below(gr_copy *c, gr_arena *a, const char *from, const char *to, int depth);

static gr_err copy_entry(gr_copy *c, gr_arena *a, const char *from, const char *to, int depth)
{
    struct stat about;
    if (lstat(from, &about) != 0) return errno == ENOENT ? gr_ok() : broken(a, "read", from);
    if (S_ISDIR(about.st_mode)) return copy_below(c, a, from, to, depth + 1);
    if (!S_ISREG(about.st_mode)) return gr_ok();
    gr_err err = gr_copy_file(c, a, from, to);
    return gr_failed(err) && err.code == GR_NOT_FOUND && access(from, F_OK) != 0 ? gr_ok() : err;
}

static gr_err copy_below(gr_copy *c, gr_arena *a, const char *from, const char *to, int depth)
{
    if (depth > DEPTH_MAX) return gr_failf(a, GR_TOO_LARGE, "%s has folders too deep in each other", from);
    gr_err err = gr_copy_make_folder(a, to);
    if (gr_failed(err)) return err;
    DIR *folder = opendir(from);
    if (!folder) return depth > 0 && errno == ENOENT ? gr_ok() : broken(a, "read", from);
    for (struct dirent *e; !gr_failed(err) && (e = readdir(folder));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        char one[4096], other[4096];
        int n = snprintf(one, sizeof one, "%s/%s", from, e->d_name);
        int m = snprintf(other, sizeof other, "%s/%s", to, e->d_name);
        if (n >= (int)sizeof one || m >= (int)sizeof other)
            err = gr_failf(a, GR_TOO_LARGE, "the path %s is too long", from);
        else err = copy_entry(c, a, one, other, depth);
    }
    closedir(folder);
    if (!gr_failed(err)) sync_folder(to);
    return err;
}

gr_err gr_copy_folder(gr_copy *c, gr_arena *a, const char *from, const char *to)
{
    return copy_below(c, a, from, to, 0);
}

static uint64_t size_below(const char *path, int depth)
{
    uint64_t sum = 0;
    struct stat about;
    DIR *folder = depth > DEPTH_MAX ? NULL : opendir(path);
    for (struct dirent *e; folder && (e = readdir(folder));) {
        char one[4096];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (snprintf(one, sizeof one, "%s/%s", path, e->d_name) >= (int)sizeof one || lstat(one, &about) != 0)
            continue;
        sum += S_ISDIR(about.st_mode) ? size_below(one, depth + 1) : (uint64_t)about.st_size;
    }
    if (folder) closedir(folder);
    return sum;
}

uint64_t gr_copy_size(const char *path) { return size_below(path, 0); }
