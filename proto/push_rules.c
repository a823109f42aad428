/* push_rules.c - the server's own push rules, and their JSON. See push.h; "Predefined Rules". */
#include "proto/push_rule.h"

#define S(literal) \
    { \
        literal, sizeof(literal) - 1 \
    }
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const gr_str type_path[] = {S("type")}, state_key_path[] = {S("state_key")};
static const gr_str msgtype_path[] = {S("content"), S("msgtype")},
                    membership_path[] = {S("content"), S("membership")};
static const gr_str mentioned_path[] = {S("content"), S("m.mentions"), S("user_ids")};
static const gr_str room_mention_path[] = {S("content"), S("m.mentions"), S("room")};
static const gr_str rel_type_path[] = {S("content"), S("m.relates_to"), S("rel_type")};

static const gr_json true_value = {.kind = GR_JSON_BOOL, .boolean = true};
static const gr_json replace_value = {.kind = GR_JSON_STRING, .string = S("m.replace")};

#define MATCH(k, p, text) \
    { \
        .test = GR_PUSH_MATCH, .key = S(k), .path = p, .path_count = COUNT(p), .pattern = S(text) \
    }
#define TYPE(text) MATCH("type", type_path, text)
#define EMPTY_KEY MATCH("state_key", state_key_path, "")
#define TWO_MEMBERS \
    { \
        .test = GR_PUSH_MEMBER_COUNT, .compare = GR_PUSH_EQ, .number = 2 \
    }

static const gr_push_condition notices[] = {MATCH("content.msgtype", msgtype_path, "m.notice")};
static const gr_push_condition invite_for_me[] = {TYPE("m.room.member"),
                                                  MATCH("content.membership", membership_path, "invite"),
                                                  {.test = GR_PUSH_MATCH,
                                                   .key = S("state_key"),
                                                   .path = state_key_path,
                                                   .path_count = 1,
                                                   .of_reader = true}};
static const gr_push_condition member_event[] = {TYPE("m.room.member")};
static const gr_push_condition user_mention[] = {{.test = GR_PUSH_CONTAINS,
                                                  .key = S("content.m\\.mentions.user_ids"),
                                                  .path = mentioned_path,
                                                  .path_count = 3,
                                                  .of_reader = true}};
static const gr_push_condition room_mention[] = {{.test = GR_PUSH_IS,
                                                  .key = S("content.m\\.mentions.room"),
                                                  .path = room_mention_path,
                                                  .path_count = 3,
                                                  .value = &true_value},
                                                 {.test = GR_PUSH_SENDER_POWER, .key = S("room")}};
static const gr_push_condition tombstone[] = {TYPE("m.room.tombstone"), EMPTY_KEY};
static const gr_push_condition reaction[] = {TYPE("m.reaction")};
static const gr_push_condition server_acl[] = {TYPE("m.room.server_acl"), EMPTY_KEY};
static const gr_push_condition edits[] = {{.test = GR_PUSH_IS,
                                           .key = S("content.m\\.relates_to.rel_type"),
                                           .path = rel_type_path,
                                           .path_count = 3,
                                           .value = &replace_value}};
static const gr_push_condition call[] = {TYPE("m.call.invite")};
static const gr_push_condition encrypted_one_to_one[] = {TWO_MEMBERS, TYPE("m.room.encrypted")};
static const gr_push_condition one_to_one[] = {TWO_MEMBERS, TYPE("m.room.message")};
static const gr_push_condition message[] = {TYPE("m.room.message")};
static const gr_push_condition encrypted[] = {TYPE("m.room.encrypted")};

#define RULE(id, list, ...) \
    { \
        .rule_id = S(id), .enabled = true, .conditions = list, .condition_count = COUNT(list), __VA_ARGS__ \
    }

const gr_push_rule gr_push_defaults[GR_PUSH_DEFAULTS] = {
    {.rule_id = S(".m.rule.master"), .enabled = false},
    RULE(".m.rule.suppress_notices", notices, .notify = false),
    RULE(".m.rule.invite_for_me", invite_for_me, .notify = true, .sound = S("default")),
    RULE(".m.rule.member_event", member_event, .notify = false),
    RULE(".m.rule.is_user_mention", user_mention, .notify = true, .sound = S("default"), .highlight = true),
    RULE(".m.rule.is_room_mention", room_mention, .notify = true, .highlight = true),
    RULE(".m.rule.tombstone", tombstone, .notify = true, .highlight = true),
    RULE(".m.rule.reaction", reaction, .notify = false),
    RULE(".m.rule.room.server_acl", server_acl, .notify = false),
    RULE(".m.rule.suppress_edits", edits, .notify = false),
    RULE(".m.rule.call", call, .notify = true, .sound = S("ring")),
    RULE(".m.rule.encrypted_room_one_to_one", encrypted_one_to_one, .notify = true, .sound = S("default")),
    RULE(".m.rule.room_one_to_one", one_to_one, .notify = true, .sound = S("default")),
    RULE(".m.rule.message", message, .notify = true),
    RULE(".m.rule.encrypted", encrypted, .notify = true),
};

