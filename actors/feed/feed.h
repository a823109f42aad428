/* feed.h - the feed of one shard: what happened in which room, in the order in which this shard's users are to see it.
 *
 * A room posts each change once per shard with local members; the feed gives it a shard position.  User actors of the same
 * shard read the feed directly (gr_ctx_sibling): it belongs to the shard.
 *
 *   h <room>               head: newest row's position, room position, receipt position, notifying count
 *   e <room> 0 <position>  a row (gr_feed_row): where room and receipts stood, the count so far, who changed keys
 *   m <room> 0 <user>      members of this shard: display name (for contains_display_name)
 *   n <room> 0 <user>      how far one user has read: notifying events of the main timeline up to there, position, and
 *                          the position at which that changed;   n <room> 0 <user> 0 <thread>: the same of one thread
 *                          ("main", or its root), where that goes further
 *   q <room> 0 <user> 0 <position>   a highlight, or a notification by rules of the user's own, and the thread it is in
 *   y <room> 0 <thread> 0 <position> -> notifying events of a thread so far (feed_threads.c)
 *   Y <room> 0 <position>  -> the same, thread: threads by their newest notifying event
 *   P <room>               a room that is gone: rows up to this position are being deleted (feed_purge.c)
 *   u <user>               push rules of the user's own, JSON
 *   N <user> 0 <position>  where an event meant something else to this user than to most: room, event id, actions (for
 *                          /notifications); the newest GR_FEED_NOTES_KEPT are kept.  N <user>: how many there are
 *
 * Typing and who waits are memory only.  Rows beyond the newest GR_FEED_ROWS_KEPT of a room are trimmed: a token older than
 * that gets the room as a gap.  A room trims GR_FEED_TRIM_STEP at a time and no more often than every GR_FEED_TRIM_MS, so
 * that deleting what is old does not burden a burst; only from GR_FEED_ROWS_MAX on it keeps pace with what comes.
 */
#pragma once
#include "actors/env.h"

enum { GR_FEED_PRESENCE_MAX = 5000, GR_FEED_PRESENCE_WAKE_MS = 2000 };    /* users; who waits is woken no more often */
enum { GR_FEED_ROWS_KEPT = 2000, GR_FEED_ROWS_MAX = 10000, GR_FEED_TRIM_STEP = 64, GR_FEED_TRIM_MS = 4000 };
enum { GR_FEED_HEADS_MAX = 20000, GR_FEED_NOTES_KEPT = 500 };

typedef struct {
    uint64_t position;             /* of the shard */
    uint64_t room_pos;             /* room position readers may see at this row */
    uint64_t receipt_pos;          /* the room's receipt position at this row */
    uint64_t notified;             /* notifying events of the main timeline so far, by the default rules */
    gr_str keys_of;                /* a member whose device keys changed; else empty */
    gr_str sender;                 /* of an event; its own events count as read */
    gr_str rule_id, event_id;      /* which of the default push rules notifies; empty: none does */
    gr_str thread;                 /* of a notifying event: the root of its thread; empty: it is in the main timeline */
    uint64_t ts;                   /* of a notifying event: when it came, ms since 1970 */
} gr_feed_row;

typedef struct {
    uint64_t position;             /* newest row; 0: nothing yet */
    uint64_t oldest;               /* rows below this position were trimmed; 0: none were */
    uint64_t room_pos, receipt_pos, notified;
    uint64_t rows;                 /* kept */
    uint64_t events_at;            /* position of the newest row that moved the room position */
    uint64_t receipts_at;          /* position of the newest row that moved the receipt position */
    uint64_t keys_at;              /* position of the newest row with changed keys */
    uint64_t threads_at;           /* position of the newest notifying event in a thread */
    uint64_t marked_at;            /* position of the newest event that means something else to somebody (row q) */
    uint64_t typing_at;            /* position of the newest change of typing; memory only */
    gr_strs typing;
} gr_feed_head;

typedef struct gr_feed gr_feed;
extern const gr_actor_kind gr_feed_kind;

/* --- for user actors of the same shard (ctx is theirs) ----------------------------------------------------------- */
/* The head of a room's feed; {0} when the shard has none. */
gr_feed_head gr_feed_head_of(gr_ctx *, gr_str room_id);
/* Where the room stood at a position: what had been seen by then. {0}: no row of then is kept (then *trimmed tells whether
 * there were rows). */
typedef struct { uint64_t position, room_pos, receipt_pos; } gr_feed_place;
gr_feed_place gr_feed_place_at(gr_ctx *, gr_str room_id, uint64_t position, bool *trimmed);
/* Members whose device keys changed after a position (at most 256 rows are looked at). */
gr_strs gr_feed_keys_after(gr_ctx *, gr_str room_id, uint64_t position);

enum { GR_FEED_THREADS_MAX = 24 };         /* of a room that are told as unread: the most recently active */

/* Of the main timeline, and of threads in which something is unread.  at: position of their newest change. */
typedef struct {
    uint64_t notifications, highlights, at;
    gr_thread_unread *threads;
    size_t thread_count;
} gr_feed_unread;
gr_feed_unread gr_feed_unread_of(gr_ctx *, gr_str room_id, gr_str user);

/* --- presence (feed_presence.c): memory only --- */
typedef struct {
    gr_str user;
    const char *presence;          /* online, unavailable, offline */
    gr_str status_msg;
    gr_strs rooms;                 /* shared with users of this shard */
    uint64_t position, active_ms;  /* active_ms 0: not known */
    bool is_active;
} gr_feed_presence_of;
/* Those that changed after a position, the newest first; the callback returns false to stop. */
typedef bool gr_feed_presence_fn(void *arg, const gr_feed_presence_of *);
void gr_feed_presence_after(gr_ctx *, uint64_t position, gr_feed_presence_fn *, void *arg);

/* --- what notified a user (feed_notes.c) --- */
typedef struct {
    uint64_t position, ts;
    gr_str room_id, event_id;
    gr_str thread;                 /* empty: the main timeline */
    gr_str actions;                /* JSON array */
    bool notifies, highlight;
    bool personal;                 /* stands for this user in place of the room's note at the same position */
} gr_feed_note;
/* Notes below a position, the newest first: those of a room by the default rules (without the user's own events), or the
 * personal ones when room_id is empty.  Looks at no more than `rows` rows; out has room for as many.  *reached: all from there
 * on was looked at; 0: there is nothing older. */
size_t gr_feed_notes_below(gr_ctx *, gr_str room_id, gr_str user, uint64_t below, size_t rows, gr_feed_note *out,
                           uint64_t *reached);
bool gr_feed_has_read(gr_ctx *, gr_str user, const gr_feed_note *);
