/* upkeep.c - the updates of a worker's shards, their turn and their pace. See upkeep.h. */
#include "bus/upkeep.h"
#include "bus/pace.h"

#include <stdlib.h>

enum { RATE_MS = 2000, AT = 1, PAST = 2 };

#define PAUSED_PREFIX "updates/paused/"

/* What is told of one, beside its records. */
typedef struct {
    const gr_actor_upkeep *upkeep;
    gr_kind kind;
    uint64_t since_ms, worked, rate;        /* worked in a window of time that began then; rate of the one before */
} told;

struct gr_upkeep {
    gr_update updates[GR_UPDATES_MAX];         /* those by timer last */
    told told[GR_UPDATES_MAX];                 /* in the same order */
    size_t count;
    unsigned shard;                         /* whose turn it is */
    gr_pace pace;
    bool is_paused;
    uint64_t due_ms;                        /* nothing can be done before; 0: it is not known */
    uint64_t pause_ms;                      /* no slice begins before */
    uint64_t group, slice_us;               /* of a slice that is not durable yet; 0: none */
    uint64_t along_us;                      /* no step goes along before */
};

/* --- the list -------------------------------------------------------------------------------------------- */
/* The keys of an actor: its kind, id, 0.  A cursor is AT or PAST an id. */
typedef struct { gr_arena *arena; gr_str key; } found;

static bool on_key(void *arg, gr_str key, gr_str value)
{
    found *f = arg;
    (void)value;
    f->key = gr_arena_str(f->arena, key);
    return false;
}

static gr_str cursor_of(gr_arena *a, char where, gr_str id) { return gr_arena_cat(a, 2, (gr_str[]){{&where, 1}, id}); }

static gr_err next_actor(gr_update_step *step)
{
    const told *of = step->arg;
    char kind = (char)(GR_ACTOR_KEY_FIRST + of->kind), end = (char)(kind + 1);
    gr_str after = step->cursor.size && step->cursor.ptr[0] == PAST ? GR_STR("\1") : (gr_str){0};
    gr_str from = gr_arena_cat(step->arena, 3, (gr_str[]){{&kind, 1}, gr_str_from(step->cursor, 1), after});
    gr_range range = {.from = from, .to = {&end, 1}, .limit = 1};
    found f = {.arena = step->arena};
    gr_err err = gr_overlay_scan(step->overlay, &range, on_key, &f);
    if (gr_failed(err)) return err;
    ptrdiff_t size = gr_str_find(f.key, 0);
    step->finished = f.key.size == 0;
    if (size > 1) step->actor = gr_address(step->arena, of->kind, (gr_str){f.key.ptr + 1, (size_t)size - 1});
    if (step->finished || size > 1) return gr_ok();
    gr_update_skip(step, f.key, GR_STR("no actor can have this key"));
    step->cursor = cursor_of(step->arena, PAST, gr_str_from(f.key, 1));
    return gr_ok();
}

static void add(gr_upkeep *u, const gr_actor_kind *kind, const gr_actor_upkeep *upkeep)
{
    gr_assert(u->count < GR_UPDATES_MAX);
    told *t = &u->told[u->count];
    *t = (told){.upkeep = upkeep, .kind = kind->kind};
    u->updates[u->count++] = (gr_update){.name = upkeep->name, .depends = {upkeep->depends}, .arg = t,
                                         .step = upkeep->by_timer ? NULL : next_actor, .every_ms = upkeep->every_ms};
}

gr_upkeep *gr_upkeep_new(const gr_actor_kind *const *kinds)
{
    gr_upkeep *u = gr_alloc(sizeof *u);
    for (int by_timer = 0; by_timer < 2; by_timer++)
        for (size_t i = 0; kinds[i]; i++)
            for (const gr_actor_upkeep *k = kinds[i]->upkeep; k && k->name; k++)
                if (k->by_timer == by_timer) add(u, kinds[i], k);
    return u;
}

void gr_upkeep_free(gr_upkeep **at)
{
    free(*at);
    *at = NULL;
}

/* --- shards, and what is paused -------------------------------------------------------------------------- */
/* home: whose updates; NULL: the worker itself. */
typedef struct { gr_worker *w; gr_home *home; } pausing;

