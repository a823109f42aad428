/* cmd_upgrade.c - `greenroom upgrade finish`: all nodes run the newer program, so its features come into use. */
#include "edge/admin_client.h"

#include "proto/json.h"

#include <stdio.h>

static int finish(gr_arena *a, const char *dir)
{
    gr_str answer;
    const gr_json *levels = NULL;
    if (!gr_admin_client_ask(a, dir, "/upgrade", GR_STR("{}"), &answer)) return GR_CLI_FAILED;
    if (gr_failed(gr_json_parse(a, answer, GR_JSON_LAX, &levels))) return gr_cli_failed("the node's answer can't be read");
    long long before = gr_json_integer(gr_json_get(levels, "before"), 0);
    long long level = gr_json_integer(gr_json_get(levels, "level"), 0);
    return gr_cli_print(
        before == level ? gr_arena_printf(a, "There is nothing to finish: the server is at feature level %lld.\n", level)
                        : gr_arena_printf(a, "The upgrade is finished: the server is at feature level %lld now.\n", level));
}

static int run(int argc, char **argv)
{
    const char *dir = NULL;
    size_t count = 0;
    const gr_cli_option options[] = {{.name = "--dir", .value = &dir}, {0}};
    if (!gr_cli_options(&gr_cmd_upgrade_finish, argc, argv, options, NULL, 0, 0, &count)) return GR_CLI_USAGE;
    gr_arena *a = gr_arena_new(0);
    int code = (dir = gr_admin_client_dir(a, dir)) ? finish(a, dir) : GR_CLI_FAILED;
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_upgrade_finish = {
    "upgrade finish", "use what a newer version brings, once all nodes run it",
    "usage: greenroom upgrade finish [--dir DIR]\n\n"
    "Nodes of two neighbouring versions work together: restart them one after another with the newer program.  Until this\n"
    "command, nothing is sent or stored that the older one does not understand, and any node may go back to it.  This\n"
    "command, on one running node, ends that for the whole cluster: the feature level rises, and the older program is\n"
    "refused from then on.  It fails, and changes nothing, while a node runs the older program or is out of reach.\n"
    "A server of one node needs no such command.\n\n"
    "  --dir DIR      the data directory (else GREENROOM_DIR, ./data or the present directory)\n",
    run};
