/* feed.c - the feed actor: takes what rooms post, and wakes who waits. See feed.h. */
#include "actors/feed/feed_private.h"

#include "actors/room/record.h"
#include "proto/ident.h"

#include <stdlib.h>

gr_str gr_feed_room_id(const feed_room *room) { return gr_str_of(room->id, room->id_size); }

static void free_members(feed_room *room)
{
    for (size_t i = 0; i < room->member_count; i++) {
        free((char *)room->members[i].user.ptr);
        free((char *)room->members[i].displayname.ptr);
    }
    free(room->members);
    room->members = NULL;
    room->member_count = room->member_space = 0;
}

static void free_typing(feed_room *room)
{
    for (size_t i = 0; i < room->head.typing.count; i++) free((char *)room->head.typing.at[i].ptr);
    free(room->head.typing.at);
    room->head.typing = (gr_strs){0};
}

void gr_feed_room_drop(gr_feed *f, feed_room *room)
{
    HASH_DEL(f->rooms, room);
    free_members(room);
    free_typing(room);
    free(room);
}

feed_room *gr_feed_room_get(gr_feed *f, gr_ctx *ctx, gr_str room_id)
{
    feed_room *room = NULL;
    gr_str bytes;
    HASH_FIND(hh, f->rooms, room_id.ptr, room_id.size, room);
    if (room) {
        HASH_DEL(f->rooms, room);          /* and added again below: the least recently used stands first */
    } else {
        if (HASH_COUNT(f->rooms) >= GR_FEED_HEADS_MAX) gr_feed_room_drop(f, f->rooms);
        room = gr_alloc(sizeof *room + room_id.size);
        memcpy(room->id, room_id.ptr, room_id.size);
        room->id_size = room_id.size;
        if (gr_ctx_get(ctx, gr_feed_key(ctx, 'h', room_id, (gr_str){0}), &bytes)) gr_feed_head_read(bytes, &room->head);
    }
    HASH_ADD_KEYPTR(hh, f->rooms, room->id, room->id_size, room);
    return room;
}

static void add_member(feed_room *room, gr_str user, gr_str displayname)
{
    feed_member *m = gr_feed_member_find(room, user);
    if (m) {
        free((char *)m->displayname.ptr);
        m->displayname = gr_str_keep(displayname);
        return;
    }
    if (room->member_count == room->member_space) {
        room->member_space = room->member_space ? room->member_space * 2 : 4;
        room->members = gr_realloc(room->members, room->member_space * sizeof *room->members);
    }
    room->members[room->member_count++] = (feed_member){.user = gr_str_keep(user), .displayname = gr_str_keep(displayname)};
}

static void remove_member(feed_room *room, gr_str user)
{
    feed_member *m = gr_feed_member_find(room, user);
    if (!m) return;
    free((char *)m->user.ptr);
    free((char *)m->displayname.ptr);
    *m = room->members[--room->member_count];
}

static bool load_member(void *arg, gr_str key, gr_str value)
{
    feed_room *room = arg;
    add_member(room, gr_str_from(key, 1 + room->id_size + 1), value);
    return true;
}

void gr_feed_members_load(feed_room *room, gr_ctx *ctx)
{
    if (room->members_known) return;
    gr_ctx_scan_prefix(ctx, gr_feed_key(ctx, 'm', gr_feed_room_id(room), GR_STR("")), 0, load_member, room);
    room->members_known = true;
}

feed_member *gr_feed_member_find(feed_room *room, gr_str user)
{
    for (size_t i = 0; i < room->member_count; i++)
        if (gr_str_eq(room->members[i].user, user)) return &room->members[i];
    return NULL;
}

/* --- waking -------------------------------------------------------------------------------------------------- */
static bool is_waiting(const gr_feed *f, gr_str user)
{
    feed_waiter *w = NULL;
    HASH_FIND(hh, f->waiting, user.ptr, user.size, w);
    return w != NULL;
}

