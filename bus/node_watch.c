/* node_watch.c - looking at a running node: counters summed over workers, lists of actors and of background updates. See
 * node.h. */
#include "bus/message_log.h"
#include "bus/node_inside.h"
#include "bus/zmq_transport.h"
#include "proto/json.h"

#include <stdlib.h>
#include <time.h>

enum { ANSWER_WITHIN_S = 2, SKIPPED_MAX = 1000 };
#define MESSAGE_LOG "message-log"

static void add(gr_node_counters *sum, const gr_worker_counters *c)
{
    sum->messages += c->messages;
    sum->asks += c->asks;
    sum->tells += c->tells;
    sum->posts += c->posts;
    sum->replies += c->replies;
    sum->dropped_tells += c->dropped_tells;
    sum->failed_asks += c->failed_asks + c->refused_asks;
    sum->bad_messages += c->bad_messages;
    sum->dead_letters += c->dead_letters;
    sum->suspended_actors += c->suspended;
    sum->groups += c->groups;
    if (c->group_messages_max > sum->group_messages_max) sum->group_messages_max = c->group_messages_max;
    sum->commit_us_sum += c->commit_us_sum;
    sum->actors += c->actors;
    sum->actors_memory += c->actors_memory;
    sum->mailbox_depth += c->mailbox_depth;
    sum->mailbox_bytes += c->mailbox_bytes;
    sum->timers += c->timers;
    sum->outbox += c->outbox;
    sum->gets += c->gets;
    sum->rows += c->rows;
    for (int i = 0; i < GR_TALLIES; i++) sum->tallies[i] += c->tallies[i];
    sum->over_bounds += c->over_bounds;
    sum->cached_rows += c->cached_rows;
    sum->read_rows += c->read_rows;
    sum->lost_shards += c->lost_shards;
    sum->work += c->work;
    sum->pairs_stopped += c->pairs_stopped;
}

static void add_refused(gr_node_counters *sum, gr_transport *t)
{
    gr_zmq_peer *peers = gr_alloc(GR_CLUSTER_NODES_MAX * sizeof *peers);
    size_t count = gr_zmq_transport_peers(t, peers, GR_CLUSTER_NODES_MAX);
    gr_zmq_transport_strangers(t, &sum->strangers, &sum->bad_frames);
    for (size_t i = 0; i < count; i++) sum->bad_frames += peers[i].bad;
    free(peers);
}

void gr_node_count(const gr_node *n, gr_node_counters *sum)
{
    gr_engine_status status = {0};
    *sum = (gr_node_counters){0};
    for (unsigned i = 0; i < n->worker_count; i++) {
        gr_worker_counters c;
        gr_worker_count(n->workers[i].worker, &c);
        add(sum, &c);
        sum->frames_waiting += gr_zmq_endpoint_depth(n->transport, n->workers[i].self);
    }
    gr_store_status(n->options.store, &status);
    sum->commits = status.groups;
    add_refused(sum, n->transport);
    if (!n->log) return;
    gr_message_log_counters log;
    gr_message_log_count(n->log, &log);
    sum->log_written = log.written;
    sum->log_dropped = log.dropped + log.failed;
}

const char *gr_node_name(const gr_node *n) { return n->name; }

const char *gr_node_owner(const gr_node *n, uint8_t shard)
{
    return n->options.cluster ? n->options.cluster->nodes[n->shards[shard].node].name : n->name;
}

const char *gr_node_other(const gr_node *n, gr_str name)
{
    int node = n->options.cluster ? gr_cluster_find(n->options.cluster, name) : -1;
    return node >= 0 && node != n->self ? n->options.cluster->nodes[node].name : NULL;
}

gr_str gr_node_why_not(gr_node *n, gr_arena *a, gr_str name)
{
    gr_zmq_peer *peers = gr_alloc(GR_CLUSTER_NODES_MAX * sizeof *peers);
    size_t count = gr_zmq_transport_peers(n->transport, peers, GR_CLUSTER_NODES_MAX);
    gr_str why = GR_STR("the cluster file has no node of that name");
    for (size_t i = 0; i < count; i++)
        if (gr_str_is(name, peers[i].name))
            why = peers[i].state == GR_LINK_UP ? (gr_str){0} : gr_arena_printf(a, "%s", peers[i].why);
    free(peers);
    return why;
}

