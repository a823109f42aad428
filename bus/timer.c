/* timer.c - what is due when: the worker's heap, and the timers of actors.
 *
 * A durable timer lies in its shard twice: by due time (so that the next ones can be read in order) and by
 * actor and name (so that setting it again finds it).  The earliest of each shard are in memory; more are
 * read when those have fired.
 */
#include "bus/timer.h"
#include "bus/runtime.h"

#include <stdlib.h>

enum { TIMERS_READ = 1024, TIMER_AGAIN_MS = 1000 };

/* --- the heap ------------------------------------------------------------------------------------------- */
static void place(gr_worker *w, gr_due *due, size_t at)
{
    w->heap[at] = due;
    due->at = at + 1;
}

static void sift(gr_worker *w, gr_due *due, size_t at)
{
    for (; at > 0 && w->heap[(at - 1) / 2]->due_ms > due->due_ms; at = (at - 1) / 2)
        place(w, w->heap[(at - 1) / 2], at);
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < w->heap_count && w->heap[child + 1]->due_ms < w->heap[child]->due_ms) child++;
        if (child >= w->heap_count || w->heap[child]->due_ms >= due->due_ms) break;
        place(w, w->heap[child], at);
        at = child;
    }
    place(w, due, at);
}

void gr_due_set(gr_worker *w, gr_due *due, uint64_t due_ms)
{
    due->due_ms = due_ms;
    if (due->at == 0) {
        if (w->heap_count == w->heap_room) {
            w->heap_room = w->heap_room ? w->heap_room * 2 : 256;
            w->heap = gr_realloc(w->heap, w->heap_room * sizeof *w->heap);
        }
        due->at = ++w->heap_count;
        w->heap[due->at - 1] = due;
    }
    sift(w, due, due->at - 1);
}

void gr_due_clear(gr_worker *w, gr_due *due)
{
    if (due->at == 0) return;
    size_t at = due->at - 1;
    gr_due *last = w->heap[--w->heap_count];
    due->at = 0;
    if (last != due) sift(w, last, at);
}

bool gr_due_fire(gr_worker *w, size_t limit)
{
    for (; w->heap_count && w->heap[0]->due_ms <= w->now_ms; limit--) {
        if (limit == 0) return true;
        gr_due *due = w->heap[0];
        gr_due_clear(w, due);
        due->fire(w, due);
    }
    return false;
}

uint64_t gr_due_next(const gr_worker *w) { return w->heap_count ? w->heap[0]->due_ms : UINT64_MAX; }

/* --- timers of actors ----------------------------------------------------------------------------------- */
struct gr_timer_entry {
    gr_due due; /* first */
    UT_hash_handle hh;
    gr_home *home;
    uint64_t stored_ms;          /* due time in the store; 0: not durable */
    bool has_fired;              /* its message is in a mailbox */
    size_t actor_size, key_size; /* key: actor, NUL, name */
    char key[];
};

static gr_str actor_of(const gr_timer_entry *t) { return (gr_str){t->key, t->actor_size}; }
static gr_str name_of(const gr_timer_entry *t)
{
    return (gr_str){t->key + t->actor_size + 1, t->key_size - t->actor_size - 1};
}

static gr_str timer_key(gr_worker *w, uint64_t due_ms, gr_str actor, gr_str name)
{
    gr_buf_clear(&w->scratch);
    gr_buf_char(&w->scratch, due_ms ? GR_KEY_TIMER : GR_KEY_TIMER_NAME);
    if (due_ms) gr_buf_u64be(&w->scratch, due_ms);
    gr_buf_str(&w->scratch, actor);
    gr_buf_char(&w->scratch, 0);
    gr_buf_str(&w->scratch, name);
    return gr_buf_view(&w->scratch);
}

static gr_timer_entry *find(gr_worker *w, gr_str actor, gr_str name)
{
    gr_str key = gr_str_from(timer_key(w, 0, actor, name), 1);
    gr_timer_entry *t = NULL;
    HASH_FIND(hh, w->timers, key.ptr, key.size, t);
    return t;
}

