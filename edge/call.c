/* call.c - from an admitted head to an answer. See call.h; body fields are in call_body.c. */
#include "edge/edge.h"
#include "edge/stream.h"
#include "edge/page.h"

#include "proto/base64.h"
#include "proto/oauth.h"

#include <sodium.h>
#include <stdlib.h>
#include <strings.h>

/* A node that runs a thirtieth of the shards finds one of its own by nine in ten. */
enum { NEW_IDS_TRIED = 64, NEW_ID_BYTES_MAX = 32 };

typedef struct gr_call_pending pending;
struct gr_call_pending {
    UT_hash_handle hh;             /* in edge->asks, by seq */
    pending *next;                 /* of the call, or of edge->refused */
    uint64_t seq, number;
    gr_call *call;
    gr_call_then *then;
    bool is_patient;
    gr_err refused;
};

gr_route *gr_call_table(const gr_call_route *const *routes, size_t *count)
{
    *count = 0;
    for (size_t t = 0; routes[t]; t++)
        for (const gr_call_route *r = routes[t]; r->pattern; r++) (*count)++;
    gr_route *table = gr_alloc(*count * sizeof *table);
    size_t at = 0;
    for (size_t t = 0; routes[t]; t++)
        for (size_t i = 0; routes[t][i].pattern; i++) {
            const gr_call_route *r = &routes[t][i];
            table[at++] = (gr_route){r->method, r->pattern, (int)(t << 16 | i)};
        }
    return table;
}

static const gr_call_route *route_of(const gr_edge_entrance *door, const gr_route *found)
{
    return &door->routes[found->handler >> 16][found->handler & 0xffff];
}

/* --- ending ------------------------------------------------------------------------------------------------ */
static void forget_asks(gr_call *call)
{
    gr_edge *e = call->edge;
    for (pending *ask = call->asks, *next; ask; ask = next) {
        next = ask->next;
        gr_port_forget(e->port, ask->seq);
        HASH_DEL(e->asks, ask);
        free(ask);
    }
    call->asks = NULL;
}

void gr_call_end_waiting(gr_edge *e)
{
    pending *ask, *next;
    HASH_ITER(hh, e->asks, ask, next)
    {
        if (!ask->is_patient) continue;
        pending **at = &ask->call->asks;
        while (*at != ask) at = &(*at)->next;
        *at = ask->next;
        gr_port_forget(e->port, ask->seq);
        HASH_DEL(e->asks, ask);
        ask->refused = gr_fail(GR_UNAVAILABLE, "The server is stopping: try again in a moment");
        ask->next = e->refused;
        e->refused = ask;
    }
}

static void count_answer(gr_edge *e, const gr_call *call, int status)
{
    gr_edge_counters *c = &e->counters;
    uint64_t took = e->now_ms > call->started_ms ? e->now_ms - call->started_ms : 0;
    size_t bucket = 0;
    while (bucket < GR_EDGE_LATENCY_BUCKETS - 1 && took > gr_edge_latency_ms[bucket]) bucket++;
    c->latency[bucket]++;
    c->latency_sum_ms += took;
    c->by_status[status >= 100 && status < 600 ? status / 100 : 0]++;
}

/* Freed at the end of the step: whoever answered may still look at the call. */
static void finish(gr_call *call)
{
    gr_edge *e = call->edge;
    forget_asks(call);
    gr_stream_drop(call);
    HASH_DEL(e->calls, call);
    call->next_finished = e->finished;
    e->finished = call;
}

void gr_call_sweep(gr_edge *e)
{
    while (e->refused) {
        pending *ask = e->refused;
        e->refused = ask->next;
        gr_call *call = ask->call;
        if (!call->answered) {
            call->open_asks--;
            ask->then(call, &(gr_answer){&gr_type_error, NULL, ask->refused, ask->number});
        }
        free(ask);
    }
    while (e->finished) {
        gr_call *call = e->finished;
        e->finished = call->next_finished;
        gr_arena *arena = call->arena;
        gr_arena_free(&arena);     /* the call itself lies in it */
    }
}

