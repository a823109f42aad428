/* routes_directory.c - public rooms and the user directory. */
#include "edge/remote.h"
#include "edge/routes.h"

#include "proto/ident.h"
#include "proto/uri.h"

#define V3 "/_matrix/client/(r0|v3)"

enum { ROOMS_PAGE = 100, USERS_PAGE = 10, USERS_PAGE_MAX = 100, TYPES_MAX = 64 };

static void remote_rooms(gr_call *call, const gr_answer *answer)
{
    const gr_json *page = gr_remote_object(call, answer);
    if (!page) return;
    if (gr_json_is(gr_json_get(page, "chunk"), GR_JSON_ARRAY)) gr_call_json(call, 200, gr_json_printed(call->arena, page));
    else gr_call_fail_with(call, GR_BAD_GATEWAY, "The other server's answer makes no sense");
}

/* The name of another server whose rooms a user asks for; empty: this one's.  False: the call was answered. */
static bool read_server(gr_call *call, gr_str *server)
{
    gr_str name = {0};
    *server = (gr_str){0};
    if (call->origin.size || !gr_call_query(call, "server", &name) || gr_str_eq(name, gr_call_server_name(call))) return true;
    if (!gr_ident_server_name(name)) {
        gr_call_fail_with(call, GR_INVALID_PARAM, "'server' is not a server name");
        return false;
    }
    *server = name;
    return true;
}

static void ask_remote_get(gr_call *call, gr_str server)
{
    static const char *const passed[] = {"limit", "since", "include_all_networks", "third_party_instance_id"};
    gr_buf uri = {0};
    gr_buf_c(&uri, "/_matrix/federation/v1/publicRooms");
    char before = '?';
    for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++) {
        gr_str value = {0};
        if (!gr_call_query(call, passed[i], &value)) continue;
        gr_buf_printf(&uri, "%c%s=%" GR_FMT, before, passed[i], GR_ARG(gr_uri_encode(call->arena, value)));
        before = '&';
    }
    gr_remote_ask(call, server, "GET", gr_buf_view(&uri), (gr_str){0}, remote_rooms, 0);
    gr_buf_free(&uri);
}

/* A page token is "p" and how many rooms to leave out. */
static bool read_since(gr_call *call, gr_str since, uint64_t *from)
{
    *from = 0;
    if (since.size == 0 || (since.ptr[0] == 'p' && gr_str_u64(gr_str_from(since, 1), from))) return true;
    gr_call_fail_with(call, GR_INVALID_PARAM, "'since' is not a token that this server gave");
    return false;
}

static void ask_rooms(gr_call *call, const gr_directory_rooms *asked)
{
    gr_call_pass(call, gr_call_address(call, GR_KIND_DIRECTORY, GR_STR("rooms")), &gr_type_directory_rooms, asked);
}

void gr_routes_serve_rooms(gr_call *call)
{
    gr_str since = {0}, server;
    gr_directory_rooms asked = {0};
    if (!read_server(call, &server) || !gr_call_query_u64(call, "limit", ROOMS_PAGE, &asked.limit)) return;
    if (server.size) {
        ask_remote_get(call, server);
        return;
    }
    gr_call_query(call, "since", &since);
    if (read_since(call, since, &asked.from)) ask_rooms(call, &asked);
}

/* room_types: strings, and null for rooms without a type. */
static bool read_types(gr_call *call, const gr_json *filter, gr_directory_rooms *asked)
{
    const gr_json *types = gr_json_get(filter, "room_types");
    if (!types || gr_json_is(types, GR_JSON_NULL)) return true;
    bool good = gr_json_is(types, GR_JSON_ARRAY) && types->count <= TYPES_MAX;
    for (uint32_t i = 0; good && i < types->count; i++)
        good = gr_json_is(&types->items[i], GR_JSON_NULL) || gr_json_is(&types->items[i], GR_JSON_STRING);
    if (!good) {
        gr_call_fail_with(call, GR_BAD_JSON, "'room_types' must be an array of strings and null");
        return false;
    }
    asked->types.at = gr_arena_alloc(call->arena, types->count * sizeof(gr_str));
    for (uint32_t i = 0; i < types->count; i++) {
        if (gr_json_is(&types->items[i], GR_JSON_NULL)) asked->untyped = true;
        else asked->types.at[asked->types.count++] = types->items[i].string;
    }
    return true;
}

/* Third-party networks come with application services; without any, a network has no rooms, and all networks together have
 * just those of this server.  False: the call was answered. */
static bool read_network(gr_call *call)
{
    gr_str network = {0};
    bool all = false;
    if (!gr_call_may_str(call, "third_party_instance_id", &network)
        || !gr_call_may_bool(call, "include_all_networks", false, &all)) return false;
    if (network.size == 0) return true;
    if (all) gr_call_fail_with(call, GR_INVALID_PARAM, "'third_party_instance_id' goes without 'include_all_networks'");
    else gr_call_json(call, 200, GR_STR("{\"chunk\":[],\"total_room_count_estimate\":0}"));
    return false;
}

void gr_routes_serve_rooms_post(gr_call *call)
{
    gr_str since = {0}, server;
    int64_t limit = 0;
    const gr_json *filter = NULL;
    gr_directory_rooms asked = {0};
    if (!read_server(call, &server)) return;
    if (server.size) {
        gr_remote_ask(call, server, "POST", GR_STR("/_matrix/federation/v1/publicRooms"),
                      gr_json_printed(call->arena, call->json), remote_rooms, 0);
        return;
    }
    if (!gr_call_may_str(call, "since", &since) || !gr_call_may_int(call, "limit", ROOMS_PAGE, &limit)
        || !gr_call_may(call, "filter", GR_JSON_OBJECT, &filter) || !read_types(call, filter, &asked)
        || !read_since(call, since, &asked.from)) return;
    if (!read_network(call)) return;
    asked.limit = limit > 0 ? (uint64_t)limit : ROOMS_PAGE;
    asked.term = gr_json_text(filter, "generic_search_term");
    ask_rooms(call, &asked);
}

static void serve_user_search(gr_call *call)
{
    int64_t limit = 0;
    gr_directory_users asked = {0};
    if (!gr_call_want_str(call, "search_term", &asked.term) || !gr_call_may_int(call, "limit", USERS_PAGE, &limit)) return;
    if (limit < 1) limit = USERS_PAGE;
    asked.limit = limit < USERS_PAGE_MAX ? (uint64_t)limit : USERS_PAGE_MAX;
    gr_call_pass(call, gr_call_address(call, GR_KIND_DIRECTORY, GR_STR("users")), &gr_type_directory_users, &asked);
}

const gr_call_route gr_routes_directory[] = {
    {GR_HTTP_GET, V3 "/publicRooms", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ,
     gr_routes_serve_rooms},
    {GR_HTTP_POST, V3 "/publicRooms", GR_CALL_TOKEN, GR_CALL_JSON_OPTIONAL, GR_RATE_READ,
     gr_routes_serve_rooms_post, .guest_ok = true},
    {GR_HTTP_POST, V3 "/user_directory/search", GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_READ, serve_user_search},
    {.pattern = NULL}};
