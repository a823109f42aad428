/* catalogue_room.h - messages to and from room actors (300-399). See catalogue.h.
 *
 * Asks come from the edge on behalf of `user`, who is authenticated; the room decides what they may see and do.
 * Answers that clients see are `result`, ready to be spliced; membership of own users is posted to their user actors.
 */
#pragma once

#define GR_RECORDS_ROOM(R) \
    R(checked_pdu, "An event of another server after the checks that need no room: good, or why it is not") \
    R(incoming_check, "Input of the pool: events to be checked, and the keys for it") \
    R(incoming_checked, "Output of the pool: the same events, checked") \
    R(staged_pdu_row, "An event of another server that the room has yet to take") \
    R(room_waits, "What an event of another server waits for") \
    R(gap_row, "A gap flow that is under way for a room") \
    R(gap_flow_row, "The question of a gap flow") \
    R(room_given_is, "Output of the pool: how a state that was told differs from the current one")

#define GR_MESSAGES_ROOM(M) \
    M(300, room_create, false, "Make this room: the create event is built and hashed, the rest is built here in one batch") \
    M(301, room_send, true, "Send a message, state or redaction event; answered with room_sent") \
    M(302, room_member, true, "Change a membership: join, invite, leave, kick, ban, unban, knock; answered with room_sent") \
    M(303, room_sent, false, "The event is durable (and, for own memberships, the user knows of it)") \
    M(304, room_allows, false, "Whose members may join this restricted room; answered with room_allows_rooms") \
    M(305, room_allows_rooms, false, "Rooms any of which lets its members in; none when the room is not restricted") \
    M(310, room_sync, false, "One room's part of a user's /sync; answered with room_part") \
    M(311, room_part, false, "Pieces of JSON for /sync, each empty when there is nothing") \
    M(320, room_profile, false, "A member's display name or avatar has changed: send a member event if joined here") \
    M(321, room_keys_changed, false, "A member's device keys have changed: tell those who share this room if it is encrypted") \
    M(322, room_forget, false, "A user who left forgets the room: what they were allowed to read is over; answers who asked") \
    M(330, room_messages, false, "A page of history; answered with result {start, end, chunk, state}") \
    M(331, room_context, false, "An event with its neighbours; answered with result or room_piece") \
    M(332, room_event, false, "One event; answered with result") \
    M(333, room_state_get, false, "One state event or its content; answered with result") \
    M(334, room_state_all, false, "The current state, or that at leaving; answered with an array: result or room_piece") \
    M(335, room_members, false, "Member events, now or at a token; answered with {chunk}: result or room_piece") \
    M(336, room_joined_members, false, "Who is joined, with profiles; answered with {joined}: result or room_piece") \
    M(337, room_typing, false, "A member types, or stopped; answered done") \
    M(338, room_receipt, false, "A member has read up to an event; answered done") \
    M(339, room_relations, false, "Events that relate to one; answered with result {chunk, next_batch}") \
    M(340, room_threads, false, "Thread roots, the most recently active first; answered with result {chunk, next_batch}") \
    M(341, room_timestamp, false, "The event closest to a time; answered with result {event_id, origin_server_ts}") \
    M(342, room_summary, false, "What may be told of the room to who is not in it; answered with result") \
    M(343, room_piece, false, "Some of an answer that is too large for one message: ask the same again with its next") \
    M(350, room_replace, false, "What a room that takes the place of this one is to begin with, if the user may do that; " \
      "answered with room_replacement") \
    M(351, room_replacement, false, "Parts of a room, for the one that takes its place") \
    M(352, room_close, false, "Another room takes the place of this one: a tombstone, and nobody talks on; answered done") \
    M(353, room_children, false, "Children of a space, some at a time; answered with room_children_page") \
    M(354, room_children_page, false, "Some of the children of a space") \
    M(360, room_purge_history, true, "Take away history before a time or an event; answered with how far it is") \
    M(361, room_purge_room, true, "Take the whole room away, in which nobody here is; answered with how far it is") \
    M(362, room_purge_status, true, "How far it is: result {purging, next, until, done}; NOT_FOUND once the room is gone") \
    M(380, room_may_fetch, false, "May another server fetch what is in the room?  Answered done, NOT_FOUND or FORBIDDEN") \
    M(381, room_backfill, false, "Events and what came before them, for another server; answered with result [PDU]") \
    M(382, room_missing_events, false, "Events between two sets, for another server; answered with result [PDU], oldest first") \
    M(383, room_fetch_event, false, "One event for another server; answered with result [PDU]") \
    M(384, room_incoming, false, "Events of another server; answered with room_incoming_are when they are staged, or NOT_FOUND") \
    M(385, room_incoming_are, false, "The ids of events that came, and why those are not taken which are not") \
    M(386, gap_fill, false, "Posted: an event waits for others that are not in the room; find them") \
    M(387, room_gap_done, false, "Posted by a gap flow: it has done what it could") \
    M(388, room_gap_look, false, "What do the events of an origin wait for?  Answered with room_gap_is") \
    M(389, room_gap_is, false, "Some of the events that are missing") \
    M(390, room_have, false, "Which of these events are not here?  Answered with room_have_not") \
    M(391, room_have_not, false, "Events that are not in the room") \
    M(392, room_given_put, false, "Some of the ids of a state; answered done") \
    M(393, room_given_make, false, "Make the state of the ids that were put; answered done when it is kept under its name") \
    M(394, gap_back, false, "Find history that is missing, from a depth back; answered done when what could be had is here") \
    M(395, room_back, false, "What history is missing?  Answered with room_back_is; a gap flow is under way from then on") \
    M(396, room_back_is, false, "Events that would go on with history where it ends here, and who may have them") \
    M(397, room_messages_gap, false, "A page that ends where history is missing; the body is that of room_messages")

