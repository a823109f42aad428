/* relations.c - child events: bundled with their parents, and listed. See read.h; "Forming relationships between events".
 *
 * Row l of a parent and a child has what is needed to choose and to count; events are read only to be shown.  A child that
 * was redacted has no row.
 */
#include "actors/room/read.h"

enum { EDITS_MAX = 20, REFERENCES_MAX = 100, CHILDREN_MAX = 1024 };

typedef struct { uint64_t number; gr_str rel_type, type, sender; } child;
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
    if (key.size != 17) return true;
    gr_str rest = gr_arena_str(gr_ctx_arena(c->ctx), value);
    child *out = &c->at[c->count++];
    out->number = gr_u64be(key.ptr + 9);
    out->rel_type = cut_at_zero(&rest);
    out->type = cut_at_zero(&rest);
    out->sender = cut_at_zero(&rest);
    return c->count < c->limit;
}

/* Children of a parent with numbers in [low, high), newest first unless forward. */
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

/* --- bundles -------------------------------------------------------------------------------------------------------- */
/* The edit that counts: of the same sender and type, the latest by its time, then by its id. */
static bool find_edit(gr_view *v, const gr_room_record *parent, const children *c, gr_room_record *edit)
{
    bool found = false;
    size_t looked = 0;
    if (parent->is_state) return false;
    for (size_t i = 0; i < c->count && looked < EDITS_MAX; i++) {
        gr_room_record r;
        const child *k = &c->at[i];
        if (!gr_str_is(k->rel_type, "m.replace") || !gr_str_eq(k->sender, parent->sender)) continue;
        if (!gr_str_eq(k->type, parent->type)) continue;
        looked++;
        if (!gr_room_record_at(v->ctx, k->number, &r) || (r.flags & GR_ROOM_REDACTED) || !gr_view_sees(v, &r)) continue;
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
