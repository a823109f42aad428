/* room_receive_test.c - events of another server as they enter a room: in order, with gaps, and those not allowed. */
#include "tests/unit/actors/room_receive_rig.h"

static const char *const versions[] = {"1", "2", "6", "11", "12"};
#define IN_EACH(p) \
    for (size_t v_ = 0; v_ < sizeof versions / sizeof *versions; v_++) \
        for (pair_room p = pair_new(versions[v_]); p.ours; pair_free(&p))

static const char hello[] = "{\"body\":\"hello\",\"msgtype\":\"m.text\"}";

static gr_str say_there(pair_room *p, const char *user)
{
    gr_str prev = newest(&p->theirs);
    return put(&p->theirs, one(&prev), user, "m.room.message", NULL, hello);
}

static gr_str topic_there(pair_room *p, gr_str prev, const char *user, const char *topic)
{
    gr_str content = gr_arena_printf(p->ours->long_arena, "{\"topic\":\"%s\"}", topic);
    return put(&p->theirs, one(&prev), user, "m.room.topic", "", content.ptr);
}

/* --- joining ---------------------------------------------------------------------------------------------- */
static void a_room_joined_elsewhere_has_the_state_that_was_given(void **state)
{
    (void)state;
    IN_EACH(p)
    {
        const gr_user_membership *m = rig_body(p.ours, rig_effect(p.ours, GR_POST, &gr_type_user_membership, 0));
        assert_text(m->membership, "join");
        assert_same_state(&p);
        assert_int_equal(our_room(&p)->joined, 3);
        assert_int_equal(room_membership(p.ours, "@b:here"), GR_MEMBER_JOIN);
        assert_int_equal(our_room(&p)->extremity_count, 1);
        gr_room_backward b;
        assert_int_equal(gr_room_backwards(our_ctx(&p), UINT64_MAX, &b, 1), 1);
        assert_int_equal(b.missing.count, 1);
        rig_reload(p.ours);
        gr_ctx_begin(&theirs(&p)->ctx, theirs(&p)->address);
        gr_room_record first;
        assert_true(gr_room_record_at(&theirs(&p)->ctx, 1, &first));
        gr_event create = parsed(&p, gr_arena_str(p.ours->long_arena, first.json));
        assert_int_equal(gr_room_begin(our_room(&p), our_ctx(&p), &create, GR_STR("{}"), &p.got).code, GR_ROOM_IN_USE);
    }
}

static void who_joined_syncs_the_whole_state_and_a_limited_timeline(void **state)
{
    (void)state;
    IN_EACH(p)
    {
        const gr_room_part *part = view_sync(p.ours, (gr_room_sync){.user = GR_STR("@x:there"), .full = true, .limit = 10});
        assert_non_null(part);
        assert_true(part->limited);
        assert_int_equal(view_parse(p.ours, part->timeline)->count, 1);
        assert_int_equal(view_parse(p.ours, part->state)->count, state_before_theirs(&p, our_tip(&p)).count);
    }
}

/* --- in order --------------------------------------------------------------------------------------------- */
static void events_that_come_in_order_move_the_room_as_there(void **state)
{
    (void)state;
    IN_EACH(p)
    {
        gr_str said = say_there(&p, "@b:here"), topic = topic_there(&p, said, "@a:here", "new");
        assert_int_equal(take(&p, said), GR_PDU_ACCEPTED);
        assert_int_equal(take(&p, topic), GR_PDU_ACCEPTED);
        assert_true(p.got.made.pos > 0);
        assert_text(room_state(p.ours, "m.room.topic", "", "topic"), "\"new\"");
        assert_same_state(&p);
        assert_int_equal(our_room(&p)->extremity_count, 1);
        uint64_t before = p.ours->kind->digest(p.ours->self);
        assert_int_equal(take(&p, topic), GR_PDU_KNOWN);
        assert_int_equal(before, p.ours->kind->digest(p.ours->self));
        rig_reload(p.ours);
    }
}

