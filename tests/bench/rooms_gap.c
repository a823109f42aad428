/* rooms_gap.c - a gap in a room of 20,000 state events with 40,000 further auth events, all but 100 of each here: what it costs
 * to take an event after it, beside reading all of the state and its auth chain. */
#include "tests/bench/rooms.h"

#include "actors/room/given.h"
#include "actors/room/receive.h"

#include <stdio.h>
#include <stdlib.h>

enum { MEMBERS = 20000, LACKING = 100, STEP = 8 };

typedef struct {
    bench_room *b;
    uint64_t create, join, powers, rules, root, last_join;
    gr_strs state, auth;               /* as /state_ids tells them */
    gr_strs texts, ids;                /* of events that are not here, auth events first */
} gap_bench;

/* --- the room ------------------------------------------------------------------------------------------------ */
static uint64_t put(gap_bench *g, const char *sender, const char *type, const char *key, const char *content, uint64_t before)
{
    bench_event e = {sender, type, key, content, {0}, g->root, true};
    const uint64_t auth[] = {g->create, g->powers, g->rules, before};
    for (size_t i = 0, n = 0; i < sizeof auth / sizeof auth[0]; i++)
        if (auth[i]) e.auth[n++] = auth[i];
    gr_room_record r = bench_store(g->b, &e);
    g->root = r.state_after;
    return r.number;
}

static gr_str id_of(gap_bench *g, uint64_t number)
{
    return gr_arena_printf(g->b->long_arena, "$event%038llu", (unsigned long long)number);
}

static void add(gr_strs *list, gr_str id) { list->at[list->count++] = id; }

/* An event that another server has: it cites the four, and the one before of its member. */
static gr_str put_elsewhere(gap_bench *g, const char *user, const char *id, gr_str before, gr_strs prevs, const char *type)
{
    gr_event_built built;
    gr_str auth[4] = {id_of(g, g->create), id_of(g, g->powers), before, id_of(g, g->rules)};
    bool is_member = strcmp(type, "m.room.member") == 0;
    gr_event_fields fields = {.version = g->b->room->version, .room_id = g->b->room->id, .sender = gr_str_c(user),
                              .type = gr_str_c(type), .has_state_key = is_member, .state_key = gr_str_c(is_member ? user : ""),
                              .content = GR_STR("{\"membership\":\"join\",\"displayname\":\"Renamed\"}"), .prev_events = prevs,
                              .auth_events = {auth, is_member ? 4 : 3}, .depth = 100000, .origin_server_ts = 1700001000000};
    bench_need(!gr_failed(gr_event_template(g->b->long_arena, &fields, &built.text)), "an event from elsewhere");
    gr_str name = gr_arena_str(g->b->long_arena, gr_str_c(id));
    add(&g->texts, built.text);
    add(&g->ids, name);
    return name;
}

static void put_member(gap_bench *g, size_t i)
{
    static const char *const contents[] = {"{\"membership\":\"join\"}", "{\"membership\":\"join\",\"displayname\":\"A\"}",
                                           "{\"membership\":\"join\",\"displayname\":\"B\"}"};
    char user[64], first[64], second[64];
    uint64_t before = 0;
    size_t here = i < MEMBERS - LACKING ? 3 : 1;
    snprintf(user, sizeof user, "@user%zu:elsewhere%zu.org", i, i % 900);
    for (size_t n = 0; n < here; n++) {
        before = put(g, user, "m.room.member", user, contents[n], before);
        add(n < 2 ? &g->auth : &g->state, id_of(g, before));
    }
    g->last_join = before;
    if (here == 3) return;
    snprintf(first, sizeof first, "$lacking%035zu", 2 * i);
    snprintf(second, sizeof second, "$lacking%035zu", 2 * i + 1);
    add(&g->auth, put_elsewhere(g, user, first, id_of(g, before), (gr_strs){0}, "m.room.member"));
    add(&g->state, put_elsewhere(g, user, second, gr_str_c(gr_str_dup(gr_str_c(first))), (gr_strs){0}, "m.room.member"));
}

