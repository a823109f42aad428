/* sync.c - composing /sync. See sync.h. */
#include "edge/sync.h"

#include "edge/edge.h"
#include "edge/pages.h"
#include "proto/filter.h"
#include "proto/ident.h"

typedef struct {
    gr_sync_room ask;
    gr_room_part part;                 /* of its first page; state, next and lists of users apart */
    gr_pieces state;
    gr_str page;                       /* the page asked for; empty: the first */
} room_state;

/* Users in a list that grows, each once when it is a set. */
typedef struct { gr_str *at; size_t count, room; uint32_t *table; size_t table_size; } users;

typedef struct {
    gr_str since, set_presence;
    uint64_t timeout_ms;
    bool full_state, state_after;
    bool keys_only;                    /* GET /keys/changes: nothing but the device lists is answered */
    const gr_json *filter, *room_filter, *timeline, *state, *ephemeral, *room_data;
    gr_user_changes changes;           /* strings kept in the call's arena */
    room_state *rooms;
    size_t room_count, asked, answered;
    size_t size;                       /* of all pieces of state */
    users changed;                     /* device_lists.changed */
    users left;                        /* candidates for device_lists.left, then those who are */
    size_t left_asked, left_answered;
    gr_str *gone;
    size_t gone_count;
    gr_user_in_rooms mine;             /* the encrypted rooms of who asks */
} sync_state;

/* --- composing ------------------------------------------------------------------------------------------------ */
static void events(gr_jw *w, const char *key, gr_str array)
{
    if (array.size == 0) return;
    gr_jw_key(w, key);
    gr_jw_object(w);
    gr_jw_kraw(w, "events", array);
    gr_jw_end_object(w);
}

static void state(gr_jw *w, const char *key, const room_state *r)
{
    gr_jw_key(w, key);
    gr_jw_object(w);
    gr_jw_key(w, "events");
    gr_jw_array(w);
    for (const gr_piece *p = r->state.first; p; p = p->next) gr_jw_raw(w, p->text);
    gr_jw_end_array(w);
    gr_jw_end_object(w);
}

static void timeline(gr_jw *w, const sync_state *s, const room_state *r)
{
    gr_jw_key(w, "timeline");
    gr_jw_object(w);
    gr_jw_kraw(w, "events", r->part.timeline.size ? r->part.timeline : GR_STR("[]"));
    gr_jw_kbool(w, "limited", r->part.limited);
    if (r->part.prev_batch.size) gr_jw_kstr(w, "prev_batch", r->part.prev_batch);
    gr_jw_end_object(w);
    /* With use_state_after the key must be there even when nothing changed: it tells the client what it is reading. */
    state(w, s->state_after ? "state_after" : "state", r);
}

static void ephemeral(gr_jw *w, const sync_state *s, const room_state *r)
{
    bool typing = r->ask.typing_moved && gr_sync_filter_type(s->ephemeral, GR_STR("m.typing"));
    bool receipts = r->part.receipts.size && gr_sync_filter_type(s->ephemeral, GR_STR("m.receipt"));
    gr_jw_key(w, "ephemeral");
    gr_jw_object(w);
    gr_jw_key(w, "events");
    gr_jw_array(w);
    if (typing) {
        gr_jw_object(w);
        gr_jw_kc(w, "type", "m.typing");
        gr_jw_key(w, "content");
        gr_jw_object(w);
        gr_jw_key(w, "user_ids");
        gr_jw_array(w);
        for (size_t i = 0; i < r->ask.typing.count; i++) gr_jw_str(w, r->ask.typing.at[i]);
        gr_jw_end_array(w);
        gr_jw_end_object(w);
        gr_jw_end_object(w);
    }
    if (receipts) {
        gr_jw_object(w);
        gr_jw_kc(w, "type", "m.receipt");
        gr_jw_kraw(w, "content", r->part.receipts);
        gr_jw_end_object(w);
    }
    gr_jw_end_array(w);
    gr_jw_end_object(w);
}

