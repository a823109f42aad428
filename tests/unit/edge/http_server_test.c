/* The loop, on real sockets of the loopback. Client and server take turns in one thread: nothing sleeps. */
#include "edge/http_core.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { TURNS_MAX = 200000, MEGABYTES = 50, NOW_MS = 5000 };
#define H "Host: a\r\n"

typedef struct {
    gr_arena *arena;
    gr_http *http;
    gr_http_tls *tls;
    char cert_file[64], key_file[64];
    uint16_t port, tls_port;
    gr_http_id held;
    uint64_t received, sum, pulled;
    size_t buffers_max;
    int gone, seen;
} fixture;

typedef struct { int fd; SSL *ssl; SSL_CTX *context; gr_buf got; bool end; } client;

static uint64_t add_up(uint64_t sum, const char *p, size_t size)
{
    for (size_t i = 0; i < size; i++) sum = sum * 31 + (unsigned char)p[i];
    return sum;
}

static bool on_head(void *ctx, gr_http_id id, const gr_http_req *req, gr_http_take *take)
{
    (void)ctx, (void)id;
    take->stream = gr_str_is(req->path, "/upload");
    if (take->stream) take->body_max = 1 << 30;
    return true;
}

static void on_body(void *ctx, gr_http_id id, gr_str piece)
{
    fixture *f = ctx;
    (void)id;
    f->received += piece.size;
    f->sum = add_up(f->sum, piece.ptr, piece.size);
}

static int64_t pull(void *ctx, char *dst, size_t room)
{
    fixture *f = ctx;
    memset(dst, (int)(f->pulled >> 16 & 0xff), room);
    f->pulled += room;
    return (int64_t)room;
}

static void on_request(void *ctx, gr_http_id id, const gr_http_req *req, gr_str body)
{
    fixture *f = ctx;
    gr_http_answer a = {.status = 200, .body = body.size ? body : gr_str_c("hello")};
    if (gr_str_is(req->path, "/peer")) a.body = req->tls ? GR_STR("tls") : req->peer;
    if (gr_str_is(req->path, "/download"))
        a = (gr_http_answer){.status = 200, .pull = pull, .pull_ctx = f, .pull_length = MEGABYTES << 20};
    if (gr_str_is(req->path, "/hold")) f->held = id;
    else gr_http_reply(f->http, id, &a);
}

static void on_gone(void *ctx, gr_http_id id)
{
    fixture *f = ctx;
    if (f->held == id) f->gone++;
}

static const gr_http_handler handler = {on_head, on_body, on_request, on_gone};

/* --- fixtures ------------------------------------------------------------------------------------------- */
static void write_cert(fixture *f, long serial)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *file = fopen(f->cert_file, "w");
    PEM_write_X509(file, cert);
    fclose(file);
    file = fopen(f->key_file, "w");
    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static int setup(void **state)
{
    fixture *f = gr_alloc(sizeof *f);
    gr_http_limits limits = gr_http_limits_default();
    snprintf(f->cert_file, sizeof f->cert_file, "/tmp/gr_cert_XXXXXX");
    snprintf(f->key_file, sizeof f->key_file, "/tmp/gr_key_XXXXXX");
    close(mkstemp(f->cert_file));
    close(mkstemp(f->key_file));
    write_cert(f, 1);
    f->arena = gr_arena_new(0);
    f->http = gr_http_new(&limits, &handler, f);
    assert_int_equal(gr_http_tls_new(f->arena, f->cert_file, f->key_file, &f->tls).code, GR_OK);
    gr_http_listener plain = {.address = "127.0.0.1"}, tls = {.address = "127.0.0.1", .tls = f->tls};
    assert_int_equal(gr_http_listen(f->http, &plain, f->arena, &f->port).code, GR_OK);
    assert_int_equal(gr_http_listen(f->http, &tls, f->arena, &f->tls_port).code, GR_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    gr_http_free(&f->http);
    gr_http_tls_free(&f->tls);
    gr_arena_free(&f->arena);
    unlink(f->cert_file);
    unlink(f->key_file);
    free(f);
    return 0;
}

static int dial(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof at)) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void turn(fixture *f)
{
    gr_http_step(f->http, NOW_MS, 1);
    for (uint32_t i = 0; i < f->http->slot_count; i++) {
        const gr_http_conn *c = f->http->slots[i];
        if (c && c->in.room + c->out.room + c->body.room > f->buffers_max)
            f->buffers_max = c->in.room + c->out.room + c->body.room;
    }
}

