/* Keys of a user: devices, one-time keys, cross-signing, and who is told. */
#include "tests/unit/actors/user_rig.h"

#include <stdio.h>

#define DEVICE_KEYS(device, curve) \
    "{\"device_keys\":{\"user_id\":\"@a:here\",\"device_id\":\"" device "\"," \
    "\"algorithms\":[\"m.olm\"],\"keys\":{\"curve25519:" device "\":\"" curve "\"},\"signatures\":{}}}"

static void upload(gr_stage *s, const char *device, const char *body)
{
    gr_stage_ask(s, &gr_type_user_keys_upload,
                 &(gr_user_keys_upload){.device = gr_str_c(device), .body = gr_str_c(body)});
}

static gr_str claim(gr_stage *s, const char *device)
{
    gr_str name = gr_str_c(device), algorithm = GR_STR("signed_curve25519");
    gr_stage_ask(s, &gr_type_user_keys_claim,
                 &(gr_user_keys_claim){.devices = {&name, 1}, .algorithms = {&algorithm, 1}});
    return user_result(s);
}

static const gr_user_keys *query(gr_stage *s, bool own, const char *after)
{
    gr_stage_ask(s, &gr_type_user_keys_query, &(gr_user_keys_query){.own = own, .after = gr_str_c(after)});
    const gr_user_keys *k = gr_stage_replied(s, &gr_type_user_keys);
    assert_non_null(k);
    return k;
}

/* --- device keys ------------------------------------------------------------------------------------------- */
static void device_keys_are_shown_with_the_name_of_the_device(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    user_device(s, "D");
    upload(s, "D", DEVICE_KEYS("D", "c1"));
    assert_text(user_result(s), "{\"one_time_key_counts\":{\"signed_curve25519\":0}}");
    gr_stage_reload(s);
    assert_text(query(s, false, "")->device_keys,
                "{\"D\":{\"algorithms\":[\"m.olm\"],\"device_id\":\"D\",\"keys\":{\"curve25519:D\":\"c1\"},"
                "\"signatures\":{},"
                "\"user_id\":\"@a:here\",\"unsigned\":{\"device_display_name\":\"Phone\"}}}");
    gr_stage_free(&s);
}

static void keys_of_another_device_or_user_are_refused(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    user_device(s, "D");
    upload(s, "D", DEVICE_KEYS("E", "c1"));
    assert_int_equal(gr_stage_error(s).code, GR_INVALID_PARAM);
    upload(s, "D",
           "{\"device_keys\":{\"user_id\":\"@b:here\",\"device_id\":\"D\",\"algorithms\":[],\"keys\":{},"
           "\"signatures\":{}}}");
    assert_int_equal(gr_stage_error(s).code, GR_INVALID_PARAM);
    upload(s, "D",
           "{\"device_keys\":{\"user_id\":\"@a:here\",\"device_id\":\"D\",\"algorithms\":[],\"keys\":{}}}");
    assert_int_equal(gr_stage_error(s).code, GR_BAD_JSON);
    upload(s, "NEVER_LOGGED_IN", DEVICE_KEYS("NEVER_LOGGED_IN", "c1"));
    assert_int_equal(gr_stage_error(s).code, GR_INVALID_PARAM);
    assert_text(query(s, false, "")->device_keys, "{}");
    gr_stage_free(&s);
}

static void a_change_is_told_to_encrypted_rooms_and_own_devices_and_a_repeat_to_nobody(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    user_device(s, "D");
    user_join(s, "!plain", false);
    user_join(s, "!secret", true);
    gr_str since = user_changes(s, "D", (gr_str){0})->next_batch;
    upload(s, "D", DEVICE_KEYS("D", "c1"));
    assert_int_equal(gr_stage_sent(s, GR_POST, &gr_type_room_keys_changed), 1);
    assert_text(gr_stage_find(s, GR_POST, &gr_type_room_keys_changed, 0)->to, "room/!secret");
    const gr_user_changes *c = user_changes(s, "D", since);
    assert_int_equal(c->keys_changed.count, 1);
    assert_text(c->keys_changed.at[0], "@a:here");
    since = c->next_batch;
    upload(s, "D", DEVICE_KEYS("D", "c1"));
    assert_int_equal(gr_stage_sent(s, GR_POST, &gr_type_room_keys_changed), 0);
    assert_int_equal(gr_stage_writes(s), 0);
    assert_int_equal(user_changes(s, "D", since)->keys_changed.count, 0);
    upload(s, "D", DEVICE_KEYS("D", "c2"));
    assert_int_equal(gr_stage_sent(s, GR_POST, &gr_type_room_keys_changed), 1);
    gr_stage_free(&s);
}

