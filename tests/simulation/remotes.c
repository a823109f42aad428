/* remotes.c - other servers, scripted: they are in a room, take to-device messages, fail in every way, and forget nothing.
 *
 * A transaction may be taken and its answer lost: then it comes again, and must be the same.  Messages of one sender must
 * come in their order, each once.  Of events nothing that was acknowledged comes again the same way (from the queue, or when
 * catching up), and what is missing in the end must be found by going back from what there is, as servers do.
 */
#include "actors/env.h"
#include "proto/event.h"
#include "proto/json.h"
#include "tests/simulation/chat.h"

#include <stdio.h>
#include <string.h>

enum { FAIL_PERCENT = 25, AWAY_ONE_IN = 12, AWAY_MS = 200000, JOIN_TRIES = 50 };

static const gr_room_version *version(void) { return gr_room_version_find(GR_STR("12")); }

const char *chat_remote_user(chat *c, unsigned remote)
{
    return gr_arena_printf(c->turn, "@r:remote%u", remote).ptr;
}

static void take_message(chat *c, unsigned remote, const gr_json *edu)
{
    const gr_json *content = gr_json_get(edu, "content"), *n;
    unsigned from = 0;
    if (!gr_str_is(gr_json_text(edu, "edu_type"), "m.direct_to_device")) return;       /* receipts and the like may be lost */
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

/* --- events -------------------------------------------------------------------------------------------------- */
static size_t place_of(const chat_remote *r, gr_str id)
{
    size_t i = 0;
    while (i < r->event_count && !gr_str_is(id, r->events[i])) i++;
    return i;
}

static void add_event(chat *c, chat_remote *r, gr_str id)
{
    if (r->event_count == CHAT_EVENTS_MAX) chat_problem(c, "too many events for this test");
    else text_copy(r->events[r->event_count++], CHAT_ID_MAX, id);
}

/* The answer to the newest transaction may be lost with a handler's batch.  It is repeated as it was, unless so much came
 * meanwhile that the queue had to be cut: then its events may come in another one. */
static bool may_come_again(const chat *c, const chat_remote *r, size_t at, char way)
{
    return c->may_forget && r->taken_by[at] == r->newest[way == 'u'];
}

static void take_event(chat *c, unsigned remote, const gr_json *pdu, gr_arena *arena, bool is_new, char way, uint64_t txn)
{
    gr_event e;
    chat_remote *r = &c->remotes[remote];
    if (gr_failed(gr_event_from_json(arena, version(), pdu, &e))) {
        chat_problem(c, "remote%u got what is no event", remote);
        return;
    }
    size_t at = place_of(r, e.event_id);
    if (at == r->event_count) add_event(c, r, e.event_id);
    else if (is_new && way && r->acknowledged[at] == way && !may_come_again(c, r, at, way))
        chat_problem(c, "remote%u got %" GR_FMT " again", remote, GR_ARG(e.event_id));
    if (way) {
        r->acknowledged[at] = way;
        r->taken_by[at] = txn;
    }
    c->remote_events++;
}

/* --- transactions -------------------------------------------------------------------------------------------- */
static size_t transaction_of(const chat_remote *r, uint64_t id)
{
    size_t i = 0;
    while (i < r->count && r->ids[i] != id) i++;
    return i;
}

static void take(chat *c, unsigned remote, const gr_fetch *f, gr_arena *arena, bool acknowledges)
{
    chat_remote *r = &c->remotes[remote];
    const gr_json *body = NULL;
    uint64_t id = gr_str_hash(f->uri), hash = gr_str_hash(f->content);
    size_t at = transaction_of(r, id);
    bool is_new = at == r->count;
    if (at == CHAT_TXNS_MAX || gr_failed(gr_json_parse(arena, f->content, GR_JSON_LAX, &body))) {
        chat_problem(c, "remote%u got too many transactions for this test, or one that is no JSON", remote);
        return;
    }
    if (is_new) r->count++;
    else if (r->bodies[at] != hash) chat_problem(c, "remote%u got a transaction again, and it had changed", remote);
    r->ids[at] = id;
    r->bodies[at] = hash;
    *(is_new ? &c->remote_transactions : &c->remote_repeats) += 1;
    const gr_json *edus = gr_json_get(body, "edus"), *pdus = gr_json_get(body, "pdus");
    char way = acknowledges ? f->uri.ptr[gr_str_find(f->uri, '-') + 1] : 0;        /* e: the queue; u: catching up */
    for (uint32_t i = 0; is_new && i < edus->count; i++) take_message(c, remote, &edus->items[i]);
    for (uint32_t i = 0; (is_new || way) && i < pdus->count; i++) take_event(c, remote, &pdus->items[i], arena, is_new, way, id);
    if (way && pdus->count) r->newest[way == 'u'] = id;
}

/* Each way of failing, with the transaction taken or not. */
static bool fails(chat *c, unsigned remote, const gr_fetch *f, gr_arena *arena, gr_fetched *out)
{
    static const gr_fetched failures[] = {
        {.failure = GR_FETCH_UNREACHABLE}, {.failure = GR_FETCH_TIMEOUT}, {.failure = GR_FETCH_BROKEN},
        {.failure = GR_FETCH_BUSY}, {.failure = GR_FETCH_OFFLINE}, {.status = 500}, {.status = 429},
        {.status = 200, .body = {"<html>", 6}}};
    chat_remote *r = &c->remotes[remote];
    if (c->is_calm) return false;
    if (gr_sim_now(c->sim) < r->away_until_ms) return true;    /* out holds that it can't be reached */
    if (chat_chance(c, AWAY_ONE_IN)) r->away_until_ms = gr_sim_now(c->sim) + gr_sim_random(c->sim) % AWAY_MS;
    if (gr_sim_random(c->sim) % 100 >= FAIL_PERCENT) return false;
    *out = failures[gr_sim_random(c->sim) % (sizeof failures / sizeof failures[0])];
    bool may_have_come = out->failure == GR_FETCH_TIMEOUT || out->failure == GR_FETCH_BROKEN || out->status;
    if (may_have_come && gr_sim_random(c->sim) % 2) take(c, remote, f, arena, false);
    return true;
}

bool chat_remote_answers(void *arg, gr_sim *sim, unsigned node, uint64_t number, const gr_fetch *f, gr_arena *arena,
                         gr_fetched *out)
{
    chat *c = arg;
    unsigned remote = 0;
    (void)sim, (void)node, (void)number;
    if (f->url.size && chat_provider_answers(c, f, arena, out)) return true;
    *out = (gr_fetched){.failure = GR_FETCH_UNREACHABLE, .text = GR_STR("There is no such server")};
    bool is_known = sscanf(gr_arena_str(arena, f->server).ptr, "remote%u", &remote) == 1 && remote < CHAT_REMOTES;
    if (!is_known || !gr_str_starts(f->uri, GR_STR("/_matrix/federation/v1/send/"))) return true;
    if (fails(c, remote, f, arena, out)) return true;
    *out = (gr_fetched){.status = 200, .body = GR_STR("{}")};
    take(c, remote, f, arena, true);
    return true;
}

/* --- joining ------------------------------------------------------------------------------------------------- */
static const void *ask_room(chat *c, const gr_type *type, const void *body, const gr_type *want)
{
    const void *answer = NULL;
    for (int i = 0; i < JOIN_TRIES && !answer; i++)    /* the store may refuse all the same */
        answer = chat_call(c, chat_address(c, GR_KIND_ROOM, c->rooms[CHAT_SHARED]), type, body, want);
    if (!answer) chat_problem(c, "the room did not answer %s", type->name);
    return answer;
}

static void join(chat *c, unsigned remote)
{
    gr_signer signer = *((const gr_env *)chat_env())->signer;
    gr_event_built made;
    const gr_json *told = NULL;
    signer.server_name = gr_arena_printf(c->arena, "remote%u", remote);
    gr_room_template ask = {.origin = signer.server_name, .user = gr_str_c(chat_remote_user(c, remote)),
                            .membership = GR_STR("join")};
    const gr_result *r = ask_room(c, &gr_type_room_template, &ask, &gr_type_result);
    if (!r || gr_failed(gr_json_parse(c->arena, r->body, GR_JSON_LAX, &told))
        || gr_failed(gr_event_sign(c->arena, version(), gr_json_get(told, "event"), &signer, &made))) {
        chat_problem(c, "remote%u got no template", remote);
        return;
    }
    gr_room_offer offer = {.origin = signer.server_name, .event = made.text};
    if (ask_room(c, &gr_type_room_offer, &offer, &gr_type_room_taken)) add_event(c, &c->remotes[remote], made.event_id);
}

void chat_remotes_join(chat *c)
{
    gr_sim_faults(c->sim, false);
    for (unsigned remote = 0; remote < CHAT_REMOTES && !c->problem[0]; remote++) join(c, remote);
    gr_sim_faults(c->sim, true);
}

/* --- in the end ---------------------------------------------------------------------------------------------- */
/* What it can fetch: all that comes before what it has. */
static void go_back(chat *c, chat_remote *r)
{
    for (size_t i = 0; i < r->event_count && !c->problem[0]; i++) {
        gr_event e;
        gr_str id = gr_str_c(r->events[i]);
        gr_room_queued m = {.event_ids = {&id, 1}};
        const gr_room_outgoing *out = ask_room(c, &gr_type_room_queued, &m, &gr_type_room_outgoing);
        if (!out || out->pdus.count == 0 || gr_failed(gr_event_parse(c->arena, version(), out->pdus.at[0].pdu, &e))) continue;
        for (size_t k = 0; k < e.prev_events.count; k++)
            if (place_of(r, e.prev_events.at[k]) == r->event_count) add_event(c, r, e.prev_events.at[k]);
    }
}

void chat_check_remotes(chat *c)
{
    const chat_client *client = &c->clients[0];
    for (unsigned remote = 0; remote < CHAT_REMOTES && !c->problem[0]; remote++) {
        chat_remote *r = &c->remotes[remote];
        go_back(c, r);
        for (size_t i = 0; i < client->seen_count && !c->problem[0]; i++) {
            const chat_event *e = &client->seen[i];
            if (strcmp(e->room, c->rooms[CHAT_SHARED]) == 0 && place_of(r, gr_str_c(e->id)) == r->event_count)
                chat_problem(c, "remote%u neither has %s nor can find it", remote, e->id);
        }
    }
}

/* What came last cannot be found by going back: it has to be sent. */
static bool lacks_newest(const chat *c, const chat_remote *r)
{
    const chat_client *client = &c->clients[0];
    for (size_t i = client->seen_count; i-- > 0;)
        if (strcmp(client->seen[i].room, c->rooms[CHAT_SHARED]) == 0)
            return place_of(r, gr_str_c(client->seen[i].id)) == r->event_count;
    return false;
}

bool chat_remotes_behind(const chat *c)
{
    for (unsigned remote = 0; remote < CHAT_REMOTES; remote++) {
        if (lacks_newest(c, &c->remotes[remote])) return true;
        for (unsigned i = 0; i < CHAT_CLIENTS; i++)
            if (c->remotes[remote].seen[i] < c->clients[i].direct_sent[CHAT_CLIENTS + remote]) return true;
    }
    return false;
}
