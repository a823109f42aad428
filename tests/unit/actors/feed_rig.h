/* feed_rig.h - a user and the feed of their shard on one stage, and what rooms and clients tell them in a line each. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/env.h"
#include "actors/feed/feed.h"
#include "actors/room/record.h"
#include "actors/user/sync_token.h"
#include "actors/user/user.h"
#include "bus/stage.h"

#define ANN "@ann:here"
#define ROOM "!room:here"

typedef struct {
    gr_stage *s;
    gr_arena *arena;
    char feed[16];
    uint64_t room_pos, members;
} rig;

static inline rig rig_new(void)
{
    static const gr_actor_kind *const kinds[] = {&gr_user_kind, &gr_feed_kind, NULL};
    static const gr_env env = {.server_name = {"here", 4}, .presence = {true, 100}};
    rig r = {.arena = gr_arena_new(0), .members = 5};
    gr_str feed = gr_address_of_shard(r.arena, GR_KIND_FEED, gr_id_shard(GR_STR(ANN)));
    memcpy(r.feed, feed.ptr, feed.size);
    r.s = gr_stage_new(kinds, "user/" ANN, &env);
    return r;
}

static inline void rig_free(rig *r)
{
    gr_stage_free(&r->s);
    gr_arena_free(&r->arena);
}

static inline void to_feed(rig *r) { gr_stage_on(r->s, r->feed); }
static inline void to_user(rig *r) { gr_stage_on(r->s, "user/" ANN); }

/* The event id is "$<room position>". */
static inline gr_str event_of(rig *r, const char *sender, const char *type, const char *content)
{
    gr_room_record record = {.pos = r->room_pos, .ts = 1000 + r->room_pos, .type = gr_str_c(type), .sender = gr_str_c(sender)};
    gr_buf out = {0};
    record.event_id = gr_arena_printf(r->arena, "$%llu", (unsigned long long)r->room_pos);
    record.json = gr_arena_printf(r->arena, "{\"content\":%s,\"room_id\":\"" ROOM "\",\"sender\":\"%s\",\"type\":\"%s\"}",
                                  content, sender, type);
    gr_room_record_write(&out, &record);
    gr_str bytes = gr_arena_str(r->arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return bytes;
}

static inline gr_feed_event described(rig *r, const char *room, const char *sender, const char *type)
{
    return (gr_feed_event){.room_id = gr_str_c(room), .room_pos = r->room_pos, .kind = GR_STR("event"),
                           .event_id = gr_arena_printf(r->arena, "$%llu", (unsigned long long)r->room_pos),
                           .sender = gr_str_c(sender), .type = gr_str_c(type), .members = r->members,
                           .room_notify_power = 50, .ts = 1000 + r->room_pos};
}

/* thread: NULL for the main timeline. */
static inline void event_in_thread(rig *r, const char *room, const char *thread, const char *sender, const char *type,
                                   const char *content)
{
    r->room_pos++;
    gr_feed_event m = described(r, room, sender, type);
    m.thread = gr_str_c(thread);
    to_feed(r);
    gr_stage_post(r->s, "room/" ROOM, &gr_type_feed_event, &m, event_of(r, sender, type, content));
}

static inline void event_in(rig *r, const char *room, const char *sender, const char *type, const char *content)
{
    event_in_thread(r, room, NULL, sender, type, content);
}

static inline void say(rig *r, const char *sender, const char *body)
{
    event_in(r, ROOM, sender, "m.room.message", gr_arena_printf(r->arena, "{\"body\":\"%s\"}", body).ptr);
}

#define MENTION "{\"body\":\"x\",\"m.mentions\":{\"user_ids\":[\"" ANN "\"]}}"

/* A membership of ann's: the room tells the user first, then the feed. */
static inline void membership(rig *r, const char *room, const char *now)
{
    r->room_pos++;
    gr_user_membership m = {.room_id = gr_str_c(room), .room_version = GR_STR("12"), .membership = gr_str_c(now),
                            .event_id = GR_STR("$m"), .room_pos = r->room_pos, .sender = GR_STR(ANN),
                            .stripped = GR_STR("[{}]")};
    to_user(r);
    gr_stage_post(r->s, "room/" ROOM, &gr_type_user_membership, &m, (gr_str){0});
    gr_feed_event f = described(r, room, ANN, "m.room.member");
    f.target = GR_STR(ANN);
    f.membership = gr_str_c(now);
    f.target_displayname = GR_STR("Ann");
    to_feed(r);
    gr_stage_post(r->s, "room/" ROOM, &gr_type_feed_event, &f,
                  event_of(r, ANN, "m.room.member", "{\"membership\":\"join\"}"));
}

/* thread: NULL for a receipt that is of no thread, but of everything. */
static inline void receipt_in_thread(rig *r, const char *thread, uint64_t receipt_pos, uint64_t room_pos)
{
    gr_feed_receipt one = {.user = GR_STR(ANN), .type = GR_STR("m.read"), .thread = gr_str_c(thread), .room_pos = room_pos};
    gr_feed_receipts m = {.room_id = GR_STR(ROOM), .receipt_pos = receipt_pos, .receipts = {&one, 1}};
    to_feed(r);
    gr_stage_post(r->s, "room/" ROOM, &gr_type_feed_receipts, &m, (gr_str){0});
}

static inline void receipt(rig *r, uint64_t receipt_pos, uint64_t room_pos)
{
    receipt_in_thread(r, NULL, receipt_pos, room_pos);
}

/* --- /sync ------------------------------------------------------------------------------------------------------ */
static inline const gr_user_changes *answer_of(rig *r) { return gr_stage_replied(r->s, &gr_type_user_changes); }

/* NULL: it waits. */
static inline const gr_user_changes *sync_within(rig *r, gr_str since, uint64_t wait_ms)
{
    gr_user_sync m = {.device = GR_STR("DEV"), .since = since, .wait_ms = wait_ms};
    to_user(r);
    gr_stage_ask(r->s, &gr_type_user_sync, &m);
    return answer_of(r);
}

static inline const gr_user_changes *sync_now(rig *r, gr_str since)
{
    const gr_user_changes *c = sync_within(r, since, 0);
    assert_non_null(c);
    return c;
}

static inline const gr_sync_room *room_in(const gr_user_changes *c, const char *room)
{
    for (size_t i = 0; i < c->rooms.count; i++)
        if (gr_str_is(c->rooms.at[i].room_id, room)) return &c->rooms.at[i];
    return NULL;
}

static inline void make_user(rig *r)
{
    to_user(r);
    gr_stage_ask(r->s, &gr_type_user_create, &(gr_user_create){.password_hash = GR_STR("h"), .key = GR_STR("k")});
    assert_false(gr_failed(gr_stage_error(r->s)));
}

/* The counts of ROOM as /sync tells them. */
static inline void assert_unread(rig *r, uint64_t notifications, uint64_t highlights)
{
    const gr_sync_room *room = room_in(sync_now(r, (gr_str){0}), ROOM);
    assert_non_null(room);
    assert_int_equal(room->notifications, notifications);
    assert_int_equal(room->highlights, highlights);
}

#define assert_text(got, want) do { \
    gr_str got_ = (got); \
    if (!gr_str_is(got_, want)) fail_msg("got %.*s, wanted %s", GR_ARG(got_), want); \
} while (0)
