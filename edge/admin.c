/* admin.c - the admin socket and the metrics listener. See admin.h. */
#include "edge/admin_inside.h"
#include "edge/log.h"

#include "bus/clock.h"

#include <stdio.h>
#include <stdlib.h>

enum { HELD_MS = 30000 };

static void answer(gr_http *http, gr_http_id id, gr_admin_answer *made)
{
    gr_http_header type = {GR_STR("Content-Type"), made->content_type};
    gr_http_answer a = {.status = made->status, .headers = &type, .header_count = 1, .body = gr_buf_view(&made->body)};
    gr_http_reply(http, id, &a);
    gr_buf_free(&made->body);
}

void gr_admin_reply(gr_admin *admin, gr_http_id id, gr_admin_answer *made) { answer(admin->owner, id, made); }

/* --- asking by hand ------------------------------------------------------------------------------------------- */
gr_err gr_admin_explain(gr_admin *admin, gr_arena *a, gr_str node, bool is_look, gr_err err)
{
    gr_str why = {0};
    if (gr_str_is(node, gr_node_name(admin->node))) return err;
    if (err.code == GR_TIMEOUT) why = GR_STR("there was no answer in time");
    if (err.code == GR_UNAVAILABLE) why = gr_node_why_not(admin->node, a, node);
    if (why.size == 0) return err;
    if (is_look) return gr_fail(err.code, gr_arena_str(a, why).ptr);
    return gr_failf(a, err.code, "node %" GR_FMT " does not answer: %" GR_FMT, GR_ARG(node), GR_ARG(why));
}

static void print_reply(gr_buf *out, const gr_admin_waiting *w, const gr_type *type, const void *body, gr_err err)
{
    gr_jw j = gr_jw_begin(out);
    char trace[20];
    snprintf(trace, sizeof trace, "%016llx", (unsigned long long)w->trace);
    gr_jw_object(&j);
    gr_jw_kc(&j, "trace", trace);
    gr_jw_kstr(&j, "node", w->node);
    if (gr_failed(err)) {
        gr_jw_kc(&j, "errcode", gr_errcode_wire(err.code));
        gr_jw_kc(&j, "error", err.text ? err.text : "");
    } else {
        gr_jw_kc(&j, "type", type->name);
        gr_jw_key(&j, "body");
        gr_buf text = {0};
        if (type == &gr_type_result) gr_buf_str(&text, ((const gr_result *)body)->body);
        else if (type == &gr_type_registration_tokens) gr_buf_str(&text, ((const gr_registration_tokens *)body)->body);
        else gr_body_print(&text, type, body, true);
        gr_jw_raw(&j, gr_buf_view(&text));
        gr_buf_free(&text);
    }
    gr_jw_end_object(&j);
}

static void on_reply(void *arg, uint64_t seq, const gr_type *type, const void *body, gr_err err)
{
    gr_admin *admin = arg;
    gr_admin_waiting *w = NULL;
    HASH_FIND(hh, admin->asks, &seq, sizeof seq, w);
    if (!w) return;
    HASH_DEL(admin->asks, w);
    gr_arena *a = gr_arena_new(0);
    if (gr_failed(err)) err = gr_admin_explain(admin, a, w->node, w->is_look, err);
    bool is_over = true;
    if (!w->is_look) {
        gr_admin_answer made = {gr_failed(err) ? gr_errcode_status(err.code) : 200, GR_ADMIN_JSON, {0}};
        print_reply(&made.body, w, type, body, err);
        gr_admin_reply(admin, w->id, &made);
    } else if (gr_failed(err)) {
        gr_http_reply_error(admin->owner, w->id, 0, err);
    } else if (type != &gr_type_node_part) {
        gr_http_reply_error(admin->owner, w->id, 0, gr_fail(GR_UNRECOGNIZED, "that node can't be asked from others"));
    } else {
        is_over = gr_admin_part(admin, a, w, body);
    }
    gr_arena_free(&a);
    if (!is_over) return;
    gr_buf_free(&w->got);
    free(w);
}

