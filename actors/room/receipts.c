/* receipts.c - who has read what, and who is typing. See read.h; client-server API, "Receipts", "Typing notifications".
 *
 * Receipts are durable when they are answered, and told to feeds a moment later, many at once: a durable timer sees to it
 * that none is forgotten.  Row f holds the receipt position up to which feeds were told.  Typing is memory only.
 */
#include "actors/room/graph.h"
#include "actors/room/incoming.h"
#include "actors/room/left_out.h"
#include "actors/room/purge.h"
#include "actors/room/read.h"
#include "actors/room/resolving.h"

#include <stdlib.h>

enum {
    RECEIPT_DELAY_MS = 30, RECEIPT_HEAD = 24,
    TYPING_MAX_MS = 120 * 1000,
    TYPING_SENT_AGAIN_MS = 15 * 1000,      /* other servers end it after half a minute */
    TYPING_TOLD_AGAIN_MS = 60 * 1000       /* feeds end typing by themselves unless told again within TYPING_MAX_MS */
};

typedef struct {
    gr_str user, type, thread, event_id;   /* views */
    uint64_t ts, pos, receipt_pos;
} receipt;

/* --- rows: r <user> 0 <type> 0 <thread> -> ts, pos, receipt pos (8 each), event id ---------------------- */
static gr_str key_of(gr_ctx *ctx, gr_str user, gr_str type, gr_str thread)
{
    return gr_room_key_parts(ctx, 'r', 3, (gr_str[]){user, type, thread});
}

static bool read_receipt(gr_str key, gr_str value, receipt *r)
{
    *r = (receipt){0};
    ptrdiff_t first = gr_str_find(key, 0);
    if (first < 1 || value.size < RECEIPT_HEAD) return false;
    gr_str rest = gr_str_from(key, (size_t)first + 1);
    ptrdiff_t second = gr_str_find(rest, 0);
    if (second < 0) return false;
    *r = (receipt){gr_str_of(key.ptr + 1, (size_t)first - 1), gr_str_head(rest, (size_t)second),
                   gr_str_from(rest, (size_t)second + 1), gr_str_from(value, RECEIPT_HEAD), gr_u64be(value.ptr),
                   gr_u64be(value.ptr + 8), gr_u64be(value.ptr + 16)};
    return true;
}

static void put_receipt(gr_ctx *ctx, gr_str key, const receipt *r)
{
    gr_buf out = {0};
    gr_buf_u64be(&out, r->ts);
    gr_buf_u64be(&out, r->pos);
    gr_buf_u64be(&out, r->receipt_pos);
    gr_buf_str(&out, r->event_id);
    gr_ctx_put(ctx, key, gr_buf_view(&out));
    gr_ctx_put(ctx, gr_room_key_number(ctx, 'R', r->receipt_pos), key);
    gr_buf_free(&out);
}

/* --- POST /receipt -------------------------------------------------------------------------------------- */
/* An event belongs to its thread; a root, and what relates to it, to the main timeline, but their readers may speak of them
 * in the thread too.  What was redacted has lost its relation, and is not looked at. */
static bool is_in_thread(gr_room *room, gr_ctx *ctx, const gr_room_record *r, gr_str thread)
{
    gr_room_record at = *r;
    gr_event e;
    if (thread.size == 0 || (r->flags & GR_ROOM_REDACTED)) return true;
    if (!gr_room_event_of(room, gr_ctx_arena(ctx), r, &e)) return false;
    gr_str own = gr_room_thread_of(room, ctx, e.content);
    if (own.size || gr_str_is(thread, "main")) return gr_str_eq(own, gr_str_is(thread, "main") ? (gr_str){0} : thread);
    for (int hops = 0; hops <= GR_ROOM_THREAD_HOPS; hops++) {
        gr_room_relation rel;
        if (gr_str_eq(at.event_id, thread)) return true;
        if (!gr_room_event_of(room, gr_ctx_arena(ctx), &at, &e) || !gr_room_relation_of(ctx, e.content, &rel)
            || !gr_room_record_at(ctx, rel.target, &at)) return false;
    }
    return false;
}

