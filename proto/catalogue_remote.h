/* catalogue_remote.h - messages about users of other servers, and to what tells others of users here (700-739).
 * See catalogue.h.
 *
 * A remote user also takes user_keys_query, user_in_rooms and user_joined_rooms, as a user of this server does: of the rooms
 * shared with users here.
 */
#pragma once

#define GR_RECORDS_REMOTE(R) \
    R(remote_devices_row, "How far the device list of a user of another server is known here") \
    R(herald_row, "An EDU that is to go to all servers which share a room with a user") \
    R(herald_cursor_row, "How far EDUs have gone out") \
    R(presence_row, "What a user has said of their presence")

/* state: a gr_remote_list_state (actors/remote_user/remote_user.h).  stream_id: of the newest update that is in it.  devices:
 * ids of those that have keys.  failures: of fetching the list, in a row. */
#define GR_FIELDS_remote_devices_row(F, L) \
    F(u64, state, PLAIN, 1) F(u64, stream_id, PLAIN, 1) F(strs, devices, PLAIN, 1) F(u64, failures, PLAIN, 1)

/* fold: see destination_queue. */
#define GR_FIELDS_herald_row(F, L) F(str, edu, CONTENT, 1) F(str, fold, PLAIN, 1)
/* upto: EDUs before this number go out; server: they have gone to all servers up to this one. */
#define GR_FIELDS_herald_cursor_row(F, L) F(u64, upto, PLAIN, 1) F(str, server, PLAIN, 1)
#define GR_FIELDS_presence_row(F, L) F(str, status_msg, CONTENT, 1) F(u64, active_ms, PLAIN, 1)

#define GR_MESSAGES_REMOTE(M) \
    M(700, remote_user_room, false, "Posted by a room: a user of another server is now, or no longer, in it with users here") \
    M(701, remote_user_devices, false, "The server of a user tells that a device has changed; answered done") \
    M(702, remote_user_signing, false, "The server of a user tells that cross-signing keys have changed; answered done") \
    M(710, herald_edu, false, "Posted: an EDU about the user for every server that shares a room with them") \
    M(711, herald_presence, false, "The user's presence, for everybody who shares a room with them; may be lost") \
    M(712, room_audience, false, "Servers and shards of who is joined; answered with room_audience_is") \
    M(713, room_audience_is, false, "Some of the servers that are in a room, and the shards with users here") \
    M(714, feed_presence, false, "The presence of a user, for those of this shard who share a room with them") \
    M(715, herald_moved, false, "The user is in other rooms than before") \
    M(720, presence_put, false, "A user says that they are online, unavailable or offline; answered done") \
    M(721, presence_seen, false, "A device of the user has asked for news, or the user did something") \
    M(722, presence_told, false, "The server of a user tells of their presence: to the remote user, who passes it on") \
    M(723, presence_get, false, "A user's presence; answered with result")

#define GR_FIELDS_remote_user_room(F, L) F(str, room_id, PLAIN, 1) F(bool, is_shared, PLAIN, 1)
#define GR_FIELDS_herald_edu(F, L) F(str, edu, CONTENT, 1) F(str, fold, PLAIN, 1)
/* active_ms: when they did something, since 1970; 0: not known. */
#define GR_FIELDS_herald_presence(F, L) \
    F(str, presence, PLAIN, 1) F(str, status_msg, CONTENT, 1) F(u64, active_ms, PLAIN, 1) F(bool, is_active, PLAIN, 1)
#define GR_FIELDS_herald_moved(F, L)
/* after: next of the page before. */
#define GR_FIELDS_room_audience(F, L) F(str, after, PLAIN, 1)
/* joined: members in all. */
#define GR_FIELDS_room_audience_is(F, L) \
    F(strs, servers, PLAIN, 1) F(u64s, shards, PLAIN, 1) F(u64, joined, PLAIN, 1) F(str, next, PLAIN, 1)
/* rooms: shared with users of the shard. */
#define GR_FIELDS_feed_presence(F, L) \
    F(str, user, PLAIN, 1) F(strs, rooms, PLAIN, 1) F(str, presence, PLAIN, 1) F(str, status_msg, CONTENT, 1) \
    F(u64, active_ms, PLAIN, 1) F(bool, is_active, PLAIN, 1)
/* device: whose it is.  has_status: status_msg is set, to nothing when it is empty. */
#define GR_FIELDS_presence_put(F, L) \
    F(str, device, PLAIN, 1) F(str, presence, PLAIN, 1) F(bool, has_status, PLAIN, 1) F(str, status_msg, CONTENT, 1)
/* presence: online or unavailable, as the device asks to be shown, for wait_ms and a while; empty: the user did something. */
#define GR_FIELDS_presence_seen(F, L) \
    F(str, device, PLAIN, 1) F(str, presence, PLAIN, 1) F(u64, wait_ms, PLAIN, 1) \
    F(bool, is_default, PLAIN, 1)         /* the device has not said it: what it said before holds */
#define GR_FIELDS_presence_told(F, L) \
    F(str, presence, PLAIN, 1) F(str, status_msg, CONTENT, 1) F(u64, active_ago_ms, PLAIN, 1)
#define GR_FIELDS_presence_get(F, L)
/* content: of the EDU, JSON. */
#define GR_FIELDS_remote_user_devices(F, L) F(str, content, CONTENT, 1)
#define GR_FIELDS_remote_user_signing(F, L) F(str, content, CONTENT, 1)
