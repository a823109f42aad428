/* cmd_top.c - `greenroom top`: what the nodes are doing, as rates between two looks at their counters. */
#include "edge/admin_client.h"
#include "edge/cli_table.h"

#include "proto/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { EVERY_MS = 2000, ONCE_MS = 1000, BUSIEST = 10 };

/* One node, as it was seen; NULL where it did not answer. */
typedef struct {
    gr_str name, text;
    const gr_json *counters, *actors;
} look;

/* One look at all nodes; everything lies in its arena. */
typedef struct {
    gr_arena *arena;
    gr_admin_node_answer *nodes;
    look *looks;
    size_t count;
} sample;

static bool take_sample(const char *dir, const char *node, sample *s)
{
    size_t count;
    s->arena = gr_arena_new(0);
    gr_admin_node_answer *actors = gr_admin_client_all(s->arena, dir, "/actors", node, &count);
    s->nodes = actors ? gr_admin_client_all(s->arena, dir, "/counters", node, &s->count) : NULL;
    if (!s->nodes || s->count != count) return false;
    s->looks = gr_arena_alloc(s->arena, (count + 1) * sizeof *s->looks);
    for (size_t i = 0; i < count; i++) {
        look *l = &s->looks[i];
        gr_admin_node_answer *n = &s->nodes[i];
        *l = (look){.name = n->node, .text = n->answer};
        if (!n->why) n->why = actors[i].why;
        if (n->why) continue;
        if (gr_failed(gr_json_parse(s->arena, n->answer, GR_JSON_LAX, &l->counters))
            || gr_failed(gr_json_parse(s->arena, actors[i].answer, GR_JSON_LAX, &l->actors))
            || !gr_json_is(l->actors, GR_JSON_ARRAY)) {
            n->why = "its answer can't be read";
            l->counters = l->actors = NULL;
        }
    }
    if (s->nodes[0].why) gr_cli_failed("%s", s->nodes[0].why);
    return !s->nodes[0].why;
}

static int64_t at(const look *l, const char *path) { return gr_json_integer(gr_json_path(l->counters, path), 0); }

/* The growth of a counter; one that fell belongs to a node that was restarted meanwhile. */
static int64_t grown(const look *old, const look *new, const char *path)
{
    int64_t by = at(new, path) - at(old, path);
    return by < 0 ? at(new, path) : by;
}

static double seconds(const look *old, const look *new)
{
    int64_t ms = at(new, "time_ms") - at(old, "time_ms");
    return ms > 0 ? (double)ms / 1000 : 1;
}

static double rate(const look *old, const look *new, const char *path)
{
    return (double)grown(old, new, path) / seconds(old, new);
}

static double share(int64_t sum, int64_t count) { return count > 0 ? (double)sum / (double)count : 0; }

/* --- actors ------------------------------------------------------------------------------------------- */
typedef struct {
    gr_str address, node;
    double by; /* messages in a second */
    int64_t messages, memory, mailbox;
    bool suspended;
} active;

static int by_address(const void *a, const void *b)
{
    return gr_str_cmp(((const active *)a)->address, ((const active *)b)->address);
}

static int by_activity(const void *a, const void *b)
{
    const active *x = a, *y = b;
    if (x->by != y->by) return x->by < y->by ? 1 : -1;
    if (x->messages != y->messages) return x->messages < y->messages ? 1 : -1;
    return gr_str_cmp(x->address, y->address);
}

static active *actors_of(gr_arena *a, const look *l, size_t *count)
{
    *count = l->actors->count;
    active *list = gr_arena_alloc(a, (*count + 1) * sizeof *list);
    for (size_t i = 0; i < *count; i++) {
        const gr_json *one = &l->actors->items[i];
        list[i] = (active){gr_json_text(one, "address"),
                           l->name,
                           0,
                           gr_json_integer(gr_json_get(one, "messages"), 0),
                           gr_json_integer(gr_json_get(one, "memory"), 0),
                           gr_json_integer(gr_json_get(one, "mailbox"), 0),
                           gr_json_boolean(gr_json_get(one, "suspended"), false)};
    }
    qsort(list, *count, sizeof *list, by_address);
    return list;
}

/* Those of a node that handled most between the two looks, at most BUSIEST. */
static active *busiest(gr_arena *a, const look *old, const look *new, size_t *count)
{
    size_t before_count = 0;
    active *before = actors_of(a, old, &before_count), *list = actors_of(a, new, count);
    for (size_t i = 0; i < *count; i++) {
        const active *was = bsearch(&list[i], before, before_count, sizeof *before, by_address);
        /* One that was dropped and loaded again counts anew. */
        int64_t by = was && was->messages <= list[i].messages ? list[i].messages - was->messages : list[i].messages;
        list[i].by = (double)by / seconds(old, new);
    }
    qsort(list, *count, sizeof *list, by_activity);
    if (*count > BUSIEST) *count = BUSIEST;
    return list;
}

