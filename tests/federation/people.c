/* people.c - users of all servers, who ask again until there is an answer to rely on. See fed.h. */
#include "tests/federation/fed.h"

#include "proto/json.h"
#include "proto/uri.h"

#include <stdio.h>

enum {
    AGAIN_MS = 3000, CALL_TRIES = 200, JOIN_TRIES = 5,
    OPEN_ROOMS = 2             /* everybody is in these from the beginning */
};

static const char *const versions[FED_ROOMS] = {"12", "11", "12", "10"};

static bool is_first(const fed *f, const fed_user *u) { return u - f->users < FED_SERVERS; }
static unsigned index_of(const fed *f, const fed_user *u) { return (unsigned)(u - f->users); }

const fed_user *fed_member_of(const fed *f, unsigned server, unsigned room)
{
    for (unsigned i = 0; i < FED_USERS; i++)
        if (f->users[i].server == server && f->users[i].is_in[room]) return &f->users[i];
    return NULL;
}

gr_str fed_room_uri(fed *f, unsigned room, const char *rest)
{
    return gr_arena_printf(f->turn, "/_matrix/client/v3/rooms/%" GR_FMT "/%s",
                           GR_ARG(gr_uri_encode(f->turn, gr_str_c(f->rooms[room]))), rest);
}

/* --- one thing after the other, waiting for it ----------------------------------------------------------------------- */
static bool may_pass(unsigned status) { return status == 0 || status == 429 || status >= 500; }

const gr_json *fed_call(fed *f, const fed_user *u, const char *method, gr_str uri, gr_str body, unsigned *status)
{
    const gr_json *json = NULL;
    *status = 0;
    for (int tries = 0; tries < CALL_TRIES && may_pass(*status) && !f->problem[0]; tries++) {
        uint64_t number = fed_client(f, u->server, u->token, method, uri, body);
        while (!fed_answer(f, number, status, &json)) fed_step(f, f->now_ms + AGAIN_MS);
        if (may_pass(*status)) fed_step(f, f->now_ms + AGAIN_MS);
    }
    return json;
}

/* --- accounts and rooms ---------------------------------------------------------------------------------------------- */
static const void *ask(fed *f, const fed_user *u, const gr_type *type, const void *body, const gr_type *want)
{
    gr_str to = gr_address(f->turn, GR_KIND_USER, gr_str_c(u->id));
    for (int tries = 0; tries < CALL_TRIES; tries++) {
        gr_err err;
        const void *answer = fed_ask(f, u->server, to, type, body, AGAIN_MS, want, &err);
        if (answer || err.code == GR_USER_IN_USE) return answer;       /* made by a try whose answer was lost */
    }
    fed_problem(f, "setup: %s of %s", type->name, u->id);
    return NULL;
}

static void make_account(fed *f, fed_user *u)
{
    snprintf(u->id, sizeof u->id, "@u%u:%s", index_of(f, u), f->servers[u->server].name);
    ask(f, u, &gr_type_user_create, &(gr_user_create){.password_hash = GR_STR("none")}, &gr_type_done);
    const gr_token_pair *pair = ask(f, u, &gr_type_user_login, &(gr_user_login){.device = GR_STR("D")}, &gr_type_token_pair);
    if (pair) text_copy(u->token, sizeof u->token, pair->access);
}

static gr_str room_request(fed *f, unsigned room)
{
    gr_buf b = {0};
    gr_jw w = gr_jw_begin(&b);
    gr_jw_object(&w);
    gr_jw_kc(&w, "preset", "public_chat");
    gr_jw_kc(&w, "room_version", versions[room]);
    gr_jw_key(&w, "power_level_content_override");
    gr_jw_object(&w);
    gr_jw_key(&w, "users");
    gr_jw_object(&w);
    bool has_creators = versions[room][1] == '2';      /* whose power is no number */
    for (unsigned i = 0; i < FED_SERVERS; i++)
        if (i != room || !has_creators) gr_jw_kint(&w, f->users[i].id, i == room ? 100 : 50);
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(f->turn, gr_buf_view(&b));
    gr_buf_free(&b);
    return text;
}

