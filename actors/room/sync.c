/* sync.c - one room's part of a user's /sync. See read.h; client-server API, "Syncing".
 *
 * The timeline is the newest visible events in the order of room positions; prev_batch is the cut before the oldest of
 * them, so that going back from it gives just what is missing.  State is the difference between what the client knows (the
 * root at from_pos) and the state at the start of the timeline.  A key that moved without an event of the timeline
 * telling so (state resolution, an event that the filter left out) is given as it is at the end.
 *
 * State and device lists come in pages.  The roots are found again for each page from the positions asked for, so a page
 * needs to know only where it begins: after a key of the state ("s<key>"), or after a user ("u<user>").
 */
#include "actors/room/read.h"

enum { POINTS_MAX = 8 };

typedef struct {
    gr_view view;
    const gr_room_sync *ask;
    gr_room_filter timeline_filter, state_filter;
    gr_room_record *events;                /* of the timeline, oldest first */
    size_t event_count;
    bool limited;
    uint64_t first_pos;                    /* everything before this position is not in the timeline */
    uint64_t known, start, end;            /* roots */
    bool members_moved, all_members;       /* all: device lists tell everybody */
    gr_strs heroes, joined, left;
    gr_buf state;
    uint64_t more;                         /* the key after which state goes on; 0: it is complete */
    gr_str more_users;
} part;

/* --- timeline ------------------------------------------------------------------------------------------- */
typedef struct { uint64_t number, pos; } entry;
typedef struct { entry at[GR_READ_ROWS_MAX]; size_t count; } entries;

static void add_entry(entries *e, uint64_t pos, gr_pos_kind kind, uint64_t number)
{
    e->at[e->count++] = (entry){kind == GR_POS_GAP ? UINT64_MAX : kind == GR_POS_EVENT ? number : 0, pos};
}

static bool on_pos(void *arg, gr_str key, gr_str value)
{
    entries *e = arg;
    if (key.size != 9 || value.size != 17) return true;
    add_entry(e, gr_u64be(key.ptr + 1), (gr_pos_kind)value.ptr[0], gr_u64be(value.ptr + 1));
    return e->count < GR_READ_ROWS_MAX;
}

/* The positions in (from, to], newest first.  A few are looked up one by one, which costs less than a range. */
static void read_positions(gr_ctx *ctx, uint64_t from, uint64_t to, entries *out)
{
    gr_pos_kind kind;
    uint64_t number, root;
    if (to - from > POINTS_MAX) {
        gr_ctx_scan(ctx, gr_room_key_number(ctx, 'p', from + 1), gr_room_key_number(ctx, 'p', to + 1), true, GR_READ_ROWS_MAX,
                    on_pos, out);
        return;
    }
    for (uint64_t pos = to; pos > from; pos--)
        if (gr_room_pos_at(ctx, pos, &kind, &number, &root)) add_entry(out, pos, kind, number);
}

static bool wanted(part *p, uint64_t number, gr_room_record *r)
{
    gr_view *v = &p->view;
    if (!gr_room_record_at(v->ctx, number, r)) return false;
    bool own_leave = gr_str_is(p->ask->section, "leave") && r->pos == p->ask->to_pos;
    return gr_room_filter_passes(&p->timeline_filter, gr_ctx_arena(v->ctx), v->room->id, r)
        && (own_leave || gr_view_sees(v, r));
}

