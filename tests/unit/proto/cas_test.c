/* cas_test.c - the XML of CAS: what confirms somebody, and what does not. */
#include "proto/cas.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define RESPONSE(inner) "<c:serviceResponse xmlns:c='http://www.yale.edu/tp/cas'>" inner "</c:serviceResponse>"

static gr_arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_arena_free(&arena);
    return 0;
}

static const gr_json *read(const char *xml)
{
    const gr_json *person = NULL;
    gr_err err = gr_cas_validated(arena, gr_str_c(xml), &person);
    assert_int_equal(gr_failed(err), person == NULL);
    return person;
}

static void a_success_names_the_user_and_lists_attributes(void **state)
{
    (void)state;
    const gr_json *p = read(RESPONSE("<c:authenticationSuccess><c:user> anna </c:user><c:attributes><c:mail>a@x</c:mail>"
                                     "<c:group>one &amp; two</c:group><c:group>three</c:group><c:user>admin</c:user>"
                                     "</c:attributes></c:authenticationSuccess>"));
    assert_true(gr_str_is(gr_json_text(p, "user"), "anna") && gr_str_is(gr_json_text(p, "sub"), "anna"));
    const gr_json *groups = gr_json_get(p, "group");
    assert_int_equal(groups->count, 2);
    assert_true(gr_str_is(gr_json_string(&groups->items[0]), "one & two"));
}

static void anything_else_confirms_nobody(void **state)
{
    static const char *const bad[] = {
        "", "x", RESPONSE(""), RESPONSE("<c:user>a</c:user>"), RESPONSE("<c:authenticationFailure code='X'/>"),
        RESPONSE("<c:authenticationSuccess><c:user/></c:authenticationSuccess>"),
        RESPONSE("<c:authenticationSuccess><c:user>a</c:user><c:user>b</c:user></c:authenticationSuccess>"),
        RESPONSE("<authenticationSuccess><user>a</user></authenticationSuccess>"),
        "<!DOCTYPE x [<!ENTITY a 'b'>]>" RESPONSE("<c:authenticationSuccess><c:user>&a;</c:user></c:authenticationSuccess>"),
        "<c:authenticationSuccess xmlns:c='http://www.yale.edu/tp/cas'><c:user>a</c:user></c:authenticationSuccess>"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (read(bad[i])) fail_msg("taken: %s", bad[i]);
}

static void a_logout_names_its_session(void **state)
{
    static const char good[] = "<p:LogoutRequest xmlns:p='urn:oasis:names:tc:SAML:2.0:protocol'>"
                               "<p:SessionIndex>ST-1</p:SessionIndex></p:LogoutRequest>";
    static const char bare[] = "<LogoutRequest><SessionIndex>ST-1</SessionIndex></LogoutRequest>";
    (void)state;
    assert_true(gr_str_is(gr_cas_logout_session(arena, gr_str_c(good)), "ST-1"));
    assert_int_equal(gr_cas_logout_session(arena, gr_str_c(bare)).size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_success_names_the_user_and_lists_attributes),
        cmocka_unit_test(anything_else_confirms_nobody),
        cmocka_unit_test(a_logout_names_its_session),
    };
    return cmocka_run_group_tests_name("cas", tests, set_up, tear_down);
}
