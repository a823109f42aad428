/* admin_ops.c - what a node answers its owner by itself: counters, actors, links, dead letters. See admin_inside.h. */
#include "edge/admin_inside.h"
#include "edge/log.h"

#include "bus/node_mend.h"
#include "persistence/schema.h"

#include <stdio.h>

enum { DEAD_MAX = 1000, ACTORS_MAX = 10000 };

/* --- /counters ---------------------------------------------------------------------------------------- */
#define NODE_COUNTERS(X) \
    X(messages) \
    X(asks) X(tells) X(posts) X(replies) X(dropped_tells) X(failed_asks) X(dead_letters) X(suspended_actors) \
        X(groups) X(group_messages_max) X(commits) X(commit_us_sum) X(actors) X(actors_memory) \
            X(mailbox_depth) X(mailbox_bytes) X(timers) X(outbox) X(gets) X(rows) X(cached_rows) X(read_rows) X(over_bounds) \
                X(bad_messages) X(frames_waiting) X(lost_shards) X(work) X(log_written) X(log_dropped) \
                    X(strangers) X(bad_frames)

static void node_counters(gr_jw *w, gr_admin *admin)
{
    gr_node_counters c;
    gr_node_count(admin->node, &c);
    gr_jw_key(w, "node");
    gr_jw_object(w);
#define X(name) gr_jw_kint(w, #name, (int64_t)c.name);
    NODE_COUNTERS(X)
#undef X
    gr_jw_end_object(w);
}

static void store_counters(gr_jw *w, gr_admin *admin)
{
    gr_engine_status s = {0};
    uint64_t left = 0;
    gr_store_status(admin->store, &s);
    gr_jw_key(w, "store");
    gr_jw_object(w);
    gr_jw_kbool(w, "writable", s.writable);
    gr_jw_kint(w, "failures", (int64_t)s.failures);
    gr_jw_kint(w, "syncs", (int64_t)s.groups);
    gr_jw_kint(w, "batches", (int64_t)s.batches);
    gr_jw_kint(w, "bytes", (int64_t)s.bytes);
    if (!gr_failed(gr_store_disk_free(admin->dir, &left))) gr_jw_kint(w, "disk_free", (int64_t)left);
    if (s.error[0] && gr_str_utf8(gr_str_c(s.error))) gr_jw_kc(w, "error", s.error);
    gr_jw_end_object(w);
}

static void edge_counters(gr_jw *w, const gr_edge_counters *c)
{
    uint64_t answers = 0;
    gr_jw_key(w, "edge");
    gr_jw_object(w);
    gr_jw_kint(w, "requests", (int64_t)c->requests);
    for (int i = 1; i <= 5; i++) {
        char name[16];
        snprintf(name, sizeof name, "status_%dxx", i);
        gr_jw_kint(w, name, (int64_t)c->by_status[i]);
    }
    for (int i = 0; i < GR_EDGE_LATENCY_BUCKETS; i++) answers += c->latency[i];
    gr_jw_kint(w, "answers", (int64_t)answers);
    gr_jw_kint(w, "latency_ms_sum", (int64_t)c->latency_sum_ms);
    gr_jw_kint(w, "refused_rate", (int64_t)c->refused_rate);
    gr_jw_kint(w, "refused_busy", (int64_t)c->refused_credit);
    gr_jw_kint(w, "refused_disk", (int64_t)c->refused_disk);
    gr_jw_end_object(w);
}

static void counters(gr_admin *admin, gr_buf *out)
{
    gr_jw w = gr_jw_begin(out);
    gr_jw_object(&w);
    gr_jw_kint(&w, "time_ms", (int64_t)admin->now_ms);
    gr_jw_kint(&w, "memory", (int64_t)gr_metrics_resident());
    gr_jw_kc(&w, "server_name", admin->config->server_name);
    node_counters(&w, admin);
    store_counters(&w, admin);
    edge_counters(&w, admin->edge);
    gr_jw_end_object(&w);
}

