/* room_page_test.c - history in pages: every visible event exactly once, whatever the graph and the page size. */
#include "tests/unit/actors/room_view_rig.h"

enum { IDS_MAX = 256 };
typedef struct { gr_str at[IDS_MAX]; size_t count; } ids;

/* The ids must outlive the step that found them. */
static void collect(rig *r, ids *seen, const gr_json *events)
{
    for (uint32_t i = 0; i < events->count; i++) {
        assert_true(seen->count < IDS_MAX);
        seen->at[seen->count++] = gr_arena_str(r->long_arena, view_text(&events->items[i], "event_id"));
    }
}

static size_t times(const ids *seen, gr_str id)
{
    size_t n = 0;
    for (size_t i = 0; i < seen->count; i++) n += gr_str_eq(seen->at[i], id);
    return n;
}

/* All pages from a token (empty: an end of history). */
static ids walk(rig *r, const char *user, gr_str from, gr_str to, bool backward, uint64_t limit)
{
    ids seen = {0};
    gr_str token = gr_arena_str(r->long_arena, from);
    for (int pages = 0; pages < 500; pages++) {
        gr_room_messages m = {.user = gr_str_c(user), .from = token, .to = to, .backward = backward, .limit = limit};
        const gr_json *page = view_ask(r, &gr_type_room_messages, &m);
        if (!page) fail_msg("refused: %s", r->err.text);
        collect(r, &seen, gr_json_get(page, "chunk"));
        if (!gr_json_get(page, "end")) return seen;
        token = gr_arena_str(r->long_arena, gr_json_text(page, "end"));
    }
    fail_msg("the pages have no end");
    return seen;
}

/* Every event of the stream up to a position, and past another. */
static ids stream(rig *r, uint64_t after, uint64_t upto)
{
    ids all = {0};
    gr_ctx_begin(&r->ctx, r->address);
    for (uint64_t pos = after + 1; pos <= upto; pos++) {
        gr_pos_kind kind;
        uint64_t number, root;
        gr_room_record record;
        if (!gr_room_pos_at(&r->ctx, pos, &kind, &number, &root) || kind != GR_POS_EVENT) continue;
        assert_true(gr_room_record_at(&r->ctx, number, &record));
        all.at[all.count++] = gr_arena_str(r->long_arena, record.event_id);
    }
    return all;
}

static void assert_once(const ids *seen, const ids *all, uint64_t limit, const char *what)
{
    for (size_t i = 0; i < all->count; i++)
        if (times(seen, all->at[i]) != 1)
            fail_msg("%s, pages of %u: %.*s was seen %zu times", what, (unsigned)limit, GR_ARG(all->at[i]),
                     times(seen, all->at[i]));
    if (seen->count != all->count) fail_msg("%s: %zu events instead of %zu", what, seen->count, all->count);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

/* A room whose graph has forks, events of equal depth, and events that came late with a low depth. */
static void grow(rig *r, uint64_t *seed, ids *made, size_t events)
{
    gr_room_record record;
    for (size_t i = 0; i < events; i++) {
        if (made->count < 2 || next_random(seed) % 3) {
            made->at[made->count++] = say(r, "@a:here", "x");
            continue;
        }
        gr_str prev = made->at[next_random(seed) % made->count];
        uint64_t number;
        gr_ctx_begin(&r->ctx, r->address);
        assert_true(gr_room_number_of(&r->ctx, prev, &number) && gr_room_record_at(&r->ctx, number, &record));
        int64_t depth = (int64_t)record.depth + (int64_t)(next_random(seed) % 3);
        made->at[made->count++] = view_late(r, prev, depth, gr_arena_printf(r->long_arena, "%zu", i).ptr);
    }
}

static const uint64_t sizes[] = {1, 7, 10, 100};

static void every_event_comes_exactly_once_both_ways(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        uint64_t random = seed;
        ids made = {0};
        rig *r = room_new((room_options){seed % 2 ? "11" : "4", "{}"});
        grow(r, &random, &made, 60);
        ids all = stream(r, 0, room_of(r)->next_pos - 1);
        for (size_t i = 0; i < 4; i++) {
            ids back = walk(r, "@a:here", (gr_str){0}, (gr_str){0}, true, sizes[i]);
            assert_once(&back, &all, sizes[i], "backward");
            ids on = walk(r, "@a:here", (gr_str){0}, (gr_str){0}, false, sizes[i]);
            assert_once(&on, &all, sizes[i], "forward");
        }
        rig_free(&r);
    }
}

