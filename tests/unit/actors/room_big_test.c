/* room_big_test.c - a room with many members: no handler reads much, no answer is large, and all is told once. */
#include "tests/unit/actors/room_view_rig.h"

#include <stdio.h>

enum { MEMBERS = 1500, ANSWER_MAX = 256 * 1024 };

static rig *big_room(void)
{
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\",\"initial_state\":["
                                           "{\"type\":\"m.room.encryption\",\"content\":{\"algorithm\":\"x\"}}]}"});
    for (int i = 0; i < MEMBERS; i++) {
        char user[32];
        snprintf(user, sizeof user, "@m%d:here", i);
        room_member(r, user, "join", user);
        assert_ok(r);
        if (i % 100 == 0) rig_commit(r);
    }
    rig_commit(r);
    r->is_over_bounds = false;
    return r;
}

/* --- reading to the end --------------------------------------------------------------------------------- */
static size_t reply_size(rig *r) { return rig_effect(r, GR_REPLY, NULL, 0)->body.size; }

/* Asks on as long as there are pages; page is the field of body. */
static const gr_json *read_all(rig *r, const gr_type *type, const void *body, gr_str *page, size_t *pages)
{
    gr_buf text = {0};
    gr_arena *a = gr_arena_new(0);
    bool first = true;
    for (*pages = 1;; ++*pages) {
        rig_ask(r, type, body);
        assert_ok(r);
        assert_true(reply_size(r) < ANSWER_MAX);
        assert_ptr_equal(r->reply_type, &gr_type_room_piece);
        const gr_room_piece *p = r->reply;
        assert_int_equal(p->head.size > 0, page->size == 0);
        assert_int_equal(p->tail.size > 0, p->next.size == 0);
        gr_buf_str(&text, p->head);
        if (p->items.size && !first) gr_buf_char(&text, ',');
        if (p->items.size) first = false;
        gr_buf_str(&text, p->items);
        gr_buf_str(&text, p->tail);
        if (p->next.size == 0) break;
        *page = gr_arena_str(a, p->next);
    }
    const gr_json *json = view_parse(r, gr_arena_str(r->long_arena, gr_buf_view(&text)));
    gr_buf_free(&text);
    gr_arena_free(&a);
    *page = (gr_str){0};
    return json;
}

/* Every member event of @m.. stands in this list just once. */
static void mark_members(const gr_json *events, bool seen[MEMBERS], size_t *count)
{
    for (uint32_t i = 0; i < events->count; i++) {
        uint64_t number;
        gr_str user = view_text(&events->items[i], "state_key");
        if (!gr_str_is(view_text(&events->items[i], "type"), "m.room.member") || user.ptr[1] != 'm') continue;
        assert_true(gr_str_u64(gr_str_of(user.ptr + 2, user.size - 2 - 5), &number));
        assert_false(seen[number]);
        seen[number] = true;
        ++*count;
    }
}

static void assert_all_members(const gr_json *events)
{
    bool seen[MEMBERS] = {false};
    size_t count = 0;
    mark_members(events, seen, &count);
    assert_int_equal(count, MEMBERS);
}

static void members_and_state_come_whole_in_pages(void **state)
{
    size_t pages;
    rig *r = *state;
    gr_room_members m = {.user = GR_STR("@a:here")};
    assert_all_members(gr_json_get(read_all(r, &gr_type_room_members, &m, &m.page, &pages), "chunk"));
    assert_true(pages > 1);
    gr_room_state_all s = {.user = GR_STR("@a:here")};
    const gr_json *all = read_all(r, &gr_type_room_state_all, &s, &s.page, &pages);
    assert_all_members(all);
    assert_true(all->count > MEMBERS + 5);
    m.not_membership = GR_STR("join");
    gr_room_members none = m;
    rig_ask(r, &gr_type_room_members, &none);
    assert_ok(r);
    assert_false(r->is_over_bounds);
}

