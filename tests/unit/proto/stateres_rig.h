/* stateres_rig.h - a room's graph in memory, and servers that get its events in orders of their own.
 *
 * An event of the world names its predecessors; a server gives it a number when it arrives, finds the state
 * before it by resolution, and judges it.  States hold world indexes + 1, so those of servers compare.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/auth.h"
#include "proto/stateres.h"

enum { EVENTS_MAX = 2400, KEYS_MAX = 64, EDGES_MAX = 10 };

typedef struct {
    size_t at[EDGES_MAX], count;
} edges;
typedef struct {
    uint16_t at[KEYS_MAX];
} room_state;

typedef struct {
    gr_arena *arena;
    const gr_room_version *version;
    gr_event event[EVENTS_MAX];
    edges prev[EVENTS_MAX], auth[EVENTS_MAX];
    size_t key[EVENTS_MAX]; /* index; KEYS_MAX: no state event */
    size_t count;
    gr_str types[KEYS_MAX], state_keys[KEYS_MAX];
    size_t keys;
} world;

typedef struct {
    world *w;
    uint64_t number[EVENTS_MAX];
    size_t index[EVENTS_MAX + 1];
    room_state before[EVENTS_MAX], after[EVENTS_MAX];
    bool rejected[EVENTS_MAX];
    uint64_t newest;
    bool ordered;
    const room_state *base; /* of the resolution that runs: 0 for keys in conflict */
    gr_stateres_result last;
} server;

static inline world *world_new(const char *version)
{
    world *w = gr_alloc(sizeof *w);
    w->arena = gr_arena_new(0);
    w->version = gr_room_version_find(gr_str_c(version));
    return w;
}

static inline void world_free(world *w)
{
    gr_arena_free(&w->arena);
    free(w);
}

static inline size_t key_index(world *w, gr_str type, gr_str state_key)
{
    for (size_t i = 0; i < w->keys; i++)
        if (gr_str_eq(w->types[i], type) && gr_str_eq(w->state_keys[i], state_key)) return i;
    assert_true(w->keys < KEYS_MAX);
    w->types[w->keys] = type;
    w->state_keys[w->keys] = state_key;
    return w->keys++;
}

/* --- a server's store, as resolution sees it --- */
static inline bool server_event(void *arg, uint64_t number, gr_stateres_event *out)
{
    server *s = arg;
    if (number == 0 || number > s->newest) return false;
    size_t i = s->index[number];
    world *w = s->w;
    *out = (gr_stateres_event){.event = &w->event[i], .rejected = s->rejected[i]};
    out->auth.at = gr_arena_alloc(w->arena, EDGES_MAX * sizeof(uint64_t));
    out->auth.count = w->auth[i].count;
    for (size_t k = 0; k < w->auth[i].count; k++) out->auth.at[k] = s->number[w->auth[i].at[k]];
    return true;
}

static inline uint64_t server_unconflicted(void *arg, gr_str type, gr_str state_key)
{
    server *s = arg;
    size_t event = s->base->at[key_index(s->w, type, state_key)];
    return event ? s->number[event - 1] : 0;
}

static inline gr_u64s server_above(void *arg, uint64_t number)
{
    server *s = arg;
    gr_u64s out = {gr_arena_alloc(s->w->arena, KEYS_MAX * sizeof(uint64_t)), 0};
    for (size_t k = 0; k < s->w->keys; k++)
        if (s->base->at[k] && s->number[s->base->at[k] - 1] > number)
            out.at[out.count++] = s->number[s->base->at[k] - 1];
    return out;
}

static inline gr_err server_try(server *s, size_t count, const room_state *const *states, room_state *out,
                                size_t conflicted_max, size_t reads_max)
{
    world *w = s->w;
    uint64_t *rows = gr_arena_alloc(w->arena, KEYS_MAX * count * sizeof *rows);
    size_t row_count = 0;
    *out = *states[0];
    for (size_t k = 0; k < w->keys; k++) {
        bool same = true;
        for (size_t i = 1; i < count; i++) same = same && states[i]->at[k] == states[0]->at[k];
        if (same) continue;
        out->at[k] = 0;
        for (size_t i = 0; i < count; i++)
            rows[row_count * count + i] = states[i]->at[k] ? s->number[states[i]->at[k] - 1] : 0;
        row_count++;
    }
    room_state base = *out;
    s->base = &base;
    gr_stateres_source source = {server_event, server_unconflicted, server_above, s->ordered, s};
    gr_stateres_input in = {.version = w->version,
                            .create = s->number[0],
                            .states = count,
                            .rows = rows,
                            .row_count = row_count,
                            .conflicted_max = conflicted_max,
                            .reads_max = reads_max};
    gr_err err = gr_stateres_resolve(w->arena, &in, &source, &s->last);
    for (size_t i = 0; i < s->last.count; i++) {
        const gr_stateres_entry *e = &s->last.at[i];
        out->at[key_index(w, e->type, e->state_key)] = (uint16_t)(s->index[e->number] + 1);
    }
    return err;
}

static inline void server_resolve(server *s, size_t count, const room_state *const *states, room_state *out)
{
    assert_false(gr_failed(server_try(s, count, states, out, EVENTS_MAX, EVENTS_MAX)));
}

/* --- judging --- */
typedef struct {
    world *w;
    const room_state *state;
} auth_view;

static inline const gr_event *view_get(void *arg, gr_str type, gr_str state_key)
{
    auth_view *v = arg;
    size_t event = v->state->at[key_index(v->w, type, state_key)];
    return event ? &v->w->event[event - 1] : NULL;
}

