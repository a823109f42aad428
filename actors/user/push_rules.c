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

/* --- upgraded rooms ------------------------------------------------------------------------------------- */
/* The conditions with the other room in them; *about: one of them names the room. */
static void copy_conditions(gr_jw *w, const gr_json *conditions, gr_str from, gr_str to, bool *about)
{
    gr_jw_array(w);
    for (uint32_t i = 0; gr_json_is(conditions, GR_JSON_ARRAY) && i < conditions->count; i++) {
        const gr_json *one = &conditions->items[i];
        bool names = gr_str_is(gr_json_text(one, "key"), "room_id") && gr_str_eq(gr_json_text(one, "pattern"), from);
        *about = *about || names;
        gr_jw_object(w);
        for (uint32_t k = 0; k < one->count; k++) {
            gr_jw_key_str(w, one->members[k].key);
            if (names && gr_str_is(one->members[k].key, "pattern")) gr_jw_str(w, to);
            else gr_jw_json(w, &one->members[k].value);
        }
        gr_jw_end_object(w);
    }
    gr_jw_end_array(w);
}

/* The rule as its PUT would have it; NULL when it is not about the room. */
static const gr_json *copied_rule(gr_arena *a, const gr_json *rule, gr_str kind, gr_str from, gr_str to)
{
    const gr_json *body = NULL;
    bool about = gr_str_is(kind, "room") && gr_str_eq(gr_json_text(rule, "rule_id"), from);
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kjson(&w, "actions", gr_json_get(rule, "actions"));
    if (!gr_str_is(kind, "room")) {
        gr_jw_key(&w, "conditions");
        copy_conditions(&w, gr_json_get(rule, "conditions"), from, to, &about);
    }
    gr_jw_end_object(&w);
    if (!about || gr_failed(gr_json_parse(a, gr_buf_view(&out), GR_JSON_LAX, &body))) body = NULL;
    gr_buf_free(&out);
    return body;
}

static void copy_rule(gr_user *u, gr_arena *a, const gr_json *rule, gr_str kind, gr_str from, gr_str to, gr_str *rules)
{
    const gr_json *body = copied_rule(a, rule, kind, from, to), *off = NULL;
    gr_str id = gr_json_text(rule, "rule_id"), made, none = {0};
    if (!body || gr_json_boolean(gr_json_get(rule, "default"), false)) return;
    id = gr_str_eq(id, from) ? to : gr_arena_cat(a, 3, (gr_str[]){id, GR_STR("_"), to});
    if (gr_failed(gr_push_put(a, u->id, *rules, kind, id, body, none, none, &made))) return;
    *rules = made;
    if (gr_json_boolean(gr_json_get(rule, "enabled"), true)) return;
    if (gr_failed(gr_json_parse(a, GR_STR("{\"enabled\":false}"), GR_JSON_LAX, &off))) return;
    if (!gr_failed(gr_push_attribute(a, u->id, made, kind, id, GR_STR("enabled"), off, &made))) *rules = made;
}

void gr_user_push_rules_copy(gr_user *u, gr_ctx *ctx, gr_str from, gr_str to)
{
    static const char *const kinds[] = {"override", "room", "underride"};
    gr_arena *a = gr_ctx_arena(ctx);
    uint64_t position;
    const gr_json *all = NULL;
    gr_str json, before = gr_user_push_rules(ctx, &position), after = before;
    if (before.size == 0 || gr_failed(gr_push_json(a, u->id, before, GR_STR("global/"), &json))) return;
    if (gr_failed(gr_json_parse(a, json, GR_JSON_LAX, &all))) return;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const gr_json *rules = gr_json_get(all, kinds[i]);
        for (uint32_t k = 0; gr_json_is(rules, GR_JSON_ARRAY) && k < rules->count; k++)
            copy_rule(u, a, &rules->items[k], gr_str_c(kinds[i]), from, to, &after);
    }
    if (!gr_str_eq(before, after)) store(u, ctx, after);
}
