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

/* --- a client that keeps state ---------------------------------------------------------------------------- */
typedef struct { gr_str key, event_id; } piece;
typedef struct { piece at[64]; size_t count; uint64_t pos; } client;

static void hold(rig *r, client *c, const gr_json *events)
{
    for (uint32_t i = 0; i < events->count; i++) {
        const gr_json *e = &events->items[i];
        if (!gr_json_get(e, "state_key")) continue;
        gr_str key = gr_arena_printf(r->long_arena, "%.*s/%.*s", GR_ARG(view_text(e, "type")),
                                     GR_ARG(view_text(e, "state_key")));
        size_t k = 0;
        while (k < c->count && !gr_str_eq(c->at[k].key, key)) k++;
        if (k == c->count) c->count++;
        c->at[k] = (piece){key, gr_arena_str(r->long_arena, view_text(e, "event_id"))};
    }
}

static void client_syncs(rig *r, client *c, bool state_after, uint64_t limit)
{
    uint64_t to = room_of(r)->next_pos - 1;
    const gr_room_part *part = view_sync(r, (gr_room_sync){.user = GR_STR("@a:here"), .from_pos = c->pos, .to_pos = to,
                                                            .full = c->pos == 0, .state_after = state_after,
                                                            .limit = limit});
    assert_non_null(part);
    if (part->state.size) hold(r, c, view_parse(r, part->state));
    if (!state_after) hold(r, c, view_parse(r, part->timeline));
    c->pos = to;
}

static void assert_holds_state(rig *r, const client *c)
{
    gr_room_state_all m = {.user = GR_STR("@a:here")};
    const gr_json *all = view_ask(r, &gr_type_room_state_all, &m);
    assert_non_null(all);
    assert_int_equal(all->count, c->count);
    for (uint32_t i = 0; i < all->count; i++) {
        bool found = false;
        for (size_t k = 0; k < c->count; k++)
            found = found || gr_str_eq(c->at[k].event_id, view_text(&all->items[i], "event_id"));
        assert_true(found);
    }
}

static void a_client_always_ends_with_the_rooms_state(void **state)
{
    (void)state;
    static const char *const types[] = {"m.room.name", "m.room.topic", "t.one", "t.two"};
    for (uint64_t seed = 1; seed <= 10; seed++) {
        rig *r = room_new((room_options){"11", "{}"});
        client plain = {0}, after = {0};
        uint64_t random = seed;
        for (int step = 0; step < 60; step++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            uint64_t choice = random >> 33;
            gr_str content = gr_arena_printf(r->long_arena, "{\"v\":%d}", step);
            if (choice % 2) say(r, "@a:here", "x");
            else room_send(r, "@a:here", types[choice / 2 % 4], "", content.ptr, NULL);
            if (choice % 5) continue;
            client_syncs(r, &plain, false, choice / 16 % 6);
            assert_holds_state(r, &plain);
            client_syncs(r, &after, true, choice / 16 % 6);
            assert_holds_state(r, &after);
        }
        rig_free(&r);
    }
}

static void state_is_as_it_was_before_the_timeline(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{}"});
    room_send(r, "@a:here", "t", "", "{\"v\":1}", NULL);
    uint64_t seen = room_of(r)->next_pos - 1;
    room_send(r, "@a:here", "t", "", "{\"v\":2}", NULL);
    room_send(r, "@a:here", "t", "", "{\"v\":3}", NULL);
    gr_room_sync m = {.user = GR_STR("@a:here"), .from_pos = seen, .limit = 1};
    const gr_json *before = view_parse(r, view_sync(r, m)->state);
    assert_int_equal(before->count, 1);
    assert_int_equal(gr_json_integer(gr_json_path(&before->items[0], "content/v"), 0), 2);
    m.state_after = true;
    const gr_json *after = view_parse(r, view_sync(r, m)->state);
    assert_int_equal(after->count, 1);
    assert_int_equal(gr_json_integer(gr_json_path(&after->items[0], "content/v"), 0), 3);
    m = (gr_room_sync){.user = GR_STR("@a:here"), .from_pos = seen, .limit = 2};
    assert_int_equal(view_parse(r, view_sync(r, m)->state)->count, 0);
    rig_free(&r);
}

static bool has_event(const gr_json *events, const char *type, const char *key)
{
    for (uint32_t i = 0; events && i < events->count; i++)
        if (gr_str_is(view_text(&events->items[i], "type"), type)
            && gr_str_is(view_text(&events->items[i], "state_key"), key)) return true;
    return false;
}