static void pages_of_members_are_of_one_moment(void **state)
{
    rig *r = *state;
    gr_room_members m = {.user = GR_STR("@a:here")};
    rig_ask(r, &gr_type_room_members, &m);
    gr_str page = m.page = gr_arena_str(r->long_arena, ((const gr_room_piece *)r->reply)->next);
    assert_true(page.size > 0);
    size_t before = gr_json_get(view_parse(r, gr_arena_printf(r->arena, "{\"c\":[%.*s]}",
        GR_ARG(((const gr_room_piece *)r->reply)->items))), "c")->count;
    room_member(r, "@late:here", "join", "@late:here");
    assert_ok(r);
    for (;;) {
        rig_ask(r, &gr_type_room_members, &m);
        const gr_room_piece *p = r->reply;
        before += view_parse(r, gr_arena_printf(r->arena, "[%.*s]", GR_ARG(p->items)))->count;
        if (p->next.size == 0) break;
        m.page = gr_arena_str(r->long_arena, p->next);
    }
    assert_int_equal(before, MEMBERS + 1);
    room_member(r, "@late:here", "leave", "@late:here");
    assert_false(r->is_over_bounds);
}

static void everybody_joined_is_told_with_a_profile(void **state)
{
    size_t pages;
    rig *r = *state;
    gr_room_joined_members m = {.user = GR_STR("@m3:here")};
    rig_ask(r, &gr_type_room_joined_members, &m);
    assert_ok(r);
    if (r->reply_type == &gr_type_result) {
        assert_int_equal(gr_json_get(view_parse(r, ((const gr_result *)r->reply)->body), "joined")->count, MEMBERS + 1);
    } else {
        const gr_json *all = read_all(r, &gr_type_room_joined_members, &m, &m.page, &pages);
        assert_int_equal(gr_json_get(all, "joined")->count, MEMBERS + 1);
    }
    assert_false(r->is_over_bounds);
}

/* --- /sync ---------------------------------------------------------------------------------------------- */
typedef struct { bool seen[MEMBERS]; size_t members, keys, left, pages; } synced;

static synced sync_all(rig *r, gr_room_sync m)
{
    synced s = {0};
    gr_str page = {0};
    if (!m.section.size) m.section = GR_STR("join");
    m.to_pos = room_of(r)->next_pos - 1;
    do {
        m.page = page;
        rig_ask(r, &gr_type_room_sync, &m);
        assert_ok(r);
        assert_true(reply_size(r) < ANSWER_MAX);
        const gr_room_part *part = r->reply;
        mark_members(view_parse(r, part->state), s.seen, &s.members);
        if (part->timeline.size) mark_members(view_parse(r, part->timeline), s.seen, &s.members);
        s.keys += part->keys_joined.count;
        s.left += part->keys_left.count;
        s.pages++;
        page = gr_arena_str(r->long_arena, part->next);
    } while (page.size);
    return s;
}

static void a_first_sync_has_all_members_unless_they_are_loaded_lazily(void **state)
{
    rig *r = *state;
    synced s = sync_all(r, (gr_room_sync){.user = GR_STR("@a:here"), .full = true, .limit = 20});
    assert_int_equal(s.members, MEMBERS);
    assert_int_equal(s.keys, MEMBERS + 1);
    assert_true(s.pages > 2);
    s = sync_all(r, (gr_room_sync){.user = GR_STR("@a:here"), .full = true, .limit = 20, .lazy = true, .without_keys = true});
    assert_true(s.members <= 25);
    assert_int_equal(s.keys, 0);
    assert_int_equal(s.pages, 1);
    assert_false(r->is_over_bounds);
}

static void a_sync_after_many_joins_has_all_of_them(void **state)
{
    rig *r = *state;
    uint64_t half = room_of(r)->next_pos - 1 - MEMBERS / 2;
    for (int lazy = 0; lazy < 2; lazy++) {
        synced s = sync_all(r, (gr_room_sync){.user = GR_STR("@a:here"), .from_pos = half, .limit = 10, .lazy = lazy});
        assert_true(s.members >= MEMBERS / 2 - 4 && s.members <= MEMBERS / 2 + 10);
        assert_true(s.keys >= MEMBERS / 2 - 4);
    }
    assert_false(r->is_over_bounds);
}

