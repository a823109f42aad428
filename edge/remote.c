/* remote.c - asking other servers. See remote.h. */
#include "edge/remote.h"

#include "proto/ident.h"

static void ask(gr_call *call, gr_str server, gr_destination_request *m, uint64_t wait_ms, gr_call_then *then, uint64_t number)
{
    m->timeout_ms = wait_ms;
    gr_call_ask_more(call, gr_call_address(call, GR_KIND_DESTINATION, server), &gr_type_destination_request, m, then, number,
                     2 * wait_ms + GR_CALL_TIMEOUT_MS, false);
}

void gr_remote_ask(gr_call *call, gr_str server, const char *method, gr_str uri, gr_str content, gr_call_then *then,
                   uint64_t number)
{
    gr_destination_request m = {.method = gr_str_c(method), .uri = uri, .content = content};
    ask(call, server, &m, GR_REMOTE_WAIT_MS, then, number);
}

static gr_err read_object(gr_call *call, const gr_answer *a, const gr_json **out)
{
    *out = NULL;
    if (gr_failed(a->err)) return a->err;
    if (a->type != &gr_type_result) return gr_fail(GR_UNKNOWN, "No answer");
    gr_err err = gr_json_parse(call->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, out);
    if (!gr_failed(err) && gr_json_is(*out, GR_JSON_OBJECT)) return gr_ok();
    *out = NULL;
    return gr_fail(GR_BAD_GATEWAY, "The other server's answer makes no sense");
}

const gr_json *gr_remote_object(gr_call *call, const gr_answer *a)
{
    const gr_json *object = NULL;
    gr_err err = read_object(call, a, &object);
    if (gr_failed(err)) gr_call_fail(call, err);
    return object;
}

/* --- split by server --------------------------------------------------------------------------------------- */
static gr_remote_part *find(gr_remote_parts *parts, gr_str server)
{
    for (size_t i = 0; i < parts->count; i++)
        if (gr_str_eq(parts->at[i].server, server)) return &parts->at[i];
    return NULL;
}

gr_remote_parts gr_remote_parts_of(gr_call *call, const gr_json *by_user)
{
    int64_t wait_ms = gr_json_integer(gr_json_get(call->json, "timeout"), GR_REMOTE_WAIT_MS);
    if (wait_ms < 0 || wait_ms > GR_REMOTE_WAIT_MAX_MS) wait_ms = GR_REMOTE_WAIT_MAX_MS;
    gr_remote_parts parts = {.at = gr_arena_alloc(call->arena, by_user->count * sizeof *parts.at),
                             .until_ms = call->now_ms + (uint64_t)wait_ms};
    for (uint32_t i = 0; i < by_user->count; i++) {
        gr_str user = by_user->members[i].key, server = gr_ident_domain(user);
        if (!gr_ident_user(user) || gr_str_eq(server, gr_call_server_name(call)) || find(&parts, server)) continue;
        parts.at[parts.count++].server = server;
    }
    return parts;
}

void gr_remote_part_ask(gr_call *call, const gr_remote_parts *parts, uint64_t number, const char *uri, const char *key,
                        const gr_json *by_user, gr_call_then *then)
{
    const gr_remote_part *part = &parts->at[number];
    gr_buf body = {0};
    gr_jw w = gr_jw_begin(&body);
    gr_jw_object(&w);
    gr_jw_key(&w, key);
    gr_jw_object(&w);
    for (uint32_t i = 0; i < by_user->count; i++) {
        const gr_json_member *m = &by_user->members[i];
        if (!gr_ident_user(m->key) || !gr_str_eq(gr_ident_domain(m->key), part->server)) continue;
        gr_jw_key_str(&w, m->key);
        gr_jw_json(&w, &m->value);
    }
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_destination_request m = {.method = GR_STR("POST"), .uri = gr_str_c(uri), .content = gr_buf_view(&body)};
    ask(call, part->server, &m, parts->until_ms > call->now_ms ? parts->until_ms - call->now_ms : 1, then, number);
    gr_buf_free(&body);
}

void gr_remote_part_told(gr_call *call, gr_remote_part *part, const gr_answer *a)
{
    part->err = read_object(call, a, &part->answer);
    if (gr_failed(part->err)) part->err = gr_call_keep_err(call, part->err);
}

void gr_remote_parts_write(gr_jw *w, const gr_remote_parts *parts, const char *key)
{
    for (size_t p = 0; p < parts->count; p++) {
        const gr_json *users = gr_json_get(parts->at[p].answer, key);
        for (uint32_t i = 0; gr_json_is(users, GR_JSON_OBJECT) && i < users->count; i++) {
            const gr_json_member *m = &users->members[i];
            if (!gr_json_is(&m->value, GR_JSON_OBJECT) || !gr_str_eq(gr_ident_domain(m->key), parts->at[p].server)) continue;
            gr_jw_key_str(w, m->key);
            gr_jw_json(w, &m->value);
        }
    }
}

void gr_remote_parts_failures(gr_jw *w, const gr_remote_parts *parts)
{
    gr_jw_key(w, "failures");
    gr_jw_object(w);
    for (size_t i = 0; i < parts->count; i++) {
        if (!gr_failed(parts->at[i].err)) continue;
        gr_jw_key_str(w, parts->at[i].server);
        gr_jw_object(w);
        gr_jw_kc(w, "errcode", gr_errcode_wire(parts->at[i].err.code));
        gr_jw_kc(w, "error", parts->at[i].err.text);
        gr_jw_end_object(w);
    }
    gr_jw_end_object(w);
}
