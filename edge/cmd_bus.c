/* cmd_bus.c - the bus by hand: `greenroom send`, `inspect`, `actors` and `catalogue`. */
#include "edge/admin_client.h"
#include "edge/cli_table.h"

#include "proto/json.h"
#include "proto/message.h"

#include <stdio.h>

#define DIR_HELP "  --dir DIR      the data directory (else GREENROOM_DIR, ./data or the present directory)\n"

static int print_line(gr_arena *a, gr_str text) { return gr_cli_print(gr_arena_cat(a, 2, (gr_str[]){text, GR_STR("\n")})); }

/* --- send ------------------------------------------------------------------------------------------------------ */
static int send_with(gr_arena *a, const char *dir, const char *const *plain, size_t count, bool force)
{
    const gr_json *body = NULL;
    gr_buf request = {0};
    gr_str answer;
    gr_str given = count > 2 ? gr_str_c(plain[2]) : GR_STR("{}");
    gr_err err = gr_json_parse(a, given, GR_JSON_LAX, &body);
    if (gr_failed(err)) return gr_cli_misused(&gr_cmd_send, "the body is no JSON: %s", err.text);
    if (!(dir = gr_admin_client_dir(a, dir))) return GR_CLI_FAILED;
    gr_jw w = gr_jw_begin(&request);
    gr_jw_object(&w);
    gr_jw_kc(&w, "to", plain[0]);
    gr_jw_kc(&w, "type", plain[1]);
    gr_jw_kbool(&w, "force", force);
    gr_jw_kjson(&w, "body", body);
    gr_jw_end_object(&w);
    bool good = gr_admin_client_ask(a, dir, "/send", gr_arena_str(a, gr_buf_view(&request)), &answer);
    gr_buf_free(&request);
    return good ? print_line(a, answer) : GR_CLI_FAILED;
}

