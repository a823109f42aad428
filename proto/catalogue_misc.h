/* catalogue_misc.h - messages to names, directories, media and createRoom flows (500-599). See catalogue.h. */
#pragma once

#define GR_RECORDS_MISC(R) \
    R(create_flow, "A createRoom flow as it is stored: what was asked, and which step it has reached") \
    R(upgrade_flow, "The upgrade of a room as it is stored: what was asked, and which step it has reached") \
    R(name_row, "A name as it is stored") \
    R(media_row, "An upload as it is stored")

#define GR_FIELDS_name_row(F, L) \
    F(str, holder, PLAIN, 1) F(str, value, PLAIN, 1) F(u64, until_ms, PLAIN, 1)    /* 0: confirmed */ F(u64, uses, PLAIN, 1)
/* missing: reserved, its bytes have not come; until made_ms + GR_MEDIA_RESERVED_MS. */
#define GR_FIELDS_media_row(F, L) \
    F(str, user, PLAIN, 1) F(str, content_type, PLAIN, 1) F(str, name, CONTENT, 1) F(u64, size, PLAIN, 1) \
    F(u64, made_ms, PLAIN, 1) F(bool, missing, PLAIN, 1)
#define GR_FIELDS_create_flow(F, L) \
    F(u64, step, PLAIN, 1) F(str, user, PLAIN, 1) F(str, room_id, PLAIN, 1) F(str, version, PLAIN, 1) \
    F(str, alias, PLAIN, 1) F(str, request, CONTENT, 1) F(str, create_event, CONTENT, 1) \
    F(str, displayname, CONTENT, 1) F(str, avatar_url, CONTENT, 1) \
    F(bool, publish, PLAIN, 1) F(u64, invited, PLAIN, 1) F(u64, tries, PLAIN, 1)

#define GR_MESSAGES_MISC(M) \
    M(500, name_claim, true, "Bind this name if it is free or already the holder's; answered done, or ROOM_IN_USE (aliases), " \
      "USER_IN_USE (others)") \
    M(501, name_confirm, false, "The holder's claim is for good; answered done, or NOT_FOUND when it has run out") \
    M(502, name_release, true, "Free this name if it is the holder's (any holder's when that is empty); answered done") \
    M(503, name_look, false, "What the name stands for, confirmed claims only; answered with result (the value), or NOT_FOUND") \
    M(504, name_use, false, "Use a name that stands for a number of uses (registration tokens); answered done, NOT_FOUND, " \
      "or FORBIDDEN when it is used up or has expired") \
    M(520, room_publish, false, "List the room in the public directory, or no longer; answered done") \
    M(521, directory_put, false, "Posted by a published room to directory/rooms when what the directory shows has changed") \
    M(522, directory_remove, false, "Posted by a room that is no longer published") \
    M(523, room_alias, false, "A local alias of the room was made or removed; the room checks who may; answered done") \
    M(524, room_aliases, false, "Local aliases of the room; answered with result {aliases}") \
    M(525, room_listing, false, "Is the room in the public directory; answered with result {visibility}") \
    M(526, directory_user, false, "Posted by a user actor to directory/users when the account or its profile has changed") \
    M(527, directory_rooms, false, "A page of published rooms; answered with result") \
    M(528, directory_users, false, "Users whose id or name contains a text; answered with result") \
    M(540, media_reserve, false, "Keep this media id for an upload by this user; answered done") \
    M(541, media_put, false, "The bytes are in the media store; answered done, NOT_FOUND, FORBIDDEN or CANNOT_OVERWRITE_MEDIA") \
    M(542, media_look, false, "What is known of an upload; answered with media_is, or NOT_FOUND") \
    M(543, media_is, false, "What is known of an upload") \
    M(530, create_room, false, "createRoom: to create/<random>; answered with result {room_id}") \
    M(505, name_move, false, "A room alias that points to one room is to point to another; answered done") \
    M(531, upgrade_room, false, "Put a new room in the place of one: to upgrade/<room>; answered with result " \
      "{replacement_room}") \
    M(560, report_put, false, "A user reports an event, a room or a user to the owner of the server: to directory/reports; " \
      "answered done") \
    M(561, report_list, true, "Reports, the newest first; answered with result {reports, next}") \
    M(570, registration_token_put, true, "To directory/registration_tokens: let people register with this token; answered " \
      "done, or USER_IN_USE when there is such a token") \
    M(571, registration_token_drop, true, "Nobody registers with this token any more; answered done") \
    M(572, registration_token_list, true, "The tokens; answered with registration_tokens") \
    M(573, registration_tokens, false, "Registration tokens: {registration_tokens, next}") \
    M(580, node_look, false, "From one node's admin port to another's: a request of the owner for that node; answered with " \
      "node_part, or NOT_FOUND when the rest of an answer is no longer kept") \
    M(581, node_part, false, "A part of the answer of a node to its owner")

