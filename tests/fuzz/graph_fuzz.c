/* Any graph of events, with circles, repeats and links to nowhere, in any room version: authorisation and state resolution
 * never crash; and what is resolved is the same whatever numbers the events have, whether these are taken for an order of
 * the graph or not where they are one, and whether the chain cover answers or the graph is walked.
 *
 * The first byte picks the version, the second the number of states; then come events, and at last what each state says
 * of each key. */
#include "actors/room/chain.h"
#include "proto/auth.h"
#include "proto/stateres.h"

enum { EVENTS_MAX = 40, KEYS_MAX = 64, EDGES_MAX = 6, STATES_MAX = 4 };

typedef struct {
    const unsigned char *at, *end;
} input;

typedef struct {
    gr_arena *arena;
    const gr_room_version *version;
    gr_event event[EVENTS_MAX];
    size_t auth[EVENTS_MAX][EDGES_MAX], auth_count[EVENTS_MAX]; /* indexes; EVENTS_MAX: nowhere */
    bool rejected[EVENTS_MAX];
    size_t key[EVENTS_MAX], count;
    gr_str types[KEYS_MAX], state_keys[KEYS_MAX];
    size_t keys, states;
    size_t state[STATES_MAX][KEYS_MAX]; /* index + 1, or 0 */
} world;

/* The same graph, numbered in one way. */
typedef struct {
    world *w;
    uint64_t number[EVENTS_MAX];
    size_t index[EVENTS_MAX + 1];
    bool in_conflict[KEYS_MAX];
    const uint64_t *rows;
    size_t row_count;
    gr_str cover[2][EVENTS_MAX + 1];
    gr_chain chain;
} view;

static unsigned take(input *in, unsigned below) { return in->at < in->end ? *in->at++ % below : 0; }

/* --- events ------------------------------------------------------------------------------------------------- */
static const char *const users[] = {"@a:a", "@b:a", "@c:b", "@d:b", "@e:c"};
static const char *const types[] = {"m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules",
                                    "m.room.topic", "m.room.third_party_invite", "m.room.message", "m.room.aliases"};
static const char *const contents[] = {
    "{}", "{\"membership\":\"join\"}", "{\"membership\":\"leave\"}", "{\"membership\":\"ban\"}", "{\"membership\":\"invite\"}",
    "{\"membership\":\"knock\"}", "{\"join_rule\":\"public\"}", "{\"join_rule\":\"invite\"}", "{\"join_rule\":\"restricted\"}",
    "{\"membership\":\"join\",\"join_authorised_via_users_server\":\"@b:a\"}", "{\"creator\":\"@a:a\"}",
    "{\"creator\":\"@a:a\",\"m.federate\":false,\"additional_creators\":[\"@b:a\"]}", "{\"users\":{\"@a:a\":100,\"@b:a\":50}}",
    "{\"users\":{\"@b:a\":60,\"@c:b\":50}}", "{\"users_default\":50,\"ban\":0,\"events\":{\"m.room.topic\":70}}",
    "{\"membership\":\"invite\",\"third_party_invite\":{\"signed\":{\"mxid\":\"@c:b\",\"token\":\"t\"}}}"};
enum { USERS = 5, TYPES = 8, CONTENTS = 16 };

/* One of the above, or whatever the input says. */
static const gr_json *content(world *w, input *in)
{
    static const gr_json empty = {.kind = GR_JSON_OBJECT};
    const gr_json *out = NULL;
    unsigned which = take(in, CONTENTS + 2);
    gr_str text = which < CONTENTS ? gr_str_c(contents[which]) : (gr_str){0};
    if (which >= CONTENTS) {
        size_t size = take(in, 256), left = (size_t)(in->end - in->at);
        text = gr_str_of(in->at, size < left ? size : left);
        in->at += text.size;
    }
    bool good = !gr_failed(gr_json_parse(w->arena, text, w->version->json, &out)) && gr_json_is(out, GR_JSON_OBJECT);
    return good ? out : &empty;
}

