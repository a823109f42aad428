/* catalogue_membership.h - joins, leaves, knocks and invites between servers (660-699). See catalogue.h.
 *
 * What a room is asked on behalf of another server comes from the edge, which knows that server (`origin`) by its signature.
 */
#pragma once

#define GR_RECORDS_MEMBERSHIP(R) \
    R(held_event, "An event of the state, or its auth chain, of a room that is being joined") \
    R(join_flow, "A join through another server as it is stored: what was asked, and which step it has reached") \
    R(policy_flow_row, "The question of a policy flow")

/* text: canonical JSON, checked.  is_state: of the state before the join, not just of its auth chain. */
#define GR_FIELDS_held_event(F, L) F(str, text, CONTENT, 1) F(bool, is_state, PLAIN, 1)
/* servers: those to be tried; next: the one that is tried, or comes next.  event: the signed join.  code, text: what the last
 * one that failed said, to be told when none is left.  made_room: the room was not here before.  is_here: see join_room.
 * key_round: how often keys were asked for before; keys_until_ms: no round begins after that. */
#define GR_FIELDS_join_flow(F, L) \
    F(u64, step, PLAIN, 1) F(u64, tries, PLAIN, 1) F(str, user, PLAIN, 1) F(str, content, CONTENT, 1) F(strs, servers, PLAIN, 1) \
    F(u64, next, PLAIN, 1) F(str, version, PLAIN, 1) F(str, event_id, PLAIN, 1) F(str, event, CONTENT, 1) \
    F(u64, code, PLAIN, 1) F(str, text, PLAIN, 1) F(bool, made_room, PLAIN, 1) F(bool, is_here, PLAIN, 1) \
    F(bool, guest, PLAIN, 1) F(u64, key_round, PLAIN, 1) F(u64, keys_until_ms, PLAIN, 1)

#define GR_MESSAGES_MEMBERSHIP(M) \
    M(660, room_admission, false, "Another server wants a user of its in or out; answered with room_admits, NOT_FOUND when " \
      "nobody of this server is in the room, FORBIDDEN by its ACL") \
    M(661, room_admits, false, "What is to be known of a room before another server's user may join") \
    M(662, room_has_member, false, "What is this user, of any server, in the room?  Answered with room_membership_is; " \
      "NOT_FOUND when nobody of this server is in the room") \
    M(663, room_membership_is, false, "Somebody's membership") \
    M(664, room_template, false, "A member event for another server to sign; answered with result {event, room_version}") \
    M(665, room_offer, false, "A join, leave or knock that another server has made of a template, its signatures checked; " \
      "answered with room_taken") \
    M(666, room_taken, false, "The event is durable and in the room") \
    M(667, room_list, false, "Which events are the state before an event, or that state's auth chain; answered with " \
      "room_listed") \
    M(668, room_listed, false, "Events of a room by their numbers in it, ascending") \
    M(669, room_pdus, false, "Events of a room as other servers get them; answered with room_pdus_are") \
    M(670, room_pdus_are, false, "As many of the events as fit a message") \
    M(671, user_outside, false, "A membership of this user in a room that nobody of this server is in: an invite, a knock, or " \
      "the end of one; answered with room_sent, NOT_FOUND when there is no such user, or INVITE_BLOCKED") \
    M(672, user_outside_look, false, "What is this user's membership in a room; answered with user_outside_is") \
    M(673, user_outside_is, false, "A membership, and whether it is one in a room that nobody of this server is in") \
    M(674, room_invite, false, "Make an invite for a user of another server, which the room takes once that server has signed " \
      "it; answered with room_invited") \
    M(675, room_invited, false, "A signed invite, and what tells the invited user of the room") \
    M(676, room_unsigned, false, "Answer to who sends an event: the policy server of the room is to sign it first; then it is " \
      "offered with that signature") \
    M(677, policy_begin, false, "Posted by a room: have its policy server sign an event that nobody waits for") \
    M(678, room_policy_said, false, "Posted by a policy flow: what the policy server said of an event of another server") \
    M(680, join_room, false, "To join/<room>: join it through other servers; answered with room_joined, or the best error") \
    M(681, room_joined, false, "A user of this server is in the room, so others of it may join by themselves") \
    M(682, room_fill, false, "Events that a joining server was given, oldest first; answered with room_filled, or ROOM_IN_USE " \
      "when somebody of this server is in the room") \
    M(683, room_filled, false, "What became of them") \
    M(684, room_enter, false, "All of the state is held: it becomes the room's, and the join is in it; answered with room_sent")