static void an_event_whose_predecessor_is_missing_waits_and_leaves_nothing(void **state)
{
    (void)state;
    IN_EACH(p)
    {
        gr_str first = say_there(&p, "@b:here"), second = say_there(&p, "@a:here");
        uint64_t before = p.ours->kind->digest(p.ours->self), number;
        assert_int_equal(take(&p, second), GR_PDU_WAITS);
        assert_int_equal(p.got.missing_prev.count, 1);
        assert_true(gr_str_eq(p.got.missing_prev.at[0], first));
        assert_int_equal(p.got.missing_auth.count, 0);
        assert_false(gr_room_number_of(our_ctx(&p), second, &number));
        assert_int_equal(before, p.ours->kind->digest(p.ours->self));
        assert_int_equal(take(&p, first), GR_PDU_ACCEPTED);
        assert_int_equal(take(&p, second), GR_PDU_ACCEPTED);
    }
}

static void an_event_whose_auth_event_is_missing_waits(void **state)
{
    (void)state;
    IN_EACH(p)
    {
        gr_str prev = newest(&p.theirs);
        gr_str join = put(&p.theirs, one(&prev), "@c:here", "m.room.member", "@c:here", "{\"membership\":\"join\"}");
        gr_str said = say_there(&p, "@c:here");
        assert_int_equal(hold(&p, said), GR_PDU_WAITS);
        assert_int_equal(p.got.missing_auth.count, 1);
        assert_true(gr_str_eq(p.got.missing_auth.at[0], join));
        assert_int_equal(hold(&p, join), GR_PDU_HELD);
        assert_int_equal(hold(&p, join), GR_PDU_KNOWN);
        assert_int_equal(take(&p, said), GR_PDU_WAITS); /* an outlier has no state to follow */
        assert_int_equal(p.got.missing_auth.count, 0);
        assert_int_equal(p.got.missing_prev.count, 1);
        gr_room_record outlier = our_record(&p, join);
        uint64_t number = outlier.number;
        assert_int_equal(outlier.flags, GR_ROOM_ACCEPTED | GR_ROOM_OUTLIER);
        assert_int_equal(room_membership(p.ours, "@c:here"), GR_MEMBER_NONE);
        assert_int_equal(take(&p, join), GR_PDU_ACCEPTED);
        assert_int_equal(our_record(&p, join).number, number);
        assert_int_equal(take(&p, said), GR_PDU_ACCEPTED);
        assert_same_state(&p);
    }
}

/* --- gaps ------------------------------------------------------------------------------------------------- */
typedef struct { gr_str first, topic, last; } gap;

/* Two events are lost on the way; the third comes with the state before it. */
static gap jump_a_gap(pair_room *p)
{
    gap g = {.first = say_there(p, "@b:here")};
    g.topic = topic_there(p, g.first, "@a:here", "missed");
    g.last = say_there(p, "@b:here");
    gr_strs ids = state_before_theirs(p, g.last);
    hold_all(p, ids);
    gr_room_receiving how = {.has_before = true, .before = root_of_ids(p, our_room(p)->root, ids, 100)};
    gr_str text = gr_arena_str(p->ours->long_arena, their_record(p, g.last).json);
    assert_int_equal(take_with(p, text, how), GR_PDU_ACCEPTED);
    return g;
}

static void a_given_state_closes_a_gap(void **state)
{
    (void)state;
    IN_EACH(p)
    {
        uint64_t pos = our_room(&p)->next_pos - 1;
        gap g = jump_a_gap(&p);
        assert_int_equal(our_room(&p)->extremity_count, 2);
        assert_text(room_state(p.ours, "m.room.topic", "", "topic"), "\"missed\"");
        gr_room_backward b[4];
        assert_int_equal(gr_room_backwards(our_ctx(&p), UINT64_MAX, b, 4), 2);
        assert_true(gr_str_eq(b[0].missing.at[0], g.topic));
        const gr_room_part *part =
            view_sync(p.ours, (gr_room_sync){.user = GR_STR("@x:there"), .from_pos = pos, .limit = 10});
        assert_true(part->limited);
        assert_int_equal(view_parse(p.ours, part->timeline)->count, 1);
        gr_str after = say_there(&p, "@a:here");
        assert_int_equal(take(&p, after), GR_PDU_ACCEPTED);
        assert_same_state(&p);
        rig_reload(p.ours);
    }
}

