/* sync.h - GET /sync: asks the user actor what moved, then those rooms, and composes the answer.
 *
 * Client-server API, "Syncing".  One long poll is one patient ask to the user actor.  Rooms are asked in parallel, a
 * bounded number at a time, and page after page where their state is large; their JSON is spliced, never parsed again.
 *
 * A room whose node is away is left out, and the token says that it is owed (actors/user/sync_token.h).  Nothing of other
 * rooms waits for it; when it is back, the next /sync begins with all that was missed.  If a room fails for another reason the
 * whole fails, so that the client comes back with the same token and misses nothing.
 */
#pragma once
#include "edge/call.h"

enum { GR_SYNC_PARALLEL = 64, GR_SYNC_TIMELINE_DEFAULT = 20, GR_SYNC_LEFT_MAX = 10000, GR_SYNC_AGAIN_MS = 1000 };

extern const gr_call_route gr_routes_sync[];

/* Answers GET /keys/changes: users whose keys changed, and who no longer shares an encrypted room, since a sync token. */
void gr_sync_key_changes(gr_call *, gr_str from);

/* sync_filter.c: does a filter (may be NULL) let this event type, room or sender through?  "*" in a type is anything. */
bool gr_sync_filter_type(const gr_json *filter, gr_str type);
bool gr_sync_filter_room(const gr_json *filter, gr_str room_id);
/* A JSON array of events, without those the filter leaves out, at most its limit. */
gr_str gr_sync_filter_events(gr_arena *, const gr_json *filter, gr_str events);
