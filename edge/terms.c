/* terms.c - terms of service. See terms.h. */
#include "edge/terms.h"

#include "proto/ident.h"
#include "proto/json.h"

static gr_str word(gr_str *rest)
{
    while (rest->size && rest->ptr[0] == ' ') *rest = gr_str_from(*rest, 1);
    ptrdiff_t end = gr_str_find(*rest, ' ');
    gr_str word = end < 0 ? *rest : gr_str_head(*rest, (size_t)end);
    *rest = gr_str_from(*rest, word.size + (end >= 0));
    return word;
}

gr_err gr_term_parse(gr_arena *a, gr_str entry, gr_term *out)
{
    gr_str rest = entry;
    gr_str *const fields[] = {&out->name, &out->version, &out->language, &out->url};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) *fields[i] = word(&rest);
    out->title = rest;
    bool is_url = gr_str_starts(out->url, GR_STR("https://")) || gr_str_starts(out->url, GR_STR("http://"));
    if (gr_ident_opaque(out->name) && gr_ident_opaque(out->language) && !gr_str_is(out->language, "version") && is_url
        && out->title.size) return gr_ok();
    return gr_failf(a, GR_INVALID_PARAM, "'%" GR_FMT "' is not NAME VERSION LANGUAGE URL TITLE, like `privacy 1.2 en "
                    "https://example.org/privacy Privacy policy`", GR_ARG(entry));
}

static bool parse(const char *entry, gr_term *out)
{
    gr_arena *a = gr_arena_new(256);
    bool good = !gr_failed(gr_term_parse(a, gr_str_c(entry), out));
    gr_arena_free(&a);
    return good;
}

/* All entries of one policy; its version is that of the first. */
static void write_policy(gr_jw *w, const gr_term *first, const char *const *entries, size_t count)
{
    gr_jw_key_str(w, first->name);
    gr_jw_object(w);
    gr_jw_kstr(w, "version", first->version);
    for (size_t i = 0; i < count; i++) {
        gr_term term;
        if (!parse(entries[i], &term) || !gr_str_eq(term.name, first->name)) continue;
        gr_jw_key_str(w, term.language);
        gr_jw_object(w);
        gr_jw_kstr(w, "name", term.title);
        gr_jw_kstr(w, "url", term.url);
        gr_jw_end_object(w);
    }
    gr_jw_end_object(w);
}

static bool is_first(const gr_term *term, const char *const *entries, size_t before)
{
    gr_term other;
    for (size_t i = 0; i < before; i++)
        if (parse(entries[i], &other) && gr_str_eq(other.name, term->name)) return false;
    return true;
}

gr_str gr_term_params(gr_arena *a, const char *const *entries, size_t count)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    if (count == 0) return (gr_str){0};
    gr_jw_object(&w);
    gr_jw_key(&w, "policies");
    gr_jw_object(&w);
    for (size_t i = 0; i < count; i++) {
        gr_term term;
        if (parse(entries[i], &term) && is_first(&term, entries, i)) write_policy(&w, &term, entries, count);
    }
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_str params = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return params;
}
