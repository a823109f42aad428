/* chat.c - simulated clients. See chat.h. */
#include "tests/simulation/chat.h"

#include "actors/env.h"
#include "proto/json.h"

#include <stdio.h>
#include <stdlib.h>

static void cheap_signature(const gr_signer *s, gr_str message, unsigned char out[GR_SIGN_SIGNATURE])
{
    uint64_t h = gr_str_hash(message);
    for (int i = 0; i < GR_SIGN_SIGNATURE; i++) out[i] = (unsigned char)(h >> (i % 8 * 8)) ^ s->secret[i];
}

const void *chat_env(void)
{
    static gr_signer signer = {.key_id = "ed25519:sim", .sign = cheap_signature};
    static gr_env env;
    signer.server_name = GR_STR("sim");
    env = (gr_env){.server_name = GR_STR("sim"), .signer = &signer, .default_room_version = GR_STR("12"),
                   .registration_open = true, .password_min_length = 8, .password_memory = 8192};
    return &env;
}

void chat_problem(chat *c, const char *format, ...)
{
    va_list args;
    if (c->problem[0]) return;
    va_start(args, format);
    vsnprintf(c->problem, sizeof c->problem, format, args);
    va_end(args);
}

static void copy(char *to, size_t room, gr_str text)
{
    gr_assert(text.size < room);
    memcpy(to, text.ptr, text.size);
    to[text.size] = 0;
}

static gr_str address(chat *c, gr_kind kind, const char *id) { return gr_address(c->arena, kind, gr_str_c(id)); }

/* --- before the faults ------------------------------------------------------------------------------------------ */
static const void *may(chat *c, gr_str to, const gr_type *type, const void *body, const gr_type *want)
{
    const gr_type *got = NULL;
    gr_err err;
    const void *answer = gr_sim_call(c->sim, to, type, body, c->arena, &got, &err);
    return gr_failed(err) || got != want ? NULL : answer;
}

static const void *must(chat *c, gr_str to, const gr_type *type, const void *body, const gr_type *want)
{
    const gr_type *got = NULL;
    gr_err err;
    const void *answer = NULL;
    for (int tries = 0; tries < 50; tries++) {     /* the store may refuse all the same: every request is safe to repeat */
        answer = gr_sim_call(c->sim, to, type, body, c->arena, &got, &err);
        if (err.code != GR_UNAVAILABLE && err.code != GR_TIMEOUT) break;
    }
    if (err.code == GR_USER_IN_USE) return NULL;   /* made by a try whose answer was lost */
    if (gr_failed(err) || got != want)
        chat_problem(c, "setup: %s to %" GR_FMT ": %s", type->name, GR_ARG(to),
                     err.text ? err.text
                     : got    ? got->name
                              : "nothing");
    return c->problem[0] ? NULL : answer;
}

static void make_room(chat *c, unsigned room)
{
    const gr_result *r = NULL;
    const gr_json *made = NULL;
    gr_create_room m = {.user = gr_str_c(c->clients[0].user), .request = GR_STR("{\"preset\":\"public_chat\"}")};
    for (unsigned tries = 0; !r && tries < 20; tries++) {  /* as the edge does it: each try is a flow of its own */
        char flow[32];
        snprintf(flow, sizeof flow, "flow%u.%u", room, tries);
        r = may(c, address(c, GR_KIND_CREATE, flow), &gr_type_create_room, &m, &gr_type_result);
    }
    if (!r) chat_problem(c, "setup: no room could be made");
    if (!r || gr_failed(gr_json_parse(c->arena, r->body, GR_JSON_LAX, &made))) return;
    copy(c->rooms[room], sizeof c->rooms[room], gr_json_text(made, "room_id"));
    for (unsigned i = 1; i < CHAT_CLIENTS; i++) {
        gr_str user = gr_str_c(c->clients[i].user);
        gr_room_member join = {.user = user, .target = user, .action = GR_STR("join")};
        must(c, address(c, GR_KIND_ROOM, c->rooms[room]), &gr_type_room_member, &join, &gr_type_room_sent);
    }
}

void chat_setup(chat *c)
{
    gr_sim_faults(c->sim, false);
    for (unsigned i = 0; i < CHAT_CLIENTS; i++) {
        chat_client *client = &c->clients[i];
        snprintf(client->user, sizeof client->user, "@u%u:sim", i);
        client->seen = gr_alloc(CHAT_EVENTS_MAX * sizeof *client->seen);
        gr_user_create m = {.password_hash = GR_STR("none")};
        must(c, address(c, GR_KIND_USER, client->user), &gr_type_user_create, &m, &gr_type_done);
    }
    for (unsigned room = 0; room < CHAT_ROOMS; room++) make_room(c, room);
    gr_sim_faults(c->sim, true);
}

/* --- sending ---------------------------------------------------------------------------------------------------- */
static void send_now(chat *c, chat_client *client)
{
    gr_room_send m = {
        .user = gr_str_c(client->user), .device = GR_STR("D"), .type = GR_STR("m.room.message"),
        .txn = gr_arena_printf(c->arena, "send%u", client->number),
        .content = gr_arena_printf(c->arena, "{\"msgtype\":\"m.text\",\"body\":\"%s %u\"}", client->user, client->number)};
    client->send_ask = gr_sim_ask(c->sim, 0, address(c, GR_KIND_ROOM, c->rooms[client->send_room]), &gr_type_room_send, &m, 500);
}

static void begin_send(chat *c, chat_client *client)
{
    if (client->number + 1 >= CHAT_SENDS_MAX || gr_sim_random(c->sim) % 20) return;
    client->number++;
    client->sending = true;
    client->send_room = (unsigned)(gr_sim_random(c->sim) % CHAT_ROOMS);
    send_now(c, client);
}

