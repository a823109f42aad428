/* update.c - the registry and the records of background updates. See update.h. */
#include "persistence/update.h"
#include "proto/printable.h"

#include <stdlib.h>

enum { PUT_OFF_MS = 60 * 1000, PUT_OFF_MAX_MS = 60 * 60 * 1000, STATE_FIXED = 25, KEY_ROOM =
      GR_UPDATE_NAME_MAX + 16, BAD_SHOWN = 300, BAD_ROOM = 64 };

typedef struct {
    const gr_update *update;
    bool paused;
    unsigned tries;                   /* that failed in a row */
    uint64_t retry_at_ms;
    bool is_known;
    gr_update_state state;            /* as stored, without the cursor: so that finished ones cost no reads */
    uint64_t finished_ms;
} entry;

struct gr_updates {
    entry *entries;
    size_t count;
    bool paused;
};

void gr_update_put(gr_update_step *step, gr_str key, gr_str value) { gr_ops_put(&step->writes, key, value); }
void gr_update_delete(gr_update_step *step, gr_str key) { gr_ops_delete(&step->writes, key); }

/* Keys hold numbers as bytes, and texts may come from strangers. */
void gr_update_skip(gr_update_step *step, gr_str key, gr_str why)
{
    gr_buf text = {0};
    if (step->bad.count % BAD_ROOM == 0) {
        gr_str *at = gr_arena_alloc(step->arena, (step->bad.count + BAD_ROOM) * sizeof *at);
        if (step->bad.count) memcpy(at, step->bad.at, step->bad.count * sizeof *at);
        step->bad.at = at;
    }
    gr_printable_add(&text, gr_str_head(key, BAD_SHOWN));
    gr_buf_c(&text, ": ");
    gr_printable_add(&text, gr_str_head(why, BAD_SHOWN));
    step->bad.at[step->bad.count++] = gr_arena_str(step->arena, gr_buf_view(&text));
    gr_buf_free(&text);
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

gr_str gr_update_state_key(gr_arena *arena, const char *name)
{
    char room[KEY_ROOM];
    return gr_arena_str(arena, record_key(room, name, 's', 0));
}

/* A damaged record is as good as none: updates may be run again. */
static gr_err read_state(const gr_overlay *overlay, const char *name, gr_arena *arena, gr_update_state *out)
{
    char room[KEY_ROOM];
    gr_str value;
    *out = (gr_update_state){0};
    gr_err err = gr_overlay_get(overlay, record_key(room, name, 's', 0), arena, &value);
    if (gr_failed(err) || !value.ptr || value.size < STATE_FIXED) return err;
    bool finished = value.ptr[0] == 1;
    if (finished && value.size != STATE_FIXED + 8) return err;
    *out = (gr_update_state){.finished = finished, .steps = gr_u64be(value.ptr + 1),
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

static void write_bad(gr_overlay *overlay, uint64_t group, const char *name, const gr_update_step *step, uint64_t *skipped)
{
    char room[KEY_ROOM];
    for (size_t i = 0; i < step->bad.count; i++) {
        uint64_t number = (*skipped)++;
        gr_overlay_put(overlay, group, record_key(room, name, 'b', number), step->bad.at[i]);
        if (number >= GR_UPDATE_LISTED_MAX)
            gr_overlay_delete(overlay, group, record_key(room, name, 'b', number - GR_UPDATE_LISTED_MAX));
    }
}

/* --- steps ----------------------------------------------------------------------------------------------- */
static gr_err know(entry *e, const gr_overlay *overlay, gr_arena *arena)
{
    gr_update_state state;
    if (e->is_known) return gr_ok();
    gr_err err = read_state(overlay, e->update->name, arena, &state);
    if (gr_failed(err)) return err;
    e->is_known = true;
    e->finished_ms = state.finished ? gr_u64be(state.cursor.ptr) : 0;
    e->state = state;
    e->state.cursor = (gr_str){0};
    return gr_ok();
}

static gr_err ready(gr_updates *u, const gr_update *update, const gr_overlay *overlay, gr_arena *arena, bool *out)
{
    *out = false;
    for (int k = 0; k < GR_UPDATE_DEPENDS_MAX && update->depends[k]; k++) {
        entry *before = find(u, update->depends[k]);
        gr_err err = know(before, overlay, arena);
        if (gr_failed(err) || !before->state.finished) return err;
    }
    *out = true;
    return gr_ok();
}

/* When the update may run, as far as time tells. */
static uint64_t due_ms(const entry *e)
{
    if (!e->state.finished) return e->retry_at_ms;
    if (e->update->every_ms == 0) return UINT64_MAX;
    uint64_t due = e->finished_ms + e->update->every_ms;
    return due > e->retry_at_ms ? due : e->retry_at_ms;
}

static void put_off(entry *e, uint64_t now_ms)
{
    uint64_t wait_ms = PUT_OFF_MS;
    for (unsigned i = 0; i < e->tries && wait_ms < PUT_OFF_MAX_MS; i++) wait_ms *= 2;
    e->tries++;
    e->retry_at_ms = now_ms + (wait_ms < PUT_OFF_MAX_MS ? wait_ms : PUT_OFF_MAX_MS);
}

static gr_err begin(entry *e, gr_overlay *overlay, gr_arena *arena, gr_update_step *step)
{
    gr_update_state state;
    gr_err err = read_state(overlay, e->update->name, arena, &state);
    if (gr_failed(err)) return err;
    *step = (gr_update_step){.overlay = overlay, .arena = arena, .arg = e->update->arg};
    if (!state.finished) step->cursor = state.cursor;
    err = e->update->step(step);
    if (gr_failed(err)) gr_ops_free(&step->writes);
    return err;
}

gr_err gr_updates_begin(gr_updates *u, gr_overlay *overlay, gr_arena *arena, uint64_t now_ms, gr_update_step *step,
                        size_t *number, uint64_t *next_ms)
{
    gr_err first = gr_ok();
    *number = u->count;
    *next_ms = UINT64_MAX;
    for (size_t i = 0; i < u->count && !u->paused; i++) {
        entry *e = &u->entries[i];
        bool is_ready = false;
        if (e->paused || !e->update->step) continue;
        gr_err err = know(e, overlay, arena);
        if (!gr_failed(err) && due_ms(e) <= now_ms) err = ready(u, e->update, overlay, arena, &is_ready);
        if (is_ready) err = begin(e, overlay, arena, step);
        if (gr_failed(err)) put_off(e, now_ms);
        if (gr_failed(err) && !gr_failed(first)) first = err;
        if (is_ready && !gr_failed(err)) {
            *number = i;
            return gr_ok();
        }
        if (due_ms(e) > now_ms && due_ms(e) < *next_ms) *next_ms = due_ms(e);
    }
    return first;
}

void gr_updates_end(gr_updates *u, gr_overlay *overlay, uint64_t group, uint64_t now_ms, size_t number,
                    gr_update_step *step)
{
    entry *e = &u->entries[number];
    gr_update_state state = e->state;
    gr_buf when = {0};
    gr_assert(e->is_known);
    gr_str rest = gr_buf_view(&step->writes.bytes);
    for (gr_op op; gr_op_next(&rest, &op);) {
        if (op.kind == GR_OP_PUT) gr_overlay_put(overlay, group, op.key, op.value);
        else gr_overlay_delete(overlay, group, op.key);
    }
    write_bad(overlay, group, e->update->name, step, &state.skipped);
    state.steps++;
    state.worked += step->worked;
    state.finished = step->finished;
    gr_buf_u64be(&when, now_ms);
    state.cursor = step->finished ? gr_buf_view(&when) : step->cursor;
    write_state(overlay, group, e->update->name, &state);
    gr_buf_free(&when);
    e->state = state;
    e->state.cursor = (gr_str){0};
    e->tries = 0;
    e->retry_at_ms = 0;
    e->finished_ms = now_ms;
    gr_ops_free(&step->writes);
}

unsigned gr_updates_failed(gr_updates *u, uint64_t now_ms, size_t number, gr_update_step *step)
{
    put_off(&u->entries[number], now_ms);
    gr_ops_free(&step->writes);
    return u->entries[number].tries;
}

unsigned gr_updates_tries(const gr_updates *u, size_t number) { return u->entries[number].tries; }

gr_err gr_updates_note(gr_updates *u, gr_overlay *overlay, uint64_t group, gr_arena *arena, const char *name,
                       uint64_t worked)
{
    entry *e = find(u, name);
    gr_assert(e && !e->update->step);
    gr_err err = know(e, overlay, arena);
    if (gr_failed(err)) return err;
    e->state.steps++;
    e->state.worked += worked;
    write_state(overlay, group, name, &e->state);
    return err;
}

bool gr_updates_paused(const gr_updates *u, const char *name)
{
    const entry *e = find(u, name);
    return e && e->paused;
}

bool gr_updates_put_off(const gr_updates *u, const char *name) { return find(u, name)->tries > 0; }

gr_err gr_updates_step(gr_updates *u, gr_overlay *overlay, uint64_t group, gr_arena *arena, uint64_t now_ms,
                       bool *ran)
{
    gr_update_step step;
    size_t number;
    uint64_t next_ms;
    gr_err err = gr_updates_begin(u, overlay, arena, now_ms, &step, &number, &next_ms);
    *ran = number < u->count;
    if (*ran) gr_updates_end(u, overlay, group, now_ms, number, &step);
    return err;
}

gr_err gr_updates_state(gr_updates *u, const gr_overlay *overlay, const char *name, gr_arena *arena,
                        gr_update_state *out)
{
    *out = (gr_update_state){0};
    entry *e = find(u, name);
    if (!e) return gr_failf(arena, GR_NOT_FOUND, "There is no background update named %s", name);
    gr_err err = know(e, overlay, arena);
    if (!gr_failed(err)) *out = e->state;
    return err;
}

typedef struct { gr_arena *arena; gr_strs *out; } listing;

static bool list_bad(void *arg, gr_str key, gr_str value)
{
    listing *l = arg;
    (void)key;
    if (l->out->count == GR_UPDATE_LISTED_MAX) return false;
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
