/* room_cover_test.c - a room without a chain cover gets it in steps: by upkeep, or when a state event finds no place. */
#include "tests/unit/actors/room_receive_rig.h"

#include "actors/fsck.h"

enum { STEPS_MAX = 500 };

static bool is_problem(rig *r, const char *wanted, gr_fsck_rooms *rooms)
{
    gr_fsck_report report;
    gr_fsck *fsck = gr_fsck_new();
    rig_commit(r);
    *rooms = (gr_fsck_rooms){.env = &r->env};
    gr_fsck_actors(fsck, rooms);
    assert_false(gr_failed(gr_fsck_run(fsck, r->store, NULL, NULL, &report)));
    bool found = false;
    for (size_t i = 0; i < report.listed.count; i++) {
        if (wanted) found = found || gr_str_ends(report.listed.at[i], gr_str_c(wanted));
        else print_error("%.*s\n", GR_ARG(report.listed.at[i]));
    }
    bool any = report.problems > 0;
    gr_fsck_free(&fsck);
    return wanted ? found : any;
}

static void assert_sound(rig *r)
{
    gr_fsck_rooms rooms;
    assert_false(is_problem(r, NULL, &rooms));
    gr_buf_free(&rooms.uncovered);
}

/* As a version left it that gave no places. */
static void uncover(rig *r)
{
    gr_ctx_begin(&r->ctx, r->address);
    for (uint64_t n = 1; n < room_of(r)->next_number; n++) {
        gr_ctx_del(&r->ctx, gr_room_key_number(&r->ctx, 'c', n));
        gr_ctx_del(&r->ctx, gr_room_key_number(&r->ctx, 'C', n));
    }
    gr_ctx_del(&r->ctx, GR_STR("Z"));
    rig_finish(r);
}

/* The shard was written behind the rig's back. */
static void reopen(rig *r)
{
    gr_overlay_drop(r->overlay);
    assert_false(gr_failed(gr_shard_open(r->store, gr_address_shard(r->address), r->long_arena, &r->shard)));
    rig_reload(r);
}

static bool has_place(rig *r, uint64_t number)
{
    gr_str row;
    gr_ctx_begin(&r->ctx, r->address);
    return gr_ctx_get(&r->ctx, gr_room_key_number(&r->ctx, 'c', number), &row);
}

/* Steps until it is finished; all that was skipped is told in `text`. */
static uint64_t upkeep(rig *r, gr_buf *text)
{
    uint64_t worked = 0;
    for (int i = 0; i < STEPS_MAX; i++) {
        r->is_over_bounds = false;
        rig_ask(r, &gr_type_upkeep_step, &(gr_upkeep_step){.name = GR_STR("room-cover")});
        assert_true(r->reply_type == &gr_type_upkeep_done);
        assert_false(r->is_over_bounds);
        const gr_upkeep_done *done = r->reply;
        worked += done->worked;
        for (size_t k = 0; k < done->skipped.count; k++) {
            gr_buf_str(text, done->skipped.at[k]);
            gr_buf_char(text, '\n');
        }
        bool finished = done->finished;
        if (i % 3 == 0) rig_reload(r);
        if (finished) return worked;
    }
    fail_msg("the upkeep does not end");
    return worked;
}

/* Members come and go, powers change, and messages between. */
static fork_room busy(const char *version)
{
    fork_room f = open_room(version);
    for (int i = 0; i < 12; i++) {
        char user[16];
        snprintf(user, sizeof user, "@m%d:here", i);
        room_member(f.r, user, "join", user);
        room_send(f.r, "@a:here", "m.room.message", NULL, "{\"body\":\"x\"}", "");
        if (i % 3 == 0) room_member(f.r, user, "leave", user);
    }
    return f;
}

static const char *const versions[] = {"1", "6", "11", "12"};
#define IN_EACH(f) \
    for (size_t v_ = 0; v_ < 4; v_++) \
        for (fork_room f = busy(versions[v_]); f.r; rig_free(&f.r))

static void a_room_without_a_cover_gets_it_in_steps(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        gr_buf skipped = {0};
        uncover(f.r);
        assert_true(upkeep(f.r, &skipped) > 20);
        assert_int_equal(skipped.size, 0);
        assert_sound(f.r);
        gr_buf_free(&skipped);
    }
}

