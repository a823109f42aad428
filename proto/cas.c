/* cas.c - the XML of CAS. See cas.h. */
#include "proto/cas.h"

#include <expat.h>

/* Elements by local name with their namespace, as "uri name". */
#define CAS "http://www.yale.edu/tp/cas "
#define SAMLP "urn:oasis:names:tc:SAML:2.0:protocol "

typedef struct {
    XML_Parser parser;
    gr_arena *arena;
    char names[GR_CAS_DEPTH_MAX][128];         /* of the elements that are open */
    size_t depth;
    gr_buf text;                               /* of the innermost */
    bool bad;
    gr_str user, session;
    gr_strs keys, values;
} reader;

enum { ATTRIBUTES_MAX = 128 };

static bool open_is(const reader *r, size_t depth, const char *name)
{
    return r->depth > depth && strcmp(r->names[depth], name) == 0;
}

static void refuse(reader *r)
{
    r->bad = true;
    XML_StopParser(r->parser, XML_FALSE);
}

static void on_open(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    reader *r = arg;
    (void)attributes;
    if (r->depth == GR_CAS_DEPTH_MAX || strlen(name) >= sizeof r->names[0]) {
        refuse(r);
        return;
    }
    memcpy(r->names[r->depth++], name, strlen(name) + 1);
    gr_buf_clear(&r->text);
}

static gr_str trimmed(gr_str s)
{
    while (s.size && strchr(" \t\r\n", s.ptr[0])) s = gr_str_from(s, 1);
    while (s.size && strchr(" \t\r\n", s.ptr[s.size - 1])) s.size--;
    return s;
}

static void keep_attribute(reader *r, gr_str text)
{
    const char *name = r->names[3], *blank = strchr(name, ' ');
    if (r->keys.count == ATTRIBUTES_MAX) {
        refuse(r);
        return;
    }
    r->keys.at[r->keys.count++] = gr_arena_str(r->arena, gr_str_c(blank ? blank + 1 : name));
    r->values.at[r->values.count++] = gr_arena_str(r->arena, text);
}

static void on_close(void *arg, const XML_Char *name)
{
    reader *r = arg;
    gr_str text = trimmed(gr_buf_view(&r->text));
    bool success = open_is(r, 0, CAS "serviceResponse") && open_is(r, 1, CAS "authenticationSuccess");
    (void)name;
    if (success && r->depth == 3 && open_is(r, 2, CAS "user")) {
        if (r->user.size) refuse(r);
        r->user = gr_arena_str(r->arena, text);
    }
    if (success && r->depth == 4 && open_is(r, 2, CAS "attributes")) keep_attribute(r, text);
    if (r->depth == 2 && open_is(r, 0, SAMLP "LogoutRequest") && open_is(r, 1, SAMLP "SessionIndex"))
        r->session = gr_arena_str(r->arena, text);
    if (r->depth) r->depth--;
    gr_buf_clear(&r->text);
}

static void on_text(void *arg, const XML_Char *text, int size) { gr_buf_add(&((reader *)arg)->text, text, (size_t)size); }

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal)
{
    (void)name, (void)system, (void)public, (void)internal;
    refuse(arg);
}

static bool parse(reader *r, gr_arena *arena, gr_str xml)
{
    *r = (reader){.arena = arena, .parser = XML_ParserCreateNS(NULL, ' ')};
    gr_assert(r->parser);
    r->keys.at = gr_arena_alloc(arena, ATTRIBUTES_MAX * sizeof(gr_str));
    r->values.at = gr_arena_alloc(arena, ATTRIBUTES_MAX * sizeof(gr_str));
    XML_SetUserData(r->parser, r);
    XML_SetElementHandler(r->parser, on_open, on_close);
    XML_SetCharacterDataHandler(r->parser, on_text);
    XML_SetStartDoctypeDeclHandler(r->parser, on_doctype);
    bool good = xml.size <= GR_CAS_SIZE_MAX && XML_Parse(r->parser, xml.ptr, (int)xml.size, 1) == XML_STATUS_OK && !r->bad;
    XML_ParserFree(r->parser);
    gr_buf_free(&r->text);
    return good;
}

/* Each name once, with the list of its values; none may be called as what CAS itself says. */
static void write_person(gr_jw *w, const reader *r)
{
    gr_jw_object(w);
    gr_jw_kstr(w, "sub", r->user);
    gr_jw_kstr(w, "user", r->user);
    for (size_t i = 0; i < r->keys.count; i++) {
        gr_str key = r->keys.at[i];
        bool seen = gr_str_is(key, "user") || gr_str_is(key, "sub");
        for (size_t k = 0; k < i && !seen; k++) seen = gr_str_eq(r->keys.at[k], key);
        if (seen) continue;
        gr_jw_key_str(w, key);
        gr_jw_array(w);
        for (size_t k = i; k < r->keys.count; k++)
            if (gr_str_eq(r->keys.at[k], key)) gr_jw_str(w, r->values.at[k]);
        gr_jw_end_array(w);
    }
    gr_jw_end_object(w);
}

gr_err gr_cas_validated(gr_arena *arena, gr_str xml, const gr_json **person)
{
    reader r;
    gr_buf out = {0};
    *person = NULL;
    if (!parse(&r, arena, xml) || r.user.size == 0) return gr_fail(GR_FORBIDDEN, "CAS does not confirm this login");
    gr_jw w = gr_jw_begin(&out);
    write_person(&w, &r);
    gr_err err = gr_json_parse(arena, gr_buf_view(&out), GR_JSON_LAX, person);
    gr_buf_free(&out);
    return err;
}

gr_str gr_cas_logout_session(gr_arena *arena, gr_str xml)
{
    reader r;
    return parse(&r, arena, xml) ? r.session : (gr_str){0};
}