static void on_message(void *arg, gr_str from, uint64_t seq, const gr_type *type, const void *body)
{
    gr_admin *admin = arg;
    if (!seq) return;
    if (type == &gr_type_node_look) gr_admin_asked(admin, from, seq, body);
    else gr_port_answer(admin->port, from, seq, &gr_type_done, &(gr_done){0});
}

gr_err gr_admin_ask(gr_admin *admin, gr_http_id id, gr_str node, gr_str to, const gr_type *type, const void *body)
{
    gr_admin_waiting *w = gr_alloc(sizeof *w);
    *w = (gr_admin_waiting){.id = id, .trace = gr_port_trace(admin->port), .node = node,
                            .is_look = type == &gr_type_node_look};
    gr_err err = gr_port_ask(admin->port, to, type, body, admin->now_ms, GR_ADMIN_ASK_MS, false, w->trace, &w->seq);
    if (gr_failed(err)) free(w);
    else HASH_ADD(hh, admin->asks, seq, sizeof w->seq, w);
    return err;
}

static gr_err ask_actor(gr_admin *admin, gr_arena *a, gr_http_id id, gr_str to, const gr_type *type, const void *body)
{
    gr_str node = gr_str_c(gr_node_owner(admin->node, gr_address_shard(to)));
    gr_err err = gr_admin_ask(admin, id, node, to, type, body);
    return gr_failed(err) ? gr_admin_explain(admin, a, node, false, err) : err;
}

static bool is_actor(gr_str to) { return gr_address_valid(to) && gr_address_kind(to) != GR_KIND_EDGE; }

/* {"to": address, "type": name, "body": {..}, "force": false}: types not meant for people need force. */
static gr_err send_by_hand(gr_admin *admin, gr_arena *a, gr_http_id id, const gr_json *request)
{
    void *body = NULL;
    gr_str to = gr_json_text(request, "to"), name = gr_json_text(request, "type");
    const gr_type *type = gr_type_named(name);
    const gr_json *given = gr_json_get(request, "body");
    if (!is_actor(to))
        return gr_failf(a, GR_INVALID_PARAM,
                        "'%" GR_FMT "' is no actor's address: give kind/id, like room/!id:server",
                        GR_ARG(to));
    if (!type) return gr_failf(a, GR_INVALID_PARAM, "there is no message type '%" GR_FMT "'; see docs/messages.md", GR_ARG(name));
    if (!type->is_operator && !gr_json_boolean(gr_json_get(request, "force"), false))
        return gr_failf(a, GR_FORBIDDEN, "%s is not meant to be sent by hand; --force sends it all the same", type->name);
    gr_err err = gr_body_parse(a, type, given ? gr_json_printed(a, given) : GR_STR("{}"), &body);
    if (gr_failed(err)) return err;
    gr_log(GR_LOG_INFO, "admin", "sent by hand: %s to %" GR_FMT, type->name, GR_ARG(to));
    return ask_actor(admin, a, id, to, type, body);
}

/* {"name", "password" or "password_hash", "admin"}: the login actor hashes the password on the pool and has the account made. */
static gr_err add_user(gr_admin *admin, gr_arena *a, gr_http_id id, const gr_json *request)
{
    gr_login_account account = {.name = gr_json_text(request, "name"),
                                .password = gr_json_text(request, "password"),
                                .password_hash = gr_json_text(request, "password_hash"),
                                .admin = gr_json_boolean(gr_json_get(request, "admin"), false)};
    if (account.name.size == 0 || (account.password.size == 0 && account.password_hash.size == 0))
        return gr_fail(GR_INVALID_PARAM, "give the new user's name and password");
    gr_str to = gr_arena_printf(a, "login/owner-%016llx", (unsigned long long)gr_port_trace(admin->port));
    return ask_actor(admin, a, id, to, &gr_type_login_account, &account);
}

