/* user.h - the user actor: one local account, all that belongs to it, and what it has not seen yet.
 *
 * All in the user's own keyspace; positions are the shard's (gr_ctx_position), big-endian.
 *
 *   a                      the account: password hash, flags, profile (account.c)
 *   e <medium> 0 <address> a third-party id (threepids.c)
 *   d <device>             one device: names, last seen, provider (devices.c)
 *   r <room>               membership of this user in a room (rooms.c)
 *   R <position>           room: memberships in the order they changed
 *   g <room> 0 <type>      account data: position, JSON content; room empty for global (account_data.c)
 *   G <position> <room 0 type>   the same again: account data in the order it changed
 *   f <filter id>          filter JSON (filters.c)
 *   p                      push rules of the user, JSON; absent: the defaults (push_rules.c)
 *   t <device> 0 <position>   a to-device event, JSON; deleted when a token past it is presented (to_device.c)
 *   x <device> 0 <txn>     transaction ids of sendToDevice
 *   k ...                  device keys, one-time and fallback keys, cross-signing (keys.c)
 *   b ...                  key backup (backup_keys.c)
 *   C <position>           user id whose device keys changed, seen by this user
 *
 * A waiter is a parked /sync: the asker is kept until something newer than its token arrives or its time is over.
 * Files: user.c (load, dispatch, inspect), rooms.c, sync.c and the ones named above.
 */
#pragma once
#include "actors/env.h"

enum { GR_USER_WAITERS_MAX = 64, GR_TO_DEVICE_PAGE = 100 };

typedef struct {
    gr_str room_id;                /* owned */
    gr_str membership;             /* one of the literals "join" "invite" "knock" "leave" "ban" */
    gr_str version;                /* owned */
    uint64_t position;             /* shard position of the newest change of membership */
    uint64_t joined_at;            /* shard position at which the present join began; 0 unless joined */
    uint64_t room_pos;             /* room position of the newest own member event */
    bool encrypted, is_direct, forgotten;
    bool is_outside;               /* the membership is one in a room that nobody of this server is in */
} gr_user_room;

typedef struct gr_user_waiter gr_user_waiter;

/* Passwords that were tried in vain, from addresses that this user's devices were seen at, or from others. */
typedef struct { uint64_t count, last_ms; } gr_user_guesses;

typedef struct {
    gr_str id;                     /* "@a:b", owned */
    bool exists, admin, guest, deactivated, locked, held;
    gr_str displayname, avatar_url;        /* owned; empty: none */
    gr_user_room *rooms;           /* in order of joining the list */
    size_t room_count, room_space;
    struct gr_user_room_index *index;      /* room id -> number in rooms */
    gr_user_waiter *waiters;
    size_t waiter_count;
    bool told_feed;                /* the feed knows that this user waits */
    uint64_t written_at;           /* nothing was written here after this position; when loaded, the newest there was */
    gr_user_guesses guesses[2];    /* by whether the address is known (guesses.c); memory only */
} gr_user;

extern const gr_actor_kind gr_user_kind;

/* Keys of rows, in the arena of ctx. */
gr_str gr_user_key(gr_ctx *, char letter, gr_str text);
gr_str gr_user_key2(gr_ctx *, char letter, gr_str a, gr_str b);            /* letter a 0 b */
gr_str gr_user_key_number(gr_ctx *, char letter, uint64_t number);
gr_str gr_user_key_text_number(gr_ctx *, char letter, gr_str text, uint64_t number);       /* letter text 0 number */

/* --- user.c --- */
/* To be called by every handler that changed something this user's clients see through /sync: answers who waits. */
void gr_user_changed(gr_user *, gr_ctx *);

/* --- rooms.c --- */
void gr_user_rooms_load(gr_user *, gr_ctx *);
void gr_user_rooms_drop(gr_user *);
gr_user_room *gr_user_room_find(gr_user *, gr_str room_id);
bool gr_user_stripped(gr_ctx *, gr_str room_id, gr_str *json);             /* of an invite or knock */
void gr_user_on_membership(gr_user *, const gr_user_membership *, gr_ctx *);
void gr_user_on_outside(gr_user *, const gr_user_outside *, gr_ctx *);
void gr_user_on_outside_look(gr_user *, const gr_user_outside_look *, gr_ctx *);
void gr_user_on_joined_rooms(gr_user *, gr_ctx *);
void gr_user_on_forget(gr_user *, const gr_user_forget *, gr_ctx *);
void gr_user_on_in_rooms(gr_user *, const gr_user_in_rooms *, gr_ctx *);
void gr_user_on_encrypted_rooms(gr_user *, gr_ctx *);

/* --- sync.c --- */
void gr_user_on_sync(gr_user *, const gr_user_sync *, gr_ctx *);
void gr_user_on_wake(gr_user *, gr_ctx *);                                 /* looks at all waiters again */
void gr_user_on_wait_timer(gr_user *, gr_ctx *);                           /* the volatile timer "wait" */
void gr_user_on_room_at(gr_user *, const gr_user_room_at *, gr_ctx *);
void gr_user_waiters_drop(gr_user *);

/* --- what /sync asks the other files --- */
/* account_data.c: events changed after a position, each as {"type","content"}; global ones appended to `global` separated by
 * commas, those of rooms told one by one, from rooms_after (<= after) on, with the position of the change.  initial: nothing was
 * seen yet, the push rules are told even if never changed. */
typedef void gr_user_room_data_fn(void *arg, gr_str room_id, uint64_t position, gr_str event_json);
void gr_user_account_data_after(gr_ctx *, bool initial, uint64_t after, uint64_t rooms_after, gr_buf *global,
                                gr_user_room_data_fn *, void *arg);
void gr_user_account_data_of_room(gr_ctx *, gr_str room_id, gr_user_room_data_fn *, void *arg);    /* all of one room */
gr_strs gr_user_ignored_list(gr_ctx *);                                    /* m.ignored_user_list */
bool gr_user_blocks_invites(gr_ctx *);                                     /* m.invite_permission_config */
void gr_user_on_ignored(gr_ctx *);
/* to_device.c: deletes what was delivered (positions <= acked), appends at most GR_TO_DEVICE_PAGE newer events separated by
 * commas; *upto is the position of the last one told, or acked. */
void gr_user_to_device_take(gr_ctx *, gr_str device, uint64_t acked, gr_buf *out, uint64_t *upto);
bool gr_user_to_device_waits(gr_ctx *, gr_str device, uint64_t acked);     /* is there any newer one */
/* keys.c: JSON of device_one_time_keys_count and device_unused_fallback_key_types; the position of their newest change. */
void gr_user_key_counts(gr_ctx *, gr_str device, gr_str *counts, gr_str *fallback);
uint64_t gr_user_key_counts_at(gr_ctx *, gr_str device);
