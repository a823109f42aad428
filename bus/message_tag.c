/* message_tag.c - looking into encoded bodies for the message log. See message_tag.h. */
#include "bus/message_tag.h"

/* --- walking over msgpack --- */
typedef struct {
    const unsigned char *at, *end;
} walk;

static bool take(walk *w, size_t size, uint64_t *number)
{
    if ((size_t)(w->end - w->at) < size) return false;
    *number = 0;
    while (size--) *number = *number << 8 | *w->at++;
    return true;
}

/* Head of the value here: strings and bytes give their size, arrays how many items follow, all else the size
 * to skip. */
typedef enum { HEAD_BAD, HEAD_BYTES, HEAD_ARRAY, HEAD_OTHER } head_kind;

static head_kind take_head(walk *w, uint64_t *size)
{
    uint64_t byte;
    *size = 0;
    if (!take(w, 1, &byte)) return HEAD_BAD;
    if (byte < 0x80 || byte >= 0xe0 || byte == 0xc0 || byte == 0xc2 || byte == 0xc3) return HEAD_OTHER;
    if (byte >= 0xa0 && byte < 0xc0) return *size = byte & 31, HEAD_BYTES;
    if (byte >= 0x90 && byte < 0xa0) return *size = byte & 15, HEAD_ARRAY;
    if (byte >= 0xc4 && byte <= 0xc6)
        return take(w, (size_t)1 << (byte - 0xc4), size) ? HEAD_BYTES : HEAD_BAD;
    if (byte >= 0xd9 && byte <= 0xdb)
        return take(w, (size_t)1 << (byte - 0xd9), size) ? HEAD_BYTES : HEAD_BAD;
    if (byte == 0xdc || byte == 0xdd) return take(w, byte == 0xdc ? 2 : 4, size) ? HEAD_ARRAY : HEAD_BAD;
    if (byte >= 0xcc && byte <= 0xd3) return *size = (uint64_t)1 << ((byte - 0xcc) & 3), HEAD_OTHER;
    return HEAD_BAD;
}

static bool skip(walk *w, uint64_t count)
{
    while (count--) {
        uint64_t size;
        head_kind kind = take_head(w, &size);
        if (kind == HEAD_BAD) return false;
        if (kind == HEAD_ARRAY) count += size;
        else if ((uint64_t)(w->end - w->at) < size) return false;
        else w->at += size;
    }
    return true;
}

/* Looked at for every field of every message, so most must be told apart by their first letter. */
static bool is_tag(const gr_field *f)
{
    if (f->kind != GR_FIELD_STR || f->class != GR_CLASS_PLAIN) return false;
    switch (f->name[0]) {
    case 'e': return strcmp(f->name, "event_id") == 0;
    case 't': return strcmp(f->name, "txn") == 0;
    case 'k': return strcmp(f->name, "key") == 0;
    default: return false;
    }
}

gr_str gr_message_tag(unsigned type, gr_str body)
{
    const gr_type *t = gr_type_find(type);
    walk w = {(const unsigned char *)body.ptr, (const unsigned char *)body.ptr + body.size};
    uint64_t count = 0;
    if (!t || body.size == 0 || take_head(&w, &count) != HEAD_ARRAY) return (gr_str){0};
    const gr_field *fields = t->fields();
    for (size_t i = 0, skipped = 0; i < t->field_count && i < count; i++) {
        uint64_t size;
        if (!is_tag(&fields[i])) continue;
        if (!skip(&w, i - skipped) || take_head(&w, &size) != HEAD_BYTES || (uint64_t)(w.end - w.at) < size)
            break;
        gr_str tag = gr_str_of(w.at, size);
        if (tag.size) return tag;
        w.at += size;
        skipped = i + 1;
    }
    return (gr_str){0};
}

/* --- secrets --- */
static void blank(const gr_type *t, void *body)
{
    static const size_t sizes[] = {[GR_FIELD_STR] = sizeof(gr_str),
                                   [GR_FIELD_U64] = 8,
                                   [GR_FIELD_I64] = 8,
                                   [GR_FIELD_BOOL] = sizeof(bool),
                                   [GR_FIELD_STRS] = sizeof(gr_strs),
                                   [GR_FIELD_U64S] = sizeof(gr_u64s),
                                   [GR_FIELD_LIST] = sizeof(gr_list)};
    const gr_field *fields = t->fields();
    for (size_t i = 0; i < t->field_count; i++) {
        const gr_field *f = &fields[i];
        char *at = (char *)body + f->offset;
        if (f->class == GR_CLASS_SECRET) {
            memset(at, 0, sizes[f->kind]);
        } else if (f->kind == GR_FIELD_LIST) {
            const gr_list *list = (const gr_list *)(const void *)at;
            for (size_t k = 0; k < list->count; k++) blank(f->record, (char *)list->at + k * f->record->size);
        }
    }
}

bool gr_message_blank(gr_arena *a, unsigned type, gr_str body, gr_buf *out)
{
    const gr_type *t = gr_type_find(type);
    void *decoded = NULL;
    if (!t || gr_failed(gr_body_decode(a, t, body, &decoded))) return false;
    blank(t, decoded);
    gr_body_encode(out, t, decoded);
    return true;
}
