/* admin.c - the admin socket and the metrics listener. See admin.h. */
#include "edge/admin_inside.h"
#include "edge/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ACTORS_MAX = 10000, ASK_MS = 10000 };

static const gr_http_header json_type = {{"Content-Type", 12}, {"application/json", 16}};
static const gr_http_header text_type = {{"Content-Type", 12}, {"text/plain; version=0.0.4", 25}};

static void answer(gr_http *http, gr_http_id id, int status, const gr_http_header *type, gr_buf *body)
{
    gr_http_answer a = {.status = status, .headers = type, .header_count = 1, .body = gr_buf_view(body)};
    gr_http_reply(http, id, &a);
    gr_buf_free(body);
}

/* --- asking actors by hand ---------------------------------------------------------------------------------- */
static void on_reply(void *arg, uint64_t seq, const gr_type *type, const void *body, gr_err err)
{
    gr_admin *admin = arg;
    gr_admin_waiting *w = NULL;
    gr_buf out = {0};
    HASH_FIND(hh, admin->asks, &seq, sizeof seq, w);
    if (!w) return;
    HASH_DEL(admin->asks, w);
    gr_jw j = gr_jw_begin(&out);
    char trace[20];
    snprintf(trace, sizeof trace, "%016llx", (unsigned long long)w->trace);
    gr_jw_object(&j);
    gr_jw_kc(&j, "trace", trace);
    if (gr_failed(err)) {
        gr_jw_kc(&j, "errcode", gr_errcode_wire(err.code));
        gr_jw_kc(&j, "error", err.text ? err.text : "");
    } else {
        gr_jw_kc(&j, "type", type->name);
        gr_jw_key(&j, "body");
        gr_buf text = {0};
        if (type == &gr_type_result) gr_buf_str(&text, ((const gr_result *)body)->body);
        else gr_body_print(&text, type, body, true);
        gr_jw_raw(&j, gr_buf_view(&text));
        gr_buf_free(&text);
    }
    gr_jw_end_object(&j);
    answer(admin->owner, w->id, gr_failed(err) ? gr_errcode_status(err.code) : 200, &json_type, &out);
    free(w);
}

static void on_message(void *arg, gr_str from, uint64_t seq, const gr_type *type, const void *body)
{
    gr_admin *admin = arg;
    (void)type, (void)body;
    if (seq) gr_port_answer(admin->port, from, seq, &gr_type_done, &(gr_done){0});
}

void gr_admin_answer(gr_admin *admin, gr_http_id id, gr_buf *json) { answer(admin->owner, id, 200, &json_type, json); }

gr_err gr_admin_ask(gr_admin *admin, gr_http_id id, gr_str to, const gr_type *type, const void *body)
{
    gr_admin_waiting *w = gr_alloc(sizeof *w);
    w->id = id;
    w->trace = gr_port_trace(admin->port);
    gr_err err = gr_port_ask(admin->port, to, type, body, admin->now_ms, ASK_MS, false, w->trace, &w->seq);
    if (gr_failed(err)) free(w);
    else HASH_ADD(hh, admin->asks, seq, sizeof w->seq, w);
    return err;
}

/* {"to": address, "type": name, "body": {..}, "force": false, "tell": false}: types not meant for people need force. */
static gr_err send_by_hand(gr_admin *admin, gr_arena *a, gr_http_id id, gr_str text)
{
    const gr_json *request = NULL;
    void *body = NULL;
    gr_err err = gr_json_parse(a, text, GR_JSON_LAX, &request);
    if (gr_failed(err)) return err;
    gr_str to = gr_json_text(request, "to"), name = gr_json_text(request, "type");
    const gr_type *type = gr_type_named(name);
    const gr_json *given = gr_json_get(request, "body");
    if (!gr_address_valid(to) || gr_address_kind(to) == GR_KIND_EDGE)
        return gr_failf(a, GR_INVALID_PARAM,
                        "'%" GR_FMT "' is no actor's address: give kind/id, like room/!id:server",
                        GR_ARG(to));
    if (!type) return gr_failf(a, GR_INVALID_PARAM, "there is no message type '%" GR_FMT "'; see docs/messages.md", GR_ARG(name));
    if (!type->is_operator && !gr_json_boolean(gr_json_get(request, "force"), false))
        return gr_failf(a, GR_FORBIDDEN, "%s is not meant to be sent by hand; --force sends it all the same", type->name);
    err = gr_body_parse(a, type, given ? gr_json_printed(a, given) : GR_STR("{}"), &body);
    if (gr_failed(err)) return err;
    gr_log(GR_LOG_INFO, "admin", "sent by hand: %s to %" GR_FMT, type->name, GR_ARG(to));
    return gr_admin_ask(admin, id, to, type, body);
}