/* membership: what the user is to become: join, leave or knock. */
#define GR_FIELDS_room_admission(F, L) F(str, origin, PLAIN, 1) F(str, user, PLAIN, 1) F(str, membership, PLAIN, 1)
/* must_vouch: it is a join that a member here has to vouch for, if the user is joined to one of rooms. */
#define GR_FIELDS_room_admits(F, L) F(str, version, PLAIN, 1) F(bool, must_vouch, PLAIN, 1) F(strs, rooms, PLAIN, 1)
/* server: instead of a user: is any of its users joined? */
#define GR_FIELDS_room_has_member(F, L) F(str, user, PLAIN, 1) F(str, server, PLAIN, 1)
#define GR_FIELDS_room_membership_is(F, L) F(str, membership, PLAIN, 1)
/* member_of: rooms the user is joined to, for restricted rooms. */
#define GR_FIELDS_room_template(F, L) \
    F(str, origin, PLAIN, 1) F(str, user, PLAIN, 1) F(str, membership, PLAIN, 1) F(strs, member_of, PLAIN, 1)
/* event: canonical JSON, as gr_event_check has left it. */
#define GR_FIELDS_room_offer(F, L) \
    F(str, origin, PLAIN, 1) F(str, event, CONTENT, 1) F(strs, member_of, PLAIN, 1) \
    F(bool, is_invite, PLAIN, 1)          /* by a user of this server, signed by that of the invited user too */ \
    F(bool, is_own, PLAIN, 1)             /* by a user here, signed by the policy server; device, txn: see room_send */ \
    F(bool, unsigned_too, PLAIN, 1)       /* is_own: it is taken without that signature */ \
    F(bool, guest, PLAIN, 1)              /* is_own: the sender is one */ \
    F(bool, was_asked, PLAIN, 1)          /* not is_own: the policy server was asked to sign it */ \
    F(str, device, PLAIN, 1) F(str, txn, PLAIN, 1)
/* state: of a knock, what tells its user of the room: JSON array of PDUs. */
#define GR_FIELDS_room_taken(F, L) F(str, event_id, PLAIN, 1) F(str, state, CONTENT, 1)
/* chain: the auth chain of the event and of the state before it, instead of that state; without_state: only what is not in the
 * state.  without_before: the auth chain of the event alone.  after: the last number that was told; 0: from the first. */
#define GR_FIELDS_room_list(F, L) \
    F(str, event_id, PLAIN, 1) F(bool, chain, PLAIN, 1) F(bool, without_state, PLAIN, 1) F(u64, after, PLAIN, 1) \
    F(bool, without_before, PLAIN, 1)
#define GR_FIELDS_room_listed(F, L) F(u64s, numbers, PLAIN, 1) F(bool, more, PLAIN, 1)
#define GR_FIELDS_room_pdus(F, L) F(u64s, numbers, PLAIN, 1) F(bool, ids_only, PLAIN, 1)
/* items: JSON, with commas between; count: of how many of the numbers. */
#define GR_FIELDS_room_pdus_are(F, L) F(str, items, CONTENT, 1) F(u64, count, PLAIN, 1)
/* stripped, is_direct: see user_membership.  An invite or knock does not touch a join; leave and ban end nothing but an
 * invite or knock; is_rescinded: one whose stripped state is by users of the sender's server, too. */
#define GR_FIELDS_user_outside(F, L) \
    F(str, room_id, PLAIN, 1) F(str, room_version, PLAIN, 1) F(str, membership, PLAIN, 1) F(str, event_id, PLAIN, 1) \
    F(str, sender, PLAIN, 1) F(str, stripped, CONTENT, 1) F(bool, is_direct, PLAIN, 1) F(bool, encrypted, PLAIN, 1) \
    F(bool, is_rescinded, PLAIN, 1)
