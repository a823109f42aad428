/* purges.c - old history of a room and a whole other room are taken away while nodes crash. See chat.h.
 *
 * The operator asks until both are gone, as `greenroom purge` does; in the middle every node crashes once.
 */
#include "tests/simulation/chat.h"

#include "proto/json.h"

#include <stdio.h>
#include <string.h>

enum {
    ATTIC_MESSAGES = 30,
    DAYS_MS = 25 * 3600 * 1000,
    ASK_EVERY = 20, CRASH_EVERY = 60, DOWN_TICKS = 40, PURGE_TICKS = 6000
};

static gr_str room_address(chat *c, const char *room) { return gr_address(c->arena, GR_KIND_ROOM, gr_str_c(room)); }

static const gr_room_sent *say(chat *c, const char *room, unsigned number)
{
    gr_room_send m = {.user = gr_str_c(c->clients[0].user), .device = GR_STR("D"), .type = GR_STR("m.room.message"),
                      .txn = gr_arena_printf(c->arena, "purge%u", number),
                      .content = gr_arena_printf(c->arena, "{\"msgtype\":\"m.text\",\"body\":\"purge %u\"}", number)};
    const gr_room_sent *sent = NULL;
    for (int tries = 0; tries < 50 && !sent; tries++)
        sent = chat_call(c, room_address(c, room), &gr_type_room_send, &m, &gr_type_room_sent);
    if (!sent) chat_problem(c, "nothing can be said before a purge");
    return sent;
}

/* A room that everybody is in, and leaves. */
static void fill_attic(chat *c)
{
    static const char *const actions[] = {"join", "leave"};
    text_copy(c->purge.attic, sizeof c->purge.attic, GR_STR("attic"));
    chat_make_room(c, c->purge.attic, true);
    for (unsigned n = 1; n <= ATTIC_MESSAGES && !c->problem[0]; n++) say(c, c->purge.attic, n);
    for (unsigned action = 0; action < 2; action++)
        for (unsigned i = 0; i < CHAT_CLIENTS; i++) {
            gr_str user = gr_str_c(c->clients[i].user);
            gr_room_member m = {.user = user, .target = user, .action = gr_str_c(actions[action])};
            const void *moved = NULL;
            for (int tries = 0; tries < 50 && !moved; tries++)
                moved = chat_call(c, room_address(c, c->purge.attic), &gr_type_room_member, &m, &gr_type_room_sent);
            if (!moved) chat_problem(c, "%s could not %s in the attic", c->clients[i].user, actions[action]);
        }
}

void chat_purge_begin(chat *c)
{
    fill_attic(c);
    gr_sim_jump(c->sim, DAYS_MS);
    chat_tick(c, false);
    const gr_room_sent *cut = say(c, c->rooms[0], ATTIC_MESSAGES + 1);
    if (!cut) return;
    text_copy(c->purge.cut, sizeof c->purge.cut, cut->event_id);
    say(c, c->rooms[0], ATTIC_MESSAGES + 2);
}

static void ask_history(chat *c)
{
    gr_room_purge_history m = {.event_id = gr_str_c(c->purge.cut)};
    chat_ask(c, &c->purge.history, chat_node(c), chat_address(c, GR_KIND_ROOM, c->rooms[0]), &gr_type_room_purge_history, &m);
}

static void ask_room(chat *c)
{
    gr_room_purge_room m = {.force = true};
    chat_ask(c, &c->purge.room, chat_node(c), chat_address(c, GR_KIND_ROOM, c->purge.attic), &gr_type_room_purge_room, &m);
}

static bool is_done(chat *c, const void *body)
{
    const gr_json *json = NULL;
    return !gr_failed(gr_json_parse(c->turn, ((const gr_result *)body)->body, GR_JSON_LAX, &json))
        && gr_str_is(gr_json_text(json, "purging"), "nothing");
}

/* Asks, and asks again how far it is.  True once it is gone. */
static bool turn(chat *c, chat_errand *e, void (*ask)(chat *), bool is_gone)
{
    const gr_type *type = NULL;
    const void *body = NULL;
    gr_err err;
    if (is_gone) return true;
    if (!e->open && c->ticks % ASK_EVERY) return false;
    if (!e->open) {
        ask(c);
        return false;
    }
    chat_turn got = chat_turn_of(c, e, &type, &body, &err);
    if (got == CHAT_ASK) ask(c);
    if (got != CHAT_DONE) return false;
    if (gr_failed(err) && err.code == GR_NOT_FOUND && e == &c->purge.room) return true;
    if (gr_failed(err)) chat_problem(c, "a purge was refused: %s", err.text);
    return !gr_failed(err) && is_done(c, body);
}

bool chat_purge_turn(chat *c)
{
    unsigned tick = ++c->purge.ticks;
    if (tick % CRASH_EVERY == 0 && tick / CRASH_EVERY <= c->nodes) gr_sim_crash(c->sim, tick / CRASH_EVERY - 1, DOWN_TICKS);
    c->purge.history_gone = turn(c, &c->purge.history, ask_history, c->purge.history_gone);
    c->purge.room_gone = turn(c, &c->purge.room, ask_room, c->purge.room_gone);
    if (tick == PURGE_TICKS) chat_problem(c, "a purge does not come to an end");
    return tick >= (c->nodes + 1) * CRASH_EVERY && c->purge.history_gone && c->purge.room_gone;
}
