/* Power levels: defaults, creators, and the numbers old versions take for one. */
#include "proto/power.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static gr_arena *arena;
static gr_event create, levels;

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

static const gr_json *json(const char *text)
{
    const gr_json *out = NULL;
    assert_false(gr_failed(gr_json_parse(arena, gr_str_c(text), GR_JSON_LAX, &out)));
    return out;
}

/* Powers of a room created by @s:a, naming @c:a as creator; levels_text NULL: no m.room.power_levels. */
static gr_powers powers(int version, const char *levels_text)
{
    const gr_room_version *row = gr_room_version_at((size_t)version - 1);
    create = (gr_event){.version = row, .sender = GR_STR("@s:a"),
                        .content = json("{\"creator\":\"@c:a\",\"additional_creators\":[\"@d:a\"]}")};
    levels = (gr_event){.version = row, .content = json(levels_text ? levels_text : "{}")};
    return (gr_powers){.version = row, .create = &create, .levels = levels_text ? &levels : NULL};
}

static void a_room_without_levels_has_the_defaults(void **state)
{
    (void)state;
    gr_powers p = powers(10, NULL);
    assert_int_equal(gr_power_of_user(&p, GR_STR("@c:a")), 100);
    assert_int_equal(gr_power_of_user(&p, GR_STR("@s:a")), 0);
    assert_int_equal(gr_power_for(&p, "ban"), 50);
    assert_int_equal(gr_power_for(&p, "kick"), 50);
    assert_int_equal(gr_power_for(&p, "redact"), 50);
    assert_int_equal(gr_power_for(&p, "invite"), 0);
    assert_int_equal(gr_power_for_event(&p, GR_STR("m.room.topic"), true), 50);
    assert_int_equal(gr_power_for_event(&p, GR_STR("m.room.message"), false), 0);
    assert_int_equal(gr_power_for_notification(&p, GR_STR("room")), 50);
}

static void creators_are_those_of_the_version(void **state)
{
    (void)state;
    const struct { int version; int64_t named, sender, additional; } rows[] = {
        {10, 100, 0, 0}, {11, 0, 100, 0}, {12, 0, GR_POWER_INFINITE, GR_POWER_INFINITE}};
    for (size_t i = 0; i < 3; i++) {
        gr_powers p = powers(rows[i].version, NULL);
        assert_int_equal(gr_power_of_user(&p, GR_STR("@c:a")), rows[i].named);
        assert_int_equal(gr_power_of_user(&p, GR_STR("@s:a")), rows[i].sender);
        assert_int_equal(gr_power_of_user(&p, GR_STR("@d:a")), rows[i].additional);
    }
    gr_powers p = powers(11, "{}");
    assert_int_equal(gr_power_of_user(&p, GR_STR("@s:a")), 0);
    p = powers(12, "{\"users\":{\"@s:a\":5}}");
    assert_int_equal(gr_power_of_user(&p, GR_STR("@s:a")), GR_POWER_INFINITE);
}

static void written_levels_come_before_defaults(void **state)
{
    (void)state;
    gr_powers p = powers(10, "{\"users\":{\"@m:a\":40},\"users_default\":7,\"events\":{\"m.x\":3},\"ban\":60,"
                             "\"state_default\":20,\"events_default\":2,\"notifications\":{\"room\":9}}");
    assert_int_equal(gr_power_of_user(&p, GR_STR("@m:a")), 40);
    assert_int_equal(gr_power_of_user(&p, GR_STR("@n:a")), 7);
    assert_int_equal(gr_power_for(&p, "ban"), 60);
    assert_int_equal(gr_power_for_event(&p, GR_STR("m.x"), true), 3);
    assert_int_equal(gr_power_for_event(&p, GR_STR("m.y"), true), 20);
    assert_int_equal(gr_power_for_event(&p, GR_STR("m.y"), false), 2);
    assert_int_equal(gr_power_for_notification(&p, GR_STR("room")), 9);
}

static void a_level_is_a_number_as_its_version_writes_it(void **state)
{
    (void)state;
    const struct { const char *text; int last; int64_t level; } rows[] = {
        {"5", 12, 5}, {"-5", 12, -5}, {"\"100\"", 9, 100}, {"\" +00100\\n\"", 9, 100}, {"\"-7\"", 9, -7},
        {"5.114698E4", 5, 51146}, {"50.57", 5, 50}, {"-1.5", 5, -1}, {"1e300", 5, INT64_MAX - 1},
        {"-1e300", 5, INT64_MIN}, {"\"1.5\"", 0, 0},
        {"\"\"", 0, 0}, {"\"+-1\"", 0, 0}, {"\"- 1\"", 0, 0}, {"true", 0, 0}, {"null", 0, 0}, {"[]", 0, 0}};
    for (int v = 1; v <= GR_ROOM_VERSION_COUNT; v++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            int64_t level = 1;
            bool is = gr_power_value(gr_room_version_at((size_t)v - 1), json(rows[i].text), &level);
            if (is != (v <= rows[i].last) || level != (is ? rows[i].level : 0))
                fail_msg("version %d: %s gave %lld", v, rows[i].text, (long long)level);
        }
    assert_false(gr_power_value(gr_room_version_at(0), NULL, &(int64_t){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_room_without_levels_has_the_defaults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(creators_are_those_of_the_version, set_up, tear_down),
        cmocka_unit_test_setup_teardown(written_levels_come_before_defaults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_level_is_a_number_as_its_version_writes_it, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
