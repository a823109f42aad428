/* room.c - the room actor: which message goes where, and how handlers end. See room.h. */
#include "actors/room/room.h"
#include "actors/room/cache.h"
#include "actors/room/entering.h"
#include "actors/room/graph.h"
#include "actors/room/incoming.h"
#include "actors/room/moved.h"
#include "actors/room/purge.h"
#include "actors/room/read.h"
#include "actors/room/reading.h"
#include "actors/room/resident.h"
#include "actors/room/resolving.h"
#include "actors/room/serve.h"

/* --- ends of handlers -------------------------------------------------------------------------------------- */
void gr_room_answer_sent(gr_room *room, gr_ctx *ctx, gr_str event_id, uint64_t pos)
{
    gr_ctx_reply(ctx, &gr_type_room_sent,
                 &(gr_room_sent){.room_id = room->id, .event_id = event_id, .room_pos = pos});
}

void gr_room_tell(gr_room *room, gr_ctx *ctx, const gr_room_made *made, bool forward)
{
    gr_room_save(room, ctx);
    gr_room_post_membership(room, ctx, made, forward);
    gr_room_post_feeds(room, ctx, made);
    if (made->state_pos) gr_room_tell_moved(room, ctx, made->moved_from, made->state_pos);
}

void gr_room_finish(gr_room *room, gr_ctx *ctx, const gr_room_made *made, bool forward)
{
    gr_room_tell(room, ctx, made, forward);
    gr_room_answer_sent(room, ctx, made->event_id, made->pos);
}

void gr_room_read_again(gr_room *room, gr_ctx *ctx)
{
    gr_room old = *room;
    gr_str id = gr_arena_str(gr_ctx_arena(ctx), room->id);
    room->typing = NULL;
    room->readings = NULL;
    room->resolving = NULL;
    room->portion = NULL;
    room->entering = NULL;
    room->waiting = NULL;
    room->incoming = NULL;
    room->giving = NULL;
    gr_room_drop(room);
    *room = (gr_room){.typing = old.typing, .typing_told_ms = old.typing_told_ms, .readings = old.readings,
                      .pending_receipts = old.pending_receipts, .resolving = old.resolving, .waiting = old.waiting,
                      .incoming = old.incoming, .giving = old.giving, .entering = old.entering, .parsed = old.parsed,
                      .portion = old.portion, .must_wait = old.must_wait, .unbounded = old.unbounded};
    gr_room_load(room, id, ctx);
    if (room->moving.phase == GR_MOVING_NOT) gr_room_moved_drop(room);     /* a move that did not begin after all */
}

void gr_room_revert(gr_room *room, gr_ctx *ctx)
{
    gr_ctx_undo(ctx);
    gr_room_read_again(room, ctx);
}

void gr_room_fail(gr_room *room, gr_ctx *ctx, gr_err err)
{
    gr_room_revert(room, ctx);
    gr_ctx_fail(ctx, err);
}

/* --- dispatch ---------------------------------------------------------------------------------------------- */
/* Who may not look inside learns by most questions only that, whether there is a room or not. */
static gr_err unknown_room(const gr_room *room, gr_ctx *ctx, const gr_type *type)
{
    static const gr_type *const looks[] = {&gr_type_room_messages, &gr_type_room_state_get, &gr_type_room_state_all,
                                           &gr_type_room_members, &gr_type_room_joined_members, &gr_type_room_threads,
                                           &gr_type_room_send, &gr_type_room_typing, &gr_type_room_receipt};
    for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++)
        if (type == looks[i]) return gr_fail(GR_FORBIDDEN, "You are not in this room");
    return gr_failf(gr_ctx_arena(ctx), GR_NOT_FOUND, "There is no room %.*s on this server", GR_ARG(room->id));
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    static const char *const phases[] = {"no", "resolving", "rows", "telling"};
    const gr_room *room = self;
    (void)ctx;
    gr_buf_printf(out, "\"exists\":%s", room->exists ? "true" : "false");
    if (!room->exists) return;
    gr_buf_printf(out, ",\"version\":\"%s\",\"events\":%llu,\"position\":%llu,\"depth\":%llu,\"joined\":%llu,"
                  "\"invited\":%llu,\"extremities\":%zu,\"published\":%s,\"encrypted\":%s,\"moving\":\"%s\","
                  "\"resolving\":%s,\"cache_bytes\":%zu",
                  room->version->id, (unsigned long long)room->next_number - 1,
                  (unsigned long long)room->next_pos - 1, (unsigned long long)room->depth,
                  (unsigned long long)room->joined, (unsigned long long)room->invited, room->extremity_count,
                  room->published ? "true" : "false", room->encrypted ? "true" : "false", phases[room->moving.phase],
                  gr_room_is_resolving(room) ? "true" : "false", gr_room_cache_memory(room->cache));
}

