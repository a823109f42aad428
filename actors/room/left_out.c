/* left_out.c - events of the state that a room was entered without. See left_out.h. */
#include "actors/room/left_out.h"
#include "actors/room/incoming.h"
#include "actors/room/record.h"
#include "actors/room/resolving.h"

enum { ROWS_MAX = 256 };

static const char timer_name[] = "left out";

static gr_str row(gr_ctx *ctx, gr_str event_id) { return gr_room_key(ctx, '-', event_id); }
static gr_str wait_row(void) { return GR_STR("-"); }

/* --- which ------------------------------------------------------------------------------------------------------ */
typedef struct { gr_ctx *ctx; gr_strs ids; } some_ids;

static bool take_id(void *arg, gr_str key, gr_str value)
{
    some_ids *s = arg;
    (void)value;
    if (key.size > 1) s->ids.at[s->ids.count++] = gr_arena_str(gr_ctx_arena(s->ctx), gr_str_from(key, 1));
    return true;
}

static void scan(some_ids *s, gr_str from, gr_str to, size_t most)
{
    if (s->ids.count < most) gr_ctx_scan(s->ctx, from, to, false, most - s->ids.count, take_id, s);
}

static gr_strs from_on(gr_ctx *ctx, gr_str from, size_t most)
{
    some_ids s = {ctx, {gr_arena_alloc(gr_ctx_arena(ctx), (most + 1) * sizeof(gr_str)), 0}};
    scan(&s, from, GR_STR("."), most);
    scan(&s, row(ctx, GR_STR("$")), from, most);
    return s.ids;
}

/* What follows the sigil is mostly a hash. */
gr_strs gr_room_some_left_out(gr_room *room, gr_ctx *ctx, size_t most)
{
    char begin[] = {'$', 0};
    if (!gr_room_has_any(ctx, '-', &room->left_out)) return (gr_strs){0};
    gr_ctx_random(ctx, &begin[1], 1);
    begin[1] = (char)('-' + (unsigned char)begin[1] % ('z' - '-' + 1));
    return from_on(ctx, row(ctx, gr_str_of(begin, sizeof begin)), most);
}

bool gr_room_is_left_out(gr_room *room, gr_ctx *ctx, gr_str event_id)
{
    gr_str value;
    return gr_room_has_any(ctx, '-', &room->left_out) && gr_ctx_get(ctx, row(ctx, event_id), &value);
}

static void wait(gr_ctx *ctx, uint64_t ms)
{
    gr_buf value = {0};
    gr_buf_u64be(&value, ms);
    gr_ctx_put(ctx, wait_row(), gr_buf_view(&value));
    gr_buf_free(&value);
    gr_ctx_timer(ctx, gr_str_c(timer_name), gr_ctx_now_ms(ctx) + ms, true);
}

void gr_room_leave_out(gr_room *room, gr_ctx *ctx, gr_strs ids, uint64_t join)
{
    gr_strs old = from_on(ctx, row(ctx, GR_STR("$")), ROWS_MAX);
    gr_buf value = {0};
    for (size_t i = 0; i < old.count; i++) gr_ctx_del(ctx, row(ctx, old.at[i]));
    gr_buf_u64be(&value, join);
    for (size_t i = 0; i < ids.count; i++) gr_ctx_put(ctx, row(ctx, ids.at[i]), gr_buf_view(&value));
    gr_buf_free(&value);
    if (ids.count) wait(ctx, GR_LEFT_OUT_MS);
    else if (old.count) gr_ctx_del(ctx, wait_row());
    room->left_out = GR_ROOM_UNKNOWN;
}

/* --- back to its place ---------------------------------------------------------------------------------------------- */
/* False: the state before that event has the key already, or another server told it of that event as it is. */
static bool mend(gr_room *room, gr_ctx *ctx, uint64_t number, uint64_t join, const gr_room_record *missing, uint64_t *after)
{
    gr_room_record r;
    gr_room_nodes nodes;
    gr_buf out = {0};
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    if (!gr_room_record_at(ctx, number, &r) || (number != join && (r.flags & GR_ROOM_GIVEN))) return false;
    if (gr_trie_get(&trie, r.state_before, missing->key)) return false;
    r.flags |= GR_ROOM_MENDED;
    r.state_before = gr_trie_set(&trie, r.state_before, missing->key, missing->number);
    r.state_after = r.key ? gr_trie_set(&trie, r.state_before, r.key, number) : r.state_before;
    gr_room_record_write(&out, &r);
    gr_ctx_put(ctx, gr_room_key_number(ctx, 'e', number), gr_buf_view(&out));
    gr_buf_free(&out);
    *after = r.state_after;
    return true;
}

static void mend_all(gr_room *room, gr_ctx *ctx, uint64_t join, const gr_room_record *missing)
{
    uint64_t after, of_join = 0;
    if (mend(room, ctx, join, join, missing, &after)) of_join = after;
    for (size_t i = 0; i < room->extremity_count; i++) {
        gr_room_extremity *x = &room->extremities[i];
        if (x->number == join && of_join) x->root = of_join;
        else if (mend(room, ctx, x->number, join, missing, &after)) x->root = after;
    }
}

static void forget(gr_room *room, gr_ctx *ctx, gr_str event_id)
{
    gr_ctx_del(ctx, row(ctx, event_id));
    if (from_on(ctx, row(ctx, GR_STR("$")), 1).count) return;
    gr_ctx_del(ctx, wait_row());
    gr_ctx_timer_clear(ctx, gr_str_c(timer_name));
    room->left_out = GR_ROOM_UNKNOWN;
}

gr_err gr_room_put_back(gr_room *room, gr_ctx *ctx, gr_str event_id, gr_room_made *made)
{
    gr_str value;
    uint64_t number;
    gr_room_record missing;
    *made = (gr_room_made){0};
    bool is_here = gr_ctx_get(ctx, row(ctx, event_id), &value) && value.size == 8 && gr_room_number_of(ctx, event_id, &number)
        && gr_room_record_at(ctx, number, &missing);
    if (!is_here) return gr_ok();
    uint64_t join = gr_u64be(value.ptr);
    gr_err err = gr_room_at_rest(room);
    if (gr_failed(err)) return err;
    forget(room, ctx, event_id);
    if ((missing.flags & GR_ROOM_REJECTED) || !missing.key) return gr_ok();
    mend_all(room, ctx, join, &missing);
    return gr_room_move_state(room, ctx, made);
}

/* --- looking for them ----------------------------------------------------------------------------------------------- */
bool gr_room_seek_left_out(gr_room *room, gr_ctx *ctx, gr_str timer)
{
    gr_str value;
    if (!gr_str_is(timer, timer_name)) return false;
    if (!gr_room_has_locals(room) || !gr_ctx_get(ctx, wait_row(), &value) || value.size != 8) return true;
    uint64_t waited_ms = gr_u64be(value.ptr);
    wait(ctx, waited_ms < GR_LEFT_OUT_MS_MAX / 2 ? 2 * waited_ms : GR_LEFT_OUT_MS_MAX);
    gr_room_begin_gap(room, ctx, GR_STR(GR_GAP_LEFT_OUT), (gr_str){0}, UINT64_MAX);
    return true;
}
