/* room_view_test.c - history visibility, against an evaluation from full state; and how events are rendered. */
#include "tests/unit/actors/room_fork_rig.h"
#include "tests/unit/actors/room_view_rig.h"

/* --- visibility, told from whole states ------------------------------------------------------------------- */
static gr_str in_state(rig *r, uint64_t root, const char *type, const char *key, const char *member)
{
    const gr_event *e = gr_room_state_at(room_of(r), &r->ctx, root, gr_str_c(type), gr_str_c(key));
    return e ? gr_json_text(e->content, member) : (gr_str){0};
}

/* Was the user joined at some room position from here on? */
static bool joined_since(rig *r, const char *user, uint64_t pos)
{
    for (uint64_t p = pos; p < room_of(r)->next_pos; p++)
        if (gr_str_is(in_state(r, gr_room_root_at(room_of(r), &r->ctx, p), "m.room.member", user, "membership"), "join"))
            return true;
    return false;
}

static bool shown_by(rig *r, const char *user, uint64_t root, const gr_room_record *e)
{
    gr_str visibility = in_state(r, root, "m.room.history_visibility", "", "history_visibility");
    gr_str membership = in_state(r, root, "m.room.member", user, "membership");
    if (gr_str_is(visibility, "world_readable")) return true;
    /* Never joined, or it came after they had left: what took them out of the room is the last they see. */
    if (!joined_since(r, user, e->pos - 1)) return false;
    if (gr_str_is(membership, "join")) return true;
    if (gr_str_is(visibility, "invited")) return gr_str_is(membership, "invite");
    return !gr_str_is(visibility, "joined");
}

static bool should_see(rig *r, const char *user, const gr_room_record *e)
{
    if (shown_by(r, user, e->state_before, e)) return true;
    bool both = gr_str_is(e->type, "m.room.history_visibility")
                || (gr_str_is(e->type, "m.room.member") && gr_str_is(e->state_key, user));
    return both && shown_by(r, user, e->state_after, e);
}

static void check_every_event(rig *r, const char *user, size_t *seen, size_t *hidden)
{
    gr_view v;
    gr_arena_reset(r->arena);
    gr_ctx_begin(&r->ctx, r->address);
    gr_view_begin(&v, room_of(r), &r->ctx, gr_str_c(user), (gr_str){0});
    for (uint64_t number = 1; number < room_of(r)->next_number; number++) {
        gr_room_record e;
        assert_true(gr_room_record_at(&r->ctx, number, &e));
        bool sees = gr_view_sees(&v, &e), should = e.pos && should_see(r, user, &e);
        if (sees != should)
            fail_msg("%s %s event %llu (%.*s)", user, sees ? "sees" : "does not see", (unsigned long long)number,
                     GR_ARG(e.type));
        *(sees ? seen : hidden) += 1;
    }
}

static void act(rig *r, uint64_t choice)
{
    static const char *const visibilities[] = {"world_readable", "shared", "invited", "joined"};
    static const char *const actions[] = {"invite", "join", "leave", "kick", "ban", "unban"};
    if (choice % 3 == 0) {
        say(r, "@a:here", "x");
    } else if (choice % 3 == 1) {
        gr_str content = gr_arena_printf(r->long_arena, "{\"history_visibility\":\"%s\"}", visibilities[choice / 3 % 4]);
        room_send(r, "@a:here", "m.room.history_visibility", "", content.ptr, NULL);
    } else {
        size_t which = choice / 3 % 6;
        bool own = which == 1 || which == 2;
        room_member(r, own ? "@b:here" : "@a:here", actions[which], "@b:here");    /* what is not allowed fails */
    }
}

static void what_a_user_sees_follows_from_the_state_at_each_event(void **state)
{
    (void)state;
    size_t seen = 0, hidden = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        uint64_t random = seed;
        rig *r = room_new((room_options){"11", seed % 2 ? "{}" : "{\"preset\":\"public_chat\"}"});
        for (int step = 0; step < 40; step++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            act(r, random >> 33);
        }
        check_every_event(r, "@a:here", &seen, &hidden);
        check_every_event(r, "@b:here", &seen, &hidden);
        check_every_event(r, "@c:here", &seen, &hidden);
        rig_free(&r);
    }
    assert_true(seen > 500 && hidden > 500);
}

