/* worker_handle.c - one message: decode, handle, take over what the handler left. See runtime.h. */
#include "bus/dead.h"
#include "bus/post.h"
#include "bus/runtime.h"
#include "bus/timer.h"
#include "bus/upkeep.h"

#include <stdlib.h>

/* --- the crash page ------------------------------------------------------------------------------------- */
static bool is_suspect(const gr_worker *w, const gr_item *item)
{
    const gr_crash_slot *s = &w->suspect;
    return s->busy && s->verb == (uint32_t)item->e.verb && s->type == item->e.type
           && (item->e.verb != GR_POST || s->seq == item->e.seq)
           && gr_str_eq(gr_str_of(s->to, s->to_size), item->e.to)
           && gr_str_eq(gr_str_of(s->from, s->from_size), item->e.from);
}

static void mark(gr_worker *w, const gr_item *item)
{
    gr_crash_slot *s = w->o.crash;
    if (!s) return;
    s->crashes = is_suspect(w, item) ? w->suspect.crashes : 0;
    s->verb = item->e.verb;
    s->type = item->e.type;
    s->seq = item->e.verb == GR_POST ? item->e.seq : 0;
    s->to_size = (uint16_t)item->e.to.size;
    s->from_size = (uint16_t)(item->e.from.size <= GR_ADDRESS_MAX ? item->e.from.size : 0);
    memcpy(s->to, item->e.to.ptr, s->to_size);
    if (s->from_size) memcpy(s->from, item->e.from.ptr, s->from_size);
    __atomic_store_n(&s->busy, 1, __ATOMIC_RELEASE);
}

static void unmark(gr_worker *w)
{
    if (w->o.crash) __atomic_store_n(&w->o.crash->busy, 0, __ATOMIC_RELEASE);
}

/* --- what the handler left ------------------------------------------------------------------------------ */
static bool wants_answer(const gr_item *item)
{
    return item->e.verb == GR_ASK || (item->e.verb == GR_POST && item->e.reply_to.size > 0);
}

static gr_str asker_of(const gr_item *item, uint64_t *seq)
{
    *seq = item->e.verb == GR_ASK ? item->e.seq : item->e.reply_seq;
    return item->e.verb == GR_ASK ? item->e.from : item->e.reply_to;
}

static void answer_error(gr_worker *w, const gr_item *item, gr_err err)
{
    uint64_t seq;
    gr_str to = asker_of(item, &seq);
    if (!wants_answer(item)) return;
    w->n.failed_asks++;
    gr_peer_send_error(w, item->e.to, to, seq, item->e.trace, item->e.span, err);
}

/* A record of the message in the open group: its effects leave when what they rest on is durable. */
static void record(gr_worker *w, gr_home *home, gr_item *item, gr_pair_in *pair, gr_effect *effects,
                   uint64_t started_us)
{
    gr_group *group = gr_group_of(w, w->current);
    gr_handled *h = gr_arena_alloc(group->arena, sizeof *h);
    h->home = home;
    h->generation = home->generation;
    h->effects = effects;
    h->item = item;
    h->pair = pair;
    h->started_us = started_us;
    h->handled_us = w->o.log ? gr_runtime_us(w) : started_us;
    gr_group_add(w, home, h);
}

static void take_effects(gr_worker *w, gr_live *live)
{
    gr_home *home = live->home;
    gr_ctx *c = &w->ctx;
    for (size_t i = 0; i < c->write_count; i++) {
        if (c->writes[i].kind == GR_OP_PUT) gr_home_put(w, home, c->writes[i].key, c->writes[i].value);
        else gr_home_delete(w, home, c->writes[i].key);
    }
    for (gr_effect *e = c->first; e; e = e->next) {
        e->span = ++w->next_span;
        if (e->kind == GR_FX_MESSAGE && e->verb == GR_POST) gr_post_stage(w, home, e, c->self);
        bool is_open = e->kind == GR_FX_WORK || e->kind == GR_FX_FETCH;
        if (is_open || (e->kind == GR_FX_MESSAGE && e->verb == GR_ASK)) live->open++;
        if (e->kind == GR_FX_TIMER_CLEAR) gr_timer_clear(w, home, c->self, e->name);
        if (e->kind == GR_FX_TIMER) gr_timer_set(w, home, c->self, e->name, e->due_ms, e->durable);
    }
    if (c->upkeep) gr_upkeep_note(w, home, c->upkeep, c->upkeep_worked);
}

