/* cmd_schema.c - `greenroom schema`: the layout of a store. */
#include "edge/admin_client.h"
#include "edge/cli_table.h"

#include "persistence/schema.h"
#include "proto/json.h"

#include <time.h>

/* --- schema ------------------------------------------------------------------------------------------- */
static void add_time(gr_cli_table *table, uint64_t ms)
{
    char text[32];
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t size = ms ? strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm) : 0;
    if (size) gr_cli_table_text(table, gr_str_of(text, size));
    else gr_cli_table_none(table);
}

static int print_schema(unsigned version, const gr_schema_ran *ran, size_t count, bool json)
{
    static const gr_cli_table_column columns[] = {{"DELTA", "name", GR_CLI_TABLE_TEXT, 0}, {"RAN", "ran", GR_CLI_TABLE_TEXT, 0}};
    gr_buf out = {0};
    if (json) {
        gr_schema_print(&out, version, ran, count);
        gr_buf_char(&out, '\n');
    } else {
        gr_cli_table *table = gr_cli_table_new(columns, 2);
        for (size_t i = 0; i < count; i++) {
            gr_cli_table_text(table, ran[i].name);
            add_time(table, ran[i].ran_ms);
        }
        gr_buf_printf(&out, "Schema version %u.\n", version);
        if (count) gr_cli_table_print(table, &out, false);
        else gr_buf_c(&out, "No changes had to be run on this store.\n");
        gr_cli_table_free(&table);
    }
    int code = gr_cli_print(gr_buf_view(&out));
    gr_buf_free(&out);
    return code;
}

/* The node that runs holds the store: it tells. */
static int ask_node(gr_arena *a, gr_str answer, bool json)
{
    const gr_json *said = NULL;
    if (gr_failed(gr_json_parse(a, answer, GR_JSON_LAX, &said)))
        return gr_cli_failed("the node's answer can't be read");
    const gr_json *list = gr_json_get(said, "deltas");
    size_t count = gr_json_is(list, GR_JSON_ARRAY) ? list->count : 0;
    gr_schema_ran *ran = gr_arena_alloc(a, (count + 1) * sizeof *ran);
    for (size_t i = 0; i < count; i++)
        ran[i] = (gr_schema_ran){gr_json_text(&list->items[i], "name"),
                                 (uint64_t)gr_json_integer(gr_json_get(&list->items[i], "ran_ms"), 0)};
    return print_schema((unsigned)gr_json_integer(gr_json_get(said, "version"), 0), ran, count, json);
}

static int read_store(gr_arena *a, const char *dir, bool json)
{
    gr_schema_ran *ran = NULL;
    size_t count = 0;
    gr_str server_name;
    unsigned version = 0;
    gr_store *store = gr_admin_client_store(a, dir, &server_name);
    if (!store) return GR_CLI_FAILED;
    gr_err err = gr_schema_version(store, a, &version);
    if (!gr_failed(err)) err = gr_schema_applied(store, a, &ran, &count);
    gr_store_close(&store);
    return gr_failed(err) ? gr_cli_failed("%s", err.text) : print_schema(version, ran, count, json);
}

static int run_schema(int argc, char **argv)
{
    const char *dir = NULL;
    bool json = false;
    size_t count = 0;
    const gr_cli_option options[] = {{.name = "--json", .flag = &json}, {0}};
    if (!gr_cli_options(&gr_cmd_schema, argc, argv, options, &dir, 1, 1, &count)) return GR_CLI_USAGE;
    gr_arena *a = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    if (gr_admin_client_dir(a, dir)) {
        gr_admin_call call = {.path = "/schema"};
        gr_admin_client_calls(a, dir, &call, 1);
        code = call.status == 200 ? ask_node(a, call.answer, json) : read_store(a, dir, json);
    }
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_schema = {"schema",
                                      "show the layout version of a store and the changes run on it",
                                      "usage: greenroom schema DIR [--json]\n\n"
                                      "Works on a running node and on a stopped one.  Each change of the "
                                      "layout runs once and is recorded by name, with\n"
                                      "the time.\n\n"
                                      "  --json         an object in place of the text\n",
                                      run_schema};
