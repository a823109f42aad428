/* routes_user.c - what belongs to the user who asks: account data, tags, filters, rooms, push rules,
 * notifications.
 *
 * Client-server API, "Client Config", "Room Tagging", "Filtering", "Push Notifications".
 */
#include "edge/routes.h"

#include "proto/ident.h"

enum { NOTIFICATIONS_DEFAULT = 20, NOTIFICATIONS_MAX = 50 };

static gr_str own_actor(gr_call *c) { return gr_call_address(c, GR_KIND_USER, c->user); }

/* The user named by the path must be the one who asks; a room in it must be one. False: the call was
 * answered. */
static bool path_is_own(gr_call *c)
{
    if (gr_str_eq(gr_call_param(c, "userId"), c->user)) return true;
    gr_call_fail_with(c, GR_FORBIDDEN, "This belongs to another user");
    return false;
}

static bool room_of_path(gr_call *c, gr_str *room_id)
{
    *room_id = gr_call_param(c, "roomId");
    if (gr_ident_room(*room_id)) return true;
    gr_call_fail_with(c, GR_INVALID_PARAM, "The path holds no valid room id");
    return false;
}

/* --- account data
 * -------------------------------------------------------------------------------------------- */
static void put_account_data(gr_call *c, gr_str room_id)
{
    gr_user_account_data_put m = {.room_id = room_id, .type = gr_call_param(c, "type"), .content = c->text};
    if (gr_str_is(m.type, "m.fully_read") || gr_str_is(m.type, "m.push_rules"))
        gr_call_fail_status(c, 405, gr_fail(GR_BAD_JSON, "Account data of this type is set by the server"),
                            (gr_str){0});
    else gr_call_pass(c, own_actor(c), &gr_type_user_account_data_put, &m);
}

static void get_account_data(gr_call *c, gr_str room_id)
{
    gr_user_account_data_get m = {.room_id = room_id, .type = gr_call_param(c, "type")};
    gr_call_pass(c, own_actor(c), &gr_type_user_account_data_get, &m);
}

static void serve_data_put(gr_call *c)
{
    if (path_is_own(c)) put_account_data(c, (gr_str){0});
}

static void serve_data_get(gr_call *c)
{
    if (path_is_own(c)) get_account_data(c, (gr_str){0});
}

static void serve_room_data_put(gr_call *c)
{
    gr_str room_id;
    if (path_is_own(c) && room_of_path(c, &room_id)) put_account_data(c, room_id);
}

static void serve_room_data_get(gr_call *c)
{
    gr_str room_id;
    if (path_is_own(c) && room_of_path(c, &room_id)) get_account_data(c, room_id);
}

/* --- tags
 * ---------------------------------------------------------------------------------------------------- */
static void serve_tags(gr_call *c)
{
    gr_user_tag_list m = {0};
    if (path_is_own(c) && room_of_path(c, &m.room_id))
        gr_call_pass(c, own_actor(c), &gr_type_user_tag_list, &m);
}

static void serve_tag_put(gr_call *c)
{
    gr_user_tag_put m = {.tag = gr_call_param(c, "tag"), .content = c->text.size ? c->text : GR_STR("{}")};
    if (path_is_own(c) && room_of_path(c, &m.room_id))
        gr_call_pass(c, own_actor(c), &gr_type_user_tag_put, &m);
}

static void serve_tag_delete(gr_call *c)
{
    gr_user_tag_delete m = {.tag = gr_call_param(c, "tag")};
    if (path_is_own(c) && room_of_path(c, &m.room_id))
        gr_call_pass(c, own_actor(c), &gr_type_user_tag_delete, &m);
}

/* --- filters and rooms
 * --------------------------------------------------------------------------------------- */
static void serve_filter_put(gr_call *c)
{
    gr_user_filter_put m = {.filter = c->text};
    if (path_is_own(c)) gr_call_pass(c, own_actor(c), &gr_type_user_filter_put, &m);
}

static void serve_filter_get(gr_call *c)
{
    gr_user_filter_get m = {.filter_id = gr_call_param(c, "filterId")};
    if (path_is_own(c)) gr_call_pass(c, own_actor(c), &gr_type_user_filter_get, &m);
}

