/* cookie.c - sealed texts and cookies. See cookie.h; RFC 6265 and its successor for the prefix and SameSite. */
#include "edge/cookie.h"
#include "edge/edge.h"

#include "proto/base64.h"

#include <sodium.h>

enum { PROOF = 32 };

/* --- sealed texts ------------------------------------------------------------------------------------------ */
/* The purpose ends with a NUL, so that no purpose and text run into those of another. */
static void prove(const gr_edge *e, const char *purpose, gr_str text, unsigned char proof[PROOF])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, e->openid_key, 32, PROOF);
    crypto_generichash_update(&state, (const unsigned char *)"sealed/", 7);
    crypto_generichash_update(&state, (const unsigned char *)purpose, strlen(purpose) + 1);
    crypto_generichash_update(&state, (const unsigned char *)text.ptr, text.size);
    crypto_generichash_final(&state, proof, PROOF);
}

gr_str gr_cookie_seal(gr_call *call, const char *purpose, gr_str content, uint64_t lifetime_ms)
{
    unsigned char proof[PROOF];
    gr_str text = gr_arena_printf(call->arena, "%llu.%" GR_FMT, (unsigned long long)(call->now_ms + lifetime_ms),
                                  GR_ARG(gr_base64_url(call->arena, content)));
    prove(call->edge, purpose, text, proof);
    return gr_arena_cat(call->arena, 3, (gr_str[]){text, GR_STR("."), gr_base64_url(call->arena, gr_str_of(proof, PROOF))});
}

bool gr_cookie_open(gr_call *call, const char *purpose, gr_str sealed, gr_str *content)
{
    unsigned char proof[PROOF];
    gr_str given;
    uint64_t until_ms = 0;
    size_t dot = sealed.size;
    *content = (gr_str){0};
    if (sealed.size > GR_COOKIE_SEALED_MAX) return false;
    while (dot && sealed.ptr[dot - 1] != '.') dot--;
    if (dot == 0 || !gr_base64_decode(call->arena, gr_str_from(sealed, dot), &given) || given.size != PROOF) return false;
    gr_str text = gr_str_head(sealed, dot - 1);
    prove(call->edge, purpose, text, proof);
    if (sodium_memcmp(given.ptr, proof, PROOF) != 0) return false;
    ptrdiff_t first = gr_str_find(text, '.');
    if (first < 0 || !gr_str_u64(gr_str_head(text, (size_t)first), &until_ms) || until_ms <= call->now_ms) return false;
    return gr_base64_decode(call->arena, gr_str_from(text, (size_t)first + 1), content);
}

/* --- cookies ----------------------------------------------------------------------------------------------- */
static bool is_secure(const gr_call *call)
{
    return gr_str_starts(gr_str_c(gr_call_config(call)->public_base_url), GR_STR("https://"));
}

static gr_str whole_name(gr_call *call, const char *name)
{
    return gr_arena_printf(call->arena, "%s%s", is_secure(call) ? "__Host-" : "", name);
}

static const char *purpose_of(gr_call *call, const char *name) { return gr_arena_printf(call->arena, "cookie/%s", name).ptr; }

static gr_str trimmed(gr_str s)
{
    while (s.size && s.ptr[0] == ' ') s = gr_str_from(s, 1);
    while (s.size && s.ptr[s.size - 1] == ' ') s.size--;
    return s;
}

/* Another site under the same domain may have set one of the same name: the first that is good counts. */
bool gr_cookie_get(gr_call *call, const char *name, gr_str *content)
{
    gr_str wanted = whole_name(call, name), rest = call->cookies;
    *content = (gr_str){0};
    while (rest.size) {
        ptrdiff_t end = gr_str_find(rest, ';');
        gr_str one = trimmed(end < 0 ? rest : gr_str_head(rest, (size_t)end));
        rest = end < 0 ? (gr_str){0} : gr_str_from(rest, (size_t)end + 1);
        if (one.size <= wanted.size || !gr_str_starts(one, wanted) || one.ptr[wanted.size] != '=') continue;
        if (gr_cookie_open(call, purpose_of(call, name), gr_str_from(one, wanted.size + 1), content)) return true;
    }
    return false;
}

static void put(gr_call *call, const char *name, gr_str value, uint64_t lifetime_s)
{
    if (!call->set_cookies) call->set_cookies = gr_arena_alloc(call->arena, GR_COOKIE_SET_MAX * sizeof *call->set_cookies);
    gr_assert(call->set_cookie_count < GR_COOKIE_SET_MAX);
    call->set_cookies[call->set_cookie_count++] = gr_arena_printf(
        call->arena, "%" GR_FMT "=%" GR_FMT "; Path=/; Max-Age=%llu; HttpOnly; SameSite=Lax%s", GR_ARG(whole_name(call, name)),
        GR_ARG(value), (unsigned long long)lifetime_s, is_secure(call) ? "; Secure" : "");
}

void gr_cookie_set(gr_call *call, const char *name, gr_str content, uint64_t lifetime_ms)
{
    put(call, name, gr_cookie_seal(call, purpose_of(call, name), content, lifetime_ms), lifetime_ms / 1000);
}

void gr_cookie_drop(gr_call *call, const char *name) { put(call, name, (gr_str){0}, 0); }
