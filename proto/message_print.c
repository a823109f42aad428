/* message_print.c - bodies as JSON for people, from JSON by hand, and as documentation. See message.h. */
#include "proto/json.h"
#include "proto/message.h"

#include <stdio.h>

static void print_body(gr_jw *w, const gr_type *t, const void *body, bool with_content);

static void print_hidden(gr_jw *w, gr_str s)
{
    gr_jw_object(w);
    gr_jw_kint(w, "size", (int64_t)s.size);
    char hash[20];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)gr_str_hash(s));
    gr_jw_kc(w, "hash", hash);
    gr_jw_end_object(w);
}

static void print_str(gr_jw *w, const gr_field *f, gr_str s, bool with_content)
{
    if (f->class == GR_CLASS_SECRET) gr_jw_str(w, GR_STR("***"));
    else if ((f->class == GR_CLASS_CONTENT && !with_content) || !gr_str_utf8(s)) print_hidden(w, s);
    else gr_jw_str(w, s);
}

static void print_u64(gr_jw *w, uint64_t value)
{
    char text[24];
    gr_jw_raw(w, gr_str_of(text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)value)));
}

static void print_field(gr_jw *w, const gr_field *f, const void *at, bool with_content)
{
    const gr_list *list = at;
    switch (f->kind) {
    case GR_FIELD_STR: print_str(w, f, *(const gr_str *)at, with_content); return;
    case GR_FIELD_U64: print_u64(w, *(const uint64_t *)at); return;
    case GR_FIELD_I64: gr_jw_int(w, *(const int64_t *)at); return;
    case GR_FIELD_BOOL: gr_jw_bool(w, *(const bool *)at); return;
    case GR_FIELD_STRS:
        gr_jw_array(w);
        for (size_t i = 0; i < list->count; i++) print_str(w, f, ((const gr_str *)list->at)[i], with_content);
        gr_jw_end_array(w);
        return;
    case GR_FIELD_U64S:
        gr_jw_array(w);
        for (size_t i = 0; i < list->count; i++) print_u64(w, ((const uint64_t *)list->at)[i]);
        gr_jw_end_array(w);
        return;
    case GR_FIELD_LIST:
        gr_jw_array(w);
        for (size_t i = 0; i < list->count; i++)
            print_body(w, f->record, (const char *)list->at + i * f->record->size, with_content);
        gr_jw_end_array(w);
        return;
    }
}

static void print_body(gr_jw *w, const gr_type *t, const void *body, bool with_content)
{
    const gr_field *fields = t->fields();
    gr_jw_object(w);
    for (size_t i = 0; i < t->field_count; i++) {
        gr_jw_key(w, fields[i].name);
        print_field(w, &fields[i], (const char *)body + fields[i].offset, with_content);
    }
    gr_jw_end_object(w);
}

void gr_body_print(gr_buf *out, const gr_type *t, const void *body, bool with_content)
{
    gr_jw w = gr_jw_begin(out);
    print_body(&w, t, body, with_content);
}

/* --- by hand ----------------------------------------------------------------------------------------------- */
static bool parse_body(gr_arena *a, const gr_type *t, const gr_json *from, void *body, gr_err *err);

static bool parse_str(gr_arena *a, const gr_json *from, gr_str *out)
{
    /* A field that holds JSON text (an event's content) may be given as JSON. */
    if (from->kind == GR_JSON_OBJECT || from->kind == GR_JSON_ARRAY) *out = gr_json_printed(a, from);
    else if (from->kind == GR_JSON_STRING) *out = from->string;
    else return false;
    return true;
}

static bool parse_items(gr_arena *a, const gr_field *f, const gr_json *from, gr_list *list, gr_err *err)
{
    size_t size = f->kind == GR_FIELD_STRS ? sizeof(gr_str) : f->kind == GR_FIELD_U64S ? sizeof(uint64_t) : f->record->size;
    if (from->kind != GR_JSON_ARRAY || from->count > GR_LIST_MAX) return false;
    *list = (gr_list){gr_arena_alloc(a, from->count * size), from->count};
    for (size_t i = 0; i < list->count; i++) {
        char *at = (char *)list->at + i * size;
        const gr_json *item = &from->items[i];
        if (f->kind == GR_FIELD_STRS) {
            if (!parse_str(a, item, (gr_str *)at)) return false;
        } else if (f->kind == GR_FIELD_U64S) {
            if (item->kind != GR_JSON_INT || item->integer < 0) return false;
            *(uint64_t *)at = (uint64_t)item->integer;
        } else if (!parse_body(a, f->record, item, at, err)) {
            return false;
        }
    }
    return true;
}

