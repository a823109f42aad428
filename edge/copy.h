/* copy.h - copying files and folders for backups: synced, never over what exists, links not followed.
 *
 * Errors name the file and what to do; their texts lie in the arena.
 */
#pragma once
#include "proto/err.h"

#include <sys/types.h>

/* Told after each file, and after each 8 MB of a large one; false gives up. NULL is fine. */
typedef bool gr_copy_fn(void *arg, uint64_t bytes_so_far);

typedef struct {
    bool link;   /* hard links where the file system allows: for files that are never changed in place */
    mode_t mode; /* of copied files; 0: as the original */
    gr_copy_fn *progress;
    void *arg;
    uint64_t bytes, files; /* so far: starts at 0 */
} gr_copy;

/* One file; `to` must not exist. GR_NOT_FOUND when there is no `from`. */
GR_MUST_USE gr_err gr_copy_file(gr_copy *, gr_arena *, const char *from, const char *to);
/* A folder with all below it, at most 32 levels; `to` may exist when it is empty. Files that vanish meanwhile
 * are left out. */
GR_MUST_USE gr_err gr_copy_folder(gr_copy *, gr_arena *, const char *from, const char *to);
/* Makes a folder with mode 0700; GR_BAD_STATE when it exists and is not empty. */
GR_MUST_USE gr_err gr_copy_make_folder(gr_arena *, const char *path);
/* Bytes of the files below a folder; 0 when there is none. */
uint64_t gr_copy_size(const char *path);
