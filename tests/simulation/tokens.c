/* tokens.c - logging in and out, and what edges remember of tokens. See chat.h.
 *
 * Each client logs a second device in, uses its token on any node as the edge there does (from memory while it holds a
 * lease), logs it out, and from the moment of that answer no node may take the token any more.
 */
#include "tests/simulation/chat.h"

#include <string.h>

enum { LOGIN_ONE_IN = 50, CHECKS = 6 };

static gr_str device_of(chat *c, const chat_token *t) { return gr_arena_printf(c->turn, "T%u", t->number); }

/* --- the edges' memory -------------------------------------------------------------------------------------------- */
static bool is_remembered(chat *c, const chat_token *t, unsigned node)
{
    return gr_sim_is_up(c->sim, node) && t->lease_start[node] == gr_sim_starts(c->sim, node)
           && t->lease_until_ms[node] > gr_sim_node_now(c->sim, node);
}

bool chat_edge_ask(void *arg, unsigned node, const gr_type *type, const void *body)
{
    chat *c = arg;
    const gr_token_forget *m = body;
    if (type != &gr_type_token_forget) return false;
    for (unsigned i = 0; i < CHAT_CLIENTS; i++) {
        chat_token *t = &c->clients[i].token;
        if (gr_str_eq(m->hash, gr_str_of(t->hash, sizeof t->hash))) t->lease_until_ms[node] = 0;
    }
    return true;
}

/* --- the steps ---------------------------------------------------------------------------------------------------- */
static void login_now(chat *c, chat_client *client)
{
    gr_user_login m = {.device = device_of(c, &client->token)};
    chat_ask(c, &client->token.errand, chat_node(c), chat_address(c, GR_KIND_USER, client->user), &gr_type_user_login, &m);
}

static void logout_now(chat *c, chat_client *client)
{
    gr_str device = device_of(c, &client->token);
    gr_user_logout m = {.devices = {&device, 1}};
    chat_ask(c, &client->token.errand, chat_node(c), chat_address(c, GR_KIND_USER, client->user), &gr_type_user_logout, &m);
}

static void check_now(chat *c, chat_client *client)
{
    chat_token *t = &client->token;
    gr_token_check m = {.hash = gr_str_of(t->hash, sizeof t->hash)};
    t->node = chat_node(c);
    t->asked_ms = gr_sim_node_now(c->sim, t->node);
    chat_ask(c, &t->errand, t->node, gr_address_of_shard(c->turn, GR_KIND_TOKEN, t->shard), &gr_type_token_check, &m);
}

static void ask_now(chat *c, chat_client *client)
{
    if (client->token.step == CHAT_LOGIN) login_now(c, client);
    else if (client->token.step == CHAT_LOGOUT) logout_now(c, client);
    else check_now(c, client);
}

static void on_login(chat_token *t, const gr_token_pair *pair)
{
    gr_assert(gr_token_read(pair->access, GR_TOKEN_ACCESS, &t->shard));
    gr_token_hash(pair->access, t->hash);
    memset(t->lease_until_ms, 0, sizeof t->lease_until_ms);
    t->step = CHAT_USE;
    t->left = CHECKS;
}

static void on_logout(chat *c, chat_client *client)
{
    chat_token *t = &client->token;
    for (unsigned node = 0; node < c->nodes; node++)
        if (is_remembered(c, t, node))
            chat_problem(c, "node %u still takes a token of %s that was logged out", node, client->user);
    t->step = CHAT_AFTER;
    t->left = CHECKS;
    c->logouts++;
}

static void on_owner(chat *c, chat_client *client, const gr_token_owner *owner)
{
    chat_token *t = &client->token;
    if (t->step == CHAT_AFTER) chat_problem(c, "a token of %s was good after it was logged out", client->user);
    if (!gr_str_is(owner->user, client->user)) chat_problem(c, "a token of %s is somebody else's", client->user);
    t->lease_until_ms[t->node] = t->asked_ms + owner->lease_ms;
    t->lease_start[t->node] = gr_sim_starts(c->sim, t->node);
}

static void on_answer(chat *c, chat_client *client, const gr_type *type, const void *body, gr_err err)
{
    chat_token *t = &client->token;
    if (t->step == CHAT_USE && t->may_be_replaced && err.code == GR_UNKNOWN_TOKEN) {
        t->step = CHAT_LOGIN;      /* a repeated login came late, and gave the device another token */
        return;
    }
    bool wanted = (t->step == CHAT_LOGIN && type == &gr_type_token_pair) || (t->step == CHAT_LOGOUT && type == &gr_type_done)
                  || type == &gr_type_token_owner || (t->step == CHAT_AFTER && err.code == GR_UNKNOWN_TOKEN);
    if (!wanted) {
        chat_problem(c, "a token of %s: %s", client->user, gr_failed(err) ? err.text : type->name);
        return;
    }
    if (type == &gr_type_token_pair) {
        on_login(t, body);
        return;
    }
    if (type == &gr_type_done) {
        on_logout(c, client);
        return;
    }
    if (type == &gr_type_token_owner) on_owner(c, client, body);
    c->checks++;
    if (--t->left > 0) return;
    t->step = t->step == CHAT_USE ? CHAT_LOGOUT : CHAT_LOGIN;
}

/* Edges that remember the token answer from memory and ask nobody. */
static void use_memory(chat *c, chat_token *t)
{
    if (is_remembered(c, t, chat_node(c))) c->remembered++;
}

void chat_token_turn(chat *c, chat_client *client, bool may_begin)
{
    chat_token *t = &client->token;
    const gr_type *type = NULL;
    const void *body = NULL;
    gr_err err = gr_ok();
    if (!t->errand.open) {
        if (t->step == CHAT_LOGIN && (!may_begin || !chat_chance(c, LOGIN_ONE_IN))) return;
        if (t->step == CHAT_LOGIN) {
            t->number++;
            t->may_be_replaced = c->may_double;
        }
        use_memory(c, t);
        ask_now(c, client);
        return;
    }
    chat_turn turn = chat_turn_of(c, &t->errand, &type, &body, &err);
    if (turn == CHAT_ASK && t->step == CHAT_LOGIN) t->may_be_replaced = true;
    if (turn == CHAT_ASK) ask_now(c, client);
    if (turn == CHAT_DONE) on_answer(c, client, type, body, err);
}

bool chat_token_open(const chat_client *client) { return client->token.step != CHAT_LOGIN || client->token.errand.open; }