static gr_err check_receipt(gr_room *room, gr_ctx *ctx, const gr_room_receipt *m, gr_room_record *event)
{
    uint64_t number;
    if (gr_room_membership(ctx, m->user) != GR_MEMBER_JOIN) return gr_fail(GR_FORBIDDEN, "You are not in this room");
    if (!gr_str_is(m->type, "m.read") && !gr_str_is(m->type, "m.read.private") && !gr_str_is(m->type, "m.fully_read"))
        return gr_fail(GR_INVALID_PARAM, "A receipt is m.read, m.read.private or m.fully_read");
    bool thread = m->thread.size == 0 || gr_str_is(m->thread, "main") || m->thread.ptr[0] == '$';
    if (!thread || m->thread.size > GR_IDENT_MAX || gr_str_find(m->thread, 0) >= 0)
        return gr_fail(GR_INVALID_PARAM, "thread_id must be \"main\" or the id of the event that begins the thread");
    if (!gr_room_number_of(ctx, m->event_id, &number) || !gr_room_record_at(ctx, number, event))
        return gr_fail(GR_NOT_FOUND, "The event is not in this room");
    if (!is_in_thread(room, ctx, event, m->thread))
        return gr_fail(GR_INVALID_PARAM, "The event does not belong to the thread that thread_id names");
    return gr_ok();
}

void gr_room_on_receipt(gr_room *room, gr_ctx *ctx, const gr_room_receipt *m)
{
    gr_room_record event;
    gr_str value;
    receipt old;
    gr_err err = check_receipt(room, ctx, m, &event);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    if (gr_str_is(m->type, "m.fully_read")) {              /* kept by the user; here it was only asked whether it may be */
        gr_ctx_done(ctx);
        return;
    }
    gr_str key = key_of(ctx, m->user, m->type, m->thread);
    bool known = gr_ctx_get(ctx, key, &value) && read_receipt(key, value, &old);
    if (event.pos > (known ? old.pos : 0)) {               /* a receipt never moves backwards */
        if (known) gr_ctx_del(ctx, gr_room_key_number(ctx, 'R', old.receipt_pos));
        receipt r = {.event_id = m->event_id, .ts = gr_ctx_now_ms(ctx), .pos = event.pos,
                     .receipt_pos = room->next_receipt++};
        put_receipt(ctx, key, &r);
        gr_room_save(room, ctx);
        if (!room->pending_receipts) gr_ctx_timer(ctx, GR_STR("receipts"), r.ts + RECEIPT_DELAY_MS, true);
        room->pending_receipts = true;
    }
    gr_ctx_done(ctx);
}

/* --- reading receipts ----------------------------------------------------------------------------------- */
typedef struct { gr_ctx *ctx; gr_str keys[GR_READ_ROWS_MAX]; uint64_t at[GR_READ_ROWS_MAX]; size_t count; } row_keys;

static bool on_receipt_row(void *arg, gr_str key, gr_str value)
{
    row_keys *k = arg;
    if (key.size != 9) return true;
    k->at[k->count] = gr_u64be(key.ptr + 1);
    k->keys[k->count++] = gr_arena_str(gr_ctx_arena(k->ctx), value);
    return k->count < GR_READ_ROWS_MAX;
}

/* The receipts at positions above `after`: the oldest GR_READ_ROWS_MAX of them, or the newest. */
static receipt *receipts_above(gr_ctx *ctx, uint64_t after, bool newest, size_t *count)
{
    row_keys *k = gr_arena_alloc(gr_ctx_arena(ctx), sizeof *k);
    k->ctx = ctx;
    gr_ctx_scan(ctx, gr_room_key_number(ctx, 'R', after + 1), GR_STR("S"), newest, GR_READ_ROWS_MAX, on_receipt_row, k);
    receipt *list = gr_arena_alloc(gr_ctx_arena(ctx), (k->count + 1) * sizeof *list);
    *count = 0;
    for (size_t i = 0; i < k->count; i++) {
        gr_str value;
        receipt r;
        if (!gr_ctx_get(ctx, k->keys[i], &value) || !read_receipt(k->keys[i], value, &r)) continue;
        if (r.receipt_pos == k->at[i]) list[(*count)++] = r;
    }
    return list;
}

