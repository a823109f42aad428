/* room_relate_test.c - children that are here before their parent, and threads whose newest event goes. */
#include "tests/unit/actors/room_outside_rig.h"

enum { CHILDREN = 40 };

static rig *chat(void)
{
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\"}"});
    assert_false(gr_failed(room_member(r, "@b:here", "join", "@b:here")));
    return r;
}

static const char *child_of(rig *r, const char *rel_type, gr_str parent, int number)
{
    return gr_arena_printf(r->long_arena,
                           "{\"body\":\"%d\",\"m.relates_to\":{\"rel_type\":\"%s\",\"event_id\":\"%.*s\",\"key\":\"k\"}}", number,
                           rel_type, GR_ARG(parent)).ptr;
}

/* Event ids that /relations tells of a parent, separated by blanks. */
static gr_str children(rig *r, gr_str parent)
{
    gr_room_relations m = {.user = GR_STR("@a:here"), .event_id = parent, .limit = 100};
    const gr_json *answer = NULL;
    gr_str out = {0};
    rig_ask(r, &gr_type_room_relations, &m);
    assert_ok(r);
    assert_false(gr_failed(gr_json_parse(r->long_arena, gr_arena_str(r->long_arena, ((const gr_result *)r->reply)->body),
                                         GR_JSON_LAX, &answer)));
    const gr_json *chunk = gr_json_get(answer, "chunk");
    for (uint32_t i = 0; i < chunk->count; i++)
        out = gr_arena_printf(r->long_arena, "%.*s%.*s ", GR_ARG(out), GR_ARG(gr_json_text(&chunk->items[i], "event_id")));
    return out;
}

static void fire(rig *r)
{
    rig_handle(r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &(gr_timer){.name = GR_STR("related")}});
}

static void children_that_came_before_their_parent_find_it(void **state)
{
    (void)state;
    rig *r = chat();
    gr_str text, child_text, wanted = {0};
    gr_event parent = outside(r, "@b:here", "m.room.message", "{\"body\":\"late\"}", &text);
    for (int i = 0; i < CHILDREN; i++) {
        gr_event child = outside(r, "@a:here", "m.room.message", child_of(r, "m.thread", parent.event_id, i), &child_text);
        accept(r, &child, child_text);
        wanted = gr_arena_printf(r->long_arena, "%.*s %.*s", GR_ARG(child.event_id), GR_ARG(wanted));
    }
    accept(r, &parent, text);
    for (int i = 0; i < 4; i++) fire(r);
    assert_true(gr_str_eq(children(r, parent.event_id), wanted));
    assert_false(r->is_over_bounds);
    gr_room_threads m = {.user = GR_STR("@a:here"), .limit = 10};
    rig_ask(r, &gr_type_room_threads, &m);
    gr_str body = ((const gr_result *)r->reply)->body;
    assert_non_null(memmem(body.ptr, body.size, "\"count\":40", 10));
    rig_free(&r);
}

static void a_child_that_was_redacted_meanwhile_finds_no_parent(void **state)
{
    (void)state;
    rig *r = chat();
    gr_str text, child_text;
    gr_event parent = outside(r, "@b:here", "m.room.message", "{\"body\":\"late\"}", &text);
    gr_event child = outside(r, "@a:here", "m.reaction", child_of(r, "m.annotation", parent.event_id, 0), &child_text);
    accept(r, &child, child_text);
    gr_room_send redaction = {.user = GR_STR("@a:here"), .type = GR_STR("m.room.redaction"), .content = GR_STR("{}"),
                              .redacts = child.event_id};
    rig_ask(r, &gr_type_room_send, &redaction);
    assert_ok(r);
    accept(r, &parent, text);
    assert_int_equal(children(r, parent.event_id).size, 0);
    rig_free(&r);
}

static gr_str threads(rig *r)
{
    gr_room_threads m = {.user = GR_STR("@a:here"), .limit = 10};
    const gr_json *answer = NULL;
    gr_str out = {0};
    rig_ask(r, &gr_type_room_threads, &m);
    assert_ok(r);
    assert_false(gr_failed(gr_json_parse(r->long_arena, gr_arena_str(r->long_arena, ((const gr_result *)r->reply)->body),
                                         GR_JSON_LAX, &answer)));
    const gr_json *chunk = gr_json_get(answer, "chunk");
    for (uint32_t i = 0; i < chunk->count; i++)
        out = gr_arena_printf(r->long_arena, "%.*s%.*s", GR_ARG(out),
                              GR_ARG(gr_json_text(gr_json_get(&chunk->items[i], "content"), "body")));
    return out;
}

static void a_thread_whose_newest_event_goes_falls_back_behind_others(void **state)
{
    (void)state;
    rig *r = chat();
    gr_str roots[2], newest = {0};
    for (int i = 0; i < 2; i++)
        roots[i] = gr_arena_str(r->long_arena, room_send(r, "@a:here", "m.room.message", NULL,
                                                         i ? "{\"body\":\"b\"}" : "{\"body\":\"a\"}", ""));
    for (int i = 0; i < 3; i++)
        newest = gr_arena_str(r->long_arena,
                              room_send(r, "@a:here", "m.room.message", NULL, child_of(r, "m.thread", roots[i % 2], i), ""));
    assert_text(threads(r), "ab");
    gr_room_send redaction = {.user = GR_STR("@a:here"), .type = GR_STR("m.room.redaction"), .content = GR_STR("{}"),
                              .redacts = newest};
    rig_ask(r, &gr_type_room_send, &redaction);
    assert_text(threads(r), "ba");
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_that_came_before_their_parent_find_it),
        cmocka_unit_test(a_child_that_was_redacted_meanwhile_finds_no_parent),
        cmocka_unit_test(a_thread_whose_newest_event_goes_falls_back_behind_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
