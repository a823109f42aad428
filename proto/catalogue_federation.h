/* catalogue_federation.h - HTTP requests to other servers, and messages to what stands for them here (600-659).
 * See catalogue.h.
 */
#pragma once

#define GR_RECORDS_FEDERATION(R) \
    R(fetch, "A request to another server, made elsewhere as work; its result is `fetched`") \
    R(server_key, "A key with which another server signs, or signed once") \
    R(keys_wanted, "A server, and those of its keys that are needed") \
    R(keys_known, "A server, and what is known of its keys") \
    R(server_key_row, "A key of another server as it is stored") \
    R(server_object_row, "What another server published of its keys, as it came and is given to those who ask for it here") \
    R(queue_item_row, "What waits to be delivered: an event of a room here, or text") \
    R(queue_row, "How far a queue is delivered, and the transaction that is under way") \
    R(owed_row, "The newest event of a room that another server has missed") \
    R(catch_up_row, "What another server has missed in all, and the transaction that is under way") \
    R(room_pdu_text, "An event as other servers get it") \
    R(inbound_row, "A transaction of another server that was taken: what it was answered") \
    R(backoff_row, "Since when another server fails, and when it is tried again") \
    R(servers_sending_row, "What goes to the servers of a room, to some of which it did not go yet")

/* public_key: 32 bytes.  valid_until_ms: it signs until then, as far as is known.  expired_ms: it signed until then, and no
 * longer signs requests; 0: it is in use. */
#define GR_FIELDS_server_key(F, L) \
    F(str, key_id, PLAIN, 1) F(str, public_key, PLAIN, 1) F(u64, valid_until_ms, PLAIN, 1) F(u64, expired_ms, PLAIN, 1)
/* key_ids: empty: all.  min_valid_ms: keys in use are to be valid until then at least; 0: it does not matter. */
#define GR_FIELDS_keys_wanted(F, L) F(str, server, PLAIN, 1) F(strs, key_ids, PLAIN, 1) F(u64, min_valid_ms, PLAIN, 1)
/* object: as the server published it, for answers to others; empty if not asked for or not known. */
#define GR_FIELDS_keys_known(F, L) F(str, server, PLAIN, 1) L(server_key, keys, PLAIN, 1) F(str, object, CONTENT, 1)
#define GR_FIELDS_server_key_row(F, L) F(str, public_key, PLAIN, 1) F(u64, valid_until_ms, PLAIN, 1) F(u64, expired_ms, PLAIN, 1)
#define GR_FIELDS_server_object_row(F, L) F(str, object, CONTENT, 1) F(u64, learnt_ms, PLAIN, 1) F(u64, valid_until_ms, PLAIN, 1)
/* text: JSON.  Else the event: its text is asked of the room when it is sent; position: in the room; size: of its text.
 * fold: see destination_queue. */
#define GR_FIELDS_queue_item_row(F, L) \
    F(str, text, CONTENT, 1) F(str, fold, PLAIN, 1) F(str, room_id, PLAIN, 1) F(str, event_id, PLAIN, 1) \
    F(u64, position, PLAIN, 1) F(u64, size, PLAIN, 1)
/* Items first to next - 1 wait; bytes: of their texts.  txn: number of the newest transaction; it goes up to end - 1; end 0:
 * it is over.  ts: of it; hash: of its texts.  refusals: how often it was refused; most: items of the next one, 0: as many
 * as may; set_aside: items given up. */
#define GR_FIELDS_queue_row(F, L) \
    F(u64, first, PLAIN, 1) F(u64, next, PLAIN, 1) F(u64, bytes, PLAIN, 1) F(u64, txn, PLAIN, 1) F(u64, end, PLAIN, 1) \
    F(u64, ts, PLAIN, 1) F(u64, hash, PLAIN, 1) F(u64, refusals, PLAIN, 1) F(u64, most, PLAIN, 1) F(u64, set_aside, PLAIN, 1)
