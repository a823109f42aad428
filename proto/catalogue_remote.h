/* catalogue_remote.h - messages about users of other servers, and to what tells others of users here (700-739).
 * See catalogue.h.
 *
 * A remote user also takes user_keys_query and user_in_rooms, as a user of this server does.
 */
#pragma once

#define GR_RECORDS_REMOTE(R) \
    R(remote_devices_row, "How far the device list of a user of another server is known here")

/* state: a gr_remote_list_state (actors/remote_user/remote_user.h).  stream_id: of the newest update that is in it.  devices:
 * ids of those that have keys.  failures: of fetching the list, in a row. */
#define GR_FIELDS_remote_devices_row(F, L) \
    F(u64, state, PLAIN, 1) F(u64, stream_id, PLAIN, 1) F(strs, devices, PLAIN, 1) F(u64, failures, PLAIN, 1)

#define GR_MESSAGES_REMOTE(M) \
    M(700, remote_user_room, false, "Posted by a room: a user of another server is now, or no longer, in it with users here") \
    M(701, remote_user_devices, false, "The server of a user tells that a device has changed; answered done") \
    M(702, remote_user_signing, false, "The server of a user tells that cross-signing keys have changed; answered done")

#define GR_FIELDS_remote_user_room(F, L) F(str, room_id, PLAIN, 1) F(bool, is_shared, PLAIN, 1)
/* content: of the EDU, JSON. */
#define GR_FIELDS_remote_user_devices(F, L) F(str, content, CONTENT, 1)
#define GR_FIELDS_remote_user_signing(F, L) F(str, content, CONTENT, 1)