static size_t key_index(world *w, gr_str type, gr_str state_key)
{
    for (size_t i = 0; i < w->keys; i++)
        if (gr_str_eq(w->types[i], type) && gr_str_eq(w->state_keys[i], state_key)) return i;
    gr_assert(w->keys < KEYS_MAX);
    w->types[w->keys] = type;
    w->state_keys[w->keys] = state_key;
    return w->keys++;
}

static gr_str id_of(world *w, size_t i) { return gr_arena_printf(w->arena, "$%zu:a", i); }

static void add_event(world *w, input *in)
{
    size_t i = w->count++;
    gr_event *e = &w->event[i];
    unsigned key = take(in, USERS + 3);
    *e = (gr_event){.version = w->version,
                    .event_id = id_of(w, i),
                    .room_id = w->version->room_id_is_create_hash ? GR_STR("!0:a") : GR_STR("!r:a"),
                    .type = gr_str_c(types[take(in, TYPES)]),
                    .sender = gr_str_c(users[take(in, USERS)]),
                    .has_state_key = key < USERS + 2,
                    .state_key = key < USERS ? gr_str_c(users[key]) : key == USERS + 1 ? GR_STR("t") : GR_STR(""),
                    .origin_server_ts = take(in, 8),
                    .depth = take(in, 8)};
    e->content = e->json = content(w, in);
    e->prev_events = (gr_strs){gr_arena_alloc(w->arena, sizeof(gr_str)), take(in, 2)};
    e->prev_events.at[0] = id_of(w, take(in, EVENTS_MAX));
    w->rejected[i] = take(in, 8) == 7;
    w->auth_count[i] = take(in, EDGES_MAX + 1);
    for (size_t k = 0; k < w->auth_count[i]; k++) w->auth[i][k] = take(in, EVENTS_MAX + 1);
    w->key[i] = e->has_state_key ? key_index(w, e->type, e->state_key) : KEYS_MAX;
}

static bool read_world(world *w, input *in)
{
    w->version = gr_room_version_at(take(in, GR_ROOM_VERSION_COUNT));
    w->states = 2 + take(in, STATES_MAX - 1);
    size_t count = 1 + take(in, EVENTS_MAX);
    while (w->count < count && in->at < in->end) add_event(w, in);
    for (size_t i = 0; i < w->count; i++)
        for (size_t k = 0; k < w->auth_count[i]; k++)
            if (w->auth[i][k] >= w->count) w->auth[i][k] = EVENTS_MAX;
    for (size_t s = 0; s < w->states; s++)
        for (size_t k = 0; k < w->keys; k++) {
            size_t i = take(in, EVENTS_MAX + 1);
            w->state[s][k] = i < w->count && w->key[i] == k ? i + 1 : 0;
        }
    return w->count > 0 && w->keys > 0;
}

/* --- what resolution asks ----------------------------------------------------------------------------------- */
static bool event(void *arg, uint64_t number, gr_stateres_event *out)
{
    view *v = arg;
    world *w = v->w;
    if (number == 0 || number > w->count) return false;
    size_t i = v->index[number];
    *out = (gr_stateres_event){.event = &w->event[i], .rejected = w->rejected[i]};
    out->auth = (gr_u64s){gr_arena_alloc(w->arena, EDGES_MAX * sizeof(uint64_t)), w->auth_count[i]};
    for (size_t k = 0; k < out->auth.count; k++)
        out->auth.at[k] = w->auth[i][k] == EVENTS_MAX ? 0 : v->number[w->auth[i][k]];
    return true;
}

static uint64_t unconflicted(void *arg, gr_str type, gr_str state_key)
{
    view *v = arg;
    for (size_t k = 0; k < v->w->keys; k++)
        if (gr_str_eq(v->w->types[k], type) && gr_str_eq(v->w->state_keys[k], state_key))
            return v->in_conflict[k] || !v->w->state[0][k] ? 0 : v->number[v->w->state[0][k] - 1];
    return 0;
}

