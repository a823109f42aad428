/* graph.h - what the files that move a room's graph and state share: build.c, receive.c, resolve.c, apply.c, move.c,
 * relate.c, cover.c, extremity.c, backward.c, sweep.c, guests.c, servers.c.
 *
 * An event goes through gr_room_store, which gives it numbers and rows, moves the extremities and then the
 * current state, with everything that hangs on the state: members, their intervals and counts, visibility,
 * encryption.
 */
#pragma once
#include "actors/room/chain.h"
#include "actors/room/room.h"

/* build.c: stores an event whose state before is known.  On failure the caller undoes the handler. */
typedef struct {
    uint32_t flags;
    uint64_t before;                   /* root of the state before it; 0 for an outlier */
    uint64_t number;                   /* it is here as an outlier and keeps its number; 0: new */
    bool is_history;                   /* from before the room's stream: found by paging back, and moves nothing */
    bool is_named;                     /* it came late: an event of the stream names it already */
} gr_room_place;
GR_MUST_USE gr_err gr_room_store(gr_room *, gr_ctx *, const gr_event *, gr_str text, const gr_room_place *, gr_room_made *);
/* The state that the extremities have in common becomes the current one; made tells what moved, as after an event. */
GR_MUST_USE gr_err gr_room_move_state(gr_room *, gr_ctx *, gr_room_made *);
void gr_room_put_pos(gr_ctx *, uint64_t pos, gr_pos_kind, uint64_t number, uint64_t root);

/* extremity.c: what a new event follows, at most GR_EVENT_PREV_MAX (in the arena of ctx), and its depth: one more than
 * theirs, as far as the version counts. */
gr_strs gr_room_prevs(const gr_room *, gr_ctx *, int64_t *depth);
/* The one with this id; NULL when it is none. */
const gr_room_extremity *gr_room_extremity_of(const gr_room *, gr_str id);
/* What an event of the stream names is no extremity any more, nor what rejected and soft-failed events between name.
 * True: there was such a one. */
bool gr_room_named(gr_room *, gr_ctx *, gr_strs prevs);
/* The event takes the place of those it names; one that is named itself takes none. */
void gr_room_advance(gr_room *, gr_ctx *, const gr_room_record *, gr_strs prevs, bool is_named);
/* The room is entered again, by a state that another server gave: extremities give way, but for those by which members of
 * this server came to leave and that this state knows nothing of. */
void gr_room_leave_behind(gr_room *, gr_ctx *, uint64_t state);
/* An event that heals a fork and is not shown; has a position no more than a rejected one. */
bool gr_room_is_dummy(const gr_event *);
/* The timer that makes one; false when it is another. */
bool gr_room_heal(gr_room *, gr_ctx *, gr_str timer);

/* backward.c: an event whose predecessors are not all here is a backward extremity, until those come. */
void gr_room_wait_for(gr_room *, gr_ctx *, const gr_room_record *, gr_strs missing);
bool gr_room_is_waited_for(gr_room *, gr_ctx *, gr_str event_id);     /* by an event of the stream */
void gr_room_arrived(gr_room *, gr_ctx *, gr_str event_id);
/* Is there a row of this letter?  A look into all tables of the store, so that most events need none for their own rows. */
bool gr_room_has_any(gr_ctx *, char letter, gr_room_any *known);

/* sweep.c: so many nodes were made on the way to a state, and perhaps are of no use: when they are many, unused nodes
 * are deleted, a few with each firing of a timer; sweep is false when the timer is another. */
void gr_room_loosen(gr_room *, gr_ctx *, uint64_t nodes);
bool gr_room_sweep(gr_room *, gr_ctx *, gr_str timer);

/* cover.c: the chain cover over this room's rows, in the ctx; and the place of an event that is being stored. */
gr_chain gr_room_chain(gr_ctx *);
/* The same with rows that the room remembers; nodes must stay where it is while it is used. */
gr_chain gr_room_chain_known(gr_room_nodes *nodes, gr_room *, gr_ctx *);
void gr_room_cover(gr_room *, gr_ctx *, const gr_event *, const gr_room_record *);
/* False: events of the room may have no place that could have one: it is of a version that gave none. */
bool gr_room_is_covered(gr_ctx *);
/* Row Z of one whose cover is to be made from the first event on. */
gr_str gr_room_cover_begin(gr_arena *);
/* Gives some more their places; what has none and why is skipped. */
void gr_room_cover_step(gr_room *, gr_ctx *, gr_upkeep_done *);
bool gr_room_cover_on(gr_room *, gr_ctx *, gr_str timer);      /* the same by a timer; false when it is another */

/* resolve.c: one root is itself, equal roots too; else state resolution of the room's version.  Nothing may be done after a
 * failure but to end the handler: the room may be waiting for the pool (resolving.h). */
GR_MUST_USE gr_err gr_room_resolve(gr_room *, gr_ctx *, gr_u64s roots, uint64_t *root);

/* apply.c: the current state becomes the one after the event ... */
void gr_room_apply_event(gr_room *, gr_ctx *, gr_room_made *);
/* ... or, after a fork, any other; a state-only entry tells readers what else moved. */
void gr_room_apply_state(gr_room *, gr_ctx *, uint64_t root, gr_room_made *);
/* ... or stays what it is until the pool has resolved what it becomes. */
void gr_room_apply_later(gr_room *, gr_ctx *, const gr_room_made *);
/* What a key of the current state has now, from a position on: number 0 and content NULL when it has nothing.  is_new: it
 * never had anything.  Of a member that was looked up before: the row as it was, and the membership now.  Returns the
 * membership before, of a member. */
