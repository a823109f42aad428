/* report_test.c - reports to the owner of the server. */
#include "tests/unit/actors/rig.h"

#include "actors/directory/directory.h"
#include "proto/json.h"

static void put(rig *r, const char *reason)
{
    gr_report_put m = {.user = GR_STR("@a:here"), .room_id = GR_STR("!r:here"), .reason = gr_str_c(reason)};
    rig_ask(r, &gr_type_report_put, &m);
    assert_ptr_equal(r->reply_type, &gr_type_done);
}

static const gr_json *list(rig *r, uint64_t before)
{
    const gr_json *json = NULL;
    rig_ask(r, &gr_type_report_list, &(gr_report_list){.before = before});
    assert_ptr_equal(r->reply_type, &gr_type_result);
    assert_false(gr_failed(gr_json_parse(r->arena, ((const gr_result *)r->reply)->body, GR_JSON_LAX, &json)));
    return json;
}

static void reports_are_kept_and_listed_from_the_newest(void **state)
{
    (void)state;
    rig *r = rig_new(&gr_directory_kind, "directory/reports");
    put(r, "first");
    put(r, "second");
    rig_unload(r);
    rig_load(r);
    const gr_json *json = list(r, 0), *reports = gr_json_get(json, "reports");
    assert_int_equal(reports->count, 2);
    assert_true(gr_str_is(gr_json_text(&reports->items[0], "reason"), "second"));
    assert_true(gr_str_is(gr_json_text(&reports->items[1], "room_id"), "!r:here"));
    assert_int_equal(gr_json_integer(gr_json_get(&reports->items[0], "ts"), 0), r->ctx.now_ms);
    assert_null(gr_json_get(json, "next"));
    rig_free(&r);
}

static void many_reports_come_in_pages(void **state)
{
    (void)state;
    rig *r = rig_new(&gr_directory_kind, "directory/reports");
    for (int i = 0; i < GR_REPORTS_PAGE + 3; i++) put(r, "x");
    const gr_json *json = list(r, 0);
    assert_int_equal(gr_json_get(json, "reports")->count, GR_REPORTS_PAGE);
    json = list(r, (uint64_t)gr_json_integer(gr_json_get(json, "next"), 0));
    assert_int_equal(gr_json_get(json, "reports")->count, 3);
    assert_null(gr_json_get(json, "next"));
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reports_are_kept_and_listed_from_the_newest),
        cmocka_unit_test(many_reports_come_in_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