static gr_u64s unconflicted_above(void *arg, uint64_t number)
{
    view *v = arg;
    gr_u64s out = {gr_arena_alloc(v->w->arena, KEYS_MAX * sizeof(uint64_t)), 0};
    for (size_t k = 0; k < v->w->keys; k++) {
        uint64_t n = unconflicted(v, v->w->types[k], v->w->state_keys[k]);
        if (n > number) out.at[out.count++] = n;
    }
    return out;
}

/* --- the chain cover, as far as it goes --------------------------------------------------------------------- */
static bool get_row(void *arg, char letter, uint64_t number, gr_str *bytes)
{
    view *v = arg;
    if (number > v->w->count) return false;
    *bytes = v->cover[letter == 'C'][number];
    return bytes->ptr != NULL;
}

static void put_row(void *arg, char letter, uint64_t number, gr_str bytes)
{
    view *v = arg;
    v->cover[letter == 'C'][number] = gr_arena_str(v->w->arena, bytes);
}

static void build_cover(view *v)
{
    v->chain = (gr_chain){get_row, put_row, v, NULL};
    for (uint64_t n = 1; n <= v->w->count; n++) {
        gr_stateres_event e;
        uint64_t same = 0;
        size_t i = v->index[n];
        event(v, n, &e);
        for (size_t k = 0; k < e.auth.count; k++)
            if (e.auth.at[k] && v->w->key[v->index[e.auth.at[k]]] == v->w->key[i]) same = e.auth.at[k];
        gr_chain_assign(&v->chain, v->w->arena, n, e.auth, same);
        gr_assert(gr_chain_fault(&v->chain, v->w->arena, n, e.auth) == NULL);
    }
}

static bool difference(void *arg, gr_u64s *out)
{
    view *v = arg;
    gr_u64s states[STATES_MAX];
    for (size_t s = 0; s < v->w->states; s++) {
        states[s] = (gr_u64s){gr_arena_alloc(v->w->arena, (v->row_count + 1) * sizeof(uint64_t)), v->row_count};
        for (size_t k = 0; k < v->row_count; k++) states[s].at[k] = v->rows[k * v->w->states + s];
    }
    return gr_chain_difference(&v->chain, v->w->arena, &(gr_chain_states){states, v->w->states, unconflicted_above, v}, out);
}

static bool subgraph(void *arg, gr_u64s events, gr_u64s *out)
{
    view *v = arg;
    return gr_chain_subgraph(&v->chain, v->w->arena, events, out);
}

/* --- resolving ---------------------------------------------------------------------------------------------- */
static uint64_t *make_rows(view *v)
{
    world *w = v->w;
    uint64_t *rows = gr_arena_alloc(w->arena, KEYS_MAX * STATES_MAX * sizeof *rows);
    for (size_t k = 0; k < w->keys; k++) {
        bool same = true;
        for (size_t s = 1; s < w->states; s++) same = same && w->state[s][k] == w->state[0][k];
        v->in_conflict[k] = !same;
        for (size_t s = 0; s < w->states && !same; s++)
            rows[v->row_count * w->states + s] = w->state[s][k] ? v->number[w->state[s][k] - 1] : 0;
        v->row_count += !same;
    }
    return rows;
}

typedef struct {
    size_t winner[KEYS_MAX], conflicted; /* index + 1 */
} outcome;

/* Have all events higher numbers than those they cite? */
static bool is_order(const view *v)
{
    for (size_t i = 0; i < v->w->count; i++)
        for (size_t k = 0; k < v->w->auth_count[i]; k++)
            if (v->w->auth[i][k] != EVENTS_MAX && v->number[v->w->auth[i][k]] > v->number[i]) return false;
    return true;
}

