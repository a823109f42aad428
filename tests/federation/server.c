/* server.c - one server: opening, a step, its edges. See fed.h. */
#include "tests/federation/fed.h"

#include "actors/fsck.h"
#include "actors/kinds.h"
#include "bus/ctx.h"
#include "proto/json.h"

#include <stdio.h>

static const unsigned char openid_key[32] = {7};
enum { INSPECT_MS = 500, FOREVER_TICKS = 1 << 30 };

/* All others: events of a server that is away are passed on by them, and they have its keys. */
static const char *const *notaries_of(fed_server *s)
{
    size_t count = 0;
    for (unsigned i = 1; i < FED_SERVERS; i++)
        s->notaries[count++] = gr_arena_printf(s->fed->arena, "s%u", (s->index + i) % FED_SERVERS).ptr;
    return s->notaries;
}

static void configure(fed_server *s)
{
    unsigned char seed[GR_SIGN_SEED] = {(unsigned char)(s->index + 1)};
    gr_config_init(&s->config, ".");
    s->config.server_name = s->name;
    s->config.rate_limits = false;
    gr_err err = gr_signer_from_seed(gr_str_c(s->name), GR_STR("sim"), seed, &s->signer);
    gr_assert(!gr_failed(err));
    s->env = (gr_env){.server_name = gr_str_c(s->name), .signer = &s->signer, .default_room_version = GR_STR("12"),
                      .notaries = notaries_of(s),
                      .presence = {true, 100}, .password_min_length = 8, .password_memory = 8192,
                      .retry = {10 * 60 * 1000, 7 * 24 * 3600 * 1000, 2, 0.2},
                      .queue = {40, 8 << 20, 3600 * 1000, 2}};         /* small, so that all of it happens */
}

static void log_record(void *arg, const gr_log_record *r)
{
    const fed_server *s = arg;
    s->fed->log(r, s);
}

void fed_server_open(fed *f, unsigned index)
{
    fed_server *s = &f->servers[index];
    *s = (fed_server){.fed = f, .index = index, .nodes = 1 + (index == 0 && f->seed % 4 == 3)};
    snprintf(s->name, sizeof s->name, "s%u", index);
    configure(s);
    gr_sim_options o = {.seed = fed_random(f), .server_name = gr_str_c(s->name), .nodes = s->nodes, .workers = 1 + f->seed % 2,
                        .kinds = gr_kinds, .env = &s->env, .delay_max = (uint32_t)(f->seed % 3), .work_delay_max = 5,
                        .unload = 5000, .remote = fed_fetch, .remote_arg = f};
    o.store.delay_max = (uint32_t)(f->seed % 4);
    if (f->seed % 3 == 0) o.store.unknown_per_million = 3000;
    if (f->log) {
        o.log = log_record;
        o.log_arg = s;
    }
    s->sim = gr_sim_new(&o);
}

static void close_edge(fed_server *s, unsigned node)
{
    if (!s->edges[node]) return;
    fed_wire_gone(s->fed, s->edges[node]);
    gr_edge_free(&s->edges[node]);
}

void fed_server_close(fed_server *s)
{
    for (unsigned i = 0; i < s->nodes; i++) close_edge(s, i);
    gr_sim_free(&s->sim);
    gr_signer_wipe(&s->signer);
    gr_config_free(&s->config);
}

/* --- edges ------------------------------------------------------------------------------------------------------- */
typedef struct { gr_sim *sim; unsigned node; } place;

static gr_port *open_port(void *arg, const gr_port_handler *handler)
{
    const place *at = arg;
    return gr_sim_port_open(at->sim, at->node, handler);
}

static void open_edge(fed_server *s, unsigned node)
{
    place at = {s->sim, node};
    gr_edge_options o = {.config = &s->config, .env = &s->env, .open_port = open_port, .open_port_arg = &at,
                         .openid_key = openid_key};
    gr_err err = gr_edge_new(s->fed->arena, &o, &s->edges[node]);
    gr_assert(!gr_failed(err));
}

void fed_server_crash(fed_server *s, unsigned node, uint64_t ms)
{
    close_edge(s, node);
    gr_sim_crash(s->sim, node, FOREVER_TICKS);
    s->up_ms[node] = s->fed->now_ms + ms;
}

