/* sync.c - asking what /sync tells. See sync.h. */
#include "edge/sync_private.h"

#include "edge/edge.h"
#include "edge/presence.h"
#include "proto/filter.h"
#include "proto/ident.h"

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
    gr_sync_state *s = call->state;
    bool shares = !gr_failed(answer->err) && answer->type == &gr_type_user_in_rooms
               && ((const gr_user_in_rooms *)answer->body)->rooms.count > 0;
    if (gr_failed(answer->err)) shares = true;         /* never report as left who may still be there */
    s->left_answered++;
    if (!shares) s->gone[s->gone_count++] = s->left.at[answer->number];
    ask_left(call);
}

static void ask_left(gr_call *call)
{
    gr_sync_state *s = call->state;
    while (s->left_asked < s->left.count && s->left_asked - s->left_answered < GR_SYNC_PARALLEL && !call->answered) {
        size_t number = s->left_asked++;
        gr_call_ask_more(call, gr_call_user_address(call, s->left.at[number]), &gr_type_user_in_rooms, &s->mine, left_looked,
                         number, GR_CALL_TIMEOUT_MS, false);
    }
    if (s->left_answered == s->left.count && !call->answered) gr_sync_compose(call);
}

static void own_rooms_known(gr_call *call, const gr_answer *answer)
{
    gr_sync_state *s = call->state;
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
    gr_sync_state *s = call->state;
    size_t kept = 0;
    for (size_t i = 0; i < s->left.count && kept < GR_SYNC_LEFT_MAX; i++)
        if (gr_ident_user(s->left.at[i]) && !gr_str_eq(s->left.at[i], call->user)) s->left.at[kept++] = s->left.at[i];
    s->left.count = kept;
    if (kept == 0 || s->changes.initial) gr_sync_compose(call);
    else gr_call_ask(call, gr_call_address(call, GR_KIND_USER, call->user), &gr_type_user_encrypted_rooms,
                     &(gr_user_encrypted_rooms){0}, own_rooms_known);
}

/* --- asking rooms --------------------------------------------------------------------------------------------- */
static void ask_rooms(gr_call *call);
static void all_answered(gr_call *call);
static void ask_user(gr_call *call);

/* One page of state and users. */
static bool add_part(gr_call *call, gr_sync_room_state *r, const gr_room_part *part)
{
    gr_sync_state *s = call->state;
    gr_str items = part->state.size > 2 ? gr_str_of(part->state.ptr + 1, part->state.size - 2) : (gr_str){0};
    s->size += items.size + part->timeline.size;
    if (s->size > gr_call_config(call)->http_max_answer) {
        gr_call_fail_with(call, GR_TOO_LARGE, "The answer is larger than this server sends: load members lazily");
        return false;
    }
    if (!gr_pieces_add(call, &r->state, s->keys_only ? (gr_str){0} : items)) return false;
    if (part->encrypted) gr_sync_users_add(call, &s->changed, part->keys_joined);
    gr_sync_users_add(call, &s->left, part->keys_left);
    return true;
}

static void ask_room(gr_call *call, size_t number);

/* Who asks for the full state, or for whose keys changed, needs all rooms. */
static bool may_be_owed(const gr_sync_state *s, gr_err err)
{
    return (err.code == GR_UNAVAILABLE || err.code == GR_TIMEOUT) && !s->keys_only && !(s->full_state && s->since.size);
}

static void room_failed(gr_call *call, const gr_sync_room_state *r, gr_err err)
{
    gr_sync_state *s = call->state;
    if (!may_be_owed(s, err)) {
        gr_call_fail(call, err);
        return;
    }
    gr_shard_set_add(&s->lacking, gr_id_shard(r->ask.room_id));
    s->answered++;
    ask_rooms(call);
}