static void lazy_loading_tells_members_of_senders_only(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\",\"name\":\"N\"}"});
    static const char *const users[] = {"@b:here", "@c:here", "@d:here"};
    for (size_t i = 0; i < 3; i++) room_member(r, users[i], "join", users[i]);
    say(r, "@c:here", "x");
    gr_room_sync m = {.user = GR_STR("@a:here"), .full = true, .lazy = true, .limit = 1};
    const gr_room_part *part = view_sync(r, m);
    const gr_json *held = view_parse(r, part->state);
    assert_true(has_event(held, "m.room.member", "@a:here"));
    assert_true(has_event(held, "m.room.member", "@c:here"));
    assert_false(has_event(held, "m.room.member", "@b:here"));
    assert_true(has_event(held, "m.room.name", ""));
    m.full = false;
    m.from_pos = room_of(r)->next_pos - 1;
    say(r, "@b:here", "y");
    m.to_pos = 0;
    part = view_sync(r, m);
    held = view_parse(r, part->state);
    assert_int_equal(held->count, 1);                      /* told again though nothing moved: there is no memory */
    assert_true(has_event(held, "m.room.member", "@b:here"));
    rig_free(&r);
}

static void nameless_rooms_have_heroes(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\"}"});
    room_member(r, "@c:here", "join", "@c:here");
    room_member(r, "@a:here", "invite", "@b:here");
    const gr_room_part *part = view_sync(r, (gr_room_sync){.user = GR_STR("@a:here"), .full = true, .limit = 1});
    assert_text(part->summary, "\"m.heroes\":[\"@c:here\",\"@b:here\"],\"m.joined_member_count\":2,"
                               "\"m.invited_member_count\":1");
    rig_free(&r);
}

static void who_left_gets_nothing_of_what_came_later(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\"}"});
    room_member(r, "@b:here", "join", "@b:here");
    uint64_t seen = room_of(r)->next_pos - 1;
    say(r, "@a:here", "before");
    room_member(r, "@b:here", "leave", "@b:here");
    room_send(r, "@a:here", "m.room.topic", "", "{\"topic\":\"secret\"}", NULL);
    say(r, "@a:here", "secret");
    room_member(r, "@a:here", "ban", "@b:here");
    gr_room_sync m = {.user = GR_STR("@b:here"), .section = GR_STR("leave"), .from_pos = seen, .limit = 10};
    const gr_room_part *part = view_sync(r, m);
    const gr_json *timeline = view_parse(r, part->timeline);
    assert_int_equal(timeline->count, 3);                  /* the message, the leave, and the ban itself */
    assert_text(view_text(&timeline->items[0], "content/body"), "before");
    if (part->state.size) assert_false(has_event(view_parse(r, part->state), "m.room.topic", ""));
    room_member(r, "@a:here", "unban", "@b:here");
    rig_free(&r);
}

static void a_rejected_invite_shows_nothing_of_the_room(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"name\":\"secret\"}"});
    room_member(r, "@a:here", "invite", "@b:here");
    room_member(r, "@b:here", "leave", "@b:here");
    gr_room_sync m = {.user = GR_STR("@b:here"), .section = GR_STR("leave"), .full = true, .limit = 10};
    const gr_room_part *part = view_sync(r, m);
    const gr_json *timeline = view_parse(r, part->timeline);
    assert_int_equal(timeline->count, 1);
    assert_text(view_text(&timeline->items[0], "content/membership"), "leave");
    assert_int_equal(part->state.size ? view_parse(r, part->state)->count : 0, 0);
    rig_free(&r);
}

static void ignored_users_are_left_out_but_not_their_state(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\"}"});
    uint64_t seen = room_of(r)->next_pos - 1;
    room_member(r, "@b:here", "join", "@b:here");
    say(r, "@b:here", "x");
    gr_str ignored = GR_STR("@b:here");
    gr_room_sync m = {.user = GR_STR("@a:here"), .from_pos = seen, .limit = 10, .ignored = {&ignored, 1}};
    const gr_json *timeline = view_parse(r, view_sync(r, m)->timeline);
    assert_int_equal(timeline->count, 1);
    assert_true(has_event(timeline, "m.room.member", "@b:here"));
    rig_free(&r);
}

static void who_came_and_went_is_told_for_device_lists(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\"}"});
    room_send(r, "@a:here", "m.room.encryption", "", "{\"algorithm\":\"m.megolm.v1.aes-sha2\"}", NULL);
    room_member(r, "@b:here", "join", "@b:here");
    uint64_t seen = room_of(r)->next_pos - 1;
    room_member(r, "@b:here", "leave", "@b:here");
    room_member(r, "@c:here", "join", "@c:here");
    const gr_room_part *part = view_sync(r, (gr_room_sync){.user = GR_STR("@a:here"), .from_pos = seen, .limit = 1});
    assert_true(part->encrypted);
    assert_int_equal(part->keys_joined.count, 1);
    assert_text(part->keys_joined.at[0], "@c:here");
    assert_int_equal(part->keys_left.count, 1);
    assert_text(part->keys_left.at[0], "@b:here");
    rig_free(&r);
}

