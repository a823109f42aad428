/* routes_keys.c - keys of devices, cross-signing and to-device messages; keys/query is in routes_keys_query.c. See call.h;
 * client-server API, "End-to-end encryption".
 *
 * Keys of several users are claimed from their actors in parallel, those of users of other servers from these servers, each
 * of which fails alone.  Other servers claim from this one, of its own users only.
 */
#include "edge/fan.h"
#include "edge/remote.h"
#include "edge/routes.h"
#include "edge/splice.h"
#include "edge/sync.h"
#include "edge/uia.h"

#include "actors/user/keys.h"
#include "proto/ident.h"

enum { SEND_USERS = 64, SEND_BYTES = 256 * 1024 };

static gr_str user_address(gr_call *call, gr_str user) { return gr_call_address(call, GR_KIND_USER, user); }
static bool is_local(gr_call *call, gr_str user)
{
    return gr_ident_is_local(user, gr_call_server_name(call));
}

/* --- upload ------------------------------------------------------------------------------------------------ */
static void serve_upload(gr_call *call)
{
    gr_user_keys_upload m = {.device = call->device, .body = call->text};
    gr_call_pass(call, user_address(call, call->user), &gr_type_user_keys_upload, &m);
}

static void serve_upload_device(gr_call *call)
{
    if (gr_str_eq(gr_call_param(call, "deviceId"), call->device)) serve_upload(call);
    else gr_call_fail_with(call, GR_INVALID_PARAM, "Keys can be uploaded only for the device that asks");
}

/* --- claim ------------------------------------------------------------------------------------------------- */
typedef struct {
    gr_str user;
    gr_strs devices, algorithms;
    gr_str claimed;
} claim_part;
typedef struct {
    gr_fan fan;
    const gr_json *wanted;
    claim_part *parts;
    size_t count;
    gr_remote_parts remote;
} claim;

static void claim_answer(gr_call *call)
{
    claim *s = call->state;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "one_time_keys");
    gr_jw_object(&w);
    for (size_t i = 0; i < s->count;) {
        gr_str user = s->parts[i].user, all = {0};
        for (; i < s->count && gr_str_eq(s->parts[i].user, user); i++)
            all = gr_splice_joined(call, all, s->parts[i].claimed);
        if (all.size) {
            gr_jw_key_str(&w, user);
            gr_jw_raw(&w, gr_splice_object(call, all));
        }
    }
    gr_remote_parts_write(&w, &s->remote, "one_time_keys");
    gr_jw_end_object(&w);
    if (call->user.size) gr_remote_parts_failures(&w, &s->remote);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

/* What cannot be claimed is left out: keys that others gave already must still reach the one who asks. */
static void claimed(gr_call *call, const gr_answer *answer)
{
    claim *s = call->state;
    if (!gr_failed(answer->err) && answer->type == &gr_type_result)
        s->parts[answer->number].claimed =
            gr_call_keep(call, gr_splice_inside(((const gr_result *)answer->body)->body));
    gr_fan_answered(&s->fan, call);
}

static void remote_claimed(gr_call *call, const gr_answer *answer)
{
    claim *s = call->state;
    gr_remote_part_told(call, &s->remote.at[answer->number], answer);
    gr_fan_answered(&s->fan, call);
}

static void claim_one(gr_call *call, size_t number)
{
    claim *s = call->state;
    if (number >= s->count) {
        gr_remote_part_ask(call, &s->remote, number - s->count, "/_matrix/federation/v1/user/keys/claim", "one_time_keys",
                           s->wanted, remote_claimed);
        return;
    }
    const claim_part *p = &s->parts[number];
    gr_user_keys_claim m = {.devices = p->devices, .algorithms = p->algorithms};
    gr_call_ask_more(call, user_address(call, p->user), &gr_type_user_keys_claim, &m, claimed, number,
                     GR_CALL_TIMEOUT_MS, false);
}