static void many_rooms_are_told_in_steps_each_once(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    char room[16];
    size_t told = 0;
    bool fired = true;
    user_device(s, "D");
    for (int i = 0; i < 120; i++) {
        snprintf(room, sizeof room, "!r%03d", i);
        user_join(s, room, true);
    }
    upload(s, "D", DEVICE_KEYS("D", "c1"));
    assert_int_equal(gr_stage_sent(s, GR_POST, &gr_type_room_keys_changed), GR_KEYS_ROOMS_STEP);
    for (int turn = 0; turn < 9 && fired; turn++) {
        for (size_t i = 0; i < gr_stage_sent(s, GR_POST, &gr_type_room_keys_changed); i++) {
            snprintf(room, sizeof room, "room/!r%03zu", told++);
            assert_text(gr_stage_find(s, GR_POST, &gr_type_room_keys_changed, i)->to, room);
        }
        gr_stage_reload(s);
        gr_stage_fire(s, &fired);
    }
    assert_int_equal(told, 120);
    gr_stage_free(&s);
}

static void a_query_of_many_devices_comes_in_pages(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    char body[512], name[8];
    for (int i = 0; i < 90; i++) {
        snprintf(name, sizeof name, "D%02d", i);
        user_device(s, name);
        snprintf(body, sizeof body,
                 "{\"device_keys\":{\"user_id\":\"@a:here\",\"device_id\":\"%s\",\"algorithms\":[],"
                 "\"keys\":{},\"signatures\":{}}}",
                 name);
        upload(s, name, body);
    }
    const gr_user_keys *k = query(s, false, "");
    assert_text(k->next, "D39");
    assert_false(gr_stage_over_bounds(s));
    k = query(s, false, "D39");
    assert_text(k->next, "D79");
    k = query(s, false, "D79");
    assert_int_equal(k->next.size, 0);
    assert_true(user_has(k->device_keys, "\"D80\"") && user_has(k->device_keys, "\"D89\"")
                && !user_has(k->device_keys, "\"D79\""));
    gr_stage_free(&s);
}

static void a_device_that_has_gone_leaves_nothing_to_a_new_one_of_that_id(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    bool fired = true;
    gr_str device = GR_STR("D");
    user_device(s, "D");
    size_t keys = gr_stage_keys(s);
    upload(s, "D", DEVICE_KEYS("D", "c1"));
    upload(s, "D",
           "{\"one_time_keys\":{\"signed_curve25519:A\":{\"key\":\"1\"}},\"fallback_keys\":{\"signed_"
           "curve25519:F\":{\"key\":\"f\"}}}");
    gr_stage_ask(s, &gr_type_user_logout, &(gr_user_logout){.devices = {&device, 1}});
    assert_text(query(s, false, "")->device_keys, "{}");
    assert_text(claim(s, "D"), "{}");
    user_device(s, "D");
    upload(s, "D", "{\"one_time_keys\":{\"signed_curve25519:B\":{\"key\":\"2\"}}}");
    assert_text(user_result(s), "{\"one_time_key_counts\":{\"signed_curve25519\":1}}");
    for (int turn = 0; turn < 9 && fired; turn++) gr_stage_fire(s, &fired);
    assert_text(claim(s, "D"), "{\"D\":{\"signed_curve25519:B\":{\"key\":\"2\"}}}");
    assert_text(claim(s, "D"), "{}");
    gr_stage_ask(s, &gr_type_user_logout, &(gr_user_logout){.devices = {&device, 1}});
    fired = true;
    for (int turn = 0; turn < 9 && fired; turn++) gr_stage_fire(s, &fired);
    assert_int_equal(gr_stage_keys(s),
                     keys - 1 + 3); /* without the device; two rows of the own change, the number of updates */
    gr_stage_free(&s);
}

