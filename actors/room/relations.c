/* relations.c - child events: bundled with their parents, and listed. See read.h; "Forming relationships between events".
 *
 * Row l of a parent and a child has what is needed to choose and to count; events are read only to be shown.  Rows are in
 * the order of room positions, in which readers see events.  A child that was redacted has no row.
 */
#include "actors/room/read.h"

#include <stdlib.h>

enum { EDITS_MAX = 20, REFERENCES_MAX = 100, CHILDREN_MAX = 1024, RECURSION_DEPTH = 3 };

typedef struct { uint64_t number, pos; gr_str rel_type, type, sender; } child;
typedef struct { gr_ctx *ctx; child *at; size_t count, limit; } children;

static gr_str cut_at_zero(gr_str *rest)
{
    ptrdiff_t zero = gr_str_find(*rest, 0);
    gr_str head = zero < 0 ? *rest : gr_str_head(*rest, (size_t)zero);
    *rest = gr_str_from(*rest, head.size + 1);
    return head;
}

static bool on_child(void *arg, gr_str key, gr_str value)
{
    children *c = arg;
    if (key.size != 17 || value.size < 8) return true;
    gr_str rest = gr_arena_str(gr_ctx_arena(c->ctx), gr_str_from(value, 8));
    child *out = &c->at[c->count++];
    out->number = gr_u64be(value.ptr);
    out->pos = gr_u64be(key.ptr + 9);
    out->rel_type = cut_at_zero(&rest);
    out->type = cut_at_zero(&rest);
    out->sender = cut_at_zero(&rest);
    return c->count < c->limit;
}

/* Children of a parent at positions in [low, high), newest first unless forward. */
static children children_of(gr_ctx *ctx, uint64_t parent, uint64_t low, uint64_t high, bool forward, size_t limit)
{
    children c = {.ctx = ctx, .limit = limit};
    if (limit == 0) return c;
    c.at = gr_arena_alloc(gr_ctx_arena(ctx), limit * sizeof *c.at);
    gr_ctx_scan(ctx, gr_room_key_numbers(ctx, 'l', parent, low), gr_room_key_numbers(ctx, 'l', parent, high), !forward,
                limit, on_child, &c);
    return c;
}

static bool is_ignored(const gr_view *v, gr_str user)
{
    for (size_t i = 0; i < v->ignored.count; i++)
        if (gr_str_eq(v->ignored.at[i], user)) return true;
    return false;
}

/* --- bundles -------------------------------------------------------------------------------------------- */
static gr_str content_of(const gr_room_record *r) { return gr_render_member(r->json, "content"); }

/* What is edited is no edit itself, and was not redacted. */
static bool can_be_edited(const gr_room_record *r)
{
    gr_str rel_type = gr_render_member(gr_render_member(content_of(r), "m.relates_to"), "rel_type");
    return !r->is_state && !(r->flags & GR_ROOM_REDACTED) && !gr_str_is(rel_type, "\"m.replace\"");
}

/* The new content of an encrypted event can't be seen from here. */
static bool is_edit(const gr_room_record *r)
{
    if (r->is_state || (r->flags & GR_ROOM_REDACTED)) return false;
    return gr_str_is(r->type, "m.room.encrypted") || gr_render_member(content_of(r), "m.new_content").size;
}

/* The edit that counts ("Validity of replacement events"): of the same sender and type, the latest by its time, then by
 * its id. */
static bool find_edit(gr_view *v, const gr_room_record *parent, const children *c, gr_room_record *edit)
{
    bool found = false;
    size_t looked = 0;
    if (!can_be_edited(parent)) return false;
    for (size_t i = 0; i < c->count && looked < EDITS_MAX; i++) {
        gr_room_record r;
        const child *k = &c->at[i];
        if (!gr_str_is(k->rel_type, "m.replace") || !gr_str_eq(k->sender, parent->sender)) continue;
        if (!gr_str_eq(k->type, parent->type)) continue;
        looked++;
        if (!gr_room_record_at(v->ctx, k->number, &r) || !is_edit(&r) || !gr_view_sees(v, &r)) continue;
        bool later = !found || r.ts > edit->ts || (r.ts == edit->ts && gr_str_cmp(r.event_id, edit->event_id) > 0);
        if (later) *edit = r;
        found = true;
    }
    return found;
}

