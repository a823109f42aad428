/* record.c - the bytes of stored events. See record.h. */
#include "actors/room/record.h"

enum { NUMBERS = 9, HEAD = 1 + 4 + NUMBERS * 8 + 1 };

static void write_short(gr_buf *out, gr_str s)
{
    gr_assert(s.size <= UINT16_MAX);
    gr_buf_char(out, (char)(s.size >> 8));
    gr_buf_char(out, (char)s.size);
    gr_buf_str(out, s);
}

void gr_room_record_write(gr_buf *out, const gr_room_record *r)
{
    const uint64_t numbers[NUMBERS] = {r->number,    r->depth,        r->pos,         r->ts,
                                       r->key,       r->state_before, r->state_after, r->powers,
                                       r->redacted_by};
    gr_buf_char(out, GR_ROOM_RECORD_FORMAT);
    gr_buf_u32be(out, r->flags);
    for (int i = 0; i < NUMBERS; i++) gr_buf_u64be(out, numbers[i]);
    gr_buf_char(out, r->is_state);
    write_short(out, r->event_id);
    write_short(out, r->type);
    write_short(out, r->sender);
    write_short(out, r->state_key);
    gr_buf_str(out, r->json);
}

static bool read_short(gr_str *rest, gr_str *out)
{
    if (rest->size < 2) return false;
    size_t size = (size_t)(unsigned char)rest->ptr[0] << 8 | (unsigned char)rest->ptr[1];
    if (rest->size - 2 < size) return false;
    *out = (gr_str){rest->ptr + 2, size};
    *rest = (gr_str){rest->ptr + 2 + size, rest->size - 2 - size};
    return true;
}

bool gr_room_record_read(gr_str bytes, gr_room_record *r)
{
    *r = (gr_room_record){0};
    if (bytes.size < HEAD || bytes.ptr[0] != GR_ROOM_RECORD_FORMAT) return false;
    uint64_t *const numbers[NUMBERS] = {&r->number,    &r->depth,        &r->pos,         &r->ts,
                                        &r->key,       &r->state_before, &r->state_after, &r->powers,
                                        &r->redacted_by};
    r->flags = gr_u32be(bytes.ptr + 1);
    for (int i = 0; i < NUMBERS; i++) *numbers[i] = gr_u64be(bytes.ptr + 5 + 8 * i);
    r->is_state = bytes.ptr[HEAD - 1] != 0;
    gr_str rest = gr_str_from(bytes, HEAD);
    bool good = read_short(&rest, &r->event_id) && read_short(&rest, &r->type)
                && read_short(&rest, &r->sender) && read_short(&rest, &r->state_key);
    if (!good) {
        *r = (gr_room_record){0};
        return false;
    }
    r->json = rest;
    return true;
}

gr_str gr_room_record_marked(gr_arena *a, gr_str bytes, uint32_t flags, uint64_t redacted_by, gr_str json)
{
    gr_room_record r;
    bool good = gr_room_record_read(bytes, &r);
    gr_assert(good);
    r.flags = flags;
    r.redacted_by = redacted_by;
    if (json.size) r.json = json;
    gr_buf out = {0};
    gr_room_record_write(&out, &r);
    gr_str made = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return made;
}
