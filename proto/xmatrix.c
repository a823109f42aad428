/* xmatrix.c - signed requests between servers. See xmatrix.h. */
#include "proto/xmatrix.h"

#include "proto/ident.h"

#include <strings.h>

#define SCHEME "X-Matrix"

/* --- what is signed ---------------------------------------------------------------------------------------- */
/* Members in the order of canonical JSON; the content prints itself canonically. */
static gr_str signed_text(gr_arena *arena, gr_str origin, gr_str destination, const gr_xmatrix_request *r)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    if (r->content) gr_jw_kjson(&w, "content", r->content);
    gr_jw_kstr(&w, "destination", destination);
    gr_jw_kstr(&w, "method", r->method);
    gr_jw_kstr(&w, "origin", origin);
    gr_jw_kstr(&w, "uri", r->uri);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

gr_str gr_xmatrix_header(gr_arena *arena, const gr_signer *signer, gr_str destination, const gr_xmatrix_request *r)
{
    gr_str sig = gr_sign_bytes(arena, signer, signed_text(arena, signer->server_name, destination, r));
    return gr_arena_printf(arena, SCHEME " origin=\"%" GR_FMT "\",destination=\"%" GR_FMT "\",key=\"%s\",sig=\"%" GR_FMT "\"",
                           GR_ARG(signer->server_name), GR_ARG(destination), signer->key_id, GR_ARG(sig));
}

/* --- the header -------------------------------------------------------------------------------------------- */
static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
        || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static void skip_blanks(gr_str *rest)
{
    while (rest->size && (rest->ptr[0] == ' ' || rest->ptr[0] == '\t')) *rest = gr_str_from(*rest, 1);
}

static gr_str take_token(gr_str *rest, bool with_colons)
{
    size_t size = 0;
    while (size < rest->size && (is_token_char(rest->ptr[size]) || (with_colons && rest->ptr[size] == ':'))) size++;
    gr_str token = gr_str_head(*rest, size);
    *rest = gr_str_from(*rest, size);
    return token;
}

/* After the opening quote; false when it is not closed or has a character that may not stand there. */
static bool take_quoted(gr_arena *arena, gr_str *rest, gr_str *out)
{
    char *text = gr_arena_alloc(arena, rest->size + 1);
    size_t size = 0, at = 0;
    for (; at < rest->size && rest->ptr[at] != '"'; at++) {
        if (rest->ptr[at] == '\\' && ++at == rest->size) return false;
        unsigned char c = (unsigned char)rest->ptr[at];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
        text[size++] = (char)c;
    }
    if (at == rest->size) return false;
    *rest = gr_str_from(*rest, at + 1);
    *out = gr_str_of(text, size);
    return true;
}

static bool is_named(gr_str name, const char *word)
{
    return name.size == strlen(word) && strncasecmp(name.ptr, word, name.size) == 0;
}

static bool take_param(gr_arena *arena, gr_str *rest, gr_xmatrix *out)
{
    gr_str name = take_token(rest, false), value = {0};
    if (name.size == 0 || rest->size == 0 || rest->ptr[0] != '=') return false;
    *rest = gr_str_from(*rest, 1);
    if (rest->size && rest->ptr[0] == '"') {
        *rest = gr_str_from(*rest, 1);
        if (!take_quoted(arena, rest, &value)) return false;
    } else {
        value = take_token(rest, true);
    }
    gr_str *slot = is_named(name, "origin") ? &out->origin : is_named(name, "destination") ? &out->destination
                 : is_named(name, "key") ? &out->key : is_named(name, "sig") ? &out->sig : NULL;
    if (!slot) return true;
    if (slot->size || value.size == 0) return false;
    *slot = value;
    return true;
}

static gr_err wrong(const char *why) { return gr_fail(GR_UNAUTHORIZED, why); }

gr_err gr_xmatrix_parse(gr_arena *arena, gr_str header, gr_xmatrix *out)
{
    gr_str rest = header;
    *out = (gr_xmatrix){0};
    if (header.size > GR_XMATRIX_HEADER_MAX) return wrong("The Authorization header is too long");
    if (!is_named(take_token(&rest, false), SCHEME) || rest.size == 0 || rest.ptr[0] != ' ')
        return wrong("The Authorization header must be X-Matrix");
    while (rest.size && rest.ptr[0] == ' ') rest = gr_str_from(rest, 1);
    for (size_t count = 0;; count++) {
        if (count == GR_XMATRIX_PARAMS_MAX || !take_param(arena, &rest, out))
            return wrong("The X-Matrix header is not name=value pairs separated by commas");
        skip_blanks(&rest);
        if (rest.size == 0) break;
        if (rest.ptr[0] != ',') return wrong("The X-Matrix header is not name=value pairs separated by commas");
        rest = gr_str_from(rest, 1);
        skip_blanks(&rest);
    }
    if (out->origin.size == 0 || out->key.size == 0 || out->sig.size == 0)
        return wrong("The X-Matrix header needs origin, key and sig");
    if (!gr_ident_server_name(out->origin)) return wrong("The origin in the X-Matrix header is not a server name");
    if (!gr_str_starts(out->key, GR_STR("ed25519:")) || !gr_ident_key(out->key))
        return wrong("The key in the X-Matrix header is not the id of an ed25519 key");
    return gr_ok();
}

gr_err gr_xmatrix_check(gr_arena *arena, const gr_xmatrix *x, const gr_xmatrix_request *r, gr_str own_name,
                        const unsigned char public_key[GR_SIGN_PUBLIC])
{
    gr_key_ring ring = {0};
    if (x->destination.size && !gr_str_eq(x->destination, own_name))
        return gr_failf(arena, GR_UNAUTHORIZED, "The request is for another server, not for %" GR_FMT, GR_ARG(own_name));
    gr_str text = signed_text(arena, x->origin, own_name, r);
    if (!gr_str_utf8(r->uri) || !gr_sign_verify(arena, &ring, public_key, text, x->sig))
        return gr_failf(arena, GR_UNAUTHORIZED, "The signature of %" GR_FMT " with key %" GR_FMT " is wrong", GR_ARG(x->origin),
                        GR_ARG(x->key));
    return gr_ok();
}
