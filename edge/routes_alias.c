/* routes_alias.c - room aliases: the client's side. Client-server API, "Room aliases". */
#include "edge/remote.h"
#include "edge/routes.h"

#include "proto/catalogue.h"
#include "proto/ident.h"
#include "proto/uri.h"

enum { CLAIM_MS = 60000 };

typedef struct {
    gr_str alias, room_id, creator, holder;
    gr_err err;
} aliasing;

/* The alias of the path; NULL: it is none, or of another server, and the call was answered. */
static aliasing *alias_of_path(gr_call *c)
{
    aliasing *s = gr_arena_alloc(c->arena, sizeof *s);
    s->alias = gr_call_param(c, "roomAlias");
    c->state = s;
    if (!gr_call_fits(c, gr_ident_alias(s->alias), "The path holds no valid room alias")) return NULL;
    if (gr_ident_is_local(s->alias, gr_call_server_name(c))) return s;
    gr_call_fail_with(c, GR_INVALID_PARAM, "The alias belongs to another server");
    return NULL;
}

static gr_str name_address(gr_call *c)
{
    return gr_call_address(c, GR_KIND_NAME, ((const aliasing *)c->state)->alias);
}

/* What an alias is for; false: the call was answered. */
static bool value_of(gr_call *c, const gr_answer *a, const gr_json **value)
{
    gr_err err = a->err;
    if (!gr_failed(err)) err = gr_json_parse(c->arena, ((const gr_result *)a->body)->body, GR_JSON_LAX, value);
    if (gr_failed(err)) gr_call_fail(c, err);
    return !gr_failed(err);
}

void gr_routes_alias_known(gr_call *c, const gr_answer *a)
{
    const gr_json *value = NULL;
    if (!value_of(c, a, &value)) return;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "room_id", gr_json_text(value, "room_id"));
    const gr_json *servers = gr_json_get(value, "servers");
    if (servers) gr_jw_kjson(&w, "servers", servers);
    gr_jw_end_object(&w);
    gr_call_json_take(c, 200, &out);
}

static void remote_alias_known(gr_call *c, const gr_answer *a)
{
    const gr_json *object = gr_remote_object(c, a), *servers = gr_json_get(object, "servers");
    gr_str room_id = gr_json_text(object, "room_id");
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    if (!object) return;
    if (!gr_ident_room(room_id) || !gr_json_is(servers, GR_JSON_ARRAY)) {
        gr_call_fail_with(c, GR_BAD_GATEWAY, "The other server's answer makes no sense");
        return;
    }
    gr_jw_object(&w);
    gr_jw_kstr(&w, "room_id", room_id);
    gr_jw_key(&w, "servers");
    gr_jw_array(&w);
    for (uint32_t i = 0; i < servers->count; i++)
        if (gr_ident_server_name(gr_json_string(&servers->items[i]))) gr_jw_json(&w, &servers->items[i]);
    gr_jw_end_array(&w);
    gr_jw_end_object(&w);
    gr_call_json_take(c, 200, &out);
}

static void serve_alias_get(gr_call *c)
{
    gr_str alias = gr_call_param(c, "roomAlias");
    if (gr_ident_alias(alias) && !gr_ident_is_local(alias, gr_call_server_name(c))) {
        gr_str uri = gr_arena_cat(c->arena, 2, (gr_str[]){GR_STR("/_matrix/federation/v1/query/directory?room_alias="),
                                                          gr_uri_encode(c->arena, alias)});
        gr_remote_ask(c, gr_ident_domain(alias), "GET", uri, (gr_str){0}, remote_alias_known, 0);
        return;
    }
    if (alias_of_path(c))
        gr_call_ask(c, name_address(c), &gr_type_name_look, &(gr_name_look){0}, gr_routes_alias_known);
}

static void on_released(gr_call *c, const gr_answer *a)
{
    const aliasing *s = c->state;
    (void)a;
    gr_call_fail(c, s->err);
}

