/* routes_discovery.c - what this server is and can: versions, capabilities, well-known, calls, bridges. */
#include "edge/edge.h"
#include "edge/routes.h"

#include "proto/base64.h"
#include "proto/room_version.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define V3 "/_matrix/client/(r0|v3)"

enum { NEWEST_VERSION = 19 };

static void serve_versions(gr_call *call)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "versions");
    gr_jw_array(&w);
    for (unsigned minor = 1; minor <= NEWEST_VERSION; minor++) gr_jw_str(&w, gr_arena_printf(call->arena, "v1.%u", minor));
    gr_jw_end_array(&w);
    gr_jw_kraw(&w, "unstable_features", GR_STR("{\"org.matrix.msc3827.stable\":true,\"uk.tcpip.msc4133.stable\":true}"));
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static void serve_well_known(gr_call *call)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "m.homeserver");
    gr_jw_object(&w);
    gr_jw_kstr(&w, "base_url", gr_call_base_url(call));
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static void switch_of(gr_jw *w, const char *name, bool enabled)
{
    gr_jw_key(w, name);
    gr_jw_object(w);
    gr_jw_kbool(w, "enabled", enabled);
    gr_jw_end_object(w);
}

static void serve_capabilities(gr_call *call)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "capabilities");
    gr_jw_object(&w);
    gr_jw_key(&w, "m.room_versions");
    gr_jw_object(&w);
    gr_jw_kc(&w, "default", gr_call_config(call)->default_room_version);
    gr_jw_key(&w, "available");
    gr_jw_object(&w);
    for (size_t i = 0; i < GR_ROOM_VERSION_COUNT; i++) gr_jw_kc(&w, gr_room_version_at(i)->id, "stable");
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    switch_of(&w, "m.change_password", true);
    switch_of(&w, "m.set_displayname", true);
    switch_of(&w, "m.set_avatar_url", true);
    switch_of(&w, "m.profile_fields", true);
    switch_of(&w, "m.3pid_changes", call->edge->env->email.from.size > 0);
    switch_of(&w, "m.get_login_token", true);
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

/* Credentials that the TURN server checks by itself: the name says until when, the password is its HMAC-SHA1 under the
 * shared secret (the scheme of "TURN REST API", which TURN servers call use-auth-secret). */
static void serve_turn(gr_call *call)
{
    const gr_config *config = gr_call_config(call);
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (config->turn_uris.count == 0) {
        gr_call_empty(call);
        return;
    }
    gr_str secret = gr_str_c(config->turn_shared_secret);
    unsigned long long until_s = (call->now_ms + config->turn_ttl_ms) / 1000;
    gr_str name = gr_arena_printf(call->arena, "%llu:%" GR_FMT, until_s, GR_ARG(call->user));
    HMAC(EVP_sha1(), secret.ptr, (int)secret.size, (const unsigned char *)name.ptr, name.size, mac, &size);
    gr_str password = gr_base64(call->arena, gr_str_of(mac, size));
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "username", name);
    /* 20 bytes are 27 characters, which TURN servers expect padded. */
    gr_jw_kstr(&w, "password", gr_arena_cat(call->arena, 2, (gr_str[]){password, GR_STR("=")}));
    gr_jw_kint(&w, "ttl", (int64_t)(config->turn_ttl_ms / 1000));
    gr_jw_key(&w, "uris");
    gr_jw_array(&w);
    for (size_t i = 0; i < config->turn_uris.count; i++) gr_jw_str(&w, gr_str_c(config->turn_uris.at[i]));
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

/* Third-party networks come with application services: without any there is no protocol, place or user of one. */
static void serve_protocols(gr_call *call) { gr_call_empty(call); }

static void serve_no_network(gr_call *call)
{
    gr_call_fail_with(call, GR_NOT_FOUND, "This server has no connection with such a network");
}

#define THIRD_PARTY GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ

const gr_call_route gr_routes_discovery[] = {
    {GR_HTTP_GET, "/_matrix/client/versions", GR_CALL_TOKEN_OPTIONAL, GR_CALL_NO_BODY, GR_RATE_READ, serve_versions,
     .guest_ok = true},
    {GR_HTTP_GET, "/.well-known/matrix/client", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_well_known},
    {GR_HTTP_GET, "/.well-known/matrix/server", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ,
     gr_routes_serve_well_known_server},
    {GR_HTTP_GET, V3 "/capabilities", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_capabilities, .guest_ok = true},
    {GR_HTTP_GET, V3 "/voip/turnServer", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_turn, .guest_ok = true},
    {GR_HTTP_GET, V3 "/thirdparty/protocols", THIRD_PARTY, serve_protocols, .guest_ok = true},
    {GR_HTTP_GET, V3 "/thirdparty/protocol/{protocol}", THIRD_PARTY, serve_no_network},
    {GR_HTTP_GET, V3 "/thirdparty/location", THIRD_PARTY, serve_no_network},
    {GR_HTTP_GET, V3 "/thirdparty/location/{protocol}", THIRD_PARTY, serve_no_network},
    {GR_HTTP_GET, V3 "/thirdparty/user", THIRD_PARTY, serve_no_network},
    {GR_HTTP_GET, V3 "/thirdparty/user/{protocol}", THIRD_PARTY, serve_no_network},
    {.pattern = NULL}};