/* --- what other servers hear -------------------------------------------------------------------------------- */
static const gr_json *heard(gr_stage *s, gr_arena *a)
{
    const gr_json *edu = NULL;
    const gr_stage_effect *e = gr_stage_find(s, GR_POST, &gr_type_herald_edu, 0);
    if (!e) return NULL;
    assert_true(gr_str_is(e->to, "herald/@a:here"));
    assert_false(gr_failed(gr_json_parse(a, ((const gr_herald_edu *)e->body)->edu, GR_JSON_LAX, &edu)));
    return gr_json_get(edu, "content");
}

static int64_t stream_of(const gr_json *content, int64_t prev)
{
    const gr_json *ids = gr_json_get(content, "prev_id");
    assert_int_equal(ids->count, prev ? 1 : 0);
    assert_true(!prev || gr_json_integer(&ids->items[0], -1) == prev);
    return gr_json_integer(gr_json_get(content, "stream_id"), -1);
}

static void every_change_of_a_device_names_the_one_before(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    gr_arena *a = gr_arena_new(0);
    bool fired;
    gr_str device = GR_STR("D");
    user_device(s, "D");
    assert_null(heard(s, a));                      /* without keys it is nobody's business */
    upload(s, "D", DEVICE_KEYS("D", "c1"));
    const gr_json *first = heard(s, a);
    int64_t stream = stream_of(first, 0);
    assert_true(gr_str_is(gr_json_string(gr_json_path(first, "keys/device_id")), "D"));
    assert_true(gr_str_is(gr_json_text(first, "device_display_name"), "Phone"));
    upload(s, "D", DEVICE_KEYS("D", "c1"));        /* the same again */
    assert_null(heard(s, a));
    gr_user_device_put rename = {.device = device, .named = true, .display_name = GR_STR("X")};
    gr_stage_ask(s, &gr_type_user_device_put, &rename);
    stream = stream_of(heard(s, a), stream);
    assert_int_equal(query(s, false, "")->changed_at, stream);
    gr_stage_ask(s, &gr_type_user_logout, &(gr_user_logout){.devices = {&device, 1}});
    gr_stage_fire(s, &fired);
    const gr_json *last = heard(s, a);
    assert_int_equal(stream_of(last, stream), stream + 1);
    assert_true(gr_json_boolean(gr_json_get(last, "deleted"), false) && !gr_json_get(last, "keys"));
    gr_arena_free(&a);
    gr_stage_free(&s);
}

/* --- one-time keys ----------------------------------------------------------------------------------------- */
static void one_time_keys_are_given_out_once_oldest_first(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    user_device(s, "D");
    upload(s, "D",
           "{\"one_time_keys\":{\"signed_curve25519:Z\":{\"key\":\"1\"},\"curve25519:P\":\"plain\"}}");
    upload(s, "D", "{\"one_time_keys\":{\"signed_curve25519:A\":{\"key\":\"2\"}}}");
    assert_text(user_result(s), "{\"one_time_key_counts\":{\"curve25519\":1,\"signed_curve25519\":2}}");
    assert_text(claim(s, "D"), "{\"D\":{\"signed_curve25519:Z\":{\"key\":\"1\"}}}");
    gr_stage_reload(s);
    assert_text(claim(s, "D"), "{\"D\":{\"signed_curve25519:A\":{\"key\":\"2\"}}}");
    assert_text(claim(s, "D"), "{}");
    assert_int_equal(gr_stage_writes(s), 0);
    gr_stage_free(&s);
}

static void the_same_key_may_be_uploaded_again_and_another_of_its_name_may_not(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    user_device(s, "D");
    upload(s, "D", "{\"one_time_keys\":{\"signed_curve25519:A\":{\"key\":\"1\"}}}");
    upload(s, "D", "{\"one_time_keys\":{\"signed_curve25519:A\":{\"key\":\"1\"}}}");
    assert_text(user_result(s), "{\"one_time_key_counts\":{\"signed_curve25519\":1}}");
    upload(s, "D",
           "{\"one_time_keys\":{\"signed_curve25519:0\":{\"key\":\"0\"},\"signed_curve25519:A\":{\"key\":"
           "\"2\"}}}");
    assert_int_equal(gr_stage_error(s).code, GR_INVALID_PARAM);
    assert_int_equal(gr_stage_writes(s), 0);
    gr_stage_free(&s);
}

