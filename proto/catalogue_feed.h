/* catalogue_feed.h - messages to feeds, one per shard (400-449). See catalogue.h.
 *
 * A room posts each change once per shard that has local members (or a user whose membership it ends); the feed gives it
 * a shard position, keeps counts for unread markers, runs push rules for the shard's members, and wakes who waits.
 */
#pragma once

#define GR_RECORDS_FEED(R) \
    R(feed_receipt, "One user's newest receipt in a room")

#define GR_FIELDS_feed_receipt(F, L) \
    F(str, user, PLAIN, 1) F(str, type, PLAIN, 1)    /* m.read or m.read.private */ \
    F(str, thread, PLAIN, 1)                         /* thread id, "main", or empty: unthreaded */ \
    F(u64, room_pos, PLAIN, 1)                       /* of the event that was read up to */

#define GR_MESSAGES_FEED(M) \
    M(400, feed_event, false, "An event (attachment: its JSON) became visible in a room; membership of members of this shard") \
    M(401, feed_receipts, false, "Receipts moved in a room") \
    M(402, feed_typing, false, "Who is typing in a room now") \
    M(403, feed_keys, false, "A member of an encrypted room changed their device keys") \
    M(404, feed_rules, false, "A user of this shard has push rules of their own: JSON, empty for the defaults") \
    M(405, feed_waiting, false, "A user of this shard waits (or no longer waits) for news") \
    M(406, feed_forget, false, "A user of this shard left and forgot a room") \
    M(407, feed_purge, false, "A room is gone, and its feed with it")

/* room_id: empty when the room itself posts, whose address says it.
 * kind: event, state (only the state changed: no timeline entry), redaction.
 * sender, type, ts: empty when the attachment says them, since a post is kept once for each shard; by event_id it is traced.
 * membership: when the event changes the membership of `target`, a user of this shard: the new one. */
#define GR_FIELDS_feed_event(F, L) \
    F(str, room_id, PLAIN, 1) F(u64, room_pos, PLAIN, 1) F(str, kind, PLAIN, 1) \
    F(str, event_id, PLAIN, 1) F(str, sender, PLAIN, 1) F(str, type, PLAIN, 1) \
    F(str, target, PLAIN, 1) F(str, membership, PLAIN, 1) \
    F(u64, members, PLAIN, 1)             /* joined members now, for room_member_count */ \
    F(i64, sender_power, PLAIN, 1) F(i64, room_notify_power, PLAIN, 1)    /* for sender_notification_permission */ \
    F(bool, encrypted, PLAIN, 1) F(u64, ts, PLAIN, 1) \
    F(str, target_displayname, CONTENT, 1)    /* with membership join: for contains_display_name */ \
    F(str, redacts, PLAIN, 1) F(str, thread, PLAIN, 1) \
    F(str, room_version, PLAIN, 1)
#define GR_FIELDS_feed_receipts(F, L) \
    F(str, room_id, PLAIN, 1) F(u64, receipt_pos, PLAIN, 1)    /* the room's own number of this batch of receipts */ \
    L(feed_receipt, receipts, PLAIN, 1)
#define GR_FIELDS_feed_typing(F, L) F(str, room_id, PLAIN, 1) F(strs, users, PLAIN, 1) F(u64, lasts_ms, PLAIN, 1)
#define GR_FIELDS_feed_keys(F, L) F(str, room_id, PLAIN, 1) F(str, user, PLAIN, 1)
#define GR_FIELDS_feed_rules(F, L) F(str, user, PLAIN, 1) F(str, rules, CONTENT, 1)
#define GR_FIELDS_feed_waiting(F, L) F(str, user, PLAIN, 1) F(bool, waiting, PLAIN, 1) F(u64, seen, PLAIN, 1)
#define GR_FIELDS_feed_forget(F, L) F(str, user, PLAIN, 1) F(str, room_id, PLAIN, 1)
#define GR_FIELDS_feed_purge(F, L) F(str, room_id, PLAIN, 1)