static gr_str join_uri(fed *f, const fed_user *u)
{
    gr_str uri = gr_arena_printf(f->turn, "/_matrix/client/v3/join/%" GR_FMT,
                                 GR_ARG(gr_uri_encode(f->turn, gr_str_c(f->rooms[u->room]))));
    for (unsigned i = 0; i < FED_SERVERS; i++)         /* the room's maker is the best to ask */
        uri = gr_arena_printf(f->turn, "%" GR_FMT "%cserver_name=s%u", GR_ARG(uri), i ? '&' : '?', (u->room + i) % FED_SERVERS);
    return uri;
}

/* A server that has just failed is left alone for some seconds, and the others do not know the room. */
static void join_now(fed *f, fed_user *u, unsigned room)
{
    unsigned status = 404;
    const gr_json *body = NULL;
    u->room = room;
    for (int tries = 0; tries < JOIN_TRIES && status == 404; tries++) {
        for (uint64_t until_ms = f->now_ms + tries * AGAIN_MS; f->now_ms < until_ms;) fed_step(f, until_ms);
        body = fed_call(f, u, "POST", join_uri(f, u), GR_STR("{}"), &status);
    }
    if (status != 200) fed_problem(f, "setup: %s could not join room %u: %u %" GR_FMT, u->id, room, status,
                                   GR_ARG(gr_json_text(body, "error")));
    u->is_in[room] = true;
}

void fed_people_open(fed *f)
{
    unsigned status = 0;
    for (unsigned i = 0; i < FED_USERS; i++) {
        f->users[i] = (fed_user){.server = i % FED_SERVERS, .next_ms = UINT64_MAX};
        make_account(f, &f->users[i]);
    }
    for (unsigned room = 0; room < FED_ROOMS && !f->problem[0]; room++) {
        const gr_json *made = fed_call(f, &f->users[room], "POST", GR_STR("/_matrix/client/v3/createRoom"), room_request(f, room),
                                       &status);
        if (status != 200) fed_problem(f, "setup: room %u could not be made: %u", room, status);
        else text_copy(f->rooms[room], FED_ID_MAX, gr_json_text(made, "room_id"));
        f->users[room].is_in[room] = true;
        for (unsigned i = 0; i < FED_SERVERS && !f->problem[0]; i++)
            if (i != room && (room < OPEN_ROOMS || i == (room + 1) % FED_SERVERS)) join_now(f, &f->users[i], room);
    }
    for (unsigned i = 0; i < FED_USERS; i++) f->users[i].next_ms = f->now_ms;
}

/* --- acts ------------------------------------------------------------------------------------------------------------ */
static gr_str direct_uri(fed *f, const fed_user *u)
{
    return gr_arena_printf(f->turn, "/_matrix/client/v3/sendToDevice/org.sim.direct/d%u", u->number);
}

static void ask_now(fed *f, fed_user *u)
{
    gr_arena *a = f->turn;
    const char *method = u->act == FED_JOIN || u->act == FED_LEAVE ? "POST" : "PUT";
    gr_str uri = {0}, body = GR_STR("{}");
    switch (u->act) {
    case FED_SAY:
        uri = fed_room_uri(f, u->room, gr_arena_printf(a, "send/m.room.message/m%u", u->number).ptr);
        body = gr_arena_printf(a, "{\"msgtype\":\"m.text\",\"body\":\"%s %u\"}", u->id, u->number);
        break;
    case FED_TOPIC:
        uri = fed_room_uri(f, u->room, u->number % 2 ? "state/m.room.topic/" : "state/m.room.name/");
        body = gr_arena_printf(a, "{\"%s\":\"%s %u\"}", u->number % 2 ? "topic" : "name", u->id, u->number);
        break;
    case FED_JOIN: uri = join_uri(f, u); break;
    case FED_LEAVE: uri = fed_room_uri(f, u->room, "leave"); break;
    case FED_DIRECT:
        uri = direct_uri(f, u);
        body = gr_arena_printf(a, "{\"messages\":{\"%s\":{\"D\":{\"n\":%u}}}}", f->users[u->to].id, u->direct_sent[u->to]);
        break;
    }
    u->request = fed_client(f, u->server, u->token, method, uri, body);
}

static void choose(fed *f, fed_user *u)
{
    unsigned dice = (unsigned)(fed_random(f) % 10);
    u->number++;
    u->room = (unsigned)(fed_random(f) % FED_ROOMS);
    u->to = (unsigned)(fed_random(f) % FED_USERS);
    if (dice < 2) u->act = FED_DIRECT;
    else if (!u->is_in[u->room]) u->act = FED_JOIN;
    else if (dice == 2 && is_first(f, u)) u->act = FED_TOPIC;
    else if (dice == 3 && !is_first(f, u)) u->act = FED_LEAVE;
    else u->act = FED_SAY;
    if (u->act == FED_DIRECT) u->direct_sent[u->to]++;
    u->is_busy = true;
}