static void apply_last(gap_bench *g)
{
    gr_room_record r;
    gr_event e;
    gr_room *room = g->b->room;
    bench_need(gr_room_record_at(&g->b->ctx, g->last_join, &r) && gr_room_event_of(room, g->b->arena, &r, &e), "the last join");
    gr_room_apply_key(room, &g->b->ctx, &(gr_room_moved_key){.type = e.type, .state_key = e.state_key, .number = r.number,
                      .content = e.content, .pos = room->next_pos++, .is_new = true});
}

static void make_room(gap_bench *g)
{
    const char *user = "@user:here";
    gr_room *room = g->b->room;
    gr_strs *lists[] = {&g->state, &g->auth, &g->texts, &g->ids};
    for (size_t i = 0; i < 4; i++) lists[i]->at = gr_arena_alloc(g->b->long_arena, 3 * MEMBERS * sizeof(gr_str));
    g->create = put(g, user, "m.room.create", "", "{\"room_version\":\"11\"}", 0);
    g->join = put(g, user, "m.room.member", user, "{\"membership\":\"join\"}", 0);
    g->powers = put(g, user, "m.room.power_levels", "", "{\"users\":{\"@user:here\":100}}", g->join);
    g->rules = put(g, user, "m.room.join_rules", "", "{\"join_rule\":\"public\"}", g->join);
    for (uint64_t n = g->create; n <= g->rules; n++) add(&g->state, id_of(g, n));
    for (size_t i = 0; i < MEMBERS; i++) put_member(g, i);
    bench_begin(g->b);
    room->root = g->root;              /* of the lists of members only that one is needed who speaks */
    apply_last(g);
    room->extremities = gr_alloc(GR_ROOM_EXTREMITIES_MAX * sizeof *room->extremities);
    gr_str tip = id_of(g, room->next_number - 1);
    room->extremities[room->extremity_count++] = (gr_room_extremity){room->next_number - 1, g->root, room->next_number - 1,
                                                                     gr_str_of(gr_str_dup(tip), tip.size)};
    room->depth = room->next_number;
    gr_room_save(room, &g->b->ctx);
    bench_finish(g->b);
    bench_reopen(g->b);
}

/* --- the gap ---------------------------------------------------------------------------------------------------- */
static gr_event event_at(gap_bench *g, size_t i)
{
    gr_event e;
    gr_err err = gr_event_load(g->b->arena, g->b->room->version, g->ids.at[i], g->b->room->id, g->texts.at[i], &e);
    bench_need(!gr_failed(err), "reading an event from elsewhere");
    return e;
}

static size_t look_up(gap_bench *g, gr_strs ids)
{
    size_t missing = 0;
    uint64_t number;
    for (size_t i = 0; i < ids.count; i++) missing += !gr_room_number_of(&g->b->ctx, ids.at[i], &number);
    return missing;
}

static void hold_lacking(gap_bench *g)
{
    for (size_t i = 0; i < g->ids.count; i++) {
        gr_room_received got;
        bench_begin(g->b);
        gr_event e = event_at(g, i);
        bench_need(!gr_failed(gr_room_hold(g->b->room, &g->b->ctx, &e, g->texts.at[i], &got)), "holding");
        bench_need(got.fate == GR_PDU_HELD, "holding what is allowed");
        gr_room_save(g->b->room, &g->b->ctx);
        bench_finish(g->b);
    }
}

static uint64_t make_state(gap_bench *g, uint64_t base, size_t *headers, size_t *memory)
{
    gr_room_given given;
    uint64_t root = base;
    bench_begin(g->b);
    gr_room_given_find(g->b->room, &g->b->ctx, base, g->state, &given);
    bench_need(given.missing.count == 0, "the whole state");
    *headers = given.headers;
    *memory = gr_arena_used(g->b->arena);
    uint64_t *keys = gr_arena_alloc(g->b->long_arena, (given.count + 1) * sizeof *keys);
    uint64_t *events = gr_arena_alloc(g->b->long_arena, (given.count + 1) * sizeof *events);
    if (given.count) memcpy(keys, given.keys, given.count * sizeof *keys);
    if (given.count) memcpy(events, given.events, given.count * sizeof *events);
    given.keys = keys;
    given.events = events;
    for (size_t i = 0; i < given.count; i += STEP) {
        bench_begin(g->b);
        root = gr_room_given_root(g->b->room, &g->b->ctx, root, &given, i, STEP);
        gr_room_save(g->b->room, &g->b->ctx);
        bench_finish(g->b);
    }
    return root;
}