/* value: JSON; of an alias {"room_id": .., "servers": [..], "creator": user id}.  keep_ms: the claim is dropped unless it
 * is confirmed within that; 0: confirmed at once.  holder: who may confirm and release it; repeats are free. */
#define GR_FIELDS_name_claim(F, L) F(str, holder, PLAIN, 1) F(str, value, PLAIN, 1) F(u64, keep_ms, PLAIN, 1)
/* value: in place of that of the claim; empty: as it is. */
#define GR_FIELDS_name_confirm(F, L) F(str, holder, PLAIN, 1) F(str, value, PLAIN, 1)
/* room_id: only while it is an alias of this room; empty: whatever it stands for. */
#define GR_FIELDS_name_release(F, L) F(str, holder, PLAIN, 1) F(str, room_id, PLAIN, 1)
#define GR_FIELDS_name_look(F, L)
/* holder: who uses it; repeats are free.  Of a registration token the value is {"uses_allowed": number or null,
 * "expiry_time": ms since 1970 or null}. */
#define GR_FIELDS_name_use(F, L) F(str, holder, PLAIN, 1) F(bool, look_only, PLAIN, 1)    /* look_only: it is not counted */

#define GR_FIELDS_room_publish(F, L) F(str, user, PLAIN, 1) F(bool, publish, PLAIN, 1)
/* join_rule: public, knock, invite, restricted, knock_restricted. */
#define GR_FIELDS_directory_put(F, L) \
    F(str, room_id, PLAIN, 1) F(str, alias, PLAIN, 1) F(str, name, CONTENT, 1) F(str, topic, CONTENT, 1) \
    F(str, avatar_url, CONTENT, 1) F(u64, joined, PLAIN, 1) F(bool, world_readable, PLAIN, 1) \
    F(bool, guest_can_join, PLAIN, 1) F(str, join_rule, PLAIN, 1) F(str, room_type, PLAIN, 1)
#define GR_FIELDS_directory_remove(F, L) F(str, room_id, PLAIN, 1)
/* made_by: who made the alias: may always remove it. */
#define GR_FIELDS_room_alias(F, L) F(str, user, PLAIN, 1) F(str, alias, PLAIN, 1) F(bool, add, PLAIN, 1) F(str, made_by, PLAIN, 1)
#define GR_FIELDS_room_aliases(F, L) F(str, user, PLAIN, 1)
#define GR_FIELDS_room_listing(F, L)
#define GR_FIELDS_directory_user(F, L) \
    F(str, user, PLAIN, 1) F(str, displayname, CONTENT, 1) F(str, avatar_url, CONTENT, 1) F(bool, gone, PLAIN, 1)
/* types: only rooms of these types; untyped: and those without one; neither: all.  from: how many to leave out. */
#define GR_FIELDS_directory_rooms(F, L) \
    F(str, term, CONTENT, 1) F(strs, types, PLAIN, 1) F(bool, untyped, PLAIN, 1) F(u64, from, PLAIN, 1) F(u64, limit, PLAIN, 1)
#define GR_FIELDS_directory_users(F, L) F(str, term, CONTENT, 1) F(u64, limit, PLAIN, 1)
#define GR_FIELDS_media_reserve(F, L) F(str, user, PLAIN, 1)
/* reserved: the id was reserved before, by this user; else it is new. */
#define GR_FIELDS_media_put(F, L) \
    F(str, user, PLAIN, 1) F(str, content_type, PLAIN, 1) F(str, name, CONTENT, 1) F(u64, size, PLAIN, 1) \
    F(bool, reserved, PLAIN, 1)
