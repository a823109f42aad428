/* Signing against the specification's vectors, and what must not verify. */
#include "proto/sign.h"
#include "proto/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define KEY_FILE "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1\n"

static gr_arena *arena;
static gr_signer signer;

static int set_up(void **state)
{
    (void)state;
    arena = gr_arena_new(0);
    return gr_failed(gr_signer_from_file(arena, GR_STR("domain"), GR_STR(KEY_FILE), &signer));
}

static int tear_down(void **state)
{
    (void)state;
    gr_arena_free(&arena);
    return 0;
}

static const gr_json *json(const char *text)
{
    const gr_json *out = NULL;
    assert_false(gr_failed(gr_json_parse(arena, gr_str_c(text), GR_JSON_CANONICAL, &out)));
    return out;
}

static bool find(void *arg, gr_str server, gr_str key_id, int64_t ts, unsigned char out[GR_SIGN_PUBLIC])
{
    const gr_signer *owner = arg;
    if (ts > 1000 || !gr_str_eq(server, owner->server_name) || !gr_str_is(key_id, owner->key_id))
        return false;
    memcpy(out, owner->public_key, GR_SIGN_PUBLIC);
    return true;
}

static gr_key_ring ring_of(gr_signer *owner) { return (gr_key_ring){.find = find, .arg = owner}; }

static gr_errcode checked(const char *text, gr_signer *owner, const char *entity, int64_t ts)
{
    gr_key_ring ring = ring_of(owner);
    return gr_sign_check_json(arena, &ring, json(text), gr_str_c(entity), ts).code;
}

static void objects_sign_as_the_published_vectors(void **state)
{
    (void)state;
    gr_str empty = gr_sign_json(arena, &signer, json("{}"));
    assert_string_equal(empty.ptr,
        "{\"signatures\":{\"domain\":{\"ed25519:1\":\"K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb"
        "76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ\"}}}");
    gr_str two = gr_sign_json(arena, &signer, json("{\"two\": \"Two\", \"one\": 1}"));
    assert_string_equal(two.ptr,
        "{\"one\":1,\"signatures\":{\"domain\":{\"ed25519:1\":\"KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL"
        "53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw\"}},\"two\":\"Two\"}");
}

static void a_signed_object_verifies_and_a_changed_one_does_not(void **state)
{
    (void)state;
    gr_str text = gr_sign_json(arena, &signer, json("{\"one\":1,\"unsigned\":{\"age\":3}}"));
    assert_int_equal(checked(text.ptr, &signer, "domain", 0), GR_OK);
    char *changed = (char *)gr_arena_str(arena, text).ptr;
    strstr(changed, "\"one\":1")[6] = '2';
    assert_int_equal(checked(changed, &signer, "domain", 0), GR_INVALID_SIGNATURE);
    char *aged = (char *)gr_arena_str(arena, text).ptr;      /* unsigned is not covered */
    strstr(aged, "\"age\":3")[6] = '4';
    assert_int_equal(checked(aged, &signer, "domain", 0), GR_OK);
}

static void a_missing_unknown_or_expired_key_is_no_signature(void **state)
{
    (void)state;
    gr_str text = gr_sign_json(arena, &signer, json("{\"one\":1}"));
    assert_int_equal(checked(text.ptr, &signer, "other", 0), GR_INVALID_SIGNATURE);
    assert_int_equal(checked(text.ptr, &signer, "domain", 1001), GR_INVALID_SIGNATURE);
    assert_int_equal(checked("{\"one\":1}", &signer, "domain", 0), GR_INVALID_SIGNATURE);
    assert_int_equal(checked("{\"one\":1,\"signatures\":7}", &signer, "domain", 0), GR_INVALID_SIGNATURE);
    assert_int_equal(checked("{\"signatures\":{\"domain\":{\"ed25519:1\":5}}}", &signer, "domain", 0),
                     GR_INVALID_SIGNATURE);
    assert_int_equal(checked("{\"signatures\":{\"domain\":{\"ed25519:1\":\"!!\"}}}", &signer, "domain", 0),
                     GR_INVALID_SIGNATURE);
}

static void a_second_signature_keeps_the_first(void **state)
{
    (void)state;
    unsigned char seed[GR_SIGN_SEED] = {7};
    gr_signer second;
    assert_false(gr_failed(gr_signer_from_seed(GR_STR("a.second"), GR_STR("k_2"), seed, &second)));
    gr_str once = gr_sign_json(arena, &signer, json("{\"zz\":1}"));
    gr_str twice = gr_sign_json(arena, &second, json(once.ptr));
    assert_int_equal(checked(twice.ptr, &signer, "domain", 0), GR_OK);
    assert_int_equal(checked(twice.ptr, &second, "a.second", 0), GR_OK);
    assert_true(gr_str_eq(twice, gr_json_printed(arena, json(twice.ptr))));
    assert_true(gr_str_eq(twice, gr_sign_json(arena, &signer, json(twice.ptr))));
}

static void a_key_file_reads_back_as_it_was_written(void **state)
{
    (void)state;
    gr_str written = gr_signer_file_text(arena, &signer);
    gr_signer again;
    assert_false(gr_failed(gr_signer_from_file(arena, GR_STR("domain"), written, &again)));
    assert_memory_equal(again.secret, signer.secret, GR_SIGN_SECRET);
    assert_string_equal(written.ptr, "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA0\n");
    assert_string_equal(signer.key_id, "ed25519:1");
    gr_signer bad;
    const char *files[] = {"", "ed25519", "ed25519 1", "rsa 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1",
                           "ed25519 1 YJDB", "ed25519 a:b YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1",
                           "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1 more"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!gr_failed(gr_signer_from_file(arena, GR_STR("domain"), gr_str_c(files[i]), &bad)))
            fail_msg("accepted \"%s\"", files[i]);
    bad = signer;
    gr_signer_wipe(&bad);
    assert_memory_equal(bad.secret, (unsigned char[GR_SIGN_SECRET]){0}, GR_SIGN_SECRET);
}

static void cheap_sign(const gr_signer *who, gr_str message, unsigned char out[GR_SIGN_SIGNATURE])
{
    memset(out, who->public_key[0] ^ (int)message.size, GR_SIGN_SIGNATURE);
}

static bool cheap_verify(const unsigned char public_key[GR_SIGN_PUBLIC], gr_str message,
                         const unsigned char signature[GR_SIGN_SIGNATURE])
{
    return signature[5] == (unsigned char)(public_key[0] ^ (int)message.size);
}

static void another_primitive_may_stand_in(void **state)
{
    (void)state;
    gr_signer cheap = signer;
    cheap.sign = cheap_sign;
    gr_str text = gr_sign_json(arena, &cheap, json("{\"one\":1}"));
    gr_key_ring ring = ring_of(&cheap);
    assert_true(gr_failed(gr_sign_check_json(arena, &ring, json(text.ptr), GR_STR("domain"), 0)));
    ring.verify = cheap_verify;
    assert_false(gr_failed(gr_sign_check_json(arena, &ring, json(text.ptr), GR_STR("domain"), 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(objects_sign_as_the_published_vectors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_signed_object_verifies_and_a_changed_one_does_not, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_missing_unknown_or_expired_key_is_no_signature, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_second_signature_keeps_the_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_file_reads_back_as_it_was_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_primitive_may_stand_in, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