static size_t messages_back(pair_room *p)
{
    gr_room_messages m = {.user = GR_STR("@x:there"), .backward = true, .limit = 50, .over_gaps = true};
    const gr_json *page = view_ask(p->ours, &gr_type_room_messages, &m);
    assert_non_null(page);
    return gr_json_get(page, "chunk")->count;
}

static void a_page_back_ends_where_history_is_missing(void **state)
{
    (void)state;
    IN_EACH(p)
    {
        gap g = jump_a_gap(&p);
        size_t all = messages_back(&p);
        uint64_t depth = our_record(&p, g.last).depth;
        gr_room_messages m = {.user = GR_STR("@x:there"), .backward = true, .limit = 50};
        rig_ask(p.ours, &gr_type_room_messages, &m);
        assert_ptr_equal(p.ours->reply_type, &gr_type_room_messages_gap);
        const gr_room_messages_gap *end = p.ours->reply;
        assert_true(end->count == 1 && end->depth == depth);
        const gr_json *page = view_parse(p.ours, end->body);
        assert_true(gr_str_eq(view_text(&gr_json_get(page, "chunk")->items[0], "event_id"), g.last));
        m.from = gr_arena_str(p.ours->long_arena, gr_json_text(page, "end"));
        m.over_gaps = true;
        page = view_ask(p.ours, &gr_type_room_messages, &m);
        assert_int_equal(gr_json_get(page, "chunk")->count, all - 1);
        m.limit = 1;
        m.from = (gr_str){0};
        m.over_gaps = false;
        assert_non_null(view_ask(p.ours, &gr_type_room_messages, &m));     /* it was full before that */
    }
}

static gr_str nearest_to(pair_room *p, uint64_t ts, bool backward)
{
    const gr_json *found = view_ask(p->ours, &gr_type_room_timestamp,
                                    &(gr_room_timestamp){.user = GR_STR("@x:there"), .ts = ts, .backward = backward});
    assert_non_null(found);
    return gr_arena_str(p->ours->long_arena, gr_json_text(found, "event_id"));
}

static void check_by_time(pair_room *p, const gap *g)
{
    const gr_str ids[] = {g->first, g->topic, g->last};
    for (size_t i = 0; i < 3; i++) {
        uint64_t ts = our_record(p, ids[i]).ts;
        assert_true(gr_str_eq(nearest_to(p, ts, false), ids[i]));
        assert_true(gr_str_eq(nearest_to(p, ts, true), ids[i]));
    }
}

static void history_that_comes_later_is_read_by_paging_back_and_moves_nothing(void **state)
{
    (void)state;
    IN_EACH(p)
    {
        gap g = jump_a_gap(&p);
        size_t shown = messages_back(&p);
        uint64_t root = our_room(&p)->root, pos = our_room(&p)->next_pos;
        gr_str first = gr_arena_str(p.ours->long_arena, their_record(&p, g.first).json);
        gr_str topic = gr_arena_str(p.ours->long_arena, their_record(&p, g.topic).json);
        assert_int_equal(take_with(&p, topic, (gr_room_receiving){.is_history = true}), GR_PDU_WAITS);
        assert_int_equal(take_with(&p, first, (gr_room_receiving){.is_history = true}), GR_PDU_ACCEPTED);
        assert_int_equal(take_with(&p, topic, (gr_room_receiving){.is_history = true}), GR_PDU_ACCEPTED);
        assert_int_equal(our_room(&p)->root, root);
        assert_int_equal(our_room(&p)->next_pos, pos);
        assert_int_equal(our_room(&p)->extremity_count, 2);
        assert_true(our_record(&p, g.topic).pos < our_record(&p, g.last).pos);
        gr_room_backward b[4];
        assert_int_equal(gr_room_backwards(our_ctx(&p), UINT64_MAX, b, 4), 1);
        assert_int_equal(messages_back(&p), shown + 2);
        check_by_time(&p, &g);
    }
}