/* --- the same in forks -------------------------------------------------------------------------------------- */
enum { FORK_EVENTS = 50, NEAR = 5 };

typedef struct { fork_room f; gr_str ids[FORK_EVENTS + 1]; size_t count; uint64_t random; } fork_graph;

static uint64_t draw(fork_graph *g, uint64_t below)
{
    g->random = g->random * 6364136223846793005u + 1442695040888963407u;
    return (g->random >> 33) % below;
}

/* Where the next event is put: behind one or two of the newest. */
static gr_strs draw_prevs(fork_graph *g, gr_str at[2])
{
    size_t near = g->count < NEAR ? g->count : NEAR;
    at[0] = g->ids[g->count - 1 - draw(g, near)];
    at[1] = g->ids[g->count - 1 - draw(g, near)];
    return (gr_strs){at, draw(g, 3) == 0 && !gr_str_eq(at[0], at[1]) ? 2 : 1};
}

static const char *membership_before(fork_graph *g, gr_strs prevs)
{
    rig *r = g->f.r;
    uint64_t before;
    gr_arena_reset(r->arena);
    gr_ctx_begin(&r->ctx, r->address);
    room_of(r)->unbounded = true;
    assert_false(gr_failed(gr_room_state_before(room_of(r), &r->ctx, prevs, &before)));
    return gr_membership_text(gr_membership_of(in_state(r, before, "m.room.member", "@b:here", "membership")));
}

static void put_next(fork_graph *g)
{
    static const char *const visibilities[] = {"world_readable", "shared", "invited", "joined"};
    static const struct { const char *sender, *to, *from; } moves[] = {
        {"@a:here", "invite", "leave knock"}, {"@b:here", "join", "leave invite join"}, {"@b:here", "leave", "join invite"},
        {"@a:here", "leave", "join invite ban"}, {"@a:here", "ban", "join invite leave"}};
    gr_str at[2];
    gr_strs prevs = draw_prevs(g, at);
    char content[64];
    uint64_t choice = draw(g, 4), move = draw(g, 5);
    g->f.flags = draw(g, 12) == 0 ? GR_ROOM_ACCEPTED | GR_ROOM_SOFT_FAILED : 0;
    gr_str id = {0};
    if (choice == 0) {
        snprintf(content, sizeof content, "{\"history_visibility\":\"%s\"}", visibilities[draw(g, 4)]);
        id = put(&g->f, prevs, "@a:here", "m.room.history_visibility", "", content);
    } else if (choice == 1 && strstr(moves[move].from, membership_before(g, prevs))) {
        snprintf(content, sizeof content, "{\"membership\":\"%s\"}", moves[move].to);
        id = put(&g->f, prevs, moves[move].sender, "m.room.member", "@b:here", content);
    } else {
        id = put(&g->f, prevs, "@a:here", "m.room.message", NULL, "{}");
    }
    if (!(g->f.flags & GR_ROOM_SOFT_FAILED)) g->ids[g->count++] = id;
}

static void what_a_user_sees_in_forks_follows_from_the_state_at_each_event(void **state)
{
    (void)state;
    size_t seen = 0, hidden = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        fork_graph g = {.f = open_room(seed % 2 ? "11" : "12"), .random = seed};
        g.ids[g.count++] = newest(&g.f);
        for (int i = 0; i < FORK_EVENTS; i++) put_next(&g);
        check_every_event(g.f.r, "@a:here", &seen, &hidden);
        check_every_event(g.f.r, "@b:here", &seen, &hidden);
        check_every_event(g.f.r, "@c:here", &seen, &hidden);
        rig_free(&g.f.r);
    }
    assert_true(seen > 1000 && hidden > 1000);
}

