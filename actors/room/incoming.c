/* incoming.c - checks, stages and takes events of other servers. See incoming.h. */
#include "actors/room/incoming.h"
#include "actors/keys/ring.h"
#include "actors/tally.h"
#include "actors/room/given.h"
#include "actors/room/left_out.h"
#include "actors/room/policy.h"
#include "actors/room/resident.h"
#include "actors/room/resolving.h"

#include <stdlib.h>

enum { AGAIN_MS = 20, TRIES_MAX = 100, WAKE_MAX = 200, LOOKS_MAX = 60 };

static const char timer_name[] = "incoming";

/* Who waits until events are checked; and then, if asked for, until they are taken. */
struct gr_room_incoming_open {
    struct gr_room_incoming_open *next;
    uint64_t number, last;             /* last: of the events that are staged for it; 0: they are being checked */
    gr_incoming_mode mode;
    bool until_taken;
    gr_asker *asker;
    gr_str origin, base, base_of;      /* owned */
    gr_buf answer;                     /* encoded room_incoming_are, while it waits */
};

/* --- on the pool -------------------------------------------------------------------------------------------- */
static void check_one(gr_arena *a, const gr_room_version *version, const gr_key_ring *ring, gr_str text, gr_checked_pdu *out)
{
    gr_event e;
    gr_event_shape shape;
    const gr_json *json;
    gr_err err = gr_json_parse(a, text, version->json, &json);
    if (!gr_failed(err) && !gr_json_is(json, GR_JSON_OBJECT)) err = gr_fail(GR_BAD_JSON, "A PDU is a JSON object");
    if (!gr_failed(err)) out->event_id = gr_event_id(a, version, json);
    if (!gr_failed(err)) err = gr_event_check(a, version, json, ring, &e, &out->text, &shape);
    if (!gr_failed(err)) {
        out->event_id = e.event_id;
        out->room_id = e.room_id;
        out->prevs = e.prev_events;
    } else {
        out->error = gr_str_c(err.text);
    }
}

static bool run_check(gr_arena *a, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    void *body;
    (void)reader;
    gr_err err = gr_body_decode(a, &gr_type_incoming_check, input, &body);
    gr_assert(!gr_failed(err));
    const gr_incoming_check *m = body;
    gr_ring keys = {m->keys.at, m->keys.count, NULL};
    gr_key_ring ring = {.find = gr_ring_find, .arg = &keys};
    gr_incoming_checked out = {.pdus = {gr_arena_alloc(a, (m->pdus.count + 1) * sizeof(gr_checked_pdu)), m->pdus.count}};
    for (size_t i = 0; i < m->pdus.count; i++)
        check_one(a, gr_room_version_find(m->version), &ring, m->pdus.at[i], &out.pdus.at[i]);
    gr_body_encode(output, &gr_type_incoming_checked, &out);
    return true;
}

const gr_work gr_room_incoming_work = {.name = "pdu_check", .run = run_check};

static size_t open_count(const gr_room *room)
{
    size_t count = 0;
    for (const struct gr_room_incoming_open *o = room->incoming; o; o = o->next) count++;
    return count;
}

static void begin_check(gr_room *room, gr_ctx *ctx, const gr_room_incoming *m, uint64_t number)
{
    const gr_signer *signer = gr_env_of(ctx)->signer;
    gr_arena *a = gr_ctx_arena(ctx);
    gr_incoming_check check = {.version = gr_str_c(room->version->id), .pdus = m->pdus};
    gr_server_key *own = gr_arena_alloc(a, sizeof *own);
    *own = (gr_server_key){.key_id = gr_str_c(signer->key_id), .valid_until_ms = INT64_MAX,
                           .public_key = gr_str_of((const char *)signer->public_key, GR_SIGN_PUBLIC)};
    check.keys.at = gr_arena_alloc(a, (m->keys.count + 1) * sizeof *check.keys.at);
    check.keys.count = m->keys.count + 1;
    for (size_t i = 0; i < m->keys.count; i++) check.keys.at[i] = m->keys.at[i];
    check.keys.at[m->keys.count] = (gr_keys_known){.server = gr_env_of(ctx)->server_name, .keys = {own, 1}};
    gr_buf input = {0};
    gr_body_encode(&input, &gr_type_incoming_check, &check);
    gr_ctx_work(ctx, &gr_room_incoming_work, gr_buf_view(&input), &(gr_resume){.step = GR_ROOM_WORK_INCOMING, .number = number});
    gr_buf_free(&input);
}

