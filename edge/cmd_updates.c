/* cmd_updates.c - `greenroom updates`: changes of stored data that run beside the service. */
#include "edge/admin_client.h"
#include "edge/cli_table.h"

#include "proto/json.h"

enum { BAR = 20 };

static int64_t number(const gr_json *of, const char *name) { return gr_json_integer(gr_json_get(of, name), 0); }

static gr_str progress(gr_arena *a, const gr_json *update)
{
    int64_t done = number(update, "shards_done"), all = number(update, "shards");
    if (all == 0) return (gr_str){0};
    int full = (int)(done * BAR / all);
    return gr_arena_printf(a, "[%.*s%.*s] %3d%%", full, "####################", BAR - full, "....................",
                           (int)(done * 100 / all));
}

static bool add_updates(gr_arena *a, gr_cli_table *table, const gr_admin_node_answer *of, bool json)
{
    static const char *const counts[] = {"worked", "rate", "skipped"};
    const gr_json *list = NULL;
    if (gr_failed(gr_json_parse(a, of->answer, GR_JSON_LAX, &list)) || !gr_json_is(list, GR_JSON_ARRAY)) return false;
    for (uint32_t i = 0; i < list->count; i++) {
        const gr_json *u = &list->items[i];
        gr_cli_table_text(table, gr_json_text(u, "name"));
        gr_cli_table_text(table, of->node);
        gr_cli_table_text(table, gr_json_text(u, "state"));
        if (json) {
            gr_cli_table_number(table, number(u, "shards"));
            gr_cli_table_number(table, number(u, "shards_done"));
        } else {
            gr_cli_table_text(table, progress(a, u));
        }
        for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) gr_cli_table_number(table, number(u, counts[k]));
    }
    return true;
}

static int list(gr_arena *a, const char *dir, bool json)
{
    static const gr_cli_table_column people[] = {
        {"UPDATE", "name", GR_CLI_TABLE_TEXT, 0},     {"NODE", "node", GR_CLI_TABLE_TEXT, 0},
        {"STATE", "state", GR_CLI_TABLE_TEXT, 0},     {"PROGRESS", "progress", GR_CLI_TABLE_TEXT, 0},
        {"RECORDS", "worked", GR_CLI_TABLE_COUNT, 0}, {"PER SECOND", "rate", GR_CLI_TABLE_COUNT, 0},
        {"SKIPPED", "skipped", GR_CLI_TABLE_COUNT, 0}};
    static const gr_cli_table_column programs[] = {
        {"UPDATE", "name", GR_CLI_TABLE_TEXT, 0},             {"NODE", "node", GR_CLI_TABLE_TEXT, 0},
        {"STATE", "state", GR_CLI_TABLE_TEXT, 0},             {"SHARDS", "shards", GR_CLI_TABLE_COUNT, 0},
        {"SHARDS DONE", "shards_done", GR_CLI_TABLE_COUNT, 0}, {"RECORDS", "worked", GR_CLI_TABLE_COUNT, 0},
        {"PER SECOND", "rate", GR_CLI_TABLE_COUNT, 0},        {"SKIPPED", "skipped", GR_CLI_TABLE_COUNT, 0}};
    size_t count;
    gr_admin_node_answer *nodes = gr_admin_client_all(a, dir, "/updates", NULL, &count);
    if (!nodes) return GR_CLI_FAILED;
    gr_buf out = {0};
    gr_cli_table *table = json ? gr_cli_table_new(programs, sizeof programs / sizeof programs[0])
                               : gr_cli_table_new(people, sizeof people / sizeof people[0]);
    for (size_t i = 0; i < count; i++)
        if (!nodes[i].why && !add_updates(a, table, &nodes[i], json)) nodes[i].why = "its answer can't be read";
    gr_cli_table_print(table, &out, json);
    gr_cli_table_free(&table);
    return gr_admin_client_show(&out, nodes, count, json);
}

