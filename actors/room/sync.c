/* sync.c - one room's part of a user's /sync. See read.h; client-server API, "Syncing".
 *
 * The timeline is the newest visible events in the order of room positions; prev_batch is the cut before the oldest of
 * them, so that going back from it gives just what is missing.  State is the difference between what the client knows (the
 * root at from_pos) and the state at the start of the timeline.  A key that moved without an event of the timeline
 * telling so (state resolution, an event that the filter left out) is given as it is at the end.
 */
#include "actors/room/read.h"

enum { CHANGES_MAX = 65536 };

typedef struct { uint64_t key, before, start, after; } change;     /* event numbers: known, at the start, at the end */

typedef struct {
    gr_view view;
    const gr_room_sync *ask;
    gr_room_filter timeline_filter, state_filter;
    gr_room_record *events;                /* of the timeline, oldest first */
    size_t event_count;
    bool limited;
    uint64_t first_pos;                    /* everything before this position is not in the timeline */
    uint64_t known, start, end;            /* roots */
    change *changes;
    size_t change_count, change_room;
    bool members_moved, newly_encrypted;
    gr_strs heroes, joined, left;
    gr_buf state;
} part;

/* --- timeline ------------------------------------------------------------------------------------------- */
typedef struct { uint64_t number, pos; } entry;
typedef struct { entry at[GR_READ_ROWS_MAX]; size_t count; } entries;

static bool on_pos(void *arg, gr_str key, gr_str value)
{
    entries *e = arg;
    if (key.size != 9 || value.size != 17) return true;
    uint64_t number = value.ptr[0] == GR_POS_EVENT ? gr_u64be(value.ptr + 1) : 0;
    if (value.ptr[0] == GR_POS_GAP) number = UINT64_MAX;
    e->at[e->count++] = (entry){number, gr_u64be(key.ptr + 1)};
    return e->count < GR_READ_ROWS_MAX;
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
    gr_ctx_scan(ctx, gr_room_key_number(ctx, 'p', p->ask->from_pos + 1), gr_room_key_number(ctx, 'p', p->first_pos), true,
                GR_READ_ROWS_MAX, on_pos, rows);
    size_t i = 0;
    for (; i < rows->count; i++) {
        gr_room_record r;
        if (rows->at[i].number == UINT64_MAX) {            /* what is behind a gap is reached by going back */
            p->limited = true;
            return;
        }
        bool shown = rows->at[i].number && i < GR_READ_RECORDS_MAX && wanted(p, rows->at[i].number, &r);
        if (i == GR_READ_RECORDS_MAX || (shown && p->event_count == limit)) break;
        p->first_pos = rows->at[i].pos;
        if (shown) p->events[p->event_count++] = r;
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
static change *change_of(part *p, uint64_t key)
{
    if (p->change_count == p->change_room) {
        p->change_room = p->change_room ? p->change_room * 2 : 64;
        change *more = gr_arena_alloc(gr_ctx_arena(p->view.ctx), p->change_room * sizeof *more);
        if (p->change_count) memcpy(more, p->changes, p->change_count * sizeof *more);
        p->changes = more;
    }
    change *c = &p->changes[p->change_count++];
    *c = (change){.key = key};
    return c;
}

static bool on_end(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    part *p = arg;
    change *c = change_of(p, key);
    c->before = before;
    c->start = c->after = after;
    return p->change_count < CHANGES_MAX;
}

static change *find(part *p, uint64_t key)
{
    for (size_t i = 0; i < p->change_count; i++)
        if (p->changes[i].key == key) return &p->changes[i];
    return NULL;
}

/* Keys that events of the timeline set are given as they were at its start. */
static void mind_timeline(part *p)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, p->view.room, p->view.ctx);
    for (size_t i = 0; i < p->event_count; i++) {
        uint64_t key = p->events[i].key;
        if (!key) continue;
        change *c = find(p, key);
        uint64_t start = gr_trie_get(&trie, p->start, key);
        if (!c) {
            uint64_t known = p->known ? gr_trie_get(&trie, p->known, key) : 0;
            c = change_of(p, key);
            c->before = c->after = known;
        }
        c->start = start;
    }
}

/* All state but members, found by their keys: what a room with many members costs who loads them lazily. */
static bool on_key(void *arg, gr_str key, gr_str value)
{
    part *p = arg;
    (void)key;
    if (value.size == 8) change_of(p, gr_u64be(value.ptr));
    return p->change_count < CHANGES_MAX;
}

static void collect_keys(part *p)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, p->view.room, p->view.ctx);
    gr_ctx_scan(p->view.ctx, GR_STR("k"), GR_STR("km.room.member\0"), false, 0, on_key, p);
    gr_ctx_scan(p->view.ctx, GR_STR("km.room.member\1"), GR_STR("l"), false, 0, on_key, p);
    size_t kept = 0;
    for (size_t i = 0; i < p->change_count; i++) {
        change c = p->changes[i];
        c.start = c.after = gr_trie_get(&trie, p->end, c.key);
        if (c.after) p->changes[kept++] = c;
    }
    p->change_count = kept;
}

static void collect_changes(part *p)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, p->view.room, p->view.ctx);
    if (p->known == 0 && p->ask->lazy) collect_keys(p);
    else gr_trie_diff(&trie, p->known, p->end, on_end, p);
    if (!p->ask->state_after) mind_timeline(p);
}

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