/* A node that was not there before shows no rates yet. */
static const look *before(const sample *old, const sample *new, size_t node)
{
    return old->looks[node].counters ? &old->looks[node] : &new->looks[node];
}

/* --- printing ----------------------------------------------------------------------------------------- */
static void real(gr_jw *w, const char *key, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.1f", value);
    gr_jw_kraw(w, key, gr_str_c(text));
}

static void json_node(gr_buf *out, gr_arena *a, const look *old, const look *new)
{
    size_t count = 0;
    const active *list = busiest(a, old, new, &count);
    gr_jw w = gr_jw_begin(out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "node", new->name);
    real(&w, "messages_per_second", rate(old, new, "node/messages"));
    real(&w, "posts_per_second", rate(old, new, "node/posts"));
    real(&w, "requests_per_second", rate(old, new, "edge/requests"));
    real(&w, "commits_per_second", rate(old, new, "store/syncs"));
    real(&w, "commit_us_mean", share(grown(old, new, "node/commit_us_sum"), grown(old, new, "node/groups")));
    real(&w, "group_messages_mean", share(grown(old, new, "node/messages"), grown(old, new, "node/groups")));
    real(&w, "request_ms_mean",
         share(grown(old, new, "edge/latency_ms_sum"), grown(old, new, "edge/answers")));
    gr_jw_key(&w, "busiest");
    gr_jw_array(&w);
    for (size_t i = 0; i < count; i++) {
        gr_jw_object(&w);
        gr_jw_kstr(&w, "address", list[i].address);
        real(&w, "messages_per_second", list[i].by);
        gr_jw_kint(&w, "messages", list[i].messages);
        gr_jw_kint(&w, "memory", list[i].memory);
        gr_jw_kint(&w, "mailbox", list[i].mailbox);
        gr_jw_kbool(&w, "suspended", list[i].suspended);
        gr_jw_end_object(&w);
    }
    gr_jw_end_array(&w);
    gr_jw_kraw(&w, "counters", new->text);
    gr_jw_end_object(&w);
}

/* Of one node its object; of several {"nodes": [..]}, where those that are missing say why. */
static void print_json(gr_buf *out, const sample *old, const sample *new)
{
    if (new->count > 1) gr_buf_c(out, "{\"nodes\":[");
    for (size_t i = 0; i < new->count; i++) {
        if (i) gr_buf_char(out, ',');
        if (new->looks[i].counters) {
            json_node(out, new->arena, before(old, new, i), &new->looks[i]);
            continue;
        }
        gr_jw w = gr_jw_begin(out);
        gr_jw_object(&w);
        gr_jw_kstr(&w, "node", new->looks[i].name);
        gr_jw_kc(&w, "missing", new->nodes[i].why);
        gr_jw_end_object(&w);
    }
    gr_buf_c(out, new->count > 1 ? "]}\n" : "\n");
}

static void amount(gr_buf *out, gr_cli_table_kind kind, int64_t n, size_t width)
{
    gr_buf text = {0};
    gr_cli_table_amount(&text, kind, n);
    gr_buf_printf(out, "%*.*s", (int)width, (int)text.size, text.ptr);
    gr_buf_free(&text);
}

typedef struct {
    const char *title;
    gr_cli_table_kind kind;
    double value;
} number;

/* Two columns of numbers with their names. */
static void print_numbers(gr_buf *out, const number *list, size_t count)
{
    size_t rows = (count + 1) / 2;
    for (size_t row = 0; row < rows; row++)
        for (size_t side = 0; side < 2; side++) {
            size_t i = row + side * rows;
            if (i < count) {
                gr_buf_printf(out, "%s%-24s", side ? "    " : "", list[i].title);
                amount(out, list[i].kind, (int64_t)(list[i].value + 0.5), 12);
            }
            if (side) gr_buf_char(out, '\n');
        }
}