static void choose_timeline(part *p)
{
    gr_ctx *ctx = p->view.ctx;
    uint64_t limit = p->ask->limit > GR_READ_PAGE_MAX ? GR_READ_PAGE_MAX : p->ask->limit;
    entries *rows = gr_arena_alloc(gr_ctx_arena(ctx), sizeof *rows);
    p->events = gr_arena_alloc(gr_ctx_arena(ctx), (limit + 1) * sizeof *p->events);
    p->first_pos = p->ask->to_pos + 1;
    p->limited = p->ask->gap;
    if (p->ask->to_pos <= p->ask->from_pos) return;
    read_positions(ctx, p->ask->from_pos, p->ask->to_pos, rows);
    size_t i = 0, bytes = 0;
    for (; i < rows->count; i++) {
        gr_room_record r;
        if (rows->at[i].number == UINT64_MAX) {            /* what is behind a gap is reached by going back */
            p->limited = true;
            return;
        }
        bool shown = rows->at[i].number && i < GR_READ_RECORDS_MAX && wanted(p, rows->at[i].number, &r);
        if (i == GR_READ_RECORDS_MAX || (shown && p->event_count == limit) || bytes >= GR_READ_TIMELINE_BYTES) break;
        p->first_pos = rows->at[i].pos;
        if (shown) p->events[p->event_count++] = r;
        if (shown) bytes += r.json.size;
    }
    p->limited = p->limited || i < rows->count || rows->count == GR_READ_ROWS_MAX;
}

static void oldest_first(part *p)
{
    for (size_t i = 0; i < p->event_count / 2; i++) {
        gr_room_record r = p->events[i];
        p->events[i] = p->events[p->event_count - 1 - i];
        p->events[p->event_count - 1 - i] = r;
    }
}

/* --- state ---------------------------------------------------------------------------------------------- */
static bool among(gr_strs list, gr_str s)
{
    for (size_t i = 0; i < list.count; i++)
        if (gr_str_eq(list.at[i], s)) return true;
    return false;
}

static void add(part *p, gr_strs *list, gr_str s)
{
    if ((list->count & (list->count - 1)) == 0) {
        gr_str *more = gr_arena_alloc(gr_ctx_arena(p->view.ctx), (list->count ? list->count * 2 : 1) * sizeof *more);
        if (list->count) memcpy(more, list->at, list->count * sizeof *more);
        list->at = more;
    }
    list->at[list->count++] = gr_arena_str(gr_ctx_arena(p->view.ctx), s);
}

static bool is_member(const gr_room_record *r) { return gr_str_is(r->type, "m.room.member"); }

/* Who came and who went: for device lists and the summary. */
static void note_member(part *p, gr_str user, uint64_t number_before, uint64_t number_after)
{
    p->members_moved = true;
    if (p->known == 0 || p->all_members) return;
    bool before = gr_view_membership_by(&p->view, number_before) == GR_MEMBER_JOIN;
    bool after = gr_view_membership_by(&p->view, number_after) == GR_MEMBER_JOIN;
    if (after && !before) add(p, &p->joined, user);
    if (before && !after) add(p, &p->left, user);
}

/* Lazy loading: members come in a room that is new to the client only where they are needed. */
static void write_state(part *p, const gr_room_record *r)
{
    gr_view *v = &p->view;
    bool left_lazy = p->ask->lazy && is_member(r) && p->known == 0;
    if (!left_lazy && gr_room_filter_passes(&p->state_filter, gr_ctx_arena(v->ctx), v->room->id, r))
        gr_render_item(v, &p->state, r, GR_RENDER_STATE);
}

static bool timeline_sets(const part *p, uint64_t key)
{
    if (p->ask->state_after) return false;
    for (size_t i = 0; i < p->event_count; i++)
        if (p->events[i].key == key) return true;
    return false;
}

static bool on_change(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    part *p = arg;
    gr_room_record r;
    if (!gr_room_record_at(p->view.ctx, after ? after : before, &r)) return true;
    if (is_member(&r)) note_member(p, r.state_key, before, after);
    if (after && !timeline_sets(p, key)) write_state(p, &r);
    return p->state.size < GR_READ_PAGE_BYTES;
}

/* Keys that events of the timeline set are given as they were at its start. */
static void write_before_timeline(part *p)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, p->view.room, p->view.ctx);
    for (size_t i = 0; i < p->event_count; i++) {
        gr_room_record r;
        uint64_t key = p->events[i].key;
        bool told = key == 0;
        for (size_t k = 0; k < i && !told; k++) told = p->events[k].key == key;
        if (told) continue;
        uint64_t start = gr_trie_get(&trie, p->start, key), known = p->known ? gr_trie_get(&trie, p->known, key) : 0;
        if (start != known && gr_room_record_at(p->view.ctx, start, &r)) write_state(p, &r);
    }
}

