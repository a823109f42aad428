/* update.c - the registry, the pace and the records of background updates. See update.h. */
#include "persistence/update.h"

#include <stdlib.h>

enum { PUT_OFF_MS = 60 * 1000, PUT_OFF_MAX_MS = 60 * 60 * 1000, STATE_FIXED = 25, KEY_ROOM =
      GR_UPDATE_NAME_MAX + 16 };

typedef struct {
    const gr_update *update;
    bool paused;
    uint64_t put_off_ms, retry_at_ms;
} entry;

struct gr_updates {
    entry *entries;
    size_t count;
    bool paused;
    unsigned percent;
    uint64_t due_at_ms;
};

void gr_update_put(gr_update_step *step, gr_str key, gr_str value) { gr_ops_put(&step->writes, key, value); }
void gr_update_delete(gr_update_step *step, gr_str key) { gr_ops_delete(&step->writes, key); }

void gr_update_skip(gr_update_step *step, gr_str key, const char *why)
{
    gr_str *at = gr_arena_alloc(step->arena, (step->bad.count + 1) * sizeof *at);
    if (step->bad.count) memcpy(at, step->bad.at, step->bad.count * sizeof *at);
    at[step->bad.count++] = gr_arena_printf(step->arena, "%" GR_FMT ": %s", GR_ARG(key), why);
    step->bad.at = at;
}

static entry *find(const gr_updates *u, const char *name)
{
    for (size_t i = 0; i < u->count; i++)
        if (strcmp(u->entries[i].update->name, name) == 0) return &u->entries[i];
    return NULL;
}

gr_updates *gr_updates_new(const gr_update *updates, size_t count)
{
    gr_updates *u = gr_alloc(sizeof *u);
    u->entries = gr_alloc((count + 1) * sizeof *u->entries);
    u->percent = 10;
    for (size_t i = 0; i < count; i++) {
        gr_assert(strlen(updates[i].name) <= GR_UPDATE_NAME_MAX && !find(u, updates[i].name));
        /* A dependency stands before what depends on it, so there are no circles. */
        for (int k = 0; k < GR_UPDATE_DEPENDS_MAX && updates[i].depends[k]; k++)
            gr_assert(find(u, updates[i].depends[k]));
        u->entries[u->count++].update = &updates[i];
    }
    return u;
}

void gr_updates_free(gr_updates **at)
{
    if (!*at) return;
    free((*at)->entries);
    free(*at);
    *at = NULL;
}

bool gr_updates_pause(gr_updates *u, const char *name, bool paused)
{
    entry *e = name ? find(u, name) : NULL;
    if (name && !e) return false;
    *(e ? &e->paused : &u->paused) = paused;
    return true;
}

void gr_updates_pace(gr_updates *u, unsigned percent)
{
    gr_assert(percent >= 1 && percent <= 100);
    u->percent = percent;
}

bool gr_updates_due(const gr_updates *u, uint64_t now_ms) { return !u->paused && now_ms >= u->due_at_ms; }

void gr_updates_took(gr_updates *u, uint64_t now_ms, uint64_t took_ms)
{
    u->due_at_ms = now_ms + took_ms * (100 - u->percent) / u->percent;
}

/* --- records: "\0u" + name + "/s" is the state, "\0u" + name + "/b" + number a skipped record --- */
static gr_str record_key(char room[KEY_ROOM], const char *name, char kind, uint64_t number)
{
    size_t size = strlen(name);
    gr_assert(size <= GR_UPDATE_NAME_MAX);
    memcpy(room, "\0u", 2);
    memcpy(room + 2, name, size);
    size += 2;
    room[size++] = '/';
    room[size++] = kind;
    for (int i = 0; kind == 'b' && i < 8; i++) room[size++] = (char)(number >> (56 - 8 * i));
    return (gr_str){room, size};
}

static gr_err read_state(const gr_overlay *overlay, const char *name, gr_arena *arena, gr_update_state *out)
{
    char room[KEY_ROOM];
    gr_str value;
    *out = (gr_update_state){0};
    gr_err err = gr_overlay_get(overlay, record_key(room, name, 's', 0), arena, &value);
    if (gr_failed(err) || !value.ptr) return err;
    if (value.size < STATE_FIXED)
        return gr_failf(arena, GR_BAD_STATE, "The record of the background update %s is damaged", name);
    *out = (gr_update_state){.finished = value.ptr[0] == 1, .steps = gr_u64be(value.ptr + 1),
                             .worked = gr_u64be(value.ptr + 9), .skipped = gr_u64be(value.ptr + 17),
                             .cursor = gr_str_from(value, STATE_FIXED)};
    return gr_ok();
}

static void write_state(gr_overlay *overlay, uint64_t group, const char *name, const gr_update_state *state)
{
    char room[KEY_ROOM];
    gr_buf value = {0};
    gr_buf_char(&value, state->finished);
    gr_buf_u64be(&value, state->steps);
    gr_buf_u64be(&value, state->worked);
    gr_buf_u64be(&value, state->skipped);
    gr_buf_str(&value, state->cursor);
    gr_overlay_put(overlay, group, record_key(room, name, 's', 0), gr_buf_view(&value));
    gr_buf_free(&value);
}