static void wake_user(gr_feed *f, gr_ctx *ctx, gr_str user)
{
    if (user.size && is_waiting(f, user))
        gr_ctx_tell(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_USER, user), &gr_type_user_wake, &(gr_user_wake){0});
}

/* Within one shard a tell is never lost, so this reaches every member who waits. */
static void wake_members(gr_feed *f, feed_room *room, gr_ctx *ctx)
{
    f->newest = gr_ctx_newest(ctx);
    if (!f->waiting) return;
    gr_feed_members_load(room, ctx);
    for (size_t i = 0; i < room->member_count; i++) wake_user(f, ctx, room->members[i].user);
}

void gr_feed_wake_all(gr_feed *f, gr_ctx *ctx)
{
    for (const feed_waiter *w = f->waiting; w; w = w->hh.next)
        gr_ctx_tell(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_USER, gr_str_of(w->id, w->id_size)), &gr_type_user_wake,
                    &(gr_user_wake){0});
}

static void on_waiting(gr_feed *f, const gr_feed_waiting *m, gr_ctx *ctx)
{
    feed_waiter *w = NULL;
    HASH_FIND(hh, f->waiting, m->user.ptr, m->user.size, w);
    if (!m->waiting) {
        if (w) HASH_DEL(f->waiting, w);
        free(w);
        return;
    }
    if (!w) {
        w = gr_alloc(sizeof *w + m->user.size);
        memcpy(w->id, m->user.ptr, m->user.size);
        w->id_size = m->user.size;
        HASH_ADD_KEYPTR(hh, f->waiting, w->id, w->id_size, w);
    }
    if (f->newest > m->seen) wake_user(f, ctx, m->user);   /* something came while this message was under way */
}

/* --- what rooms post ----------------------------------------------------------------------------------------- */
static void apply_membership(feed_room *room, const gr_feed_event *m, gr_ctx *ctx)
{
    gr_str id = gr_feed_room_id(room);
    if (m->target.size == 0 || gr_id_shard(m->target) != gr_ctx_shard(ctx)) return;
    if (!gr_ident_is_local(m->target, gr_env_of(ctx)->server_name)) return;
    gr_feed_members_load(room, ctx);
    gr_feed_row here = {.position = gr_ctx_position(ctx), .notified = room->head.notified};
    if (gr_str_is(m->membership, "join")) {
        bool new_here = !gr_feed_member_find(room, m->target);
        add_member(room, m->target, m->target_displayname);
        gr_ctx_put(ctx, gr_feed_key(ctx, 'm', id, m->target), m->target_displayname);
        if (new_here) gr_feed_read_up_to(room, ctx, m->target, (gr_str){0}, &here);
    } else if (gr_feed_member_find(room, m->target)) {
        remove_member(room, m->target);
        gr_ctx_del(ctx, gr_feed_key(ctx, 'm', id, m->target));
    }
}

static void on_event(gr_feed *f, const gr_feed_event *told, gr_str from, gr_str attachment, gr_ctx *ctx)
{
    gr_feed_event whole = *told, *m = &whole;
    if (m->room_id.size == 0) m->room_id = gr_address_id(from);
    feed_room *room = gr_feed_room_get(f, ctx, m->room_id);
    gr_room_record record;
    bool has_event = gr_room_record_read(attachment, &record);
    if (has_event) {
        m->sender = record.sender;
        m->type = record.type;
        m->ts = record.ts;
    }
    room->head.room_pos = m->room_pos;
    room->head.events_at = gr_ctx_position(ctx);
    gr_feed_row row = {.sender = m->sender};
    if (has_event && gr_str_is(m->kind, "event")) {
        gr_push_result all = gr_feed_count_event(f, room, m, record.json, ctx);
        if (all.notify) row = (gr_feed_row){.sender = m->sender, .rule_id = all.rule_id, .event_id = m->event_id, .ts = m->ts,
                                            .thread = m->thread};
    }
    gr_feed_append(room, ctx, &row);
    row.position = room->head.position;
    row.notified = room->head.notified;
    if (gr_id_shard(m->sender) == gr_ctx_shard(ctx) && gr_feed_member_find(room, m->sender))
        gr_feed_read_up_to(room, ctx, m->sender, m->thread.size ? m->thread : GR_STR("main"), &row);
    wake_members(f, room, ctx);            /* before the membership changes: who is kicked hears of it */
    apply_membership(room, m, ctx);
}

