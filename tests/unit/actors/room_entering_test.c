/* room_entering_test.c - a room comes here from another server: held, unseen until it is whole, and taken with its join. */
#include "tests/unit/actors/room_receive_rig.h"

#include "actors/room/check.h"
#include "actors/room/entering.h"

enum { EVENTS_MAX = 64 };

/* A room on the other server, and here nothing of it yet; a join of @x:there, which is here. */
typedef struct {
    pair_room p;
    gr_str join;
    gr_held_event events[EVENTS_MAX];
    size_t count;
} coming;

/* What the other server answers to this join: the state before it. */
static void offer(coming *c, gr_str id)
{
    rig *t = theirs(&c->p);
    gr_strs state = state_before_theirs(&c->p, id);
    c->join = gr_arena_str(c->p.ours->long_arena, their_record(&c->p, id).json);
    c->count = 0;
    for (uint64_t n = 1; n < room_of(t)->next_number; n++) {
        gr_room_record r;
        gr_ctx_begin(&t->ctx, t->address);
        assert_true(gr_room_record_at(&t->ctx, n, &r));
        gr_held_event *e = &c->events[c->count];
        *e = (gr_held_event){0};
        for (size_t i = 0; i < state.count; i++)
            if (gr_str_eq(state.at[i], r.event_id))
                *e = (gr_held_event){.text = gr_arena_str(c->p.ours->long_arena, r.json), .is_state = true};
        c->count += e->is_state;
        assert_true(c->count < EVENTS_MAX);
    }
}

static coming begin(const char *version)
{
    coming c = {.p = {.theirs = open_room(version)}};
    rig *t = theirs(&c.p);
    c.p.ours = rig_new(&gr_room_kind, gr_arena_printf(t->long_arena, "%.*s", GR_ARG(t->address)).ptr);
    c.p.ours->env.server_name = GR_STR("there");
    room_send(t, "@a:here", "m.room.topic", "", "{\"topic\":\"old\"}", "");
    room_send(t, "@a:here", "m.room.topic", "", "{\"topic\":\"new\"}", "");
    gr_str prev = gr_arena_str(t->long_arena, newest(&c.p.theirs));
    offer(&c, put(&c.p.theirs, one(&prev), "@x:there", "m.room.member", "@x:there", "{\"membership\":\"join\"}"));
    return c;
}

static void end(coming *c)
{
    rig_free(&c->p.theirs.r);
    rig_free(&c->p.ours);
}

/* Gives all of the state, as many events at a time as the room takes of so many. */
static uint64_t fill(coming *c, size_t from, size_t at_once)
{
    uint64_t refused = 0;
    for (size_t done = from; done < c->count;) {
        size_t most = c->count - done < at_once ? c->count - done : at_once;
        gr_room_fill m = {.version = gr_str_c(room_of(theirs(&c->p))->version->id), .first = done == from,
                          .events = {&c->events[done], most}};
        rig_ask(c->p.ours, &gr_type_room_fill, &m);
        if (c->p.ours->reply_type != &gr_type_room_filled) fail_msg("%s", c->p.ours->err.text);
        const gr_room_filled *filled = c->p.ours->reply;
        assert_true(filled->count > 0 && filled->count <= most);
        done += (size_t)filled->count;
        refused += filled->refused;
    }
    return refused;
}

static void enter(coming *c) { rig_ask(c->p.ours, &gr_type_room_enter, &(gr_room_enter){.event = c->join}); }

static gr_errcode look(coming *c)
{
    gr_room_state_get m = {.user = GR_STR("@x:there"), .type = GR_STR("m.room.topic")};
    rig_ask(c->p.ours, &gr_type_room_state_get, &m);
    return c->p.ours->err.code;
}

