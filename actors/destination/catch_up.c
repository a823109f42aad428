/* catch_up.c - rooms of which the server missed events. See destination.h. */
#include "actors/destination/destination_private.h"

#include <stdlib.h>

#define ROW GR_STR("u")

/* --- rows -------------------------------------------------------------------------------------------------- */
static gr_str room_row(char letter, gr_str room_id, gr_ctx *ctx)
{
    return gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){{&letter, 1}, room_id});
}

static gr_str order_row(uint64_t number, gr_ctx *ctx) { return gr_arena_key(gr_ctx_arena(ctx), 'n', number); }

void gr_catch_up_load(gr_destination *d, gr_ctx *ctx)
{
    gr_str bytes;
    void *body = NULL;
    d->owed = (gr_catch_up_row){.next = 1};
    if (!gr_ctx_get(ctx, ROW, &bytes)) return;
    if (!gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_catch_up_row, bytes, &body))) d->owed = *(gr_catch_up_row *)body;
}

void gr_catch_up_save(const gr_destination *d, gr_ctx *ctx) { gr_ctx_put_body(ctx, ROW, &gr_type_catch_up_row, &d->owed); }

static bool read_owed(gr_str room_id, gr_owed_row *out, gr_ctx *ctx)
{
    gr_str bytes;
    void *body = NULL;
    if (!gr_ctx_get(ctx, room_row('r', room_id, ctx), &bytes)) return false;
    bytes = gr_arena_str(gr_ctx_arena(ctx), bytes);
    if (gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_owed_row, bytes, &body))) return false;
    *out = *(gr_owed_row *)body;
    return true;
}

/* --- what is owed ------------------------------------------------------------------------------------------ */
void gr_catch_up_owe(gr_destination *d, const gr_queue_item_row *item, gr_ctx *ctx)
{
    gr_owed_row before, now = {.number = d->owed.next, .event_id = item->event_id, .position = item->position};
    bool is_known = read_owed(item->room_id, &before, ctx);
    if (is_known && before.position >= item->position) return;
    now.first = is_known ? before.first : item->position;
    if (is_known) gr_ctx_del(ctx, order_row(before.number, ctx));
    else d->owed.rooms++;
    d->owed.next++;
    gr_ctx_put_body(ctx, room_row('r', item->room_id, ctx), &gr_type_owed_row, &now);
    gr_ctx_put(ctx, order_row(now.number, ctx), item->room_id);
    gr_catch_up_save(d, ctx);
}

bool gr_catch_up_is_owed(const gr_destination *d, gr_str room_id, gr_ctx *ctx)
{
    gr_owed_row row;
    if (d->owed.rooms == 0 || !read_owed(room_id, &row, ctx)) return false;
    const gr_destination_sending *s = d->sending;
    return !(s && s->kind == GR_SEND_OWED && gr_str_eq(s->room_id, room_id) && s->owed_number == row.number);
}

/* --- a page of rooms --------------------------------------------------------------------------------------- */
static void drop_page(gr_destination *d)
{
    for (size_t i = 0; i < d->page_count; i++) free((char *)d->page[i].id.ptr);
    free(d->page);
    d->page = NULL;
    d->page_count = d->page_next = 0;
}

static bool take_room(void *arg, gr_str key, gr_str room_id)
{
    gr_destination *d = arg;
    d->page[d->page_count++] = (gr_destination_room){{gr_str_dup(room_id), room_id.size}, gr_u64be(key.ptr + 1)};
    return true;
}

static void read_page(gr_destination *d, gr_ctx *ctx)
{
    uint64_t most = gr_env_of(ctx)->queue.catch_up_page;
    if (most == 0 || most > GR_DESTINATION_PAGE_MAX) most = GR_DESTINATION_PAGE_MAX;
    drop_page(d);
    d->page = gr_alloc(most * sizeof *d->page);
    gr_ctx_scan_prefix(ctx, GR_STR("n"), most, take_room, d);
}

bool gr_catch_up_next(gr_destination *d, gr_str *room_id, gr_owed_row *row, gr_ctx *ctx)
{
    for (int look = 0; look < 2; look++) {     /* a page that was just read is true */
        if (d->page_next < d->page_count) {
            *room_id = d->page[d->page_next].id;
            if (read_owed(*room_id, row, ctx) && row->number == d->page[d->page_next].number) return true;
        }
        read_page(d, ctx);
    }
    drop_page(d);
    return false;
}

/* --- what need not be sent again --------------------------------------------------------------------------- */
static uint64_t caught_position(const gr_destination *d, gr_str room_id, gr_ctx *ctx)
{
    gr_str bytes;
    bool found = d->owed.caught && gr_ctx_get(ctx, room_row('c', room_id, ctx), &bytes) && bytes.size == 8;
    return found ? gr_u64be(bytes.ptr) : 0;
}

static void keep_caught(gr_destination *d, gr_str room_id, uint64_t position, gr_ctx *ctx)
{
    gr_buf bytes = {0};
    uint64_t before = caught_position(d, room_id, ctx);
    if (before >= position) return;
    if (before == 0) d->owed.caught++;
    gr_buf_u64be(&bytes, position);
    gr_ctx_put(ctx, room_row('c', room_id, ctx), gr_buf_view(&bytes));
    gr_buf_free(&bytes);
    d->owed.caught_until = d->events.row.next;
}

bool gr_catch_up_has(gr_destination *d, const gr_queue_item_row *item, gr_ctx *ctx)
{
    uint64_t position = caught_position(d, item->room_id, ctx);
    return position && item->position <= position;
}

/* Posts of a room come in order: once a newer event has come and nothing older waits, nobody will ask any more. */
void gr_catch_up_forget(gr_destination *d, const gr_queue_item_row *item, gr_ctx *ctx)
{
    if (d->events.row.first < d->owed.caught_until || caught_position(d, item->room_id, ctx) == 0) return;
    gr_ctx_del(ctx, room_row('c', item->room_id, ctx));
    d->owed.caught--;
    gr_catch_up_save(d, ctx);
}

void gr_catch_up_done(gr_destination *d, gr_str room_id, uint64_t number, uint64_t position, gr_ctx *ctx)
{
    gr_owed_row row;
    if (d->page_next < d->page_count && gr_str_eq(d->page[d->page_next].id, room_id)) d->page_next++;
    bool is_owed = read_owed(room_id, &row, ctx);
    if (is_owed && (row.number == number || row.position <= position)) {       /* else a newer one has replaced it, and stays */
        gr_ctx_del(ctx, room_row('r', room_id, ctx));
        gr_ctx_del(ctx, order_row(row.number, ctx));
        d->owed.rooms--;
    } else if (is_owed && position) {
        row.first = position + 1;
        gr_ctx_put_body(ctx, room_row('r', room_id, ctx), &gr_type_owed_row, &row);
    }
    if (position) keep_caught(d, room_id, position, ctx);
    d->owed.hash = d->owed.most = d->owed.refusals = 0;
    gr_catch_up_save(d, ctx);
}

void gr_catch_up_drop(gr_destination *d) { drop_page(d); }