static void read_message(gr_room *room, const gr_msg *msg, gr_ctx *ctx);

static void write_message(gr_room *room, const gr_msg *msg, gr_ctx *ctx)
{
    switch (msg->type->id) {
    case GR_T_room_send: gr_room_on_send(room, ctx, msg->body); break;
    case GR_T_room_member: gr_room_on_member(room, ctx, msg->body); break;
    case GR_T_room_allows: gr_room_on_allows(room, ctx); break;
    case GR_T_room_profile: gr_room_on_profile(room, ctx, msg->body); break;
    case GR_T_room_keys_changed: gr_room_on_keys_changed(room, ctx, msg->body); break;
    case GR_T_room_forget: gr_room_on_forget(room, ctx, msg->body); break;
    case GR_T_room_publish: gr_room_on_publish(room, ctx, msg->body); break;
    case GR_T_room_listing: gr_room_on_listing(room, ctx); break;
    case GR_T_room_alias: gr_room_on_alias(room, ctx, msg->body); break;
    case GR_T_room_aliases: gr_room_on_aliases(room, ctx, msg->body); break;
    case GR_T_room_replace: gr_room_on_replace(room, ctx, msg->body); break;
    case GR_T_room_close: gr_room_on_close(room, ctx, msg->body); break;
    case GR_T_room_policy_said: gr_room_on_policy_said(room, ctx, msg->body); break;
    case GR_T_room_gap_done: gr_room_on_gap_done(room, ctx, msg->body); break;
    case GR_T_room_back: gr_room_on_back(room, ctx, msg->body); break;
    case GR_T_room_gap_look: gr_room_on_gap_look(room, ctx, msg->body); break;
    case GR_T_room_given_put: gr_room_on_given_put(room, ctx, msg->body); break;
    case GR_T_room_given_make: gr_room_on_given_make(room, ctx, msg->body); break;
    case GR_T_room_incoming: gr_room_on_incoming(room, ctx, msg->body); break;
    case GR_T_room_children: gr_room_on_children(room, ctx, msg->body); break;
    case GR_T_room_admission: gr_room_on_admission(room, ctx, msg->body); break;
    case GR_T_room_has_member: gr_room_on_has_member(room, ctx, msg->body); break;
    case GR_T_room_template: gr_room_on_template(room, ctx, msg->body); break;
    case GR_T_room_invite: gr_room_on_invite(room, ctx, msg->body); break;
    case GR_T_room_offer: gr_room_on_offer(room, ctx, msg->body); break;
    default: read_message(room, msg, ctx);
    }
}

void gr_room_read(gr_room *room, gr_ctx *ctx, const gr_type *type, const void *body)
{
    switch (type->id) {
    case GR_T_room_sync: gr_room_on_sync(room, ctx, body); break;
    case GR_T_room_messages: gr_room_on_messages(room, ctx, body); break;
    case GR_T_room_context: gr_room_on_context(room, ctx, body); break;
    case GR_T_room_relations: gr_room_on_relations(room, ctx, body); break;
    case GR_T_room_threads: gr_room_on_threads(room, ctx, body); break;
    case GR_T_room_timestamp: gr_room_on_timestamp(room, ctx, body); break;
    case GR_T_room_summary: gr_room_on_summary(room, ctx, body); break;
    case GR_T_room_may_fetch: gr_room_on_may_fetch(room, ctx, body); break;
    case GR_T_room_have: gr_room_on_have(room, ctx, body); break;
    case GR_T_room_backfill: gr_room_on_backfill(room, ctx, body); break;
    case GR_T_room_missing_events: gr_room_on_missing_events(room, ctx, body); break;
    case GR_T_room_fetch_event: gr_room_on_fetch_event(room, ctx, body); break;
    case GR_T_room_event: gr_room_on_event(room, ctx, body); break;
    case GR_T_room_state_get: gr_room_on_state_get(room, ctx, body); break;
    case GR_T_room_state_all: gr_room_on_state_all(room, ctx, body); break;
    case GR_T_room_members: gr_room_on_members(room, ctx, body); break;
    case GR_T_room_joined_members: gr_room_on_joined_members(room, ctx, body); break;
    case GR_T_room_list: gr_room_on_list(room, ctx, body); break;
    case GR_T_room_pdus: gr_room_on_pdus(room, ctx, body); break;
    case GR_T_room_owed: gr_room_on_owed(room, ctx, body); break;
    case GR_T_room_queued: gr_room_on_queued(room, ctx, body); break;
    case GR_T_room_audience: gr_room_on_audience(room, ctx, body); break;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A room takes no message of this type"));
    }
}