static void a_room_that_was_covered_as_it_grew_is_passed_over(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        gr_buf skipped = {0};
        assert_int_equal(upkeep(f.r, &skipped), 0);
        assert_sound(f.r);
    }
}

static void fsck_tells_of_a_room_without_a_cover_and_repairs_it(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        gr_fsck_rooms rooms;
        gr_buf skipped = {0};
        size_t repaired;
        gr_ctx_begin(&f.r->ctx, f.r->address);                             /* a wrong one: the newest member cites nothing */
        gr_ctx_put(&f.r->ctx, gr_room_key_number(&f.r->ctx, 'c', room_of(f.r)->next_number - 2), GR_STR("\x10\0"));
        rig_finish(f.r);
        assert_true(is_problem(f.r, "the chain cover lacks part of the auth chain", &rooms));
        assert_false(gr_failed(gr_fsck_repair(f.r->store, &rooms, &repaired)));
        assert_int_equal(repaired, 1);
        gr_buf_free(&rooms.uncovered);
        reopen(f.r);
        assert_true(is_problem(f.r, "the room has no chain cover: fsck --repair, and the running server makes it", &rooms));
        gr_buf_free(&rooms.uncovered);
        assert_false(has_place(f.r, 1));
        assert_true(upkeep(f.r, &skipped) > 20);
        assert_sound(f.r);
    }
}

/* The update is over in this shard, and never saw the room. */
static void a_state_event_that_finds_no_place_has_the_cover_made(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        uncover(f.r);
        room_send(f.r, "@a:here", "m.room.message", NULL, "{\"body\":\"x\"}", "");
        assert_false(rig_fire(f.r));
        room_send(f.r, "@a:here", "m.room.topic", "", "{\"topic\":\"t\"}", "");
        uint64_t topic = room_of(f.r)->next_number - 1;
        int steps = 0;
        while (rig_fire(f.r) && steps < STEPS_MAX) steps++;
        assert_in_range(steps, 2, STEPS_MAX - 1);
        assert_true(has_place(f.r, topic));
        assert_sound(f.r);
        room_send(f.r, "@a:here", "m.room.topic", "", "{\"topic\":\"u\"}", "");
        assert_true(has_place(f.r, topic + 1));
    }
}

/* --- data that no honest server makes, and no version of this one stores ------------------------------------- */
/* An event with these auth events, as they are written, by its rows alone. */
static uint64_t plant(rig *r, const char *id, const char *auth, uint32_t flags)
{
    gr_buf row = {0};
    gr_ctx *ctx = &r->ctx;
    uint64_t number = room_of(r)->next_number++;
    gr_ctx_begin(ctx, r->address);
    gr_str json = gr_arena_printf(r->long_arena,
                                  "{\"auth_events\":[%s],\"content\":{},\"depth\":1,\"origin_server_ts\":1,\"prev_events\":[],"
                                  "\"room_id\":\"!r:here\",\"sender\":\"@a:here\",\"state_key\":\"\",\"type\":\"m.x\"}", auth);
    gr_room_record record = {.flags = flags, .number = number, .depth = 1, .event_id = gr_str_c(id), .type = GR_STR("m.x"),
                             .sender = GR_STR("@a:here"), .is_state = true, .json = json};
    gr_room_record_write(&row, &record);
    gr_ctx_put(ctx, gr_room_key_number(ctx, 'e', number), gr_buf_view(&row));
    gr_ctx_put(ctx, gr_room_key(ctx, 'i', record.event_id), gr_str_from(gr_room_key_number(ctx, ' ', number), 1));
    gr_room_save(r->self, ctx);
    gr_buf_free(&row);
    rig_finish(r);
    return number;
}

static void assert_skipped(gr_buf *skipped, const char *line)
{
    gr_buf_char(skipped, 0);
    skipped->size--;
    if (!strstr(skipped->ptr, line)) fail_msg("not skipped: %s; but: %s", line, skipped->ptr);
}

