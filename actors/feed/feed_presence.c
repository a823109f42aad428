/* feed_presence.c - presence of those who share a room with users of this shard: the newest of each, in memory. See feed.h.
 *
 * Who was not told of again for GR_PRESENCE_FORGET_MS counts as offline: the node that would have said so is gone.  A feed that
 * is dropped when nobody waits forgets all, and hears of everybody again within GR_PRESENCE_AGAIN_MS.
 *
 * A change takes a position, as everything that readers see, and wakes who waits: at once after a quiet time, else no more
 * often than every GR_FEED_PRESENCE_WAKE_MS, so that presence of many costs each reader a bounded number of looks.
 */
#include "actors/feed/feed_private.h"

#include "actors/presence/presence.h"

#include <stdlib.h>

#define TIMER GR_STR("presence")

struct feed_presence {
    UT_hash_handle hh;
    gr_feed_presence_of is;            /* strings owned */
    uint64_t told_ms;
};

static void forget(gr_feed *f, feed_presence *p)
{
    HASH_DEL(f->presence, p);
    for (size_t i = 0; i < p->is.rooms.count; i++) free((char *)p->is.rooms.at[i].ptr);
    free(p->is.rooms.at);
    free((char *)p->is.user.ptr);
    free((char *)p->is.status_msg.ptr);
    free(p);
}

void gr_feed_presence_drop(gr_feed *f)
{
    while (f->presence) forget(f, f->presence);
}

size_t gr_feed_presence_memory(const gr_feed *f) { return HASH_COUNT(f->presence) * (sizeof(feed_presence) + 256); }

static void keep(gr_feed *f, const gr_feed_presence *m, gr_ctx *ctx)
{
    gr_presence_state state;
    feed_presence *p = NULL;
    HASH_FIND(hh, f->presence, m->user.ptr, m->user.size, p);
    if (p) forget(f, p);
    else if (HASH_COUNT(f->presence) >= GR_FEED_PRESENCE_MAX) forget(f, f->presence);
    gr_presence_read(m->presence, &state);
    p = gr_alloc(sizeof *p);
    p->told_ms = gr_ctx_now_ms(ctx);
    p->is = (gr_feed_presence_of){.user = gr_str_keep(m->user), .presence = gr_presence_text(state),
                                  .status_msg = gr_str_keep(m->status_msg), .position = gr_ctx_position(ctx),
                                  .active_ms = m->active_ms, .is_active = m->is_active};
    p->is.rooms.at = gr_alloc((m->rooms.count + 1) * sizeof(gr_str));
    for (size_t i = 0; i < m->rooms.count; i++) p->is.rooms.at[p->is.rooms.count++] = gr_str_keep(m->rooms.at[i]);
    HASH_ADD_KEYPTR(hh, f->presence, p->is.user.ptr, p->is.user.size, p);
}

static void wake(gr_feed *f, gr_ctx *ctx)
{
    f->presence_woken_ms = gr_ctx_now_ms(ctx);
    f->presence_waits = false;
    gr_feed_wake_all(f, ctx);
}

void gr_feed_on_presence(gr_feed *f, const gr_feed_presence *m, gr_ctx *ctx)
{
    uint64_t due_ms = f->presence_woken_ms + GR_FEED_PRESENCE_WAKE_MS;
    keep(f, m, ctx);
    f->newest = gr_ctx_newest(ctx);
    if (!f->waiting || f->presence_waits) return;
    if (gr_ctx_now_ms(ctx) >= due_ms) {
        wake(f, ctx);
        return;
    }
    f->presence_waits = true;
    gr_ctx_timer(ctx, TIMER, due_ms, false);
}

void gr_feed_on_presence_timer(gr_feed *f, gr_ctx *ctx) { wake(f, ctx); }

void gr_feed_presence_after(gr_ctx *ctx, uint64_t position, gr_feed_presence_fn *fn, void *arg)
{
    const gr_feed *f = gr_ctx_sibling(ctx, GR_KIND_FEED);
    if (!f || !f->presence) return;
    const feed_presence *p = ELMT_FROM_HH(f->presence->hh.tbl, f->presence->hh.tbl->tail);
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    while (p && p->is.position > position && now_ms < p->told_ms + GR_PRESENCE_FORGET_MS && fn(arg, &p->is)) p = p->hh.prev;
}