void gr_call_reply_on(gr_call *call, const gr_http_answer *answer)
{
    count_answer(call->edge, call, answer->status);
    gr_http_reply(call->edge->http, call->id, answer);
}

void gr_call_streamed(gr_call *call)
{
    call->answered = true;
    finish(call);
}

/* What was sent of its answer is not to be taken for the whole. */
static void break_off(gr_call *call)
{
    gr_edge *e = call->edge;
    call->answered = true;
    gr_stream_drop(call);
    gr_http_abort(e->http, call->id);
    finish(call);
}

void gr_call_reply(gr_call *call, const gr_http_answer *answer)
{
    if (call->answered) return;
    if (call->stream) {
        break_off(call);
        return;
    }
    call->answered = true;
    count_answer(call->edge, call, answer->status);
    gr_http_reply(call->edge->http, call->id, answer);
    finish(call);
}

static const gr_http_header json_type = {{"Content-Type", 12}, {"application/json", 16}};

void gr_call_json(gr_call *call, int status, gr_str body)
{
    gr_call_reply(call, &(gr_http_answer){.status = status, .headers = &json_type, .header_count = 1, .body = body});
}

void gr_call_json_take(gr_call *call, int status, gr_buf *body)
{
    gr_http_answer answer = {.status = status, .headers = &json_type, .header_count = 1, .body = gr_buf_view(body),
                             .release = free, .release_ctx = body->ptr};
    if (call->answered) free(body->ptr);
    else gr_call_reply(call, &answer);
    *body = (gr_buf){0};
}

void gr_call_empty(gr_call *call) { gr_call_json(call, 200, GR_STR("{}")); }
void gr_call_fail(gr_call *call, gr_err err) { gr_call_fail_status(call, 0, err, (gr_str){0}); }
void gr_call_fail_with(gr_call *call, gr_errcode code, const char *text) { gr_call_fail(call, gr_fail(code, text)); }

bool gr_call_fits(gr_call *call, bool good, const char *text)
{
    if (!good) gr_call_fail_with(call, GR_INVALID_PARAM, text);
    return good;
}

/* What goes along with some errors: when to try again, which methods there are. */
static size_t error_headers(const gr_call *call, gr_err err, gr_http_header *out)
{
    if (err.code == GR_LIMIT_EXCEEDED) {
        gr_str wait = gr_arena_printf(call->arena, "%llu", (unsigned long long)(err.retry_after_ms + 999) / 1000);
        *out = (gr_http_header){GR_STR("Retry-After"), wait};
        return 1;
    }
    if (err.code != GR_METHOD_NOT_ALLOWED) return 0;
    *out = (gr_http_header){GR_STR("Allow"), gr_route_allow(call->arena, call->match.allowed)};
    return 1;
}

void gr_call_fail_status(gr_call *call, int status, gr_err err, gr_str extra)
{
    if (call->route && call->route->page) {
        gr_page_failed(call, status, err);
        return;
    }
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kc(&w, "errcode", gr_errcode_wire(err.code));
    gr_jw_kc(&w, "error", err.text ? err.text : "");
    if (err.code == GR_LIMIT_EXCEEDED && err.retry_after_ms == 0) err.retry_after_ms = 500;
    if (err.code == GR_LIMIT_EXCEEDED) gr_jw_kint(&w, "retry_after_ms", (int64_t)err.retry_after_ms);
    gr_jw_end_object(&w);
    if (extra.size) {
        out.size--;
        gr_buf_char(&out, ',');
        gr_buf_str(&out, extra);
        gr_buf_char(&out, '}');
    }
    gr_http_header headers[2] = {json_type};
    size_t count = 1 + error_headers(call, err, headers + 1);
    gr_call_reply(call, &(gr_http_answer){.status = status ? status : gr_errcode_status(err.code), .headers = headers,
                                          .header_count = count, .body = gr_buf_view(&out)});
    gr_buf_free(&out);
}

