/* fsck_room_test.c - rooms with a long life are sound, and what is damaged in one is found. */
#include "tests/unit/actors/room_receive_rig.h"

#include "actors/fsck.h"

/* --- checking --------------------------------------------------------------------------------------------- */
static uint64_t problems(rig *r, const char *wanted)
{
    gr_fsck_report report;
    gr_fsck *fsck = gr_fsck_new();
    rig_commit(r);
    gr_fsck_rooms rooms = {.env = &r->env};
    gr_fsck_actors(fsck, &rooms);
    assert_false(gr_failed(gr_fsck_run(fsck, r->store, NULL, NULL, &report)));
    uint64_t count = report.problems;
    bool listed = !wanted;
    for (size_t i = 0; i < report.listed.count; i++) listed = listed || gr_str_ends(report.listed.at[i], gr_str_c(wanted));
    if (!listed)
        fail_msg("not listed: %s; first: %.*s", wanted, GR_ARG(count ? report.listed.at[0] : GR_STR("nothing")));
    if (!wanted && count) print_error("%.*s\n", GR_ARG(report.listed.at[0]));
    gr_fsck_free(&fsck);
    gr_buf_free(&rooms.uncovered);
    return count;
}

static void assert_sound(rig *r) { assert_int_equal(problems(r, NULL), 0); }

/* Changes one row of the room (an empty value deletes it), sees that it is found, and puts it back. */
static void damage(rig *r, gr_str key, gr_str value, const char *what)
{
    gr_str old;
    gr_ctx_begin(&r->ctx, r->address);
    key = gr_arena_str(r->long_arena, key);
    bool was = gr_ctx_get(&r->ctx, key, &old);
    old = was ? gr_arena_str(r->long_arena, old) : (gr_str){0};
    if (value.size) gr_ctx_put(&r->ctx, key, value);
    else gr_ctx_del(&r->ctx, key);
    rig_finish(r);
    assert_true(problems(r, what) > 0);
    gr_ctx_begin(&r->ctx, r->address);
    if (was) gr_ctx_put(&r->ctx, key, old);
    else gr_ctx_del(&r->ctx, key);
    rig_finish(r);
    assert_sound(r);
}

static gr_str row_of(rig *r, gr_str key)
{
    gr_str value;
    gr_ctx_begin(&r->ctx, r->address);
    assert_true(gr_ctx_get(&r->ctx, key, &value));
    return gr_arena_str(r->long_arena, value);
}

static gr_str event_key(rig *r, uint64_t n) { return gr_room_key_number(&r->ctx, 'e', n); }

static gr_room_record record(rig *r, uint64_t n)
{
    gr_room_record out;
    assert_true(gr_room_record_read(row_of(r, event_key(r, n)), &out));
    return out;
}

static gr_str bytes_of(rig *r, const gr_room_record *record)
{
    gr_buf out = {0};
    gr_room_record_write(&out, record);
    gr_str bytes = gr_arena_str(r->long_arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return bytes;
}

static gr_chain_place place_of(rig *r, uint64_t number)
{
    gr_ctx_begin(&r->ctx, r->address);
    gr_chain chain = gr_room_chain(&r->ctx);
    return gr_chain_place_of(&chain, r->arena, number);
}

static uint64_t number_of(rig *r, gr_str id)
{
    uint64_t number;
    gr_ctx_begin(&r->ctx, r->address);
    assert_true(gr_room_number_of(&r->ctx, id, &number));
    return number;
}

static gr_str number_text(rig *r, uint64_t n)
{
    return gr_arena_str(r->long_arena, gr_str_from(gr_room_key_number(&r->ctx, ' ', n), 1));
}

/* --- a room with two branches and a member who was kicked ---------------------------------------------------- */
static fork_room lively(const char *version)
{
    fork_room f = open_room(version);
    gr_str base = newest(&f), tips[2];
    put(&f, one(&base), "@c:here", "m.room.member", "@c:here", "{\"membership\":\"join\"}");
    base = newest(&f);
    tips[0] = put(&f, one(&base), "@a:here", "m.room.member", "@c:here", "{\"membership\":\"leave\"}");
    tips[1] = put(&f, one(&base), "@b:here", "m.room.message", NULL, "{}");
    base = put(&f, (gr_strs){tips, 2}, "@a:here", "m.room.topic", "", "{\"topic\":\"t\"}");
    put(&f, one(&base), "@a:here", "m.room.name", "", "{\"name\":\"n\"}");
    put(&f, one(&base), "@b:here", "m.room.message", NULL, "{}");
    assert_sound(f.r);
    return f;
}

static const char *const versions[] = {"1", "3", "11", "12"};
#define IN_EACH(f) \
    for (size_t v_ = 0; v_ < 4; v_++) \
        for (fork_room f = lively(versions[v_]); f.r; rig_free(&f.r))

static void states_that_do_not_follow_from_the_events_are_found(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        rig *r = f.r;
        uint64_t topic = gr_room_state_number(r->self, &r->ctx, room_of(r)->root, GR_STR("m.room.topic"), (gr_str){0});
        gr_room_record good = record(r, topic), bad = good, last = record(r, topic + 1);
        bad.state_before = record(r, topic - 1).state_before;
        damage(r, event_key(r, topic), bytes_of(r, &bad), "the state before the event is not what its predecessors give");
        bad = good;
        bad.state_after = bad.state_before;
        damage(r, event_key(r, topic), bytes_of(r, &bad),
               "the state after the event is not that before it with its own change");
        bad = last;
        bad.state_before = bad.state_after = 0;
        damage(r, event_key(r, topic + 1), bytes_of(r, &bad), "the state before the event does not allow it");
        uint64_t root = room_of(r)->root;
        room_of(r)->root = good.state_before;
        gr_ctx_begin(&r->ctx, r->address);
        gr_room_save(r->self, &r->ctx);
        rig_finish(r);
        assert_true(problems(r, "the current state is not what the forward extremities give") > 0);
        room_of(r)->root = root;
    }
}

