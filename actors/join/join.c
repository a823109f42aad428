/* join.c - the joining flow: what was asked, its steps, and its ends. See join.h. */
#include "actors/join/join_private.h"

#include "proto/base64.h"
#include "proto/ident.h"
#include "proto/uri.h"
#include "proto/xmatrix.h"

#include <stdlib.h>

enum { TRIES_MAX = 8, SWEEP_ROWS = 64, EVENT_ID_RANDOM = 18, ERROR_TEXT_MAX = 512 };

static gr_str row(void) { return GR_STR("f"); }
static gr_str timer_name(void) { return GR_STR("step"); }
gr_str gr_join_room_id(gr_ctx *ctx) { return gr_address_id(gr_ctx_self(ctx)); }

/* --- memory --------------------------------------------------------------------------------------------------- */
static void forget(gr_join *j)
{
    gr_arena_free(&j->arena);
    gr_join_reply_forget(j);
    gr_join_check_forget(j);
    j->flow = NULL;
    j->open = 0;
}

static bool keep(gr_join *j, gr_str bytes)
{
    void *body;
    gr_arena *arena = gr_arena_new(bytes.size + 1024);
    bool good = !gr_failed(gr_body_decode(arena, &gr_type_join_flow, gr_arena_str(arena, bytes), &body));
    gr_arena_free(&j->arena);
    j->arena = arena;
    j->flow = good ? body : NULL;
    return good;
}

static void keep_flow(gr_join *j, const gr_join_flow *flow)
{
    gr_buf bytes = {0};
    gr_body_encode(&bytes, &gr_type_join_flow, flow);
    bool good = keep(j, gr_buf_view(&bytes));
    gr_buf_free(&bytes);
    gr_assert(good);
}

static void load(void *self, gr_str id, gr_ctx *ctx)
{
    gr_str bytes;
    (void)id;
    if (gr_ctx_get(ctx, row(), &bytes)) keep(self, bytes);
}

static void drop(void *self)
{
    gr_join *j = self;
    forget(j);
    for (size_t i = 0; i < j->asker_count; i++) {
        gr_asker_free(&j->askers[i].asker);
        free((char *)j->askers[i].user.ptr);
    }
    j->asker_count = 0;
}

static void save(gr_join *j, gr_ctx *ctx)
{
    gr_ctx_put_body(ctx, row(), &gr_type_join_flow, j->flow);
    gr_ctx_timer(ctx, timer_name(), gr_ctx_now_ms(ctx) + GR_JOIN_STEP_MS, true);
}

/* --- asking --------------------------------------------------------------------------------------------------- */
static gr_resume resume_of(const gr_join *j, uint64_t number)
{
    return (gr_resume){.step = (uint32_t)j->flow->step, .number = j->epoch << 16 | number};
}

void gr_join_work(gr_join *j, gr_ctx *ctx, const gr_work *work, gr_str input, uint64_t number)
{
    gr_resume resume = resume_of(j, number);
    gr_ctx_work(ctx, work, input, &resume);
    j->open++;
}

static void ask(gr_join *j, gr_ctx *ctx, gr_str to, const gr_type *type, const void *body, uint64_t timeout_ms)
{
    gr_resume resume = resume_of(j, 0);
    gr_ctx_ask(ctx, to, type, body, timeout_ms, &resume);
    j->open++;
}

void gr_join_ask_room(gr_join *j, gr_ctx *ctx, const gr_type *type, const void *body)
{
    ask(j, ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_ROOM, gr_join_room_id(ctx)), type, body, GR_JOIN_ROOM_MS);
}

static gr_str server_of(const gr_join *j) { return j->flow->servers.at[j->flow->next]; }

/* --- ends ----------------------------------------------------------------------------------------------------- */
static void answer_all(gr_join *j, gr_ctx *ctx, gr_err err)
{
    gr_room_joined body = {.user = j->flow->user, .event_id = j->flow->event_id};
    for (size_t i = 0; i < j->asker_count; i++) {
        if (gr_failed(err)) gr_ctx_answer_fail(ctx, &j->askers[i].asker, err);
        else gr_ctx_answer(ctx, &j->askers[i].asker, &gr_type_room_joined, &body);
        free((char *)j->askers[i].user.ptr);
    }
    j->asker_count = 0;
}

