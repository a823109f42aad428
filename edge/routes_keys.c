/* routes_keys.c - keys of devices, cross-signing and to-device messages. See call.h; client-server API, "End-to-end
 * encryption".
 *
 * Keys of several users are asked from their actors in parallel, those of users of other servers from these servers, each
 * of which fails alone.  Other servers ask the same of this one, for its own users only.
 */
#include "edge/fan.h"
#include "edge/remote.h"
#include "edge/routes.h"
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

/* An object without its brackets, so that several can be put into one. */
static gr_str inside(gr_str object) { return gr_str_head(gr_str_from(object, 1), object.size - 2); }

static gr_str joined(gr_call *call, gr_str a, gr_str b)
{
    if (a.size == 0 || b.size == 0) return gr_call_keep(call, a.size ? a : b);
    return gr_arena_cat(call->arena, 3, (gr_str[]){a, GR_STR(","), b});
}

static void write_inside(gr_jw *w, gr_call *call, gr_str key, gr_str members)
{
    gr_jw_key_str(w, key);
    gr_jw_raw(w, gr_arena_cat(call->arena, 3, (gr_str[]){GR_STR("{"), members, GR_STR("}")}));
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

/* --- query ------------------------------------------------------------------------------------------------- */
typedef struct {
    gr_str user;
    gr_strs devices;
    bool known;
    gr_str next, device_keys, master, self_signing, user_signing; /* device_keys: members of an object */
} queried;

typedef struct {
    gr_fan fan;
    const gr_json *wanted;
    queried *users;
    size_t count;
    gr_strs others;        /* users who may have keys that the asker has signed */
    size_t steps;          /* in which these are asked for */
    gr_str own_signatures; /* members of an object: user -> key id -> signatures */
    gr_remote_parts remote;
} query;

/* A master key with the signatures that the asker has made on it. */
static gr_str with_own_signatures(gr_call *call, const gr_json *signed_by_user, const queried *q)
{
    const gr_json *master = NULL, *own = gr_json_get_str(signed_by_user, q->user);
    if (!own || own->count == 0 || gr_failed(gr_json_parse(call->arena, q->master, GR_JSON_LAX, &master)))
        return q->master;
    const gr_json *keys = gr_json_get(master, "keys"), *before = gr_json_get(master, "signatures");
    const gr_json *made =
        keys && keys->count ? gr_json_get_str(own, gr_str_from(keys->members[0].key, 8)) : NULL;
    if (!made) return q->master;
    gr_buf out = {0};
    gr_json_print_without(&out, master, (const char *const[]){"signatures", NULL});
    out.size--;
    gr_buf_c(&out, ",\"signatures\":");
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (uint32_t i = 0; before && i < before->count; i++) {
        if (gr_str_eq(before->members[i].key, call->user)) continue;
        gr_jw_key_str(&w, before->members[i].key);
        gr_jw_json(&w, &before->members[i].value);
    }
    gr_jw_key_str(&w, call->user);
    gr_jw_json(&w, made);
    gr_jw_end_object(&w);
    gr_buf_char(&out, '}');
    gr_str text = gr_arena_str(call->arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

/* What other servers said of master keys, with what the asker has signed of it. */
static void write_remote_masters(gr_jw *w, gr_call *call, const query *s, const gr_json *own)
{
    gr_buf text = {0};
    const gr_json *masters = NULL;
    gr_jw inner = gr_jw_begin(&text);
    gr_jw_object(&inner);
    gr_remote_parts_write(&inner, &s->remote, "master_keys");
    gr_jw_end_object(&inner);
    gr_err err = gr_json_parse(call->arena, gr_buf_view(&text), GR_JSON_LAX, &masters);
    for (uint32_t i = 0; !gr_failed(err) && i < masters->count; i++) {
        queried q = {.user = masters->members[i].key, .master = gr_json_printed(call->arena, &masters->members[i].value)};
        gr_jw_key_str(w, q.user);
        gr_jw_raw(w, with_own_signatures(call, own, &q));
    }
    gr_buf_free(&text);
}

static void write_keys(gr_jw *w, const query *s, const char *name, size_t member)
{
    gr_jw_key(w, name);
    gr_jw_object(w);
    for (size_t i = 0; i < s->count; i++) {
        const gr_str *key = (const gr_str *)((const char *)&s->users[i] + member);
        if (key->size == 0) continue;
        gr_jw_key_str(w, s->users[i].user);
        gr_jw_raw(w, *key);
    }
}

static void query_answer(gr_call *call)
{
    query *s = call->state;
    const gr_json *own = NULL;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_str text = gr_arena_cat(call->arena, 3, (gr_str[]){GR_STR("{"), s->own_signatures, GR_STR("}")});
    gr_err err = gr_json_parse(call->arena, text, GR_JSON_LAX, &own);
    for (size_t i = 0; i < s->count && !gr_failed(err); i++)
        if (s->users[i].master.size) s->users[i].master = with_own_signatures(call, own, &s->users[i]);
    gr_jw_object(&w);
    gr_jw_key(&w, "device_keys");
    gr_jw_object(&w);
    for (size_t i = 0; i < s->count; i++)
        if (s->users[i].known) write_inside(&w, call, s->users[i].user, s->users[i].device_keys);
    gr_remote_parts_write(&w, &s->remote, "device_keys");
    gr_jw_end_object(&w);
    write_keys(&w, s, "master_keys", offsetof(queried, master));
    write_remote_masters(&w, call, s, own);
    gr_jw_end_object(&w);
    write_keys(&w, s, "self_signing_keys", offsetof(queried, self_signing));
    gr_remote_parts_write(&w, &s->remote, "self_signing_keys");
    gr_jw_end_object(&w);
    if (call->user.size) {
        write_keys(&w, s, "user_signing_keys", offsetof(queried, user_signing));
        gr_jw_end_object(&w);
        gr_remote_parts_failures(&w, &s->remote);
    }
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static void query_one(gr_call *call, size_t number);

static void keys_known(gr_call *call, const gr_answer *answer)
{
    query *s = call->state;
    queried *q = &s->users[answer->number];
    if (gr_failed(answer->err) && answer->err.code != GR_NOT_FOUND) {
        gr_call_fail(call, answer->err);
        return;
    }
    if (!gr_failed(answer->err) && answer->type == &gr_type_user_keys) {
        const gr_user_keys *k = answer->body;
        bool first = !q->known;
        q->known = true;
        q->device_keys = joined(call, q->device_keys, inside(k->device_keys));
        if (first) {
            q->master = gr_call_keep(call, k->master);
            q->self_signing = gr_call_keep(call, k->self_signing);
            q->user_signing = gr_call_keep(call, k->user_signing);
        }
        q->next = gr_call_keep(call, k->next);
        if (q->next.size) {
            query_one(call, answer->number);
            return;
        }
    }
    gr_fan_answered(&s->fan, call);
}

static void signatures_known(gr_call *call, const gr_answer *answer)
{
    query *s = call->state;
    if (gr_failed(answer->err) || answer->type != &gr_type_result) {
        gr_call_fail(call, gr_failed(answer->err) ? answer->err : gr_fail(GR_UNKNOWN, "No answer"));
        return;
    }
    s->own_signatures = joined(call, s->own_signatures, inside(((const gr_result *)answer->body)->body));
    gr_fan_answered(&s->fan, call);
}

static void remote_keys_known(gr_call *call, const gr_answer *answer)
{
    query *s = call->state;
    gr_remote_part_told(call, &s->remote.at[answer->number], answer);
    gr_fan_answered(&s->fan, call);
}

/* First the users, then, in steps, what the asker has signed, then other servers. */
static void query_one(gr_call *call, size_t number)
{
    query *s = call->state;
    if (number < s->count) {
        const queried *q = &s->users[number];
        gr_user_keys_query m = {
            .devices = q->devices, .after = q->next, .own = gr_str_eq(q->user, call->user)};
        gr_call_ask_more(call, user_address(call, q->user), &gr_type_user_keys_query, &m, keys_known, number,
                         GR_CALL_TIMEOUT_MS, false);
        return;
    }
    if (number >= s->count + s->steps) {
        size_t at = number - s->count - s->steps;
        gr_remote_part_ask(call, &s->remote.at[at], "/_matrix/federation/v1/user/keys/query", "device_keys", s->wanted,
                           remote_keys_known, at);
        return;
    }
    size_t from = (number - s->count) * GR_SIGNED_USERS_MAX, left = s->others.count - from;
    gr_user_signed m = {
        .users = {s->others.at + from, left < GR_SIGNED_USERS_MAX ? left : GR_SIGNED_USERS_MAX}};
    gr_call_ask(call, user_address(call, call->user), &gr_type_user_signed, &m, signatures_known);
}

static bool read_devices(gr_call *call, const gr_json *list, gr_strs *devices)
{
    bool good = gr_json_is(list, GR_JSON_ARRAY);
    *devices = (gr_strs){gr_arena_alloc(call->arena, (good ? list->count : 0) * sizeof(gr_str)), 0};
    for (uint32_t i = 0; good && i < list->count; i++) {
        good = gr_json_is(&list->items[i], GR_JSON_STRING);
        if (good) devices->at[devices->count++] = list->items[i].string;
    }
    if (!good)
        gr_call_fail_with(call, GR_BAD_JSON, "'device_keys' must have an array of device ids for each user");
    return good;
}

void gr_routes_serve_keys_query(gr_call *call)
{
    query *s = call->state = gr_arena_alloc(call->arena, sizeof *s);
    if (!gr_call_want(call, "device_keys", GR_JSON_OBJECT, &s->wanted)) return;
    s->users = gr_arena_alloc(call->arena, s->wanted->count * sizeof *s->users);
    s->others.at = gr_arena_alloc(call->arena, s->wanted->count * sizeof(gr_str));
    for (uint32_t i = 0; i < s->wanted->count; i++) {
        queried q = {.user = s->wanted->members[i].key};
        if (!read_devices(call, &s->wanted->members[i].value, &q.devices)) return;
        if (!gr_ident_user(q.user)) continue;
        if (call->user.size && !gr_str_eq(q.user, call->user)) s->others.at[s->others.count++] = q.user;
        if (is_local(call, q.user)) s->users[s->count++] = q;
    }
    s->steps = (s->others.count + GR_SIGNED_USERS_MAX - 1) / GR_SIGNED_USERS_MAX;
    if (call->user.size) s->remote = gr_remote_parts_of(call, s->wanted);
    s->fan = (gr_fan){.count = s->count + s->steps + s->remote.count, .ask = query_one, .finish = query_answer};
    gr_fan_go(&s->fan, call);
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
            all = joined(call, all, s->parts[i].claimed);
        if (all.size) write_inside(&w, call, user, all);
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
            gr_call_keep(call, inside(((const gr_result *)answer->body)->body));
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
        gr_remote_part_ask(call, &s->remote.at[number - s->count], "/_matrix/federation/v1/user/keys/claim", "one_time_keys",
                           s->wanted, remote_claimed, number - s->count);
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
        gr_uia_check(call, put_cross_signing);
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
    gr_str masters;
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
    gr_user_sign m = {.body = call->text,
                      .masters =
                          gr_arena_cat(call->arena, 3, (gr_str[]){GR_STR("{"), s->masters, GR_STR("}")})};
    gr_call_ask(call, user_address(call, call->user), &gr_type_user_sign, &m, signatures_put);
}

static void master_known(gr_call *call, const gr_answer *answer)
{
    signing *s = call->state;
    const gr_user_keys *k =
        !gr_failed(answer->err) && answer->type == &gr_type_user_keys ? answer->body : NULL;
    if (k && k->master.size) {
        gr_buf one = {0};
        gr_jw w = gr_jw_begin(&one);
        gr_jw_object(&w);
        gr_jw_key_str(&w, s->others.at[answer->number]);
        gr_jw_raw(&w, k->master);
        gr_jw_end_object(&w);
        s->masters = joined(call, s->masters, inside(gr_buf_view(&one)));
        gr_buf_free(&one);
    }
    gr_fan_answered(&s->fan, call);
}

static void ask_master(gr_call *call, size_t number)
{
    signing *s = call->state;
    gr_call_ask_more(call, user_address(call, s->others.at[number]), &gr_type_user_keys_query,
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
        if (!gr_str_eq(user, call->user) && is_local(call, user)) s->others.at[s->others.count++] = user;
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