static void write_name(gr_buf *out, bool *any, const char *name)
{
    gr_buf_c(out, *any ? ",\"" : ",\"m.relations\":{\"");
    gr_buf_c(out, name);
    gr_buf_c(out, "\":");
    *any = true;
}

static void write_thread(gr_view *v, gr_buf *out, bool *any, const gr_room_record *parent, const children *c)
{
    size_t count = 0;
    gr_room_record r, latest = {0};
    bool took_part = gr_str_eq(parent->sender, v->user);
    for (size_t i = 0; i < c->count; i++) {
        if (!gr_str_is(c->at[i].rel_type, "m.thread") || is_ignored(v, c->at[i].sender)) continue;
        count++;
        took_part = took_part || gr_str_eq(c->at[i].sender, v->user);
        if (!latest.number && gr_room_record_at(v->ctx, c->at[i].number, &r) && gr_view_sees(v, &r)) latest = r;
    }
    if (!latest.number) return;
    write_name(out, any, "m.thread");
    gr_buf_c(out, "{\"latest_event\":");
    gr_render_event(v, out, &latest, GR_RENDER_BUNDLE);
    gr_buf_printf(out, ",\"count\":%zu,\"current_user_participated\":%s}", count, took_part ? "true" : "false");
}

static void write_references(gr_view *v, gr_buf *out, bool *any, const children *c)
{
    size_t written = 0;
    for (size_t i = c->count; i-- > 0 && written < REFERENCES_MAX;) {
        gr_room_record r;
        if (!gr_str_is(c->at[i].rel_type, "m.reference") || is_ignored(v, c->at[i].sender)) continue;
        if (!gr_room_record_at(v->ctx, c->at[i].number, &r) || !gr_view_sees(v, &r)) continue;
        if (written++ == 0) {
            write_name(out, any, "m.reference");
            gr_buf_c(out, "{\"chunk\":[");
        } else {
            gr_buf_char(out, ',');
        }
        gr_buf_c(out, "{\"event_id\":");
        gr_jw w = gr_jw_begin(out);
        gr_jw_str(&w, r.event_id);
        gr_buf_char(out, '}');
    }
    if (written) gr_buf_c(out, "]}");
}

void gr_relations_bundle(gr_view *v, gr_buf *out, const gr_room_record *parent)
{
    gr_room_record edit;
    bool any = false;
    size_t limit = v->rows_left < CHILDREN_MAX ? v->rows_left : CHILDREN_MAX;
    children c = children_of(v->ctx, parent->number, 0, UINT64_MAX, false, limit);
    if (c.count == 0) return;
    v->rows_left -= c.count;
    const gr_json *fields = v->fields;
    v->fields = NULL;                                      /* what is chosen of the parent is chosen when it is whole */
    if (find_edit(v, parent, &c, &edit)) {
        write_name(out, &any, "m.replace");
        gr_render_event(v, out, &edit, GR_RENDER_PLAIN);
    }
    if (v->depth == 0) {
        v->depth++;
        write_thread(v, out, &any, parent, &c);
        v->depth--;
    }
    write_references(v, out, &any, &c);
    v->fields = fields;
    if (any) gr_buf_char(out, '}');
}

/* --- GET /relations ------------------------------------------------------------------------------------- */
static bool has_child(const children *c, uint64_t number)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->at[i].number == number) return true;
    return false;
}

static int newest_first(const void *a, const void *b)
{
    const child *x = a, *y = b;
    return x->pos > y->pos ? -1 : x->pos < y->pos;
}

