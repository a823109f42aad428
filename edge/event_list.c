/* event_list.c - asking a room for lists of events. See event_list.h. */
#include "edge/event_list.h"

enum { EVENTS_AT_ONCE = 2000 };

static void go_on(gr_call *call);

/* Once there is a first answer, so that what fails before it fails with an error of its own. */
static void begin(gr_call *call)
{
    gr_event_list *l = call->state;
    if (l->has_begun) return;
    l->has_begun = true;
    if (call->stream) gr_stream_write(call, l->head);
    else gr_stream_begin(call, l->head, go_on);
}

static void on_pdus(gr_call *call, const gr_answer *a)
{
    gr_event_list *l = call->state;
    const gr_room_pdus_are *got = a->body;
    gr_err err = a->err;
    if (!gr_failed(err) && (a->type != &gr_type_room_pdus_are || got->count == 0))
        err = gr_fail(GR_UNKNOWN, "The room gave no events");
    if (gr_failed(err)) {
        gr_call_fail(call, err);
        return;
    }
    l->next += got->count;
    if (got->items.size && l->has_items) gr_stream_write(call, GR_STR(","));
    l->has_items |= got->items.size > 0;
    gr_stream_write(call, got->items);
}

static void on_listed(gr_call *call, const gr_answer *a)
{
    gr_event_list *l = call->state;
    const gr_room_listed *listed = a->body;
    if (gr_failed(a->err)) {
        gr_call_fail(call, a->err);
        return;
    }
    l->numbers = (gr_u64s){gr_arena_alloc(call->arena, (listed->numbers.count + 1) * sizeof(uint64_t)), listed->numbers.count};
    if (l->numbers.count) memcpy(l->numbers.at, listed->numbers.at, l->numbers.count * sizeof(uint64_t));
    l->next = 0;
    l->more = listed->more && l->numbers.count;
    if (l->has_begun) go_on(call);
    else begin(call);
}

static void ask_list(gr_call *call)
{
    gr_event_list *l = call->state;
    gr_call_ask(call, l->room, &gr_type_room_list, &l->list, on_listed);
}

/* Called again whenever what was written has left. */
static void go_on(gr_call *call)
{
    gr_event_list *l = call->state;
    size_t left = l->numbers.count - l->next;
    if (left) {
        gr_room_pdus m = {.numbers = {l->numbers.at + l->next, left < EVENTS_AT_ONCE ? left : EVENTS_AT_ONCE},
                          .ids_only = l->ids_only};
        gr_call_ask(call, l->room, &gr_type_room_pdus, &m, on_pdus);
    } else if (l->more) {
        l->list.after = l->numbers.at[l->numbers.count - 1];
        ask_list(call);
    } else {
        call->state = l->state;
        l->then(call);
    }
}

void gr_event_list_get(gr_call *call, gr_event_list *l)
{
    l->state = call->state;
    call->state = l;
    ask_list(call);
}
