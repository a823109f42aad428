/* policy.c - see policy.h. */
#include "actors/policy/policy.h"

#include "proto/base64.h"
#include "proto/event.h"
#include "proto/sha256.h"

#define ROW GR_STR("f")
#define TIMER GR_STR("policy")

enum { ASK_MS = 30 * 1000, STEP_MS = 60 * 1000 };

typedef enum { IDLE, MAKE, SIGN, OFFER } policy_step;

typedef struct {
    gr_arena *arena;                   /* of all below; NULL: nothing is asked */
    gr_policy_flow_row *row;
    policy_step now;
    uint64_t turn;                     /* answers to older asks are late */
    gr_str via, event;
    bool is_last;                      /* it is offered without a signature */
} policy_flow;

/* --- what both sides of it share ------------------------------------------------------------------------------- */
gr_str gr_policy_flow(gr_arena *a, gr_str room_id, gr_str what)
{
    unsigned char hash[GR_SHA256_SIZE];
    gr_sha256(what.ptr, what.size, hash);
    gr_str name = gr_base64_url(a, gr_str_of((const char *)hash, sizeof hash));
    return gr_address(a, GR_KIND_POLICY, gr_arena_cat(a, 3, (gr_str[]){room_id, GR_STR("/flow/"), name}));
}

gr_err gr_policy_answer(gr_arena *a, gr_str event, gr_str via, gr_err err, gr_str answer, gr_str *signed_event)
{
    const gr_json *body = NULL, *json = NULL;
    *signed_event = (gr_str){0};
    if (!gr_failed(err)) err = gr_json_parse(a, answer, GR_JSON_LAX, &body);
    if (!gr_failed(err)) err = gr_json_parse(a, event, GR_JSON_LAX, &json);
    if (err.code == GR_NOT_FOUND || err.code == GR_UNRECOGNIZED)
        return gr_fail(GR_FORBIDDEN, "The policy server of the room knows nothing of that");
    if (gr_failed(err)) return err;
    const gr_json *signatures = gr_json_get_str(body, via);
    if (!gr_json_is(signatures, GR_JSON_OBJECT))
        return gr_fail(GR_FORBIDDEN, "The policy server of the room has not signed the event");
    gr_json_member by = {via, *signatures};
    gr_json given = {.kind = GR_JSON_OBJECT, .count = 1, .members = &by};
    *signed_event = gr_event_add_signatures(a, json, &given);
    return gr_ok();
}

/* --- memory ---------------------------------------------------------------------------------------------------- */
static void forget(policy_flow *f)
{
    gr_arena_free(&f->arena);
    *f = (policy_flow){.turn = f->turn};
}

static void load(void *self, gr_str id, gr_ctx *ctx)
{
    policy_flow *f = self;
    gr_str bytes;
    void *body;
    (void)id;
    if (!gr_ctx_get(ctx, ROW, &bytes)) return;
    f->arena = gr_arena_new(0);
    if (gr_failed(gr_body_decode(f->arena, &gr_type_policy_flow_row, gr_arena_str(f->arena, bytes), &body))) forget(f);
    else f->row = body;
}

static void drop(void *self) { gr_arena_free(&((policy_flow *)self)->arena); }

static bool is_own(const policy_flow *f) { return f->row->event_id.size == 0; }

/* --- steps ------------------------------------------------------------------------------------------------------ */
static gr_resume begin_step(policy_flow *f, policy_step now)
{
    f->now = now;
    return (gr_resume){.step = (uint32_t)now, .number = ++f->turn};
}

static void ask_room(policy_flow *f, gr_ctx *ctx, policy_step now, const gr_type *type, const void *body)
{
    gr_resume resume = begin_step(f, now);
    gr_ctx_ask(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_ROOM, f->row->room_id), type, body, ASK_MS, &resume);
}

static void end(policy_flow *f, gr_ctx *ctx)
{
    gr_ctx_del(ctx, ROW);
    gr_ctx_timer_clear(ctx, TIMER);
    forget(f);
}

