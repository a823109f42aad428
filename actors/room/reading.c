/* reading.c - which reads go to the pool, and how they come back. See reading.h. */
#include "actors/room/reading.h"
#include "actors/room/resolving.h"

#include <stdlib.h>

struct gr_room_reading {
    struct gr_room_reading *next;
    uint64_t number;
    gr_asker *asker;
};

/* What is surely within the bounds of a handler. */
enum {
    KEYS_FEW = 40,                     /* keys that the state ever had */
    EVENTS_FEW = 8,                    /* new events, none of them state: five look-ups each */
    RECEIPTS_FEW = 16                  /* new receipts, overwritten ones too */
};

/* --- on the pool ---------------------------------------------------------------------------------------- */
/* Input: time (8), type (4), the encoded message.  Output: type (4), the encoded answer. */
enum { INPUT_HEAD = 12, OUTPUT_HEAD = 4 };

static bool run(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    void *body;
    gr_str answer;
    const gr_type *answer_type;
    gr_assert(input.size >= INPUT_HEAD);
    const gr_type *type = gr_type_find(gr_u32be(input.ptr + 8));
    gr_err err = gr_body_decode(arena, type, gr_str_from(input, INPUT_HEAD), &body);
    gr_assert(!gr_failed(err));
    gr_ctx *ctx = gr_work_ctx(reader, gr_u64be(input.ptr));
    gr_room *room = gr_arena_alloc(arena, sizeof *room);
    gr_room_load(room, gr_address_id(gr_ctx_self(ctx)), ctx);
    if (room->exists) gr_room_read(room, ctx, type, body);
    gr_room_drop(room);
    if (!gr_work_answered(reader, &answer_type, &answer)) return false;
    gr_buf_u32be(output, answer_type->id);
    gr_buf_str(output, answer);
    return true;
}

static const gr_work reading_work = {.name = "room_reading", .run = run};

/* --- what is large -------------------------------------------------------------------------------------- */
static bool has_few_keys(const gr_room *room) { return room->next_key <= KEYS_FEW; }

/* The usual sync, a few messages since the last, costs few look-ups.  State needs walks through two versions. */
static bool is_small_sync(gr_room *room, gr_ctx *ctx, const gr_room_sync *m)
{
    uint64_t newest = room->next_pos - 1, to = m->to_pos < newest ? m->to_pos : newest;
    if (m->page.size || m->full || m->gap || !gr_str_is(m->section, "join")) return false;
    if (m->receipts && room->next_receipt - 1 > m->receipts_from + RECEIPTS_FEW) return false;
    if (to <= m->from_pos) return true;
    if (to - m->from_pos > EVENTS_FEW || to - m->from_pos > m->limit) return false;
    return gr_room_root_at(room, ctx, m->from_pos) == gr_room_root_at(room, ctx, to);
}

/* Many rooms are asked for an event that one of them has. */
static bool is_known(gr_ctx *ctx, gr_str event_id)
{
    uint64_t number;
    return gr_room_number_of(ctx, event_id, &number);
}

static bool is_small(gr_room *room, gr_ctx *ctx, const gr_type *type, const void *body)
{
    switch (type->id) {
    case GR_T_room_sync: return is_small_sync(room, ctx, body);
    case GR_T_room_state_all:
    case GR_T_room_members:
    case GR_T_room_joined_members: return has_few_keys(room);
    case GR_T_room_fetch_event: return !is_known(ctx, ((const gr_room_fetch_event *)body)->event_id);
    case GR_T_room_messages:           /* a page looks at 256 places and 128 events, context and threads likewise */
    case GR_T_room_context:
    case GR_T_room_relations:
    case GR_T_room_threads:
    case GR_T_room_timestamp:
    case GR_T_room_have:
    case GR_T_room_backfill:
    case GR_T_room_missing_events:
    case GR_T_room_list:
    case GR_T_room_pdus:
    case GR_T_room_owed:
    case GR_T_room_event: return false;
    default: return true;
    }
}

/* --- begin and end -------------------------------------------------------------------------------------- */
static size_t open_readings(const gr_room *room)
{
    size_t count = 0;
    for (const struct gr_room_reading *r = room->readings; r; r = r->next) count++;
    return count;
}

bool gr_reading_begin(gr_room *room, gr_ctx *ctx, const gr_type *type, const void *body)
{
    if (is_small(room, ctx, type, body)) return false;
    if (open_readings(room) >= GR_READINGS_MAX) {
        gr_ctx_fail(ctx, (gr_err){GR_LIMIT_EXCEEDED, "Too many are reading this room at a time: try again", 1000});
        return true;
    }
    gr_asker *asker = gr_ctx_keep_asker(ctx);
    if (!asker) return true;           /* nobody waits for the answer */
    struct gr_room_reading *r = gr_alloc(sizeof *r);
    *r = (struct gr_room_reading){.next = room->readings, .asker = asker};
    gr_ctx_random(ctx, &r->number, sizeof r->number);      /* never that of one from before the room was loaded */
    room->readings = r;
    gr_buf input = {0};
    gr_buf_u64be(&input, gr_ctx_now_ms(ctx));
    gr_buf_u32be(&input, type->id);
    gr_body_encode(&input, type, body);
    gr_ctx_work(ctx, &reading_work, gr_buf_view(&input), &(gr_resume){.step = GR_ROOM_WORK_READING, .number = r->number});
    gr_buf_free(&input);
    return true;
}

static gr_err answer(gr_ctx *ctx, const gr_msg *m, gr_asker **asker)
{
    void *body;
    const gr_work_done *done = m->body;
    if (gr_failed(m->err)) return m->err;
    if (done->failed || done->output.size < OUTPUT_HEAD)
        return gr_fail(GR_UNAVAILABLE, "The room could not be read: try again");
    const gr_type *type = gr_type_find(gr_u32be(done->output.ptr));
    gr_err err = gr_body_decode(gr_ctx_arena(ctx), type, gr_str_from(done->output, OUTPUT_HEAD), &body);
    if (!gr_failed(err)) gr_ctx_answer(ctx, asker, type, body);
    return err;
}

void gr_reading_end(gr_room *room, gr_ctx *ctx, const gr_msg *m)
{
    struct gr_room_reading **at = &room->readings;
    while (*at && (*at)->number != m->resume->number) at = &(*at)->next;
    struct gr_room_reading *r = *at;
    if (!r) return;                    /* the room was loaded again meanwhile */
    *at = r->next;
    gr_err err = answer(ctx, m, &r->asker);
    if (gr_failed(err)) gr_ctx_answer_fail(ctx, &r->asker, err);
    free(r);
}

void gr_readings_drop(gr_room *room)
{
    while (room->readings) {
        struct gr_room_reading *r = room->readings;
        room->readings = r->next;
        gr_asker_free(&r->asker);
        free(r);
    }
}