#define GR_FIELDS_room_create(F, L) \
    F(str, user, PLAIN, 1) F(str, version, PLAIN, 1) \
    F(str, create_event, CONTENT, 1)      /* the whole signed create PDU */ \
    F(str, request, CONTENT, 1)           /* the body of createRoom, JSON */ \
    F(str, displayname, CONTENT, 1) F(str, avatar_url, CONTENT, 1) \
    F(str, alias, PLAIN, 1)               /* reserved full alias or empty */ \
    F(str, key, PLAIN, 1)                 /* idempotency: repeating it answers the same */ \
    F(str, powers, CONTENT, 1)            /* content of power levels that are sent last, or empty */
#define GR_FIELDS_room_send(F, L) \
    F(str, user, PLAIN, 1) F(str, device, PLAIN, 1) \
    F(str, txn, PLAIN, 1)                 /* transaction id with its endpoint ("send", "redact"); empty: not deduplicated */ \
    F(str, type, PLAIN, 1) F(bool, is_state, PLAIN, 1) F(str, state_key, PLAIN, 1) \
    F(str, content, CONTENT, 1)           /* JSON object */ \
    F(str, redacts, PLAIN, 1) \
    F(u64, ts, PLAIN, 1)                  /* appservices may choose; 0: now */ \
    F(bool, guest, PLAIN, 1)              /* the user is a guest */
#define GR_FIELDS_room_member(F, L) \
    F(str, user, PLAIN, 1)                /* who acts */ \
    F(str, target, PLAIN, 1)              /* whose membership changes */ \
    F(str, action, PLAIN, 1)              /* join invite leave kick ban unban knock */ \
    F(str, reason, CONTENT, 1) \
    F(str, displayname, CONTENT, 1) F(str, avatar_url, CONTENT, 1)    /* the target's profile, for join, knock and invite */ \
    F(bool, is_direct, PLAIN, 1) \
    F(str, content, CONTENT, 1)           /* extra members for the event's content: JSON object or empty */ \
    F(str, device, PLAIN, 1) F(str, txn, PLAIN, 1) \
    F(strs, member_of, PLAIN, 1)          /* join: rooms the target is joined to, for restricted rooms */ \
    F(bool, guest, PLAIN, 1)              /* the target is a guest */
