/* room_redact_test.c - redactions that come before their target, and redaction at rest. */
#include "tests/unit/actors/room_outside_rig.h"

static rig *chat(uint64_t retention_ms)
{
    rig *r = room_new((room_options){"11", "{\"preset\":\"public_chat\"}"});
    r->env.redaction_retention_ms = retention_ms;
    assert_false(gr_failed(room_member(r, "@b:here", "join", "@b:here")));
    return r;
}

static gr_room_record record_of(rig *r, gr_str event_id)
{
    uint64_t number;
    gr_room_record record;
    gr_ctx_begin(&r->ctx, r->address);
    assert_true(gr_room_number_of(&r->ctx, event_id, &number));
    assert_true(gr_room_record_at(&r->ctx, number, &record));
    return record;
}

static bool holds(gr_str text, const char *part) { return memmem(text.ptr, text.size, part, strlen(part)) != NULL; }

static void redaction_before_target(const char *by, bool applied)
{
    rig *r = chat(1000);
    gr_str text, redaction_text;
    gr_event e = outside(r, "@b:here", "m.room.message", "{\"body\":\"secret\"}", &text);
    gr_str content = gr_arena_printf(r->long_arena, "{\"redacts\":\"%.*s\"}", GR_ARG(e.event_id));
    gr_event redaction = outside(r, by, "m.room.redaction", content.ptr, &redaction_text);
    accept(r, &redaction, redaction_text);
    rig_reload(r);
    gr_room_made made = accept(r, &e, text);
    gr_room_record record = record_of(r, e.event_id);
    assert_int_equal((record.flags & GR_ROOM_REDACTED) != 0, applied);
    assert_int_equal(gr_json_get(made.event.content, "body") == NULL, applied);
    if (applied) assert_int_equal(record.redacted_by, record_of(r, redaction.event_id).number);
    rig_free(&r);
}

static void a_redaction_waits_for_its_target(void **state)
{
    (void)state;
    redaction_before_target("@b:here", true);
    redaction_before_target("@a:here", true);
}

static void a_redaction_without_the_power_for_it_waits_in_vain(void **state)
{
    (void)state;
    redaction_before_target("@c:there", false);
}

static gr_str redacted_message(rig *r)
{
    gr_str id = room_send(r, "@b:here", "m.room.message", NULL, "{\"body\":\"secret\"}", "");
    id = gr_arena_str(r->long_arena, id);
    gr_room_send m = {.user = GR_STR("@b:here"),
                      .type = GR_STR("m.room.redaction"),
                      .content = GR_STR("{}"),
                      .redacts = id};
    rig_ask(r, &gr_type_room_send, &m);
    assert_ok(r);
    return id;
}

static void fire(rig *r)
{
    rig_handle(r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &(gr_timer){.name = GR_STR("redacted")}});
}

static uint64_t timer_set(const rig *r)
{
    for (const gr_effect *e = r->ctx.first; e; e = e->next)
        if (e->kind == GR_FX_TIMER && gr_str_is(e->name, "redacted")) return e->due_ms;
    return 0;
}

static void content_is_gone_when_its_time_is_over(void **state)
{
    (void)state;
    rig *r = chat(1000);
    gr_str first = redacted_message(r);
    assert_int_equal(timer_set(r), r->ctx.now_ms + 1000);
    assert_true(holds(record_of(r, first).json, "secret"));
    r->ctx.now_ms += 400;
    gr_str second = redacted_message(r);
    assert_int_equal(timer_set(r), 0);
    r->ctx.now_ms += 600;
    fire(r);
    assert_false(holds(record_of(r, first).json, "secret"));
    assert_true(holds(record_of(r, second).json, "secret"));
    fire(r);
    assert_int_equal(timer_set(r), r->ctx.now_ms + 400);
    r->ctx.now_ms += 400;
    fire(r);
    assert_false(holds(record_of(r, second).json, "secret"));
    assert_int_equal(timer_set(r), 0);
    rig_free(&r);
}

static void many_are_rewritten_in_steps(void **state)
{
    (void)state;
    gr_str ids[40];
    rig *r = chat(1000);
    for (size_t i = 0; i < 40; i++) ids[i] = redacted_message(r);
    r->ctx.now_ms += 1000;
    for (size_t steps = 1;; steps++) {
        fire(r);
        assert_in_range(r->write_count, 1, 40);
        if (timer_set(r) == 0) {
            assert_int_equal(steps, 3);
            break;
        }
    }
    for (size_t i = 0; i < 40; i++) assert_false(holds(record_of(r, ids[i]).json, "secret"));
    rig_free(&r);
}

static void without_retention_content_is_gone_at_once(void **state)
{
    (void)state;
    rig *r = chat(0);
    gr_str id = redacted_message(r);
    assert_int_equal(timer_set(r), 0);
    gr_room_record record = record_of(r, id);
    assert_false(holds(record.json, "secret"));
    gr_event e;
    assert_false(gr_failed(gr_event_parse(r->arena, room_of(r)->version, record.json, &e)));
    assert_true(gr_str_eq(e.event_id, id)); /* what is hashed stays */
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_redaction_waits_for_its_target),
        cmocka_unit_test(a_redaction_without_the_power_for_it_waits_in_vain),
        cmocka_unit_test(content_is_gone_when_its_time_is_over),
        cmocka_unit_test(many_are_rewritten_in_steps),
        cmocka_unit_test(without_retention_content_is_gone_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