/* --- what the workers' threads have to tell, which may come too late for who asked --- */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned holders, answers; /* whoever lets go last frees it */
    gr_str prefix;
    size_t limit, count;
    gr_buf out;
    gr_jw writer;
    gr_lag lags[GR_CLUSTER_NODES_MAX];
    gr_update_info updates[GR_UPDATES_MAX];    /* count: how many */
} telling;

static telling *telling_new(const gr_node *n)
{
    telling *t = gr_alloc(sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    t->holders = n->worker_count + 1;
    return t;
}

static void let_go(telling *t)
{
    bool is_last = --t->holders == 0;
    pthread_mutex_unlock(&t->lock);
    if (!is_last) return;
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free((char *)t->prefix.ptr);
    gr_buf_free(&t->out);
    free(t);
}

static void told(telling *t)
{
    t->answers++;
    pthread_cond_broadcast(&t->changed);
    let_go(t);
}

/* Leaves the lock held. */
static void ask_workers(gr_node *n, telling *t, void (*fn)(void *, gr_worker *))
{
    struct timespec until;
    for (unsigned i = 0; i < n->worker_count; i++) gr_worker_call(n->workers[i].worker, fn, t);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ANSWER_WITHIN_S;
    pthread_mutex_lock(&t->lock);
    while (t->answers < n->worker_count && pthread_cond_timedwait(&t->changed, &t->lock, &until) == 0) {}
}

/* --- links --- */
static void tell_lags(void *arg, gr_worker *worker)
{
    telling *t = arg;
    pthread_mutex_lock(&t->lock);
    gr_worker_lags(worker, t->lags);
    told(t);
}

static void lags_of(gr_node *n, gr_lag *by_node)
{
    if (atomic_load(&n->phase) != NODE_SERVING) return;
    telling *t = telling_new(n);
    ask_workers(n, t, tell_lags);
    memcpy(by_node, t->lags, sizeof t->lags);
    let_go(t);
}

gr_str gr_node_peers(gr_node *n, gr_arena *a)
{
    static const char *const states[] = {"down", "up", "refused"};
    gr_lag lags[GR_CLUSTER_NODES_MAX] = {0};
    gr_zmq_peer *peers = gr_alloc(GR_CLUSTER_NODES_MAX * sizeof *peers);
    size_t count = gr_zmq_transport_peers(n->transport, peers, GR_CLUSTER_NODES_MAX);
    lags_of(n, lags);
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_array(&w);
    for (size_t i = 0; i < count; i++) {
        const gr_zmq_peer *p = &peers[i];
        int node = gr_cluster_find(n->options.cluster, gr_str_c(p->name));
        gr_jw_object(&w);
        gr_jw_kc(&w, "node", p->name);
        gr_jw_kc(&w, "address", p->address);
        gr_jw_kint(&w, "shards", gr_cluster_shards(n->options.cluster, (unsigned)node));
        gr_jw_kc(&w, "link", states[p->state]);
        if (p->why[0]) gr_jw_kc(&w, "why", p->why);
        if (p->is_revoked) gr_jw_kbool(&w, "revoked", true);
        gr_jw_kint(&w, "since_ms", (int64_t)p->since_ms);
        if (p->heard_ms != UINT64_MAX) gr_jw_kint(&w, "heard_ms", (int64_t)p->heard_ms);
        gr_jw_kint(&w, "queue_bytes", (int64_t)p->queue_bytes);
        gr_jw_kint(&w, "posts", (int64_t)lags[node].posts);
        gr_jw_kint(&w, "lag_ms", (int64_t)lags[node].still_ms);
        gr_jw_kint(&w, "frames_out", (int64_t)p->frames_out);
        gr_jw_kint(&w, "frames_in", (int64_t)p->frames_in);
        gr_jw_kint(&w, "bytes_out", (int64_t)p->bytes_out);
        gr_jw_kint(&w, "bytes_in", (int64_t)p->bytes_in);
        gr_jw_kint(&w, "full", (int64_t)p->full);
        gr_jw_kint(&w, "lost", (int64_t)p->lost);
        gr_jw_kint(&w, "bad", (int64_t)p->bad);
        gr_jw_kint(&w, "rtt_us", (int64_t)p->rtt_us);
        gr_jw_kint(&w, "clock_offset_us", p->clock_offset_us);
        gr_jw_kint(&w, "level_low", p->level_low);
        gr_jw_kint(&w, "level_high", p->level_high);
        gr_jw_kint(&w, "level", p->level);
        gr_jw_end_object(&w);
    }
    gr_jw_end_array(&w);
    gr_str json = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    free(peers);
    return json;
}

/* --- the list of actors --- */
static bool list_actor(void *arg, const gr_actor_info *info)
{
    telling *t = arg;
    if (!gr_str_starts(info->address, t->prefix)) return true;
    if (t->count == t->limit) return false;
    t->count++;
    gr_jw *w = &t->writer;
    gr_jw_object(w);
    gr_jw_kc(w, "kind", gr_kind_name(gr_address_kind(info->address)));
    gr_jw_kstr(w, "address", info->address);
    gr_jw_kint(w, "messages", (int64_t)info->messages);
    gr_jw_kint(w, "memory", (int64_t)info->memory);
    gr_jw_kint(w, "mailbox", (int64_t)info->mailbox);
    gr_jw_kbool(w, "busy", info->busy);
    gr_jw_kbool(w, "suspended", info->suspended);
    gr_jw_end_object(w);
    return true;
}

static void tell_actors(void *arg, gr_worker *worker)
{
    telling *t = arg;
    pthread_mutex_lock(&t->lock);
    gr_worker_actors(worker, list_actor, t);
    told(t);
}

gr_str gr_node_actors(gr_node *n, gr_arena *a, gr_str prefix, size_t limit)
{
    if (atomic_load(&n->phase) != NODE_SERVING) return GR_STR("[]");
    telling *t = telling_new(n);
    t->prefix = (gr_str){gr_str_dup(prefix), prefix.size};
    t->limit = limit;
    t->writer = gr_jw_begin(&t->out);
    gr_jw_array(&t->writer);
    ask_workers(n, t, tell_actors);
    /* What comes after this is not looked at any more, nor written: the limit is reached. */
    gr_jw_end_array(&t->writer);
    gr_str json = gr_arena_str(a, gr_buf_view(&t->out));
    t->count = t->limit;
    let_go(t);
    return json;
}

/* --- background updates --- */
static void add_update(gr_update_info *sum, const gr_update_info *one)
{
    gr_update_info before = *sum;
    *sum = *one;
    sum->shards += before.shards;
    sum->shards_done += before.shards_done;
    sum->shards_put_off += before.shards_put_off;
    sum->steps += before.steps;
    sum->worked += before.worked;
    sum->skipped += before.skipped;
    sum->rate += before.rate;
}

static void tell_updates(void *arg, gr_worker *worker)
{
    telling *t = arg;
    gr_update_info updates[GR_UPDATES_MAX];
    size_t count = gr_worker_updates(worker, updates, GR_UPDATES_MAX);
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < count; i++) add_update(&t->updates[i], &updates[i]);
    t->count = count;
    told(t);
}

