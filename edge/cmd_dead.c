/* cmd_dead.c - `greenroom dead`: posts that could not be applied. */
#include "edge/admin_client.h"
#include "edge/cli_table.h"

#include "proto/address.h"
#include "proto/json.h"

static bool add_letters(gr_arena *a, gr_cli_table *table, const gr_admin_node_answer *of)
{
    const gr_json *letters = NULL;
    if (gr_failed(gr_json_parse(a, of->answer, GR_JSON_LAX, &letters)) || !gr_json_is(letters, GR_JSON_ARRAY)) return false;
    for (uint32_t i = 0; i < letters->count; i++) {
        const gr_json *letter = &letters->items[i];
        gr_cli_table_text(table,
                          gr_arena_printf(a, "%lld/%lld",
                                          (long long)gr_json_integer(gr_json_get(letter, "shard"), 0),
                                          (long long)gr_json_integer(gr_json_get(letter, "number"), 0)));
        gr_cli_table_text(table, of->node);
        gr_cli_table_text(table, gr_json_text(letter, "from"));
        gr_cli_table_text(table, gr_json_text(letter, "to"));
        gr_cli_table_text(table, gr_json_text(letter, "type"));
        gr_cli_table_number(table, gr_json_integer(gr_json_get(letter, "size"), 0));
        gr_cli_table_text(table, gr_json_text(letter, "reason"));
    }
    return true;
}

static int list(gr_arena *a, const char *dir, bool json)
{
    static const gr_cli_table_column columns[] = {
        {"LETTER", "letter", GR_CLI_TABLE_TEXT, 0}, {"NODE", "node", GR_CLI_TABLE_TEXT, 0},
        {"FROM", "from", GR_CLI_TABLE_TEXT, 48},    {"TO", "to", GR_CLI_TABLE_TEXT, 48},
        {"TYPE", "type", GR_CLI_TABLE_TEXT, 0},     {"SIZE", "size", GR_CLI_TABLE_BYTES, 0},
        {"REASON", "reason", GR_CLI_TABLE_TEXT, 0}};
    size_t count;
    gr_admin_node_answer *nodes = gr_admin_client_all(a, dir, "/dead", NULL, &count);
    if (!nodes) return GR_CLI_FAILED;
    gr_buf out = {0};
    gr_cli_table *table = gr_cli_table_new(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < count; i++)
        if (!nodes[i].why && !add_letters(a, table, &nodes[i])) nodes[i].why = "its answer can't be read";
    if (gr_cli_table_rows(table) > 0 || json) gr_cli_table_print(table, &out, json);
    else gr_buf_c(&out, "There are no dead letters.\n");
    gr_cli_table_free(&table);
    return gr_admin_client_show(&out, nodes, count, json);
}

static bool read_letter(const char *text, uint64_t *shard, uint64_t *number)
{
    gr_str all = gr_str_c(text);
    ptrdiff_t slash = gr_str_find(all, '/');
    return slash > 0 && gr_str_u64(gr_str_head(all, (size_t)slash), shard) && *shard < GR_SHARDS
           && gr_str_u64(gr_str_from(all, (size_t)slash + 1), number) && *number < INT64_MAX;
}

static int act(gr_arena *a, const char *dir, const char *what, uint64_t shard, uint64_t number)
{
    gr_str answer, request = gr_arena_printf(a, "{\"act\":\"%s\",\"shard\":%llu,\"number\":%llu}", what,
                                             (unsigned long long)shard, (unsigned long long)number);
    if (!gr_admin_client_ask(a, dir, "/dead", request, &answer)) return GR_CLI_FAILED;
    return gr_cli_print(strcmp(what, "drop") == 0
                            ? GR_STR("Dropped.\n")
                            : GR_STR("Tried again: see `greenroom dead list` whether it worked.\n"));
}

static int run(int argc, char **argv)
{
    const char *dir = NULL, *plain[2] = {0};
    bool json = false;
    size_t count = 0;
    uint64_t shard = 0, number = 0;
    const gr_cli_option options[] = {
        {.name = "--dir", .value = &dir}, {.name = "--json", .flag = &json}, {0}};
    if (!gr_cli_options(&gr_cmd_dead, argc, argv, options, plain, 1, 2, &count)) return GR_CLI_USAGE;
    bool is_list = strcmp(plain[0], "list") == 0;
    if (!is_list && strcmp(plain[0], "retry") != 0 && strcmp(plain[0], "drop") != 0)
        return gr_cli_misused(&gr_cmd_dead, "say list, retry or drop, not %s", plain[0]);
    if (is_list && count == 2) return gr_cli_misused(&gr_cmd_dead, "list takes nothing more");
    if (!is_list && (count != 2 || !read_letter(plain[1], &shard, &number)))
        return gr_cli_misused(&gr_cmd_dead, "name the letter as list shows it, like 17/3");
    gr_arena *a = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    if ((dir = gr_admin_client_dir(a, dir)))
        code = is_list ? list(a, dir, json) : act(a, dir, plain[0], shard, number);
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_dead = {
    "dead", "list, retry or drop messages that could not be applied",
    "usage: greenroom dead list [--json] [--dir DIR]\n"
    "       greenroom dead retry|drop SHARD/NUMBER [--dir DIR]\n\n"
    "A durable message that its actor cannot apply (of an unknown type, undecodable, or twice the cause of a "
    "crash) is set\n"
    "aside with the reason, so that those behind it go on.\n\n"
    "  list           what there is on all nodes, at most 1,000 of each\n"
    "  retry          hand it to its actor once more; it is gone when that works\n"
    "  drop           forget it\n"
    "  --json         an array of objects in place of the table\n"
    "  --dir DIR      the data directory (else GREENROOM_DIR, ./data or the present directory)\n",
    run};
