/* feed_unread.c - what an event means to each member of this shard, and what they have read. See feed.h.
 *
 * Most members have the default rules, and for them an event either notifies or does not: that is one cumulative number per
 * room, and one per thread.  Only who has rules of their own, or is named by an event, gets a row, a mark: how the count
 * differs for them (-1, 0, 1), and whether it is a highlight.  What is unread then: feed_threads.c.
 */
#include "actors/feed/feed_private.h"

#include "proto/ident.h"

#include <stdlib.h>

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
static void mark(feed_room *room, gr_ctx *ctx, gr_str user, gr_str thread, int delta, bool highlight)
{
    room->head.marked_at = gr_ctx_position(ctx);
    char head[2] = {(char)(delta + 1), (char)highlight};
    gr_str row = gr_feed_key_at(ctx, 'q', gr_feed_marks_of(ctx, gr_feed_room_id(room), user), room->head.marked_at);
    gr_ctx_put(ctx, row, gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){{head, 2}, thread}));
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
    if (all.notify && m->thread.size) gr_feed_thread_count(room, ctx, m->thread);
    else if (all.notify) room->head.notified++;
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
        mark(room, ctx, member->user, m->thread, delta, got.notify && got.highlight);
        gr_feed_note_write(ctx, member->user, m, &got);
    }
    return all;
}

/* --- reading ------------------------------------------------------------------------------------------------- */
typedef struct { gr_ctx *ctx; gr_str thread; size_t looked, kept; } deleting;

/* Of one thread only its own marks go, of the main timeline those that are in none. */
static bool del_mark(void *arg, gr_str key, gr_str value)
{
    deleting *d = arg;
    gr_feed_mark mark;
    gr_str thread = gr_str_is(d->thread, "main") ? (gr_str){0} : d->thread;
    bool read = d->thread.size == 0 || (gr_feed_mark_parse(value, &mark) && gr_str_eq(mark.thread, thread));
    if (read) gr_ctx_del(d->ctx, gr_arena_str(gr_ctx_arena(d->ctx), key));
    d->looked++;
    d->kept += !read;
    return true;
}

static void del_marks(feed_room *room, gr_ctx *ctx, gr_str user, gr_str thread, uint64_t position)
{
    feed_member *member = gr_feed_member_find(room, user);
    if (member && member->no_marks) return;
    gr_str marks = gr_feed_marks_of(ctx, gr_feed_room_id(room), user);
    deleting d = {.ctx = ctx, .thread = thread};
    gr_ctx_scan(ctx, gr_feed_key_at(ctx, 'q', marks, 0), gr_feed_key_at(ctx, 'q', marks, position + 1), false,
                GR_HANDLER_ROWS_MAX, del_mark, &d);
    bool none = d.kept == 0 && d.looked < GR_HANDLER_ROWS_MAX && position >= room->head.position;
    if (member) member->no_marks = none;
}

/* Who has read everything up to somewhere needs no rows of threads that were read less far. */
static bool del_read(void *arg, gr_str key, gr_str value)
{
    gr_feed_read read, *all = ((void **)arg)[1];
    gr_ctx *ctx = ((void **)arg)[0];
    if (gr_feed_read_parse(value, &read) && read.position <= all->position)
        gr_ctx_del(ctx, gr_arena_str(gr_ctx_arena(ctx), key));
    return true;
}

void gr_feed_read_up_to(feed_room *room, gr_ctx *ctx, gr_str user, gr_str thread, const gr_feed_row *row)
{
    gr_str id = gr_feed_room_id(room), key = gr_feed_read_key(ctx, id, user, thread), bytes;
    gr_feed_read old, now = {row->notified, row->position, gr_ctx_position(ctx)};
    feed_member *member = gr_feed_member_find(room, user);
    uint64_t *known = NULL;                        /* who writes has read up to their own event each time: without reads */
    if (member && thread.size == 0) known = &member->read_at;
    if (member && gr_str_is(thread, "main")) known = &member->main_at;
    if (known && *known >= now.position) return;
    bool look = !known || *known == 0;
    if (look && gr_ctx_get(ctx, key, &bytes) && gr_feed_read_parse(bytes, &old) && old.position >= now.position) return;
    gr_buf out = {0};
    gr_buf_u64be(&out, now.notified);
    gr_buf_u64be(&out, now.position);
    gr_buf_u64be(&out, now.changed);
    gr_ctx_put(ctx, key, gr_buf_view(&out));
    gr_buf_free(&out);
    if (known) *known = now.position;
    del_marks(room, ctx, user, thread, now.position);
    if (thread.size == 0)
        gr_ctx_scan_prefix(ctx, gr_feed_thread_reads(ctx, id, user), GR_HANDLER_ROWS_MAX / 2, del_read,
                           (void *[]){ctx, &now});
}
