/* outages.c - what outages of another server cost both sides, with this server's policy and with the plain one of catching up
 * after every error: `outages > docs/outages.md`, `outages --check docs/outages.md`.
 *
 * The real destination actor with a virtual clock, scripted rooms that are lines of events, and a scripted server that is
 * away for so long.  It fills gaps as servers do: what it asks for is counted.
 */
#include "actors/destination/destination.h"
#include "bus/stage.h"
#include "proto/json.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE,
    ROOMS_MAX = 200,
    MISSING_MAX = 10,                  /* events that a server asks for to fill a small gap */
    BACKFILL = 100                     /* and at a time, of a large one */
};
#define DAY (24 * (uint64_t)HOUR)

/* Events of rooms are numbered; has: the newest that the server there has without a gap before it. */
typedef struct { unsigned newest, has; } line;

typedef struct {
    gr_stage *stage;
    gr_env env;
    gr_arena *arena;
    line rooms[ROOMS_MAX];
    bool is_away, is_flying;
    gr_stage_effect flying;
    uint64_t back_ms, caught_ms;       /* when all was there; when catching up began to be due, 0: never */
    uint64_t interval_ms;              /* the wait at that moment */
    /* counted */
    uint64_t failed, transactions, sent, asked, fetched;
} world;

/* --- rooms ------------------------------------------------------------------------------------------------- */
static gr_str event_id(world *w, unsigned room, unsigned number) { return gr_arena_printf(w->arena, "$%u-%u", room, number); }

static gr_room_pdu_text event_of(world *w, gr_str id)
{
    return (gr_room_pdu_text){.event_id = id, .pdu = gr_arena_printf(w->arena, "{\"id\":\"%" GR_FMT "\"}", GR_ARG(id))};
}

static void answer_room(world *w, const gr_stage_effect *ask)
{
    gr_room_pdu_text pdus[GR_QUEUE_ITEMS];
    gr_room_outgoing out = {.pdus = {pdus, 0}};
    if (ask->type == &gr_type_room_queued) {
        const gr_room_queued *m = ask->body;
        for (size_t i = 0; i < m->event_ids.count; i++) pdus[out.pdus.count++] = event_of(w, m->event_ids.at[i]);
    } else {
        uint64_t room = 0;
        if (!gr_str_u64(gr_str_from(gr_address_id(ask->to), 1), &room)) abort();
        pdus[out.pdus.count++] = event_of(w, event_id(w, (unsigned)room, w->rooms[room].newest));
        out.position = w->rooms[room].newest;
    }
    gr_stage_answer(w->stage, ask, &gr_type_room_outgoing, &out, gr_ok());
}

static void look(world *w)
{
    gr_stage_effect asks[GR_QUEUE_ITEMS];
    size_t count = gr_stage_sent(w->stage, GR_ASK, NULL);
    for (size_t i = 0; i < count; i++) asks[i] = *gr_stage_find(w->stage, GR_ASK, NULL, i);
    for (size_t i = 0; i < count; i++) answer_room(w, &asks[i]);
    const gr_stage_effect *fetch = gr_stage_fetching(w->stage, 0);
    if (!fetch) return;
    w->flying = *fetch;
    w->is_flying = true;
}

static void say(world *w, unsigned room)
{
    unsigned number = ++w->rooms[room].newest;
    gr_destination_queue m = {.room_id = gr_arena_printf(w->arena, "!%u", room), .event_id = event_id(w, room, number),
                              .position = number, .size = 500};
    gr_stage_post(w->stage, "servers/1", &gr_type_destination_queue, &m, (gr_str){0});
    look(w);
}

/* --- the server there -------------------------------------------------------------------------------------- */
/* A gap is asked for once; a large one needs the state after it, and history when somebody reads it. */
static void fill_gap(world *w, line *room, unsigned number)
{
    unsigned gap = number - room->has - 1;
    if (gap == 0) return;
    w->asked++;
    w->fetched += gap;
    if (gap > MISSING_MAX) w->asked += 1 + (gap - MISSING_MAX + BACKFILL - 1) / BACKFILL;
}

