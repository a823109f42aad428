/* To-device messages: sent once, kept until the device has them, in order. */
#include "tests/unit/actors/user_rig.h"

#include <stdio.h>

static void put(gr_stage *s, const char *devices)
{
    gr_to_device_put m = {
        .sender = GR_STR("@b:here"), .type = GR_STR("m.ping"), .devices = gr_str_c(devices)};
    gr_stage_post(s, "user/@b:here", &gr_type_to_device_put, &m, (gr_str){0});
}

static void put_of_server(gr_stage *s, const char *sender, const char *message_id)
{
    gr_to_device_put m = {.sender = gr_str_c(sender), .type = GR_STR("m.ping"), .devices = GR_STR("{\"D\":{}}"),
                          .message_id = gr_str_c(message_id)};
    gr_stage_ask(s, &gr_type_to_device_put, &m);
    assert_non_null(gr_stage_replied(s, &gr_type_done));
}

static void send(gr_stage *s, const char *txn, uint64_t part, const char *user, const char *devices)
{
    gr_user_to_device one = {.user = gr_str_c(user), .devices = gr_str_c(devices)};
    gr_user_send_to_device m = {.device = GR_STR("D"),
                                .txn = gr_str_c(txn),
                                .part = part,
                                .type = GR_STR("m.ping"),
                                .messages = {&one, 1}};
    gr_stage_ask(s, &gr_type_user_send_to_device, &m);
    assert_non_null(gr_stage_replied(s, &gr_type_done));
}

static gr_stage *with_devices(const char *one, const char *two)
{
    gr_stage *s = user_stage();
    user_device(s, one);
    user_device(s, two);
    return s;
}

/* --- receiving --------------------------------------------------------------------------------------------- */
static void events_are_kept_until_a_token_past_them_is_presented(void **state)
{
    (void)state;
    gr_stage *s = with_devices("D", "E");
    gr_str before = user_changes(s, "D", (gr_str){0})->next_batch;
    put(s, "{\"D\":{\"n\":1},\"UNKNOWN\":{\"n\":9}}");
    put(s, "{\"D\":{\"n\":2}}");
    for (int i = 0; i < 2; i++)
        assert_text(user_changes(s, "D", before)->to_device,
                    "[{\"type\":\"m.ping\",\"sender\":\"@b:here\",\"content\":{\"n\":1}},"
                    "{\"type\":\"m.ping\",\"sender\":\"@b:here\",\"content\":{\"n\":2}}]");
    gr_str after = user_changes(s, "D", before)->next_batch;
    gr_stage_reload(s);
    assert_int_equal(user_changes(s, "D", after)->to_device.size, 0);
    assert_int_equal(user_changes(s, "D", (gr_str){0})->to_device.size, 0);
    assert_int_equal(user_changes(s, "E", (gr_str){0})->to_device.size, 0);
    gr_stage_free(&s);
}

static void a_star_reaches_every_device_but_those_named(void **state)
{
    (void)state;
    gr_stage *s = with_devices("D", "E");
    put(s, "{\"*\":{\"to\":\"all\"},\"E\":{\"to\":\"E\"}}");
    assert_true(user_has(user_changes(s, "D", (gr_str){0})->to_device, "{\"to\":\"all\"}"));
    assert_text(user_changes(s, "E", (gr_str){0})->to_device,
                "[{\"type\":\"m.ping\",\"sender\":\"@b:here\",\"content\":{\"to\":\"E\"}}]");
    gr_stage_free(&s);
}

static void a_star_for_many_devices_goes_in_steps(void **state)
{
    (void)state;
    gr_stage *s = user_stage();
    char name[8];
    size_t served = 0;
    for (int i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "D%02d", i);
        user_device(s, name);
    }
    put(s, "{\"*\":{\"n\":1}}");
    for (int step = 0; step < 3; step++) {
        served += step < 2 ? 25 : 10;
        const gr_stage_effect *next = gr_stage_find(s, GR_POST, &gr_type_to_device_put, 0);
        assert_true(step < 2 ? next != NULL : next == NULL);
        assert_false(gr_stage_over_bounds(s));
        if (next) gr_stage_post(s, "user/@a:here", &gr_type_to_device_put, next->body, (gr_str){0});
    }
    assert_int_equal(served, 60);
    for (int i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "D%02d", i);
        assert_true(user_changes(s, name, (gr_str){0})->to_device.size > 0);
    }
    gr_stage_free(&s);
}

