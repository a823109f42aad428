/* cmd_init.c - `greenroom init`: a new data directory with its configuration and keys, alone or for a node of a cluster. */
#include "edge/cluster_file.h"
#include "edge/init.h"
#include "edge/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
    gr_arena *arena;
    gr_config config; /* only to check what --set gives */
    gr_str names[GR_CLI_VALUES_MAX + 3], values[GR_CLI_VALUES_MAX + 3];
    size_t count;
    const char *cluster, *node, *address, *keys_of;
} request;

static int set(request *r, gr_str name, gr_str value)
{
    gr_err e = gr_config_set(&r->config, name, value);
    if (gr_failed(e)) return gr_cli_misused(&gr_cmd_init, "%s", e.text);
    r->names[r->count] = name;
    r->values[r->count++] = value;
    return GR_CLI_DONE;
}

static int set_all(request *r, const char *server_name, const char *const *sets, size_t count)
{
    int code = server_name ? set(r, GR_STR("server_name"), gr_str_c(server_name)) : GR_CLI_DONE;
    for (size_t i = 0; i < count && code == GR_CLI_DONE; i++) {
        gr_str pair = gr_str_c(sets[i]);
        ptrdiff_t equals = gr_str_find(pair, '=');
        if (equals < 0) return gr_cli_misused(&gr_cmd_init, "--set takes KEY=VALUE, not \"%s\"", sets[i]);
        code = set(r, gr_str_head(pair, (size_t)equals), gr_str_from(pair, (size_t)equals + 1));
    }
    if (code == GR_CLI_DONE && !r->config.server_name[0])
        code = gr_cli_misused(&gr_cmd_init,
                              "--server-name is missing: the part behind the colon of your user ids");
    return code;
}

/* --- a node of a cluster --------------------------------------------------------------------------------------- */
static int set_cluster(request *r)
{
    if (!r->cluster && !r->node && !r->address) return GR_CLI_DONE;
    if (!r->cluster || !r->node) return gr_cli_misused(&gr_cmd_init, "--cluster and --node belong together");
    char *absolute = realpath(r->cluster, NULL);
    gr_str file = gr_arena_str(r->arena, gr_str_c(absolute ? absolute : r->cluster));
    free(absolute);
    int code = set(r, GR_STR("cluster.file"), file);
    return code == GR_CLI_DONE ? set(r, GR_STR("cluster.node"), gr_str_c(r->node)) : code;
}

static bool read_cluster(request *r, gr_cluster *c)
{
    gr_config_mistakes mistakes;
    gr_cluster_init(c, 0);
    if (access(r->cluster, F_OK) != 0) return true;
    gr_config_mistakes_init(&mistakes);
    bool good = gr_cluster_file_read_open(c, r->cluster, &mistakes);
    gr_config_mistakes_print(&mistakes, stderr);
    gr_config_mistakes_free(&mistakes);
    return good;
}

/* Puts the node into the file; it gets the shards that no other node has: in a file that is new, all. */
static int enter(request *r, gr_cluster *c, const char *dir)
{
    uint8_t key[GR_CLUSTER_KEY_SIZE];
    char text[GR_CLUSTER_KEY_TEXT];
    if (!gr_init_public_key(r->arena, dir, key)) return GR_CLI_FAILED;
    gr_cluster_key_print(key, text);
    int known = gr_cluster_find(c, gr_str_c(r->node));
    if (known >= 0) {
        memcpy(c->nodes[known].public_key, key, sizeof key);
    } else {
        gr_err e = gr_cluster_add(c, r->arena, gr_str_c(r->node), gr_str_c(r->address), gr_str_c(text), false);
        if (gr_failed(e)) return gr_cli_failed("%s", e.text);
        known = (int)c->node_count - 1;
    }
    c->generation++;
    for (unsigned s = 0; s < GR_SHARDS; s++)
        if (c->owner[s] == GR_CLUSTER_NOBODY) c->owner[s] = (uint8_t)known;
    gr_err e = gr_cluster_check(c, r->arena);
    if (!gr_failed(e)) e = gr_cluster_file_write(r->arena, r->cluster, c);
    if (gr_failed(e)) return gr_cli_failed("%s", e.text);
    gr_buf lines = {0};
    gr_cluster_file_print_node(&lines, c, (unsigned)known);
    printf("%s is generation %llu now.  Copy it to the other nodes and restart them; the entry of this node is\n%" GR_FMT,
           r->cluster, (unsigned long long)c->generation, GR_ARG(gr_buf_view(&lines)));
    gr_buf_free(&lines);
    return GR_CLI_DONE;
}

