/* build.c - makes events of local users, and stores events wherever the graph puts them. See room.h.
 *
 * A plain message costs one signature, the rows e, i, p, d and the meta record, and no read: what its
 * authorisation needs is in the cache.
 */
#include "actors/room/cache.h"
#include "actors/room/graph.h"
#include "actors/room/record.h"
#include "actors/room/resolving.h"

#include "proto/base64.h"

#include <stdlib.h>

enum { EVENT_ID_RANDOM = 24, HEALED_SOON_MS = 10000 };

static gr_str number_text(gr_ctx *ctx, uint64_t n) { return gr_str_from(gr_room_key_number(ctx, ' ', n), 1); }

/* --- edges of a new event ------------------------------------------------------------------------------ */
/* Only where edges carry hashes: the reference hash of a stored event. */
static gr_str reference_hash(gr_room *room, gr_ctx *ctx, gr_str event_id)
{
    gr_arena *a = gr_ctx_arena(ctx);
    uint64_t number;
    gr_room_record record;
    const gr_json *json;
    unsigned char hash[GR_EVENT_HASH];
    if (!gr_room_number_of(ctx, event_id, &number) || !gr_room_record_at(ctx, number, &record))
        return (gr_str){0};
    if (gr_failed(gr_json_parse(a, record.json, GR_JSON_LAX, &json))) return (gr_str){0};
    gr_event_reference_hash(room->version, json, hash);
    return gr_base64(a, gr_str_of(hash, sizeof hash));
}

static gr_strs reference_hashes(gr_room *room, gr_ctx *ctx, gr_strs ids)
{
    if (!room->version->edges_carry_hashes) return (gr_strs){0};
    gr_strs hashes = {gr_arena_alloc(gr_ctx_arena(ctx), (ids.count + 1) * sizeof(gr_str)), ids.count};
    for (size_t i = 0; i < ids.count; i++) hashes.at[i] = reference_hash(room, ctx, ids.at[i]);
    return hashes;
}

static gr_strs pick_auth(gr_room *room, gr_ctx *ctx, const gr_event *e)
{
    gr_auth_needs needs = gr_auth_select(room->version, e->type, e->sender, e->state_key, e->content);
    gr_strs ids = {gr_arena_alloc(gr_ctx_arena(ctx), (needs.count + 1) * sizeof(gr_str)), 0};
    for (size_t i = 0; i < needs.count; i++) {
        const gr_event *found = gr_room_state(room, ctx, needs.at[i].type, needs.at[i].state_key);
        if (found) ids.at[ids.count++] = found->event_id;
    }
    return ids;
}

static gr_str chosen_event_id(gr_ctx *ctx)
{
    char bytes[EVENT_ID_RANDOM];
    gr_ctx_random(ctx, bytes, sizeof bytes);
    gr_str opaque = gr_base64_url(gr_ctx_arena(ctx), gr_str_of(bytes, sizeof bytes));
    return gr_arena_cat(gr_ctx_arena(ctx), 4,
                        (gr_str[]){GR_STR("$"), opaque, GR_STR(":"), gr_env_of(ctx)->server_name});
}

/* --- making -------------------------------------------------------------------------------------------- */
static gr_err read_draft(gr_room *room, gr_ctx *ctx, const gr_room_draft *draft, gr_event *e)
{
    const gr_json *content;
    gr_err err = gr_json_parse(gr_ctx_arena(ctx), draft->content, room->version->json, &content);
    if (gr_failed(err)) return err;
    if (!gr_json_is(content, GR_JSON_OBJECT))
        return gr_fail(GR_BAD_JSON, "An event's content must be a JSON object");
    if (draft->type.size == 0 || gr_str_find(draft->type, 0) >= 0)
        return gr_fail(GR_INVALID_PARAM, "An event's type must not be empty, nor hold a NUL character");
    *e = (gr_event){.version = room->version,
                    .room_id = room->id,
                    .type = draft->type,
                    .sender = draft->sender,
                    .state_key = draft->state_key,
                    .has_state_key = draft->has_state_key,
                    .content = content,
                    .redacts = draft->redacts,
                    .origin_server_ts = (int64_t)(draft->ts ? draft->ts : gr_ctx_now_ms(ctx))};
    e->prev_events = gr_room_prevs(room, ctx, &e->depth);
    return gr_ok();
}

