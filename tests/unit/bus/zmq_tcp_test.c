/* Nodes over TCP with CURVE, all in one process: asks and posts between them, cuts, and who is let in. */
#include "tests/unit/bus/zmq_rig.h"

static void asks_are_answered_between_three_nodes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NODES; i++) open_node(i);
    for (unsigned i = 0; i < NODES; i++)
        for (unsigned j = 0; j < NODES; j++)
            if (i != j) wait_for_link(i, j, GR_LINK_UP);
    for (unsigned i = 0; i < NODES; i++)
        for (unsigned j = 0; j < NODES; j++) {
            assert_int_equal(ask_and_wait(i, at(j, "echo"), "hello", 40 + i).code, GR_OK);
            assert_int_equal(rigs[i].last_number, 40 + i);
        }
    gr_zmq_peer p = peer_of(0, 2);
    for (uint64_t until = now_ms() + PATIENCE_MS; p.frames_in < 2 && now_ms() < until; p = peer_of(0, 2)) step(&rigs[0]);
    assert_true(p.frames_out > 0 && p.frames_in > 0 && p.bad == 0 && p.lost == 0);
    assert_string_equal(p.name, "n3");
    gr_str json = gr_node_peers(rigs[0].node, arena);
    assert_non_null(strstr(json.ptr, "\"link\":\"up\""));
}

static void an_actor_asks_an_actor_of_another_node(void **state)
{
    (void)state;
    open_pair();
    assert_int_equal(ask_and_wait(0, at(0, "job"), at(1, "name"), 0).code, GR_OK);
    assert_int_equal(rigs[0].last_number, GR_OK);
    assert_int_equal(ask_and_wait(0, at(1, "job"), at(0, "name"), 0).code, GR_OK);
    assert_int_equal(rigs[0].last_number, GR_OK);
}

static void posts_arrive_once_and_in_order_across_cuts(void **state)
{
    (void)state;
    const char *from = at(0, "name"), *to = at(1, "name");
    open_pair();
    assert_int_equal(ask_and_wait(0, from, to, 100).code, GR_OK);
    for (unsigned round = 1; round <= 3; round++) {
        close_node(1);
        for (unsigned i = 0; i < 5; i++) assert_int_equal(ask_and_wait(0, from, to, 20).code, GR_OK);
        wait_for_link(0, 1, GR_LINK_DOWN);
        assert_int_equal(ask_and_wait(0, from, to, 100).code, GR_OK);
        open_node(1);
        wait_for_count(1, to, 100 + 200 * round);
    }
    /* The sender goes away too. */
    assert_int_equal(ask_and_wait(0, from, to, 100).code, GR_OK);
    close_node(0);
    open_node(0);
    wait_for_count(1, to, 800);
}

static void what_a_group_sends_to_a_node_leaves_in_few_frames(void **state)
{
    (void)state;
    enum { POSTS = 200 };
    open_pair();
    const char *to = at(1, "name");
    gr_zmq_peer before = peer_of(0, 1), after = before;
    assert_int_equal(ask_and_wait(0, at(0, "name"), to, POSTS).code, GR_OK);
    wait_for_count(1, to, POSTS);
    while (after.bytes_out < before.bytes_out + POSTS * 64) {
        step(&rigs[0]);
        after = peer_of(0, 1);
    }
    assert_in_range(after.frames_out - before.frames_out, 1, POSTS / 10);
}

static void a_node_that_is_gone_fails_asks_at_once_and_others_go_on(void **state)
{
    (void)state;
    open_pair();
    open_node(2);
    wait_for_link(0, 2, GR_LINK_UP);
    rig *r = &rigs[0];
    uint64_t begun = now_ms(), before = r->replies;
    /* One from the edge and one from an actor wait for an answer that never comes. */
    assert_int_equal(ask(0, at(1, "media"), "x", 0).code, GR_OK);
    assert_int_equal(ask(0, at(0, "job"), at(1, "media"), 0).code, GR_OK);
    assert_int_equal(ask_and_wait(0, at(1, "echo"), "x", 1).code, GR_OK);
    close_node(1);
    while (r->replies < before + 3) step(r);
    assert_true(now_ms() - begun < PATIENCE_MS / 2);
    assert_int_equal(r->errors, 1);
    assert_int_equal(ask_and_wait(0, at(1, "echo"), "x", 1).code, GR_UNAVAILABLE);
    assert_int_equal(ask_and_wait(0, at(2, "echo"), "x", 1).code, GR_OK);
    open_node(1);
    wait_for_link(0, 1, GR_LINK_UP);
    assert_int_equal(ask_and_wait(0, at(1, "echo"), "x", 1).code, GR_OK);
}

