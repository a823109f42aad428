/* worker_actors.c - the table of actors: mailboxes, loading, eviction, suspension. See runtime.h. */
#include "bus/runtime.h"

#include <stdio.h>
#include <stdlib.h>

enum { EVICTIONS_A_STEP = 32 };

/* --- messages in mailboxes ------------------------------------------------------------------------------ */
static gr_str put(char **at, gr_str s)
{
    gr_str copy = {*at, s.size};
    if (s.size) memcpy(*at, s.ptr, s.size);
    *at += s.size;
    return copy;
}

gr_item *gr_item_new(const gr_envelope *e, uint64_t queued_us)
{
    size_t size = e->from.size + e->to.size + e->body.size + e->attachment.size + e->reply_to.size;
    gr_item *item = gr_realloc(NULL, sizeof *item + size);
    *item = (gr_item){.e = *e, .queued_us = queued_us, .size = sizeof *item + size};
    char *at = item->bytes;
    item->e.from = put(&at, e->from);
    item->e.to = put(&at, e->to);
    item->e.body = put(&at, e->body);
    item->e.attachment = put(&at, e->attachment);
    item->e.reply_to = put(&at, e->reply_to);
    return item;
}

/* Bodies may hold secrets of asks: those types have a field of that class, and their bytes are wiped. */
static bool has_secret(const gr_type *type)
{
    const gr_field *fields = type->fields();
    for (size_t i = 0; i < type->field_count; i++)
        if (fields[i].class == GR_CLASS_SECRET) return true;
    return false;
}

void gr_item_free(gr_item *item)
{
    if (!item) return;
    const gr_type *type = gr_type_find(item->e.type);
    if (!type || has_secret(type)) explicit_bzero(item->bytes, item->size - sizeof *item);
    free((char *)item->resume.bytes.ptr);
    free(item);
}

void gr_mailbox_queue(gr_worker *w, gr_mailbox *box)
{
    if (box->is_queued) return;
    box->is_queued = true;
    box->next = NULL;
    *w->run_last = box;
    w->run_last = &box->next;
}

void gr_mailbox_add(gr_worker *w, gr_mailbox *box, gr_item *item)
{
    if (!box->first) box->last = &box->first;
    item->next = NULL;
    *box->last = item;
    box->last = &item->next;
    box->count++;
    w->n.mailbox_depth++;
    w->n.mailbox_bytes += item->size;
    gr_mailbox_queue(w, box);
}

gr_item *gr_mailbox_take(gr_worker *w, gr_mailbox *box)
{
    gr_item *item = box->first;
    if (!item) return NULL;
    box->first = item->next;
    box->count--;
    w->n.mailbox_depth--;
    w->n.mailbox_bytes -= item->size;
    return item;
}

void gr_mailbox_clear(gr_worker *w, gr_mailbox *box)
{
    for (gr_item *item; (item = gr_mailbox_take(w, box));) gr_item_free(item);
}

/* --- the table ------------------------------------------------------------------------------------------ */
gr_live *gr_live_find(gr_worker *w, gr_str address)
{
    gr_live *live = NULL;
    HASH_FIND(hh, w->lives, address.ptr, address.size, live);
    return live;
}

gr_live *gr_live_of(gr_worker *w, gr_str address)
{
    gr_live *live = gr_live_find(w, address);
    if (live) return live;
    if (!gr_address_valid(address) || gr_str_find(address, 0) >= 0) return NULL;
    const gr_actor_kind *kind = w->kinds[gr_address_kind(address)];
    if (!kind || kind->kind == GR_KIND_EDGE) return NULL;
    gr_home *home = w->homes[gr_address_shard(address)];
    if (!home) return NULL;
    live = gr_alloc(sizeof *live + address.size);
    live->home = home;
    live->kind = kind;
    live->address_size = address.size;
    memcpy(live->address, address.ptr, address.size);
    HASH_ADD(hh, w->lives, address, address.size, live);
    return live;
}

static void unlink_used(gr_worker *w, gr_live *live)
{
    *(live->newer ? &live->newer->older : &w->newest) = live->older;
    *(live->older ? &live->older->newer : &w->oldest) = live->newer;
    live->newer = live->older = NULL;
}

static void link_newest(gr_worker *w, gr_live *live)
{
    live->older = w->newest;
    live->newer = NULL;
    *(w->newest ? &w->newest->newer : &w->oldest) = live;
    w->newest = live;
}

static void weigh(gr_worker *w, gr_live *live)
{
    size_t memory = sizeof *live + live->address_size + live->kind->size;
    if (live->kind->memory) memory += live->kind->memory(live->self);
    w->lives_memory += memory - live->memory;
    live->memory = memory;
}

void gr_live_used(gr_worker *w, gr_live *live)
{
    weigh(w, live);
    if (w->newest == live) return;
    unlink_used(w, live);
    link_newest(w, live);
}

bool gr_live_load(gr_worker *w, gr_live *live, gr_ctx *c)
{
    if (live->self) return true;
    live->self = gr_alloc(live->kind->size);
    c->loading = true;
    if (live->kind->load) live->kind->load(live->self, gr_address_id(gr_live_address(live)), c);
    c->loading = false;
    link_newest(w, live);
    weigh(w, live);
    w->n.actors++;
    w->n.loads++;
    if (!gr_failed(c->failed)) return true;
    gr_live_drop(w, live);
    return false;
}

void gr_live_drop(gr_worker *w, gr_live *live)
{
    if (!live->self) return;
    if (live->kind->drop) live->kind->drop(live->self);
    free(live->self);
    live->self = NULL;
    unlink_used(w, live);
    w->lives_memory -= live->memory;
    live->memory = 0;
    w->n.actors--;
}

