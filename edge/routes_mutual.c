/* routes_mutual.c - rooms that two users are both in. Client-server API, "GET /mutual_rooms".
 *
 * A user of this server is asked which of one's rooms they are in; of somebody else the rooms themselves know that.
 * Pages go by room id: a token is the last id of the page before.
 */
#include "edge/fan.h"
#include "edge/routes.h"

#include "proto/catalogue.h"
#include "proto/ident.h"

#include <stdlib.h>

enum { PAGE = 100 };

typedef struct {
    gr_str user, from;
    gr_strs own, mutual;
    gr_fan fan;
} mutual;

static int by_id(const void *x, const void *y) { return gr_str_cmp(*(const gr_str *)x, *(const gr_str *)y); }

static void answer(gr_call *c)
{
    mutual *m = c->state;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    size_t shown = 0, at = 0;
    if (m->mutual.count) qsort(m->mutual.at, m->mutual.count, sizeof(gr_str), by_id);
    while (m->from.size && at < m->mutual.count && gr_str_cmp(m->mutual.at[at], m->from) <= 0) at++;
    gr_jw_object(&w);
    gr_jw_kint(&w, "count", (int64_t)m->mutual.count);
    gr_jw_key(&w, "joined");
    gr_jw_array(&w);
    for (; at < m->mutual.count && shown < PAGE; at++, shown++) gr_jw_str(&w, m->mutual.at[at]);
    gr_jw_end_array(&w);
    if (at < m->mutual.count) gr_jw_kstr(&w, "next_batch", m->mutual.at[at - 1]);
    gr_jw_end_object(&w);
    gr_call_json_take(c, 200, &out);
}

static void on_in_rooms(gr_call *c, const gr_answer *a)
{
    mutual *m = c->state;
    const gr_user_in_rooms *in = a->body;
    if (gr_failed(a->err)) {
        gr_call_fail(c, a->err);
        return;
    }
    for (size_t i = 0; i < in->rooms.count; i++)
        m->mutual.at[m->mutual.count++] = gr_call_keep(c, in->rooms.at[i]);
    answer(c);
}

/* --- somebody of another server ------------------------------------------------------------------------ */
static void on_summary(gr_call *c, const gr_answer *a)
{
    mutual *m = c->state;
    const gr_json *summary = NULL;
    bool known = !gr_failed(a->err)
                 && !gr_failed(gr_json_parse(c->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &summary));
    if (known && gr_str_is(gr_json_text(summary, "membership"), "join"))
        m->mutual.at[m->mutual.count++] = m->own.at[a->number];
    gr_fan_answered(&m->fan, c);
}

static void ask_room(gr_call *c, size_t number)
{
    const mutual *m = c->state;
    gr_room_summary body = {.user = m->user};
    gr_call_ask_more(c, gr_call_address(c, GR_KIND_ROOM, m->own.at[number]), &gr_type_room_summary, &body, on_summary,
                     number, GR_CALL_TIMEOUT_MS, false);
}

/* --- the beginning ------------------------------------------------------------------------------------- */
static void on_own_rooms(gr_call *c, const gr_answer *a)
{
    mutual *m = c->state;
    const gr_json *body = NULL;
    gr_err err = a->err;
    if (!gr_failed(err)) err = gr_json_parse(c->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, &body);
    if (gr_failed(err)) {
        gr_call_fail(c, err);
        return;
    }
    const gr_json *rooms = gr_json_get(body, "joined_rooms");
    uint32_t count = gr_json_is(rooms, GR_JSON_ARRAY) ? rooms->count : 0;
    m->own.at = gr_arena_alloc(c->arena, (count + 1) * sizeof(gr_str));
    m->mutual.at = gr_arena_alloc(c->arena, (count + 1) * sizeof(gr_str));
    for (uint32_t i = 0; i < count; i++) m->own.at[m->own.count++] = gr_json_string(&rooms->items[i]);
    if (!gr_ident_is_local(m->user, gr_call_server_name(c))) {
        m->fan = (gr_fan){.count = count, .ask = ask_room, .finish = answer};
        gr_fan_go(&m->fan, c);
        return;
    }
    gr_call_ask(c, gr_call_address(c, GR_KIND_USER, m->user), &gr_type_user_in_rooms,
                &(gr_user_in_rooms){.rooms = m->own}, on_in_rooms);
}

static void serve_mutual(gr_call *c)
{
    mutual *m = c->state = gr_arena_alloc(c->arena, sizeof *m);
    *m = (mutual){0};
    if (!gr_call_query(c, "user_id", &m->user)) gr_call_fail_with(c, GR_MISSING_PARAM, "'user_id' is missing");
    else if (!gr_ident_user_strict(m->user) || gr_str_eq(m->user, c->user))
        gr_call_fail_with(c, GR_INVALID_PARAM, "'user_id' must be the id of another user");
    else if (gr_call_query(c, "from", &m->from) && !gr_ident_room(m->from))
        gr_call_fail_with(c, GR_INVALID_PARAM, "'from' is not a token that this server gave");
    else
        gr_call_ask(c, gr_call_address(c, GR_KIND_USER, c->user), &gr_type_user_joined_rooms,
                    &(gr_user_joined_rooms){0}, on_own_rooms);
}

const gr_call_route gr_routes_mutual[] = {
    {GR_HTTP_GET, "/_matrix/client/v1/mutual_rooms", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_mutual},
    {.pattern = NULL},
};
