/* catalogue_user.h - messages to and from user actors (200-299). See catalogue.h. */
#pragma once

#define GR_RECORDS_USER(R) \
    R(sync_room, "What changed for a user in one room since a token") \
    R(user_account, "An account as its user actor stores it") \
    R(user_device, "A device as its user actor stores it")

/* key: the idempotency key of its making.  Times are ms since 1970. */
#define GR_FIELDS_user_account(F, L) \
    F(str, password_hash, SECRET, 1) F(bool, admin, PLAIN, 1) F(bool, guest, PLAIN, 1) F(bool, deactivated, PLAIN, 1) \
    F(bool, locked, PLAIN, 1) F(str, key, PLAIN, 1) F(u64, made_ms, PLAIN, 1) F(str, appservice, PLAIN, 1) F(bool, erased, PLAIN, 1)
#define GR_FIELDS_user_device(F, L) \
    F(str, display_name, CONTENT, 1) F(str, ip, PLAIN, 1) F(str, agent, PLAIN, 1) F(u64, seen_ms, PLAIN, 1) F(u64, made_ms, PLAIN, 1)

/* section: join invite knock leave.  from_pos..to_pos: room positions to show (to_pos is the own leave for leave). */
#define GR_FIELDS_sync_room(F, L) \
    F(str, room_id, PLAIN, 1) F(str, section, PLAIN, 1) \
    F(u64, from_pos, PLAIN, 1) F(u64, to_pos, PLAIN, 1) \
    F(bool, full, PLAIN, 1)               /* new to this client: full state, limited */ \
    F(bool, gap, PLAIN, 1)                /* the feed was trimmed below the token */ \
    F(bool, events, PLAIN, 1)             /* the timeline or state moved: the room has to be asked */ \
    F(bool, receipts, PLAIN, 1)           /* receipts moved: ask the room for those after receipts_from */ \
    F(u64, receipts_from, PLAIN, 1) \
    F(bool, typing_moved, PLAIN, 1) F(strs, typing, PLAIN, 1) \
    F(u64, notifications, PLAIN, 1) F(u64, highlights, PLAIN, 1) F(bool, counts, PLAIN, 1)    /* counts: to be shown */ \
    F(str, account_data, CONTENT, 1)      /* JSON array of events, or empty */ \
    F(str, stripped, CONTENT, 1)          /* invite, knock: JSON array of stripped state */ \
    F(strs, keys_changed, PLAIN, 1)       /* members whose device keys changed */

#define GR_MESSAGES_USER(M) \
    M(200, user_create, false, "Make this account; answered done, or USER_IN_USE") \
    M(201, user_auth_info, false, "What is needed to judge a login; answered with user_auth_is, also when there is no such user") \
    M(202, user_auth_is, false, "Does the account exist, its password hash, its flags") \
    M(203, user_login, false, "Add or update a device and give it tokens; answered with token_pair by the token index") \
    M(204, user_logout, false, "End devices with their tokens; answered done") \
    M(205, user_password, false, "A new password hash; answered done when the devices to be logged out are") \
    M(206, user_deactivate, true, "End the account for good: tokens, devices, rooms; answered done") \
    M(207, user_devices, false, "One device or all; answered with result") \
    M(208, user_device_put, false, "A new display name of a device; answered done, or NOT_FOUND") \
    M(209, user_seen, false, "A device was used: from where; kept coarsely") \
    M(210, user_membership, false, "Posted by a room when this user's membership in it changed; answers the one who asked") \
    M(220, user_sync, false, "What changed since a token; waits until something has or until_ms; answered with user_changes") \
    M(221, user_changes, false, "Everything of a /sync that is not inside rooms, and which rooms to ask") \
    M(222, user_wake, false, "From the feed of the own shard: a room of a waiting user moved") \
    M(223, user_joined_rooms, false, "Rooms the user is joined to; answered with result {joined_rooms}") \
    M(224, user_forget, false, "Forget a room that was left; answered done") \
    M(225, user_in_rooms, false, "Which of these rooms is the user joined to; answered with user_in_rooms") \
    M(226, user_room_at, false, "Where a sync token stands in a room; answered with user_room_pos") \
    M(228, user_encrypted_rooms, false, "Encrypted rooms the user is joined to; answered with user_in_rooms") \
    M(227, user_room_pos, false, "A room position; 0: before everything") \
    M(240, user_filter_put, false, "Keep a filter; answered with result {filter_id}") \
    M(241, user_filter_get, false, "A filter that was kept; answered with result, or NOT_FOUND") \
    M(230, user_profile, false, "The profile as rooms need it; answered with user_profile_is, or NOT_FOUND") \
    M(231, user_profile_is, false, "Display name and avatar, each empty when there is none") \
    M(232, user_profile_get, false, "The whole profile, or one field; answered with result, or NOT_FOUND") \
    M(233, user_profile_put, false, "Set or remove one field of the profile; answered done")

