/* upgrade.c - the steps of a room's upgrade. See upgrade.h; client-server API, "Room Upgrades". */
#include "actors/create/upgrade.h"
#include "actors/create/create.h"

#include "proto/ident.h"

typedef struct {
    gr_arena *arena;       /* holds what flow points to */
    gr_upgrade_flow *flow; /* NULL: nothing asked yet, or forgotten */
    gr_asker *askers[GR_UPGRADE_ASKERS_MAX];
    size_t asker_count;
} upgrade;

static gr_str row(void) { return GR_STR("f"); }
static gr_str timer(void) { return GR_STR("step"); }

/* --- memory -------------------------------------------------------------------------------------------- */
static void forget(upgrade *u)
{
    gr_arena_free(&u->arena);
    u->flow = NULL;
}

static void keep(upgrade *u, gr_str bytes)
{
    void *body;
    forget(u);
    u->arena = gr_arena_new(bytes.size + 1024);
    if (!gr_failed(gr_body_decode(u->arena, &gr_type_upgrade_flow, gr_arena_str(u->arena, bytes), &body)))
        u->flow = body;
}

static void load(void *self, gr_str id, gr_ctx *ctx)
{
    gr_str bytes;
    (void)id;
    if (gr_ctx_get(ctx, row(), &bytes)) keep(self, bytes);
}

static void drop(void *self)
{
    upgrade *u = self;
    forget(u);
    while (u->asker_count) gr_asker_free(&u->askers[--u->asker_count]);
}

/* Stores what the flow has become; its texts may lie in the arena of ctx until then. */
static void save(upgrade *u, gr_ctx *ctx, const gr_upgrade_flow *flow)
{
    gr_buf out = {0};
    gr_ctx_put_body(ctx, row(), &gr_type_upgrade_flow, flow);
    gr_body_encode(&out, &gr_type_upgrade_flow, flow);
    keep(u, gr_buf_view(&out));
    gr_buf_free(&out);
    gr_assert(u->flow);
}

/* --- ends ---------------------------------------------------------------------------------------------- */
static void end(upgrade *u, gr_ctx *ctx)
{
    gr_ctx_del(ctx, row());
    gr_ctx_timer_clear(ctx, timer());
    forget(u);
}

static void tell_failure(upgrade *u, gr_ctx *ctx, gr_err err)
{
    while (u->asker_count) gr_ctx_answer_fail(ctx, &u->askers[--u->asker_count], err);
}

static void fail(upgrade *u, gr_ctx *ctx, gr_err err)
{
    tell_failure(u, ctx, err);
    end(u, ctx);
}

static gr_str answer(const upgrade *u, gr_ctx *ctx)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "replacement_room", u->flow->room_id);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

static void succeed(upgrade *u, gr_ctx *ctx)
{
    gr_upgrade_flow done = {.step = GR_UPGRADE_DONE,
                            .user = u->flow->user,
                            .version = u->flow->version,
                            .room_id = u->flow->room_id};
    gr_result body = {.body = answer(u, ctx)};
    while (u->asker_count) gr_ctx_answer(ctx, &u->askers[--u->asker_count], &gr_type_result, &body);
    save(u, ctx, &done);
    gr_ctx_timer(ctx, timer(), gr_ctx_now_ms(ctx) + GR_UPGRADE_KEPT_MS, true);
}

/* --- asking -------------------------------------------------------------------------------------------- */
static void ask(const upgrade *u, gr_ctx *ctx, gr_kind kind, gr_str id, const gr_type *type, const void *body)
{
    gr_resume resume = {.step = (uint32_t)u->flow->step, .number = u->flow->done};
    gr_ctx_ask(ctx, gr_address(gr_ctx_arena(ctx), kind, id), type, body, GR_UPGRADE_ASK_MS, &resume);
}

static gr_str old_room(gr_ctx *ctx) { return gr_address_id(gr_ctx_self(ctx)); }

static void ask_old(const upgrade *u, gr_ctx *ctx, const gr_type *type, const void *body)
{
    ask(u, ctx, GR_KIND_ROOM, old_room(ctx), type, body);
}

static void ask_new(const upgrade *u, gr_ctx *ctx, const gr_type *type, const void *body)
{
    ask(u, ctx, GR_KIND_ROOM, u->flow->room_id, type, body);
}

static void send_state(const upgrade *u, gr_ctx *ctx, const char *type, gr_str state_key, gr_str content)
{
    gr_room_send body = {.user = u->flow->user,
                         .type = gr_str_c(type),
                         .is_state = true,
                         .state_key = state_key,
                         .content = content};
    ask_new(u, ctx, &gr_type_room_send, &body);
}