/* number: its place in the order of what is owed.  first: position of the first event that was missed. */
#define GR_FIELDS_owed_row(F, L) \
    F(u64, number, PLAIN, 1) F(str, event_id, PLAIN, 1) F(u64, position, PLAIN, 1) F(u64, first, PLAIN, 1)
/* rooms: owed; next: number of the next one.  is_dropping: the queue was given up and the server has not answered since.
 * hints: device lists queued before this number have been folded to one a user; 0: they are not.  txn, ts, hash, refusals,
 * most, set_aside: as in queue_row.  caught: rooms of which it is known up to which position they were sent; items queued
 * before caught_until may be among that.  errors: events that the server has taken and would not have. */
#define GR_FIELDS_catch_up_row(F, L) \
    F(u64, rooms, PLAIN, 1) F(u64, next, PLAIN, 1) F(bool, is_dropping, PLAIN, 1) F(u64, hints, PLAIN, 1) \
    F(u64, txn, PLAIN, 1) F(u64, ts, PLAIN, 1) F(u64, hash, PLAIN, 1) F(u64, refusals, PLAIN, 1) F(u64, most, PLAIN, 1) \
    F(u64, set_aside, PLAIN, 1) F(u64, caught, PLAIN, 1) F(u64, errors, PLAIN, 1) F(u64, caught_until, PLAIN, 1)
#define GR_FIELDS_room_pdu_text(F, L) F(str, event_id, PLAIN, 1) F(str, pdu, CONTENT, 1)
#define GR_FIELDS_inbound_row(F, L) F(str, reply, CONTENT, 1) F(u64, number, PLAIN, 1)
#define GR_FIELDS_backoff_row(F, L) F(u64, since_ms, PLAIN, 1) F(u64, next_ms, PLAIN, 1) F(u64, failures, PLAIN, 1)
/* after: the last server that it went to.  The others: as in servers_send. */
#define GR_FIELDS_servers_sending_row(F, L) \
    F(str, room_id, PLAIN, 1) F(str, after, PLAIN, 1) F(str, except, PLAIN, 1) F(str, edu, CONTENT, 1) \
    F(str, event_id, PLAIN, 1) F(u64, position, PLAIN, 1) F(u64, size, PLAIN, 1)

/* url: a whole address (of an identity provider, ...) in place of server and uri; any_address: one that the configuration
 * names, so that rules about addresses don't hold.  content_type: empty for JSON.
 * server: a server name, to be resolved.  uri: path and query, encoded.  authorization: the header, may be empty.
 * content: JSON text; empty: no body.  answer_max: bytes of body; more makes it fail.  part_max: the answer comes in parts of so
 * many bytes; 0: whole.  more: of the part before, and nothing else but part_max: the next part.  is_plain: server is a host,
 * asked at port 443 or the one it names. */
#define GR_FIELDS_fetch(F, L) \
    F(str, server, PLAIN, 1) F(str, method, PLAIN, 1) F(str, uri, PLAIN, 1) F(str, authorization, SECRET, 1) \
    F(str, content, SECRET, 1) F(u64, timeout_ms, PLAIN, 1) F(u64, answer_max, PLAIN, 1) F(u64, part_max, PLAIN, 1) \
    F(u64, more, PLAIN, 1) F(bool, is_plain, PLAIN, 1) \
    F(str, url, SECRET, 1) F(bool, any_address, PLAIN, 1) F(str, content_type, PLAIN, 1)