/* --- asking ------------------------------------------------------------------------------------------------ */
void gr_call_ask_more(gr_call *call, gr_str to, const gr_type *type, const void *body, gr_call_then *then, uint64_t number,
                      uint64_t timeout_ms, bool patient)
{
    gr_edge *e = call->edge;
    if (call->answered) return;
    pending *ask = gr_alloc(sizeof *ask);
    *ask = (pending){.number = number, .call = call, .then = then, .is_patient = patient};
    call->open_asks++;
    ask->refused = gr_port_ask(e->port, to, type, body, e->now_ms, timeout_ms, patient, call->trace, &ask->seq);
    if (gr_failed(ask->refused)) {
        ask->next = e->refused;    /* then is called in the sweep, never within the call that asks */
        e->refused = ask;
        return;
    }
    HASH_ADD(hh, e->asks, seq, sizeof ask->seq, ask);
    ask->next = call->asks;
    call->asks = ask;
}

void gr_call_ask(gr_call *call, gr_str to, const gr_type *type, const void *body, gr_call_then *then)
{
    gr_call_ask_more(call, to, type, body, then, 0, GR_CALL_TIMEOUT_MS, false);
}

void gr_call_passed(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else if (answer->type == &gr_type_result) gr_call_json(call, 200, ((const gr_result *)answer->body)->body);
    else gr_call_empty(call);
}

gr_str gr_call_new_id(gr_call *call, size_t random_bytes)
{
    gr_str best = {0};
    gr_port_place place = GR_PORT_OUT_OF_REACH;
    for (int i = 0; i < NEW_IDS_TRIED && place != GR_PORT_HERE; i++) {
        unsigned char random[NEW_ID_BYTES_MAX];
        gr_assert(random_bytes <= sizeof random);
        randombytes_buf(random, random_bytes);
        gr_str id = gr_base64_url(call->arena, gr_str_of(random, random_bytes));
        gr_port_place there = gr_port_place_of_shard(call->edge->port, gr_id_shard(id));
        if (best.size && there >= place) continue;
        best = id;
        place = there;
    }
    return best;
}

gr_str gr_call_reached(gr_call *call)
{
    gr_shard_set *set = gr_arena_alloc(call->arena, sizeof *set);
    unsigned count = 0;
    for (unsigned shard = 0; shard < GR_SHARDS; shard++) {
        if (gr_port_place_of_shard(call->edge->port, (uint8_t)shard) == GR_PORT_OUT_OF_REACH) continue;
        gr_shard_set_add(set, (uint8_t)shard);
        count++;
    }
    return count == GR_SHARDS ? (gr_str){0} : gr_str_of(set, sizeof *set);
}

void gr_call_pass(gr_call *call, gr_str to, const gr_type *type, const void *body)
{
    gr_call_ask(call, to, type, body, gr_call_passed);
}

static void on_reply(void *arg, uint64_t seq, const gr_type *type, const void *body, gr_err err)
{
    gr_edge *e = arg;
    pending *ask = NULL;
    HASH_FIND(hh, e->asks, &seq, sizeof seq, ask);
    if (!ask) return;
    gr_call *call = ask->call;
    HASH_DEL(e->asks, ask);
    for (pending **at = &call->asks; *at; at = &(*at)->next)
        if (*at == ask) {
            *at = ask->next;
            break;
        }
    gr_call_then *then = ask->then;
    gr_answer answer = {type, body, err, ask->number};
    free(ask);
    call->open_asks--;
    call->now_ms = e->now_ms;
    call->trace = gr_port_trace_now(e->port);      /* a poll goes on in the trace of what ended its wait */
    then(call, &answer);
}

static void on_message(void *arg, gr_str from, uint64_t seq, const gr_type *type, const void *body)
{
    gr_edge *e = arg;
    if (type == &gr_type_token_forget) {
        gr_str hash = ((const gr_token_forget *)body)->hash;
        if (hash.size == GR_TOKEN_HASH) gr_token_cache_forget(e->tokens, hash);
    }
    if (seq) gr_port_answer(e->port, from, seq, &gr_type_done, &(gr_done){0});
}