/* --- routes --------------------------------------------------------------------------------------------------- */
static gr_err serve(gr_admin *admin, gr_arena *a, gr_http_id id, const gr_http_req *req, gr_str text)
{
    gr_route_query query;
    gr_buf out = {0};
    gr_err err = gr_route_query_parse(a, req->query, &query);
    if (gr_failed(err)) return err;
    if (gr_str_is(req->path, "/send")) return send_by_hand(admin, a, id, text);
    if (gr_str_is(req->path, "/inspect")) {
        gr_str to = gr_route_query_get(&query, "address");
        if (!gr_address_valid(to) || gr_address_kind(to) == GR_KIND_EDGE)
            return gr_fail(GR_INVALID_PARAM, "give the address of an actor, like room/!id:server");
        return gr_admin_ask(admin, id, to, &gr_type_inspect, &(gr_inspect){0});
    }
    if (gr_str_is(req->path, "/actors")) {
        gr_buf_str(&out, gr_node_actors(admin->node, a, gr_route_query_get(&query, "prefix"), ACTORS_MAX));
        answer(admin->owner, id, 200, &json_type, &out);
        return gr_ok();
    }
    if (gr_str_is(req->path, "/metrics")) {
        gr_metrics_print(&out, admin->node, admin->store, admin->edge, admin->fetcher, admin->now_ms);
        answer(admin->owner, id, 200, &text_type, &out);
        return gr_ok();
    }
    return gr_admin_op(admin, a, id, req, text);
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
    gr_buf out = {0};
    (void)body;
    if (!gr_str_is(req->path, "/metrics")) {
        gr_http_reply_error(admin->metrics, id, 0, gr_fail(GR_UNRECOGNIZED, "only /metrics is here"));
        return;
    }
    gr_metrics_print(&out, admin->node, admin->store, admin->edge, admin->fetcher, admin->now_ms);
    answer(admin->metrics, id, 200, &text_type, &out);
}

static void on_gone(void *arg, gr_http_id id) { (void)arg, (void)id; }       /* a late answer does nothing */

static const gr_http_handler owner_handler = {on_head, NULL, on_request, on_gone};
static const gr_http_handler metrics_handler = {on_head, NULL, on_metrics, on_gone};

/* --- the thread ------------------------------------------------------------------------------------------------ */
static uint64_t clock_ms(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void seen(void *arg) { (void)arg; }

static void *loop(void *arg)
{
    gr_admin *admin = arg;
    while (!atomic_load(&admin->stopping)) {
        uint64_t next_ms = 0;
        admin->now_ms = clock_ms(CLOCK_REALTIME);
        size_t told = gr_port_step(admin->port, admin->now_ms, 256, &next_ms);
        uint64_t mono_ms = clock_ms(CLOCK_MONOTONIC);
        if (admin->metrics) gr_http_step(admin->metrics, mono_ms, 0);
        /* With a metrics listener the wait is short: one thread serves both, and neither is in a hurry. */
        gr_http_step(admin->owner, mono_ms, told ? 0 : admin->metrics ? 50 : 500);
    }
    return NULL;
}

gr_err gr_admin_open(gr_arena *a, const gr_config *config, const char *dir, gr_node *node, gr_store *store, unsigned port_index,
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
    admin->port = gr_port_open(node, port_index, &handler);
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
        free(w);
    }
    free(admin);
    *at = NULL;
}