/* What an update could not work on. */
static int list_skipped(gr_arena *a, const char *dir, const char *name, bool json)
{
    static const gr_cli_table_column columns[] = {{"NODE", "node", GR_CLI_TABLE_TEXT, 0},
                                                  {"SHARD", "shard", GR_CLI_TABLE_COUNT, 0},
                                                  {"SKIPPED RECORD", "text", GR_CLI_TABLE_TEXT, 0}};
    size_t count;
    gr_str encoded = gr_admin_client_encoded(a, gr_str_c(name));
    const char *path = gr_arena_printf(a, "/updates/skipped?name=%" GR_FMT, GR_ARG(encoded)).ptr;
    gr_admin_node_answer *nodes = gr_admin_client_all(a, dir, path, NULL, &count);
    if (!nodes) return GR_CLI_FAILED;
    gr_buf out = {0};
    gr_cli_table *table = gr_cli_table_new(columns, 3);
    for (size_t i = 0; i < count; i++) {
        const gr_json *texts = NULL;
        if (nodes[i].why) continue;
        bool good = !gr_failed(gr_json_parse(a, nodes[i].answer, GR_JSON_LAX, &texts)) && gr_json_is(texts, GR_JSON_ARRAY);
        if (!good) nodes[i].why = "its answer can't be read";
        for (uint32_t k = 0; good && k < texts->count; k++) {
            gr_cli_table_text(table, nodes[i].node);
            gr_cli_table_number(table, number(&texts->items[k], "shard"));
            gr_cli_table_text(table, gr_json_text(&texts->items[k], "text"));
        }
    }
    if (gr_cli_table_rows(table) > 0 || json) gr_cli_table_print(table, &out, json);
    else gr_buf_printf(&out, "The update %s has skipped no record.\n", name);
    gr_cli_table_free(&table);
    return gr_admin_client_show(&out, nodes, count, json);
}

static int pause(gr_arena *a, const char *dir, const char *act, const char *name)
{
    size_t count;
    gr_buf request = {0}, out = {0};
    gr_jw w = gr_jw_begin(&request);
    gr_jw_object(&w);
    gr_jw_kc(&w, "act", act);
    if (name) gr_jw_kc(&w, "name", name);
    gr_jw_end_object(&w);
    gr_admin_node_answer *nodes = gr_admin_client_nodes(a, dir, &count);
    for (size_t i = 0; nodes && i < count; i++) nodes[i].request = gr_buf_view(&request);
    if (nodes) gr_admin_client_ask_nodes(a, dir, "/updates", nodes, count);
    gr_buf_free(&request);
    if (!nodes) return GR_CLI_FAILED;
    if (nodes[0].why) return gr_cli_failed("%s", nodes[0].why);
    gr_buf_printf(&out, "%s: %s.\n", name ? name : "All background updates",
                  strcmp(act, "pause") == 0 ? "paused" : "resumed");
    return gr_admin_client_show(&out, nodes, count, false);
}

static int run(int argc, char **argv)
{
    const char *dir = NULL, *plain[2] = {0};
    bool json = false;
    size_t count = 0;
    const gr_cli_option options[] = {
        {.name = "--dir", .value = &dir}, {.name = "--json", .flag = &json}, {0}};
    if (!gr_cli_options(&gr_cmd_updates, argc, argv, options, plain, 0, 2, &count)) return GR_CLI_USAGE;
    bool is_act = count > 0 && (strcmp(plain[0], "pause") == 0 || strcmp(plain[0], "resume") == 0);
    if (count == 2 && !is_act)
        return gr_cli_misused(&gr_cmd_updates, "name one update, or say pause or resume, not %s", plain[0]);
    gr_arena *a = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    if ((dir = gr_admin_client_dir(a, dir)))
        code = is_act ? pause(a, dir, plain[0], plain[1])
                      : count ? list_skipped(a, dir, plain[0], json) : list(a, dir, json);
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_updates = {
    "updates", "show, pause or resume the background updates of a running node",
    "usage: greenroom updates [NAME] [--json] [--dir DIR]\n"
    "       greenroom updates pause|resume [NAME] [--dir DIR]\n\n"
    "Long changes and upkeep of stored data run beside the service in small steps, slower while users wait; this shows how\n"
    "far they are on all nodes.  A record that an update cannot work on is skipped.\n\n"
    "  NAME           the records that this update skipped, with the reason, the newest 100 of each shard\n"
    "  pause          hold all updates, or the one named, until they are resumed: also over restarts\n"
    "  --json         an array of objects in place of the table\n"
    "  --dir DIR      the data directory (else GREENROOM_DIR, ./data or the present directory)\n",
    run};
