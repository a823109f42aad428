/* writes.c - messages, receipts, to-device messages, and the comings and goings in the yard. See chat.h. */
#include "tests/simulation/chat.h"

#include <stdio.h>
#include <string.h>

enum { SEND_ONE_IN = 20, SEND_ONE_IN_CLUSTER = 60, RECEIPT_ONE_IN = 40, DIRECT_ONE_IN = 40, MOVE_ONE_IN = 60 };

/* --- messages --------------------------------------------------------------------------------------------------- */
static void send_now(chat *c, chat_client *client)
{
    gr_room_send m = {
        .user = gr_str_c(client->user), .device = GR_STR("D"), .type = GR_STR("m.room.message"),
        .txn = gr_arena_printf(c->turn, "send%u", client->number),
        .content = gr_arena_printf(c->turn, "{\"msgtype\":\"m.text\",\"body\":\"%s %u\"}", client->user, client->number)};
    chat_ask(c, &client->send, chat_node(c), chat_address(c, GR_KIND_ROOM, c->rooms[client->send_room]), &gr_type_room_send,
             &m);
}

static void step_send(chat *c, chat_client *client, bool may_begin)
{
    const gr_type *type = NULL;
    const void *body = NULL;
    gr_err err;
    if (!client->send.open) {
        if (!may_begin || client->number + 1 >= CHAT_SENDS_MAX
            || !chat_chance(c, c->nodes > 1 ? SEND_ONE_IN_CLUSTER : SEND_ONE_IN))
            return;
        client->number++;
        client->send_room = (unsigned)(gr_sim_random(c->sim) % CHAT_YARD);
        send_now(c, client);
        return;
    }
    chat_turn turn = chat_turn_of(c, &client->send, &type, &body, &err);
    if (turn == CHAT_ASK) send_now(c, client);
    if (turn != CHAT_DONE) return;
    if (gr_failed(err)) {
        chat_problem(c, "send refused: %s", err.text);
        return;
    }
    text_copy(client->acked[client->number], CHAT_ID_MAX, ((const gr_room_sent *)body)->event_id);
    c->acknowledged++;
}

/* --- receipts --------------------------------------------------------------------------------------------------- */
static void receipt_now(chat *c, chat_client *client)
{
    gr_room_receipt m = {.user = gr_str_c(client->user), .type = GR_STR("m.read"), .event_id = gr_str_c(client->receipt_id)};
    chat_ask(c, &client->receipt, chat_node(c), chat_address(c, GR_KIND_ROOM, c->rooms[client->receipt_room]),
             &gr_type_room_receipt, &m);
}

static bool begin_receipt(chat *c, chat_client *client)
{
    if (client->seen_count == 0 || !chat_chance(c, RECEIPT_ONE_IN)) return false;
    const chat_event *last = &client->seen[client->seen_count - 1];    /* the newest seen of its room */
    for (unsigned room = 0; room < CHAT_YARD; room++)
        if (strcmp(last->room, c->rooms[room]) == 0) client->receipt_room = room;
    if (strcmp(client->receipt_acked[client->receipt_room], last->id) == 0) return false;
    memcpy(client->receipt_id, last->id, sizeof client->receipt_id);
    receipt_now(c, client);
    return true;
}

static void step_receipt(chat *c, chat_client *client, bool may_begin)
{
    const gr_type *type = NULL;
    const void *body = NULL;
    gr_err err;
    if (!client->receipt.open) {
        if (may_begin) begin_receipt(c, client);
        return;
    }
    chat_turn turn = chat_turn_of(c, &client->receipt, &type, &body, &err);
    if (turn == CHAT_ASK) receipt_now(c, client);
    if (turn != CHAT_DONE) return;
    if (gr_failed(err)) chat_problem(c, "receipt refused: %s", err.text);
    memcpy(client->receipt_acked[client->receipt_room], client->receipt_id, CHAT_ID_MAX);
    c->receipts++;
}