void gr_room_on_incoming(gr_room *room, gr_ctx *ctx, const gr_room_incoming *m)
{
    gr_err err = gr_ok();
    if (!gr_room_has_locals(room)) err = gr_fail(GR_NOT_FOUND, "Nobody on this server is in this room");
    else if (m->pdus.count == 0 || m->pdus.count > GR_INCOMING_PDUS || m->mode > GR_INCOMING_HISTORY)
        err = gr_fail(GR_INVALID_PARAM, "1 to 64 events can be given at once");
    else if (open_count(room) >= GR_INCOMING_CHECKS)
        err = (gr_err){GR_LIMIT_EXCEEDED, "Other events of this room are being checked: try again", 1000};
    gr_asker *asker = gr_failed(err) ? NULL : gr_ctx_keep_asker(ctx);
    if (gr_failed(err)) gr_ctx_fail(ctx, err);
    if (!asker) return;
    struct gr_room_incoming_open *o = gr_alloc(sizeof *o);
    *o = (struct gr_room_incoming_open){.next = room->incoming, .asker = asker, .mode = (gr_incoming_mode)m->mode,
                                        .until_taken = m->until_taken, .origin = {gr_str_dup(m->origin), m->origin.size},
                                        .base = {gr_str_dup(m->base), m->base.size},
                                        .base_of = {gr_str_dup(m->base_of), m->base_of.size}};
    gr_ctx_random(ctx, &o->number, sizeof o->number);
    room->incoming = o;
    begin_check(room, ctx, m, o->number);
}

/* --- staging ------------------------------------------------------------------------------------------------ */
static gr_str pair_key(gr_ctx *ctx, char letter, gr_str text, uint64_t number)
{
    return gr_room_key_parts(ctx, letter, 2, (gr_str[]){text, gr_str_from(gr_room_key_number(ctx, ' ', number), 1)});
}

static bool take_number(void *arg, gr_str key, gr_str value)
{
    (void)value;
    if (key.size >= 9) *(uint64_t *)arg = gr_u64be(key.ptr + key.size - 8);
    return false;
}

/* Both remember where they have been: rows that are gone cost a scan that passes them as much as others. */
static uint64_t next_number(gr_room *room, gr_ctx *ctx)
{
    uint64_t newest = 0;
    if (room->staged_next) return room->staged_next;
    gr_ctx_scan(ctx, GR_STR("I"), GR_STR("J"), true, 1, take_number, &newest);
    return room->staged_next = newest + 1;
}

/* The oldest that is to be taken; 0: none. */
static uint64_t oldest_ready(gr_room *room, gr_ctx *ctx)
{
    uint64_t oldest = 0;
    gr_ctx_scan(ctx, gr_room_key_number(ctx, 'J', room->ready_from), GR_STR("K"), false, 1, take_number, &oldest);
    room->ready_from = oldest ? oldest : next_number(room, ctx);
    return oldest;
}

static size_t waiting_of(gr_ctx *ctx, gr_str origin)
{
    size_t count = 0;
    gr_str prefix = gr_room_key_parts(ctx, 'H', 2, (gr_str[]){origin, {0}});
    gr_ctx_scan_prefix(ctx, prefix, GR_INCOMING_WAITING, gr_ctx_count_row, &count);
    return count;
}

static void set_timer(gr_ctx *ctx, uint64_t delay_ms)
{
    gr_ctx_timer(ctx, gr_str_c(timer_name), gr_ctx_now_ms(ctx) + delay_ms, true);
}

typedef struct { gr_ctx *ctx; gr_err of_origin; bool is_full; size_t looks; gr_str only; } admission;  /* looks: that are left */

