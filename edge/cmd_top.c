/* cmd_top.c - `greenroom top`: what a running node is doing, as rates between two looks at its counters. */
#include "edge/admin_client.h"
#include "edge/cli_table.h"

#include "proto/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { EVERY_MS = 2000, ONCE_MS = 1000, BUSIEST = 10 };

/* One look; everything lies in its arena. */
typedef struct {
    gr_arena *arena;
    gr_str text;
    const gr_json *counters, *actors;
} sample;

static bool look(const char *dir, sample *s)
{
    gr_str actors;
    s->arena = gr_arena_new(0);
    if (!gr_admin_client_ask(s->arena, dir, "/counters", (gr_str){0}, &s->text)) return false;
    if (!gr_admin_client_ask(s->arena, dir, "/actors", (gr_str){0}, &actors)) return false;
    if (!gr_failed(gr_json_parse(s->arena, s->text, GR_JSON_LAX, &s->counters))
        && !gr_failed(gr_json_parse(s->arena, actors, GR_JSON_LAX, &s->actors))
        && gr_json_is(s->actors, GR_JSON_ARRAY))
        return true;
    gr_cli_failed("the node's answer can't be read");
    return false;
}

static int64_t at(const sample *s, const char *path)
{
    return gr_json_integer(gr_json_path(s->counters, path), 0);
}

/* The growth of a counter; one that fell belongs to a node that was restarted meanwhile. */
static int64_t grown(const sample *old, const sample *new, const char *path)
{
    int64_t by = at(new, path) - at(old, path);
    return by < 0 ? at(new, path) : by;
}

static double seconds(const sample *old, const sample *new)
{
    int64_t ms = at(new, "time_ms") - at(old, "time_ms");
    return ms > 0 ? (double)ms / 1000 : 1;
}

static double rate(const sample *old, const sample *new, const char *path)
{
    return (double)grown(old, new, path) / seconds(old, new);
}

static double share(int64_t sum, int64_t count) { return count > 0 ? (double)sum / (double)count : 0; }

/* --- actors ------------------------------------------------------------------------------------------- */
typedef struct {
    gr_str address;
    int64_t by, messages, memory, mailbox;
    bool suspended;
} active;

static int by_address(const void *a, const void *b)
{
    return gr_str_cmp(((const active *)a)->address, ((const active *)b)->address);
}

static int by_activity(const void *a, const void *b)
{
    const active *x = a, *y = b;
    if (x->by != y->by) return x->by < y->by ? 1 : -1;
    if (x->messages != y->messages) return x->messages < y->messages ? 1 : -1;
    return gr_str_cmp(x->address, y->address);
}

static active *actors_of(const sample *s, size_t *count)
{
    *count = s->actors->count;
    active *list = gr_arena_alloc(s->arena, (*count + 1) * sizeof *list);
    for (size_t i = 0; i < *count; i++) {
        const gr_json *one = &s->actors->items[i];
        list[i] = (active){gr_json_text(one, "address"),
                           0,
                           gr_json_integer(gr_json_get(one, "messages"), 0),
                           gr_json_integer(gr_json_get(one, "memory"), 0),
                           gr_json_integer(gr_json_get(one, "mailbox"), 0),
                           gr_json_boolean(gr_json_get(one, "suspended"), false)};
    }
    qsort(list, *count, sizeof *list, by_address);
    return list;
}

/* Those that handled most between the two looks, at most BUSIEST. */
static active *busiest(const sample *old, const sample *new, size_t *count)
{
    size_t before_count = 0;
    active *before = actors_of(old, &before_count), *list = actors_of(new, count);
    for (size_t i = 0; i < *count; i++) {
        const active *was = bsearch(&list[i], before, before_count, sizeof *before, by_address);
        /* One that was dropped and loaded again counts anew. */
        list[i].by =
            was && was->messages <= list[i].messages ? list[i].messages - was->messages : list[i].messages;
    }
    qsort(list, *count, sizeof *list, by_activity);
    if (*count > BUSIEST) *count = BUSIEST;
    return list;
}

/* --- printing ----------------------------------------------------------------------------------------- */
static void real(gr_jw *w, const char *key, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.1f", value);
    gr_jw_kraw(w, key, gr_str_c(text));
}