/* --- /dead and /resume -------------------------------------------------------------------------------- */
/* {"act": "retry" or "drop", "shard": 0..255, "number": n} */
static gr_err dead_act(gr_admin *admin, const gr_json *request)
{
    gr_str act = gr_json_text(request, "act");
    int64_t shard = gr_json_integer(gr_json_get(request, "shard"), -1);
    int64_t number = gr_json_integer(gr_json_get(request, "number"), -1);
    bool retry = gr_str_is(act, "retry");
    if ((!retry && !gr_str_is(act, "drop")) || shard < 0 || shard >= GR_SHARDS || number < 0)
        return gr_fail(GR_INVALID_PARAM, "give act (retry or drop), shard and number of a dead letter");
    gr_err err = gr_node_dead_act_on(admin->node, retry ? GR_NODE_DEAD_RETRY : GR_NODE_DEAD_DROP,
                                     (uint8_t)shard, (uint64_t)number);
    if (gr_failed(err)) return err;
    gr_log(GR_LOG_INFO, "admin", "dead letter %lld/%lld: %s by hand", (long long)shard, (long long)number,
           retry ? "tried again" : "dropped");
    return gr_ok();
}

static gr_err resume(gr_admin *admin, const gr_json *request)
{
    gr_str address = gr_json_text(request, "address");
    gr_err err = gr_node_resume(admin->node, address);
    if (gr_failed(err)) return err;
    gr_log(GR_LOG_INFO, "admin", "resumed by hand: %" GR_FMT, GR_ARG(address));
    return gr_ok();
}

/* --- /schema ------------------------------------------------------------------------------------------ */
static gr_err schema(gr_admin *admin, gr_arena *a, gr_buf *out)
{
    gr_schema_ran *ran;
    size_t count;
    unsigned version = 0;
    gr_err err = gr_schema_applied(admin->store, a, &ran, &count);
    if (!gr_failed(err)) err = gr_schema_version(admin->store, a, &version);
    if (gr_failed(err)) return err;
    gr_schema_print(out, version, ran, count);
    return gr_ok();
}

/* --- /updates ----------------------------------------------------------------------------------------- */
static gr_err skipped(gr_admin *admin, gr_arena *a, const gr_admin_request *r, gr_buf *out)
{
    gr_str json;
    gr_err err = gr_node_update_skipped(admin->node, a, gr_route_query_get(&r->query, "name"), &json);
    gr_buf_str(out, json);
    return err;
}

/* {"act": "pause" or "resume", "name": of one; without it all} */
static gr_err pause_updates(gr_admin *admin, gr_arena *a, const gr_json *request)
{
    gr_str act = gr_json_text(request, "act"), name = gr_json_text(request, "name");
    bool pause = gr_str_is(act, "pause");
    if (!pause && !gr_str_is(act, "resume")) return gr_fail(GR_INVALID_PARAM, "act has to be pause or resume");
    gr_err err = gr_node_update_pause(admin->node, a, name, pause);
    if (gr_failed(err)) return err;
    gr_log(GR_LOG_INFO, "admin", "background updates %s by hand: %" GR_FMT, pause ? "paused" : "resumed",
           GR_ARG(name.size ? name : GR_STR("all")));
    return gr_ok();
}

/* --- /cluster ----------------------------------------------------------------------------------------- */
static void cluster(gr_admin *admin, gr_arena *a, gr_buf *out)
{
    gr_node_counters c;
    const gr_json *list = NULL;
    int64_t shards = GR_SHARDS;
    gr_str peers = admin->config->cluster_file[0] ? gr_node_peers(admin->node, a) : GR_STR("[]");
    gr_node_count(admin->node, &c);
    if (!gr_failed(gr_json_parse(a, peers, GR_JSON_LAX, &list)))
        for (uint32_t i = 0; i < list->count; i++)
            shards -= gr_json_integer(gr_json_get(&list->items[i], "shards"), 0);
    gr_jw w = gr_jw_begin(out);
    gr_jw_object(&w);
    gr_jw_kc(&w, "node", admin->config->cluster_node);
    gr_jw_kc(&w, "file", admin->config->cluster_file);
    gr_jw_kint(&w, "shards", shards);
    gr_jw_kint(&w, "level", gr_level_now(gr_node_level(admin->node)));
    gr_jw_kint(&w, "level_high", gr_node_level(admin->node)->high);
    gr_jw_kint(&w, "outbox", (int64_t)c.outbox);
    gr_jw_kint(&w, "mailbox_depth", (int64_t)c.mailbox_depth);
    gr_jw_kint(&w, "frames_waiting", (int64_t)c.frames_waiting);
    gr_jw_kint(&w, "lost_shards", (int64_t)c.lost_shards);
    gr_jw_kint(&w, "pairs_stopped", (int64_t)c.pairs_stopped);
    gr_jw_kint(&w, "memory", (int64_t)gr_metrics_resident());
    gr_jw_key(&w, "peers");
    gr_jw_raw(&w, peers);
    gr_jw_end_object(&w);
}

