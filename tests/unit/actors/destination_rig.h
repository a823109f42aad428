/* destination_rig.h - a destination with a virtual clock: what it is posted, rooms that answer it, and a server there that
 * answers what the test says.
 */
#pragma once
#include "actors/destination/destination.h"
#include "bus/stage.h"
#include "proto/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };
#define DAY (24 * (uint64_t)HOUR)

static const gr_actor_kind *const kinds[] = {&gr_destination_kind, NULL};
static gr_signer here;
static gr_env env;
static gr_stage *s;
static gr_arena *arena;
static bool rooms_are_away, is_redacted;
static const char *left_room;                  /* the server is in it no longer */
static gr_str extremities;                     /* what rooms owe: ids with blanks between; empty: the event asked for */

static int set_up(void **state)
{
    static const unsigned char seed[GR_SIGN_SEED] = {1};
    (void)state;
    arena = gr_arena_new(0);
    rooms_are_away = is_redacted = false;
    left_room = NULL;
    extremities = (gr_str){0};
    if (gr_failed(gr_signer_from_seed(GR_STR("here"), GR_STR("h"), seed, &here))) return -1;
    env = (gr_env){.server_name = GR_STR("here"), .signer = &here, .retry = {10 * MINUTE, 7 * DAY, 2, 0},
                   .queue = {1000, 8 << 20, HOUR, 50}};
    s = gr_stage_new(kinds, "destination/there", &env);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_stage_free(&s);
    gr_arena_free(&arena);
    return 0;
}

static inline const gr_destination *self(void) { return gr_stage_self(s); }
static inline gr_destination_state state_now(void) { return gr_destination_state_of(self()); }

/* --- rooms ------------------------------------------------------------------------------------------------- */
static inline gr_str text_of(gr_str event_id)
{
    return gr_arena_printf(arena, "{\"id\":\"%" GR_FMT "\"%s}", GR_ARG(event_id), is_redacted ? ",\"redacted\":true" : "");
}

static inline void answer_pdus(const gr_stage_effect *ask)
{
    const gr_room_queued *m = ask->body;
    gr_room_pdu_text pdus[GR_QUEUE_ITEMS];
    for (size_t i = 0; i < m->event_ids.count; i++)
        pdus[i] = (gr_room_pdu_text){.event_id = m->event_ids.at[i], .pdu = text_of(m->event_ids.at[i])};
    gr_stage_answer(s, ask, &gr_type_room_outgoing, &(gr_room_outgoing){.pdus = {pdus, m->event_ids.count}}, gr_ok());
}

/* Position: what the id ends with. */
static inline uint64_t position_of(gr_str event_id)
{
    uint64_t position = 0;
    for (size_t i = 0; i < event_id.size; i++)
        if (event_id.ptr[i] >= '0' && event_id.ptr[i] <= '9') position = position * 10 + (uint64_t)(event_id.ptr[i] - '0');
    return position;
}

static uint64_t owed_first;            /* as it was told to the room that was asked last */

static inline void answer_owed(const gr_stage_effect *ask)
{
    const gr_room_owed *m = ask->body;
    gr_room_pdu_text pdus[GR_QUEUE_ITEMS];
    gr_room_outgoing answer = {.pdus = {pdus, 0}};
    gr_str left = extremities.size ? extremities : m->event_id;
    assert_true(gr_str_is(m->server, "there"));
    owed_first = m->first;
    while (left.size && !(left_room && gr_str_is(gr_address_id(ask->to), left_room))) {
        const char *end = memchr(left.ptr, ' ', left.size);
        gr_str id = {left.ptr, end ? (size_t)(end - left.ptr) : left.size};
        left = gr_str_from(left, end ? id.size + 1 : id.size);
        pdus[answer.pdus.count++] = (gr_room_pdu_text){.event_id = id, .pdu = text_of(id)};
        if (position_of(id) > answer.position) answer.position = position_of(id);
    }
    gr_stage_answer(s, ask, &gr_type_room_outgoing, &answer, gr_ok());
}

/* Lets the rooms answer what the last step asked them; the transaction that comes of it, or NULL. */
static inline const gr_stage_effect *fetching(void)
{
    gr_stage_effect asks[GR_QUEUE_ITEMS];
    size_t count = gr_stage_sent(s, GR_ASK, NULL);
    assert_in_range(count, 0, GR_QUEUE_ITEMS);
    for (size_t i = 0; i < count; i++) asks[i] = *gr_stage_find(s, GR_ASK, NULL, i);
    for (size_t i = 0; i < count; i++) {
        if (rooms_are_away) gr_stage_answer(s, &asks[i], NULL, NULL, gr_fail(GR_UNAVAILABLE, "away"));
        else if (asks[i].type == &gr_type_room_queued) answer_pdus(&asks[i]);
        else answer_owed(&asks[i]);
    }
    assert_false(gr_stage_over_bounds(s));
    return gr_stage_fetching(s, 0);
}