static bool parse_field(gr_arena *a, const gr_field *f, const gr_json *from, void *at, gr_err *err)
{
    switch (f->kind) {
    case GR_FIELD_STR: return parse_str(a, from, at);
    case GR_FIELD_U64:
        if (from->kind != GR_JSON_INT || from->integer < 0) return false;
        *(uint64_t *)at = (uint64_t)from->integer;
        return true;
    case GR_FIELD_I64:
        if (from->kind != GR_JSON_INT) return false;
        *(int64_t *)at = from->integer;
        return true;
    case GR_FIELD_BOOL:
        if (from->kind != GR_JSON_BOOL) return false;
        *(bool *)at = from->boolean;
        return true;
    case GR_FIELD_STRS:
    case GR_FIELD_U64S:
    case GR_FIELD_LIST: return parse_items(a, f, from, at, err);
    }
    return false;
}

static const gr_field *field_named(const gr_type *t, gr_str name)
{
    const gr_field *fields = t->fields();
    for (size_t i = 0; i < t->field_count; i++)
        if (gr_str_is(name, fields[i].name)) return &fields[i];
    return NULL;
}

static bool parse_body(gr_arena *a, const gr_type *t, const gr_json *from, void *body, gr_err *err)
{
    if (from->kind != GR_JSON_OBJECT) return false;
    for (size_t i = 0; i < from->count; i++) {
        gr_str key = from->members[i].key;
        const gr_field *f = field_named(t, key);
        if (!f) {
            *err = gr_failf(a, GR_INVALID_PARAM, "%s has no field '%" GR_FMT "'", t->name, GR_ARG(key));
            return false;
        }
        if (!parse_field(a, f, &from->members[i].value, (char *)body + f->offset, err)) {
            if (!gr_failed(*err))
                *err = gr_failf(a, GR_INVALID_PARAM, "%s.%s can't be made from that value", t->name, f->name);
            return false;
        }
    }
    return true;
}

gr_err gr_body_parse(gr_arena *a, const gr_type *t, gr_str json, void **body)
{
    const gr_json *tree = NULL;
    void *made = gr_arena_alloc(a, t->size);
    *body = NULL;
    gr_err err = gr_json_parse(a, json, GR_JSON_LAX, &tree);
    if (gr_failed(err)) return err;
    if (!parse_body(a, t, tree, made, &err))
        return gr_failed(err) ? err : gr_failf(a, GR_INVALID_PARAM, "%s is given as a JSON object", t->name);
    *body = made;
    return gr_ok();
}

/* --- documentation ----------------------------------------------------------------------------------------- */
static const char *kind_name(const gr_field *f)
{
    static const char *const names[] = {"bytes", "unsigned", "integer", "boolean", "list of bytes", "list of unsigned"};
    return f->kind == GR_FIELD_LIST ? f->record->name : names[f->kind];
}

void gr_catalogue_document(gr_buf *out)
{
    static const char *const classes[] = {"", " (content)", " (secret)"};
    size_t count = 0;
    const gr_type *const *types = gr_type_all(&count);
    gr_buf_c(out, "# Messages\n\nWritten by `greenroom catalogue` from `proto/catalogue*.h`.\n\n"
                  "| number | message | fields | what it is |\n|---|---|---|---|\n");
    for (size_t i = 0; i < count; i++) {
        const gr_type *t = types[i];
        const gr_field *fields = t->fields();
        gr_buf_printf(out, "| %u | `%s`%s | ", t->id, t->name, t->is_operator ? " (operator)" : "");
        for (size_t k = 0; k < t->field_count; k++)
            gr_buf_printf(out, "%s`%s` %s%s%s", k ? ", " : "", fields[k].name,
                          fields[k].kind == GR_FIELD_LIST ? "list of " : "", kind_name(&fields[k]), classes[fields[k].class]);
        gr_buf_printf(out, " | %s |\n", t->doc);
    }
}
