/* rooms_chain.c - the auth difference of two branches in a room of 20,000 state events: by the chain cover, and
 * by walking the events. */
#include "tests/bench/rooms.h"

#include <stdio.h>
#include <stdlib.h>

enum { EVENTS = 20000, RUNS = 5, MODERATORS = 20, BRANCHES = 2, MEMBERS_MAX = EVENTS };

typedef struct { uint64_t root, powers, rules; uint64_t *member; } branch;     /* member: event by user */

typedef struct {
    bench_room *b;
    uint64_t create;
    branch at[BRANCHES];
    size_t users;
    gr_u64s states[BRANCHES], common;
} chain_bench;

/* --- a room's history ---------------------------------------------------------------------------------- */
static uint64_t put(chain_bench *c, branch *at, const char *sender, const char *type, const char *key,
                    const char *content, const uint64_t *auth, size_t count)
{
    bench_event e = {sender, type, key, content, {c->create}, at->root, true};
    size_t n = c->create ? 1 : 0;
    for (size_t i = 0; i < count; i++)
        if (auth[i]) e.auth[n++] = auth[i];
    gr_room_record r = bench_store(c->b, &e);
    at->root = r.state_after;
    return r.number;
}

static void user_name(char out[32], size_t user) { snprintf(out, 32, "@u%zu:example.org", user); }

static void put_member(chain_bench *c, branch *at, size_t sender, size_t user, const char *membership)
{
    char by[32], whom[32], content[64];
    user_name(by, sender);
    user_name(whom, user);
    snprintf(content, sizeof content, "{\"membership\":\"%s\"}", membership);
    uint64_t auth[] = {at->powers, at->rules, at->member[sender], sender == user ? 0 : at->member[user]};
    at->member[user] = put(c, at, by, "m.room.member", whom, content, auth, 4);
}

static void put_powers(chain_bench *c, branch *at, size_t by)
{
    char user[32], content[64];
    user_name(user, by);
    snprintf(content, sizeof content, "{\"users\":{\"@u0:example.org\":100},\"ban\":%d}", (int)bench_draw(c->b, 100));
    uint64_t auth[] = {at->member[by], at->powers};
    at->powers = put(c, at, user, "m.room.power_levels", "", content, auth, 2);
}

static void put_other(chain_bench *c, branch *at, size_t by, const char *type, const char *content)
{
    char user[32];
    user_name(user, by);
    uint64_t auth[] = {at->powers, at->member[by]}, number = put(c, at, user, type, "", content, auth, 2);
    if (gr_str_is(gr_str_c(type), "m.room.join_rules")) at->rules = number;
}

/* Joins, invites, changes of profile, comings and goings, and now and then other state. */
static void step(chain_bench *c, branch *at)
{
    uint64_t dice = bench_draw(c->b, 1000);
    size_t moderator = bench_draw(c->b, MODERATORS < c->users ? MODERATORS : c->users);
    size_t someone = bench_draw(c->b, c->users);
    if (!at->member[someone]) someone = 0;
    if (!at->member[moderator]) moderator = 0;
    if (dice < 10) put_powers(c, at, moderator);
    else if (dice < 12) put_other(c, at, moderator, "m.room.join_rules", "{\"join_rule\":\"public\"}");
    else if (dice < 30) put_other(c, at, moderator, "m.room.topic", "{\"topic\":\"Something else\"}");
    else if (dice < 600) put_member(c, at, c->users, c->users, "join"), c->users++;
    else if (dice < 700) put_member(c, at, someone, c->users, "invite"), c->users++;
    else if (dice < 900) put_member(c, at, someone, someone, "join");
    else put_member(c, at, moderator, someone, "leave");
}

static void make_room(chain_bench *c, size_t fork)
{
    c->b = bench_open("!chains:here");
    for (size_t i = 0; i < BRANCHES; i++) c->at[i].member = gr_alloc(MEMBERS_MAX * sizeof(uint64_t));
    branch *trunk = &c->at[0];
    c->create = put(c, trunk, "@u0:example.org", "m.room.create", "", "{\"room_version\":\"11\"}", NULL, 0);
    c->users = 1;
    put_member(c, trunk, 0, 0, "join");
    put_powers(c, trunk, 0);
    put_other(c, trunk, 0, "m.room.join_rules", "{\"join_rule\":\"public\"}");
    while (c->b->room->next_number <= fork) step(c, trunk);
    uint64_t *own = c->at[1].member;
    memcpy(own, trunk->member, MEMBERS_MAX * sizeof *own);
    c->at[1] = *trunk;
    c->at[1].member = own;
    while (c->b->room->next_number <= EVENTS) step(c, &c->at[bench_draw(c->b, BRANCHES)]);
    bench_reopen(c->b);
}

/* --- what the states are ------------------------------------------------------------------------------- */
static bool on_differing(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    chain_bench *c = arg;
    (void)key;
    c->states[0].at[c->states[0].count++] = before;
    c->states[1].at[c->states[1].count++] = after;
    return true;
}

typedef struct { chain_bench *c; gr_trie *trie; } common_search;

static bool on_entry(void *arg, uint64_t key, uint64_t event)
{
    common_search *s = arg;
    if (gr_trie_get(s->trie, s->c->at[1].root, key) == event) s->c->common.at[s->c->common.count++] = event;
    return true;
}

static void find_states(chain_bench *c)
{
    gr_room_nodes nodes;
    bench_begin(c->b);
    gr_trie trie = gr_room_trie(&nodes, c->b->room, &c->b->ctx);
    for (size_t i = 0; i < BRANCHES; i++) c->states[i].at = gr_alloc(EVENTS * sizeof(uint64_t));
    c->common.at = gr_alloc(EVENTS * sizeof(uint64_t));
    gr_trie_diff(&trie, c->at[0].root, c->at[1].root, on_differing, c);
    gr_trie_each(&trie, c->at[0].root, on_entry, &(common_search){c, &trie});
}