/* Members of senders, of heroes and the user's own; no memory of what was sent before. */
static void write_lazy_member(part *p, gr_str user)
{
    gr_room_record r;
    gr_view *v = &p->view;
    uint64_t key = gr_room_key_of(v->room, v->ctx, GR_STR("m.room.member"), user);
    uint64_t root = timeline_sets(p, key) ? p->start : p->end;
    uint64_t number = gr_room_state_number(v->room, v->ctx, root, GR_STR("m.room.member"), user);
    bool told = p->known && gr_room_state_number(v->room, v->ctx, p->known, GR_STR("m.room.member"), user) != number;
    if (told || !gr_room_record_at(v->ctx, number, &r)) return;
    if (gr_room_filter_passes(&p->state_filter, gr_ctx_arena(v->ctx), v->room->id, &r))
        gr_render_item(v, &p->state, &r, GR_RENDER_STATE);
}

static void write_lazy_members(part *p)
{
    gr_strs users = {0};
    if (p->known == 0) add(p, &users, p->view.user);
    for (size_t i = 0; i < p->event_count; i++)
        if (!among(users, p->events[i].sender)) add(p, &users, p->events[i].sender);
    for (size_t i = 0; i < p->heroes.count; i++)
        if (!among(users, p->heroes.at[i])) add(p, &users, p->heroes.at[i]);
    for (size_t i = 0; i < users.count; i++) write_lazy_member(p, users.at[i]);
}

/* --- summary and device lists --------------------------------------------------------------------------- */
static bool is_nameless(part *p)
{
    static const char *const keys[][2] = {{"m.room.name", "name"}, {"m.room.canonical_alias", "alias"}};
    for (size_t i = 0; i < 2; i++) {
        const gr_event *e = gr_room_state(p->view.room, p->view.ctx, gr_str_c(keys[i][0]), (gr_str){0});
        if (e && gr_json_text(e->content, keys[i][1]).size) return false;
    }
    return true;
}

typedef struct { part *p; gr_str users[2][GR_READ_HEROES]; uint64_t since[2][GR_READ_HEROES]; size_t count[2]; } choice;

/* The first to come, in each of two classes: who is here or invited, and who was. */
static bool on_candidate(void *arg, gr_str key, gr_str value)
{
    choice *c = arg;
    gr_str user = gr_str_from(key, 1);
    if (value.size != 17 || gr_str_eq(user, c->p->view.user)) return true;
    int class = value.ptr[0] == GR_MEMBER_JOIN || value.ptr[0] == GR_MEMBER_INVITE ? 0 : 1;
    uint64_t since = gr_u64be(value.ptr + 9);
    size_t at = c->count[class];
    while (at > 0 && c->since[class][at - 1] > since) at--;
    if (at == GR_READ_HEROES) return true;
    size_t last = c->count[class] < GR_READ_HEROES ? c->count[class]++ : GR_READ_HEROES - 1;
    for (size_t i = last; i > at; i--) {
        c->users[class][i] = c->users[class][i - 1];
        c->since[class][i] = c->since[class][i - 1];
    }
    c->users[class][at] = gr_arena_str(gr_ctx_arena(c->p->view.ctx), user);
    c->since[class][at] = since;
    return true;
}

static void choose_heroes(part *p)
{
    if (!is_nameless(p)) return;
    choice *c = gr_arena_alloc(gr_ctx_arena(p->view.ctx), sizeof *c);
    c->p = p;
    gr_ctx_scan_prefix(p->view.ctx, GR_STR("u"), GR_READ_ROWS_MAX, on_candidate, c);
    int class = c->count[0] ? 0 : 1;
    for (size_t i = 0; i < c->count[class]; i++) add(p, &p->heroes, c->users[class][i]);
}

