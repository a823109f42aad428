/* steps.c - how a gap is closed: the events between, then the state before what is still missing. See gap.h.  The steps are
 * in the order of this file. */
#include "actors/gap/gap_private.h"

enum { IDS_PAGE = GR_GIVEN_PAGE };

/* --- 1: events between -------------------------------------------------------------------------------------- */
static void write_ids(gr_jw *w, const char *key, gr_strs ids)
{
    gr_jw_key(w, key);
    gr_jw_array(w);
    for (size_t i = 0; i < ids.count; i++) gr_jw_str(w, ids.at[i]);
    gr_jw_end_array(w);
}

void gap_ask_missing(gap_flow *f, gr_ctx *ctx)
{
    gr_buf body = {0};
    gr_jw w = gr_jw_begin(&body);
    gap_begin_step(f, MISSING);
    gr_jw_object(&w);
    write_ids(&w, "earliest_events", f->row->known);
    write_ids(&w, "latest_events", (gr_strs){&f->row->event_id, 1});
    gr_jw_kint(&w, "limit", GR_GAP_LIMIT);
    gr_jw_kint(&w, "min_depth", (int64_t)f->row->depth);
    gr_jw_end_object(&w);
    gap_ask_server(f, ctx, "POST", gap_uri(f, ctx, "get_missing_events", (gr_str){0}), gr_buf_view(&body), 0);
    gr_buf_free(&body);
}

/* Who knows none of them may not have got them himself. */
void gap_on_missing(gap_flow *f, gr_ctx *ctx, const gr_msg *m)
{
    const gr_json *body = gap_answered(ctx, m);
    gap_begin_giving(f, GR_INCOMING_LIVE, (gr_str){0}, gap_look);
    gap_take_pdus(f, ctx, body ? gr_json_get(body, "events") : NULL, 2 * GR_GAP_LIMIT);
    if (f->given.count == 0 && gap_next_server(f)) {
        gap_ask_missing(f, ctx);
        return;
    }
    gap_helped(f);
    gap_give(f, ctx);
}

/* --- 2: what is still missing -------------------------------------------------------------------------------- */
static void fetch_lacking(gap_flow *f, gr_ctx *ctx);

void gap_look(gap_flow *f, gr_ctx *ctx)
{
    gap_begin_step(f, LOOK);
    gap_ask_room(f, ctx, &gr_type_room_gap_look, &(gr_room_gap_look){.origin = f->row->origin});
}

static void ask_event(gap_flow *f, gr_ctx *ctx)
{
    gap_begin_step(f, EVENT);
    gap_ask_server(f, ctx, "GET", gap_uri(f, ctx, "event", f->event_id), (gr_str){0}, 0);
}

void gap_on_look(gap_flow *f, gr_ctx *ctx, const gr_room_gap_is *m)
{
    if (m->prevs.count == 0 && m->auth.count == 0) {
        gap_end(f, ctx);
        return;
    }
    if (f->rounds++ == (gap_is_left_out(f) ? GR_GAP_LEFT_OUT_ROUNDS : GR_GAP_ROUNDS)) {
        if (gap_is_left_out(f)) gap_end(f, ctx);
        else gap_give_up(f, ctx);
        return;
    }
    if (m->auth.count) {
        gap_begin_giving(f, GR_INCOMING_HELD, (gr_str){0}, gap_look);
        f->lacking = (gr_strs){0};
        for (size_t i = 0; i < m->auth.count; i++) gap_keep_more(f, &f->lacking, gap_keep(f, m->auth.at[i]));
        f->ids = f->lacking;
        fetch_lacking(f, ctx);
        return;
    }
    f->event_id = gap_keep(f, m->prevs.at[0]);
    ask_event(f, ctx);
}

/* --- 3: the state before the first of it ---------------------------------------------------------------------- */
static gr_str one_pdu(gr_ctx *ctx, const gr_msg *m)
{
    const gr_json *body = gap_answered(ctx, m), *pdus = body ? gr_json_get(body, "pdus") : NULL;
    return gr_json_is(pdus, GR_JSON_ARRAY) && pdus->count ? gr_json_printed(gr_ctx_arena(ctx), &pdus->items[0]) : (gr_str){0};
}

