/* routes_keys_query.c - keys of devices and cross-signing keys of users here and elsewhere. Client-server API, "POST
 * /keys/query"; other servers ask the same of this one, for its own users only.
 *
 * All users are asked from their actors in parallel: a remote user has the keys only where a room is shared, so that its
 * server tells of changes.  Then the servers of all others are asked, in parallel too, each of which fails alone.
 */
#include "edge/fan.h"
#include "edge/remote.h"
#include "edge/routes.h"
#include "edge/splice.h"

#include "actors/user/keys.h"
#include "proto/ident.h"

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
    gr_json elsewhere;     /* of those wanted, users whose servers are to be asked */
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

static void write_devices(gr_jw *w, gr_call *call, const queried *q)
{
    gr_jw_key_str(w, q->user);
    gr_jw_raw(w, gr_splice_object(call, q->device_keys));
}

static void query_answer(gr_call *call)
{
    query *s = call->state;
    const gr_json *own = NULL;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_err err = gr_json_parse(call->arena, gr_splice_object(call, s->own_signatures), GR_JSON_LAX, &own);
    for (size_t i = 0; i < s->count && !gr_failed(err); i++)
        if (s->users[i].master.size) s->users[i].master = with_own_signatures(call, own, &s->users[i]);
    gr_jw_object(&w);
    gr_jw_key(&w, "device_keys");
    gr_jw_object(&w);
    for (size_t i = 0; i < s->count; i++)
        if (s->users[i].known) write_devices(&w, call, &s->users[i]);
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
    bool is_here = gr_ident_is_local(q->user, gr_call_server_name(call));
    if (gr_failed(answer->err) && answer->err.code != GR_NOT_FOUND && is_here) {
        gr_call_fail(call, answer->err);
        return;
    }
    if (gr_failed(answer->err)) {
        *q = (queried){.user = q->user, .devices = q->devices};        /* also when it was known a page ago */
    } else if (answer->type == &gr_type_user_keys) {
        const gr_user_keys *k = answer->body;
        bool first = !q->known;
        q->known = true;
        q->device_keys = gr_splice_joined(call, q->device_keys, gr_splice_inside(k->device_keys));
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
    s->own_signatures = gr_splice_joined(call, s->own_signatures, gr_splice_inside(((const gr_result *)answer->body)->body));
    gr_fan_answered(&s->fan, call);
}

static void remote_keys_known(gr_call *call, const gr_answer *answer)
{
    query *s = call->state;
    gr_remote_part_told(call, &s->remote.at[answer->number], answer);
    gr_fan_answered(&s->fan, call);
}

static void ask_server(gr_call *call, size_t number)
{
    const query *s = call->state;
    gr_remote_part_ask(call, &s->remote, number, GR_REMOTE_KEYS_QUERY, "device_keys", &s->elsewhere, remote_keys_known);
}

/* Whom nobody here knows the keys of; who belongs here has none. */
static void ask_servers(gr_call *call)
{
    query *s = call->state;
    gr_json_member *members = gr_arena_alloc(call->arena, s->wanted->count * sizeof *members);
    size_t next = 0;                   /* users are in the same order, without those that are none */
    s->elsewhere = (gr_json){.kind = GR_JSON_OBJECT, .members = members};
    for (uint32_t i = 0; call->user.size && i < s->wanted->count; i++) {
        bool is_asked = next < s->count && gr_str_eq(s->users[next].user, s->wanted->members[i].key);
        if (is_asked && !s->users[next++].known) members[s->elsewhere.count++] = s->wanted->members[i];
    }
    s->remote = gr_remote_parts_of(call, &s->elsewhere);
    s->fan = (gr_fan){.count = s->remote.count, .ask = ask_server, .finish = query_answer};
    gr_fan_go(&s->fan, call);
}

/* First the users, then, in steps, what the asker has signed. */
static void query_one(gr_call *call, size_t number)
{
    query *s = call->state;
    if (number < s->count) {
        const queried *q = &s->users[number];
        gr_user_keys_query m = {
            .devices = q->devices, .after = q->next, .own = gr_str_eq(q->user, call->user)};
        gr_call_ask_more(call, gr_call_user_address(call, q->user), &gr_type_user_keys_query, &m, keys_known, number,
                         GR_CALL_TIMEOUT_MS, false);
        return;
    }
    size_t from = (number - s->count) * GR_SIGNED_USERS_MAX, left = s->others.count - from;
    gr_user_signed m = {
        .users = {s->others.at + from, left < GR_SIGNED_USERS_MAX ? left : GR_SIGNED_USERS_MAX}};
    gr_call_ask(call, gr_call_user_address(call, call->user), &gr_type_user_signed, &m, signatures_known);
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
        if (call->user.size || gr_ident_is_local(q.user, gr_call_server_name(call))) s->users[s->count++] = q;
    }
    s->steps = (s->others.count + GR_SIGNED_USERS_MAX - 1) / GR_SIGNED_USERS_MAX;
    s->fan = (gr_fan){.count = s->count + s->steps, .ask = query_one, .finish = ask_servers};
    gr_fan_go(&s->fan, call);
}
