/* create.c - the steps of createRoom. See create.h. */
#include "actors/create/create.h"
#include "actors/room/room.h"

#include "proto/base64.h"
#include "proto/ident.h"

enum { ROOM_ID_RANDOM = 18, DRAWS_MAX = 32 };

typedef struct {
    gr_arena *arena;      /* holds what flow points to */
    gr_create_flow *flow; /* NULL: nothing asked yet, or done */
    gr_asker *asker;      /* NULL after a restart: nobody waits any more */
} create;

static gr_str row(void) { return GR_STR("f"); }
static gr_str timer(void) { return GR_STR("step"); }

/* --- memory -------------------------------------------------------------------------------------------- */
static void forget(create *c)
{
    gr_arena_free(&c->arena);
    c->flow = NULL;
}

static bool keep(create *c, gr_str bytes)
{
    void *body;
    forget(c);
    c->arena = gr_arena_new(bytes.size + 1024);
    if (!gr_failed(gr_body_decode(c->arena, &gr_type_create_flow, gr_arena_str(c->arena, bytes), &body)))
        c->flow = body;
    return c->flow != NULL;
}

static void load(void *self, gr_str id, gr_ctx *ctx)
{
    gr_str bytes;
    (void)id;
    if (gr_ctx_get(ctx, row(), &bytes)) keep(self, bytes);
}

static void drop(void *self)
{
    create *c = self;
    forget(c);
    gr_asker_free(&c->asker);
}

static void save(create *c, gr_ctx *ctx)
{
    gr_ctx_put_body(ctx, row(), &gr_type_create_flow, c->flow);
}

/* --- asking -------------------------------------------------------------------------------------------- */
static void ask(create *c, gr_ctx *ctx, gr_kind kind, gr_str id, const gr_type *type, const void *body)
{
    gr_resume resume = {.step = (uint32_t)c->flow->step, .number = c->flow->invited};
    gr_ctx_ask(ctx, gr_address(gr_ctx_arena(ctx), kind, id), type, body, GR_CREATE_ASK_MS, &resume);
}

static gr_str alias_value(const create *c, gr_ctx *ctx)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "room_id", c->flow->room_id);
    gr_jw_key(&w, "servers");
    gr_jw_array(&w);
    gr_jw_str(&w, gr_env_of(ctx)->server_name);
    gr_jw_end_array(&w);
    gr_jw_kstr(&w, "creator", c->flow->user);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

static void claim(create *c, gr_ctx *ctx)
{
    gr_name_claim body = {.holder = gr_ctx_self(ctx),
                          .value = alias_value(c, ctx),
                          .keep_ms = GR_CREATE_CLAIM_MS};
    ask(c, ctx, GR_KIND_NAME, c->flow->alias, &gr_type_name_claim, &body);
}

static void make(create *c, gr_ctx *ctx)
{
    const gr_create_flow *f = c->flow;
    gr_room_create body = {.user = f->user,
                           .version = f->version,
                           .create_event = f->create_event,
                           .request = f->request,
                           .displayname = f->displayname,
                           .avatar_url = f->avatar_url,
                           .alias = f->alias,
                           .key = gr_ctx_self(ctx)};
    ask(c, ctx, GR_KIND_ROOM, f->room_id, &gr_type_room_create, &body);
}

static void confirm(create *c, gr_ctx *ctx)
{
    ask(c, ctx, GR_KIND_NAME, c->flow->alias, &gr_type_name_confirm,
        &(gr_name_confirm){.holder = gr_ctx_self(ctx)});
}

static void note_alias(create *c, gr_ctx *ctx)
{
    gr_room_alias body = {
        .user = c->flow->user, .alias = c->flow->alias, .add = true, .made_by = c->flow->user};
    ask(c, ctx, GR_KIND_ROOM, c->flow->room_id, &gr_type_room_alias, &body);
}

static void publish(create *c, gr_ctx *ctx)
{
    gr_room_publish body = {.user = c->flow->user, .publish = true};
    ask(c, ctx, GR_KIND_ROOM, c->flow->room_id, &gr_type_room_publish, &body);
}

/* --- ends ---------------------------------------------------------------------------------------------- */
static void end(create *c, gr_ctx *ctx)
{
    gr_ctx_del(ctx, row());
    gr_ctx_timer_clear(ctx, timer());
    forget(c);
}

static void fail(create *c, gr_ctx *ctx, gr_err err)
{
    if (c->flow->alias.size) {
        gr_str to = gr_address(gr_ctx_arena(ctx), GR_KIND_NAME, c->flow->alias);
        gr_ctx_post(ctx, to, &gr_type_name_release, &(gr_name_release){.holder = gr_ctx_self(ctx)});
    }
    gr_ctx_answer_fail(ctx, &c->asker, err);
    end(c, ctx);
}

