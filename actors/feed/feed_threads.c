/* feed_threads.c - what of a room is unread, thread by thread. See feed.h; client-server API, "Threaded read receipts".
 *
 * Of the main timeline: the number at the head - the number at what was read + the marks since.  Of a thread the same with
 * its own numbers, rows y, which live as long as the rows of its events; rows Y find the threads in which something has
 * come lately.  Read is whatever a receipt for everything covers, or one for the thread.
 */
#include "actors/feed/feed_private.h"

enum { READ_SIZE = 24, MARK_HEAD = 2 };

static gr_str joined(gr_ctx *ctx, gr_str a, gr_str b)
{
    return gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){a, {"\0", 1}, b});
}

/* --- rows ---------------------------------------------------------------------------------------------------- */
gr_str gr_feed_read_key(gr_ctx *ctx, gr_str room_id, gr_str user, gr_str thread)
{
    return gr_feed_key(ctx, 'n', room_id, thread.size ? joined(ctx, user, thread) : user);
}

gr_str gr_feed_thread_reads(gr_ctx *ctx, gr_str room_id, gr_str user)
{
    return gr_feed_key(ctx, 'n', room_id, joined(ctx, user, GR_STR("")));
}

bool gr_feed_read_parse(gr_str bytes, gr_feed_read *out)
{
    *out = (gr_feed_read){0};
    if (bytes.size != READ_SIZE) return false;
    *out = (gr_feed_read){gr_u64be(bytes.ptr), gr_u64be(bytes.ptr + 8), gr_u64be(bytes.ptr + 16)};
    return true;
}

bool gr_feed_mark_parse(gr_str bytes, gr_feed_mark *out)
{
    *out = (gr_feed_mark){0};
    if (bytes.size < MARK_HEAD) return false;
    *out = (gr_feed_mark){bytes.ptr[0] - 1, bytes.ptr[1] != 0, gr_str_from(bytes, MARK_HEAD)};
    return true;
}

gr_str gr_feed_marks_of(gr_ctx *ctx, gr_str room_id, gr_str user) { return joined(ctx, room_id, user); }

typedef struct { bool found; uint64_t position, count; } thread_row;

static bool take_thread_row(void *arg, gr_str key, gr_str value)
{
    thread_row *t = arg;
    if (key.size >= 9 && value.size == 8) *t = (thread_row){true, gr_u64be(key.ptr + key.size - 8), gr_u64be(value.ptr)};
    return false;
}

void gr_feed_thread_count(feed_room *room, gr_ctx *ctx, gr_str thread)
{
    gr_str id = gr_feed_room_id(room), rows = joined(ctx, id, thread);
    thread_row newest = {0};
    gr_buf count = {0};
    gr_ctx_scan(ctx, gr_feed_key_at(ctx, 'y', rows, 0), gr_feed_key_at(ctx, 'y', rows, UINT64_MAX), true, 1, take_thread_row,
                &newest);
    gr_buf_u64be(&count, newest.count + 1);
    gr_str number = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&count));
    gr_buf_free(&count);
    room->head.threads_at = gr_ctx_position(ctx);
    if (newest.found) gr_ctx_del(ctx, gr_feed_key_at(ctx, 'Y', id, newest.position));
    gr_ctx_put(ctx, gr_feed_key_at(ctx, 'y', rows, room->head.threads_at), number);
    gr_ctx_put(ctx, gr_feed_key_at(ctx, 'Y', id, room->head.threads_at),
               gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){number, thread}));
}

void gr_feed_thread_trim(gr_ctx *ctx, gr_str room_id, const gr_feed_row *row)
{
    if (row->thread.size == 0) return;
    gr_ctx_del(ctx, gr_feed_key_at(ctx, 'y', joined(ctx, room_id, row->thread), row->position));
    gr_ctx_del(ctx, gr_feed_key_at(ctx, 'Y', room_id, row->position));     /* when it was the thread's newest */
}

/* --- for user actors of the shard ---------------------------------------------------------------------------- */
static gr_feed_read read_row(gr_ctx *ctx, gr_str room_id, gr_str user, gr_str thread)
{
    gr_str bytes;
    gr_feed_read read = {0};
    if (gr_ctx_sibling_get(ctx, GR_KIND_FEED, gr_feed_read_key(ctx, room_id, user, thread), &bytes))
        gr_feed_read_parse(bytes, &read);
    return read;
}

bool gr_feed_has_read(gr_ctx *ctx, gr_str user, const gr_feed_note *n)
{
    gr_str thread = n->thread.size ? n->thread : GR_STR("main");
    return read_row(ctx, n->room_id, user, (gr_str){0}).position >= n->position
        || read_row(ctx, n->room_id, user, thread).position >= n->position;
}

/* One thread; thread empty: the main timeline. */
typedef struct {
    gr_str thread;
    uint64_t newest, count;        /* its newest notifying event, and how many there were up to there */
    uint64_t read;                 /* position up to which it was read */
    uint64_t unread, highlights;
    int64_t delta;
} tally;

