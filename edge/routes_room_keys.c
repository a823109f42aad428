/* routes_room_keys.c - the backup of room keys. See call.h; client-server API, "Server-side key backups".
 *
 * Large uploads, answers and deletions go in steps of bounded size, one after the other: each step can be repeated, so a
 * client that asks again after an interruption is answered as if it had asked once.
 */
#include "edge/routes.h"

#include "actors/user/keys.h"

enum { STEP_BYTES = 256 * 1024 };

typedef struct {
    gr_str version, room, session;    /* room and session: empty for all of them */
    gr_user_backup_session *sessions; /* to be put */
    size_t count, done;
    gr_buf out; /* of an answer in the making; heap */
    gr_str last_room, last_session;
    bool any;
} backup;

static gr_str own_address(gr_call *call) { return gr_call_address(call, GR_KIND_USER, call->user); }

/* --- versions ---------------------------------------------------------------------------------------------- */
static bool read_version(gr_call *call, gr_str *algorithm, gr_str *auth_data)
{
    const gr_json *data = NULL;
    if (!gr_call_want_str(call, "algorithm", algorithm)
        || !gr_call_want(call, "auth_data", GR_JSON_OBJECT, &data))
        return false;
    *auth_data = gr_json_printed(call->arena, data);
    if (auth_data->size <= GR_BACKUP_SESSION_MAX && algorithm->size <= GR_KEY_ID_MAX) return true;
    gr_call_fail_with(call, GR_TOO_LARGE, "'algorithm' or 'auth_data' is too large");
    return false;
}

static void serve_make(gr_call *call)
{
    gr_user_backup_make m = {0};
    if (read_version(call, &m.algorithm, &m.auth_data))
        gr_call_pass(call, own_address(call), &gr_type_user_backup_make, &m);
}

static void serve_newest(gr_call *call)
{
    gr_call_pass(call, own_address(call), &gr_type_user_backup_info, &(gr_user_backup_info){0});
}

static void serve_info(gr_call *call)
{
    gr_user_backup_info m = {.version = gr_call_param(call, "version")};
    gr_call_pass(call, own_address(call), &gr_type_user_backup_info, &m);
}

static void serve_set(gr_call *call)
{
    gr_user_backup_set m = {.version = gr_call_param(call, "version")};
    gr_str version;
    if (!read_version(call, &m.algorithm, &m.auth_data) || !gr_call_may_str(call, "version", &version))
        return;
    if (version.size && !gr_str_eq(version, m.version))
        gr_call_fail_with(call, GR_INVALID_PARAM, "'version' is not the one in the path");
    else gr_call_pass(call, own_address(call), &gr_type_user_backup_set, &m);
}

static void serve_end(gr_call *call)
{
    gr_user_backup_end m = {.version = gr_call_param(call, "version")};
    gr_call_pass(call, own_address(call), &gr_type_user_backup_end, &m);
}

/* --- what a request for keys is about ---------------------------------------------------------------------- */
static void gone(gr_call *call) { gr_buf_free(&((backup *)call->state)->out); }

static backup *begin(gr_call *call, bool room, bool session)
{
    backup *b = call->state = gr_arena_alloc(call->arena, sizeof *b);
    call->on_gone = gone;
    if (room) b->room = gr_call_param(call, "roomId");
    if (session) b->session = gr_call_param(call, "sessionId");
    if (gr_call_query(call, "version", &b->version) && b->version.size) return b;
    gr_call_fail_with(call, GR_MISSING_PARAM, "'version' is needed: which backup is this about?");
    return NULL;
}

static void answer_state(gr_call *call, const gr_user_backup_state *s)
{
    gr_str etag = gr_arena_printf(call->arena, "{\"etag\":\"%llu\",\"count\":%llu}",
                                  (unsigned long long)s->etag, (unsigned long long)s->count);
    gr_str current =
        gr_arena_cat(call->arena, 3, (gr_str[]){GR_STR("\"current_version\":\""), s->current, GR_STR("\"")});
    gr_err wrong = gr_fail(GR_WRONG_ROOM_KEYS_VERSION, "This is not the newest version of the backup");
    if (s->current.size) gr_call_fail_status(call, 0, wrong, current);
    else gr_call_json(call, 200, etag);
}

/* False when the call was answered with an error. */
static bool state_of(gr_call *call, const gr_answer *answer, const gr_user_backup_state **state)
{
    bool good = !gr_failed(answer->err) && answer->type == &gr_type_user_backup_state;
    if (!good) gr_call_fail(call, gr_failed(answer->err) ? answer->err : gr_fail(GR_UNKNOWN, "No answer"));
    *state = answer->body;
    return good;
}

