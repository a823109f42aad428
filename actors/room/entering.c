/* entering.c - a room joined through another server. See entering.h. */
#include "actors/room/entering.h"
#include "actors/room/given.h"
#include "actors/room/graph.h"
#include "actors/room/incoming.h"
#include "actors/room/left_out.h"
#include "actors/room/resolving.h"

#include <stdlib.h>

/* One step on the pool; the room takes no second one meanwhile. */
struct gr_room_entering {
    uint64_t number, digest;           /* of the room when it began: the result holds for that one only */
    gr_asker *asker;
    gr_buf enter;                      /* room_enter, encoded, once all events are held */
};

/* Input: time (8), then of a hold the encoded message, of an adoption the key to go on after (8).  Output: two numbers (8, 8)
 * for the handler, then what is to be written. */
enum { OUTPUT_HEAD = 16 };

static gr_str root_name(void) { return GR_STR("join"); }

bool gr_room_is_half(const gr_room *room) { return room->exists && room->extremity_count == 0; }

void gr_room_entering_drop(gr_room *room)
{
    struct gr_room_entering *e = room->entering;
    if (!e) return;
    gr_asker_free(&e->asker);
    gr_buf_free(&e->enter);
    free(e);
    room->entering = NULL;
}

/* --- on the pool ------------------------------------------------------------------------------------------ */
static gr_room *load(gr_arena *arena, gr_ctx *ctx)
{
    gr_room *room = gr_arena_alloc(arena, sizeof *room);
    gr_room_load(room, gr_address_id(gr_ctx_self(ctx)), ctx);
    return room;
}

static bool end_work(gr_room *room, gr_ctx *ctx, gr_work_reader *reader, uint64_t first, uint64_t second, gr_buf *output)
{
    if (room->exists) gr_room_save(room, ctx);
    gr_room_drop(room);
    gr_buf_u64be(output, first);
    gr_buf_u64be(output, second);
    gr_work_written(reader, output);
    return !gr_work_failed(reader);
}

/* False: it is not held, or was rejected.  *number: of the event that is here now. */
static bool hold(gr_room *room, gr_ctx *ctx, const gr_room_version *version, gr_str text, uint64_t *number)
{
    gr_event e;
    gr_room_received got;
    gr_room_record r;
    if (gr_failed(gr_event_parse(gr_ctx_arena(ctx), version, text, &e))) return false;
    gr_err err = room->exists ? gr_room_hold(room, ctx, &e, text, &got) : gr_room_begin(room, ctx, &e, text, &got);
    if (gr_failed(err) || got.fate == GR_PDU_WAITS) return false;
    return gr_room_number_of(ctx, e.event_id, number) && gr_room_record_at(ctx, *number, &r) && !(r.flags & GR_ROOM_REJECTED);
}

/* What a step adds to the state; of two events with one key the first counts. */
typedef struct { gr_trie_change *at; size_t count; } changes;

static int by_key(const void *a, const void *b)
{
    const gr_trie_change *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->event > y->event) - (x->event < y->event);
}

static void add_state(gr_ctx *ctx, uint64_t number, changes *c)
{
    gr_room_record r;
    if (gr_room_record_at(ctx, number, &r) && r.key) c->at[c->count++] = (gr_trie_change){r.key, number};
}

static uint64_t put_state(gr_room *room, gr_ctx *ctx, uint64_t root, changes *c)
{
    gr_room_nodes nodes;
    gr_trie trie = gr_room_trie(&nodes, room, ctx);
    size_t kept = 0;
    if (c->count) qsort(c->at, c->count, sizeof *c->at, by_key);
    for (size_t i = 0; i < c->count; i++) {
        bool is_first = kept == 0 || c->at[kept - 1].key != c->at[i].key;
        if (is_first && !gr_trie_get(&trie, root, c->at[i].key)) c->at[kept++] = c->at[i];
    }
    return kept ? gr_trie_set_all(&trie, root, c->at, kept) : root;
}

static bool run_hold(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    void *body;
    gr_err err = gr_body_decode(arena, &gr_type_room_fill, gr_str_from(input, 8), &body);
    gr_assert(!gr_failed(err));
    const gr_room_fill *m = body;
    const gr_room_version *version = gr_room_version_find(m->version);
    gr_ctx *ctx = gr_work_ctx(reader, gr_u64be(input.ptr));
    gr_room *room = load(arena, ctx);
    uint64_t root = m->first ? 0 : gr_room_root_kept(ctx, root_name()), first_node = room->next_node, refused = 0, i;
    changes added = {gr_arena_alloc(arena, (m->events.count + 1) * sizeof *added.at), 0};
    if (!version) return false;
    for (i = 0; i < m->events.count && gr_work_written_size(reader) < GR_ENTERING_BYTES; i++) {
        uint64_t number = 0;
        if (!hold(room, ctx, version, m->events.at[i].text, &number)) refused++;
        else if (m->events.at[i].is_state) add_state(ctx, number, &added);
    }
    root = put_state(room, ctx, root, &added);
    gr_room_root_keep(ctx, root_name(), root);
    if (room->exists) gr_room_loosen(room, ctx, room->next_node - first_node);
    return end_work(room, ctx, reader, i, refused, output);
}

