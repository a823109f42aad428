/* resident.h - what a room does for other servers whose users want in or out, and how its events are given to them.
 *
 * Server-server API, "Joining Rooms", "Knocking upon a room", "Leaving Rooms".  Another server gets a template, signs it and
 * offers it; what the room takes is told on as if it had come in a transaction.  A state is given as numbers of events, and
 * these as PDUs, so that no answer grows with the room; what is large is read on the pool (reading.h).
 */
#pragma once
#include "actors/room/room.h"

enum {
    GR_RESIDENT_NUMBERS = 50000,           /* in one answer */
    GR_RESIDENT_PDUS = 4096,
    GR_RESIDENT_PDUS_BYTES = 512 * 1024    /* the PDU that passes this is the last */
};

/* GR_NOT_FOUND: nobody of this server is in the room, so it knows nothing new of it.  GR_FORBIDDEN: the server is kept out. */
GR_MUST_USE gr_err gr_room_serves(gr_room *, gr_ctx *, gr_str server);
/* A stored event as other servers get it: as redaction leaves it when it was redacted. */
gr_str gr_room_pdu(gr_room *, gr_arena *, const gr_room_record *);
/* What tells somebody who is invited or knocks of the room: JSON array of PDUs, the create event among them. */
gr_str gr_room_stripped_pdus(gr_room *, gr_ctx *);

void gr_room_on_admission(gr_room *, gr_ctx *, const gr_room_admission *);
void gr_room_on_has_member(gr_room *, gr_ctx *, const gr_room_has_member *);
void gr_room_on_template(gr_room *, gr_ctx *, const gr_room_template *);
void gr_room_on_invite(gr_room *, gr_ctx *, const gr_room_invite *);
void gr_room_on_offer(gr_room *, gr_ctx *, const gr_room_offer *);
void gr_room_on_list(gr_room *, gr_ctx *, const gr_room_list *);
void gr_room_on_pdus(gr_room *, gr_ctx *, const gr_room_pdus *);
/* outgoing.c, for destinations */
void gr_room_on_queued(gr_room *, gr_ctx *, const gr_room_queued *);
void gr_room_on_owed(gr_room *, gr_ctx *, const gr_room_owed *);
