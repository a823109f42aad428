/* moved.c - what a move changes: listing it on the pool, and the portion that is here. See moved.h. */
#include "actors/room/moved.h"
#include "actors/room/graph.h"
#include "actors/room/resolving.h"

#include <stdlib.h>

enum {
    PORTION_BYTES = 192 * 1024,
    ENTRY_HEAD = 31,                   /* key, number, kind, membership and since before, membership now, size of the text */
    TRY_AGAIN_MS = 1000                /* after a work that failed */
};

struct gr_room_portion {
    uint64_t asked;                    /* number of the work; 0: none */
    gr_str bytes;                      /* owned; ptr NULL: none */
    size_t at;
    bool is_last;
};

/* --- what a key needs -------------------------------------------------------------------------------------- */
static gr_membership membership_in(gr_room *room, gr_ctx *ctx, uint64_t number)
{
    gr_room_record record;
    gr_event e;
    if (!number || !gr_room_record_at(ctx, number, &record) || !gr_room_event_of(room, gr_ctx_arena(ctx), &record, &e))
        return GR_MEMBER_NONE;
    return gr_membership_of(gr_json_text(e.content, "membership"));
}

bool gr_room_moved_find(gr_room *room, gr_ctx *ctx, gr_str told, uint64_t key, uint64_t before, uint64_t after,
                        gr_room_moved *out)
{
    *out = (gr_room_moved){.kind = GR_MOVED_OTHER, .key = key, .number = after};
    if (!gr_room_key_text(ctx, key, &out->type, &out->state_key)) return false;
    bool is_member = gr_str_is(out->type, "m.room.member");
    if (told.size) {
        out->kind = after ? GR_MOVED_TELL_THERE : GR_MOVED_TELL_GONE;
        out->number = after ? after : before;
        return is_member && gr_ident_is_local(out->state_key, told);
    }
    if (!is_member) return true;
    out->kind = GR_MOVED_MEMBER;
    out->now = membership_in(room, ctx, after);
    gr_room_member_at(ctx, out->state_key, &out->row);
    return true;
}

/* --- on the pool ------------------------------------------------------------------------------------------- */
typedef struct { gr_room *room; gr_ctx *ctx; gr_str told; gr_buf *out; } lister;

static bool list_key(void *arg, uint64_t key, uint64_t before, uint64_t after)
{
    lister *l = arg;
    gr_room_moved m;
    if (!gr_room_moved_find(l->room, l->ctx, l->told, key, before, after, &m)) return true;
    gr_buf_u64be(l->out, key);
    gr_buf_u64be(l->out, m.number);
    gr_buf_char(l->out, (char)m.kind);
    gr_buf_char(l->out, (char)m.row.membership);
    gr_buf_u64be(l->out, m.row.since);
    gr_buf_char(l->out, (char)m.now);
    gr_buf_u32be(l->out, (uint32_t)(m.kind == GR_MOVED_OTHER ? m.type.size + 1 + m.state_key.size : m.state_key.size));
    if (m.kind == GR_MOVED_OTHER) {
        gr_buf_str(l->out, m.type);
        gr_buf_char(l->out, 0);
    }
    gr_buf_str(l->out, m.state_key);
    return l->out->size < PORTION_BYTES;
}

/* Input: whose members are told.  Output: 1 when nothing comes after it, and the entries. */
static bool run(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    gr_ctx *ctx = gr_work_ctx(reader, 0);
    gr_room *room = gr_arena_alloc(arena, sizeof *room);
    gr_room_nodes nodes;
    gr_room_load(room, gr_address_id(gr_ctx_self(ctx)), ctx);
    gr_room_moving g = room->moving;
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    lister l = {room, ctx, input, output};
    gr_buf_char(output, 0);
    gr_trie_diff_from(&trie, g.from, g.target, g.cursor, list_key, &l);
    output->ptr[0] = output->size < PORTION_BYTES;
    gr_room_drop(room);
    return !gr_work_failed(reader);
}

static const gr_work listing_work = {.name = "room_moving", .run = run, .is_long = true};

/* --- in the actor ------------------------------------------------------------------------------------------ */
static struct gr_room_portion *of(gr_room *room)
{
    if (!room->portion) room->portion = gr_alloc(sizeof *room->portion);
    return room->portion;
}

void gr_room_moved_drop(gr_room *room)
{
    if (room->portion) free((char *)room->portion->bytes.ptr);
    free(room->portion);
    room->portion = NULL;
}

bool gr_room_moved_is_here(const gr_room *room) { return room->portion && room->portion->bytes.ptr; }

bool gr_room_moved_is_busy(const gr_room *room)
{
    return room->portion && (room->portion->asked || room->portion->bytes.ptr);
}

void gr_room_moved_ask(gr_room *room, gr_ctx *ctx)
{
    struct gr_room_portion *p = of(room);
    gr_assert(!p->bytes.ptr);
    if (p->asked) return;
    while (!p->asked) gr_ctx_random(ctx, &p->asked, sizeof p->asked);      /* never that of one from before the room was loaded */
    gr_str told = room->moving.phase == GR_MOVING_TELLING ? gr_env_of(ctx)->server_name : (gr_str){0};
    gr_ctx_work(ctx, &listing_work, told, &(gr_resume){.step = GR_ROOM_WORK_MOVING, .number = p->asked});
}

void gr_room_on_moved_listed(gr_room *room, gr_ctx *ctx, const gr_msg *m)
{
    struct gr_room_portion *p = of(room);
    const gr_work_done *done = m->body;
    if (!p->asked || p->asked != m->resume->number) return;                /* of an earlier life */
    bool failed = gr_failed(m->err) || done->failed || done->output.size == 0;
    p->asked = 0;
    if (!failed) {
        p->bytes = gr_str_of(gr_str_dup(done->output), done->output.size);
        p->is_last = p->bytes.ptr[0];
        p->at = 1;
    }
    gr_room_move_at(ctx, failed ? TRY_AGAIN_MS : 0);
}

bool gr_room_moved_has_more(const gr_room *room)
{
    return gr_room_moved_is_here(room) && room->portion->at < room->portion->bytes.size;
}

bool gr_room_moved_next(gr_room *room, gr_room_moved *out)
{
    struct gr_room_portion *p = room->portion;
    if (!gr_room_moved_has_more(room)) return false;
    const char *head = p->bytes.ptr + p->at;
    gr_str text = gr_str_of(head + ENTRY_HEAD, gr_u32be(head + ENTRY_HEAD - 4));
    *out = (gr_room_moved){.kind = (gr_room_moved_kind)head[16], .key = gr_u64be(head), .number = gr_u64be(head + 8),
                           .row = {.membership = (gr_membership)head[17], .since = gr_u64be(head + 18)},
                           .now = (gr_membership)head[26], .state_key = text};
    if (out->kind == GR_MOVED_OTHER) {
        out->type = gr_str_of(text.ptr, strnlen(text.ptr, text.size));
        out->state_key = gr_str_from(text, out->type.size + 1);
    }
    p->at += ENTRY_HEAD + text.size;
    return true;
}

bool gr_room_moved_done(gr_room *room)
{
    bool was_last = room->portion->is_last;
    gr_room_moved_drop(room);
    return was_last;
}