/* Nothing of the handler remains; its memory may have changed, so it is loaded again. */
static void undo(gr_worker *w, gr_live *live, gr_item *item)
{
    w->n.undone++;
    w->is_losing = true;
    gr_live_drop(w, live);
    w->is_losing = false;
    if (item->is_timer) gr_timer_again(w, item);
}

static void count(gr_worker *w, const gr_item *item, gr_live *live)
{
    const gr_ctx *c = &w->ctx;
    uint64_t *of_verb[] = {&w->n.tells, &w->n.tells, &w->n.asks, &w->n.posts, &w->n.replies, &w->n.tells};
    w->n.messages++;
    ++*of_verb[item->e.verb];
    live->messages++;
    w->n.gets += c->gets;
    w->n.rows += c->rows;
    for (int i = 0; i < GR_TALLIES; i++) w->n.tallies[i] += c->tallies[i];
    if (gr_ctx_over_bounds(c)) w->n.over_bounds++;
    gr_group *group = gr_group_of(w, w->current);
    group->messages++;
    group->bytes += item->size;
}

/* --- handling ------------------------------------------------------------------------------------------- */
static bool prepare(gr_worker *w, gr_live *live, const gr_item *item)
{
    gr_ctx *c = &w->ctx;
    c->arena = gr_group_of(w, w->current)->arena;
    c->overlay = live->home->overlay;
    c->shard = live->home->shard.shard;
    c->incarnation = live->home->shard.incarnation;
    c->updates = live->home->updates;
    c->updates_paused = gr_upkeep_paused(w);
    c->level = w->level;
    c->now_ms = w->now_ms;
    c->trace = item->e.trace;
    c->span = item->e.span;
    gr_ctx_begin(c, gr_live_address(live));
    if (!live->home->is_open || !gr_live_load(w, live, c)) return false;
    uint64_t seq;
    gr_str asker = asker_of(item, &seq);
    if (wants_answer(item)) gr_ctx_asked(c, asker, seq);
    return true;
}

static void reply_inspect(gr_worker *w, gr_live *live)
{
    gr_buf out = {0};
    gr_buf_printf(&out, "{\"kind\":\"%s\",\"shard\":%u,\"messages\":%llu,\"memory\":%zu,\"mailbox\":%zu",
                  gr_kind_name(live->kind->kind), live->home->shard.shard, (unsigned long long)live->messages,
                  live->memory, live->box.count);
    gr_buf own = {0};
    if (live->kind->inspect) live->kind->inspect(live->self, &w->ctx, &own);
    if (own.size) gr_buf_char(&out, ',');
    gr_buf_str(&out, gr_buf_view(&own));
    gr_buf_char(&out, '}');
    gr_ctx_reply(&w->ctx, &gr_type_result, &(gr_result){.body = gr_buf_view(&out)});
    gr_buf_free(&own);
    gr_buf_free(&out);
}

static gr_err error_in(const gr_item *item, const void *body)
{
    if (item->is_work_failure) return gr_fail(GR_LIMIT_EXCEEDED, "The server is busy; try again");
    if (item->e.verb != GR_REPLY || item->e.type != GR_T_error) return gr_ok();
    const gr_error *e = body;
    gr_errcode code = e->code > GR_OK && e->code < GR_ERRCODE_COUNT ? (gr_errcode)e->code : GR_UNKNOWN;
    return (gr_err){code, e->text.ptr, e->retry_after_ms};
}