static void backward_extremities_are_found_by_depth_and_go_one_by_one(void **state)
{
    (void)state;
    pair_room p = pair_new("12");
    gr_str base = newest(&p.theirs), lost[2];
    lost[0] = put(&p.theirs, one(&base), "@b:here", "m.room.message", NULL, hello);
    lost[1] = put(&p.theirs, one(&base), "@a:here", "m.room.message", NULL, hello);
    gr_str tip = put(&p.theirs, (gr_strs){lost, 2}, "@b:here", "m.room.message", NULL, hello);
    gr_str text = gr_arena_str(p.ours->long_arena, their_record(&p, tip).json);
    gr_room_receiving how = {.has_before = true, .before = our_room(&p)->root};
    assert_int_equal(take_with(&p, text, how), GR_PDU_ACCEPTED);
    gr_room_backward b[4];
    uint64_t depth = our_record(&p, tip).depth;
    assert_int_equal(gr_room_backwards(our_ctx(&p), depth - 1, b, 4), 1); /* that of the join */
    assert_int_equal(gr_room_backwards(our_ctx(&p), depth, b, 4), 2);
    assert_int_equal(b[0].missing.count, 2);
    assert_int_equal(our_room(&p)->extremity_count, 2);
    assert_int_equal(take(&p, lost[1]), GR_PDU_ACCEPTED); /* it is named already, and what it names is now, too */
    assert_int_equal(our_room(&p)->extremity_count, 1);
    assert_true(gr_str_eq(our_tip(&p), tip));
    assert_int_equal(gr_room_backwards(our_ctx(&p), depth, b, 4), 2);
    assert_int_equal(b[0].missing.count, 1);
    assert_int_equal(take(&p, lost[0]), GR_PDU_ACCEPTED);
    assert_int_equal(gr_room_backwards(our_ctx(&p), depth, b, 4), 1);
    pair_free(&p);
}

/* The event that came with a gap before it names one that soft-fails when it comes at last. */
static void a_hidden_event_that_is_named_already_lets_go_what_it_names(void **state)
{
    (void)state;
    pair_room p = pair_new("11");
    gr_str base = newest(&p.theirs);
    gr_str lost = topic_there(&p, base, "@a:here", "lost"), tip = say_there(&p, "@a:here");
    gr_str text = gr_arena_str(p.ours->long_arena, their_record(&p, tip).json);
    gr_room_receiving how = {.has_before = true, .before = our_room(&p)->root};
    assert_int_equal(take_with(&p, text, how), GR_PDU_ACCEPTED);
    assert_int_equal(our_room(&p)->extremity_count, 2);
    gr_str leave = put(&p.theirs, one(&tip), "@a:here", "m.room.member", "@a:here", "{\"membership\":\"leave\"}");
    assert_int_equal(take(&p, leave), GR_PDU_ACCEPTED);
    assert_int_equal(take(&p, lost), GR_PDU_SOFT_FAILED);
    assert_int_equal(our_room(&p)->extremity_count, 1);
    assert_true(gr_str_eq(our_tip(&p), leave));
    rig_reload(p.ours);
    pair_free(&p);
}

