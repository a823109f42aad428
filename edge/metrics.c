/* metrics.c - the numbers of one node as Prometheus reads them. See admin.h. */
#include "edge/admin.h"
#include "edge/auth_count.h"

#include "actors/tally.h"
#include "bus/worker.h"

#include <stdio.h>
#include <unistd.h>

static void number(gr_buf *out, const char *name, const char *kind, const char *help, uint64_t value)
{
    gr_buf_printf(out, "# HELP greenroom_%s %s\n# TYPE greenroom_%s %s\ngreenroom_%s %llu\n", name, help, name, kind, name,
                  (unsigned long long)value);
}

uint64_t gr_metrics_resident(void)
{
    unsigned long long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    if (fscanf(f, "%llu %llu", &pages, &resident) != 2) resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void print_requests(gr_buf *out, const gr_edge_counters *c)
{
    number(out, "http_requests_total", "counter", "Requests whose head was complete.", c->requests);
    gr_buf_c(out, "# HELP greenroom_http_answers_total Answers by class of status.\n# TYPE "
                  "greenroom_http_answers_total counter\n");
    for (int i = 1; i <= 5; i++)
        gr_buf_printf(out, "greenroom_http_answers_total{status=\"%dxx\"} %llu\n", i, (unsigned long long)c->by_status[i]);
    gr_buf_c(out, "# HELP greenroom_http_refused_total Requests refused on their head.\n# TYPE "
                  "greenroom_http_refused_total counter\n");
    gr_buf_printf(out, "greenroom_http_refused_total{why=\"rate\"} %llu\n", (unsigned long long)c->refused_rate);
    gr_buf_printf(out, "greenroom_http_refused_total{why=\"busy\"} %llu\n", (unsigned long long)c->refused_credit);
    gr_buf_printf(out, "greenroom_http_refused_total{why=\"disk\"} %llu\n", (unsigned long long)c->refused_disk);
    gr_buf_c(out, "# HELP greenroom_http_seconds Time from head to answer, long polls included.\n"
                  "# TYPE greenroom_http_seconds histogram\n");
    uint64_t sum = 0;
    for (int i = 0; i < GR_EDGE_LATENCY_BUCKETS - 1; i++) {
        sum += c->latency[i];
        gr_buf_printf(out, "greenroom_http_seconds_bucket{le=\"%g\"} %llu\n", gr_edge_latency_ms[i] / 1000.0,
                      (unsigned long long)sum);
    }
    sum += c->latency[GR_EDGE_LATENCY_BUCKETS - 1];
    gr_buf_printf(out, "greenroom_http_seconds_bucket{le=\"+Inf\"} %llu\ngreenroom_http_seconds_sum %g\n"
                       "greenroom_http_seconds_count %llu\n", (unsigned long long)sum, (double)c->latency_sum_ms / 1000,
                  (unsigned long long)sum);
}

static void print_bus(gr_buf *out, gr_node *node)
{
    gr_node_counters c;
    gr_node_count(node, &c);
    number(out, "messages_total", "counter", "Messages handled by actors.", c.messages);
    number(out, "asks_total", "counter", "Asks handled.", c.asks);
    number(out, "tells_total", "counter", "Tells handled.", c.tells);
    number(out, "posts_total", "counter", "Posts applied.", c.posts);
    number(out, "tells_dropped_total", "counter", "Tells that found no way.", c.dropped_tells);
    number(out, "asks_failed_total", "counter", "Asks that failed or timed out.", c.failed_asks);
    number(out, "bad_messages_total", "counter", "Messages refused as unreadable, for nobody or out of all order.",
           c.bad_messages);
    number(out, "strangers_refused_total", "counter", "Connections to the port for nodes that were refused.", c.strangers);
    number(out, "node_frames_refused_total", "counter", "Frames refused there, of other nodes or of nobody.", c.bad_frames);
    number(out, "dead_letters", "gauge", "Posts that could not be applied; see greenroom dead.", c.dead_letters);
    number(out, "actors_suspended", "gauge", "Actors stopped after crashing twice.", c.suspended_actors);
    number(out, "groups_total", "counter", "Groups of messages committed together.", c.groups);
    number(out, "group_messages_max", "gauge", "Most messages in one group so far.", c.group_messages_max);
    number(out, "commits_total", "counter", "Commits of groups.", c.commits);
    number(out, "commit_microseconds_total", "counter", "Time from submitting a group to its being durable.", c.commit_us_sum);
    number(out, "actors", "gauge", "Actors in memory.", c.actors);
    number(out, "actors_bytes", "gauge", "Memory of actors.", c.actors_memory);
    number(out, "mailbox_messages", "gauge", "Messages waiting for actors.", c.mailbox_depth);
    number(out, "mailbox_bytes", "gauge", "Bytes of messages waiting for actors.", c.mailbox_bytes);
    number(out, "outbox_posts", "gauge", "Posts not yet acknowledged.", c.outbox);
    number(out, "timers", "gauge", "Timers set.", c.timers);
    number(out, "feature_level", "gauge", "Level at which the node speaks and stores.", gr_level_now(gr_node_level(node)));
    number(out, "handler_reads_total", "counter", "Point reads by handlers.", c.gets);
    number(out, "handler_rows_total", "counter", "Rows of range reads by handlers.", c.rows);
    number(out, "rows_cached_total", "counter", "Point reads answered from rows that are remembered.", c.cached_rows);
    number(out, "rows_read_total", "counter", "Point reads that went to the store.", c.read_rows);
    number(out, "handlers_over_bounds_total", "counter", "Handlers that read more than the design allows.", c.over_bounds);
    number(out, "gap_events_loaded_total", "counter", "Bodies of events read to close gaps in rooms.",
           c.tallies[GR_TALLY_GAP_LOADED]);
    number(out, "gap_events_fetched_total", "counter", "Events fetched of other servers to close gaps in rooms.",
           c.tallies[GR_TALLY_GAP_FETCHED]);
    number(out, "gap_headers_read_total", "counter", "Headers of events read to make states that other servers told.",
           c.tallies[GR_TALLY_GAP_HEADERS]);
    number(out, "gap_states_incomplete_total", "counter", "States that other servers told, taken without what nobody gave.",
           c.tallies[GR_TALLY_GAP_INCOMPLETE]);
    number(out, "message_log_records_total", "counter", "Records of the message log.", c.log_written);
    number(out, "message_log_dropped_total", "counter", "Records that found the log's ring full.", c.log_dropped);
}

static void print_updates(gr_buf *out, gr_node *node)
{
    static const struct { const char *name, *kind, *help; size_t at; } of[] = {
        {"update_records_total", "counter", "Records that background updates worked on.", offsetof(gr_update_info, worked)},
        {"update_skipped_total", "counter", "Records that they could not work on.", offsetof(gr_update_info, skipped)},
        {"update_steps_total", "counter", "Steps that they took.", offsetof(gr_update_info, steps)}};
    gr_update_info updates[GR_UPDATES_MAX];
    size_t count = gr_node_update_list(node, updates);
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        gr_buf_printf(out, "# HELP greenroom_%s %s\n# TYPE greenroom_%s %s\n", of[i].name, of[i].help, of[i].name, of[i].kind);
        for (size_t k = 0; k < count; k++)
            gr_buf_printf(out, "greenroom_%s{update=\"%s\"} %llu\n", of[i].name, updates[k].name,
                          (unsigned long long)*(const uint64_t *)((const char *)&updates[k] + of[i].at));
    }
    gr_buf_c(out, "# HELP greenroom_update_shards_left Shards in which they have not finished.\n# TYPE "
                  "greenroom_update_shards_left gauge\n");
    for (size_t k = 0; k < count; k++)
        gr_buf_printf(out, "greenroom_update_shards_left{update=\"%s\"} %u\n", updates[k].name,
                      updates[k].shards - updates[k].shards_done);
}

