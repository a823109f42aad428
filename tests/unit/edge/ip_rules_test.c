/* ip_rules_test.c - which addresses strangers may lead this server to. */
#include "edge/ip_rules.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static bool allows(const gr_ip_rules *rules, const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) return gr_ip_rules_allow(rules, (struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return gr_ip_rules_allow(rules, (struct sockaddr *)&v6);
}

static void public_addresses_are_allowed_and_others_are_not(void **state)
{
    static const char *const public[] = {"8.8.8.8", "172.32.0.1", "100.128.0.1", "2a00:1450:4001::1", "2606:4700::1",
                                         "64:ff9b::808:808"};
    static const char *const others[] = {
        "0.0.0.0", "10.255.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.255", "169.254.169.254", "172.16.0.1", "172.31.255.255",
        "192.168.1.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::", "2001:db8::1"};
    static const gr_ip_rules rules;
    (void)state;
    for (size_t i = 0; i < sizeof public / sizeof public[0]; i++)
        if (!allows(&rules, public[i])) fail_msg("%s is denied", public[i]);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (allows(&rules, others[i])) fail_msg("%s is allowed", others[i]);
}

static void what_is_no_ip_address_is_denied(void **state)
{
    struct sockaddr_storage local = {.ss_family = AF_UNIX};
    static const gr_ip_rules rules = {.private_ok = true};
    (void)state;
    assert_false(gr_ip_rules_allow(&rules, (struct sockaddr *)&local));
}

static void allowed_ranges_win_over_denied_ones_and_these_over_the_rest(void **state)
{
    gr_ip_rules rules = {.allow_count = 2, .deny_count = 2, .private_ok = true};
    (void)state;
    assert_true(gr_ip_range_parse(GR_STR("10.1.0.0/16"), &rules.allow[0]));
    assert_true(gr_ip_range_parse(GR_STR("::1"), &rules.allow[1]));
    assert_true(gr_ip_range_parse(GR_STR("10.0.0.0/7"), &rules.deny[0]));
    assert_true(gr_ip_range_parse(GR_STR("2a00::/16"), &rules.deny[1]));
    assert_true(allows(&rules, "10.1.2.3") && allows(&rules, "::1") && allows(&rules, "192.168.0.1"));
    assert_false(allows(&rules, "10.2.0.1") || allows(&rules, "11.255.0.1") || allows(&rules, "2a00::7"));
    assert_true(allows(&rules, "12.0.0.1") && allows(&rules, "2a01::7"));
    assert_false(allows(&rules, "::ffff:10.2.0.1"));
    rules.private_ok = false;
    assert_true(allows(&rules, "::1"));
    assert_false(allows(&rules, "192.168.0.1"));
}

static void texts_that_are_no_range_are_refused(void **state)
{
    static const char *const wrong[] = {"", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "::/129", "x", "10.0.0.0/-1", "1.2.3.4/8/8",
                                        "a very long text that is longer than any address could ever be, so to say"};
    gr_ip_range range;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) assert_false(gr_ip_range_parse(gr_str_c(wrong[i]), &range));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_addresses_are_allowed_and_others_are_not),
        cmocka_unit_test(what_is_no_ip_address_is_denied),
        cmocka_unit_test(allowed_ranges_win_over_denied_ones_and_these_over_the_rest),
        cmocka_unit_test(texts_that_are_no_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