static void a_room_is_whole_when_it_has_been_entered(void **state)
{
    static const char *const versions[] = {"1", "6", "10", "12"};
    (void)state;
    for (size_t v = 0; v < 4; v++) {
        coming c = begin(versions[v]);
        assert_int_equal(fill(&c, 0, 3), 0);
        enter(&c);
        assert_false(gr_failed(c.p.ours->err));
        assert_int_equal(room_membership(c.p.ours, "@x:there"), GR_MEMBER_JOIN);
        assert_same_state(&c.p);
        assert_int_equal(look(&c), GR_OK);
        rig_reload(c.p.ours);
        assert_int_equal(our_room(&c.p)->joined, room_of(theirs(&c.p))->joined);
        end(&c);
    }
}

static void half_a_room_is_seen_by_nobody_and_takes_nothing_else(void **state)
{
    (void)state;
    coming c = begin("11");
    fill(&c, 0, 2);
    assert_true(gr_room_is_half(our_room(&c.p)));
    rig_reload(c.p.ours);
    assert_int_equal(look(&c), GR_FORBIDDEN);
    room_send(c.p.ours, "@x:there", "m.room.message", NULL, "{\"body\":\"x\"}", "1");
    assert_int_equal(c.p.ours->err.code, GR_FORBIDDEN);
    gr_room_incoming m = {.origin = GR_STR("here"), .pdus = {&c.join, 1}};
    rig_ask(c.p.ours, &gr_type_room_incoming, &m);
    assert_int_equal(c.p.ours->err.code, GR_NOT_FOUND);
    end(&c);
}

static void filling_again_from_the_beginning_changes_nothing(void **state)
{
    (void)state;
    coming c = begin("11");
    fill(&c, 0, 4);
    fill(&c, 0, 2);
    enter(&c);
    assert_false(gr_failed(c.p.ours->err));
    assert_same_state(&c.p);
    end(&c);
}

static void without_a_create_event_there_is_no_room(void **state)
{
    (void)state;
    coming c = begin("11");
    assert_int_equal(fill(&c, 1, 8), c.count - 1);
    assert_false(our_room(&c.p)->exists);
    enter(&c);
    assert_int_equal(c.p.ours->err.code, GR_BAD_GATEWAY);
    end(&c);
}

static void a_join_that_the_state_does_not_allow_is_refused(void **state)
{
    (void)state;
    coming c = begin("11");
    for (size_t i = 0; i < c.count; i++) {         /* the other server keeps the join rules back */
        gr_event e = parsed(&c.p, c.events[i].text);
        if (gr_event_is(&e, "m.room.join_rules", "")) c.events[i].is_state = false;
    }
    fill(&c, 0, 8);
    enter(&c);
    assert_int_equal(c.p.ours->err.code, GR_FORBIDDEN);
    assert_true(gr_room_is_half(our_room(&c.p)));
    end(&c);
}

static void a_room_that_somebody_here_is_in_is_not_filled(void **state)
{
    (void)state;
    coming c = begin("11");
    fill(&c, 0, 8);
    enter(&c);
    gr_room_fill m = {.version = GR_STR("11"), .first = true, .events = {c.events, 1}};
    rig_ask(c.p.ours, &gr_type_room_fill, &m);
    assert_int_equal(c.p.ours->err.code, GR_ROOM_IN_USE);
    enter(&c);
    assert_int_equal(c.p.ours->err.code, GR_ROOM_IN_USE);
    end(&c);
}

static void a_vouched_join_enters_a_room_that_is_here(void **state)
{
    (void)state;
    coming c = begin("11");
    fill(&c, 0, 8);
    enter(&c);
    gr_str before = gr_arena_str(c.p.ours->long_arena, newest(&c.p.theirs));
    gr_str id = put(&c.p.theirs, one(&before), "@y:there", "m.room.member", "@y:there", "{\"membership\":\"join\"}");
    gr_str text = gr_arena_str(c.p.ours->long_arena, their_record(&c.p, id).json);
    rig_ask(c.p.ours, &gr_type_room_enter, &(gr_room_enter){.event = text, .is_here = true, .guest = true});
    assert_false(gr_failed(c.p.ours->err));
    assert_int_equal(room_membership(c.p.ours, "@y:there"), GR_MEMBER_JOIN);
    rig_ask(c.p.ours, &gr_type_room_enter, &(gr_room_enter){.event = text, .is_here = true});
    assert_ptr_equal(c.p.ours->reply_type, &gr_type_room_sent);
    gr_str unknown = put(&c.p.theirs, one(&id), "@a:here", "m.room.name", "", "{\"name\":\"x\"}");
    gr_str late = put(&c.p.theirs, one(&unknown), "@z:there", "m.room.member", "@z:there", "{\"membership\":\"join\"}");
    text = gr_arena_str(c.p.ours->long_arena, their_record(&c.p, late).json);
    rig_ask(c.p.ours, &gr_type_room_enter, &(gr_room_enter){.event = text, .is_here = true});
    assert_int_equal(c.p.ours->err.code, GR_UNAVAILABLE);
    end(&c);
}

