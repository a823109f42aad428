/* catalogue_user.h - messages to and from user actors (200-299). See catalogue.h. */
#pragma once

#define GR_RECORDS_USER(R) \
    R(thread_unread, "What a user has not read of one thread") \
    R(sync_room, "What changed for a user in one room since a token") \
    R(user_account, "An account as its user actor stores it") \
    R(notification, "An event that notified a user") \
    R(user_device, "A device as its user actor stores it") \
    R(user_threepid, "A third-party id of an account as its user actor stores it") \
    R(user_key_count, "How many one-time keys of an algorithm a device has left") \
    R(user_key_summary, "Counts of a device's one-time keys, its unused fallback keys, and when they last changed") \
    R(user_inbox, "What the to-device inbox of a device holds") \
    R(user_backup, "A version of the key backup") \
    R(user_backup_session, "The key of one session in a backup") \
    R(user_to_device, "To-device messages for one user")

#define GR_FIELDS_user_key_count(F, L) F(str, algorithm, PLAIN, 1) F(u64, count, PLAIN, 1)
#define GR_FIELDS_user_key_summary(F, L) F(u64, at, PLAIN, 1) L(user_key_count, counts, PLAIN, 1) F(strs, unused, PLAIN, 1)
/* dropped: by the limit, ever.  floor: rows up to this position belonged to an earlier device of that id. */
#define GR_FIELDS_user_inbox(F, L) F(u64, count, PLAIN, 1) F(u64, dropped, PLAIN, 1) F(u64, floor, PLAIN, 1)
#define GR_FIELDS_user_backup(F, L) \
    F(str, algorithm, PLAIN, 1) F(str, auth_data, CONTENT, 1) F(u64, etag, PLAIN, 1) F(u64, count, PLAIN, 1)
#define GR_FIELDS_user_backup_session(F, L) F(str, room, PLAIN, 1) F(str, session, PLAIN, 1) F(str, data, CONTENT, 1)
/* devices: JSON object, device id or "*" -> content. */
#define GR_FIELDS_user_to_device(F, L) F(str, user, PLAIN, 1) F(str, devices, CONTENT, 1)

/* key: the idempotency key of its making.  Times are ms since 1970. */
#define GR_FIELDS_user_account(F, L) \
    F(str, password_hash, SECRET, 1) F(bool, admin, PLAIN, 1) F(bool, guest, PLAIN, 1) F(bool, deactivated, PLAIN, 1) \
    F(bool, locked, PLAIN, 1) F(str, key, PLAIN, 1) F(u64, made_ms, PLAIN, 1) F(str, appservice, PLAIN, 1) \
    F(bool, erased, PLAIN, 1) \
    F(u64, valid_until_ms, PLAIN, 1)      /* 0: for ever */ \
    F(str, renew_hash, SECRET, 1)         /* of what the newest mail about it said */ \
    F(bool, held, PLAIN, 1)               /* its tokens are refused: the validity has run out */ \
    F(strs, terms, PLAIN, 1) F(u64, terms_ms, PLAIN, 1)      /* as in user_create, and when they were agreed to */
#define GR_FIELDS_user_threepid(F, L) \
    F(u64, added_ms, PLAIN, 1) F(u64, validated_ms, PLAIN, 1) F(str, language, PLAIN, 1)
#define GR_FIELDS_user_device(F, L) \
    F(str, display_name, CONTENT, 1) F(str, ip, PLAIN, 1) F(str, agent, PLAIN, 1) F(u64, seen_ms, PLAIN, 1) \
    F(u64, made_ms, PLAIN, 1) \
    F(str, client, PLAIN, 1) F(str, grant, PLAIN, 1)     /* of the OAuth 2.0 API: who was given it by which grant */ \
    F(str, provider, PLAIN, 1) F(str, session, SECRET, 1)    /* as in user_login */ \
    F(u64, login_ms, PLAIN, 1) F(str, subject, CONTENT, 1)