static void ask_state_ids(gap_flow *f, gr_ctx *ctx)
{
    gap_begin_step(f, STATE_IDS);
    gap_fetch(f, ctx, gap_uri(f, ctx, "state_ids", f->event_id), GR_GAP_IDS_BYTES);
}

static bool begins_the_room(gr_ctx *ctx, gr_str pdu)
{
    const gr_json *event;
    if (gr_failed(gr_json_parse(gr_ctx_arena(ctx), pdu, GR_JSON_LAX, &event))) return false;
    const gr_json *prevs = gr_json_get(event, "prev_events");
    return gr_json_is(prevs, GR_JSON_ARRAY) && prevs->count == 0;
}

static void give_event(gap_flow *f, gr_ctx *ctx, gr_str base)
{
    gap_begin_giving(f, gap_is_history(f) ? GR_INCOMING_HISTORY : GR_INCOMING_LIVE, base, gap_look);
    gap_keep_more(f, &f->given, f->event);
    gap_give(f, ctx);
}

void gap_on_event(gap_flow *f, gr_ctx *ctx, const gr_msg *m)
{
    f->event = gap_keep(f, one_pdu(ctx, m));
    if (f->event.size && begins_the_room(ctx, f->event)) {
        gap_helped(f);
        give_event(f, ctx, (gr_str){0});
    } else if (f->event.size) {
        gap_helped(f);
        ask_state_ids(f, ctx);
    } else if (gap_next_server(f)) {
        ask_event(f, ctx);
    } else {
        gap_give_up(f, ctx);
    }
}

static void add_ids(gap_flow *f, gr_strs *list, const gr_json *ids)
{
    for (uint32_t i = 0; gr_json_is(ids, GR_JSON_ARRAY) && i < ids->count && list->count < GR_GAP_IDS_MAX; i++)
        if (gr_ident_event(gr_json_string(&ids->items[i]))) gap_keep_more(f, list, gap_keep(f, gr_json_string(&ids->items[i])));
}

static void ask_have(gap_flow *f, gr_ctx *ctx)
{
    size_t left = f->ids.count - f->next;
    gap_begin_step(f, HAVE);
    if (left == 0) {
        gap_begin_giving(f, GR_INCOMING_HELD, (gr_str){0}, gap_put_ids);
        fetch_lacking(f, ctx);
        return;
    }
    size_t count = left < IDS_PAGE ? left : IDS_PAGE;
    gap_ask_room(f, ctx, &gr_type_room_have, &(gr_room_have){.ids = {f->ids.at + f->next, count}});
    f->next += count;
}

void gap_on_state_ids(gap_flow *f, gr_ctx *ctx, const gr_msg *m)
{
    const gr_json *body = gap_fetched(ctx, m);
    if (!body || !gr_json_get(body, "pdu_ids")) {
        if (gap_next_server(f)) ask_state_ids(f, ctx);
        else gap_give_up(f, ctx);
        return;
    }
    gap_helped(f);
    f->state = f->ids = f->lacking = (gr_strs){0};
    f->next = 0;
    add_ids(f, &f->state, gr_json_get(body, "pdu_ids"));
    add_ids(f, &f->ids, gr_json_get(body, "auth_chain_ids"));      /* these first: what cites them comes after them */
    add_ids(f, &f->ids, gr_json_get(body, "pdu_ids"));
    ask_have(f, ctx);
}

void gap_on_have(gap_flow *f, gr_ctx *ctx, const gr_room_have_not *m)
{
    for (size_t i = 0; i < m->ids.count; i++) gap_keep_more(f, &f->lacking, gap_keep(f, m->ids.at[i]));
    ask_have(f, ctx);
}

/* --- 4: what the room lacks of it ----------------------------------------------------------------------------- */
static void ask_more(gap_flow *f, gr_ctx *ctx)
{
    for (; f->open < GR_GAP_WIDTH && f->next < f->lacking.count; f->next++)
        if (!f->got[f->next])
            gap_ask_server(f, ctx, "GET", gap_uri(f, ctx, "event", f->lacking.at[f->next]), (gr_str){0}, f->next);
}