static void forget(gr_worker *w, gr_timer_entry *t)
{
    gr_due_clear(w, &t->due);
    HASH_DEL(w->timers, t);
    w->n.timers--;
    free(t);
}

static void on_timer(gr_worker *w, gr_due *due)
{
    gr_timer_entry *t = (gr_timer_entry *)due;
    if (w->is_stopping || !t->home->is_open) {
        gr_due_set(w, due, w->now_ms + TIMER_AGAIN_MS);
        return;
    }
    gr_timer body = {.name = name_of(t), .due_ms = due->due_ms};
    gr_buf_clear(&w->scratch);
    gr_body_encode(&w->scratch, &gr_type_timer, &body);
    gr_envelope e = {.trace = ++w->next_span,
                     .from = actor_of(t),
                     .to = actor_of(t),
                     .verb = GR_TELL,
                     .type = GR_T_timer,
                     .body = gr_buf_view(&w->scratch)};
    e.span = e.trace;
    gr_item *item = gr_item_new(&e, w->now_us);
    item->is_timer = true;
    item->timer_due_ms = due->due_ms;
    t->has_fired = true;
    gr_live *live = gr_live_of(w, item->e.to);
    if (live) gr_mailbox_add(w, &live->box, item);
    else gr_item_free(item); /* of a kind that this version does not run: it stays in the store */
}

static gr_timer_entry *entry_new(gr_worker *w, gr_home *home, gr_str actor, gr_str name)
{
    gr_str key = gr_str_from(timer_key(w, 0, actor, name), 1);
    gr_timer_entry *t = gr_alloc(sizeof *t + key.size);
    t->due.fire = on_timer;
    t->home = home;
    t->actor_size = actor.size;
    t->key_size = key.size;
    memcpy(t->key, key.ptr, key.size);
    HASH_ADD(hh, w->timers, key, key.size, t);
    w->n.timers++;
    return t;
}

/* Where a durable timer lies in the store; 0: nowhere. */
static uint64_t stored_due(gr_worker *w, gr_home *home, const gr_timer_entry *t, gr_str actor, gr_str name)
{
    if (t) return t->stored_ms;
    if (home->timers_loaded == UINT64_MAX) return 0; /* all are in memory */
    gr_str value;
    gr_err err = gr_overlay_get(home->overlay, timer_key(w, 0, actor, name),
                                gr_group_of(w, w->current)->arena, &value);
    return !gr_failed(err) && value.size == 8 ? gr_u64be(value.ptr) : 0;
}

static void unstore(gr_worker *w, gr_home *home, gr_str actor, gr_str name, uint64_t stored_ms)
{
    if (stored_ms == 0) return;
    gr_home_delete(w, home, timer_key(w, stored_ms, actor, name));
    gr_home_delete(w, home, timer_key(w, 0, actor, name));
}

void gr_timer_set(gr_worker *w, gr_home *home, gr_str actor, gr_str name, uint64_t due_ms, bool durable)
{
    if (due_ms == 0) due_ms = 1;
    gr_timer_entry *t = find(w, actor, name);
    uint64_t stored = stored_due(w, home, t, actor, name);
    if (!durable || (stored && stored != due_ms)) unstore(w, home, actor, name, stored);
    if (durable && stored != due_ms) {
        char value[8];
        for (int i = 0; i < 8; i++) value[i] = (char)(due_ms >> (56 - 8 * i));
        gr_home_put(w, home, timer_key(w, due_ms, actor, name), GR_STR(""));
        gr_home_put(w, home, timer_key(w, 0, actor, name), gr_str_of(value, sizeof value));
    }
    if (durable && due_ms >= home->timers_loaded) { /* read when its time comes near */
        if (t) forget(w, t);
        return;
    }
    if (!t) t = entry_new(w, home, actor, name);
    t->has_fired = false;
    t->stored_ms = durable ? due_ms : 0;
    gr_due_set(w, &t->due, due_ms);
}