static void a_chain_cover_that_is_not_that_of_the_auth_events_is_found(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        rig *r = f.r;
        uint64_t left = gr_room_state_number(r->self, &r->ctx, room_of(r)->root, GR_STR("m.room.member"), GR_STR("@c:here"));
        gr_ctx *ctx = &r->ctx;
        gr_chain_place member = place_of(r, left);
        assert_true(member.seq > 1);
        damage(r, gr_room_key_number(ctx, 'c', left), (gr_str){0}, "the event has no place in the chain cover");
        damage(r, gr_room_key_number(ctx, 'c', 2), (gr_str){0}, "the chain cover knows the event, but not all that it cites");
        damage(r, gr_room_key_number(ctx, 'c', left), GR_STR("\x10\0"), "the chain cover lacks part of the auth chain");
        damage(r, gr_room_key_number(ctx, 'C', member.chain), (gr_str){0}, "the newest event of the chain is another");
        damage(r, gr_room_key_number(ctx, 'C', 1), number_text(r, 2), "the newest event of the chain is another");
        char link[] = {0x10, 1, 1}; /* a link to the event before: in nobody's auth chain */
        uint64_t topic = number_of(r, newest(&f)) - 2;
        damage(r, gr_room_key_number(ctx, 'c', topic), gr_str_of(link, 3),
               "the chain cover links to what is not in the auth chain");
    }
}

static void save(rig *r)
{
    gr_ctx_begin(&r->ctx, r->address);
    gr_room_save(r->self, &r->ctx);
    rig_finish(r);
}

static void extremities_that_are_not_those_of_the_graph_are_found(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        rig *r = f.r;
        gr_room *room = room_of(r);
        assert_int_equal(room->extremity_count, 2);
        gr_room_extremity kept = room->extremities[1];
        room->extremity_count = 1;
        save(r);
        assert_true(problems(r, "nobody follows the event, and it is no forward extremity") > 0);
        room->extremity_count = 2;
        gr_room_record older = record(r, kept.number - 2);
        room->extremities[1] = (gr_room_extremity){older.number, older.state_after, older.depth, older.event_id};
        save(r);
        assert_true(problems(r, "a forward extremity is named by another event, or is hidden") > 0);
        room->extremities[1] = kept;
        room->extremities[1].depth++;
        save(r);
        assert_true(problems(r, "a forward extremity has another state, depth or id than its event") > 0);
        room->extremities[1] = kept;
        save(r);
        assert_sound(r);
    }
}

static void members_and_numbers_other_than_the_states_are_found(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        rig *r = f.r;
        gr_room *room = room_of(r);
        gr_str key = gr_room_key(&r->ctx, 'u', GR_STR("@c:here")), row = row_of(r, key);
        char *joined = gr_arena_alloc(r->long_arena, row.size);
        memcpy(joined, row.ptr, row.size);
        joined[0] = GR_MEMBER_JOIN;
        damage(r, key, gr_str_of(joined, row.size), "the member has another row than the current state says");
        damage(r, key, (gr_str){0}, "the member has another row than the current state says");
        damage(r, gr_room_key(&r->ctx, 'u', GR_STR("@z:here")), row, "there are more members than the current state has");
        room->joined++;
        save(r);
        assert_true(problems(r, "the numbers of members are others than the current state says") > 0);
        room->joined--;
        room->visibility = GR_VISIBLE_WORLD;
        save(r);
        assert_true(problems(r, "history is visible to others than the state says") > 0);
    }
}

