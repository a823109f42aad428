/* edge.c - one edge thread. See edge.h. */
#include "edge/edge.h"
#include "edge/http_conn.h"

#include <stdlib.h>

const unsigned gr_edge_latency_ms[GR_EDGE_LATENCY_BUCKETS - 1] = {1, 2, 5, 10, 25, 50, 100, 250, 1000, 5000, 30000};

/* CORS for every client route (client-server API, "Web Browser Clients"). */
static const char common_headers[] =
    "Access-Control-Allow-Origin: *\r\n"
    "Access-Control-Allow-Methods: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n"
    "Access-Control-Allow-Headers: X-Requested-With, Content-Type, Authorization\r\n"
    "Access-Control-Expose-Headers: Content-Disposition, Retry-After\r\n";

/* The watched descriptor only ends the wait: the port is served in every step. */
static void port_seen(void *arg) { (void)arg; }

static gr_edge_entrance make_entrance(const gr_call_route *const *routes)
{
    size_t count = 0;
    gr_edge_entrance door = {.routes = routes, .table = gr_call_table(routes, &count)};
    door.tree = gr_route_tree_new(door.table, count);
    return door;
}

gr_err gr_edge_new(gr_arena *a, const gr_edge_options *o, gr_edge **out)
{
    const gr_config *config = o->config;
    gr_http_limits limits = gr_http_limits_default();
    limits.conn_max = (uint32_t)config->http_max_connections;
    limits.head_ms = (uint32_t)config->http_header_timeout_ms;
    limits.idle_ms = (uint32_t)config->http_idle_timeout_ms;
    limits.body_max = config->http_max_body;
    limits.common_headers = gr_str_c(common_headers);
    gr_edge *e = gr_alloc(sizeof *e);
    e->config = config;
    e->env = o->env;
    e->openid_key = o->openid_key;
    e->appservices = o->appservices;
    e->clock = o->clock;
    gr_port_handler handler = gr_call_port_handler;
    handler.arg = e;
    e->port = o->node ? gr_port_open(o->node, o->index, &handler) : o->open_port(o->open_port_arg, &handler);
    e->http = gr_http_new(&limits, &gr_call_http_handler, e);
    if (o->node) gr_http_watch(e->http, gr_port_fd(e->port), port_seen, e);
    e->tokens = gr_token_cache_new();
    e->rates = gr_rates_new();
    e->keys = gr_key_cache_new();
    e->recent_rooms = gr_recent_rooms_new();
    e->told_rooms = gr_told_rooms_new();
    e->entrances[GR_EDGE_CLIENT] = make_entrance(gr_call_routes);
    e->entrances[GR_EDGE_FEDERATION] = make_entrance(gr_call_server_routes);
    *out = e;
    (void)a;
    return gr_ok();
}

void gr_edge_free(gr_edge **e)
{
    if (!*e) return;
    gr_call *call, *next;
    HASH_ITER(hh, (*e)->calls, call, next) gr_call_http_handler.on_gone(*e, call->id);
    gr_call_sweep(*e);
    gr_http_free(&(*e)->http);
    gr_port_close(&(*e)->port);
    for (int i = 0; i < GR_EDGE_DOORS; i++) {
        gr_route_tree_free(&(*e)->entrances[i].tree);
        free((*e)->entrances[i].table);
    }
    gr_lru_free(&(*e)->keys);
    gr_lru_free(&(*e)->recent_rooms);
    gr_lru_free(&(*e)->told_rooms);
    gr_token_cache_free(&(*e)->tokens);
    gr_rates_free(&(*e)->rates);
    free(*e);
    *e = NULL;
}

void gr_edge_look_at_clock(gr_edge *e)
{
    if (e->clock) e->now_ms = gr_clock_now_ms(e->clock);
}

void gr_edge_step(gr_edge *e, uint64_t mono_ms, int wait_ms)
{
    uint64_t next_ms = 0;
    gr_edge_look_at_clock(e);
    uint64_t now_ms = e->now_ms;
    size_t told = gr_port_step(e->port, now_ms, 1024, &next_ms);
    gr_call_sweep(e);
    if (told) wait_ms = 0;
    else if (next_ms > now_ms && next_ms - now_ms < (uint64_t)wait_ms) wait_ms = (int)(next_ms - now_ms);
    else if (next_ms && next_ms <= now_ms) wait_ms = 0;
    gr_http_step(e->http, mono_ms, wait_ms);
    gr_call_sweep(e);
}

void gr_edge_turn(gr_edge *e, uint64_t now_ms, uint64_t *next_ms)
{
    e->now_ms = now_ms;
    gr_port_step(e->port, now_ms, SIZE_MAX, next_ms);
    gr_call_sweep(e);
    gr_http_run(e->http, now_ms);
    gr_call_sweep(e);
    uint64_t http_ms = gr_http_next_due(e->http);
    if (http_ms < *next_ms) *next_ms = http_ms;
    if (e->refused) *next_ms = now_ms;
}

void gr_edge_stop(gr_edge *e)
{
    e->stopping = true;
    gr_call_end_waiting(e);
    gr_http_stop(e->http);
}

bool gr_edge_idle(const gr_edge *e) { return HASH_COUNT(e->calls) == 0 && gr_http_count(e->http)->open == 0; }
