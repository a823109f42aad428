/* Registration files of application services, and the terms of the configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "edge/appservice.h"
#include "edge/terms.h"

static gr_err read_text(gr_arena *a, const char *text, gr_appservices **out)
{
    static char path[] = "/tmp/gr-appservice-XXXXXX";
    memcpy(path + sizeof path - 7, "XXXXXX", 6);
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    const char *files[] = {path};
    gr_config_list list = {files, 1};
    gr_err err = gr_appservices_read(a, &list, GR_STR("here"), out);
    unlink(path);
    return err;
}

static void an_application_service_is_known_by_its_token_and_owns_its_namespaces(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    gr_appservices *all = NULL;
    assert_int_equal(read_text(a, "id: one\nas_token: secret\nsender_localpart: bot\nnamespaces:\n  users:\n"
                                  "    - {exclusive: true, regex: '@x_.*:here'}\n    - {exclusive: false, regex: '@y_.*:here'}\n",
                               &all).code, GR_OK);
    const gr_appservice *one = gr_appservices_find(all, GR_STR("secret"));
    assert_non_null(one);
    assert_null(gr_appservices_find(all, GR_STR("Secret")));
    assert_null(gr_appservices_find(all, GR_STR("")));
    assert_true(gr_appservice_owns(one, GR_STR("@x_a:here")) && gr_appservice_owns(one, GR_STR("@y_a:here")));
    assert_true(gr_appservice_owns(one, GR_STR("@bot:here")));
    assert_false(gr_appservice_owns(one, GR_STR("@x_a:here.evil")) || gr_appservice_owns(one, GR_STR("evil@x_a:here")));
    assert_true(gr_appservices_exclusive(all, GR_STR("@x_a:here")));
    assert_false(gr_appservices_exclusive(all, GR_STR("@y_a:here")) || gr_appservices_exclusive(NULL, GR_STR("@x_a:here")));
    gr_appservices_free(&all);
    gr_arena_free(&a);
}

static void a_bad_registration_is_refused_and_says_why(void **state)
{
    static const char *const bad[] = {"id: one\nsender_localpart: bot\n", "as_token: x\nid: one\n", "- a\n", "{", "",
                                      "id: one\nas_token: x\nsender_localpart: b\nnamespaces: {users: [{regex: '('}]}\n",
                                      "id: one\nas_token: x\nsender_localpart: b\nnamespaces: {users: [{exclusive: true}]}\n"};
    (void)state;
    gr_arena *a = gr_arena_new(0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        gr_appservices *all = NULL;
        gr_err err = read_text(a, bad[i], &all);
        assert_int_equal(err.code, GR_INVALID_PARAM);
        assert_null(all);
        assert_non_null(strstr(err.text, "/tmp/gr-appservice"));
    }
    gr_arena_free(&a);
}

static void terms_in_several_languages_make_one_policy(void **state)
{
    static const char *const entries[] = {"privacy 1 en https://here/en Privacy policy", "use 2 en https://here/use Terms of use",
                                          "privacy 1 de https://here/de Datenschutz"};
    (void)state;
    gr_arena *a = gr_arena_new(0);
    const char *wanted = "{\"policies\":{"
        "\"privacy\":{\"version\":\"1\",\"en\":{\"name\":\"Privacy policy\",\"url\":\"https://here/en\"},"
        "\"de\":{\"name\":\"Datenschutz\",\"url\":\"https://here/de\"}},"
        "\"use\":{\"version\":\"2\",\"en\":{\"name\":\"Terms of use\",\"url\":\"https://here/use\"}}}}";
    assert_true(gr_str_is(gr_term_params(a, entries, 3), wanted));
    assert_int_equal(gr_term_params(a, NULL, 0).size, 0);
    static const char *const bad[] = {"privacy 1 en https://here", "privacy 1 en javascript:x Title", "privacy", "",
                                      "privacy 1 version https://here Title"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        gr_term term;
        assert_int_equal(gr_term_parse(a, gr_str_c(bad[i]), &term).code, GR_INVALID_PARAM);
    }
    gr_arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_application_service_is_known_by_its_token_and_owns_its_namespaces),
        cmocka_unit_test(a_bad_registration_is_refused_and_says_why),
        cmocka_unit_test(terms_in_several_languages_make_one_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
