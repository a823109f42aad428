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
#include <unistd.h>

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
static const gr_cli_table_column columns[] = {
    {"NODE", "node", GR_CLI_TABLE_TEXT, 0}, {"ADDRESS", "address", GR_CLI_TABLE_TEXT, 0},
    {"SHARDS", "shards", GR_CLI_TABLE_COUNT, 0}, {"LINK", "link", GR_CLI_TABLE_TEXT, 0},
    {"HEARD", "heard_us", GR_CLI_TABLE_US, 0}, {"QUEUE", "queue_bytes", GR_CLI_TABLE_BYTES, 0},
    {"ROUND TRIP", "rtt_us", GR_CLI_TABLE_US, 0}, {"CLOCK", "clock_offset_us", GR_CLI_TABLE_US, 0},
    {"LOST", "lost", GR_CLI_TABLE_COUNT, 0}, {"WHY", "why", GR_CLI_TABLE_TEXT, 60}};

static void number_or_none(gr_cli_table *t, const gr_json *of, const char *name, int64_t factor)
{
    const gr_json *n = gr_json_get(of, name);
    if (n) gr_cli_table_number(t, gr_json_integer(n, 0) * factor);
    else gr_cli_table_none(t);
}

static void add_peer(gr_cli_table *t, const gr_json *peer)
{
    gr_cli_table_text(t, gr_json_text(peer, "node"));
    gr_cli_table_text(t, gr_json_text(peer, "address"));
    number_or_none(t, peer, "shards", 1);
    gr_cli_table_text(t, gr_json_text(peer, "link"));
    number_or_none(t, peer, "heard_ms", 1000);
    number_or_none(t, peer, "queue_bytes", 1);
    number_or_none(t, peer, "rtt_us", 1);
    number_or_none(t, peer, "clock_offset_us", 1);
    number_or_none(t, peer, "lost", 1);
    gr_cli_table_text(t, gr_json_text(peer, "why"));
}

static int show_status(gr_arena *a, const char *dir, bool json)
{
    gr_str answer;
    const gr_json *status = NULL;
    if (!gr_admin_client_ask(a, dir, "/cluster", (gr_str){0}, &answer)) return GR_CLI_FAILED;
    if (json) return gr_cli_print(gr_arena_cat(a, 2, (gr_str[]){answer, GR_STR("\n")}));
    if (gr_failed(gr_json_parse(a, answer, GR_JSON_LAX, &status))) return gr_cli_failed("the node's answer can't be read");
    const gr_json *peers = gr_json_get(status, "peers");
    gr_buf out = {0};
    gr_str file = gr_json_text(status, "file");
    gr_buf_printf(&out, "node %" GR_FMT "%s%" GR_FMT ": %lld shards, %lld posts to be acknowledged, %lld messages waiting\n",
                  GR_ARG(gr_json_text(status, "node")), file.size ? " of " : ", which is the whole server", GR_ARG(file),
                  (long long)gr_json_integer(gr_json_get(status, "shards"), 0),
                  (long long)gr_json_integer(gr_json_get(status, "outbox"), 0),
                  (long long)gr_json_integer(gr_json_get(status, "mailbox_depth"), 0));
    int64_t level = gr_json_integer(gr_json_get(status, "level"), 0);
    int64_t high = gr_json_integer(gr_json_get(status, "level_high"), 0);
    if (level < high)
        gr_buf_printf(&out, "An upgrade is under way, from feature level %lld to %lld: see `greenroom upgrade finish --help`\n",
                      (long long)level, (long long)high);
    if (gr_json_is(peers, GR_JSON_ARRAY) && peers->count) {
        gr_cli_table *t = gr_cli_table_new(columns, sizeof columns / sizeof columns[0]);
        for (uint32_t i = 0; i < peers->count; i++) add_peer(t, &peers->items[i]);
        gr_cli_table_print(t, &out, false);
        gr_cli_table_free(&t);
    }
    int code = gr_cli_print(gr_arena_str(a, gr_buf_view(&out)));
    gr_buf_free(&out);
    return code;
}

static int run_status(int argc, char **argv)
{
    const char *dir = NULL;
    bool json = false;
    size_t count = 0;
    const gr_cli_option options[] = {{.name = "--dir", .value = &dir}, {.name = "--json", .flag = &json}, {0}};
    if (!gr_cli_options(&gr_cmd_cluster_status, argc, argv, options, NULL, 0, 0, &count)) return GR_CLI_USAGE;
    gr_arena *a = gr_arena_new(0);
    int code = (dir = gr_admin_client_dir(a, dir)) ? show_status(a, dir, json) : GR_CLI_FAILED;
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_cluster_status = {
    "cluster status", "show the links of a running node to the others",
    "usage: greenroom cluster status [--json] [--dir DIR]\n\n"
    "Shows how many shards each other node runs, whether the link to it is up (if not: why), when it was heard last, the\n"
    "bytes on their way to it, the round trip, and how far its clock is ahead of this node's.\n\n"
    "  --dir DIR      the data directory (else GREENROOM_DIR, ./data or the present directory)\n",
    run_status};
