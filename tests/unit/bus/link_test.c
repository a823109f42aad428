/* The session between two nodes, without sockets: when a link is up, who notices what is lost, and the window. */
#include "bus/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

typedef struct {
    gr_link_self self;
    gr_link link;
    int64_t clock_us;                /* of its clock, beyond the common time */
    uint64_t freed;
    bool answers, is_rival;
} end;

static gr_cluster map, other_map;
static gr_level levels[2];
static end a, b;
static uint64_t now;

static void end_open(end *e, unsigned index)
{
    *e = (end){.self = {.cluster = &map, .index = index, .start = 100 + index, .level = &levels[index]}};
    levels[index] = (gr_level){.low = 1, .high = 2, .now = 1};
    gr_cluster_hash(&map, e->self.hash);
    gr_link_init(&e->link, 1 - index, now);
}

static int set_up(void **state)
{
    static const char *const keys[] = {"0000000000000000000000000000000000000001",
                                       "0000000000000000000000000000000000000002"};
    gr_arena *arena = gr_arena_new(0);
    (void)state;
    gr_cluster_init(&map, 1);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(gr_cluster_add(&map, arena, gr_arena_printf(arena, "n%u", i + 1),
                                        gr_arena_printf(arena, "h:%u", i + 1), gr_str_c(keys[i]), false)
                             .code,
                         GR_OK);
    gr_cluster_deal_evenly(&map);
    gr_arena_free(&arena);
    now = 1000;
    end_open(&a, 0);
    end_open(&b, 1);
    return 0;
}

/* One HELLO, over the bytes it would have on the wire; takes `delay` ms. */
static void hello(end *from, end *to, uint64_t delay)
{
    gr_node_hello said, heard;
    gr_node_frame f;
    gr_str body;
    gr_buf there = {0}, out = {0};
    char header[GR_NODE_FRAME_HEADER];
    gr_link_hello(&from->link, &from->self, now, now * 1000 + (uint64_t)from->clock_us, &there, &said);
    gr_link_header(&from->link, &from->self, GR_NODE_FRAME_HELLO, header);
    gr_buf_add(&out, header, sizeof header);
    gr_node_hello_encode(&out, &said);
    now += delay;
    assert_int_equal(gr_node_frame_decode(gr_buf_view(&out), &f, &body).code, GR_OK);
    assert_int_equal(gr_node_hello_decode(body, &heard).code, GR_OK);
    to->answers = gr_link_heard(&to->link, &to->self, &f, &heard, now, now * 1000 + (uint64_t)to->clock_us, &to->freed,
                                &to->is_rival);
    gr_buf_free(&there);
    gr_buf_free(&out);
}

static gr_node_frame next_frame(end *from, gr_node_frame_kind kind)
{
    char header[GR_NODE_FRAME_HEADER];
    gr_node_frame f;
    gr_str body;
    gr_link_header(&from->link, &from->self, kind, header);
    assert_int_equal(gr_node_frame_decode(gr_str_of(header, sizeof header), &f, &body).code, GR_OK);
    return f;
}

/* Would it take the next frame? */
static bool accepts(const end *from, const end *to)
{
    end sender = *from, receiver = *to;
    gr_node_frame f = next_frame(&sender, GR_NODE_FRAME_ENVELOPES);
    return gr_link_accepts(&receiver.link, &receiver.self, &f);
}

/* Each tries once, and answers as long as it wants to; this ends. */
static void converse(void)
{
    now += GR_LINK_TRY_MS;
    hello(&b, &a, 1);
    hello(&a, &b, 1);
    for (int i = 0; i < 10 && (a.answers || b.answers); i++) {
        bool b_answers = b.answers;
        a.answers = b.answers = false;
        if (b_answers) hello(&b, &a, 1);
        else hello(&a, &b, 1);
    }
    assert_false(a.answers || b.answers);
}

static void bring_up(void)
{
    converse();
    assert_int_equal(a.link.state, GR_LINK_UP);
    assert_int_equal(b.link.state, GR_LINK_UP);
    assert_true(accepts(&a, &b) && accepts(&b, &a));
}