/* Children of children too, some levels deep. */
static children descendants(gr_ctx *ctx, uint64_t parent)
{
    children all = {.ctx = ctx, .limit = CHILDREN_MAX};
    all.at = gr_arena_alloc(gr_ctx_arena(ctx), all.limit * sizeof *all.at);
    children first = children_of(ctx, parent, 0, UINT64_MAX, false, all.limit);
    for (size_t i = 0; i < first.count; i++) all.at[all.count++] = first.at[i];
    size_t begin = 0;
    for (unsigned level = 1; level < RECURSION_DEPTH; level++) {
        size_t end = all.count;
        for (size_t i = begin; i < end && i < GR_READ_RECORDS_MAX; i++) {
            children more = children_of(ctx, all.at[i].number, 0, UINT64_MAX, false, all.limit - all.count);
            for (size_t k = 0; k < more.count; k++)
                if (!has_child(&all, more.at[k].number)) all.at[all.count++] = more.at[k];
        }
        begin = end;
    }
    qsort(all.at, all.count, sizeof *all.at, newest_first);
    return all;
}

/* "r<position>" of this listing, or a place in history. */
typedef struct { bool given, by_cut; uint64_t pos; gr_room_cut cut; } place;

static gr_err read_place(gr_str token, place *out)
{
    *out = (place){.given = token.size > 0};
    if (!out->given) return gr_ok();
    if (token.ptr[0] == 'r' && gr_str_u64(gr_str_from(token, 1), &out->pos)) return gr_ok();
    out->by_cut = gr_room_cut_read(token, &out->cut);
    return out->by_cut ? gr_ok() : gr_fail(GR_INVALID_PARAM, "This is no token that this server gave");
}

static bool comes_before(const place *p, const gr_room_record *r)
{
    if (!p->by_cut) return r->pos < p->pos;
    if (r->pos > p->cut.bound) return false;
    return !p->cut.place || r->depth < p->cut.depth || (r->depth == p->cut.depth && r->pos < p->cut.pos);
}

static bool is_between(const gr_room_relations *m, const place *from, const place *to, const gr_room_record *r)
{
    bool own = !from->by_cut && from->given && r->pos == from->pos;
    if (from->given && (own || comes_before(from, r) == m->forward)) return false;
    return !to->given || comes_before(to, r) == m->forward;
}

static bool is_asked_for(const gr_room_relations *m, const child *c)
{
    return (m->rel_type.size == 0 || gr_str_eq(m->rel_type, c->rel_type))
           && (m->type.size == 0 || gr_str_eq(m->type, c->type));
}

static children list_children(gr_ctx *ctx, const gr_room_relations *m, uint64_t parent, const place *from)
{
    uint64_t low = 0, high = UINT64_MAX;
    if (m->recurse) {
        children all = descendants(ctx, parent);
        for (size_t i = 0; m->forward && i < all.count / 2; i++) {
            child c = all.at[i];
            all.at[i] = all.at[all.count - 1 - i];
            all.at[all.count - 1 - i] = c;
        }
        return all;
    }
    if (from->given && !from->by_cut && m->forward) low = from->pos + 1;
    if (from->given && !from->by_cut && !m->forward) high = from->pos;
    return children_of(ctx, parent, low, high, m->forward, CHILDREN_MAX);
}

static void answer_list(gr_view *v, gr_buf *list, const gr_room_relations *m, uint64_t next)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_buf_char(list, ']');
    gr_jw_object(&w);
    gr_jw_kraw(&w, "chunk", gr_buf_view(list));
    gr_arena *a = gr_ctx_arena(v->ctx);
    if (next) gr_jw_kstr(&w, "next_batch", gr_arena_printf(a, "r%llu", (unsigned long long)next));
    if (m && m->from.size) gr_jw_kstr(&w, "prev_batch", m->from);
    if (m && m->recurse) gr_jw_kint(&w, "recursion_depth", RECURSION_DEPTH);
    gr_jw_end_object(&w);
    gr_ctx_json(v->ctx, gr_buf_view(&out));
    gr_buf_free(&out);
    gr_buf_free(list);
}

