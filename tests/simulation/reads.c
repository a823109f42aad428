/* reads.c - syncing on any node: what a client sees of rooms, receipts, to-device messages and its memberships. See chat.h.
 *
 * As the edge does it (edge/sync.c): rooms that give no answer are left out, and the token owes them.
 */
#include "tests/simulation/chat.h"

#include "proto/json.h"

#include <stdio.h>
#include <string.h>

enum { LOST_ONE_IN = 12 };

static void take_event(chat *c, chat_client *client, gr_str room, const gr_json *event)
{
    gr_assert(client->seen_count + client->staged < CHAT_EVENTS_MAX);
    chat_event *e = &client->seen[client->seen_count + client->staged++];
    text_copy(e->id, sizeof e->id, gr_json_text(event, "event_id"));
    text_copy(e->room, sizeof e->room, room);
    e->is_message = gr_str_is(gr_json_text(event, "type"), "m.room.message");
    for (size_t i = 0; i + 1 < client->seen_count + client->staged; i++)
        if (strcmp(client->seen[i].id, e->id) == 0) chat_problem(c, "%s was sent %s twice by /sync", client->user, e->id);
}

/* {event id: {"m.read": {user: ..}}} */
static void take_receipts(chat *c, chat_client *client, unsigned room, gr_str text)
{
    const gr_json *content = NULL;
    if (text.size == 0) return;
    if (gr_failed(gr_json_parse(c->turn, text, GR_JSON_LAX, &content))) {
        chat_problem(c, "receipts are not JSON");
        return;
    }
    for (uint32_t i = 0; i < content->count; i++)
        for (unsigned k = 0; k < CHAT_CLIENTS; k++) {
            const gr_json *read = gr_json_get(&content->members[i].value, "m.read");
            if (!read || !gr_json_get_str(read, gr_str_c(c->clients[k].user))) continue;
            text_copy(client->receipt_staged[room][k], CHAT_ID_MAX, content->members[i].key);
        }
}

static void take_part(chat *c, chat_client *client, unsigned room, const gr_room_part *part)
{
    const gr_json *events = NULL;
    take_receipts(c, client, room, part->receipts);
    if (room == CHAT_YARD) return;
    if (part->limited && !client->part_is_first[room])
        chat_problem(c, "%s was given a gap in a room that was known, from %llu", client->user,
                     (unsigned long long)client->part_from[room]);
    if (part->timeline.size == 0) return;
    if (gr_failed(gr_json_parse(c->turn, part->timeline, GR_JSON_LAX, &events))) {
        chat_problem(c, "a timeline is not JSON");
        return;
    }
    for (uint32_t i = 0; i < events->count; i++) take_event(c, client, gr_str_c(c->rooms[room]), &events->items[i]);
}

/* Each sender numbers what it sends to each receiver: all of them come, in order, once. */
static void take_direct(chat *c, chat_client *client, gr_str text)
{
    const gr_json *events = NULL;
    if (text.size == 0) return;
    if (gr_failed(gr_json_parse(c->turn, text, GR_JSON_LAX, &events))) {
        chat_problem(c, "to-device messages are not JSON");
        return;
    }
    for (uint32_t i = 0; i < events->count; i++) {
        unsigned from = 0;
        int64_t number = gr_json_integer(gr_json_get(gr_json_get(&events->items[i], "content"), "n"), 0);
        while (from < CHAT_CLIENTS && !gr_str_is(gr_json_text(&events->items[i], "sender"), c->clients[from].user)) from++;
        gr_assert(from < CHAT_CLIENTS);
        if (number != client->direct_staged[from] + 1)
            chat_problem(c, "%s got to-device message %lld of %s after %u", client->user, (long long)number,
                         c->clients[from].user, client->direct_staged[from]);
        client->direct_staged[from] = (unsigned)number;
    }
}

static bool is_lacking(const chat *c, const chat_client *client, unsigned room)
{
    return gr_shard_set_has(&client->lacking, gr_id_shard(gr_str_c(c->rooms[room])));
}

static bool lacks_any(const chat_client *client)
{
    static const gr_shard_set none;
    return memcmp(&client->lacking, &none, sizeof none) != 0;
}

/* What came of rooms that the answer leaves out was not seen. */
static void drop_lacking(chat *c, chat_client *client)
{
    chat_event *staged = &client->seen[client->seen_count];
    for (unsigned room = 0; room < CHAT_ROOMS; room++) {
        size_t kept = 0;
        if (!is_lacking(c, client, room)) continue;
        for (size_t i = 0; i < client->staged; i++)
            if (strcmp(staged[i].room, c->rooms[room]) != 0) staged[kept++] = staged[i];
        client->staged = kept;
        memcpy(client->receipt_staged[room], client->receipt_seen[room], sizeof client->receipt_seen[room]);
        if (room == CHAT_YARD) memcpy(client->section_staged, client->section, sizeof client->section);
    }
}

