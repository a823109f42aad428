/* feed_unread.c - unread markers: what an event means to each member of this shard, and what they have read. See feed.h.
 *
 * Most members have the default rules, and for them an event either notifies or does not: that is one cumulative number per
 * room.  Only who has rules of their own, or is named by an event, gets a row: how the count differs for them (-1, 0, 1),
 * and whether it is a highlight.  Unread is then: number at the head - number at what was read + sum of their rows.
 */
#include "actors/feed/feed_private.h"

#include "proto/ident.h"

#include <stdlib.h>

enum { UNREAD_SIZE = 24 };

/* --- rules --------------------------------------------------------------------------------------------------- */
static feed_rules *rules_add(gr_feed *f, gr_str user, gr_str json)
{
    feed_rules *r = gr_alloc(sizeof *r + user.size);
    memcpy(r->id, user.ptr, user.size);
    r->id_size = user.size;
    r->arena = gr_arena_new(2048);
    r->rules = gr_push_compile(r->arena, gr_arena_str(r->arena, user), gr_arena_str(r->arena, json));
    HASH_ADD_KEYPTR(hh, f->rules, r->id, r->id_size, r);
    return r;
}

static void rules_remove(gr_feed *f, feed_rules *r)
{
    HASH_DEL(f->rules, r);
    gr_arena_free(&r->arena);
    free(r);
}

static bool load_rules(void *arg, gr_str key, gr_str value)
{
    rules_add(arg, gr_str_from(key, 1), value);
    return true;
}

static feed_rules *rules_of(gr_feed *f, gr_ctx *ctx, gr_str user)
{
    feed_rules *r = NULL;
    if (!f->rules_known) gr_ctx_scan_prefix(ctx, GR_STR("u"), 0, load_rules, f);
    f->rules_known = true;
    HASH_FIND(hh, f->rules, user.ptr, user.size, r);
    return r;
}

void gr_feed_rules_set(gr_feed *f, gr_str user, gr_str json, gr_ctx *ctx)
{
    feed_rules *r = rules_of(f, ctx, user);
    gr_str key = gr_feed_key(ctx, 'u', user, (gr_str){0});
    if (r) rules_remove(f, r);
    if (json.size) {
        rules_add(f, user, json);
        gr_ctx_put(ctx, key, json);
    } else {
        gr_ctx_del(ctx, key);
    }
}

void gr_feed_rules_drop(gr_feed *f)
{
    feed_rules *r, *next;
    HASH_ITER(hh, f->rules, r, next) rules_remove(f, r);
    f->rules_known = false;
}

/* --- counting ------------------------------------------------------------------------------------------------ */
static void mark(gr_ctx *ctx, gr_str room_id, gr_str user, int delta, bool highlight)
{
    char value[2] = {(char)(delta + 1), (char)highlight};
    gr_str row = gr_feed_key_at(ctx, 'q', gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){room_id, {"\0", 1}, user}),
                                gr_ctx_position(ctx));
    gr_ctx_put(ctx, row, gr_str_of(value, sizeof value));
}

/* May the default rules see this reader in the event?  A cheap test that never misses: their name stands in it. */
static bool may_name(gr_str event_json, const feed_member *m)
{
    gr_str localpart = gr_ident_localpart(m->user);
    return memmem(event_json.ptr, event_json.size, localpart.ptr, localpart.size)
        || (m->displayname.size && memmem(event_json.ptr, event_json.size, m->displayname.ptr, m->displayname.size));
}

gr_push_result gr_feed_count_event(gr_feed *f, feed_room *room, const gr_feed_event *m, gr_str event_json, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    const gr_json *event = NULL;
    if (gr_failed(gr_json_parse(a, event_json, GR_JSON_LAX, &event))) return (gr_push_result){0};
    gr_push_who who = {.members = m->members, .sender_power = m->sender_power, .room_notify_power = m->room_notify_power};
    gr_push_result all = gr_push_evaluate(gr_push_compile(a, (gr_str){0}, (gr_str){0}), event, &who);
    if (all.notify) room->head.notified++;
    gr_feed_members_load(room, ctx);
    for (size_t i = 0; i < room->member_count; i++) {
        const feed_member *member = &room->members[i];
        if (gr_str_eq(member->user, m->sender)) continue;
        feed_rules *r = rules_of(f, ctx, member->user);
        if (!r && !all.highlight && !may_name(event_json, member)) continue;
        who.user = member->user;
        who.displayname = member->displayname;
        const gr_push_rules *rules = r ? r->rules : gr_push_compile(a, member->user, (gr_str){0});
        gr_push_result got = gr_push_evaluate(rules, event, &who);
        int delta = (int)got.notify - (int)all.notify;
        if (!delta && !got.highlight) continue;
        room->members[i].no_marks = false;
        mark(ctx, gr_feed_room_id(room), member->user, delta, got.notify && got.highlight);
        gr_feed_note_write(ctx, member->user, m, &got);
    }
    return all;
}