static void fail(gr_join *j, gr_ctx *ctx, gr_err err)
{
    answer_all(j, ctx, err);
    if (j->flow->made_room)            /* what is held of it leads nowhere */
        gr_join_ask_room(j, ctx, &gr_type_room_purge_room, &(gr_room_purge_room){.force = true});
    gr_join_go(j, ctx, GR_JOIN_SWEEP);
}

static void note_error(gr_join *j, gr_err err)
{
    gr_join_flow flow = *j->flow;
    bool says_more = err.code != GR_BAD_GATEWAY && err.code != GR_TIMEOUT && err.code != GR_UNRECOGNIZED;
    if (flow.code && !says_more) return;
    flow.code = (uint64_t)err.code;
    flow.text = gr_str_c(err.text ? err.text : "");
    if (flow.text.size > ERROR_TEXT_MAX) flow.text = gr_str_head(flow.text, ERROR_TEXT_MAX);
    keep_flow(j, &flow);
}

void gr_join_next_server(gr_join *j, gr_ctx *ctx, gr_err err)
{
    note_error(j, err);
    j->flow->next++;
    if (j->flow->next < j->flow->servers.count) {
        gr_join_go(j, ctx, GR_JOIN_MAKE);
        return;
    }
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), j->flow->text);
    fail(j, ctx, gr_fail((gr_errcode)j->flow->code, text.ptr));
}

/* --- MAKE ----------------------------------------------------------------------------------------------------- */
static void make(gr_join *j, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_buf uri = {0};
    gr_buf_printf(&uri, "/_matrix/federation/v1/make_join/%" GR_FMT "/%" GR_FMT, GR_ARG(gr_uri_encode(a, gr_join_room_id(ctx))),
                  GR_ARG(gr_uri_encode(a, j->flow->user)));
    for (size_t i = 0; i < GR_ROOM_VERSION_COUNT; i++)
        gr_buf_printf(&uri, "%cver=%s", i ? '&' : '?', gr_room_version_at(i)->id);
    gr_destination_request m = {.method = GR_STR("GET"), .uri = gr_buf_view(&uri), .timeout_ms = GR_JOIN_REQUEST_MS};
    ask(j, ctx, gr_address(a, GR_KIND_DESTINATION, server_of(j)), &gr_type_destination_request, &m, 2 * GR_JOIN_REQUEST_MS);
    gr_buf_free(&uri);
}

/* "The joining server MUST verify": nothing but a join of this user to this room is signed. */
static bool is_template(const gr_join *j, gr_ctx *ctx, const gr_json *event)
{
    return gr_str_is(gr_json_text(event, "type"), "m.room.member")
        && gr_str_eq(gr_json_text(event, "room_id"), gr_join_room_id(ctx))
        && gr_str_eq(gr_json_text(event, "sender"), j->flow->user) && gr_str_eq(gr_json_text(event, "state_key"), j->flow->user)
        && gr_str_is(gr_json_string(gr_json_path(event, "content/membership")), "join");
}

static void write_content(gr_jw *w, const gr_json *given, const gr_json *own)
{
    gr_str by = gr_json_text(given, "join_authorised_via_users_server");
    gr_jw_object(w);
    for (uint32_t i = 0; gr_json_is(own, GR_JSON_OBJECT) && i < own->count; i++) {
        gr_jw_key_str(w, own->members[i].key);
        gr_jw_json(w, &own->members[i].value);
    }
    gr_jw_kc(w, "membership", "join");
    if (by.size) gr_jw_kstr(w, "join_authorised_via_users_server", by);
    gr_jw_end_object(w);
}

static gr_str chosen_id(gr_ctx *ctx)
{
    char bytes[EVENT_ID_RANDOM];
    gr_ctx_random(ctx, bytes, sizeof bytes);
    return gr_arena_cat(gr_ctx_arena(ctx), 4,
                        (gr_str[]){GR_STR("$"), gr_base64_url(gr_ctx_arena(ctx), gr_str_of(bytes, sizeof bytes)), GR_STR(":"),
                                   gr_env_of(ctx)->server_name});
}