/* --- what it is posted ------------------------------------------------------------------------------------- */
/* Event $r<number> of room !<room>, at that position. */
static inline const gr_stage_effect *post_event(const char *room, int number)
{
    gr_destination_queue m = {.room_id = gr_arena_printf(arena, "!%s", room), .position = (uint64_t)number, .size = 100,
                              .event_id = gr_arena_printf(arena, "$%s%d", room, number)};
    gr_stage_post(s, "servers/1", &gr_type_destination_queue, &m, (gr_str){0});
    return fetching();
}

static inline const gr_stage_effect *post_edu(int number, const char *user, const char *device)
{
    gr_destination_queue m = {.edu = gr_arena_printf(arena, "{\"n\":%d}", number)};
    if (user) m.fold = gr_arena_cat(arena, 3, (gr_str[]){gr_str_c(user), {"\0", 1}, gr_str_c(device)});
    gr_stage_post(s, "user/@a:here", &gr_type_destination_queue, &m, (gr_str){0});
    return fetching();
}

static inline const gr_stage_effect *tell_edu(int number, const char *fold, uint64_t keep_ms)
{
    gr_destination_volatile m = {.edu = gr_arena_printf(arena, "{\"v\":%d}", number), .fold = gr_str_c(fold), .keep_ms = keep_ms};
    gr_stage_tell(s, "room/!r", &gr_type_destination_volatile, &m);
    return fetching();
}

static inline const gr_stage_effect *hear(void)
{
    gr_stage_tell(s, "edge/stage/0", &gr_type_destination_heard, &(gr_destination_heard){0});
    return fetching();
}

/* --- what the server there says ---------------------------------------------------------------------------- */
static inline gr_fetched status(uint64_t code, const char *body) { return (gr_fetched){.status = code, .body = gr_str_c(body)}; }
static inline gr_fetched failure(gr_fetch_failure f) { return (gr_fetched){.failure = f, .text = GR_STR("it failed")}; }

/* The next transaction that comes of the answer at once, or NULL. */
static inline const gr_stage_effect *answered(const gr_stage_effect *e, gr_fetched f)
{
    gr_stage_effect fetch = *e;
    gr_stage_fetched(s, &fetch, &f);
    return fetching();
}

static inline const gr_stage_effect *taken(const gr_stage_effect *e) { return answered(e, status(200, "{}")); }
static inline const gr_stage_effect *failed(const gr_stage_effect *e) { return answered(e, failure(GR_FETCH_UNREACHABLE)); }

/* The next timer comes; the transaction that comes of it, or NULL. */
static inline const gr_stage_effect *wait_for_timer(void)
{
    bool fired = false;
    gr_stage_fire(s, &fired);
    assert_true(fired);
    return fetching();
}

/* Until there is a transaction: steps, then the try. */
static inline const gr_stage_effect *next_try(void)
{
    const gr_stage_effect *e = NULL;
    for (int i = 0; i < 1000 && !e; i++) e = wait_for_timer();
    assert_non_null(e);
    return e;
}

/* It fails until it is in that state, and the try after that has begun. */
static inline const gr_stage_effect *fail_until(const gr_stage_effect *e, gr_destination_state state)
{
    for (int i = 0; i < 100 && state_now() != state; i++) {
        failed(e);
        e = next_try();
    }
    assert_int_equal(state_now(), state);
    return e;
}

/* --- what it sends ----------------------------------------------------------------------------------------- */
static inline const gr_json *list_in(const gr_stage_effect *e, const char *key)
{
    const gr_json *body = NULL;
    assert_non_null(e);
    assert_false(gr_failed(gr_json_parse(arena, e->fetch->content, GR_JSON_LAX, &body)));
    return gr_json_get(body, key);
}

/* Ids of the events and numbers of the EDUs, with blanks between. */
static inline const char *sent(const gr_stage_effect *e)
{
    gr_buf out = {0};
    const gr_json *pdus = list_in(e, "pdus"), *edus = list_in(e, "edus");
    for (uint32_t i = 0; i < pdus->count; i++)
        gr_buf_printf(&out, "%s%" GR_FMT, out.size ? " " : "", GR_ARG(gr_json_text(&pdus->items[i], "id")));
    for (uint32_t i = 0; i < edus->count; i++)
        gr_buf_printf(&out, "%s%" GR_FMT, out.size ? " " : "", GR_ARG(gr_json_printed(arena, &edus->items[i].members[0].value)));
    const char *text = gr_arena_str(arena, gr_buf_view(&out)).ptr;
    gr_buf_free(&out);
    return text;
}