/* --- routes --------------------------------------------------------------------------------------------------- */
/* The node that has to answer: the one that is named, or that runs what the request is about, or this one. */
static gr_str node_for(gr_admin *admin, gr_arena *a, const gr_admin_request *r)
{
    const gr_json *json = NULL;
    gr_str named = gr_route_query_get(&r->query, "node");
    if (named.size) return named;
    if (r->method == GR_HTTP_POST && !gr_failed(gr_json_parse(a, r->body, GR_JSON_LAX, &json))) {
        gr_str address = gr_json_text(json, "address");
        int64_t shard = gr_json_integer(gr_json_get(json, "shard"), -1);
        if (gr_str_is(r->path, "/resume") && is_actor(address)) shard = gr_address_shard(address);
        bool is_of_shard = gr_str_is(r->path, "/resume") || gr_str_is(r->path, "/dead");
        if (is_of_shard && shard >= 0 && shard < GR_SHARDS) return gr_str_c(gr_node_owner(admin->node, (uint8_t)shard));
    }
    return gr_str_c(gr_node_name(admin->node));
}

static gr_err ask_by_hand(gr_admin *admin, gr_arena *a, gr_http_id id, const gr_admin_request *r)
{
    const gr_json *json = NULL;
    if (gr_str_is(r->path, "/inspect")) {
        gr_str to = gr_route_query_get(&r->query, "address");
        if (is_actor(to)) return ask_actor(admin, a, id, to, &gr_type_inspect, &(gr_inspect){0});
        return gr_fail(GR_INVALID_PARAM, "give the address of an actor, like room/!id:server");
    }
    gr_err err = gr_json_parse(a, r->body, GR_JSON_LAX, &json);
    if (gr_failed(err)) return err;
    return gr_str_is(r->path, "/send") ? send_by_hand(admin, a, id, json) : add_user(admin, a, id, json);
}

static gr_err serve(gr_admin *admin, gr_arena *a, gr_http_id id, const gr_http_req *req, gr_str body)
{
    gr_admin_request r = {.method = req->method, .path = req->path, .body = body};
    gr_admin_answer made = {200, GR_ADMIN_JSON, {0}};
    gr_err err = gr_route_query_parse(a, req->query, &r.query);
    if (gr_failed(err)) return err;
    if (gr_str_is(r.path, "/send") || gr_str_is(r.path, "/inspect") || gr_str_is(r.path, "/user"))
        return ask_by_hand(admin, a, id, &r);
    gr_str node = node_for(admin, a, &r);
    if (!gr_str_is(node, gr_node_name(admin->node))) {
        gr_str path = gr_arena_cat(a, 3, (gr_str[]){r.path, GR_STR("?"), req->query});
        return gr_admin_forward(admin, a, id, node, path, body);
    }
    err = gr_admin_look(admin, a, &r, &made);
    if (gr_failed(err)) gr_buf_free(&made.body);
    else gr_admin_reply(admin, id, &made);
    return err;
}

static bool on_head(void *arg, gr_http_id id, const gr_http_req *req, gr_http_take *take)
{
    (void)arg, (void)id, (void)req;
    take->body_max = GR_MESSAGE_MAX;
    return true;
}

static void on_request(void *arg, gr_http_id id, const gr_http_req *req, gr_str body)
{
    gr_admin *admin = arg;
    gr_arena *a = gr_arena_new(0);
    gr_err err = serve(admin, a, id, req, body);
    if (gr_failed(err)) gr_http_reply_error(admin->owner, id, 0, err);
    gr_arena_free(&a);
}

static void on_metrics(void *arg, gr_http_id id, const gr_http_req *req, gr_str body)
{
    gr_admin *admin = arg;
    gr_admin_answer made = {200, GR_STR("text/plain; version=0.0.4"), {0}};
    (void)body;
    if (!gr_str_is(req->path, "/metrics")) {
        gr_http_reply_error(admin->metrics, id, 0, gr_fail(GR_UNRECOGNIZED, "only /metrics is here"));
        return;
    }
    gr_metrics_print(&made.body, admin->node, admin->store, admin->config, admin->edge, admin->fetcher,
                     admin->now_ms);
    answer(admin->metrics, id, &made);
}

