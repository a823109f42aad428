/* gap.c - see gap.h.  The steps are in the order of this file. */
#include "actors/gap/gap.h"
#include "actors/keys/wants.h"
#include "actors/room/incoming.h"
#include "actors/tally.h"

#include "proto/ident.h"
#include "proto/uri.h"
#include "proto/xmatrix.h"

#include <stdlib.h>

enum {
    ASK_MS = 30 * 1000, REQUEST_MS = 20 * 1000, STATE_MS = 45 * 1000, GIVE_BYTES = 256 * 1024, GIVE_EVENTS = 50,
    IDS_PAGE = GR_GIVEN_PAGE, KEY_ID_RANDOM = 16
};

typedef enum { IDLE, MISSING, KEYS, GIVE, LOOK, EVENT, STATE_IDS, HAVE, FETCH, FETCH_STATE, PUT_IDS, MAKE } step;

typedef struct {
    gr_arena *arena;                   /* of all below; NULL: nothing is asked */
    gr_gap_flow_row *row;
    step now;
    uint64_t turn;                     /* answers to older asks are late */
    size_t rounds, open;
    gr_str event_id, event;            /* the missing predecessor, its PDU */
    gr_strs state, ids, lacking;       /* ids of its state; these and their auth chain; those that are not here */
    size_t next;                       /* of ids, or of lacking */
    gr_strs given;                     /* PDUs for the room */
    size_t given_next;
    gr_incoming_mode mode;
    gr_str base;
    gr_keys_found keys;
    void (*then)(void *, gr_ctx *);    /* when all were given */
} flow;

static void run(flow *f, gr_ctx *ctx);
static void look(void *self, gr_ctx *ctx);

/* --- memory ------------------------------------------------------------------------------------------------- */
#define ROW GR_STR("f")
#define TIMER GR_STR("gap")

static void forget(flow *f)
{
    gr_arena_free(&f->arena);
    *f = (flow){.turn = f->turn};
}

static void load(void *self, gr_str id, gr_ctx *ctx)
{
    flow *f = self;
    gr_str bytes;
    void *body;
    (void)id;
    if (!gr_ctx_get(ctx, ROW, &bytes)) return;
    f->arena = gr_arena_new(0);
    if (gr_failed(gr_body_decode(f->arena, &gr_type_gap_flow_row, gr_arena_str(f->arena, bytes), &body))) forget(f);
    else f->row = body;
}

static void drop(void *self) { gr_arena_free(&((flow *)self)->arena); }

static gr_str keep(flow *f, gr_str text) { return gr_arena_str(f->arena, text); }

static void keep_more(flow *f, gr_strs *list, gr_str text)
{
    if ((list->count & (list->count - 1)) == 0 && (list->count == 0 || list->count >= 8)) {
        gr_str *more = gr_arena_alloc(f->arena, (list->count ? list->count * 2 : 8) * sizeof *more);
        if (list->count) memcpy(more, list->at, list->count * sizeof *more);
        list->at = more;
    }
    list->at[list->count++] = text;
}

static void end(flow *f, gr_ctx *ctx)
{
    gr_str room = gr_address(gr_ctx_arena(ctx), GR_KIND_ROOM, f->row->room_id);
    gr_ctx_post(ctx, room, &gr_type_room_gap_done, &(gr_room_gap_done){.origin = f->row->origin});
    gr_ctx_del(ctx, ROW);
    gr_ctx_timer_clear(ctx, TIMER);
    forget(f);
}

/* It may be had later, or come by itself: it is tried again until the time is over. */
static void try_later(flow *f, gr_ctx *ctx)
{
    uint64_t turn = f->turn;
    forget(f);
    load(f, (gr_str){0}, ctx);
    f->turn = turn + 1;
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx) + GR_GAP_AGAIN_MS, true);
}

/* --- asking ------------------------------------------------------------------------------------------------- */
static gr_resume resume_of(const flow *f, size_t number)
{
    return (gr_resume){.step = (uint32_t)f->now, .number = f->turn << 32 | number};
}