static void a_link_comes_up_once_both_hear_each_other(void **state)
{
    (void)state;
    hello(&a, &b, 1);
    assert_int_equal(b.link.state, GR_LINK_DOWN);
    assert_true(b.answers);
    hello(&b, &a, 1);
    assert_int_equal(a.link.state, GR_LINK_UP);
    assert_true(a.answers);
    hello(&a, &b, 1);
    assert_int_equal(b.link.state, GR_LINK_UP);
    bring_up();
}

static void nothing_is_taken_before_a_hello_or_from_a_session_that_is_over(void **state)
{
    (void)state;
    assert_false(accepts(&a, &b));
    bring_up();
    gr_link_lost(&a.link, now, "cut");
    assert_false(accepts(&a, &b));
    bring_up();
}

static void a_frame_is_taken_once_and_in_order(void **state)
{
    (void)state;
    bring_up();
    gr_node_frame first = next_frame(&a, GR_NODE_FRAME_ENVELOPES), second = next_frame(&a, GR_NODE_FRAME_ENVELOPES);
    gr_node_frame third = next_frame(&a, GR_NODE_FRAME_ENVELOPES);
    assert_true(gr_link_accepts(&b.link, &b.self, &first));
    assert_false(gr_link_accepts(&b.link, &b.self, &first));
    assert_true(gr_link_accepts(&b.link, &b.self, &third)); /* the second may have been lost */
    assert_false(gr_link_accepts(&b.link, &b.self, &second));
    assert_true(gr_link_is_old(&b.link, &second));
    hello(&a, &b, 1);
    assert_true(gr_link_is_old(&b.link, &third));
    assert_true(accepts(&a, &b));
}

static void what_is_left_of_an_old_connection_does_not_bring_its_session_back(void **state)
{
    (void)state;
    bring_up();
    gr_node_frame late = next_frame(&a, GR_NODE_FRAME_HELLO);
    gr_link_lost(&a.link, now, "cut");
    assert_false(gr_link_is_old(&b.link, &late));
    bring_up();
    assert_true(gr_link_is_old(&b.link, &late));
    /* A process that started again counts from the beginning. */
    late.start++;
    assert_false(gr_link_is_old(&b.link, &late));
}

static void a_window_is_given_back_by_hellos_and_by_loss(void **state)
{
    (void)state;
    bring_up();
    a.link.sent += 900;
    b.link.received += 600;
    hello(&b, &a, 1);
    assert_int_equal(a.freed, 600);
    hello(&b, &a, 1);
    assert_int_equal(a.freed, 0);
    assert_int_equal(gr_link_lost(&a.link, now, "cut"), 300);
    bring_up();
    assert_int_equal(b.link.received, 0);
}

static void a_peer_cannot_confirm_what_was_not_sent(void **state)
{
    (void)state;
    bring_up();
    a.link.sent = 10;
    b.link.received = 11;
    hello(&b, &a, 1);
    assert_int_equal(a.freed, 0);
}

static void a_way_that_breaks_in_one_direction_is_lost_for_both(void **state)
{
    (void)state;
    bring_up();
    /* b's HELLOs do not arrive any more; a's do. */
    now += GR_LINK_SILENCE_MS + 1;
    assert_true(gr_link_is_silent(&a.link, now));
    uint32_t epoch = b.link.epoch;
    b.link.sent += 50;
    hello(&a, &b, 1); /* says that it hears nothing, even before it has given up */
    assert_int_equal(b.link.state, GR_LINK_DOWN);
    assert_int_equal(b.freed, 50);
    assert_true(b.link.epoch > epoch);
    /* Though a never was down, it sees that b began anew. */
    uint32_t known = a.link.their_epoch;
    bring_up();
    assert_true(a.link.their_epoch > known);
}

static void a_process_that_starts_again_is_met_anew(void **state)
{
    (void)state;
    bring_up();
    gr_link_lost(&a.link, now, "its connection broke");
    end_open(&b, 1);
    b.self.start = 555;
    hello(&b, &a, 1);
    assert_false(a.is_rival);
    bring_up();
    assert_int_equal(a.link.their_start, 555);
}