static void tell_room(create *c, gr_ctx *ctx)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "room_id", c->flow->room_id);
    gr_jw_end_object(&w);
    gr_ctx_answer(ctx, &c->asker, &gr_type_result, &(gr_result){.body = gr_buf_view(&out)});
    gr_buf_free(&out);
}

static void succeed(create *c, gr_ctx *ctx)
{
    if (c->asker) tell_room(c, ctx);
    end(c, ctx);
}

/* The next of those who did not fit into the batch that made the room; false when there is none. */
static bool invite(create *c, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    const gr_json *request;
    if (gr_failed(gr_json_parse(a, c->flow->request, GR_JSON_LAX, &request))) return false;
    const gr_json *list = gr_json_get(request, "invite");
    while (gr_json_is(list, GR_JSON_ARRAY) && c->flow->invited < list->count
           && !gr_ident_is_local(gr_json_string(&list->items[c->flow->invited]), gr_env_of(ctx)->server_name))
        c->flow->invited++;            /* the edge asks their servers */
    if (!gr_json_is(list, GR_JSON_ARRAY) || c->flow->invited >= list->count) return false;
    gr_room_member body = {.user = c->flow->user,
                           .target = gr_json_string(&list->items[c->flow->invited]),
                           .action = GR_STR("invite"),
                           .is_direct = gr_json_boolean(gr_json_get(request, "is_direct"), false)};
    ask(c, ctx, GR_KIND_ROOM, c->flow->room_id, &gr_type_room_member, &body);
    return true;
}

/* --- steps --------------------------------------------------------------------------------------------- */
/* Does the present step, or the next one that there is something to do in; each is safe to repeat. */
static void run(create *c, gr_ctx *ctx)
{
    gr_create_flow *f = c->flow;
    if (f->step == GR_CREATE_CLAIM && f->alias.size == 0) f->step = GR_CREATE_MAKE;
    if ((f->step == GR_CREATE_CONFIRM || f->step == GR_CREATE_ALIAS) && f->alias.size == 0)
        f->step = GR_CREATE_PUBLISH;
    if (f->step == GR_CREATE_PUBLISH && !f->publish) f->step = GR_CREATE_INVITE;
    bool more = true;
    switch ((gr_create_step)f->step) {
    case GR_CREATE_CLAIM: claim(c, ctx); break;
    case GR_CREATE_MAKE: make(c, ctx); break;
    case GR_CREATE_CONFIRM: confirm(c, ctx); break;
    case GR_CREATE_ALIAS: note_alias(c, ctx); break;
    case GR_CREATE_PUBLISH: publish(c, ctx); break;
    case GR_CREATE_INVITE: more = invite(c, ctx); break;
    default: more = false;
    }
    if (!more) {
        succeed(c, ctx);
        return;
    }
    save(c, ctx);
    gr_ctx_timer(ctx, timer(), gr_ctx_now_ms(ctx) + GR_CREATE_STEP_MS, true);
}

static bool passes(gr_err err) { return err.code == GR_TIMEOUT || err.code == GR_UNAVAILABLE; }

/* A node is out of reach, perhaps for long: who waits is told, that there is no room yet, or where it is although the timer has
 * yet to finish it. */
static void put_off(create *c, gr_ctx *ctx, gr_err err)
{
    if (!c->asker || err.code != GR_UNAVAILABLE) return; /* the timer repeats the step */
    if (c->flow->step <= GR_CREATE_MAKE) fail(c, ctx, err);
    else tell_room(c, ctx);
}

/* Up to the making of the room an error ends the flow; afterwards the room exists, and an invite that is
 * refused must not hide it from who made it. */
static void on_reply(create *c, const gr_msg *msg, gr_ctx *ctx)
{
    if (!c->flow || !msg->resume || msg->resume->step != c->flow->step) return;
    if (c->flow->step == GR_CREATE_INVITE && msg->resume->number != c->flow->invited) return;
    if (gr_failed(msg->err) && passes(msg->err)) {
        put_off(c, ctx, msg->err);
        return;
    }
    if (gr_failed(msg->err) && c->flow->step <= GR_CREATE_MAKE) {
        fail(c, ctx, msg->err);
        return;
    }
    c->flow->tries = 0;
    if (c->flow->step == GR_CREATE_INVITE) c->flow->invited++;
    else c->flow->step++;
    run(c, ctx);
}

static void on_timer(create *c, gr_ctx *ctx)
{
    if (!c->flow) return;
    if (++c->flow->tries < GR_CREATE_TRIES_MAX) run(c, ctx);
    else if (c->flow->step <= GR_CREATE_MAKE)
        fail(c, ctx, gr_fail(GR_TIMEOUT, "The room could not be made in time"));
    else succeed(c, ctx);
}

