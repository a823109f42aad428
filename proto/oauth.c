/* oauth.c - scopes, redirect URIs, metadata of clients, proof keys. See oauth.h. */
#include "proto/oauth.h"

#include "proto/base64.h"
#include "proto/ident.h"
#include "proto/sha256.h"

#include <strings.h>

/* --- scopes ------------------------------------------------------------------------------------------------ */
static const char *const api_names[] = {"urn:matrix:client:api:*", "urn:matrix:org.matrix.msc2967.client:api:*"};
static const char *const device_names[] = {"urn:matrix:client:device:", "urn:matrix:org.matrix.msc2967.client:device:"};

/* The next word of a text of words between single blanks; false at its end. */
static bool next_word(gr_str *rest, gr_str *word)
{
    while (rest->size && rest->ptr[0] == ' ') *rest = gr_str_from(*rest, 1);
    ptrdiff_t blank = gr_str_find(*rest, ' ');
    *word = blank < 0 ? *rest : gr_str_head(*rest, (size_t)blank);
    *rest = gr_str_from(*rest, word->size);
    return word->size > 0;
}

static bool is_api(gr_str word) { return gr_str_is(word, api_names[0]) || gr_str_is(word, api_names[1]); }

/* RFC 6749 section 3.3 says which characters there can be; of those only what an address can show unescaped. */
static bool device_fits(gr_str device) { return gr_ident_opaque(device) && device.size <= GR_OAUTH_DEVICE_MAX; }

static bool is_device(gr_str word, gr_str *device)
{
    for (size_t i = 0; i < 2; i++)
        if (gr_str_starts(word, gr_str_c(device_names[i]))) {
            *device = gr_str_from(word, strlen(device_names[i]));
            return true;
        }
    return false;
}

bool gr_oauth_scope_has_api(gr_str granted)
{
    gr_str word;
    while (next_word(&granted, &word))
        if (is_api(word)) return true;
    return false;
}

const char *gr_oauth_scope_read(gr_arena *a, gr_str text, gr_oauth_scope *out)
{
    gr_str word, device;
    bool api = false;
    *out = (gr_oauth_scope){0};
    if (text.size > GR_OAUTH_SCOPE_MAX) return "'scope' is too long";
    while (next_word(&text, &word)) {
        bool names_device = is_device(word, &device);
        if (names_device && !device_fits(device)) return "The device id in 'scope' must be 1 to 64 of A-Z a-z 0-9 - . _ ~";
        if (names_device && out->device.size && !gr_str_eq(out->device, device)) return "'scope' must name exactly one device";
        if (!names_device && !is_api(word)) continue;
        if (names_device) out->device = gr_arena_str(a, device);
        else api = true;
        gr_str blank = out->granted.size ? GR_STR(" ") : GR_STR("");
        out->granted = gr_arena_cat(a, 3, (gr_str[]){out->granted, blank, word});
    }
    if (!api) return "'scope' must have urn:matrix:client:api:*";
    return out->device.size ? NULL : "'scope' must have urn:matrix:client:device:<device id>";
}

/* --- URIs -------------------------------------------------------------------------------------------------- */
typedef struct { gr_str scheme, authority, rest; bool has_authority; } uri_parts;

