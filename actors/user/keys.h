/* keys.h - end-to-end encryption in a user actor: keys of devices, cross-signing, to-device messages, key backup.
 *
 * Client-server API, "End-to-end encryption", "Send-to-device messaging", "Server-side key backups".  Called by user.c
 * (messages, timers) and devices.c (a device has gone).  Rows, all in the user's own keyspace; 0 is a NUL byte:
 *
 *   kd <device>                        device keys, JSON with the signatures gathered since
 *   ko <device> 0 <alg> 0 <pos> <id>   a one-time key: JSON; in order of upload
 *   kf <device> 0 <alg>                fallback key: 'N' (never given out) or 'U', whole key id, 0, JSON
 *   kc <device>                        gr_user_key_summary
 *   kx <usage>                         master, self_signing, user_signing: JSON
 *   ks <user> 0 <key id>               own signatures on the master key of somebody else: JSON {"ed25519:..": ".."}
 *   kn <user>                          position of the C row of that user
 *   ki                                 stream id of the newest update of a device that other servers were told
 *   kr                                 the last room told of a change of keys, while there are more
 *   kg <device>                        a device that has gone whose rows are to be swept: position, 'N' or 'K' (keys done)
 *   t  <device>                        gr_user_inbox;  t <device> 0 <position>: an event
 *   x  <device>                        how many transactions so far;  x <device> 0 0 <number>: the last GR_TXNS_KEPT of them
 *   x  <device> 0 <txn> 0 <part>       done
 *   x  01 'remote' ...                 the same of other servers' messages; the "transaction" is the sender, 0, the message id
 *   bn, bv <version>, bd <version>     newest number; gr_user_backup; a version that was deleted
 *   bk <version> <room> 0 <session>    key of a session
 */
#pragma once
#include "actors/user/user.h"

#include "proto/json.h"

enum {
    GR_DEVICE_KEYS_MAX = 16 * 1024, /* bytes of JSON */
    GR_ONE_TIME_KEYS_MAX = 200,     /* kept per device; older ones go first */
    GR_ONE_TIME_KEY_MAX = 1024,     /* bytes of JSON */
    GR_KEY_ID_MAX = 128,
    GR_KEYS_PAGE_BYTES = 48 * 1024,
    GR_KEYS_PAGE_DEVICES = 40,
    GR_CLAIM_MAX = 20,                /* devices of one claim message */
    GR_SIGN_MAX = 50,                 /* signed objects of one message */
    GR_SIGNED_USERS_MAX = 60,         /* users of one user_signed */
    GR_KEYS_ROOMS_STEP = 50,          /* rooms told of a change by one message */
    GR_TO_DEVICE_MAX = 10000,         /* waiting events of a device; the oldest are dropped */
    GR_TO_DEVICE_STEP = 25,           /* devices served by one to_device_put */
    GR_TO_DEVICE_BYTES = 64 * 1024,   /* of JSON in one to_device_put */
    GR_TXNS_KEPT = 500,               /* transaction ids remembered per device */
    GR_BACKUP_STEP = 50,              /* sessions of one user_backup_put */
    GR_BACKUP_SESSION_MAX = 16 * 1024 /* bytes of JSON */
};

/* --- keys.c --- */
/* "k" sub a, and "k" sub a 0 b; in the arena of ctx. */
gr_str gr_keys_row(gr_ctx *, char sub, gr_str a);
gr_str gr_keys_row2(gr_ctx *, char sub, gr_str a, gr_str b);
bool gr_keys_has_device(gr_ctx *, gr_str device);
void gr_keys_on_upload(gr_user *, const gr_user_keys_upload *, gr_ctx *);
void gr_keys_on_query(gr_user *, const gr_user_keys_query *, gr_ctx *);
/* A page of rows kd and kx, of whatever actor keeps keys so.  unsigned_of: what a device's "unsigned" is to have (an object);
 * NULL: it is in the row. */
typedef gr_str gr_keys_unsigned_fn(gr_ctx *, gr_str device);
void gr_keys_read_page(gr_ctx *, const gr_user_keys_query *, gr_keys_unsigned_fn *unsigned_of, gr_user_keys *out);
/* Notes for this user's own devices that keys of a user changed. */
void gr_keys_note(gr_ctx *, gr_str user);
gr_strs gr_keys_noted_after(gr_ctx *, uint64_t position);
/* The user's keys changed: tells the encrypted rooms and the own devices.  Last thing in a handler. */
void gr_keys_announce(gr_user *, gr_ctx *);
void gr_keys_on_spread_timer(gr_user *, gr_ctx *); /* the durable timer "keys" */
gr_str gr_keys_display_name(gr_ctx *, gr_str device);
/* devices.c: these devices were deleted; their rows vanish now and are swept by and by. */
void gr_user_keys_device_gone(gr_ctx *, gr_str device);
void gr_user_keys_devices_gone(gr_user *, gr_ctx *); /* once, after the last of them */
void gr_keys_on_sweep_timer(gr_ctx *);               /* the durable timer "sweep" */

/* --- outward.c: told to the servers that share a room, once it is durable --- */
uint64_t gr_keys_stream_id(gr_ctx *);                /* of the newest update; 0: there was none */
void gr_keys_tell_device(gr_ctx *, gr_str device);   /* what its keys and name are now, or that it has gone */
void gr_keys_tell_signing(gr_ctx *);                 /* what the cross-signing keys are now */

/* --- one_time_keys.c --- */
/* Adds keys ("algorithm:id" -> key) and fallback keys; each may be NULL.  *moved: something changed.  On failure the
 * caller undoes what was written. */
GR_MUST_USE gr_err gr_one_time_keys_add(gr_ctx *, gr_str device, const gr_json *keys, const gr_json *fallback,
                                        bool *moved);
void gr_one_time_keys_sweep(gr_ctx *, gr_str device);
void gr_one_time_keys_on_claim(gr_user *, const gr_user_keys_claim *, gr_ctx *);

/* --- cross_signing.c --- */
void gr_cross_signing_on_upload(gr_user *, const gr_user_cross_signing *, gr_ctx *);
void gr_cross_signing_on_sign(gr_user *, const gr_user_sign *, gr_ctx *);
void gr_cross_signing_on_signed(const gr_user_signed *, gr_ctx *);

/* --- to_device.c --- */
void gr_to_device_on_send(gr_user *, const gr_user_send_to_device *, gr_ctx *);
void gr_to_device_on_put(gr_user *, const gr_to_device_put *, gr_ctx *);
void gr_to_device_gone(gr_ctx *, gr_str device);
bool gr_to_device_sweep(gr_ctx *, gr_str device, uint64_t position); /* true: there may be more */

/* --- backup_keys.c --- */
void gr_backup_on_make(const gr_user_backup_make *, gr_ctx *);
void gr_backup_on_info(const gr_user_backup_info *, gr_ctx *);
void gr_backup_on_set(const gr_user_backup_set *, gr_ctx *);
void gr_backup_on_end(const gr_user_backup_end *, gr_ctx *);
void gr_backup_on_put(const gr_user_backup_put *, gr_ctx *);
void gr_backup_on_drop(const gr_user_backup_drop *, gr_ctx *);
void gr_backup_on_get(const gr_user_backup_get *, gr_ctx *);
void gr_backup_on_sweep_timer(gr_ctx *); /* the durable timer "backup" */
