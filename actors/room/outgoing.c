/* outgoing.c - events for the queues of other servers. See resident.h and actors/destination/destination.h. */
#include "actors/room/resident.h"
#include "actors/room/serve.h"

#include <stdlib.h>

enum {
    EVENTS_MAX = 30,                   /* each takes two reads */
    OWED_MAX = 20                      /* extremities: as many as an event may follow */
};

static bool read_pdu(gr_room *room, gr_ctx *ctx, gr_str event_id, gr_room_pdu_text *out)
{
    uint64_t number;
    gr_room_record r;
    bool found = gr_room_number_of(ctx, event_id, &number) && gr_room_record_at(ctx, number, &r) && (r.flags & GR_ROOM_ACCEPTED);
    if (found) *out = (gr_room_pdu_text){.event_id = event_id, .pdu = gr_room_pdu(room, gr_ctx_arena(ctx), &r)};
    return found;
}

/* To whom they go was decided when they were made; those that were purged since are left out. */
void gr_room_on_queued(gr_room *room, gr_ctx *ctx, const gr_room_queued *m)
{
    gr_room_pdu_text pdus[EVENTS_MAX];
    gr_room_outgoing body = {.pdus = {pdus, 0}};
    for (size_t i = 0; i < m->event_ids.count && i < EVENTS_MAX; i++)
        if (read_pdu(room, ctx, m->event_ids.at[i], &pdus[body.pdus.count])) body.pdus.count++;
    gr_ctx_reply(ctx, &gr_type_room_outgoing, &body);
}

/* --- for a server that missed events ------------------------------------------------------------------------- */
static bool is_extremity(const gr_room *room, uint64_t number)
{
    for (size_t i = 0; i < room->extremity_count; i++)
        if (room->extremities[i].number == number) return true;
    return false;
}

static int newer_first(const void *a, const void *b)
{
    uint64_t one = ((const gr_room_extremity *)a)->number, other = ((const gr_room_extremity *)b)->number;
    return (one < other) - (one > other);
}

/* The newest of the extremities that the server may see and has not been sent.  *all: these are all there are. */
static gr_room_outgoing what_is_newest(gr_serve *s, uint64_t first, gr_room_pdu_text pdus[OWED_MAX], bool *all)
{
    gr_room *room = s->view.room;
    gr_arena *a = gr_ctx_arena(s->view.ctx);
    gr_room_outgoing out = {.pdus = {pdus, 0}};
    gr_room_extremity *sorted = gr_arena_alloc(a, (room->extremity_count + 1) * sizeof *sorted);
    size_t bytes = 0, count = 0;
    for (size_t i = 0; i < room->extremity_count; i++)
        if (room->extremities[i].number >= first) sorted[count++] = room->extremities[i];
    qsort(sorted, count, sizeof *sorted, newer_first);
    for (size_t i = 0; i < count && out.pdus.count < OWED_MAX && bytes < GR_SERVE_BYTES; i++) {
        gr_room_record r;
        if (!gr_room_record_at(s->view.ctx, sorted[i].number, &r) || !gr_serve_sees(s, &r)) continue;
        pdus[out.pdus.count] = (gr_room_pdu_text){.event_id = r.event_id, .pdu = gr_room_pdu(room, a, &r)};
        bytes += pdus[out.pdus.count++].pdu.size;
    }
    *all = count > 0 && out.pdus.count == count;
    return out;
}

/* Nothing for a server that is not in the room, or nobody of ours; the event that it missed while nothing has followed it,
 * or when it may see nothing newer; else what is newest, from which it finds its way back. */
void gr_room_on_owed(gr_room *room, gr_ctx *ctx, const gr_room_owed *m)
{
    gr_serve serve;
    uint64_t number;
    gr_room_pdu_text pdus[OWED_MAX];
    gr_room_outgoing body = {.pdus = {pdus, 0}};
    bool all = false, is_known = gr_room_number_of(ctx, m->event_id, &number);
    if (!gr_failed(gr_serve_begin(&serve, room, ctx, m->server))) {
        if (!is_known || !is_extremity(room, number)) body = what_is_newest(&serve, m->first, pdus, &all);
        if (body.pdus.count == 0 && read_pdu(room, ctx, m->event_id, &pdus[0])) body.pdus.count = 1;
        all |= body.pdus.count == 1 && room->extremity_count == 1 && is_known && is_extremity(room, number);
    }
    if (all) body.position = room->next_number - 1;
    gr_ctx_reply(ctx, &gr_type_room_outgoing, &body);
}