/* --- reading ------------------------------------------------------------------------------------------------- */
typedef struct { gr_ctx *ctx; size_t count; } deleting;

static bool del_mark(void *arg, gr_str key, gr_str value)
{
    deleting *d = arg;
    (void)value;
    gr_ctx_del(d->ctx, gr_arena_str(gr_ctx_arena(d->ctx), key));
    d->count++;
    return true;
}

static gr_str marks_of(gr_ctx *ctx, gr_str room_id, gr_str user)
{
    return gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){room_id, {"\0", 1}, user});
}

/* The user has read everything up to a row: its count and position. A receipt never moves backwards. */
void gr_feed_read_up_to(feed_room *room, gr_ctx *ctx, gr_str user, uint64_t notified, uint64_t position)
{
    gr_str id = gr_feed_room_id(room), key = gr_feed_key(ctx, 'n', id, user), old;
    feed_member *member = gr_feed_member_find(room, user);
    if (member && member->read_at >= position) return;
    bool is_known = member && member->read_at;     /* who writes is read up to their own event each time: without reads */
    if (!is_known && gr_ctx_get(ctx, key, &old) && old.size == UNREAD_SIZE && gr_u64be(old.ptr + 8) >= position) return;
    gr_buf out = {0};
    gr_buf_u64be(&out, notified);
    gr_buf_u64be(&out, position);
    gr_buf_u64be(&out, gr_ctx_position(ctx));
    gr_ctx_put(ctx, key, gr_buf_view(&out));
    gr_buf_free(&out);
    if (member) member->read_at = position;
    if (member && member->no_marks) return;
    gr_str marks = marks_of(ctx, id, user);
    deleting d = {.ctx = ctx};
    gr_ctx_scan(ctx, gr_feed_key_at(ctx, 'q', marks, 0), gr_feed_key_at(ctx, 'q', marks, position + 1), false,
                GR_HANDLER_ROWS_MAX, del_mark, &d);
    if (member) member->no_marks = d.count < GR_HANDLER_ROWS_MAX && position >= room->head.position;
}

typedef struct { int64_t delta; uint64_t highlights, at; } sums;

static bool sum_mark(void *arg, gr_str key, gr_str value)
{
    sums *s = arg;
    if (value.size != 2) return true;
    s->delta += value.ptr[0] - 1;
    s->highlights += value.ptr[1] != 0;
    s->at = gr_u64be(key.ptr + key.size - 8);
    return true;
}

gr_feed_unread gr_feed_unread_of(gr_ctx *ctx, gr_str room_id, gr_str user)
{
    gr_feed_head head = gr_feed_head_of(ctx, room_id);
    gr_str read;
    uint64_t notified = 0, position = 0;
    sums s = {0};
    gr_feed_unread out = {.at = head.events_at};
    if (gr_ctx_sibling_get(ctx, GR_KIND_FEED, gr_feed_key(ctx, 'n', room_id, user), &read) && read.size == UNREAD_SIZE) {
        notified = gr_u64be(read.ptr);
        position = gr_u64be(read.ptr + 8);
        uint64_t changed = gr_u64be(read.ptr + 16);
        if (changed > out.at) out.at = changed;
    }
    gr_str marks = marks_of(ctx, room_id, user);
    gr_ctx_sibling_scan(ctx, GR_KIND_FEED, gr_feed_key_at(ctx, 'q', marks, position + 1),
                        gr_feed_key_at(ctx, 'q', marks, UINT64_MAX), false, GR_HANDLER_ROWS_MAX, sum_mark, &s);
    int64_t count = (int64_t)(head.notified - notified) + s.delta;
    out.notifications = count > 0 ? (uint64_t)count : 0;
    out.highlights = s.highlights;
    return out;
}

uint64_t gr_feed_read_of(gr_ctx *ctx, gr_str room_id, gr_str user)
{
    gr_str read;
    bool known = gr_ctx_sibling_get(ctx, GR_KIND_FEED, gr_feed_key(ctx, 'n', room_id, user), &read) && read.size == UNREAD_SIZE;
    return known ? gr_u64be(read.ptr + 8) : 0;
}
