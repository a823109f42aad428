/* outgoing.c - events for the queues of other servers. See resident.h and actors/destination/destination.h. */
#include "actors/room/resident.h"

enum { EVENTS_MAX = 30 };              /* each takes two reads */

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