static void print_busiest(gr_buf *out, const sample *old, const sample *new)
{
    static const gr_cli_table_column columns[] = {
        {"BUSIEST ACTORS", "address", GR_CLI_TABLE_TEXT, 50}, {"NODE", "node", GR_CLI_TABLE_TEXT, 0},
        {"MESSAGES/S", "rate", GR_CLI_TABLE_COUNT, 0},        {"MESSAGES", "messages", GR_CLI_TABLE_COUNT, 0},
        {"MEMORY", "memory", GR_CLI_TABLE_BYTES, 0},          {"MAILBOX", "mailbox", GR_CLI_TABLE_COUNT, 0},
        {"", "state", GR_CLI_TABLE_TEXT, 0}};
    active *all = gr_arena_alloc(new->arena, (new->count * BUSIEST + 1) * sizeof *all);
    size_t all_count = 0;
    for (size_t i = 0; i < new->count; i++) {
        size_t count = 0;
        if (!new->looks[i].counters) continue;
        const active *list = busiest(new->arena, before(old, new, i), &new->looks[i], &count);
        for (size_t k = 0; k < count; k++) all[all_count++] = list[k];
    }
    qsort(all, all_count, sizeof *all, by_activity);
    gr_cli_table *table = gr_cli_table_new(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < all_count && i < BUSIEST; i++) {
        gr_cli_table_text(table, all[i].address);
        gr_cli_table_text(table, all[i].node);
        gr_cli_table_number(table, (int64_t)(all[i].by + 0.5));
        gr_cli_table_number(table, all[i].messages);
        gr_cli_table_number(table, all[i].memory);
        gr_cli_table_number(table, all[i].mailbox);
        gr_cli_table_text(table, all[i].suspended ? GR_STR("suspended") : GR_STR(""));
    }
    gr_cli_table_print(table, out, false);
    gr_cli_table_free(&table);
}

static bool is_writable(const look *l) { return gr_json_boolean(gr_json_path(l->counters, "store/writable"), true); }

/* One node, with all its numbers. */
static void print_node(gr_buf *out, const look *old, const look *new)
{
    const number numbers[] = {
        {"requests/s", GR_CLI_TABLE_COUNT, rate(old, new, "edge/requests")},
        {"mean time of a request", GR_CLI_TABLE_US,
         1000 * share(grown(old, new, "edge/latency_ms_sum"), grown(old, new, "edge/answers"))},
        {"messages/s", GR_CLI_TABLE_COUNT, rate(old, new, "node/messages")},
        {"posts/s", GR_CLI_TABLE_COUNT, rate(old, new, "node/posts")},
        {"commits/s", GR_CLI_TABLE_COUNT, rate(old, new, "store/syncs")},
        {"mean time of a commit", GR_CLI_TABLE_US,
         share(grown(old, new, "node/commit_us_sum"), grown(old, new, "node/groups"))},
        {"messages in a group", GR_CLI_TABLE_COUNT,
         share(grown(old, new, "node/messages"), grown(old, new, "node/groups"))},
        {"largest group so far", GR_CLI_TABLE_COUNT, (double)at(new, "node/group_messages_max")},
        {"actors in memory", GR_CLI_TABLE_COUNT, (double)at(new, "node/actors")},
        {"memory of actors", GR_CLI_TABLE_BYTES, (double)at(new, "node/actors_memory")},
        {"memory of the process", GR_CLI_TABLE_BYTES, (double)at(new, "memory")},
        {"messages in mailboxes", GR_CLI_TABLE_COUNT, (double)at(new, "node/mailbox_depth")},
        {"posts in the outbox", GR_CLI_TABLE_COUNT, (double)at(new, "node/outbox")},
        {"timers", GR_CLI_TABLE_COUNT, (double)at(new, "node/timers")},
        {"dead letters", GR_CLI_TABLE_COUNT, (double)at(new, "node/dead_letters")},
        {"suspended actors", GR_CLI_TABLE_COUNT, (double)at(new, "node/suspended_actors")}};
    print_numbers(out, numbers, sizeof numbers / sizeof numbers[0]);
    if (!is_writable(new)) gr_buf_c(out, "\nTHE STORE TAKES NO WRITES: look at the disk and the log\n");
}