static bool add_claims(gr_call *call, claim *s, gr_str user, const gr_json *devices)
{
    claim_part *p = NULL;
    for (uint32_t i = 0; i < devices->count; i++) {
        const gr_json *algorithm = &devices->members[i].value;
        if (!gr_json_is(algorithm, GR_JSON_STRING)) return false;
        if (i % GR_CLAIM_MAX == 0) {
            p = &s->parts[s->count++];
            *p = (claim_part){.user = user,
                              .devices = {gr_arena_alloc(call->arena, GR_CLAIM_MAX * sizeof(gr_str)), 0},
                              .algorithms = {gr_arena_alloc(call->arena, GR_CLAIM_MAX * sizeof(gr_str)), 0}};
        }
        p->devices.at[p->devices.count++] = devices->members[i].key;
        p->algorithms.at[p->algorithms.count++] = algorithm->string;
    }
    return true;
}

void gr_routes_serve_keys_claim(gr_call *call)
{
    claim *s = call->state = gr_arena_alloc(call->arena, sizeof *s);
    size_t most = 0;
    bool good = true;
    if (!gr_call_want(call, "one_time_keys", GR_JSON_OBJECT, &s->wanted)) return;
    for (uint32_t i = 0; i < s->wanted->count; i++) {
        good = good && gr_json_is(&s->wanted->members[i].value, GR_JSON_OBJECT);
        most += good ? s->wanted->members[i].value.count / GR_CLAIM_MAX + 1 : 0;
    }
    s->parts = gr_arena_alloc(call->arena, most * sizeof *s->parts);
    for (uint32_t i = 0; i < s->wanted->count && good; i++) {
        const gr_json_member *m = &s->wanted->members[i];
        if (gr_ident_user(m->key) && is_local(call, m->key)) good = add_claims(call, s, m->key, &m->value);
    }
    if (!good) {
        gr_call_fail_with(call, GR_BAD_JSON,
                          "'one_time_keys' must have the name of an algorithm for each device of each user");
        return;
    }
    if (call->user.size) s->remote = gr_remote_parts_of(call, s->wanted);
    s->fan = (gr_fan){.count = s->count + s->remote.count, .ask = claim_one, .finish = claim_answer};
    gr_fan_go(&s->fan, call);
}

/* --- changes ----------------------------------------------------------------------------------------------- */
static void serve_changes(gr_call *call)
{
    gr_str from, to;
    if (gr_call_query(call, "from", &from) && from.size && gr_call_query(call, "to", &to) && to.size)
        gr_sync_key_changes(call, from); /* up to now: what is reported twice does no harm */
    else gr_call_fail_with(call, GR_MISSING_PARAM, "'from' and 'to' are needed");
}

/* --- cross-signing ----------------------------------------------------------------------------------------- */
static gr_user_cross_signing cross_signing_of(gr_call *call, bool is_authenticated)
{
    gr_buf body = {0};
    gr_json_print_without(&body, call->json, (const char *const[]){"auth", NULL});
    gr_user_cross_signing m = {.body = gr_call_keep(call, gr_buf_view(&body)),
                               .is_authenticated = is_authenticated};
    gr_buf_free(&body);
    return m;
}

static void put_cross_signing(gr_call *call)
{
    gr_user_cross_signing m = cross_signing_of(call, true);
    gr_call_pass(call, user_address(call, call->user), &gr_type_user_cross_signing, &m);
}

static void cross_signing_judged(gr_call *call, const gr_answer *answer)
{
    if (!gr_failed(answer->err) && answer->type == &gr_type_user_auth_needed)
        gr_uia_check_oauth(call, put_cross_signing);
    else gr_call_passed(call, answer);
}

/* The actor says whether these keys may be put without authentication. */
static void serve_cross_signing(gr_call *call)
{
    gr_user_cross_signing m = cross_signing_of(call, false);
    gr_call_ask(call, user_address(call, call->user), &gr_type_user_cross_signing, &m, cross_signing_judged);
}

typedef struct {
    gr_fan fan;
    gr_strs others;
    gr_str masters;        /* members of an object: user -> master key */
} signing;