/* The state that hides is never the room's: another one with the same depth wins. */
static void a_branch_that_lost_still_hides_what_is_on_it(void **state)
{
    (void)state;
    fork_room f = open_room("11");
    rig *r = f.r;
    gr_str base = newest(&f), hiding, said;
    room_member(r, "@b:here", "leave", "@b:here");
    gr_str tip = newest(&f);
    put(&f, one(&tip), "@a:here", "m.room.power_levels", "", "{\"users\":{\"@a:here\":100},\"state_default\":100}");
    f.flags = GR_ROOM_ACCEPTED | GR_ROOM_SOFT_FAILED;
    hiding = put(&f, one(&base), "@a:here", "m.room.history_visibility", "", "{\"history_visibility\":\"joined\"}");
    f.flags = GR_ROOM_ACCEPTED;
    gr_str left = put(&f, one(&hiding), "@b:here", "m.room.member", "@b:here", "{\"membership\":\"leave\"}");
    said = put(&f, one(&left), "@a:here", "m.room.message", NULL, "{}");
    room_member(r, "@b:here", "join", "@b:here");
    assert_ok(r);
    size_t seen = 0, hidden = 0;
    check_every_event(r, "@b:here", &seen, &hidden);
    gr_room_event m = {.user = GR_STR("@b:here"), .event_id = said};
    rig_ask(r, &gr_type_room_event, &m);
    assert_int_equal(r->err.code, GR_NOT_FOUND);
    rig_free(&f.r);
}

/* States are many here, and none is looked into. */
static void intervals_decide_where_history_is_a_line(void **state)
{
    (void)state;
    enum { EVENTS = 40 };
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\"}"});
    room_send(r, "@a:here", "m.room.history_visibility", "", "{\"history_visibility\":\"joined\"}", NULL);
    uint64_t first = room_of(r)->next_number;
    for (int i = 0; i < EVENTS; i++) {
        char user[16];
        snprintf(user, sizeof user, "@m%d:here", i);
        room_member(r, user, "join", user);
        if (i == EVENTS / 2) room_member(r, "@b:here", "join", "@b:here");
    }
    gr_view v;
    size_t seen = 0;
    gr_arena_reset(r->arena);
    gr_ctx_begin(&r->ctx, r->address);
    gr_view_begin(&v, room_of(r), &r->ctx, GR_STR("@b:here"), (gr_str){0});
    unsigned gets = r->ctx.gets;
    for (uint64_t number = first; number < room_of(r)->next_number; number++) {
        gr_room_record e;
        assert_true(gr_room_record_at(&r->ctx, number, &e));
        seen += gr_view_sees(&v, &e);
    }
    assert_int_equal(seen, EVENTS / 2);                            /* its own join, and those after */
    assert_true(r->ctx.gets - gets <= 2 * (EVENTS + 1) + 1);       /* the event and its place */
    rig_free(&r);
}

static void visibility_that_changes_often_hides_to_the_end(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\"}"});
    for (int i = 0; i <= GR_READ_ROWS_MAX; i++)
        room_send(r, "@a:here", "m.room.history_visibility", "",
                  i % 2 ? "{\"history_visibility\":\"shared\"}" : "{\"history_visibility\":\"world_readable\"}", NULL);
    room_send(r, "@a:here", "m.room.history_visibility", "", "{\"history_visibility\":\"joined\"}", NULL);
    gr_str id = say(r, "@a:here", "for those who are here");
    room_member(r, "@b:here", "join", "@b:here");
    assert_ok(r);
    gr_room_event m = {.user = GR_STR("@b:here"), .event_id = id};
    rig_ask(r, &gr_type_room_event, &m);
    assert_int_equal(r->err.code, GR_NOT_FOUND);
    rig_free(&r);
}

static void who_left_reads_the_state_as_it_was(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\",\"name\":\"old\"}"});
    room_member(r, "@b:here", "join", "@b:here");
    room_member(r, "@b:here", "leave", "@b:here");
    room_send(r, "@a:here", "m.room.name", "", "{\"name\":\"new\"}", NULL);
    gr_room_state_get m = {.user = GR_STR("@b:here"), .type = GR_STR("m.room.name")};
    assert_text(view_text(view_ask(r, &gr_type_room_state_get, &m), "name"), "old");
    m.user = GR_STR("@a:here");
    assert_text(view_text(view_ask(r, &gr_type_room_state_get, &m), "name"), "new");
    m.user = GR_STR("@c:here");
    assert_null(view_ask(r, &gr_type_room_state_get, &m));
    assert_int_equal(r->err.code, GR_FORBIDDEN);
    m = (gr_room_state_get){.user = GR_STR("@a:here"), .type = GR_STR("none")};
    assert_null(view_ask(r, &gr_type_room_state_get, &m));
    assert_int_equal(r->err.code, GR_NOT_FOUND);
    rig_free(&r);
}