static void take(world *w)
{
    const gr_json *body = NULL, *pdus;
    if (gr_failed(gr_json_parse(w->arena, w->flying.fetch->content, GR_JSON_LAX, &body))) abort();
    pdus = gr_json_get(body, "pdus");
    w->transactions++;
    for (uint32_t i = 0; i < pdus->count; i++) {
        unsigned room, number;
        if (sscanf(gr_json_text(&pdus->items[i], "id").ptr, "$%u-%u", &room, &number) != 2) abort();
        w->sent++;
        if (number <= w->rooms[room].has) continue;
        fill_gap(w, &w->rooms[room], number);
        w->rooms[room].has = number;
    }
}

static void come_back(world *w)
{
    const gr_destination *d = gr_stage_self(w->stage);
    bool was_dropping = d->owed.is_dropping;
    w->is_flying = false;
    if (w->is_away) w->failed++;
    else take(w);
    gr_fetched taken = {.status = 200, .body = GR_STR("{}")}, failed = {.failure = GR_FETCH_UNREACHABLE};
    gr_stage_fetched(w->stage, &w->flying, w->is_away ? &failed : &taken);
    if (d->owed.is_dropping && !was_dropping) {
        w->caught_ms = gr_stage_now(w->stage);
        w->interval_ms = d->backoff.next_ms - w->caught_ms;
    }
    look(w);
}

static void run_until(world *w, uint64_t until_ms)
{
    uint64_t due;
    bool fired;
    for (;;) {
        if (w->is_flying) {
            come_back(w);
        } else {
            if (!gr_stage_timer_set(w->stage, "send", &due) || due > until_ms) break;
            gr_stage_fire(w->stage, &fired);
            look(w);
        }
    }
    if (gr_stage_now(w->stage) < until_ms) gr_stage_clock(w->stage, until_ms);
}

static bool is_done(const world *w)
{
    for (int i = 0; i < ROOMS_MAX; i++)
        if (w->rooms[i].has < w->rooms[i].newest) return false;
    return true;
}

/* --- one outage -------------------------------------------------------------------------------------------- */
typedef struct { uint64_t outage_ms; unsigned rooms, events; } outage;

static world play(const outage *o, uint64_t catch_up_after_ms)
{
    static const unsigned char seed[GR_SIGN_SEED] = {1};
    static const gr_actor_kind *const kinds[] = {&gr_destination_kind, NULL};
    gr_signer signer;
    world *w = gr_alloc(sizeof *w);
    w->arena = gr_arena_new(0);
    if (gr_failed(gr_signer_from_seed(GR_STR("here"), GR_STR("h"), seed, &signer))) abort();
    w->env = (gr_env){.server_name = GR_STR("here"), .signer = &signer, .retry = {10 * MINUTE, 7 * DAY, 2, 0},
                      .queue = {1000, 8 << 20, catch_up_after_ms, 50}};
    w->stage = gr_stage_new(kinds, "destination/there", &w->env);
    uint64_t began = gr_stage_now(w->stage);
    w->is_away = true;
    for (unsigned i = 0; i < o->events; i++) {
        run_until(w, began + o->outage_ms * i / o->events);
        say(w, i % o->rooms);
    }
    run_until(w, began + o->outage_ms - 1);
    w->is_away = false;
    uint64_t step = SECOND;
    for (uint64_t now = began + o->outage_ms; !is_done(w); now += step) run_until(w, now);
    w->back_ms = gr_stage_now(w->stage) - began - o->outage_ms;
    if (w->caught_ms) w->caught_ms -= began;
    world result = *w;
    gr_stage_free(&w->stage);
    gr_arena_free(&w->arena);
    free(w);
    return result;
}

/* --- the page ---------------------------------------------------------------------------------------------- */
static void add_time(gr_buf *out, uint64_t ms)
{
    if (ms < 2 * MINUTE) gr_buf_printf(out, "%llu s", (unsigned long long)(ms + 500) / SECOND);
    else if (ms < 2 * HOUR) gr_buf_printf(out, "%llu min", (unsigned long long)(ms + MINUTE / 2) / MINUTE);
    else if (ms < 2 * DAY) gr_buf_printf(out, "%llu h", (unsigned long long)(ms + HOUR / 2) / HOUR);
    else gr_buf_printf(out, "%llu days", (unsigned long long)((ms + DAY / 2) / DAY));
}

