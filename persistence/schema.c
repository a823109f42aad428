/* schema.c - running deltas. See schema.h. */
#include "persistence/schema.h"

#include "proto/json.h"

#include <stdlib.h>

#define VERSION_KEY GR_STR("hschema/version")
#define DELTA_PREFIX GR_STR("hschema/delta/")
#define DELTA_END GR_STR("hschema/delta0")     /* '0' follows '/' */
#define PROGRESS_KEY GR_STR("hschema/progress")

enum { WRITES_MAX = 8 << 20 };        /* bytes of one synced write; more must be flushed in parts */

static gr_str delta_key(gr_arena *arena, const gr_delta *delta)
{
    return gr_arena_cat(arena, 2, (gr_str[]){DELTA_PREFIX, gr_str_c(delta->name)});
}

static int by_number_and_name(const void *a, const void *b)
{
    const gr_delta *x = *(const gr_delta *const *)a, *y = *(const gr_delta *const *)b;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return strcmp(x->name, y->name);
}

static gr_err check_version(gr_store *store, const gr_schema *schema, gr_arena *arena, unsigned have[2])
{
    gr_str value;
    have[0] = have[1] = 0;
    gr_err err = gr_store_get(store, VERSION_KEY, arena, &value);
    if (gr_failed(err) || !value.ptr) return err;
    if (value.size != 8) return gr_fail(GR_BAD_STATE,
                                        "The store's schema record is damaged; restore it from a backup");
    have[0] = gr_u32be(value.ptr);
    have[1] = gr_u32be(value.ptr + 4);
    if (have[1] <= schema->version) return gr_ok();
    return gr_failf(arena, GR_BAD_STATE,
                    "The store has schema %u and can be used from schema %u on; this greenroom has "
                    "schema %u: use a newer greenroom", have[0], have[1], schema->version);
}

gr_err gr_delta_flush(gr_delta_run *run, gr_str progress)
{
    gr_assert(run->writes->bytes.size <= WRITES_MAX);
    gr_str record[] = {gr_str_c(run->name), {"", 1}, progress};
    gr_ops_put(run->writes, PROGRESS_KEY, gr_arena_cat(run->arena, 3, record));
    gr_err err = gr_store_write(run->store, run->writes);
    gr_ops_clear(run->writes);
    return err;
}

/* The progress record belongs to one delta: the name stands before it, so that no other takes it for its
 * own. */
static gr_str progress_of(const gr_delta *delta, gr_str record)
{
    gr_str name = gr_str_c(delta->name);
    return gr_str_starts(record, name) && record.size > name.size && record.ptr[name.size] == 0
               ? gr_str_from(record, name.size + 1) : (gr_str){0};
}

static gr_err run_delta(gr_store *store, const gr_delta *delta, uint64_t now_ms, gr_str progress)
{
    gr_buf when = {0};
    gr_ops writes = {0};
    gr_delta_run run = {.store = store, .arena = gr_arena_new(0), .writes = &writes,
                        .progress = progress, .name = delta->name};
    gr_err err = delta->run(&run);
    if (!gr_failed(err) && writes.bytes.size > WRITES_MAX)
        err = gr_fail(GR_TOO_LARGE, "A schema delta writes more than one write may hold");
    if (!gr_failed(err)) {
        gr_buf_u64be(&when, now_ms);
        gr_ops_put(&writes, delta_key(run.arena, delta), gr_buf_view(&when));
        gr_ops_delete(&writes, PROGRESS_KEY);
        err = gr_store_write(store, &writes);
    }
    gr_buf_free(&when);
    gr_ops_free(&writes);
    gr_arena_free(&run.arena);
    return err;
}