void gr_live_free(gr_worker *w, gr_live *live)
{
    gr_live_drop(w, live);
    gr_assert(!live->box.is_queued && !live->box.first && live->open == 0 && !live->suspended);
    HASH_DEL(w->lives, live);
    free(live);
}

static bool is_busy(const gr_live *live)
{
    return live->box.is_queued || live->open > 0 || (live->kind->busy && live->self && live->kind->busy(live->self));
}

void gr_live_leave(gr_worker *w, gr_live *live)
{
    if (!is_busy(live) && !live->suspended && !live->box.first) gr_live_free(w, live);
}

void gr_live_evict(gr_worker *w)
{
    gr_live *live = w->oldest;
    for (int i = 0; i < EVICTIONS_A_STEP && live && w->lives_memory > w->o.memory_max; i++) {
        gr_live *next = live->newer;
        if (!is_busy(live)) {
            w->n.evictions++;
            if (live->suspended) gr_live_drop(w, live);
            else gr_live_free(w, live);
        } else if (next) { /* it moves to the young end, so that the next step looks further */
            unlink_used(w, live);
            link_newest(w, live);
        }
        live = next;
    }
}

/* --- suspension ----------------------------------------------------------------------------------------- */
static gr_str suspended_key(gr_worker *w, gr_str address)
{
    gr_buf_clear(&w->scratch);
    gr_buf_char(&w->scratch, GR_KEY_SUSPENDED);
    gr_buf_str(&w->scratch, address);
    return gr_buf_view(&w->scratch);
}

void gr_live_suspend(gr_worker *w, gr_live *live)
{
    if (live->suspended) return;
    live->suspended = true;
    w->n.suspended++;
    gr_home_put(w, live->home, suspended_key(w, gr_live_address(live)), GR_STR("1"));
}

bool gr_worker_unsuspend(gr_worker *w, gr_str address)
{
    gr_live *live = gr_live_find(w, address);
    if (!live || !live->suspended) return false;
    live->suspended = false;
    w->n.suspended--;
    gr_home_delete(w, live->home, suspended_key(w, address));
    return true;
}

static bool on_suspended(void *arg, gr_str key, gr_str value)
{
    gr_worker *w = arg;
    (void)value;
    gr_live *live = gr_live_of(w, gr_str_from(key, 1));
    if (live && !live->suspended) {
        live->suspended = true;
        w->n.suspended++;
    }
    return true;
}

void gr_live_suspended_at_open(gr_worker *w, gr_home *home)
{
    static const char from[] = {GR_KEY_SUSPENDED}, to[] = {GR_KEY_SUSPENDED + 1};
    gr_range range = {.from = {from, 1}, .to = {to, 1}};
    gr_err err = gr_overlay_scan(home->overlay, &range, on_suspended, w);
    (void)err; /* a store that cannot be read fails the first message as well */
}

/* --- for other actors and for people -------------------------------------------------------------------- */
/* Loads an actor beside the handler that is perhaps running: with a ctx of its own. */
static bool load_beside(gr_worker *w, gr_live *live)
{
    if (live->self) return true;
    gr_ctx c = {.host = w->ctx.host,
                .host_arg = w,
                .env = w->o.env,
                .arena = gr_group_of(w, w->current)->arena,
                .overlay = live->home->overlay,
                .shard = live->home->shard.shard,
                .incarnation = live->home->shard.incarnation,
                .now_ms = w->now_ms};
    gr_ctx_begin(&c, gr_live_address(live));
    bool is_loaded = live->home->is_open && gr_live_load(w, live, &c);
    if (!is_loaded) w->ctx.failed = gr_fail(GR_UNAVAILABLE, "The store could not be read");
    gr_ctx_free(&c);
    return is_loaded;
}

const void *gr_live_sibling(void *arg, gr_kind kind, uint8_t shard)
{
    gr_worker *w = arg;
    char address[32];
    int size = snprintf(address, sizeof address, "%s/%u", gr_kind_name(kind), shard);
    gr_live *live = gr_live_of(w, gr_str_of(address, (size_t)size));
    gr_assert(live && live->home->shard.shard == shard);
    if (!load_beside(w, live)) return gr_arena_alloc(gr_group_of(w, w->current)->arena, live->kind->size);
    return live->self;
}

bool gr_worker_load(gr_worker *w, gr_str address)
{
    gr_live *live = gr_live_of(w, address);
    return live && load_beside(w, live);
}

static bool tell_of(const gr_live *live, gr_actor_info_fn *fn, void *arg)
{
    gr_actor_info info = {.address = gr_live_address(live),
                          .messages = live->messages,
                          .memory = live->memory,
                          .mailbox = live->box.count,
                          .busy = live->self && is_busy(live),
                          .suspended = live->suspended};
    return fn(arg, &info);
}

void gr_worker_actors(gr_worker *w, gr_actor_info_fn *fn, void *arg)
{
    for (gr_live *live = w->newest; live; live = live->older)
        if (!tell_of(live, fn, arg)) return;
    for (gr_live *live = w->n.suspended ? w->lives : NULL; live; live = live->hh.next)
        if (live->suspended && !live->self && !tell_of(live, fn, arg)) return;
}

uint64_t gr_worker_digest(gr_worker *w, gr_str address)
{
    gr_live *live = gr_live_find(w, address);
    return live && live->self && live->kind->digest ? live->kind->digest(live->self) : 0;
}

void gr_worker_unload(gr_worker *w, gr_str address)
{
    gr_live *live = gr_live_find(w, address);
    if (live && live->self && !is_busy(live)) gr_live_drop(w, live);
}