void gr_timer_clear(gr_worker *w, gr_home *home, gr_str actor, gr_str name)
{
    gr_timer_entry *t = find(w, actor, name);
    unstore(w, home, actor, name, stored_due(w, home, t, actor, name));
    if (t) forget(w, t);
}

/* --- from firing to done -------------------------------------------------------------------------------- */
static gr_timer_entry *of_item(gr_worker *w, const gr_item *item)
{
    gr_arena *arena = gr_group_of(w, w->current)->arena;
    void *body = NULL;
    gr_err err = gr_body_decode(arena, &gr_type_timer, item->e.body, &body);
    gr_assert(!gr_failed(err));
    return find(w, item->e.to, ((gr_timer *)body)->name);
}

bool gr_timer_take(gr_worker *w, gr_home *home, const gr_item *item)
{
    gr_timer_entry *t = of_item(w, item);
    return t && t->home == home && t->has_fired && t->due.due_ms == item->timer_due_ms;
}

void gr_timer_done(gr_worker *w, gr_home *home, const gr_item *item)
{
    gr_timer_entry *t = of_item(w, item);
    if (!t) return;
    unstore(w, home, actor_of(t), name_of(t), t->stored_ms);
    forget(w, t);
}

void gr_timer_again(gr_worker *w, const gr_item *item)
{
    gr_timer_entry *t = of_item(w, item);
    if (!t || !t->has_fired) return;
    t->has_fired = false;
    gr_due_set(w, &t->due, w->now_ms + TIMER_AGAIN_MS);
}

/* --- the timers of a shard ------------------------------------------------------------------------------ */
typedef struct {
    gr_worker *w;
    gr_home *home;
    size_t count;
    uint64_t last;
} reading;

static bool on_row(void *arg, gr_str key, gr_str value)
{
    reading *r = arg;
    (void)value;
    gr_str rest = gr_str_from(key, 9);
    ptrdiff_t end = gr_str_find(rest, 0);
    if (key.size < 9 || end <= 0) return true;
    uint64_t due_ms = gr_u64be(key.ptr + 1);
    if (r->count++ >= TIMERS_READ && due_ms != r->last) return false; /* all of one time, or none of them */
    r->last = due_ms;
    gr_str actor = gr_str_head(rest, (size_t)end), name = gr_str_from(rest, (size_t)end + 1);
    gr_timer_entry *t = find(r->w, actor, name);
    if (t) return true; /* it is in memory already */
    t = entry_new(r->w, r->home, actor, name);
    t->stored_ms = due_ms;
    gr_due_set(r->w, &t->due, due_ms);
    return true;
}

void gr_timer_open(gr_worker *w, gr_home *home)
{
    char from[9] = {GR_KEY_TIMER};
    static const char to[] = {GR_KEY_TIMER + 1};
    for (int i = 0; i < 8; i++) from[1 + i] = (char)(home->timers_loaded >> (56 - 8 * i));
    gr_range range = {.from = {from, sizeof from}, .to = {to, 1}};
    reading r = {.w = w, .home = home};
    gr_err err = gr_overlay_scan(home->overlay, &range, on_row, &r);
    bool has_more = gr_failed(err) || r.count > TIMERS_READ;
    home->timers_loaded = gr_failed(err) ? home->timers_loaded : has_more ? r.last + 1 : UINT64_MAX;
    if (has_more) gr_due_set(w, &home->reload, r.last > w->now_ms ? r.last : w->now_ms + TIMER_AGAIN_MS);
}

void gr_timer_close(gr_worker *w, gr_home *home)
{
    gr_timer_entry *t, *next;
    HASH_ITER(hh, w->timers, t, next) if (t->home == home && t->stored_ms) forget(w, t);
    home->timers_loaded = 0;
}

void gr_timer_free(gr_worker *w)
{
    gr_timer_entry *t, *next;
    HASH_ITER(hh, w->timers, t, next) forget(w, t);
    free(w->heap);
}
