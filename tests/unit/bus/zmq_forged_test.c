/* What strangers and dishonest nodes send to the port for nodes is refused, counted and told of; honest nodes go on. */
#include "tests/unit/bus/zmq_rig.h"

/* --- bytes by hand: the test takes the place of node 2 --- */
typedef struct {
    void *context, *push;
    gr_node_frame frame;
    const char *name;
    uint64_t number; /* of posts */
} forger;

static forger forger_open(const uint8_t *secret)
{
    forger f = {.context = zmq_ctx_new(), .frame = {.node = 1, .epoch = 1, .start = 99}, .name = "n2", .number = 1};
    uint8_t public_key[GR_CLUSTER_KEY_SIZE], hash[GR_CLUSTER_HASH_SIZE];
    int wait_ms = PATIENCE_MS, zero = 0;
    gr_cluster_public_key(secret, public_key);
    gr_cluster_hash(&rigs[0].map, hash);
    f.frame.map = gr_u64be((char *)hash);
    f.push = zmq_socket(f.context, ZMQ_PUSH);
    zmq_setsockopt(f.push, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(f.push, ZMQ_SNDTIMEO, &wait_ms, sizeof wait_ms);
    zmq_setsockopt(f.push, ZMQ_CURVE_SERVERKEY, rigs[0].map.nodes[0].public_key, GR_CLUSTER_KEY_SIZE);
    zmq_setsockopt(f.push, ZMQ_CURVE_PUBLICKEY, public_key, sizeof public_key);
    zmq_setsockopt(f.push, ZMQ_CURVE_SECRETKEY, secret, GR_CLUSTER_KEY_SIZE);
    assert_int_equal(zmq_connect(f.push, gr_arena_printf(arena, "tcp://%s", rigs[0].map.nodes[0].address).ptr), 0);
    return f;
}

static void forger_close(forger *f)
{
    zmq_close(f->push);
    zmq_ctx_term(f->context);
}

static void forge(forger *f, gr_node_frame_kind kind, gr_str body, size_t cut)
{
    gr_buf out = {0};
    char header[GR_NODE_FRAME_HEADER];
    f->frame.kind = kind;
    f->frame.seq++;
    gr_node_frame_header(header, &f->frame);
    gr_buf_add(&out, header, sizeof header);
    gr_buf_str(&out, body);
    assert_true(zmq_send(f->push, out.ptr, out.size - cut, 0) >= 0);
    gr_buf_free(&out);
}

static void forge_hello(forger *f)
{
    gr_buf out = {0};
    gr_node_hello h = {.generation = 1, .level_low = 1, .level_high = 1, .level = 1, .clock_us = 1};
    snprintf(h.name, sizeof h.name, "%s", f->name);
    gr_cluster_hash(&rigs[0].map, h.map_hash);
    gr_node_hello_encode(&out, &h);
    forge(f, GR_NODE_FRAME_HELLO, gr_buf_view(&out), 0);
    gr_buf_free(&out);
}

static void forge_envelope(forger *f, const char *from, const char *to, gr_verb verb, size_t cut)
{
    gr_buf body = {0}, envelope = {0}, out = {0};
    gr_echo echo = {.text = GR_STR("x"), .number = f->number};
    gr_body_encode(&body, &gr_type_echo, &echo);
    gr_envelope e = {.trace = 1, .from = gr_str_c(from), .to = gr_str_c(to), .verb = verb, .seq = f->number,
                     .incarnation = 5, .type = gr_type_echo.id, .body = gr_buf_view(&body)};
    gr_envelope_encode(&envelope, &e);
    gr_buf_u32be(&out, (uint32_t)envelope.size);
    gr_buf_str(&out, gr_buf_view(&envelope));
    forge(f, GR_NODE_FRAME_ENVELOPES, gr_buf_view(&out), cut);
    gr_buf_free(&body);
    gr_buf_free(&envelope);
    gr_buf_free(&out);
}

static void wait_for_bad(uint64_t count)
{
    uint64_t until = now_ms() + PATIENCE_MS;
    while (peer_of(0, 1).bad < count) {
        step(&rigs[0]);
        if (now_ms() > until) fail_msg("%llu bad, not %llu", (unsigned long long)peer_of(0, 1).bad,
                                       (unsigned long long)count);
    }
}

static void forged_and_broken_frames_are_dropped_and_counted(void **state)
{
    (void)state;
    const char *till = at(0, "name");
    open_node(0);
    forger f = forger_open(rigs[1].secret);
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0); /* before a HELLO */
    wait_for_bad(1);
    forge_hello(&f);
    forge_envelope(&f, at(2, "name"), till, GR_POST, 0); /* a shard of n3 */
    wait_for_bad(2);
    forge_envelope(&f, at(0, "name"), till, GR_POST, 0); /* of n1 itself */
    forge_envelope(&f, "edge/n3/0", till, GR_TELL, 0);
    forge_envelope(&f, at(1, "name"), at(2, "name"), GR_TELL, 0); /* not ours */
    forge_envelope(&f, at(1, "name"), "nonsense", GR_TELL, 0);
    forge_envelope(&f, at(1, "name"), till, GR_POST, 3); /* cut short */
    f.frame.start++;
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0); /* of a session that never said HELLO */
    f.frame.start--;
    wait_for_bad(8);
    uint64_t refused, broken = 0;
    assert_true(zmq_send(f.push, "GR", 2, 0) == 2);
    assert_true(zmq_send(f.push, "", 0, 0) == 0);
    while (broken < 2) {
        gr_zmq_transport_strangers(rigs[0].node->transport, &refused, &broken);
        step(&rigs[0]);
    }
    assert_int_equal(refused, 0);
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0); /* and an honest one */
    wait_for_count(0, till, 1);
    assert_int_equal(peer_of(0, 1).bad, 8);
    assert_true(logged(&rigs[0], "node n2 sent what is refused: it claims a sender that this node does not run"));
    forger_close(&f);
}