static void make(const upgrade *u, gr_ctx *ctx)
{
    const gr_upgrade_flow *f = u->flow;
    gr_room_create body = {.user = f->user,
                           .version = f->version,
                           .create_event = f->create_event,
                           .request = f->request,
                           .displayname = f->displayname,
                           .avatar_url = f->avatar_url,
                           .key = f->room_id,
                           .powers = f->powers};
    ask_new(u, ctx, &gr_type_room_create, &body);
}

/* --- spaces: their children, page by page -------------------------------------------------------------- */
/* The next of the page that is one still; false when the page is over. */
static bool send_child(const upgrade *u, gr_ctx *ctx)
{
    const gr_json *page = NULL;
    gr_arena *a = gr_ctx_arena(ctx);
    if (gr_failed(gr_json_parse(a, u->flow->children, GR_JSON_LAX, &page))) return false;
    for (; gr_json_is(page, GR_JSON_ARRAY) && u->flow->done < page->count; u->flow->done++) {
        const gr_json *child = &page->items[u->flow->done], *content = gr_json_get(child, "content");
        if (!gr_json_is(gr_json_get(content, "via"), GR_JSON_ARRAY)) continue;
        send_state(u, ctx, "m.space.child", gr_json_text(child, "state_key"), gr_json_printed(a, content));
        return true;
    }
    return false;
}

/* --- aliases ------------------------------------------------------------------------------------------- */
static gr_str alias_value(const upgrade *u, gr_ctx *ctx, gr_str made_by)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "room_id", u->flow->room_id);
    gr_jw_key(&w, "servers");
    gr_jw_array(&w);
    gr_jw_str(&w, gr_env_of(ctx)->server_name);
    gr_jw_end_array(&w);
    gr_jw_kstr(&w, "creator", made_by);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

/* The name first, so that it always points to a room; then the lists of the two rooms.  Who made an alias may always
 * remove it, and so that is who the old room is told. */
static bool move_alias(const upgrade *u, gr_ctx *ctx)
{
    const gr_upgrade_flow *f = u->flow;
    if (f->done >= f->aliases.count || f->done >= f->made_by.count) return false;
    gr_str alias = f->aliases.at[f->done], by = f->made_by.at[f->done];
    gr_room_alias body = {.user = by, .alias = alias, .made_by = by, .add = f->step == GR_UPGRADE_ALIAS_NEW};
    gr_name_move move = {.room_id = old_room(ctx), .value = alias_value(u, ctx, by)};
    if (f->step == GR_UPGRADE_ALIAS) ask(u, ctx, GR_KIND_NAME, alias, &gr_type_name_move, &move);
    else if (f->step == GR_UPGRADE_ALIAS_NEW) ask_new(u, ctx, &gr_type_room_alias, &body);
    else ask_old(u, ctx, &gr_type_room_alias, &body);
    return true;
}

/* --- steps --------------------------------------------------------------------------------------------- */
static void go_to(upgrade *u, gr_upgrade_step step)
{
    u->flow->step = step;
    u->flow->done = 0;
}

/* Asks what the present step asks; false when there is nothing to do in it. */
static bool ask_step(upgrade *u, gr_ctx *ctx)
{
    const gr_upgrade_flow *f = u->flow;
    switch ((gr_upgrade_step)f->step) {
    case GR_UPGRADE_LOOK:
        ask_old(u, ctx, &gr_type_room_replace,
                &(gr_room_replace){.user = f->user, .version = f->version, .creators = f->creators});
        return true;
    case GR_UPGRADE_MAKE: make(u, ctx); return true;
    case GR_UPGRADE_CLOSE:
        ask_old(u, ctx, &gr_type_room_close, &(gr_room_close){.user = f->user, .replacement = f->room_id});
        return true;
    case GR_UPGRADE_CHILDREN:
        ask_old(u, ctx, &gr_type_room_children, &(gr_room_children){.after = f->next});
        return true;
    case GR_UPGRADE_CHILD: return send_child(u, ctx);
    case GR_UPGRADE_ALIAS:
    case GR_UPGRADE_ALIAS_NEW:
    case GR_UPGRADE_ALIAS_OLD: return move_alias(u, ctx);
    case GR_UPGRADE_CANONICAL:
        if (f->canonical_alias.size == 0) return false;
        send_state(u, ctx, "m.room.canonical_alias", (gr_str){0}, f->canonical_alias);
        return true;
    case GR_UPGRADE_PUBLISH:
        if (!f->published) return false;
        ask_new(u, ctx, &gr_type_room_publish, &(gr_room_publish){.user = f->user, .publish = true});
        return true;
    case GR_UPGRADE_UNPUBLISH:
        if (!f->published) return false;
        ask_old(u, ctx, &gr_type_room_publish, &(gr_room_publish){.user = f->user});
        return true;
    case GR_UPGRADE_DONE: break;
    }
    return false;
}

