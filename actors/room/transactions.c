/* transactions.c - transaction ids: a repeat of what was sent finds the event that was made. See room.h.
 *
 * Client-server API, "Transaction identifiers".  An id is remembered in the batch of its event: the room handles one message
 * at a time, so a repeat finds either nothing (and nothing was sent) or the event.
 *
 * Nearly all ids are new, and a look into the store for what is not there is what costs most (row_cache.h).  So as long as
 * all that are remembered are few enough, their hashes are in memory, and what is not among them is new.
 */
#include "actors/room/graph.h"

#include <stdlib.h>

enum { TXN_SWEPT = 32, TXN_SWEEP_EVERY = 32, LOADED_MAX = 200, HASHES_MAX = 32768, HASHES_MIN = 64 };

static gr_str txn_key(gr_ctx *ctx, gr_str user, gr_str device, gr_str txn)
{
    return gr_room_key_parts(ctx, 'x', 3, (gr_str[]){user, device, txn});
}

/* Rows X lie in order of age; the record has what else is in the key of row x. */
typedef struct {
    uint64_t number;
    gr_str device, name;
} old_txn;
typedef struct {
    gr_arena *arena;
    old_txn at[TXN_SWEPT];
    size_t count;
} old_txns;

static bool collect_txn(void *arg, gr_str key, gr_str value)
{
    old_txns *old = arg;
    ptrdiff_t zero = gr_str_find(value, 0);
    if (key.size != 9 || zero < 0) return true;
    value = gr_arena_str(old->arena, value);
    old->at[old->count++] = (old_txn){gr_u64be(key.ptr + 1), gr_str_head(value, (size_t)zero),
                                      gr_str_from(value, (size_t)zero + 1)};
    return old->count < TXN_SWEPT;
}

bool gr_room_txn_sweep(gr_ctx *ctx, uint64_t *forgotten)
{
    static const char *const endpoints[] = {"send/", "redact/", ""};
    gr_arena *a = gr_ctx_arena(ctx);
    old_txns old = {.arena = a};
    gr_ctx_scan_prefix(ctx, GR_STR("X"), TXN_SWEPT, collect_txn, &old);
    for (size_t i = 0; i < old.count; i++) {
        gr_room_record r;
        const old_txn *t = &old.at[i];
        bool known = gr_room_record_at(ctx, t->number, &r);
        if (known && r.ts + GR_ROOM_TXN_KEEP_MS > gr_ctx_now_ms(ctx)) return false;
        gr_ctx_del(ctx, gr_room_key_number(ctx, 'X', t->number));
        for (size_t e = 0; known && e < 3; e++)
            gr_ctx_del(ctx, txn_key(ctx, r.sender, t->device,
                                    gr_arena_cat(a, 2, (gr_str[]){gr_str_c(endpoints[e]), t->name})));
        ++*forgotten;
    }
    return old.count == TXN_SWEPT;
}

/* --- which there may be -------------------------------------------------------------------------------- */
struct gr_room_txns {
    bool is_whole;                     /* whoever is not here is nowhere */
    size_t count, space;               /* of hashes, a power of two */
    uint64_t *hashes;                  /* 0: free */
};

static gr_str name_of(gr_str txn) { return gr_str_from(txn, (size_t)(gr_str_find(txn, '/') + 1)); } /* without its endpoint */

static uint64_t hash_of(gr_str device, gr_str name)
{
    uint64_t hash = gr_str_hash(device) * 31 + gr_str_hash(name);
    return hash ? hash : 1;
}

/* Where the hash is, or would be. */
static uint64_t *slot_of(const struct gr_room_txns *t, uint64_t hash)
{
    size_t at = hash & (t->space - 1);
    while (t->hashes[at] && t->hashes[at] != hash) at = (at + 1) & (t->space - 1);
    return &t->hashes[at];
}

static void forget_all(struct gr_room_txns *t)
{
    free(t->hashes);
    *t = (struct gr_room_txns){0};
}