static bool on_paused(void *arg, gr_str key, gr_str value)
{
    const pausing *p = arg;
    (void)value;
    char *name = gr_str_dup(gr_str_from(key, sizeof "h" PAUSED_PREFIX - 1));
    if (p->home) gr_updates_pause(p->home->updates, name, true);
    else if (!name[0]) p->w->upkeep->is_paused = true;
    free(name);
    return true;
}

static gr_err read_paused(gr_worker *w, gr_home *home)
{
    gr_range range = {.from = GR_STR("h" PAUSED_PREFIX), .to = GR_STR("hupdates/paused0")};   /* '0' follows '/' */
    return gr_store_scan(w->o.store, NULL, &range, on_paused, &(pausing){w, home});
}

/* A store that can't be read does not keep updates from running: they can't be read either. */
static void pause_again(gr_worker *w, gr_home *home)
{
    for (size_t i = 0; i < w->upkeep->count; i++) gr_updates_pause(home->updates, w->upkeep->updates[i].name, false);
    gr_err err = read_paused(w, home);
    (void)err;
    home->updates_due_ms = 0;
}

void gr_upkeep_open(gr_worker *w, gr_home *home)
{
    gr_upkeep_close(home);
    home->updates = gr_updates_new(w->upkeep->updates, w->upkeep->count);
    pause_again(w, home);
    w->upkeep->due_ms = 0;
}

void gr_upkeep_close(gr_home *home) { gr_updates_free(&home->updates); }

void gr_worker_updates_paused(gr_worker *w)
{
    w->upkeep->is_paused = false;
    gr_err err = read_paused(w, NULL);
    (void)err;
    for (int i = 0; i < GR_SHARDS; i++)
        if (w->homes[i] && w->homes[i]->updates) pause_again(w, w->homes[i]);
    w->upkeep->due_ms = 0;
}

gr_err gr_worker_updates_store_pause(gr_store *store, gr_str name, bool paused)
{
    gr_arena *a = gr_arena_new(0);
    gr_ops ops = {0};
    gr_str key = gr_key_node(a, gr_arena_cat(a, 2, (gr_str[]){GR_STR(PAUSED_PREFIX), name}));
    if (paused) gr_ops_put(&ops, key, GR_STR(""));
    else gr_ops_delete(&ops, key);
    gr_err err = gr_store_write(store, &ops);
    gr_ops_free(&ops);
    gr_arena_free(&a);
    return err;
}

/* --- a step ----------------------------------------------------------------------------------------------- */
static void skip_actor(gr_update_step *step, gr_upkeep_done *done, const char *why)
{
    gr_update_skip(step, step->actor, gr_str_c(why));
    done->finished = true;
}

/* The actor does it, or is skipped.  False: it could not be read, and is tried again later. */
static bool ask_actor(gr_worker *w, gr_home *home, size_t number, gr_update_step *step)
{
    gr_upkeep_done done = {0};
    gr_err err = gr_ok();
    gr_live *live = gr_live_of(w, step->actor);
    bool was_loaded = live && live->self, tried = gr_updates_tries(home->updates, number) + 1 >= GR_UPDATE_TRIES_MAX;
    if (!live || live->home != home) {
        skip_actor(step, &done, "no actor of this shard has this address");
        live = NULL;
    } else {
        err = gr_live_upkeep(w, live, gr_str_c(w->upkeep->updates[number].name), &done);
    }
    if (err.code == GR_UNAVAILABLE && !tried) return false;
    if (gr_failed(err)) skip_actor(step, &done, err.text);
    for (size_t i = 0; i < done.skipped.count; i++) gr_update_skip(step, step->actor, done.skipped.at[i]);
    step->worked = done.worked;
    step->cursor = cursor_of(step->arena, done.finished ? PAST : AT, gr_address_id(step->actor));
    if (live && !was_loaded && done.finished) gr_live_leave(w, live);
    return true;
}

static void count_rate(gr_worker *w, told *t, uint64_t worked)
{
    if (w->now_ms - t->since_ms >= RATE_MS) {
        bool is_recent = w->now_ms - t->since_ms < 5 * RATE_MS;
        t->rate = is_recent ? t->worked * 1000 / (w->now_ms - t->since_ms) : 0;
        t->since_ms = w->now_ms;
        t->worked = 0;
    }
    t->worked += worked;
}

