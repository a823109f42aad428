/* room_sweep_test.c - unused trie nodes of rooms with branches go, and all states stay as they are. */
#include "tests/unit/actors/room_fork_rig.h"

#include "actors/room/given.h"

enum { KEYS_MAX = 64, EVENTS_MAX = 400, NODES_MAX = 20000, SEEDS = 12, TIPS = 6 };

/* Every state that a row names, as it is read: what a sweep must not change. */
typedef struct { uint64_t at[EVENTS_MAX][2][KEYS_MAX]; } all_states;

typedef struct {
    fork_room f;
    uint64_t r;
    gr_str tips[TIPS];
    unsigned steps;
} history;

static uint64_t draw(history *h, uint64_t below)
{
    h->r = h->r * 6364136223846793005u + 1442695040888963407u;
    return (h->r >> 33) % below;
}

static gr_str keep(history *h, gr_str id) { return gr_arena_str(h->f.r->long_arena, id); }

/* An event behind one or two of the branches; it becomes the end of one. */
static void grow(history *h)
{
    static const char *const types[] = {"m.room.topic", "m.room.name", "m.room.avatar", "x.a", "x.b", "x.c"};
    char content[40], key[8] = "";
    size_t a = draw(h, TIPS), b = draw(h, TIPS), type = draw(h, 6);
    gr_str prevs[2] = {h->tips[a], h->tips[b]};
    size_t count = draw(h, 3) && !gr_str_eq(prevs[0], prevs[1]) ? 2 : 1;
    snprintf(content, sizeof content, "{\"n\":%d}", (int)draw(h, 1000));
    if (type > 2) snprintf(key, sizeof key, "%d", (int)draw(h, 9));
    h->tips[a] = keep(h, put(&h->f, (gr_strs){prevs, count}, "@a:here", types[type], key, content));
}

static history begin(uint64_t seed, size_t events)
{
    history h = {.f = open_room("11"), .r = seed};
    for (size_t i = 0; i < TIPS; i++) h.tips[i] = newest(&h.f);
    for (size_t i = 0; i < events; i++) grow(&h);
    return h;
}

static bool note(void *arg, uint64_t key, uint64_t event)
{
    assert_true(key < KEYS_MAX);
    ((uint64_t *)arg)[key] = event;
    return true;
}

static all_states *read_states(rig *r, uint64_t below)
{
    all_states *all = gr_alloc(sizeof *all);
    gr_room_nodes nodes;
    gr_ctx_begin(&r->ctx, r->address);
    gr_trie trie = gr_room_trie(&nodes, room_of(r), &r->ctx);
    assert_true(below <= EVENTS_MAX);
    for (uint64_t n = 1; n < below; n++) {
        gr_room_record record;
        assert_true(gr_room_record_at(&r->ctx, n, &record));
        gr_trie_each(&trie, record.state_before, note, all->at[n][0]);
        gr_trie_each(&trie, record.state_after, note, all->at[n][1]);
    }
    return all;
}

/* --- which nodes there are, and which are in use ----------------------------------------------------------- */
typedef struct { rig *r; bool here[NODES_MAX], used[NODES_MAX]; } node_list;

static bool note_node(void *arg, gr_str key, gr_str value)
{
    (void)value;
    ((node_list *)arg)->here[gr_u64be(key.ptr + 1)] = true;
    return true;
}

static void use(node_list *l, uint64_t node)
{
    uint64_t branches[GR_TRIE_BRANCHES];
    gr_str bytes;
    if (node == 0 || l->used[node]) return;
    l->used[node] = true;
    assert_true(gr_ctx_get(&l->r->ctx, gr_room_key_number(&l->r->ctx, 't', node), &bytes));
    size_t count = gr_trie_branches(bytes, branches);
    for (size_t i = 0; i < count; i++) use(l, branches[i]);
}

/* Nodes below this one that are there and belong to no state.  Fails when one of a state is missing. */
static size_t unused(rig *r, uint64_t below)
{
    node_list *l = gr_alloc(sizeof *l);
    gr_pos_kind kind;
    uint64_t number, root;
    size_t count = 0;
    l->r = r;
    gr_ctx_begin(&r->ctx, r->address);
    gr_ctx_scan_prefix(&r->ctx, GR_STR("t"), 0, note_node, l);
    for (uint64_t n = 1; n < room_of(r)->next_number; n++) {
        gr_room_record record;
        assert_true(gr_room_record_at(&r->ctx, n, &record));
        use(l, record.state_before);
        use(l, record.state_after);
    }
    for (uint64_t pos = 1; pos < room_of(r)->next_pos; pos++)
        if (gr_room_pos_at(&r->ctx, pos, &kind, &number, &root)) use(l, root);
    use(l, room_of(r)->root);
    for (uint64_t n = 1; n < below; n++) count += l->here[n] && !l->used[n];
    free(l);
    return count;
}

/* --- sweeping ----------------------------------------------------------------------------------------------- */
static bool is_due(rig *r)
{
    for (const gr_effect *e = r->ctx.first; e; e = e->next)
        if (e->kind == GR_FX_TIMER && gr_str_is(e->name, "nodes")) return e->durable;
    return false;
}

static bool fire(history *h)
{
    rig *r = h->f.r;
    gr_timer timer = {.name = GR_STR("nodes")};
    rig_handle(r, &(gr_msg){.verb = GR_TELL, .type = &gr_type_timer, .body = &timer, .from = r->address});
    assert_true(r->write_count <= 70);
    h->steps++;
    return is_due(r);
}

