/* Names, directories, and what is known of uploads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/directory/directory.h"
#include "actors/media/media.h"
#include "actors/name/name.h"
#include "bus/stage.h"

static const gr_actor_kind *const kinds[] = {&gr_name_kind, &gr_directory_kind, &gr_media_kind, NULL};

static gr_errcode claim(gr_stage *s, const char *holder, uint64_t keep_ms)
{
    gr_name_claim m = {.holder = gr_str_c(holder), .value = GR_STR("{\"uses_allowed\":1}"), .keep_ms = keep_ms};
    gr_stage_ask(s, &gr_type_name_claim, &m);
    return gr_stage_error(s).code;
}

static gr_errcode look(gr_stage *s)
{
    gr_stage_ask(s, &gr_type_name_look, &(gr_name_look){0});
    return gr_stage_error(s).code;
}

static gr_errcode use(gr_stage *s, const char *holder)
{
    gr_stage_ask(s, &gr_type_name_use, &(gr_name_use){.holder = gr_str_c(holder)});
    return gr_stage_error(s).code;
}

static void a_name_has_one_winner_who_may_repeat(void **state)
{
    (void)state;
    gr_stage *s = gr_stage_new(kinds, "name/#a:here", NULL);
    assert_int_equal(claim(s, "one", 0), GR_OK);
    assert_int_equal(claim(s, "one", 0), GR_OK);
    assert_int_equal(claim(s, "two", 0), GR_ROOM_IN_USE);
    assert_int_equal(look(s), GR_OK);
    gr_stage_free(&s);
}

static void a_claim_that_is_not_confirmed_runs_out(void **state)
{
    (void)state;
    bool fired = false;
    gr_stage *s = gr_stage_new(kinds, "name/#a:here", NULL);
    assert_int_equal(claim(s, "one", 1000), GR_OK);
    assert_int_equal(look(s), GR_NOT_FOUND);
    gr_stage_fire(s, &fired);
    assert_int_equal(gr_stage_keys(s), 0);
    gr_stage_ask(s, &gr_type_name_confirm, &(gr_name_confirm){.holder = GR_STR("one")});
    assert_int_equal(gr_stage_error(s).code, GR_NOT_FOUND);
    assert_int_equal(claim(s, "two", 0), GR_OK);
    gr_stage_free(&s);
}

static void a_claim_may_be_confirmed_with_another_value(void **state)
{
    (void)state;
    gr_stage *s = gr_stage_new(kinds, "name/sso/a", NULL);
    assert_int_equal(claim(s, "one", 0), GR_OK);
    gr_stage_ask(s, &gr_type_name_confirm, &(gr_name_confirm){.holder = GR_STR("two"), .value = GR_STR("{\"a\":2}")});
    assert_int_equal(gr_stage_error(s).code, GR_NOT_FOUND);
    gr_stage_ask(s, &gr_type_name_confirm, &(gr_name_confirm){.holder = GR_STR("one"), .value = GR_STR("{\"a\":1}")});
    assert_int_equal(look(s), GR_OK);
    assert_true(gr_str_is(((const gr_result *)gr_stage_replied(s, &gr_type_result))->body, "{\"a\":1}"));
    gr_stage_free(&s);
}

static void a_confirmed_claim_stays_and_only_its_holder_releases_it(void **state)
{
    (void)state;
    bool fired = true;
    gr_stage *s = gr_stage_new(kinds, "name/#a:here", NULL);
    claim(s, "one", 1000);
    gr_stage_ask(s, &gr_type_name_confirm, &(gr_name_confirm){.holder = GR_STR("one")});
    gr_stage_fire(s, &fired);
    assert_false(fired);
    gr_stage_ask(s, &gr_type_name_release, &(gr_name_release){.holder = GR_STR("two")});
    assert_int_equal(look(s), GR_OK);
    gr_stage_ask(s, &gr_type_name_release, &(gr_name_release){.holder = GR_STR("one")});
    assert_int_equal(look(s), GR_NOT_FOUND);
    gr_stage_free(&s);
}

static void uses_are_counted_once_for_each_holder(void **state)
{
    (void)state;
    gr_stage *s = gr_stage_new(kinds, "name/regtoken/abc", NULL);
    assert_int_equal(use(s, "s1"), GR_NOT_FOUND);
    claim(s, "operator", 0);
    assert_int_equal(use(s, "s1"), GR_OK);
    assert_int_equal(use(s, "s1"), GR_OK);
    assert_int_equal(use(s, "s2"), GR_FORBIDDEN);
    gr_stage_free(&s);
}

static void publish(gr_stage *s, const char *id, const char *name, uint64_t joined, const char *type)
{
    gr_directory_put m = {.room_id = gr_str_c(id), .name = gr_str_c(name), .joined = joined, .room_type = gr_str_c(type),
                          .join_rule = GR_STR("public")};
    gr_stage_post(s, "room/!x", &gr_type_directory_put, &m, (gr_str){0});
}

static gr_str answer(gr_stage *s)
{
    gr_stage_run_work(s, gr_stage_worked(s, 0));
    const gr_result *r = gr_stage_replied(s, &gr_type_result);
    assert_non_null(r);
    return r->body;
}

static ptrdiff_t at(gr_str text, const char *part)
{
    const char *found = memmem(text.ptr, text.size, part, strlen(part));
    return found ? found - text.ptr : -1;
}

static gr_stage *directory(void)
{
    gr_stage *s = gr_stage_new(kinds, "directory/rooms", NULL);
    publish(s, "!small", "Cats", 2, "");
    publish(s, "!large", "Dogs", 9, "m.space");
    publish(s, "!middle", "More cats", 5, "");
    return s;
}

static void published_rooms_come_largest_first_in_pages(void **state)
{
    (void)state;
    gr_stage *s = directory();
    gr_stage_ask(s, &gr_type_directory_rooms, &(gr_directory_rooms){.limit = 2});
    gr_str page = answer(s);
    assert_true(at(page, "!large") < at(page, "!middle") && at(page, "!large") > 0);
    assert_true(at(page, "\"next_batch\":\"p2\"") > 0 && at(page, "!small") < 0 && at(page, "prev_batch") < 0);
    gr_stage_ask(s, &gr_type_directory_rooms, &(gr_directory_rooms){.limit = 2, .from = 2});
    page = answer(s);
    assert_true(at(page, "!small") > 0 && at(page, "next_batch") < 0 && at(page, "\"prev_batch\":\"p0\"") > 0);
    gr_stage_free(&s);
}

static void rooms_are_filtered_by_text_and_type(void **state)
{
    (void)state;
    gr_str space = GR_STR("m.space");
    gr_stage *s = directory();
    gr_stage_ask(s, &gr_type_directory_rooms, &(gr_directory_rooms){.term = GR_STR("CAT")});
    gr_str page = answer(s);
    assert_true(at(page, "!small") > 0 && at(page, "!middle") > 0 && at(page, "!large") < 0);
    gr_stage_ask(s, &gr_type_directory_rooms, &(gr_directory_rooms){.types = {&space, 1}});
    page = answer(s);
    assert_true(at(page, "!large") > 0 && at(page, "!small") < 0);
    gr_stage_ask(s, &gr_type_directory_rooms, &(gr_directory_rooms){.untyped = true});
    page = answer(s);
    assert_true(at(page, "!large") < 0 && at(page, "!small") > 0);
    gr_stage_free(&s);
}

static void a_room_that_is_no_longer_published_is_not_listed(void **state)
{
    (void)state;
    gr_stage *s = directory();
    gr_directory_remove m = {.room_id = GR_STR("!large")};
    gr_stage_post(s, "room/!large", &gr_type_directory_remove, &m, (gr_str){0});
    gr_stage_ask(s, &gr_type_directory_rooms, &(gr_directory_rooms){0});
    assert_true(at(answer(s), "!large") < 0);
    gr_stage_free(&s);
}

static void users_are_found_by_name_and_limited(void **state)
{
    (void)state;
    gr_stage *s = gr_stage_new(kinds, "directory/users", NULL);
    for (char c = 'a'; c <= 'c'; c++) {
        gr_directory_user m = {.user = gr_str_of((char[]){'@', c, ':', 'h'}, 4), .displayname = GR_STR("Somebody")};
        gr_stage_post(s, "user/@a:h", &gr_type_directory_user, &m, (gr_str){0});
    }
    gr_stage_ask(s, &gr_type_directory_users, &(gr_directory_users){.term = GR_STR("some"), .limit = 2});
    gr_str found = answer(s);
    assert_true(at(found, "@a:h") > 0 && at(found, "@c:h") < 0 && at(found, "\"limited\":true") > 0);
    gr_stage_ask(s, &gr_type_directory_users, &(gr_directory_users){.term = GR_STR("@b"), .limit = 2});
    found = answer(s);
    assert_true(at(found, "@b:h") > 0 && at(found, "\"limited\":false") > 0);
    gr_stage_free(&s);
}

static gr_errcode put_media(gr_stage *s, const char *user, bool reserved)
{
    gr_media_put m = {.user = gr_str_c(user), .content_type = GR_STR("image/png"), .size = 3, .reserved = reserved};
    gr_stage_ask(s, &gr_type_media_put, &m);
    return gr_stage_error(s).code;
}

static void a_reserved_id_is_for_one_upload_of_one_user(void **state)
{
    (void)state;
    gr_stage *s = gr_stage_new(kinds, "media/abcdefgh", NULL);
    assert_int_equal(put_media(s, "@a:here", true), GR_NOT_FOUND);
    gr_stage_ask(s, &gr_type_media_reserve, &(gr_media_reserve){.user = GR_STR("@a:here")});
    assert_int_equal(put_media(s, "@b:here", true), GR_FORBIDDEN);
    assert_int_equal(put_media(s, "@a:here", true), GR_OK);
    assert_int_equal(put_media(s, "@a:here", true), GR_CANNOT_OVERWRITE_MEDIA);
    gr_stage_free(&s);
}

static void a_reservation_that_is_not_used_runs_out(void **state)
{
    (void)state;
    bool fired = false;
    gr_stage *s = gr_stage_new(kinds, "media/abcdefgh", NULL);
    gr_stage_ask(s, &gr_type_media_reserve, &(gr_media_reserve){.user = GR_STR("@a:here")});
    gr_stage_fire(s, &fired);
    assert_true(fired);
    assert_int_equal(gr_stage_keys(s), 0);
    gr_stage_free(&s);
}

static void an_alias_moves_only_from_the_room_it_points_to(void **state)
{
    (void)state;
    gr_stage *s = gr_stage_new(kinds, "name/#x:here", NULL);
    gr_str to_b = GR_STR("{\"room_id\":\"!b:here\"}"), to_c = GR_STR("{\"room_id\":\"!c:here\"}");
    gr_stage_ask(s, &gr_type_name_claim,
                 &(gr_name_claim){.holder = GR_STR("h"), .value = GR_STR("{\"room_id\":\"!a:here\"}")});
    for (int i = 0; i < 2; i++)
        gr_stage_ask(s, &gr_type_name_move, &(gr_name_move){.room_id = GR_STR("!a:here"), .value = to_b});
    gr_stage_ask(s, &gr_type_name_move, &(gr_name_move){.room_id = GR_STR("!a:here"), .value = to_c});
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    gr_stage_ask(s, &gr_type_name_look, &(gr_name_look){0});
    assert_true(gr_str_eq(((const gr_result *)gr_stage_replied(s, &gr_type_result))->body, to_b));
    gr_stage_free(&s);
}

static void a_room_releases_only_an_alias_of_its_own(void **state)
{
    (void)state;
    gr_stage *s = gr_stage_new(kinds, "name/#x:here", NULL);
    gr_stage_ask(s, &gr_type_name_claim,
                 &(gr_name_claim){.holder = GR_STR("h"), .value = GR_STR("{\"room_id\":\"!a:here\"}")});
    gr_stage_ask(s, &gr_type_name_release, &(gr_name_release){.room_id = GR_STR("!b:here")});
    assert_int_equal(look(s), GR_OK);
    gr_stage_ask(s, &gr_type_name_release, &(gr_name_release){.room_id = GR_STR("!a:here")});
    assert_int_equal(look(s), GR_NOT_FOUND);
    gr_stage_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_has_one_winner_who_may_repeat),
        cmocka_unit_test(a_claim_that_is_not_confirmed_runs_out),
        cmocka_unit_test(a_claim_may_be_confirmed_with_another_value),
        cmocka_unit_test(a_confirmed_claim_stays_and_only_its_holder_releases_it),
        cmocka_unit_test(uses_are_counted_once_for_each_holder),
        cmocka_unit_test(a_room_releases_only_an_alias_of_its_own),
        cmocka_unit_test(an_alias_moves_only_from_the_room_it_points_to),
        cmocka_unit_test(published_rooms_come_largest_first_in_pages),
        cmocka_unit_test(rooms_are_filtered_by_text_and_type),
        cmocka_unit_test(a_room_that_is_no_longer_published_is_not_listed),
        cmocka_unit_test(users_are_found_by_name_and_limited),
        cmocka_unit_test(a_reserved_id_is_for_one_upload_of_one_user),
        cmocka_unit_test(a_reservation_that_is_not_used_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