#define GR_FIELDS_room_allows(F, L) F(str, user, PLAIN, 1)
/* servers: others in the room whose members may vouch for a join, if nobody here may. */
#define GR_FIELDS_room_allows_rooms(F, L) F(strs, rooms, PLAIN, 1) F(strs, servers, PLAIN, 1)
#define GR_FIELDS_room_sent(F, L) F(str, room_id, PLAIN, 1) F(str, event_id, PLAIN, 1) F(u64, room_pos, PLAIN, 1)

#define GR_FIELDS_room_sync(F, L) \
    F(str, user, PLAIN, 1) F(str, device, PLAIN, 1) \
    F(str, section, PLAIN, 1)             /* join or leave */ \
    F(u64, from_pos, PLAIN, 1)            /* room position seen so far; 0: nothing */ \
    F(u64, to_pos, PLAIN, 1)              /* newest room position that belongs in this answer */ \
    F(bool, full, PLAIN, 1)               /* state as for an initial sync (new to the room, full_state, gap) */ \
    F(bool, state_after, PLAIN, 1)        /* use_state_after: state at the end of the timeline instead of its start */ \
    F(bool, lazy, PLAIN, 1) F(bool, redundant, PLAIN, 1)    /* lazy_load_members, include_redundant_members */ \
    F(u64, limit, PLAIN, 1)               /* of the timeline */ \
    /* RoomEventFilter JSON or empty */ \
    F(str, timeline_filter, CONTENT, 1) F(str, state_filter, CONTENT, 1) F(str, ephemeral_filter, CONTENT, 1) \
    F(strs, ignored, CONTENT, 1)          /* users whose non-state events are left out */ \
    F(bool, gap, PLAIN, 1)                /* the feed was trimmed: answer limited */ \
    F(bool, receipts, PLAIN, 1)           /* include receipts newer than receipts_from */ \
    F(u64, receipts_from, PLAIN, 1) \
    F(str, event_fields, CONTENT, 1)      /* JSON array or empty */ \
    F(str, event_format, PLAIN, 1) \
    F(str, page, CONTENT, 1)              /* next of the part before this one; empty: the first */ \
    F(bool, without_keys, PLAIN, 1)       /* nobody wants keys_joined and keys_left */
#define GR_FIELDS_room_part(F, L) \
    F(str, timeline, CONTENT, 1)          /* JSON array of events */ \
    F(str, prev_batch, PLAIN, 1) F(bool, limited, PLAIN, 1) \
    F(str, state, CONTENT, 1)             /* JSON array: state before the timeline, or after it with state_after */ \
    F(str, receipts, CONTENT, 1)          /* content of one m.receipt event, or empty */ \
    F(str, summary, CONTENT, 1)           /* members of the summary object, or empty when unchanged */ \
    F(bool, encrypted, PLAIN, 1) \
    F(strs, keys_joined, PLAIN, 1)        /* who to list in device_lists.changed: newly joined (all members for a new room) */ \
    F(strs, keys_left, PLAIN, 1)          /* candidates for device_lists.left */ \
    F(u64, end_pos, PLAIN, 1) \
    F(str, next, CONTENT, 1)              /* not empty: there is more of state, keys_joined and keys_left */
/* Parts of JSON text: head of the first page, the items of all with commas between, tail of the last.  next: the page after
 * this one, empty when there is none.  A state walks its immutable version, so that pages fit together. */
#define GR_FIELDS_room_piece(F, L) \
    F(str, head, CONTENT, 1) F(str, items, CONTENT, 1) F(str, tail, CONTENT, 1) F(str, next, CONTENT, 1)

#define GR_FIELDS_room_profile(F, L) \
    F(str, user, PLAIN, 1) F(str, displayname, CONTENT, 1) F(str, avatar_url, CONTENT, 1) F(bool, guest, PLAIN, 1)
#define GR_FIELDS_room_forget(F, L) F(str, user, PLAIN, 1)
#define GR_FIELDS_room_keys_changed(F, L) F(str, user, PLAIN, 1)