static void intervals_and_the_mark_of_hidden_history_are_checked(void **state)
{
    (void)state;
    IN_EACH(f)
    {
        rig *r = f.r;
        uint64_t pos = room_of(r)->next_pos;
        char invite = GR_MEMBER_INVITE, world = GR_VISIBLE_WORLD;
        room_send(r, "@a:here", "m.room.history_visibility", "", "{\"history_visibility\":\"joined\"}", NULL);
        assert_ok(r);
        assert_sound(r);
        damage(r, GR_STR("V"), (gr_str){0}, "the room has forgotten that history was hidden");
        damage(r, gr_room_key_number(&r->ctx, 'v', pos), gr_str_of(&world, 1),
               "the interval does not say what the state at its beginning did");
        damage(r, gr_room_key_interval(&r->ctx, GR_STR("@b:here"), pos), gr_str_of(&invite, 1),
               "the interval does not say what the state at its beginning did");
    }
}

/* --- events of other servers -------------------------------------------------------------------------------- */
static void a_room_with_a_gap_is_sound_and_its_backward_extremities_are_checked(void **state)
{
    (void)state;
    for (size_t v = 0; v < 4; v++) {
        pair_room p = pair_new(versions[v]);
        gr_str base = newest(&p.theirs), lost;
        assert_sound(p.ours);
        lost = put(&p.theirs, one(&base), "@a:here", "m.room.topic", "", "{\"topic\":\"lost\"}");
        gr_str tip = put(&p.theirs, one(&lost), "@b:here", "m.room.message", NULL, "{}");
        gr_strs ids = state_before_theirs(&p, tip);
        hold_all(&p, ids);
        gr_room_receiving how = {.has_before = true, .before = root_of_ids(&p, our_room(&p)->root, ids, 100)};
        assert_int_equal(take_with(&p, gr_arena_str(p.ours->long_arena, their_record(&p, tip).json), how), GR_PDU_ACCEPTED);
        assert_sound(p.ours);
        gr_room_record r = our_record(&p, tip);
        gr_str row = gr_room_key_numbers(&p.ours->ctx, 'b', r.depth, r.number);
        damage(p.ours, row, (gr_str){0}, "the event follows what is not here, and is no backward extremity");
        row = gr_room_key_numbers(&p.ours->ctx, 'b', r.depth + 1, r.number);
        damage(p.ours, row, GR_STR("$x"), "no event of this number and depth is a backward extremity");
        gr_str text = gr_arena_str(p.ours->long_arena, their_record(&p, lost).json);
        assert_int_equal(take_with(&p, text, (gr_room_receiving){.is_history = true}), GR_PDU_ACCEPTED);
        assert_sound(p.ours);
        pair_free(&p);
    }
}

/* The rules reject an event that lists an auth event twice; it is covered all the same, as a set. */
static void an_event_that_lists_an_auth_event_twice_is_rejected_and_does_no_harm(void **state)
{
    (void)state;
    for (size_t v = 0; v < 4; v++) {
        pair_room p = pair_new(versions[v]);
        gr_strs auth = auth_here(&p, "@a:here", "m.room.topic", "", "{}");
        gr_str tip = our_tip(&p), first = auth.at[0];
        auth.at[auth.count++] = first;
        gr_str twice = craft(&p, one(&tip), auth, "@a:here", "m.room.topic", "", "{}");
        assert_int_equal(take_text(&p, twice), GR_PDU_REJECTED);
        gr_room_record r = our_record(&p, id_of(&p, twice));
        assert_int_equal(place_of(p.ours, r.number).seq, 1);
        gr_str id = id_of(&p, twice);
        gr_str behind = craft(&p, one(&id), auth_here(&p, "@b:here", "m.room.message", NULL, "{}"), "@b:here",
                              "m.room.message", NULL, "{}");
        assert_int_equal(take_text(&p, behind), GR_PDU_ACCEPTED);
        assert_sound(p.ours);
        pair_free(&p);
    }
}

/* --- any graph in any order --------------------------------------------------------------------------------- */
enum { EVENTS = 36, SEEDS = 12 };

