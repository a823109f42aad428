/* servers_test.c - what a room posts once for a shard reaches the queue of each of its servers there, in order. */
#include "actors/room/room.h"
#include "actors/servers/servers.h"
#include "bus/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const gr_actor_kind *const kinds[] = {&gr_servers_kind, NULL};
static const char room[] = "room/!r:here";
static gr_stage *s;

static int set_up(void **state)
{
    (void)state;
    s = gr_stage_new(kinds, "servers/17", NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_stage_free(&s);
    return 0;
}

static void member_of(const char *room_id, const char *server, bool joined)
{
    gr_servers_member m = {.room_id = gr_str_c(room_id), .server = gr_str_c(server), .joined = joined};
    gr_stage_post(s, room, &gr_type_servers_member, &m, (gr_str){0});
}

static size_t send_event(const char *id, const char *except, const char *also)
{
    gr_servers_send m = {.room_id = GR_STR("!r"), .except = gr_str_c(except), .also = gr_str_c(also), .event_id = gr_str_c(id),
                         .position = 7, .size = 99};
    gr_stage_post(s, room, &gr_type_servers_send, &m, (gr_str){0});
    return gr_stage_sent(s, GR_POST, &gr_type_destination_queue);
}

static size_t send_edu(gr_str text, const char *except)
{
    gr_servers_send m = {.room_id = GR_STR("!r"), .except = gr_str_c(except), .edu = text};
    gr_stage_post(s, room, &gr_type_servers_send, &m, (gr_str){0});
    return gr_stage_sent(s, GR_POST, &gr_type_destination_queue);
}

static const gr_stage_effect *queued(size_t n) { return gr_stage_find(s, GR_POST, &gr_type_destination_queue, n); }

static void an_event_goes_to_the_servers_that_are_in_the_room(void **state)
{
    (void)state;
    member_of("!r", "one", true);
    member_of("!r", "two", true);
    member_of("!other", "three", true);
    assert_int_equal(send_event("$a", "", ""), 2);
    assert_true(gr_str_is(queued(0)->to, "destination/one"));
    const gr_destination_queue *q = queued(1)->body;
    assert_true(gr_str_is(q->event_id, "$a") && gr_str_is(q->room_id, "!r") && q->position == 7 && q->size == 99);
    assert_int_equal(send_event("{}", "one", ""), 1);
    assert_int_equal(send_event("{}", "", "three"), 3);
    member_of("!r", "two", false);
    assert_int_equal(send_event("{}", "", ""), 1);
    gr_stage_post(s, room, &gr_type_servers_forget, &(gr_servers_forget){.room_id = GR_STR("!r")}, (gr_str){0});
    assert_int_equal(send_event("{}", "", ""), 0);
    assert_int_equal(gr_stage_keys(s), 2);
}

static void a_large_edu_for_many_servers_goes_in_steps_and_others_wait_behind_it(void **state)
{
    enum { SERVERS = 50, BYTES = 60000 };
    static char text[BYTES];
    size_t sent = 0;
    bool fired = true;
    (void)state;
    for (int i = 0; i < SERVERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%02d", i);
        member_of("!r", name, true);
    }
    memset(text, 'x', BYTES - 1);
    sent += send_edu(gr_str_c(text), "s07");
    assert_true(sent > 0 && sent < 5);
    assert_int_equal(send_event("$second", "", ""), 0);
    for (int steps = 0; fired && sent < 2 * SERVERS - 1; steps++) {
        assert_true(steps < 40);
        gr_stage_reload(s);
        gr_stage_fire(s, &fired);
        for (size_t i = 0; i < gr_stage_sent(s, GR_POST, &gr_type_destination_queue); i++) {
            bool second = ((const gr_destination_queue *)queued(i)->body)->edu.size == 0;
            assert_true(second == (sent++ >= SERVERS - 1));
        }
        assert_false(gr_stage_over_bounds(s));
    }
    assert_int_equal(sent, 2 * SERVERS - 1);
    assert_int_equal(send_event("{}", "", ""), SERVERS);
}

static void what_is_of_no_use_later_is_told_and_not_kept(void **state)
{
    (void)state;
    member_of("!r", "one", true);
    gr_servers_send m = {.room_id = GR_STR("!r"), .edu = GR_STR("{}"), .is_volatile = true};
    gr_stage_tell(s, room, &gr_type_servers_send, &m);
    assert_int_equal(gr_stage_sent(s, GR_TELL, &gr_type_destination_volatile), 1);
    assert_int_equal(gr_stage_writes(s), 0);
}

static void the_rooms_of_a_server_are_listed_in_pages(void **state)
{
    enum { ROOMS = 450 };
    size_t found = 0, pages = 0;
    gr_str after = {0};
    (void)state;
    for (int i = 0; i < ROOMS; i++) {
        char name[16];
        snprintf(name, sizeof name, "!%03d", i);
        member_of(name, "one", true);
    }
    member_of("!else", "one.example", true);
    do {
        gr_stage_ask(s, &gr_type_servers_rooms, &(gr_servers_rooms){.server = GR_STR("one"), .after = after});
        const gr_servers_rooms_page *page = gr_stage_replied(s, &gr_type_servers_rooms_page);
        assert_non_null(page);
        found += page->rooms.count;
        after = page->next;
    } while (after.size && ++pages < 10);
    assert_int_equal(found, ROOMS);
}

/* Stands for a room that has one event. */
static void take_event(void *self, const gr_msg *m, gr_ctx *ctx)
{
    (void)self, (void)m;
    gr_ctx_put(ctx, GR_STR(GR_ROOM_ROW_EVENT_ID "$e"), GR_STR("1"));
}

static const gr_actor_kind room_kind = {.kind = GR_KIND_ROOM, .size = 1, .handle = take_event};
static const gr_actor_kind *const with_rooms[] = {&gr_servers_kind, &room_kind, NULL};

/* Of the shard, or not. */
static gr_str room_of(unsigned from, bool is_here, char name[16])
{
    do snprintf(name, 16, "!%u", from++);
    while ((gr_id_shard(gr_str_c(name)) == 17) != is_here);
    return gr_str_c(name);
}

static void the_room_of_an_event_is_found_by_a_look_into_those_of_the_shard(void **state)
{
    char a[16], b[16], c[16], address[32];
    gr_str rooms[] = {room_of(0, true, a), room_of(100000, true, b), room_of(0, false, c)};
    (void)state;
    gr_stage_free(&s);
    s = gr_stage_new(with_rooms, "servers/17", NULL);
    snprintf(address, sizeof address, "room/%s", b);
    gr_stage_on(s, address);
    gr_stage_tell(s, "room/!x", &gr_type_done, &(gr_done){0});
    gr_stage_on(s, "servers/17");
    gr_stage_ask(s, &gr_type_servers_find, &(gr_servers_find){.event_id = GR_STR("$e"), .rooms = {rooms, 3}});
    const gr_servers_found *found = gr_stage_replied(s, &gr_type_servers_found);
    assert_true(found && gr_str_is(found->room_id, b));
    gr_stage_ask(s, &gr_type_servers_find, &(gr_servers_find){.event_id = GR_STR("$other"), .rooms = {rooms, 3}});
    found = gr_stage_replied(s, &gr_type_servers_found);
    assert_true(found && found->room_id.size == 0);
    gr_str many[4 * GR_SERVERS_FIND];
    for (size_t i = 0; i < 4 * GR_SERVERS_FIND; i++) many[i] = rooms[0];
    gr_stage_ask(s, &gr_type_servers_find, &(gr_servers_find){.event_id = GR_STR("$e"), .rooms = {many, 4 * GR_SERVERS_FIND}});
    assert_false(gr_stage_over_bounds(s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_event_goes_to_the_servers_that_are_in_the_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_large_edu_for_many_servers_goes_in_steps_and_others_wait_behind_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_of_no_use_later_is_told_and_not_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_room_of_an_event_is_found_by_a_look_into_those_of_the_shard, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_rooms_of_a_server_are_listed_in_pages, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