static bool run_adopt(gr_arena *arena, gr_str input, gr_work_reader *reader, gr_buf *output)
{
    gr_ctx *ctx = gr_work_ctx(reader, gr_u64be(input.ptr));
    gr_room *room = load(arena, ctx);
    uint64_t root = gr_room_root_kept(ctx, root_name()), after = gr_u64be(input.ptr + 8);
    do after = gr_room_adopt(room, ctx, root, after, GR_ENTERING_KEYS);
    while (after && gr_work_written_size(reader) < GR_ENTERING_BYTES);
    return end_work(room, ctx, reader, after, 0, output);
}

static const gr_work hold_work = {.name = "room_hold", .run = run_hold};
static const gr_work adopt_work = {.name = "room_adopt", .run = run_adopt};

/* --- steps ------------------------------------------------------------------------------------------------- */
static void begin_work(gr_room *room, gr_ctx *ctx, const gr_work *work, gr_str rest)
{
    struct gr_room_entering *e = room->entering;
    gr_buf input = {0};
    gr_ctx_random(ctx, &e->number, sizeof e->number);
    e->digest = gr_room_kind.digest(room);
    gr_buf_u64be(&input, gr_ctx_now_ms(ctx));
    gr_buf_str(&input, rest);
    gr_ctx_work(ctx, work, gr_buf_view(&input), &(gr_resume){.step = GR_ROOM_WORK_ENTERING, .number = e->number});
    gr_buf_free(&input);
}

static gr_err may_begin(gr_room *room)
{
    if (gr_room_has_locals(room)) return gr_fail(GR_ROOM_IN_USE, "Somebody of this server is in the room");
    if (room->purge.phase != GR_PURGE_NOTHING) return (gr_err){GR_LIMIT_EXCEEDED, "The room is being taken away", 1000};
    if (room->entering) return (gr_err){GR_LIMIT_EXCEEDED, "The room is being joined", 1000};
    return room->exists && !gr_room_is_half(room) ? gr_room_at_rest(room) : gr_ok();
}

/* False: it was answered. */
static bool begin(gr_room *room, gr_ctx *ctx)
{
    gr_err err = may_begin(room);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return false;
    }
    room->entering = gr_alloc(sizeof *room->entering);
    *room->entering = (struct gr_room_entering){.asker = gr_ctx_keep_asker(ctx)};
    return true;
}

void gr_room_on_fill(gr_room *room, gr_ctx *ctx, const gr_room_fill *m)
{
    gr_buf body = {0};
    if (!begin(room, ctx)) return;
    gr_body_encode(&body, &gr_type_room_fill, m);
    begin_work(room, ctx, &hold_work, gr_buf_view(&body));
    gr_buf_free(&body);
}

static void adopt_from(gr_room *room, gr_ctx *ctx, uint64_t after)
{
    begin_work(room, ctx, &adopt_work, gr_str_from(gr_room_key_number(ctx, ' ', after), 1));
}

/* What was newest here when the last of this server left is long past elsewhere; but the other server may not have heard
 * that they left.  Then the room goes on from that, too, and not from its answer alone, by which they would be members again. */
static void begin_again(gr_room *room, gr_ctx *ctx, uint64_t state)
{
    gr_room_leave_behind(room, ctx, state);
    gr_room_put_pos(ctx, room->next_pos++, GR_POS_GAP, 0, room->root);
}

static gr_err is_taken(const gr_room *room, gr_ctx *ctx, const gr_room_received *got)
{
    if (got->fate != GR_PDU_ACCEPTED)
        return gr_failf(gr_ctx_arena(ctx), GR_FORBIDDEN,
                        "The join is not allowed by the state that the other server gave: %" GR_FMT, GR_ARG(got->why));
    if (got->made.is_current || room->moving.phase == GR_MOVING_RESOLVING) return gr_ok();
    return gr_fail(GR_FORBIDDEN, "Something that the other server has not heard of does not allow the join");
}

static gr_err take_join(gr_room *room, gr_ctx *ctx, gr_str text, gr_room_received *got)
{
    gr_event e;
    gr_room_receiving how = {.has_before = true, .before = gr_room_root_kept(ctx, root_name()), .is_entry = true};
    gr_err err = how.before ? gr_ok() : gr_fail(GR_BAD_GATEWAY, "The other server gave no state of the room");
    if (!gr_failed(err)) err = gr_event_parse(gr_ctx_arena(ctx), room->version, text, &e);
    if (gr_failed(err)) return err;
    if (!gr_room_is_half(room)) begin_again(room, ctx, how.before);
    err = gr_room_receive(room, ctx, &e, text, &how, got);
    return gr_failed(err) ? err : is_taken(room, ctx, got);
}

