/* remotes.c - other servers, scripted: they take to-device messages, fail in every way, and forget nothing.
 *
 * A transaction may be taken and its answer lost: then it comes again, and must be the same.  Messages of one sender must
 * come in their order, each once.
 */
#include "proto/json.h"
#include "tests/simulation/chat.h"

#include <stdio.h>

enum { FAIL_PERCENT = 25 };

const char *chat_remote_user(chat *c, unsigned remote)
{
    return gr_arena_printf(c->turn, "@r:remote%u", remote).ptr;
}

static void take_message(chat *c, unsigned remote, const gr_json *edu)
{
    const gr_json *content = gr_json_get(edu, "content"), *n;
    unsigned from = 0;
    gr_str sender = gr_json_text(content, "sender");
    char user[32];
    snprintf(user, sizeof user, "@r:remote%u", remote);
    n = gr_json_path(gr_json_get_str(gr_json_get(content, "messages"), gr_str_c(user)), "D/n");
    unsigned number = (unsigned)gr_json_integer(n, 0);
    if (sscanf(gr_arena_str(c->turn, sender).ptr, "@u%u:sim", &from) != 1 || from >= CHAT_CLIENTS || number == 0) {
        chat_problem(c, "remote%u got a message that nobody sent", remote);
        return;
    }
    unsigned *seen = &c->remotes[remote].seen[from];
    if (number != *seen + 1)
        chat_problem(c, "remote%u got message %u of %" GR_FMT " after %u", remote, number, GR_ARG(sender), *seen);
    *seen = number;
}

/* True: it has come before. */
static bool is_known(chat *c, unsigned remote, uint64_t id, uint64_t body)
{
    chat_remote *r = &c->remotes[remote];
    for (size_t i = 0; i < r->count; i++) {
        if (r->ids[i] != id) continue;
        if (r->bodies[i] != body) chat_problem(c, "remote%u got a transaction again, and it had changed", remote);
        c->remote_repeats++;
        return true;
    }
    if (r->count == CHAT_TXNS_MAX) chat_problem(c, "remote%u got too many transactions for this test", remote);
    else {
        r->ids[r->count] = id;
        r->bodies[r->count++] = body;
    }
    c->remote_transactions++;
    return false;
}

static void take(chat *c, unsigned remote, const gr_fetch *f, gr_arena *arena)
{
    const gr_json *body = NULL, *edus;
    if (is_known(c, remote, gr_str_hash(f->uri), gr_str_hash(f->content))) return;
    if (gr_failed(gr_json_parse(arena, f->content, GR_JSON_LAX, &body))) chat_problem(c, "remote%u got what is no JSON", remote);
    edus = gr_json_get(body, "edus");
    for (uint32_t i = 0; edus && i < edus->count; i++) take_message(c, remote, &edus->items[i]);
}

/* Each way of failing, with the transaction taken or not. */
static bool fails(chat *c, unsigned remote, const gr_fetch *f, gr_arena *arena, gr_fetched *out)
{
    static const gr_fetched failures[] = {
        {.failure = GR_FETCH_UNREACHABLE}, {.failure = GR_FETCH_TIMEOUT}, {.failure = GR_FETCH_BROKEN},
        {.failure = GR_FETCH_BUSY}, {.failure = GR_FETCH_OFFLINE}, {.status = 500}, {.status = 429},
        {.status = 200, .body = {"<html>", 6}}};
    if (c->is_calm || gr_sim_random(c->sim) % 100 >= FAIL_PERCENT) return false;
    *out = failures[gr_sim_random(c->sim) % (sizeof failures / sizeof failures[0])];
    bool may_have_come = out->failure == GR_FETCH_TIMEOUT || out->failure == GR_FETCH_BROKEN || out->status;
    if (may_have_come && gr_sim_random(c->sim) % 2) take(c, remote, f, arena);
    return true;
}

void chat_remote_answers(void *arg, gr_sim *sim, unsigned node, const gr_fetch *f, gr_arena *arena, gr_fetched *out)
{
    chat *c = arg;
    unsigned remote = 0;
    (void)sim, (void)node;
    *out = (gr_fetched){.failure = GR_FETCH_UNREACHABLE, .text = GR_STR("There is no such server")};
    if (sscanf(gr_arena_str(arena, f->server).ptr, "remote%u", &remote) != 1 || remote >= CHAT_REMOTES) return;
    if (fails(c, remote, f, arena, out)) return;
    *out = (gr_fetched){.status = 200, .body = GR_STR("{}")};
    if (gr_str_starts(f->uri, GR_STR("/_matrix/federation/v1/send/"))) take(c, remote, f, arena);
    else out->status = 404;
}

bool chat_remotes_behind(const chat *c)
{
    for (unsigned remote = 0; remote < CHAT_REMOTES; remote++)
        for (unsigned i = 0; i < CHAT_CLIENTS; i++)
            if (c->remotes[remote].seen[i] < c->clients[i].direct_sent[CHAT_CLIENTS + remote]) return true;
    return false;
}