/* Places in history are given as pagination tokens, or as room positions that stand for sync tokens (has_*_pos). */
#define GR_FIELDS_room_messages(F, L) \
    F(str, user, PLAIN, 1) F(str, device, PLAIN, 1) \
    F(str, from, PLAIN, 1) F(bool, has_from_pos, PLAIN, 1) F(u64, from_pos, PLAIN, 1) \
    F(str, to, PLAIN, 1) F(bool, has_to_pos, PLAIN, 1) F(u64, to_pos, PLAIN, 1) \
    F(bool, backward, PLAIN, 1) F(u64, limit, PLAIN, 1) \
    F(str, filter, CONTENT, 1)            /* RoomEventFilter JSON or empty */ \
    F(str, start, PLAIN, 1)               /* what the client gave as from: told back */ \
    F(strs, ignored, CONTENT, 1) \
    F(bool, over_gaps, PLAIN, 1)          /* backward: go on behind history that is missing */
#define GR_FIELDS_room_context(F, L) \
    F(str, user, PLAIN, 1) F(str, device, PLAIN, 1) F(str, event_id, PLAIN, 1) F(u64, limit, PLAIN, 1) \
    F(str, filter, CONTENT, 1) F(strs, ignored, CONTENT, 1) F(str, page, CONTENT, 1)
#define GR_FIELDS_room_event(F, L) \
    F(str, user, PLAIN, 1) F(str, device, PLAIN, 1) F(str, event_id, PLAIN, 1) F(strs, ignored, CONTENT, 1)
#define GR_FIELDS_room_state_get(F, L) \
    F(str, user, PLAIN, 1) F(str, type, PLAIN, 1) F(str, state_key, PLAIN, 1) \
    F(bool, whole, PLAIN, 1)              /* the event instead of its content */
#define GR_FIELDS_room_state_all(F, L) F(str, user, PLAIN, 1) F(str, page, CONTENT, 1)
#define GR_FIELDS_room_members(F, L) \
    F(str, user, PLAIN, 1) F(str, at, PLAIN, 1) F(bool, has_at_pos, PLAIN, 1) F(u64, at_pos, PLAIN, 1) \
    F(str, membership, PLAIN, 1) F(str, not_membership, PLAIN, 1) F(str, page, CONTENT, 1)
#define GR_FIELDS_room_joined_members(F, L) F(str, user, PLAIN, 1) F(str, page, CONTENT, 1)
#define GR_FIELDS_room_typing(F, L) F(str, user, PLAIN, 1) F(bool, typing, PLAIN, 1) F(u64, timeout_ms, PLAIN, 1)
#define GR_FIELDS_room_receipt(F, L) \
    F(str, user, PLAIN, 1) F(str, type, PLAIN, 1)    /* m.read, m.read.private, or m.fully_read: only to be checked */ \
    F(str, thread, PLAIN, 1)              /* thread id, "main", or empty: unthreaded */ \
    F(str, event_id, PLAIN, 1)
#define GR_FIELDS_room_relations(F, L) \
    F(str, user, PLAIN, 1) F(str, device, PLAIN, 1) F(str, event_id, PLAIN, 1) \
    F(str, rel_type, PLAIN, 1) F(str, type, PLAIN, 1)    /* empty: all */ \
    F(str, from, PLAIN, 1) F(str, to, PLAIN, 1) F(bool, forward, PLAIN, 1) F(bool, recurse, PLAIN, 1) \
    F(u64, limit, PLAIN, 1) F(strs, ignored, CONTENT, 1)
#define GR_FIELDS_room_threads(F, L) \
    F(str, user, PLAIN, 1) F(str, device, PLAIN, 1) F(bool, participated, PLAIN, 1) F(str, from, PLAIN, 1) \
    F(u64, limit, PLAIN, 1) F(strs, ignored, CONTENT, 1)
/* server: instead of a user, another server asks. */
#define GR_FIELDS_room_timestamp(F, L) \
    F(str, user, PLAIN, 1) F(u64, ts, PLAIN, 1) F(bool, backward, PLAIN, 1) F(str, server, PLAIN, 1)
