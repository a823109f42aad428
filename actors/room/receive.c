/* receive.c - authorises events of other servers and gives them their place. See receive.h. */
#include "actors/room/incoming.h"
#include "actors/room/policy.h"
#include "actors/room/resolving.h"

enum { POS_FIRST_WITH_HISTORY = 1 << 30, POS_OF_GAP = 1 << 20 };

/* --- what an event cites -------------------------------------------------------------------------------- */
typedef struct {
    gr_room *room;
    gr_ctx *ctx;
    const gr_event *event;
    gr_room_record auth[GR_EVENT_AUTH_MAX];
    const gr_event *parsed[GR_EVENT_AUTH_MAX];     /* of auth, when they were needed */
    size_t auth_count;
} judge;

static void add(gr_ctx *ctx, gr_strs *list, gr_str id)
{
    if (!list->at) list->at = gr_arena_alloc(gr_ctx_arena(ctx), GR_EVENT_PREV_MAX * sizeof *list->at);
    list->at[list->count++] = id;
}

static bool find(gr_room *room, gr_ctx *ctx, gr_str id, gr_room_record *r)
{
    uint64_t number;
    return gr_room_number_cited(room, ctx, id, &number) && gr_room_record_at(ctx, number, r);
}

static void find_auth(judge *j, gr_strs *missing)
{
    const gr_strs ids = j->event->auth_events;
    for (size_t i = 0; i < ids.count; i++) {
        if (find(j->room, j->ctx, ids.at[i], &j->auth[j->auth_count])) j->auth_count++;
        else add(j->ctx, missing, ids.at[i]);
    }
}

/* Predecessors without a state: not here, or outliers. */
static void find_prevs(gr_room *room, gr_ctx *ctx, const gr_event *e, gr_strs *missing)
{
    for (size_t i = 0; i < e->prev_events.count; i++) {
        gr_room_record r;
        if (gr_room_extremity_of(room, e->prev_events.at[i])) continue;
        if (!find(room, ctx, e->prev_events.at[i], &r) || (r.flags & GR_ROOM_OUTLIER))
            add(ctx, missing, e->prev_events.at[i]);
    }
}

/* --- the checks ----------------------------------------------------------------------------------------- */
static const gr_event *parse(judge *j, const gr_room_record *r)
{
    gr_arena *a = gr_ctx_arena(j->ctx);
    gr_event *e = gr_arena_alloc(a, sizeof *e);
    j->room->parsed++;
    return gr_room_event_of(j->room, a, r, e) ? e : NULL;
}

/* Where the room id names the create event, nothing else does. */
static const gr_event *named_create(judge *j)
{
    gr_room_record r;
    gr_str id = gr_arena_cat(gr_ctx_arena(j->ctx), 2, (gr_str[]){GR_STR("$"), gr_str_from(j->room->id, 1)});
    return find(j->room, j->ctx, id, &r) && !(r.flags & GR_ROOM_REJECTED) ? parse(j, &r) : NULL;
}

static const gr_event *in_list(void *arg, gr_str type, gr_str state_key)
{
    judge *j = arg;
    if (j->room->version->room_id_is_create_hash && gr_str_is(type, "m.room.create")) return named_create(j);
    for (size_t i = 0; i < j->auth_count; i++) {
        const gr_room_record *r = &j->auth[i];
        if (!r->is_state || !gr_str_eq(r->type, type) || !gr_str_eq(r->state_key, state_key)) continue;
        if (!j->parsed[i]) j->parsed[i] = parse(j, r);
        return j->parsed[i];
    }
    return NULL;
}

/* The fourth check.  The list itself is judged by the headers of its events. */
static gr_err check_by_list(judge *j)
{
    gr_arena *a = gr_ctx_arena(j->ctx);
    gr_event heads[GR_EVENT_AUTH_MAX];
    const gr_event *list[GR_EVENT_AUTH_MAX];
    bool rejected[GR_EVENT_AUTH_MAX];
    for (size_t i = 0; i < j->auth_count; i++) {
        const gr_room_record *r = &j->auth[i];
        heads[i] = (gr_event){.version = j->room->version, .event_id = r->event_id, .room_id = j->room->id,
                              .type = r->type, .state_key = r->state_key, .has_state_key = r->is_state};
        list[i] = &heads[i];
        rejected[i] = r->flags & GR_ROOM_REJECTED;
    }
    gr_err err = gr_auth_check_list(a, j->event, list, rejected, j->auth_count);
    if (gr_failed(err)) return err;
    return gr_auth_check(a, j->event, &(gr_auth_state){in_list, j});
}

static gr_err check_by_state(judge *j, uint64_t root)
{
    gr_room_then then;
    gr_auth_state state = gr_room_auth_state_at(&then, j->room, j->ctx, root);
    return gr_auth_check(gr_ctx_arena(j->ctx), j->event, &state);
}