const gr_port_handler gr_call_port_handler = {on_reply, on_message, NULL};

/* --- serving ----------------------------------------------------------------------------------------------- */
/* RFC 6749 and HTML write forms alike. */
static bool parse_form(gr_call *call)
{
    gr_err err = gr_ok();
    if (!gr_str_starts(call->content_type, GR_STR("application/x-www-form-urlencoded")))
        err = gr_fail(GR_INVALID_PARAM, "The body must be a form (application/x-www-form-urlencoded)");
    else if (call->text.size > GR_PAGE_FORM_MAX) err = gr_fail(GR_TOO_LARGE, "This form is too large");
    else err = gr_route_query_parse(call->arena, call->text, &call->form);
    if (gr_failed(err)) gr_call_fail(call, err);
    else if (call->route->page && !gr_page_form_good(call)) gr_page_error(call, 403, GR_SAY(error_stale));
    return !call->answered;
}

static bool parse_body(gr_call *call)
{
    gr_call_body kind = call->route->body;
    if (kind == GR_CALL_NO_BODY || kind == GR_CALL_STREAM) return true;
    if (kind == GR_CALL_FORM) return parse_form(call);
    if (kind == GR_CALL_JSON_OPTIONAL && call->text.size == 0) call->text = GR_STR("{}");
    gr_err err = gr_json_parse(call->arena, call->text, GR_JSON_LAX, &call->json);
    if (!gr_failed(err) && kind != GR_CALL_ANY_JSON && !gr_json_is(call->json, GR_JSON_OBJECT))
        err = gr_fail(GR_BAD_JSON, "The body must be a JSON object");
    if (gr_failed(err)) gr_call_fail(call, err);
    return !gr_failed(err);
}

/* One bucket per device, so that one of a user's clients gone wild leaves the others alone, and one per user; who has no
 * token is known by address. */
static gr_err take_rate(gr_call *call)
{
    gr_edge *e = call->edge;
    gr_rate what = call->route->rate;
    if (call->user.size == 0)
        return gr_rates_take(e->rates, what, call->origin.size ? call->origin : gr_rates_network(call->arena, call->peer),
                             e->now_ms);
    gr_str device = gr_arena_cat(call->arena, 3, (gr_str[]){call->user, GR_STR("/"), call->device});
    gr_err err = call->device.size ? gr_rates_take(e->rates, what, device, e->now_ms) : gr_ok();
    return gr_failed(err) ? err : gr_rates_take_share(e->rates, what, call->user, GR_RATE_DEVICES, e->now_ms);
}

static void serve(gr_call *call)
{
    gr_edge *e = call->edge;
    const gr_call_route *route = call->route;
    if (call->guest && !route->guest_ok && route->auth == GR_CALL_TOKEN) {
        gr_call_fail_with(call, GR_GUEST_ACCESS_FORBIDDEN, "Guests can't do this: register an account");
        return;
    }
    if (e->config->rate_limits) {
        gr_err err = take_rate(call);
        if (gr_failed(err)) {
            e->counters.refused_rate++;
            gr_call_fail(call, err);
            return;
        }
    }
    if (!call->json && !parse_body(call)) return;
    call->serving = true;
    route->serve(call);
    if (call->answered || route->body != GR_CALL_STREAM) return;
    gr_http_pause(e->http, call->id, false);
    if (call->ended) route->end(call);         /* an empty body was over before the token was checked */
}

static void token_checked(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err) || answer->type != &gr_type_token_owner) {
        gr_err err = answer->err.code ? answer->err : gr_fail(GR_UNKNOWN_TOKEN, "Unrecognised access token");
        bool is_soft = err.code == GR_EXPIRED_TOKEN || err.code == GR_USER_LOCKED;
        gr_call_fail_status(call, 0, err, is_soft ? GR_STR("\"soft_logout\":true") : GR_STR(""));
        return;
    }
    const gr_token_owner *owner = answer->body;
    if (owner->client.size && !gr_oauth_scope_has_api(owner->scope)) {
        gr_call_fail_with(call, GR_FORBIDDEN, "The scope of this token does not reach here");
        return;
    }
    unsigned char hash[GR_TOKEN_HASH];
    gr_token_hash(call->token, hash);
    uint64_t until_ms = call->started_ms + owner->lease_ms;
    if (until_ms > call->edge->now_ms)
        gr_token_cache_put(call->edge->tokens, gr_str_of(hash, sizeof hash), owner, until_ms);
    call->user = gr_call_keep(call, owner->user);
    call->device = gr_call_keep(call, owner->device);
    call->client = gr_call_keep(call, owner->client);
    call->guest = owner->guest;
    call->admin = owner->admin;
    serve(call);
}