/* member_of: rooms that the user is in, for restricted ones.  server: instead of a user, another server asks. */
#define GR_FIELDS_room_summary(F, L) F(str, user, PLAIN, 1) F(strs, member_of, PLAIN, 1) F(str, server, PLAIN, 1)
/* creators: additional ones of the new room, where its version has such. */
#define GR_FIELDS_room_replace(F, L) F(str, user, PLAIN, 1) F(str, version, PLAIN, 1) F(strs, creators, PLAIN, 1)
/* create: content of its create event but for the creator; request: as the body of createRoom; powers: see room_create.
 * made_by[i] made the local alias aliases[i].  canonical_alias: content to be moved, or empty. */
#define GR_FIELDS_room_replacement(F, L) \
    F(str, create, CONTENT, 1) F(str, request, CONTENT, 1) F(str, powers, CONTENT, 1) \
    F(strs, aliases, PLAIN, 1) F(strs, made_by, PLAIN, 1) F(str, canonical_alias, CONTENT, 1) F(bool, published, PLAIN, 1)
#define GR_FIELDS_room_close(F, L) F(str, user, PLAIN, 1) F(str, replacement, PLAIN, 1)
/* after: state key of the last child seen.  next: the same for the next page, empty when there is none.  children: JSON array
 * of stripped m.space.child events with origin_server_ts, in order of their state keys. */
#define GR_FIELDS_room_children(F, L) F(str, after, PLAIN, 1)
#define GR_FIELDS_room_children_page(F, L) F(str, children, CONTENT, 1) F(str, next, PLAIN, 1)
/* One of them.  before_ts: ms since 1970. */
#define GR_FIELDS_room_purge_history(F, L) F(str, event_id, PLAIN, 1) F(u64, before_ts, PLAIN, 1)
#define GR_FIELDS_room_purge_room(F, L) F(bool, force, PLAIN, 1)    /* also when users who left have not forgotten it */
#define GR_FIELDS_room_purge_status(F, L)
#define GR_FIELDS_room_may_fetch(F, L) F(str, server, PLAIN, 1)
#define GR_FIELDS_room_backfill(F, L) F(str, server, PLAIN, 1) F(strs, from, PLAIN, 1) F(u64, limit, PLAIN, 1)
#define GR_FIELDS_room_missing_events(F, L) \
    F(str, server, PLAIN, 1) F(strs, earliest, PLAIN, 1) F(strs, latest, PLAIN, 1) F(u64, limit, PLAIN, 1) \
    F(u64, min_depth, PLAIN, 1)
#define GR_FIELDS_room_fetch_event(F, L) F(str, server, PLAIN, 1) F(str, event_id, PLAIN, 1)
/* error: empty when it is good. */
#define GR_FIELDS_checked_pdu(F, L) \
    F(str, event_id, PLAIN, 1) F(str, room_id, PLAIN, 1) F(str, text, CONTENT, 1) F(str, error, PLAIN, 1) F(strs, prevs, PLAIN, 1)
#define GR_FIELDS_incoming_check(F, L) F(str, version, PLAIN, 1) F(strs, pdus, CONTENT, 1) L(keys_known, keys, PLAIN, 1)
#define GR_FIELDS_incoming_checked(F, L) L(checked_pdu, pdus, CONTENT, 1)
/* mode: a gr_incoming_mode (actors/room/incoming.h).  base: the name of the state before it, if that was told, or empty. */
#define GR_FIELDS_staged_pdu_row(F, L) \
    F(str, origin, PLAIN, 1) F(str, event_id, PLAIN, 1) F(str, text, CONTENT, 1) F(u64, mode, PLAIN, 1) \
    F(u64, since_ms, PLAIN, 1) F(str, base, PLAIN, 1) \
    F(bool, was_asked, PLAIN, 1)          /* the policy server was asked to sign it */
/* pdus: JSON texts.  keys: of their signers.  mode, base: as in staged_pdu_row; base_of: the only event that it is for.
 * until_taken: answered when all of them are taken, or wait for others. */
