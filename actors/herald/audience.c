/* audience.c - who shares a room with the user: the user's rooms, then the servers and shards of each. See herald.h. */
#include "actors/herald/herald_private.h"

#include "proto/json.h"

#include <stdlib.h>

enum { STEP_ROOMS = 1, STEP_ROOM = 2 };

void gr_audience_forget(gr_herald *h)
{
    for (size_t i = 0; i < h->room_count; i++) free((char *)h->rooms[i].id.ptr);
    for (size_t i = 0; i < h->server_count; i++) free((char *)h->servers[i].name.ptr);
    free(h->rooms);
    free(h->servers);
    h->rooms = NULL;
    h->servers = NULL;
    h->room_count = h->server_count = h->server_space = 0;
    h->known_ms = 0;
}

void gr_audience_gather(gr_herald *h, gr_ctx *ctx)
{
    gr_assert(!h->is_asking);
    gr_audience_forget(h);
    h->is_asking = true;
    h->is_partial = false;
    h->asked = h->open = 0;
    gr_ctx_ask(ctx, gr_address(gr_ctx_arena(ctx), h->is_local ? GR_KIND_USER : GR_KIND_REMOTE_USER, h->id),
               &gr_type_user_joined_rooms, &(gr_user_joined_rooms){0}, GR_HERALD_ASK_MS, &(gr_resume){.step = STEP_ROOMS});
}

static void ask_room(gr_herald *h, size_t number, gr_str after, gr_ctx *ctx)
{
    gr_ctx_ask(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_ROOM, h->rooms[number].id), &gr_type_room_audience,
               &(gr_room_audience){.after = after}, GR_HERALD_ASK_MS, &(gr_resume){.step = STEP_ROOM, .number = number});
}

static void ask_more(gr_herald *h, gr_ctx *ctx)
{
    for (; h->asked < h->room_count && h->open < GR_HERALD_ROOMS_AT_ONCE; h->open++) ask_room(h, h->asked++, (gr_str){0}, ctx);
    if (h->open) return;
    h->is_asking = false;
    if (!h->is_partial) h->known_ms = gr_ctx_now_ms(ctx);
    gr_herald_gathered(h, ctx);
}

static void take_rooms(gr_herald *h, gr_str text, gr_ctx *ctx)
{
    const gr_json *body = NULL;
    if (gr_failed(gr_json_parse(gr_ctx_arena(ctx), text, GR_JSON_LAX, &body))) return;
    const gr_json *rooms = gr_json_get(body, "joined_rooms");
    if (!gr_json_is(rooms, GR_JSON_ARRAY) || rooms->count == 0) return;
    h->rooms = gr_alloc(rooms->count * sizeof *h->rooms);
    for (uint32_t i = 0; i < rooms->count; i++)
        h->rooms[h->room_count++] = (gr_herald_room){.id = gr_str_keep(gr_json_string(&rooms->items[i]))};
}

/* --- servers ------------------------------------------------------------------------------------------------ */
static size_t place_of(const gr_herald *h, gr_str name)
{
    size_t low = 0, high = h->server_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (gr_str_cmp(h->servers[middle].name, name) < 0) low = middle + 1;
        else high = middle;
    }
    return low;
}

static void add_server(gr_herald *h, gr_str name, bool is_near)
{
    size_t at = place_of(h, name);
    if (at < h->server_count && gr_str_eq(h->servers[at].name, name)) {
        h->servers[at].is_near |= is_near;
        return;
    }
    if (h->server_count == h->server_space) {
        h->server_space = h->server_space ? h->server_space * 2 : 16;
        h->servers = gr_realloc(h->servers, h->server_space * sizeof *h->servers);
    }
    memmove(&h->servers[at + 1], &h->servers[at], (h->server_count - at) * sizeof *h->servers);
    h->servers[at] = (gr_herald_server){gr_str_keep(name), is_near};
    h->server_count++;
}

static void take_audience(gr_herald *h, gr_herald_room *room, const gr_room_audience_is *m, gr_ctx *ctx)
{
    room->is_small = m->joined <= gr_env_of(ctx)->presence.room_max;
    for (size_t i = 0; i < m->shards.count; i++)
        if (m->shards.at[i] < GR_SHARDS) room->shards[m->shards.at[i] / 8] |= (uint8_t)(1u << m->shards.at[i] % 8);
    for (size_t i = 0; h->is_local && i < m->servers.count; i++) add_server(h, m->servers.at[i], room->is_small);
}

/* A room that is not here any more has nobody. */
static void on_room(gr_herald *h, const gr_msg *m, gr_ctx *ctx)
{
    size_t number = (size_t)m->resume->number;
    gr_assert(number < h->room_count && h->open > 0);
    if (!gr_failed(m->err) && m->type == &gr_type_room_audience_is) {
        const gr_room_audience_is *is = m->body;
        take_audience(h, &h->rooms[number], is, ctx);
        if (is->next.size) {
            ask_room(h, number, is->next, ctx);
            return;
        }
    } else if (m->err.code != GR_NOT_FOUND) {
        h->is_partial = true;
    }
    h->open--;
    ask_more(h, ctx);
}

void gr_audience_on_answer(gr_herald *h, const gr_msg *m, gr_ctx *ctx)
{
    if (!h->is_asking) return;             /* of before it was loaded again */
    if (m->resume->step == STEP_ROOM) {
        on_room(h, m, ctx);
        return;
    }
    if (gr_failed(m->err) || m->type != &gr_type_result) h->is_partial = m->err.code != GR_NOT_FOUND;
    else take_rooms(h, ((const gr_result *)m->body)->body, ctx);
    ask_more(h, ctx);
}