size_t gr_node_update_list(gr_node *n, gr_update_info *out)
{
    if (atomic_load(&n->phase) != NODE_SERVING) return 0;
    telling *t = telling_new(n);
    ask_workers(n, t, tell_updates);
    size_t count = t->count;
    memcpy(out, t->updates, count * sizeof *out);
    let_go(t);
    if (n->log && count < GR_UPDATES_MAX) {          /* by the thread of the log, as segments end */
        gr_message_log_counters log;
        gr_message_log_count(n->log, &log);
        out[count++] = (gr_update_info){.name = MESSAGE_LOG, .by_timer = true, .worked = log.removed};
    }
    return count;
}

static const char *state_of(const gr_update_info *u)
{
    bool is_done = u->shards_done == u->shards;
    if (u->is_paused && (u->recurs || u->by_timer || !is_done)) return "paused";
    if (u->by_timer) return "as needed";
    if (is_done) return u->recurs ? "recurs" : "finished";
    return u->shards_put_off ? "put off" : "running";
}

gr_str gr_node_updates(gr_node *n, gr_arena *a)
{
    gr_update_info updates[GR_UPDATES_MAX];
    size_t count = gr_node_update_list(n, updates);
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_array(&w);
    for (size_t i = 0; i < count; i++) {
        gr_jw_object(&w);
        gr_jw_kc(&w, "name", updates[i].name);
        gr_jw_kc(&w, "state", state_of(&updates[i]));
        gr_jw_kbool(&w, "paused", updates[i].is_paused);
        gr_jw_kint(&w, "shards", updates[i].shards);
        gr_jw_kint(&w, "shards_done", updates[i].shards_done);
        gr_jw_kint(&w, "shards_put_off", updates[i].shards_put_off);
        gr_jw_kint(&w, "steps", (int64_t)updates[i].steps);
        gr_jw_kint(&w, "worked", (int64_t)updates[i].worked);
        gr_jw_kint(&w, "skipped", (int64_t)updates[i].skipped);
        gr_jw_kint(&w, "rate", (int64_t)updates[i].rate);
        gr_jw_end_object(&w);
    }
    gr_jw_end_array(&w);
    gr_str json = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return json;
}