#define GR_FIELDS_room_incoming(F, L) \
    F(str, origin, PLAIN, 1) F(strs, pdus, CONTENT, 1) L(keys_known, keys, PLAIN, 1) F(u64, mode, PLAIN, 1) \
    F(bool, until_taken, PLAIN, 1) F(str, base, PLAIN, 1) F(str, base_of, PLAIN, 1)
#define GR_FIELDS_room_incoming_are(F, L) F(strs, ids, PLAIN, 1) F(strs, errors, PLAIN, 1)
#define GR_FIELDS_room_waits(F, L) F(str, event_id, PLAIN, 1) F(strs, auth, PLAIN, 1) F(strs, prevs, PLAIN, 1)
/* number: of the newest event that the flow is to help. */
#define GR_FIELDS_gap_row(F, L) F(u64, since_ms, PLAIN, 1) F(u64, number, PLAIN, 1)
#define GR_FIELDS_gap_flow_row(F, L) \
    F(str, room_id, PLAIN, 1) F(str, origin, PLAIN, 1) F(str, event_id, PLAIN, 1) F(strs, known, PLAIN, 1) \
    F(u64, depth, PLAIN, 1) F(u64, until_ms, PLAIN, 1) F(strs, servers, PLAIN, 1) F(str, dir, PLAIN, 1) F(u64, ts, PLAIN, 1) \
    F(u64, nearest, PLAIN, 1)
/* known: forward extremities of the room; depth: the least of theirs.  servers: who may be asked when the origin can't help. */
#define GR_FIELDS_gap_fill(F, L) \
    F(str, room_id, PLAIN, 1) F(str, origin, PLAIN, 1) F(str, event_id, PLAIN, 1) F(strs, known, PLAIN, 1) \
    F(u64, depth, PLAIN, 1) F(strs, servers, PLAIN, 1)
/* dir: "f" or "b": not what came before that depth, but the event that is next to ts in this direction, if it is nearer than
 * one at nearest (0: there is none); or empty. */
#define GR_FIELDS_gap_back(F, L) \
    F(str, room_id, PLAIN, 1) F(u64, depth, PLAIN, 1) F(str, dir, PLAIN, 1) F(u64, ts, PLAIN, 1) F(u64, nearest, PLAIN, 1)
#define GR_FIELDS_room_back(F, L) F(u64, depth, PLAIN, 1) F(str, origin, PLAIN, 1)
#define GR_FIELDS_room_back_is(F, L) F(strs, ids, PLAIN, 1) F(strs, servers, PLAIN, 1)
/* depth: of the event that the history is missing before.  count: of the events in the page. */
#define GR_FIELDS_room_messages_gap(F, L) F(str, body, CONTENT, 1) F(u64, depth, PLAIN, 1) F(u64, count, PLAIN, 1)
#define GR_FIELDS_room_gap_done(F, L) F(str, origin, PLAIN, 1)
#define GR_FIELDS_room_gap_look(F, L) F(str, origin, PLAIN, 1)
#define GR_FIELDS_room_gap_is(F, L) F(strs, prevs, PLAIN, 1) F(strs, auth, PLAIN, 1)
#define GR_FIELDS_room_have(F, L) F(strs, ids, PLAIN, 1)
#define GR_FIELDS_room_have_not(F, L) F(strs, ids, PLAIN, 1)
/* first: how many ids come before these. */
#define GR_FIELDS_room_given_put(F, L) F(str, name, PLAIN, 1) F(u64, first, PLAIN, 1) F(strs, ids, PLAIN, 1)
/* count: of the ids. */
#define GR_FIELDS_room_given_make(F, L) F(str, name, PLAIN, 1) F(u64, count, PLAIN, 1)
/* keys[i] has events[i] in it, or nothing (0). */
#define GR_FIELDS_room_given_is(F, L) \
    F(u64, base, PLAIN, 1) F(u64s, keys, PLAIN, 1) F(u64s, events, PLAIN, 1) F(u64, missing, PLAIN, 1) F(u64, headers, PLAIN, 1)
