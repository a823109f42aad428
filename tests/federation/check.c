/* check.c - in the end: do all servers agree on the state of rooms, has or finds each of them every event, and has everybody got
 * their to-device messages once and in order? See fed.h.
 */
#include "tests/federation/fed.h"

#include "actors/fsck.h"
#include "proto/json.h"
#include "proto/uri.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROW_MAX = 192, ROWS_MAX = 128, PAGES_MAX = 200, FETCH_MS = 30 * 1000 };

typedef struct { char at[ROWS_MAX][ROW_MAX]; size_t count; } lines;

/* --- what waits ------------------------------------------------------------------------------------------------------- */
static bool waits(const gr_json *destination)
{
    return !destination || !gr_str_is(gr_json_text(destination, "state"), "live")
        || gr_json_integer(gr_json_get(destination, "events"), 0) || gr_json_integer(gr_json_get(destination, "edus"), 0)
        || gr_json_boolean(gr_json_get(destination, "sending"), false);
}

gr_str fed_behind(fed *f)
{
    for (unsigned i = 0; i < FED_SERVERS; i++)
        for (unsigned k = 0; k < FED_SERVERS; k++) {
            const gr_json *d = i == k ? NULL : fed_destination(f, i, k);
            if (i != k && waits(d))
                return gr_arena_printf(f->turn, "s%u for s%u: %" GR_FMT, i, k,
                                       GR_ARG(d ? gr_json_printed(f->turn, d) : GR_STR("no answer")));
        }
    return (gr_str){0};
}

/* --- state ------------------------------------------------------------------------------------------------------------ */
static int by_text(const void *a, const void *b) { return strcmp(a, b); }

static void read_state(fed *f, const fed_user *u, unsigned room, lines *out)
{
    unsigned status = 0;
    const gr_json *state = fed_call(f, u, "GET", fed_room_uri(f, room, "state"), (gr_str){0}, &status);
    out->count = 0;
    if (status != 200) fed_problem(f, "%s could not read the state of room %u: %u", u->id, room, status);
    for (uint32_t i = 0; state && i < state->count && out->count < ROWS_MAX; i++) {
        const gr_json *e = &state->items[i];
        snprintf(out->at[out->count++], ROW_MAX, "%" GR_FMT " '%" GR_FMT "' %" GR_FMT, GR_ARG(gr_json_text(e, "type")),
                 GR_ARG(gr_json_text(e, "state_key")), GR_ARG(gr_json_text(e, "event_id")));
    }
    qsort(out->at, out->count, ROW_MAX, by_text);
}

static void compare(fed *f, unsigned room, unsigned first, const lines *a, unsigned second, const lines *b)
{
    for (size_t i = 0; i < a->count || i < b->count; i++) {
        const char *in_a = i < a->count ? a->at[i] : "nothing more", *in_b = i < b->count ? b->at[i] : "nothing more";
        if (strcmp(in_a, in_b) == 0) continue;
        fed_problem(f, "state of room %u (%s): s%u has %s, s%u has %s", room, f->rooms[room], first, in_a, second, in_b);
        return;
    }
}

static void check_state(fed *f, unsigned room)
{
    lines *states = gr_alloc(2 * sizeof *states);
    int first = -1;
    for (unsigned i = 0; i < FED_SERVERS && !f->problem[0]; i++) {
        const fed_user *u = fed_member_of(f, i, room);
        if (!u) continue;
        read_state(f, u, room, &states[first >= 0]);
        if (first < 0) first = (int)i;
        else compare(f, room, (unsigned)first, &states[0], i, &states[1]);
    }
    free(states);
}

/* --- events ----------------------------------------------------------------------------------------------------------- */
/* Marks what a user finds by paging back. */
static void page_back(fed *f, const fed_user *u, unsigned room, bool *found)
{
    gr_str from = {0};
    for (unsigned page = 0; page < PAGES_MAX && !f->problem[0]; page++) {
        unsigned status = 0;
        gr_str rest = gr_arena_printf(f->turn, "messages?dir=b&limit=100%s%" GR_FMT, from.size ? "&from=" : "", GR_ARG(from));
        const gr_json *body = fed_call(f, u, "GET", fed_room_uri(f, room, rest.ptr), (gr_str){0}, &status);
        const gr_json *chunk = gr_json_get(body, "chunk");
        if (status != 200) fed_problem(f, "%s could not page back in room %u: %u", u->id, room, status);
        for (uint32_t i = 0; chunk && i < chunk->count; i++)
            for (size_t k = 0; k < f->said_count; k++)
                if (gr_str_is(gr_json_text(&chunk->items[i], "event_id"), f->said[k].id)) found[k] = true;
        from = gr_json_text(body, "end");
        if (from.size == 0) return;
    }
}

static bool fetch(fed *f, unsigned server, unsigned other, const char *event_id)
{
    gr_err err;
    gr_destination_request m = {
        .method = GR_STR("GET"), .timeout_ms = FETCH_MS,
        .uri = gr_arena_printf(f->turn, "/_matrix/federation/v1/event/%" GR_FMT,
                               GR_ARG(gr_uri_encode(f->turn, gr_str_c(event_id))))};
    gr_str to = gr_address(f->turn, GR_KIND_DESTINATION, gr_str_c(f->servers[other].name));
    return fed_ask(f, server, to, &gr_type_destination_request, &m, FETCH_MS, &gr_type_result, &err);
}

