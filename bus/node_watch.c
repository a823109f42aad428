/* node_watch.c - looking at a running node: counters summed over workers, and the list of actors. See node.h.
 */
#include "bus/message_log.h"
#include "bus/node_inside.h"
#include "bus/zmq_transport.h"
#include "proto/json.h"

#include <stdlib.h>
#include <time.h>

enum { ANSWER_WITHIN_S = 2 };

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
    sum->over_bounds += c->over_bounds;
    sum->lost_shards += c->lost_shards;
    sum->work += c->work;
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

gr_str gr_node_peers(gr_node *n, gr_arena *a)
{
    static const char *const states[] = {"down", "up", "refused"};
    gr_zmq_peer *peers = gr_alloc(GR_CLUSTER_NODES_MAX * sizeof *peers);
    size_t count = gr_zmq_transport_peers(n->transport, peers, GR_CLUSTER_NODES_MAX);
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
        gr_jw_kint(&w, "since_ms", (int64_t)p->since_ms);
        if (p->heard_ms != UINT64_MAX) gr_jw_kint(&w, "heard_ms", (int64_t)p->heard_ms);
        gr_jw_kint(&w, "queue_bytes", (int64_t)p->queue_bytes);
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

/* --- the list of actors: made by the workers' threads, which may come too late for who asked --- */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned holders, answers; /* whoever lets go last frees it */
    gr_str prefix;
    size_t limit, count;
    gr_buf out;
    gr_jw writer;
} listing;

static void let_go(listing *l)
{
    bool is_last = --l->holders == 0;
    pthread_mutex_unlock(&l->lock);
    if (!is_last) return;
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free((char *)l->prefix.ptr);
    gr_buf_free(&l->out);
    free(l);
}

static bool list_actor(void *arg, const gr_actor_info *info)
{
    listing *l = arg;
    if (!gr_str_starts(info->address, l->prefix)) return true;
    if (l->count == l->limit) return false;
    l->count++;
    gr_jw *w = &l->writer;
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

static void list_worker(void *arg, gr_worker *worker)
{
    listing *l = arg;
    pthread_mutex_lock(&l->lock);
    gr_worker_actors(worker, list_actor, l);
    l->answers++;
    pthread_cond_broadcast(&l->changed);
    let_go(l);
}

gr_str gr_node_actors(gr_node *n, gr_arena *a, gr_str prefix, size_t limit)
{
    if (atomic_load(&n->phase) != NODE_SERVING) return GR_STR("[]");
    listing *l = gr_alloc(sizeof *l);
    struct timespec until;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    l->holders = n->worker_count + 1;
    l->prefix = (gr_str){gr_str_dup(prefix), prefix.size};
    l->limit = limit;
    l->writer = gr_jw_begin(&l->out);
    gr_jw_array(&l->writer);
    for (unsigned i = 0; i < n->worker_count; i++) gr_worker_call(n->workers[i].worker, list_worker, l);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ANSWER_WITHIN_S;
    pthread_mutex_lock(&l->lock);
    while (l->answers < n->worker_count && pthread_cond_timedwait(&l->changed, &l->lock, &until) == 0) {}
    /* What comes after this is not looked at any more, nor written: the limit is reached. */
    gr_jw_end_array(&l->writer);
    gr_str json = gr_arena_str(a, gr_buf_view(&l->out));
    l->count = l->limit;
    let_go(l);
    return json;
}