/* True: a step was run, or tried. */
static bool step_shard(gr_worker *w, gr_home *home)
{
    gr_update_step step;
    size_t number;
    uint64_t next_ms;
    gr_group *group = gr_group_of(w, w->current);
    gr_err err = gr_updates_begin(home->updates, home->overlay, group->arena, w->now_ms, &step, &number, &next_ms);
    (void)err;                            /* it is put off, and told as that */
    home->updates_due_ms = next_ms;
    if (number == w->upkeep->count) return false;
    home->updates_due_ms = 0;
    if (step.actor.size && !ask_actor(w, home, number, &step)) {
        gr_updates_failed(home->updates, w->now_ms, number, &step);
        return true;
    }
    if (!home->is_open) {                 /* lost meanwhile: nothing of it remains */
        gr_ops_free(&step.writes);
        return true;
    }
    gr_home_touch(w, home);
    gr_updates_end(home->updates, home->overlay, w->current, w->now_ms, number, &step);
    count_rate(w, &w->upkeep->told[number], step.worked);
    if (gr_overlay_size(home->overlay) > GR_GROUP_BATCH) gr_group_of(w, w->current)->is_full = true;
    return true;
}

/* A step of the next shard that has something to do; updates of a shard go on until it is their turn no more. */
static bool step_next(gr_worker *w)
{
    gr_upkeep *u = w->upkeep;
    uint64_t next_ms = UINT64_MAX;
    for (unsigned i = 0; i < GR_SHARDS; i++) {
        gr_home *home = w->homes[u->shard];
        if (home && home->is_open && home->updates_due_ms <= w->now_ms && step_shard(w, home)) return true;
        if (home && home->is_open && home->updates_due_ms < next_ms) next_ms = home->updates_due_ms;
        u->shard = (u->shard + 1) % GR_SHARDS;
    }
    u->due_ms = next_ms;
    return false;
}

/* --- slices ------------------------------------------------------------------------------------------------ */
void gr_upkeep_felt(gr_worker *w, uint64_t queued_us) { gr_pace_felt(&w->upkeep->pace, queued_us, w->now_us); }

/* False: the last slice is on its way to the disk.  Else its cost is known, and when the next one is due. */
static bool is_settled(gr_worker *w)
{
    gr_upkeep *u = w->upkeep;
    if (u->group == 0) return true;
    if (u->group > w->released) return false;
    const gr_group *group = gr_group_of(w, u->group);
    uint64_t commit_us = group->id == u->group ? group->committed_us - group->submitted_us : 0;
    uint64_t due_ms = w->now_ms + 1 + gr_pace_end(&u->pace, u->slice_us + commit_us, w->now_us) / 1000;
    u->pause_ms = due_ms;
    u->group = 0;
    return true;
}

static bool must_wait(gr_worker *w)
{
    const gr_group *open = gr_group_of(w, w->current);
    bool is_busy = w->run_first || open->messages > 0 || gr_group_outstanding(w) >= GR_GROUPS_OUTSTANDING;
    return open->is_full || (is_busy && w->now_ms < w->upkeep->pause_ms + GR_UPKEEP_PATIENCE_MS);
}

/* A group that is committed anyway, and waits for the disk behind another one, takes a step along: that costs others neither
 * a commit nor, as a rule, time. */
static void go_along(gr_worker *w)
{
    gr_upkeep *u = w->upkeep;
    const gr_group *open = gr_group_of(w, w->current);
    bool waits = open->dirty && open->messages > 0 && gr_group_outstanding(w) + 1 == GR_GROUPS_OUTSTANDING;
    if (!waits || open->is_full || w->run_first || u->due_ms > w->now_ms || w->now_us < u->along_us) return;
    uint64_t start_us = gr_runtime_us(w);
    step_next(w);
    u->along_us = w->now_us + gr_pace_pause(&u->pace, gr_runtime_us(w) - start_us);
}