static void begin_step(flow *f, step now)
{
    f->now = now;
    f->turn++;
    f->open = 0;
}

static void ask_room(flow *f, gr_ctx *ctx, const gr_type *type, const void *body)
{
    gr_resume resume = resume_of(f, 0);
    gr_ctx_ask(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_ROOM, f->row->room_id), type, body, ASK_MS, &resume);
    f->open++;
}

static void ask_server(flow *f, gr_ctx *ctx, const char *method, gr_str uri, gr_str content, size_t number)
{
    gr_resume resume = resume_of(f, number);
    gr_destination_request m = {.method = gr_str_c(method), .uri = uri, .content = content, .timeout_ms = REQUEST_MS};
    gr_ctx_ask(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_DESTINATION, f->row->origin), &gr_type_destination_request, &m,
               REQUEST_MS + 5000, &resume);
    f->open++;
}

/* What is larger than a message comes straight to the flow. */
static void fetch(flow *f, gr_ctx *ctx, gr_str uri, uint64_t answer_max)
{
    gr_resume resume = resume_of(f, 0);
    gr_xmatrix_request parts = {.method = GR_STR("GET"), .uri = uri};
    gr_fetch m = {.server = f->row->origin, .method = parts.method, .uri = uri, .timeout_ms = STATE_MS, .answer_max = answer_max,
                  .authorization = gr_xmatrix_header(gr_ctx_arena(ctx), gr_env_of(ctx)->signer, f->row->origin, &parts)};
    gr_ctx_fetch(ctx, &m, &resume);
    f->open++;
}

static gr_str uri_of(const flow *f, gr_ctx *ctx, const char *what, gr_str id)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_str room = gr_uri_encode(a, f->row->room_id), event = gr_uri_encode(a, id);
    if (strcmp(what, "event") == 0) return gr_arena_printf(a, "/_matrix/federation/v1/event/%" GR_FMT, GR_ARG(event));
    return gr_arena_printf(a, "/_matrix/federation/v1/%s/%" GR_FMT "?event_id=%" GR_FMT, what, GR_ARG(room), GR_ARG(event));
}

/* --- 1: events between -------------------------------------------------------------------------------------- */
static void write_ids(gr_jw *w, const char *key, gr_strs ids)
{
    gr_jw_key(w, key);
    gr_jw_array(w);
    for (size_t i = 0; i < ids.count; i++) gr_jw_str(w, ids.at[i]);
    gr_jw_end_array(w);
}

static void ask_missing(flow *f, gr_ctx *ctx)
{
    gr_buf body = {0};
    gr_jw w = gr_jw_begin(&body);
    begin_step(f, MISSING);
    gr_jw_object(&w);
    write_ids(&w, "earliest_events", f->row->known);
    write_ids(&w, "latest_events", (gr_strs){&f->row->event_id, 1});
    gr_jw_kint(&w, "limit", GR_GAP_LIMIT);
    gr_jw_kint(&w, "min_depth", (int64_t)f->row->depth);
    gr_jw_end_object(&w);
    gr_arena *a = gr_ctx_arena(ctx);
    gr_str uri = gr_arena_printf(a, "/_matrix/federation/v1/get_missing_events/%" GR_FMT,
                                 GR_ARG(gr_uri_encode(a, f->row->room_id)));
    ask_server(f, ctx, "POST", uri, gr_buf_view(&body), 0);
    gr_buf_free(&body);
}

/* --- events for the room ------------------------------------------------------------------------------------ */
static void begin_giving(flow *f, gr_incoming_mode mode, gr_str base, void (*then)(void *, gr_ctx *))
{
    f->given = (gr_strs){0};
    f->given_next = 0;
    f->mode = mode;
    f->base = base;
    f->then = then;
}

