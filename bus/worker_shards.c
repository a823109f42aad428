/* worker_shards.c - opening shards, the runtime's own keys, positions, losing a shard. See runtime.h. */
#include "bus/dead.h"
#include "bus/post.h"
#include "bus/runtime.h"
#include "bus/timer.h"
#include "bus/upkeep.h"

#include <stdlib.h>

enum { POSITIONS_RESERVED = 4096, REOPEN_MS = 1000 };

static const char ceiling_key[] = {GR_KEY_CEILING};

void gr_home_touch(gr_worker *w, gr_home *home)
{
    if (home->written == w->current) return;
    gr_group *group = gr_group_of(w, w->current);
    home->written = w->current;
    home->next_dirty = group->dirty;
    group->dirty = home;
}

void gr_home_put(gr_worker *w, gr_home *home, gr_str key, gr_str value)
{
    if (!home->is_open) return; /* opened again later it begins from what is durable */
    gr_home_touch(w, home);
    gr_overlay_put(home->overlay, w->current, key, value);
}

void gr_home_delete(gr_worker *w, gr_home *home, gr_str key)
{
    if (!home->is_open) return;
    gr_home_touch(w, home);
    gr_overlay_delete(home->overlay, w->current, key);
}

/* --- positions ------------------------------------------------------------------------------------------ */
/* A ceiling above all positions given is durable before any effect that may show them is released: whoever
 * gets a position beyond it writes the next ceiling into the same group.  After a crash positions go on from
 * the ceiling. */
uint64_t gr_home_position(void *arg, uint8_t shard)
{
    gr_worker *w = arg;
    gr_home *home = w->homes[shard];
    if (++home->position > home->ceiling) {
        home->ceiling = home->position + POSITIONS_RESERVED;
        char value[8];
        for (int i = 0; i < 8; i++) value[i] = (char)(home->ceiling >> (56 - 8 * i));
        gr_home_put(w, home, gr_str_of(ceiling_key, 1), gr_str_of(value, sizeof value));
    }
    return home->position;
}

uint64_t gr_home_newest(void *arg, uint8_t shard) { return ((gr_worker *)arg)->homes[shard]->position; }

static gr_err read_ceiling(gr_home *home, gr_arena *arena)
{
    gr_str value;
    gr_err err = gr_overlay_get(home->overlay, gr_str_of(ceiling_key, 1), arena, &value);
    if (gr_failed(err)) return err;
    home->ceiling = value.size == 8 ? gr_u64be(value.ptr) : 0;
    if (home->position < home->ceiling) home->position = home->ceiling;
    return gr_ok();
}

/* --- opening and losing --------------------------------------------------------------------------------- */
static gr_err open_shard(gr_worker *w, gr_home *home, gr_arena *arena)
{
    gr_overlay_drop(home->overlay);
    gr_err err = gr_shard_open(w->o.store, home->shard.shard, arena, &home->shard);
    if (!gr_failed(err)) err = read_ceiling(home, arena);
    if (gr_failed(err)) return err;
    home->is_open = true;
    err = gr_post_open(w, home);
    if (gr_failed(err)) {
        gr_post_close(w, home);
        home->is_open = false;
        return err;
    }
    gr_dead_open(w, home, arena);
    gr_live_suspended_at_open(w, home);
    gr_timer_open(w, home);
    gr_upkeep_open(w, home);
    return gr_ok();
}

/* What has to be done to a shard later: opening it again, or reading more of its timers. */
static void on_reload(gr_worker *w, gr_due *due)
{
    gr_home *home = (gr_home *)((char *)due - offsetof(gr_home, reload));
    if (home->is_open) {
        gr_timer_open(w, home);
        return;
    }
    gr_arena *arena = gr_arena_new(0);
    if (gr_failed(open_shard(w, home, arena))) gr_due_set(w, &home->reload, w->now_ms + REOPEN_MS);
    gr_arena_free(&arena);
}

gr_err gr_home_open(gr_worker *w, uint8_t shard, gr_arena *arena)
{
    gr_home *home = w->homes[shard] = gr_alloc(sizeof *home);
    home->shard.shard = shard;
    home->generation = 1;
    home->reload.fire = on_reload;
    home->overlay = gr_overlay_new(&home->shard, w->rows);
    return open_shard(w, home, arena);
}

void gr_home_free(gr_worker *w, gr_home **at)
{
    gr_home *home = *at;
    if (!home) return;
    gr_post_close(w, home);
    gr_upkeep_close(home);
    gr_overlay_free(&home->overlay);
    free(home);
    *at = NULL;
}

static void drop_actors(gr_worker *w, gr_home *home)
{
    gr_live *next = NULL;
    for (gr_live *live = w->lives; live; live = next) {
        next = live->hh.next;
        if (live->home != home) continue;
        live->open = 0; /* asks and work of before are forgotten with the shard's generation */
        gr_live_drop(w, live);
    }
}

void gr_home_lose(gr_worker *w, gr_home *home)
{
    home->generation++;
    home->is_open = false;
    w->n.lost_shards++;
    gr_overlay_drop(home->overlay);
    gr_pending_lose(w, home); /* first: actors that ask others of the shard go too, and need no answer */
    w->is_losing = true; /* askers that are freed now get an answer */
    drop_actors(w, home);
    w->is_losing = false;
    gr_timer_close(w, home);
    gr_post_close(w, home);
    gr_due_clear(w, &home->reload);
    on_reload(w, &home->reload);
}
