/* cmd_cluster.c - `greenroom cluster init`, `cluster key` and `cluster status`. */
#include "edge/admin_client.h"
#include "edge/cli_table.h"
#include "edge/cluster_file.h"
#include "edge/init.h"

#include "proto/json.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_MS = 100, WAIT_MAX_S = 3600 };
enum { NODES_DEFAULT = 3, PORT_DEFAULT = 8008, NODE_PORT_DISTANCE = 10000 };

/* --- init: all nodes of a cluster on this machine ---------------------------------------------------------------- */
typedef struct {
    gr_arena *arena;
    const char *file, *base, *server_name;    /* absolute paths */
    unsigned nodes;
    uint64_t port;
    const char *const *sets;
    size_t set_count;
} cluster_request;

static const char *dir_of(const cluster_request *r, unsigned node)
{
    return gr_arena_printf(r->arena, "%s/n%u", r->base, node + 1).ptr;
}

/* What --set gives was checked against `config`; false: it said what is wrong. */
static bool settings(const cluster_request *r, unsigned node, gr_str *names, gr_str *values, size_t *count)
{
    gr_config config;
    gr_config_init(&config, dir_of(r, node));
    names[0] = GR_STR("server_name"), values[0] = gr_str_c(r->server_name);
    names[1] = GR_STR("cluster.file"), values[1] = gr_str_c(r->file);
    names[2] = GR_STR("cluster.node"), values[2] = gr_arena_printf(r->arena, "n%u", node + 1);
    names[3] = GR_STR("listen.client");
    values[3] = gr_arena_printf(r->arena, "127.0.0.1:%u", (unsigned)r->port + node);
    *count = 4;
    for (size_t i = 0; i < r->set_count; i++) {
        gr_str pair = gr_str_c(r->sets[i]);
        ptrdiff_t equals = gr_str_find(pair, '=');
        if (equals < 0) equals = (ptrdiff_t)pair.size;
        names[*count] = gr_str_head(pair, (size_t)equals);
        values[(*count)++] = gr_str_from(pair, (size_t)equals + 1);
    }
    gr_err e = gr_ok();
    for (size_t i = 0; i < *count && !gr_failed(e); i++) e = gr_config_set(&config, names[i], values[i]);
    if (gr_failed(e)) gr_cli_misused(&gr_cmd_cluster_init, "%s", e.text);
    gr_config_free(&config);
    return !gr_failed(e);
}

/* Uploads are in one folder that all nodes see. */
static int share_media(const cluster_request *r, unsigned node)
{
    const char *media = gr_arena_printf(r->arena, "%s/media", r->base).ptr;
    const char *link = gr_arena_printf(r->arena, "%s/media", dir_of(r, node)).ptr;
    if ((mkdir(media, 0700) < 0 && errno != EEXIST) || symlink("../media", link) < 0)
        return gr_cli_failed("can't make the folder for media %s: %s", link, strerror(errno));
    return GR_CLI_DONE;
}

static int make_node(const cluster_request *r, gr_cluster *c, unsigned node)
{
    gr_str names[GR_CLI_VALUES_MAX + 4], values[GR_CLI_VALUES_MAX + 4];
    uint8_t key[GR_CLUSTER_KEY_SIZE];
    char text[GR_CLUSTER_KEY_TEXT];
    gr_init o = {.dir = dir_of(r, node), .names = names, .values = values, .keys_of = node ? dir_of(r, 0) : NULL};
    if (!settings(r, node, names, values, &o.count)) return GR_CLI_USAGE;
    int code = gr_init_make(r->arena, &o);
    if (code == GR_CLI_DONE) code = share_media(r, node);
    if (code != GR_CLI_DONE) return code;
    if (!gr_init_public_key(r->arena, o.dir, key)) return GR_CLI_FAILED;
    gr_cluster_key_print(key, text);
    gr_str address = gr_arena_printf(r->arena, "127.0.0.1:%u", (unsigned)r->port + NODE_PORT_DISTANCE + node);
    gr_err e = gr_cluster_add(c, r->arena, values[2], address, gr_str_c(text), false);
    if (gr_failed(e)) return gr_cli_failed("%s", e.text);
    printf("%s  clients at http://127.0.0.1:%u  greenroom run %s\n", c->nodes[node].name, (unsigned)r->port + node, o.dir);
    return GR_CLI_DONE;
}