static void list_skipped(void *arg, uint8_t shard, gr_str text)
{
    telling *t = arg;
    if (t->count == t->limit) return;
    t->count++;
    gr_jw_object(&t->writer);
    gr_jw_kint(&t->writer, "shard", shard);
    gr_jw_kstr(&t->writer, "text", text);
    gr_jw_end_object(&t->writer);
}

static void tell_skipped(void *arg, gr_worker *worker)
{
    telling *t = arg;
    pthread_mutex_lock(&t->lock);
    if (t->count < t->limit) gr_worker_update_skipped(worker, t->prefix.ptr, list_skipped, t);
    told(t);
}

/* The message log deletes by the thread that writes it. */
static bool is_of_workers(const gr_update_info *info) { return strcmp(info->name, MESSAGE_LOG) != 0; }

static gr_err find_update(gr_node *n, gr_arena *a, gr_str name, gr_update_info *out)
{
    gr_update_info updates[GR_UPDATES_MAX];
    size_t count = gr_node_update_list(n, updates);
    for (size_t i = 0; i < count; i++)
        if (gr_str_is(name, updates[i].name)) {
            *out = updates[i];
            return gr_ok();
        }
    return gr_failf(a, GR_NOT_FOUND, "there is no background update named %" GR_FMT ": see `greenroom updates`", GR_ARG(name));
}

gr_err gr_node_update_skipped(gr_node *n, gr_arena *a, gr_str name, gr_str *json)
{
    gr_update_info info;
    gr_err err = find_update(n, a, name, &info);
    *json = GR_STR("[]");
    if (gr_failed(err) || !is_of_workers(&info)) return err;
    telling *t = telling_new(n);
    t->prefix = (gr_str){gr_str_dup(name), name.size};
    t->limit = SKIPPED_MAX;
    t->writer = gr_jw_begin(&t->out);
    gr_jw_array(&t->writer);
    ask_workers(n, t, tell_skipped);
    gr_jw_end_array(&t->writer);
    *json = gr_arena_str(a, gr_buf_view(&t->out));
    t->count = t->limit;
    let_go(t);
    return gr_ok();
}

static void pause_again(void *arg, gr_worker *worker)
{
    (void)arg;
    gr_worker_updates_paused(worker);
}

gr_err gr_node_update_pause(gr_node *n, gr_arena *a, gr_str name, bool paused)
{
    gr_update_info info = {0};
    gr_err err = name.size ? find_update(n, a, name, &info) : gr_ok();
    if (!gr_failed(err) && name.size && !is_of_workers(&info))
        err = gr_failf(a, GR_INVALID_PARAM, "%" GR_FMT " keeps the disk from filling, and can't be paused", GR_ARG(name));
    if (!gr_failed(err)) err = gr_worker_updates_store_pause(n->options.store, name, paused);
    for (unsigned i = 0; i < n->worker_count && !gr_failed(err); i++)
        gr_worker_call(n->workers[i].worker, pause_again, NULL);
    return err;
}
