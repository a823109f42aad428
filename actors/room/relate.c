/* relate.c - relation rows. See graph.h; client-server API, "Forming relationships between events".
 *
 * Children of a parent are kept in the order of their positions, so that those which come late, as history, stand where they
 * belong.  A child that is here before its parent waits for it.
 */
#include "actors/room/graph.h"

enum { LATE_STEP = 16, THREAD_LOOK = 64 };

static gr_str timer(void) { return GR_STR("related"); }

bool gr_room_relation_of(gr_ctx *ctx, const gr_json *content, gr_room_relation *out)
{
    const gr_json *relates = gr_json_get(content, "m.relates_to");
    *out = (gr_room_relation){.rel_type = gr_json_text(relates, "rel_type"),
                              .event_id = gr_json_text(relates, "event_id"),
                              .key = gr_json_text(relates, "key")};
    if (out->rel_type.size == 0 || out->event_id.size == 0) return false;
    return gr_room_number_of(ctx, out->event_id, &out->target);
}

/* --- annotations ---------------------------------------------------------------------------------------- */
static gr_str annotation_key(gr_ctx *ctx, uint64_t target, gr_str sender, gr_str type, gr_str key)
{
    gr_str parts[] = {gr_room_key_number(ctx, 'L', target), sender, GR_STR("\0"), type, GR_STR("\0"), key};
    return gr_arena_cat(gr_ctx_arena(ctx), 6, parts);
}

/* Keys of rows are bounded; an annotation with a longer key is stored, but may be repeated. */
static bool keyed(gr_str type, gr_str key) { return type.size + key.size < GR_SUBKEY_MAX - 512; }

bool gr_room_annotated(gr_ctx *ctx, uint64_t target, gr_str sender, gr_str type, gr_str key)
{
    gr_str value;
    return keyed(type, key) && gr_ctx_get(ctx, annotation_key(ctx, target, sender, type, key), &value);
}

static gr_str number_text(gr_ctx *ctx, uint64_t n) { return gr_str_from(gr_room_key_number(ctx, ' ', n), 1); }

/* --- threads: rows T list them by their newest event; row y finds the one of a thread -------------------- */
static void thread_is_at(gr_ctx *ctx, uint64_t root, uint64_t newest)
{
    gr_str value, key = gr_room_key_number(ctx, 'y', root);
    uint64_t now = gr_ctx_get(ctx, key, &value) && value.size == 8 ? gr_u64be(value.ptr) : 0;
    if (now) gr_ctx_del(ctx, gr_room_key_number(ctx, 'T', now));
    if (newest) gr_ctx_put(ctx, key, number_text(ctx, newest));
    else gr_ctx_del(ctx, key);
    if (newest) gr_ctx_put(ctx, gr_room_key_number(ctx, 'T', newest), number_text(ctx, root));
}

static void thread_grows(gr_ctx *ctx, uint64_t root, uint64_t pos)
{
    gr_str value;
    bool known = gr_ctx_get(ctx, gr_room_key_number(ctx, 'y', root), &value) && value.size == 8;
    if (!known || gr_u64be(value.ptr) < pos) thread_is_at(ctx, root, pos);
}

static bool find_reply(void *arg, gr_str key, gr_str value)
{
    gr_str rel_type = gr_str_from(value, 8);
    ptrdiff_t end = gr_str_find(rel_type, 0);
    if (end < 0 || !gr_str_is(gr_str_head(rel_type, (size_t)end), "m.thread")) return true;
    *(uint64_t *)arg = gr_u64be(key.ptr + key.size - 8);
    return false;
}

/* The newest event of a thread is gone: the one before it takes its place. */
static void thread_shrinks(gr_ctx *ctx, uint64_t root, uint64_t pos)
{
    gr_str value;
    uint64_t newest = 0;
    bool newest_goes = gr_ctx_get(ctx, gr_room_key_number(ctx, 'y', root), &value) && value.size == 8
                       && gr_u64be(value.ptr) == pos;
    if (!newest_goes) return;
    gr_ctx_scan(ctx, gr_room_key_numbers(ctx, 'l', root, 0), gr_room_key_numbers(ctx, 'l', root, pos), true, THREAD_LOOK,
                find_reply, &newest);
    thread_is_at(ctx, root, newest);
}

/* --- one child ------------------------------------------------------------------------------------------ */
static void relate(gr_ctx *ctx, const gr_room_record *r, const gr_room_relation *rel)
{
    gr_str zero = GR_STR("\0");
    gr_str parts[] = {number_text(ctx, r->number), rel->rel_type, zero, r->type, zero, r->sender, zero, rel->key};
    gr_ctx_put(ctx, gr_room_key_numbers(ctx, 'l', rel->target, r->pos), gr_arena_cat(gr_ctx_arena(ctx), 8, parts));
    if (gr_str_is(rel->rel_type, "m.thread")) thread_grows(ctx, rel->target, r->pos);
    if (gr_str_is(rel->rel_type, "m.annotation") && keyed(r->type, rel->key))
        gr_ctx_put(ctx, annotation_key(ctx, rel->target, r->sender, r->type, rel->key), number_text(ctx, r->number));
}