static void receive_after(gap_bench *g, uint64_t root)
{
    gr_room_received got;
    gr_str unknown = GR_STR("$nobody_will_ever_send_this_event_again_0000");
    gr_str last = g->ids.at[g->ids.count - 1];
    char user[64];
    snprintf(user, sizeof user, "@user%d:elsewhere%d.org", MEMBERS - 1, (MEMBERS - 1) % 900);
    put_elsewhere(g, user, "$after_the_gap_00000000000000000000000000000", last, (gr_strs){&unknown, 1}, "m.room.message");
    bench_begin(g->b);
    gr_event e = event_at(g, g->ids.count - 1);
    gr_room_receiving how = {.has_before = true, .before = root};
    gr_err err = gr_room_receive(g->b->room, &g->b->ctx, &e, g->texts.at[g->texts.count - 1], &how, &got);
    if (gr_failed(err) || got.fate != GR_PDU_ACCEPTED)
        fprintf(stderr, "%s %.*s\n", err.text ? err.text : "", GR_ARG(got.why));
    bench_need(!gr_failed(err) && got.fate == GR_PDU_ACCEPTED, "the event after the gap");
    bench_finish(g->b);
}

/* Everything that was told is read and parsed, as if only bodies said what it is. */
static size_t read_all(gap_bench *g, size_t *memory)
{
    const gr_strs *lists[] = {&g->auth, &g->state};
    size_t bodies = 0;
    bench_begin(g->b);
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l]->count; i++) {
            uint64_t number;
            gr_room_record r;
            gr_event e;
            bodies += gr_room_number_of(&g->b->ctx, lists[l]->at[i], &number) && gr_room_record_at(&g->b->ctx, number, &r)
                && gr_room_event_of(g->b->room, g->b->arena, &r, &e);
        }
    *memory = gr_arena_used(g->b->arena);
    return bodies;
}

void bench_gaps(void)
{
    gap_bench g = {.b = bench_open("!gap:here")};
    size_t headers, memory, naive_memory, none;
    make_room(&g);
    bench_begin(g.b);
    double begun = bench_cpu_us();
    size_t missing = look_up(&g, g.auth) + look_up(&g, g.state);
    memory = gr_arena_used(g.b->arena);
    bench_need(missing == 2 * LACKING, "all but 100 of each");
    uint64_t parsed = g.b->room->parsed;
    hold_lacking(&g);
    size_t made;
    uint64_t root = make_state(&g, g.b->room->root, &headers, &made);
    if (made > memory) memory = made;
    receive_after(&g, root);
    double took = bench_cpu_us() - begun;
    parsed = g.b->room->parsed - parsed + g.ids.count;
    bench_reopen(g.b);
    begun = bench_cpu_us();
    size_t bodies = read_all(&g, &naive_memory);
    make_state(&g, 0, &none, &made);
    double naive = bench_cpu_us() - begun;
    bench_need(parsed <= 2000 && headers <= 25000, "at most 2,000 bodies and 25,000 headers");
    bench_tell("a gap before 20,000 state and 40,000 auth events: bodies read", (double)parsed, "");
    bench_tell("  headers read to make the state", (double)headers, "");
    bench_tell("  CPU", took / 1000, "ms");
    bench_tell("  most memory of a step", (double)memory / 1e6, "MB");
    bench_tell("the same, reading all of them: bodies read", (double)bodies, "");
    bench_tell("  CPU", naive / 1000, "ms");
    bench_tell("  most memory of a step", (double)naive_memory / 1e6, "MB");
    bench_close(&g.b);
}
