/* feed_rows.c - heads and rows of a feed as stored, and what user actors of the shard read of them. See feed.h. */
#include "actors/feed/feed_private.h"

enum { HEAD_FORMAT = 3, ROW_FORMAT = 3, HEAD_NUMBERS = 11, HEAD_NUMBERS_MIN = 10 };

gr_str gr_feed_key(gr_ctx *ctx, char letter, gr_str a, gr_str b)
{
    gr_str parts[4] = {{&letter, 1}, a, {"\0", 1}, b};
    return gr_arena_cat(gr_ctx_arena(ctx), b.ptr ? 4 : 2, parts);
}

gr_str gr_feed_key_at(gr_ctx *ctx, char letter, gr_str a, uint64_t position)
{
    gr_buf key = {0};
    gr_buf_char(&key, letter);
    gr_buf_str(&key, a);
    gr_buf_char(&key, 0);
    gr_buf_u64be(&key, position);
    gr_str out = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&key));
    gr_buf_free(&key);
    return out;
}

void gr_feed_head_write(gr_ctx *ctx, gr_str room_id, const gr_feed_head *h)
{
    gr_buf out = {0};
    const uint64_t numbers[HEAD_NUMBERS] = {h->position, h->oldest, h->room_pos, h->receipt_pos, h->notified, h->rows,
                                            h->events_at, h->receipts_at, h->keys_at, h->threads_at, h->marked_at};
    gr_buf_char(&out, HEAD_FORMAT);
    for (int i = 0; i < HEAD_NUMBERS; i++) gr_buf_varint(&out, numbers[i]);
    gr_ctx_put(ctx, gr_feed_key(ctx, 'h', room_id, (gr_str){0}), gr_buf_view(&out));
    gr_buf_free(&out);
}

bool gr_feed_head_read(gr_str bytes, gr_feed_head *h)
{
    *h = (gr_feed_head){0};
    if (bytes.size == 0 || bytes.ptr[0] != HEAD_FORMAT) return false;
    gr_feed_head got = {0};
    uint64_t *const numbers[HEAD_NUMBERS_MIN] = {&got.position, &got.oldest, &got.room_pos, &got.receipt_pos, &got.notified,
                                             &got.rows, &got.events_at, &got.receipts_at, &got.keys_at,
                                             &got.threads_at};
    gr_str rest = gr_str_from(bytes, 1);
    for (int i = 0; i < HEAD_NUMBERS_MIN; i++)
        if (!gr_str_varint(&rest, numbers[i])) return false;
    if (!gr_str_varint(&rest, &got.marked_at)) got.marked_at = got.position;       /* written before there was this number */
    *h = got;
    return true;
}

static void put_text(gr_buf *out, gr_str text)
{
    gr_assert(text.size < 256);            /* identifiers */
    gr_buf_char(out, (char)text.size);
    gr_buf_str(out, text);
}

typedef struct { feed_room *room; gr_ctx *ctx; } trimming;

static bool trim_row(void *arg, gr_str key, gr_str value)
{
    trimming *t = arg;
    gr_feed_row row;
    if (gr_feed_row_read(key, value, &row)) gr_feed_thread_trim(t->ctx, gr_feed_room_id(t->room), &row);
    gr_ctx_del(t->ctx, gr_arena_str(gr_ctx_arena(t->ctx), key));
    t->room->head.rows--;
    t->room->head.oldest = gr_u64be(key.ptr + key.size - 8) + 1;
    return true;
}

static void trim(feed_room *room, gr_ctx *ctx)
{
    gr_str id = gr_feed_room_id(room);
    bool soon = room->head.rows < GR_FEED_ROWS_MAX && gr_ctx_now_ms(ctx) - room->trimmed_ms < GR_FEED_TRIM_MS;
    if (room->head.rows < GR_FEED_ROWS_KEPT + GR_FEED_TRIM_STEP || soon) return;
    if (gr_ctx_upkeep_paused(ctx, GR_FEED_UPKEEP_ROWS)) return;
    gr_ctx_upkeep(ctx, GR_FEED_UPKEEP_ROWS, GR_FEED_TRIM_STEP);
    room->trimmed_ms = gr_ctx_now_ms(ctx);
    gr_ctx_scan(ctx, gr_feed_key_at(ctx, 'e', id, 0), gr_feed_key_at(ctx, 'e', id, UINT64_MAX), false, GR_FEED_TRIM_STEP,
                trim_row, &(trimming){room, ctx});
}