#define GR_MESSAGES_FEDERATION(M) \
    M(600, fetched, false, "A request to another server has ended: what it answered, or why there is no answer") \
    M(601, destination_request, false, "Ask another server: signed, sent, answered with result (its JSON) or its error") \
    M(602, destination_keys, false, "What is known of a server's keys, asked of it if need be; answered with server_keys") \
    M(603, server_keys, false, "Keys of another server") \
    M(604, destination_learn, false, "What a server published of its keys, as a notary gave it; answered with server_keys") \
    M(605, destination_heard, false, "The server has just sent a signed request, so it is worth a try") \
    M(606, destination_queue, false, "Posted: an event of a room, or an EDU that must not be lost, for the server") \
    M(607, destination_volatile, false, "An EDU for the server that may be lost: typing, presence, a receipt") \
    M(608, destination_reset, true, "Try the server again now, and begin with short waits; answered done") \
    M(610, keys_find, false, "Keys of many servers: to keys/<random>; answered with keys_found") \
    M(611, keys_found, false, "Keys of many servers, as far as they could be found") \
    M(620, inbound_begin, false, "A transaction of a server has come; answered with inbound_state, or LIMIT_EXCEEDED") \
    M(621, inbound_state, false, "What the transaction was answered; empty: it is new, and the asker's to take") \
    M(622, inbound_end, false, "All of the transaction was taken, and this is the answer to it; answered done") \
    M(623, inbound_drop, false, "Not all of the transaction could be taken: it is to come again") \
    M(630, room_queued, false, "Events that wait for a server, by their ids; answered with room_outgoing") \
    M(631, room_owed, false, "A server missed events, this the newest of them: what is it to be sent? Likewise") \
    M(632, room_outgoing, false, "Events for another server: those of the ones asked for that there are, or what it is owed") \
    M(640, servers_member, false, "Posted: another server of this shard is in a room from now on, or no longer") \
    M(641, servers_send, false, "An event of a room or an EDU, for the servers in the room") \
    M(642, servers_forget, false, "Posted: the room is gone from here") \
    M(643, servers_rooms, false, "Rooms that another server is in; answered with servers_rooms_page") \
    M(644, servers_rooms_page, false, "Some of the rooms that another server is in") \
    M(645, servers_find, false, "Which of these rooms, all of this shard, has an event?  Answered with servers_found") \
    M(646, servers_found, false, "The room that has the event, or none")

/* failure: a gr_fetch_failure (bus/actor.h); when it is 0, status and body are the answer's, and retry_after_ms what its
 * header asks for.  body: has tokens in it when an identity provider gave it.  text: for people, why it failed.  more: body is
 * a part, and by this number the next one is to be asked for within GR_FETCHER_PART_MS; 0: that was all. */
#define GR_FIELDS_fetched(F, L) \
    F(u64, failure, PLAIN, 1) F(u64, status, PLAIN, 1) F(str, body, SECRET, 1) F(u64, retry_after_ms, PLAIN, 1) \
    F(str, text, PLAIN, 1) F(u64, more, PLAIN, 1)

/* uri: path and query, encoded.  content: JSON text, canonical; empty: no body.  answer_max: bytes; 0: as much as a message
 * may hold.  is_plain: it is an identity server, found by its host name and not signed for, with this token if there is one. */
#define GR_FIELDS_destination_request(F, L) \
    F(str, method, PLAIN, 1) F(str, uri, PLAIN, 1) F(str, content, CONTENT, 1) F(u64, timeout_ms, PLAIN, 1) \
    F(u64, answer_max, PLAIN, 1) F(bool, is_plain, PLAIN, 1) F(str, token, SECRET, 1)
/* See keys_wanted.  cached_only: nobody is asked.  fresh: ask again when half of the time that the keys are valid is over. */
#define GR_FIELDS_destination_keys(F, L) \
    F(strs, key_ids, PLAIN, 1) F(u64, min_valid_ms, PLAIN, 1) F(bool, cached_only, PLAIN, 1) F(bool, fresh, PLAIN, 1) \
    F(bool, with_object, PLAIN, 1)
#define GR_FIELDS_server_keys(F, L) L(server_key, keys, PLAIN, 1) F(str, object, CONTENT, 1)
#define GR_FIELDS_destination_learn(F, L) F(str, object, CONTENT, 1)
#define GR_FIELDS_destination_heard(F, L)
/* edu: JSON text of an EDU.  Else an event of a room here: position: its number in the room; size: of its text, which is
 * asked of the room (room_queued) when it is sent; an event is posted to all servers that are to have it, whatever state they
 * are in.  Who posts an EDU may say what it is about in fold, beginning with the user and a NUL: one that waits gives way to
 * a newer one with the same fold.  Those that fold are device lists. */