static void on_receipts(gr_feed *f, const gr_feed_receipts *m, gr_ctx *ctx)
{
    feed_room *room = gr_feed_room_get(f, ctx, m->room_id);
    gr_feed_row row;
    room->head.receipt_pos = m->receipt_pos;
    room->head.receipts_at = gr_ctx_position(ctx);
    gr_feed_append(room, ctx, &(gr_feed_row){0});
    for (size_t i = 0; i < m->receipts.count; i++) {
        const gr_feed_receipt *r = &m->receipts.at[i];
        if (gr_id_shard(r->user) != gr_ctx_shard(ctx)) continue;
        if (gr_feed_row_of_room_pos(room, ctx, r->room_pos, &row))
            gr_feed_read_up_to(room, ctx, r->user, r->thread, &row);
    }
    wake_members(f, room, ctx);
}

static void on_keys(gr_feed *f, const gr_feed_keys *m, gr_ctx *ctx)
{
    feed_room *room = gr_feed_room_get(f, ctx, m->room_id);
    room->head.keys_at = gr_ctx_position(ctx);
    gr_feed_append(room, ctx, &(gr_feed_row){.keys_of = m->user});
    wake_members(f, room, ctx);
}

/* --- typing: memory only ------------------------------------------------------------------------------------- */
static void set_typing(gr_feed *f, feed_room *room, const gr_strs *users, gr_ctx *ctx)
{
    free_typing(room);
    room->head.typing.at = gr_alloc(users->count * sizeof(gr_str));
    room->head.typing.count = users->count;
    for (size_t i = 0; i < users->count; i++) room->head.typing.at[i] = gr_str_keep(users->at[i]);
    room->head.typing_at = gr_ctx_position(ctx);
    wake_members(f, room, ctx);
}

static void on_typing(gr_feed *f, const gr_feed_typing *m, gr_ctx *ctx)
{
    feed_room *room = gr_feed_room_get(f, ctx, m->room_id);
    set_typing(f, room, &m->users, ctx);
    room->typing_until_ms = m->users.count ? gr_ctx_now_ms(ctx) + m->lasts_ms : 0;
    if (m->users.count) gr_ctx_timer(ctx, GR_STR("typing"), room->typing_until_ms, false);
}

/* The room that was told first may have stopped telling (its node is gone): each feed ends typing by itself. */
static void end_typing(gr_feed *f, gr_ctx *ctx)
{
    feed_room *room, *next;
    uint64_t now_ms = gr_ctx_now_ms(ctx), soonest = 0;
    HASH_ITER(hh, f->rooms, room, next) {
        if (room->typing_until_ms == 0) continue;
        if (room->typing_until_ms <= now_ms) {
            room->typing_until_ms = 0;
            set_typing(f, room, &(gr_strs){0}, ctx);
        } else if (!soonest || room->typing_until_ms < soonest) {
            soonest = room->typing_until_ms;
        }
    }
    if (soonest) gr_ctx_timer(ctx, GR_STR("typing"), soonest, false);
}

static bool del_row(void *arg, gr_str key, gr_str value)
{
    (void)value;
    gr_ctx_del(arg, gr_arena_str(gr_ctx_arena(arg), key));
    return true;
}

