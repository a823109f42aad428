/* cmd_trace.c - `greenroom trace`: what one request caused, from the message logs of all nodes. */
#include "edge/admin_client.h"
#include "edge/trace_source.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { FOLLOWED_MAX = 1000, LAST_MAX = 10000 };

typedef struct {
    const char *dir, *logs[GR_CLI_VALUES_MAX], *actor, *type, *since, *until, *last;
    size_t log_count;
    uint64_t traces_max;
    bool json, bodies, follow;
} request;

/* --- times: "10m" ago, or 2026-01-31T12:00:00Z, or the same without its end --- */
static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static bool read_ago(gr_str text, uint64_t *out)
{
    static const struct { char unit; uint64_t seconds; } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    uint64_t number;
    if (text.size < 2 || !gr_str_u64(gr_str_head(text, text.size - 1), &number) || number > 36500) return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (text.ptr[text.size - 1] == units[i].unit) {
            *out = now_us() - number * units[i].seconds * 1000000;
            return true;
        }
    return false;
}

static bool read_date(const char *text, uint64_t *out)
{
    static const char *const formats[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        struct tm tm = {0};
        const char *end = strptime(text, formats[i], &tm);
        if (!end || (*end && strcmp(end, "Z") != 0)) continue;
        time_t seconds = timegm(&tm);
        *out = (uint64_t)seconds * 1000000;
        return seconds > 0;
    }
    return false;
}

static bool read_time(const char *text, uint64_t *out)
{
    return !text || read_ago(gr_str_c(text), out) || read_date(text, out);
}

/* --- once, and again and again --- */
static int trace_once(gr_arena *a, gr_trace_sources *s, const gr_trace_query *q, size_t max)
{
    gr_buf out = {0};
    gr_trace_parts parts = {0};
    gr_trace_set *set = gr_trace_set_new(max);
    gr_err err = gr_trace_sources_find(s, q, max, a, set);
    gr_trace_set_trim(set);
    if (!gr_failed(err)) err = gr_trace_sources_pick(s, q, set, a, &parts);
    if (!gr_failed(err)) err = gr_trace_draw(q, &parts, a, &out);
    if (gr_failed(err)) {
        gr_buf_clear(&out);
        gr_trace_print_missing(&parts, &out);
        fwrite(out.ptr ? out.ptr : "", 1, out.size, stderr);
    }
    int code = gr_failed(err) ? gr_cli_failed("%s", err.text) : gr_cli_print(gr_buf_view(&out));
    gr_trace_set_free(&set);
    gr_buf_free(&out);
    return code;
}

/* What came since the last look; `followed` are the traces found so far. */
static int follow_once(gr_arena *a, gr_trace_sources *s, const gr_trace_query *q, gr_trace_set *followed)
{
    gr_buf out = {0};
    gr_trace_parts parts = {0};
    gr_err err = gr_trace_sources_find(s, q, FOLLOWED_MAX, a, followed);
    if (!gr_failed(err)) err = gr_trace_sources_pick(s, q, followed, a, &parts);
    int code = gr_failed(err) ? gr_cli_failed("%s", err.text) : GR_CLI_DONE;
    if (!gr_failed(err) && !gr_failed(gr_trace_draw(q, &parts, a, &out))) code = gr_cli_print(gr_buf_view(&out));
    gr_buf_free(&out);
    gr_trace_sources_go_on(s);
    return code;
}

/* Looks once a second, until it is interrupted. What is in the logs already is passed over. */
static int follow(gr_trace_sources *s, const gr_trace_query *q)
{
    gr_arena *a = gr_arena_new(0);
    gr_trace_set *followed = gr_trace_set_new(FOLLOWED_MAX), *before = gr_trace_set_new(FOLLOWED_MAX);
    gr_err err = gr_trace_sources_find(s, q, FOLLOWED_MAX, a, before);
    int code = gr_failed(err) ? gr_cli_failed("%s", err.text) : GR_CLI_DONE;
    gr_trace_sources_go_on(s);
    for (; code == GR_CLI_DONE; sleep(1)) {
        code = follow_once(a, s, q, followed);
        gr_arena_reset(a);
    }
    gr_trace_set_free(&before);
    gr_trace_set_free(&followed);
    gr_arena_free(&a);
    return code;
}