static gr_err sign_template(const gr_join *j, gr_ctx *ctx, const gr_room_version *version, const gr_json *event,
                            gr_event_built *built)
{
    static const char *const kept[] = {"auth_events", "prev_events", "depth", "room_id", "sender", "state_key", "type"};
    gr_arena *a = gr_ctx_arena(ctx);
    const gr_json *own = NULL, *whole = NULL;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    if (gr_failed(gr_json_parse(a, j->flow->content, GR_JSON_LAX, &own))) own = NULL;
    gr_jw_object(&w);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        if (gr_json_get(event, kept[i])) gr_jw_kjson(&w, kept[i], gr_json_get(event, kept[i]));
    gr_jw_key(&w, "content");
    write_content(&w, gr_json_get(event, "content"), own);
    gr_jw_kint(&w, "origin_server_ts", (int64_t)gr_ctx_now_ms(ctx));
    if (version->event_id == GR_EVENT_ID_CHOSEN) gr_jw_kstr(&w, "event_id", chosen_id(ctx));
    gr_jw_end_object(&w);
    gr_err err = gr_json_parse(a, gr_buf_view(&out), GR_JSON_LAX, &whole);
    gr_buf_free(&out);
    return gr_failed(err) ? err : gr_event_sign(a, version, whole, gr_env_of(ctx)->signer, built);
}

static void on_made(gr_join *j, gr_str answer, gr_ctx *ctx)
{
    const gr_json *body = NULL;
    gr_event_built built;
    gr_event checked;
    gr_err err = gr_json_parse(gr_ctx_arena(ctx), answer, GR_JSON_LAX, &body);
    const gr_json *event = gr_json_get(body, "event");
    gr_str named = gr_json_text(body, "room_version");
    const gr_room_version *version = gr_room_version_find(named.size ? named : GR_STR("1"));
    if (!gr_failed(err) && !version)
        err = gr_fail(GR_INCOMPATIBLE_ROOM_VERSION, "This server does not know the version of that room");
    if (!gr_failed(err) && !is_template(j, ctx, event))
        err = gr_fail(GR_BAD_GATEWAY, "The other server's template is not a join of this user to this room");
    if (!gr_failed(err)) err = sign_template(j, ctx, version, event, &built);
    if (!gr_failed(err)) err = gr_event_parse(gr_ctx_arena(ctx), version, built.text, &checked);
    if (gr_failed(err)) {
        gr_join_next_server(j, ctx, gr_fail(err.code == GR_INCOMPATIBLE_ROOM_VERSION ? err.code : GR_BAD_GATEWAY, err.text));
        return;
    }
    gr_join_flow flow = *j->flow;
    flow.version = gr_str_c(version->id);
    flow.event = built.text;
    flow.event_id = built.event_id;
    flow.key_round = flow.keys_until_ms = 0;
    keep_flow(j, &flow);
    gr_join_go(j, ctx, GR_JOIN_SEND);
}

/* --- SEND ----------------------------------------------------------------------------------------------------- */
static bool collect(void *arg, gr_str key, gr_str value)
{
    gr_strs *keys = arg;
    (void)value;
    keys->at[keys->count] = gr_str_keep(key);
    keys->count++;
    return true;
}

/* Deletes some of the rows that are staged; false: there are none. */
static bool sweep_some(gr_ctx *ctx)
{
    static const char letters[] = "eslxkuK";
    gr_str at[SWEEP_ROWS];
    gr_strs keys = {at, 0};
    for (size_t i = 0; letters[i] && keys.count == 0; i++)
        gr_ctx_scan_prefix(ctx, gr_str_of(&letters[i], 1), SWEEP_ROWS, collect, &keys);
    for (size_t i = 0; i < keys.count; i++) {
        gr_ctx_del(ctx, keys.at[i]);
        free((char *)keys.at[i].ptr);
    }
    return keys.count > 0;
}