/* A room has one create event; by the rules alone its server could make more. */
static gr_err check_create(judge *j)
{
    if (!gr_str_is(j->event->type, "m.room.create")) return gr_ok();
    if (!gr_room_key_of(j->room, j->ctx, GR_STR("m.room.create"), (gr_str){0})) return gr_ok();
    return gr_fail(GR_FORBIDDEN, "The room has a create event already");
}

static gr_err check_cited(judge *j)
{
    gr_err err = check_create(j);
    return gr_failed(err) ? err : check_by_list(j);
}

/* --- entering ------------------------------------------------------------------------------------------- */
/* True: there is nothing more to do, by what is known of the event, or because of an error. */
static bool is_settled(judge *j, gr_room_received *out, gr_room_record *outlier, gr_err *err)
{
    *err = gr_ok();
    *out = (gr_room_received){0};
    *outlier = (gr_room_record){0};
    if (j->event->version != j->room->version || !gr_str_eq(j->event->room_id, j->room->id)) {
        *err = gr_fail(GR_BAD_JSON, "The event is of another room");
        return true;
    }
    bool known = find(j->room, j->ctx, j->event->event_id, outlier);
    if (known && !(outlier->flags & GR_ROOM_OUTLIER)) {
        out->fate = GR_PDU_KNOWN;
        return true;
    }
    find_auth(j, &out->missing_auth);
    return false;
}

static void refuse(gr_room_received *out, gr_pdu_fate fate, gr_err err)
{
    out->fate = fate;
    out->why = gr_str_c(err.text);
}

gr_err gr_room_hold(gr_room *room, gr_ctx *ctx, const gr_event *e, gr_str text, gr_room_received *out)
{
    gr_err err;
    gr_room_record outlier;
    judge j = {.room = room, .ctx = ctx, .event = e};
    if (is_settled(&j, out, &outlier, &err)) return err;
    out->fate = outlier.number ? GR_PDU_KNOWN : GR_PDU_WAITS;
    if (outlier.number || out->missing_auth.count) return gr_ok();
    gr_err judged = check_cited(&j);
    uint32_t flags = GR_ROOM_OUTLIER | (gr_failed(judged) ? GR_ROOM_REJECTED : GR_ROOM_ACCEPTED);
    if (gr_failed(judged)) refuse(out, GR_PDU_REJECTED, judged);
    else out->fate = GR_PDU_HELD;
    err = gr_room_store(room, ctx, e, text, &(gr_room_place){.flags = flags}, &out->made);
    if (gr_failed(err)) return err;
    gr_room_redact_late(room, ctx, &out->made);
    gr_room_relate_late(room, ctx, &out->made);
    gr_room_wake(room, ctx, e->event_id);
    return err;
}

/* Checks 4 to 6, and the flags that come of them. */
static uint32_t decide(judge *j, const gr_room_record *outlier, const gr_room_receiving *how, uint64_t before,
                       gr_room_received *out)
{
    gr_err err = gr_ok();
    if (outlier->number && (outlier->flags & GR_ROOM_REJECTED))
        err = gr_fail(GR_FORBIDDEN, "The event's auth_events do not allow it");
    else if (!outlier->number) err = check_cited(j);
    if (!gr_failed(err)) err = check_by_state(j, before);
    if (gr_failed(err)) {
        refuse(out, GR_PDU_REJECTED, err);
        return GR_ROOM_REJECTED;
    }
    out->fate = GR_PDU_ACCEPTED;
    if (how->is_history || how->is_entry || j->room->extremity_count == 0) return GR_ROOM_ACCEPTED;
    if (before != j->room->root) err = check_by_state(j, j->room->root);
    bool allowed = !gr_failed(err);
    if (allowed && !how->is_recommended) err = gr_room_policy_check(j->room, j->ctx, j->event, j->event->json);
    if (!gr_failed(err)) return GR_ROOM_ACCEPTED;
    refuse(out, allowed && how->asks_policy ? GR_PDU_UNSIGNED : GR_PDU_SOFT_FAILED, err);
    return GR_ROOM_ACCEPTED | GR_ROOM_SOFT_FAILED;
}

static void begin_history_below(gr_ctx *ctx, uint64_t pos)
{
    gr_ctx_put(ctx, GR_STR("o"), gr_str_from(gr_room_key_number(ctx, ' ', pos - 1), 1));
}

/* Readers can't go on from what they have seen to what lies behind a gap: the next sync is limited.  A room that was made
 * here has places for history only from here on. */