static const char *const kind_names[GR_PUSH_KINDS] = {"override", "content", "room", "sender", "underride"};

const char *gr_push_kind_name(gr_push_kind kind) { return kind_names[kind]; }

bool gr_push_kind_find(gr_str name, gr_push_kind *kind)
{
    for (int i = 0; i < GR_PUSH_KINDS; i++) {
        *kind = (gr_push_kind)i;
        if (gr_str_is(name, kind_names[i])) return true;
    }
    *kind = GR_PUSH_OVERRIDE;
    return false;
}

gr_push_kind gr_push_default_kind(size_t number)
{
    return number < GR_PUSH_DEFAULT_OVERRIDES ? GR_PUSH_OVERRIDE : GR_PUSH_UNDERRIDE;
}

const gr_push_rule *gr_push_default_find(gr_push_kind kind, gr_str rule_id)
{
    for (size_t i = 0; i < GR_PUSH_DEFAULTS; i++)
        if (gr_push_default_kind(i) == kind && gr_str_eq(gr_push_defaults[i].rule_id, rule_id))
            return &gr_push_defaults[i];
    return NULL;
}

static void print_condition(gr_jw *w, const gr_push_condition *c, gr_str user)
{
    static const char *const names[] = {"",
                                        "event_match",
                                        "event_property_is",
                                        "event_property_contains",
                                        "contains_display_name",
                                        "room_member_count",
                                        "sender_notification_permission"};
    gr_jw_object(w);
    gr_jw_kc(w, "kind", names[c->test]);
    if (c->key.size) gr_jw_kstr(w, "key", c->key);
    if (c->test == GR_PUSH_MATCH) gr_jw_kstr(w, "pattern", c->of_reader ? user : c->pattern);
    else if (c->of_reader) gr_jw_kstr(w, "value", user);
    else if (c->value) gr_jw_kjson(w, "value", c->value);
    if (c->test == GR_PUSH_MEMBER_COUNT) {
        char text[24] = {(char)('0' + c->number), 0}; /* the server's own rules know one count: 2 */
        gr_jw_kc(w, "is", text);
    }
    gr_jw_end_object(w);
}

void gr_push_print_conditions(gr_jw *w, const gr_push_rule *rule, gr_str user)
{
    gr_jw_array(w);
    for (size_t i = 0; i < rule->condition_count; i++) print_condition(w, &rule->conditions[i], user);
    gr_jw_end_array(w);
}

static void print_tweak(gr_jw *w, const char *name, gr_str value)
{
    gr_jw_object(w);
    gr_jw_kc(w, "set_tweak", name);
    if (value.size) gr_jw_kstr(w, "value", value);
    gr_jw_end_object(w);
}

void gr_push_print_actions(gr_jw *w, const gr_push_rule *rule)
{
    gr_jw_array(w);
    if (rule->notify) gr_jw_str(w, GR_STR("notify"));
    if (rule->sound.size) print_tweak(w, "sound", rule->sound);
    if (rule->highlight) print_tweak(w, "highlight", (gr_str){0});
    gr_jw_end_array(w);
}

gr_str gr_push_actions(gr_arena *a, const gr_push_result *result)
{
    const gr_push_rule rule = {.notify = result->notify, .highlight = result->highlight, .sound = result->sound};
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_push_print_actions(&w, &rule);
    gr_str text = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

gr_str gr_push_default_actions(gr_arena *a, gr_str rule_id)
{
    gr_push_result result = {0};
    for (size_t i = 0; i < GR_PUSH_DEFAULTS; i++) {
        const gr_push_rule *r = &gr_push_defaults[i];
        if (gr_str_eq(r->rule_id, rule_id))
            result = (gr_push_result){.notify = r->notify, .highlight = r->highlight, .sound = r->sound};
    }
    return gr_push_actions(a, &result);
}
