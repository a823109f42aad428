/* push.c - rulesets: made from the defaults and what is stored, evaluated, and shown to clients. See push.h.
 *
 * Stored is a JSON object: for each kind an array of the user's own rules, the most important first, each as
 * clients see it;
 * and under "defaults" what was changed of the server's rules: {rule id: {"enabled": ..., "actions": [...]}}.
 */
#include "proto/push_rule.h"

/* --- compiling
 * ----------------------------------------------------------------------------------------------- */
const gr_json *gr_push_stored(gr_arena *a, gr_str stored)
{
    const gr_json *json = NULL;
    if (stored.size == 0 || gr_failed(gr_json_parse(a, stored, GR_JSON_LAX, &json))) return NULL;
    return gr_json_is(json, GR_JSON_OBJECT) ? json : NULL;
}

static const gr_json *own_rules(const gr_json *stored, gr_push_kind kind)
{
    const gr_json *list = gr_json_get(stored, gr_push_kind_name(kind));
    return gr_json_is(list, GR_JSON_ARRAY) ? list : NULL;
}

const gr_json *gr_push_stored_rule(const gr_json *stored, gr_push_kind kind, gr_str rule_id)
{
    const gr_json *list = own_rules(stored, kind);
    for (uint32_t i = 0; list && i < list->count; i++)
        if (gr_str_eq(gr_json_text(&list->items[i], "rule_id"), rule_id)) return &list->items[i];
    return NULL;
}

static const gr_json *changes_of(const gr_json *stored, gr_str rule_id)
{
    return gr_json_get_str(gr_json_get(stored, "defaults"), rule_id);
}

static void read_actions(gr_push_rule *r, const gr_json *actions)
{
    r->notify = r->highlight = false;
    r->sound = (gr_str){0};
    for (uint32_t i = 0; i < actions->count; i++) {
        const gr_json *action = &actions->items[i];
        gr_str tweak = gr_json_text(action, "set_tweak");
        if (gr_str_is(gr_json_string(action), "notify")) r->notify = true;
        if (gr_str_is(tweak, "sound")) r->sound = gr_json_text(action, "value");
        if (gr_str_is(tweak, "highlight")) r->highlight = gr_json_boolean(gr_json_get(action, "value"), true);
    }
}

static gr_push_rule changed_default(size_t number, const gr_json *stored)
{
    gr_push_rule r = gr_push_defaults[number];
    const gr_json *changes = changes_of(stored, r.rule_id), *actions = gr_json_get(changes, "actions");
    r.enabled = gr_json_boolean(gr_json_get(changes, "enabled"), r.enabled);
    if (gr_json_is(actions, GR_JSON_ARRAY)) read_actions(&r, actions);
    return r;
}

static gr_push_rule own_rule(gr_arena *a, gr_push_kind kind, const gr_json *json)
{
    gr_push_rule r = {.rule_id = gr_json_text(json, "rule_id"),
                      .enabled = gr_json_boolean(gr_json_get(json, "enabled"), true)};
    const gr_json *conditions = gr_json_get(json, "conditions"), *actions = gr_json_get(json, "actions");
    bool listed = kind == GR_PUSH_OVERRIDE || kind == GR_PUSH_UNDERRIDE;
    size_t count = !listed ? 1 : gr_json_is(conditions, GR_JSON_ARRAY) ? conditions->count : 0;
    gr_push_condition *all = gr_arena_alloc(a, (count + 1) * sizeof *all);
    for (size_t i = 0; listed && i < count; i++) all[i] = gr_push_condition_read(a, &conditions->items[i]);
    if (!listed) all[0] = gr_push_condition_of(kind, r.rule_id, gr_json_text(json, "pattern"));
    r.conditions = all;
    r.condition_count = count;
    if (gr_json_is(actions, GR_JSON_ARRAY)) read_actions(&r, actions);
    return r;
}

/* The order of importance: the master rule, then kind by kind the user's own before the server's. */
static const gr_push_rules *compile_stored(gr_arena *a, gr_str user, const gr_json *stored)
{
    gr_push_rules *rules = gr_arena_alloc(a, sizeof *rules);
    size_t most = GR_PUSH_DEFAULTS, next = 1;
    for (int kind = 0; kind < GR_PUSH_KINDS; kind++) {
        const gr_json *list = own_rules(stored, (gr_push_kind)kind);
        if (list) most += list->count;
    }
    gr_push_rule *at = gr_arena_alloc(a, most * sizeof *at);
    at[rules->count++] = changed_default(0, stored);
    for (int kind = 0; kind < GR_PUSH_KINDS; kind++) {
        const gr_json *list = own_rules(stored, (gr_push_kind)kind);
        for (uint32_t i = 0; list && i < list->count; i++)
            at[rules->count++] = own_rule(a, (gr_push_kind)kind, &list->items[i]);
        for (; next < GR_PUSH_DEFAULTS && gr_push_default_kind(next) == (gr_push_kind)kind; next++)
            at[rules->count++] = changed_default(next, stored);
    }
    rules->at = at;
    rules->user = user;
    return rules;
}

const gr_push_rules *gr_push_compile(gr_arena *a, gr_str user, gr_str stored)
{
    static const gr_push_rules nobody = {gr_push_defaults, GR_PUSH_DEFAULTS, {NULL, 0}};
    const gr_json *json = gr_push_stored(a, stored);
    if (!json && user.size == 0) return &nobody;
    if (json) return compile_stored(a, user, json);
    gr_push_rules *rules = gr_arena_alloc(a, sizeof *rules);
    *rules = (gr_push_rules){gr_push_defaults, GR_PUSH_DEFAULTS, user};
    return rules;
}

/* --- evaluating
 * ---------------------------------------------------------------------------------------------- */
