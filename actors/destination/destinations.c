/* destinations.c - see destinations.h. */
#include "actors/destination/destinations.h"

#include "bus/ctx.h"

typedef struct {
    gr_shard shard;
    gr_snapshot *snapshot;
    gr_arena *arena;
    gr_str next;                       /* where the rows of the next destination may begin */
    gr_str name;                       /* of the one found; empty: none */
} walk;

/* Rows are: a byte for the kind, the name, 0, the own key (gr_actor_prefix). */
static bool on_row(void *arg, gr_str key, gr_str value)
{
    walk *w = arg;
    (void)value;
    const char *end = memchr(key.ptr, 0, key.size);
    if (!end || key.ptr[0] != w->next.ptr[0]) return false;
    w->name = gr_arena_str(w->arena, (gr_str){key.ptr + 1, (size_t)(end - key.ptr) - 1});
    return false;
}

static gr_err find_next(walk *w)
{
    gr_range range = {.from = w->next, .limit = 1};
    w->name = (gr_str){0};
    gr_err err = gr_shard_scan(&w->shard, w->snapshot, &range, on_row, w);
    if (w->name.size) w->next = gr_arena_cat(w->arena, 3, (gr_str[]){{w->next.ptr, 1}, w->name, {"\1", 1}});
    return err;
}

static const void *row_of(walk *w, const char *key, const gr_type *type)
{
    char prefix[GR_PREFIX_MAX];
    gr_str bytes = {0}, whole = {prefix, gr_actor_prefix(GR_KIND_DESTINATION, w->name, prefix)};
    void *body = NULL;
    whole = gr_arena_cat(w->arena, 2, (gr_str[]){whole, gr_str_c(key)});
    if (gr_failed(gr_shard_get(&w->shard, w->snapshot, whole, w->arena, &bytes)) || !bytes.ptr) bytes = (gr_str){0};
    if (bytes.size && !gr_failed(gr_body_decode(w->arena, type, bytes, &body))) return body;
    return gr_arena_alloc(w->arena, type->size);
}

static gr_destination_facts facts_of(walk *w)
{
    const gr_queue_row *events = row_of(w, "se", &gr_type_queue_row), *edus = row_of(w, "sd", &gr_type_queue_row);
    const gr_backoff_row *backoff = row_of(w, "b", &gr_type_backoff_row);
    const gr_catch_up_row *owed = row_of(w, "u", &gr_type_catch_up_row);
    gr_destination d = {.backoff = {.failures = backoff->failures}, .owed = *owed};
    return (gr_destination_facts){
        .name = w->name, .state = gr_destination_state_of(&d), .failing_since_ms = backoff->since_ms,
        .next_try_ms = backoff->next_ms, .failures = backoff->failures, .events = events->next - events->first,
        .edus = edus->next - edus->first, .bytes = events->bytes + edus->bytes, .rooms_owed = owed->rooms,
        .set_aside = events->set_aside + edus->set_aside + owed->set_aside, .errors = owed->errors};
}

gr_err gr_destinations_read(gr_store *store, gr_arena *arena, gr_destination_fn *fn, void *arg)
{
    char prefix[GR_PREFIX_MAX];
    gr_snapshot *snapshot = NULL;
    bool goes_on = true;
    gr_err err = gr_store_snapshot(store, &snapshot);
    (void)gr_actor_prefix(GR_KIND_DESTINATION, GR_STR("x"), prefix);
    for (int shard = 0; shard < GR_SHARDS && goes_on && !gr_failed(err); shard++) {
        walk w = {.shard = {.store = store, .shard = (uint8_t)shard}, .snapshot = snapshot, .arena = arena,
                  .next = gr_arena_str(arena, (gr_str){prefix, 1})};
        while (goes_on && !gr_failed(err = find_next(&w)) && w.name.size) {
            gr_destination_facts facts = facts_of(&w);
            goes_on = fn(arg, &facts);
        }
    }
    if (snapshot) gr_store_release(store, &snapshot);
    return err;
}