static void step_send(chat *c, chat_client *client, bool may_send)
{
    const gr_type *type = NULL;
    void *body = NULL;
    gr_err err;
    if (!client->sending) {
        if (may_send) begin_send(c, client);
        return;
    }
    if (!client->send_ask) {
        if (c->ticks >= client->send_again) send_now(c, client);
        return;
    }
    if (!gr_sim_reply(c->sim, client->send_ask, c->arena, &type, &body, &err)) return;
    client->send_ask = 0;
    if (gr_failed(err)) {                  /* nobody knows whether it was done: the same again */
        if (err.code == GR_FORBIDDEN || err.code == GR_NOT_FOUND) chat_problem(c, "send refused: %s", err.text);
        client->send_again = c->ticks + 1 + gr_sim_random(c->sim) % 30;
        c->retried++;
        return;
    }
    copy(client->acked[client->number], 64, ((const gr_room_sent *)body)->event_id);
    client->sending = false;
    c->acknowledged++;
}

/* --- syncing ---------------------------------------------------------------------------------------------------- */
static void take_event(chat *c, chat_client *client, gr_str room, const gr_json *event)
{
    gr_assert(client->seen_count + client->staged < CHAT_EVENTS_MAX);
    chat_event *e = &client->seen[client->seen_count + client->staged++];
    copy(e->id, sizeof e->id, gr_json_text(event, "event_id"));
    copy(e->room, sizeof e->room, room);
    e->is_message = gr_str_is(gr_json_text(event, "type"), "m.room.message");
    for (size_t i = 0; i + 1 < client->seen_count + client->staged; i++)
        if (strcmp(client->seen[i].id, e->id) == 0) chat_problem(c, "%s was sent %s twice by /sync", client->user, e->id);
}

static void take_part(chat *c, chat_client *client, unsigned room, const gr_room_part *part)
{
    const gr_json *events = NULL;
    if (part->limited && client->part_from[room]) chat_problem(c, "%s was given a gap in a room that was known", client->user);
    if (part->timeline.size == 0) return;
    if (gr_failed(gr_json_parse(c->arena, part->timeline, GR_JSON_LAX, &events))) chat_problem(c, "a timeline is not JSON");
    else for (uint32_t i = 0; i < events->count; i++) take_event(c, client, gr_str_c(c->rooms[room]), &events->items[i]);
}

static void end_sync(chat_client *client)
{
    if (!client->parts_failed) {
        client->seen_count += client->staged;
        memcpy(client->since, client->next, sizeof client->since);
        client->syncs++;
    } else {
        client->repeats++;
    }
    client->staged = 0;
}

static void ask_parts(chat *c, chat_client *client, const gr_user_changes *changes)
{
    copy(client->next, sizeof client->next, changes->next_batch);
    client->parts_failed = false;
    for (size_t i = 0; i < changes->rooms.count; i++) {
        const gr_sync_room *r = &changes->rooms.at[i];
        unsigned room = 0;
        if (!r->events) continue;
        while (room < CHAT_ROOMS && !gr_str_is(r->room_id, c->rooms[room])) room++;
        if (room == CHAT_ROOMS) continue;  /* made by a createRoom whose answer was lost */
        gr_room_sync m = {.user = gr_str_c(client->user), .device = GR_STR("D"), .section = r->section, .from_pos = r->from_pos,
                          .to_pos = r->to_pos, .full = r->full, .gap = r->gap, .limit = 1000};
        client->part_asks[room] = gr_sim_ask(c->sim, 0, address(c, GR_KIND_ROOM, c->rooms[room]), &gr_type_room_sync, &m, 500);
        client->part_from[room] = r->from_pos;
        client->parts_left++;
    }
    if (client->parts_left == 0) end_sync(client);
}

static void step_parts(chat *c, chat_client *client)
{
    const gr_type *type = NULL;
    void *body = NULL;
    gr_err err;
    for (unsigned room = 0; room < CHAT_ROOMS; room++) {
        if (!client->part_asks[room] || !gr_sim_reply(c->sim, client->part_asks[room], c->arena, &type, &body, &err)) continue;
        client->part_asks[room] = 0;
        client->parts_left--;
        if (gr_failed(err) || type != &gr_type_room_part) client->parts_failed = true;
        else if (!client->parts_failed) take_part(c, client, room, body);
        if (client->parts_left == 0) end_sync(client);
    }
}

static void step_sync(chat *c, chat_client *client)
{
    const gr_type *type = NULL;
    void *body = NULL;
    gr_err err;
    if (client->parts_left) {
        step_parts(c, client);
    } else if (!client->sync_ask) {
        uint64_t until = gr_sim_now(c->sim) + 20 + gr_sim_random(c->sim) % 200;
        gr_user_sync m = {.device = GR_STR("D"), .since = gr_str_c(client->since), .until_ms = until};
        client->sync_ask = gr_sim_ask(c->sim, 0, address(c, GR_KIND_USER, client->user), &gr_type_user_sync, &m, 1000);
    } else if (gr_sim_reply(c->sim, client->sync_ask, c->arena, &type, &body, &err)) {
        client->sync_ask = 0;
        if (!gr_failed(err) && type == &gr_type_user_changes) ask_parts(c, client, body);
    }
}

void chat_tick(chat *c, bool may_send)
{
    c->ticks++;
    for (unsigned i = 0; i < CHAT_CLIENTS; i++) {
        step_send(c, &c->clients[i], may_send);
        step_sync(c, &c->clients[i]);
    }
    gr_sim_run(c->sim, 1);
}

bool chat_quiet(const chat *c)
{
    for (unsigned i = 0; i < CHAT_CLIENTS; i++)
        if (c->clients[i].sending || c->clients[i].parts_left) return false;
    return true;
}