/* What an event by the draft holds on top of the extremities, if the room allows it. */
static gr_err plan(gr_room *room, gr_ctx *ctx, const gr_room_draft *draft, gr_event *e, gr_event_fields *fields)
{
    gr_room_nodes nodes;
    gr_auth_state state = gr_room_auth_state(&nodes, room, ctx);
    gr_err err = gr_room_at_rest(room);
    if (!gr_failed(err)) err = read_draft(room, ctx, draft, e);
    if (gr_failed(err)) return err;
    e->auth_events = pick_auth(room, ctx, e);
    err = gr_auth_check(gr_ctx_arena(ctx), e, &state);
    if (gr_failed(err)) return err;
    *fields = (gr_event_fields){.version = room->version,
                                .room_id = room->id,
                                .sender = e->sender,
                                .type = e->type,
                                .has_state_key = e->has_state_key,
                                .state_key = e->state_key,
                                .content = draft->content,
                                .redacts = e->redacts,
                                .prev_events = e->prev_events,
                                .auth_events = e->auth_events,
                                .prev_hashes = reference_hashes(room, ctx, e->prev_events),
                                .auth_hashes = reference_hashes(room, ctx, e->auth_events),
                                .depth = e->depth,
                                .origin_server_ts = e->origin_server_ts};
    return gr_ok();
}

gr_err gr_room_plan(gr_room *room, gr_ctx *ctx, const gr_room_draft *draft, gr_str *text)
{
    gr_event e;
    gr_event_fields fields;
    *text = (gr_str){0};
    gr_err err = plan(room, ctx, draft, &e, &fields);
    return gr_failed(err) ? err : gr_event_template(gr_ctx_arena(ctx), &fields, text);
}

/* There are more branches than one event can join.  Other servers ask what those that it does join have in common whether it
 * is allowed: a sender whose join lies on another branch waits until dummy events have joined that. */
static gr_err state_before_some(gr_room *room, gr_ctx *ctx, const gr_event *e, uint64_t *before)
{
    gr_room_then then;
    gr_err err = gr_room_state_before(room, ctx, e->prev_events, before);
    if (gr_failed(err)) return err;
    gr_auth_state state = gr_room_auth_state_at(&then, room, ctx, *before);
    if (!gr_failed(gr_auth_check(gr_ctx_arena(ctx), e, &state))) return gr_ok();
    return (gr_err){GR_LIMIT_EXCEEDED, "The room has more branches than one event joins: try again when they have come together",
                    HEALED_SOON_MS};
}

static gr_err sign(gr_room *room, gr_ctx *ctx, const gr_room_draft *draft, gr_event *e, gr_event_built *built)
{
    gr_event_fields fields;
    *built = (gr_event_built){0};
    gr_err err = plan(room, ctx, draft, e, &fields);
    if (gr_failed(err)) return err;
    if (room->version->event_id == GR_EVENT_ID_CHOSEN) fields.event_id = chosen_event_id(ctx);
    return gr_event_build(gr_ctx_arena(ctx), &fields, gr_env_of(ctx)->signer, built);
}

gr_err gr_room_sign(gr_room *room, gr_ctx *ctx, const gr_room_draft *draft, gr_event_built *built)
{
    gr_event e;
    return sign(room, ctx, draft, &e, built);
}