static bool all_came(const gap_flow *f)
{
    for (size_t i = 0; i < f->lacking.count; i++)
        if (!f->got[i]) return false;
    return true;
}

/* Those that one server does not give are asked of the next.  What can't be had is left out: the room says what it needs
 * of it. */
static void fetch_on(gap_flow *f, gr_ctx *ctx)
{
    ask_more(f, ctx);
    if (f->open) return;
    if (!all_came(f) && gap_next_server(f)) {
        gap_begin_step(f, FETCH);
        f->next = 0;
        ask_more(f, ctx);
        return;
    }
    gap_helped(f);
    gap_give(f, ctx);
}

static void fetch_one_by_one(gap_flow *f, gr_ctx *ctx)
{
    f->next = 0;
    f->got = gr_arena_alloc(f->arena, (f->lacking.count + 1) * sizeof *f->got);
    gap_begin_step(f, FETCH);
    fetch_on(f, ctx);
}

static void fetch_lacking(gap_flow *f, gr_ctx *ctx)
{
    f->is_lossy = false;
    if (f->lacking.count <= GR_GAP_MANY || f->lacking.count <= f->ids.count / 2) {
        fetch_one_by_one(f, ctx);
        return;
    }
    gap_begin_step(f, FETCH_STATE);
    gap_fetch(f, ctx, gap_uri(f, ctx, "state", f->event_id), GR_GAP_STATE_BYTES);
}

void gap_on_fetched_event(gap_flow *f, gr_ctx *ctx, const gr_msg *m)
{
    gr_str pdu = one_pdu(ctx, m);
    size_t number = gap_number_of(m->resume);
    if (pdu.size && number < f->lacking.count) {
        f->got[number] = true;
        gap_keep_more(f, &f->given, gap_keep(f, pdu));
    } else if (m->err.code != GR_NOT_FOUND && m->err.code != GR_FORBIDDEN) {
        f->is_lossy = true;
    }
    fetch_on(f, ctx);
}

void gap_on_state(gap_flow *f, gr_ctx *ctx, const gr_msg *m)
{
    const gr_json *body = gap_fetched(ctx, m);
    if (!body) {
        fetch_one_by_one(f, ctx);
        return;
    }
    gap_take_pdus(f, ctx, gr_json_get(body, "auth_chain"), GR_GAP_IDS_MAX);
    gap_take_pdus(f, ctx, gr_json_get(body, "pdus"), GR_GAP_IDS_MAX);
    gap_give(f, ctx);
}

/* --- 5: the state, and the event on top of it ------------------------------------------------------------------ */
static gr_str base_name(const gap_flow *f, gr_ctx *ctx)
{
    return gr_arena_printf(gr_ctx_arena(ctx), "gap %016llx", (unsigned long long)gr_str_hash(f->row->origin));
}

void gap_put_ids_more(gap_flow *f, gr_ctx *ctx)
{
    size_t left = f->state.count - f->next;
    if (left == 0) {
        gap_begin_step(f, MAKE);
        gap_ask_room(f, ctx, &gr_type_room_given_make, &(gr_room_given_make){.name = base_name(f, ctx), .count = f->next});
        return;
    }
    gap_begin_step(f, PUT_IDS);
    size_t count = left < IDS_PAGE ? left : IDS_PAGE;
    gr_room_given_put m = {.name = base_name(f, ctx), .first = f->next, .ids = {f->state.at + f->next, count}};
    f->next += count;
    gap_ask_room(f, ctx, &gr_type_room_given_put, &m);
}

/* A state without what was only lost on the way would stay that of the room. */
void gap_put_ids(gap_flow *f, gr_ctx *ctx)
{
    if (f->is_lossy && !all_came(f)) {
        gap_give_up(f, ctx);
        return;
    }
    f->next = 0;
    gap_put_ids_more(f, ctx);
}

void gap_on_made(gap_flow *f, gr_ctx *ctx)
{
    give_event(f, ctx, gap_keep(f, base_name(f, ctx)));
}