/* --- entered again -------------------------------------------------------------------------------------------- */
static const char joins[] = "{\"membership\":\"join\"}";

static void leave(coming *c)
{
    our_room(&c->p)->unbounded = true;
    c->p.ours->ctx.now_ms = (uint64_t)c->p.theirs.ts++;
    assert_false(gr_failed(room_member(c->p.ours, "@x:there", "leave", "@x:there")));
}

static coming entered(const char *version)
{
    coming c = begin(version);
    fill(&c, 0, 8);
    enter(&c);
    return c;
}

static coming left_again(const char *version)
{
    coming c = entered(version);
    leave(&c);
    return c;
}

/* The newest event here comes there. */
static gr_str tell_them(coming *c)
{
    rig *t = theirs(&c->p);
    gr_room *room = our_room(&c->p);
    gr_event e;
    gr_str id = gr_arena_str(t->long_arena, room->extremities[room->extremity_count - 1].id);
    gr_str text = gr_arena_str(t->long_arena, our_record(&c->p, id).json);
    gr_arena_reset(t->arena);
    gr_ctx_begin(&t->ctx, t->address);
    assert_false(gr_failed(gr_event_parse(t->long_arena, room_of(t)->version, text, &e)));
    assert_false(gr_failed(gr_room_accept(room_of(t), &t->ctx, &e, text, GR_ROOM_ACCEPTED, &c->p.theirs.made)));
    gr_room_finish(room_of(t), &t->ctx, &c->p.theirs.made, false);
    rig_finish(t);
    return id;
}

static gr_str newest_there(coming *c) { return gr_arena_str(theirs(&c->p)->long_arena, newest(&c->p.theirs)); }

static void enter_by(coming *c, gr_str prev, const char *user)
{
    offer(c, put(&c->p.theirs, one(&prev), user, "m.room.member", user, joins));
    assert_int_equal(fill(c, 0, 8), 0);
    our_room(&c->p)->unbounded = true;
    enter(c);
}

static void on_problem(void *arg, gr_str key, const char *what)
{
    (void)arg;
    fail_msg("row %c: %s", key.ptr[0], what);
}

static void check_entered(coming *c, size_t extremities)
{
    if (gr_failed(c->p.ours->err)) fail_msg("%s", c->p.ours->err.text);
    assert_int_equal(room_membership(c->p.ours, "@y:there"), GR_MEMBER_JOIN);
    assert_int_equal(our_room(&c->p)->extremity_count, extremities);
    rig_reload(c->p.ours);
    gr_room_check(our_ctx(&c->p), on_problem, NULL);
    end(c);
}

static void who_left_is_out_though_the_server_that_lets_another_in_has_not_heard_of_it(void **state)
{
    static const char *const versions[] = {"1", "6", "11", "12"};
    (void)state;
    for (size_t v = 0; v < 4; v++) {
        coming c = left_again(versions[v]);
        enter_by(&c, newest_there(&c), "@y:there");
        assert_int_equal(room_membership(c.p.ours, "@x:there"), GR_MEMBER_LEAVE);
        room_send(c.p.ours, "@y:there", "m.room.message", NULL, "{}", "");
        assert_int_equal(room_membership(c.p.ours, "@x:there"), GR_MEMBER_LEAVE);
        check_entered(&c, 1);
    }
}