/* Grouped as the content of m.receipt is; of two of one user for the same event and type, the newer comes first. */
static int by_event(const void *a, const void *b)
{
    const receipt *x = a, *y = b;
    int order = gr_str_cmp(x->event_id, y->event_id);
    if (order == 0) order = gr_str_cmp(x->type, y->type);
    if (order == 0) order = gr_str_cmp(x->user, y->user);
    if (order == 0) order = x->receipt_pos > y->receipt_pos ? -1 : 1;
    return order;
}

static void write_receipt(gr_jw *w, const receipt *r)
{
    gr_jw_key_str(w, r->user);
    gr_jw_object(w);
    gr_jw_kint(w, "ts", (int64_t)r->ts);
    if (r->thread.size) gr_jw_kstr(w, "thread_id", r->thread);
    gr_jw_end_object(w);
}

static void write_receipts(gr_jw *w, const receipt *list, size_t count)
{
    gr_jw_object(w);
    for (size_t i = 0; i < count; i++) {
        const receipt *r = &list[i], *last = i ? &list[i - 1] : NULL;
        bool new_event = !last || !gr_str_eq(last->event_id, r->event_id);
        bool new_type = new_event || !gr_str_eq(last->type, r->type);
        if (new_type && last) gr_jw_end_object(w);
        if (new_event && last) gr_jw_end_object(w);
        if (new_event) {
            gr_jw_key_str(w, r->event_id);
            gr_jw_object(w);
        }
        if (new_type) {
            gr_jw_key_str(w, r->type);
            gr_jw_object(w);
        }
        if (new_type || !gr_str_eq(last->user, r->user)) write_receipt(w, r);
    }
    if (count) gr_jw_end_object(w);
    if (count) gr_jw_end_object(w);
    gr_jw_end_object(w);
}

