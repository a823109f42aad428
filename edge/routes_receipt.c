/* routes_receipt.c - receipts, read markers and typing: the client's side. Client-server API, "Receipts",
 * "Read and unread markers", "Typing notifications".
 *
 * Receipts belong to the room; the fully-read marker is account data of the user in the room.
 */
#include "edge/presence.h"
#include "edge/routes.h"

#include "proto/catalogue.h"
#include "proto/ident.h"

enum { TYPING_DEFAULT_MS = 30000 };

typedef struct { unsigned waiting; gr_err err; gr_str room_id, fully_read; } marking;

static bool room_of_path(gr_call *c, gr_str *room_id)
{
    *room_id = gr_call_param(c, "roomId");
    if (gr_ident_room(*room_id)) return true;
    gr_call_fail_with(c, GR_INVALID_PARAM, "The path holds no valid room id");
    return false;
}

/* --- receipts and markers ------------------------------------------------------------------------------- */
static void on_marked(gr_call *c, const gr_answer *a)
{
    marking *h = c->state;
    if (gr_failed(a->err) && !gr_failed(h->err)) {
        h->err = a->err;
        h->err.text = gr_call_keep(c, gr_str_c(a->err.text)).ptr;
    }
    if (--h->waiting) return;
    if (gr_failed(h->err)) gr_call_fail(c, h->err);
    else gr_call_empty(c);
}

static void mark_read(gr_call *c, gr_str room_id, gr_str type, gr_str event_id, gr_str thread)
{
    marking *h = c->state;
    gr_room_receipt m = {.user = c->user, .type = type, .thread = thread, .event_id = event_id};
    h->waiting++;
    gr_call_ask(c, gr_call_address(c, GR_KIND_ROOM, room_id), &gr_type_room_receipt, &m, on_marked);
}

/* The marker is account data of the user, of an event that the room has. */
static void on_markable(gr_call *c, const gr_answer *a)
{
    const marking *h = c->state;
    gr_buf content = {0};
    if (gr_failed(a->err)) {
        on_marked(c, a);
        return;
    }
    gr_jw w = gr_jw_begin(&content);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "event_id", h->fully_read);
    gr_jw_end_object(&w);
    gr_user_account_data_put m = {.room_id = h->room_id, .type = GR_STR("m.fully_read"), .content = gr_buf_view(&content)};
    gr_call_ask(c, gr_call_address(c, GR_KIND_USER, c->user), &gr_type_user_account_data_put, &m, on_marked);
    gr_buf_free(&content);
}

static void mark_fully_read(gr_call *c, gr_str room_id, gr_str event_id)
{
    marking *h = c->state;
    gr_room_receipt m = {.user = c->user, .type = GR_STR("m.fully_read"), .event_id = event_id};
    h->room_id = room_id;
    h->fully_read = event_id;
    h->waiting++;
    gr_call_ask(c, gr_call_address(c, GR_KIND_ROOM, room_id), &gr_type_room_receipt, &m, on_markable);
}

static void serve_receipt(gr_call *c)
{
    gr_str room_id, thread, type = gr_call_param(c, "receiptType"), event_id = gr_call_param(c, "eventId");
    bool fully_read = gr_str_is(type, "m.fully_read");
    if (!room_of_path(c, &room_id)) return;
    const gr_json *given = gr_json_get(c->json, "thread_id");
    thread = gr_json_string(given);
    if (given && (thread.size == 0 || fully_read)) {
        gr_call_fail_with(c, GR_INVALID_PARAM, fully_read ? "m.fully_read has no threads: leave out thread_id"
                                                          : "thread_id must be a string that is not empty");
        return;
    }
    gr_presence_acted(c);
    c->state = gr_arena_alloc(c->arena, sizeof(marking));
    if (fully_read) mark_fully_read(c, room_id, event_id);
    else mark_read(c, room_id, type, event_id, thread);
}

static void serve_markers(gr_call *c)
{
    gr_str room_id, fully_read, read, private;
    if (!room_of_path(c, &room_id) || !gr_call_may_str(c, "m.fully_read", &fully_read)) return;
    if (!gr_call_may_str(c, "m.read", &read) || !gr_call_may_str(c, "m.read.private", &private)) return;
    marking *h = c->state = gr_arena_alloc(c->arena, sizeof *h);
    h->waiting = 1;                        /* held until all are asked */
    if (fully_read.size) mark_fully_read(c, room_id, fully_read);
    if (read.size) mark_read(c, room_id, GR_STR("m.read"), read, (gr_str){0});
    if (private.size) mark_read(c, room_id, GR_STR("m.read.private"), private, (gr_str){0});
    if (--h->waiting == 0) gr_call_empty(c);
}

/* --- typing --------------------------------------------------------------------------------------------- */
static void serve_typing(gr_call *c)
{
    gr_str room_id;
    const gr_json *typing;
    int64_t timeout;
    if (!room_of_path(c, &room_id) || !gr_call_want(c, "typing", GR_JSON_BOOL, &typing)) return;
    if (!gr_call_may_int(c, "timeout", TYPING_DEFAULT_MS, &timeout)) return;
    if (!gr_str_eq(gr_call_param(c, "userId"), c->user)) {
        gr_call_fail_with(c, GR_FORBIDDEN, "You can tell of yourself only that you are typing");
        return;
    }
    gr_presence_acted(c);
    gr_room_typing m = {.user = c->user, .typing = typing->boolean, .timeout_ms = timeout > 0 ? (uint64_t)timeout : 0};
    gr_call_pass(c, gr_call_address(c, GR_KIND_ROOM, room_id), &gr_type_room_typing, &m);
}

#define ROOMS "/_matrix/client/(r0|v3)/rooms/{roomId}"

const gr_call_route gr_routes_receipt[] = {
    {GR_HTTP_POST, ROOMS "/receipt/{receiptType}/{eventId}", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_RECEIPT,
     serve_receipt, .guest_ok = true},
    {GR_HTTP_POST, ROOMS "/read_markers", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_RECEIPT, serve_markers, .guest_ok = true},
    {GR_HTTP_PUT, ROOMS "/typing/{userId}", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_RECEIPT, serve_typing, .guest_ok = true},
    {.pattern = NULL},
};