static void on_gone(void *arg, gr_http_id id) { (void)arg, (void)id; }       /* a late answer does nothing */

static const gr_http_handler owner_handler = {on_head, NULL, on_request, on_gone};
static const gr_http_handler metrics_handler = {on_head, NULL, on_metrics, on_gone};

/* --- the thread ------------------------------------------------------------------------------------------------ */
static void seen(void *arg) { (void)arg; }

static void *loop(void *arg)
{
    gr_admin *admin = arg;
    while (!atomic_load(&admin->stopping)) {
        uint64_t next_ms = 0;
        admin->now_ms = gr_clock_ms(CLOCK_REALTIME);
        size_t told = gr_port_step(admin->port, admin->now_ms, 256, &next_ms);
        gr_admin_drop_held(admin, HELD_MS);
        uint64_t mono_ms = gr_clock_ms(CLOCK_MONOTONIC);
        if (admin->metrics) gr_http_step(admin->metrics, mono_ms, 0);
        /* With a metrics listener the wait is short: one thread serves both, and neither is in a hurry. */
        gr_http_step(admin->owner, mono_ms, told ? 0 : admin->metrics ? 50 : 500);
    }
    return NULL;
}

gr_err gr_admin_open(gr_arena *a, const gr_config *config, const char *dir, gr_node *node, gr_store *store,
                     const gr_edge_counters *edge, gr_fetcher *fetcher, gr_admin **out)
{
    gr_http_limits limits = gr_http_limits_default();
    gr_admin *admin = *out = gr_alloc(sizeof *admin);
    gr_port_handler handler = {on_reply, on_message, admin};
    admin->node = node;
    admin->store = store;
    admin->edge = edge;
    admin->fetcher = fetcher;
    admin->config = config;
    admin->dir = dir;
    admin->port = gr_port_open(node, GR_ADMIN_PORT, &handler);
    admin->owner = gr_http_new(&limits, &owner_handler, admin);
    gr_http_watch(admin->owner, gr_port_fd(admin->port), seen, admin);
    gr_str path = gr_str_c(config->listen_admin);
    if (path.size && path.ptr[0] != '/') {
        char *absolute = realpath(dir, NULL);
        path = gr_arena_printf(a, "%s/admin.sock", absolute ? absolute : dir);
        free(absolute);
    }
    gr_err err = gr_http_listen(admin->owner, &(gr_http_listener){.address = path.ptr}, a, NULL);
    if (!gr_failed(err) && config->listen_metrics.host) {
        admin->metrics = gr_http_new(&limits, &metrics_handler, admin);
        err = gr_http_listen(admin->metrics, &(gr_http_listener){.address = config->listen_metrics.host,
                                                                  .port = config->listen_metrics.port}, a, NULL);
    }
    if (gr_failed(err)) return err;
    if (pthread_create(&admin->thread, NULL, loop, admin) != 0) return gr_fail(GR_UNKNOWN, "no thread for the admin socket");
    admin->running = true;
    return gr_ok();
}

void gr_admin_close(gr_admin **at)
{
    gr_admin *admin = *at;
    if (!admin) return;
    atomic_store(&admin->stopping, true);
    if (admin->running) {
        gr_http_wake(admin->owner);
        pthread_join(admin->thread, NULL);
    }
    gr_admin_backup_end(admin);
    gr_http_free(&admin->owner);
    gr_http_free(&admin->metrics);
    gr_port_close(&admin->port);
    gr_admin_waiting *w, *next;
    HASH_ITER(hh, admin->asks, w, next) {
        HASH_DEL(admin->asks, w);
        gr_buf_free(&w->got);
        free(w);
    }
    gr_admin_drop_held(admin, 0);
    free(admin);
    *at = NULL;
}