static gr_u64s common_above(void *arg, uint64_t number)
{
    chain_bench *c = arg;
    gr_u64s out = {gr_arena_alloc(c->b->arena, (c->common.count + 1) * sizeof(uint64_t)), 0};
    for (size_t i = 0; i < c->common.count; i++)
        if (c->common.at[i] > number) out.at[out.count++] = c->common.at[i];
    return out;
}

/* --- the walk ------------------------------------------------------------------------------------------ */
/* From the newest event down: which states have each in their auth chains.  It ends when all that is left is in all. */
typedef struct {
    uint8_t mask[EVENTS + 2], of_state[EVENTS + 2];
    size_t unsettled;          /* met, not read, and not in all chains */
    uint64_t oldest;           /* that may be in question */
} walk;

static void meet_auth(chain_bench *c, walk *w, uint64_t number, uint8_t mask)
{
    gr_room_record r;
    gr_event e;
    bench_need(gr_room_record_at(&c->b->ctx, number, &r)
                   && gr_room_event_of(c->b->room, c->b->arena, &r, &e), "reading an event");
    for (size_t i = 0; i < e.auth_events.count; i++) {
        uint64_t a;
        bench_need(gr_room_number_of(&c->b->ctx, e.auth_events.at[i], &a), "an auth event");
        if ((w->mask[a] | mask) == w->mask[a]) continue;
        w->unsettled -= w->mask[a] == 1 || w->mask[a] == 2;
        w->mask[a] |= mask;
        w->unsettled += w->mask[a] != 3;
    }
}

static size_t walk_difference(chain_bench *c)
{
    walk *w = gr_alloc(sizeof *w);
    size_t count = 0, waiting = 0;
    for (size_t i = 0; i < BRANCHES; i++)
        for (size_t k = 0; k < c->states[i].count; k++) {
            waiting += c->states[i].at[k] && !w->of_state[c->states[i].at[k]];
            w->of_state[c->states[i].at[k]] |= (uint8_t)(1 << i);
        }
    for (size_t i = 0; i < c->common.count; i++) w->of_state[c->common.at[i]] = 3;
    for (uint64_t n = EVENTS + 1; n > 0 && (waiting || w->unsettled); n--) {
        uint8_t own = w->of_state[n], mask = w->mask[n] | own;
        waiting -= own == 1 || own == 2;
        if (w->mask[n] == 1 || w->mask[n] == 2) {
            count++;
            w->unsettled--;
        }
        if (mask) meet_auth(c, w, n, mask);
    }
    free(w);
    return count;
}

/* --- results ------------------------------------------------------------------------------------------- */
static void measure(size_t fork, const char *name)
{
    chain_bench c = {0};
    double covered = 0, walked = 0;
    char text[128];
    make_room(&c, fork);
    find_states(&c);
    gr_chain chain = gr_room_chain(&c.b->ctx);
    for (size_t i = 0; i < RUNS; i++) {
        gr_u64s found;
        bench_begin(c.b);
        double begun = bench_cpu_us();
        bool known = gr_chain_difference(&chain, c.b->arena,
                                         &(gr_chain_states){c.states, BRANCHES, common_above, &c}, &found);
        covered += bench_cpu_us() - begun;
        bench_begin(c.b);
        begun = bench_cpu_us();
        size_t count = walk_difference(&c);
        walked += bench_cpu_us() - begun;
        bench_need(known && found.count == count, "the same difference by index and by walk");
        if (i == 0) {
            snprintf(text, sizeof text, "auth difference, 20,000 state events, %s: its size", name);
            bench_tell(text, (double)count, "events");
        }
    }
    const struct { const char *what; double value; const char *unit; } rows[] = {
        {"keys in conflict", (double)c.states[0].count, ""},
        {"by chain cover", covered / RUNS / 1000, "ms"},
        {"by walking events", walked / RUNS / 1000, "ms"},
        {"the walk takes longer by a factor of", walked / covered, ""}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(text, sizeof text, "  %s, %s", name, rows[i].what);
        bench_tell(text, rows[i].value, rows[i].unit);
    }
    for (size_t i = 0; i < BRANCHES; i++) {
        free(c.at[i].member);
        free(c.states[i].at);
    }
    free(c.common.at);
    bench_close(&c.b);
}

/* Rows c and C with their whole keys. */
static bool on_row(void *arg, gr_str key, gr_str value)
{
    double *sum = arg;
    sum[0] += (double)value.size;
    sum[1] += (double)(key.size + value.size);
    return true;
}

static void measure_rows(void)
{
    chain_bench c = {0};
    double sums[2] = {0};
    make_room(&c, EVENTS);
    bench_begin(c.b);
    gr_ctx_scan_prefix(&c.b->ctx, GR_STR("c"), 0, on_row, sums);
    gr_ctx_scan_prefix(&c.b->ctx, GR_STR("C"), 0, on_row, sums);
    bench_tell("chain cover: bytes of rows per state event", sums[0] / EVENTS, "bytes");
    bench_tell("  keys included, but for the room's own prefix", sums[1] / EVENTS, "bytes");
    for (size_t i = 0; i < BRANCHES; i++) free(c.at[i].member);
    bench_close(&c.b);
}

void bench_chains(void)
{
    measure_rows();
    measure(EVENTS - 200, "branches of 100");
    measure(EVENTS - 5000, "branches of 2,500");
}