/* --- /upgrade ------------------------------------------------------------------------------------------ */
static gr_err upgrade(gr_admin *admin, gr_arena *a, gr_buf *out)
{
    uint32_t before = gr_level_now(gr_node_level(admin->node)), level = before;
    gr_err err = gr_node_upgrade_finish(admin->node, a, &level);
    if (gr_failed(err)) return err;
    if (level != before) gr_log(GR_LOG_INFO, "admin", "the upgrade was finished: the feature level is %u now", level);
    gr_jw w = gr_jw_begin(out);
    gr_jw_object(&w);
    gr_jw_kint(&w, "before", before);
    gr_jw_kint(&w, "level", level);
    gr_jw_end_object(&w);
    return gr_ok();
}

/* --- routes ------------------------------------------------------------------------------------------- */
static gr_err looked_at(gr_admin *admin, gr_arena *a, const gr_admin_request *r, gr_admin_answer *made)
{
    gr_buf *out = &made->body;
    if (gr_str_is(r->path, "/schema")) return schema(admin, a, out);
    if (gr_str_is(r->path, "/destinations"))
        return gr_admin_destinations(admin, a, gr_route_query_get(&r->query, "failing").size > 0, out);
    if (gr_str_is(r->path, "/updates/skipped")) return skipped(admin, a, r, out);
    if (gr_str_is(r->path, "/counters")) counters(admin, out);
    else if (gr_str_is(r->path, "/actors"))
        gr_buf_str(out, gr_node_actors(admin->node, a, gr_route_query_get(&r->query, "prefix"), ACTORS_MAX));
    else if (gr_str_is(r->path, "/dead")) gr_buf_str(out, gr_node_dead(admin->node, a, DEAD_MAX));
    else if (gr_str_is(r->path, "/cluster")) cluster(admin, a, out);
    else if (gr_str_is(r->path, "/backup")) gr_admin_backup_state(admin, out);
    else if (gr_str_is(r->path, "/updates")) gr_buf_str(out, gr_node_updates(admin->node, a));
    else if (gr_str_is(r->path, "/metrics")) {
        made->content_type = GR_STR("text/plain; version=0.0.4");
        gr_metrics_print(out, admin->node, admin->store, admin->config, admin->edge, admin->fetcher, admin->now_ms);
    } else return gr_fail(GR_UNRECOGNIZED, "the admin socket has no such route");
    return gr_ok();
}

gr_err gr_admin_look(gr_admin *admin, gr_arena *a, const gr_admin_request *r, gr_admin_answer *made)
{
    const gr_json *request = NULL;
    if (r->method == GR_HTTP_GET) return looked_at(admin, a, r, made);
    if (r->method != GR_HTTP_POST)
        return gr_fail(GR_METHOD_NOT_ALLOWED, "the admin socket takes GET and POST");
    if (gr_str_starts(r->path, GR_STR("/trace/"))) return gr_admin_trace(admin, a, r, made);
    gr_err err = gr_json_parse(a, r->body, GR_JSON_LAX, &request);
    if (gr_failed(err)) return err;
    if (gr_str_is(r->path, "/upgrade")) return upgrade(admin, a, &made->body);
    gr_buf_c(&made->body, "{}");
    if (gr_str_is(r->path, "/dead")) return dead_act(admin, request);
    if (gr_str_is(r->path, "/resume")) return resume(admin, request);
    if (gr_str_is(r->path, "/updates")) return pause_updates(admin, a, request);
    if (gr_str_is(r->path, "/backup")) return gr_admin_backup_begin(admin, a, gr_json_text(request, "to"));
    return gr_fail(GR_UNRECOGNIZED, "the admin socket has no such route");
}