static void give_some(flow *f, gr_ctx *ctx)
{
    size_t bytes = 0, count = 0, left = f->given.count - f->given_next;
    begin_step(f, GIVE);
    if (left == 0) {
        f->then(f, ctx);
        return;
    }
    for (; count < left && count < GIVE_EVENTS && (count == 0 || bytes < GIVE_BYTES); count++)
        bytes += f->given.at[f->given_next + count].size;
    gr_room_incoming m = {.origin = f->row->origin, .pdus = {f->given.at + f->given_next, count}, .mode = (uint64_t)f->mode,
                          .until_taken = true, .base = f->base};
    m.keys.at = f->keys.servers.at;
    m.keys.count = f->keys.servers.count;
    f->given_next += count;
    ask_room(f, ctx, &gr_type_room_incoming, &m);
}

/* Those that were fetched, with the keys of their signers. */
static void give(flow *f, gr_ctx *ctx)
{
    unsigned char random[KEY_ID_RANDOM];
    gr_arena *a = gr_ctx_arena(ctx);
    gr_wants wants = gr_wants_begin(a, gr_env_of(ctx)->server_name, gr_ctx_now_ms(ctx));
    gr_buf id = {0};
    begin_step(f, KEYS);
    for (size_t i = 0; i < f->given.count; i++) {
        const gr_json *pdu;
        if (!gr_failed(gr_json_parse(a, f->given.at[i], GR_JSON_LAX, &pdu))) gr_wants_add_pdu(&wants, pdu);
    }
    f->keys = (gr_keys_found){0};
    if (wants.count == 0) {
        give_some(f, ctx);
        return;
    }
    gr_ctx_random(ctx, random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++) gr_buf_printf(&id, "%02x", random[i]);
    gr_keys_find find = {.servers = {wants.at, wants.count}};
    gr_resume resume = resume_of(f, 0);
    gr_ctx_ask(ctx, gr_address(a, GR_KIND_KEYS, gr_buf_view(&id)), &gr_type_keys_find, &find, ASK_MS, &resume);
    f->open++;
    gr_buf_free(&id);
}

static void on_keys(flow *f, gr_ctx *ctx, const gr_msg *m)
{
    gr_buf bytes = {0};
    void *body;
    if (!gr_failed(m->err) && m->type == &gr_type_keys_found) {
        gr_body_encode(&bytes, &gr_type_keys_found, m->body);
        if (!gr_failed(gr_body_decode(f->arena, &gr_type_keys_found, keep(f, gr_buf_view(&bytes)), &body)))
            f->keys = *(gr_keys_found *)body;
        gr_buf_free(&bytes);
    }
    give_some(f, ctx);
}

/* --- 2: what is still missing -------------------------------------------------------------------------------- */
static void fetch_lacking(flow *f, gr_ctx *ctx);

static void look(void *self, gr_ctx *ctx)
{
    flow *f = self;
    begin_step(f, LOOK);
    ask_room(f, ctx, &gr_type_room_gap_look, &(gr_room_gap_look){.origin = f->row->origin});
}

static void on_look(flow *f, gr_ctx *ctx, const gr_room_gap_is *m)
{
    if (m->prevs.count == 0 && m->auth.count == 0) {
        end(f, ctx);
        return;
    }
    if (f->rounds++ == GR_GAP_ROUNDS) {
        try_later(f, ctx);
        return;
    }
    if (m->auth.count) {
        begin_giving(f, GR_INCOMING_HELD, (gr_str){0}, look);
        f->lacking = (gr_strs){0};
        for (size_t i = 0; i < m->auth.count; i++) keep_more(f, &f->lacking, keep(f, m->auth.at[i]));
        f->ids = f->lacking;
        fetch_lacking(f, ctx);
        return;
    }
    begin_step(f, EVENT);
    f->event_id = keep(f, m->prevs.at[0]);
    ask_server(f, ctx, "GET", uri_of(f, ctx, "event", f->event_id), (gr_str){0}, 0);
}