static void send_join(gr_join *j, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    const gr_json *event = NULL;
    gr_str uri = gr_arena_cat(a, 5, (gr_str[]){GR_STR("/_matrix/federation/v2/send_join/"),
                                               gr_uri_encode(a, gr_join_room_id(ctx)), GR_STR("/"),
                                               gr_uri_encode(a, j->flow->event_id),
                                               j->flow->is_here ? GR_STR("?omit_members=true") : (gr_str){0}});
    gr_err err = gr_json_parse(a, j->flow->event, GR_JSON_LAX, &event);
    gr_assert(!gr_failed(err));
    gr_xmatrix_request signed_parts = {.method = GR_STR("PUT"), .uri = uri, .content = event};
    gr_fetch fetch = {.server = server_of(j), .method = signed_parts.method, .uri = uri, .content = j->flow->event,
                      .authorization = gr_xmatrix_header(a, gr_env_of(ctx)->signer, server_of(j), &signed_parts),
                      .timeout_ms = GR_JOIN_ANSWER_MS, .answer_max = GR_JOIN_ANSWER_MAX, .part_max = GR_JOIN_PART};
    gr_resume resume = resume_of(j, 0);
    gr_join_reply_begin(j);
    gr_ctx_fetch(ctx, &fetch, &resume);
    j->open++;
}

static void again(gr_ctx *ctx) { gr_ctx_tell(ctx, gr_ctx_self(ctx), &gr_type_timer, &(gr_timer){.name = GR_STR("on")}); }

/* --- steps ---------------------------------------------------------------------------------------------------- */
static void end(gr_join *j, gr_ctx *ctx)
{
    gr_ctx_del(ctx, row());
    gr_ctx_timer_clear(ctx, timer_name());
    forget(j);
}

/* A member of another server may have to vouch for the join; others of the room would refuse it without that signature. */
static bool is_vouched_for(const gr_join *j, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_key_ring ring = {.find = gr_join_find_key, .arg = ctx};
    const gr_json *json = NULL;
    gr_event e;
    gr_str text;
    gr_event_shape shape;
    return !gr_failed(gr_json_parse(a, j->flow->event, GR_JSON_LAX, &json))
        && !gr_failed(gr_event_check(a, gr_room_version_find(j->flow->version), json, &ring, &e, &text, &shape));
}

typedef struct { gr_arena *arena; gr_strs ids; } some_ids;

static bool take_id(void *arg, gr_str key, gr_str value)
{
    some_ids *s = arg;
    (void)value;
    s->ids.at[s->ids.count++] = gr_arena_str(s->arena, gr_str_from(key, 1));
    return true;
}

static gr_strs left_out(gr_ctx *ctx)
{
    some_ids s = {.arena = gr_ctx_arena(ctx)};
    s.ids.at = gr_arena_alloc(s.arena, GR_JOIN_LEFT_OUT_MAX * sizeof *s.ids.at);
    gr_ctx_scan_prefix(ctx, GR_STR("x"), GR_JOIN_LEFT_OUT_MAX, take_id, &s);
    return s.ids;
}

static void enter(gr_join *j, gr_ctx *ctx)
{
    if (!is_vouched_for(j, ctx)) {
        gr_join_next_server(j, ctx, gr_fail(GR_BAD_GATEWAY, "The other server has not signed the join that it vouches for"));
        return;
    }
    gr_room_enter m = {.event = j->flow->event, .is_here = j->flow->is_here, .guest = j->flow->guest,
                       .left_out = left_out(ctx)};
    gr_join_ask_room(j, ctx, &gr_type_room_enter, &m);
}

static void begin_step(gr_join *j, gr_ctx *ctx)
{
    switch ((gr_join_step)j->flow->step) {
    case GR_JOIN_IDLE: break;
    case GR_JOIN_MAKE: make(j, ctx); break;
    case GR_JOIN_SEND:
        if (sweep_some(ctx)) again(ctx);           /* of a try before this one */
        else send_join(j, ctx);
        break;
    case GR_JOIN_KEYS: gr_join_keys_begin(j, ctx); break;
    case GR_JOIN_CHECK: gr_join_check_begin(j, ctx); break;
    case GR_JOIN_ORDER: gr_join_order_begin(j, ctx); break;
    case GR_JOIN_FEED: gr_join_feed_begin(j, ctx); break;
    case GR_JOIN_ENTER: enter(j, ctx); break;
    case GR_JOIN_SWEEP:
        if (sweep_some(ctx)) again(ctx);
        else end(j, ctx);
        break;
    }
}

void gr_join_go(gr_join *j, gr_ctx *ctx, gr_join_step step)
{
    j->flow->step = (uint64_t)step;
    j->epoch++;
    j->open = j->room_waits = 0;
    save(j, ctx);
    begin_step(j, ctx);
}