static bool can_fetch(fed *f, unsigned server, const fed_said *said)
{
    for (unsigned other = 0; other < FED_SERVERS; other++)
        if (other != server && fed_member_of(f, other, said->room) && fetch(f, server, other, said->id)) return true;
    return false;
}

static void check_events(fed *f, unsigned room, unsigned server, const fed_user *u)
{
    bool *found = gr_alloc(f->said_count * sizeof *found + 1);
    page_back(f, u, room, found);
    for (size_t i = 0; i < f->said_count && !f->problem[0]; i++) {
        const fed_said *said = &f->said[i];
        if (said->room != room || found[i]) continue;
        if (said->server == server) fed_problem(f, "s%u acknowledged %s and has lost it", server, said->id);
        else if (!can_fetch(f, server, said))
            fed_problem(f, "s%u neither has %s of s%u nor can fetch it", server, said->id, said->server);
        f->n.fetched++;
    }
    free(found);
}

/* --- to-device messages ----------------------------------------------------------------------------------------------- */
static void take_direct(fed *f, fed_user *u, const gr_json *event)
{
    unsigned from = 0, number = (unsigned)gr_json_integer(gr_json_path(event, "content/n"), 0);
    if (!gr_str_is(gr_json_text(event, "type"), "org.sim.direct")) return;
    while (from < FED_USERS && !gr_str_is(gr_json_text(event, "sender"), f->users[from].id)) from++;
    if (from == FED_USERS || number != u->direct_seen[from] + 1)
        fed_problem(f, "%s got to-device message %u of %" GR_FMT " after %u", u->id, number,
                    GR_ARG(gr_json_text(event, "sender")), from < FED_USERS ? u->direct_seen[from] : 0);
    else u->direct_seen[from] = number;
}

static void check_directs(fed *f, fed_user *u)
{
    gr_str since = {0};
    for (uint32_t count = 1; count > 0 && !f->problem[0];) {
        unsigned status = 0;
        gr_str uri = gr_arena_printf(f->turn, "/_matrix/client/v3/sync?timeout=0&set_presence=offline%s%" GR_FMT,
                                     since.size ? "&since=" : "", GR_ARG(since));
        const gr_json *body = fed_call(f, u, "GET", uri, (gr_str){0}, &status);
        const gr_json *events = gr_json_path(body, "to_device/events");
        if (status != 200) fed_problem(f, "%s could not sync: %u", u->id, status);
        count = events ? events->count : 0;
        for (uint32_t i = 0; i < count; i++) take_direct(f, u, &events->items[i]);
        since = gr_json_text(body, "next_batch");
    }
    for (unsigned i = 0; i < FED_USERS && !f->problem[0]; i++) {
        unsigned sent = f->users[i].direct_sent[u - f->users];
        if (u->direct_seen[i] != sent)
            fed_problem(f, "%s got %u of %u to-device messages of %s", u->id, u->direct_seen[i], sent, f->users[i].id);
    }
}

/* --- what lies on the disks ------------------------------------------------------------------------------------------- */
static void check_store(void *arg, gr_store *store)
{
    fed_server *s = arg;
    gr_fsck_rooms rooms = {.env = &s->env};
    gr_fsck_report report;
    gr_fsck *fsck = gr_fsck_new();
    gr_fsck_actors(fsck, &rooms);
    gr_err err = gr_fsck_run(fsck, store, NULL, NULL, &report);
    if (gr_failed(err) || report.problems)
        fed_problem(s->fed, "fsck of %s: %" GR_FMT, s->name,
                    GR_ARG(report.listed.count ? report.listed.at[0] : GR_STR("the store can't be read")));
    gr_fsck_free(&fsck);
    gr_buf_free(&rooms.uncovered);
}

static void check_stores(fed *f, fed_server *s)
{
    for (unsigned node = 0; node < s->nodes && !f->problem[0]; node++) {
        fed_server_crash(s, node, 0);
        gr_sim_offline(s->sim, node, check_store, s);
    }
}

void fed_check(fed *f)
{
    for (unsigned room = 0; room < FED_ROOMS && !f->problem[0]; room++) {
        gr_arena_reset(f->turn);
        check_state(f, room);
        for (unsigned i = 0; i < FED_SERVERS && !f->problem[0]; i++)
            if (fed_member_of(f, i, room)) check_events(f, room, i, fed_member_of(f, i, room));
    }
    for (unsigned i = 0; i < FED_USERS && !f->problem[0]; i++) check_directs(f, &f->users[i]);
    for (unsigned i = 0; i < FED_SERVERS && !f->problem[0]; i++)
        if (gr_sim_mismatches(f->servers[i].sim)) fed_problem(f, "actors of s%u were not the same after being loaded again", i);
    for (unsigned i = 0; i < FED_SERVERS && !f->problem[0]; i++) check_stores(f, &f->servers[i]);
}