static void signatures_put(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err) || answer->type != &gr_type_result) {
        gr_call_passed(call, answer);
        return;
    }
    gr_str failures = ((const gr_result *)answer->body)->body;
    gr_call_json(call, 200,
                 gr_arena_cat(call->arena, 3, (gr_str[]){GR_STR("{\"failures\":"), failures, GR_STR("}")}));
}

static void put_signatures(gr_call *call)
{
    signing *s = call->state;
    gr_user_sign m = {.body = call->text, .masters = gr_splice_object(call, s->masters)};
    gr_call_ask(call, user_address(call, call->user), &gr_type_user_sign, &m, signatures_put);
}

static void add_master(gr_call *call, size_t number, gr_str master)
{
    signing *s = call->state;
    gr_buf one = {0};
    gr_jw w = gr_jw_begin(&one);
    gr_jw_object(&w);
    gr_jw_key_str(&w, s->others.at[number]);
    gr_jw_raw(&w, master);
    gr_jw_end_object(&w);
    s->masters = gr_splice_joined(call, s->masters, gr_splice_inside(gr_buf_view(&one)));
    gr_buf_free(&one);
}

static void remote_master_known(gr_call *call, const gr_answer *answer)
{
    signing *s = call->state;
    gr_remote_part part = {0};
    gr_remote_part_told(call, &part, answer);
    const gr_json *master = gr_json_get_str(gr_json_get(part.answer, "master_keys"), s->others.at[answer->number]);
    if (gr_json_is(master, GR_JSON_OBJECT)) add_master(call, answer->number, gr_json_printed(call->arena, master));
    gr_fan_answered(&s->fan, call);
}

static void ask_server_for_master(gr_call *call, gr_str user, uint64_t number)
{
    gr_buf body = {0};
    gr_jw w = gr_jw_begin(&body);
    gr_jw_object(&w);
    gr_jw_key(&w, "device_keys");
    gr_jw_object(&w);
    gr_jw_key_str(&w, user);
    gr_jw_raw(&w, GR_STR("[]"));
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_remote_ask(call, gr_ident_domain(user), "POST", GR_STR(GR_REMOTE_KEYS_QUERY), gr_buf_view(&body), remote_master_known,
                  number);
    gr_buf_free(&body);
}

/* What is not cached of a user of another server that server is asked for. */
static void master_known(gr_call *call, const gr_answer *answer)
{
    signing *s = call->state;
    gr_str user = s->others.at[answer->number];
    if (gr_failed(answer->err) && !is_local(call, user)) {
        ask_server_for_master(call, user, answer->number);
        return;
    }
    const gr_user_keys *k =
        !gr_failed(answer->err) && answer->type == &gr_type_user_keys ? answer->body : NULL;
    if (k && k->master.size) add_master(call, answer->number, k->master);
    gr_fan_answered(&s->fan, call);
}

static void ask_master(gr_call *call, size_t number)
{
    signing *s = call->state;
    gr_call_ask_more(call, gr_call_user_address(call, s->others.at[number]), &gr_type_user_keys_query,
                     &(gr_user_keys_query){0}, master_known, number, GR_CALL_TIMEOUT_MS, false);
}

static void serve_signatures(gr_call *call)
{
    signing *s = call->state = gr_arena_alloc(call->arena, sizeof *s);
    s->others.at = gr_arena_alloc(call->arena, call->json->count * sizeof(gr_str));
    for (uint32_t i = 0; i < call->json->count; i++) {
        gr_str user = call->json->members[i].key;
        if (!gr_ident_user(user)) {
            gr_call_fail_with(call, GR_INVALID_PARAM, "Signatures must be given for user ids");
            return;
        }
        if (!gr_json_is(&call->json->members[i].value, GR_JSON_OBJECT)) {
            gr_call_fail_with(call, GR_BAD_JSON,
                              "The signatures of a user must be an object of signed objects by key id");
            return;
        }
        if (!gr_str_eq(user, call->user)) s->others.at[s->others.count++] = user;
    }
    s->fan = (gr_fan){.count = s->others.count, .ask = ask_master, .finish = put_signatures};
    gr_fan_go(&s->fan, call);
}