/* Of what is not looked up any more it is found out when it is to be taken. */
static bool is_here(gr_room *room, admission *a, gr_str event_id, gr_incoming_mode mode)
{
    uint64_t number;
    gr_room_record r;
    if (mode == GR_INCOMING_LIVE && gr_room_policy_is_aside(room, a->ctx, event_id)) return true;
    if (a->looks < 2) return false;
    a->looks--;
    if (!gr_room_number_of(a->ctx, event_id, &number) || mode == GR_INCOMING_HELD) return number != 0;
    a->looks--;
    return gr_room_record_at(a->ctx, number, &r) && !(r.flags & GR_ROOM_OUTLIER);
}

/* It will not wait: it follows what is here. */
static bool follows_what_is_here(admission *a, const gr_checked_pdu *p)
{
    if (a->looks < p->prevs.count) return false;
    a->looks -= p->prevs.count;
    for (size_t i = 0; i < p->prevs.count; i++) {
        uint64_t number;
        if (!gr_room_number_of(a->ctx, p->prevs.at[i], &number)) return false;
    }
    return true;
}

/* Why an event that is good by itself is not taken; empty: it may be. */
static gr_str refusal(const gr_room *room, const gr_checked_pdu *p, admission *a)
{
    if (p->error.size) return p->error;
    if (gr_failed(a->of_origin)) return gr_str_c(a->of_origin.text);
    if (!gr_str_eq(p->room_id, room->id)) return GR_STR("The event is of another room");
    if (a->only.size && !gr_str_eq(p->event_id, a->only)) return GR_STR("The state that was told is that before another event");
    if (!a->is_full || follows_what_is_here(a, p)) return (gr_str){0};
    return GR_STR("Too many events of your server wait for others that are missing here");
}

/* Answers when all that was staged for it is taken or waits. */
static void answer_open(gr_room *room, gr_ctx *ctx, struct gr_room_incoming_open *o, const gr_room_incoming_are *m)
{
    struct gr_room_incoming_open **at = &room->incoming;
    while (*at != o) at = &(*at)->next;
    *at = o->next;
    gr_ctx_answer(ctx, &o->asker, &gr_type_room_incoming_are, m);
    gr_buf_free(&o->answer);
    free((char *)o->origin.ptr);
    free((char *)o->base.ptr);
    free((char *)o->base_of.ptr);
    free(o);
}

static void stage(gr_room *room, gr_ctx *ctx, struct gr_room_incoming_open *o, const gr_incoming_checked *checked)
{
    gr_arena *a = gr_ctx_arena(ctx);
    size_t count = checked->pdus.count;
    bool is_live = o->mode == GR_INCOMING_LIVE;
    admission admits = {ctx, is_live ? gr_room_serves(room, ctx, o->origin) : gr_ok(),
                        is_live && waiting_of(ctx, o->origin) >= GR_INCOMING_WAITING, LOOKS_MAX, o->base_of};
    uint64_t next = next_number(room, ctx), first = next;
    gr_room_incoming_are are = {.ids = {gr_arena_alloc(a, (count + 1) * sizeof(gr_str)), count},
                                .errors = {gr_arena_alloc(a, (count + 1) * sizeof(gr_str)), count}};
    for (size_t i = 0; i < count; i++) {
        const gr_checked_pdu *p = &checked->pdus.at[i];
        are.ids.at[i] = p->event_id;
        are.errors.at[i] = refusal(room, p, &admits);
        if (are.errors.at[i].size || is_here(room, &admits, p->event_id, o->mode)) continue;
        gr_staged_pdu_row row = {.origin = o->origin, .event_id = p->event_id, .text = p->text, .mode = (uint64_t)o->mode,
                                 .since_ms = gr_ctx_now_ms(ctx), .base = o->base};
        gr_ctx_put_body(ctx, gr_room_key_number(ctx, 'I', next), &gr_type_staged_pdu_row, &row);
        gr_ctx_put(ctx, gr_room_key_number(ctx, 'J', next++), (gr_str){0});
    }
    room->staged_next = next;
    if (next > first) set_timer(ctx, 0);
    if (next == first || !o->until_taken) {
        answer_open(room, ctx, o, &are);
        return;
    }
    o->last = next - 1;
    gr_body_encode(&o->answer, &gr_type_room_incoming_are, &are);
}