/* --- 3: the state before the first of it ---------------------------------------------------------------------- */
static gr_str one_pdu(gr_arena *a, const gr_msg *m)
{
    const gr_json *body = NULL;
    if (gr_failed(m->err) || m->type != &gr_type_result) return (gr_str){0};
    if (gr_failed(gr_json_parse(a, ((const gr_result *)m->body)->body, GR_JSON_LAX, &body))) return (gr_str){0};
    const gr_json *pdus = gr_json_get(body, "pdus");
    return gr_json_is(pdus, GR_JSON_ARRAY) && pdus->count ? gr_json_printed(a, &pdus->items[0]) : (gr_str){0};
}

static void on_event(flow *f, gr_ctx *ctx, const gr_msg *m)
{
    f->event = keep(f, one_pdu(gr_ctx_arena(ctx), m));
    if (f->event.size == 0) {
        try_later(f, ctx);
        return;
    }
    begin_step(f, STATE_IDS);
    fetch(f, ctx, uri_of(f, ctx, "state_ids", f->event_id), GR_GAP_IDS_BYTES);
}

static const gr_json *fetched_object(gr_ctx *ctx, const gr_msg *m)
{
    const gr_fetched *got = m->body;
    const gr_json *body = NULL;
    if (gr_failed(m->err) || got->failure != GR_FETCH_ANSWERED || got->status != 200) return NULL;
    return gr_failed(gr_json_parse(gr_ctx_arena(ctx), got->body, GR_JSON_LAX, &body)) ? NULL : body;
}

static void add_ids(flow *f, gr_strs *list, const gr_json *ids)
{
    for (uint32_t i = 0; gr_json_is(ids, GR_JSON_ARRAY) && i < ids->count && list->count < GR_GAP_IDS_MAX; i++)
        if (gr_ident_event(gr_json_string(&ids->items[i]))) keep_more(f, list, keep(f, gr_json_string(&ids->items[i])));
}

static void ask_have(flow *f, gr_ctx *ctx)
{
    size_t left = f->ids.count - f->next;
    begin_step(f, HAVE);
    if (left == 0) {
        begin_giving(f, GR_INCOMING_HELD, (gr_str){0}, NULL);
        fetch_lacking(f, ctx);
        return;
    }
    size_t count = left < IDS_PAGE ? left : IDS_PAGE;
    ask_room(f, ctx, &gr_type_room_have, &(gr_room_have){.ids = {f->ids.at + f->next, count}});
    f->next += count;
}

static void on_state_ids(flow *f, gr_ctx *ctx, const gr_msg *m)
{
    const gr_json *body = fetched_object(ctx, m);
    if (!body || !gr_json_get(body, "pdu_ids")) {
        try_later(f, ctx);
        return;
    }
    f->state = f->ids = f->lacking = (gr_strs){0};
    f->next = 0;
    add_ids(f, &f->state, gr_json_get(body, "pdu_ids"));
    add_ids(f, &f->ids, gr_json_get(body, "auth_chain_ids"));      /* these first: what cites them comes after them */
    add_ids(f, &f->ids, gr_json_get(body, "pdu_ids"));
    ask_have(f, ctx);
}

static void on_have(flow *f, gr_ctx *ctx, const gr_room_have_not *m)
{
    for (size_t i = 0; i < m->ids.count; i++) keep_more(f, &f->lacking, keep(f, m->ids.at[i]));
    ask_have(f, ctx);
}

/* --- 4: what the room lacks of it ----------------------------------------------------------------------------- */
static void put_ids(void *self, gr_ctx *ctx);

static void give_lacking(flow *f, gr_ctx *ctx)
{
    if (!f->then) f->then = put_ids;
    gr_ctx_tally(ctx, GR_TALLY_GAP_FETCHED, f->given.count);
    give(f, ctx);
}

static void ask_more(flow *f, gr_ctx *ctx)
{
    while (f->open < GR_GAP_WIDTH && f->next < f->lacking.count) {
        size_t number = f->next++;
        ask_server(f, ctx, "GET", uri_of(f, ctx, "event", f->lacking.at[number]), (gr_str){0}, number);
    }
    if (f->open == 0) give_lacking(f, ctx);
}