/* The last batch: the join, and who it is for hears of it. */
static void enter(gr_room *room, gr_ctx *ctx, const gr_room_enter *m)
{
    gr_room_received got;
    gr_err err = take_join(room, ctx, m->event, &got);
    if (gr_failed(err)) {
        gr_room_fail(room, ctx, err);
        return;
    }
    gr_room_root_keep(ctx, root_name(), 0);
    gr_room_guest_mark(ctx, got.made.event.state_key, m->guest);
    gr_room_leave_out(room, ctx, m->left_out, got.made.number);
    gr_room_finish(room, ctx, &got.made, true);
    gr_room_seek_history(room, ctx);
}

/* The room is here, and a member of another server has vouched for the join. */
static gr_err take_here(gr_room *room, gr_ctx *ctx, gr_str text, gr_room_received *got)
{
    gr_event e;
    gr_err err = gr_event_parse(gr_ctx_arena(ctx), room->version, text, &e);
    if (!gr_failed(err) && !gr_room_has_locals(room)) err = gr_fail(GR_NOT_FOUND, "Nobody on this server is in this room");
    if (!gr_failed(err)) err = gr_room_receive(room, ctx, &e, text, &(gr_room_receiving){0}, got);
    if (gr_failed(err)) return err;
    if (got->fate == GR_PDU_WAITS) return gr_fail(GR_UNAVAILABLE, "The join cites events that are not here yet");
    bool was_in = got->fate == GR_PDU_KNOWN && gr_room_membership(ctx, e.state_key) == GR_MEMBER_JOIN;
    bool is_in = got->fate == GR_PDU_ACCEPTED || was_in;
    got->made.event_id = e.event_id;
    return is_in ? gr_ok() : gr_failf(gr_ctx_arena(ctx), GR_FORBIDDEN, "The room refused the join: %" GR_FMT, GR_ARG(got->why));
}

static void enter_here(gr_room *room, gr_ctx *ctx, const gr_room_enter *m)
{
    gr_room_received got = {0};
    gr_err err = take_here(room, ctx, m->event, &got);
    if (!gr_failed(err) && got.fate == GR_PDU_ACCEPTED) gr_room_guest_mark(ctx, got.made.event.state_key, m->guest);
    if (gr_failed(err)) gr_room_fail(room, ctx, err);
    else if (got.fate == GR_PDU_KNOWN) gr_room_answer_sent(room, ctx, got.made.event_id, 0);
    else gr_room_finish(room, ctx, &got.made, true);
}

void gr_room_on_enter(gr_room *room, gr_ctx *ctx, const gr_room_enter *m)
{
    if (m->is_here) {
        if (room->exists && !gr_room_is_half(room)) enter_here(room, ctx, m);
        else gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "The room is not here any more"));
        return;
    }
    gr_err err = may_begin(room);
    if (!room->exists && !gr_failed(err)) err = gr_fail(GR_BAD_GATEWAY, "The other server gave no create event of the room");
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
    } else if (!gr_room_is_half(room)) {
        enter(room, ctx, m);
    } else if (begin(room, ctx)) {
        gr_body_encode(&room->entering->enter, &gr_type_room_enter, m);
        adopt_from(room, ctx, 0);
    }
}

/* --- results ----------------------------------------------------------------------------------------------- */
static void end_hold(gr_room *room, gr_ctx *ctx, struct gr_room_entering *e, gr_str output)
{
    gr_room_filled body = {.count = gr_u64be(output.ptr), .refused = gr_u64be(output.ptr + 8), .is_new = gr_room_is_half(room)};
    room->entering = NULL;
    gr_ctx_answer(ctx, &e->asker, &gr_type_room_filled, &body);
    free(e);
}

static void end_adopt(gr_room *room, gr_ctx *ctx, struct gr_room_entering *e, uint64_t after)
{
    if (after) {
        adopt_from(room, ctx, after);
        return;
    }
    void *body;
    gr_arena *a = gr_ctx_arena(ctx);
    gr_err err = gr_body_decode(a, &gr_type_room_enter, gr_arena_str(a, gr_buf_view(&e->enter)), &body);
    gr_assert(!gr_failed(err));
    room->entering = NULL;
    gr_ctx_take_asker(ctx, &e->asker);
    gr_buf_free(&e->enter);
    free(e);
    enter(room, ctx, body);
}

void gr_room_on_entering(gr_room *room, gr_ctx *ctx, const gr_msg *m)
{
    struct gr_room_entering *e = room->entering;
    const gr_work_done *done = m->body;
    if (!e || m->resume->number != e->number) return;      /* the room was loaded again meanwhile */
    if (gr_failed(m->err) || done->failed || done->output.size < OUTPUT_HEAD || gr_room_kind.digest(room) != e->digest) {
        gr_ctx_answer_fail(ctx, &e->asker, gr_fail(GR_UNAVAILABLE, "The room could not be prepared: try again"));
        gr_room_entering_drop(room);
        return;
    }
    gr_ctx_write_again(ctx, gr_str_from(done->output, OUTPUT_HEAD));
    gr_room_read_again(room, ctx);
    if (e->enter.size) end_adopt(room, ctx, e, gr_u64be(done->output.ptr));
    else end_hold(room, ctx, e, done->output);
}