void gr_room_on_checked(gr_room *room, gr_ctx *ctx, const gr_msg *m)
{
    struct gr_room_incoming_open *o = room->incoming;
    void *body = NULL;
    while (o && o->number != m->resume->number) o = o->next;
    if (!o) return;                    /* the room was loaded again meanwhile */
    const gr_work_done *done = m->body;
    bool good = !gr_failed(m->err) && !done->failed && room->exists
        && !gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_incoming_checked, done->output, &body));
    uint64_t oldest = oldest_ready(room, ctx);
    if (good && (!oldest || next_number(room, ctx) <= oldest + GR_INCOMING_READY)) {
        stage(room, ctx, o, body);
        return;
    }
    gr_asker *asker = o->asker;
    o->asker = NULL;
    answer_open(room, ctx, o, &(gr_room_incoming_are){0});
    gr_ctx_answer_fail(ctx, &asker, (gr_err){GR_LIMIT_EXCEEDED, "The room has too much to do: try again", 1000});
}

/* --- waiting ------------------------------------------------------------------------------------------------ */
typedef struct { gr_ctx *ctx; uint64_t numbers[WAKE_MAX]; gr_str origins[WAKE_MAX]; size_t count; } woken;

static bool on_waiting(void *arg, gr_str key, gr_str value)
{
    woken *w = arg;
    if (key.size < 8) return true;
    w->numbers[w->count] = gr_u64be(key.ptr + key.size - 8);
    w->origins[w->count++] = gr_arena_str(gr_ctx_arena(w->ctx), value);
    return w->count < WAKE_MAX;
}

void gr_room_wake(gr_room *room, gr_ctx *ctx, gr_str event_id)
{
    if (!gr_room_has_any(ctx, 'E', &room->staged_wait)) return;
    woken *w = gr_arena_alloc(gr_ctx_arena(ctx), sizeof *w);
    w->ctx = ctx;
    gr_ctx_scan_prefix(ctx, gr_room_key_parts(ctx, 'E', 2, (gr_str[]){event_id, {0}}), WAKE_MAX, on_waiting, w);
    for (size_t i = 0; i < w->count; i++) {
        gr_ctx_del(ctx, pair_key(ctx, 'E', event_id, w->numbers[i]));
        gr_ctx_del(ctx, pair_key(ctx, 'H', w->origins[i], w->numbers[i]));
        gr_ctx_put(ctx, gr_room_key_number(ctx, 'J', w->numbers[i]), (gr_str){0});
        if (w->numbers[i] < room->ready_from) room->ready_from = w->numbers[i];
    }
    if (w->count == 0) return;
    set_timer(ctx, 0);
    room->staged_wait = GR_ROOM_UNKNOWN;                           /* perhaps none is left */
}

/* All that is missing is on its way into the room. */
static bool waits_for_policy(gr_room *room, gr_ctx *ctx, const gr_room_received *got)
{
    const gr_strs *lists[] = {&got->missing_auth, &got->missing_prev};
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l]->count; i++)
            if (!gr_room_policy_is_aside(room, ctx, lists[l]->at[i])) return false;
    return true;
}

static void wait(gr_room *room, gr_ctx *ctx, uint64_t number, const gr_staged_pdu_row *row, const gr_room_received *got)
{
    gr_room_waits waits = {.event_id = row->event_id, .auth = got->missing_auth, .prevs = got->missing_prev};
    const gr_strs *lists[] = {&got->missing_auth, &got->missing_prev};
    room->staged_wait = GR_ROOM_SOME;
    gr_ctx_del(ctx, gr_room_key_number(ctx, 'J', number));
    gr_ctx_put_body(ctx, pair_key(ctx, 'H', row->origin, number), &gr_type_room_waits, &waits);
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l]->count; i++) gr_ctx_put(ctx, pair_key(ctx, 'E', lists[l]->at[i], number), row->origin);
    if (row->mode == GR_INCOMING_LIVE && !waits_for_policy(room, ctx, got))
        gr_room_begin_gap(room, ctx, row->origin, row->event_id, number);
}

