/* update.h - background updates: long work over a shard in small steps, whose progress commits with the
 * work.
 *
 * An update is named, may depend on others, and runs shard by shard: a step reads through the shard's
 * overlay, writes into it, and its new cursor goes into the same layer, hence into the same batch.  So kill
 * -9 at any time repeats at most the step that was not committed.  A record that cannot be worked on is
 * skipped, counted and listed, never fatal. The caller (a job on the worker that owns the shard) seals and
 * submits, and paces itself by gr_update_due.
 */
#pragma once
#include "persistence/overlay.h"

enum { GR_UPDATE_NAME_MAX = 64, GR_UPDATE_LISTED_MAX = 100, GR_UPDATE_DEPENDS_MAX = 4 };

typedef struct {
    gr_overlay *overlay;              /* to read from; the step's own writes are not in it yet */
    gr_arena *arena;
    /* in: where the last step ended, empty at first; out: where this one did */
    gr_str cursor;
    bool finished;                    /* out: there is nothing left in this shard */
    uint64_t worked;                  /* out: records changed or looked at in this step */
    void *arg;                        /* of the gr_update */
    gr_ops writes;                    /* kept by gr_update_put and gr_update_delete */
    gr_strs bad;                      /* kept by gr_update_skip */
} gr_update_step;

/* What the step changes; dropped when it fails.  A step stays under GR_UPDATE_STEP_BYTES and some hundred
 * records. */
enum { GR_UPDATE_STEP_BYTES = 64 * 1024 };
void gr_update_put(gr_update_step *, gr_str key, gr_str value);
void gr_update_delete(gr_update_step *, gr_str key);

/* Reports a record that the update cannot work on; the step goes on with the next one. */
void gr_update_skip(gr_update_step *, gr_str key, const char *why);

typedef struct {
    const char *name;                 /* unique and never changed */
    const char *depends[GR_UPDATE_DEPENDS_MAX];    /* names of updates to finish first in the same shard */
    gr_err (*step)(gr_update_step *);
    void *arg;
} gr_update;

/* What is kept of an update in a shard. */
typedef struct {
    bool finished;
    uint64_t steps, worked, skipped;
    gr_str cursor;
} gr_update_state;

typedef struct gr_updates gr_updates;      /* registry and pace of one shard owner; no threads, no clock */
/* the array must outlive it; asserts names and dependencies */
gr_updates *gr_updates_new(const gr_update *, size_t count);
void gr_updates_free(gr_updates **);

/* Pausing holds all updates or, with a name, one; false when there is none of that name. */
bool gr_updates_pause(gr_updates *, const char *name, bool paused);
/* Share of the time that updates may take, in percent; 10 unless told. */
void gr_updates_pace(gr_updates *, unsigned percent);

/* Is it time for another step?  now_ms is a steady clock. */
bool gr_updates_due(const gr_updates *, uint64_t now_ms);

/* Runs one step of the first update of this shard that is neither finished, paused, put off nor waiting for
 * another, writing into the overlay's layer of `group`.  *ran tells whether a step was written.  An update
 * whose step fails changes nothing and is put off for a minute, then two, up to an hour; others go on. */
gr_err gr_updates_step(gr_updates *, gr_overlay *, uint64_t group, gr_arena *, uint64_t now_ms,
                       bool *ran) GR_MUST_USE;

/* Tells how long the step and its commit took, for the pace. */
void gr_updates_took(gr_updates *, uint64_t now_ms, uint64_t took_ms);

gr_err gr_updates_state(const gr_updates *, const gr_overlay *, const char *name, gr_arena *,
                        gr_update_state *out)
    GR_MUST_USE;
/* The newest skipped records of an update in this shard, at most GR_UPDATE_LISTED_MAX, as "key: why". */
gr_err gr_updates_skipped(const gr_updates *, const gr_overlay *, const char *name, gr_arena *,
                          gr_strs *out) GR_MUST_USE;