/* --- rendering ------------------------------------------------------------------------------------------------ */
static const gr_json *event_as(rig *r, const char *user, const char *device, gr_str id)
{
    gr_room_event m = {.user = gr_str_c(user), .device = gr_str_c(device), .event_id = id};
    return view_ask(r, &gr_type_room_event, &m);
}

static void clients_get_events_without_what_is_for_servers(void **state)
{
    (void)state;
    for (size_t i = 0; i < GR_ROOM_VERSION_COUNT; i++) {
        rig *r = room_new((room_options){gr_room_version_at(i)->id, "{}"});
        gr_room_state_get m = {.user = GR_STR("@a:here"), .type = GR_STR("m.room.create"), .whole = true};
        const gr_json *e = view_ask(r, &gr_type_room_state_get, &m);
        static const char *const absent[] = {"auth_events", "prev_events", "hashes", "signatures", "depth", "origin"};
        for (size_t k = 0; k < 6; k++) assert_null(gr_json_get(e, absent[k]));
        assert_true(gr_str_eq(view_text(e, "room_id"), room_of(r)->id));
        assert_true(view_text(e, "event_id").size > 1);
        assert_text(view_text(e, "type"), "m.room.create");
        assert_text(view_text(e, "sender"), "@a:here");
        assert_true(gr_json_is(gr_json_get(e, "state_key"), GR_JSON_STRING));
        assert_true(gr_json_integer(gr_json_get(e, "origin_server_ts"), 0) > 0);
        rig_free(&r);
    }
}

static void only_the_sending_device_gets_its_transaction_id(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"12", "{\"preset\":\"public_chat\"}"});
    room_member(r, "@b:here", "join", "@b:here");
    gr_str id = gr_arena_str(r->long_arena, room_send(r, "@a:here", "x", NULL, "{}", "send/t/1"));
    assert_text(view_text(event_as(r, "@a:here", "D", id), "unsigned/transaction_id"), "t/1");
    assert_null(gr_json_path(event_as(r, "@a:here", "E", id), "unsigned/transaction_id"));
    assert_null(gr_json_path(event_as(r, "@b:here", "D", id), "unsigned/transaction_id"));
    rig_free(&r);
}

static void state_tells_what_it_replaced(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"topic\":\"one\"}"});
    gr_str id = gr_arena_str(r->long_arena, room_send(r, "@a:here", "m.room.topic", "", "{\"topic\":\"two\"}", NULL));
    const gr_json *e = event_as(r, "@a:here", "D", id);
    assert_text(view_text(e, "unsigned/prev_content/topic"), "one");
    assert_text(view_text(e, "unsigned/prev_sender"), "@a:here");
    assert_true(view_text(e, "unsigned/replaces_state").size > 1);
    rig_free(&r);
}

static void a_redacted_event_shows_why_and_nothing_else(void **state)
{
    (void)state;
    static const char *const versions[] = {"10", "11"};
    for (size_t i = 0; i < 2; i++) {
        rig *r = room_new((room_options){versions[i], "{}"});
        gr_str id = say(r, "@a:here", "secret");
        gr_room_send m = {.user = GR_STR("@a:here"), .type = GR_STR("m.room.redaction"), .redacts = id,
                          .content = GR_STR("{\"reason\":\"w\"}")};
        rig_ask(r, &gr_type_room_send, &m);
        assert_ok(r);
        gr_str by = gr_arena_str(r->long_arena, ((const gr_room_sent *)r->reply)->event_id);
        const gr_json *e = event_as(r, "@a:here", "D", id);
        assert_int_equal(gr_json_get(e, "content")->count, 0);
        assert_true(gr_str_eq(view_text(e, "unsigned/redacted_because/event_id"), by));
        assert_true(gr_str_eq(view_text(e, "unsigned/redacted_because/redacts"), id));
        assert_text(view_text(e, "unsigned/redacted_because/content/reason"), "w");
        e = event_as(r, "@a:here", "D", by);
        assert_true(gr_str_eq(view_text(e, "redacts"), id));
        assert_true(gr_str_eq(view_text(e, "content/redacts"), id));
        rig_free(&r);
    }
}

