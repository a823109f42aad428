/* call_server.c - who is the other server that calls? See call.h; server-server API, "Request Authentication". */
#include "edge/edge.h"

#include "proto/server_acl.h"
#include "proto/xmatrix.h"

#include <sodium.h>
#include <strings.h>

struct gr_call_signed {
    gr_xmatrix header;
    gr_str uri;                        /* as on the wire */
    void (*checked)(gr_call *);
};

/* --- with whom this server talks ---------------------------------------------------------------------------- */
static bool is_listed(const gr_config_list *list, gr_str server)
{
    for (size_t i = 0; i < list->count; i++)
        if (gr_server_acl_matches(gr_str_c(list->at[i]), server)) return true;
    return false;
}

bool gr_call_server_allowed(const gr_config *c, gr_str server)
{
    if (is_listed(&c->federation_server_deny, server)) return false;
    return c->federation_server_allow.count == 0 || is_listed(&c->federation_server_allow, server);
}

/* --- the head ----------------------------------------------------------------------------------------------- */
static void find_authorization(const gr_http_req *req, gr_str *out, size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < req->header_count; i++) {
        const gr_http_header *h = &req->headers[i];
        if (h->name.size == 13 && strncasecmp(h->name.ptr, "authorization", 13) == 0 && (*count)++ == 0) *out = h->value;
    }
}

gr_err gr_call_server_head(gr_call *call, const gr_http_req *req)
{
    gr_str header = {0};
    size_t count = 0;
    find_authorization(req, &header, &count);
    if (count != 1) return gr_fail(GR_UNAUTHORIZED, "The request must have one Authorization header, X-Matrix");
    struct gr_call_signed *s = call->signed_by = gr_arena_alloc(call->arena, sizeof *s);
    gr_err err = gr_xmatrix_parse(call->arena, gr_call_keep(call, header), &s->header);
    if (gr_failed(err)) return err;
    if (!gr_call_server_allowed(call->edge->config, s->header.origin))
        return gr_fail(GR_FORBIDDEN, "This server does not talk with yours");
    if (gr_str_eq(s->header.origin, gr_call_server_name(call)))
        return gr_fail(GR_UNAUTHORIZED, "The origin of the request is this server itself");
    /* The signature is over the target as it was sent, also if nothing follows its '?'. */
    s->uri = req->has_query ? gr_arena_cat(call->arena, 3, (gr_str[]){call->path, GR_STR("?"), req->query}) : call->path;
    return gr_ok();
}

/* --- the signature ------------------------------------------------------------------------------------------ */
static void check(gr_call *call, const unsigned char public_key[GR_SIGN_PUBLIC])
{
    const struct gr_call_signed *s = call->signed_by;
    static const char *const names[GR_HTTP_METHOD_COUNT] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", ""};
    gr_xmatrix_request request = {.method = gr_str_c(names[call->method]), .uri = s->uri, .content = call->json};
    gr_err err = gr_xmatrix_check(call->arena, &s->header, &request, gr_call_server_name(call), public_key);
    if (gr_failed(err)) {
        gr_call_fail(call, err);
        return;
    }
    call->origin = s->header.origin;
    if (gr_key_cache_heard(call->edge->keys, call->origin, s->header.key, call->edge->now_ms))
        gr_port_tell(call->edge->port, gr_call_address(call, GR_KIND_DESTINATION, call->origin), &gr_type_destination_heard,
                     &(gr_destination_heard){0}, call->trace);
    s->checked(call);
}

static void on_keys(gr_call *call, const gr_answer *answer)
{
    const struct gr_call_signed *s = call->signed_by;
    const gr_keys_found *found = answer->body;
    if (gr_failed(answer->err) || answer->type != &gr_type_keys_found || found->servers.count != 1) {
        gr_call_fail(call, gr_failed(answer->err) ? answer->err : gr_fail(GR_UNKNOWN, "No answer"));
        return;
    }
    const gr_keys_known *known = &found->servers.at[0];
    for (size_t i = 0; i < known->keys.count; i++) {
        const gr_server_key *key = &known->keys.at[i];
        if (!gr_str_eq(key->key_id, s->header.key) || key->public_key.size != GR_SIGN_PUBLIC) continue;
        if (key->expired_ms || key->valid_until_ms < call->now_ms) break;
        const unsigned char *public_key = (const unsigned char *)key->public_key.ptr;
        gr_key_cache_put(call->edge->keys, s->header.origin, s->header.key, call->now_ms, key->valid_until_ms, public_key);
        check(call, public_key);
        return;
    }
    gr_call_fail(call, gr_failf(call->arena, GR_UNAUTHORIZED, "%" GR_FMT " has no key %" GR_FMT " that is valid now",
                                GR_ARG(s->header.origin), GR_ARG(s->header.key)));
}

static void find_key(gr_call *call)
{
    const struct gr_call_signed *s = call->signed_by;
    gr_str key_id = s->header.key;
    gr_keys_wanted wanted = {.server = s->header.origin, .key_ids = {&key_id, 1}, .min_valid_ms = call->now_ms};
    gr_keys_find find = {.servers = {&wanted, 1}};
    uint64_t random[2];
    randombytes_buf(random, sizeof random);
    gr_str id = gr_arena_printf(call->arena, "%016llx%016llx", (unsigned long long)random[0], (unsigned long long)random[1]);
    gr_call_ask_more(call, gr_call_address(call, GR_KIND_KEYS, id), &gr_type_keys_find, &find, on_keys, 0, 2 * GR_CALL_TIMEOUT_MS,
                     false);
}

/* What makes this server ask another one costs more than a look into a table: it is counted by the caller's address. */
void gr_call_server_check(gr_call *call, void (*checked)(gr_call *))
{
    struct gr_call_signed *s = call->signed_by;
    unsigned char public_key[GR_SIGN_PUBLIC];
    s->checked = checked;
    if (gr_key_cache_find(call->edge->keys, s->header.origin, s->header.key, call->edge->now_ms, public_key)) {
        check(call, public_key);
        return;
    }
    gr_err err = call->edge->config->rate_limits
        ? gr_rates_take(call->edge->rates, GR_RATE_SERVER, call->peer, call->edge->now_ms) : gr_ok();
    if (gr_failed(err)) gr_call_fail(call, err);
    else find_key(call);
}