static void authenticate(gr_call *call)
{
    gr_edge *e = call->edge;
    uint8_t shard = 0;
    unsigned char hash[GR_TOKEN_HASH];
    gr_token_owned owned;
    if (call->route->auth == GR_CALL_SERVER) {
        if (parse_body(call)) gr_call_server_check(call, serve);       /* the body is part of what was signed */
        return;
    }
    if (call->route->auth == GR_CALL_NO_TOKEN || (call->token.size == 0 && call->route->auth == GR_CALL_TOKEN_OPTIONAL)) {
        serve(call);
        return;
    }
    if (call->token.size == 0) {
        gr_call_fail_with(call, GR_MISSING_TOKEN, "Missing access token");
        return;
    }
    if (!gr_token_read(call->token, GR_TOKEN_ACCESS, &shard)) {
        gr_call_fail_with(call, GR_UNKNOWN_TOKEN, "Unrecognised access token");
        return;
    }
    gr_token_hash(call->token, hash);
    if (gr_token_cache_find(e->tokens, gr_str_of(hash, sizeof hash), e->now_ms, &owned)) {
        call->user = gr_call_keep(call, owned.user);
        call->device = gr_call_keep(call, owned.device);
        call->client = gr_call_keep(call, owned.client);
        call->guest = owned.guest;
        call->admin = owned.admin;
        serve(call);
        return;
    }
    gr_token_check check = {.hash = gr_str_of(hash, sizeof hash), .ip = call->peer, .agent = call->user_agent};
    gr_call_ask(call, gr_address_of_shard(call->arena, GR_KIND_TOKEN, shard), &gr_type_token_check, &check, token_checked);
}

/* --- the HTTP server's callbacks --------------------------------------------------------------------------- */
static gr_str bearer(const gr_http_req *req)
{
    gr_str value = gr_http_header_get(req, "authorization");
    if (value.size < 7 || strncasecmp(value.ptr, "Bearer ", 7) != 0) return (gr_str){0};
    value = gr_str_from(value, 7);
    while (value.size && value.ptr[0] == ' ') value = gr_str_from(value, 1);
    return value;
}

/* What a page or a mail wants to know of the browser; other calls, which may wait long, do without. */
static void read_browser(gr_call *call, const gr_http_req *req)
{
    if (call->route->page) call->cookies = gr_call_keep(call, gr_http_header_get(req, "cookie"));
    if (call->route->page || call->route->mails)
        call->languages = gr_call_keep(call, gr_str_head(gr_http_header_get(req, "accept-language"), 256));
}