/* Several nodes, a line each. */
static void print_nodes(gr_buf *out, const sample *old, const sample *new)
{
    static const gr_cli_table_column columns[] = {
        {"NODE", "node", GR_CLI_TABLE_TEXT, 0},           {"REQUESTS/S", "requests", GR_CLI_TABLE_COUNT, 0},
        {"TIME", "time", GR_CLI_TABLE_US, 0},             {"MESSAGES/S", "messages", GR_CLI_TABLE_COUNT, 0},
        {"POSTS/S", "posts", GR_CLI_TABLE_COUNT, 0},      {"COMMITS/S", "commits", GR_CLI_TABLE_COUNT, 0},
        {"COMMIT", "commit", GR_CLI_TABLE_US, 0},         {"ACTORS", "actors", GR_CLI_TABLE_COUNT, 0},
        {"MEMORY", "memory", GR_CLI_TABLE_BYTES, 0},      {"MAILBOXES", "mailboxes", GR_CLI_TABLE_COUNT, 0},
        {"OUTBOX", "outbox", GR_CLI_TABLE_COUNT, 0},      {"DEAD", "dead", GR_CLI_TABLE_COUNT, 0},
        {"SUSPENDED", "suspended", GR_CLI_TABLE_COUNT, 0}, {"", "state", GR_CLI_TABLE_TEXT, 0}};
    gr_cli_table *t = gr_cli_table_new(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < new->count; i++) {
        const look *n = &new->looks[i], *o = before(old, new, i);
        if (!n->counters) continue;
        double request_ms = share(grown(o, n, "edge/latency_ms_sum"), grown(o, n, "edge/answers"));
        gr_cli_table_text(t, n->name);
        gr_cli_table_number(t, (int64_t)(rate(o, n, "edge/requests") + 0.5));
        gr_cli_table_number(t, (int64_t)(1000 * request_ms));
        gr_cli_table_number(t, (int64_t)(rate(o, n, "node/messages") + 0.5));
        gr_cli_table_number(t, (int64_t)(rate(o, n, "node/posts") + 0.5));
        gr_cli_table_number(t, (int64_t)(rate(o, n, "store/syncs") + 0.5));
        gr_cli_table_number(t, (int64_t)share(grown(o, n, "node/commit_us_sum"), grown(o, n, "node/groups")));
        gr_cli_table_number(t, at(n, "node/actors"));
        gr_cli_table_number(t, at(n, "memory"));
        gr_cli_table_number(t, at(n, "node/mailbox_depth"));
        gr_cli_table_number(t, at(n, "node/outbox"));
        gr_cli_table_number(t, at(n, "node/dead_letters"));
        gr_cli_table_number(t, at(n, "node/suspended_actors"));
        gr_cli_table_text(t, is_writable(n) ? GR_STR("") : GR_STR("THE STORE TAKES NO WRITES"));
    }
    gr_cli_table_print(t, out, false);
    gr_cli_table_free(&t);
}

static void print_text(gr_buf *out, const sample *old, const sample *new)
{
    gr_buf_printf(out, "Greenroom %" GR_FMT "\n\n", GR_ARG(gr_json_text(new->looks[0].counters, "server_name")));
    if (new->count == 1) print_node(out, before(old, new, 0), &new->looks[0]);
    else print_nodes(out, old, new);
    gr_buf_char(out, '\n');
    print_busiest(out, old, new);
}

/* --- the command -------------------------------------------------------------------------------------- */
static void pause_ms(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL); }

static int show(const sample *old, const sample *new, bool json, bool clear)
{
    gr_buf out = {0};
    if (clear) gr_buf_c(&out, "\033[H\033[J");
    if (json) print_json(&out, old, new);
    else print_text(&out, old, new);
    return gr_admin_client_show(&out, new->nodes, new->count, json);
}

static int watch(const char *dir, const char *node, bool once, bool json)
{
    sample old = {0}, new = {0};
    bool clear = !once && !json && isatty(STDOUT_FILENO);
    int code = take_sample(dir, node, &old) ? GR_CLI_DONE : GR_CLI_FAILED;
    for (bool first = true; code == GR_CLI_DONE; first = false) {
        pause_ms(first ? ONCE_MS : EVERY_MS);
        code = take_sample(dir, node, &new) ? show(&old, &new, json, clear) : GR_CLI_FAILED;
        gr_arena_free(&old.arena);
        old = new;
        new = (sample){0};
        if (once) break;
    }
    gr_arena_free(&old.arena);
    gr_arena_free(&new.arena);
    return code;
}

static int run(int argc, char **argv)
{
    const char *dir = NULL, *node = NULL;
    bool once = false, json = false;
    size_t count = 0;
    const gr_cli_option options[] = {{.name = "--dir", .value = &dir},
                                     {.name = "--node", .value = &node},
                                     {.name = "--once", .flag = &once},
                                     {.name = "--json", .flag = &json},
                                     {0}};
    if (!gr_cli_options(&gr_cmd_top, argc, argv, options, NULL, 0, 0, &count)) return GR_CLI_USAGE;
    gr_arena *a = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    if ((dir = gr_admin_client_dir(a, dir))) code = watch(dir, node, once, json);
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_top = {
    "top", "watch what the nodes are doing",
    "usage: greenroom top [--node NAME] [--once] [--json] [--dir DIR]\n\n"
    "Shows every 2 seconds, until interrupted, what the nodes did since: requests, messages, commits, memory, what waits,\n"
    "and the busiest actors.  A node that does not answer is named.\n\n"
    "  --node NAME    only this node, with more numbers\n"
    "  --once         once, over one second\n"
    "  --json         a line of JSON each time, with all counters; of several nodes an array `nodes`\n"
    "  --dir DIR      the data directory (else GREENROOM_DIR, ./data or the present directory)\n",
    run};
