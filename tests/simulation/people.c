/* people.c - logging in by an identity provider while the node of the login actor dies. See chat.h.
 *
 * A person does as a browser and a client do: begins, comes back from the provider, picks a name where one is asked for, goes
 * back to the client, whose login token makes a device.  What fails is asked for once more, or all is begun again.  At the end
 * each person has one account however often it was begun, and one device for each login token that was spent.
 */
#include "tests/simulation/chat.h"

#include "actors/login/login_token.h"
#include "actors/login/sso.h"
#include "proto/base64.h"
#include "proto/json.h"
#include "proto/sha256.h"

#include <stdio.h>
#include <string.h>

/* A logout takes long when the store refuses a post: it is sent again after some seconds. */
enum { BEGIN_ONE_IN = 60, AGAIN_ONE_IN = 2, KILL_ONE_IN = 1000, DOWN_TICKS = 100, ASK_MS = 1500, SESSIONS = 3,
       LOGOUT_TICKS = 50, LOGOUT_TRIES = 400 };
/* Clocks of two nodes differ by two minutes at most, so no token ends earlier than this. */
enum { TOKEN_LEAST_MS = CHAT_LOGIN_TOKEN_MS - 2 * 60 * 1000 - 1000 };

static unsigned number_of(const chat *c, const chat_person *p) { return (unsigned)(p - c->people); }

static void ask(chat *c, chat_person *p, gr_str to, const gr_type *type, const void *body)
{
    p->errand.open = true;
    p->errand.ask = gr_sim_ask(c->sim, chat_node(c), to, type, body, ASK_MS);
}

static gr_str flow_address(chat *c, const chat_person *p) { return chat_address(c, GR_KIND_LOGIN, p->flow); }

/* --- asking ---------------------------------------------------------------------------------------------------- */
static void begin_now(chat *c, chat_person *p)
{
    gr_sso_begin m = {.provider = chat_provider_of(number_of(c, p)), .redirect_url = GR_STR("https://app/")};
    ask(c, p, flow_address(c, p), &gr_type_sso_begin, &m);
}

static void back_now(chat *c, chat_person *p)
{
    gr_sso_back m = {.provider = chat_provider_of(number_of(c, p)),
                     .code = gr_arena_printf(c->turn, "c%u.%u", number_of(c, p), p->flows)};
    ask(c, p, flow_address(c, p), &gr_type_sso_back, &m);
}

/* The names that a person may have: what the provider says, then what they picked, each time another. */
static gr_str name_of(chat *c, unsigned person, unsigned pick)
{
    if (pick == 0 && person != CHAT_TAKEN) return gr_arena_printf(c->turn, "p%u", person);
    return gr_arena_printf(c->turn, "p%ux%u", person, pick);
}

static void name_now(chat *c, chat_person *p)
{
    gr_sso_name m = {.localpart = name_of(c, number_of(c, p), p->picks)};
    ask(c, p, flow_address(c, p), &gr_type_sso_name, &m);
}

/* The device has a name for each try: two that came of one token would be seen. */
static void spend_now(chat *c, chat_person *p)
{
    gr_login_token m = {.device = gr_arena_printf(c->turn, "S%u.%u", p->tokens, ++p->tries)};
    ask(c, p, gr_login_token_address(c->turn, gr_str_c(p->token)), &gr_type_login_token, &m);
}

static void ask_now(chat *c, chat_person *p)
{
    switch (p->step) {
    case CHAT_SSO_BEGIN: begin_now(c, p); return;
    case CHAT_SSO_BACK: back_now(c, p); return;
    case CHAT_SSO_NAME: name_now(c, p); return;
    case CHAT_SSO_FINISH: ask(c, p, flow_address(c, p), &gr_type_sso_finish, &(gr_sso_finish){0}); return;
    case CHAT_SSO_SPEND:
    case CHAT_SSO_SPENT: spend_now(c, p); return;
    case CHAT_SSO_IDLE: return;
    }
}

static void begin(chat *c, chat_person *p)
{
    p->flows++;
    p->has_code = false;
    p->step = CHAT_SSO_BEGIN;
    p->errand = (chat_errand){0};
    snprintf(p->flow, sizeof p->flow, "flow%u.%u", number_of(c, p), p->flows);
    ask_now(c, p);
}

/* --- answers --------------------------------------------------------------------------------------------------- */
static void go(chat *c, chat_person *p, chat_sso_step step)
{
    p->step = step;
    ask_now(c, p);
}

/* The person logs in at the provider, in one of a few sessions there. */
static void on_go(chat *c, chat_person *p, const gr_sso_go *m)
{
    text_copy(p->nonce, sizeof p->nonce, chat_parameter(m->url, "nonce"));
    text_copy(p->challenge, sizeof p->challenge, chat_parameter(m->url, "code_challenge"));
    snprintf(p->sid, sizeof p->sid, "sid%u.%u", number_of(c, p), p->flows % SESSIONS);
    p->sessions[p->tokens + 1] = (uint8_t)(p->flows % SESSIONS);
    p->has_code = true;
    go(c, p, CHAT_SSO_BACK);
}

