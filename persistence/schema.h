/* schema.h - one-time changes of a store's layout, each run once and recorded by name.
 *
 * A delta runs if its NAME has no record, whatever its number and whatever newer ones have run; those that
 * are missing run in order of number, then name.  Its writes and its record are one synced write, so a crash
 * leaves either nothing or all of it.  Run by the process after gr_store_open and before any shard is
 * opened.  Work that grows with the store is no delta but a background update (update.h).
 */
#pragma once
#include "persistence/store.h"

typedef struct {
    const char *name;                 /* of the delta */
    gr_store *store;
    gr_arena *arena;                  /* freed when the delta has run */
    /* whole keys (gr_key_node, gr_key_shard); written together with the record */
    gr_ops *writes;
    gr_str progress;                  /* what gr_delta_flush saved before a crash; empty at first */
} gr_delta_run;

typedef struct {
    const char *name;                 /* unique and never changed */
    unsigned number;                  /* for the order only; two branches may use the same */
    gr_err (*run)(gr_delta_run *);
} gr_delta;

/* For a delta with more writes than fit one: writes what there is together with `progress`, with which run
 * is called again after a crash. */
gr_err gr_delta_flush(gr_delta_run *, gr_str progress) GR_MUST_USE;

/* The schema that this binary writes, and the oldest binary schema that can still read it. */
typedef struct {
    unsigned version, compatible;
    const gr_delta *deltas;
    size_t count;
} gr_schema;

/* Refuses a store whose compatible version is above schema->version, saying which version it needs; then
 * runs what is missing and raises the store's versions.  A failing delta leaves the store as it was before
 * that delta. *ran is how many ran; now_ms, the time of day, is kept with each.  Texts of errors lie in the
 * arena. */
gr_err gr_schema_upgrade(gr_store *, const gr_schema *, uint64_t now_ms, gr_arena *, size_t *ran) GR_MUST_USE;

typedef struct { gr_str name; uint64_t ran_ms; } gr_schema_ran;     /* ran_ms 0: it is not known when */
/* The deltas that have run, in order of name; in the arena. */
gr_err gr_schema_applied(gr_store *, gr_arena *, gr_schema_ran **out, size_t *count) GR_MUST_USE;
/* Both as JSON. */
void gr_schema_print(gr_buf *, unsigned version, const gr_schema_ran *, size_t count);
/* The schema version that the store has; 0: none was recorded yet. */
gr_err gr_schema_version(gr_store *, gr_arena *, unsigned *version) GR_MUST_USE;
