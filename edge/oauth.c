/* oauth.c - errors, fields, clients. See oauth.h. */
#include "edge/oauth.h"

#include "proto/ident.h"

bool gr_oauth_is_on(gr_call *call)
{
    if (gr_call_config(call)->oauth) return true;
    gr_call_fail_with(call, GR_UNRECOGNIZED, "This server has no OAuth 2.0 API: log in by the legacy one");
    return false;
}

void gr_oauth_answer(gr_call *call, int status, gr_buf *json)
{
    gr_http_header headers[] = {{GR_STR("Content-Type"), GR_STR("application/json")},
                                {GR_STR("Cache-Control"), GR_STR("no-store")},
                                {GR_STR("Pragma"), GR_STR("no-cache")}};
    gr_call_reply(call, &(gr_http_answer){.status = status, .headers = headers, .header_count = 3, .body = gr_buf_view(json)});
    explicit_bzero(json->ptr, json->size);
    gr_buf_free(json);
}

void gr_oauth_fail(gr_call *call, int status, const char *error, const char *text)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kc(&w, "error", error);
    gr_jw_kc(&w, "error_description", text);
    gr_jw_end_object(&w);
    gr_oauth_answer(call, status, &out);
}

gr_str gr_oauth_field(const gr_route_query *fields, const char *name)
{
    gr_str value = gr_route_query_get(fields, name);
    return value.ptr ? value : GR_STR("");
}

/* RFC 6749 section 3.1: what a parameter means must not depend on who reads it. */
bool gr_oauth_twice(const gr_route_query *fields)
{
    for (size_t i = 0; i < fields->count; i++)
        for (size_t j = 0; j < i; j++)
            if (gr_str_eq(fields->at[i].name, fields->at[j].name)) return true;
    return false;
}

enum { CLIENT_ID_MAX = 64 };

bool gr_oauth_ask_client(gr_call *call, gr_str client_id, gr_call_then *then)
{
    if (!gr_ident_opaque(client_id) || client_id.size > CLIENT_ID_MAX) return false;
    gr_call_ask(call, gr_call_address(call, GR_KIND_CLIENT, client_id), &gr_type_client_look, &(gr_client_look){0}, then);
    return true;
}

bool gr_oauth_client_told(gr_call *call, const gr_answer *answer, const gr_json **metadata)
{
    *metadata = NULL;
    if (!gr_failed(answer->err)) {
        gr_str text = gr_call_keep(call, ((const gr_client_is *)answer->body)->metadata);
        gr_err err = gr_json_parse(call->arena, text, GR_JSON_LAX, metadata);
        gr_assert(!gr_failed(err));                /* it was printed here */
        return true;
    }
    if (answer->err.code == GR_NOT_FOUND) return true;
    gr_call_fail(call, answer->err);
    return false;
}

gr_str gr_oauth_client_name(const gr_json *metadata)
{
    gr_str name = gr_json_text(metadata, "client_name");
    return name.size ? name : gr_oauth_uri_where(gr_json_text(metadata, "client_uri"));
}