static void fetch_lacking(flow *f, gr_ctx *ctx)
{
    f->next = 0;
    if (f->lacking.count > GR_GAP_MANY && f->lacking.count > f->ids.count / 2) {
        begin_step(f, FETCH_STATE);
        fetch(f, ctx, uri_of(f, ctx, "state", f->event_id), GR_GAP_STATE_BYTES);
        return;
    }
    begin_step(f, FETCH);
    ask_more(f, ctx);
}

/* What can't be had is left out: the room says what it needs of it. */
static void on_fetched_event(flow *f, gr_ctx *ctx, const gr_msg *m)
{
    gr_str pdu = one_pdu(gr_ctx_arena(ctx), m);
    if (pdu.size) keep_more(f, &f->given, keep(f, pdu));
    ask_more(f, ctx);
}

static void on_state(flow *f, gr_ctx *ctx, const gr_msg *m)
{
    static const char *const lists[] = {"auth_chain", "pdus"};
    const gr_json *body = fetched_object(ctx, m);
    for (size_t l = 0; body && l < 2; l++) {
        const gr_json *pdus = gr_json_get(body, lists[l]);
        for (uint32_t i = 0; gr_json_is(pdus, GR_JSON_ARRAY) && i < pdus->count && i < GR_GAP_IDS_MAX; i++)
            keep_more(f, &f->given, keep(f, gr_json_printed(gr_ctx_arena(ctx), &pdus->items[i])));
    }
    give_lacking(f, ctx);
}

/* --- 5: the state, and the event on top of it ------------------------------------------------------------------ */
static gr_str base_name(const flow *f, gr_ctx *ctx)
{
    return gr_arena_printf(gr_ctx_arena(ctx), "gap %016llx", (unsigned long long)gr_str_hash(f->row->origin));
}

static void put_ids_more(flow *f, gr_ctx *ctx)
{
    size_t left = f->state.count - f->next;
    if (left == 0) {
        begin_step(f, MAKE);
        ask_room(f, ctx, &gr_type_room_given_make, &(gr_room_given_make){.name = base_name(f, ctx), .count = f->next});
        return;
    }
    begin_step(f, PUT_IDS);
    size_t count = left < IDS_PAGE ? left : IDS_PAGE;
    gr_room_given_put m = {.name = base_name(f, ctx), .first = f->next, .ids = {f->state.at + f->next, count}};
    f->next += count;
    ask_room(f, ctx, &gr_type_room_given_put, &m);
}

static void put_ids(void *self, gr_ctx *ctx)
{
    flow *f = self;
    f->next = 0;
    put_ids_more(f, ctx);
}

static void on_made(flow *f, gr_ctx *ctx)
{
    begin_giving(f, GR_INCOMING_LIVE, keep(f, base_name(f, ctx)), look);
    keep_more(f, &f->given, f->event);
    gr_ctx_tally(ctx, GR_TALLY_GAP_FETCHED, 1);
    give(f, ctx);
}

/* --- messages --------------------------------------------------------------------------------------------------- */
static void on_missing(flow *f, gr_ctx *ctx, const gr_msg *m)
{
    const gr_json *body = NULL;
    bool good = !gr_failed(m->err) && m->type == &gr_type_result
        && !gr_failed(gr_json_parse(gr_ctx_arena(ctx), ((const gr_result *)m->body)->body, GR_JSON_LAX, &body));
    const gr_json *events = good ? gr_json_get(body, "events") : NULL;
    begin_giving(f, GR_INCOMING_LIVE, (gr_str){0}, look);
    for (uint32_t i = 0; gr_json_is(events, GR_JSON_ARRAY) && i < events->count && i < 2 * GR_GAP_LIMIT; i++)
        keep_more(f, &f->given, keep(f, gr_json_printed(gr_ctx_arena(ctx), &events->items[i])));
    gr_ctx_tally(ctx, GR_TALLY_GAP_FETCHED, f->given.count);
    give(f, ctx);
}