static void on_is(chat *c, chat_person *p, const gr_sso_is *is)
{
    if (is->step == GR_SSO_NAMING) {
        p->picks++;
        go(c, p, CHAT_SSO_NAME);
    } else if (is->step == GR_SSO_READY) {
        p->registrations += is->registered;
        if (p->user[0] && !gr_str_is(is->user, p->user))
            chat_problem(c, "person %u was %s and is %" GR_FMT, number_of(c, p), p->user, GR_ARG(is->user));
        text_copy(p->user, sizeof p->user, is->user);
        go(c, p, CHAT_SSO_FINISH);
    } else if (is->step == GR_SSO_FINISHED) {
        gr_str query = gr_str_from(is->url, (size_t)gr_str_find(is->url, '?') + 1);
        text_copy(p->token, sizeof p->token, chat_parameter(query, "loginToken"));
        p->token_ms = gr_sim_now(c->sim);
        p->tokens++;
        p->tries = 0;
        go(c, p, CHAT_SSO_SPEND);
    } else chat_problem(c, "a login is at step %u", (unsigned)is->step);
}

static void on_spent(chat *c, chat_person *p)
{
    p->devices[p->tokens] = 1;
    p->logins++;
    if (p->step == CHAT_SSO_SPEND && chat_chance(c, AGAIN_ONE_IN)) go(c, p, CHAT_SSO_SPENT);
    else p->step = CHAT_SSO_IDLE;
}

static void on_refused(chat *c, chat_person *p, gr_login_refusal why)
{
    bool was_told = p->step == CHAT_SSO_SPENT, is_young = gr_sim_now(c->sim) - p->token_ms < TOKEN_LEAST_MS;
    bool may_be_used = was_told || p->tries > 1 || c->may_double;
    if (why != GR_LOGIN_TOKEN_REUSED ? is_young : !may_be_used)
        chat_problem(c, "a login token of person %u was refused: %d", number_of(c, p), why);
    if (why == GR_LOGIN_TOKEN_REUSED) p->devices[p->tokens] = 1;
    else if (!was_told) p->devices[p->tokens] = CHAT_SSO_UNSURE;
    p->step = CHAT_SSO_IDLE;
}

static void on_answer(chat *c, chat_person *p, const gr_type *type, const void *body, gr_err err)
{
    if (err.code == GR_NOT_FOUND && p->step < CHAT_SSO_SPEND) begin(c, p);     /* this step was taken; its answer was lost */
    else if (gr_failed(err)) chat_problem(c, "person %u can't log in (step %d): %s", number_of(c, p), p->step, err.text);
    else if (type == &gr_type_sso_go) on_go(c, p, body);
    else if (type == &gr_type_sso_is) on_is(c, p, body);
    else if (type == &gr_type_token_pair && p->step == CHAT_SSO_SPEND) on_spent(c, p);
    else if (type == &gr_type_login_refused) on_refused(c, p, ((const gr_login_refused *)body)->why);
    else chat_problem(c, "person %u was answered %s at step %d", number_of(c, p), type->name, p->step);
}

/* --- a turn ---------------------------------------------------------------------------------------------------- */
static void kill_login(chat *c, const chat_person *p)
{
    bool is_flow = p->step < CHAT_SSO_SPEND;
    unsigned node = gr_sim_node_of(c->sim, is_flow ? flow_address(c, p) : gr_login_token_address(c->turn, gr_str_c(p->token)));
    if (!gr_sim_is_up(c->sim, node)) return;
    gr_sim_crash(c->sim, node, 3 + gr_sim_random(c->sim) % DOWN_TICKS);
    c->kills++;
}

void chat_person_turn(chat *c, chat_person *p, bool may_begin)
{
    const gr_type *type = NULL;
    const void *body = NULL;
    gr_err err = gr_ok();
    if (p->step == CHAT_SSO_IDLE) {
        if (may_begin && p->tokens + 1 < CHAT_LOGINS_MAX && chat_chance(c, BEGIN_ONE_IN)) begin(c, p);
        return;
    }
    if (c->may_kill && p->errand.ask && chat_chance(c, KILL_ONE_IN)) kill_login(c, p);
    chat_turn turn = chat_turn_of(c, &p->errand, &type, &body, &err);
    if (turn == CHAT_DONE) on_answer(c, p, type, body, err);
    else if (turn == CHAT_ASK && p->step < CHAT_SSO_SPEND && chat_chance(c, AGAIN_ONE_IN)) begin(c, p);
    else if (turn == CHAT_ASK) ask_now(c, p);
}

/* --- in the end ------------------------------------------------------------------------------------------------ */
static gr_str subject_key(chat *c, unsigned person)
{
    unsigned char hash[GR_SHA256_SIZE];
    gr_str subject = gr_arena_printf(c->arena, "sub%u", person);
    gr_sha256(subject.ptr, subject.size, hash);
    return gr_arena_printf(c->arena, "sso/%" GR_FMT "/%" GR_FMT, GR_ARG(chat_provider_of(person)),
                           GR_ARG(gr_base64_url(c->arena, gr_str_of(hash, sizeof hash))));
}