static void serve_joined_rooms(gr_call *c)
{
    gr_call_pass(c, own_actor(c), &gr_type_user_joined_rooms, &(gr_user_joined_rooms){0});
}

static void serve_forget(gr_call *c)
{
    gr_user_forget m = {0};
    if (room_of_path(c, &m.room_id)) gr_call_pass(c, own_actor(c), &gr_type_user_forget, &m);
}

/* --- push rules
 * ---------------------------------------------------------------------------------------------- */
/* The parts of the path after /pushrules, whatever number of them there is. */
static void serve_rules_get(gr_call *c)
{
    gr_buf path = {0};
    bool inside = false;
    for (size_t i = 0; i < c->match.count; i++) {
        if (i) gr_buf_char(&path, '/');
        gr_buf_str(&path, c->match.values[i]);
        inside = inside || gr_str_find(c->match.values[i], '/') >= 0;
    }
    gr_user_push_rules_get m = {.path = gr_call_keep(c, gr_buf_view(&path))};
    gr_buf_free(&path);
    if (inside) gr_call_fail_with(c, GR_NOT_FOUND, "There is no such push rule");
    else gr_call_pass(c, own_actor(c), &gr_type_user_push_rules_get, &m);
}

static bool scope_is_global(gr_call *c)
{
    if (gr_str_is(gr_call_param(c, "scope"), "global")) return true;
    gr_call_fail_with(c, GR_INVALID_PARAM, "The only set of push rules is 'global'");
    return false;
}

static void put_rule(gr_call *c, gr_str attribute)
{
    gr_user_push_rule_put m = {.kind = gr_call_param(c, "kind"),
                               .rule_id = gr_call_param(c, "ruleId"),
                               .attribute = attribute,
                               .body = c->text};
    if (!scope_is_global(c)) return;
    gr_call_query(c, "before", &m.before);
    gr_call_query(c, "after", &m.after);
    gr_call_pass(c, own_actor(c), &gr_type_user_push_rule_put, &m);
}

static void serve_rule_put(gr_call *c) { put_rule(c, (gr_str){0}); }
static void serve_rule_attribute_put(gr_call *c) { put_rule(c, gr_call_param(c, "attribute")); }

static void serve_rule_delete(gr_call *c)
{
    gr_user_push_rule_delete m = {.kind = gr_call_param(c, "kind"), .rule_id = gr_call_param(c, "ruleId")};
    if (scope_is_global(c)) gr_call_pass(c, own_actor(c), &gr_type_user_push_rule_delete, &m);
}

/* --- notifications
 * ------------------------------------------------------------------------------------------- */
typedef struct {
    gr_notification what;
    gr_str event;
} notified;

typedef struct {
    gr_str next_token;
    notified *at;
    size_t count, answered;
} notifications;

/* Events that can't be had any more (purged, or hidden since) are left out. */
static void answer_notifications(gr_call *c)
{
    const notifications *s = c->state;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    if (s->next_token.size) gr_jw_kstr(&w, "next_token", s->next_token);
    gr_jw_key(&w, "notifications");
    gr_jw_array(&w);
    for (size_t i = 0; i < s->count; i++) {
        const notified *n = &s->at[i];
        if (n->event.size == 0) continue;
        gr_jw_object(&w);
        gr_jw_kraw(&w, "actions", n->what.actions);
        gr_jw_kraw(&w, "event", n->event);
        gr_jw_kbool(&w, "read", n->what.read);
        gr_jw_kstr(&w, "room_id", n->what.room_id);
        gr_jw_kint(&w, "ts", (int64_t)n->what.ts);
        gr_jw_end_object(&w);
    }
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
    gr_call_json_take(c, 200, &out);
}

static void on_notified_event(gr_call *c, const gr_answer *a)
{
    notifications *s = c->state;
    if (!gr_failed(a->err)) s->at[a->number].event = gr_call_keep(c, ((const gr_result *)a->body)->body);
    if (++s->answered == s->count) answer_notifications(c);
}

