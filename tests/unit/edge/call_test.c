/* call_test.c - requests of clients through the real routes and a real node: what is refused, when, and with what answer. */
#include "actors/env.h"
#include "actors/kinds.h"
#include "edge/browser.h"
#include "edge/edge.h"
#include "tests/unit/edge/http_sim.h"

#include <dirent.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000, STOP_MS = 10000 };
#define V3 "/_matrix/client/v3"

static gr_arena *arena;
static char dir[32], store_dir[64];
static gr_config config;
static gr_env env;
static const unsigned char openid_key[32] = {7};
static gr_store *store;
static gr_node *node;
static gr_edge *edge;
static uint64_t now_ms;        /* read once: a test's time stands still */

static void open_edge(unsigned in_flight_max)
{
    gr_store_options so = {.dir = store_dir, .server_name = GR_STR("x"), .create = true, .threaded = true};
    assert_int_equal(gr_store_open(&so, arena, &store).code, GR_OK);
    gr_node_options o = {.name = "n1", .dir = dir, .store = store, .kinds = gr_kinds, .env = &env, .workers = 1,
                         .in_flight_max = in_flight_max, .in_flight_max_per_worker = in_flight_max};
    assert_int_equal(gr_node_open(&o, arena, &node).code, GR_OK);
    assert_int_equal(gr_node_start(node).code, GR_OK);
    gr_edge_options eo = {.config = &config, .env = &env, .node = node, .openid_key = openid_key};
    assert_int_equal(gr_edge_new(arena, &eo, &edge).code, GR_OK);
    edge->now_ms = now_ms;
}