static void mark_gap(gr_room *room, gr_ctx *ctx, const gr_room_receiving *how, const gr_room_received *out)
{
    gr_str none;
    bool is_expected = how->is_history || how->is_entry || room->extremity_count == 0;
    if (out->missing_prev.count == 0 || is_expected || out->fate != GR_PDU_ACCEPTED) return;
    if (!gr_ctx_get(ctx, GR_STR("o"), &none)) {
        room->next_pos += POS_OF_GAP;
        begin_history_below(ctx, room->next_pos);
    }
    gr_room_put_pos(ctx, room->next_pos++, GR_POS_GAP, 0, room->root);
}

/* A hidden event that one of the stream names already: so that one names what this one names, too. */
static gr_err name_behind(judge *j, gr_room_received *out)
{
    gr_room_made moved = {0};
    if (!gr_room_named(j->room, j->ctx, j->event->prev_events)) return gr_ok();
    gr_err err = gr_room_move_state(j->room, j->ctx, &moved);
    out->made.state_pos = moved.state_pos;
    out->made.moved_from = moved.moved_from;
    return err;
}

static gr_err store(judge *j, gr_str text, const gr_room_place *place, gr_room_received *out)
{
    gr_ctx *ctx = j->ctx;
    gr_err err = gr_room_store(j->room, ctx, j->event, text, place, &out->made);
    if (!gr_failed(err) && place->is_named && out->fate != GR_PDU_ACCEPTED) err = name_behind(j, out);
    if (gr_failed(err)) return err;
    gr_room_arrived(j->room, ctx, j->event->event_id);
    gr_room_wake(j->room, ctx, j->event->event_id);
    if (out->fate == GR_PDU_ACCEPTED) gr_room_wait_for(j->room, ctx, &out->made.record, out->missing_prev);
    if (out->fate != GR_PDU_ACCEPTED) return gr_ok();
    gr_room_redact_late(j->room, ctx, &out->made);
    gr_room_relate_late(j->room, ctx, &out->made);
    return gr_ok();
}

gr_err gr_room_receive(gr_room *room, gr_ctx *ctx, const gr_event *e, gr_str text, const gr_room_receiving *how,
                       gr_room_received *out)
{
    gr_err err;
    gr_room_record outlier;
    judge j = {.room = room, .ctx = ctx, .event = e};
    gr_room_place place = {.is_history = how->is_history};
    if (is_settled(&j, out, &outlier, &err)) return err;
    if (!how->is_history) err = gr_room_at_rest(room);
    if (gr_failed(err)) return err;
    find_prevs(room, ctx, e, &out->missing_prev);
    if (out->missing_auth.count || (out->missing_prev.count && !how->has_before)) return gr_ok();
    if (how->has_before) place.before = how->before;
    else err = gr_room_state_before(room, ctx, e->prev_events, &place.before);
    if (gr_failed(err)) return err;
    /* An outlier may have been redacted: then it is judged as what is left of it. */
    gr_event left;
    if (outlier.number && gr_room_event_of(room, gr_ctx_arena(ctx), &outlier, &left)) j.event = &left;
    place.number = outlier.number;
    place.is_named = !how->is_history && gr_room_is_waited_for(room, ctx, e->event_id);
    place.flags = decide(&j, &outlier, how, place.before, out) | (how->has_before ? GR_ROOM_GIVEN : 0);
    if (out->fate == GR_PDU_UNSIGNED) return gr_ok();
    mark_gap(room, ctx, how, out);
    return store(&j, text, &place, out);
}

/* --- a room from elsewhere ------------------------------------------------------------------------------ */
static bool is_of_version(const gr_event *create)
{
    gr_str named = gr_json_text(create->content, "room_version");
    return gr_str_is(gr_json_get(create->content, "room_version") ? named : GR_STR("1"), create->version->id);
}

gr_err gr_room_begin(gr_room *room, gr_ctx *ctx, const gr_event *create, gr_str text, gr_room_received *out)
{
    uint64_t number;
    *out = (gr_room_received){.fate = GR_PDU_KNOWN};
    if (room->exists && room->extremity_count == 0 && gr_room_number_of(ctx, create->event_id, &number)) return gr_ok();
    if (room->exists) return gr_fail(GR_ROOM_IN_USE, "The room is here already");
    if (!gr_event_is(create, "m.room.create", "") || !is_of_version(create))
        return gr_fail(GR_BAD_JSON, "That is no create event of a room of this version");
    room->version = create->version;
    room->exists = true;
    room->next_pos = POS_FIRST_WITH_HISTORY;
    begin_history_below(ctx, room->next_pos);
    gr_err err = gr_room_hold(room, ctx, create, text, out);
    if (!gr_failed(err) && out->fate != GR_PDU_HELD) err = gr_fail(GR_FORBIDDEN, out->why.ptr);
    return err;
}