/* --- to-device messages ------------------------------------------------------------------------------------------ */
static void direct_now(chat *c, chat_client *client)
{
    unsigned number = client->direct_to;
    const char *user = number < CHAT_CLIENTS ? c->clients[number].user : chat_remote_user(c, number - CHAT_CLIENTS);
    gr_user_to_device to = {.user = gr_str_c(user),
                            .devices = gr_arena_printf(c->turn, "{\"D\":{\"n\":%u}}", client->direct_sent[client->direct_to])};
    gr_user_send_to_device m = {.device = GR_STR("D"), .txn = gr_arena_printf(c->turn, "direct%u", client->direct_number),
                                .type = GR_STR("org.sim.direct"), .messages = {&to, 1}};
    chat_ask(c, &client->direct, chat_node(c), chat_address(c, GR_KIND_USER, client->user), &gr_type_user_send_to_device, &m);
}

static void step_direct(chat *c, chat_client *client, bool may_begin)
{
    const gr_type *type = NULL;
    const void *body = NULL;
    gr_err err;
    if (!client->direct.open) {
        if (!may_begin || !chat_chance(c, DIRECT_ONE_IN)) return;
        client->direct_number++;
        client->direct_to = (unsigned)(gr_sim_random(c->sim) % (CHAT_CLIENTS + CHAT_REMOTES));
        client->direct_sent[client->direct_to]++;
        direct_now(c, client);
        return;
    }
    chat_turn turn = chat_turn_of(c, &client->direct, &type, &body, &err);
    if (turn == CHAT_ASK) direct_now(c, client);
    if (turn != CHAT_DONE) return;
    if (gr_failed(err)) chat_problem(c, "to-device message refused: %s", err.text);
    c->directs++;
}

/* --- the yard: its owner kicks, the others come and go ------------------------------------------------------------- */
static void move_now(chat *c, chat_client *client)
{
    static const char *const actions[] = {"join", "leave", "kick"};
    gr_room_member m = {.user = gr_str_c(client->user), .target = gr_str_c(c->clients[client->move_target].user),
                        .action = gr_str_c(actions[client->move_action]), .device = GR_STR("D"),
                        .txn = gr_arena_printf(c->turn, "move%u", client->move_number)};
    chat_ask(c, &client->move, chat_node(c), chat_address(c, GR_KIND_ROOM, c->rooms[CHAT_YARD]), &gr_type_room_member, &m);
}

static void step_move(chat *c, chat_client *client, bool may_begin)
{
    const gr_type *type = NULL;
    const void *body = NULL;
    gr_err err;
    bool owner = client == &c->clients[0];
    if (!client->move.open) {
        if (!may_begin || !chat_chance(c, MOVE_ONE_IN)) return;
        client->move_number++;
        client->move_action = owner ? 2 : (unsigned)(gr_sim_random(c->sim) % 3 == 0);
        client->move_target = owner ? 1 + (unsigned)(gr_sim_random(c->sim) % (CHAT_CLIENTS - 1))
                                    : (unsigned)(client - c->clients);
        move_now(c, client);
        return;
    }
    chat_turn turn = chat_turn_of(c, &client->move, &type, &body, &err);
    if (turn == CHAT_ASK) move_now(c, client);
    if (turn != CHAT_DONE) return;
    /* Who was never in, or is not in any more, can't leave and can't be kicked. */
    if (gr_failed(err) && (err.code != GR_FORBIDDEN || client->move_action == 0))
        chat_problem(c, "%s could not move in the yard: %s", client->user, err.text);
    c->moves++;
}

void chat_write(chat *c, chat_client *client, bool may_begin)
{
    step_send(c, client, may_begin);
    step_receipt(c, client, may_begin);
    step_direct(c, client, may_begin);
    step_move(c, client, may_begin);
}

bool chat_writes_open(const chat_client *client)
{
    return client->send.open || client->receipt.open || client->direct.open || client->move.open;
}
