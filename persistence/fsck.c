/* fsck.c - the walk, the floor's own checks, and the report. See fsck.h. */
#include "persistence/fsck.h"
#include "persistence/gate.h"

#include <stdlib.h>

enum { CHECKS_MAX = 128, PROGRESS_EVERY = 10000 };

typedef struct { gr_str prefix; gr_fsck_fn *fn; void *arg; } check;

struct gr_fsck {
    check checks[CHECKS_MAX];
    size_t count;
    gr_fsck_report report;
    gr_arena *texts;
};

/* One run of the walk. */
typedef struct {
    gr_fsck *fsck;
    gr_fsck_at at;
    gr_fsck_progress_fn *progress;
    void *arg;
} walking;

gr_fsck *gr_fsck_new(void)
{
    gr_fsck *fsck = gr_alloc(sizeof *fsck);
    fsck->texts = gr_arena_new(0);
    return fsck;
}

void gr_fsck_free(gr_fsck **at)
{
    if (!*at) return;
    gr_arena_free(&(*at)->texts);
    free(*at);
    *at = NULL;
}

void gr_fsck_check(gr_fsck *fsck, gr_str prefix, gr_fsck_fn *fn, void *arg)
{
    gr_assert(fsck->count < CHECKS_MAX && prefix.size > 0);
    fsck->checks[fsck->count++] = (check){prefix, fn, arg};
}

/* Keys hold numbers as bytes; what does not print is shown as \xx. */
static gr_str printable(gr_arena *arena, gr_str key)
{
    gr_buf out = {0};
    for (size_t i = 0; i < key.size && i < 200; i++) {
        unsigned char c = (unsigned char)key.ptr[i];
        if (c > 32 && c < 127 && c != '\\') gr_buf_char(&out, (char)c);
        else gr_buf_printf(&out, "\\%02x", c);
    }
    gr_str text = gr_arena_str(arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

static void list(gr_fsck *fsck, uint8_t shard, gr_str key, const char *what)
{
    gr_fsck_report *report = &fsck->report;
    if (!report->listed.at) report->listed.at = gr_arena_alloc(fsck->texts,
                                                               GR_FSCK_LISTED_MAX * sizeof(gr_str));
    if (report->listed.count == GR_FSCK_LISTED_MAX) return;
    report->listed.at[report->listed.count++] =
        gr_arena_printf(fsck->texts, "shard %d, key %" GR_FMT ": %s", shard,
                        GR_ARG(printable(fsck->texts, key)), what);
}

void gr_fsck_problem(gr_fsck *fsck, uint8_t shard, gr_str key, const char *what)
{
    fsck->report.problems++;
    list(fsck, shard, key, what);
}

void gr_fsck_unknown(gr_fsck *fsck, uint8_t shard, gr_str key, const char *what)
{
    fsck->report.unknown++;
    list(fsck, shard, key, what);
}

/* The store's own keys in a shard, which begin with byte 0. */
static void check_own(gr_fsck *fsck, uint8_t shard, gr_str key, gr_str value)
{
    gr_position position;
    if (gr_str_eq(key, GR_POSITION_KEY)) {
        if (!gr_position_read(value, &position) || position.number == 0)
            gr_fsck_problem(fsck, shard, key, "the position record is damaged");
    } else if (key.size == 2 && key.ptr[1] == 'i') {
        if (value.size != 8) gr_fsck_problem(fsck, shard, key, "the incarnation record is damaged");
    } else if (key.size < 2 || key.ptr[1] != 'u') {
        gr_fsck_problem(fsck, shard, key, "the store has no record of that name");
    }
}

static void check_row(walking *w, gr_str key, gr_str value)
{
    gr_fsck *fsck = w->fsck;
    const check *best = NULL;
    if (key.size == 0 || key.ptr[0] == 0) return check_own(fsck, w->at.shard, key, value);
    for (size_t i = 0; i < fsck->count; i++)
        if (gr_str_starts(key, fsck->checks[i].prefix)
            && (!best || fsck->checks[i].prefix.size > best->prefix.size))
            best = &fsck->checks[i];
    if (!best) fsck->report.unknown++;
    else best->fn(best->arg, &w->at, key, value);
    if (best) gr_arena_reset(w->at.arena);
}

static bool walk_row(void *arg, gr_str key, gr_str value)
{
    walking *w = arg;
    gr_fsck_report *report = &w->fsck->report;
    report->keys++;
    report->bytes += key.size + value.size;
    if (key.size >= 2 && key.ptr[0] == 's') {
        w->at.shard = (uint8_t)key.ptr[1];
        check_row(w, gr_str_from(key, 2), value);
    } else if (gr_str_starts(key, GR_STR("hrestore/"))) {
        gr_fsck_problem(w->fsck, (uint8_t)key.ptr[key.size - 1], key, "restoring this shard was cut short");
    } else if (key.size == 0 || key.ptr[0] != 'h') {
        gr_fsck_problem(w->fsck, 0, key, "the key belongs to no shard and not to the node");
    }
    return report->keys % PROGRESS_EVERY != 0 || !w->progress || w->progress(w->arg, report);
}

/* Rows of a shard mean that batches were written, and every batch writes the position. */
static gr_err check_positions(walking *w)
{
    for (int shard = 0; shard < GR_SHARDS; shard++) {
        gr_shard handle = {.store = w->at.store, .shard = (uint8_t)shard};
        gr_str key, value, position;
        gr_cursor *cursor;
        gr_err err = gr_shard_cursor(&handle, w->at.snapshot, &(gr_range){.limit = 1}, &cursor);
        if (gr_failed(err)) return err;
        bool used = cursor->next(cursor, &key, &value);
        err = cursor->close(cursor);
        if (!gr_failed(err)) err = gr_shard_get(&handle, w->at.snapshot, GR_POSITION_KEY, w->at.arena,
                                                &position);
        if (gr_failed(err)) return err;
        if (used && !position.ptr)
            gr_fsck_problem(w->fsck, (uint8_t)shard, GR_POSITION_KEY,
                            "the shard has rows but no position record");
        gr_arena_reset(w->at.arena);
    }
    return gr_ok();
}

gr_err gr_fsck_run(gr_fsck *fsck, gr_store *store, gr_fsck_progress_fn *progress, void *arg,
                   gr_fsck_report *out)
{
    *out = fsck->report = (gr_fsck_report){0};
    gr_arena_reset(fsck->texts);
    gr_snapshot *snapshot;
    gr_err err = gr_store_snapshot(store, &snapshot);
    if (gr_failed(err)) return err;
    walking w = {.fsck = fsck, .progress = progress, .arg = arg,
                 .at = {.store = store, .snapshot = snapshot, .arena = gr_arena_new(0), .fsck = fsck}};
    err = gr_store_walk(store, snapshot, &(gr_range){0}, walk_row, &w);
    if (!gr_failed(err)) err = check_positions(&w);
    gr_store_release(store, &snapshot);
    gr_arena_free(&w.at.arena);
    *out = fsck->report;
    return err;
}
