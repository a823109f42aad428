/* room_receive_rig.h - a room of another server, and the same room here, which gets its events one by one.
 *
 * Theirs is on the server "here" (as all rigs are), ours on "there", whose user is @x:there.
 */
#pragma once
#include "tests/unit/actors/room_fork_rig.h"
#include "tests/unit/actors/room_view_rig.h"

#include "actors/room/given.h"
#include "actors/room/receive.h"

typedef struct {
    fork_room theirs;
    rig *ours;
    gr_room_received got;              /* of the last event that came */
} pair_room;

static inline rig *theirs(pair_room *p) { return p->theirs.r; }
static inline gr_room *our_room(pair_room *p) { return room_of(p->ours); }

/* Before a look at our rows, or a call that leaves some. */
static inline gr_ctx *our_ctx(pair_room *p)
{
    our_room(p)->unbounded = true;     /* no pool here */
    gr_arena_reset(p->ours->arena);
    gr_ctx_begin(&p->ours->ctx, p->ours->address);
    return &p->ours->ctx;
}

static inline gr_room_record their_record(pair_room *p, gr_str id)
{
    uint64_t number;
    gr_room_record r;
    gr_ctx_begin(&theirs(p)->ctx, theirs(p)->address);
    assert_true(gr_room_number_of(&theirs(p)->ctx, id, &number));
    assert_true(gr_room_record_at(&theirs(p)->ctx, number, &r));
    return r;
}

static inline gr_room_record our_record(pair_room *p, gr_str id)
{
    uint64_t number;
    gr_room_record r;
    gr_ctx *ctx = our_ctx(p);
    assert_true(gr_room_number_of(ctx, id, &number));
    assert_true(gr_room_record_at(ctx, number, &r));
    return r;
}

static inline gr_event parsed(pair_room *p, gr_str text)
{
    gr_event e;
    gr_err err = gr_event_parse(p->ours->long_arena, room_of(theirs(p))->version, text, &e);
    if (gr_failed(err)) fail_msg("%s", err.text);
    return e;
}

/* --- what comes to us -------------------------------------------------------------------------------------- */
static inline gr_pdu_fate take_with(pair_room *p, gr_str text, gr_room_receiving how)
{
    gr_event e = parsed(p, text);
    gr_ctx *ctx = our_ctx(p);
    gr_err err = gr_room_receive(our_room(p), ctx, &e, text, &how, &p->got);
    if (gr_failed(err)) fail_msg("%s", err.text);
    gr_room_tell(our_room(p), ctx, &p->got.made, false);
    rig_finish(p->ours);
    return p->got.fate;
}

static inline gr_pdu_fate take_text(pair_room *p, gr_str text) { return take_with(p, text, (gr_room_receiving){0}); }
static inline gr_pdu_fate take(pair_room *p, gr_str id)
{
    return take_text(p, gr_arena_str(p->ours->long_arena, their_record(p, id).json));
}

static inline gr_pdu_fate hold_text(pair_room *p, gr_str text)
{
    gr_event e = parsed(p, text);
    gr_ctx *ctx = our_ctx(p);
    assert_false(gr_failed(gr_room_hold(our_room(p), ctx, &e, text, &p->got)));
    gr_room_save(our_room(p), ctx);
    rig_finish(p->ours);
    return p->got.fate;
}

static inline gr_pdu_fate hold(pair_room *p, gr_str id)
{
    return hold_text(p, gr_arena_str(p->ours->long_arena, their_record(p, id).json));
}

/* --- states ------------------------------------------------------------------------------------------------ */
typedef struct { pair_room *p; gr_strs ids; } state_ids;

static inline bool add_state_id(void *arg, uint64_t key, uint64_t event)
{
    state_ids *s = arg;
    gr_room_record r;
    (void)key;
    assert_true(gr_room_record_at(&theirs(s->p)->ctx, event, &r));
    s->ids.at[s->ids.count++] = gr_arena_str(s->p->ours->long_arena, r.event_id);
    return true;
}

/* As /state_ids tells it: of the state before their event. */
static inline gr_strs state_before_theirs(pair_room *p, gr_str id)
{
    gr_room_nodes nodes;
    gr_room_record r = their_record(p, id);
    gr_trie trie = gr_room_trie(&nodes, room_of(theirs(p)), &theirs(p)->ctx);
    state_ids s = {p, {gr_arena_alloc(p->ours->long_arena, 256 * sizeof(gr_str)), 0}};
    gr_trie_each(&trie, r.state_before, add_state_id, &s);
    return s.ids;
}

static inline uint64_t root_of_ids(pair_room *p, uint64_t base, gr_strs ids, size_t step)
{
    gr_room_given given;
    gr_ctx *ctx = our_ctx(p);
    uint64_t root = base;
    gr_room_given_find(our_room(p), ctx, base, ids, &given);
    assert_int_equal(given.missing.count, 0);
    for (size_t i = 0; i < given.count; i += step) root = gr_room_given_root(our_room(p), ctx, root, &given, i, step);
    gr_room_root_keep(ctx, GR_STR("test"), root);
    gr_room_save(our_room(p), ctx);
    rig_finish(p->ours);
    assert_int_equal(gr_room_root_kept(our_ctx(p), GR_STR("test")), root);
    return root;
}

/* Keeps what we lack of these, and of their auth events: numbers of theirs are an order. */
static inline void hold_all(pair_room *p, gr_strs ids)
{
    for (uint64_t n = 1; n < room_of(theirs(p))->next_number; n++) {
        gr_room_record r;
        gr_ctx_begin(&theirs(p)->ctx, theirs(p)->address);
        assert_true(gr_room_record_at(&theirs(p)->ctx, n, &r));
        for (size_t i = 0; i < ids.count; i++)
            if (gr_str_eq(ids.at[i], r.event_id)) hold(p, ids.at[i]);
    }
}