static void a_fallback_key_is_given_when_there_is_no_other_and_stays(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    user_device(s, "D");
    upload(s, "D",
           "{\"fallback_keys\":{\"signed_curve25519:F\":{\"fallback\":true,\"key\":\"f\"}},"
           "\"one_time_keys\":{\"signed_curve25519:A\":{\"key\":\"1\"}}}");
    assert_text(user_changes(s, "D", (gr_str){0})->fallback_types, "[\"signed_curve25519\"]");
    assert_text(claim(s, "D"), "{\"D\":{\"signed_curve25519:A\":{\"key\":\"1\"}}}");
    for (int i = 0; i < 2; i++)
        assert_text(claim(s, "D"), "{\"D\":{\"signed_curve25519:F\":{\"fallback\":true,\"key\":\"f\"}}}");
    assert_text(user_changes(s, "D", (gr_str){0})->fallback_types, "[]");
    upload(s, "D", "{\"fallback_keys\":{\"signed_curve25519:G\":{\"fallback\":true,\"key\":\"g\"}}}");
    assert_text(user_changes(s, "D", (gr_str){0})->fallback_types, "[\"signed_curve25519\"]");
    assert_text(claim(s, "D"), "{\"D\":{\"signed_curve25519:G\":{\"fallback\":true,\"key\":\"g\"}}}");
    gr_stage_free(&s);
}

static void a_claim_wakes_the_device(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    user_device(s, "D");
    upload(s, "D", "{\"one_time_keys\":{\"signed_curve25519:A\":{\"key\":\"1\"}}}");
    gr_str since = user_changes(s, "D", (gr_str){0})->next_batch;
    gr_user_sync wait = {.device = GR_STR("D"), .since = since, .wait_ms = 30000};
    gr_stage_ask(s, &gr_type_user_sync, &wait);
    assert_int_equal(gr_stage_sent(s, GR_REPLY, NULL), 0);
    claim(s, "D");
    const gr_stage_effect *news = gr_stage_find(s, GR_REPLY, &gr_type_user_changes, 0);
    assert_non_null(news);
    assert_text(((const gr_user_changes *)news->body)->one_time_keys, "{\"signed_curve25519\":0}");
    gr_stage_free(&s);
}

static void beyond_the_limit_the_oldest_keys_make_room(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    char body[16 * 1024];
    user_device(s, "D");
    upload(s, "D", "{\"one_time_keys\":{\"signed_curve25519:old\":{\"key\":\"1\"}}}");
    size_t size = (size_t)snprintf(body, sizeof body, "{\"one_time_keys\":{");
    for (int i = 0; i < GR_ONE_TIME_KEYS_MAX; i++)
        size += (size_t)snprintf(body + size, sizeof body - size,
                                 "%s\"signed_curve25519:%03d\":{\"key\":\"k\"}", i ? "," : "", i);
    snprintf(body + size, sizeof body - size, "}}");
    upload(s, "D", body);
    assert_text(user_result(s), "{\"one_time_key_counts\":{\"signed_curve25519\":200}}");
    assert_text(claim(s, "D"), "{\"D\":{\"signed_curve25519:000\":{\"key\":\"k\"}}}");
    gr_stage_free(&s);
}

/* --- cross-signing ----------------------------------------------------------------------------------------- */
/* A key pair made from one byte; signs as "@a:here". */
typedef struct {
    gr_signer signer;
    gr_str name;
} pair;

static pair pair_of(gr_arena *a, unsigned char byte)
{
    unsigned char seed[GR_SIGN_SEED] = {byte};
    pair p;
    assert_false(gr_failed(gr_signer_from_seed(GR_STR("@a:here"), GR_STR("x"), seed, &p.signer)));
    p.name = gr_base64(a, gr_str_of(p.signer.public_key, GR_SIGN_PUBLIC));
    return p;
}

/* The object with the signature of that key under its own name (`as`). */
static gr_str signed_by(gr_arena *a, gr_str object, const pair *p, gr_str as)
{
    const gr_json *j = NULL;
    assert_false(gr_failed(gr_json_parse(a, object, GR_JSON_LAX, &j)));
    gr_str signature = gr_sign_bytes(a, &p->signer, gr_sign_text(a, j));
    return gr_arena_printf(a, "%.*s,\"signatures\":{\"@a:here\":{\"ed25519:%.*s\":\"%.*s\"}}}",
                           (int)object.size - 1, object.ptr, GR_ARG(as), GR_ARG(signature));
}