/* Sometimes the answer is lost on its way to the client. */
static void end_sync(chat *c, chat_client *client)
{
    gr_str next = gr_str_c(client->next);
    if (lacks_any(client)) {
        drop_lacking(c, client);
        next = gr_sync_token_owe(c->turn, gr_str_c(client->since), next, &client->lacking);
        client->owed++;
    }
    if (next.size && !chat_chance(c, LOST_ONE_IN)) {
        for (size_t i = 0; i < client->staged; i++) client->heard += client->seen[client->seen_count + i].is_message;
        client->seen_count += client->staged;
        text_copy(client->since, sizeof client->since, next);
        memcpy(client->receipt_seen, client->receipt_staged, sizeof client->receipt_seen);
        memcpy(client->direct_seen, client->direct_staged, sizeof client->direct_seen);
        memcpy(client->section, client->section_staged, sizeof client->section);
        client->syncs++;
    } else {
        client->repeats++;
    }
    client->staged = 0;
}

static void ask_part(chat *c, chat_client *client, unsigned room, const gr_sync_room *r)
{
    gr_room_sync m = {.user = gr_str_c(client->user), .device = GR_STR("D"), .section = r->section, .from_pos = r->from_pos,
                      .to_pos = r->to_pos, .full = r->full, .gap = r->gap, .limit = 1000, .receipts = r->receipts,
                      .receipts_from = r->receipts_from};
    client->part_asks[room] =
        gr_sim_ask(c->sim, client->node, chat_address(c, GR_KIND_ROOM, c->rooms[room]), &gr_type_room_sync, &m, 500);
    client->part_from[room] = r->from_pos;
    gr_sync_token since;
    gr_sync_token_read(gr_str_c(client->since), &since);
    client->part_is_first[room] = gr_sync_token_seen(&since, gr_id_shard(r->room_id)) == 0;
    client->parts_left++;
}

static void ask_parts(chat *c, chat_client *client, const gr_user_changes *changes)
{
    text_copy(client->next, sizeof client->next, changes->next_batch);
    memcpy(client->receipt_staged, client->receipt_seen, sizeof client->receipt_seen);
    memcpy(client->direct_staged, client->direct_seen, sizeof client->direct_seen);
    memcpy(client->section_staged, client->section, sizeof client->section);
    if (changes->initial && client->since[0]) chat_problem(c, "the token of %s was not known any more", client->user);
    take_direct(c, client, changes->to_device);
    for (size_t i = 0; i < changes->rooms.count; i++) {
        const gr_sync_room *r = &changes->rooms.at[i];
        unsigned room = 0;
        while (room < CHAT_ROOMS && !gr_str_is(r->room_id, c->rooms[room])) room++;
        if (room == CHAT_ROOMS) continue;  /* made by a createRoom whose answer was lost */
        if (is_lacking(c, client, room)) chat_problem(c, "%s was told of %s, which it did without", client->user, c->rooms[room]);
        if (room == CHAT_YARD) text_copy(client->section_staged, sizeof client->section_staged, r->section);
        if (r->events || r->receipts) ask_part(c, client, room, r);
    }
    if (client->parts_left == 0) end_sync(c, client);
}

static void step_parts(chat *c, chat_client *client)
{
    const gr_type *type = NULL;
    void *body = NULL;
    gr_err err;
    for (unsigned room = 0; room < CHAT_ROOMS; room++) {
        if (!client->part_asks[room] || !gr_sim_reply(c->sim, client->part_asks[room], c->turn, &type, &body, &err))
            continue;
        client->part_asks[room] = 0;
        client->parts_left--;
        if (!gr_failed(err) && type == &gr_type_room_part) take_part(c, client, room, body);
        else if (chat_may_pass(err.code)) gr_shard_set_add(&client->lacking, gr_id_shard(gr_str_c(c->rooms[room])));
        else chat_problem(c, "a room refused its part of a sync: %s", err.text);
        if (client->parts_left == 0) end_sync(c, client);
    }
}

/* The device may find another node between two syncs; where its node is down it has to. */
static void choose_node(chat *c, chat_client *client)
{
    unsigned before = client->node;
    if (gr_sim_is_up(c->sim, client->node) && !chat_chance(c, 6)) return;
    client->node = chat_node(c);
    c->nodes_changed += client->node != before;
}

void chat_read(chat *c, chat_client *client)
{
    const gr_type *type = NULL;
    void *body = NULL;
    gr_err err;
    if (client->parts_left) {
        step_parts(c, client);
    } else if (!client->sync_ask) {
        choose_node(c, client);
        client->is_without = lacks_any(client) && chat_chance(c, 2);
        if (!client->is_without) client->lacking = (gr_shard_set){0};
        gr_user_sync m = {.device = GR_STR("D"), .since = gr_str_c(client->since),
                          .without = gr_str_of(client->lacking.bits, client->is_without ? GR_SHARD_SET : 0),
                          .wait_ms = 20 + gr_sim_random(c->sim) % 200};
        gr_presence_seen seen = {.device = GR_STR("D"), .presence = GR_STR("online"), .wait_ms = 500};
        gr_sim_tell(c->sim, client->node, chat_address(c, GR_KIND_PRESENCE, client->user), &gr_type_presence_seen, &seen);
        client->sync_ask = gr_sim_ask(c->sim, client->node, chat_address(c, GR_KIND_USER, client->user), &gr_type_user_sync,
                                      &m, 400);
    } else if (gr_sim_reply(c->sim, client->sync_ask, c->turn, &type, &body, &err)) {
        client->sync_ask = 0;
        if (!gr_failed(err) && type == &gr_type_user_changes) ask_parts(c, client, body);
        else if (gr_failed(err) && !chat_may_pass(err.code)) chat_problem(c, "sync refused: %s", err.text);
    }
}