static const void *answer_of(chat *c, gr_str to, const gr_type *type, const void *body, const gr_type *want)
{
    const void *answer = NULL;
    for (int tries = 0; tries < 50 && !answer; tries++) answer = chat_call(c, to, type, body, want);
    if (!answer) chat_problem(c, "%" GR_FMT " does not answer %s", GR_ARG(to), type->name);
    return answer;
}

static const gr_json *json_of(chat *c, gr_str to, const gr_type *type, const void *body)
{
    const gr_json *json = NULL;
    const gr_result *r = answer_of(c, to, type, body, &gr_type_result);
    return r && !gr_failed(gr_json_parse(c->arena, r->body, GR_JSON_LAX, &json)) ? json : NULL;
}

/* Of all the names that were wanted one is theirs, and the subject stands for it. */
static void check_account(chat *c, const chat_person *p)
{
    unsigned person = number_of(c, p), found = 0;
    gr_str key = subject_key(c, person);
    for (unsigned pick = 0; pick <= p->picks && !c->problem[0]; pick++) {
        gr_str user = gr_arena_printf(c->arena, "@%" GR_FMT ":sim", GR_ARG(name_of(c, person, pick)));
        const gr_user_auth_is *is = answer_of(c, gr_address(c->arena, GR_KIND_USER, user), &gr_type_user_auth_info,
                                              &(gr_user_auth_info){0}, &gr_type_user_auth_is);
        found += is && is->exists;
        if (is && is->exists && !(gr_str_is(user, p->user) && gr_str_eq(is->key, key)))
            chat_problem(c, "person %u is %s, and %" GR_FMT " was made", person, p->user, GR_ARG(user));
    }
    gr_str name = gr_address(c->arena, GR_KIND_NAME, key);
    gr_str known = gr_json_text(json_of(c, name, &gr_type_name_look, &(gr_name_look){0}), "user_id");
    if (found != 1 || p->registrations > 1 || !gr_str_is(known, p->user))
        chat_problem(c, "person %u, who is %s, has %u accounts, made %u times; known as %" GR_FMT, person, p->user, found,
                     p->registrations, GR_ARG(known));
}

static void count_devices(chat *c, const chat_person *p, unsigned found[CHAT_LOGINS_MAX])
{
    unsigned token = 0;
    memset(found, 0, CHAT_LOGINS_MAX * sizeof *found);
    const gr_json *list = gr_json_get(json_of(c, gr_address(c->arena, GR_KIND_USER, gr_str_c(p->user)), &gr_type_user_devices,
                                              &(gr_user_devices){0}), "devices");
    for (uint32_t i = 0; list && i < list->count; i++) {
        gr_str id = gr_json_text(&list->items[i], "device_id");
        if (sscanf(gr_arena_str(c->arena, id).ptr, "S%u.", &token) != 1 || token > p->tokens)
            chat_problem(c, "%s has the device %" GR_FMT ", which nobody logged in", p->user, GR_ARG(id));
        else found[token]++;
    }
}

/* One for each token that was spent, none for any other. */
static void check_devices(chat *c, const chat_person *p, unsigned found[CHAT_LOGINS_MAX])
{
    count_devices(c, p, found);
    for (unsigned token = 1; token <= p->tokens; token++)
        if (p->devices[token] == CHAT_SSO_UNSURE ? found[token] > 1 : found[token] != p->devices[token])
            chat_problem(c, "login token %u of %s made %u devices, and was spent %u times", token, p->user, found[token],
                         p->devices[token]);
}

/* Exactly the devices of a session go when the provider ends it. */
static void check_logout(chat *c, const chat_person *p, const unsigned before[CHAT_LOGINS_MAX])
{
    unsigned after[CHAT_LOGINS_MAX], person = number_of(c, p), late = 1, ended = (unsigned)(gr_sim_random(c->sim) % SESSIONS);
    gr_str to = gr_address(c->arena, GR_KIND_PROVIDER, chat_provider_of(person));
    gr_provider_logout m = {.token = chat_logout_token(c, person, gr_arena_printf(c->arena, "sid%u.%u", person, ended).ptr)};
    answer_of(c, to, &gr_type_provider_logout, &m, &gr_type_done);
    for (int tries = 0; tries < LOGOUT_TRIES && late && !c->problem[0]; tries++) {
        late = 0;
        gr_sim_run(c->sim, LOGOUT_TICKS);
        count_devices(c, p, after);
        for (unsigned token = 1; token <= p->tokens; token++) {
            if (p->sessions[token] == ended) late += after[token];
            else if (after[token] != before[token]) chat_problem(c, "%s lost a device of another session", p->user);
        }
    }
    if (late) chat_problem(c, "%s has %u devices of a session that has ended", p->user, late);
}

void chat_check_people(chat *c)
{
    unsigned devices[CHAT_LOGINS_MAX];
    for (unsigned i = 0; i < CHAT_PEOPLE && !c->problem[0]; i++) {
        if (c->people[i].flows == 0) continue;
        check_account(c, &c->people[i]);
        check_devices(c, &c->people[i], devices);
        check_logout(c, &c->people[i], devices);
    }
}