static gr_str key_of(gr_arena *a, const char *user, const char *usage, const pair *p)
{
    return gr_arena_printf(a, "{\"user_id\":\"%s\",\"usage\":[\"%s\"],\"keys\":{\"ed25519:%.*s\":\"%.*s\"}}",
                           user, usage, GR_ARG(p->name), GR_ARG(p->name));
}

static void put(gr_stage *s, gr_str body, bool authenticated)
{
    gr_stage_ask(s, &gr_type_user_cross_signing,
                 &(gr_user_cross_signing){.body = body, .is_authenticated = authenticated});
}

static gr_str set_of(gr_arena *a, const pair *master, const pair *self, const pair *user)
{
    return gr_arena_printf(
        a, "{\"master_key\":%s,\"self_signing_key\":%s,\"user_signing_key\":%s}",
        key_of(a, "@a:here", "master", master).ptr,
        signed_by(a, key_of(a, "@a:here", "self_signing", self), master, master->name).ptr,
        signed_by(a, key_of(a, "@a:here", "user_signing", user), master, master->name).ptr);
}

static void first_and_same_keys_need_no_authentication_and_others_do(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    gr_stage *s = user_stage();
    pair m = pair_of(a, 1), self = pair_of(a, 2), user = pair_of(a, 3), other = pair_of(a, 4);
    put(s, set_of(a, &m, &self, &user), false);
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    put(s, set_of(a, &m, &self, &user), false);
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    assert_int_equal(gr_stage_writes(s), 0);
    put(s, set_of(a, &m, &other, &user), false);
    assert_non_null(gr_stage_replied(s, &gr_type_user_auth_needed));
    assert_int_equal(gr_stage_writes(s), 0);
    put(s, set_of(a, &other, &self, &user), true);
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    assert_true(user_has(query(s, false, "")->master, other.name.ptr));
    gr_stage_free(&s);
    gr_arena_free(&a);
}

static void keys_not_signed_by_the_master_are_refused(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    gr_stage *s = user_stage();
    pair m = pair_of(a, 1), self = pair_of(a, 2), wrong = pair_of(a, 3);
    gr_str own =
        gr_arena_printf(a, "{\"self_signing_key\":%s}", key_of(a, "@a:here", "self_signing", &self).ptr);
    put(s, own, false);
    assert_int_equal(gr_stage_error(s).code, GR_MISSING_PARAM);
    put(s,
        gr_arena_printf(a, "{\"master_key\":%s,\"self_signing_key\":%s}",
                        key_of(a, "@a:here", "master", &m).ptr,
                        signed_by(a, key_of(a, "@a:here", "self_signing", &self), &wrong, m.name).ptr),
        false);
    assert_int_equal(gr_stage_error(s).code, GR_INVALID_SIGNATURE);
    put(s, gr_arena_printf(a, "{\"master_key\":%s}", key_of(a, "@b:here", "master", &m).ptr), false);
    assert_int_equal(gr_stage_error(s).code, GR_INVALID_PARAM);
    gr_stage_free(&s);
    gr_arena_free(&a);
}

static void the_user_signing_key_is_for_the_user_alone(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    gr_stage *s = user_stage();
    pair m = pair_of(a, 1), self = pair_of(a, 2), user = pair_of(a, 3);
    put(s, set_of(a, &m, &self, &user), false);
    assert_true(user_has(query(s, true, "")->user_signing, user.name.ptr));
    assert_true(user_has(query(s, false, "")->self_signing, self.name.ptr));
    assert_int_equal(query(s, false, "")->user_signing.size, 0);
    gr_stage_free(&s);
    gr_arena_free(&a);
}

static gr_str sign(gr_stage *s, gr_str body, gr_str masters)
{
    gr_stage_ask(s, &gr_type_user_sign, &(gr_user_sign){.body = body, .masters = masters});
    return user_result(s);
}

#define PLAIN_DEVICE \
    "{\"user_id\":\"@a:here\",\"device_id\":\"D\",\"algorithms\":[\"m.olm\"],\"keys\":{\"curve25519:D\":" \
    "\"c1\"}}"