/* --- putting ----------------------------------------------------------------------------------------------- */
static void put_step(gr_call *call);

static void step_put(gr_call *call, const gr_answer *answer)
{
    backup *b = call->state;
    const gr_user_backup_state *state;
    if (!state_of(call, answer, &state)) return;
    if (state->current.size || b->done == b->count) answer_state(call, state);
    else put_step(call);
}

static void put_step(gr_call *call)
{
    backup *b = call->state;
    size_t from = b->done, bytes = 0;
    while (b->done < b->count && b->done - from < GR_BACKUP_STEP && bytes < STEP_BYTES)
        bytes += b->sessions[b->done++].data.size;
    gr_user_backup_put m = {.version = b->version, .sessions = {b->sessions + from, b->done - from}};
    gr_call_ask(call, own_address(call), &gr_type_user_backup_put, &m, step_put);
}

/* Counts, and with somewhere to put them collects, the sessions of one room; false when it is no such object. */
static bool add_room(gr_call *call, backup *b, gr_str room, const gr_json *keys)
{
    const gr_json *sessions = gr_json_get(keys, "sessions");
    if (!gr_json_is(sessions, GR_JSON_OBJECT)) return false;
    for (uint32_t i = 0; i < sessions->count; i++) {
        if (b->sessions)
            b->sessions[b->count] =
                (gr_user_backup_session){.room = room,
                                         .session = sessions->members[i].key,
                                         .data = gr_json_printed(call->arena, &sessions->members[i].value)};
        b->count++;
    }
    return true;
}

static bool add_all(gr_call *call, backup *b)
{
    if (b->room.size) return add_room(call, b, b->room, call->json);
    const gr_json *rooms = gr_json_get(call->json, "rooms");
    bool good = gr_json_is(rooms, GR_JSON_OBJECT);
    for (uint32_t i = 0; good && i < rooms->count; i++)
        good = add_room(call, b, rooms->members[i].key, &rooms->members[i].value);
    return good;
}

static void put_many(gr_call *call, bool room)
{
    backup *b = begin(call, room, false);
    if (!b) return;
    if (!add_all(call, b)) {
        gr_call_fail_with(call, GR_BAD_JSON,
                          room ? "'sessions' must be an object"
                               : "'rooms' must have 'sessions' for each room");
        return;
    }
    b->sessions = gr_arena_alloc(call->arena, b->count * sizeof *b->sessions);
    b->count = 0;
    if (add_all(call, b)) put_step(call);
}

static void serve_put_all(gr_call *call) { put_many(call, false); }
static void serve_put_room(gr_call *call) { put_many(call, true); }

static void serve_put_session(gr_call *call)
{
    backup *b = begin(call, true, true);
    if (!b) return;
    b->count = 1;
    b->sessions = gr_arena_alloc(call->arena, sizeof *b->sessions);
    *b->sessions = (gr_user_backup_session){
        .room = b->room, .session = b->session, .data = gr_json_printed(call->arena, call->json)};
    put_step(call);
}

/* --- deleting ---------------------------------------------------------------------------------------------- */
static void drop_step(gr_call *call);

static void step_dropped(gr_call *call, const gr_answer *answer)
{
    const gr_user_backup_state *state;
    if (!state_of(call, answer, &state)) return;
    if (state->more) drop_step(call);
    else answer_state(call, state);
}

static void drop_step(gr_call *call)
{
    const backup *b = call->state;
    gr_user_backup_drop m = {.version = b->version, .room = b->room, .session = b->session};
    gr_call_ask(call, own_address(call), &gr_type_user_backup_drop, &m, step_dropped);
}

static void serve_drop_all(gr_call *call)
{
    if (begin(call, false, false)) drop_step(call);
}
static void serve_drop_room(gr_call *call)
{
    if (begin(call, true, false)) drop_step(call);
}
static void serve_drop_session(gr_call *call)
{
    if (begin(call, true, true)) drop_step(call);
}

/* --- getting ----------------------------------------------------------------------------------------------- */
static void get_step(gr_call *call);

static void quoted(gr_buf *out, gr_str text)
{
    gr_jw w = gr_jw_begin(out);
    gr_jw_str(&w, text);
}

