/* remote_user.h - a user of another server: the rooms shared with users here, and the cached device list.
 *
 * Server-server API, "Device Management".  While a room is shared the user's server tells of every change (m.device_list_update,
 * m.signing_key_update), so a list that was fetched once stays right; an update that does not follow what is known makes it
 * stale, and it is fetched again: one request at a time, no sooner than GR_REMOTE_RESYNC_MS after the one before, later each
 * time it fails.  A list that is not current is never told to anybody: who asks is sent to the server itself.  Lists larger
 * than GR_REMOTE_DEVICES_MAX or GR_REMOTE_LIST_BYTES are not kept at all.
 *
 *   r <room>       a room in which the user is joined with users here
 *   l              how far the list is known (remote_devices_row)
 *   kd <device>    keys of a device, JSON, with its name in "unsigned"
 *   kx <usage>     master, self_signing: JSON
 *   c              rooms are being told that keys changed: the last one told
 *
 * Files: remote_user.c (load, dispatch, rooms, inspect), update.c (what the server tells), resync.c.
 */
#pragma once
#include "actors/env.h"

enum {
    GR_REMOTE_DEVICES_MAX = 200,
    GR_REMOTE_LIST_BYTES = 256 * 1024,
    GR_REMOTE_RESYNC_MS = 5 * 1000,
    GR_REMOTE_RESYNC_FAILED_MS = 30 * 1000,        /* after the first failure; twice as long after each further one */
    GR_REMOTE_RESYNC_MAX_MS = 3600 * 1000,
    GR_REMOTE_ROOMS_STEP = 50                      /* rooms told of a change by one message */
};

/* UNKNOWN: never asked for.  STALE: to be fetched again.  LARGE: not kept. */
typedef enum { GR_REMOTE_UNKNOWN, GR_REMOTE_CURRENT, GR_REMOTE_STALE, GR_REMOTE_LARGE } gr_remote_list_state;

typedef struct {
    gr_str id;                         /* "@a:b", owned */
    gr_strs rooms;                     /* shared, sorted; owned */
    gr_remote_devices_row list;        /* devices: sorted, owned */
    bool is_asking, is_missing;        /* the list is being fetched; and an update came meanwhile */
    uint64_t asked_ms;
} gr_remote_user;

extern const gr_actor_kind gr_remote_user_kind;