static gr_err run_missing(gr_store *store, const gr_delta **order, size_t count, uint64_t now_ms, gr_arena *arena,
                          size_t *ran)
{
    for (size_t i = 0; i < count; i++) {
        gr_str record, progress;
        gr_assert(i == 0 || strcmp(order[i - 1]->name, order[i]->name) != 0);
        gr_err err = gr_store_get(store, delta_key(arena, order[i]), arena, &record);
        if (!gr_failed(err) && record.ptr) continue;
        if (!gr_failed(err)) err = gr_store_get(store, PROGRESS_KEY, arena, &progress);
        if (!gr_failed(err)) err = run_delta(store, order[i], now_ms, progress_of(order[i], progress));
        if (gr_failed(err))
            return gr_failf(arena, err.code, "The schema delta %s failed and has changed nothing: %s",
                            order[i]->name,
                            err.text);
        ++*ran;
    }
    return gr_ok();
}

gr_err gr_schema_upgrade(gr_store *store, const gr_schema *schema, uint64_t now_ms, gr_arena *arena, size_t *ran)
{
    unsigned have[2];
    *ran = 0;
    gr_err err = check_version(store, schema, arena, have);
    if (gr_failed(err)) return err;
    const gr_delta **order = gr_alloc((schema->count + 1) * sizeof *order);
    for (size_t i = 0; i < schema->count; i++) order[i] = &schema->deltas[i];
    qsort(order, schema->count, sizeof *order, by_number_and_name);
    err = run_missing(store, order, schema->count, now_ms, arena, ran);
    free(order);
    if (gr_failed(err) || (have[0] >= schema->version && have[1] >= schema->compatible)) return err;
    gr_buf value = {0};
    gr_ops ops = {0};
    gr_buf_u32be(&value, have[0] > schema->version ? have[0] : schema->version);
    gr_buf_u32be(&value, have[1] > schema->compatible ? have[1] : schema->compatible);
    gr_ops_put(&ops, VERSION_KEY, gr_buf_view(&value));
    err = gr_store_write(store, &ops);
    gr_ops_free(&ops);
    gr_buf_free(&value);
    return err;
}

typedef struct { gr_arena *arena; gr_schema_ran *at; size_t count, room; } listing;

static bool list_delta(void *arg, gr_str key, gr_str value)
{
    listing *l = arg;
    if (l->count == l->room) {
        size_t room = l->room ? l->room * 2 : 16;
        gr_schema_ran *at = gr_arena_alloc(l->arena, room * sizeof *at);
        if (l->count) memcpy(at, l->at, l->count * sizeof *at);
        l->at = at;
        l->room = room;
    }
    gr_str name = gr_arena_str(l->arena, gr_str_from(key, DELTA_PREFIX.size));
    l->at[l->count++] = (gr_schema_ran){name, value.size == 8 ? gr_u64be(value.ptr) : 0};
    return true;
}

gr_err gr_schema_applied(gr_store *store, gr_arena *arena, gr_schema_ran **out, size_t *count)
{
    listing l = {.arena = arena};
    gr_range range = {.from = DELTA_PREFIX, .to = DELTA_END};
    gr_err err = gr_store_scan(store, NULL, &range, list_delta, &l);
    *out = gr_failed(err) ? NULL : l.at;
    *count = gr_failed(err) ? 0 : l.count;
    return err;
}

gr_err gr_schema_version(gr_store *store, gr_arena *arena, unsigned *version)
{
    gr_str value;
    gr_err err = gr_store_get(store, VERSION_KEY, arena, &value);
    *version = !gr_failed(err) && value.ptr && value.size == 8 ? gr_u32be(value.ptr) : 0;
    return err;
}

void gr_schema_print(gr_buf *out, unsigned version, const gr_schema_ran *ran, size_t count)
{
    gr_jw w = gr_jw_begin(out);
    gr_jw_object(&w);
    gr_jw_kint(&w, "version", version);
    gr_jw_key(&w, "deltas");
    gr_jw_array(&w);
    for (size_t i = 0; i < count; i++) {
        gr_jw_object(&w);
        gr_jw_kstr(&w, "name", ran[i].name);
        gr_jw_kint(&w, "ran_ms", (int64_t)ran[i].ran_ms);
        gr_jw_end_object(&w);
    }
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
}