static void unread(gr_jw *w, uint64_t notifications, uint64_t highlights)
{
    gr_jw_object(w);
    gr_jw_kint(w, "notification_count", (int64_t)notifications);
    gr_jw_kint(w, "highlight_count", (int64_t)highlights);
    gr_jw_end_object(w);
}

/* Threads apart where the filter asks for that, else as part of the room. */
static void unread_counts(gr_jw *w, const sync_state *s, const gr_sync_room *r)
{
    bool apart = gr_json_boolean(gr_json_get(s->timeline, "unread_thread_notifications"), false);
    uint64_t notifications = r->notifications, highlights = r->highlights;
    for (size_t i = 0; !apart && i < r->threads.count; i++) {
        notifications += r->threads.at[i].notifications;
        highlights += r->threads.at[i].highlights;
    }
    gr_jw_key(w, "unread_notifications");
    unread(w, notifications, highlights);
    if (!apart) return;
    gr_jw_key(w, "unread_thread_notifications");
    gr_jw_object(w);
    for (size_t i = 0; i < r->threads.count; i++) {
        gr_jw_key_str(w, r->threads.at[i].thread);
        unread(w, r->threads.at[i].notifications, r->threads.at[i].highlights);
    }
    gr_jw_end_object(w);
}

static void joined_room(gr_jw *w, gr_call *call, const sync_state *s, const room_state *r)
{
    timeline(w, s, r);
    ephemeral(w, s, r);
    events(w, "account_data", gr_sync_filter_events(call->arena, s->room_data, r->ask.account_data));
    gr_jw_kraw(w, "summary", gr_arena_cat(call->arena, 3, (gr_str[]){GR_STR("{"), r->part.summary, GR_STR("}")}));
    if (r->ask.counts) unread_counts(w, s, &r->ask);
}

static void section(gr_jw *w, gr_call *call, const sync_state *s, const char *name, const char *membership)
{
    gr_jw_key(w, name);
    gr_jw_object(w);
    for (size_t i = 0; i < s->room_count; i++) {
        const room_state *r = &s->rooms[i];
        if (!gr_str_is(r->ask.section, membership)) continue;
        gr_jw_key_str(w, r->ask.room_id);
        gr_jw_object(w);
        if (gr_str_is(r->ask.section, "join")) joined_room(w, call, s, r);
        else if (gr_str_is(r->ask.section, "leave")) timeline(w, s, r);
        else events(w, gr_str_is(r->ask.section, "invite") ? "invite_state" : "knock_state",
                    r->ask.stripped.size ? r->ask.stripped : GR_STR("[]"));
        gr_jw_end_object(w);
    }
    gr_jw_end_object(w);
}

/* --- users ---------------------------------------------------------------------------------------------------- */
static size_t slot_of(const users *u, gr_str user)
{
    size_t slot = gr_str_hash(user) & (u->table_size - 1);
    while (u->table[slot] && !gr_str_eq(u->at[u->table[slot] - 1], user)) slot = (slot + 1) & (u->table_size - 1);
    return slot;
}

static void grow(gr_call *call, users *u)
{
    gr_str *old = u->at;
    u->room = u->room ? u->room * 2 : 16;
    u->at = gr_arena_alloc(call->arena, u->room * sizeof *u->at);
    if (u->count) memcpy(u->at, old, u->count * sizeof *u->at);
    u->table_size = u->room * 2;
    u->table = gr_arena_alloc(call->arena, u->table_size * sizeof *u->table);
    for (size_t i = 0; i < u->count; i++) u->table[slot_of(u, u->at[i])] = (uint32_t)i + 1;
}

/* Listed once: over-reporting a change costs a query, under-reporting costs an undecryptable message. */
static void add_users(gr_call *call, users *u, gr_strs more)
{
    for (size_t i = 0; i < more.count; i++) {
        if (u->count == u->room) grow(call, u);
        size_t slot = slot_of(u, more.at[i]);
        if (u->table[slot]) continue;
        u->at[u->count++] = gr_call_keep(call, more.at[i]);
        u->table[slot] = (uint32_t)u->count;
    }
}

