/* incoming.c - see incoming.h. */
#include "edge/incoming.h"
#include "edge/edge.h"

#include "actors/keys/wants.h"
#include "proto/ident.h"

enum { PART_BYTES = 256 * 1024, TAKE_MS = 30 * 1000, KEY_ID_RANDOM = 16 };

/* Events of one room that go in one message. */
struct gr_incoming_part { gr_str room_id; size_t at[GR_INCOMING_MAX], count, bytes; };

/* --- results ------------------------------------------------------------------------------------------------ */
/* Where the room is not known, neither is its version: most ids are the same in all that hash. */
static gr_str likely_id(gr_call *call, const gr_json *pdu)
{
    gr_str given = gr_json_text(pdu, "event_id");
    if (gr_ident_event(given) || !gr_json_is(pdu, GR_JSON_OBJECT)) return given;
    return gr_event_id(call->arena, gr_room_version_find(GR_STR("10")), pdu);
}

static void finish(gr_call *call)
{
    gr_incoming *in = call->state;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (uint32_t i = 0; in->pdus && i < in->pdus->count; i++) {
        if (!in->ids[i].size) in->ids[i] = likely_id(call, &in->pdus->items[i]);
        bool again = !gr_ident_event(in->ids[i]);
        for (uint32_t k = 0; k < i && !again; k++) again = gr_str_eq(in->ids[k], in->ids[i]);
        if (again) continue;
        gr_jw_key_str(&w, in->ids[i]);
        gr_jw_object(&w);
        if (in->errors[i].size) gr_jw_kstr(&w, "error", in->errors[i]);
        gr_jw_end_object(&w);
    }
    gr_jw_end_object(&w);
    in->results = gr_call_keep(call, gr_buf_view(&out));
    gr_buf_free(&out);
    in->then(call);
}

/* --- rooms that nobody here is in ------------------------------------------------------------------------------ */
static bool may_pass(gr_errcode code)
{
    return code == GR_UNAVAILABLE || code == GR_TIMEOUT || code == GR_LIMIT_EXCEEDED || code == GR_UNKNOWN;
}

static void rescind(gr_call *call);

static void on_rescinded(gr_call *call)
{
    gr_incoming *in = call->state;
    gr_err err = in->rescinding.err;
    size_t i = in->looked_at++;
    in->ids[i] = in->rescinding.event_id;
    in->errors[i] = gr_failed(err) ? gr_str_c(err.text) : (gr_str){0};
    in->is_failed |= may_pass(err.code);
    rescind(call);
}

static void rescind(gr_call *call)
{
    gr_incoming *in = call->state;
    size_t count = in->pdus ? in->pdus->count : 0;
    while (in->looked_at < count
           && !(in->unknown[in->looked_at] && gr_rescinding_is(call, &in->pdus->items[in->looked_at])))
        in->looked_at++;
    if (in->looked_at == count) {
        finish(call);
        return;
    }
    in->rescinding = (gr_rescinding){.pdu = &in->pdus->items[in->looked_at], .keys = in->keys, .key_count = in->key_count,
                                     .then = on_rescinded};
    gr_rescinding_tell(call);
}

/* --- rooms -------------------------------------------------------------------------------------------------- */
static void on_staged(gr_call *call, const gr_answer *a)
{
    gr_incoming *in = call->state;
    const struct gr_incoming_part *p = &in->parts[a->number];
    const gr_room_incoming_are *are = a->body;
    bool good = !gr_failed(a->err) && a->type == &gr_type_room_incoming_are && are->ids.count == p->count
        && are->errors.count == p->count;
    for (size_t i = 0; i < p->count; i++) {
        in->unknown[p->at[i]] = a->err.code == GR_NOT_FOUND;
        if (good) in->ids[p->at[i]] = gr_call_keep(call, are->ids.at[i]);
        if (good) in->errors[p->at[i]] = gr_call_keep(call, are->errors.at[i]);
        else in->errors[p->at[i]] = a->err.code == GR_NOT_FOUND ? GR_STR("This server is not in that room")
                                                                : gr_call_keep(call, gr_str_c(a->err.text));
    }
    in->is_failed |= !good && (!gr_failed(a->err) || may_pass(a->err.code));
    if (--in->open == 0) rescind(call);
}