/* Refuses on the head alone: a known path and method, disk space for what writes, and credit. */
static gr_err admit(gr_edge *e, gr_call *call, const gr_http_req *req)
{
    const gr_edge_entrance *door = &e->entrances[req->door];
    gr_route_answer found = gr_route_find(door->tree, call->arena, req->method, call->path, &call->match);
    if (found == GR_ROUTE_NO_PATH) return gr_fail(GR_UNRECOGNIZED, "Unrecognized request");
    if (found == GR_ROUTE_NO_METHOD) return gr_fail(GR_METHOD_NOT_ALLOWED, "Method not allowed here");
    if (found == GR_ROUTE_BAD_PATH) return gr_fail(GR_INVALID_PARAM, "The path is not valid percent-encoded UTF-8");
    call->route = route_of(door, call->match.route);
    read_browser(call, req);
    gr_err err = gr_route_query_parse(call->arena, gr_call_keep(call, req->query), &call->query);
    if (gr_failed(err)) return err;
    if (call->route->auth == GR_CALL_SERVER) err = gr_call_server_head(call, req);
    if (gr_failed(err)) return err;
    gr_str token = bearer(req);
    if (token.size == 0) gr_call_query(call, "access_token", &token);
    call->token = gr_call_keep(call, token);
    if (e->disk_low && (req->method == GR_HTTP_POST || req->method == GR_HTTP_PUT)) {
        e->counters.refused_disk++;
        return gr_fail(GR_UNAVAILABLE, "The server's disk is almost full: it takes no new data until there is room");
    }
    uint8_t shard = 0;
    gr_token_read(call->token, GR_TOKEN_ACCESS, &shard);
    if (!gr_port_has_credit(e->port, gr_address_of_shard(call->arena, GR_KIND_TOKEN, shard))) {
        e->counters.refused_credit++;
        err = gr_fail(GR_LIMIT_EXCEEDED, "The server is busy: try again in a moment");
        err.retry_after_ms = 500;
    }
    return err;
}

static bool on_head(void *arg, gr_http_id id, const gr_http_req *req, gr_http_take *take)
{
    gr_edge *e = arg;
    gr_edge_look_at_clock(e);
    e->counters.requests++;
    if (req->method == GR_HTTP_OPTIONS) {
        gr_http_reply(
            e->http, id,
            &(gr_http_answer){.status = 200, .headers = &json_type, .header_count = 1, .body = GR_STR("{}")});
        return false;
    }
    gr_arena *arena = gr_arena_new(1536);          /* most calls fit in; a long poll holds just this */
    gr_call *call = gr_arena_alloc(arena, sizeof *call);
    *call = (gr_call){.edge = e, .arena = arena, .id = id, .method = req->method, .started_ms = e->now_ms,
                      .now_ms = e->now_ms, .length = req->length, .trace = gr_port_trace(e->port)};
    call->path = gr_call_keep(call, req->path);
    call->peer = gr_call_keep(call, req->peer);
    call->content_type = gr_call_keep(call, gr_http_header_get(req, "content-type"));
    call->user_agent = gr_call_keep(call, gr_str_head(gr_http_header_get(req, "user-agent"), 512));
    HASH_ADD(hh, e->calls, id, sizeof call->id, call);
    gr_err err = admit(e, call, req);
    if (gr_failed(err)) {
        gr_call_fail(call, err);
        return false;
    }
    if (call->route->body == GR_CALL_STREAM) {
        take->stream = true;
        take->body_max = e->config->media_max_upload;
        gr_http_pause(e->http, id, true);          /* until the token was checked */
        authenticate(call);
        return !call->answered;
    }
    return true;
}

static gr_call *call_of(gr_edge *e, gr_http_id id)
{
    gr_call *call = NULL;
    HASH_FIND(hh, e->calls, &id, sizeof id, call);
    return call;
}

static void on_body(void *arg, gr_http_id id, gr_str piece)
{
    gr_call *call = call_of(arg, id);
    if (call && call->serving) call->route->piece(call, piece);
}

static void on_request(void *arg, gr_http_id id, const gr_http_req *req, gr_str body)
{
    gr_edge *e = arg;
    gr_call *call = call_of(e, id);
    (void)req;
    gr_edge_look_at_clock(e);
    if (!call) return;
    call->now_ms = e->now_ms;
    if (call->route->body == GR_CALL_STREAM) {
        call->ended = true;
        if (call->serving) call->route->end(call);
        return;
    }
    if (call->route->body != GR_CALL_NO_BODY) call->text = gr_call_keep(call, body);
    authenticate(call);
}

static void on_gone(void *arg, gr_http_id id)
{
    gr_call *call = call_of(arg, id);
    if (!call) return;
    if (call->on_gone) call->on_gone(call);
    call->answered = true;
    finish(call);
}

const gr_http_handler gr_call_http_handler = {on_head, on_body, on_request, on_gone};