gr_push_result gr_push_evaluate(const gr_push_rules *rules, const gr_json *event, const gr_push_who *who)
{
    for (size_t i = 0; i < rules->count; i++) {
        const gr_push_rule *r = &rules->at[i];
        if (!r->enabled) continue;
        size_t held = 0;
        while (held < r->condition_count && gr_push_holds(&r->conditions[held], rules, event, who)) held++;
        if (held == r->condition_count)
            return (gr_push_result){r->notify, r->highlight, r->sound, r->rule_id};
    }
    return (gr_push_result){0};
}

/* --- showing
 * ------------------------------------------------------------------------------------------------- */
static bool default_enabled(const gr_push_rule *r, const gr_json *stored)
{
    return gr_json_boolean(gr_json_get(changes_of(stored, r->rule_id), "enabled"), r->enabled);
}

static void print_default_actions(gr_jw *w, const gr_push_rule *r, const gr_json *stored)
{
    const gr_json *actions = gr_json_get(changes_of(stored, r->rule_id), "actions");
    if (gr_json_is(actions, GR_JSON_ARRAY)) gr_jw_json(w, actions);
    else gr_push_print_actions(w, r);
}

static void print_default(gr_jw *w, const gr_push_rule *r, gr_str user, const gr_json *stored)
{
    gr_jw_object(w);
    gr_jw_kstr(w, "rule_id", r->rule_id);
    gr_jw_kbool(w, "default", true);
    gr_jw_kbool(w, "enabled", default_enabled(r, stored));
    gr_jw_key(w, "conditions");
    gr_push_print_conditions(w, r, user);
    gr_jw_key(w, "actions");
    print_default_actions(w, r, stored);
    gr_jw_end_object(w);
}

static void print_kind(gr_jw *w, gr_push_kind kind, gr_str user, const gr_json *stored)
{
    const gr_json *list = own_rules(stored, kind);
    gr_jw_array(w);
    if (kind == GR_PUSH_OVERRIDE) print_default(w, &gr_push_defaults[0], user, stored);
    for (uint32_t i = 0; list && i < list->count; i++) gr_jw_json(w, &list->items[i]);
    for (size_t i = 1; i < GR_PUSH_DEFAULTS; i++)
        if (gr_push_default_kind(i) == kind) print_default(w, &gr_push_defaults[i], user, stored);
    gr_jw_end_array(w);
}

static void print_global(gr_jw *w, gr_str user, const gr_json *stored)
{
    gr_jw_object(w);
    for (int kind = 0; kind < GR_PUSH_KINDS; kind++) {
        gr_jw_key(w, gr_push_kind_name((gr_push_kind)kind));
        print_kind(w, (gr_push_kind)kind, user, stored);
    }
    gr_jw_end_object(w);
}

/* One rule, or one attribute of it as the object that GET answers with. */
static gr_err print_rule(gr_jw *w, gr_push_kind kind, gr_str rule_id, gr_str attribute, gr_str user,
                         const gr_json *stored)
{
    const gr_push_rule *ours = gr_push_default_find(kind, rule_id);
    const gr_json *own = gr_push_stored_rule(stored, kind, rule_id);
    if (!ours && !own) return gr_fail(GR_NOT_FOUND, "There is no such push rule");
    if (attribute.size == 0) {
        if (ours) print_default(w, ours, user, stored);
        else gr_jw_json(w, own);
        return gr_ok();
    }
    if (!gr_str_is(attribute, "enabled") && !gr_str_is(attribute, "actions"))
        return gr_fail(GR_INVALID_PARAM, "Of a push rule only 'enabled' and 'actions' can be asked for");
    gr_jw_object(w);
    if (gr_str_is(attribute, "enabled")) {
        gr_jw_kbool(w, "enabled",
                    ours ? default_enabled(ours, stored)
                         : gr_json_boolean(gr_json_get(own, "enabled"), true));
    } else {
        gr_jw_key(w, "actions");
        if (ours) print_default_actions(w, ours, stored);
        else gr_jw_json(w, gr_json_get(own, "actions"));
    }
    gr_jw_end_object(w);
    return gr_ok();
}

static gr_str next_part(gr_str *rest)
{
    ptrdiff_t slash = gr_str_find(*rest, '/');
    gr_str part = slash < 0 ? *rest : gr_str_head(*rest, (size_t)slash);
    *rest = slash < 0 ? (gr_str){0} : gr_str_from(*rest, (size_t)slash + 1);
    return part;
}

static gr_err print_path(gr_jw *w, gr_str user, const gr_json *stored, gr_str path)
{
    gr_push_kind kind;
    gr_str scope = next_part(&path), kind_name = next_part(&path), rule_id = next_part(&path),
           attribute = next_part(&path);
    if (scope.size == 0) {
        gr_jw_object(w);
        gr_jw_key(w, "global");
        print_global(w, user, stored);
        gr_jw_end_object(w);
        return gr_ok();
    }
    if (!gr_str_is(scope, "global"))
        return gr_fail(GR_INVALID_PARAM, "The only set of push rules is 'global'");
    if (kind_name.size == 0) {
        print_global(w, user, stored);
        return gr_ok();
    }
    if (!gr_push_kind_find(kind_name, &kind))
        return gr_fail(GR_INVALID_PARAM,
                       "Kinds of push rules are override, content, room, sender and underride");
    if (rule_id.size) return print_rule(w, kind, rule_id, attribute, user, stored);
    print_kind(w, kind, user, stored);
    return gr_ok();
}

gr_err gr_push_json(gr_arena *a, gr_str user, gr_str stored, gr_str path, gr_str *json)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_err err = print_path(&w, user, gr_push_stored(a, stored), path);
    *json = gr_failed(err) ? (gr_str){0} : gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return err;
}