static void strange_auth_events_are_skipped_with_the_reason_and_stop_nothing(void **state)
{
    enum { OUTLIER = GR_ROOM_OUTLIER | GR_ROOM_ACCEPTED, REFUSED = GR_ROOM_OUTLIER | GR_ROOM_REJECTED };
    (void)state;
    fork_room f = busy("11");
    rig *r = f.r;
    gr_buf skipped = {0}, many = {0};
    gr_ctx_begin(&r->ctx, r->address);
    gr_room_record create;
    assert_true(gr_room_record_at(&r->ctx, 1, &create));
    const char *c = gr_arena_printf(r->long_arena, "\"%.*s\"", GR_ARG(create.event_id)).ptr;
    for (int i = 0; i < 300; i++) gr_buf_printf(&many, "%s\"$m%d\"", i ? "," : "", i);
    gr_buf_char(&many, 0);
    uint64_t twice = plant(r, "$twice", gr_arena_printf(r->long_arena, "%s,%s,%s", c, c, c).ptr, OUTLIER);
    uint64_t missing = plant(r, "$missing", "\"$nowhere\"", OUTLIER);
    uint64_t behind = plant(r, "$behind", "\"$missing\"", OUTLIER);
    uint64_t rejected = plant(r, "$rejected", c, REFUSED), cites = plant(r, "$cites", "\"$rejected\"", REFUSED);
    uint64_t one_way = plant(r, "$one", "\"$other\"", OUTLIER), other = plant(r, "$other", "\"$one\"", OUTLIER);
    uint64_t self = plant(r, "$self", "\"$self\"", OUTLIER), wide = plant(r, "$wide", many.ptr, OUTLIER);
    uint64_t last = plant(r, "$last", c, OUTLIER);
    uncover(r);
    upkeep(r, &skipped);
    assert_true(has_place(r, twice) && has_place(r, rejected) && has_place(r, cites) && has_place(r, last));
    assert_false(has_place(r, missing) || has_place(r, behind) || has_place(r, one_way) || has_place(r, other));
    assert_false(has_place(r, self) || has_place(r, wide));
    assert_skipped(&skipped, "$missing: it cites an auth event that is not here\n");
    assert_skipped(&skipped, "$behind: it cites an auth event that has no place in the chain cover\n");
    assert_skipped(&skipped, "$one: it cites an auth event that came after it\n");
    assert_skipped(&skipped, "$self: it cites an auth event that came after it\n");
    assert_skipped(&skipped, "$wide: it can't be read\n");
    gr_buf_free(&skipped);
    gr_buf_free(&many);
    rig_free(&f.r);
}

static void a_record_that_can_not_be_read_is_skipped(void **state)
{
    (void)state;
    fork_room f = busy("11");
    gr_buf skipped = {0};
    uint64_t bad = plant(f.r, "$bad", "", GR_ROOM_OUTLIER);
    gr_ctx_begin(&f.r->ctx, f.r->address);
    gr_ctx_put(&f.r->ctx, gr_room_key_number(&f.r->ctx, 'e', bad), GR_STR("nothing of the kind"));
    rig_finish(f.r);
    uncover(f.r);
    assert_true(upkeep(f.r, &skipped) > 20);
    assert_skipped(&skipped, "a record: it can't be read\n");
    gr_buf_free(&skipped);
    rig_free(&f.r);
}

/* What can have no place does not begin the walk anew with each event. */
static void a_covered_room_is_not_walked_again_for_an_event_that_can_have_no_place(void **state)
{
    (void)state;
    fork_room f = busy("11");
    plant(f.r, "$missing", "\"$nowhere\"", GR_ROOM_OUTLIER);
    gr_ctx_begin(&f.r->ctx, f.r->address);
    gr_room_record r;
    gr_event e;
    assert_true(gr_room_record_at(&f.r->ctx, room_of(f.r)->next_number - 1, &r));
    assert_true(gr_room_event_of(room_of(f.r), f.r->arena, &r, &e));
    gr_room_cover(room_of(f.r), &f.r->ctx, &e, &r);
    assert_null(f.r->ctx.first);
    rig_free(&f.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_room_without_a_cover_gets_it_in_steps),
        cmocka_unit_test(a_room_that_was_covered_as_it_grew_is_passed_over),
        cmocka_unit_test(fsck_tells_of_a_room_without_a_cover_and_repairs_it),
        cmocka_unit_test(a_state_event_that_finds_no_place_has_the_cover_made),
        cmocka_unit_test(strange_auth_events_are_skipped_with_the_reason_and_stop_nothing),
        cmocka_unit_test(a_record_that_can_not_be_read_is_skipped),
        cmocka_unit_test(a_covered_room_is_not_walked_again_for_an_event_that_can_have_no_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