static void names(gr_jw *w, const char *key, const gr_str *at, size_t count)
{
    gr_jw_key(w, key);
    gr_jw_array(w);
    for (size_t i = 0; i < count; i++) gr_jw_str(w, at[i]);
    gr_jw_end_array(w);
}

/* Who changed and left is not told as left. */
static void device_lists(gr_jw *w, gr_call *call, sync_state *s)
{
    add_users(call, &s->changed, s->changes.keys_changed);
    for (size_t i = 0; i < s->room_count; i++) add_users(call, &s->changed, s->rooms[i].ask.keys_changed);
    size_t left = 0;
    for (size_t i = 0; i < s->gone_count; i++)
        if (s->changed.room == 0 || !s->changed.table[slot_of(&s->changed, s->gone[i])]) s->gone[left++] = s->gone[i];
    gr_jw_object(w);
    names(w, "changed", s->changed.at, s->changed.count);
    names(w, "left", s->gone, left);
    gr_jw_end_object(w);
}

/* --- the whole ------------------------------------------------------------------------------------------------ */
static void compose(gr_call *call)
{
    sync_state *s = call->state;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    if (s->keys_only) {
        device_lists(&w, call, s);
        gr_call_json_take(call, 200, &out);
        return;
    }
    gr_jw_object(&w);
    gr_jw_kstr(&w, "next_batch", s->changes.next_batch);
    if (s->room_count) {
        gr_jw_key(&w, "rooms");
        gr_jw_object(&w);
        section(&w, call, s, "join", "join");
        section(&w, call, s, "invite", "invite");
        section(&w, call, s, "knock", "knock");
        section(&w, call, s, "leave", "leave");
        gr_jw_end_object(&w);
    }
    events(
        &w, "account_data",
        gr_sync_filter_events(call->arena, gr_json_get(s->filter, "account_data"), s->changes.account_data));
    events(&w, "to_device", s->changes.to_device);
    if (!s->changes.initial) {
        gr_jw_key(&w, "device_lists");
        device_lists(&w, call, s);
    }
    if (s->changes.one_time_keys.size) gr_jw_kraw(&w, "device_one_time_keys_count", s->changes.one_time_keys);
    if (s->changes.fallback_types.size) gr_jw_kraw(&w, "device_unused_fallback_key_types", s->changes.fallback_types);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static gr_strs keep_strs(gr_call *call, gr_strs list)
{
    gr_strs out = {gr_arena_alloc(call->arena, list.count * sizeof(gr_str)), list.count};
    for (size_t i = 0; i < list.count; i++) out.at[i] = gr_call_keep(call, list.at[i]);
    return out;
}

/* --- who no longer shares an encrypted room ------------------------------------------------------------------- */
static void ask_left(gr_call *call);

static void left_looked(gr_call *call, const gr_answer *answer)
{
    sync_state *s = call->state;
    bool shares = !gr_failed(answer->err) && answer->type == &gr_type_user_in_rooms
               && ((const gr_user_in_rooms *)answer->body)->rooms.count > 0;
    if (gr_failed(answer->err)) shares = true;         /* never report as left who may still be there */
    s->left_answered++;
    if (!shares) s->gone[s->gone_count++] = s->left.at[answer->number];
    ask_left(call);
}

static void ask_left(gr_call *call)
{
    sync_state *s = call->state;
    while (s->left_asked < s->left.count && s->left_asked - s->left_answered < GR_SYNC_PARALLEL && !call->answered) {
        size_t number = s->left_asked++;
        gr_call_ask_more(call, gr_call_address(call, GR_KIND_USER, s->left.at[number]), &gr_type_user_in_rooms, &s->mine,
                         left_looked, number, GR_CALL_TIMEOUT_MS, false);
    }
    if (s->left_answered == s->left.count && !call->answered) compose(call);
}

static void own_rooms_known(gr_call *call, const gr_answer *answer)
{
    sync_state *s = call->state;
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    s->mine.rooms = keep_strs(call, ((const gr_user_in_rooms *)answer->body)->rooms);
    s->gone = gr_arena_alloc(call->arena, s->left.count * sizeof(gr_str));
    ask_left(call);
}

/* Past a limit they are not told: who is thought to be there still costs a client some memory, no message. */
static void find_left(gr_call *call)
{
    sync_state *s = call->state;
    size_t kept = 0;
    for (size_t i = 0; i < s->left.count && kept < GR_SYNC_LEFT_MAX; i++)
        if (gr_ident_is_local(s->left.at[i], gr_call_server_name(call)) && !gr_str_eq(s->left.at[i], call->user))
            s->left.at[kept++] = s->left.at[i];
    s->left.count = kept;
    if (kept == 0 || s->changes.initial) compose(call);
    else gr_call_ask(call, gr_call_address(call, GR_KIND_USER, call->user), &gr_type_user_encrypted_rooms,
                     &(gr_user_encrypted_rooms){0}, own_rooms_known);
}

/* --- asking rooms --------------------------------------------------------------------------------------------- */
static void ask_rooms(gr_call *call);

/* One page of state and users. */
static bool add_part(gr_call *call, room_state *r, const gr_room_part *part)
{
    sync_state *s = call->state;
    gr_str items = part->state.size > 2 ? gr_str_of(part->state.ptr + 1, part->state.size - 2) : (gr_str){0};
    s->size += items.size + part->timeline.size;
    if (s->size > gr_call_config(call)->http_max_answer) {
        gr_call_fail_with(call, GR_TOO_LARGE, "The answer is larger than this server sends: load members lazily");
        return false;
    }
    if (!gr_pieces_add(call, &r->state, s->keys_only ? (gr_str){0} : items)) return false;
    if (part->encrypted) add_users(call, &s->changed, part->keys_joined);
    add_users(call, &s->left, part->keys_left);
    return true;
}

static void ask_room(gr_call *call, size_t number);

static void room_answered(gr_call *call, const gr_answer *answer)
{
    sync_state *s = call->state;
    room_state *r = &s->rooms[answer->number];
    if (gr_failed(answer->err) || answer->type != &gr_type_room_part) {
        gr_call_fail(call, gr_failed(answer->err) ? answer->err : gr_fail(GR_UNKNOWN, "A room gave no answer"));
        return;
    }
    const gr_room_part *part = answer->body;
    if (r->page.size == 0) {
        r->part = *part;
        r->part.timeline = gr_call_keep(call, part->timeline);
        r->part.prev_batch = gr_call_keep(call, part->prev_batch);
        r->part.receipts = gr_call_keep(call, part->receipts);
        r->part.summary = gr_call_keep(call, part->summary);
    }
    if (call->answered || !add_part(call, r, part)) return;
    r->page = gr_call_keep(call, part->next);
    if (part->next.size) {
        ask_room(call, answer->number);
        return;
    }
    s->answered++;
    ask_rooms(call);
}

static gr_str printed(gr_call *call, const gr_json *json) { return json ? gr_json_printed(call->arena, json) : (gr_str){0}; }

static void ask_room(gr_call *call, size_t number)
{
    sync_state *s = call->state;
    const gr_sync_room *r = &s->rooms[number].ask;
    int64_t limit = gr_json_integer(gr_json_get(s->timeline, "limit"), GR_SYNC_TIMELINE_DEFAULT);
    uint64_t most = gr_call_config(call)->sync_timeline_limit_max;
    gr_room_sync m = {
        .user = call->user, .device = call->device, .section = r->section, .from_pos = r->from_pos, .to_pos = r->to_pos,
        .full = r->full, .gap = r->gap, .state_after = s->state_after,
        .lazy = gr_json_boolean(gr_json_get(s->state, "lazy_load_members"), false)
             || gr_json_boolean(gr_json_get(s->timeline, "lazy_load_members"), false),
        .redundant = gr_json_boolean(gr_json_get(s->state, "include_redundant_members"), false),
        .limit = limit < 0 ? 0 : (uint64_t)limit > most ? most : (uint64_t)limit,
        .timeline_filter = printed(call, s->timeline), .state_filter = printed(call, s->state),
        .ephemeral_filter = printed(call, s->ephemeral), .ignored = s->changes.ignored,
        .receipts = r->receipts, .receipts_from = r->receipts_from,
        .event_fields = printed(call, gr_json_get(s->filter, "event_fields")),
        .event_format = gr_json_text(s->filter, "event_format"),
        .page = s->rooms[number].page, .without_keys = s->changes.initial};
    gr_call_ask_more(call, gr_call_address(call, GR_KIND_ROOM, r->room_id), &gr_type_room_sync, &m, room_answered, number,
                     GR_CALL_TIMEOUT_MS, false);
}

static bool needs_asking(const room_state *r) { return r->ask.events || r->ask.receipts; }

static void ask_rooms(gr_call *call)
{
    sync_state *s = call->state;
    while (s->asked < s->room_count && s->asked - s->answered < GR_SYNC_PARALLEL) {
        size_t number = s->asked++;
        if (needs_asking(&s->rooms[number])) ask_room(call, number);
        else s->answered++;
    }
    if (s->answered == s->room_count) find_left(call);
}

/* Only what may be asked while later answers arrive is kept: the reply's views end with this function. */
/* A long poll that ends because the server stops: nothing is new, and the client asks again from where it stood. */
static void answer_unchanged(gr_call *call)
{
    const sync_state *s = call->state;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    if (!gr_str_utf8(s->since)) {
        gr_call_fail_with(call, GR_INVALID_PARAM, "'since' is not a token of this server");
        return;
    }
    gr_jw_object(&w);
    gr_jw_kstr(&w, "next_batch", s->since);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static void changes_known(gr_call *call, const gr_answer *answer)
{
    sync_state *s = call->state;
    if (gr_failed(answer->err) && call->edge->stopping && s->since.size && !s->keys_only) {
        answer_unchanged(call);
        return;
    }
    if (gr_failed(answer->err) || answer->type != &gr_type_user_changes) {
        gr_call_fail(call, gr_failed(answer->err) ? answer->err : gr_fail(GR_UNKNOWN, "No answer"));
        return;
    }
    const gr_user_changes *c = answer->body;
    s->changes = *c;
    s->changes.next_batch = gr_call_keep(call, c->next_batch);
    s->changes.account_data = gr_call_keep(call, c->account_data);
    s->changes.to_device = gr_call_keep(call, c->to_device);
    s->changes.one_time_keys = gr_call_keep(call, c->one_time_keys);
    s->changes.fallback_types = gr_call_keep(call, c->fallback_types);
    s->changes.keys_changed = keep_strs(call, c->keys_changed);
    s->changes.ignored = keep_strs(call, c->ignored);
    s->rooms = gr_arena_alloc(call->arena, c->rooms.count * sizeof *s->rooms);
    for (size_t i = 0; i < c->rooms.count; i++) {
        gr_sync_room r = c->rooms.at[i];
        if (!gr_sync_filter_room(s->room_filter, r.room_id)) continue;
        r.room_id = gr_call_keep(call, r.room_id);
        r.section = gr_call_keep(call, r.section);
        r.account_data = gr_call_keep(call, r.account_data);
        r.stripped = gr_call_keep(call, r.stripped);
        gr_thread_unread *threads = gr_arena_alloc(call->arena, (r.threads.count + 1) * sizeof *threads);
        for (size_t k = 0; k < r.threads.count; k++) {
            threads[k] = r.threads.at[k];
            threads[k].thread = gr_call_keep(call, threads[k].thread);
        }
        r.threads.at = threads;
        r.typing = keep_strs(call, r.typing);
        r.keys_changed = keep_strs(call, r.keys_changed);
        s->rooms[s->room_count++].ask = r;
    }
    ask_rooms(call);
}

static void ask_user(gr_call *call)
{
    sync_state *s = call->state;
    uint64_t most = gr_call_config(call)->sync_timeout_max_ms;
    uint64_t wait_ms = s->timeout_ms > most ? most : s->timeout_ms;
    s->room_filter = gr_json_get(s->filter, "room");
    s->timeline = gr_json_get(s->room_filter, "timeline");
    s->state = gr_json_get(s->room_filter, "state");
    s->ephemeral = gr_json_get(s->room_filter, "ephemeral");
    s->room_data = gr_json_get(s->room_filter, "account_data");
    gr_user_sync m = {.device = s->keys_only ? (gr_str){0} : call->device,
                      .since = s->since,
                      .wait_ms = wait_ms,
                      .full_state = s->full_state,
                      .set_presence = s->set_presence,
                      .include_leave = gr_json_boolean(gr_json_get(s->room_filter, "include_leave"), false)};
    gr_call_ask_more(call, gr_call_address(call, GR_KIND_USER, call->user), &gr_type_user_sync, &m, changes_known, 0,
                     wait_ms + GR_CALL_TIMEOUT_MS, wait_ms > 0);
}

/* --- the filter ------------------------------------------------------------------------------------------------ */
static void filter_given(gr_call *call, gr_str text)
{
    sync_state *s = call->state;
    gr_err err = gr_json_parse(call->arena, text, GR_JSON_LAX, &s->filter);
    if (!gr_failed(err)) err = gr_filter_check(call->arena, s->filter);
    if (gr_failed(err)) gr_call_fail(call, err);
    else ask_user(call);
}

static void filter_known(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) gr_call_fail(call, answer->err);
    else filter_given(call, gr_call_keep(call, ((const gr_result *)answer->body)->body));
}

static bool read_presence(gr_call *call, gr_str *presence)
{
    gr_call_query(call, "set_presence", presence);
    if (presence->size == 0 || gr_str_is(*presence, "offline") || gr_str_is(*presence, "online")
        || gr_str_is(*presence, "unavailable")) return true;
    gr_call_fail_with(call, GR_INVALID_PARAM, "'set_presence' must be offline, online or unavailable");
    return false;
}

static void serve_sync(gr_call *call)
{
    sync_state *s = call->state = gr_arena_alloc(call->arena, sizeof *s);
    gr_str filter;
    bool has_filter = gr_call_query(call, "filter", &filter) && filter.size;
    gr_call_query(call, "since", &s->since);
    if (!read_presence(call, &s->set_presence)) return;
    if (!gr_call_query_u64(call, "timeout", 0, &s->timeout_ms)) return;
    if (!gr_call_query_bool(call, "full_state", false, &s->full_state)) return;
    if (!gr_call_query_bool(call, "use_state_after", false, &s->state_after)) return;
    if (!has_filter) ask_user(call);
    else if (filter.ptr[0] == '{') filter_given(call, filter);
    else gr_call_ask(call, gr_call_address(call, GR_KIND_USER, call->user), &gr_type_user_filter_get,
                     &(gr_user_filter_get){.filter_id = filter}, filter_known);
}

/* The same walk as /sync, without a device: what is waiting for one stays. */
void gr_sync_key_changes(gr_call *call, gr_str from)
{
    sync_state *s = call->state = gr_arena_alloc(call->arena, sizeof *s);
    s->since = from;
    s->keys_only = true;
    filter_given(call, GR_STR("{\"room\":{\"timeline\":{\"limit\":1},\"state\":{\"lazy_load_members\":true}}}"));
}

const gr_call_route gr_routes_sync[] = {
    {GR_HTTP_GET, "/_matrix/client/(r0|v3)/sync", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_sync, .guest_ok = true},
    {.pattern = NULL},
};