/* --- what is not allowed ---------------------------------------------------------------------------------- */
static void assert_rejected(pair_room *p, gr_str text)
{
    gr_str tip = our_tip(p);
    uint64_t root = our_room(p)->root, pos = our_room(p)->next_pos;
    assert_int_equal(take_text(p, text), GR_PDU_REJECTED);
    assert_true(p->got.why.size > 0);
    gr_room_record r = our_record(p, id_of(p, text));
    assert_int_equal(r.flags, GR_ROOM_REJECTED);
    assert_int_equal(r.state_after, r.state_before);
    assert_true(gr_str_eq(our_tip(p), tip));
    assert_true(our_room(p)->root == root && our_room(p)->next_pos == pos);
    assert_int_equal(rig_count(p->ours, GR_POST, NULL), 0);
}

static void an_event_is_rejected_by_its_auth_events(void **state)
{
    (void)state;
    IN_EACH(p)
    {
        gr_str tip = our_tip(&p), text;
        gr_strs good = auth_here(&p, "@a:here", "m.room.message", NULL, "{}"), bad = good;
        bad.at = gr_arena_alloc(p.ours->long_arena, 8 * sizeof(gr_str));
        memcpy(bad.at, good.at, good.count * sizeof(gr_str));
        bad.at[bad.count++] = auth_here(&p, "@b:here", "m.room.message", NULL, "{}").at[good.count - 1];
        text = craft(&p, one(&tip), bad, "@a:here", "m.room.message", NULL, "{}");
        assert_rejected(&p, text);
        assert_int_equal(take_text(&p, text), GR_PDU_KNOWN);
    }
}

static void an_event_that_cites_a_rejected_one_is_rejected_but_one_that_follows_it_is_not(void **state)
{
    (void)state;
    IN_EACH(p)
    {
        static const char powers[] = "{\"users\":{\"@b:here\":100}}";
        gr_str tip = our_tip(&p);
        gr_strs auth = auth_here(&p, "@b:here", "m.room.power_levels", "", powers);
        gr_str bad = craft(&p, one(&tip), auth, "@b:here", "m.room.power_levels", "", powers), id = id_of(&p, bad);
        assert_rejected(&p, bad);
        gr_strs by_bad = auth_here(&p, "@b:here", "m.room.message", NULL, "{}");
        gr_str follows = craft(&p, one(&id), by_bad, "@b:here", "m.room.message", NULL, "{}");
        for (size_t i = 0; i < by_bad.count; i++)
            if (gr_str_is(our_record(&p, by_bad.at[i]).type, "m.room.power_levels")) by_bad.at[i] = id;
        gr_str cites = craft(&p, one(&tip), by_bad, "@b:here", "m.room.message", NULL, "{\"x\":1}");
        assert_rejected(&p, cites);
        assert_int_equal(take_text(&p, follows), GR_PDU_ACCEPTED);
        assert_int_equal(our_room(&p)->extremity_count, 1);
    }
}

/* Allowed by what it cites, not by the state where it stands. */
static void an_event_is_rejected_by_the_state_before_it(void **state)
{
    (void)state;
    IN_EACH(p)
    {
        gr_strs auth = auth_here(&p, "@b:here", "m.room.message", NULL, "{}");
        gr_str prev = newest(&p.theirs);
        gr_str ban = put(&p.theirs, one(&prev), "@a:here", "m.room.member", "@b:here", "{\"membership\":\"ban\"}");
        assert_int_equal(take(&p, ban), GR_PDU_ACCEPTED);
        gr_str text = craft(&p, one(&ban), auth, "@b:here", "m.room.message", NULL, "{}");
        assert_rejected(&p, text);
    }
}