gr_err gr_room_build(gr_room *room, gr_ctx *ctx, const gr_room_draft *draft, gr_room_made *made)
{
    gr_event e;
    gr_event_built built;
    *made = (gr_room_made){0};
    gr_err err = sign(room, ctx, draft, &e, &built);
    if (gr_failed(err)) return err;
    e.event_id = built.event_id;
    e.content = built.content;
    uint64_t before = room->root;
    if (e.prev_events.count < room->extremity_count) err = state_before_some(room, ctx, &e, &before);
    if (gr_failed(err)) return err;
    err = gr_room_store(room, ctx, &e, built.text, &(gr_room_place){.flags = GR_ROOM_ACCEPTED, .before = before}, made);
    made->is_ours = !gr_failed(err);
    return err;
}

gr_err gr_room_accept(gr_room *room, gr_ctx *ctx, const gr_event *e, gr_str text, uint32_t flags,
                      gr_room_made *made)
{
    uint64_t before = 0;
    *made = (gr_room_made){0};
    if (!(flags & GR_ROOM_OUTLIER)) {
        gr_err err = gr_room_state_before(room, ctx, e->prev_events, &before);
        if (gr_failed(err)) return err;
    }
    gr_err err = gr_room_store(room, ctx, e, text, &(gr_room_place){.flags = flags, .before = before}, made);
    if (gr_failed(err)) return err;
    gr_room_redact_late(room, ctx, made);
    gr_room_relate_late(room, ctx, made);
    return err;
}

/* --- storing ------------------------------------------------------------------------------------------- */
static uint64_t set_state(gr_room *room, gr_ctx *ctx, uint64_t root, uint64_t key, uint64_t number)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    return gr_trie_set(&trie, root, key, number);
}

/* Even if it never becomes current: events on its branch are hidden. */
static void note_hiding(gr_ctx *ctx, const gr_room_record *r, const gr_event *e)
{
    if (!r->is_state || r->state_key.size || !gr_str_is(r->type, "m.room.history_visibility")) return;
    gr_visibility now = gr_visibility_of(gr_json_text(e->content, "history_visibility"));
    if (now == GR_VISIBLE_INVITED || now == GR_VISIBLE_JOINED) gr_ctx_put(ctx, GR_STR("V"), (gr_str){0});
}

static void put_rows(gr_ctx *ctx, const gr_room_record *r)
{
    gr_buf out = {0};
    gr_room_record_write(&out, r);
    gr_ctx_put(ctx, gr_room_key_number(ctx, 'e', r->number), gr_buf_view(&out));
    gr_buf_free(&out);
    gr_ctx_put(ctx, gr_room_key(ctx, 'i', r->event_id), number_text(ctx, r->number));
    if (r->pos) gr_ctx_put(ctx, gr_room_key_numbers(ctx, 'd', r->depth, r->pos), number_text(ctx, r->number));
}

void gr_room_put_pos(gr_ctx *ctx, uint64_t pos, gr_pos_kind kind, uint64_t number, uint64_t root)
{
    gr_buf out = {0};
    gr_buf_char(&out, (char)kind);
    gr_buf_u64be(&out, number);
    gr_buf_u64be(&out, root);
    gr_ctx_put(ctx, gr_room_key_number(ctx, 'p', pos), gr_buf_view(&out));
    gr_buf_free(&out);
}

gr_err gr_room_current_root(gr_room *room, gr_ctx *ctx, uint64_t *root)
{
    uint64_t *roots = gr_arena_alloc(gr_ctx_arena(ctx), (room->extremity_count + 1) * sizeof *roots);
    for (size_t i = 0; i < room->extremity_count; i++) roots[i] = room->extremities[i].root;
    return gr_room_resolve(room, ctx, (gr_u64s){roots, room->extremity_count}, root);
}