static void a_frame_that_comes_again_is_dropped(void **state)
{
    (void)state;
    const char *till = at(0, "name");
    open_node(0);
    forger f = forger_open(rigs[1].secret);
    forge_hello(&f);
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0);
    wait_for_count(0, till, 1);
    f.number++;
    f.frame.seq--;
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0); /* in the place of the one before */
    wait_for_bad(1);
    f.frame.seq -= 2;
    forge_hello(&f);
    wait_for_bad(2);
    wait_for_log(0, "node n2 sent what is refused: a frame that came before");
    f.frame.seq += 10;
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0);
    wait_for_count(0, till, 2);
    forger_close(&f);
}

static void a_peer_that_claims_the_name_of_another_is_refused(void **state)
{
    (void)state;
    open_node(0);
    forger f = forger_open(rigs[1].secret);
    f.name = "n3";
    forge_hello(&f);
    wait_for_bad(1);
    wait_for_log(0, "node n2 sent what is refused: a HELLO in the name of another node");
    f.name = "n2";
    f.frame.node = 2;
    forge_hello(&f);
    wait_for_bad(2);
    assert_int_equal(peer_of(0, 1).heard_ms, UINT64_MAX);
    assert_int_equal(peer_of(0, 2).heard_ms, UINT64_MAX);
    forger_close(&f);
}

static void posts_from_the_future_are_refused_counted_and_logged(void **state)
{
    (void)state;
    const char *till = at(0, "name");
    gr_node_counters n = {0};
    open_node(0);
    forger f = forger_open(rigs[1].secret);
    forge_hello(&f);
    f.number = UINT64_MAX;
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0);
    f.number = 300;
    for (int i = 0; i < 1000; i++) forge_envelope(&f, at(1, "name"), till, GR_POST, 0);
    f.number = 1;
    forge_envelope(&f, at(1, "name"), till, GR_POST, 0); /* the one that is due */
    wait_for_count(0, till, 1);
    wait_for_log(0, "is refused: 1 is the next");
    gr_node_count(rigs[0].node, &n);
    assert_int_equal(n.bad_messages, 1001);
    forger_close(&f);
}