static client open_client(fixture *f, bool tls)
{
    client c = {.fd = dial(tls ? f->tls_port : f->port)};
    assert_true(c.fd >= 0);
    if (!tls) return c;
    c.context = SSL_CTX_new(TLS_client_method());
    c.ssl = SSL_new(c.context);
    SSL_set_alpn_protos(c.ssl, (const unsigned char *)"\x02h2\x08http/1.1", 12);
    SSL_set_mode(c.ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_set_fd(c.ssl, c.fd);
    SSL_set_connect_state(c.ssl);
    for (int i = 0; i < 1000 && SSL_do_handshake(c.ssl) != 1; i++) turn(f);
    assert_true(SSL_is_init_finished(c.ssl));
    return c;
}

static void close_client(client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->context);
    if (c->fd >= 0) close(c->fd);
    gr_buf_free(&c->got);
}

static void send_all(fixture *f, client *c, gr_str bytes)
{
    for (int i = 0; bytes.size && i < TURNS_MAX; i++) {
        ssize_t sent = c->ssl ? SSL_write(c->ssl, bytes.ptr, (int)bytes.size)
                              : send(c->fd, bytes.ptr, bytes.size, MSG_NOSIGNAL);
        if (sent > 0) bytes = gr_str_from(bytes, (size_t)sent);
        else turn(f);
    }
    assert_int_equal(bytes.size, 0);
}

static void say(fixture *f, client *c, const char *text) { send_all(f, c, gr_str_c(text)); }

/* Some bytes, after as many turns as it takes; 0 at the end of the connection. */
static size_t receive(fixture *f, client *c, char *dst, size_t room)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        ssize_t got = c->ssl ? SSL_read(c->ssl, dst, (int)room) : recv(c->fd, dst, room, 0);
        if (got > 0) return (size_t)got;
        if (c->ssl ? SSL_get_error(c->ssl, (int)got) == SSL_ERROR_ZERO_RETURN
                   : got == 0 || errno == ECONNRESET)
            break;
        turn(f);
    }
    c->end = true;
    return 0;
}

/* Reads on until what has come contains text that many times. */
static void expect(fixture *f, client *c, const char *text, int times)
{
    char piece[4096];
    for (;;) {
        int found = 0;
        gr_buf_char(&c->got, 0);
        c->got.size--;
        for (const char *p = c->got.ptr; (p = strstr(p, text)); p++) found++;
        if (found >= times) return;
        size_t size = receive(f, c, piece, sizeof piece);
        if (size == 0) fail_msg("the connection ended without '%s', after: %s", text, c->got.ptr);
        gr_buf_add(&c->got, piece, size);
    }
}

static void expect_end(fixture *f, client *c)
{
    char piece[4096];
    while (receive(f, c, piece, sizeof piece)) continue;
    assert_true(c->end);
}

/* --- facts ---------------------------------------------------------------------------------------------- */
static void a_request_is_answered_with_date_and_peer(void **state)
{
    fixture *f = *state;
    client c = open_client(f, false);
    say(f, &c, "GET /peer HTTP/1.1\r\n" H "\r\n");
    expect(f, &c, "127.0.0.1", 1);
    expect(f, &c, " GMT\r\n", 1);
    assert_null(strstr(c.got.ptr, "Server:"));
    close_client(&c);
}

