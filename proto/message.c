/* message.c - the loops over fields: encode, decode, compare. See message.h; printing is in message_print.c. */
#include "proto/message.h"

#include <msgpack.h>
#include <pthread.h>

static int write_to_buf(void *data, const char *bytes, size_t size)
{
    gr_buf_add(data, bytes, size);
    return 0;
}

static void pack_str(msgpack_packer *pk, gr_str s)
{
    msgpack_pack_bin(pk, s.size);
    if (s.size) msgpack_pack_bin_body(pk, s.ptr, s.size);
}

static void pack_body(msgpack_packer *pk, const gr_type *t, const void *body, unsigned level);

static void pack_field(msgpack_packer *pk, const gr_field *f, const void *at, unsigned level)
{
    switch (f->kind) {
    case GR_FIELD_STR: pack_str(pk, *(const gr_str *)at); return;
    case GR_FIELD_U64: msgpack_pack_uint64(pk, *(const uint64_t *)at); return;
    case GR_FIELD_I64: msgpack_pack_int64(pk, *(const int64_t *)at); return;
    case GR_FIELD_BOOL: *(const bool *)at ? msgpack_pack_true(pk) : msgpack_pack_false(pk); return;
    case GR_FIELD_STRS: {
        const gr_strs *list = at;
        msgpack_pack_array(pk, list->count);
        for (size_t i = 0; i < list->count; i++) pack_str(pk, list->at[i]);
        return;
    }
    case GR_FIELD_U64S: {
        const gr_u64s *list = at;
        msgpack_pack_array(pk, list->count);
        for (size_t i = 0; i < list->count; i++) msgpack_pack_uint64(pk, list->at[i]);
        return;
    }
    case GR_FIELD_LIST: {
        const gr_list *list = at;
        msgpack_pack_array(pk, list->count);
        for (size_t i = 0; i < list->count; i++)
            pack_body(pk, f->record, (const char *)list->at + i * f->record->size, level);
        return;
    }
    }
}

/* Fields lie in the order of their levels. */
static void pack_body(msgpack_packer *pk, const gr_type *t, const void *body, unsigned level)
{
    const gr_field *fields = t->fields();
    size_t count = t->field_count;
    while (count > 0 && fields[count - 1].since > level) count--;
    msgpack_pack_array(pk, count);
    for (size_t i = 0; i < count; i++) pack_field(pk, &fields[i], (const char *)body + fields[i].offset, level);
}

unsigned gr_type_since(const gr_type *t) { return t->field_count > 0 ? t->fields()[0].since : 1; }

void gr_body_encode_at(gr_buf *out, const gr_type *t, const void *body, unsigned level)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, write_to_buf);
    pack_body(&pk, t, body, level);
}

void gr_body_encode(gr_buf *out, const gr_type *t, const void *body) { gr_body_encode_at(out, t, body, GR_LEVEL_ALL); }

uint64_t gr_body_hash(const gr_type *t, const void *body)
{
    gr_buf out = {0};
    gr_body_encode(&out, t, body);
    uint64_t hash = gr_str_hash(gr_buf_view(&out));
    gr_buf_free(&out);
    return hash;
}

/* --- decoding ---------------------------------------------------------------------------------------------- */
static bool take_str(const msgpack_object *o, gr_str *out)
{
    if (o->type == MSGPACK_OBJECT_BIN) *out = gr_str_of(o->via.bin.ptr, o->via.bin.size);
    else if (o->type == MSGPACK_OBJECT_STR) *out = gr_str_of(o->via.str.ptr, o->via.str.size);
    else return false;
    return true;
}

static bool take_u64(const msgpack_object *o, uint64_t *out)
{
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER) return false;
    *out = o->via.u64;
    return true;
}

static bool take_i64(const msgpack_object *o, int64_t *out)
{
    if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER) *out = o->via.i64;
    else if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 <= INT64_MAX) *out = (int64_t)o->via.u64;
    else return false;
    return true;
}

static bool take_body(gr_arena *a, const gr_type *t, const msgpack_object *o, void *body);

static bool take_array(const msgpack_object *o, const msgpack_object **items, size_t *count)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > GR_LIST_MAX) return false;
    *items = o->via.array.ptr;
    *count = o->via.array.size;
    return true;
}