static void print_json(gr_buf *out, const sample *old, const sample *new)
{
    size_t count = 0;
    const active *list = busiest(old, new, &count);
    gr_jw w = gr_jw_begin(out);
    gr_jw_object(&w);
    real(&w, "messages_per_second", rate(old, new, "node/messages"));
    real(&w, "posts_per_second", rate(old, new, "node/posts"));
    real(&w, "requests_per_second", rate(old, new, "edge/requests"));
    real(&w, "commits_per_second", rate(old, new, "store/syncs"));
    real(&w, "commit_us_mean", share(grown(old, new, "node/commit_us_sum"), grown(old, new, "node/groups")));
    real(&w, "group_messages_mean", share(grown(old, new, "node/messages"), grown(old, new, "node/groups")));
    real(&w, "request_ms_mean",
         share(grown(old, new, "edge/latency_ms_sum"), grown(old, new, "edge/answers")));
    gr_jw_key(&w, "busiest");
    gr_jw_array(&w);
    for (size_t i = 0; i < count; i++) {
        gr_jw_object(&w);
        gr_jw_kstr(&w, "address", list[i].address);
        real(&w, "messages_per_second", (double)list[i].by / seconds(old, new));
        gr_jw_kint(&w, "messages", list[i].messages);
        gr_jw_kint(&w, "memory", list[i].memory);
        gr_jw_kint(&w, "mailbox", list[i].mailbox);
        gr_jw_kbool(&w, "suspended", list[i].suspended);
        gr_jw_end_object(&w);
    }
    gr_jw_end_array(&w);
    gr_jw_kraw(&w, "counters", new->text);
    gr_jw_end_object(&w);
    gr_buf_char(out, '\n');
}

static void amount(gr_buf *out, gr_cli_table_kind kind, int64_t n, size_t width)
{
    gr_buf text = {0};
    gr_cli_table_amount(&text, kind, n);
    gr_buf_printf(out, "%*.*s", (int)width, (int)text.size, text.ptr);
    gr_buf_free(&text);
}

typedef struct {
    const char *title;
    gr_cli_table_kind kind;
    double value;
} number;

/* Two columns of numbers with their names. */
static void print_numbers(gr_buf *out, const number *list, size_t count)
{
    size_t rows = (count + 1) / 2;
    for (size_t row = 0; row < rows; row++)
        for (size_t side = 0; side < 2; side++) {
            size_t i = row + side * rows;
            if (i < count) {
                gr_buf_printf(out, "%s%-24s", side ? "    " : "", list[i].title);
                amount(out, list[i].kind, (int64_t)(list[i].value + 0.5), 12);
            }
            if (side) gr_buf_char(out, '\n');
        }
}

static void print_busiest(gr_buf *out, const sample *old, const sample *new)
{
    static const gr_cli_table_column columns[] = {
        {"BUSIEST ACTORS", "address", GR_CLI_TABLE_TEXT, 50}, {"MESSAGES/S", "rate", GR_CLI_TABLE_COUNT, 0},
        {"MESSAGES", "messages", GR_CLI_TABLE_COUNT, 0},      {"MEMORY", "memory", GR_CLI_TABLE_BYTES, 0},
        {"MAILBOX", "mailbox", GR_CLI_TABLE_COUNT, 0},        {"", "state", GR_CLI_TABLE_TEXT, 0}};
    size_t count = 0;
    const active *list = busiest(old, new, &count);
    gr_cli_table *table = gr_cli_table_new(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < count; i++) {
        gr_cli_table_text(table, list[i].address);
        gr_cli_table_number(table, (int64_t)((double)list[i].by / seconds(old, new) + 0.5));
        gr_cli_table_number(table, list[i].messages);
        gr_cli_table_number(table, list[i].memory);
        gr_cli_table_number(table, list[i].mailbox);
        gr_cli_table_text(table, list[i].suspended ? GR_STR("suspended") : GR_STR(""));
    }
    gr_cli_table_print(table, out, false);
    gr_cli_table_free(&table);
}