#define GR_FIELDS_destination_queue(F, L) \
    F(str, edu, CONTENT, 1) F(str, fold, PLAIN, 1) F(str, room_id, PLAIN, 1) F(str, event_id, PLAIN, 1) \
    F(u64, position, PLAIN, 1) F(u64, size, PLAIN, 1)
/* fold: one that waits gives way to a newer one with the same, not empty.  keep_ms: it is worth nothing after that; 0: until
 * the queue is given up. */
#define GR_FIELDS_destination_volatile(F, L) F(str, edu, CONTENT, 1) F(str, fold, PLAIN, 1) F(u64, keep_ms, PLAIN, 1)
#define GR_FIELDS_destination_reset(F, L)
#define GR_FIELDS_room_queued(F, L) F(strs, event_ids, PLAIN, 1)
/* first: position of the first event that it missed; what came before that has been sent. */
#define GR_FIELDS_room_owed(F, L) F(str, server, PLAIN, 1) F(str, event_id, PLAIN, 1) F(u64, first, PLAIN, 1)
/* position: of what is owed: all events of the room up to it come before these, or are among them; 0: not all. */
#define GR_FIELDS_room_outgoing(F, L) L(room_pdu_text, pdus, PLAIN, 1) F(u64, position, PLAIN, 1)
/* with_object, fresh: as in destination_keys.  via: a server that is asked as a notary for what nobody else knows; what it says
 * is in the answer only, and not kept. */
#define GR_FIELDS_keys_find(F, L) \
    L(keys_wanted, servers, PLAIN, 1) F(bool, with_object, PLAIN, 1) F(bool, fresh, PLAIN, 1) F(str, via, PLAIN, 1)
#define GR_FIELDS_keys_found(F, L) L(keys_known, servers, PLAIN, 1)
#define GR_FIELDS_inbound_begin(F, L) F(str, txn_id, PLAIN, 1)
#define GR_FIELDS_inbound_state(F, L) F(str, reply, CONTENT, 1)
#define GR_FIELDS_inbound_end(F, L) F(str, txn_id, PLAIN, 1) F(str, reply, CONTENT, 1)
#define GR_FIELDS_inbound_drop(F, L) F(str, txn_id, PLAIN, 1)
#define GR_FIELDS_servers_member(F, L) F(str, room_id, PLAIN, 1) F(str, server, PLAIN, 1) F(bool, joined, PLAIN, 1)
/* except: a server that has it already.  also: one that is in the room no longer, or not yet.  event_id, position, size: as in
 * destination_queue.  edu: else; is_volatile, fold, keep_ms: it is one that may be lost, as in destination_volatile. */
#define GR_FIELDS_servers_send(F, L) \
    F(str, room_id, PLAIN, 1) F(str, except, PLAIN, 1) F(str, also, PLAIN, 1) F(str, edu, CONTENT, 1) \
    F(bool, is_volatile, PLAIN, 1) F(str, fold, PLAIN, 1) F(u64, keep_ms, PLAIN, 1) \
    F(str, event_id, PLAIN, 1) F(u64, position, PLAIN, 1) F(u64, size, PLAIN, 1)
#define GR_FIELDS_servers_forget(F, L) F(str, room_id, PLAIN, 1)
/* after: next of the page before this one. */
#define GR_FIELDS_servers_rooms(F, L) F(str, server, PLAIN, 1) F(str, after, PLAIN, 1)
#define GR_FIELDS_servers_find(F, L) F(str, event_id, PLAIN, 1) F(strs, rooms, PLAIN, 1)
#define GR_FIELDS_servers_found(F, L) F(str, room_id, PLAIN, 1)
#define GR_FIELDS_servers_rooms_page(F, L) F(strs, rooms, PLAIN, 1) F(str, next, PLAIN, 1)
