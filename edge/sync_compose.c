/* sync_compose.c - writing the answer of /sync around what actors gave. See sync.h. */
#include "edge/sync_private.h"

/* --- users ---------------------------------------------------------------------------------------------------- */
static size_t slot_of(const gr_sync_users *u, gr_str user)
{
    size_t slot = gr_str_hash(user) & (u->table_size - 1);
    while (u->table[slot] && !gr_str_eq(u->at[u->table[slot] - 1], user)) slot = (slot + 1) & (u->table_size - 1);
    return slot;
}

static void grow(gr_call *call, gr_sync_users *u)
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
void gr_sync_users_add(gr_call *call, gr_sync_users *u, gr_strs more)
{
    for (size_t i = 0; i < more.count; i++) {
        if (u->count == u->room) grow(call, u);
        size_t slot = slot_of(u, more.at[i]);
        if (u->table[slot]) continue;
        u->at[u->count++] = gr_call_keep(call, more.at[i]);
        u->table[slot] = (uint32_t)u->count;
    }
}

/* --- composing ------------------------------------------------------------------------------------------------ */
static void events(gr_jw *w, const char *key, gr_str array)
{
    if (array.size == 0) return;
    gr_jw_key(w, key);
    gr_jw_object(w);
    gr_jw_kraw(w, "events", array);
    gr_jw_end_object(w);
}

static void state(gr_jw *w, const char *key, const gr_sync_room_state *r)
{
    gr_jw_key(w, key);
    gr_jw_object(w);
    gr_jw_key(w, "events");
    gr_jw_array(w);
    for (const gr_piece *p = r->state.first; p; p = p->next) gr_jw_raw(w, p->text);
    gr_jw_end_array(w);
    gr_jw_end_object(w);
}

static void timeline(gr_jw *w, const gr_sync_state *s, const gr_sync_room_state *r)
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

static void ephemeral(gr_jw *w, const gr_sync_state *s, const gr_sync_room_state *r)
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
static void unread_counts(gr_jw *w, const gr_sync_state *s, const gr_sync_room *r)
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

static void joined_room(gr_jw *w, gr_call *call, const gr_sync_state *s, const gr_sync_room_state *r)
{
    timeline(w, s, r);
    ephemeral(w, s, r);
    events(w, "account_data", gr_sync_filter_events(call->arena, s->room_data, r->ask.account_data));
    gr_jw_kraw(w, "summary", gr_arena_cat(call->arena, 3, (gr_str[]){GR_STR("{"), r->part.summary, GR_STR("}")}));
    if (r->ask.counts) unread_counts(w, s, &r->ask);
}

static void left_room(gr_jw *w, gr_call *call, const gr_sync_state *s, const gr_sync_room_state *r)
{
    timeline(w, s, r);
    events(w, "account_data", gr_sync_filter_events(call->arena, s->room_data, r->ask.account_data));
}

static void section(gr_jw *w, gr_call *call, const gr_sync_state *s, const char *name, const char *membership)
{
    gr_jw_key(w, name);
    gr_jw_object(w);
    for (size_t i = 0; i < s->room_count; i++) {
        const gr_sync_room_state *r = &s->rooms[i];
        if (!gr_str_is(r->ask.section, membership)) continue;
        gr_jw_key_str(w, r->ask.room_id);
        gr_jw_object(w);
        if (gr_str_is(r->ask.section, "join")) joined_room(w, call, s, r);
        else if (gr_str_is(r->ask.section, "leave")) left_room(w, call, s, r);
        else events(w, gr_str_is(r->ask.section, "invite") ? "invite_state" : "knock_state",
                    r->ask.stripped.size ? r->ask.stripped : GR_STR("[]"));
        gr_jw_end_object(w);
    }
    gr_jw_end_object(w);
}

static void names(gr_jw *w, const char *key, const gr_str *at, size_t count)
{
    gr_jw_key(w, key);
    gr_jw_array(w);
    for (size_t i = 0; i < count; i++) gr_jw_str(w, at[i]);
    gr_jw_end_array(w);
}

/* Who changed and left is not told as left. */
static void device_lists(gr_jw *w, gr_call *call, gr_sync_state *s)
{
    gr_sync_users_add(call, &s->changed, s->changes.keys_changed);
    for (size_t i = 0; i < s->room_count; i++) gr_sync_users_add(call, &s->changed, s->rooms[i].ask.keys_changed);
    size_t left = 0;
    for (size_t i = 0; i < s->gone_count; i++)
        if (s->changed.room == 0 || !s->changed.table[slot_of(&s->changed, s->gone[i])]) s->gone[left++] = s->gone[i];
    gr_jw_object(w);
    names(w, "changed", s->changed.at, s->changed.count);
    names(w, "left", s->gone, left);
    gr_jw_end_object(w);
}

/* --- the whole ------------------------------------------------------------------------------------------------ */
void gr_sync_compose(gr_call *call)
{
    gr_sync_state *s = call->state;
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
    events(&w, "presence",
           gr_sync_filter_events(call->arena, gr_json_get(s->filter, "presence"), s->changes.presence));
    if (!s->changes.initial) {
        gr_jw_key(&w, "device_lists");
        device_lists(&w, call, s);
    }
    if (s->changes.one_time_keys.size) gr_jw_kraw(&w, "device_one_time_keys_count", s->changes.one_time_keys);
    if (s->changes.fallback_types.size) gr_jw_kraw(&w, "device_unused_fallback_key_types", s->changes.fallback_types);
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}