/* --- the command --- */
static int run_with(gr_arena *a, const request *r, const char *id)
{
    gr_trace_sources *s = gr_arena_alloc(a, sizeof *s);
    gr_trace_query q = {.id = gr_str_c(id),
                        .actor = gr_str_c(r->actor ? r->actor : ""),
                        .type = gr_str_c(r->type ? r->type : ""),
                        .bodies = r->bodies,
                        .json = r->json};
    if (!read_time(r->since, &q.from_us) || !read_time(r->until, &q.to_us))
        return gr_cli_misused(&gr_cmd_trace, "a time is like 10m (ago) or 2026-01-31T12:00:00Z");
    if (!gr_str_utf8(q.id) || !gr_str_utf8(q.actor) || !gr_str_utf8(q.type))
        return gr_cli_misused(&gr_cmd_trace, "this is not UTF-8");
    if (q.type.size && !gr_type_named(q.type))
        return gr_cli_misused(&gr_cmd_trace, "there is no message type %s; see docs/messages.md", r->type);
    for (size_t i = 0; i < r->log_count; i++) s->folders[s->folder_count++] = r->logs[i];
    if (r->log_count == 0) {
        const char *dir = gr_admin_client_dir(a, r->dir);
        if (!dir || !gr_trace_sources_of(s, a, dir)) return GR_CLI_FAILED;
    }
    return r->follow ? follow(s, &q) : trace_once(a, s, &q, (size_t)r->traces_max);
}

static int run(int argc, char **argv)
{
    request r = {.traces_max = GR_TRACES_MAX};
    const char *id = NULL;
    size_t count = 0;
    const gr_cli_option options[] = {
        {.name = "--dir", .value = &r.dir},     {.name = "--log", .values = r.logs, .count = &r.log_count},
        {.name = "--actor", .value = &r.actor}, {.name = "--type", .value = &r.type},
        {.name = "--since", .value = &r.since}, {.name = "--until", .value = &r.until},
        {.name = "--last", .value = &r.last},   {.name = "--json", .flag = &r.json},
        {.name = "--bodies", .flag = &r.bodies}, {.name = "--follow", .flag = &r.follow}, {0}};
    if (!gr_cli_options(&gr_cmd_trace, argc, argv, options, &id, 0, 1, &count)) return GR_CLI_USAGE;
    if (count == 0 && !r.follow && !r.actor && !r.type && !r.since)
        return gr_cli_misused(&gr_cmd_trace, "say what to trace: a trace id, event id, transaction id or room, or a filter");
    if (r.last && (!gr_str_u64(gr_str_c(r.last), &r.traces_max) || r.traces_max < 1 || r.traces_max > LAST_MAX))
        return gr_cli_misused(&gr_cmd_trace, "--last takes a number from 1 to %d", LAST_MAX);
    gr_arena *a = gr_arena_new(0);
    int code = run_with(a, &r, count ? id : "");
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_trace = {
    "trace", "draw the tree of messages that one request caused",
    "usage: greenroom trace [ID] [--actor PREFIX] [--type TYPE] [--since TIME] [--until TIME] [--last N] [--follow]\n"
    "                       [--json] [--bodies] [--dir DIR | --log FOLDER ...]\n\n"
    "ID is a trace id (from `greenroom send`), an event id, a transaction id, a room or an actor's address.  Gathers what\n"
    "the message logs of all nodes have of it and prints for each message when it came, how long it was on the wire (when\n"
    "it came from another node), queued, handled, committing and waiting for its release.  Clocks are corrected; a node that\n"
    "does not answer is named, and what the others have is printed.  Exit code 1: there is no such message.\n\n"
    "  --actor PREFIX   only messages handled by addresses that begin so, like room/\n"
    "  --type TYPE      only messages of this type\n"
    "  --since, --until only messages of this time: 90s, 10m, 2h or 1d ago, or 2026-01-31T12:00:00Z\n"
    "  --last N         of more traces the newest N (20)\n"
    "  --follow         print messages as they come, until interrupted\n"
    "  --bodies         also bodies, which are kept with message_log: full\n"
    "  --json           for programs; with --follow an object a line\n"
    "  --log FOLDER     read this (copied) folder of message logs, and ask no node; may be given several times\n"
    "  --dir DIR        the data directory (else GREENROOM_DIR, ./data or the present directory); the node need not run,\n"
    "                   but then the others can't be asked\n",
    run};