static void a_second_process_of_a_name_changes_nothing_while_the_first_lives(void **state)
{
    (void)state;
    end second;
    bring_up();
    end_open(&second, 1);
    second.self.start = 555;
    hello(&second, &a, 1);
    assert_true(a.is_rival);
    assert_int_equal(a.link.state, GR_LINK_UP);
    assert_false(accepts(&second, &a));
    assert_true(accepts(&b, &a));
    now += GR_LINK_SILENCE_MS;
    hello(&second, &a, 1);
    assert_false(a.is_rival);
}

static void other_maps_are_refused_with_the_difference(void **state)
{
    (void)state;
    other_map = map;
    other_map.generation = 2;
    b.self.cluster = &other_map;
    gr_cluster_hash(&other_map, b.self.hash);
    converse();
    assert_int_equal(a.link.state, GR_LINK_REFUSED);
    assert_int_equal(b.link.state, GR_LINK_REFUSED);
    assert_non_null(strstr(a.link.why, "the generation: here 1, there 2"));
    assert_non_null(strstr(b.link.why, "the generation: here 2, there 1"));
    assert_false(accepts(&b, &a));
    b.self.cluster = &map;
    gr_cluster_hash(&map, b.self.hash);
    bring_up();
}

static void refused_for_levels(const char *why)
{
    converse();
    assert_int_equal(a.link.state, GR_LINK_REFUSED);
    assert_int_equal(b.link.state, GR_LINK_REFUSED);
    if (!strstr(a.link.why, why)) fail_msg("%s", a.link.why);
}

static void nodes_talk_when_each_understands_the_level_of_the_other(void **state)
{
    (void)state;
    levels[1] = (gr_level){.low = 3, .high = 3, .now = 3};
    refused_for_levels("node n2 is at feature level 3 and understands 3 to 3, this one is at 1 and understands 1 to 2");
    levels[1] = (gr_level){.low = 2, .high = 3, .now = 2};
    refused_for_levels("this one is at 1");        /* n2 would not understand what n1 sends */
    levels[0].now = 2;
    bring_up();
    assert_int_equal(a.link.their_level, 2);
}

static void nodes_of_two_versions_talk_until_the_upgrade_is_finished(void **state)
{
    (void)state;
    levels[0] = (gr_level){.low = 1, .high = 1, .now = 1};
    bring_up();
    assert_int_equal(a.link.their_level, 1);
    assert_int_equal(a.link.their_level_high, 2);
    levels[1].now = 2;
    refused_for_levels("node n2 is at feature level 2");
    assert_false(accepts(&b, &a));
}

static void the_difference_of_clocks_is_measured(void **state)
{
    (void)state;
    b.clock_us = 40000000;
    bring_up();
    assert_in_range(a.link.clock_offset_us, 39999000, 40001000);
    assert_in_range(-b.link.clock_offset_us, 39999000, 40001000);
    /* A slow way says less than a quick one, and does not replace it at once. */
    hello(&a, &b, 500);
    hello(&b, &a, 1);
    assert_in_range(a.link.clock_offset_us, 39999000, 40001000);
    assert_true(a.link.rtt_us < 5000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {
        TEST(a_link_comes_up_once_both_hear_each_other),
        TEST(nothing_is_taken_before_a_hello_or_from_a_session_that_is_over),
        TEST(a_frame_is_taken_once_and_in_order),
        TEST(what_is_left_of_an_old_connection_does_not_bring_its_session_back),
        TEST(a_window_is_given_back_by_hellos_and_by_loss),
        TEST(a_peer_cannot_confirm_what_was_not_sent),
        TEST(a_way_that_breaks_in_one_direction_is_lost_for_both),
        TEST(a_process_that_starts_again_is_met_anew),
        TEST(a_second_process_of_a_name_changes_nothing_while_the_first_lives),
        TEST(other_maps_are_refused_with_the_difference),
        TEST(nodes_talk_when_each_understands_the_level_of_the_other),
        TEST(nodes_of_two_versions_talk_until_the_upgrade_is_finished),
        TEST(the_difference_of_clocks_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
