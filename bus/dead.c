/* dead.c - dead letters: posts that could not be applied, kept with the reason in the receiver's shard. See
 * worker.h. */
#include "bus/dead.h"
#include "bus/runtime.h"

#include <stdlib.h>

enum { GR_DEAD_MAX = 200 * 1024 };

static const char from_key[] = {GR_KEY_DEAD}, to_key[] = {GR_KEY_DEAD + 1};

typedef struct {
    char bytes[9];
} dead_key;

static gr_str key_of(dead_key *key, uint64_t number)
{
    key->bytes[0] = GR_KEY_DEAD;
    for (int i = 0; i < 8; i++) key->bytes[1 + i] = (char)(number >> (56 - 8 * i));
    return gr_str_of(key->bytes, sizeof key->bytes);
}

typedef struct {
    uint64_t count, last;
} counting;

static bool on_count(void *arg, gr_str key, gr_str value)
{
    counting *c = arg;
    (void)value;
    c->count++;
    c->last = key.size == 9 ? gr_u64be(key.ptr + 1) : c->last;
    return true;
}

void gr_dead_open(gr_worker *w, gr_home *home, gr_arena *arena)
{
    (void)arena;
    counting c = {0};
    gr_range range = {.from = {from_key, 1}, .to = {to_key, 1}};
    gr_err err = gr_overlay_scan(home->overlay, &range, on_count, &c);
    (void)err;
    if (home->generation == 1) w->n.dead_letters += c.count;
    if (home->dead_next <= c.last) home->dead_next = c.last + 1;
}

/* The reason, a NUL, the envelope.  What is too large for a batch loses its attachment, then its body. */
void gr_dead_put(gr_worker *w, gr_home *home, const gr_envelope *e, const char *reason)
{
    dead_key key;
    gr_envelope kept = *e;
    kept.sent_us = 0;
    if (kept.body.size + kept.attachment.size > GR_DEAD_MAX) kept.attachment = (gr_str){0};
    if (kept.body.size > GR_DEAD_MAX) kept.body = (gr_str){0};
    gr_buf_clear(&w->scratch);
    gr_buf_add(&w->scratch, reason, strlen(reason) + 1);
    gr_envelope_encode(&w->scratch, &kept);
    gr_home_put(w, home, key_of(&key, home->dead_next++), gr_buf_view(&w->scratch));
    w->n.dead_letters++;
}

void gr_dead_delete(gr_worker *w, gr_home *home, uint64_t number)
{
    dead_key key;
    gr_home_delete(w, home, key_of(&key, number));
    w->n.dead_letters--;
}

static bool read_letter(gr_str value, gr_envelope *e, gr_str *reason)
{
    ptrdiff_t end = gr_str_find(value, 0);
    if (end < 0) return false;
    *reason = gr_str_head(value, (size_t)end);
    return !gr_failed(gr_envelope_decode(gr_str_from(value, (size_t)end + 1), e));
}

typedef struct {
    gr_dead_fn *fn;
    void *arg;
    uint8_t shard;
    bool has_enough;
} telling;

static bool on_letter(void *arg, gr_str key, gr_str value)
{
    telling *t = arg;
    gr_envelope e;
    gr_str reason;
    if (key.size != 9 || !read_letter(value, &e, &reason)) return true;
    gr_dead_letter letter = {t->shard, gr_u64be(key.ptr + 1), &e, reason};
    t->has_enough = !t->fn(t->arg, &letter);
    return !t->has_enough;
}

void gr_worker_dead(gr_worker *w, gr_dead_fn *fn, void *arg)
{
    telling t = {.fn = fn, .arg = arg};
    for (int i = 0; i < GR_SHARDS && !t.has_enough; i++) {
        if (!w->homes[i] || !w->homes[i]->is_open) continue;
        t.shard = (uint8_t)i;
        gr_range range = {.from = {from_key, 1}, .to = {to_key, 1}};
        gr_err err = gr_overlay_scan(w->homes[i]->overlay, &range, on_letter, &t);
        (void)err; /* a list for people: what can be read is shown */
    }
}

static bool find(gr_worker *w, uint8_t shard, uint64_t number, gr_arena *arena, gr_envelope *e)
{
    dead_key key;
    gr_str value, reason;
    gr_home *home = w->homes[shard];
    return home && home->is_open
           && !gr_failed(gr_overlay_get(home->overlay, key_of(&key, number), arena, &value)) && value.ptr
           && read_letter(value, e, &reason);
}

bool gr_worker_dead_retry(gr_worker *w, uint8_t shard, uint64_t number)
{
    gr_arena *arena = gr_arena_new(0);
    gr_envelope e;
    gr_live *live = find(w, shard, number, arena, &e) ? gr_live_of(w, e.to) : NULL;
    if (live && !live->suspended) {
        e.verb = GR_TELL; /* its place in the pair's order has passed */
        gr_item *item = gr_item_new(&e, w->now_us);
        item->dead_number = number;
        gr_mailbox_add(w, &live->box, item);
    }
    gr_arena_free(&arena);
    return live && !live->suspended;
}

bool gr_worker_dead_drop(gr_worker *w, uint8_t shard, uint64_t number)
{
    gr_arena *arena = gr_arena_new(0);
    gr_envelope e;
    bool found = find(w, shard, number, arena, &e);
    if (found) gr_dead_delete(w, w->homes[shard], number);
    gr_arena_free(&arena);
    return found;
}