static void call(gr_worker *w, gr_live *live, gr_item *item, const gr_type *type, void *body)
{
    gr_msg msg = {.verb = item->e.verb,
                  .type = type,
                  .body = body,
                  .from = item->e.from,
                  .attachment = item->e.attachment,
                  .resume = item->has_resume ? &item->resume : NULL,
                  .level = item->e.level > 1 ? item->e.level : 1};
    if (item->e.verb == GR_REPLY && item->e.type == GR_T_error) /* the text of an error ends in a NUL */
        ((gr_error *)body)->text = gr_arena_str(w->ctx.arena, ((gr_error *)body)->text);
    msg.err = error_in(item, body);
    mark(w, item);
    if (item->e.type == GR_T_inspect && item->e.verb == GR_ASK) reply_inspect(w, live);
    else live->kind->handle(live->self, &msg, &w->ctx);
    unmark(w);
    count(w, item, live);
    gr_live_used(w, live);
}

typedef enum { HANDLED, UNDONE, REFUSED } outcome; /* REFUSED: it can never be applied */

static const gr_err unreadable = {GR_UNAVAILABLE, "The server's store could not be read; try again", 0};
static const gr_err out_of_order = {GR_UNAVAILABLE, "This part of the server is out of order", 0};

static const gr_err too_new = {GR_UNAVAILABLE, "The server is being upgraded and can't do this yet", 0};

static gr_err failure_of(const gr_ctx *c)
{
    if (gr_failed(c->failed)) return unreadable;
    if (c->is_newer) return too_new;
    if (c->write_bytes > GR_HANDLER_WRITES_MAX)
        return gr_fail(GR_TOO_LARGE, "The request would change too much at once");
    return gr_ok();
}

static outcome refuse(const char **why, const char *reason, gr_err *err, gr_err answer)
{
    *why = reason;
    *err = answer;
    return REFUSED;
}

/* Runs the handler.  When it was not handled *err is for the asker, and *why for the dead letters when it
 * was refused. */
static outcome handle(gr_worker *w, gr_live *live, gr_item *item, const char **why, gr_err *err)
{
    const gr_type *type = gr_type_find(item->e.type);
    void *body = NULL;
    gr_err unknown = gr_fail(GR_UNRECOGNIZED, "The server does not know this message");
    if (live->suspended) return refuse(why, "the actor is suspended", err, out_of_order);
    if (!type) return refuse(why, "unknown type", err, unknown);
    if (gr_failed(gr_body_decode(gr_group_of(w, w->current)->arena, type, item->e.body, &body)))
        return refuse(why, "undecodable", err, unknown);
    *err = unreadable;
    if (prepare(w, live, item)) {
        call(w, live, item, type, body);
        *err = failure_of(&w->ctx);
    }
    if (!gr_failed(*err)) return HANDLED;
    bool is_newer = err->text == too_new.text;
    undo(w, live, item);
    *why = is_newer ? "it leads to what not all nodes understand before the upgrade is finished" : "it writes too much at once";
    return is_newer || err->code == GR_TOO_LARGE ? REFUSED : UNDONE;
}

/* True once more than one crash came from this message.  The first time it is run again, alone: what was
 * handled before is submitted first. */
static bool is_poison(gr_worker *w, gr_live *live, const gr_item *item)
{
    if (!is_suspect(w, item)) return false;
    if (w->suspect.crashes < 2) {
        gr_group_close(w);
        return false;
    }
    gr_live_suspend(w, live);
    w->suspect.busy = 0;
    return true;
}

void gr_live_handle(gr_worker *w, gr_live *live, gr_item *item)
{
    uint64_t started_us = w->o.log ? gr_runtime_us(w) : w->now_us;
    const char *why = NULL;
    bool is_late = item->e.verb == GR_ASK && item->e.wait_ms && w->now_us > item->queued_us + item->e.wait_ms * 1000;
    bool is_stale = item->is_timer && !gr_timer_take(w, live->home, item);
    if (is_late || is_stale) { /* nobody waits for the answer any more; the timer was moved */
        gr_item_free(item);
        return;
    }
    gr_err err = out_of_order;
    outcome got = is_poison(w, live, item) ? REFUSED : handle(w, live, item, &why, &err);
    if (got == REFUSED) w->n.bad_messages++;
    if (got != HANDLED) answer_error(w, item, err);
    if (got == HANDLED && item->is_timer) gr_timer_done(w, live->home, item);
    if (got == HANDLED && item->dead_number) gr_dead_delete(w, live->home, item->dead_number);
    gr_effect *effects = got == HANDLED ? w->ctx.first : NULL;
    if (got == HANDLED) take_effects(w, live);
    record(w, live->home, item, NULL, effects, started_us);
}