static void events_of_other_rooms_second_creations_and_those_without_a_beginning_do_not_enter(void **state)
{
    (void)state;
    IN_EACH(p)
    {
        gr_strs none = {0}, auth = auth_here(&p, "@a:here", "m.room.message", NULL, "{}");
        bool hashed = room_of(theirs(&p))->version->room_id_is_create_hash;
        gr_str orphan = craft(&p, none, auth, "@a:here", "m.room.message", NULL, "{}");
        assert_rejected(&p, orphan);
        assert_non_null(strstr(p.got.why.ptr, "no m.room.create"));
        gr_room *room = room_of(theirs(&p));
        gr_str id = room->id;
        room->id = hashed ? GR_STR("!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA") : GR_STR("!other:here");
        gr_str tip = our_tip(&p);
        gr_event foreign = parsed(&p, craft(&p, one(&tip), auth, "@a:here", "m.room.message", NULL, "{}"));
        room->id = id;
        gr_err err = gr_room_receive(our_room(&p), our_ctx(&p), &foreign, GR_STR("{}"), &(gr_room_receiving){0}, &p.got);
        assert_int_equal(err.code, GR_BAD_JSON);
        err = gr_room_hold(our_room(&p), our_ctx(&p), &foreign, GR_STR("{}"), &p.got);
        assert_int_equal(err.code, GR_BAD_JSON);
        if (hashed) continue;
        gr_str again = craft(&p, none, none, "@a:here", "m.room.create", "", "{\"creator\":\"@a:here\"}");
        assert_rejected(&p, again);
    }
}

/* Only where servers choose event ids can events cite each other. */
static void events_in_a_circle_wait_for_ever_and_do_no_harm_when_a_state_lets_one_in(void **state)
{
    (void)state;
    pair_room p = pair_new("2");
    gr_strs auth = auth_here(&p, "@a:here", "m.room.topic", "", "{}");
    gr_str ids[2], texts[2];
    for (int i = 0; i < 2; i++) ids[i] = gr_arena_printf(p.ours->long_arena, "$%lld:here", (long long)p.theirs.ts + i);
    for (int i = 0; i < 2; i++) {
        texts[i] = craft(&p, one(&ids[!i]), auth, "@a:here", "m.room.topic", "", i ? "{\"topic\":\"1\"}" : "{\"topic\":\"0\"}");
        assert_true(gr_str_eq(id_of(&p, texts[i]), ids[i]));
    }
    for (int i = 0; i < 4; i++) assert_int_equal(take_text(&p, texts[i % 2]), GR_PDU_WAITS);
    gr_room_receiving how = {.has_before = true, .before = our_room(&p)->root};
    assert_int_equal(take_with(&p, texts[0], how), GR_PDU_ACCEPTED);
    assert_int_equal(take_text(&p, texts[1]), GR_PDU_ACCEPTED);
    assert_int_equal(our_room(&p)->extremity_count, 1);
    gr_str circle[2];
    for (int i = 0; i < 2; i++) {      /* each the auth event of the other */
        ids[i] = gr_arena_printf(p.ours->long_arena, "$%lld:here", (long long)p.theirs.ts + i);
        circle[i] = ids[i];
    }
    gr_str tip = our_tip(&p);
    for (int i = 0; i < 2; i++) texts[i] = craft(&p, one(&tip), one(&circle[!i]), "@a:here", "m.room.topic", "", "{}");
    for (int i = 0; i < 4; i++) assert_int_equal(hold_text(&p, texts[i % 2]), GR_PDU_WAITS);
    room_send(p.ours, "@x:there", "m.room.message", NULL, "{}", "");
    assert_ok(p.ours);
    rig_reload(p.ours);
    pair_free(&p);
}

/* --- soft failure ------------------------------------------------------------------------------------------ */
/* The example of the specification: B bans, C is a topic of the banned user behind A, D follows both. */
typedef struct { gr_str a, b, c; } soft_graph;

static soft_graph soft_fail(pair_room *p)
{
    soft_graph g;
    bool hashed = room_of(theirs(p))->version->privileged_creators;
    gr_str prev = newest(&p->theirs);
    g.a = put(&p->theirs, one(&prev), "@a:here", "m.room.power_levels", "",
              hashed ? "{\"users\":{\"@b:here\":50}}" : "{\"users\":{\"@a:here\":100,\"@b:here\":50}}");
    g.b = put(&p->theirs, one(&g.a), "@a:here", "m.room.member", "@b:here", "{\"membership\":\"ban\"}");
    g.c = topic_there(p, g.a, "@b:here", "evaded");
    assert_int_equal(take(p, g.a), GR_PDU_ACCEPTED);
    assert_int_equal(take(p, g.b), GR_PDU_ACCEPTED);
    uint64_t pos = our_room(p)->next_pos;
    assert_int_equal(take(p, g.c), GR_PDU_SOFT_FAILED);
    assert_int_equal(our_room(p)->next_pos, pos);
    return g;
}