/* Row o, set when the room was begun: history takes positions below those of the stream. */
static gr_err history_pos(gr_ctx *ctx, uint64_t *pos)
{
    gr_str value;
    if (!gr_ctx_get(ctx, GR_STR("o"), &value) || value.size != 8 || gr_u64be(value.ptr) == 0)
        return gr_fail(GR_FORBIDDEN, "This room has no place for history from other servers");
    *pos = gr_u64be(value.ptr);
    gr_ctx_put(ctx, GR_STR("o"), number_text(ctx, *pos - 1));
    return gr_ok();
}

/* What an outlier keeps when it gets its place: its number, and that it was redacted. */
static void keep_outlier(gr_ctx *ctx, uint64_t number, gr_room_record *r)
{
    gr_room_record old;
    if (number == 0 || !gr_room_record_at(ctx, number, &old)) return;
    r->flags |= old.flags & GR_ROOM_REDACTED;
    r->redacted_by = old.redacted_by;
    if (old.flags & GR_ROOM_REDACTED) r->json = old.json;
}

gr_err gr_room_move_state(gr_room *room, gr_ctx *ctx, gr_room_made *made)
{
    uint64_t root;
    gr_err err = gr_room_current_root(room, ctx, &root);
    if (room->must_wait) {
        gr_room_apply_later(room, ctx, made);
        return gr_ok();
    }
    if (gr_failed(err)) return err;
    const gr_room_record *r = &made->record;
    bool linear = r->number && r->state_before == room->root && r->state_after == root;
    if (linear) gr_room_apply_event(room, ctx, made);
    else gr_room_apply_state(room, ctx, root, made);
    return gr_ok();
}

gr_err gr_room_store(gr_room *room, gr_ctx *ctx, const gr_event *e, gr_str text, const gr_room_place *place,
                     gr_room_made *made)
{
    enum { HIDDEN = GR_ROOM_REJECTED | GR_ROOM_SOFT_FAILED | GR_ROOM_OUTLIER };
    bool is_followed = (place->flags & GR_ROOM_ACCEPTED) && !(place->flags & HIDDEN), key_is_new = false;
    bool shown = is_followed && !gr_room_is_dummy(e);
    gr_err err = is_followed && !place->is_history ? gr_room_at_rest(room) : gr_ok();
    if (gr_failed(err)) return err;
    gr_room_record r = {.flags = place->flags | (place->is_history ? GR_ROOM_HISTORY : 0),
                        .number = place->number ? place->number : room->next_number++,
                        .depth = (uint64_t)e->depth,
                        .ts = (uint64_t)e->origin_server_ts,
                        .state_before = place->before,
                        .state_after = place->before,
                        .event_id = e->event_id,
                        .type = e->type,
                        .sender = e->sender,
                        .state_key = e->state_key,
                        .is_state = e->has_state_key,
                        .json = text};
    if (shown && place->is_history) err = history_pos(ctx, &r.pos);
    if (gr_failed(err)) return err;
    if (shown && !place->is_history) r.pos = room->next_pos++;
    keep_outlier(ctx, place->number, &r);
    if (r.is_state) r.key = gr_room_key_make(room, ctx, r.type, r.state_key, &key_is_new);
    if (r.key && !(r.flags & (GR_ROOM_REJECTED | GR_ROOM_OUTLIER)))
        r.state_after = set_state(room, ctx, r.state_before, r.key, r.number);
    gr_room_cover(room, ctx, e, &r);
    *made = (gr_room_made){.number = r.number,
                           .pos = r.pos,
                           .event_id = e->event_id,
                           .event = *e,
                           .record = r,
                           .key_is_new = key_is_new};
    put_rows(ctx, &r);
    note_hiding(ctx, &r, e);
    if (!is_followed) return gr_ok();
    if (!place->is_history) {
        if (r.depth > room->depth) room->depth = r.depth;
        gr_room_advance(room, ctx, &r, e->prev_events, place->is_named);
        err = gr_room_move_state(room, ctx, made);
    }
    if (!gr_failed(err) && shown) gr_room_relate(room, ctx, made);
    return err;
}