#define GR_FIELDS_thread_unread(F, L) F(str, thread, PLAIN, 1) F(u64, notifications, PLAIN, 1) F(u64, highlights, PLAIN, 1)
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
    F(u64, notifications, PLAIN, 1) F(u64, highlights, PLAIN, 1)      /* of the main timeline */ \
    L(thread_unread, threads, PLAIN, 1) F(bool, counts, PLAIN, 1)     /* counts: to be shown */ \
    F(str, account_data, CONTENT, 1)      /* JSON array of events, or empty */ \
    F(str, stripped, CONTENT, 1)          /* invite, knock: JSON array of stripped state */ \
    F(strs, keys_changed, PLAIN, 1)       /* members whose device keys changed */

#define GR_MESSAGES_USER(M) \
    M(265, user_keys_upload, false, "Device, one-time and fallback keys; answered with result {one_time_key_counts}") \
    M(266, user_keys_query, false, "Device and cross-signing keys of this user; answered with user_keys, or NOT_FOUND") \
    M(267, user_keys, false, "A page of device keys; with the first page the cross-signing keys") \
    M(268, user_keys_claim, false, "Take a one-time key of each of these devices; answered with result {device: {key id: key}}") \
    M(269, user_cross_signing, false, "Cross-signing keys of the user; answered done, or user_auth_needed") \
    M(270, user_auth_needed, false, "The change is right, but needs user-interactive authentication") \
    M(271, user_sign, false, "Signatures this user has made; answered with result {user: {key id: error}}: those that failed") \
    M(272, user_signed, false, "Signatures this user has made on others' keys; answered with result {user: {key id: {..}}}") \
    M(273, user_send_to_device, false, "Send to-device messages, once per transaction id and part; answered done") \
    M(274, to_device_put, false, "To-device messages for devices of this user; answered done, whatever became of them") \
    M(275, user_backup_make, false, "A new version of the key backup; answered with result {version}") \
    M(276, user_backup_info, false, "A version of the backup, else the newest; answered with result, or NOT_FOUND") \
    M(277, user_backup_set, false, "New auth_data of a version; answered done, NOT_FOUND or INVALID_PARAM") \
    M(278, user_backup_end, false, "Delete a version with its keys; answered done, or NOT_FOUND") \
    M(279, user_backup_put, false, "Keys for the newest version, merged with those there; answered with user_backup_state") \
    M(280, user_backup_drop, false, "Delete keys of a version; answered with user_backup_state: more: ask again") \
    M(281, user_backup_get, false, "Keys of a version; answered with user_backup_page, or NOT_FOUND") \
    M(282, user_backup_page, false, "Some keys of a backup, in order of room and session") \
    M(283, user_backup_state, false, "A backup after a change; current: the change was refused, this version is the newest") \
    M(200, user_create, false, "Make this account; answered done, or USER_IN_USE") \
    M(201, user_auth_info, false, "What is needed to judge a login; answered with user_auth_is, also for nobody") \
    M(202, user_auth_is, false, "Does the account exist, its password hash, its flags") \
    M(203, user_login, false, "Add or update a device and give it tokens; answered with token_pair by the token index") \
    M(204, user_logout, false, "End devices with their tokens; answered done") \
    M(205, user_password, false, "A new password hash; answered done when the devices to be logged out are") \
    M(206, user_deactivate, true, "End the account for good: tokens, devices, rooms; answered done") \
    M(207, user_devices, false, "One device or all; answered with result") \
    M(208, user_device_put, false, "A new display name of a device; answered done, or NOT_FOUND") \
    M(291, user_threepid_put, false, "The account has this third-party id, whose name is claimed for it; answered done") \
    M(292, user_threepids, false, "Third-party ids of the account; answered with result {threepids}") \
    M(293, user_threepid_drop, false, "The account no longer has this third-party id; answered done") \
    M(294, user_valid, true, "The account is valid until then (0: for ever); answered done") \
    M(295, user_renew, false, "What a mail about the validity said: it is renewed; answered done, or FORBIDDEN") \
    M(290, user_guessed, false, "The password that was tried from this address was right") \
    M(209, user_seen, false, "A device was used: from where; kept coarsely") \
    M(210, user_membership, false, "Posted by a room when this user's membership in it changed; answers the one who asked") \
    M(220, user_sync, false, "What changed since a token; waits wait_ms for something that has; answered with user_changes") \
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
    M(233, user_profile_put, false, "Set or remove one field of the profile; answered done") \
    M(242, user_account_data_put, false, "Set account data, of a room unless that is empty; answered done") \
    M(243, user_account_data_get, false, "Account data; answered with result, or NOT_FOUND") \
    M(244, user_tag_put, false, "Tag a room; answered done") \
    M(245, user_tag_delete, false, "Take a tag from a room; answered done") \
    M(246, user_tag_list, false, "Tags of a room; answered with result {tags}") \
    M(247, user_push_rules_get, false, "Push rules, or the part named by path; answered with result, or NOT_FOUND") \
    M(248, user_push_rule_put, false, "Add or change a push rule, or one attribute of it; answered done") \
    M(249, user_push_rule_delete, false, "Delete a push rule; answered done, or NOT_FOUND") \
    M(250, user_notifications, false, "What notified the user, the newest first; answered with user_notified") \
    M(251, user_notified, false, "A page of notifications, and the token of the next (empty: there is none)") \
    M(252, user_ignored, false, "Whom the user ignores; answered with user_ignored")