static void a_right_signature_on_a_device_is_kept_and_a_wrong_one_reported(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    gr_stage *s = user_stage();
    pair m = pair_of(a, 1), self = pair_of(a, 2), user = pair_of(a, 3);
    user_device(s, "D");
    upload(s, "D", DEVICE_KEYS("D", "c1"));
    put(s, set_of(a, &m, &self, &user), false);
    gr_str wrong = signed_by(a, GR_STR(PLAIN_DEVICE), &user, self.name);
    assert_true(user_has(sign(s, gr_arena_printf(a, "{\"@a:here\":{\"D\":%s}}", wrong.ptr), (gr_str){0}),
                         "M_INVALID_SIGNATURE"));
    assert_int_equal(gr_stage_writes(s), 0);
    gr_str right = signed_by(a, GR_STR(PLAIN_DEVICE), &self, self.name);
    assert_text(sign(s, gr_arena_printf(a, "{\"@a:here\":{\"D\":%s}}", right.ptr), (gr_str){0}), "{}");
    assert_true(user_has(query(s, false, "")->device_keys, self.name.ptr));
    upload(s, "D", DEVICE_KEYS("D", "c1"));
    assert_true(user_has(query(s, false, "")->device_keys, self.name.ptr));
    assert_true(user_has(sign(s, gr_arena_printf(a, "{\"@a:here\":{\"E\":%s}}", right.ptr), (gr_str){0}),
                         "M_NOT_FOUND"));
    gr_stage_free(&s);
    gr_arena_free(&a);
}

static void a_signature_on_another_users_master_key_is_the_signers_own(void **state)
{
    (void)state;
    gr_arena *a = gr_arena_new(0);
    gr_stage *s = user_stage();
    pair m = pair_of(a, 1), self = pair_of(a, 2), user = pair_of(a, 3), theirs = pair_of(a, 9);
    put(s, set_of(a, &m, &self, &user), false);
    gr_str since = user_changes(s, "D", (gr_str){0})->next_batch;
    gr_str master = key_of(a, "@b:here", "master", &theirs);
    gr_str masters = gr_arena_printf(a, "{\"@b:here\":%s}", master.ptr);
    gr_str body = gr_arena_printf(a, "{\"@b:here\":{\"%s\":%s}}", theirs.name.ptr,
                                  signed_by(a, master, &self, self.name).ptr);
    assert_true(user_has(sign(s, body, masters), "M_INVALID_SIGNATURE"));
    body = gr_arena_printf(a, "{\"@b:here\":{\"%s\":%s}}", theirs.name.ptr,
                           signed_by(a, master, &user, user.name).ptr);
    assert_text(sign(s, body, masters), "{}");
    const gr_user_changes *c = user_changes(s, "D", since);
    assert_int_equal(c->keys_changed.count, 1);
    assert_text(c->keys_changed.at[0], "@b:here");
    gr_str of = GR_STR("@b:here");
    gr_stage_ask(s, &gr_type_user_signed, &(gr_user_signed){.users = {&of, 1}});
    assert_true(user_has(user_result(s), user.name.ptr));
    gr_stage_free(&s);
    gr_arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_keys_are_shown_with_the_name_of_the_device),
        cmocka_unit_test(keys_of_another_device_or_user_are_refused),
        cmocka_unit_test(a_change_is_told_to_encrypted_rooms_and_own_devices_and_a_repeat_to_nobody),
        cmocka_unit_test(many_rooms_are_told_in_steps_each_once),
        cmocka_unit_test(a_query_of_many_devices_comes_in_pages),
        cmocka_unit_test(a_device_that_has_gone_leaves_nothing_to_a_new_one_of_that_id),
        cmocka_unit_test(every_change_of_a_device_names_the_one_before),
        cmocka_unit_test(one_time_keys_are_given_out_once_oldest_first),
        cmocka_unit_test(the_same_key_may_be_uploaded_again_and_another_of_its_name_may_not),
        cmocka_unit_test(a_fallback_key_is_given_when_there_is_no_other_and_stays),
        cmocka_unit_test(a_claim_wakes_the_device),
        cmocka_unit_test(beyond_the_limit_the_oldest_keys_make_room),
        cmocka_unit_test(first_and_same_keys_need_no_authentication_and_others_do),
        cmocka_unit_test(keys_not_signed_by_the_master_are_refused),
        cmocka_unit_test(the_user_signing_key_is_for_the_user_alone),
        cmocka_unit_test(a_right_signature_on_a_device_is_kept_and_a_wrong_one_reported),
        cmocka_unit_test(a_signature_on_another_users_master_key_is_the_signers_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
