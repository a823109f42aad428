/* server_acl_test.c - which servers a room lets in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proto/server_acl.h"

static bool allows(const char *content, const char *server)
{
    gr_arena *a = gr_arena_new(0);
    const gr_json *json = NULL;
    assert_false(gr_failed(gr_json_parse(a, gr_str_c(content), GR_JSON_LAX, &json)));
    bool answer = gr_server_acl_allows(json, gr_str_c(server));
    gr_arena_free(&a);
    return answer;
}

static void without_a_list_everybody_is_let_in(void **state)
{
    (void)state;
    assert_true(gr_server_acl_allows(NULL, GR_STR("a.test")));
    assert_true(gr_server_acl_allows(NULL, GR_STR("1.2.3.4")));
}

static void nobody_is_let_in_who_is_not_on_the_list(void **state)
{
    (void)state;
    assert_false(allows("{}", "a.test"));
    assert_false(allows("{\"allow\":[]}", "a.test"));
    assert_false(allows("{\"allow\":\"*\"}", "a.test"));
    assert_false(allows("{\"allow\":[7,null]}", "a.test"));
    assert_false(allows("{\"allow\":[\"b.test\"]}", "a.test"));
    assert_true(allows("{\"allow\":[7,\"a.test\"]}", "a.test"));
}

static void deny_goes_before_allow(void **state)
{
    (void)state;
    assert_false(allows("{\"allow\":[\"*\"],\"deny\":[\"*.evil.test\",\"evil.test\"]}", "evil.test"));
    assert_false(allows("{\"allow\":[\"*\"],\"deny\":[\"*.evil.test\"]}", "very.evil.test"));
    assert_true(allows("{\"allow\":[\"*\"],\"deny\":[\"*.evil.test\"]}", "evil.test"));
    assert_true(allows("{\"allow\":[\"*\"],\"deny\":{\"0\":\"a.test\"}}", "a.test"));
}

static void the_port_does_not_matter(void **state)
{
    (void)state;
    assert_false(allows("{\"allow\":[\"*\"],\"deny\":[\"evil.test\"]}", "evil.test:8448"));
    assert_true(allows("{\"allow\":[\"a.test\"]}", "a.test:1"));
    assert_true(allows("{\"allow\":[\"[2001:db8::1]\"]}", "[2001:db8::1]:8448"));
}

static void literal_addresses_can_be_kept_out(void **state)
{
    (void)state;
    static const char *const literals[] = {"1.2.3.4", "1.2.3.4:80", "[::1]", "[::1]:80"};
    for (size_t i = 0; i < 4; i++) {
        assert_false(allows("{\"allow\":[\"*\"],\"allow_ip_literals\":false}", literals[i]));
        assert_true(allows("{\"allow\":[\"*\"],\"allow_ip_literals\":true}", literals[i]));
        assert_true(allows("{\"allow\":[\"*\"],\"allow_ip_literals\":\"false\"}", literals[i]));
        assert_true(allows("{\"allow\":[\"*\"]}", literals[i]));
    }
    assert_true(allows("{\"allow\":[\"*\"],\"allow_ip_literals\":false}", "1.2.3.4.test"));
}

static void what_is_no_server_name_is_not_let_in(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ":80", "a test", "[::1", "a.test:port", "1.2.3.999"};
    for (size_t i = 0; i < 6; i++) assert_false(allows("{\"allow\":[\"*\"]}", bad[i]));
}

static void globs_match_whole_names_whatever_their_case(void **state)
{
    (void)state;
    static const struct { const char *pattern, *text; bool matches; } cases[] = {
        {"*", "", true},          {"", "", true},           {"", "a", false},        {"?", "", false},
        {"a", "ab", false},       {"A?C", "abc", true},     {"*.TEST", "x.test", true}, {"a*", "a", true},
        {"a**b", "ab", true},     {"*a*b*", "xxaxxbxx", true}, {"*ab", "aab", true}, {"*ab", "aba", false},
        {"a.b", "axb", false},    {"[ab]", "a", false},     {"*?", "", false},       {"?*?", "ab", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (gr_server_acl_matches(gr_str_c(cases[i].pattern), gr_str_c(cases[i].text)) != cases[i].matches)
            fail_msg("%s on %s", cases[i].pattern, cases[i].text);
}

static void a_glob_of_many_stars_is_quick(void **state)
{
    (void)state;
    char pattern[400], text[20000];
    for (size_t i = 0; i < sizeof pattern; i += 2) pattern[i] = '*', pattern[i + 1] = 'a';
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = 'b';
    assert_false(gr_server_acl_matches(gr_str_of(pattern, sizeof pattern), gr_str_of(text, sizeof text)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_list_everybody_is_let_in),
        cmocka_unit_test(nobody_is_let_in_who_is_not_on_the_list),
        cmocka_unit_test(deny_goes_before_allow),
        cmocka_unit_test(the_port_does_not_matter),
        cmocka_unit_test(literal_addresses_can_be_kept_out),
        cmocka_unit_test(what_is_no_server_name_is_not_let_in),
        cmocka_unit_test(globs_match_whole_names_whatever_their_case),
        cmocka_unit_test(a_glob_of_many_stars_is_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