/* --- taking ------------------------------------------------------------------------------------------------- */
static void forget(gr_ctx *ctx, uint64_t number)
{
    gr_ctx_del(ctx, gr_room_key_number(ctx, 'I', number));
    gr_ctx_del(ctx, gr_room_key_number(ctx, 'J', number));
}

static gr_err receive(gr_room *room, gr_ctx *ctx, const gr_staged_pdu_row *row, const gr_event *e, gr_room_received *got)
{
    gr_room_receiving how = {.is_history = row->mode == GR_INCOMING_HISTORY,
                             .asks_policy = row->mode == GR_INCOMING_LIVE && !row->was_asked};
    if (row->mode == GR_INCOMING_HELD) return gr_room_hold(room, ctx, e, row->text, got);
    how.before = row->base.size ? gr_room_root_kept(ctx, row->base) : 0;
    how.has_before = how.before != 0;
    return gr_room_receive(room, ctx, e, row->text, &how, got);
}

/* It is taken when the policy server was asked, or now, if that can't be. */
static void set_aside(gr_room *room, gr_ctx *ctx, uint64_t number, const gr_staged_pdu_row *row, const gr_event *e)
{
    gr_staged_pdu_row asked = *row;
    if (gr_room_policy_set_aside(room, ctx, e, row->text, number)) {
        gr_ctx_del(ctx, gr_room_key_number(ctx, 'J', number));
        gr_room_save(room, ctx);       /* nodes of the state before it may be new */
        return;
    }
    asked.was_asked = true;
    gr_ctx_put_body(ctx, gr_room_key_number(ctx, 'I', number), &gr_type_staged_pdu_row, &asked);
}

void gr_room_on_policy_said(gr_room *room, gr_ctx *ctx, const gr_room_policy_said *m)
{
    gr_str bytes;
    void *body = NULL;
    uint64_t number = gr_room_policy_take_aside(room, ctx, m->event_id);
    if (m->is_away) room->policy_away_until_ms = gr_ctx_now_ms(ctx) + GR_POLICY_AWAY_MS;
    if (!number || !gr_ctx_get(ctx, gr_room_key_number(ctx, 'I', number), &bytes)
        || gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_staged_pdu_row, bytes, &body)))
        return;
    gr_staged_pdu_row *row = body;
    row->was_asked = true;
    if (m->event.size) row->text = m->event;
    gr_ctx_put_body(ctx, gr_room_key_number(ctx, 'I', number), &gr_type_staged_pdu_row, row);
    gr_ctx_put(ctx, gr_room_key_number(ctx, 'J', number), (gr_str){0});
    if (number < room->ready_from) room->ready_from = number;
    set_timer(ctx, 0);
}

/* Its check needs little that is not at hand: a message on top of the only extremity, or an event of a state, which cites mostly
 * what the one before it cites. */
static bool is_plain(const gr_room *room, const gr_staged_pdu_row *row, const gr_event *e)
{
    if (row->mode == GR_INCOMING_HELD) return true;
    return row->mode == GR_INCOMING_LIVE && !e->has_state_key && room->extremity_count == 1 && e->prev_events.count == 1
        && gr_str_eq(e->prev_events.at[0], room->extremities[0].id);
}

typedef enum { TOOK_PLAIN, TOOK, LATER, FAILED } taking;

/* It can be taken later, as far as anybody knows: what lasts for TRIES_MAX times must not hold up those behind it for ever. */
static bool may_pass(gr_room *room, uint64_t number, gr_err err)
{
    if (room->must_wait) return true;
    if (err.code != GR_UNAVAILABLE) return false;
    room->tries = room->tried == number ? room->tries + 1 : 1;
    room->tried = number;
    return room->tries < TRIES_MAX;
}