static void read_message(gr_room *room, const gr_msg *msg, gr_ctx *ctx)
{
    switch (msg->type->id) {
    case GR_T_room_receipt: gr_room_on_receipt(room, ctx, msg->body); break;
    case GR_T_room_typing: gr_room_on_typing(room, ctx, msg->body); break;
    case GR_T_timer: gr_room_on_timer(room, ctx, ((const gr_timer *)msg->body)->name); break;
    default: if (!gr_reading_begin(room, ctx, msg->type, msg->body)) gr_room_read(room, ctx, msg->type, msg->body);
    }
}

void gr_room_dispatch(gr_room *room, gr_ctx *ctx, const gr_msg *msg)
{
    if (gr_room_purge_takes(room, ctx, msg)) return;
    bool is_here = room->exists && !gr_room_is_half(room);
    if (msg->type->id == GR_T_room_create) gr_room_on_create(room, ctx, msg->body);
    else if (msg->type->id == GR_T_room_fill) gr_room_on_fill(room, ctx, msg->body);
    else if (msg->type->id == GR_T_room_enter) gr_room_on_enter(room, ctx, msg->body);
    else if (gr_room_is_half(room) && msg->type->id == GR_T_timer) read_message(room, msg, ctx);
    else if (!is_here && msg->type->id == GR_T_room_forget) gr_ctx_done(ctx);     /* it was never here */
    else if (!is_here) gr_ctx_fail(ctx, unknown_room(room, ctx, msg->type));
    else write_message(room, msg, ctx);
}

static void take_result(gr_room *room, const gr_msg *msg, gr_ctx *ctx)
{
    if (msg->resume->step == GR_ROOM_WORK_RESOLVING) gr_room_on_resolved(room, ctx, msg);
    else if (msg->resume->step == GR_ROOM_WORK_INCOMING) gr_room_on_checked(room, ctx, msg);
    else if (msg->resume->step == GR_ROOM_WORK_MOVING) gr_room_on_moved_listed(room, ctx, msg);
    else if (msg->resume->step == GR_ROOM_WORK_GIVEN) gr_room_on_given(room, ctx, msg);
    else if (msg->resume->step == GR_ROOM_WORK_ENTERING) gr_room_on_entering(room, ctx, msg);
    else gr_reading_end(room, ctx, msg);
}

static void handle(void *self, const gr_msg *msg, gr_ctx *ctx)
{
    gr_room *room = self;
    gr_room_cache_trim(room->cache);
    if (msg->verb == GR_REPLY) {
        take_result(room, msg, ctx);
    } else if (msg->type->id == GR_T_upkeep_step) {
        gr_room_on_upkeep(room, ctx, ((const gr_upkeep_step *)msg->body)->name);
    } else if (!gr_room_waits_behind(room, ctx, msg)) {
        gr_room_dispatch(room, ctx, msg);
        gr_room_wait_if_must(room, ctx, msg);
    }
}

static size_t memory(const void *self)
{
    const gr_room *room = self;
    return gr_room_cache_memory(room->cache) + gr_room_txns_memory(room) + room->id.size + room->create_key.size
        + (room->extremities ? GR_ROOM_EXTREMITIES_MAX * sizeof *room->extremities : 0);
}

/* Who types is in memory only, and ends by a volatile timer; who waits for the pool too. */
static bool is_busy(const void *self)
{
    const gr_room *room = self;
    return room->typing != NULL || room->readings != NULL || gr_room_is_resolving(room) || gr_room_is_waiting(room)
        || gr_room_is_checking(room) || gr_room_moved_is_busy(room) || room->giving != NULL || room->entering != NULL;
}

static uint64_t mix(uint64_t digest, uint64_t n) { return (digest ^ n) * 0x100000001b3u + (digest >> 29); }

static uint64_t digest(const void *self)
{
    const gr_room *room = self;
    const uint64_t numbers[] = {room->exists, room->next_number, room->next_key, room->next_node, room->next_pos,
                                room->next_receipt, room->root, room->depth, room->joined, room->invited,
                                room->encrypted, room->published, room->visibility, gr_str_hash(room->create_key),
                                room->moving.phase, room->moving.target, room->moving.from, room->moving.cursor,
                                room->floor, room->purge.phase, room->purge.next, room->purge.done};
    uint64_t d = gr_str_hash(room->id);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) d = mix(d, numbers[i]);
    for (size_t i = 0; i < room->extremity_count; i++) {
        d = mix(d, room->extremities[i].number);
        d = mix(d, room->extremities[i].root);
        d = mix(d, gr_str_hash(room->extremities[i].id));
    }
    for (size_t i = 0; i < GR_SHARDS; i++) d = mix(d, room->local_joined[i] + ((uint64_t)room->servers[i] << 32));
    return d;
}

const gr_actor_kind gr_room_kind = {
    .kind = GR_KIND_ROOM, .size = sizeof(gr_room), .load = gr_room_load, .handle = handle, .drop = gr_room_drop,
    .busy = is_busy, .memory = memory, .digest = digest, .inspect = inspect,
    .upkeep = gr_room_upkeep,
};