void gr_feed_append(feed_room *room, gr_ctx *ctx, const gr_feed_row *row)
{
    gr_feed_head *h = &room->head;
    gr_str id = gr_feed_room_id(room);
    gr_buf out = {0};
    h->position = gr_ctx_position(ctx);
    h->rows++;
    gr_buf_char(&out, ROW_FORMAT);
    gr_buf_varint(&out, h->room_pos);
    gr_buf_varint(&out, h->receipt_pos);
    gr_buf_varint(&out, h->notified);
    put_text(&out, row->keys_of);
    put_text(&out, row->sender);
    if (row->rule_id.size) {
        gr_buf_varint(&out, row->ts);
        put_text(&out, row->rule_id);
        put_text(&out, row->thread);
        gr_buf_str(&out, row->event_id);
    }
    gr_ctx_put(ctx, gr_feed_key_at(ctx, 'e', id, h->position), gr_buf_view(&out));
    room->recent[room->recent_count++ % GR_FEED_RECENT] = (gr_feed_place){h->position, h->room_pos, h->receipt_pos};
    gr_buf_free(&out);
    trim(room, ctx);
    gr_feed_head_write(ctx, id, h);
}

static bool take_text(gr_str *rest, gr_str *text)
{
    size_t size = rest->size ? (unsigned char)rest->ptr[0] : 0;
    if (rest->size < 1 + size) return false;
    *text = (gr_str){rest->ptr + 1, size};
    *rest = gr_str_from(*rest, 1 + size);
    return true;
}

bool gr_feed_row_read(gr_str key, gr_str bytes, gr_feed_row *row)
{
    *row = (gr_feed_row){0};
    if (key.size < 9 || bytes.size == 0 || bytes.ptr[0] != ROW_FORMAT) return false;
    gr_feed_row r = {.position = gr_u64be(key.ptr + key.size - 8)};
    gr_str rest = gr_str_from(bytes, 1);
    if (!gr_str_varint(&rest, &r.room_pos) || !gr_str_varint(&rest, &r.receipt_pos) || !gr_str_varint(&rest, &r.notified))
        return false;
    if (!take_text(&rest, &r.keys_of) || !take_text(&rest, &r.sender)) return false;
    if (rest.size) {
        if (!gr_str_varint(&rest, &r.ts) || !take_text(&rest, &r.rule_id) || !take_text(&rest, &r.thread)) return false;
        r.event_id = rest;
    }
    *row = r;
    return true;
}

/* --- finding rows: the same code for the feed itself and for its siblings ------------------------------------ */
typedef struct { gr_arena *arena; gr_feed_row row; bool found; } finding;

static bool take_row(void *arg, gr_str key, gr_str value)
{
    finding *f = arg;
    f->found = gr_feed_row_read(key, value, &f->row);
    f->row.keys_of = gr_arena_str(f->arena, f->row.keys_of);
    f->row.sender = gr_arena_str(f->arena, f->row.sender);
    return false;
}

/* The newest row at or below position. */
static bool newest_row(gr_ctx *ctx, bool own, gr_str room_id, uint64_t position, gr_feed_row *row)
{
    finding f = {.arena = gr_ctx_arena(ctx)};
    gr_str from = gr_feed_key_at(ctx, 'e', room_id, 0);
    gr_str to = gr_feed_key_at(ctx, 'e', room_id, position == UINT64_MAX ? position : position + 1);
    if (own) gr_ctx_scan(ctx, from, to, true, 1, take_row, &f);
    else gr_ctx_sibling_scan(ctx, GR_KIND_FEED, from, to, true, 1, take_row, &f);
    *row = f.found ? f.row : (gr_feed_row){0};
    return f.found;
}