static void an_event_that_may_not_be_seen_is_not_found(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{}"});
    gr_str id = say(r, "@a:here", "x");
    assert_null(event_as(r, "@b:here", "D", id));
    assert_int_equal(r->err.code, GR_NOT_FOUND);
    assert_null(event_as(r, "@a:here", "D", GR_STR("$none")));
    assert_int_equal(r->err.code, GR_NOT_FOUND);
    rig_free(&r);
}

/* --- relations --------------------------------------------------------------------------------------------------- */
static gr_str relate(rig *r, const char *user, const char *rel_type, gr_str target, const char *more)
{
    gr_str content = gr_arena_printf(r->long_arena,
                                     "{\"body\":\"r\",\"m.relates_to\":{\"rel_type\":\"%s\",\"event_id\":\"%.*s\"%s}}",
                                     rel_type, GR_ARG(target), more);
    gr_str id = room_send(r, user, "m.room.message", NULL, content.ptr, NULL);
    assert_ok(r);
    return gr_arena_str(r->long_arena, id);
}

static gr_str edit_of(rig *r, const char *user, gr_str target)
{
    return relate(r, user, "m.replace", target, "},\"m.new_content\":{\"body\":\"e\"");
}

static void children_are_bundled_with_their_parent(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\"}"});
    room_member(r, "@b:here", "join", "@b:here");
    gr_str root = say(r, "@a:here", "root");
    gr_str first = edit_of(r, "@a:here", root);
    edit_of(r, "@b:here", root);                                   /* of another sender: no edit */
    r->ctx.now_ms++;
    gr_str edit = edit_of(r, "@a:here", root);
    r->ctx.now_ms++;
    relate(r, "@a:here", "m.replace", root, "");                   /* without new content: no edit */
    edit_of(r, "@a:here", first);                                  /* an edit has no edits */
    relate(r, "@b:here", "m.thread", root, "");
    gr_str last = relate(r, "@b:here", "m.thread", root, ""), reference = relate(r, "@b:here", "m.reference", root, "");
    const gr_json *bundle = gr_json_path(event_as(r, "@a:here", "D", root), "unsigned/m.relations");
    assert_true(gr_str_eq(view_text(gr_json_get(bundle, "m.replace"), "event_id"), edit));
    assert_int_equal(gr_json_integer(gr_json_path(bundle, "m.thread/count"), 0), 2);
    assert_true(gr_str_eq(view_text(bundle, "m.thread/latest_event/event_id"), last));
    assert_true(gr_json_boolean(gr_json_path(bundle, "m.thread/current_user_participated"), false));
    assert_true(gr_str_eq(view_text(&gr_json_path(bundle, "m.reference/chunk")->items[0], "event_id"), reference));
    assert_null(gr_json_path(event_as(r, "@a:here", "D", first), "unsigned/m.relations"));
    gr_room_threads m = {.user = GR_STR("@a:here"), .limit = 10, .participated = true};
    const gr_json *threads = gr_json_get(view_ask(r, &gr_type_room_threads, &m), "chunk");
    assert_int_equal(threads->count, 1);
    assert_true(gr_str_eq(view_text(&threads->items[0], "event_id"), root));
    rig_free(&r);
}

static void children_outlive_their_parent_but_edits_are_of_no_use(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{}"});
    gr_str root = say(r, "@a:here", "root");
    edit_of(r, "@a:here", root);
    gr_str reply = relate(r, "@a:here", "m.thread", root, "");
    gr_room_send redaction = {.user = GR_STR("@a:here"), .type = GR_STR("m.room.redaction"), .content = GR_STR("{}"),
                              .redacts = root};
    rig_ask(r, &gr_type_room_send, &redaction);
    assert_ok(r);
    const gr_json *bundle = gr_json_path(event_as(r, "@a:here", "D", root), "unsigned/m.relations");
    assert_null(gr_json_get(bundle, "m.replace"));
    assert_true(gr_str_eq(view_text(bundle, "m.thread/latest_event/event_id"), reply));
    rig_free(&r);
}

