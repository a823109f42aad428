/* room_sync_test.c - one room's part of /sync: timeline, state, summary. */
#include "tests/unit/actors/room_view_rig.h"

static void the_first_sync_has_state_before_its_timeline(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"name\":\"N\"}"});
    for (int i = 0; i < 5; i++) say(r, "@a:here", "x");
    const gr_room_part *part = view_sync(r, (gr_room_sync){.user = GR_STR("@a:here"), .full = true, .limit = 3});
    assert_non_null(part);
    assert_true(part->limited);
    const gr_json *timeline = view_parse(r, part->timeline), *before = view_parse(r, part->state);
    assert_int_equal(timeline->count, 3);
    assert_text(view_text(&timeline->items[2], "content/body"), "x");
    assert_text(view_text(&timeline->items[2], "unsigned/membership"), "join");
    bool name = false;
    for (uint32_t i = 0; i < before->count; i++) name = name || gr_str_is(view_text(&before->items[i], "type"), "m.room.name");
    assert_true(name);
    assert_text(part->summary, "\"m.joined_member_count\":1,\"m.invited_member_count\":0");
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_sync_has_state_before_its_timeline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
