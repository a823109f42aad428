/* media_store.h - the bytes of uploads, as files below DIR/media.
 *
 * media/ab/cd/<id>: named by the first letters of the id.  An upload is written to media/tmp-<node> and moved to its name when it
 * is whole and synced, so a file that has a name is complete.  Opened once, before the edge serves; what it holds is a
 * constant path, so edge threads share it.  The nodes of a cluster share one folder: DIR/media is a link to it, or a mount.
 */
#pragma once
#include "proto/err.h"

enum { GR_MEDIA_ID_SIZE = 24, GR_MEDIA_PIECE = 64 * 1024 };

/* Makes the folders, and removes what an interrupted upload left in tmp. GR_UNAVAILABLE says why it can't. */
GR_MUST_USE gr_err gr_media_store_open(gr_arena *, const char *dir, const char *node);
/* May this be a media id of ours: 8..128 of A-Z a-z 0-9 - _ */
bool gr_media_id_valid(gr_str id);

/* An upload under way. */
typedef struct gr_media_upload gr_media_upload;
GR_MUST_USE gr_err gr_media_upload_new(gr_str id, gr_media_upload **);
GR_MUST_USE gr_err gr_media_upload_add(gr_media_upload *, gr_str piece);
uint64_t gr_media_upload_size(const gr_media_upload *);
/* Syncs and moves the file to its name, over nothing that is there: GR_CANNOT_OVERWRITE_MEDIA. */
GR_MUST_USE gr_err gr_media_upload_keep(gr_media_upload *);
void gr_media_upload_free(gr_media_upload **);         /* what was not kept is removed */

/* A file being read; pull is a gr_http_pull. */
typedef struct gr_media_file gr_media_file;
GR_MUST_USE gr_err gr_media_file_open(gr_str id, gr_media_file **, uint64_t *size);
int64_t gr_media_file_pull(void *file, char *dst, size_t room);
void gr_media_file_done(void *file, bool whole);       /* closes and frees it */
