/* chat.c - setting up, asking, and one turn of all clients. See chat.h. */
#include "tests/simulation/chat.h"

#include "actors/env.h"
#include "proto/json.h"

#include <stdio.h>
#include <stdlib.h>

enum { ASK_MS = 500, AGAIN_TICKS = 30 };

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
                   .presence = {true, 100}, .registration_open = true, .password_min_length = 8, .password_memory = 8192,
                   .retry = {10 * 60 * 1000, 7 * 24 * 3600 * 1000, 2, 0.2},
                   .queue = {20, 8 << 20, 20 * 1000, 2},       /* small, so that all of it happens */
                   .base_url = GR_STR("https://sim"), .providers = chat_providers(),
                   .login_token_lifetime_ms = CHAT_LOGIN_TOKEN_MS};
    return &env;
}

void chat_problem(chat *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_once(c->problem, sizeof c->problem, format, args);
    va_end(args);
}

gr_str chat_address(chat *c, gr_kind kind, const char *id) { return gr_address(c->turn, kind, gr_str_c(id)); }
bool chat_chance(chat *c, unsigned one_in) { return gr_sim_random(c->sim) % one_in == 0; }
unsigned chat_node(chat *c) { return (unsigned)(gr_sim_random(c->sim) % c->nodes); }

/* --- asking ----------------------------------------------------------------------------------------------------- */
bool chat_may_pass(gr_errcode code)
{
    return code == GR_UNAVAILABLE || code == GR_TIMEOUT || code == GR_LIMIT_EXCEEDED;
}

chat_turn chat_turn_of(chat *c, chat_errand *e, const gr_type **type, const void **body, gr_err *err)
{
    void *answer = NULL;
    if (!e->ask) return c->ticks >= e->again ? CHAT_ASK : CHAT_WAIT;
    if (!gr_sim_reply(c->sim, e->ask, c->turn, type, &answer, err)) return CHAT_WAIT;
    e->ask = 0;
    *body = answer;
    if (gr_failed(*err) && chat_may_pass(err->code)) {
        e->again = c->ticks + 1 + gr_sim_random(c->sim) % AGAIN_TICKS;
        c->retried++;
        return CHAT_WAIT;
    }
    e->open = false;
    e->again = 0;
    return CHAT_DONE;
}

void chat_ask(chat *c, chat_errand *e, unsigned node, gr_str to, const gr_type *type, const void *body)
{
    e->open = true;
    e->ask = gr_sim_ask(c->sim, node, to, type, body, ASK_MS);
}

const void *chat_call(chat *c, gr_str to, const gr_type *type, const void *body, const gr_type *want)
{
    const gr_type *got = NULL;
    gr_err err;
    const void *answer = gr_sim_call(c->sim, to, type, body, c->arena, &got, &err);
    return gr_failed(err) || got != want ? NULL : answer;
}

/* --- before the faults ------------------------------------------------------------------------------------------ */
static const void *must(chat *c, gr_str to, const gr_type *type, const void *body, const gr_type *want)
{
    const gr_type *got = NULL;
    gr_err err;
    const void *answer = NULL;
    for (int tries = 0; tries < 50; tries++) {     /* the store may refuse all the same: every request is safe to repeat */
        answer = gr_sim_call(c->sim, to, type, body, c->arena, &got, &err);
        if (!gr_failed(err) || !chat_may_pass(err.code)) break;
    }
    if (err.code == GR_USER_IN_USE) return NULL;   /* made by a try whose answer was lost */
    if (gr_failed(err) || got != want)
        chat_problem(c, "setup: %s to %" GR_FMT ": %s", type->name, GR_ARG(to),
                     err.text ? err.text
                     : got    ? got->name
                              : "nothing");
    return c->problem[0] ? NULL : answer;
}

void chat_make_room(chat *c, char id[CHAT_ID_MAX], bool is_empty)
{
    const gr_result *r = NULL;
    const gr_json *made = NULL;
    gr_create_room m = {.user = gr_str_c(c->clients[0].user), .request = GR_STR("{\"preset\":\"public_chat\"}")};
    for (unsigned tries = 0; !r && tries < 20; tries++) {  /* as the edge does it: each try is a flow of its own */
        char flow[32];
        snprintf(flow, sizeof flow, "flow%.20s.%u", id, tries);
        r = chat_call(c, chat_address(c, GR_KIND_CREATE, flow), &gr_type_create_room, &m, &gr_type_result);
    }
    if (!r) chat_problem(c, "setup: no room could be made");
    if (!r || gr_failed(gr_json_parse(c->arena, r->body, GR_JSON_LAX, &made))) return;
    text_copy(id, CHAT_ID_MAX, gr_json_text(made, "room_id"));
    for (unsigned i = 1; i < CHAT_CLIENTS && !is_empty; i++) {
        gr_str user = gr_str_c(c->clients[i].user);
        gr_room_member join = {.user = user, .target = user, .action = GR_STR("join")};
        must(c, chat_address(c, GR_KIND_ROOM, id), &gr_type_room_member, &join, &gr_type_room_sent);
    }
}

void chat_setup(chat *c)
{
    gr_sim_faults(c->sim, false);
    c->turn = gr_arena_new(1 << 16);
    for (unsigned i = 0; i < CHAT_CLIENTS; i++) {
        chat_client *client = &c->clients[i];
        snprintf(client->user, sizeof client->user, "@u%u:sim", i);
        client->seen = gr_alloc(CHAT_EVENTS_MAX * sizeof *client->seen);
        client->node = i % c->nodes;
        gr_user_create m = {.password_hash = GR_STR("none")};
        must(c, chat_address(c, GR_KIND_USER, client->user), &gr_type_user_create, &m, &gr_type_done);
        gr_user_login login = {.device = GR_STR("D")};
        must(c, chat_address(c, GR_KIND_USER, client->user), &gr_type_user_login, &login, &gr_type_token_pair);
    }
    for (unsigned room = 0; room < CHAT_ROOMS && !c->problem[0]; room++) {
        snprintf(c->rooms[room], CHAT_ID_MAX, "%u", room);     /* until it has its id: names the flow */
        chat_make_room(c, c->rooms[room], room == CHAT_YARD);
    }
    gr_sim_faults(c->sim, true);
}

/* --- a turn ----------------------------------------------------------------------------------------------------- */
static bool is_somebody_far_behind(const chat *c)
{
    for (unsigned i = 0; i < CHAT_CLIENTS; i++)
        if (c->acknowledged > c->clients[i].heard + CHAT_BEHIND_MAX) return true;
    return false;
}

void chat_tick(chat *c, bool may_send)
{
    c->ticks++;
    may_send = may_send && !is_somebody_far_behind(c);
    gr_arena_reset(c->turn);
    for (unsigned i = 0; i < CHAT_CLIENTS; i++) {
        chat_write(c, &c->clients[i], may_send);
        chat_token_turn(c, &c->clients[i], may_send);
        chat_read(c, &c->clients[i]);
    }
    for (unsigned i = 0; i < CHAT_PEOPLE; i++) chat_person_turn(c, &c->people[i], may_send);
    gr_sim_run(c->sim, 1);
}

bool chat_quiet(const chat *c)
{
    for (unsigned i = 0; i < CHAT_CLIENTS; i++)
        if (chat_writes_open(&c->clients[i]) || chat_token_open(&c->clients[i]) || c->clients[i].parts_left) return false;
    for (unsigned i = 0; i < CHAT_PEOPLE; i++)
        if (c->people[i].step != CHAT_SSO_IDLE) return false;
    return true;
}
