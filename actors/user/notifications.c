/* notifications.c - what notified a user, the newest first. See user.h; client-server API, "Listing
 * Notifications".
 *
 * Nothing is written per user for what the default rules make of an event: the notes of the joined rooms are
 * merged by their
 * positions, which are all of one number line, with the user's personal ones.  Of each source some rows are
 * read at a time,
 * always of the one that has got the least far back.  Everything newer than the newest place where a source
 * stands is
 * complete; the token of the next page is a position.
 */
#include "actors/user/data.h"

#include "actors/feed/feed.h"

#include <stdlib.h>

enum { CHUNK = 8, READS_MORE = 24 };

typedef struct {
    gr_str room_id;
    uint64_t bound, oldest;
} source; /* room_id empty: personal; bound: read from there on */

typedef struct {
    gr_ctx *ctx;
    gr_user *u;
    source *sources;
    size_t source_count;
    gr_feed_note *notes;
    size_t count;
} merge;

static void add_sources(merge *m, uint64_t from, bool rooms_too)
{
    m->sources[m->source_count++] = (source){.bound = from};
    for (size_t i = 0; rooms_too && i < m->u->room_count; i++) {
        const gr_user_room *r = &m->u->rooms[i];
        if (!gr_str_is(r->membership, "join")) continue;
        uint64_t newest = gr_feed_head_of(m->ctx, r->room_id).events_at,
                 bound = newest + 1 < from ? newest + 1 : from;
        if (newest && bound > r->joined_at)
            m->sources[m->source_count++] = (source){r->room_id, bound, r->joined_at};
    }
}

static source *least_far(merge *m)
{
    source *s = &m->sources[0];
    for (size_t i = 1; i < m->source_count; i++)
        if (m->sources[i].bound > s->bound) s = &m->sources[i];
    return s;
}

/* Notes of rooms the user has left are not theirs any more. */
static void keep_joined(merge *m, size_t first)
{
    size_t kept = first;
    for (size_t i = first; i < m->count; i++) {
        const gr_user_room *r = gr_user_room_find(m->u, m->notes[i].room_id);
        if (r && gr_str_is(r->membership, "join") && m->notes[i].position > r->joined_at)
            m->notes[kept++] = m->notes[i];
    }
    m->count = kept;
}

static void read_more(merge *m, source *s)
{
    size_t first = m->count;
    m->count +=
        gr_feed_notes_below(m->ctx, s->room_id, m->u->id, s->bound, CHUNK, m->notes + m->count, &s->bound);
    if (s->bound <= s->oldest) s->bound = 0;
    keep_joined(m, first);
}

static size_t count_from(const merge *m, uint64_t position)
{
    size_t count = 0;
    for (size_t i = 0; i < m->count; i++) count += m->notes[i].position >= position && m->notes[i].notifies;
    return count;
}

/* The newest first; of two at one position the personal one. */
static int by_position(const void *a, const void *b)
{
    const gr_feed_note *x = a, *y = b;
    if (x->position != y->position) return x->position < y->position ? 1 : -1;
    return (int)y->personal - (int)x->personal;
}

static void answer(merge *m, const gr_user_notifications *ask, uint64_t limit, uint64_t horizon)
{
    gr_arena *a = gr_ctx_arena(m->ctx);
    gr_user_notified out = {0};
    uint64_t last = 0;
    size_t i = 0;
    out.notifications.at = gr_arena_alloc(a, (size_t)limit * sizeof(gr_notification));
    for (; i < m->count && m->notes[i].position >= horizon && out.notifications.count < limit; i++) {
        const gr_feed_note *n = &m->notes[i];
        bool twice = n->position == last;
        last = n->position;
        if (twice || !n->notifies || (ask->highlights && !n->highlight)) continue;
        bool read = gr_feed_has_read(m->ctx, m->u->id, n);
        out.notifications.at[out.notifications.count++] = (gr_notification){
            .room_id = n->room_id, .event_id = n->event_id, .ts = n->ts, .read = read, .actions = n->actions};
    }
    uint64_t next = i < m->count && m->notes[i].position >= horizon ? last : horizon;
    if (next) out.next_token = gr_arena_printf(a, "%llu", (unsigned long long)next);
    gr_ctx_reply(m->ctx, &gr_type_user_notified, &out);
}

void gr_user_on_notifications(gr_user *u, const gr_user_notifications *ask, gr_ctx *ctx)
{
    uint64_t from = UINT64_MAX, limit = ask->limit ? ask->limit : 1;
    if (ask->from.size && !gr_str_u64(ask->from, &from)) {
        gr_ctx_fail(ctx, gr_fail(GR_INVALID_PARAM, "'from' is not a token that /notifications gave"));
        return;
    }
    if (limit > GR_USER_NOTIFICATIONS_MAX) limit = GR_USER_NOTIFICATIONS_MAX;
    merge m = {.ctx = ctx, .u = u};
    m.sources = gr_arena_alloc(gr_ctx_arena(ctx), (u->room_count + 1) * sizeof(source));
    add_sources(&m, from, !ask->highlights);
    /* Each source can be read once, so that a page always gets somewhere. */
    size_t reads = m.source_count + READS_MORE;
    m.notes = gr_alloc(reads * CHUNK * sizeof *m.notes);
    for (source *s = least_far(&m); s->bound && reads > 0; s = least_far(&m), reads--) {
        if (count_from(&m, s->bound) > limit) break;
        read_more(&m, s);
    }
    qsort(m.notes, m.count, sizeof *m.notes, by_position);
    answer(&m, ask, limit, least_far(&m)->bound);
    free(m.notes);
}