/* What the room had begun by itself ends first. */
static void start(history *h)
{
    rig *r = h->f.r;
    while (fire(h)) continue;
    h->steps = 0;
    gr_ctx_begin(&r->ctx, r->address);
    gr_room_loosen(room_of(r), &r->ctx, 1 << 20);
    assert_true(is_due(r));
    rig_finish(r);
}

static size_t rows(rig *r, char letter)
{
    node_list *l = gr_alloc(sizeof *l);
    size_t count = 0;
    gr_ctx_begin(&r->ctx, r->address);
    gr_ctx_scan_prefix(&r->ctx, (gr_str){&letter, 1}, 0, note_node, l);
    for (size_t i = 0; i < NODES_MAX; i++) count += l->here[i];
    free(l);
    return count;
}

static void unused_nodes_go_and_every_state_stays(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        history h = begin(seed, 150);
        rig *r = h.f.r;
        start(&h);
        uint64_t below = room_of(r)->next_number, horizon = room_of(r)->next_node;
        all_states *before = read_states(r, below);
        assert_true(unused(r, horizon) > 0);
        while (fire(&h)) continue;
        assert_true(h.steps > 10);
        assert_int_equal(unused(r, horizon), 0);
        assert_int_equal(rows(r, 'g'), 0);
        rig_reload(r);
        all_states *after = read_states(r, below);
        assert_memory_equal(before, after, sizeof *before);
        free(before);
        free(after);
        rig_free(&h.f.r);
    }
}

/* The room goes on, and is dropped and loaded again, while nodes are swept. */
static void events_that_come_while_nodes_are_swept_keep_theirs(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        history h = begin(seed, 80);
        rig *r = h.f.r;
        uint64_t horizon = room_of(r)->next_node;
        start(&h);
        for (bool more = true; more;) {
            for (uint64_t i = draw(&h, 3); i-- > 0 && room_of(r)->next_number < EVENTS_MAX - 1;) grow(&h);
            if (draw(&h, 3) == 0) rig_reload(r);
            more = fire(&h);
        }
        uint64_t below = room_of(r)->next_number;
        assert_true(below > 100);
        assert_int_equal(unused(r, horizon), 0);
        all_states *before = read_states(r, below);
        start(&h);
        while (fire(&h)) continue;
        all_states *after = read_states(r, below);
        assert_memory_equal(before, after, sizeof *before);
        assert_int_equal(unused(r, room_of(r)->next_node), 0);
        free(before);
        free(after);
        rig_free(&h.f.r);
    }
}

static void a_room_sweeps_by_itself_when_enough_was_made_in_vain(void **state)
{
    (void)state;
    history h = begin(3, 1);
    rig *r = h.f.r;
    gr_ctx_begin(&r->ctx, r->address);
    gr_room_loosen(room_of(r), &r->ctx, 1000);
    assert_false(is_due(r));
    rig_finish(r);
    bool due = false;
    for (size_t i = 0; i < 100 && !due; i++) {
        grow(&h);
        due = is_due(r);
    }
    assert_true(due);
    while (fire(&h)) continue;
    assert_false(fire(&h)); /* a timer that fires once more */
    rig_free(&h.f.r);
}

/* A state that another server told is kept under a name while no event has it. */
static void a_root_that_is_kept_under_a_name_stays_until_it_is_forgotten(void **state)
{
    (void)state;
    history h = begin(5, 30);
    rig *r = h.f.r;
    uint64_t keys[] = {1, 3, 5}, events[] = {7, 0, 9}, got[KEYS_MAX] = {0}, again[KEYS_MAX] = {0};
    gr_room_given given = {.keys = keys, .events = events, .count = 3};
    gr_str bytes, name = GR_STR("join");
    gr_ctx_begin(&r->ctx, r->address);
    uint64_t root = gr_room_given_root(room_of(r), &r->ctx, room_of(r)->root, &given, 0, 3);
    gr_room_root_keep(&r->ctx, name, root);
    gr_room_save(room_of(r), &r->ctx);
    rig_finish(r);
    for (int round = 0; round < 2; round++) {
        start(&h);
        while (fire(&h)) continue;
        gr_room_nodes nodes;
        gr_ctx_begin(&r->ctx, r->address);
        gr_trie trie = gr_room_trie(&nodes, room_of(r), &r->ctx);
        gr_trie_each(&trie, root, note, round ? again : got);
        rig_reload(r);
    }
    assert_memory_equal(got, again, sizeof got);
    assert_true(got[1] == 7 && got[3] == 0 && got[5] == 9);
    gr_ctx_begin(&r->ctx, r->address);
    gr_room_root_keep(&r->ctx, name, 0);
    rig_finish(r);
    start(&h);
    while (fire(&h)) continue;
    gr_ctx_begin(&r->ctx, r->address);
    assert_int_equal(gr_room_root_kept(&r->ctx, name), 0);
    assert_false(gr_ctx_get(&r->ctx, gr_room_key_number(&r->ctx, 't', root), &bytes));
    rig_free(&h.f.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unused_nodes_go_and_every_state_stays),
        cmocka_unit_test(events_that_come_while_nodes_are_swept_keep_theirs),
        cmocka_unit_test(a_room_sweeps_by_itself_when_enough_was_made_in_vain),
        cmocka_unit_test(a_root_that_is_kept_under_a_name_stays_until_it_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
