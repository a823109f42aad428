/* feed_purge.c - the feed of a room that is gone: what it kept is deleted in steps. See feed.h.
 *
 * The head and the members go at once, so that nobody reads the room here any more.  Whatever else goes is of positions up to
 * that of the purge: should the room be joined again meanwhile, what it tells then stays.
 */
#include "actors/feed/feed_private.h"

#include "proto/ident.h"

enum { ROWS = 200 };                   /* looked at in one step */

static const char timer_name[] = "purge", letters[] = "enqyY";

typedef struct { gr_ctx *ctx; gr_str at[ROWS]; uint64_t until; char letter; size_t looked, count; } rows;

static uint64_t position_of(char letter, gr_str key, gr_str value)
{
    gr_feed_read read;
    if (letter == 'n') return gr_feed_read_parse(value, &read) ? read.changed : 0;
    return key.size >= 8 ? gr_u64be(key.ptr + key.size - 8) : 0;
}

static bool collect(void *arg, gr_str key, gr_str value)
{
    rows *r = arg;
    if (position_of(r->letter, key, value) <= r->until) r->at[r->count++] = gr_arena_str(gr_ctx_arena(r->ctx), key);
    return ++r->looked < ROWS;
}

static void delete_rows(gr_ctx *ctx, gr_str room_id, char letter, rows *r)
{
    r->letter = letter;
    gr_ctx_scan_prefix(ctx, gr_feed_key(ctx, letter, room_id, GR_STR("")), ROWS - r->looked, collect, r);
}

void gr_feed_purge_begin(gr_feed *f, const gr_feed_purge *m, gr_ctx *ctx)
{
    feed_room *room = NULL;
    gr_buf until = {0};
    rows members = {.ctx = ctx, .until = UINT64_MAX};
    HASH_FIND(hh, f->rooms, m->room_id.ptr, m->room_id.size, room);
    if (room) gr_feed_room_drop(f, room);
    gr_ctx_del(ctx, gr_feed_key(ctx, 'h', m->room_id, (gr_str){0}));
    delete_rows(ctx, m->room_id, 'm', &members);           /* of those who were made to forget it just now, if any */
    for (size_t i = 0; i < members.count; i++) gr_ctx_del(ctx, members.at[i]);
    gr_buf_u64be(&until, gr_ctx_newest(ctx));
    gr_ctx_put(ctx, gr_feed_key(ctx, 'P', m->room_id, (gr_str){0}), gr_buf_view(&until));
    gr_buf_free(&until);
    gr_ctx_timer(ctx, gr_str_c(timer_name), gr_ctx_now_ms(ctx), true);
}

typedef struct { gr_arena *arena; gr_str room_id; uint64_t until; } gone;

static bool take_room(void *arg, gr_str key, gr_str value)
{
    gone *g = arg;
    g->room_id = gr_arena_str(g->arena, gr_str_from(key, 1));
    g->until = value.size == 8 ? gr_u64be(value.ptr) : 0;
    return false;
}

bool gr_feed_purge_on(gr_ctx *ctx, gr_str timer)
{
    gone g = {.arena = gr_ctx_arena(ctx)};
    if (!gr_str_is(timer, timer_name)) return false;
    gr_ctx_scan_prefix(ctx, GR_STR("P"), 1, take_room, &g);
    if (g.room_id.size == 0) return true;
    rows r = {.ctx = ctx, .until = g.until};
    for (size_t i = 0; i < sizeof letters - 1 && r.looked < ROWS; i++) delete_rows(ctx, g.room_id, letters[i], &r);
    for (size_t i = 0; i < r.count; i++) gr_ctx_del(ctx, r.at[i]);
    /* Where all that was looked at stays, the room was joined again and has begun to fill its feed. */
    if (r.looked < ROWS || r.count == 0) gr_ctx_del(ctx, gr_feed_key(ctx, 'P', g.room_id, (gr_str){0}));
    gr_ctx_timer(ctx, gr_str_c(timer_name), gr_ctx_now_ms(ctx), true);     /* there may be another */
    return true;
}
