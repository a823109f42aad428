/* update.h - background updates: long work over a shard in small steps, whose progress commits with the
 * work.
 *
 * An update is named, may depend on others, and runs shard by shard: a step reads through the shard's
 * overlay, writes into it, and its new cursor goes into the same layer, hence into the same batch.  So kill
 * -9 at any time repeats at most the step that was not committed.  A record that cannot be worked on is
 * skipped, counted and listed, never fatal.  The caller (bus/upkeep.c, on the worker that owns the shard)
 * says when, seals and submits.
 */
#pragma once
#include "persistence/overlay.h"

enum { GR_UPDATE_NAME_MAX = 64, GR_UPDATE_LISTED_MAX = 100, GR_UPDATE_DEPENDS_MAX = 4, GR_UPDATE_TRIES_MAX = 5 };

typedef struct {
    gr_overlay *overlay;              /* to read from; the step's own writes are not in it yet */
    gr_arena *arena;
    /* in: where the last step ended, empty at first; out: where this one did */
    gr_str cursor;
    bool finished;                    /* out: there is nothing left in this shard */
    uint64_t worked;                  /* out: records changed or looked at in this step */
    /* out: this step is to be done by an actor; the caller has it done before gr_updates_end */
    gr_str actor;
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
void gr_update_skip(gr_update_step *, gr_str key, gr_str why);

typedef struct {
    const char *name;                 /* unique and never changed */
    const char *depends[GR_UPDATE_DEPENDS_MAX];    /* names of updates to finish first in the same shard */
    gr_err (*step)(gr_update_step *);              /* NULL: others do it, and tell with gr_updates_note */
    void *arg;
    uint64_t every_ms;                /* 0: once; else it begins anew so long after it has finished */
} gr_update;

/* What is kept of an update in a shard. */
typedef struct {
    bool finished;
    uint64_t steps, worked, skipped;  /* of all rounds, when there are several */
    gr_str cursor;                    /* finished: when, in 8 bytes */
} gr_update_state;

typedef struct gr_updates gr_updates;      /* those of one shard; no threads, no clock */
/* the array must outlive it; asserts names and dependencies */
gr_updates *gr_updates_new(const gr_update *, size_t count);
void gr_updates_free(gr_updates **);

/* Pausing holds all updates or, with a name, one; false when there is none of that name. */
bool gr_updates_pause(gr_updates *, const char *name, bool paused);

/* One step of the first update of this shard that is neither finished, paused, put off nor waiting for
 * another.  *number is which it was, or the count of updates when there was none to run, and then *next_ms
 * when there may be one (UINT64_MAX: not by time alone).  An update whose step fails changes nothing and is put
 * off for a minute, then two, up to an hour; others go on.  now_ms is the time of day. */
gr_err gr_updates_begin(gr_updates *, gr_overlay *, gr_arena *, uint64_t now_ms, gr_update_step *, size_t *number,
                        uint64_t *next_ms) GR_MUST_USE;
/* Writes what the step left, and how far the update is, into the overlay's layer of `group`. */
void gr_updates_end(gr_updates *, gr_overlay *, uint64_t group, uint64_t now_ms, size_t number, gr_update_step *);
/* Or forgets the step, and puts the update off.  Returns how often that happened in a row: an actor at which it happens
 * GR_UPDATE_TRIES_MAX times is better skipped. */
unsigned gr_updates_failed(gr_updates *, uint64_t now_ms, size_t number, gr_update_step *);
unsigned gr_updates_tries(const gr_updates *, size_t number);

bool gr_updates_paused(const gr_updates *, const char *name);      /* by itself; false when there is none of that name */
bool gr_updates_put_off(const gr_updates *, const char *name);     /* its last step failed */

/* Counts what was done of an update without steps, in the batch of that work. */
gr_err gr_updates_note(gr_updates *, gr_overlay *, uint64_t group, gr_arena *, const char *name,
                       uint64_t worked) GR_MUST_USE;

/* For steps that are done as soon as they are begun.  *ran: one was written. */
gr_err gr_updates_step(gr_updates *, gr_overlay *, uint64_t group, gr_arena *, uint64_t now_ms,
                       bool *ran) GR_MUST_USE;

/* Without the cursor. */
gr_err gr_updates_state(gr_updates *, const gr_overlay *, const char *name, gr_arena *, gr_update_state *out)
    GR_MUST_USE;
/* The newest skipped records of an update in this shard, at most GR_UPDATE_LISTED_MAX, as "key: why". */
gr_err gr_updates_skipped(const gr_updates *, const gr_overlay *, const char *name, gr_arena *,
                          gr_strs *out) GR_MUST_USE;

/* The key under which a shard keeps the state of an update: without it the update begins anew (fsck --repair). */
gr_str gr_update_state_key(gr_arena *, const char *name);
