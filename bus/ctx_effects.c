/* ctx_effects.c - messages, answers, timers and work that a handler leaves. See ctx.h. */
#include "bus/ctx.h"

#include <stdlib.h>

/* Who may ask whom.  Asks go one way, so that no circle of waiting can arise: the edge and flows ask, the
 * things that own state never do, but for the token index, which tells edges to forget a token and wants to
 * know that they have, remote users, which ask their server by its destination, and destinations, which get
 * what they are to send from rooms, which ask nobody. */
bool gr_ask_allowed(gr_kind from, gr_kind to)
{
    switch (from) {
    case GR_KIND_EDGE:
    case GR_KIND_LOGIN:
    case GR_KIND_CREATE:
    case GR_KIND_UPGRADE:
    case GR_KIND_KEYS:
    case GR_KIND_HERALD:
    case GR_KIND_GAP:
    case GR_KIND_POLICY:
    case GR_KIND_JOIN:
    case GR_KIND_JOB: return true;
    case GR_KIND_TOKEN: return to == GR_KIND_EDGE;
    case GR_KIND_REMOTE_USER: return to == GR_KIND_DESTINATION;
    case GR_KIND_DESTINATION: return to == GR_KIND_ROOM;
    case GR_KIND_EMAIL: return to == GR_KIND_NAME;
    default: return false;
    }
}

static gr_effect *effect(gr_ctx *c, gr_effect_kind kind)
{
    gr_assert(!c->loading);
    gr_effect *e = gr_arena_alloc(c->arena, sizeof *e);
    e->kind = kind;
    e->trace = c->trace;
    e->parent = c->span;
    *c->last = e;
    c->last = &e->next;
    return e;
}

static gr_effect *message(gr_ctx *c, gr_verb verb, gr_str to, const gr_type *type, const void *body)
{
    gr_assert(to.size > 0 && to.size <= GR_ADDRESS_MAX);
    gr_effect *e = effect(c, GR_FX_MESSAGE);
    c->is_newer |= gr_type_since(type) > c->level;
    gr_buf_clear(&c->scratch);
    gr_body_encode_at(&c->scratch, type, body, c->level);
    e->level = c->level;
    e->verb = verb;
    e->type = type;
    e->to = gr_arena_str(c->arena, to);
    e->body = gr_arena_str(c->arena, gr_buf_view(&c->scratch));
    return e;
}

static gr_resume keep_resume(gr_ctx *c, const gr_resume *resume)
{
    if (!resume) return (gr_resume){0};
    gr_assert(resume->bytes.size <= GR_RESUME_MAX);
    gr_resume kept = *resume;
    kept.bytes = gr_arena_str(c->arena, resume->bytes);
    return kept;
}

void gr_ctx_tell(gr_ctx *c, gr_str to, const gr_type *type, const void *body)
{
    message(c, GR_TELL, to, type, body);
}

void gr_ctx_ask(gr_ctx *c, gr_str to, const gr_type *type, const void *body, uint64_t timeout_ms,
                const gr_resume *resume)
{
    gr_assert(gr_ask_allowed(c->kind, gr_address_kind(to)));
    gr_effect *e = message(c, GR_ASK, to, type, body);
    e->timeout_ms = timeout_ms;
    e->resume = keep_resume(c, resume);
}

enum { ENVELOPE_BYTES = 128 }; /* of a post in the outbox, beside what is counted */

static gr_effect *post(gr_ctx *c, gr_str to, const gr_type *type, const void *body)
{
    gr_assert(gr_address_kind(to) != GR_KIND_NONE && gr_address_kind(to) != GR_KIND_EDGE);
    gr_effect *e = message(c, GR_POST, to, type, body);
    c->write_bytes +=
        gr_op_size(ENVELOPE_BYTES, c->self.size + to.size + e->body.size); /* its entry in the outbox */
    return e;
}

void gr_ctx_post(gr_ctx *c, gr_str to, const gr_type *type, const void *body) { post(c, to, type, body); }

void gr_ctx_post_with(gr_ctx *c, gr_str to, const gr_type *type, const void *body, gr_str own_key)
{
    gr_effect *e = post(c, to, type, body);
    c->write_bytes += c->prefix_size + own_key.size;
    e->attachment_key = gr_arena_cat(c->arena, 2, (gr_str[]){{c->prefix, c->prefix_size}, own_key});
    gr_ctx_get(c, own_key, &e->attachment);
}

void gr_ctx_post_forward(gr_ctx *c, gr_str to, const gr_type *type, const void *body)
{
    gr_effect *e = post(c, to, type, body);
    if (!c->wants_answer) return;
    e->reply_to = c->asker;
    e->reply_seq = c->asker_seq;
    c->wants_answer = false;
}