static void an_answer_that_is_too_large_for_a_frame_fails_by_name(void **state)
{
    (void)state;
    open_pair();
    assert_int_equal(ask_and_wait(0, at(1, "media"), "x", GR_MESSAGE_MAX - 100).code, GR_OK);
    assert_int_equal(rigs[0].last_size, GR_MESSAGE_MAX - 100);
    assert_int_equal(ask_and_wait(0, at(1, "media"), "x", GR_MESSAGE_MAX + 1).code, GR_TOO_LARGE);
    assert_non_null(strstr(rigs[0].last_text, "echo"));
    assert_int_equal(ask_and_wait(0, at(0, "media"), "x", GR_MESSAGE_MAX + 1).code, GR_OK);
}

static void the_window_gives_way_again_once_the_peer_confirms(void **state)
{
    (void)state;
    enum { ASKS = 4000 };
    open_pair();
    for (unsigned i = 0, failed = 0; i < ASKS; failed = 0) {
        while (i < ASKS && i < rigs[0].replies + 32 && !failed) {
            gr_err err = ask(0, at(1, "echo"), "x", i);
            failed = gr_failed(err);
            assert_false(failed);
            i++;
        }
        step(&rigs[0]);
    }
    while (rigs[0].replies < ASKS) step(&rigs[0]);
    assert_int_equal(rigs[0].errors, 0);
    /* About 8000 frames of 256 counted bytes went there, so some were confirmed. */
    assert_true(peer_of(0, 1).queue_bytes < 1 << 20);
}

static void different_maps_carry_nothing_and_say_what_differs(void **state)
{
    (void)state;
    snprintf(rigs[1].map.nodes[2].address, sizeof rigs[1].map.nodes[2].address, "127.0.0.1:1");
    open_node(0);
    open_node(1);
    wait_for_log(0, "it differs in the address of node n3: here 127.0.0.1:");
    wait_for_log(1, "it differs in the address of node n3: here 127.0.0.1:1, there");
    assert_int_equal(peer_of(0, 1).state, GR_LINK_REFUSED);
    assert_int_equal(ask_and_wait(0, at(1, "echo"), "x", 1).code, GR_UNAVAILABLE);
}

static void a_second_process_of_a_node_does_not_start(void **state)
{
    (void)state;
    open_pair();
    char dir[sizeof rigs->dir];
    gr_node *node = rigs[1].node;
    gr_port *port = rigs[1].port;
    gr_store *store = rigs[1].store;
    memcpy(dir, rigs[1].dir, sizeof dir);
    snprintf(rigs[1].dir, sizeof rigs[1].dir, "%s/second", base);
    assert_int_equal(mkdir(rigs[1].dir, 0700), 0);
    gr_err err = try_open(1, 1);
    assert_int_equal(err.code, GR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "node n2 runs already"));
    remove_folder(gr_arena_printf(arena, "%s/store", rigs[1].dir).ptr);
    remove_folder(rigs[1].dir);
    rigs[1].node = node;
    rigs[1].port = port;
    rigs[1].store = store;
    memcpy(rigs[1].dir, dir, sizeof dir);
    assert_int_equal(ask_and_wait(0, at(1, "echo"), "x", 1).code, GR_OK);
}

static void a_node_with_another_key_than_the_map_has_does_not_start(void **state)
{
    (void)state;
    randombytes_buf(rigs[0].secret, sizeof rigs[0].secret);
    gr_err err = try_open(0, 1);
    assert_int_equal(err.code, GR_FORBIDDEN);
    assert_non_null(strstr(err.text, "n1"));
}

static void a_revoked_node_is_refused_and_named(void **state)
{
    (void)state;
    /* Node 2 has an older file, in which it is not revoked. */
    rigs[0].map.nodes[1].is_revoked = true;
    memset(rigs[0].map.owner, 0, sizeof rigs[0].map.owner);
    open_node(0);
    open_node(1);
    wait_for_log(0, "the key of node n2 is revoked");
    wait_for_log(0, "refused a connection from 127.0.0.1");
    wait_for_log(1, "it refuses this node's key");
    assert_int_equal(peer_of(1, 0).state, GR_LINK_DOWN);
}

static uint32_t level_of(unsigned node) { return gr_level_now(gr_node_level(rigs[node].node)); }

static void cannot_be_finished(unsigned node, const char *why)
{
    uint32_t level;
    gr_err err = gr_node_upgrade_finish(rigs[node].node, arena, &level);
    assert_int_equal(err.code, GR_UNAVAILABLE);
    if (!strstr(err.text, why)) fail_msg("%s", err.text);
    assert_int_equal(level_of(node), 1);
}