static void what_others_said_after_the_last_had_left_hides_that_from_nobody(void **state)
{
    (void)state;
    coming c = left_again("11");
    gr_str fork = newest_there(&c), left = tell_them(&c);
    take(&c.p, put(&c.p.theirs, one(&left), "@b:here", "m.room.message", NULL, "{}"));
    enter_by(&c, fork, "@y:there");
    assert_int_equal(room_membership(c.p.ours, "@x:there"), GR_MEMBER_LEAVE);
    check_entered(&c, 2);
}

static void a_room_goes_on_from_the_answer_alone_where_it_is_known_who_left(void **state)
{
    (void)state;
    for (int invited = 0; invited < 2; invited++) {
        coming c = left_again("11");
        gr_str prev = tell_them(&c);
        if (invited)
            prev = put(&c.p.theirs, one(&prev), "@a:here", "m.room.member", "@x:there", "{\"membership\":\"invite\"}");
        prev = put(&c.p.theirs, one(&prev), "@b:here", "m.room.message", NULL, "{}");
        enter_by(&c, prev, "@y:there");
        assert_int_equal(room_membership(c.p.ours, "@x:there"), invited ? GR_MEMBER_INVITE : GR_MEMBER_LEAVE);
        check_entered(&c, 1);
    }
}

static void who_was_banned_does_not_enter_by_a_server_that_has_not_heard_of_it(void **state)
{
    (void)state;
    coming c = left_again("11");
    gr_str fork = newest_there(&c), left = tell_them(&c);
    uint64_t pos = our_room(&c.p)->next_pos;
    take(&c.p, put(&c.p.theirs, one(&left), "@a:here", "m.room.member", "@y:there", "{\"membership\":\"ban\"}"));
    enter_by(&c, fork, "@y:there");
    assert_int_equal(c.p.ours->err.code, GR_FORBIDDEN);
    assert_int_equal(room_membership(c.p.ours, "@y:there"), GR_MEMBER_BAN);
    assert_int_equal(our_room(&c.p)->next_pos, pos + 1);
    enter_by(&c, fork, "@z:there");
    assert_false(gr_failed(c.p.ours->err));
    assert_int_equal(room_membership(c.p.ours, "@y:there"), GR_MEMBER_BAN);
    end(&c);
}

static void what_was_undone_there_does_not_stand_in_the_way_of_who_enters(void **state)
{
    (void)state;
    coming c = entered("11");
    gr_str prev = newest_there(&c);
    prev = put(&c.p.theirs, one(&prev), "@a:here", "m.room.member", "@y:there", "{\"membership\":\"ban\"}");
    assert_int_equal(take(&c.p, prev), GR_PDU_ACCEPTED);
    leave(&c);
    prev = put(&c.p.theirs, one(&prev), "@a:here", "m.room.member", "@y:there", "{\"membership\":\"leave\"}");
    enter_by(&c, prev, "@y:there");
    assert_int_equal(room_membership(c.p.ours, "@x:there"), GR_MEMBER_LEAVE);
    check_entered(&c, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_room_is_whole_when_it_has_been_entered),
        cmocka_unit_test(half_a_room_is_seen_by_nobody_and_takes_nothing_else),
        cmocka_unit_test(filling_again_from_the_beginning_changes_nothing),
        cmocka_unit_test(without_a_create_event_there_is_no_room),
        cmocka_unit_test(a_join_that_the_state_does_not_allow_is_refused),
        cmocka_unit_test(a_room_that_somebody_here_is_in_is_not_filled),
        cmocka_unit_test(a_vouched_join_enters_a_room_that_is_here),
        cmocka_unit_test(who_left_is_out_though_the_server_that_lets_another_in_has_not_heard_of_it),
        cmocka_unit_test(what_others_said_after_the_last_had_left_hides_that_from_nobody),
        cmocka_unit_test(a_room_goes_on_from_the_answer_alone_where_it_is_known_who_left),
        cmocka_unit_test(what_was_undone_there_does_not_stand_in_the_way_of_who_enters),
        cmocka_unit_test(who_was_banned_does_not_enter_by_a_server_that_has_not_heard_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