gr_str gr_receipts_after(gr_view *v, uint64_t receipt_pos)
{
    size_t count, kept = 0;
    receipt *list = receipts_above(v->ctx, receipt_pos, true, &count);
    for (size_t i = 0; i < count; i++)
        if (gr_str_is(list[i].type, "m.read") || gr_str_eq(list[i].user, v->user)) list[kept++] = list[i];
    if (kept == 0) return (gr_str){0};
    qsort(list, kept, sizeof *list, by_event);
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    write_receipts(&w, list, kept);
    gr_str text = gr_arena_str(gr_ctx_arena(v->ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

/* --- telling feeds and servers -------------------------------------------------------------------------- */
static void post_receipts(gr_room *room, gr_ctx *ctx, int shard, const receipt *list, size_t count, uint64_t upto)
{
    gr_feed_receipts m = {.room_id = room->id, .receipt_pos = upto};
    m.receipts.at = gr_arena_alloc(gr_ctx_arena(ctx), (count + 1) * sizeof *m.receipts.at);
    for (size_t i = 0; i < count; i++) {
        const receipt *r = &list[i];
        if (!gr_str_is(r->type, "m.read") && gr_id_shard(r->user) != shard) continue;
        m.receipts.at[m.receipts.count++] = (gr_feed_receipt){.user = r->user, .type = r->type, .thread = r->thread,
                                                              .room_pos = r->pos};
    }
    if (m.receipts.count)
        gr_ctx_post(ctx, gr_address_of_shard(gr_ctx_arena(ctx), GR_KIND_FEED, (uint8_t)shard), &gr_type_feed_receipts, &m);
}

static void write_for_servers(gr_jw *w, const receipt *r)
{
    gr_jw_key_str(w, r->user);
    gr_jw_object(w);
    gr_jw_key(w, "data");
    gr_jw_object(w);
    if (r->thread.size) gr_jw_kstr(w, "thread_id", r->thread);
    gr_jw_kint(w, "ts", (int64_t)r->ts);
    gr_jw_end_object(w);
    gr_jw_key(w, "event_ids");
    gr_jw_array(w);
    gr_jw_str(w, r->event_id);
    gr_jw_end_array(w);
    gr_jw_end_object(w);
}

static bool is_told(const receipt *list, const bool *told, size_t count, gr_str user)
{
    for (size_t i = 0; i < count; i++)
        if (told[i] && gr_str_eq(list[i].user, user)) return true;
    return false;
}

/* The first of each of these users that is to go; false: there is none left. */
static bool send_receipts_once(gr_room *room, gr_ctx *ctx, const receipt *list, bool *left, size_t count)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    bool any = false, *now = gr_arena_alloc(gr_ctx_arena(ctx), count + 1);
    gr_jw_object(&w);
    gr_jw_key_str(&w, room->id);
    gr_jw_object(&w);
    gr_jw_key(&w, "m.read");
    gr_jw_object(&w);
    for (size_t i = 0; i < count; i++) {
        if (!left[i] || is_told(list, now, i, list[i].user)) continue;
        write_for_servers(&w, &list[i]);
        now[i] = any = true;
        left[i] = false;
    }
    for (int i = 0; i < 3; i++) gr_jw_end_object(&w);
    if (any) gr_room_send_edu(room, ctx, "m.receipt", gr_buf_view(&out), false);
    gr_buf_free(&out);
    return any;
}

/* Public ones of our users.  An EDU holds one of each user, so those of more threads need more EDUs. */
static void send_receipts(gr_room *room, gr_ctx *ctx, const receipt *list, size_t count)
{
    bool *left = gr_arena_alloc(gr_ctx_arena(ctx), count + 1);
    if (!gr_room_has_servers(room)) return;
    for (size_t i = 0; i < count; i++) left[i] = gr_str_is(list[i].type, "m.read") && gr_room_is_local(ctx, list[i].user);
    while (send_receipts_once(room, ctx, list, left, count)) continue;
}

static void tell_receipts(gr_room *room, gr_ctx *ctx)
{
    gr_str value;
    size_t count;
    uint64_t told = gr_ctx_get(ctx, GR_STR("f"), &value) && value.size == 8 ? gr_u64be(value.ptr) : 0;
    const receipt *list = receipts_above(ctx, told, false, &count);
    uint64_t upto = count ? list[count - 1].receipt_pos : told;
    for (int shard = 0; shard < GR_SHARDS && count; shard++)
        if (room->local_joined[shard]) post_receipts(room, ctx, shard, list, count, upto);
    send_receipts(room, ctx, list, count);
    if (count) gr_ctx_put(ctx, GR_STR("f"), gr_str_from(gr_room_key_number(ctx, 'f', upto), 1));
    room->pending_receipts = upto + 1 < room->next_receipt && count;
    if (room->pending_receipts) gr_ctx_timer(ctx, GR_STR("receipts"), gr_ctx_now_ms(ctx), true);
}

/* --- typing --------------------------------------------------------------------------------------------- */
struct gr_room_typist { struct gr_room_typist *next; uint64_t until_ms, sent_ms; size_t size; char user[]; };

static gr_str user_of(const struct gr_room_typist *t) { return gr_str_of(t->user, t->size); }

/* Other servers hear of users of ours only. */
static void send_typing(gr_room *room, gr_ctx *ctx, gr_str user, bool typing)
{
    gr_buf out = {0};
    if (!gr_room_is_local(ctx, user) || !gr_room_has_servers(room)) return;
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "room_id", room->id);
    gr_jw_kbool(&w, "typing", typing);
    gr_jw_kstr(&w, "user_id", user);
    gr_jw_end_object(&w);
    gr_room_send_edu(room, ctx, "m.typing", gr_buf_view(&out), true);
    gr_buf_free(&out);
}

static void tell_typing(gr_room *room, gr_ctx *ctx)
{
    size_t count = 0;
    for (struct gr_room_typist *t = room->typing; t; t = t->next) count++;
    gr_feed_typing m = {.room_id = room->id, .lasts_ms = TYPING_MAX_MS};
    m.users.at = gr_arena_alloc(gr_ctx_arena(ctx), (count + 1) * sizeof(gr_str));
    for (struct gr_room_typist *t = room->typing; t; t = t->next) m.users.at[m.users.count++] = user_of(t);
    for (int shard = 0; shard < GR_SHARDS; shard++)
        if (room->local_joined[shard])
            gr_ctx_tell(ctx, gr_address_of_shard(gr_ctx_arena(ctx), GR_KIND_FEED, (uint8_t)shard),
                        &gr_type_feed_typing, &m);
    room->typing_told_ms = gr_ctx_now_ms(ctx);
}

static void set_typing_timer(gr_room *room, gr_ctx *ctx)
{
    uint64_t soonest = 0;
    for (struct gr_room_typist *t = room->typing; t; t = t->next)
        if (!soonest || t->until_ms < soonest) soonest = t->until_ms;
    if (soonest) gr_ctx_timer(ctx, GR_STR("typing"), soonest, false);
    else gr_ctx_timer_clear(ctx, GR_STR("typing"));
}

/* Removes those whose time is over, and the user if one is given.  True when any was.  ctx NULL: nobody is told. */
static bool end_typing(gr_room *room, gr_ctx *ctx, uint64_t now_ms, gr_str user)
{
    bool any = false;
    for (struct gr_room_typist **at = &room->typing; *at;) {
        struct gr_room_typist *t = *at;
        if (t->until_ms > now_ms && !gr_str_eq(user_of(t), user)) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        if (ctx) send_typing(room, ctx, user_of(t), false);
        free(t);
        any = true;
    }
    return any;
}

static struct gr_room_typist *find_typist(const gr_room *room, gr_str user)
{
    for (struct gr_room_typist *t = room->typing; t; t = t->next)
        if (gr_str_eq(user_of(t), user)) return t;
    return NULL;
}

static struct gr_room_typist *add_typing(gr_room *room, gr_str user, uint64_t until_ms)
{
    struct gr_room_typist *t = gr_alloc(sizeof *t + user.size);
    *t = (struct gr_room_typist){.next = room->typing, .until_ms = until_ms, .size = user.size};
    memcpy(t->user, user.ptr, user.size);
    room->typing = t;
    return t;
}

/* True: readers here are to be told. */
static bool begin_typing(gr_room *room, gr_ctx *ctx, gr_str user, uint64_t until_ms)
{
    struct gr_room_typist *t = find_typist(room, user);
    bool is_new = !t;
    if (is_new) t = add_typing(room, user, until_ms);
    t->until_ms = until_ms;
    if (is_new || gr_ctx_now_ms(ctx) > t->sent_ms + TYPING_SENT_AGAIN_MS) {
        send_typing(room, ctx, user, true);
        t->sent_ms = gr_ctx_now_ms(ctx);
    }
    return is_new;
}

void gr_room_on_typing(gr_room *room, gr_ctx *ctx, const gr_room_typing *m)
{
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    if (gr_room_membership(ctx, m->user) != GR_MEMBER_JOIN) {
        gr_ctx_fail(ctx, gr_fail(GR_FORBIDDEN, "You are not in this room"));
        return;
    }
    uint64_t until_ms = now_ms + (m->timeout_ms < TYPING_MAX_MS ? m->timeout_ms : TYPING_MAX_MS);
    bool stops = !m->typing || until_ms == now_ms;
    bool changed = end_typing(room, ctx, now_ms, stops ? m->user : (gr_str){0});
    if (!stops) changed |= begin_typing(room, ctx, m->user, until_ms);
    if (changed || (room->typing && now_ms > room->typing_told_ms + TYPING_TOLD_AGAIN_MS)) tell_typing(room, ctx);
    set_typing_timer(room, ctx);
    gr_ctx_done(ctx);
}

void gr_room_on_timer(gr_room *room, gr_ctx *ctx, gr_str name)
{
    if (gr_room_heal(room, ctx, name) || gr_room_sweep(room, ctx, name) || gr_room_go_on(room, ctx, name)
        || gr_room_write_on(room, ctx, name) || gr_room_move_on(room, ctx, name) || gr_room_guests_leave(room, ctx, name)
        || gr_room_relate_more(room, ctx, name) || gr_room_purge_on(room, ctx, name)
        || gr_room_cover_on(room, ctx, name) || gr_room_remotes_on(room, ctx, name) || gr_room_take_incoming(room, ctx, name)
        || gr_room_give_on(room, ctx, name) || gr_room_seek_left_out(room, ctx, name))
        return;
    if (gr_str_is(name, "receipts")) {
        tell_receipts(room, ctx);
        return;
    }
    if (gr_str_is(name, "redacted")) gr_room_on_redacted_timer(room, ctx);
    if (!gr_str_is(name, "typing")) return;
    if (end_typing(room, ctx, gr_ctx_now_ms(ctx), (gr_str){0})) tell_typing(room, ctx);
    set_typing_timer(room, ctx);
}

void gr_receipts_drop(gr_room *room) { end_typing(room, NULL, UINT64_MAX, (gr_str){0}); }
