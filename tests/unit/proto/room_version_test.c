/* The room version table, column by column: from which version on a switch is set. */
#include "proto/room_version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static void versions_1_to_12_are_known_in_order(void **state)
{
    (void)state;
    char id[4];
    for (int i = 1; i <= GR_ROOM_VERSION_COUNT; i++) {
        snprintf(id, sizeof id, "%d", i);
        assert_string_equal(gr_room_version_at((size_t)i - 1)->id, id);
        assert_ptr_equal(gr_room_version_find(gr_str_c(id)), gr_room_version_at((size_t)i - 1));
    }
    assert_non_null(gr_room_version_find(GR_STR(GR_ROOM_VERSION_DEFAULT)));
    assert_null(gr_room_version_find(GR_STR("13")));
    assert_null(gr_room_version_find(GR_STR("")));
    assert_null(gr_room_version_find(GR_STR("org.example.1")));
}

/* A switch that is `before` up to version change-1 and the opposite from there on. */
#define HOLDS(field, before, change) \
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++) \
        if (gr_room_version_at((size_t)v - 1)->field != (v < (change) ? (before) : !(before))) \
            fail_msg("%s is wrong in version %d", #field, v)

static void switches_change_where_the_specification_says(void **state)
{
    (void)state;
    HOLDS(edges_carry_hashes, true, 3);
    HOLDS(redaction_rule, true, 3);
    HOLDS(key_validity, false, 5);
    HOLDS(json, false, 6);
    HOLDS(aliases_rule, true, 6);
    HOLDS(redaction_keeps_aliases, true, 6);
    HOLDS(notifications_rule, false, 6);
    HOLDS(knock, false, 7);
    HOLDS(restricted, false, 8);
    HOLDS(redaction_keeps_allow, false, 8);
    HOLDS(redaction_keeps_authorised, false, 9);
    HOLDS(knock_restricted, false, 10);
    HOLDS(creator_in_content, true, 11);
    HOLDS(redacts_in_content, false, 11);
    HOLDS(redaction_keeps_origin, true, 11);
    HOLDS(redaction_keeps_all_create, false, 11);
    HOLDS(redaction_keeps_invite, false, 11);
    HOLDS(room_id_is_create_hash, false, 12);
    HOLDS(privileged_creators, false, 12);
    HOLDS(create_in_auth_events, true, 12);
}

static void limits_and_algorithms_follow_the_version(void **state)
{
    (void)state;
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++) {
        const gr_room_version *row = gr_room_version_at((size_t)v - 1);
        assert_int_equal(row->depth_max, v < 6 ? INT64_MAX : GR_JSON_INT_MAX);
        assert_int_equal(row->event_id, v < 3 ? GR_EVENT_ID_CHOSEN :
                                        v < 4 ? GR_EVENT_ID_BASE64 : GR_EVENT_ID_BASE64_URL);
        assert_int_equal(row->state_res, v < 2 ? GR_STATE_RES_1 : v < 12 ? GR_STATE_RES_2 : GR_STATE_RES_2_1);
        assert_int_equal(row->power, v < 6 ? GR_POWER_ANY_NUMBER :
                                     v < 10 ? GR_POWER_OR_STRING : GR_POWER_INTEGER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_1_to_12_are_known_in_order),
        cmocka_unit_test(switches_change_where_the_specification_says),
        cmocka_unit_test(limits_and_algorithms_follow_the_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
