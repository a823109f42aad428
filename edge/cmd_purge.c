/* cmd_purge.c - `greenroom purge`: old history, or a whole room that nobody here needs. */
#include "edge/admin_client.h"
#include "edge/cli.h"

#include "proto/json.h"

#include <stdio.h>
#include <time.h>

enum { LOOK_EVERY_MS = 200, STATUS_NOT_FOUND = 404 };

typedef struct {
    gr_arena *arena;
    const char *dir, *room, *before;
    bool whole, force, json, quick;
} purge;

/* --- asking the room ------------------------------------------------------------------------------------------ */
/* False after it has said what is wrong.  *answer is NULL when there is no such room (any more). */
static bool ask(const purge *p, const char *type, gr_str body, const gr_json **answer)
{
    gr_arena *a = p->arena;
    gr_buf request = {0};
    const gr_json *reply = NULL;
    gr_jw w = gr_jw_begin(&request);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "to", gr_arena_cat(a, 2, (gr_str[]){GR_STR("room/"), gr_str_c(p->room)}));
    gr_jw_kc(&w, "type", type);
    gr_jw_kraw(&w, "body", body);
    gr_jw_end_object(&w);
    gr_admin_call call = {.path = "/send", .body = gr_arena_str(a, gr_buf_view(&request))};
    gr_buf_free(&request);
    gr_admin_client_calls(a, p->dir, &call, 1);
    gr_err err = call.err;
    *answer = NULL;
    if (!gr_failed(err)) err = gr_json_parse(a, call.answer, GR_JSON_LAX, &reply);
    if (gr_failed(err)) {
        gr_cli_failed("%s", err.text);
        return false;
    }
    if (call.status == STATUS_NOT_FOUND && gr_str_is(gr_json_text(reply, "errcode"), "M_NOT_FOUND")) return true;
    if (call.status >= 400) {
        gr_cli_failed("%" GR_FMT, GR_ARG(gr_json_text(reply, "error")));
        return false;
    }
    *answer = gr_json_get(reply, "body");
    return true;
}

/* A day (UTC) or an event.  False: neither. */
static bool write_end(gr_jw *w, const char *before)
{
    struct tm day = {0};
    if (before[0] == '$') {
        gr_jw_kc(w, "event_id", before);
        return true;
    }
    const char *rest = strptime(before, "%Y-%m-%d", &day);
    time_t seconds = rest && !*rest ? timegm(&day) : -1;
    if (seconds <= 0) return false;
    gr_jw_kint(w, "before_ts", (int64_t)seconds * 1000);
    return true;
}

static bool begin(const purge *p, const gr_json **answer)
{
    gr_buf body = {0};
    gr_jw w = gr_jw_begin(&body);
    gr_jw_object(&w);
    if (p->whole) gr_jw_kbool(&w, "force", p->force);
    bool good = p->whole || write_end(&w, p->before);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(p->arena, gr_buf_view(&body));
    gr_buf_free(&body);
    if (!good) {
        gr_cli_failed("--before is a day like 2024-01-31, or the id of an event");
        return false;
    }
    return ask(p, p->whole ? "room_purge_room" : "room_purge_history", text, answer);
}

/* --- telling ---------------------------------------------------------------------------------------------------- */
static uint64_t number(const gr_json *answer, const char *key) { return (uint64_t)gr_json_integer(gr_json_get(answer, key), 0); }

static bool is_over(const gr_json *answer) { return !answer || gr_str_is(gr_json_text(answer, "purging"), "nothing"); }

static void tell(const purge *p, const gr_json *answer)
{
    if (p->json || !answer) return;
    if (p->whole) fprintf(stderr, "\r%llu rows are gone ", (unsigned long long)number(answer, "done"));
    else fprintf(stderr, "\r%llu events are gone; position %llu of %llu ", (unsigned long long)number(answer, "done"),
                 (unsigned long long)number(answer, "next"), (unsigned long long)number(answer, "until"));
    fflush(stderr);
}

static int tell_end(const purge *p, bool over, uint64_t done)
{
    const char *what = p->whole ? "rows" : "events";
    if (p->json)
        return gr_cli_print(gr_arena_printf(p->arena, "{\"room\":\"%s\",\"done\":%s,\"%s\":%llu}\n", p->room,
                                            over ? "true" : "false", what, (unsigned long long)done));
    if (!over) return gr_cli_print(GR_STR("It goes on by itself; the same command shows how far it is.\n"));
    return gr_cli_print(gr_arena_printf(p->arena, "\nDone: %llu %s.\n", (unsigned long long)done, what));
}

static int follow(const purge *p)
{
    const gr_json *answer;
    const struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000L};
    uint64_t done = 0;
    if (!begin(p, &answer)) return GR_CLI_FAILED;
    if (!answer) return gr_cli_failed("there is no room %s on this server", p->room);
    while (!is_over(answer)) {
        done = number(answer, "done");
        tell(p, answer);
        if (p->quick) return tell_end(p, false, done);
        nanosleep(&pause, NULL);
        if (!ask(p, "room_purge_status", GR_STR("{}"), &answer)) return GR_CLI_FAILED;
    }
    return tell_end(p, true, done);
}

static int run(int argc, char **argv)
{
    purge p = {0};
    const char *plain[2] = {0};
    size_t count = 0;
    const gr_cli_option options[] = {{.name = "--dir", .value = &p.dir}, {.name = "--before", .value = &p.before},
                                     {.name = "--force", .flag = &p.force}, {.name = "--json", .flag = &p.json},
                                     {.name = "--no-wait", .flag = &p.quick}, {0}};
    if (!gr_cli_options(&gr_cmd_purge, argc, argv, options, plain, 2, 2, &count)) return GR_CLI_USAGE;
    p.whole = strcmp(plain[0], "room") == 0;
    p.room = plain[1];
    if (!p.whole && strcmp(plain[0], "history") != 0)
        return gr_cli_misused(&gr_cmd_purge, "say history or room, not %s", plain[0]);
    if (p.whole == (p.before != NULL))
        return gr_cli_misused(&gr_cmd_purge, p.whole ? "a whole room takes no --before" : "say --before which day or event");
    p.arena = gr_arena_new(0);
    int code = (p.dir = gr_admin_client_dir(p.arena, p.dir)) ? follow(&p) : GR_CLI_FAILED;
    gr_arena_free(&p.arena);
    return code;
}

const gr_cli_command gr_cmd_purge = {
    "purge", "take away a room's old history, or a room that nobody here needs",
    "usage: greenroom purge history ROOM_ID --before DAY|EVENT_ID [--no-wait] [--json] [--dir DIR]\n"
    "       greenroom purge room ROOM_ID [--force] [--no-wait] [--json] [--dir DIR]\n\n"
    "What is to go can no longer be seen at once; its rows are deleted by and by, also across restarts.\n\n"
    "  history        messages before a day (UTC, like 2024-01-31) or an event; state and the last day stay\n"
    "  room           all of a room that no user of this server is in or invited to, and that all have forgotten\n"
    "  --force        the room also when some who left have not forgotten it: they forget it now\n"
    "  --no-wait      do not wait until it is done; the same command shows how far it is\n"
    "  --json         the result as an object, and no progress\n"
    "  --dir DIR      the data directory (else GREENROOM_DIR, ./data or the present directory)\n",
    run};