#define GR_FIELDS_user_create(F, L) \
    F(str, password_hash, SECRET, 1) F(bool, admin, PLAIN, 1) F(bool, guest, PLAIN, 1) F(str, appservice, PLAIN, 1) \
    F(str, key, PLAIN, 1)                 /* who repeats the request with the same key is answered done */ \
    F(bool, from_guest, PLAIN, 1)         /* the account exists, as a guest's: it is one of a user from now on */ \
    F(strs, terms, PLAIN, 1)              /* that were agreed to: each name and version of a policy with a blank between */
/* attempt: a password is going to be tried, from the address ip; it counts until user_guessed says that it was right. */
#define GR_FIELDS_user_auth_info(F, L) F(bool, attempt, PLAIN, 1) F(str, ip, PLAIN, 1)
#define GR_FIELDS_user_auth_is(F, L) \
    F(bool, exists, PLAIN, 1) F(str, password_hash, SECRET, 1) F(bool, admin, PLAIN, 1) F(bool, guest, PLAIN, 1) \
    F(bool, deactivated, PLAIN, 1) F(bool, locked, PLAIN, 1) F(str, key, PLAIN, 1) \
    F(u64, wait_ms, PLAIN, 1)             /* too many wrong passwords: none is to be tried so long */
#define GR_FIELDS_user_threepid_put(F, L) \
    F(str, medium, PLAIN, 1) F(str, address, CONTENT, 1) F(u64, validated_ms, PLAIN, 1) \
    F(str, language, PLAIN, 1)            /* of mails to it, as HTML has it */
#define GR_FIELDS_user_threepids(F, L)
#define GR_FIELDS_user_threepid_drop(F, L) F(str, medium, PLAIN, 1) F(str, address, CONTENT, 1)
#define GR_FIELDS_user_valid(F, L) F(u64, until_ms, PLAIN, 1)
#define GR_FIELDS_user_renew(F, L) F(str, token, SECRET, 1)
#define GR_FIELDS_user_guessed(F, L) F(str, ip, PLAIN, 1)
/* provider, session, subject: who vouched for the user, the provider's session, and whom it knows them as; empty: nobody else. */
#define GR_FIELDS_user_login(F, L) \
    F(str, device, PLAIN, 1) F(str, display_name, CONTENT, 1) F(bool, refreshable, PLAIN, 1) \
    F(str, ip, PLAIN, 1) F(str, agent, PLAIN, 1) \
    F(str, client, PLAIN, 1) F(str, scope, PLAIN, 1) F(str, grant, PLAIN, 1)     /* of the OAuth 2.0 API */ \
    F(str, provider, PLAIN, 1) F(str, session, SECRET, 1) F(str, subject, CONTENT, 1)