/* Adds the timeline and answers prev_batch. */
static gr_str sync_once(rig *r, ids *seen, uint64_t from, uint64_t to, uint64_t limit)
{
    gr_room_sync m = {.user = GR_STR("@a:here"), .from_pos = from, .to_pos = to, .full = from == 0, .limit = limit};
    const gr_room_part *part = view_sync(r, m);
    assert_non_null(part);
    gr_str token = gr_arena_str(r->long_arena, part->prev_batch);
    collect(r, seen, view_parse(r, part->timeline));
    return token;
}

static void sync_and_going_back_give_every_event_exactly_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        uint64_t random = seed * 77;
        ids made = {0};
        rig *r = room_new((room_options){"11", "{}"});
        grow(r, &random, &made, 40);
        uint64_t first = room_of(r)->next_pos - 1;
        grow(r, &random, &made, 40);
        uint64_t second = room_of(r)->next_pos - 1;
        for (size_t i = 0; i < 4; i++) {
            ids seen = {0}, all = stream(r, 0, first);
            gr_str back = sync_once(r, &seen, 0, first, 5);
            ids older = walk(r, "@a:here", back, (gr_str){0}, true, sizes[i]);
            for (size_t k = 0; k < older.count; k++) seen.at[seen.count++] = older.at[k];
            assert_once(&seen, &all, sizes[i], "first sync");
            /* The next sync is limited too: what lies between it and the first is reached from its prev_batch. */
            ids news = {0}, fresh = stream(r, first, second);
            back = sync_once(r, &news, first, second, 5);
            gr_str to = gr_arena_printf(r->long_arena, "t%llu", (unsigned long long)first);
            ids between = walk(r, "@a:here", back, to, true, sizes[i]);
            for (size_t k = 0; k < between.count; k++) news.at[news.count++] = between.at[k];
            assert_once(&news, &fresh, sizes[i], "second sync");
            /* And forward from the first, as a client that lost its place would go. */
            ids on = walk(r, "@a:here", to, (gr_str){0}, false, sizes[i]);
            assert_once(&on, &fresh, sizes[i], "forward from a sync");
        }
        rig_free(&r);
    }
}

/* From any token, what lies before it and what lies after it is everything. */
static void a_token_divides_history_into_two(void **state)
{
    (void)state;
    uint64_t random = 5;
    ids made = {0};
    rig *r = room_new((room_options){"11", "{}"});
    grow(r, &random, &made, 40);
    ids all = {0};
    gr_str token = {0};
    for (int steps = 0; steps < 100; steps++) {
        gr_room_messages m = {.user = GR_STR("@a:here"), .from = token, .backward = true, .limit = 3};
        const gr_json *page = view_ask(r, &gr_type_room_messages, &m);
        assert_non_null(page);
        if (!gr_json_get(page, "end")) break;
        token = gr_arena_str(r->long_arena, gr_json_text(page, "end"));
        if (steps == 4) grow(r, &random, &made, 10);       /* news arrive while the client goes back */
        ids before = walk(r, "@a:here", token, (gr_str){0}, true, 7);
        ids after = walk(r, "@a:here", token, (gr_str){0}, false, 7);
        for (size_t k = 0; k < after.count; k++) before.at[before.count++] = after.at[k];
        all = stream(r, 0, room_of(r)->next_pos - 1);
        assert_once(&before, &all, 7, "both sides of a token");
    }
    rig_free(&r);
}

static void an_end_token_stops_pages_on_both_ways(void **state)
{
    (void)state;
    uint64_t random = 9;
    ids made = {0};
    rig *r = room_new((room_options){"11", "{}"});
    grow(r, &random, &made, 50);
    gr_room_messages m = {.user = GR_STR("@a:here"), .backward = true, .limit = 20};
    gr_str middle = gr_arena_str(r->long_arena, gr_json_text(view_ask(r, &gr_type_room_messages, &m), "end"));
    ids newest = walk(r, "@a:here", (gr_str){0}, (gr_str){0}, true, 20), part = {0};
    for (size_t i = 0; i < 20; i++) part.at[part.count++] = newest.at[i];
    ids back = walk(r, "@a:here", (gr_str){0}, middle, true, 7);
    assert_once(&back, &part, 7, "backward to a token");
    ids on = walk(r, "@a:here", (gr_str){0}, middle, false, 7);
    for (size_t i = 0; i < on.count; i++) back.at[back.count++] = on.at[i];
    assert_once(&back, &newest, 7, "forward to a token");
    rig_free(&r);
}