static void run(flow *f, gr_ctx *ctx) { ask_missing(f, ctx); }

/* A room that is too busy is asked again when the timer comes. */
static bool has_failed(flow *f, const gr_msg *m)
{
    if (!gr_failed(m->err) || f->now == MISSING || f->now == KEYS || f->now == EVENT || f->now == FETCH) return false;
    f->now = IDLE;
    return true;
}

static void on_reply(flow *f, gr_ctx *ctx, const gr_msg *m)
{
    if (!f->row || m->resume->step != (uint32_t)f->now || m->resume->number >> 32 != (f->turn & UINT32_MAX)) return;
    f->open--;
    if (has_failed(f, m)) return;
    switch (f->now) {
    case IDLE: break;
    case MISSING: on_missing(f, ctx, m); break;
    case KEYS: on_keys(f, ctx, m); break;
    case GIVE: give_some(f, ctx); break;
    case LOOK: on_look(f, ctx, m->body); break;
    case EVENT: on_event(f, ctx, m); break;
    case STATE_IDS: on_state_ids(f, ctx, m); break;
    case HAVE: on_have(f, ctx, m->body); break;
    case FETCH: on_fetched_event(f, ctx, m); break;
    case FETCH_STATE: on_state(f, ctx, m); break;
    case PUT_IDS: put_ids_more(f, ctx); break;
    case MAKE: on_made(f, ctx); break;
    }
}

static void on_fill(flow *f, gr_ctx *ctx, const gr_gap_fill *m)
{
    gr_gap_flow_row row = {.room_id = m->room_id, .origin = m->origin, .event_id = m->event_id, .known = m->known,
                           .depth = m->depth, .until_ms = gr_ctx_now_ms(ctx) + GR_GAP_MS};
    if (f->row) return;
    gr_ctx_put_body(ctx, ROW, &gr_type_gap_flow_row, &row);
    load(f, (gr_str){0}, ctx);
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx) + GR_GAP_STEP_MS, true);
    if (f->row) run(f, ctx);
}

/* Nothing is under way after a restart, or when the room could not go on. */
static void on_timer(flow *f, gr_ctx *ctx)
{
    if (!f->row) return;
    if (gr_ctx_now_ms(ctx) >= f->row->until_ms) {
        end(f, ctx);
        return;
    }
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx) + GR_GAP_STEP_MS, true);
    if (f->now == IDLE) run(f, ctx);
}

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    if (m->verb == GR_REPLY) on_reply(self, ctx, m);
    else if (m->type == &gr_type_gap_fill) on_fill(self, ctx, m->body);
    else if (m->type == &gr_type_timer) on_timer(self, ctx);
    else gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A gap flow does not take this message"));
}

static bool busy(const void *self) { return ((const flow *)self)->now != IDLE; }

static size_t memory(const void *self)
{
    const flow *f = self;
    return f->arena ? gr_arena_used(f->arena) : 0;
}

static uint64_t digest(const void *self)
{
    const flow *f = self;
    return f->row ? gr_body_hash(&gr_type_gap_flow_row, f->row) : 0;
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    static const char *const names[] = {"idle", "missing", "keys", "give", "look", "event", "state_ids", "have", "fetch",
                                        "fetch_state", "put_ids", "make"};
    const flow *f = self;
    (void)ctx;
    gr_buf_printf(out, "\"step\":\"%s\",\"rounds\":%zu,\"lacking\":%zu,\"open\":%zu", names[f->now], f->rounds, f->lacking.count,
                  f->open);
}

const gr_actor_kind gr_gap_kind = {.kind = GR_KIND_GAP, .size = sizeof(flow), .load = load, .handle = handle, .drop = drop,
                                   .busy = busy, .memory = memory, .digest = digest, .inspect = inspect};
