/* room_remotes_test.c - users of other servers hear when they share a room with users here, and when no longer. */
#include "tests/unit/actors/room_receive_rig.h"

/* "+user" or "-user" of all posts of the last step, separated by blanks. */
static const char *told(rig *r)
{
    gr_buf out = {0};
    const gr_effect *e;
    for (size_t i = 0; (e = rig_effect(r, GR_POST, &gr_type_remote_user_room, i)); i++) {
        const gr_remote_user_room *m = rig_body(r, e);
        assert_true(gr_str_eq(m->room_id, room_of(r)->id));
        gr_buf_printf(&out, "%s%c%.*s", i ? " " : "", m->is_shared ? '+' : '-', GR_ARG(gr_address_id(e->to)));
    }
    gr_str text = gr_arena_str(r->long_arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text.ptr;
}

static void member_there(pair_room *p, const char *user, const char *membership)
{
    gr_str prev = newest(&p->theirs);
    const char *content = gr_arena_printf(p->ours->long_arena, "{\"membership\":\"%s\"}", membership).ptr;
    assert_int_equal(take(p, put(&p->theirs, one(&prev), user, "m.room.member", user, content)), GR_PDU_ACCEPTED);
}

static void a_join_tells_all_who_are_there_by_and_by(void **state)
{
    (void)state;
    pair_room p = pair_new("12");
    assert_string_equal(told(p.ours), "");         /* the join itself waits for nothing */
    while (rig_fire(p.ours) && !*told(p.ours)) continue;
    assert_string_equal(told(p.ours), "+@a:here +@b:here");
    assert_false(rig_fire(p.ours));
    pair_free(&p);
}

static void who_comes_and_goes_is_told_at_once(void **state)
{
    (void)state;
    pair_room p = pair_new("12");
    member_there(&p, "@b:here", "leave");
    assert_string_equal(told(p.ours), "-@b:here");
    member_there(&p, "@b:here", "join");
    assert_string_equal(told(p.ours), "+@b:here");
    member_there(&p, "@b:here", "join");           /* a new profile */
    assert_string_equal(told(p.ours), "");
    pair_free(&p);
}

static void when_the_last_user_here_leaves_all_are_told(void **state)
{
    (void)state;
    pair_room p = pair_new("12");
    while (rig_fire(p.ours) && !*told(p.ours)) continue;
    member_there(&p, "@x:there", "leave");
    assert_string_equal(told(p.ours), "");
    while (rig_fire(p.ours) && !*told(p.ours)) continue;
    assert_string_equal(told(p.ours), "-@a:here -@b:here");
    member_there(&p, "@b:here", "leave");          /* who goes then was told already */
    assert_string_equal(told(p.ours), "");
    pair_free(&p);
}

static void a_room_of_users_here_sets_no_timer(void **state)
{
    (void)state;
    rig *r = room_new((room_options){.version = "12", .request = "{}"});
    gr_ctx_begin(&r->ctx, r->address);
    assert_false(gr_room_is_telling_remotes(&r->ctx));
    rig_free(&r);
}

static void the_audience_is_servers_in_pages_and_shards_of_users_here(void **state)
{
    (void)state;
    pair_room p = pair_new("11");
    rig_ask(p.ours, &gr_type_room_audience, &(gr_room_audience){0});
    const gr_room_audience_is *is = p.ours->reply;
    assert_true(is->servers.count == 1 && gr_str_is(is->servers.at[0], "here") && is->next.size == 0);
    assert_true(is->shards.count == 1 && is->shards.at[0] == gr_id_shard(GR_STR("@x:there")));
    assert_int_equal(is->joined, 3);
    rig_ask(p.ours, &gr_type_room_audience, &(gr_room_audience){.after = GR_STR("here")});
    assert_int_equal(((const gr_room_audience_is *)p.ours->reply)->servers.count, 0);
    pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_join_tells_all_who_are_there_by_and_by), cmocka_unit_test(who_comes_and_goes_is_told_at_once),
        cmocka_unit_test(when_the_last_user_here_leaves_all_are_told), cmocka_unit_test(a_room_of_users_here_sets_no_timer),
        cmocka_unit_test(the_audience_is_servers_in_pages_and_shards_of_users_here)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