static int run_send(int argc, char **argv)
{
    const char *dir = NULL, *plain[3] = {0};
    bool force = false;
    size_t count = 0;
    const gr_cli_option options[] = {{.name = "--dir", .value = &dir}, {.name = "--force", .flag = &force}, {0}};
    if (!gr_cli_options(&gr_cmd_send, argc, argv, options, plain, 2, 3, &count)) return GR_CLI_USAGE;
    gr_arena *a = gr_arena_new(0);
    int code = send_with(a, dir, plain, count, force);
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_send = {
    "send", "put a message on the bus of a running node and print the reply",
    "usage: greenroom send ADDRESS TYPE [JSON] [--force] [--dir DIR]\n\n"
    "Sends one message to an actor on whichever node, waits for its reply, and prints it with the trace id and the node\n"
    "as one line of JSON.\n"
    "  greenroom send 'room/!id' inspect\n"
    "  greenroom send echo/x echo '{\"text\":\"hello\"}'\n\n"
    "  --force        also send types that are not meant for people (see docs/messages.md)\n" DIR_HELP,
    run_send};

/* --- inspect --------------------------------------------------------------------------------------------------- */
static int run_inspect(int argc, char **argv)
{
    const char *dir = NULL, *address = NULL;
    size_t count = 0;
    gr_str answer;
    const gr_cli_option options[] = {{.name = "--dir", .value = &dir}, {.name = "--json", .flag = &(bool){false}}, {0}};
    if (!gr_cli_options(&gr_cmd_inspect, argc, argv, options, &address, 1, 1, &count)) return GR_CLI_USAGE;
    gr_arena *a = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    if ((dir = gr_admin_client_dir(a, dir))) {
        gr_str path = gr_arena_printf(a, "/inspect?address=%" GR_FMT, GR_ARG(gr_admin_client_encoded(a, gr_str_c(address))));
        if (gr_admin_client_ask(a, dir, path.ptr, (gr_str){0}, &answer)) code = print_line(a, answer);
    }
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_inspect = {
    "inspect", "show what an actor has to say of itself",
    "usage: greenroom inspect ADDRESS [--dir DIR]\n\n"
    "Prints the actor's own view of its state as JSON, and the node it is on, for example of 'room/!id',\n"
    "'user/@a:server' or feed/17.\n\n" DIR_HELP,
    run_inspect};

/* --- actors ---------------------------------------------------------------------------------------------------- */
static bool add_actors(gr_arena *a, gr_cli_table *table, const gr_admin_node_answer *of)
{
    const gr_json *list = NULL;
    if (gr_failed(gr_json_parse(a, of->answer, GR_JSON_LAX, &list)) || !gr_json_is(list, GR_JSON_ARRAY)) return false;
    for (uint32_t i = 0; i < list->count; i++) {
        const gr_json *actor = &list->items[i];
        bool suspended = gr_json_boolean(gr_json_get(actor, "suspended"), false);
        gr_cli_table_text(table, gr_json_text(actor, "address"));
        gr_cli_table_text(table, of->node);
        gr_cli_table_number(table, gr_json_integer(gr_json_get(actor, "messages"), 0));
        gr_cli_table_number(table, gr_json_integer(gr_json_get(actor, "memory"), 0));
        gr_cli_table_number(table, gr_json_integer(gr_json_get(actor, "mailbox"), 0));
        gr_cli_table_text(table, suspended                                            ? GR_STR("suspended")
                                 : gr_json_boolean(gr_json_get(actor, "busy"), false) ? GR_STR("busy")
                                                                                      : GR_STR("idle"));
    }
    return true;
}

static int list_actors(gr_arena *a, const char *dir, const char *prefix, const char *node, bool json)
{
    static const gr_cli_table_column columns[] = {
        {"ACTOR", "address", GR_CLI_TABLE_TEXT, 60},       {"NODE", "node", GR_CLI_TABLE_TEXT, 0},
        {"MESSAGES", "messages", GR_CLI_TABLE_COUNT, 0},   {"MEMORY", "memory", GR_CLI_TABLE_BYTES, 0},
        {"MAILBOX", "mailbox", GR_CLI_TABLE_COUNT, 0},     {"STATE", "state", GR_CLI_TABLE_TEXT, 0}};
    size_t count;
    gr_str path = gr_arena_printf(a, "/actors?prefix=%" GR_FMT, GR_ARG(gr_admin_client_encoded(a, gr_str_c(prefix))));
    gr_admin_node_answer *nodes = gr_admin_client_all(a, dir, path.ptr, node, &count);
    if (!nodes) return GR_CLI_FAILED;
    gr_buf out = {0};
    gr_cli_table *table = gr_cli_table_new(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < count; i++)
        if (!nodes[i].why && !add_actors(a, table, &nodes[i])) nodes[i].why = "its answer can't be read";
    gr_cli_table_sort(table, 2, true);
    gr_cli_table_print(table, &out, json);
    gr_cli_table_free(&table);
    return gr_admin_client_show(&out, nodes, count, json);
}

static int resume(gr_arena *a, const char *dir, const char *address)
{
    gr_buf request = {0};
    gr_str answer;
    gr_jw w = gr_jw_begin(&request);
    if (!gr_str_utf8(gr_str_c(address))) return gr_cli_failed("this is no address: it is not UTF-8");
    gr_jw_object(&w);
    gr_jw_kc(&w, "address", address);
    gr_jw_end_object(&w);
    bool good = gr_admin_client_ask(a, dir, "/resume", gr_buf_view(&request), &answer);
    gr_buf_free(&request);
    return good ? gr_cli_print(gr_arena_printf(a, "%s takes messages again.\n", address)) : GR_CLI_FAILED;
}

static int run_actors(int argc, char **argv)
{
    const char *dir = NULL, *prefix = NULL, *address = NULL, *node = NULL;
    bool json = false;
    size_t count = 0;
    const gr_cli_option options[] = {{.name = "--dir", .value = &dir}, {.name = "--json", .flag = &json},
                                     {.name = "--node", .value = &node}, {.name = "--resume", .value = &address}, {0}};
    if (!gr_cli_options(&gr_cmd_actors, argc, argv, options, &prefix, 0, 1, &count)) return GR_CLI_USAGE;
    gr_arena *a = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    dir = gr_admin_client_dir(a, dir);
    if (dir && address) code = resume(a, dir, address);
    else if (dir) code = list_actors(a, dir, count ? prefix : "", node, json);
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_actors = {
    "actors", "list the actors in memory, busiest first",
    "usage: greenroom actors [PREFIX] [--node NAME] [--json] [--resume ADDRESS] [--dir DIR]\n\n"
    "Lists actors of all nodes whose address begins with PREFIX (for example room/ or user/@a), at most 10,000 of each\n"
    "node, and those that are suspended because they crashed twice.  A node that does not answer is named.\n\n"
    "  --node NAME       only those of this node\n"
    "  --json            an array of objects in place of the table\n"
    "  --resume ADDRESS  let a suspended actor take messages again\n" DIR_HELP,
    run_actors};

/* --- catalogue -------------------------------------------------------------------------------------------------- */
static int run_catalogue(int argc, char **argv)
{
    gr_buf out = {0};
    size_t count = 0;
    const gr_cli_option none[] = {{0}};
    if (!gr_cli_options(&gr_cmd_catalogue, argc, argv, none, NULL, 0, 0, &count)) return GR_CLI_USAGE;
    gr_catalogue_document(&out);
    int code = gr_cli_print(gr_buf_view(&out));
    gr_buf_free(&out);
    return code;
}

const gr_cli_command gr_cmd_catalogue = {"catalogue", "print the list of all messages (docs/messages.md)",
                                         "usage: greenroom catalogue\n\nPrints what docs/messages.md contains.\n", run_catalogue};
