/* push_change.c - what a user changes in their push rules. See push.h, and push.c for what is stored. */
#include "proto/push_rule.h"

enum { STORED_MAX = 128 * 1024, RULE_ID_MAX = 512 };

static bool has(gr_str s, char c) { return gr_str_find(s, c) >= 0; }

static gr_err no_rule(void) { return gr_fail(GR_NOT_FOUND, "There is no such push rule"); }

static gr_err find_kind(gr_str name, gr_push_kind *kind)
{
    if (gr_push_kind_find(name, kind)) return gr_ok();
    return gr_fail(GR_INVALID_PARAM, "Kinds of push rules are override, content, room, sender and underride");
}

/* --- what clients send
 * --------------------------------------------------------------------------------------- */
static bool is_historical(const gr_json *action)
{
    return gr_str_is(gr_json_string(action), "dont_notify") || gr_str_is(gr_json_string(action), "coalesce");
}

/* Historical actions mean nothing and are left out. */
static gr_err check_actions(gr_arena *a, const gr_json *body, gr_str *actions)
{
    const gr_json *list = gr_json_get(body, "actions");
    *actions = (gr_str){0};
    if (!list) return gr_fail(GR_MISSING_PARAM, "'actions' is missing");
    if (!gr_json_is(list, GR_JSON_ARRAY)) return gr_fail(GR_BAD_JSON, "'actions' must be an array");
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    bool good = true;
    gr_jw_array(&w);
    for (uint32_t i = 0; i < list->count; i++) {
        const gr_json *action = &list->items[i];
        if (is_historical(action)) continue;
        good = good
               && (gr_str_is(gr_json_string(action), "notify")
                   || gr_json_is(gr_json_get(action, "set_tweak"), GR_JSON_STRING));
        gr_jw_json(&w, action);
    }
    gr_jw_end_array(&w);
    *actions = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return good ? gr_ok()
                : gr_fail(GR_INVALID_PARAM, "An action is \"notify\" or an object with \"set_tweak\"");
}

static gr_err check_rule(gr_push_kind kind, gr_str rule_id, const gr_json *body)
{
    const gr_json *conditions = gr_json_get(body, "conditions"), *pattern = gr_json_get(body, "pattern");
    if (rule_id.size == 0 || rule_id.size > RULE_ID_MAX || has(rule_id, '/') || has(rule_id, '\\'))
        return gr_fail(GR_INVALID_PARAM,
                       "The id of a push rule has 1 to 512 bytes, none of them a slash or a backslash");
    if (rule_id.ptr[0] == '.')
        return gr_fail(GR_INVALID_PARAM, "Ids that start with a dot are for the server's own push rules");
    if (kind == GR_PUSH_CONTENT && !pattern)
        return gr_fail(GR_MISSING_PARAM, "A content rule needs a 'pattern'");
    if (kind == GR_PUSH_CONTENT && !gr_json_is(pattern, GR_JSON_STRING))
        return gr_fail(GR_BAD_JSON, "'pattern' must be a string");
    if (!conditions) return gr_ok();
    if (!gr_json_is(conditions, GR_JSON_ARRAY)) return gr_fail(GR_BAD_JSON, "'conditions' must be an array");
    for (uint32_t i = 0; i < conditions->count; i++)
        if (!gr_json_is(gr_json_get(&conditions->items[i], "kind"), GR_JSON_STRING))
            return gr_fail(GR_BAD_JSON, "A condition is an object with a 'kind'");
    return gr_ok();
}

