/* feed_notes.c - what notified the users of this shard, for /notifications. See feed.h.
 *
 * What notifies by the default rules stands in the rows of the room.  Only where an event means something
 * else to one user (a
 * highlight, a rule of their own) is there a note of theirs.  Notes outlive reading; the oldest are dropped.
 */
#include "actors/feed/feed_private.h"

enum { NOTE_FORMAT = 2, NOTE_HEAD = 13, FLAG_NOTIFIES = 1, FLAG_HIGHLIGHT = 2, TRIM_STEP = 32 };

static bool del_note(void *arg, gr_str key, gr_str value)
{
    (void)value;
    gr_ctx_del(arg, gr_arena_str(gr_ctx_arena(arg), key));
    return true;
}

static void count_note(gr_ctx *ctx, gr_str user)
{
    gr_str key = gr_feed_key(ctx, 'N', user, (gr_str){0}), old;
    uint64_t count = gr_ctx_get(ctx, key, &old) && old.size == 8 ? gr_u64be(old.ptr) + 1 : 1;
    if (count >= GR_FEED_NOTES_KEPT + TRIM_STEP) {
        gr_ctx_scan(ctx, gr_feed_key_at(ctx, 'N', user, 0), gr_feed_key_at(ctx, 'N', user, UINT64_MAX), false,
                    TRIM_STEP, del_note, ctx);
        count -= TRIM_STEP;
    }
    gr_buf value = {0};
    gr_buf_u64be(&value, count);
    gr_ctx_put(ctx, key, gr_buf_view(&value));
    gr_buf_free(&value);
}

/* Format, flags (1 each), ts (8), size of room id, event id and thread (1 each), these three, actions to the end. */
void gr_feed_note_write(gr_ctx *ctx, gr_str user, const gr_feed_event *m, const gr_push_result *got)
{
    gr_buf out = {0};
    gr_buf_char(&out, NOTE_FORMAT);
    gr_buf_char(&out, (char)((got->notify ? FLAG_NOTIFIES : 0)
                             | (got->notify && got->highlight ? FLAG_HIGHLIGHT : 0)));
    gr_buf_u64be(&out, m->ts);
    gr_buf_char(&out, (char)m->room_id.size);
    gr_buf_char(&out, (char)m->event_id.size);
    gr_buf_char(&out, (char)m->thread.size);
    gr_buf_str(&out, m->room_id);
    gr_buf_str(&out, m->event_id);
    gr_buf_str(&out, m->thread);
    gr_buf_str(&out, gr_push_actions(gr_ctx_arena(ctx), got));
    gr_ctx_put(ctx, gr_feed_key_at(ctx, 'N', user, gr_ctx_position(ctx)), gr_buf_view(&out));
    gr_buf_free(&out);
    count_note(ctx, user);
}

static bool read_note(gr_arena *a, gr_str key, gr_str bytes, gr_feed_note *note)
{
    if (key.size < 9 || bytes.size < NOTE_HEAD || bytes.ptr[0] != NOTE_FORMAT) return false;
    size_t room = (unsigned char)bytes.ptr[10], event = (unsigned char)bytes.ptr[11];
    size_t thread = (unsigned char)bytes.ptr[12];
    if (bytes.size < NOTE_HEAD + room + event + thread) return false;
    const char *texts = bytes.ptr + NOTE_HEAD;
    *note = (gr_feed_note){.position = gr_u64be(key.ptr + key.size - 8),
                           .ts = gr_u64be(bytes.ptr + 2),
                           .room_id = gr_arena_str(a, gr_str_of(texts, room)),
                           .event_id = gr_arena_str(a, gr_str_of(texts + room, event)),
                           .thread = gr_arena_str(a, gr_str_of(texts + room + event, thread)),
                           .actions = gr_arena_str(a, gr_str_from(bytes, NOTE_HEAD + room + event + thread)),
                           .notifies = bytes.ptr[1] & FLAG_NOTIFIES,
                           .highlight = bytes.ptr[1] & FLAG_HIGHLIGHT,
                           .personal = true};
    return true;
}

/* --- for user actors of the shard
 * ---------------------------------------------------------------------------- */
typedef struct {
    gr_arena *arena;
    gr_str room_id, user;
    gr_feed_note *out;
    size_t count, rows;
    uint64_t last;
} walk;

static bool take_note(void *arg, gr_str key, gr_str value)
{
    walk *w = arg;
    gr_feed_row row;
    w->rows++;
    w->last = gr_u64be(key.ptr + key.size - 8);
    if (w->room_id.size == 0) {
        if (read_note(w->arena, key, value, &w->out[w->count])) w->count++;
        return true;
    }
    if (!gr_feed_row_read(key, value, &row) || row.rule_id.size == 0 || gr_str_eq(row.sender, w->user))
        return true;
    w->out[w->count++] = (gr_feed_note){.position = row.position,
                                        .ts = row.ts,
                                        .room_id = w->room_id,
                                        .event_id = gr_arena_str(w->arena, row.event_id),
                                        .thread = gr_arena_str(w->arena, row.thread),
                                        .actions = gr_push_default_actions(w->arena, row.rule_id),
                                        .notifies = true};
    return true;
}

size_t gr_feed_notes_below(gr_ctx *ctx, gr_str room_id, gr_str user, uint64_t below, size_t rows,
                           gr_feed_note *out, uint64_t *reached)
{
    walk w = {.arena = gr_ctx_arena(ctx), .room_id = room_id, .user = user, .out = out};
    char letter = room_id.size ? 'e' : 'N';
    gr_str of = room_id.size ? room_id : user;
    gr_ctx_sibling_scan(ctx, GR_KIND_FEED, gr_feed_key_at(ctx, letter, of, 0),
                        gr_feed_key_at(ctx, letter, of, below), true, rows, take_note, &w);
    *reached = w.rows == rows ? w.last : 0;
    return w.count;
}