/* --- upkeep --------------------------------------------------------------------------------------------- */
/* The reply goes no further than to the worker. */
static gr_err take_report(gr_worker *w, gr_effect **effects, gr_upkeep_done *done)
{
    gr_effect **at = effects;
    void *body = NULL;
    while (*at && !((*at)->kind == GR_FX_MESSAGE && (*at)->verb == GR_REPLY)) at = &(*at)->next;
    const gr_effect *reply = *at;
    if (!reply) return gr_fail(GR_UNKNOWN, "the actor does not say what it did");
    *at = reply->next;
    if (gr_failed(gr_body_decode(w->ctx.arena, reply->type, reply->body, &body)) || reply->type == &gr_type_error)
        return gr_fail(GR_UNKNOWN, body ? gr_arena_str(w->ctx.arena, ((gr_error *)body)->text).ptr : "its answer can't be read");
    if (reply->type == &gr_type_upkeep_done) *done = *(gr_upkeep_done *)body;
    return gr_ok();
}

static gr_item *upkeep_item(gr_worker *w, gr_live *live, gr_str name)
{
    gr_buf_clear(&w->scratch);
    gr_body_encode(&w->scratch, &gr_type_upkeep_step, &(gr_upkeep_step){.name = name});
    gr_envelope e = {.trace = ++w->next_span,
                     .from = gr_live_address(live),
                     .to = gr_live_address(live),
                     .verb = GR_ASK,
                     .type = GR_T_upkeep_step,
                     .body = gr_buf_view(&w->scratch)};
    e.span = e.trace;
    return gr_item_new(&e, w->now_us);
}

gr_err gr_live_upkeep(gr_worker *w, gr_live *live, gr_str name, gr_upkeep_done *done)
{
    uint64_t started_us = w->o.log ? gr_runtime_us(w) : w->now_us;
    const char *why = NULL;
    gr_err err = gr_ok();
    gr_item *item = upkeep_item(w, live, name);
    if (is_suspect(w, item) && w->suspect.crashes >= 2) { /* the actor itself may be well */
        w->suspect.busy = 0;
        gr_item_free(item);
        return gr_fail(GR_UNKNOWN, "its upkeep crashed the server twice");
    }
    if (is_suspect(w, item)) gr_group_close(w);
    outcome got = handle(w, live, item, &why, &err);
    gr_effect *effects = got == HANDLED ? w->ctx.first : NULL;
    if (got == REFUSED) err = gr_fail(GR_UNKNOWN, why);
    if (got == HANDLED) take_effects(w, live);
    if (got == HANDLED) err = take_report(w, &effects, done);
    record(w, live->home, item, NULL, effects, started_us);
    return err;
}

void gr_pair_in_handle(gr_worker *w, gr_pair_in *pair, gr_item *item)
{
    uint64_t started_us = w->o.log ? gr_runtime_us(w) : w->now_us;
    const char *why = "no actor has this address";
    gr_assert(item->e.seq == pair->applied + 1);
    gr_live *live = gr_live_of(w, item->e.to);
    gr_err err = out_of_order;
    outcome got = live && live->home == pair->to ? HANDLED : REFUSED;
    if (got == HANDLED && is_poison(w, live, item)) {
        got = REFUSED;
        why = "it crashed the server twice";
    } else if (got == HANDLED) {
        got = handle(w, live, item, &why, &err);
    }
    if (got == UNDONE) {
        gr_post_refused(w, pair);
        gr_item_free(item);
        return;
    }
    gr_post_applied(w, pair, item->e.seq);
    gr_effect *effects = NULL;
    if (got == HANDLED) {
        effects = w->ctx.first;
        take_effects(w, live);
    } else {
        gr_dead_put(w, pair->to, &item->e, why);
        answer_error(w, item, err);
    }
    record(w, pair->to, item, pair, effects, started_us);
}