static void an_event_wakes_a_waiting_device(void **state)
{
    (void)state;
    gr_stage *s = with_devices("D", "E");
    put(s, "{\"E\":{\"n\":0}}");
    gr_user_sync wait = {.device = GR_STR("D"),
                         .since = user_changes(s, "D", (gr_str){0})->next_batch,
                         .wait_ms = 30000};
    gr_stage_ask(s, &gr_type_user_sync, &wait);
    assert_null(gr_stage_find(s, GR_REPLY, &gr_type_user_changes, 0));
    put(s, "{\"E\":{\"n\":1}}");
    assert_null(gr_stage_find(s, GR_REPLY, &gr_type_user_changes, 0));
    put(s, "{\"D\":{\"n\":1}}");
    assert_non_null(gr_stage_find(s, GR_REPLY, &gr_type_user_changes, 0));
    gr_stage_free(&s);
}

static void many_events_come_in_pages_in_order_each_once(void **state)
{
    (void)state;
    gr_stage *s = with_devices("D", "E");
    char text[64];
    gr_str since = {0};
    size_t pages = 0;
    int next = 0;
    for (int i = 0; i < 250; i++) {
        snprintf(text, sizeof text, "{\"D\":{\"n\":%d}}", i);
        put(s, text);
    }
    for (const gr_user_changes *c; (c = user_changes(s, "D", since))->to_device.size;
         since = c->next_batch, pages++) {
        const gr_json *events = NULL;
        gr_arena *a = gr_arena_new(0);
        assert_false(gr_stage_over_bounds(s));
        assert_false(gr_failed(gr_json_parse(a, c->to_device, GR_JSON_LAX, &events)));
        for (uint32_t i = 0; i < events->count; i++)
            assert_int_equal(gr_json_integer(gr_json_path(&events->items[i], "content/n"), -1), next++);
        gr_arena_free(&a);
    }
    assert_int_equal(next, 250);
    assert_int_equal(pages, 3);
    gr_stage_free(&s);
}

static void events_of_a_device_that_has_gone_are_not_shown_to_a_new_one(void **state)
{
    (void)state;
    gr_stage *s = with_devices("D", "E");
    bool fired = true;
    gr_str device = GR_STR("D");
    put(s, "{\"D\":{\"n\":1}}");
    gr_stage_ask(s, &gr_type_user_logout, &(gr_user_logout){.devices = {&device, 1}});
    user_device(s, "D");
    assert_int_equal(user_changes(s, "D", (gr_str){0})->to_device.size, 0);
    put(s, "{\"D\":{\"n\":2}}");
    assert_false(user_has(user_changes(s, "D", (gr_str){0})->to_device, "\"n\":1"));
    for (int turn = 0; turn < 9 && fired; turn++) gr_stage_fire(s, &fired);
    assert_text(user_changes(s, "D", (gr_str){0})->to_device,
                "[{\"type\":\"m.ping\",\"sender\":\"@b:here\",\"content\":{\"n\":2}}]");
    gr_stage_free(&s);
}

static void beyond_the_limit_the_oldest_event_is_dropped_and_counted(void **state)
{
    (void)state;
    gr_stage *s = with_devices("D", "E");
    char text[64];
    gr_str bytes;
    void *inbox = NULL;
    gr_arena *a = gr_arena_new(0);
    for (int i = 0; i < GR_TO_DEVICE_MAX + 2; i++) {
        snprintf(text, sizeof text, "{\"D\":{\"n\":%d}}", i);
        put(s, text);
    }
    assert_true(user_has(gr_str_head(user_changes(s, "D", (gr_str){0})->to_device, 80), "\"n\":2}"));
    assert_true(gr_stage_get(s, GR_STR("tD"), &bytes));
    assert_false(gr_failed(gr_body_decode(a, &gr_type_user_inbox, bytes, &inbox)));
    assert_int_equal(((gr_user_inbox *)inbox)->count, GR_TO_DEVICE_MAX);
    assert_int_equal(((gr_user_inbox *)inbox)->dropped, 2);
    gr_arena_free(&a);
    gr_stage_free(&s);
}