/* Connects and sends that, and leaves the connection open. */
static int knock(const char *bytes, size_t size)
{
    const char *address = rigs[0].map.nodes[0].address;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10));
    int s = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(s, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(write(s, bytes, size), size);
    return s;
}

static void wait_for_strangers(uint64_t count)
{
    gr_node_counters n = {0};
    for (uint64_t until = now_ms() + PATIENCE_MS; n.strangers < count; gr_node_count(rigs[0].node, &n)) {
        step(&rigs[0]);
        if (now_ms() > until) fail_msg("%llu strangers, not %llu", (unsigned long long)n.strangers,
                                       (unsigned long long)count);
    }
    assert_int_equal(n.strangers, count);
}

static void bytes_of_strangers_are_dropped_counted_and_logged(void **state)
{
    (void)state;
    static const char null_greeting[64] = {(char)0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    char curve[73 + 200] = {(char)0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'C', 'U', 'R', 'V', 'E'}, all_ones[5000];
    const char *http = "GET /_matrix/client/versions HTTP/1.1\r\nHost: x\r\n\r\n";
    int s[5], count = 0;
    open_pair();
    memset(all_ones, 0xff, sizeof all_ones);
    s[count++] = knock(http, strlen(http));
    s[count++] = knock(null_greeting, sizeof null_greeting);    /* ZeroMQ without keys */
    s[count++] = knock(all_ones, sizeof all_ones);
    memset(curve + 64, 0x7f, 9);                                /* a command of very many bytes */
    curve[64] = 0x06;
    s[count++] = knock(curve, sizeof curve);
    memcpy(curve + 64, "\x04\x14garbage", 9);                   /* no HELLO of CURVE */
    s[count++] = knock(curve, sizeof curve);
    wait_for_strangers(5);
    wait_for_log(0, "dropped a connection from ");
    wait_for_log(0, "it does not speak as nodes do");
    while (count > 0) close(s[--count]);
    assert_int_equal(ask_and_wait(0, at(1, "echo"), "x", 1).code, GR_OK);
    assert_int_equal(peer_of(0, 1).lost, 0);
}

static void a_frame_past_the_limit_breaks_the_connection_only(void **state)
{
    (void)state;
    size_t size = GR_NODE_FRAME_BODY_MAX + GR_NODE_FRAME_HEADER + 1;
    open_node(0);
    forger f = forger_open(rigs[1].secret);
    char *large = gr_alloc(size);
    assert_true(zmq_send(f.push, large, size, 0) >= 0);
    free(large);
    forge_hello(&f); /* lost with the connection, or sent over the next one */
    forger_close(&f);
    f = forger_open(rigs[1].secret);
    forge_hello(&f);
    forge_envelope(&f, at(1, "name"), at(0, "name"), GR_POST, 0);
    wait_for_count(0, at(0, "name"), 1);
    forger_close(&f);
}

static void a_stranger_gets_nothing_and_is_named_by_address(void **state)
{
    (void)state;
    uint8_t secret[GR_CLUSTER_KEY_SIZE];
    uint64_t refused = 0, broken;
    randombytes_buf(secret, sizeof secret);
    open_node(0);
    forger f = forger_open(secret);
    forge_hello(&f); /* waits in the socket of the stranger */
    wait_for_log(0, "refused a connection from 127.0.0.1");
    wait_for_log(0, "is in no entry of the cluster file");
    gr_zmq_transport_strangers(rigs[0].node->transport, &refused, &broken);
    assert_true(refused > 0);
    assert_int_equal(broken, 0);
    assert_int_equal(peer_of(0, 1).heard_ms, UINT64_MAX);
    forger_close(&f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(forged_and_broken_frames_are_dropped_and_counted),
        TEST(a_frame_that_comes_again_is_dropped),
        TEST(a_peer_that_claims_the_name_of_another_is_refused),
        TEST(posts_from_the_future_are_refused_counted_and_logged),
        TEST(bytes_of_strangers_are_dropped_counted_and_logged),
        TEST(a_frame_past_the_limit_breaks_the_connection_only),
        TEST(a_stranger_gets_nothing_and_is_named_by_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