static void event_fields_choose_parts_of_events(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{}"});
    room_send(r, "@a:here", "t", NULL, "{\"a\":{\"b\":1,\"c\":2},\"x.y\":3}", NULL);
    gr_room_sync m = {.user = GR_STR("@a:here"), .full = true, .limit = 1,
                      .event_fields = GR_STR("[\"type\",\"content.a.b\",\"content.x\\\\.y\"]")};
    const gr_room_part *part = view_sync(r, m);
    assert_text(part->timeline, "[{\"content\":{\"a\":{\"b\":1},\"x.y\":3},\"type\":\"t\"}]");
    rig_free(&r);
}

/* --- receipts and typing ------------------------------------------------------------------------------------- */
static void fire(rig *r, const char *name)
{
    gr_timer t = {.name = gr_str_c(name), .due_ms = r->ctx.now_ms};
    rig_handle(r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &t});
}

static void mark(rig *r, const char *user, const char *type, gr_str event_id)
{
    gr_room_receipt m = {.user = gr_str_c(user), .type = gr_str_c(type), .event_id = event_id};
    rig_ask(r, &gr_type_room_receipt, &m);
    assert_ok(r);
}

static void receipts_are_told_together_and_never_move_back(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\"}"});
    room_member(r, "@b:here", "join", "@b:here");
    gr_str one = say(r, "@a:here", "1"), two = say(r, "@a:here", "2");
    mark(r, "@b:here", "m.read", two);
    mark(r, "@b:here", "m.read", one);
    mark(r, "@a:here", "m.read.private", two);
    fire(r, "receipts");
    assert_int_equal(rig_count(r, GR_POST, &gr_type_feed_receipts),
                     gr_id_shard(GR_STR("@a:here")) == gr_id_shard(GR_STR("@b:here")) ? 1 : 2);
    const gr_feed_receipts *told = rig_body(r, rig_effect(r, GR_POST, &gr_type_feed_receipts, 0));
    assert_int_equal(told->receipt_pos, 2);
    fire(r, "receipts");
    assert_int_equal(rig_count(r, GR_POST, &gr_type_feed_receipts), 0);
    gr_room_sync m = {.user = GR_STR("@b:here"), .full = true, .receipts = true};
    gr_str want = gr_arena_printf(r->long_arena, "{\"%.*s\":{\"m.read\":{\"@b:here\":{\"ts\":%llu}}}}", GR_ARG(two),
                                  (unsigned long long)r->ctx.now_ms);
    assert_text(view_sync(r, m)->receipts, want.ptr);      /* nobody sees the private ones of others */
    m.user = GR_STR("@a:here");
    const gr_json *own = view_parse(r, view_sync(r, m)->receipts);
    assert_int_equal(gr_json_get_str(own, two)->count, 2);
    m.receipts_from = 2;
    assert_int_equal(view_sync(r, m)->receipts.size, 0);
    rig_reload(r);
    rig_free(&r);
}

static void typing_is_told_when_it_changes_and_ends_by_itself(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{}"});
    gr_room_typing m = {.user = GR_STR("@a:here"), .typing = true, .timeout_ms = 5000};
    rig_ask(r, &gr_type_room_typing, &m);
    const gr_feed_typing *told = rig_body(r, rig_effect(r, GR_TELL, &gr_type_feed_typing, 0));
    assert_int_equal(told->users.count, 1);
    rig_ask(r, &gr_type_room_typing, &m);
    assert_int_equal(rig_count(r, GR_TELL, &gr_type_feed_typing), 0);
    r->ctx.now_ms += 5000;
    fire(r, "typing");
    told = rig_body(r, rig_effect(r, GR_TELL, &gr_type_feed_typing, 0));
    assert_int_equal(told->users.count, 0);
    m.user = GR_STR("@x:here");
    rig_ask(r, &gr_type_room_typing, &m);
    assert_int_equal(r->err.code, GR_FORBIDDEN);
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_sync_has_state_before_its_timeline),
        cmocka_unit_test(a_client_always_ends_with_the_rooms_state),
        cmocka_unit_test(state_is_as_it_was_before_the_timeline),
        cmocka_unit_test(lazy_loading_tells_members_of_senders_only),
        cmocka_unit_test(nameless_rooms_have_heroes),
        cmocka_unit_test(who_left_gets_nothing_of_what_came_later),
        cmocka_unit_test(a_rejected_invite_shows_nothing_of_the_room),
        cmocka_unit_test(ignored_users_are_left_out_but_not_their_state),
        cmocka_unit_test(who_came_and_went_is_told_for_device_lists),
        cmocka_unit_test(event_fields_choose_parts_of_events),
        cmocka_unit_test(receipts_are_told_together_and_never_move_back),
        cmocka_unit_test(typing_is_told_when_it_changes_and_ends_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