/* --- answers -------------------------------------------------------------------------------------------- */
static void answer(gr_ctx *c, const gr_type *type, const void *body)
{
    if (!c->wants_answer) return;
    c->wants_answer = false;
    message(c, GR_REPLY, c->asker, type, body)->seq = c->asker_seq;
}

static gr_error error_of(gr_err err)
{
    return (gr_error){.code = err.code, .text = gr_str_c(err.text), .retry_after_ms = err.retry_after_ms};
}

void gr_ctx_reply(gr_ctx *c, const gr_type *type, const void *body) { answer(c, type, body); }
void gr_ctx_done(gr_ctx *c) { answer(c, &gr_type_done, &(gr_done){0}); }
void gr_ctx_json(gr_ctx *c, gr_str body) { answer(c, &gr_type_result, &(gr_result){.body = body}); }

void gr_ctx_fail(gr_ctx *c, gr_err err)
{
    gr_assert(gr_failed(err));
    gr_error body = error_of(err);
    answer(c, &gr_type_error, &body);
}

gr_asker *gr_ctx_keep_asker(gr_ctx *c)
{
    if (!c->wants_answer) return NULL;
    c->wants_answer = false;
    gr_asker *a = gr_alloc(sizeof *a + c->asker.size);
    *a = (gr_asker){.host = c->host,
                    .host_arg = c->host_arg,
                    .seq = c->asker_seq,
                    .trace = c->trace,
                    .span = c->span,
                    .to_size = c->asker.size};
    memcpy(a->to, c->asker.ptr, c->asker.size);
    return a;
}

/* Freed quietly: it has been answered. */
static void asker_release(gr_asker **at)
{
    free(*at);
    *at = NULL;
}

void gr_asker_free(gr_asker **at)
{
    if (!*at) return;
    (*at)->host->asker_freed((*at)->host_arg, *at);
    asker_release(at);
}

void gr_ctx_take_asker(gr_ctx *c, gr_asker **at)
{
    gr_asker *a = *at;
    if (!a) return;
    gr_assert(!c->wants_answer);
    gr_ctx_asked(c, gr_arena_str(c->arena, (gr_str){a->to, a->to_size}), a->seq);
    asker_release(at);
}

void gr_ctx_answer(gr_ctx *c, gr_asker **at, const gr_type *type, const void *body)
{
    gr_asker *a = *at;
    if (!a) return;
    gr_effect *e = message(c, GR_REPLY, (gr_str){a->to, a->to_size}, type, body);
    e->seq = a->seq;    /* it belongs to the trace of what ended the wait: a PUT's tree reaches the other's screen */
    asker_release(at);
}

void gr_ctx_answer_fail(gr_ctx *c, gr_asker **at, gr_err err)
{
    gr_assert(gr_failed(err));
    gr_error body = error_of(err);
    gr_ctx_answer(c, at, &gr_type_error, &body);
}

/* --- timers and work ------------------------------------------------------------------------------------ */
enum { TIMER_NAME_MAX = 64 };

void gr_ctx_timer(gr_ctx *c, gr_str name, uint64_t due_ms, bool durable)
{
    gr_assert(name.size <= TIMER_NAME_MAX);
    gr_effect *e = effect(c, GR_FX_TIMER);
    e->name = gr_arena_str(c->arena, name);
    e->due_ms = due_ms;
    e->durable = durable;
}

void gr_ctx_timer_clear(gr_ctx *c, gr_str name)
{
    gr_assert(name.size <= TIMER_NAME_MAX);
    effect(c, GR_FX_TIMER_CLEAR)->name = gr_arena_str(c->arena, name);
}

void gr_ctx_upkeep(gr_ctx *c, const char *name, uint64_t worked)
{
    c->upkeep = name;
    c->upkeep_worked = worked;
}

bool gr_ctx_upkeep_paused(gr_ctx *c, const char *name)
{
    return c->updates_paused || (c->updates && gr_updates_paused(c->updates, name));
}

void gr_ctx_work(gr_ctx *c, const gr_work *work, gr_str input, const gr_resume *resume)
{
    gr_effect *e = effect(c, GR_FX_WORK);
    e->work = work;
    e->input = gr_arena_str(c->arena, input);
    e->resume = keep_resume(c, resume);
}

void gr_ctx_fetch(gr_ctx *c, const gr_fetch *fetch, const gr_resume *resume)
{
    gr_effect *e = effect(c, GR_FX_FETCH);
    gr_buf_clear(&c->scratch);
    gr_body_encode(&c->scratch, &gr_type_fetch, fetch);
    e->input = gr_arena_str(c->arena, gr_buf_view(&c->scratch));
    e->resume = keep_resume(c, resume);
}