/* --- messages ------------------------------------------------------------------------------------------------- */
static bool add_asker(gr_join *j, gr_ctx *ctx, gr_str user)
{
    if (j->asker_count == GR_JOIN_ASKERS_MAX) return false;
    gr_asker *asker = gr_ctx_keep_asker(ctx);
    if (!asker) return true;
    j->askers[j->asker_count].asker = asker;
    j->askers[j->asker_count++].user = gr_str_keep(user);
    return true;
}

static void on_ask(gr_join *j, const gr_join_room *m, gr_ctx *ctx)
{
    gr_err err = gr_ok();
    bool is_over = j->flow && j->flow->step == GR_JOIN_SWEEP;      /* what is left of that try goes before this one sends */
    if (!add_asker(j, ctx, m->user)) err = (gr_err){GR_LIMIT_EXCEEDED, "Too many wait to join this room", 5000};
    else if (m->servers.count == 0) err = gr_fail(GR_NOT_FOUND, "No server is known through which the room could be joined");
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    if (is_over) forget(j);
    if (j->flow) return;                           /* the same room: it is on its way */
    gr_strs servers = m->servers;
    if (servers.count > GR_JOIN_SERVERS_MAX) servers.count = GR_JOIN_SERVERS_MAX;
    gr_join_flow flow = {.step = GR_JOIN_MAKE, .user = m->user, .content = m->content, .servers = servers,
                         .is_here = m->is_here, .guest = m->guest};
    keep_flow(j, &flow);
    gr_join_go(j, ctx, GR_JOIN_MAKE);
}

static bool is_late(const gr_join *j, const gr_msg *m)
{
    return !j->flow || j->open == 0 || m->resume->step != j->flow->step || m->resume->number >> 16 != j->epoch;
}

/* What another join has left of the room is being taken away, or it has too much to do: that passes. */
static bool waits_for_room(gr_join *j, gr_ctx *ctx, gr_err err)
{
    if (err.code != GR_LIMIT_EXCEEDED || j->room_waits == GR_JOIN_ROOM_WAITS) return false;
    j->room_waits++;
    save(j, ctx);
    gr_ctx_timer(ctx, GR_STR("room"), gr_ctx_now_ms(ctx) + GR_JOIN_ROOM_AGAIN_MS, false);
    return true;
}

static void ask_room_again(gr_join *j, gr_ctx *ctx)
{
    if (j->open || !j->room_waits) return;
    if (j->flow->step == GR_JOIN_FEED) gr_join_feed_again(j, ctx);
    if (j->flow->step == GR_JOIN_ENTER) enter(j, ctx);
}

/* The room was taken by another way in meanwhile: whoever waits joins by themselves. */
static void on_room_failed(gr_join *j, gr_err err, gr_ctx *ctx)
{
    if (gr_join_here_waits(j, ctx, err) || waits_for_room(j, ctx, err)) return;
    if (err.code == GR_ROOM_IN_USE) {
        answer_all(j, ctx, gr_ok());
        gr_join_go(j, ctx, GR_JOIN_SWEEP);
    } else if (err.code == GR_TIMEOUT || err.code == GR_UNAVAILABLE || err.code == GR_LIMIT_EXCEEDED) {
        j->open = 0;                               /* the timer repeats the step */
    } else {
        gr_join_next_server(j, ctx, err);
    }
}

static void on_entered(gr_join *j, gr_ctx *ctx)
{
    answer_all(j, ctx, gr_ok());
    gr_join_go(j, ctx, GR_JOIN_SWEEP);
}