static gr_str own_rule_text(gr_arena *a, gr_push_kind kind, gr_str rule_id, bool enabled, gr_str actions,
                            const gr_json *from)
{
    const gr_json *conditions = gr_json_get(from, "conditions");
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kraw(&w, "actions", actions);
    if (kind == GR_PUSH_OVERRIDE || kind == GR_PUSH_UNDERRIDE) {
        if (conditions) gr_jw_kjson(&w, "conditions", conditions);
        else gr_jw_kraw(&w, "conditions", GR_STR("[]"));
    }
    gr_jw_kbool(&w, "default", false);
    gr_jw_kbool(&w, "enabled", enabled);
    if (kind == GR_PUSH_CONTENT) gr_jw_kstr(&w, "pattern", gr_json_text(from, "pattern"));
    gr_jw_kstr(&w, "rule_id", rule_id);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

/* --- what is stored
 * ------------------------------------------------------------------------------------------ */
typedef struct {
    gr_str rule_id, text;
} listed;
typedef struct {
    listed *at;
    size_t count;
} list;

/* The user's rules of one kind, with room for one more. */
static list list_of(gr_arena *a, const gr_json *stored, gr_push_kind kind)
{
    const gr_json *array = gr_json_get(stored, gr_push_kind_name(kind));
    size_t count = gr_json_is(array, GR_JSON_ARRAY) ? array->count : 0;
    list l = {gr_arena_alloc(a, (count + 1) * sizeof(listed)), count};
    for (size_t i = 0; i < count; i++)
        l.at[i] = (listed){gr_json_text(&array->items[i], "rule_id"), gr_json_printed(a, &array->items[i])};
    return l;
}

static size_t find(const list *l, gr_str rule_id)
{
    size_t i = 0;
    while (i < l->count && !gr_str_eq(l->at[i].rule_id, rule_id)) i++;
    return i;
}

static void take_out(list *l, size_t i)
{
    memmove(&l->at[i], &l->at[i + 1], (l->count - i - 1) * sizeof(listed));
    l->count--;
}

static void put_in(list *l, size_t i, listed rule)
{
    memmove(&l->at[i + 1], &l->at[i], (l->count - i) * sizeof(listed));
    l->at[i] = rule;
    l->count++;
}

/* Everything stored, with one kind or the changes of defaults replaced; empty when that leaves nothing. */
static gr_err write_stored(gr_arena *a, const gr_json *stored, gr_push_kind kind, const list *l,
                           gr_str defaults, gr_str *after)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    const gr_json *kept;
    bool any = false;
    gr_jw_object(&w);
    for (int k = 0; k < GR_PUSH_KINDS; k++) {
        const char *name = gr_push_kind_name((gr_push_kind)k);
        if (l && k == (int)kind) {
            if (l->count == 0) continue;
            gr_jw_key(&w, name);
            gr_jw_array(&w);
            for (size_t i = 0; i < l->count; i++) gr_jw_raw(&w, l->at[i].text);
            gr_jw_end_array(&w);
            any = true;
        } else if ((kept = gr_json_get(stored, name))) {
            gr_jw_kjson(&w, name, kept);
            any = true;
        }
    }
    if (defaults.size) gr_jw_kraw(&w, "defaults", defaults);
    else if ((kept = gr_json_get(stored, "defaults"))) gr_jw_kjson(&w, "defaults", kept);
    any = any || defaults.size || gr_json_get(stored, "defaults");
    gr_jw_end_object(&w);
    gr_err err =
        out.size > STORED_MAX ? gr_fail(GR_TOO_LARGE, "These are too many push rules; delete some") : gr_ok();
    *after = gr_failed(err) || !any ? (gr_str){0} : gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return err;
}

/* --- changes
 * ------------------------------------------------------------------------------------------------- */
/* Where a rule goes: `before` one of the user's rules is more important than it, and wins when both are
 * given. */
static gr_err place(gr_arena *a, const list *l, gr_str before, gr_str after, size_t otherwise, size_t *i)
{
    gr_str anchor = before.size ? before : after;
    *i = otherwise;
    if (anchor.size == 0) return gr_ok();
    *i = find(l, anchor);
    if (*i == l->count)
        return gr_failf(a, GR_REFUSED, "before/after: you have no push rule '%.*s' of this kind",
                        GR_ARG(anchor));
    if (before.size == 0) (*i)++;
    return gr_ok();
}

gr_err gr_push_put(gr_arena *a, gr_str user, gr_str stored, gr_str kind_name, gr_str rule_id,
                   const gr_json *body, gr_str before, gr_str after, gr_str *stored_after)
{
    gr_push_kind kind;
    gr_str actions;
    const gr_json *json = gr_push_stored(a, stored);
    (void)user;
    *stored_after = (gr_str){0};
    gr_err err = find_kind(kind_name, &kind);
    if (!gr_failed(err)) err = check_rule(kind, rule_id, body);
    if (!gr_failed(err)) err = check_actions(a, body, &actions);
    if (gr_failed(err)) return err;
    list l = list_of(a, json, kind);
    size_t i = find(&l, rule_id), at = 0;
    const gr_json *old = gr_push_stored_rule(json, kind, rule_id);
    bool enabled = gr_json_boolean(gr_json_get(old, "enabled"), true);
    if (old) {
        at = i;
        take_out(&l, i);
    }
    err = place(a, &l, before, after, at, &at);
    if (gr_failed(err)) return err;
    put_in(&l, at, (listed){rule_id, own_rule_text(a, kind, rule_id, enabled, actions, body)});
    return write_stored(a, json, kind, &l, (gr_str){0}, stored_after);
}