/* Printable ASCII without what browsers read as something else. */
static bool uri_split(gr_str uri, uri_parts *out)
{
    ptrdiff_t colon = gr_str_find(uri, ':');
    *out = (uri_parts){0};
    if (uri.size > GR_OAUTH_URI_MAX || colon <= 0) return false;
    for (size_t i = 0; i < uri.size; i++)
        if (uri.ptr[i] <= ' ' || uri.ptr[i] > '~' || strchr("\"<>\\^`{|}", uri.ptr[i])) return false;
    out->scheme = gr_str_head(uri, (size_t)colon);
    for (size_t i = 0; i < out->scheme.size; i++) {
        char c = out->scheme.ptr[i];
        bool is_letter = c >= 'a' && c <= 'z', is_other = (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+';
        if (!is_letter && !(i > 0 && is_other)) return false;
    }
    out->rest = gr_str_from(uri, (size_t)colon + 1);
    out->has_authority = gr_str_starts(out->rest, GR_STR("//"));
    if (!out->has_authority) return true;
    gr_str after = gr_str_from(out->rest, 2);
    size_t size = 0;
    while (size < after.size && !strchr("/?#", after.ptr[size])) size++;
    out->authority = gr_str_head(after, size);
    out->rest = gr_str_from(after, size);
    return true;
}

/* The host of an https URI without user and password; empty when it is none. */
static gr_str https_host(gr_str uri)
{
    uri_parts parts;
    gr_str host;
    uint16_t port;
    bool literal;
    if (!uri_split(uri, &parts) || !gr_str_is(parts.scheme, "https") || !parts.has_authority) return (gr_str){0};
    if (!gr_ident_server_name(parts.authority)) return (gr_str){0};       /* has no '@' */
    return gr_ident_server_split(parts.authority, &host, &port, &literal) ? host : (gr_str){0};
}

/* The same host, or one below it. */
static bool host_within(gr_str host, gr_str base)
{
    if (host.size < base.size) return false;
    size_t before = host.size - base.size;
    return strncasecmp(host.ptr + before, base.ptr, base.size) == 0 && (before == 0 || host.ptr[before - 1] == '.');
}

static bool https_within(gr_str uri, gr_str base)
{
    gr_str host = https_host(uri);
    return host.size && host_within(host, base);
}

static const char *const loopback_hosts[] = {"localhost", "127.0.0.1", "[::1]", NULL};

/* An http URI of this computer: its port, as ":1234" or empty, and what follows. */
static bool loopback_split(gr_str uri, gr_str *host, gr_str *port, gr_str *rest)
{
    uri_parts parts;
    if (!uri_split(uri, &parts) || !gr_str_is(parts.scheme, "http") || !parts.has_authority) return false;
    for (size_t i = 0; loopback_hosts[i]; i++) {
        *host = gr_str_c(loopback_hosts[i]);
        if (!gr_str_starts(parts.authority, *host)) continue;
        *port = gr_str_from(parts.authority, host->size);
        *rest = parts.rest;
        uint64_t number = 0;
        bool is_port = port->size > 1 && port->ptr[0] == ':' && gr_str_u64(gr_str_from(*port, 1), &number) && number < 65536;
        if (port->size == 0 || is_port) return true;
    }
    return false;
}

/* "com.example.app" for a client of example.com. */
static bool scheme_within(gr_str scheme, gr_str host)
{
    while (host.size) {
        size_t dot = host.size;
        while (dot > 0 && host.ptr[dot - 1] != '.') dot--;
        gr_str label = gr_str_from(host, dot);
        if (label.size == 0 || scheme.size < label.size || strncasecmp(scheme.ptr, label.ptr, label.size) != 0) return false;
        scheme = gr_str_from(scheme, label.size);
        host = gr_str_head(host, dot ? dot - 1 : 0);
        if (host.size == 0) return scheme.size == 0 || scheme.ptr[0] == '.';
        if (scheme.size == 0 || scheme.ptr[0] != '.') return false;
        scheme = gr_str_from(scheme, 1);
    }
    return false;
}

static bool redirect_fits(gr_str uri, gr_str base, bool is_native)
{
    uri_parts parts;
    gr_str host, port, rest;
    if (gr_str_find(uri, '#') >= 0 || !uri_split(uri, &parts)) return false;
    if (gr_str_is(parts.scheme, "https")) return https_within(uri, base);
    if (!is_native) return false;
    if (gr_str_is(parts.scheme, "http")) return loopback_split(uri, &host, &port, &rest) && port.size == 0;
    return !parts.has_authority && parts.rest.size > 0 && gr_str_find(parts.scheme, '.') > 0 && scheme_within(parts.scheme, base);
}

gr_str gr_oauth_uri_where(gr_str uri)
{
    uri_parts parts;
    if (!uri_split(uri, &parts)) return (gr_str){0};
    return parts.has_authority ? parts.authority : parts.scheme;
}

/* --- clients ----------------------------------------------------------------------------------------------- */
#define BAD(text) (gr_oauth_refusal){"invalid_client_metadata", text}
#define BAD_REDIRECT(text) (gr_oauth_refusal){"invalid_redirect_uri", text}
#define FINE (gr_oauth_refusal){NULL, NULL}

static const char *const grant_types[] = {"authorization_code", "refresh_token", GR_OAUTH_DEVICE_GRANT, NULL};

static bool list_has(const gr_json *list, const char *word)
{
    for (uint32_t i = 0; gr_json_is(list, GR_JSON_ARRAY) && i < list->count; i++)
        if (gr_str_is(gr_json_string(&list->items[i]), word)) return true;
    return false;
}

bool gr_oauth_client_may(const gr_json *metadata, const char *grant_type)
{
    return list_has(gr_json_get(metadata, "grant_types"), grant_type);
}

bool gr_oauth_redirect_known(const gr_json *metadata, gr_str uri)
{
    const gr_json *list = gr_json_get(metadata, "redirect_uris");
    gr_str host, port, rest, known_host, known_port, known_rest;
    if (uri.size == 0) return false;
    bool is_loopback = loopback_split(uri, &host, &port, &rest);
    for (uint32_t i = 0; gr_json_is(list, GR_JSON_ARRAY) && i < list->count; i++) {
        gr_str known = gr_json_string(&list->items[i]);
        if (gr_str_eq(known, uri)) return true;
        if (is_loopback && loopback_split(known, &known_host, &known_port, &known_rest) && gr_str_eq(host, known_host)
            && gr_str_eq(rest, known_rest)) return true;
    }
    return false;
}

static gr_oauth_refusal check_redirects(const gr_json *request, gr_str base, bool is_native)
{
    const gr_json *list = gr_json_get(request, "redirect_uris");
    if (!list) return FINE;
    if (!gr_json_is(list, GR_JSON_ARRAY)) return BAD_REDIRECT("'redirect_uris' must be an array");
    if (list->count > GR_OAUTH_REDIRECTS_MAX) return BAD_REDIRECT("At most 16 redirect URIs");
    for (uint32_t i = 0; i < list->count; i++)
        if (!redirect_fits(gr_json_string(&list->items[i]), base, is_native))
            return BAD_REDIRECT(is_native ? "A redirect URI must be https within the host of 'client_uri', http of a loopback "
                                            "address without a port, or of a scheme made of that host in reverse"
                                          : "A redirect URI must be https, within the host of 'client_uri', without a fragment");
    return FINE;
}

static gr_oauth_refusal check_links(const gr_json *request, gr_str base)
{
    static const char *const links[] = {"logo_uri", "tos_uri", "policy_uri", NULL};
    for (size_t i = 0; links[i]; i++) {
        const gr_json *link = gr_json_get(request, links[i]);
        if (link && !https_within(gr_json_string(link), base))
            return BAD("'logo_uri', 'tos_uri' and 'policy_uri' must be https, within the host of 'client_uri'");
    }
    return FINE;
}

static gr_oauth_refusal check_types(const gr_json *request, bool *is_native)
{
    const gr_json *type = gr_json_get(request, "application_type");
    const gr_json *method = gr_json_get(request, "token_endpoint_auth_method");
    const gr_json *grants = gr_json_get(request, "grant_types"), *responses = gr_json_get(request, "response_types");
    const gr_json *redirects = gr_json_get(request, "redirect_uris");
    *is_native = gr_str_is(gr_json_string(type), "native");
    if (type && !*is_native && !gr_str_is(gr_json_string(type), "web")) return BAD("'application_type' must be web or native");
    if (method && !gr_str_is(gr_json_string(method), "none")) return BAD("'token_endpoint_auth_method' must be none");
    if ((grants && !gr_json_is(grants, GR_JSON_ARRAY)) || (responses && !gr_json_is(responses, GR_JSON_ARRAY)))
        return BAD("'grant_types' and 'response_types' must be arrays");
    bool by_code = !grants || list_has(grants, "authorization_code");
    if (!by_code && !list_has(grants, GR_OAUTH_DEVICE_GRANT)) return BAD("'grant_types' has none that begins a session");
    if (by_code && responses && !list_has(responses, "code")) return BAD("'response_types' must have code");
    if (by_code && (!gr_json_is(redirects, GR_JSON_ARRAY) || redirects->count == 0))
        return BAD_REDIRECT("The authorization code grant needs a redirect URI");
    return FINE;
}

static void write_links(gr_jw *w, const gr_json *request)
{
    static const char *const texts[] = {"client_name", "client_uri", "logo_uri", "tos_uri", "policy_uri", NULL};
    for (size_t i = 0; texts[i]; i++) {
        gr_str text = gr_json_text(request, texts[i]);
        if (text.size) gr_jw_kstr(w, texts[i], text);
    }
}

static gr_str write_client(gr_arena *a, const gr_json *request, bool is_native)
{
    const gr_json *redirects = gr_json_get(request, "redirect_uris"), *grants = gr_json_get(request, "grant_types");
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    write_links(&w, request);
    gr_jw_kc(&w, "application_type", is_native ? "native" : "web");
    gr_jw_kc(&w, "token_endpoint_auth_method", "none");
    gr_jw_kraw(&w, "response_types", GR_STR("[\"code\"]"));
    gr_jw_key(&w, "grant_types");
    gr_jw_array(&w);
    for (size_t i = 0; grant_types[i]; i++)
        if (grants ? list_has(grants, grant_types[i]) : i < 2) gr_jw_str(&w, gr_str_c(grant_types[i]));
    gr_jw_end_array(&w);
    if (redirects) gr_jw_kjson(&w, "redirect_uris", redirects);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

gr_oauth_refusal gr_oauth_client_read(gr_arena *a, const gr_json *request, gr_str *out)
{
    bool is_native = false;
    const gr_json *name = gr_json_get(request, "client_name");
    gr_str base = https_host(gr_json_text(request, "client_uri"));
    *out = (gr_str){0};
    if (base.size == 0) return BAD("'client_uri' must be an https URI without user and password");
    if (name && (!gr_json_is(name, GR_JSON_STRING) || name->string.size > GR_OAUTH_NAME_MAX))
        return BAD("'client_name' must be a text of at most 120 bytes");
    gr_oauth_refusal refusal = check_types(request, &is_native);
    if (!refusal.error) refusal = check_links(request, base);
    if (!refusal.error) refusal = check_redirects(request, base, is_native);
    if (!refusal.error) *out = write_client(a, request, is_native);
    return refusal;
}

/* --- proof keys -------------------------------------------------------------------------------------------- */
enum { CHALLENGE_SIZE = 43, VERIFIER_MIN = 43, VERIFIER_MAX = 128 };

static bool is_unreserved(gr_str text, size_t least, size_t most)
{
    return text.size >= least && text.size <= most && gr_ident_opaque(text);
}

bool gr_oauth_challenge(gr_str text) { return is_unreserved(text, CHALLENGE_SIZE, CHALLENGE_SIZE); }

bool gr_oauth_verifies(gr_arena *a, gr_str verifier, gr_str challenge)
{
    unsigned char hash[GR_SHA256_SIZE];
    if (!is_unreserved(verifier, VERIFIER_MIN, VERIFIER_MAX)) return false;
    gr_sha256(verifier.ptr, verifier.size, hash);
    return gr_str_eq(gr_base64_url(a, gr_str_of(hash, sizeof hash)), challenge);
}