static void children_are_listed_in_pages(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{}"});
    gr_str root = say(r, "@a:here", "root"), child = {0};
    for (int i = 0; i < 9; i++) child = relate(r, "@a:here", "m.thread", root, "");
    relate(r, "@a:here", "m.reference", child, "");
    for (int forward = 0; forward < 2; forward++) {
        gr_room_relations m = {.user = GR_STR("@a:here"), .event_id = root, .rel_type = GR_STR("m.thread"),
                               .forward = forward, .limit = 4};
        size_t found = 0;
        for (int pages = 0; pages < 9; pages++) {
            const gr_json *page = view_ask(r, &gr_type_room_relations, &m);
            found += gr_json_get(page, "chunk")->count;
            m.from = gr_arena_str(r->long_arena, gr_json_text(page, "next_batch"));
            if (m.from.size == 0) break;
        }
        assert_int_equal(found, 9);
    }
    gr_room_relations m = {.user = GR_STR("@a:here"), .event_id = root, .recurse = true, .limit = 50};
    assert_int_equal(gr_json_get(view_ask(r, &gr_type_room_relations, &m), "chunk")->count, 10);
    rig_free(&r);
}

static void members_can_be_chosen_by_membership_and_time(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\"}"});
    gr_str before = gr_room_cut_at(r->long_arena, room_of(r)->next_pos - 1);
    room_member(r, "@b:here", "join", "@b:here");
    room_member(r, "@c:here", "join", "@c:here");
    room_member(r, "@c:here", "leave", "@c:here");
    gr_room_members m = {.user = GR_STR("@a:here")};
    assert_int_equal(gr_json_get(view_ask(r, &gr_type_room_members, &m), "chunk")->count, 3);
    m.membership = GR_STR("join");
    assert_int_equal(gr_json_get(view_ask(r, &gr_type_room_members, &m), "chunk")->count, 2);
    m = (gr_room_members){.user = GR_STR("@a:here"), .not_membership = GR_STR("join")};
    assert_int_equal(gr_json_get(view_ask(r, &gr_type_room_members, &m), "chunk")->count, 1);
    m = (gr_room_members){.user = GR_STR("@a:here"), .membership = GR_STR("join"), .not_membership = GR_STR("leave")};
    assert_int_equal(gr_json_get(view_ask(r, &gr_type_room_members, &m), "chunk")->count, 2);
    m.not_membership = GR_STR("join");                             /* one or the other: all */
    assert_int_equal(gr_json_get(view_ask(r, &gr_type_room_members, &m), "chunk")->count, 3);
    m = (gr_room_members){.user = GR_STR("@a:here"), .at = before};
    assert_int_equal(gr_json_get(view_ask(r, &gr_type_room_members, &m), "chunk")->count, 1);
    gr_room_joined_members j = {.user = GR_STR("@a:here")};
    const gr_json *joined = gr_json_get(view_ask(r, &gr_type_room_joined_members, &j), "joined");
    assert_int_equal(joined->count, 2);
    assert_text(view_text(gr_json_get(joined, "@a:here"), "display_name"), "Ann");
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_user_sees_follows_from_the_state_at_each_event),
        cmocka_unit_test(what_a_user_sees_in_forks_follows_from_the_state_at_each_event),
        cmocka_unit_test(a_branch_that_lost_still_hides_what_is_on_it),
        cmocka_unit_test(intervals_decide_where_history_is_a_line),
        cmocka_unit_test(visibility_that_changes_often_hides_to_the_end),
        cmocka_unit_test(who_left_reads_the_state_as_it_was),
        cmocka_unit_test(clients_get_events_without_what_is_for_servers),
        cmocka_unit_test(only_the_sending_device_gets_its_transaction_id),
        cmocka_unit_test(state_tells_what_it_replaced),
        cmocka_unit_test(a_redacted_event_shows_why_and_nothing_else),
        cmocka_unit_test(an_event_that_may_not_be_seen_is_not_found),
        cmocka_unit_test(children_are_bundled_with_their_parent),
        cmocka_unit_test(children_outlive_their_parent_but_edits_are_of_no_use),
        cmocka_unit_test(children_are_listed_in_pages),
        cmocka_unit_test(members_can_be_chosen_by_membership_and_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
