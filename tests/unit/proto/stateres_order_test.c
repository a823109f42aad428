/* stateres_order_test.c - random rooms with forks, bans and fights for power, met in any order.
 *
 * Servers that get the same events in different orders number them differently and must find the same state
 * before each; and the full conflicted set must be the one that its definition gives, computed here plainly.
 */
#include "tests/unit/proto/stateres_rig.h"

enum { USERS = 6, ROOM_EVENTS = 48, ROOMS = 500, ORDERS = 3 };

static uint64_t seed_state;

static uint64_t draw(uint64_t below)
{
    seed_state ^= seed_state << 13;
    seed_state ^= seed_state >> 7;
    seed_state ^= seed_state << 17;
    return (seed_state * 0x2545f4914f6cdd1du >> 33) % below;
}

static const char *const users[USERS] = {"@a:a", "@b:a", "@c:a", "@d:a", "@e:a", "@f:a"};

/* --- random rooms --- */
static const char *levels_text(world *w)
{
    static const int steps[] = {0, 25, 50, 100};
    gr_buf out = {0};
    gr_buf_c(&out, "{\"invite\":0,\"users\":{");
    if (!w->version->privileged_creators) gr_buf_c(&out, "\"@a:a\":100,");
    for (size_t u = 1; u < USERS; u++)
        gr_buf_printf(&out, "%s\"%s\":%d", u > 1 ? "," : "", users[u], steps[draw(4)]);
    gr_buf_c(&out, "}}");
    gr_str text = gr_arena_str(w->arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text.ptr;
}

static sketch random_event(world *w)
{
    static const char *const acts[] = {"ban", "leave", "invite", "leave", "ban"};
    static const char *const rules[] = {"{\"join_rule\":\"public\"}", "{\"join_rule\":\"invite\"}"};
    const char *sender = users[draw(USERS)], *target = users[draw(USERS)];
    gr_str id = gr_arena_printf(w->arena, "$%llx", (unsigned long long)draw(1ull << 31));
    sketch k = {id.ptr, "m.room.topic", "", sender, "{}", (int64_t)draw(20)};
    switch (draw(8)) {
    case 0: return (sketch){k.id, "m.room.power_levels", "", sender, levels_text(w), k.ts};
    case 1: return (sketch){k.id, "m.room.join_rules", "", sender, rules[draw(2)], k.ts};
    case 2:
    case 3: return (sketch){k.id, "m.room.member", sender, sender, "{\"membership\":\"join\"}", k.ts};
    case 4:
    case 5: {
        gr_str act = gr_arena_printf(w->arena, "{\"membership\":\"%s\"}", acts[draw(5)]);
        return (sketch){k.id, "m.room.member", target, sender, act.ptr, k.ts};
    }
    case 6: k.type = "m.room.name"; return k;
    default: return k;
    }
}

/* Up to three recent events, so that there are always some branches. */
static edges random_prevs(world *w)
{
    edges out = {{0}, 0};
    size_t want = 1 + draw(3), window = w->count < 8 ? w->count : 8;
    for (size_t i = 0; i < want; i++) {
        size_t p = w->count - 1 - draw(window);
        bool twice = false;
        for (size_t k = 0; k < out.count; k++) twice = twice || out.at[k] == p;
        if (!twice) out.at[out.count++] = p;
    }
    return out;
}

static bool allowed_then(server *s, edges prev, const sketch *k)
{
    world *w = s->w;
    room_state before;
    gr_event e = {.version = w->version,
                  .room_id = w->event[1].room_id,
                  .event_id = GR_STR("$try"),
                  .type = gr_str_c(k->type),
                  .sender = gr_str_c(k->sender),
                  .state_key = gr_str_c(k->key),
                  .has_state_key = true};
    e.prev_events = w->event[1].prev_events;
    assert_false(gr_failed(gr_json_parse(w->arena, gr_str_c(k->content), GR_JSON_LAX, &e.content)));
    state_before(s, prev, &before);
    return may(w, &e, &before);
}

/* Mostly of events that are allowed where they stand; some are not, and get rejected. */
static void fill_room(server *s)
{
    size_t at = open_room(s);
    member(s, at, "$carol", "@c:a", "@c:a", "join", 6);
    while (s->w->count < ROOM_EVENTS) {
        edges prev = random_prevs(s->w);
        if (draw(8) == 0) prev = after1(draw(s->w->count)); /* long branches too */
        sketch k = random_event(s->w);
        if (allowed_then(s, prev, &k) || draw(12) == 0) make(s, prev, k);
    }
}

/* --- other servers --- */
static bool arrived_all(const server *s, edges list)
{
    for (size_t i = 0; i < list.count; i++)
        if (s->number[list.at[i]] == 0) return false;
    return true;
}

static server *receive_in_random_order(world *w, bool ordered)
{
    server *s = server_new(w, ordered);
    while (s->newest < w->count) {
        size_t i = draw(w->count);
        while (s->number[i] || !arrived_all(s, w->prev[i]) || !arrived_all(s, w->auth[i]))
            i = (i + 1) % w->count;
        edges as_sent = w->prev[i];
        for (size_t k = as_sent.count; k > 1; k--) { /* predecessors are a set, too */
            size_t other = draw(k), kept = w->prev[i].at[k - 1];
            w->prev[i].at[k - 1] = w->prev[i].at[other];
            w->prev[i].at[other] = kept;
        }
        server_receive(s, i);
        w->prev[i] = as_sent;
    }
    return s;
}

static void rooms_agree_in_any_order(const char *version)
{
    size_t conflicts = 0;
    for (uint64_t room = 1; room <= ROOMS; room++) {
        seed_state = room * 0x9e3779b97f4a7c15u;
        world *w = world_new(version);
        server *first = server_new(w, true);
        fill_room(first);
        for (size_t o = 0; o < ORDERS; o++) {
            server *other = receive_in_random_order(w, o != 0);
            for (size_t i = 0; i < w->count; i++) {
                if (memcmp(&first->before[i], &other->before[i], sizeof(room_state)) != 0)
                    fail_msg("version %s, room %llu: the state before event %zu differs", version,
                             (unsigned long long)room, i);
                assert_int_equal(first->rejected[i], other->rejected[i]);
            }
            free(other);
        }
        conflicts += first->last.conflicted > 1;
        free(first);
        world_free(w);
    }
    assert_true(conflicts > ROOMS / 2); /* the rooms are worth it */
}

static void any_order_gives_the_same_state_in_version_1(void **state)
{
    (void)state;
    rooms_agree_in_any_order("1");
}
static void any_order_gives_the_same_state_in_version_2(void **state)
{
    (void)state;
    rooms_agree_in_any_order("2");
}
static void any_order_gives_the_same_state_in_version_11(void **state)
{
    (void)state;
    rooms_agree_in_any_order("11");
}
static void any_order_gives_the_same_state_in_version_12(void **state)
{
    (void)state;
    rooms_agree_in_any_order("12");
}

/* --- the full conflicted set by its definition --- */
typedef struct {
    bool at[ROOM_EVENTS + 8];
} event_set;

/* Indexes are an order of the graph. */
static event_set chain_of(const world *w, event_set of)
{
    event_set out = {{0}};
    for (size_t i = w->count; i-- > 0;)
        if (of.at[i] || out.at[i])
            for (size_t k = 0; k < w->auth[i].count; k++) out.at[w->auth[i].at[k]] = true;
    return out;
}

static event_set single(size_t i)
{
    event_set out = {{0}};
    out.at[i] = true;
    return out;
}

static event_set conflicted_of(const world *w, size_t count, const room_state *const *states)
{
    event_set out = {{0}};
    for (size_t k = 0; k < w->keys; k++) {
        bool same = true;
        for (size_t i = 1; i < count; i++) same = same && states[i]->at[k] == states[0]->at[k];
        for (size_t i = 0; i < count && !same; i++)
            if (states[i]->at[k]) out.at[states[i]->at[k] - 1] = true;
    }
    return out;
}

static bool lies_between(const world *w, const event_set *conflicted, size_t event)
{
    event_set below = chain_of(w, single(event));
    bool above = false, under = false;
    for (size_t i = 0; i < w->count; i++) {
        if (!conflicted->at[i]) continue;
        under = under || below.at[i];
        above = above || chain_of(w, single(i)).at[event];
    }
    return above && under;
}

static size_t full_conflicted(const world *w, size_t count, const room_state *const *states)
{
    event_set conflicted = conflicted_of(w, count, states), full = conflicted, chains[EDGES_MAX];
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        event_set all = {{0}};
        for (size_t k = 0; k < w->keys; k++)
            if (states[i]->at[k]) all.at[states[i]->at[k] - 1] = true;
        chains[i] = chain_of(w, all);
    }
    for (size_t e = 0; e < w->count; e++) {
        size_t in = 0;
        for (size_t i = 0; i < count; i++) in += chains[i].at[e];
        if (in && in < count) full.at[e] = true;
        if (w->version->state_res == GR_STATE_RES_2_1 && lies_between(w, &conflicted, e)) full.at[e] = true;
        size += full.at[e];
    }
    return size;
}

static void the_full_conflicted_set_is_that_of_the_definition(void **state)
{
    static const char *const versions[] = {"2", "11", "12"};
    (void)state;
    for (uint64_t room = 1; room <= 150; room++) {
        seed_state = room * 0xd1342543de82ef95u;
        world *w = world_new(versions[room % 3]);
        server *first = server_new(w, true);
        fill_room(first);
        server *s = receive_in_random_order(w, room % 2);
        for (int i = 0; i < 20; i++) {
            size_t count = 2 + draw(3);
            const room_state *states[4];
            room_state out;
            for (size_t k = 0; k < count; k++) states[k] = &s->after[draw(w->count)];
            server_resolve(s, count, states, &out);
            assert_int_equal(s->last.conflicted, full_conflicted(w, count, states));
        }
        free(s);
        free(first);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_gives_the_same_state_in_version_1),
        cmocka_unit_test(any_order_gives_the_same_state_in_version_2),
        cmocka_unit_test(any_order_gives_the_same_state_in_version_11),
        cmocka_unit_test(any_order_gives_the_same_state_in_version_12),
        cmocka_unit_test(the_full_conflicted_set_is_that_of_the_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