/* --- offline ------------------------------------------------------------------------------------------------------ */
static void uncover(void *arg, gr_store *store)
{
    fed_server *s = arg;
    gr_fsck_rooms rooms = {.env = &s->env};
    size_t repaired = 0, count = 0;
    for (unsigned room = 0; room < FED_ROOMS; room++) {
        if (!fed_member_of(s->fed, s->index, room)) continue;
        count++;
        char prefix[GR_PREFIX_MAX];
        gr_str id = gr_str_c(s->fed->rooms[room]);
        size_t size = gr_actor_prefix(GR_KIND_ROOM, id, prefix);
        gr_buf_char(&rooms.uncovered, (char)gr_id_shard(id));
        gr_buf_varint(&rooms.uncovered, size);
        gr_buf_add(&rooms.uncovered, prefix, size);
    }
    gr_err err = gr_fsck_repair(store, &rooms, &repaired);
    gr_assert(!gr_failed(err) && repaired == count);
    gr_buf_free(&rooms.uncovered);
}

void fed_server_uncover(fed_server *s)
{
    gr_assert(s->nodes == 1);          /* it holds all shards */
    fed_server_crash(s, 0, 0);
    gr_sim_offline(s->sim, 0, uncover, s);
}

/* --- a step ------------------------------------------------------------------------------------------------------ */
uint64_t fed_server_next_ms(fed_server *s)
{
    uint64_t next_ms = gr_sim_next_ms(s->sim);
    for (unsigned i = 0; i < s->nodes; i++) {
        uint64_t node_ms = gr_sim_is_up(s->sim, i) ? s->edge_ms[i] : s->up_ms[i];
        if (node_ms < next_ms) next_ms = node_ms;
    }
    return next_ms;
}

void fed_server_step(fed_server *s)
{
    uint64_t now_ms = s->fed->now_ms;
    for (unsigned i = 0; i < s->nodes; i++)
        if (!gr_sim_is_up(s->sim, i) && s->up_ms[i] <= now_ms) gr_sim_start(s->sim, i);
    gr_sim_jump(s->sim, now_ms - gr_sim_now(s->sim) - 1);
    gr_sim_run(s->sim, 1);
    for (unsigned i = 0; i < s->nodes; i++) {
        if (!gr_sim_is_up(s->sim, i)) continue;
        if (!s->edges[i]) open_edge(s, i);
        gr_edge_turn(s->edges[i], now_ms, &s->edge_ms[i]);
        fed_wire_take(s->fed, s->edges[i]);
    }
}

/* --- asking actors ------------------------------------------------------------------------------------------------ */
const void *fed_ask(fed *f, unsigned server, gr_str to, const gr_type *type, const void *body, uint64_t timeout_ms,
                    const gr_type *want, gr_err *err)
{
    fed_server *s = &f->servers[server];
    const gr_type *got = NULL;
    void *answer = NULL;
    unsigned node = 0;
    *err = gr_fail(GR_UNAVAILABLE, "the server is down");
    while (node < s->nodes && !gr_sim_is_up(s->sim, node)) node++;
    if (node == s->nodes) return NULL;
    gr_sim_jump(s->sim, f->now_ms - gr_sim_now(s->sim));       /* it was not stepped while it had nothing to do */
    uint64_t number = gr_sim_ask(s->sim, node, to, type, body, timeout_ms);
    while (!gr_sim_reply(s->sim, number, f->turn, &got, &answer, err)) fed_step(f, f->now_ms + 1);
    return !gr_failed(*err) && got == want ? answer : NULL;
}

const gr_json *fed_destination(fed *f, unsigned server, unsigned other)
{
    gr_err err;
    const gr_json *json = NULL;
    gr_str to = gr_address(f->turn, GR_KIND_DESTINATION, gr_str_c(f->servers[other].name));
    const gr_result *r = fed_ask(f, server, to, &gr_type_inspect, &(gr_inspect){0}, INSPECT_MS, &gr_type_result, &err);
    return r && !gr_failed(gr_json_parse(f->turn, r->body, GR_JSON_LAX, &json)) ? json : NULL;
}