static bool take_field(gr_arena *a, const gr_field *f, const msgpack_object *o, void *at)
{
    const msgpack_object *items = NULL;
    size_t count = 0;
    switch (f->kind) {
    case GR_FIELD_STR: return take_str(o, at);
    case GR_FIELD_U64: return take_u64(o, at);
    case GR_FIELD_I64: return take_i64(o, at);
    case GR_FIELD_BOOL:
        *(bool *)at = o->type == MSGPACK_OBJECT_BOOLEAN && o->via.boolean;
        return o->type == MSGPACK_OBJECT_BOOLEAN;
    case GR_FIELD_STRS: {
        gr_strs *list = at;
        if (!take_array(o, &items, &count)) return false;
        *list = (gr_strs){gr_arena_alloc(a, count * sizeof(gr_str)), count};
        for (size_t i = 0; i < count; i++)
            if (!take_str(&items[i], &list->at[i])) return false;
        return true;
    }
    case GR_FIELD_U64S: {
        gr_u64s *list = at;
        if (!take_array(o, &items, &count)) return false;
        *list = (gr_u64s){gr_arena_alloc(a, count * sizeof(uint64_t)), count};
        for (size_t i = 0; i < count; i++)
            if (!take_u64(&items[i], &list->at[i])) return false;
        return true;
    }
    case GR_FIELD_LIST: {
        gr_list *list = at;
        if (!take_array(o, &items, &count)) return false;
        *list = (gr_list){gr_arena_alloc(a, count * f->record->size), count};
        for (size_t i = 0; i < count; i++)
            if (!take_body(a, f->record, &items[i], (char *)list->at + i * f->record->size)) return false;
        return true;
    }
    }
    return false;
}

static bool take_body(gr_arena *a, const gr_type *t, const msgpack_object *o, void *body)
{
    const msgpack_object *items = NULL;
    size_t count = 0;
    const gr_field *fields = t->fields();
    if (!take_array(o, &items, &count)) return false;
    for (size_t i = 0; i < count && i < t->field_count; i++)
        if (!take_field(a, &fields[i], &items[i], (char *)body + fields[i].offset)) return false;
    return true;
}

/* The zone holds msgpack's own nodes while one message is taken apart; strings stay in the bytes.  The key frees it when its
 * thread ends. */
static _Thread_local msgpack_zone *zone;
static pthread_key_t zone_key;
static pthread_once_t zone_once = PTHREAD_ONCE_INIT;

static void zone_free(void *ended) { msgpack_zone_free(ended); }
static void zone_key_make(void) { gr_assert(pthread_key_create(&zone_key, zone_free) == 0); }

static void zone_make(void)
{
    pthread_once(&zone_once, zone_key_make);
    zone = msgpack_zone_new(8192);
    gr_assert(zone);
    pthread_setspecific(zone_key, zone);
}

static size_t big_endian(const unsigned char *p, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++) n = n << 8 | p[i];
    return n;
}

/* How many bytes an item takes (of an array: its head), and how many items it says follow in it; 0 for what no body holds. */
static size_t item_size(const unsigned char *p, size_t left, size_t *items)
{
    static const unsigned char fixed[32] = {
        [0x00] = 1, [0x02] = 1, [0x03] = 1, [0x0a] = 5, [0x0b] = 9, [0x0c] = 2, [0x0d] = 3, [0x0e] = 5, [0x0f] = 9,
        [0x10] = 2, [0x11] = 3, [0x12] = 5, [0x13] = 9};                   /* nil, booleans, reals, numbers: 0xc0 and up */
    *items = 0;
    if (p[0] < 0x80 || p[0] >= 0xe0) return 1;                             /* small integers */
    if (p[0] < 0x90) return 0;
    if (p[0] < 0xa0) *items = p[0] & 0x0f;
    if (p[0] < 0xc0) return p[0] < 0xa0 ? 1 : 1 + (size_t)(p[0] & 0x1f);   /* short arrays and strings */
    unsigned tag = p[0] & 0x1f;
    if (fixed[tag]) return fixed[tag];
    bool bin = tag >= 0x04 && tag <= 0x06, str = tag >= 0x19 && tag <= 0x1b, array = tag == 0x1c || tag == 0x1d;
    if (!bin && !str && !array) return 0;
    size_t width = array ? (size_t)2 << (tag - 0x1c) : (size_t)1 << (tag - (bin ? 0x04 : 0x19));
    if (left < 1 + width) return 0;
    size_t size = big_endian(p + 1, width);
    if (array) *items = size;
    return 1 + width + (array ? 0 : size);
}

/* msgpack reserves what a head promises before it has seen it: an array must not promise more items than there are bytes. */
static bool promises_fit(gr_str bytes)
{
    for (size_t at = 0, promised = 0, items = 0; at < bytes.size;) {
        size_t size = item_size((const unsigned char *)bytes.ptr + at, bytes.size - at, &items);
        if (size == 0 || size > bytes.size - at || items > bytes.size - promised) return false;
        promised += items;
        at += size;
    }
    return true;
}

static bool unpack(gr_str bytes, msgpack_object *o)
{
    if (!promises_fit(bytes)) return false;
    if (!zone) zone_make();
    msgpack_zone_clear(zone);
    size_t at = 0;
    msgpack_unpack_return got = msgpack_unpack(bytes.ptr, bytes.size, &at, zone, o);
    return got == MSGPACK_UNPACK_SUCCESS && at == bytes.size;
}

gr_err gr_body_decode(gr_arena *a, const gr_type *t, gr_str bytes, void **body)
{
    msgpack_object o;
    *body = NULL;
    void *made = gr_arena_alloc(a, t->size);
    if (!unpack(bytes, &o) || !take_body(a, t, &o, made))
        return gr_failf(a, GR_BAD_JSON, "not a message of type %s", t->name);
    *body = made;
    return gr_ok();
}

