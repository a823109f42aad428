/* call_body.c - what a call was given: parameters, fields of its body. See call.h. */
#include "edge/edge.h"
#include "proto/ident.h"

gr_str gr_call_param(const gr_call *call, const char *name) { return gr_route_param(&call->match, name); }

bool gr_call_query(const gr_call *call, const char *name, gr_str *value)
{
    *value = gr_route_query_get(&call->query, name);
    return value->ptr != NULL;
}

gr_str gr_call_server_name(const gr_call *call) { return gr_str_c(call->edge->config->server_name); }
gr_str gr_call_terms(const gr_call *call) { return call->edge->env->terms; }

gr_str gr_call_whole_id(gr_call *call, gr_str name)
{
    if (name.size && name.ptr[0] == '@') return name;
    return gr_arena_printf(call->arena, "@%" GR_FMT ":%" GR_FMT, GR_ARG(name), GR_ARG(gr_call_server_name(call)));
}

const gr_config *gr_call_config(const gr_call *call) { return call->edge->config; }

gr_str gr_call_base_url(const gr_call *call) { return call->edge->env->base_url; }

gr_str gr_call_address(gr_call *call, gr_kind kind, gr_str id) { return gr_address(call->arena, kind, id); }

gr_str gr_call_user_address(gr_call *call, gr_str user)
{
    return gr_call_address(call, gr_ident_is_local(user, gr_call_server_name(call)) ? GR_KIND_USER : GR_KIND_REMOTE_USER, user);
}
gr_str gr_call_keep(gr_call *call, gr_str s) { return s.size ? gr_arena_str(call->arena, s) : (gr_str){"", 0}; }

gr_err gr_call_keep_err(gr_call *call, gr_err err)
{
    err.text = gr_arena_str(call->arena, gr_str_c(err.text ? err.text : "")).ptr;
    return err;
}
void gr_call_forget_token(gr_call *call, gr_str token_hash) { gr_token_cache_forget(call->edge->tokens, token_hash); }

static const char *kind_words(gr_json_kind kind)
{
    static const char *const words[] = {"null", "a boolean", "an integer", "a number", "a string", "an array", "an object"};
    return words[kind];
}

bool gr_call_may(gr_call *call, const char *key, gr_json_kind kind, const gr_json **out)
{
    *out = gr_json_get(call->json, key);
    if (!*out || gr_json_is(*out, kind)) return true;
    if (gr_json_is(*out, GR_JSON_NULL)) {          /* many clients send null for "not given" */
        *out = NULL;
        return true;
    }
    gr_call_fail(call, gr_failf(call->arena, GR_BAD_JSON, "'%s' must be %s", key, kind_words(kind)));
    return false;
}

bool gr_call_want(gr_call *call, const char *key, gr_json_kind kind, const gr_json **out)
{
    if (!gr_call_may(call, key, kind, out)) return false;
    if (*out) return true;
    gr_call_fail(call, gr_failf(call->arena, GR_MISSING_PARAM, "Missing '%s'", key));
    return false;
}

bool gr_call_want_str(gr_call *call, const char *key, gr_str *out)
{
    const gr_json *value = NULL;
    if (!gr_call_want(call, key, GR_JSON_STRING, &value)) return false;
    *out = value->string;
    return true;
}

bool gr_call_may_str(gr_call *call, const char *key, gr_str *out)
{
    const gr_json *value = NULL;
    if (!gr_call_may(call, key, GR_JSON_STRING, &value)) return false;
    *out = gr_json_string(value);
    return true;
}

bool gr_call_may_bool(gr_call *call, const char *key, bool otherwise, bool *out)
{
    const gr_json *value = NULL;
    if (!gr_call_may(call, key, GR_JSON_BOOL, &value)) return false;
    *out = gr_json_boolean(value, otherwise);
    return true;
}

bool gr_call_may_int(gr_call *call, const char *key, int64_t otherwise, int64_t *out)
{
    const gr_json *value = NULL;
    if (!gr_call_may(call, key, GR_JSON_INT, &value)) return false;
    *out = gr_json_integer(value, otherwise);
    return true;
}

bool gr_call_query_u64(gr_call *call, const char *name, uint64_t otherwise, uint64_t *out)
{
    gr_str value;
    *out = otherwise;
    if (!gr_call_query(call, name, &value)) return true;
    if (gr_str_u64(value, out)) return true;
    gr_call_fail(call, gr_failf(call->arena, GR_INVALID_PARAM, "'%s' must be a number that is not negative", name));
    return false;
}

bool gr_call_query_bool(gr_call *call, const char *name, bool otherwise, bool *out)
{
    gr_str value;
    *out = otherwise;
    if (!gr_call_query(call, name, &value)) return true;
    *out = gr_str_is(value, "true");
    if (*out || gr_str_is(value, "false")) return true;
    gr_call_fail(call, gr_failf(call->arena, GR_INVALID_PARAM, "'%s' must be true or false", name));
    return false;
}
