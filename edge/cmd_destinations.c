/* cmd_destinations.c - `greenroom destinations`: other servers, and how it goes with them. */
#include "edge/admin_client.h"
#include "edge/cli_table.h"

#include "proto/ident.h"
#include "proto/json.h"

#include <string.h>

static int64_t number(const gr_json *of, const char *key) { return gr_json_integer(gr_json_get(of, key), 0); }

/* Times as durations from the node's present. */
static void add_duration(gr_cli_table *table, int64_t from_ms, int64_t to_ms)
{
    if (from_ms == 0 || to_ms == 0) gr_cli_table_none(table);
    else gr_cli_table_number(table, to_ms > from_ms ? (to_ms - from_ms) * 1000 : 0);
}

static bool add_destinations(gr_arena *a, gr_cli_table *table, const gr_admin_node_answer *of)
{
    static const char *const counts[] = {"failures", "events", "edus", "bytes", "rooms_owed", "set_aside", "refused_events"};
    const gr_json *answer = NULL, *list;
    if (gr_failed(gr_json_parse(a, of->answer, GR_JSON_LAX, &answer))) return false;
    list = gr_json_get(answer, "destinations");
    int64_t now_ms = number(answer, "time_ms");
    if (!gr_json_is(list, GR_JSON_ARRAY)) return false;
    for (uint32_t i = 0; i < list->count; i++) {
        const gr_json *d = &list->items[i];
        gr_cli_table_text(table, gr_json_text(d, "server"));
        gr_cli_table_text(table, of->node);
        gr_cli_table_text(table, gr_json_text(d, "state"));
        add_duration(table, number(d, "failing_since"), now_ms);
        add_duration(table, number(d, "next_try") ? now_ms : 0, number(d, "next_try"));
        for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) gr_cli_table_number(table, number(d, counts[k]));
    }
    return true;
}

static int list(gr_arena *a, const char *dir, bool failing, bool json)
{
    static const gr_cli_table_column columns[] = {
        {"SERVER", "server", GR_CLI_TABLE_TEXT, 48},         {"NODE", "node", GR_CLI_TABLE_TEXT, 0},
        {"STATE", "state", GR_CLI_TABLE_TEXT, 0},            {"FAILING FOR", "failing_us", GR_CLI_TABLE_US, 0},
        {"NEXT TRY IN", "next_try_us", GR_CLI_TABLE_US, 0},  {"FAILURES", "failures", GR_CLI_TABLE_COUNT, 0},
        {"EVENTS", "events", GR_CLI_TABLE_COUNT, 0},         {"EDUS", "edus", GR_CLI_TABLE_COUNT, 0},
        {"SIZE", "bytes", GR_CLI_TABLE_BYTES, 0},            {"ROOMS OWED", "rooms_owed", GR_CLI_TABLE_COUNT, 0},
        {"SET ASIDE", "set_aside", GR_CLI_TABLE_COUNT, 0},   {"REFUSED", "refused_events", GR_CLI_TABLE_COUNT, 0}};
    enum { FAILURES = 5 };
    size_t count;
    const char *path = failing ? "/destinations?failing=1" : "/destinations";
    gr_admin_node_answer *nodes = gr_admin_client_all(a, dir, path, NULL, &count);
    if (!nodes) return GR_CLI_FAILED;
    gr_buf out = {0};
    gr_cli_table *table = gr_cli_table_new(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < count; i++)
        if (!nodes[i].why && !add_destinations(a, table, &nodes[i])) nodes[i].why = "its answer can't be read";
    gr_cli_table_sort(table, FAILURES, true);
    if (gr_cli_table_rows(table) > 0 || json) gr_cli_table_print(table, &out, json);
    else gr_buf_c(&out, failing ? "No other server fails.\n" : "No other server is known.\n");
    gr_cli_table_free(&table);
    return gr_admin_client_show(&out, nodes, count, json);
}

static int reset(gr_arena *a, const char *dir, const char *server)
{
    gr_str answer, request = gr_arena_printf(a, "{\"to\":\"destination/%s\",\"type\":\"destination_reset\",\"body\":{}}", server);
    if (!gr_admin_client_ask(a, dir, "/send", request, &answer)) return GR_CLI_FAILED;
    return gr_cli_print(gr_arena_printf(a, "%s is tried again now.\n", server));
}

static int run(int argc, char **argv)
{
    const char *dir = NULL, *plain[2] = {0};
    bool json = false, failing = false;
    size_t count = 0;
    const gr_cli_option options[] = {{.name = "--dir", .value = &dir}, {.name = "--json", .flag = &json},
                                     {.name = "--failing", .flag = &failing}, {0}};
    if (!gr_cli_options(&gr_cmd_destinations, argc, argv, options, plain, 0, 2, &count)) return GR_CLI_USAGE;
    bool is_reset = count == 2 && strcmp(plain[0], "reset") == 0;
    if (count > 0 && !is_reset) return gr_cli_misused(&gr_cmd_destinations, "say nothing, or reset and the name of a server");
    if (is_reset && !gr_ident_server_name(gr_str_c(plain[1])))
        return gr_cli_misused(&gr_cmd_destinations, "%s is not the name of a server", plain[1]);
    gr_arena *a = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    if ((dir = gr_admin_client_dir(a, dir))) code = is_reset ? reset(a, dir, plain[1]) : list(a, dir, failing, json);
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_destinations = {
    "destinations", "list other servers: which fail, since when, what waits for them",
    "usage: greenroom destinations [--failing] [--json] [--dir DIR]\n"
    "       greenroom destinations reset SERVER [--dir DIR]\n\n"
    "Those that failed most often come first. Events wait while a server fails for a short time; when it fails for longer\n"
    "than federation.catch_up_after, the newest event of each room is owed instead.\n\n"
    "  reset          try the server now, and begin with short waits again\n"
    "  --failing      only those that are not live\n"
    "  --json         an array of objects in place of the table; times in microseconds\n"
    "  --dir DIR      the data directory (else GREENROOM_DIR, ./data or the present directory)\n",
    run};
