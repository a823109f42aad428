/* relate.c - relation rows. See graph.h; client-server API, "Forming relationships between events". */
#include "actors/room/graph.h"

bool gr_room_relation_of(gr_ctx *ctx, const gr_json *content, gr_room_relation *out)
{
    const gr_json *relates = gr_json_get(content, "m.relates_to");
    *out = (gr_room_relation){.rel_type = gr_json_text(relates, "rel_type"),
                              .event_id = gr_json_text(relates, "event_id"),
                              .key = gr_json_text(relates, "key")};
    if (out->rel_type.size == 0 || out->event_id.size == 0) return false;
    return gr_room_number_of(ctx, out->event_id, &out->target);
}

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

/* Rows T list threads by their newest event; row y finds the one of a thread. */
static void thread_moves(gr_ctx *ctx, uint64_t root, uint64_t newest)
{
    gr_str value, key = gr_room_key_number(ctx, 'y', root);
    if (gr_ctx_get(ctx, key, &value) && value.size == 8)
        gr_ctx_del(ctx, gr_room_key_number(ctx, 'T', gr_u64be(value.ptr)));
    gr_ctx_put(ctx, key, number_text(ctx, newest));
    gr_ctx_put(ctx, gr_room_key_number(ctx, 'T', newest), number_text(ctx, root));
}

static void relate(gr_ctx *ctx, const gr_room_record *r, const gr_room_relation *rel)
{
    gr_str zero = GR_STR("\0");
    gr_str parts[] = {rel->rel_type, zero, r->type, zero, r->sender, zero, rel->key};
    gr_ctx_put(ctx, gr_room_key_numbers(ctx, 'l', rel->target, r->number),
               gr_arena_cat(gr_ctx_arena(ctx), 7, parts));
    if (gr_str_is(rel->rel_type, "m.thread")) thread_moves(ctx, rel->target, r->number);
    if (gr_str_is(rel->rel_type, "m.annotation") && keyed(r->type, rel->key))
        gr_ctx_put(ctx, annotation_key(ctx, rel->target, r->sender, r->type, rel->key),
                   gr_str_from(gr_room_key_number(ctx, ' ', r->number), 1));
}

void gr_room_unrelate(gr_ctx *ctx, const gr_room_record *r, const gr_event *event)
{
    gr_room_relation rel;
    if (!gr_room_relation_of(ctx, event->content, &rel)) return;
    gr_ctx_del(ctx, gr_room_key_numbers(ctx, 'l', rel.target, r->number));
    if (keyed(r->type, rel.key))
        gr_ctx_del(ctx, annotation_key(ctx, rel.target, r->sender, r->type, rel.key));
}

void gr_room_relate(gr_room *room, gr_ctx *ctx, const gr_room_made *made)
{
    gr_room_relation rel;
    if (gr_str_is(made->event.type, "m.room.redaction")) gr_room_redact(room, ctx, made);
    if (gr_room_relation_of(ctx, made->event.content, &rel)) relate(ctx, &made->record, &rel);
}