static void a_soft_failed_event_is_not_shown_nor_followed(void **state)
{
    (void)state;
    IN_EACH(p)
    {
        soft_graph g = soft_fail(&p);
        assert_int_equal(our_room(&p)->extremity_count, 1);
        assert_true(gr_str_eq(our_tip(&p), g.b));
        assert_int_equal(rig_count(p.ours, GR_POST, NULL), 0);
        assert_text(room_state(p.ours, "m.room.topic", "", "topic"), "");
        room_send(p.ours, "@x:there", "m.room.message", NULL, "{}", "");
        assert_ok(p.ours);
        assert_int_equal(our_room(&p)->extremity_count, 1);
    }
}

/* In version 1 the topic is only on one branch, and so becomes current by D: clients get it as state. */
static void a_soft_failed_event_that_becomes_current_reaches_clients_as_state(void **state)
{
    (void)state;
    IN_EACH(p)
    {
        soft_graph g = soft_fail(&p);
        gr_str both[] = {g.b, g.c};
        uint64_t pos = our_room(&p)->next_pos - 1;
        gr_str d = put(&p.theirs, (gr_strs){both, 2}, "@a:here", "m.room.message", NULL, hello);
        assert_int_equal(take(&p, d), GR_PDU_ACCEPTED);
        assert_same_state(&p);
        bool stays = room_of(theirs(&p))->version->state_res == GR_STATE_RES_1;
        assert_text(room_state(p.ours, "m.room.topic", "", "topic"), stays ? "\"evaded\"" : "");
        const gr_room_part *part =
            view_sync(p.ours, (gr_room_sync){.user = GR_STR("@x:there"), .from_pos = pos, .limit = 10});
        const gr_json *shown = view_parse(p.ours, part->timeline), *told = view_parse(p.ours, part->state);
        assert_int_equal(shown->count, 1);
        assert_true(gr_str_eq(gr_json_text(&shown->items[0], "event_id"), d));
        assert_int_equal(told->count, stays ? 1 : 0);
        if (stays) assert_true(gr_str_eq(gr_json_text(&told->items[0], "event_id"), g.c));
    }
}

/* --- memberships that resolution moves ----------------------------------------------------------------------- */
/* Bob kicks; that Alice took his power meanwhile takes the kick back. */
static void a_local_user_hears_of_a_membership_that_resolution_brings(void **state)
{
    (void)state;
    IN_EACH(p)
    {
        if (room_of(theirs(&p))->version->state_res == GR_STATE_RES_1) continue;
        bool hashed = room_of(theirs(&p))->version->privileged_creators;
        gr_str prev = newest(&p.theirs);
        gr_str power = put(&p.theirs, one(&prev), "@a:here", "m.room.power_levels", "",
                           hashed ? "{\"users\":{\"@b:here\":50}}" : "{\"users\":{\"@a:here\":100,\"@b:here\":50}}");
        gr_str kick = put(&p.theirs, one(&power), "@b:here", "m.room.member", "@x:there", "{\"membership\":\"leave\"}");
        gr_str demoted = put(&p.theirs, one(&power), "@a:here", "m.room.power_levels", "",
                             hashed ? "{\"users\":{}}" : "{\"users\":{\"@a:here\":100}}");
        assert_int_equal(take(&p, power), GR_PDU_ACCEPTED);
        assert_int_equal(take(&p, kick), GR_PDU_ACCEPTED);
        const gr_user_membership *m = rig_body(p.ours, rig_effect(p.ours, GR_POST, &gr_type_user_membership, 0));
        assert_text(m->membership, "leave");
        assert_int_equal(room_membership(p.ours, "@x:there"), GR_MEMBER_LEAVE);
        assert_int_equal(take(&p, demoted), GR_PDU_ACCEPTED);
        m = rig_body(p.ours, rig_effect(p.ours, GR_POST, &gr_type_user_membership, 0));
        assert_text(m->membership, "join");
        assert_int_equal(m->room_pos, p.got.made.state_pos);
        assert_int_equal(room_membership(p.ours, "@x:there"), GR_MEMBER_JOIN);
        assert_int_equal(our_room(&p)->joined, 3);
    }
}