static void print_text(gr_buf *out, const sample *old, const sample *new)
{
    bool writable = gr_json_boolean(gr_json_path(new->counters, "store/writable"), true);
    const number numbers[] = {
        {"requests/s", GR_CLI_TABLE_COUNT, rate(old, new, "edge/requests")},
        {"mean time of a request", GR_CLI_TABLE_US,
         1000 * share(grown(old, new, "edge/latency_ms_sum"), grown(old, new, "edge/answers"))},
        {"messages/s", GR_CLI_TABLE_COUNT, rate(old, new, "node/messages")},
        {"posts/s", GR_CLI_TABLE_COUNT, rate(old, new, "node/posts")},
        {"commits/s", GR_CLI_TABLE_COUNT, rate(old, new, "store/syncs")},
        {"mean time of a commit", GR_CLI_TABLE_US,
         share(grown(old, new, "node/commit_us_sum"), grown(old, new, "node/groups"))},
        {"messages in a group", GR_CLI_TABLE_COUNT,
         share(grown(old, new, "node/messages"), grown(old, new, "node/groups"))},
        {"largest group so far", GR_CLI_TABLE_COUNT, (double)at(new, "node/group_messages_max")},
        {"actors in memory", GR_CLI_TABLE_COUNT, (double)at(new, "node/actors")},
        {"memory of actors", GR_CLI_TABLE_BYTES, (double)at(new, "node/actors_memory")},
        {"memory of the process", GR_CLI_TABLE_BYTES, (double)at(new, "memory")},
        {"messages in mailboxes", GR_CLI_TABLE_COUNT, (double)at(new, "node/mailbox_depth")},
        {"posts in the outbox", GR_CLI_TABLE_COUNT, (double)at(new, "node/outbox")},
        {"timers", GR_CLI_TABLE_COUNT, (double)at(new, "node/timers")},
        {"dead letters", GR_CLI_TABLE_COUNT, (double)at(new, "node/dead_letters")},
        {"suspended actors", GR_CLI_TABLE_COUNT, (double)at(new, "node/suspended_actors")}};
    gr_buf_printf(out, "Greenroom %" GR_FMT "%s\n\n", GR_ARG(gr_json_text(new->counters, "server_name")),
                  writable ? "" : "    THE STORE TAKES NO WRITES: look at the disk and the log");
    print_numbers(out, numbers, sizeof numbers / sizeof numbers[0]);
    gr_buf_char(out, '\n');
    print_busiest(out, old, new);
}

/* --- the command -------------------------------------------------------------------------------------- */
static void pause_ms(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL); }

static int show(const sample *old, const sample *new, bool json, bool clear)
{
    gr_buf out = {0};
    if (clear) gr_buf_c(&out, "\033[H\033[J");
    if (json) print_json(&out, old, new);
    else print_text(&out, old, new);
    int code = gr_cli_print(gr_buf_view(&out));
    gr_buf_free(&out);
    return code;
}

static int watch(const char *dir, bool once, bool json)
{
    sample old = {0}, new = {0};
    bool clear = !once && !json && isatty(STDOUT_FILENO);
    int code = look(dir, &old) ? GR_CLI_DONE : GR_CLI_FAILED;
    for (bool first = true; code == GR_CLI_DONE; first = false) {
        pause_ms(first ? ONCE_MS : EVERY_MS);
        code = look(dir, &new) ? show(&old, &new, json, clear) : GR_CLI_FAILED;
        gr_arena_free(&old.arena);
        old = new;
        new = (sample){0};
        if (once) break;
    }
    gr_arena_free(&old.arena);
    gr_arena_free(&new.arena);
    return code;
}

static int run(int argc, char **argv)
{
    const char *dir = NULL;
    bool once = false, json = false;
    size_t count = 0;
    const gr_cli_option options[] = {{.name = "--dir", .value = &dir},
                                     {.name = "--once", .flag = &once},
                                     {.name = "--json", .flag = &json},
                                     {0}};
    if (!gr_cli_options(&gr_cmd_top, argc, argv, options, NULL, 0, 0, &count)) return GR_CLI_USAGE;
    gr_arena *a = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    if ((dir = gr_admin_client_dir(a, dir))) code = watch(dir, once, json);
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_top = {
    "top", "watch what a running node is doing",
    "usage: greenroom top [--once] [--json] [--dir DIR]\n\n"
    "Shows every 2 seconds, until interrupted, what the node did since: requests, messages, commits, memory, "
    "what waits,\n"
    "and the busiest actors.\n\n"
    "  --once         once, over one second\n"
    "  --json         a line of JSON each time, with all counters\n"
    "  --dir DIR      the data directory (else GREENROOM_DIR, ./data or the present directory)\n",
    run};