static void sign(policy_flow *f, gr_ctx *ctx)
{
    gr_resume resume = begin_step(f, SIGN);
    gr_destination_request m = {.method = GR_STR("POST"), .uri = GR_STR(GR_POLICY_SIGN_URI), .content = f->event,
                                .timeout_ms = GR_POLICY_REQUEST_MS};
    gr_ctx_ask(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_DESTINATION, f->via), &gr_type_destination_request, &m,
               GR_POLICY_REQUEST_MS + 5000, &resume);
}

static void run(policy_flow *f, gr_ctx *ctx)
{
    const gr_type *type = gr_type_find((unsigned)f->row->type);
    void *body = NULL;
    if (!is_own(f)) {
        f->via = f->row->via;
        f->event = f->row->body;
        sign(f, ctx);
    } else if (!type || gr_failed(gr_body_decode(gr_ctx_arena(ctx), type, f->row->body, &body))) {
        end(f, ctx);
    } else {
        ask_room(f, ctx, MAKE, type, body);
    }
}

static void offer(policy_flow *f, gr_ctx *ctx, gr_str event)
{
    gr_room_offer m = {.origin = gr_env_of(ctx)->server_name, .event = event, .is_own = true, .unsigned_too = f->is_last};
    ask_room(f, ctx, OFFER, &gr_type_room_offer, &m);
}

static void tell_room(policy_flow *f, gr_ctx *ctx, gr_str event, bool is_away)
{
    gr_room_policy_said m = {.event_id = f->row->event_id, .event = event, .is_away = is_away};
    gr_ctx_post(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_ROOM, f->row->room_id), &gr_type_room_policy_said, &m);
    end(f, ctx);
}

/* It has not signed, and will not. */
static void refused(policy_flow *f, gr_ctx *ctx, bool is_away)
{
    if (!is_own(f)) {
        tell_room(f, ctx, (gr_str){0}, is_away);
    } else if (f->row->must && f->event.size && !f->is_last) {
        f->is_last = true;
        offer(f, ctx, f->event);
    } else {
        end(f, ctx);
    }
}

static bool may_pass(gr_err err)
{
    return err.code == GR_UNAVAILABLE || err.code == GR_TIMEOUT || err.code == GR_BAD_GATEWAY || err.code == GR_LIMIT_EXCEEDED;
}

/* An event of another server waits, and others for it: only a policy server that has too much to do is asked again. */
static void again(policy_flow *f, gr_ctx *ctx, gr_err err)
{
    uint64_t now = gr_ctx_now_ms(ctx), wait = GR_POLICY_AGAIN_MS;
    for (uint64_t i = 0; i < f->row->tries && wait < GR_POLICY_AGAIN_MAX_MS; i++) wait *= 2;
    if (wait > GR_POLICY_AGAIN_MAX_MS) wait = GR_POLICY_AGAIN_MAX_MS;
    if (err.retry_after_ms > wait) wait = err.retry_after_ms;
    if (now + wait > f->row->until_ms || (!is_own(f) && err.code != GR_LIMIT_EXCEEDED)) {
        refused(f, ctx, err.code != GR_LIMIT_EXCEEDED);
        return;
    }
    f->now = IDLE;
    f->turn++;
    f->row->tries++;
    gr_ctx_put_body(ctx, ROW, &gr_type_policy_flow_row, f->row);
    gr_ctx_timer(ctx, TIMER, now + wait, true);
}

/* --- answers ----------------------------------------------------------------------------------------------------- */
static void on_made(policy_flow *f, gr_ctx *ctx, const gr_msg *m)
{
    const gr_room_unsigned *is = m->body;
    if (gr_failed(m->err) && may_pass(m->err)) {
        again(f, ctx, m->err);
    } else if (gr_failed(m->err) || m->type != &gr_type_room_unsigned) {
        end(f, ctx);                   /* the room takes it without, or there is nothing to do any more */
    } else {
        f->via = gr_arena_str(f->arena, is->via);
        f->event = gr_arena_str(f->arena, is->event);
        sign(f, ctx);
    }
}