static void filters_leave_events_out_and_pages_go_on(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{\"name\":\"N\"}"});
    for (int i = 0; i < 200; i++) say(r, "@a:here", "x");
    gr_room_messages m = {.user = GR_STR("@a:here"), .backward = true, .limit = 10,
                          .filter = GR_STR("{\"types\":[\"m.room.n*\"]}")};
    size_t found = 0;
    for (int pages = 0; pages < 50; pages++) {
        const gr_json *page = view_ask(r, &gr_type_room_messages, &m);
        assert_non_null(page);
        assert_true(r->gets < 400);
        found += gr_json_get(page, "chunk")->count;
        if (!gr_json_get(page, "end")) break;
        m.from = gr_arena_str(r->long_arena, gr_json_text(page, "end"));
    }
    assert_int_equal(found, 1);
    rig_free(&r);
}

static void who_was_never_in_a_room_reads_nothing(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{}"});
    gr_room_messages m = {.user = GR_STR("@b:here"), .backward = true, .limit = 10};
    assert_null(view_ask(r, &gr_type_room_messages, &m));
    assert_int_equal(r->err.code, GR_FORBIDDEN);
    assert_false(gr_failed(room_member(r, "@a:here", "invite", "@b:here")));
    assert_null(view_ask(r, &gr_type_room_messages, &m));
    rig_free(&r);
}

static void a_token_of_nobodys_making_is_refused(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{}"});
    static const char *const bad[] = {"x", "t", "t1_2", "t1_2_3_4", "t-1", "s1_0_0_0", "t99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        gr_room_messages m = {.user = GR_STR("@a:here"), .from = gr_str_c(bad[i]), .backward = true, .limit = 10};
        assert_null(view_ask(r, &gr_type_room_messages, &m));
        assert_int_equal(r->err.code, GR_INVALID_PARAM);
    }
    rig_free(&r);
}

static void context_has_neighbours_and_tokens_to_go_on(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{}"});
    ids made = {0};
    for (int i = 0; i < 9; i++) made.at[made.count++] = say(r, "@a:here", "x");
    gr_room_context m = {.user = GR_STR("@a:here"), .event_id = made.at[4], .limit = 4};
    const gr_json *page = view_ask(r, &gr_type_room_context, &m);
    assert_non_null(page);
    assert_true(gr_str_eq(view_text(page, "event/event_id"), made.at[4]));
    assert_true(gr_str_eq(view_text(&gr_json_get(page, "events_before")->items[0], "event_id"), made.at[3]));
    assert_true(gr_str_eq(view_text(&gr_json_get(page, "events_after")->items[1], "event_id"), made.at[6]));
    gr_str end = gr_arena_str(r->long_arena, gr_json_text(page, "end"));
    ids on = walk(r, "@a:here", end, (gr_str){0}, false, 10);
    assert_int_equal(on.count, 2);
    assert_true(gr_str_eq(on.at[0], made.at[7]));
    rig_free(&r);
}

static void the_event_closest_to_a_time_is_found(void **state)
{
    (void)state;
    rig *r = room_new((room_options){"11", "{}"});
    ids made = {0};
    for (int i = 0; i < 5; i++) {
        r->ctx.now_ms += 1000;
        made.at[made.count++] = say(r, "@a:here", "x");
    }
    gr_room_timestamp m = {.user = GR_STR("@a:here"), .ts = r->ctx.now_ms - 1500};
    assert_true(gr_str_eq(view_text(view_ask(r, &gr_type_room_timestamp, &m), "event_id"), made.at[3]));
    m.backward = true;
    assert_true(gr_str_eq(view_text(view_ask(r, &gr_type_room_timestamp, &m), "event_id"), made.at[2]));
    m = (gr_room_timestamp){.user = GR_STR("@a:here"), .ts = r->ctx.now_ms + 1};
    assert_null(view_ask(r, &gr_type_room_timestamp, &m));
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_comes_exactly_once_both_ways),
        cmocka_unit_test(sync_and_going_back_give_every_event_exactly_once),
        cmocka_unit_test(a_token_divides_history_into_two),
        cmocka_unit_test(an_end_token_stops_pages_on_both_ways),
        cmocka_unit_test(filters_leave_events_out_and_pages_go_on),
        cmocka_unit_test(who_was_never_in_a_room_reads_nothing),
        cmocka_unit_test(a_token_of_nobodys_making_is_refused),
        cmocka_unit_test(context_has_neighbours_and_tokens_to_go_on),
        cmocka_unit_test(the_event_closest_to_a_time_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