static void remember(fed *f, const fed_user *u, const gr_json *body)
{
    if (f->said_count == FED_SAID_MAX) {
        fed_problem(f, "too many events for this test");
        return;
    }
    fed_said *said = &f->said[f->said_count++];
    *said = (fed_said){.room = u->room, .server = u->server};
    text_copy(said->id, FED_ID_MAX, gr_json_text(body, "event_id"));
}

static void done(fed *f, fed_user *u, const gr_json *body)
{
    u->is_busy = false;
    switch (u->act) {
    case FED_SAY:
    case FED_TOPIC:
        remember(f, u, body);
        f->n.said++;
        break;
    case FED_JOIN:
    case FED_LEAVE:
        u->is_in[u->room] = u->act == FED_JOIN;
        f->n.moves++;
        break;
    case FED_DIRECT: f->n.directs++; break;
    }
}

/* Joins may be refused by servers that are not in the room themselves, and what one says by a room that has not heard of one's
 * join, or knows of another state. */
static void refused(fed *f, fed_user *u, unsigned status, const gr_json *body)
{
    gr_str why = gr_json_text(body, "error");
    u->is_busy = false;
    f->n.refused++;
    if (u->act == FED_JOIN && (status == 403 || status == 404)) return;
    fed_problem(f, "act %d of %s in room %u was refused: %u %" GR_FMT, u->act, u->id, u->room, status, GR_ARG(why));
}

static uint64_t pause(fed *f) { return f->act_every_ms / 2 + fed_random(f) % (f->act_every_ms + 1); }

static void hear(fed *f, fed_user *u)
{
    unsigned status = 0;
    const gr_json *body = NULL;
    if (!fed_answer(f, u->request, &status, &body)) return;
    u->request = 0;
    if (may_pass(status)) {
        u->next_ms = f->now_ms + 1 + fed_random(f) % (AGAIN_MS + f->act_every_ms);
        return;
    }
    if (status == 200) done(f, u, body);
    else refused(f, u, status, body);
    u->next_ms = f->now_ms + pause(f);
}

static void begin(fed *f, fed_user *u)
{
    if (!u->is_busy && f->act_every_ms == 0) {
        u->next_ms = UINT64_MAX;
        return;
    }
    if (!u->is_busy) choose(f, u);
    ask_now(f, u);
}

void fed_people_act(fed *f, uint64_t every_ms)
{
    f->act_every_ms = every_ms;
    for (unsigned i = 0; i < FED_USERS; i++)
        if (every_ms && !f->users[i].request) f->users[i].next_ms = f->now_ms + pause(f);
}

uint64_t fed_people_next_ms(const fed *f)
{
    uint64_t next_ms = UINT64_MAX;
    for (unsigned i = 0; i < FED_USERS; i++)
        if (!f->users[i].request && f->users[i].next_ms < next_ms) next_ms = f->users[i].next_ms;
    return next_ms;
}

void fed_people_step(fed *f)
{
    for (unsigned i = 0; i < FED_USERS; i++) {
        fed_user *u = &f->users[i];
        if (u->request) hear(f, u);
        else if (u->next_ms <= f->now_ms) begin(f, u);
    }
}

bool fed_people_quiet(const fed *f)
{
    for (unsigned i = 0; i < FED_USERS; i++)
        if (f->users[i].is_busy) return false;
    return true;
}

void fed_all_say_something(fed *f)
{
    for (unsigned i = 0; i < FED_USERS; i++)
        for (unsigned room = 0; room < FED_ROOMS && !f->problem[0]; room++) {
            fed_user *u = &f->users[i];
            unsigned status = 0;
            if (!u->is_in[room]) continue;
            u->number++;
            u->room = room;
            gr_str uri = fed_room_uri(f, room, gr_arena_printf(f->turn, "send/m.room.message/m%u", u->number).ptr);
            const gr_json *body = fed_call(f, u, "PUT", uri, GR_STR("{\"msgtype\":\"m.text\",\"body\":\"last\"}"), &status);
            if (status == 200) remember(f, u, body);
            else fed_problem(f, "healed: %s could not say anything in room %u: %u", u->id, room, status);
        }
}