static void on_notified(gr_call *c, const gr_answer *a)
{
    if (gr_failed(a->err)) {
        gr_call_fail(c, a->err);
        return;
    }
    const gr_user_notified *m = a->body;
    notifications *s = gr_arena_alloc(c->arena, sizeof *s);
    c->state = s;
    s->next_token = gr_call_keep(c, m->next_token);
    s->count = m->notifications.count;
    s->at = gr_arena_alloc(c->arena, (s->count + 1) * sizeof *s->at);
    for (size_t i = 0; i < s->count; i++) {
        gr_notification *n = &s->at[i].what;
        *n = m->notifications.at[i];
        n->room_id = gr_call_keep(c, n->room_id);
        n->event_id = gr_call_keep(c, n->event_id);
        n->actions = gr_call_keep(c, n->actions);
    }
    if (s->count == 0) answer_notifications(c);
    for (size_t i = 0; i < s->count; i++) {
        const gr_notification *n = &s->at[i].what;
        gr_room_event ask = {.user = c->user, .device = c->device, .event_id = n->event_id};
        gr_call_ask_more(c, gr_call_address(c, GR_KIND_ROOM, n->room_id), &gr_type_room_event, &ask,
                         on_notified_event, i, GR_CALL_TIMEOUT_MS, false);
    }
}

static void serve_notifications(gr_call *c)
{
    gr_user_notifications m = {0};
    gr_str only;
    if (!gr_call_query_u64(c, "limit", NOTIFICATIONS_DEFAULT, &m.limit)) return;
    if (m.limit > NOTIFICATIONS_MAX) m.limit = NOTIFICATIONS_MAX;
    gr_call_query(c, "from", &m.from);
    m.highlights = gr_call_query(c, "only", &only) && gr_str_is(only, "highlight");
    gr_call_ask(c, own_actor(c), &gr_type_user_notifications, &m, on_notified);
}

#define V3 "/_matrix/client/(r0|v3)"
#define USER V3 "/user/{userId}"
#define TAGS USER "/rooms/{roomId}/tags"
#define RULES V3 "/pushrules"
#define RULE RULES "/{scope}/{kind}/{ruleId}"

const gr_call_route gr_routes_user[] = {
    {GR_HTTP_PUT, USER "/account_data/{type}", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_MESSAGE, serve_data_put},
    {GR_HTTP_GET, USER "/account_data/{type}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_data_get,
     .guest_ok = true},
    {GR_HTTP_PUT, USER "/rooms/{roomId}/account_data/{type}", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_MESSAGE,
     serve_room_data_put},
    {GR_HTTP_GET, USER "/rooms/{roomId}/account_data/{type}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ,
     serve_room_data_get, .guest_ok = true},
    {GR_HTTP_GET, TAGS, GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_tags, .guest_ok = true},
    {GR_HTTP_PUT, TAGS "/{tag}", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_MESSAGE, serve_tag_put},
    {GR_HTTP_DELETE, TAGS "/{tag}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_MESSAGE, serve_tag_delete},
    {GR_HTTP_POST, USER "/filter", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_MESSAGE, serve_filter_put,
     .guest_ok = true},
    {GR_HTTP_GET, USER "/filter/{filterId}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_filter_get,
     .guest_ok = true},
    {GR_HTTP_GET, V3 "/joined_rooms", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_joined_rooms,
     .guest_ok = true},
    {GR_HTTP_POST, V3 "/rooms/{roomId}/forget", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_ROOM,
     serve_forget},
    {GR_HTTP_GET, RULES, GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_rules_get, .guest_ok = true},
    {GR_HTTP_GET, RULES "/{scope}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_rules_get,
     .guest_ok = true},
    {GR_HTTP_GET, RULES "/{scope}/{kind}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_rules_get,
     .guest_ok = true},
    {GR_HTTP_GET, RULE, GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_rules_get, .guest_ok = true},
    {GR_HTTP_GET, RULE "/{attribute}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_rules_get,
     .guest_ok = true},
    {GR_HTTP_PUT, RULE, GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_MESSAGE, serve_rule_put},
    {GR_HTTP_PUT, RULE "/{attribute}", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_MESSAGE,
     serve_rule_attribute_put},
    {GR_HTTP_DELETE, RULE, GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_MESSAGE, serve_rule_delete},
    {GR_HTTP_GET, V3 "/notifications", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_notifications},
    {0}};