bool gr_feed_row_of_room_pos(feed_room *room, gr_ctx *ctx, uint64_t room_pos, gr_feed_row *row)
{
    gr_str id = gr_feed_room_id(room);
    uint64_t low = room->head.oldest, high = room->head.position;
    gr_feed_row best = {0}, at;
    /* Room positions rise with shard positions, so this halves the span of positions; reading is mostly of the newest. */
    for (int reads = 0; reads < 40 && low <= high && newest_row(ctx, true, id, high, &at); reads++) {
        if (at.room_pos <= room_pos) {
            best = at;
            break;
        }
        uint64_t middle = low + (at.position - low) / 2;
        gr_feed_row half;
        if (middle >= at.position || !newest_row(ctx, true, id, middle, &half)) break;
        if (half.room_pos <= room_pos) {
            best = half;
            low = middle + 1;
            high = at.position - 1;
            if (low > high || half.room_pos == room_pos) break;
        } else {
            high = half.position ? half.position - 1 : 0;
        }
    }
    *row = best;
    return best.position != 0;
}

/* --- for user actors of the shard ---------------------------------------------------------------------------- */
gr_feed_head gr_feed_head_of(gr_ctx *ctx, gr_str room_id)
{
    const gr_feed *feed = gr_ctx_sibling(ctx, GR_KIND_FEED);
    feed_room *room = NULL;
    gr_feed_head head = {0};
    gr_str bytes;
    HASH_FIND(hh, feed->rooms, room_id.ptr, room_id.size, room);
    if (room) return room->head;
    if (gr_ctx_sibling_get(ctx, GR_KIND_FEED, gr_feed_key(ctx, 'h', room_id, (gr_str){0}), &bytes))
        gr_feed_head_read(bytes, &head);
    return head;
}

/* The newest row at or below a position, found among the newest rows since the room was loaded, where most tokens point. */
static bool is_recent(gr_ctx *ctx, gr_str room_id, uint64_t position, gr_feed_place *place)
{
    const gr_feed *feed = gr_ctx_sibling(ctx, GR_KIND_FEED);
    const feed_room *room = NULL;
    HASH_FIND(hh, feed->rooms, room_id.ptr, room_id.size, room);
    size_t count = room ? room->recent_count : 0;
    for (size_t i = count; i > 0 && count - i < GR_FEED_RECENT; i--) {
        *place = room->recent[(i - 1) % GR_FEED_RECENT];
        if (place->position <= position) return true;
    }
    return false;
}

gr_feed_place gr_feed_place_at(gr_ctx *ctx, gr_str room_id, uint64_t position, bool *trimmed)
{
    gr_feed_place place;
    gr_feed_row row = {0};
    gr_feed_head head = gr_feed_head_of(ctx, room_id);
    *trimmed = position < head.oldest;
    if (*trimmed || head.position == 0) return (gr_feed_place){0};
    if (is_recent(ctx, room_id, position, &place)) return place;
    newest_row(ctx, false, room_id, position, &row);
    return (gr_feed_place){row.position, row.room_pos, row.receipt_pos};
}

typedef struct { gr_arena *arena; gr_strs users; } keys_walk;

static bool collect_keys(void *arg, gr_str key, gr_str value)
{
    keys_walk *w = arg;
    gr_feed_row row;
    if (!gr_feed_row_read(key, value, &row) || row.keys_of.size == 0) return true;
    for (size_t i = 0; i < w->users.count; i++)
        if (gr_str_eq(w->users.at[i], row.keys_of)) return true;
    w->users.at[w->users.count++] = gr_arena_str(w->arena, row.keys_of);
    return true;
}

gr_strs gr_feed_keys_after(gr_ctx *ctx, gr_str room_id, uint64_t position)
{
    gr_arena *a = gr_ctx_arena(ctx);
    keys_walk w = {a, {gr_arena_alloc(a, GR_HANDLER_ROWS_MAX * sizeof(gr_str)), 0}};
    gr_ctx_sibling_scan(ctx, GR_KIND_FEED, gr_feed_key_at(ctx, 'e', room_id, position + 1),
                        gr_feed_key_at(ctx, 'e', room_id, UINT64_MAX), true, GR_HANDLER_ROWS_MAX, collect_keys, &w);
    return w.users;
}