#define GR_FIELDS_user_logout(F, L) \
    F(strs, devices, PLAIN, 1) F(str, keep, PLAIN, 1)    /* devices: these; empty: all but keep */ \
    F(str, grant, PLAIN, 1)               /* the one device only if this grant of the OAuth 2.0 API gave it */ \
    F(str, provider, PLAIN, 1) F(str, session, SECRET, 1)    /* the one device only if it came of this session */
#define GR_FIELDS_user_password(F, L) \
    F(str, password_hash, SECRET, 1) F(bool, logout_devices, PLAIN, 1) F(str, keep, PLAIN, 1) \
    F(str, instead_of, SECRET, 1)         /* only while this is the hash: the same password hashed anew */
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
    F(bool, is_direct, PLAIN, 1) F(bool, encrypted, PLAIN, 1) \
    F(str, predecessor, PLAIN, 1)         /* join: the room that this one has taken the place of, or empty */
#define GR_FIELDS_user_sync(F, L) \
    F(str, device, PLAIN, 1) \
    F(str, since, PLAIN, 1)               /* the token as the client sent it; empty: initial */ \
    F(u64, wait_ms, PLAIN, 1)             /* for news, from when it arrives; 0: answer at once */ \
    F(bool, full_state, PLAIN, 1) F(bool, include_leave, PLAIN, 1) \
    F(str, without, PLAIN, 1)             /* a bit for each shard whose rooms are left out; empty: none */
#define GR_FIELDS_user_changes(F, L) \
    F(str, next_batch, PLAIN, 1) F(bool, initial, PLAIN, 1) \
    F(bool, news, PLAIN, 1)               /* there is something to tell */ \
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
#define GR_FIELDS_user_profile_is(F, L) \
    F(str, displayname, CONTENT, 1) F(str, avatar_url, CONTENT, 1) F(bool, blocks_invites, PLAIN, 1)

/* body: the client's JSON object. */
#define GR_FIELDS_user_keys_upload(F, L) F(str, device, PLAIN, 1) F(str, body, CONTENT, 1)
/* devices: these; empty: all.  after: `next` of the page before.  own: the asker is the user. */
#define GR_FIELDS_user_keys_query(F, L) F(strs, devices, PLAIN, 1) F(str, after, PLAIN, 1) F(bool, own, PLAIN, 1)
/* JSON objects each; the last three empty when there is no such key.  next: the last device told when there are more. */
#define GR_FIELDS_user_keys(F, L) \
    F(str, device_keys, CONTENT, 1) F(str, next, PLAIN, 1) F(str, master, CONTENT, 1) F(str, self_signing, CONTENT, 1) \
    F(str, user_signing, CONTENT, 1) F(u64, changed_at, PLAIN, 1)    /* position of the newest change */
/* algorithms: one for each device. */
#define GR_FIELDS_user_keys_claim(F, L) F(strs, devices, PLAIN, 1) F(strs, algorithms, PLAIN, 1)
#define GR_FIELDS_user_cross_signing(F, L) F(str, body, CONTENT, 1) F(bool, is_authenticated, PLAIN, 1)
#define GR_FIELDS_user_auth_needed(F, L)
/* body: JSON object {user: {key id: signed object}}.  masters: {user: master key} of the others among them. */
#define GR_FIELDS_user_sign(F, L) F(str, body, CONTENT, 1) F(str, masters, CONTENT, 1)
#define GR_FIELDS_user_signed(F, L) F(strs, users, PLAIN, 1)
/* part: a large sending comes in several messages, cut the same way when it is repeated. */
#define GR_FIELDS_user_send_to_device(F, L) \
    F(str, device, PLAIN, 1) F(str, txn, PLAIN, 1) F(u64, part, PLAIN, 1) F(str, type, PLAIN, 1) \
    L(user_to_device, messages, CONTENT, 1)
/* after: of a message for "*", devices up to this one have it. */
#define GR_FIELDS_to_device_put(F, L) \
    F(str, sender, PLAIN, 1) F(str, type, PLAIN, 1) F(str, devices, CONTENT, 1) F(str, after, PLAIN, 1) \
    F(str, message_id, PLAIN, 1)    /* of another server: the same one of a sender is taken once */
