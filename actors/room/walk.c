/* walk.c - states and their differences, some at a time. See read.h.
 *
 * A root never changes, so a walk that goes on later from the last key it told misses nothing and tells nothing twice.
 */
#include "actors/room/read.h"

typedef struct {
    gr_room_change_fn *fn;
    void *arg;
    const gr_trie *trie;
    uint64_t end, last;
    size_t looked;
    bool stopped;
} walk;

static bool tell(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    walk *w = arg;
    w->last = key;
    w->stopped = !w->fn(w->arg, key, before, after) || ++w->looked >= GR_READ_PAGE_KEYS;
    return !w->stopped;
}

static bool on_name(void *arg, gr_str key, gr_str value)
{
    walk *w = arg;
    (void)key;
    if (value.size != 8) return true;
    uint64_t number = gr_u64be(value.ptr), event = gr_trie_get(w->trie, w->end, number);
    if (event) return tell(w, number, 0, event);
    w->last = number;
    w->stopped = ++w->looked >= GR_READ_PAGE_KEYS;
    return !w->stopped;
}

/* Rows k, but for those of members, which lie between others. */
static void by_names(walk *w, gr_ctx *ctx, uint64_t after)
{
    gr_str type, state_key, members = GR_STR("km.room.member\0"), behind = GR_STR("km.room.member\1");
    gr_str from = GR_STR("k");
    if (after && gr_room_key_text(ctx, after, &type, &state_key))
        from = gr_room_key_parts(ctx, 'k', 3, (gr_str[]){type, state_key, {0}});
    if (gr_str_cmp(from, members) < 0) gr_ctx_scan(ctx, from, members, false, 0, on_name, w);
    if (gr_str_cmp(from, behind) < 0) from = behind;
    if (!w->stopped) gr_ctx_scan(ctx, from, GR_STR("l"), false, 0, on_name, w);
}

uint64_t gr_room_changes(gr_room *room, gr_ctx *ctx, uint64_t known, uint64_t end, uint64_t after, bool without_members,
                         gr_room_change_fn *fn, void *arg)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    walk w = {.fn = fn, .arg = arg, .trie = &trie, .end = end};
    gr_assert(!without_members || known == 0);
    if (without_members) by_names(&w, ctx, after);
    else gr_trie_diff_from(&trie, known, end, after, tell, &w);
    return w.stopped ? w.last : 0;
}

/* --- one state ------------------------------------------------------------------------------------------ */
typedef struct {
    gr_view *view;
    gr_buf *out;
    gr_state_choice choice;
    gr_state_wanted_fn *wanted;
    void *arg;
} writer;

static bool write_event(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    writer *w = arg;
    gr_room_record r;
    (void)key, (void)before;
    if (!gr_room_record_at(w->view->ctx, after, &r)) return true;
    if (w->choice == GR_STATE_MEMBERS && !gr_str_is(r.type, "m.room.member")) return true;
    if (!w->wanted || w->wanted(w->arg, &r)) gr_render_item(w->view, w->out, &r, GR_RENDER_STATE);
    return w->out->size < GR_READ_PAGE_BYTES;
}

uint64_t gr_room_state_part(gr_view *v, gr_buf *out, uint64_t root, uint64_t after, gr_state_choice choice,
                            gr_state_wanted_fn *wanted, void *arg)
{
    writer w = {v, out, choice, wanted, arg};
    return gr_room_changes(v->room, v->ctx, 0, root, after, choice == GR_STATE_OTHERS, write_event, &w);
}

gr_str gr_room_cursor(gr_arena *a, uint64_t root, uint64_t key)
{
    if (key == 0) return (gr_str){0};
    return gr_arena_printf(a, "%llu_%llu", (unsigned long long)root, (unsigned long long)key);
}

bool gr_room_cursor_read(gr_str text, uint64_t *root, uint64_t *key)
{
    ptrdiff_t bar = gr_str_find(text, '_');
    return bar > 0 && gr_str_u64(gr_str_head(text, (size_t)bar), root)
        && gr_str_u64(gr_str_from(text, (size_t)bar + 1), key);
}

void gr_room_answer_page(gr_ctx *ctx, gr_str head, gr_buf *items, gr_str tail, gr_str page, gr_str next)
{
    gr_str text = gr_buf_view(items);
    if (page.size == 0 && next.size == 0) {
        gr_ctx_json(ctx, gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){head, text, tail}));
    } else {
        gr_room_piece p = {.items = text, .next = next};
        if (page.size == 0) p.head = head;
        if (next.size == 0) p.tail = tail;
        gr_ctx_reply(ctx, &gr_type_room_piece, &p);
    }
    gr_buf_free(items);
}
