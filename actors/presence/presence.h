/* presence.h - whether one user, of this server or another, is online, and when they did something last.
 *
 * Client-server API, "Presence".  A user of this server is what the most active device is: devices ask for news (presence_seen)
 * and so are online or unavailable for as long as they wait and GR_PRESENCE_GRACE_MS longer; who has done nothing for
 * GR_PRESENCE_IDLE_MS is unavailable.  A user of another server is what that server has told last, for GR_PRESENCE_REMOTE_MS.
 * All of it is memory, but for what a user has said of themselves:
 *
 *   p    status message, last activity (presence_row)
 *
 * Changes go to the herald of the user, no more than one in GR_PRESENCE_TELL_MS; while nothing changes but the time of the last
 * activity, one in GR_PRESENCE_ACTIVE_MS; and one in GR_PRESENCE_AGAIN_MS in any case while the user is not
 * offline, since feeds (GR_PRESENCE_FORGET_MS) and other servers forget who is not heard of.
 */
#pragma once
#include "actors/env.h"

enum {
    GR_PRESENCE_DEVICES_MAX = 16,
    GR_PRESENCE_STATUS_MAX = 1024,             /* bytes */
    GR_PRESENCE_GRACE_MS = 30 * 1000,
    GR_PRESENCE_IDLE_MS = 5 * 60 * 1000,
    GR_PRESENCE_CURRENT_MS = 60 * 1000,        /* currently_active: did something so long ago at most */
    GR_PRESENCE_REMOTE_MS = 30 * 60 * 1000,
    GR_PRESENCE_TELL_MS = 2 * 1000,
    GR_PRESENCE_ACTIVE_MS = 4 * 60 * 1000,
    GR_PRESENCE_AGAIN_MS = 20 * 60 * 1000,
    GR_PRESENCE_FORGET_MS = 2 * GR_PRESENCE_AGAIN_MS
};

typedef enum { GR_PRESENCE_OFFLINE, GR_PRESENCE_UNAVAILABLE, GR_PRESENCE_ONLINE } gr_presence_state;
/* The texts of these; false when it is none. */
bool gr_presence_read(gr_str text, gr_presence_state *);
const char *gr_presence_text(gr_presence_state);

typedef struct { gr_str device; gr_presence_state state; uint64_t until_ms; } gr_presence_device;    /* device: owned */

typedef struct {
    gr_str id;                                 /* owned */
    bool is_local;
    gr_presence_device devices[GR_PRESENCE_DEVICES_MAX];       /* of a user of another server: one, without a name */
    size_t device_count;
    gr_str status_msg;                         /* owned */
    uint64_t active_ms;                        /* 0: not known */
    bool is_status_new;
    /* what was told last, and when; 0: nothing since it was loaded */
    gr_presence_state told;
    uint64_t told_ms, told_active_ms;
} gr_presence;

extern const gr_actor_kind gr_presence_kind;
