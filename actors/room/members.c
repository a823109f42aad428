/* members.c - state, members and single events for clients. See read.h; client-server API, "Getting events for a room".
 *
 * Who left sees the state as it was then; who never was in the room sees something only where history is world-readable.
 */
#include "actors/room/read.h"

static void answer_list(gr_ctx *ctx, gr_buf *out, const char *before, const char *after)
{
    gr_str text = gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){gr_str_c(before), gr_buf_view(out), gr_str_c(after)});
    gr_buf_free(out);
    gr_ctx_json(ctx, text);
}

/* A view for somebody who may read state; else the message is answered. */
static bool begin(gr_view *v, gr_room *room, gr_ctx *ctx, gr_str user, gr_str device)
{
    gr_view_begin(v, room, ctx, user, device);
    gr_err err = gr_view_check(v);
    if (gr_failed(err)) gr_ctx_fail(ctx, err);
    return !gr_failed(err);
}

/* --- one event ------------------------------------------------------------------------------------------ */
/* Where an event may not be seen, the answer is the same as where there is none. */
void gr_room_on_event(gr_room *room, gr_ctx *ctx, const gr_room_event *m)
{
    gr_view v;
    uint64_t number;
    gr_room_record r;
    gr_view_begin(&v, room, ctx, m->user, m->device);
    bool found = gr_room_number_of(ctx, m->event_id, &number) && gr_room_record_at(ctx, number, &r) && gr_view_sees(&v, &r);
    if (!found) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such event in this room, or you may not see it"));
        return;
    }
    gr_buf out = {0};
    gr_render_event(&v, &out, &r, GR_RENDER_BUNDLE);
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}

/* --- state ---------------------------------------------------------------------------------------------- */
void gr_room_on_state_get(gr_room *room, gr_ctx *ctx, const gr_room_state_get *m)
{
    gr_view v;
    gr_room_record r;
    gr_event e;
    if (!begin(&v, room, ctx, m->user, (gr_str){0})) return;
    uint64_t number = gr_room_state_number(room, ctx, gr_view_root(&v), m->type, m->state_key);
    if (!gr_room_record_at(ctx, number, &r) || !gr_room_event_of(room, gr_ctx_arena(ctx), &r, &e)) {
        gr_ctx_fail(ctx, gr_failf(gr_ctx_arena(ctx), GR_NOT_FOUND, "The room has no %.*s with this state key",
                                  GR_ARG(gr_str_head(m->type, GR_EVENT_FIELD_MAX))));
        return;
    }
    if (!m->whole) {
        gr_ctx_json(ctx, gr_json_printed(gr_ctx_arena(ctx), e.content));
        return;
    }
    gr_buf out = {0};
    gr_render_event(&v, &out, &r, GR_RENDER_STATE);
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}

typedef struct { gr_view *view; gr_buf *out; const gr_room_filter *filter; const gr_trie *trie; uint64_t root; } writer;

static bool write_state(void *arg, uint64_t key, uint64_t number)
{
    writer *w = arg;
    gr_room_record r;
    (void)key;
    if (gr_room_record_at(w->view->ctx, number, &r)
        && gr_room_filter_passes(w->filter, gr_ctx_arena(w->view->ctx), w->view->room->id, &r))
        gr_render_item(w->view, w->out, &r, GR_RENDER_STATE);
    return true;
}

static bool write_key(void *arg, gr_str key, gr_str value)
{
    writer *w = arg;
    (void)key;
    uint64_t number = value.size == 8 ? gr_trie_get(w->trie, w->root, gr_u64be(value.ptr)) : 0;
    return number ? write_state(w, 0, number) : true;
}

/* Without members: by the keys of other types, so that a room with many members costs no more than a small one. */
void gr_room_state_write(gr_view *v, gr_buf *out, const gr_room_filter *filter, uint64_t root, bool without_members)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, v->room, v->ctx);
    writer w = {v, out, filter, &trie, root};
    if (!without_members) {
        gr_trie_each(&trie, root, write_state, &w);
        return;
    }
    gr_ctx_scan(v->ctx, GR_STR("k"), GR_STR("km.room.member\0"), false, 0, write_key, &w);
    gr_ctx_scan(v->ctx, GR_STR("km.room.member\1"), GR_STR("l"), false, 0, write_key, &w);
}

void gr_room_on_state_all(gr_room *room, gr_ctx *ctx, const gr_room_state_all *m)
{
    gr_view v;
    gr_buf out = {0};
    if (!begin(&v, room, ctx, m->user, (gr_str){0})) return;
    gr_room_state_write(&v, &out, &(gr_room_filter){0}, gr_view_root(&v), false);
    answer_list(ctx, &out, "[", "]");
}

/* --- members -------------------------------------------------------------------------------------------- */
typedef struct { gr_ctx *ctx; gr_strs keys; } key_list;