gr_err gr_push_delete(gr_arena *a, gr_str user, gr_str stored, gr_str kind_name, gr_str rule_id,
                      gr_str *stored_after)
{
    gr_push_kind kind;
    const gr_json *json = gr_push_stored(a, stored);
    (void)user;
    *stored_after = (gr_str){0};
    gr_err err = find_kind(kind_name, &kind);
    if (gr_failed(err)) return err;
    if (gr_push_default_find(kind, rule_id))
        return gr_fail(GR_INVALID_PARAM, "The server's own push rules can't be deleted");
    list l = list_of(a, json, kind);
    size_t i = find(&l, rule_id);
    if (i == l.count) return no_rule();
    take_out(&l, i);
    return write_stored(a, json, kind, &l, (gr_str){0}, stored_after);
}

/* What is changed of the server's rules, with one attribute of one rule replaced. */
static gr_str defaults_with(gr_arena *a, const gr_json *stored, gr_str rule_id, gr_str attribute,
                            gr_str value)
{
    const gr_json *defaults = gr_json_get(stored, "defaults"), *changes = gr_json_get_str(defaults, rule_id);
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (uint32_t i = 0; gr_json_is(defaults, GR_JSON_OBJECT) && i < defaults->count; i++) {
        if (gr_str_eq(defaults->members[i].key, rule_id)) continue;
        gr_jw_key_str(&w, defaults->members[i].key);
        gr_jw_json(&w, &defaults->members[i].value);
    }
    gr_jw_key_str(&w, rule_id);
    gr_jw_object(&w);
    for (uint32_t i = 0; gr_json_is(changes, GR_JSON_OBJECT) && i < changes->count; i++) {
        if (gr_str_eq(changes->members[i].key, attribute)) continue;
        gr_jw_key_str(&w, changes->members[i].key);
        gr_jw_json(&w, &changes->members[i].value);
    }
    gr_jw_key_str(&w, attribute);
    gr_jw_raw(&w, value);
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

static gr_err check_attribute(gr_arena *a, gr_str attribute, const gr_json *body, gr_str *value)
{
    const gr_json *enabled = gr_json_get(body, "enabled");
    *value = (gr_str){0};
    if (gr_str_is(attribute, "actions")) return check_actions(a, body, value);
    if (!gr_str_is(attribute, "enabled"))
        return gr_fail(GR_INVALID_PARAM, "Of a push rule only 'enabled' and 'actions' can be changed");
    if (!enabled) return gr_fail(GR_MISSING_PARAM, "'enabled' is missing");
    if (!gr_json_is(enabled, GR_JSON_BOOL)) return gr_fail(GR_BAD_JSON, "'enabled' must be true or false");
    *value = enabled->boolean ? GR_STR("true") : GR_STR("false");
    return gr_ok();
}

gr_err gr_push_attribute(gr_arena *a, gr_str user, gr_str stored, gr_str kind_name, gr_str rule_id,
                         gr_str attribute, const gr_json *body, gr_str *stored_after)
{
    gr_push_kind kind;
    gr_str value, actions;
    const gr_json *json = gr_push_stored(a, stored);
    (void)user;
    *stored_after = (gr_str){0};
    gr_err err = find_kind(kind_name, &kind);
    if (!gr_failed(err)) err = check_attribute(a, attribute, body, &value);
    if (gr_failed(err)) return err;
    if (gr_push_default_find(kind, rule_id))
        return write_stored(a, json, kind, NULL, defaults_with(a, json, rule_id, attribute, value),
                            stored_after);
    const gr_json *old = gr_push_stored_rule(json, kind, rule_id);
    if (!old) return no_rule();
    list l = list_of(a, json, kind);
    bool enabled = gr_json_boolean(gr_json_get(old, "enabled"), true);
    if (gr_str_is(attribute, "enabled")) {
        enabled = gr_str_is(value, "true");
        actions = gr_json_printed(a, gr_json_get(old, "actions"));
    } else {
        actions = value;
    }
    l.at[find(&l, rule_id)].text = own_rule_text(a, kind, rule_id, enabled, actions, old);
    return write_stored(a, json, kind, &l, (gr_str){0}, stored_after);
}