static gr_str late_key(gr_ctx *ctx, gr_str parent, uint64_t child)
{
    return gr_room_key_parts(ctx, 'O', 2, (gr_str[]){parent, number_text(ctx, child)});
}

static bool can_be_waited_for(gr_str event_id) { return event_id.size <= GR_EVENT_FIELD_MAX && gr_str_find(event_id, 0) < 0; }

void gr_room_unrelate(gr_ctx *ctx, const gr_room_record *r, const gr_event *event)
{
    gr_room_relation rel;
    if (!gr_room_relation_of(ctx, event->content, &rel)) {
        if (rel.event_id.size && can_be_waited_for(rel.event_id)) gr_ctx_del(ctx, late_key(ctx, rel.event_id, r->number));
        return;
    }
    gr_ctx_del(ctx, gr_room_key_numbers(ctx, 'l', rel.target, r->pos));
    if (gr_str_is(rel.rel_type, "m.thread")) thread_shrinks(ctx, rel.target, r->pos);
    if (keyed(r->type, rel.key))
        gr_ctx_del(ctx, annotation_key(ctx, rel.target, r->sender, r->type, rel.key));
}

/* --- children that were here before their parent -------------------------------------------------------- */
typedef struct { gr_arena *arena; gr_str parent; uint64_t at[LATE_STEP]; size_t count; } waiting;

static bool collect(void *arg, gr_str key, gr_str value)
{
    waiting *w = arg;
    (void)value;
    if (key.size > 9) w->at[w->count++] = gr_u64be(key.ptr + key.size - 8);
    return w->count < LATE_STEP;
}

/* Some at a time: row j says whose children are not all done yet. */
static void relate_late(gr_room *room, gr_ctx *ctx, gr_str parent)
{
    waiting w = {.arena = gr_ctx_arena(ctx)};
    gr_ctx_scan_prefix(ctx, gr_room_key_parts(ctx, 'O', 2, (gr_str[]){parent, {0}}), LATE_STEP, collect, &w);
    for (size_t i = 0; i < w.count; i++) {
        gr_room_record r;
        gr_event e;
        gr_room_relation rel;
        bool known = gr_room_record_at(ctx, w.at[i], &r) && gr_room_event_of(room, w.arena, &r, &e);
        if (known && r.pos && gr_room_relation_of(ctx, e.content, &rel)) relate(ctx, &r, &rel);
        gr_ctx_del(ctx, late_key(ctx, parent, w.at[i]));
    }
    gr_str more = gr_room_key(ctx, 'j', parent);
    if (w.count == LATE_STEP) {
        gr_ctx_put(ctx, more, GR_STR(""));
        gr_ctx_timer(ctx, timer(), gr_ctx_now_ms(ctx), true);
    } else {
        gr_ctx_del(ctx, more);
    }
}

static bool take_parent(void *arg, gr_str key, gr_str value)
{
    waiting *w = arg;
    (void)value;
    w->parent = gr_arena_str(w->arena, gr_str_from(key, 1));
    return false;
}

bool gr_room_relate_more(gr_room *room, gr_ctx *ctx, gr_str name)
{
    waiting w = {.arena = gr_ctx_arena(ctx)};
    if (!gr_str_eq(name, timer())) return false;
    gr_ctx_scan_prefix(ctx, GR_STR("j"), 1, take_parent, &w);
    if (w.parent.size == 0) return true;
    gr_ctx_timer(ctx, timer(), gr_ctx_now_ms(ctx), true);              /* there may be more of another parent */
    relate_late(room, ctx, w.parent);
    return true;
}

void gr_room_relate_late(gr_room *room, gr_ctx *ctx, const gr_room_made *made)
{
    waiting w = {0};
    gr_ctx_scan_prefix(ctx, gr_room_key_parts(ctx, 'O', 2, (gr_str[]){made->event_id, {0}}), 1, collect, &w);
    if (w.count) relate_late(room, ctx, made->event_id);
}

void gr_room_relate(gr_room *room, gr_ctx *ctx, const gr_room_made *made)
{
    gr_room_relation rel;
    if (gr_str_is(made->event.type, "m.room.redaction")) gr_room_redact(room, ctx, made);
    if (gr_room_relation_of(ctx, made->event.content, &rel)) relate(ctx, &made->record, &rel);
    else if (rel.rel_type.size && rel.event_id.size && can_be_waited_for(rel.event_id))
        gr_ctx_put(ctx, late_key(ctx, rel.event_id, made->number), GR_STR(""));
}