static void keep_key(key_list *l, gr_str s)
{
    if ((l->keys.count & (l->keys.count - 1)) == 0) {
        gr_str *more = gr_arena_alloc(gr_ctx_arena(l->ctx), (l->keys.count ? l->keys.count * 2 : 1) * sizeof *more);
        if (l->keys.count) memcpy(more, l->keys.at, l->keys.count * sizeof *more);
        l->keys.at = more;
    }
    l->keys.at[l->keys.count++] = gr_arena_str(gr_ctx_arena(l->ctx), s);
}

static bool on_member_key(void *arg, gr_str key, gr_str value)
{
    (void)key;
    keep_key(arg, value);
    return true;
}

/* The root of the state at a place: a sync position, a cut, or what the user may know now. */
static gr_err root_of(gr_view *v, const gr_room_members *m, uint64_t *root)
{
    gr_room_cut cut = {0};
    uint64_t newest = v->now == GR_MEMBER_JOIN || v->room->visibility == GR_VISIBLE_WORLD ? UINT64_MAX : v->until;
    if (m->has_at_pos) cut.bound = m->at_pos;
    else if (m->at.size && !gr_room_cut_read(m->at, &cut))
        return gr_fail(GR_INVALID_PARAM, "'at' is no token that this server gave for this room's history");
    *root = gr_view_root(v);
    if (cut.bound && cut.bound < newest) *root = gr_room_root_at(v->room, v->ctx, cut.bound);
    return gr_ok();
}

static bool is_wanted(gr_view *v, const gr_room_members *m, uint64_t number)
{
    if (m->membership.size == 0 && m->not_membership.size == 0) return true;
    gr_str is = gr_str_c(gr_membership_text(gr_view_membership_by(v, number)));
    return (m->membership.size == 0 || gr_str_eq(is, m->membership)) && !gr_str_eq(is, m->not_membership);
}

void gr_room_on_members(gr_room *room, gr_ctx *ctx, const gr_room_members *m)
{
    gr_view v;
    uint64_t root;
    gr_room_nodes nodes;
    key_list l = {.ctx = ctx};
    gr_buf out = {0};
    if (!begin(&v, room, ctx, m->user, (gr_str){0})) return;
    gr_err err = root_of(&v, m, &root);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    gr_ctx_scan_prefix(ctx, GR_STR("km.room.member\0"), 0, on_member_key, &l);
    for (size_t i = 0; i < l.keys.count; i++) {
        gr_room_record r;
        uint64_t number = l.keys.at[i].size == 8 ? gr_trie_get(&trie, root, gr_u64be(l.keys.at[i].ptr)) : 0;
        if (number && is_wanted(&v, m, number) && gr_room_record_at(ctx, number, &r))
            gr_render_item(&v, &out, &r, GR_RENDER_STATE);
    }
    answer_list(ctx, &out, "{\"chunk\":[", "]}");
}

static bool on_joined(void *arg, gr_str key, gr_str value)
{
    if (value.size == 17 && value.ptr[0] == GR_MEMBER_JOIN) {
        char bytes[8 + GR_EVENT_FIELD_MAX + 1];
        gr_str user = gr_str_from(key, 1);
        if (user.size > GR_EVENT_FIELD_MAX) return true;
        memcpy(bytes, value.ptr + 1, 8);
        memcpy(bytes + 8, user.ptr, user.size);
        keep_key(arg, gr_str_of(bytes, 8 + user.size));
    }
    return true;
}

/* Only for who is in the room. */
void gr_room_on_joined_members(gr_room *room, gr_ctx *ctx, const gr_room_joined_members *m)
{
    key_list l = {.ctx = ctx};
    if (gr_room_membership(ctx, m->user) != GR_MEMBER_JOIN) {
        gr_ctx_fail(ctx, gr_fail(GR_FORBIDDEN, "You are not in this room"));
        return;
    }
    gr_ctx_scan_prefix(ctx, GR_STR("u"), 0, on_joined, &l);
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "joined");
    gr_jw_object(&w);
    for (size_t i = 0; i < l.keys.count; i++) {
        gr_room_record r;
        gr_event e = {0};
        if (gr_room_record_at(ctx, gr_u64be(l.keys.at[i].ptr), &r)) {
            bool read = gr_room_event_of(room, gr_ctx_arena(ctx), &r, &e);
            gr_str name = read ? gr_json_text(e.content, "displayname") : (gr_str){0};
            gr_str avatar = read ? gr_json_text(e.content, "avatar_url") : (gr_str){0};
            gr_jw_key_str(&w, gr_str_from(l.keys.at[i], 8));
            gr_jw_object(&w);
            if (name.size) gr_jw_kstr(&w, "display_name", name);
            if (avatar.size) gr_jw_kstr(&w, "avatar_url", avatar);
            gr_jw_end_object(&w);
        }
    }
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}