/* --- sending ----------------------------------------------------------------------------------------------- */
static void a_transaction_is_sent_once_and_its_parts_each(void **state)
{
    (void)state;
    gr_stage *s = with_devices("D", "E");
    send(s, "t1", 0, "@b:here", "{\"X\":{\"n\":1}}");
    const gr_stage_effect *post = gr_stage_find(s, GR_POST, &gr_type_to_device_put, 0);
    assert_non_null(post);
    assert_text(post->to, "user/@b:here");
    assert_text(((const gr_to_device_put *)post->body)->sender, "@a:here");
    assert_text(((const gr_to_device_put *)post->body)->devices, "{\"X\":{\"n\":1}}");
    gr_stage_reload(s);
    send(s, "t1", 0, "@b:here", "{\"X\":{\"n\":1}}");
    assert_int_equal(gr_stage_sent(s, GR_POST, NULL), 0);
    send(s, "t1", 1, "@b:here", "{\"X\":{\"n\":1}}");
    assert_int_equal(gr_stage_sent(s, GR_POST, NULL), 1);
    gr_stage_free(&s);
}

static void many_devices_of_one_user_are_posted_in_steps(void **state)
{
    (void)state;
    gr_stage *s = with_devices("D", "E");
    gr_buf devices = {0};
    for (int i = 0; i < 60; i++) gr_buf_printf(&devices, "%s\"X%02d\":{}", i ? "," : "{", i);
    gr_buf_add(&devices, "}", 2);
    send(s, "t1", 0, "@b:here", devices.ptr);
    assert_int_equal(gr_stage_sent(s, GR_POST, &gr_type_to_device_put), 3);
    gr_buf_free(&devices);
    gr_stage_free(&s);
}

static void only_the_last_transactions_are_remembered(void **state)
{
    (void)state;
    gr_stage *s = with_devices("D", "E");
    char txn[16];
    size_t keys = 0;
    for (int i = 0; i < GR_TXNS_KEPT + 50; i++) {
        snprintf(txn, sizeof txn, "t%d", i);
        send(s, txn, 0, "@b:here", "{\"X\":{}}");
        if (i == GR_TXNS_KEPT - 1) keys = gr_stage_keys(s);
    }
    assert_int_equal(gr_stage_keys(s), keys);
    send(s, "t50", 0, "@b:here", "{\"X\":{}}");
    assert_int_equal(gr_stage_sent(s, GR_POST, NULL), 0);
    gr_stage_free(&s);
}

static size_t inbox_size(gr_stage *s)
{
    gr_str events = user_changes(s, "D", (gr_str){0})->to_device;
    size_t count = 0;
    for (size_t i = 0; i + 6 < events.size; i++) count += memcmp(events.ptr + i, "m.ping", 6) == 0;
    return count;
}

static void a_message_of_another_server_is_taken_once_by_its_sender_and_id(void **state)
{
    (void)state;
    gr_stage *s = with_devices("D", "E");
    put_of_server(s, "@x:there", "1");
    put_of_server(s, "@x:there", "1");
    assert_int_equal(inbox_size(s), 1);
    gr_stage_reload(s);
    put_of_server(s, "@x:there", "1");
    put_of_server(s, "@y:there", "1");
    put_of_server(s, "@x:there", "2");
    assert_int_equal(inbox_size(s), 3);
    gr_stage_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_kept_until_a_token_past_them_is_presented),
        cmocka_unit_test(a_star_reaches_every_device_but_those_named),
        cmocka_unit_test(a_star_for_many_devices_goes_in_steps),
        cmocka_unit_test(an_event_wakes_a_waiting_device),
        cmocka_unit_test(many_events_come_in_pages_in_order_each_once),
        cmocka_unit_test(events_of_a_device_that_has_gone_are_not_shown_to_a_new_one),
        cmocka_unit_test(beyond_the_limit_the_oldest_event_is_dropped_and_counted),
        cmocka_unit_test(a_transaction_is_sent_once_and_its_parts_each),
        cmocka_unit_test(many_devices_of_one_user_are_posted_in_steps),
        cmocka_unit_test(only_the_last_transactions_are_remembered),
        cmocka_unit_test(a_message_of_another_server_is_taken_once_by_its_sender_and_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
