/* fsck_repair.c - what fsck can mend: chain covers, which follow from the events. See fsck.h. */
#include "actors/fsck.h"

#include "actors/room/graph.h"
#include "persistence/update.h"

enum { ROWS_A_BATCH = 4000 };

typedef struct { gr_store *store; gr_arena *arena; gr_shard shard; gr_ops ops; gr_outcome outcome; } repair;

static void on_done(void *arg, uint64_t token, uint8_t shard, gr_outcome outcome, uint64_t number)
{
    (void)token, (void)shard, (void)number;
    ((repair *)arg)->outcome = outcome;
}

static gr_err write(repair *r)
{
    gr_batch batch;
    r->outcome = GR_COMMIT_UNKNOWN;
    gr_err err = gr_shard_seal(&r->shard, &r->ops, r->arena, &batch);
    gr_ops_clear(&r->ops);
    if (gr_failed(err)) return err;
    gr_store_submit(r->store, &batch, 1, 1, on_done, r);
    while (gr_store_step(r->store)) continue;
    return r->outcome == GR_COMMITTED ? gr_ok() : gr_fail(GR_UNAVAILABLE, "the store takes no writes");
}

static bool delete_row(void *arg, gr_str key, gr_str value)
{
    repair *r = arg;
    (void)value;
    gr_ops_delete(&r->ops, key);
    return true;
}

/* All rows of a letter of the room, some in each batch. */
static gr_err delete_rows(repair *r, gr_str prefix, char letter)
{
    char next = (char)(letter + 1);
    gr_range range = {.from = gr_arena_cat(r->arena, 2, (gr_str[]){prefix, {&letter, 1}}),
                      .to = gr_arena_cat(r->arena, 2, (gr_str[]){prefix, {&next, 1}}), .limit = ROWS_A_BATCH};
    for (gr_err err = gr_ok();;) {
        err = gr_shard_scan(&r->shard, NULL, &range, delete_row, r);
        if (gr_failed(err) || r->ops.count == 0) return err;
        err = write(r);
        if (gr_failed(err)) return err;
    }
}

/* First the room and its shard's upkeep forget that there is a cover: if the rest is cut short, it can be repaired again. */
static gr_err repair_room(repair *r, uint8_t shard, gr_str prefix)
{
    gr_str begin = gr_room_cover_begin(r->arena), key = gr_arena_cat(r->arena, 2, (gr_str[]){prefix, GR_STR("Z")});
    gr_err err = gr_shard_open(r->store, shard, r->arena, &r->shard);
    if (gr_failed(err)) return err;
    gr_ops_put(&r->ops, key, begin);
    gr_ops_delete(&r->ops, gr_update_state_key(r->arena, GR_ROOM_UPKEEP_COVER));
    err = write(r);
    if (!gr_failed(err)) err = delete_rows(r, prefix, 'c');
    return gr_failed(err) ? err : delete_rows(r, prefix, 'C');
}

gr_err gr_fsck_repair(gr_store *store, const gr_fsck_rooms *rooms, size_t *repaired)
{
    repair r = {.store = store, .arena = gr_arena_new(0)};
    gr_str rest = gr_buf_view(&rooms->uncovered);
    gr_err err = gr_ok();
    *repaired = 0;
    while (!gr_failed(err) && rest.size) {
        uint8_t shard = (uint8_t)rest.ptr[0];
        uint64_t size = 0;
        rest = gr_str_from(rest, 1);
        bool whole = gr_str_varint(&rest, &size);
        gr_assert(whole && size <= rest.size);
        err = repair_room(&r, shard, gr_str_head(rest, size));
        *repaired += !gr_failed(err);
        rest = gr_str_from(rest, size);
        gr_arena_reset(r.arena);
    }
    gr_ops_free(&r.ops);
    gr_arena_free(&r.arena);
    return err;
}