static int make_cluster(const cluster_request *r)
{
    gr_cluster c;
    gr_cluster_init(&c, 1);
    if (access(r->file, F_OK) == 0) return gr_cli_failed("%s exists already: nothing was changed", r->file);
    if (mkdir(r->base, 0700) < 0 && errno != EEXIST)
        return gr_cli_failed("can't make the directory %s: %s", r->base, strerror(errno));
    for (unsigned i = 0; i < r->nodes; i++) {
        int code = make_node(r, &c, i);
        if (code != GR_CLI_DONE) return code;
    }
    gr_cluster_deal_evenly(&c);
    gr_err e = gr_cluster_check(&c, r->arena);
    if (!gr_failed(e)) e = gr_cluster_file_write(r->arena, r->file, &c);
    if (gr_failed(e)) return gr_cli_failed("%s", e.text);
    printf("The cluster file is %s.\n", r->file);
    return GR_CLI_DONE;
}

/* Of a path that need not exist yet. */
static const char *absolute(gr_arena *a, const char *path)
{
    char *here = path[0] == '/' ? NULL : realpath(".", NULL);
    const char *out = gr_arena_printf(a, "%s%s%s", here ? here : "", here ? "/" : "", path).ptr;
    free(here);
    return out;
}

static int run_init(int argc, char **argv)
{
    const char *file = NULL, *nodes = NULL, *base = NULL, *name = NULL, *port = NULL, *sets[GR_CLI_VALUES_MAX];
    size_t files = 0, count = 0;
    uint64_t node_count = NODES_DEFAULT, port_number = PORT_DEFAULT;
    const gr_cli_option options[] = {{.name = "--nodes", .value = &nodes}, {.name = "--base", .value = &base},
                                     {.name = "--server-name", .value = &name}, {.name = "--port", .value = &port},
                                     {.name = "--set", .values = sets, .count = &count}, {0}};
    if (!gr_cli_options(&gr_cmd_cluster_init, argc, argv, options, &file, 1, 1, &files)) return GR_CLI_USAGE;
    if (!base || !name) return gr_cli_misused(&gr_cmd_cluster_init, "--base and --server-name are needed");
    if (nodes && (!gr_str_u64(gr_str_c(nodes), &node_count) || node_count < 1 || node_count > GR_CLUSTER_NODES_MAX))
        return gr_cli_misused(&gr_cmd_cluster_init, "--nodes takes a number from 1 to %d", GR_CLUSTER_NODES_MAX);
    if (port && (!gr_str_u64(gr_str_c(port), &port_number) || port_number < 1
                 || port_number + NODE_PORT_DISTANCE + node_count > 65535))
        return gr_cli_misused(&gr_cmd_cluster_init, "--port takes a port below 55000: nodes use that plus 10000");
    gr_arena *a = gr_arena_new(0);
    cluster_request r = {.arena = a, .file = absolute(a, file), .base = absolute(a, base), .server_name = name,
                         .nodes = (unsigned)node_count, .port = port_number, .sets = sets, .set_count = count};
    int code = make_cluster(&r);
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_cluster_init = {
    "cluster init", "make the data directories of several nodes on this machine",
    "usage: greenroom cluster init FILE --base DIR --server-name NAME [--nodes N] [--port PORT] [--set KEY=VALUE]...\n\n"
    "Makes the cluster file FILE and the data directories DIR/n1, DIR/n2 ..., which share the server's signing key and\n"
    "the folder of media.  For nodes on several machines see `greenroom init --help` and docs/cluster.md.\n\n"
    "  --base DIR           where the data directories go\n"
    "  --server-name NAME   the part behind the colon of user ids\n"
    "  --nodes N            how many (3)\n"
    "  --port PORT          of the first node for clients (8008); the others follow; nodes talk 10000 above\n"
    "  --set KEY=VALUE      set a key of every node's configuration\n",
    run_init};

/* --- key --------------------------------------------------------------------------------------------------------- */
static int run_key(int argc, char **argv)
{
    const char *dir = NULL;
    size_t count = 0;
    uint8_t key[GR_CLUSTER_KEY_SIZE];
    char text[sodium_base64_ENCODED_LEN(GR_CLUSTER_KEY_SIZE, sodium_base64_VARIANT_ORIGINAL)];
    const gr_cli_option none[] = {{0}};
    if (!gr_cli_options(&gr_cmd_cluster_key, argc, argv, none, &dir, 1, 1, &count)) return GR_CLI_USAGE;
    gr_arena *a = gr_arena_new(0);
    bool good = gr_init_public_key(a, dir, key);
    gr_arena_free(&a);
    if (!good) return GR_CLI_FAILED;
    printf("%s\n", sodium_bin2base64(text, sizeof text, key, sizeof key, sodium_base64_VARIANT_ORIGINAL));
    return GR_CLI_DONE;
}

const gr_cli_command gr_cmd_cluster_key = {
    "cluster key", "print the public key of a node, for the cluster file",
    "usage: greenroom cluster key DIR\n\n"
    "Prints the public key of the node with the data directory DIR, as it stands in the cluster file.\n",
    run_key};

/* --- status ------------------------------------------------------------------------------------------------------ */
static const gr_cli_table_column node_columns[] = {
    {"NODE", "node", GR_CLI_TABLE_TEXT, 0},          {"SHARDS", "shards", GR_CLI_TABLE_COUNT, 0},
    {"LEVEL", "level", GR_CLI_TABLE_COUNT, 0},       {"UP TO", "level_high", GR_CLI_TABLE_COUNT, 0},
    {"MAILBOXES", "mailbox_depth", GR_CLI_TABLE_COUNT, 0}, {"FRAMES", "frames_waiting", GR_CLI_TABLE_COUNT, 0},
    {"POSTS", "outbox", GR_CLI_TABLE_COUNT, 0},      {"LAG", "lag_us", GR_CLI_TABLE_US, 0},
    {"STOPPED", "pairs_stopped", GR_CLI_TABLE_COUNT, 0}, {"LOST SHARDS", "lost_shards", GR_CLI_TABLE_COUNT, 0},
    {"MEMORY", "memory", GR_CLI_TABLE_BYTES, 0}};
static const gr_cli_table_column link_columns[] = {
    {"FROM", "from", GR_CLI_TABLE_TEXT, 0},          {"TO", "node", GR_CLI_TABLE_TEXT, 0},
    {"ADDRESS", "address", GR_CLI_TABLE_TEXT, 0},    {"LINK", "link", GR_CLI_TABLE_TEXT, 0},
    {"HEARD", "heard_us", GR_CLI_TABLE_US, 0},       {"QUEUE", "queue_bytes", GR_CLI_TABLE_BYTES, 0},
    {"POSTS", "posts", GR_CLI_TABLE_COUNT, 0},       {"LAG", "lag_us", GR_CLI_TABLE_US, 0},
    {"ROUND TRIP", "rtt_us", GR_CLI_TABLE_US, 0},    {"CLOCK", "clock_offset_us", GR_CLI_TABLE_US, 0},
    {"FULL", "full", GR_CLI_TABLE_COUNT, 0},         {"LOST", "lost", GR_CLI_TABLE_COUNT, 0},
    {"WHY", "why", GR_CLI_TABLE_TEXT, 60}};
#define COLUMNS(c) (c), sizeof(c) / sizeof(c)[0]

static void number_or_none(gr_cli_table *t, const gr_json *of, const char *name, int64_t factor)
{
    const gr_json *n = gr_json_get(of, name);
    if (n) gr_cli_table_number(t, gr_json_integer(n, 0) * factor);
    else gr_cli_table_none(t);
}

static void add_link(gr_cli_table *t, gr_str from, const gr_json *peer)
{
    gr_cli_table_text(t, from);
    gr_cli_table_text(t, gr_json_text(peer, "node"));
    gr_cli_table_text(t, gr_json_text(peer, "address"));
    gr_cli_table_text(t, gr_json_text(peer, "link"));
    number_or_none(t, peer, "heard_ms", 1000);
    number_or_none(t, peer, "queue_bytes", 1);
    number_or_none(t, peer, "posts", 1);
    number_or_none(t, peer, "lag_ms", 1000);
    number_or_none(t, peer, "rtt_us", 1);
    number_or_none(t, peer, "clock_offset_us", 1);
    number_or_none(t, peer, "full", 1);
    number_or_none(t, peer, "lost", 1);
    gr_cli_table_text(t, gr_json_text(peer, "why"));
}

/* Of the link that lags most. */
static int64_t lag_ms(const gr_json *peers)
{
    int64_t lag = 0;
    for (uint32_t i = 0; i < peers->count; i++) {
        int64_t of = gr_json_integer(gr_json_get(&peers->items[i], "lag_ms"), 0);
        if (of > lag) lag = of;
    }
    return lag;
}

static void add_node(gr_cli_table *nodes, gr_cli_table *links, gr_str node, const gr_json *status, const gr_json *peers)
{
    gr_cli_table_text(nodes, node);
    number_or_none(nodes, status, "shards", 1);
    number_or_none(nodes, status, "level", 1);
    number_or_none(nodes, status, "level_high", 1);
    number_or_none(nodes, status, "mailbox_depth", 1);
    number_or_none(nodes, status, "frames_waiting", 1);
    number_or_none(nodes, status, "outbox", 1);
    gr_cli_table_number(nodes, 1000 * lag_ms(peers));
    number_or_none(nodes, status, "pairs_stopped", 1);
    number_or_none(nodes, status, "lost_shards", 1);
    number_or_none(nodes, status, "memory", 1);
    for (uint32_t i = 0; i < peers->count; i++) add_link(links, node, &peers->items[i]);
}

static void note_upgrade(const gr_json *status, gr_buf *note)
{
    int64_t level = gr_json_integer(gr_json_get(status, "level"), 0);
    int64_t high = gr_json_integer(gr_json_get(status, "level_high"), 0);
    if (level >= high || note->size) return;
    gr_buf_printf(note, "An upgrade is under way, from feature level %lld to %lld: see `greenroom upgrade finish --help`\n",
                  (long long)level, (long long)high);
}

static void print_tables(gr_arena *a, gr_admin_node_answer *nodes, size_t count, gr_buf *out)
{
    gr_buf note = {0};
    gr_cli_table *rows = gr_cli_table_new(COLUMNS(node_columns)), *links = gr_cli_table_new(COLUMNS(link_columns));
    for (size_t i = 0; i < count; i++) {
        const gr_json *status = NULL, *peers = NULL;
        if (nodes[i].why) continue;
        if (!gr_failed(gr_json_parse(a, nodes[i].answer, GR_JSON_LAX, &status))) peers = gr_json_get(status, "peers");
        note_upgrade(status, &note);
        if (gr_json_is(peers, GR_JSON_ARRAY)) add_node(rows, links, nodes[i].node, status, peers);
        else nodes[i].why = "its answer can't be read";
    }
    gr_buf_str(out, gr_buf_view(&note));
    gr_buf_free(&note);
    gr_cli_table_print(rows, out, false);
    if (gr_cli_table_rows(links)) {
        gr_buf_char(out, '\n');
        gr_cli_table_print(links, out, false);
    }
    gr_cli_table_free(&rows);
    gr_cli_table_free(&links);
}

/* What the own node says, and in `nodes` what all say, each with its name. */
static void print_status_json(const gr_admin_node_answer *nodes, size_t count, gr_buf *out)
{
    gr_str own = nodes[0].answer;
    gr_buf all = {0};
    gr_jw w = gr_jw_begin(&all);
    gr_jw_array(&w);
    for (size_t i = 0; i < count; i++) {
        if (!nodes[i].why) {
            gr_jw_raw(&w, nodes[i].answer);
            continue;
        }
        gr_jw_object(&w);
        gr_jw_kstr(&w, "node", nodes[i].node);
        gr_jw_kc(&w, "missing", nodes[i].why);
        gr_jw_end_object(&w);
    }
    gr_jw_end_array(&w);
    gr_buf_str(out, gr_str_head(own, own.size ? own.size - 1 : 0)); /* without its brace */
    gr_buf_c(out, ",\"nodes\":");
    gr_buf_str(out, gr_buf_view(&all));
    gr_buf_c(out, "}\n");
    gr_buf_free(&all);
}

static int show_status(gr_arena *a, const char *dir, bool json)
{
    size_t count;
    gr_buf out = {0};
    gr_admin_node_answer *nodes = gr_admin_client_all(a, dir, "/cluster", NULL, &count);
    if (!nodes) return GR_CLI_FAILED;
    if (json) print_status_json(nodes, count, &out);
    else print_tables(a, nodes, count, &out);
    return gr_admin_client_show(&out, nodes, count, json);
}

/* Every node answers, and has a link to every other. */
static bool is_whole(gr_arena *a, const char *dir)
{
    size_t count;
    gr_admin_node_answer *nodes = gr_admin_client_nodes(a, dir, &count);
    if (!nodes) return false;
    gr_admin_client_ask_nodes(a, dir, "/cluster", nodes, count);
    for (size_t i = 0; i < count; i++) {
        const gr_json *status = NULL;
        if (nodes[i].why || gr_failed(gr_json_parse(a, nodes[i].answer, GR_JSON_LAX, &status))) return false;
        const gr_json *peers = gr_json_get(status, "peers");
        for (uint32_t k = 0; gr_json_is(peers, GR_JSON_ARRAY) && k < peers->count; k++) {
            const gr_json *peer = &peers->items[k];
            bool is_revoked = gr_json_boolean(gr_json_get(peer, "revoked"), false);
            if (!is_revoked && !gr_str_is(gr_json_text(peer, "link"), "up")) return false;
        }
    }
    return true;
}

static bool wait_until_whole(const char *dir, uint64_t seconds)
{
    bool whole = false;
    time_t until = time(NULL) + (time_t)seconds;
    for (;;) {
        gr_arena *a = gr_arena_new(0);
        whole = is_whole(a, dir);
        gr_arena_free(&a);
        if (whole || time(NULL) >= until) return whole;
        nanosleep(&(struct timespec){0, LOOK_MS * 1000000L}, NULL);
    }
}

static int run_status(int argc, char **argv)
{
    const char *dir = NULL, *wait = NULL;
    bool json = false;
    size_t count = 0;
    uint64_t seconds = 0;
    const gr_cli_option options[] = {{.name = "--dir", .value = &dir}, {.name = "--json", .flag = &json},
                                     {.name = "--wait", .value = &wait}, {0}};
    if (!gr_cli_options(&gr_cmd_cluster_status, argc, argv, options, NULL, 0, 0, &count)) return GR_CLI_USAGE;
    if (wait && (!gr_str_u64(gr_str_c(wait), &seconds) || seconds > WAIT_MAX_S))
        return gr_cli_misused(&gr_cmd_cluster_status, "--wait takes seconds, at most %d", WAIT_MAX_S);
    gr_arena *a = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    if ((dir = gr_admin_client_dir(a, dir))) {
        bool whole = !wait || wait_until_whole(dir, seconds);
        code = show_status(a, dir, json);
        if (!whole) code = GR_CLI_FAILED;
    }
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_cluster_status = {
    "cluster status", "show the nodes of the cluster and the links between them",
    "usage: greenroom cluster status [--wait SECONDS] [--json] [--dir DIR]\n\n"
    "Asks all nodes, and shows of each how many shards it runs, the messages waiting in mailboxes and the frames before\n"
    "them, the posts that were not acknowledged yet and for how long none was (lag), pairs of shards whose posts are\n"
    "stopped, and shards lost to failures of its store; and of each link whether it is up (if not: why), when the other\n"
    "node was heard last, the bytes on their way to it, its posts and their lag, the round trip, how far its clock is\n"
    "ahead, and the frames refused because the way was full or lost with a link.  A node that does not answer is named.\n\n"
    "  --wait SECONDS first waits until all nodes answer and have links to each other; exit code 1 when that took longer\n"
    "  --json         what the own node says, with an array `nodes` of what each says\n"
    "  --dir DIR      the data directory (else GREENROOM_DIR, ./data or the present directory)\n",
    run_status};