static outcome resolve(world *w, const size_t *order, bool ordered, bool covered)
{
    view *v = gr_arena_alloc(w->arena, sizeof *v);
    outcome out = {.conflicted = 0};
    gr_stateres_result result;
    v->w = w;
    for (size_t n = 0; n < w->count; n++) {
        v->number[order[n]] = n + 1;
        v->index[n + 1] = order[n];
    }
    uint64_t *rows = make_rows(v);
    bool in_order = is_order(v);
    covered = covered && in_order;     /* the cover rests on the order in which a room numbers events */
    v->rows = rows;
    if (covered) build_cover(v);
    gr_stateres_input in = {w->version, v->number[0], w->states, rows, v->row_count, 1000, 10000};
    gr_stateres_source source = {event, unconflicted, unconflicted_above, ordered && in_order, v,
                                 covered ? difference : NULL,
                                 covered ? subgraph : NULL};
    gr_err err = gr_stateres_resolve(w->arena, &in, &source, &result);
    gr_assert(!gr_failed(err));
    for (size_t i = 0; i < result.count; i++) {
        size_t winner = v->index[result.at[i].number], key = w->key[winner];
        gr_assert(key < KEYS_MAX && out.winner[key] == 0 && !unconflicted(v, w->types[key], w->state_keys[key]));
        out.winner[key] = winner + 1;
    }
    out.conflicted = result.conflicted;
    in.reads_max = 3;      /* a limit leaves nothing behind */
    if (gr_failed(gr_stateres_resolve(w->arena, &in, &source, &result))) gr_assert(result.count == 0);
    return out;
}

/* --- authorising -------------------------------------------------------------------------------------------- */
static const gr_event *of_state(void *arg, gr_str type, gr_str state_key)
{
    world *w = arg;
    for (size_t k = 0; k < w->keys; k++)
        if (gr_str_eq(w->types[k], type) && gr_str_eq(w->state_keys[k], state_key))
            return w->state[0][k] ? &w->event[w->state[0][k] - 1] : NULL;
    return NULL;
}

static void authorise(world *w)
{
    gr_auth_state state = {of_state, w};
    for (size_t i = 0; i < w->count; i++) {
        const gr_event *list[EDGES_MAX];
        bool rejected[EDGES_MAX];
        size_t count = 0;
        for (size_t k = 0; k < w->auth_count[i]; k++) {
            if (w->auth[i][k] == EVENTS_MAX) continue;
            rejected[count] = w->rejected[w->auth[i][k]];
            list[count++] = &w->event[w->auth[i][k]];
        }
        gr_err e = gr_auth_check(w->arena, &w->event[i], &state);
        gr_assert(gr_failed(e) == (e.text != NULL));
        e = gr_auth_check_list(w->arena, &w->event[i], list, rejected, count);
        gr_assert(gr_failed(e) == (e.text != NULL));
        gr_auth_may_redact(&state, &w->event[i], &w->event[0]);
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    gr_arena *arena = gr_arena_new(0);
    world *w = gr_arena_alloc(arena, sizeof *w);
    input in = {data, data + size};
    w->arena = arena;
    if (read_world(w, &in)) {
        size_t as_given[EVENTS_MAX], reversed[EVENTS_MAX], mixed[EVENTS_MAX];
        for (size_t i = 0; i < w->count; i++) {
            as_given[i] = i;
            reversed[i] = w->count - 1 - i;
        }
        for (size_t i = 0; i < w->count; i++) mixed[i] = i % 2 ? reversed[i / 2] : as_given[i / 2];
        authorise(w);
        outcome plain = resolve(w, as_given, false, false);
        const outcome others[] = {resolve(w, as_given, true, false), resolve(w, as_given, true, true),
                                  resolve(w, reversed, false, false), resolve(w, reversed, true, true),
                                  resolve(w, mixed, true, false)};
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            gr_assert(memcmp(&plain, &others[i], sizeof plain) == 0);
    }
    gr_arena_free(&arena);
    return 0;
}