static void write_step(gr_overlay *overlay, uint64_t group, const char *name, const gr_update_step *step,
                       gr_update_state *state)
{
    char room[KEY_ROOM];
    gr_str rest = gr_buf_view(&step->writes.bytes);
    for (gr_op op; gr_op_next(&rest, &op);) {
        if (op.kind == GR_OP_PUT) gr_overlay_put(overlay, group, op.key, op.value);
        else gr_overlay_delete(overlay, group, op.key);
    }
    for (size_t i = 0; i < step->bad.count; i++) {
        uint64_t number = state->skipped++;
        gr_overlay_put(overlay, group, record_key(room, name, 'b', number), step->bad.at[i]);
        if (number >= GR_UPDATE_LISTED_MAX)
            gr_overlay_delete(overlay, group, record_key(room, name, 'b', number - GR_UPDATE_LISTED_MAX));
    }
    state->steps++;
    state->worked += step->worked;
    state->finished = step->finished;
    state->cursor = step->cursor;
    write_state(overlay, group, name, state);
}

static gr_err ready(const gr_update *update, const gr_overlay *overlay, gr_arena *arena, bool *out)
{
    *out = false;
    for (int k = 0; k < GR_UPDATE_DEPENDS_MAX && update->depends[k]; k++) {
        gr_update_state before;
        gr_err err = read_state(overlay, update->depends[k], arena, &before);
        if (gr_failed(err) || !before.finished) return err;
    }
    *out = true;
    return gr_ok();
}

static gr_err step_one(entry *e, gr_overlay *overlay, uint64_t group, gr_arena *arena, uint64_t now_ms,
                       bool *ran)
{
    gr_update_state state;
    bool is_ready;
    gr_err err = read_state(overlay, e->update->name, arena, &state);
    if (gr_failed(err) || state.finished) return err;
    err = ready(e->update, overlay, arena, &is_ready);
    if (gr_failed(err) || !is_ready) return err;
    gr_update_step step = {.overlay = overlay, .arena = arena, .cursor = state.cursor, .arg = e->update->arg};
    err = e->update->step(&step);
    if (gr_failed(err)) {
        e->put_off_ms = e->put_off_ms ? e->put_off_ms * 2 : PUT_OFF_MS;
        if (e->put_off_ms > PUT_OFF_MAX_MS) e->put_off_ms = PUT_OFF_MAX_MS;
        e->retry_at_ms = now_ms + e->put_off_ms;
    } else {
        e->put_off_ms = 0;
        write_step(overlay, group, e->update->name, &step, &state);
        *ran = true;
    }
    gr_ops_free(&step.writes);
    return err;
}

gr_err gr_updates_step(gr_updates *u, gr_overlay *overlay, uint64_t group, gr_arena *arena, uint64_t now_ms,
                       bool *ran)
{
    *ran = false;
    gr_err first = gr_ok();
    for (size_t i = 0; i < u->count && !u->paused && !*ran; i++) {
        entry *e = &u->entries[i];
        if (e->paused || now_ms < e->retry_at_ms) continue;
        gr_err err = step_one(e, overlay, group, arena, now_ms, ran);
        if (gr_failed(err) && !gr_failed(first)) first = err;
    }
    return *ran ? gr_ok() : first;
}

gr_err gr_updates_state(const gr_updates *u, const gr_overlay *overlay, const char *name, gr_arena *arena,
                        gr_update_state *out)
{
    *out = (gr_update_state){0};
    if (!find(u, name)) return gr_failf(arena, GR_NOT_FOUND, "There is no background update named %s", name);
    return read_state(overlay, name, arena, out);
}

typedef struct { gr_arena *arena; gr_strs *out; } listing;

static bool list_bad(void *arg, gr_str key, gr_str value)
{
    listing *l = arg;
    (void)key;
    gr_assert(l->out->count < GR_UPDATE_LISTED_MAX);
    l->out->at[l->out->count++] = gr_arena_str(l->arena, value);
    return true;
}

gr_err gr_updates_skipped(const gr_updates *u, const gr_overlay *overlay, const char *name, gr_arena *arena,
                          gr_strs *out)
{
    *out = (gr_strs){0};
    if (!find(u, name)) return gr_failf(arena, GR_NOT_FOUND, "There is no background update named %s", name);
    char from[KEY_ROOM], to[KEY_ROOM];
    out->at = gr_arena_alloc(arena, GR_UPDATE_LISTED_MAX * sizeof *out->at);
    gr_range range = {.from = record_key(from, name, 'b', 0), .to = record_key(to, name, 'c', 0)};
    return gr_overlay_scan(overlay, &range, list_bad, &(listing){arena, out});
}