/* {"rooms":{room:{"sessions":{session: key}}}}; of one room what stands below its id. */
static void add_session(backup *b, const gr_user_backup_session *s)
{
    bool same_room = b->any && gr_str_eq(s->room, b->last_room);
    if (b->any) gr_buf_c(&b->out, same_room ? "," : "}},");
    if (!same_room && !b->room.size) {
        quoted(&b->out, s->room);
        gr_buf_c(&b->out, ":{\"sessions\":{");
    }
    quoted(&b->out, s->session);
    gr_buf_char(&b->out, ':');
    gr_buf_str(&b->out, s->data);
}

static void answer_keys(gr_call *call)
{
    backup *b = call->state;
    if (b->room.size) gr_buf_c(&b->out, "}}");
    else gr_buf_c(&b->out, b->any ? "}}}}" : "}}");
    gr_call_json_take(call, 200, &b->out);
}

static void step_got(gr_call *call, const gr_answer *answer)
{
    backup *b = call->state;
    if (gr_failed(answer->err) || answer->type != &gr_type_user_backup_page) {
        gr_buf_free(&b->out);
        gr_call_fail(call, gr_failed(answer->err) ? answer->err : gr_fail(GR_UNKNOWN, "No answer"));
        return;
    }
    const gr_user_backup_page *page = answer->body;
    if (b->session.size) {
        if (page->sessions.count) gr_call_json(call, 200, page->sessions.at[0].data);
        else gr_call_fail_with(call, GR_NOT_FOUND, "There is no key of this session in the backup");
        return;
    }
    for (size_t i = 0; i < page->sessions.count; i++) {
        add_session(b, &page->sessions.at[i]);
        b->last_room = page->sessions.at[i].room;
        b->any = true;
    }
    if (page->sessions.count) {
        b->last_room = gr_call_keep(call, b->last_room);
        b->last_session = gr_call_keep(call, page->sessions.at[page->sessions.count - 1].session);
    }
    if (page->more) get_step(call);
    else answer_keys(call);
}

static void get_step(gr_call *call)
{
    const backup *b = call->state;
    gr_user_backup_get m = {.version = b->version,
                            .room = b->room,
                            .session = b->session,
                            .after_room = b->last_room,
                            .after_session = b->last_session};
    gr_call_ask(call, own_address(call), &gr_type_user_backup_get, &m, step_got);
}

static void get(gr_call *call, bool room, bool session)
{
    backup *b = begin(call, room, session);
    if (!b) return;
    if (!session) gr_buf_c(&b->out, room ? "{\"sessions\":{" : "{\"rooms\":{");
    get_step(call);
}

static void serve_get_all(gr_call *call) { get(call, false, false); }
static void serve_get_room(gr_call *call) { get(call, true, false); }
static void serve_get_session(gr_call *call) { get(call, true, true); }

#define BACKUP "/_matrix/client/(r0|v3|unstable)/room_keys"

const gr_call_route gr_routes_room_keys[] = {
    {GR_HTTP_POST, BACKUP "/version", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_KEYS, serve_make},
    {GR_HTTP_GET, BACKUP "/version", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_KEYS, serve_newest},
    {GR_HTTP_GET, BACKUP "/version/{version}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_KEYS, serve_info},
    {GR_HTTP_PUT, BACKUP "/version/{version}", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_KEYS, serve_set},
    {GR_HTTP_DELETE, BACKUP "/version/{version}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_KEYS, serve_end},
    {GR_HTTP_PUT, BACKUP "/keys", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_KEYS, serve_put_all},
    {GR_HTTP_GET, BACKUP "/keys", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_KEYS, serve_get_all},
    {GR_HTTP_DELETE, BACKUP "/keys", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_KEYS, serve_drop_all},
    {GR_HTTP_PUT, BACKUP "/keys/{roomId}", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_KEYS, serve_put_room},
    {GR_HTTP_GET, BACKUP "/keys/{roomId}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_KEYS, serve_get_room},
    {GR_HTTP_DELETE, BACKUP "/keys/{roomId}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_KEYS, serve_drop_room},
    {GR_HTTP_PUT, BACKUP "/keys/{roomId}/{sessionId}", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_KEYS,
     serve_put_session},
    {GR_HTTP_GET, BACKUP "/keys/{roomId}/{sessionId}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_KEYS,
     serve_get_session},
    {GR_HTTP_DELETE, BACKUP "/keys/{roomId}/{sessionId}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_KEYS,
     serve_drop_session},
    {.pattern = NULL},
};