#define GR_FIELDS_user_backup_make(F, L) F(str, algorithm, PLAIN, 1) F(str, auth_data, CONTENT, 1)
#define GR_FIELDS_user_backup_info(F, L) F(str, version, PLAIN, 1)
#define GR_FIELDS_user_backup_set(F, L) F(str, version, PLAIN, 1) F(str, algorithm, PLAIN, 1) F(str, auth_data, CONTENT, 1)
#define GR_FIELDS_user_backup_end(F, L) F(str, version, PLAIN, 1)
#define GR_FIELDS_user_backup_put(F, L) F(str, version, PLAIN, 1) L(user_backup_session, sessions, CONTENT, 1)
/* room, session: empty for all of them. */
#define GR_FIELDS_user_backup_drop(F, L) F(str, version, PLAIN, 1) F(str, room, PLAIN, 1) F(str, session, PLAIN, 1)
/* after_room, after_session: the last key of the page before. */
#define GR_FIELDS_user_backup_get(F, L) \
    F(str, version, PLAIN, 1) F(str, room, PLAIN, 1) F(str, session, PLAIN, 1) \
    F(str, after_room, PLAIN, 1) F(str, after_session, PLAIN, 1)
#define GR_FIELDS_user_backup_page(F, L) L(user_backup_session, sessions, CONTENT, 1) F(bool, more, PLAIN, 1)
#define GR_FIELDS_user_backup_state(F, L) \
    F(str, current, PLAIN, 1) F(u64, etag, PLAIN, 1) F(u64, count, PLAIN, 1) F(bool, more, PLAIN, 1)

/* content: a JSON object.  Types that only the server sets are refused to clients at the edge. */
#define GR_FIELDS_user_account_data_put(F, L) \
    F(str, room_id, PLAIN, 1) F(str, type, PLAIN, 1) F(str, content, CONTENT, 1)
#define GR_FIELDS_user_account_data_get(F, L) F(str, room_id, PLAIN, 1) F(str, type, PLAIN, 1)
#define GR_FIELDS_user_tag_put(F, L) F(str, room_id, PLAIN, 1) F(str, tag, CONTENT, 1) F(str, content, CONTENT, 1)
#define GR_FIELDS_user_tag_delete(F, L) F(str, room_id, PLAIN, 1) F(str, tag, CONTENT, 1)
#define GR_FIELDS_user_tag_list(F, L) F(str, room_id, PLAIN, 1)
/* path: as gr_push_json takes it. */
#define GR_FIELDS_user_push_rules_get(F, L) F(str, path, PLAIN, 1)
#define GR_FIELDS_user_push_rule_put(F, L) \
    F(str, kind, PLAIN, 1) F(str, rule_id, PLAIN, 1) \
    F(str, attribute, PLAIN, 1)           /* "enabled", "actions", or empty: the whole rule */ \
    F(str, body, CONTENT, 1)              /* of the request */ \
    F(str, before, PLAIN, 1) F(str, after, PLAIN, 1)
#define GR_FIELDS_user_push_rule_delete(F, L) F(str, kind, PLAIN, 1) F(str, rule_id, PLAIN, 1)
#define GR_FIELDS_user_notifications(F, L) F(str, from, PLAIN, 1) F(u64, limit, PLAIN, 1) F(bool, highlights, PLAIN, 1)
/* actions: JSON array.  read: a receipt covers it. */
#define GR_FIELDS_notification(F, L) \
    F(str, room_id, PLAIN, 1) F(str, event_id, PLAIN, 1) F(u64, ts, PLAIN, 1) F(bool, read, PLAIN, 1) \
    F(str, actions, PLAIN, 1)
#define GR_FIELDS_user_ignored(F, L) F(strs, users, CONTENT, 1)
#define GR_FIELDS_user_notified(F, L) L(notification, notifications, PLAIN, 1) F(str, next_token, PLAIN, 1)
