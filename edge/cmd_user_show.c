/* cmd_user_show.c - `greenroom user show`: the terms that a user agreed to, their sessions, and who vouched for each. */
#include "edge/admin_client.h"
#include "edge/cli_table.h"

#include "proto/json.h"

#include <time.h>

static void cell(gr_cli_table *t, gr_str text)
{
    if (text.size) gr_cli_table_text(t, text);
    else gr_cli_table_none(t);
}

/* "agreed to privacy 1.2, tos 3 on 2026-05-01". */
static void print_terms(gr_buf *out, const gr_json *terms)
{
    const gr_json *agreed = gr_json_get(terms, "agreed");
    if (!agreed || agreed->count == 0) return;
    time_t at = (time_t)(gr_json_integer(gr_json_get(terms, "agreed_ts"), 0) / 1000);
    struct tm day;
    char text[16];
    gmtime_r(&at, &day);
    strftime(text, sizeof text, "%Y-%m-%d", &day);
    for (uint32_t i = 0; i < agreed->count; i++)
        gr_buf_printf(out, "%s%" GR_FMT, i ? ", " : "agreed to ", GR_ARG(gr_json_string(&agreed->items[i])));
    gr_buf_printf(out, " on %s\n", text);
}

static int print_user(gr_arena *a, gr_str answer, bool json)
{
    static const gr_cli_table_column columns[] = {
        {"DEVICE", "device_id", GR_CLI_TABLE_TEXT, 40}, {"PROVIDER", "auth_provider", GR_CLI_TABLE_TEXT, 0},
        {"SESSION THERE", "provider_session", GR_CLI_TABLE_TEXT, 40}, {"LAST SEEN FROM", "last_seen_ip", GR_CLI_TABLE_TEXT, 0},
        {"NAME", "display_name", GR_CLI_TABLE_TEXT, 40}};
    const gr_json *said = NULL;
    gr_buf out = {0};
    if (gr_failed(gr_json_parse(a, answer, GR_JSON_LAX, &said))) return gr_cli_failed("the node's answer can't be read");
    const gr_json *list = gr_json_path(said, "body/devices");
    if (!gr_json_boolean(gr_json_path(said, "body/exists"), false)) return gr_cli_failed("there is no such user here");
    gr_cli_table *table = gr_cli_table_new(columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; gr_json_is(list, GR_JSON_ARRAY) && i < list->count; i++)
        for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++)
            cell(table, gr_json_text(&list->items[i], columns[c].key));
    const gr_json *terms = gr_json_path(said, "body/terms");
    if (json) gr_buf_c(&out, "{\"terms\":"), gr_json_print(&out, terms), gr_buf_c(&out, ",\"devices\":");
    else print_terms(&out, terms);
    gr_cli_table_print(table, &out, json);
    if (json) gr_buf_c(&out, "}\n");
    gr_cli_table_free(&table);
    int code = gr_cli_print(gr_buf_view(&out));
    gr_buf_free(&out);
    return code;
}

static int run(int argc, char **argv)
{
    const char *dir = NULL, *user = NULL;
    bool json = false;
    size_t count = 0;
    gr_str answer;
    const gr_cli_option options[] = {{.name = "--dir", .value = &dir}, {.name = "--json", .flag = &json}, {0}};
    if (!gr_cli_options(&gr_cmd_user_show, argc, argv, options, &user, 1, 1, &count)) return GR_CLI_USAGE;
    gr_arena *a = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    if ((dir = gr_admin_client_dir(a, dir))) {
        gr_str path = gr_arena_printf(a, "/inspect?address=user/%" GR_FMT, GR_ARG(gr_admin_client_encoded(a, gr_str_c(user))));
        if (gr_admin_client_ask(a, dir, path.ptr, (gr_str){0}, &answer)) code = print_user(a, answer, json);
    }
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_user_show = {
    "user show", "the terms that a user agreed to, and their sessions with the identity provider each came from",
    "usage: greenroom user show @NAME:SERVER [--json] [--dir DIR]\n\n"
    "Says which terms the user agreed to, and lists the devices that are logged in.  PROVIDER is the id of the identity\n"
    "provider that vouched for the user when the session began, and - for a session that began without one.\n\n"
    "  --json         an object with terms and devices\n"
    "  --dir DIR      the data directory (else GREENROOM_DIR, ./data or the present directory)\n",
    run};