typedef struct {
    gr_ctx *ctx;
    gr_str room_id, user;
    gr_feed_read all;
    tally at[1 + GR_FEED_THREADS_MAX];     /* the first is the main timeline */
    size_t count;
    uint64_t changed;
} tallies;

static tally *tally_of(tallies *t, gr_str thread)
{
    for (size_t i = 0; i < t->count; i++)
        if (gr_str_eq(t->at[i].thread, thread)) return &t->at[i];
    if (t->count == 1 + GR_FEED_THREADS_MAX) return NULL;
    gr_feed_read read = read_row(t->ctx, t->room_id, t->user, thread.size ? thread : GR_STR("main"));
    if (read.changed > t->changed) t->changed = read.changed;
    tally *out = &t->at[t->count++];
    *out = (tally){.thread = gr_arena_str(gr_ctx_arena(t->ctx), thread), .read = t->all.position, .count = t->all.notified};
    if (read.position <= out->read) return out;
    out->read = read.position;
    out->count = read.notified;
    return out;
}

static bool take_thread(void *arg, gr_str key, gr_str value)
{
    tallies *t = arg;
    if (key.size < 9 || value.size <= 8) return true;
    tally *one = tally_of(t, gr_str_from(value, 8));
    if (!one) return false;
    one->newest = gr_u64be(key.ptr + key.size - 8);
    one->count = gr_u64be(value.ptr);
    return true;
}

/* How many notifying events a thread had up to a position.  Where the rows before it were trimmed, the oldest row tells. */
static uint64_t thread_count_at(const tallies *t, const tally *one)
{
    gr_str rows = joined(t->ctx, t->room_id, one->thread), middle = gr_feed_key_at(t->ctx, 'y', rows, one->read + 1);
    thread_row row = {0};
    gr_ctx_sibling_scan(t->ctx, GR_KIND_FEED, gr_feed_key_at(t->ctx, 'y', rows, 0), middle, true, 1, take_thread_row, &row);
    if (row.found) return row.count;
    gr_ctx_sibling_scan(t->ctx, GR_KIND_FEED, middle, gr_feed_key_at(t->ctx, 'y', rows, UINT64_MAX), false, 1,
                        take_thread_row, &row);
    return row.found ? row.count - 1 : one->count;
}

static bool take_mark(void *arg, gr_str key, gr_str value)
{
    tallies *t = arg;
    gr_feed_mark mark;
    tally *one = gr_feed_mark_parse(value, &mark) ? tally_of(t, mark.thread) : NULL;
    if (!one || gr_u64be(key.ptr + key.size - 8) <= one->read) return true;
    one->delta += mark.delta;
    one->highlights += mark.highlight;
    return true;
}

static gr_thread_unread total_of(const tally *one)
{
    int64_t total = (int64_t)one->unread + one->delta;
    return (gr_thread_unread){one->thread, total > 0 ? (uint64_t)total : 0, one->highlights};
}

gr_feed_unread gr_feed_unread_of(gr_ctx *ctx, gr_str room_id, gr_str user)
{
    gr_feed_head head = gr_feed_head_of(ctx, room_id);
    tallies t = {.ctx = ctx, .room_id = room_id, .user = user, .all = read_row(ctx, room_id, user, (gr_str){0}),
                 .changed = head.events_at};
    if (t.all.changed > t.changed) t.changed = t.all.changed;
    tally *main = tally_of(&t, (gr_str){0});
    main->unread = head.notified > main->count ? head.notified - main->count : 0;
    if (head.threads_at > t.all.position)
        gr_ctx_sibling_scan(ctx, GR_KIND_FEED, gr_feed_key_at(ctx, 'Y', room_id, t.all.position + 1),
                            gr_feed_key_at(ctx, 'Y', room_id, UINT64_MAX), true, GR_FEED_THREADS_MAX, take_thread, &t);
    for (size_t i = 1; i < t.count; i++)
        if (t.at[i].newest > t.at[i].read) t.at[i].unread = t.at[i].count - thread_count_at(&t, &t.at[i]);
    gr_str marks = gr_feed_marks_of(ctx, room_id, user);
    if (head.marked_at > t.all.position)
        gr_ctx_sibling_scan(ctx, GR_KIND_FEED, gr_feed_key_at(ctx, 'q', marks, t.all.position + 1),
                        gr_feed_key_at(ctx, 'q', marks, UINT64_MAX), false, GR_HANDLER_ROWS_MAX, take_mark, &t);
    gr_thread_unread of_main = total_of(main);
    gr_feed_unread out = {.notifications = of_main.notifications, .highlights = of_main.highlights, .at = t.changed};
    out.threads = gr_arena_alloc(gr_ctx_arena(ctx), t.count * sizeof *out.threads);
    for (size_t i = 1; i < t.count; i++) {
        gr_thread_unread one = total_of(&t.at[i]);
        if (one.notifications || one.highlights) out.threads[out.thread_count++] = one;
    }
    return out;
}