static inline bool may(world *w, const gr_event *e, const room_state *state)
{
    auth_view v = {w, state};
    gr_auth_state auth = {view_get, &v};
    return !gr_failed(gr_auth_check(w->arena, e, &auth));
}

static inline void state_before(server *s, edges prev, room_state *out)
{
    const room_state *states[EDGES_MAX];
    *out = (room_state){0};
    for (size_t i = 0; i < prev.count; i++) states[i] = &s->after[prev.at[i]];
    if (prev.count == 1) *out = *states[0];
    if (prev.count > 1) server_resolve(s, prev.count, states, out);
}

/* The event of the world with this index arrives; its predecessors and auth events have arrived. */
static inline void server_receive(server *s, size_t i)
{
    world *w = s->w;
    s->number[i] = ++s->newest;
    s->index[s->newest] = i;
    state_before(s, w->prev[i], &s->before[i]);
    s->rejected[i] = !may(w, &w->event[i], &s->before[i]);
    s->after[i] = s->before[i];
    if (!s->rejected[i] && w->key[i] < KEYS_MAX) s->after[i].at[w->key[i]] = (uint16_t)(i + 1);
}

static inline server *server_new(world *w, bool ordered)
{
    server *s = gr_alloc(sizeof *s);
    s->w = w;
    s->ordered = ordered;
    return s;
}

/* --- making events, on the server that makes them --- */
typedef struct {
    const char *id, *type, *key, *sender, *content; /* key NULL: no state */
    int64_t ts;
} sketch;

static inline edges after1(size_t a) { return (edges){{a}, 1}; }
static inline edges after2(size_t a, size_t b) { return (edges){{a, b}, 2}; }

static inline size_t make(server *s, edges prev, sketch k)
{
    world *w = s->w;
    size_t i = w->count++;
    room_state before;
    assert_true(i < EVENTS_MAX);
    state_before(s, prev, &before);
    gr_event *e = &w->event[i];
    *e = (gr_event){.version = w->version,
                    .event_id = gr_arena_str(w->arena, gr_str_c(k.id)),
                    .room_id = w->version->room_id_is_create_hash ? GR_STR("!create") : GR_STR("!r:a"),
                    .type = gr_str_c(k.type),
                    .sender = gr_str_c(k.sender),
                    .state_key = gr_str_c(k.key),
                    .has_state_key = k.key != NULL,
                    .origin_server_ts = k.ts,
                    .depth = 1};
    assert_false(gr_failed(gr_json_parse(w->arena, gr_str_c(k.content), GR_JSON_LAX, &e->content)));
    e->prev_events.at = gr_arena_alloc(w->arena, (prev.count + 1) * sizeof(gr_str));
    while (e->prev_events.count < prev.count) {
        e->prev_events.at[e->prev_events.count] = w->event[prev.at[e->prev_events.count]].event_id;
        e->prev_events.count++;
    }
    w->prev[i] = prev;
    w->key[i] = k.key ? key_index(w, e->type, e->state_key) : KEYS_MAX;
    for (size_t p = 0; p < prev.count; p++)
        if (e->depth <= w->event[prev.at[p]].depth) e->depth = w->event[prev.at[p]].depth + 1;
    gr_auth_needs needs = gr_auth_select(w->version, e->type, e->sender, e->state_key, e->content);
    w->auth[i].count = 0;
    for (size_t n = 0; i > 0 && n < needs.count; n++) {
        size_t found = before.at[key_index(w, needs.at[n].type, needs.at[n].state_key)];
        if (found) w->auth[i].at[w->auth[i].count++] = found - 1;
    }
    server_receive(s, i);
    return i;
}

static inline size_t member(server *s, size_t prev, const char *id, const char *user, const char *sender,
                            const char *membership, int64_t ts)
{
    gr_str content = gr_arena_printf(s->w->arena, "{\"membership\":\"%s\"}", membership);
    return make(s, after1(prev), (sketch){id, "m.room.member", user, sender, content.ptr, ts});
}

/* A public room of @a:a; alice has 100 (or made the room), @b:a 50.  Answers the newest event. */
static inline size_t open_room(server *s)
{
    bool hashed = s->w->version->privileged_creators;
    const char *levels = hashed ? "{\"users\":{\"@b:a\":50}}" : "{\"users\":{\"@a:a\":100,\"@b:a\":50}}";
    make(s, (edges){{0}, 0}, (sketch){"$create", "m.room.create", "", "@a:a", "{\"creator\":\"@a:a\"}", 1});
    member(s, 0, "$alice", "@a:a", "@a:a", "join", 2);
    make(s, after1(1), (sketch){"$levels", "m.room.power_levels", "", "@a:a", levels, 3});
    make(s, after1(2), (sketch){"$rules", "m.room.join_rules", "", "@a:a", "{\"join_rule\":\"public\"}", 4});
    return member(s, 3, "$bob", "@b:a", "@b:a", "join", 5);
}

/* The id of the event with this key in the resolved state of these events; empty when there is none. */
static inline gr_str resolved(server *s, edges events, const char *type, const char *state_key)
{
    room_state out;
    state_before(s, events, &out);
    size_t event = out.at[key_index(s->w, gr_str_c(type), gr_str_c(state_key))];
    return event ? s->w->event[event - 1].event_id : (gr_str){0};
}

#define assert_id(got, want) \
    do { \
        gr_str got_ = (got); \
        if (!gr_str_is(got_, want)) fail_msg("got \"%.*s\", wanted \"%s\"", GR_ARG(got_), want); \
    } while (0)