/* --- to-device messages ------------------------------------------------------------------------------------ */
typedef struct {
    gr_fan fan;
    gr_user_to_device *messages;
    size_t count;
    size_t *starts;
} sending;

static void send_part(gr_call *call, size_t number);

static void part_sent(gr_call *call, const gr_answer *answer)
{
    sending *s = call->state;
    if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else gr_fan_answered(&s->fan, call);
}

/* Parts are cut by what is sent alone, so that a repeated request has the same ones. */
static void send_part(gr_call *call, size_t number)
{
    sending *s = call->state;
    size_t from = s->starts[number], to = s->starts[number + 1];
    gr_user_send_to_device m = {.device = call->device,
                                .txn = gr_call_param(call, "txnId"),
                                .part = number,
                                .type = gr_call_param(call, "eventType"),
                                .messages = {&s->messages[from], to - from}};
    gr_call_ask(call, user_address(call, call->user), &gr_type_user_send_to_device, &m, part_sent);
}

static bool read_messages(gr_call *call, sending *s, const gr_json *messages)
{
    for (uint32_t i = 0; i < messages->count; i++) {
        const gr_json_member *m = &messages->members[i];
        bool good = gr_json_is(&m->value, GR_JSON_OBJECT);
        for (uint32_t k = 0; good && k < m->value.count; k++)
            good = gr_json_is(&m->value.members[k].value, GR_JSON_OBJECT);
        if (!good) return false;
        if (gr_ident_user(m->key))
            s->messages[s->count++] =
                (gr_user_to_device){.user = m->key, .devices = gr_json_printed(call->arena, &m->value)};
    }
    return true;
}

static void serve_send(gr_call *call)
{
    sending *s = call->state = gr_arena_alloc(call->arena, sizeof *s);
    const gr_json *messages = NULL;
    size_t bytes = 0, parts = 0;
    if (!gr_call_want(call, "messages", GR_JSON_OBJECT, &messages)) return;
    s->messages = gr_arena_alloc(call->arena, messages->count * sizeof *s->messages);
    s->starts = gr_arena_alloc(call->arena, (messages->count + 2) * sizeof *s->starts);
    if (!read_messages(call, s, messages)) {
        gr_call_fail_with(call, GR_BAD_JSON, "'messages' must have an object for each device of each user");
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        bytes += s->messages[i].devices.size;
        bool full = parts == 0 || i - s->starts[parts - 1] == SEND_USERS || bytes > SEND_BYTES;
        if (!full) continue;
        s->starts[parts++] = i;
        bytes = s->messages[i].devices.size;
    }
    s->starts[parts] = s->count;
    s->fan = (gr_fan){.count = parts, .ask = send_part, .finish = gr_call_empty};
    gr_fan_go(&s->fan, call);
}

#define KEYS "/_matrix/client/(r0|v3|unstable)/keys"

const gr_call_route gr_routes_keys[] = {
    {GR_HTTP_POST, KEYS "/upload", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_KEYS, serve_upload, .guest_ok = true},
    {GR_HTTP_POST, KEYS "/upload/{deviceId}", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_KEYS, serve_upload_device,
     .guest_ok = true},
    {GR_HTTP_POST, KEYS "/query", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_KEYS, gr_routes_serve_keys_query, .guest_ok = true},
    {GR_HTTP_POST, KEYS "/claim", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_KEYS, gr_routes_serve_keys_claim, .guest_ok = true},
    {GR_HTTP_GET, KEYS "/changes", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_KEYS, serve_changes,
     .guest_ok = true},
    {GR_HTTP_POST, KEYS "/device_signing/upload", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_KEYS,
     serve_cross_signing},
    {GR_HTTP_POST, KEYS "/signatures/upload", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_KEYS, serve_signatures},
    {GR_HTTP_PUT, "/_matrix/client/(r0|v3|unstable)/sendToDevice/{eventType}/{txnId}", GR_CALL_TOKEN,
     GR_CALL_JSON, GR_RATE_KEYS, serve_send, .guest_ok = true},
    {.pattern = NULL},
};
