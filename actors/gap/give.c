/* give.c - events that the gap flow has got are given to the room. See gap_private.h. */
#include "actors/gap/gap_private.h"
#include "actors/keys/wants.h"

enum { GIVE_BYTES = 256 * 1024, GIVE_EVENTS = 50, KEY_ID_RANDOM = 16, KEYS_MS = 30 * 1000 };

void gap_begin_giving(gap_flow *f, gr_incoming_mode mode, gr_str base, void (*then)(gap_flow *, gr_ctx *))
{
    f->given = (gr_strs){0};
    f->given_next = 0;
    f->mode = mode;
    f->base = base;
    f->then = then;
}

void gap_take_pdus(gap_flow *f, gr_ctx *ctx, const gr_json *pdus, size_t most)
{
    for (uint32_t i = 0; gr_json_is(pdus, GR_JSON_ARRAY) && i < pdus->count && i < most; i++)
        gap_keep_more(f, &f->given, gap_keep(f, gr_json_printed(gr_ctx_arena(ctx), &pdus->items[i])));
}

void gap_give_more(gap_flow *f, gr_ctx *ctx)
{
    size_t bytes = 0, count = 0, left = f->given.count - f->given_next;
    gap_begin_step(f, GIVE);
    if (left == 0) {
        f->then(f, ctx);
        return;
    }
    for (; count < left && count < GIVE_EVENTS && (count == 0 || bytes < GIVE_BYTES); count++)
        bytes += f->given.at[f->given_next + count].size;
    gr_room_incoming m = {.origin = f->row->origin, .pdus = {f->given.at + f->given_next, count}, .mode = (uint64_t)f->mode,
                          .until_taken = true, .base = f->base};
    if (f->base.size) m.base_of = f->event_id;
    m.keys.at = f->keys.servers.at;
    m.keys.count = f->keys.servers.count;
    f->given_next += count;
    gap_ask_room(f, ctx, &gr_type_room_incoming, &m);
}

void gap_give(gap_flow *f, gr_ctx *ctx)
{
    unsigned char random[KEY_ID_RANDOM];
    gr_arena *a = gr_ctx_arena(ctx);
    gr_wants wants = gr_wants_begin(a, gr_env_of(ctx)->server_name, gr_ctx_now_ms(ctx));
    gr_buf id = {0};
    gap_begin_step(f, KEYS);
    gr_ctx_tally(ctx, GR_TALLY_GAP_FETCHED, f->given.count);
    for (size_t i = 0; i < f->given.count; i++) {
        const gr_json *pdu;
        if (!gr_failed(gr_json_parse(a, f->given.at[i], GR_JSON_LAX, &pdu))) gr_wants_add_pdu(&wants, pdu);
    }
    f->keys = (gr_keys_found){0};
    if (wants.count == 0) {
        gap_give_more(f, ctx);
        return;
    }
    gr_ctx_random(ctx, random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++) gr_buf_printf(&id, "%02x", random[i]);
    gr_keys_find find = {.servers = {wants.at, wants.count}};
    gr_resume resume = {.step = (uint32_t)f->now, .number = f->turn << 32};
    gr_ctx_ask(ctx, gr_address(a, GR_KIND_KEYS, gr_buf_view(&id)), &gr_type_keys_find, &find, KEYS_MS, &resume);
    f->open++;
    gr_buf_free(&id);
}

void gap_on_keys(gap_flow *f, gr_ctx *ctx, const gr_msg *m)
{
    gr_buf bytes = {0};
    void *body;
    if (!gr_failed(m->err) && m->type == &gr_type_keys_found) {
        gr_body_encode(&bytes, &gr_type_keys_found, m->body);
        if (!gr_failed(gr_body_decode(f->arena, &gr_type_keys_found, gap_keep(f, gr_buf_view(&bytes)), &body)))
            f->keys = *(gr_keys_found *)body;
        gr_buf_free(&bytes);
    }
    gap_give_more(f, ctx);
}