static void grow(struct gr_room_txns *t)
{
    struct gr_room_txns wider = {.is_whole = true, .count = t->count, .space = t->space ? t->space * 2 : HASHES_MIN};
    wider.hashes = gr_alloc(wider.space * sizeof *wider.hashes);
    for (size_t i = 0; i < t->space; i++)
        if (t->hashes[i]) *slot_of(&wider, t->hashes[i]) = t->hashes[i];
    free(t->hashes);
    *t = wider;
}

static void note(struct gr_room_txns *t, gr_str device, gr_str name)
{
    if (!t->is_whole) return;
    if (t->count == HASHES_MAX) {
        forget_all(t);
        return;
    }
    if (t->count * 2 >= t->space) grow(t);
    uint64_t hash = hash_of(device, name), *slot = slot_of(t, hash);
    t->count += *slot == 0;
    *slot = hash;
}

typedef struct { struct gr_room_txns *txns; size_t rows; } loading;

static bool load_txn(void *arg, gr_str key, gr_str value)
{
    loading *l = arg;
    ptrdiff_t zero = gr_str_find(value, 0);
    (void)key;
    if (zero >= 0) note(l->txns, gr_str_head(value, (size_t)zero), gr_str_from(value, (size_t)zero + 1));
    return ++l->rows < LOADED_MAX;
}

static struct gr_room_txns *txns_of(gr_room *room, gr_ctx *ctx)
{
    if (room->txns) return room->txns;
    room->txns = gr_alloc(sizeof *room->txns);
    room->txns->is_whole = true;
    loading l = {room->txns, 0};
    gr_ctx_scan_prefix(ctx, GR_STR("X"), LOADED_MAX, load_txn, &l);
    if (l.rows == LOADED_MAX) forget_all(room->txns);
    return room->txns;
}

static bool is_new(gr_room *room, gr_ctx *ctx, gr_str device, gr_str txn)
{
    const struct gr_room_txns *t = txns_of(room, ctx);
    return t->is_whole && (t->space == 0 || *slot_of(t, hash_of(device, name_of(txn))) == 0);
}

size_t gr_room_txns_memory(const gr_room *room) { return room->txns ? room->txns->space * sizeof(uint64_t) : 0; }

void gr_room_txns_drop(gr_room *room)
{
    if (room->txns) free(room->txns->hashes);
    free(room->txns);
    room->txns = NULL;
}

/* --- what was sent ------------------------------------------------------------------------------------- */
bool gr_room_txn_seen(gr_room *room, gr_ctx *ctx, gr_str user, gr_str device, gr_str txn, gr_str *event_id, uint64_t *pos)
{
    gr_str value;
    if (txn.size == 0 || is_new(room, ctx, device, txn)) return false;
    if (!gr_ctx_get(ctx, txn_key(ctx, user, device, txn), &value) || value.size < 16)
        return false;
    *pos = gr_u64be(value.ptr + 8);
    *event_id = gr_str_from(value, 16);
    return true;
}

void gr_room_txn_keep(gr_room *room, gr_ctx *ctx, gr_str user, gr_str device, gr_str txn, const gr_room_made *made)
{
    if (txn.size == 0) return;
    gr_buf out = {0};
    gr_buf_u64be(&out, gr_ctx_now_ms(ctx));
    gr_buf_u64be(&out, made->pos);
    gr_buf_str(&out, made->event_id);
    gr_ctx_put(ctx, txn_key(ctx, user, device, txn), gr_buf_view(&out));
    gr_ctx_put(ctx, gr_room_key_number(ctx, 'X', made->number),
               gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){device, GR_STR("\0"), name_of(txn)}));
    note(txns_of(room, ctx), device, name_of(txn));
    gr_buf_free(&out);
    if (made->number % TXN_SWEEP_EVERY == 0) gr_room_txn_sweep(ctx, &(uint64_t){0});
}
