/* feed.c - the room is given what was staged, oldest first. See join.h. */
#include "actors/join/join_private.h"

enum { EVENTS_AT_ONCE = 300, BYTES_AT_ONCE = 200 * 1024, ID_HEAD = 3 };

static gr_str next_id(gr_str *order, bool *is_state)
{
    size_t size = (size_t)((unsigned char)order->ptr[1] << 8 | (unsigned char)order->ptr[2]);
    gr_str id = gr_str_of(order->ptr + ID_HEAD, size);
    *is_state = order->ptr[0];
    *order = gr_str_from(*order, ID_HEAD + size);
    return id;
}

/* --- on the pool ------------------------------------------------------------------------------------------------ */
/* Input: not the first (1), size of the version (1), it, some of the order.  Output: a room_fill, encoded. */
static bool run(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    size_t size = (unsigned char)input.ptr[1], bytes = 0;
    gr_str order = gr_str_from(input, 2 + size);
    gr_room_fill m = {.first = !input.ptr[0], .version = gr_str_of(input.ptr + 2, size)};
    m.events.at = gr_arena_alloc(arena, EVENTS_AT_ONCE * sizeof *m.events.at);
    while (order.size && bytes < BYTES_AT_ONCE) {
        gr_held_event *e = &m.events.at[m.events.count++];
        gr_str id = next_id(&order, &e->is_state);
        if (!gr_work_get(reader, arena, gr_arena_cat(arena, 2, (gr_str[]){GR_STR("e"), id}), &e->text)) return false;
        bytes += e->text.size;
    }
    gr_body_encode(output, &gr_type_room_fill, &m);
    return true;
}

static const gr_work gather_work = {.name = "join_gather", .run = run};

/* --- in the flow ------------------------------------------------------------------------------------------------ */
static gr_str left(const gr_join *j) { return gr_str_from(gr_buf_view(&j->order), j->fed); }

static void gather(gr_join *j, gr_ctx *ctx)
{
    gr_buf input = {0};
    gr_str order = left(j);
    bool is_state;
    for (size_t i = 0; i < EVENTS_AT_ONCE && order.size; i++) next_id(&order, &is_state);
    gr_buf_char(&input, !j->is_first);
    gr_buf_char(&input, (char)j->flow->version.size);
    gr_buf_str(&input, j->flow->version);
    gr_buf_str(&input, gr_str_head(left(j), left(j).size - order.size));
    gr_join_work(j, ctx, &gather_work, gr_buf_view(&input), 0);
    gr_buf_free(&input);
}

void gr_join_feed_begin(gr_join *j, gr_ctx *ctx)
{
    j->fed = 0;
    j->refused = 0;
    j->is_first = true;
    gather(j, ctx);
}

void gr_join_feed_again(gr_join *j, gr_ctx *ctx) { gather(j, ctx); }

void gr_join_on_gathered(gr_join *j, gr_str output, gr_ctx *ctx)
{
    void *body;
    gr_err err = gr_body_decode(gr_ctx_arena(ctx), &gr_type_room_fill, output, &body);
    gr_assert(!gr_failed(err));
    gr_str room = gr_address(gr_ctx_arena(ctx), GR_KIND_ROOM, gr_join_room_id(ctx));
    gr_ctx_ask(ctx, room, &gr_type_room_fill, body, GR_JOIN_ROOM_MS,
               &(gr_resume){.step = (uint32_t)j->flow->step, .number = j->epoch << 16});
    j->open++;
}

void gr_join_on_filled(gr_join *j, const gr_room_filled *m, gr_ctx *ctx)
{
    gr_str order = left(j);
    bool is_state;
    for (uint64_t i = 0; i < m->count && order.size; i++) next_id(&order, &is_state);
    j->fed = j->order.size - order.size;
    j->refused += m->refused;
    j->is_first = false;
    j->flow->made_room |= m->is_new;
    if (order.size) gather(j, ctx);
    else gr_join_go(j, ctx, GR_JOIN_ENTER);
}