static void add_costs(gr_buf *out, const world *w)
{
    gr_buf_printf(out, " | %llu | %llu | %llu | %llu", (unsigned long long)w->transactions, (unsigned long long)w->sent,
                  (unsigned long long)w->asked, (unsigned long long)w->fetched);
}

static void add_row(gr_buf *out, const outage *o)
{
    world ours = play(o, HOUR), other = play(o, 0);
    gr_buf_c(out, "| ");
    add_time(out, o->outage_ms);
    gr_buf_printf(out, " | %u in %u | %llu | ", o->events, o->rooms, (unsigned long long)ours.failed);
    add_time(out, ours.back_ms);
    gr_buf_c(out, " | ");
    if (ours.caught_ms) {
        add_time(out, ours.caught_ms);
        gr_buf_c(out, ", ");
        add_time(out, ours.interval_ms);
    } else {
        gr_buf_c(out, "no");
    }
    add_costs(out, &ours);
    add_costs(out, &other);
    gr_buf_c(out, " |\n");
}

static void print_page(gr_buf *out)
{
    static const uint64_t outages[] = {SECOND, MINUTE, 20 * MINUTE, 59 * MINUTE, 61 * MINUTE, 90 * MINUTE, DAY, 10 * DAY};
    static const struct { unsigned rooms, events; } missed[] = {{3, 12}, {3, 900}, {200, 200}, {200, 1000}};
    gr_buf_c(out,
             "# What outages of another server cost\n\n"
             "Made by `build/release/tests/outages > docs/outages.md`; a test compares. The destination actor runs with a\n"
             "virtual clock and without jitter; another server is away for so long, misses events that are spread evenly over\n"
             "that time, and says nothing itself (else it would be tried at once when it is back).\n\n"
             "- *tries*: requests that reached nobody. *back*: from the end of the outage until nothing was missing.\n"
             "- *catch-up*: after what time the queue was given up, and the wait that began then; `no`: all was sent from the "
             "queue.\n"
             "- *sent*: transactions and events that the other server took. *gaps*: requests that it made here to fill gaps, "
             "and the events it got by them: one for at most 10 events before the one it was sent; for more, also the state, and "
             "history by 100.\n"
             "- The last four columns are those of a server that catches up after every error: the newest event of each room is "
             "all that it sends.\n\n"
             "| outage | missed events, rooms | tries | back | catch-up | sent | events | gaps | events | sent | events | gaps "
             "| events |\n"
             "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof outages / sizeof outages[0]; i++)
        for (size_t k = 0; k < sizeof missed / sizeof missed[0]; k++)
            add_row(out, &(outage){outages[i], missed[k].rooms, missed[k].events});
    gr_buf_c(out,
             "\nShort outages cost the other server nothing but the events themselves: every one arrives in order, 50 in a "
             "transaction, and there is no gap to fill. Only after an hour of failures, when the next wait is longer than an "
             "hour too, does it pay to forget the queue: then the number of transactions is that of the rooms, whatever was "
             "missed. The same holds for rooms whose events are among those past the bound of the queue (1,000 events or 8 "
             "MB).\n");
}

static bool is_same(const char *path, gr_str page)
{
    gr_buf have = {0};
    FILE *in = fopen(path, "r");
    for (int c; in && (c = getc(in)) != EOF;) gr_buf_char(&have, (char)c);
    if (in) fclose(in);
    bool same = gr_str_eq(gr_buf_view(&have), page);
    gr_buf_free(&have);
    return same;
}

int main(int argc, char **argv)
{
    gr_buf page = {0};
    int code = 0;
    print_page(&page);
    if (argc == 3 && strcmp(argv[1], "--check") == 0) {
        code = !is_same(argv[2], gr_buf_view(&page));
        if (code) fprintf(stderr, "%s is old: run `build/release/tests/outages > %s`\n", argv[2], argv[2]);
    } else {
        fwrite(page.ptr, 1, page.size, stdout);
    }
    gr_buf_free(&page);
    return code;
}