static uint64_t draw(uint64_t *seed, uint64_t below)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (*seed >> 33) % below;
}

static gr_str random_event(pair_room *p, uint64_t *seed, gr_strs prevs)
{
    static const char *const users[] = {"@a:here", "@b:here", "@c:here"};
    static const char *const acts[] = {"ban", "leave", "invite"};
    const char *sender = users[draw(seed, 3)], *target = users[1 + draw(seed, 2)];
    gr_arena *a = p->ours->long_arena;
    bool hashed = room_of(theirs(p))->version->privileged_creators;
    switch (draw(seed, 7)) {
    case 0: return put(&p->theirs, prevs, sender, "m.room.member", sender, "{\"membership\":\"join\"}");
    case 1: {
        gr_str act = gr_arena_printf(a, "{\"membership\":\"%s\"}", acts[draw(seed, 3)]);
        return put(&p->theirs, prevs, sender, "m.room.member", target, act.ptr);
    }
    case 2: {
        gr_str levels = gr_arena_printf(a, "{\"users\":{%s\"@b:here\":%d}}", hashed ? "" : "\"@a:here\":100,",
                                        (int)draw(seed, 3) * 50);
        return put(&p->theirs, prevs, sender, "m.room.power_levels", "", levels.ptr);
    }
    case 3: return put(&p->theirs, prevs, sender, "m.room.join_rules", "", "{\"join_rule\":\"public\"}");
    case 4: return put(&p->theirs, prevs, sender, "m.room.topic", "", "{\"topic\":\"x\"}");
    default: return put(&p->theirs, prevs, sender, "m.room.message", NULL, "{}");
    }
}

/* Theirs takes everything as it comes and judges nothing; here each is judged, and comes when it can. */
static void any_graph_in_any_order_leaves_a_room_that_is_sound(const char *version)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        uint64_t r = seed * 977;
        size_t fates[GR_PDU_REJECTED + 1] = {0}, done = 0;
        gr_str ids[EVENTS];
        bool came[EVENTS] = {0};
        pair_room p = pair_new(version);
        ids[0] = newest(&p.theirs);
        for (size_t i = 1; i < EVENTS; i++) {
            gr_str prevs[3];
            size_t count = 1 + draw(&r, 3);
            for (size_t k = 0; k < count; k++) prevs[k] = ids[i - 1 - draw(&r, i < 6 ? i : 6)];
            ids[i] = random_event(&p, &r, (gr_strs){prevs, count});
        }
        came[0] = true;
        while (done + 1 < EVENTS) {
            size_t i = draw(&r, EVENTS);
            if (came[i]) continue;
            gr_pdu_fate fate = take(&p, ids[i]);
            fates[fate]++;
            came[i] = fate != GR_PDU_WAITS;
            done += came[i];
            if (done % 9 == 8) rig_reload(p.ours);
        }
        assert_true(fates[GR_PDU_ACCEPTED] > 0 && fates[GR_PDU_WAITS] > 0);
        if (problems(p.ours, NULL)) fail_msg("version %s, seed %d", version, (int)seed);
        pair_free(&p);
    }
}

static void any_graph_leaves_a_sound_room_in_version_1(void **state)
{
    (void)state;
    any_graph_in_any_order_leaves_a_room_that_is_sound("1");
}
static void any_graph_leaves_a_sound_room_in_version_6(void **state)
{
    (void)state;
    any_graph_in_any_order_leaves_a_room_that_is_sound("6");
}
static void any_graph_leaves_a_sound_room_in_version_12(void **state)
{
    (void)state;
    any_graph_in_any_order_leaves_a_room_that_is_sound("12");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_that_do_not_follow_from_the_events_are_found),
        cmocka_unit_test(a_chain_cover_that_is_not_that_of_the_auth_events_is_found),
        cmocka_unit_test(extremities_that_are_not_those_of_the_graph_are_found),
        cmocka_unit_test(members_and_numbers_other_than_the_states_are_found),
        cmocka_unit_test(intervals_and_the_mark_of_hidden_history_are_checked),
        cmocka_unit_test(a_room_with_a_gap_is_sound_and_its_backward_extremities_are_checked),
        cmocka_unit_test(an_event_that_lists_an_auth_event_twice_is_rejected_and_does_no_harm),
        cmocka_unit_test(any_graph_leaves_a_sound_room_in_version_1),
        cmocka_unit_test(any_graph_leaves_a_sound_room_in_version_6),
        cmocka_unit_test(any_graph_leaves_a_sound_room_in_version_12),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