/* The room has noted the alias, and it is for good; or it has not, and the name is free again. */
static void on_noted(gr_call *c, const gr_answer *a)
{
    aliasing *s = c->state;
    if (!gr_failed(a->err)) {
        gr_call_pass(c, name_address(c), &gr_type_name_confirm, &(gr_name_confirm){.holder = s->holder});
        return;
    }
    s->err = gr_call_keep_err(c, a->err);
    gr_call_ask(c, name_address(c), &gr_type_name_release, &(gr_name_release){.holder = s->holder},
                on_released);
}

static void on_claimed(gr_call *c, const gr_answer *a)
{
    aliasing *s = c->state;
    if (a->err.code == GR_ROOM_IN_USE) {
        gr_call_fail_status(c, 409, gr_fail(GR_UNKNOWN, "That room alias exists already"), (gr_str){0});
        return;
    }
    if (gr_failed(a->err)) {
        gr_call_fail(c, a->err);
        return;
    }
    gr_room_alias m = {.user = c->user, .alias = s->alias, .add = true, .made_by = c->user};
    gr_call_ask(c, gr_call_address(c, GR_KIND_ROOM, s->room_id), &gr_type_room_alias, &m, on_noted);
}

static void serve_alias_put(gr_call *c)
{
    aliasing *s = alias_of_path(c);
    if (!s || !gr_call_want_str(c, "room_id", &s->room_id)) return;
    if (!gr_call_fits(c, gr_ident_room(s->room_id), "room_id is not a room id")) return;
    gr_buf value = {0};
    gr_jw w = gr_jw_begin(&value);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "room_id", s->room_id);
    gr_jw_key(&w, "servers");
    gr_jw_array(&w);
    gr_jw_str(&w, gr_call_server_name(c));
    gr_jw_end_array(&w);
    gr_jw_kstr(&w, "creator", c->user);
    gr_jw_end_object(&w);
    s->holder = gr_arena_printf(c->arena, "%.*s/%llu", GR_ARG(c->user), (unsigned long long)c->trace);
    gr_name_claim m = {.holder = s->holder, .value = gr_buf_view(&value), .keep_ms = CLAIM_MS};
    gr_call_ask(c, name_address(c), &gr_type_name_claim, &m, on_claimed);
    gr_buf_free(&value);
}

static void on_unnoted(gr_call *c, const gr_answer *a)
{
    const aliasing *s = c->state;
    bool orphan = a->err.code == GR_NOT_FOUND && gr_str_eq(s->creator, c->user); /* the room is gone */
    if (gr_failed(a->err) && !orphan) gr_call_fail(c, a->err);
    else gr_call_pass(c, name_address(c), &gr_type_name_release, &(gr_name_release){0});
}

static void on_doomed(gr_call *c, const gr_answer *a)
{
    aliasing *s = c->state;
    const gr_json *value = NULL;
    if (!value_of(c, a, &value)) return;
    s->room_id = gr_json_text(value, "room_id");
    s->creator = gr_json_text(value, "creator");
    gr_room_alias m = {.user = c->user, .alias = s->alias, .made_by = s->creator};
    gr_call_ask(c, gr_call_address(c, GR_KIND_ROOM, s->room_id), &gr_type_room_alias, &m, on_unnoted);
}

static void serve_alias_delete(gr_call *c)
{
    if (alias_of_path(c))
        gr_call_ask(c, name_address(c), &gr_type_name_look, &(gr_name_look){0}, on_doomed);
}

static void serve_aliases(gr_call *c)
{
    gr_str room_id = gr_call_param(c, "roomId");
    if (gr_call_fits(c, gr_ident_room(room_id), "The path holds no valid room id"))
        gr_call_pass(c, gr_call_address(c, GR_KIND_ROOM, room_id), &gr_type_room_aliases,
                     &(gr_room_aliases){.user = c->user});
}

#define V3 "/_matrix/client/(r0|v3)"

const gr_call_route gr_routes_alias[] = {
    {GR_HTTP_GET, V3 "/rooms/{roomId}/aliases", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_aliases},
    {GR_HTTP_GET, V3 "/directory/room/{roomAlias}", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ,
     serve_alias_get},
    {GR_HTTP_PUT, V3 "/directory/room/{roomAlias}", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_ROOM,
     serve_alias_put},
    {GR_HTTP_DELETE, V3 "/directory/room/{roomAlias}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_ROOM,
     serve_alias_delete},
    {.pattern = NULL}};