#define GR_FIELDS_media_look(F, L)
#define GR_FIELDS_media_is(F, L) \
    F(str, user, PLAIN, 1) F(str, content_type, PLAIN, 1) F(str, name, CONTENT, 1) F(u64, size, PLAIN, 1) \
    F(bool, missing, PLAIN, 1)
/* shards: a bit for each that can be reached, where the room may lie; empty: all. */
#define GR_FIELDS_create_room(F, L) \
    F(str, user, PLAIN, 1) F(str, request, CONTENT, 1)    /* the body of createRoom */ \
    F(str, displayname, CONTENT, 1) F(str, avatar_url, CONTENT, 1) F(bool, guest, PLAIN, 1) F(str, shards, PLAIN, 1)
/* children: a page of room_children, next: where it goes on; done: how many aliases or children of the page are moved.
 * request, powers, aliases ...: see room_replacement. */
#define GR_FIELDS_upgrade_flow(F, L) \
    F(u64, step, PLAIN, 1) F(u64, tries, PLAIN, 1) F(str, user, PLAIN, 1) F(str, version, PLAIN, 1) \
    F(strs, creators, PLAIN, 1) F(str, displayname, CONTENT, 1) F(str, avatar_url, CONTENT, 1) \
    F(str, room_id, PLAIN, 1) F(str, create_event, CONTENT, 1) F(str, request, CONTENT, 1) F(str, powers, CONTENT, 1) \
    F(strs, aliases, PLAIN, 1) F(strs, made_by, PLAIN, 1) F(str, canonical_alias, CONTENT, 1) F(bool, published, PLAIN, 1) \
    F(str, children, CONTENT, 1) F(str, next, PLAIN, 1) F(u64, done, PLAIN, 1) F(str, shards, PLAIN, 1)
#define GR_FIELDS_upgrade_room(F, L) \
    F(str, user, PLAIN, 1) F(str, version, PLAIN, 1) F(strs, creators, PLAIN, 1)    /* additional ones */ \
    F(str, displayname, CONTENT, 1) F(str, avatar_url, CONTENT, 1) F(str, shards, PLAIN, 1)     /* as in create_room */
/* room_id: what it points to now; one that points elsewhere is left alone.  value: as in name_claim. */
#define GR_FIELDS_name_move(F, L) F(str, room_id, PLAIN, 1) F(str, value, PLAIN, 1)
/* What is reported: an event (with its room), a room, or a user. */
#define GR_FIELDS_report_put(F, L) \
    F(str, user, PLAIN, 1) F(str, room_id, PLAIN, 1) F(str, event_id, PLAIN, 1) F(str, reported, PLAIN, 1) \
    F(str, reason, CONTENT, 1) F(u64, ts, PLAIN, 1)
/* before: `next` of the page before; 0: from the newest. */
#define GR_FIELDS_report_list(F, L) F(u64, before, PLAIN, 1) F(u64, limit, PLAIN, 1)
/* uses_allowed, expiry_ms: 0 for no limit. */
#define GR_FIELDS_registration_token_put(F, L) F(str, token, SECRET, 1) F(u64, uses_allowed, PLAIN, 1) F(u64, expiry_ms, PLAIN, 1)
#define GR_FIELDS_registration_token_drop(F, L) F(str, token, SECRET, 1)
/* after: `next` of the page before. */
#define GR_FIELDS_registration_token_list(F, L) F(str, after, SECRET, 1)
#define GR_FIELDS_registration_tokens(F, L) F(str, body, SECRET, 1)        /* JSON */
/* path: with its query, as on the admin socket.  body: of a POST; empty: GET.  answer: 0, or the answer whose part from
 * `from` on is wanted. */
#define GR_FIELDS_node_look(F, L) \
    F(str, path, PLAIN, 1) F(str, body, SECRET, 1) F(u64, answer, PLAIN, 1) F(u64, from, PLAIN, 1)
/* status, content_type: as of HTTP.  size: of the whole answer.  answer: its number while there is more of it; 0: this was
 * the rest. */
#define GR_FIELDS_node_part(F, L) \
    F(u64, status, PLAIN, 1) F(str, content_type, PLAIN, 1) F(str, bytes, SECRET, 1) F(u64, size, PLAIN, 1) \
    F(u64, answer, PLAIN, 1)
