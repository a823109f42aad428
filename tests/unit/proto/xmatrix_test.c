/* xmatrix_test.c - the header is read strictly, and a signature holds for one request to one server only. */
#include "proto/xmatrix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static gr_arena *arena;
static gr_signer signer;

static int set_up(void **state)
{
    static const unsigned char seed[GR_SIGN_SEED] = {7};
    (void)state;
    arena = gr_arena_new(0);
    return gr_failed(gr_signer_from_seed(GR_STR("origin.example:8448"), GR_STR("k1"), seed, &signer));
}

static int tear_down(void **state)
{
    (void)state;
    gr_arena_free(&arena);
    return 0;
}

static bool reads(const char *text)
{
    gr_xmatrix x;
    return !gr_failed(gr_xmatrix_parse(arena, gr_str_c(text), &x));
}

static void names_are_taken_in_any_case_order_and_spelling(void **state)
{
    gr_xmatrix x;
    (void)state;
    gr_str text = GR_STR("x-matrix   sig=\"a\\b\\\"c\" ,\tORIGIN=a.example:1, more=x,Key=\"ed25519:k\",destination=\"b\"");
    assert_false(gr_failed(gr_xmatrix_parse(arena, text, &x)));
    assert_true(gr_str_is(x.sig, "ab\"c") && gr_str_is(x.origin, "a.example:1"));
    assert_true(gr_str_is(x.key, "ed25519:k") && gr_str_is(x.destination, "b"));
    assert_true(reads("X-Matrix origin=a,key=ed25519:k,sig=x"));
}

static void what_is_not_the_grammar_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "X-Matrix",
        "X-Matrix ",
        "Bearer origin=a,key=ed25519:k,sig=x",
        "X-Matrixorigin=a,key=ed25519:k,sig=x",
        "X-Matrix\torigin=a,key=ed25519:k,sig=x",
        "X-Matrix origin=a,key=ed25519:k,sig=x,",
        "X-Matrix ,origin=a,key=ed25519:k,sig=x",
        "X-Matrix origin=a key=ed25519:k,sig=x",
        "X-Matrix origin =a,key=ed25519:k,sig=x",
        "X-Matrix origin= a,key=ed25519:k,sig=x",
        "X-Matrix origin=\"a,key=ed25519:k,sig=x",
        "X-Matrix origin=\"a\"b,key=ed25519:k,sig=x",
        "X-Matrix origin=a,key=ed25519:k,sig=\"x\\",
        "X-Matrix origin=a,origin=b,key=ed25519:k,sig=x",
        "X-Matrix origin=a,key=ed25519:k",
        "X-Matrix origin=a,sig=x",
        "X-Matrix key=ed25519:k,sig=x",
        "X-Matrix origin=,key=ed25519:k,sig=x",
        "X-Matrix origin=\"\",key=ed25519:k,sig=x",
        "X-Matrix origin=a,key=k,sig=x",
        "X-Matrix origin=a,key=ed25519:,sig=x",
        "X-Matrix origin=a,key=rsa:k,sig=x",
        "X-Matrix origin=\"a b\",key=ed25519:k,sig=x",
        "X-Matrix origin=\"a/b\",key=ed25519:k,sig=x",
        "X-Matrix origin=a,key=ed25519:k,sig=\"\x01\"",
        "X-Matrix origin=a=b,key=ed25519:k,sig=x",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (reads(wrong[i])) fail_msg("accepted: %s", wrong[i]);
}

static void long_headers_are_refused(void **state)
{
    (void)state;
    gr_buf text = {0};
    gr_buf_c(&text, "X-Matrix origin=a,key=ed25519:k,sig=");
    while (text.size <= GR_XMATRIX_HEADER_MAX) gr_buf_char(&text, 'x');
    gr_buf_char(&text, 0);
    assert_false(reads(text.ptr));
    gr_buf_clear(&text);
    gr_buf_c(&text, "X-Matrix origin=a,key=ed25519:k,sig=x");
    for (int i = 0; i < GR_XMATRIX_PARAMS_MAX; i++) gr_buf_c(&text, ",p=x");
    gr_buf_char(&text, 0);
    assert_false(reads(text.ptr));
    gr_buf_free(&text);
}

static const gr_json *json(const char *text)
{
    const gr_json *out = NULL;
    assert_false(gr_failed(gr_json_parse(arena, gr_str_c(text), GR_JSON_LAX, &out)));
    return out;
}

static bool holds(gr_str header, const gr_xmatrix_request *r, const char *own_name)
{
    gr_xmatrix x;
    assert_false(gr_failed(gr_xmatrix_parse(arena, header, &x)));
    return !gr_failed(gr_xmatrix_check(arena, &x, r, gr_str_c(own_name), signer.public_key));
}

static void a_signature_holds_for_one_request_to_one_server(void **state)
{
    (void)state;
    gr_xmatrix_request sent = {.method = GR_STR("PUT"), .uri = GR_STR("/a?b=c"), .content = json("{\"b\":1,\"a\":[2.5]}")};
    gr_str header = gr_xmatrix_header(arena, &signer, GR_STR("here"), &sent);
    assert_true(holds(header, &sent, "here"));
    gr_xmatrix_request same = sent;
    same.content = json(" { \"a\" : [2.5], \"b\" : 1 } ");
    assert_true(holds(header, &same, "here"));
    assert_false(holds(header, &sent, "there"));
    gr_xmatrix_request changed = sent;
    changed.method = GR_STR("POST");
    assert_false(holds(header, &changed, "here"));
    changed = sent;
    changed.uri = GR_STR("/a?b=d");
    assert_false(holds(header, &changed, "here"));
    changed = sent;
    changed.content = json("{\"b\":1,\"a\":[2]}");
    assert_false(holds(header, &changed, "here"));
    changed.content = NULL;
    assert_false(holds(header, &changed, "here"));
}

static void a_header_for_another_destination_is_refused_whatever_was_signed(void **state)
{
    gr_xmatrix x;
    (void)state;
    gr_xmatrix_request sent = {.method = GR_STR("GET"), .uri = GR_STR("/")};
    gr_str header = gr_xmatrix_header(arena, &signer, GR_STR("here"), &sent);
    assert_false(gr_failed(gr_xmatrix_parse(arena, header, &x)));
    x.destination = (gr_str){0};
    assert_false(gr_failed(gr_xmatrix_check(arena, &x, &sent, GR_STR("here"), signer.public_key)));
    x.destination = GR_STR("there");
    assert_true(gr_failed(gr_xmatrix_check(arena, &x, &sent, GR_STR("here"), signer.public_key)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_are_taken_in_any_case_order_and_spelling, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_the_grammar_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_headers_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_signature_holds_for_one_request_to_one_server, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_header_for_another_destination_is_refused_whatever_was_signed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