static void print_fetches(gr_buf *out, gr_fetcher *fetcher)
{
    gr_fetcher_counters c;
    gr_fetcher_count(fetcher, &c);
    const struct { const char *how; uint64_t count; } ends[] = {
        {"answered", c.answered}, {"denied", c.denied}, {"unreachable", c.unreachable}, {"timeout", c.timeouts},
        {"broken", c.broken}, {"too_large", c.too_large}, {"refused", c.refused},
        {"offline", c.offline}};
    gr_buf_c(out, "# HELP greenroom_fetches_total Requests to other servers, by how they ended.\n# TYPE "
                  "greenroom_fetches_total counter\n");
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        gr_buf_printf(out, "greenroom_fetches_total{end=\"%s\"} %llu\n", ends[i].how, (unsigned long long)ends[i].count);
    number(out, "fetches_under_way", "gauge", "Requests to other servers under way.", c.under_way);
    number(out, "fetch_connections_total", "counter", "Connections made to other servers.", c.connections);
    number(out, "fetch_well_known_total", "counter", "Look-ups of .well-known pages.", c.well_known);
    number(out, "fetch_srv_total", "counter", "Look-ups of SRV records.", c.srv);
}

void gr_metrics_print(gr_buf *out, gr_node *node, gr_store *store, const gr_config *config, const gr_edge_counters *edge,
                      gr_fetcher *fetcher, uint64_t now_ms)
{
    gr_engine_status s;
    gr_store_status(store, &s);
    print_requests(out, edge);
    gr_auth_count_print(out, config, edge);
    print_bus(out, node);
    print_updates(out, node);
    print_fetches(out, fetcher);
    gr_metrics_destinations(out, store);
    number(out, "store_syncs_total", "counter", "Synced writes to the store.", s.groups);
    number(out, "store_batches_total", "counter", "Shard batches written.", s.batches);
    number(out, "store_bytes_total", "counter", "Bytes of batches written.", s.bytes);
    number(out, "store_failures_total", "counter", "Writes or syncs that failed.", s.failures);
    number(out, "store_writable", "gauge", "1 while the store takes writes.", s.writable);
    number(out, "memory_resident_bytes", "gauge", "Resident memory of the process.", gr_metrics_resident());
    number(out, "time_milliseconds", "gauge", "This node's clock.", now_ms);
}