static void list_relations(gr_view *v, const gr_room_relations *m, uint64_t parent, const place *from, const place *to)
{
    children c = list_children(v->ctx, m, parent, from);
    size_t limit = m->limit && m->limit < GR_READ_PAGE_MAX ? (size_t)m->limit : GR_READ_PAGE_MAX;
    size_t looked = 0, told = 0, i = 0;
    gr_buf list = {0};
    gr_buf_char(&list, '[');
    for (; i < c.count && told < limit && looked < GR_READ_RECORDS_MAX; i++) {
        gr_room_record r;
        if (!is_asked_for(m, &c.at[i]) || is_ignored(v, c.at[i].sender)) continue;
        looked++;
        if (!gr_room_record_at(v->ctx, c.at[i].number, &r) || !is_between(m, from, to, &r)) continue;
        if (!gr_view_sees(v, &r)) continue;
        gr_render_item(v, &list, &r, GR_RENDER_BUNDLE);
        told++;
    }
    bool more = i < c.count || c.count == CHILDREN_MAX;
    answer_list(v, &list, m, more && i ? c.at[i - 1].pos : 0);
}

void gr_room_on_relations(gr_room *room, gr_ctx *ctx, const gr_room_relations *m)
{
    gr_view v;
    uint64_t number;
    gr_room_record parent;
    place from, to;
    gr_view_begin(&v, room, ctx, m->user, m->device);
    v.ignored = m->ignored;
    gr_err err = read_place(m->from, &from);
    if (!gr_failed(err)) err = read_place(m->to, &to);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    if (!gr_room_number_of(ctx, m->event_id, &number) || !gr_room_record_at(ctx, number, &parent)
        || !gr_view_sees(&v, &parent)) {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such event in this room, or you may not see it"));
        return;
    }
    list_relations(&v, m, number, &from, &to);
}

/* --- GET /threads: rows T, by the newest event of each thread ------------------------------------------- */
typedef struct { uint64_t newest, root; } thread;
typedef struct { thread at[GR_READ_ROWS_MAX]; size_t count; } threads;

static bool on_thread(void *arg, gr_str key, gr_str value)
{
    threads *t = arg;
    if (key.size == 9 && value.size == 8)
        t->at[t->count++] = (thread){gr_u64be(key.ptr + 1), gr_u64be(value.ptr)};
    return t->count < GR_READ_ROWS_MAX;
}

static bool is_thread(gr_view *v, const gr_room_record *root, bool participated)
{
    bool any = false, took_part = gr_str_eq(root->sender, v->user);
    size_t limit = v->rows_left < CHILDREN_MAX ? v->rows_left : CHILDREN_MAX;
    children c = children_of(v->ctx, root->number, 0, UINT64_MAX, false, limit);
    v->rows_left -= c.count;
    for (size_t i = 0; i < c.count; i++) {
        if (!gr_str_is(c.at[i].rel_type, "m.thread") || is_ignored(v, c.at[i].sender)) continue;
        any = true;
        took_part = took_part || gr_str_eq(c.at[i].sender, v->user);
    }
    return any && (!participated || took_part);
}

void gr_room_on_threads(gr_room *room, gr_ctx *ctx, const gr_room_threads *m)
{
    gr_view v;
    place from;
    gr_view_begin(&v, room, ctx, m->user, m->device);
    v.ignored = m->ignored;
    v.rows_left *= 4;
    gr_err err = gr_view_check(&v);
    if (!gr_failed(err)) err = read_place(m->from, &from);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    threads *t = gr_arena_alloc(gr_ctx_arena(ctx), sizeof *t);
    gr_str high = from.pos ? gr_room_key_number(ctx, 'T', from.pos) : GR_STR("U");
    gr_ctx_scan(ctx, GR_STR("T"), high, true, GR_READ_ROWS_MAX, on_thread, t);
    size_t limit = m->limit && m->limit < GR_READ_PAGE_MAX ? (size_t)m->limit : GR_READ_PAGE_MAX;
    size_t told = 0, i = 0;
    gr_buf list = {0};
    gr_buf_char(&list, '[');
    for (; i < t->count && told < limit && i < GR_READ_RECORDS_MAX; i++) {
        gr_room_record r;
        if (!gr_room_record_at(ctx, t->at[i].root, &r) || !gr_view_sees(&v, &r)) continue;
        if (!is_thread(&v, &r, m->participated)) continue;
        gr_render_item(&v, &list, &r, GR_RENDER_BUNDLE);
        told++;
    }
    bool more = i < t->count || t->count == GR_READ_ROWS_MAX;
    answer_list(&v, &list, NULL, more && i ? t->at[i - 1].newest : 0);
}