static void a_sync_after_one_message_is_answered_at_once(void **state)
{
    rig *r = *state;
    say(r, "@a:here", "hello");
    gr_room_sync m = {.user = GR_STR("@m1:here"), .section = GR_STR("join"), .to_pos = room_of(r)->next_pos - 1, .limit = 20,
                      .lazy = true};
    m.from_pos = m.to_pos - 1;
    gr_msg msg = {.verb = GR_ASK, .type = &gr_type_room_sync, .body = &m, .from = GR_STR("edge/n0/0")};
    rig_handle(r, &msg);
    assert_ptr_equal(r->reply_type, &gr_type_room_part);
    assert_false(r->is_over_bounds);
}

static void who_leaves_hears_of_everybody_left_behind(void **state)
{
    rig *r = *state;
    uint64_t before = room_of(r)->next_pos - 1;
    room_member(r, "@m7:here", "leave", "@m7:here");
    synced s = sync_all(r, (gr_room_sync){.user = GR_STR("@m7:here"), .section = GR_STR("leave"),
                                          .from_pos = before, .limit = 20});
    assert_int_equal(s.left, MEMBERS);
    assert_false(r->is_over_bounds);
}

/* --- and the rest --------------------------------------------------------------------------------------- */
static void history_stays_within_the_bounds_of_a_handler(void **state)
{
    rig *r = *state;
    gr_room_messages m = {.user = GR_STR("@a:here"), .backward = true, .limit = 100};
    assert_int_equal(gr_json_get(view_ask(r, &gr_type_room_messages, &m), "chunk")->count, 100);
    gr_str id = say(r, "@a:here", "here");
    gr_room_context c = {.user = GR_STR("@a:here"), .event_id = id, .limit = 10};
    size_t pages;
    const gr_json *context = read_all(r, &gr_type_room_context, &c, &c.page, &pages);
    assert_non_null(context);
    assert_true(gr_json_get(context, "state")->count > MEMBERS);
    gr_room_state_get s = {.user = GR_STR("@a:here"), .type = GR_STR("m.room.member"), .state_key = GR_STR("@m9:here")};
    assert_non_null(view_ask(r, &gr_type_room_state_get, &s));
    gr_room_summary about = {.user = GR_STR("@a:here")};
    assert_non_null(view_ask(r, &gr_type_room_summary, &about));
    assert_false(r->is_over_bounds);
}

static void a_stranger_gets_no_page(void **state)
{
    rig *r = *state;
    gr_room_members m = {.user = GR_STR("@stranger:here"), .page = GR_STR("1_1")};
    rig_ask(r, &gr_type_room_members, &m);
    assert_int_equal(r->err.code, GR_FORBIDDEN);
    gr_room_joined_members j = {.user = GR_STR("@stranger:here"), .page = GR_STR("@a:here")};
    rig_ask(r, &gr_type_room_joined_members, &j);
    assert_int_equal(r->err.code, GR_FORBIDDEN);
}

static void a_reading_that_failed_is_told(void **state)
{
    rig *r = *state;
    gr_room_members m = {.user = GR_STR("@a:here")};
    rig_handle(r, &(gr_msg){.verb = GR_ASK, .type = &gr_type_room_members, .body = &m, .from = GR_STR("edge/n0/0")});
    assert_null(r->reply_type);
    assert_true(r->kind->busy(r->self));
    gr_resume resume = r->ctx.first->resume;
    rig_reply(r, &gr_type_work_done, &(gr_work_done){.failed = true}, &resume, gr_ok());
    assert_int_equal(r->err.code, GR_UNAVAILABLE);
    assert_false(r->kind->busy(r->self));
}

static int make(void **state)
{
    *state = big_room();
    return 0;
}

static int end(void **state)
{
    rig_free((rig **)state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_and_state_come_whole_in_pages),
        cmocka_unit_test(pages_of_members_are_of_one_moment),
        cmocka_unit_test(everybody_joined_is_told_with_a_profile),
        cmocka_unit_test(a_first_sync_has_all_members_unless_they_are_loaded_lazily),
        cmocka_unit_test(a_sync_after_many_joins_has_all_of_them),
        cmocka_unit_test(a_sync_after_one_message_is_answered_at_once),
        cmocka_unit_test(history_stays_within_the_bounds_of_a_handler),
        cmocka_unit_test(a_stranger_gets_no_page),
        cmocka_unit_test(a_reading_that_failed_is_told),
        cmocka_unit_test(who_leaves_hears_of_everybody_left_behind),
    };
    return cmocka_run_group_tests(tests, make, end);
}