static int set_up_empty(void **state)
{
    (void)state;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    now_ms = (uint64_t)t.tv_sec * 1000;
    arena = gr_arena_new(0);
    snprintf(dir, sizeof dir, "/tmp/gr-call-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(store_dir, sizeof store_dir, "%s/store", dir);
    gr_config_init(&config, dir);
    config.server_name = "x";
    config.rate_limits = false;
    config.registration = GR_CONFIG_REGISTRATION_OPEN;
    env = (gr_env){.server_name = GR_STR("x"), .default_room_version = GR_STR("12"), .registration_open = true,
                   .password_min_length = 8, .password_memory = 8192};
    return 0;
}

static int set_up(void **state)
{
    if (set_up_empty(state)) return -1;
    open_edge(64);
    return 0;
}

static void remove_folder(const char *path)
{
    DIR *d = opendir(path);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    rmdir(path);
}

static int tear_down(void **state)
{
    (void)state;
    gr_edge_free(&edge);
    assert_true(gr_node_stop(node, STOP_MS));
    gr_node_close(&node);
    gr_store_close(&store);
    gr_config_free(&config);
    char path[80];
    snprintf(path, sizeof path, "%s/messages", dir);
    remove_folder(path);
    remove_folder(store_dir);
    remove_folder(dir);
    gr_arena_free(&arena);
    return 0;
}

/* --- requests ---------------------------------------------------------------------------------------------- */
static void connect_client(sim *s)
{
    *s = (sim){.http = edge->http, .now_ms = 1000000};
    s->conn = gr_http_conn_open(edge->http, s->now_ms, "192.0.2.7", false);
    assert_non_null(s->conn);
}

/* What the edge thread does in a step, with the client of bytes in place of sockets. */
static void settle(sim *s)
{
    sim_drain(s, SIZE_MAX);
    gr_call_sweep(edge);
    while (HASH_COUNT(edge->calls)) {
        uint64_t next_ms;
        struct pollfd fd = {gr_port_fd(edge->port), POLLIN, 0};
        if (poll(&fd, 1, PATIENCE_MS) != 1) fail_msg("no actor answered");
        gr_port_step(edge->port, now_ms, 64, &next_ms);
        gr_call_sweep(edge);
        sim_drain(s, SIZE_MAX);
    }
}

static void hang_up(sim *s)
{
    if (s->conn) {
        gr_http_conn_lost(s->conn);
        sim_drain(s, SIZE_MAX);
    }
    gr_call_sweep(edge);
    gr_buf_free(&s->output);
    gr_buf_free(&s->log);
}

/* The whole answer to a request on a connection of its own. */
static const char *request(const char *method, const char *path, const char *headers, const char *body)
{
    sim s;
    connect_client(&s);
    gr_str text = gr_arena_printf(arena, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n%s",
                                  method, path, headers, strlen(body), body);
    sim_send(&s, text, SIZE_MAX);
    settle(&s);
    const char *answer = gr_arena_str(arena, gr_buf_view(&s.output)).ptr;
    hang_up(&s);
    return answer;
}

/* Every answer, good or bad, must be readable to a web page and be JSON. */
static void check(const char *answer, int status, const char *part)
{
    gr_str line = gr_arena_printf(arena, "HTTP/1.1 %d ", status);
    if (strncmp(answer, line.ptr, line.size) != 0 || !strstr(answer, part))
        fail_msg("wanted %d with '%s', got:\n%s", status, part, answer);
    if (!strstr(answer, "\r\nAccess-Control-Allow-Origin: *\r\n")
        || !strstr(answer, "\r\nAccess-Control-Allow-Methods: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n")
        || !strstr(answer, "\r\nAccess-Control-Allow-Headers: X-Requested-With, Content-Type, Authorization\r\n"))
        fail_msg("no CORS headers in:\n%s", answer);
    if (!strstr(answer, "\r\nContent-Type: application/json\r\n")) fail_msg("not JSON:\n%s", answer);
}

#define ERRCODE(code) "\"errcode\":\"" code "\""

static gr_str token_of(unsigned number)
{
    unsigned char random[GR_TOKEN_RANDOM] = {(unsigned char)number};
    return gr_token_make(arena, GR_TOKEN_ACCESS, 17, random);
}

static const char *bearer(gr_str token)
{
    return gr_arena_printf(arena, "Authorization: Bearer %" GR_FMT "\r\n", GR_ARG(token)).ptr;
}

/* The edge holds a lease on this token. */
static gr_str known_token(unsigned number, bool guest)
{
    gr_str token = token_of(number);
    unsigned char hash[GR_TOKEN_HASH];
    gr_token_hash(token, hash);
    gr_token_owner owner = {.user = GR_STR("@a:x"), .device = GR_STR("D"), .guest = guest};
    gr_token_cache_put(edge->tokens, gr_str_of(hash, sizeof hash), &owner, now_ms + 60000);
    return token;
}

static uint64_t asks(void)
{
    gr_port_counters c;
    gr_port_count(edge->port, &c);
    return c.asks;
}

/* --- paths and methods ------------------------------------------------------------------------------------- */
static void anybody_may_ask_for_versions(void **state)
{
    (void)state;
    check(request("GET", "/_matrix/client/versions", "", ""), 200, "\"versions\":[");
    assert_int_equal(asks(), 0);
    assert_int_equal(edge->counters.by_status[2], 1);
}

static void an_unknown_path_is_404_and_a_wrong_method_405(void **state)
{
    (void)state;
    check(request("GET", "/", "", ""), 404, ERRCODE("M_UNRECOGNIZED"));
    check(request("GET", V3 "/no/such/thing", "", ""), 404, ERRCODE("M_UNRECOGNIZED"));
    check(request("PUT", "/_matrix/client/versions", "", "{}"), 405, ERRCODE("M_UNRECOGNIZED"));
    check(request("BREW", "/_matrix/client/versions", "", ""), 405, ERRCODE("M_UNRECOGNIZED"));
    check(request("GET", V3 "/profile/%ff", "", ""), 400, ERRCODE("M_INVALID_PARAM"));
    assert_int_equal(edge->counters.by_status[4], 5);
}

static void options_is_answered_to_web_pages_on_every_path(void **state)
{
    (void)state;
    check(request("OPTIONS", V3 "/sync", "", ""), 200, "\r\n\r\n{}");
    check(request("OPTIONS", V3 "/no/such/thing", "", ""), 200, "\r\n\r\n{}");
    assert_int_equal(asks(), 0);
}

/* --- pages ------------------------------------------------------------------------------------------------- */
/* What stands between the two texts in an answer. */
static gr_str between(const char *answer, const char *before, const char *after)
{
    const char *begin = strstr(answer, before);
    if (!begin) fail_msg("no '%s' in:\n%s", before, answer);
    begin += strlen(before);
    const char *end = strstr(begin, after);
    assert_non_null(end);
    return gr_str_of(begin, (size_t)(end - begin));
}

static void page(const char *path, gr_str cookie, const char *wanted)
{
    const char *headers = gr_arena_printf(arena, "Cookie: %" GR_FMT "\r\n", GR_ARG(cookie)).ptr;
    const char *answer = request("GET", path, headers, "");
    if (!strstr(answer, wanted)) fail_msg("wanted '%s', got:\n%s", wanted, answer);
}

static gr_str signed_in(const char *user, const char *password)
{
    const char *form = request("GET", "/_greenroom/sign_in", "", "");
    gr_str browser = between(form, "Set-Cookie: ", ";"), proof = between(form, "name=\"form_proof\" value=\"", "\"");
    const char *headers = gr_arena_printf(arena, "Cookie: %" GR_FMT "\r\nContent-Type: application/x-www-form-urlencoded\r\n",
                                          GR_ARG(browser)).ptr;
    gr_str body = gr_arena_printf(arena, "username=%s&password=%s&form_proof=%" GR_FMT, user, password, GR_ARG(proof));
    const char *answer = request("POST", "/_greenroom/sign_in", headers, body.ptr);
    return gr_arena_printf(arena, "gr_signed_in=%" GR_FMT, GR_ARG(between(answer, "Set-Cookie: gr_signed_in=", ";")));
}

static void who_closes_the_account_has_signed_in_within_ten_minutes(void **state)
{
    (void)state;
    static const char closing[] = "/_greenroom/account?action=org.matrix.account_deactivate";
    const char *json = "Content-Type: application/json\r\n";
    gr_str session = between(request("POST", V3 "/register", json, "{}"), "\"session\":\"", "\"");
    gr_str body = gr_arena_printf(arena, "{\"username\":\"a\",\"password\":\"correct-horse\","
                                  "\"auth\":{\"type\":\"m.login.dummy\",\"session\":\"%" GR_FMT "\"}}", GR_ARG(session));
    check(request("POST", V3 "/register", json, body.ptr), 200, "@a:x");
    gr_str cookie = signed_in("a", "correct-horse");
    page(closing, cookie, "HTTP/1.1 200 ");
    edge->now_ms += GR_BROWSER_FRESH_MS + PATIENCE_MS;
    page(closing, cookie, "\r\nLocation: /_greenroom/sign_in?then=");
    page("/_greenroom/account", cookie, "HTTP/1.1 200 ");      /* for all else it is good for an hour */
}

/* --- tokens ------------------------------------------------------------------------------------------------ */
static void without_a_token_the_answer_is_missing_token(void **state)
{
    (void)state;
    check(request("GET", V3 "/capabilities", "", ""), 401, ERRCODE("M_MISSING_TOKEN"));
    check(request("GET", V3 "/capabilities", "Authorization: Basic abc\r\n", ""), 401, ERRCODE("M_MISSING_TOKEN"));
    check(request("GET", V3 "/capabilities", "Authorization: Bearer \r\n", ""), 401, ERRCODE("M_MISSING_TOKEN"));
}

static void a_mistyped_token_is_refused_without_asking_anybody(void **state)
{
    (void)state;
    gr_str token = token_of(1);
    ((char *)token.ptr)[20] ^= 1;
    check(request("GET", V3 "/capabilities", bearer(token), ""), 401, ERRCODE("M_UNKNOWN_TOKEN"));
    check(request("GET", V3 "/capabilities", "Authorization: Bearer x\r\n", ""), 401, ERRCODE("M_UNKNOWN_TOKEN"));
    assert_int_equal(asks(), 0);
}

static void a_token_nobody_gave_out_is_refused_by_its_index(void **state)
{
    (void)state;
    check(request("GET", V3 "/capabilities", bearer(token_of(1)), ""), 401, ERRCODE("M_UNKNOWN_TOKEN"));
    assert_int_equal(asks(), 1);
    /* Where a token is optional, a wrong one is refused all the same. */
    check(request("GET", "/_matrix/client/versions", bearer(token_of(1)), ""), 401, ERRCODE("M_UNKNOWN_TOKEN"));
}

static void a_leased_token_is_taken_from_header_and_query_without_asking(void **state)
{
    (void)state;
    gr_str token = known_token(1, false);
    check(request("GET", V3 "/capabilities", bearer(token), ""), 200, "m.room_versions");
    check(request("GET", V3 "/capabilities", gr_arena_printf(arena, "authorization: bearer   %s\r\n", token.ptr).ptr, ""), 200,
          "m.room_versions");
    const char *path = gr_arena_printf(arena, V3 "/capabilities?access_token=%s", token.ptr).ptr;
    check(request("GET", path, "", ""), 200, "m.room_versions");
    assert_int_equal(asks(), 0);
}

static void a_token_is_forgotten_when_its_index_says_so(void **state)
{
    (void)state;
    gr_str token = known_token(1, false);
    unsigned char hash[GR_TOKEN_HASH];
    gr_token_hash(token, hash);
    gr_token_forget short_hash = {.hash = GR_STR("x")}, forget = {.hash = gr_str_of(hash, sizeof hash)};
    gr_call_port_handler.on_message(edge, GR_STR("token/17"), 0, &gr_type_token_forget, &short_hash);
    check(request("GET", V3 "/capabilities", bearer(token), ""), 200, "m.room_versions");
    gr_call_port_handler.on_message(edge, GR_STR("token/17"), 0, &gr_type_token_forget, &forget);
    check(request("GET", V3 "/capabilities", bearer(token), ""), 401, ERRCODE("M_UNKNOWN_TOKEN"));
}

static void guests_may_do_what_is_open_to_them_only(void **state)
{
    (void)state;
    gr_str token = known_token(1, true);
    check(request("GET", V3 "/capabilities", bearer(token), ""), 200, "m.room_versions");
    check(request("POST", V3 "/account/password", bearer(token), "{}"), 403, ERRCODE("M_GUEST_ACCESS_FORBIDDEN"));
}

/* --- bodies ------------------------------------------------------------------------------------------------ */
static void a_body_must_be_a_json_object(void **state)
{
    (void)state;
    check(request("POST", V3 "/login", "", "{"), 400, ERRCODE("M_NOT_JSON"));
    check(request("POST", V3 "/login", "", ""), 400, ERRCODE("M_NOT_JSON"));
    check(request("POST", V3 "/login", "", "\"\xff\""), 400, ERRCODE("M_NOT_JSON"));
    check(request("POST", V3 "/login", "", "[]"), 400, ERRCODE("M_BAD_JSON"));
    check(request("POST", V3 "/login", "", "{\"a\":1,\"a\":2}"), 400, ERRCODE("M_BAD_JSON"));
    check(request("POST", V3 "/login", "", "{\"type\":7}"), 400, ERRCODE("M_BAD_JSON"));
    check(request("POST", V3 "/login", "", "{}"), 400, ERRCODE("M_MISSING_PARAM"));
    assert_int_equal(asks(), 0);
}

static void a_body_that_is_too_large_is_refused_by_its_declared_length(void **state)
{
    (void)state;
    sim s;
    connect_client(&s);
    gr_str head = gr_arena_printf(arena, "POST " V3 "/login HTTP/1.1\r\nHost: x\r\nContent-Length: %llu\r\n\r\n",
                                  (unsigned long long)config.http_max_body + 1);
    sim_send(&s, head, SIZE_MAX);
    gr_buf_char(&s.output, '\0');
    check(s.output.ptr, 413, ERRCODE("M_TOO_LARGE"));
    hang_up(&s);
}

/* --- limits ------------------------------------------------------------------------------------------------ */
static void who_asks_too_often_is_told_how_long_to_wait(void **state)
{
    (void)state;
    config.rate_limits = true;
    for (int i = 0; i < 10; i++) check(request("POST", V3 "/login", "", "{}"), 400, ERRCODE("M_MISSING_PARAM"));
    const char *answer = request("POST", V3 "/login", "", "{}");
    check(answer, 429, ERRCODE("M_LIMIT_EXCEEDED"));
    assert_non_null(strstr(answer, "\"retry_after_ms\":5"));       /* one in 1 / 0.17 s */
    assert_non_null(strstr(answer, "\r\nRetry-After: 6\r\n"));
    assert_int_equal(edge->counters.refused_rate, 1);
    check(request("GET", "/_matrix/client/versions", "", ""), 200, "versions");
    edge->now_ms += 6000;
    check(request("POST", V3 "/login", "", "{}"), 400, ERRCODE("M_MISSING_PARAM"));
}

static void a_busy_node_refuses_before_a_body_is_read(void **state)
{
    (void)state;
    open_edge(1);
    sim first, second;
    connect_client(&first);
    gr_str head = gr_arena_printf(arena, "GET " V3 "/capabilities HTTP/1.1\r\nHost: x\r\n%s\r\n", bearer(token_of(1)));
    sim_send(&first, head, SIZE_MAX);
    assert_int_equal(first.output.size, 0);        /* the one ask that is let through is open */
    connect_client(&second);
    sim_say(&second, "POST " V3 "/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n");
    gr_buf_char(&second.output, '\0');
    check(second.output.ptr, 429, ERRCODE("M_LIMIT_EXCEEDED"));
    assert_non_null(strstr(second.output.ptr, "\"retry_after_ms\":500"));
    assert_non_null(strstr(second.output.ptr, "\r\nRetry-After: 1\r\n"));
    assert_int_equal(edge->counters.refused_credit, 1);
    hang_up(&second);
    settle(&first);
    gr_buf_char(&first.output, '\0');
    check(first.output.ptr, 401, ERRCODE("M_UNKNOWN_TOKEN"));
    hang_up(&first);
    check(request("POST", V3 "/login", "", "{}"), 400, ERRCODE("M_MISSING_PARAM"));
}

static void a_full_disk_stops_what_writes_only(void **state)
{
    (void)state;
    gr_str token = known_token(1, false);
    edge->disk_low = true;
    check(request("POST", V3 "/login", "", "{}"), 503, "disk is almost full");
    check(request("PUT", V3 "/devices/D", bearer(token), "{}"), 503, "disk is almost full");
    check(request("GET", V3 "/capabilities", bearer(token), ""), 200, "m.room_versions");
    assert_int_equal(edge->counters.refused_disk, 2);
    edge->disk_low = false;
    check(request("POST", V3 "/login", "", "{}"), 400, ERRCODE("M_MISSING_PARAM"));
}

static void a_client_that_leaves_is_forgotten_with_its_asks(void **state)
{
    (void)state;
    sim s;
    connect_client(&s);
    gr_str head = gr_arena_printf(arena, "GET " V3 "/capabilities HTTP/1.1\r\nHost: x\r\n%s\r\n", bearer(token_of(1)));
    sim_send(&s, head, SIZE_MAX);
    assert_int_equal(HASH_COUNT(edge->calls), 1);
    assert_non_null(edge->asks);
    hang_up(&s);
    assert_null(edge->calls);
    assert_null(edge->asks);
    gr_port_counters c;
    gr_port_count(edge->port, &c);
    assert_int_equal(c.in_flight, 0);
}

static void a_limit_without_a_time_names_the_same_in_body_and_header(void **state)
{
    (void)state;
    sim s;
    connect_client(&s);
    gr_str head = gr_arena_printf(arena, "GET " V3 "/capabilities HTTP/1.1\r\nHost: x\r\n%s\r\n", bearer(token_of(1)));
    sim_send(&s, head, SIZE_MAX);
    assert_non_null(edge->calls);
    gr_call_fail_with(edge->calls, GR_LIMIT_EXCEEDED, "Busy");
    sim_drain(&s, SIZE_MAX);
    gr_buf_char(&s.output, '\0');
    check(s.output.ptr, 429, "\"retry_after_ms\":500");
    assert_non_null(strstr(s.output.ptr, "\r\nRetry-After: 1\r\n"));
    hang_up(&s);
}

static const char *made_with_nonce(const char *nonce)
{
    const char *body = gr_arena_printf(arena, "{\"nonce\":\"%s\",\"username\":\"a\",\"password\":\"b\",\"mac\":\"c\"}",
                                       nonce).ptr;
    return request("POST", "/_synapse/admin/v1/register", "", body);
}

/* An attempt that begins in time is judged by its proof; here that is always wrong. */
static void a_nonce_for_registration_is_this_servers_own_and_good_for_a_minute(void **state)
{
    (void)state;
    config.registration_shared_secret = "shared with tools";
    const char *at = strstr(request("GET", "/_synapse/admin/v1/register", "", ""), "\"nonce\":\"");
    assert_non_null(at);
    char *nonce = gr_str_dup(gr_str_of(at + 9, strcspn(at + 9, "\"")));
    check(made_with_nonce(nonce), 403, ERRCODE("M_FORBIDDEN"));
    edge->now_ms += 59 * 1000;
    check(made_with_nonce(nonce), 403, ERRCODE("M_FORBIDDEN"));
    edge->now_ms += 2 * 1000;
    check(made_with_nonce(nonce), 400, "nonce");
    edge->now_ms -= 61 * 1000;
    nonce[0]++;                    /* until later than it said */
    check(made_with_nonce(nonce), 400, "nonce");
    free(nonce);
}

static void an_edge_closed_in_the_middle_of_calls_answers_nobody(void **state)
{
    (void)state;
    sim s;
    connect_client(&s);
    gr_str head = gr_arena_printf(arena, "GET " V3 "/capabilities HTTP/1.1\r\nHost: x\r\n%s\r\n", bearer(token_of(1)));
    sim_send(&s, head, SIZE_MAX);
    assert_int_equal(HASH_COUNT(edge->calls), 1);
    gr_edge_stop(edge);
    gr_edge_free(&edge);
    assert_null(edge);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(anybody_may_ask_for_versions),
        CASE(an_unknown_path_is_404_and_a_wrong_method_405),
        CASE(options_is_answered_to_web_pages_on_every_path),
        CASE(who_closes_the_account_has_signed_in_within_ten_minutes),
        CASE(without_a_token_the_answer_is_missing_token),
        CASE(a_mistyped_token_is_refused_without_asking_anybody),
        CASE(a_token_nobody_gave_out_is_refused_by_its_index),
        CASE(a_leased_token_is_taken_from_header_and_query_without_asking),
        CASE(a_token_is_forgotten_when_its_index_says_so),
        CASE(guests_may_do_what_is_open_to_them_only),
        CASE(a_body_must_be_a_json_object),
        CASE(a_body_that_is_too_large_is_refused_by_its_declared_length),
        CASE(who_asks_too_often_is_told_how_long_to_wait),
        cmocka_unit_test_setup_teardown(a_busy_node_refuses_before_a_body_is_read, set_up_empty, tear_down),
        CASE(a_limit_without_a_time_names_the_same_in_body_and_header),
        CASE(a_full_disk_stops_what_writes_only),
        CASE(a_client_that_leaves_is_forgotten_with_its_asks),
        CASE(a_nonce_for_registration_is_this_servers_own_and_good_for_a_minute),
        CASE(an_edge_closed_in_the_middle_of_calls_answers_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