static void ask_room(gr_call *call, size_t number)
{
    const gr_incoming *in = call->state;
    const struct gr_incoming_part *p = &in->parts[number];
    gr_room_incoming m = {.origin = call->origin, .pdus = {gr_arena_alloc(call->arena, p->count * sizeof(gr_str)), p->count},
                          .keys = {in->keys, in->key_count}};
    for (size_t i = 0; i < p->count; i++) m.pdus.at[i] = gr_json_printed(call->arena, &in->pdus->items[p->at[i]]);
    gr_str room = gr_call_address(call, GR_KIND_ROOM, p->room_id);
    gr_call_ask_more(call, room, &gr_type_room_incoming, &m, on_staged, number, TAKE_MS, false);
}

static void ask_rooms(gr_call *call)
{
    gr_incoming *in = call->state;
    in->open = in->part_count;
    for (size_t i = 0; i < in->part_count; i++) {
        gr_recent_rooms_note(call->edge->recent_rooms, call->origin, in->parts[i].room_id);
        ask_room(call, i);
    }
}

/* --- keys --------------------------------------------------------------------------------------------------- */
static void on_keys(gr_call *call, const gr_answer *a)
{
    gr_incoming *in = call->state;
    gr_buf bytes = {0};
    void *body;
    if (!gr_failed(a->err) && a->type == &gr_type_keys_found) {        /* a copy that lives as long as the call */
        gr_body_encode(&bytes, &gr_type_keys_found, a->body);
        if (!gr_failed(gr_body_decode(call->arena, &gr_type_keys_found, gr_call_keep(call, gr_buf_view(&bytes)), &body))) {
            in->keys = ((gr_keys_found *)body)->servers.at;
            in->key_count = ((gr_keys_found *)body)->servers.count;
        }
        gr_buf_free(&bytes);
    }
    ask_rooms(call);
}

static void ask_keys(gr_call *call)
{
    const gr_incoming *in = call->state;
    gr_wants wants = gr_wants_begin(call->arena, gr_call_server_name(call), call->now_ms);
    for (uint32_t i = 0; i < in->pdus->count; i++) gr_wants_add_pdu(&wants, &in->pdus->items[i]);
    gr_keys_find find = {.servers = {wants.at, wants.count}};
    gr_str flow = gr_call_address(call, GR_KIND_KEYS, gr_call_new_id(call, KEY_ID_RANDOM));
    if (wants.count == 0) ask_rooms(call);
    else gr_call_ask_more(call, flow, &gr_type_keys_find, &find, on_keys, 0, TAKE_MS, false);
}

/* --- taking them apart -------------------------------------------------------------------------------------- */
static void add(gr_incoming *in, gr_str room_id, size_t number, size_t bytes)
{
    struct gr_incoming_part *p = NULL;
    for (size_t i = 0; i < in->part_count; i++)
        if (gr_str_eq(in->parts[i].room_id, room_id) && in->parts[i].bytes + bytes <= PART_BYTES) p = &in->parts[i];
    if (!p) p = &in->parts[in->part_count++];
    p->room_id = room_id;
    p->at[p->count++] = number;
    p->bytes += bytes;
}

void gr_incoming_take(gr_call *call)
{
    gr_incoming *in = call->state;
    size_t count = in->pdus ? in->pdus->count : 0;
    in->parts = gr_arena_alloc(call->arena, (count + 1) * sizeof *in->parts);
    in->ids = gr_arena_alloc(call->arena, (count + 1) * sizeof *in->ids);
    in->errors = gr_arena_alloc(call->arena, (count + 1) * sizeof *in->errors);
    in->unknown = gr_arena_alloc(call->arena, (count + 1) * sizeof *in->unknown);
    for (size_t i = 0; i < count; i++) {
        const gr_json *pdu = &in->pdus->items[i];
        gr_str room_id = gr_json_text(pdu, "room_id");
        gr_str text = gr_json_printed(call->arena, pdu);
        if (!gr_ident_room(room_id)) in->errors[i] = GR_STR("The event does not name its room");
        else if (text.size > GR_EVENT_SIZE_MAX) in->errors[i] = GR_STR("The event is larger than events may be");
        else add(in, room_id, i, text.size);
    }
    if (in->part_count) ask_keys(call);
    else finish(call);
}
