/* members.c - state, members and single events for clients. See read.h; client-server API, "Getting events for a room".
 *
 * Who left sees the state as it was then; who never was in the room sees something only where history is world-readable.
 */
#include "actors/room/read.h"

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
    v.ignored = m->ignored;
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

void gr_room_on_state_all(gr_room *room, gr_ctx *ctx, const gr_room_state_all *m)
{
    gr_view v;
    gr_buf out = {0};
    uint64_t root, key = 0;
    if (!begin(&v, room, ctx, m->user, (gr_str){0})) return;
    if (!gr_room_cursor_read(m->page, &root, &key)) root = gr_view_root(&v);
    key = gr_room_state_part(&v, &out, root, key, GR_STATE_ALL, NULL, NULL);
    gr_room_answer_page(ctx, GR_STR("["), &out, GR_STR("]"), m->page, gr_room_cursor(gr_ctx_arena(ctx), root, key));
}

/* --- members -------------------------------------------------------------------------------------------- */
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

/* Redaction keeps a membership, so the stored text tells it; it stands there in quotes.  Of two wishes one has to come
 * true. */
static bool is_wanted(void *arg, const gr_room_record *r)
{
    const gr_room_members *m = arg;
    if (m->membership.size == 0 && m->not_membership.size == 0) return true;
    gr_str is = gr_render_member(gr_render_member(r->json, "content"), "membership");
    is = is.size > 2 ? gr_str_of(is.ptr + 1, is.size - 2) : (gr_str){0};
    return (m->membership.size && gr_str_eq(is, m->membership)) || (m->not_membership.size && !gr_str_eq(is, m->not_membership));
}

void gr_room_on_members(gr_room *room, gr_ctx *ctx, const gr_room_members *m)
{
    gr_view v;
    gr_buf out = {0};
    uint64_t root, key = 0;
    gr_room_members choice = *m;
    if (!begin(&v, room, ctx, m->user, (gr_str){0})) return;
    gr_err err = gr_room_cursor_read(m->page, &root, &key) ? gr_ok() : root_of(&v, m, &root);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    key = gr_room_state_part(&v, &out, root, key, GR_STATE_MEMBERS, is_wanted, &choice);
    gr_room_answer_page(ctx, GR_STR("{\"chunk\":["), &out, GR_STR("]}"), m->page,
                        gr_room_cursor(gr_ctx_arena(ctx), root, key));
}

/* --- who is joined, with profiles ----------------------------------------------------------------------- */
typedef struct {
    gr_room *room;
    gr_ctx *ctx;
    gr_buf *out;
    size_t looked;
    gr_str last;                           /* not empty: there are more after this user */
} profiles;

static void write_profile(profiles *p, gr_str user, uint64_t number)
{
    gr_room_record r;
    gr_event e = {0};
    gr_buf one = {0};
    if (!gr_room_record_at(p->ctx, number, &r)) return;
    bool read = gr_room_event_of(p->room, gr_ctx_arena(p->ctx), &r, &e);
    gr_str name = read ? gr_json_text(e.content, "displayname") : (gr_str){0};
    gr_str avatar = read ? gr_json_text(e.content, "avatar_url") : (gr_str){0};
    gr_jw w = gr_jw_begin(&one);
    gr_jw_object(&w);
    gr_jw_key_str(&w, user);
    gr_jw_object(&w);
    if (name.size) gr_jw_kstr(&w, "display_name", name);
    if (avatar.size) gr_jw_kstr(&w, "avatar_url", avatar);
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    if (p->out->size) gr_buf_char(p->out, ',');
    gr_buf_str(p->out, gr_str_of(one.ptr + 1, one.size - 2));
    gr_buf_free(&one);
}

static bool on_joined(void *arg, gr_str key, gr_str value)
{
    profiles *p = arg;
    gr_str user = gr_str_from(key, 1);
    if (value.size == 17 && value.ptr[0] == GR_MEMBER_JOIN) write_profile(p, user, gr_u64be(value.ptr + 1));
    if (p->out->size < GR_READ_PAGE_BYTES && ++p->looked < GR_READ_PAGE_KEYS) return true;
    p->last = gr_arena_str(gr_ctx_arena(p->ctx), user);
    return false;
}

/* Only for who is in the room.  A page begins after a user, so that each is told once whoever comes and goes meanwhile. */
void gr_room_on_joined_members(gr_room *room, gr_ctx *ctx, const gr_room_joined_members *m)
{
    gr_buf out = {0};
    profiles p = {.room = room, .ctx = ctx, .out = &out};
    if (gr_room_membership(ctx, m->user) != GR_MEMBER_JOIN) {
        gr_ctx_fail(ctx, gr_fail(GR_FORBIDDEN, "You are not in this room"));
        return;
    }
    gr_str from = m->page.size ? gr_room_key_parts(ctx, 'u', 2, (gr_str[]){m->page, {0}}) : GR_STR("u");
    gr_ctx_scan(ctx, from, GR_STR("v"), false, 0, on_joined, &p);
    gr_room_answer_page(ctx, GR_STR("{\"joined\":{"), &out, GR_STR("}}"), m->page, p.last);
}