/* --- all of it ------------------------------------------------------------------------------------------------- */
static int create(request *r, const char *dir)
{
    gr_cluster cluster;
    gr_init o = {.dir = dir, .count = r->count, .names = r->names, .values = r->values, .keys_of = r->keys_of};
    if (r->cluster && !read_cluster(r, &cluster)) return GR_CLI_FAILED;
    bool is_known = r->cluster && gr_cluster_find(&cluster, gr_str_c(r->node)) >= 0;
    if (r->cluster && !is_known && !r->address)
        return gr_cli_misused(&gr_cmd_init, "%s has no node %s: --address HOST:PORT adds it", r->cluster, r->node);
    if (r->cluster && cluster.node_count > 0 && !r->keys_of && !is_known)
        return gr_cli_misused(&gr_cmd_init, "all nodes have the same signing key: --keys-of DIR names the data directory of "
                                            "one that is there");
    int code = gr_init_make(r->arena, &o);
    if (code != GR_CLI_DONE) return code;
    printf("Wrote %s/" GR_CONFIG_FILE " and the keys beside it.  Keep a copy of %s/" GR_KEYS_SIGNING_FILE
           ": it can't be replaced.\n", dir, dir);
    if (r->cluster) code = enter(r, &cluster, dir);
    if (code == GR_CLI_DONE) printf("Start the %s with: greenroom run %s\n", r->cluster ? "node" : "server", dir);
    return code;
}

static int run(int argc, char **argv)
{
    const char *dir = NULL, *server_name = NULL, *sets[GR_CLI_VALUES_MAX];
    size_t dirs, count = 0;
    request r = {0};
    const gr_cli_option options[] = {{.name = "--server-name", .value = &server_name},
                                     {.name = "--set", .values = sets, .count = &count},
                                     {.name = "--cluster", .value = &r.cluster},
                                     {.name = "--node", .value = &r.node},
                                     {.name = "--address", .value = &r.address},
                                     {.name = "--keys-of", .value = &r.keys_of},
                                     {0}};
    if (!gr_cli_options(&gr_cmd_init, argc, argv, options, &dir, 1, 1, &dirs)) return GR_CLI_USAGE;
    r.arena = gr_arena_new(0);
    gr_config_init(&r.config, dir);
    int code = set_all(&r, server_name, sets, count);
    if (code == GR_CLI_DONE) code = set_cluster(&r);
    if (code == GR_CLI_DONE) code = create(&r, dir);
    gr_config_free(&r.config);
    gr_arena_free(&r.arena);
    return code;
}

const gr_cli_command gr_cmd_init = {
    "init", "Make a data directory with configuration and keys.",
    "usage: greenroom init DIR --server-name NAME [--set KEY=VALUE]...\n"
    "       greenroom init DIR --server-name NAME --cluster FILE --node NAME [--address HOST:PORT] [--keys-of DIR2]\n\n"
    "Makes the directory DIR with the commented configuration " GR_CONFIG_FILE
    ", the server's signing key and its\n"
    "other secrets.  Nothing that exists is overwritten.\n\n"
    "  --server-name NAME   the part behind the colon of user ids; can't be changed later\n"
    "  --set KEY=VALUE      set a key of the configuration, for example --set registration=open\n\n"
    "A node of a cluster (docs/cluster.md):\n"
    "  --cluster FILE       the cluster file; the node's public key is entered there\n"
    "  --node NAME          its name in the file\n"
    "  --address HOST:PORT  where the other nodes reach it; adds it to the file\n"
    "  --keys-of DIR2       the data directory of another node: all have the same signing key\n",
    run};