static taking take_one(gr_room *room, gr_ctx *ctx, uint64_t number, bool plain_only)
{
    void *body = NULL;
    gr_str bytes;
    gr_event e;
    gr_room_received got;
    bool good = gr_ctx_get(ctx, gr_room_key_number(ctx, 'I', number), &bytes)
        && !gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_staged_pdu_row, bytes, &body));
    const gr_staged_pdu_row *row = body;
    good = good && !gr_failed(gr_event_parse(gr_ctx_arena(ctx), room->version, row->text, &e));
    if (!good) {
        forget(ctx, number);
        return TOOK;
    }
    bool plain = is_plain(room, row, &e);
    if (plain_only && !plain) return LATER;
    uint64_t parsed = room->parsed;
    gr_room_made moved = {0};
    gr_err err = receive(room, ctx, row, &e, &got);
    bool comes_back = !gr_failed(err) && got.fate != GR_PDU_WAITS && gr_room_is_left_out(room, ctx, e.event_id);
    if (comes_back) err = gr_room_put_back(room, ctx, e.event_id, &moved);
    if (row->mode == GR_INCOMING_HELD || row->base.size) gr_ctx_tally(ctx, GR_TALLY_GAP_LOADED, 1 + room->parsed - parsed);
    if (gr_failed(err)) {
        bool passes = may_pass(room, number, err);
        gr_room_fail(room, ctx, err);
        if (!passes) forget(ctx, number);
        if (!room->must_wait) set_timer(ctx, passes ? AGAIN_MS : 0);
        return FAILED;
    }
    if (got.fate == GR_PDU_WAITS) {
        wait(room, ctx, number, row, &got);
        return TOOK;
    }
    if (got.fate == GR_PDU_UNSIGNED) {
        set_aside(room, ctx, number, row, &e);
        return TOOK;
    }
    forget(ctx, number);
    if (row->base.size) gr_room_root_keep(ctx, row->base, 0);
    if (got.fate == GR_PDU_HELD || row->mode == GR_INCOMING_HISTORY) gr_room_save(room, ctx);    /* readers find it */
    else if (got.fate != GR_PDU_KNOWN) gr_room_tell(room, ctx, &got.made, false);
    if (comes_back) gr_room_tell(room, ctx, &moved, false);
    return plain ? TOOK_PLAIN : TOOK;
}

/* Those for whom everything up to their last event is taken. */
static void tell_open(gr_room *room, gr_ctx *ctx)
{
    uint64_t first = oldest_ready(room, ctx);
    for (struct gr_room_incoming_open *o = room->incoming, *next; o; o = next) {
        void *body;
        next = o->next;
        if (o->last == 0 || (first && first <= o->last)) continue;
        gr_err err = gr_body_decode(gr_ctx_arena(ctx), &gr_type_room_incoming_are,
                                    gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&o->answer)), &body);
        gr_assert(!gr_failed(err));
        answer_open(room, ctx, o, body);
    }
}

bool gr_room_take_incoming(gr_room *room, gr_ctx *ctx, gr_str timer)
{
    if (!gr_str_is(timer, timer_name)) return false;
    taking took = TOOK_PLAIN;
    for (int i = 0; i < GR_INCOMING_STEP && took == TOOK_PLAIN; i++) {
        uint64_t number = oldest_ready(room, ctx);
        if (number == 0) break;
        took = take_one(room, ctx, number, i > 0);
    }
    if (took == FAILED) return true;   /* the timer is set, or comes back when the state is there */
    if (oldest_ready(room, ctx)) set_timer(ctx, 0);
    tell_open(room, ctx);
    return true;
}

bool gr_room_is_checking(const gr_room *room) { return room->incoming != NULL; }

void gr_room_incoming_drop(gr_room *room)
{
    while (room->incoming) {
        struct gr_room_incoming_open *o = room->incoming;
        room->incoming = o->next;
        gr_asker_free(&o->asker);
        gr_buf_free(&o->answer);
        free((char *)o->origin.ptr);
        free((char *)o->base.ptr);
        free((char *)o->base_of.ptr);
        free(o);
    }
}