static void on_reply(gr_join *j, const gr_msg *m, gr_ctx *ctx)
{
    uint64_t number = m->resume->number & 0xffff;
    if (is_late(j, m)) return;
    j->open--;
    bool from_room = j->flow->step == GR_JOIN_ENTER || (j->flow->step == GR_JOIN_FEED && m->type != &gr_type_work_done);
    const gr_work_done *done = m->type == &gr_type_work_done ? m->body : NULL;
    if (gr_failed(m->err) && from_room) {
        on_room_failed(j, m->err, ctx);
        return;
    }
    if ((done && done->failed) || (gr_failed(m->err) && j->flow->step > GR_JOIN_KEYS)) {
        j->open = 0;                               /* the pool is full, or the store was not to be read: again later */
        return;
    }
    switch ((gr_join_step)j->flow->step) {
    case GR_JOIN_MAKE:
        if (gr_failed(m->err)) gr_join_next_server(j, ctx, m->err);
        else on_made(j, ((const gr_result *)m->body)->body, ctx);
        break;
    case GR_JOIN_SEND:
        if (done) gr_join_on_read(j, done->output, ctx);
        else gr_join_on_part(j, m, ctx);
        break;
    case GR_JOIN_KEYS: gr_join_on_keys(j, m, ctx); break;
    case GR_JOIN_CHECK: gr_join_on_checked(j, number, done->output, ctx); break;
    case GR_JOIN_ORDER: gr_join_on_ordered(j, done->output, ctx); break;
    case GR_JOIN_FEED:
        if (done) gr_join_on_gathered(j, done->output, ctx);
        else gr_join_on_filled(j, m->body, ctx);
        break;
    case GR_JOIN_ENTER:
        if (m->type == &gr_type_room_incoming_are) gr_join_on_here_staged(j, ctx);
        else on_entered(j, ctx);
        break;
    default: break;
    }
}

/* Something is under way, or it was lost: then the step is done again, and what came before it as far as it was lost too. */
static void on_timer(gr_join *j, gr_str name, gr_ctx *ctx)
{
    if (!j->flow) return;
    if (gr_str_is(name, "room")) {
        ask_room_again(j, ctx);
        return;
    }
    if (gr_str_is(name, "keys")) {
        if (j->flow->step == GR_JOIN_KEYS && j->open == 0) gr_join_keys_ask(j, ctx);
        return;
    }
    if (gr_str_is(name, "on")) {
        if (j->flow->step == GR_JOIN_SWEEP || (j->flow->step == GR_JOIN_SEND && j->open == 0)) begin_step(j, ctx);
        return;
    }
    if (j->open) {
        save(j, ctx);
        return;
    }
    gr_join_step step = (gr_join_step)j->flow->step;
    if (step == GR_JOIN_SEND) step = GR_JOIN_MAKE;
    else if (step > GR_JOIN_KEYS && step < GR_JOIN_ENTER) step = GR_JOIN_KEYS;
    if (step != GR_JOIN_SWEEP && ++j->flow->tries >= TRIES_MAX)
        fail(j, ctx, gr_fail(GR_TIMEOUT, "The room could not be joined in time"));
    else gr_join_go(j, ctx, step);
}

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    gr_join *j = self;
    if (m->verb == GR_REPLY) on_reply(j, m, ctx);
    else if (m->type == &gr_type_timer) on_timer(j, ((const gr_timer *)m->body)->name, ctx);
    else if (m->type == &gr_type_join_room) on_ask(j, m->body, ctx);
    else gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A joining flow takes no message of this type"));
}

static bool busy(const void *self)
{
    const gr_join *j = self;
    return j->asker_count > 0 || (j->flow && j->open > 0);
}

static size_t memory(const void *self)
{
    const gr_join *j = self;
    return (j->arena ? gr_arena_used(j->arena) : 0) + j->rest.room + j->order.room;
}

static uint64_t digest(const void *self)
{
    const gr_join *j = self;
    gr_buf bytes = {0};
    if (j->flow) gr_body_encode(&bytes, &gr_type_join_flow, j->flow);
    uint64_t d = gr_str_hash(gr_buf_view(&bytes));
    gr_buf_free(&bytes);
    return d;
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    static const char *const steps[] = {"idle", "make", "send", "keys", "check", "order", "feed", "enter", "sweep"};
    const gr_join *j = self;
    (void)ctx;
    gr_buf_printf(out, "\"step\":\"%s\",\"server\":%llu,\"waiting\":%zu,\"staged\":%llu,\"bad\":%llu,\"ordered\":%zu,\"fed\":%zu",
                  steps[j->flow ? j->flow->step : 0], (unsigned long long)(j->flow ? j->flow->next : 0), j->asker_count,
                  (unsigned long long)j->staged, (unsigned long long)j->bad, j->ordered, j->fed);
}

const gr_actor_kind gr_join_kind = {.kind = GR_KIND_JOIN, .size = sizeof(gr_join), .load = load, .handle = handle, .drop = drop,
                                    .busy = busy, .memory = memory, .digest = digest, .inspect = inspect};
