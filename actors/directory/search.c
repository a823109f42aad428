/* search.c - the scans behind the directories' questions, run on the pool. See directory.h. */
#include "actors/directory/directory.h"

#include "proto/json.h"

#include <stdio.h>
#include <stdlib.h>

/* --- matching ---------------------------------------------------------------------------------------------- */
/* term is in lower case; only ASCII letters are compared without case. */
static bool contains(gr_arena *arena, gr_str text, gr_str term)
{
    if (term.size == 0) return true;
    if (text.size < term.size) return false;
    gr_str low = gr_arena_lower(arena, text);
    return memmem(low.ptr, low.size, term.ptr, term.size) != NULL;
}

typedef struct { const gr_directory_put **at; size_t count, room; } rooms;

typedef struct {
    gr_arena *arena, *scratch;
    const gr_directory_rooms *asked;
    gr_str term;
    rooms found;
} room_scan;

static bool is_wanted(room_scan *s, const gr_directory_put *r)
{
    const gr_directory_rooms *asked = s->asked;
    bool typed = asked->types.count == 0 && !asked->untyped;
    if (!typed && r->room_type.size == 0) typed = asked->untyped;
    for (size_t i = 0; i < asked->types.count && !typed && r->room_type.size; i++)
        typed = gr_str_eq(asked->types.at[i], r->room_type);
    if (!typed) return false;
    return contains(s->scratch, r->name, s->term) || contains(s->scratch, r->topic, s->term)
        || contains(s->scratch, r->alias, s->term);
}

static bool scan_room(void *arg, gr_str key, gr_str value)
{
    room_scan *s = arg;
    void *body = NULL;
    (void)key;
    gr_arena_reset(s->scratch);
    if (gr_failed(gr_body_decode(s->scratch, &gr_type_directory_put, value, &body)) || !is_wanted(s, body)) return true;
    if (gr_failed(gr_body_decode(s->arena, &gr_type_directory_put, gr_arena_str(s->arena, value), &body))) return true;
    if (s->found.count == s->found.room) {
        s->found.room = s->found.room ? s->found.room * 2 : 64;
        s->found.at = gr_realloc(s->found.at, s->found.room * sizeof *s->found.at);
    }
    s->found.at[s->found.count++] = body;
    return true;
}

/* The largest first; equal ones by id, so that pages fit together. */
static int by_joined(const void *x, const void *y)
{
    const gr_directory_put *a = *(const gr_directory_put *const *)x, *b = *(const gr_directory_put *const *)y;
    if (a->joined != b->joined) return a->joined < b->joined ? 1 : -1;
    return gr_str_cmp(a->room_id, b->room_id);
}

static void write_room(gr_jw *w, const gr_directory_put *r)
{
    gr_jw_object(w);
    gr_jw_kstr(w, "room_id", r->room_id);
    if (r->name.size) gr_jw_kstr(w, "name", r->name);
    if (r->topic.size) gr_jw_kstr(w, "topic", r->topic);
    if (r->alias.size) gr_jw_kstr(w, "canonical_alias", r->alias);
    if (r->avatar_url.size) gr_jw_kstr(w, "avatar_url", r->avatar_url);
    if (r->room_type.size) gr_jw_kstr(w, "room_type", r->room_type);
    gr_jw_kstr(w, "join_rule", r->join_rule);
    gr_jw_kint(w, "num_joined_members", (int64_t)r->joined);
    gr_jw_kbool(w, "world_readable", r->world_readable);
    gr_jw_kbool(w, "guest_can_join", r->guest_can_join);
    gr_jw_end_object(w);
}

static void write_rooms(const room_scan *s, gr_buf *output)
{
    const gr_directory_rooms *asked = s->asked;
    char token[24];
    uint64_t limit = asked->limit && asked->limit < GR_DIRECTORY_PAGE_MAX ? asked->limit : GR_DIRECTORY_PAGE_MAX;
    uint64_t from = asked->from < s->found.count ? asked->from : s->found.count;
    uint64_t to = from + limit < s->found.count ? from + limit : s->found.count;
    gr_jw w = gr_jw_begin(output);
    gr_jw_object(&w);
    gr_jw_key(&w, "chunk");
    gr_jw_array(&w);
    for (uint64_t i = from; i < to; i++) write_room(&w, s->found.at[i]);
    gr_jw_end_array(&w);
    gr_jw_kint(&w, "total_room_count_estimate", (int64_t)s->found.count);
    if (to < s->found.count) {
        snprintf(token, sizeof token, "p%llu", (unsigned long long)to);
        gr_jw_kc(&w, "next_batch", token);
    }
    if (from > 0) {
        snprintf(token, sizeof token, "p%llu", (unsigned long long)(from > limit ? from - limit : 0));
        gr_jw_kc(&w, "prev_batch", token);
    }
    gr_jw_end_object(&w);
}

static bool search_rooms(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    void *asked = NULL;
    if (gr_failed(gr_body_decode(arena, &gr_type_directory_rooms, input, &asked))) return false;
    room_scan s = {.arena = arena, .scratch = gr_arena_new(0), .asked = asked};
    s.term = gr_arena_lower(arena, s.asked->term);
    gr_work_scan(reader, GR_STR("e"), GR_STR("f"), false, 0, scan_room, &s);
    if (s.found.count) qsort(s.found.at, s.found.count, sizeof *s.found.at, by_joined);
    write_rooms(&s, output);
    free(s.found.at);
    gr_arena_free(&s.scratch);
    return true;
}

/* --- users ------------------------------------------------------------------------------------------------- */
typedef struct {
    gr_arena *scratch;
    gr_str term;
    gr_jw *w;
    uint64_t left;
    bool limited;
} user_scan;

static bool scan_user(void *arg, gr_str key, gr_str value)
{
    user_scan *s = arg;
    void *body = NULL;
    (void)key;
    gr_arena_reset(s->scratch);
    if (gr_failed(gr_body_decode(s->scratch, &gr_type_directory_user, value, &body))) return true;
    const gr_directory_user *u = body;
    if (!contains(s->scratch, u->user, s->term) && !contains(s->scratch, u->displayname, s->term)) return true;
    s->limited = s->left == 0;
    if (s->limited) return false;
    s->left--;
    gr_jw_object(s->w);
    gr_jw_kstr(s->w, "user_id", u->user);
    if (u->displayname.size) gr_jw_kstr(s->w, "display_name", u->displayname);
    if (u->avatar_url.size) gr_jw_kstr(s->w, "avatar_url", u->avatar_url);
    gr_jw_end_object(s->w);
    return true;
}

static bool search_users(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    void *body = NULL;
    if (gr_failed(gr_body_decode(arena, &gr_type_directory_users, input, &body))) return false;
    const gr_directory_users *asked = body;
    gr_jw w = gr_jw_begin(output);
    user_scan s = {.scratch = gr_arena_new(0), .term = gr_arena_lower(arena, asked->term), .w = &w, .left = asked->limit};
    gr_jw_object(&w);
    gr_jw_key(&w, "results");
    gr_jw_array(&w);
    gr_work_scan(reader, GR_STR("e"), GR_STR("f"), false, 0, scan_user, &s);
    gr_jw_end_array(&w);
    gr_jw_kbool(&w, "limited", s.limited);
    gr_jw_end_object(&w);
    gr_arena_free(&s.scratch);
    return true;
}

const gr_work gr_directory_rooms_work = {"directory_rooms", search_rooms};
const gr_work gr_directory_users_work = {"directory_users", search_users};