static void on_forget(gr_feed *f, const gr_feed_forget *m, gr_ctx *ctx)
{
    feed_room *room = gr_feed_room_get(f, ctx, m->room_id);
    gr_feed_members_load(room, ctx);
    remove_member(room, m->user);
    gr_ctx_del(ctx, gr_feed_key(ctx, 'm', m->room_id, m->user));
    gr_ctx_del(ctx, gr_feed_read_key(ctx, m->room_id, m->user, (gr_str){0}));
    gr_ctx_scan_prefix(ctx, gr_feed_thread_reads(ctx, m->room_id, m->user), GR_HANDLER_ROWS_MAX, del_row, ctx);
}

/* --- the actor ----------------------------------------------------------------------------------------------- */
static void load(void *self, gr_str id, gr_ctx *ctx)
{
    (void)self, (void)id, (void)ctx;       /* rooms are read when they are first asked for */
}

static void on_timer(gr_feed *f, gr_str name, gr_ctx *ctx)
{
    if (gr_feed_purge_on(ctx, name)) return;
    if (gr_str_is(name, "typing")) end_typing(f, ctx);
    else gr_feed_on_presence_timer(f, ctx);
}

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    switch (m->type->id) {
    case GR_T_feed_event: on_event(self, m->body, m->from, m->attachment, ctx); return;
    case GR_T_feed_receipts: on_receipts(self, m->body, ctx); return;
    case GR_T_feed_typing: on_typing(self, m->body, ctx); return;
    case GR_T_feed_keys: on_keys(self, m->body, ctx); return;
    case GR_T_feed_rules: {
        const gr_feed_rules *rules = m->body;
        gr_feed_rules_set(self, rules->user, rules->rules, ctx);
        return;
    }
    case GR_T_feed_waiting: on_waiting(self, m->body, ctx); return;
    case GR_T_feed_forget: on_forget(self, m->body, ctx); return;
    case GR_T_feed_purge: gr_feed_purge_begin(self, m->body, ctx); return;
    case GR_T_feed_presence: gr_feed_on_presence(self, m->body, ctx); return;
    case GR_T_timer: on_timer(self, ((const gr_timer *)m->body)->name, ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A feed does not take this message"));
    }
}

static void drop(void *self)
{
    gr_feed *f = self;
    feed_room *room, *next_room;
    HASH_ITER(hh, f->rooms, room, next_room) gr_feed_room_drop(f, room);
    feed_waiter *w, *next_waiter;
    HASH_ITER(hh, f->waiting, w, next_waiter) {
        HASH_DEL(f->waiting, w);
        free(w);
    }
    gr_feed_rules_drop(f);
    gr_feed_presence_drop(f);
}

/* While somebody waits or types, what is only in memory counts. */
static bool busy(const void *self)
{
    const gr_feed *f = self;
    if (f->waiting) return true;
    for (const feed_room *room = f->rooms; room; room = room->hh.next)
        if (room->typing_until_ms) return true;
    return false;
}

static size_t memory(const void *self)
{
    const gr_feed *f = self;
    return HASH_COUNT(f->rooms) * (sizeof(feed_room) + 128) + HASH_COUNT(f->waiting) * (sizeof(feed_waiter) + 64)
         + gr_feed_presence_memory(f);
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    const gr_feed *f = self;
    gr_buf_printf(out, "\"rooms_in_memory\":%u,\"waiting\":%u,\"newest\":%llu", HASH_COUNT(f->rooms), HASH_COUNT(f->waiting),
                  (unsigned long long)gr_ctx_newest(ctx));
}

static const gr_actor_upkeep upkeep[] = {{.name = GR_FEED_UPKEEP_ROWS, .by_timer = true}, {0}};

const gr_actor_kind gr_feed_kind = {.kind = GR_KIND_FEED, .size = sizeof(gr_feed), .load = load, .handle = handle, .drop = drop,
                                    .busy = busy, .memory = memory, .inspect = inspect, .upkeep = upkeep};