static gr_str summary(part *p)
{
    gr_buf out = {0};
    const gr_room *room = p->view.room;
    if (is_nameless(p)) {
        gr_buf_c(&out, "\"m.heroes\":[");
        for (size_t i = 0; i < p->heroes.count; i++) {
            if (i) gr_buf_char(&out, ',');
            gr_jw w = gr_jw_begin(&out);
            gr_jw_str(&w, p->heroes.at[i]);
        }
        gr_buf_c(&out, "],");
    }
    gr_buf_printf(&out, "\"m.joined_member_count\":%llu,\"m.invited_member_count\":%llu",
                  (unsigned long long)room->joined, (unsigned long long)room->invited);
    gr_str text = gr_arena_str(gr_ctx_arena(p->view.ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

/* Has encryption begun since what is known?  Then the devices of all are news. */
static bool is_newly_encrypted(part *p)
{
    gr_view *v = &p->view;
    if (!v->room->encrypted || p->known == 0 || p->known == p->end) return false;
    return gr_room_state_number(v->room, v->ctx, p->known, GR_STR("m.room.encryption"), (gr_str){0}) == 0
        && gr_room_state_number(v->room, v->ctx, p->end, GR_STR("m.room.encryption"), (gr_str){0}) != 0;
}

typedef struct { part *p; gr_strs *list; size_t looked; } listing;

static bool on_joined(void *arg, gr_str key, gr_str value)
{
    listing *l = arg;
    gr_str user = gr_str_from(key, 1);
    if (value.size == 17 && value.ptr[0] == GR_MEMBER_JOIN) add(l->p, l->list, user);
    if (++l->looked < GR_READ_PAGE_KEYS) return true;
    l->p->more_users = gr_arena_cat(gr_ctx_arena(l->p->view.ctx), 2, (gr_str[]){GR_STR("u"), user});
    return false;
}

/* Who is joined, beginning after a user. */
static void list_members(part *p, gr_str after)
{
    gr_ctx *ctx = p->view.ctx;
    listing l = {.p = p, .list = gr_str_is(p->ask->section, "leave") ? &p->left : &p->joined};
    gr_str from = after.size ? gr_room_key_parts(ctx, 'u', 2, (gr_str[]){after, {0}}) : GR_STR("u");
    gr_ctx_scan(ctx, from, GR_STR("v"), false, 0, on_joined, &l);
}

/* --- the whole ------------------------------------------------------------------------------------------ */
static gr_err begin(part *p, gr_room *room, gr_ctx *ctx, const gr_room_sync *m)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_view_begin(&p->view, room, ctx, m->user, m->device);
    gr_err err = gr_room_filter_read(a, m->timeline_filter, &p->timeline_filter);
    if (!gr_failed(err)) err = gr_room_filter_read(a, m->state_filter, &p->state_filter);
    if (!gr_failed(err) && m->event_fields.size) err = gr_json_parse(a, m->event_fields, GR_JSON_LAX, &p->view.fields);
    if (gr_failed(err)) return err;
    if (!gr_json_is(p->view.fields, GR_JSON_ARRAY)) p->view.fields = NULL;
    p->view.without_room_id = true;
    p->view.federation = gr_str_is(m->event_format, "federation");
    p->view.ignored = p->timeline_filter.ignored = m->ignored;
    return gr_ok();
}

static gr_str take_text(gr_ctx *ctx, gr_buf *out)
{
    gr_buf_char(out, ']');
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(out));
    gr_buf_free(out);
    return text;
}

static gr_str timeline_text(part *p)
{
    gr_buf out = {0};
    gr_buf_char(&out, '[');
    for (size_t i = 0; i < p->event_count; i++)
        gr_render_item(&p->view, &out, &p->events[i], p->limited ? GR_RENDER_BUNDLE : GR_RENDER_PLAIN);
    return take_text(p->view.ctx, &out);
}

/* Back in a room after a time outside: what lies between has to be fetched. */
static bool has_rejoined(gr_view *v)
{
    size_t joins = 0, count;
    const gr_room_interval *own = gr_view_intervals(v, &count);
    for (size_t i = 0; i < count; i++) joins += own[i].membership == GR_MEMBER_JOIN;
    return joins > 1;
}

/* What the client knows, and the state at both ends of the timeline. */
static void find_roots(part *p, gr_room *room, gr_ctx *ctx, const gr_room_sync *m)
{
    p->known = m->full ? 0 : gr_room_root_at(room, ctx, m->from_pos);
    p->end = gr_room_root_at(room, ctx, p->view.until < p->ask->to_pos ? p->view.until : p->ask->to_pos);
    if (p->end == 0 || m->from_pos > p->view.until) p->end = p->known;     /* never in the room, or known since leaving */
    p->start = p->event_count && p->end != p->known ? gr_room_root_at(room, ctx, p->events[0].pos - 1) : p->end;
    p->all_members = p->known == 0 || gr_str_is(p->ask->section, "leave") || is_newly_encrypted(p);
}

static void walk_state(part *p, uint64_t after)
{
    bool by_names = p->known == 0 && p->ask->lazy;
    p->more = gr_room_changes(p->view.room, p->view.ctx, p->known, p->end, after, by_names, on_change, p);
}

static void first_page(part *p, gr_room_part *out)
{
    gr_ctx *ctx = p->view.ctx;
    if (p->ask->full && p->ask->from_pos == 0 && has_rejoined(&p->view)) p->limited = true;
    out->limited = p->limited;
    out->prev_batch = gr_room_cut_at(gr_ctx_arena(ctx), p->first_pos - 1);
    out->timeline = timeline_text(p);
    bool moved = p->end != p->known;
    if (moved && !p->ask->state_after) write_before_timeline(p);
    if (moved) walk_state(p, 0);
    bool summed = p->known == 0 || p->members_moved || p->more;
    if (summed) choose_heroes(p);
    if (p->ask->lazy) write_lazy_members(p);
    if (summed) out->summary = summary(p);
    if (p->ask->receipts) out->receipts = gr_receipts_after(&p->view, p->ask->receipts_from);
}

/* Device lists come after the whole state. */
static void device_lists(part *p, gr_room_part *out, gr_str page)
{
    bool wanted = p->view.room->encrypted && !p->ask->without_keys;
    if (wanted && p->all_members && p->more == 0)
        list_members(p, gr_str_starts(page, GR_STR("u")) ? gr_str_from(page, 1) : (gr_str){0});
    out->next = p->more ? gr_arena_printf(gr_ctx_arena(p->view.ctx), "s%llu", (unsigned long long)p->more)
                        : p->more_users;
    if (!wanted) return;
    out->keys_joined = p->joined;
    out->keys_left = p->left;
}

void gr_room_on_sync(gr_room *room, gr_ctx *ctx, const gr_room_sync *m)
{
    part *p = gr_arena_alloc(gr_ctx_arena(ctx), sizeof *p);
    gr_room_sync ask = *m;
    uint64_t after = 0;
    if (ask.to_pos >= room->next_pos) ask.to_pos = room->next_pos - 1;
    p->ask = &ask;
    gr_err err = begin(p, room, ctx, m);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    gr_room_part out = {.encrypted = room->encrypted, .end_pos = ask.to_pos};
    choose_timeline(p);
    oldest_first(p);
    find_roots(p, room, ctx, m);
    gr_buf_char(&p->state, '[');
    bool is_state = gr_str_starts(m->page, GR_STR("s")) && gr_str_u64(gr_str_from(m->page, 1), &after);
    if (m->page.size == 0) first_page(p, &out);
    else if (is_state) walk_state(p, after);
    device_lists(p, &out, m->page);
    out.state = take_text(ctx, &p->state);
    gr_ctx_reply(ctx, &gr_type_room_part, &out);
}
