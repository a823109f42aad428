/* presence.c - presence of one user, for those who share a room. See herald.h; server-server API, "Presence". */
#include "actors/herald/herald_private.h"

#include "proto/json.h"

#include <stdlib.h>

#define MOVED GR_STR("moved")

void gr_herald_presence_drop(gr_herald *h)
{
    free((char *)h->presence.presence.ptr);
    free((char *)h->presence.status_msg.ptr);
    h->presence = (gr_herald_presence){0};
    h->has_presence = false;
}

/* --- telling ------------------------------------------------------------------------------------------------ */
static bool is_in_shard(const gr_herald_room *room, int shard) { return room->shards[shard / 8] >> shard % 8 & 1; }

static void tell_shard(const gr_herald *h, int shard, gr_ctx *ctx)
{
    const gr_herald_presence *p = &h->presence;
    gr_feed_presence m = {.user = h->id, .presence = p->presence, .status_msg = p->status_msg, .active_ms = p->active_ms,
                          .is_active = p->is_active};
    for (size_t i = 0; i < h->room_count; i++) {
        if (!h->rooms[i].is_small || !is_in_shard(&h->rooms[i], shard)) continue;
        if (!m.rooms.at) m.rooms.at = gr_arena_alloc(gr_ctx_arena(ctx), h->room_count * sizeof(gr_str));
        m.rooms.at[m.rooms.count++] = h->rooms[i].id;
    }
    if (m.rooms.count == 0) return;
    gr_ctx_tell(ctx, gr_address_of_shard(gr_ctx_arena(ctx), GR_KIND_FEED, (uint8_t)shard), &gr_type_feed_presence, &m);
}

static gr_str edu_of(const gr_herald *h, gr_ctx *ctx)
{
    const gr_herald_presence *p = &h->presence;
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "content");
    gr_jw_object(&w);
    gr_jw_key(&w, "push");
    gr_jw_array(&w);
    gr_jw_object(&w);
    gr_jw_kbool(&w, "currently_active", p->is_active);
    gr_jw_kint(&w, "last_active_ago", p->active_ms && p->active_ms < now_ms ? (int64_t)(now_ms - p->active_ms) : 0);
    gr_jw_kstr(&w, "presence", p->presence);
    if (p->status_msg.size) gr_jw_kstr(&w, "status_msg", p->status_msg);
    gr_jw_kstr(&w, "user_id", h->id);
    gr_jw_end_object(&w);
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
    gr_jw_kc(&w, "edu_type", "m.presence");
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

void gr_herald_tell_presence(gr_herald *h, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    h->is_told = true;
    for (int shard = 0; shard < GR_SHARDS; shard++) tell_shard(h, shard, ctx);
    gr_destination_volatile m = {.keep_ms = GR_HERALD_KNOWN_MS};
    for (size_t i = 0; i < h->server_count; i++) {
        if (!h->servers[i].is_near) continue;
        if (m.edu.size == 0) {
            m.edu = edu_of(h, ctx);
            m.fold = gr_arena_cat(a, 2, (gr_str[]){GR_STR("presence "), h->id});
        }
        gr_ctx_tell(ctx, gr_address(a, GR_KIND_DESTINATION, h->servers[i].name), &gr_type_destination_volatile, &m);
    }
}

/* --- messages ----------------------------------------------------------------------------------------------- */
static void tell_or_gather(gr_herald *h, gr_ctx *ctx)
{
    h->is_told = false;
    if (h->is_asking) return;              /* it is told then */
    if (h->known_ms && gr_ctx_now_ms(ctx) - h->known_ms < GR_HERALD_KNOWN_MS) gr_herald_tell_presence(h, ctx);
    else if (!h->upto) gr_audience_gather(h, ctx);
}

void gr_herald_on_presence(gr_herald *h, const gr_herald_presence *m, gr_ctx *ctx)
{
    gr_herald_presence_drop(h);
    h->presence = *m;
    h->presence.presence = gr_str_keep(m->presence);
    h->presence.status_msg = gr_str_keep(m->status_msg);
    h->has_presence = true;
    tell_or_gather(h, ctx);
}

/* Who is in a room from now on is to be seen there. */
void gr_herald_on_moved(gr_herald *h, gr_ctx *ctx)
{
    h->known_ms = 0;
    if (h->has_presence) gr_ctx_timer(ctx, MOVED, gr_ctx_now_ms(ctx) + GR_HERALD_MOVED_MS, false);
}

void gr_herald_on_moved_timer(gr_herald *h, gr_ctx *ctx)
{
    if (h->has_presence) tell_or_gather(h, ctx);
}