typedef struct {
    gr_str type, state_key;
    uint64_t number, pos;
    const gr_json *content;
    bool is_new;
    const gr_room_member_row *row;     /* NULL: not looked up */
    gr_membership now;
} gr_room_moved_key;
gr_membership gr_room_apply_key(gr_room *, gr_ctx *, const gr_room_moved_key *);

/* move.c: the current state becomes another.  The position of the state-only entry; 0: nothing differs, or so much that it
 * moves in steps from here on.  When it has moved at once, members here who were moved are told by the second. */
uint64_t gr_room_move(gr_room *, gr_ctx *, uint64_t root);
void gr_room_tell_moved(gr_room *, gr_ctx *, uint64_t from, uint64_t pos);
/* The same when the current state is not known yet: the pool was asked for it (room->must_wait). */
void gr_room_move_when_resolved(gr_room *, gr_ctx *);
void gr_room_move_at(gr_ctx *, uint64_t delay_ms);             /* sets the timer of the steps; on: false when it is another */
bool gr_room_move_on(gr_room *, gr_ctx *, gr_str timer);

/* build.c: the state that the room is in now: what its extremities have in common. */
GR_MUST_USE gr_err gr_room_current_root(gr_room *, gr_ctx *, uint64_t *root);

/* servers.c: a user of another server has joined (by 1) or is not joined any more (by -1). */
void gr_room_count_server(gr_room *, gr_ctx *, gr_str user, int by);
void gr_room_servers_load(gr_room *, gr_ctx *);
/* The room goes: nothing is sent for it any more. */
void gr_room_forget_servers(gr_room *, gr_ctx *);
/* How many users of a server are joined. */
uint64_t gr_room_server_members(gr_ctx *, gr_str server);
bool gr_room_has_servers(const gr_room *);
/* Of the other servers in the room some with most members, but not this one; at most so many. */
gr_strs gr_room_some_servers(gr_ctx *, gr_str except, size_t most);
/* The event goes to the servers that were in the room before it, but not to the sender's: an event made here, or one that
 * another server has sent through this one. */
void gr_room_post_servers(gr_room *, gr_ctx *, const gr_room_made *);
/* An EDU that may be lost.  content: JSON text.  is_brief: of no use half a minute later. */
void gr_room_send_edu(gr_room *, gr_ctx *, const char *type, gr_str content, bool is_brief);

/* relate.c: relation rows of an event that has one; and a redaction does its work. */
void gr_room_relate(gr_room *, gr_ctx *, const gr_room_made *);
/* An event that came from outside: children that were here before it find their parent, some at once, the others by a
 * timer; relate_more is false when the timer is another. */
void gr_room_relate_late(gr_room *, gr_ctx *, const gr_room_made *);
bool gr_room_relate_more(gr_room *, gr_ctx *, gr_str timer);
void gr_room_unrelate(gr_ctx *, const gr_room_record *, const gr_event *);
/* The target of content's m.relates_to: its number, 0 when there is none here. */
typedef struct { gr_str rel_type, event_id, key; uint64_t target; } gr_room_relation;
bool gr_room_relation_of(gr_ctx *, const gr_json *content, gr_room_relation *);
/* Has sender annotated target with this type and key already? */
bool gr_room_annotated(gr_ctx *, uint64_t target, gr_str sender, gr_str type, gr_str key);

/* guests.c: may a guest join?  GR_GUEST_ACCESS_FORBIDDEN. */
GR_MUST_USE gr_err gr_room_guest_check(gr_room *, gr_ctx *);
/* A member is a guest, or is none any more. */
void gr_room_guest_mark(gr_ctx *, gr_str user, bool guest);
/* m.room.guest_access has become this: guests leave when they are not let in any more. */
void gr_room_guest_access(gr_ctx *, const gr_json *content);
/* The timer by which they do; false when it is another. */
bool gr_room_guests_leave(gr_room *, gr_ctx *, gr_str timer);

/* remotes.c: a user of another server is joined now, or no longer; or one of this server, who may be the first or was the
 * last: then all of the others are told, some with each firing of a timer; remotes_on is false when the timer is another. */
void gr_room_remote_moved(gr_room *, gr_ctx *, gr_str user, bool joined);
void gr_room_local_moved(gr_room *, gr_ctx *, int by);
bool gr_room_is_telling_remotes(gr_ctx *);
bool gr_room_remotes_on(gr_room *, gr_ctx *, gr_str timer);

/* redact.c: marks the target, or waits for it. */
void gr_room_redact(gr_room *, gr_ctx *, const gr_room_made *);
/* An event that came from outside: redactions that were here before it are applied to it, and *made is what they leave. */
void gr_room_redact_late(gr_room *, gr_ctx *, gr_room_made *);
/* An event that is purged waits for nothing to redact any more. */
void gr_room_redact_forget(gr_ctx *, uint64_t number, const gr_event *);
/* The durable timer "redacted": redaction at rest. */
void gr_room_on_redacted_timer(gr_room *, gr_ctx *);
