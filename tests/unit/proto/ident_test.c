/* Identifier grammar: the specification's examples and the edges of every limit. */
#include "proto/ident.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void valid_server_names_pass(void **state)
{
    (void)state;
    const char *good[] = {"matrix.org", "matrix.org:8888", "1.2.3.4", "1.2.3.4:1234", "[1234:5678::abcd]",
                          "[1234:5678::abcd]:5678", "localhost", "MATRIX.org", "a-b.c", "[::1]",
                          "x:0", "x:65535"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!gr_ident_server_name(gr_str_c(good[i]))) fail_msg("refused %s", good[i]);
}

static void invalid_server_names_are_refused(void **state)
{
    (void)state;
    const char *bad[] = {"", ":80", "matrix.org:", "matrix.org:888888", "matrix.org:65536", "matrix.org:8a",
                         "256.1.1.1", "[1234", "[zz::1]", "[1.2.3.4]", "[::1]80", "a b", "a/b",
                         "\xc3\xa9.org",
                         "under_score", "a:1:2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (gr_ident_server_name(gr_str_c(bad[i]))) fail_msg("accepted %s", bad[i]);
}

static void a_server_name_splits_into_host_and_port(void **state)
{
    (void)state;
    gr_str host;
    uint16_t port;
    bool literal;
    assert_true(gr_ident_server_split(GR_STR("[::1]:5678"), &host, &port, &literal));
    assert_true(gr_str_is(host, "::1") && port == 5678 && literal);
    assert_true(gr_ident_server_split(GR_STR("matrix.org"), &host, &port, &literal));
    assert_true(gr_str_is(host, "matrix.org") && port == 0 && !literal);
    assert_true(gr_ident_server_split(GR_STR("1.2.3.4:80"), &host, &port, &literal));
    assert_true(gr_str_is(host, "1.2.3.4") && port == 80 && literal);
}

static void an_id_splits_at_its_first_colon(void **state)
{
    (void)state;
    gr_ident id;
    assert_true(gr_ident_split(GR_STR("@alice:example.org:8448"), &id));
    assert_int_equal(id.sigil, '@');
    assert_true(gr_str_is(id.localpart, "alice") && gr_str_is(id.domain, "example.org:8448"));
    assert_true(gr_ident_split(GR_STR("!hash"), &id));
    assert_true(gr_str_is(id.localpart, "hash") && gr_str_empty(id.domain));
    assert_false(gr_ident_split(GR_STR("alice:example.org"), &id));
    assert_false(gr_ident_split(GR_STR(""), &id));
    assert_true(gr_ident_is_local(GR_STR("@a:x.org"), GR_STR("x.org")));
    assert_false(gr_ident_is_local(GR_STR("@a:X.org"), GR_STR("x.org")));
    assert_false(gr_ident_is_local(GR_STR("$hash"), GR_STR("")));
}

static void historical_user_ids_are_users_but_not_strict_ones(void **state)
{
    (void)state;
    const char *historical[] = {"@:x.org", "@A b:x.org", "@\xc3\xa9t\xc3\xa9:x.org", "@\x01:x.org"};
    for (size_t i = 0; i < sizeof historical / sizeof *historical; i++)
        if (!gr_ident_user(gr_str_c(historical[i]))) fail_msg("refused %s", historical[i]);
    assert_false(gr_ident_user_strict(GR_STR("@:x.org")));
    assert_false(gr_ident_user_strict(GR_STR("@A b:x.org")));
    assert_false(gr_ident_user_strict(GR_STR("@\xc3\xa9:x.org")));
    assert_true(gr_ident_user_strict(GR_STR("@ALICE!:x.org")));
}

static void what_is_no_user_id_is_refused(void **state)
{
    (void)state;
    assert_false(gr_ident_user(GR_STR("alice:x.org")));
    assert_false(gr_ident_user(GR_STR("@alice")));
    assert_false(gr_ident_user(GR_STR("@alice:")));
    assert_false(gr_ident_user(GR_STR("@a\0b:x.org")));
    assert_false(gr_ident_user(GR_STR("@\xed\xa0\x80:x.org")));      /* a surrogate */
    assert_false(gr_ident_user(GR_STR("@a:x org")));
    char long_id[258];
    memset(long_id, 'a', sizeof long_id);
    long_id[0] = '@';
    long_id[250] = ':';
    assert_true(gr_ident_user(gr_str_of(long_id, 255)));
    assert_false(gr_ident_user(gr_str_of(long_id, 256)));
}

static void rooms_and_events_exist_with_and_without_a_domain(void **state)
{
    (void)state;
    assert_true(gr_ident_room(GR_STR("!abc:x.org")));
    assert_true(gr_ident_room(GR_STR("!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ")));
    assert_false(gr_ident_room(GR_STR("!Nhcu5BS+UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ")));
    assert_false(gr_ident_room(GR_STR("!short")));
    assert_false(gr_ident_room(GR_STR("$abc:x.org")));
    assert_true(gr_ident_event(GR_STR("$abc:x.org")));
    assert_true(gr_ident_event(GR_STR("$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk")));
    assert_true(gr_ident_event(GR_STR("$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg")));
    assert_false(gr_ident_event(GR_STR("$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJ")));
    assert_true(gr_ident_alias(GR_STR("#caf\xc3\xa9:x.org")));
    assert_false(gr_ident_alias(GR_STR("#cafe")));
}

static void only_the_plain_alphabet_may_be_registered(void **state)
{
    (void)state;
    assert_true(gr_ident_localpart_new(GR_STR("alice.b_c=d-e/f+1")));
    assert_false(gr_ident_localpart_new(GR_STR("")));
    assert_false(gr_ident_localpart_new(GR_STR("Alice")));
    assert_false(gr_ident_localpart_new(GR_STR("al:ice")));
    assert_false(gr_ident_localpart_new(GR_STR("al\0ice")));
    assert_false(gr_ident_localpart_new(GR_STR("\xc3\xa9")));
}

static void ids_without_a_sigil_have_their_alphabets(void **state)
{
    (void)state;
    assert_true(gr_ident_opaque(GR_STR("aZ0-._~")));
    assert_false(gr_ident_opaque(GR_STR("a/b")));
    assert_false(gr_ident_opaque(GR_STR("")));
    assert_true(gr_ident_device(GR_STR("My phone \xf0\x9f\x93\xb1")));
    assert_false(gr_ident_device(GR_STR("a\nb")));
    assert_true(gr_ident_txn(GR_STR("m1234.5")));
    assert_true(gr_ident_key(GR_STR("ed25519:a_1")));
    assert_false(gr_ident_key(GR_STR("ed25519:")));
    assert_false(gr_ident_key(GR_STR(":a")));
    assert_true(gr_ident_namespaced(GR_STR("m.room-x_1")));
    assert_false(gr_ident_namespaced(GR_STR("1a")));
    assert_false(gr_ident_namespaced(GR_STR("aB")));
}

static void an_email_address_can_not_carry_a_header_or_a_second_address(void **state)
{
    static const char *const good[] = {"a@example.org", "a.b+c@example.org", "x!#$%&'*/=?^_`{|}~-@a.example", "a@localhost"};
    static const char *const bad[] = {"", "a", "@example.org", "a@", "a@b@c", "a b@example.org", "a@example.org\r\nBcc: x@y",
                                      "a\n@example.org", "<a@example.org>", "a@example.org,b@example.org", ".a@example.org",
                                      "a.@example.org", "a..b@example.org", "a@[192.0.2.1]", "a@192.0.2.1", "a@example.org:25",
                                      "\xc3\xa4@example.org", "a@exa mple.org", "\"a\"@example.org"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) assert_true(gr_ident_email(gr_str_c(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_false(gr_ident_email(gr_str_c(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_email_address_can_not_carry_a_header_or_a_second_address),
        cmocka_unit_test(valid_server_names_pass),
        cmocka_unit_test(invalid_server_names_are_refused),
        cmocka_unit_test(a_server_name_splits_into_host_and_port),
        cmocka_unit_test(an_id_splits_at_its_first_colon),
        cmocka_unit_test(historical_user_ids_are_users_but_not_strict_ones),
        cmocka_unit_test(what_is_no_user_id_is_refused),
        cmocka_unit_test(rooms_and_events_exist_with_and_without_a_domain),
        cmocka_unit_test(only_the_plain_alphabet_may_be_registered),
        cmocka_unit_test(ids_without_a_sigil_have_their_alphabets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