/* content: JSON object of the member event without membership.  servers: to be asked, the best first.  is_here: the room is, but
 * nobody of this server may vouch for the join: nothing but that is asked of others. */
#define GR_FIELDS_join_room(F, L) \
    F(str, user, PLAIN, 1) F(str, content, CONTENT, 1) F(strs, servers, PLAIN, 1) F(bool, is_here, PLAIN, 1) \
    F(bool, guest, PLAIN, 1)              /* the user is one */
#define GR_FIELDS_room_joined(F, L) F(str, user, PLAIN, 1) F(str, event_id, PLAIN, 1)
/* first: nothing was given before.  The first event of a room that is not here is its create event. */
#define GR_FIELDS_room_fill(F, L) F(str, version, PLAIN, 1) F(bool, first, PLAIN, 1) L(held_event, events, PLAIN, 1)
/* count: how many were looked at: the others are to be given again.  refused: not held, or rejected.  is_new: the room was not
 * here before it was joined. */
#define GR_FIELDS_room_filled(F, L) F(u64, count, PLAIN, 1) F(u64, refused, PLAIN, 1) F(bool, is_new, PLAIN, 1)
/* is_here: the room is, and takes the event as one of the stream; UNAVAILABLE while that cites what is not here.
 * left_out: ids of events of the state that could not be checked. */
#define GR_FIELDS_room_enter(F, L) \
    F(str, event, CONTENT, 1) F(bool, is_here, PLAIN, 1) F(bool, guest, PLAIN, 1) F(strs, left_out, PLAIN, 1)
#define GR_FIELDS_user_outside_look(F, L) F(str, room_id, PLAIN, 1)
/* membership: empty when there is none.  users: of an invite or knock, who made its stripped state, the inviter first: their
 * servers know the room. */
#define GR_FIELDS_user_outside_is(F, L) \
    F(str, membership, PLAIN, 1) F(bool, is_outside, PLAIN, 1) F(strs, users, PLAIN, 1) F(str, room_version, PLAIN, 1)
/* third_party: JSON of content.third_party_invite, or empty.  content: JSON of the whole content
 * instead, or empty. */
#define GR_FIELDS_room_invite(F, L) \
    F(str, user, PLAIN, 1) F(str, target, PLAIN, 1) F(str, reason, CONTENT, 1) F(bool, is_direct, PLAIN, 1) \
    F(str, third_party, CONTENT, 1) F(str, content, CONTENT, 1)
/* via: the policy server. */
#define GR_FIELDS_room_unsigned(F, L) \
    F(str, via, PLAIN, 1) F(str, event, CONTENT, 1)
/* event_id: of another server's event, with body its PDU and via the policy server; or empty: then body is a message of that
 * type, encoded, which makes an event if the room gets it.  must: the event is sent even if it is not signed. */
#define GR_FIELDS_policy_begin(F, L) \
    F(str, room_id, PLAIN, 1) F(str, event_id, PLAIN, 1) F(str, via, PLAIN, 1) F(u64, type, PLAIN, 1) F(str, body, CONTENT, 1) \
    F(bool, must, PLAIN, 1)
#define GR_FIELDS_policy_flow_row(F, L) GR_FIELDS_policy_begin(F, L) F(u64, tries, PLAIN, 1) F(u64, until_ms, PLAIN, 1)
/* event: the PDU with the signature; empty: it was refused, or could not be asked for (is_away: nothing can, for now). */
#define GR_FIELDS_room_policy_said(F, L) F(str, event_id, PLAIN, 1) F(str, event, CONTENT, 1) F(bool, is_away, PLAIN, 1)
/* state: JSON array of PDUs.  via: the policy server, which is to sign it first; or empty. */
#define GR_FIELDS_room_invited(F, L) \
    F(str, version, PLAIN, 1) F(str, event, CONTENT, 1) F(str, event_id, PLAIN, 1) F(str, state, CONTENT, 1) \
    F(str, via, PLAIN, 1)