/* --- comparing --------------------------------------------------------------------------------------------- */
static bool field_equal(const gr_field *f, const void *x, const void *y)
{
    const gr_list *a = x, *b = y;
    switch (f->kind) {
    case GR_FIELD_STR: return gr_str_eq(*(const gr_str *)x, *(const gr_str *)y);
    case GR_FIELD_U64:
    case GR_FIELD_I64: return memcmp(x, y, sizeof(uint64_t)) == 0;
    case GR_FIELD_BOOL: return *(const bool *)x == *(const bool *)y;
    case GR_FIELD_STRS:
        if (a->count != b->count) return false;
        for (size_t i = 0; i < a->count; i++)
            if (!gr_str_eq(((const gr_str *)a->at)[i], ((const gr_str *)b->at)[i])) return false;
        return true;
    case GR_FIELD_U64S:
        return a->count == b->count && (a->count == 0 || memcmp(a->at, b->at, a->count * sizeof(uint64_t)) == 0);
    case GR_FIELD_LIST:
        if (a->count != b->count) return false;
        for (size_t i = 0, n = f->record->size; i < a->count; i++)
            if (!gr_body_equal(f->record, (const char *)a->at + i * n, (const char *)b->at + i * n)) return false;
        return true;
    }
    return false;
}

bool gr_body_equal(const gr_type *t, const void *x, const void *y)
{
    const gr_field *fields = t->fields();
    for (size_t i = 0; i < t->field_count; i++)
        if (!field_equal(&fields[i], (const char *)x + fields[i].offset, (const char *)y + fields[i].offset)) return false;
    return true;
}

/* --- the envelope ------------------------------------------------------------------------------------------ */
enum { ENVELOPE_FIELDS = 15 };

void gr_envelope_encode(gr_buf *out, const gr_envelope *e)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, write_to_buf);
    /* What is newest is left out when it says nothing, so that rows in stores stay as they were. */
    bool has_sent = e->sent_us != 0, has_level = has_sent || e->level > 1;
    msgpack_pack_array(&pk, ENVELOPE_FIELDS + (size_t)has_level + (size_t)has_sent);
    msgpack_pack_unsigned_int(&pk, GR_WIRE_VERSION);
    msgpack_pack_uint64(&pk, e->trace);
    msgpack_pack_uint64(&pk, e->span);
    msgpack_pack_uint64(&pk, e->parent);
    pack_str(&pk, e->from);
    pack_str(&pk, e->to);
    msgpack_pack_unsigned_int(&pk, e->verb);
    msgpack_pack_uint64(&pk, e->seq);
    msgpack_pack_uint64(&pk, e->incarnation);
    msgpack_pack_uint64(&pk, e->wait_ms);
    msgpack_pack_unsigned_int(&pk, e->type);
    pack_str(&pk, e->body);
    pack_str(&pk, e->attachment);
    pack_str(&pk, e->reply_to);
    msgpack_pack_uint64(&pk, e->reply_seq);
    if (has_level) msgpack_pack_unsigned_int(&pk, e->level > 1 ? e->level : 1);
    if (has_sent) msgpack_pack_uint64(&pk, e->sent_us);
}

gr_err gr_envelope_decode(gr_str bytes, gr_envelope *e)
{
    msgpack_object o;
    const msgpack_object *at = NULL;
    size_t count = 0;
    uint64_t version = 0, verb = 0, type = 0, level = 1;
    *e = (gr_envelope){0};
    bool good = unpack(bytes, &o) && take_array(&o, &at, &count) && count >= ENVELOPE_FIELDS
        && take_u64(&at[0], &version) && take_u64(&at[1], &e->trace) && take_u64(&at[2], &e->span)
        && take_u64(&at[3], &e->parent) && take_str(&at[4], &e->from) && take_str(&at[5], &e->to)
        && take_u64(&at[6], &verb) && take_u64(&at[7], &e->seq) && take_u64(&at[8], &e->incarnation)
        && take_u64(&at[9], &e->wait_ms) && take_u64(&at[10], &type) && take_str(&at[11], &e->body)
        && take_str(&at[12], &e->attachment) && take_str(&at[13], &e->reply_to) && take_u64(&at[14], &e->reply_seq)
        && (count <= ENVELOPE_FIELDS || take_u64(&at[ENVELOPE_FIELDS], &level))
        && (count <= ENVELOPE_FIELDS + 1 || take_u64(&at[ENVELOPE_FIELDS + 1], &e->sent_us));
    if (!good || verb < GR_TELL || verb > GR_CONTROL || type > UINT32_MAX || level > UINT32_MAX) {
        *e = (gr_envelope){0};
        return gr_fail(GR_BAD_JSON, "not an envelope");
    }
    e->verb = (gr_verb)verb;
    e->type = (unsigned)type;
    e->level = (unsigned)level;
    return gr_ok();
}
