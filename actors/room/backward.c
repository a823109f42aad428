/* backward.c - backward extremities: events that follow some which are not here. See receive.h.
 *
 * Rows b find them by depth, rows B find those that wait for an event which arrives.
 */
#include "actors/room/receive.h"

enum { WAITING_MAX = 64 };             /* let go by one arrival; who is left is found not to wait when listed */

static gr_str waiting_key(gr_ctx *ctx, gr_str event_id, gr_str number)
{
    return gr_room_key_parts(ctx, 'B', 2, (gr_str[]){event_id, number});
}

static gr_str number_text(gr_ctx *ctx, uint64_t n) { return gr_str_from(gr_room_key_number(ctx, ' ', n), 1); }

static void put_missing(gr_ctx *ctx, uint64_t depth, uint64_t number, gr_strs missing)
{
    gr_buf out = {0};
    for (size_t i = 0; i < missing.count; i++) {
        if (i) gr_buf_char(&out, 0);
        gr_buf_str(&out, missing.at[i]);
    }
    gr_str key = gr_room_key_numbers(ctx, 'b', depth, number);
    if (missing.count) gr_ctx_put(ctx, key, gr_buf_view(&out));
    else gr_ctx_del(ctx, key);
    gr_buf_free(&out);
}

static bool on_any(void *arg, gr_str key, gr_str value)
{
    (void)key, (void)value;
    *(gr_room_any *)arg = GR_ROOM_SOME;
    return false;
}

bool gr_room_has_any(gr_ctx *ctx, char letter, gr_room_any *known)
{
    if (*known == GR_ROOM_UNKNOWN) {
        *known = GR_ROOM_NONE;
        gr_ctx_scan_prefix(ctx, (gr_str){&letter, 1}, 1, on_any, known);
    }
    return *known == GR_ROOM_SOME;
}

void gr_room_wait_for(gr_room *room, gr_ctx *ctx, const gr_room_record *r, gr_strs missing)
{
    if (missing.count == 0) return;
    room->stream_waits = GR_ROOM_SOME;
    put_missing(ctx, r->depth, r->number, missing);
    for (size_t i = 0; i < missing.count; i++)
        gr_ctx_put(ctx, waiting_key(ctx, missing.at[i], number_text(ctx, r->number)), number_text(ctx, r->depth));
}

static gr_strs read_missing(gr_arena *a, gr_str value)
{
    gr_strs out = {gr_arena_alloc(a, GR_EVENT_PREV_MAX * sizeof(gr_str)), 0};
    while (value.size && out.count < GR_EVENT_PREV_MAX) {
        ptrdiff_t zero = gr_str_find(value, 0);
        out.at[out.count++] = gr_arena_str(a, zero < 0 ? value : gr_str_head(value, (size_t)zero));
        value = zero < 0 ? (gr_str){0} : gr_str_from(value, (size_t)zero + 1);
    }
    return out;
}

/* --- arrivals ------------------------------------------------------------------------------------------- */
typedef struct {
    uint64_t number[WAITING_MAX], depth[WAITING_MAX];
    size_t count;
} waiting;

static bool on_waiting(void *arg, gr_str key, gr_str value)
{
    waiting *w = arg;
    if (key.size < 8 || value.size != 8) return true;
    w->number[w->count] = gr_u64be(key.ptr + key.size - 8);
    w->depth[w->count++] = gr_u64be(value.ptr);
    return w->count < WAITING_MAX;
}

static void let_go(gr_ctx *ctx, uint64_t depth, uint64_t number, gr_str event_id)
{
    gr_str value;
    if (!gr_ctx_get(ctx, gr_room_key_numbers(ctx, 'b', depth, number), &value)) return;
    gr_strs missing = read_missing(gr_ctx_arena(ctx), value);
    size_t kept = 0;
    for (size_t i = 0; i < missing.count; i++)
        if (!gr_str_eq(missing.at[i], event_id)) missing.at[kept++] = missing.at[i];
    missing.count = kept;
    put_missing(ctx, depth, number, missing);
}

static waiting *waiting_for(gr_room *room, gr_ctx *ctx, gr_str event_id)
{
    waiting *w = gr_arena_alloc(gr_ctx_arena(ctx), sizeof *w);
    w->count = 0;
    if (gr_room_has_any(ctx, 'B', &room->stream_waits))
        gr_ctx_scan_prefix(ctx, waiting_key(ctx, event_id, (gr_str){0}), WAITING_MAX, on_waiting, w);
    return w;
}

bool gr_room_is_waited_for(gr_room *room, gr_ctx *ctx, gr_str event_id)
{
    const waiting *w = waiting_for(room, ctx, event_id);
    for (size_t i = 0; i < w->count; i++) {
        gr_room_record r;
        if (gr_room_record_at(ctx, w->number[i], &r) && !(r.flags & GR_ROOM_HISTORY)) return true;
    }
    return false;
}

void gr_room_arrived(gr_room *room, gr_ctx *ctx, gr_str event_id)
{
    const waiting *w = waiting_for(room, ctx, event_id);
    if (w->count) room->stream_waits = GR_ROOM_UNKNOWN;            /* perhaps none is left */
    for (size_t i = 0; i < w->count; i++) {
        let_go(ctx, w->depth[i], w->number[i], event_id);
        gr_ctx_del(ctx, waiting_key(ctx, event_id, number_text(ctx, w->number[i])));
    }
}

/* --- listing -------------------------------------------------------------------------------------------- */
typedef struct {
    gr_arena *arena;
    gr_room_backward *at;
    size_t count, most;
} listing;

static bool on_backward(void *arg, gr_str key, gr_str value)
{
    listing *l = arg;
    if (key.size != 17) return true;
    l->at[l->count++] =
        (gr_room_backward){gr_u64be(key.ptr + 9), gr_u64be(key.ptr + 1), read_missing(l->arena, value)};
    return l->count < l->most;
}

static bool is_here(gr_ctx *ctx, gr_str event_id)
{
    uint64_t number;
    gr_room_record r;
    return gr_room_number_of(ctx, event_id, &number) && gr_room_record_at(ctx, number, &r)
           && !(r.flags & GR_ROOM_OUTLIER);
}

size_t gr_room_backwards(gr_ctx *ctx, uint64_t depth, gr_room_backward *out, size_t most)
{
    listing l = {gr_ctx_arena(ctx), out, 0, most};
    gr_str end = depth < UINT64_MAX ? gr_room_key_numbers(ctx, 'b', depth + 1, 0) : GR_STR("c");
    size_t kept = 0;
    if (most) gr_ctx_scan(ctx, GR_STR("b"), end, true, most, on_backward, &l);
    for (size_t i = 0; i < l.count; i++) {
        gr_room_backward b = out[i];
        size_t left = 0;
        for (size_t k = 0; k < b.missing.count; k++)
            if (!is_here(ctx, b.missing.at[k])) b.missing.at[left++] = b.missing.at[k];
        b.missing.count = left;
        if (left) out[kept++] = b;
    }
    return kept;
}
