/* event_list.h - a state, or its auth chain, of a room: page after page of PDUs or event ids, for other servers.
 *
 * The room tells first which events these are, then as many of them as fit a message at a time.  They are sent as they come
 * (stream.h): a state of any size takes little memory.
 */
#pragma once
#include "edge/stream.h"

typedef struct {
    gr_str room;                       /* address */
    gr_room_list list;                 /* in the call's arena; what is wanted */
    bool ids_only;
    gr_str head;                       /* text that goes before the items */
    void (*then)(gr_call *);           /* with call->state as it was; not called when the call has failed */
    void *state;                       /* of the call, meanwhile */
    gr_u64s numbers;
    size_t next;
    bool more, has_begun, has_items;
} gr_event_list;

void gr_event_list_get(gr_call *, gr_event_list *);
