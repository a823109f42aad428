/* request.c - the body of createRoom. See create.h. Client-server API, "POST /_matrix/client/v3/createRoom".
 * */
#include "actors/create/create.h"

#include "proto/ident.h"

typedef struct {
    const char *key;
    gr_json_kind kind;
} field;

static const char *kind_name(gr_json_kind kind)
{
    static const char *const names[] = {"null",     "a boolean", "an integer", "a number",
                                        "a string", "a list",    "an object"};
    return names[kind];
}

static gr_err check_kinds(gr_arena *a, const gr_json *json)
{
    static const field fields[] = {{"visibility", GR_JSON_STRING},
                                   {"preset", GR_JSON_STRING},
                                   {"room_alias_name", GR_JSON_STRING},
                                   {"name", GR_JSON_STRING},
                                   {"topic", GR_JSON_STRING},
                                   {"room_version", GR_JSON_STRING},
                                   {"invite", GR_JSON_ARRAY},
                                   {"invite_3pid", GR_JSON_ARRAY},
                                   {"initial_state", GR_JSON_ARRAY},
                                   {"creation_content", GR_JSON_OBJECT},
                                   {"power_level_content_override", GR_JSON_OBJECT},
                                   {"is_direct", GR_JSON_BOOL}};
    if (!gr_json_is(json, GR_JSON_OBJECT)) return gr_fail(GR_BAD_JSON, "The body must be a JSON object");
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const gr_json *value = gr_json_get(json, fields[i].key);
        if (value && !gr_json_is(value, fields[i].kind))
            return gr_failf(a, GR_BAD_JSON, "%s must be %s", fields[i].key, kind_name(fields[i].kind));
    }
    return gr_ok();
}

static gr_err check_choices(const gr_json *json)
{
    gr_str visibility = gr_json_text(json, "visibility"), preset = gr_json_text(json, "preset");
    bool fits = !gr_json_get(json, "visibility") || gr_str_is(visibility, "public")
                || gr_str_is(visibility, "private");
    if (!fits) return gr_fail(GR_INVALID_PARAM, "visibility must be public or private");
    fits = !gr_json_get(json, "preset") || gr_str_is(preset, "private_chat")
           || gr_str_is(preset, "public_chat") || gr_str_is(preset, "trusted_private_chat");
    if (!fits)
        return gr_fail(GR_INVALID_PARAM, "preset must be private_chat, trusted_private_chat or public_chat");
    return gr_ok();
}

static gr_err check_lists(gr_arena *a, const gr_json *json)
{
    const gr_json *invite = gr_json_get(json, "invite"), *initial = gr_json_get(json, "initial_state");
    for (uint32_t i = 0; invite && i < invite->count; i++)
        if (!gr_ident_user(gr_json_string(&invite->items[i])))
            return gr_failf(a, GR_INVALID_PARAM, "invite[%u] is not a user id", i);
    for (uint32_t i = 0; initial && i < initial->count; i++) {
        const gr_json *one = &initial->items[i], *content = gr_json_get(one, "content");
        const gr_json *key = gr_json_get(one, "state_key");
        if (gr_json_text(one, "type").size == 0)
            return gr_failf(a, GR_BAD_JSON, "initial_state[%u] has no type", i);
        if (content && !gr_json_is(content, GR_JSON_OBJECT))
            return gr_failf(a, GR_BAD_JSON, "initial_state[%u].content must be an object", i);
        if (key && !gr_json_is(key, GR_JSON_STRING))
            return gr_failf(a, GR_BAD_JSON, "initial_state[%u].state_key must be a string", i);
    }
    return gr_ok();
}

static gr_err read_alias(gr_arena *a, const gr_env *env, const gr_json *json, gr_str *alias)
{
    gr_str local = gr_json_text(json, "room_alias_name");
    *alias = (gr_str){0};
    if (local.size == 0) return gr_ok();
    *alias = gr_arena_cat(a, 4, (gr_str[]){GR_STR("#"), local, GR_STR(":"), env->server_name});
    bool fits = gr_str_find(local, ':') < 0 && gr_str_find(local, '#') < 0 && gr_str_find(local, ' ') < 0
                && gr_ident_alias(*alias);
    if (!fits)
        return gr_fail(GR_INVALID_PARAM,
                       "room_alias_name must be the local part of an alias, without # and :");
    return gr_ok();
}

gr_err gr_create_request_read(gr_arena *a, const gr_env *env, gr_str text, gr_create_request *out)
{
    *out = (gr_create_request){0};
    gr_err err = gr_json_parse(a, text, GR_JSON_LAX, &out->json);
    if (!gr_failed(err)) err = check_kinds(a, out->json);
    if (!gr_failed(err)) err = check_choices(out->json);
    if (!gr_failed(err)) err = check_lists(a, out->json);
    if (!gr_failed(err)) err = read_alias(a, env, out->json, &out->alias);
    if (gr_failed(err)) return err;
    gr_str version = gr_json_text(out->json, "room_version");
    out->publish = gr_str_is(gr_json_text(out->json, "visibility"), "public");
    out->version = gr_room_version_find(version.size ? version : env->default_room_version);
    if (!out->version)
        return gr_fail(GR_UNSUPPORTED_ROOM_VERSION, "This server does not support that room version");
    return gr_ok();
}

/* --- the create event ---------------------------------------------------------------------------------- */
static bool listed(const gr_json *list, uint32_t before, gr_str user)
{
    for (uint32_t i = 0; gr_json_is(list, GR_JSON_ARRAY) && i < list->count && i < before; i++)
        if (gr_str_eq(gr_json_string(&list->items[i]), user)) return true;
    return false;
}

/* Those the request names, and in a trusted chat those it invites. */
static void write_creators(gr_jw *w, const gr_create_request *r, gr_str creator)
{
    const gr_json *given = gr_json_path(r->json, "creation_content/additional_creators");
    const gr_json *invite = gr_json_get(r->json, "invite");
    if (!gr_str_is(gr_json_text(r->json, "preset"), "trusted_private_chat") || !invite) invite = NULL;
    if (given && !gr_json_is(given, GR_JSON_ARRAY)) {
        gr_jw_kjson(w, "additional_creators", given); /* authorisation says what is wrong with it */
        return;
    }
    if (!given && !invite) return;
    gr_jw_key(w, "additional_creators");
    gr_jw_array(w);
    for (uint32_t i = 0; given && i < given->count; i++) gr_jw_json(w, &given->items[i]);
    for (uint32_t i = 0; invite && i < invite->count; i++) {
        gr_str user = gr_json_string(&invite->items[i]);
        bool again = listed(given, UINT32_MAX, user) || listed(invite, i, user) || gr_str_eq(user, creator);
        if (!again) gr_jw_str(w, user);
    }
    gr_jw_end_array(w);
}

gr_str gr_create_content(gr_arena *a, const gr_create_request *r, gr_str creator)
{
    const gr_json *given = gr_json_get(r->json, "creation_content");
    bool privileged = r->version->privileged_creators;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (uint32_t i = 0; given && i < given->count; i++) {
        gr_str key = given->members[i].key;
        if (gr_str_is(key, "creator") || gr_str_is(key, "room_version")) continue;
        if (privileged && gr_str_is(key, "additional_creators")) continue;
        gr_jw_key_str(&w, key);
        gr_jw_json(&w, &given->members[i].value);
    }
    if (privileged) write_creators(&w, r, creator);
    if (r->version->creator_in_content) gr_jw_kstr(&w, "creator", creator);
    gr_jw_kc(&w, "room_version", r->version->id);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}
