/* feed_private.h - the inside of the feed actor, shared by feed*.c only. */
#pragma once
#include "actors/feed/feed.h"
#include "proto/push.h"

#include <uthash.h>

/* Rows that are older than those kept of a room: deleted as new ones come. */
#define GR_FEED_UPKEEP_ROWS "feed-rows"

/* A member of a room who belongs to this shard. */
typedef struct {
    gr_str user, displayname;      /* owned */
    uint64_t read_at, main_at;     /* up to where everything, or the main timeline, was read, when written since loading; or 0 */
    bool no_marks;                 /* there are no rows q of this user here */
} feed_member;

enum { GR_FEED_RECENT = 4 };

typedef struct {
    UT_hash_handle hh;             /* in order of use */
    gr_feed_head head;
    feed_member *members;
    size_t member_count, member_space;
    bool members_known;
    gr_feed_place recent[GR_FEED_RECENT];  /* of the newest rows since loading; row i at i % GR_FEED_RECENT */
    size_t recent_count;
    uint64_t typing_until_ms;
    uint64_t trimmed_ms;           /* when rows were trimmed last, since loading */
    size_t id_size;
    char id[];
} feed_room;

/* A user of this shard with push rules of their own, compiled when first needed. */
typedef struct { UT_hash_handle hh; gr_arena *arena; const gr_push_rules *rules; size_t id_size; char id[]; } feed_rules;

typedef struct { UT_hash_handle hh; size_t id_size; char id[]; } feed_waiter;

typedef struct feed_presence feed_presence;

struct gr_feed {
    feed_room *rooms;
    feed_presence *presence;       /* in order of change */
    uint64_t presence_woken_ms;
    bool presence_waits;           /* to wake who waits, by the timer "presence" */
    feed_rules *rules;
    bool rules_known;              /* which users have rules: all are read on first use */
    feed_waiter *waiting;
    uint64_t newest;               /* position of the newest change of any room here */
};

/* feed.c */
feed_room *gr_feed_room_get(gr_feed *, gr_ctx *, gr_str room_id);          /* loaded and remembered */
void gr_feed_room_drop(gr_feed *, feed_room *);                            /* from memory */
void gr_feed_members_load(feed_room *, gr_ctx *);
feed_member *gr_feed_member_find(feed_room *, gr_str user);
gr_str gr_feed_room_id(const feed_room *);

/* Everybody of this shard who waits looks again. */
void gr_feed_wake_all(gr_feed *, gr_ctx *);

/* feed_presence.c */
void gr_feed_on_presence(gr_feed *, const gr_feed_presence *, gr_ctx *);
void gr_feed_on_presence_timer(gr_feed *, gr_ctx *);
size_t gr_feed_presence_memory(const gr_feed *);
void gr_feed_presence_drop(gr_feed *);

/* feed_rows.c */
gr_str gr_feed_key(gr_ctx *, char letter, gr_str a, gr_str b);             /* letter a, or letter a 0 b */
gr_str gr_feed_key_at(gr_ctx *, char letter, gr_str a, uint64_t position); /* letter a 0 position */
void gr_feed_head_write(gr_ctx *, gr_str room_id, const gr_feed_head *);
bool gr_feed_head_read(gr_str bytes, gr_feed_head *);
/* A row at this message's position; where the room stands is filled in from its head. */
void gr_feed_append(feed_room *, gr_ctx *, const gr_feed_row *);
bool gr_feed_row_read(gr_str key, gr_str bytes, gr_feed_row *);
/* The newest row whose room position is at most room_pos. */
bool gr_feed_row_of_room_pos(feed_room *, gr_ctx *, uint64_t room_pos, gr_feed_row *);

/* feed_unread.c */
/* What the default rules make of it; counts it, and marks for whom it means something else. */
gr_push_result gr_feed_count_event(gr_feed *, feed_room *, const gr_feed_event *, gr_str event_json, gr_ctx *);
/* The user has read up to a row: everything, or of one thread ("main", or its root).  Never moves backwards. */
void gr_feed_read_up_to(feed_room *, gr_ctx *, gr_str user, gr_str thread, const gr_feed_row *);
void gr_feed_rules_set(gr_feed *, gr_str user, gr_str rules, gr_ctx *);
void gr_feed_rules_drop(gr_feed *);

/* feed_threads.c */
gr_str gr_feed_read_key(gr_ctx *, gr_str room_id, gr_str user, gr_str thread);     /* n <room> 0 <user>, or with 0 <thread> */
gr_str gr_feed_thread_reads(gr_ctx *, gr_str room_id, gr_str user);                /* what the latter begin with */
typedef struct { uint64_t notified, position, changed; } gr_feed_read;
bool gr_feed_read_parse(gr_str bytes, gr_feed_read *);
/* A mark (row q): how the count differs, whether it is a highlight, and the thread. */
typedef struct { int delta; bool highlight; gr_str thread; } gr_feed_mark;
bool gr_feed_mark_parse(gr_str bytes, gr_feed_mark *);
gr_str gr_feed_marks_of(gr_ctx *, gr_str room_id, gr_str user);                    /* what is between q and the position */
/* One more notifying event in a thread, at this message's position; a row that is trimmed takes its own along. */
void gr_feed_thread_count(feed_room *, gr_ctx *, gr_str thread);
void gr_feed_thread_trim(gr_ctx *, gr_str room_id, const gr_feed_row *);

/* feed_purge.c: a room is gone: its rows are deleted, some with each firing of a timer; false when the timer is another. */
void gr_feed_purge_begin(gr_feed *, const gr_feed_purge *, gr_ctx *);
bool gr_feed_purge_on(gr_ctx *, gr_str timer);

/* feed_notes.c */
void gr_feed_note_write(gr_ctx *, gr_str user, const gr_feed_event *, const gr_push_result *);