/* The other way round: the kick passes by the state now, but loses, and nobody is told to have left. */
static void a_local_user_does_not_hear_of_a_membership_that_never_was(void **state)
{
    (void)state;
    pair_room p = pair_new("11");
    gr_str prev = newest(&p.theirs);
    gr_str power = put(&p.theirs, one(&prev), "@a:here", "m.room.power_levels", "",
                       "{\"users\":{\"@a:here\":100,\"@b:here\":50}}");
    gr_str demoted =
        put(&p.theirs, one(&power), "@a:here", "m.room.power_levels", "", "{\"users\":{\"@a:here\":100}}");
    gr_str kick = put(&p.theirs, one(&power), "@b:here", "m.room.member", "@x:there", "{\"membership\":\"leave\"}");
    assert_int_equal(take(&p, power), GR_PDU_ACCEPTED);
    assert_int_equal(take(&p, demoted), GR_PDU_ACCEPTED);
    assert_int_equal(take(&p, kick), GR_PDU_SOFT_FAILED);
    assert_int_equal(rig_count(p.ours, GR_POST, &gr_type_user_membership), 0);
    gr_str both[] = {demoted, kick};
    gr_str joined = put(&p.theirs, (gr_strs){both, 2}, "@a:here", "m.room.message", NULL, hello);
    assert_int_equal(take(&p, joined), GR_PDU_ACCEPTED);
    assert_int_equal(rig_count(p.ours, GR_POST, &gr_type_user_membership), 0);
    assert_int_equal(room_membership(p.ours, "@x:there"), GR_MEMBER_JOIN);
    pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_room_joined_elsewhere_has_the_state_that_was_given),
        cmocka_unit_test(who_joined_syncs_the_whole_state_and_a_limited_timeline),
        cmocka_unit_test(events_that_come_in_order_move_the_room_as_there),
        cmocka_unit_test(an_event_whose_predecessor_is_missing_waits_and_leaves_nothing),
        cmocka_unit_test(an_event_whose_auth_event_is_missing_waits),
        cmocka_unit_test(a_given_state_closes_a_gap),
        cmocka_unit_test(a_page_back_ends_where_history_is_missing),
        cmocka_unit_test(history_that_comes_later_is_read_by_paging_back_and_moves_nothing),
        cmocka_unit_test(backward_extremities_are_found_by_depth_and_go_one_by_one),
        cmocka_unit_test(a_hidden_event_that_is_named_already_lets_go_what_it_names),
        cmocka_unit_test(an_event_is_rejected_by_its_auth_events),
        cmocka_unit_test(an_event_that_cites_a_rejected_one_is_rejected_but_one_that_follows_it_is_not),
        cmocka_unit_test(an_event_is_rejected_by_the_state_before_it),
        cmocka_unit_test(events_of_other_rooms_second_creations_and_those_without_a_beginning_do_not_enter),
        cmocka_unit_test(events_in_a_circle_wait_for_ever_and_do_no_harm_when_a_state_lets_one_in),
        cmocka_unit_test(a_soft_failed_event_is_not_shown_nor_followed),
        cmocka_unit_test(a_soft_failed_event_that_becomes_current_reaches_clients_as_state),
        cmocka_unit_test(a_local_user_hears_of_a_membership_that_resolution_brings),
        cmocka_unit_test(a_local_user_does_not_hear_of_a_membership_that_never_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