/* Who came and who went: for device lists and the summary. */
static void note_member(part *p, const change *c, gr_str user)
{
    p->members_moved = true;
    if (p->known == 0) return;
    bool before = gr_view_membership_by(&p->view, c->before) == GR_MEMBER_JOIN;
    bool after = gr_view_membership_by(&p->view, c->after) == GR_MEMBER_JOIN;
    if (after && !before) add(p, &p->joined, user);
    if (before && !after) add(p, &p->left, user);
}

static void note_change(part *p, const change *c)
{
    gr_room_record r;
    if (c->before == c->after || !gr_room_record_at(p->view.ctx, c->after ? c->after : c->before, &r)) return;
    if (gr_str_is(r.type, "m.room.member")) note_member(p, c, r.state_key);
    if (gr_str_is(r.type, "m.room.encryption") && c->before == 0 && p->known) p->newly_encrypted = true;
}

static void write_change(part *p, const change *c)
{
    gr_room_record r;
    gr_view *v = &p->view;
    uint64_t number = p->ask->state_after ? c->after : c->start;
    if (number == 0 || number == c->before || !gr_room_record_at(v->ctx, number, &r)) return;
    if (!gr_room_filter_passes(&p->state_filter, gr_ctx_arena(v->ctx), v->room->id, &r)) return;
    bool left_lazy = p->ask->lazy && gr_str_is(r.type, "m.room.member") && p->known == 0;
    if (!left_lazy) gr_render_item(v, &p->state, &r, GR_RENDER_STATE);
}

/* Lazy loading: members of senders, of heroes and the user's own; no memory of what was sent before. */
static void write_lazy_member(part *p, gr_str user)
{
    gr_room_record r;
    gr_view *v = &p->view;
    uint64_t root = p->ask->state_after ? p->end : p->start;
    uint64_t number = gr_room_state_number(v->room, v->ctx, root, GR_STR("m.room.member"), user);
    uint64_t key = gr_room_key_of(v->room, v->ctx, GR_STR("m.room.member"), user);
    const change *c = p->known ? find(p, key) : NULL;
    bool told = c && (p->ask->state_after ? c->after : c->start) == number && number != c->before;
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

typedef struct { part *p; gr_strs *list; } listing;

static bool on_joined(void *arg, gr_str key, gr_str value)
{
    listing *l = arg;
    if (value.size == 17 && value.ptr[0] == GR_MEMBER_JOIN) add(l->p, l->list, gr_str_from(key, 1));
    return true;
}

static void device_lists(part *p)
{
    bool leaving = gr_str_is(p->ask->section, "leave");
    bool all = p->known == 0 || p->newly_encrypted;
    if (!p->view.room->encrypted) p->joined = p->left = (gr_strs){0};
    else if (leaving || all) {
        listing l = {p, leaving ? &p->left : &p->joined};
        *l.list = (gr_strs){0};
        gr_ctx_scan_prefix(p->view.ctx, GR_STR("u"), 0, on_joined, &l);
    }
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

static gr_str state_text(part *p)
{
    gr_buf_char(&p->state, '[');
    for (size_t i = 0; i < p->change_count; i++) note_change(p, &p->changes[i]);
    if (p->known == 0 || p->members_moved) choose_heroes(p);
    for (size_t i = 0; i < p->change_count; i++) write_change(p, &p->changes[i]);
    if (p->ask->lazy) write_lazy_members(p);
    return take_text(p->view.ctx, &p->state);
}

/* Back in a room after a time outside: what lies between has to be fetched. */
static bool has_rejoined(const gr_view *v)
{
    size_t joins = 0;
    for (size_t i = 0; i < v->own_count; i++) joins += v->own[i].membership == GR_MEMBER_JOIN;
    return joins > 1;
}

void gr_room_on_sync(gr_room *room, gr_ctx *ctx, const gr_room_sync *m)
{
    gr_arena *a = gr_ctx_arena(ctx);
    part *p = gr_arena_alloc(a, sizeof *p);
    gr_room_sync ask = *m;
    if (ask.to_pos >= room->next_pos) ask.to_pos = room->next_pos - 1;
    p->ask = &ask;
    gr_err err = begin(p, room, ctx, m);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    choose_timeline(p);
    oldest_first(p);
    if (m->full && m->from_pos == 0 && has_rejoined(&p->view)) p->limited = true;
    p->known = m->full ? 0 : gr_room_root_at(room, ctx, m->from_pos);
    p->end = gr_room_root_at(room, ctx, p->view.until < ask.to_pos ? p->view.until : ask.to_pos);
    if (p->end == 0 || m->from_pos > p->view.until) p->end = p->known;     /* never in the room, or known since leaving */
    p->start = p->event_count && p->end != p->known ? gr_room_root_at(room, ctx, p->events[0].pos - 1) : p->end;
    gr_room_part out = {.limited = p->limited, .prev_batch = gr_room_cut_at(a, p->first_pos - 1),
                        .encrypted = room->encrypted, .end_pos = ask.to_pos};
    out.timeline = timeline_text(p);
    if (p->end != p->known || p->ask->lazy) {
        collect_changes(p);
        out.state = state_text(p);
    }
    if (p->known == 0 || p->members_moved) out.summary = summary(p);
    if (m->receipts) out.receipts = gr_receipts_after(&p->view, m->receipts_from);
    device_lists(p);
    out.keys_joined = p->joined;
    out.keys_left = p->left;
    gr_ctx_reply(ctx, &gr_type_room_part, &out);
}
