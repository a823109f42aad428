/* push_rules.c - a user's push rules. See user.h, and push.h for what is stored.
 *
 * The row keeps the position of the newest change before the JSON; it stays when the rules are the defaults
 * again, so that
 * /sync tells of that too.  The feed of the shard, which evaluates them, gets every change by a post.
 */
#include "actors/user/data.h"

#include "proto/push.h"

enum { POSITION_SIZE = 8 };

static gr_str row_key(gr_ctx *ctx) { return gr_user_key(ctx, 'p', (gr_str){0}); }

gr_str gr_user_push_rules(gr_ctx *ctx, uint64_t *position)
{
    gr_str row;
    *position = 0;
    if (!gr_ctx_get(ctx, row_key(ctx), &row) || row.size < POSITION_SIZE) return (gr_str){0};
    *position = gr_u64be(row.ptr);
    return gr_str_from(row, POSITION_SIZE);
}

static void store(gr_user *u, gr_ctx *ctx, gr_str rules)
{
    gr_buf row = {0};
    gr_buf_u64be(&row, gr_ctx_position(ctx));
    gr_buf_str(&row, rules);
    gr_ctx_put(ctx, row_key(ctx), gr_buf_view(&row));
    gr_buf_free(&row);
    gr_ctx_post(ctx, gr_address_of_shard(gr_ctx_arena(ctx), GR_KIND_FEED, gr_ctx_shard(ctx)),
                &gr_type_feed_rules, &(gr_feed_rules){.user = u->id, .rules = rules});
    gr_user_changed(u, ctx);
}

static void finish(gr_user *u, gr_ctx *ctx, gr_err err, gr_str before, gr_str after)
{
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    if (!gr_str_eq(before, after)) store(u, ctx, after);
    gr_ctx_done(ctx);
}

void gr_user_on_push_rules_get(gr_user *u, const gr_user_push_rules_get *m, gr_ctx *ctx)
{
    uint64_t position;
    gr_str json;
    gr_err err = gr_push_json(gr_ctx_arena(ctx), u->id, gr_user_push_rules(ctx, &position), m->path, &json);
    if (gr_failed(err)) gr_ctx_fail(ctx, err);
    else gr_ctx_json(ctx, json);
}

void gr_user_on_push_rule_put(gr_user *u, const gr_user_push_rule_put *m, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    uint64_t position;
    const gr_json *body = NULL;
    gr_str before = gr_user_push_rules(ctx, &position), after = {0};
    gr_err err = gr_json_parse(a, m->body, GR_JSON_LAX, &body);
    if (!gr_failed(err) && m->attribute.size)
        err = gr_push_attribute(a, u->id, before, m->kind, m->rule_id, m->attribute, body, &after);
    else if (!gr_failed(err))
        err = gr_push_put(a, u->id, before, m->kind, m->rule_id, body, m->before, m->after, &after);
    finish(u, ctx, err, before, after);
}

void gr_user_on_push_rule_delete(gr_user *u, const gr_user_push_rule_delete *m, gr_ctx *ctx)
{
    uint64_t position;
    gr_str before = gr_user_push_rules(ctx, &position), after = {0};
    gr_err err = gr_push_delete(gr_ctx_arena(ctx), u->id, before, m->kind, m->rule_id, &after);
    finish(u, ctx, err, before, after);
}