#define GR_FIELDS_user_create(F, L) \
    F(str, password_hash, SECRET, 1) F(bool, admin, PLAIN, 1) F(bool, guest, PLAIN, 1) F(str, appservice, PLAIN, 1) \
    F(str, key, PLAIN, 1)                 /* who repeats the request with the same key is answered done */
#define GR_FIELDS_user_auth_info(F, L)
#define GR_FIELDS_user_auth_is(F, L) \
    F(bool, exists, PLAIN, 1) F(str, password_hash, SECRET, 1) F(bool, admin, PLAIN, 1) F(bool, guest, PLAIN, 1) \
    F(bool, deactivated, PLAIN, 1) F(bool, locked, PLAIN, 1) F(str, key, PLAIN, 1)
#define GR_FIELDS_user_login(F, L) \
    F(str, device, PLAIN, 1) F(str, display_name, CONTENT, 1) F(bool, refreshable, PLAIN, 1) \
    F(str, ip, PLAIN, 1) F(str, agent, PLAIN, 1)
#define GR_FIELDS_user_logout(F, L) \
    F(strs, devices, PLAIN, 1) F(str, keep, PLAIN, 1)    /* devices: these; empty: all but keep */
#define GR_FIELDS_user_password(F, L) \
    F(str, password_hash, SECRET, 1) F(bool, logout_devices, PLAIN, 1) F(str, keep, PLAIN, 1)
#define GR_FIELDS_user_deactivate(F, L) F(bool, erase, PLAIN, 1)
#define GR_FIELDS_user_devices(F, L) F(str, device, PLAIN, 1)    /* empty: all */
#define GR_FIELDS_user_device_put(F, L) F(str, device, PLAIN, 1) F(str, display_name, CONTENT, 1) F(bool, named, PLAIN, 1)
#define GR_FIELDS_user_seen(F, L) F(str, device, PLAIN, 1) F(str, ip, PLAIN, 1) F(str, agent, PLAIN, 1)
#define GR_FIELDS_user_profile_get(F, L) F(str, field, PLAIN, 1)     /* empty: all */
#define GR_FIELDS_user_profile_put(F, L) \
    F(str, field, PLAIN, 1) F(str, value, CONTENT, 1)    /* JSON; empty: remove */
#define GR_FIELDS_user_membership(F, L) \
    F(str, room_id, PLAIN, 1) F(str, room_version, PLAIN, 1) F(str, membership, PLAIN, 1) \
    F(str, event_id, PLAIN, 1) F(u64, room_pos, PLAIN, 1) F(str, sender, PLAIN, 1) \
    F(str, stripped, CONTENT, 1)          /* invite, knock: JSON array of stripped state incl. the own member event */ \
    F(bool, is_direct, PLAIN, 1) F(bool, encrypted, PLAIN, 1)
#define GR_FIELDS_user_sync(F, L) \
    F(str, device, PLAIN, 1) \
    F(str, since, PLAIN, 1)               /* the token as the client sent it; empty: initial */ \
    F(u64, until_ms, PLAIN, 1)            /* wait for news until then (ms since 1970); 0: answer at once */ \
    F(bool, full_state, PLAIN, 1) F(bool, include_leave, PLAIN, 1) \
    F(str, set_presence, PLAIN, 1)
#define GR_FIELDS_user_changes(F, L) \
    F(str, next_batch, PLAIN, 1) F(bool, initial, PLAIN, 1) \
    L(sync_room, rooms, PLAIN, 1) \
    F(str, account_data, CONTENT, 1)      /* JSON array of events, or empty */ \
    F(str, to_device, CONTENT, 1)         /* JSON array of events, or empty */ \
    F(str, presence, CONTENT, 1) \
    F(strs, keys_changed, PLAIN, 1)       /* own user and others known here already */ \
    F(str, one_time_keys, PLAIN, 1)       /* JSON object: counts */ \
    F(str, fallback_types, PLAIN, 1)      /* JSON array: unused fallback key algorithms */ \
    F(strs, ignored, CONTENT, 1)
#define GR_FIELDS_user_wake(F, L)
#define GR_FIELDS_user_filter_put(F, L) F(str, filter, CONTENT, 1)
#define GR_FIELDS_user_filter_get(F, L) F(str, filter_id, PLAIN, 1)
#define GR_FIELDS_user_encrypted_rooms(F, L)
#define GR_FIELDS_user_joined_rooms(F, L)
#define GR_FIELDS_user_forget(F, L) F(str, room_id, PLAIN, 1)
#define GR_FIELDS_user_in_rooms(F, L) F(strs, rooms, PLAIN, 1)
#define GR_FIELDS_user_room_at(F, L) F(str, room_id, PLAIN, 1) F(str, token, PLAIN, 1)
#define GR_FIELDS_user_room_pos(F, L) F(u64, room_pos, PLAIN, 1) F(u64, position, PLAIN, 1)
#define GR_FIELDS_user_profile(F, L)
#define GR_FIELDS_user_profile_is(F, L) F(str, displayname, CONTENT, 1) F(str, avatar_url, CONTENT, 1)