/* What follows a step in which there was nothing to do. */
static void skip(upgrade *u)
{
    bool more = u->flow->step == GR_UPGRADE_CHILD && u->flow->next.size;
    bool aliases = u->flow->step >= GR_UPGRADE_ALIAS && u->flow->step <= GR_UPGRADE_ALIAS_OLD;
    if (more) go_to(u, GR_UPGRADE_CHILDREN);
    else if (aliases) go_to(u, GR_UPGRADE_CANONICAL);
    else go_to(u, (gr_upgrade_step)(u->flow->step + 1));
}

static void run(upgrade *u, gr_ctx *ctx)
{
    while (u->flow->step != GR_UPGRADE_DONE && !ask_step(u, ctx)) skip(u);
    if (u->flow->step == GR_UPGRADE_DONE) {
        succeed(u, ctx);
        return;
    }
    gr_upgrade_flow flow = *u->flow;
    save(u, ctx, &flow);
    gr_ctx_timer(ctx, timer(), gr_ctx_now_ms(ctx) + GR_UPGRADE_STEP_MS, true);
}

/* --- answers ------------------------------------------------------------------------------------------- */
static gr_str with_creator(gr_ctx *ctx, gr_str create, gr_str user)
{
    const gr_json *json = NULL;
    if (gr_failed(gr_json_parse(gr_ctx_arena(ctx), create, GR_JSON_LAX, &json))) return create;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (uint32_t i = 0; i < json->count; i++) {
        gr_jw_key_str(&w, json->members[i].key);
        gr_jw_json(&w, &json->members[i].value);
    }
    gr_jw_kstr(&w, "creator", user);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

/* The new room gets its id here, once. */
static void on_looked(upgrade *u, gr_ctx *ctx, const gr_room_replacement *r)
{
    const gr_room_version *version = gr_room_version_find(u->flow->version);
    gr_event_built built;
    gr_str user = u->flow->user, content = r->create;
    if (version->creator_in_content) content = with_creator(ctx, content, user);
    gr_err err = gr_create_event(ctx, version, user, content, u->flow->shards, &built);
    if (gr_failed(err)) {
        fail(u, ctx, err);
        return;
    }
    gr_upgrade_flow flow = *u->flow;
    flow.step = GR_UPGRADE_MAKE;
    flow.room_id = built.room_id;
    flow.create_event = built.text;
    flow.request = r->request;
    flow.powers = r->powers;
    flow.aliases = r->aliases;
    flow.made_by = r->made_by;
    flow.canonical_alias = r->canonical_alias;
    flow.published = r->published;
    save(u, ctx, &flow);
    run(u, ctx);
}

static void on_page(upgrade *u, gr_ctx *ctx, const gr_room_children_page *page)
{
    gr_upgrade_flow flow = *u->flow;
    flow.step = GR_UPGRADE_CHILD;
    flow.done = 0;
    flow.children = page->children;
    flow.next = page->next;
    save(u, ctx, &flow);
    run(u, ctx);
}

static void advance(upgrade *u)
{
    gr_upgrade_flow *f = u->flow;
    if (f->step == GR_UPGRADE_CHILD) f->done++;
    else if (f->step == GR_UPGRADE_ALIAS || f->step == GR_UPGRADE_ALIAS_NEW) f->step++;
    else if (f->step == GR_UPGRADE_ALIAS_OLD) {
        f->step = GR_UPGRADE_ALIAS;
        f->done++;
    } else {
        go_to(u, (gr_upgrade_step)(f->step + 1));
    }
}

static void on_reply(upgrade *u, const gr_msg *msg, gr_ctx *ctx)
{
    gr_upgrade_flow *f = u->flow;
    bool present = f && msg->resume && msg->resume->step == f->step && msg->resume->number == f->done;
    if (!present || msg->err.code == GR_TIMEOUT) return; /* the timer repeats it */
    if (msg->err.code == GR_UNAVAILABLE) { /* that too, but a node may stay away for long; who asks again joins the flow */
        tell_failure(u, ctx, msg->err);
        return;
    }
    if (gr_failed(msg->err) && f->step <= GR_UPGRADE_CLOSE) {
        fail(u, ctx, msg->err);
        return;
    }
    f->tries = 0;
    if (f->step == GR_UPGRADE_LOOK) {
        on_looked(u, ctx, msg->body);
    } else if (f->step == GR_UPGRADE_CHILDREN && !gr_failed(msg->err)) {
        on_page(u, ctx, msg->body);
    } else {
        if (f->step == GR_UPGRADE_CHILDREN) f->next = f->children = (gr_str){0};
        advance(u);
        run(u, ctx);
    }
}

static void on_timer(upgrade *u, gr_ctx *ctx)
{
    gr_upgrade_flow *f = u->flow;
    if (!f || f->step == GR_UPGRADE_DONE) {
        end(u, ctx);
    } else if (++f->tries < GR_UPGRADE_TRIES_MAX) {
        run(u, ctx);
    } else if (f->step <= GR_UPGRADE_CLOSE) {
        fail(u, ctx, gr_fail(GR_TIMEOUT, "The room could not be upgraded in time"));
    } else {
        f->tries = 0;
        advance(u);
        run(u, ctx);
    }
}

/* --- the beginning ------------------------------------------------------------------------------------- */
static gr_err check(const upgrade *u, const gr_upgrade_room *m)
{
    const gr_upgrade_flow *f = u->flow;
    bool same = f && gr_str_eq(f->user, m->user) && gr_str_eq(f->version, m->version);
    if (!gr_room_version_find(m->version))
        return gr_fail(GR_UNSUPPORTED_ROOM_VERSION, "This server does not support that room version");
    if (f && f->step != GR_UPGRADE_DONE && (!same || u->asker_count == GR_UPGRADE_ASKERS_MAX))
        return gr_fail(GR_UNAVAILABLE, "This room is being upgraded at this moment");
    if (m->creators.count > GR_UPGRADE_CREATORS_MAX)
        return gr_fail(GR_INVALID_PARAM, "additional_creators names too many users");
    for (size_t i = 0; i < m->creators.count; i++)
        if (!gr_ident_user(m->creators.at[i]))
            return gr_fail(GR_INVALID_PARAM, "additional_creators must be a list of user ids");
    return gr_ok();
}

static void begin(upgrade *u, const gr_upgrade_room *m, gr_ctx *ctx)
{
    gr_err err = check(u, m);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    bool same = u->flow && gr_str_eq(u->flow->user, m->user) && gr_str_eq(u->flow->version, m->version);
    if (same && u->flow->step == GR_UPGRADE_DONE) {
        gr_ctx_json(ctx, answer(u, ctx));
        return;
    }
    gr_asker *asker = gr_ctx_keep_asker(ctx);
    if (asker) u->askers[u->asker_count++] = asker;
    if (same) return; /* it is under way already */
    gr_upgrade_flow flow = {.step = GR_UPGRADE_LOOK,
                            .user = m->user,
                            .version = m->version,
                            .creators = m->creators,
                            .displayname = m->displayname,
                            .avatar_url = m->avatar_url,
                            .shards = m->shards};
    save(u, ctx, &flow);
    run(u, ctx);
}

static void handle(void *self, const gr_msg *msg, gr_ctx *ctx)
{
    if (msg->verb == GR_REPLY) on_reply(self, msg, ctx);
    else if (msg->type->id == GR_T_timer) on_timer(self, ctx);
    else if (msg->type->id == GR_T_upgrade_room) begin(self, msg->body, ctx);
    else gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "The upgrade of a room takes no message of this type"));
}

static bool busy(const void *self) { return ((const upgrade *)self)->asker_count > 0; }

static size_t memory(const void *self)
{
    const upgrade *u = self;
    return u->arena ? gr_arena_used(u->arena) : 0;
}

static uint64_t digest(const void *self)
{
    const upgrade *u = self;
    return u->flow ? gr_body_hash(&gr_type_upgrade_flow, u->flow) : 0;
}

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    const upgrade *u = self;
    (void)ctx;
    gr_buf_printf(out, "\"step\":%llu,\"tries\":%llu", (unsigned long long)(u->flow ? u->flow->step : 0),
                  (unsigned long long)(u->flow ? u->flow->tries : 0));
}

const gr_actor_kind gr_upgrade_kind = {
    .kind = GR_KIND_UPGRADE,
    .size = sizeof(upgrade),
    .load = load,
    .handle = handle,
    .drop = drop,
    .busy = busy,
    .memory = memory,
    .digest = digest,
    .inspect = inspect,
};