uint64_t gr_upkeep_run(gr_worker *w)
{
    gr_upkeep *u = w->upkeep;
    if (u->count == 0 || u->is_paused || w->is_stopping) return UINT64_MAX;
    go_along(w);
    if (!is_settled(w)) return UINT64_MAX;
    uint64_t due_ms = u->due_ms > u->pause_ms ? u->due_ms : u->pause_ms;
    if (due_ms > w->now_ms) return due_ms;
    if (must_wait(w)) return w->now_ms + 1;
    uint64_t start_us = gr_runtime_us(w), group = w->current;
    bool goes_on = true;
    unsigned times = u->pace.percent == GR_PACE_IDLE ? GR_UPKEEP_ALONE : 1;
    gr_pace_begin(&u->pace);
    for (unsigned i = 0; i < times * GR_UPKEEP_STEPS_MAX && goes_on; i++) {
        goes_on = step_next(w) && w->current == group && !gr_group_of(w, group)->is_full
                  && gr_runtime_us(w) - start_us < times * GR_UPKEEP_SLICE_US;
    }
    u->slice_us = gr_runtime_us(w) - start_us;
    if (gr_group_of(w, w->current)->dirty) group = w->current;
    else if (w->current == group) group = 0;
    u->group = group;
    u->pace.is_running = group != 0;
    return group ? UINT64_MAX : u->due_ms > w->now_ms ? u->due_ms : w->now_ms + 1;     /* the commit wakes the worker */
}

/* --- for people ------------------------------------------------------------------------------------------- */
/* Work is not undone because its count can't be read. */
void gr_upkeep_note(gr_worker *w, gr_home *home, const char *name, uint64_t worked)
{
    gr_upkeep *u = w->upkeep;
    size_t i = 0;
    while (i < u->count && strcmp(u->told[i].upkeep->name, name) != 0) i++;
    if (i == u->count) return;              /* the kind does not list it */
    gr_home_touch(w, home);
    gr_err err = gr_updates_note(home->updates, home->overlay, w->current, gr_group_of(w, w->current)->arena, name, worked);
    if (!gr_failed(err)) count_rate(w, &u->told[i], worked);
}

bool gr_upkeep_paused(const gr_worker *w) { return w->upkeep->is_paused; }

static void add_shard(const gr_home *home, const gr_update *update, gr_arena *a, gr_update_info *info)
{
    gr_update_state state;
    gr_err err = gr_updates_state(home->updates, home->overlay, update->name, a, &state);
    info->shards++;
    if (gr_failed(err)) return;
    info->shards_done += state.finished;
    info->steps += state.steps;
    info->worked += state.worked;
    info->skipped += state.skipped;
    info->shards_put_off += gr_updates_put_off(home->updates, update->name);
    info->is_paused = gr_updates_paused(home->updates, update->name);
}

size_t gr_worker_updates(gr_worker *w, gr_update_info *out, size_t room)
{
    gr_upkeep *u = w->upkeep;
    size_t count = u->count < room ? u->count : room;
    gr_arena *a = gr_arena_new(0);
    for (size_t i = 0; i < count; i++) {
        const told *t = &u->told[i];
        out[i] = (gr_update_info){.name = t->upkeep->name, .recurs = t->upkeep->every_ms > 0, .by_timer = t->upkeep->by_timer};
        for (int shard = 0; shard < GR_SHARDS; shard++)
            if (w->homes[shard] && w->homes[shard]->is_open) add_shard(w->homes[shard], &u->updates[i], a, &out[i]);
        out[i].is_paused |= u->is_paused;
        if (out[i].by_timer) out[i].shards = out[i].shards_done = 0;       /* none is ever done */
        if (w->now_ms - t->since_ms < 2 * RATE_MS) out[i].rate = t->rate;
        gr_arena_reset(a);
    }
    gr_arena_free(&a);
    return count;
}

void gr_worker_update_skipped(gr_worker *w, const char *name, gr_update_skipped_fn *fn, void *arg)
{
    gr_arena *a = gr_arena_new(0);
    for (int shard = 0; shard < GR_SHARDS; shard++) {
        gr_home *home = w->homes[shard];
        gr_strs texts = {0};
        if (!home || !home->is_open || gr_failed(gr_updates_skipped(home->updates, home->overlay, name, a, &texts))) continue;
        for (size_t i = 0; i < texts.count; i++) fn(arg, (uint8_t)shard, texts.at[i]);
        gr_arena_reset(a);
    }
    gr_arena_free(&a);
}