/* The room here begins, as after joining through the other server; the join is @x:there's. */
static inline void join_theirs(pair_room *p)
{
    gr_room_receiving how = {.has_before = true};
    gr_str prev = gr_arena_str(p->ours->long_arena, newest(&p->theirs));
    gr_str join = put(&p->theirs, one(&prev), "@x:there", "m.room.member", "@x:there", "{\"membership\":\"join\"}");
    gr_strs ids = state_before_theirs(p, join);
    gr_ctx_begin(&theirs(p)->ctx, theirs(p)->address);
    gr_room_record first;
    assert_true(gr_room_record_at(&theirs(p)->ctx, 1, &first));
    gr_str text = gr_arena_str(p->ours->long_arena, first.json);
    gr_event create = parsed(p, text);
    for (int i = 0; i < 2; i++) {      /* every step of a join may come twice */
        assert_false(gr_failed(gr_room_begin(our_room(p), our_ctx(p), &create, text, &p->got)));
        assert_int_equal(p->got.fate, i ? GR_PDU_KNOWN : GR_PDU_HELD);
        gr_room_save(our_room(p), &p->ours->ctx);
        rig_finish(p->ours);
    }
    hold_all(p, ids);
    how.before = root_of_ids(p, 0, ids, 3);
    for (uint64_t key = 0, next = 1; next; key = next)
        for (int i = 0; i < 2; i++) {
            next = gr_room_adopt(our_room(p), our_ctx(p), how.before, key, 2);
            gr_room_save(our_room(p), &p->ours->ctx);
            rig_finish(p->ours);
        }
    gr_str pdu = gr_arena_str(p->ours->long_arena, their_record(p, join).json);
    assert_int_equal(take_with(p, pdu, how), GR_PDU_ACCEPTED);
}

static inline pair_room pair_new(const char *version)
{
    pair_room p = {.theirs = open_room(version)};
    p.ours = rig_new(&gr_room_kind, gr_arena_printf(theirs(&p)->long_arena, "%.*s", GR_ARG(theirs(&p)->address)).ptr);
    p.ours->env.server_name = GR_STR("there");
    join_theirs(&p);
    return p;
}

static inline void pair_free(pair_room *p)
{
    rig_free(&p->theirs.r);
    rig_free(&p->ours);
}

/* --- events that their server would not have let through ----------------------------------------------------- */
static inline gr_str craft(pair_room *p, gr_strs prevs, gr_strs auth, const char *sender, const char *type, const char *key,
                           const char *content)
{
    gr_event_built built;
    gr_room *room = room_of(theirs(p));
    gr_event_fields f = {.version = room->version, .room_id = room->id, .sender = gr_str_c(sender), .type = gr_str_c(type),
                         .has_state_key = key != NULL, .state_key = gr_str_c(key), .content = gr_str_c(content),
                         .prev_events = prevs, .auth_events = auth, .depth = 40, .origin_server_ts = p->theirs.ts++};
    if (room->version->room_id_is_create_hash && gr_str_is(f.type, "m.room.create")) f.room_id = (gr_str){0};
    put_ids(&p->theirs, &f);
    assert_false(gr_failed(gr_event_build(p->ours->long_arena, &f, &theirs(p)->signer, &built)));
    return built.text;
}

/* The auth events that an event of this sender needs, by our current state. */
static inline gr_strs auth_here(pair_room *p, const char *sender, const char *type, const char *key, const char *content)
{
    gr_event_fields f = {.sender = gr_str_c(sender), .type = gr_str_c(type), .state_key = gr_str_c(key),
                         .content = gr_str_c(content)};
    our_ctx(p);
    gr_strs ids = auth_of(our_room(p), p->ours, our_room(p)->root, &f);
    gr_strs kept = {gr_arena_alloc(p->ours->long_arena, (ids.count + 2) * sizeof(gr_str)), ids.count};
    for (size_t i = 0; i < ids.count; i++) kept.at[i] = gr_arena_str(p->ours->long_arena, ids.at[i]);
    return kept;
}

static inline gr_str our_tip(pair_room *p)
{
    gr_room *room = our_room(p);
    return gr_arena_str(p->ours->long_arena, room->extremities[room->extremity_count - 1].id);
}

static inline gr_str id_of(pair_room *p, gr_str text) { return parsed(p, text).event_id; }

/* Is each key of the two current states the same event? */
static inline void assert_same_state(pair_room *p)
{
    size_t count[2] = {0, 0};
    for (int side = 0; side < 2; side++) {
        rig *r = side ? p->ours : theirs(p), *other = side ? theirs(p) : p->ours;
        gr_ctx_begin(&r->ctx, r->address);
        gr_ctx_begin(&other->ctx, other->address);
        for (uint64_t key = 1; key < room_of(r)->next_key; key++) {
            gr_str type, state_key;
            assert_true(gr_room_key_text(&r->ctx, key, &type, &state_key));
            const gr_event *mine = gr_room_state(r->self, &r->ctx, type, state_key);
            const gr_event *its = gr_room_state(other->self, &other->ctx, type, state_key);
            if (!mine != !its || (mine && !gr_str_eq(mine->event_id, its->event_id)))
                fail_msg("%.*s \"%.*s\" differs", GR_ARG(type), GR_ARG(state_key));
            count[side] += mine != NULL;
        }
    }
    assert_int_equal(count[0], count[1]);
    assert_true(count[0] > 4);
}