/* --- the beginning ------------------------------------------------------------------------------------- */
static gr_str random_text(gr_ctx *ctx)
{
    char bytes[ROOM_ID_RANDOM];
    gr_ctx_random(ctx, bytes, sizeof bytes);
    return gr_base64_url(gr_ctx_arena(ctx), gr_str_of(bytes, sizeof bytes));
}

static bool is_among(gr_str shards, gr_str room_id)
{
    gr_shard_set set;
    if (shards.size != sizeof set) return true;
    memcpy(&set, shards.ptr, sizeof set);
    return gr_shard_set_has(&set, gr_id_shard(room_id));
}

static gr_err draw(gr_ctx *ctx, gr_event_fields *fields, gr_event_built *built)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_str server = gr_env_of(ctx)->server_name;
    if (fields->version->room_id_is_create_hash) fields->nonce = random_text(ctx);
    else fields->room_id = gr_arena_cat(a, 4, (gr_str[]){GR_STR("!"), random_text(ctx), GR_STR(":"), server});
    if (fields->version->event_id == GR_EVENT_ID_CHOSEN)
        fields->event_id = gr_arena_cat(a, 4, (gr_str[]){GR_STR("$"), random_text(ctx), GR_STR(":"), server});
    return gr_event_build(a, fields, gr_env_of(ctx)->signer, built);
}

gr_err gr_create_event(gr_ctx *ctx, const gr_room_version *version, gr_str user, gr_str content, gr_str shards,
                       gr_event_built *built)
{
    gr_event_fields fields = {.version = version,
                              .sender = user,
                              .type = GR_STR("m.room.create"),
                              .has_state_key = true,
                              .content = content,
                              .depth = 1,
                              .origin_server_ts = (int64_t)gr_ctx_now_ms(ctx)};
    gr_err err = draw(ctx, &fields, built);
    for (int i = 1; i < DRAWS_MAX && !gr_failed(err) && !is_among(shards, built->room_id); i++)
        err = draw(ctx, &fields, built);
    return err;
}

static void begin(create *c, const gr_create_room *m, gr_ctx *ctx)
{
    gr_create_request request;
    gr_event_built built;
    gr_err err = gr_create_request_read(gr_ctx_arena(ctx), gr_env_of(ctx), m->request, &request);
    if (!gr_failed(err) && m->guest) err = gr_fail(GR_FORBIDDEN, "Guests may not create rooms");
    if (!gr_failed(err) && c->flow) err = gr_fail(GR_UNAVAILABLE, "This flow makes another room already");
    if (!gr_failed(err))
        err = gr_create_event(ctx, request.version, m->user,
                              gr_create_content(gr_ctx_arena(ctx), &request, m->user), m->shards, &built);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    gr_create_flow flow = {.step = GR_CREATE_CLAIM,
                           .user = m->user,
                           .room_id = built.room_id,
                           .version = gr_str_c(request.version->id),
                           .alias = request.alias,
                           .request = m->request,
                           .create_event = built.text,
                           .displayname = m->displayname,
                           .avatar_url = m->avatar_url,
                           .publish = request.publish,
                           .invited = GR_ROOM_CREATE_INVITES};
    gr_buf bytes = {0};
    gr_body_encode(&bytes, &gr_type_create_flow, &flow);
    bool kept = keep(c, gr_buf_view(&bytes));
    gr_buf_free(&bytes);
    gr_assert(kept);
    c->asker = gr_ctx_keep_asker(ctx);
    run(c, ctx);
}

static void handle(void *self, const gr_msg *msg, gr_ctx *ctx)
{
    create *c = self;
    if (msg->verb == GR_REPLY) on_reply(c, msg, ctx);
    else if (msg->type->id == GR_T_timer) on_timer(c, ctx);
    else if (msg->type->id == GR_T_create_room) begin(c, msg->body, ctx);
    else gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A createRoom flow takes no message of this type"));
}

static bool busy(const void *self) { return ((const create *)self)->asker != NULL; }

static size_t memory(const void *self)
{
    const create *c = self;
    return c->arena ? gr_arena_used(c->arena) : 0;
}

static uint64_t digest(const void *self)
{
    const create *c = self;
    return c->flow ? gr_body_hash(&gr_type_create_flow, c->flow) : 0;
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    const create *c = self;
    (void)ctx;
    gr_buf_printf(out, "\"step\":%llu,\"tries\":%llu", (unsigned long long)(c->flow ? c->flow->step : 0),
                  (unsigned long long)(c->flow ? c->flow->tries : 0));
}

const gr_actor_kind gr_create_kind = {
    .kind = GR_KIND_CREATE,
    .size = sizeof(create),
    .load = load,
    .handle = handle,
    .drop = drop,
    .busy = busy,
    .memory = memory,
    .digest = digest,
    .inspect = inspect,
};