static void room_answered(gr_call *call, const gr_answer *answer)
{
    gr_sync_state *s = call->state;
    gr_sync_room_state *r = &s->rooms[answer->number];
    if (gr_failed(answer->err) || answer->type != &gr_type_room_part) {
        room_failed(call, r, gr_failed(answer->err) ? answer->err : gr_fail(GR_UNKNOWN, "A room gave no answer"));
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
    gr_sync_state *s = call->state;
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

static bool needs_asking(const gr_sync_room_state *r) { return r->ask.events || r->ask.receipts; }

static void ask_rooms(gr_call *call)
{
    gr_sync_state *s = call->state;
    while (s->asked < s->room_count && s->asked - s->answered < GR_SYNC_PARALLEL) {
        size_t number = s->asked++;
        if (needs_asking(&s->rooms[number])) ask_room(call, number);
        else s->answered++;
    }
    if (s->answered == s->room_count && !call->answered) all_answered(call);
}

/* --- owed rooms ----------------------------------------------------------------------------------------------- */
/* Of a shard all rooms come or none, as the token remembers shards. */
static bool drop_lacking(gr_sync_state *s)
{
    static const gr_shard_set none;
    size_t kept = 0;
    for (size_t i = 0; i < s->room_count; i++)
        if (!gr_shard_set_has(&s->lacking, gr_id_shard(s->rooms[i].ask.room_id))) s->rooms[kept++] = s->rooms[i];
    s->room_count = kept;
    return memcmp(&s->lacking, &none, sizeof none) != 0;
}

/* A long poll for which there is nothing but what can't be had waits on for other news, and tries again now and then. */
static void all_answered(gr_call *call)
{
    gr_sync_state *s = call->state;
    bool is_lacking = drop_lacking(s);
    if (is_lacking && s->room_count == 0 && !s->is_without && !s->changes.initial && call->now_ms < s->until_ms) {
        s->is_without = true;
        s->again_ms = call->now_ms + GR_SYNC_AGAIN_MS;
        ask_user(call);
        return;
    }
    if (is_lacking)
        s->changes.next_batch = gr_sync_token_owe(call->arena, s->changes.initial ? (gr_str){0} : s->since,
                                                  s->changes.next_batch, &s->lacking);
    if (is_lacking && s->changes.next_batch.size == 0)
        gr_call_fail_with(call, GR_UNAVAILABLE, "Part of the server is out of reach: try again in a moment");
    else find_left(call);
}

/* The wait for other news is over, and the poll is not: what was lacking is asked for again. */
static bool tries_again(gr_call *call)
{
    gr_sync_state *s = call->state;
    bool is_early = call->now_ms + GR_SYNC_AGAIN_MS / 2 < s->again_ms;     /* too many polls of one user */
    if (!s->is_without || s->changes.news || is_early || call->now_ms >= s->until_ms) return false;
    s->is_without = false;
    s->lacking = (gr_shard_set){0};
    ask_user(call);
    return true;
}

/* A long poll that ends because the server stops: nothing is new, and the client asks again from where it stood. */
static void answer_unchanged(gr_call *call)
{
    const gr_sync_state *s = call->state;
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

/* Only what may be asked while later answers arrive is kept: the reply's views end with this function. */
static void keep_changes(gr_call *call, const gr_user_changes *c)
{
    gr_sync_state *s = call->state;
    s->changes = *c;
    s->changes.next_batch = gr_call_keep(call, c->next_batch);
    s->changes.account_data = gr_call_keep(call, c->account_data);
    s->changes.to_device = gr_call_keep(call, c->to_device);
    s->changes.presence = gr_call_keep(call, c->presence);
    s->changes.one_time_keys = gr_call_keep(call, c->one_time_keys);
    s->changes.fallback_types = gr_call_keep(call, c->fallback_types);
    s->changes.keys_changed = keep_strs(call, c->keys_changed);
    s->changes.ignored = keep_strs(call, c->ignored);
    s->room_count = s->asked = s->answered = s->size = 0;
    s->changed = s->left = (gr_sync_users){0};
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
}

static void changes_known(gr_call *call, const gr_answer *answer)
{
    gr_sync_state *s = call->state;
    if (gr_failed(answer->err) && call->edge->stopping && s->since.size && !s->keys_only) {
        answer_unchanged(call);
        return;
    }
    if (gr_failed(answer->err) || answer->type != &gr_type_user_changes) {
        gr_call_fail(call, gr_failed(answer->err) ? answer->err : gr_fail(GR_UNKNOWN, "No answer"));
        return;
    }
    keep_changes(call, answer->body);
    if (!tries_again(call)) ask_rooms(call);
}

static void ask_user(gr_call *call)
{
    gr_sync_state *s = call->state;
    uint64_t end_ms = s->is_without && s->again_ms < s->until_ms ? s->again_ms : s->until_ms;
    uint64_t wait_ms = end_ms > call->now_ms ? end_ms - call->now_ms : 0;
    s->room_filter = gr_json_get(s->filter, "room");
    s->timeline = gr_json_get(s->room_filter, "timeline");
    s->state = gr_json_get(s->room_filter, "state");
    s->ephemeral = gr_json_get(s->room_filter, "ephemeral");
    s->room_data = gr_json_get(s->room_filter, "account_data");
    gr_user_sync m = {.device = s->keys_only ? (gr_str){0} : call->device,
                      .since = s->since,
                      .wait_ms = wait_ms,
                      .full_state = s->full_state,
                      .without = s->is_without ? gr_str_of(&s->lacking, sizeof s->lacking) : (gr_str){0},
                      .include_leave = gr_json_boolean(gr_json_get(s->room_filter, "include_leave"), false)};
    gr_call_ask_more(call, gr_call_address(call, GR_KIND_USER, call->user), &gr_type_user_sync, &m, changes_known, 0,
                     wait_ms + GR_CALL_TIMEOUT_MS, wait_ms > 0);
}

/* --- the filter ------------------------------------------------------------------------------------------------ */
static void filter_given(gr_call *call, gr_str text)
{
    gr_sync_state *s = call->state;
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
    gr_sync_state *s = call->state = gr_arena_alloc(call->arena, sizeof *s);
    gr_str filter, shown = {0};
    uint64_t timeout_ms;
    bool has_filter = gr_call_query(call, "filter", &filter) && filter.size;
    gr_call_query(call, "since", &s->since);
    if (!read_presence(call, &shown)) return;
    if (!gr_call_query_u64(call, "timeout", 0, &timeout_ms)) return;
    uint64_t most = gr_call_config(call)->sync_timeout_max_ms;
    s->until_ms = call->now_ms + (timeout_ms > most ? most : timeout_ms);
    if (!gr_call_query_bool(call, "full_state", false, &s->full_state)) return;
    if (!gr_call_query_bool(call, "use_state_after", false, &s->state_after)) return;
    gr_presence_polls(call, shown, s->until_ms - call->now_ms);
    if (!has_filter) ask_user(call);
    else if (filter.ptr[0] == '{') filter_given(call, filter);
    else gr_call_ask(call, gr_call_address(call, GR_KIND_USER, call->user), &gr_type_user_filter_get,
                     &(gr_user_filter_get){.filter_id = filter}, filter_known);
}

/* The same walk as /sync, without a device: what is waiting for one stays. */
void gr_sync_key_changes(gr_call *call, gr_str from)
{
    gr_sync_state *s = call->state = gr_arena_alloc(call->arena, sizeof *s);
    s->since = from;
    s->keys_only = true;
    filter_given(call, GR_STR("{\"room\":{\"timeline\":{\"limit\":1},\"state\":{\"lazy_load_members\":true}}}"));
}

const gr_call_route gr_routes_sync[] = {
    {GR_HTTP_GET, "/_matrix/client/(r0|v3)/sync", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_sync, .guest_ok = true},
    {.pattern = NULL},
};