static void pipelined_and_chunked(fixture *f, bool tls)
{
    client c = open_client(f, tls);
    say(f, &c,
        "GET /1 HTTP/1.1\r\n" H "\r\nPOST /2 HTTP/1.1\r\n" H
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    expect(f, &c, "hello", 1);
    say(f, &c, "3\r\ndef\r\n0\r\n\r\nGET /3 HTTP/1.1\r\n" H "\r\n");
    expect(f, &c, "hello", 2);
    expect(f, &c, "abcdef", 1);
    close_client(&c);
}

static void pipelined_and_chunked_requests_are_served_plain(void **state)
{
    pipelined_and_chunked(*state, false);
}
static void pipelined_and_chunked_requests_are_served_by_tls(void **state)
{
    pipelined_and_chunked(*state, true);
}

static void upload(fixture *f, bool tls)
{
    static char piece[65536];
    client c = open_client(f, tls);
    gr_str head =
        gr_arena_printf(f->arena, "PUT /upload HTTP/1.1\r\n" H "Content-Length: %d\r\n\r\n", MEGABYTES << 20);
    uint64_t sum = 0;
    f->received = f->sum = 0;
    send_all(f, &c, head);
    for (int i = 0; i < MEGABYTES * 16; i++) {
        memset(piece, i, sizeof piece);
        sum = add_up(sum, piece, sizeof piece);
        send_all(f, &c, gr_str_of(piece, sizeof piece));
    }
    expect(f, &c, "hello", 1);
    assert_int_equal(f->received, MEGABYTES << 20);
    assert_true(f->sum == sum);
    assert_true(f->buffers_max <= 2 * 65536);
    close_client(&c);
}

static void fifty_megabytes_up_take_bounded_memory(void **state) { upload(*state, false); }
static void fifty_megabytes_up_by_tls_take_bounded_memory(void **state) { upload(*state, true); }

static void download(fixture *f, bool tls)
{
    static char piece[65536];
    client c = open_client(f, tls);
    say(f, &c, "GET /download HTTP/1.1\r\n" H "\r\n");
    expect(f, &c, "\r\n\r\n", 1);
    size_t total = c.got.size - (size_t)(strstr(c.got.ptr, "\r\n\r\n") + 4 - c.got.ptr), size;
    while (total < MEGABYTES << 20 && (size = receive(f, &c, piece, sizeof piece))) total += size;
    assert_int_equal(total, MEGABYTES << 20);
    assert_true(f->buffers_max <= 2 * 65536);
    say(f, &c, "GET /x HTTP/1.1\r\n" H "\r\n");
    gr_buf_clear(&c.got);
    expect(f, &c, "hello", 1);
    close_client(&c);
}

static void fifty_megabytes_down_take_bounded_memory(void **state) { download(*state, false); }
static void fifty_megabytes_down_by_tls_take_bounded_memory(void **state) { download(*state, true); }

static void tls_agrees_on_http_1_1_and_nothing_older_than_1_2(void **state)
{
    fixture *f = *state;
    client c = open_client(f, true);
    const unsigned char *protocol;
    unsigned size;
    SSL_get0_alpn_selected(c.ssl, &protocol, &size);
    assert_int_equal(size, 8);
    assert_memory_equal(protocol, "http/1.1", 8);
    say(f, &c, "GET /peer HTTP/1.1\r\n" H "\r\n");
    expect(f, &c, "tls", 1);
    close_client(&c);
    client old = {.fd = dial(f->tls_port), .context = SSL_CTX_new(TLS_client_method())};
    SSL_CTX_set_security_level(old.context, 0);
    SSL_CTX_set_min_proto_version(old.context, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(old.context, TLS1_1_VERSION);
    old.ssl = SSL_new(old.context);
    SSL_set_fd(old.ssl, old.fd);
    SSL_set_connect_state(old.ssl);
    for (int i = 0; i < 50 && SSL_do_handshake(old.ssl) != 1; i++) turn(f);
    assert_false(SSL_is_init_finished(old.ssl));
    assert_int_equal(gr_http_count(f->http)->tls_failed, 1);
    close_client(&old);
}

static long serial_seen(fixture *f)
{
    client c = open_client(f, true);
    X509 *cert = SSL_get1_peer_certificate(c.ssl);
    long serial = ASN1_INTEGER_get(X509_get0_serialNumber(cert));
    X509_free(cert);
    close_client(&c);
    return serial;
}

static void a_new_certificate_is_taken_and_a_broken_one_is_not(void **state)
{
    fixture *f = *state;
    client before = open_client(f, true);
    assert_int_equal(serial_seen(f), 1);
    write_cert(f, 2);
    assert_int_equal(gr_http_tls_reload(f->tls, f->arena).code, GR_OK);
    assert_int_equal(serial_seen(f), 2);
    FILE *file = fopen(f->cert_file, "w");
    fputs("no certificate", file);
    fclose(file);
    assert_int_not_equal(gr_http_tls_reload(f->tls, f->arena).code, GR_OK);
    assert_int_equal(serial_seen(f), 2);
    say(f, &before, "GET /x HTTP/1.1\r\n" H "\r\n");
    expect(f, &before, "hello", 1);
    close_client(&before);
}

static void a_held_request_is_answered_much_later(void **state)
{
    fixture *f = *state;
    client c = open_client(f, false);
    say(f, &c, "GET /hold HTTP/1.1\r\n" H "\r\n");
    for (int i = 0; i < 100 && !f->held; i++) turn(f);
    gr_http_step(f->http, NOW_MS + 3600000, 0);
    assert_true(gr_http_reply(f->http, f->held, &(gr_http_answer){.status = 200, .body = GR_STR("late")}));
    expect(f, &c, "late", 1);
    close_client(&c);
}

static void a_broken_connection_is_told_at_once(void **state)
{
    fixture *f = *state;
    client c = open_client(f, false);
    say(f, &c, "GET /hold HTTP/1.1\r\n" H "\r\n");
    for (int i = 0; i < 100 && !f->held; i++) turn(f);
    struct linger reset = {1, 0};
    setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(c.fd);
    c.fd = -1;
    for (int i = 0; i < 100 && !f->gone; i++) turn(f);
    assert_int_equal(f->gone, 1);
    assert_int_equal(gr_http_count(f->http)->open, 0);
    close_client(&c);
}

static void a_client_that_closed_its_side_is_answered(void **state)
{
    fixture *f = *state;
    client c = open_client(f, false);
    say(f, &c, "GET /x HTTP/1.1\r\n" H "\r\n");
    shutdown(c.fd, SHUT_WR);
    expect(f, &c, "hello", 1);
    expect_end(f, &c);
    for (int i = 0; i < 100 && gr_http_count(f->http)->open; i++) turn(f);
    assert_int_equal(gr_http_count(f->http)->open, 0);
    close_client(&c);
}

static void a_refusal_reaches_a_client_that_is_still_sending(void **state)
{
    fixture *f = *state;
    static char junk[1 << 20];
    client c = open_client(f, false);
    say(f, &c, "POST /x HTTP/1.1\r\n" H "Content-Length: 99999999\r\n\r\n");
    send_all(f, &c, gr_str_of(junk, sizeof junk));
    expect(f, &c, "HTTP/1.1 413 ", 1);
    expect(f, &c, "M_TOO_LARGE", 1);
    close_client(&c);
}

static void *wake_thread(void *http)
{
    gr_http_wake(http);
    return NULL;
}

static void another_thread_wakes_a_waiting_step(void **state)
{
    fixture *f = *state;
    pthread_t thread;
    pthread_create(&thread, NULL, wake_thread, f->http);
    assert_int_equal(gr_http_step(f->http, NOW_MS, 60000), 1);
    pthread_join(thread, NULL);
    assert_int_equal(gr_http_step(f->http, NOW_MS, 0), 0);
}

static int pipe_ends[2];

static void watch_seen(void *ctx)
{
    char byte;
    assert_int_equal(read(pipe_ends[0], &byte, 1), 1);
    ((fixture *)ctx)->seen++;
}

static void a_foreign_descriptor_is_watched(void **state)
{
    fixture *f = *state;
    assert_int_equal(pipe(pipe_ends), 0);
    gr_http_watch(f->http, pipe_ends[0], watch_seen, f);
    assert_int_equal(write(pipe_ends[1], "ab", 2), 2);
    gr_http_step(f->http, NOW_MS, 1000);
    gr_http_step(f->http, NOW_MS, 1000);
    gr_http_step(f->http, NOW_MS, 0);
    assert_int_equal(f->seen, 2);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

static void a_port_that_is_taken_is_refused_with_words(void **state)
{
    fixture *f = *state;
    gr_http_limits limits = gr_http_limits_default();
    gr_http *second = gr_http_new(&limits, &handler, f);
    gr_http_listener same = {.address = "127.0.0.1", .port = f->port};
    gr_err err = gr_http_listen(second, &same, f->arena, NULL);
    assert_true(gr_failed(err));
    assert_non_null(strstr(err.text, "in use"));
    gr_http_free(&second);
}

static void an_address_that_is_none_is_refused_with_words(void **state)
{
    fixture *f = *state;
    gr_http_listener bad = {.address = "localhost"};
    gr_err err = gr_http_listen(f->http, &bad, f->arena, NULL);
    assert_int_equal(err.code, GR_INVALID_PARAM);
    assert_non_null(strstr(err.text, "localhost"));
}

static void without_descriptors_accepting_pauses_and_goes_on(void **state)
{
    fixture *f = *state;
    struct rlimit old, tight;
    client c = open_client(f, false);
    getrlimit(RLIMIT_NOFILE, &old);
    tight = (struct rlimit){3, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &tight);
    gr_http_step(f->http, NOW_MS, 0);
    gr_http_step(f->http, NOW_MS, 0);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(gr_http_count(f->http)->refused_descriptors, 1);
    assert_int_equal(gr_http_count(f->http)->open, 0);
    gr_http_step(f->http, NOW_MS + 100, 0);
    assert_int_equal(gr_http_count(f->http)->open, 1);
    close_client(&c);
}

static void a_stop_drains_and_takes_nobody_new(void **state)
{
    fixture *f = *state;
    client idle = open_client(f, false), busy = open_client(f, false);
    say(f, &busy, "GET /hold HTTP/1.1\r\n" H "\r\n");
    for (int i = 0; i < 100 && !f->held; i++) turn(f);
    gr_http_stop(f->http);
    assert_int_equal(dial(f->port), -1);
    expect_end(f, &idle);
    gr_http_reply(f->http, f->held, &(gr_http_answer){.status = 200, .body = GR_STR("goodbye")});
    expect(f, &busy, "Connection: close\r\n", 1);
    expect(f, &busy, "goodbye", 1);
    expect_end(f, &busy);
    close_client(&busy);
    for (int i = 0; i < 100 && gr_http_count(f->http)->open; i++) turn(f);
    assert_int_equal(gr_http_count(f->http)->open, 0);
    close_client(&idle);
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        FACT(a_request_is_answered_with_date_and_peer),
        FACT(pipelined_and_chunked_requests_are_served_plain),
        FACT(pipelined_and_chunked_requests_are_served_by_tls),
        FACT(fifty_megabytes_up_take_bounded_memory),
        FACT(fifty_megabytes_up_by_tls_take_bounded_memory),
        FACT(fifty_megabytes_down_take_bounded_memory),
        FACT(fifty_megabytes_down_by_tls_take_bounded_memory),
        FACT(tls_agrees_on_http_1_1_and_nothing_older_than_1_2),
        FACT(a_new_certificate_is_taken_and_a_broken_one_is_not),
        FACT(a_held_request_is_answered_much_later),
        FACT(a_broken_connection_is_told_at_once),
        FACT(a_client_that_closed_its_side_is_answered),
        FACT(a_refusal_reaches_a_client_that_is_still_sending),
        FACT(another_thread_wakes_a_waiting_step),
        FACT(a_foreign_descriptor_is_watched),
        FACT(a_port_that_is_taken_is_refused_with_words),
        FACT(an_address_that_is_none_is_refused_with_words),
        FACT(without_descriptors_accepting_pauses_and_goes_on),
        FACT(a_stop_drains_and_takes_nobody_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
