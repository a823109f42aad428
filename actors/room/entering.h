/* entering.h - how a room comes here from another server, when somebody of this one joins it.
 *
 * The joining flow (actors/join) gives the events of the state and of its auth chain, oldest first.  They are held
 * (receive.h) on the pool, over a snapshot and in memory, and the rows that come of it are written here: so a batch of them
 * is one batch, and costs the handler no look-up.  The state grows by and by under a name (given.h).  When all are held the
 * state becomes the room's, in steps as well, and a last small batch takes the join and tells its user.
 * Until then the room is a half one: nobody sees it, and it takes nothing else.  A room that users of this server have left
 * stays what it is until that last batch.
 */
#pragma once
#include "actors/room/room.h"

enum {
    GR_ENTERING_BYTES = 180 * 1024,        /* of rows: past that the pool looks at no more events */
    GR_ENTERING_KEYS = 64                  /* of the state in one step, and again until the rows are as many as that */
};

bool gr_room_is_half(const gr_room *);
void gr_room_on_fill(gr_room *, gr_ctx *, const gr_room_fill *);
void gr_room_on_enter(gr_room *, gr_ctx *, const gr_room_enter *);
void gr_room_on_entering(gr_room *, gr_ctx *, const gr_msg *);     /* work_done */
void gr_room_entering_drop(gr_room *);                             /* who asked is not answered */