static void an_upgrade_is_finished_once_all_nodes_understand_it_and_all_follow(void **state)
{
    (void)state;
    uint32_t level = 0;
    rigs[0].level_high = rigs[1].level_high = 2;
    for (unsigned i = 0; i < NODES; i++) open_node(i);
    wait_for_link(0, 1, GR_LINK_UP);
    wait_for_link(0, 2, GR_LINK_UP);
    cannot_be_finished(0, "node n3 runs an older version, which understands feature levels up to 1");
    close_node(2);
    wait_for_link(0, 2, GR_LINK_DOWN);
    cannot_be_finished(0, "node n3 is out of reach");
    rigs[2].level_high = 3;
    open_node(2);
    wait_for_link(0, 2, GR_LINK_UP);
    wait_for_link(1, 2, GR_LINK_UP);
    assert_int_equal(gr_node_upgrade_finish(rigs[0].node, arena, &level).code, GR_OK);
    assert_int_equal(level, 2); /* not 3: the others do not understand that */
    wait_for_log(1, "the feature level is 2 now");
    wait_for_log(2, "the feature level is 2 now");
    assert_int_equal(level_of(2), 2);
    assert_int_equal(ask_and_wait(0, at(2, "echo"), "x", 1).code, GR_OK);
    close_node(1);
    rigs[1].level_high = 1;
    gr_err err = try_open(1, 1);
    assert_int_equal(err.code, GR_BAD_STATE);
    assert_non_null(strstr(err.text, "the store is at feature level 2"));
}

/* Serves a node in a process of its own until it is killed, or this one ends. */
static pid_t fork_node(unsigned i)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) return pid;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || gr_failed(try_open(i, 1))) _exit(1);
    for (;;) step(&rigs[i]);
}

static void a_stopped_process_costs_no_memory_and_fails_asks_in_time(void **state)
{
    (void)state;
    const char *from = at(0, "name"), *to = at(1, "name");
    pid_t pid = fork_node(1);
    open_node(0);
    wait_for_link(0, 1, GR_LINK_UP);
    assert_int_equal(ask_and_wait(0, to, "read", 0).code, GR_OK);
    const char *forward = gr_arena_printf(arena, "forward %s", to).ptr;
    assert_int_equal(ask_and_wait(0, from, forward, 0).code, GR_OK);
    assert_int_equal(rigs[0].last_number, 1); /* of who was posted to */
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
    uint64_t begun = now_ms(), before = rigs[0].replies;
    assert_int_equal(ask(0, to, "read", 0).code, GR_OK);
    assert_int_equal(ask(0, from, forward, 0).code, GR_OK); /* its post waits for an answer over there */
    while (rigs[0].replies < before + 2) step(&rigs[0]);
    assert_int_equal(rigs[0].errors, 2);
    assert_int_equal(rigs[0].last.code, GR_UNAVAILABLE);
    assert_true(now_ms() - begun < 5000);
    begun = now_ms();
    assert_int_equal(ask_and_wait(0, from, forward, 0).code, GR_UNAVAILABLE); /* known to be away: at once */
    assert_non_null(strstr(rigs[0].last_text, "will be done when it is back"));
    assert_true(now_ms() - begun < 1000);
    for (unsigned i = 0; i < 40; i++) assert_int_equal(ask_and_wait(0, from, to, 50).code, GR_OK);
    assert_true(peer_of(0, 1).queue_bytes < 2 * GR_NODE_FRAME_BODY_MAX);
    assert_int_equal(ask_and_wait(0, to, "read", 0).code, GR_UNAVAILABLE);
    assert_int_equal(kill(pid, SIGCONT), 0);
    wait_for_link(0, 1, GR_LINK_UP);
    wait_for_count(0, to, 2003);
    /* A crash is noticed at once, as its connection breaks. */
    begun = now_ms();
    assert_int_equal(ask(0, at(1, "media"), "x", 0).code, GR_OK);
    before = rigs[0].replies;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    while (rigs[0].replies == before) step(&rigs[0]);
    assert_int_equal(rigs[0].last.code, GR_UNAVAILABLE);
    assert_true(now_ms() - begun < 2500);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(asks_are_answered_between_three_nodes),
        TEST(an_actor_asks_an_actor_of_another_node),
        TEST(posts_arrive_once_and_in_order_across_cuts),
        TEST(what_a_group_sends_to_a_node_leaves_in_few_frames),
        TEST(a_node_that_is_gone_fails_asks_at_once_and_others_go_on),
        TEST(an_answer_that_is_too_large_for_a_frame_fails_by_name),
        TEST(the_window_gives_way_again_once_the_peer_confirms),
        TEST(different_maps_carry_nothing_and_say_what_differs),
        TEST(a_second_process_of_a_node_does_not_start),
        TEST(a_node_with_another_key_than_the_map_has_does_not_start),
        TEST(a_revoked_node_is_refused_and_named),
        TEST(an_upgrade_is_finished_once_all_nodes_understand_it_and_all_follow),
        TEST(a_stopped_process_costs_no_memory_and_fails_asks_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