static void on_signed(policy_flow *f, gr_ctx *ctx, const gr_msg *m)
{
    gr_str event, answer = gr_failed(m->err) ? (gr_str){0} : ((const gr_result *)m->body)->body;
    gr_err err = gr_policy_answer(gr_ctx_arena(ctx), f->event, f->via, m->err, answer, &event);
    if (gr_failed(err) && may_pass(err)) again(f, ctx, err);
    else if (gr_failed(err)) refused(f, ctx, false);
    else if (is_own(f)) offer(f, ctx, event);
    else tell_room(f, ctx, event, false);
}

/* FORBIDDEN: by the signature, or because the room has changed; the first is known by another try. */
static void on_offered(policy_flow *f, gr_ctx *ctx, const gr_msg *m)
{
    if (gr_failed(m->err) && may_pass(m->err)) again(f, ctx, m->err);
    else if (gr_failed(m->err)) refused(f, ctx, false);
    else end(f, ctx);
}

static void on_reply(policy_flow *f, gr_ctx *ctx, const gr_msg *m)
{
    if (!f->row || m->resume->step != (uint32_t)f->now || m->resume->number != f->turn) return;
    switch (f->now) {
    case IDLE: break;
    case MAKE: on_made(f, ctx, m); break;
    case SIGN: on_signed(f, ctx, m); break;
    case OFFER: on_offered(f, ctx, m); break;
    }
}

/* --- beginning ----------------------------------------------------------------------------------------------------- */
/* What is newer of a user here takes the place of what is under way: it says all that the older one did. */
static void on_begin(policy_flow *f, gr_ctx *ctx, const gr_policy_begin *m)
{
    gr_policy_flow_row row = {.room_id = m->room_id, .event_id = m->event_id, .via = m->via, .type = m->type, .body = m->body,
                              .must = m->must};
    row.until_ms = gr_ctx_now_ms(ctx) + (m->event_id.size ? GR_POLICY_OTHERS_MS : GR_POLICY_OWN_MS);
    if (f->row && !is_own(f)) return;
    forget(f);
    gr_ctx_put_body(ctx, ROW, &gr_type_policy_flow_row, &row);
    load(f, (gr_str){0}, ctx);
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx) + STEP_MS, true);
    if (f->row) run(f, ctx);
}

/* Nothing is under way after a restart, or while it waits for its next try. */
static void on_timer(policy_flow *f, gr_ctx *ctx)
{
    if (!f->row) return;
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx) + STEP_MS, true);
    if (f->now == IDLE) run(f, ctx);
}

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    if (m->verb == GR_REPLY) on_reply(self, ctx, m);
    else if (m->type == &gr_type_policy_begin) on_begin(self, ctx, m->body);
    else if (m->type == &gr_type_timer) on_timer(self, ctx);
    else gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A policy flow does not take this message"));
}

static bool busy(const void *self) { return ((const policy_flow *)self)->now != IDLE; }

static size_t memory(const void *self)
{
    const policy_flow *f = self;
    return f->arena ? gr_arena_used(f->arena) : 0;
}

static uint64_t digest(const void *self)
{
    const policy_flow *f = self;
    return f->row ? gr_body_hash(&gr_type_policy_flow_row, f->row) : 0;
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    static const char *const names[] = {"idle", "make", "sign", "offer"};
    const policy_flow *f = self;
    (void)ctx;
    gr_buf_printf(out, "\"step\":\"%s\",\"tries\":%llu", names[f->now], f->row ? (unsigned long long)f->row->tries : 0);
}

const gr_actor_kind gr_policy_kind = {.kind = GR_KIND_POLICY, .size = sizeof(policy_flow), .load = load, .handle = handle,
                                      .drop = drop, .busy = busy, .memory = memory, .digest = digest, .inspect = inspect};
